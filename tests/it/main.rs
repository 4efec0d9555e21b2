//! The tests of the whole, in one binary.

mod contract_kernel;
mod contract_keyring;
mod contract_log;
mod contract_store;
mod faults;
mod outward;
mod page;
mod people;
mod side_by_side;
mod stories;
mod system;
mod trace;

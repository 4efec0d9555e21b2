//! The tests of the whole, in one binary.

mod contract_kernel;
mod contract_keyring;
mod contract_log;
mod contract_store;
mod faults;
mod outward;

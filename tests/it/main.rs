//! The tests of the whole, in one binary.

mod access;
mod bad_folder;
mod bad_input;
mod binary;
mod contract_apart;
mod contract_kernel;
mod contract_keyring;
mod contract_log;
mod contract_store;
mod demo;
mod deploy;
mod faults;
mod hospital_kill;
mod needles;
mod outward;
mod page;
mod people;
mod privacy;
mod recovery;
mod replicas;
mod running;
mod side_by_side;
mod stories;
mod system;
mod trace;

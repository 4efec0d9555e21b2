//! The all-in-one and the operator's command line.
//!
//! 1. [`cli`] reads what was typed; 2. [`up`] runs every service on one folder; 3. [`ops`] is what operators see and ask of it;
//! 4. [`demo`] feeds it a week from another process; 5. [`bench`] and [`doctor`] measure and look;
//! 6. on servers [`topics`] and `on_servers` do what no single process can.

mod admin_client;
pub mod bench;
pub mod cli;
pub mod demo;
pub mod doctor;
mod on_servers;
pub mod ops;
pub mod pas;
pub mod topics;
pub mod up;

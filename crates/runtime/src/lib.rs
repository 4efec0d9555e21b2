//! What every Hearthline process needs around its services: configuration, telemetry, who may do what, the HTTP
//! shell, health, supervision, and the checks of the machine it runs on.
//!
//! Nothing here knows a clinical fact. Nothing here is global: every value is built by `main` (or a test) and handed
//! on, so that two whole systems run side by side in one process.

pub mod admin;
pub mod auth;
pub mod client;
pub mod config;
pub mod connect;
pub mod disk;
mod files;
pub mod health;
pub mod http;
pub mod lock;
pub mod mllp_client;
pub mod service;
pub mod supervisor;
pub mod tasks;
pub mod telemetry;
pub mod tls;
pub mod trace;

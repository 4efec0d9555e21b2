//! The outcome of a call: its facts, its state and its rules. Pure and synchronous.
//!
//! A consultation is decided once; claims may be withdrawn, plans agreed anew, and a voided call withdraws it all.

pub mod decide;
pub mod events;
pub mod rejection;
pub mod state;
#[cfg(test)]
mod tests;
pub mod words;

pub use events::OutcomeEvent;
pub use rejection::Rejection;
pub use state::{CallReference, Consultation};

//! A call from a care home: its facts, its state and its rules. Pure and synchronous.
//!
//! `Open → Triaged → WithClinician → Closed`; `Abandoned` before a person answered; `Voided` from anywhere.

pub mod decide;
pub mod events;
pub mod rejection;
pub mod state;
#[cfg(test)]
mod tests;
pub mod words;

pub use events::CallEvent;
pub use rejection::Rejection;
pub use state::Call;

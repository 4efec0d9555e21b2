//! The rules of prescribing: pure, synchronous, without IO. Times are µs UTC; dated rules are judged in Europe/London.

mod decide;
mod events;
mod pharmacy;
mod rejection;
mod state;

pub use decide::{Answer, CallSeen, PharmacyChoice, Standing, answered, choose_pharmacy, draft, may_sign};
pub use events::{Drafted, Event, Item, Override, PrescriberType, Quantity, QuantityError, Signed, Submitted, Task, UnknownPrescriberType};
pub use pharmacy::{Pharmacy, Placed, open_by_distance};
pub use rejection::Rejection;
pub use state::{Chosen, Prescription, Status, Submission};

/// Codes of the tasks that prescribing opens.
pub mod task {
    /// The prescription service refused a signed order: the prescriber must look and write another.
    pub const REJECTED: &str = "prescription_rejected";
    /// No answer came to an order that was sent: the prescriber repeats the request, or asks the service.
    pub const UNCONFIRMED: &str = "prescription_unconfirmed";
}

#[cfg(test)]
mod tests;

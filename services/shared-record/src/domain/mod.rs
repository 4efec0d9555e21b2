//! The rules of sharing one call's outcome: pure, synchronous, without IO. Times are µs UTC.

mod decide;
mod events;
mod share;

pub use decide::{Composition, Decision, Deliverable, Email, Errand, Facts, Ruling, close, delivered, open, provisional_too_long, review, sources_too_late};
pub use events::{Composed, Confirmation, Event, Kind, Parcel, Retraction, Source, Subject, Task, Withholding};
pub use share::{Document, Share};

/// Codes of the tasks that sharing opens.
pub mod task {
    /// A minute after the call was closed, what it names had not arrived here.
    pub const SOURCES_MISSING: &str = "share_sources_missing";
    /// The upload has waited 15 minutes for the resident to be identified.
    pub const RESIDENT_PROVISIONAL: &str = "share_resident_provisional";
    /// The home has no secure address verified within the last twelve months: the plan must reach it another way.
    pub const NO_SECURE_EMAIL: &str = "no_secure_email";
    /// The shared record refused the document, or it could not be delivered in time.
    pub const UPLOAD_FAILED: &str = "record_upload_failed";
    /// The mail server refused the care plan, or it could not be delivered in time.
    pub const EMAIL_FAILED: &str = "care_plan_email_failed";
    /// Nobody knows whether the mail arrived: ask the home, then settle the delivery.
    pub const EMAIL_UNCONFIRMED: &str = "care_plan_email_unconfirmed";
    /// A document that was sent no longer stands: have it taken back.
    pub const TAKE_BACK: &str = "document_take_back";
}

#[cfg(test)]
mod tests;

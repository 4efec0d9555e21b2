//! What happened to the sharing of one call, in the words of the domain.

use hearthline_nhs::{CallId, DeliveryId, HomeId, ResidentId, StreamId, TaskId};

/// Whom a document is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subject {
    /// Resolved through the directory's alias edges.
    pub resident: ResidentId,
    /// The directory does not know the person yet.
    pub is_provisional: bool,
}

/// A stream at a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source {
    pub stream: StreamId,
    pub version: u64,
}

/// A version of the document was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Composed {
    pub call: CallId,
    pub call_version: u64,
    pub subject: Subject,
    pub home: HomeId,
    pub document: [u8; 16],
    /// From 1.
    pub version: u32,
    pub consultation: Source,
    /// The accepted ones.
    pub prescriptions: Vec<Source>,
    /// SHA-256 of the document.
    pub digest: [u8; 32],
    pub blob: [u8; 16],
}

/// Which of the two ways out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    RecordUpload,
    CarePlanEmail,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::RecordUpload => "record_upload",
            Kind::CarePlanEmail => "care_plan_email",
        }
    }
}

/// What a delivery carries: which document, and where its sealed bytes lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parcel {
    pub call: CallId,
    pub document: [u8; 16],
    pub version: u32,
    pub home: HomeId,
    pub blob: [u8; 16],
}

/// How the end of a delivery became known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confirmation {
    Reply,
    AlreadyHeld,
    LookedUp,
    Person,
}

/// Why nothing is shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Withholding {
    ConsentRefused,
    CallVoided,
    /// The outcome was withdrawn.
    ClinicianDecision,
}

/// Why a document no longer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retraction {
    CallVoided,
    WrongPerson,
    ConsentRefused,
    OutcomeWithdrawn,
}

/// Somebody must do something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    pub id: TaskId,
    pub kind: String,
    /// µs UTC.
    pub due_at: i64,
    /// A delivery or a document; zero where it is the share itself.
    pub subject: [u8; 16],
}

/// A fact of a share's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Composed(Composed),
    Uploaded { delivery: DeliveryId, parcel: Parcel, destination: String, location: String, how: Confirmation },
    UploadFailed { delivery: DeliveryId, parcel: Parcel, destination: String, code: String },
    Emailed { delivery: DeliveryId, parcel: Parcel, how: Confirmation },
    EmailFailed { delivery: DeliveryId, parcel: Parcel, code: String },
    Withheld { call: CallId, why: Withholding },
    Retracted { document: [u8; 16], version: u32, why: Retraction, subject: Subject },
    TaskOpened(Task),
    TaskClosed { id: TaskId, kind: String, overtaken: bool },
    PersonalDataDestroyed,
}

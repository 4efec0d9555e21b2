//! Hospital visits as a PAS reports them: what a report means for a visit, and which home an address is.
//!
//! Pure: no clock, no randomness, no input or output; nothing here holds a name or a number of a patient.

pub mod decide;
pub mod events;
pub mod feed;
pub mod place;
pub mod rejection;
pub mod rhythm;
pub mod state;

use hearthline_nhs::{HomeId, ResidentId};

/// When something happened, by the sender's clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    /// µs UTC.
    pub at_us: i64,
    /// `Europe/London`, or the offset that the message stated.
    pub zone: String,
    /// The wall clock showed this time twice and the message did not say which one.
    pub ambiguous: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VisitClass {
    Inpatient,
    Emergency,
    Outpatient,
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    Ambulance,
    Other,
    Unknown,
}

/// What tied a message to a resident or a home.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResolverRule {
    /// The NHS number of a resident.
    NhsNumber,
    /// The address is one home's: postcode, and its name or first line.
    HomeAddress,
    /// The postcode is one home's and the source of admission is a care home (54, 65, 85).
    CareHomeCode,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confidence {
    High,
    Medium,
}

/// Whom a visit is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    Resident {
        id: ResidentId,
        home: Option<HomeId>,
        confidence: Confidence,
    },
    /// Nobody of the directory, at a home's address: the home is counted, the person is not kept.
    Home {
        home: HomeId,
        rule: ResolverRule,
        confidence: Confidence,
    },
}

/// What a message says about the visit itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Details {
    /// None where nothing usable was sent.
    pub class: Option<VisitClass>,
    /// ADMISSION METHOD; empty when not sent or not a national code.
    pub admission_method: String,
    /// SOURCE OF ADMISSION; likewise.
    pub source: String,
    /// ODS site code; likewise.
    pub site: String,
    pub arrival: Arrival,
    /// As sent; likewise.
    pub arrival_code: String,
}

/// What a message reports of a visit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// A01, A04.
    Opening(Details),
    /// A02, A06, A07, A08.
    Change(Details),
    /// A03.
    Discharge { destination: String, died: bool },
    /// A11.
    CancelAdmission,
    /// A13.
    CancelDischarge,
}

/// A report with where it comes from and when it happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reported {
    pub feed: String,
    pub facility: String,
    /// HL7 trigger event.
    pub trigger: String,
    pub at: Moment,
    pub nhs_number_status: String,
    pub report: Report,
}

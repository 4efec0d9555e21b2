//! What the facts of the other contexts tell the measures, in this service's own words. [`crate::wire`] makes them,
//! [`crate::fold`] folds them into rows.

use crate::codes::{Alternative, Arrival, Channel, ClaimKind, Disposition, HomeType, Reason, VisitClass};
use hearthline_nhs::{CallId, ClaimId, HomeId, ResidentId, StreamId};

/// Of which event a fact came. Times in µs UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Of {
    pub stream: StreamId,
    /// Version of the stream, from 1.
    pub version: u64,
    pub occurred_at: i64,
    pub recorded_at: i64,
    pub late_entry: bool,
}

/// Whom a fact names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subject {
    pub resident: Option<ResidentId>,
    /// Found in the directory, not only described.
    pub identified: bool,
}

/// A fact, by the row that it changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    Call(CallFact),
    Attempt { home: Option<HomeId>, channel: Channel, reason: Reason },
    Consultation(ConsultationFact),
    Claim { claim: ClaimId, fact: ClaimFact },
    Prescription(PrescriptionFact),
    Share(ShareFact),
    Visit(VisitFact),
    Gap { gap: StreamId, fact: GapFact },
    Home(HomeFact),
    Resident(ResidentFact),
    MovedOut { on: String, at: i64, out_of_area: bool },
    Alias { from: ResidentId, into: ResidentId, standing: bool },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallFact {
    Opened {
        home: Option<HomeId>,
        channel: Channel,
        reason: Reason,
        subject: Subject,
        restore2_used: bool,
    },
    Answered,
    Observed {
        news2: Option<u32>,
    },
    /// Unknown leaves the reason as it is.
    Triaged {
        reason: Reason,
    },
    Counterfactual {
        alternative: Option<Alternative>,
    },
    Identified(Subject),
    /// Unknown leaves the reason as it is.
    Closed {
        corrected_reason: Reason,
    },
    Voided,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConsultationFact {
    Decided { call: Option<CallId>, disposition: Option<Disposition>, withdrawn: bool },
    PlanAgreed { call: Option<CallId> },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClaimFact {
    Claimed { call: Option<CallId>, kind: ClaimKind, alternative: Option<Alternative> },
    Withdrawn,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PrescriptionFact {
    Drafted { call: Option<CallId>, items: u32 },
    PharmacyChosen { nearest_open: bool },
    Signed,
    Accepted,
    Rejected,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ShareFact {
    Composed { call: Option<CallId>, home: Option<HomeId> },
    Withheld { call: Option<CallId> },
    Uploaded,
    UploadFailed,
    Emailed,
    EmailFailed,
    Retracted,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VisitFact {
    Opened(Box<VisitOpening>),
    /// An unknown class and empty texts leave what was there.
    Transferred {
        class: Option<VisitClass>,
        admission_method: String,
        site: String,
        source: String,
        at: i64,
    },
    Closed {
        at: i64,
    },
    Identified {
        resident: Option<ResidentId>,
        home: Option<HomeId>,
        rule: &'static str,
    },
    Cancelled {
        at: i64,
    },
    Reopened,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VisitOpening {
    pub feed: String,
    pub facility: String,
    pub site: String,
    pub class: VisitClass,
    pub resident: Option<ResidentId>,
    pub home: Option<HomeId>,
    pub arrival: Arrival,
    pub admission_method: String,
    pub source: String,
    pub at: i64,
    pub rule: &'static str,
    pub trigger: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GapFact {
    Opened {
        feed: String,
        facility: String,
        from: i64,
        back_fill_until: Option<i64>,
    },
    /// The feed speaks again; what is missing has not come.
    Resumed {
        until: i64,
    },
    Closed {
        until: i64,
        filled: bool,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HomeFact {
    Registered { ods_code: String, cqc_location_id: String, postcode: String, beds: u32, home_type: HomeType },
    WentLive { from: i64 },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResidentFact {
    Registered,
    /// The day as told, and by when at the latest.
    Died {
        on: String,
        by: Option<i64>,
    },
}

//! Hospital visits as a PAS reports them: what a report means for a visit, and which home an address is.
//!
//! Pure: no clock, no randomness, no input or output; nothing here holds a name or a number of a patient.

pub mod course;
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

/// What tied a message to a resident or a home, strongest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ResolverRule {
    /// The NHS number of a resident.
    NhsNumber,
    /// The address is one home's by its UPRN.
    HomeUprn,
    /// The address is one home's: postcode, and its name or first line.
    HomeAddress,
    /// The postcode is one home's and the source of admission is a care home (54, 65, 85).
    CareHomeCode,
    /// The postcode is one home's, and the discharge destination alone is a care home.
    HomePostcode,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confidence {
    High,
    Medium,
    Low,
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

/// HL7's null, as an admission method or source: what was said of it before holds no more. An empty text says nothing.
pub const DELETED: &str = "\"\"";

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

impl Details {
    /// A message that says nothing usable.
    pub const NONE: Details = Details {
        class: None,
        admission_method: String::new(),
        source: String::new(),
        site: String::new(),
        arrival: Arrival::Unknown,
        arrival_code: String::new(),
    };

    /// What these leave out is as it was before.
    pub fn or_before(&self, before: &Details) -> Details {
        let text = |said: &str, before: &str| match said {
            "" => before.to_owned(),
            DELETED if before.is_empty() => String::new(),
            said => said.to_owned(),
        };
        let (arrival, arrival_code) = if self.arrival == Arrival::Unknown && self.arrival_code.is_empty() {
            (before.arrival, &before.arrival_code)
        } else {
            (self.arrival, &self.arrival_code)
        };
        Details {
            class: self.class.or(before.class),
            admission_method: text(&self.admission_method, &before.admission_method),
            source: text(&self.source, &before.source),
            site: text(&self.site, &before.site),
            arrival,
            arrival_code: arrival_code.clone(),
        }
    }
}

/// What a message reports of a visit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// A01, A04.
    Opening(Details),
    /// A05, and openings of class P or W.
    PreAdmission(Details),
    /// A06, A07, A08.
    Change(Details),
    /// A02.
    Transfer(Details),
    /// A12: the details are those that hold again.
    CancelTransfer(Details),
    /// A03.
    Discharge { destination: String, method: String, died: bool },
    /// A11.
    CancelAdmission,
    /// A38.
    CancelPreAdmission,
    /// A13.
    CancelDischarge,
    /// A45: it is the visit of the patient whom the message names.
    Move,
    /// A42: it is part of another visit, which keeps its reports.
    MergedAway,
}

impl Report {
    pub fn details(&self) -> Option<&Details> {
        match self {
            Report::Opening(d) | Report::PreAdmission(d) | Report::Change(d) | Report::Transfer(d) | Report::CancelTransfer(d) => Some(d),
            Report::Discharge { .. } | Report::CancelAdmission | Report::CancelPreAdmission | Report::CancelDischarge | Report::Move | Report::MergedAway => {
                None
            }
        }
    }

    /// It can be the first that is heard of a visit.
    pub fn begins(&self) -> bool {
        matches!(self, Report::Opening(_) | Report::PreAdmission(_))
    }
}

/// By what reports of one visit are put in order: EVN-6, then EVN-2, then MSH-7, in µs UTC; of equal ones the earlier arrival is first.
/// Of times that are days alone none is taken: they would come before all else of their day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Order {
    pub occurred_us: Option<i64>,
    pub recorded_us: Option<i64>,
    pub sent_us: Option<i64>,
}

impl Order {
    pub fn key(&self) -> (i64, i64, i64) {
        let recorded = self.recorded_us.or(self.sent_us);
        let first = self.occurred_us.or(recorded).unwrap_or(i64::MIN);
        (first, recorded.unwrap_or(first), self.sent_us.or(recorded).unwrap_or(first))
    }
}

/// What one message said of a visit, as it is remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// HL7 trigger event.
    pub trigger: String,
    /// When it happened, by the field that the trigger goes by.
    pub at_us: i64,
    pub order: Order,
    pub nhs_number_status: String,
    pub report: Report,
    /// Whom the message tied the visit to.
    pub subject: Option<Subject>,
}

/// A report with where it comes from and when it happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reported {
    pub feed: String,
    pub facility: String,
    /// HL7 trigger event.
    pub trigger: String,
    pub at: Moment,
    pub order: Order,
    pub nhs_number_status: String,
    pub report: Report,
}

impl Reported {
    pub fn statement(&self, subject: Option<&Subject>) -> Statement {
        Statement {
            trigger: self.trigger.clone(),
            at_us: self.at.at_us,
            order: self.order,
            nhs_number_status: self.nhs_number_status.clone(),
            report: self.report.clone(),
            subject: subject.copied(),
        }
    }
}

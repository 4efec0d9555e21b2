//! What happened to a visit, or was reported of a person.
//!
//! The first event that follows from a message carries the message's statement, so that a visit can be told anew when a message with an
//! earlier time arrives. What was recorded before statements were kept has none.

use super::{Arrival, Confidence, ResolverRule, Statement, VisitClass};
use hearthline_nhs::{HomeId, ResidentId};
use jiff::civil::Date;

/// The beginning of a visit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    pub feed: String,
    pub facility: String,
    pub site: String,
    pub class: VisitClass,
    pub resident: Option<ResidentId>,
    pub home: Option<HomeId>,
    pub arrival: Arrival,
    pub arrival_code: String,
    pub admission_method: String,
    pub source: String,
    pub admitted_at_us: i64,
    pub rule: ResolverRule,
    pub confidence: Confidence,
    pub trigger: String,
    pub nhs_number_status: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A later one of the same visit replaces all that was said of it.
    VisitOpened(Box<Opening>, Option<Box<Statement>>),
    VisitTransferred {
        class: VisitClass,
        admission_method: String,
        source: String,
        site: String,
        at_us: i64,
        trigger: String,
        report: Option<Box<Statement>>,
    },
    VisitClosed {
        at_us: i64,
        destination: String,
        method: String,
        died: bool,
        trigger: String,
        report: Option<Box<Statement>>,
    },
    VisitIdentified {
        resident: ResidentId,
        home: Option<HomeId>,
        confidence: Confidence,
        replaced: Option<ResidentId>,
        report: Option<Box<Statement>>,
    },
    VisitCancelled {
        at_us: i64,
        trigger: String,
        report: Option<Box<Statement>>,
    },
    VisitReopened {
        at_us: i64,
        trigger: String,
        report: Option<Box<Statement>>,
    },
    /// It changes nothing by now, but decides what later ones mean.
    VisitReported(Box<Statement>),
    PatientsMerged {
        survivor: ResidentId,
        retired: ResidentId,
        feed: String,
        facility: String,
        trigger: String,
    },
    DeathReported {
        resident: ResidentId,
        feed: String,
        facility: String,
        on: Option<Date>,
        at_us: Option<i64>,
        trigger: String,
    },
}

impl Event {
    /// Its name in the contracts.
    pub fn name(&self) -> &'static str {
        match self {
            Event::VisitOpened(..) => "VisitOpened",
            Event::VisitTransferred { .. } => "VisitTransferred",
            Event::VisitClosed { .. } => "VisitClosed",
            Event::VisitIdentified { .. } => "VisitIdentified",
            Event::VisitCancelled { .. } => "VisitCancelled",
            Event::VisitReopened { .. } => "VisitReopened",
            Event::VisitReported(_) => "VisitReported",
            Event::PatientsMerged { .. } => "PatientsMerged",
            Event::DeathReported { .. } => "DeathReported",
        }
    }

    /// The statement that it follows from, where it is the first to.
    pub fn statement(&self) -> Option<&Statement> {
        match self {
            Event::VisitOpened(_, report)
            | Event::VisitTransferred { report, .. }
            | Event::VisitClosed { report, .. }
            | Event::VisitIdentified { report, .. }
            | Event::VisitCancelled { report, .. }
            | Event::VisitReopened { report, .. } => report.as_deref(),
            Event::VisitReported(statement) => Some(statement),
            Event::PatientsMerged { .. } | Event::DeathReported { .. } => None,
        }
    }

    /// The same event, carrying a statement. Reports about persons take none.
    pub fn following(mut self, statement: Statement) -> Self {
        match &mut self {
            Event::VisitOpened(_, report)
            | Event::VisitTransferred { report, .. }
            | Event::VisitClosed { report, .. }
            | Event::VisitIdentified { report, .. }
            | Event::VisitCancelled { report, .. }
            | Event::VisitReopened { report, .. } => *report = Some(Box::new(statement)),
            Event::VisitReported(report) => **report = statement,
            Event::PatientsMerged { .. } | Event::DeathReported { .. } => {}
        }
        self
    }
}

//! What happened to a visit, or was reported of a person.

use super::{Arrival, Confidence, ResolverRule, VisitClass};
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
    VisitOpened(Box<Opening>),
    VisitTransferred { class: VisitClass, admission_method: String, source: String, site: String, at_us: i64, trigger: String },
    VisitClosed { at_us: i64, destination: String, died: bool, trigger: String },
    VisitIdentified { resident: ResidentId, home: Option<HomeId>, confidence: Confidence, replaced: Option<ResidentId> },
    VisitCancelled { at_us: i64, trigger: String },
    VisitReopened { at_us: i64, trigger: String },
    PatientsMerged { survivor: ResidentId, retired: ResidentId, feed: String, facility: String, trigger: String },
    DeathReported { resident: ResidentId, feed: String, facility: String, on: Option<Date>, at_us: Option<i64>, trigger: String },
}

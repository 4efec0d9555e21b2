//! What can have happened in a consultation.

use super::words::*;
use hearthline_nhs::{CallId, ClaimId, Personal, ResidentId};
use jiff::civil::Date;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// A fact on a consultation's stream. Personal parts are `None` where nothing personal was written.
#[derive(Debug, Clone, PartialEq)]
pub enum OutcomeEvent {
    Decided(Decided),
    Amended(Amended),
    AvoidanceClaimed(Claimed),
    AvoidanceWithdrawn { claim: ClaimId, kind: AvoidanceKind, reason: WithdrawalReason },
    PlanAgreed(PlanAgreed),
}

/// A resident by random id, and whether the directory knows whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResidentRef {
    pub id: ResidentId,
    pub status: IdentityStatus,
}

/// The clinician's decision.
#[derive(Debug, Clone, PartialEq)]
pub struct Decided {
    pub call: CallId,
    /// The version of the call that the clinician saw.
    pub call_version: u64,
    pub resident: ResidentRef,
    pub disposition: Disposition,
    pub summary: Option<Personal<String>>,
}

/// Replaces the decision.
#[derive(Debug, Clone, PartialEq)]
pub struct Amended {
    pub call: CallId,
    pub call_version: u64,
    pub resident: ResidentRef,
    pub disposition: Disposition,
    pub reason: AmendmentReason,
    /// No outcome stands any more.
    pub withdrawn: bool,
    pub summary: Option<Personal<String>>,
}

/// The clinician's claim that something was avoided. Declared, not proved.
#[derive(Debug, Clone, PartialEq)]
pub struct Claimed {
    pub call: CallId,
    pub claim: ClaimId,
    pub kind: AvoidanceKind,
    /// What the home said it would have done.
    pub would_have_happened: Alternative,
    pub resident: ResidentRef,
    pub words: Option<Personal<ClaimWords>>,
}

/// Why the clinician claims it.
#[derive(Clone, PartialEq, Eq, Default, Zeroize, ZeroizeOnDrop)]
pub struct ClaimWords {
    /// What the resident would have been admitted with; there for every claimed admission.
    pub likely_admitting_problem: String,
    pub rationale: String,
}

/// The plan for the resident's care after the call.
#[derive(Debug, Clone, PartialEq)]
pub struct PlanAgreed {
    pub call: CallId,
    pub resident: ResidentRef,
    /// 1 for the first plan of the call.
    pub plan_version: u32,
    /// The local day of the next review.
    pub review_on: Option<Date>,
    pub agreed_with_home: bool,
    pub words: Option<Personal<PlanWords>>,
}

/// What the plan says.
#[derive(Clone, PartialEq, Eq, Default, Zeroize, ZeroizeOnDrop)]
pub struct PlanWords {
    pub plan: String,
    pub gp_actions: String,
    /// When the home is to call again.
    pub call_back_if: String,
}

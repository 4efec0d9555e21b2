//! A consultation as its facts have made it, and the call as this service has heard of it.

use super::events::*;
use super::words::*;
use hearthline_nhs::{CallId, ClaimId, HomeId};

/// The call of a consultation, from its own context's facts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallReference {
    pub id: CallId,
    pub version: u64,
    pub home: HomeId,
    pub status: CallStatus,
    /// A clinician has joined.
    pub joined: bool,
    pub counterfactual: Option<Alternative>,
    pub consent: Option<ConsentBasis>,
    pub resident: ResidentRef,
    /// µs UTC.
    pub opened_at: i64,
}

/// Everything that rules ask of a consultation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consultation {
    pub call: CallId,
    pub call_version: u64,
    pub resident: ResidentRef,
    pub disposition: Disposition,
    /// No outcome stands any more.
    pub withdrawn: bool,
    pub claims: Vec<Claim>,
    /// 0 without a plan.
    pub plan_version: u32,
}

/// A claim of avoidance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    pub id: ClaimId,
    pub kind: AvoidanceKind,
    pub would_have_happened: Alternative,
    /// None: it stands.
    pub withdrawn: Option<WithdrawalReason>,
}

impl Consultation {
    /// The consultation after one more fact. A stream that does not begin with a decision is no consultation.
    pub fn evolve(consultation: Option<Self>, event: &OutcomeEvent) -> Option<Self> {
        if let OutcomeEvent::Decided(decided) = event {
            return Some(Consultation {
                call: decided.call,
                call_version: decided.call_version,
                resident: decided.resident,
                disposition: decided.disposition,
                withdrawn: false,
                claims: Vec::new(),
                plan_version: 0,
            });
        }
        consultation.map(|consultation| consultation.after(event))
    }

    fn after(mut self, event: &OutcomeEvent) -> Self {
        match event {
            OutcomeEvent::Decided(_) => {}
            OutcomeEvent::Amended(amended) => {
                self.call_version = amended.call_version;
                self.resident = amended.resident;
                self.disposition = amended.disposition;
                self.withdrawn = amended.withdrawn;
            }
            OutcomeEvent::AvoidanceClaimed(claimed) => {
                self.claims.push(Claim { id: claimed.claim, kind: claimed.kind, would_have_happened: claimed.would_have_happened, withdrawn: None })
            }
            OutcomeEvent::AvoidanceWithdrawn { claim, reason, .. } => {
                if let Some(claim) = self.claims.iter_mut().find(|c| c.id == *claim) {
                    claim.withdrawn = Some(*reason);
                }
            }
            OutcomeEvent::PlanAgreed(plan) => self.plan_version = plan.plan_version,
        }
        self
    }
}

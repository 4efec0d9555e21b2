//! What the rules of an outcome say no to.

/// A rule refuses a command. The code is part of the interface; the text holds nothing personal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    #[error("no clinician has joined the call")]
    NotWithClinician,
    #[error("the call was voided")]
    CallVoided,
    #[error("the call was abandoned")]
    CallAbandoned,
    #[error("the call has a consultation already")]
    AlreadyDecided,
    #[error("a claim needs what the home would have done: record the counterfactual on the call first")]
    ClaimWithoutCounterfactual,
    #[error("the disposition says that what is claimed as avoided took place")]
    ClaimContradictsDisposition,
    #[error("the same kind of avoidance is claimed twice")]
    ClaimedTwice,
    #[error("a claimed admission needs the problem that the resident would have been admitted with")]
    AdmittingProblemMissing,
    #[error("the claim was withdrawn already")]
    AlreadyWithdrawn,
    #[error("only the policy for voided calls gives this reason")]
    ReasonReserved,
}

impl Rejection {
    /// The stable word that clients match on.
    pub fn code(self) -> &'static str {
        match self {
            Rejection::NotWithClinician => "not_with_clinician",
            Rejection::CallVoided => "call_voided",
            Rejection::CallAbandoned => "call_abandoned",
            Rejection::AlreadyDecided => "already_decided",
            Rejection::ClaimWithoutCounterfactual => "claim_without_counterfactual",
            Rejection::ClaimContradictsDisposition => "claim_contradicts_disposition",
            Rejection::ClaimedTwice => "claimed_twice",
            Rejection::AdmittingProblemMissing => "admitting_problem_missing",
            Rejection::AlreadyWithdrawn => "already_withdrawn",
            Rejection::ReasonReserved => "reason_reserved",
        }
    }
}

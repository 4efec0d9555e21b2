//! What the rules of a call say no to.

/// A rule refuses a command. The code is part of the interface; the text holds nothing personal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    #[error("the directory knows no such home")]
    HomeUnknown,
    #[error("the home was not live at that time")]
    HomeNotLive,
    #[error("the call is closed")]
    CallClosed,
    #[error("the call was abandoned")]
    CallAbandoned,
    #[error("the call was voided")]
    CallVoided,
    #[error("a person has answered the call already")]
    AlreadyAnswered,
    #[error("the call is triaged; to triage it again, say why")]
    AlreadyTriaged,
    #[error("the call is not triaged yet")]
    NotTriaged,
    #[error("no clinician has joined the call")]
    NotWithClinician,
    #[error("the call names this resident already")]
    AlreadyIdentified,
    #[error("name the consultation that was recorded, or say why its outcome is to follow")]
    OutcomeMissing,
    #[error("the consultation belongs to another call")]
    ConsultationOfAnotherCall,
    #[error("a prescription belongs to another call")]
    PrescriptionOfAnotherCall,
    #[error("a call is not a duplicate of itself, and only a duplicate names another call")]
    NotADuplicate,
}

impl Rejection {
    /// The stable word that clients match on.
    pub fn code(self) -> &'static str {
        match self {
            Rejection::HomeUnknown => "home_unknown",
            Rejection::HomeNotLive => "home_not_live",
            Rejection::CallClosed => "call_closed",
            Rejection::CallAbandoned => "call_abandoned",
            Rejection::CallVoided => "call_voided",
            Rejection::AlreadyAnswered => "already_answered",
            Rejection::AlreadyTriaged => "already_triaged",
            Rejection::NotTriaged => "not_triaged",
            Rejection::NotWithClinician => "not_with_clinician",
            Rejection::AlreadyIdentified => "already_identified",
            Rejection::OutcomeMissing => "outcome_missing",
            Rejection::ConsultationOfAnotherCall => "consultation_of_another_call",
            Rejection::PrescriptionOfAnotherCall => "prescription_of_another_call",
            Rejection::NotADuplicate => "not_a_duplicate",
        }
    }
}

//! Why prescribing says no. The text says the rule, never the case.

use super::Status;

/// The business says no; each has a stable code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    #[error("the call was voided")]
    CallVoided,
    #[error("the order is no longer a draft")]
    NotADraft,
    #[error("no such pharmacy is listed")]
    PharmacyUnknown,
    #[error("the pharmacy is not open at that time")]
    PharmacyClosed,
    #[error("another open pharmacy is nearer: say why this one")]
    OverrideReasonNeeded,
    #[error("choose a pharmacy first")]
    PharmacyNotChosen,
    #[error("the resident is not identified yet")]
    ResidentProvisional,
    #[error("it is not decided whether the resident is the same person as another")]
    MergePending,
    #[error("the resident has died")]
    ResidentDied,
    #[error("a prescription is signed when it is signed")]
    SigningCannotBeRetrospective,
    #[error("this deployment has no signing service")]
    NoSigningService,
    #[error("the directory holds no NHS number for the resident")]
    NoNhsNumber,
    #[error("the resident's personal data was destroyed or is withheld")]
    PersonalDataNotReadable,
    #[error("the order number is another's; sign again")]
    OrderNumberTaken,
}

impl Rejection {
    /// The stable word that clients match on.
    pub fn code(self) -> &'static str {
        match self {
            Self::CallVoided => "call_voided",
            Self::NotADraft => "already_signed",
            Self::PharmacyUnknown => "pharmacy_unknown",
            Self::PharmacyClosed => "pharmacy_closed",
            Self::OverrideReasonNeeded => "override_reason_needed",
            Self::PharmacyNotChosen => "pharmacy_not_chosen",
            Self::ResidentProvisional => "resident_provisional",
            Self::MergePending => "merge_pending",
            Self::ResidentDied => "resident_died",
            Self::SigningCannotBeRetrospective => "signing_cannot_be_retrospective",
            Self::NoSigningService => "no_signing_service",
            Self::NoNhsNumber => "no_nhs_number",
            Self::PersonalDataNotReadable => "personal_data_not_readable",
            Self::OrderNumberTaken => "order_number_taken",
        }
    }
}

/// Only a draft is changed or signed.
pub(super) fn must_be_draft(status: Status) -> Result<(), Rejection> {
    match status {
        Status::Draft => Ok(()),
        Status::Submitted | Status::Accepted | Status::Rejected => Err(Rejection::NotADraft),
    }
}

//! What the Electronic Prescription Service answers.

use super::bundle::{Bundle, Resource};
use super::{FhirError, systems};

/// What EPS answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EpsReply {
    /// Taken.
    Accepted,
    /// Not taken, for these codes.
    Refused {
        /// Issue codes.
        codes: Vec<String>,
        /// One of them says that EPS has this prescription already.
        is_duplicate: bool,
    },
    /// The answer to a cancellation.
    Cancellation(CancelOutcome),
    /// A resource that is no answer.
    Unknown,
}

/// Outcome of a cancellation (code system medicationrequest-status-history).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CancelOutcome {
    /// R-0001
    Cancelled,
    /// R-0002, R-0003: with the dispenser, marked for cancellation.
    WithDispenser,
    /// R-0004
    AlreadyDispensed,
    /// R-0005
    Expired,
    /// R-0006
    AlreadyCancelled,
    /// R-0007
    RequestedByAnother,
    /// R-0008
    NotFound,
    /// Any other code.
    Failed {
        /// As sent.
        code: String,
    },
}

impl CancelOutcome {
    /// From the code.
    pub fn of(code: &str) -> Self {
        match code {
            "R-0001" => Self::Cancelled,
            "R-0002" | "R-0003" => Self::WithDispenser,
            "R-0004" => Self::AlreadyDispensed,
            "R-0005" => Self::Expired,
            "R-0006" => Self::AlreadyCancelled,
            "R-0007" => Self::RequestedByAnother,
            "R-0008" => Self::NotFound,
            other => Self::Failed { code: other.to_owned() },
        }
    }

    /// The patient may still get the medicine: someone has to telephone the pharmacy.
    pub fn needs_call_to_dispenser(&self) -> bool {
        matches!(self, Self::WithDispenser | Self::AlreadyDispensed | Self::RequestedByAnother)
    }
}

impl EpsReply {
    /// Reads the body of an answer.
    pub fn parse(json: &[u8]) -> Result<Self, FhirError> {
        Ok(match Resource::parse(json)? {
            Resource::OperationOutcome(outcome) if outcome.is_failure() => {
                Self::Refused { codes: outcome.codes().into_iter().map(str::to_owned).collect(), is_duplicate: outcome.is_duplicate() }
            }
            Resource::OperationOutcome(_) => Self::Accepted,
            Resource::Bundle(bundle) => cancel_outcome(&bundle).map_or(Self::Unknown, Self::Cancellation),
            _ => Self::Unknown,
        })
    }
}

fn cancel_outcome(bundle: &Bundle) -> Option<CancelOutcome> {
    bundle
        .resources()
        .filter_map(|resource| match resource {
            Resource::MedicationRequest(request) => Some(request),
            _ => None,
        })
        .flat_map(|request| &request.extension)
        .filter(|extension| extension.url == systems::STATUS_HISTORY_EXTENSION)
        .flat_map(|extension| &extension.extension)
        .filter_map(|part| part.value_coding.as_ref()?.code.as_deref())
        .map(CancelOutcome::of)
        .next()
}

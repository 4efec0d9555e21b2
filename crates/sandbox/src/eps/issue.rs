//! How the prescription service says no: the codes of `EPS-IssueCode` and of the Spine, and the outcomes of a
//! cancellation.

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use crate::json::fhir;

const EPS: &str = "https://fhir.nhs.uk/CodeSystem/EPS-IssueCode";
const SPINE: &str = "https://fhir.nhs.uk/CodeSystem/Spine-ErrorOrWarningCode";
pub(super) const STATUS_HISTORY: &str = "https://fhir.nhs.uk/CodeSystem/medicationrequest-status-history";

/// One issue of an `OperationOutcome`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Issue {
    status: StatusCode,
    issue_type: &'static str,
    system: &'static str,
    code: String,
    display: String,
}

impl Issue {
    /// A business refusal by its code; an unknown code is passed on as it stands.
    pub(super) fn known(code: &str) -> Self {
        let (issue_type, system, display) = match code {
            "PATIENT_DECEASED" => ("business-rule", EPS, "Patient is recorded as dead"),
            "DUPLICATE_PRESCRIPTION_ID" => ("duplicate", EPS, "Duplicate prescription ID exists"),
            "DUPLICATE_MEDICATIONREQUEST_ID" => ("duplicate", EPS, "Duplicate item ID exists"),
            "MISSING_DIGITAL_SIGNATURE" => ("business-rule", EPS, "Digital signature not found"),
            "INVALID_NUMBER_MEDICATIONREQUESTS" => ("business-rule", EPS, "Number of items on a prescription should be between 1 and 4"),
            "INVALID_CHECK_DIGIT" => ("value", EPS, "Error in check digit"),
            "PRESCRIPTION_NOT_FOUND" => ("not-found", EPS, "Prescription can not be found"),
            "PRESCRIPTION_EXPIRED" => ("business-rule", EPS, "Prescription has expired"),
            "PRESCRIPTION_DISPENSED" => ("business-rule", EPS, "Prescription has been dispensed"),
            "PRESCRIPTION_WITH_ANOTHER_DISPENSER" => ("business-rule", EPS, "Prescription is with another dispenser"),
            "SERVICE_DISABLED" => ("exception", EPS, "Functionality disabled in spine"),
            "RESOURCE_VERSION_MISMATCH" => ("conflict", SPINE, "Resource version mismatch"),
            "FAILURE_TO_PROCESS_MESSAGE" => ("processing", SPINE, "Unable to process message"),
            _ => ("processing", EPS, "Refused as scripted"),
        };
        Self { status: StatusCode::BAD_REQUEST, issue_type, system, code: code.to_owned(), display: display.to_owned() }
    }

    /// A message that breaks a rule of the message definition. `rule` says which; it must not quote content.
    pub(super) fn invalid(rule: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, issue_type: "structure", system: EPS, code: "INVALID_MESSAGE".to_owned(), display: rule.into() }
    }

    /// No user-restricted access token.
    pub(super) fn access_denied() -> Self {
        Self {
            status: StatusCode::UNAUTHORIZED,
            issue_type: "login",
            system: SPINE,
            code: "ACCESS_DENIED".to_owned(),
            display: "A user-restricted bearer token is required".to_owned(),
        }
    }

    pub(super) fn unsupported_media_type() -> Self {
        Self { status: StatusCode::UNSUPPORTED_MEDIA_TYPE, ..Self::invalid("The body must be application/fhir+json") }
    }

    pub(super) fn code(&self) -> &str {
        &self.code
    }

    fn to_json(&self) -> Value {
        json!({
            "severity": "error",
            "code": self.issue_type,
            "details": { "coding": [{ "system": self.system, "code": self.code, "display": self.display }] },
        })
    }
}

/// All issues of one request, with the status of the first.
pub(super) fn refusal(issues: &[Issue]) -> Response {
    let status = issues.first().map_or(StatusCode::INTERNAL_SERVER_ERROR, |issue| issue.status);
    let issues: Vec<Value> = issues.iter().map(Issue::to_json).collect();
    fhir(status, &json!({ "resourceType": "OperationOutcome", "issue": issues }))
}

/// What a cancellation can come to, by its code of the status history.
pub(super) fn outcome_display(code: &str) -> Option<&'static str> {
    Some(match code {
        "R-0001" => "Prescription/item was cancelled",
        "R-0002" => "Prescription/item was not cancelled – With dispenser",
        "R-0003" => "Prescription item was not cancelled – With dispenser active",
        "R-0004" => "Prescription/item was not cancelled – Dispensed to Patient",
        "R-0005" => "Prescription/item had expired",
        "R-0006" => "Prescription/item had already been cancelled",
        "R-0007" => "Prescription/item cancellation requested by another prescriber",
        "R-0008" => "Prescription/item not found",
        "R-0009" => "Cancellation functionality disabled in Spine",
        "R-0010" => "Prescription/item was not cancelled. Prescription has been not dispensed",
        "R-5000" | "5000" => "Unable to process message",
        "R-5888" | "5888" => "Invalid message",
        _ => return None,
    })
}

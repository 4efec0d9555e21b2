//! What a server says went wrong.

use serde::{Deserialize, Serialize};

use super::FhirError;
use super::bundle::Resource;
use super::types::*;

type Text = Option<String>;

fhir_struct! {
    /// OperationOutcome.
    OperationOutcome { id: Text, issue: Vec<Issue> }
    /// OperationOutcome.issue. `diagnostics` is written by the server and may hold anything.
    Issue { severity: Text, code: Text, details: Option<CodeableConcept>, diagnostics: Text, expression: Vec<String> }
}

impl OperationOutcome {
    /// Reads an OperationOutcome.
    pub fn parse(json: &[u8]) -> Result<Self, FhirError> {
        match Resource::parse(json)? {
            Resource::OperationOutcome(outcome) => Ok(*outcome),
            _ => Err(FhirError::Unexpected { expected: "OperationOutcome" }),
        }
    }

    /// Whether any issue is an error or fatal.
    pub fn is_failure(&self) -> bool {
        self.issue.iter().any(|issue| matches!(issue.severity.as_deref(), Some("error" | "fatal")))
    }

    /// Codes of all issues, the most specific of each: the coded detail, else the issue type. Safe to log.
    pub fn codes(&self) -> Vec<&str> {
        self.issue
            .iter()
            .filter_map(|issue| {
                let detail = issue.details.as_ref().and_then(CodeableConcept::first_code);
                detail.or(issue.code.as_deref())
            })
            .collect()
    }

    /// Whether the server says it has this already.
    pub fn is_duplicate(&self) -> bool {
        self.issue.iter().any(|issue| {
            issue.code.as_deref() == Some("duplicate")
                || issue
                    .details
                    .iter()
                    .flat_map(|d| &d.coding)
                    .any(|coding| matches!(coding.code.as_deref(), Some("DUPLICATE_PRESCRIPTION_ID" | "DUPLICATE_MEDICATIONREQUEST_ID")))
        })
    }
}

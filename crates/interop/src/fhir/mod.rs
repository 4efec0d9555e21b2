//! FHIR R4, only what is sent and what comes back.
//!
//! 1. [`document`] makes the care plan document for a shared care record, its DocumentReference and the transaction
//!    that uploads it once.
//! 2. [`eps`] makes prescription messages for the NHS Electronic Prescription Service and reads its replies.
//! 3. [`OperationOutcome`] and [`Bundle`] read what a server says.
//!
//! Input is plain structs of text and numbers; output is [`Bundle`] and its JSON. Identifiers inside a bundle are
//! UUIDv5 of the caller's identifier, so composing again gives the same bytes: a retry cannot create a second document,
//! and a signature can be checked against what was kept. Types that hold personal data have no `Debug`.

mod bundle;
pub mod document;
pub mod eps;
mod eps_reply;
mod narrative;
mod order;
mod outcome;
mod resources;
pub mod systems;
mod types;

pub use bundle::{Bundle, BundleEntry, EntryRequest, EntryResponse, Resource};
pub use outcome::{Issue, OperationOutcome};
pub use resources::*;
pub use types::*;

/// Why a resource could not be made or read. Holds no content.
#[derive(Debug, thiserror::Error)]
pub enum FhirError {
    /// Not JSON, or not the shape of the resource it says it is.
    #[error("not a readable FHIR resource (line {line}, column {column})")]
    Unreadable {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// Another resource than the one asked for.
    #[error("not a {expected} resource")]
    Unexpected {
        /// FHIR resource name.
        expected: &'static str,
    },
    /// A time outside the years 1 to 9999.
    #[error("a time is out of range")]
    TimeOutOfRange,
    /// EPS takes one to four items in one prescription.
    #[error("a prescription has {count} items; one to four are allowed")]
    ItemCount {
        /// How many there were.
        count: usize,
    },
    /// The item to cancel is not in the prescription.
    #[error("the item is not in the prescription")]
    NoSuchItem,
}

impl FhirError {
    pub(crate) fn unreadable(error: &serde_json::Error) -> Self {
        Self::Unreadable { line: error.line(), column: error.column() }
    }
}

/// FHIR instant, whole seconds in UTC, from microseconds since 1970-01-01T00:00:00Z.
pub fn instant(instant_us: i64) -> Result<String, FhirError> {
    let timestamp = jiff::Timestamp::from_microsecond(instant_us).map_err(|_| FhirError::TimeOutOfRange)?;
    let utc = jiff::tz::Offset::UTC.to_datetime(timestamp);
    if utc.year() < 1 {
        return Err(FhirError::TimeOutOfRange);
    }
    Ok(utc.strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string())
}

/// `identifier=system|value`, as `ifNoneExist` in a transaction takes it.
pub fn identifier_query(system: &str, value: &str) -> String {
    format!("identifier={system}|{value}")
}

/// The same, percent-encoded for a URL or the `If-None-Exist` header.
pub fn identifier_query_encoded(system: &str, value: &str) -> String {
    let mut query = String::from("identifier=");
    for byte in format!("{system}|{value}").bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            query.push(char::from(byte));
        } else {
            query.push_str(&format!("%{byte:02X}"));
        }
    }
    query
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_utc_to_the_second() {
        assert_eq!(instant(1_736_510_400_999_999).ok().as_deref(), Some("2025-01-10T12:00:00+00:00"));
        assert!(matches!(instant(i64::MAX), Err(FhirError::TimeOutOfRange)));
    }

    #[test]
    fn identifier_queries_are_encoded_for_headers() {
        assert_eq!(identifier_query("https://x/y", "1"), "identifier=https://x/y|1");
        assert_eq!(identifier_query_encoded("https://x/y", "1 2"), "identifier=https%3A%2F%2Fx%2Fy%7C1%202");
    }
}

//! Homes, practices, pharmacies and residents: what they are, what may happen to them, and who a caller means.
//!
//! Pure: no clock, no randomness, no input or output. Ids, times and dates come in as values.

pub mod decide;
pub mod events;
pub mod identify;
pub mod rejection;
pub mod state;

use hearthline_nhs::{Coordinates, CqcLocationId, DateOfBirth, EmailAddress, NhsNumber, OdsCode, OpeningHours, PersonName, Postcode, PracticeId};
use jiff::civil::Date;
use zeroize::Zeroize;

/// What kind of care a home gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HomeType {
    Nursing,
    Residential,
    Specialist,
}

/// A care home as a register describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HomeDetails {
    pub ods: OdsCode,
    pub cqc: Option<CqcLocationId>,
    pub name: String,
    /// Street lines and town, never empty.
    pub address: Vec<String>,
    pub postcode: Postcode,
    /// Unique property reference number: up to twelve digits.
    pub uprn: Option<String>,
    pub beds: u32,
    pub home_type: HomeType,
    pub controller: OdsCode,
    pub position: Option<Coordinates>,
}

/// The shared mailbox to which care plans may go, and the day on which somebody made sure of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecureEmail {
    pub address: EmailAddress,
    pub verified_on: Date,
}

/// The practice that looks after a home.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alignment {
    pub practice: PracticeId,
    pub ods: OdsCode,
}

/// A GP practice as listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PracticeDetails {
    pub ods: OdsCode,
    pub name: String,
    pub postcode: Postcode,
}

/// A community pharmacy as listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PharmacyDetails {
    pub ods: OdsCode,
    pub name: String,
    pub postcode: Postcode,
    pub position: Option<Coordinates>,
    pub opening: OpeningHours,
    pub listed_from: Option<Date>,
}

/// Who a resident is.
#[derive(Debug, Clone, PartialEq, Eq, Zeroize)]
pub struct Person {
    pub name: PersonName,
    pub date_of_birth: DateOfBirth,
    pub nhs_number: Option<NhsNumber>,
}

/// What a person has to look into. The words are part of the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskKind {
    /// What a caller said is not enough to know or register the resident.
    IdentifyResident,
    /// What a caller said disagrees with the resident it would name.
    IdentityDisagrees,
    /// A hospital says that two residents are one person.
    DecideMerge,
    /// A hospital says that a resident died, without a date.
    ConfirmDeath,
}

impl TaskKind {
    pub const ALL: [TaskKind; 4] = [TaskKind::IdentifyResident, TaskKind::IdentityDisagrees, TaskKind::DecideMerge, TaskKind::ConfirmDeath];

    pub fn as_str(self) -> &'static str {
        match self {
            TaskKind::IdentifyResident => "identify_resident",
            TaskKind::IdentityDisagrees => "identity_disagrees",
            TaskKind::DecideMerge => "decide_merge",
            TaskKind::ConfirmDeath => "confirm_death",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// How long a person has, in µs, counted from when the reason for it was recorded.
    pub fn time_allowed_us(self) -> i64 {
        const HOUR_US: i64 = 3_600_000_000;
        match self {
            TaskKind::IdentifyResident | TaskKind::IdentityDisagrees => 4 * HOUR_US,
            TaskKind::DecideMerge | TaskKind::ConfirmDeath => 72 * HOUR_US,
        }
    }
}

#[cfg(test)]
mod tests;

//! The caller: role, organisation, home, and a pseudonym that stands for the person in events and audit rows.

use std::fmt;
use std::str::FromStr;

use hearthline_nhs::{HomeId, OdsCode};

use crate::http::{Problem, codes, not_found};

/// What somebody is to this system. Every token carries exactly one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Staff of a care home; acts for that home only.
    CareHome,
    /// The hub's call handler.
    CallHandler,
    /// The hub's clinician.
    Clinician,
    /// A prescriber, who signs in a session of their own.
    Prescriber,
    /// Reads figures; never who anyone is.
    Analyst,
    /// Runs the system: registers, deliveries, parked items.
    Operator,
    /// A trust's integration engineer.
    TrustEngineer,
    /// Decides merges, disposals and access reviews.
    PrivacyOfficer,
    /// Answers for clinical safety (DCB0129, DCB0160).
    SafetyOfficer,
}

impl Role {
    /// Every role, for tables and tests.
    pub const ALL: [Role; 9] = [
        Role::CareHome,
        Role::CallHandler,
        Role::Clinician,
        Role::Prescriber,
        Role::Analyst,
        Role::Operator,
        Role::TrustEngineer,
        Role::PrivacyOfficer,
        Role::SafetyOfficer,
    ];

    /// The word used in tokens, problems and documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::CareHome => "care_home",
            Role::CallHandler => "call_handler",
            Role::Clinician => "clinician",
            Role::Prescriber => "prescriber",
            Role::Analyst => "analyst",
            Role::Operator => "operator",
            Role::TrustEngineer => "trust_engineer",
            Role::PrivacyOfficer => "privacy_officer",
            Role::SafetyOfficer => "safety_officer",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The word names no role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a role; the roles are care_home, call_handler, clinician, prescriber, analyst, operator, trust_engineer, \
     privacy_officer and safety_officer"
)]
pub struct UnknownRole;

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Role::ALL.into_iter().find(|role| role.as_str() == text).ok_or(UnknownRole)
    }
}

/// A verified caller. Holds no name: `subject` is a pseudonym made of issuer and subject of the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// 16 bytes that stand for the person in events and audit rows.
    pub subject: [u8; 16],
    /// The one role of the token.
    pub role: Role,
    /// The organisation the person acts for.
    pub org: OdsCode,
    /// The home the person acts for; always there for `care_home`.
    pub home: Option<HomeId>,
    /// Whether the person is signed in and present (needed to sign a prescription).
    pub session: bool,
}

impl Caller {
    /// Whether things of this home may be shown to the caller: a `care_home` sees its own home, others see all that
    /// their role allows.
    pub fn sees_home(&self, home: HomeId) -> bool {
        match self.role {
            Role::CareHome => self.home == Some(home),
            Role::CallHandler
            | Role::Clinician
            | Role::Prescriber
            | Role::Analyst
            | Role::Operator
            | Role::TrustEngineer
            | Role::PrivacyOfficer
            | Role::SafetyOfficer => true,
        }
    }

    /// For a thing addressed by its path: 404 where it belongs to another home, as if it did not exist.
    pub fn must_see_home(&self, home: HomeId) -> Result<(), Problem> {
        self.sees_home(home).then_some(()).ok_or_else(not_found)
    }

    /// For a home named in a body: 403 where it is not the caller's own.
    pub fn must_act_for_home(&self, home: HomeId) -> Result<(), Problem> {
        self.sees_home(home).then_some(()).ok_or_else(|| Problem::of(codes::HOME_NOT_OWN))
    }

    /// For a thing addressed by its path: 404 where it belongs to another organisation.
    pub fn must_see_organisation(&self, org: &OdsCode) -> Result<(), Problem> {
        (self.org == *org).then_some(()).ok_or_else(not_found)
    }

    /// For an organisation named in a body: 403 where it is not the caller's own.
    pub fn must_act_for_organisation(&self, org: &OdsCode) -> Result<(), Problem> {
        (self.org == *org).then_some(()).ok_or_else(|| Problem::of(codes::ORGANISATION_NOT_OWN))
    }

    /// 403 where the person is not present in a session.
    pub fn must_be_in_session(&self) -> Result<(), Problem> {
        self.session.then_some(()).ok_or_else(|| Problem::of(codes::SESSION_NEEDED))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn carer() -> Caller {
        Caller { subject: [1; 16], role: Role::CareHome, org: OdsCode::parse("vl1a2").expect("valid"), home: Some(HomeId::from_bytes([7; 16])), session: false }
    }

    #[test]
    fn every_role_reads_back_from_its_word() {
        for role in Role::ALL {
            assert_eq!(role.as_str().parse(), Ok(role));
        }
        assert!("root".parse::<Role>().is_err());
    }

    #[test]
    fn a_home_sees_itself_and_no_other() {
        assert!(carer().must_see_home(HomeId::from_bytes([7; 16])).is_ok());
        assert_eq!(carer().must_see_home(HomeId::from_bytes([8; 16])).expect_err("other").code(), "not_found");
        assert_eq!(carer().must_act_for_home(HomeId::from_bytes([8; 16])).expect_err("other").code(), "home_not_own");
    }

    #[test]
    fn another_organisation_is_not_found_by_path_and_refused_in_a_body() {
        assert_eq!(carer().org.as_str(), "VL1A2");
        assert_eq!(carer().must_see_organisation(&OdsCode::parse("XYZ").expect("valid")).expect_err("other").code(), "not_found");
        assert_eq!(carer().must_act_for_organisation(&OdsCode::parse("XYZ").expect("valid")).expect_err("other").code(), "organisation_not_own");
    }
}

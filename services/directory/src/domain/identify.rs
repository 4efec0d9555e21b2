//! Who a caller means: what was said about a provisional resident, against what the directory knows.

use super::{Person, TaskKind};
use hearthline_nhs::{DateOfBirth, NhsNumber, PersonName, Personal, ResidentId};

/// An NHS number as a caller gave it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum NumberSaid {
    #[default]
    Nothing,
    /// Something that is no NHS number.
    Unusable,
    Number(NhsNumber),
}

/// What was said about a provisional resident, so far as it can be read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Said {
    pub name: Option<PersonName>,
    pub date_of_birth: Option<DateOfBirth>,
    pub nhs_number: NumberSaid,
}

impl Said {
    /// Fills what was not said now with what was said before.
    #[must_use]
    pub fn or_before(self, before: Said) -> Said {
        Said {
            name: self.name.or(before.name),
            date_of_birth: self.date_of_birth.or(before.date_of_birth),
            nhs_number: match self.nhs_number {
                NumberSaid::Nothing => before.nhs_number,
                said => said,
            },
        }
    }

    /// Whether the date of birth that was said is another than this one. Silence disagrees with nothing.
    pub fn disagrees_with(&self, known: &Personal<DateOfBirth>) -> bool {
        matches!((&self.date_of_birth, known.known()), (Some(said), Some(known)) if said != known)
    }
}

/// Who has the number that was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    Nobody,
    Resident { id: ResidentId, date_of_birth: Personal<DateOfBirth> },
}

/// What to do about a provisional resident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identification {
    Merge { into: ResidentId },
    Register(Box<Person>),
    Ask { kind: TaskKind, subject: Option<ResidentId> },
}

/// A number alone names nobody: it may be misheard. Only with the date of birth of its holder does it, and only with name, date
/// of birth and home is an unknown one enough to register somebody.
pub fn identify(said: &Said, holder: &Holder, has_home: bool) -> Identification {
    let not_enough = Identification::Ask { kind: TaskKind::IdentifyResident, subject: None };
    let NumberSaid::Number(number) = &said.nhs_number else { return not_enough };
    match (holder, &said.name, &said.date_of_birth) {
        (Holder::Resident { id, date_of_birth }, _, Some(said)) if date_of_birth.known() == Some(said) => Identification::Merge { into: *id },
        (Holder::Resident { id, .. }, ..) => Identification::Ask { kind: TaskKind::IdentityDisagrees, subject: Some(*id) },
        (Holder::Nobody, Some(name), Some(date_of_birth)) if has_home && !name.is_unknown() => {
            Identification::Register(Box::new(Person { name: name.clone(), date_of_birth: date_of_birth.clone(), nhs_number: Some(number.clone()) }))
        }
        (Holder::Nobody, ..) => not_enough,
    }
}

//! Value types and clinical rules that the whole of Hearthline agrees on.
//!
//! Each type is parsed once, where a value enters, and is proof from then on that the value is well
//! formed: a private field, a `parse` (or `new`) that says exactly what is wrong, and getters. Errors never
//! repeat the value they refuse, so they may be logged.
//!
//! What this crate must not do: no input or output, no clock, no randomness, no serialisation and no
//! asynchronous code. Callers pass instants, dates and random bytes in.
//!
//! | Module | What it holds |
//! |---|---|
//! | [`identifier`] | one 16-byte id type per entity |
//! | [`nhs_number`] | NHS number and its tracing status |
//! | [`organisation`] | ODS codes and CQC locations |
//! | [`sctid`] | SNOMED CT identifiers and the dm+d namespace |
//! | [`prescription`] | the short-form EPS prescription number |
//! | [`news2`] | observations and the National Early Warning Score 2 |
//! | [`hospital`] | admission, discharge and arrival codes carried in ADT messages |
//! | [`demographics`] | names and dates of birth |
//! | [`contact`] | postcodes and email addresses |
//! | [`personal`] | the wrappers that keep personal data out of logs |
//! | [`coordinates`] | positions and distances |
//! | [`opening_hours`] | when a service or pharmacy is open |
//! | [`london`] | Europe/London civil time and ISO weeks |
//! | [`words`] | enums with a stable code word for each variant |

pub mod contact;
pub mod coordinates;
pub mod demographics;
pub mod hospital;
pub mod identifier;
pub mod london;
pub mod news2;
pub mod nhs_number;
pub mod opening_hours;
pub mod organisation;
pub mod personal;
pub mod prescription;
pub mod sctid;
pub mod words;

pub use contact::{EmailAddress, EmailAddressError, Postcode, PostcodeError};
pub use coordinates::{Coordinates, CoordinatesError};
pub use demographics::{DateOfBirth, DateOfBirthError, PersonName, PersonNameError};
pub use hospital::{AdmissionMethod, ArrivalMode, DischargeDestination, NationalCodeError, SourceOfAdmission, is_emergency_admission};
pub use identifier::{
    CallId, ClaimId, ConsultationId, DeliveryId, EventId, HomeId, IdentifierError, PharmacyId, PracticeId, PrescriptionId, ResidentId, ShareId, StreamId,
    TaskId, VisitId,
};
pub use london::{InstantOutOfRange, IsoWeek, london_date, london_instant, london_local};
pub use news2::{
    Consciousness, ConsciousnessError, ImpossibleObservation, InspiredGas, News2, Observations, Parameter, Parts, Readings, Risk, SpO2Scale, score,
};
pub use nhs_number::{NhsNumber, NhsNumberError, NhsNumberStatus, NhsNumberStatusError};
pub use opening_hours::{Interval, OpeningHours, OpeningHoursError};
pub use organisation::{CqcLocationId, CqcLocationIdError, OdsCode, OdsCodeError};
pub use personal::{Personal, Sensitive};
pub use prescription::{PrescriptionOrderNumber, PrescriptionOrderNumberError};
pub use sctid::{Component, Sctid, SctidError};

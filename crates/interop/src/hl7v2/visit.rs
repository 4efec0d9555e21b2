//! What an ADT message says about the visit: PV1 and PV2, and when it happened.

use super::adt::Adt;
use super::codes::{PatientClass, Trigger};
use super::part::Field;
use super::person::PatientIdentifier;
use super::time::{Hl7Time, Hl7TimeError};

/// A PL location. Systems fill the components in different orders, so the whole field is kept beside them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Location<'m> {
    /// PL-1, point of care (ward).
    pub point_of_care: Option<&'m str>,
    /// PL-2.
    pub room: Option<&'m str>,
    /// PL-3.
    pub bed: Option<&'m str>,
    /// PL-4, first subcomponent.
    pub facility: Option<&'m str>,
    /// The whole first repetition.
    pub raw: &'m str,
}

/// Where the time of a visit event was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeSource {
    /// PV1-44.
    Admitted,
    /// PV1-45.
    Discharged,
    /// PV2-8.
    ExpectedAdmission,
    /// EVN-6.
    EventOccurred,
    /// EVN-2.
    EventRecorded,
    /// MSH-7.
    MessageSent,
}

/// When something happened to the visit, as far as the message tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VisitTime<'m> {
    /// The time.
    pub time: Hl7Time<'m>,
    /// Where it stood.
    pub source: TimeSource,
    /// A place of higher rank held something that is no time.
    pub passed_over_malformed: bool,
}

impl<'m> Adt<'m> {
    /// PV1-2.
    pub fn patient_class(&self) -> Option<PatientClass<'m>> {
        self.pv1(2).code().map(PatientClass::of)
    }

    /// PV1-3.
    pub fn location(&self) -> Option<Location<'m>> {
        location(self.pv1(3))
    }

    /// PV1-6.
    pub fn prior_location(&self) -> Option<Location<'m>> {
        location(self.pv1(6))
    }

    /// PV1-4: in ITK feeds the national admission method code, elsewhere free text.
    pub fn admission_method(&self) -> Option<&'m str> {
        self.pv1(4).code()
    }

    /// PV1-4 is a national code for an emergency admission: two characters beginning with 2 (NHS Data Dictionary).
    pub fn is_emergency_admission_method(&self) -> bool {
        self.admission_method().is_some_and(|code| code.len() == 2 && code.starts_with('2'))
    }

    /// PV1-10: treatment specialty.
    pub fn specialty(&self) -> Option<&'m str> {
        self.pv1(10).code()
    }

    /// PV1-14: in ITK feeds the national source of admission code; some emergency departments send a SNOMED id.
    pub fn source_of_admission(&self) -> Option<&'m str> {
        self.pv1(14).code()
    }

    /// PV1-18.
    pub fn patient_type(&self) -> Option<&'m str> {
        self.pv1(18).code()
    }

    /// PV1-19: the visit number, unique within its authority and type.
    pub fn visit_id(&self) -> Option<PatientIdentifier<'m>> {
        PatientIdentifier::first_of(self.pv1(19))
    }

    /// PV1-50: often the consultant episode inside the spell.
    pub fn alternate_visit_id(&self) -> Option<PatientIdentifier<'m>> {
        PatientIdentifier::first_of(self.pv1(50))
    }

    /// MRG-5: the visit number that PV1-19 replaces (A42, A45).
    pub fn prior_visit_id(&self) -> Option<PatientIdentifier<'m>> {
        PatientIdentifier::first_of(self.mrg(5))
    }

    /// PV1-36: in ITK feeds the national discharge destination code; elsewhere words such as `Home`.
    pub fn discharge_destination(&self) -> Option<&'m str> {
        self.pv1(36).code()
    }

    /// PV1-44; `Ok(None)` when nothing was sent.
    pub fn admitted_at(&self) -> Result<Option<Hl7Time<'m>>, Hl7TimeError> {
        time(self.pv1(44))
    }

    /// PV1-45; `Ok(None)` when nothing was sent.
    pub fn discharged_at(&self) -> Result<Option<Hl7Time<'m>>, Hl7TimeError> {
        time(self.pv1(45))
    }

    /// PV2-3: reason for admission; the text, else the code.
    pub fn admission_reason(&self) -> Option<std::borrow::Cow<'m, str>> {
        let reason = self.pv2(3);
        reason.component(2).decoded().or_else(|| reason.component(1).decoded())
    }

    /// PV2-8; `Ok(None)` when nothing was sent.
    pub fn expected_admission_at(&self) -> Result<Option<Hl7Time<'m>>, Hl7TimeError> {
        time(self.pv2(8))
    }

    /// PV2-38: mode of arrival, a letter or a SNOMED id.
    pub fn mode_of_arrival(&self) -> Option<&'m str> {
        self.pv2(38).code()
    }

    /// When the event happened, by the date HL7 UK A.3 names for its trigger: the admission or discharge time of the
    /// visit before the time of the event, except for transfers, which have none of their own. EVN-2 and MSH-7 are
    /// the last resort. `None` when no place holds a readable time.
    pub fn visit_time(&self) -> Option<VisitTime<'m>> {
        use TimeSource::{Admitted, Discharged, EventOccurred, EventRecorded, ExpectedAdmission, MessageSent};
        let first = match self.trigger() {
            Trigger::A01 | Trigger::A04 => Some(Admitted),
            Trigger::A03 => Some(Discharged),
            Trigger::A05 => Some(ExpectedAdmission),
            Trigger::A02
            | Trigger::A06
            | Trigger::A07
            | Trigger::A08
            | Trigger::A11
            | Trigger::A12
            | Trigger::A13
            | Trigger::A28
            | Trigger::A31
            | Trigger::A34
            | Trigger::A38
            | Trigger::A40
            | Trigger::A42
            | Trigger::A45
            | Trigger::A47
            | Trigger::Other(_) => None,
        };
        self.first_time(first.into_iter().chain([EventOccurred, EventRecorded, MessageSent]))
    }

    /// For ordering messages about one visit: EVN-6, then EVN-2, then MSH-7.
    pub fn event_time(&self) -> Option<VisitTime<'m>> {
        use TimeSource::{EventOccurred, EventRecorded, MessageSent};
        self.first_time([EventOccurred, EventRecorded, MessageSent].into_iter())
    }

    fn first_time(&self, sources: impl Iterator<Item = TimeSource>) -> Option<VisitTime<'m>> {
        let mut passed_over_malformed = false;
        for source in sources {
            let field = match source {
                TimeSource::Admitted => self.pv1(44),
                TimeSource::Discharged => self.pv1(45),
                TimeSource::ExpectedAdmission => self.pv2(8),
                TimeSource::EventOccurred => self.evn(6),
                TimeSource::EventRecorded => self.evn(2),
                TimeSource::MessageSent => self.msh(7),
            };
            match time(field) {
                Ok(Some(time)) => {
                    return Some(VisitTime { time, source, passed_over_malformed });
                }
                Ok(None) => {}
                Err(Hl7TimeError::Malformed | Hl7TimeError::OutOfRange) => passed_over_malformed = true,
            }
        }
        None
    }
}

/// The first component of a time field.
pub(crate) fn time(field: Field<'_>) -> Result<Option<Hl7Time<'_>>, Hl7TimeError> {
    field.code().map(Hl7Time::parse).transpose()
}

fn location(field: Field<'_>) -> Option<Location<'_>> {
    let whole = field.first();
    let raw = whole.value().code()?;
    let [point_of_care, room, bed, facility] = whole.codes();
    Some(Location { raw, point_of_care, room, bed, facility })
}

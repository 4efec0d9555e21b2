//! A typed, borrowed view of one ADT message. Says what the message says; what it means is for others to decide.
//!
//! The person part is in `person.rs`, the visit part in `visit.rs`, the choice of NHS number in `nhs_number.rs`.

use super::Separators;
use super::codes::{ProcessingId, Trigger};
use super::message::Message;
use super::part::{Field, Segment};
use super::time::{Hl7Time, Hl7TimeError};
use super::visit::time;

/// One patient's part of an ADT message: its segments, each looked up once.
#[derive(Clone, Copy)]
pub struct Adt<'m> {
    separators: Separators,
    msh: Option<Segment<'m>>,
    evn: Option<Segment<'m>>,
    pid: Option<Segment<'m>>,
    pd1: Option<Segment<'m>>,
    pv1: Option<Segment<'m>>,
    pv2: Option<Segment<'m>>,
    mrg: Option<Segment<'m>>,
}

impl<'m> Adt<'m> {
    /// The view of a message with one patient; of several, the first.
    pub fn of(message: &'m Message<'_>) -> Self {
        let mut adt = Self::without_segments(message);
        for segment in message.segments() {
            if segment.id() == "PID" && adt.has_patient() {
                break;
            }
            adt.take(segment);
        }
        adt
    }

    /// One view per patient: A40 may repeat its PID and MRG group, A24 has two; and one per MRG, since some senders repeat that alone. Never
    /// empty.
    pub fn all(message: &'m Message<'_>) -> Vec<Self> {
        let header = Self::without_segments(message);
        let mut views = Vec::with_capacity(1);
        let mut current = header;
        for segment in message.segments() {
            if segment.id() == "PID" && current.has_patient() {
                views.push(current);
                current = Self { msh: current.msh, evn: current.evn, ..header };
            } else if segment.id() == "MRG" && current.mrg.is_some() {
                views.push(current);
                current.mrg = None;
            }
            current.take(segment);
        }
        views.push(current);
        views
    }

    /// MSH-9.1, trimmed.
    pub fn message_code(&self) -> Option<&'m str> {
        self.msh(9).code()
    }

    /// MSH-9.2.
    pub fn trigger(&self) -> Trigger<'m> {
        Trigger::of(self.msh(9).component(2).code().unwrap_or_default())
    }

    /// Whether MSH-9.1 is `ADT`.
    pub fn is_adt(&self) -> bool {
        self.message_code() == Some("ADT")
    }

    /// MSH-10. Not always unique in real feeds.
    pub fn control_id(&self) -> Option<&'m str> {
        self.msh(10).value().code()
    }

    /// MSH-11.1.
    pub fn processing_id(&self) -> ProcessingId<'m> {
        ProcessingId::of(self.msh(11).code().unwrap_or_default())
    }

    /// MSH-12.1.
    pub fn version(&self) -> Option<&'m str> {
        self.msh(12).code()
    }

    /// MSH-3.1.
    pub fn sending_application(&self) -> Option<&'m str> {
        self.msh(3).code()
    }

    /// MSH-4.1: the ODS code of a trust or site in ITK feeds.
    pub fn sending_facility(&self) -> Option<&'m str> {
        self.msh(4).code()
    }

    /// MSH-7; `Ok(None)` when nothing was sent.
    pub fn sent_at(&self) -> Result<Option<Hl7Time<'m>>, Hl7TimeError> {
        time(self.msh(7))
    }

    /// EVN-2; `Ok(None)` when nothing was sent.
    pub fn recorded_at(&self) -> Result<Option<Hl7Time<'m>>, Hl7TimeError> {
        time(self.evn(2))
    }

    /// EVN-6; `Ok(None)` when nothing was sent.
    pub fn occurred_at(&self) -> Result<Option<Hl7Time<'m>>, Hl7TimeError> {
        time(self.evn(6))
    }

    /// MSH field `number`.
    pub fn msh(&self, number: usize) -> Field<'m> {
        self.field(&self.msh, number)
    }

    /// EVN field `number`.
    pub fn evn(&self, number: usize) -> Field<'m> {
        self.field(&self.evn, number)
    }

    /// PID field `number`. For the difference between not sent, empty and deleted.
    pub fn pid(&self, number: usize) -> Field<'m> {
        self.field(&self.pid, number)
    }

    /// PD1 field `number`.
    pub fn pd1(&self, number: usize) -> Field<'m> {
        self.field(&self.pd1, number)
    }

    /// PV1 field `number`.
    pub fn pv1(&self, number: usize) -> Field<'m> {
        self.field(&self.pv1, number)
    }

    /// PV2 field `number`.
    pub fn pv2(&self, number: usize) -> Field<'m> {
        self.field(&self.pv2, number)
    }

    /// MRG field `number`.
    pub fn mrg(&self, number: usize) -> Field<'m> {
        self.field(&self.mrg, number)
    }

    fn field(&self, segment: &Option<Segment<'m>>, number: usize) -> Field<'m> {
        segment.as_ref().map_or(Field::absent(self.separators), |segment| segment.field(number))
    }

    fn without_segments(message: &Message<'_>) -> Self {
        Self { separators: message.separators(), msh: None, evn: None, pid: None, pd1: None, pv1: None, pv2: None, mrg: None }
    }

    fn has_patient(&self) -> bool {
        self.pid.is_some()
    }

    /// Keeps a segment that is needed. Of duplicates the first counts.
    fn take(&mut self, segment: Segment<'m>) {
        let place = match segment.id().as_bytes() {
            b"MSH" => &mut self.msh,
            b"EVN" => &mut self.evn,
            b"PID" => &mut self.pid,
            b"PD1" => &mut self.pd1,
            b"PV1" => &mut self.pv1,
            b"PV2" => &mut self.pv2,
            b"MRG" => &mut self.mrg,
            _ => return,
        };
        place.get_or_insert(segment);
    }
}

impl std::fmt::Debug for Adt<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Adt({})", self.trigger().code())
    }
}

#[cfg(test)]
#[path = "adt_tests.rs"]
mod tests;

//! A typed, borrowed view of one ADT message. Says what the message says; what it means is for others to decide.
//!
//! The person part is in `person.rs`, the visit part in `visit.rs`, the choice of NHS number in `nhs_number.rs`.

use super::codes::{ProcessingId, Trigger};
use super::message::Message;
use super::part::{Field, Indexed, Segment};
use super::time::{Hl7Time, Hl7TimeError};
use super::visit::time;

/// One patient's part of an ADT message. Every field needed was located in one pass over its segment; segments
/// behind them are not looked at.
#[derive(Clone, Copy)]
pub struct Adt<'m> {
    msh: Indexed<'m, 20>,
    evn: Indexed<'m, 8>,
    pid: Indexed<'m, 34>,
    pd1: Indexed<'m, 5>,
    pv1: Indexed<'m, 52>,
    pv2: Indexed<'m, 40>,
    pub(super) mrg: Indexed<'m, 8>,
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

    /// One view per patient: A40 may repeat its PID and MRG group, A24 has two. Never empty.
    pub fn all(message: &'m Message<'_>) -> Vec<Self> {
        let header = Self::without_segments(message);
        let mut views = Vec::with_capacity(1);
        let mut current = header;
        for segment in message.segments() {
            if segment.id() == "PID" && current.has_patient() {
                views.push(current);
                current = Self { msh: current.msh, evn: current.evn, ..header };
            }
            current.take(segment);
        }
        views.push(current);
        views
    }

    /// MSH-9.1, trimmed.
    pub fn message_code(&self) -> Option<&'m str> {
        self.msh(9).component(1).code()
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
        ProcessingId::of(self.msh(11).component(1).code().unwrap_or_default())
    }

    /// MSH-12.1.
    pub fn version(&self) -> Option<&'m str> {
        self.msh(12).component(1).code()
    }

    /// MSH-3.1.
    pub fn sending_application(&self) -> Option<&'m str> {
        self.msh(3).component(1).code()
    }

    /// MSH-4.1: the ODS code of a trust or site in ITK feeds.
    pub fn sending_facility(&self) -> Option<&'m str> {
        self.msh(4).component(1).code()
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

    /// MSH field `number`, to 19.
    pub fn msh(&self, number: usize) -> Field<'m> {
        self.msh.field(number)
    }

    /// EVN field `number`, to 7.
    pub fn evn(&self, number: usize) -> Field<'m> {
        self.evn.field(number)
    }

    /// PID field `number`, to 33. For the difference between not sent, empty and deleted.
    pub fn pid(&self, number: usize) -> Field<'m> {
        self.pid.field(number)
    }

    /// PD1 field `number`, to 4.
    pub fn pd1(&self, number: usize) -> Field<'m> {
        self.pd1.field(number)
    }

    /// PV1 field `number`, to 51.
    pub fn pv1(&self, number: usize) -> Field<'m> {
        self.pv1.field(number)
    }

    /// PV2 field `number`, to 39.
    pub fn pv2(&self, number: usize) -> Field<'m> {
        self.pv2.field(number)
    }

    fn without_segments(message: &Message<'_>) -> Self {
        let separators = message.separators();
        Self {
            msh: Indexed::absent(separators),
            evn: Indexed::absent(separators),
            pid: Indexed::absent(separators),
            pd1: Indexed::absent(separators),
            pv1: Indexed::absent(separators),
            pv2: Indexed::absent(separators),
            mrg: Indexed::absent(separators),
        }
    }

    fn has_patient(&self) -> bool {
        self.pid.is_filled()
    }

    /// Indexes a segment that is needed. Of duplicates the first counts.
    fn take(&mut self, segment: Segment<'m>) {
        match segment.id() {
            "MSH" => self.msh.fill(segment),
            "EVN" => self.evn.fill(segment),
            "PID" => self.pid.fill(segment),
            "PD1" => self.pd1.fill(segment),
            "PV1" => self.pv1.fill(segment),
            "PV2" => self.pv2.fill(segment),
            "MRG" => self.mrg.fill(segment),
            _ => {}
        }
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

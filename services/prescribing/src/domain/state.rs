//! One prescription, folded from its events.

use super::events::{Drafted, Event, Signed, Task};
use hearthline_nhs::{DeliveryId, OdsCode, PharmacyId};

/// Where an order stands. Signing and submitting are one step, so there is no order that is signed and not submitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Draft,
    /// Sent; whether it was taken is not known, or not yet.
    Submitted,
    Accepted,
    Rejected,
}

impl Status {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Submitted => "submitted",
            Self::Accepted => "accepted",
            Self::Rejected => "rejected",
        }
    }
}

/// Where it is to be dispensed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    pub pharmacy: PharmacyId,
    pub ods: OdsCode,
    pub distance_m: Option<u32>,
    pub nearest_open: bool,
}

/// The newest attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Submission {
    pub delivery: DeliveryId,
    pub attempt: u32,
}

/// One prescription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prescription {
    /// Of its stream.
    pub version: u64,
    pub draft: Drafted,
    pub pharmacy: Option<Chosen>,
    pub signed: Option<Signed>,
    pub submission: Option<Submission>,
    pub status: Status,
    /// The code with which it was rejected.
    pub rejected_for: Option<String>,
    pub open_tasks: Vec<Task>,
}

impl Prescription {
    /// From its events in order; none where there are none.
    pub fn fold(events: impl IntoIterator<Item = Event>) -> Option<Self> {
        let mut events = events.into_iter();
        let Some(Event::Drafted(draft)) = events.next() else { return None };
        let first = Prescription {
            version: 1,
            draft,
            pharmacy: None,
            signed: None,
            submission: None,
            status: Status::Draft,
            rejected_for: None,
            open_tasks: Vec::new(),
        };
        Some(events.fold(first, Self::evolve))
    }

    fn evolve(mut self, event: Event) -> Self {
        self.version += 1;
        match event {
            Event::Drafted(draft) => self.draft = draft,
            Event::PharmacyChosen { pharmacy, ods, distance_m, nearest_open, override_reason: _ } => {
                self.pharmacy = Some(Chosen { pharmacy, ods, distance_m, nearest_open });
            }
            Event::Signed(signed) => self.signed = Some(signed),
            Event::Submitted(submitted) => {
                self.submission = Some(Submission { delivery: submitted.delivery, attempt: submitted.attempt });
                self.status = Status::Submitted;
            }
            Event::Accepted { .. } => self.status = Status::Accepted,
            Event::Rejected { code, .. } => {
                self.status = Status::Rejected;
                self.rejected_for = Some(code);
            }
            Event::TaskOpened(task) => self.open_tasks.push(task),
            Event::TaskClosed { id, .. } => self.open_tasks.retain(|task| task.id != id),
            Event::PersonalDataDestroyed => {}
        }
        self
    }
}

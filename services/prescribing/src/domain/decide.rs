//! The decisions: state and command in, events or a rejection out.

use super::events::{Drafted, Event, Item, Override, PrescriberType, Task};
use super::pharmacy::{Pharmacy, open_by_distance};
use super::rejection::{Rejection, must_be_draft};
use super::state::{Prescription, Status};
use super::task;
use hearthline_nhs::{CallId, Coordinates, DeliveryId, Personal, PharmacyId, ResidentId, TaskId};

/// The call as the prescriber's service knows it, at the version that the prescriber saw or later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallSeen {
    pub id: CallId,
    /// The version that the prescriber named.
    pub version: u64,
    pub resident: ResidentId,
    pub is_provisional: bool,
    pub is_voided: bool,
}

/// Writes an order down. The resident is the call's: an order names nobody by itself.
pub fn draft(call: &CallSeen, prescriber_type: PrescriberType, items: Vec<Item>, indication: String) -> Result<Event, Rejection> {
    if call.is_voided {
        return Err(Rejection::CallVoided);
    }
    Ok(Event::Drafted(Drafted {
        call: call.id,
        call_version: call.version,
        resident: call.resident,
        is_provisional: call.is_provisional,
        prescriber_type,
        items,
        indication: Personal::of(indication),
    }))
}

/// The prescriber's choice of a pharmacy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PharmacyChoice {
    pub pharmacy: PharmacyId,
    pub override_reason: Option<Override>,
    /// When the hours are judged, µs UTC.
    pub at: i64,
}

/// Chooses where the order is dispensed: the nearest that is open, or another open one for a reason.
pub fn choose_pharmacy(prescription: &Prescription, listed: &[Pharmacy], home: Option<Coordinates>, choice: PharmacyChoice) -> Result<Event, Rejection> {
    must_be_draft(prescription.status)?;
    if !listed.iter().any(|p| p.id == choice.pharmacy) {
        return Err(Rejection::PharmacyUnknown);
    }
    let open = open_by_distance(listed, home, choice.at);
    let chosen = open.iter().find(|p| p.pharmacy.id == choice.pharmacy).ok_or(Rejection::PharmacyClosed)?;
    let nearest = open.first().and_then(|p| p.distance_m);
    let is_nearest = chosen.distance_m.is_some() && chosen.distance_m == nearest;
    // Where no distance is known there is no nearest one to prefer.
    if !is_nearest && nearest.is_some() && choice.override_reason.is_none() {
        return Err(Rejection::OverrideReasonNeeded);
    }
    Ok(Event::PharmacyChosen {
        pharmacy: chosen.pharmacy.id,
        ods: chosen.pharmacy.ods.clone(),
        distance_m: chosen.distance_m,
        nearest_open: is_nearest,
        override_reason: if is_nearest { None } else { choice.override_reason },
    })
}

/// How the resident stands with the directory at the moment of signing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    pub is_registered: bool,
    pub is_merge_pending: bool,
    pub has_died: bool,
}

/// Whether the order may be signed now. `is_retrospective` says that another time than now was given for it.
pub fn may_sign(prescription: &Prescription, standing: Standing, is_retrospective: bool, is_live: bool) -> Result<(), Rejection> {
    must_be_draft(prescription.status)?;
    if prescription.pharmacy.is_none() {
        return Err(Rejection::PharmacyNotChosen);
    }
    if is_live && is_retrospective {
        return Err(Rejection::SigningCannotBeRetrospective);
    }
    if standing.has_died {
        return Err(Rejection::ResidentDied);
    }
    if standing.is_merge_pending {
        return Err(Rejection::MergePending);
    }
    if !standing.is_registered {
        return Err(Rejection::ResidentProvisional);
    }
    Ok(())
}

/// What is known of an attempt's end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The service answered that it took the order.
    Taken,
    /// It said that it already holds the order under our own number.
    AlreadyHeld,
    /// A person asked the service.
    SaidByPerson,
    /// It refused, with its code.
    Refused { code: String },
    /// Nothing came: it may have been taken.
    None,
}

/// How long somebody has to look at a rejected or unconfirmed order, µs: a resident is waiting for the medicine.
const LOOK_WITHIN_US: i64 = 15 * 60 * 1_000_000;

/// What an answer brings with it. An order that is settled stays as it is. `new_task` is the id of a task if one is opened.
pub fn answered(prescription: &Prescription, delivery: DeliveryId, answer: Answer, new_task: TaskId, now: i64) -> Vec<Event> {
    match prescription.status {
        Status::Accepted | Status::Rejected | Status::Draft => return Vec::new(),
        Status::Submitted => {}
    }
    let open = |kind: &str| Event::TaskOpened(Task { id: new_task, kind: kind.to_owned(), due_at: now + LOOK_WITHIN_US, subject: *delivery.bytes() });
    let unconfirmed: Vec<&Task> = prescription.open_tasks.iter().filter(|t| t.kind == task::UNCONFIRMED).collect();
    let overtaken = !matches!(answer, Answer::SaidByPerson);
    let close = unconfirmed.iter().map(|t| Event::TaskClosed { id: t.id, kind: t.kind.clone(), overtaken });
    match answer {
        Answer::Taken | Answer::AlreadyHeld | Answer::SaidByPerson => std::iter::once(Event::Accepted { delivery, how: answer }).chain(close).collect(),
        Answer::Refused { code } => std::iter::once(Event::Rejected { delivery, code }).chain(close).chain([open(task::REJECTED)]).collect(),
        Answer::None if unconfirmed.is_empty() => vec![open(task::UNCONFIRMED)],
        Answer::None => Vec::new(),
    }
}

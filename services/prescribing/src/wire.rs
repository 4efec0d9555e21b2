//! Domain events as the contracts have them, and back. Inward everything is checked: what another version wrote may not fit.

use crate::domain::{Answer, Drafted, Event, Item, Override, PrescriberType, Quantity, Signed, Submitted, Task};
use bytes::Bytes;
use hearthline_contracts::envelope::ActorRole;
use hearthline_contracts::prescribing as pb;
use hearthline_contracts::prescribing::prescribing_event::Fact as Pb;
use hearthline_contracts::types as ty;
use hearthline_contracts::wire;
use hearthline_eventing::{Fact, NewEvent, Occurred, PersonalBytes};
use hearthline_nhs::{CallId, DeliveryId, OdsCode, Personal, PharmacyId, PrescriptionOrderNumber, ResidentId, Sctid, TaskId};
use prost::Message;

/// The configured name of the Electronic Prescription Service, in events and deliveries.
pub const DESTINATION: &str = "eps";

/// A stored fact is not what this version takes it for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a prescribing fact has a {0} that cannot be read")]
pub struct Unreadable(&'static str);

/// A domain event, encoded and with its personal part apart.
pub fn encode(event: &Event, occurred: Occurred) -> NewEvent {
    let (name, fact, personal): (_, Pb, Option<Vec<u8>>) = match event {
        Event::Drafted(d) => ("PrescriptionDrafted", drafted(d).into(), Some(drafted_personal(d).encode_to_vec())),
        Event::PharmacyChosen { pharmacy, ods, distance_m, nearest_open, override_reason } => (
            "PharmacyChosen",
            pb::PharmacyChosen {
                pharmacy_id: id(pharmacy.bytes()),
                pharmacy_ods: ods.to_string(),
                distance_m: *distance_m,
                nearest_open: *nearest_open,
                override_reason: override_out(*override_reason).into(),
            }
            .into(),
            None,
        ),
        Event::Signed(s) => (
            "PrescriptionSigned",
            pb::PrescriptionSigned {
                order_number: s.order_number.to_string(),
                long_form_id: id(&s.long_form_id),
                bundle_digest: id(&s.bundle_digest),
                algorithm: pb::SignatureAlgorithm::Rs256.into(),
                signed_at_us: s.signed_at,
            }
            .into(),
            None,
        ),
        Event::Submitted(s) => (
            "PrescriptionSubmitted",
            pb::PrescriptionSubmitted {
                delivery_id: id(s.delivery.bytes()),
                bundle_digest: id(&s.bundle_digest),
                destination: DESTINATION.to_owned(),
                attempt: s.attempt,
            }
            .into(),
            None,
        ),
        Event::Accepted { delivery, how } => {
            let confirmation = match how {
                Answer::AlreadyHeld => ty::Confirmation::AlreadyHeld,
                Answer::SaidByPerson => ty::Confirmation::Person,
                Answer::Taken | Answer::Refused { .. } | Answer::None => ty::Confirmation::Reply,
            };
            ("PrescriptionAccepted", pb::PrescriptionAccepted { delivery_id: id(delivery.bytes()), confirmation: confirmation.into() }.into(), None)
        }
        Event::Rejected { delivery, code } => {
            ("PrescriptionRejected", pb::PrescriptionRejected { delivery_id: id(delivery.bytes()), code: code.clone() }.into(), None)
        }
        Event::TaskOpened(t) => (
            "TaskOpened",
            ty::TaskOpened {
                task_id: id(t.id.bytes()),
                kind: t.kind.clone(),
                role: ActorRole::Prescriber.into(),
                due_at_us: t.due_at,
                overdue: false,
                subject_id: id(&t.subject),
            }
            .into(),
            None,
        ),
        Event::TaskClosed { id: task, kind, overtaken } => {
            let closure = if *overtaken { ty::TaskClosure::Overtaken } else { ty::TaskClosure::Done };
            ("TaskClosed", ty::TaskClosed { task_id: id(task.bytes()), kind: kind.clone(), closure: closure.into() }.into(), None)
        }
        Event::PersonalDataDestroyed => ("PersonalDataDestroyed", ty::PersonalDataDestroyed::default().into(), None),
    };
    NewEvent { name, fact: wire::fact_bytes::<pb::PrescribingEvent>(fact), personal: personal.map(Into::into), occurred, revision: 1 }
}

/// A stored fact as a domain event. `personal` is its opened part; none leaves the personal fields withheld.
pub fn decode(fact: &Fact, personal: Option<&PersonalBytes>) -> Result<Event, Unreadable> {
    let event = pb::PrescribingEvent::decode(fact.payload.clone()).map_err(|_| Unreadable("payload"))?;
    Ok(match event.fact.ok_or(Unreadable("kind"))? {
        Pb::PrescriptionDrafted(d) => Event::Drafted(drafted_in(d, personal)?),
        Pb::PharmacyChosen(c) => Event::PharmacyChosen {
            override_reason: override_in(c.override_reason()),
            pharmacy: PharmacyId::from_bytes(id_in(&c.pharmacy_id, "pharmacy")?),
            ods: OdsCode::parse(&c.pharmacy_ods).map_err(|_| Unreadable("pharmacy code"))?,
            distance_m: c.distance_m,
            nearest_open: c.nearest_open,
        },
        Pb::PrescriptionSigned(s) => Event::Signed(Signed {
            order_number: PrescriptionOrderNumber::parse(&s.order_number).map_err(|_| Unreadable("order number"))?,
            long_form_id: id_in(&s.long_form_id, "long form")?,
            bundle_digest: digest_in(&s.bundle_digest)?,
            signed_at: s.signed_at_us,
        }),
        Pb::PrescriptionSubmitted(s) => Event::Submitted(Submitted {
            delivery: DeliveryId::from_bytes(id_in(&s.delivery_id, "delivery")?),
            bundle_digest: digest_in(&s.bundle_digest)?,
            attempt: s.attempt,
        }),
        Pb::PrescriptionAccepted(a) => Event::Accepted {
            how: match a.confirmation() {
                ty::Confirmation::AlreadyHeld => Answer::AlreadyHeld,
                ty::Confirmation::Person => Answer::SaidByPerson,
                ty::Confirmation::Unspecified | ty::Confirmation::Reply | ty::Confirmation::LookedUp => Answer::Taken,
            },
            delivery: DeliveryId::from_bytes(id_in(&a.delivery_id, "delivery")?),
        },
        Pb::PrescriptionRejected(r) => Event::Rejected { delivery: DeliveryId::from_bytes(id_in(&r.delivery_id, "delivery")?), code: r.code },
        Pb::TaskOpened(t) => Event::TaskOpened(Task {
            id: TaskId::from_bytes(id_in(&t.task_id, "task")?),
            kind: t.kind,
            due_at: t.due_at_us,
            subject: id_in(&t.subject_id, "task subject")?,
        }),
        Pb::TaskClosed(t) => {
            Event::TaskClosed { overtaken: t.closure() == ty::TaskClosure::Overtaken, id: TaskId::from_bytes(id_in(&t.task_id, "task")?), kind: t.kind }
        }
        Pb::PersonalDataDestroyed(_) => Event::PersonalDataDestroyed,
    })
}

fn drafted(d: &Drafted) -> pb::PrescriptionDrafted {
    let status = if d.is_provisional { ty::IdentityStatus::Provisional } else { ty::IdentityStatus::Identified };
    pb::PrescriptionDrafted {
        call_id: id(d.call.bytes()),
        call_version: d.call_version,
        resident: Some(ty::ResidentRef { resident_id: id(d.resident.bytes()), status: status.into() }),
        prescriber_type: d.prescriber_type.code().to_owned(),
        items: d
            .items
            .iter()
            .map(|i| pb::PrescribedItem {
                item_id: id(&i.id),
                dmd_code: i.medicine.to_string(),
                quantity: i.quantity.as_str().to_owned(),
                unit_code: i.unit.to_string(),
            })
            .collect(),
    }
}

fn drafted_personal(d: &Drafted) -> pb::PrescriptionDraftedPersonal {
    let known = |p: &Personal<String>| p.known().cloned().unwrap_or_default();
    pb::PrescriptionDraftedPersonal {
        items: d.items.iter().map(|i| pb::PrescribedItemPersonal { item_id: id(&i.id), display_name: known(&i.display), dosage: known(&i.dosage) }).collect(),
        indication: known(&d.indication),
    }
}

fn drafted_in(d: pb::PrescriptionDrafted, personal: Option<&PersonalBytes>) -> Result<Drafted, Unreadable> {
    let opened = match personal {
        Some(Personal::Known(bytes)) => Ok(pb::PrescriptionDraftedPersonal::decode(bytes.expose().as_slice()).map_err(|_| Unreadable("personal part"))?),
        Some(Personal::Destroyed) => Err(Personal::Destroyed),
        Some(Personal::Withheld) | None => Err(Personal::Withheld),
    };
    let resident = d.resident.ok_or(Unreadable("resident"))?;
    let items = d.items.into_iter().map(|i| item_in(i, &opened)).collect::<Result<Vec<_>, _>>()?;
    Ok(Drafted {
        call: CallId::from_bytes(id_in(&d.call_id, "call")?),
        call_version: d.call_version,
        is_provisional: resident.status() == ty::IdentityStatus::Provisional,
        resident: ResidentId::from_bytes(id_in(&resident.resident_id, "resident")?),
        prescriber_type: PrescriberType::parse(&d.prescriber_type).map_err(|_| Unreadable("prescriber type"))?,
        items,
        indication: opened.map_or_else(|why| why, |p| Personal::of(p.indication.clone())),
    })
}

fn item_in(i: pb::PrescribedItem, opened: &Result<pb::PrescriptionDraftedPersonal, Personal<String>>) -> Result<Item, Unreadable> {
    let (display, dosage) = match opened {
        Ok(p) => {
            let words = p.items.iter().find(|w| w.item_id == i.item_id).ok_or(Unreadable("personal part"))?;
            (Personal::of(words.display_name.clone()), Personal::of(words.dosage.clone()))
        }
        Err(why) => (why.clone(), why.clone()),
    };
    Ok(Item {
        id: id_in(&i.item_id, "item")?,
        medicine: Sctid::parse(&i.dmd_code).map_err(|_| Unreadable("medicine"))?,
        quantity: Quantity::parse(&i.quantity).map_err(|_| Unreadable("quantity"))?,
        unit: Sctid::parse(&i.unit_code).map_err(|_| Unreadable("unit"))?,
        display,
        dosage,
    })
}

fn override_out(reason: Option<Override>) -> pb::PharmacyOverride {
    match reason {
        None => pb::PharmacyOverride::Unspecified,
        Some(Override::HomePreference) => pb::PharmacyOverride::HomePreference,
        Some(Override::Stock) => pb::PharmacyOverride::Stock,
        Some(Override::Delivery) => pb::PharmacyOverride::Delivery,
        Some(Override::Collection) => pb::PharmacyOverride::Collection,
        Some(Override::Other) => pb::PharmacyOverride::Other,
    }
}

fn override_in(reason: pb::PharmacyOverride) -> Option<Override> {
    match reason {
        pb::PharmacyOverride::Unspecified => None,
        pb::PharmacyOverride::HomePreference => Some(Override::HomePreference),
        pb::PharmacyOverride::Stock => Some(Override::Stock),
        pb::PharmacyOverride::Delivery => Some(Override::Delivery),
        pb::PharmacyOverride::Collection => Some(Override::Collection),
        pb::PharmacyOverride::Other => Some(Override::Other),
    }
}

fn id(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

fn id_in(bytes: &[u8], what: &'static str) -> Result<[u8; 16], Unreadable> {
    bytes.try_into().map_err(|_| Unreadable(what))
}

fn digest_in(bytes: &[u8]) -> Result<[u8; 32], Unreadable> {
    bytes.try_into().map_err(|_| Unreadable("digest"))
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;

//! Events of a feed, between the contracts and the domain.

use super::{REVISION, Unreadable, id};
use crate::domain::feed::{FeedEvent, GapCause, TASK_SILENT};
use hearthline_contracts::envelope::ActorRole;
use hearthline_contracts::hospital::hospital_event::Fact as Pb;
use hearthline_contracts::hospital::{self as pb, HospitalEvent};
use hearthline_contracts::types as ty;
use hearthline_contracts::wire;
use hearthline_eventing::{Fact, NewEvent, Occurred};
use prost::Message;

/// An event ready to be composed, of the feed with this name and facility.
pub fn encode(event: &FeedEvent, feed: &str, facility: &str, now: i64) -> NewEvent {
    let (feed, facility_ods) = (feed.to_owned(), facility.to_owned());
    let (name, fact): (&'static str, Pb) = match *event {
        FeedEvent::GapOpened { gap, cause, from, back_fill_until } => {
            let cause = match cause {
                GapCause::Silence => pb::GapCause::Silence,
                GapCause::Declared => pb::GapCause::Declared,
                GapCause::Demoted => pb::GapCause::Demoted,
            };
            let opened = pb::FeedGapOpened { gap_id: id(&gap), feed, facility_ods, from_us: from, cause: cause.into(), back_fill_until_us: back_fill_until };
            ("FeedGapOpened", opened.into())
        }
        FeedEvent::Resumed { gap, until } => ("FeedResumed", pb::FeedResumed { gap_id: id(&gap), feed, facility_ods, until_us: until }.into()),
        FeedEvent::GapClosed { gap, until, filled } => {
            ("FeedGapClosed", pb::FeedGapClosed { gap_id: id(&gap), feed, facility_ods, until_us: until, filled }.into())
        }
        FeedEvent::Promoted { from } => ("FeedPromoted", pb::FeedPromoted { feed, facility_ods, from_us: from.unwrap_or(0) }.into()),
        FeedEvent::Demoted => ("FeedDemoted", pb::FeedDemoted { feed, facility_ods }.into()),
        FeedEvent::TaskOpened { task, due_at } => {
            let opened = ty::TaskOpened {
                task_id: id(&task),
                kind: TASK_SILENT.to_owned(),
                role: ActorRole::Operator.into(),
                due_at_us: due_at,
                overdue: false,
                ..Default::default()
            };
            ("TaskOpened", opened.into())
        }
        FeedEvent::TaskClosed { task } => {
            let closed = ty::TaskClosed { task_id: id(&task), kind: TASK_SILENT.to_owned(), closure: ty::TaskClosure::Overtaken.into() };
            ("TaskClosed", closed.into())
        }
    };
    NewEvent { name, fact: wire::fact_bytes::<HospitalEvent>(fact), personal: None, occurred: Occurred::at(now), revision: REVISION }
}

/// An event of a feed's stream.
pub fn decode(fact: &Fact) -> Result<Option<FeedEvent>, Unreadable> {
    let event = HospitalEvent::decode(fact.payload.clone()).map_err(|_| Unreadable("a hospital event"))?;
    Ok(Some(match event.fact {
        Some(Pb::FeedGapOpened(f)) => FeedEvent::GapOpened {
            gap: id_in(&f.gap_id)?,
            cause: match f.cause() {
                pb::GapCause::Silence => GapCause::Silence,
                pb::GapCause::Demoted => GapCause::Demoted,
                pb::GapCause::Declared | pb::GapCause::Disconnected | pb::GapCause::Sequence | pb::GapCause::Unspecified => GapCause::Declared,
            },
            from: f.from_us,
            back_fill_until: f.back_fill_until_us,
        },
        Some(Pb::FeedResumed(f)) => FeedEvent::Resumed { gap: id_in(&f.gap_id)?, until: f.until_us },
        Some(Pb::FeedGapClosed(f)) => FeedEvent::GapClosed { gap: id_in(&f.gap_id)?, until: f.until_us, filled: f.filled },
        Some(Pb::FeedPromoted(f)) => FeedEvent::Promoted { from: (f.from_us != 0).then_some(f.from_us) },
        Some(Pb::FeedDemoted(_)) => FeedEvent::Demoted,
        Some(Pb::TaskOpened(t)) => FeedEvent::TaskOpened { task: id_in(&t.task_id)?, due_at: t.due_at_us },
        Some(Pb::TaskClosed(t)) => FeedEvent::TaskClosed { task: id_in(&t.task_id)? },
        _ => return Ok(None),
    }))
}

fn id_in(bytes: &[u8]) -> Result<[u8; 16], Unreadable> {
    bytes.try_into().map_err(|_| Unreadable("an id on a feed's stream"))
}

//! What both ways out have in common: the ruling at send time, the sealed bytes, and what an end means in events.

use crate::composing::{self, share_of};
use crate::domain::{self, Confirmation, Deliverable, Errand, Kind, Parcel, Ruling};
use crate::reference;
use crate::wire;
use hearthline_eventing::deliveries::Guard;
use hearthline_eventing::{Delivery, DeliveryState, Kernel, NotNow, Unit, identity};
use hearthline_nhs::{DeliveryId, Personal, london_date};

/// Codes with which a delivery ends because it is no longer wanted.
const NOT_WANTED: [&str; 5] = ["superseded", "consent_refused", "call_voided", "outcome_withdrawn", "withheld"];

/// The parcel of a delivery.
pub fn parcel(delivery: &Delivery) -> Result<Parcel, NotNow> {
    wire::parcel_in(&delivery.payload).map_err(|e| NotNow::Other(e.to_string()))
}

/// Whether it may go out now. A document about somebody who has become somebody else is composed anew first.
pub async fn guard(kernel: &Kernel, kind: Kind, delivery: &Delivery, now: i64) -> Result<Guard, NotNow> {
    Ok(match ruling(kernel, kind, delivery, now).await? {
        Ruling::Send => Guard::Send,
        Ruling::Wait(why) => Guard::Wait { why },
        Ruling::Drop(code) => Guard::Drop { code },
    })
}

async fn ruling(kernel: &Kernel, kind: Kind, delivery: &Delivery, now: i64) -> Result<Ruling, NotNow> {
    let parcel = parcel(delivery)?;
    let call = *parcel.call.bytes();
    let store = kernel.store.as_ref();
    let Some(s) = composing::situation(kernel, call, now).await? else { return Ok(Ruling::Wait("call_unknown")) };
    if s.row.is_consent_refused {
        return Ok(Ruling::Drop("consent_refused"));
    }
    if s.row.is_voided {
        return Ok(Ruling::Drop("call_voided"));
    }
    let newer = store
        .query(
            "select 1 from deliveries where stream = $1 and kind = $2 and seq > $3 limit 1",
            &[share_of(call).into(), kind.as_str().into(), delivery.seq.into()],
        )
        .await?;
    if !newer.is_empty() {
        return Ok(Ruling::Drop("superseded"));
    }
    let document = s.share.documents.iter().find(|d| d.composed.version == parcel.version);
    let Some(document) = document.filter(|d| !d.is_retracted && s.share.withheld.is_none()) else { return Ok(Ruling::Drop("withheld")) };
    let who = identity::resolve(store, *s.row.resident.bytes()).await?;
    if who.died_at.is_some() {
        return Ok(Ruling::Drop("resident_died"));
    }
    match kind {
        Kind::RecordUpload if document.composed.subject != s.facts.subject => {
            kernel.store.append(Unit { timers: vec![composing::poke(call, now)], ..Unit::default() }).await?;
            Ok(Ruling::Wait("identity_changed"))
        }
        Kind::RecordUpload if !who.registered => Ok(Ruling::Wait("resident_provisional")),
        Kind::RecordUpload if who.merge_pending => Ok(Ruling::Wait("merge_pending")),
        Kind::RecordUpload => Ok(Ruling::Send),
        Kind::CarePlanEmail if who.home.is_some_and(|home| home != *parcel.home.bytes()) => Ok(Ruling::Drop("resident_moved")),
        Kind::CarePlanEmail if !s.facts.has_secure_email => Ok(Ruling::Drop("no_secure_email")),
        Kind::CarePlanEmail => Ok(Ruling::Send),
    }
}

/// The home's secure address, verified within the last twelve months.
pub async fn address(kernel: &Kernel, parcel: &Parcel, now: i64) -> Result<Option<String>, NotNow> {
    let today = london_date(now).map_err(|_| NotNow::Other("the clock is out of range".to_owned()))?;
    let home = reference::home_row(kernel.store.as_ref(), parcel.home).await?;
    Ok(home.and_then(|h| h.secure_email(today).map(str::to_owned)))
}

/// The plain bytes of a parcel; none where their key is gone.
pub async fn plain(kernel: &Kernel, parcel: &Parcel) -> Result<Option<Vec<u8>>, NotNow> {
    let stored = kernel.store.blob(parcel.blob).await?.ok_or_else(|| NotNow::Other("a delivery names a document that is not there".to_owned()))?;
    Ok(match kernel.composer.open_blob(parcel.blob, &stored).await? {
        Personal::Known(bytes) => Some(bytes.expose().clone()),
        Personal::Destroyed | Personal::Withheld => None,
    })
}

/// What a new state of a delivery brings with it.
pub async fn settled(
    kernel: &Kernel,
    kind: Kind,
    delivery: &Delivery,
    to: DeliveryState,
    code: Option<&str>,
    reference: Option<&str>,
    now: i64,
) -> Result<Unit, NotNow> {
    let state = match to {
        DeliveryState::Confirmed => {
            let how = match (code, delivery.state) {
                (Some("by_hand"), _) => Confirmation::Person,
                (_, DeliveryState::Unconfirmed) => Confirmation::LookedUp,
                _ => Confirmation::Reply,
            };
            Deliverable::Delivered { reference: reference.unwrap_or_default().to_owned(), how }
        }
        DeliveryState::Expired if code.is_some_and(|code| NOT_WANTED.contains(&code)) => Deliverable::Overtaken,
        DeliveryState::Refused | DeliveryState::Expired => Deliverable::Failed { code: code.unwrap_or("refused").to_owned() },
        DeliveryState::Unconfirmed => Deliverable::Unconfirmed,
        DeliveryState::Due if delivery.state == DeliveryState::Unconfirmed => Deliverable::Again,
        DeliveryState::Due | DeliveryState::Sending | DeliveryState::RetryAt | DeliveryState::NeedsUser => return Ok(Unit::default()),
    };
    let parcel = parcel(delivery)?;
    let share = composing::load(kernel, *parcel.call.bytes()).await?;
    let task = composing::new_task();
    let errand = Errand { kind, delivery: DeliveryId::from_bytes(delivery.id), parcel, destination: &delivery.destination };
    let events = domain::delivered(&share, errand, state, task, now);
    composing::unit_of(kernel, *parcel.call.bytes(), &share, events, now).await
}

//! Signing and sending in the prescriber's session.
//!
//! *draft → prepared → signed → submitted (one unit, with the sealed bundle and the delivery, before the first byte) → accepted | rejected |
//! unconfirmed*. The same request repeated on an unconfirmed order sends the same sealed bundle again; it never signs anew.

use crate::domain::{self, Chosen, Event, Prescription, Rejection, Signed, Standing, Status, Submitted};
use crate::eps::{self, DEADLINE_US, EpsClient, KIND, NotPrepared};
use crate::http::{Desk, refuse};
use crate::order::{NotComposed, Order};
use crate::people::{self, NotReadable};
use crate::signer::ToSign;
use crate::wire::{self, DESTINATION};
use axum::http::HeaderValue;
use hearthline_contracts::envelope::Environment;
use hearthline_eventing::deliveries;
use hearthline_eventing::{
    Answer, Claim, ClaimRule, Delivery, DeliveryChange, DeliveryMove, DeliveryState, NewDelivery, NotNow, Occurred, Unit, identity, now_us, trace,
};
use hearthline_interop::fhir::eps as fhir_eps;
use hearthline_nhs::{DeliveryId, OdsCode, Personal, PrescriptionOrderNumber, StreamId};
use hearthline_runtime::auth::Caller;
use hearthline_runtime::http::{IdempotencyKey, Problem, internal, not_found, rejected, unavailable};
use hearthline_runtime::service::{IDEMPOTENCY, audit, cause, earlier, idempotent, repeated};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Scope of the claim that keeps an order number unique.
const ORDER_NUMBER: &str = "order-number";
const ATTEMPTS_MAX: usize = 3;

/// A request to sign.
pub struct SignRequest<'a> {
    pub caller: &'a Caller,
    pub key: &'a IdempotencyKey,
    pub body_digest: [u8; 32],
    pub stream: StreamId,
    pub occurred_at: Option<jiff::Timestamp>,
    /// The caller's `Authorization` header, for the service; neither kept nor logged.
    pub bearer: &'a HeaderValue,
}

/// Where the order stands after the request.
pub struct Outcome {
    pub version: u64,
    pub position: u64,
    /// `accepted`, `rejected` or `unconfirmed`.
    pub status: &'static str,
    pub code: Option<String>,
    pub order_number: Option<String>,
}

/// A decided, signed order on its way into a unit.
struct Ready {
    unit: Unit,
    delivery: [u8; 16],
    bundle: Vec<u8>,
}

/// Signs and sends, or takes up again what the same request began.
pub async fn sign(desk: &Desk, request: SignRequest<'_>) -> Result<Outcome, Problem> {
    if earlier(desk.kernel.store.as_ref(), request.key, request.body_digest).await?.is_some() {
        return again(desk, &request).await;
    }
    for _ in 0..ATTEMPTS_MAX {
        let Ready { unit, delivery, bundle } = prepare(desk, &request).await?;
        match desk.kernel.store.append(unit).await? {
            Answer::Committed { .. } => {
                let delivery = find(desk, delivery).await?;
                return send(desk, &request, delivery, bundle).await;
            }
            Answer::Claimed(holder) if holder.scope == IDEMPOTENCY => {
                repeated(&holder, request.body_digest)?;
                return again(desk, &request).await;
            }
            // Somebody else's number, or the order moved on: decided anew.
            Answer::Claimed(_) | Answer::VersionConflict { .. } | Answer::Fenced(_) => {}
        }
    }
    Err(unavailable("the order kept changing", 1))
}

/// Decides, composes, prepares and signs; nothing has left but the `$prepare`.
async fn prepare(desk: &Desk, request: &SignRequest<'_>) -> Result<Ready, Problem> {
    let kernel = &desk.kernel;
    let now = now_us();
    let prescription = eps::load_opened(kernel, request.stream).await?.ok_or_else(not_found)?;
    let who = identity::resolve(kernel.store.as_ref(), *prescription.draft.resident.bytes()).await?;
    let standing = Standing { is_registered: who.registered, is_merge_pending: who.merge_pending, has_died: who.died_at.is_some() };
    let is_live = kernel.composer.deployment.environment == Environment::Live;
    domain::may_sign(&prescription, standing, request.occurred_at.is_some(), is_live).map_err(refuse)?;
    let chosen = prescription.pharmacy.as_ref().ok_or_else(|| refuse(Rejection::PharmacyNotChosen))?;
    let occurred = desk.occurred(request.caller, request.occurred_at, &prescription, now).await?;
    let prescriber = desk.signer.prescriber(request.caller).map_err(refuse)?;
    let eps = client(desk)?;
    let person = people::person(kernel, who.id).await.map_err(|e| match e {
        NotReadable::Rejected(rejection) => refuse(rejection),
        NotReadable::NotNow(error) => error.into(),
    })?;
    let read = audit(request.caller, "prescription_sign", Some(who.id), "signing a prescription", now);
    kernel.store.append(Unit { audit: vec![read], ..Unit::default() }).await?;

    let number = order_number(&kernel.composer.deployment.controller_ods)?;
    let (message_id, long_form_id) = (Uuid::new_v4(), Uuid::new_v4());
    let endpoint = eps.endpoint();
    let order = Order {
        prescription: &prescription,
        chosen,
        person: &person,
        prescriber: &prescriber,
        number: &number,
        message_id,
        long_form_id,
        organisation: (&kernel.composer.deployment.controller_ods, &desk.options.organisation_name),
        endpoint: &endpoint,
        authored_at: now,
    };
    let prepared = eps.prepare(request.bearer, compose(&order, None)?).await.map_err(|e| match e {
        NotPrepared::Away => unavailable("the prescription service does not answer", 5),
        NotPrepared::Refused(codes) => rejected("eps_refused", format!("the prescription service refuses the order: {codes}")),
    })?;
    let to_sign = ToSign { digest: prepared.digest, algorithm: prepared.algorithm };
    let signature = desk.signer.sign(request.caller, &to_sign).map_err(refuse)?;
    let bundle = compose(&order, Some(&fhir_eps::Signed { signed_at_us: prepared.timestamp_us, signature: &signature }))?;
    let signed = Signed {
        order_number: number.clone(),
        long_form_id: *long_form_id.as_bytes(),
        bundle_digest: Sha256::digest(&bundle).into(),
        signed_at: prepared.timestamp_us,
    };
    submit(desk, request, &prescription, chosen, signed, occurred, bundle, now).await
}

/// The unit that commits an order before its first byte leaves.
#[expect(clippy::too_many_arguments, reason = "each is one part of the unit")]
async fn submit(
    desk: &Desk,
    request: &SignRequest<'_>,
    prescription: &Prescription,
    chosen: &Chosen,
    signed: Signed,
    occurred: Occurred,
    bundle: Vec<u8>,
    now: i64,
) -> Result<Ready, Problem> {
    let kernel = &desk.kernel;
    let delivery = hearthline_runtime::service::fresh_id();
    let blob = kernel.composer.blob(blob_of(delivery), request.stream, "application/fhir+json", &bundle, now).await.map_err(NotNow::from)?;
    let claim = Claim {
        scope: ORDER_NUMBER,
        key: signed.order_number.as_str().to_owned().into(),
        digest: signed.bundle_digest.to_vec().into(),
        owner: request.stream,
        version: prescription.version + 2,
        expires_at: None,
        rule: ClaimRule::Unique,
    };
    let submitted = Submitted { delivery: DeliveryId::from_bytes(delivery), bundle_digest: signed.bundle_digest, attempt: 1 };
    let events = [Event::Signed(signed), Event::Submitted(submitted)].iter().map(|e| wire::encode(e, occurred.clone())).collect();
    let cause = cause(request.caller, *prescription.draft.call.bytes());
    let write = kernel.composer.write(request.stream, prescription.version, events, &cause, now).await.map_err(NotNow::from)?;
    let row = NewDelivery {
        id: delivery,
        kind: KIND,
        destination: DESTINATION.to_owned(),
        subject: request.stream,
        stream: request.stream,
        payload: chosen.ods.as_str().to_owned().into(),
        state: DeliveryState::Sending,
        sender: Some(kernel.instance),
        deadline_at: Some(now + DEADLINE_US),
        next_at: now,
        expires_at: None,
        traceparent: trace::current(),
        created_at: now,
    };
    let unit = Unit {
        writes: vec![write],
        claims: vec![idempotent(request.key, request.body_digest, request.stream, prescription.version + 2, now), claim],
        blobs: vec![blob],
        deliveries: vec![DeliveryChange::Insert(row)],
        ..Unit::default()
    };
    Ok(Ready { unit, delivery, bundle })
}

/// Sends a `sending` delivery's bundle and records the answer.
async fn send(desk: &Desk, request: &SignRequest<'_>, delivery: Delivery, bundle: Vec<u8>) -> Result<Outcome, Problem> {
    let sent = client(desk)?.process(request.bearer, delivery.id, bundle, delivery.attempt > 1).await;
    deliveries::record(&desk.kernel, desk.courier.as_ref(), &delivery, sent, now_us()).await?;
    outcome(desk, request.stream).await
}

/// The same request again: its outcome where it has one; else the same bundle once more.
async fn again(desk: &Desk, request: &SignRequest<'_>) -> Result<Outcome, Problem> {
    let kernel = &desk.kernel;
    let prescription = eps::load(kernel, request.stream).await?.ok_or_else(internal)?;
    let (Status::Submitted, Some(submission), Some(signed)) = (prescription.status, prescription.submission, &prescription.signed) else {
        return outcome(desk, request.stream).await;
    };
    let delivery = find(desk, *submission.delivery.bytes()).await?;
    if delivery.state != DeliveryState::Unconfirmed {
        return Err(unavailable("the first attempt has not ended", 2));
    }
    let stored = kernel.store.blob(blob_of(delivery.id)).await?.ok_or_else(internal)?;
    let bundle = match kernel.composer.open_blob(blob_of(delivery.id), &stored).await.map_err(NotNow::from)? {
        Personal::Known(bytes) => bytes.expose().clone(),
        Personal::Destroyed | Personal::Withheld => return Err(refuse(Rejection::PersonalDataNotReadable)),
    };
    let now = now_us();
    let attempt = delivery.attempt + 1;
    let begin = DeliveryMove {
        id: delivery.id,
        from: delivery.state,
        from_attempt: delivery.attempt,
        to: DeliveryState::Sending,
        attempt,
        sender: Some(kernel.instance),
        deadline_at: Some(now + DEADLINE_US),
        next_at: now,
        code: None,
        reference: None,
        at: now,
    };
    let submitted = Event::Submitted(Submitted { delivery: submission.delivery, bundle_digest: signed.bundle_digest, attempt });
    let events = vec![wire::encode(&submitted, Occurred::at(now))];
    let cause = cause(request.caller, *prescription.draft.call.bytes());
    let write = kernel.composer.write(request.stream, prescription.version, events, &cause, now).await.map_err(NotNow::from)?;
    let unit = Unit { writes: vec![write], deliveries: vec![DeliveryChange::Move(begin)], ..Unit::default() };
    match kernel.store.append(unit).await? {
        Answer::Committed { .. } => {
            let delivery = find(desk, delivery.id).await?;
            send(desk, request, delivery, bundle).await
        }
        Answer::Fenced(_) | Answer::VersionConflict { .. } | Answer::Claimed(_) => Err(unavailable("the order moved on meanwhile", 1)),
    }
}

async fn outcome(desk: &Desk, stream: StreamId) -> Result<Outcome, Problem> {
    let prescription = eps::load(&desk.kernel, stream).await?.ok_or_else(internal)?;
    let status = match prescription.status {
        Status::Accepted => "accepted",
        Status::Rejected => "rejected",
        Status::Draft | Status::Submitted => "unconfirmed",
    };
    let position = desk.kernel.store.committed().borrow().position;
    Ok(Outcome {
        version: prescription.version,
        position,
        status,
        code: prescription.rejected_for,
        order_number: prescription.signed.map(|s| s.order_number.to_string()),
    })
}

async fn find(desk: &Desk, id: [u8; 16]) -> Result<Delivery, Problem> {
    let found = deliveries(desk.kernel.store.as_ref(), "id = $1", &[id.into()]).await?;
    found.into_iter().next().ok_or_else(internal)
}

fn client(desk: &Desk) -> Result<&EpsClient, Problem> {
    desk.eps.as_deref().ok_or_else(|| unavailable("no prescription service is configured", 60))
}

fn compose(order: &Order<'_>, signed: Option<&fhir_eps::Signed<'_>>) -> Result<Vec<u8>, Problem> {
    match order.bundle(signed) {
        Ok(bundle) => Ok(bundle.to_json()),
        Err(NotComposed::Rejected(rejection)) => Err(refuse(rejection)),
        Err(NotComposed::Fhir(error)) => {
            tracing::error!(%error, "an order does not compose");
            Err(internal())
        }
    }
}

/// A fresh number: three random bytes, the controller, a random sequence. The claim keeps it unique.
fn order_number(controller_ods: &str) -> Result<PrescriptionOrderNumber, Problem> {
    let mut random = [0u8; 6];
    getrandom::fill(&mut random).map_err(|_| internal())?;
    let ods = OdsCode::parse(controller_ods).map_err(|_| internal())?;
    let sequence = u32::from_be_bytes([0, random[3], random[4], random[5]]) & 0xF_FFFF;
    PrescriptionOrderNumber::generate([random[0], random[1], random[2]], &ods, sequence).map_err(|error| {
        tracing::error!(%error, "the controller's code makes no order number");
        internal()
    })
}

/// The sealed bundle of a delivery.
fn blob_of(delivery: [u8; 16]) -> [u8; 16] {
    *Uuid::new_v5(&Uuid::from_bytes(delivery), b"signed bundle").as_bytes()
}

//! The Electronic Prescription Service: the client that talks to it, and what its answers mean for a prescription.
//!
//! An order goes out in the request that holds the prescriber's session, whose bearer token it carries; the token is neither
//! kept nor logged. So nothing is sent from here in the background: the courier only records what became of an attempt.

use crate::domain::{self, Answer, Event, Prescription};
use crate::wire;
use async_trait::async_trait;
use axum::http::HeaderValue;
use hearthline_contracts::topics;
use hearthline_eventing::deliveries::{Courier, Guard, Sent};
use hearthline_eventing::{Actor, Cause, Delivery, DeliveryState, Kernel, NotNow, Occurred, Unit, trace};
use hearthline_interop::fhir::Resource;
use hearthline_interop::fhir::eps::EpsReply;
use hearthline_nhs::{DeliveryId, StreamId, TaskId};
use hearthline_runtime::client::{self, ClientError};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use std::time::Duration;
use uuid::Uuid;

/// Kind of the delivery of an order.
pub const KIND: &str = "eps";
/// From the first byte to the last of the answer.
const TIME_OUT: Duration = Duration::from_secs(20);
/// When an attempt without an answer counts as unconfirmed, µs after it began; beyond [`TIME_OUT`].
pub const DEADLINE_US: i64 = 45_000_000;
const FHIR_JSON: &str = "application/fhir+json";
/// The reference of an order that the service held already.
const ALREADY_HELD: &str = "already held";

/// The answer to `$prepare`.
pub struct Prepared {
    /// Base64 of what is to be signed.
    pub digest: String,
    /// When the service prepared it, µs UTC: the time of the signature.
    pub timestamp_us: i64,
    pub algorithm: String,
}

/// `$prepare` gave nothing to sign. No order has left.
#[derive(Debug, thiserror::Error)]
pub enum NotPrepared {
    #[error("the prescription service does not answer")]
    Away,
    #[error("the prescription service refuses the order: {0}")]
    Refused(String),
}

/// The client. One per process.
pub struct EpsClient {
    http: reqwest::Client,
    base: String,
}

impl EpsClient {
    /// `base` is the address before `/FHIR/R4/…`, without a trailing slash.
    pub fn new(base: &str) -> Result<Self, ClientError> {
        // A connection kept open can be closed by the other side just as an order is written to it: each order gets its own.
        let http = client::build(|c| c.timeout(TIME_OUT).pool_max_idle_per_host(0).redirect(reqwest::redirect::Policy::none()))?;
        Ok(EpsClient { http, base: base.trim_end_matches('/').to_owned() })
    }

    /// Where orders go.
    pub fn endpoint(&self) -> String {
        format!("{}/FHIR/R4/$process-message", self.base)
    }

    /// Asks for what is to be signed.
    pub async fn prepare(&self, bearer: &HeaderValue, bundle: Vec<u8>) -> Result<Prepared, NotPrepared> {
        let address = format!("{}/FHIR/R4/$prepare", self.base);
        let request = self.http.post(address).header(AUTHORIZATION, bearer).header(CONTENT_TYPE, FHIR_JSON).body(bundle);
        let response = request.send().await.map_err(|_| NotPrepared::Away)?;
        let status = response.status();
        let body = response.bytes().await.map_err(|_| NotPrepared::Away)?;
        if !status.is_success() {
            return match EpsReply::parse(&body) {
                Ok(EpsReply::Refused { codes, .. }) if status.is_client_error() => Err(NotPrepared::Refused(codes.join(","))),
                _ => Err(NotPrepared::Away),
            };
        }
        let Ok(Resource::Parameters(parameters)) = Resource::parse(&body) else { return Err(NotPrepared::Away) };
        let value = |name: &str| parameters.parameter.iter().find(|p| p.name.as_deref() == Some(name)).and_then(|p| p.value_string.clone());
        let (Some(digest), Some(timestamp)) = (value("digest"), value("timestamp")) else { return Err(NotPrepared::Away) };
        let timestamp: jiff::Timestamp = timestamp.parse().map_err(|_| NotPrepared::Away)?;
        Ok(Prepared { digest, timestamp_us: timestamp.as_microsecond(), algorithm: value("algorithm").unwrap_or_default() })
    }

    /// Sends a signed order. `is_repeat` says that the same bundle went out before: then the service's "duplicate" is ours.
    pub async fn process(&self, bearer: &HeaderValue, request_id: [u8; 16], bundle: Vec<u8>, is_repeat: bool) -> Sent {
        let request = self
            .http
            .post(self.endpoint())
            .header(AUTHORIZATION, bearer)
            .header(CONTENT_TYPE, FHIR_JSON)
            .header("x-request-id", Uuid::from_bytes(request_id).to_string())
            .body(bundle);
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) if error.is_connect() => return Sent::Unconfirmed { code: "unreachable".to_owned() },
            Err(error) if error.is_timeout() => return Sent::Unconfirmed { code: "timed_out".to_owned() },
            Err(_) => return Sent::Unconfirmed { code: "no_answer".to_owned() },
        };
        let status = response.status().as_u16();
        let Ok(body) = response.bytes().await else { return Sent::Unconfirmed { code: "no_answer".to_owned() } };
        sent(status, &body, is_repeat)
    }
}

/// What an answer means. Only an outcome that the service states is one; a refused token or a fault on the way leaves the
/// order open, and the prescriber repeats the request.
fn sent(status: u16, body: &[u8], is_repeat: bool) -> Sent {
    match (status, EpsReply::parse(body)) {
        (200..=299, Ok(EpsReply::Accepted)) => Sent::Confirmed { reference: "taken".to_owned() },
        (400 | 409 | 422, Ok(EpsReply::Refused { codes, is_duplicate })) => {
            if is_duplicate && is_repeat {
                Sent::Confirmed { reference: ALREADY_HELD.to_owned() }
            } else {
                Sent::Refused { code: codes.first().cloned().unwrap_or_else(|| format!("http_{status}")) }
            }
        }
        (400 | 413 | 415 | 422, _) => Sent::Refused { code: format!("http_{status}") },
        (status, _) => Sent::Unconfirmed { code: format!("http_{status}") },
    }
}

/// Records what became of orders.
pub struct Eps {
    kernel: Kernel,
}

impl Eps {
    pub fn new(kernel: Kernel) -> Self {
        Eps { kernel }
    }
}

#[async_trait]
impl Courier for Eps {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn deadline_us(&self) -> i64 {
        DEADLINE_US
    }

    fn attended(&self) -> bool {
        true
    }

    async fn guard(&self, _delivery: &Delivery, _now: i64) -> Result<Guard, NotNow> {
        Ok(Guard::Wait { why: "attended" })
    }

    async fn send(&self, _delivery: &Delivery) -> Result<Sent, NotNow> {
        Err(NotNow::Other("an order goes out in its prescriber's session only".to_owned()))
    }

    async fn settled(&self, delivery: &Delivery, to: DeliveryState, code: Option<&str>, reference: Option<&str>, now: i64) -> Result<Unit, NotNow> {
        let answer = match to {
            DeliveryState::Confirmed if code == Some("by_hand") => Answer::SaidByPerson,
            DeliveryState::Confirmed if reference == Some(ALREADY_HELD) => Answer::AlreadyHeld,
            DeliveryState::Confirmed => Answer::Taken,
            DeliveryState::Refused | DeliveryState::Expired => Answer::Refused { code: code.unwrap_or("refused").to_owned() },
            DeliveryState::Unconfirmed => Answer::None,
            DeliveryState::Due | DeliveryState::Sending | DeliveryState::RetryAt | DeliveryState::NeedsUser => return Ok(Unit::default()),
        };
        let prescription =
            load(&self.kernel, delivery.stream).await?.ok_or_else(|| NotNow::Other("a delivery names a prescription that is not there".to_owned()))?;
        let task = TaskId::from_bytes(hearthline_runtime::service::fresh_id());
        let events = domain::answered(&prescription, DeliveryId::from_bytes(delivery.id), answer, task, now);
        if events.is_empty() {
            return Ok(Unit::default());
        }
        let cause = Cause {
            actor: Actor::SYSTEM,
            causation: None,
            correlation: *prescription.draft.call.bytes(),
            traceparent: trace::current().or_else(|| delivery.traceparent.clone()),
        };
        let events = events.iter().map(|e| wire::encode(e, Occurred::at(now))).collect();
        let write = self.kernel.composer.write(delivery.stream, prescription.version, events, &cause, now).await?;
        Ok(Unit { writes: vec![write], ..Unit::default() })
    }
}

/// A prescription without its personal parts.
pub async fn load(kernel: &Kernel, stream: StreamId) -> Result<Option<Prescription>, NotNow> {
    let facts = kernel.facts(stream).await?;
    debug_assert!(facts.iter().all(|f| f.topic == topics::PRESCRIBING.name));
    let events = facts.iter().map(|f| wire::decode(f, None)).collect::<Result<Vec<Event>, _>>().map_err(|e| NotNow::Other(e.to_string()))?;
    Ok(Prescription::fold(events))
}

/// A prescription with its personal parts as far as they open.
pub async fn load_opened(kernel: &Kernel, stream: StreamId) -> Result<Option<Prescription>, NotNow> {
    let opened = kernel.load(stream).await?;
    let events =
        opened.iter().map(|o| wire::decode(&o.fact, o.personal.as_ref())).collect::<Result<Vec<Event>, _>>().map_err(|e| NotNow::Other(e.to_string()))?;
    Ok(Prescription::fold(events))
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSED: &[u8] =
        br#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"duplicate","details":{"coding":[{"code":"DUPLICATE_PRESCRIPTION_ID"}]}}]}"#;
    const TAKEN: &[u8] = br#"{"resourceType":"OperationOutcome","issue":[{"severity":"information","code":"informational"}]}"#;

    #[test]
    fn a_duplicate_is_ours_only_when_the_order_went_out_before() {
        assert_eq!(sent(400, REFUSED, true), Sent::Confirmed { reference: ALREADY_HELD.to_owned() });
        assert_eq!(sent(400, REFUSED, false), Sent::Refused { code: "DUPLICATE_PRESCRIPTION_ID".to_owned() });
    }

    #[test]
    fn only_what_the_service_states_is_an_outcome() {
        assert!(matches!(sent(200, TAKEN, false), Sent::Confirmed { .. }));
        assert!(matches!(sent(200, b"<html>", false), Sent::Unconfirmed { .. }));
        assert!(matches!(sent(401, REFUSED, false), Sent::Unconfirmed { .. }));
        assert!(matches!(sent(502, b"", false), Sent::Unconfirmed { .. }));
    }
}

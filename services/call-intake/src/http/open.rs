//! `POST /calls`: a call and what was said with it, in one unit.

use super::fields::{self, Named, ObservationFields, ResidentFields};
use super::{Shared, occurred, unit};
use crate::domain::CallEvent;
use crate::domain::decide::{self, OpenCall};
use crate::domain::events::{Opened, OpeningWords, ResidentRef};
use crate::domain::words::*;
use crate::{Intake, wire};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{ETAG, LOCATION};
use axum::response::{IntoResponse, Response};
use hearthline_eventing::{Attempted, NotNow, Occurred, now_us, retrying};
use hearthline_nhs::words::Word;
use hearthline_nhs::{CallId, HomeId, Personal, ResidentId, london_instant, london_local};
use hearthline_runtime::http::{Command, Problem, Receipt};
use hearthline_runtime::service;
use serde::{Deserialize, Serialize};
use std::fmt;
use uuid::Uuid;

/// What a home hears while the hub is shut.
const OUT_OF_HOURS_ADVICE: &str =
    "The hub is closed. If somebody is seriously ill or injured, call 999. Otherwise use NHS 111 or your out-of-hours GP service.";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OpenFields {
    home_id: Uuid,
    channel: String,
    reason: String,
    #[serde(default)]
    secondary_reasons: Vec<String>,
    reason_text: Option<String>,
    caller_name: Option<String>,
    #[serde(default)]
    restore2_used: bool,
    resident: Option<ResidentFields>,
    observations: Option<ObservationFields>,
    counterfactual: Option<String>,
    consent: Option<String>,
    occurred_at: Option<String>,
}

impl fmt::Debug for OpenFields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OpenFields(redacted)")
    }
}

pub(super) async fn open_call(State(intake): State<Shared>, command: Command<OpenFields>) -> Result<Response, Problem> {
    let home = HomeId::from_bytes(command.body.home_id.into_bytes());
    command.caller.must_act_for_home(home)?;
    let call = parse(&command.body)?;
    let now = now_us();
    let occurred = occurred(&intake, &command.caller, command.body.occurred_at.as_deref(), None, now)?;
    match open(&intake, &command, call, &occurred, now).await {
        Err(problem) if problem.status().is_client_error() => {
            let earlier = service::earlier(intake.kernel.store.as_ref(), &command.key, command.body_digest).await?;
            again(&intake, earlier.ok_or(problem)?).await
        }
        answered => answered,
    }
}

async fn open(intake: &Intake, command: &Command<OpenFields>, call: OpenCall, occurred: &Occurred, now: i64) -> Result<Response, Problem> {
    if call.opened.resident.status == IdentityStatus::Identified {
        fields::known_resident(intake, &command.caller, call.opened.resident.id).await?;
    }
    let home = fields::home_at(intake, call.opened.home, occurred.at_us).await?;
    let store = intake.kernel.store.as_ref();
    let attempt = retrying(store, || {
        // A fresh stream each time: only the idempotency key can stand in the way.
        let id = CallId::from_bytes(service::fresh_id());
        let call = call.clone();
        async move {
            let events = decide::open(home, &intake.options.opening, occurred.at_us, call)?;
            let (reply, version) = (Reply::of(&events), events.len() as u64);
            let mut unit = unit(intake, &command.caller, id, 0, events, occurred, now).await?;
            unit.claims.push(service::idempotent(&command.key, command.body_digest, id.into(), version, now));
            Ok::<_, Problem>((unit, (id, version, reply)))
        }
    })
    .await?;
    match attempt {
        Attempted::Committed { position, value: (id, version, reply) } => {
            Ok(reply.response(intake, service::receipt(id.into(), version, position), occurred.at_us))
        }
        Attempted::Claimed(holder) => again(intake, service::repeated(&holder, command.body_digest)?).await,
    }
}

/// The reply of the first time, rebuilt from the facts.
async fn again(intake: &Intake, receipt: Receipt) -> Result<Response, Problem> {
    let stream = CallId::from_bytes(receipt.stream.into_bytes()).into();
    let mut facts = intake.kernel.facts(stream).await?;
    facts.retain(|fact| fact.version() <= receipt.version);
    let events: Result<Vec<CallEvent>, _> = facts.iter().map(|fact| wire::inward(fact, None)).collect();
    let events = events.map_err(|e| NotNow::Other(e.to_string()))?;
    let at = facts.first().map_or(0, |fact| fact.envelope.occurred_at_us);
    Ok(Reply::of(&events).response(intake, receipt, at))
}

fn parse(body: &OpenFields) -> Result<OpenCall, Problem> {
    let named = body.resident.as_ref().map(|r| r.parse("resident.")).transpose()?;
    let (resident, described) = match named.unwrap_or(Named::Described(None)) {
        Named::Known(id) => (ResidentRef { id, status: IdentityStatus::Identified }, None),
        Named::Described(said) => {
            let id = ResidentId::from_bytes(service::fresh_id());
            (ResidentRef { id, status: IdentityStatus::Provisional }, said)
        }
    };
    let text = |field: &str, text: &Option<String>| -> Result<String, Problem> {
        let text = fields::free_text(field, text.as_deref())?;
        Ok(text.as_ref().and_then(Personal::known).cloned().unwrap_or_default())
    };
    let said = OpeningWords {
        reason_text: text("reason_text", &body.reason_text)?,
        caller_name: text("caller_name", &body.caller_name)?,
        resident: described.as_ref().and_then(Personal::known).cloned(),
    };
    let secondary: Result<Vec<CallReason>, Problem> =
        body.secondary_reasons.iter().enumerate().map(|(n, text)| service::word(&format!("secondary_reasons.{n}"), text)).collect();
    Ok(OpenCall {
        opened: Opened {
            home: HomeId::from_bytes(body.home_id.into_bytes()),
            channel: service::word("channel", &body.channel)?,
            reason: service::word("reason", &body.reason)?,
            secondary_reasons: secondary?,
            resident,
            restore2_used: body.restore2_used,
            said: (said != OpeningWords::default()).then(|| Personal::of(said)),
        },
        observed: body.observations.as_ref().map(|o| o.parse("observations.")).transpose()?,
        counterfactual: service::opt_word("counterfactual", body.counterfactual.as_deref())?,
        consent: service::opt_word("consent", body.consent.as_deref())?,
    })
}

/// What the answer says beside the receipt.
enum Reply {
    Opened { resident: ResidentRef, news2: Option<News2Fields> },
    OutsideHours,
}

/// A score in answers.
#[derive(Debug, Clone, Serialize)]
pub(super) struct News2Fields {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) total: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) partial: Option<u8>,
    pub(super) risk: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) missing: Vec<&'static str>,
    pub(super) supplied_total_wrong: bool,
}

impl News2Fields {
    pub(super) fn of(observed: &crate::domain::events::Observed) -> Self {
        use hearthline_nhs::Risk;
        let score = &observed.score;
        News2Fields {
            total: score.total,
            partial: score.partial,
            risk: match score.risk {
                Risk::Low => "low",
                Risk::LowMedium => "low_medium",
                Risk::Medium => "medium",
                Risk::High => "high",
            },
            missing: score.missing.iter().map(|parameter| parameter.name()).collect(),
            supplied_total_wrong: observed.supplied_total_wrong,
        }
    }
}

#[derive(Serialize)]
struct OpenedReply {
    #[serde(flatten)]
    receipt: Receipt,
    resident_id: Uuid,
    resident_status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    news2: Option<News2Fields>,
}

#[derive(Serialize)]
struct OutsideHoursReply {
    #[serde(flatten)]
    receipt: Receipt,
    attempted_outside_hours: bool,
    advice: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    opens_at: Option<String>,
}

impl Reply {
    fn of(events: &[CallEvent]) -> Self {
        let news2 = events.iter().find_map(|event| match event {
            CallEvent::ObservationsRecorded(observed) => Some(News2Fields::of(observed)),
            _ => None,
        });
        match events.first() {
            Some(CallEvent::Opened(opened)) => Reply::Opened { resident: opened.resident, news2 },
            _ => Reply::OutsideHours,
        }
    }

    /// `at_us`: when the call took place.
    fn response(self, intake: &Intake, receipt: Receipt, at_us: i64) -> Response {
        match self {
            Reply::Opened { resident, news2 } => {
                let headers = [(LOCATION, format!("/calls/{}", receipt.stream)), (ETAG, format!("\"{}\"", receipt.version))];
                let body = OpenedReply { receipt, resident_id: service::uuid_of(*resident.id.bytes()), resident_status: resident.status.as_str(), news2 };
                (StatusCode::CREATED, headers, Json(body)).into_response()
            }
            Reply::OutsideHours => {
                let opens = london_local(at_us).ok().and_then(|at| intake.options.opening.opens_next(at));
                let opens_at = opens.and_then(|at| london_instant(at).ok()).map(service::rfc3339);
                Json(OutsideHoursReply { receipt, attempted_outside_hours: true, advice: OUT_OF_HOURS_ADVICE, opens_at }).into_response()
            }
        }
    }
}

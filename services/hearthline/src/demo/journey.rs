//! One call as the hub's people live it, from the first word to the closing, entered afterwards at the times at which it
//! happened. Every step has a key of its own, so a step whose answer was lost is asked again and takes effect once.

use anyhow::{Context, bail};
use hearthline_runtime::auth::Role;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::hub::{Body, Hub, refused_with};
use super::pace::Step;
use super::week::{Call, Identification, Observed, Week};

const SIGN_ATTEMPTS_MAX: u32 = 20;

/// A call that was closed.
pub struct Closed {
    pub call_id: String,
    /// What the prescription service calls the order, where there is one.
    pub order_number: Option<String>,
}

/// Where the registers and residents of a week ended up.
pub struct Known {
    /// By index of the home.
    pub homes: Vec<String>,
    /// By index of the resident; none for those whom a call is to register.
    pub residents: Vec<Option<String>>,
}

/// The number of commands of a call, for the choice of kill points.
pub fn commands(call: &Call) -> usize {
    // Open, answer, triage, join, decide, close.
    let identified_later = matches!(call.identification, Identification::Searched | Identification::Completed);
    6 + usize::from(identified_later) + usize::from(!said_at_once(call)) + 3 * usize::from(call.medicine.is_some())
}

/// Every other call states what the home would have done, and consent, in commands of their own.
fn said_at_once(call: &Call) -> bool {
    call.resident.is_multiple_of(2)
}

pub struct Journey<'a> {
    pub hub: &'a Hub,
    pub week: &'a Week,
    pub known: &'a Known,
}

impl Journey<'_> {
    /// Lives the whole call.
    pub async fn live(&self, call: &Call) -> anyhow::Result<Closed> {
        self.all(call).await.with_context(|| format!("the call \"{}\"", call.story))
    }

    async fn all(&self, call: &Call) -> anyhow::Result<Closed> {
        let home_id = self.known.homes.get(self.week.residents[call.resident].home).context("the home is not known")?;
        let opened = self.command(call, "open", Role::CallHandler, "/calls", self.opening(call, home_id)?).await?;
        let call_id = text(&opened, "stream")?;
        self.must_score(call, &opened)?;
        let path = |rest: &str| format!("/calls/{call_id}/{rest}");
        let at = |us: i64| instant(us);
        self.command(call, "answer", Role::CallHandler, &path("answer"), json!({ "occurred_at": at(call.answered_at)? })).await?;
        let triage = json!({ "occurred_at": at(call.triaged_at)?, "urgency": call.urgency, "referral_source": "home_direct" });
        self.command(call, "triage", Role::CallHandler, &path("triage"), triage).await?;
        self.identify(call, &path("resident")).await?;
        self.identity_settled(&call_id).await?;
        if !said_at_once(call) {
            let said = json!({ "occurred_at": at(call.identified_at)?, "alternative": call.counterfactual });
            self.command(call, "counterfactual", Role::CallHandler, &path("counterfactual"), said).await?;
        }
        let joining = json!({ "occurred_at": at(call.joined_at)?, "clinician_role": "advanced_clinical_practitioner", "grade": "band_8" });
        let joined = self.command(call, "join", Role::Clinician, &path("join"), joining).await?;
        let version = number(&joined, "version")?;
        let consultation = self.command(call, "decide", Role::Clinician, "/consultations", self.decision(call, &call_id, version)?).await?;
        let order = match &call.medicine {
            Some(_) => Some(self.prescribe(call, &call_id, version, home_id).await?),
            None => None,
        };
        let closing = json!({
            "occurred_at": at(call.closed_at)?,
            "consultation": { "stream": text(&consultation, "stream")?, "version": number(&consultation, "version")? },
            "prescriptions": order.iter().map(|order| json!({ "stream": order.stream, "version": order.version })).collect::<Vec<_>>(),
        });
        self.command(call, "close", Role::Clinician, &path("close"), closing).await?;
        Ok(Closed { call_id, order_number: order.map(|order| order.number) })
    }

    async fn command(&self, call: &Call, step: &str, role: Role, path: &str, body: Value) -> anyhow::Result<Value> {
        let key = format!("call-{:02}-{step}", call.resident);
        self.hub.command(Step::Command, role, path, &key, &Body::Json(body)).await
    }

    fn opening(&self, call: &Call, home_id: &str) -> anyhow::Result<Value> {
        let mut body = json!({
            "occurred_at": instant(call.opened_at)?,
            "home_id": home_id,
            "channel": call.channel,
            "reason": call.reason,
            "reason_text": call.reason_text,
            "caller_name": call.caller_name,
            "restore2_used": call.restore2_used,
        });
        let person = &self.week.residents[call.resident].person;
        body["resident"] = match call.identification {
            Identification::Known => json!({ "resident_id": self.resident(call)? }),
            Identification::Described | Identification::NewResident => self.demographics(call),
            Identification::Searched | Identification::Completed => json!({ "family_name": person.family, "given_names": person.given }),
        };
        if let Some(observed) = &call.observed {
            body["observations"] = observations(observed);
        }
        if said_at_once(call) {
            body["counterfactual"] = json!(call.counterfactual);
        }
        if let Some(consent) = call.consent {
            body["consent"] = json!(consent);
        }
        Ok(body)
    }

    /// The hub's NEWS2 must be the chart's.
    fn must_score(&self, call: &Call, opened: &Value) -> anyhow::Result<()> {
        let total = opened["news2"]["total"].as_u64();
        let expected = call.observed.and_then(|observed| observed.news2).map(u64::from);
        if total != expected {
            bail!("NEWS2 is {total:?} where the chart says {expected:?}");
        }
        Ok(())
    }

    async fn identify(&self, call: &Call, path: &str) -> anyhow::Result<()> {
        let person = &self.week.residents[call.resident].person;
        let mut body = match call.identification {
            Identification::Known | Identification::Described | Identification::NewResident => return Ok(()),
            Identification::Completed => self.demographics(call),
            Identification::Searched => {
                let wanted = json!({ "nhs_number": person.nhs_number.formatted(), "date_of_birth": person.born_on.to_string() });
                let found = self.hub.search(Role::CallHandler, "/residents/search", &wanted).await?;
                let id = found["residents"][0]["id"].as_str().context("the search found nobody")?;
                if id != self.resident(call)? {
                    bail!("the search found somebody else");
                }
                json!({ "resident_id": id })
            }
        };
        body["occurred_at"] = json!(instant(call.identified_at)?);
        self.command(call, "resident", Role::CallHandler, path, body).await?;
        Ok(())
    }

    fn resident(&self, call: &Call) -> anyhow::Result<&str> {
        self.known.residents.get(call.resident).and_then(Option::as_deref).context("the resident is not known")
    }

    fn demographics(&self, call: &Call) -> Value {
        let person = &self.week.residents[call.resident].person;
        json!({
            "family_name": person.family,
            "given_names": person.given,
            "date_of_birth": person.born_on.to_string(),
            "nhs_number": person.nhs_number.formatted(),
        })
    }

    fn decision(&self, call: &Call, call_id: &str, call_version: u64) -> anyhow::Result<Value> {
        let claims: Vec<Value> = call
            .claims
            .iter()
            .map(|claim| {
                let mut body = json!({ "kind": claim.word(), "rationale": call.rationale });
                if claim.word() == "admission" {
                    body["likely_admitting_problem"] = json!(call.likely_admitting_problem);
                }
                body
            })
            .collect();
        let mut body = json!({
            "occurred_at": instant(call.decided_at)?,
            "call_id": call_id,
            "call_version": call_version,
            "disposition": call.disposition,
            "summary": call.summary,
            "claims": claims,
        });
        if let Some(plan) = &call.plan {
            body["plan"] = json!({
                "text": plan.text,
                "actions_for_gp": plan.actions_for_gp,
                "call_back_if": plan.call_back_if,
                "review_on": plan.review_on.to_string(),
                "agreed_with_home": true,
            });
        }
        Ok(body)
    }

    async fn prescribe(&self, call: &Call, call_id: &str, call_version: u64, home_id: &str) -> anyhow::Result<Order> {
        let Some((item, dosage)) = &call.medicine else { bail!("there is nothing to prescribe") };
        let at = instant(call.prescribed_at)?;
        let draft = json!({
            "occurred_at": at,
            "call_id": call_id,
            "call_version": call_version,
            "prescriber_type": "0101",
            "items": [{
                "dmd_code": item.dmd_code,
                "display": item.display,
                "quantity": item.quantity,
                "unit_code": item.unit_code,
                "unit": item.unit,
                "dosage": dosage,
            }],
        });
        let drafted = self.command(call, "draft", Role::Prescriber, "/prescriptions", draft).await?;
        let stream = text(&drafted, "stream")?;
        let open = self.hub.get(Role::Prescriber, &format!("/pharmacies/open?home_id={home_id}&at={at}")).await?;
        let pharmacy = open["pharmacies"][0]["id"].as_str().context("no pharmacy is open")?;
        let choice = json!({ "occurred_at": at, "pharmacy_id": pharmacy });
        self.command(call, "pharmacy", Role::Prescriber, &format!("/prescriptions/{stream}/pharmacy"), choice).await?;
        self.sign(call, stream).await
    }

    /// A prescription and the shared record need a resident whom the directory knows, with no merge open.
    async fn identity_settled(&self, call_id: &str) -> anyhow::Result<()> {
        self.hub.pause().await?;
        let settled = |call: &Value| call["resident"]["registered"] == true && call["resident"]["merge_pending"] == false;
        self.hub.wait_for("the resident to be known", Role::Clinician, &format!("/calls/{call_id}"), settled).await?;
        Ok(())
    }

    /// Signs, and repeats the request under the same key while nobody knows whether the order arrived.
    async fn sign(&self, call: &Call, stream: String) -> anyhow::Result<Order> {
        let path = format!("/prescriptions/{stream}/sign");
        for _ in 0..SIGN_ATTEMPTS_MAX {
            let signed = match self.command(call, "sign", Role::Prescriber, &path, json!({})).await {
                Ok(signed) => signed,
                // The prescriber's service may hear of the identity a moment later than call intake does.
                Err(refused) if is_about_identity(&refused) => {
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                    continue;
                }
                Err(error) => return Err(error),
            };
            match signed["status"].as_str() {
                Some("accepted") => {
                    return Ok(Order { version: number(&signed, "version")?, number: text(&signed, "order_number")?, stream });
                }
                Some("unconfirmed" | "submitted" | "sending") => {
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                }
                other => bail!("the prescription stands at {other:?}"),
            }
        }
        bail!("the prescription service never confirmed the order")
    }
}

struct Order {
    stream: String,
    version: u64,
    number: String,
}

fn is_about_identity(error: &anyhow::Error) -> bool {
    ["resident_provisional", "merge_pending", "no_nhs_number"].iter().any(|code| refused_with(error, code))
}

fn observations(observed: &Observed) -> Value {
    let mut body = json!({ "tool": "restore2", "spo2_scale": observed.spo2_scale });
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            body[name] = value;
        }
    };
    put("respiratory_rate", observed.respiratory_rate.map(Into::into));
    put("spo2", observed.spo2.map(Into::into));
    put("on_oxygen", observed.spo2.map(|_| false.into()));
    put("systolic", observed.systolic.map(Into::into));
    put("pulse", observed.pulse.map(Into::into));
    put("consciousness", observed.consciousness.map(|letter| letter.to_string().into()));
    put("temperature", observed.temperature.map(Into::into));
    put("supplied_total", observed.news2.map(Into::into));
    body
}

/// RFC 3339, from µs UTC.
pub fn instant(us: i64) -> anyhow::Result<String> {
    Ok(Timestamp::from_microsecond(us)?.to_string())
}

fn text(body: &Value, field: &str) -> anyhow::Result<String> {
    body[field].as_str().map(str::to_owned).with_context(|| format!("the answer lacks {field}"))
}

fn number(body: &Value, field: &str) -> anyhow::Result<u64> {
    body[field].as_u64().with_context(|| format!("the answer lacks {field}"))
}

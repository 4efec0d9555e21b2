//! The Electronic Prescription Service, prescriber's side (NHS EPS FHIR API).
//!
//! 1. `POST /FHIR/R4/$prepare`: an unsigned order; answers what is to be signed.
//! 2. `POST /FHIR/R4/$process-message`: a signed order, or the cancellation of one item.
//!
//! Both want a bearer token, as user-restricted access does; which one is not looked at. A prescription id
//! is taken once: a repeat, the same bundle or another, is answered `DUPLICATE_PRESCRIPTION_ID`, as by the
//! real service. That a signature is there is checked, not that it verifies.
//!
//! Operations for faults: `prepare`, `order`, `cancel`. `refuse` on `cancel` is an outcome such as `R-0002`
//! (answered in a response bundle) or an issue code (answered in an `OperationOutcome`).
//!
//! Control: `GET /_sandbox/orders`, `/_sandbox/orders/{prescription id}`, `/_sandbox/cancellations`,
//! `/_sandbox/counts`, `/_sandbox/faults`.

mod issue;
mod orders;
mod prescription_id;
mod rules;

use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::{ConnectInfo, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::control;
use crate::fault::Faults;
use crate::http::{HangUp, HttpServer, StartError, perform};
use crate::json::{entries, fhir, is_json, list};
use crate::kept::Kept;
use issue::{Issue, STATUS_HISTORY, outcome_display, refusal};
use orders::Orders;
use rules::{Event, Message, Prescription};

pub use orders::{Cancellation, Counts, Item, ItemStatus, Order};

/// How the service behaves from the start.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// What is to go wrong first.
    pub faults: Faults,
}

/// The server; see the module.
#[derive(Debug)]
pub struct Eps;

impl Eps {
    /// Listens on `addr`, a loopback address; port 0 takes any free one.
    ///
    /// # Errors
    /// [`StartError`] when the address is not loopback or taken.
    pub async fn start(addr: SocketAddr, options: Options) -> Result<Handle, StartError> {
        let service = Service { orders: Kept::default(), faults: options.faults };
        let router = Router::new()
            .route("/FHIR/R4/$prepare", post(prepare))
            .route("/FHIR/R4/$process-message", post(process_message))
            .route("/_sandbox/orders", get(all_orders))
            .route("/_sandbox/orders/{prescription_id}", get(one_order))
            .route("/_sandbox/cancellations", get(all_cancellations))
            .route("/_sandbox/counts", get(counts))
            .with_state(service.clone())
            .merge(control::faults(service.faults.clone()));
        Ok(Handle { server: HttpServer::start(addr, router).await?, service })
    }
}

/// A running service. Dropping it stops it.
#[derive(Debug)]
pub struct Handle {
    server: HttpServer,
    service: Service,
}

impl Handle {
    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// `http://host:port`, before `/FHIR/R4/…`.
    pub fn url(&self) -> String {
        self.server.url()
    }

    pub fn faults(&self) -> &Faults {
        &self.service.faults
    }

    /// Every order kept, by prescription id.
    pub fn orders(&self) -> Vec<Order> {
        self.service.orders.read(Orders::all)
    }

    /// The order of this id, short form or long.
    pub fn order(&self, prescription_id: &str) -> Option<Order> {
        self.service.orders.read(|orders| orders.order(prescription_id))
    }

    /// Every cancellation answered, in order of arrival.
    pub fn cancellations(&self) -> Vec<Cancellation> {
        self.service.orders.read(Orders::cancellations)
    }

    pub fn counts(&self) -> Counts {
        self.service.orders.read(Orders::counts)
    }

    /// Waits until `enough` holds of the counts; false when `deadline` passes first.
    pub async fn wait_until(&self, deadline: Duration, enough: impl Fn(&Counts) -> bool) -> bool {
        self.service.orders.wait_until(deadline, |orders| enough(&orders.counts())).await
    }

    /// Frees the port; what was held is gone with the handle.
    pub async fn stop(self) {
        self.server.stop().await;
    }
}

#[derive(Debug, Clone)]
struct Service {
    orders: Kept<Orders>,
    faults: Faults,
}

impl Service {
    fn refuse(&self, issues: &[Issue]) -> Response {
        self.orders.change(|orders| issues.iter().for_each(|issue| orders.refused(issue.code())));
        refusal(issues)
    }

    fn prepare(&self, message: &Message) -> Response {
        if message.event != Event::Order {
            return self.refuse(&[Issue::invalid("Only a prescription-order is prepared")]);
        }
        if let Err(issues) = rules::order(&message.bundle, false) {
            return self.refuse(&issues);
        }
        self.orders.change(Orders::prepared);
        let parameter = |name: &str, value: String| json!({ "name": name, "valueString": value });
        let parameters = json!({
            "resourceType": "Parameters",
            "parameter": [
                parameter("digest", to_be_signed(&message.bundle)),
                parameter("timestamp", now()),
                parameter("algorithm", "RS256".to_owned()),
            ],
        });
        fhir(StatusCode::OK, &parameters)
    }

    fn order(&self, message: Message) -> Response {
        let prescription = match rules::order(&message.bundle, true) {
            Ok(prescription) => prescription,
            Err(issues) => return self.refuse(&issues),
        };
        let accepted = self.orders.change(|orders| orders.accept(prescription, &message.bundle_id, message.bundle));
        if !accepted {
            return self.refuse(&[Issue::known("DUPLICATE_PRESCRIPTION_ID")]);
        }
        let done = json!({
            "resourceType": "OperationOutcome",
            "issue": [{ "severity": "information", "code": "informational" }],
        });
        fhir(StatusCode::OK, &done)
    }

    fn cancel(&self, message: &Message, scripted: Option<&str>) -> Response {
        let prescription = match rules::cancellation(&message.bundle) {
            Ok(prescription) => prescription,
            Err(issues) => return self.refuse(&issues),
        };
        let outcome = self.orders.change(|orders| orders.cancel(&prescription, scripted));
        // As the real service: whatever was not cancelled is a bad request that carries a response bundle.
        let status = if outcome == "R-0001" { StatusCode::OK } else { StatusCode::BAD_REQUEST };
        fhir(status, &cancellation_response(message, &prescription, &outcome))
    }
}

async fn prepare(State(service): State<Service>, ConnectInfo(line): ConnectInfo<HangUp>, headers: HeaderMap, body: Bytes) -> Response {
    let message = match receive(&headers, &body) {
        Ok(message) => message,
        Err(issue) => return service.refuse(&[issue]),
    };
    let fault = service.faults.take("prepare");
    perform(fault, &line, |code| match code {
        Some(code) => service.refuse(&[Issue::known(code)]),
        None => service.prepare(&message),
    })
    .await
}

async fn process_message(State(service): State<Service>, ConnectInfo(line): ConnectInfo<HangUp>, headers: HeaderMap, body: Bytes) -> Response {
    let message = match receive(&headers, &body) {
        Ok(message) => message,
        Err(issue) => return service.refuse(&[issue]),
    };
    let fault = service.faults.take(match message.event {
        Event::Order => "order",
        Event::Update => "cancel",
    });
    perform(fault, &line, |code| match (message.event, code) {
        (Event::Order, None) => service.order(message),
        (Event::Update, None) => service.cancel(&message, None),
        (Event::Update, Some(code)) if outcome_display(code).is_some() => service.cancel(&message, Some(code)),
        (_, Some(code)) => service.refuse(&[Issue::known(code)]),
    })
    .await
}

fn receive(headers: &HeaderMap, body: &[u8]) -> Result<Message, Issue> {
    let token = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, token)| scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty());
    if token.is_none() {
        return Err(Issue::access_denied());
    }
    if !is_json(headers) {
        return Err(Issue::unsupported_media_type());
    }
    rules::message(body)
}

/// What a prescriber signs: the `SignedInfo` of an XML signature over the items, in base64. The digest is over
/// their JSON, not over the fragments of HL7 v3 that the real service derives: a stand-in of the same shape.
fn to_be_signed(bundle: &Value) -> String {
    let items: Vec<&Value> = entries(bundle, "MedicationRequest").iter().map(|entry| entry.resource).collect();
    let digest = BASE64.encode(Sha256::digest(json!(items).to_string()));
    BASE64.encode(format!(
        "<SignedInfo xmlns=\"http://www.w3.org/2000/09/xmldsig#\">\
         <CanonicalizationMethod Algorithm=\"http://www.w3.org/2001/10/xml-exc-c14n#\"></CanonicalizationMethod>\
         <SignatureMethod Algorithm=\"http://www.w3.org/2001/04/xmldsig-more#rsa-sha256\"></SignatureMethod>\
         <Reference><DigestMethod Algorithm=\"http://www.w3.org/2001/04/xmlenc#sha256\"></DigestMethod>\
         <DigestValue>{digest}</DigestValue></Reference></SignedInfo>"
    ))
}

fn cancellation_response(message: &Message, prescription: &Prescription, outcome: &str) -> Value {
    let mut entry = list(&message.bundle, "entry").to_vec();
    entry.retain(|entry| entry["resource"]["resourceType"] != "Provenance");
    for resource in entry.iter_mut().map(|entry| &mut entry["resource"]) {
        if resource["resourceType"] == "MessageHeader" {
            resource["eventCoding"]["code"] = json!("prescription-order-response");
            resource["eventCoding"]["display"] = json!("Prescription Order Response");
            let code = if outcome == "R-0001" { "ok" } else { "fatal-error" };
            resource["response"] = json!({ "identifier": message.bundle_id, "code": code });
        } else if resource["resourceType"] == "MedicationRequest" {
            let cancelled = matches!(outcome, "R-0001" | "R-0006");
            resource["status"] = json!(if cancelled { "cancelled" } else { "active" });
            let mut extensions = list(resource, "extension").to_vec();
            extensions.push(json!({
                "url": "https://fhir.nhs.uk/StructureDefinition/Extension-DM-PrescriptionStatusHistory",
                "extension": [
                    { "url": "status", "valueCoding": {
                        "system": STATUS_HISTORY, "code": outcome, "display": outcome_display(outcome),
                    } },
                    { "url": "statusDate", "valueDateTime": now() },
                ],
            }));
            resource["extension"] = Value::Array(extensions);
        }
    }
    json!({
        "resourceType": "Bundle",
        "type": "message",
        // One answer per item: its number names the answer as well.
        "identifier": {
            "system": "https://tools.ietf.org/html/rfc4122",
            "value": prescription.item_ids.first(),
        },
        "timestamp": now(),
        "entry": entry,
    })
}

/// Now, to the second, in the service's own notation of UTC.
fn now() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string()
}

async fn all_orders(State(service): State<Service>) -> Json<Vec<Order>> {
    Json(service.orders.read(Orders::all))
}

async fn one_order(State(service): State<Service>, Path(prescription_id): Path<String>) -> Response {
    match service.orders.read(|orders| orders.order(&prescription_id)) {
        Some(order) => Json(order).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn all_cancellations(State(service): State<Service>) -> Json<Vec<Cancellation>> {
    Json(service.orders.read(Orders::cancellations))
}

async fn counts(State(service): State<Service>) -> Json<Counts> {
    Json(service.orders.read(Orders::counts))
}

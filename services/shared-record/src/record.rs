//! The shared care record: a FHIR document is created there once.
//!
//! The create is conditional on the document's identifier, which follows from the call and the version: a repeat after a lost answer finds
//! the document and creates nothing. After a lost answer the record is searched before anything is sent again.

use crate::delivering;
use crate::domain::Kind;
use async_trait::async_trait;
use hearthline_eventing::deliveries::{Courier, Found, Guard, Sent};
use hearthline_eventing::{Delivery, DeliveryState, Kernel, NotNow, Unit};
use hearthline_interop::fhir::{Bundle, OperationOutcome, identifier_query_encoded, systems};
use hearthline_runtime::client::{self, ClientError};
use reqwest::header::{CONTENT_TYPE, LOCATION};
use std::time::Duration;
use uuid::Uuid;

/// From the first byte to the last of the answer; the delivery's deadline lies beyond it.
const TIME_OUT: Duration = Duration::from_secs(20);
const FHIR_JSON: &str = "application/fhir+json";

/// The client of the record, and what its answers mean.
pub struct Record {
    kernel: Kernel,
    http: reqwest::Client,
    base: Option<String>,
}

impl Record {
    /// `base` is the FHIR base address; none: uploads wait.
    pub fn new(kernel: Kernel, base: Option<&str>) -> Result<Self, ClientError> {
        // A connection kept open can be closed by the other side just as a document is written to it: each gets its own.
        let http = client::build(|c| c.timeout(TIME_OUT).pool_max_idle_per_host(0).redirect(reqwest::redirect::Policy::none()))?;
        Ok(Record { kernel, http, base: base.map(|b| b.trim_end_matches('/').to_owned()) })
    }

    fn base(&self) -> Result<&str, NotNow> {
        self.base.as_deref().ok_or_else(|| NotNow::Other("no shared record is configured".to_owned()))
    }
}

#[async_trait]
impl Courier for Record {
    fn kind(&self) -> &'static str {
        Kind::RecordUpload.as_str()
    }

    async fn guard(&self, delivery: &Delivery, now: i64) -> Result<Guard, NotNow> {
        if self.base.is_none() {
            return Ok(Guard::Wait { why: "not_configured" });
        }
        delivering::guard(&self.kernel, Kind::RecordUpload, delivery, now).await
    }

    async fn send(&self, delivery: &Delivery) -> Result<Sent, NotNow> {
        let base = self.base()?;
        let parcel = delivering::parcel(delivery)?;
        let Some(document) = delivering::plain(&self.kernel, &parcel).await? else { return Ok(Sent::Refused { code: "personal_data_destroyed".to_owned() }) };
        let condition = identifier_query_encoded(systems::UUID, &Uuid::from_bytes(parcel.document).to_string());
        let request = self.http.post(format!("{base}/Bundle")).header(CONTENT_TYPE, FHIR_JSON).header("if-none-exist", condition).body(document);
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) if error.is_connect() => return Ok(Sent::Retry { code: "unreachable".to_owned() }),
            Err(error) if error.is_timeout() => return Ok(Sent::Unconfirmed { code: "timed_out".to_owned() }),
            Err(_) => return Ok(Sent::Unconfirmed { code: "no_answer".to_owned() }),
        };
        let status = response.status().as_u16();
        let location = response.headers().get(LOCATION).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
        Ok(match status {
            200 | 201 => Sent::Confirmed { reference: location },
            // Nothing was taken, and later it may be.
            408 | 425 | 429 | 500..=599 => Sent::Retry { code: format!("http_{status}") },
            // What went wrong stands in the codes; the rest of the answer may quote the document.
            _ => Sent::Refused { code: response.bytes().await.ok().and_then(|body| refusal(&body)).unwrap_or_else(|| format!("http_{status}")) },
        })
    }

    async fn search(&self, delivery: &Delivery) -> Result<Found, NotNow> {
        let base = self.base()?;
        let parcel = delivering::parcel(delivery)?;
        let query = identifier_query_encoded(systems::UUID, &Uuid::from_bytes(parcel.document).to_string());
        let away = |_| NotNow::Other("the shared record cannot be searched now".to_owned());
        let response = self.http.get(format!("{base}/Bundle?{query}")).send().await.map_err(away)?;
        if !response.status().is_success() {
            return Err(NotNow::Other(format!("the shared record answers a search with http_{}", response.status().as_u16())));
        }
        let body = response.bytes().await.map_err(away)?;
        let found = Bundle::parse(&body).map_err(|e| NotNow::Other(format!("the shared record's answer to a search is {e}")))?;
        Ok(match found.entry.first() {
            Some(entry) => Found::There { reference: entry.full_url.clone().unwrap_or_default() },
            None => Found::NotThere,
        })
    }

    async fn settled(&self, delivery: &Delivery, to: DeliveryState, code: Option<&str>, reference: Option<&str>, now: i64) -> Result<Unit, NotNow> {
        delivering::settled(&self.kernel, Kind::RecordUpload, delivery, to, code, reference, now).await
    }
}

fn refusal(body: &[u8]) -> Option<String> {
    let outcome = OperationOutcome::parse(body).ok()?;
    let codes = outcome.codes();
    codes.first().map(|code| code.chars().filter(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).take(60).collect())
}

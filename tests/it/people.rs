//! The people of the stories: a home and who lives there, the hub's staff on a call, the hospital that sends its messages.

use crate::system::{HOSPITAL, System, day, text};
use hearthline_interop::hl7v2::write::{self, Header, MessageWriter};
use hearthline_nhs::NhsNumber;
use hearthline_runtime::auth::Role;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value as Json, json};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

const DAY_S: i64 = 86_400;

/// The midnight (UTC) before the tests began: a story that runs past the next one stays on its days.
static MIDNIGHT_S: LazyLock<i64> = LazyLock::new(|| Timestamp::now().as_second().div_euclid(DAY_S) * DAY_S);

/// Ten in the morning (UTC) so many days ago.
pub fn days_ago(days: i64) -> Timestamp {
    Timestamp::from_second(*MIDNIGHT_S - days * DAY_S + 10 * 3_600).expect("a moment")
}

/// After everything that a test does.
pub fn tomorrow() -> Timestamp {
    days_ago(-1) + hours(24)
}

pub fn hours(n: i64) -> SignedDuration {
    SignedDuration::from_hours(n)
}

/// A person as the home and the hospital know them.
#[derive(Clone)]
pub struct Person {
    pub family: String,
    pub given: String,
    pub born: jiff::civil::Date,
    pub nhs_number: NhsNumber,
}

impl Person {
    /// With the `n`th number of the range that is never issued.
    pub fn new(given: &str, family: &str, born: &str, n: u32) -> Self {
        let nhs_number = (999_000_000 + 20 * n..).find_map(|nine| NhsNumber::complete(nine).ok()).expect("one in eleven has no check digit");
        Person { family: family.to_owned(), given: given.to_owned(), born: born.parse().expect("a day"), nhs_number }
    }

    pub fn described(&self) -> Json {
        json!({ "family_name": self.family, "given_names": self.given, "date_of_birth": self.born.to_string(), "nhs_number": self.nhs_number.as_str() })
    }
}

/// A care home in Portsmouth.
pub struct Home {
    pub id: String,
}

pub const MAILBOX: &str = "rosewood@carehome.example.nhs.net";
pub const ROSEWOOD: (&str, &str) = ("Rosewood Lodge, 12 Harbour Road", "PO1 2AB");
/// Where nobody's care home is.
pub const ELSEWHERE: (&str, &str) = ("4 Private Lane", "PO6 3XX");

impl Home {
    /// Rosewood Lodge, whose secure mailbox was verified a month ago.
    pub async fn rosewood(hub: &System) -> Home {
        Self::registered(hub, "VL001", "Rosewood Lodge", MAILBOX, &day(days_ago(30)).to_string()).await
    }

    /// Fernside, which has no secure mailbox.
    pub async fn fernside(hub: &System) -> Home {
        Self::registered(hub, "VL002", "Fernside", "", "").await
    }

    async fn registered(hub: &System, ods: &str, name: &str, email: &str, verified_on: &str) -> Home {
        let header =
            "ods_code,name,address_line_1,town,postcode,beds,home_type,controller_ods,latitude,longitude,live_from,secure_email,secure_email_verified_on";
        let row = format!("{ods},{name},12 Harbour Road,Portsmouth,PO1 2AB,40,nursing,QRL,50.7990,-1.0910,2021-04-01T00:00:00Z,{email},{verified_on}");
        Home { id: hub.register("homes", &format!("{header}\n{row}\n")).await }
    }

    /// Registers a resident of this home and gives their id.
    pub async fn resident(&self, hub: &System, person: &Person) -> String {
        let mut body = person.described();
        body["home_id"] = json!(self.id);
        body["moved_in_on"] = json!("2023-05-02");
        let id = text(&hub.post(Role::Operator, "/residents", body).await.ok(), "stream");
        hub.settled().await;
        id
    }
}

/// A pharmacy round the corner that never closes.
pub async fn pharmacy(hub: &System) -> String {
    let csv = "ods_code,name,postcode,latitude,longitude,opening,listed_from\nFA001,Harbour Pharmacy,PO1 3BD,50.8000,-1.0900,24/7,2021-01-01\n";
    hub.register("pharmacies", csv).await
}

/// A stream at a version, as commands name it.
#[derive(Clone)]
pub struct Named {
    pub stream: String,
    pub version: u64,
}

impl Named {
    pub fn of(receipt: &Json) -> Named {
        Named { stream: text(receipt, "stream"), version: receipt["version"].as_u64().expect("a version") }
    }

    fn json(&self) -> Json {
        json!({ "stream": self.stream, "version": self.version })
    }
}

/// A call on its way, entered afterwards: each step takes two minutes.
pub struct Call<'h> {
    hub: &'h System,
    pub id: String,
    pub opened: Json,
    version: u64,
    now: Timestamp,
    consultation: Option<Named>,
    prescriptions: Vec<Named>,
}

impl<'h> Call<'h> {
    /// A home calls. `body` says why and about whom.
    pub async fn comes_in(hub: &'h System, home: &Home, at: Timestamp, mut body: Json) -> Call<'h> {
        body["home_id"] = json!(home.id);
        body["channel"] = json!("video");
        body["occurred_at"] = json!(at.to_string());
        hub.settled().await;
        let opened = hub.post(Role::CallHandler, "/calls", body).await.ok();
        let Named { stream, version } = Named::of(&opened);
        Call { hub, id: stream, opened, version, now: at, consultation: None, prescriptions: Vec::new() }
    }

    async fn step(&mut self, role: Role, path: &str, mut body: Json) -> Json {
        self.now += SignedDuration::from_mins(2);
        body["occurred_at"] = json!(self.now.to_string());
        self.hub.post(role, path, body).await.ok()
    }

    async fn on_call(&mut self, role: Role, step: &str, body: Json) {
        let path = format!("/calls/{}/{step}", self.id);
        self.version = Named::of(&self.step(role, &path, body).await).version;
    }

    pub async fn is_answered_and_triaged(&mut self, urgency: &str) {
        self.on_call(Role::CallHandler, "answer", json!({})).await;
        self.on_call(Role::CallHandler, "triage", json!({ "urgency": urgency, "referral_source": "home_direct" })).await;
    }

    pub async fn is_about(&mut self, resident: Json) {
        self.on_call(Role::CallHandler, "resident", resident).await;
    }

    /// The clinician needs the resident settled before anything is decided about them.
    pub async fn is_joined_by_a_clinician(&mut self) {
        self.on_call(Role::Clinician, "join", json!({ "clinician_role": "advanced_clinical_practitioner", "grade": "band_8" })).await;
        self.hub.settled().await;
    }

    pub async fn is_decided(&mut self, mut outcome: Json) -> Named {
        outcome["call_id"] = json!(self.id);
        outcome["call_version"] = json!(self.version);
        let decided = Named::of(&self.step(Role::Clinician, "/consultations", outcome).await);
        self.consultation = Some(decided.clone());
        decided
    }

    /// An outcome that is refused, with the code.
    pub async fn cannot_be_decided(&self, mut outcome: Json) -> String {
        outcome["call_id"] = json!(self.id);
        outcome["call_version"] = json!(self.version);
        outcome["occurred_at"] = json!((self.now + SignedDuration::from_mins(2)).to_string());
        let reply = self.hub.post(Role::Clinician, "/consultations", outcome).await;
        assert_eq!(reply.status, 422, "{}", reply.body);
        reply.refused().1.to_owned()
    }

    /// A draft for a short course of amoxicillin, to be collected at a pharmacy.
    pub async fn amoxicillin_is_drafted(&mut self, pharmacy: &str) -> String {
        let item = json!({
            "dmd_code": "39732311000001104", "display": "Amoxicillin 250mg capsules", "quantity": 15,
            "unit_code": "428641000", "unit": "capsule", "dosage": "One capsule three times a day",
        });
        let draft = json!({ "call_id": self.id, "call_version": self.version, "prescriber_type": "0101", "items": [item] });
        let drafted = text(&self.step(Role::Prescriber, "/prescriptions", draft).await, "stream");
        self.step(Role::Prescriber, &format!("/prescriptions/{drafted}/pharmacy"), json!({ "pharmacy_id": pharmacy })).await;
        drafted
    }

    /// Signs in the prescriber's session; the order number.
    pub async fn prescription_is_signed(&mut self, prescription: &str) -> String {
        let signed = self.hub.post(Role::Prescriber, &format!("/prescriptions/{prescription}/sign"), json!({})).await.ok();
        assert_eq!(signed["status"], "accepted", "{signed}");
        self.prescriptions.push(Named::of(&signed));
        text(&signed, "order_number")
    }

    /// Closes with what was decided and prescribed, and waits for all that follows. The trace of the closing.
    pub async fn is_closed(&mut self) -> String {
        self.hub.settled().await;
        let consultation = self.consultation.clone().expect("something was decided");
        self.now += SignedDuration::from_mins(2);
        let body = json!({
            "occurred_at": self.now.to_string(),
            "consultation": consultation.json(),
            "prescriptions": self.prescriptions.iter().map(Named::json).collect::<Vec<_>>(),
        });
        let reply = self.hub.post(Role::Clinician, &format!("/calls/{}/close", self.id), body).await;
        let trace = reply.trace_id.clone();
        reply.ok();
        self.hub.settled().await;
        trace.unwrap_or_default()
    }

    /// When the last step was; once closed, when the call ended.
    pub fn ended(&self) -> Timestamp {
        self.now
    }

    pub async fn shown(&self) -> Json {
        self.hub.get(Role::Clinician, &format!("/calls/{}", self.id)).await.ok()
    }

    pub async fn share(&self) -> Json {
        self.hub.get(Role::Clinician, &format!("/shares/{}", self.id)).await.ok()
    }

    pub async fn timeline(&self) -> Vec<String> {
        self.hub.timeline("call-intake", &self.id).await
    }
}

/// A message of the hospital's patient administration system.
pub struct Adt<'p> {
    pub trigger: &'static str,
    pub person: &'p Person,
    pub at: Timestamp,
    pub address: (&'static str, &'static str),
    /// HL7 table 0004.
    pub class: &'static str,
    /// NHS Data Dictionary, ADMISSION METHOD.
    pub method: &'static str,
    /// HL7 table 0430.
    pub arrival: &'static str,
    pub visit: &'static str,
}

impl<'p> Adt<'p> {
    /// An emergency admission by ambulance.
    pub fn admission(person: &'p Person, at: Timestamp) -> Self {
        Adt { trigger: "A01", person, at, address: ELSEWHERE, class: "I", method: "21", arrival: "A", visit: "V1001" }
    }

    pub fn write(&self) -> Vec<u8> {
        static CONTROL: AtomicU32 = AtomicU32::new(1);
        let control = format!("M{:08}", CONTROL.fetch_add(1, Ordering::Relaxed));
        let at = write::utc(self.at.as_microsecond()).expect("a time");
        let mut writer = MessageWriter::new(&Header {
            sending_application: "PAS",
            sending_facility: HOSPITAL,
            receiving_application: "HEARTHLINE",
            receiving_facility: "QRL",
            sent_at: &at,
            message_type: &format!("ADT^{}", self.trigger),
            control_id: &control,
            processing_id: "P",
            version: "2.4",
        });
        writer.segment("EVN").text(2, &at).text(6, &at).end();
        writer
            .segment("PID")
            .repeat(3, &["H123456", "", "", HOSPITAL, "MR"])
            .repeat(3, &[self.person.nhs_number.as_str(), "", "", "NHS", "NH"])
            .components(5, &[&self.person.family, &self.person.given])
            .text(7, &self.person.born.strftime("%Y%m%d").to_string())
            .components(11, &[self.address.0, "", "PORTSMOUTH", "", self.address.1])
            .end();
        writer.segment("PV1").text(2, self.class).text(4, self.method).text(19, self.visit).text(44, &at).end();
        writer.segment("PV2").text(38, self.arrival).end();
        writer.finish()
    }
}

/// A measure of the figures.
pub fn measure<'k>(kpi: &'k Json, id: &str) -> &'k Json {
    let measures = kpi["measures"].as_array().expect("measures");
    measures.iter().find(|measure| measure["id"] == id).unwrap_or_else(|| panic!("no measure {id}"))
}

/// The whole period's value of a measure.
pub fn value(kpi: &Json, id: &str) -> Json {
    measure(kpi, id)["value"].clone()
}

/// Where the claims of a measure stand: declared, sustained, contradicted, unverifiable, pending.
pub fn stands(kpi: &Json, id: &str) -> [u64; 5] {
    let measure = measure(kpi, id);
    ["declared", "sustained", "contradicted", "unverifiable", "pending"].map(|word| measure[word].as_u64().unwrap_or_else(|| panic!("{id} has no {word}")))
}

//! From what is known of a call to the two forms in which it is shared: a FHIR document for the shared care record, and a text for the
//! home's own mail. Both say the same.

use crate::domain::Composition;
use crate::people::{self, Person};
use crate::reference::{CallRow, ConsultationRow, HomeRow, PrescriptionRow};
use hearthline_contracts::outcome::{Disposition, OutcomeAmendedPersonal, OutcomeDecidedPersonal, OutcomeEvent, TreatmentPlanAgreedPersonal, outcome_event};
use hearthline_contracts::prescribing::{PrescribingEvent, PrescriptionDraftedPersonal, prescribing_event};
use hearthline_contracts::{facts, topics, wire};
use hearthline_eventing::{Kernel, NotNow};
use hearthline_interop::fhir::document::{Author, CarePlanDocument, Contact, OdsOrganisation, Section, Subject};
use hearthline_interop::fhir::systems;
use hearthline_nhs::london_local;
use prost::Message;
use uuid::Uuid;

/// What a document is made of.
pub struct Sources<'a> {
    pub call: [u8; 16],
    pub row: &'a CallRow,
    pub consultation: &'a ConsultationRow,
    pub prescriptions: &'a [PrescriptionRow],
    pub home: &'a HomeRow,
    pub person: &'a Person,
    pub composition: &'a Composition,
    /// The version it replaces at the destination.
    pub replaces: Option<u32>,
    /// ODS code and name of the organisation that answers for it.
    pub custodian: (&'a str, &'a str),
    /// µs UTC.
    pub now: i64,
}

/// A heading and its rows of label and text.
struct Part {
    title: &'static str,
    code: Option<(&'static str, &'static str)>,
    rows: Vec<(&'static str, String)>,
}

/// The FHIR document as JSON, and the text of the mail.
pub async fn compose(kernel: &Kernel, sources: &Sources<'_>) -> Result<(Vec<u8>, String), NotNow> {
    let mut parts = outcome(kernel, sources.consultation).await?;
    parts.extend(medicines(kernel, sources.prescriptions).await?);
    parts.push(Part { title: "Care home", code: None, rows: vec![("Name", sources.home.name.clone()), ("ODS code", sources.home.ods.clone())] });
    Ok((document(sources, &parts)?, text(sources, &parts)))
}

async fn outcome(kernel: &Kernel, consultation: &ConsultationRow) -> Result<Vec<Part>, NotNow> {
    let mut rows = vec![("Outcome", disposition(consultation.disposition).to_owned())];
    if let Some(decided) = &consultation.decided {
        let name = wire::split(decided).ok().and_then(|p| facts::fact_name(topics::OUTCOME.context, p.fact_number));
        let summary = match name {
            Some("OutcomeAmended") => people::open::<OutcomeAmendedPersonal>(kernel, &topics::OUTCOME, decided).await?.map(|p| p.summary.clone()),
            _ => people::open::<OutcomeDecidedPersonal>(kernel, &topics::OUTCOME, decided).await?.map(|p| p.summary.clone()),
        };
        rows.push(("Summary", summary.unwrap_or_default()));
    }
    let mut parts = vec![Part { title: "Outcome of the call", code: None, rows }];
    if let Some(plan) = &consultation.plan {
        let agreed = match OutcomeEvent::decode(plan.clone()).map(|e| e.fact) {
            Ok(Some(outcome_event::Fact::TreatmentPlanAgreed(agreed))) => agreed,
            _ => return Err(NotNow::Other("a kept plan does not decode".to_owned())),
        };
        let words = people::open::<TreatmentPlanAgreedPersonal>(kernel, &topics::OUTCOME, plan).await?.unwrap_or_default();
        let with_home = if agreed.agreed_with_home { "yes" } else { "no" };
        parts.push(Part {
            title: "Care plan",
            code: Some(("734163000", "Care plan")),
            rows: vec![
                ("Plan", words.plan.clone()),
                ("For the GP", words.gp_actions.clone()),
                ("Call again if", words.call_back_if.clone()),
                ("Review on", agreed.review_on),
                ("Agreed with the home", with_home.to_owned()),
            ],
        });
    }
    Ok(parts)
}

async fn medicines(kernel: &Kernel, prescriptions: &[PrescriptionRow]) -> Result<Option<Part>, NotNow> {
    let mut rows = Vec::new();
    for prescription in prescriptions.iter().filter(|p| p.is_accepted) {
        let drafted = match PrescribingEvent::decode(prescription.drafted.clone()).map(|e| e.fact) {
            Ok(Some(prescribing_event::Fact::PrescriptionDrafted(drafted))) => drafted,
            _ => return Err(NotNow::Other("a kept prescription does not decode".to_owned())),
        };
        let words = people::open::<PrescriptionDraftedPersonal>(kernel, &topics::PRESCRIBING, &prescription.drafted).await?.unwrap_or_default();
        for item in &drafted.items {
            let named = words.items.iter().find(|w| w.item_id == item.item_id);
            let name = named.map_or_else(|| format!("dm+d {}", item.dmd_code), |w| w.display_name.clone());
            let dosage = named.map(|w| w.dosage.clone()).unwrap_or_default();
            rows.push(("Medicine", format!("{name}, quantity {}: {dosage}", item.quantity)));
        }
        if let Some(pharmacy) = &prescription.pharmacy {
            rows.push(("Sent to", pharmacy.clone()));
        }
    }
    Ok((!rows.is_empty()).then_some(Part { title: "Medicines prescribed", code: None, rows }))
}

fn document(sources: &Sources<'_>, parts: &[Part]) -> Result<Vec<u8>, NotNow> {
    let d = &sources.person.demographics;
    let given: Vec<&str> = d.given_names.iter().map(String::as_str).collect();
    let lines: Vec<&str> = d.address_lines.iter().map(String::as_str).collect();
    let rows: Vec<Vec<(&str, &str)>> =
        parts.iter().map(|p| p.rows.iter().filter(|(_, text)| !text.is_empty()).map(|(label, text)| (*label, text.as_str())).collect()).collect();
    let sections: Vec<Section<'_>> = parts.iter().zip(&rows).map(|(p, rows)| Section { title: p.title, code: p.code, rows }).collect();
    // The clinician is known by a pseudonym only; who it stands for is the hub's to say.
    let author = Uuid::from_slice(&sources.consultation.author).unwrap_or_default().to_string();
    let stated = |text: &'static str| text;
    let document = CarePlanDocument {
        set_id: Uuid::from_bytes(sources.call),
        version: sources.composition.version,
        replaces_version: sources.replaces,
        composed_at_us: sources.now,
        title: "Care plan after a telemedicine call",
        subject: Subject {
            nhs_number: Some(d.nhs_number.as_str()).filter(|s| !s.is_empty()),
            is_nhs_number_verified: false,
            family: &d.family_name,
            given: &given,
            gender: sources.person.gender(),
            birth_date: Some(d.date_of_birth.as_str()).filter(|s| !s.is_empty()),
            address_lines: &lines,
            postcode: &d.postcode,
            practice_ods: Some(sources.person.practice_ods.as_str()).filter(|s| !s.is_empty()),
        },
        author: Author { identifier_system: systems::UUID, identifier: &author, family: stated("Hub clinician"), given: "" },
        custodian: OdsOrganisation { ods: sources.custodian.0, name: sources.custodian.1 },
        contact: Some(Contact { id: Uuid::from_bytes(sources.call), began_at_us: sources.row.opened_at, ended_at_us: sources.row.closed_at }),
        sections: &sections,
    };
    let bundle = document.bundle().map_err(|e| NotNow::Other(format!("a document does not compose: {e}")))?;
    Ok(bundle.to_json())
}

fn text(sources: &Sources<'_>, parts: &[Part]) -> String {
    let d = &sources.person.demographics;
    let called = london_local(sources.row.opened_at).map(|t| t.strftime("%d %B %Y at %H:%M").to_string()).unwrap_or_default();
    let mut out = String::from("Care plan after your call to the clinical hub\r\n\r\n");
    let mut line = |label: &str, value: &str| {
        if !value.is_empty() {
            out.push_str(label);
            out.push_str(": ");
            out.push_str(&value.replace("\r\n", "\n").replace('\n', "\r\n    "));
            out.push_str("\r\n");
        }
    };
    line("Called", &called);
    line("Resident", format!("{} {}", d.given_names.join(" "), d.family_name).trim());
    line("Born", &d.date_of_birth);
    for part in parts {
        out.push_str("\r\n");
        out.push_str(part.title);
        out.push_str("\r\n");
        for (label, value) in part.rows.iter().filter(|(_, value)| !value.is_empty()) {
            out.push_str(&format!("  {label}: {}\r\n", value.replace("\r\n", "\n").replace('\n', "\r\n    ")));
        }
    }
    out.push_str("\r\nThis plan is for the resident's record at your home. If the resident gets worse, call the hub again, or 999 in an emergency.\r\n");
    out
}

/// In words that a home understands.
fn disposition(disposition: Disposition) -> &'static str {
    match disposition {
        Disposition::Unspecified | Disposition::Other => "See the summary",
        Disposition::AdviceOnly => "Advice given",
        Disposition::TreatedAtHome => "Treated in the home",
        Disposition::Referred => "Referred to another service",
        Disposition::GpReview => "To be seen by the GP",
        Disposition::EdByAmbulance => "To the emergency department by ambulance",
        Disposition::EdOther => "To the emergency department by other transport",
        Disposition::DirectAdmission => "Admitted to hospital directly",
        Disposition::Emergency999 => "999 called",
        Disposition::Died => "The resident died",
    }
}

//! What the prescription service demands of a message before it takes it (NHS EPS FHIR API, prescription-order
//! and prescription-order-update). Pure: a bundle in, the prescription or the issues out.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;

use super::issue::Issue;
use super::prescription_id;
use crate::json::{Entry, entries, extension, identifier, is_uuid, list, text};

const EVENT: &str = "https://fhir.nhs.uk/CodeSystem/message-event";
const ITEM: &str = "https://fhir.nhs.uk/Id/prescription-order-item-number";
const ORDER: &str = "https://fhir.nhs.uk/Id/prescription-order-number";
const PRESCRIPTION: &str = "https://fhir.nhs.uk/Id/prescription";
const NHS_NUMBER: &str = "https://fhir.nhs.uk/Id/nhs-number";
const SNOMED: &str = "http://snomed.info/sct";
const STATUS_REASON: &str = "https://fhir.nhs.uk/CodeSystem/medicationrequest-status-reason";
/// "Author's signature" of ASTM E1762-95.
const AUTHORS_SIGNATURE: &str = "1.2.840.10065.1.12.1.1";

/// What a message wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    Order,
    Update,
}

/// A message whose outer shape is in order.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) event: Event,
    pub(super) bundle_id: String,
    pub(super) bundle: Value,
}

/// The ids of a prescription that passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Prescription {
    pub(super) short_id: String,
    pub(super) long_id: String,
    pub(super) item_ids: Vec<String>,
}

/// Reads the body as a message bundle of one of the two events.
pub(super) fn message(body: &[u8]) -> Result<Message, Issue> {
    let bundle: Value = serde_json::from_slice(body).map_err(|_| Issue::invalid("The body is not JSON"))?;
    let is_message = text(&bundle, "/resourceType") == Some("Bundle") && text(&bundle, "/type") == Some("message");
    if !is_message {
        return Err(Issue::invalid("The body must be a Bundle of type message"));
    }
    let bundle_id = text(&bundle, "/identifier/value").filter(|id| is_uuid(id)).ok_or_else(|| Issue::invalid("Bundle.identifier must be a UUID"))?.to_owned();
    let header = bundle
        .pointer("/entry/0/resource")
        .filter(|first| text(first, "/resourceType") == Some("MessageHeader"))
        .ok_or_else(|| Issue::invalid("The first entry must be the MessageHeader"))?;
    let event = match (text(header, "/eventCoding/system"), text(header, "/eventCoding/code")) {
        (Some(EVENT), Some("prescription-order")) => Event::Order,
        (Some(EVENT), Some("prescription-order-update")) => Event::Update,
        _ => {
            return Err(Issue::invalid("MessageHeader.eventCoding is not an event taken here"));
        }
    };
    Ok(Message { event, bundle_id, bundle })
}

/// Judges an order; `signed` says whether the signature must be there already.
pub(super) fn order(bundle: &Value, signed: bool) -> Result<Prescription, Vec<Issue>> {
    let items = entries(bundle, "MedicationRequest");
    if !(1..=4).contains(&items.len()) {
        return Err(vec![Issue::known("INVALID_NUMBER_MEDICATIONREQUESTS")]);
    }
    let mut issues = Vec::new();
    issues.extend(people(bundle));
    issues.extend(focus(bundle, &items));
    issues.extend(items.iter().flat_map(|item| ordered_item(item.resource)));
    issues.extend(differing_fields(&items));
    if signed {
        issues.extend(signature(bundle, &items));
    }
    finish(&items, issues)
}

/// Judges a cancellation and returns the prescription id with the one item that it names.
pub(super) fn cancellation(bundle: &Value) -> Result<Prescription, Vec<Issue>> {
    let items = entries(bundle, "MedicationRequest");
    let [item] = items.as_slice() else {
        return Err(vec![Issue::known("INVALID_NUMBER_MEDICATIONREQUESTS")]);
    };
    let mut issues = Vec::new();
    if text(item.resource, "/status") != Some("cancelled") {
        issues.push(Issue::invalid("MedicationRequest.status of a cancellation must be cancelled"));
    }
    let reason = &item.resource["statusReason"]["coding"][0];
    let known = text(reason, "/code").is_some_and(|code| matches!(code.strip_prefix("000").map(str::as_bytes), Some([b'1'..=b'9'])));
    if text(reason, "/system") != Some(STATUS_REASON) || !known {
        issues.push(Issue::invalid("MedicationRequest.statusReason must be one of 0001 to 0009"));
    }
    finish(&items, issues)
}

fn finish(items: &[Entry<'_>], mut issues: Vec<Issue>) -> Result<Prescription, Vec<Issue>> {
    let group = items.first().map_or(&Value::Null, |item| &item.resource["groupIdentifier"]);
    let short_id = text(group, "/value").unwrap_or_default();
    match prescription_id::check(short_id) {
        Ok(()) if text(group, "/system") == Some(ORDER) => {}
        Ok(()) | Err(prescription_id::Fault::Format) => {
            issues.push(Issue::invalid("groupIdentifier must be a short-form prescription id"));
        }
        Err(prescription_id::Fault::CheckDigit) => issues.push(Issue::known("INVALID_CHECK_DIGIT")),
    }
    let long = extension(group, "Extension-DM-PrescriptionId").map_or(&Value::Null, |long| &long["valueIdentifier"]);
    let long_id = text(long, "/value").unwrap_or_default();
    if text(long, "/system") != Some(PRESCRIPTION) || !is_uuid(long_id) {
        issues.push(Issue::invalid("groupIdentifier must carry the long-form prescription id"));
    }
    let item_ids: Vec<String> = items.iter().filter_map(|item| identifier(item.resource, ITEM)).map(str::to_lowercase).collect();
    if item_ids.len() != items.len() || !item_ids.iter().all(|id| is_uuid(id)) {
        issues.push(Issue::invalid("Every MedicationRequest needs an item number, a UUID"));
    }
    if (1..item_ids.len()).any(|at| item_ids[..at].contains(&item_ids[at])) {
        issues.push(Issue::known("DUPLICATE_MEDICATIONREQUEST_ID"));
    }
    if issues.is_empty() { Ok(Prescription { short_id: short_id.to_owned(), long_id: long_id.to_lowercase(), item_ids }) } else { Err(issues) }
}

/// Who must be in an order, and as what.
fn people(bundle: &Value) -> Vec<Issue> {
    let mut issues: Vec<Issue> = ["Patient", "PractitionerRole", "Practitioner", "Organization"]
        .into_iter()
        .filter(|needed| entries(bundle, needed).is_empty())
        .map(|needed| Issue::invalid(format!("The bundle has no {needed}")))
        .collect();
    if entries(bundle, "Patient").iter().any(|patient| identifier(patient.resource, NHS_NUMBER).is_none()) {
        issues.push(Issue::invalid("The Patient needs an NHS number"));
    }
    if !list(bundle, "entry").iter().all(|entry| text(entry, "/fullUrl").and_then(|url| url.strip_prefix("urn:uuid:")).is_some_and(is_uuid)) {
        issues.push(Issue::invalid("Every fullUrl must be a urn:uuid"));
    }
    issues
}

/// The header points at what the message is about, and at the pharmacy that the items name.
fn focus(bundle: &Value, items: &[Entry<'_>]) -> Vec<Issue> {
    let mut issues = Vec::new();
    let header = &bundle["entry"][0]["resource"];
    let patients = entries(bundle, "Patient");
    let in_focus = |entry: &Entry<'_>| list(header, "focus").iter().any(|focus| text(focus, "/reference") == Some(entry.full_url));
    if !items.iter().chain(&patients).all(in_focus) {
        issues.push(Issue::invalid("MessageHeader.focus must name every MedicationRequest and the Patient"));
    }
    if text(header, "/sender/identifier/value").is_none() {
        issues.push(Issue::invalid("MessageHeader.sender must be an organisation by its ODS code"));
    }
    let receiver = text(header, "/destination/0/receiver/identifier/value");
    let performer = items.first().and_then(|item| text(item.resource, "/dispenseRequest/performer/identifier/value"));
    if receiver.is_some() && receiver != performer {
        issues.push(Issue::invalid("MessageHeader.destination and the performer must be the same pharmacy"));
    }
    issues
}

/// The rules that one item of an order is held to by itself.
fn ordered_item(item: &Value) -> Vec<Issue> {
    let dispense = &item["dispenseRequest"];
    let site = extension(dispense, "Extension-DM-PerformerSiteType").and_then(|site| text(site, "/valueCoding/code"));
    let performer = text(dispense, "/performer/identifier/value");
    let dosages = list(item, "dosageInstruction");
    let holds = [
        (text(item, "/status") == Some("active"), "MedicationRequest.status must be active"),
        (
            matches!(text(item, "/intent"), Some("order" | "original-order" | "instance-order")),
            "MedicationRequest.intent must be order, original-order or instance-order",
        ),
        (
            extension(item, "Extension-DM-PrescriptionType").is_some_and(|kind| text(kind, "/valueCoding/code").is_some()),
            "Every MedicationRequest needs a prescription type",
        ),
        (
            text(item, "/medicationCodeableConcept/coding/0/system") == Some(SNOMED) && item.get("medicationReference").is_none(),
            "The medication must be a dm+d concept, and nothing beside it",
        ),
        (!dosages.is_empty(), "Every MedicationRequest needs a dosageInstruction"),
        (dosages.len() < 2 || dosages.iter().all(|dosage| dosage.get("sequence").is_some()), "Several dosageInstructions need a sequence"),
        (
            dispense["quantity"]["value"].is_number() && text(dispense, "/quantity/system") == Some(SNOMED),
            "dispenseRequest.quantity needs a value and a SNOMED CT unit",
        ),
        (
            match site {
                Some("P1" | "P2" | "P3") => performer.is_some(),
                Some("0004") => performer.is_none(),
                _ => false,
            },
            "The performer site type must be P1, P2 or P3 with a performer, or 0004 without",
        ),
        (item["substitution"]["allowedBoolean"] == Value::Bool(false), "substitution must not be allowed"),
    ];
    holds.into_iter().filter(|(holds, _)| !holds).map(|(_, rule)| Issue::invalid(rule)).collect()
}

/// Fields in which all items of one prescription must agree.
fn differing_fields(items: &[Entry<'_>]) -> Vec<Issue> {
    type Field = fn(&Value) -> Option<&Value>;
    let fields: [(&str, Field); 11] = [
        ("groupIdentifier", |item| item.get("groupIdentifier")),
        ("category", |item| item.get("category")),
        ("authoredOn", |item| item.get("authoredOn")),
        ("subject", |item| item.get("subject")),
        ("requester", |item| item.get("requester")),
        ("dispenseRequest.performer", |item| item.pointer("/dispenseRequest/performer")),
        ("dispenseRequest.validityPeriod", |item| item.pointer("/dispenseRequest/validityPeriod")),
        ("dispenseRequest.expectedSupplyDuration", |item| item.pointer("/dispenseRequest/expectedSupplyDuration")),
        ("PerformerSiteType", |item| extension(&item["dispenseRequest"], "Extension-DM-PerformerSiteType")),
        ("PrescriptionType", |item| extension(item, "Extension-DM-PrescriptionType")),
        ("ResponsiblePractitioner", |item| extension(item, "Extension-DM-ResponsiblePractitioner")),
    ];
    let Some((first, others)) = items.split_first() else {
        return Vec::new();
    };
    fields
        .into_iter()
        .filter(|(_, field)| others.iter().any(|item| field(item.resource) != field(first.resource)))
        .map(|(name, _)| Issue::invalid(format!("All MedicationRequests must have the same {name}")))
        .collect()
}

/// One Provenance, over every item, with an author's signature and its time.
fn signature(bundle: &Value, items: &[Entry<'_>]) -> Option<Issue> {
    let missing = || Some(Issue::known("MISSING_DIGITAL_SIGNATURE"));
    let provenances = entries(bundle, "Provenance");
    let [provenance] = provenances.as_slice() else {
        return missing();
    };
    let signature = &provenance.resource["signature"][0];
    let data = text(signature, "/data").and_then(|data| BASE64.decode(data).ok()).unwrap_or_default();
    if data.is_empty() || text(signature, "/type/0/code") != Some(AUTHORS_SIGNATURE) {
        return missing();
    }
    let covers = |item: &Entry<'_>| list(provenance.resource, "target").iter().any(|target| text(target, "/reference") == Some(item.full_url));
    if !items.iter().all(covers) {
        return Some(Issue::invalid("Provenance.target must name every MedicationRequest"));
    }
    // The two should be one instant, but published examples of accepted orders differ in it.
    if text(provenance.resource, "/recorded").is_none() || text(signature, "/when").is_none() {
        return Some(Issue::invalid("Provenance.recorded and signature.when are both needed"));
    }
    None
}

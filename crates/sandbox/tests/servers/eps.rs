use std::time::Duration;

use hearthline_sandbox::Fault;
use hearthline_sandbox::eps::{Eps, Handle, ItemStatus, Options};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::any_port;

const SHORT_ID: &str = "24F5DA-A83008-7EFE6Z";
const OTHER_ID: &str = "7F4CA4-A99968-4B0BAZ";

async fn start() -> Handle {
    Eps::start(any_port(), Options::default()).await.unwrap()
}

fn uuid(number: u32) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

fn urn(number: u32) -> String {
    format!("urn:uuid:{}", uuid(number))
}

fn item(number: u32) -> Value {
    json!({
        "resourceType": "MedicationRequest",
        "extension": [{
            "url": "https://fhir.nhs.uk/StructureDefinition/Extension-DM-PrescriptionType",
            "valueCoding": { "system": "https://fhir.nhs.uk/CodeSystem/prescription-type", "code": "0101" },
        }],
        "identifier": [{ "system": "https://fhir.nhs.uk/Id/prescription-order-item-number", "value": uuid(number) }],
        "status": "active",
        "intent": "order",
        "category": [{ "coding": [{ "code": "community" }] }],
        "medicationCodeableConcept": { "coding": [{
            "system": "http://snomed.info/sct", "code": "39732311000001104", "display": "Amoxicillin 250mg capsules",
        }] },
        "subject": { "reference": urn(20) },
        "requester": { "reference": urn(21) },
        "authoredOn": "2026-03-02T02:40:00+00:00",
        "groupIdentifier": {
            "system": "https://fhir.nhs.uk/Id/prescription-order-number",
            "value": SHORT_ID,
            "extension": [{
                "url": "https://fhir.nhs.uk/StructureDefinition/Extension-DM-PrescriptionId",
                "valueIdentifier": { "system": "https://fhir.nhs.uk/Id/prescription", "value": uuid(90) },
            }],
        },
        "dosageInstruction": [{ "text": "one, three times a day" }],
        "dispenseRequest": {
            "extension": [{
                "url": "https://fhir.nhs.uk/StructureDefinition/Extension-DM-PerformerSiteType",
                "valueCoding": { "system": "https://fhir.nhs.uk/CodeSystem/dispensing-site-preference", "code": "P1" },
            }],
            "validityPeriod": { "start": "2026-03-02" },
            "quantity": { "value": 21, "unit": "capsule", "system": "http://snomed.info/sct", "code": "428641000" },
            "expectedSupplyDuration": { "value": 7, "unit": "day", "code": "d" },
            "performer": { "identifier": {
                "system": "https://fhir.nhs.uk/Id/ods-organization-code", "value": "FA565",
            } },
        },
        "substitution": { "allowedBoolean": false },
    })
}

/// A signed order of as many items, as the prescriber's system would send it.
fn order(items: u32) -> Value {
    let numbers: Vec<u32> = (1..=items).collect();
    let focus: Vec<Value> = numbers.iter().chain(&[20, 21]).map(|number| json!({ "reference": urn(*number) })).collect();
    let targets: Vec<Value> = numbers.iter().map(|number| json!({ "reference": urn(*number) })).collect();
    let mut entry = vec![json!({ "fullUrl": urn(10), "resource": {
        "resourceType": "MessageHeader",
        "eventCoding": { "system": "https://fhir.nhs.uk/CodeSystem/message-event", "code": "prescription-order" },
        "destination": [{ "receiver": { "identifier": { "value": "FA565" } } }],
        "sender": { "identifier": { "system": "https://fhir.nhs.uk/Id/ods-organization-code", "value": "A83008" } },
        "source": { "endpoint": "https://example.test" },
        "focus": focus,
    } })];
    entry.extend(numbers.iter().map(|number| json!({ "fullUrl": urn(*number), "resource": item(*number) })));
    entry.extend([
        json!({ "fullUrl": urn(20), "resource": { "resourceType": "Patient", "identifier": [
            { "system": "https://fhir.nhs.uk/Id/nhs-number", "value": "9990000018" },
        ] } }),
        json!({ "fullUrl": urn(21), "resource": { "resourceType": "PractitionerRole" } }),
        json!({ "fullUrl": urn(22), "resource": { "resourceType": "Practitioner" } }),
        json!({ "fullUrl": urn(23), "resource": { "resourceType": "Organization" } }),
        json!({ "fullUrl": urn(24), "resource": {
            "resourceType": "Provenance",
            "target": targets,
            "recorded": "2026-03-02T02:41:00+00:00",
            "signature": [{
                "type": [{ "system": "urn:iso-astm:E1762-95:2013", "code": "1.2.840.10065.1.12.1.1" }],
                "when": "2026-03-02T02:41:00+00:00",
                "data": "PFNpZ25hdHVyZS8+",
            }],
        } }),
    ]);
    json!({
        "resourceType": "Bundle",
        "type": "message",
        "identifier": { "system": "https://tools.ietf.org/html/rfc4122", "value": uuid(80) },
        "entry": entry,
    })
}

fn with_short_id(mut bundle: Value, id: &str) -> Value {
    for entry in bundle["entry"].as_array_mut().unwrap() {
        if entry["resource"]["resourceType"] == "MedicationRequest" {
            entry["resource"]["groupIdentifier"]["value"] = json!(id);
        }
    }
    bundle
}

fn cancellation(item: u32) -> Value {
    let mut bundle = order(1);
    bundle["identifier"]["value"] = json!(uuid(81));
    bundle["entry"][0]["resource"]["eventCoding"]["code"] = json!("prescription-order-update");
    let request = &mut bundle["entry"][1]["resource"];
    request["identifier"][0]["value"] = json!(uuid(item));
    request["status"] = json!("cancelled");
    request["statusReason"] = json!({ "coding": [{
        "system": "https://fhir.nhs.uk/CodeSystem/medicationrequest-status-reason", "code": "0001",
    }] });
    bundle
}

async fn try_post(eps: &Handle, operation: &str, bundle: &Value) -> reqwest::Result<(StatusCode, Value)> {
    let response = crate::client()
        .post(format!("{}/FHIR/R4/{operation}", eps.url()))
        .bearer_auth("user-restricted")
        .header("content-type", "application/fhir+json")
        .body(bundle.to_string())
        .send()
        .await?;
    let status = response.status();
    let body = response.bytes().await?;
    Ok((status, serde_json::from_slice(&body).unwrap_or_default()))
}

async fn process(eps: &Handle, bundle: &Value) -> (StatusCode, Value) {
    try_post(eps, "$process-message", bundle).await.unwrap()
}

fn issue(outcome: &Value) -> &str {
    outcome["issue"][0]["details"]["coding"][0]["code"].as_str().unwrap_or_default()
}

/// The outcome of a cancellation in the status history of the answered item.
fn outcome(bundle: &Value) -> &str {
    let extensions = bundle["entry"][1]["resource"]["extension"].as_array().unwrap();
    extensions.last().unwrap()["extension"][0]["valueCoding"]["code"].as_str().unwrap()
}

#[tokio::test]
async fn a_prescription_is_prepared_signed_and_accepted() {
    let eps = start().await;
    let mut unsigned = order(4);
    unsigned["entry"].as_array_mut().unwrap().pop();
    let (status, parameters) = try_post(&eps, "$prepare", &unsigned).await.unwrap();
    assert_eq!(status, StatusCode::OK);
    let names: Vec<&Value> = parameters["parameter"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
    assert_eq!(names, ["digest", "timestamp", "algorithm"]);

    let (status, answer) = process(&eps, &order(4)).await;
    assert_eq!((status, &answer["issue"][0]["code"]), (StatusCode::OK, &json!("informational")));
    let kept = eps.order(SHORT_ID).unwrap();
    assert_eq!((kept.items.len(), kept.times_submitted), (4, 1));
    assert_eq!(eps.order(&uuid(90)), Some(kept));
    assert_eq!(eps.counts().prepared, 1);
}

#[tokio::test]
async fn without_a_bearer_token_nothing_is_taken() {
    let eps = start().await;
    let response = crate::client().post(format!("{}/FHIR/R4/$process-message", eps.url())).body(order(1).to_string()).send().await;
    assert_eq!(response.unwrap().status(), StatusCode::UNAUTHORIZED);
    assert_eq!(eps.counts().orders, 0);
}

#[tokio::test]
async fn a_repeat_is_a_duplicate_and_one_order_is_kept() {
    let eps = start().await;
    process(&eps, &order(1)).await;
    let (status, again) = process(&eps, &order(1)).await;
    assert_eq!((status, issue(&again)), (StatusCode::BAD_REQUEST, "DUPLICATE_PRESCRIPTION_ID"));
    let (_, another) = process(&eps, &order(2)).await;
    assert_eq!(issue(&another), "DUPLICATE_PRESCRIPTION_ID");
    let kept = eps.order(SHORT_ID).unwrap();
    assert_eq!((kept.items.len(), kept.times_submitted, kept.times_differing), (1, 3, 1));
    assert_eq!(eps.counts().duplicates, 2);
}

#[tokio::test]
async fn an_order_whose_reply_is_lost_is_kept_and_its_repeat_is_a_duplicate() {
    let eps = start().await;
    eps.faults().script(Fault::lost_reply().on("order")).unwrap();
    assert!(try_post(&eps, "$process-message", &order(1)).await.is_err());
    assert_eq!(eps.counts().orders, 1);
    let (_, again) = process(&eps, &order(1)).await;
    assert_eq!(issue(&again), "DUPLICATE_PRESCRIPTION_ID");
}

#[tokio::test]
async fn a_late_answer_comes_after_the_order_was_kept() {
    let eps = start().await;
    eps.faults().script(Fault::delay(Duration::from_secs(600)).on("order")).unwrap();
    let bundle = order(1);
    let waiting = process(&eps, &bundle);
    tokio::select! {
        _ = waiting => panic!("the answer came before its time"),
        kept = eps.wait_until(crate::DEADLINE, |counts| counts.orders == 1) => assert!(kept),
    }
}

#[tokio::test]
async fn scripted_refusals_and_failures_keep_nothing() {
    let eps = start().await;
    eps.faults().script_all([Fault::refuse("PATIENT_DECEASED"), Fault::status(503)]).unwrap();
    let (status, deceased) = process(&eps, &order(1)).await;
    assert_eq!((status, issue(&deceased)), (StatusCode::BAD_REQUEST, "PATIENT_DECEASED"));
    assert_eq!(process(&eps, &order(1)).await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(eps.counts().orders, 0);
    assert_eq!(process(&eps, &order(1)).await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_broken_rule_is_answered_with_its_own_code() {
    let eps = start().await;
    let mut unsigned = order(1);
    unsigned["entry"].as_array_mut().unwrap().pop();
    let mut twice_the_same_item = order(2);
    twice_the_same_item["entry"][2]["resource"]["identifier"][0]["value"] = json!(uuid(1));
    let cases = [
        (with_short_id(order(1), "269CA9-A99968-4577BP"), "INVALID_CHECK_DIGIT"),
        (order(5), "INVALID_NUMBER_MEDICATIONREQUESTS"),
        (order(0), "INVALID_NUMBER_MEDICATIONREQUESTS"),
        (unsigned, "MISSING_DIGITAL_SIGNATURE"),
        (twice_the_same_item, "DUPLICATE_MEDICATIONREQUEST_ID"),
    ];
    for (bundle, code) in cases {
        let (status, answer) = process(&eps, &bundle).await;
        assert_eq!((status, issue(&answer)), (StatusCode::BAD_REQUEST, code));
    }
    assert_eq!(eps.counts().orders, 0);
    assert_eq!(eps.counts().refused["INVALID_NUMBER_MEDICATIONREQUESTS"], 2);
}

#[tokio::test]
async fn items_that_disagree_in_a_common_field_are_refused() {
    let eps = start().await;
    for (pointer, name) in [
        ("/authoredOn", "authoredOn"),
        ("/subject/reference", "subject"),
        ("/groupIdentifier/value", "groupIdentifier"),
        ("/dispenseRequest/validityPeriod/start", "dispenseRequest.validityPeriod"),
        ("/extension/0/valueCoding/code", "PrescriptionType"),
    ] {
        let mut bundle = order(2);
        *bundle["entry"][2]["resource"].pointer_mut(pointer).unwrap() = json!("another");
        let (_, answer) = process(&eps, &bundle).await;
        let expected = format!("All MedicationRequests must have the same {name}");
        let displays: Vec<&Value> = answer["issue"].as_array().unwrap().iter().map(|one| &one["details"]["coding"][0]["display"]).collect();
        assert!(displays.contains(&&json!(expected)), "{name}: {displays:?}");
    }
}

#[tokio::test]
async fn what_is_not_a_message_is_refused() {
    let eps = start().await;
    let mut nameless = order(1);
    nameless["identifier"] = Value::Null;
    let mut headless = order(1);
    headless["entry"].as_array_mut().unwrap().remove(0);
    for bundle in [json!([]), json!({ "resourceType": "Patient" }), nameless, headless] {
        let (status, answer) = process(&eps, &bundle).await;
        assert_eq!((status, issue(&answer)), (StatusCode::BAD_REQUEST, "INVALID_MESSAGE"));
    }
}

#[tokio::test]
async fn one_item_is_cancelled_once() {
    let eps = start().await;
    process(&eps, &order(2)).await;
    let (status, answer) = process(&eps, &cancellation(2)).await;
    assert_eq!((status, outcome(&answer)), (StatusCode::OK, "R-0001"));
    assert_eq!(answer["entry"][0]["resource"]["response"]["identifier"], json!(uuid(81)));
    let statuses: Vec<ItemStatus> = eps.order(SHORT_ID).unwrap().items.iter().map(|item| item.status).collect();
    assert_eq!(statuses, [ItemStatus::Active, ItemStatus::Cancelled]);

    let (status, answer) = process(&eps, &cancellation(2)).await;
    assert_eq!((status, outcome(&answer)), (StatusCode::BAD_REQUEST, "R-0006"));
    let (_, answer) = process(&eps, &with_short_id(cancellation(1), OTHER_ID)).await;
    assert_eq!(outcome(&answer), "R-0008");
}

#[tokio::test]
async fn a_cancellation_turns_out_as_scripted() {
    let eps = start().await;
    process(&eps, &order(1)).await;
    eps.faults().script(Fault::refuse("R-0002").on("cancel")).unwrap();
    let (status, answer) = process(&eps, &cancellation(1)).await;
    assert_eq!((status, outcome(&answer)), (StatusCode::BAD_REQUEST, "R-0002"));
    assert_eq!(answer["entry"][1]["resource"]["status"], "active");
    assert_eq!(eps.order(SHORT_ID).unwrap().items[0].status, ItemStatus::Active);
    assert_eq!(eps.cancellations()[0].outcome, "R-0002");
}

#[tokio::test]
async fn faults_and_contents_are_reached_over_http() {
    let eps = start().await;
    let control = |path: &str| format!("{}/_sandbox/{path}", eps.url());
    let client = crate::client();
    let script = json!({ "next": [{ "status": 503, "times": 2 }, { "drop_before_reply": true }] });
    let scripted = client.post(control("faults")).json(&script).send().await.unwrap();
    assert_eq!(scripted.status(), StatusCode::NO_CONTENT);
    assert_eq!(process(&eps, &order(1)).await.0, StatusCode::SERVICE_UNAVAILABLE);
    let waiting: Value = client.get(control("faults")).send().await.unwrap().json().await.unwrap();
    assert_eq!(waiting, json!({ "next": [{ "status": 503 }, { "drop_before_reply": true }] }));
    client.delete(control("faults")).send().await.unwrap();
    assert_eq!(process(&eps, &order(1)).await.0, StatusCode::OK);

    let kept: Value = client.get(control(&format!("orders/{SHORT_ID}"))).send().await.unwrap().json().await.unwrap();
    assert_eq!(kept["times_submitted"], 1);
    let missing = client.get(control(&format!("orders/{OTHER_ID}"))).send().await.unwrap();
    assert_eq!(missing.status(), StatusCode::NOT_FOUND);
    let harmless = client.post(control("faults")).json(&json!({ "next": [{}] })).send().await.unwrap();
    assert_eq!(harmless.status(), StatusCode::BAD_REQUEST);
}

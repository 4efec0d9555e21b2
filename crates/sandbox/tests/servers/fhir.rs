use hearthline_sandbox::Fault;
use hearthline_sandbox::fhir::{Handle, Options, SharedRecord};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::any_port;

const SYSTEM: &str = "https://example.test/documents";

async fn start() -> Handle {
    SharedRecord::start(any_port(), Options::default()).await.unwrap()
}

fn document(value: &str, replaces: Option<&str>) -> Value {
    let relates: Vec<Value> = replaces.iter().map(|old| json!({ "code": "replaces", "targetIdentifier": { "system": SYSTEM, "value": old } })).collect();
    json!({
        "resourceType": "Bundle",
        "type": "document",
        "identifier": { "system": SYSTEM, "value": value },
        "timestamp": "2026-03-02T03:00:00Z",
        "entry": [{ "fullUrl": "urn:uuid:1", "resource": {
            "resourceType": "Composition", "status": "final", "relatesTo": relates,
        } }],
    })
}

async fn try_create(record: &Handle, bundle: &Value, condition: Option<&str>) -> reqwest::Result<StatusCode> {
    let mut request = crate::client().post(format!("{}/Bundle", record.url())).header("content-type", "application/fhir+json").body(bundle.to_string());
    if let Some(value) = condition {
        // Percent-encoded, as a query in a header should be.
        request = request.header("If-None-Exist", format!("identifier=https%3A%2F%2Fexample.test%2Fdocuments%7C{value}"));
    }
    Ok(request.send().await?.status())
}

async fn create(record: &Handle, bundle: &Value, condition: Option<&str>) -> StatusCode {
    try_create(record, bundle, condition).await.unwrap()
}

async fn get(record: &Handle, path: &str) -> Value {
    crate::client().get(format!("{}{path}", record.url())).send().await.unwrap().json().await.unwrap()
}

async fn transact(record: &Handle, entries: Value) -> (StatusCode, Value) {
    let bundle = json!({ "resourceType": "Bundle", "type": "transaction", "entry": entries });
    let response = crate::client().post(record.url()).json(&bundle).send().await.unwrap();
    (response.status(), response.json().await.unwrap())
}

fn provide(value: &str, replaces: Option<&str>) -> Value {
    let relates: Vec<Value> =
        replaces.iter().map(|old| json!({ "code": "replaces", "target": { "identifier": { "system": SYSTEM, "value": old } } })).collect();
    json!([
        {
            "fullUrl": "urn:uuid:reference",
            "resource": {
                "resourceType": "DocumentReference",
                "status": "current",
                "masterIdentifier": { "system": SYSTEM, "value": value },
                "relatesTo": relates,
                "content": [{ "attachment": { "url": "urn:uuid:binary" } }],
            },
            "request": {
                "method": "POST", "url": "DocumentReference", "ifNoneExist": format!("identifier={SYSTEM}|{value}"),
            },
        },
        {
            "fullUrl": "urn:uuid:binary",
            "resource": { "resourceType": "Binary", "contentType": "text/plain", "data": "cGxhbg==" },
            "request": { "method": "POST", "url": "Binary" },
        },
    ])
}

#[tokio::test]
async fn a_conditional_create_makes_a_document_once() {
    let record = start().await;
    assert_eq!(create(&record, &document("d1", None), Some("d1")).await, StatusCode::CREATED);
    assert_eq!(create(&record, &document("d1", None), Some("d1")).await, StatusCode::OK);
    assert_eq!(record.times_created(&format!("{SYSTEM}|d1")), 1);
    assert_eq!(record.documents()[0].times_submitted, 2);
    let found = get(&record, &format!("/Bundle?identifier={SYSTEM}%7Cd1")).await;
    assert_eq!((&found["type"], &found["total"]), (&json!("searchset"), &json!(1)));
    assert_eq!(found["entry"][0]["resource"]["identifier"]["value"], "d1");
    assert_eq!(get(&record, &format!("/Bundle?identifier={SYSTEM}%7Cd2")).await["total"], 0);
}

#[tokio::test]
async fn an_unconditional_repeat_makes_a_second_document_and_then_the_condition_is_ambiguous() {
    let record = start().await;
    create(&record, &document("d1", None), None).await;
    assert_eq!(create(&record, &document("d1", None), None).await, StatusCode::CREATED);
    assert_eq!(record.times_created("d1"), 2);
    assert_eq!(create(&record, &document("d1", None), Some("d1")).await, StatusCode::PRECONDITION_FAILED);
    assert_eq!(record.counts().ambiguous, 1);
}

#[tokio::test]
async fn after_a_lost_reply_the_search_finds_the_document() {
    let record = start().await;
    record.faults().script(Fault::lost_reply()).unwrap();
    assert!(try_create(&record, &document("d1", None), Some("d1")).await.is_err());
    assert_eq!(get(&record, &format!("/Bundle?identifier={SYSTEM}%7Cd1")).await["total"], 1);
    assert_eq!(create(&record, &document("d1", None), Some("d1")).await, StatusCode::OK);
    assert_eq!(record.times_created("d1"), 1);
}

#[tokio::test]
async fn after_a_lost_request_the_search_finds_nothing() {
    let record = start().await;
    record.faults().script(Fault::lost_request()).unwrap();
    assert!(try_create(&record, &document("d1", None), Some("d1")).await.is_err());
    assert_eq!(get(&record, &format!("/Bundle?identifier={SYSTEM}%7Cd1")).await["total"], 0);
}

#[tokio::test]
async fn a_look_does_not_use_up_the_fault_meant_for_a_write() {
    let record = start().await;
    record.faults().script(Fault::status(503)).unwrap();
    assert_eq!(get(&record, "/Bundle?identifier=d1").await["total"], 0);
    assert_eq!(create(&record, &document("d1", None), None).await, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(create(&record, &document("d1", None), None).await, StatusCode::CREATED);
}

#[tokio::test]
async fn a_later_document_supersedes_the_one_that_it_replaces() {
    let record = start().await;
    create(&record, &document("d1", None), Some("d1")).await;
    create(&record, &document("d2", Some("d1")), Some("d2")).await;
    let superseded: Vec<bool> = record.documents().iter().map(|document| document.superseded).collect();
    assert_eq!(superseded, [true, false]);
    assert_eq!(record.documents()[1].replaces[0].value, "d1");
}

#[tokio::test]
async fn a_transaction_is_carried_out_once_and_its_references_are_resolved() {
    let record = start().await;
    let (status, answer) = transact(&record, provide("r1", None)).await;
    assert_eq!((status, &answer["type"]), (StatusCode::OK, &json!("transaction-response")));
    assert_eq!(answer["entry"][0]["response"]["status"], "201 Created");
    let reference = &record.documents()[0];
    let binary = reference.resource["content"][0]["attachment"]["url"].as_str().unwrap();
    assert_eq!(get(&record, &format!("/{binary}")).await["data"], "cGxhbg==");

    let (_, again) = transact(&record, provide("r1", None)).await;
    assert_eq!(again["entry"][0]["response"]["status"], "200 OK");
    assert_eq!(again["entry"][0]["response"]["location"], answer["entry"][0]["response"]["location"]);
    assert_eq!(record.times_created("r1"), 1);
}

#[tokio::test]
async fn a_replaced_document_reference_gets_status_superseded_and_a_new_version() {
    let record = start().await;
    transact(&record, provide("r1", None)).await;
    transact(&record, provide("r2", Some("r1"))).await;
    let old = get(&record, &format!("/DocumentReference?identifier={SYSTEM}%7Cr1")).await;
    assert_eq!(old["entry"][0]["resource"]["status"], "superseded");
    assert_eq!(record.documents_by("r1")[0].version, 2);
    assert_eq!(record.documents_by("r2")[0].status.as_deref(), Some("current"));
}

#[tokio::test]
async fn a_transaction_with_one_bad_entry_changes_nothing() {
    let record = start().await;
    let mut entries = provide("r1", None);
    entries[1]["request"]["method"] = json!("PATCH");
    assert_eq!(transact(&record, entries).await.0, StatusCode::BAD_REQUEST);
    assert!(record.resources().is_empty());
}

#[tokio::test]
async fn an_update_needs_the_current_version_when_it_names_one() {
    let record = start().await;
    transact(&record, provide("r1", None)).await;
    let mut resource = record.documents()[0].resource.clone();
    resource["status"] = json!("entered-in-error");
    let url = format!("{}/{}", record.url(), record.documents()[0].reference());
    let put = |version: u32| crate::client().put(&url).header("If-Match", format!("W/\"{version}\"")).json(&resource).send();
    assert_eq!(put(1).await.unwrap().status(), StatusCode::OK);
    assert_eq!(put(1).await.unwrap().status(), StatusCode::PRECONDITION_FAILED);
    assert_eq!(record.documents()[0].status.as_deref(), Some("entered-in-error"));
}

#[tokio::test]
async fn what_is_not_a_document_is_refused() {
    let record = start().await;
    let mut nameless = document("d1", None);
    nameless["identifier"] = Value::Null;
    let mut batch = document("d1", None);
    batch["type"] = json!("batch");
    let mut empty = document("d1", None);
    empty["entry"] = json!([]);
    for bundle in [nameless, batch, empty, json!({ "resourceType": "Patient" })] {
        assert_eq!(create(&record, &bundle, None).await, StatusCode::BAD_REQUEST);
    }
    assert_eq!(create(&record, &document("d1", None), Some("x&status=final")).await, StatusCode::BAD_REQUEST);
    assert!(record.documents().is_empty());
}

#[tokio::test]
async fn documents_are_listed_over_http() {
    let record = start().await;
    create(&record, &document("d1", None), None).await;
    create(&record, &document("d2", None), None).await;
    assert_eq!(get(&record, "/_sandbox/documents").await.as_array().unwrap().len(), 2);
    let found = get(&record, &format!("/_sandbox/documents?identifier={SYSTEM}%7Cd2")).await;
    assert_eq!(found[0]["identifiers"][0]["value"], "d2");
    assert_eq!(get(&record, "/_sandbox/counts").await["held"]["Bundle"], 2);
}

//! One trace leads from what came in to what came of it, and no span says a word about anybody.

use crate::people::*;
use crate::system::System;
use hearthline_sandbox::otlp::{Collector, Handle, Options, Span};
use hearthline_tests::PATIENCE;
use serde_json::json;
use std::net::Ipv4Addr;

async fn receiver() -> Handle {
    Collector::start((Ipv4Addr::LOCALHOST, 0).into(), Options::default()).await.expect("a receiver")
}

/// Waits for a span of this name, in the trace where one is given.
async fn span(receiver: &Handle, trace: Option<&str>, name: &str) -> Span {
    let is_it = |span: &Span| span.name == name && trace.is_none_or(|id| span.trace_id == id);
    let came = receiver.wait_for_spans(PATIENCE, |spans| spans.iter().any(is_it)).await;
    let names = || receiver.spans().iter().filter(|s| trace.is_none_or(|id| s.trace_id == id)).map(|s| s.name.clone()).collect::<Vec<_>>();
    assert!(came, "no span {name} came; there were {:?}", names());
    receiver.spans().into_iter().find(is_it).expect("it came")
}

/// The names from a span up to the root of its trace.
async fn way_up(receiver: &Handle, from: &Span) -> Vec<String> {
    let mut names = vec![from.name.clone()];
    let mut at = from.clone();
    while let Some(parent) = at.parent_span_id.clone() {
        // A parent ends after its child and may come in a later batch.
        let is_parent = |span: &Span| span.trace_id == at.trace_id && span.span_id == parent;
        let came = receiver.wait_for_spans(PATIENCE, |spans| spans.iter().any(is_parent)).await;
        assert!(came, "the parent of {} never came; up to there: {names:?}", at.name);
        at = receiver.spans().into_iter().find(is_parent).expect("it came");
        names.push(at.name.clone());
    }
    names
}

#[tokio::test]
async fn one_trace_leads_from_request_and_frame_to_the_figures_and_to_the_delivery() {
    let receiver = receiver().await;
    let hub = System::start_telling(Some(&receiver.url())).await;
    let home = Home::rosewood(&hub).await;
    // Rare words that can come from nowhere else.
    let person = Person::new("Quillonia", "Zzyvaxby", "1931-02-03", 7);
    let resident = home.resident(&hub, &person).await;
    let mut call = Call::comes_in(
        &hub,
        &home,
        days_ago(6),
        json!({ "reason": "fall", "reason_text": "Xylotrupes in the corridor", "caller_name": "Wimbrelle", "resident": { "resident_id": resident },
                "counterfactual": "999", "consent": "given" }),
    )
    .await;
    call.is_answered_and_triaged("urgent").await;
    call.is_joined_by_a_clinician().await;
    call.is_decided(json!({
        "disposition": "treated_at_home", "summary": "Vexillology discussed", "claims": [{ "kind": "conveyance", "rationale": "Jackdawed" }],
        "plan": { "text": "Mumbletypeg daily", "agreed_with_home": true },
    }))
    .await;
    let closing = call.is_closed().await;

    // From the request that closed the call:
    let request = "POST /calls/{call_id}/close";
    let root = span(&receiver, Some(&closing), request).await;
    assert_eq!((root.parent_span_id.as_deref(), root.failed), (None, false));
    let counted = span(&receiver, Some(&closing), "kpi-projection consume CallClosed").await;
    assert_eq!(way_up(&receiver, &counted).await, ["kpi-projection consume CallClosed", request]);
    for kind in ["record_upload", "care_plan_email"] {
        let delivered = span(&receiver, Some(&closing), &format!("shared-record deliver {kind}")).await;
        let up = way_up(&receiver, &delivered).await;
        assert_eq!(up.last().map(String::as_str), Some(request), "{up:?}");
        assert!(up.iter().any(|name| name == "shared-record consume CallClosed"), "{up:?}");
        assert!(up.iter().any(|name| name == "shared-record compose"), "{up:?}");
    }
    // What came of the delivery is counted in the same trace.
    span(&receiver, Some(&closing), "kpi-projection consume RecordUploaded").await;

    // From the hospital's frame:
    assert_eq!(hub.hospital_sends(&Adt::admission(&person, call.ended() + hours(20)).write()).await, "AA");
    hub.settled().await;
    let frame = span(&receiver, None, "mllp.frame").await;
    assert_eq!((frame.parent_span_id.as_deref(), &frame.attributes["trigger"]), (None, &json!("A01")));
    let counted = span(&receiver, Some(&frame.trace_id), "kpi-projection consume VisitOpened").await;
    assert_eq!(way_up(&receiver, &counted).await, ["kpi-projection consume VisitOpened", "mllp.frame"]);

    // Stopped, it has told everything.
    hub.stop().await;
    let told = [serde_json::to_string(&receiver.spans()).expect("JSON"), serde_json::to_string(&receiver.metric_points()).expect("JSON")];
    let personal = [
        person.family.as_str(),
        person.given.as_str(),
        person.nhs_number.as_str(),
        &person.nhs_number.formatted(),
        "1931-02-03",
        "19310203",
        ELSEWHERE.0,
        ELSEWHERE.1,
        "Xylotrupes",
        "Wimbrelle",
        "Vexillology",
        "Jackdawed",
        "Mumbletypeg",
    ];
    for words in personal {
        for told in &told {
            assert!(!told.to_uppercase().contains(&words.to_uppercase()), "telemetry says something personal");
        }
    }
    assert!(receiver.counts().metric_points > 0);
    assert_eq!(receiver.counts().unreadable, 0);
    receiver.stop().await;
}

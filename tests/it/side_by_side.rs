//! Two whole systems in one process: nothing of one is seen in the other.

use crate::people::*;
use crate::system::System;
use hearthline_runtime::auth::Role;
use hearthline_sandbox::otlp::{Collector, Handle, Options};
use serde_json::json;
use std::net::Ipv4Addr;

async fn receiver() -> Handle {
    Collector::start((Ipv4Addr::LOCALHOST, 0).into(), Options::default()).await.expect("a receiver")
}

/// So many calls of a resident of its own; their ids, in order.
async fn lives(hub: &System, calls: i64, person: &Person) -> Vec<String> {
    let home = Home::rosewood(hub).await;
    let resident = home.resident(hub, person).await;
    let mut ids = Vec::new();
    for n in 0..calls {
        let mut call = Call::comes_in(
            hub,
            &home,
            days_ago(9) + hours(n),
            json!({ "reason": "pain", "resident": { "resident_id": resident }, "counterfactual": "gp", "consent": "given" }),
        )
        .await;
        call.is_answered_and_triaged("routine").await;
        call.is_joined_by_a_clinician().await;
        call.is_decided(json!({ "disposition": "advice_only", "claims": [] })).await;
        call.is_closed().await;
        ids.push(call.id.clone());
    }
    ids.sort();
    ids
}

async fn seen(hub: &System) -> Vec<String> {
    let calls = hub.get(Role::CallHandler, "/calls").await.ok();
    let mut ids: Vec<String> = calls["calls"].as_array().expect("calls").iter().map(|call| crate::system::text(call, "id")).collect();
    ids.sort();
    ids
}

/// How many calls `/metrics` says were opened over HTTP.
async fn opened_by_metrics(hub: &System) -> u64 {
    let metrics = hub.public("/metrics").await;
    let is_opening =
        |line: &&str| line.starts_with("http_server_request_duration_seconds_count") && line.contains("http_route=\"/calls\"") && line.contains("\"POST\"");
    let line = metrics.lines().find(is_opening).unwrap_or_else(|| panic!("no count of opened calls in\n{metrics}"));
    line.rsplit(' ').next().and_then(|n| n.parse().ok()).expect("a number")
}

#[tokio::test]
async fn two_systems_in_one_process_know_nothing_of_each_other() {
    let (east_told, west_told) = (receiver().await, receiver().await);
    let (east_url, west_url) = (east_told.url(), west_told.url());
    let (east, west) = tokio::join!(System::start_telling(Some(&east_url)), System::start_telling(Some(&west_url)));
    // The same person at both, so that what is told apart is the systems and not the people.
    let ada = Person::new("Ada", "Ashdown", "1938-04-12", 1);
    let (in_east, in_west) = tokio::join!(lives(&east, 2, &ada), lives(&west, 1, &ada));
    assert_eq!((in_east.len(), in_west.len()), (2, 1));
    assert_eq!(seen(&east).await, in_east);
    assert_eq!(seen(&west).await, in_west);

    // Each admits its own people only.
    let stranger = west.token(Role::CallHandler, None);
    assert_eq!(east.get_with(&stranger, "/calls").await.status, 401);
    assert_eq!(west.get_with(&stranger, "/calls").await.status, 200);

    // A message to one hospital feed is nobody else's.
    assert_eq!(west.hospital_sends(&Adt::admission(&ada, days_ago(8)).write()).await, "AA");
    west.settled().await;
    assert_eq!((east.facts("pas-gateway").await.len(), west.facts("pas-gateway").await.len()), (0, 1));
    for (hub, calls, admissions) in [(&east, 2, 0), (&west, 1, 1)] {
        let kpi = hub.kpi(days_ago(9), tomorrow()).await;
        assert_eq!((value(&kpi, "calls_total"), value(&kpi, "emergency_admissions")), (json!(calls), json!(admissions)));
        assert_eq!(opened_by_metrics(hub).await, calls);
        assert_eq!(hub.sandbox.fhir.documents().len() as u64, calls);
    }

    // Each told its own receiver.
    east.stop().await;
    west.stop().await;
    for (told, own) in [(&east_told, &in_east), (&west_told, &in_west)] {
        let opened = told.spans().iter().filter(|span| span.name == "POST /calls").count();
        assert_eq!(opened, own.len());
        let frames = told.spans().iter().filter(|span| span.name == "mllp.frame").count();
        assert_eq!(frames, usize::from(own == &in_west));
    }
}

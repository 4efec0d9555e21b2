//! An older copy of one service's file put back into a folder, as an operator does it and mends it: by the program's own commands.

use crate::binary;
use crate::running::{Answer, Running, SMALL};
use hearthline_contracts::wire;
use hearthline_runtime::auth::Role;
use serde_json::{Value, json};
use std::path::Path;

/// A command that ends well, and its answer.
fn answers(folder: &Path, args: &[&str]) -> Value {
    let output = binary::run(&[args, &["--json", "--folder", folder.to_str().expect("a readable path")]].concat());
    assert!(output.status.success(), "{}", binary::said(&output));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

async fn run(folder: &Path, args: &'static [&'static str]) -> Value {
    let folder = folder.to_owned();
    tokio::task::spawn_blocking(move || answers(&folder, args)).await.expect("it ran")
}

/// The incarnations of a service's events, in order.
async fn incarnations(hub: &Running, service: &str) -> Vec<u32> {
    let events = hub.ops.services.iter().find(|s| s.name == service).expect("a service").kernel.store.read_all(0, 10_000).await.expect("events");
    events.iter().map(|e| wire::split(&e.payload).expect("an event").envelope.incarnation).collect()
}

/// Registers a home and gives its id.
async fn register(hub: &Running, ods_code: &str) -> String {
    let csv = format!(
        "ods_code,name,address_line_1,town,postcode,beds,home_type,controller_ods,live_from\n{ods_code},Home,1 High Street,Southampton,SO16 1YD,30,nursing,AZ100,2020-01-01\n"
    );
    let request = hub.request(reqwest::Method::POST, "/registers/homes").bearer_auth(hub.token(Role::Operator)).header("idempotency-key", ods_code);
    let answer = Answer::of(request.header("content-type", "text/csv").body(csv)).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    hub.settled().await;
    answer.body["rows"][0]["id"].as_str().expect("an id").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_copy_of_one_service_is_refused_and_mended_by_command() {
    let data = tempfile::tempdir().expect("a temporary folder can be made");
    let folder = data.path();
    let hub = Running::start(SMALL, folder, false).await;
    let first = register(&hub, "VN100").await;
    hub.stop().await;
    let (file, copy) = (folder.join("directory.db"), data.path().join("directory.copy"));
    std::fs::copy(&file, &copy).expect("copied");
    let hub = Running::start(SMALL, folder, false).await;
    let second = register(&hub, "VN101").await;
    let whole = incarnations(&hub, "directory").await;
    hub.stop().await;
    let agreed = run(folder, &["recover"]).await;
    assert!(agreed["services"].as_array().expect("services").iter().all(|s| s["agreed"] == true), "{agreed:#}");
    std::fs::copy(&copy, &file).expect("put back");

    let path = folder.to_owned();
    let refused = move || {
        binary::run(&[
            "up",
            "--no-sandbox",
            "--folder",
            path.to_str().expect("readable"),
            "--set",
            "server.listen=127.0.0.1:0",
            "--set",
            "mllp.listen=127.0.0.1:0",
        ])
    };
    let refused = tokio::task::spawn_blocking(refused).await.expect("it ran");
    let said = binary::said(&refused);
    assert!(refused.status.code() == Some(1) && said.contains("StoreBehindLog") && said.contains("hearthline recover"), "{said}");
    let looked = run(folder, &["recover", "directory", "--dry-run"]).await;
    let mended = run(folder, &["recover", "directory"]).await;
    for report in [&looked, &mended] {
        let report = &report["services"][0];
        assert_eq!((&report["agreed"], &report["incarnation"], &report["service"]), (&json!(false), &json!(2), &json!("directory")), "{report:#}");
        assert!(report["reimported"].as_u64() > Some(0), "{report:#}");
    }
    assert_eq!(run(folder, &["recover", "directory"]).await["services"][0]["agreed"], true);

    let hub = Running::start(SMALL, folder, false).await;
    assert_eq!(incarnations(&hub, "directory").await, whole, "the same events as before");
    let known = hub.get(Role::Operator, "/homes").await;
    for home in [first, second] {
        assert!(known.text.contains(home.as_str()), "{}", known.text);
    }
    register(&hub, "VN102").await;
    assert_eq!(incarnations(&hub, "directory").await.last(), Some(&2));
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_republish_and_an_upgrade_are_asked_for_by_command() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let hub = Running::start(SMALL, folder.path(), false).await;
    hub.homes(&["VN100", "VN101"]).await;
    let before = hub.ops.status().await.expect("a status");
    let nothing = run(folder.path(), &["republish", "prescribing"]).await;
    assert_eq!(nothing["state"], "nothing_published");
    let begun = run(folder.path(), &["republish", "directory"]).await;
    assert_eq!(begun["state"], "begun", "{begun}");
    hub.settled().await;
    let after = hub.ops.status().await.expect("a status");
    let of = |status: &Value, what: &str| status["services"].as_array().expect("services").iter().map(|s| s[what].clone()).collect::<Vec<_>>();
    for what in ["position", "relayed", "parked"] {
        assert_eq!(of(&before, what), of(&after, what), "{what}");
    }
    let duplicates = |status: &Value| {
        let all = status["services"].as_array().expect("services").iter().flat_map(|s| s["dispositions"].as_array().expect("dispositions").clone());
        all.filter(|d| d["kind"] == "duplicate").filter_map(|d| d["count"].as_u64()).sum::<u64>()
    };
    assert!(duplicates(&after) >= duplicates(&before) + begun["of"].as_u64().expect("a number"), "every reader sees them again");

    let status = run(folder.path(), &["upgrade", "status"]).await;
    for service in status["services"].as_array().expect("services") {
        assert_eq!((service["finalised"].as_u64(), service["processes"].as_array().map(Vec::len)), (status["level"].as_u64(), Some(1)), "{service:#}");
    }
    assert_eq!(run(folder.path(), &["upgrade", "finalise"]).await["state"], "already");
    hub.stop().await;
}

//! The page as a person sees it, in a real browser.

use crate::people::*;
use crate::system::System;
use hearthline_runtime::auth::Role;
use hearthline_tests::PATIENCE;
use serde_json::json;
use std::path::{Path, PathBuf};
use tokio::process::Command;

const BROWSER: &str = "chromium";

fn browser() -> Option<PathBuf> {
    let found = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).map(|folder| folder.join(BROWSER)).find(|file| file.is_file());
    let is_required = std::env::var("HEARTHLINE_REQUIRE").is_ok_and(|list| list.split(',').any(|one| one.trim() == BROWSER));
    assert!(found.is_some() || !is_required, "HEARTHLINE_REQUIRE names {BROWSER}, which is not on the PATH");
    if found.is_none() {
        println!("skipped: there is no {BROWSER} on the PATH");
    }
    found
}

/// Opens an address and gives what the browser prints.
async fn open(browser: &Path, profile: &Path, what: &str, address: &str) -> String {
    let mut command = Command::new(browser);
    command.args([
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--virtual-time-budget=8000",
        "--window-size=1280,1700",
    ]);
    command.arg(format!("--user-data-dir={}", profile.display())).arg(what).arg(address).kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, command.output()).await.expect("the browser ends in time").expect("the browser runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The tile of a measure, as text between its tags.
fn tile(dom: &str, id: &str) -> String {
    let begins = dom.find(&format!("id=\"tile-{id}\"")).unwrap_or_else(|| panic!("no tile {id} in\n{dom}"));
    let ends = dom[begins..].find("</article>").expect("a tile ends");
    let mut text = String::new();
    let mut in_tag = true;
    for c in dom[begins..begins + ends].chars() {
        match c {
            '<' => in_tag = true,
            '>' => {
                in_tag = false;
                text.push(' ');
            }
            c if !in_tag => text.push(c),
            _ => {}
        }
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn the_page_shows_the_storys_numbers_in_a_browser() {
    let Some(browser) = browser() else { return };
    let hub = System::start().await;
    let home = Home::rosewood(&hub).await;
    let (ada, bea) = (Person::new("Ada", "Ashdown", "1938-04-12", 1), Person::new("Bea", "Birch", "1941-09-30", 2));
    let first = home.resident(&hub, &ada).await;
    let second = home.resident(&hub, &bea).await;
    let mut ended = days_ago(12);
    for (resident, claims) in [(&first, json!([{ "kind": "conveyance" }])), (&second, json!([{ "kind": "conveyance" }, { "kind": "ed_attendance" }]))] {
        let body = json!({ "reason": "fall", "resident": { "resident_id": resident }, "counterfactual": "999", "consent": "given" });
        let mut call = Call::comes_in(&hub, &home, days_ago(12), body).await;
        call.is_answered_and_triaged("urgent").await;
        call.is_joined_by_a_clinician().await;
        call.is_decided(json!({ "disposition": "treated_at_home", "claims": claims })).await;
        call.is_closed().await;
        ended = call.ended();
    }
    assert_eq!(hub.hospital_sends(&Adt::admission(&ada, ended + hours(40)).write()).await, "AA");
    hub.settled().await;

    let folder = tempfile::tempdir().expect("a temporary folder");
    let from = crate::system::day(days_ago(12));
    let address = format!("http://{}/?from={from}&weeks=4#token={}", hub.http, hub.token(Role::Analyst, None));
    let dom = open(&browser, &folder.path().join("dom"), "--dump-dom", &address).await;
    assert!(tile(&dom, "calls_total").starts_with("Calls to the service 2 "), "{}", tile(&dom, "calls_total"));
    let conveyances = tile(&dom, "ambulance_conveyances_avoided");
    assert!(conveyances.contains("2 declared 2 sustained 1 contradicted 1 unverifiable 0 pending 0"), "{conveyances}");
    let attendances = tile(&dom, "ed_attendances_avoided");
    assert!(attendances.contains("1 declared 1 sustained 1 contradicted 0 unverifiable 0 pending 0"), "{attendances}");
    assert!(tile(&dom, "admissions_avoided").contains("0 declared 0"), "{}", tile(&dom, "admissions_avoided"));
    assert!(!dom.contains("token="), "the token stays out of the page");

    // Without a token there is a place to give one, and not a figure.
    let locked = open(&browser, &folder.path().join("locked"), "--dump-dom", &format!("http://{}/", hub.http)).await;
    assert!(locked.contains("id=\"sign-in\"") && !locked.contains("id=\"tile-"));

    let picture = folder.path().join("page.png");
    open(&browser, &folder.path().join("picture"), &format!("--screenshot={}", picture.display()), &address).await;
    let png = std::fs::read(&picture).expect("a screenshot");
    assert!(png.starts_with(b"\x89PNG\r\n\x1a\n"));
    assert!(png.len() > 20_000, "a blank page is smaller: {} bytes", png.len());
    if let Some(kept) = std::env::var_os("HEARTHLINE_KEEP_PICTURES") {
        std::fs::copy(&picture, Path::new(&kept).join("page.png")).expect("kept");
    }
    hub.stop().await;
}

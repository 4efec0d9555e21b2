//! `hearthline pas` as an engineer types it.

use crate::binary;
use crate::running::{Running, SMALL};
use serde_json::{Value, json};
use std::process::Stdio;

const MESSAGE: &str = "MSH|^~\\&|PAS|RN1|H|Q|20260301121000||ADT^A01|1|P|2.4\rPID|1||1^^^RN1^MR\rPV1|1|I|||||||||||||||||V1\r";

#[test]
fn a_check_goes_on_after_a_file_that_cannot_be_read() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let (missing, file) = (folder.path().join("missing.hl7"), folder.path().join("one.hl7"));
    std::fs::write(&file, MESSAGE).expect("written");
    let checked = binary::run(&["pas", "check", &missing.to_string_lossy(), &file.to_string_lossy()]);
    assert_eq!(checked.status.code(), Some(1), "{}", binary::said(&checked));
    assert!(String::from_utf8_lossy(&checked.stdout).contains("one.hl7#1"), "{}", binary::said(&checked));
    assert!(String::from_utf8_lossy(&checked.stderr).contains("missing.hl7 cannot be read"), "{}", binary::said(&checked));
}

#[test]
fn what_is_read_no_further_ends_quietly() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = folder.path().join("many.hl7");
    // More than a pipe holds.
    std::fs::write(&file, MESSAGE.repeat(2_000)).expect("written");
    let file = file.to_string_lossy();
    let mut check = binary::command(&["pas", "check", &file]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started");
    drop(check.stdout.take());
    let ended = check.wait_with_output().expect("it ends");
    assert!(ended.status.success() && ended.stderr.is_empty(), "{}", binary::said(&ended));
}

/// Loads messages into a hub, and gives what it said and its exit code.
async fn loaded(text: String) -> (Value, Option<i32>, String) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let hub = Running::start(SMALL, folder.path(), false).await;
    let file = folder.path().join("many.hl7");
    std::fs::write(&file, text).expect("written");
    let args = ["pas", "load", "--json", "--folder", &folder.path().to_string_lossy(), &file.to_string_lossy()].map(str::to_owned);
    let load = tokio::task::spawn_blocking(move || binary::run(&args)).await.expect("it ends");
    hub.stop().await;
    let answer = serde_json::from_slice(&load.stdout).unwrap_or_else(|_| panic!("{}", binary::said(&load)));
    (answer, load.status.code(), String::from_utf8_lossy(&load.stderr).into_owned())
}

fn asking(id: &str, facility: &str, asked: &str, patient: &str) -> String {
    format!("MSH|^~\\&|PAS|{facility}|H|Q|20260301121000||ADT^A01|{id}|P|2.4|||{asked}\rPID|1||{patient}\rPV1|1|I|||||||||||||||||V{id}\r")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_goes_on_after_messages_that_ask_for_no_acknowledgement() {
    let is_nobody = "";
    let (answer, code, _) = loaded(
        [
            asking("1", "RHM", "NE|NE", "1^^^RHM^MR"),
            asking("2", "RHM", "ER|NE", "1^^^RHM^MR"),
            asking("3", "RHM", "ER|NE", is_nobody),
            asking("4", "RHM", "AL|NE", "1^^^RHM^MR"),
            asking("5", "RHM", "SU|NE", is_nobody),
            asking("6", "RHM", "SU|NE", "1^^^RHM^MR"),
            // Who is nobody's is answered whatever it asks for.
            asking("7", "RXX", "NE|NE", "1^^^RXX^MR"),
            asking("8", "RHM", "|", "1^^^RHM^MR"),
        ]
        .concat(),
    )
    .await;
    assert_eq!((&answer["accepted"], &answer["unacknowledged"], code), (&json!(3), &json!(2), Some(2)), "{answer}");
    let refused: Vec<_> = answer["refused"].as_array().expect("a list").iter().map(|r| (r["message"].as_u64(), r["reply"].as_str())).collect();
    assert_eq!(refused, [(Some(3), Some("AE")), (Some(5), Some("none")), (Some(7), Some("AR"))], "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_lacks_messages_is_loaded_and_said_to() {
    let one = asking("1", "RHM", "AL|NE", "1^^^RHM^MR");
    let (answer, code, said) = loaded(format!("FHS|^~\\&\rBHS|^~\\&\r{one}BTS|3\rFTS|1\r")).await;
    assert_eq!((&answer["accepted"], code), (&json!(1), Some(2)), "{answer}");
    assert_eq!(answer["warnings"], json!(["messages of a batch: BTS-1 says 3, and there are 1"]));
    assert!(said.contains("many.hl7: messages of a batch") && said.contains("ask the sender for the whole file"), "{said}");
}

#[test]
fn a_check_says_that_a_batch_lacks_messages() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = folder.path().join("cut.hl7");
    std::fs::write(&file, format!("BHS|^~\\&\r{MESSAGE}")).expect("written");
    let checked = binary::run(&["pas", "check", "--profile", "itk", &file.to_string_lossy()]);
    assert_eq!(checked.status.code(), Some(0), "{}", binary::said(&checked));
    assert!(String::from_utf8_lossy(&checked.stderr).contains("cut.hl7: a batch ends without BTS"), "{}", binary::said(&checked));
}

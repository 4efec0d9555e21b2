//! `hearthline pas` as an engineer types it.

use crate::binary;
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

use super::*;
use crate::peer::{Accepts, Acknowledgement};
use hearthline_nhs::OdsCode;
use std::path::{Path, PathBuf};

fn peer(facility: &str) -> Peer {
    let mut peer = Peer::new("sample", OdsCode::parse(facility).unwrap_or_else(|_| OdsCode::parse("X26").expect("valid")));
    peer.sending_facilities = vec![facility.to_owned()];
    peer
}

fn explained(message: &str) -> Explanation {
    let itk = Profile::load("itk").expect("shipped");
    explain(message.as_bytes(), &peer("RHM"), &itk)
}

fn adt(trigger: &str, rest: &str) -> String {
    format!("MSH|^~\\&|PAS|RHM|HUB|QRL|20260301120000||ADT^{trigger}|C1|P|2.4\rEVN||20260301120000\r{rest}")
}

#[test]
fn every_trigger_says_what_it_becomes() {
    let pid = "PID|1||1^^^RHM^MR~9990000018^^^NHS^NH";
    let visit = format!("{pid}\rPV1|1|I|||||||||||||||||V1");
    for (trigger, rest, matter) in [
        ("A01", visit.clone(), "admission"),
        ("A01", visit.replace("|I|", "|E|"), "attendance"),
        ("A01", visit.replace("|I|", "|P|"), "pre-admission"),
        ("A02", visit.clone(), "transfer"),
        ("A03", visit.clone(), "discharge"),
        ("A04", visit.replace("|I|", "|O|"), "registration"),
        ("A05", visit.clone(), "pre-admission"),
        ("A06", visit.clone(), "change"),
        ("A07", visit.clone(), "change"),
        ("A08", visit.clone(), "change"),
        ("A08", pid.to_owned(), "nothing"),
        ("A11", visit.clone(), "cancelled admission"),
        ("A12", visit.clone(), "cancelled transfer"),
        ("A13", visit.clone(), "cancelled discharge"),
        ("A28", pid.to_owned(), "nothing"),
        ("A31", format!("{pid}{}Y", "|".repeat(27)), "death"),
        ("A34", format!("{pid}\rMRG|2^^^RHM^MR"), "merge"),
        ("A38", visit.clone(), "cancelled pre-admission"),
        ("A40", format!("{pid}\rMRG|2"), "merge"),
        ("A40", pid.to_owned(), "refused"),
        ("A42", format!("{visit}\rMRG|1||||V2"), "merge of visits"),
        ("A42", visit.clone(), "refused"),
        ("A45", format!("{visit}\rMRG|2||||V2"), "visit of another patient"),
        ("A47", format!("{pid}\rMRG|2"), "merge"),
        ("A09", visit.clone(), "nothing"),
        ("A24", visit.clone(), "nothing"),
        ("A60", visit.clone(), "nothing"),
        ("", visit.clone(), "refused"),
    ] {
        let got = explained(&adt(trigger, &rest));
        assert_eq!(got.matter, matter, "{trigger}: {got:?}");
        assert_eq!(got.acknowledgement, if matter == "refused" { "AE" } else { "AA" }, "{trigger}");
        assert_eq!(got.why.is_empty(), !matches!(matter, "refused" | "nothing" | "merge") && !got.events.is_empty(), "{trigger}: {got:?}");
    }
    // EVN-1 and MSH-9.3 say something else.
    let contradicted = adt("A03^ADT_A99", &visit).replace("EVN||", "EVN|A01|");
    assert_eq!(explained(&contradicted).matter, "discharge");
}

#[test]
fn the_explanation_shows_codes_and_reasons_and_nobody() {
    let message = adt(
        "A01",
        "PID|1||SECRET77^^^RHM^MR~9990000018^^^NHS^NH||HIDDEN^ADA||19400701\rPV1|1|I|^^^her daughter's house in Fareham|Emerg||||||||||54|||||VISIT4711|||||||||||||||||||||||||202610250130",
    );
    let got = explained(&message);
    let shown = serde_json::to_string(&got).expect("serialises");
    for hidden in ["SECRET77", "9990000018", "HIDDEN", "19400701", "1940-07-01", "daughter", "VISIT4711"] {
        assert!(!shown.contains(hidden), "{hidden} in {shown}");
    }
    for part in ["*** *** 0018", "PV1-44", "\"ambiguous\":true", "no admission-method and that no table knows", "twice", "by its type", "…11"] {
        assert!(shown.contains(part), "{part} not in {shown}");
    }
    assert_eq!(got.events, ["VisitOpened"]);
    let nonexistent = explained(&message.replace("202610250130", "202603290130"));
    assert!(nonexistent.warnings.iter().any(|w| w.contains("left out")), "{:?}", nonexistent.warnings);
    assert_eq!(nonexistent.time.expect("a time").at, "2026-03-29T01:30:00Z");
}

#[test]
fn refusals_name_code_and_place_and_the_reply_is_the_peers() {
    let got = explained(&adt("A01", "PV1|1|I"));
    assert_eq!((got.acknowledgement.as_str(), got.error.as_deref()), ("AE", Some("101 required field missing at PID-3")));
    let got = explained(&adt("A01", "PID|1||1\rPV1|1|I").replace("ADT^A01", "ORU^R01"));
    assert_eq!((got.acknowledgement.as_str(), got.error.as_deref()), ("AR", Some("200 unsupported message type at MSH-9")));
    let got = explained(&adt("A01", "PID|1||1\rPV1|1|I").replace("|RHM|", "|XYZ|"));
    assert_eq!((got.acknowledgement.as_str(), got.error.as_deref()), ("AR", Some("103 table value not found at MSH-4")));
    let enhanced = Peer { acknowledgement: Acknowledgement::Enhanced, accepts: Accepts::Ca, ..peer("RHM") };
    let itk = Profile::load("itk").expect("shipped");
    assert_eq!(explain(adt("A01", "PID|1||1\rPV1|1|I").as_bytes(), &enhanced, &itk).acknowledgement, "CA");
    assert_eq!(explain(b"hello", &enhanced, &itk).matter, "refused");
}

/// Real messages, read in place; without them this says so and passes. They are not part of the project.
fn samples() -> Option<PathBuf> {
    let root = match std::env::var_os("HEARTHLINE_SAMPLES") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/samples/interop"),
    };
    let folder = root.join("hl7v2");
    if folder.is_dir() {
        return Some(folder);
    }
    println!("skipped: no samples at {} (set HEARTHLINE_SAMPLES)", folder.display());
    None
}

/// File, trigger, acknowledgement, what it becomes, class, admission method, discharge destination, arrival, time from, refusal or reason.
type Row = (&'static str, &'static str, &'static str, &'static str, &'static str, &'static str, &'static str, &'static str, &'static str, &'static str);

const BECOMES: &[Row] = &include!("samples_table.in");

#[test]
fn every_real_adt_message_becomes_what_the_table_says() {
    let Some(folder) = samples() else { return };
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).expect("samples can be listed").map(|e| e.expect("listed").path()).collect();
    files.sort();
    let mut seen = Vec::new();
    for path in files {
        let raw = std::fs::read(&path).expect("samples can be read");
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let facility = Message::parse(&raw).ok().and_then(|m| m.field("MSH", 4).component(1).code().map(str::to_owned)).unwrap_or_default();
        let profile = Profile::load(if name.starts_with("uk-dorset") { "dorset-ed" } else { "itk" }).expect("shipped");
        // Some ask for no reply at all; in original mode everything is answered.
        let got = explain(&raw, &Peer { acknowledgement: Acknowledgement::Original, ..peer(&facility) }, &profile);
        if got.header.message_type != "ADT" {
            assert_eq!(got.acknowledgement, "AR", "{name}: {got:?}");
            continue;
        }
        let facts = got.facts();
        let fact = |key: &str| facts.get(key).cloned().unwrap_or_default();
        seen.push([
            name,
            fact("trigger"),
            fact("acknowledgement"),
            fact("matter"),
            fact("class"),
            fact("admission-method"),
            fact("discharge-destination"),
            fact("arrival-mode"),
            fact("at-from"),
            fact("why"),
        ]);
    }
    if std::env::var_os("HEARTHLINE_PRINT_SAMPLES").is_some() {
        for row in &seen {
            println!("    ({}),", row.iter().map(|cell| format!("{cell:?}")).collect::<Vec<_>>().join(", "));
        }
    }
    assert_eq!(seen.len(), BECOMES.len());
    for (got, (name, trigger, reply, matter, class, method, destination, arrival, from, why)) in seen.iter().zip(BECOMES) {
        assert_eq!(got, &[*name, trigger, reply, matter, class, method, destination, arrival, from, why], "{name}");
    }
}

#[test]
fn fields_that_cannot_be_read_are_warned_of() {
    let visit = "PID|1||1^^^RHM^MR~9990000019^^^NHS^NH||X||01/07/1940\rPV1|1|I|||||||||||||||||V1|||||||||||||||||||||||||noon";
    let got = explained(&adt("A01", visit));
    for warning in ["PID-7 holds no date of birth", "PV1-44 holds no time", "the check digit of the NHS number is wrong (PID-3, PID-2)"] {
        assert!(got.warnings.contains(&format!("{warning}: it is left out")), "{warning}: {:?}", got.warnings);
    }
    let sound = explained(&adt("A01", "PID|1||1^^^RHM^MR||X||19400701\rPV1|1|I|||||||||||||||||V1"));
    assert_eq!(sound.warnings, [""; 0]);
}

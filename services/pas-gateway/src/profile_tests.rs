use super::*;
use crate::domain::{Report, VisitClass};
use crate::reading::{Matter, read_by};

#[test]
fn the_tests_of_every_shipped_profile_hold() {
    for (name, text) in Profile::shipped() {
        let profile = Profile::parse(name, text).expect("a profile");
        assert!(!profile.tests().is_empty(), "{name}");
        assert_eq!(profile.check(), [""; 0], "{name}");
    }
}

#[test]
fn a_test_that_does_not_hold_says_what_was_found() {
    let text = r#"
title = "x"
status = "unverified"
extends = "itk"
[[test]]
name = "wrong"
message = "MSH|^~\\&|PAS|RHM|H|Q|20260301121000||ADT^A01|1|P|2.4\nPID|1||1^^^RHM^MR\nPV1|1|E"
expect = { class = "inpatient", matter = "attendance" }
"#;
    let profile = Profile::parse("mine", text).expect("a profile");
    assert_eq!(profile.check(), ["mine: test \"wrong\": class is \"emergency\", expected \"inpatient\""]);
}

#[test]
fn what_cannot_be_used_is_refused_with_file_key_and_what_is_allowed() {
    let refused = |rest: &str| Profile::parse("mine.toml", &format!("title = \"x\"\nstatus = \"verified\"\n{rest}")).expect_err(rest).to_string();
    for (rest, parts) in [
        ("feilds = 1", &["mine.toml", "feilds", "fields"][..]),
        ("[fields]\nward = \"PV1-3\"", &["mine.toml", "ward", "visit-number"]),
        ("[fields]\nclass = \"PV1\"", &["mine.toml", "fields.class", "PV1-36"]),
        ("[fields]\nclass = \"PV1-2.1.1.1\"", &["mine.toml", "fields.class"]),
        ("[fields]\nclass = \"PV1-0\"", &["mine.toml", "fields.class"]),
        ("[codes.class]\nX = \"day case\"", &["mine.toml", "codes.class", "\"X\"", "inpatient"]),
        ("[codes.admission-method]\nX = \"27\"", &["mine.toml", "codes.admission-method", "2A"]),
        ("[codes.class]\nx = \"other\"\nX = \"emergency\"", &["mine.toml", "codes.class", "twice"]),
        ("[codes.class]\nx = \"other\"\nx = \"emergency\"", &["mine.toml", "duplicate key"]),
        ("[codes.site]\nx = \"RHM01\"", &["mine.toml", "codes.site", "no table"]),
        ("extends = \"meditech\"", &["mine.toml", "extends", "itk"]),
        ("time-zone = \"Europe/Southampton\"", &["mine.toml", "time-zone", "Europe/London"]),
        ("ignored-triggers = [\"A8\"]", &["mine.toml", "ignored-triggers", "A08"]),
        ("[[nhs-number]]", &["mine.toml", "nhs-number[0]", "authority"]),
        ("[[test]]\nname = \"t\"\nmessage = \"\"\nexpect = { ward = \"1\" }", &["mine.toml", "expect.ward", "class"]),
    ] {
        let why = refused(rest);
        for part in parts {
            assert!(why.contains(part), "{rest}: {why} lacks {part}");
        }
    }
    let unknown = Profile::load("no-such").expect_err("unknown").to_string();
    assert!(unknown.contains("no-such") && unknown.contains("dorset-ed"), "{unknown}");
}

#[test]
fn the_example_of_the_document_loads_and_its_tests_hold() {
    let document = include_str!("../../../docs/pas.md");
    let example = document.split("```toml\n").find(|block| block.starts_with("title = ")).and_then(|block| block.split("```").next()).expect("an example");
    let profile = Profile::parse("northside.toml", example).expect("a profile");
    assert_eq!((profile.tests().len(), profile.check()), (1, Vec::new()));
    assert_eq!(profile.path(Item::AdmissionMethod).map(FieldPath::as_str), Some("ZU1-2"));
    let allowed = document.split("`expect` takes any of ").nth(1).and_then(|rest| rest.split(", in the words").next()).expect("what expect takes");
    assert_eq!(allowed.split('`').skip(1).step_by(2).collect::<Vec<_>>(), explain::KEYS);
}

fn by(profile: &str, message: &str) -> Matter {
    let profile = Profile::parse("mine", &format!("title = \"x\"\nstatus = \"unverified\"\nextends = \"itk\"\n{profile}")).expect("a profile");
    let message = Message::parse(message.as_bytes()).expect("readable");
    read_by(&message, &Peer::new("rhm", OdsCode::parse("RHM").expect("valid")), &profile).expect("taken").matter
}

const ADMISSION: &str = "MSH|^~\\&|PAS|RHM|H|Q|20260301121000||ADT^A01|1|P|2.4\rPID|1||1^^^RHM^MR\rPV1|1|E||||||||||||20|||||V1\rZU1|EM&28^x~I";

#[test]
fn fields_tables_and_rules_are_the_profiles() {
    let details = |profile: &str| match by(profile, ADMISSION) {
        Matter::Visit(Report::Opening(details)) => details,
        other => panic!("{other:?}"),
    };
    assert_eq!((details("").class, details("").source.as_str()), (Some(VisitClass::Emergency), ""));
    assert_eq!(details("a01-of-class-emergency = \"admission\"").class, Some(VisitClass::Inpatient));
    assert_eq!(details("[fields]\nclass = \"ZU1-1[2]\"\nadmission-method = \"ZU1-1.1.2\"").class, Some(VisitClass::Inpatient));
    assert_eq!(details("[fields]\nclass = \"ZU1-1[2]\"\nadmission-method = \"ZU1-1.1.2\"").admission_method, "28");
    // Wales codes nursing and residential homes 20 and 21.
    assert_eq!(details("[codes.source-of-admission]\n20 = \"85\"\n21 = \"85\"").source, "85");
    assert_eq!(by("ignored-triggers = [\"A01\"]", ADMISSION), Matter::Nothing("the profile ignores this trigger"));
}

#[test]
fn a_code_of_no_list_does_not_travel_and_old_ones_do() {
    for (raw, code) in [("28", "28"), ("2a", "2A"), ("2D", "2D"), ("2E", ""), ("27", ""), ("28b", ""), ("99", "99"), ("10", "")] {
        let itk = Profile::load("itk").expect("shipped");
        assert_eq!(crate::reading::code(&itk, Item::AdmissionMethod, raw).unwrap_or_default(), code, "{raw}");
    }
}

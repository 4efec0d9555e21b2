//! Real and hostile messages, read in place. The folder is given by `HEARTHLINE_SAMPLES`, else it is looked for beside
//! the repository; without it these tests say so and pass. The files are not part of the project.

use std::fs;
use std::path::{Path, PathBuf};

use hearthline_interop::hl7v2::{Adt, Hl7Error, Message, Reply, Trigger, Value, batch};

fn samples(kind: &str) -> Option<PathBuf> {
    let root = match std::env::var_os("HEARTHLINE_SAMPLES") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/samples/interop"),
    };
    let folder = root.join(kind);
    if !folder.is_dir() {
        println!("skipped: no samples at {} (set HEARTHLINE_SAMPLES)", folder.display());
        return None;
    }
    Some(folder)
}

fn files(kind: &str) -> Vec<(String, Vec<u8>)> {
    let Some(folder) = samples(kind) else {
        return Vec::new();
    };
    let mut found: Vec<(String, Vec<u8>)> = fs::read_dir(folder)
        .expect("samples can be listed")
        .map(|entry| {
            let entry = entry.expect("samples can be listed");
            (entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path()).expect("samples can be read"))
        })
        .collect();
    found.sort();
    found
}

fn read_everything(raw: &[u8]) -> Result<usize, Hl7Error> {
    let message = Message::parse(raw)?;
    let mut texts = 0;
    for segment in message.segments() {
        for number in 0..60 {
            for repetition in segment.field(number).repetitions() {
                for component in (0..30).map(|number| repetition.component(number)) {
                    texts += usize::from(component.decoded().is_some());
                    texts += usize::from(component.subcomponent(2).code().is_some());
                }
            }
        }
    }
    for adt in Adt::all(&message) {
        texts += adt.identifiers().count() + adt.names().count() + adt.addresses().count();
        texts += adt.nhs_number_candidates().len() + usize::from(adt.visit_time().is_some());
        texts += usize::from(adt.birth_date().is_some()) + usize::from(adt.death().is_some());
        texts += usize::from(adt.visit_id().is_some()) + usize::from(adt.registered_practice().is_some());
    }
    Ok(texts)
}

#[test]
fn every_real_message_is_read() {
    for (name, raw) in files("hl7v2") {
        let texts = read_everything(&raw).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(texts > 3, "{name}: only {texts} values");
    }
}

#[test]
fn every_malformed_message_is_read_or_cleanly_refused() {
    for (name, raw) in files("hl7v2-malformed") {
        match read_everything(&raw) {
            Ok(_) => println!("{name}: read"),
            Err(error) => println!("{name}: {error}"),
        }
    }
}

#[test]
fn batches_are_split_and_those_that_must_fail_do() {
    for (name, raw) in files("hl7v2-batch") {
        let split = batch::split(&raw);
        if name.contains("bad") {
            assert!(split.is_err(), "{name} must be refused");
            continue;
        }
        let split = split.unwrap_or_else(|error| panic!("{name}: {error}"));
        let expected = if name.contains("batch1") || name.contains("file2") { 2 } else { 1 };
        assert_eq!(split.messages.len(), expected, "{name}");
        for message in split.messages {
            assert_eq!(Message::parse(message).map(|m| Adt::of(&m).trigger() == Trigger::A04), Ok(true), "{name}");
        }
    }
}

#[test]
fn a_file_with_one_message_splits_into_that_message() {
    for (name, raw) in files("hl7v2") {
        let split = batch::split(&raw).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(split.messages.len(), 1, "{name}");
    }
}

fn with_sample(name: &str, check: impl FnOnce(&Message<'_>)) {
    let Some(folder) = samples("hl7v2") else {
        return;
    };
    let raw = fs::read(folder.join(name)).expect("the sample can be read");
    check(&Message::parse(&raw).expect("readable"));
}

#[test]
fn an_emergency_department_feed_is_understood() {
    with_sample("uk-dorset-ED-ADT_A01.hl7", |message| {
        let adt = Adt::of(message);
        assert_eq!(adt.trigger(), Trigger::A01);
        assert_eq!(adt.patient_class(), Some(hearthline_interop::hl7v2::PatientClass::Emergency));
        assert_eq!(adt.visit_id().map(|id| id.value), Some("ED-AG-23-000000"));
        assert_eq!(adt.addresses().next().and_then(|a| a.postcode), Some("BH15 3RS"));
        assert!(matches!(adt.admitted_at(), Ok(Some(_))));
        assert_eq!(adt.mode_of_arrival(), Some("1048071000000103"));
        assert_eq!(adt.nhs_number_candidates(), [], "the number in the sample is one digit repeated");
        assert_eq!(adt.occurred_at(), Ok(None));
    });
}

#[test]
fn a_community_feed_gives_number_and_tracing_status() {
    with_sample("uk-inhealthcare-ADT_A28.hl7", |message| {
        let adt = Adt::of(message);
        let candidates = adt.nhs_number_candidates();
        assert_eq!(candidates.len(), 1);
        assert_eq!(candidates[0].digits.as_str(), "9990500002");
        assert_eq!(candidates[0].tracing_status, Some("02"));
        assert_eq!(adt.sending_facility(), None);
        assert!(matches!(adt.sent_at(), Ok(Some(time)) if time.instant_us % 1_000_000 == 241_000));
    });
}

#[test]
fn two_patients_in_unusual_delimiters_are_both_seen() {
    with_sample("hapi-segmentfinder_a24.hl7", |message| {
        let ids: Vec<_> = Adt::all(message).iter().filter_map(|adt| adt.identifiers().next()).map(|id| id.value).collect();
        assert_eq!(ids, ["11111", "22222"]);
    });
}

#[test]
fn a_foreign_acknowledgement_is_understood() {
    with_sample("uk-dorset-ACK-AA.hl7", |message| {
        let reply = Reply::of(message).expect("a reply");
        assert!(reply.code.is_accept());
        assert_eq!(reply.text.as_deref(), Some("Successfully processed"));
    });
}

#[test]
fn a_doubled_backslash_does_not_shift_the_delimiters() {
    with_sample("lfh-sample_unix.hl7", |message| {
        assert_eq!(message.field("PID", 5).component(2).value(), Value::Text("JOHN"));
        assert_eq!(message.separators().subcomponent, Some(b'&'));
    });
}

mod fhir {
    use hearthline_interop::fhir::eps::{CancelOutcome, EpsReply, signature_of};
    use hearthline_interop::fhir::{Bundle, OperationOutcome, Resource};

    use super::{files, fs, samples};

    #[test]
    fn every_json_resource_is_read() {
        for (name, raw) in files("fhir").into_iter().filter(|(name, _)| name.ends_with(".json")) {
            if !String::from_utf8_lossy(&raw).contains("\"resourceType\"") {
                assert!(Resource::parse(&raw).is_err(), "{name} is no resource");
                continue;
            }
            let read = Resource::parse(&raw).unwrap_or_else(|error| panic!("{name}: {error}"));
            if let Resource::Bundle(bundle) = &read {
                let again = Bundle::parse(&bundle.to_json()).unwrap_or_else(|error| panic!("{name}: {error}"));
                assert!(again == **bundle, "{name}");
            }
        }
    }

    fn with_json(name: &str, check: impl FnOnce(&[u8])) {
        let Some(folder) = samples("fhir") else {
            return;
        };
        check(&fs::read(folder.join(name)).expect("the sample can be read"));
    }

    #[test]
    fn prescription_replies_are_understood() {
        with_json("eps-cancel-response-2.json", |json| {
            assert_eq!(EpsReply::parse(json).ok(), Some(EpsReply::Cancellation(CancelOutcome::Cancelled)));
        });
        with_json("eps-error-invalid-checksum-response.json", |json| {
            let codes = vec!["FAILURE_TO_PROCESS_MESSAGE".to_owned()];
            assert_eq!(EpsReply::parse(json).ok(), Some(EpsReply::Refused { codes, is_duplicate: false }));
        });
        with_json("eps-order-nominated-4items.json", |json| {
            let bundle = Bundle::parse(json).unwrap_or_else(|error| panic!("{error}"));
            assert!(signature_of(&bundle).is_some());
        });
    }

    #[test]
    fn a_duplicate_is_recognised() {
        with_json("bars-conflict.json", |json| {
            let outcome = OperationOutcome::parse(json).unwrap_or_else(|error| panic!("{error}"));
            assert!(outcome.is_failure() && outcome.is_duplicate());
            assert_eq!(outcome.codes(), ["REC_CONFLICT"]);
        });
    }
}

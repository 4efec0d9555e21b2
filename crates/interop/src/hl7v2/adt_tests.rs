use super::*;
use crate::hl7v2::{AdministrativeSex, PatientClass, PatientIdentifier, TimeSource, Value};

/// Builds `NAME|1|2|...` from numbered fields.
fn segment(name: &str, fields: &[(usize, &str)]) -> String {
    let last = fields.iter().map(|(number, _)| *number).max().unwrap_or(0);
    (1..=last).fold(name.to_owned(), |mut line, number| {
        line.push('|');
        line.push_str(fields.iter().find(|(n, _)| *n == number).map_or("", |(_, text)| text));
        line
    })
}

fn message(event: &str, segments: &[String]) -> String {
    format!("MSH|^~\\&|PAS|RHM|HUB|QRL|20250110120000||ADT^{event}|77|P|2.4\r{}", segments.join("\r"))
}

fn with<T>(text: &str, read: impl FnOnce(Adt<'_>) -> T) -> T {
    let message = Message::parse(text.as_bytes()).expect("readable");
    read(Adt::of(&message))
}

fn source(event: &str, segments: &[String]) -> Option<TimeSource> {
    with(&message(event, segments), |adt| adt.visit_time().map(|time| time.source))
}

#[test]
fn the_header_is_read_and_msh_9_3_ignored() {
    let text = "MSH|^~\\&|PAS^x|RHM01^y|HUB|QRL|20250110||ADT^A03 ^ADT_A99| 5 |T^A|2.3.1^AUS&&ISO\rEVN|A01|20250109";
    with(text, |adt| {
        assert!(adt.is_adt());
        assert_eq!(adt.trigger(), Trigger::A03);
        assert_eq!(adt.control_id(), Some("5"));
        assert_eq!(adt.processing_id(), ProcessingId::Training);
        assert_eq!(adt.version(), Some("2.3.1"));
        assert_eq!((adt.sending_application(), adt.sending_facility()), (Some("PAS"), Some("RHM01")));
        assert!(matches!(adt.recorded_at(), Ok(Some(_))));
        assert_eq!(adt.occurred_at(), Ok(None));
    });
}

#[test]
fn the_person_is_read() {
    let pid = segment(
        "PID",
        &[
            (3, "0123456^^^RHM^MR~~9990000018^^^NHS&x&y^NH"),
            (5, "JONES^ANN^^^MRS^^PREFERRED~SMITH&de^Ann\\T\\Co^M^^Mrs"),
            (7, "19480110000000"),
            (8, "2"),
            (11, "1 High St^^Town^Hants^SO16 6YD ^GBR^H~^^^^^^"),
            (31, "Y"),
            (32, "NSTS02"),
        ],
    );
    with(&message("A31", &[pid, "PD1|||PRACTICE^^Y06601|G9991234^GP".to_owned()]), |adt| {
        let ids: Vec<_> = adt.identifiers().map(|id| (id.value, id.authority, id.id_type)).collect();
        assert_eq!(ids, [("0123456", Some("RHM"), Some("MR")), ("9990000018", Some("NHS"), Some("NH"))]);
        let name = adt.legal_name().expect("a name");
        assert_eq!((name.family.as_deref(), name.given.as_deref()), (Some("SMITH"), Some("Ann&Co")));
        assert_eq!(adt.names().count(), 2);
        assert_eq!(adt.birth_date().map(|date| date.to_string()).as_deref(), Some("1948-01-10"));
        assert_eq!(adt.sex(), Some(AdministrativeSex::Female));
        let addresses: Vec<_> = adt.addresses().collect();
        assert_eq!(addresses.len(), 1);
        assert_eq!(addresses[0].lines, ["1 High St", "Town", "Hants"]);
        assert_eq!(addresses[0].postcode, Some("SO16 6YD"));
        assert!(adt.is_pseudo_person());
        assert_eq!(adt.nhs_number_status(), Some("02"));
        assert_eq!(adt.registered_practice(), Some("Y06601"));
        assert_eq!(adt.death(), None);
    });
}

#[test]
fn practice_and_practitioner_may_be_swapped() {
    let text = message("A31", &["PID|1||7".to_owned(), "PD1|||G9991234^GP|^^E83039".to_owned()]);
    assert_eq!(with(&text, |adt| adt.registered_practice().map(str::to_owned)).as_deref(), Some("E83039"));
}

#[test]
fn the_visit_is_read() {
    let pv1 = segment(
        "PV1",
        &[
            (2, "INPATIENT"),
            (3, "RCB^OBS1^BAY2-6^RCB55&x"),
            (4, "2A"),
            (6, "W1"),
            (10, "300"),
            (14, "54"),
            (19, "V-1^^^RHM^visitid"),
            (36, "19"),
            (44, "20250109103000"),
            (45, "20250110"),
            (50, "EP2"),
        ],
    );
    let pv2 = segment("PV2", &[(3, "F^Fall\\S\\x"), (38, "C")]);
    with(&message("A01", &["PID|1||7".to_owned(), pv1, pv2]), |adt| {
        assert_eq!(adt.patient_class(), Some(PatientClass::Inpatient));
        let ward = adt.location().expect("a location");
        assert_eq!((ward.point_of_care, ward.bed, ward.facility), (Some("RCB"), Some("BAY2-6"), Some("RCB55")));
        assert_eq!(adt.prior_location().and_then(|l| l.point_of_care), Some("W1"));
        assert!(adt.is_emergency_admission_method());
        assert_eq!((adt.specialty(), adt.source_of_admission()), (Some("300"), Some("54")));
        assert_eq!(adt.visit_id().map(|id| (id.value, id.id_type)), Some(("V-1", Some("visitid"))));
        assert_eq!(adt.alternate_visit_id().map(|id| id.value), Some("EP2"));
        assert_eq!(adt.discharge_destination(), Some("19"));
        assert_eq!(adt.admission_reason().as_deref(), Some("Fall^x"));
        assert_eq!(adt.mode_of_arrival(), Some("C"));
        assert!(matches!((adt.admitted_at(), adt.discharged_at()), (Ok(Some(_)), Ok(Some(_)))));
    });
}

#[test]
fn free_text_is_not_an_emergency_admission_method() {
    let is_emergency = |code| {
        let text = message("A01", &["PID|1||7".to_owned(), segment("PV1", &[(4, code)])]);
        with(&text, |adt| adt.is_emergency_admission_method())
    };
    assert!(is_emergency("21") && is_emergency("2D"));
    assert!(!is_emergency("2~I") && !is_emergency("Emerg Other") && !is_emergency("11"));
}

#[test]
fn each_trigger_takes_the_time_that_its_event_means() {
    let evn = segment("EVN", &[(2, "20250110110000"), (6, "20250110100000")]);
    let pv1 = segment("PV1", &[(44, "20250109080000"), (45, "20250110090000")]);
    let pv2 = segment("PV2", &[(8, "20250120")]);
    let all = [evn.clone(), pv1, pv2];
    assert_eq!(source("A01", &all), Some(TimeSource::Admitted));
    assert_eq!(source("A04", &all), Some(TimeSource::Admitted));
    assert_eq!(source("A02", &all), Some(TimeSource::EventOccurred));
    assert_eq!(source("A03", &all), Some(TimeSource::Discharged));
    assert_eq!(source("A05", &all), Some(TimeSource::ExpectedAdmission));
    assert_eq!(source("A11", &all), Some(TimeSource::EventOccurred));
    assert_eq!(source("A01", &[evn]), Some(TimeSource::EventOccurred));
    assert_eq!(source("A01", &["EVN||20250110".to_owned()]), Some(TimeSource::EventRecorded));
    assert_eq!(source("A01", &["PID|1".to_owned()]), Some(TimeSource::MessageSent));
}

#[test]
fn a_malformed_time_is_passed_over_and_said() {
    let text = message("A01", &["EVN||20250110".to_owned(), segment("PV1", &[(44, "%s")])]);
    with(&text, |adt| {
        assert_eq!(adt.admitted_at(), Err(Hl7TimeError::Malformed));
        let time = adt.visit_time().expect("a time");
        assert_eq!((time.source, time.passed_over_malformed), (TimeSource::EventRecorded, true));
    });
}

#[test]
fn any_one_death_signal_counts() {
    let signal = |pid: &[(usize, &str)], destination: &str| {
        let text = message("A03", &[segment("PID", pid), segment("PV1", &[(36, destination)])]);
        with(&text, |adt| adt.death().map(|d| (d.time.is_some(), d.indicator, d.discharged_as_died)))
    };
    assert_eq!(signal(&[(29, "202501100100"), (30, "N")], "19"), Some((true, Some(false), false)));
    assert_eq!(signal(&[(30, "Y")], ""), Some((false, Some(true), false)));
    assert_eq!(signal(&[(3, "7")], "79"), Some((false, None, true)));
    assert_eq!(signal(&[(29, "\"\""), (30, "N")], "19"), None);
}

#[test]
fn a_merge_matches_on_value_and_the_qualifiers_both_carry() {
    let pid = "PID|||50^^^MRENTR^MEDREC".to_owned();
    let mrg = "MRG|40800000^^^MRENTR~1234||||V9".to_owned();
    with(&message("A40", &[pid, mrg]), |adt| {
        let gone: Vec<_> = adt.discarded_identifiers().collect();
        assert_eq!(gone.iter().map(|id| id.value).collect::<Vec<_>>(), ["40800000", "1234"]);
        let known = PatientIdentifier { value: "40800000", check_digit: None, authority: Some("MRENTR"), id_type: Some("MEDREC") };
        assert!(gone[0].matches(&known));
        assert!(!gone[0].matches(&PatientIdentifier { authority: Some("OTHER"), ..known }));
        assert!(gone[1].matches(&PatientIdentifier { value: "1234", ..known }));
        assert_eq!(adt.prior_visit_id().map(|id| id.value), Some("V9"));
    });
}

#[test]
fn a_message_with_two_patients_gives_two_views() {
    let text = message("A40", &["PID|||1".into(), "MRG|2".into(), "PID|||3".into(), "MRG|4".into()]);
    let message = Message::parse(text.as_bytes()).expect("readable");
    let pairs: Vec<_> =
        Adt::all(&message).iter().map(|adt| (adt.identifiers().next().map(|i| i.value), adt.discarded_identifiers().next().map(|i| i.value))).collect();
    assert_eq!(pairs, [(Some("1"), Some("2")), (Some("3"), Some("4"))]);
    assert!(Adt::all(&message).iter().all(|adt| adt.control_id() == Some("77")));
    assert_eq!(Adt::of(&message).discarded_identifiers().next().map(|i| i.value), Some("2"));
}

#[test]
fn deletion_can_be_told_from_silence() {
    with(&message("A08", &["PID|||7||\"\"||".to_owned()]), |adt| {
        assert_eq!(adt.pid(5).value(), Value::Null);
        assert_eq!(adt.pid(6).value(), Value::Empty);
        assert_eq!(adt.pid(29).value(), Value::Absent);
        assert_eq!(adt.pv1(2).value(), Value::Absent);
        assert_eq!(adt.names().count(), 0);
    });
}

#[test]
fn misplaced_duplicate_and_unknown_segments_do_no_harm() {
    let segments = ["ZU1|1", "PV1||E", "PID|||7", "PV1||I", "EVN||20250101", "ZPD"].map(str::to_owned);
    with(&message("A01", &segments), |adt| {
        assert_eq!(adt.patient_class(), Some(PatientClass::Emergency));
        assert_eq!(adt.identifiers().count(), 1);
        assert!(matches!(adt.recorded_at(), Ok(Some(_))));
    });
}

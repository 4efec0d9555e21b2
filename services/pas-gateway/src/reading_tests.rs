use super::*;
use crate::domain::{Arrival, VisitClass};
use hearthline_nhs::OdsCode;

fn peers() -> Vec<Peer> {
    vec![Peer::new("southampton", OdsCode::parse("RHM").expect("valid"))]
}

fn reading(text: &str) -> Result<Reading, Refusal> {
    let message = Message::parse(text.as_bytes()).expect("the header is readable");
    let peer =
        peers().into_iter().find(|peer| Adt::of(&message).sending_facility().is_some_and(|facility| peer.is_sender(facility))).ok_or(UNKNOWN_FACILITY)?;
    read_by(&message, &peer, &itk())
}

fn itk() -> std::sync::Arc<Profile> {
    Profile::load("itk").expect("shipped")
}

fn adt(trigger: &str, rest: &str) -> String {
    format!("MSH|^~\\&|PAS|RHM|HUB|QRL|20260301120000||ADT^{trigger}|C1|P|2.4\rEVN||20260301120000\r{rest}")
}

#[test]
fn a_number_is_found_in_every_way_that_hospitals_send_it() {
    for pid in [
        "PID|1||RHM1^^^RHM^MR~9990000018^^^NHS^NH",
        "PID|1||9990000018^^^NHS",
        "PID|1||9990000018^^^NHS^HN",
        "PID|1||0123456^^^NHS^HospitalNumber~9990000018^^^NHS^NhsNumber",
        "PID|1|9990000018|9990000018^^^^NH",
        "PID|1||9990000018^06^^^NI",
        "PID|1||1^^^X^MRN~9990000018^^^NHSNBR^NHSNMBR",
        "PID|1||9990000018^^^NHSNMBR",
        "PID|1||999 000 0018^^^NHS^NH",
        "PID|1|9990000018|1234^^^RHM^MR",
    ] {
        let read = reading(&adt("A01", &format!("{pid}\rPV1|1|I"))).expect("taken");
        assert_eq!(read.patient.nhs_number.as_ref().map(NhsNumber::as_str), Some("9990000018"), "{pid}");
    }
    for pid in ["PID|1||9990000019^^^NHS^NH", "PID|1||9999999999^^^NHS^NH", "PID|1||9990000018^^^CHI^NH", "PID|1||9990000018^^^NHS^HospitalNumber"] {
        let read = reading(&adt("A01", &format!("{pid}\rPV1|1|I"))).expect("taken");
        assert_eq!(read.patient.nhs_number, None, "{pid}");
    }
}

#[test]
fn what_can_never_be_taken_names_the_field() {
    let whole = adt("A01", "PID|1||1^^^RHM^MR\rPV1|1|I");
    for (text, code, segment, field) in [
        (whole.replace("|RHM|HUB", "|XYZ|HUB"), AckCode::ApplicationReject, "MSH", Some(4)),
        (whole.replace("ADT^A01", "ORU^R01"), AckCode::ApplicationReject, "MSH", Some(9)),
        (whole.replace("|C1|", "||"), AckCode::ApplicationError, "MSH", Some(10)),
        (whole.replace("20260301120000", "yesterday"), AckCode::ApplicationError, "EVN", Some(2)),
        (whole.replace("PID|1||1^^^RHM^MR\r", ""), AckCode::ApplicationError, "PID", Some(3)),
        (whole.replace("\rPV1|1|I", ""), AckCode::ApplicationError, "PV1", None),
    ] {
        let refusal = reading(&text).expect_err(segment);
        assert_eq!((refusal.code, refusal.error.location.map(|at| (at.segment, at.field))), (code, Some((segment, field))));
    }
    let message = Message::parse(whole.as_bytes()).expect("readable");
    assert!(environment(&message, true).is_ok());
    let test = whole.replace("|P|2.4", "|T|2.4");
    let refusal = environment(&Message::parse(test.as_bytes()).expect("readable"), true).expect_err("not live");
    assert_eq!(refusal.error.code, ErrorCode::UnsupportedProcessingId);
    assert_eq!(refusal.error.location.and_then(|at| at.field), Some(11));
}

#[test]
fn a_site_of_a_trust_speaks_for_it() {
    let text = adt("A01", "PID|1||1^^^RHM^MR\rPV1|1|I").replace("|RHM|HUB", "|RHM01|HUB");
    assert_eq!(reading(&text).expect("taken").peer.name, "southampton");
}

#[test]
fn local_text_in_the_place_of_a_code_does_not_travel() {
    let read = reading(&adt(
        "A01",
        "PID|1||1^^^RHM^MR\rPV1|1|INPATIENT|^^^Mrs Smith's ward|Emerg Other||||||||||by her son|||||V1\rPV2||||||||||||||||||||||||||||||||||||||by her son",
    ))
    .expect("taken");
    let Matter::Visit(Report::Opening(details)) = &read.matter else { panic!("an opening") };
    assert_eq!((details.admission_method.as_str(), details.source.as_str(), details.site.as_str(), details.arrival_code.as_str()), ("", "", "", ""));
    assert_eq!((details.class, details.arrival), (Some(VisitClass::Inpatient), Arrival::Unknown));
}

#[test]
fn the_repeated_hour_of_october_is_marked() {
    let read = reading(&adt("A01", "PID|1||1^^^RHM^MR\rPV1|1|I|||||||||||||||||V1|||||||||||||||||||||||||202610250130")).expect("taken");
    assert_eq!((read.at.zone.as_str(), read.at.ambiguous), ("Europe/London", true));
    let read = reading(&adt("A01", "PID|1||1^^^RHM^MR\rPV1|1|I|||||||||||||||||V1|||||||||||||||||||||||||202610250130+0100")).expect("taken");
    assert_eq!((read.at.zone.as_str(), read.at.ambiguous), ("+01:00", false));
}

#[test]
fn a_visit_without_a_number_is_named_by_patient_and_admission() {
    let admitted = |trigger: &str| reading(&adt(trigger, &format!("PID|1||1^^^RHM^MR\rPV1|1|I{}20260228010000", "|".repeat(42)))).expect("taken").visit;
    assert!(admitted("A01").is_some());
    assert_eq!(admitted("A01"), admitted("A03"));
    assert_eq!(reading(&adt("A03", "PID|1||1^^^RHM^MR\rPV1|1|I")).expect("taken").visit, None);
}

#[test]
fn every_sign_of_death_is_a_death() {
    let visit = "PV1|1|I|||||||||||||||||V1";
    for (trigger, pid, pv1) in [
        ("A31", "PID|1||1^^^RHM^MR||||||||||||||||||||||||||20260228", ""),
        ("A31", "PID|1||1^^^RHM^MR|||||||||||||||||||||||||||Y", ""),
        ("A03", "PID|1||1^^^RHM^MR", "PV1|1|I|||||||||||||||||V1|||||||||||||||||79"),
        ("A08", "PID|1||1^^^RHM^MR|||||||||||||||||||||||||||Y", visit),
    ] {
        assert!(reading(&adt(trigger, &format!("{pid}\r{pv1}"))).expect("taken").patient.death.is_some(), "{trigger} {pid}");
    }
    assert_eq!(reading(&adt("A31", "PID|1||1^^^RHM^MR")).expect("taken").matter, Matter::Nothing("a person's details, which the directory keeps"));
}

#[test]
fn a_date_of_birth_at_midnight_in_summer_time_stays_that_day() {
    for born in ["19400701", "19400701000000", "19400701000000+0100", "194007010000"] {
        let read = reading(&adt("A01", &format!("PID|1||1^^^RHM^MR||||{born}\rPV1|1|I"))).expect("taken");
        assert_eq!(read.patient.date_of_birth.map(|day| day.to_iso()).as_deref(), Some("1940-07-01"), "{born}");
    }
}

#[test]
fn times_without_an_offset_are_on_the_peers_clock() {
    let peer = Peer { time_zone: "Europe/Paris".into(), ..peers().remove(0) };
    let text = adt("A01", "PID|1||1^^^RHM^MR\rPV1|1|I|||||||||||||||||V1|||||||||||||||||||||||||20260701120000");
    let message = Message::parse(text.as_bytes()).expect("readable");
    let (there, here) = (read_by(&message, &peer, &itk()).expect("taken"), read_by(&message, &peers()[0], &itk()).expect("taken"));
    assert_eq!((there.at.zone.as_str(), here.at.at_us - there.at.at_us), ("Europe/Paris", 3_600_000_000));
    assert_eq!(here.order.occurred_us, None);
    assert_eq!(here.order.recorded_us.zip(there.order.recorded_us).map(|(here, there)| here - there), Some(3_600_000_000));
}

#[test]
fn a_day_without_a_time_puts_nothing_in_order() {
    let text = adt("A01", "PID|1||1^^^RHM^MR\rPV1|1|I").replace("EVN||20260301120000", "EVN||20260301120000||||20260301");
    let read = reading(&text).expect("taken");
    assert_eq!((read.order.occurred_us, read.order.recorded_us), (None, read.order.sent_us));
}

#[test]
fn merges_moves_and_new_identifiers_name_both_sides() {
    let pid = "PID|1||40800000^^^RHM^MR~9990000018^^^NHS^NH";
    for trigger in ["A34", "A40", "A47"] {
        let read = reading(&adt(trigger, &format!("{pid}\rMRG|40700000~9990000050^^^NHS^NH"))).expect("taken");
        assert_eq!(read.matter, Matter::Merge);
        let [merged] = &read.merged[..] else { panic!("one merge") };
        assert_eq!(merged.retired_numbers.iter().map(NhsNumber::as_str).collect::<Vec<_>>(), ["9990000050"]);
        // MRG-1 left the authority out.
        let edge = |retired: &str, survivor: &str| (retired.to_owned(), survivor.to_owned());
        assert_eq!(merged.edges(), [edge("40700000\0RHM", "40800000\0RHM"), edge("9990000050", "9990000018")]);
        assert!(merged.retired[0].matches(&LocalId { value: "40700000".into(), authority: Some("RHM".into()), id_type: None }));
    }
    let visit = |trigger: &str, pv1: &str, mrg: &str| reading(&adt(trigger, &format!("{pid}\rPV1|1|I|||||||||||||||||{pv1}\rMRG|{mrg}"))).expect("taken");
    let merged = visit("A42", "V2", "1||||V1");
    assert_eq!((merged.visit, merged.retired_visit), (Some(VisitName::numbered("V2")), Some(VisitName::numbered("V1"))));
    let moved = visit("A45", "V1", "1||||V1");
    assert_eq!((moved.visit, moved.retired_visit, moved.matter), (Some(VisitName::numbered("V1")), None, Matter::Visit(Report::Move)));
    assert_eq!(visit("A45", "", "1||||V1").visit, Some(VisitName::numbered("V1")));
    assert_eq!(visit("A02", "V1", "1||||V0").retired_visit, None);
}

#[test]
fn signals_of_a_death_that_contradict_each_other_are_nobodys_death() {
    let died = |pid: &str| reading(&adt("A31", &format!("PID|1||1^^^RHM^MR{}{pid}", "|".repeat(26)))).expect("taken");
    assert_eq!(died("20260228101500").patient.death.map(|death| death.signal), Some("PID-29 has a time of death"));
    assert_eq!(died("|Y").patient.death.map(|death| death.signal), Some("PID-30 is Y"));
    let doubtful = died("20260228101500|N");
    assert!(doubtful.patient.death.is_none() && doubtful.patient.death_contradicted);
    assert_eq!(doubtful.matter, Matter::Nothing(DEATH_CONTRADICTED));
    assert!(!died("|N").patient.death_contradicted);
}

#[test]
fn what_is_told_of_in_the_hour_that_comes_twice_is_in_order_by_its_receipt() {
    let read = |trigger: &str, shown: &str, received: &str| {
        let text = adt(trigger, "PID|1||1^^^RHM^MR\rPV1|1|I").replace("20260301120000", shown);
        let message = Message::parse(text.as_bytes()).expect("readable");
        let received = received.parse::<jiff::Timestamp>().expect("an instant").as_microsecond();
        read_received(&message, &peers()[0], &itk(), Some(received)).expect("taken")
    };
    let admitted = read("A01", "20261025015000", "2026-10-25T00:50:01Z");
    let left = read("A03", "20261025011000", "2026-10-25T01:10:01Z");
    assert_eq!(left.order.key().0 - admitted.order.key().0, 20 * 60 * 1_000_000);
    assert_eq!(left.at.at_us - admitted.at.at_us, 20 * 60 * 1_000_000);
    assert!(left.at.ambiguous && admitted.at.ambiguous);
}

#[test]
fn fields_that_do_not_hold_what_they_should_are_named_and_their_values_are_not() {
    let pv1_44 = format!("PV1|1|I{}20261399", "|".repeat(42));
    let text = adt("A01", &format!("PID|1||9990000019^^^NHS^NH||||19381399\r{pv1_44}")).replace("EVN||20260301120000", "EVN||NOTADATE");
    let read = reading(&text).expect("taken");
    assert_eq!(
        read.unread,
        ["EVN-2 holds no time", "PV1-44 holds no time", "PID-7 holds no date of birth", "the check digit of the NHS number is wrong (PID-3, PID-2)"]
    );
    let right = adt("A01", "PID|1||9990000018^^^NHS^NH||||19380412\rPV1|1|I");
    assert!(reading(&right).expect("taken").unread.is_empty());
}

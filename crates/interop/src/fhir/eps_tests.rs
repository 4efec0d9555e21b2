use super::*;

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

fn item(number: u128) -> PrescriptionItem<'static> {
    PrescriptionItem {
        id: id(number),
        medicine: Code { code: "39732311000001104", display: "Amoxicillin 250mg capsules" },
        dosage: "2 times a day for 10 days",
        quantity: 20.into(),
        unit: Code { code: "428673006", display: "tablet" },
    }
}

fn order(items: u128) -> PrescriptionOrder<'static> {
    PrescriptionOrder {
        message_id: id(1),
        short_form_id: "24F5DA-A83008-7EFE6Z",
        long_form_id: id(2),
        prescription_type: Code { code: "0101", display: "Primary Care Prescriber - Medical Prescriber" },
        authored_at_us: 1_736_510_400_000_000,
        valid_from: "2025-01-10",
        valid_to: None,
        supply_days: Some(10),
        subject: Subject {
            nhs_number: Some("9990000018"),
            is_nhs_number_verified: false,
            family: "Smith",
            given: &["Ann"],
            gender: Some("female"),
            birth_date: Some("1940-02-03"),
            address_lines: &["1 High St"],
            postcode: "SO16 6YD",
            practice_ods: Some("A83008"),
        },
        prescriber: Prescriber {
            sds_user_id: "555086689106",
            role_profile_id: "200102238987",
            role: Code { code: "R8000", display: "Clinical Practitioner Access Role" },
            body: ProfessionalBody::Gmc,
            registration_number: "6095103",
            din: Some("977677"),
            family: "Boin",
            given: "C",
            prefix: "DR",
            phone: "01234567890",
        },
        organisation: PrescribingOrganisation {
            ods: "A83008",
            name: "Surgery",
            role: Some(Code { code: "76", display: "GP PRACTICE" }),
            address_lines: &["Cheapside"],
            postcode: "DL4 2HP",
            phone: "0115 9737320",
            parent_ods: Some("84H"),
        },
        dispenser: Dispenser::Nominated { ods: "FA565", site: DispensingSite::Pharmacy },
        source_endpoint: "https://directory.spineservices.nhs.uk/STU3/Organization/A83008",
        destination_endpoint: "https://example.test/$process-message",
        items: (0..items).map(|n| item(100 + n)).collect(),
    }
}

fn composed(order: &PrescriptionOrder<'_>, signed: Option<&Signed<'_>>) -> Bundle {
    order.bundle(signed).unwrap_or_else(|error| panic!("{error}"))
}

fn requests(bundle: &Bundle) -> Vec<&MedicationRequest> {
    bundle
        .resources()
        .filter_map(|resource| match resource {
            Resource::MedicationRequest(request) => Some(&**request),
            _ => None,
        })
        .collect()
}

const SIGNED: Signed<'static> = Signed { signed_at_us: 1_736_510_460_000_000, signature: b"<Signature/>" };

#[test]
fn a_message_begins_with_its_header_and_ends_with_one_provenance() {
    let bundle = composed(&order(2), Some(&SIGNED));
    let kinds: Vec<String> = bundle
        .resources()
        .map(|resource| {
            let json = String::from_utf8(resource.to_json()).expect("utf-8");
            json.split('"').nth(3).unwrap_or_default().to_owned()
        })
        .collect();
    assert_eq!(kinds, ["MessageHeader", "MedicationRequest", "MedicationRequest", "Patient", "PractitionerRole", "Practitioner", "Organization", "Provenance"]);
    let json = String::from_utf8(bundle.to_json()).expect("utf-8");
    let targets: Vec<&str> = bundle.entry.iter().filter_map(|entry| entry.full_url.as_deref()).collect();
    for reference in json.split("\"reference\":\"").skip(1) {
        let url = reference.split('"').next().unwrap_or_default();
        assert!(targets.contains(&url), "{url}");
    }
}

#[test]
fn one_to_four_items_are_allowed() {
    for (items, allowed) in [(0, false), (1, true), (4, true), (5, false)] {
        assert_eq!(order(items).bundle(None).is_ok(), allowed, "{items} items");
    }
}

#[test]
fn what_must_be_identical_across_items_is() {
    let bundle = composed(&order(4), None);
    let shared = |request: &MedicationRequest| {
        let mut copy = request.clone();
        copy.identifier.clear();
        copy
    };
    let all = requests(&bundle);
    assert!(all.iter().all(|request| shared(request) == shared(all[0])));
    let numbers: Vec<_> = all.iter().filter_map(|request| request.identifier[0].value.clone()).collect();
    assert_eq!(numbers.iter().collect::<std::collections::BTreeSet<_>>().len(), 4);
}

#[test]
fn the_signature_does_not_change_what_is_signed() {
    let order = order(2);
    let plain = composed(&order, None);
    let signed = composed(&order, Some(&SIGNED));
    assert_eq!(digest(&plain), digest(&signed));
    assert_eq!(order.digest().ok(), Some(digest(&plain)));
    assert_eq!(signature_of(&signed).as_deref(), Some(&b"<Signature/>"[..]));
    assert_eq!(signature_of(&plain), None);
    let read = Bundle::parse(&signed.to_json()).unwrap_or_else(|error| panic!("{error}"));
    assert!(read == signed);
    assert_eq!(digest(&read), digest(&signed));
}

#[test]
fn exchanging_the_patient_or_a_dose_changes_the_digest() {
    let original = order(1);
    let mut other_patient = original.clone();
    other_patient.subject.nhs_number = Some("9990000050");
    let mut other_dose = original.clone();
    other_dose.items[0].dosage = "4 times a day for 10 days";
    let digests = [&original, &other_patient, &other_dose].map(|order| digest(&composed(order, None)));
    assert!(digests[0] != digests[1] && digests[0] != digests[2]);
}

#[test]
fn without_a_nomination_no_performer_is_named() {
    let bundle = composed(&PrescriptionOrder { dispenser: Dispenser::NotNominated, ..order(1) }, None);
    let dispense = requests(&bundle)[0].dispense_request.as_ref().expect("a dispense request");
    assert!(dispense.performer.is_none());
    let site = dispense.extension[0].value_coding.as_ref().and_then(|coding| coding.code.as_deref());
    assert_eq!(site, Some("0004"));
}

#[test]
fn a_cancellation_holds_exactly_one_item() {
    let order = order(3);
    let bundle = order.cancel(id(9), id(101), CancelReason::ClinicalGrounds, &order.prescriber).unwrap_or_else(|error| panic!("{error}"));
    let all = requests(&bundle);
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].status.as_deref(), Some("cancelled"));
    assert_eq!(all[0].status_reason.as_ref().and_then(CodeableConcept::first_code), Some("0004"));
    let missing = order.cancel(id(9), id(999), CancelReason::ClinicalGrounds, &order.prescriber);
    assert!(matches!(missing, Err(FhirError::NoSuchItem)));
}

#[test]
fn replies_are_understood() {
    let read = |json: &str| EpsReply::parse(json.as_bytes()).expect("readable");
    assert_eq!(read(r#"{"resourceType":"OperationOutcome","issue":[{"code":"informational","severity":"information"}]}"#), EpsReply::Accepted);
    assert_eq!(
        read(
            r#"{"resourceType":"OperationOutcome","issue":[{"code":"processing","severity":"error",
            "details":{"coding":[{"code":"DUPLICATE_PRESCRIPTION_ID"}]}}]}"#
        ),
        EpsReply::Refused { codes: vec!["DUPLICATE_PRESCRIPTION_ID".into()], is_duplicate: true }
    );
    assert_eq!(read(r#"{"resourceType":"Patient"}"#), EpsReply::Unknown);
    assert_eq!(read(r#"{"resourceType":"Slot","start":"x"}"#), EpsReply::Unknown);
}

#[test]
fn a_prescription_that_may_still_be_dispensed_needs_a_telephone_call() {
    for (code, call) in [("R-0001", false), ("R-0002", true), ("R-0003", true), ("R-0004", true), ("R-0007", true)] {
        assert_eq!(CancelOutcome::of(code).needs_call_to_dispenser(), call, "{code}");
    }
    assert_eq!(CancelOutcome::of("5000"), CancelOutcome::Failed { code: "5000".into() });
}

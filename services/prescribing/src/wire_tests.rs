use super::*;
use hearthline_contracts::envelope::Envelope;

fn fact(event: &NewEvent) -> Fact {
    let envelope = Envelope { event_id: vec![1; 16].into(), stream_id: vec![2; 16].into(), stream_version: 1, ..Default::default() };
    let payload = wire::compose(&envelope, None, &event.fact);
    Fact { topic: "hearthline.prescribing.v1", envelope, sealed: None, payload }
}

fn again(event: &Event) -> Event {
    let encoded = encode(event, Occurred::at(5));
    let personal = encoded.personal.as_ref().map(|bytes| PersonalBytes::of(bytes.to_vec()));
    decode(&fact(&encoded), personal.as_ref()).expect("what was encoded decodes")
}

fn drafted_event() -> Event {
    Event::Drafted(Drafted {
        call: CallId::from_bytes([1; 16]),
        call_version: 7,
        resident: ResidentId::from_bytes([2; 16]),
        is_provisional: true,
        prescriber_type: PrescriberType::NurseIndependent,
        items: vec![Item {
            id: [3; 16],
            medicine: Sctid::parse("39732311000001104").expect("valid"),
            quantity: Quantity::parse("2.5").expect("valid"),
            unit: Sctid::parse("428673006").expect("valid"),
            display: Personal::of("a medicine".to_owned()),
            dosage: Personal::of("now and then".to_owned()),
        }],
        indication: Personal::of("cough".to_owned()),
    })
}

#[test]
fn every_event_survives_the_wire() {
    let delivery = DeliveryId::from_bytes([4; 16]);
    let task = Task { id: TaskId::from_bytes([5; 16]), kind: "prescription_rejected".to_owned(), due_at: 9, subject: [4; 16] };
    let number = PrescriptionOrderNumber::parse("24F5DA-A83008-7EFE6Z").expect("valid");
    let events = [
        drafted_event(),
        Event::PharmacyChosen {
            pharmacy: PharmacyId::from_bytes([6; 16]),
            ods: OdsCode::parse("FA565").expect("valid"),
            distance_m: Some(12),
            nearest_open: false,
            override_reason: Some(Override::Stock),
        },
        Event::Signed(Signed { order_number: number, long_form_id: [7; 16], bundle_digest: [8; 32], signed_at: 10 }),
        Event::Submitted(Submitted { delivery, bundle_digest: [8; 32], attempt: 2 }),
        Event::Accepted { delivery, how: Answer::AlreadyHeld },
        Event::Rejected { delivery, code: "PATIENT_DECEASED".to_owned() },
        Event::TaskOpened(task.clone()),
        Event::TaskClosed { id: task.id, kind: task.kind, overtaken: true },
        Event::PersonalDataDestroyed,
    ];
    for event in events {
        assert_eq!(again(&event), event);
    }
}

#[test]
fn what_the_medicine_is_stays_out_of_the_clear_part() {
    let encoded = encode(&drafted_event(), Occurred::at(5));
    assert!(!encoded.fact.windows(10).any(|w| w == b"a medicine"));
}

#[test]
fn a_destroyed_personal_part_decodes_as_destroyed() {
    let encoded = encode(&drafted_event(), Occurred::at(5));
    let Ok(Event::Drafted(drafted)) = decode(&fact(&encoded), Some(&Personal::Destroyed)) else { panic!("a draft") };
    assert_eq!(drafted.items[0].display, Personal::Destroyed);
    assert_eq!(drafted.indication, Personal::Destroyed);
}

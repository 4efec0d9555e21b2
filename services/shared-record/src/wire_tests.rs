use super::*;
use hearthline_contracts::envelope::Envelope;

const CALL: [u8; 16] = [9; 16];

fn again(event: &Event) -> Event {
    let encoded = encode(event, 5);
    let envelope = Envelope {
        event_id: vec![1; 16].into(),
        stream_id: vec![2; 16].into(),
        stream_version: 1,
        correlation_id: Bytes::copy_from_slice(&CALL),
        ..Default::default()
    };
    let payload = wire::compose(&envelope, None, &encoded.fact);
    decode(&Fact { topic: "hearthline.shared-record.v1", envelope, sealed: None, payload }).expect("what was encoded decodes")
}

fn parcel(home: u8) -> Parcel {
    Parcel { call: CallId::from_bytes(CALL), document: [3; 16], version: 2, home: HomeId::from_bytes([home; 16]), blob: [0; 16] }
}

#[test]
fn every_event_survives_the_wire() {
    let delivery = DeliveryId::from_bytes([4; 16]);
    let subject = Subject { resident: ResidentId::from_bytes([5; 16]), is_provisional: true };
    let source = Source { stream: StreamId::from_bytes([6; 16]), version: 4 };
    let task = Task { id: TaskId::from_bytes([7; 16]), kind: "no_secure_email".to_owned(), due_at: 9, subject: [3; 16] };
    let events = [
        Event::Composed(Composed {
            call: CallId::from_bytes(CALL),
            call_version: 8,
            subject,
            home: HomeId::from_bytes([1; 16]),
            document: [3; 16],
            version: 2,
            consultation: source,
            prescriptions: vec![source],
            digest: [8; 32],
            blob: [9; 16],
        }),
        Event::Uploaded { delivery, parcel: parcel(0), destination: "record".to_owned(), location: "Bundle/1".to_owned(), how: Confirmation::LookedUp },
        Event::UploadFailed { delivery, parcel: parcel(0), destination: "record".to_owned(), code: "security".to_owned() },
        Event::Emailed { delivery, parcel: parcel(1), how: Confirmation::Person },
        Event::EmailFailed { delivery, parcel: parcel(1), code: "smtp_554".to_owned() },
        Event::Withheld { call: CallId::from_bytes(CALL), why: Withholding::ConsentRefused },
        Event::Retracted { document: [3; 16], version: 2, why: Retraction::WrongPerson, subject },
        Event::TaskOpened(task.clone()),
        Event::TaskClosed { id: task.id, kind: task.kind, overtaken: false },
        Event::PersonalDataDestroyed,
    ];
    for event in events {
        assert_eq!(again(&event), event);
    }
}

#[test]
fn a_parcel_survives_its_row() {
    let parcel = Parcel { blob: [8; 16], ..parcel(1) };
    assert_eq!(parcel_in(&parcel_out(&parcel)), Ok(parcel));
    assert!(parcel_in(b"{}").is_err());
}

//! Events put together, taken apart and cut.

use bytes::Bytes;
use hearthline_contracts::call::{CallAnswered, CallEvent, CallOpened, Channel, call_event};
use hearthline_contracts::envelope::{Actor, ActorRole, Envelope, Environment, Sealed};
use hearthline_contracts::outcome::OutcomeEvent;
use hearthline_contracts::types::{ResidentRef, TaskOpened};
use hearthline_contracts::wire::{self, ContextEvent, Malformed};
use hearthline_contracts::{Context, call, facts};
use proptest::prelude::*;
use prost::Message;

const NAME: &[u8] = b"Zebedee Quillfeather";

fn envelope() -> Envelope {
    Envelope {
        event_id: vec![1; 16].into(),
        stream_id: vec![2; 16].into(),
        stream_version: 7,
        incarnation: 1,
        occurred_at_us: 1_595_816_999_000_000,
        occurred_zone: "Europe/London".into(),
        occurred_ambiguous: false,
        recorded_at_us: 1_595_817_000_000_000,
        actor: Some(Actor { role: ActorRole::CareHome.into(), pseudonym: vec![3; 16].into() }),
        controller_ods: "RXX".into(),
        environment: Environment::Test.into(),
        causation_id: vec![4; 16].into(),
        correlation_id: vec![5; 16].into(),
        schema_revision: 1,
        least_reader_revision: 1,
        late_entry: true,
    }
}

fn sealed() -> Sealed {
    let ciphertext = [NAME, [0xee; 16].as_slice()].concat();
    Sealed { key_id: vec![6; 16].into(), nonce: vec![7; 12].into(), ciphertext: ciphertext.into() }
}

fn opened() -> CallOpened {
    CallOpened {
        home_id: vec![8; 16].into(),
        channel: Channel::Video.into(),
        resident: Some(ResidentRef { resident_id: vec![9; 16].into(), status: 1 }),
        ..CallOpened::default()
    }
}

fn payload() -> Bytes {
    wire::compose(&envelope(), Some(&sealed()), &wire::fact_bytes::<CallEvent>(opened()))
}

fn event(bytes: &Bytes) -> CallEvent {
    CallEvent::decode(bytes.clone()).expect("an event")
}

#[test]
fn what_is_composed_is_what_prost_would_have_encoded() {
    let whole = CallEvent { envelope: Some(envelope()), sealed: Some(sealed()), fact: Some(call_event::Fact::CallOpened(opened())) };
    assert_eq!(payload(), whole.encode_to_vec());
    let without = CallEvent { sealed: None, ..whole };
    assert_eq!(wire::compose(&envelope(), None, &wire::fact_bytes::<CallEvent>(opened())), without.encode_to_vec());
}

#[test]
fn what_was_composed_comes_apart_again() {
    let payload = payload();
    let parts = wire::split(&payload).expect("an event");
    assert_eq!(parts.envelope, envelope());
    assert_eq!(parts.sealed, Some(sealed()));
    assert_eq!((parts.event_id, parts.stream_id), ([1; 16], [2; 16]));
    assert_eq!(facts::fact_name(Context::Call, parts.fact_number), Some("CallOpened"));
    assert_eq!(wire::fact_number(&parts.fact), Ok(parts.fact_number));
    let fact = wire::fact_of::<CallEvent>(parts.fact.clone()).expect("a fact");
    assert_eq!(fact, Some(call_event::Fact::CallOpened(opened())));
    assert_eq!(wire::compose(&parts.envelope, parts.sealed.as_ref(), &parts.fact), payload);
}

#[test]
fn a_fact_is_not_copied_out_of_its_payload() {
    let payload = payload();
    let parts = wire::split(&payload).expect("an event");
    assert!(payload.as_ptr_range().contains(&parts.fact.as_ptr()));
    assert!(payload.as_ptr_range().contains(&parts.envelope.event_id.as_ptr()));
}

#[test]
fn an_empty_fact_is_still_a_fact() {
    let payload = wire::compose(&envelope(), None, &wire::fact_bytes::<CallEvent>(CallAnswered {}));
    let parts = wire::split(&payload).expect("an event");
    assert_eq!(facts::fact_name(Context::Call, parts.fact_number), Some("CallAnswered"));
}

#[test]
fn the_same_fact_has_the_same_number_in_every_context_where_it_is_common() {
    let task = TaskOpened { kind: "call_back".into(), ..TaskOpened::default() };
    assert_eq!(wire::fact_bytes::<CallEvent>(task.clone()), wire::fact_bytes::<OutcomeEvent>(task));
    let common = |context| facts::facts_of(context).filter(|fact| fact.number >= facts::FIRST_COMMON_FACT);
    let of_call: Vec<_> = common(Context::Call).map(|fact| (fact.number, fact.name)).collect();
    assert_eq!(of_call, [(1000, "TaskOpened"), (1001, "TaskClosed"), (1002, "PersonalDataDestroyed")]);
    for context in Context::ALL {
        assert_eq!(common(context).map(|fact| (fact.number, fact.name)).collect::<Vec<_>>(), of_call);
        assert!(facts::facts_of(context).all(|fact| fact.number >= facts::FIRST_FACT));
        assert!(facts::facts_of(context).is_sorted_by_key(|fact| fact.number));
    }
    assert_eq!(<OutcomeEvent as ContextEvent>::CONTEXT, Context::Outcome);
    assert_eq!(facts::fact_number(Context::Outcome, "OutcomeDecided"), Some(16));
    assert_eq!(facts::fact_name(Context::Outcome, 999), None);
}

#[test]
fn cutting_the_sealed_part_leaves_everything_else_byte_by_byte() {
    let payload = payload();
    let cut = wire::without_personal(&payload).expect("an event");
    let expected = CallEvent { sealed: None, ..event(&payload) };
    assert_eq!(cut, expected.encode_to_vec());
    assert!(!cut.windows(NAME.len()).any(|window| window == NAME));
    assert_eq!(wire::without_personal(&cut).expect("an event"), cut);
}

#[test]
fn every_sealed_part_is_cut_wherever_it_stands_and_unknown_fields_stay() {
    let sealed_only = CallEvent { sealed: Some(sealed()), ..CallEvent::default() }.encode_to_vec();
    let unknown = [0x18, 0x05, 0x92, 0x7d, 0x01, 0xff];
    let rest = wire::compose(&envelope(), None, &wire::fact_bytes::<CallEvent>(opened()));
    let payload = Bytes::from([&sealed_only[..], &unknown, &sealed_only, &rest, &sealed_only].concat());
    assert_eq!(wire::without_personal(&payload).expect("readable"), [&unknown[..], &rest].concat());
}

#[test]
fn an_event_of_a_fact_this_version_does_not_know_comes_apart_all_the_same() {
    // Field 500, two bytes.
    let fact = [0xa2, 0x1f, 0x02, 0x08, 0x01];
    let payload = wire::compose(&envelope(), None, &fact);
    let parts = wire::split(&payload).expect("an event");
    assert_eq!((parts.fact_number, parts.fact.as_ref()), (500, fact.as_slice()));
    assert_eq!(facts::fact_name(Context::Call, 500), None);
    assert_eq!(wire::fact_of::<CallEvent>(parts.fact), Ok(None));
}

#[test]
fn the_order_of_the_parts_does_not_matter() {
    let fact = wire::fact_bytes::<CallEvent>(opened());
    let head = CallEvent { envelope: Some(envelope()), sealed: Some(sealed()), fact: None }.encode_to_vec();
    let turned = Bytes::from([&fact[..], &head].concat());
    assert_eq!(wire::split(&turned), wire::split(&payload()));
}

#[test]
fn bytes_that_are_not_one_event_are_refused_by_name() {
    let fact = wire::fact_bytes::<CallEvent>(opened());
    let compose = |envelope: &Envelope| wire::compose(envelope, Some(&sealed()), &fact);
    let sealed_as = |sealed: Sealed| wire::compose(&envelope(), Some(&sealed), &fact);
    let whole = payload();
    let head = CallEvent { envelope: Some(envelope()), ..CallEvent::default() }.encode_to_vec();
    let short = Bytes::from_static(&[1; 15]);
    let cases: Vec<(Bytes, Malformed)> = vec![
        (Bytes::new(), Malformed::Missing("envelope")),
        (fact.clone(), Malformed::Missing("envelope")),
        (head.clone().into(), Malformed::Missing("fact")),
        ([&whole[..], &head].concat().into(), Malformed::Repeated("envelope")),
        ([&whole[..], &fact].concat().into(), Malformed::Repeated("fact")),
        (whole.slice(..whole.len() - 1), Malformed::Truncated),
        (vec![0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01].into(), Malformed::Truncated),
        (vec![0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02].into(), Malformed::Varint),
        (vec![0xff; 11].into(), Malformed::Varint),
        (vec![0x0a, 0x80].into(), Malformed::Truncated),
        (vec![0x02, 0x00].into(), Malformed::FieldNumber),
        (vec![0x08, 0x01].into(), Malformed::WireType { number: 1, wire_type: 0 }),
        (vec![0x83, 0x01].into(), Malformed::WireType { number: 16, wire_type: 3 }),
        (compose(&Envelope { event_id: short.clone(), ..envelope() }), Malformed::Length("the event id")),
        (compose(&Envelope { stream_id: Bytes::new(), ..envelope() }), Malformed::Length("the stream id")),
        (compose(&Envelope { stream_version: 0, ..envelope() }), Malformed::Version),
        (sealed_as(Sealed { key_id: short.clone(), ..sealed() }), Malformed::Length("the key id")),
        (sealed_as(Sealed { nonce: short.clone(), ..sealed() }), Malformed::Length("the nonce")),
        (sealed_as(Sealed { ciphertext: short, ..sealed() }), Malformed::Length("the ciphertext")),
    ];
    for (bytes, expected) in cases {
        assert_eq!(wire::split(&bytes), Err(expected));
    }
}

#[test]
fn a_wrong_envelope_is_told_from_a_wrong_fact() {
    let fact = wire::fact_bytes::<CallEvent>(opened());
    let broken = Bytes::from([&[0x0a, 0x02, 0x0a, 0x05], &fact[..]].concat());
    assert!(matches!(wire::split(&broken), Err(Malformed::Undecodable { part: "envelope", .. })));
    // Field 16 (CallOpened) whose first field claims more bytes than there are.
    let fact = Bytes::from_static(&[0x82, 0x01, 0x02, 0x0a, 0x05]);
    assert!(matches!(wire::fact_of::<CallEvent>(fact), Err(Malformed::Undecodable { part: "fact", .. })));
}

#[test]
fn debug_output_of_personal_messages_shows_nothing_of_them() {
    let name = String::from_utf8(NAME.to_vec()).expect("text");
    let personal = call::CallOpenedPersonal {
        reason_text: name.clone(),
        caller_name: name.clone(),
        provisional_resident: Some(hearthline_contracts::types::Demographics { family_name: name.clone(), ..Default::default() }),
    };
    assert!(!format!("{personal:?} {:?}", personal.provisional_resident).contains(&name));
}

#[test]
fn associated_data_differs_when_any_of_its_parts_does() {
    let data = wire::associated_data(&[1; 16], &[2; 16], 0x0304, 16);
    assert_eq!(data[..16], [1; 16]);
    assert_eq!(data[16..32], [2; 16]);
    assert_eq!(data[32..], [0, 0, 0, 0, 0, 0, 3, 4, 0, 0, 0, 16]);
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let bytes = Bytes::from(bytes);
        let _ = wire::split(&bytes);
        let _ = wire::without_personal(&bytes);
    }

    #[test]
    fn a_damaged_event_never_panics(position in 0..payload().len(), byte in any::<u8>()) {
        let mut bytes = payload().to_vec();
        bytes[position] = byte;
        let bytes = Bytes::from(bytes);
        if let Ok(parts) = wire::split(&bytes) {
            let _ = wire::fact_of::<CallEvent>(parts.fact);
        }
    }

    #[test]
    fn what_split_accepts_prost_decodes_alike(position in 0..payload().len(), byte in any::<u8>()) {
        let mut bytes = payload().to_vec();
        bytes[position] = byte;
        let bytes = Bytes::from(bytes);
        if let (Ok(parts), Ok(whole)) = (wire::split(&bytes), CallEvent::decode(bytes.clone())) {
            prop_assert_eq!(Some(&parts.envelope), whole.envelope.as_ref());
            prop_assert_eq!(&parts.sealed, &whole.sealed);
            prop_assert_eq!(wire::fact_of::<CallEvent>(parts.fact).expect("prost took it"), whole.fact);
        }
    }
}

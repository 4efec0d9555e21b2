use hearthline_nhs::{CallId, EventId, IdentifierError, StreamId, TaskId};
use proptest::prelude::*;

const UUID: &str = "01909f3e-7c1a-7b2d-8e4f-0a1b2c3d4e5f";

#[test]
fn an_identifier_is_written_as_a_uuid() {
    let id = CallId::parse(UUID).unwrap();
    assert_eq!(id.to_string(), UUID);
    assert_eq!(format!("{id:?}"), format!("CallId({UUID})"));
    assert_eq!(CallId::parse(&UUID.replace('-', "").to_uppercase()), Ok(id));
}

#[test]
fn a_stream_is_named_by_its_entity() {
    let call = CallId::parse(UUID).unwrap();
    let stream = StreamId::from(call);
    assert_eq!(stream.bytes(), call.bytes());
    assert_eq!(CallId::of_stream(stream), call);
}

#[test]
fn other_texts_and_lengths_are_refused() {
    for text in [
        "",
        "01909f3e",
        "01909f3e-7c1a-7b2d-8e4f-0a1b2c3d4e5",
        "01909f3e-7c1a-7b2d-8e4f-0a1b2c3d4e5f0",
        "01909f3e7-c1a-7b2d-8e4f-0a1b2c3d4e5f",
        "01909f3e-7c1a-7b2d-8e4f-0a1b2c3d4e5g",
        "{01909f3e-7c1a-7b2d-8e4f-0a1b2c3d4e}",
    ] {
        assert_eq!(TaskId::parse(text), Err(IdentifierError), "{text}");
    }
    assert_eq!(EventId::try_from(&[0_u8; 15][..]), Err(IdentifierError));
    assert_eq!(EventId::try_from(&[7_u8; 16][..]), Ok(EventId::from_bytes([7; 16])));
}

proptest! {
    #[test]
    fn an_identifier_survives_both_notations(bytes: [u8; 16]) {
        let id = EventId::from_bytes(bytes);
        let written = id.to_string();
        prop_assert_eq!(EventId::parse(&written).unwrap(), id);
        prop_assert_eq!(EventId::parse(&written.replace('-', "")).unwrap(), id);
        prop_assert_eq!(id.bytes(), &bytes);
    }

    #[test]
    fn no_text_makes_parsing_panic(text in "\\PC*", near in "[0-9a-f-]{36}") {
        let _ = EventId::parse(&text);
        let _ = EventId::parse(&near);
    }
}

//! Properties over arbitrary input: nothing panics, and how a stream is cut does not matter.

use bytes::BytesMut;
use hearthline_interop::hl7v2::write::{Header, MessageWriter};
use hearthline_interop::hl7v2::{Adt, Hl7Time, Hl7TimeError, Message, Separators, batch};
use hearthline_interop::mllp::{Decoder, Event, encode};
use jiff::civil::Date;
use jiff::tz::{Offset, TimeZone};
use proptest::collection::vec;
use proptest::prelude::*;

fn decode(chunks: &[&[u8]]) -> Vec<Event> {
    let mut decoder = Decoder::new(48);
    let mut events = Vec::new();
    for chunk in chunks {
        decoder.push(chunk);
        events.extend(std::iter::from_fn(|| decoder.poll()));
    }
    decoder.finish();
    events.extend(std::iter::from_fn(|| decoder.poll()));
    events
}

/// Bytes that frames are made of, so that framing happens often.
fn wire_byte() -> impl Strategy<Value = u8> {
    prop_oneof![Just(0x0B), Just(0x1C), Just(0x0D), Just(0x0A), Just(0xEF), Just(0xBB), Just(0xBF), Just(b'M'), any::<u8>()]
}

fn message_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("|"),
        Just("^"),
        Just("~"),
        Just("\\"),
        Just("&"),
        Just("\r"),
        Just("\n"),
        Just("PID|"),
        Just("PV1|"),
        Just("MRG|"),
        Just("EVN|"),
        Just("\"\""),
        Just("9990000018"),
        Just("NHS"),
        Just("NH"),
        Just("20250110"),
        Just("\\X0D\\"),
        Just("é"),
        Just("x"),
    ];
    vec(piece, 0..120).prop_map(|pieces| format!("MSH|^~\\&|A|B|C|D|20250110||ADT^A01|1|P|2.4\r{}", pieces.concat()))
}

/// Five different delimiters, and a segment of texts between them.
fn delimited() -> impl Strategy<Value = (Vec<char>, String)> {
    let delimiters = Just("|^~\\&#!$%*+-/:;<=>?@_`{}()[],.'".chars().collect::<Vec<char>>()).prop_shuffle();
    let piece = prop_oneof![6 => (0_usize..5).prop_map(Err), 3 => "[a-z0-9 é]{0,9}".prop_map(Ok), 1 => "[a-z \"]{0,90}".prop_map(Ok)];
    (delimiters, vec(piece, 0..80)).prop_map(|(delimiters, pieces)| {
        let text = pieces.into_iter().map(|piece| piece.unwrap_or_else(|at| delimiters[at].to_string())).collect();
        (delimiters, text)
    })
}

/// As a code is read from raw text: the first subcomponent, trimmed, if there is anything.
fn code(raw: Option<&str>, subcomponent: char) -> Option<&str> {
    raw?.split(subcomponent).next().filter(|text| *text != "\"\"").map(str::trim).filter(|text| !text.is_empty())
}

fn look_at(raw: &[u8]) {
    let Ok(message) = Message::parse(raw) else {
        return;
    };
    for segment in message.segments() {
        let pieces: Vec<&str> = segment.raw().split('|').collect();
        for number in 0..12 {
            let field = segment.field(number);
            if number > 0 && segment.id() != "MSH" && message.separators().field == b'|' {
                assert_eq!(field.value().text(), pieces.get(number).copied().filter(|piece| !["", "\"\""].contains(piece)));
            }
            for repetition in field.repetitions() {
                for component in (0..6).map(|n| repetition.component(n)) {
                    let _ = (component.decoded(), component.subcomponent(2), repetition.is_delete());
                }
            }
        }
    }
    for adt in Adt::all(&message) {
        let _ = (adt.nhs_number_candidates(), adt.visit_time(), adt.birth_date(), adt.death(), adt.legal_name());
        let _ = (adt.addresses().count(), adt.discarded_identifiers().count(), adt.location(), adt.registered_practice());
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(raw in vec(any::<u8>(), 0..300)) {
        look_at(&raw);
        let _ = batch::split(&raw);
        let headed: Vec<u8> = b"MSH|^~\\&|".iter().copied().chain(raw).collect();
        look_at(&headed);
        let _ = batch::split(&headed);
    }

    #[test]
    fn arbitrary_messages_never_panic(text in message_text()) {
        look_at(text.as_bytes());
        let _ = batch::split(text.as_bytes());
    }

    #[test]
    fn arbitrary_times_never_panic(text in "[0-9]{0,16}[.+:Z%-]?[0-9]{0,5}") {
        let london = TimeZone::get("Europe/London").expect("it is compiled in");
        prop_assert_eq!(Hl7Time::parse(&text), Hl7Time::parse_in(&text, &london));
    }

    #[test]
    fn parts_are_what_plain_splitting_finds((delimiters, text) in delimited()) {
        let [field, component, repetition, escape, subcomponent] = [0, 1, 2, 3, 4].map(|at| delimiters[at]);
        let raw = format!("MSH{field}{component}{repetition}{escape}{subcomponent}{field}A\rPID{field}1{field}{field}{text}\r");
        let message = Message::parse(raw.as_bytes()).map_err(|e| TestCaseError::fail(e.to_string()))?;
        let pid = message.segment("PID").expect("it was written");
        let fields: Vec<&str> = pid.raw().split(field).collect();
        for number in 1..fields.len() + 2 {
            let (read, repetitions) = (pid.field(number), fields.get(number).map(|raw| raw.split(repetition).collect::<Vec<_>>()));
            let repetitions = repetitions.unwrap_or_default();
            prop_assert_eq!(read.repetitions().count(), repetitions.len());
            for (found, expected) in read.repetitions().zip(&repetitions) {
                for (at, expected) in expected.split(component).map(Some).chain([None]).enumerate() {
                    prop_assert_eq!(found.component(at + 1).code(), code(expected, subcomponent));
                }
            }
            let first = |at| repetitions.first().and_then(|first| first.split(component).nth(at));
            prop_assert_eq!(read.code(), code(first(0), subcomponent));
            for at in 0..6 {
                let expected = code(first(at), subcomponent);
                prop_assert_eq!(read.component(at + 1).code(), expected);
                prop_assert_eq!(read.component(at + 1).decoded(), expected.map(|text| message.separators().unescape(text)));
            }
        }
        let adt = Adt::of(&message);
        let identifiers = fields[3].split(repetition).filter_map(|raw| {
            let part = |at| code(raw.split(component).nth(at), subcomponent);
            Some((part(0)?, part(1), part(3), part(4)))
        });
        prop_assert!(adt.identifiers().map(|id| (id.value, id.check_digit, id.authority, id.id_type)).eq(identifiers));
    }

    #[test]
    fn a_time_is_the_instant_the_time_zone_database_says(
        (year, month, day, hour, minute, second) in (1900_i16..2200, 1_i8..13, 1_i8..32, 0_i8..24, 0_i8..60, 0_i8..60),
        micros in 0_i32..1_000_000,
        offset in proptest::option::of(-14 * 60_i32..=14 * 60),
    ) {
        let Ok(date) = Date::new(year, month, day) else {
            let raw = format!("{year}{month:02}{day:02}");
            prop_assert_eq!(Hl7Time::parse(&raw), Err(Hl7TimeError::OutOfRange));
            return Ok(());
        };
        let zone = offset.map_or(String::new(), |minutes| format!("{}{:02}{:02}", if minutes < 0 { '-' } else { '+' }, minutes.abs() / 60, minutes.abs() % 60));
        let raw = format!("{year}{month:02}{day:02}{hour:02}{minute:02}{second:02}.{micros:06}{zone}");
        let wall = match offset {
            Some(minutes) => TimeZone::fixed(Offset::from_seconds(minutes * 60).expect("in range")),
            None => TimeZone::get("Europe/London").expect("it is compiled in"),
        };
        let expected = wall.to_timestamp(date.at(hour, minute, second, micros * 1000)).expect("in range");
        prop_assert_eq!(Hl7Time::parse(&raw).map(|time| time.instant_us), Ok(expected.as_microsecond()));
    }

    #[test]
    fn the_cut_of_a_stream_does_not_change_what_is_found(
        stream in vec(wire_byte(), 0..400),
        cuts in vec(1_usize..40, 0..60),
    ) {
        let whole = decode(&[&stream]);
        let mut rest = stream.as_slice();
        let mut chunks = Vec::new();
        for cut in cuts {
            let (chunk, tail) = rest.split_at(cut.min(rest.len()));
            chunks.push(chunk);
            rest = tail;
        }
        chunks.push(rest);
        prop_assert_eq!(decode(&chunks), whole.clone());
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        prop_assert_eq!(decode(&bytes), whole);
    }

    #[test]
    fn encoded_messages_come_back_in_order(messages in vec("MSH[ -~]{0,40}", 0..8), cut in 1_usize..30) {
        let mut stream = BytesMut::new();
        for message in &messages {
            encode(message.as_bytes(), &mut stream);
        }
        let chunks: Vec<&[u8]> = stream.chunks(cut).collect();
        let frames: Vec<Event> = messages.iter().map(|m| Event::Frame(m.clone().into_bytes().into())).collect();
        prop_assert_eq!(decode(&chunks), frames);
    }

    #[test]
    fn what_is_escaped_reads_back(text in any::<String>()) {
        let mut written = String::new();
        Separators::STANDARD.escape_into(&text, &mut written);
        prop_assert!(written.bytes().all(|b| (0x20..0x7F).contains(&b)));
        let read = Separators::STANDARD.unescape(&written);
        prop_assert_eq!(read.as_ref(), text.as_str());
    }

    #[test]
    fn a_written_message_reads_back(values in vec("\\PC{1,20}", 1..12)) {
        let header = Header {
            sending_application: "PAS", sending_facility: "RHM", receiving_application: "HUB",
            receiving_facility: "QRL", sent_at: "20250110120000+0000", message_type: "ADT^A08",
            control_id: "1", processing_id: "T", version: "2.4",
        };
        let mut writer = MessageWriter::new(&header);
        let mut zzz = writer.segment("ZZZ");
        for (at, value) in values.iter().enumerate() {
            zzz = zzz.components(at + 1, &["k", value]);
        }
        zzz.end();
        let bytes = writer.finish();
        prop_assert!(bytes.is_ascii());
        let message = Message::parse(&bytes).map_err(|e| TestCaseError::fail(e.to_string()))?;
        for (at, value) in values.iter().enumerate() {
            let read = message.field("ZZZ", at + 1).component(2).value().text();
            prop_assert_eq!(read.map(|raw| message.separators().unescape(raw).into_owned()), Some(value.clone()));
        }
    }
}

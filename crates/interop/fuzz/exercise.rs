//! What must hold of any input. Used by the fuzz targets, and by a bounded test that always runs.
#![allow(dead_code, reason = "each fuzz target uses one half")]

use hearthline_interop::hl7v2::{AckMode, Acknowledgement, Adt, ErrorCode, ErrorDetail, ErrorLocation, Message, Path, Reply, Scrubber, Separators, Value};
use hearthline_interop::hl7v2::{acknowledge, batch, reject_unreadable};
use hearthline_interop::mllp::{Decoder, Event, encode};

/// A byte stream: the first byte says how it is cut, the second how large a frame may be.
pub fn frame(data: &[u8]) {
    let [cut, limit, stream @ ..] = data else { return };
    let limit = 1 + usize::from(*limit) * 4;
    let whole = events(limit, [stream]);
    assert_eq!(whole, events(limit, stream.chunks(1 + usize::from(*cut) % 64)), "the cut of a stream changed what was found");
    assert_eq!(whole, events(limit, stream.chunks(1)), "the cut of a stream changed what was found");
    for event in &whole {
        let Event::Frame(frame) = event else {
            assert!(event.quirk().is_some());
            continue;
        };
        assert!(frame.len() <= limit, "a frame is longer than the limit");
        if frame.contains(&0x0B) || frame.contains(&0x1C) {
            continue;
        }
        let mut again = Default::default();
        encode(frame, &mut again);
        let frames: Vec<Event> = events(limit, [&again[..]]).into_iter().filter(|event| matches!(event, Event::Frame(_))).collect();
        assert_eq!(frames, std::slice::from_ref(event), "an encoded frame did not come back");
    }
    let mut decoder = Decoder::new(limit);
    for chunk in stream.chunks(1 + usize::from(*cut)) {
        decoder.push(chunk);
        if decoder.settle() {
            assert!(!decoder.is_mid_frame());
        }
        while decoder.poll().is_some() {}
    }
}

fn events<'a>(limit: usize, chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<Event> {
    let mut decoder = Decoder::new(limit);
    let mut found = Vec::new();
    for chunk in chunks {
        decoder.push(chunk);
        found.extend(std::iter::from_fn(|| decoder.poll()));
    }
    decoder.finish();
    assert!(!decoder.is_mid_frame());
    found.extend(std::iter::from_fn(|| decoder.poll()));
    found
}

/// A message, or what claims to be one.
pub fn message(data: &[u8]) {
    if let Ok(split) = batch::split(data) {
        assert!(!split.messages.is_empty() && split.messages.iter().all(|message| message.len() <= data.len()));
    }
    let reply = Acknowledgement {
        code: AckMode::Original.error(),
        control_id: "R1",
        sent_at: "20250110120001+0000",
        text: Some("no | good"),
        error: Some(ErrorDetail { code: ErrorCode::DataType, location: Some(ErrorLocation { segment: "PID", sequence: 1, field: Some(3) }) }),
    };
    // What cannot be parsed goes through the scrubber too: it must take any file.
    let scrubbed = Scrubber::new([7; 32]).scrub(data);
    let Ok(message) = Message::parse(data) else {
        assert!(Message::parse(&reject_unreadable(&reply)).is_ok());
        return;
    };
    read_all(&message);
    round_trip(&message);
    answer(&message, &reply);
    let again = Message::parse(&scrubbed).unwrap_or_else(|error| panic!("scrubbing broke the message: {error}"));
    let names = |message: &Message<'_>| message.segments().map(|segment| segment.id().to_owned()).collect::<Vec<_>>();
    assert_eq!(names(&message), names(&again), "scrubbing changed the segments");
}

fn read_all(message: &Message<'_>) {
    for segment in message.segments().take(40) {
        // Their first field is the separator itself.
        let header = usize::from(["MSH", "BHS", "FHS"].contains(&segment.id()));
        for (number, piece) in segment.raw().split(char::from(message.separators().field)).enumerate().skip(1) {
            assert_eq!(raw_of(segment.field(number + header).value()), Some(piece), "field {number} is not what stands there");
        }
        for number in 0..12 {
            let field = segment.field(number);
            for repetition in field.repetitions().take(8) {
                for component in (0..6).map(|number| repetition.component(number)) {
                    let _ = (component.decoded(), component.subcomponent(2), repetition.is_delete());
                }
            }
        }
        let (plain, _) = message.separators().unescape_counting(segment.raw());
        let mut written = String::new();
        message.separators().escape_into(&plain, &mut written);
        assert!(written.is_ascii());
        if message.separators().escape.is_some() {
            assert_eq!(message.separators().unescape(&written), plain, "escaped text did not read back");
        }
    }
    for adt in Adt::all(message).iter().take(8) {
        let _ = (adt.nhs_number_candidates(), adt.visit_time(), adt.birth_date(), adt.death(), adt.legal_name());
        let _ = (adt.addresses().count(), adt.discarded_identifiers().count(), adt.location(), adt.registered_practice());
    }
    let from_content = message.segments().take(4).filter_map(|segment| Path::parse(segment.raw().get(..12)?).ok());
    let fixed = ["PID-3[2].1", "OBX[2]-5.1.2", "OBX[*]-5[*].1", "MSH-1", "MSH-2.1"].map(|path| Path::parse(path).expect("a path"));
    for path in fixed.into_iter().chain(from_content) {
        assert!(message.values(&path).next().is_none_or(|value| value == message.value(&path)));
        let _ = message.text(&path);
    }
    let _ = (message.quirks().count(), Reply::of(message));
}

fn raw_of(value: Value<'_>) -> Option<&str> {
    match value {
        Value::Absent => None,
        Value::Empty => Some(""),
        Value::Null => Some("\"\""),
        Value::Text(text) => Some(text),
    }
}

fn round_trip(message: &Message<'_>) {
    let rendered = message.render();
    // MSH-18 would be believed of text that is in UTF-8 now.
    if message.charset() != "UTF-8" && !rendered.is_ascii() {
        return;
    }
    let again = Message::parse(rendered.as_bytes()).unwrap_or_else(|error| panic!("a rendered message does not parse: {error}"));
    let raw = |message: &Message<'_>| message.segments().map(|segment| segment.raw().to_owned()).collect::<Vec<_>>();
    assert_eq!(raw(message), raw(&again), "a rendered message reads differently");
}

fn answer(message: &Message<'_>, reply: &Acknowledgement<'_>) {
    let written = acknowledge(message, reply);
    assert!(written.is_ascii() && !written.contains(&0x0B) && !written.contains(&0x1C));
    let read = Message::parse(&written).unwrap_or_else(|error| panic!("our acknowledgement does not parse: {error}"));
    let names: Vec<&str> = read.segments().map(|segment| segment.id()).collect();
    assert_eq!(names, ["MSH", "MSA", "ERR"]);
    let read = Reply::of(&read).expect("our acknowledgement acknowledges");
    assert_eq!(read.code, reply.code);
    assert!(message.separators() != Separators::STANDARD || read.text.as_deref() == reply.text);
}

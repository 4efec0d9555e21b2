//! What is told of a stream, a frame or a reply before it is read in full.

use crate::connections::Quirk;
use hearthline_interop::hl7v2::{AckCode, Adt, Message};

/// How much of a frame is looked through for the end of its MSH segment.
pub(super) const HEADER_BYTES: usize = 2 * 1024;

/// The MSH segment, where its end is there.
pub(super) fn header(frame: &[u8]) -> Option<&[u8]> {
    let head = &frame[..frame.len().min(HEADER_BYTES)];
    let begin = head.iter().position(|byte| *byte == b'M')?;
    let end = head[begin..].iter().position(|byte| matches!(byte, b'\r' | b'\n'))?;
    Some(&head[..begin + end])
}

/// Frames of one visit, or one patient, are taken in the order they came: this is what tells them apart.
pub(super) fn key_of(frame: &[u8]) -> String {
    let Ok(message) = Message::parse(frame) else { return String::new() };
    let adt = Adt::of(&message);
    let facility = adt.sending_facility().unwrap_or_default();
    match adt.visit_id() {
        Some(visit) => format!("{facility}\0v\0{}", visit.value),
        None => format!("{facility}\0p\0{}", adt.pid(3).value().text().unwrap_or_default()),
    }
}

/// MSA-1 of a reply of ours.
pub(super) fn code_of(reply: &[u8]) -> &'static str {
    let msa = reply.windows(4).position(|bytes| bytes == b"\rMSA");
    let code = msa.and_then(|at| reply.get(at + 5..at + 7)).and_then(|code| std::str::from_utf8(code).ok());
    code.and_then(AckCode::of).map_or("other", AckCode::code)
}

/// What a stream is that begins like this, where that is not MLLP.
pub(super) fn other_protocol(bytes: &[u8], is_secured: bool) -> Option<Quirk> {
    const METHODS: [&[u8]; 5] = [b"GET /", b"POST /", b"HEAD /", b"PUT /", b"OPTIONS "];
    match bytes {
        [0x16, 0x03, ..] if !is_secured => Some(Quirk::TlsOnPlain),
        _ if METHODS.iter().any(|method| bytes.starts_with(method)) => Some(Quirk::HttpOnMllp),
        _ => None,
    }
}

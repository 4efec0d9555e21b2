//! A record out of librdkafka's memory into ours.

use bytes::{Bytes, BytesMut};
use hearthline_eventing::LogRecord;
use rdkafka::Message;
use rdkafka::message::{BorrowedMessage, Headers};

/// One copy for key, values of headers and payload together.
pub(crate) fn owned(message: &BorrowedMessage<'_>, topic: &'static str) -> LogRecord {
    let key = message.key().unwrap_or_default();
    let payload = message.payload().unwrap_or_default();
    let headers = message.headers();
    let values: usize = headers.map_or(0, |h| h.iter().map(|h| h.value.map_or(0, <[u8]>::len)).sum());
    let mut memory = BytesMut::with_capacity(key.len() + payload.len() + values);
    let mut cut = |part: &[u8]| -> Bytes {
        memory.extend_from_slice(part);
        memory.split().freeze()
    };
    LogRecord {
        topic,
        // A partition beyond the catalogue's has no reader.
        partition: u16::try_from(message.partition()).unwrap_or(u16::MAX),
        offset: message.offset(),
        key: cut(key),
        headers: headers.map_or_else(Vec::new, |h| h.iter().map(|h| (h.key.to_owned(), cut(h.value.unwrap_or_default()))).collect()),
        payload: cut(payload),
    }
}

//! The headers of a record: CloudEvents 1.0 in the binary mode of its Kafka protocol binding, and W3C Trace Context.
//! They repeat what routers need and decide nothing: consumers read the envelope.

use std::fmt::Write as _;

use crate::envelope::Envelope;
use crate::topics::Context;

/// Media type of every payload.
pub const CONTENT_TYPE: &str = "application/protobuf";

/// Header that carries the trace: `traceparent` of W3C Trace Context.
pub const TRACEPARENT: &str = "traceparent";

/// The headers of one event. `ce_time` (when it occurred) is left out for a time that RFC 3339 cannot express.
pub fn headers(context: Context, fact_name: &str, envelope: &Envelope, traceparent: Option<&str>) -> Vec<(&'static str, String)> {
    let mut headers = Vec::with_capacity(8);
    headers.push(("ce_specversion", "1.0".to_owned()));
    headers.push(("ce_id", hex(&envelope.event_id)));
    headers.push(("ce_source", format!("urn:hearthline:{context}")));
    headers.push(("ce_type", format!("hearthline.{}.v1.{fact_name}", context.package())));
    if let Ok(time) = jiff::Timestamp::from_microsecond(envelope.occurred_at_us) {
        headers.push(("ce_time", time.to_string()));
    }
    headers.push(("ce_subject", hex(&envelope.stream_id)));
    headers.push(("content-type", CONTENT_TYPE.to_owned()));
    if let Some(traceparent) = traceparent {
        headers.push((TRACEPARENT, traceparent.to_owned()));
    }
    headers
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_name_the_event_the_stream_and_the_trace() {
        let envelope = Envelope {
            event_id: vec![0xab; 16].into(),
            stream_id: (0..16).collect::<Vec<u8>>().into(),
            occurred_at_us: 1_595_816_999_000_120,
            ..Envelope::default()
        };
        let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let headers = headers(Context::SharedRecord, "RecordUploaded", &envelope, Some(trace));
        let expected = [
            ("ce_specversion", "1.0"),
            ("ce_id", "abababababababababababababababab"),
            ("ce_source", "urn:hearthline:shared-record"),
            ("ce_type", "hearthline.shared_record.v1.RecordUploaded"),
            ("ce_time", "2020-07-27T02:29:59.00012Z"),
            ("ce_subject", "000102030405060708090a0b0c0d0e0f"),
            ("content-type", "application/protobuf"),
            ("traceparent", trace),
        ];
        assert_eq!(headers, expected.map(|(name, value)| (name, value.to_owned())));
    }

    #[test]
    fn a_time_beyond_the_calendar_is_left_out() {
        let envelope = Envelope { occurred_at_us: i64::MAX, ..Envelope::default() };
        let headers = headers(Context::Call, "CallOpened", &envelope, None);
        assert!(headers.iter().all(|(name, _)| *name != "ce_time" && *name != TRACEPARENT));
    }
}

//! W3C Trace Context between processes: how a span is carried in a header or an event, and how it is taken up again.
//!
//! A `traceparent` names a trace and a span and nothing else; it never identifies a person.

use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// The `traceparent` of the span that is current here, or `None` outside any traced span.
pub fn current_traceparent() -> Option<String> {
    traceparent_of(&Span::current())
}

/// The `traceparent` of a span (`00-<32 hex>-<16 hex>-<2 hex>`), or `None` where the subscriber traces nothing.
pub fn traceparent_of(span: &Span) -> Option<String> {
    let context = span.context();
    let span_context = context.span().span_context().clone();
    span_context.is_valid().then(|| render(&span_context))
}

/// The trace id of the current span as 32 hex digits.
pub fn current_trace_id() -> Option<String> {
    let context = Span::current().context();
    let span_context = context.span().span_context().clone();
    span_context.is_valid().then(|| span_context.trace_id().to_string())
}

/// Takes a span up into a trace that began elsewhere.
pub trait TraceSpan {
    /// Makes the span a child of the one that `traceparent` names. Must happen before the span is entered. Answers
    /// whether it was done: a malformed value, or a span that has begun, is left as it is.
    fn set_parent_from(&self, traceparent: &str) -> bool;

    /// Links the span to another trace that led to it. Answers whether `traceparent` could be read.
    fn add_link_to(&self, traceparent: &str) -> bool;
}

impl TraceSpan for Span {
    fn set_parent_from(&self, traceparent: &str) -> bool {
        let Some(parent) = parse_traceparent(traceparent) else {
            return false;
        };
        let context = opentelemetry::Context::new().with_remote_span_context(parent);
        self.set_parent(context).is_ok()
    }

    fn add_link_to(&self, traceparent: &str) -> bool {
        let Some(other) = parse_traceparent(traceparent) else {
            return false;
        };
        OpenTelemetrySpanExt::add_link(self, other);
        true
    }
}

/// Reads a `traceparent` of version 00, or the 00 part of a later version (W3C Trace Context, 2021, section 4).
pub fn parse_traceparent(value: &str) -> Option<SpanContext> {
    let mut parts = value.trim().split('-');
    let version = parts.next().filter(|text| is_lower_hex(text, 2))?;
    let trace_id = parts.next().filter(|text| is_lower_hex(text, 32))?;
    let span_id = parts.next().filter(|text| is_lower_hex(text, 16))?;
    let flags = parts.next().filter(|text| is_lower_hex(text, 2))?;
    if version == "ff" || (version == "00" && parts.next().is_some()) {
        return None;
    }
    let flags = u8::from_str_radix(flags, 16).ok()?;
    let context = SpanContext::new(
        TraceId::from_hex(trace_id).ok()?,
        SpanId::from_hex(span_id).ok()?,
        TraceFlags::new(flags) & TraceFlags::SAMPLED,
        true,
        TraceState::default(),
    );
    context.is_valid().then_some(context)
}

fn is_lower_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn render(context: &SpanContext) -> String {
    format!("00-{}-{}-{:02x}", context.trace_id(), context.span_id(), context.trace_flags().to_u8())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_well_formed_traceparent_survives_a_round_trip() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let context = parse_traceparent(text).expect("well formed");
        assert_eq!(render(&context), text);
        assert!(context.is_remote());
    }

    #[test]
    fn malformed_traceparents_are_not_taken() {
        for text in [
            "",
            "00",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
        ] {
            assert!(parse_traceparent(text).is_none(), "{text}");
        }
    }

    #[test]
    fn without_a_subscriber_there_is_no_traceparent() {
        assert_eq!(current_traceparent(), None);
    }
}

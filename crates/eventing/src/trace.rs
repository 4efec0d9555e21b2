//! One trace from the request or frame to the KPI row and the delivery: the context travels in rows and headers as W3C
//! `traceparent` text.

use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// The current span as `traceparent`, where it is being traced.
pub fn current() -> Option<String> {
    of(&Span::current())
}

/// A span as `traceparent`.
pub fn of(span: &Span) -> Option<String> {
    let context = span.context();
    let span = context.span();
    let it = span.span_context();
    it.is_valid().then(|| format!("00-{}-{}-{:02x}", it.trace_id(), it.span_id(), it.trace_flags().to_u8()))
}

/// Makes `span` a child of what `traceparent` names. A text that is not a `traceparent` leaves the span as it is.
pub fn adopt(span: &Span, traceparent: Option<&str>) {
    if let Some(remote) = traceparent.and_then(parse) {
        // Fails only where no tracing layer listens, and then nobody misses it.
        let _ = span.set_parent(opentelemetry::Context::new().with_remote_span_context(remote));
    }
}

/// Links `span` to what `traceparent` names: a second cause.
pub fn link(span: &Span, traceparent: Option<&str>) {
    if let Some(remote) = traceparent.and_then(parse) {
        span.add_link(remote);
    }
}

fn parse(text: &str) -> Option<SpanContext> {
    let mut parts = text.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    if version.len() != 2 || version == "ff" || trace.len() != 32 || span.len() != 16 || flags.len() != 2 {
        return None;
    }
    let context = SpanContext::new(
        TraceId::from_hex(trace).ok()?,
        SpanId::from_hex(span).ok()?,
        TraceFlags::new(u8::from_str_radix(flags, 16).ok()?),
        true,
        TraceState::default(),
    );
    context.is_valid().then_some(context)
}

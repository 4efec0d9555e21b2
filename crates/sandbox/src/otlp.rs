//! An OpenTelemetry collector: OTLP over HTTP with protobuf bodies, kept decoded.
//!
//! `POST /v1/traces` and `POST /v1/metrics`, uncompressed. Operations for faults: `traces`, `metrics`.
//!
//! Control: `GET /_sandbox/spans[?trace_id=…]`, `/_sandbox/metrics`, `/_sandbox/counts`, `/_sandbox/faults`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::{ConnectInfo, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::{Metric as WireMetric, metric::Data, number_data_point};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span as WireSpan;
use prost::Message;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::control;
use crate::fault::Faults;
use crate::http::{HangUp, HttpServer, StartError, perform};
use crate::kept::Kept;

/// Attributes by name.
pub type Attributes = BTreeMap<String, Value>;

/// One finished span.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Span {
    /// `service.name` of its resource.
    pub service: String,
    /// 32 hex digits.
    pub trace_id: String,
    /// 16 hex digits.
    pub span_id: String,
    /// None for the root of a trace.
    pub parent_span_id: Option<String>,
    pub name: String,
    pub attributes: Attributes,
    pub events: Vec<SpanEvent>,
    pub links: Vec<SpanLink>,
    /// Nanoseconds since 1970.
    pub start_unix_nanos: u64,
    /// Nanoseconds since 1970.
    pub end_unix_nanos: u64,
    /// Whether its status is an error.
    pub failed: bool,
}

/// Something noted during a span.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SpanEvent {
    pub name: String,
    pub attributes: Attributes,
}

/// A pointer to a span of this or another trace.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SpanLink {
    pub trace_id: String,
    pub span_id: String,
    pub attributes: Attributes,
}

/// One data point of a metric; every export brings new ones.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MetricPoint {
    /// `service.name` of its resource.
    pub service: String,
    pub name: String,
    pub unit: String,
    pub attributes: Attributes,
    /// The value of a gauge or sum, the count of observations of a histogram or summary.
    pub value: f64,
}

/// How much arrived.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    pub spans: usize,
    pub traces: usize,
    pub metric_points: usize,
    /// Bodies that were not OTLP.
    pub unreadable: u64,
}

/// How the collector behaves from the start.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// What is to go wrong first.
    pub faults: Faults,
}

/// The server; see the module.
#[derive(Debug)]
pub struct Collector;

impl Collector {
    /// Listens on `addr`, a loopback address; port 0 takes any free one.
    ///
    /// # Errors
    /// [`StartError`] when the address is not loopback or taken.
    pub async fn start(addr: SocketAddr, options: Options) -> Result<Handle, StartError> {
        let intake = Intake { kept: Kept::default(), faults: options.faults };
        let router = Router::new()
            .route("/v1/traces", post(traces))
            .route("/v1/metrics", post(metrics))
            .route("/_sandbox/spans", get(spans))
            .route("/_sandbox/metrics", get(metric_points))
            .route("/_sandbox/counts", get(counts))
            .with_state(intake.clone())
            .merge(control::faults(intake.faults.clone()));
        Ok(Handle { server: HttpServer::start(addr, router).await?, intake })
    }
}

/// A running collector. Dropping it stops it.
#[derive(Debug)]
pub struct Handle {
    server: HttpServer,
    intake: Intake,
}

impl Handle {
    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// `http://host:port`, before `/v1/…`.
    pub fn url(&self) -> String {
        self.server.url()
    }

    pub fn faults(&self) -> &Faults {
        &self.intake.faults
    }

    /// Every span, in order of arrival.
    pub fn spans(&self) -> Vec<Span> {
        self.intake.kept.read(|kept| kept.spans.clone())
    }

    /// The spans of one trace (32 hex digits), in order of their start.
    pub fn trace(&self, trace_id: &str) -> Vec<Span> {
        self.intake.trace(trace_id)
    }

    /// Every data point, in order of arrival.
    pub fn metric_points(&self) -> Vec<MetricPoint> {
        self.intake.kept.read(|kept| kept.points.clone())
    }

    /// The names of all metrics seen.
    pub fn metric_names(&self) -> BTreeSet<String> {
        self.intake.kept.read(|kept| kept.points.iter().map(|point| point.name.clone()).collect())
    }

    pub fn counts(&self) -> Counts {
        self.intake.kept.read(Telemetry::counts)
    }

    /// Waits until `enough` holds of the spans received; false when `deadline` passes first.
    pub async fn wait_for_spans(&self, deadline: Duration, enough: impl Fn(&[Span]) -> bool) -> bool {
        self.intake.kept.wait_until(deadline, |kept| enough(&kept.spans)).await
    }

    /// Frees the port; what was held is gone with the handle.
    pub async fn stop(self) {
        self.server.stop().await;
    }
}

#[derive(Debug, Default)]
struct Telemetry {
    spans: Vec<Span>,
    points: Vec<MetricPoint>,
    unreadable: u64,
}

impl Telemetry {
    fn counts(&self) -> Counts {
        let traces: BTreeSet<&str> = self.spans.iter().map(|span| span.trace_id.as_str()).collect();
        Counts { spans: self.spans.len(), traces: traces.len(), metric_points: self.points.len(), unreadable: self.unreadable }
    }
}

#[derive(Debug, Clone)]
struct Intake {
    kept: Kept<Telemetry>,
    faults: Faults,
}

impl Intake {
    fn trace(&self, trace_id: &str) -> Vec<Span> {
        let mut found: Vec<Span> = self.kept.read(|kept| kept.spans.iter().filter(|span| span.trace_id.eq_ignore_ascii_case(trace_id)).cloned().collect());
        found.sort_by_key(|span| span.start_unix_nanos);
        found
    }

    fn unreadable(&self) -> Response {
        self.kept.change(|kept| kept.unreadable += 1);
        StatusCode::BAD_REQUEST.into_response()
    }
}

async fn traces(State(intake): State<Intake>, ConnectInfo(line): ConnectInfo<HangUp>, body: Bytes) -> Response {
    perform(intake.faults.take("traces"), &line, |refuse| {
        let Ok(request) = ExportTraceServiceRequest::decode(body) else {
            return intake.unreadable();
        };
        if refuse.is_some() {
            return StatusCode::BAD_REQUEST.into_response();
        }
        intake.kept.change(|kept| {
            for group in request.resource_spans {
                let service = service_name(group.resource.as_ref());
                let arrived = group.scope_spans.into_iter().flat_map(|scope| scope.spans);
                kept.spans.extend(arrived.map(|span| decode_span(&service, span)));
            }
        });
        protobuf(&ExportTraceServiceResponse::default())
    })
    .await
}

async fn metrics(State(intake): State<Intake>, ConnectInfo(line): ConnectInfo<HangUp>, body: Bytes) -> Response {
    perform(intake.faults.take("metrics"), &line, |refuse| {
        let Ok(request) = ExportMetricsServiceRequest::decode(body) else {
            return intake.unreadable();
        };
        if refuse.is_some() {
            return StatusCode::BAD_REQUEST.into_response();
        }
        intake.kept.change(|kept| {
            for group in request.resource_metrics {
                let service = service_name(group.resource.as_ref());
                let arrived = group.scope_metrics.iter().flat_map(|scope| &scope.metrics);
                kept.points.extend(arrived.flat_map(|metric| decode_metric(&service, metric)));
            }
        });
        protobuf(&ExportMetricsServiceResponse::default())
    })
    .await
}

fn protobuf(message: &impl Message) -> Response {
    ([(header::CONTENT_TYPE, "application/x-protobuf")], message.encode_to_vec()).into_response()
}

fn service_name(resource: Option<&Resource>) -> String {
    let named = resource.and_then(|resource| {
        let attributes = attributes(&resource.attributes);
        attributes.get("service.name").and_then(Value::as_str).map(str::to_owned)
    });
    named.unwrap_or_default()
}

fn decode_span(service: &str, span: WireSpan) -> Span {
    // Code 2 is STATUS_CODE_ERROR of the OTLP trace schema.
    let failed = span.status.as_ref().is_some_and(|status| status.code == 2);
    Span {
        service: service.to_owned(),
        trace_id: hex(&span.trace_id),
        span_id: hex(&span.span_id),
        parent_span_id: (!span.parent_span_id.is_empty()).then(|| hex(&span.parent_span_id)),
        name: span.name,
        attributes: attributes(&span.attributes),
        events: span.events.into_iter().map(|event| SpanEvent { attributes: attributes(&event.attributes), name: event.name }).collect(),
        links: span
            .links
            .iter()
            .map(|link| SpanLink { trace_id: hex(&link.trace_id), span_id: hex(&link.span_id), attributes: attributes(&link.attributes) })
            .collect(),
        start_unix_nanos: span.start_time_unix_nano,
        end_unix_nanos: span.end_time_unix_nano,
        failed,
    }
}

fn decode_metric(service: &str, metric: &WireMetric) -> Vec<MetricPoint> {
    let number = |point: &number_data_point::Value| match point {
        number_data_point::Value::AsDouble(value) => *value,
        number_data_point::Value::AsInt(value) => *value as f64,
    };
    let points: Vec<(Attributes, f64)> = match &metric.data {
        None => Vec::new(),
        Some(Data::Gauge(gauge)) => gauge.data_points.iter().map(|point| (attributes(&point.attributes), point.value.as_ref().map_or(0.0, number))).collect(),
        Some(Data::Sum(sum)) => sum.data_points.iter().map(|point| (attributes(&point.attributes), point.value.as_ref().map_or(0.0, number))).collect(),
        Some(Data::Histogram(histogram)) => histogram.data_points.iter().map(|point| (attributes(&point.attributes), point.count as f64)).collect(),
        Some(Data::ExponentialHistogram(histogram)) => histogram.data_points.iter().map(|point| (attributes(&point.attributes), point.count as f64)).collect(),
        Some(Data::Summary(summary)) => summary.data_points.iter().map(|point| (attributes(&point.attributes), point.count as f64)).collect(),
    };
    points
        .into_iter()
        .map(|(attributes, value)| MetricPoint { service: service.to_owned(), name: metric.name.clone(), unit: metric.unit.clone(), attributes, value })
        .collect()
}

fn attributes(pairs: &[KeyValue]) -> Attributes {
    pairs.iter().map(|pair| (pair.key.clone(), plain(pair.value.as_ref()))).collect()
}

fn plain(value: Option<&AnyValue>) -> Value {
    match value.and_then(|value| value.value.as_ref()) {
        // The index form belongs to profiles only.
        None | Some(Any::StringValueStrindex(_)) => Value::Null,
        Some(Any::StringValue(text)) => json!(text),
        Some(Any::BoolValue(flag)) => json!(flag),
        Some(Any::IntValue(number)) => json!(number),
        Some(Any::DoubleValue(number)) => json!(number),
        Some(Any::ArrayValue(array)) => array.values.iter().map(|value| plain(Some(value))).collect(),
        Some(Any::KvlistValue(list)) => json!(attributes(&list.values)),
        Some(Any::BytesValue(bytes)) => json!(hex(bytes)),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a String cannot fail");
        text
    })
}

#[derive(Debug, Deserialize)]
struct Wanted {
    trace_id: Option<String>,
}

async fn spans(State(intake): State<Intake>, Query(wanted): Query<Wanted>) -> Json<Vec<Span>> {
    Json(match wanted.trace_id {
        Some(trace_id) => intake.trace(&trace_id),
        None => intake.kept.read(|kept| kept.spans.clone()),
    })
}

async fn metric_points(State(intake): State<Intake>) -> Json<Vec<MetricPoint>> {
    Json(intake.kept.read(|kept| kept.points.clone()))
}

async fn counts(State(intake): State<Intake>) -> Json<Counts> {
    Json(intake.kept.read(Telemetry::counts))
}

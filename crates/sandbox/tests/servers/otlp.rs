use hearthline_sandbox::Fault;
use hearthline_sandbox::otlp::{Collector, Handle, Options};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::metrics::v1::{Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, metric::Data, number_data_point};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status, span};
use prost::Message;
use reqwest::StatusCode;
use serde_json::json;

use crate::{DEADLINE, any_port};

const TRACE: &str = "0102030405060708090a0b0c0d0e0f10";

async fn start() -> Handle {
    Collector::start(any_port(), Options::default()).await.unwrap()
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn resource() -> Option<Resource> {
    let name = attribute("service.name", Value::StringValue("call-intake".to_owned()));
    Some(Resource { attributes: vec![name], ..Resource::default() })
}

fn spans() -> ExportTraceServiceRequest {
    let trace_id: Vec<u8> = (1..=16).collect();
    let root = Span {
        trace_id: trace_id.clone(),
        span_id: vec![1; 8],
        name: "POST /calls".to_owned(),
        start_time_unix_nano: 1,
        end_time_unix_nano: 9,
        attributes: vec![attribute("http.response.status_code", Value::IntValue(201))],
        ..Span::default()
    };
    let child = Span {
        trace_id,
        span_id: vec![2; 8],
        parent_span_id: vec![1; 8],
        name: "append".to_owned(),
        start_time_unix_nano: 2,
        events: vec![span::Event { name: "claimed".to_owned(), ..span::Event::default() }],
        links: vec![span::Link { trace_id: vec![9; 16], span_id: vec![8; 8], ..span::Link::default() }],
        status: Some(Status { code: 2, ..Status::default() }),
        ..Span::default()
    };
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: resource(),
            scope_spans: vec![ScopeSpans { spans: vec![child, root], ..ScopeSpans::default() }],
            ..ResourceSpans::default()
        }],
    }
}

async fn post(collector: &Handle, path: &str, body: Vec<u8>) -> reqwest::Result<reqwest::Response> {
    let request = crate::client().post(format!("{}{path}", collector.url()));
    request.header("content-type", "application/x-protobuf").body(body).send().await
}

#[tokio::test]
async fn spans_are_kept_decoded_and_found_by_trace() {
    let collector = start().await;
    let answer = post(&collector, "/v1/traces", spans().encode_to_vec()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let body = answer.bytes().await.unwrap();
    assert_eq!(ExportTraceServiceResponse::decode(body).unwrap(), ExportTraceServiceResponse::default());
    assert!(collector.wait_for_spans(DEADLINE, |spans| spans.len() == 2).await);

    let trace = collector.trace(TRACE);
    assert_eq!(trace.iter().map(|span| span.name.as_str()).collect::<Vec<_>>(), ["POST /calls", "append"]);
    assert_eq!((trace[0].service.as_str(), trace[0].parent_span_id.as_deref()), ("call-intake", None));
    assert_eq!(trace[0].attributes["http.response.status_code"], json!(201));
    assert_eq!(trace[1].parent_span_id.as_deref(), Some(trace[0].span_id.as_str()));
    assert_eq!((trace[1].events[0].name.as_str(), trace[1].failed), ("claimed", true));
    assert_eq!(trace[1].links[0].trace_id, "09".repeat(16));
    assert!(collector.trace(&"00".repeat(16)).is_empty());

    let url = format!("{}/_sandbox/spans?trace_id={TRACE}", collector.url());
    let listed: serde_json::Value = crate::get(url).await.unwrap().json().await.unwrap();
    assert_eq!(listed.as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn metrics_are_kept_by_name_and_attributes() {
    let collector = start().await;
    let point = NumberDataPoint {
        attributes: vec![attribute("context", Value::StringValue("call".to_owned()))],
        value: Some(number_data_point::Value::AsInt(3)),
        ..NumberDataPoint::default()
    };
    let metric =
        Metric { name: "hearthline.appended".to_owned(), data: Some(Data::Sum(Sum { data_points: vec![point], ..Sum::default() })), ..Metric::default() };
    let request = ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: resource(),
            scope_metrics: vec![ScopeMetrics { metrics: vec![metric], ..ScopeMetrics::default() }],
            ..ResourceMetrics::default()
        }],
    };
    post(&collector, "/v1/metrics", request.encode_to_vec()).await.unwrap();
    let points = collector.metric_points();
    assert_eq!((points[0].name.as_str(), points[0].value), ("hearthline.appended", 3.0));
    assert_eq!(points[0].attributes["context"], json!("call"));
    assert!(collector.metric_names().contains("hearthline.appended"));
}

#[tokio::test]
async fn what_is_not_otlp_is_refused_and_counted() {
    let collector = start().await;
    let answer = post(&collector, "/v1/traces", b"{\"resourceSpans\":[]}".to_vec()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    assert_eq!(collector.counts().unreadable, 1);
}

#[tokio::test]
async fn a_collector_out_of_order_keeps_nothing_and_one_that_drops_keeps_it() {
    let collector = start().await;
    collector.faults().script_all([Fault::status(503), Fault::lost_reply()]).unwrap();
    let body = spans().encode_to_vec();
    let answer = post(&collector, "/v1/traces", body.clone()).await.unwrap();
    assert_eq!((answer.status(), collector.counts().spans), (StatusCode::SERVICE_UNAVAILABLE, 0));
    assert!(post(&collector, "/v1/traces", body).await.is_err());
    assert_eq!((collector.counts().spans, collector.counts().traces), (2, 1));
}

//! Traces and metrics as a receiver sees them, from two instances side by side.

mod support;

use std::io::Write;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use bytes::Bytes;
use hearthline_runtime::auth::Role;
use hearthline_runtime::config::{LogFormat, Telemetry as Settings};
use hearthline_runtime::health::Health;
use hearthline_runtime::http::{Command, Route, Scope, Shell};
use hearthline_runtime::telemetry::Telemetry;
use hearthline_runtime::trace::{TraceSpan, current_traceparent};
use opentelemetry::KeyValue;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use serde_json::{Value, json};
use support::{Server, keys, serve};
use tracing_subscriber::fmt::writer::BoxMakeWriter;

#[derive(Clone, Default)]
struct Receiver {
    spans: Arc<Mutex<Vec<Span>>>,
    metrics: Arc<Mutex<Vec<String>>>,
}

async fn receiver() -> (Receiver, std::net::SocketAddr) {
    async fn traces(State(receiver): State<Receiver>, body: Bytes) {
        let request = ExportTraceServiceRequest::decode(body).expect("protobuf");
        let spans = request.resource_spans.into_iter().flat_map(|r| r.scope_spans).flat_map(|s| s.spans);
        receiver.spans.lock().expect("spans").extend(spans);
    }
    async fn metrics(State(receiver): State<Receiver>, body: Bytes) {
        let request = ExportMetricsServiceRequest::decode(body).expect("protobuf");
        let metrics = request.resource_metrics.into_iter().flat_map(|r| r.scope_metrics).flat_map(|s| s.metrics);
        receiver.metrics.lock().expect("metrics").extend(metrics.map(|metric| metric.name));
    }
    let receiver = Receiver::default();
    let router = Router::new().route("/v1/traces", post(traces)).route("/v1/metrics", post(metrics)).with_state(receiver.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address");
    tokio::spawn(async move { axum::serve(listener, router).await });
    (receiver, address)
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("lines").clone()).expect("text")
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("lines").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn start(endpoint: Option<String>, log_format: LogFormat) -> (Arc<Telemetry>, Lines) {
    let lines = Lines::default();
    let writer = lines.clone();
    let settings = Settings { log_format, log_level: "info".to_owned(), otlp_endpoint: endpoint, service_name: "hearthline-test".to_owned() };
    let telemetry = Telemetry::start_logging_to(&settings, BoxMakeWriter::new(move || writer.clone())).expect("started");
    (Arc::new(telemetry), lines)
}

async fn flush(telemetry: &Arc<Telemetry>) {
    let telemetry = telemetry.clone();
    tokio::task::spawn_blocking(move || telemetry.flush()).await.expect("flushed");
}

/// A service that answers with the traceparent its handler sees.
async fn service(telemetry: &Arc<Telemetry>) -> (support::Keys, Server) {
    async fn echo(_: Command<Value>) -> String {
        tracing::info!("echoed");
        current_traceparent().unwrap_or_default()
    }
    let keys = keys();
    let shell = Shell::builder(keys.verifier.clone()).meter(telemetry.meter("hearthline")).dispatch(telemetry.dispatch().clone()).build();
    let routes = vec![Route::post("/echo/{name}", &[Role::Clinician], Scope::Any, echo)];
    let server = serve(&shell, shell.mount(routes, ())).await;
    (keys, server)
}

async fn echo(keys: &support::Keys, server: &Server, traceparent: &str) -> (String, String) {
    let request = hearthline_runtime::client::build(|c| c)
        .expect("a client")
        .post(server.url("/echo/Zyxwv"))
        .bearer_auth(keys.token(Role::Clinician))
        .header("Idempotency-Key", "k")
        .header("traceparent", traceparent)
        .json(&json!({}));
    let response = request.send().await.expect("answered");
    let header = response.headers()["traceparent"].to_str().expect("text").to_owned();
    (header, response.text().await.expect("text"))
}

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

#[tokio::test(flavor = "multi_thread")]
async fn a_request_continues_its_callers_trace_into_the_handler_and_the_export() {
    let (receiver, address) = receiver().await;
    let (telemetry, _) = start(Some(format!("http://{address}")), LogFormat::Text);
    let (keys, server) = service(&telemetry).await;
    let (header, inside) = echo(&keys, &server, &format!("00-{TRACE}-00f067aa0ba902b7-01")).await;
    assert!(header.contains(TRACE) && header == inside, "{header} {inside}");
    flush(&telemetry).await;
    let spans = receiver.spans.lock().expect("spans").clone();
    let span = spans.iter().find(|span| span.name == "POST /echo/{name}").expect("the request's span");
    assert_eq!(span.parent_span_id, 0x00f0_67aa_0ba9_02b7_u64.to_be_bytes());
    assert!(!format!("{spans:?}").contains("Zyxwv"), "a path parameter is not for a span");
    assert!(receiver.metrics.lock().expect("metrics").contains(&"http.server.request.duration".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_instances_in_one_process_export_apart() {
    let ((first_receiver, first_address), (second_receiver, second_address)) = (receiver().await, receiver().await);
    let (first, first_lines) = start(Some(format!("http://{first_address}")), LogFormat::Json);
    let (second, second_lines) = start(Some(format!("http://{second_address}")), LogFormat::Json);
    let (first_keys, first_server) = service(&first).await;
    let (_second_keys, _second_server) = service(&second).await;
    echo(&first_keys, &first_server, &format!("00-{TRACE}-00f067aa0ba902b7-01")).await;
    flush(&first).await;
    flush(&second).await;
    assert_eq!(first_receiver.spans.lock().expect("spans").len(), 1);
    assert!(second_receiver.spans.lock().expect("spans").is_empty());
    assert!(first_lines.text().contains("echoed") && second_lines.text().is_empty());
    let line: Value = serde_json::from_str(first_lines.text().lines().next().expect("a line")).expect("JSON");
    assert_eq!(line["message"], "echoed");
    assert!(first.render_metrics().contains("http_route=\"/echo/{name}\""));
    assert!(!second.render_metrics().contains("http_route"));
}

#[test]
fn a_runtime_can_carry_its_instances_subscriber_on_every_thread() {
    let (telemetry, lines) = start(None, LogFormat::Text);
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    telemetry.attach(builder.worker_threads(2).enable_all());
    let runtime = builder.build().expect("runtime");
    runtime.block_on(async {
        tokio::spawn(async { tracing::info!("from a task") }).await.expect("ended");
        tokio::task::spawn_blocking(|| tracing::info!("from a blocking thread")).await.expect("ended");
    });
    telemetry.within(|| tracing::info!("from the caller"));
    for said in ["from a task", "from a blocking thread", "from the caller"] {
        assert!(lines.text().contains(said), "{}", lines.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_endpoint_a_trace_still_goes_on() {
    let (telemetry, _) = start(None, LogFormat::Text);
    let (keys, server) = service(&telemetry).await;
    let (header, inside) = echo(&keys, &server, &format!("00-{TRACE}-00f067aa0ba902b7-01")).await;
    assert!(header.contains(TRACE) && header == inside, "{header}");
    let (fresh, _) = echo(&keys, &server, "nonsense").await;
    assert!(!fresh.contains(TRACE) && fresh.len() == 55, "{fresh}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_trace_can_be_linked_to_the_first() {
    let (receiver, address) = receiver().await;
    let (telemetry, _) = start(Some(format!("http://{address}")), LogFormat::Text);
    telemetry.within(|| {
        let span = tracing::info_span!(target: "hearthline_consumer", "consume");
        assert!(span.add_link_to(&format!("00-{TRACE}-00f067aa0ba902b7-01")));
        assert!(!span.add_link_to("nonsense"));
        let _entered = span.enter();
    });
    flush(&telemetry).await;
    let spans = receiver.spans.lock().expect("spans").clone();
    let linked = spans.iter().find(|span| span.name == "consume").expect("the span");
    assert_eq!(linked.links.len(), 1);
}

#[test]
fn metrics_are_rendered_for_prometheus() {
    let (telemetry, _) = start(None, LogFormat::Text);
    let meter = telemetry.meter("hearthline");
    let why = [KeyValue::new("why", "a \"quoted\"\\ reason\n")];
    meter.u64_counter("hearthline.parked").with_description("Parked records").build().add(3, &why);
    meter.i64_gauge("hearthline.lag").with_unit("s").build().record(-2, &[]);
    let histogram = meter.f64_histogram("hearthline.wait").with_unit("s").with_boundaries(vec![0.1, 1.0]).build();
    for seconds in [0.05, 0.5, 5.0] {
        histogram.record(seconds, &[]);
    }
    let text = telemetry.render_metrics();
    for line in [
        "# HELP hearthline_parked_total Parked records",
        "# TYPE hearthline_parked_total counter",
        r#"hearthline_parked_total{why="a \"quoted\"\\ reason\n"} 3"#,
        "# TYPE hearthline_lag_seconds gauge",
        "hearthline_lag_seconds -2",
        "# TYPE hearthline_wait_seconds histogram",
        r#"hearthline_wait_seconds_bucket{le="0.1"} 1"#,
        r#"hearthline_wait_seconds_bucket{le="1"} 2"#,
        r#"hearthline_wait_seconds_bucket{le="+Inf"} 3"#,
        "hearthline_wait_seconds_sum 5.55",
        "hearthline_wait_seconds_count 3",
    ] {
        assert!(text.lines().any(|l| l == line), "{line}\n{text}");
    }
}

#[tokio::test]
async fn health_and_metrics_answer_without_a_token() {
    let (telemetry, _) = start(None, LogFormat::Text);
    let health = Health::new();
    let relay = health.readiness("relay");
    let keys = keys();
    let shell = Shell::builder(keys.verifier.clone()).build();
    let server = serve(&shell, health.router().merge(telemetry.router())).await;
    let client = hearthline_runtime::client::build(|c| c).expect("a client");
    let get = |path: &str| client.get(server.url(path)).send();
    assert_eq!(get("/livez").await.expect("answered").status(), 200);
    let starting = get("/readyz").await.expect("answered");
    assert_eq!(starting.status(), 503);
    let report: Value = starting.json().await.expect("JSON");
    assert_eq!(report["checks"][0]["name"], "relay");
    relay.failing("the log is away", "start the log");
    let report: Value = get("/readyz").await.expect("answered").json().await.expect("JSON");
    assert_eq!(report["checks"][0]["remedy"], "start the log");
    relay.well();
    assert_eq!(get("/readyz").await.expect("answered").status(), 200);
    telemetry.meter("hearthline").u64_counter("hearthline.seen").build().add(1, &[]);
    let metrics = get("/metrics").await.expect("answered");
    assert_eq!(metrics.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    assert!(metrics.text().await.expect("text").contains("hearthline_seen_total 1"));
}

//! Logs, traces and metrics of one instance.
//!
//! Nothing is global unless `main` asks for it ([`Telemetry::set_global`]), so that two whole systems in one process
//! export to two receivers: a runtime's threads are given the instance's subscriber by [`Telemetry::attach`], and
//! meters are handed out by value. Metrics have one pipeline: the same instruments feed the OTLP exporter and
//! `/metrics`.
//!
//! No personal data in any of it; ids of streams and events are random and may appear.

mod prometheus;

use std::io;
use std::sync::{Arc, Weak};
use std::time::Duration;

use axum::Router;
use axum::http::header;
use axum::routing::get;
use opentelemetry::metrics::{Meter, MeterProvider};
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{ExporterBuildError, MetricExporter, Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::reader::MetricReader;
use opentelemetry_sdk::metrics::{InstrumentKind, ManualReader, PeriodicReader, Pipeline, SdkMeterProvider, Temporality};
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider};
use tracing::Dispatch;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, Registry};

use crate::config::{LogFormat, Telemetry as Settings};

/// How long a batch of spans may wait.
const SPANS_EVERY: Duration = Duration::from_secs(1);
/// How many spans may wait; more are dropped, and the SDK says so.
const SPANS_WAITING_MAX: usize = 16_384;
/// How often metrics are exported.
const METRICS_EVERY: Duration = Duration::from_secs(10);
/// How long an export may take.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// Telemetry could not be started.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The exporter refused its settings.
    #[error("the OTLP exporter cannot be built")]
    Exporter(#[from] ExporterBuildError),
    /// The exporter's client cannot be made.
    #[error(transparent)]
    Client(#[from] crate::client::ClientError),
    /// `log_level` is not a filter.
    #[error("the log level is no level and no list of directives")]
    Filter(#[source] tracing_subscriber::filter::ParseError),
    /// Something has set the process's subscriber before.
    #[error("this process has a subscriber already")]
    AlreadyGlobal,
}

/// The telemetry of one instance.
pub struct Telemetry {
    dispatch: Dispatch,
    tracers: SdkTracerProvider,
    meters: SdkMeterProvider,
    reader: SharedReader,
}

impl std::fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Telemetry").finish_non_exhaustive()
    }
}

impl Telemetry {
    /// Starts telemetry with logs on standard error.
    pub fn start(settings: &Settings) -> Result<Self, TelemetryError> {
        Self::start_logging_to(settings, BoxMakeWriter::new(io::stderr))
    }

    /// Starts telemetry with logs to `writer`.
    pub fn start_logging_to(settings: &Settings, writer: BoxMakeWriter) -> Result<Self, TelemetryError> {
        let resource = Resource::builder()
            .with_service_name(settings.service_name.clone())
            .with_attribute(opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let tracers = tracers(settings.otlp_endpoint.as_deref(), resource.clone())?;
        let reader = SharedReader(Arc::new(ManualReader::builder().build()));
        let meters = meters(settings.otlp_endpoint.as_deref(), resource, reader.clone())?;
        let traces = tracing_opentelemetry::layer()
            .with_tracer(tracers.tracer("hearthline"))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            // Only our own spans: an exporter's client that traced itself would never come to rest.
            .with_filter(Targets::new().with_target("hearthline", LevelFilter::INFO));
        let subscriber = Registry::default().with(traces).with(logs(settings, writer)?);
        Ok(Self { dispatch: Dispatch::new(subscriber), tracers, meters, reader })
    }

    /// The subscriber of this instance.
    pub fn dispatch(&self) -> &Dispatch {
        &self.dispatch
    }

    /// A meter; instruments made from it appear in `/metrics` and in the export.
    pub fn meter(&self, name: &'static str) -> Meter {
        self.meters.meter(name)
    }

    /// Gives every thread of a runtime, blocking ones too, this instance's subscriber.
    pub fn attach(&self, builder: &mut tokio::runtime::Builder) {
        let dispatch = self.dispatch.clone();
        builder.on_thread_start(move || {
            // The guard would take the subscriber away again; the thread keeps it until it ends.
            std::mem::forget(tracing::dispatcher::set_default(&dispatch));
        });
    }

    /// Runs `work` on this thread under this instance's subscriber.
    pub fn within<T>(&self, work: impl FnOnce() -> T) -> T {
        tracing::dispatcher::with_default(&self.dispatch, work)
    }

    /// Makes this the subscriber of the whole process; for `main`.
    pub fn set_global(&self) -> Result<(), TelemetryError> {
        tracing::dispatcher::set_global_default(self.dispatch.clone()).map_err(|_| TelemetryError::AlreadyGlobal)
    }

    /// All metrics in the Prometheus text format, version 0.0.4.
    pub fn render_metrics(&self) -> String {
        let mut metrics = ResourceMetrics::default();
        match self.reader.0.collect(&mut metrics) {
            Ok(()) => prometheus::render(&metrics),
            // After the stop nothing is collected any more.
            Err(error) => format!("# metrics are not available: {error}\n"),
        }
    }

    /// `/metrics`, without a token: it holds no personal data.
    pub fn router(self: &Arc<Self>) -> Router {
        let telemetry = self.clone();
        let answer = move || async move {
            const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
            ([(header::CONTENT_TYPE, TEXT)], telemetry.render_metrics())
        };
        Router::new().route("/metrics", get(answer))
    }

    /// Exports what waits. Blocks: on a runtime's thread use `spawn_blocking`.
    pub fn flush(&self) {
        note("spans", self.tracers.force_flush());
        note("metrics", self.meters.force_flush());
    }

    /// Exports what waits and ends the exporters' threads. Blocks as [`Telemetry::flush`] does. A second call does
    /// nothing.
    pub fn stop(&self) {
        note("spans", self.tracers.shutdown_with_timeout(EXPORT_TIMEOUT));
        note("metrics", self.meters.shutdown_with_timeout(EXPORT_TIMEOUT));
    }
}

/// Replaces the process's panic message, which may quote a value, by the place alone. For `main`.
pub fn log_panics_without_their_message() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
        tracing::error!(place, thread, "a panic; this is a defect");
    }));
}

fn logs(settings: &Settings, writer: BoxMakeWriter) -> Result<Box<dyn Layer<LogsOver> + Send + Sync>, TelemetryError> {
    let filter: Targets = settings.log_level.parse().map_err(TelemetryError::Filter)?;
    let layer = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(false);
    Ok(match settings.log_format {
        LogFormat::Text => layer.with_filter(filter).boxed(),
        LogFormat::Json => layer.json().flatten_event(true).with_span_list(false).with_filter(filter).boxed(),
    })
}

/// The registry with the tracing layer on it, which the log layer goes on top of.
type LogsOver = tracing_subscriber::layer::Layered<
    tracing_subscriber::filter::Filtered<tracing_opentelemetry::OpenTelemetryLayer<Registry, opentelemetry_sdk::trace::SdkTracer>, Targets, Registry>,
    Registry,
>;

/// Without an endpoint spans get ids, so that a `traceparent` goes on, but nothing is recorded.
fn tracers(endpoint: Option<&str>, resource: Resource) -> Result<SdkTracerProvider, TelemetryError> {
    let builder = SdkTracerProvider::builder().with_resource(resource);
    let Some(endpoint) = endpoint else {
        return Ok(builder.with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOff))).build());
    };
    let exporter = SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(format!("{endpoint}/v1/traces"))
        .with_http_client(crate::client::blocking(EXPORT_TIMEOUT)?)
        .with_timeout(EXPORT_TIMEOUT)
        .build()?;
    let batches = BatchConfigBuilder::default().with_scheduled_delay(SPANS_EVERY).with_max_queue_size(SPANS_WAITING_MAX).build();
    let processor = BatchSpanProcessor::builder(exporter).with_batch_config(batches).build();
    Ok(builder.with_span_processor(processor).with_sampler(Sampler::AlwaysOn).build())
}

fn meters(endpoint: Option<&str>, resource: Resource, reader: SharedReader) -> Result<SdkMeterProvider, TelemetryError> {
    let builder = SdkMeterProvider::builder().with_resource(resource).with_reader(reader);
    let Some(endpoint) = endpoint else {
        return Ok(builder.build());
    };
    let exporter = MetricExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(format!("{endpoint}/v1/metrics"))
        .with_http_client(crate::client::blocking(EXPORT_TIMEOUT)?)
        .with_timeout(EXPORT_TIMEOUT)
        .build()?;
    let periodic = PeriodicReader::builder(exporter).with_interval(METRICS_EVERY).build();
    Ok(builder.with_reader(periodic).build())
}

fn note(what: &str, result: OTelSdkResult) {
    match result {
        Ok(()) | Err(opentelemetry_sdk::error::OTelSdkError::AlreadyShutdown) => {}
        Err(error) => tracing::warn!(what, error = &error as &dyn std::error::Error, "telemetry was not exported"),
    }
}

/// The reader behind `/metrics`: the provider owns one handle, this instance the other.
#[derive(Debug, Clone)]
struct SharedReader(Arc<ManualReader>);

impl MetricReader for SharedReader {
    fn register_pipeline(&self, pipeline: Weak<Pipeline>) {
        self.0.register_pipeline(pipeline);
    }

    fn collect(&self, metrics: &mut ResourceMetrics) -> OTelSdkResult {
        self.0.collect(metrics)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn temporality(&self, kind: InstrumentKind) -> Temporality {
        self.0.temporality(kind)
    }
}

//! OpenTelemetry metrics in the Prometheus text format: names with underscores and their unit, counters ending in
//! `_total`, histograms as cumulative buckets (OpenTelemetry specification, "Prometheus and OpenMetrics
//! Compatibility").

use std::collections::BTreeMap;
use std::fmt::{Display, Write};

use opentelemetry::{KeyValue, Value};
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, Metric, MetricData, ResourceMetrics};

/// A family: its type, help and lines. Instruments of the same name in several scopes share one.
#[derive(Default)]
struct Family {
    kind: &'static str,
    help: String,
    lines: String,
}

pub(super) fn render(metrics: &ResourceMetrics) -> String {
    let mut families = BTreeMap::new();
    for metric in metrics.scope_metrics().flat_map(|scope| scope.metrics()) {
        match metric.data() {
            AggregatedMetrics::F64(data) => add(&mut families, metric, data),
            AggregatedMetrics::U64(data) => add(&mut families, metric, data),
            AggregatedMetrics::I64(data) => add(&mut families, metric, data),
        }
    }
    let mut text = String::new();
    for (name, family) in families {
        // Writing to a String cannot fail.
        let _ = write!(text, "# HELP {name} {}\n# TYPE {name} {}\n{}", family.help, family.kind, family.lines);
    }
    text
}

fn add<T: Copy + Display>(families: &mut BTreeMap<String, Family>, metric: &Metric, data: &MetricData<T>) {
    let mut name = named(metric.name(), metric.unit());
    let mut lines = String::new();
    let kind = match data {
        MetricData::Gauge(gauge) => {
            for point in gauge.data_points() {
                let _ = writeln!(lines, "{name}{} {}", labels(point.attributes(), None), point.value());
            }
            "gauge"
        }
        MetricData::Sum(sum) => {
            if sum.is_monotonic() && !name.ends_with("_total") {
                name.push_str("_total");
            }
            for point in sum.data_points() {
                let _ = writeln!(lines, "{name}{} {}", labels(point.attributes(), None), point.value());
            }
            if sum.is_monotonic() { "counter" } else { "gauge" }
        }
        MetricData::Histogram(histogram) => {
            for point in histogram.data_points() {
                let mut below = 0;
                let bounds = point.bounds().map(|bound| bound.to_string()).chain(["+Inf".to_owned()]);
                for (bound, count) in bounds.zip(point.bucket_counts()) {
                    below += count;
                    let _ = writeln!(lines, "{name}_bucket{} {below}", labels(point.attributes(), Some(&bound)));
                }
                let plain = labels(point.attributes(), None);
                let _ = writeln!(lines, "{name}_sum{plain} {}", point.sum());
                let _ = writeln!(lines, "{name}_count{plain} {}", point.count());
            }
            "histogram"
        }
        // No instrument here asks for this aggregation.
        MetricData::ExponentialHistogram(_) => return,
    };
    let family = families.entry(name).or_default();
    family.kind = kind;
    family.help = metric.description().replace('\\', "\\\\").replace('\n', "\\n");
    family.lines.push_str(&lines);
}

fn named(name: &str, unit: &str) -> String {
    let clean = |c: char| {
        if c.is_ascii_alphanumeric() || c == ':' { c } else { '_' }
    };
    let mut text: String = name.chars().map(clean).collect();
    let suffix = match unit {
        "s" => "seconds",
        "ms" => "milliseconds",
        "By" => "bytes",
        _ => "",
    };
    if !suffix.is_empty() && !text.ends_with(suffix) {
        text.push('_');
        text.push_str(suffix);
    }
    text
}

fn labels<'a>(attributes: impl Iterator<Item = &'a KeyValue>, bound: Option<&str>) -> String {
    let mut pairs: Vec<String> = attributes
        .map(|attribute| {
            let name = named(attribute.key.as_str(), "").replace(':', "_");
            format!("{name}=\"{}\"", escaped(&attribute.value))
        })
        .collect();
    pairs.sort();
    if let Some(bound) = bound {
        pairs.push(format!("le=\"{bound}\""));
    }
    if pairs.is_empty() { String::new() } else { format!("{{{}}}", pairs.join(",")) }
}

fn escaped(value: &Value) -> String {
    let text = value.as_str();
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

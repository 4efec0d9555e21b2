//! The project's own measurements: what a figure in `docs/performance.md` came from.
//!
//! Every durable figure is printed beside the folder's fdatasync rate, because that is what bounds it.

mod append;
pub mod disk;

pub use append::append;

use std::path::PathBuf;
use std::time::Duration;

/// What every measurement needs.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the files go; a folder of its own is made in it and removed afterwards.
    pub folder: PathBuf,
    pub seconds: Duration,
}

/// One line of a table of figures.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Figure {
    pub what: String,
    pub callers: usize,
    pub per_second: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
}

impl std::fmt::Display for Figure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:<40} {:>4} callers {:>9.0}/s  p50 {:>7.2} ms  p99 {:>7.2} ms", self.what, self.callers, self.per_second, self.p50_ms, self.p99_ms)
    }
}

/// Microsecond latencies up to a minute.
pub(crate) fn histogram() -> hdrhistogram::Histogram<u64> {
    hdrhistogram::Histogram::new_with_bounds(1, 60_000_000, 3).expect("constant bounds are valid")
}

pub(crate) fn ms(us: u64) -> f64 {
    us as f64 / 1000.0
}

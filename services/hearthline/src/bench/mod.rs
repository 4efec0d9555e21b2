//! The project's own measurements: what a figure in `docs/performance.md` came from.
//!
//! Every durable figure is printed beside the folder's fdatasync rate, because that is what bounds it.

mod append;
mod bed;
mod calls;
mod inbox;
mod latency;
mod load;
mod parse;
mod rebuild;
mod system;
mod transport;

use crate::cli::BenchCommand;
use hearthline_runtime::connect::Servers;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// What every measurement needs.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the files go; a folder of its own is made in it and removed afterwards.
    pub folder: PathBuf,
    pub seconds: Duration,
    /// Where they are configured: measured on PostgreSQL and Kafka instead.
    pub servers: Option<Servers>,
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
        write!(f, "{:<42} {:>4} {:>11.0} {:>9.2} {:>9.2}", self.what, self.callers, self.per_second, self.p50_ms, self.p99_ms)
    }
}

/// `hearthline bench …`
pub async fn command(what: BenchCommand, on: Option<PathBuf>, seconds: Duration, servers: Option<Servers>, json: bool) -> anyhow::Result<ExitCode> {
    let folder = on.unwrap_or_else(std::env::temp_dir);
    let options = Options { folder, seconds, servers };
    let rate = sync_rate(&options.folder)?;
    if !json {
        println!("{} cores; fdatasync {rate:.0}/s on {}", std::thread::available_parallelism().map_or(1, usize::from), options.folder.display());
        println!("{:<42} {:>4} {:>11} {:>9} {:>9}", "", "at", "per second", "p50 ms", "p99 ms");
    }
    let all = matches!(what, BenchCommand::All);
    let mut figures = Vec::new();
    let mut notes = Vec::new();
    let mut add = |new: Vec<Figure>| {
        if !json {
            new.iter().for_each(|f| println!("{f}"));
        }
        figures.extend(new);
    };
    if all || matches!(what, BenchCommand::Parse) {
        add(parse::parse(options.seconds)?);
    }
    if let BenchCommand::Append { callers } = &what {
        add(append::append(&options, callers).await?);
    } else if all {
        add(append::append(&options, &[1, 8, 32, 256]).await?);
    }
    match what {
        BenchCommand::Rebuild { events } => add(rebuild::rebuild(&options, events).await?),
        _ if all => add(rebuild::rebuild(&options, 300_000).await?),
        _ => {}
    }
    match what {
        BenchCommand::Relay { events } => add(transport::relay(&options, events).await?),
        BenchCommand::Consume { events } => add(transport::consume(&options, events).await?),
        _ if all => {
            add(transport::relay(&options, 100_000).await?);
            add(transport::consume(&options, 200_000).await?);
        }
        _ => {}
    }
    let connections = if let BenchCommand::Calls { connections } = what { Some(connections) } else { all.then_some(32) };
    if let Some(connections) = connections {
        for alone in [true, false] {
            add(vec![calls::calls(&options, connections, alone).await?]);
        }
    }
    match what {
        BenchCommand::Mllp { connections, at: Some(at) } => add(vec![inbox::sent_to(at, format!("MLLP to AA, {at}"), options.seconds, connections).await?]),
        BenchCommand::Mllp { connections, at: None } => {
            for reads in [false, true] {
                add(vec![inbox::mllp(&options, connections, reads).await?]);
            }
        }
        _ if all => {
            for reads in [false, true] {
                add(vec![inbox::mllp(&options, 32, reads).await?]);
            }
        }
        _ => {}
    }
    match what {
        BenchCommand::Interpret { messages } => add(inbox::interpret(&options, messages).await?),
        BenchCommand::Search { messages } => add(inbox::search(&options, messages).await?),
        _ if all => {
            add(inbox::interpret(&options, 60_000).await?);
            add(inbox::search(&options, 1_000_000).await?);
        }
        _ => {}
    }
    let rate_per_second = if let BenchCommand::Latency { per_second } = what { Some(per_second) } else { all.then_some(200) };
    if let Some(per_second) = rate_per_second {
        let (new, mib, start) = latency::latency(&options, per_second).await?;
        add(new);
        notes.push(json!({ "resident_mib": mib, "start_to_ready_s": start.as_secs_f64() }));
        if !json {
            println!("memory under that load, load generator included: {mib:.0} MiB; start to ready with a home registered: {:.2} s", start.as_secs_f64());
        }
    }
    if json {
        println!("{:#}", json!({ "fdatasync_per_second": rate, "figures": figures, "notes": notes }));
    }
    Ok(ExitCode::SUCCESS)
}

fn sync_rate(folder: &Path) -> anyhow::Result<f64> {
    Ok(hearthline_runtime::disk::measure_sync_rate(folder, 3_000, Duration::from_secs(1))?.per_second)
}

/// Microsecond latencies up to a minute.
pub(crate) fn histogram() -> hdrhistogram::Histogram<u64> {
    hdrhistogram::Histogram::new_with_bounds(1, 60_000_000, 3).expect("constant bounds are valid")
}

pub(crate) fn ms(us: u64) -> f64 {
    us as f64 / 1000.0
}

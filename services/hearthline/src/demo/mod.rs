//! `hearthline demo`: a made-up week of 104 homes and their hospitals, fed through the real sockets of a real process, and
//! figures that must be what the week was.
//!
//! 1. [`generator`] makes the week from a seed; [`expect`] says, by a plain model, what must come out;
//! 2. the sandbox servers (prescriptions, shared record, mail) start in this process, the hub in another, or on servers ([`namespace`])
//!    in one for each replica of each service, between which the driver chooses by the path ([`routing`]): [`serving`];
//! 3. registers and residents are loaded and every service has heard of them;
//! 4. messages ([`feed`]) and calls ([`journey`]) go in by the time at which they happened; before a later fact of a resident
//!    their call's deliveries have ended ([`settle`]);
//! 5. when nothing moves any more, the figures are fetched and compared, and so is what arrived outside ([`check`]).
//!
//! With kills ([`pace`]) a serving process dies and comes back at seeded steps. The driver then resumes by the same keys and
//! control ids, as the people and hospitals around a hub would, and the figures must be those of an undisturbed run.

mod adt;
mod check;
mod dev;
pub mod expect;
mod feed;
mod files;
pub mod generator;
mod hub;
mod journey;
mod namespace;
mod pace;
mod progress;
mod report;
mod routing;
mod run;
mod serving;
mod setting;
mod settle;
pub mod week;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use hearthline_runtime::config::Config;
use jiff::civil::Date;
use serde::Serialize;
use serde_json::Value;

pub use adt::NumberVariant;
pub use dev::servers as development_servers;
pub use run::run;

/// The hub's own organisation in the demonstration; not a code in use.
const CONTROLLER: &str = "ZH100";

/// How the demonstration runs.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the data goes, an empty folder; a temporary one where none is given.
    pub folder: Option<PathBuf>,
    /// Leaves everything running until Ctrl-C.
    pub keep: bool,
    /// Makes the week, and chooses where the process dies.
    pub seed: u64,
    /// How often a serving process is killed on the way.
    pub kills: u32,
    /// A folder of HL7 v2 message files that are fed beside the week.
    pub hl7: Option<PathBuf>,
    /// Prints the outcome as JSON and nothing else.
    pub json: bool,
    /// Prints nothing at all.
    pub quiet: bool,
    /// A rare word in every personal value, for tests that search for it.
    pub marker: Option<String>,
    /// How many hospital messages are made.
    pub messages: usize,
    /// The week's Monday; the last whole week that ended five days ago where none is given.
    pub monday: Option<Date>,
    /// The `hearthline` program; this one where none is given.
    pub program: Option<PathBuf>,
    /// Where the serving process exports traces and metrics.
    pub otlp_endpoint: Option<String>,
    /// The configuration whose PostgreSQL and Kafka are used; one process on one machine where none is given.
    pub servers: Option<Config>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            folder: None,
            keep: false,
            seed: 104,
            kills: 0,
            hl7: None,
            json: false,
            quiet: false,
            marker: None,
            messages: 1_500,
            monday: None,
            program: None,
            otlp_endpoint: None,
            servers: None,
        }
    }
}

/// What came of it.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    pub seed: u64,
    /// The week's Monday, YYYY-MM-DD.
    pub monday: String,
    /// The KPI service's answer for the week.
    pub kpi: Value,
    /// SHA-256 of its figures without ids and times of the run: equal for equal weeks.
    pub kpi_checksum: String,
    pub counts: Counts,
    pub timings: Timings,
    /// The page that shows the figures, with a token in its fragment.
    pub page: String,
    /// Before the names of this run's schemas on the servers, where it ran on some.
    pub schema_prefix: Option<String>,
    /// What came out otherwise than it went in; empty when all is well.
    pub differences: Vec<String>,
}

impl Outcome {
    /// Whether what went in is what came out.
    pub fn agrees(&self) -> bool {
        self.differences.is_empty()
    }
}

/// How much went through.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Counts {
    pub homes: usize,
    pub residents: usize,
    pub calls: usize,
    /// Acknowledgements of the week's messages by code.
    pub acknowledged: BTreeMap<&'static str, u64>,
    /// Those of message files; `none` where nobody answered.
    pub files_acknowledged: BTreeMap<&'static str, u64>,
    /// Files in which there was no message.
    pub files_unreadable: usize,
    pub documents: usize,
    pub mails: usize,
    pub orders: usize,
    /// How many serving processes there are.
    pub processes: usize,
    /// How often one was killed.
    pub kills: u32,
    /// The same by what the process serves.
    pub killed: BTreeMap<&'static str, u32>,
    /// Requests and messages that had to be sent again.
    pub requests_repeated: u64,
    pub messages_resent: u64,
    /// Deliveries of which nobody knew whether they had arrived, settled after a look at the receiver.
    pub settled_by_hand: u64,
}

/// How long it took, in milliseconds.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Timings {
    pub start_ms: u64,
    pub registers_ms: u64,
    pub feed_ms: u64,
    pub settle_ms: u64,
    pub total_ms: u64,
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

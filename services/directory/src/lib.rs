//! The directory: which homes, practices and pharmacies there are, and who lives where under which random id.
//!
//! One fact, walked:
//! 1. `POST /calls` elsewhere names a provisional resident; its `CallOpened` arrives on the call topic ([`inbound`]).
//! 2. The sealed words of the caller are opened ([`wire::said`]) and compared with what is known ([`domain::identify`]): the NHS
//!    number finds its holder through a tag ([`residents`]), never through a number in a row.
//! 3. [`domain::decide`] gives `ResidentsMerged` on the survivor's stream, `ResidentRegistered` under the provisional id, or a task.
//! 4. The unit is appended with its claim; [`view`] and the kernel's identities follow in the same transaction.
//! 5. The relay publishes; every other service resolves ids by these edges.
//!
//! Registers come as CSV ([`registers`]), residents and merges by HTTP ([`http`]).
//!
//! What must not happen here: two people becoming one without a person's or a caller's word, a number in a row, a read of
//! personal data without its audit row.

pub mod domain;
pub mod http;
pub mod inbound;
pub mod registers;
pub mod residents;
pub mod view;
pub mod wire;

use hearthline_contracts::topics::{self, Topic};
use hearthline_eventing::identity::Identities;
use hearthline_eventing::{Kernel, Ports, View, Workers};
use hearthline_runtime::http::{Shell, access_table};
use hearthline_runtime::service::Built;
use std::sync::Arc;

pub use http::routes;

pub const NAME: &str = "directory";
pub const TOPIC: &Topic = &topics::DIRECTORY;

/// What the directory needs of the configuration.
#[derive(Debug, Clone)]
pub struct Options {
    /// How far back something may be entered afterwards, in days.
    pub late_entry_days: u32,
}

/// The projections written with every unit.
pub fn views() -> Vec<Arc<dyn View>> {
    vec![Arc::new(Identities), Arc::new(view::Listing)]
}

/// The service, not yet running.
pub async fn build(options: Options, ports: &Ports, shell: &Shell) -> anyhow::Result<Built> {
    let kernel = Kernel::new(NAME, TOPIC, ports);
    let streams = residents::Streams { kernel: kernel.clone() };
    let live = ports.deployment.environment == hearthline_contracts::envelope::Environment::Live;
    let state = http::State { streams: streams.clone(), late_entry_days: options.late_entry_days, live };
    let routes = routes();
    let access = access_table(&routes);
    let workers =
        Workers { kernel: kernel.clone(), inbound: Some(Arc::new(inbound::Policies { streams })), on_timer: None, couriers: Vec::new(), leading: Vec::new() };
    Ok(Built { name: NAME, kernel, router: shell.mount(routes, state), access, workers, tasks: Vec::new(), addresses: Vec::new() })
}

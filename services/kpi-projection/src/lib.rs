//! kpi-projection: what the service did, what its clinicians say it avoided, and what the hospitals saw afterwards. It knows
//! nobody: it has no grant for any key, and keeps ids, codes and times.
//!
//! One fact's way:
//! 1. [`inbound`] takes every context's facts and acts on none; each is kept, without its sealed part, for rebuilds.
//! 2. [`wire`] decodes a fact once, into this service's words ([`told`]).
//! 3. [`view`] groups a batch by row and folds ([`fold`]) each row ([`rows`]) from the facts of its own stream alone, so that no
//!    mixing of streams changes a row. The tables and the `kpi_v1_…` views over them are what outsiders read.
//! 4. A request names a window of whole weeks ([`window`]) and a moment. [`read`] fetches the rows that the window needs and
//!    resolves people through the alias edges ([`people`]).
//! 5. [`measures`] chains calls into [`episodes`], [`reconcile`] judges each claim against visits, [`coverage`] and feed gaps,
//!    and every measure of the [`catalogue`] is taken of each week.
//! 6. [`http`] answers as JSON or CSV ([`answer`]) or as HTML ([`page`]).
//!
//! What must not happen here: a figure that is stored and so outlives its correction; "not known" shown as none; claims of
//! different kinds added up.

use crate::http::Dashboard;
use hearthline_contracts::envelope::Environment;
use hearthline_contracts::topics::{self, Topic};
use hearthline_eventing::{Kernel, Ports, View, Workers};
use hearthline_runtime::config::{Coverage, Kpi};
use hearthline_runtime::http::{Shell, access_table};
use hearthline_runtime::service::Built;
use std::sync::Arc;

pub mod answer;
mod cases;
pub mod catalogue;
pub mod codes;
pub mod coverage;
pub mod episodes;
pub mod fold;
pub mod http;
pub mod inbound;
pub mod measures;
pub mod page;
pub mod people;
pub mod read;
pub mod reconcile;
pub mod rows;
pub mod told;
pub mod view;
pub mod window;
pub mod wire;

/// Name of the service, its store and its subscription.
pub const NAME: &str = "kpi-projection";

/// Where its own events go.
pub const TOPIC: &Topic = &topics::KPI;

/// What it keeps.
pub fn views() -> Vec<Arc<dyn View>> {
    vec![Arc::new(view::Measured)]
}

/// What it needs of the configuration.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long after a call a visit contradicts a claim, in hours: the headline window.
    pub window_h: u32,
    /// How long after the window messages may still arrive, in hours.
    pub feed_lag_h: u32,
    /// What the feeds show.
    pub coverage: Vec<Coverage>,
}

impl From<&Kpi> for Options {
    fn from(kpi: &Kpi) -> Self {
        Options { window_h: kpi.window_h, feed_lag_h: kpi.feed_lag_h, coverage: kpi.coverage.clone() }
    }
}

/// Puts the service together; nothing runs yet.
pub fn build(options: Options, ports: &Ports, shell: &Shell) -> Built {
    let kernel = Kernel::new(NAME, TOPIC, ports);
    let dashboard = Arc::new(Dashboard { store: kernel.store.clone(), options, live: ports.deployment.environment == Environment::Live });
    let routes = http::routes();
    let access = access_table(&routes);
    Built {
        name: NAME,
        kernel: kernel.clone(),
        router: shell.mount(routes, dashboard),
        access,
        workers: Workers { kernel, inbound: Some(Arc::new(inbound::Facts)), on_timer: None, couriers: Vec::new(), leading: Vec::new() },
        tasks: Vec::new(),
        addresses: Vec::new(),
    }
}

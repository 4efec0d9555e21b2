//! The PAS gateway: hospitals' ADT messages in, visits of residents and homes out.
//!
//! One message, walked:
//! 1. A trust's system sends a frame; [`mllp`] cuts it out of the stream and begins a span.
//! 2. [`receive`] finds the peer, reads the frame or says why it can never be taken (AE, AR), appends its row under the day's key with
//!    the claim that makes a repeat known, and answers. The frame is durable; what it means is not known yet.
//! 3. [`interpret`], on the holder of the lease, opens what was received in pages, learns in a few queries who the patients are by tag,
//!    where the addresses are and which visits are spoken of ([`known`]), and asks [`domain::decide`] ([`gateway`]).
//! 4. One unit a message: the visit's events and claims, the bytes under the visit's key, and how the row stands ([`inbox`]).
//! 5. The relay publishes `VisitOpened`; whoever claimed an avoided admission learns of it.
//! 6. When the directory says who somebody is or where a home is ([`inbound`]), messages still held are judged again ([`timers`]).
//!
//! What must not happen here: a message accepted that is not durable, an answer to trouble of our own, a stranger's name, number or
//! address in an event or in clear anywhere, a stranger's message after the days that were agreed on.

pub mod activity;
pub mod connections;
pub mod domain;
pub mod explain;
pub mod feeds;
pub mod gateway;
pub mod http;
pub mod inbound;
pub mod inbox;
pub mod interpret;
pub mod known;
pub mod mllp;
pub mod national;
pub mod peer;
mod persons;
pub mod profile;
pub mod reading;
pub mod receive;
pub mod reprocess;
pub mod search;
pub mod send;
pub mod shadow;
pub mod sheet;
mod tags;
pub mod timers;
pub mod view;
pub mod waiting;
pub mod wire;

use gateway::Gateway;
use hearthline_contracts::envelope::Environment;
use hearthline_contracts::topics::{self, Topic};
use hearthline_eventing::identity::Identities;
use hearthline_eventing::{Kernel, Ports, View, Workers, now_us};
use hearthline_runtime::http::{Shell, access_table};
use hearthline_runtime::service::{Built, Task};
use mllp::listener::Port;
use peer::DEFAULT_LISTENER;
use std::sync::Arc;

pub use http::routes;
pub use peer::{Listener, Peer, Sends, sending};

pub const NAME: &str = "pas-gateway";
pub const TOPIC: &Topic = &topics::HOSPITAL;

/// What the gateway needs of the configuration.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where MLLP is listened for, the one that every deployment has first; port 0 takes any free one.
    pub listeners: Vec<Listener>,
    /// The largest message, in bytes, where no peer says another.
    pub frame_limit: usize,
    pub timings: mllp::Timings,
    /// How many days strangers' messages are kept.
    pub kept_days: u16,
    /// Who may send.
    pub peers: Vec<Peer>,
}

/// The projections written with every unit.
pub fn views() -> Vec<Arc<dyn View>> {
    vec![Arc::new(Identities), Arc::new(view::Homes)]
}

/// The service with its listener bound, not yet running.
pub async fn build(options: Options, ports: &Ports, shell: &Shell) -> anyhow::Result<Built> {
    let kernel = Kernel::new(NAME, TOPIC, ports);
    let gateway = Gateway::new(kernel.clone(), options.peers, ports.deployment.environment == Environment::Live, options.kept_days)?;
    if let Some(meter) = shell.meter() {
        gateway.connections.measured_by(meter);
    }
    timers::arm(kernel.store.as_ref(), now_us()).await?;
    let (mut tasks, mut addresses): (Vec<(&'static str, Task)>, _) = (Vec::new(), Vec::new());
    for listener in &options.listeners {
        let port = Port::open(listener, options.frame_limit, options.timings).await?;
        let name = if listener.name == DEFAULT_LISTENER { "mllp".to_owned() } else { format!("mllp:{}", listener.name) };
        addresses.push((name, port.address()?));
        let gateway = gateway.clone();
        tasks.push(("mllp", Box::new(move |stop| Box::pin(port.serve(gateway, stop)))));
    }
    let routes = routes();
    let access = access_table(&routes);
    let router = shell.mount(routes, http::State { gateway: gateway.clone() });
    let workers = Workers {
        kernel: kernel.clone(),
        inbound: Some(Arc::new(inbound::Policies { gateway: gateway.clone() })),
        on_timer: Some(Arc::new(timers::Clock { gateway: gateway.clone() })),
        couriers: Vec::new(),
        leading: vec![Arc::new(interpret::Interpreter { gateway: gateway.clone() })],
    };
    Ok(Built { name: NAME, kernel, router, access, workers, tasks, addresses })
}

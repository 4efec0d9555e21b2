//! The gateway's listeners on a store, without its workers.

use crate::world::*;
use hearthline_contracts::envelope::Environment;
use hearthline_eventing::Store;
use hearthline_pas_gateway::connections::ConnectionReport;
use hearthline_pas_gateway::gateway::Gateway;
use hearthline_pas_gateway::mllp::{Timings, listener::Port};
use hearthline_pas_gateway::{Listener, Peer};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio_util::sync::{CancellationToken, DropGuard};

pub struct Edge {
    pub world: World,
    pub gateway: Gateway,
    /// One for each listener.
    pub addresses: Vec<SocketAddr>,
    _stop: DropGuard,
}

pub fn plain(name: &str) -> Listener {
    Listener { name: name.to_owned(), listen: ([127, 0, 0, 1], 0).into(), tls: None }
}

pub async fn edge(peers: Vec<Peer>, timings: Timings) -> Edge {
    edge_on(peers, timings, vec![plain("default")], |store| store).await
}

pub async fn edge_on(peers: Vec<Peer>, timings: Timings, listeners: Vec<Listener>, store: impl FnOnce(Arc<dyn Store>) -> Arc<dyn Store>) -> Edge {
    let world = World::new(Environment::Test).await;
    let mut gateway = world.gateway_on(store(world.ports.store.clone()));
    gateway.peers = Arc::new(peers);
    let stop = CancellationToken::new();
    let mut addresses = Vec::new();
    for listener in &listeners {
        let port = Port::open(listener, 1 << 20, timings).await.expect("bound");
        addresses.push(port.address().expect("bound"));
        tokio::spawn(port.serve(gateway.clone(), stop.clone()));
    }
    Edge { world, gateway, addresses, _stop: stop.drop_guard() }
}

impl Edge {
    /// The only connection.
    pub fn connection(&self) -> ConnectionReport {
        let mut reports = self.gateway.connections();
        assert_eq!(reports.len(), 1, "{reports:?}");
        reports.remove(0)
    }

    /// How the only connection ended.
    pub async fn end(&self) -> ConnectionReport {
        until("the connection ended", || async { self.gateway.connections().iter().any(|c| c.ended.is_some()) }).await;
        self.connection()
    }
}

pub fn quirks(report: &ConnectionReport) -> Vec<(&'static str, u64)> {
    report.quirks.iter().map(|quirk| (quirk.name, quirk.count)).collect()
}

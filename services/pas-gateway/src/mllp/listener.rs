//! A port: TCP or TLS connections, each served by a task of its own.

use super::Timings;
use super::connection::Connection;
use crate::connections::{Ended, Entry};
use crate::gateway::Gateway;
use crate::peer::{DEFAULT_LISTENER, Listener};
use anyhow::Context;
use hearthline_runtime::tls::{self, Identity, Pair};
use socket2::{SockRef, TcpKeepalive};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::sync::CancellationToken;
use tracing::instrument::WithSubscriber;

const CONNECTIONS_MAX: usize = 512;
/// A host that is gone without a word is noticed in about a minute.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new().with_time(Duration::from_secs(30)).with_interval(Duration::from_secs(10)).with_retries(3);

/// A bound listener.
pub struct Port {
    name: Arc<str>,
    socket: TcpListener,
    tls: Option<TlsAcceptor>,
    timings: Timings,
    /// The largest frame of whoever has not said who they are.
    frame_limit: usize,
}

impl Port {
    /// Binds the address and reads the certificates.
    pub async fn open(listener: &Listener, frame_limit: usize, timings: Timings) -> anyhow::Result<Self> {
        let what = match listener.name.as_str() {
            DEFAULT_LISTENER => "mllp.listen".to_owned(),
            name => format!("[[mllp.listener]] {name}:"),
        };
        let tls = match &listener.tls {
            None => None,
            Some(files) => {
                let own = Pair { certificate_file: &files.certificate_file, key_file: &files.key_file };
                let config = tls::server(own, files.client_ca_file.as_deref()).with_context(|| format!("{what} TLS cannot be offered"))?;
                Some(TlsAcceptor::from(config))
            }
        };
        let socket = TcpListener::bind(listener.listen).await.map_err(|e| anyhow::anyhow!("{what} {} cannot be listened on: {e}", listener.listen))?;
        Ok(Port { name: Arc::from(listener.name.as_str()), socket, tls, timings, frame_limit })
    }

    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Accepts connections until `stop`, then lets those that are open answer what they have read.
    pub async fn serve(self, gateway: Gateway, stop: CancellationToken) -> Result<(), String> {
        let port = Arc::new(self);
        let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(_) = connections.join_next(), if !connections.is_empty() => continue,
                accepted = port.socket.accept() => accepted,
            };
            match accepted {
                Ok((socket, from)) => {
                    let Ok(slot) = slots.clone().try_acquire_owned() else {
                        let made_way = gateway.connections.make_way();
                        tracing::warn!(%from, listener = %port.name, made_way, "too many connections; this one is closed");
                        continue;
                    };
                    let (port, gateway, stop) = (port.clone(), gateway.clone(), stop.clone());
                    let serve = async move {
                        port.connection(socket, from, gateway, stop).await;
                        drop(slot);
                    };
                    connections.spawn(serve.with_current_subscriber());
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        while connections.join_next().await.is_some() {}
        Ok(())
    }

    async fn connection(&self, socket: TcpStream, from: SocketAddr, gateway: Gateway, stop: CancellationToken) {
        let registry = gateway.connections.clone();
        let entry = registry.opened(self.name.clone(), from);
        // An entry whose task panics must not stay open in the registry.
        let left = Left { registry, entry: entry.clone(), why: Some(Ended::Panicked) };
        let why = self.talk(socket, entry, gateway, stop).await;
        match &why {
            Ended::BySender | Ended::Stopped => tracing::debug!(%from, why = why.words(), "a connection ended"),
            Ended::NotNow(cause) => tracing::warn!(%from, cause, why = why.words(), "a connection ended"),
            _ => tracing::warn!(%from, why = why.words(), "a connection ended"),
        }
        left.because(why);
    }

    async fn talk(&self, socket: TcpStream, entry: Arc<Entry>, gateway: Gateway, stop: CancellationToken) -> Ended {
        let options = socket.set_nodelay(true).and_then(|()| SockRef::from(&socket).set_tcp_keepalive(&KEEPALIVE));
        if let Err(error) = options {
            return Ended::Failed(error.to_string());
        }
        let Some(acceptor) = &self.tls else {
            return Connection::new(socket, gateway, entry, self.timings, self.frame_limit, None).serve(stop).await;
        };
        let handshake = tokio::select! {
            biased;
            () = stop.cancelled() => return Ended::Stopped,
            why = entry.told() => return why,
            handshake = tokio::time::timeout(self.timings.handshake, acceptor.accept(socket)) => handshake,
        };
        match handshake {
            Err(_) => Ended::Handshake(format!("it was not finished within {} s", self.timings.handshake.as_secs())),
            Ok(Err(error)) => Ended::Handshake(error.to_string()),
            Ok(Ok(stream)) => {
                let (version, identity) = agreed(&stream);
                entry.secured(version, identity.clone());
                Connection::new(stream, gateway, entry, self.timings, self.frame_limit, identity.map(Arc::new)).serve(stop).await
            }
        }
    }
}

fn agreed(stream: &TlsStream<TcpStream>) -> (String, Option<Identity>) {
    let (_, session) = stream.get_ref();
    let version = session.protocol_version().and_then(|version| version.as_str()).unwrap_or("TLS").replace("TLSv1_", "TLS 1.");
    (version, session.peer_certificates().and_then(|chain| chain.first()).map(Identity::of))
}

/// Takes the entry out of the open ones when the task ends, however it ends.
struct Left {
    registry: crate::connections::Connections,
    entry: Arc<Entry>,
    why: Option<Ended>,
}

impl Left {
    fn because(mut self, why: Ended) {
        self.why = Some(why);
    }
}

impl Drop for Left {
    fn drop(&mut self) {
        if let Some(why) = self.why.take() {
            self.registry.ended(&self.entry, &why);
        }
    }
}

//! A service's grip on the kernel: load a stream, append a unit, run the workers.

use crate::compose::{ComposeError, Composer, Deployment, OpenError, PersonalBytes};
use crate::consumer::{self, Inbound};
use crate::deliveries::{self, Courier};
use crate::event::Fact;
use crate::keyring::Keyring;
use crate::lease::Lease;
use crate::ports::{KeyStore, KeyringError, Log, Store, StoreError};
use crate::relay::Relay;
use crate::timers::{self, OnTimer};
use crate::unit::{Answer, ClaimHolder, Unit};
use crate::upgrade;
use async_trait::async_trait;
use hearthline_contracts::topics::Topic;
use hearthline_contracts::wire;
use hearthline_nhs::StreamId;
use std::future::Future;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// What a deployment hands to a service.
#[derive(Clone)]
pub struct Ports {
    pub store: Arc<dyn Store>,
    pub log: Arc<dyn Log>,
    pub keys: Arc<dyn KeyStore>,
    pub deployment: Deployment,
    /// This process, as senders of deliveries and holders of leases are named.
    pub instance: [u8; 16],
    /// No other process can be at work on this store: a sender that is not us has ended.
    pub alone: bool,
}

/// What a service works with. Cheap to clone.
#[derive(Clone)]
pub struct Kernel {
    pub store: Arc<dyn Store>,
    pub composer: Composer,
    pub instance: [u8; 16],
    pub(crate) alone: bool,
    pub(crate) log: Arc<dyn Log>,
}

/// An event of a stream with its personal part opened as far as it opens.
#[derive(Debug, Clone)]
pub struct Opened {
    pub fact: Fact,
    pub personal: Option<PersonalBytes>,
}

/// Why something cannot be done now; the same attempt may succeed later.
#[derive(Debug, Clone, thiserror::Error)]
pub enum NotNow {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Compose(ComposeError),
    /// A dependency's trouble, said without personal data.
    #[error("{0}")]
    Other(String),
}

impl From<ComposeError> for NotNow {
    fn from(error: ComposeError) -> Self {
        match error {
            ComposeError::Keyring(error) => NotNow::Keyring(error),
            error @ ComposeError::NotFinalised { .. } => NotNow::Compose(error),
        }
    }
}

impl Kernel {
    pub fn new(service: &str, topic: &'static Topic, ports: &Ports) -> Self {
        Kernel {
            store: ports.store.clone(),
            composer: Composer { topic, deployment: ports.deployment.clone(), keyring: Keyring::new(service, ports.keys.clone()) },
            instance: ports.instance,
            alone: ports.alone,
            log: ports.log.clone(),
        }
    }

    /// What a unit of [`Leading`] work carries: refused as `Fenced` once another process has taken the service's lease.
    pub fn fence(&self) -> Option<([u8; 16], i64, i64)> {
        crate::lease::fence_of(self.instance)
    }

    /// A stream's events in order, personal parts opened; empty if the stream does not exist.
    pub async fn load(&self, stream: StreamId) -> Result<Vec<Opened>, NotNow> {
        let recorded = self.store.read_stream(stream, 0).await?;
        let mut opened = Vec::with_capacity(recorded.len());
        for event in recorded {
            let parts = wire::split(&event.payload).map_err(|_| NotNow::Other("a stored event does not decode".to_owned()))?;
            let fact = Fact { topic: self.composer.topic.name, envelope: parts.envelope, sealed: parts.sealed, payload: event.payload };
            let personal = self.composer.personal(&fact).await?;
            opened.push(Opened { fact, personal });
        }
        Ok(opened)
    }

    /// A stream's facts in order, personal parts left sealed: for decisions that need none of them.
    pub async fn facts(&self, stream: StreamId) -> Result<Vec<Fact>, NotNow> {
        let recorded = self.store.read_stream(stream, 0).await?;
        recorded
            .into_iter()
            .map(|event| {
                let parts = wire::split(&event.payload).map_err(|_| NotNow::Other("a stored event does not decode".to_owned()))?;
                Ok(Fact { topic: self.composer.topic.name, envelope: parts.envelope, sealed: parts.sealed, payload: event.payload })
            })
            .collect()
    }
}

/// What an attempted unit came to.
#[derive(Debug, Clone)]
pub enum Attempted<T> {
    Committed {
        position: u64,
        value: T,
    },
    /// Somebody holds one of its unique claims: for an idempotency key, the same request came before.
    Claimed(ClaimHolder),
}

/// How often a handler decides again when a stream moved on under it.
pub const ATTEMPTS_MAX: u32 = 5;

/// Builds a unit and appends it; on a version conflict, builds it anew from what is there now, at most five times.
/// `build` loads, decides and composes; its error type takes [`NotNow`] for our own trouble.
pub async fn retrying<T, E, F, Fut>(store: &dyn Store, mut build: F) -> Result<Attempted<T>, E>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<(Unit, T), E>>,
    E: From<NotNow>,
{
    for _ in 0..ATTEMPTS_MAX {
        let (unit, value) = build().await?;
        match store.append(unit).await.map_err(NotNow::from)? {
            Answer::Committed { position } => return Ok(Attempted::Committed { position, value }),
            Answer::Claimed(holder) => return Ok(Attempted::Claimed(holder)),
            Answer::VersionConflict { .. } | Answer::Fenced(_) => {}
        }
    }
    Err(NotNow::Other("the stream kept changing; try again".to_owned()).into())
}

/// The workers of a service: relay, consumers, timers, deliveries.
pub struct Workers {
    pub kernel: Kernel,
    pub inbound: Option<Arc<dyn Inbound>>,
    pub on_timer: Option<Arc<dyn OnTimer>>,
    pub couriers: Vec<Arc<dyn Courier>>,
    pub leading: Vec<Arc<dyn Leading>>,
}

/// Work of which one process at a time has charge: the one that holds the service's lease.
#[async_trait]
pub trait Leading: Send + Sync {
    fn name(&self) -> &'static str;
    /// Runs until `stop`; called anew whenever this process leads again. What it appends should carry [`Kernel::fence`].
    async fn lead(&self, stop: CancellationToken) -> Result<(), StoreError>;
}

/// A worker ended unplanned: the process stops and is started anew.
#[derive(Debug, thiserror::Error)]
#[error("{service}: {worker} stopped: {why}")]
pub struct Stopped {
    pub service: String,
    pub worker: &'static str,
    pub why: String,
}

impl Workers {
    /// Runs until `shutdown`; an error means that a worker gave up, by name.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), Stopped> {
        let service = self.kernel.store.service().to_owned();
        let stop = shutdown.child_token();
        // The relay opens it once log and store agree.
        self.kernel.store.set_open(Err("its store is not compared with the log yet".to_owned()));
        let mut tasks = tokio::task::JoinSet::new();
        // Given up after the others have ended, so that nobody takes over what is still at work here.
        let (lease, lease_ends) = (Lease::new(self.kernel.store.clone(), self.kernel.instance).alone(self.kernel.alone), CancellationToken::new());
        let leasing = tokio::spawn(dressed(&service, "lease", {
            let (lease, ends) = (lease.clone(), lease_ends.clone());
            async move { lease.run(ends).await }
        }));
        let relay = Relay::new(self.kernel.store.clone(), self.kernel.log.clone(), self.kernel.composer.topic, self.kernel.instance);
        spawn(&mut tasks, &service, "presence", upgrade::run(self.kernel.clone(), stop.clone()));
        spawn(&mut tasks, &service, "relay", relay.run(lease.clone(), stop.clone()));
        if let Some(inbound) = self.inbound {
            spawn(&mut tasks, &service, "consumer", consumer::run(self.kernel.clone(), self.kernel.log.clone(), inbound, stop.clone()));
        }
        if let Some(on_timer) = self.on_timer {
            let (kernel, lease, stop) = (self.kernel.clone(), lease.clone(), stop.clone());
            let run = async move { lease.while_leading(stop, |stop| timers::run(kernel.clone(), on_timer.clone(), stop)).await };
            spawn(&mut tasks, &service, "timers", run);
        }
        if !self.couriers.is_empty() {
            let (kernel, lease, stop) = (self.kernel.clone(), lease.clone(), stop.clone());
            let run = async move { lease.while_leading(stop, |stop| deliveries::run(kernel.clone(), self.couriers.clone(), kernel.alone, stop)).await };
            spawn(&mut tasks, &service, "deliveries", run);
        }
        for work in self.leading {
            let (lease, stop) = (lease.clone(), stop.clone());
            let name = work.name();
            let run = async move {
                lease
                    .while_leading(stop, |stop| {
                        let work = work.clone();
                        async move { work.lead(stop).await }
                    })
                    .await
            };
            spawn(&mut tasks, &service, name, run);
        }
        let mut outcome = Ok(());
        while let Some(done) = tasks.join_next().await {
            let (worker, result) = done.unwrap_or_else(|e| ("worker", Err(format!("it panicked: {e}"))));
            if let Err(why) = result {
                outcome = outcome.and(Err(Stopped { service: service.clone(), worker, why }));
                stop.cancel();
            } else if !stop.is_cancelled() {
                outcome = outcome.and(Err(Stopped { service: service.clone(), worker, why: "it ended".to_owned() }));
                stop.cancel();
            }
        }
        lease_ends.cancel();
        if leasing.await.is_err() {
            outcome = outcome.and(Err(Stopped { service, worker: "lease", why: "it panicked".to_owned() }));
        }
        outcome
    }
}

fn spawn<E: std::fmt::Display>(
    tasks: &mut tokio::task::JoinSet<(&'static str, Result<(), String>)>,
    service: &str,
    worker: &'static str,
    run: impl Future<Output = Result<(), E>> + Send + 'static,
) {
    tasks.spawn(dressed(service, worker, async move { (worker, run.await.map_err(|e| e.to_string())) }));
}

/// In the worker's span, with the logging of whoever starts it.
fn dressed<T>(service: &str, worker: &'static str, run: impl Future<Output = T> + Send + 'static) -> impl Future<Output = T> + Send + 'static {
    use tracing::Instrument;
    let span = tracing::debug_span!("worker", service, worker);
    tracing::instrument::WithSubscriber::with_subscriber(run.instrument(span), tracing::dispatcher::get_default(Clone::clone))
}

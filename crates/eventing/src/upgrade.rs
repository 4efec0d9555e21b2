//! Upgrades are finalised: releases that differ run side by side, and nobody writes what the older of them cannot read.
//!
//! A release has a schema level, the highest that it reads and writes. Every process says which in each store it works on. A deployment
//! has a finalised level: [`crate::Composer`] writes nothing above it, and services choose the older form until then. It is raised once
//! every living process can follow, and never lowered; before that, going back to the older release is safe.

use crate::kernel::Kernel;
use crate::ports::{Store, StoreError};
use crate::unit::{Answer, Unit};
use crate::upkeep::{self, Process, Upkeep};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const SEEN_EVERY: Duration = Duration::from_secs(10);
const SEEN_AGAIN: Duration = Duration::from_secs(1);
/// Rows of processes that ended without a word are kept this long, µs.
const KEPT_US: i64 = 2 * upkeep::LIVING_US;
const GONE_WITHIN: Duration = Duration::from_secs(2);

/// What a process can, and what its deployment has finalised. Clones share the latter.
#[derive(Debug, Clone)]
pub struct Level {
    highest: u32,
    finalised: Arc<AtomicU32>,
}

impl Level {
    /// `highest` is the release's own level.
    pub fn new(highest: u32, finalised: u32) -> Self {
        Level { highest, finalised: Arc::new(AtomicU32::new(finalised)) }
    }

    /// The highest level that this process reads and writes.
    pub fn highest(&self) -> u32 {
        self.highest
    }

    /// The level up to which it may write now.
    pub fn writable(&self) -> u32 {
        self.finalised.load(Ordering::SeqCst).min(self.highest)
    }

    /// Takes over what the store says; never falls.
    pub fn finalise(&self, level: u32) {
        self.finalised.fetch_max(level, Ordering::SeqCst);
    }
}

impl Default for Level {
    /// This release in a deployment of its own.
    fn default() -> Self {
        Level::new(hearthline_contracts::LEVEL, hearthline_contracts::LEVEL)
    }
}

/// A store that this release cannot work on.
#[derive(Debug, thiserror::Error)]
pub enum BeginError {
    #[error(
        "the deployment of {service} is finalised at schema level {finalised} and this release knows {highest}: start the newer release again; going back was possible before `hearthline upgrade finalise`"
    )]
    NewerDeployment { service: String, finalised: u32, highest: u32 },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a process must know of a store before it works on it: the incarnation and the level that its events carry. A fresh store starts at
/// the release's own level.
pub async fn begin(store: &dyn Store, highest: u32) -> Result<(u32, Level), BeginError> {
    let state = upkeep::begin(store, highest).await?;
    if state.finalised_level > highest {
        return Err(BeginError::NewerDeployment { service: store.service().to_owned(), finalised: state.finalised_level, highest });
    }
    Ok((state.incarnation, Level::new(highest, state.finalised_level)))
}

/// Says that this process lives and listens for a finalised level, until `shutdown`.
pub async fn run(kernel: Kernel, shutdown: CancellationToken) -> Result<(), StoreError> {
    let committed = kernel.store.committed();
    let started_at = crate::now_us();
    while !shutdown.is_cancelled() {
        let wait = match step(&kernel, started_at, crate::now_us()).await {
            Ok(()) => SEEN_EVERY,
            // The store has ended, and with it what there is to work on.
            Err(_) if committed.has_changed().is_err() => return Ok(()),
            Err(error) => {
                tracing::warn!(%error, service = kernel.store.service(), "this process could not say that it lives; it is tried again");
                SEEN_AGAIN
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => break,
            () = tokio::time::sleep(wait) => {}
        }
    }
    let gone = Unit { upkeep: vec![Upkeep::Gone(kernel.instance)], ..Unit::default() };
    // Without a word it is forgotten by itself.
    let _ = tokio::time::timeout(GONE_WITHIN, kernel.store.append(gone)).await;
    Ok(())
}

async fn step(kernel: &Kernel, started_at: i64, now: i64) -> Result<(), StoreError> {
    let level = &kernel.composer.deployment.level;
    let process = Process { instance: kernel.instance, release: env!("CARGO_PKG_VERSION").to_owned(), level: level.highest(), started_at, seen_at: now };
    kernel.store.append(Unit { upkeep: vec![Upkeep::Seen(process), Upkeep::Sweep { before: now - KEPT_US }], ..Unit::default() }).await?;
    let before = level.writable();
    level.finalise(upkeep::deployment_state(kernel.store.as_ref()).await?.finalised_level);
    if level.writable() > before {
        tracing::info!(service = kernel.store.service(), level = level.writable(), "events of a higher schema level are written from now on");
    }
    Ok(())
}

/// Where one service stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    pub service: String,
    pub finalised: u32,
    /// Living processes.
    pub processes: Vec<Process>,
}

/// Where every service stands at `now`, µs.
pub async fn status(stores: &[(&str, Arc<dyn Store>)], now: i64) -> Result<Vec<Standing>, StoreError> {
    let mut all = Vec::with_capacity(stores.len());
    for (service, store) in stores {
        let finalised = upkeep::deployment_state(store.as_ref()).await?.finalised_level;
        all.push(Standing { service: (*service).to_owned(), finalised, processes: upkeep::processes(store.as_ref(), now).await? });
    }
    Ok(all)
}

/// What came of finalising.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finalised {
    /// Every service writes up to the level from now on.
    Done,
    /// It was so already.
    Already,
    /// These processes do not know the level, by service: nothing was changed.
    Behind(Vec<(String, Process)>),
}

/// Raises the finalised level of every service, if every living process of every service knows it. Cut off half-way it can be
/// repeated.
pub async fn finalise(stores: &[(&str, Arc<dyn Store>)], level: u32, now: i64) -> Result<Finalised, StoreError> {
    let standing = status(stores, now).await?;
    let behind: Vec<(String, Process)> =
        standing.iter().flat_map(|s| s.processes.iter().filter(|p| p.level < level).map(|p| (s.service.clone(), p.clone()))).collect();
    if !behind.is_empty() {
        return Ok(Finalised::Behind(behind));
    }
    if standing.iter().all(|s| s.finalised >= level) {
        return Ok(Finalised::Already);
    }
    for (service, store) in stores {
        let raise = Unit { upkeep: vec![Upkeep::Begin { level: 1 }, Upkeep::Finalise { level }], ..Unit::default() };
        match store.append(raise).await? {
            Answer::Committed { .. } => {}
            _ => return Err(StoreError::Refused(format!("{service} did not take the level"))),
        }
    }
    Ok(Finalised::Done)
}

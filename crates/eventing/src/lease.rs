//! The lease of a service: of its replicas one at a time runs relay, timers and deliveries.
//!
//! *Waiting → holding → leading → waiting …*: a process that takes the lease holds it; it leads once its relay has compared store and
//! log under that term. Losing the lease sends the workers back to waiting. What a paused process believes of the time does not
//! matter: every unit that is written under the lease is refused by the store once another process has taken it.

use crate::ports::{Store, StoreError};
use crate::unit::{Answer, Unit};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How long a lease lasts that nobody renews, µs.
pub const LEASE_US: i64 = 15_000_000;
/// A third of it: two renewals may fail.
pub(crate) const RENEW: Duration = Duration::from_secs(5);
/// Between two looks at a lease that another holds; a look writes nothing.
const LOOK: Duration = Duration::from_millis(500);
const DECIDED_WITHIN: Duration = Duration::from_secs(1);
const GIVE_UP_WITHIN: Duration = Duration::from_secs(2);

/// Stands for "now" in a unit that may go on under a lease but never take it over from another.
const NEVER_OVER: i64 = i64::MIN;

/// One process's part in the lease of one service. Cheap to clone.
#[derive(Clone)]
pub struct Lease(Arc<Inner>);

struct Inner {
    store: Arc<dyn Store>,
    instance: [u8; 16],
    alone: bool,
    state: watch::Sender<State>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// Rises with every take-over by this process.
    term: u64,
    held: bool,
    /// µs, by this process's clock.
    until: i64,
    leads: bool,
    /// It is known whether it can be had.
    looked: bool,
}

impl Lease {
    pub fn new(store: Arc<dyn Store>, instance: [u8; 16]) -> Self {
        Lease(Arc::new(Inner { store, instance, alone: false, state: watch::Sender::default() }))
    }

    /// No other process can be at work on this store: a lease that another holds is one that a process left behind.
    pub fn alone(self, alone: bool) -> Self {
        Lease(Arc::new(Inner { store: self.0.store.clone(), instance: self.0.instance, alone, state: watch::Sender::default() }))
    }

    /// Takes the lease when it is free and renews it, until `shutdown`; then gives it up, so that another takes it over at once.
    pub async fn run(&self, shutdown: CancellationToken) -> Result<(), StoreError> {
        let committed = self.0.store.committed();
        let mut state = self.0.state.subscribe();
        while !shutdown.is_cancelled() {
            let wait = match self.step(crate::now_us()).await {
                Ok(true) => RENEW,
                Ok(false) => LOOK,
                // The store has ended, and with it what the lease is for.
                Err(_) if committed.has_changed().is_err() => return Ok(()),
                Err(error) => {
                    tracing::warn!(%error, service = self.0.store.service(), "the lease could not be looked at; it is tried again");
                    if crate::now_us() >= state.borrow().until {
                        self.lose();
                    }
                    LOOK
                }
            };
            state.mark_unchanged();
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                // Fenced off: look who has it.
                () = until(&mut state, |s| wait == RENEW && !s.held) => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
        self.give_up().await;
        Ok(())
    }

    /// Renews the lease or takes it if it is free. True if it is ours until `now` + [`LEASE_US`].
    pub async fn step(&self, now: i64) -> Result<bool, StoreError> {
        let Inner { store, instance, alone, state } = &*self.0;
        let held = state.borrow().held;
        let at = match (held, alone) {
            (true, _) => NEVER_OVER,
            (false, true) => i64::MAX,
            (false, false) => {
                let rows = store.query("select holder, until from lease", &[]).await?;
                if rows.first().is_some_and(|r| r.id(0) != *instance && r.int(1) > now) {
                    state.send_if_modified(|s| !std::mem::replace(&mut s.looked, true));
                    return Ok(false);
                }
                now
            }
        };
        let answer = store.append(Unit { lease: Some((*instance, now + LEASE_US, at)), ..Unit::default() }).await?;
        if !matches!(answer, Answer::Committed { .. }) {
            self.lose();
            return Ok(false);
        }
        state.send_modify(|s| {
            (s.until, s.looked) = (now + LEASE_US, true);
            if !held {
                (s.held, s.leads, s.term) = (true, false, s.term + 1);
                tracing::info!(service = store.service(), term = s.term, "the lease is taken");
            }
        });
        Ok(true)
    }

    /// The term under which it is held now.
    pub fn term(&self) -> Option<u64> {
        let state = *self.0.state.borrow();
        (state.held && crate::now_us() < state.until).then_some(state.term)
    }

    /// The term under which it is held, once it is known whether it is; where the store cannot be asked, not for long.
    pub(crate) async fn decided(&self) -> Option<u64> {
        let mut state = self.0.state.subscribe();
        let _ = tokio::time::timeout(DECIDED_WITHIN, until(&mut state, |s| s.looked)).await;
        self.term()
    }

    /// What a unit carries that goes on under the lease: refused as `Fenced` once another process has taken it.
    pub fn fence(&self) -> Option<([u8; 16], i64, i64)> {
        fence_of(self.0.instance)
    }

    /// Store and log agree under this term: timers and deliveries may run.
    pub(crate) fn lead(&self, term: u64) {
        self.0.state.send_if_modified(|s| {
            let leads = s.held && s.term == term && !s.leads;
            s.leads |= leads;
            leads
        });
    }

    /// Store and log are to be compared again: timers and deliveries wait.
    pub(crate) fn stand_back(&self) {
        self.0.state.send_if_modified(|s| std::mem::take(&mut s.leads));
    }

    /// Another process has taken it, or it was not renewed in time.
    pub(crate) fn lose(&self) {
        self.0.state.send_if_modified(|s| {
            let held = s.held;
            if held {
                tracing::warn!(service = self.0.store.service(), term = s.term, "the lease is lost");
            }
            (s.held, s.leads) = (false, false);
            held
        });
    }

    pub(crate) fn changes(&self) -> watch::Receiver<State> {
        self.0.state.subscribe()
    }

    /// Runs `work` whenever this process leads, and ends it through its token when it no longer does.
    pub async fn while_leading<F, Fut, E>(&self, shutdown: CancellationToken, work: F) -> Result<(), E>
    where
        F: Fn(CancellationToken) -> Fut,
        Fut: Future<Output = Result<(), E>>,
    {
        let mut state = self.0.state.subscribe();
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(()),
                () = until(&mut state, |s| s.leads) => {}
            }
            let token = shutdown.child_token();
            let mut running = std::pin::pin!(work(token.clone()));
            tokio::select! {
                ended = &mut running => return ended,
                () = until(&mut state, |s| !s.leads) => {
                    token.cancel();
                    running.await?;
                }
            }
        }
    }

    /// Lets another take it over at once.
    pub async fn give_up(&self) {
        let held = self.0.state.send_if_modified(|s| {
            s.leads = false;
            std::mem::take(&mut s.held)
        });
        if !held {
            return;
        }
        tracing::info!(service = self.0.store.service(), "the lease is given up");
        let unit = Unit { lease: Some((self.0.instance, crate::now_us(), NEVER_OVER)), ..Unit::default() };
        match tokio::time::timeout(GIVE_UP_WITHIN, self.0.store.append(unit)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::debug!(%error, "the lease was not given up; it runs out by itself"),
            Err(_) => tracing::debug!("the lease was not given up in time; it runs out by itself"),
        }
    }
}

async fn until(state: &mut watch::Receiver<State>, is: impl FnMut(&State) -> bool) {
    // The sender lives as long as the lease, and whoever waits has one.
    let _ = state.wait_for(is).await;
}

/// As [`Lease::fence`], for whoever has the instance alone.
pub(crate) fn fence_of(instance: [u8; 16]) -> Option<([u8; 16], i64, i64)> {
    Some((instance, crate::now_us() + LEASE_US, NEVER_OVER))
}

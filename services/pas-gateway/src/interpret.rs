//! From what was received to what happened: the one reader of the inbox, on the holder of the service's lease.
//!
//! A [`page`] of received rows is opened in the order of receipt, all that they are judged by is read in a few queries, the keys of
//! visits that begin are made in one go. The next page is made ready as this one is settled, and takes over the visits that moved on
//! meanwhile; it is read anew where it speaks of one of them by another name, or of one that some message came to wait for. Messages of
//! different visits are settled at the same time, so that the store commits them together, and those of one visit, or of one patient
//! where they name no visit, one after the other. Each message is one unit. A unit that meets a visit which moved on is judged anew from
//! what is there; one that meets another holder of the lease ends the page; a row that was settled meanwhile, as when the lease came back
//! while a unit was still on its way, stays as it was settled.

mod page;

use crate::gateway::{DUPLICATE, Gateway, HELD, RECEIVED, SHADOW, Verdict};
use crate::inbox::{ATTEMPTS_MAX, OpenRow, moved_on, names};
use crate::known::{Known, KnownVisit};
use crate::tags::{CONTROL_REUSED, Lasting, message_claim};
use async_trait::async_trait;
use futures_util::StreamExt;
use hearthline_eventing::{Answer, ClaimRule, InboxChange, Leading, NotNow, ROW_MOVED_ON, Settled, StoreError, Unit, now_us};
use hearthline_nhs::StreamId;
use page::{Before, Page, Row};
use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Visits settled at the same time: more than one commit takes, so that the next batch is there when one is done.
const VISITS_AT_ONCE: usize = 1_024;
/// Between two looks at what another process received.
const LOOK: Duration = Duration::from_millis(250);
const AFTER_TROUBLE: Duration = Duration::from_secs(1);
/// Between two looks for what a process that ended left undone.
const OVERLOOKED: Duration = Duration::from_secs(60);
/// A message that cannot be interpreted this often is set aside, so that it does not stand before all others.
const TRIES_MAX: u32 = 5;
const SHADOW_VISITS_MAX: usize = 20_000;

/// The worker.
pub struct Interpreter {
    pub gateway: Gateway,
}

#[async_trait]
impl Leading for Interpreter {
    fn name(&self) -> &'static str {
        "interpreter"
    }

    async fn lead(&self, stop: CancellationToken) -> Result<(), StoreError> {
        let mut committed = self.gateway.kernel.store.committed();
        let run = Run::new(&self.gateway);
        let mut looked: Option<Instant> = None;
        while !stop.is_cancelled() {
            let seen = committed.borrow_and_update().received;
            let mut done = run.step().await;
            if done.is_ok() && looked.is_none() {
                done = self.gateway.examine_awaited().await.and(done);
                done = self.gateway.examine_heard_of().await.and(done);
            }
            if done.is_ok() && looked.is_none_or(|at| at.elapsed() > OVERLOOKED) {
                looked = Some(Instant::now());
                // What was received again stands before what is read next.
                run.begin_anew();
                done = self.gateway.examine_overlooked().await.and(done);
                done = self.gateway.give_up_unanswered(now_us()).await.and(done);
            }
            let wait = match done {
                Ok(settled) if settled > 0 => continue,
                Ok(_) => LOOK,
                Err(error) => {
                    // What should have been looked at afterwards may not have been.
                    looked = None;
                    tracing::warn!(%error, "messages are not interpreted now; it is tried again");
                    AFTER_TROUBLE
                }
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                changed = committed.wait_for(|c| c.received != seen), if wait == LOOK => if changed.is_err() { break },
                () = tokio::time::sleep(wait) => {}
            }
        }
        Ok(())
    }
}

/// What became of the messages of one visit.
struct Outcome {
    /// The visit by its names, the one that it goes by first.
    names: Vec<[u8; 16]>,
    visit: Option<KnownVisit>,
    /// Some of them came to wait for it.
    waits: bool,
    settled: usize,
    trouble: Result<(), NotNow>,
}

/// What lasts from page to page.
pub struct Run<'g> {
    gateway: &'g Gateway,
    /// The next page, made ready while the one before it was settled.
    ahead: Mutex<Option<Page>>,
    tries: Mutex<HashMap<[u8; 16], u32>>,
    /// Visits as they would be, had their peers' messages taken effect.
    shadows: Mutex<HashMap<[u8; 16], KnownVisit>>,
}

impl<'g> Run<'g> {
    pub fn new(gateway: &'g Gateway) -> Self {
        Run { gateway, ahead: Mutex::default(), tries: Mutex::default(), shadows: Mutex::default() }
    }

    /// The next page begins with the oldest row.
    fn begin_anew(&self) {
        self.lock_ahead().take();
    }

    fn lock_ahead(&self) -> std::sync::MutexGuard<'_, Option<Page>> {
        self.ahead.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Interprets a page of received messages; gives how many were settled.
    pub async fn step(&self) -> Result<usize, NotNow> {
        let lasting = Lasting::open(&self.gateway.kernel.composer.keyring).await?;
        let ahead = self.lock_ahead().take();
        let mut page = match ahead {
            Some(page) => page,
            None => self.page(&lasting, None).await?,
        };
        let mut settled = page.unreadable;
        if page.rows.is_empty() {
            return Ok(settled);
        }
        self.begin_visits(&page.rows, &mut page.known, &HashSet::new()).await?;
        let before = Before::of(&mut page);
        let mut groups: HashMap<Vec<u8>, Vec<Row>> = HashMap::new();
        let mut order: Vec<Vec<u8>> = Vec::new();
        for row in page.rows {
            let key = settling_key(&row.open);
            let group = groups.entry(key.clone()).or_default();
            if group.is_empty() {
                order.push(key);
            }
            group.push(row);
        }
        let known = &page.known;
        let jobs = order.into_iter().filter_map(|key| groups.remove(&key)).map(|group| self.settle_group(&lasting, known, group));
        let settling = futures_util::stream::iter(jobs).buffer_unordered(VISITS_AT_ONCE).collect::<Vec<Outcome>>();
        let (outcomes, ahead) = match page.is_followed {
            true => tokio::join!(settling, self.page(&lasting, Some(&before))),
            false => (settling.await, Ok(Page::default())),
        };
        let mut trouble = Ok(());
        let mut waited_for: HashSet<[u8; 16]> = HashSet::new();
        let mut moved = Vec::with_capacity(outcomes.len());
        for outcome in outcomes {
            settled += outcome.settled;
            trouble = trouble.and(outcome.trouble);
            moved.extend(outcome.names.first().copied().zip(outcome.visit));
            if outcome.waits {
                waited_for.extend(outcome.names);
            }
        }
        trouble?;
        let mut ahead = ahead?;
        settled += std::mem::take(&mut ahead.unreadable);
        // Who waits for whom is read anew, and what a visit that has several names is.
        let is_old = |row: &Row| before.renames(&row.open.keys) || row.open.keys.visits().any(|visit| waited_for.contains(&visit));
        if !ahead.rows.is_empty() && !ahead.rows.iter().any(is_old) {
            ahead.known.visits.extend(moved);
            *self.lock_ahead() = Some(ahead);
        }
        Ok(settled)
    }

    /// Settles the messages of one visit in order.
    async fn settle_group(&self, lasting: &Lasting, known: &Known, group: Vec<Row>) -> Outcome {
        let visit = group.first().and_then(|row| row.open.keys.visit).and_then(|tag| known.visits.get(&tag)).cloned();
        let names = group.iter().flat_map(|row| row.open.keys.visits()).collect();
        let mut outcome = Outcome { names, visit, waits: false, settled: 0, trouble: Ok(()) };
        for row in &group {
            let id = row.open.id;
            if let Err(error) = self.settle_row(lasting, known, row, &mut outcome.visit, &mut outcome.waits).await {
                let tries = {
                    let mut tries = self.tries.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    let n = tries.entry(id).or_default();
                    *n += 1;
                    *n
                };
                let is_ours = matches!(error, NotNow::Other(_) | NotNow::Open(_) | NotNow::Compose(_));
                if !is_ours || tries < TRIES_MAX {
                    outcome.trouble = Err(error);
                    break;
                }
                tracing::error!(%error, "a message cannot be interpreted; it is held");
                outcome.trouble = self.append(Settled::new(id, RECEIVED, HELD, format!("it could not be interpreted: {error}"))).await;
                if outcome.trouble.is_err() {
                    break;
                }
            }
            outcome.settled += 1;
        }
        outcome
    }

    async fn settle_row(&self, lasting: &Lasting, known: &Known, row: &Row, visit: &mut Option<KnownVisit>, waits: &mut bool) -> Result<(), NotNow> {
        let gateway = self.gateway;
        if let Some(same_as) = row.same_as {
            let why = "the same body came before under another control id".to_owned();
            let settled = Settled { stream: Some(StreamId::from_bytes(same_as)), ..Settled::new(row.open.id, RECEIVED, DUPLICATE, why) };
            return self.append(settled).await;
        }
        if row.is_shadowed {
            return self.settle_shadow(lasting, known, row).await;
        }
        let mut fresh: Option<Known> = None;
        for _ in 0..ATTEMPTS_MAX {
            let verdict = gateway.judge(lasting, &row.open.reading, &row.open.keys, fresh.as_ref().unwrap_or(known), visit.as_ref());
            let now = now_us();
            let mut unit = gateway.effect(&row.open, RECEIVED, &verdict, now, why(&verdict, row.control_reused)).await?;
            unit.lease = gateway.kernel.fence();
            if row.control_reused {
                tracing::warn!(peer = row.open.reading.peer.name, "a control id came again with another message; both are taken");
                let peer = row.open.reading.peer.name.as_bytes();
                unit.claims.push(message_claim(CONTROL_REUSED, &row.open.id, peer, row.open.id, ClaimRule::KeepFirst, (now, gateway.kept_days)));
            }
            match gateway.kernel.store.append(unit).await? {
                Answer::Committed { .. } => {
                    *visit = moved_on(visit.as_ref(), &verdict);
                    return self.after(&row.open, &verdict, known, waits).await;
                }
                refused @ (Answer::Claimed(_) | Answer::VersionConflict { .. } | Answer::Fenced(ROW_MOVED_ON)) => {
                    let now_known = gateway.know(lasting, &[(&row.open.reading, &row.open.keys)]).await?;
                    *visit = row.open.keys.visit.and_then(|tag| now_known.visits.get(&tag)).cloned();
                    if refused == Answer::Fenced(ROW_MOVED_ON) {
                        return Ok(());
                    }
                    fresh = Some(now_known);
                }
                Answer::Fenced(why) => return Err(NotNow::Store(StoreError::Unavailable(why.to_owned()))),
            }
        }
        Err(NotNow::Other("a visit kept changing under a message".to_owned()))
    }

    /// What waits and what is waited for find each other (see [`crate::waiting`]).
    async fn after(&self, row: &OpenRow, verdict: &Verdict, known: &Known, waits: &mut bool) -> Result<(), NotNow> {
        if verdict.waits {
            *waits = true;
            self.gateway.joined_those_that_wait(row, verdict).await?;
        } else if *waits && verdict.state == HELD && verdict.visit.is_none() {
            // What is known was read before those came to wait.
            self.gateway.examine(row.id).await?;
        } else if (*waits || row.keys.visits().any(|visit| known.waited_for.contains(&visit))) && verdict.opens(&row.keys) {
            self.gateway.examine_waiting(&row.keys).await?;
        } else if !verdict.awaits.is_empty() {
            // Likewise.
            self.gateway.examine(row.id).await?;
        }
        self.gateway.examine_joined(row, verdict).await
    }

    /// The same judgement, and nothing follows.
    async fn settle_shadow(&self, lasting: &Lasting, known: &Known, row: &Row) -> Result<(), NotNow> {
        let tag = row.open.keys.visit;
        let before = tag.and_then(|tag| self.lock_shadows().get(&tag).cloned()).or_else(|| tag.and_then(|tag| known.visits.get(&tag)).cloned());
        let verdict = self.gateway.judge(lasting, &row.open.reading, &row.open.keys, known, before.as_ref());
        let effect = names(&verdict);
        let resident = verdict.resident.map(|id| *id.bytes());
        self.append(Settled { effect, resident, ..Settled::new(row.open.id, RECEIVED, SHADOW, why(&verdict, row.control_reused)) }).await?;
        if let (Some(tag), Some(after)) = (tag, moved_on(before.as_ref(), &verdict)) {
            let mut shadows = self.lock_shadows();
            if shadows.len() >= SHADOW_VISITS_MAX {
                shadows.clear();
            }
            shadows.insert(tag, after);
        }
        Ok(())
    }

    fn lock_shadows(&self) -> std::sync::MutexGuard<'_, HashMap<[u8; 16], KnownVisit>> {
        self.shadows.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    async fn append(&self, settled: Settled) -> Result<(), NotNow> {
        let unit = Unit { inbox: vec![InboxChange::Settle(Box::new(settled))], lease: self.gateway.kernel.fence(), ..Unit::default() };
        match self.gateway.kernel.store.append(unit).await? {
            Answer::Committed { .. } | Answer::Fenced(ROW_MOVED_ON) => Ok(()),
            Answer::Fenced(why) => Err(NotNow::Store(StoreError::Unavailable(why.to_owned()))),
            Answer::Claimed(_) | Answer::VersionConflict { .. } => Err(NotNow::Other("a row was not settled".to_owned())),
        }
    }
}

fn why(verdict: &Verdict, control_reused: bool) -> String {
    const REUSED: &str = "its control id came before with another body";
    match (verdict.why.as_str(), control_reused) {
        (why, false) => why.to_owned(),
        ("", true) => REUSED.to_owned(),
        (why, true) => format!("{why}; {REUSED}"),
    }
}

/// Messages with one key are settled in their order.
fn settling_key(row: &OpenRow) -> Vec<u8> {
    if let Some(visit) = row.keys.visit {
        return visit.to_vec();
    }
    match row.keys.person {
        Some(person) => [b"p", person.as_slice()].concat(),
        None => [b"l", row.reading.peer.name.as_bytes(), &[0], row.reading.patient.key.as_bytes()].concat(),
    }
}

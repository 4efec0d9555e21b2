//! Timers: rows set and cancelled by units. A due one becomes a command with `now`; late ones fire once, in order.

use crate::kernel::{Kernel, NotNow};
use crate::ports::StoreError;
use crate::unit::{Answer, TimerChange, Unit};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use hearthline_nhs::StreamId;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const PAGE_TIMERS: u64 = 256;
const STREAMS_AT_ONCE: usize = 16;
const LONGEST_SLEEP: Duration = Duration::from_secs(5);

/// A timer that is due.
#[derive(Debug, Clone)]
pub struct Due {
    pub stream: StreamId,
    pub name: String,
    /// µs UTC for which it was set.
    pub due_at: i64,
    pub payload: Bytes,
}

/// What a service does when a timer is due.
#[async_trait]
pub trait OnTimer: Send + Sync {
    /// The unit to append; the timer is gone with it (set it anew in the unit to go on waiting). An error keeps the timer
    /// and tries again later. `now` is µs UTC.
    async fn due(&self, timer: &Due, now: i64) -> Result<Unit, NotNow>;
}

/// Runs until `shutdown`.
pub async fn run(kernel: Kernel, on_timer: Arc<dyn OnTimer>, shutdown: CancellationToken) -> Result<(), StoreError> {
    let mut committed = kernel.store.committed();
    let mut late: Retries = HashMap::new();
    while !shutdown.is_cancelled() {
        committed.mark_unchanged();
        let work = committed.borrow().work;
        let now = crate::now_us();
        let next = match step(&kernel, on_timer.as_ref(), now, &mut late).await {
            Ok(next) => next,
            Err(error) => {
                tracing::warn!(%error, "timers could not be read; they are tried again");
                now + 1_000_000
            }
        };
        let wait = Duration::from_micros(u64::try_from(next - crate::now_us()).unwrap_or(0)).min(LONGEST_SLEEP);
        if wait.is_zero() {
            tokio::task::yield_now().await;
            continue;
        }
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            changed = committed.wait_for(|c| c.work != work) => if changed.is_err() { break },
            () = tokio::time::sleep(wait) => {}
        }
    }
    Ok(())
}

type Fired = (Due, Result<(), NotNow>);

/// Attempts and the next try per timer whose handler failed.
pub type Retries = HashMap<(StreamId, String), (u32, i64)>;

/// Fires what is due at `now`; gives the time of the next look, µs.
pub async fn step(kernel: &Kernel, on_timer: &dyn OnTimer, now: i64, late: &mut Retries) -> Result<i64, StoreError> {
    let rows = kernel
        .store
        .query(
            "select stream, name, due_at, payload from timers where due_at <= $1 order by due_at, stream, name limit $2",
            // Those that wait for their next try must not fill the page.
            &[now.into(), (PAGE_TIMERS + late.len() as u64).into()],
        )
        .await?;
    let full = rows.len() as u64 == PAGE_TIMERS + late.len() as u64;
    let mut by_stream: BTreeMap<StreamId, Vec<Due>> = BTreeMap::new();
    for row in rows {
        let due = Due { stream: row.stream(0), name: row.text(1).to_owned(), due_at: row.int(2), payload: row.blob(3).clone() };
        by_stream.entry(due.stream).or_default().push(due);
    }
    if !full {
        // Cancelled or set anew meanwhile.
        late.retain(|(stream, name), _| by_stream.get(stream).is_some_and(|dues| dues.iter().any(|d| d.name == *name)));
    }
    for (stream, dues) in &mut by_stream {
        // A stream's timers fire in order: the later ones wait with one that is tried again.
        let ready = dues.iter().take_while(|d| late.get(&(*stream, d.name.clone())).is_none_or(|(_, at)| *at <= now)).count();
        dues.truncate(ready);
    }
    by_stream.retain(|_, dues| !dues.is_empty());
    let fired_any = !by_stream.is_empty();
    let jobs: Vec<BoxFuture<'_, Vec<Fired>>> = by_stream.into_values().map(|dues| fire_all(kernel, on_timer, dues, now).boxed()).collect();
    let outcomes: Vec<Vec<Fired>> = futures_util::stream::iter(jobs).buffer_unordered(STREAMS_AT_ONCE).collect().await;
    for (due, outcome) in outcomes.into_iter().flatten() {
        let key = (due.stream, due.name.clone());
        match outcome {
            Ok(()) => {
                late.remove(&key);
            }
            Err(error) => {
                let attempt = late.get(&key).map_or(1, |(n, _)| n + 1);
                tracing::warn!(%error, timer = due.name, stream = %due.stream, attempt, "a timer's command failed; it is tried again");
                late.insert(key, (attempt, now + 200_000 * i64::from(1u32 << attempt.min(8))));
            }
        }
    }
    if full && fired_any {
        return Ok(now);
    }
    let next = kernel.store.query("select min(due_at) from timers where due_at > $1", &[now.into()]).await?.first().and_then(|r| r.opt_int(0));
    let retry = late.values().map(|(_, at)| *at).min();
    Ok(next.into_iter().chain(retry).min().unwrap_or(now + 60_000_000))
}

async fn fire_all(kernel: &Kernel, on_timer: &dyn OnTimer, dues: Vec<Due>, now: i64) -> Vec<Fired> {
    let mut done = Vec::with_capacity(dues.len());
    for due in dues {
        let fired = fire(kernel, on_timer, &due, now).await;
        let failed = fired.is_err();
        done.push((due, fired));
        if failed {
            break;
        }
    }
    done
}

async fn fire(kernel: &Kernel, on_timer: &dyn OnTimer, due: &Due, now: i64) -> Result<(), NotNow> {
    for _ in 0..crate::kernel::ATTEMPTS_MAX {
        let mut unit = on_timer.due(due, now).await?;
        unit.timers.insert(0, TimerChange::Fired { stream: due.stream, name: due.name.clone(), due_at: due.due_at });
        match kernel.store.append(unit).await? {
            Answer::Committed { .. } => return Ok(()),
            // Set anew or cancelled meanwhile: this one is over.
            Answer::Fenced(_) => return Ok(()),
            Answer::VersionConflict { .. } | Answer::Claimed(_) => {}
        }
    }
    Err(NotNow::Other("the stream kept changing under a timer".to_owned()))
}

//! What every store means by an append, whichever engine stands behind it.

use async_trait::async_trait;
use bytes::Bytes;
use hearthline_eventing::hostile::HostileStore;
use hearthline_eventing::{
    Answer, CheckpointChange, Claim, ClaimKey, ClaimRule, Consumed, DeliveryChange, DeliveryMove, DeliveryState, EVENT_BYTES_MAX, InboxChange, InboxRow,
    NewDelivery, ParkedChange, ParkedOf, ParkedRow, ROW_MOVED_ON, Settled, Store, StoreError, TimerChange, Unit, View, Write, now_us,
};
use hearthline_nhs::StreamId;
use hearthline_store::{Faults, NoFaults};
use hearthline_tests::bench::{self, Folder, id, row, rows, stream, unit};
use hearthline_tests::folds::Folds;
use hearthline_tests::servers::Postgres;
use hearthline_tests::{Seed, seeds, until};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// An adapter under test: opens the same store, again after a crash.
#[async_trait]
pub trait StoreAdapter: Send + Sync {
    async fn open(&self, views: Vec<Arc<dyn View>>, faults: Arc<dyn Faults>) -> Arc<dyn Store>;
}

pub struct Sqlite {
    folder: Folder,
    hostile: Option<u64>,
}

#[async_trait]
impl StoreAdapter for Sqlite {
    async fn open(&self, views: Vec<Arc<dyn View>>, faults: Arc<dyn Faults>) -> Arc<dyn Store> {
        let store = Arc::new(self.folder.faulty_store("call-intake", views, faults).await);
        match self.hostile {
            Some(seed) => Arc::new(HostileStore::new(store, seed)),
            None => store,
        }
    }
}

pub struct InPostgres {
    server: Postgres,
    hostile: Option<u64>,
}

#[async_trait]
impl StoreAdapter for InPostgres {
    async fn open(&self, views: Vec<Arc<dyn View>>, faults: Arc<dyn Faults>) -> Arc<dyn Store> {
        let store = Arc::new(bench::open_postgres(&self.server.database, "call-intake", views, faults).await.expect("the store opens"));
        match self.hostile {
            Some(seed) => Arc::new(HostileStore::new(store, seed)),
            None => store,
        }
    }
}

/// Stamps the suite over an adapter, plain and hostile.
macro_rules! suite {
    (both: $($both:ident),+ $(,)?; plain: $($plain:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $both() {
                super::$both(&super::Sqlite { folder: super::Folder::new(), hostile: None }).await;
            })+
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $plain() {
                super::$plain(&super::Sqlite { folder: super::Folder::new(), hostile: None }).await;
            })+
        }
        mod sqlite_hostile {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $both() {
                for seed in super::seeds(3) {
                    let _named = super::Seed(seed);
                    super::$both(&super::Sqlite { folder: super::Folder::new(), hostile: Some(seed) }).await;
                }
            })+
        }
        mod postgres {
            use super::{InPostgres, Postgres};
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $both() {
                let Some(server) = Postgres::new().await else { return };
                super::$both(&InPostgres { server, hostile: None }).await;
            })+
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $plain() {
                let Some(server) = Postgres::new().await else { return };
                super::$plain(&InPostgres { server, hostile: None }).await;
            })+
        }
        mod postgres_hostile {
            use super::{InPostgres, Postgres};
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $both() {
                for seed in super::seeds(3) {
                    let _named = super::Seed(seed);
                    let Some(server) = Postgres::new().await else { return };
                    super::$both(&InPostgres { server, hostile: Some(seed) }).await;
                }
            })+
        }
    };
}

suite! {
    both:
        a_stream_takes_only_the_version_that_comes_next,
        a_unit_writes_all_its_streams_or_none,
        positions_have_no_gap_under_two_hundred_callers,
        a_unique_claim_has_one_holder,
        two_units_of_one_moment_cannot_hold_the_same_claim,
        the_first_holder_stays_or_is_replaced_as_the_rule_says,
        a_released_claim_is_free_even_in_the_same_unit,
        an_expired_claim_is_free,
        everything_is_there_after_a_crash,
        a_view_is_written_with_its_events;
    plain:
        an_event_is_at_most_512_kib,
        an_event_that_is_not_the_next_version_is_refused,
        one_bad_unit_hurts_no_other,
        a_commit_that_fails_leaves_nothing,
        a_lost_answer_is_looked_up,
        an_unknown_outcome_is_said_and_the_store_goes_on,
        a_stale_owner_is_fenced,
        a_timer_fires_only_as_it_was_set,
        a_delivery_moves_by_compare_and_set,
        a_lease_keeps_others_out_until_it_ends,
        a_closed_store_takes_no_events,
        rows_beside_the_events_are_kept,
        a_constraint_of_a_view_refuses_the_unit,
}

async fn open(adapter: &dyn StoreAdapter) -> Arc<dyn Store> {
    adapter.open(vec![], Arc::new(NoFaults)).await
}

/// Appends as a careful caller does: repeats after our own trouble, and knows its own earlier commit again.
pub async fn append(store: &dyn Store, unit: Unit) -> Answer {
    let ours = unit.writes.iter().find_map(|w| w.events.last()).map(|e| (e.stream, e.version, e.event_id));
    loop {
        match store.append(unit.clone()).await {
            Ok(Answer::Committed { position }) => return Answer::Committed { position },
            Ok(other) => {
                if let Some((stream, version, id)) = ours
                    && let Some(event) = read_stream(store, stream).await.into_iter().find(|e| e.version == version)
                    && event.event_id == id
                {
                    return Answer::Committed { position: event.position };
                }
                return other;
            }
            Err(StoreError::Unavailable(_) | StoreError::OutcomeUnknown) => {}
            Err(other) => panic!("the store refused: {other}"),
        }
    }
}

async fn read_stream(store: &dyn Store, stream: StreamId) -> Vec<hearthline_eventing::Recorded> {
    until("a stream is read", async || store.read_stream(stream, 0).await.ok()).await
}

async fn count(store: &dyn Store, sql: &str) -> i64 {
    until("rows are counted", async || store.query(sql, &[]).await.ok()).await[0].int(0)
}

/// Every event in the order of positions; a hole or a repetition fails.
pub async fn all(store: &dyn Store) -> Vec<hearthline_eventing::Recorded> {
    let mut all: Vec<hearthline_eventing::Recorded> = Vec::new();
    loop {
        let page = store.read_all(all.last().map_or(0, |e| e.position), 1_000).await.expect("events are read");
        if page.is_empty() {
            break;
        }
        all.extend(page);
    }
    let mut heads: HashMap<StreamId, u64> = HashMap::new();
    let mut ids = HashSet::new();
    for (position, event) in (1..).zip(&all) {
        assert_eq!(event.position, position, "a position is missing or twice there");
        let head = heads.entry(event.stream).or_default();
        assert_eq!(event.version, *head + 1, "a stream is not in order");
        *head = event.version;
        assert!(ids.insert(event.event_id), "an event is there twice");
    }
    all
}

fn is_committed(answer: &Answer) -> bool {
    matches!(answer, Answer::Committed { .. })
}

fn claim(key: &[u8], owner: StreamId, rule: ClaimRule) -> Claim {
    Claim { scope: "request", key: Bytes::copy_from_slice(key), digest: Bytes::from_static(b"body"), owner, version: 1, expires_at: None, rule }
}

fn claiming(key: &[u8], owner: StreamId, rule: ClaimRule) -> Unit {
    Unit { claims: vec![claim(key, owner, rule)], ..unit(owner, 0, 1) }
}

async fn holder(store: &dyn Store, key: &[u8]) -> Option<StreamId> {
    let rows = until("a claim is read", async || store.query("select owner from claims where scope = 'request' and key = $1", &[key.into()]).await.ok()).await;
    rows.first().map(|r| r.stream(0))
}

async fn a_stream_takes_only_the_version_that_comes_next(adapter: &dyn StoreAdapter) {
    let store = open(adapter).await;
    let s = stream();
    assert_eq!(append(&*store, unit(s, 0, 2)).await, Answer::Committed { position: 2 });
    assert_eq!(append(&*store, unit(s, 0, 1)).await, Answer::VersionConflict { stream: s, expected: 0, actual: 2 });
    assert_eq!(append(&*store, unit(s, 3, 1)).await, Answer::VersionConflict { stream: s, expected: 3, actual: 2 });
    assert_eq!(append(&*store, unit(s, 2, 3)).await, Answer::Committed { position: 5 });
    assert_eq!(read_stream(&*store, s).await.iter().map(|e| e.version).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    let fresh = open(adapter).await;
    assert_eq!(append(&*fresh, unit(s, 0, 1)).await, Answer::VersionConflict { stream: s, expected: 0, actual: 5 });
    let guard = Unit { writes: vec![Write { stream: s, expected: 0, events: vec![] }], ..Unit::default() };
    assert_eq!(append(&*open(adapter).await, guard).await, Answer::VersionConflict { stream: s, expected: 0, actual: 5 });
}

async fn a_unit_writes_all_its_streams_or_none(adapter: &dyn StoreAdapter) {
    let store = open(adapter).await;
    let (a, b) = (stream(), stream());
    append(&*store, unit(b, 0, 1)).await;
    let mut torn = unit(a, 0, 3);
    torn.merge(unit(b, 0, 1));
    assert_eq!(append(&*store, torn).await, Answer::VersionConflict { stream: b, expected: 0, actual: 1 });
    assert!(read_stream(&*store, a).await.is_empty());
    let mut whole = unit(a, 0, 300);
    whole.merge(unit(b, 1, 300));
    whole.merge(unit(a, 300, 1));
    assert_eq!(append(&*store, whole).await, Answer::Committed { position: 602 });
    assert_eq!(all(&*store).await.len(), 602);
}

async fn positions_have_no_gap_under_two_hundred_callers(adapter: &dyn StoreAdapter) {
    let store = open(adapter).await;
    let shared: Vec<StreamId> = (0..10).map(|_| stream()).collect();
    let done = Arc::new(AtomicBool::new(false));
    let watcher = tokio::spawn({
        let (store, done) = (store.clone(), done.clone());
        async move {
            let mut at = 0;
            while !done.load(Ordering::SeqCst) {
                // Whoever follows by position never finds one behind him filled in later.
                for event in store.read_all(at, 500).await.expect("events are read") {
                    assert_eq!(event.position, at + 1);
                    at = event.position;
                }
                tokio::task::yield_now().await;
            }
            at
        }
    });
    let mut callers = tokio::task::JoinSet::new();
    for n in 0..200usize {
        let (store, shared) = (store.clone(), shared[n % shared.len()]);
        callers.spawn(async move {
            let own = stream();
            for version in 0..3 {
                let Answer::Committed { position } = append(&*store, unit(own, version, 1)).await else { panic!("nobody else writes this stream") };
                assert_eq!(read_stream(&*store, own).await.last().map(|e| e.position), Some(position));
            }
            let mut tries = 0;
            loop {
                let version = read_stream(&*store, shared).await.len() as u64;
                match append(&*store, unit(shared, version, 2)).await {
                    Answer::Committed { .. } => return,
                    Answer::VersionConflict { actual, .. } => assert!(actual > version),
                    other => panic!("{other:?}"),
                }
                tries += 1;
                assert!(tries < 500);
            }
        });
    }
    while let Some(done) = callers.join_next().await {
        done.unwrap();
    }
    done.store(true, Ordering::SeqCst);
    assert!(watcher.await.unwrap() <= 1_000);
    let all = all(&*store).await;
    assert_eq!(all.len(), 200 * 3 + 200 * 2);
    assert_eq!(store.committed().borrow().position, 1_000);
}

async fn a_unique_claim_has_one_holder(adapter: &dyn StoreAdapter) {
    let store = open(adapter).await;
    let (a, b) = (stream(), stream());
    assert!(is_committed(&append(&*store, claiming(b"k", a, ClaimRule::Unique)).await));
    let Answer::Claimed(held) = append(&*store, claiming(b"k", b, ClaimRule::Unique)).await else { panic!("two hold it") };
    assert_eq!((held.owner, held.version, held.position, &held.digest[..]), (a, 1, 1, &b"body"[..]));
    assert!(read_stream(&*store, b).await.is_empty());
    // Known from the table alone.
    let store = open(adapter).await;
    let Answer::Claimed(held) = append(&*store, claiming(b"k", b, ClaimRule::Unique)).await else { panic!("two hold it") };
    assert_eq!((held.owner, held.position), (a, 1));
    assert!(is_committed(&append(&*store, claiming(b"other", b, ClaimRule::Unique)).await));
}

async fn two_units_of_one_moment_cannot_hold_the_same_claim(adapter: &dyn StoreAdapter) {
    let store = open(adapter).await;
    for round in 0..10u8 {
        let mut callers = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let store = store.clone();
            callers.spawn(async move {
                let owner = stream();
                is_committed(&append(&*store, claiming(&[round], owner, ClaimRule::Unique)).await).then_some(owner)
            });
        }
        let winners: Vec<StreamId> = callers.join_all().await.into_iter().flatten().collect();
        assert_eq!(winners.len(), 1);
        assert_eq!(holder(&*store, &[round]).await, Some(winners[0]));
    }
    assert_eq!(all(&*store).await.len(), 10);
}

async fn the_first_holder_stays_or_is_replaced_as_the_rule_says(adapter: &dyn StoreAdapter) {
    let store = open(adapter).await;
    let (a, b, c) = (stream(), stream(), stream());
    assert!(is_committed(&append(&*store, claiming(b"k", a, ClaimRule::KeepFirst)).await));
    assert!(is_committed(&append(&*store, claiming(b"k", b, ClaimRule::KeepFirst)).await));
    assert_eq!(holder(&*store, b"k").await, Some(a));
    assert!(matches!(append(&*store, claiming(b"k", c, ClaimRule::Unique)).await, Answer::Claimed(h) if h.owner == a));
    assert!(is_committed(&append(&*store, claiming(b"k", c, ClaimRule::Replace)).await));
    assert_eq!(holder(&*store, b"k").await, Some(c));
    assert!(matches!(append(&*store, claiming(b"k", stream(), ClaimRule::Unique)).await, Answer::Claimed(h) if h.owner == c));
    // Many at once: the first keeps it, and no unit fails for it.
    let mut callers = tokio::task::JoinSet::new();
    for n in 0..30 {
        let (store, rule) = (store.clone(), if n % 3 == 0 { ClaimRule::Unique } else { ClaimRule::KeepFirst });
        callers.spawn(async move { (rule, append(&*store, claiming(b"crowd", stream(), rule)).await) });
    }
    let mut unique = 0;
    for (rule, answer) in callers.join_all().await {
        match rule {
            ClaimRule::KeepFirst => assert!(is_committed(&answer)),
            _ => unique += u32::from(is_committed(&answer)),
        }
    }
    assert!(unique <= 1);
}

async fn a_released_claim_is_free_even_in_the_same_unit(adapter: &dyn StoreAdapter) {
    let store = open(adapter).await;
    let key = || ClaimKey { scope: "request", key: Bytes::from_static(b"k") };
    let (a, b, c) = (stream(), stream(), stream());
    append(&*store, claiming(b"k", a, ClaimRule::Unique)).await;
    assert!(is_committed(&append(&*store, Unit { releases: vec![key()], ..claiming(b"k", b, ClaimRule::Unique) }).await));
    assert_eq!(holder(&*store, b"k").await, Some(b));
    assert!(is_committed(&append(&*store, Unit { releases: vec![key()], ..unit(c, 0, 1) }).await));
    assert_eq!(holder(&*store, b"k").await, None);
    assert!(is_committed(&append(&*store, Unit { releases: vec![key()], ..claiming(b"k", stream(), ClaimRule::KeepFirst) }).await));
    let d = stream();
    assert!(is_committed(&append(&*store, Unit { releases: vec![key()], ..claiming(b"k", d, ClaimRule::KeepFirst) }).await));
    assert!(matches!(append(&*store, claiming(b"k", stream(), ClaimRule::Unique)).await, Answer::Claimed(h) if h.owner == d));
}

async fn an_expired_claim_is_free(adapter: &dyn StoreAdapter) {
    let store = open(adapter).await;
    let expiring = |key: &[u8], owner, rule, at| Unit { claims: vec![Claim { expires_at: Some(at), ..claim(key, owner, rule) }], ..unit(owner, 0, 1) };
    for rule in [ClaimRule::Unique, ClaimRule::KeepFirst] {
        let key = format!("{rule:?}");
        let (a, b) = (stream(), stream());
        assert!(is_committed(&append(&*store, expiring(key.as_bytes(), a, rule, now_us() - 1)).await));
        assert!(is_committed(&append(&*store, claiming(key.as_bytes(), b, rule)).await));
        assert_eq!(holder(&*store, key.as_bytes()).await, Some(b));
    }
    // It runs out while the writer remembers it.
    let (a, b) = (stream(), stream());
    assert!(is_committed(&append(&*store, expiring(b"soon", a, ClaimRule::Unique, now_us() + 300_000)).await));
    until("the claim ran out", async || is_committed(&append(&*store, claiming(b"soon", b, ClaimRule::Unique)).await).then_some(())).await;
    assert_eq!(holder(&*store, b"soon").await, Some(b));
}

async fn everything_is_there_after_a_crash(adapter: &dyn StoreAdapter) {
    let mut acknowledged = Vec::new();
    for _ in 0..8 {
        // Dropped without being closed.
        let store = open(adapter).await;
        let mut callers = tokio::task::JoinSet::new();
        for _ in 0..10 {
            let store = store.clone();
            callers.spawn(async move {
                let unit = claiming(&id(), stream(), ClaimRule::Unique);
                assert!(is_committed(&append(&*store, unit.clone()).await));
                unit.writes[0].events[0].event_id
            });
        }
        acknowledged.extend(callers.join_all().await);
    }
    let store = open(adapter).await;
    let there: HashSet<_> = all(&*store).await.into_iter().map(|e| e.event_id).collect();
    assert_eq!(there, acknowledged.into_iter().collect());
    assert_eq!(count(&*store, "select count(*) from claims").await, 80);
}

async fn a_view_is_written_with_its_events(adapter: &dyn StoreAdapter) {
    let store = adapter.open(vec![Arc::new(Folds::default())], Arc::new(NoFaults)).await;
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let store = store.clone();
        callers.spawn(async move {
            let s = stream();
            for version in 0..4 {
                assert!(is_committed(&append(&*store, unit(s, version, 1)).await));
                // Its own view is read as soon as the answer is there.
                let rows =
                    until("the view is read", async || store.query("select version, events, in_order from folds where stream = $1", &[s.into()]).await.ok())
                        .await;
                assert_eq!((rows[0].int(0).unsigned_abs(), rows[0].int(1).unsigned_abs(), rows[0].flag(2)), (version + 1, version + 1, true));
            }
        });
    }
    while let Some(done) = callers.join_next().await {
        done.unwrap();
    }
}

async fn an_event_is_at_most_512_kib(adapter: &dyn StoreAdapter) {
    let store = open(adapter).await;
    let s = stream();
    let overhead = row(s, 1, Bytes::from(vec![b'x'; 400_000])).payload.len() - 400_000;
    let of_length =
        |n: usize| Unit { writes: vec![Write { stream: s, expected: 0, events: vec![row(s, 1, Bytes::from(vec![b'x'; n - overhead]))] }], ..Unit::default() };
    assert_eq!(of_length(EVENT_BYTES_MAX).writes[0].events[0].payload.len(), EVENT_BYTES_MAX);
    let refused = store.append(of_length(EVENT_BYTES_MAX + 1)).await;
    assert!(matches!(&refused, Err(StoreError::Refused(why)) if why.contains("524288")), "{refused:?}");
    assert!(is_committed(&store.append(of_length(EVENT_BYTES_MAX)).await.unwrap()));
    assert_eq!(all(&*store).await.len(), 1);
}

async fn an_event_that_is_not_the_next_version_is_refused(adapter: &dyn StoreAdapter) {
    let store = open(adapter).await;
    let s = stream();
    for events in [rows(s, 1, 1), rows(stream(), 0, 1), [rows(s, 0, 1), rows(s, 0, 1)].concat()] {
        assert!(matches!(store.append(Unit { writes: vec![Write { stream: s, expected: 0, events }], ..Unit::default() }).await, Err(StoreError::Refused(_))));
    }
    assert!(all(&*store).await.is_empty());
}

async fn one_bad_unit_hurts_no_other(adapter: &dyn StoreAdapter) {
    let folds = Folds::default();
    let (refuses, panics) = (folds.refuses_late_entries.clone(), folds.panics_on_late_entries.clone());
    let store = adapter.open(vec![Arc::new(folds)], Arc::new(NoFaults)).await;
    let taken = stream();
    append(&*store, unit(taken, 0, 1)).await;
    let first = delivery(stream());
    append(&*store, Unit { deliveries: vec![DeliveryChange::Insert(first.clone())], ..Unit::default() }).await;
    let late = |s: StreamId| {
        let mut unit = unit(s, 0, 1);
        unit.writes[0].events[0].envelope.late_entry = true;
        unit
    };
    for round in 0..4 {
        refuses.store(round % 2 == 0, Ordering::SeqCst);
        panics.store(round % 2 == 1, Ordering::SeqCst);
        let before = all(&*store).await.len();
        let bad = [
            unit(taken, 0, 1),
            unit(taken, 7, 1),
            late(stream()),
            Unit {
                writes: vec![Write { stream: taken, expected: 1, events: vec![row(taken, 2, Bytes::from(vec![b'x'; EVENT_BYTES_MAX]))] }],
                ..Unit::default()
            },
            Unit { deliveries: vec![DeliveryChange::Insert(first.clone())], ..unit(stream(), 0, 1) },
        ];
        let mut callers = tokio::task::JoinSet::new();
        for n in 0..60usize {
            let (store, unit, good) = (store.clone(), if n % 12 == 0 { bad[n / 12].clone() } else { unit(stream(), 0, 2) }, n % 12 != 0);
            callers.spawn(async move { (good, store.append(unit).await) });
        }
        for (good, answer) in callers.join_all().await {
            assert_eq!(good, matches!(answer, Ok(Answer::Committed { .. })), "{answer:?}");
            assert!(matches!(answer, Ok(Answer::Committed { .. } | Answer::VersionConflict { .. }) | Err(StoreError::Refused(_))), "{answer:?}");
        }
        assert_eq!(all(&*store).await.len(), before + 55 * 2);
    }
}

/// Faults that a test arms one at a time.
#[derive(Default)]
struct Armed {
    before: AtomicU32,
    lost: AtomicU32,
    hidden: AtomicU32,
}

fn spend(n: &AtomicU32) -> bool {
    n.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok()
}

impl Faults for Armed {
    fn before_commit(&self) -> bool {
        spend(&self.before)
    }
    fn lose_answer(&self) -> bool {
        spend(&self.lost)
    }
    fn hide_outcome(&self) -> bool {
        spend(&self.hidden)
    }
}

async fn a_commit_that_fails_leaves_nothing(adapter: &dyn StoreAdapter) {
    let faults = Arc::new(Armed::default());
    let store = adapter.open(vec![], faults.clone()).await;
    faults.before.store(1, Ordering::SeqCst);
    let s = stream();
    assert!(matches!(store.append(unit(s, 0, 3)).await, Err(StoreError::Unavailable(_))));
    assert!(all(&*store).await.is_empty());
    assert_eq!(store.append(unit(s, 0, 3)).await.unwrap(), Answer::Committed { position: 3 });
}

async fn a_lost_answer_is_looked_up(adapter: &dyn StoreAdapter) {
    let faults = Arc::new(Armed::default());
    let store = adapter.open(vec![], faults.clone()).await;
    for round in 0..5 {
        faults.lost.store(1, Ordering::SeqCst);
        let mut callers = tokio::task::JoinSet::new();
        for _ in 0..10 {
            let store = store.clone();
            callers.spawn(async move { store.append(unit(stream(), 0, 1)).await });
        }
        assert!(callers.join_all().await.into_iter().all(|a| matches!(a, Ok(Answer::Committed { .. }))));
        assert_eq!(all(&*store).await.len(), 10 * (round + 1));
    }
}

async fn an_unknown_outcome_is_said_and_the_store_goes_on(adapter: &dyn StoreAdapter) {
    let faults = Arc::new(Armed::default());
    let store = adapter.open(vec![], faults.clone()).await;
    let (s, t) = (stream(), stream());
    append(&*store, unit(t, 0, 1)).await;
    faults.lost.store(1, Ordering::SeqCst);
    faults.hidden.store(1, Ordering::SeqCst);
    let unit_of_s =
        Unit { timers: vec![TimerChange::Set { stream: s, name: "later", due_at: 1, payload: Bytes::new() }], ..claiming(b"k", s, ClaimRule::Unique) };
    assert!(matches!(store.append(unit_of_s.clone()).await, Err(StoreError::OutcomeUnknown)));
    // Repeated with the same key, it is found to have taken place.
    assert!(matches!(store.append(unit_of_s).await.unwrap(), Answer::VersionConflict { actual: 1, .. }));
    assert!(matches!(store.append(claiming(b"k", stream(), ClaimRule::Unique)).await.unwrap(), Answer::Claimed(h) if h.owner == s));
    assert_eq!(store.append(unit(t, 1, 1)).await.unwrap(), Answer::Committed { position: 3 });
    assert_eq!(store.append(unit(s, 1, 1)).await.unwrap(), Answer::Committed { position: 4 });
    assert_eq!(all(&*store).await.len(), 4);
    assert_eq!(store.committed().borrow().position, 4);
}

fn take(from_epoch: i64, next_offset: i64) -> Unit {
    let take = CheckpointChange::Take { subscription: "me".to_owned(), topic: "hearthline.call.v1", partition: 3, from_epoch, next_offset };
    Unit { checkpoint: Some(take), ..Unit::default() }
}

fn advance(epoch: i64, from: i64, to: i64) -> Unit {
    let advance = CheckpointChange::Advance { subscription: "me".to_owned(), topic: "hearthline.call.v1", partition: 3, epoch, from, to };
    Unit { checkpoint: Some(advance), ..unit(stream(), 0, 1) }
}

async fn a_stale_owner_is_fenced(adapter: &dyn StoreAdapter) {
    let store = open(adapter).await;
    assert!(matches!(store.append(advance(1, 0, 5)).await.unwrap(), Answer::Fenced(_)));
    assert!(is_committed(&store.append(take(0, 0)).await.unwrap()));
    assert!(is_committed(&store.append(advance(1, 0, 5)).await.unwrap()));
    assert!(matches!(store.append(advance(1, 0, 5)).await.unwrap(), Answer::Fenced(_)), "the same run twice");
    assert!(matches!(store.append(take(1, 0)).await.unwrap(), Answer::Fenced(_)), "the partition moved on since it was read");
    assert!(is_committed(&store.append(take(1, 5)).await.unwrap()));
    assert!(matches!(store.append(take(1, 5)).await.unwrap(), Answer::Fenced(_)));
    assert!(matches!(store.append(advance(1, 5, 9)).await.unwrap(), Answer::Fenced(_)), "the former owner");
    assert!(is_committed(&store.append(advance(2, 5, 9)).await.unwrap()));
    let store = open(adapter).await;
    assert!(matches!(store.append(advance(1, 9, 10)).await.unwrap(), Answer::Fenced(_)));
    assert!(is_committed(&store.append(advance(2, 9, 10)).await.unwrap()));
    // The first unit not committed fences those behind it.
    let (first, second, third) = tokio::join!(store.append(advance(2, 11, 12)), store.append(advance(2, 12, 13)), store.append(advance(2, 13, 14)));
    for answer in [first, second, third] {
        assert!(matches!(answer.unwrap(), Answer::Fenced(_)));
    }
    assert_eq!(all(&*store).await.len(), 3);
}

async fn a_timer_fires_only_as_it_was_set(adapter: &dyn StoreAdapter) {
    let store = open(adapter).await;
    let s = stream();
    let timer = |change| Unit { timers: vec![change], ..Unit::default() };
    let set = |due_at| timer(TimerChange::Set { stream: s, name: "t", due_at, payload: Bytes::from_static(b"p") });
    let fired = |due_at| timer(TimerChange::Fired { stream: s, name: "t".to_owned(), due_at });
    let fenced = |answer: Answer| matches!(answer, Answer::Fenced(_));
    assert!(fenced(store.append(fired(5)).await.unwrap()));
    let work = store.committed().borrow().work;
    assert!(is_committed(&store.append(set(5)).await.unwrap()));
    assert!(store.committed().borrow().work > work, "a timer that is set wakes its worker");
    assert!(is_committed(&store.append(set(9)).await.unwrap()));
    assert!(fenced(store.append(fired(5)).await.unwrap()), "set anew");
    assert!(is_committed(&store.append(fired(9)).await.unwrap()));
    assert!(fenced(store.append(fired(9)).await.unwrap()), "it fired");
    // Fired and set anew in one unit.
    store.append(set(1)).await.unwrap();
    let again = Unit { timers: [fired(1).timers, set(2).timers].concat(), ..Unit::default() };
    assert!(is_committed(&store.append(again).await.unwrap()));
    assert!(is_committed(&store.append(timer(TimerChange::Cancel { stream: s, name: "t" })).await.unwrap()));
    assert!(fenced(store.append(fired(2)).await.unwrap()), "cancelled");
    // Of two that fire it in one moment, one does.
    store.append(set(3)).await.unwrap();
    let (a, b) = tokio::join!(store.append(fired(3)), store.append(fired(3)));
    assert_eq!([a.unwrap(), b.unwrap()].iter().filter(|a| is_committed(a)).count(), 1);
    assert_eq!(count(&*store, "select count(*) from timers").await, 0);
}

fn delivery(subject: StreamId) -> NewDelivery {
    NewDelivery {
        id: id(),
        kind: "letter",
        destination: "gp".to_owned(),
        subject,
        stream: subject,
        payload: Bytes::from_static(b"blob"),
        state: DeliveryState::Due,
        sender: None,
        deadline_at: None,
        next_at: 0,
        expires_at: None,
        traceparent: None,
        created_at: 0,
    }
}

async fn a_delivery_moves_by_compare_and_set(adapter: &dyn StoreAdapter) {
    let store = open(adapter).await;
    let new = delivery(stream());
    let step = |from, from_attempt, to, attempt, code: Option<&str>| Unit {
        deliveries: vec![DeliveryChange::Move(DeliveryMove {
            id: new.id,
            from,
            from_attempt,
            to,
            attempt,
            sender: Some([7; 16]),
            deadline_at: Some(9),
            next_at: 0,
            code: code.map(str::to_owned),
            reference: None,
            at: 1,
        })],
        ..Unit::default()
    };
    assert!(matches!(store.append(step(DeliveryState::Due, 0, DeliveryState::Sending, 1, None)).await.unwrap(), Answer::Fenced(_)), "it does not exist");
    assert!(is_committed(&store.append(Unit { deliveries: vec![DeliveryChange::Insert(new.clone())], ..Unit::default() }).await.unwrap()));
    assert!(is_committed(&store.append(step(DeliveryState::Due, 0, DeliveryState::Due, 0, Some("waits"))).await.unwrap()));
    let begin = || store.append(step(DeliveryState::Due, 0, DeliveryState::Sending, 1, None));
    let (a, b) = tokio::join!(begin(), begin());
    assert_eq!([a.unwrap(), b.unwrap()].iter().filter(|a| is_committed(a)).count(), 1, "one sender");
    assert!(matches!(store.append(step(DeliveryState::Sending, 2, DeliveryState::Confirmed, 2, None)).await.unwrap(), Answer::Fenced(_)), "another attempt");
    assert!(is_committed(&store.append(step(DeliveryState::Sending, 1, DeliveryState::Confirmed, 1, None)).await.unwrap()));
    let read = hearthline_eventing::deliveries(&*store, "id = $1", &[new.id.into()]).await.unwrap();
    assert_eq!(
        (read[0].state, read[0].attempt, read[0].sender, read[0].code.as_deref()),
        (DeliveryState::Confirmed, 1, Some([7; 16]), None),
        "the code says why it waits now"
    );
    assert!(
        matches!(store.append(Unit { deliveries: vec![DeliveryChange::Insert(new)], ..Unit::default() }).await, Err(StoreError::Refused(_))),
        "one id, one delivery"
    );
}

async fn a_lease_keeps_others_out_until_it_ends(adapter: &dyn StoreAdapter) {
    let store = open(adapter).await;
    let lease = |holder, until, now| Unit { lease: Some(([holder; 16], until, now)), ..Unit::default() };
    assert!(is_committed(&store.append(lease(1, 100, 0)).await.unwrap()));
    assert!(is_committed(&store.append(lease(1, 200, 50)).await.unwrap()), "its holder extends it");
    assert!(matches!(store.append(lease(2, 300, 150)).await.unwrap(), Answer::Fenced(_)));
    assert!(matches!(open(adapter).await.append(lease(2, 300, 150)).await.unwrap(), Answer::Fenced(_)), "it is in the tables");
    assert!(is_committed(&store.append(lease(2, 300, 200)).await.unwrap()));
    assert!(matches!(store.append(lease(1, 400, 250)).await.unwrap(), Answer::Fenced(_)));
}

async fn a_closed_store_takes_no_events(adapter: &dyn StoreAdapter) {
    let store = open(adapter).await;
    store.set_open(Err("it lies behind the log".to_owned()));
    assert!(matches!(store.append(unit(stream(), 0, 1)).await, Err(StoreError::Closed(why)) if why.contains("behind the log")));
    assert!(is_committed(&store.append(Unit { relayed: Some(0), ..Unit::default() }).await.unwrap()), "the relay goes on");
    store.set_open(Ok(()));
    assert!(is_committed(&store.append(unit(stream(), 0, 1)).await.unwrap()));
}

async fn rows_beside_the_events_are_kept(adapter: &dyn StoreAdapter) {
    let store = open(adapter).await;
    let parked = |change| Unit {
        parked: vec![ParkedOf { subscription: "me".to_owned(), topic: "hearthline.call.v1".to_owned(), partition: 3, change }],
        ..Unit::default()
    };
    let row = ParkedRow {
        offset: 7,
        key: Bytes::from_static(b"key"),
        held: true,
        why: "early".to_owned(),
        payload: Bytes::from_static(&[0, 255]),
        headers: vec![("traceparent".to_owned(), Bytes::from_static(b"00-ab"))],
        parked_at: 1,
    };
    store.append(parked(ParkedChange::Add(row))).await.unwrap();
    let list = async || hearthline_eventing::parking::list(&*store).await.unwrap();
    assert_eq!(list().await[0].payload, Bytes::from_static(&[0, 255]));
    assert!(hearthline_eventing::parking::request(&*store, "hearthline.call.v1", 3, 7, "retry", "fixed").await.unwrap());
    assert!(!hearthline_eventing::parking::request(&*store, "hearthline.call.v1", 3, 8, "retry", "fixed").await.unwrap());
    assert_eq!(list().await[0].request.as_deref(), Some("retry"));
    store.append(parked(ParkedChange::Reason { offset: 7, held: false, why: "broken".to_owned() })).await.unwrap();
    assert_eq!((list().await[0].held, list().await[0].request.as_deref()), (false, None));
    store.append(parked(ParkedChange::Remove { offset: 7 })).await.unwrap();
    assert!(list().await.is_empty());

    let consumed = |n| Unit {
        consumed: Some(Consumed {
            subscription: "me".to_owned(),
            tally: vec![("hearthline.call.v1", "applied", String::new(), n)],
            seen: vec![(StreamId::from_bytes([1; 16]), n, [2; 16])],
            ..Consumed::default()
        }),
        ..Unit::default()
    };
    let (a, b) = tokio::join!(store.append(consumed(2)), store.append(consumed(3)));
    a.and(b).unwrap();
    assert_eq!(count(&*store, "select cast(sum(count) as bigint) from dispositions").await, 5);
    assert_eq!(count(&*store, "select version from seen").await, 3);

    let message = InboxRow {
        id: [1; 16],
        received_at: 1,
        outgoing: false,
        peer: "trust".to_owned(),
        control_id: "1".to_owned(),
        kind: "ADT^A01".to_owned(),
        reply: "AA",
        size: 6,
        body_tag: None,
        digest: [3; 32],
        day: "2026-11-22".to_owned(),
        person_tag: Some([4; 16]),
        place_tag: None,
        occurred_at: 1,
        sealed: Bytes::from_static(b"sealed"),
        state: "held",
        why: "stranger".to_owned(),
        effect: String::new(),
        stream: None,
        resident: None,
        traceparent: None,
    };
    let inbox = |change| Unit { inbox: vec![change], ..Unit::default() };
    store.append(inbox(InboxChange::Receive(Box::new(message.clone())))).await.unwrap();
    assert!(matches!(store.append(inbox(InboxChange::Receive(Box::new(message.clone())))).await, Err(StoreError::Refused(_))), "the same row again");
    let settled = |id, from: &'static str, state| {
        let row = Settled::new(id, from, state, String::new());
        inbox(InboxChange::Settle(Box::new(Settled { stream: Some(stream()), resident: Some([6; 16]), moved: true, ..row })))
    };
    let moved_on = Answer::Fenced(ROW_MOVED_ON);
    assert_eq!(store.append(settled([1; 16], "received", "ignored")).await.unwrap(), moved_on, "it was judged in another state");
    assert_eq!(store.append(settled([9; 16], "held", "interpreted")).await.unwrap(), moved_on, "it is not there");
    let (a, b) = tokio::join!(store.append(settled([1; 16], "held", "interpreted")), store.append(settled([1; 16], "held", "interpreted")));
    let (a, b) = (a.unwrap(), b.unwrap());
    assert!((a == moved_on) != (b == moved_on), "one of two that judged it settles it: {a:?}, {b:?}");
    assert_eq!(count(&*store, "select count(*) from inbox where moved = 1 and state = 'interpreted'").await, 1);
    store.append(inbox(InboxChange::Sweep { day: "2026-11-22".to_owned() })).await.unwrap();
    assert_eq!(count(&*store, "select count(*) from inbox").await, 1, "what is a resident's stays");
    let strangers = InboxRow { id: [2; 16], digest: [2; 32], ..message.clone() };
    store.append(inbox(InboxChange::Receive(Box::new(strangers)))).await.unwrap();
    store.append(inbox(InboxChange::Sweep { day: "2026-11-22".to_owned() })).await.unwrap();
    assert_eq!(count(&*store, "select count(*) from inbox where state = 'held'").await, 0);

    let keys = hearthline_tests::bench::Folder::new();
    let composer = bench::composer("call-intake", keys.keys().await);
    let s = stream();
    let blob = composer.blob([5; 16], s, "text/plain", b"a letter", 1).await.unwrap();
    let audit = hearthline_eventing::AuditRow {
        at: 1,
        role: "clinician",
        pseudonym: [6; 16],
        organisation: "X26".to_owned(),
        action: "read",
        whose: Some([7; 16]),
        why: "care".to_owned(),
    };
    store.append(Unit { blobs: vec![blob], audit: vec![audit], ..Unit::default() }).await.unwrap();
    let stored = store.blob([5; 16]).await.unwrap().unwrap();
    let opened = composer.open_blob([5; 16], &stored).await.unwrap();
    assert_eq!(opened.known().map(|k| k.as_slice()), Some(&b"a letter"[..]));
    assert!(composer.open_blob([6; 16], &stored).await.is_err(), "another blob's place");
    assert!(store.blob([8; 16]).await.unwrap().is_none());
    assert_eq!(count(&*store, "select count(*) from audit").await, 1);
}

/// A view whose table refuses what it is given.
struct Strict;

#[async_trait]
impl View for Strict {
    fn tables(&self) -> &'static [hearthline_eventing::Table] {
        &[hearthline_eventing::Table {
            name: "strict",
            columns: &["stream", "home"],
            key: 1,
            ddl: "create table if not exists strict (stream blob primary key, home blob not null);",
        }]
    }
    async fn apply(&self, tx: &mut hearthline_eventing::Tx<'_>, facts: &[hearthline_eventing::Fact]) -> Result<(), hearthline_eventing::ViewError> {
        for fact in facts {
            tx.execute("insert into strict (stream, home) values ($1, null)", &[fact.stream().into()]);
        }
        Ok(())
    }
}

async fn a_constraint_of_a_view_refuses_the_unit(adapter: &dyn StoreAdapter) {
    let store = adapter.open(vec![Arc::new(Strict)], Arc::new(NoFaults)).await;
    assert!(matches!(store.append(unit(stream(), 0, 1)).await, Err(StoreError::Refused(_))), "tried again for ever otherwise");
    assert!(all(&*store).await.is_empty());
}

//! Store, log and keyring together: relay, consumer, timers, deliveries, rebuild.

use async_trait::async_trait;
use bytes::Bytes;
use hearthline_contracts::envelope::Environment;
use hearthline_contracts::partition::partition_of;
use hearthline_contracts::topics::{self, PARTITIONS, Topic};
use hearthline_contracts::wire;
use hearthline_eventing::consumer::{self, ConsumerStopped, Inbound, Reaction, Triage};
use hearthline_eventing::lease::Lease;
use hearthline_eventing::relay::{Relay, RelayStopped, Step, StepError};
use hearthline_eventing::{
    Answer, CheckpointChange, Claim, ClaimHolder, ClaimRule, EventRow, Fact, Kernel, Log, LogError, LogRecord, Member, NotNow, Outgoing, Store, StoreError,
    Unit, View, Watermarks, Workers, Write, parking,
};
use hearthline_log_embedded::EmbeddedLog;
use hearthline_nhs::StreamId;
use hearthline_store::{NoFaults, SqliteStore};
use hearthline_tests::bench::{self, Folder, id, stream};
use hearthline_tests::folds::Folds;
use hearthline_tests::until;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const TOPIC: &str = topics::CALL.name;

/// A policy on calls that tests turn: what it does with a late entry, and whether it acts on the others.
#[derive(Default)]
pub struct Calls {
    pub acts: bool,
    pub parks_late: AtomicBool,
    pub holds_late: AtomicBool,
    pub asked: AtomicU32,
    pub reaction: Mutex<Option<Unit>>,
}

#[async_trait]
impl Inbound for Calls {
    fn topics(&self) -> &'static [&'static Topic] {
        &[&topics::CALL]
    }
    fn triage(&self, fact: &Fact) -> Triage {
        if self.acts || fact.envelope.late_entry { Triage::Act } else { Triage::Project }
    }
    async fn act(&self, fact: &Fact) -> Result<Reaction, NotNow> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if fact.envelope.late_entry && self.parks_late.load(Ordering::SeqCst) {
            return Ok(Reaction::Park("a defect of the policy".to_owned()));
        }
        if fact.envelope.late_entry && self.holds_late.load(Ordering::SeqCst) {
            return Ok(Reaction::Hold("a key is awaited"));
        }
        Ok(match self.reaction.lock().unwrap().take() {
            Some(unit) => Reaction::Apply(Box::new(unit)),
            None => Reaction::Project,
        })
    }
    fn claimed(&self, _: &Fact, _: &ClaimHolder) -> Reaction {
        Reaction::Ignore("done before")
    }
    fn archives(&self) -> bool {
        true
    }
}

/// One service that consumes the call topic, and the log before it.
struct Station {
    folder: Folder,
    log: Arc<EmbeddedLog>,
    store: SqliteStore,
    kernel: Kernel,
    inbound: Arc<Calls>,
    refuses: Arc<AtomicBool>,
    panics: Arc<AtomicBool>,
}

struct Running(CancellationToken, JoinHandle<Result<(), ConsumerStopped>>);

impl Running {
    async fn stop(self) {
        self.0.cancel();
        self.1.await.unwrap().unwrap();
    }
    /// Waits until it stops by itself, by name.
    async fn stopped(self) -> ConsumerStopped {
        tokio::time::timeout(hearthline_tests::PATIENCE, self.1).await.expect("it stops").unwrap().expect_err("it stops by name")
    }
}

impl Station {
    async fn new() -> Self {
        Self::with(Calls::default()).await
    }

    async fn with(inbound: Calls) -> Self {
        let folder = Folder::new();
        let log = Arc::new(folder.log().await);
        let folds = Folds::default();
        let (refuses, panics) = (folds.refuses_late_entries.clone(), folds.panics_on_late_entries.clone());
        let store = folder.store("kpi-projection", vec![Arc::new(folds)]).await;
        let kernel = bench::kernel("kpi-projection", Arc::new(store.clone()), log.clone(), folder.keys().await);
        Station { folder, log, store, kernel, inbound: Arc::new(inbound), refuses, panics }
    }

    fn consume(&self) -> Running {
        self.consume_from(self.log.clone())
    }

    fn consume_from(&self, log: Arc<dyn Log>) -> Running {
        let stop = CancellationToken::new();
        Running(stop.clone(), tokio::spawn(consumer::run(self.kernel.clone(), log, self.inbound.clone(), stop)))
    }

    async fn publish(&self, rows: impl IntoIterator<Item = EventRow>) {
        self.log.publish(TOPIC, rows.into_iter().map(outgoing).collect()).await.unwrap();
    }

    /// `(events, version, in order)` of a stream in the view.
    async fn folded(&self, stream: StreamId) -> (u64, u64, bool) {
        let rows = self.store.query("select events, version, in_order from folds where stream = $1", &[stream.into()]).await.unwrap();
        rows.first().map_or((0, 0, true), |r| (r.int(0).unsigned_abs(), r.int(1).unsigned_abs(), r.flag(2)))
    }

    async fn until_folded(&self, stream: StreamId, version: u64) {
        until("the view has it", async || (self.folded(stream).await.1 >= version).then_some(())).await;
        assert_eq!(self.folded(stream).await, (version, version, true));
    }

    async fn parked(&self) -> Vec<parking::Parked> {
        parking::list(&self.store).await.unwrap()
    }

    async fn until_parked(&self, n: usize) -> Vec<parking::Parked> {
        until("records are set aside", async || Some(self.parked().await).filter(|p| p.len() == n)).await
    }

    async fn request(&self, row: &parking::Parked, action: &'static str) {
        assert!(parking::request(&self.store, &row.topic, row.partition, row.offset, action, "by a test").await.unwrap());
    }

    async fn tally(&self, kind: &str) -> i64 {
        self.store.query("select coalesce(sum(count), 0) from dispositions where kind = $1", &[kind.into()]).await.unwrap()[0].int(0)
    }

    /// Waits until every record was read, whatever became of it.
    async fn until_read(&self) {
        let mut written = 0;
        for partition in 0..topics::PARTITIONS {
            written += self.log.watermarks(TOPIC, partition).await.unwrap().high;
        }
        until("everything is read", async || {
            let rows = self.store.query("select coalesce(sum(next_offset), 0) from checkpoints", &[]).await.unwrap();
            (rows[0].int(0) == written).then_some(())
        })
        .await;
    }
}

fn outgoing(row: EventRow) -> Outgoing {
    Outgoing { key: *row.stream.bytes(), headers: vec![], payload: row.payload }
}

/// A row with something about its envelope changed.
fn altered(stream: StreamId, version: u64, change: impl FnOnce(&mut hearthline_contracts::envelope::Envelope)) -> EventRow {
    let mut row = bench::row(stream, version, Bytes::new());
    change(&mut row.envelope);
    row.payload = wire::compose(&row.envelope, None, &wire::split(&row.payload).unwrap().fact);
    row
}

fn late(stream: StreamId, version: u64) -> EventRow {
    altered(stream, version, |e| e.late_entry = true)
}

/// Two streams whose records share a partition.
fn neighbours() -> (StreamId, StreamId) {
    let a = stream();
    loop {
        let b = stream();
        if partition_of(b.bytes()) == partition_of(a.bytes()) {
            return (a, b);
        }
    }
}

#[tokio::test]
async fn an_appended_event_reaches_the_view_of_another_service() {
    let folder = Folder::new();
    let (log, keys) = (Arc::new(folder.log().await), folder.keys().await);
    let from = Arc::new(folder.store("call-intake", vec![]).await);
    let to = Arc::new(folder.store("kpi-projection", vec![Arc::new(Folds::default())]).await);
    let sender = bench::kernel("call-intake", from.clone(), log.clone(), keys.clone());
    let receiver = bench::kernel("kpi-projection", to.clone(), log.clone(), keys.clone());
    let stop = CancellationToken::new();
    let workers = [
        tokio::spawn(Workers { kernel: sender.clone(), inbound: None, on_timer: None, couriers: vec![], leading: Vec::new() }.run(stop.clone())),
        tokio::spawn(
            Workers { kernel: receiver, inbound: Some(Arc::new(Calls::default())), on_timer: None, couriers: vec![], leading: Vec::new() }.run(stop.clone()),
        ),
    ];
    let stream = bench::stream();
    let write = sender.composer.write(stream, 0, vec![bench::opened(b"a fall"), bench::answered()], &bench::cause(), 2).await.unwrap();
    until("the store takes commands", async || match sender.store.append(Unit { writes: vec![write.clone()], ..Unit::default() }).await {
        Ok(Answer::Committed { position: 2 }) => Some(()),
        _ => None,
    })
    .await;
    until("the view has both", async || {
        let rows = to.query("select events, version, in_order from folds where stream = $1", &[stream.into()]).await.unwrap();
        rows.first().filter(|r| r.int(0) == 2 && r.int(1) == 2 && r.flag(2)).map(drop)
    })
    .await;
    let opened = sender.load(stream).await.unwrap();
    assert_eq!(opened[0].personal.as_ref().and_then(|p| p.known()).map(|p| p.as_slice()), Some(&b"a fall"[..]));
    stop.cancel();
    for worker in workers {
        worker.await.unwrap().unwrap();
    }
}

mod relay {
    use super::*;

    struct Source {
        folder: Folder,
        log: Arc<EmbeddedLog>,
        store: SqliteStore,
        instance: [u8; 16],
    }

    impl Source {
        async fn new() -> Self {
            let folder = Folder::new();
            let (log, store) = (Arc::new(folder.log().await), folder.store("call-intake", vec![]).await);
            Source { folder, log, store, instance: id() }
        }
        fn relay(&self) -> Relay {
            self.relay_to(self.log.clone())
        }
        fn relay_to(&self, log: Arc<dyn Log>) -> Relay {
            Relay::new(Arc::new(self.store.clone()), log, &topics::CALL, self.instance)
        }
        fn lease(&self) -> Lease {
            Lease::new(Arc::new(self.store.clone()), self.instance)
        }
        async fn append(&self, stream: StreamId, expected: u64, n: u64) {
            assert!(matches!(self.store.append(bench::unit(stream, expected, n)).await.unwrap(), Answer::Committed { .. }));
        }
        async fn published(&self) -> i64 {
            let mut all = 0;
            for partition in 0..topics::PARTITIONS {
                all += self.log.watermarks(TOPIC, partition).await.unwrap().high;
            }
            all
        }
    }

    /// A relay with its lease beside it, as a process has them.
    async fn beside(relay: Relay, lease: Lease, stop: CancellationToken) -> Result<(), RelayStopped> {
        let leasing = tokio::spawn({
            let (lease, stop) = (lease.clone(), stop.clone());
            async move { lease.run(stop).await }
        });
        let ended = relay.run(lease, stop.clone()).await;
        stop.cancel();
        leasing.await.unwrap().unwrap();
        ended
    }

    async fn drain(relay: &Relay, cursor: &mut u64) {
        while let Step::Published(_) = relay.step(cursor).await.unwrap() {}
    }

    #[tokio::test]
    async fn it_resumes_at_its_cursor() {
        let source = Source::new().await;
        let s = stream();
        source.append(s, 0, 700).await;
        let mut cursor = source.relay().compare().await.unwrap();
        assert_eq!(cursor, 0);
        assert_eq!(source.relay().step(&mut cursor).await.unwrap(), Step::Published(500));
        let mut cursor = source.relay().compare().await.unwrap();
        assert_eq!(cursor, 500);
        drain(&source.relay(), &mut cursor).await;
        assert_eq!(source.published().await, 700);
        source.append(s, 700, 1).await;
        drain(&source.relay(), &mut cursor).await;
        assert_eq!(source.published().await, 701);
        assert_eq!(source.relay().compare().await.unwrap(), 701);
    }

    #[tokio::test]
    async fn a_store_older_than_the_log_is_noticed_and_takes_no_commands() {
        let source = Source::new().await;
        let s = stream();
        source.append(s, 0, 3).await;
        drain(&source.relay(), &mut 0).await;
        source.store.close().await;
        let (file, copy) = (source.folder.file("call-intake.db"), source.folder.file("copy.db"));
        assert!(!source.folder.file("call-intake.db-wal").exists(), "a closed store is one file");
        std::fs::copy(&file, &copy).unwrap();
        {
            let store = source.folder.store("call-intake", vec![]).await;
            store.append(bench::unit(s, 3, 2)).await.unwrap();
            drain(&Relay::new(Arc::new(store.clone()), source.log.clone(), &topics::CALL, source.instance), &mut 3).await;
            store.close().await;
        }
        std::fs::copy(&copy, &file).unwrap();
        let store = source.folder.store("call-intake", vec![]).await;
        let relay = Relay::new(Arc::new(store.clone()), source.log.clone(), &topics::CALL, id());
        let lease = Lease::new(Arc::new(store.clone()), id());
        let stopped = tokio::time::timeout(hearthline_tests::PATIENCE, beside(relay, lease, CancellationToken::new())).await.expect("it stops").unwrap_err();
        assert!(matches!(stopped, RelayStopped::StoreBehindLog { version: 5, .. }), "{stopped}");
        let refused = store.append(bench::unit(stream(), 0, 1)).await;
        assert!(matches!(&refused, Err(StoreError::Closed(why)) if why.contains("StoreBehindLog")), "{refused:?}");
        assert_eq!(source.published().await, 5, "nothing was published over it");
    }

    #[tokio::test]
    async fn an_empty_topic_made_anew_is_noticed() {
        let source = Source::new().await;
        source.append(stream(), 0, 3).await;
        drain(&source.relay(), &mut 0).await;
        let anew = Arc::new(EmbeddedLog::open(&source.folder.file("anew.db")).await.unwrap());
        let stopped = beside(source.relay_to(anew), source.lease(), CancellationToken::new()).await.unwrap_err();
        assert!(matches!(stopped, RelayStopped::TopicRecreated { cursor: 3, .. }), "{stopped}");
        assert!(matches!(source.store.append(bench::unit(stream(), 0, 1)).await, Err(StoreError::Closed(_))));
    }

    #[tokio::test]
    async fn a_record_that_is_no_event_of_ours_is_noticed() {
        let source = Source::new().await;
        source.log.publish(TOPIC, vec![Outgoing { key: id(), headers: vec![], payload: Bytes::from_static(b"?") }]).await.unwrap();
        assert!(matches!(source.relay().compare().await, Err(StepError::Stop(RelayStopped::UnreadableRecord { .. }))));
        let source = Source::new().await;
        source.log.publish(TOPIC, vec![outgoing(bench::row(stream(), 1, Bytes::new()))]).await.unwrap();
        assert!(matches!(source.relay().compare().await, Err(StepError::Stop(RelayStopped::StoreBehindLog { .. }))));
    }

    /// A log of which a share of the writes fails, before or after they are done.
    struct Failing(Arc<EmbeddedLog>, AtomicU32);

    #[async_trait]
    impl Log for Failing {
        async fn publish(&self, topic: &'static str, records: Vec<Outgoing>) -> Result<(), LogError> {
            match self.1.fetch_add(1, Ordering::SeqCst) % 4 {
                0 => return Err(LogError::Unavailable("before".to_owned())),
                1 => self.0.publish(topic, records.into_iter().take(3).collect()).await?,
                2 => self.0.publish(topic, records).await?,
                _ => return self.0.publish(topic, records).await,
            }
            Err(LogError::Unavailable("after".to_owned()))
        }
        async fn last(&self, topic: &'static str, partition: u16) -> Result<Option<LogRecord>, LogError> {
            self.0.last(topic, partition).await
        }
        async fn watermarks(&self, topic: &'static str, partition: u16) -> Result<Watermarks, LogError> {
            self.0.watermarks(topic, partition).await
        }
        async fn read(&self, topic: &'static str, partition: u16, offset: i64, max: usize) -> Result<Vec<LogRecord>, LogError> {
            self.0.read(topic, partition, offset, max).await
        }
        async fn join(&self, group: &str, topics: &[&'static str]) -> Result<Box<dyn Member>, LogError> {
            self.0.join(group, topics).await
        }
    }

    #[tokio::test]
    async fn a_failed_write_never_reorders_a_key() {
        let source = Source::new().await;
        let streams: Vec<StreamId> = (0..5).map(|_| stream()).collect();
        let relay = source.relay_to(Arc::new(Failing(source.log.clone(), AtomicU32::new(0))));
        let mut cursor = 0;
        for version in 0..20 {
            for s in &streams {
                source.append(*s, version, 1).await;
            }
            while !matches!(relay.step(&mut cursor).await, Ok(Step::Idle)) {}
        }
        let mut member = source.log.join("reader", &[TOPIC]).await.unwrap();
        for s in streams {
            let partition = partition_of(s.bytes());
            let high = source.log.watermarks(TOPIC, partition).await.unwrap().high;
            let mut reader = member.read_from((TOPIC, partition), 0).await.unwrap();
            let (mut last, mut next) = (0, 0);
            while next < high {
                for record in reader.read(1_000).await.unwrap() {
                    next = record.offset + 1;
                    let envelope = wire::split(&record.payload).unwrap().envelope;
                    if envelope.stream_id == s.bytes().as_slice() {
                        assert!(envelope.stream_version <= last + 1, "version {} before {}", envelope.stream_version, last + 1);
                        last = last.max(envelope.stream_version);
                    }
                }
            }
            assert_eq!(last, 20);
        }
    }

    #[tokio::test]
    async fn a_lease_left_by_a_dead_process_does_not_stop_its_successor() {
        let source = Source::new().await;
        let now = hearthline_eventing::now_us();
        source.store.append(Unit { lease: Some(([9; 16], now + 3_600_000_000, now)), ..Unit::default() }).await.unwrap();
        source.append(stream(), 0, 2).await;
        let stop = CancellationToken::new();
        let alone = tokio::spawn(beside(source.relay(), source.lease().alone(true), stop.clone()));
        until("it publishes", async || (source.published().await == 2).then_some(())).await;
        stop.cancel();
        alone.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_replica_waits_for_the_lease_and_takes_commands_meanwhile() {
        let source = Source::new().await;
        let now = hearthline_eventing::now_us();
        source.store.append(Unit { lease: Some(([9; 16], now + 3_600_000_000, now)), ..Unit::default() }).await.unwrap();
        source.store.set_open(Err("not compared yet".to_owned()));
        let stop = CancellationToken::new();
        let waiting = tokio::spawn(beside(source.relay(), source.lease(), stop.clone()));
        until("it takes commands", async || source.store.append(bench::unit(stream(), 0, 2)).await.ok()).await;
        assert_eq!(source.published().await, 0);
        // The holder gives it up.
        source.store.append(Unit { lease: Some(([9; 16], 0, now)), ..Unit::default() }).await.unwrap();
        until("it publishes", async || (source.published().await == 2).then_some(())).await;
        stop.cancel();
        waiting.await.unwrap().unwrap();
    }
}

mod consuming {
    use super::*;

    #[tokio::test]
    async fn a_record_that_comes_twice_takes_effect_once() {
        let station = Station::new().await;
        let s = stream();
        let rows: Vec<EventRow> = bench::rows(s, 0, 4);
        let [one, two, three, four] = [0, 1, 2, 3].map(|n: usize| rows[n].clone());
        station.publish([one.clone(), two.clone(), one.clone(), two.clone(), three.clone(), two, three.clone()]).await;
        let running = station.consume();
        station.until_folded(s, 3).await;
        station.until_read().await;
        running.stop().await;
        let running = station.consume();
        station.publish([three, four.clone(), four]).await;
        station.until_read().await;
        assert_eq!(station.folded(s).await, (4, 4, true));
        assert_eq!((station.tally("applied").await, station.tally("duplicate").await), (4, 6));
        running.stop().await;
    }

    #[tokio::test]
    async fn an_early_record_is_held_and_released_in_order() {
        let station = Station::new().await;
        let s = stream();
        let rows = bench::rows(s, 0, 6);
        station.publish([rows[0].clone(), rows[3].clone(), rows[2].clone(), rows[3].clone(), rows[5].clone()]).await;
        let running = station.consume();
        let held = station.until_parked(3).await;
        assert!(held.iter().all(|p| p.held));
        station.until_read().await;
        assert_eq!(station.folded(s).await, (1, 1, true));
        // What waits is known to the next owner too.
        running.stop().await;
        let running = station.consume();
        station.publish([rows[1].clone()]).await;
        station.until_folded(s, 4).await;
        station.until_parked(1).await;
        station.publish([rows[4].clone()]).await;
        station.until_folded(s, 6).await;
        station.until_parked(0).await;
        running.stop().await;
    }

    #[tokio::test]
    async fn a_poison_record_is_parked_with_its_key_and_the_others_go_on() {
        let station = Station::new().await;
        let (sick, well) = neighbours();
        station.refuses.store(true, Ordering::SeqCst);
        let poison = late(sick, 2);
        let mut rows = vec![bench::row(sick, 1, Bytes::new()), poison.clone(), bench::row(sick, 3, Bytes::new()), poison];
        rows.splice(1..1, bench::rows(well, 0, 5));
        rows.extend(bench::rows(well, 5, 5));
        station.publish(rows).await;
        let running = station.consume();
        station.until_folded(well, 10).await;
        let aside = station.until_parked(2).await;
        assert_eq!((aside[0].held, aside[1].held), (false, true), "its own key queues behind");
        assert!(aside[0].why.contains("a view cannot take"), "{}", aside[0].why);
        station.until_read().await;
        assert_eq!(station.parked().await.len(), 2, "the same record again is not parked again");
        assert_eq!(station.folded(sick).await, (1, 1, true));
        // Tried again in vain, then with the defect mended.
        station.request(&aside[0], "retry").await;
        until("the request is done", async || station.parked().await.iter().all(|p| p.request.is_none()).then_some(())).await;
        assert_eq!(station.parked().await.len(), 2);
        station.refuses.store(false, Ordering::SeqCst);
        station.request(&aside[0], "retry").await;
        station.until_folded(sick, 3).await;
        station.until_parked(0).await;
        assert_eq!(station.tally("applied").await, 13);
        running.stop().await;
    }

    #[tokio::test]
    async fn a_record_that_makes_a_view_panic_is_parked_like_any_other() {
        let station = Station::new().await;
        let (sick, well) = neighbours();
        station.panics.store(true, Ordering::SeqCst);
        station.publish([late(sick, 1), bench::row(well, 1, Bytes::new())]).await;
        let running = station.consume();
        station.until_folded(well, 1).await;
        let aside = station.until_parked(1).await;
        station.panics.store(false, Ordering::SeqCst);
        station.request(&aside[0], "retry").await;
        station.until_folded(sick, 1).await;
        running.stop().await;
    }

    #[tokio::test]
    async fn a_discarded_record_lets_its_stream_go_on() {
        let station = Station::new().await;
        let s = stream();
        station.refuses.store(true, Ordering::SeqCst);
        station.publish([bench::row(s, 1, Bytes::new()), late(s, 2), bench::row(s, 3, Bytes::new())]).await;
        let running = station.consume();
        let aside = station.until_parked(2).await;
        // The one behind it cannot be discarded first: the one before it would be lost with it.
        station.request(&aside[1], "discard").await;
        until("the request is answered", async || station.parked().await.iter().any(|p| p.why.contains("republish")).then_some(())).await;
        assert_eq!(station.parked().await.len(), 2);
        station.request(&aside[0], "discard").await;
        station.until_parked(0).await;
        assert_eq!(station.folded(s).await, (2, 3, false), "versions 1 and 3");
        running.stop().await;
    }

    #[tokio::test]
    async fn an_unreadable_record_is_parked_and_discarding_it_loses_no_other() {
        let station = Station::new().await;
        let s = stream();
        let junk = Outgoing { key: *s.bytes(), headers: vec![], payload: Bytes::from_static(b"\xff\xff") };
        station.publish([bench::row(s, 1, Bytes::new())]).await;
        station.log.publish(TOPIC, vec![junk]).await.unwrap();
        let running = station.consume();
        let aside = station.until_parked(1).await;
        station.request(&aside[0], "discard").await;
        station.until_parked(0).await;
        // It was no version of the stream after all.
        station.publish(bench::rows(s, 1, 2)).await;
        station.until_folded(s, 3).await;
        running.stop().await;
    }

    #[tokio::test]
    async fn records_that_need_a_newer_reader_or_an_unknown_fact_are_parked() {
        let station = Station::new().await;
        let [newer, unknown, misplaced] = [stream(), stream(), stream()];
        let mut strange = bench::row(unknown, 1, Bytes::new());
        // Field 900, length-delimited, empty.
        strange.payload = wire::compose(&strange.envelope, None, &[0xa2, 0x38, 0x00]);
        let mut wrong = outgoing(bench::row(misplaced, 1, Bytes::new()));
        wrong.key = id();
        station.publish([altered(newer, 1, |e| e.least_reader_revision = 99), strange]).await;
        station.log.publish(TOPIC, vec![wrong]).await.unwrap();
        let running = station.consume();
        let whys: Vec<String> = station.until_parked(3).await.into_iter().map(|p| p.why).collect();
        for part in ["newer reader", "does not know the fact", "key is not its stream"] {
            assert!(whys.iter().any(|w| w.contains(part)), "{part}: {whys:?}");
        }
        running.stop().await;
    }

    #[tokio::test]
    async fn facts_of_another_environment_are_passed_over() {
        for acts in [false, true] {
            let station = Station::with(Calls { acts, ..Calls::default() }).await;
            let (foreign, own) = neighbours();
            let foreigners = (1..=3).map(|v| altered(foreign, v, |e| e.environment = Environment::Live as i32));
            station.publish(foreigners.chain([bench::row(own, 1, Bytes::new())])).await;
            let running = station.consume();
            station.until_folded(own, 1).await;
            station.until_read().await;
            assert_eq!(station.folded(foreign).await, (0, 0, true));
            assert_eq!((station.tally("ignored").await, station.tally("applied").await), (3, 1));
            assert_eq!(station.inbound.asked.load(Ordering::SeqCst), u32::from(acts));
            running.stop().await;
        }
    }

    #[tokio::test]
    async fn a_forked_stream_stops_by_name() {
        let station = Station::new().await;
        let s = stream();
        station.publish([bench::row(s, 1, Bytes::new()), bench::row(s, 1, Bytes::new())]).await;
        let stopped = station.consume().stopped().await;
        assert!(matches!(stopped, ConsumerStopped::Forked { version: 1, .. }), "{stopped}");
        // Also where the first of the two still waits.
        let station = Station::new().await;
        station.publish([bench::row(s, 2, Bytes::new()), bench::row(s, 2, Bytes::new())]).await;
        assert!(matches!(station.consume().stopped().await, ConsumerStopped::Forked { version: 2, .. }));
    }

    #[tokio::test]
    async fn too_many_parked_keys_stop_the_partition_and_requests_are_the_way_out() {
        let station = Station::new().await;
        station.refuses.store(true, Ordering::SeqCst);
        let first = stream();
        let mut sick = vec![first];
        while sick.len() < 51 {
            let s = stream();
            if partition_of(s.bytes()) == partition_of(first.bytes()) {
                sick.push(s);
            }
        }
        station.publish(sick.iter().take(50).map(|s| late(*s, 1))).await;
        let running = station.consume();
        station.until_parked(50).await;
        station.publish([late(sick[50], 1)]).await;
        let stopped = running.stopped().await;
        assert!(matches!(stopped, ConsumerStopped::TooManyParked { parked: 51, .. }), "{stopped}");
        assert!(matches!(station.consume().stopped().await, ConsumerStopped::TooManyParked { .. }), "after a restart too");
        station.refuses.store(false, Ordering::SeqCst);
        for row in station.parked().await {
            station.request(&row, "retry").await;
        }
        let running = station.consume();
        station.until_parked(0).await;
        for s in sick {
            assert_eq!(station.folded(s).await, (1, 1, true));
        }
        running.stop().await;
    }

    #[tokio::test]
    async fn a_trimmed_topic_and_one_made_anew_stop_by_name() {
        let station = Station::new().await;
        let s = stream();
        station.publish(bench::rows(s, 0, 3)).await;
        let running = station.consume();
        station.until_folded(s, 3).await;
        running.stop().await;
        let anew = Arc::new(EmbeddedLog::open(&station.folder.file("anew.db")).await.unwrap());
        let stopped = station.consume_from(anew).stopped().await;
        assert!(matches!(stopped, ConsumerStopped::TopicRecreated { next: 3, high: 0, .. }), "{stopped}");
        let trimmed = Arc::new(Trimmed { log: station.log.clone(), partition: partition_of(s.bytes()), low: 10 });
        let stopped = station.consume_from(trimmed).stopped().await;
        assert!(matches!(stopped, ConsumerStopped::TopicTrimmed { next: 3, low: 10, .. }), "{stopped}");
    }

    /// A log whose oldest records of one partition are past their time.
    struct Trimmed {
        log: Arc<EmbeddedLog>,
        partition: u16,
        low: i64,
    }

    #[async_trait]
    impl Log for Trimmed {
        async fn publish(&self, topic: &'static str, records: Vec<Outgoing>) -> Result<(), LogError> {
            self.log.publish(topic, records).await
        }
        async fn last(&self, topic: &'static str, partition: u16) -> Result<Option<LogRecord>, LogError> {
            self.log.last(topic, partition).await
        }
        async fn watermarks(&self, topic: &'static str, partition: u16) -> Result<Watermarks, LogError> {
            let marks = self.log.watermarks(topic, partition).await?;
            Ok(if partition == self.partition { Watermarks { low: self.low, high: marks.high.max(self.low) } } else { marks })
        }
        async fn read(&self, topic: &'static str, partition: u16, offset: i64, max: usize) -> Result<Vec<LogRecord>, LogError> {
            self.log.read(topic, partition, offset, max).await
        }
        async fn join(&self, group: &str, topics: &[&'static str]) -> Result<Box<dyn Member>, LogError> {
            self.log.join(group, topics).await
        }
    }

    #[tokio::test]
    async fn whoever_takes_a_partition_over_fences_the_former_owner() {
        let station = Station::new().await;
        let s = stream();
        let partition = partition_of(s.bytes());
        let running = station.consume();
        station.publish(bench::rows(s, 0, 2)).await;
        station.until_folded(s, 2).await;
        let epoch = async || {
            let rows = station.store.query("select epoch, next_offset from checkpoints where partition = $1", &[u32::from(partition).into()]).await.unwrap();
            (rows[0].int(0), rows[0].int(1))
        };
        let (before, at) = epoch().await;
        // Another process takes it; its next step and that of the former owner exclude one another.
        let take = CheckpointChange::Take { subscription: "kpi-projection".to_owned(), topic: TOPIC, partition, from_epoch: before, next_offset: at };
        assert!(matches!(station.store.append(Unit { checkpoint: Some(take), ..Unit::default() }).await.unwrap(), Answer::Committed { .. }));
        station.publish(bench::rows(s, 2, 2)).await;
        // It is still assigned here, so it is taken back, and nothing is applied twice.
        station.until_folded(s, 4).await;
        assert_eq!(epoch().await, (before + 2, 4));
        assert_eq!(station.tally("applied").await, 4);
        running.stop().await;
    }

    #[tokio::test]
    async fn what_a_policy_holds_is_asked_about_again() {
        let station = Station::new().await;
        let s = stream();
        station.inbound.holds_late.store(true, Ordering::SeqCst);
        station.publish([late(s, 1), bench::row(s, 2, Bytes::new())]).await;
        let running = station.consume();
        let held = station.until_parked(2).await;
        assert_eq!((held[0].held, held[0].why.as_str()), (true, "a key is awaited"));
        station.inbound.holds_late.store(false, Ordering::SeqCst);
        station.until_folded(s, 2).await;
        station.until_parked(0).await;
        running.stop().await;
    }

    #[tokio::test]
    async fn what_a_policy_parks_waits_for_a_person() {
        let station = Station::new().await;
        let s = stream();
        station.inbound.parks_late.store(true, Ordering::SeqCst);
        station.publish([late(s, 1), bench::row(s, 2, Bytes::new())]).await;
        let running = station.consume();
        let aside = station.until_parked(2).await;
        assert_eq!((aside[0].held, aside[0].why.as_str()), (false, "a defect of the policy"));
        station.inbound.parks_late.store(false, Ordering::SeqCst);
        station.request(&aside[0], "retry").await;
        station.until_folded(s, 2).await;
        running.stop().await;
    }

    #[tokio::test]
    async fn a_reaction_is_committed_with_its_fact_once() {
        let station = Station::with(Calls { acts: true, ..Calls::default() }).await;
        let (s, own) = (stream(), stream());
        let mut unit = bench::unit(own, 0, 1);
        unit.claims.push(Claim {
            scope: "call",
            key: Bytes::copy_from_slice(s.bytes()),
            digest: Bytes::new(),
            owner: own,
            version: 1,
            expires_at: None,
            rule: ClaimRule::Unique,
        });
        *station.inbound.reaction.lock().unwrap() = Some(unit.clone());
        station.publish(bench::rows(s, 0, 1)).await;
        let running = station.consume();
        station.until_folded(s, 1).await;
        assert_eq!(station.store.read_stream(own, 0).await.unwrap().len(), 1);
        // The claim says that it was done before; the fact is still taken.
        let second = bench::unit(stream(), 0, 1);
        *station.inbound.reaction.lock().unwrap() = Some(Unit { claims: unit.claims, ..second });
        station.publish(bench::rows(s, 1, 1)).await;
        station.until_read().await;
        assert_eq!((station.tally("ignored").await, station.store.read_all(0, 10).await.unwrap().len()), (1, 1));
        running.stop().await;
    }

    #[tokio::test]
    async fn a_broker_that_goes_away_pauses_the_consumer() {
        let station = Station::new().await;
        let s = stream();
        station.publish(bench::rows(s, 0, 2)).await;
        let away = Arc::new(Away { log: station.log.clone(), is_away: AtomicBool::new(true), asked: AtomicU32::new(0) });
        let running = station.consume_from(away.clone());
        until("it asked in vain, and again", async || (away.asked.load(Ordering::SeqCst) > u32::from(PARTITIONS)).then_some(())).await;
        assert_eq!(station.folded(s).await.0, 0);
        away.is_away.store(false, Ordering::SeqCst);
        station.until_folded(s, 2).await;
        running.stop().await;
    }

    /// A log that cannot be asked for its ends for a while.
    struct Away {
        log: Arc<EmbeddedLog>,
        is_away: AtomicBool,
        /// While it was away.
        asked: AtomicU32,
    }

    #[async_trait]
    impl Log for Away {
        async fn publish(&self, topic: &'static str, records: Vec<Outgoing>) -> Result<(), LogError> {
            self.log.publish(topic, records).await
        }
        async fn last(&self, topic: &'static str, partition: u16) -> Result<Option<LogRecord>, LogError> {
            self.log.last(topic, partition).await
        }
        async fn watermarks(&self, topic: &'static str, partition: u16) -> Result<Watermarks, LogError> {
            if self.is_away.load(Ordering::SeqCst) {
                self.asked.fetch_add(1, Ordering::SeqCst);
                return Err(LogError::Unavailable("the broker is away".to_owned()));
            }
            self.log.watermarks(topic, partition).await
        }
        async fn read(&self, topic: &'static str, partition: u16, offset: i64, max: usize) -> Result<Vec<LogRecord>, LogError> {
            self.log.read(topic, partition, offset, max).await
        }
        async fn join(&self, group: &str, topics: &[&'static str]) -> Result<Box<dyn Member>, LogError> {
            self.log.join(group, topics).await
        }
    }

    #[tokio::test]
    async fn two_deployments_in_one_process_do_not_see_each_other() {
        let (one, other) = (Station::new().await, Station::new().await);
        let (a, b) = (one.consume(), other.consume());
        let s = stream();
        one.publish(bench::rows(s, 0, 2)).await;
        let t = stream();
        other.publish(bench::rows(t, 0, 3)).await;
        one.until_folded(s, 2).await;
        other.until_folded(t, 3).await;
        assert_eq!((one.folded(t).await.0, other.folded(s).await.0), (0, 0));
        a.stop().await;
        b.stop().await;
    }
}

mod rebuilding {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_rebuild_equals_the_living_view_and_is_swapped_in_one_step() {
        let station = Station::with(Calls { acts: false, ..Calls::default() }).await;
        let streams: Vec<StreamId> = (0..30).map(|_| stream()).collect();
        let composer = bench::composer("call-intake", station.folder.keys().await);
        let mut rows: Vec<EventRow> = streams.iter().flat_map(|s| bench::rows(*s, 0, 5)).collect();
        let sealed = stream();
        rows.extend(composer.write(sealed, 0, vec![bench::opened(b"Mrs Marple")], &bench::cause(), 2).await.unwrap().events);
        station.publish(rows).await;
        let running = station.consume();
        station.until_read().await;
        // Its own events are part of its views as well, in between.
        let own = stream();
        station.store.append(bench::unit(own, 0, 3)).await.unwrap();
        station.publish(bench::rows(streams[0], 5, 4)).await;
        station.until_folded(streams[0], 9).await;

        let done = Arc::new(AtomicBool::new(false));
        let watching = tokio::spawn({
            let (store, done) = (station.store.clone(), done.clone());
            async move {
                while !done.load(Ordering::SeqCst) {
                    let rows = store.query("select count(*) from folds", &[]).await.unwrap();
                    assert_eq!(rows[0].int(0), 32, "a reader saw the view while it was exchanged");
                }
            }
        });
        for swap in [false, true, true] {
            let rebuilt = station.store.rebuild(swap).await.unwrap();
            assert_eq!((rebuilt.facts, rebuilt.swapped), (151 + 3 + 4, swap));
            assert_eq!(rebuilt.live, rebuilt.rebuilt);
        }
        done.store(true, Ordering::SeqCst);
        watching.await.unwrap();
        // The view goes on, and its own stream too.
        station.publish(bench::rows(streams[0], 9, 1)).await;
        station.until_folded(streams[0], 10).await;
        station.store.append(bench::unit(own, 3, 1)).await.unwrap();
        assert_eq!(station.folded(own).await, (4, 4, true));
        assert!(!station.folder.file("kpi-projection.rebuild").exists());
        // No sealed part is archived.
        let archived = station.store.query("select payload from archive", &[]).await.unwrap();
        assert_eq!(archived.len(), 151 + 4 + 1);
        assert!(archived.iter().all(|r| wire::split(r.blob(0)).unwrap().sealed.is_none()));
        running.stop().await;
    }

    /// A view that minds the order in which all facts came, which no service's view may: it shows the order of a replay.
    struct Arrivals;

    const ARRIVALS: hearthline_eventing::Table = hearthline_eventing::Table {
        name: "arrivals",
        columns: &["place", "event_id"],
        key: 1,
        ddl: "create table if not exists arrivals (place integer primary key, event_id blob not null);",
    };

    #[async_trait]
    impl View for Arrivals {
        fn tables(&self) -> &'static [hearthline_eventing::Table] {
            &[ARRIVALS]
        }
        async fn apply(&self, tx: &mut hearthline_eventing::Tx<'_>, facts: &[Fact]) -> Result<(), hearthline_eventing::ViewError> {
            let rows = tx.query("select coalesce(max(place), 0) from arrivals", &[]).await?;
            tx.upsert(&ARRIVALS, (rows[0].int(0) + 1..).zip(facts).map(|(place, fact)| vec![place.into(), fact.event_id().into()]).collect());
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_rebuild_replays_own_and_others_facts_in_the_order_they_came() {
        let folder = Folder::new();
        let store = folder.store("kpi-projection", vec![Arc::new(Arrivals)]).await;
        let (own, foreign) = (stream(), stream());
        for n in 0..20u64 {
            let row = bench::row(foreign, n + 1, Bytes::new());
            let consumed = hearthline_eventing::Consumed {
                subscription: "kpi-projection".to_owned(),
                facts: vec![Fact { topic: TOPIC, envelope: row.envelope, sealed: None, payload: row.payload }],
                tally: vec![(TOPIC, "applied", String::new(), 1)],
                archive: true,
                ..Default::default()
            };
            // Own events before, with, and without others'.
            let own = match n % 3 {
                0 => bench::unit(stream(), 0, 2),
                1 => Unit::default(),
                _ => {
                    let version = store.read_stream(own, 0).await.unwrap().len() as u64;
                    store.append(bench::unit(own, version, 1)).await.unwrap();
                    Unit::default()
                }
            };
            store.append(Unit { consumed: Some(consumed), ..own }).await.unwrap();
        }
        let rebuilt = store.rebuild(true).await.unwrap();
        assert_eq!((rebuilt.live, rebuilt.facts), (rebuilt.rebuilt, 20 + 14 + 6));
    }

    /// A view that folds wrongly while it is told to.
    struct Wrong(Arc<AtomicBool>, Folds);

    #[async_trait]
    impl View for Wrong {
        fn tables(&self) -> &'static [hearthline_eventing::Table] {
            self.1.tables()
        }
        async fn apply(&self, tx: &mut hearthline_eventing::Tx<'_>, facts: &[Fact]) -> Result<(), hearthline_eventing::ViewError> {
            if self.0.load(Ordering::SeqCst) {
                return Ok(());
            }
            self.1.apply(tx, facts).await
        }
    }

    #[tokio::test]
    async fn a_rebuild_mends_a_view_and_says_that_it_differed() {
        let folder = Folder::new();
        let is_wrong = Arc::new(AtomicBool::new(true));
        let store = folder.store("call-intake", vec![Arc::new(Wrong(is_wrong.clone(), Folds::default()))]).await;
        let s = stream();
        store.append(bench::unit(s, 0, 5)).await.unwrap();
        is_wrong.store(false, Ordering::SeqCst);
        let looked = store.rebuild(false).await.unwrap();
        assert_ne!(looked.live, looked.rebuilt);
        assert!(store.query("select 1 from folds", &[]).await.unwrap().is_empty(), "looking changes nothing");
        let swapped = store.rebuild(true).await.unwrap();
        assert_eq!((swapped.live, swapped.rebuilt), (looked.live, looked.rebuilt.clone()));
        let again = store.rebuild(false).await.unwrap();
        assert_eq!((&again.live, &again.rebuilt), (&looked.rebuilt, &looked.rebuilt));
    }

    #[tokio::test]
    async fn views_of_facts_that_nobody_archived_are_not_emptied() {
        let folder = Folder::new();
        let store = folder.store("call-intake", vec![Arc::new(Folds::default())]).await;
        let s = stream();
        let row = bench::row(s, 1, Bytes::new());
        let fact = Fact { topic: TOPIC, envelope: row.envelope, sealed: None, payload: row.payload };
        let consumed = hearthline_eventing::Consumed {
            subscription: "call-intake".to_owned(),
            facts: vec![fact],
            tally: vec![(TOPIC, "applied", String::new(), 1)],
            ..Default::default()
        };
        store.append(Unit { consumed: Some(consumed), ..Unit::default() }).await.unwrap();
        assert!(matches!(store.rebuild(true).await, Err(StoreError::Refused(_))));
        assert_eq!(store.query("select 1 from folds", &[]).await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn identities_are_a_view_like_any_other() {
        let folder = Folder::new();
        let store =
            bench::open_store(folder.file("x.db"), "directory", vec![Arc::new(hearthline_eventing::identity::Identities)], Arc::new(NoFaults)).await.unwrap();
        let unknown = hearthline_eventing::identity::resolve(&store, [1; 16]).await.unwrap();
        assert_eq!((unknown.id, unknown.registered), ([1; 16], false));
        let rebuilt = store.rebuild(true).await.unwrap();
        assert_eq!(rebuilt.live, rebuilt.rebuilt);
    }
}

#[tokio::test]
async fn a_handler_decides_again_when_its_stream_moved_on() {
    let folder = Folder::new();
    let store = folder.store("call-intake", vec![]).await;
    let s = stream();
    let tries = AtomicU32::new(0);
    let done: Result<_, NotNow> = hearthline_eventing::retrying(&store, || async {
        let version = store.read_stream(s, 0).await?.len() as u64;
        if tries.fetch_add(1, Ordering::SeqCst) < 3 {
            store.append(bench::unit(s, version, 1)).await?;
        }
        Ok((Unit { writes: vec![Write { stream: s, expected: version, events: bench::rows(s, version, 1) }], ..Unit::default() }, version))
    })
    .await;
    assert!(matches!(done.unwrap(), hearthline_eventing::Attempted::Committed { position: 4, value: 3 }));
    let given_up: Result<hearthline_eventing::Attempted<()>, NotNow> = hearthline_eventing::retrying(&store, || async { Ok((bench::unit(s, 0, 1), ())) }).await;
    assert!(given_up.is_err());
}

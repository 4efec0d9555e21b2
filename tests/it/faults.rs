//! The whole kernel under seeded trouble, and the auditor's four questions: was anything acknowledged that is not in the log, is
//! anything there twice in effect, is each key in order, does a rebuild equal the living view.

use crate::contract_kernel::Calls;
use crate::contract_store;
use hearthline_contracts::topics;
use hearthline_contracts::wire;
use hearthline_eventing::hostile::{HostileLog, HostileStore};
use hearthline_eventing::{Answer, KeyStore, Log, Recorded, Store, StoreError, Unit, Workers};
use hearthline_log_embedded::EmbeddedLog;
use hearthline_nhs::StreamId;
use hearthline_store::{Faults, NoFaults, SqliteStore};
use hearthline_tests::bench::{self, Folder, stream};
use hearthline_tests::folds::Folds;
use hearthline_tests::{Seed, seeds, until};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use tokio_util::sync::CancellationToken;

const TOPIC: &str = topics::CALL.name;

/// Faults at commits, by dice.
struct Dice(Mutex<StdRng>);

impl Dice {
    fn percent(&self, n: u32) -> bool {
        self.0.lock().unwrap().random_range(0..100) < n
    }
}

impl Faults for Dice {
    fn before_commit(&self) -> bool {
        self.percent(10)
    }
    fn lose_answer(&self) -> bool {
        self.percent(15)
    }
    fn hide_outcome(&self) -> bool {
        self.percent(40)
    }
}

/// Every record of the topic, by partition and in order.
async fn records(log: &EmbeddedLog) -> Vec<(StreamId, u64, [u8; 16])> {
    let mut member = log.join("auditor", &[TOPIC]).await.unwrap();
    let mut all = Vec::new();
    for partition in 0..topics::PARTITIONS {
        let high = log.watermarks(TOPIC, partition).await.unwrap().high;
        let mut reader = member.read_from((TOPIC, partition), 0).await.unwrap();
        let mut next = 0;
        while next < high {
            for record in reader.read(1_000).await.unwrap() {
                next = record.offset + 1;
                let parts = wire::split(&record.payload).unwrap();
                assert_eq!(record.key, parts.stream_id.as_slice());
                all.push((StreamId::from_bytes(parts.stream_id), parts.envelope.stream_version, parts.event_id));
            }
        }
    }
    all
}

/// Asks the four questions of a store that published, a log, and a store that consumed.
async fn audit(acknowledged: &HashSet<[u8; 16]>, from: &SqliteStore, log: &EmbeddedLog, to: &SqliteStore) {
    let events: Vec<Recorded> = contract_store::all(from).await;
    let there: HashSet<[u8; 16]> = events.iter().map(|e| e.event_id).collect();
    assert!(acknowledged.is_subset(&there), "acknowledged, and not in the store");

    let mut heads: HashMap<StreamId, (u64, [u8; 16])> = HashMap::new();
    let mut published = HashSet::new();
    for (stream, version, id) in records(log).await {
        let head = heads.entry(stream).or_default();
        assert!(version <= head.0 + 1, "version {version} of {stream} before {}", head.0 + 1);
        if version == head.0 + 1 {
            *head = (version, id);
        }
        assert!(there.contains(&id), "published, and not in the store");
        published.insert(id);
    }
    assert_eq!(published, there, "committed, and not in the log");

    let mut expected: HashMap<StreamId, u64> = HashMap::new();
    for event in &events {
        *expected.entry(event.stream).or_default() += 1;
    }
    let rows = to.query("select stream, events, version, in_order from folds", &[]).await.unwrap();
    assert_eq!(rows.len(), expected.len());
    for row in rows {
        let n = expected[&row.stream(0)];
        assert_eq!((row.int(1).unsigned_abs(), row.int(2).unsigned_abs(), row.flag(3)), (n, n, true), "twice, missing or out of order in the view");
    }
    let rebuilt = to.rebuild(true).await.unwrap();
    assert_eq!((rebuilt.live, rebuilt.facts), (rebuilt.rebuilt, events.len() as u64), "a rebuild differs from the living view");
}

/// Waits until the view holds as many events as the store has committed.
async fn until_projected(from: &SqliteStore, to: &SqliteStore) {
    until("the view has caught up", async || {
        let committed = from.query("select count(*) from events", &[]).await.unwrap()[0].int(0);
        let projected = to.query("select coalesce(sum(events), 0) from folds", &[]).await.unwrap()[0].int(0);
        assert!(projected <= committed, "more effects than events");
        (projected == committed).then_some(())
    })
    .await;
}

/// Runs a sender and a receiver, each behind the hostile wrappers, until everything that `callers` append has arrived.
async fn storm(seed: u64) {
    let folder = Folder::new();
    let (log, keys) = (Arc::new(folder.log().await), folder.keys().await);
    let dice = |n| Arc::new(Dice(Mutex::new(StdRng::seed_from_u64(seed ^ n))));
    let from = folder.faulty_store("call-intake", vec![], dice(1)).await;
    let to = folder.faulty_store("kpi-projection", vec![Arc::new(Folds::default())], dice(2)).await;
    let wicked = Arc::new(HostileLog::new(log.clone(), seed ^ 3));
    let hostile = |store: &SqliteStore, n| Arc::new(HostileStore::new(Arc::new(store.clone()), seed ^ n));
    let sender = bench::kernel("call-intake", hostile(&from, 4), wicked.clone(), keys.clone());
    let receiver = bench::kernel("kpi-projection", hostile(&to, 5), wicked, keys);

    let acknowledged = Arc::new(Mutex::new(HashSet::new()));
    let mut callers = tokio::task::JoinSet::new();
    for n in 0..12 {
        let (kernel, acknowledged) = (sender.clone(), acknowledged.clone());
        callers.spawn(async move {
            let s = stream();
            let mut version = 0;
            while version < 12 {
                let events = if n % 2 == 0 { vec![bench::opened(b"Mrs Marple"), bench::answered()] } else { vec![bench::answered()] };
                let count = events.len() as u64;
                let write = kernel.composer.write(s, version, events, &bench::cause(), 2).await.unwrap();
                let ids: Vec<[u8; 16]> = write.events.iter().map(|e| e.event_id).collect();
                match kernel.store.append(Unit { writes: vec![write], ..Unit::default() }).await {
                    Ok(Answer::Committed { .. }) => {
                        acknowledged.lock().unwrap().extend(ids);
                        version += count;
                    }
                    // Its own commit, of which it was not told.
                    Ok(Answer::VersionConflict { actual, .. }) => version = actual,
                    Ok(other) => panic!("{other:?}"),
                    Err(StoreError::Refused(why)) => panic!("{why}"),
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        });
    }
    // The process stops and starts in between, twice.
    for round in 0..3 {
        let stop = CancellationToken::new();
        let workers = [
            tokio::spawn(Workers { kernel: sender.clone(), inbound: None, on_timer: None, couriers: vec![], leading: Vec::new() }.run(stop.clone())),
            tokio::spawn(
                Workers {
                    kernel: receiver.clone(),
                    inbound: Some(Arc::new(Calls { acts: seed.is_multiple_of(2), ..Calls::default() })),
                    on_timer: None,
                    couriers: vec![],
                    leading: Vec::new(),
                }
                .run(stop.clone()),
            ),
        ];
        if round == 2 {
            while let Some(done) = callers.join_next().await {
                done.unwrap();
            }
            until_projected(&from, &to).await;
        } else {
            let aim = 20 * (round + 1);
            until("some events are projected", async || {
                let rows = to.query("select coalesce(sum(events), 0) from folds", &[]).await.unwrap();
                (rows[0].int(0) >= aim).then_some(())
            })
            .await;
        }
        stop.cancel();
        for worker in workers {
            worker.await.unwrap().unwrap();
        }
    }
    let acknowledged = acknowledged.lock().unwrap().clone();
    assert!(!acknowledged.is_empty());
    audit(&acknowledged, &from, &log, &to).await;
    assert!(to.query("select 1 from parked where held = 0", &[]).await.unwrap().is_empty(), "trouble of ours parks nothing");
}

/// Stamps the storm over several tests, so that they run beside one another.
macro_rules! storms {
    ($($name:ident: $part:literal),+ $(,)?) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            for seed in seeds(24).into_iter().skip($part).step_by(4) {
                let _named = Seed(seed);
                storm(seed).await;
            }
        })+
    };
}

storms! {
    nothing_is_lost_doubled_or_reordered_in_a_storm: 0,
    nothing_is_lost_doubled_or_reordered_in_a_second_storm: 1,
    nothing_is_lost_doubled_or_reordered_in_a_third_storm: 2,
    nothing_is_lost_doubled_or_reordered_in_a_fourth_storm: 3,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_commit_loses_nothing_acknowledged() {
    for seed in seeds(8) {
        let _named = Seed(seed);
        let folder = Folder::new();
        let mut rng = StdRng::seed_from_u64(seed);
        let streams: Vec<StreamId> = (0..6).map(|_| stream()).collect();
        let mut heads: HashMap<StreamId, u64> = HashMap::new();
        let (mut acknowledged, mut denied) = (HashSet::new(), HashSet::new());
        for life in 0..6 {
            // Dropped without being closed, at whichever step it stands.
            let store =
                folder.faulty_store("call-intake", vec![Arc::new(Folds::default())], Arc::new(Dice(Mutex::new(StdRng::seed_from_u64(seed ^ life))))).await;
            for _ in 0..rng.random_range(5..25) {
                let s = streams[rng.random_range(0..streams.len())];
                let unit = bench::unit(s, heads.get(&s).copied().unwrap_or(0), rng.random_range(1..4));
                let ids: Vec<[u8; 16]> = unit.writes[0].events.iter().map(|e| e.event_id).collect();
                match store.append(unit).await {
                    Ok(Answer::Committed { .. }) => {
                        *heads.entry(s).or_default() += ids.len() as u64;
                        acknowledged.extend(ids);
                    }
                    Ok(Answer::VersionConflict { actual, .. }) => {
                        heads.insert(s, actual);
                        denied.extend(ids);
                    }
                    Err(StoreError::Unavailable(_)) => denied.extend(ids),
                    Err(StoreError::OutcomeUnknown) => {}
                    other => panic!("{other:?}"),
                }
            }
        }
        let store = folder.store("call-intake", vec![Arc::new(Folds::default())]).await;
        let there: HashSet<[u8; 16]> = contract_store::all(&store).await.into_iter().map(|e| e.event_id).collect();
        assert!(acknowledged.is_subset(&there));
        assert!(denied.is_disjoint(&there), "said not to be committed, and there");
        let rebuilt = store.rebuild(false).await.unwrap();
        assert_eq!(rebuilt.live, rebuilt.rebuilt);
    }
}

const CHILD_FOLDER: &str = "HEARTHLINE_CHILD_FOLDER";

async fn open(folder: &Path) -> (SqliteStore, SqliteStore, Arc<EmbeddedLog>, Arc<dyn KeyStore>) {
    let from = bench::open_store(folder.join("call-intake.db"), "call-intake", vec![], Arc::new(NoFaults)).await.unwrap();
    let to = bench::open_store(folder.join("kpi-projection.db"), "kpi-projection", vec![Arc::new(Folds::default())], Arc::new(NoFaults)).await.unwrap();
    let log = Arc::new(EmbeddedLog::open(&folder.join("log.db")).await.unwrap());
    let keys = hearthline_store::SqliteKeyring::open(&folder.join("keyring.db"), &folder.join("kek")).await.unwrap();
    (from, to, log, Arc::new(keys))
}

/// Not a test by itself: the process that [`a_killed_process_loses_nothing_acknowledged`] starts and kills.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_child_that_is_killed() {
    let Some(folder) = std::env::var_os(CHILD_FOLDER) else { return };
    let (from, to, log, keys) = open(Path::new(&folder)).await;
    let stop = CancellationToken::new();
    let sender = bench::kernel("call-intake", Arc::new(from), log.clone(), keys.clone());
    let receiver = bench::kernel("kpi-projection", Arc::new(to), log, keys);
    tokio::spawn(Workers { kernel: sender.clone(), inbound: None, on_timer: None, couriers: vec![], leading: Vec::new() }.run(stop.clone()));
    tokio::spawn(
        Workers { kernel: receiver, inbound: Some(Arc::new(Calls::default())), on_timer: None, couriers: vec![], leading: Vec::new() }.run(stop.clone()),
    );
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let kernel = sender.clone();
        callers.spawn(async move {
            loop {
                let s = stream();
                for version in 0..5 {
                    let write = kernel.composer.write(s, version, vec![bench::opened(b"Mrs Marple")], &bench::cause(), 2).await.unwrap();
                    let id = write.events[0].event_id;
                    while kernel.store.append(Unit { writes: vec![write.clone()], ..Unit::default() }).await.is_err() {
                        tokio::task::yield_now().await;
                    }
                    let line = format!("acknowledged {}\n", id.iter().map(|b| format!("{b:02x}")).collect::<String>());
                    let mut out = std::io::stdout().lock();
                    out.write_all(line.as_bytes()).and_then(|()| out.flush()).unwrap();
                }
            }
        });
    }
    callers.join_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_process_loses_nothing_acknowledged() {
    let folder = Folder::new();
    let mut acknowledged = HashSet::new();
    for kill_after in [40, 150, 1, 333] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "faults::the_child_that_is_killed", "--nocapture", "--test-threads=1"])
            .env(CHILD_FOLDER, folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut heard = 0;
        // What it wrote before it died counts as heard.
        while let Some(Ok(line)) = lines.next() {
            let Some(id) = line.split("acknowledged ").nth(1).filter(|id| id.len() == 32) else { continue };
            let mut bytes = [0u8; 16];
            for (i, byte) in bytes.iter_mut().enumerate() {
                *byte = u8::from_str_radix(&id[2 * i..2 * i + 2], 16).unwrap();
            }
            acknowledged.insert(bytes);
            heard += 1;
            if heard == kill_after {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(heard >= kill_after, "the child ended by itself after {heard}");
    }
    let (from, to, log, keys) = open(folder.path()).await;
    let stop = CancellationToken::new();
    let sender = bench::kernel("call-intake", Arc::new(from.clone()), log.clone(), keys.clone());
    let receiver = bench::kernel("kpi-projection", Arc::new(to.clone()), log.clone(), keys);
    let workers = [
        tokio::spawn(Workers { kernel: sender.clone(), inbound: None, on_timer: None, couriers: vec![], leading: Vec::new() }.run(stop.clone())),
        tokio::spawn(
            Workers { kernel: receiver, inbound: Some(Arc::new(Calls::default())), on_timer: None, couriers: vec![], leading: Vec::new() }.run(stop.clone()),
        ),
    ];
    until_projected(&from, &to).await;
    // Every event's key is there: it was durable before the event.
    for event in contract_store::all(&from).await {
        let opened = sender.load(event.stream).await.unwrap();
        assert!(opened.iter().all(|o| o.personal.as_ref().is_some_and(|p| p.is_known())));
    }
    stop.cancel();
    for worker in workers {
        worker.await.unwrap().unwrap();
    }
    audit(&acknowledged, &from, &log, &to).await;
}

//! What only real servers can show: two processes at one database, a hand that holds transactions open, roles that try what is
//! not theirs, a pooler in between, a server that goes away and comes back.

use hearthline_contracts::topics;
use hearthline_eventing::relay::{Relay, Step};
use hearthline_eventing::{Answer, InboxChange, InboxRow, KeyState, KeyStore, KeyringError, Log, Store, StoreError, Unit, now_us};
use hearthline_runtime::connect::role;
use hearthline_store::{Database, NoFaults, PostgresKeyring, PostgresOptions, PostgresStore, Tenancy};
use hearthline_tests::bench::{self, Folder, id, stream, unit};
use hearthline_tests::servers::{Kafka, Postgres, server};
use hearthline_tests::until;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

async fn replica(server: &Postgres) -> Arc<PostgresStore> {
    Arc::new(bench::open_postgres(&server.database, "call-intake", vec![], Arc::new(NoFaults)).await.expect("the store opens"))
}

async fn run(conn: &mut PgConnection, sql: impl Into<String>) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(sql.into())).execute(conn).await.map(drop)
}

fn received() -> InboxRow {
    InboxRow {
        id: id(),
        received_at: now_us(),
        outgoing: false,
        peer: "portsmouth".to_owned(),
        control_id: "1".to_owned(),
        kind: "ADT^A01".to_owned(),
        reply: "AA",
        size: 6,
        body_tag: None,
        digest: [id(), id()].concat().try_into().expect("32 bytes"),
        day: "2026-11-22".to_owned(),
        person_tag: None,
        place_tag: None,
        occurred_at: now_us(),
        sealed: bytes::Bytes::from_static(b"sealed"),
        state: "held",
        why: String::new(),
        effect: String::new(),
        stream: None,
        resident: None,
        traceparent: None,
    }
}

/// Writes a unit as a slow process would: its own session, the mark in the inbox first, then the lock and the rest, in between
/// whatever `pause` waits for.
async fn slow_append(server: &Postgres, before: impl Future<Output = ()>, after: impl Future<Output = ()>) -> i64 {
    let mut conn = server.session().await;
    run(&mut conn, "set search_path to call_intake; begin").await.unwrap();
    let row = received();
    sqlx::query("insert into inbox (id, received_at, outgoing, peer, control_id, kind, reply, size, digest, day, occurred_at, state, why, effect) values ($1,$2,0,$3,'','','',0,$4,$5,$6,'held','','')")
        .bind(row.id.to_vec())
        .bind(row.received_at)
        .bind(row.peer)
        .bind(row.digest.to_vec())
        .bind(row.day)
        .bind(row.occurred_at)
        .execute(&mut conn)
        .await
        .unwrap();
    before.await;
    run(&mut conn, "select generation from writer for update").await.unwrap();
    let event = bench::row(stream(), 1, bytes::Bytes::new());
    let (position,): (i64,) = sqlx::query_as("insert into events (position, stream, version, event_id, name, payload) values ((select coalesce(max(position), 0) + 1 from events), $1, 1, $2, $3, $4) returning position")
        .bind(event.stream.bytes().to_vec())
        .bind(event.event_id.to_vec())
        .bind(event.name)
        .bind(event.payload.to_vec())
        .fetch_one(&mut conn)
        .await
        .unwrap();
    run(&mut conn, format!("update writer set generation = generation + 1, position = {position}")).await.unwrap();
    after.await;
    run(&mut conn, "commit").await.unwrap();
    position
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_held_open_on_either_side_of_the_lock_hide_no_event_and_move_none() {
    let (Some(server), Some(kafka)) = (Postgres::new().await, Kafka::new().await) else { return };
    let (a, b) = (replica(&server).await, replica(&server).await);
    let log: Arc<dyn Log> = Arc::new(hearthline_log_kafka::KafkaLog::open(kafka.options.clone()).unwrap());
    let relay = Relay::new(a.clone(), log.clone(), &topics::CALL, id());
    let mut cursor = relay.compare().await.unwrap();
    let mut published = 0;

    for round in 0..4u64 {
        // Appends of both replicas, while one transaction has marked its inbox and not yet come to the lock, and another holds the
        // lock and has not committed.
        let streams: Vec<_> = (0..8).map(|_| stream()).collect();
        let appends = async {
            let mut tasks = tokio::task::JoinSet::new();
            for (n, at) in streams.iter().copied().enumerate() {
                let store = if n % 2 == 0 { a.clone() } else { b.clone() };
                tasks.spawn(async move {
                    for version in 0..5 {
                        let answer = store.append(unit(at, version, 1)).await.unwrap();
                        assert!(matches!(answer, Answer::Committed { .. }), "{answer:?}");
                    }
                });
            }
            while let Some(done) = tasks.join_next().await {
                done.unwrap();
            }
        };
        let steps = async {
            let mut stepped = 0;
            for _ in 0..60 {
                if let Ok(Step::Published(n)) = relay.step(&mut cursor).await {
                    stepped += n;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            stepped
        };
        let held = Duration::from_millis(40 + 30 * round);
        let (early, late, (), stepped) = tokio::join!(
            slow_append(&server, tokio::time::sleep(held * 2), async {}),
            slow_append(&server, async {}, tokio::time::sleep(held)),
            appends,
            steps,
        );
        assert_ne!(early, late);
        published += stepped;
    }
    while let Step::Published(n) = relay.step(&mut cursor).await.unwrap() {
        published += n;
    }

    let all = a.read_all(0, 10_000).await.unwrap();
    assert_eq!(all.len(), 4 * (8 * 5 + 2));
    assert_eq!(published, all.len(), "every event went out, and once");
    for (position, event) in (1..).zip(&all) {
        assert_eq!(event.position, position);
    }
    let mut heads = HashMap::new();
    for event in &all {
        let last = heads.entry(event.stream).or_insert(0);
        assert_eq!(event.version, *last + 1, "versions of a stream lie in the order of positions");
        *last = event.version;
    }
    // On the topic: the same events, each stream in its order.
    let mut versions: BTreeMap<Vec<u8>, Vec<u64>> = BTreeMap::new();
    for partition in 0..topics::PARTITIONS {
        let marks = log.watermarks(topics::CALL.name, partition).await.unwrap();
        let mut at = marks.low;
        while at < marks.high {
            for record in log.read(topics::CALL.name, partition, at, 500).await.unwrap() {
                at = record.offset + 1;
                let parts = hearthline_contracts::wire::split(&record.payload).unwrap();
                versions.entry(record.key.to_vec()).or_default().push(parts.envelope.stream_version);
            }
        }
    }
    assert_eq!(versions.len(), heads.len());
    for (key, seen) in versions {
        assert_eq!(seen, (1..=seen.len() as u64).collect::<Vec<_>>(), "stream {key:?}");
    }
    a.close().await;
    b.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_process_commits_the_other_judges_by() {
    let Some(server) = Postgres::new().await else { return };
    let (a, b) = (replica(&server).await, replica(&server).await);
    let at = stream();
    assert!(matches!(a.append(unit(at, 0, 2)).await.unwrap(), Answer::Committed { .. }));
    // b never saw the stream; it must not think it new, nor a's head old.
    assert!(matches!(b.append(unit(at, 0, 1)).await.unwrap(), Answer::VersionConflict { actual: 2, .. }));
    assert!(matches!(b.append(unit(at, 2, 1)).await.unwrap(), Answer::Committed { .. }));
    assert!(matches!(a.append(unit(at, 2, 1)).await.unwrap(), Answer::VersionConflict { actual: 3, .. }));
    // A lease that b takes, a knows; a claim that b releases, a may take.
    let lease = |holder| Unit { lease: Some((holder, now_us() + 60_000_000, now_us())), ..Unit::default() };
    assert!(matches!(b.append(lease([2; 16])).await.unwrap(), Answer::Committed { .. }));
    assert!(matches!(a.append(lease([1; 16])).await.unwrap(), Answer::Fenced(_)));
    // And a hears of b's commits without asking.
    let mut heard = a.committed();
    let Answer::Committed { position } = b.append(unit(stream(), 0, 1)).await.unwrap() else { panic!("it is new") };
    tokio::time::timeout(hearthline_tests::PATIENCE, heard.wait_for(|c| c.position >= position)).await.expect("it is heard").unwrap();
    a.close().await;
    b.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_stops_inside_the_lock_does_not_stop_the_others_for_long() {
    let Some(server) = Postgres::new().await else { return };
    let a = replica(&server).await;
    let mut stuck = server.session().await;
    run(&mut stuck, "set idle_in_transaction_session_timeout = '2s'; begin; select generation from call_intake.writer for update").await.unwrap();
    let answer = tokio::time::timeout(hearthline_tests::PATIENCE, a.append(unit(stream(), 0, 1))).await.expect("the server ended the stuck session").unwrap();
    assert!(matches!(answer, Answer::Committed { position: 1 }));
    // Our own sessions are ended likewise, before those who wait for them give up. Both in ms.
    let setting = async |name: &str| a.query("select setting::bigint from pg_settings where name = $1", &[name.into()]).await.unwrap()[0].int(0);
    let (idle, lock) = (setting("idle_in_transaction_session_timeout").await, setting("lock_timeout").await);
    assert!(0 < idle && idle < lock, "{idle} {lock}");
    assert!(run(&mut stuck, "commit").await.is_err(), "and what it had is gone");
    a.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_the_server_ends_is_made_anew_and_no_unit_is_lost_or_doubled() {
    let Some(server) = Postgres::new().await else { return };
    let a = replica(&server).await;
    let mut admin = server.session().await;
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (store, stop) = (a.clone(), stop.clone());
        tasks.spawn(async move {
            let mut done = Vec::new();
            while !stop.load(std::sync::atomic::Ordering::SeqCst) {
                let at = stream();
                let unit = unit(at, 0, 1);
                // As a careful caller does: repeats the same unit after our own trouble.
                loop {
                    match store.append(unit.clone()).await {
                        Ok(Answer::Committed { .. } | Answer::VersionConflict { .. }) => break,
                        Ok(other) => panic!("{other:?}"),
                        Err(StoreError::Unavailable(_) | StoreError::OutcomeUnknown) => tokio::time::sleep(Duration::from_millis(5)).await,
                        Err(other) => panic!("{other}"),
                    }
                }
                done.push(at);
            }
            done
        });
    }
    for _ in 0..12 {
        tokio::time::sleep(Duration::from_millis(60)).await;
        run(&mut admin, "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()").await.unwrap();
    }
    stop.store(true, std::sync::atomic::Ordering::SeqCst);
    let mut written = 0;
    while let Some(done) = tasks.join_next().await {
        for at in done.unwrap() {
            assert_eq!(until("a stream is read", async || a.read_stream(at, 0).await.ok()).await.len(), 1);
            written += 1;
        }
    }
    let rows = until("events are counted", async || a.query("select count(*), max(position) from events", &[]).await.ok()).await;
    assert_eq!((rows[0].int(0), rows[0].int(1)), (written, written), "each once, without a gap");
    a.close().await;
}

/// The services' stores and the keyring as `hearthline migrate` makes them, and how each role enters.
struct Deployed {
    stores: Postgres,
    keys: Postgres,
    folder: Folder,
    passwords: String,
}

impl Deployed {
    async fn new() -> Option<Self> {
        let passwords = server("postgres", "HEARTHLINE_TEST_POSTGRES_PASSWORDS")?;
        let (stores, keys) = (Postgres::as_deployed().await?, Postgres::as_deployed().await?);
        let deployed = Deployed { stores, keys, folder: Folder::new(), passwords };
        for service in hearthline::up::SERVICES {
            let outsiders = (*service == "kpi-projection").then(|| ("kpi_v1".to_owned(), "hearthline_kpi_reader".to_owned()));
            let tenancy = Tenancy { schema: service.replace('-', "_"), role: role(service), outsiders };
            let owner = deployed.enter(&deployed.stores, "hearthline_ddl");
            hearthline_store::migrate(&owner, &tenancy, &hearthline::up::views(service).1).await.expect("tables");
        }
        let grants: Vec<(String, &[&str])> = hearthline_eventing::GRANTS.iter().map(|(service, contexts)| (role(service), *contexts)).collect();
        PostgresKeyring::migrate(deployed.enter(&deployed.keys, "hearthline_ddl"), "keyring", &grants, &deployed.folder.file("kek")).await.expect("keyring");
        Some(deployed)
    }

    fn enter(&self, server: &Postgres, role: &str) -> Database {
        let password = std::fs::read_to_string(format!("{}/{role}", self.passwords)).expect("a password");
        Database { role: role.to_owned(), password: Some(password.trim().to_owned()), ..server.database.clone() }
    }

    async fn session(&self, server: &Postgres, role: &str) -> PgConnection {
        let Database { host, port, name, role, password, .. } = self.enter(server, role);
        PgConnection::connect(&format!("postgres://{role}:{}@{host}:{port}/{name}", password.unwrap_or_default())).await.expect("the role may connect")
    }

    async fn keyring(&self, service: &str) -> PostgresKeyring {
        PostgresKeyring::open(self.enter(&self.keys, &role(service)), "keyring".to_owned(), &self.folder.file("kek")).await.expect("the keyring opens")
    }
}

/// The server's code for a missing right.
const NO_RIGHT: &str = "42501";

fn refused(done: Result<(), sqlx::Error>) -> bool {
    matches!(done, Err(sqlx::Error::Database(e)) if e.code().as_deref() == Some(NO_RIGHT))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_service_may_change_what_happened_or_look_into_another_s_tables() {
    let Some(deployed) = Deployed::new().await else { return };
    for service in hearthline::up::SERVICES {
        let own = service.replace('-', "_");
        let mut conn = deployed.session(&deployed.stores, &role(service)).await;
        for forbidden in [
            format!("update {own}.events set payload = ''"),
            format!("delete from {own}.events"),
            format!("truncate {own}.events"),
            format!("update {own}.audit set why = ''"),
            format!("delete from {own}.audit"),
            format!("delete from {own}.archive"),
            format!("update {own}.archive set payload = ''"),
            format!("delete from {own}.blobs"),
            format!("delete from {own}.deliveries"),
            format!("delete from {own}.checkpoints"),
            format!("delete from {own}.seen"),
            format!("update {own}.schema_migrations set number = 99"),
            format!("create table {own}.mine (a int)"),
            format!("drop table {own}.events"),
            format!("alter table {own}.events add column a int"),
            "create schema mine".to_owned(),
            "create role mine".to_owned(),
            "create database mine".to_owned(),
            "set role hearthline_ddl".to_owned(),
            "alter system set fsync = off".to_owned(),
        ] {
            assert!(refused(run(&mut conn, forbidden.clone()).await), "{service} may: {forbidden}");
        }
        for other in hearthline::up::SERVICES.iter().filter(|o| *o != service) {
            let theirs = other.replace('-', "_");
            for forbidden in [format!("select count(*) from {theirs}.events"), format!("insert into {theirs}.claims values ('a', '', '', '', 1, 1, null)")] {
                assert!(refused(run(&mut conn, forbidden.clone()).await), "{service} may: {forbidden}");
            }
        }
        // What it must do, it may: a whole unit goes through.
        let database = deployed.enter(&deployed.stores, &role(service));
        let options = PostgresOptions { service, topic: bench::topic_of(service), database, schema: own, views: vec![], faults: Arc::new(NoFaults) };
        let store = PostgresStore::open(options).await.expect("it opens with its own rights");
        let all = Unit {
            inbox: vec![InboxChange::Receive(Box::new(received()))],
            lease: Some(([1; 16], now_us() + 1, now_us())),
            relayed: Some(0),
            ..unit(stream(), 0, 1)
        };
        assert!(matches!(store.append(all).await.unwrap(), Answer::Committed { .. }));
        store.close().await;
    }
    let mut outsider = deployed.session(&deployed.stores, "hearthline_kpi_projection").await;
    assert!(refused(run(&mut outsider, "create view kpi_v1.mine as select 1").await));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_seen_by_whom_the_table_itself_grants_it() {
    let Some(deployed) = Deployed::new().await else { return };
    let (call, outcome) = (id(), id());
    let calls = deployed.keyring("call-intake").await;
    assert!(matches!(calls.create("call", call).await.unwrap(), KeyState::Key { .. }));
    let outcomes = deployed.keyring("clinical-outcome").await;
    assert!(matches!(outcomes.create("outcome", outcome).await.unwrap(), KeyState::Key { .. }));
    // clinical-outcome opens calls; call-intake does not open outcomes, and learns only that there is such a key.
    assert!(matches!(outcomes.open(call).await.unwrap(), KeyState::Key { .. }));
    assert!(matches!(calls.open(outcome).await.unwrap(), KeyState::Withheld { context } if context == "outcome"));
    assert!(matches!(calls.open(id()).await.unwrap(), KeyState::Missing));
    assert!(calls.create("outcome", id()).await.is_err(), "nobody makes keys of another's context");
    assert!(matches!(outcomes.create("outcome", call).await.unwrap(), KeyState::Key { context, .. } if context == "call"), "a key keeps its context");
    assert!(!outcomes.destroy(call).await.unwrap_or(false), "nor destroys them");
    assert!(matches!(calls.open(call).await.unwrap(), KeyState::Key { .. }));

    // Past the program, in plain SQL, it is the same.
    let mut conn = deployed.session(&deployed.keys, "hearthline_call_intake").await;
    let (seen,): (i64,) = sqlx::query_as("select count(*) from keyring.keys where context = 'outcome'").fetch_one(&mut conn).await.unwrap();
    assert_eq!(seen, 0);
    for forbidden in [
        "insert into keyring.keys (id, context, kek_id, wrapped, created_at) values ('\\x01', 'outcome', 'k', '\\x01', 1)",
        "delete from keyring.keys",
        "update keyring.keys set context = 'outcome'",
        "insert into keyring.grants values ('hearthline_call_intake', 'outcome', true)",
        "alter table keyring.keys disable row level security",
    ] {
        assert!(refused(run(&mut conn, forbidden).await), "call-intake may: {forbidden}");
    }
    let mut kpi = deployed.session(&deployed.keys, "hearthline_kpi_projection").await;
    assert!(refused(run(&mut kpi, "select count(*) from keyring.keys").await), "kpi-projection never knows who anyone is");
    let opened = PostgresKeyring::open(deployed.enter(&deployed.keys, "hearthline_kpi_projection"), "keyring".to_owned(), &deployed.folder.file("kek")).await;
    assert!(matches!(opened, Err(KeyringError::Unavailable(_) | KeyringError::Misconfigured(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_a_database_is_said_and_what_to_do() {
    let Some(server_) = Postgres::new().await else { return };
    let open = async |database: Database| {
        let options = PostgresOptions {
            service: "call-intake",
            topic: &topics::CALL,
            database,
            schema: "call_intake".to_owned(),
            views: vec![],
            faults: Arc::new(NoFaults),
        };
        match PostgresStore::open(options).await {
            Ok(_) => panic!("it opened"),
            Err(error) => error,
        }
    };
    let good = &server_.database;
    let check = |error: StoreError, passes: bool, says: &[&str]| {
        assert_eq!(matches!(error, StoreError::Unavailable(_)), passes, "{error}");
        for words in says {
            assert!(error.to_string().contains(words), "{error}");
        }
        assert!(!error.to_string().contains(good.password.as_deref().unwrap()), "no secret is repeated");
    };
    check(open(good.clone()).await, false, &["no schema call_intake", "hearthline migrate"]);
    check(open(Database { password: Some("wrong".to_owned()), ..good.clone() }).await, false, &["refuses the role or its password", "password_folder"]);
    check(open(Database { name: "hearthline_nowhere".to_owned(), ..good.clone() }).await, false, &["does not exist", "roles.sql"]);
    check(open(Database { port: 1, ..good.clone() }).await, true, &["is PostgreSQL running there?"]);
    if let Some(pooler) = server("postgres", "HEARTHLINE_TEST_PGBOUNCER") {
        let (host, port) = pooler.rsplit_once(':').expect("host:port");
        let database = Database { host: host.to_owned(), port: port.parse().unwrap(), ..good.clone() };
        check(open(database).await, false, &["pooler", "connect to PostgreSQL itself"]);
    }
}

/// A serving process of its own, killed with the test.
struct Serving {
    process: std::process::Child,
    log: std::path::PathBuf,
}

impl Serving {
    fn start(config: &std::path::Path, folder: &std::path::Path, service: &str) -> Self {
        let args = ["--config", config.to_str().unwrap(), "--folder", folder.to_str().unwrap(), "serve", service];
        let mut command = crate::binary::command(&args);
        // Half a minute less to wait for; brokers allow no shorter one by default.
        let log = folder.with_extension("log");
        let file = std::fs::File::create(&log).expect("a log file");
        command.env("HEARTHLINE__KAFKA__CLIENT__SESSION_TIMEOUT_MS", "6000").stdout(std::process::Stdio::null()).stderr(file);
        Serving { process: command.spawn().expect("it starts"), log }
    }

    fn signal(&self, name: &str) {
        let sent = std::process::Command::new("kill").args([name, &self.process.id().to_string()]).status().expect("kill is there");
        assert!(sent.success());
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let ended = self.process.try_wait();
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            eprintln!("{ended:?} before it was stopped; {}:\n{}", self.log.display(), std::fs::read_to_string(&self.log).unwrap_or_default());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_paused_past_its_group_s_patience_wakes_and_writes_nothing() {
    let (Some(deployed), Some(kafka)) = (Deployed::new().await, Kafka::new().await) else { return };
    let place = &deployed.stores.database;
    let config = deployed.folder.file("hearthline.toml");
    let toml = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[postgres]\nhost = \"{}\"\nport = {}\ndatabase = \"{}\"\nkeyring_database = \"{}\"\npassword_folder = \"{}\"\ntls = \"disabled\"\n\
         [kafka]\nbrokers = \"{}\"\ntopic_prefix = \"{}\"\ngroup_prefix = \"{}\"\nreplication_factor = 1\n[keyring]\nkek_file = \"{}\"\n",
        place.host,
        place.port,
        place.name,
        deployed.keys.database.name,
        deployed.passwords,
        kafka.options.brokers,
        kafka.options.topic_prefix,
        kafka.options.group_prefix,
        deployed.folder.file("kek").display()
    );
    std::fs::write(&config, toml).unwrap();
    let log = hearthline_log_kafka::KafkaLog::open(kafka.options.clone()).unwrap();
    let publish = async |n: usize| {
        let rows = (0..n).map(|_| bench::row(stream(), 1, bytes::Bytes::new()));
        let records = rows.map(|row| hearthline_eventing::Outgoing { key: *row.stream.bytes(), headers: vec![], payload: row.payload });
        log.publish(topics::CALL.name, records.collect()).await.expect("published");
    };
    let mut look = deployed.session(&deployed.stores, "hearthline_kpi_projection").await;
    run(&mut look, "set search_path to kpi_projection").await.unwrap();
    let look = tokio::sync::Mutex::new(look);
    let one = async |sql: &'static str| -> i64 { sqlx::query_as::<_, (i64,)>(sql).fetch_one(&mut *look.lock().await).await.unwrap().0 };
    let applied = async |n: i64| {
        until("events are applied", async || {
            (one("select cast(coalesce(sum(count), 0) as bigint) from dispositions where kind = 'applied'").await == n).then_some(())
        })
        .await;
    };
    let (first, second) = (deployed.folder.file("first"), deployed.folder.file("second"));
    let epochs = async || one("select cast(sum(epoch) as bigint) from checkpoints").await;

    let stays = Serving::start(&config, &first, "kpi-projection");
    publish(300).await;
    applied(300).await;
    let paused = Serving::start(&config, &second, "kpi-projection");
    // Half of the partitions go to the newcomer, each under a higher epoch.
    let half = i64::try_from(topics::read_by("kpi-projection").len()).unwrap() * i64::from(topics::PARTITIONS) / 2;
    until("partitions are shared", async || (one("select count(*) from checkpoints where epoch > 1").await >= half).then_some(())).await;
    assert_ne!(one("select count(*) from checkpoints where epoch > 1 and topic = 'hearthline.call.v1'").await, 0, "it reads what is published here");
    let shared = epochs().await;
    // Paused with records on their way to it.
    publish(300).await;
    paused.signal("-STOP");
    publish(300).await;
    until("what it had is taken over", async || (epochs().await >= shared + half).then_some(())).await;
    applied(900).await;
    paused.signal("-CONT");
    publish(300).await;
    applied(1_200).await;
    // It came back as a member, who goes on alone; and what it thought it had was written by nobody twice.
    drop(stays);
    publish(100).await;
    applied(1_300).await;
    assert_eq!(one("select count(*) from archive").await, 1_300);
    assert_eq!(one("select count(*) from seen").await, 1_300);
    assert_eq!(one("select count(*) from parked").await, 0);
}

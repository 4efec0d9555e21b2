//! Nobody's name, number, birthday, address or words lie in clear anywhere; a stranger leaves next to nothing; a destroyed key ends it.

use crate::binary;
use crate::needles::{Found, Needles};
use crate::running::{Answer, Log, Running, SMALL, Sender, config, config_file};
use hearthline::demo::expect::{Rule, expect};
use hearthline::demo::generator::{Make, generate, last_settled_week};
use hearthline::demo::week::{Patient, Week};
use hearthline::demo::{self, Options};
use hearthline_contracts::hospital::{HospitalEvent, hospital_event};
use hearthline_contracts::{topics, wire};
use hearthline_eventing::KeyState;
use hearthline_interop::hl7v2::{Adt, Message};
use hearthline_nhs::{HomeId, NhsNumber, StreamId, london_date};
use hearthline_runtime::auth::Role;
use hearthline_runtime::connect::Backend;
use hearthline_runtime::telemetry::Telemetry;
use hearthline_sandbox::otlp;
use reqwest::Method;
use serde_json::Value;
use sha2::{Digest, Sha256, Sha512};
use sqlx::{Connection, Row};
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

/// A word of no language, in every name, address and text of the week.
const RARE: &str = "Zqxjvkwyb";
const SEED: u64 = 77_003;
/// Between two looks at a hub that runs.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Days from this year on stand in registers and tables for other things than birth.
const REGISTERS_FROM: i16 = 2015;

/// Everything personal of a week, also as digests that anybody could reverse by trying all numbers.
fn needles(week: &Week) -> Needles {
    let mut needles = Needles::new();
    needles.add("the rare word", RARE);
    for value in week.personal_values() {
        let digits: String = value.chars().filter(char::is_ascii_digit).collect();
        if value.chars().any(char::is_alphabetic) {
            needles.add("a name, address or text", &value);
        } else if digits.len() == 10 {
            number(&mut needles, &value, &digits);
        } else if digits.get(..4).and_then(|year| year.parse().ok()).is_some_and(|year: i16| year < REGISTERS_FROM) {
            needles.add_alone("a date of birth", &value);
        }
    }
    for postcode in private_postcodes(week) {
        needles.add("a private postcode", &postcode);
    }
    needles
}

fn number(needles: &mut Needles, value: &str, digits: &str) {
    needles.add("an NHS number", value);
    if value != digits {
        needles.add("an NHS number", value.replace(' ', "-"));
    }
    let hex = |digest: &[u8]| digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    for digest in [Sha256::digest(value).to_vec(), Sha512::digest(value).to_vec()] {
        needles.add("a digest of an NHS number", &digest[..16]);
        needles.add("a digest of an NHS number", &hex(&digest)[..32]);
    }
}

/// Postcodes of people who live at no home; no register has them.
fn private_postcodes(week: &Week) -> BTreeSet<String> {
    let strangers = week.messages.iter().filter(|message| week.visits[message.visit].patient == Patient::Elsewhere);
    strangers
        .flat_map(|message| {
            let message = Message::parse(&message.bytes).expect("the week's messages are HL7");
            let postcodes: Vec<String> = Adt::of(&message).addresses().filter_map(|address| address.postcode.map(str::to_owned)).collect();
            postcodes
        })
        .filter(|postcode| postcode.len() >= 7)
        .collect()
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("listed").filter_map(Result::ok) {
        match entry.path() {
            path if path.is_dir() => files.extend(self::files(&path)),
            path => files.push(path),
        }
    }
    files
}

/// What of `needles` lies in the files of a folder. Files that end while they are read are looked at as far as they were.
fn search(needles: &Needles, folder: &Path) -> Vec<(PathBuf, Found)> {
    let look = |path: PathBuf| {
        let found = needles.find(&std::fs::read(&path).unwrap_or_default());
        found.into_iter().map(move |found| (path.clone(), found))
    };
    files(folder).into_iter().flat_map(look).collect()
}

fn nothing_in(what: &str, found: &[(PathBuf, Found)]) {
    let kinds: BTreeSet<(&str, &Path)> = found.iter().map(|(path, found)| (found.kind, path.as_path())).collect();
    assert!(found.is_empty(), "{what}: {} places, {kinds:?}; the first: {:?}", found.len(), found[0]);
}

fn nothing_said(what: &str, found: &[Found]) {
    assert!(found.is_empty(), "{what}: {} places; the first: {:?}", found.len(), found[0]);
}

/// The search finds what is there: each value in the messages and words of the week itself, and the registers' open facts on disk.
fn the_search_can_fail(needles: &Needles, week: &Week, folder: &Path) {
    let resident = &week.residents[0].person;
    let sent = [
        &resident.family,
        &resident.given,
        &resident.next_of_kin,
        &resident.nhs_number.formatted(),
        resident.nhs_number.as_str(),
        &resident.born_on.to_string(),
    ];
    for value in sent {
        assert!(!needles.find(format!("before {value}, after").as_bytes()).is_empty(), "{value} is looked for");
        assert!(!needles.find(format!("before {value}, after").to_uppercase().as_bytes()).is_empty(), "{value} is looked for");
    }
    assert!(!needles.find(&Sha256::digest(resident.nhs_number.as_str())).is_empty());
    assert!(week.messages.iter().all(|message| !needles.find(&message.bytes).is_empty()), "every message is full of it");
    let mut open = Needles::new();
    for home in &week.homes {
        open.add("a home's CQC location", &home.cqc_location_id);
        open.add("a home's postcode", &home.postcode);
        open.add("a home's name", &home.name);
    }
    let found: BTreeSet<String> = search(&open, folder).into_iter().map(|(_, found)| found.value).collect();
    let wanted = week.homes.iter().flat_map(|home| [&home.cqc_location_id, &home.postcode, &home.name]);
    let missing: Vec<_> = wanted.filter(|value| !found.contains(&value.to_ascii_lowercase())).collect();
    assert!(missing.is_empty(), "the search does not see what is there: {missing:?}");
}

/// Looks at a hub while it runs: its files with their write-ahead logs, and `/metrics`.
async fn watch(needles: Arc<Needles>, folder: PathBuf, ended: Arc<AtomicBool>) -> (usize, Vec<(PathBuf, Found)>) {
    let client = hearthline_runtime::client::build(|shape| shape.timeout(Duration::from_secs(5))).expect("a client");
    let mut every = tokio::time::interval(LOOK_EVERY);
    let (mut looks, mut all) = (0, Vec::new());
    while !ended.load(Ordering::Acquire) {
        every.tick().await;
        let Ok(admin) = hearthline_runtime::admin::AdminFile::read(&folder) else { continue };
        if let Ok(answer) = client.get(format!("http://{}/metrics", admin.http)).send().await
            && let Ok(metrics) = answer.text().await
            && metrics.contains("hearthline_position")
        {
            looks += 1;
            all.extend(needles.find(without_values(&metrics).as_bytes()).into_iter().map(|found| (PathBuf::from("/metrics"), found)));
        }
        let (needles, folder) = (Arc::clone(&needles), folder.clone());
        all.extend(tokio::task::spawn_blocking(move || search(&needles, &folder)).await.expect("searched"));
    }
    (looks, all)
}

/// The program with every log line that it can write.
fn talkative(at: &Path) -> PathBuf {
    let script = at.join("hearthline-debug");
    let program = binary::hearthline().display();
    std::fs::write(&script, format!("#!/bin/sh\nHEARTHLINE__TELEMETRY__LOG_LEVEL=debug exec '{program}' \"$@\"\n")).expect("written");
    #[cfg(unix)]
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o700)).expect("made executable");
    script
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_in_clear_anywhere_strangers_leave_next_to_nothing_and_a_destroyed_key_ends_it() {
    let place = tempfile::tempdir().expect("a temporary folder can be made");
    let folder = place.path().join("data");
    let monday = last_settled_week(hearthline_eventing::now_us()).expect("in the calendar");
    let options = Options {
        folder: Some(folder.clone()),
        seed: SEED,
        marker: Some(RARE.to_owned()),
        monday: Some(monday),
        quiet: true,
        program: Some(talkative(place.path())),
        ..Options::default()
    };
    let make = Make { seed: SEED, monday, messages: options.messages, marker: options.marker.clone() };
    let week = generate(&make).expect("in the calendar");
    let needles = Arc::new(needles(&week));
    assert!(needles.len() > 5_000, "{} values are looked for", needles.len());

    let collector = otlp::Collector::start((Ipv4Addr::LOCALHOST, 0).into(), otlp::Options::default()).await.expect("it listens");
    let ended = Arc::new(AtomicBool::new(false));
    let watching = tokio::spawn(watch(Arc::clone(&needles), folder.clone(), Arc::clone(&ended)));
    let outcome = demo::run(Options { otlp_endpoint: Some(collector.url()), ..options }).await.expect("it runs to its end");
    assert_eq!(outcome.differences, Vec::<String>::new());
    ended.store(true, Ordering::Release);
    let (looks, seen) = watching.await.expect("watched");
    assert!(looks > 0, "/metrics was never seen");
    nothing_in("while it ran", &seen);

    the_search_can_fail(&needles, &week, &folder);
    nothing_in("in the data folder", &search(&needles, &folder));
    let log = std::fs::read_to_string(folder.join("serving.log")).expect("the log is in the folder, and was searched with it");
    assert!(log.contains("DEBUG"), "the log tells everything it can");
    telemetry_names_nobody(&needles, &collector);
    collector.stop().await;

    strangers_leave_next_to_nothing(&week, &folder).await;
    a_destroyed_key_ends_it(&needles, &folder).await;
}

/// The names and labels of a page of metrics: what was counted or measured may be any number, and so a birthday's digits.
fn without_values(metrics: &str) -> String {
    metrics.lines().map(|line| if line.starts_with('#') { line } else { line.rsplit_once(' ').map_or(line, |(named, _)| named) }).collect::<Vec<_>>().join("\n")
}

#[test]
fn of_metrics_all_but_the_values_is_searched() {
    let page = "# HELP bytes 19770715 of them\nbytes{home=\"19770715\"} 19770715\nbytes 19770715";
    assert_eq!(without_values(page), "# HELP bytes 19770715 of them\nbytes{home=\"19770715\"}\nbytes");
}

fn telemetry_names_nobody(needles: &Needles, collector: &otlp::Handle) {
    let mut spans = collector.spans();
    for name in ["POST /calls", "mllp.frame"] {
        assert!(spans.iter().any(|span| span.name == name), "there are spans {name}");
    }
    for span in &mut spans {
        // How long a span was busy and idle, ns: any number, and so a birthday's digits.
        span.attributes.retain(|name, _| !matches!(name.as_str(), "busy_ns" | "idle_ns"));
    }
    nothing_said("in spans", &needles.find(&serde_json::to_vec(&spans).expect("serialises")));
    let points = collector.metric_points();
    assert!(points.iter().any(|point| point.name == "http.server.request.duration"), "there are metrics");
    nothing_said("in metrics", &needles.find(&serde_json::to_vec(&points).expect("serialises")));
}

async fn backend(folder: &Path) -> Backend {
    Backend::open(folder, None, hearthline_contracts::envelope::Environment::Test, "ZH100").await.expect("the stopped folder opens")
}

/// A count, a sealed row, and at most a visit of a home without a person.
async fn strangers_leave_next_to_nothing(week: &Week, folder: &Path) {
    let expected = expect(week, Rule { window_h: 72, feed_lag_h: 24, as_of: hearthline_eventing::now_us() });
    let backend = backend(folder).await;
    let views = hearthline_pas_gateway::views();
    let gateway = backend.connect(hearthline_pas_gateway::NAME, &topics::HOSPITAL, views).await.expect("the gateway's store opens").store;
    let count = async |sql: &str| gateway.query(sql, &[]).await.expect("counted")[0].int(0).unsigned_abs();

    assert_eq!(count("select count(*) from inbox").await, week.messages.len() as u64, "a row a message");
    let elsewhere = week.messages.iter().filter(|message| week.visits[message.visit].patient == Patient::Elsewhere).count() as u64;
    assert!(elsewhere > 1_000);
    assert_eq!(count("select count(*) from inbox where state = 'held' and stream is null").await, elsewhere, "strangers' messages are held, and lead nowhere");
    assert_eq!(count("select count(*) from inbox where state = 'held' and id not in (select id from inbox_bytes)").await, 0, "and sealed");
    assert_eq!(
        count("select count(*) from inbox where state = 'interpreted' and id in (select id from inbox_bytes)").await,
        0,
        "what was taken is kept with its visit only"
    );

    let opened = gateway.query("select payload from events where name = 'VisitOpened'", &[]).await.expect("read");
    let identified = count("select count(*) from events where name = 'VisitIdentified'").await;
    let mut without_a_person = 0;
    for row in &opened {
        let parts = wire::split(row.blob(0)).expect("one of ours");
        let event = wire::fact_of::<HospitalEvent>(parts.fact.clone()).expect("a hospital's fact");
        let Some(hospital_event::Fact::VisitOpened(visit)) = event else { panic!("not what its row says") };
        if visit.resident.is_none() {
            without_a_person += 1;
            assert_eq!(visit.home_id.len(), 16, "a visit without a person is a home's");
            assert!(parts.sealed.is_none(), "and has nothing sealed beside it");
        }
    }
    assert_eq!(opened.len() as u64, expected.visits + expected.visits_home_level);
    assert_eq!(without_a_person, expected.visits_home_level + identified);
    assert_eq!(count("select count(distinct stream) from blobs").await, expected.visits, "bytes are kept of residents' visits only");
    gateway.close().await;
    backend.close().await;
}

/// What can be read of a call before and after its keys are destroyed.
struct Readable {
    narrative: String,
    document: (u16, String, String),
    consultation: String,
    resident: (u16, String),
}

async fn read(hub: &Running, call: &str) -> (Readable, Vec<StreamId>) {
    let shown = hub.get(Role::Clinician, &format!("/calls/{call}")).await;
    assert_eq!(shown.status, 200, "{}", shown.text);
    let id = |value: &Value| value.as_str().expect("an id").to_owned();
    let (resident, consultation) = (id(&shown.body["resident"]["resolved_id"]), id(&shown.body["consultations"][0]["stream"]));
    let share = hub.get(Role::Clinician, &format!("/shares/{call}")).await;
    assert_eq!(share.status, 200, "{}", share.text);
    let narrative = hub.get(Role::Clinician, &format!("/calls/{call}/narrative")).await;
    assert_eq!(narrative.status, 200, "{}", narrative.text);
    let document = hub.get(Role::Clinician, &format!("/shares/{call}/document")).await;
    let written = hub.get(Role::Clinician, &format!("/consultations/{consultation}/narrative")).await;
    assert_eq!(written.status, 200, "{}", written.text);
    let person = hub.get(Role::Clinician, &format!("/residents/{resident}")).await;
    let readable = Readable {
        narrative: narrative.text,
        document: (document.status, document.code().to_owned(), document.text),
        consultation: written.text,
        resident: (person.status, person.text),
    };
    let streams = [call.to_owned(), consultation, resident, id(&share.body["stream"])];
    (readable, streams.iter().map(|stream| StreamId::parse(stream).expect("a stream")).collect())
}

/// The wrapped key of a stream as it lies in the keyring's file.
async fn wrapped(folder: &Path, stream: StreamId) -> Vec<u8> {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(folder.join("keyring.db"));
    let mut keyring = sqlx::SqliteConnection::connect_with(&options).await.expect("the keyring opens");
    let row = sqlx::query("select wrapped from keys where id = ?").bind(stream.bytes().to_vec()).fetch_one(&mut keyring).await.expect("it is there");
    let wrapped = row.get::<Vec<u8>, _>(0);
    keyring.close().await.expect("closed");
    wrapped
}

async fn a_destroyed_key_ends_it(needles: &Needles, folder: &Path) {
    let config = config_file(folder.join("hearthline.toml"), folder);
    let hub = Running::configured(&config, false).await;
    hub.settled().await;
    let calls = hub.get(Role::Clinician, "/calls").await.body["calls"].clone();
    let mut shared = None;
    for call in calls.as_array().expect("calls") {
        let call = call["id"].as_str().expect("an id");
        if hub.get(Role::Operator, &format!("/shares/{call}")).await.body["status"] == "composed" {
            shared = Some(call.to_owned());
            break;
        }
    }
    let call = shared.expect("most calls are shared");
    let (before, streams) = read(&hub, &call).await;
    assert!(before.narrative.contains(RARE) && before.consultation.contains(RARE), "who may read it reads it");
    assert_eq!((before.document.0, before.resident.0), (200, 200));
    assert!(before.document.2.contains(RARE) && before.resident.1.contains(RARE));
    nothing_said("in the log of reading it", &needles.find(&hub.log.bytes()));
    hub.stop().await;

    let mut keys = Needles::new();
    for stream in &streams {
        keys.add("a wrapped key", wrapped(folder, *stream).await);
    }
    assert_eq!(search(&keys, folder).len(), streams.len(), "each wrapped key lies in one place");
    let opened = backend(folder).await;
    for stream in &streams {
        let KeyState::Key { key, .. } = opened.keys().expect("a folder").open(*stream.bytes()).await.expect("opened") else { panic!("it is a living key") };
        keys.add("a key", key.0.as_slice());
        assert!(opened.keys().expect("a folder").destroy(*stream.bytes()).await.expect("destroyed"));
        assert!(matches!(opened.keys().expect("a folder").open(*stream.bytes()).await.expect("answered"), KeyState::Destroyed { .. }));
    }
    nothing_in("as soon as it is destroyed", &search(&keys, folder));
    opened.close().await;

    let hub = Running::configured(&config, false).await;
    let (after, same) = read(&hub, &call).await;
    assert_eq!(same, streams, "the clear facts still stand");
    assert!(after.narrative.contains("\"destroyed\"") && after.consultation.contains("\"destroyed\""), "{} {}", after.narrative, after.consultation);
    assert_eq!((after.document.0, after.document.1.as_str()), (422, "personal_data_not_readable"));
    assert_eq!(after.resident.0, 404, "nobody is there to be shown: {}", after.resident.1);
    for said in [&after.narrative, &after.consultation, &after.document.2, &after.resident.1] {
        nothing_said("after it was destroyed", &needles.find(said.as_bytes()));
    }
    hub.settled().await;
    hub.stop().await;
    nothing_in("at last", &search(&keys, folder));
    nothing_in("at last", &search(needles, folder));
}

fn two_days_ago() -> jiff::civil::Date {
    let today = london_date(hearthline_eventing::now_us()).expect("in the calendar");
    today.yesterday().and_then(jiff::civil::Date::yesterday).expect("in the calendar")
}

/// A day's attendance and emergency admission of somebody whom no register knows, and their discharge.
fn stay(day: jiff::civil::Date, n: u32, number: &str, address: &str) -> Vec<String> {
    let segments = |trigger: &str, at: &str, class: &str, method: &str| {
        format!(
            "MSH|^~\\&|PAS|RHM|HL|ZH100|{at}||ADT^{trigger}|{n}{trigger}|P|2.4\rEVN||{at}|||{at}\r\
             PID|||ZQX44{n}7781^^^RHM^MR~{number}^^^NHS^NH||{RARE}^Wilhelmina{n}||19310507|F|||{address}||02380999{n}42\rNK1||{RARE}^Ottokar\r\
             PV1||{class}||{method}|||||||||||||||ZQV55{n}8812\r"
        )
    };
    let at = |time: &str| format!("{}{time}", day.strftime("%Y%m%d"));
    vec![segments("A04", &at("0910"), "E", ""), segments("A01", &at("1305"), "I", "21"), segments("A03", &at("1850"), "I", "21")]
}

#[test]
fn homes_that_are_not_live_have_admissions_and_no_identifier_leaves_the_inbox() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    // What any thread logs, not only what answers requests.
    let log = Log::default();
    let writer = log.clone();
    let settings = config(SMALL, folder.path()).telemetry;
    let telemetry = Telemetry::start_logging_to(&settings, BoxMakeWriter::new(move || writer.clone())).expect("telemetry starts");
    let mut threads = tokio::runtime::Builder::new_multi_thread();
    telemetry.attach(threads.worker_threads(2).enable_all());
    let threads = threads.build().expect("threads");
    threads.block_on(async { tokio::spawn(homes_have_admissions(folder, log)).await.expect("it does not panic") });
}

async fn homes_have_admissions(folder: tempfile::TempDir, log: Log) {
    let hub = Running::start(SMALL, folder.path(), false).await;
    let csv = "ods_code,name,address_line_1,town,postcode,beds,home_type,controller_ods,live_from\nVLZ01,Oak Lodge,12 High Street,Southampton,SO16 6YD,30,nursing,AZ100,\n";
    let request = hub.request(Method::POST, "/registers/homes").bearer_auth(hub.token(Role::Operator)).header("idempotency-key", "homes");
    let answer = Answer::of(request.header("content-type", "text/csv").body(csv)).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let home = answer.body["rows"][0]["id"].as_str().expect("an id").to_owned();
    hub.settled().await;

    let numbers = ["9990000018", "9990000026"];
    let day = two_days_ago();
    let (at_home, elsewhere) =
        (stay(day, 1, numbers[0], "Room 3^Oak Lodge^Southampton^^SO16 6YD"), stay(day, 2, numbers[1], "9 Zqxjv Crescent^^Southampton^^SO99 9ZQ"));
    let mut needles = Needles::new();
    for digits in numbers {
        number(&mut needles, &NhsNumber::parse(digits).expect("a number").formatted(), digits);
        needles.add("an NHS number", digits);
    }
    needles.add("the rare word", RARE);
    for n in 1..=2 {
        needles.add("a given name", format!("Wilhelmina{n}"));
        needles.add("a hospital number", format!("ZQX44{n}7781"));
        needles.add("a visit number", format!("ZQV55{n}8812"));
        needles.add("a telephone number", format!("02380999{n}42"));
    }
    for (kind, value) in [("a name of kin", "Ottokar"), ("an address", "Zqxjv Crescent"), ("a private postcode", "SO99 9ZQ")] {
        needles.add(kind, value);
    }
    needles.add_alone("a date of birth", "19310507");
    let mut sender = Sender::connect(hub.mllp).await;
    for message in at_home.iter().chain(&elsewhere) {
        assert!(!needles.find(message.as_bytes()).is_empty(), "every message is full of it");
        let (reply, said) = sender.exchange(message.as_bytes()).await;
        assert!(reply.code.is_accept(), "{said}");
    }
    hub.settled().await;

    // The home has its admission, wherever one looks for it, and it is nobody's.
    let store = |name: &str| hub.ops.services.iter().find(|service| service.name == name).expect("a service").kernel.store.clone();
    let opened = store("pas-gateway").query("select name from events order by position", &[]).await.expect("read");
    assert_eq!(opened.iter().map(|row| row.text(0)).collect::<Vec<_>>(), ["VisitOpened", "VisitTransferred", "VisitClosed"]);
    let live = store("kpi-projection").query("select live_from is null from homes", &[]).await.expect("read");
    assert!(live.len() == 1 && live[0].flag(0), "the home is not live");
    let visits =
        store("kpi-projection").query("select home_id, resident_id is null, inpatient_at is not null, admission_method from visits", &[]).await.expect("read");
    let visits: Vec<_> = visits.iter().map(|row| (HomeId::from_bytes(row.id(0)).to_string(), row.flag(1), row.flag(2), row.text(3).to_owned())).collect();
    assert_eq!(visits, [(home, true, true, "21".to_owned())]);
    let kpi = hub.get(Role::Analyst, &format!("/kpi?from={day}&to={}", day.tomorrow().expect("in the calendar"))).await;
    assert_eq!(kpi.status, 200, "{}", kpi.text);
    let measures = kpi.body["measures"].as_array().expect("measures");
    for id in ["ed_attendances", "emergency_admissions"] {
        let measure = measures.iter().find(|measure| measure["id"] == id).expect("in the catalogue");
        assert!(measure["by"]["home_level"] == 1 && measure["value"] == 1, "{measure}");
    }
    nothing_said("in the figures", &needles.find(kpi.text.as_bytes()));

    // The events as they are on the topic, the metrics, the log with every line it can write, and every file there is.
    for event in store("pas-gateway").read_all(0, 1_000).await.expect("read") {
        nothing_said("in an event", &needles.find(&event.payload));
    }
    nothing_said("in the metrics", &needles.find(hub.metrics().await.as_bytes()));
    nothing_in("while it runs", &search(&needles, folder.path()));
    nothing_said("in the log of requests", &needles.find(&hub.log.bytes()));
    hub.stop().await;
    let log = log.bytes();
    assert!(log.windows(5).any(|word| word == b"DEBUG"), "the log tells everything it can: {}", String::from_utf8_lossy(&log));
    nothing_said("in the log", &needles.find(&log));
    nothing_in("in the data folder", &search(&needles, folder.path()));
    let mut open = Needles::new();
    open.add("the home's name", "Oak Lodge");
    assert!(!search(&open, folder.path()).is_empty(), "the search sees what is there");
}

//! The program is killed while thirty-two hospital lines send: what was acknowledged is there, once, and in order.

use crate::binary;
use crate::running::{Answer, Running, Sender};
use hearthline_contracts::facts;
use hearthline_contracts::topics::{HOSPITAL, PARTITIONS};
use hearthline_contracts::wire;
use hearthline_interop::hl7v2::AckCode;
use hearthline_nhs::NhsNumber;
use hearthline_runtime::admin::AdminFile;
use hearthline_runtime::auth::Role;
use hearthline_tests::PATIENCE;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// Of one stream: each version's event and what it tells.
type Versions = BTreeMap<u64, ([u8; 16], &'static str)>;

const LINES: usize = 32;
/// Each an admission and a discharge.
const VISITS: usize = 12;
const KILLS: usize = 6;

const HUB: &str = r#"
controller_ods = "ZH100"
[server]
listen = "127.0.0.1:0"
requests_per_second = 0
[mllp]
listen = "127.0.0.1:0"
[[mllp.peer]]
name = "Southampton"
facility_ods = "RHM"
"#;

fn number(line: usize) -> NhsNumber {
    let nine = u32::try_from(999_200_000 + 20 * line).expect("nine digits");
    (nine..).find_map(|n| NhsNumber::complete(n).ok()).expect("one in eleven has no check digit")
}

/// An admission or a discharge; its control id says which.
fn message(line: usize, visit: usize, discharge: bool) -> (String, Vec<u8>) {
    let (trigger, hour) = if discharge { ("A03", 15) } else { ("A01", 9) };
    let control = format!("L{line}V{visit}{trigger}");
    let at = format!("202601{:02}{hour:02}0000", 1 + visit);
    let ends = if discharge { format!("|{at}") } else { String::new() };
    let text = format!(
        "MSH|^~\\&|PAS|RHM|HL|ZH100|{at}||ADT^{trigger}|{control}|P|2.4\rEVN||{at}\rPID|||{}^^^NHS^NH||Kill^Line{line}||1930{:02}01\r\
         PV1||I|WARD^^^RHM01||||||||||||||||L{line}V{visit}|||||||||||||||||||||||||202601{:02}090000{ends}\r",
        number(line).as_str(),
        1 + line % 12,
        1 + visit,
    );
    (control, text.into_bytes())
}

/// The program on a folder; ends with it.
struct Process(Child);

impl Process {
    async fn start(folder: &Path, config: &Path) -> (Self, SocketAddr) {
        let admin = folder.join("admin.json");
        // What the killed one left behind says nothing of this one.
        let _ = std::fs::remove_file(&admin);
        let text = |path: &Path| path.to_str().expect("a readable path").to_owned();
        let mut command = binary::command(&["up", "--no-sandbox", "--until-stdin-closes", "--config", &text(config), "--folder", &text(folder)]);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program can be started");
        let mut process = Process(child);
        let begun = std::time::Instant::now();
        loop {
            if let Ok(AdminFile { mllp: Some(mllp), .. }) = AdminFile::read(folder) {
                return (process, mllp);
            }
            assert!(process.0.try_wait().expect("looked").is_none(), "it ended by itself");
            assert!(begun.elapsed() < PATIENCE, "it did not become ready");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn kill(mut self) {
        self.0.kill().expect("killed");
        self.0.wait().expect("it ended");
    }

    /// As an operator stops it.
    fn stop(mut self) {
        drop(self.0.stdin.take());
        assert!(self.0.wait().expect("it ended").success());
    }
}

/// Sends every message of a line in order, each until it has its answer.
async fn line(n: usize, address: watch::Receiver<Option<SocketAddr>>, taken: Arc<AtomicUsize>) {
    let mut connected = None;
    for visit in 0..VISITS {
        for discharge in [false, true] {
            let (control, text) = message(n, visit, discharge);
            loop {
                let mut sender: Sender = match connected.take() {
                    Some(sender) => sender,
                    None => connect(address.clone()).await,
                };
                if sender.try_send(&text).await.is_err() {
                    continue;
                }
                // None: killed; whoever comes next is sent it again.
                if let Some((reply, said)) = sender.reply().await {
                    assert!(reply.code == AckCode::ApplicationAccept && reply.control_id == control, "{said}");
                    connected = Some(sender);
                    break;
                }
            }
            taken.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// As soon as there is a process that says where it listens: somebody else may have the port of the one before.
async fn connect(mut address: watch::Receiver<Option<SocketAddr>>) -> Sender {
    loop {
        let at = *address.borrow_and_update();
        let connected = match at {
            Some(at) => Sender::try_connect(at).await.ok(),
            None => None,
        };
        match connected {
            Some(sender) => return sender,
            None => drop(tokio::time::timeout(Duration::from_millis(50), address.changed()).await),
        }
    }
}

async fn residents(hub: &Running) {
    let home = hub.homes(&["VN100"]).await.remove(0);
    for n in 0..LINES {
        let body = json!({ "home_id": home, "family_name": "Kill", "given_names": "Line", "date_of_birth": format!("1930-{:02}-01", 1 + n % 12),
            "nhs_number": number(n).as_str(), "moved_in_on": "2024-01-01" });
        let answer: Answer = hub.post(Role::Operator, "/residents", &body).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
    }
    hub.settled().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_stored_and_published_once_and_in_order_although_the_program_is_killed() {
    let data = tempfile::tempdir().expect("a temporary folder can be made");
    let folder = data.path().join("hub");
    let config = data.path().join("hub.toml");
    std::fs::write(&config, HUB).expect("written");
    let hub = Running::start(HUB, &folder, false).await;
    residents(&hub).await;
    hub.stop().await;

    let all = LINES * VISITS * 2;
    let (mut process, address) = Process::start(&folder, &config).await;
    let (tell, told) = watch::channel(Some(address));
    let taken = Arc::new(AtomicUsize::new(0));
    let mut lines = tokio::task::JoinSet::new();
    for n in 0..LINES {
        lines.spawn(line(n, told.clone(), taken.clone()));
    }
    for kill in 1..=KILLS {
        // In the middle of the load, whatever the machine's speed.
        let begun = std::time::Instant::now();
        while taken.load(Ordering::SeqCst) < kill * all / (KILLS + 1) {
            assert!(begun.elapsed() < PATIENCE, "the lines stand still at {}", taken.load(Ordering::SeqCst));
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        tell.send_replace(None);
        process.kill();
        let (next, address) = Process::start(&folder, &config).await;
        process = next;
        tell.send_replace(Some(address));
    }
    let sent = async {
        while let Some(ended) = lines.join_next().await {
            ended.expect("every message had its answer")
        }
    };
    tokio::time::timeout(PATIENCE, sent).await.expect("the lines end");
    process.stop();

    let hub = Running::start(HUB, &folder, false).await;
    hub.settled().await;
    let gateway = hub.ops.services.iter().find(|s| s.name == "pas-gateway").expect("the gateway").kernel.store.clone();
    let rows = gateway.query("select control_id, count(*) from inbox where state <> 'duplicate' group by control_id", &[]).await.expect("rows");
    let stored: BTreeMap<String, i64> = rows.iter().map(|r| (r.text(0).to_owned(), r.int(1))).collect();
    assert_eq!(stored.len(), all, "every acknowledged message is in the store");
    assert!(stored.values().all(|n| *n == 1), "and once");

    let mut streams: BTreeMap<Vec<u8>, Versions> = BTreeMap::new();
    let mut newest: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
    for partition in 0..PARTITIONS {
        let marks = hub.ops.log.watermarks(HOSPITAL.name, partition).await.expect("ends");
        let mut at = marks.low;
        while at < marks.high {
            for record in hub.ops.log.read(HOSPITAL.name, partition, at, 500).await.expect("records") {
                at = record.offset + 1;
                let parts = wire::split(&record.payload).expect("an event");
                let what = facts::fact_name(HOSPITAL.context, parts.fact_number).expect("a fact of hospitals");
                let (key, version) = (record.key.to_vec(), parts.envelope.stream_version);
                let before = newest.entry(key.clone()).or_default();
                assert!(version <= *before + 1, "a stream's versions come in order");
                *before = version.max(*before);
                let known = streams.entry(key).or_default().insert(version, (parts.event_id, what));
                assert!(known.is_none_or(|(id, _)| id == parts.event_id), "one version is one event");
            }
        }
    }
    assert_eq!(streams.len(), LINES * VISITS, "each visit has one stream");
    for versions in streams.values() {
        let whats: Vec<&str> = versions.values().map(|(_, what)| *what).collect();
        assert_eq!(whats, ["VisitOpened", "VisitClosed"], "each visit began and ended once, in this order");
    }
    let ids: BTreeSet<[u8; 16]> = streams.values().flat_map(|v| v.values().map(|(id, _)| *id)).collect();
    assert_eq!(ids.len(), all);
    hub.stop().await;
}

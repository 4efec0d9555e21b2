//! `hearthline doctor`: looks at the machine, the data folder and the configuration; says what is wrong and how to mend it.

use crate::admin_client::Client;
use hearthline_log_kafka::{KafkaAdmin, Replication, Verdict as KafkaVerdict};
use hearthline_runtime::config::Config;
use hearthline_runtime::connect::Servers;
use hearthline_runtime::disk;
use hearthline_runtime::lock::DataFolder;
use serde::Serialize;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

/// Slower than this, a person waits for each command.
const SYNC_RATE_LOW: f64 = 100.0;
const FREE_BYTES_LOW: u64 = 1 << 30;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Fine,
    Advice,
    Wrong,
}

/// One thing looked at.
#[derive(Debug, Serialize)]
struct Finding {
    what: &'static str,
    verdict: Verdict,
    seen: String,
    /// How to mend it; empty where nothing is to be done.
    remedy: String,
}

impl Finding {
    fn fine(what: &'static str, seen: impl Into<String>) -> Self {
        Finding { what, verdict: Verdict::Fine, seen: seen.into(), remedy: String::new() }
    }
    fn advice(what: &'static str, seen: impl Into<String>, remedy: impl Into<String>) -> Self {
        Finding { what, verdict: Verdict::Advice, seen: seen.into(), remedy: remedy.into() }
    }
    fn wrong(what: &'static str, seen: impl Into<String>, remedy: impl Into<String>) -> Self {
        Finding { what, verdict: Verdict::Wrong, seen: seen.into(), remedy: remedy.into() }
    }
}

/// Prints every finding; fails if something is wrong.
pub async fn command(config: Config, json: bool) -> anyhow::Result<ExitCode> {
    let folder = config.data.folder.clone();
    let mut findings = configuration(&config);
    let running = match Client::of_folder(&folder) {
        Ok(client) => client.get("/ops/status").await.ok(),
        Err(_) => None,
    };
    match &running {
        Some(status) => findings.push(process(status)),
        None if config.distributed.is_some() => {}
        None => findings.extend(files(&config).await),
    }
    if let Some(servers) = crate::up::servers(&config) {
        findings.extend(databases(&config).await);
        findings.extend(brokers(&servers).await);
    }
    if folder.is_dir() {
        findings.extend(machine(&folder));
    }
    let wrong = findings.iter().any(|f| f.verdict == Verdict::Wrong);
    if json {
        println!("{}", serde_json::to_string_pretty(&findings)?);
    } else {
        for f in &findings {
            let mark = match f.verdict {
                Verdict::Fine => "ok    ",
                Verdict::Advice => "advice",
                Verdict::Wrong => "WRONG ",
            };
            println!("{mark}  {:<14} {}", f.what, f.seen);
            if !f.remedy.is_empty() {
                println!("        {:<14} → {}", "", f.remedy);
            }
        }
    }
    Ok(if wrong { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn configuration(config: &Config) -> Vec<Finding> {
    let found = config.check();
    if found.is_empty() {
        return vec![Finding::fine("configuration", "sound")];
    }
    found
        .into_iter()
        .map(|f| if f.fatal { Finding::wrong("configuration", f.key, f.advice) } else { Finding::advice("configuration", f.key, f.advice) })
        .collect()
}

/// PostgreSQL, entered as each service.
async fn databases(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut server = None;
    for service in crate::up::SERVICES {
        match crate::up::stores(config, Some(service)).await {
            Ok(stores) => {
                for (_, store) in stores {
                    if server.is_none() {
                        server = store.query(SERVER, &[]).await.ok().and_then(|rows| rows.into_iter().next());
                    }
                    store.close().await;
                }
            }
            Err(error) => findings.push(Finding::wrong(
                "database",
                format!("{service}: {error:#}"),
                "nothing is lost meanwhile: commands are answered 503 and frames not at all",
            )),
        }
    }
    if findings.is_empty() {
        findings.push(Finding::fine("database", "every service enters its store and, where granted, the keyring"));
    }
    let Some(row) = server else { return findings };
    let (version, connections) = (row.text(0), row.int(1));
    findings.push(Finding::fine("database", format!("PostgreSQL {version}, {connections} connections at most")));
    for (setting, value) in [("fsync", row.text(2)), ("full_page_writes", row.text(3))] {
        if value != "on" {
            findings.push(Finding::wrong("database", format!("{setting} is {value}"), "what is acknowledged would not survive a crash: set it to on"));
        }
    }
    if row.text(4).is_empty() {
        findings.push(Finding::advice(
            "database",
            "no synchronous standby",
            "the loss of this server loses what was acknowledged since its last copy: set synchronous_standby_names, or accept that and know `hearthline recover`",
        ));
    }
    findings
}

const SERVER: &str = "select current_setting('server_version'), cast(current_setting('max_connections') as bigint), current_setting('fsync'), current_setting('full_page_writes'), current_setting('synchronous_standby_names')";

/// Kafka's brokers, topics and rights.
async fn brokers(servers: &Servers) -> Vec<Finding> {
    let admin = match KafkaAdmin::new(servers.kafka_options("operator", "doctor")) {
        Ok(admin) => admin,
        Err(error) => return vec![Finding::wrong("log", error.to_string(), "correct [kafka]")],
    };
    let found = admin.verify(Replication::of(servers.kafka.replication_factor)).await;
    let (fine, other): (Vec<_>, Vec<_>) = found.into_iter().partition(|f| f.verdict == KafkaVerdict::Fine);
    let mut findings = vec![Finding::fine("log", format!("{} things are as they must be", fine.len()))];
    for f in other {
        let seen = format!("{}: {}", f.what, f.seen);
        findings.push(if f.verdict == KafkaVerdict::Wrong { Finding::wrong("log", seen, f.remedy) } else { Finding::advice("log", seen, f.remedy) });
    }
    findings
}

fn machine(folder: &Path) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.push(match disk::measure_sync_rate(folder, 300, Duration::from_secs(1)) {
        Ok(rate) if rate.per_second < SYNC_RATE_LOW => Finding::advice(
            "disk rate",
            format!("{:.0} durable writes a second", rate.per_second),
            "every command waits for one: put the data folder on a local SSD rather than on a network or USB disk",
        ),
        Ok(rate) => Finding::fine("disk rate", format!("{:.0} durable writes (fdatasync) a second", rate.per_second)),
        Err(error) => Finding::wrong(
            "disk rate",
            format!("the folder cannot be written: {error}"),
            format!("give this user the right to write {}, or free the disk", folder.display()),
        ),
    });
    findings.push(match disk::space(folder) {
        Ok(space) if space.free_bytes < FREE_BYTES_LOW => Finding::advice(
            "disk space",
            format!("{} MiB free", space.free_bytes >> 20),
            "free some room before it is full: a full disk refuses new facts, it loses none",
        ),
        Ok(space) => Finding::fine("disk space", format!("{} GiB free of {} GiB", space.free_bytes >> 30, space.total_bytes >> 30)),
        Err(error) => Finding::advice("disk space", error.to_string(), "look at the file system"),
    });
    findings.push(match disk::check_clock(folder, SystemTime::now()) {
        Ok(Ok(())) => Finding::fine("clock", "plausible, and not behind the newest file"),
        Ok(Err(problem)) => Finding::wrong("clock", problem.to_string(), "set the clock by NTP before anything is recorded: recorded times are this machine's"),
        Err(error) => Finding::advice("clock", error.to_string(), "look at the file system"),
    });
    findings.push(match disk::exposed_files(folder) {
        Ok(exposed) if exposed.is_empty() => Finding::fine("permissions", "no secret is readable by others"),
        Ok(exposed) => {
            let names = exposed.iter().map(|(name, mode)| format!("{name} ({mode:o})")).collect::<Vec<_>>().join(", ");
            Finding::wrong("permissions", format!("readable by others: {names}"), format!("chmod 600 these files in {}", folder.display()))
        }
        Err(error) => Finding::advice("permissions", error.to_string(), "look at the file system"),
    });
    findings
}

fn process(status: &serde_json::Value) -> Finding {
    let sum = |key: &str| -> i64 { status["services"].as_array().into_iter().flatten().filter_map(|s| s[key].as_i64()).sum() };
    let (parked, unconfirmed) = (sum("parked"), sum("deliveries_unconfirmed"));
    if parked > 0 || unconfirmed > 0 {
        return Finding::advice(
            "process",
            format!("running; {parked} records set aside, {unconfirmed} deliveries that nobody confirmed"),
            "look at `hearthline parked list` and `hearthline deliveries list --state unconfirmed`",
        );
    }
    Finding::fine("process", "running; nothing is set aside and nothing waits for a person")
}

/// The databases of a folder that no process uses, under its lock.
async fn files(config: &Config) -> Vec<Finding> {
    let folder = &config.data.folder;
    if !folder.exists() {
        return vec![Finding::fine("data folder", format!("{} does not exist yet; the first start makes it", folder.display()))];
    }
    let lock = match DataFolder::open_existing(folder) {
        Ok(lock) => lock,
        Err(error) => return vec![Finding::wrong("data folder", error.to_string(), "see above; nothing was changed")],
    };
    let mut findings = vec![Finding::fine("data folder", format!("{}, not in use", folder.display()))];
    for file in ["log.db", "keyring.db"].into_iter().map(str::to_owned).chain(crate::up::SERVICES.iter().map(|s| format!("{s}.db"))) {
        let path = folder.join(&file);
        if !path.exists() {
            continue;
        }
        let what = if file == "log.db" { "log" } else { "database" };
        findings.push(match hearthline_store::check_file(&path).await {
            Ok(()) => Finding::fine(what, format!("{file} is sound")),
            Err(error) => Finding::wrong(what, format!("{file}: {error}"), "restore the whole folder from its last backup; single files do not fit together"),
        });
    }
    drop(lock);
    findings
}

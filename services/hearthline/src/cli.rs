//! The command line: what an operator, an engineer of a trust or a newcomer types.
//!
//! Commands that look at a running process find it by the `admin.json` of its data folder and speak HTTP with it; nothing here
//! opens the files of a running process.

use crate::{
    admin_client::{self, Client},
    bench, demo, doctor, on_servers, up,
};
use anyhow::{Context, bail};
use clap::{Args, Parser, Subcommand};
use hearthline_eventing::recover::Report;
use hearthline_nhs::{HomeId, OdsCode};
use hearthline_runtime::auth::{Grant, Issuer, Role};
use hearthline_runtime::config::{Config, Finding, Sources};
use hearthline_runtime::connect::{CONNECTIONS, STORE_CONNECTIONS, opens_keys};
use hearthline_runtime::service::rfc3339;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Joins care homes, a clinical hub, hospitals, shared records and the figures that commissioners read.
#[derive(Debug, Parser)]
#[command(name = "hearthline", version, about, propagate_version = true)]
pub struct Cli {
    #[command(flatten)]
    pub common: Common,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Args)]
pub struct Common {
    /// Configuration file (TOML). Environment variables HEARTHLINE__SECTION__KEY and --set override it.
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Data folder; the same as --set data.folder=FOLDER.
    #[arg(long, global = true, value_name = "FOLDER")]
    pub folder: Option<PathBuf>,
    /// Overrides one setting; may be repeated.
    #[arg(long = "set", global = true, value_name = "SECTION.KEY=VALUE")]
    pub overrides: Vec<String>,
    /// Prints JSON instead of text.
    #[arg(long, global = true)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs every service in this process, on one folder, with nothing to install.
    Up {
        /// Does not start the sandbox servers for prescriptions, shared record and mail.
        #[arg(long)]
        no_sandbox: bool,
        /// Stops when standard input closes: for a process that starts this one and must not leave it behind.
        #[arg(long, hide = true)]
        until_stdin_closes: bool,
    },
    /// Feeds a made-up week of 104 homes through the real sockets and shows what comes out.
    Demo(DemoArgs),
    /// Runs one service alone. On one machine it holds the whole folder: the others do not run meanwhile.
    Serve {
        /// call-intake, clinical-outcome, prescribing, shared-record, kpi-projection, pas-gateway or directory.
        service: String,
        /// Stops when standard input closes: for a process that starts this one and must not leave it behind.
        #[arg(long, hide = true)]
        until_stdin_closes: bool,
    },
    /// Creates or updates the tables of every service in the data folder.
    Migrate,
    /// Shows or checks the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Prints a bearer token signed by the folder's own issuer (one-machine edition).
    Token(TokenArgs),
    /// Says how the running process is doing.
    Status,
    /// Asks whatever listens at server.listen on this machine whether it is ready; exit code 1 when it is not. For a container's health check.
    Ready,
    /// Records that could not be taken: list, show, retry, discard.
    #[command(subcommand)]
    Parked(ParkedCommand),
    /// Deliveries to the outside: list, and settle those that nobody confirmed.
    #[command(subcommand)]
    Deliveries(DeliveriesCommand),
    /// Rebuilds the KPI views from the archive and compares them with the living ones.
    Rebuild {
        /// Compares only; the living views stay as they are.
        #[arg(long)]
        check: bool,
    },
    /// Mends a store that came apart from the log, for example after an older copy was restored. The process must be stopped.
    Recover {
        /// Only this service (default: every one).
        service: Option<String>,
        /// Says what would be done and does nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Publishes every event of a service again, for a new consumer of a topic whose oldest records are past their time.
    Republish { service: String },
    /// Releases side by side: which schema level each process knows, and the one up to which events are written.
    #[command(subcommand)]
    Upgrade(UpgradeCommand),
    /// The topics of the distributed edition: plan, apply, verify, list, tail.
    #[command(subcommand)]
    Topics(crate::topics::TopicsCommand),
    /// Measures this machine with the project's own benchmarks: on SQLite, or with --config on the PostgreSQL and Kafka that it names.
    Bench(BenchArgs),
    /// Hospital feeds: what they send, what became of it, and how a new one is tried.
    #[command(subcommand)]
    Pas(crate::pas::PasCommand),
    /// Looks at disk, database, log, clock and permissions, and says what is wrong and how to mend it.
    Doctor,
}

#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Leaves everything running until Ctrl-C.
    #[arg(long)]
    pub keep: bool,
    /// Seed of the made-up week.
    #[arg(long, default_value_t = 104)]
    pub seed: u64,
    /// Kills the serving process this many times on the way, at seeded points.
    #[arg(long, default_value_t = 0)]
    pub kills: u32,
    /// Feeds the HL7 v2 message files of a folder as well.
    #[arg(long, value_name = "FOLDER")]
    pub hl7: Option<PathBuf>,
    /// Feeds the distributed edition: a process for each service and two of some, on the configured PostgreSQL and Kafka, else on the
    /// development servers of the checkout. Schemas and topics of its own are made, and dropped at the end unless --keep.
    #[arg(long)]
    pub distributed: bool,
}

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Prints the whole configuration with defaults; secrets are left out.
    Print,
    /// Says what is wrong or unwise about the configuration.
    Check,
}

#[derive(Debug, Args)]
pub struct TokenArgs {
    /// care_home, call_handler, clinician, prescriber, analyst, operator, trust_engineer, privacy_officer or safety_officer.
    #[arg(long)]
    pub role: String,
    /// ODS code of the organisation (default: the hub's own, controller_ods).
    #[arg(long)]
    pub org: Option<String>,
    /// For care_home: the home's id.
    #[arg(long)]
    pub home: Option<String>,
    /// How long it is valid: 8h, 30m.
    #[arg(long = "for", default_value = "8h")]
    pub ttl: String,
    /// Who it is; a pseudonym of it goes into events.
    #[arg(long)]
    pub subject: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum ParkedCommand {
    List,
    /// Shows one record without its personal part.
    Show {
        service: String,
        topic: String,
        partition: u16,
        offset: i64,
    },
    /// Tries one record again, or all that match.
    Retry(ParkedSelect),
    /// Lets records go for good, with a reason.
    Discard {
        #[command(flatten)]
        select: ParkedSelect,
        #[arg(long)]
        reason: String,
    },
}

#[derive(Debug, Args)]
pub struct ParkedSelect {
    #[arg(long)]
    pub service: Option<String>,
    #[arg(long)]
    pub topic: Option<String>,
    #[arg(long)]
    pub partition: Option<u16>,
    #[arg(long)]
    pub offset: Option<i64>,
    /// Says what would be done and does nothing.
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Debug, Subcommand)]
pub enum DeliveriesCommand {
    List {
        /// Only those in this state, for example unconfirmed.
        #[arg(long)]
        state: Option<String>,
    },
    /// It arrived: you looked. REFERENCE is what the receiver calls it.
    Confirm {
        id: String,
        #[arg(long, default_value = "confirmed by a person")]
        reference: String,
    },
    /// It did not arrive: you looked. It goes out again.
    Resend { id: String },
}

#[derive(Debug, Subcommand)]
pub enum UpgradeCommand {
    /// Shows each service's processes and levels.
    Status,
    /// Lets events of the new release be written. From then on the old release cannot be started again.
    Finalise,
}

#[derive(Debug, Args)]
pub struct BenchArgs {
    #[command(subcommand)]
    pub what: BenchCommand,
    /// Seconds for each figure.
    #[arg(long, global = true, default_value_t = 4)]
    pub seconds: u64,
    /// Where the files go (default: the system's temporary folder).
    #[arg(long, global = true, value_name = "FOLDER")]
    pub on: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// Whole append units at 1, 8, 32 and 256 callers.
    Append {
        #[arg(long, value_delimiter = ',', default_values_t = [1, 8, 32, 256])]
        callers: Vec<usize>,
    },
    /// Rebuilding the KPI views from an archive of this many events.
    Rebuild {
        #[arg(long, default_value_t = 300_000)]
        events: u64,
    },
    /// Stored events into the log, and one that comes alone from its commit to a consumer.
    Relay {
        #[arg(long, default_value_t = 100_000)]
        events: u64,
    },
    /// From the log into a service: by a policy that writes an event for each, and into projections.
    Consume {
        #[arg(long, default_value_t = 200_000)]
        events: u64,
    },
    /// POST of a call over HTTP, durable.
    Calls {
        #[arg(long, default_value_t = 32)]
        connections: usize,
    },
    /// From HTTP request and MLLP frame to the KPI row, at a steady rate; memory and start-up with it.
    Latency {
        #[arg(long, default_value_t = 200)]
        per_second: u32,
    },
    /// Hospital frames to their durable reply, one outstanding on each connection; alone, and with interpreting beside it.
    Mllp {
        #[arg(long, default_value_t = 32)]
        connections: usize,
        /// The same load against another receiver; see tests/peers/measure.
        #[arg(long, value_name = "HOST:PORT")]
        at: Option<std::net::SocketAddr>,
    },
    /// Received messages to events.
    Interpret {
        #[arg(long, default_value_t = 60_000)]
        messages: u64,
    },
    /// One message among many in the message store.
    Search {
        #[arg(long, default_value_t = 1_000_000)]
        messages: u64,
    },
    /// Reading HL7 messages, on one core: admissions, large documents, acknowledgements.
    Parse,
    /// Every figure of docs/performance.md.
    All,
}

/// Runs a command; the exit code is its verdict.
pub fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let Cli { common, command } = cli;
    match command {
        Command::Up { no_sandbox, until_stdin_closes } => up::run(&load(&common)?, !no_sandbox, None, until_stdin_closes),
        Command::Serve { service, until_stdin_closes } => {
            known_service(&service)?;
            up::run(&load(&common)?, false, Some(&service), until_stdin_closes)
        }
        Command::Demo(args) => asynchronously(demo_command(&common, args)),
        Command::Migrate => asynchronously(async {
            let config = load(&common)?;
            let services = up::migrate(&config).await?;
            say(&common, &json!({ "migrated": services }), || format!("tables are up to date: {}", services.join(", ")));
            Ok(ExitCode::SUCCESS)
        }),
        Command::Config(ConfigCommand::Print) => {
            print!("{}", load(&common)?.print());
            Ok(ExitCode::SUCCESS)
        }
        Command::Config(ConfigCommand::Check) => config_check(&common),
        Command::Token(args) => token(&common, &args),
        Command::Status => asynchronously(async {
            let status = client(&common)?.get("/ops/status").await?;
            say(&common, &status, || status_text(&status));
            Ok(if status["settled"] == Value::Bool(true) || status["ready"] == Value::Bool(true) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }),
        Command::Ready => asynchronously(async {
            let report = admin_client::readiness(load(&common)?.server.listen).await?;
            let ready = report["status"] == "ok";
            say(&common, &report, || readiness_text(&report));
            Ok(if ready { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }),
        Command::Parked(command) => asynchronously(parked(&common, command)),
        Command::Deliveries(command) => asynchronously(deliveries(&common, command)),
        Command::Rebuild { check } => asynchronously(async {
            let answer = client(&common)?.post("/ops/rebuild", &json!({ "swap": !check })).await?;
            let equal = answer["live"] == answer["rebuilt"];
            say(&common, &answer, || {
                format!(
                    "{} facts replayed; the rebuilt views are {} the living ones{}",
                    answer["facts"],
                    if equal { "equal to" } else { "NOT equal to" },
                    if answer["swapped"] == Value::Bool(true) { ", and took their place" } else { "" }
                )
            });
            Ok(if equal { ExitCode::SUCCESS } else { ExitCode::from(2) })
        }),
        Command::Recover { service, dry_run } => asynchronously(recover(&common, service, dry_run)),
        Command::Republish { service } => asynchronously(republish(&common, service)),
        Command::Upgrade(command) => asynchronously(upgrade(&common, command)),
        Command::Topics(command) => {
            let servers = up::servers(&load(&common)?).context("topics belong to the distributed edition: configure [kafka] and [postgres] (--config FILE)")?;
            asynchronously(crate::topics::command(&servers, command, common.json))
        }
        Command::Bench(args) => {
            // On a folder unless a configuration names servers.
            let servers = if common.config.is_some() { up::servers(&load(&common)?) } else { None };
            asynchronously(bench::command(args.what, args.on, Duration::from_secs(args.seconds), servers, common.json))
        }
        Command::Pas(command) => {
            let config = load(&common)?;
            asynchronously(crate::pas::command(&config, command, common.json))
        }
        Command::Doctor => asynchronously(doctor::command(load(&common)?, common.json)),
    }
}

/// How many connections the servers must allow.
fn connections() -> Finding {
    let one = |service: &str| if opens_keys(service) { CONNECTIONS } else { STORE_CONNECTIONS };
    let each: u32 = up::SERVICES.iter().map(|s| one(s)).sum();
    let advice = format!(
        "one process of each service opens {each} connections to PostgreSQL ({CONNECTIONS} a process, {STORE_CONNECTIONS} where no key is opened), two of each {}; \
         max_connections must be above that, with some left for `migrate`, Grafana and administrators",
        2 * each
    );
    Finding { key: "postgres".to_owned(), advice, fatal: false }
}

fn known_service(service: &str) -> anyhow::Result<()> {
    if !up::SERVICES.contains(&service) {
        bail!("there is no service {service:?}; the services are {}", up::SERVICES.join(", "));
    }
    Ok(())
}

async fn recover(common: &Common, service: Option<String>, dry_run: bool) -> anyhow::Result<ExitCode> {
    if let Some(service) = &service {
        known_service(service)?;
    }
    let reports = up::recover(&load(common)?, service.as_deref(), dry_run).await?;
    let list: Vec<Value> = reports.iter().map(|(service, report)| report_json(service, report)).collect();
    say(common, &json!({ "dry_run": dry_run, "services": list }), || {
        reports.iter().map(|(service, report)| report_text(service, report)).collect::<Vec<_>>().join("\n")
    });
    Ok(ExitCode::SUCCESS)
}

async fn republish(common: &Common, service: String) -> anyhow::Result<ExitCode> {
    known_service(&service)?;
    let config = load(common)?;
    let answer = match config.distributed {
        Some(_) => on_servers::republish(&config, &service).await?,
        None => client(common)?.post("/ops/republish", &json!({ "service": service })).await?,
    };
    say(common, &answer, || match answer["state"].as_str() {
        Some("begun") => format!("{} events of {service} go out again; `hearthline status` shows how far it is", answer["of"]),
        Some("under_way") => format!("a republish of {service} is under way already: {} of {} events sent", answer["sent"], answer["of"]),
        _ => format!("{service} has published nothing yet"),
    });
    Ok(ExitCode::SUCCESS)
}

async fn upgrade(common: &Common, command: UpgradeCommand) -> anyhow::Result<ExitCode> {
    let config = load(common)?;
    let answer = match (command, &config.distributed) {
        (UpgradeCommand::Status, Some(_)) => on_servers::upgrade_status(&config).await?,
        (UpgradeCommand::Finalise, Some(_)) => on_servers::upgrade_finalise(&config).await?,
        (UpgradeCommand::Status, None) => client(common)?.get("/ops/upgrade").await?,
        (UpgradeCommand::Finalise, None) => client(common)?.post("/ops/upgrade/finalise", &json!({})).await?,
    };
    say(common, &answer, || match answer["state"].as_str() {
        None => upgrade_text(&answer),
        Some("already") => format!("level {} was finalised before", answer["level"]),
        Some(_) => format!("level {} is finalised: events of it are written from now on, and older releases do not start any more", answer["level"]),
    });
    Ok(ExitCode::SUCCESS)
}

fn upgrade_text(answer: &Value) -> String {
    let (mut rows, mut behind, mut open) = (Vec::new(), 0, 0);
    for s in answer["services"].as_array().into_iter().flatten() {
        open += u32::from(s["finalised"].as_u64() < answer["level"].as_u64());
        for p in s["processes"].as_array().into_iter().flatten() {
            behind += u32::from(p["level"].as_u64() < answer["level"].as_u64());
            rows.push(json!({ "service": s["name"], "finalised": s["finalised"], "instance": p["instance"], "release": p["release"], "level": p["level"], "seen": p["seen_at"] }));
        }
        if s["processes"].as_array().is_none_or(Vec::is_empty) {
            rows.push(json!({ "service": s["name"], "finalised": s["finalised"], "instance": "no process" }));
        }
    }
    let verdict = match (behind, open) {
        (0, 0) => format!("level {} is finalised everywhere", answer["level"]),
        (0, _) => format!(
            "every process knows level {}: `hearthline upgrade finalise` lets it be written; until then the older release can be started again",
            answer["level"]
        ),
        (behind, _) => format!("{behind} processes do not know level {} yet", answer["level"]),
    };
    format!("{}\n{verdict}", table(&json!({ "rows": rows }), "rows", &["service", "finalised", "instance", "release", "level", "seen"]))
}

fn report_json(service: &str, report: &Report) -> Value {
    json!({
        "service": service,
        "agreed": report.agreed(),
        "found": report.found,
        "incarnation": report.incarnation,
        "reimported": report.reimported,
        "publishes_from_start": report.publishes_from_start,
        "deliveries_unconfirmed": report.deliveries_unconfirmed,
        "holes": report.holes.iter().map(|h| json!({ "stream": h.stream.to_string(), "from": h.from, "to": h.to })).collect::<Vec<_>>(),
        "unreadable": report.unreadable.iter().map(|(partition, offset)| json!({ "partition": partition, "offset": offset })).collect::<Vec<_>>(),
        "checkpoints": report.checkpoints.iter().map(|c| json!({ "topic": c.topic, "partition": c.partition, "from": c.from, "to": c.to })).collect::<Vec<_>>(),
        "not_in_topics": report.not_in_topics.iter().map(|n| json!({ "what": n.what, "in_copy": n.rows, "newest_at": n.newest_at.map(rfc3339), "so": n.so })).collect::<Vec<_>>(),
    })
}

fn report_text(service: &str, report: &Report) -> String {
    if report.agreed() {
        return format!("{service}: store and log agree; nothing was done");
    }
    let would = if report.dry_run { "would be " } else { "" };
    let mut lines = vec![match &report.found {
        Some(found) => format!("{service}: {found}"),
        None => format!("{service}: store and log agree"),
    }];
    if report.found.is_some() {
        lines.push(format!("  {} events that the store did not know {would}taken in again from the topic", report.reimported));
        if report.publishes_from_start {
            lines.push(format!("  every event {would}published again from the start"));
        }
        lines.push(format!("  {} unfinished deliveries {would}set to unconfirmed: look whether they arrived", report.deliveries_unconfirmed));
        lines.push(format!("  events {would}written with incarnation {} from now on", report.incarnation));
    }
    for c in &report.checkpoints {
        lines.push(format!("  {}/{}: stood at {}, outside the topic, {would}set to {}", c.topic, c.partition, c.from, c.to));
    }
    if !report.checkpoints.is_empty() {
        lines.push("  records between may be missing: run `hearthline republish` for the services that own these topics".to_owned());
    }
    for h in &report.holes {
        lines.push(format!("  stream {}: versions {} to {} are in no topic any more", h.stream, h.from, h.to));
    }
    for (partition, offset) in &report.unreadable {
        lines.push(format!("  partition {partition} offset {offset}: not an event, passed over"));
    }
    if !report.not_in_topics.is_empty() {
        lines.push("  no topic holds, so that what is newer than the copy is lost:".to_owned());
    }
    for n in &report.not_in_topics {
        let newest = n.newest_at.map(|at| format!(", the newest of {}", rfc3339(at))).unwrap_or_default();
        lines.push(format!("    {} ({} in the copy{newest}): {}", n.what, n.rows, n.so));
    }
    lines.join("\n")
}

fn asynchronously(work: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("the asynchronous runtime does not start")?.block_on(work)
}

/// Configuration from file, environment and flags.
pub fn load(common: &Common) -> anyhow::Result<Config> {
    let mut overrides = common.overrides.clone();
    if let Some(folder) = &common.folder {
        overrides.push(format!("data.folder={}", folder.display()));
    }
    let mut config = Config::load(&Sources::of_process(common.config.clone(), overrides))?;
    if let Some(file) = &common.config {
        crate::pas::beside(&mut config, file);
    }
    Ok(config)
}

fn client(common: &Common) -> anyhow::Result<Client> {
    Client::of_folder(&load(common)?.data.folder)
}

fn say(common: &Common, value: &Value, text: impl FnOnce() -> String) {
    if common.json {
        println!("{value:#}");
    } else {
        println!("{}", text());
    }
}

async fn demo_command(common: &Common, args: DemoArgs) -> anyhow::Result<ExitCode> {
    let servers = if args.distributed { Some(demo_servers(common).await?) } else { None };
    let outcome = demo::run(demo::Options {
        folder: common.folder.clone(),
        keep: args.keep,
        seed: args.seed,
        kills: args.kills,
        hl7: args.hl7,
        json: common.json,
        servers,
        ..demo::Options::default()
    })
    .await?;
    Ok(if outcome.agrees() { ExitCode::SUCCESS } else { ExitCode::from(2) })
}

/// The configuration whose servers a distributed demonstration uses.
async fn demo_servers(common: &Common) -> anyhow::Result<Config> {
    // Every run makes a key-encryption key of its own.
    let overrides = common.overrides.iter().cloned().chain(["keyring.kek_file=keyring.kek".to_owned()]).collect();
    let given = Config::load(&Sources::of_process(common.config.clone(), overrides))?;
    if given.distributed.is_some() { Ok(given) } else { demo::development_servers(common.json).await }
}

fn config_check(common: &Common) -> anyhow::Result<ExitCode> {
    let config = load(common)?;
    let mut findings = config.check();
    findings.extend(crate::pas::findings(&config));
    if config.distributed.is_some() {
        findings.push(connections());
    }
    let fatal = findings.iter().any(|f| f.fatal);
    let list: Vec<Value> = findings.iter().map(|f| json!({ "key": f.key, "advice": f.advice, "fatal": f.fatal })).collect();
    say(common, &Value::Array(list), || {
        if findings.is_empty() {
            return "the configuration is sound".to_owned();
        }
        findings.iter().map(|f| format!("{} {}: {}", if f.fatal { "error" } else { "advice" }, f.key, f.advice)).collect::<Vec<_>>().join("\n")
    });
    Ok(if fatal { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The longest that a token of the folder's own issuer is valid.
const TOKEN_TTL_MAX: Duration = Duration::from_secs(366 * 24 * 3600);

fn token(common: &Common, args: &TokenArgs) -> anyhow::Result<ExitCode> {
    let config = load(common)?;
    let role: Role = args.role.parse().with_context(|| format!("--role {}", args.role))?;
    let org = args.org.as_deref().map(OdsCode::parse).transpose().context("--org")?.unwrap_or_else(|| config.controller_ods.clone());
    let home = args.home.as_deref().map(HomeId::parse).transpose().context("--home")?;
    if (role == Role::CareHome) != home.is_some() {
        bail!("--home goes with --role care_home, and only with it");
    }
    let ttl = up::duration(&args.ttl).context("--for")?;
    if ttl > TOKEN_TTL_MAX {
        bail!("--for {}: a token is valid for at most 366 days", args.ttl);
    }
    if !config.data.folder.is_dir() {
        bail!(
            "there is no data folder {}: name the right one with --folder, or make it with `hearthline migrate` or `hearthline up`",
            config.data.folder.display()
        );
    }
    let issuer = Issuer::open(&config.data.folder, &config.auth.issuer, &config.auth.audience)?;
    let subject = args.subject.clone().unwrap_or_else(|| format!("{role} at {org}"));
    let grant = Grant { subject, role, org, home, session: true };
    let token = issuer.token(&grant, std::time::SystemTime::now(), ttl)?;
    say(common, &json!({ "token": token }), || token.clone());
    Ok(ExitCode::SUCCESS)
}

fn status_text(status: &Value) -> String {
    let mut lines = vec![format!("{:<18} {:>9} {:>9} {:>6} {:>7} {:>11} {:>7}", "service", "position", "published", "lag", "timers", "deliveries", "parked")];
    for s in status["services"].as_array().into_iter().flatten() {
        let lag: i64 = s["subscriptions"].as_array().into_iter().flatten().filter_map(|s| s["lag"].as_i64()).sum();
        lines.push(format!(
            "{:<18} {:>9} {:>9} {:>6} {:>7} {:>11} {:>7}",
            s["name"].as_str().unwrap_or(""),
            s["position"].as_i64().unwrap_or(0),
            s["relayed"].as_i64().unwrap_or(0),
            lag,
            s["timers_due"].as_i64().unwrap_or(0),
            s["deliveries_open"].as_i64().unwrap_or(0),
            s["parked"].as_i64().unwrap_or(0)
        ));
    }
    for s in status["services"].as_array().into_iter().flatten().filter(|s| s["republish"].is_object()) {
        lines.push(format!("{}: {} of {} events published again", s["name"].as_str().unwrap_or(""), s["republish"]["sent"], s["republish"]["of"]));
    }
    lines.push(if status["settled"] == Value::Bool(true) { "everything is settled".to_owned() } else { "work is under way".to_owned() });
    lines.join("\n")
}

/// What is not well, a line each.
fn readiness_text(report: &Value) -> String {
    let failing = report["checks"].as_array().into_iter().flatten().filter(|check| check["ok"] != Value::Bool(true));
    let lines: Vec<String> =
        failing.map(|check| format!("{}: {}", check["name"].as_str().unwrap_or("?"), check["problem"].as_str().unwrap_or("failing"))).collect();
    if lines.is_empty() { "ready".to_owned() } else { lines.join("\n") }
}

async fn parked(common: &Common, command: ParkedCommand) -> anyhow::Result<ExitCode> {
    let client = client(common)?;
    let ask = |select: ParkedSelect, reason: Option<String>| json!({ "service": select.service, "topic": select.topic, "partition": select.partition, "offset": select.offset, "dry_run": select.dry_run, "reason": reason });
    let answer = match command {
        ParkedCommand::List => client.get("/ops/parked").await?,
        ParkedCommand::Show { service, topic, partition, offset } => client.get(&format!("/ops/parked/{service}/{topic}/{partition}/{offset}")).await?,
        ParkedCommand::Retry(select) => client.post("/ops/parked/retry", &ask(select, None)).await?,
        ParkedCommand::Discard { select, reason } => client.post("/ops/parked/discard", &ask(select, Some(reason))).await?,
    };
    say(common, &answer, || table(&answer, "records", &["service", "topic", "partition", "offset", "held", "why", "request"]));
    Ok(ExitCode::SUCCESS)
}

async fn deliveries(common: &Common, command: DeliveriesCommand) -> anyhow::Result<ExitCode> {
    let client = client(common)?;
    let answer = match command {
        DeliveriesCommand::List { state } => client.get(&format!("/ops/deliveries{}", state.map(|s| format!("?state={s}")).unwrap_or_default())).await?,
        DeliveriesCommand::Confirm { id, reference } => client.post(&format!("/ops/deliveries/{id}/confirm"), &json!({ "reference": reference })).await?,
        DeliveriesCommand::Resend { id } => client.post(&format!("/ops/deliveries/{id}/resend"), &json!({})).await?,
    };
    say(common, &answer, || table(&answer, "deliveries", &["id", "service", "kind", "destination", "state", "attempt", "code"]));
    Ok(ExitCode::SUCCESS)
}

/// A list of an answer as columns; other answers as they are.
pub(crate) fn table(answer: &Value, list: &str, columns: &[&str]) -> String {
    let Some(rows) = answer[list].as_array() else { return format!("{answer:#}") };
    if rows.is_empty() {
        return "none".to_owned();
    }
    let cell = |v: &Value| match v {
        Value::Null => "-".to_owned(),
        Value::String(s) => s.clone(),
        Value::Array(items) if items.is_empty() => "-".to_owned(),
        Value::Array(items) if items.iter().all(Value::is_string) => items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    };
    let widths: Vec<usize> = columns.iter().map(|c| rows.iter().map(|r| cell(&r[*c]).chars().count()).chain([c.len()]).max().unwrap_or(0)).collect();
    let line = |cells: Vec<String>| cells.iter().zip(&widths).map(|(c, w)| format!("{c:<w$}")).collect::<Vec<_>>().join("  ").trim_end().to_owned();
    let mut lines = vec![line(columns.iter().map(|c| (*c).to_owned()).collect())];
    lines.extend(rows.iter().map(|r| line(columns.iter().map(|c| cell(&r[*c])).collect())));
    lines.join("\n")
}

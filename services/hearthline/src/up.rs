//! The all-in-one: every service in one process, on one folder.
//!
//! 1. lock the folder, open the log and the keyring, open each service's store;
//! 2. build the services on their ports, mount their routes on one port;
//! 3. start their workers; the relays compare stores and log; then the process is ready and writes `admin.json`;
//! 4. on a stop: listeners first, then workers, then stores.

use crate::ops::{self, Operated, Ops};
use anyhow::{Context, bail};
use hearthline_contracts::envelope::Environment;
use hearthline_eventing::recover::{self, Report};
use hearthline_eventing::{Kernel, View, Workers};
use hearthline_runtime::admin::{AdminFile, Listening};
use hearthline_runtime::auth::{Grant, Issuer, KeySource, Role, Verifier, VerifierOptions};
use hearthline_runtime::config::{AuthKeys, Config, MailTls};
use hearthline_runtime::connect::{Backend, Connected, Servers};
use hearthline_runtime::health::Health;
use hearthline_runtime::http::{AccessRow, Shell, access_table, bind, serve};
use hearthline_runtime::lock::DataFolder;
use hearthline_runtime::service::Built;
use hearthline_runtime::supervisor::{Stage, Supervisor, stop_signal};
use hearthline_runtime::telemetry::Telemetry;
use hearthline_sandbox::Sandbox;
use hearthline_store::Managed;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// The services, in the order in which they are listed.
pub const SERVICES: &[&str] = &[
    hearthline_call_intake::NAME,
    hearthline_clinical_outcome::NAME,
    hearthline_prescribing::NAME,
    hearthline_shared_record::NAME,
    hearthline_kpi_projection::NAME,
    hearthline_pas_gateway::NAME,
    hearthline_directory::NAME,
];

/// How long the operator's token in `admin.json` is valid; the file lies beside the key that signed it.
const ADMIN_TOKEN: Duration = Duration::from_secs(366 * 24 * 3600);
/// How long a command waits for facts of other topics that it names.
const PATIENCE: Duration = Duration::from_secs(2);

/// A started all-in-one.
pub struct Started {
    pub http: SocketAddr,
    pub mllp: Option<SocketAddr>,
    /// Further MLLP listeners by name.
    pub listeners: Vec<(String, SocketAddr)>,
    pub access: Vec<AccessRow>,
    pub ops: Ops,
    pub health: Arc<Health>,
    pub sandbox: Option<Sandbox>,
    supervisor: Supervisor,
    folder: DataFolder,
    backend: Backend,
    patience: Duration,
}

/// `hearthline up` and `hearthline serve`.
pub fn run(config: &Config, sandbox: bool, only: Option<&str>, until_stdin_closes: bool) -> anyhow::Result<ExitCode> {
    let mut settings = config.telemetry.clone();
    if let Some(service) = only {
        // One of several processes: traces and metrics say which.
        settings.service_name = format!("{}-{service}", settings.service_name);
    }
    let telemetry = Arc::new(Telemetry::start(&settings)?);
    telemetry.set_global()?;
    hearthline_runtime::telemetry::log_panics_without_their_message();
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.enable_all();
    telemetry.attach(&mut builder);
    let runtime = builder.build().context("the asynchronous runtime does not start")?;
    let outcome = runtime.block_on(async {
        let started = start(config, &telemetry, sandbox, only).await?;
        announce(&started, config, only);
        let signalled = async { stop_signal().await.unwrap_or_else(|error| tracing::error!(%error, "signals cannot be listened to")) };
        let abandoned = abandoned(until_stdin_closes);
        started
            .run(async {
                tokio::select! {
                    () = signalled => {}
                    () = abandoned => {}
                }
            })
            .await
    });
    drop(runtime);
    telemetry.stop();
    outcome.map(|()| ExitCode::SUCCESS)
}

/// Ends when whoever holds the other end of standard input is gone; never where that is not asked for.
async fn abandoned(asked: bool) {
    if !asked {
        return std::future::pending().await;
    }
    let (tell, told) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        // An end of file and an error say the same: nobody is there.
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        let _ = tell.send(());
    });
    let _ = told.await;
}

fn announce(started: &Started, config: &Config, only: Option<&str>) {
    println!("Hearthline {} in environment {} on {}", env!("CARGO_PKG_VERSION"), config.environment.as_str(), started.folder.path().display());
    match only {
        Some(service) if config.distributed.is_some() => println!("  service {service}"),
        Some(service) => println!("  only   {service}; the other services do not run meanwhile"),
        None => println!(
            "  page   http://{}/  (a token: hearthline --folder {} token --role analyst --org {})",
            started.http,
            started.folder.path().display(),
            config.controller_ods
        ),
    }
    println!("  http   http://{}", started.http);
    if let Some(mllp) = started.mllp {
        println!("  mllp   {mllp}");
    }
    for (name, address) in &started.listeners {
        println!("  mllp   {address}  ({name})");
    }
    if let Some(sandbox) = &started.sandbox {
        let urls = sandbox.urls();
        println!(
            "  sandbox, in memory, for trying out: prescriptions {}, shared record {}, mail {} (what arrived: {}/_sandbox/mails)",
            urls.eps, urls.fhir, urls.smtp, urls.smtp_control
        );
    }
    match &config.distributed {
        Some((postgres, kafka)) => println!("  on PostgreSQL {}:{} and Kafka {}", postgres.host, postgres.port, kafka.brokers),
        None => println!("  one process on one machine: no failover; back the folder up while it is stopped"),
    }
}

/// Starts everything and returns once it is ready.
pub async fn start(config: &Config, telemetry: &Arc<Telemetry>, sandbox: bool, only: Option<&str>) -> anyhow::Result<Started> {
    let folder = DataFolder::open_or_create(&config.data.folder)?;
    let environment = environment(config);
    let sandbox = if sandbox {
        if environment == Environment::Live {
            bail!("sandbox servers do not run in environment live: configure [eps] url, [shared_record] url and [mail] host, and start with --no-sandbox");
        }
        Some(Sandbox::start(hearthline_sandbox::Ports::default()).await?)
    } else {
        None
    };
    let backend = backend(config, folder.path()).await?;
    let issuer = match &config.auth.keys {
        AuthKeys::Own => Some(Issuer::open(folder.path(), &config.auth.issuer, &config.auth.audience)?),
        AuthKeys::File(_) | AuthKeys::Url(_) => None,
    };
    let shell = Shell::builder(Arc::new(Verifier::new(verifier_options(config, issuer.as_ref()))?))
        .controller(config.controller_ods.clone())
        .body_limit(config.server.body_limit_bytes)
        .requests_per_second(config.server.requests_per_second)
        .meter(telemetry.meter("hearthline"))
        .dispatch(telemetry.dispatch().clone())
        .build();

    let mut router = axum::Router::new();
    let mut supervisor = Supervisor::new();
    let health = Arc::new(Health::new());
    let (mut access, mut operated, mut mllp, mut listeners, mut log) = (Vec::new(), Vec::new(), None, Vec::new(), None);
    for name in SERVICES.iter().filter(|name| only.is_none_or(|o| o == **name)) {
        let (connected, built) = build(name, config, &backend, &shell, sandbox.as_ref()).await?;
        let Built { name, kernel, router: routes, access: rows, workers, tasks, addresses } = built;
        router = router.merge(routes);
        access.extend(rows);
        mllp = mllp.or(addresses.iter().find(|(n, _)| n == "mllp").map(|(_, a)| *a));
        listeners.extend(addresses.into_iter().filter_map(|(n, a)| Some((n.strip_prefix("mllp:")?.to_owned(), a))));
        log.get_or_insert(connected.ports.log);
        operated.push(Operated { name, kernel, store: connected.store, couriers: workers.couriers.clone() });
        spawn_workers(&mut supervisor, name, workers);
        for (task, run) in tasks {
            supervisor.spawn(Stage::Edge, format!("{name} {task}"), move |token| async move { run(token).await.map_err(Into::into) });
        }
    }
    let ops = Ops { services: Arc::new(operated), log: log.context("no service was built")? };
    let routes = ops::routes();
    access.extend(access_table(&routes));
    router = router.merge(shell.mount(routes, ops.clone())).merge(health.router()).merge(telemetry.router());
    watch(&mut supervisor, &health, &ops, telemetry);

    let (listener, http) = bind(config.server.listen).await?;
    let patience = Duration::from_secs(config.server.shutdown_s);
    let router = shell.finish(router);
    supervisor.spawn(Stage::Edge, "http", move |token| async move { Ok(serve(listener, router, token, patience).await?) });

    ready(&ops, &supervisor, config.distributed.is_none()).await?;
    let token = issuer.map(|issuer| {
        let grant =
            Grant { subject: "operator of this folder".to_owned(), role: Role::Operator, org: config.controller_ods.clone(), home: None, session: true };
        issuer.token(&grant, SystemTime::now(), ADMIN_TOKEN)
    });
    let takes_tls = |name: &str| config.mllp.listeners.iter().any(|listener| listener.name == name && listener.tls.is_some());
    let admin = AdminFile {
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at_us: hearthline_eventing::now_us(),
        http,
        mllp,
        listeners: listeners.iter().map(|(name, address)| (name.clone(), Listening { address: *address, tls: takes_tls(name) })).collect(),
        token: token.transpose()?,
    };
    admin.write(folder.path())?;
    Ok(Started { http, mllp, listeners, access, ops, health, sandbox, supervisor, folder, backend, patience })
}

impl Started {
    /// Runs until `stop`, or until something ends unplanned.
    pub async fn run(self, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
        let Started { ops, sandbox, supervisor, folder, backend, patience, .. } = self;
        let outcome = supervisor.run(stop, patience).await;
        AdminFile::remove(folder.path())?;
        for service in ops.services.iter() {
            service.store.close().await;
        }
        backend.close().await;
        if let Some(sandbox) = sandbox {
            sandbox.stop().await;
        }
        drop(folder);
        Ok(outcome?)
    }
}

/// What stands behind the services: servers where they are configured, else the folder.
async fn backend(config: &Config, folder: &Path) -> anyhow::Result<Backend> {
    let (environment, controller) = (environment(config), config.controller_ods.as_str());
    Ok(match servers(config) {
        Some(servers) => Backend::servers(servers, environment, controller),
        None => Backend::open(folder, config.keyring.kek_file.as_deref(), environment, controller).await?,
    })
}

/// The servers of the distributed edition, where they are configured.
pub fn servers(config: &Config) -> Option<Servers> {
    let (postgres, kafka) = config.distributed.clone()?;
    let kek_file = config.keyring.kek_file.clone().expect("the configuration was refused without it");
    Some(Servers { postgres, kafka, kek_file })
}

/// Creates or updates the tables of every service; a folder must not be in use.
pub async fn migrate(config: &Config) -> anyhow::Result<Vec<&'static str>> {
    if let Some(servers) = servers(config) {
        servers.migrate_keyring().await?;
        for name in SERVICES {
            servers.migrate(name, &views(name).1).await?;
        }
        return Ok(SERVICES.to_vec());
    }
    let folder = DataFolder::open_or_create(&config.data.folder)?;
    let backend = backend(config, folder.path()).await?;
    for name in SERVICES {
        connect(name, &backend).await?.store.close().await;
    }
    backend.close().await;
    Ok(SERVICES.to_vec())
}

/// The stores of the service named, or of all, on servers; for what no single process can do.
pub async fn stores(config: &Config, only: Option<&str>) -> anyhow::Result<Vec<(&'static str, Arc<dyn Managed>)>> {
    let backend = backend(config, &config.data.folder).await?;
    let mut stores = Vec::new();
    for name in SERVICES.iter().filter(|name| only.is_none_or(|o| o == **name)) {
        stores.push((*name, connect(name, &backend).await?.store));
    }
    backend.close().await;
    Ok(stores)
}

/// Mends the stores of the services named, or of all, against the log; a folder must not be in use, and on servers nobody may hold
/// the service's lease.
pub async fn recover(config: &Config, only: Option<&str>, dry_run: bool) -> anyhow::Result<Vec<(&'static str, Report)>> {
    let _lock = if config.distributed.is_none() { Some(DataFolder::open_existing(&config.data.folder)?) } else { None };
    let backend = backend(config, &config.data.folder).await?;
    let mut reports = Vec::new();
    for name in SERVICES.iter().filter(|name| only.is_none_or(|o| o == **name)) {
        let connected = connect(name, &backend).await?;
        let recovered = recover::recover(&Kernel::new(name, views(name).0, &connected.ports), dry_run).await;
        connected.store.close().await;
        reports.push((*name, recovered.with_context(|| format!("{name} was not recovered"))?));
    }
    backend.close().await;
    Ok(reports)
}

/// `8h`, `30m`, `45s`, `7d`.
pub fn duration(text: &str) -> anyhow::Result<Duration> {
    let unit = text.chars().last().unwrap_or(' ');
    let number = text.strip_suffix(unit).and_then(|n| n.parse::<u64>().ok()).with_context(|| format!("{text:?} is not a duration like 8h, 30m, 45s or 7d"))?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => bail!("{text:?} is not a duration like 8h, 30m, 45s or 7d"),
    };
    Ok(Duration::from_secs(number * seconds))
}

fn environment(config: &Config) -> Environment {
    use hearthline_runtime::config::Environment as E;
    match config.environment {
        E::Test => Environment::Test,
        E::Live => Environment::Live,
        E::Training => Environment::Training,
    }
}

fn verifier_options(config: &Config, issuer: Option<&Issuer>) -> VerifierOptions {
    let keys = match (&config.auth.keys, issuer) {
        (_, Some(issuer)) => return issuer.verifier_options(config.auth.clock_leeway_s),
        (AuthKeys::Url(url), None) => KeySource::Url(url.clone()),
        (AuthKeys::File(path), None) => KeySource::File(path.clone()),
        (AuthKeys::Own, None) => unreachable!("the folder's own issuer was opened"),
    };
    VerifierOptions { issuer: config.auth.issuer.clone(), audience: config.auth.audience.clone(), leeway_s: config.auth.clock_leeway_s, keys }
}

/// The topic and the projections of a service.
pub fn views(service: &str) -> (&'static hearthline_contracts::topics::Topic, Vec<Arc<dyn View>>) {
    match service {
        hearthline_call_intake::NAME => (hearthline_call_intake::TOPIC, hearthline_call_intake::views()),
        hearthline_clinical_outcome::NAME => (hearthline_clinical_outcome::TOPIC, hearthline_clinical_outcome::views()),
        hearthline_prescribing::NAME => (hearthline_prescribing::TOPIC, hearthline_prescribing::views()),
        hearthline_shared_record::NAME => (hearthline_shared_record::TOPIC, hearthline_shared_record::views()),
        hearthline_kpi_projection::NAME => (hearthline_kpi_projection::TOPIC, hearthline_kpi_projection::views()),
        hearthline_pas_gateway::NAME => (hearthline_pas_gateway::TOPIC, hearthline_pas_gateway::views()),
        hearthline_directory::NAME => (hearthline_directory::TOPIC, hearthline_directory::views()),
        other => unreachable!("{other} is not one of the services"),
    }
}

async fn connect(name: &'static str, backend: &Backend) -> anyhow::Result<Connected> {
    let (topic, views) = views(name);
    Ok(backend.connect(name, topic, views).await?)
}

/// Connects, and waits for servers that are not there yet; what only a person can mend ends the process at once.
async fn connect_when_there(name: &'static str, backend: &Backend) -> anyhow::Result<Connected> {
    let mut patience = Duration::from_millis(500);
    loop {
        let (topic, views) = views(name);
        match backend.connect(name, topic, views).await {
            Err(error) if error.may_pass() => {
                let error = anyhow::Error::from(error);
                tracing::warn!(error = format!("{error:#}"), service = name, "waiting for the server; it is tried again");
                tokio::time::sleep(patience).await;
                patience = (patience * 2).min(Duration::from_secs(10));
            }
            done => return Ok(done?),
        }
    }
}

fn spawn_workers(supervisor: &mut Supervisor, name: &'static str, workers: Workers) {
    supervisor.spawn(Stage::Work, format!("{name} workers"), move |token| async move { Ok(workers.run(token).await?) });
}

/// Waits until every relay has compared its store with the log. `limited`: both are on this machine, and a wait is a fault; else
/// whatever is away may come back.
async fn ready(ops: &Ops, supervisor: &Supervisor, limited: bool) -> anyhow::Result<()> {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    let stopper = supervisor.stopper();
    loop {
        let closed: Vec<String> = ops.services.iter().filter_map(|s| s.kernel.store.opened().err().map(|why| format!("{}: {why}", s.name))).collect();
        if closed.is_empty() {
            return Ok(());
        }
        if stopper.is_cancelled()
            || (limited && tokio::time::Instant::now() > deadline)
            || closed.iter().any(|c| ["StoreBehindLog", "TopicRecreated", "PartitionLost", "RecoveryUnfinished"].iter().any(|name| c.contains(name)))
        {
            bail!("not ready: {}", closed.join("; "));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Readiness and gauges, looked at twice a second and every five seconds.
fn watch(supervisor: &mut Supervisor, health: &Arc<Health>, ops: &Ops, telemetry: &Arc<Telemetry>) {
    let checks: Vec<_> = ops.services.iter().map(|s| health.readiness(s.name)).collect();
    let (ops, meter) = (ops.clone(), telemetry.meter("hearthline"));
    supervisor.spawn(Stage::Work, "watch", move |token| async move {
        let position = meter.i64_gauge("hearthline.position").with_description("Newest event of a service").build();
        let lag = meter.i64_gauge("hearthline.consumer.lag").with_description("Records of a topic that a service has not taken").build();
        let waiting = meter.i64_gauge("hearthline.waiting").with_description("Deliveries open or unconfirmed, timers due, records parked, per service").build();
        let taken = meter.i64_gauge("hearthline.dispositions").with_description("Records by what became of them").build();
        let silent =
            meter.i64_gauge("hearthline.feed.silent").with_description("1 while a hospital feed is silent for longer than was learned of it or agreed").build();
        for turn in 0u64.. {
            for (service, check) in ops.services.iter().zip(&checks) {
                match service.kernel.store.opened() {
                    Ok(()) => check.well(),
                    Err(why) => check.failing(why, "see the log; `hearthline doctor` says what to do"),
                }
            }
            if turn % 10 == 0
                && let Ok(status) = ops.status().await
            {
                use opentelemetry::KeyValue;
                for s in status["services"].as_array().into_iter().flatten() {
                    let name = s["name"].as_str().unwrap_or_default().to_owned();
                    let at = [KeyValue::new("service", name.clone())];
                    position.record(s["position"].as_i64().unwrap_or(0), &at);
                    for subscription in s["subscriptions"].as_array().into_iter().flatten() {
                        let topic = subscription["topic"].as_str().unwrap_or_default().to_owned();
                        lag.record(subscription["lag"].as_i64().unwrap_or(0), &[KeyValue::new("service", name.clone()), KeyValue::new("topic", topic)]);
                    }
                    for what in ["timers_due", "deliveries_open", "deliveries_unconfirmed", "parked"] {
                        waiting.record(s[what].as_i64().unwrap_or(0), &[KeyValue::new("service", name.clone()), KeyValue::new("what", what)]);
                    }
                    let mut by_kind = std::collections::BTreeMap::<String, i64>::new();
                    for d in s["dispositions"].as_array().into_iter().flatten() {
                        *by_kind.entry(d["kind"].as_str().unwrap_or_default().to_owned()).or_default() += d["count"].as_i64().unwrap_or(0);
                    }
                    for (kind, n) in by_kind {
                        taken.record(n, &[KeyValue::new("service", name.clone()), KeyValue::new("kind", kind)]);
                    }
                }
                if let Some(gateway) = ops.services.iter().find(|s| s.name == hearthline_pas_gateway::NAME)
                    && let Ok(feeds) = hearthline_pas_gateway::feeds::silent(gateway.kernel.store.as_ref()).await
                {
                    for (feed, is_silent) in feeds {
                        silent.record(i64::from(is_silent), &[KeyValue::new("feed", feed)]);
                    }
                }
            }
            tokio::select! {
                () = token.cancelled() => break,
                () = tokio::time::sleep(Duration::from_millis(500)) => {}
            }
        }
        Ok(())
    });
}

/// Connects one service and builds it from the configuration.
async fn build(name: &'static str, config: &Config, backend: &Backend, shell: &Shell, sandbox: Option<&Sandbox>) -> anyhow::Result<(Connected, Built)> {
    let connected = connect_when_there(name, backend).await?;
    // Closed from the first moment, so that a listener that is quicker than the relay takes nothing.
    connected.ports.store.set_open(Err("its store is not compared with the log yet".to_owned()));
    let ports = &connected.ports;
    let late_entry_days = config.limits.late_entry_days;
    let live = environment(config) == Environment::Live;
    let organisation_name = config.controller_ods.to_string();
    let built = match name {
        hearthline_call_intake::NAME => {
            let options = hearthline_call_intake::Options { opening: config.hub.opening.clone(), late_entry_days, live, patience: PATIENCE };
            hearthline_call_intake::build(options, ports, shell)
        }
        hearthline_clinical_outcome::NAME => {
            hearthline_clinical_outcome::build(hearthline_clinical_outcome::Options { late_entry_days, live, patience: PATIENCE }, ports, shell)
        }
        hearthline_prescribing::NAME => {
            let eps_url = config.eps.url.clone().or_else(|| sandbox.map(|s| s.urls().eps));
            hearthline_prescribing::build(hearthline_prescribing::Options { eps_url, organisation_name, late_entry_days }, ports, shell).await?
        }
        hearthline_shared_record::NAME => {
            let record_url = config.shared_record.url.clone().or_else(|| sandbox.map(|s| s.urls().fhir));
            let options = hearthline_shared_record::Options {
                record_url,
                destination: config.shared_record.destination.clone(),
                mail: mail_server(config, sandbox),
                organisation_name,
            };
            hearthline_shared_record::build(options, ports, shell).await?
        }
        hearthline_kpi_projection::NAME => hearthline_kpi_projection::build((&config.kpi).into(), ports, shell),
        hearthline_pas_gateway::NAME => {
            let options = hospitals(config);
            hearthline_pas_gateway::build(options, ports, shell).await?
        }
        hearthline_directory::NAME => hearthline_directory::build(hearthline_directory::Options { late_entry_days }, ports, shell).await?,
        other => unreachable!("{other} is not one of the services"),
    };
    Ok((connected, built))
}

/// The gateway's listeners and peers.
pub fn hospitals(config: &Config) -> hearthline_pas_gateway::Options {
    use hearthline_pas_gateway::peer::{Accepts, Acknowledgement, Agreement, DEFAULT_LISTENER, Listener, Mode, Peer, Tls};
    use hearthline_runtime::config::{MllpAcknowledgement as A, MllpMode, MllpReply};
    let seconds = |s: u64| (s > 0).then(|| Duration::from_secs(s));
    let mllp = &config.mllp;
    let own = Listener { name: DEFAULT_LISTENER.to_owned(), listen: mllp.listen, tls: None };
    let further = mllp.listeners.iter().map(|l| Listener {
        name: l.name.clone(),
        listen: l.listen,
        tls: l.tls.as_ref().map(|t| Tls {
            certificate_file: t.certificate_file.clone(),
            key_file: t.key_file.clone(),
            client_ca_file: t.client_ca_file.clone(),
        }),
    });
    let peer = |p: &hearthline_runtime::config::MllpPeer| Peer {
        name: p.name.clone(),
        facility_ods: p.facility_ods.clone(),
        sending_facilities: p.sending_facilities.clone(),
        client_names: p.client_names.clone(),
        listener: p.listener.clone().unwrap_or_else(|| DEFAULT_LISTENER.to_owned()),
        acknowledgement: match p.acknowledgement {
            A::AsAsked => Acknowledgement::AsAsked,
            A::Original => Acknowledgement::Original,
            A::Enhanced => Acknowledgement::Enhanced,
        },
        accepts: match p.reply {
            MllpReply::Aa => Accepts::Aa,
            MllpReply::Ca => Accepts::Ca,
        },
        charset: p.charset.clone(),
        time_zone: p.time_zone.clone(),
        frame_limit: p.frame_limit_bytes,
        in_flight: p.in_flight,
        idle: seconds(p.idle_s),
        partial_frame: Duration::from_secs(p.partial_frame_s),
        mode: match p.mode {
            MllpMode::Shadow => Mode::Shadow,
            MllpMode::Live => Mode::Live,
        },
        profile: p.profile.clone(),
        home_level_visits: p.home_level_visits.as_ref().map(|a| Agreement { from: a.from, purpose: a.purpose.clone(), lawful_basis: a.lawful_basis.clone() }),
        back_fill_days: p.back_fill_days,
        silence: p.silence_m.and_then(|m| seconds(60 * u64::from(m))),
    };
    hearthline_pas_gateway::Options {
        listeners: std::iter::once(own).chain(further).collect(),
        frame_limit: mllp.frame_limit_bytes,
        timings: hearthline_pas_gateway::mllp::Timings::default(),
        kept_days: mllp.kept_days,
        peers: mllp.peers.iter().map(peer).collect(),
    }
}

/// The configured mail server, else the sandbox's.
fn mail_server(config: &Config, sandbox: Option<&Sandbox>) -> Option<hearthline_shared_record::MailServer> {
    let mail = &config.mail;
    let (host, port, tls) = match (&mail.host, sandbox) {
        (Some(host), _) => (host.clone(), mail.port, mail.tls),
        (None, Some(sandbox)) => {
            let address = sandbox.smtp.addr();
            (address.ip().to_string(), address.port(), MailTls::None)
        }
        (None, None) => return None,
    };
    Some(hearthline_shared_record::MailServer { host, port, from: mail.from.clone(), tls, login: mail.login.clone() })
}

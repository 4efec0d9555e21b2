//! A whole system in this process on a folder of its own, with one home registered, for what is measured end to end.

use super::{Options, bed};
use crate::up::{self, Started};
use anyhow::{Context, bail};
use hearthline_nhs::OdsCode;
use hearthline_runtime::auth::{Grant, Issuer, Role};
use hearthline_runtime::config::{Config, Sources};
use hearthline_runtime::connect::Servers;
use hearthline_runtime::telemetry::Telemetry;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio_util::sync::CancellationToken;

pub(crate) struct System {
    pub(crate) http: SocketAddr,
    pub(crate) mllp: Option<SocketAddr>,
    pub(crate) home: String,
    pub(crate) operator: String,
    pub(crate) call_handler: String,
    pub(crate) ops: crate::ops::Ops,
    stop: CancellationToken,
    running: tokio::task::JoinHandle<anyhow::Result<()>>,
    servers: Option<Servers>,
    _folder: tempfile::TempDir,
}

impl System {
    /// Starts every service, or after registering a home only one of them.
    pub(crate) async fn start(options: &Options, only: Option<&'static str>) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir_in(&options.folder).context("no folder for the measurement")?;
        let overrides = [
            format!("data.folder={}", folder.path().display()),
            "server.listen=127.0.0.1:0".to_owned(),
            "server.requests_per_second=0".to_owned(),
            "mllp.listen=127.0.0.1:0".to_owned(),
            "controller_ods=X26".to_owned(),
            "telemetry.log_level=error".to_owned(),
            "hub.hours=24/7".to_owned(),
        ];
        let file = folder.path().join("bench.toml");
        std::fs::write(
            &file,
            "[[mllp.peer]]\nname = \"bench\"\nfacility_ods = \"RN1\"\nhome_level_visits_from = \"2020-01-01\"\nhome_level_visits_purpose = \"evaluation of the telemedicine service\"\nhome_level_visits_lawful_basis = \"UK GDPR 6(1)(e)\"\n",
        )?;
        let mut config = Config::load(&Sources { file: Some(file), environment: Vec::new(), overrides: overrides.to_vec() })?;
        let servers = match &options.servers {
            Some(servers) => {
                let own = bed::namespace(servers, &folder).await?;
                config.distributed = Some((own.postgres.clone(), own.kafka.clone()));
                config.keyring.kek_file = Some(own.kek_file.clone());
                up::migrate(&config).await?;
                Some(own)
            }
            None => None,
        };
        let telemetry = Arc::new(Telemetry::start(&config.telemetry)?);
        let issuer = Issuer::open(folder.path(), &config.auth.issuer, &config.auth.audience)?;
        let token = |role| {
            let grant = Grant { subject: format!("bench {role}"), role, org: OdsCode::parse("X26").expect("a valid code"), home: None, session: true };
            issuer.token(&grant, SystemTime::now(), Duration::from_secs(24 * 3600))
        };
        let (operator, call_handler) = (token(Role::Operator)?, token(Role::CallHandler)?);

        let (started, stop, running) = spawn(&config, &telemetry, None).await?;
        let home = register_home(started.0, &operator).await?;
        wait_settled(&started.2, Duration::from_secs(30)).await?;
        let (started, stop, running) = match only {
            None => (started, stop, running),
            Some(service) => {
                stop.cancel();
                running.await??;
                spawn(&config, &telemetry, Some(service)).await?
            }
        };
        let (http, mllp, ops) = started;
        Ok(System { http, mllp, home, operator, call_handler, ops, stop, running, servers, _folder: folder })
    }

    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.stop.cancel();
        self.running.await??;
        match &self.servers {
            Some(servers) => bed::clear(servers).await,
            None => Ok(()),
        }
    }
}

type Addresses = (SocketAddr, Option<SocketAddr>, crate::ops::Ops);

async fn spawn(
    config: &Config,
    telemetry: &Arc<Telemetry>,
    only: Option<&str>,
) -> anyhow::Result<(Addresses, CancellationToken, tokio::task::JoinHandle<anyhow::Result<()>>)> {
    let started: Started = up::start(config, telemetry, only.is_none(), only).await?;
    let addresses = (started.http, started.mllp, started.ops.clone());
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let running = tokio::spawn(async move { started.run(stopped.cancelled_owned()).await });
    Ok((addresses, stop, running))
}

async fn register_home(http: SocketAddr, operator: &str) -> anyhow::Result<String> {
    let csv = "ods_code,name,address_line_1,town,postcode,beds,home_type,controller_ods,live_from\nVN001,Bench House,1 Bench Lane,Portsmouth,PO1 1AA,40,nursing,X26,2020-01-01T00:00:00Z\n";
    let response = hearthline_runtime::client::build(|c| c)?
        .post(format!("http://{http}/registers/homes"))
        .bearer_auth(operator)
        .header("idempotency-key", "bench-homes")
        .header("content-type", "text/csv")
        .body(csv)
        .send()
        .await?;
    let status = response.status();
    let body: serde_json::Value = response.json().await?;
    if !status.is_success() {
        bail!("the home was not registered: {body}");
    }
    body["rows"][0]["id"].as_str().map(str::to_owned).context("the register gave no id")
}

/// Waits until every consumer has caught up.
pub(crate) async fn wait_settled(ops: &crate::ops::Ops, at_most: Duration) -> anyhow::Result<()> {
    let deadline = Instant::now() + at_most;
    loop {
        let status = ops.status().await.map_err(|p| anyhow::anyhow!("status: {}", p.code()))?;
        if status["settled"] == serde_json::Value::Bool(true) {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("the system does not settle: {status}");
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

//! The serving process: `hearthline up` as a child of the driver, killed and started again where the run says so.

use std::fs::OpenOptions;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use hearthline_runtime::admin::AdminFile;
use tokio::process::{Child, Command};
use tokio::sync::{Mutex, watch};

/// Where the child's output goes, in the data folder.
pub const LOG_FILE: &str = "serving.log";
const READY_WITHIN: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Where the child listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    pub http: SocketAddr,
    pub mllp: SocketAddr,
}

pub struct Serving {
    program: PathBuf,
    folder: PathBuf,
    config: PathBuf,
    child: Mutex<Child>,
    addresses: watch::Sender<Addresses>,
    kills: AtomicU32,
    http: reqwest::Client,
}

impl Serving {
    /// Starts the process and waits until it is ready.
    pub async fn start(program: PathBuf, folder: &Path, config: &Path) -> anyhow::Result<Self> {
        let http = hearthline_runtime::client::build(|c| c.timeout(Duration::from_secs(5)))?;
        let mut child = spawn(&program, folder, config)?;
        let addresses = ready(&mut child, folder, &http).await?;
        Ok(Self {
            program,
            folder: folder.to_owned(),
            config: config.to_owned(),
            child: Mutex::new(child),
            addresses: watch::Sender::new(addresses),
            kills: AtomicU32::new(0),
            http,
        })
    }

    /// Where it listens now; a restart takes new ports.
    pub fn addresses(&self) -> Addresses {
        *self.addresses.borrow()
    }

    /// How often it has been killed.
    pub fn kills(&self) -> u32 {
        self.kills.load(Ordering::Relaxed)
    }

    /// SIGKILL in the middle of whatever it does, then the same again on the same folder.
    pub async fn kill_and_restart(&self) -> anyhow::Result<()> {
        let mut child = self.child.lock().await;
        child.kill().await.context("the serving process cannot be killed")?;
        self.kills.fetch_add(1, Ordering::Relaxed);
        *child = spawn(&self.program, &self.folder, &self.config)?;
        let addresses = ready(&mut child, &self.folder, &self.http).await?;
        self.addresses.send_replace(addresses);
        Ok(())
    }

    /// Whether it has ended by itself, which it never should.
    pub async fn must_run(&self) -> anyhow::Result<()> {
        must_run(&mut *self.child.lock().await, &self.folder)
    }

    /// Asks it to stop (SIGTERM where there is one) and waits.
    pub async fn stop(&self) -> anyhow::Result<()> {
        let mut child = self.child.lock().await;
        let asked = match child.id() {
            Some(pid) if cfg!(unix) => Command::new("kill").arg("-TERM").arg(pid.to_string()).status().await.is_ok_and(|status| status.success()),
            _ => false,
        };
        if !asked || tokio::time::timeout(Duration::from_secs(30), child.wait()).await.is_err() {
            child.kill().await.context("the serving process cannot be stopped")?;
        }
        Ok(())
    }
}

fn spawn(program: &Path, folder: &Path, config: &Path) -> anyhow::Result<Child> {
    let log = OpenOptions::new().create(true).append(true).open(folder.join(LOG_FILE)).context("the log of the serving process")?;
    Command::new(program)
        .arg("up")
        .arg("--no-sandbox")
        .arg("--until-stdin-closes")
        .arg("--folder")
        .arg(folder)
        .arg("--config")
        .arg(config)
        // Open as long as this process lives: when it dies, the other stops. A Ctrl-C in the terminal is this process's to pass on.
        .stdin(Stdio::piped())
        .process_group(0)
        .stdout(log.try_clone()?)
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("{} cannot be started", program.display()))
}

/// Waits until the process has written its `admin.json` and says that it is ready.
async fn ready(child: &mut Child, folder: &Path, http: &reqwest::Client) -> anyhow::Result<Addresses> {
    let deadline = Instant::now() + READY_WITHIN;
    while Instant::now() < deadline {
        must_run(child, folder)?;
        // A file of a process that was killed names another process.
        if let Ok(admin) = AdminFile::read(folder)
            && Some(admin.pid) == child.id()
            && let Some(mllp) = admin.mllp
            && http.get(format!("http://{}/readyz", admin.http)).send().await.is_ok_and(|answer| answer.status().is_success())
        {
            return Ok(Addresses { http: admin.http, mllp });
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    bail!("the serving process was not ready within {} s{}", READY_WITHIN.as_secs(), last_words(folder))
}

fn must_run(child: &mut Child, folder: &Path) -> anyhow::Result<()> {
    match child.try_wait().context("the serving process cannot be watched")? {
        Some(status) => bail!("the serving process ended by itself ({status}){}", last_words(folder)),
        None => Ok(()),
    }
}

/// The end of its log, which holds no personal data.
fn last_words(folder: &Path) -> String {
    let log = std::fs::read_to_string(folder.join(LOG_FILE)).unwrap_or_default();
    let lines: Vec<&str> = log.lines().rev().take(12).collect();
    lines.iter().rev().map(|line| format!("\n  {line}")).collect()
}

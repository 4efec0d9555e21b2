//! The serving processes, children of the driver: `hearthline up` with every service in one, or `hearthline serve` for each replica
//! of each service. They are killed and started again where the run says so.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use hearthline_runtime::admin::AdminFile;
use tokio::process::{Child, Command};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;

use super::pace::victims;

/// Where a child's output goes, in its data folder.
pub const LOG_FILE: &str = "serving.log";
const READY_WITHIN: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// One process: what it serves, and its data folder.
#[derive(Debug, Clone)]
pub struct Post {
    /// None: every service.
    pub service: Option<&'static str>,
    pub folder: PathBuf,
}

impl Post {
    /// One process with every service in it.
    pub fn whole(folder: &Path) -> Vec<Self> {
        vec![Post { service: None, folder: folder.to_owned() }]
    }

    /// A process for each replica of each service, each with a folder of its own.
    pub fn apart(folder: &Path, replicas: impl Fn(&str) -> usize) -> Vec<Self> {
        let posts = |service: &'static str| (1..=replicas(service)).map(move |n| (service, n));
        let post = |(service, n)| Post { service: Some(service), folder: folder.join(format!("{service}-{n}")) };
        crate::up::SERVICES.iter().flat_map(|service| posts(service)).map(post).collect()
    }

    fn named(&self) -> &str {
        self.service.unwrap_or("hearthline")
    }
}

/// How processes are started.
#[derive(Debug, Clone)]
pub struct Launch {
    pub program: PathBuf,
    pub config: PathBuf,
    pub seed: u64,
}

/// Where a child listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    pub http: SocketAddr,
    /// Only where hospital messages are taken.
    pub mllp: Option<SocketAddr>,
}

struct Process {
    post: Post,
    child: Mutex<Child>,
    addresses: watch::Sender<Addresses>,
}

pub struct Serving {
    launch: Launch,
    processes: Vec<Process>,
    /// Processes of one service each.
    groups: Vec<(Option<&'static str>, Vec<usize>)>,
    turn: AtomicUsize,
    victims: std::sync::Mutex<Box<dyn Iterator<Item = usize> + Send>>,
    killed: std::sync::Mutex<BTreeMap<&'static str, u32>>,
    http: reqwest::Client,
}

impl Serving {
    /// Starts the processes side by side and waits until all are ready.
    pub async fn start(launch: Launch, posts: Vec<Post>) -> anyhow::Result<Self> {
        let http = hearthline_runtime::client::build(|c| c.timeout(Duration::from_secs(5)))?;
        let mut starting: JoinSet<anyhow::Result<(usize, Process)>> = JoinSet::new();
        for (at, post) in posts.into_iter().enumerate() {
            let (launch, http) = (launch.clone(), http.clone());
            starting.spawn(async move {
                std::fs::create_dir_all(&post.folder).with_context(|| format!("{} cannot be made", post.folder.display()))?;
                let mut child = spawn(&launch, &post)?;
                let addresses = ready(&mut child, &post, &http).await?;
                Ok((at, Process { post, child: Mutex::new(child), addresses: watch::Sender::new(addresses) }))
            });
        }
        let mut processes = Vec::new();
        while let Some(started) = starting.join_next().await {
            processes.push(started??);
        }
        processes.sort_by_key(|(at, _)| *at);
        let processes: Vec<Process> = processes.into_iter().map(|(_, process)| process).collect();
        let mut groups: Vec<(Option<&'static str>, Vec<usize>)> = Vec::new();
        for (at, process) in processes.iter().enumerate() {
            match groups.iter_mut().find(|(service, _)| *service == process.post.service) {
                Some((_, of)) => of.push(at),
                None => groups.push((process.post.service, vec![at])),
            }
        }
        let victims = victims(launch.seed, groups.iter().map(|(_, of)| of.clone()).collect());
        Ok(Self {
            launch,
            processes,
            groups,
            turn: AtomicUsize::new(0),
            victims: std::sync::Mutex::new(Box::new(victims)),
            killed: std::sync::Mutex::default(),
            http,
        })
    }

    /// The processes that answer for a service.
    pub fn of(&self, service: &str) -> &[usize] {
        self.groups.iter().find(|(serves, _)| serves.is_none_or(|s| s == service)).map_or(&[], |(_, of)| of)
    }

    /// The processes of each service; one process with every service in it is one group.
    pub fn groups(&self) -> impl Iterator<Item = &[usize]> {
        self.groups.iter().map(|(_, of)| of.as_slice())
    }

    pub fn len(&self) -> usize {
        self.processes.len()
    }

    /// What each process serves, and where it listens now.
    pub fn listening(&self) -> Vec<(&str, Addresses)> {
        self.processes.iter().map(|process| (process.post.named(), *process.addresses.borrow())).collect()
    }

    /// Where one of these processes listens now, in turns; a restart takes new ports.
    pub fn http(&self, among: &[usize]) -> Option<SocketAddr> {
        let at = among.get(self.turn.fetch_add(1, Ordering::Relaxed) % among.len().max(1))?;
        Some(self.processes.get(*at)?.addresses.borrow().http)
    }

    /// Where hospital messages are taken now, in turns.
    pub fn mllp(&self) -> Option<SocketAddr> {
        let all: Vec<SocketAddr> = self.processes.iter().filter_map(|process| process.addresses.borrow().mllp).collect();
        all.get(self.turn.fetch_add(1, Ordering::Relaxed) % all.len().max(1)).copied()
    }

    /// How often processes have been killed, by what they serve.
    pub fn killed(&self) -> BTreeMap<&'static str, u32> {
        lock(&self.killed).clone()
    }

    /// SIGKILL to the seed's next victim in the middle of whatever it does, then the same again on the same folder.
    pub async fn kill_and_restart(&self) -> anyhow::Result<()> {
        let victim = lock(&self.victims).next().and_then(|at| self.processes.get(at)).context("there is no process to be killed")?;
        let mut child = victim.child.lock().await;
        child.kill().await.context("a serving process cannot be killed")?;
        *lock(&self.killed).entry(victim.post.service.unwrap_or("hearthline")).or_default() += 1;
        *child = spawn(&self.launch, &victim.post)?;
        let addresses = ready(&mut child, &victim.post, &self.http).await?;
        victim.addresses.send_replace(addresses);
        Ok(())
    }

    /// Whether one has ended by itself, which none ever should. One that is being restarted is passed over.
    pub fn must_run(&self) -> anyhow::Result<()> {
        self.processes.iter().try_for_each(|process| match process.child.try_lock() {
            Ok(mut child) => must_run(&mut child, &process.post),
            Err(_) => Ok(()),
        })
    }

    /// Asks all to stop (SIGTERM where there is one) and waits.
    pub async fn stop(&self) -> anyhow::Result<()> {
        let mut children = Vec::new();
        for process in &self.processes {
            children.push(process.child.lock().await);
        }
        let mut asked = Vec::new();
        for child in &children {
            asked.push(match child.id() {
                Some(pid) if cfg!(unix) => Command::new("kill").arg("-TERM").arg(pid.to_string()).status().await.is_ok_and(|status| status.success()),
                _ => false,
            });
        }
        for (child, asked) in children.iter_mut().zip(asked) {
            if !asked || tokio::time::timeout(Duration::from_secs(30), child.wait()).await.is_err() {
                child.kill().await.context("a serving process cannot be stopped")?;
            }
        }
        Ok(())
    }
}

fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn spawn(launch: &Launch, post: &Post) -> anyhow::Result<Child> {
    let log = OpenOptions::new().create(true).append(true).open(post.folder.join(LOG_FILE)).context("the log of a serving process")?;
    let mut command = Command::new(&launch.program);
    match post.service {
        Some(service) => command.arg("serve").arg(service),
        None => command.arg("up").arg("--no-sandbox"),
    };
    // What a shell has set for a real deployment is not meant for made-up people.
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("HEARTHLINE__") && !name.starts_with("HEARTHLINE__TELEMETRY__")) {
            command.env_remove(name);
        }
    }
    command
        .arg("--until-stdin-closes")
        .arg("--folder")
        .arg(&post.folder)
        .arg("--config")
        .arg(&launch.config)
        // Open as long as this process lives: when it dies, the other stops. A Ctrl-C in the terminal is this process's to pass on.
        .stdin(Stdio::piped())
        .process_group(0)
        .stdout(log.try_clone()?)
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("{} cannot be started", launch.program.display()))
}

/// Waits until the process has written its `admin.json` and says that it is ready.
async fn ready(child: &mut Child, post: &Post, http: &reqwest::Client) -> anyhow::Result<Addresses> {
    let deadline = Instant::now() + READY_WITHIN;
    while Instant::now() < deadline {
        must_run(child, post)?;
        // A file of a process that was killed names another process.
        if let Ok(admin) = AdminFile::read(&post.folder)
            && Some(admin.pid) == child.id()
            && http.get(format!("http://{}/readyz", admin.http)).send().await.is_ok_and(|answer| answer.status().is_success())
        {
            return Ok(Addresses { http: admin.http, mllp: admin.mllp });
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    bail!("the serving process of {} was not ready within {} s{}", post.named(), READY_WITHIN.as_secs(), last_words(&post.folder))
}

fn must_run(child: &mut Child, post: &Post) -> anyhow::Result<()> {
    match child.try_wait().context("a serving process cannot be watched")? {
        Some(status) => bail!("the serving process of {} ended by itself ({status}){}", post.named(), last_words(&post.folder)),
        None => Ok(()),
    }
}

/// The end of its log, which holds no personal data.
fn last_words(folder: &Path) -> String {
    let log = std::fs::read_to_string(folder.join(LOG_FILE)).unwrap_or_default();
    let lines: Vec<&str> = log.lines().rev().take(12).collect();
    lines.iter().rev().map(|line| format!("\n  {line}")).collect()
}

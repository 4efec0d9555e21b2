//! One run from an empty folder to the table.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use hearthline_runtime::auth::{JWKS_FILE, Role};
use hearthline_sandbox::{Fault, Ports, Sandbox};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::check::{Differences, Figures};
use super::expect::{Expected, Rule, expect};
use super::feed::{Line, Outgoing, PATIENCE};
use super::files::{self, Files};
use super::generator::{Make, generate, last_settled_week};
use super::hub::{Body, Hub, issuer};
use super::journey::{Closed, Journey, Known, commands, instant};
use super::namespace::Namespace;
use super::pace::{Pace, Step, Steps};
use super::progress::{Progress, Task};
use super::serving::{Launch, Post, Serving};
use super::week::{Patient, Week};
use super::{Counts, Options, Outcome, Timings, ms, report, setting, settle};

/// Call intake is where people wait: two writers take turns at one store, and what one took in is read at the other. The KPI service
/// folds six topics, whose partitions two processes share; the figures must not show it.
const TWICE: [&str; 2] = [hearthline_call_intake::NAME, hearthline_kpi_projection::NAME];
const WINDOW_H: i64 = 72;
const FEED_LAG_H: i64 = 24;
const OUTSIDE_ANSWERS_AFTER: Duration = Duration::from_millis(25);
/// Requests at a time while residents are registered.
const REGISTERING_AT_ONCE: usize = 8;
/// How long an answer to a message of unknown origin is waited for.
const FILES_PATIENCE: Duration = Duration::from_secs(2);

/// Runs the demonstration, prints what there is to see, and returns what came of it.
pub async fn run(options: Options) -> anyhow::Result<Outcome> {
    let folder = Folder::choose(options.folder.as_deref())?;
    let outcome = in_folder(&options, folder.path()).await;
    // Schemas that stay on the servers cannot be opened without the key in the folder.
    let sound = outcome.as_ref().is_ok_and(Outcome::agrees) && !(options.keep && options.servers.is_some());
    if let Some(left) = folder.leave(sound)
        && !options.quiet
    {
        eprintln!("what the run left behind is in {}", left.display());
    }
    outcome
}

async fn in_folder(options: &Options, folder: &Path) -> anyhow::Result<Outcome> {
    let progress = Progress::new(options.quiet || options.json);
    let Some(servers) = &options.servers else {
        return watched(options, folder, None, &progress).await;
    };
    let namespace = Namespace::choose(servers, folder, options.kills)?;
    let outcome = watched(options, folder, Some(&namespace), &progress).await;
    if options.keep {
        progress.say(&namespace.left());
        return outcome;
    }
    progress.say("dropping tables and topics");
    let removed = namespace.remove().await;
    let outcome = outcome?;
    removed.map(|()| outcome)
}

async fn watched(options: &Options, folder: &Path, namespace: Option<&Namespace>, progress: &Progress) -> anyhow::Result<Outcome> {
    let interrupted = || async { tokio::signal::ctrl_c().await.context("Ctrl-C cannot be waited for") };
    let (stage, outcome) = tokio::select! {
        fed = week(options, folder, namespace, progress) => fed?,
        // What was started dies with its handles.
        signal = interrupted() => { signal?; bail!("interrupted") }
    };
    present(options, &outcome)?;
    if options.keep {
        for (service, addresses) in stage.hub.serving.listening().into_iter().filter(|_| namespace.is_some()) {
            let mllp = addresses.mllp.map(|mllp| format!(", mllp {mllp}")).unwrap_or_default();
            progress.say(&format!("{service:<17} http://{}{mllp}", addresses.http));
        }
        progress.say(&format!("running on {}; Ctrl-C ends it", folder.display()));
        interrupted().await?;
    }
    stage.hub.serving.stop().await?;
    Ok(outcome)
}

/// Makes the week, feeds it and looks at what came out; the hub still runs.
async fn week(options: &Options, folder: &Path, namespace: Option<&Namespace>, progress: &Progress) -> anyhow::Result<(Stage, Outcome)> {
    let began = Instant::now();
    let now = jiff::Timestamp::now().as_microsecond();
    let monday = options.monday.map_or_else(|| last_settled_week(now), Ok)?;
    let week = generate(&Make { seed: options.seed, monday, messages: options.messages, marker: options.marker.clone() })?;
    let files = options.hl7.as_deref().map(files::read).transpose()?.unwrap_or_default();

    if let Some(namespace) = namespace {
        progress.say(&format!("on {}", namespace.place()));
    }
    progress.say(if namespace.is_some() {
        "making tables and topics, starting the services and the systems around them"
    } else {
        "starting the hub and the systems around it"
    });
    let stage = Stage::set(options, folder, namespace, Arc::new(week), &files).await?;
    let mut timings = Timings { start_ms: ms(began.elapsed()), ..Timings::default() };

    let since = Instant::now();
    progress.say("loading registers and residents");
    let known = stage.registers(progress).await?;
    settle::settled(&stage.hub, &stage.sandbox).await?;
    timings.registers_ms = ms(since.elapsed());

    let since = Instant::now();
    progress.say(&format!("feeding the week from {monday}: {} calls, {} hospital messages", stage.week.calls.len(), stage.week.messages.len()));
    let fed = stage.feed(&known, progress).await?;
    let files_acknowledged = stage.feed_files(&files, progress).await?;
    timings.feed_ms = ms(since.elapsed());

    let since = Instant::now();
    progress.say("waiting until nothing moves any more");
    let status = settle::settled(&stage.hub, &stage.sandbox).await?;
    timings.settle_ms = ms(since.elapsed());
    timings.total_ms = ms(began.elapsed());

    let mut outcome = stage.outcome(options, &fed, files_acknowledged, files.unreadable, &status, timings).await?;
    outcome.schema_prefix = namespace.map(|namespace| namespace.schema_prefix().to_owned());
    Ok((stage, outcome))
}

fn present(options: &Options, outcome: &Outcome) -> anyhow::Result<()> {
    if options.json {
        println!("{}", serde_json::to_string_pretty(outcome)?);
    } else if !options.quiet {
        print!("{}", report::table(outcome));
        if options.keep {
            println!("\n{}", outcome.page);
        } else {
            println!("\nThe page was at {}; --keep leaves it open.", outcome.page.split('#').next().unwrap_or_default());
        }
    }
    Ok(())
}

/// The data folder: the caller's, or a temporary one that stays only if something went wrong.
enum Folder {
    Given(PathBuf),
    Temporary(tempfile::TempDir),
}

impl Folder {
    fn choose(given: Option<&Path>) -> anyhow::Result<Self> {
        let Some(given) = given else {
            return Ok(Self::Temporary(tempfile::Builder::new().prefix("hearthline-demo-").tempdir()?));
        };
        std::fs::create_dir_all(given).with_context(|| format!("{} cannot be made", given.display()))?;
        if std::fs::read_dir(given)?.next().is_some() {
            // The systems outside live in this process: a folder of an earlier run would remember what they have forgotten.
            bail!("{} is not empty: a demonstration begins in an empty folder", given.display());
        }
        Ok(Self::Given(given.to_owned()))
    }

    fn path(&self) -> &Path {
        match self {
            Self::Given(path) => path,
            Self::Temporary(folder) => folder.path(),
        }
    }

    /// Where the data stays, if it does.
    fn leave(self, sound: bool) -> Option<PathBuf> {
        match self {
            Self::Given(path) => Some(path),
            Self::Temporary(folder) if sound => {
                drop(folder);
                None
            }
            Self::Temporary(folder) => Some(folder.keep()),
        }
    }
}

/// Lets the systems outside act at once and answer late, so that kills fall between the two as well.
fn slow_down(sandbox: &Sandbox) -> anyhow::Result<()> {
    for faults in [sandbox.eps.faults(), sandbox.fhir.faults(), sandbox.smtp.faults()] {
        faults.script(Fault::delay(OUTSIDE_ANSWERS_AFTER).times(u32::MAX))?;
    }
    Ok(())
}

/// What the feeding gave.
struct Fed {
    closed: Vec<Closed>,
    acknowledged: BTreeMap<&'static str, u64>,
    resent: u64,
}

/// Everything that a run plays on.
struct Stage {
    week: Arc<Week>,
    sandbox: Sandbox,
    hub: Arc<Hub>,
}

impl Stage {
    async fn set(options: &Options, folder: &Path, namespace: Option<&Namespace>, week: Arc<Week>, files: &Files) -> anyhow::Result<Self> {
        let sandbox = Sandbox::start(Ports::default()).await?;
        if options.kills > 0 {
            slow_down(&sandbox)?;
        }
        let config = folder.join("hearthline.toml");
        // Made before the processes that verify by its keys.
        let issuer = issuer(folder)?;
        let servers = namespace.map(|namespace| namespace.configuration(&folder.join(JWKS_FILE))).transpose()?;
        let settings = setting::Settings {
            week: &week,
            sandbox: &sandbox.urls(),
            other_facilities: &files.facilities,
            window_h: WINDOW_H,
            feed_lag_h: FEED_LAG_H,
            otlp_endpoint: options.otlp_endpoint.as_deref(),
            servers: servers.as_deref().unwrap_or_default(),
        };
        std::fs::write(&config, setting::configuration(&settings)?).context("hearthline.toml cannot be written")?;
        if let Some(namespace) = namespace {
            namespace.make(&config).await?;
        }
        let steps = Steps {
            registers: 3 + week.residents.iter().filter(|resident| resident.registered).count(),
            commands: week.calls.iter().map(commands).sum(),
            messages: week.messages.len(),
            waits: 2 * week.calls.len(),
        };
        let pace = Arc::new(Pace::new(options.kills, options.seed, steps));
        let program = match &options.program {
            Some(program) => program.clone(),
            None => std::env::current_exe().context("this program's own path is not known")?,
        };
        let posts = match namespace {
            None => Post::whole(folder),
            Some(_) => Post::apart(folder, |service| if TWICE.contains(&service) { 2 } else { 1 }),
        };
        let serving = Arc::new(Serving::start(Launch { program, config, seed: options.seed }, posts).await?);
        let prefix = format!("demo-{}-{}", options.seed, week.monday);
        let hub = Arc::new(Hub::new(serving, pace, &issuer, prefix)?);
        Ok(Self { week, sandbox, hub })
    }

    async fn registers(&self, progress: &Progress) -> anyhow::Result<Known> {
        self.register("/registers/practices", setting::practices(&self.week)?).await?;
        self.register("/registers/pharmacies", setting::pharmacies(&self.week)?).await?;
        let homes = Arc::new(self.register("/registers/homes", setting::homes(&self.week)?).await?);
        let task = progress.task("residents", self.week.residents.len());
        let at_once = Arc::new(Semaphore::new(REGISTERING_AT_ONCE));
        let mut registering: JoinSet<anyhow::Result<(usize, String)>> = JoinSet::new();
        for (at, resident) in self.week.residents.iter().enumerate().filter(|(_, resident)| resident.registered) {
            let home = &self.week.homes[resident.home];
            let body = json!({
                "home_id": homes.get(resident.home),
                "family_name": resident.person.family,
                "given_names": resident.person.given,
                "date_of_birth": resident.person.born_on.to_string(),
                "nhs_number": resident.person.nhs_number.as_str(),
                "practice_ods": self.week.practices[home.practice].ods_code,
                "moved_in_on": resident.moved_in_on.to_string(),
            });
            let (hub, at_once) = (Arc::clone(&self.hub), Arc::clone(&at_once));
            registering.spawn(async move {
                let _permit = at_once.acquire_owned().await?;
                let answer = hub.command(Step::Register, Role::Operator, "/residents", &format!("resident-{at}"), &Body::Json(body)).await?;
                let id = answer["stream"].as_str().context("the answer names no resident")?;
                Ok((at, id.to_owned()))
            });
        }
        let mut residents = vec![None; self.week.residents.len()];
        while let Some(registered) = registering.join_next().await {
            let (at, id) = registered??;
            residents[at] = Some(id);
            task.done(1);
        }
        Ok(Known { homes: homes.to_vec(), residents })
    }

    /// Loads one register and returns the ids of its rows in order.
    async fn register(&self, path: &str, csv: Vec<u8>) -> anyhow::Result<Vec<String>> {
        let answer = self.hub.command(Step::Register, Role::Operator, path, path.rsplit('/').next().unwrap_or(path), &Body::Csv(csv)).await?;
        let rows = answer["rows"].as_array().with_context(|| format!("{path} answers without rows"))?;
        rows.iter()
            .map(|row| match row["id"].as_str() {
                Some(id) => Ok(id.to_owned()),
                None => bail!("{path} refuses row {}: {}", row["row"], row["why"].as_str().unwrap_or("-")),
            })
            .collect()
    }

    /// Calls and messages in the order in which they happened.
    async fn feed(&self, known: &Known, progress: &Progress) -> anyhow::Result<Fed> {
        let task = progress.task("messages", self.week.messages.len());
        let journey = Journey { hub: &self.hub, week: &self.week, known };
        let mut lines: Vec<Line> = self.week.trusts().iter().map(|_| self.line()).collect();
        let mut fed = Fed { closed: Vec::new(), acknowledged: BTreeMap::new(), resent: 0 };
        // Calls by resident, while their deliveries are not known to have ended.
        let mut open: HashMap<usize, String> = HashMap::new();
        let mut next = 0;
        for call in &self.week.calls {
            let until = self.week.messages.partition_point(|message| message.sent_at < call.opened_at);
            self.messages(next..until, &mut lines, &mut open, &mut fed, &task).await?;
            next = until;
            task.now(call.story);
            let closed = journey.live(call).await?;
            open.insert(call.resident, closed.call_id.clone());
            fed.closed.push(closed);
        }
        self.messages(next..self.week.messages.len(), &mut lines, &mut open, &mut fed, &task).await?;
        for call_id in open.values() {
            settle::delivered(&self.hub, &self.sandbox, call_id).await?;
        }
        fed.resent = lines.iter().map(|line| line.resent).sum();
        Ok(fed)
    }

    fn line(&self) -> Line {
        Line::new(Arc::clone(&self.hub.serving), Arc::clone(&self.hub.pace))
    }

    /// Sends a stretch of messages, each trust's in order over its own line. Before a message about somebody who called, their
    /// call's deliveries must have ended.
    async fn messages(
        &self,
        stretch: std::ops::Range<usize>,
        lines: &mut Vec<Line>,
        open: &mut HashMap<usize, String>,
        fed: &mut Fed,
        task: &Task,
    ) -> anyhow::Result<()> {
        for message in &self.week.messages[stretch.clone()] {
            if let Patient::Resident(resident) = self.week.visits[message.visit].patient
                && let Some(call_id) = open.remove(&resident)
            {
                settle::delivered(&self.hub, &self.sandbox, &call_id).await?;
            }
        }
        let trusts = self.week.trusts();
        let mut sending: JoinSet<anyhow::Result<(usize, Line, Vec<&'static str>)>> = JoinSet::new();
        for (at, mut line) in lines.drain(..).enumerate() {
            let trust = trusts[at];
            let (week, stretch) = (Arc::clone(&self.week), stretch.clone());
            sending.spawn(async move {
                let mut codes = Vec::new();
                for message in week.messages[stretch].iter().filter(|message| week.sites[message.site].trust_ods == trust) {
                    let outgoing = Outgoing { bytes: &message.bytes, control_id: Some(&message.control_id), patience: PATIENCE };
                    let code = line.send(&outgoing).await.with_context(|| format!("{} message of {trust}", message.trigger))?;
                    codes.push(code.code());
                }
                Ok((at, line, codes))
            });
        }
        let mut back: Vec<(usize, Line)> = Vec::new();
        while let Some(sent) = sending.join_next().await {
            let (at, line, codes) = sent??;
            task.done(codes.len());
            for code in codes {
                *fed.acknowledged.entry(code).or_default() += 1;
            }
            back.push((at, line));
        }
        back.sort_by_key(|(at, _)| *at);
        lines.extend(back.into_iter().map(|(_, line)| line));
        Ok(())
    }

    /// Sends the messages of files over a line of their own and counts the answers.
    async fn feed_files(&self, files: &Files, progress: &Progress) -> anyhow::Result<BTreeMap<&'static str, u64>> {
        let mut codes = BTreeMap::new();
        if files.messages.is_empty() {
            return Ok(codes);
        }
        let task = progress.task("files", files.messages.len());
        let mut line = self.line();
        for bytes in &files.messages {
            let code = match line.send(&Outgoing { bytes, control_id: None, patience: FILES_PATIENCE }).await {
                Ok(code) => code.code(),
                Err(_) => "none",
            };
            *codes.entry(code).or_default() += 1;
            task.done(1);
        }
        Ok(codes)
    }

    async fn outcome(
        &self,
        options: &Options,
        fed: &Fed,
        files_acknowledged: BTreeMap<&'static str, u64>,
        files_unreadable: usize,
        status: &Value,
        timings: Timings,
    ) -> anyhow::Result<Outcome> {
        let as_of = jiff::Timestamp::now().as_microsecond();
        let (from, to) = (self.week.monday, hearthline_nhs::london_date(self.week.ends_at)?);
        let kpi = self.hub.get(Role::Analyst, &format!("/kpi?from={from}&to={to}&as_of={}", instant(as_of)?)).await?;
        let summary = self.hub.get(Role::Operator, "/pas/summary").await?;
        let expected = expect(&self.week, Rule { window_h: WINDOW_H, feed_lag_h: FEED_LAG_H, as_of });
        let figures = Figures(&kpi);
        let mut differences = Differences::default();
        differences.figures(&figures, &expected);
        differences.outside(&self.sandbox, &self.week, &expected, &fed.closed);
        differences.messages(&fed.acknowledged, &self.inbox(&summary, &expected), &expected);
        differences.rest(status);
        let (kpi_checksum, killed) = (figures.checksum(), self.hub.serving.killed());
        let page = self.hub.serving.http(self.hub.serving.of(hearthline_kpi_projection::NAME)).context("nobody serves the page")?;
        Ok(Outcome {
            seed: options.seed,
            monday: self.week.monday.to_string(),
            kpi_checksum,
            counts: Counts {
                homes: self.week.homes.len(),
                residents: self.week.residents.len(),
                calls: fed.closed.len(),
                acknowledged: fed.acknowledged.clone(),
                files_acknowledged,
                files_unreadable,
                documents: self.sandbox.fhir.documents().len(),
                mails: self.sandbox.smtp.counts().mails,
                orders: self.sandbox.eps.counts().orders,
                processes: self.hub.serving.len(),
                kills: killed.values().sum(),
                killed,
                requests_repeated: self.hub.repeats(),
                messages_resent: fed.resent,
                settled_by_hand: self.hub.settled_by_hand(),
            },
            timings,
            page: format!("http://{page}/#token={}", self.hub.token(Role::Analyst)),
            schema_prefix: None,
            differences: differences.0,
            kpi,
        })
    }

    /// The gateway's own count of the messages that it took in, by facility of the week's sites.
    fn inbox(&self, summary: &Value, expected: &Expected) -> BTreeMap<String, u64> {
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for row in summary["messages"].as_array().into_iter().flatten() {
            // Repeats have rows of their own.
            if matches!(row["disposition"].as_str(), Some("duplicate" | "refused")) {
                continue;
            }
            let peer = row["peer"].as_str().unwrap_or_default();
            if let Some(site) = expected.messages.keys().find(|site| peer.ends_with(**site)) {
                *counts.entry((*site).to_owned()).or_default() += row["count"].as_u64().unwrap_or(0);
            }
        }
        counts
    }
}

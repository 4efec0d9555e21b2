//! The tasks of a process: each has a name and a stage; one that ends unplanned stops the process, and a stop goes
//! stage by stage. First the edges take nothing new and finish what they have, then the workers stop, last whatever
//! writes.
//!
//! A supervisor is a value: two run side by side in one process. Signals are the business of `main`
//! ([`stop_signal`]).

use std::error::Error;
use std::future::Future;
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

/// What a task may end with.
pub type TaskResult = Result<(), Box<dyn Error + Send + Sync>>;

/// When a task is told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// First: listeners.
    Edge,
    /// Then: relay, consumers, timers, deliveries.
    Work,
    /// Last: the writer, the log, telemetry.
    Store,
}

const STAGES: [Stage; 3] = [Stage::Edge, Stage::Work, Stage::Store];

/// Why the process must end with a failure.
#[derive(Debug, thiserror::Error)]
pub enum SupervisorError {
    /// A task ended while nobody had told it to.
    #[error("the task {task} ended although nobody had told it to")]
    Ended {
        /// Its name.
        task: String,
    },
    /// A task ended with an error.
    #[error("the task {task} failed")]
    Failed {
        /// Its name.
        task: String,
        /// Why.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A task panicked.
    #[error("the task {task} panicked; this is a defect")]
    Panicked {
        /// Its name.
        task: String,
    },
    /// A task did not stop in time and was cut off.
    #[error("the tasks {tasks} did not stop within {patience_s} s and were cut off")]
    Late {
        /// Their names.
        tasks: String,
        /// How long they had, in seconds.
        patience_s: u64,
    },
}

struct Ended {
    id: usize,
    result: Result<TaskResult, JoinError>,
}

struct Task {
    name: String,
    stage: Stage,
    running: bool,
}

/// The tasks of one instance.
#[derive(Default)]
pub struct Supervisor {
    tasks: Vec<Task>,
    set: JoinSet<Ended>,
    stop: CancellationToken,
    tokens: [CancellationToken; 3],
}

impl Supervisor {
    /// A supervisor without tasks.
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancelling this asks for an orderly stop.
    pub fn stopper(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// The token by which the tasks of a stage are told to stop, for parts that are built before they run.
    pub fn token(&self, stage: Stage) -> CancellationToken {
        self.tokens[stage as usize].clone()
    }

    /// Starts a task. It must run until its token is cancelled and then end soon.
    pub fn spawn<F, Fut>(&mut self, stage: Stage, name: impl Into<String>, task: F)
    where
        F: FnOnce(CancellationToken) -> Fut,
        Fut: Future<Output = TaskResult> + Send + 'static,
    {
        let id = self.tasks.len();
        self.tasks.push(Task { name: name.into(), stage, running: true });
        let handle = tokio::spawn(task(self.token(stage)));
        let abort = AbortOnDrop(handle.abort_handle());
        self.set.spawn(async move {
            // Kept until the task has ended, so that cutting off the watcher cuts off the task.
            let _abort = abort;
            Ended { id, result: handle.await }
        });
    }

    /// Runs until `stop` or [`Supervisor::stopper`] asks for an end, or a task ends unplanned; then stops stage by
    /// stage, each with at most `patience`. An error is the first thing that went wrong.
    pub async fn run(mut self, stop: impl Future<Output = ()>, patience: Duration) -> Result<(), SupervisorError> {
        let mut first = None;
        tokio::select! {
            () = stop => tracing::info!("asked to stop"),
            () = self.stop.clone().cancelled_owned() => tracing::info!("asked to stop"),
            Some(ended) = self.set.join_next() => first = self.judge(ended, true),
        }
        for stage in STAGES {
            self.tokens[stage as usize].cancel();
            let stopped = self.wait_for(stage, patience).await;
            first = first.or(stopped);
        }
        first.map_or(Ok(()), Err)
    }

    /// Waits for the tasks of a stage and those before it.
    async fn wait_for(&mut self, stage: Stage, patience: Duration) -> Option<SupervisorError> {
        let mut first = None;
        let deadline = tokio::time::Instant::now() + patience;
        while self.tasks.iter().any(|task| task.running && task.stage <= stage) {
            let Ok(ended) = tokio::time::timeout_at(deadline, self.set.join_next()).await else {
                let late = self.give_up(stage, patience);
                return first.or(Some(late));
            };
            let Some(ended) = ended else { break };
            let problem = self.judge(ended, false);
            first = first.or(problem);
        }
        first
    }

    /// The tasks of this stage that still run are left behind; they are cut off when the supervisor is dropped.
    fn give_up(&mut self, stage: Stage, patience: Duration) -> SupervisorError {
        let late = self.tasks.iter_mut().filter(|task| task.running && task.stage <= stage);
        let names: Vec<&str> = late
            .map(|task| {
                task.running = false;
                task.name.as_str()
            })
            .collect();
        let tasks = names.join(", ");
        tracing::error!(tasks, "did not stop in time");
        SupervisorError::Late { tasks, patience_s: patience.as_secs() }
    }

    fn judge(&mut self, ended: Result<Ended, JoinError>, unplanned: bool) -> Option<SupervisorError> {
        // The watcher itself neither panics nor is cut off while the supervisor lives.
        let Ok(Ended { id, result }) = ended else {
            return None;
        };
        self.tasks[id].running = false;
        let task = self.tasks[id].name.clone();
        let told = self.tokens[self.tasks[id].stage as usize].is_cancelled();
        let problem = match result {
            Ok(Ok(())) if told && !unplanned => {
                tracing::debug!(task, "stopped");
                return None;
            }
            Ok(Ok(())) => SupervisorError::Ended { task },
            Ok(Err(source)) => SupervisorError::Failed { task, source },
            Err(_) => SupervisorError::Panicked { task },
        };
        tracing::error!(error = &problem as &dyn Error, "a task ended; stopping");
        Some(problem)
    }
}

struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Waits for SIGINT or SIGTERM. After that a second one ends the process at once with code 130: everything
/// acknowledged is durable already.
pub async fn stop_signal() -> std::io::Result<()> {
    let mut signals = Signals::listen()?;
    signals.next().await;
    tokio::spawn(async move {
        signals.next().await;
        std::process::exit(130);
    });
    Ok(())
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn listen() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) {
        // Without a handler there is nothing to wait for but the default behaviour.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    const PATIENCE: Duration = Duration::from_secs(10);

    fn waiting(log: &Arc<Mutex<Vec<&'static str>>>, name: &'static str) -> impl FnOnce(CancellationToken) -> TaskFuture + use<> {
        let log = log.clone();
        move |token| {
            Box::pin(async move {
                token.cancelled().await;
                log.lock().expect("log").push(name);
                Ok(())
            })
        }
    }

    type TaskFuture = std::pin::Pin<Box<dyn Future<Output = TaskResult> + Send>>;

    #[tokio::test]
    async fn an_orderly_stop_goes_from_the_edge_to_the_store() {
        let log = Arc::default();
        let mut supervisor = Supervisor::new();
        supervisor.spawn(Stage::Store, "writer", waiting(&log, "writer"));
        supervisor.spawn(Stage::Work, "relay", waiting(&log, "relay"));
        supervisor.spawn(Stage::Edge, "http", waiting(&log, "http"));
        supervisor.run(std::future::ready(()), PATIENCE).await.expect("orderly");
        assert_eq!(*log.lock().expect("log"), ["http", "relay", "writer"]);
    }

    #[tokio::test]
    async fn a_task_that_ends_unplanned_stops_the_others_and_is_named() {
        let log = Arc::default();
        let mut supervisor = Supervisor::new();
        supervisor.spawn(Stage::Store, "writer", waiting(&log, "writer"));
        supervisor.spawn(Stage::Work, "relay", |_| async { Ok(()) });
        let error = supervisor.run(std::future::pending(), PATIENCE).await.expect_err("unplanned");
        assert!(matches!(&error, SupervisorError::Ended { task } if task == "relay"), "{error}");
        assert_eq!(*log.lock().expect("log"), ["writer"]);
    }

    #[tokio::test]
    async fn errors_and_panics_are_told_apart() {
        let mut failing = Supervisor::new();
        failing.spawn(Stage::Work, "relay", |_| async { Err("the log is gone".into()) });
        let error = failing.run(std::future::pending(), PATIENCE).await.expect_err("failed");
        assert!(matches!(error, SupervisorError::Failed { .. }), "{error}");
        let mut panicking = Supervisor::new();
        panicking.spawn(Stage::Work, "relay", |_| async { panic!("a defect") });
        let error = panicking.run(std::future::pending(), PATIENCE).await.expect_err("panicked");
        assert!(matches!(error, SupervisorError::Panicked { .. }), "{error}");
    }

    #[tokio::test]
    async fn a_task_that_does_not_stop_is_cut_off_and_the_stop_goes_on() {
        let log = Arc::default();
        let mut supervisor = Supervisor::new();
        supervisor.spawn(Stage::Edge, "deaf", |_| std::future::pending());
        supervisor.spawn(Stage::Store, "writer", waiting(&log, "writer"));
        let error = supervisor.run(std::future::ready(()), Duration::from_millis(20)).await.expect_err("late");
        assert!(matches!(&error, SupervisorError::Late { tasks, .. } if tasks == "deaf"), "{error}");
        assert_eq!(*log.lock().expect("log"), ["writer"]);
    }

    #[tokio::test]
    async fn a_task_can_ask_for_the_stop_itself() {
        let mut supervisor = Supervisor::new();
        let stopper = supervisor.stopper();
        supervisor.spawn(Stage::Edge, "admin", |token| async move {
            stopper.cancel();
            token.cancelled().await;
            Ok(())
        });
        supervisor.run(std::future::pending(), PATIENCE).await.expect("orderly");
    }
}

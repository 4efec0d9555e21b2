//! The one task that writes: group commit.
//!
//! Units queue; the task takes all that wait, judges each in order against heads, claims and checkpoints **plus the batch's own
//! earlier units**, writes the survivors in one transaction and answers each once the commit is durable. With more than one
//! caller about it waits a moment for those it just answered, since they usually come straight back.
//!
//! Trouble has three shapes. A constraint that says no means that a cache was too hopeful: the batch is judged again from the
//! tables. Any other error re-runs the units one by one, so that one bad unit fails alone. A commit whose answer was lost is
//! looked up by the batch's last event, or by a row of its own where it has none, on a new connection before anybody is
//! answered.

use crate::batch::{Batch, Care, Ledger, Verdict};
use crate::sqlite::{Faults, Options, SqliteConn, unavailable};
use hearthline_eventing::{Answer, Committed, Conn, DbError, Script, StoreError, Unit, Value};
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot, watch};

const BATCH_UNITS_MAX: usize = 512;
const QUEUE_UNITS_MAX: usize = 4_096;
const LINGER_MAX: Duration = Duration::from_micros(400);
const BATCH_ROWS_KEPT_US: i64 = 3_600_000_000;
pub(crate) const WRITER_CACHE_MIB: i64 = 32;

type Reply = oneshot::Sender<Result<Answer, StoreError>>;
/// Work on the writing connection between two batches.
pub(crate) type Exclusive = Box<dyn for<'c> FnOnce(&'c mut SqliteConn) -> Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send + 'c>> + Send>;

enum Job {
    Append(Box<Unit>, Reply),
    Exclusive(Exclusive, oneshot::Sender<Result<(), StoreError>>),
    Close(oneshot::Sender<()>),
}

/// The queue to the writer.
#[derive(Clone)]
pub(crate) struct WriterHandle {
    jobs: mpsc::Sender<Job>,
    committed: watch::Receiver<Committed>,
    open: Arc<RwLock<Result<(), String>>>,
}

impl WriterHandle {
    pub(crate) async fn append(&self, unit: Unit) -> Result<Answer, StoreError> {
        // Until log and store are known to agree: no commands, and no hospital messages either.
        if !unit.writes.is_empty() || unit.inbox.iter().any(|change| matches!(change, hearthline_eventing::InboxChange::Receive(_))) {
            self.open.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone().map_err(StoreError::Closed)?;
        }
        let (reply, answer) = oneshot::channel();
        self.jobs.send(Job::Append(Box::new(unit), reply)).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }

    pub(crate) async fn exclusively(&self, job: Exclusive) -> Result<(), StoreError> {
        let (reply, answer) = oneshot::channel();
        self.jobs.send(Job::Exclusive(job, reply)).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }

    pub(crate) async fn close(&self) {
        let (reply, answer) = oneshot::channel();
        if self.jobs.send(Job::Close(reply)).await.is_ok() {
            // An error here says that the writer is gone, which is what was asked for.
            let _ = answer.await;
        }
    }

    pub(crate) fn committed(&self) -> watch::Receiver<Committed> {
        self.committed.clone()
    }

    pub(crate) fn opened(&self) -> Result<(), String> {
        self.open.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    pub(crate) fn set_open(&self, open: Result<(), String>) {
        *self.open.write().unwrap_or_else(std::sync::PoisonError::into_inner) = open;
    }
}

fn stopped() -> StoreError {
    StoreError::Unavailable("the store is shutting down".to_owned())
}

/// What lies in the tables if and only if a batch was committed. An event's position is taken once and its id is never
/// given twice, so an event proves its batch without a page of its own being written for each commit.
#[derive(Debug, Clone, Copy)]
enum Mark {
    Event { position: u64, id: [u8; 16] },
    Row([u8; 16]),
}

/// The writer's own state.
pub(crate) struct Writer {
    conn: SqliteConn,
    file: PathBuf,
    faults: Arc<dyn Faults>,
    ledger: Ledger,
    committed: watch::Sender<Committed>,
    swept_at: Instant,
    /// A commit's outcome is unknown, so nothing that the ledger remembers can be relied on.
    doubtful: bool,
}

impl Writer {
    pub(crate) async fn start(mut conn: SqliteConn, options: &Options) -> Result<WriterHandle, StoreError> {
        let ledger = Ledger::load(&mut conn, options.topic, options.views.clone()).await.map_err(unavailable)?;
        let (committed, watch) = watch::channel(Committed { position: ledger.position(), work: 0 });
        let (jobs, queue) = mpsc::channel(QUEUE_UNITS_MAX);
        let writer = Writer { conn, file: options.file.clone(), faults: options.faults.clone(), ledger, committed, swept_at: Instant::now(), doubtful: false };
        tokio::spawn(writer.run(queue));
        Ok(WriterHandle { jobs, committed: watch, open: Arc::new(RwLock::new(Ok(()))) })
    }

    async fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        let mut cohort = 0;
        let mut last_commit = Duration::ZERO;
        while let Some(first) = queue.recv().await {
            let (mut units, mut after) = (Vec::new(), None);
            take(first, &mut units, &mut after);
            drain(&mut queue, &mut units, &mut after);
            if cohort > 1 && after.is_none() {
                let limit = LINGER_MAX.min(last_commit / 2);
                let begun = Instant::now();
                while units.len() < cohort && begun.elapsed() < limit && after.is_none() {
                    tokio::task::yield_now().await;
                    drain(&mut queue, &mut units, &mut after);
                }
            }
            cohort = units.len();
            if !units.is_empty() {
                let begun = Instant::now();
                self.commit(units).await;
                last_commit = begun.elapsed();
                cohort = cohort.max(queue.len());
            }
            match after {
                None => {}
                Some(Job::Exclusive(job, reply)) => {
                    let done = job(&mut self.conn).await;
                    // The caller may have given up; the work is done all the same.
                    let _ = reply.send(done);
                }
                Some(Job::Close(reply)) => {
                    self.conn.close().await;
                    let _ = reply.send(());
                    return;
                }
                Some(Job::Append(..)) => unreachable!("appends go to the batch"),
            }
        }
        self.conn.close().await;
    }

    /// Commits a batch and answers every caller.
    async fn commit(&mut self, units: Vec<(Unit, Reply)>) {
        let (units, replies): (Vec<Unit>, Vec<Reply>) = units.into_iter().unzip();
        let answers = match self.attempt(&units, Care::Hopeful).await {
            Err(BatchError::Db(DbError::Constraint)) => self.attempt(&units, Care::FromTables).await,
            other => other,
        };
        let answers = match answers {
            Ok(answers) => answers,
            Err(BatchError::OutcomeUnknown) => units.iter().map(|_| Err(StoreError::OutcomeUnknown)).collect(),
            Err(error) if units.len() == 1 => vec![Err(error.into())],
            Err(error) => {
                tracing::warn!(error = %StoreError::from(error), units = units.len(), "a batch failed; its units are tried one by one");
                let mut answers = Vec::with_capacity(units.len());
                for unit in &units {
                    answers.push(match self.attempt(std::slice::from_ref(unit), Care::FromTables).await {
                        Ok(mut one) => one.remove(0),
                        Err(error) => Err(error.into()),
                    });
                }
                answers
            }
        };
        for (reply, answer) in replies.into_iter().zip(answers) {
            // A caller that went away finds its answer by its idempotency key.
            let _ = reply.send(answer);
        }
        if self.swept_at.elapsed() > Duration::from_secs(600) {
            self.swept_at = Instant::now();
            self.sweep().await;
        }
    }

    async fn attempt(&mut self, units: &[Unit], care: Care) -> Result<Vec<Result<Answer, StoreError>>, BatchError> {
        if self.doubtful {
            self.reload().await?;
        }
        let Verdict { mut batch, answers } = self.ledger.judge(&mut self.conn, units, care).await?;
        if batch.is_empty() {
            return Ok(answers);
        }
        if let Err(error) = self.write(&mut batch).await {
            self.doubtful |= matches!(error, BatchError::OutcomeUnknown);
            return Err(error);
        }
        self.ledger.committed(batch);
        self.tell();
        Ok(answers)
    }

    /// Wakes the workers if there is something new.
    fn tell(&self) {
        let position = self.ledger.position();
        let work = self.ledger.work();
        self.committed.send_if_modified(|c| {
            let changed = c.position != position || c.work != work;
            *c = Committed { position, work };
            changed
        });
    }

    /// Starts over from the tables on a new connection.
    async fn reload(&mut self) -> Result<(), BatchError> {
        let failed = |e: StoreError| BatchError::Db(DbError::Failed(e.to_string()));
        let fresh = SqliteConn::open(&self.file, WRITER_CACHE_MIB).await.map_err(failed)?;
        std::mem::replace(&mut self.conn, fresh).close().await;
        self.ledger.reload(&mut self.conn).await?;
        self.doubtful = false;
        self.tell();
        Ok(())
    }

    async fn write(&mut self, batch: &mut Batch) -> Result<(), BatchError> {
        let mut script = Script::default();
        script.push("begin immediate", &[]);
        let mark = match batch.last_event {
            Some((position, id)) => Mark::Event { position, id },
            None => {
                let id = *uuid::Uuid::new_v4().as_bytes();
                script.push("insert into batches (batch_id, at) values ($1, $2)", &[id.into(), batch.at.into()]);
                Mark::Row(id)
            }
        };
        let done = async {
            let mut tail = batch.run(&mut self.conn, script).await?;
            if self.faults.before_commit() {
                self.conn.run(tail).await?;
                return Err(BatchError::Db(DbError::Failed("injected before the commit".to_owned())));
            }
            tail.push("commit", &[]);
            self.conn.run(tail).await.map_err(BatchError::Db)
        }
        .await;
        match done {
            Ok(_) if self.faults.lose_answer() => self.look_up(mark).await,
            Ok(_) => Ok(()),
            Err(error) => {
                // Fails where no transaction was left open, which is as good.
                let _ = self.conn.batch("rollback").await;
                match error {
                    BatchError::Db(DbError::Constraint) | BatchError::View(_) => Err(error),
                    // The commit itself may have been the one that failed to answer.
                    error => match self.look_up(mark).await {
                        Ok(()) => Ok(()),
                        Err(BatchError::NotCommitted) => Err(error),
                        Err(other) => Err(other),
                    },
                }
            }
        }
    }

    /// Asks a new connection, which has taken the lock, whether the batch is there.
    async fn look_up(&mut self, mark: Mark) -> Result<(), BatchError> {
        if self.faults.hide_outcome() {
            return Err(BatchError::OutcomeUnknown);
        }
        let fresh = SqliteConn::open(&self.file, WRITER_CACHE_MIB).await.map_err(|_| BatchError::OutcomeUnknown)?;
        // Closed first: it may still hold the lock.
        std::mem::replace(&mut self.conn, fresh).close().await;
        let mut script = Script::default();
        script.push("begin immediate", &[]);
        match mark {
            Mark::Event { position, id } => script.push("select 1 from events where position = $1 and event_id = $2", &[position.into(), id.into()]),
            Mark::Row(id) => script.push("select 1 from batches where batch_id = $1", &[Value::from(id)]),
        }
        script.push("commit", &[]);
        let found = match self.conn.run(script).await {
            Ok(found) => found,
            Err(_) => {
                // Fails where the transaction had not begun.
                let _ = self.conn.batch("rollback").await;
                return Err(BatchError::OutcomeUnknown);
            }
        };
        if found.is_empty() { Err(BatchError::NotCommitted) } else { Ok(()) }
    }

    /// Lets go of rows whose time is over.
    async fn sweep(&mut self) {
        let now = hearthline_eventing::now_us();
        let mut script = Script::default();
        script.push("delete from batches where at < $1", &[(now - BATCH_ROWS_KEPT_US).into()]);
        script.push("delete from claims where expires_at is not null and expires_at < $1", &[now.into()]);
        if let Err(error) = self.conn.run(script).await {
            tracing::warn!(%error, "expired rows were not swept; it is tried again");
        }
    }
}

#[derive(Debug)]
pub(crate) enum BatchError {
    Db(DbError),
    View(&'static str),
    OutcomeUnknown,
    NotCommitted,
}

impl From<DbError> for BatchError {
    fn from(e: DbError) -> Self {
        BatchError::Db(e)
    }
}

impl From<BatchError> for StoreError {
    fn from(e: BatchError) -> Self {
        match e {
            BatchError::Db(DbError::Constraint) => StoreError::Refused("a constraint that no rule explains".to_owned()),
            BatchError::Db(e) => StoreError::Unavailable(e.to_string()),
            BatchError::View(what) => StoreError::Refused(format!("a view cannot take {what}")),
            BatchError::OutcomeUnknown => StoreError::OutcomeUnknown,
            BatchError::NotCommitted => StoreError::Unavailable("the commit did not take place".to_owned()),
        }
    }
}

fn take(job: Job, units: &mut Vec<(Unit, Reply)>, after: &mut Option<Job>) {
    match job {
        Job::Append(unit, reply) => units.push((*unit, reply)),
        other => *after = Some(other),
    }
}

fn drain(queue: &mut mpsc::Receiver<Job>, units: &mut Vec<(Unit, Reply)>, after: &mut Option<Job>) {
    while after.is_none() && units.len() < BATCH_UNITS_MAX {
        match queue.try_recv() {
            Ok(job) => take(job, units, after),
            Err(_) => break,
        }
    }
}

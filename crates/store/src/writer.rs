//! The one task that writes: group commit.
//!
//! Units queue; the task takes all that wait, judges each in order against heads, claims and checkpoints **plus the batch's own
//! earlier units**, writes the survivors in one transaction and answers each once the commit is durable. With more than one
//! caller about it waits a moment for those it just answered, since they usually come straight back.
//!
//! Where the engine lets several processes write, one row holds the generation of the tables, and its lock is the lock of all
//! writers. A batch is judged by what is remembered and written on condition that the generation is still the same; where
//! somebody else was there, everything is read anew and judged under the lock.
//!
//! Trouble has three shapes. A constraint that says no means that a cache was too hopeful: the batch is judged again from the
//! tables. Any other error re-runs the units one by one, so that one bad unit fails alone. A commit whose answer was lost is
//! looked up by the batch's last event, or by a row of its own where it has none, on a new connection before anybody is
//! answered.

use crate::Faults;
use crate::batch::{Batch, Care, Ledger, Verdict};
use async_trait::async_trait;
use hearthline_contracts::topics::Topic;
use hearthline_eventing::{Answer, Committed, Conn, DbError, Dialect, Row, Script, StoreError, Unit, Value, View};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, RwLock, Weak};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot, watch};

const BATCH_UNITS_MAX: usize = 512;
const QUEUE_UNITS_MAX: usize = 4_096;
const LINGER_MAX: Duration = Duration::from_micros(400);
const BATCH_ROWS_KEPT_US: i64 = 3_600_000_000;

/// How the tables stand when a batch begins.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Begun {
    /// Batches committed so far, whoever wrote them.
    pub(crate) generation: i64,
    /// [`Committed::work`] as far as other writers must know it.
    pub(crate) work: i64,
}

/// A connection as the writer uses it.
#[async_trait]
pub(crate) trait WriterConn: Conn + Sized + 'static {
    /// What it takes to connect.
    type Place: Send + Sync + 'static;
    async fn open(place: &Self::Place) -> Result<Self, StoreError>;
    /// Whether other processes may write to the same tables.
    const SHARED: bool;
    /// Takes the lock of the service's writers in a new transaction and says how the tables stand.
    async fn lock(&mut self) -> Result<Begun, DbError>;
    /// How the tables stand, without the lock.
    async fn look(&mut self) -> Result<Begun, DbError>;
    /// As [`WriterConn::lock`], and says that a batch comes after; false: the tables do not stand at `expected` any more.
    async fn seize(&mut self, expected: i64, after: Begun, position: u64) -> Result<bool, DbError>;
    /// The whole batch in one statement that commits by itself, if the tables stand at `expected`. `None`: it takes more than one.
    async fn at_once(&mut self, script: &Script, expected: i64, after: Begun, position: u64) -> Option<Result<bool, DbError>>;
    /// What stands before a batch's first write.
    fn head(&self) -> Script;
    /// What ends a batch, durably; `mark` where its coming was not said before.
    fn commit(&self, mark: Option<(Begun, u64)>) -> Script;
    /// Fails where no transaction was left open, which is as good.
    async fn roll_back(&mut self);
    async fn close(self);
}

/// A connection that takes the lock with the first statement that is run on it.
struct Late<'c, C> {
    conn: &'c mut C,
    /// What [`WriterConn::seize`] is asked, until it was.
    seizes: Option<(i64, Begun, u64)>,
    stale: bool,
}

#[async_trait]
impl<C: WriterConn> Conn for Late<'_, C> {
    fn dialect(&self) -> Dialect {
        self.conn.dialect()
    }

    async fn run(&mut self, script: Script) -> Result<Vec<Row>, DbError> {
        if let Some((expected, after, position)) = self.seizes.take()
            && !self.conn.seize(expected, after, position).await?
        {
            self.stale = true;
        }
        if self.stale {
            return Err(DbError::Failed("another process was here".to_owned()));
        }
        self.conn.run(script).await
    }
}

type Reply = oneshot::Sender<Result<Answer, StoreError>>;
/// Work on the writing connection between two batches.
pub(crate) type Exclusive<C> = Box<dyn for<'c> FnOnce(&'c mut C) -> Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send + 'c>> + Send>;

enum Job<C> {
    Append(Box<Unit>, Reply),
    Exclusive(Exclusive<C>, oneshot::Sender<Result<(), StoreError>>),
    Close(oneshot::Sender<()>),
}

/// Whether units that write events are taken, or why not.
type Open = Arc<RwLock<Result<(), String>>>;

/// The queue to the writer.
pub(crate) struct WriterHandle<C> {
    jobs: mpsc::Sender<Job<C>>,
    committed: watch::Receiver<Committed>,
    /// Ends with the writer, so that whoever watches hears of it.
    tell: Weak<watch::Sender<Committed>>,
    open: Open,
}

impl<C> Clone for WriterHandle<C> {
    fn clone(&self) -> Self {
        WriterHandle { jobs: self.jobs.clone(), committed: self.committed.clone(), tell: self.tell.clone(), open: self.open.clone() }
    }
}

impl<C: WriterConn> WriterHandle<C> {
    pub(crate) async fn append(&self, unit: Unit) -> Result<Answer, StoreError> {
        // Until log and store are known to agree: no commands, and no hospital messages either.
        if !unit.writes.is_empty() || unit.inbox.iter().any(|change| matches!(change, hearthline_eventing::InboxChange::Receive(_))) {
            self.open.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone().map_err(StoreError::Closed)?;
        }
        let (reply, answer) = oneshot::channel();
        self.jobs.send(Job::Append(Box::new(unit), reply)).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }

    pub(crate) async fn exclusively(&self, job: Exclusive<C>) -> Result<(), StoreError> {
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

    /// What another process committed, as read after `seen` was known here. True where it was news.
    pub(crate) fn learn(&self, seen: Committed, found: Committed) -> bool {
        let Some(tell) = self.tell.upgrade() else { return false };
        if found.position < seen.position {
            self.set_open(Err(FELL_BACK.to_owned()));
            tell.send_replace(found);
            return true;
        }
        tell.send_if_modified(|c| {
            let newer = Committed { position: c.position.max(found.position), work: c.work.max(found.work), received: c.received };
            let changed = *c != newer;
            *c = newer;
            changed
        })
    }

    pub(crate) fn opened(&self) -> Result<(), String> {
        self.open.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    pub(crate) fn set_open(&self, open: Result<(), String>) {
        *self.open.write().unwrap_or_else(std::sync::PoisonError::into_inner) = open;
    }
}

/// Fewer events than were seen committed: a stale replica or an older copy stands where the database stood.
const FELL_BACK: &str = "it holds fewer events than this process saw committed; it is compared with the log again";

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
pub(crate) struct Writer<C: WriterConn> {
    conn: C,
    place: Arc<C::Place>,
    faults: Arc<dyn Faults>,
    ledger: Ledger,
    committed: Arc<watch::Sender<Committed>>,
    open: Open,
    swept_at: Instant,
    /// A commit's outcome is unknown or the connection is gone, so nothing that the ledger remembers can be relied on.
    doubtful: bool,
    /// Others write as well just now: the lock is taken before a batch is judged.
    contended: bool,
}

impl<C: WriterConn> Writer<C> {
    pub(crate) async fn start(
        mut conn: C,
        place: Arc<C::Place>,
        topic: &'static Topic,
        views: Vec<Arc<dyn View>>,
        faults: Arc<dyn Faults>,
    ) -> Result<WriterHandle<C>, StoreError> {
        let load = async {
            let begun = if C::SHARED { conn.lock().await? } else { Begun::default() };
            let ledger = Ledger::load(&mut conn, topic, views, begun).await;
            conn.roll_back().await;
            ledger
        };
        let ledger = load.await.map_err(|e: DbError| StoreError::Unavailable(e.to_string()))?;
        let (committed, watched) = watch::channel(Committed { position: ledger.position(), work: ledger.work(), received: 0 });
        let committed = Arc::new(committed);
        let tell = Arc::downgrade(&committed);
        let (jobs, queue) = mpsc::channel(QUEUE_UNITS_MAX);
        let open = Open::new(RwLock::new(Ok(())));
        let writer = Writer { conn, place, faults, ledger, committed, open: open.clone(), swept_at: Instant::now(), doubtful: false, contended: false };
        tokio::spawn(writer.run(queue));
        Ok(WriterHandle { jobs, committed: watched, tell, open })
    }

    async fn run(mut self, mut queue: mpsc::Receiver<Job<C>>) {
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
                    let done = match self.doubtful {
                        true => self.reload().await.map_err(StoreError::from),
                        false => Ok(()),
                    };
                    let done = match done {
                        Ok(()) => job(&mut self.conn).await,
                        Err(error) => Err(error),
                    };
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
            // Nothing was committed, and one by one it would be no better.
            Err(BatchError::Db(DbError::Away(why))) => units.iter().map(|_| Err(StoreError::Unavailable(why.clone()))).collect(),
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
        match self.judge_and_write(units, care, self.contended).await {
            // Somebody else was there.
            Err(BatchError::Stale) => {
                self.contended = true;
                self.judge_and_write(units, Care::FromTables, true).await
            }
            done => done,
        }
    }

    async fn judge_and_write(&mut self, units: &[Unit], care: Care, locked: bool) -> Result<Vec<Result<Answer, StoreError>>, BatchError> {
        let locked = locked && C::SHARED;
        let written = async {
            if locked {
                let begun = self.conn.lock().await?;
                self.contended = begun.generation != self.ledger.generation();
                if self.contended {
                    self.ledger.reload(&mut self.conn, begun).await?;
                }
            }
            let Verdict { mut batch, answers } = self.ledger.judge(&mut self.conn, units, care).await?;
            if C::SHARED
                && !locked
                && answers.iter().any(|a| !matches!(a, Ok(Answer::Committed { .. })))
                && self.conn.look().await?.generation != self.ledger.generation()
            {
                // A refusal by what is not so any more.
                return Err(BatchError::Stale);
            }
            if batch.is_empty() {
                return Ok((None, answers));
            }
            self.write(&mut batch, locked).await?;
            Ok((Some(batch), answers))
        }
        .await;
        match written {
            Ok((Some(batch), answers)) => {
                self.ledger.committed(batch);
                self.tell();
                Ok(answers)
            }
            Ok((None, answers)) => {
                if locked {
                    self.conn.roll_back().await;
                }
                Ok(answers)
            }
            Err(error) => {
                self.conn.roll_back().await;
                self.doubtful |= matches!(error, BatchError::OutcomeUnknown | BatchError::Db(DbError::Away(_)));
                Err(error)
            }
        }
    }

    /// Wakes the workers if there is something new.
    fn tell(&self) {
        let position = self.ledger.position();
        let (work, received) = (self.ledger.work(), self.ledger.received());
        self.committed.send_if_modified(|c| {
            let changed = c.position != position || c.work != work || c.received != received;
            *c = Committed { position, work, received };
            changed
        });
    }

    /// Starts over from the tables on a new connection. Finding fewer events than before closes the store.
    async fn reload(&mut self) -> Result<(), BatchError> {
        self.connect().await.map_err(|e| BatchError::Db(DbError::Away(e.to_string())))?;
        let before = self.ledger.position();
        let loaded = async {
            let begun = if C::SHARED { self.conn.lock().await? } else { Begun::default() };
            self.ledger.reload(&mut self.conn, begun).await
        }
        .await;
        self.conn.roll_back().await;
        loaded?;
        if self.ledger.position() < before {
            *self.open.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Err(FELL_BACK.to_owned());
        }
        self.doubtful = false;
        self.tell();
        Ok(())
    }

    /// A new connection in place of the old one, which is closed first: it may still hold the lock.
    async fn connect(&mut self) -> Result<(), StoreError> {
        let fresh = C::open(&self.place).await?;
        std::mem::replace(&mut self.conn, fresh).close().await;
        Ok(())
    }

    async fn write(&mut self, batch: &mut Batch, locked: bool) -> Result<(), BatchError> {
        let mut script = Script::default();
        let mark = match batch.last_event {
            Some((position, id)) => Mark::Event { position, id },
            None => {
                let id = *uuid::Uuid::new_v4().as_bytes();
                script.push_rows("insert into batches (batch_id, at)", vec![vec![id.into(), batch.at.into()]], "");
                Mark::Row(id)
            }
        };
        let expected = self.ledger.generation();
        let after = Begun { generation: expected + 1, work: i64::try_from(self.ledger.work()).unwrap_or(i64::MAX) + i64::from(batch.work) };
        let mut asked = false;
        let done = async {
            let fails = self.faults.before_commit();
            let mut head = self.conn.head();
            head.append(script);
            let mut conn = Late { conn: &mut self.conn, seizes: (!locked).then_some((expected, after, batch.position)), stale: false };
            let gathered = batch.run(&mut conn, head).await;
            let unbegun = conn.seizes.is_some();
            if conn.stale {
                return Err(BatchError::Stale);
            }
            let mut tail = gathered?;
            if unbegun && !fails {
                // No view read anything.
                asked = true;
                match self.conn.at_once(&tail, expected, after, batch.position).await {
                    Some(Ok(true)) => return Ok(()),
                    Some(Ok(false)) => {
                        asked = false;
                        return Err(BatchError::Stale);
                    }
                    Some(Err(error)) => return Err(error.into()),
                    None => asked = false,
                }
            }
            if unbegun && !self.conn.seize(expected, after, batch.position).await? {
                return Err(BatchError::Stale);
            }
            if fails {
                self.conn.run(tail).await?;
                return Err(BatchError::Db(DbError::Failed("injected before the commit".to_owned())));
            }
            tail.append(self.conn.commit(locked.then_some((after, batch.position))));
            asked = true;
            self.conn.run(tail).await.map(drop).map_err(BatchError::Db)
        }
        .await;
        match done {
            Ok(_) if self.faults.lose_answer() => self.look_up(mark).await,
            Ok(_) => Ok(()),
            Err(error) => {
                self.conn.roll_back().await;
                if !asked || matches!(error, BatchError::Db(DbError::Constraint) | BatchError::View(_) | BatchError::Stale) {
                    return Err(error);
                }
                // The commit itself may have been the one that failed to answer.
                match self.look_up(mark).await {
                    Ok(()) => Ok(()),
                    Err(BatchError::NotCommitted) => Err(error),
                    Err(other) => Err(other),
                }
            }
        }
    }

    /// Asks a new connection, which has taken the lock, whether the batch is there.
    async fn look_up(&mut self, mark: Mark) -> Result<(), BatchError> {
        if self.faults.hide_outcome() {
            return Err(BatchError::OutcomeUnknown);
        }
        self.connect().await.map_err(|_| BatchError::OutcomeUnknown)?;
        let mut script = self.conn.head();
        match mark {
            Mark::Event { position, id } => script.push("select 1 from events where position = $1 and event_id = $2", &[position.into(), id.into()]),
            Mark::Row(id) => script.push("select 1 from batches where batch_id = $1", &[Value::from(id)]),
        }
        let found = async {
            if C::SHARED {
                // The old session may still be committing; it has the lock until it is done.
                self.conn.lock().await?;
            }
            self.conn.run(script).await
        }
        .await;
        self.conn.roll_back().await;
        match found {
            Ok(found) if found.is_empty() => Err(BatchError::NotCommitted),
            Ok(_) => Ok(()),
            Err(_) => Err(BatchError::OutcomeUnknown),
        }
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
    /// Another process wrote since the tables were read.
    Stale,
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
            BatchError::Stale => StoreError::Unavailable("other processes keep writing; try again".to_owned()),
            BatchError::NotCommitted => StoreError::Unavailable("the commit did not take place".to_owned()),
        }
    }
}

fn take<C>(job: Job<C>, units: &mut Vec<(Unit, Reply)>, after: &mut Option<Job<C>>) {
    match job {
        Job::Append(unit, reply) => units.push((*unit, reply)),
        other => *after = Some(other),
    }
}

fn drain<C>(queue: &mut mpsc::Receiver<Job<C>>, units: &mut Vec<(Unit, Reply)>, after: &mut Option<Job<C>>) {
    while after.is_none() && units.len() < BATCH_UNITS_MAX {
        match queue.try_recv() {
            Ok(job) => take(job, units, after),
            Err(_) => break,
        }
    }
}

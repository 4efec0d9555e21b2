//! SQLite behind the store port: one writing connection owned by the writer task, a few reading ones, and one that moves
//! the write-ahead log into the file so that no commit waits for it.

use crate::postgres::unavailable;
use crate::writer::{Begun, Exclusive, Writer, WriterConn, WriterHandle};
use crate::{Faults, recorded, schema};
use async_trait::async_trait;
use hearthline_contracts::topics::Topic;
use hearthline_eventing::{Answer, Committed, Conn, DbError, Dialect, Recorded, Row, Script, Statement, Store, StoreError, StoredBlob, Unit, Value, View};
use hearthline_nhs::StreamId;
use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Arguments, AssertSqlSafe, Column, ConnectOptions, Connection, Row as _, SqliteConnection, SqlitePool, TypeInfo, ValueRef};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

const READERS: u32 = 2;
/// Rows that a reading thread has ready before it waits for whoever asked: each wait is a switch of threads.
const READ_AHEAD_ROWS: usize = 1_000;
/// Pages that a connection brings to those which all connections of the process share: SQLite is built with its own memory management,
/// so that one busy store uses what the others leave. Behind them are the system's.
pub(crate) const CACHE_KIB: i64 = 512;
const STATEMENTS_KEPT: usize = 100;
/// Longer scripts are not repeated letter by letter, and would push out the ones that are.
const CACHED_SCRIPT_BYTES_MAX: usize = 3 * 1024;
/// Pages (of 4 KiB) in the write-ahead log past which it is made to start again.
const WAL_PAGES_WANTED: i64 = 4_000;

/// How a service's store is opened.
pub struct Options {
    pub service: &'static str,
    /// The topic of the service's own events.
    pub topic: &'static Topic,
    pub file: PathBuf,
    pub views: Vec<Arc<dyn View>>,
    pub faults: Arc<dyn Faults>,
}

/// One service's store in one SQLite file. Cheap to clone.
#[derive(Clone)]
pub struct SqliteStore {
    service: &'static str,
    pub(crate) topic: &'static Topic,
    readers: SqlitePool,
    writer: WriterHandle<SqliteConn>,
    pub(crate) file: PathBuf,
    pub(crate) views: Vec<Arc<dyn View>>,
    /// Ends the checkpointing task with the last clone.
    checkpoints: Arc<AbortOnDrop>,
}

struct AbortOnDrop(tokio::sync::Mutex<tokio::task::JoinHandle<()>>);
impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.get_mut().abort();
    }
}

impl SqliteStore {
    /// Opens or creates the file, brings its tables up to date and starts the writer.
    pub async fn open(options: Options) -> Result<Self, StoreError> {
        let mut conn = SqliteConn::open_with(&options.file, CACHE_KIB).await?;
        migrate(&mut conn, &options.views).await.map_err(unavailable)?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .connect_with(connect_options(&options.file, CACHE_KIB).read_only(true).row_buffer_size(READ_AHEAD_ROWS))
            .await
            .map_err(|e| StoreError::Unavailable(describe(&e)))?;
        let file = options.file.clone();
        let views = options.views.clone();
        let writer = Writer::start(conn, Arc::new(options.file), options.topic, options.views, options.faults).await?;
        let checkpoints = tokio::spawn(move_wal(file.clone(), writer.committed(), writer.clone()));
        Ok(SqliteStore {
            service: options.service,
            topic: options.topic,
            readers,
            writer,
            file,
            views,
            checkpoints: Arc::new(AbortOnDrop(tokio::sync::Mutex::new(checkpoints))),
        })
    }

    /// Runs a function on the writing connection between two batches (rebuild's swap).
    pub(crate) async fn exclusively(&self, job: Exclusive<SqliteConn>) -> Result<(), StoreError> {
        self.writer.exclusively(job).await
    }

    /// Stops the writer after what is queued and closes the file; all of it is then in the one file, for whoever copies it.
    pub async fn close(&self) {
        // Readers first: the last connection to close has to be one that may write.
        self.readers.close().await;
        self.writer.close().await;
        let mut checkpoints = self.checkpoints.0.lock().await;
        if !checkpoints.is_finished() {
            // It ends with the writer, and as the last to close it empties the write-ahead log.
            let _ = (&mut *checkpoints).await;
        }
    }
}

#[async_trait]
impl Store for SqliteStore {
    fn service(&self) -> &str {
        self.service
    }

    async fn append(&self, unit: Unit) -> Result<Answer, StoreError> {
        self.writer.append(unit).await
    }

    async fn read_stream(&self, stream: StreamId, after: u64) -> Result<Vec<Recorded>, StoreError> {
        let rows = self
            .query(
                "select position,stream,version,event_id,name,payload,traceparent from events where stream = $1 and version > $2 order by version",
                &[stream.into(), after.into()],
            )
            .await?;
        Ok(rows.into_iter().map(recorded).collect())
    }

    async fn read_all(&self, after: u64, limit: u32) -> Result<Vec<Recorded>, StoreError> {
        let rows = self
            .query(
                "select position,stream,version,event_id,name,payload,traceparent from events where position > $1 order by position limit $2",
                &[after.into(), limit.into()],
            )
            .await?;
        Ok(rows.into_iter().map(recorded).collect())
    }

    async fn query(&self, sql: &str, args: &[Value]) -> Result<Vec<Row>, StoreError> {
        let mut script = Script::default();
        script.push(sql.to_owned(), args);
        let mut conn = self.readers.acquire().await.map_err(|e| StoreError::Unavailable(describe(&e)))?;
        run(&mut conn, script).await.map_err(unavailable)
    }

    async fn blob(&self, id: [u8; 16]) -> Result<Option<StoredBlob>, StoreError> {
        let rows = self.query(crate::BLOB, &[id.into()]).await?;
        Ok(rows.first().map(crate::stored_blob))
    }

    fn committed(&self) -> watch::Receiver<Committed> {
        self.writer.committed()
    }

    fn set_open(&self, open: Result<(), String>) {
        self.writer.set_open(open);
    }

    fn opened(&self) -> Result<(), String> {
        self.writer.opened()
    }
}

/// Runs what the file lacks of the numbered migrations, each with its number in one transaction, and makes the views' tables.
async fn migrate(conn: &mut SqliteConn, views: &[Arc<dyn View>]) -> Result<(), DbError> {
    let mut script = Script::default();
    script.push("pragma user_version", &[]);
    let at = conn.run(script).await?.first().map_or(0, |r| r.int(0));
    for migration in schema::MIGRATIONS.iter().filter(|m| m.number > at) {
        conn.batch(&format!("begin immediate;\n{}\n;pragma user_version = {};\ncommit", migration.sql, migration.number)).await?;
    }
    for table in schema::tables(views) {
        conn.batch(table.ddl).await?;
    }
    Ok(())
}

/// The writing connection.
pub(crate) struct SqliteConn {
    conn: SqliteConnection,
}

impl SqliteConn {
    pub(crate) async fn open_with(file: &Path, cache_kib: i64) -> Result<Self, StoreError> {
        let options = connect_options(file, cache_kib).create_if_missing(true);
        let conn = options.connect().await.map_err(|e| StoreError::Unavailable(describe(&e)))?;
        Ok(SqliteConn { conn })
    }

    /// Runs statements without parameters.
    pub(crate) async fn batch(&mut self, sql: &str) -> Result<(), DbError> {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut self.conn).await.map(|_| ()).map_err(db_error)
    }
}

#[async_trait]
impl WriterConn for SqliteConn {
    type Place = PathBuf;

    async fn open(file: &PathBuf) -> Result<Self, StoreError> {
        SqliteConn::open_with(file, CACHE_KIB).await
    }

    /// The folder's lock keeps other processes away.
    const SHARED: bool = false;

    async fn lock(&mut self) -> Result<Begun, DbError> {
        Ok(Begun::default())
    }

    async fn look(&mut self) -> Result<Begun, DbError> {
        Ok(Begun::default())
    }

    async fn seize(&mut self, _: i64, _: Begun, _: u64) -> Result<bool, DbError> {
        Ok(true)
    }

    /// One call takes the whole batch anyway, with its `begin` and `commit`.
    async fn at_once(&mut self, _: &Script, _: i64, _: Begun, _: u64) -> Option<Result<bool, DbError>> {
        None
    }

    fn head(&self) -> Script {
        let mut script = Script::default();
        script.push("begin immediate", &[]);
        script
    }

    fn commit(&self, _: Option<(Begun, u64)>) -> Script {
        let mut script = Script::default();
        script.push("commit", &[]);
        script
    }

    async fn roll_back(&mut self) {
        // Fails where no transaction was left open.
        let _ = self.batch("rollback").await;
    }

    async fn close(self) {
        // A close that fails leaves a write-ahead log, which the next open reads.
        if let Err(e) = self.conn.close().await {
            tracing::warn!(error = %describe(&e), "a database file did not close cleanly");
        }
    }
}

#[async_trait]
impl Conn for SqliteConn {
    fn dialect(&self) -> Dialect {
        Dialect::Sqlite
    }
    async fn run(&mut self, script: Script) -> Result<Vec<Row>, DbError> {
        run(&mut self.conn, script).await
    }
}

fn connect_options(file: &Path, cache_kib: i64) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(file)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(Duration::from_secs(10))
        .foreign_keys(false)
        .statement_cache_capacity(STATEMENTS_KEPT)
        .pragma("cache_size", (-cache_kib).to_string())
        .pragma("wal_autocheckpoint", "0")
        .pragma("temp_store", "memory")
        .disable_statement_logging()
}

/// Moves committed pages from the write-ahead log into the file, away from the writer: a checkpoint inside a commit made the
/// slowest commits (9–18 ms). A writer that never rests leaves no moment at which everything is moved and the log may start
/// again from its beginning, so it would grow for ever and its pages be found ever more slowly: past a size, the little that is
/// left is moved between two batches.
async fn move_wal(file: PathBuf, mut committed: watch::Receiver<Committed>, writer: WriterHandle<SqliteConn>) {
    let Ok(mut conn) = SqliteConn::open_with(&file, CACHE_KIB).await else { return };
    while committed.changed().await.is_ok() {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(400)) => {}
            () = ended(committed.clone()) => break,
        }
        let moved = async {
            if checkpoint(&mut conn).await? <= WAL_PAGES_WANTED {
                return Ok(());
            }
            // What was written meanwhile, so that less is left for the writer.
            checkpoint(&mut conn).await?;
            writer.exclusively(Box::new(|live| Box::pin(async move { checkpoint(live).await.map(drop) }))).await
        }
        .await;
        match moved {
            Err(error) if committed.has_changed().is_ok() => tracing::warn!(%error, "the write-ahead log was not moved; it is tried again"),
            // Or the store is closing.
            Ok(()) | Err(_) => {}
        }
    }
    conn.close().await;
}

/// Waits until the writer is gone.
async fn ended(mut committed: watch::Receiver<Committed>) {
    while committed.changed().await.is_ok() {}
}

/// Moves what can be moved without waiting for anybody; gives the pages in the log.
async fn checkpoint(conn: &mut SqliteConn) -> Result<i64, StoreError> {
    let mut script = Script::default();
    script.push("pragma wal_checkpoint(passive)", &[]);
    Ok(conn.run(script).await.map_err(unavailable)?.first().map_or(0, |r| r.int(1)))
}

/// A script as one text with bare `?` in order of appearance, and its arguments: the driver looks named parameters up by a linear
/// scan, which is quadratic in a multi-row insert.
fn flatten(script: Script) -> Result<(String, SqliteArguments), DbError> {
    /// The engine's limit of bound values in one statement is 32,766.
    const BOUND_VALUES_MAX: usize = 16_000;
    let (mut sql, mut args) = (String::new(), SqliteArguments::default());
    for statement in script.into_statements() {
        match statement {
            Statement::Plain { sql: text, args: values } => {
                separate(&mut sql);
                numbered(&mut sql, &mut args, &text, &values)?;
            }
            Statement::Insert { head, rows, tail } => {
                let width = rows.first().map_or(1, Vec::len).max(1);
                let mut rows = rows.into_iter().peekable();
                while rows.peek().is_some() {
                    separate(&mut sql);
                    sql.push_str(&head);
                    sql.push_str(" values ");
                    tuples(&mut sql, &mut args, rows.by_ref().take((BOUND_VALUES_MAX / width).max(1)))?;
                    sql.push(' ');
                    sql.push_str(&tail);
                }
            }
            Statement::Among { head, args: values, keys, tail } => {
                for chunk in keys.chunks(BOUND_VALUES_MAX) {
                    separate(&mut sql);
                    numbered(&mut sql, &mut args, &head, &values)?;
                    sql.push_str(" in (");
                    for (n, key) in chunk.iter().enumerate() {
                        sql.push_str(if n == 0 { "?" } else { ",?" });
                        bind(&mut args, key.clone())?;
                    }
                    sql.push_str(") ");
                    sql.push_str(&tail);
                }
            }
            Statement::Delete { table, key, rows } => {
                let mut rows = rows.into_iter().peekable();
                while rows.peek().is_some() {
                    separate(&mut sql);
                    sql.push_str(&format!("delete from {table} where ({}) in (values ", key.join(",")));
                    tuples(&mut sql, &mut args, rows.by_ref().take(BOUND_VALUES_MAX / key.len()))?;
                    sql.push(')');
                }
            }
            Statement::Update { table, columns, set, rows } => {
                let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
                let (key, names) = (names[0], names.join(","));
                let mut rows = rows.into_iter().peekable();
                while rows.peek().is_some() {
                    separate(&mut sql);
                    sql.push_str(&format!("with u({names}) as (values "));
                    tuples(&mut sql, &mut args, rows.by_ref().take(BOUND_VALUES_MAX / columns.len()))?;
                    sql.push_str(&format!(") update {table} set {set} from u where {table}.{key} = u.{key}"));
                }
            }
        }
    }
    Ok((sql, args))
}

fn separate(sql: &mut String) {
    if !sql.is_empty() {
        sql.push_str(";\n");
    }
}

fn numbered(sql: &mut String, args: &mut SqliteArguments, text: &str, values: &[Value]) -> Result<(), DbError> {
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let digits = rest[at + 1..].bytes().take_while(u8::is_ascii_digit).count();
        sql.push_str(&rest[..at]);
        if digits == 0 {
            sql.push('$');
            rest = &rest[at + 1..];
            continue;
        }
        let n: usize = rest[at + 1..at + 1 + digits].parse().expect("ascii digits form a number");
        sql.push('?');
        bind(args, values.get(n.wrapping_sub(1)).cloned().unwrap_or_else(|| panic!("statement names ${n} but has {} arguments", values.len())))?;
        rest = &rest[at + 1 + digits..];
    }
    sql.push_str(rest);
    Ok(())
}

fn tuples(sql: &mut String, args: &mut SqliteArguments, rows: impl Iterator<Item = Vec<Value>>) -> Result<(), DbError> {
    for (n, row) in rows.enumerate() {
        sql.push_str(if n == 0 { "(" } else { ",(" });
        for (i, value) in row.into_iter().enumerate() {
            sql.push_str(if i == 0 { "?" } else { ",?" });
            bind(args, value)?;
        }
        sql.push(')');
    }
    Ok(())
}

fn bind(args: &mut SqliteArguments, value: Value) -> Result<(), DbError> {
    match value {
        Value::Null => args.add(None::<i64>),
        Value::Int(v) => args.add(v),
        Value::Text(v) => args.add(v),
        Value::Blob(v) => args.add(Vec::from(v)),
    }
    .map_err(|e| DbError::Failed(e.to_string()))
}

async fn run(conn: &mut SqliteConnection, script: Script) -> Result<Vec<Row>, DbError> {
    let (sql, args) = flatten(script)?;
    // Batches of one shape have one text, and callers that come and go together make the same shapes again.
    let cached = sql.len() < CACHED_SCRIPT_BYTES_MAX;
    let rows = sqlx::query_with(AssertSqlSafe(sql), args).persistent(cached).fetch_all(conn).await.map_err(db_error)?;
    rows.into_iter()
        .map(|row| {
            (0..row.len())
                .map(|i| {
                    let raw = row.try_get_raw(i).map_err(db_error)?;
                    if raw.is_null() {
                        return Ok(Value::Null);
                    }
                    Ok(match raw.type_info().name() {
                        "INTEGER" | "BOOLEAN" => Value::Int(row.try_get(i).map_err(db_error)?),
                        "TEXT" => Value::Text(row.try_get(i).map_err(db_error)?),
                        "BLOB" => Value::Blob(row.try_get::<Vec<u8>, _>(i).map_err(db_error)?.into()),
                        _ => return Err(DbError::Failed(format!("column {} has a type that is not used here", row.column(i).name()))),
                    })
                })
                .collect::<Result<Vec<_>, _>>()
                .map(Row)
        })
        .collect()
}

pub(crate) fn db_error(e: sqlx::Error) -> DbError {
    if let sqlx::Error::Database(db) = &e {
        // Primary result codes: 8 read-only, 10 I/O error, 13 full, 14 cannot open, 19 constraint, 20 wrong type.
        let code = db.code().and_then(|c| c.parse::<i32>().ok()).unwrap_or(0) & 0xff;
        if matches!(code, 19 | 20) {
            return DbError::Constraint;
        }
        if matches!(code, 8 | 10 | 13 | 14) {
            return DbError::Unwritable(describe(&e));
        }
    }
    DbError::Failed(describe(&e))
}

/// An engine's message; SQLite names tables and columns in it, never values.
pub(crate) fn describe(e: &sqlx::Error) -> String {
    match e {
        sqlx::Error::Database(db) => format!("{} (code {})", db.message(), db.code().unwrap_or_default()),
        other => other.to_string(),
    }
}

/// SQLite's own check of a whole file.
pub(crate) async fn check_file(file: &Path) -> Result<(), StoreError> {
    let mut conn = SqliteConn::open_with(file, CACHE_KIB).await?;
    let mut script = Script::default();
    script.push("pragma quick_check(1)", &[]);
    let rows = conn.run(script).await.map_err(unavailable)?;
    conn.close().await;
    match rows.first().and_then(|r| r.opt_text(0)) {
        Some("ok") => Ok(()),
        Some(other) => Err(StoreError::Unavailable(other.to_owned())),
        None => Err(StoreError::Unavailable("it does not answer".to_owned())),
    }
}

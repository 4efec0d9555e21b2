//! PostgreSQL behind the store port: one writing connection owned by the writer task, a few reading ones, and a look every few
//! milliseconds at what other processes of the service committed.
//!
//! Several processes may write. The row of `writer` is their lock: a batch is written by whoever moves its generation from what it
//! judged by, so positions are given in commit order without a gap; a session that stops in mid-transaction is ended by the server,
//! and the lock with it. Most batches are one statement: the row, the events, the claims, committed in one round trip.

use crate::writer::{Begun, Exclusive, Writer, WriterConn, WriterHandle};
use crate::{Faults, recorded, schema};
use async_trait::async_trait;
use hearthline_contracts::topics::Topic;
use hearthline_eventing::{
    Answer, Committed, Conn, DbError, Dialect, Kind, Recorded, Row, Script, Statement, Store, StoreError, StoredBlob, Unit, Value, View,
};
use hearthline_nhs::StreamId;
use sqlx::encode::IsNull;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgArguments, PgConnectOptions, PgPoolOptions, PgRow, PgSslMode, PgTypeInfo};
use sqlx::{Arguments, AssertSqlSafe, Column, ConnectOptions, Connection, PgConnection, PgPool, Postgres, Row as _, TypeInfo, ValueRef};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Connections of one process to its service's store: the writer and the readers.
pub const STORE_CONNECTIONS: u32 = 1 + READERS;
const READERS: u32 = 4;
/// The oldest server that is known to do.
pub const SERVER_VERSION_MIN: i32 = 15;
/// What the server ends: a session that holds the lock and does nothing.
const IDLE_IN_TRANSACTION_MS: u32 = 10_000;
/// How long a batch waits for the lock; longer than a session that holds it idly may live.
const LOCK_TIMEOUT_MS: u32 = 15_000;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longer than any statement takes; then the connection is thought dead.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// How often others' commits are looked for, while there are some and while there are none.
const LOOK_BUSY: Duration = Duration::from_millis(10);
const LOOK_IDLE: Duration = Duration::from_millis(30);

/// Transport security towards the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tls {
    Disabled,
    /// Encrypted, and the server's certificate and name are checked against this file or the machine's own authorities.
    VerifyFull(Option<PathBuf>),
}

/// A database and who connects to it.
#[derive(Debug, Clone)]
pub struct Database {
    pub host: String,
    pub port: u16,
    pub name: String,
    pub role: String,
    /// None: the server asks for none.
    pub password: Option<String>,
    pub tls: Tls,
}

impl Database {
    /// Options of a session in which names without a schema mean those of `schema`.
    fn session(&self, schema: &str, sign: &str) -> PgConnectOptions {
        let mut options = PgConnectOptions::new_without_pgpass()
            .host(&self.host)
            .port(self.port)
            .database(&self.name)
            .username(&self.role)
            .application_name("hearthline")
            .statement_cache_capacity(500)
            .options([
                ("search_path", schema),
                ("synchronous_commit", "on"),
                // What the lock rests on: a statement that waited for it sees what was committed meanwhile.
                ("default_transaction_isolation", "read committed"),
                // Each statement finds its rows by key: no value makes another plan better, and planning costs more than running.
                ("plan_cache_mode", "force_generic_plan"),
                ("timezone", "UTC"),
                ("client_min_messages", "warning"),
                ("idle_in_transaction_session_timeout", &IDLE_IN_TRANSACTION_MS.to_string()),
                ("lock_timeout", &LOCK_TIMEOUT_MS.to_string()),
                ("hearthline.session", sign),
            ])
            .disable_statement_logging();
        if let Some(password) = &self.password {
            options = options.password(password);
        }
        match &self.tls {
            Tls::Disabled => options.ssl_mode(PgSslMode::Disable),
            Tls::VerifyFull(None) => options.ssl_mode(PgSslMode::VerifyFull),
            Tls::VerifyFull(Some(file)) => options.ssl_mode(PgSslMode::VerifyFull).ssl_root_cert(file),
        }
    }

    fn named(&self) -> String {
        format!("{} on {}:{} as {}", self.name, self.host, self.port, self.role)
    }
}

/// Where the writer connects to.
pub(crate) struct Place {
    pub(crate) database: Database,
    pub(crate) schema: String,
}

impl Place {
    /// A connection of which it is known that it is one session of a server that will do.
    pub(crate) async fn connect(&self) -> Result<PgConn, StoreError> {
        let sign = uuid::Uuid::new_v4().simple().to_string();
        let options = self.database.session(&self.schema, &sign);
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, options.connect()).await;
        let away = |why: String| StoreError::Unavailable(format!("{}: {why}", self.database.named()));
        let failed = |why: String| StoreError::Misconfigured(format!("{}: {why}", self.database.named()));
        let conn = match connected {
            Err(_) => return Err(away(format!("no answer within {} s", CONNECT_TIMEOUT.as_secs()))),
            Ok(Err(error)) => {
                let why = connecting(&error);
                let may_pass = matches!(db_error(&error), DbError::Away(_)) && why != POOLER;
                return Err(if may_pass { away(why) } else { failed(why) });
            }
            Ok(Ok(conn)) => conn,
        };
        let mut conn = PgConn { conn, begun: false };
        let mut script = Script::default();
        script
            .push("select coalesce(current_setting('hearthline.session', true), ''), current_setting('server_version_num')::bigint, pg_is_in_recovery()", &[]);
        let rows = conn.run(script).await.map_err(|e| away(e.to_string()))?;
        let Some(row) = rows.first() else { return Err(failed("the server says nothing of itself".to_owned())) };
        if row.text(0) != sign {
            return Err(failed(POOLER.to_owned()));
        }
        if row.int(1) < i64::from(SERVER_VERSION_MIN) * 10_000 {
            return Err(failed(format!("PostgreSQL {SERVER_VERSION_MIN} or newer is needed; this server is {}", row.int(1) / 10_000)));
        }
        if row.flag(2) {
            return Err(failed("this server is a standby and takes no writes: connect to the primary".to_owned()));
        }
        Ok(conn)
    }
}

const POOLER: &str = "a connection pooler stands in between and does not keep one session: connect to PostgreSQL itself (`hearthline config check` says how many connections that takes)";

/// Why a connection was not made, and what to do.
fn connecting(error: &sqlx::Error) -> String {
    if let sqlx::Error::Database(db) = error {
        let (code, message) = (db.code().unwrap_or_default().into_owned(), db.message());
        return match code.as_str() {
            _ if message.contains("unsupported startup parameter") => POOLER.to_owned(),
            "28P01" | "28000" => {
                format!("the server refuses the role or its password ({message}): check [postgres] password_folder and the server's pg_hba.conf")
            }
            "3D000" => format!("{message}: create it with deploy/postgres/roles.sql"),
            "42501" => format!("{message}: grant it with deploy/postgres/roles.sql"),
            "53300" => format!("{message}: raise max_connections (`hearthline config check` says how many are needed)"),
            _ => format!("{message} (code {code})"),
        };
    }
    describe(error)
}

/// How a service's store is opened.
pub struct PostgresOptions {
    pub service: &'static str,
    /// The topic of the service's own events.
    pub topic: &'static Topic,
    pub database: Database,
    /// The service's schema in the database.
    pub schema: String,
    pub views: Vec<Arc<dyn View>>,
    pub faults: Arc<dyn Faults>,
}

/// One service's store in one schema of a PostgreSQL database. Cheap to clone.
#[derive(Clone)]
pub struct PostgresStore {
    service: &'static str,
    pub(crate) topic: &'static Topic,
    readers: PgPool,
    writer: WriterHandle<PgConn>,
    pub(crate) place: Arc<Place>,
    pub(crate) views: Vec<Arc<dyn View>>,
    /// Ends the looking with the last clone.
    _look: Arc<AbortOnDrop>,
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);
impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl PostgresStore {
    /// Connects, sees that the tables are of this release, and starts the writer.
    pub async fn open(options: PostgresOptions) -> Result<Self, StoreError> {
        let PostgresOptions { service, topic, database, schema, views, faults } = options;
        let place = Arc::new(Place { database, schema });
        let mut conn = place.connect().await?;
        schema::verify(&mut conn, &place.schema, &views).await?;
        let readers = PgPoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(CONNECT_TIMEOUT)
            .test_before_acquire(false)
            .connect_lazy_with(place.database.session(&place.schema, "reader"));
        let writer = Writer::start(conn, place.clone(), topic, views.clone(), faults).await?;
        let look = tokio::spawn(look(readers.clone(), writer.clone()));
        Ok(PostgresStore { service, topic, readers, writer, place, views, _look: Arc::new(AbortOnDrop(look)) })
    }

    /// Runs a function on the writing connection between two batches.
    pub(crate) async fn exclusively(&self, job: Exclusive<PgConn>) -> Result<(), StoreError> {
        self.writer.exclusively(job).await
    }

    /// Stops the writer after what is queued and closes the connections.
    pub async fn close(&self) {
        self._look.0.abort();
        self.writer.close().await;
        self.readers.close().await;
    }
}

/// Looks for what other processes committed, and wakes the workers here.
async fn look(readers: PgPool, writer: WriterHandle<PgConn>) {
    let mut patience = LOOK_BUSY;
    loop {
        tokio::time::sleep(patience).await;
        let seen = *writer.committed().borrow();
        let mut script = Script::default();
        // With a parameter, so that the server parses it once.
        script.push("select position, work from writer where generation > $1", &[Value::Int(-1)]);
        match read(&readers, script).await {
            Ok(rows) => {
                let Some(row) = rows.first() else { continue };
                let news = writer.learn(seen, Committed { position: row.int(0).unsigned_abs(), work: row.int(1).unsigned_abs(), ..seen });
                patience = if news { LOOK_BUSY } else { (patience * 2).min(LOOK_IDLE) };
            }
            Err(error) => {
                tracing::debug!(%error, "others' commits cannot be looked for; it is tried again");
                patience = Duration::from_millis(500);
            }
        }
    }
}

/// A read on some connection of the pool; a connection that broke meanwhile is replaced.
async fn read(readers: &PgPool, script: Script) -> Result<Vec<Row>, DbError> {
    let mut tries = 0;
    loop {
        let mut conn = readers.acquire().await.map_err(|e| DbError::Away(connecting(&e)))?;
        match run(&mut conn, script.clone()).await {
            Err(DbError::Away(_)) if tries <= READERS => {
                // Never to be used again.
                drop(conn.detach());
                tries += 1;
            }
            done => return done,
        }
    }
}

#[async_trait]
impl Store for PostgresStore {
    fn service(&self) -> &str {
        self.service
    }

    async fn append(&self, unit: Unit) -> Result<Answer, StoreError> {
        self.writer.append(unit).await
    }

    async fn read_stream(&self, stream: StreamId, after: u64) -> Result<Vec<Recorded>, StoreError> {
        let sql = "select position,stream,version,event_id,name,payload,traceparent from events where stream = $1 and version > $2 order by version";
        Ok(self.query(sql, &[stream.into(), after.into()]).await?.into_iter().map(recorded).collect())
    }

    async fn read_all(&self, after: u64, limit: u32) -> Result<Vec<Recorded>, StoreError> {
        let sql = "select position,stream,version,event_id,name,payload,traceparent from events where position > $1 order by position limit $2";
        Ok(self.query(sql, &[after.into(), limit.into()]).await?.into_iter().map(recorded).collect())
    }

    async fn query(&self, sql: &str, args: &[Value]) -> Result<Vec<Row>, StoreError> {
        let mut script = Script::default();
        script.push(sql.to_owned(), args);
        read(&self.readers, script).await.map_err(unavailable)
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

/// One session.
pub(crate) struct PgConn {
    conn: PgConnection,
    /// The writer began a transaction and has not rolled it back: the server warns of a rollback without one.
    begun: bool,
}

impl PgConn {
    /// Runs statements without parameters.
    pub(crate) async fn batch(&mut self, sql: String) -> Result<(), DbError> {
        let mut script = Script::default();
        script.push(sql, &[]);
        self.run(script).await.map(drop)
    }
}

#[async_trait]
impl Conn for PgConn {
    fn dialect(&self) -> Dialect {
        Dialect::Postgres
    }

    async fn run(&mut self, script: Script) -> Result<Vec<Row>, DbError> {
        run(&mut self.conn, script).await
    }
}

#[async_trait]
impl WriterConn for PgConn {
    type Place = Place;

    async fn open(place: &Place) -> Result<Self, StoreError> {
        place.connect().await
    }

    const SHARED: bool = true;

    /// The row of the generation is the lock: who waits for it gets it as it was committed last, and each statement after that
    /// sees what was committed before it began.
    async fn lock(&mut self) -> Result<Begun, DbError> {
        self.begun = true;
        self.standing("begin; select generation, work from writer for update").await
    }

    async fn look(&mut self) -> Result<Begun, DbError> {
        self.begun = false;
        self.standing("select generation, work from writer").await
    }

    async fn seize(&mut self, expected: i64, after: Begun, position: u64) -> Result<bool, DbError> {
        self.begun = true;
        let mut script = Script::default();
        script.push(format!("begin; {} where generation = {expected} returning 1", moved(after, position)), &[]);
        Ok(!self.run(script).await?.is_empty())
    }

    async fn at_once(&mut self, script: &Script, expected: i64, after: Begun, position: u64) -> Option<Result<bool, DbError>> {
        let Sent { sql, args } = match Sent::joined(script, expected, after, position)? {
            Ok(sent) => sent,
            Err(error) => return Some(Err(error)),
        };
        self.begun = false;
        let sending = sqlx::query_with(AssertSqlSafe(sql), args).fetch_all(&mut self.conn);
        Some(match tokio::time::timeout(ANSWER_TIMEOUT, sending).await {
            Ok(rows) => rows.map(|rows| !rows.is_empty()).map_err(|e| db_error(&e)),
            Err(_) => Err(silent()),
        })
    }

    fn head(&self) -> Script {
        Script::default()
    }

    fn commit(&self, mark: Option<(Begun, u64)>) -> Script {
        let mut script = Script::default();
        match mark {
            Some((after, position)) => script.push(format!("{}; commit", moved(after, position)), &[]),
            None => script.push("commit", &[]),
        }
        script
    }

    async fn roll_back(&mut self) {
        if std::mem::take(&mut self.begun) {
            // Fails where the connection is gone, and the transaction with it.
            let _ = self.batch("rollback".to_owned()).await;
        }
    }

    async fn close(self) {
        let closing = tokio::time::timeout(Duration::from_secs(2), self.conn.close()).await;
        if !matches!(closing, Ok(Ok(()))) {
            tracing::debug!("a database session did not close in order");
        }
    }
}

impl PgConn {
    async fn standing(&mut self, sql: &'static str) -> Result<Begun, DbError> {
        let mut script = Script::default();
        script.push(sql, &[]);
        let rows = self.run(script).await?;
        let row = rows.first().ok_or_else(|| DbError::Failed("the table writer is empty: run `hearthline migrate`".to_owned()))?;
        Ok(Begun { generation: row.int(0), work: row.int(1) })
    }
}

/// Says that a batch comes.
fn moved(after: Begun, position: u64) -> String {
    format!("update writer set generation = {}, position = {position}, work = {}", after.generation, after.work)
}

fn silent() -> DbError {
    DbError::Away(format!("no answer within {} s", ANSWER_TIMEOUT.as_secs()))
}

/// A null whose type the server infers.
struct Untyped;
impl sqlx::Type<Postgres> for Untyped {
    fn type_info() -> PgTypeInfo {
        /// The pseudo-type `unknown`.
        const UNKNOWN: Oid = Oid(705);
        PgTypeInfo::with_oid(UNKNOWN)
    }
}
impl sqlx::Encode<'_, Postgres> for Untyped {
    fn encode_by_ref(&self, _: &mut PgArgumentBuffer) -> Result<IsNull, sqlx::error::BoxDynError> {
        Ok(IsNull::Yes)
    }
}

/// One statement as the server gets it.
struct Sent {
    sql: String,
    args: PgArguments,
}

impl Sent {
    fn new(statement: Statement) -> Result<Self, DbError> {
        let mut args = PgArguments::default();
        let sql = match statement {
            Statement::Plain { sql, args: values } => {
                values.iter().try_for_each(|v| bind(&mut args, v))?;
                sql.into_owned()
            }
            Statement::Insert { head, rows, tail } => insert(&mut args, &head, &rows, &tail, "")?,
            Statement::Among { head, args: values, keys, tail } => {
                values.iter().try_for_each(|v| bind(&mut args, v))?;
                let kind = bind_column(&mut args, keys.iter())?.unwrap_or("text");
                format!("{head} = any(${}::{kind}[]) {tail}", values.len() + 1)
            }
            Statement::Delete { table, key, rows } => {
                let (mut arrays, mut names, mut on) = (String::new(), String::new(), String::new());
                for (i, column) in key.iter().enumerate() {
                    let kind = bind_column(&mut args, rows.iter().map(|r| &r[i]))?.unwrap_or("text");
                    let comma = if i > 0 { "," } else { "" };
                    arrays.push_str(&format!("{comma}${}::{kind}[]", i + 1));
                    names.push_str(&format!("{comma}c{i}"));
                    on.push_str(&format!("{}t.{column} = u.c{i}", if i > 0 { " and " } else { "" }));
                }
                format!("delete from {table} t using unnest({arrays}) as u({names}) where {on}")
            }
            Statement::Update { table, columns, set, rows } => {
                let (mut arrays, mut names) = (String::new(), String::new());
                for (i, (name, kind)) in columns.iter().enumerate() {
                    let comma = if i > 0 { "," } else { "" };
                    let kind = bind_array(&mut args, *kind, rows.iter().map(|r| &r[i]))?;
                    arrays.push_str(&format!("{comma}${}::{kind}[]", i + 1));
                    names.push_str(&format!("{comma}{name}"));
                }
                let key = columns[0].0;
                format!("update {table} set {set} from unnest({arrays}) as u({names}) where {table}.{key} = u.{key}")
            }
        };
        Ok(Sent { sql, args })
    }
}

impl Sent {
    /// Inserts into tables of their own as one statement, on condition of the generation. `None` where there is anything else.
    fn joined(script: &Script, expected: i64, after: Begun, position: u64) -> Option<Result<Self, DbError>> {
        let statements = script.statements();
        let mut tables = Vec::with_capacity(statements.len());
        for statement in statements {
            let Statement::Insert { head, .. } = statement else { return None };
            let table = head.split('(').next();
            if tables.contains(&table) {
                return None;
            }
            tables.push(table);
        }
        let mut args = PgArguments::default();
        let build = |args: &mut PgArguments| {
            for number in [after.generation, i64::try_from(position).unwrap_or(i64::MAX), after.work, expected] {
                args.add(number).map_err(|e| DbError::Failed(e.to_string()))?;
            }
            let mut sql = "with w as (update writer set generation = $1, position = $2, work = $3 where generation = $4 returning 1)".to_owned();
            for (n, statement) in statements.iter().enumerate() {
                let Statement::Insert { head, rows, tail } = statement else { continue };
                sql.push_str(&format!(", s{n} as ({})", insert(args, head, rows, tail, ", w")?));
            }
            sql.push_str(" select 1 from w");
            Ok(sql)
        };
        Some(build(&mut args).map(|sql| Sent { sql, args }))
    }
}

/// An insert of one array a column; the text does not change with the number of rows. `also` is joined to the rows.
fn insert(args: &mut PgArguments, head: &str, rows: &[Vec<Value>], tail: &str, also: &str) -> Result<String, DbError> {
    let width = rows.first().map_or(0, Vec::len);
    let (mut wanted, mut arrays, mut names) = (String::new(), String::new(), String::new());
    for i in 0..width {
        if i > 0 {
            wanted.push(',');
        }
        match bind_column(args, rows.iter().map(|r| &r[i]))? {
            None => wanted.push_str("null"),
            Some(kind) => {
                let comma = if names.is_empty() { "" } else { "," };
                wanted.push_str(&format!("c{i}"));
                arrays.push_str(&format!("{comma}${}::{kind}[]", args.len()));
                names.push_str(&format!("{comma}c{i}"));
            }
        }
    }
    Ok(format!("{head} select {wanted} from unnest({arrays}) as u({names}){also} {tail}"))
}

fn bind(args: &mut PgArguments, value: &Value) -> Result<(), DbError> {
    match value {
        Value::Null => args.add(Untyped),
        Value::Int(v) => args.add(v),
        Value::Text(v) => args.add(v.as_str()),
        Value::Blob(v) => args.add(v.as_ref()),
    }
    .map_err(|e| DbError::Failed(e.to_string()))
}

/// A column of rows as one array; gives its element type, or nothing (and binds nothing) where every value is null.
fn bind_column<'a>(args: &mut PgArguments, mut values: impl Iterator<Item = &'a Value> + Clone) -> Result<Option<&'static str>, DbError> {
    let kind = values.clone().find_map(|v| match v {
        Value::Null => None,
        Value::Int(_) => Some(Kind::Int),
        Value::Text(_) => Some(Kind::Text),
        Value::Blob(_) => Some(Kind::Blob),
    });
    kind.map(|kind| bind_array(args, kind, values.by_ref())).transpose()
}

/// Values of one kind, or null, as one array; gives its element type.
fn bind_array<'a>(args: &mut PgArguments, kind: Kind, values: impl Iterator<Item = &'a Value>) -> Result<&'static str, DbError> {
    fn array<'a, T: 'a>(values: impl Iterator<Item = &'a Value>, of: impl Fn(&'a Value) -> Option<T>) -> Result<Vec<Option<T>>, DbError> {
        let one = |v| match v {
            &Value::Null => Ok(None),
            v => of(v).map(Some).ok_or_else(|| DbError::Failed("a column mixes kinds of values".to_owned())),
        };
        values.map(one).collect()
    }
    let (bound, name) = match kind {
        Kind::Int => (args.add(array(values, |v| if let Value::Int(v) = v { Some(*v) } else { None })?), "bigint"),
        Kind::Text => (args.add(array(values, |v| if let Value::Text(v) = v { Some(v.as_str()) } else { None })?), "text"),
        Kind::Blob => (args.add(array(values, |v| if let Value::Blob(v) = v { Some(v.as_ref()) } else { None })?), "bytea"),
    };
    bound.map(|()| name).map_err(|e| DbError::Failed(e.to_string()))
}

/// Runs every statement in order; one that hangs means that the connection is dead.
async fn run(conn: &mut PgConnection, script: Script) -> Result<Vec<Row>, DbError> {
    let mut found = Vec::new();
    for statement in script.into_statements() {
        let bare = matches!(&statement, Statement::Plain { args, .. } if args.is_empty());
        let Sent { sql, args } = Sent::new(statement)?;
        let rows = async {
            if bare {
                sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(&mut *conn).await
            } else {
                sqlx::query_with(AssertSqlSafe(sql), args).fetch_all(&mut *conn).await
            }
        };
        let rows = match tokio::time::timeout(ANSWER_TIMEOUT, rows).await {
            Ok(rows) => rows.map_err(|e| db_error(&e))?,
            Err(_) => return Err(silent()),
        };
        found.reserve(rows.len());
        for row in &rows {
            found.push(decoded(row)?);
        }
    }
    Ok(found)
}

fn decoded(row: &PgRow) -> Result<Row, DbError> {
    let failed = |e: sqlx::Error| db_error(&e);
    (0..row.len())
        .map(|i| {
            let raw = row.try_get_raw(i).map_err(failed)?;
            if raw.is_null() {
                return Ok(Value::Null);
            }
            Ok(match raw.type_info().name() {
                "INT8" => Value::Int(row.try_get(i).map_err(failed)?),
                "INT4" => Value::Int(i64::from(row.try_get::<i32, _>(i).map_err(failed)?)),
                "BOOL" => Value::Int(i64::from(row.try_get::<bool, _>(i).map_err(failed)?)),
                "TEXT" | "VARCHAR" | "NAME" => Value::Text(row.try_get(i).map_err(failed)?),
                "BYTEA" => Value::Blob(row.try_get::<Vec<u8>, _>(i).map_err(failed)?.into()),
                "VOID" => Value::Null,
                other => return Err(DbError::Failed(format!("column {} is of type {other}, which is not used here", row.column(i).name()))),
            })
        })
        .collect::<Result<Vec<_>, _>>()
        .map(Row)
}

fn db_error(e: &sqlx::Error) -> DbError {
    let sqlx::Error::Database(db) = e else {
        return match e {
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => DbError::Away(describe(e)),
            _ => DbError::Failed(describe(e)),
        };
    };
    let code = db.code().unwrap_or_default().into_owned();
    match code.as_str() {
        // Integrity, and values that no column takes (a NUL in a text).
        c if c.starts_with("23") || c.starts_with("22") => DbError::Constraint,
        // Out of disk or memory, an I/O error, a read-only server.
        c if c.starts_with("58") || matches!(c, "53100" | "53200" | "25006") => DbError::Unwritable(describe(e)),
        // The server is stopping, or ended the session or the statement; the transaction is gone with it.
        c if c.starts_with("08") || c.starts_with("57") || matches!(c, "25P03" | "25P04" | "55P03" | "53300") => DbError::Away(describe(e)),
        _ => DbError::Failed(describe(e)),
    }
}

/// The server's message; where it may quote a value, its code alone.
fn describe(e: &sqlx::Error) -> String {
    match e {
        sqlx::Error::Database(db) => {
            let code = db.code().unwrap_or_default();
            if code.starts_with("22") || code.starts_with("23") {
                format!("a value is refused (code {code})")
            } else {
                format!("{} (code {code})", db.message())
            }
        }
        sqlx::Error::Io(io) => format!("{io}; is PostgreSQL running there?"),
        other => other.to_string(),
    }
}

pub(crate) fn unavailable(e: DbError) -> StoreError {
    StoreError::Unavailable(e.to_string())
}

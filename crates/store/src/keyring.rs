//! Data keys in a database of their own, wrapped under a key-encryption key that lies in another file: [`SqliteKeyring`] in a
//! file, [`PostgresKeyring`] in a database where each service sees the rows that it is granted and no other.
//!
//! Creation is a group commit like the event writer's: a stream's first event waits for its key to be durable, and many
//! streams begin at once. Destruction overwrites the row (`secure_delete`) and empties the write-ahead log before it returns.

use crate::postgres::{Database, PgConn, Place};
use crate::schema::is_plain;
use crate::sqlite::{CACHE_KIB, SqliteConn};
use crate::writer::WriterConn;
use async_trait::async_trait;
use hearthline_eventing::{Conn, DataKey, DbError, Dialect, KeyState, KeyStore, KeyringError, Row, Script, Value, now_us, seal};
use std::collections::HashMap;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::{Mutex, mpsc, oneshot};
use zeroize::Zeroizing;

// Rows lie in the order of their making: a row that moves when pages are balanced could leave a copy of its key behind.
const SCHEMA: &str = "
create table if not exists keys (
  seq integer primary key,
  id blob not null unique,
  context text not null,
  kek_id text not null,
  wrapped blob,
  created_at integer not null,
  destroyed_at integer
);
";
const BATCH_KEYS_MAX: usize = 512;

enum Job {
    Create { id: [u8; 16], context: String, reply: oneshot::Sender<Result<KeyState, KeyringError>> },
    Destroy { id: [u8; 16], reply: oneshot::Sender<Result<bool, KeyringError>> },
}

/// The keyring of the one-machine edition.
pub struct SqliteKeyring {
    jobs: mpsc::Sender<Job>,
    reader: Mutex<SqliteConn>,
    kek: Arc<Kek>,
}

/// The key-encryption key and the id that rows name it by.
struct Kek {
    id: String,
    key: DataKey,
}

impl SqliteKeyring {
    /// Opens or creates the keyring; `kek_file` is made with mode 0600 on first start.
    pub async fn open(file: &Path, kek_file: &Path) -> Result<Self, KeyringError> {
        if !file.exists() {
            Kek::make(kek_file)?;
        }
        let kek = Arc::new(Kek::load(kek_file)?);
        let mut conn = SqliteConn::open_with(file, CACHE_KIB).await.map_err(unavailable)?;
        conn.batch(&format!("pragma secure_delete = on; pragma wal_autocheckpoint = 1000; {SCHEMA}")).await.map_err(unavailable)?;
        empty_wal(&mut conn).await?;
        kek.check(&mut conn).await?;
        let reader = SqliteConn::open_with(file, CACHE_KIB).await.map_err(unavailable)?;
        Ok(SqliteKeyring { jobs: start(conn, kek.clone()), reader: Mutex::new(reader), kek })
    }
}

/// The keyring of the distributed edition, as one service's role sees it.
pub struct PostgresKeyring {
    jobs: mpsc::Sender<Job>,
    reader: Mutex<Lasting>,
    kek: Arc<Kek>,
}

/// Connections of one process to the keyring: one that makes keys, one that reads them.
pub const KEYRING_CONNECTIONS: u32 = 2;

impl PostgresKeyring {
    /// Connects; the tables and the key-encryption key must be there.
    pub async fn open(database: Database, schema: String, kek_file: &Path) -> Result<Self, KeyringError> {
        let kek = Arc::new(Kek::load(kek_file)?);
        let place = Arc::new(Place { database, schema });
        let mut reader = Lasting { place: place.clone(), conn: None };
        kek.check(&mut reader).await?;
        Ok(PostgresKeyring { jobs: start(Lasting { place, conn: None }, kek.clone()), reader: Mutex::new(reader), kek })
    }

    /// Makes the tables as the role that owns them, grants each role the contexts that it opens (the first is its own, in which it
    /// makes and destroys), and makes the key-encryption key where there is no key yet.
    pub async fn migrate(owner: Database, schema: &str, grants: &[(String, &[&str])], kek_file: &Path) -> Result<(), KeyringError> {
        if !is_plain(schema) {
            return Err(KeyringError::Unavailable(format!("{schema:?} does not do as the name of a schema: lower-case letters, digits and _")));
        }
        let place = Place { database: owner, schema: schema.to_owned() };
        let mut conn = place.connect().await.map_err(unavailable)?;
        let mut sql = format!("begin; select pg_advisory_xact_lock(hashtext('hearthline migrate'));\n{}\ndelete from grants;\n", postgres_schema(schema));
        for (role, contexts) in grants {
            if !is_plain(role) {
                return Err(KeyringError::Unavailable(format!("{role:?} does not do as the name of a role")));
            }
            for (n, context) in contexts.iter().enumerate() {
                sql.push_str(&format!("insert into grants values ('{role}', '{context}', {});\n", n == 0));
            }
            if !contexts.is_empty() {
                sql.push_str(&format!("grant usage on schema {schema} to {role};\ngrant select on keys, grants to {role};\ngrant insert (id, context, kek_id, wrapped, created_at) on keys to {role};\ngrant update (wrapped, destroyed_at) on keys to {role};\ngrant execute on function context_of(bytea) to {role};\n"));
            }
        }
        sql.push_str("commit");
        let done = conn.batch(sql).await.map_err(unavailable);
        let has_keys = async {
            done?;
            let mut script = Script::default();
            script.push("select exists (select 1 from keys)", &[]);
            Ok::<_, KeyringError>(conn.run(script).await.map_err(unavailable)?.first().is_none_or(|r| r.flag(0)))
        }
        .await;
        conn.close().await;
        if !has_keys? && !kek_file.exists() {
            Kek::make(kek_file)?;
        }
        Kek::load(kek_file).map(drop)
    }
}

/// What each role sees is the table's own rule, not only the program's. `context_of` tells a reader that a key exists and is not for
/// it, which is not the same as a key that was never made.
fn postgres_schema(schema: &str) -> String {
    format!(
        "
create schema if not exists {schema};
create table if not exists keys (
  seq bigint generated by default as identity primary key,
  id bytea not null unique,
  context text not null,
  kek_id text not null,
  wrapped bytea,
  created_at bigint not null,
  destroyed_at bigint
);
create table if not exists grants (reader text not null, context text not null, is_own boolean not null, primary key (reader, context));
alter table keys enable row level security;
drop policy if exists opens on keys;
create policy opens on keys for select using (context in (select g.context from grants g where g.reader = current_user));
drop policy if exists makes on keys;
create policy makes on keys for insert with check (context in (select g.context from grants g where g.reader = current_user and g.is_own));
drop policy if exists destroys on keys;
create policy destroys on keys for update using (context in (select g.context from grants g where g.reader = current_user and g.is_own));
create or replace function context_of(bytea) returns text language sql stable security definer set search_path = {schema} as 'select context from keys where id = $1';
revoke all on function context_of(bytea) from public;
revoke all on schema {schema} from public;
"
    )
}

#[async_trait]
impl KeyStore for PostgresKeyring {
    async fn create(&self, context: &str, id: [u8; 16]) -> Result<KeyState, KeyringError> {
        ask(&self.jobs, |reply| Job::Create { id, context: context.to_owned(), reply }).await
    }

    async fn open(&self, id: [u8; 16]) -> Result<KeyState, KeyringError> {
        let mut reader = self.reader.lock().await;
        let mut script = Script::default();
        script.push("select id, context, kek_id, wrapped from keys where id = $1", &[id.into()]);
        if let Some(row) = reader.run(script).await.map_err(unavailable)?.first() {
            return self.kek.unwrap(row);
        }
        unseen(&mut *reader, id).await
    }

    async fn destroy(&self, id: [u8; 16]) -> Result<bool, KeyringError> {
        ask(&self.jobs, |reply| Job::Destroy { id, reply }).await
    }
}

/// Why a row is not seen: there is none, or it is not for this reader.
async fn unseen(conn: &mut dyn Conn, id: [u8; 16]) -> Result<KeyState, KeyringError> {
    if conn.dialect() == Dialect::Sqlite {
        return Ok(KeyState::Missing);
    }
    let mut script = Script::default();
    script.push("select context_of($1)", &[id.into()]);
    let context = conn.run(script).await.map_err(unavailable)?.first().and_then(|r| r.opt_text(0).map(str::to_owned));
    Ok(context.map_or(KeyState::Missing, |context| KeyState::Withheld { context }))
}

/// A session that is made anew when it broke. A read is repeated; of a write that broke the caller hears.
struct Lasting {
    place: Arc<Place>,
    conn: Option<PgConn>,
}

#[async_trait]
impl Conn for Lasting {
    fn dialect(&self) -> Dialect {
        Dialect::Postgres
    }

    async fn run(&mut self, script: Script) -> Result<Vec<Row>, DbError> {
        let was_there = self.conn.is_some();
        match self.attempt(script.clone()).await {
            // It broke while nobody looked: every statement here may be repeated.
            Err(DbError::Away(_)) if was_there => self.attempt(script).await,
            done => done,
        }
    }
}

impl Lasting {
    async fn attempt(&mut self, script: Script) -> Result<Vec<Row>, DbError> {
        let conn = match &mut self.conn {
            Some(conn) => conn,
            none => none.insert(self.place.connect().await.map_err(|e| DbError::Away(e.to_string()))?),
        };
        let done = conn.run(script).await;
        if matches!(done, Err(DbError::Away(_))) {
            self.conn = None;
        }
        done
    }
}

/// A connection that makes and destroys keys.
#[async_trait]
trait KeyConn: Conn {
    /// Leaves no copy of what was destroyed where the engine can help it.
    async fn scrub(&mut self) -> Result<(), KeyringError>;
    async fn end(self);
}

#[async_trait]
impl KeyConn for SqliteConn {
    async fn scrub(&mut self) -> Result<(), KeyringError> {
        empty_wal(self).await
    }
    async fn end(self) {
        self.close().await;
    }
}

#[async_trait]
impl KeyConn for Lasting {
    async fn scrub(&mut self) -> Result<(), KeyringError> {
        Ok(())
    }
    async fn end(self) {
        if let Some(conn) = self.conn {
            conn.close().await;
        }
    }
}

fn start<C: KeyConn + 'static>(conn: C, kek: Arc<Kek>) -> mpsc::Sender<Job> {
    let (jobs, queue) = mpsc::channel(4_096);
    tokio::spawn(write(conn, kek, queue));
    jobs
}

async fn ask<T>(jobs: &mpsc::Sender<Job>, job: impl FnOnce(oneshot::Sender<Result<T, KeyringError>>) -> Job) -> Result<T, KeyringError> {
    let (reply, answer) = oneshot::channel();
    jobs.send(job(reply)).await.map_err(unavailable)?;
    answer.await.map_err(unavailable)?
}

#[async_trait]
impl KeyStore for SqliteKeyring {
    async fn create(&self, context: &str, id: [u8; 16]) -> Result<KeyState, KeyringError> {
        ask(&self.jobs, |reply| Job::Create { id, context: context.to_owned(), reply }).await
    }

    async fn open(&self, id: [u8; 16]) -> Result<KeyState, KeyringError> {
        let mut script = Script::default();
        script.push("select id, context, kek_id, wrapped from keys where id = $1", &[id.into()]);
        let rows = self.reader.lock().await.run(script).await.map_err(unavailable)?;
        rows.first().map_or(Ok(KeyState::Missing), |row| self.kek.unwrap(row))
    }

    async fn destroy(&self, id: [u8; 16]) -> Result<bool, KeyringError> {
        ask(&self.jobs, |reply| Job::Destroy { id, reply }).await
    }
}

async fn write<C: KeyConn>(mut conn: C, kek: Arc<Kek>, mut queue: mpsc::Receiver<Job>) {
    let mut jobs = Vec::new();
    while queue.recv_many(&mut jobs, BATCH_KEYS_MAX).await > 0 {
        let mut creates = Vec::new();
        for job in jobs.drain(..) {
            match job {
                Job::Create { id, context, reply } => creates.push((id, context, reply)),
                Job::Destroy { id, reply } => {
                    // The caller may have gone; the key is destroyed all the same.
                    let _ = reply.send(destroy(&mut conn, id).await);
                }
            }
        }
        if creates.is_empty() {
            continue;
        }
        match create(&mut conn, &kek, &creates).await {
            Ok(states) => {
                for (id, _, reply) in creates {
                    let _ = reply.send(states.get(&id).cloned().unwrap_or(Err(KeyringError::Missing)));
                }
            }
            Err(error) => {
                for (_, _, reply) in creates {
                    let _ = reply.send(Err(error.clone()));
                }
            }
        }
    }
    conn.end().await;
}

type Wanted = ([u8; 16], String, oneshot::Sender<Result<KeyState, KeyringError>>);

async fn create(conn: &mut dyn Conn, kek: &Kek, wanted: &[Wanted]) -> Result<HashMap<[u8; 16], Result<KeyState, KeyringError>>, KeyringError> {
    let mut states = HashMap::with_capacity(wanted.len());
    let mut rows = Vec::with_capacity(wanted.len());
    for (id, context, _) in wanted {
        if states.contains_key(id) {
            continue;
        }
        let mut bytes = Zeroizing::new([0u8; 32]);
        getrandom::fill(bytes.as_mut_slice()).map_err(unavailable)?;
        let key = DataKey(Arc::new(bytes));
        rows.push(vec![(*id).into(), context.as_str().into(), kek.id.as_str().into(), kek.wrap(id, context, &key).into(), now_us().into()]);
        states.insert(*id, Ok(KeyState::Key { context: context.clone(), key }));
    }
    let mut script = Script::default();
    let n = rows.len();
    script.push_rows("insert into keys (id, context, kek_id, wrapped, created_at)", rows, "on conflict (id) do nothing returning id");
    let made = conn.run(script).await.map_err(unavailable)?;
    if made.len() < n {
        // Some were there before: those rows are the truth.
        let ids: Vec<Value> = states.keys().map(|id| (*id).into()).collect();
        let mut script = Script::default();
        script.push_among("select id, context, kek_id, wrapped from keys where id", &[], ids, "");
        let rows = conn.run(script).await.map_err(unavailable)?;
        if rows.len() < n {
            for id in states.keys().copied().filter(|id| rows.iter().all(|r| r.id(0) != *id)).collect::<Vec<_>>() {
                let state = unseen(conn, id).await;
                states.insert(id, state);
            }
        }
        for row in rows {
            states.insert(row.id(0), kek.unwrap(&row));
        }
    }
    Ok(states)
}

async fn destroy<C: KeyConn>(conn: &mut C, id: [u8; 16]) -> Result<bool, KeyringError> {
    let mut script = Script::default();
    script.push("update keys set wrapped = null, destroyed_at = $2 where id = $1 and wrapped is not null returning id", &[id.into(), now_us().into()]);
    let lived = !conn.run(script).await.map_err(unavailable)?.is_empty();
    conn.scrub().await?;
    Ok(lived)
}

/// Moves the write-ahead log into the file and cuts it to nothing: it holds pages as they were before a key was destroyed.
async fn empty_wal(conn: &mut SqliteConn) -> Result<(), KeyringError> {
    let mut script = Script::default();
    script.push("pragma wal_checkpoint(truncate)", &[]);
    let is_busy = conn.run(script).await.map_err(unavailable)?.first().is_none_or(|r| r.flag(0));
    if is_busy {
        return Err(KeyringError::Unavailable(
            "another process reads the keyring, so its write-ahead log still holds what was destroyed; repeat it".to_owned(),
        ));
    }
    Ok(())
}

impl Kek {
    /// Makes one where there is none; for a keyring without keys only.
    fn make(file: &Path) -> Result<(), KeyringError> {
        if file.exists() {
            return Ok(());
        }
        let mut bytes = Zeroizing::new([0u8; 32]);
        getrandom::fill(bytes.as_mut_slice()).map_err(unavailable)?;
        let text = Zeroizing::new(bytes.iter().map(|b| format!("{b:02x}")).collect::<String>());
        write_durably(file, text.as_bytes()).map_err(unavailable)
    }

    fn load(file: &Path) -> Result<Self, KeyringError> {
        if !file.exists() {
            return Err(KeyringError::Misconfigured(format!(
                "the keyring exists but its key-encryption key {} is missing; restore that file from its backup",
                file.display()
            )));
        }
        let text = Zeroizing::new(std::fs::read_to_string(file).map_err(unavailable)?);
        let text = text.trim();
        let mut key = Zeroizing::new([0u8; 32]);
        let malformed = || KeyringError::Unavailable(format!("{} does not hold 64 hexadecimal digits", file.display()));
        if text.len() != 64 || !text.is_ascii() {
            return Err(malformed());
        }
        for (i, byte) in key.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).map_err(|_| malformed())?;
        }
        Ok(Kek { id: "file-1".to_owned(), key: DataKey(Arc::new(key)) })
    }

    /// Opens some living key, so that a wrong key-encryption key is noticed before new keys are wrapped under it.
    async fn check(&self, conn: &mut dyn Conn) -> Result<(), KeyringError> {
        let mut script = Script::default();
        script.push("select id, context, kek_id, wrapped from keys where wrapped is not null order by seq desc limit 1", &[]);
        conn.run(script).await.map_err(unavailable)?.first().map_or(Ok(()), |row| self.unwrap(row).map(drop))
    }

    fn wrap(&self, id: &[u8; 16], context: &str, key: &DataKey) -> Vec<u8> {
        seal::seal_joined(&self.key, &self.associated(id, context), key.0.as_slice())
    }

    fn unwrap(&self, row: &Row) -> Result<KeyState, KeyringError> {
        let (id, context) = (row.id(0), row.text(1).to_owned());
        let Some(wrapped) = row.opt_blob(3) else { return Ok(KeyState::Destroyed { context }) };
        if row.text(2) != self.id {
            return Err(KeyringError::Unavailable(format!("a key is wrapped under the key-encryption key {}, which is not configured", row.text(2))));
        }
        let plain = seal::open_joined(&self.key, &self.associated(&id, &context), wrapped)
            .map_err(|_| KeyringError::Unavailable("a key does not unwrap: the key-encryption key is another one".to_owned()))?;
        let mut key = Zeroizing::new([0u8; 32]);
        key.copy_from_slice(&plain);
        Ok(KeyState::Key { context, key: DataKey(Arc::new(key)) })
    }

    fn associated(&self, id: &[u8; 16], context: &str) -> Vec<u8> {
        [id.as_slice(), context.as_bytes(), &[0], self.id.as_bytes()].concat()
    }
}

/// Writes a new file of mode 0600 that is there whole or not at all.
fn write_durably(file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = file.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut aside = file.as_os_str().to_owned();
    aside.push(".new");
    match std::fs::remove_file(&aside) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut out = options.open(&aside)?;
    out.write_all(bytes)?;
    out.sync_all()?;
    std::fs::rename(&aside, file)?;
    std::fs::File::open(folder)?.sync_all()
}

fn unavailable(e: impl std::fmt::Display) -> KeyringError {
    KeyringError::Unavailable(e.to_string())
}

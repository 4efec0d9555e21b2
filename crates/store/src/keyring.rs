//! Data keys in a SQLite file of their own, wrapped under a key-encryption key that lies in another file.
//!
//! Creation is a group commit like the event writer's: a stream's first event waits for its key to be durable, and many
//! streams begin at once. Destruction overwrites the row (`secure_delete`) and empties the write-ahead log before it returns.

use crate::sqlite::SqliteConn;
use async_trait::async_trait;
use hearthline_eventing::{Conn, DataKey, KeyState, KeyStore, KeyringError, Row, Script, Value, now_us, seal};
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
        let kek = Arc::new(Kek::load(kek_file, file.exists())?);
        let mut conn = SqliteConn::open(file, 8).await.map_err(unavailable)?;
        conn.batch(&format!("pragma secure_delete = on; pragma wal_autocheckpoint = 1000; {SCHEMA}")).await.map_err(unavailable)?;
        empty_wal(&mut conn).await?;
        kek.check(&mut conn).await?;
        let reader = SqliteConn::open(file, 4).await.map_err(unavailable)?;
        let (jobs, queue) = mpsc::channel(4_096);
        tokio::spawn(write(conn, kek.clone(), queue));
        Ok(SqliteKeyring { jobs, reader: Mutex::new(reader), kek })
    }
}

#[async_trait]
impl KeyStore for SqliteKeyring {
    async fn create(&self, context: &str, id: [u8; 16]) -> Result<KeyState, KeyringError> {
        let (reply, answer) = oneshot::channel();
        self.jobs.send(Job::Create { id, context: context.to_owned(), reply }).await.map_err(unavailable)?;
        answer.await.map_err(unavailable)?
    }

    async fn open(&self, id: [u8; 16]) -> Result<KeyState, KeyringError> {
        let mut script = Script::default();
        script.push("select id, context, kek_id, wrapped from keys where id = $1", &[id.into()]);
        let rows = self.reader.lock().await.run(script).await.map_err(unavailable)?;
        rows.first().map_or(Ok(KeyState::Missing), |row| self.kek.unwrap(row))
    }

    async fn destroy(&self, id: [u8; 16]) -> Result<bool, KeyringError> {
        let (reply, answer) = oneshot::channel();
        self.jobs.send(Job::Destroy { id, reply }).await.map_err(unavailable)?;
        answer.await.map_err(unavailable)?
    }
}

async fn write(mut conn: SqliteConn, kek: Arc<Kek>, mut queue: mpsc::Receiver<Job>) {
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
    conn.close().await;
}

type Wanted = ([u8; 16], String, oneshot::Sender<Result<KeyState, KeyringError>>);

async fn create(conn: &mut SqliteConn, kek: &Kek, wanted: &[Wanted]) -> Result<HashMap<[u8; 16], Result<KeyState, KeyringError>>, KeyringError> {
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
    script.push("begin immediate", &[]);
    script.push_rows("insert into keys (id, context, kek_id, wrapped, created_at)", rows, "on conflict (id) do nothing returning id");
    script.push("commit", &[]);
    let made = match conn.run(script).await {
        Ok(made) => made,
        Err(error) => {
            // Fails where the transaction had not begun.
            let _ = conn.batch("rollback").await;
            return Err(unavailable(error));
        }
    };
    if made.len() < n {
        // Some were there before: those rows are the truth.
        let ids: Vec<Value> = states.keys().map(|id| (*id).into()).collect();
        let places = (1..=ids.len()).map(|i| format!("${i}")).collect::<Vec<_>>().join(",");
        let mut script = Script::default();
        script.push(&format!("select id, context, kek_id, wrapped from keys where id in ({places})"), &ids);
        for row in conn.run(script).await.map_err(unavailable)? {
            states.insert(row.id(0), kek.unwrap(&row));
        }
    }
    Ok(states)
}

async fn destroy(conn: &mut SqliteConn, id: [u8; 16]) -> Result<bool, KeyringError> {
    let mut script = Script::default();
    script.push("update keys set wrapped = null, destroyed_at = $2 where id = $1 and wrapped is not null returning id", &[id.into(), now_us().into()]);
    let lived = !conn.run(script).await.map_err(unavailable)?.is_empty();
    empty_wal(conn).await?;
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
    fn load(file: &Path, keyring_exists: bool) -> Result<Self, KeyringError> {
        if !file.exists() {
            if keyring_exists {
                return Err(KeyringError::Unavailable(format!(
                    "the keyring exists but its key-encryption key {} is missing; restore that file from its backup",
                    file.display()
                )));
            }
            let mut bytes = Zeroizing::new([0u8; 32]);
            getrandom::fill(bytes.as_mut_slice()).map_err(unavailable)?;
            let text = Zeroizing::new(bytes.iter().map(|b| format!("{b:02x}")).collect::<String>());
            write_durably(file, text.as_bytes()).map_err(unavailable)?;
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
    async fn check(&self, conn: &mut SqliteConn) -> Result<(), KeyringError> {
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

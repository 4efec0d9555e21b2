//! Rebuilding a service's views from its archive, beside the living ones, and swapping them in one commit.
//!
//! The archive and the service's own events are replayed in the order in which they came, through the same `apply`, into a new
//! file or schema; then, between two batches of the writer, the tail is replayed, both are compared by checksum and the rows are
//! exchanged. Outsiders' views over the tables, and what was granted on them, stay.

use crate::postgres::{PgConn, Place, PostgresStore, unavailable};
use crate::schema::{rebuild_schema, tables};
use crate::sqlite::{SqliteConn, SqliteStore};
use crate::writer::WriterConn;
use hearthline_contracts::topics::{self, Topic};
use hearthline_contracts::wire;
use hearthline_eventing::{Conn, DbError, Fact, Row, Script, Store, StoreError, Tx, Value, View, ViewError};
use sha2::{Digest, Sha256};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

const PAGE_ROWS: usize = 10_000;
const ARCHIVED: &str = "select seq, topic, payload, position from archive where seq > $1 and seq <= $2 order by seq limit $3";

/// What a rebuild found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rebuilt {
    /// Facts replayed.
    pub facts: u64,
    /// SHA-256 over the living views and over the rebuilt ones, in hexadecimal.
    pub live: String,
    pub rebuilt: String,
    pub swapped: bool,
}

impl SqliteStore {
    /// Replays the archive. With `swap` the rebuilt rows replace the living ones even where they differ: that is what a
    /// rebuild is for; the answer says whether they did. Refused where the archive does not hold every fact that was taken,
    /// because the swap would lose the others.
    pub async fn rebuild(&self, swap: bool) -> Result<Rebuilt, StoreError> {
        complete(self).await?;
        let file = self.file.with_extension("rebuild");
        remove(&file)?;
        let rebuilt = self.rebuild_beside(file.clone(), swap).await;
        remove(&file)?;
        rebuilt
    }

    async fn rebuild_beside(&self, file: PathBuf, swap: bool) -> Result<Rebuilt, StoreError> {
        let mut target = SqliteConn::open_with(&file, 64 * 1024).await?;
        // A file to be thrown away if anything happens: it needs no journal.
        let mut ddl = "pragma journal_mode = off;\npragma synchronous = off;\npragma locking_mode = exclusive;\n".to_owned();
        for table in tables(&self.views) {
            ddl.push_str(table.ddl.trim_end().trim_end_matches(';'));
            ddl.push_str(";\n");
        }
        target.batch(&ddl).await.map_err(unavailable)?;
        let mut source = SqliteConn::open_with(&self.file, 16 * 1024).await?;
        let mut at = Replay { topic: self.topic, seq: 0, position: 0 };
        let mut facts = at.run(&mut source, &mut target, &self.views).await?;
        source.close().await;

        let (views, path) = (self.views.clone(), file);
        let (tell, told) = tokio::sync::oneshot::channel();
        self.exclusively(Box::new(move |live| {
            Box::pin(async move {
                facts += at.run(live, &mut target, &views).await?;
                let (before, after) = tokio::join!(checksum(live, &views), checksum(&mut target, &views));
                let (before, after) = (before.map_err(unavailable)?, after.map_err(unavailable)?);
                target.close().await;
                if swap {
                    exchange(live, &views, &path).await?;
                }
                // The caller waits for it.
                let _ = tell.send(Rebuilt { facts, live: before, rebuilt: after, swapped: swap });
                Ok(())
            })
        }))
        .await?;
        told.await.map_err(|_| StoreError::Unavailable("the rebuild ended early".to_owned()))
    }
}

impl PostgresStore {
    /// As [`SqliteStore::rebuild`], into a schema beside the living one, which `hearthline migrate` made. Other processes of the
    /// service wait while the tail is replayed and the rows are exchanged.
    pub async fn rebuild(&self, swap: bool) -> Result<Rebuilt, StoreError> {
        complete(self).await?;
        let beside = Place { database: self.place.database.clone(), schema: rebuild_schema(&self.place.schema) };
        let mut target = beside.connect().await?;
        let emptied = tables(&self.views).map(|t| t.name).collect::<Vec<_>>().join(", ");
        let truncate = format!("truncate {emptied}");
        target.batch(truncate.clone()).await.map_err(|e| StoreError::Unavailable(format!("views are rebuilt in the schema {}: {e}", beside.schema)))?;
        let mut source = self.place.connect().await?;
        let mut at = Replay { topic: self.topic, seq: 0, position: 0 };
        let mut facts = at.run(&mut source, &mut target, &self.views).await?;
        source.close().await;

        let views = self.views.clone();
        let (tell, told) = tokio::sync::oneshot::channel();
        self.exclusively(Box::new(move |live| {
            Box::pin(async move {
                live.lock().await.map_err(unavailable)?;
                let done = async {
                    facts += at.run(live, &mut target, &views).await?;
                    let (before, after) = tokio::join!(checksum(live, &views), checksum(&mut target, &views));
                    let (before, after) = (before.map_err(unavailable)?, after.map_err(unavailable)?);
                    if swap {
                        exchange_schema(live, &views, &beside.schema).await.map_err(unavailable)?;
                    }
                    live.batch("commit".to_owned()).await.map_err(unavailable)?;
                    Ok(Rebuilt { facts, live: before, rebuilt: after, swapped: swap })
                }
                .await;
                if done.is_err() {
                    live.roll_back().await;
                }
                // What is left there serves nobody.
                if let Err(error) = target.batch(truncate).await {
                    tracing::warn!(%error, "the rebuilt rows were not thrown away; the next rebuild does it");
                }
                target.close().await;
                // The caller waits for it.
                let _ = tell.send(done);
                Ok(())
            })
        }))
        .await?;
        told.await.map_err(|_| StoreError::Unavailable("the rebuild ended early".to_owned()))?
    }
}

/// Puts the rebuilt rows in place of the living ones.
async fn exchange_schema(live: &mut PgConn, views: &[Arc<dyn View>], rebuilt: &str) -> Result<(), DbError> {
    for table in tables(views) {
        let columns = table.columns.join(",");
        live.batch(format!("delete from {0}; insert into {0} ({columns}) select {columns} from {rebuilt}.{0}", table.name)).await?;
    }
    Ok(())
}

/// A swap would lose what the archive does not hold.
async fn complete(store: &dyn Store) -> Result<(), StoreError> {
    let sql = "select (select cast(coalesce(sum(count), 0) as bigint) from dispositions where kind = 'applied'), (select count(*) from archive)";
    let counted = store.query(sql, &[]).await?;
    if let Some((taken, archived)) = counted.first().map(|r| (r.int(0), r.int(1)))
        && archived < taken
    {
        return Err(StoreError::Refused(format!("{taken} facts were taken but {archived} archived; the views cannot be rebuilt")));
    }
    Ok(())
}

/// How far archive and own events were replayed.
struct Replay {
    topic: &'static Topic,
    seq: i64,
    position: i64,
}

impl Replay {
    /// Replays what is there behind the last run; gives how many facts that was.
    async fn run(&mut self, source: &mut dyn Conn, target: &mut dyn Conn, views: &[Arc<dyn View>]) -> Result<u64, StoreError> {
        let (mut archived, mut own) = (VecDeque::new(), VecDeque::new());
        // One statement: both ends are of one moment.
        let mut script = Script::default();
        script.push("select (select coalesce(max(seq), 0) from archive), (select coalesce(max(position), 0) from events)", &[]);
        let end = source.run(script).await.map_err(unavailable)?.first().map_or((0, 0), |r| (r.int(0), r.int(1)));
        let mut facts = 0;
        loop {
            if archived.is_empty() {
                archived = page(source, ARCHIVED, self.seq, end.0).await?;
            }
            if own.is_empty() {
                let sql = "select position, '', payload, position from events where position > $1 and position <= $2 order by position limit $3";
                own = page(source, sql, self.position, end.1).await?;
            }
            let mut batch = Vec::new();
            // Up to where one of the two has to be read on.
            while batch.len() < PAGE_ROWS {
                let (foreign, mine) = (archived.front(), own.front());
                let mine_first = match (foreign, mine) {
                    (None, None) => break,
                    (None, Some(_)) if self.seq < end.0 => break,
                    (Some(_), None) if self.position < end.1 => break,
                    (foreign, mine) => mine.is_some_and(|m| foreign.is_none_or(|f| m.int(3) <= f.int(3))),
                };
                let row = if mine_first { own.pop_front() } else { archived.pop_front() };
                let Some(row) = row else { break };
                if mine_first {
                    self.position = row.int(0);
                } else {
                    self.seq = row.int(0);
                }
                batch.push(fact(row, mine_first.then_some(self.topic))?);
            }
            if batch.is_empty() {
                return Ok(facts);
            }
            facts += batch.len() as u64;
            if archived.is_empty() && self.seq < end.0 {
                // The next page is read while this one is folded and written.
                let (applied, next) = tokio::join!(apply(target, views, &batch), page(source, ARCHIVED, self.seq, end.0));
                applied?;
                archived = next?;
            } else {
                apply(target, views, &batch).await?;
            }
        }
    }
}

async fn page(conn: &mut dyn Conn, sql: &'static str, after: i64, until: i64) -> Result<VecDeque<Row>, StoreError> {
    let mut script = Script::default();
    script.push(sql, &[after.into(), until.into(), (PAGE_ROWS as u64).into()]);
    Ok(conn.run(script).await.map_err(unavailable)?.into())
}

async fn apply(target: &mut dyn Conn, views: &[Arc<dyn View>], facts: &[Fact]) -> Result<(), StoreError> {
    let mut head = Script::default();
    head.push("begin", &[]);
    let mut tx = Tx::with_script(target, head);
    for view in views {
        view.apply(&mut tx, facts).await.map_err(|e| match e {
            ViewError::Unreadable(what) => StoreError::Refused(format!("a view cannot take {what}")),
            ViewError::Db(e) => unavailable(e),
        })?;
    }
    tx.execute("commit", &[]);
    tx.flush().await.map_err(unavailable)?;
    Ok(())
}

/// A fact without its sealed part; `own` is the topic of the service's own events.
fn fact(row: Row, own: Option<&'static Topic>) -> Result<Fact, StoreError> {
    let undecodable = |_| StoreError::Refused("an archived fact does not decode".to_owned());
    let payload = wire::without_personal(row.blob(2)).map_err(undecodable)?;
    let topic =
        own.or_else(|| topics::by_name(row.text(1))).ok_or_else(|| StoreError::Refused("the archive names a topic that is not in the catalogue".to_owned()))?;
    let parts = wire::split(&payload).map_err(undecodable)?;
    Ok(Fact { topic: topic.name, envelope: parts.envelope, sealed: None, payload })
}

/// SHA-256 over every row of every view in key order, in hexadecimal.
pub async fn checksum(conn: &mut dyn Conn, views: &[Arc<dyn View>]) -> Result<String, hearthline_eventing::DbError> {
    let mut hash = Sha256::new();
    for table in tables(views) {
        hash.update(table.name);
        let mut script = Script::default();
        script.push(format!("select {} from {} order by {}", table.columns.join(","), table.name, table.columns[..table.key].join(",")), &[]);
        for row in conn.run(script).await? {
            for value in &row.0 {
                match value {
                    Value::Null => hash.update([0]),
                    Value::Int(v) => {
                        hash.update([1]);
                        hash.update(v.to_be_bytes());
                    }
                    Value::Text(v) => {
                        hash.update([2]);
                        hash.update((v.len() as u64).to_be_bytes());
                        hash.update(v);
                    }
                    Value::Blob(v) => {
                        hash.update([3]);
                        hash.update((v.len() as u64).to_be_bytes());
                        hash.update(v);
                    }
                }
            }
        }
    }
    Ok(hash.finalize().iter().map(|b| format!("{b:02x}")).collect())
}

/// Puts the rebuilt rows in place of the living ones, in one transaction that writes the living file alone.
async fn exchange(live: &mut SqliteConn, views: &[Arc<dyn View>], rebuilt: &std::path::Path) -> Result<(), StoreError> {
    let path = rebuilt.to_str().ok_or_else(|| StoreError::Refused("the data folder's name is not UTF-8".to_owned()))?.replace('\'', "''");
    live.batch(&format!("attach '{path}' as rebuilt")).await.map_err(unavailable)?;
    let mut sql = "begin immediate;\n".to_owned();
    for table in tables(views) {
        let columns = table.columns.join(",");
        sql.push_str(&format!("delete from main.{0};\ninsert into main.{0} ({columns}) select {columns} from rebuilt.{0};\n", table.name));
    }
    sql.push_str("commit");
    let done = live.batch(&sql).await;
    if done.is_err() {
        // Leaves the living rows as they were.
        let _ = live.batch("rollback").await;
    }
    live.batch("detach rebuilt").await.map_err(unavailable)?;
    done.map_err(unavailable)
}

fn remove(file: &std::path::Path) -> Result<(), StoreError> {
    for suffix in ["", "-wal", "-shm"] {
        let mut name = file.as_os_str().to_owned();
        name.push(suffix);
        match std::fs::remove_file(PathBuf::from(name)) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(StoreError::Unavailable(e.to_string())),
            _ => {}
        }
    }
    Ok(())
}

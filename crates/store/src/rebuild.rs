//! Rebuilding a service's views from its archive, beside the living ones, and swapping them in one commit.
//!
//! The archive is replayed in arrival order through the same `apply` into a new file; then, between two batches of the writer, the
//! tail is replayed, both are compared by checksum and the rows are exchanged. Outsiders' views over the tables stay.

use crate::sqlite::{SqliteConn, SqliteStore, unavailable};
use hearthline_contracts::topics;
use hearthline_contracts::wire;
use hearthline_eventing::{Conn, Fact, Row, Script, StoreError, Table, Tx, Value, View, ViewError};
use sha2::{Digest, Sha256};
use std::path::PathBuf;
use std::sync::Arc;

const PAGE_ROWS: i64 = 10_000;

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
    /// rebuild is for; the answer says whether they did.
    pub async fn rebuild(&self, swap: bool) -> Result<Rebuilt, StoreError> {
        let file = self.file.with_extension("rebuild");
        remove(&file)?;
        let mut target = SqliteConn::open(&file, 64).await?;
        let mut ddl = "pragma synchronous = off;\n".to_owned();
        for table in tables(&self.views) {
            ddl.push_str(table.ddl.trim_end().trim_end_matches(';'));
            ddl.push_str(";\n");
        }
        target.batch(&ddl).await.map_err(unavailable)?;
        let mut source = SqliteConn::open(&self.file, 16).await?;
        let mut at = 0;
        let mut facts = replay(&mut source, &mut target, &self.views, &mut at).await?;
        source.close().await;

        let (views, path) = (self.views.clone(), file.clone());
        let (tell, told) = tokio::sync::oneshot::channel();
        self.exclusively(Box::new(move |live| {
            Box::pin(async move {
                facts += replay(live, &mut target, &views, &mut at).await?;
                let before = checksum(live, &views).await.map_err(unavailable)?;
                let after = checksum(&mut target, &views).await.map_err(unavailable)?;
                target.batch("pragma wal_checkpoint(truncate)").await.map_err(unavailable)?;
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
        remove(&file)?;
        told.await.map_err(|_| StoreError::Unavailable("the rebuild ended early".to_owned()))
    }
}

async fn replay(source: &mut SqliteConn, target: &mut SqliteConn, views: &[Arc<dyn View>], at: &mut i64) -> Result<u64, StoreError> {
    let mut facts = 0;
    loop {
        let mut script = Script::default();
        script.push("select seq, topic, payload from archive where seq > $1 order by seq limit $2", &[(*at).into(), PAGE_ROWS.into()]);
        let rows = source.run(script).await.map_err(unavailable)?;
        let Some(last) = rows.last() else { return Ok(facts) };
        *at = last.int(0);
        let page = rows.into_iter().map(fact).collect::<Result<Vec<_>, _>>()?;
        facts += page.len() as u64;
        let mut head = Script::default();
        head.push("begin immediate", &[]);
        let mut tx = Tx::with_script(target, head);
        for view in views {
            view.apply(&mut tx, &page).await.map_err(|e| match e {
                ViewError::Unreadable(what) => StoreError::Refused(format!("a view cannot take {what}")),
                ViewError::Db(e) => unavailable(e),
            })?;
        }
        tx.execute("commit", &[]);
        tx.flush().await.map_err(unavailable)?;
    }
}

fn fact(row: Row) -> Result<Fact, StoreError> {
    let payload = row.blob(2).clone();
    let topic = topics::by_name(row.text(1)).ok_or_else(|| StoreError::Refused("the archive names a topic that is not in the catalogue".to_owned()))?;
    let parts = wire::split(&payload).map_err(|_| StoreError::Refused("an archived fact does not decode".to_owned()))?;
    Ok(Fact { topic: topic.name, envelope: parts.envelope, sealed: None, payload })
}

/// SHA-256 over every row of every view in key order, in hexadecimal.
pub async fn checksum(conn: &mut dyn Conn, views: &[Arc<dyn View>]) -> Result<String, hearthline_eventing::DbError> {
    let mut hash = Sha256::new();
    for table in tables(views) {
        hash.update(table.name);
        let mut script = Script::default();
        script.push(&format!("select {} from {} order by {}", table.columns.join(","), table.name, table.columns[..table.key].join(",")), &[]);
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

fn tables(views: &[Arc<dyn View>]) -> impl Iterator<Item = &'static Table> {
    views.iter().flat_map(|v| v.tables().iter())
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

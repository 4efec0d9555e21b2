//! The transaction that views write through.
//!
//! Writes are gathered and travel with the next read or with the commit; a read sees every write made before it.

use crate::value::{Dialect, Row, Script, Value};
use async_trait::async_trait;

/// Why the database did not do it.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// A uniqueness or check constraint said no: somebody else was first.
    #[error("a constraint refused the write")]
    Constraint,
    /// The engine cannot be reached, or the connection broke: nothing can be done now.
    #[error("the database is not reachable: {0}")]
    Away(String),
    /// The disk is full or the file cannot be written.
    #[error("the database cannot be written: {0}")]
    Unwritable(String),
    /// Anything else: the statement, the file or the connection.
    #[error("the database failed: {0}")]
    Failed(String),
}

/// One open connection of a SQL engine, able to run a script inside the transaction that its owner opened.
#[async_trait]
pub trait Conn: Send {
    fn dialect(&self) -> Dialect;
    /// Runs every statement in order; the rows of all selects come back in one list.
    async fn run(&mut self, script: Script) -> Result<Vec<Row>, DbError>;
}

/// A table that a view keeps: its name, its columns and the columns of its primary key (a prefix of `columns`).
#[derive(Debug, Clone, Copy)]
pub struct Table {
    pub name: &'static str,
    pub columns: &'static [&'static str],
    pub key: usize,
    /// `create table if not exists …` and its indexes.
    pub ddl: &'static str,
}

/// A transaction in progress.
pub struct Tx<'c> {
    conn: &'c mut dyn Conn,
    script: Script,
}

impl<'c> Tx<'c> {
    pub fn new(conn: &'c mut dyn Conn) -> Self {
        Tx { conn, script: Script::default() }
    }

    /// Starts with statements already gathered (the writer's own inserts).
    pub fn with_script(conn: &'c mut dyn Conn, script: Script) -> Self {
        Tx { conn, script }
    }

    /// Gathers a write with `$n` parameters.
    pub fn execute(&mut self, sql: impl Into<std::borrow::Cow<'static, str>>, args: &[Value]) {
        self.script.push(sql, args);
    }

    /// Runs what was gathered, then the query.
    pub async fn query(&mut self, sql: impl Into<std::borrow::Cow<'static, str>>, args: &[Value]) -> Result<Vec<Row>, DbError> {
        self.script.push(sql, args);
        self.flush().await
    }

    /// Inserts a row where none has its key, which is the first column.
    pub fn insert_new(&mut self, table: &str, columns: &[&str], row: Vec<Value>) {
        let head = format!("insert into {table} ({})", columns.join(","));
        self.script.push_rows(head, vec![row], format!("on conflict ({}) do nothing", columns[0]));
    }

    /// Inserts rows or replaces those whose key exists. Rows must not repeat a key. Each row has every column of the table.
    pub fn upsert(&mut self, table: &Table, rows: Vec<Vec<Value>>) {
        let head = format!("insert into {} ({})", table.name, table.columns.join(","));
        let key = table.columns[..table.key].join(",");
        let sets = table.columns[table.key..].iter().map(|c| format!("{c}=excluded.{c}")).collect::<Vec<_>>().join(",");
        let tail = if sets.is_empty() { format!("on conflict ({key}) do nothing") } else { format!("on conflict ({key}) do update set {sets}") };
        self.script.push_rows(head, rows, tail);
    }

    /// Deletes by the first key column.
    pub fn delete_by_key(&mut self, table: &Table, key: Value) {
        self.script.push_delete(table.name, &table.columns[..1], vec![vec![key]]);
    }

    /// Reads whole rows whose first key column is among `keys`.
    pub async fn fetch_by_keys(&mut self, table: &Table, keys: &[Value]) -> Result<Vec<Row>, DbError> {
        let head = format!("select {} from {} where {}", table.columns.join(","), table.name, table.columns[0]);
        self.script.push_among(head, &[], keys.to_vec(), "");
        self.flush().await
    }

    pub fn dialect(&self) -> Dialect {
        self.conn.dialect()
    }

    /// Runs what was gathered.
    pub async fn flush(&mut self) -> Result<Vec<Row>, DbError> {
        if self.script.is_empty() {
            return Ok(Vec::new());
        }
        self.conn.run(std::mem::take(&mut self.script)).await
    }

    /// Gives back what was gathered and not yet run, for the owner of the transaction to run with its commit.
    pub fn into_script(self) -> Script {
        self.script
    }
}

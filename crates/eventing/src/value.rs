//! Values, rows and statements: the small SQL vocabulary that views and the kernel share.
//!
//! Services write SQL once, with `$n` parameters, in the subset that PostgreSQL and SQLite both take. A [`Script`] gathers
//! statements and says what they are for, so that each engine can send them as suits it: SQLite in one call (each is a hop to
//! another thread, and the hops, not the inserts, were what a batch cost), PostgreSQL with an array a column (a text that does
//! not change with the number of rows is parsed and planned once).

use bytes::Bytes;
use std::borrow::Cow;

/// One SQL value. Integers carry µs UTC for times; identifiers are blobs of 16 bytes.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Null,
    Int(i64),
    Text(String),
    Blob(Bytes),
}

impl From<i64> for Value {
    fn from(v: i64) -> Self {
        Value::Int(v)
    }
}
impl From<u64> for Value {
    fn from(v: u64) -> Self {
        Value::Int(i64::try_from(v).expect("positions and versions stay below 2^63"))
    }
}
impl From<u32> for Value {
    fn from(v: u32) -> Self {
        Value::Int(i64::from(v))
    }
}
impl From<i32> for Value {
    fn from(v: i32) -> Self {
        Value::Int(i64::from(v))
    }
}
impl From<bool> for Value {
    fn from(v: bool) -> Self {
        Value::Int(i64::from(v))
    }
}
impl From<&str> for Value {
    fn from(v: &str) -> Self {
        Value::Text(v.to_owned())
    }
}
impl From<String> for Value {
    fn from(v: String) -> Self {
        Value::Text(v)
    }
}
impl From<Bytes> for Value {
    fn from(v: Bytes) -> Self {
        Value::Blob(v)
    }
}
impl From<Vec<u8>> for Value {
    fn from(v: Vec<u8>) -> Self {
        Value::Blob(v.into())
    }
}
impl From<&[u8]> for Value {
    fn from(v: &[u8]) -> Self {
        Value::Blob(Bytes::copy_from_slice(v))
    }
}
impl<const N: usize> From<[u8; N]> for Value {
    fn from(v: [u8; N]) -> Self {
        Value::Blob(Bytes::copy_from_slice(&v))
    }
}
impl From<hearthline_nhs::StreamId> for Value {
    fn from(v: hearthline_nhs::StreamId) -> Self {
        Value::from(*v.bytes())
    }
}
impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(v: Option<T>) -> Self {
        v.map_or(Value::Null, Into::into)
    }
}

/// One row of an answer, read by column index in the order of the `select` list.
#[derive(Debug, Clone, PartialEq)]
pub struct Row(pub Vec<Value>);

impl Row {
    /// The integer at `i`; panics where the statement and its reader disagree, which is a programmer's error.
    pub fn int(&self, i: usize) -> i64 {
        match &self.0[i] {
            Value::Int(v) => *v,
            other => panic!("column {i} is not an integer but {}", kind(other)),
        }
    }
    pub fn opt_int(&self, i: usize) -> Option<i64> {
        match &self.0[i] {
            Value::Null => None,
            _ => Some(self.int(i)),
        }
    }
    pub fn flag(&self, i: usize) -> bool {
        self.int(i) != 0
    }
    pub fn text(&self, i: usize) -> &str {
        match &self.0[i] {
            Value::Text(v) => v,
            other => panic!("column {i} is not text but {}", kind(other)),
        }
    }
    pub fn opt_text(&self, i: usize) -> Option<&str> {
        match &self.0[i] {
            Value::Null => None,
            _ => Some(self.text(i)),
        }
    }
    pub fn blob(&self, i: usize) -> &Bytes {
        match &self.0[i] {
            Value::Blob(v) => v,
            other => panic!("column {i} is not bytes but {}", kind(other)),
        }
    }
    pub fn opt_blob(&self, i: usize) -> Option<&Bytes> {
        match &self.0[i] {
            Value::Null => None,
            _ => Some(self.blob(i)),
        }
    }
    /// The 16-byte identifier at `i`.
    pub fn id(&self, i: usize) -> [u8; 16] {
        self.blob(i).as_ref().try_into().expect("identifiers are stored as 16 bytes")
    }
    pub fn opt_id(&self, i: usize) -> Option<[u8; 16]> {
        match &self.0[i] {
            Value::Null => None,
            _ => Some(self.id(i)),
        }
    }
    pub fn stream(&self, i: usize) -> hearthline_nhs::StreamId {
        hearthline_nhs::StreamId::from_bytes(self.id(i))
    }
}

/// Names the kind without the value: a value may be personal.
fn kind(v: &Value) -> &'static str {
    match v {
        Value::Null => "null",
        Value::Int(_) => "an integer",
        Value::Text(_) => "text",
        Value::Blob(_) => "bytes",
    }
}

/// Which SQL engine stands behind a [`crate::Tx`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    Sqlite,
    Postgres,
}

/// One statement of a [`Script`].
#[derive(Debug, Clone)]
pub enum Statement {
    /// Written with `$n` parameters.
    Plain { sql: Cow<'static, str>, args: Vec<Value> },
    /// `head` (`insert into t (…)`), rows of one width, `tail` (`on conflict …`).
    Insert { head: Cow<'static, str>, rows: Vec<Vec<Value>>, tail: Cow<'static, str> },
    /// `head` (`select … where k`, with `$n` for `args`) for keys among a list of one kind, `tail` (`group by …`).
    Among { head: Cow<'static, str>, args: Vec<Value>, keys: Vec<Value>, tail: Cow<'static, str> },
    /// Deletes the rows whose key columns have one of these values.
    Delete { table: &'static str, key: &'static [&'static str], rows: Vec<Vec<Value>> },
    /// Changes the rows whose first column of `columns` has one of these values, each once; `set` (`a = u.a, …`) takes them from `u`.
    Update { table: &'static str, columns: &'static [(&'static str, Kind)], set: &'static str, rows: Vec<Vec<Value>> },
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Int,
    Text,
    Blob,
}

/// Statements in order. An engine writes each as it likes best: one call with everything in it, or arrays.
#[derive(Debug, Clone, Default)]
pub struct Script(Vec<Statement>);

impl Script {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn statements(&self) -> &[Statement] {
        &self.0
    }

    pub fn into_statements(self) -> Vec<Statement> {
        self.0
    }

    /// Adds one statement written with `$n` parameters.
    pub fn push(&mut self, sql: impl Into<Cow<'static, str>>, args: &[Value]) {
        self.0.push(Statement::Plain { sql: sql.into(), args: args.to_vec() });
    }

    /// Adds a multi-row insert; nothing where there are no rows.
    pub fn push_rows(&mut self, head: impl Into<Cow<'static, str>>, rows: Vec<Vec<Value>>, tail: impl Into<Cow<'static, str>>) {
        if let Some(first) = rows.first() {
            debug_assert!(rows.iter().all(|r| r.len() == first.len()), "rows of one insert are of one width");
            self.0.push(Statement::Insert { head: head.into(), rows, tail: tail.into() });
        }
    }

    /// Adds a statement on the rows whose key is among `keys`; nothing where there are no keys.
    pub fn push_among(&mut self, head: impl Into<Cow<'static, str>>, args: &[Value], keys: Vec<Value>, tail: impl Into<Cow<'static, str>>) {
        if !keys.is_empty() {
            self.0.push(Statement::Among { head: head.into(), args: args.to_vec(), keys, tail: tail.into() });
        }
    }

    /// Adds a deletion by key; nothing where there are no keys.
    pub fn push_delete(&mut self, table: &'static str, key: &'static [&'static str], rows: Vec<Vec<Value>>) {
        if !rows.is_empty() {
            self.0.push(Statement::Delete { table, key, rows });
        }
    }

    /// Adds a change by key; nothing where there are no rows.
    pub fn push_update(&mut self, table: &'static str, columns: &'static [(&'static str, Kind)], set: &'static str, rows: Vec<Vec<Value>>) {
        if !rows.is_empty() {
            debug_assert!(rows.iter().all(|r| r.len() == columns.len()), "a change has a value for each column");
            self.0.push(Statement::Update { table, columns, set, rows });
        }
    }

    /// Adds another script behind this one.
    pub fn append(&mut self, mut other: Script) {
        self.0.append(&mut other.0);
    }
}

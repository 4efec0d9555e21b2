//! Values, rows and statements: the small SQL vocabulary that views and the kernel share.
//!
//! Services write SQL once, with `$n` parameters, in the subset that PostgreSQL and SQLite both take. A [`Script`] gathers
//! statements so that a whole batch travels to the database in one call: on SQLite each call is a hop to another thread,
//! and the hops, not the inserts, were what a batch cost.

use bytes::Bytes;

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

/// Statements with their arguments, separated by `;`, in order.
#[derive(Debug, Clone, Default)]
pub struct Script {
    pub sql: String,
    pub args: Vec<Value>,
}

impl Script {
    pub fn is_empty(&self) -> bool {
        self.sql.is_empty()
    }

    /// Adds one statement written with `$n` parameters. SQLite gets bare `?` in order of appearance: its driver looks named
    /// parameters up by a linear scan, which is quadratic in a multi-row insert.
    pub fn push(&mut self, sql: &str, args: &[Value]) {
        self.separate();
        let mut rest = sql;
        while let Some(at) = rest.find('$') {
            let digits = rest[at + 1..].bytes().take_while(u8::is_ascii_digit).count();
            self.sql.push_str(&rest[..at]);
            if digits == 0 {
                self.sql.push('$');
                rest = &rest[at + 1..];
                continue;
            }
            let n: usize = rest[at + 1..at + 1 + digits].parse().expect("ascii digits form a number");
            self.sql.push('?');
            self.args.push(args.get(n.wrapping_sub(1)).cloned().unwrap_or_else(|| panic!("statement names ${n} but has {} arguments", args.len())));
            rest = &rest[at + 1 + digits..];
        }
        self.sql.push_str(rest);
    }

    /// Adds a multi-row `insert into <head> values (?,…),(…) <tail>`, split so that no statement passes the engine's
    /// limit of bound values.
    pub fn push_rows(&mut self, head: &str, rows: Vec<Vec<Value>>, tail: &str) {
        const BOUND_VALUES_MAX: usize = 16_000;
        let Some(width) = rows.first().map(Vec::len) else { return };
        let per = (BOUND_VALUES_MAX / width.max(1)).max(1);
        let mut rows = rows.into_iter().peekable();
        while rows.peek().is_some() {
            self.separate();
            self.sql.push_str(head);
            self.sql.push_str(" values ");
            for (n, row) in rows.by_ref().take(per).enumerate() {
                debug_assert_eq!(row.len(), width, "rows of one insert are of one width");
                self.sql.push_str(if n == 0 { "(" } else { ",(" });
                for i in 0..row.len() {
                    self.sql.push_str(if i == 0 { "?" } else { ",?" });
                }
                self.sql.push(')');
                self.args.extend(row);
            }
            self.sql.push(' ');
            self.sql.push_str(tail);
        }
    }

    fn separate(&mut self) {
        if !self.sql.is_empty() {
            self.sql.push_str(";\n");
        }
    }
}

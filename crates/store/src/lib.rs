//! The SQL store of one service: events, claims, checkpoints, deliveries, views; and the keyring.
//!
//! [`sqlite`] opens connections and speaks the dialect, [`writer`] is the one task that writes, [`keyring`] holds data keys in a
//! database of their own. Nothing here knows what an event means.

mod batch;
mod keyring;
mod postgres;
mod rebuild;
mod rows;
mod schema;
mod sqlite;
mod writer;

pub use keyring::{KEYRING_CONNECTIONS, PostgresKeyring, SqliteKeyring};
pub use postgres::{Database, PostgresOptions, PostgresStore, STORE_CONNECTIONS, Tls};
pub use rebuild::{Rebuilt, checksum};
pub use schema::{Tenancy, drop_schemas, migrate, rebuild_schema};
pub use sqlite::{Options, SqliteStore};

use async_trait::async_trait;
use hearthline_eventing::{Recorded, Row, Store, StoreError, StoredBlob};

/// A store as whoever opened it looks after it.
#[async_trait]
pub trait Managed: Store {
    /// Replays the archive beside the living views and compares; with `swap` the rebuilt rows take their place.
    async fn rebuild(&self, swap: bool) -> Result<Rebuilt, StoreError>;
    /// Stops the writer after what is queued and closes the connections.
    async fn close(&self);
}

#[async_trait]
impl Managed for SqliteStore {
    async fn rebuild(&self, swap: bool) -> Result<Rebuilt, StoreError> {
        SqliteStore::rebuild(self, swap).await
    }
    async fn close(&self) {
        SqliteStore::close(self).await;
    }
}

#[async_trait]
impl Managed for PostgresStore {
    async fn rebuild(&self, swap: bool) -> Result<Rebuilt, StoreError> {
        PostgresStore::rebuild(self, swap).await
    }
    async fn close(&self) {
        PostgresStore::close(self).await;
    }
}

/// Asks SQLite whether a file that nobody uses is sound.
pub async fn check_file(file: &std::path::Path) -> Result<(), hearthline_eventing::StoreError> {
    sqlite::check_file(file).await
}

/// Faults that tests inject at the one place where they matter. The shipped adapter is [`NoFaults`].
pub trait Faults: Send + Sync {
    /// Called before a commit: true = fail without committing.
    fn before_commit(&self) -> bool {
        false
    }
    /// Called after a commit: true = its answer is lost.
    fn lose_answer(&self) -> bool {
        false
    }
    /// Called when a lost answer is looked up: true = that fails too.
    fn hide_outcome(&self) -> bool {
        false
    }
}

/// No injected faults.
pub struct NoFaults;
impl Faults for NoFaults {}

pub(crate) fn recorded(r: Row) -> Recorded {
    Recorded {
        position: r.int(0).unsigned_abs(),
        stream: r.stream(1),
        version: r.int(2).unsigned_abs(),
        event_id: r.id(3),
        name: r.text(4).to_owned(),
        payload: r.blob(5).clone(),
        traceparent: r.opt_text(6).map(str::to_owned),
    }
}

pub(crate) const BLOB: &str = "select stream,media_type,sealed,digest from blobs where id = $1";

pub(crate) fn stored_blob(r: &Row) -> StoredBlob {
    StoredBlob {
        stream: r.stream(0),
        media_type: r.text(1).to_owned(),
        sealed: r.blob(2).clone(),
        digest: r.blob(3).as_ref().try_into().expect("digests have 32 bytes"),
    }
}

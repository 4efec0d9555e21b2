//! The SQL store of one service: events, claims, checkpoints, deliveries, views; and the keyring.
//!
//! [`sqlite`] opens connections and speaks the dialect, [`writer`] is the one task that writes, [`keyring`] holds data keys in a
//! database of their own. Nothing here knows what an event means.

mod batch;
mod keyring;
mod rebuild;
mod rows;
mod sqlite;
mod writer;

pub use keyring::SqliteKeyring;
pub use rebuild::{Rebuilt, checksum};
pub use sqlite::{Faults, NoFaults, Options, SqliteStore};

/// Asks SQLite whether a file that nobody uses is sound.
pub async fn check_file(file: &std::path::Path) -> Result<(), hearthline_eventing::StoreError> {
    sqlite::check_file(file).await
}

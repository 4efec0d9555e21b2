//! MLLP: frames in, replies out in the order of receipt. [`listener`] accepts, [`connection`] cuts frames out of a stream and writes
//! replies; what a frame is answered, [`crate::receive`] says.
//!
//! Our own trouble is never answered: the connection is closed, and the sender sends again what it has no answer to. AE and AR go only
//! to what could never be taken.

pub mod connection;
mod glance;
pub mod listener;
pub(crate) mod memory;
mod terms;

use hearthline_runtime::tls::Identity;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Where a frame came from.
#[derive(Debug, Clone)]
pub struct Arrival {
    pub listener: Arc<str>,
    pub remote: SocketAddr,
    /// The name of the peer whose frame it is, by its MSH-4; else of the one whose frames came before on the connection.
    pub peer: Option<Arc<str>>,
    /// Of the certificate that the sender showed.
    pub certificate: Option<Arc<Identity>>,
}

/// Time limits that are not a peer's own.
#[derive(Debug, Clone, Copy)]
pub struct Timings {
    /// For a TLS handshake.
    pub handshake: Duration,
    /// A sender that reads nothing of its replies for this long is closed.
    pub unread: Duration,
    /// A connection stopped in the middle of a frame or of a reply for this long is dead when its peer connects anew.
    pub stuck: Duration,
    /// So is one on which nothing is outstanding and nothing came for this long.
    pub silent: Duration,
}

impl Default for Timings {
    fn default() -> Self {
        Timings { handshake: Duration::from_secs(10), unread: Duration::from_secs(30), stuck: Duration::from_secs(5), silent: Duration::from_secs(120) }
    }
}

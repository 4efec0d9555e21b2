//! MLLP: frames in, replies out in the order of receipt. [`listener`] accepts, [`connection`] cuts frames out of a stream and writes
//! replies; what a frame is answered is said here.
//!
//! Our own trouble is never answered: the connection is closed, and the sender sends again what it has no answer to. AE and AR go only
//! to what could never be taken.

pub mod connection;
pub mod listener;

use crate::gateway::Gateway;
use crate::receive::Arrival;
use bytes::Bytes;
use hearthline_eventing::NotNow;
use std::time::Duration;

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

/// The reply to a frame, once all that it needs is durable; none where none is asked for. An error: no reply, and no more frames.
async fn receive(gateway: &Gateway, frame: &Bytes, at: &Arrival) -> Result<Option<Bytes>, NotNow> {
    let reply = gateway.receive(frame, at).await?;
    Ok((!reply.is_empty()).then_some(reply))
}

/// The reply to a frame that passed the size limit; `begun` is as much of it as was read.
async fn too_large(gateway: &Gateway, begun: &Bytes, limit_bytes: usize, at: &Arrival) -> Result<Option<Bytes>, NotNow> {
    let reply = gateway.refuse_oversized(begun, limit_bytes, at).await?;
    Ok((!reply.is_empty()).then_some(reply))
}

//! What is agreed on for the stream of a connection.

use super::memory::SMALL_BYTES;
use crate::peer::Peer;
use std::time::Duration;

/// A frame that ended without its carriage return is taken after this silence.
pub(super) const SETTLE: Duration = Duration::from_secs(1);

/// With its peer, or with all whom it may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    pub(super) frame_limit: usize,
    pub(super) in_flight: usize,
    pub(super) idle: Option<Duration>,
    pub(super) partial_frame: Duration,
}

impl Terms {
    pub(super) fn of(peer: &Peer) -> Self {
        Terms { frame_limit: peer.frame_limit, in_flight: peer.in_flight.max(1), idle: peer.idle, partial_frame: peer.partial_frame }
    }

    /// Until it is known whose the connection is: the widest of the listener's peers, but for the size of a frame.
    pub(super) fn widest(peers: &[Peer], listener: &str, frame_limit: usize) -> Self {
        let of_listener = || peers.iter().filter(|peer| peer.listener == listener);
        Terms {
            frame_limit: of_listener().map(|peer| peer.frame_limit).max().unwrap_or(frame_limit).min(SMALL_BYTES),
            in_flight: of_listener().map(|peer| peer.in_flight).max().unwrap_or(1).max(1),
            idle: of_listener().map(|peer| peer.idle).collect::<Option<Vec<_>>>().and_then(|all| all.into_iter().max()),
            partial_frame: of_listener().map(|peer| peer.partial_frame).max().unwrap_or(Duration::from_secs(60)),
        }
    }

    /// How often the clock is looked at.
    pub(super) fn tick(&self) -> Duration {
        (self.idle.map_or(self.partial_frame, |idle| idle.min(self.partial_frame)) / 4).clamp(Duration::from_millis(5), SETTLE)
    }
}

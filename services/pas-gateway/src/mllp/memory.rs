//! Memory for large frames, shared by all connections, so that no number of senders takes it all.
//!
//! A frame of up to [`SMALL_BYTES`] needs nothing of it and never waits. A larger one takes a place among the *middle* ones, and past
//! [`MIDDLE_BYTES`] all that it may still grow to of what is there for *large* ones; meanwhile its connection is not read from. Whoever
//! has the second never waits for more, so nobody waits in a ring. It goes back when the frame is answered or given up; one that is not
//! ended in the time of a partial frame gives way where others wait for what it has.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Also the most that is kept of a frame whose sender is not known.
pub const SMALL_BYTES: usize = 64 * 1024;
const MIDDLE_BYTES: usize = 1 << 20;
const MIDDLE_FRAMES: usize = 16;
const LARGE_BYTES: usize = 32 << 20;
/// A permit is so many bytes.
const UNIT_BYTES: usize = 1024;

/// What is there. A clone is the same.
#[derive(Clone)]
pub struct Memory {
    middle: Arc<Semaphore>,
    large: Arc<Semaphore>,
    /// How many frames wait for a place among the middle ones, and among the large ones.
    waiting: [Arc<AtomicUsize>; 2],
}

impl Default for Memory {
    fn default() -> Self {
        let of = |permits| Arc::new(Semaphore::new(permits));
        Memory { middle: of(MIDDLE_FRAMES), large: of(LARGE_BYTES / UNIT_BYTES), waiting: Default::default() }
    }
}

/// What one frame has taken; given back when it is dropped.
#[derive(Default)]
pub struct Share {
    middle: Option<OwnedSemaphorePermit>,
    large: Option<OwnedSemaphorePermit>,
}

impl Share {
    /// Whether a frame of so many bytes has to wait for more before it may grow.
    pub fn is_full(&self, frame_bytes: usize) -> bool {
        match (&self.middle, &self.large) {
            (None, _) => frame_bytes > SMALL_BYTES,
            (Some(_), None) => frame_bytes > MIDDLE_BYTES,
            (Some(_), Some(_)) => false,
        }
    }
}

impl Memory {
    /// More for a frame that may grow to `limit_bytes`.
    pub async fn more(self, mut share: Share, limit_bytes: usize) -> Share {
        let _waits = Waits::of(&self.waiting[usize::from(share.middle.is_some())]);
        let (from, units) = match share.middle {
            None => (self.middle.clone(), 1),
            Some(_) => (self.large.clone(), limit_bytes.min(LARGE_BYTES) / UNIT_BYTES),
        };
        // Never closed, so there is always an answer.
        let permit = from.acquire_many_owned(u32::try_from(units).unwrap_or(u32::MAX)).await.ok();
        match share.middle {
            None => share.middle = permit,
            Some(_) => share.large = permit,
        }
        share
    }

    /// Whether any frame waits for what this one has.
    pub fn is_waited_for(&self, share: &Share) -> bool {
        let has = [share.middle.is_some(), share.large.is_some()];
        self.waiting.iter().zip(has).any(|(waiting, has)| has && waiting.load(Ordering::Relaxed) > 0)
    }
}

struct Waits(Arc<AtomicUsize>);

impl Waits {
    fn of(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Waits(count.clone())
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn small_frames_need_nothing_and_a_large_one_waits_for_all_that_it_may_grow_to() {
        let memory = Memory::default();
        let more = |share: Share, limit: usize| memory.clone().more(share, limit);
        let taken = |share: Share| more(share, 32 << 20).now_or_never();
        let none = Share::default();
        assert!(!none.is_full(SMALL_BYTES) && none.is_full(SMALL_BYTES + 1));
        let middle = taken(none).expect("there is room");
        assert!(!middle.is_full(MIDDLE_BYTES) && middle.is_full(MIDDLE_BYTES + 1));
        let large = taken(middle).expect("there is room");
        assert!(!large.is_full(LARGE_BYTES));
        // The next large one waits, with what it has; middle ones do not.
        let second = taken(Share::default()).expect("there is room");
        let mut waits = Box::pin(more(second, 2 << 20));
        assert!(waits.as_mut().now_or_never().is_none());
        let other = taken(Share::default()).expect("there is room");
        assert!(memory.is_waited_for(&large) && !memory.is_waited_for(&other));
        drop(large);
        assert!(waits.as_mut().now_or_never().is_some_and(|share| !share.is_full(2 << 20)));
        drop(waits);
        assert!(!memory.is_waited_for(&taken(other).expect("there is room")));
    }

    #[test]
    fn one_that_is_given_up_while_it_waits_leaves_nothing_behind() {
        let memory = Memory::default();
        let all: Vec<Share> = (0..MIDDLE_FRAMES).map(|_| memory.clone().more(Share::default(), 1 << 20).now_or_never().expect("there is room")).collect();
        let mut waits = Box::pin(memory.clone().more(Share::default(), 1 << 20));
        assert!(waits.as_mut().now_or_never().is_none() && memory.is_waited_for(&all[0]));
        drop(waits);
        assert!(!memory.is_waited_for(&all[0]));
        drop(all);
        assert!(memory.clone().more(Share::default(), 1 << 20).now_or_never().is_some());
    }
}

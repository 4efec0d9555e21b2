//! The commands that are running now, by the digest of their idempotency key. A repeat that arrives while the first
//! is still running is told so (409) instead of racing it. Across replicas the claim in the store decides.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

/// The set of running commands of one process.
#[derive(Debug, Clone, Default)]
pub(super) struct InFlight {
    running: Arc<Mutex<HashSet<[u8; 32]>>>,
}

impl InFlight {
    /// Enters a command; `None` while the same one is running. Dropping the answer leaves.
    pub(super) fn enter(&self, digest: [u8; 32]) -> Option<Running> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.insert(digest).then(|| Running { set: self.clone(), digest })
    }
}

/// A running command.
#[derive(Debug)]
pub(super) struct Running {
    set: InFlight,
    digest: [u8; 32],
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut running = self.set.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.remove(&self.digest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_command_enters_once_until_it_leaves() {
        let set = InFlight::default();
        let first = set.enter([1; 32]).expect("first");
        assert!(set.enter([1; 32]).is_none());
        assert!(set.enter([2; 32]).is_some());
        drop(first);
        assert!(set.enter([1; 32]).is_some());
    }
}

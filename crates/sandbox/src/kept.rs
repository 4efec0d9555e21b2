//! What a server keeps: behind one lock, with a bell that rings at every change, so that whoever waits for
//! something to arrive need not poll by the clock.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

pub(crate) struct Kept<T> {
    contents: Arc<Mutex<T>>,
    changes: watch::Sender<u64>,
}

/// Says nothing of the contents: a handle that ends up in a log line must not spill them.
impl<T> fmt::Debug for Kept<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").finish_non_exhaustive()
    }
}

impl<T> Clone for Kept<T> {
    fn clone(&self) -> Self {
        Self { contents: Arc::clone(&self.contents), changes: self.changes.clone() }
    }
}

impl<T: Default> Default for Kept<T> {
    fn default() -> Self {
        Self { contents: Arc::default(), changes: watch::Sender::new(0) }
    }
}

impl<T> Kept<T> {
    pub(crate) fn read<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        look(&self.contents.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn change<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        let result = change(&mut self.contents.lock().unwrap_or_else(PoisonError::into_inner));
        self.changes.send_modify(|count| *count += 1);
        result
    }

    /// Waits until `enough` holds; false when `deadline` passes first.
    pub(crate) async fn wait_until(&self, deadline: Duration, enough: impl Fn(&T) -> bool) -> bool {
        // Subscribed before the first look: a change between look and wait still wakes us.
        let mut changes = self.changes.subscribe();
        let arrival = async {
            while !self.read(&enough) {
                if changes.changed().await.is_err() {
                    // Cannot happen while `self` holds the sender; never ending is the safe answer.
                    std::future::pending::<()>().await;
                }
            }
        };
        tokio::time::timeout(deadline, arrival).await.is_ok()
    }
}

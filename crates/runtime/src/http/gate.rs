//! Pausing commands: a service that must not take any (its log and its store have come apart) closes its gate.

use std::sync::{Arc, PoisonError, RwLock};

use super::codes;
use super::problem::Problem;

/// Open or closed with a reason. Queries pass either way.
#[derive(Debug, Clone, Default)]
pub struct Gate {
    closed: Arc<RwLock<Option<String>>>,
}

impl Gate {
    /// A gate that lets commands through.
    pub fn open() -> Self {
        Self::default()
    }

    /// Refuses commands with 503 from now on. `reason` is shown to callers: no personal data.
    pub fn close(&self, reason: impl Into<String>) {
        *self.closed.write().unwrap_or_else(PoisonError::into_inner) = Some(reason.into());
    }

    /// Lets commands through again.
    pub fn reopen(&self) {
        *self.closed.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub(super) fn pass(&self) -> Result<(), Problem> {
        match &*self.closed.read().unwrap_or_else(PoisonError::into_inner) {
            None => Ok(()),
            Some(reason) => Err(Problem::of(codes::COMMANDS_PAUSED).detail(reason.clone()).retry_after(5)),
        }
    }
}

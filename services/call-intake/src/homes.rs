//! Homes in memory, so that opening a call reads no table.

use crate::domain::decide::Home;
use crate::view;
use hearthline_eventing::{Store, StoreError};
use hearthline_nhs::HomeId;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A home that was live a second ago is taken to be live: homes are not switched off within a call.
const KEPT_FOR: Duration = Duration::from_secs(1);
/// More than any hub has; past it the memory starts afresh.
const KEPT_HOMES_MAX: usize = 10_000;

/// The homes seen lately. Only homes that have a live date are kept: an unknown one is looked up each time.
#[derive(Default)]
pub struct Homes {
    kept: Mutex<HashMap<HomeId, (Instant, Home)>>,
}

impl Homes {
    /// The home as this service has it.
    pub async fn get(&self, store: &dyn Store, id: HomeId) -> Result<Option<Home>, StoreError> {
        if let Some((read_at, home)) = self.lock().get(&id).copied()
            && read_at.elapsed() < KEPT_FOR
        {
            return Ok(Some(home));
        }
        let home = view::home(store, id).await?;
        if let Some(home) = home.filter(|home| home.live_from.is_some()) {
            let mut kept = self.lock();
            if kept.len() >= KEPT_HOMES_MAX {
                kept.clear();
            }
            kept.insert(id, (Instant::now(), home));
        }
        Ok(home)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<HomeId, (Instant, Home)>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

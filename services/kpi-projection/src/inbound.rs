//! What this service does with others' facts: it folds them, and keeps each without its sealed part for rebuilds.

use async_trait::async_trait;
use hearthline_contracts::topics::{self, Topic};
use hearthline_eventing::consumer::{Inbound, Reaction, Triage};
use hearthline_eventing::{Fact, NotNow};

/// Every context's facts, none acted upon.
pub struct Facts;

#[async_trait]
impl Inbound for Facts {
    fn topics(&self) -> &'static [&'static Topic] {
        const { topics::read_by(crate::NAME) }
    }

    fn triage(&self, _fact: &Fact) -> Triage {
        Triage::Project
    }

    async fn act(&self, _fact: &Fact) -> Result<Reaction, NotNow> {
        Ok(Reaction::Project)
    }

    fn archives(&self) -> bool {
        true
    }
}

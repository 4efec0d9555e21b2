//! What others' facts mean here: reference rows for drafting, choosing and signing. Nothing is done on them.

use async_trait::async_trait;
use hearthline_contracts::topics::{self, Topic};
use hearthline_eventing::consumer::{Inbound, Reaction, Triage};
use hearthline_eventing::{Fact, NotNow};

/// The subscription of prescribing.
pub struct Listening;

#[async_trait]
impl Inbound for Listening {
    fn topics(&self) -> &'static [&'static Topic] {
        const { topics::read_by(crate::NAME) }
    }

    fn triage(&self, _fact: &Fact) -> Triage {
        Triage::Project
    }

    async fn act(&self, _fact: &Fact) -> Result<Reaction, NotNow> {
        Ok(Reaction::Project)
    }
}

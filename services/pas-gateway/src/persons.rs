//! What is held because of who is who, found again: a message that names another patient than its visit's, as soon as the visit is that
//! patient's (A45) or the two are one (by A34 or A40, or to the directory), and a merge as soon as all whom it names are residents.

use crate::domain::Report;
use crate::gateway::{Gateway, HELD, INTERPRETED, Verdict};
use crate::inbox::OpenRow;
use crate::reading::Matter;
use crate::tags::{Lasting, RESIDENT_NHS, WAITING_PERSON};
use hearthline_eventing::{NotNow, identity, query_among};
use hearthline_nhs::NhsNumber;

impl Gateway {
    /// Looks at what is held of the patients whom a message gave a visit or made one.
    pub(crate) async fn examine_joined(&self, row: &OpenRow, verdict: &Verdict) -> Result<(), NotNow> {
        let is_moved = verdict.state == INTERPRETED && matches!(row.reading.matter, Matter::Visit(Report::Move));
        if !is_moved && (verdict.reports.is_empty() || !matches!(row.reading.matter, Matter::Merge)) {
            return Ok(());
        }
        for number in row.reading.numbers() {
            Box::pin(self.examine_person(number)).await?;
        }
        Ok(())
    }

    /// Looks at what waits to hear more of somebody.
    pub(crate) async fn examine_awaiting(&self, number: &NhsNumber) -> Result<(), NotNow> {
        let person = Lasting::open(&self.kernel.composer.keyring).await?.number(number);
        self.examine_awaiting_any(&[person]).await
    }

    /// Looks at what waits to hear more of those whom the directory made one with a resident.
    pub(crate) async fn examine_merged(&self, resident: [u8; 16]) -> Result<(), NotNow> {
        let store = self.kernel.store.as_ref();
        let now = identity::resolve(store, resident).await?;
        let names = identity::names_of(store, now.id).await?;
        let numbers = query_among(store, &format!("select key from claims where scope = '{RESIDENT_NHS}' and owner"), &[], &names, "").await?;
        let persons: Vec<[u8; 16]> = numbers.iter().map(|row| row.id(0)).collect();
        self.examine_awaiting_any(&persons).await
    }

    /// Looks at what waits to hear more of somebody who is a resident: what a process that ended left undone.
    pub async fn examine_heard_of(&self) -> Result<(), NotNow> {
        let sql = "select inbox.id from claims w join claims r on r.scope = $1 and r.key = w.owner join inbox on inbox.id = w.digest and inbox.state = $2 \
            where w.scope = $3 order by inbox.occurred_at, inbox.seq";
        self.examine_all(sql, &[RESIDENT_NHS.into(), HELD.into(), WAITING_PERSON.into()]).await
    }

    async fn examine_awaiting_any(&self, persons: &[[u8; 16]]) -> Result<(), NotNow> {
        let head = format!(
            "select inbox.id from claims join inbox on inbox.id = claims.digest and inbox.state = '{HELD}' where claims.scope = '{WAITING_PERSON}' and claims.owner"
        );
        let held = query_among(self.kernel.store.as_ref(), &head, &[], persons, "order by inbox.occurred_at, inbox.seq").await?;
        for row in held {
            self.examine(row.id(0)).await?;
        }
        Ok(())
    }
}

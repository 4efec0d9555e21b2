//! What is held because of who is who, found again: a message that names another patient than its visit's, as soon as the visit is that
//! patient's (A45) or the two are one (A34, A40), and a merge as soon as all whom it names are residents. Two residents whom the directory
//! makes one are found by reprocessing.

use crate::domain::Report;
use crate::gateway::{Gateway, HELD, INTERPRETED, Verdict};
use crate::inbox::OpenRow;
use crate::reading::Matter;
use crate::tags::Lasting;
use hearthline_eventing::NotNow;
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

    /// Looks at merges that wait for somebody.
    pub(crate) async fn examine_awaiting(&self, number: &NhsNumber) -> Result<(), NotNow> {
        let person = Lasting::open(&self.kernel.composer.keyring).await?.number(number);
        let sql = "select inbox.id from claims join inbox on inbox.id = claims.digest where claims.owner = $1 and claims.scope = 'waiting-person' and inbox.state = $2 order by inbox.occurred_at, inbox.seq";
        self.examine_all(sql, &[person.into(), HELD.into()]).await
    }
}

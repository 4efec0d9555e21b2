//! What is held because of who is who, found again: a message that names another patient than its visit's, as soon as the visit is that
//! patient's (A45) or the two are one (A34, A40). Two residents whom the directory makes one are found by reprocessing.

use crate::domain::Report;
use crate::gateway::{Gateway, INTERPRETED, Verdict};
use crate::inbox::OpenRow;
use crate::reading::Matter;
use hearthline_eventing::NotNow;

impl Gateway {
    /// Looks at what is held of the patients whom a message gave a visit or made one.
    pub(crate) async fn examine_joined(&self, row: &OpenRow, verdict: &Verdict) -> Result<(), NotNow> {
        let is_moved = verdict.state == INTERPRETED && matches!(row.reading.matter, Matter::Visit(Report::Move));
        if !is_moved && (verdict.report.is_none() || !matches!(row.reading.matter, Matter::Merge { .. })) {
            return Ok(());
        }
        for number in row.reading.numbers() {
            Box::pin(self.examine_person(number)).await?;
        }
        Ok(())
    }
}

//! The sharing of one call, folded from its events.

use super::events::{Composed, Event, Task, Withholding};

/// A version of the document and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    pub composed: Composed,
    pub is_uploaded: bool,
    pub is_emailed: bool,
    pub is_retracted: bool,
}

/// The sharing of one call.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Share {
    /// Of its stream; 0 = nothing happened yet.
    pub version: u64,
    pub documents: Vec<Document>,
    /// Set while nothing may be shared.
    pub withheld: Option<Withholding>,
    pub open_tasks: Vec<Task>,
}

impl Share {
    /// From its events in order.
    pub fn fold(events: impl IntoIterator<Item = Event>) -> Self {
        events.into_iter().fold(Self::default(), Self::evolve)
    }

    /// The newest version, retracted or not.
    pub fn newest(&self) -> Option<&Document> {
        self.documents.last()
    }

    /// The version that stands.
    pub fn standing(&self) -> Option<&Document> {
        self.newest().filter(|d| !d.is_retracted)
    }

    fn evolve(mut self, event: Event) -> Self {
        self.version += 1;
        match event {
            Event::Composed(composed) => {
                self.withheld = None;
                self.documents.push(Document { composed, is_uploaded: false, is_emailed: false, is_retracted: false });
            }
            Event::Uploaded { parcel, .. } => self.mark(parcel.version, |d| d.is_uploaded = true),
            Event::Emailed { parcel, .. } => self.mark(parcel.version, |d| d.is_emailed = true),
            Event::UploadFailed { .. } | Event::EmailFailed { .. } | Event::PersonalDataDestroyed => {}
            Event::Withheld { why, .. } => self.withheld = Some(why),
            Event::Retracted { .. } => self.documents.iter_mut().for_each(|d| d.is_retracted = true),
            Event::TaskOpened(task) => self.open_tasks.push(task),
            Event::TaskClosed { id, .. } => self.open_tasks.retain(|task| task.id != id),
        }
        self
    }

    fn mark(&mut self, version: u32, set: impl FnOnce(&mut Document)) {
        if let Some(document) = self.documents.iter_mut().find(|d| d.composed.version == version) {
            set(document);
        }
    }
}

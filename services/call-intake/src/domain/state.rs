//! A call as its facts have made it.

use super::events::*;
use super::words::*;
use hearthline_nhs::{HomeId, TaskId};

/// Everything that rules ask of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    pub status: Status,
    pub home: HomeId,
    /// µs UTC.
    pub opened_at: i64,
    pub reason: CallReason,
    pub answered: bool,
    pub resident: ResidentRef,
    pub closed_with: Option<Outcome>,
    /// The task for a missing outcome, while it is open.
    pub outcome_task: Option<TaskId>,
}

impl Call {
    /// The call after one more fact that occurred at `at_us`. A stream that does not begin with an opening is no call.
    pub fn evolve(call: Option<Self>, event: &CallEvent, at_us: i64) -> Option<Self> {
        if let CallEvent::Opened(opened) = event {
            return Some(Call {
                status: Status::Open,
                home: opened.home,
                opened_at: at_us,
                reason: opened.reason,
                answered: false,
                resident: opened.resident,
                closed_with: None,
                outcome_task: None,
            });
        }
        call.map(|call| call.after(event))
    }

    fn after(mut self, event: &CallEvent) -> Self {
        match event {
            CallEvent::Answered => self.answered = true,
            CallEvent::Triaged(triaged) => {
                self.reason = triaged.reason;
                if self.status == Status::Open {
                    self.status = Status::Triaged;
                }
            }
            CallEvent::ClinicianJoined(_) => self.status = Status::WithClinician,
            CallEvent::ResidentIdentified(identified) => self.resident = identified.resident,
            CallEvent::Closed(closed) => {
                self.status = Status::Closed;
                self.closed_with = Some(closed.outcome);
                self.reason = closed.corrected_reason.unwrap_or(self.reason);
            }
            CallEvent::Abandoned { .. } => self.status = Status::Abandoned,
            CallEvent::Voided(_) => self.status = Status::Voided,
            CallEvent::TaskOpened(task) => self.outcome_task = Some(task.id),
            CallEvent::TaskClosed { .. } => self.outcome_task = None,
            CallEvent::Opened(_)
            | CallEvent::ObservationsRecorded(_)
            | CallEvent::CounterfactualRecorded(_)
            | CallEvent::ConsentRecorded(_)
            | CallEvent::AttemptedOutsideHours { .. }
            | CallEvent::PersonalDataDestroyed => {}
        }
        self
    }
}

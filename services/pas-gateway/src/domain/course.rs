//! The course of a visit: what its statements say, taken in the order of their times and not of their arrival.
//!
//! States: *pre-admitted* (A05) → *open* (A01, A04) → *closed* (A03); *cancelled* (A11, of a pre-admission A38). A13 opens a closed
//! visit again, A12 takes a transfer back, A08 changes no state. An A11 after an attendance became an admission takes the admission
//! back and leaves the attendance: nobody withdrew that. An opening told after the discharge opens the visit again only if it says
//! that it happened after it; otherwise it tells of the stay that ended.

use super::{Arrival, Details, Report, Statement, Subject, VisitClass};
use hearthline_nhs::{HomeId, ResidentId};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Status {
    #[default]
    Unknown,
    PreAdmitted,
    Open,
    Closed,
    Cancelled,
}

/// A stretch of a visit in which class, method, source and site stay the same; the first is the opening.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    pub details: Details,
    pub at_us: i64,
    pub trigger: String,
}

impl Stage {
    pub fn class(&self) -> VisitClass {
        self.details.class.unwrap_or(VisitClass::Other)
    }

    fn is_as(&self, details: &Details) -> bool {
        let d = &self.details;
        (d.class, &d.admission_method, &d.source, &d.site) == (details.class, &details.admission_method, &details.source, &details.site)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closing {
    pub at_us: i64,
    pub destination: String,
    pub method: String,
    pub died: bool,
    pub trigger: String,
}

/// What is so after all statements.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Course {
    pub status: Status,
    /// Empty until the visit was opened; kept when it is cancelled.
    pub stages: Vec<Stage>,
    pub closing: Option<Closing>,
    /// The resident whom the latest statement that names one names, else the home.
    pub subject: Option<Subject>,
    /// NHS NUMBER STATUS INDICATOR CODE of the opening.
    pub nhs_number_status: String,
    /// A45 gave it to somebody whom the directory does not know.
    pub moved_away: bool,
    /// A42 made it part of another visit.
    pub merged_away: bool,
    said: Option<Details>,
    /// Sites left by transfers that may be taken back.
    left: Vec<String>,
    /// An attendance that became an admission: how many stages it had, and what was said by then.
    attendance: Option<(usize, Details)>,
}

impl Course {
    /// Of statements that are in order.
    pub fn of(statements: &[Statement]) -> Self {
        let mut course = Course::default();
        for (n, statement) in statements.iter().enumerate() {
            // A repeat may know better whose visit it is.
            course.tie(statement);
            let mut beside = statements[..n].iter().rev().take_while(|before| before.order.key().0 == statement.order.key().0);
            if !beside.any(|before| is_repeat(before, statement)) {
                course.take(statement);
            }
        }
        course
    }

    /// The visit is or was, for all that is known.
    pub fn stands(&self) -> bool {
        matches!(self.status, Status::Open | Status::Closed) && !self.moved_away && !self.merged_away && self.subject.is_some()
    }

    pub fn resident(&self) -> Option<ResidentId> {
        match self.subject {
            Some(Subject::Resident { id, .. }) => Some(id),
            Some(Subject::Home { .. }) | None => None,
        }
    }

    pub fn home(&self) -> Option<HomeId> {
        match self.subject {
            Some(Subject::Resident { home, .. }) => home,
            Some(Subject::Home { home, .. }) => Some(home),
            None => None,
        }
    }

    /// Why a report has no effect on the state that the visit is in when it comes to it; for operators.
    pub fn contradiction(&self, report: &Report) -> Option<&'static str> {
        match (self.status, report) {
            (Status::Unknown | Status::PreAdmitted, Report::Discharge { .. } | Report::CancelAdmission | Report::CancelDischarge) => {
                Some("the visit is not open by then")
            }
            (Status::Cancelled, Report::Discharge { .. } | Report::CancelDischarge | Report::Transfer(_) | Report::CancelTransfer(_)) => {
                Some("the visit is cancelled by then")
            }
            (Status::Closed, Report::Transfer(_) | Report::CancelTransfer(_)) => Some("the visit is closed by then"),
            (Status::Open, Report::CancelDischarge) => Some("the visit is not closed by then"),
            (Status::Open | Status::Closed, Report::PreAdmission(_) | Report::CancelPreAdmission) => Some("the visit is admitted by then"),
            (_, Report::Opening(_) | Report::PreAdmission(_) | Report::Change(_) | Report::Move | Report::MergedAway) => None,
            (Status::Cancelled, Report::CancelAdmission | Report::CancelPreAdmission) => None,
            (Status::Unknown | Status::PreAdmitted | Status::Open, Report::Transfer(_) | Report::CancelTransfer(_)) => None,
            (Status::Unknown | Status::PreAdmitted, Report::CancelPreAdmission) => None,
            (Status::Open | Status::Closed, Report::Discharge { .. } | Report::CancelAdmission) => None,
            (Status::Closed, Report::CancelDischarge) => None,
        }
    }

    fn take(&mut self, statement: &Statement) {
        match &statement.report {
            Report::Opening(details) => self.open(details, statement),
            Report::PreAdmission(details) => {
                self.say(details);
                if matches!(self.status, Status::Unknown | Status::Cancelled) {
                    self.status = Status::PreAdmitted;
                }
            }
            Report::Change(details) => {
                let before = self.said.clone();
                self.say(details);
                self.become_admission(before);
                self.stage(statement);
            }
            Report::Transfer(details) => {
                self.left.push(self.said.as_ref().map(|said| said.site.clone()).unwrap_or_default());
                self.say(details);
                self.stage(statement);
            }
            Report::CancelTransfer(details) => {
                let before = self.left.pop();
                if let (Some(site), Some(said)) = (before, &mut self.said) {
                    said.site = site;
                }
                self.say(details);
                self.stage(statement);
            }
            Report::Discharge { destination, method, died } => {
                if matches!(self.status, Status::Open | Status::Closed) {
                    self.status = Status::Closed;
                    let (destination, method) = (destination.clone(), method.clone());
                    self.closing = Some(Closing { at_us: statement.at_us, destination, method, died: *died, trigger: statement.trigger.clone() });
                }
            }
            Report::CancelDischarge => {
                if self.status == Status::Closed {
                    self.status = Status::Open;
                    self.closing = None;
                }
            }
            Report::CancelAdmission => self.cancel(),
            Report::CancelPreAdmission => {
                if self.status == Status::PreAdmitted {
                    self.status = Status::Cancelled;
                }
            }
            Report::Move => self.moved_away = self.resident().is_none(),
            Report::MergedAway => self.merged_away = true,
        }
    }

    /// A number that is a resident's goes over an address, and the latest over those before.
    fn tie(&mut self, statement: &Statement) {
        if statement.report == Report::Move {
            self.subject = statement.subject;
        }
        match (statement.subject, self.subject) {
            (Some(resident @ Subject::Resident { .. }), _) => {
                self.subject = Some(resident);
                self.moved_away = false;
            }
            (home @ Some(Subject::Home { .. }), None) => self.subject = home,
            (Some(Subject::Home { .. }) | None, _) => {}
        }
    }

    fn open(&mut self, details: &Details, statement: &Statement) {
        let before = self.said.clone();
        self.say(details);
        match self.status {
            Status::Unknown | Status::PreAdmitted | Status::Cancelled => {
                self.stages.clear();
                self.closing = None;
                self.attendance = None;
                self.status = Status::Open;
                self.nhs_number_status.clone_from(&statement.nhs_number_status);
            }
            Status::Open => self.become_admission(before),
            Status::Closed => {
                if self.closing.as_ref().is_some_and(|closing| statement.at_us > closing.at_us) {
                    self.status = Status::Open;
                    self.closing = None;
                }
            }
        }
        self.stage(statement);
    }

    /// An attendance that is open becomes an admission (A01, A06, A08), or is told of as one no more (A07, A08).
    fn become_admission(&mut self, before: Option<Details>) {
        let is = |said: Option<&Details>, class| said.is_some_and(|said| said.class == Some(class));
        if self.status != Status::Open {
            return;
        }
        if !is(self.said.as_ref(), VisitClass::Inpatient) {
            self.attendance = None;
        } else if let Some(before) = before.filter(|before| is(Some(before), VisitClass::Emergency)) {
            self.attendance = Some((self.stages.len(), before));
        }
    }

    fn cancel(&mut self) {
        if !matches!(self.status, Status::Open | Status::Closed) {
            return;
        }
        match self.attendance.take() {
            Some((stages, said)) => {
                self.stages.truncate(stages);
                self.said = Some(said);
            }
            None => self.status = Status::Cancelled,
        }
    }

    fn say(&mut self, details: &Details) {
        self.said = Some(details.or_before(self.said.as_ref().unwrap_or(&Details::NONE)));
    }

    fn stage(&mut self, statement: &Statement) {
        let Some(said) = self.said.as_ref().filter(|_| matches!(self.status, Status::Open | Status::Closed)) else { return };
        // How somebody arrived is often sent after the opening, and belongs to it.
        if let Some(opening) = self.stages.first_mut().filter(|opening| opening.details.arrival == Arrival::Unknown) {
            opening.details.arrival = said.arrival;
            opening.details.arrival_code.clone_from(&said.arrival_code);
        }
        if !self.stages.last().is_some_and(|last| last.is_as(said)) {
            self.stages.push(Stage { details: said.clone(), at_us: statement.at_us, trigger: statement.trigger.clone() });
        }
    }
}

/// The same event told again, by another message.
fn is_repeat(before: &Statement, later: &Statement) -> bool {
    let order = |s: &Statement| (s.order.occurred_us, s.order.recorded_us);
    // Without a time of the event, MSH-7 is all that tells two events from one told twice.
    let has_event_time = later.order.occurred_us.or(later.order.recorded_us).is_some();
    has_event_time && order(before) == order(later) && (before.at_us, &before.trigger, &before.report) == (later.at_us, &later.trigger, &later.report)
}

#[cfg(test)]
#[path = "course_tests.rs"]
mod tests;

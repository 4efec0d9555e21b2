//! A visit as its events have it: all that was said of it, in the order of its times.

use super::course::Course;
use super::events::Event;
use super::{Details, Order, Report, Statement, Subject};
use hearthline_nhs::{HomeId, ResidentId};

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Visit {
    /// In order.
    statements: Vec<Statement>,
    /// From here on events without a statement repeat what statements say.
    has_statements: bool,
}

impl Visit {
    pub fn statements(&self) -> &[Statement] {
        &self.statements
    }

    pub fn course(&self) -> Course {
        Course::of(&self.statements)
    }

    /// Something was heard that a visit begins with.
    pub fn has_begun(&self) -> bool {
        self.statements.iter().any(|statement| statement.report.begins())
    }

    pub fn resident(&self) -> Option<ResidentId> {
        self.course().resident()
    }

    /// All whose it was said to be.
    pub fn residents(&self) -> impl Iterator<Item = ResidentId> {
        self.statements.iter().filter_map(|statement| match statement.subject {
            Some(Subject::Resident { id, .. }) => Some(id),
            Some(Subject::Home { .. }) | None => None,
        })
    }

    /// Whose it is by the time of a statement; where none by then says so, whose it is first, moves aside.
    pub fn resident_by(&self, statement: &Statement) -> Option<ResidentId> {
        let (before, later) = self.statements.split_at(self.place_of(statement));
        let names = |s: &Statement| s.report == Report::Move || matches!(s.subject, Some(Subject::Resident { .. }));
        if before.iter().any(names) {
            Course::of(before).resident()
        } else {
            Course::of(later.split(|s| s.report == Report::Move).next().unwrap_or_default()).resident()
        }
    }

    /// A45 came after a statement.
    pub fn is_moved_after(&self, statement: &Statement) -> bool {
        self.statements[self.place_of(statement)..].iter().any(|later| later.report == Report::Move)
    }

    pub fn home(&self) -> Option<HomeId> {
        self.course().home()
    }

    /// When it was opened, µs; none where it was not.
    pub fn began_us(&self) -> Option<i64> {
        self.course().stages.first().map(|stage| stage.at_us)
    }

    /// Why a report changes no state, where that is because it contradicts what is known by its time.
    pub fn contradiction(&self, statement: &Statement) -> Option<&'static str> {
        Course::of(&self.statements[..self.place_of(statement)]).contradiction(&statement.report)
    }

    pub fn evolve(mut self, event: &Event) -> Self {
        match event.statement() {
            Some(statement) => {
                self.has_statements = true;
                self.insert(statement.clone());
            }
            None if !self.has_statements => {
                let latest = self.statements.last().map(|s| s.order).unwrap_or_default();
                if let Some(statement) = recorded_without(event, self.course().subject, latest) {
                    self.insert(statement);
                }
            }
            None => {}
        }
        self
    }

    /// Behind those of the same time. One that is there already gets the better knowledge of whose it is.
    pub(super) fn insert(&mut self, statement: Statement) {
        match self.position(&statement) {
            Some(at) => {
                let known = &mut self.statements[at].subject;
                if known.is_none() || matches!(statement.subject, Some(Subject::Resident { .. })) {
                    *known = statement.subject;
                }
            }
            None => {
                let at = self.place_of(&statement);
                self.statements.insert(at, statement);
            }
        }
    }

    /// Where a statement stands, or would.
    fn place_of(&self, statement: &Statement) -> usize {
        self.position(statement).unwrap_or_else(|| self.statements.partition_point(|s| s.order.key() <= statement.order.key()))
    }

    /// The statement itself, whoever it was thought to be about.
    pub(super) fn position(&self, statement: &Statement) -> Option<usize> {
        let same = |s: &Statement| (s.at_us, s.order, &s.trigger, &s.report) == (statement.at_us, statement.order, &statement.trigger, &statement.report);
        self.statements.iter().position(same)
    }
}

/// What an event says that was recorded before statements were kept.
fn recorded_without(event: &Event, subject: Option<Subject>, latest: Order) -> Option<Statement> {
    let statement = |trigger: &str, at_us: i64, report: Report, subject: Option<Subject>| Statement {
        trigger: trigger.to_owned(),
        at_us,
        order: Order { occurred_us: Some(at_us), recorded_us: None, sent_us: None },
        nhs_number_status: String::new(),
        report,
        subject,
    };
    Some(match event {
        Event::VisitOpened(o, _) => {
            let subject = match (o.resident, o.home) {
                (Some(id), home) => Some(Subject::Resident { id, home, confidence: o.confidence }),
                (None, Some(home)) => Some(Subject::Home { home, rule: o.rule, confidence: o.confidence }),
                (None, None) => None,
            };
            let details = Details {
                class: Some(o.class),
                admission_method: o.admission_method.clone(),
                source: o.source.clone(),
                site: o.site.clone(),
                arrival: o.arrival,
                arrival_code: o.arrival_code.clone(),
            };
            Statement { nhs_number_status: o.nhs_number_status.clone(), ..statement(&o.trigger, o.admitted_at_us, Report::Opening(details), subject) }
        }
        Event::VisitTransferred { class, admission_method, source, site, at_us, trigger, .. } => {
            let details =
                Details { class: Some(*class), admission_method: admission_method.clone(), source: source.clone(), site: site.clone(), ..Details::NONE };
            statement(trigger, *at_us, Report::Change(details), None)
        }
        Event::VisitClosed { at_us, destination, method, died, trigger, .. } => {
            statement(trigger, *at_us, Report::Discharge { destination: destination.clone(), method: method.clone(), died: *died }, None)
        }
        Event::VisitCancelled { at_us, trigger, .. } => statement(trigger, *at_us, Report::CancelAdmission, None),
        Event::VisitReopened { at_us, trigger, .. } => statement(trigger, *at_us, Report::CancelDischarge, None),
        Event::VisitIdentified { resident, home, confidence, .. } => {
            let home = home.or(match subject {
                Some(Subject::Resident { home, .. }) => home,
                Some(Subject::Home { home, .. }) => Some(home),
                None => None,
            });
            let who = Subject::Resident { id: *resident, home, confidence: *confidence };
            // It said whose the visit is, not when anything happened: as of the latest by then.
            Statement { order: latest, ..statement("", 0, Report::Change(Details::NONE), Some(who)) }
        }
        Event::VisitReported(_) | Event::PatientsMerged { .. } | Event::DeathReported { .. } => return None,
    })
}

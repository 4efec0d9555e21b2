//! What a report means for a visit. A visit may be told of in any order and more than once.
//!
//! The events of a report are the difference that it makes to the visit's course: whoever folds all events in the order they came has
//! what the reports say in the order of their times. What no single event can say (an earlier opening, an admission taken back that
//! leaves an attendance) is said by telling the visit from its opening again.

use super::course::{Closing, Course, Stage};
use super::events::{Event, Opening};
use super::rejection::Rejection;
use super::state::Visit;
use super::{Confidence, DELETED, Details, Report, Reported, ResolverRule, Statement, Subject};

/// The events of a report, first among them the resident whom the visit did not have before. Nothing new is a rejection.
pub fn decide(visit: &Visit, reported: &Reported, subject: Option<&Subject>) -> Result<Vec<Event>, Rejection> {
    let begins = reported.report.begins() && subject.is_some();
    if !visit.has_begun() && !begins {
        return Err(Rejection::NotOpened);
    }
    let statement = reported.statement(subject);
    let mut after = visit.clone();
    after.insert(statement.clone());
    let says_nothing = matches!(&reported.report, Report::Change(details) if *details == Details::NONE);
    let (before, then) = (visit.course(), after.course());
    let is_known = visit.position(&statement).is_some();
    if (is_known && then == before) || (says_nothing && then.subject == before.subject) {
        return Err(Rejection::NothingNew);
    }
    let told = difference(&before, &then, reported);
    Ok(following(told, statement))
}

/// What A42, or A45 with another number, means: everything said of `retired` is said of `visit`, which ends the other. The first list
/// is for the visit that stays, the second for the one that goes.
pub fn absorb(visit: &Visit, retired: &Visit, reported: &Reported) -> Result<(Vec<Event>, Vec<Event>), Rejection> {
    if !retired.has_begun() {
        return Err(Rejection::NotOpened);
    }
    let mut after = visit.clone();
    let taken: Vec<Statement> = retired.statements().iter().filter(|s| s.report != Report::MergedAway && visit.position(s).is_none()).cloned().collect();
    for statement in &taken {
        after.insert(statement.clone());
    }
    let told = difference(&visit.course(), &after.course(), reported);
    let mut kept: Vec<Event> = taken.into_iter().map(|statement| Event::VisitReported(Box::new(statement))).collect();
    kept.extend(told);
    let gone = Reported { report: Report::MergedAway, ..reported.clone() };
    let statement = gone.statement(None);
    let mut without = retired.clone();
    without.insert(statement.clone());
    Ok((kept, following(difference(&retired.course(), &without.course(), &gone), statement)))
}

/// The statement goes with the first event; where there is none it is an event itself.
fn following(events: Vec<Event>, statement: Statement) -> Vec<Event> {
    let mut events = events.into_iter();
    match events.next() {
        Some(first) => std::iter::once(first.following(statement)).chain(events).collect(),
        None => vec![Event::VisitReported(Box::new(statement))],
    }
}

fn difference(before: &Course, after: &Course, reported: &Reported) -> Vec<Event> {
    let (at_us, trigger) = (reported.at.at_us, reported.trigger.clone());
    let mut events: Vec<Event> = identified(before, after).into_iter().collect();
    match (before.stands(), after.stands()) {
        (true, false) => events.push(Event::VisitCancelled { at_us, trigger, report: None }),
        (false, false) => {}
        (false, true) => from_the_opening(after, reported, &mut events),
        (true, true) if is_continued(before, after) => {
            events.extend(after.stages[before.stages.len()..].iter().map(transferred));
            match (&before.closing, &after.closing) {
                (Some(_), None) => events.push(Event::VisitReopened { at_us, trigger, report: None }),
                (before, Some(closing)) if before.as_ref() != Some(closing) => events.push(closed(closing)),
                (Some(_) | None, Some(_)) | (None, None) => {}
            }
        }
        (true, true) => from_the_opening(after, reported, &mut events),
    }
    events
}

/// What was told stays true; there may be more of it.
fn is_continued(before: &Course, after: &Course) -> bool {
    let same_place = after.resident().is_some() || before.home() == after.home();
    same_place && after.stages.starts_with(&before.stages)
}

fn from_the_opening(course: &Course, reported: &Reported, events: &mut Vec<Event>) {
    let (Some((first, later)), Some(subject)) = (course.stages.split_first(), course.subject) else { return };
    events.push(opened(first, &subject, course, reported));
    events.extend(later.iter().map(transferred));
    events.extend(course.closing.as_ref().map(closed));
}

fn opened(stage: &Stage, subject: &Subject, course: &Course, reported: &Reported) -> Event {
    let (resident, home, rule, confidence): (_, _, ResolverRule, Confidence) = match *subject {
        Subject::Resident { id, home, confidence } => (Some(id), home, ResolverRule::NhsNumber, confidence),
        Subject::Home { home, rule, confidence } => (None, Some(home), rule, confidence),
    };
    let details = &stage.details;
    let opening = Opening {
        feed: reported.feed.clone(),
        facility: reported.facility.clone(),
        site: details.site.clone(),
        class: stage.class(),
        resident,
        home,
        arrival: details.arrival,
        arrival_code: details.arrival_code.clone(),
        admission_method: standing(&details.admission_method),
        source: standing(&details.source),
        admitted_at_us: stage.at_us,
        rule,
        confidence,
        trigger: stage.trigger.clone(),
        nhs_number_status: course.nhs_number_status.clone(),
    };
    Event::VisitOpened(Box::new(opening), None)
}

/// Of what was deleted before the visit began nobody needs to hear.
fn standing(said: &str) -> String {
    if said == DELETED { String::new() } else { said.to_owned() }
}

/// Moves within the hospital are of no concern here: class, admission method, source and site are.
fn transferred(stage: &Stage) -> Event {
    Event::VisitTransferred {
        class: stage.class(),
        admission_method: stage.details.admission_method.clone(),
        source: stage.details.source.clone(),
        site: stage.details.site.clone(),
        at_us: stage.at_us,
        trigger: stage.trigger.clone(),
        report: None,
    }
}

fn closed(closing: &Closing) -> Event {
    Event::VisitClosed {
        at_us: closing.at_us,
        destination: closing.destination.clone(),
        method: closing.method.clone(),
        died: closing.died,
        trigger: closing.trigger.clone(),
        report: None,
    }
}

/// A home-level visit gets its resident; one that was somebody else's by mistake, or is moved to another, gets the right one. Of one
/// that does not stand its next opening says whose it is.
fn identified(before: &Course, after: &Course) -> Option<Event> {
    match after.subject {
        Some(Subject::Resident { id, home, confidence }) if before.stands() && after.stands() && before.resident() != Some(id) => {
            Some(Event::VisitIdentified { resident: id, home, confidence, replaced: before.resident(), report: None })
        }
        Some(Subject::Resident { .. } | Subject::Home { .. }) | None => None,
    }
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;

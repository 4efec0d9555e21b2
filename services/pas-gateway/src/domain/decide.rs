//! What a report means for a visit. A visit may be told of in any order and more than once.

use super::events::{Event, Opening};
use super::rejection::Rejection;
use super::state::{Stay, Visit};
use super::{Details, Report, Reported, ResolverRule, Subject, VisitClass};

/// The events of a report, first among them the resident whom the visit did not have before. Nothing new is a rejection.
pub fn decide(visit: &Visit, reported: &Reported, subject: Option<&Subject>) -> Result<Vec<Event>, Rejection> {
    let mut events: Vec<Event> = visit.stay().and_then(|stay| identified(stay, subject)).into_iter().collect();
    match happened(visit, reported, subject) {
        Ok(event) => events.push(event),
        Err(_) if !events.is_empty() => {}
        Err(rejection) => return Err(rejection),
    }
    Ok(events)
}

fn happened(visit: &Visit, reported: &Reported, subject: Option<&Subject>) -> Result<Event, Rejection> {
    let (at_us, trigger) = (reported.at.at_us, reported.trigger.clone());
    match (visit, &reported.report) {
        // A cancelled admission that is made again is the same visit, begun anew.
        (Visit::Unknown | Visit::Cancelled(_), Report::Opening(details)) => {
            subject.map(|subject| opened(reported, details, subject, visit.stay())).ok_or(Rejection::NotOpened)
        }
        (Visit::Unknown, _) => Err(Rejection::NotOpened),
        (Visit::Cancelled(_), _) => Err(Rejection::Cancelled),
        (Visit::Open(stay), Report::Opening(details) | Report::Change(details)) => transferred(stay, details, at_us, trigger),
        (Visit::Closed(_), Report::Opening(_) | Report::Change(_) | Report::Discharge { .. } | Report::CancelAdmission) => Err(Rejection::Closed),
        (Visit::Open(_), Report::Discharge { destination, died }) => Ok(Event::VisitClosed { at_us, destination: destination.clone(), died: *died, trigger }),
        (Visit::Open(_), Report::CancelAdmission) => Ok(Event::VisitCancelled { at_us, trigger }),
        (Visit::Open(_), Report::CancelDischarge) => Err(Rejection::NotClosed),
        (Visit::Closed(_), Report::CancelDischarge) => Ok(Event::VisitReopened { at_us, trigger }),
    }
}

fn opened(reported: &Reported, details: &Details, subject: &Subject, before: Option<&Stay>) -> Event {
    let (resident, home, rule, confidence) = match *subject {
        Subject::Resident { id, home, confidence } => (Some(id), home, ResolverRule::NhsNumber, confidence),
        Subject::Home { home, rule, confidence } => (before.and_then(|stay| stay.resident), Some(home), rule, confidence),
    };
    Event::VisitOpened(Box::new(Opening {
        feed: reported.feed.clone(),
        facility: reported.facility.clone(),
        site: details.site.clone(),
        class: details.class.unwrap_or(VisitClass::Other),
        resident,
        home,
        arrival: details.arrival,
        arrival_code: details.arrival_code.clone(),
        admission_method: details.admission_method.clone(),
        source: details.source.clone(),
        admitted_at_us: reported.at.at_us,
        rule,
        confidence,
        trigger: reported.trigger.clone(),
        nhs_number_status: reported.nhs_number_status.clone(),
    }))
}

/// Moves within the hospital are of no concern here: class, admission method and site are.
fn transferred(stay: &Stay, details: &Details, at_us: i64, trigger: String) -> Result<Event, Rejection> {
    let or_before = |said: &str, before: &str| if said.is_empty() { before.to_owned() } else { said.to_owned() };
    let class = details.class.unwrap_or(stay.class);
    let admission_method = or_before(&details.admission_method, &stay.admission_method);
    let source = or_before(&details.source, &stay.source);
    let site = or_before(&details.site, &stay.site);
    if (class, &admission_method, &site) == (stay.class, &stay.admission_method, &stay.site) {
        return Err(Rejection::NothingNew);
    }
    Ok(Event::VisitTransferred { class, admission_method, source, site, at_us, trigger })
}

/// A home-level visit gets its resident; one that was somebody else's by mistake gets the right one.
fn identified(stay: &Stay, subject: Option<&Subject>) -> Option<Event> {
    match subject {
        Some(Subject::Resident { id, home, confidence }) if stay.resident != Some(*id) => {
            Some(Event::VisitIdentified { resident: *id, home: *home, confidence: *confidence, replaced: stay.resident })
        }
        Some(Subject::Resident { .. } | Subject::Home { .. }) | None => None,
    }
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;

//! What must come out of a week, by a plain model of its own: no services, no events, only the truth of the week and the rules
//! in their shortest form. It is written apart from the projections on purpose; where the two differ one of them is wrong.

use std::collections::BTreeMap;

use super::week::{Arrival, Call, Claim, Patient, Visit, Week};

const HOUR_US: i64 = 3_600_000_000;

/// How claims of one kind stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Claims {
    pub declared: u64,
    pub sustained: u64,
    pub contradicted: u64,
    pub unverifiable: u64,
    pub pending: u64,
}

/// Everything that is compared at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    pub calls: u64,
    pub claims: BTreeMap<Claim, Claims>,
    pub prescriptions: u64,
    pub plans: u64,
    /// Documents that leave the hub: one for each call that may be shared.
    pub documents: u64,
    /// Residents' attendances in the week, and those of people known only by the home they came from.
    pub attendances: u64,
    pub attendances_home_level: u64,
    pub admissions: u64,
    pub admissions_home_level: u64,
    /// Visits at all, whenever: of residents, and home-level.
    pub visits: u64,
    pub visits_home_level: u64,
    /// Messages by sending facility.
    pub messages: BTreeMap<&'static str, u64>,
}

/// By what claims are judged.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    pub window_h: i64,
    pub feed_lag_h: i64,
    /// µs UTC.
    pub as_of: i64,
}

/// Looks at a week and says what its figures must be.
pub fn expect(week: &Week, rule: Rule) -> Expected {
    let mut claims: BTreeMap<Claim, Claims> = BTreeMap::new();
    for kind in Claim::ALL {
        let counted = claims.entry(kind).or_default();
        for call in week.calls.iter().filter(|call| call.claims.contains(&kind)) {
            counted.declared += 1;
            *match status(week, call, kind, rule) {
                Status::Contradicted => &mut counted.contradicted,
                Status::Unverifiable => &mut counted.unverifiable,
                Status::Pending => &mut counted.pending,
                Status::Sustained => &mut counted.sustained,
            } += 1;
        }
    }
    let shared = |call: &&Call| call.consent != Some("refused");
    let count = |of: &dyn Fn(&Visit) -> bool| week.visits.iter().filter(|visit| of(visit)).count() as u64;
    let in_week = |at: Option<i64>| at.is_some_and(|at| (week.starts_at..week.ends_at).contains(&at));
    let resident = |visit: &Visit| matches!(visit.patient, Patient::Resident(_));
    let at_home = |visit: &Visit| matches!(visit.patient, Patient::AtHome(_));
    let admitted = |visit: &Visit| in_week(emergency_admission(visit));
    let mut messages = BTreeMap::new();
    for message in &week.messages {
        *messages.entry(week.sites[message.site].ods).or_default() += 1;
    }
    Expected {
        calls: week.calls.len() as u64,
        claims,
        prescriptions: week.calls.iter().filter(|call| call.medicine.is_some()).count() as u64,
        plans: week.calls.iter().filter(shared).filter(|call| call.plan.is_some()).count() as u64,
        documents: week.calls.iter().filter(shared).count() as u64,
        attendances: count(&|visit| resident(visit) && in_week(visit.attended_at)),
        attendances_home_level: count(&|visit| at_home(visit) && in_week(visit.attended_at)),
        admissions: count(&|visit| resident(visit) && admitted(visit)),
        admissions_home_level: count(&|visit| at_home(visit) && admitted(visit)),
        visits: count(&resident),
        visits_home_level: count(&at_home),
        messages,
    }
}

enum Status {
    Contradicted,
    Unverifiable,
    Pending,
    Sustained,
}

fn status(week: &Week, call: &Call, kind: Claim, rule: Rule) -> Status {
    let until = call.closed_at + rule.window_h * HOUR_US;
    let within = |at: i64| at > call.closed_at && at <= until;
    let mut unsaid = false;
    for visit in week.visits.iter().filter(|visit| visit.patient == Patient::Resident(call.resident)) {
        let planned = visit.admitted.is_some_and(|(_, method)| method.starts_with('1'));
        let came = visit.attended_at.or(visit.admitted.map(|(at, _)| at)).filter(|_| !planned);
        let contradicts = match kind {
            Claim::Conveyance => came.filter(|_| visit.arrival == Arrival::Ambulance),
            Claim::EdAttendance => visit.attended_at,
            Claim::Admission => emergency_admission(visit),
        };
        if contradicts.is_some_and(within) {
            return Status::Contradicted;
        }
        unsaid |= kind == Claim::Conveyance && visit.arrival == Arrival::NotSaid && came.is_some_and(within);
    }
    if unsaid {
        Status::Unverifiable
    } else if rule.as_of < until + rule.feed_lag_h * HOUR_US {
        Status::Pending
    } else {
        Status::Sustained
    }
}

fn emergency_admission(visit: &Visit) -> Option<i64> {
    visit.admitted.filter(|(_, method)| method.starts_with('2')).map(|(at, _)| at)
}

#[cfg(test)]
mod tests {
    use jiff::civil::Date;

    use super::*;
    use crate::demo::generator::{Make, generate};

    fn week() -> Week {
        let make = Make { seed: 104, monday: Date::constant(2025, 10, 20), messages: 1_500, marker: None };
        generate(&make).expect("the week is in the calendar")
    }

    fn later(week: &Week, days: i64) -> Rule {
        Rule { window_h: 72, feed_lag_h: 24, as_of: week.ends_at + days * 24 * HOUR_US }
    }

    #[test]
    fn hospital_truth_contradicts_some_claims_and_leaves_one_unverifiable() {
        let week = week();
        let found = expect(&week, later(&week, 5));
        let of = |declared, sustained, contradicted, unverifiable| Claims { declared, sustained, contradicted, unverifiable, pending: 0 };
        assert_eq!(found.claims[&Claim::Conveyance], of(8, 5, 2, 1));
        assert_eq!(found.claims[&Claim::EdAttendance], of(6, 4, 2, 0));
        assert_eq!(found.claims[&Claim::Admission], of(4, 3, 1, 0));
        assert_eq!((found.calls, found.prescriptions), (15, 6));
    }

    #[test]
    fn a_claim_stays_pending_until_the_window_and_the_lag_are_over() {
        let week = week();
        let found = expect(&week, later(&week, 0));
        let pending: u64 = found.claims.values().map(|claims| claims.pending).sum();
        assert!(pending > 0);
        let expected: u64 = found.claims.values().map(|c| c.sustained + c.contradicted + c.unverifiable + c.pending).sum();
        assert_eq!(expected, 18);
    }
}

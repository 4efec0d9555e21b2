//! The sustained-avoidance rule: whether what a clinician declared avoided stayed avoided, as far as the hospital feeds show.
//!
//! A claim's window runs from the close of the first call of its episode that claims the kind (exclusive) to the given hours
//! after the close of the last one (inclusive); a death closes it. The first that holds is its status:
//! 1. *contradicted*: a matching visit, or a later call of the episode that sends the resident in, lies in the window;
//! 2. *unverifiable*: nothing matching is known, and the feeds could not have shown it;
//! 3. *pending*: messages may still arrive, among them those that a gap of a feed left out, until the feed's back-fill limit;
//! 4. *sustained*: the needed feeds covered the whole window and showed nothing.
//!
//! The rule is blind to causes: whether the visit was for the same problem is a clinician's review, not this.
//!
//! Sources: NHS Data Dictionary, ADMISSION METHOD (emergency codes begin with 2); HL7 table 0004 (patient class);
//! Emergency Care Data Set, arrival mode.

use crate::codes::{Arrival, ClaimKind, Disposition, VisitClass};
use crate::coverage::{self, Blind, GapState, Sight, overlaps};
use crate::rows::{FeedGap, Home, Visit};
use hearthline_nhs::{AdmissionMethod, CallId, VisitId};
use hearthline_runtime::config::Coverage;

pub const HOUR_US: i64 = 3_600 * 1_000_000;

/// A spell that ended this long before the next began is still the one that the next continues, in µs.
const TRANSFER_US: i64 = 24 * HOUR_US;

/// What is judged: one kind of claim standing in one episode.
#[derive(Debug, Clone)]
pub struct Case<'e> {
    pub kind: ClaimKind,
    /// Close of the first claiming call (the claim itself while that call is open).
    pub anchor: i64,
    /// Close of the last claiming call.
    pub last: i64,
    /// A claiming call is still open.
    pub call_open: bool,
    /// It is known whom the claim is about.
    pub identified: bool,
    pub home: Option<&'e Home>,
    /// The person's visits, under whatever id, without cancelled ones.
    pub visits: Vec<&'e Visit>,
    /// The episode's calls with a decided outcome: when the call was opened, and the outcome.
    pub outcomes: Vec<(CallId, i64, Disposition)>,
    /// By when the person had died.
    pub died_by: Option<i64>,
    /// When the person moved out of the area.
    pub left_area: Vec<i64>,
}

/// By what claims are judged.
#[derive(Debug, Clone, Copy)]
pub struct Rule<'c> {
    pub feed_lag_h: u32,
    pub coverage: &'c [Coverage],
    pub gaps: &'c [FeedGap],
    /// Up to when facts count, µs UTC.
    pub as_of: i64,
}

/// What contradicts a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    Visit(VisitId),
    /// A later call of the episode that sent the resident in.
    Call(CallId),
}

/// Why a claim cannot be checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    IdentityUnmatched,
    MovedOutOfArea,
    NoFeed,
    /// A feed covered a part of the window only.
    FeedIncomplete,
    /// A gap inside the window was never filled.
    GapNotFilled,
    /// The feeds do not say how patients arrive.
    NoArrivalMode,
    /// A visit in the window came without its arrival mode.
    ArrivalModeMissing,
}

impl Cause {
    /// The code that figures show.
    pub fn as_str(self) -> &'static str {
        match self {
            Cause::IdentityUnmatched => "identity unmatched",
            Cause::MovedOutOfArea => "moved out of area",
            Cause::NoFeed => "no feed",
            Cause::FeedIncomplete => "feed incomplete",
            Cause::GapNotFilled => "gap not filled",
            Cause::NoArrivalMode => "no arrival mode",
            Cause::ArrivalModeMissing => "arrival mode missing",
        }
    }
}

/// What a pending claim waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// The call is not closed.
    Call,
    /// The window and the allowance for late messages are not over.
    Window,
    /// A feed's gap in the window may still be filled.
    Gap,
}

/// Where a claim stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Contradicted { by: Evidence, at: i64 },
    Unverifiable(Cause),
    Pending(Wait),
    Sustained,
}

/// A status with its flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    pub status: Status,
    /// The person died inside the window, which closed it.
    pub died_in_window: bool,
}

/// Judges a case for a window of so many hours.
pub fn judge(case: &Case<'_>, rule: &Rule<'_>, window_h: u32) -> Verdict {
    let whole = case.last + i64::from(window_h) * HOUR_US;
    let died_in_window = case.died_by.is_some_and(|died| died > case.anchor && died <= whole && died <= rule.as_of);
    let end = match case.died_by {
        Some(died) if died <= rule.as_of => whole.min(died).max(case.anchor),
        _ => whole,
    };
    let status = if let Some((at, by)) = contradiction(case, rule, end) {
        Status::Contradicted { by, at }
    } else if let Some(cause) = blindness(case, rule, end) {
        Status::Unverifiable(cause)
    } else if let Some(wait) = waiting(case, rule, end) {
        Status::Pending(wait)
    } else {
        Status::Sustained
    };
    Verdict { status, died_in_window }
}

/// The earliest fact that contradicts.
fn contradiction(case: &Case<'_>, rule: &Rule<'_>, end: i64) -> Option<(i64, Evidence)> {
    let inside = |at: i64| at > case.anchor && at <= end && at <= rule.as_of;
    let visits = case.visits.iter().filter_map(|visit| {
        let at = match case.kind {
            ClaimKind::Conveyance => conveyed_at(visit, &case.visits)?,
            ClaimKind::EdAttendance => attended_ed_at(visit)?,
            ClaimKind::Admission => emergency_admission_at(visit, &case.visits)?,
        };
        Some((at, Evidence::Visit(visit.visit_id)))
    });
    let calls = case.outcomes.iter().filter(|(_, _, disposition)| disposition.sends_in(case.kind)).map(|(call, at, _)| (*at, Evidence::Call(*call)));
    // Visits first: of two at one moment the visit is named.
    visits.chain(calls).filter(|(at, _)| inside(*at)).min_by_key(|(at, _)| *at)
}

/// Why the feeds could not have shown a contradiction.
fn blindness(case: &Case<'_>, rule: &Rule<'_>, end: i64) -> Option<Cause> {
    if !case.identified {
        return Some(Cause::IdentityUnmatched);
    }
    if case.left_area.iter().any(|at| *at > case.anchor - 24 * HOUR_US && *at <= end && *at <= rule.as_of) {
        return Some(Cause::MovedOutOfArea);
    }
    let sight = match coverage::sight(rule.coverage, case.home, case.anchor, end) {
        Ok(sight) => sight,
        Err(Blind::NoFeed) => return Some(Cause::NoFeed),
        Err(Blind::PartlyCovered) => return Some(Cause::FeedIncomplete),
    };
    if touches_gap(case, rule, end, &sight, GapState::Lost) {
        return Some(Cause::GapNotFilled);
    }
    if case.kind == ClaimKind::Conveyance {
        if !sight.arrival_mode() {
            return Some(Cause::NoArrivalMode);
        }
        let unsaid = case.visits.iter().any(|visit| {
            visit.arrival == Arrival::Unknown
                && may_be_conveyance(visit, &case.visits)
                && visit.opened_at > case.anchor
                && visit.opened_at <= end
                && visit.opened_at <= rule.as_of
        });
        if unsaid {
            return Some(Cause::ArrivalModeMissing);
        }
    }
    None
}

/// What may still arrive.
fn waiting(case: &Case<'_>, rule: &Rule<'_>, end: i64) -> Option<Wait> {
    if case.call_open {
        return Some(Wait::Call);
    }
    if rule.as_of < end + i64::from(rule.feed_lag_h) * HOUR_US {
        return Some(Wait::Window);
    }
    let sight = coverage::sight(rule.coverage, case.home, case.anchor, end).ok()?;
    touches_gap(case, rule, end, &sight, GapState::MayFill).then_some(Wait::Gap)
}

/// Whether a gap in this state, of a feed that the case needs, reaches into its window.
fn touches_gap(case: &Case<'_>, rule: &Rule<'_>, end: i64, sight: &Sight<'_>, state: GapState) -> bool {
    rule.gaps.iter().any(|gap| gap.from_at <= rule.as_of && gap.state(rule.as_of) == state && overlaps(gap, case.anchor, end) && sight.concerns(gap))
}

/// When a visit was an attendance at an emergency department: registered there (A04), or of the emergency class.
pub fn attended_ed_at(visit: &Visit) -> Option<i64> {
    let registered = visit.trigger_event == "A04" && visit.opened_class != VisitClass::Outpatient;
    if visit.opened_class == VisitClass::Emergency || registered {
        return Some(visit.opened_at);
    }
    (visit.visit_class == VisitClass::Emergency).then_some(visit.transferred_at.unwrap_or(visit.opened_at))
}

/// When a visit was an emergency admission: an inpatient visit whose admission method begins with 2. A baby born outside
/// hospital (2C) is none; a transfer from another provider (2B) counts only if the spell that it continues is not held.
pub fn emergency_admission_at(visit: &Visit, others: &[&Visit]) -> Option<i64> {
    let at = visit.inpatient_at?;
    let method = AdmissionMethod::parse(&visit.admission_method).ok()?;
    let counts = match method.as_str() {
        "2C" => false,
        "2B" => !continues_a_spell(visit, at, others),
        _ => method.is_emergency(),
    };
    counts.then_some(at)
}

/// When a visit began with a conveyance by ambulance.
fn conveyed_at(visit: &Visit, others: &[&Visit]) -> Option<i64> {
    (visit.arrival == Arrival::Ambulance && may_be_conveyance(visit, others)).then_some(visit.opened_at)
}

/// Transport to a clinic, to a planned admission (methods 11 to 13), or between hospitals in one spell (81, 2B) is no
/// conveyance that a call could have avoided.
fn may_be_conveyance(visit: &Visit, others: &[&Visit]) -> bool {
    if visit.opened_class == VisitClass::Outpatient {
        return false;
    }
    match AdmissionMethod::parse(&visit.admission_method) {
        Ok(method) if method.as_str().starts_with('1') => false,
        Ok(method) if matches!(method.as_str(), "81" | "2B") => !continues_a_spell(visit, visit.opened_at, others),
        Ok(_) | Err(_) => true,
    }
}

fn continues_a_spell(visit: &Visit, at: i64, others: &[&Visit]) -> bool {
    others.iter().any(|other| {
        other.visit_id != visit.visit_id && other.inpatient_at.is_some_and(|began| began < at) && other.closed_at.is_none_or(|ended| ended >= at - TRANSFER_US)
    })
}

#[cfg(test)]
#[path = "reconcile_tests.rs"]
mod tests;

//! From rows to figures. Pure: rows, rule and window in, figures out.
//!
//! 1. Answered calls of live homes are chained into episodes ([`crate::episodes`]).
//! 2. Standing claims of an episode become one case per kind, judged for each window (`cases`, [`crate::reconcile`]).
//! 3. Calls, cases and visits are put into the weeks in which they count, and every measure of [`crate::catalogue`] is taken of
//!    each week and of the whole.

use crate::cases::{Index, contradicted, judge_all};
use crate::catalogue::{MEASURES, Measure};
use crate::codes::ClaimKind;
use crate::episodes::{Episode, episodes};
use crate::people::People;
use crate::reconcile::{Rule, Status, Verdict, attended_ed_at, emergency_admission_at};
use crate::rows::{Attempt, Call, Claim, Consultation, FeedGap, Home, MoveOut, Prescription, Resident, Share, Visit};
use crate::window::{Week, Window};
use hearthline_nhs::{CallId, ClaimId, HomeId, ResidentId, VisitId};
use hearthline_runtime::config::Coverage;
use jiff::civil::Date;
use std::collections::{BTreeMap, HashMap, HashSet};

/// Windows in which claims are always judged, in hours; the configured one is added.
pub const WINDOWS_H: [u32; 3] = [24, 48, 72];

/// The rows that a window needs; more do no harm.
#[derive(Debug, Clone, Default)]
pub struct Rows {
    pub calls: Vec<Call>,
    pub attempts: Vec<Attempt>,
    pub consultations: Vec<Consultation>,
    pub claims: Vec<Claim>,
    pub prescriptions: Vec<Prescription>,
    pub shares: Vec<Share>,
    pub visits: Vec<Visit>,
    pub gaps: Vec<FeedGap>,
    pub homes: Vec<Home>,
    pub residents: Vec<Resident>,
    pub moves_out: Vec<MoveOut>,
    pub people: People,
}

/// By what the figures are made.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'c> {
    /// The headline window, in hours.
    pub window_h: u32,
    /// Allowance for late messages, in hours.
    pub feed_lag_h: u32,
    pub coverage: &'c [Coverage],
    /// Up to when facts count, µs UTC. Corrections known today apply.
    pub as_of: i64,
}

/// One kind of claim in one episode, judged.
#[derive(Debug, Clone)]
pub struct Judged {
    pub kind: ClaimKind,
    /// By which it is counted: the opening of the episode's first call.
    pub counted_at: i64,
    pub anchor: i64,
    pub claims: Vec<ClaimId>,
    /// The first call that claims.
    pub call: CallId,
    pub home: Option<HomeId>,
    /// For the headline window.
    pub verdict: Verdict,
    /// For each window in hours, ascending.
    pub by_window: Vec<(u32, Verdict)>,
}

/// What counts in a period, for a measure to be taken of.
#[derive(Debug, Clone, Default)]
pub struct Part<'e> {
    pub first_day: Date,
    pub last_day: Date,
    pub from: i64,
    pub to: i64,
    pub as_of: i64,
    /// Weeks that are over at `as_of`, and when the last of them ended.
    pub complete_weeks: u64,
    pub complete_until: i64,
    pub window_h: u32,
    /// Answered calls of live homes, not voided.
    pub calls: Vec<&'e Call>,
    /// Whom each of them is about, resolved, where known.
    pub persons: Vec<Option<ResidentId>>,
    pub attempts: Vec<&'e Attempt>,
    pub episodes: u64,
    pub judged: Vec<&'e Judged>,
    /// Every claim of the calls, withdrawn ones too.
    pub claims: Vec<&'e Claim>,
    pub consultations: HashMap<CallId, &'e Consultation>,
    pub prescriptions: Vec<&'e Prescription>,
    pub shares: Vec<&'e Share>,
    pub attendances: Vec<&'e Visit>,
    pub admissions: Vec<&'e Visit>,
    pub homes: &'e [Home],
    pub gaps: &'e [FeedGap],
    pub coverage: &'e [Coverage],
}

/// A measure's figures.
#[derive(Debug, Clone)]
pub struct Taken {
    pub measure: &'static Measure,
    pub whole: Cell,
    pub weeks: Vec<Cell>,
}

/// A figure.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Cell {
    pub value: Amount,
    /// Numerator and denominator of a share or rate.
    pub of: Option<(u64, u64)>,
    pub by: Vec<(String, Amount)>,
    pub split: Option<Split>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum Amount {
    Count(u64),
    Rate(f64),
    /// Nothing to take it of: not known, never 0.
    #[default]
    NotKnown,
}

/// Declared claims by where they stand; the four add up to the declared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Split {
    pub declared: u64,
    pub sustained: u64,
    pub contradicted: u64,
    pub unverifiable: u64,
    pub pending: u64,
    pub died_in_window: u64,
}

impl Split {
    pub fn of<'v>(verdicts: impl Iterator<Item = &'v Verdict>) -> Self {
        let mut split = Split::default();
        for verdict in verdicts {
            split.declared += 1;
            split.died_in_window += u64::from(verdict.died_in_window);
            *match verdict.status {
                Status::Sustained => &mut split.sustained,
                Status::Contradicted { .. } => &mut split.contradicted,
                Status::Unverifiable(_) => &mut split.unverifiable,
                Status::Pending(_) => &mut split.pending,
            } += 1;
        }
        split
    }
}

/// A contradicted claim with what contradicts it. Ids only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contradicted {
    pub kind: ClaimKind,
    pub claims: Vec<ClaimId>,
    pub call: CallId,
    pub home: Option<HomeId>,
    pub by: ContradictedBy,
    /// µs UTC.
    pub anchor: i64,
    pub at: i64,
}

/// The fact that contradicts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContradictedBy {
    Visit { visit: VisitId, facility_ods: String },
    Call(CallId),
}

/// All figures of a window.
#[derive(Debug, Clone)]
pub struct Figures {
    pub window: Window,
    pub as_of: i64,
    pub window_h: u32,
    pub feed_lag_h: u32,
    pub taken: Vec<Taken>,
    pub contradicted: Vec<Contradicted>,
    /// Claims whose call is not answered, is voided, is of no live home or has not arrived: in no figure.
    pub claims_left_out: u64,
    /// A sustained conveyance rests on arrivals at emergency departments alone.
    pub ed_arrivals_only: bool,
    pub homes_live: u64,
    pub homes_without_feed: u64,
    pub incomplete_weeks: Vec<String>,
}

/// Makes the figures of a window.
pub fn figures(rows: &Rows, window: &Window, terms: &Terms<'_>) -> Figures {
    let rule = Rule { feed_lag_h: terms.feed_lag_h, coverage: terms.coverage, gaps: &rows.gaps, as_of: terms.as_of };
    let index = Index::of(rows, terms.as_of);
    let answered: Vec<&Call> = rows.calls.iter().filter(|call| index.counts(call)).collect();
    let chains = episodes(&answered, |call| index.person(call));
    let judged = judge_all(&chains, &index, &rule, terms);
    let whole = part(rows, &index, &answered, &chains, &judged, window, None, terms);
    let weeks: Vec<Part<'_>> = window.weeks.iter().map(|week| part(rows, &index, &answered, &chains, &judged, window, Some(*week), terms)).collect();
    let taken = MEASURES.iter().map(|measure| Taken { measure, whole: (measure.take)(&whole), weeks: weeks.iter().map(measure.take).collect() }).collect();
    let live: Vec<&Home> = rows.homes.iter().filter(|home| is_live(home, window.to().min(terms.as_of))).collect();
    Figures {
        contradicted: whole.judged.iter().filter_map(|judged| contradicted(judged, &index)).collect(),
        claims_left_out: left_out(rows, &answered, window, terms.as_of),
        ed_arrivals_only: whole.judged.iter().any(|judged| judged.kind == ClaimKind::Conveyance && judged.verdict.status == Status::Sustained),
        homes_live: live.len() as u64,
        homes_without_feed: live.iter().filter(|home| crate::coverage::catchment(terms.coverage, Some(home)).is_empty()).count() as u64,
        incomplete_weeks: window.weeks.iter().filter(|week| week.to > terms.as_of).map(|week| week.week.to_string()).collect(),
        taken,
        window: window.clone(),
        as_of: terms.as_of,
        window_h: terms.window_h,
        feed_lag_h: terms.feed_lag_h,
    }
}

/// Whether a home was live at an instant.
pub fn is_live(home: &Home, at: i64) -> bool {
    home.live_from.is_some_and(|live| live <= at)
}

/// What counts in one week, or in the whole window.
#[expect(clippy::too_many_arguments, reason = "each is one stage of the same calculation")]
fn part<'e>(
    rows: &'e Rows,
    index: &Index<'e>,
    answered: &[&'e Call],
    chains: &[Episode<'e>],
    judged: &'e [Judged],
    window: &Window,
    week: Option<Week>,
    terms: &Terms<'e>,
) -> Part<'e> {
    let (from, to, first_day, end_day) = match week {
        Some(week) => {
            let monday = week.week.monday();
            (week.from, week.to, monday, monday.saturating_add(jiff::Span::new().days(7)))
        }
        None => (window.from(), window.to(), window.first_day(), window.end_day()),
    };
    let within = |at: i64| at >= from && at < to && at <= terms.as_of;
    let calls: Vec<&Call> = answered.iter().copied().filter(|call| within(call.opened_at)).collect();
    let counted = |call: Option<CallId>, otherwise: i64| within(call.and_then(|call| index.opened.get(&call).copied()).unwrap_or(otherwise));
    let complete = || {
        let weeks = window.weeks.iter();
        weeks.filter(|one| one.from >= from && one.to <= to && one.to <= terms.as_of)
    };
    let here: HashSet<CallId> = calls.iter().map(|call| call.call_id).collect();
    let standing = |visit: &&Visit| visit.cancelled_at.is_none();
    // A resident who lived in none of the homes when it began is nobody's of theirs.
    let of_a_home = |visit: &&Visit| visit.home_id.is_some();
    let spells = |visit: &Visit| match visit.resident_id {
        Some(resident) => index.visits.get(&index.people.who(resident)).map_or(&[][..], Vec::as_slice),
        None => &[],
    };
    let mut consultations = HashMap::new();
    for call in &here {
        if let Some(consultation) = index.consultations.get(call) {
            consultations.insert(*call, *consultation);
        }
    }
    Part {
        first_day,
        last_day: end_day.yesterday().unwrap_or(end_day),
        from,
        to,
        as_of: terms.as_of,
        window_h: terms.window_h,
        complete_weeks: complete().count() as u64,
        complete_until: complete().map(|one| one.to).max().unwrap_or(from),
        persons: calls.iter().map(|call| index.person(call)).collect(),
        attempts: rows.attempts.iter().filter(|attempt| within(attempt.attempted_at)).collect(),
        episodes: chains.iter().filter(|episode| within(episode.began_at())).count() as u64,
        judged: judged.iter().filter(|one| within(one.counted_at)).collect(),
        claims: calls.iter().filter_map(|call| index.claims.get(&call.call_id)).flatten().copied().collect(),
        consultations,
        prescriptions: rows.prescriptions.iter().filter(|one| counted(one.call_id, one.drafted_at)).collect(),
        shares: rows.shares.iter().filter(|one| counted(one.call_id, one.began_at)).collect(),
        attendances: rows.visits.iter().filter(standing).filter(of_a_home).filter(|visit| attended_ed_at(visit).is_some_and(within)).collect(),
        admissions: rows
            .visits
            .iter()
            .filter(standing)
            .filter(of_a_home)
            .filter(|visit| emergency_admission_at(visit, spells(visit)).is_some_and(within))
            .collect(),
        homes: &rows.homes,
        gaps: &rows.gaps,
        coverage: terms.coverage,
        calls,
    }
}

/// Claims made in the window whose call is in no figure.
fn left_out(rows: &Rows, answered: &[&Call], window: &Window, as_of: i64) -> u64 {
    let counted: HashSet<CallId> = answered.iter().map(|call| call.call_id).collect();
    rows.claims
        .iter()
        .filter(|claim| {
            let at = claim.claimed_at;
            at >= window.from() && at < window.to() && at <= as_of && claim.withdrawn_at.is_none()
        })
        .filter(|claim| claim.call_id.is_none_or(|call| !counted.contains(&call)))
        .count() as u64
}

/// Counts by a word, in the order of the words.
pub fn by<T>(all: impl Iterator<Item = T>, words: &[&'static str], word: impl Fn(&T) -> &'static str) -> Vec<(String, Amount)> {
    let mut counts: BTreeMap<&'static str, u64> = BTreeMap::new();
    for one in all {
        *counts.entry(word(&one)).or_default() += 1;
    }
    words.iter().filter_map(|word| Some(((*word).to_owned(), Amount::Count(*counts.get(word)?)))).collect()
}

#[cfg(test)]
#[path = "measures_tests.rs"]
mod tests;

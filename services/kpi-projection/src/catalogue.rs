//! The measures: id, words, and how each is taken of what counts in a period. Ids are stable and never used again.

use crate::codes::{Alternative, Arrival, Channel, ClaimKind, Disposition, Reason};
use crate::coverage::home_days;
use crate::measures::{Amount, Cell, Judged, Part, Split, by, is_live};
use crate::reconcile::{Cause, Status};
use hearthline_nhs::words::Word;
use std::collections::{BTreeSet, HashMap};

/// Which way is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    Up,
    Down,
    Neutral,
}

impl Direction {
    pub fn as_str(self) -> &'static str {
        match self {
            Direction::Up => "up",
            Direction::Down => "down",
            Direction::Neutral => "neutral",
        }
    }
}

/// A measure of the catalogue.
#[derive(Debug)]
pub struct Measure {
    pub id: &'static str,
    pub title: &'static str,
    pub unit: &'static str,
    pub direction: Direction,
    /// One line for the reader.
    pub meaning: &'static str,
    pub take: fn(&Part<'_>) -> Cell,
}

macro_rules! measures {
    ($($id:literal, $title:literal, $unit:literal, $direction:ident, $meaning:literal, $take:expr;)+) => {
        /// Every measure, in the order in which figures list them.
        pub const MEASURES: &[Measure] = &[$(Measure {
            id: $id,
            title: $title,
            unit: $unit,
            direction: Direction::$direction,
            meaning: $meaning,
            take: $take,
        }),+];
    };
}

measures! {
    "calls_total", "Calls to the service", "calls", Neutral,
        "Calls answered by a person, not voided, from homes that were live when they called.", calls_total;
    "calls_per_week", "Calls per week", "calls per week", Neutral,
        "Calls divided by complete weeks; part weeks count in neither.", calls_per_week;
    "telephone_calls", "Calls not by video", "calls", Neutral,
        "By the channel on which the call was opened; telephone and web together.", |part| count(calls_on(part, |c| c != Channel::Video));
    "video_calls", "Video calls", "calls", Neutral,
        "By the channel on which the call was opened.", |part| count(calls_on(part, |c| c == Channel::Video));
    "video_share", "Share of calls by video", "%", Up,
        "Video calls among all calls.", |part| share(calls_on(part, |c| c == Channel::Video), part.calls.len() as u64);
    "calls_by_reason", "Calls by reason", "calls", Neutral,
        "The main reason as last corrected.", calls_by_reason;
    "calls_outside_opening", "Attempts while closed", "attempts", Down,
        "Calls of live homes while the service was shut, at most one for each home in 30 minutes.", calls_outside_opening;
    "residents_supported", "People supported", "people", Up,
        "Distinct people in answered calls, once in a period: periods do not add up.", residents_supported;
    "call_dispositions", "What happened", "calls", Neutral,
        "Closed calls by the one result of each.", call_dispositions;
    "alternatives_displaced", "What the home would have done", "calls", Neutral,
        "By the home's own account.", alternatives_displaced;
    "ambulance_conveyances_avoided", "Conveyances avoided", "episodes", Up,
        "Episodes in which a clinician declares an ambulance conveyance avoided, at most one each.", |part| claims(part, ClaimKind::Conveyance);
    "ed_attendances_avoided", "ED attendances avoided", "episodes", Up,
        "Episodes in which a clinician declares an emergency department attendance avoided, at most one each.", |part| claims(part, ClaimKind::EdAttendance);
    "admissions_avoided", "Admissions avoided", "episodes", Up,
        "Episodes in which a clinician declares an emergency admission avoided, at most one each.", |part| claims(part, ClaimKind::Admission);
    "avoidance_rate", "Avoidance per episode", "%", Neutral,
        "Declared claims of any kind for each episode; by kind beside it, never to be added up.", avoidance_rate;
    "avoidance_claims_withdrawn", "Claims withdrawn", "%", Neutral,
        "Claims that were withdrawn, among all claims made.", avoidance_claims_withdrawn;
    "conveyance_avoidance_sustained", "Conveyances avoided, sustained", "%", Up,
        "Sustained among sustained and contradicted claims.", |part| sustained(part, ClaimKind::Conveyance);
    "ed_avoidance_sustained", "ED attendances avoided, sustained", "%", Up,
        "Sustained among sustained and contradicted claims.", |part| sustained(part, ClaimKind::EdAttendance);
    "admission_avoidance_sustained", "Admissions avoided, sustained", "%", Up,
        "Sustained among sustained and contradicted claims.", |part| sustained(part, ClaimKind::Admission);
    "avoidance_contradicted", "Claims contradicted", "claims", Down,
        "Claims after which the hospital saw what was declared avoided. Blind to causes: the list is for case review.",
        |part| by_status(part, |status| matches!(status, Status::Contradicted { .. }));
    "avoidance_unverifiable", "Claims that cannot be checked", "claims", Down,
        "Claims that the feeds could not have contradicted, by cause; never a saving.", avoidance_unverifiable;
    "avoidance_pending", "Claims not judged yet", "claims", Neutral,
        "Claims whose window, or the allowance for late messages, is not over.",
        |part| by_status(part, |status| matches!(status, Status::Pending(_)));
    "avoidance_bounds", "Range of sustained claims", "%", Up,
        "Lowest: unverifiable claims all fail. Highest: they all hold. Pending ones are left out.", avoidance_bounds;
    "avoidance_died_in_window", "Deaths within the window", "claims", Neutral,
        "Claims whose resident died inside the window, which closes it. An expected death at home is no failure.", died_in_window;
    "treatment_plans_created", "Treatment plans", "plans", Up,
        "First plans agreed in answered calls.", treatment_plans_created;
    "care_plans_emailed", "Care plans emailed", "plans", Up,
        "Care plans that the home's verified secure mailbox accepted, among those due. Accepted is not read.", care_plans_emailed;
    "shared_record_uploads", "Uploads to the shared record", "plans", Up,
        "Care plans that the shared care record took, among those due.", shared_record_uploads;
    "prescriptions_issued", "Prescriptions", "orders", Neutral,
        "Signed orders, without those that were rejected.", prescriptions_issued;
    "medication_items_prescribed", "Medicines prescribed", "items", Neutral,
        "Items of signed orders, without those of rejected ones.", medication_items_prescribed;
    "prescription_electronic_rate", "Prescriptions accepted electronically", "%", Up,
        "Orders that the electronic prescription service accepted, among signed ones.", prescription_electronic_rate;
    "nearest_open_pharmacy_rate", "Nearest open pharmacy chosen", "%", Up,
        "Signed orders sent to the nearest pharmacy that was open.", nearest_open_pharmacy_rate;
    "ed_attendances", "ED attendances of residents", "attendances", Down,
        "Seen by the connected hospitals, of residents and of homes without a known person.", ed_attendances;
    "ed_arrival_by_ambulance", "Arrived by ambulance", "%", Neutral,
        "Among attendances whose arrival mode was sent.", ed_arrival_by_ambulance;
    "emergency_admissions", "Emergency admissions of residents", "admissions", Down,
        "Inpatient visits whose admission method begins with 2, of residents and of homes without a known person.", emergency_admissions;
    "homes_live", "Homes live", "homes", Up,
        "Homes live at the end of the period, among those registered.", homes_live;
    "feed_coverage", "Feed coverage", "%", Up,
        "Home-days on which every hospital feed of the home's catchment was there without a gap.", feed_coverage;
    "resident_match_rate", "Calls with a verified identity", "%", Up,
        "Calls whose resident the directory knows.", resident_match_rate;
    "outcome_missing_rate", "Calls closed without outcome", "%", Down,
        "Calls closed for more than 24 hours without a decided outcome.", outcome_missing_rate;
}

fn count(n: u64) -> Cell {
    Cell { value: Amount::Count(n), ..Cell::default() }
}

/// A percentage; not known of nothing.
fn share(numerator: u64, denominator: u64) -> Cell {
    Cell { value: percent(numerator, denominator), of: Some((numerator, denominator)), ..Cell::default() }
}

fn percent(numerator: u64, denominator: u64) -> Amount {
    match denominator {
        0 => Amount::NotKnown,
        _ => Amount::Rate(numerator as f64 * 100.0 / denominator as f64),
    }
}

fn tally<T>(all: impl Iterator<Item = T>, test: impl Fn(&T) -> bool) -> u64 {
    all.filter(test).count() as u64
}

fn calls_on(part: &Part<'_>, test: impl Fn(Channel) -> bool) -> u64 {
    tally(part.calls.iter(), |call| test(call.channel))
}

fn words<T: Copy>(all: &[T], word: fn(T) -> &'static str) -> Vec<&'static str> {
    all.iter().map(|one| word(*one)).collect()
}

fn calls_total(part: &Part<'_>) -> Cell {
    Cell { by: by(part.calls.iter(), &words(Channel::EVERY, Channel::as_str), |call| call.channel.as_str()), ..count(part.calls.len() as u64) }
}

fn calls_per_week(part: &Part<'_>) -> Cell {
    let calls = tally(part.calls.iter(), |call| call.opened_at < part.complete_until);
    Cell {
        value: match part.complete_weeks {
            0 => Amount::NotKnown,
            weeks => Amount::Rate(calls as f64 / weeks as f64),
        },
        of: Some((calls, part.complete_weeks)),
        ..Cell::default()
    }
}

fn calls_by_reason(part: &Part<'_>) -> Cell {
    Cell { by: by(part.calls.iter(), &words(Reason::EVERY, Reason::as_str), |call| call.reason.as_str()), ..count(part.calls.len() as u64) }
}

fn calls_outside_opening(part: &Part<'_>) -> Cell {
    const APART_US: i64 = 30 * 60 * 1_000_000;
    let mut attempts = part.attempts.clone();
    attempts.sort_unstable_by_key(|attempt| (attempt.attempted_at, attempt.attempt_id));
    let mut counted: HashMap<_, i64> = HashMap::new();
    let mut n = 0;
    for attempt in attempts {
        let last = counted.get(&attempt.home_id);
        if last.is_none_or(|last| attempt.attempted_at >= last + APART_US) {
            counted.insert(attempt.home_id, attempt.attempted_at);
            n += 1;
        }
    }
    count(n)
}

fn residents_supported(part: &Part<'_>) -> Cell {
    count(part.persons.iter().flatten().collect::<BTreeSet<_>>().len() as u64)
}

fn call_dispositions(part: &Part<'_>) -> Cell {
    let closed = part.calls.iter().filter(|call| call.closed_at.is_some_and(|at| at <= part.as_of));
    let decided: Vec<Disposition> = closed.filter_map(|call| part.consultations.get(&call.call_id)?.disposition).collect();
    Cell { by: by(decided.iter(), &words(Disposition::EVERY, Disposition::as_str), |one| one.as_str()), ..count(decided.len() as u64) }
}

fn alternatives_displaced(part: &Part<'_>) -> Cell {
    let stated: Vec<Alternative> = part.calls.iter().filter_map(|call| call.alternative).collect();
    Cell { by: by(stated.iter(), &words(Alternative::EVERY, Alternative::as_str), |one| one.as_str()), ..count(stated.len() as u64) }
}

fn of_kind<'p>(part: &'p Part<'_>, kind: ClaimKind) -> impl Iterator<Item = &'p Judged> {
    part.judged.iter().copied().filter(move |judged| judged.kind == kind)
}

fn claims(part: &Part<'_>, kind: ClaimKind) -> Cell {
    let split = Split::of(of_kind(part, kind).map(|judged| &judged.verdict));
    Cell { split: Some(split), ..count(split.declared) }
}

fn sustained(part: &Part<'_>, kind: ClaimKind) -> Cell {
    let headline = Split::of(of_kind(part, kind).map(|judged| &judged.verdict));
    let mut by_hours: Vec<(u32, Split)> = Vec::new();
    let hours: BTreeSet<u32> = of_kind(part, kind).flat_map(|judged| judged.by_window.iter().map(|(h, _)| *h)).collect();
    for h in hours {
        let verdicts = of_kind(part, kind).flat_map(|judged| &judged.by_window).filter(|(of, _)| *of == h).map(|(_, verdict)| verdict);
        by_hours.push((h, Split::of(verdicts)));
    }
    Cell {
        by: by_hours.iter().map(|(h, split)| (format!("{h} h"), percent(split.sustained, split.sustained + split.contradicted))).collect(),
        ..share(headline.sustained, headline.sustained + headline.contradicted)
    }
}

fn avoidance_rate(part: &Part<'_>) -> Cell {
    let kinds = ClaimKind::EVERY.iter().map(|kind| (kind.as_str().to_owned(), percent(of_kind(part, *kind).count() as u64, part.episodes)));
    let claiming: BTreeSet<_> = part.judged.iter().map(|judged| (judged.counted_at, judged.call)).collect();
    Cell { by: kinds.collect(), ..share(claiming.len() as u64, part.episodes) }
}

fn avoidance_claims_withdrawn(part: &Part<'_>) -> Cell {
    share(tally(part.claims.iter(), |claim| claim.withdrawn_at.is_some_and(|at| at <= part.as_of)), part.claims.len() as u64)
}

fn by_status(part: &Part<'_>, test: fn(&Status) -> bool) -> Cell {
    let matching: Vec<&Judged> = part.judged.iter().copied().filter(|judged| test(&judged.verdict.status)).collect();
    Cell {
        by: by(matching.iter(), &words(ClaimKind::EVERY, ClaimKind::as_str), |judged| judged.kind.as_str()),
        of: Some((matching.len() as u64, part.judged.len() as u64)),
        ..count(matching.len() as u64)
    }
}

fn avoidance_unverifiable(part: &Part<'_>) -> Cell {
    let causes: Vec<Cause> = part
        .judged
        .iter()
        .filter_map(|judged| match judged.verdict.status {
            Status::Unverifiable(cause) => Some(cause),
            Status::Contradicted { .. } | Status::Pending(_) | Status::Sustained => None,
        })
        .collect();
    let words: Vec<&'static str> = causes.iter().copied().collect::<BTreeSet<_>>().into_iter().map(Cause::as_str).collect();
    Cell { by: by(causes.iter(), &words, |cause| cause.as_str()), of: Some((causes.len() as u64, part.judged.len() as u64)), ..count(causes.len() as u64) }
}

fn avoidance_bounds(part: &Part<'_>) -> Cell {
    let bounds = |split: Split| {
        let judged = split.declared - split.pending;
        (percent(split.sustained, judged), percent(split.sustained + split.unverifiable, judged))
    };
    let mut cell = Cell::default();
    for kind in ClaimKind::EVERY {
        let (low, high) = bounds(Split::of(of_kind(part, *kind).map(|judged| &judged.verdict)));
        cell.by.push((format!("{} low", kind.as_str()), low));
        cell.by.push((format!("{} high", kind.as_str()), high));
    }
    cell
}

fn died_in_window(part: &Part<'_>) -> Cell {
    let died: Vec<&Judged> = part.judged.iter().copied().filter(|judged| judged.verdict.died_in_window).collect();
    Cell { by: by(died.iter(), &words(ClaimKind::EVERY, ClaimKind::as_str), |judged| judged.kind.as_str()), ..count(died.len() as u64) }
}

fn treatment_plans_created(part: &Part<'_>) -> Cell {
    count(tally(part.consultations.values(), |one| one.plan_agreed_at.is_some_and(|at| at <= part.as_of)))
}

/// Shares composed and not taken back, and how many of them came through.
fn delivered(part: &Part<'_>, at: fn(&crate::rows::Share) -> Option<i64>) -> Cell {
    let due: Vec<_> = part.shares.iter().filter(|share| share.composed_at.is_some_and(|at| at <= part.as_of) && share.retracted_at.is_none()).collect();
    let done = tally(due.iter(), |share| at(share).is_some_and(|at| at <= part.as_of));
    Cell { of: Some((done, due.len() as u64)), ..count(done) }
}

fn care_plans_emailed(part: &Part<'_>) -> Cell {
    delivered(part, |share| share.emailed_at)
}

fn shared_record_uploads(part: &Part<'_>) -> Cell {
    delivered(part, |share| share.uploaded_at)
}

fn issued<'p>(part: &'p Part<'_>) -> impl Iterator<Item = &'p crate::rows::Prescription> {
    part.prescriptions.iter().copied().filter(|one| one.signed_at.is_some_and(|at| at <= part.as_of) && one.rejected_at.is_none())
}

fn prescriptions_issued(part: &Part<'_>) -> Cell {
    count(issued(part).count() as u64)
}

fn medication_items_prescribed(part: &Part<'_>) -> Cell {
    count(issued(part).map(|one| u64::from(one.items)).sum())
}

fn prescription_electronic_rate(part: &Part<'_>) -> Cell {
    let signed: Vec<_> = part.prescriptions.iter().filter(|one| one.signed_at.is_some_and(|at| at <= part.as_of)).collect();
    share(tally(signed.iter(), |one| one.accepted_at.is_some_and(|at| at <= part.as_of)), signed.len() as u64)
}

fn nearest_open_pharmacy_rate(part: &Part<'_>) -> Cell {
    let sent: Vec<bool> = part.prescriptions.iter().filter(|one| one.signed_at.is_some()).filter_map(|one| one.nearest_open).collect();
    share(tally(sent.iter(), |nearest| **nearest), sent.len() as u64)
}

fn visits(all: &[&crate::rows::Visit]) -> Cell {
    Cell {
        by: by(all.iter(), &["resident", "home_level"], |visit| if visit.resident_id.is_some() { "resident" } else { "home_level" }),
        ..count(all.len() as u64)
    }
}

fn ed_attendances(part: &Part<'_>) -> Cell {
    visits(&part.attendances)
}

fn emergency_admissions(part: &Part<'_>) -> Cell {
    visits(&part.admissions)
}

fn ed_arrival_by_ambulance(part: &Part<'_>) -> Cell {
    let said: Vec<_> = part.attendances.iter().filter(|visit| visit.arrival != Arrival::Unknown).collect();
    share(tally(said.iter(), |visit| visit.arrival == Arrival::Ambulance), said.len() as u64)
}

fn homes_live(part: &Part<'_>) -> Cell {
    let end = part.as_of.min(part.to - 1);
    let registered = tally(part.homes.iter(), |home| home.registered_at <= end);
    let live = tally(part.homes.iter(), |home| is_live(home, end));
    Cell { of: Some((live, registered)), ..count(live) }
}

fn feed_coverage(part: &Part<'_>) -> Cell {
    let last = hearthline_nhs::london_date(part.as_of).map_or(part.last_day, |day| day.min(part.last_day));
    let (covered, all) = home_days(part.coverage, part.homes, part.gaps, part.first_day, last, part.as_of);
    share(covered, all)
}

fn resident_match_rate(part: &Part<'_>) -> Cell {
    share(part.persons.iter().flatten().count() as u64, part.calls.len() as u64)
}

fn outcome_missing_rate(part: &Part<'_>) -> Cell {
    const DAY_US: i64 = 24 * 3_600_000_000;
    let missing = tally(part.calls.iter(), |call| {
        let decided = part.consultations.get(&call.call_id).is_some_and(|one| one.decided_at.is_some());
        !decided && call.closed_at.is_some_and(|at| at + DAY_US < part.as_of)
    });
    share(missing, part.calls.len() as u64)
}

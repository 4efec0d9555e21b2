//! The figures as they leave: JSON and CSV. Ids only; nothing here could name a person.

use crate::measures::{Amount, Cell, Contradicted, ContradictedBy, Figures, Split, Taken};
use crate::window::Week;
use hearthline_nhs::words::Word;
use hearthline_runtime::config::Coverage;
use jiff::Timestamp;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

/// The answer to `GET /kpi`.
#[derive(Debug, Serialize)]
pub struct Answer<'f> {
    /// First Monday of the window.
    from: String,
    /// The Monday after its last week.
    to: String,
    as_of: String,
    window_hours: u32,
    feed_lag_hours: u32,
    weeks: Vec<String>,
    measures: Vec<MeasureOut<'f>>,
    contradicted: Vec<ContradictedOut>,
    coverage: Vec<CoverageOut>,
    notes: Vec<Note>,
}

#[derive(Debug, Serialize)]
struct MeasureOut<'f> {
    id: &'static str,
    title: &'static str,
    unit: &'static str,
    /// Which way is better: up, down or neutral.
    direction: &'static str,
    meaning: &'static str,
    as_of: String,
    #[serde(flatten)]
    whole: CellOut<'f>,
    weeks: Vec<WeekOut<'f>>,
    /// Codes of the notes that concern it.
    notes: Vec<&'static str>,
}

#[derive(Debug, Serialize)]
struct WeekOut<'f> {
    week: String,
    from: String,
    /// The week was over at `as_of`.
    complete: bool,
    #[serde(flatten)]
    cell: CellOut<'f>,
}

#[derive(Debug, Serialize)]
struct CellOut<'f> {
    value: AmountOut,
    #[serde(skip_serializing_if = "Option::is_none")]
    numerator: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    denominator: Option<u64>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    split: Option<SplitOut>,
    #[serde(skip_serializing_if = "Breakdown::is_empty")]
    by: Breakdown<'f>,
}

#[derive(Debug, Serialize)]
struct SplitOut {
    declared: u64,
    sustained: u64,
    contradicted: u64,
    unverifiable: u64,
    pending: u64,
    died_in_window: u64,
}

/// A count, a rate to one decimal, or null for what is not known.
#[derive(Debug, Clone, Copy)]
struct AmountOut(Amount);

impl Serialize for AmountOut {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Amount::Count(n) => serializer.serialize_u64(n),
            Amount::Rate(rate) => serializer.serialize_f64((rate * 10.0).round() / 10.0),
            Amount::NotKnown => serializer.serialize_none(),
        }
    }
}

#[derive(Debug)]
struct Breakdown<'f>(&'f [(String, Amount)]);

impl Breakdown<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Breakdown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (word, amount) in self.0 {
            map.serialize_entry(word, &AmountOut(*amount))?;
        }
        map.end()
    }
}

#[derive(Debug, Serialize)]
struct ContradictedOut {
    kind: &'static str,
    claim_ids: Vec<String>,
    call_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    home_id: Option<String>,
    /// The visit that contradicts, or the later call that sent the resident in.
    #[serde(skip_serializing_if = "Option::is_none")]
    visit_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    facility_ods: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    later_call_id: Option<String>,
    /// Close of the first claiming call.
    claimed_from: String,
    at: String,
    hours_after: i64,
}

#[derive(Debug, Serialize)]
struct CoverageOut {
    trust_ods: String,
    facilities: Vec<String>,
    from: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
    arrival_mode: bool,
}

/// Something that a reader must know of the figures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Note {
    pub code: &'static str,
    pub text: String,
}

/// The figures as JSON shapes. `now` is µs UTC.
pub fn answer<'f>(figures: &'f Figures, coverage: &[Coverage], now: i64) -> Answer<'f> {
    Answer {
        from: figures.window.first_day().to_string(),
        to: figures.window.end_day().to_string(),
        as_of: instant(figures.as_of),
        window_hours: figures.window_h,
        feed_lag_hours: figures.feed_lag_h,
        weeks: figures.window.weeks.iter().map(|week| week.week.to_string()).collect(),
        measures: figures.taken.iter().map(|taken| measure(figures, taken)).collect(),
        contradicted: figures.contradicted.iter().map(contradicted).collect(),
        coverage: coverage
            .iter()
            .map(|entry| CoverageOut {
                trust_ods: entry.trust_ods.to_string(),
                facilities: entry.facilities.iter().map(ToString::to_string).collect(),
                from: entry.from.to_string(),
                until: entry.until.map(|day| day.to_string()),
                arrival_mode: entry.arrival_mode,
            })
            .collect(),
        notes: notes(figures, now),
    }
}

fn measure<'f>(figures: &'f Figures, taken: &'f Taken) -> MeasureOut<'f> {
    MeasureOut {
        id: taken.measure.id,
        title: taken.measure.title,
        unit: taken.measure.unit,
        direction: taken.measure.direction.as_str(),
        meaning: taken.measure.meaning,
        as_of: instant(figures.as_of),
        whole: cell(&taken.whole),
        weeks: figures
            .window
            .weeks
            .iter()
            .zip(&taken.weeks)
            .map(|(week, one)| WeekOut {
                week: week.week.to_string(),
                from: week.week.monday().to_string(),
                complete: week.to <= figures.as_of,
                cell: cell(one),
            })
            .collect(),
        notes: flags(figures, taken),
    }
}

fn cell(cell: &Cell) -> CellOut<'_> {
    CellOut {
        value: AmountOut(cell.value),
        numerator: cell.of.map(|(numerator, _)| numerator),
        denominator: cell.of.map(|(_, denominator)| denominator),
        split: cell.split.map(|split| SplitOut {
            declared: split.declared,
            sustained: split.sustained,
            contradicted: split.contradicted,
            unverifiable: split.unverifiable,
            pending: split.pending,
            died_in_window: split.died_in_window,
        }),
        by: Breakdown(&cell.by),
    }
}

fn contradicted(one: &Contradicted) -> ContradictedOut {
    let (visit_id, facility_ods, later_call_id) = match &one.by {
        ContradictedBy::Visit { visit, facility_ods } => (Some(visit.to_string()), Some(facility_ods.clone()), None),
        ContradictedBy::Call(call) => (None, None, Some(call.to_string())),
    };
    ContradictedOut {
        kind: one.kind.as_str(),
        claim_ids: one.claims.iter().map(ToString::to_string).collect(),
        call_id: one.call.to_string(),
        home_id: one.home.map(|home| home.to_string()),
        visit_id,
        facility_ods,
        later_call_id,
        claimed_from: instant(one.anchor),
        at: instant(one.at),
        hours_after: hours_after(one),
    }
}

/// Whole hours from the close of the claiming call to the fact that contradicts.
pub fn hours_after(one: &Contradicted) -> i64 {
    (one.at - one.anchor) / 3_600_000_000
}

/// An instant as RFC 3339 in UTC.
pub fn instant(at_us: i64) -> String {
    Timestamp::from_microsecond(at_us).map_or_else(|_| String::new(), |at| at.to_string())
}

const DECLARED: &str = "declared";
const ED_ARRIVALS_ONLY: &str = "ed_arrivals_only";
const WEEK_NOT_COMPLETE: &str = "week_not_complete";

/// Which notes concern a measure.
fn flags(figures: &Figures, taken: &Taken) -> Vec<&'static str> {
    let mut flags = Vec::new();
    if taken.whole.split.is_some() {
        flags.push(DECLARED);
    }
    let conveyance = matches!(taken.measure.id, "ambulance_conveyances_avoided" | "conveyance_avoidance_sustained");
    if conveyance && figures.ed_arrivals_only {
        flags.push(ED_ARRIVALS_ONLY);
    }
    if !figures.incomplete_weeks.is_empty() {
        flags.push(WEEK_NOT_COMPLETE);
    }
    flags
}

/// What a reader must know of the figures.
pub fn notes(figures: &Figures, now: i64) -> Vec<Note> {
    let mut notes = vec![Note {
        code: DECLARED,
        text: "Avoided figures are what clinicians declared and lean upwards. One call may carry all three claims: \
               never add them up."
            .to_owned(),
    }];
    let mut note = |code, text| notes.push(Note { code, text });
    if figures.ed_arrivals_only {
        note(ED_ARRIVALS_ONLY, "Sustained conveyances rest on arrivals at emergency departments only: no ambulance feed is connected.".to_owned());
    }
    if !figures.incomplete_weeks.is_empty() {
        note(WEEK_NOT_COMPLETE, format!("Not over yet: {}.", figures.incomplete_weeks.join(", ")));
    }
    if figures.homes_without_feed > 0 {
        note(
            "homes_without_feed",
            format!("{} of {} live homes have no hospital feed: their claims are unverifiable.", figures.homes_without_feed, figures.homes_live),
        );
    }
    if figures.claims_left_out > 0 {
        note(
            "claims_left_out",
            format!("{} standing claims are in no figure: their call is not answered, voided, of a home not live, or not here yet.", figures.claims_left_out),
        );
    }
    if figures.as_of > now {
        note("as_of_ahead", "As of a moment that has not come: nothing is taken to happen until then.".to_owned());
    }
    notes
}

/// A file of figures could not be written.
#[derive(Debug, thiserror::Error)]
#[error("the figures cannot be written as CSV")]
pub struct NotWritten;

const COLUMNS: [&str; 13] =
    ["measure", "title", "period", "from", "to", "breakdown", "value", "numerator", "denominator", "unit", "direction", "as_of", "notes"];

/// The figures as CSV (RFC 4180), one number a line; what is not known is empty.
pub fn csv(figures: &Figures) -> Result<Vec<u8>, NotWritten> {
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    writer.write_record(COLUMNS).map_err(|_| NotWritten)?;
    for taken in &figures.taken {
        let notes = flags(figures, taken).join(" ");
        let whole = ("total".to_owned(), figures.window.first_day().to_string(), figures.window.end_day().to_string());
        let weeks = figures.window.weeks.iter().map(period);
        let cells = std::iter::once(&taken.whole).chain(&taken.weeks);
        for ((period, from, to), cell) in std::iter::once(whole).chain(weeks).zip(cells) {
            for (breakdown, amount, of) in lines(cell) {
                let record = [
                    taken.measure.id.to_owned(),
                    taken.measure.title.to_owned(),
                    period.clone(),
                    from.clone(),
                    to.clone(),
                    breakdown,
                    plain(amount),
                    of.map(|(numerator, _)| numerator.to_string()).unwrap_or_default(),
                    of.map(|(_, denominator)| denominator.to_string()).unwrap_or_default(),
                    taken.measure.unit.to_owned(),
                    taken.measure.direction.as_str().to_owned(),
                    instant(figures.as_of),
                    notes.clone(),
                ];
                writer.write_record(&record).map_err(|_| NotWritten)?;
            }
        }
    }
    writer.into_inner().map_err(|_| NotWritten)
}

fn period(week: &Week) -> (String, String, String) {
    let monday = week.week.monday();
    let next = monday.saturating_add(jiff::Span::new().days(7));
    (week.week.to_string(), monday.to_string(), next.to_string())
}

/// Breakdown, number, and of what it is a share.
type Line = (String, Amount, Option<(u64, u64)>);

/// A cell's numbers: its own, then its breakdown, then where its claims stand.
fn lines(cell: &Cell) -> Vec<Line> {
    let mut lines = vec![(String::new(), cell.value, cell.of)];
    lines.extend(cell.by.iter().map(|(word, amount)| (word.clone(), *amount, None)));
    if let Some(split) = &cell.split {
        lines.extend(stands(split).map(|(word, n)| (word.to_owned(), Amount::Count(n), None)));
    }
    lines
}

/// Where declared claims stand, in the order in which they are shown.
pub fn stands(split: &Split) -> impl Iterator<Item = (&'static str, u64)> {
    [
        ("declared", split.declared),
        ("sustained", split.sustained),
        ("contradicted", split.contradicted),
        ("unverifiable", split.unverifiable),
        ("pending", split.pending),
    ]
    .into_iter()
}

/// A number as text; empty for what is not known.
pub fn plain(amount: Amount) -> String {
    match amount {
        Amount::Count(n) => n.to_string(),
        Amount::Rate(rate) => format!("{rate:.1}"),
        Amount::NotKnown => String::new(),
    }
}

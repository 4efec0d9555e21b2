//! What a feed in shadow would have done: its messages are stored, answered and judged, and nothing follows. An engineer reads this
//! before an operator promotes the feed.

use crate::connections::QuirkReport;
use crate::domain::rhythm::DAY_US;
use crate::explain::{of_length, shown};
use crate::feeds::{FeedRefused, mode_name, stamp};
use crate::gateway::Gateway;
use crate::inbox::PAGE_ROWS;
use crate::national::Item;
use crate::peer::{Mode, Peer};
use crate::profile::Profile;
use crate::reading::{self, Matter};
use crate::search::SEALED;
use hearthline_eventing::NotNow;
use hearthline_interop::hl7v2::Message;
use serde::Serialize;
use std::collections::BTreeMap;

/// What a feed would have done between two instants.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ShadowReport {
    pub peer: String,
    pub facility_ods: String,
    /// `live` or `shadow`, now.
    pub mode: &'static str,
    pub from: String,
    pub until: String,
    /// Messages that arrived, of any outcome.
    pub messages: u64,
    /// By type and outcome, most frequent first.
    pub outcomes: Vec<Outcome>,
    /// Events that would have been, by name.
    pub events: Vec<Count>,
    /// Frames that were refused, with the text that was answered.
    pub refused: Vec<Count>,
    /// Messages that came again.
    pub duplicates: u64,
    /// Reasons for which a message would have had no effect of its own, most frequent first: unknown patients, codes that no table
    /// holds, triggers that are not interpreted.
    pub without_effect: Vec<Count>,
    /// Local values of codes that neither a national list nor the profile's tables know, most frequent first: by today's profile.
    pub unmapped: Vec<Unmapped>,
    /// What its connections do that they should not, since the process began, whenever that was.
    pub quirks: Vec<QuirkReport>,
    /// What these numbers do not show.
    pub notes: Vec<String>,
    /// Messages by local day, and how many the learned rhythm lets one expect.
    pub days: Vec<Day>,
}

/// A type of message and what would have become of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// MSH-9, as `ADT^A01`.
    pub kind: String,
    /// As the message store names it.
    pub state: String,
    pub effect: String,
    pub why: String,
    pub count: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Count {
    pub what: String,
    pub count: u64,
}

/// A value that is left out until a table of the profile knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unmapped {
    /// The profile's name of the table, as in `[codes.admission-method]`.
    pub table: &'static str,
    /// Where it stands, as `PV1-4`.
    pub field: String,
    /// Its length where it does not look like a code and so may be about a person.
    pub value: String,
    pub count: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Day {
    pub day: String,
    pub messages: u64,
    /// Zero while nothing was learned.
    pub expected: f64,
}

impl Gateway {
    /// What a peer's messages received from one instant to another (µs UTC) would have done, or did.
    pub async fn shadow_report(&self, peer: &str, from: i64, until: i64) -> Result<ShadowReport, FeedRefused> {
        let peer = self.peer(peer)?;
        let sql = "select kind, state, effect, why, count(*) from inbox where peer = $1 and outgoing = 0 and received_at >= $2 and received_at < $3 \
                   group by kind, state, effect, why order by 5 desc, kind, state, effect, why";
        let args = [peer.name.as_str().into(), from.into(), until.into()];
        let rows = self.kernel.store.query(sql, &args).await?;
        let outcomes: Vec<Outcome> = rows
            .iter()
            .map(|row| Outcome {
                kind: row.text(0).to_owned(),
                state: row.text(1).to_owned(),
                effect: row.text(2).to_owned(),
                why: row.text(3).to_owned(),
                count: row.int(4).unsigned_abs(),
            })
            .collect();
        let (mut events, mut refused, mut without) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let mut duplicates = 0;
        for outcome in &outcomes {
            let into = match outcome.state.as_str() {
                "duplicate" => {
                    duplicates += outcome.count;
                    continue;
                }
                "refused" => &mut refused,
                _ => {
                    for event in outcome.effect.split(',').map(str::trim).filter(|event| !event.is_empty()) {
                        *events.entry(event.to_owned()).or_insert(0) += outcome.count;
                    }
                    &mut without
                }
            };
            if !outcome.why.is_empty() {
                *into.entry(outcome.why.clone()).or_insert(0) += outcome.count;
            }
        }
        let mode = self.mode(peer).await?;
        let (unmapped, mut notes) = self.unmapped(peer, from, until).await?;
        notes.push(format!("quirks are counted from {}, when the process began, and not between the instants of this report", stamp(self.connections.since())));
        if mode == Mode::Shadow {
            notes.push(FORGOTTEN.to_owned());
        }
        Ok(ShadowReport {
            peer: peer.name.clone(),
            facility_ods: peer.facility_ods.to_string(),
            mode: mode_name(mode),
            unmapped,
            quirks: self.connections.quirks_of(&peer.name),
            notes,
            from: stamp(from),
            until: stamp(until),
            messages: outcomes.iter().map(|outcome| outcome.count).sum(),
            events: counts(events),
            refused: counts(refused),
            duplicates,
            without_effect: counts(without),
            days: self.days(&peer.name, from, until).await?,
            outcomes,
        })
    }

    /// What the tables of today's profile do not know, of the messages that tell of visits.
    async fn unmapped(&self, peer: &Peer, from: i64, until: i64) -> Result<(Vec<Unmapped>, Vec<String>), FeedRefused> {
        let profile = self.profile(peer);
        let mut found: BTreeMap<(&'static str, String, String), u64> = BTreeMap::new();
        let (mut after, mut read, mut gone) = (0_i64, 0, 0_u64);
        while read < READ_MAX {
            let sql = format!(
                "select seq, id, day, {SEALED} from inbox where peer = $1 and outgoing = 0 and received_at >= $2 and received_at < $3 \
                 and state not in ('refused', 'duplicate') and seq > $4 order by seq limit {PAGE_ROWS}"
            );
            let args = [peer.name.as_str().into(), from.into(), until.into(), after.into()];
            let rows = self.kernel.store.query(&sql, &args).await?;
            let Some(last) = rows.last() else { break };
            after = last.int(0);
            read += rows.len();
            for row in &rows {
                let raw = match self.bytes_of(row.id(1), row.text(2), row.opt_blob(3)).await {
                    Err(NotNow::Store(error)) => return Err(error.into()),
                    Ok(Some(raw)) => raw,
                    Ok(None) | Err(_) => {
                        gone += 1;
                        continue;
                    }
                };
                let Ok(message) = peer.parse(&raw) else { continue };
                if !reading::read_by(&message, peer, profile).is_ok_and(|reading| matches!(reading.matter, Matter::Visit(_))) {
                    continue;
                }
                for (item, value) in unknown_codes(profile, &message) {
                    let path = profile.path(item).map(|path| path.as_str().to_owned()).unwrap_or_default();
                    let shown = if may_name_somebody(&path) { of_length(value) } else { shown(item, value, false) };
                    *found.entry((item.name(), path, shown)).or_default() += 1;
                }
            }
        }
        let mut unmapped: Vec<Unmapped> = found.into_iter().map(|((table, field, value), count)| Unmapped { table, field, value, count }).collect();
        unmapped.sort_by_key(|unmapped| std::cmp::Reverse(unmapped.count));
        let mut notes = Vec::new();
        if gone > 0 {
            notes.push(format!("{gone} messages could not be read again, so their codes are not among the unmapped ones"));
        }
        if read >= READ_MAX {
            notes.push(format!("codes were looked for in the first {read} messages only: ask for a shorter time"));
        }
        Ok((unmapped, notes))
    }

    async fn days(&self, peer: &str, from: i64, until: i64) -> Result<Vec<Day>, FeedRefused> {
        let sql = "select day, count(*) from inbox where peer = $1 and outgoing = 0 and received_at >= $2 and received_at < $3 \
                   and state not in ('refused', 'duplicate') group by day order by day";
        let rows = self.kernel.store.query(sql, &[peer.into(), from.into(), until.into()]).await?;
        let came: BTreeMap<&str, u64> = rows.iter().map(|row| (row.text(0), row.int(1).unsigned_abs())).collect();
        let memory = self.memory().await?;
        let rhythm = memory.feeds.get(peer).map(crate::activity::Activity::rhythm).unwrap_or_default();
        let mut days = Vec::new();
        let mut at = from;
        while at < until {
            let Ok(day) = hearthline_nhs::london_date(at) else { break };
            let next = day.tomorrow().ok().and_then(|next| hearthline_nhs::london_instant(next.at(0, 0, 0, 0)).ok()).unwrap_or(at + DAY_US);
            let name = day.to_string();
            let messages = came.get(name.as_str()).copied().unwrap_or(0);
            days.push(Day { day: name, messages, expected: (rhythm.expected(at, next.min(until)) * 10.0).round() / 10.0 });
            at = next;
        }
        Ok(days)
    }
}

/// Most messages that are read again for one report.
const READ_MAX: usize = 200_000;

const FORGOTTEN: &str = "in shadow a visit is remembered while the process runs (20000 of them at most): what would have followed for one that began before it \
     was started is told as a message whose visit is not open, so the events are the least that would have been";

fn unknown_codes<'m>(profile: &'m Profile, message: &'m Message<'_>) -> impl Iterator<Item = (Item, &'m str)> {
    let items = Item::ALL.into_iter().filter(|item| !item.is_personal());
    items.filter_map(|item| profile.raw(item, message).map(|value| (item, value))).filter(|(item, value)| {
        let is_known_elsewhere = *item == Item::SourceOfAdmission && reading::attendance_source(message, profile).is_some();
        !is_known_elsewhere && reading::code(profile, *item, value).is_none()
    })
}

/// A profile may look for a code in any field.
fn may_name_somebody(path: &str) -> bool {
    ["PID", "PD1", "NK1", "GT1", "IN1", "MRG"].iter().any(|segment| path.starts_with(segment))
}

fn counts(by_name: BTreeMap<String, u64>) -> Vec<Count> {
    let mut counts: Vec<Count> = by_name.into_iter().map(|(what, count)| Count { what, count }).collect();
    counts.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.what.cmp(&b.what)));
    counts
}

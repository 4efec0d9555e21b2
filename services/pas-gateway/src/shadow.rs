//! What a feed in shadow would have done: its messages are stored, answered and judged, and nothing follows. An engineer reads this
//! before an operator promotes the feed.

use crate::domain::rhythm::DAY_US;
use crate::feeds::{FeedRefused, mode_name, stamp};
use crate::gateway::Gateway;
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
        Ok(ShadowReport {
            peer: peer.name.clone(),
            facility_ods: peer.facility_ods.to_string(),
            mode: mode_name(self.mode(peer).await?),
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

fn counts(by_name: BTreeMap<String, u64>) -> Vec<Count> {
    let mut counts: Vec<Count> = by_name.into_iter().map(|(what, count)| Count { what, count }).collect();
    counts.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.what.cmp(&b.what)));
    counts
}

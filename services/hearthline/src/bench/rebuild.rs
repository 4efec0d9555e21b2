//! Rebuilding the KPI views from an archive.

use super::bed::Bed;
use super::{Figure, Options};
use hearthline_contracts::call as pb;
use hearthline_contracts::envelope::{Envelope, Environment};
use hearthline_contracts::topics::Topic;
use hearthline_contracts::{outcome, topics, types, wire};
use hearthline_eventing::{Consumed, Fact, Unit, now_us};
use std::time::Instant;

/// Events a second, replayed, folded and compared by checksum with the living views; then also swapped into their place.
pub async fn rebuild(options: &Options, events: u64) -> anyhow::Result<Vec<Figure>> {
    let bed = Bed::make(options).await?;
    let connected = bed.connect(hearthline_kpi_projection::NAME, hearthline_kpi_projection::TOPIC, hearthline_kpi_projection::views()).await?;
    let store = &connected.store;
    let mut made = 0;
    let mut facts = Vec::new();
    while made < events {
        let call = a_call(made);
        made += call.len() as u64;
        facts.extend(call);
        if facts.len() >= 2_000 || made >= events {
            let consumed = Consumed { subscription: "bench".to_owned(), facts: std::mem::take(&mut facts), archive: true, ..Consumed::default() };
            store.append(Unit { consumed: Some(consumed), ..Unit::default() }).await?;
        }
    }
    let mut figures = Vec::new();
    for (swap, what) in [(false, "replayed and compared"), (true, "and swapped")] {
        let begun = Instant::now();
        let done = store.rebuild(swap).await?;
        let seconds = begun.elapsed().as_secs_f64();
        anyhow::ensure!(done.live == done.rebuilt, "the rebuilt views differ from the living ones");
        let what = format!("KPI rebuild, {}, {} events, {what}", bed.named(), done.facts);
        figures.push(Figure { what, callers: 1, per_second: done.facts as f64 / seconds, p50_ms: 0.0, p99_ms: 0.0 });
    }
    store.close().await;
    bed.clear().await?;
    Ok(figures)
}

/// Ten facts: a call from its opening to its closing, and the consultation's.
pub(super) fn a_call(n: u64) -> Vec<Fact> {
    use outcome::OutcomeEvent;
    use pb::CallEvent;
    let call = *uuid::Uuid::now_v7().as_bytes();
    let consultation = *uuid::Uuid::now_v7().as_bytes();
    let at = now_us() - 40 * 24 * 3_600_000_000 + i64::try_from(n).unwrap_or(0) * 1_000_000;
    let resident = types::ResidentRef { resident_id: uuid::Uuid::now_v7().as_bytes().to_vec().into(), ..Default::default() };
    let opened = pb::CallOpened { home_id: vec![(n % 104) as u8; 16].into(), channel: 1, reason: 1, resident: Some(resident.clone()), ..Default::default() };
    let observations = pb::ObservationsRecorded { resp_rate_per_min: Some(18), news2_total: Some(2), ..Default::default() };
    let decided = outcome::OutcomeDecided { call_id: call.to_vec().into(), call_version: 6, resident: Some(resident), disposition: 2 };
    let claimed =
        outcome::AvoidanceClaimed { call_id: call.to_vec().into(), claim_id: uuid::Uuid::now_v7().as_bytes().to_vec().into(), kind: 1, ..Default::default() };
    let calls = [
        wire::fact_bytes::<CallEvent>(opened),
        wire::fact_bytes::<CallEvent>(observations),
        wire::fact_bytes::<CallEvent>(pb::CallAnswered::default()),
        wire::fact_bytes::<CallEvent>(pb::CallTriaged { urgency: 2, reason: 1, ..Default::default() }),
        wire::fact_bytes::<CallEvent>(pb::CounterfactualRecorded { alternative: 1, ..Default::default() }),
        wire::fact_bytes::<CallEvent>(pb::ClinicianJoined::default()),
        wire::fact_bytes::<CallEvent>(pb::CallClosed::default()),
    ];
    let outcomes = [
        wire::fact_bytes::<OutcomeEvent>(decided),
        wire::fact_bytes::<OutcomeEvent>(claimed),
        wire::fact_bytes::<OutcomeEvent>(outcome::TreatmentPlanAgreed { call_id: call.to_vec().into(), plan_version: 1, ..Default::default() }),
    ];
    let mut facts: Vec<Fact> = (1..).zip(calls).map(|(version, fact)| recorded(&topics::CALL, call, version, at, &fact)).collect();
    facts.extend((1..).zip(outcomes).map(|(version, fact)| recorded(&topics::OUTCOME, consultation, version, at + 600_000_000, &fact)));
    facts
}

fn recorded(topic: &'static Topic, stream: [u8; 16], version: u64, at: i64, fact: &[u8]) -> Fact {
    let envelope = Envelope {
        event_id: uuid::Uuid::new_v4().as_bytes().to_vec().into(),
        stream_id: stream.to_vec().into(),
        stream_version: version,
        incarnation: 1,
        occurred_at_us: at + i64::try_from(version).unwrap_or(0) * 60_000_000,
        recorded_at_us: at,
        controller_ods: "X26".to_owned(),
        environment: Environment::Test as i32,
        schema_revision: 1,
        least_reader_revision: 1,
        ..Default::default()
    };
    let payload = wire::compose(&envelope, None, fact);
    Fact { topic: topic.name, envelope, sealed: None, payload }
}

//! The projection on a store: no mixing of streams and no cutting into batches changes it, and a rebuild is the living view.

mod support;

use hearthline_contracts::outcome::AvoidanceKind;
use hearthline_eventing::Fact;
use hearthline_kpi_projection::codes::{ClaimKind, Reason};
use hearthline_kpi_projection::read;
use hearthline_kpi_projection::window::Window;
use std::collections::BTreeMap;
use support::{DAY, HOUR, Id, MONDAY, Telling, connected, id, project};

/// SplitMix64: enough to mix, and the same on every machine.
struct Seeded(u64);

impl Seeded {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n as u64) as usize
    }
}

/// Two homes, sixty calls with all that follows from them, merges, corrections and gaps.
fn busy_weeks() -> Vec<Fact> {
    let mut telling = Telling::default();
    let homes = [id(b'H', 1), id(b'H', 2)];
    telling.home(homes[0], "VL1AA", MONDAY - 30 * DAY);
    telling.home(homes[1], "VL1AB", MONDAY - 3 * DAY);
    telling.home(homes[0], "VL1AC", MONDAY - 20 * DAY);
    for n in 0..20 {
        telling.resident(id(b'R', n), MONDAY - 40 * DAY);
    }
    for n in 0..60 {
        let at = MONDAY + i64::from(n) * 5 * HOUR;
        let (call, consultation) = (id(b'C', n), id(b'O', n));
        let (home, person) = (homes[n as usize % 2], id(b'R', n % 20));
        let provisional = id(b'P', n);
        let identified = n % 3 != 0;
        telling.call(call, home, if identified { person } else { provisional }, identified, at);
        if n % 6 == 0 {
            telling.merged(provisional, person, at + HOUR);
        }
        let claims = [(id(b'1', n), AvoidanceKind::Conveyance), (id(b'2', n), AvoidanceKind::EdAttendance)];
        telling.consultation(consultation, call, at + HOUR / 2, &claims);
        if n % 7 == 0 {
            telling.withdrawn(consultation, id(b'1', n), at + 2 * HOUR);
        }
        telling.prescription(id(b'X', n), call, at + HOUR / 2);
        telling.share(id(b'S', n), call, at + HOUR);
        if n % 5 == 0 {
            let visit = id(b'V', n);
            telling.visit(visit, (n % 2 == 0).then_some(person), home, at + 30 * HOUR, n % 10 == 0);
            if n % 15 == 0 {
                telling.cancelled(visit, at + 40 * HOUR);
            }
        }
    }
    let feed = id(b'F', 0);
    telling.gap(feed, id(b'G', 1), MONDAY + DAY, Some(MONDAY + 2 * DAY));
    telling.gap(feed, id(b'G', 2), MONDAY + 9 * DAY, None);
    telling.facts
}

/// The facts with streams mixed otherwise, each stream in its order, cut into batches.
fn mixed(facts: &[Fact], seed: u64) -> Vec<Vec<Fact>> {
    let mut seeded = Seeded(seed);
    let mut streams: BTreeMap<Id, Vec<Fact>> = BTreeMap::new();
    for fact in facts.iter().rev() {
        streams.entry(*fact.stream().bytes()).or_default().push(fact.clone());
    }
    let mut streams: Vec<Vec<Fact>> = streams.into_values().collect();
    let mut batches = vec![Vec::new()];
    let mut room = 1;
    while !streams.is_empty() {
        let at = seeded.below(streams.len());
        let fact = streams[at].pop().expect("empty streams are gone");
        if streams[at].is_empty() {
            streams.swap_remove(at);
        }
        if room == 0 {
            room = 1 + seeded.below(150);
            batches.push(Vec::new());
        }
        room -= 1;
        batches.last_mut().expect("there is one").push(fact);
    }
    batches
}

/// Projects the batches and gives the checksum of the views, which a rebuild must have too.
async fn checksum(batches: Vec<Vec<Fact>>) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let (backend, connected) = connected(folder.path()).await;
    let told: usize = batches.iter().map(Vec::len).sum();
    for batch in batches {
        project(connected.ports.store.as_ref(), batch).await;
    }
    let rebuilt = connected.store.rebuild(false).await.expect("rebuilt");
    assert_eq!(rebuilt.facts, told as u64);
    assert_eq!(rebuilt.rebuilt, rebuilt.live, "a rebuild is the living view");
    connected.store.close().await;
    backend.close().await;
    rebuilt.live
}

#[tokio::test]
async fn no_mixing_of_streams_changes_the_projection() {
    let facts = busy_weeks();
    let expected = checksum(vec![facts.clone()]).await;
    for seed in 1..=5 {
        assert_eq!(checksum(mixed(&facts, seed)).await, expected, "seed {seed}");
    }
}

#[tokio::test]
async fn fact_by_fact_is_the_same_as_in_one_batch() {
    let facts: Vec<Fact> = busy_weeks().into_iter().take(120).collect();
    let one_by_one = facts.iter().map(|fact| vec![fact.clone()]).collect();
    assert_eq!(checksum(one_by_one).await, checksum(vec![facts]).await);
}

#[tokio::test]
async fn other_facts_make_another_checksum() {
    let mut facts = busy_weeks();
    let expected = checksum(vec![facts.clone()]).await;
    facts.pop();
    assert_ne!(checksum(vec![facts]).await, expected);
}

#[tokio::test]
async fn rows_are_read_back_as_they_were_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_backend, connected) = connected(folder.path()).await;
    project(connected.ports.store.as_ref(), busy_weeks()).await;
    let window = Window::parse(Some("2026-06-01"), Some("2026-06-15"), MONDAY).expect("a window");
    let rows = read::rows(connected.ports.store.as_ref(), &window, 72).await.expect("read");
    assert_eq!(rows.calls.len(), 60);
    assert!(rows.calls.iter().all(|call| call.reason == Reason::Breathlessness && call.news2 == Some(6)));
    assert!(rows.calls.iter().all(|call| call.closed_at == Some(call.opened_at + HOUR)));
    assert_eq!(rows.claims.iter().filter(|claim| claim.kind == ClaimKind::Conveyance).count(), 60);
    assert_eq!(rows.claims.iter().filter(|claim| claim.withdrawn_at.is_some()).count(), 9);
    assert_eq!(rows.visits.iter().filter(|visit| visit.inpatient_at.is_some()).count(), 6);
    assert_eq!(rows.visits.iter().filter(|visit| visit.cancelled_at.is_some()).count(), 4);
    // The third register of homes changed the first home's code and kept it live.
    assert!(rows.homes.iter().any(|home| home.ods_code == "VL1AC" && home.live_from == Some(MONDAY - 20 * DAY)));
    assert_eq!((rows.homes.len(), rows.gaps.len()), (2, 2));
    let first = hearthline_nhs::ResidentId::from_bytes(id(b'P', 6));
    assert_eq!(rows.people.who(first).bytes(), &id(b'R', 6));
}

#[tokio::test]
async fn outsiders_read_views_with_local_days_weeks_and_words() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_backend, connected) = connected(folder.path()).await;
    project(connected.ports.store.as_ref(), busy_weeks()).await;
    let claims = connected
        .store
        .query("select kind, local_week, claimed_on, standing from kpi_v1_claims order by claimed_on, kind, standing limit 1", &[])
        .await
        .expect("read");
    let row = &claims[0];
    assert_eq!((row.text(0), row.text(1), row.text(2), row.int(3)), ("conveyance", "2026-W23", "2026-06-01", 0));
    for view in ["kpi_v1_calls", "kpi_v1_prescriptions", "kpi_v1_visits", "kpi_v1_homes"] {
        let rows = connected.store.query(&format!("select * from {view} limit 1"), &[]).await.expect("read");
        assert_eq!(rows.len(), 1, "{view}");
    }
}

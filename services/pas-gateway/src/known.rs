//! What is known of all that a page of messages speaks of, read in a few queries.

use crate::domain::place::{HomeAddress, is_uprn};
use crate::domain::state::Visit;
use crate::gateway::{Gateway, HELD, Keys};
use crate::reading::Reading;
use crate::tags::{DEATH, Lasting, PATIENT_ALIAS, RESIDENT_NHS, VISIT, WAITING, WAITING_ALSO};
use crate::wire;
use bytes::Bytes;
use hearthline_eventing::identity::{self, Placements};
use hearthline_eventing::{Fact, NotNow, Row, Store, Value, query_among};
use hearthline_nhs::{HomeId, OdsCode, Postcode, ResidentId, StreamId, london_date};
use std::collections::{HashMap, HashSet};

/// Merges are followed this far.
const CHAIN_MAX: usize = 32;

/// A resident behind a tag.
#[derive(Debug, Clone)]
pub struct Person {
    pub id: ResidentId,
    pub lived: Placements,
    /// The tag of number and date of birth, where one was registered.
    pub born: Bytes,
}

impl Person {
    fn of(id: [u8; 16], lived: &HashMap<[u8; 16], Placements>, born: Bytes) -> Self {
        Person { id: ResidentId::from_bytes(id), lived: lived.get(&id).cloned().unwrap_or_default(), born }
    }

    /// The home that they lived in on the day of an instant, µs.
    pub fn home_at(&self, at_us: i64) -> Option<HomeId> {
        let day = london_date(at_us).ok()?.to_string();
        self.lived.home_on(&day).map(HomeId::from_bytes)
    }
}

/// A visit behind its name.
#[derive(Debug, Clone)]
pub struct KnownVisit {
    pub stream: StreamId,
    pub visit: Visit,
    pub version: u64,
    /// It is found by a name that it had before.
    pub is_renamed: bool,
}

/// What messages are judged by.
#[derive(Debug, Default)]
pub struct Known {
    pub persons: HashMap<[u8; 16], Person>,
    pub visits: HashMap<[u8; 16], KnownVisit>,
    /// Deaths and merges that were told of.
    pub reported: HashSet<[u8; 16]>,
    /// By postcode and by UPRN.
    pub homes: HashMap<String, Vec<HomeAddress>>,
    /// Visits that some held message waits for.
    pub waited_for: HashSet<[u8; 16]>,
    /// Whose such a visit is by what waits for it, where that names a resident.
    pub expected: HashMap<[u8; 16], Person>,
    /// Residents of those visits by what the directory calls them now, where that is another.
    pub called_now: HashMap<ResidentId, ResidentId>,
}

impl Known {
    /// Two residents are one, to the directory or by a merge that the facility reported.
    pub fn is_one(&self, lasting: &Lasting, facility: &OdsCode, person: ResidentId, resident: ResidentId) -> bool {
        let resident = self.called_now.get(&resident).copied().unwrap_or(resident);
        let merged = |a: ResidentId, b: ResidentId| self.reported.contains(&lasting.merge(facility, a.bytes(), b.bytes()));
        person == resident || merged(person, resident) || merged(resident, person)
    }
}

impl Gateway {
    /// Reads what these messages are judged by.
    pub async fn know(&self, lasting: &Lasting, messages: &[(&Reading, &Keys)]) -> Result<Known, NotNow> {
        let store = self.kernel.store.as_ref();
        let mut known = Known::default();
        let visits = distinct(messages.iter().flat_map(|(_, keys)| keys.visits()));
        let persons = distinct(messages.iter().flat_map(|(_, keys)| keys.persons()));
        let mut holders = Vec::new();
        for row in claimed(store, RESIDENT_NHS, &persons).await? {
            holders.push((row.id(0), row.blob(1).clone(), row.id(2)));
        }
        let ids = distinct(holders.iter().map(|(_, _, owner)| *owner));
        let identities = identity::resolve_many(store, &ids).await?;
        let lived = identity::placements(store, &distinct(identities.values().map(|identity| identity.id))).await?;
        for (tag, born, owner) in holders {
            if let Some(identity) = identities.get(&owner) {
                known.persons.insert(tag, Person::of(identity.id, &lived, born));
            }
        }
        for row in claimed(store, VISIT, &visits).await? {
            let stream = StreamId::from_bytes(row.id(2));
            known.visits.insert(row.id(0), KnownVisit { stream, visit: Visit::default(), version: 0, is_renamed: false });
        }
        self.read_visits(&mut known).await?;
        // A visit goes by the name that it had before, until it has one of its own.
        for (_, keys) in messages {
            let Some(tag) = keys.visit.filter(|tag| !known.visits.contains_key(tag)) else { continue };
            let former = keys.former.iter().chain(&keys.retired_visit).find_map(|former| known.visits.get(former));
            if let Some(visit) = former.cloned() {
                known.visits.insert(tag, KnownVisit { is_renamed: true, ..visit });
            }
        }
        self.read_waiting(&mut known, &visits).await?;
        let are_known: HashSet<ResidentId> = known.persons.values().map(|person| person.id).collect();
        let residents = known.visits.values().flat_map(|visit| visit.visit.residents()).filter(|id| !are_known.contains(id));
        let residents = distinct(residents.map(|id| *id.bytes()));
        let identities = identity::resolve_many(store, &residents).await?;
        known.called_now.extend(identities.iter().map(|(id, now)| (ResidentId::from_bytes(*id), ResidentId::from_bytes(now.id))));
        let mut told = Vec::new();
        for (reading, keys) in messages {
            for merge in &keys.merges {
                let Some(survivor) = merge.survivor.and_then(|tag| known.persons.get(&tag)) else { continue };
                let retired = merge.retired.iter().filter_map(|tag| known.persons.get(tag));
                told.extend(retired.map(|retired| lasting.merge(&reading.peer.facility_ods, survivor.id.bytes(), retired.id.bytes())));
            }
            let Some(person) = keys.person.and_then(|tag| known.persons.get(&tag)) else { continue };
            let facility = &reading.peer.facility_ods;
            told.extend(reading.patient.death.map(|_| lasting.death(facility, person.id.bytes(), reading.died_on())));
            for resident in keys.visits().filter_map(|tag| known.visits.get(&tag)).flat_map(|visit| visit.visit.residents()) {
                let resident = known.called_now.get(&resident).copied().unwrap_or(resident);
                if resident != person.id {
                    told.push(lasting.merge(facility, person.id.bytes(), resident.bytes()));
                    told.push(lasting.merge(facility, resident.bytes(), person.id.bytes()));
                }
            }
        }
        let told = distinct(told.into_iter());
        known.reported.extend(claimed(store, DEATH, &told).await?.iter().map(|row| row.id(0)));
        self.read_homes(&mut known, messages).await?;
        Ok(known)
    }

    /// Follows merges of facilities' own identifiers: which patient a visit without a number is named by now, what it was named by before,
    /// and into whom a merge goes.
    pub(crate) async fn follow_merges(&self, lasting: &Lasting, all: &mut [&mut Keys]) -> Result<(), NotNow> {
        let mut asked: HashSet<[u8; 16]> = HashSet::new();
        let mut wanted = distinct(all.iter().flat_map(|keys| {
            keys.admission.map(|(patient, _)| patient).into_iter().chain(keys.also_called.iter().copied()).chain(keys.edges.iter().flat_map(|(a, b)| [*a, *b]))
        }));
        let mut into: HashMap<[u8; 16], [u8; 16]> = HashMap::new();
        let store = self.kernel.store.as_ref();
        let mut rounds = 0;
        while !wanted.is_empty() && rounds < CHAIN_MAX {
            rounds += 1;
            asked.extend(&wanted);
            let mut next = Vec::new();
            for row in claimed(store, PATIENT_ALIAS, &wanted).await? {
                into.insert(row.id(0), row.id(2));
                next.push(row.id(2));
            }
            let head = format!("select key, owner from claims where scope = '{PATIENT_ALIAS}' and owner");
            for row in query_among(store, &head, &[], &wanted, "").await? {
                into.insert(row.id(0), row.id(1));
                next.push(row.id(0));
            }
            wanted = distinct(next.into_iter().filter(|tag| !asked.contains(tag)));
        }
        let resolve = |mut tag: [u8; 16]| {
            for _ in 0..CHAIN_MAX {
                match into.get(&tag) {
                    Some(next) => tag = *next,
                    None => break,
                }
            }
            tag
        };
        for keys in all {
            if let Some((patient, at_us)) = keys.admission {
                let now = resolve(patient);
                keys.visit = Some(lasting.admission(&now, at_us));
                let one: HashSet<[u8; 16]> = keys.also_called.iter().map(|tag| resolve(*tag)).chain([now]).collect();
                let others = keys.also_called.iter().chain(asked.iter().filter(|tag| !keys.also_called.contains(tag)));
                keys.former = others.filter(|tag| **tag != now && one.contains(&resolve(**tag))).map(|tag| lasting.admission(tag, at_us)).collect();
            }
            for (retired, survivor) in &mut keys.edges {
                *survivor = resolve(*survivor);
                keys.is_cycle |= *survivor == *retired;
            }
        }
        Ok(())
    }

    /// What waits for these visits, and whose they are by that: of several residents the one of whom the earliest message tells.
    async fn read_waiting(&self, known: &mut Known, visits: &[[u8; 16]]) -> Result<(), NotNow> {
        let store = self.kernel.store.as_ref();
        let mut residents: HashMap<[u8; 16], (i64, [u8; 16])> = HashMap::new();
        for scope in [WAITING, WAITING_ALSO] {
            let head = format!(
                "select w.owner, i.resident, i.occurred_at from claims w join inbox i on i.id = w.key and i.state = '{HELD}' where w.scope = '{scope}' and w.owner"
            );
            for row in query_among(store, &head, &[], visits, "").await? {
                known.waited_for.insert(row.id(0));
                let Some(resident) = row.opt_id(1) else { continue };
                let earliest = residents.entry(row.id(0)).or_insert((row.int(2), resident));
                *earliest = (*earliest).min((row.int(2), resident));
            }
        }
        let identities = identity::resolve_many(store, &distinct(residents.values().map(|(_, resident)| *resident))).await?;
        let lived = identity::placements(store, &distinct(identities.values().map(|identity| identity.id))).await?;
        for (visit, (_, resident)) in residents {
            if let Some(identity) = identities.get(&resident) {
                known.expected.insert(visit, Person::of(identity.id, &lived, Bytes::new()));
            }
        }
        Ok(())
    }

    /// How the visits stand, each by all of its names.
    async fn read_visits(&self, known: &mut Known) -> Result<(), NotNow> {
        let streams = distinct(known.visits.values().map(|visit| *visit.stream.bytes()));
        let mut read: HashMap<StreamId, (Visit, u64)> = HashMap::new();
        let head = "select stream, version, payload from events where stream";
        for row in query_among(self.kernel.store.as_ref(), head, &[], &streams, "order by stream, version").await? {
            let (visit, version) = read.entry(row.stream(0)).or_default();
            let undecodable = || NotNow::Other("a stored event does not decode".to_owned());
            let parts = hearthline_contracts::wire::split(row.blob(2)).map_err(|_| undecodable())?;
            let fact = Fact { topic: self.kernel.composer.topic.name, envelope: parts.envelope, sealed: parts.sealed, payload: row.blob(2).clone() };
            if let Some(event) = wire::decode(&fact).map_err(|e| NotNow::Other(e.to_string()))? {
                *visit = std::mem::take(visit).evolve(&event);
            }
            *version = row.int(1).unsigned_abs();
        }
        for held in known.visits.values_mut() {
            if let Some((visit, version)) = read.get(&held.stream) {
                (held.visit, held.version) = (visit.clone(), *version);
            }
        }
        Ok(())
    }

    /// Homes where those may live whom nobody knows, where the agreement with the trust lets that be looked for.
    async fn read_homes(&self, known: &mut Known, messages: &[(&Reading, &Keys)]) -> Result<(), NotNow> {
        let (mut postcodes, mut uprns): (Vec<Value>, Vec<Value>) = Default::default();
        for (reading, _) in messages.iter().filter(|(reading, _)| reading.peer.home_level_visits.is_some()) {
            for place in reading.patient.places() {
                if !known.homes.contains_key(place) {
                    known.homes.insert(place.to_owned(), Vec::new());
                    if is_uprn(place) { uprns.push(place.into()) } else { postcodes.push(place.into()) }
                }
            }
        }
        for (by, column, places) in [("postcode", 3, postcodes), ("uprn", 4, uprns)] {
            let head = format!("select id, name, first_line, postcode, uprn from homes where {by} <> '' and {by}");
            for row in query_among(self.kernel.store.as_ref(), &head, &[], &places, "").await? {
                let Ok(postcode) = Postcode::parse(row.text(3)) else { continue };
                let home = HomeAddress {
                    id: HomeId::from_bytes(row.id(0)),
                    name: row.text(1).to_owned(),
                    first_line: row.text(2).to_owned(),
                    postcode,
                    uprn: row.text(4).to_owned(),
                };
                known.homes.entry(row.text(column).to_owned()).or_default().push(home);
            }
        }
        Ok(())
    }
}

fn distinct(keys: impl Iterator<Item = [u8; 16]>) -> Vec<[u8; 16]> {
    let mut keys: Vec<[u8; 16]> = keys.collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// Who holds each of these claims: key, digest, owner.
async fn claimed(store: &dyn Store, scope: &'static str, keys: &[[u8; 16]]) -> Result<Vec<Row>, NotNow> {
    Ok(query_among(store, "select key, digest, owner from claims where scope = $1 and key", &[scope.into()], keys, "").await?)
}

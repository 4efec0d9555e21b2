//! What a message means here and now: who and where the patient is, which visit it speaks of, and what follows.

use crate::connections::Connections;
use crate::domain::decide::{absorb, decide};
use crate::domain::events::Event;
use crate::domain::place::{HomeAddress, Signs, place};
use crate::domain::rejection::Rejection;
use crate::domain::state::Visit;
use crate::domain::{Confidence, Report, Reported, Subject};
use crate::known::{Known, KnownVisit};
use crate::peer::Peer;
use crate::profile::{Profile, ProfileError};
use crate::reading::{DEATH_CONTRADICTED, Matter, Merged, Reading};
use crate::tags::Lasting;
use hearthline_eventing::Kernel;
use hearthline_interop::hl7v2::Charset;
use hearthline_nhs::{DateOfBirth, HomeId, NhsNumber, ResidentId, StreamId, london_date};
use std::collections::HashMap;
use std::sync::Arc;

/// The gateway's grip on its store and its agreements.
#[derive(Clone)]
pub struct Gateway {
    pub kernel: Kernel,
    pub peers: Arc<Vec<Peer>>,
    /// By the name of the peer.
    pub profiles: Arc<HashMap<String, Arc<Profile>>>,
    /// The environment is `live`: MSH-11 `P` and nothing else.
    pub live: bool,
    /// How many days strangers' messages are kept.
    pub kept_days: u16,
    /// Who is connected, and what they send.
    pub connections: Connections,
}

/// What a message is found by.
#[derive(Debug, Clone)]
pub struct Keys {
    pub person: Option<[u8; 16]>,
    pub born: Option<[u8; 16]>,
    pub visit: Option<[u8; 16]>,
    /// Of a merge: whose records are made one.
    pub merges: Vec<MergeKeys>,
    /// The visit that becomes part of this one, or goes by its name from now on.
    pub retired_visit: Option<[u8; 16]>,
    /// Of a visit without a number: patient and admission.
    pub admission: Option<([u8; 16], i64)>,
    /// What else that patient is called.
    pub also_called: Vec<[u8; 16]>,
    /// Other names of such a visit: by what else its patient is called, or was called before a merge.
    pub former: Vec<[u8; 16]>,
    /// Of a merge: a facility's identifier that goes, and the one that stays.
    pub edges: Vec<([u8; 16], [u8; 16])>,
    /// What stays by the merge went by an earlier one.
    pub is_cycle: bool,
}

impl Keys {
    /// Everybody whom the message names by an NHS number.
    pub fn persons(&self) -> impl Iterator<Item = [u8; 16]> {
        self.person.into_iter().chain(self.merges.iter().flat_map(|merge| merge.survivor.into_iter().chain(merge.retired.iter().copied())))
    }

    /// Every name of the visit that the message speaks of, and of the one that becomes part of it.
    pub fn visits(&self) -> impl Iterator<Item = [u8; 16]> {
        self.visit.into_iter().chain(self.by_names())
    }

    /// Those names but the first.
    pub(crate) fn by_names(&self) -> impl Iterator<Item = [u8; 16]> {
        self.retired_visit.into_iter().chain(self.former.iter().copied())
    }
}

/// The records that one patient's part of a merge makes one, by NHS number.
#[derive(Debug, Clone)]
pub struct MergeKeys {
    pub survivor: Option<[u8; 16]>,
    pub born: Option<[u8; 16]>,
    pub retired: Vec<[u8; 16]>,
}

/// Who a patient is to the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Resident {
        id: ResidentId,
        home: Option<HomeId>,
        confidence: Confidence,
    },
    /// The number is a resident's and the date of birth is another's.
    Disagrees,
    Stranger,
}

/// Events for a visit's stream.
#[derive(Debug, Clone)]
pub struct VisitWork {
    pub stream: StreamId,
    pub expected: u64,
    pub events: Vec<Event>,
    /// The visit's name is not claimed yet.
    pub is_new: bool,
    /// It was found by a name that it had before.
    pub is_renamed: bool,
    /// The message calls it by names that are not claimed yet.
    pub has_more_names: bool,
    /// The visit that becomes part of it is not open: should it be by now, the message is judged anew.
    pub retires_unopened: bool,
}

/// The end of a visit that becomes part of another (A42).
#[derive(Debug, Clone)]
pub struct Retired {
    pub stream: StreamId,
    pub expected: u64,
    pub events: Vec<Event>,
}

/// What follows from a message.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// State of the row: `held`, `interpreted` or `ignored`.
    pub state: &'static str,
    pub why: String,
    /// Whose it is, where they are a resident.
    pub resident: Option<ResidentId>,
    /// The visit it speaks of.
    pub visit: Option<VisitWork>,
    /// The visit that is part of that one from now on, where it has a stream of its own.
    pub retired: Option<Retired>,
    /// Reports about persons, each with the claim that lets it be made once.
    pub reports: Vec<(Event, [u8; 16])>,
    /// The persons of whom it waits to hear more: that they are residents, or the one whose visit it names.
    pub awaits: Vec<[u8; 16]>,
    /// It waits for its visit to be opened, or for a message that says whose that is.
    pub waits: bool,
}

pub const RECEIVED: &str = "received";
pub const HELD: &str = "held";
pub const INTERPRETED: &str = "interpreted";
pub const IGNORED: &str = "ignored";
pub const REFUSED: &str = "refused";
pub const DUPLICATE: &str = "duplicate";
pub const SHADOW: &str = "shadow";

/// Something that was agreed with a peer cannot be kept to.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    #[error("peer {peer}: profile {profile} cannot be used: {cause}")]
    Profile { peer: String, profile: String, cause: ProfileError },
    #[error("peer {peer}: character set {charset} is none that is known: give it as MSH-18 would, such as 8859/1 or UNICODE UTF-8")]
    Charset { peer: String, charset: String },
    #[error("peer {peer}: {zone} is no IANA time zone such as Europe/London")]
    TimeZone { peer: String, zone: String },
}

fn profile_of(peer: &Peer) -> Result<Arc<Profile>, Unusable> {
    let name = || peer.name.clone();
    if let Some(charset) = peer.charset.clone().filter(|charset| Charset::named(charset).is_none()) {
        return Err(Unusable::Charset { peer: name(), charset });
    }
    if jiff::tz::TimeZone::get(&peer.time_zone).is_err() {
        return Err(Unusable::TimeZone { peer: name(), zone: peer.time_zone.clone() });
    }
    Profile::load(&peer.profile).map_err(|cause| Unusable::Profile { peer: name(), profile: peer.profile.clone(), cause })
}

impl Verdict {
    /// One more thing to say of the row.
    fn note(&mut self, text: &str) {
        if !self.why.contains(text) {
            let sep = if self.why.is_empty() { "" } else { "; " };
            self.why = format!("{}{sep}{text}", self.why);
        }
    }

    fn row(state: &'static str, why: &str) -> Self {
        Verdict { state, why: why.to_owned(), resident: None, visit: None, retired: None, reports: Vec::new(), awaits: Vec::new(), waits: false }
    }

    /// Something beyond keeping the row follows.
    pub fn acts(&self) -> bool {
        self.state != HELD || !self.reports.is_empty() || self.visit.as_ref().is_some_and(|v| !v.events.is_empty())
    }

    /// A visit can be found from now on by a name by which it could not before.
    pub fn opens(&self, keys: &Keys) -> bool {
        self.visit.as_ref().is_some_and(|visit| visit.is_new || visit.is_renamed || visit.has_more_names || keys.retired_visit.is_some())
    }

    /// What follows, in order.
    pub fn events(&self) -> impl Iterator<Item = &Event> {
        let retired = self.retired.iter().flat_map(|retired| &retired.events);
        self.visit.iter().flat_map(|visit| &visit.events).chain(retired).chain(self.reports.iter().map(|(event, _)| event))
    }
}

impl Gateway {
    /// Reads the peers' profiles.
    ///
    /// # Errors
    /// [`Unusable`]: what was agreed with a peer cannot be kept to.
    pub fn new(kernel: Kernel, peers: Vec<Peer>, live: bool, kept_days: u16) -> Result<Self, Unusable> {
        let mut profiles = HashMap::new();
        for peer in &peers {
            profiles.insert(peer.name.clone(), profile_of(peer)?);
        }
        let (peers, profiles) = (Arc::new(peers), Arc::new(profiles));
        Ok(Gateway { kernel, peers, profiles, live, kept_days, connections: Connections::default() })
    }

    /// What a peer's messages are read by.
    ///
    /// # Panics
    /// Where it is none of the gateway's peers.
    pub fn profile(&self, peer: &Peer) -> &Profile {
        &self.profiles[&peer.name]
    }

    pub fn keys(&self, lasting: &Lasting, reading: &Reading) -> Keys {
        let number = reading.patient.nhs_number.as_ref();
        let patient = |key: &str| lasting.patient(&reading.peer.facility_ods, key);
        let admission = reading.admission.as_ref().map(|(key, at_us)| (patient(key), *at_us));
        let edges = reading.merged.iter().flat_map(Merged::edges);
        let born = |number: Option<&NhsNumber>, born: Option<&DateOfBirth>| number.zip(born).map(|(number, born)| lasting.born(number, born));
        Keys {
            person: number.map(|n| lasting.number(n)),
            born: born(number, reading.patient.date_of_birth.as_ref()),
            visit: match &admission {
                Some((patient, at_us)) => Some(lasting.admission(patient, *at_us)),
                None => reading.visit.as_ref().map(|v| lasting.visit(&reading.peer.facility_ods, v)),
            },
            retired_visit: reading.retired_visit.as_ref().map(|v| lasting.visit(&reading.peer.facility_ods, v)),
            admission,
            also_called: reading.also_called.iter().map(|key| patient(key)).collect(),
            former: Vec::new(),
            edges: edges.map(|(retired, survivor)| (patient(&retired), patient(&survivor))).collect(),
            is_cycle: false,
            merges: reading
                .merged
                .iter()
                .map(|merged| MergeKeys {
                    survivor: merged.nhs_number.as_ref().map(|number| lasting.number(number)),
                    born: born(merged.nhs_number.as_ref(), merged.date_of_birth.as_ref()),
                    retired: merged.retired_numbers.iter().map(|number| lasting.number(number)).collect(),
                })
                .collect(),
        }
    }

    /// What follows from a message, given what is known and how its visit stands.
    pub fn judge(&self, lasting: &Lasting, reading: &Reading, keys: &Keys, known: &Known, visit: Option<&KnownVisit>) -> Verdict {
        // A resident's home is that of the day on which the visit began.
        let began = visit.filter(|_| !matches!(reading.matter, Matter::Visit(Report::Opening(_)))).and_then(|visit| visit.visit.began_us());
        let began = began.unwrap_or(reading.at.at_us);
        let who = who(keys.person, keys.born, known, began);
        let mut verdict = match &reading.matter {
            Matter::Nothing(why) => Verdict::row(IGNORED, why),
            Matter::Merge => on_merge(lasting, reading, keys, known),
            Matter::Person => on_person(lasting, reading, known, who),
            Matter::Visit(_) => on_visit(lasting, reading, keys, known, visit, (who, began)),
        };
        if let Who::Resident { id, .. } = who
            && verdict.awaits.is_empty()
            && !matches!(reading.matter, Matter::Merge)
        {
            verdict.resident = Some(id);
            if matches!(reading.matter, Matter::Visit(_)) {
                verdict.reports.extend(death(lasting, reading, known, id));
            }
        }
        if reading.patient.death_contradicted {
            verdict.note(DEATH_CONTRADICTED);
        }
        for field in &reading.unread {
            verdict.note(field);
        }
        verdict
    }
}

fn who(number: Option<[u8; 16]>, born: Option<[u8; 16]>, known: &Known, at_us: i64) -> Who {
    let Some(person) = number.and_then(|tag| known.persons.get(&tag)) else { return Who::Stranger };
    let known_born: Option<[u8; 16]> = person.born.as_ref().try_into().ok();
    let confidence = match (born, known_born) {
        (Some(said), Some(known)) if said != known => return Who::Disagrees,
        (Some(_), Some(_)) => Confidence::High,
        _ => Confidence::Medium,
    };
    Who::Resident { id: person.id, home: person.home_at(at_us), confidence }
}

fn on_visit(lasting: &Lasting, reading: &Reading, keys: &Keys, known: &Known, found: Option<&KnownVisit>, (who, began): (Who, i64)) -> Verdict {
    let Some(reported) = reading.reported() else { return Verdict::row(IGNORED, "an event that is not interpreted") };
    // A number of a visit may be used for another one by another system of the trust.
    let retired = keys.retired_visit.and_then(|tag| known.visits.get(&tag));
    if found.into_iter().chain(retired).any(|visit| is_anothers(lasting, (reading, &reported), keys, known, &visit.visit)) {
        return Verdict { awaits: keys.person.into_iter().collect(), ..Verdict::row(HELD, ANOTHERS) };
    }
    let has_resident = found.is_some_and(|found| found.visit.resident().is_some());
    let subject = match who {
        Who::Resident { id, home, confidence } => Some(Subject::Resident { id, home, confidence }),
        // What waits for the same visit may say whose it is.
        Who::Stranger => {
            let expected = keys.visits().filter(|_| !has_resident).find_map(|tag| known.expected.get(&tag));
            let resident = expected.map(|person| Subject::Resident { id: person.id, home: person.home_at(began), confidence: Confidence::Medium });
            resident.or_else(|| home_of(reading, known))
        }
        Who::Disagrees => home_of(reading, known),
    };
    let unknown = Visit::default();
    let (stream, visit, expected) = match found {
        Some(found) => (found.stream, &found.visit, found.version),
        None => (StreamId::from_bytes(hearthline_runtime::service::fresh_id()), &unknown, 0),
    };
    // A visit that was only given a stream to be is not there yet.
    let is_new = expected == 0;
    let is_renamed = found.is_some_and(|found| found.is_renamed);
    let is_move = reported.report == Report::Move;
    if subject.is_none() && is_new {
        let stranger = if who == Who::Disagrees { "the date of birth is not the resident's" } else { "nobody of the directory" };
        // Nothing but its visit can tell whose such a message is.
        let is_tied_by_visit = reading.patient.nhs_number.is_none() || is_move || keys.retired_visit.is_some();
        return Verdict { waits: is_tied_by_visit && reading.visit.is_some(), ..Verdict::row(HELD, stranger) };
    }
    let resident = match subject {
        Some(Subject::Resident { id, .. }) => Some(id),
        Some(Subject::Home { .. }) | None => None,
    };
    let is_known = resident.is_some() || (visit.resident().is_some() && !is_move);
    let has_more_names = !is_new && keys.former.iter().any(|tag| !known.visits.contains_key(tag));
    let retires_unopened = retired.is_none_or(|retired| retired.version == 0);
    let mut work = VisitWork { stream, expected, events: Vec::new(), is_new, is_renamed, has_more_names, retires_unopened };
    let mut verdict = match decide(visit, &reported, subject.as_ref()) {
        Ok(events) => {
            work.events = events;
            let mut verdict = match (is_known, is_move) {
                (true, _) => Verdict::row(INTERPRETED, ""),
                // Should they become a resident, the visit is theirs.
                (false, true) => Verdict::row(HELD, MOVED_AWAY),
                (false, false) => Verdict::row(HELD, HOME_LEVEL),
            };
            if let Some(why) = visit.contradiction(&reported.statement(subject.as_ref())) {
                verdict.note(why);
            }
            verdict
        }
        Err(rejection @ Rejection::NotOpened) if reading.visit.is_some() => return Verdict { waits: true, ..Verdict::row(HELD, rejection.why()) },
        Err(Rejection::NotOpened) => return Verdict::row(if is_known { IGNORED } else { HELD }, "it names no visit"),
        // The visit goes by another number all the same.
        Err(_) if is_known && keys.retired_visit.is_some() => Verdict::row(INTERPRETED, ""),
        Err(rejection) => {
            // A stranger's message stays, so that it can still be theirs once they are known.
            let (state, why) = if is_known { (IGNORED, rejection.why()) } else { (HELD, HOME_LEVEL) };
            Verdict::row(state, why)
        }
    };
    work.is_new &= !work.events.is_empty();
    let other = keys.retired_visit.and_then(|tag| known.visits.get(&tag)).filter(|other| other.stream != stream && other.version > 0);
    if let Some(other) = other {
        let visit = work.events.iter().fold(visit.clone(), Visit::evolve);
        if let Ok((kept, gone)) = absorb(&visit, &other.visit, &reported) {
            work.events.extend(kept);
            verdict.retired = Some(Retired { stream: other.stream, expected: other.version, events: gone });
        }
    }
    verdict.visit = Some(work);
    verdict.resident = resident;
    verdict
}

/// The message has the NHS number of another patient than the one whose visit it is: by the time that the report is of, or by now. Only
/// A45 gives a visit to another, and what was reported of it before that may be of a stranger.
fn is_anothers(lasting: &Lasting, (reading, reported): (&Reading, &Reported), keys: &Keys, known: &Known, visit: &Visit) -> bool {
    let Some(number) = keys.person.filter(|_| reported.report != Report::Move) else { return false };
    let person = known.persons.get(&number).map(|person| person.id);
    let statement = reported.statement(None);
    let mut residents = visit.resident_by(&statement).into_iter().chain(visit.resident()).peekable();
    if residents.peek().is_none() || (person.is_none() && visit.is_moved_after(&statement)) {
        return false;
    }
    let facility = &reading.peer.facility_ods;
    !residents.any(|resident| person.is_some_and(|person| known.is_one(lasting, facility, person, resident)))
}

fn on_person(lasting: &Lasting, reading: &Reading, known: &Known, who: Who) -> Verdict {
    let Who::Resident { id, .. } = who else { return Verdict::row(HELD, "nobody of the directory") };
    match death(lasting, reading, known, id) {
        Some(report) => Verdict { reports: vec![report], ..Verdict::row(INTERPRETED, "") },
        None => Verdict::row(IGNORED, "it was reported before"),
    }
}

/// Each two residents are told of once; what is nobody's yet may be a resident's later.
fn on_merge(lasting: &Lasting, reading: &Reading, keys: &Keys, known: &Known) -> Verdict {
    if keys.is_cycle {
        return Verdict::row(HELD, MERGE_CYCLE);
    }
    let facility = &reading.peer.facility_ods;
    let (mut verdict, mut survivors) = (Verdict::row(IGNORED, "it merges no two residents"), Vec::new());
    let mut why_held = None;
    for merge in &keys.merges {
        let stayed = who(merge.survivor, merge.born, known, reading.at.at_us);
        let unknown: Vec<[u8; 16]> = merge.retired.iter().copied().filter(|tag| !known.persons.contains_key(tag)).collect();
        verdict.awaits.extend(merge.survivor.filter(|_| !matches!(stayed, Who::Resident { .. })).iter().chain(&unknown));
        let Who::Resident { id: survivor, .. } = stayed else {
            why_held = Some("nobody of the directory");
            continue;
        };
        survivors.push(survivor);
        if !unknown.is_empty() {
            why_held = why_held.or(Some("who is merged is nobody of the directory"));
        }
        for retired in merge.retired.iter().filter_map(|tag| known.persons.get(tag)).map(|person| person.id).filter(|id| *id != survivor) {
            let once = lasting.merge(facility, survivor.bytes(), retired.bytes());
            if known.reported.contains(&once) {
                verdict.why = "it was reported before".to_owned();
            } else if !verdict.reports.iter().any(|(_, told)| *told == once) {
                let (feed, trigger) = (reading.peer.name.clone(), reading.trigger.clone());
                let event = Event::PatientsMerged { survivor, retired, feed, facility: facility.to_string(), trigger };
                verdict.reports.push((event, once));
            }
        }
    }
    if survivors.len() == keys.merges.len() {
        verdict.resident = survivors.first().copied();
    }
    match why_held {
        Some(why) => Verdict { state: HELD, why: why.to_owned(), ..verdict },
        None if !verdict.reports.is_empty() => Verdict { state: INTERPRETED, why: String::new(), ..verdict },
        None => verdict,
    }
}

/// A facility's report of a resident's death is made once, and once more when it names the day, or another.
fn death(lasting: &Lasting, reading: &Reading, known: &Known, resident: ResidentId) -> Option<(Event, [u8; 16])> {
    let death = reading.patient.death?;
    let on = reading.died_on();
    let key = lasting.death(&reading.peer.facility_ods, resident.bytes(), on);
    if known.reported.contains(&key) {
        return None;
    }
    let event = Event::DeathReported {
        resident,
        feed: reading.peer.name.clone(),
        facility: reading.peer.facility_ods.to_string(),
        on,
        at_us: death.at_us,
        trigger: reading.trigger.clone(),
    };
    Some((event, key))
}

/// The home that a stranger lives in, where the agreement with the trust lets that be counted. Of a resident the directory says it.
fn home_of(reading: &Reading, known: &Known) -> Option<Subject> {
    if !london_date(reading.at.at_us).is_ok_and(|day| reading.peer.keeps_home_level(day)) {
        return None;
    }
    let addresses = &reading.patient.addresses;
    let mut homes: Vec<HomeAddress> = reading.patient.places().iter().filter_map(|place| known.homes.get(*place)).flatten().cloned().collect();
    homes.sort_by_key(|home| *home.id.bytes());
    homes.dedup();
    let signs = Signs { addresses, source: reading.source(), destination: &reading.destination };
    place(None, &signs, &homes).map(|place| place.subject())
}

const MERGE_CYCLE: &str = "a merge cycle: the identifier that stays was merged into the one that goes; a person must say which stays";
const ANOTHERS: &str = "it names another patient than the visit's";
const MOVED_AWAY: &str = "its visit is of somebody whom the directory does not know";
const HOME_LEVEL: &str = "a visit from a home, of somebody whom the directory does not know";

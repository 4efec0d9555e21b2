//! What a message means here and now: who and where the patient is, which visit it speaks of, and what follows.

use crate::connections::Connections;
use crate::domain::decide::decide;
use crate::domain::events::Event;
use crate::domain::place::{HomeAddress, home_at};
use crate::domain::rejection::Rejection;
use crate::domain::state::Visit;
use crate::domain::{Confidence, Report, Subject};
use crate::peer::Peer;
use crate::reading::{Matter, Reading};
use crate::tags::{CONTROL, DEATH, INBOX, Lasting, RESIDENT_NHS, VISIT};
use crate::wire;
use hearthline_eventing::{Kernel, NotNow, Value, identity, now_us};
use hearthline_nhs::{HomeId, Postcode, ResidentId, StreamId, london_date};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// The gateway's grip on its store and its agreements.
#[derive(Clone)]
pub struct Gateway {
    pub kernel: Kernel,
    pub peers: Arc<Vec<Peer>>,
    /// The environment is `live`: MSH-11 `P` and nothing else.
    pub live: bool,
    /// How many frames were refused since the start, by reply.
    pub refused: Arc<Mutex<BTreeMap<&'static str, u64>>>,
    /// Who is connected, and what they send.
    pub connections: Connections,
}

/// What a message is found by.
pub struct Keys {
    pub digest: [u8; 32],
    pub control: [u8; 16],
    pub person: Option<[u8; 16]>,
    pub born: Option<[u8; 16]>,
    pub visit: Option<[u8; 16]>,
}

/// A claim as found.
#[derive(Debug, Clone)]
pub struct Held {
    pub digest: bytes::Bytes,
    pub owner: StreamId,
}

/// What is there already, of all that a message is found by.
#[derive(Debug, Default)]
pub struct Found {
    pub message: Option<Held>,
    pub control: Option<Held>,
    person: Option<Held>,
    visit: Option<Held>,
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
}

/// What follows from a message.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// State of the row: `held`, `interpreted` or `ignored`.
    pub state: &'static str,
    pub why: &'static str,
    /// The visit it speaks of.
    pub visit: Option<VisitWork>,
    /// A report about a person, and the claim that lets it be made once.
    pub report: Option<(Event, Option<[u8; 16]>)>,
    /// It waits for its visit to be opened.
    pub waits: bool,
}

pub const HELD: &str = "held";
pub const INTERPRETED: &str = "interpreted";
pub const IGNORED: &str = "ignored";

impl Verdict {
    fn row(state: &'static str, why: &'static str) -> Self {
        Verdict { state, why, visit: None, report: None, waits: false }
    }

    /// Something beyond keeping the row follows.
    pub fn acts(&self) -> bool {
        self.state != HELD || self.report.is_some() || self.visit.as_ref().is_some_and(|v| !v.events.is_empty())
    }
}

impl Gateway {
    pub async fn keys(&self, reading: &Reading, raw: &[u8]) -> Result<Keys, NotNow> {
        let lasting = Lasting::open(&self.kernel.composer.keyring).await?;
        let number = reading.patient.nhs_number.as_ref();
        Ok(Keys {
            digest: lasting.message(reading, raw),
            control: lasting.control(reading),
            person: number.map(|n| lasting.number(n)),
            born: number.zip(reading.patient.date_of_birth.as_ref()).map(|(n, born)| lasting.born(n, born)),
            visit: reading.visit.as_ref().map(|v| lasting.visit(&reading.peer.facility_ods, v)),
        })
    }

    /// Reads, in one query, all claims that a message is judged by.
    pub async fn look(&self, keys: &Keys) -> Result<Found, NotNow> {
        let mut sql = "select scope, digest, owner from claims where (expires_at is null or expires_at >= $1) and (".to_owned();
        let mut args: Vec<Value> = vec![now_us().into()];
        let wanted: [(&str, Option<&[u8]>); 4] = [
            (INBOX, Some(&keys.digest)),
            (CONTROL, Some(&keys.control)),
            (RESIDENT_NHS, keys.person.as_ref().map(|k| &k[..])),
            (VISIT, keys.visit.as_ref().map(|k| &k[..])),
        ];
        for (scope, key) in wanted.into_iter().filter_map(|(scope, key)| Some((scope, key?))) {
            if args.len() > 1 {
                sql.push_str(" or ");
            }
            sql.push_str(&format!("(scope = ${} and key = ${})", args.len() + 1, args.len() + 2));
            args.extend([scope.into(), key.into()]);
        }
        sql.push(')');
        let mut found = Found::default();
        for row in self.kernel.store.query(&sql, &args).await? {
            let held = Some(Held { digest: row.blob(1).clone(), owner: row.stream(2) });
            match row.text(0) {
                INBOX => found.message = held,
                CONTROL => found.control = held,
                RESIDENT_NHS => found.person = held,
                VISIT => found.visit = held,
                _ => {}
            }
        }
        Ok(found)
    }

    /// What follows from a message, given what is there.
    pub async fn judge(&self, reading: &Reading, keys: &Keys, found: &Found) -> Result<Verdict, NotNow> {
        match &reading.matter {
            Matter::Nothing(why) => Ok(Verdict::row(IGNORED, why)),
            Matter::Merge { .. } | Matter::Person | Matter::Visit(_) => {
                let who = self.who(keys, found).await?;
                match &reading.matter {
                    Matter::Merge { retired } => self.on_merge(reading, who, retired).await,
                    Matter::Person => self.on_person(reading, who).await,
                    Matter::Visit(_) | Matter::Nothing(_) => self.on_visit(reading, found, who).await,
                }
            }
        }
    }

    async fn who(&self, keys: &Keys, found: &Found) -> Result<Who, NotNow> {
        let Some(holder) = &found.person else { return Ok(Who::Stranger) };
        let known_born: Option<[u8; 16]> = holder.digest.as_ref().try_into().ok();
        let confidence = match (keys.born, known_born) {
            (Some(said), Some(known)) if said != known => return Ok(Who::Disagrees),
            (Some(_), Some(_)) => Confidence::High,
            _ => Confidence::Medium,
        };
        let identity = identity::resolve(self.kernel.store.as_ref(), *holder.owner.bytes()).await?;
        Ok(Who::Resident { id: ResidentId::from_bytes(identity.id), home: identity.home.map(HomeId::from_bytes), confidence })
    }

    async fn on_visit(&self, reading: &Reading, found: &Found, who: Who) -> Result<Verdict, NotNow> {
        let Some(reported) = reading.reported() else { return Ok(Verdict::row(IGNORED, "an event that is not interpreted")) };
        let subject = match who {
            Who::Resident { id, home, confidence } => Some(Subject::Resident { id, home, confidence }),
            Who::Stranger | Who::Disagrees => self.place(reading).await?,
        };
        let (stream, visit, expected) = match &found.visit {
            Some(holder) => {
                let facts = self.kernel.facts(holder.owner).await?;
                let mut visit = Visit::default();
                for fact in &facts {
                    if let Some(event) = wire::decode(fact).map_err(|e| NotNow::Other(e.to_string()))? {
                        visit = visit.evolve(&event);
                    }
                }
                (holder.owner, visit, facts.len() as u64)
            }
            None => (StreamId::from_bytes(hearthline_runtime::service::fresh_id()), Visit::default(), 0),
        };
        let stranger = if who == Who::Disagrees { "the date of birth is not the resident's" } else { "nobody of the directory" };
        if subject.is_none() && found.visit.is_none() {
            return Ok(Verdict::row(HELD, stranger));
        }
        let is_known = matches!(subject, Some(Subject::Resident { .. })) || visit.resident().is_some();
        let mut verdict = match decide(&visit, &reported, subject.as_ref()) {
            Ok(events) => {
                let is_new = found.visit.is_none();
                let work = Some(VisitWork { stream, expected, events, is_new });
                let (state, why) = if is_known { (INTERPRETED, "") } else { (HELD, HOME_LEVEL) };
                Verdict { visit: work, ..Verdict::row(state, why) }
            }
            Err(rejection @ Rejection::NotOpened) if reading.visit.is_some() => Verdict { waits: true, ..Verdict::row(HELD, rejection.why()) },
            Err(Rejection::NotOpened) => Verdict::row(if is_known { IGNORED } else { HELD }, "it names no visit"),
            Err(rejection) => {
                let work = Some(VisitWork { stream, expected, events: Vec::new(), is_new: false });
                // A stranger's message stays, so that it can still be theirs once they are known.
                let (state, why) = if is_known { (IGNORED, rejection.why()) } else { (HELD, HOME_LEVEL) };
                Verdict { visit: work, ..Verdict::row(state, why) }
            }
        };
        if let Who::Resident { id, .. } = who {
            verdict.report = self.death(reading, id).await?;
        }
        Ok(verdict)
    }

    async fn on_person(&self, reading: &Reading, who: Who) -> Result<Verdict, NotNow> {
        let Who::Resident { id, .. } = who else { return Ok(Verdict::row(HELD, "nobody of the directory")) };
        Ok(match self.death(reading, id).await? {
            Some(report) => Verdict { report: Some(report), ..Verdict::row(INTERPRETED, "") },
            None => Verdict::row(IGNORED, "it was reported before"),
        })
    }

    async fn on_merge(&self, reading: &Reading, who: Who, retired: &[hearthline_nhs::NhsNumber]) -> Result<Verdict, NotNow> {
        let Who::Resident { id: survivor, .. } = who else { return Ok(Verdict::row(HELD, "nobody of the directory")) };
        let lasting = Lasting::open(&self.kernel.composer.keyring).await?;
        for number in retired {
            let rows = self
                .kernel
                .store
                .query("select owner from claims where scope = $1 and key = $2", &[RESIDENT_NHS.into(), lasting.number(number).into()])
                .await?;
            let Some(row) = rows.first() else { continue };
            let retired = ResidentId::from_bytes(identity::resolve(self.kernel.store.as_ref(), row.id(0)).await?.id);
            if retired != survivor {
                let event = Event::PatientsMerged {
                    survivor,
                    retired,
                    feed: reading.peer.name.clone(),
                    facility: reading.peer.facility_ods.to_string(),
                    trigger: reading.trigger.clone(),
                };
                return Ok(Verdict { report: Some((event, None)), ..Verdict::row(INTERPRETED, "") });
            }
        }
        Ok(Verdict::row(IGNORED, "it merges no two residents"))
    }

    /// A facility's report of a death is made once for a resident.
    async fn death(&self, reading: &Reading, resident: ResidentId) -> Result<Option<(Event, Option<[u8; 16]>)>, NotNow> {
        let Some(death) = reading.patient.death else { return Ok(None) };
        let key = Lasting::open(&self.kernel.composer.keyring).await?.death(&reading.peer.facility_ods, resident.bytes());
        let before = self.kernel.store.query("select 1 from claims where scope = $1 and key = $2", &[DEATH.into(), key.into()]).await?;
        if !before.is_empty() {
            return Ok(None);
        }
        // A discharge as died without a date of death happened on the day of the discharge.
        let discharged = matches!(&reading.matter, Matter::Visit(Report::Discharge { died: true, .. })).then(|| london_date(reading.at.at_us).ok()).flatten();
        let event = Event::DeathReported {
            resident,
            feed: reading.peer.name.clone(),
            facility: reading.peer.facility_ods.to_string(),
            on: death.on.or(discharged),
            at_us: death.at_us,
            trigger: reading.trigger.clone(),
        };
        Ok(Some((event, Some(key))))
    }

    /// The home that a stranger's address is, where the agreement with the trust lets that be counted.
    async fn place(&self, reading: &Reading) -> Result<Option<Subject>, NotNow> {
        if !london_date(reading.at.at_us).is_ok_and(|day| reading.peer.keeps_home_level(day)) {
            return Ok(None);
        }
        for address in &reading.patient.addresses {
            let Some(postcode) = &address.postcode else { continue };
            let rows = self.kernel.store.query("select id, name, first_line, postcode from homes where postcode = $1", &[postcode.as_str().into()]).await?;
            let homes: Vec<HomeAddress> = rows
                .iter()
                .filter_map(|row| {
                    Some(HomeAddress {
                        id: HomeId::from_bytes(row.id(0)),
                        name: row.text(1).to_owned(),
                        first_line: row.text(2).to_owned(),
                        postcode: Postcode::parse(row.text(3)).ok()?,
                        uprn: String::new(),
                    })
                })
                .collect();
            if let Some(subject) = home_at(address, reading.source(), &homes) {
                return Ok(Some(subject));
            }
        }
        Ok(None)
    }
}

const HOME_LEVEL: &str = "a visit from a home, of somebody whom the directory does not know";

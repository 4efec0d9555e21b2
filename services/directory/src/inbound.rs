//! What others' facts mean to the directory.
//!
//! | topic | fact | what follows |
//! |---|---|---|
//! | call | `CallOpened`, `ResidentIdentified` with a provisional resident | an alias edge, a registration, or a person's task |
//! | call | `ResidentIdentified` that closes a provisional resident onto a known one | an alias edge, unless the dates of birth disagree |
//! | hospital | `PatientsMerged` | `MergeProposed` and a task for the privacy officer |
//! | hospital | `DeathReported` | `ResidentDied`, or a task where no date was sent |
//!
//! Two calls may describe the same unknown person at once: the claim on the number decides who registers, and the other is
//! asked anew, finds them, and becomes an alias.

use crate::domain::decide::{self, Merge, RegisterResident};
use crate::domain::events::{MergeCause, RegistrationSource};
use crate::domain::identify::{Holder, Identification, NumberSaid, Said, identify};
use crate::domain::state::Resident;
use crate::domain::{Person, TaskKind};
use crate::residents::{RESIDENT_NHS, Streams, unreadable};
use crate::wire::{self, CallFact, HospitalFact};
use async_trait::async_trait;
use hearthline_contracts::topics::{self, Topic};
use hearthline_eventing::consumer::{Inbound, Reaction, Triage};
use hearthline_eventing::{Actor, Cause, ClaimHolder, Fact, NotNow, Occurred, Unit, now_us, trace};
use hearthline_nhs::{HomeId, Personal, ResidentId, TaskId, london_date};

/// The directory's policies.
pub struct Policies {
    pub streams: Streams,
}

#[async_trait]
impl Inbound for Policies {
    fn topics(&self) -> &'static [&'static Topic] {
        const { topics::read_by(crate::NAME) }
    }

    fn triage(&self, fact: &Fact) -> Triage {
        if fact.topic == topics::CALL.name {
            match wire::call_fact(fact) {
                Ok(Some(CallFact::Opened { resident, .. })) if !resident.provisional => Triage::Project,
                Ok(Some(CallFact::Identified { resident, closed_provisional: None })) if !resident.provisional => Triage::Project,
                Ok(None) => Triage::Ignore("it names no resident"),
                // What cannot be read is parked by `act`.
                Ok(Some(_)) | Err(_) => Triage::Act,
            }
        } else {
            match wire::hospital_fact(fact) {
                Ok(None) => Triage::Ignore("it is for others"),
                Ok(Some(_)) | Err(_) => Triage::Act,
            }
        }
    }

    async fn act(&self, fact: &Fact) -> Result<Reaction, NotNow> {
        if fact.topic == topics::CALL.name {
            match wire::call_fact(fact) {
                Ok(Some(call)) => self.on_call(fact, call).await,
                Ok(None) => Ok(Reaction::Project),
                Err(why) => Ok(Reaction::Park(why.to_string())),
            }
        } else {
            match wire::hospital_fact(fact) {
                Ok(Some(report)) => self.on_hospital(fact, report).await,
                Ok(None) => Ok(Reaction::Project),
                Err(why) => Ok(Reaction::Park(why.to_string())),
            }
        }
    }

    fn claimed(&self, _fact: &Fact, holder: &ClaimHolder) -> Reaction {
        // Somebody else registered the number in the meantime: now it is known, and another decision follows.
        if holder.scope == RESIDENT_NHS { Reaction::Again } else { Reaction::Ignore("done before") }
    }
}

/// A call's provisional resident, with all that was said.
struct Provisional {
    id: ResidentId,
    home: Option<HomeId>,
    said: Said,
}

impl Policies {
    async fn on_call(&self, fact: &Fact, call: CallFact) -> Result<Reaction, NotNow> {
        let said = match self.said(fact).await? {
            Ok(said) => said,
            Err(why) => return Ok(Reaction::Park(why.to_string())),
        };
        match call {
            CallFact::Opened { home, resident } => self.on_provisional(fact, Provisional { id: resident.id, home: Some(home), said }).await,
            CallFact::Identified { resident, .. } if resident.provisional => {
                let before = self.before(fact).await?;
                let home = before.as_ref().map(|b| b.home);
                let said = said.or_before(before.map(|b| b.said).unwrap_or_default());
                self.on_provisional(fact, Provisional { id: resident.id, home, said }).await
            }
            CallFact::Identified { resident, closed_provisional: Some(provisional) } => {
                let said = said.or_before(self.before(fact).await?.map(|b| b.said).unwrap_or_default());
                self.on_found(fact, resident.id, provisional, &said).await
            }
            CallFact::Identified { .. } => Ok(Reaction::Project),
        }
    }

    async fn on_provisional(&self, fact: &Fact, provisional: Provisional) -> Result<Reaction, NotNow> {
        let (is, registered) = self.streams.resolve(provisional.id).await?;
        if is != provisional.id || registered {
            return Ok(Reaction::Project);
        }
        let holder = match &provisional.said.nhs_number {
            NumberSaid::Number(number) => self.holder(number).await?,
            NumberSaid::Nothing | NumberSaid::Unusable => Holder::Nobody,
        };
        match identify(&provisional.said, &holder, provisional.home.is_some()) {
            Identification::Merge { into } => self.merge(fact, provisional.id, into, MergeCause::ProvisionalMatched).await,
            Identification::Register(person) => self.register(fact, &provisional, *person).await,
            Identification::Ask { kind, subject } => self.ask(fact, provisional.id, kind, subject).await,
        }
    }

    /// A resident was found by search: the provisional one was them all along, unless what was said speaks against it.
    async fn on_found(&self, fact: &Fact, found: ResidentId, provisional: ResidentId, said: &Said) -> Result<Reaction, NotNow> {
        let (is, registered) = self.streams.resolve(provisional).await?;
        let (into, known) = self.streams.resolve(found).await?;
        if is == into {
            return Ok(Reaction::Project);
        }
        let (survivor, _) = self.streams.resident(into).await?;
        let date_of_birth = survivor.registered().map_or(Personal::Withheld, |r| r.person.map(|p| p.date_of_birth.clone()));
        // Calls make edges from provisional ids only: one that has become somebody is a person's to decide.
        if registered || is != provisional || !known || said.disagrees_with(&date_of_birth) {
            return self.ask(fact, provisional, TaskKind::IdentityDisagrees, Some(into)).await;
        }
        self.merge(fact, provisional, into, MergeCause::FoundBySearch).await
    }

    async fn merge(&self, fact: &Fact, from: ResidentId, into: ResidentId, cause: MergeCause) -> Result<Reaction, NotNow> {
        let (survivor, survivor_version) = self.streams.resident(into).await?;
        let (other, other_version) = self.streams.resident(from).await?;
        let Ok(merged) = decide::merge(&survivor, Merge { from, into, cause, other: &other, other_is: from }) else {
            return self.ask(fact, from, TaskKind::IdentityDisagrees, Some(into)).await;
        };
        let (occurred, caused, now) = when(fact);
        let mut unit = Unit::default();
        unit.writes.extend(self.streams.write(into.into(), survivor_version, &merged, &occurred, &caused, now).await?);
        unit.writes.extend(self.streams.write(from.into(), other_version, &decide::let_go(&other), &occurred, &caused, now).await?);
        Ok(Reaction::Apply(Box::new(unit)))
    }

    async fn register(&self, fact: &Fact, provisional: &Provisional, person: Person) -> Result<Reaction, NotNow> {
        let Some(home) = provisional.home else { return Ok(Reaction::Project) };
        let (state, version) = self.streams.resident(provisional.id).await?;
        let number = person.nhs_number.clone();
        let (occurred, caused, now) = when(fact);
        let command = RegisterResident { home, person, practice: None, moved_in_on: None, source: RegistrationSource::Call };
        let Ok(events) = decide::register_resident(&state, command) else { return Ok(Reaction::Project) };
        let mut unit = Unit::default();
        if let Some(number) = &number {
            unit.claims.push(self.streams.number_claim(number, provisional.id, version + events.len() as u64).await?);
        }
        unit.writes.extend(self.streams.write(provisional.id.into(), version, &events, &occurred, &caused, now).await?);
        Ok(Reaction::Apply(Box::new(unit)))
    }

    /// A task on the provisional resident's own stream: it becomes the resident's, or its id an alias, and either way whoever
    /// follows the id finds it.
    async fn ask(&self, fact: &Fact, about: ResidentId, kind: TaskKind, subject: Option<ResidentId>) -> Result<Reaction, NotNow> {
        let (state, version) = self.streams.resident(about).await?;
        let (occurred, caused, now) = when(fact);
        let due = fact.envelope.recorded_at_us + kind.time_allowed_us();
        let events = decide::ask(&state, kind, subject, new_task(), due);
        let mut unit = Unit::default();
        unit.writes.extend(self.streams.write(about.into(), version, &events, &occurred, &caused, now).await?);
        Ok(Reaction::Apply(Box::new(unit)))
    }

    async fn on_hospital(&self, fact: &Fact, report: HospitalFact) -> Result<Reaction, NotNow> {
        let (occurred, caused, now) = when(fact);
        let recorded = fact.envelope.recorded_at_us;
        let (stream, version, events) = match report {
            HospitalFact::PatientsMerged { survivor, retired } => {
                let (into, _) = self.streams.resolve(survivor).await?;
                let (from, _) = self.streams.resolve(retired).await?;
                let (state, version) = self.streams.resident(into).await?;
                let due = recorded + TaskKind::DecideMerge.time_allowed_us();
                match decide::propose_merge(&state, from, into, new_task(), due) {
                    Ok(events) => (into, version, events),
                    Err(_) => return Ok(Reaction::Ignore("one person already, or nobody of the directory")),
                }
            }
            HospitalFact::DeathReported { resident, on, at_us } => {
                let (id, _) = self.streams.resolve(resident).await?;
                let (state, version) = self.streams.resident(id).await?;
                let due = recorded + TaskKind::ConfirmDeath.time_allowed_us();
                (id, version, decide::report_death(&state, on.or_else(|| at_us.and_then(|at| london_date(at).ok())), at_us, new_task(), due))
            }
        };
        let mut unit = Unit::default();
        unit.writes.extend(self.streams.write(stream.into(), version, &events, &occurred, &caused, now).await?);
        Ok(Reaction::Apply(Box::new(unit)))
    }

    async fn holder(&self, number: &hearthline_nhs::NhsNumber) -> Result<Holder, NotNow> {
        let Some(id) = self.streams.holder_of(number).await? else { return Ok(Holder::Nobody) };
        let (state, _): (Resident, _) = self.streams.resident(id).await?;
        let date_of_birth = state.registered().map_or(Personal::Withheld, |r| r.person.map(|p| p.date_of_birth.clone()));
        Ok(Holder::Resident { id, date_of_birth })
    }

    async fn said(&self, fact: &Fact) -> Result<Result<Said, wire::Unreadable>, NotNow> {
        let personal = self.streams.kernel.composer.personal(fact).await?;
        Ok(wire::said(fact, personal.as_ref()))
    }

    /// What earlier facts of the same call said, opened again from the bytes received.
    async fn before(&self, fact: &Fact) -> Result<Option<Before>, NotNow> {
        let rows = self.streams.kernel.store.query("select home, said from calls where id = $1", &[fact.stream().into()]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let home = HomeId::from_bytes(row.id(0));
        let Some(payload) = row.opt_blob(1).cloned() else { return Ok(Some(Before { home, said: Said::default() })) };
        let parts = hearthline_contracts::wire::split(&payload).map_err(|_| NotNow::Other("a kept call event does not decode".to_owned()))?;
        let earlier = Fact { topic: topics::CALL.name, envelope: parts.envelope, sealed: parts.sealed, payload };
        Ok(Some(Before { home, said: self.said(&earlier).await?.map_err(unreadable)? }))
    }
}

struct Before {
    home: HomeId,
    said: Said,
}

/// When and why a reaction to a fact happens.
fn when(fact: &Fact) -> (Occurred, Cause, i64) {
    let occurred = Occurred { late_entry: fact.envelope.late_entry, ..Occurred::at(fact.envelope.occurred_at_us) };
    let correlation = fact.envelope.correlation_id.as_ref().try_into().unwrap_or(*fact.stream().bytes());
    (occurred, Cause { actor: Actor::SYSTEM, causation: Some(fact.event_id()), correlation, traceparent: trace::current() }, now_us())
}

fn new_task() -> TaskId {
    TaskId::from_bytes(hearthline_runtime::service::fresh_id())
}

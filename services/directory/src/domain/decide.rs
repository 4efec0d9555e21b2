//! Commands and what follows from them, or why nothing may.

use super::events::{Closure, Event, MergeCause, MoveOutReason, RegistrationSource};
use super::rejection::Rejection;
use super::state::{Home, Listed, Registered, Resident, Status, Task};
use super::{Alignment, HomeDetails, Person, PharmacyDetails, PracticeDetails, SecureEmail, TaskKind};
use hearthline_nhs::{HomeId, OdsCode, Personal, ResidentId, TaskId};
use jiff::civil::Date;

/// One row of the register of homes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisterHome {
    pub id: HomeId,
    pub details: HomeDetails,
    /// µs UTC; none leaves what is known.
    pub live_from_us: Option<i64>,
    pub email: Option<SecureEmail>,
    pub practice: Option<Alignment>,
    /// The day of the loading, from which an alignment counts.
    pub today: Date,
}

/// Nothing where the register says what is known already.
pub fn register_home(state: &Home, command: RegisterHome) -> Result<Vec<Event>, Rejection> {
    let mut events = Vec::new();
    if state.details.as_ref() != Some(&command.details) {
        events.push(Event::HomeRegistered(command.details));
    }
    if let Some(live_from_us) = command.live_from_us.filter(|at| state.live_from_us != Some(*at)) {
        if state.live_from_us.is_some_and(|known| known < live_from_us) {
            // Calls may have been taken since: they must not turn into calls of a home that was not live.
            return Err(Rejection::LiveAlready);
        }
        events.push(Event::HomeWentLive { live_from_us });
    }
    if let Some(email) = command.email.filter(|email| state.email.as_ref() != Some(email)) {
        events.push(Event::SecureEmailVerified(email));
    }
    if let Some(alignment) = command.practice.filter(|practice| state.practice.as_ref() != Some(practice)) {
        events.push(Event::GpAligned { home: command.id, alignment, from: command.today });
    }
    Ok(events)
}

pub fn list_practice(state: &Listed, details: PracticeDetails) -> Vec<Event> {
    if state.practice.as_ref() == Some(&details) { Vec::new() } else { vec![Event::PracticeListed(details)] }
}

pub fn list_pharmacy(state: &Listed, details: PharmacyDetails) -> Vec<Event> {
    if state.pharmacy.as_ref() == Some(&details) { Vec::new() } else { vec![Event::PharmacyListed(details)] }
}

/// A person of whom enough is known.
#[derive(Debug, Clone, PartialEq)]
pub struct RegisterResident {
    pub home: HomeId,
    pub person: Person,
    pub practice: Option<OdsCode>,
    pub moved_in_on: Option<Date>,
    pub source: RegistrationSource,
}

pub fn register_resident(state: &Resident, command: RegisterResident) -> Result<Vec<Event>, Rejection> {
    if state.registered().is_some() {
        return Err(Rejection::AlreadyRegistered);
    }
    let mut events = vec![
        Event::ResidentRegistered {
            home: Some(command.home),
            source: command.source,
            practice: command.practice,
            has_nhs_number: command.person.nhs_number.is_some(),
            person: Personal::of(command.person),
        },
        Event::ResidentMovedIn { home: command.home, on: command.moved_in_on },
    ];
    events.extend(close(state, Closure::Overtaken, |task| matches!(task.kind, TaskKind::IdentifyResident | TaskKind::IdentityDisagrees)));
    Ok(events)
}

pub fn move_resident(state: &Resident, home: HomeId, on: Date) -> Result<Vec<Event>, Rejection> {
    let registered = living(state)?;
    if registered.home == Some(home) {
        return Err(Rejection::AlreadyThere);
    }
    let left = registered.home.map(|from| Event::ResidentMovedOut { home: from, on: Some(on), reason: MoveOutReason::OtherHome });
    Ok(left.into_iter().chain([Event::ResidentMovedIn { home, on: Some(on) }]).collect())
}

/// Who is merged, and what is known of them.
#[derive(Debug, Clone, Copy)]
pub struct Merge<'a> {
    pub from: ResidentId,
    pub into: ResidentId,
    pub cause: MergeCause,
    /// The other's own stream: a provisional resident has no person there.
    pub other: &'a Resident,
    /// What the other's id resolves to already.
    pub other_is: ResidentId,
}

/// On the survivor's stream.
pub fn merge(survivor: &Resident, command: Merge<'_>) -> Result<Vec<Event>, Rejection> {
    let Merge { from, into, cause, other, other_is } = command;
    if from == into {
        return Err(Rejection::SamePerson);
    }
    if other_is == into {
        return Err(Rejection::AlreadyMerged);
    }
    if other_is != from {
        return Err(Rejection::MergedElsewhere);
    }
    let survivor_person = survivor.registered().ok_or(Rejection::NotRegistered)?;
    let dates = (survivor_person.person.known(), other.registered().and_then(|o| o.person.known()));
    if let (Some(a), Some(b)) = dates
        && a.date_of_birth != b.date_of_birth
    {
        return Err(Rejection::DemographicsDisagree);
    }
    let mut events = vec![Event::ResidentsMerged { from, into, cause }];
    events.extend(close(survivor, Closure::Done, |task| task.subject == Some(from)));
    Ok(events)
}

/// On the stream of one whose id now means somebody else: nothing is left to do about it.
pub fn let_go(other: &Resident) -> Vec<Event> {
    close(other, Closure::Overtaken, |task| matches!(task.kind, TaskKind::IdentifyResident | TaskKind::IdentityDisagrees)).collect()
}

/// On the survivor's stream. Nothing where it is proposed already.
pub fn propose_merge(survivor: &Resident, from: ResidentId, into: ResidentId, task: TaskId, due_at_us: i64) -> Result<Vec<Event>, Rejection> {
    if from == into {
        return Err(Rejection::SamePerson);
    }
    survivor.registered().ok_or(Rejection::NotRegistered)?;
    if survivor.proposed.contains(&from) || survivor.aliases.contains(&from) {
        return Ok(Vec::new());
    }
    Ok(vec![
        Event::MergeProposed { from, into, cause: MergeCause::Hospital },
        Event::TaskOpened { id: task, kind: TaskKind::DecideMerge, due_at_us, subject: Some(from) },
    ])
}

/// On the survivor's stream.
pub fn decline_merge(survivor: &Resident, from: ResidentId, into: ResidentId) -> Result<Vec<Event>, Rejection> {
    if !survivor.proposed.contains(&from) {
        return Err(Rejection::NoMergeProposed);
    }
    let mut events = vec![Event::MergeDeclined { from, into }];
    events.extend(close(survivor, Closure::Done, |task| task.kind == TaskKind::DecideMerge && task.subject == Some(from)));
    Ok(events)
}

/// A hospital's word that somebody died: taken where it names the day, asked about where it does not. Nothing where it is known.
pub fn report_death(state: &Resident, on: Option<Date>, at_us: Option<i64>, task: TaskId, due_at_us: i64) -> Vec<Event> {
    match (&state.status, on) {
        (Status::Living(_), Some(on)) => {
            let mut events = vec![Event::ResidentDied { on, at_us }];
            events.extend(close(state, Closure::Overtaken, |task| task.kind == TaskKind::ConfirmDeath));
            events
        }
        (Status::Living(_), None) if !state.tasks.iter().any(|task| task.kind == TaskKind::ConfirmDeath) => {
            vec![Event::TaskOpened { id: task, kind: TaskKind::ConfirmDeath, due_at_us, subject: None }]
        }
        (Status::Living(_), None) | (Status::Died(_) | Status::Unregistered, _) => Vec::new(),
    }
}

/// Opens a task on the stream of a provisional resident. Nothing where one of its kind is open.
pub fn ask(state: &Resident, kind: TaskKind, subject: Option<ResidentId>, task: TaskId, due_at_us: i64) -> Vec<Event> {
    if state.tasks.iter().any(|open| open.kind == kind && open.subject == subject) {
        return Vec::new();
    }
    vec![Event::TaskOpened { id: task, kind, due_at_us, subject }]
}

fn living(state: &Resident) -> Result<&Registered, Rejection> {
    match &state.status {
        Status::Unregistered => Err(Rejection::NotRegistered),
        Status::Died(_) => Err(Rejection::ResidentDied),
        Status::Living(registered) => Ok(registered),
    }
}

fn close(state: &Resident, closure: Closure, concerns: impl Fn(&Task) -> bool) -> impl Iterator<Item = Event> {
    let closed: Vec<Task> = state.tasks.iter().copied().filter(|task| concerns(task)).collect();
    closed.into_iter().map(move |task| Event::TaskClosed { id: task.id, kind: task.kind, closure })
}

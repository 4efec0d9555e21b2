//! The decisions: what is known of a call and of its share in, what to do out.

use super::events::{Confirmation, Event, Kind, Parcel, Retraction, Source, Subject, Task, Withholding};
use super::share::Share;
use super::task;
use hearthline_nhs::{CallId, DeliveryId, HomeId, ResidentId, TaskId};

/// All that is known of a call here, at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    pub call: CallId,
    pub home: HomeId,
    /// The resident as resolved now.
    pub subject: Subject,
    /// The resident that the call names, resolved from what the newest document was about.
    pub former_subject: Option<ResidentId>,
    pub is_closed: bool,
    pub is_voided: bool,
    pub is_consent_refused: bool,
    /// The consultation that the closing names; none where the outcome was to follow.
    pub named_consultation: Option<Source>,
    pub named_prescriptions: Vec<Source>,
    /// The consultation as it stands here: its stream at its newest version, and the version of its newest content.
    pub consultation: Option<Source>,
    pub content_version: u64,
    pub is_outcome_withdrawn: bool,
    /// An outcome stands.
    pub has_outcome: bool,
    /// The newest version seen of each prescription of the call.
    pub prescriptions: Vec<Source>,
    /// Those of them that the prescription service accepted.
    pub accepted: Vec<Source>,
    /// The home has a secure address verified within the last twelve months.
    pub has_secure_email: bool,
}

/// Whether a version goes to the home as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Email {
    Send,
    /// There is no verified address: a person brings it.
    NoAddress,
    /// The home has this content; only who the resident is became clearer.
    NotAgain,
}

/// A version of the document to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Composition {
    /// From 1.
    pub version: u32,
    pub subject: Subject,
    pub consultation: Source,
    pub prescriptions: Vec<Source>,
    pub email: Email,
    /// What the version before was about was somebody else: that document is wrong, not just old.
    pub retracts: Option<Retraction>,
}

/// What a look at a share comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It stands as it should.
    Nothing,
    /// Something that the closing names is not here yet.
    Wait,
    /// Nothing may be shared; what was made no longer stands.
    Withhold {
        why: Withholding,
        retracts: Option<Retraction>,
    },
    Compose(Composition),
}

/// Looks at a share.
pub fn review(share: &Share, facts: &Facts) -> Decision {
    let withhold = if facts.is_voided {
        Some((Withholding::CallVoided, Retraction::CallVoided))
    } else if facts.is_consent_refused && (facts.is_closed || share.standing().is_some()) {
        Some((Withholding::ConsentRefused, Retraction::ConsentRefused))
    } else if facts.is_outcome_withdrawn && facts.is_closed {
        Some((Withholding::ClinicianDecision, Retraction::OutcomeWithdrawn))
    } else {
        None
    };
    if let Some((why, retraction)) = withhold {
        let retracts = share.standing().is_some().then_some(retraction);
        // A call that was voided before anything was made needs no word about it.
        let silent = why == Withholding::CallVoided && share.version == 0 && !facts.is_closed;
        return if silent || (share.withheld == Some(why) && retracts.is_none()) { Decision::Nothing } else { Decision::Withhold { why, retracts } };
    }
    if !facts.is_closed {
        return Decision::Nothing;
    }
    let Some(consultation) = facts.consultation.filter(|_| is_complete(facts)) else { return Decision::Wait };
    match share.newest() {
        None => Decision::Compose(composition(facts, consultation, 1, None, email(facts))),
        Some(newest) => {
            let before = &newest.composed;
            let someone_else = facts.former_subject.is_some_and(|former| former != facts.subject.resident);
            let content = facts.content_version > before.consultation.version
                || before.consultation.stream != consultation.stream
                || !same_streams(&before.prescriptions, &facts.accepted);
            let clearer = before.subject != facts.subject;
            if !content && !clearer && !someone_else && !newest.is_retracted {
                return Decision::Nothing;
            }
            let again = content || someone_else || newest.is_retracted;
            let retracts = (someone_else && !newest.is_retracted).then_some(Retraction::WrongPerson);
            let email = if again { email(facts) } else { Email::NotAgain };
            Decision::Compose(composition(facts, consultation, before.version + 1, retracts, email))
        }
    }
}

fn is_complete(facts: &Facts) -> bool {
    let reached = |named: &Source, here: Option<&Source>| here.is_some_and(|h| h.version >= named.version);
    let consultation = facts.has_outcome
        && match &facts.named_consultation {
            Some(named) => facts.consultation.as_ref().is_some_and(|here| here.stream == named.stream && here.version >= named.version),
            None => true,
        };
    consultation && facts.named_prescriptions.iter().all(|named| reached(named, facts.prescriptions.iter().find(|p| p.stream == named.stream)))
}

fn same_streams(a: &[Source], b: &[Source]) -> bool {
    a.len() == b.len() && a.iter().all(|x| b.iter().any(|y| y.stream == x.stream))
}

fn email(facts: &Facts) -> Email {
    if facts.has_secure_email { Email::Send } else { Email::NoAddress }
}

fn composition(facts: &Facts, consultation: Source, version: u32, retracts: Option<Retraction>, email: Email) -> Composition {
    Composition { version, subject: facts.subject, consultation, prescriptions: facts.accepted.clone(), email, retracts }
}

/// A minute after the closing: a task, where what it names is still missing and no outcome is merely to follow.
pub fn sources_too_late(share: &Share, facts: &Facts, new_task: TaskId, now: i64) -> Vec<Event> {
    let follows = facts.named_consultation.is_none() && facts.named_prescriptions.is_empty();
    if review(share, facts) != Decision::Wait || follows || has_task(share, task::SOURCES_MISSING) {
        return Vec::new();
    }
    vec![open(task::SOURCES_MISSING, new_task, [0; 16], now)]
}

/// Fifteen minutes after composing: a task, where the resident is still provisional.
pub fn provisional_too_long(share: &Share, facts: &Facts, new_task: TaskId, now: i64) -> Vec<Event> {
    let waits = share.withheld.is_none() && share.standing().is_some_and(|d| !d.is_uploaded);
    if !waits || !facts.subject.is_provisional || has_task(share, task::RESIDENT_PROVISIONAL) {
        return Vec::new();
    }
    vec![open(task::RESIDENT_PROVISIONAL, new_task, [0; 16], now)]
}

fn has_task(share: &Share, kind: &str) -> bool {
    share.open_tasks.iter().any(|t| t.kind == kind)
}

/// How long somebody has for a task, µs.
const LOOK_WITHIN_US: i64 = 60 * 60 * 1_000_000;

/// Opens a task about `subject`, due within the hour.
pub fn open(kind: &str, id: TaskId, subject: [u8; 16], now: i64) -> Event {
    Event::TaskOpened(Task { id, kind: kind.to_owned(), due_at: now + LOOK_WITHIN_US, subject })
}

/// Closes the open tasks of these kinds: their reason went away.
pub fn close(share: &Share, kinds: &[&str]) -> Vec<Event> {
    let matching = share.open_tasks.iter().filter(|t| kinds.contains(&t.kind.as_str()));
    matching.map(|t| Event::TaskClosed { id: t.id, kind: t.kind.clone(), overtaken: true }).collect()
}

/// How a delivery stands now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deliverable {
    Delivered {
        reference: String,
        how: Confirmation,
    },
    Failed {
        code: String,
    },
    /// A newer version, or a word of the call, made it needless.
    Overtaken,
    /// It may have arrived.
    Unconfirmed,
    /// It goes out again.
    Again,
}

/// A delivery: which way out, what it carries, and where to.
#[derive(Debug, Clone, Copy)]
pub struct Errand<'a> {
    pub kind: Kind,
    pub delivery: DeliveryId,
    pub parcel: Parcel,
    pub destination: &'a str,
}

/// What the end of a delivery brings with it. `new_task` is the id of a task if one is opened.
pub fn delivered(share: &Share, errand: Errand<'_>, state: Deliverable, new_task: TaskId, now: i64) -> Vec<Event> {
    let Errand { kind, delivery, parcel, destination } = errand;
    let about = |t: &&Task| t.subject == *delivery.bytes();
    let closing = |overtaken: bool| {
        share.open_tasks.iter().filter(about).map(move |t| Event::TaskClosed { id: t.id, kind: t.kind.clone(), overtaken }).collect::<Vec<_>>()
    };
    match (state, kind) {
        (Deliverable::Delivered { reference, how }, Kind::RecordUpload) => {
            let event = Event::Uploaded { delivery, parcel, destination: destination.to_owned(), location: reference, how };
            std::iter::once(event).chain(closing(how != Confirmation::Person)).chain(close(share, &[task::RESIDENT_PROVISIONAL])).collect()
        }
        (Deliverable::Delivered { how, .. }, Kind::CarePlanEmail) => {
            std::iter::once(Event::Emailed { delivery, parcel, how }).chain(closing(how != Confirmation::Person)).collect()
        }
        (Deliverable::Failed { code }, Kind::RecordUpload) => {
            let event = Event::UploadFailed { delivery, parcel, destination: destination.to_owned(), code };
            std::iter::once(event).chain(closing(true)).chain([open(task::UPLOAD_FAILED, new_task, *delivery.bytes(), now)]).collect()
        }
        (Deliverable::Failed { code }, Kind::CarePlanEmail) => {
            let event = Event::EmailFailed { delivery, parcel, code };
            std::iter::once(event).chain(closing(true)).chain([open(task::EMAIL_FAILED, new_task, *delivery.bytes(), now)]).collect()
        }
        (Deliverable::Overtaken, _) => closing(true),
        // The shared record can be asked by itself; a mail server cannot.
        (Deliverable::Unconfirmed, Kind::RecordUpload) => Vec::new(),
        (Deliverable::Unconfirmed, Kind::CarePlanEmail) if share.open_tasks.iter().any(|t| about(&t)) => Vec::new(),
        (Deliverable::Unconfirmed, Kind::CarePlanEmail) => vec![open(task::EMAIL_UNCONFIRMED, new_task, *delivery.bytes(), now)],
        (Deliverable::Again, _) => closing(false),
    }
}

/// Whether a delivery may go out, judged at send time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ruling {
    Send,
    Wait(&'static str),
    Drop(&'static str),
}

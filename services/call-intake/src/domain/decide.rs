//! The rules of a call: what a command comes to. Nothing here reads a clock, a random number or a table.

use super::events::*;
use super::rejection::Rejection;
use super::state::Call;
use super::words::*;
use hearthline_nhs::{CallId, HomeId, Observations, OpeningHours, Personal, ResidentId, StreamId, TaskId, london_local};

/// How long a clinician has to record an outcome that was to follow, from the closing as recorded: 24 hours in µs.
pub const OUTCOME_FOLLOWS_WITHIN_US: i64 = 24 * 3_600 * 1_000_000;

/// A home as the directory has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Home {
    pub id: HomeId,
    /// µs UTC; none: not live yet.
    pub live_from: Option<i64>,
}

impl Home {
    /// Whether it may call at a time (µs UTC).
    pub fn is_live(&self, at_us: i64) -> bool {
        self.live_from.is_some_and(|from| from <= at_us)
    }
}

/// Opens a call with what the home said at once.
#[derive(Debug, Clone)]
pub struct OpenCall {
    pub opened: Opened,
    pub observed: Option<Observe>,
    pub counterfactual: Option<Alternative>,
    pub consent: Option<ConsentBasis>,
}

/// Observations as the home gives them.
#[derive(Debug, Clone, Copy)]
pub struct Observe {
    pub observations: Observations,
    pub tool: ObservationTool,
    pub supplied_total: Option<u8>,
    pub usual_news2: Option<u8>,
}

impl Observe {
    fn observed(self) -> CallEvent {
        let score = Score::of(&self.observations);
        // A total stated for incomplete observations cannot be right: what is missing was taken as normal.
        let supplied_total_wrong = self.supplied_total.is_some() && self.supplied_total != score.total;
        CallEvent::ObservationsRecorded(Box::new(Observed {
            observations: self.observations,
            score,
            tool: self.tool,
            supplied_total: self.supplied_total,
            supplied_total_wrong,
            usual_news2: self.usual_news2,
        }))
    }
}

/// A home that is live may call; outside the hub's hours the attempt is recorded and nothing else. Both are judged at the
/// time of the call, `at_us`.
pub fn open(home: Option<Home>, hours: &OpeningHours, at_us: i64, command: OpenCall) -> Result<Vec<CallEvent>, Rejection> {
    let home = home.ok_or(Rejection::HomeUnknown)?;
    if !home.is_live(at_us) {
        return Err(Rejection::HomeNotLive);
    }
    let OpenCall { opened, observed, counterfactual, consent } = command;
    if !london_local(at_us).is_ok_and(|at| hours.is_open(at)) {
        let (home, channel, reason) = (opened.home, opened.channel, opened.reason);
        return Ok(vec![CallEvent::AttemptedOutsideHours { home, channel, reason }]);
    }
    let mut events = vec![CallEvent::Opened(opened)];
    events.extend(observed.map(Observe::observed));
    events.extend(
        counterfactual
            .map(|alternative| CallEvent::CounterfactualRecorded(Counterfactual { alternative, escort_expected: false, escort_minutes: None, text: None })),
    );
    events.extend(consent.map(|basis| CallEvent::ConsentRecorded(Consent { basis, note: None })));
    Ok(events)
}

/// A person takes the call.
pub fn answer(call: &Call) -> Result<Vec<CallEvent>, Rejection> {
    going_on(call)?;
    if call.answered {
        return Err(Rejection::AlreadyAnswered);
    }
    Ok(vec![CallEvent::Answered])
}

pub fn record_observations(call: &Call, observe: Observe) -> Result<Vec<CallEvent>, Rejection> {
    going_on(call)?;
    Ok(vec![observe.observed()])
}

/// Triages a call, or triages it again with a reason.
#[derive(Debug, Clone)]
pub struct Triage {
    pub urgency: Urgency,
    /// None: the reason stays.
    pub reason: Option<CallReason>,
    pub secondary_reasons: Vec<CallReason>,
    pub referral_source: ReferralSource,
    pub retriage: Option<RetriageReason>,
    pub note: Option<Personal<String>>,
}

pub fn triage(call: &Call, command: Triage) -> Result<Vec<CallEvent>, Rejection> {
    going_on(call)?;
    match (call.status, command.retriage) {
        (Status::Open, Some(_)) => return Err(Rejection::NotTriaged),
        (Status::Open, None) | (_, Some(_)) => {}
        (_, None) => return Err(Rejection::AlreadyTriaged),
    }
    Ok(vec![CallEvent::Triaged(Triaged {
        urgency: command.urgency,
        reason: command.reason.unwrap_or(call.reason),
        secondary_reasons: command.secondary_reasons,
        referral_source: command.referral_source,
        retriage: command.retriage,
        note: command.note,
    })])
}

/// A clinician joins, or a further one after an escalation.
pub fn join(call: &Call, role: ClinicianRole, grade: ClinicianGrade) -> Result<Vec<CallEvent>, Rejection> {
    going_on(call)?;
    if call.status == Status::Open {
        return Err(Rejection::NotTriaged);
    }
    let after_escalation = call.status == Status::WithClinician;
    Ok(vec![CallEvent::ClinicianJoined(Joined { role, grade, after_escalation })])
}

pub fn record_counterfactual(call: &Call, counterfactual: Counterfactual) -> Result<Vec<CallEvent>, Rejection> {
    going_on(call)?;
    Ok(vec![CallEvent::CounterfactualRecorded(counterfactual)])
}

pub fn record_consent(call: &Call, consent: Consent) -> Result<Vec<CallEvent>, Rejection> {
    going_on(call)?;
    Ok(vec![CallEvent::ConsentRecorded(consent)])
}

/// Says who the call is about.
#[derive(Debug, Clone)]
pub enum Identify {
    /// Found in the directory.
    Known(ResidentId),
    /// Described; `fresh` is the id to take where the call does not have a provisional one.
    Described { fresh: ResidentId, said: Option<Personal<Demographics>> },
}

/// A provisional reference is closed by a known one or completed; an identified one is replaced, which re-subjects the call
/// and never merges two people.
pub fn identify(call: &Call, command: Identify) -> Result<Vec<CallEvent>, Rejection> {
    going_on(call)?;
    let before = call.resident;
    let was_provisional = before.status == IdentityStatus::Provisional;
    let identified = match command {
        Identify::Known(id) if id == before.id && !was_provisional => return Err(Rejection::AlreadyIdentified),
        Identify::Known(id) => Identified {
            resident: ResidentRef { id, status: IdentityStatus::Identified },
            // The directory may have registered the person under the provisional id itself.
            closed_provisional: (was_provisional && before.id != id).then_some(before.id),
            replaced: (!was_provisional).then_some(before.id),
            said: None,
        },
        Identify::Described { fresh, said } => Identified {
            resident: ResidentRef { id: if was_provisional { before.id } else { fresh }, status: IdentityStatus::Provisional },
            closed_provisional: None,
            replaced: (!was_provisional).then_some(before.id),
            said,
        },
    };
    Ok(vec![CallEvent::ResidentIdentified(identified)])
}

/// What is known here of a stream that the closing names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    pub stream: StreamId,
    pub call: CallId,
}

/// Closes a call.
#[derive(Debug, Clone)]
pub struct Close {
    pub call: CallId,
    pub consultation: Option<StreamVersion>,
    pub prescriptions: Vec<StreamVersion>,
    pub outcome_to_follow: Option<OutcomeToFollow>,
    pub corrected_reason: Option<CallReason>,
}

/// A clinician's call is closed with the consultation that was seen, or with the reason why its outcome is to follow. `seen` holds
/// the streams named, which the caller has waited for.
pub fn close(call: &Call, command: Close, seen: &[Seen]) -> Result<Vec<CallEvent>, Rejection> {
    going_on(call)?;
    if call.status != Status::WithClinician {
        return Err(Rejection::NotWithClinician);
    }
    let of_this_call = |named: &StreamVersion| seen.iter().any(|s| s.stream == named.stream && s.call == command.call);
    let outcome = match (command.consultation, command.outcome_to_follow) {
        (Some(consultation), _) if !of_this_call(&consultation) => return Err(Rejection::ConsultationOfAnotherCall),
        (Some(consultation), _) => Outcome::Consultation(consultation),
        (None, Some(reason)) => Outcome::ToFollow(reason),
        (None, None) => return Err(Rejection::OutcomeMissing),
    };
    if !command.prescriptions.iter().all(of_this_call) {
        return Err(Rejection::PrescriptionOfAnotherCall);
    }
    Ok(vec![CallEvent::Closed(Closed { outcome, prescriptions: command.prescriptions, corrected_reason: command.corrected_reason })])
}

/// The caller gave up before a person answered.
pub fn abandon(call: &Call, waited_seconds: u32) -> Result<Vec<CallEvent>, Rejection> {
    going_on(call)?;
    if call.answered {
        return Err(Rejection::AlreadyAnswered);
    }
    Ok(vec![CallEvent::Abandoned { waited_seconds }])
}

/// The call should never have been recorded; also after it was closed.
pub fn void(id: CallId, call: &Call, voided: Voided) -> Result<Vec<CallEvent>, Rejection> {
    if call.status == Status::Voided {
        return Err(Rejection::CallVoided);
    }
    let names_another = voided.duplicate_of.is_some();
    if voided.duplicate_of == Some(id) || names_another != (voided.reason == VoidReason::Duplicate) {
        return Err(Rejection::NotADuplicate);
    }
    let mut events = vec![CallEvent::Voided(voided)];
    events.extend(overtaken(call));
    Ok(events)
}

/// What time or an arriving outcome makes of a call that was closed with its outcome to follow: a task when none has come,
/// its end when one has. `fresh` is the id for a new task.
pub fn follow_up(call: &Call, outcome_here: bool, fresh: TaskId, now_us: i64) -> Vec<CallEvent> {
    let awaited = call.status == Status::Closed && matches!(call.closed_with, Some(Outcome::ToFollow(_)));
    match (outcome_here, call.outcome_task) {
        (true, Some(task)) => vec![CallEvent::TaskClosed { task, kind: TaskKind::OutcomeMissing, closure: Closure::Done }],
        (false, None) if awaited => vec![CallEvent::TaskOpened(Task { id: fresh, kind: TaskKind::OutcomeMissing, due_at: now_us })],
        (true, None) | (false, _) => Vec::new(),
    }
}

fn overtaken(call: &Call) -> Option<CallEvent> {
    call.outcome_task.map(|task| CallEvent::TaskClosed { task, kind: TaskKind::OutcomeMissing, closure: Closure::Overtaken })
}

/// Refuses what comes after the end of a call.
fn going_on(call: &Call) -> Result<(), Rejection> {
    match call.status {
        Status::Open | Status::Triaged | Status::WithClinician => Ok(()),
        Status::Closed => Err(Rejection::CallClosed),
        Status::Abandoned => Err(Rejection::CallAbandoned),
        Status::Voided => Err(Rejection::CallVoided),
    }
}

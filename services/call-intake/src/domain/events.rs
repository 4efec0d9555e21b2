//! What can have happened in a call.

use super::words::*;
use hearthline_nhs::{CallId, DateOfBirth, HomeId, News2, NhsNumber, Observations, Parameter, Personal, ResidentId, Risk, StreamId, TaskId, score};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// A fact on a call's stream. Personal parts are `None` where nothing personal was said.
#[derive(Debug, Clone, PartialEq)]
pub enum CallEvent {
    Opened(Opened),
    Answered,
    ObservationsRecorded(Box<Observed>),
    Triaged(Triaged),
    ClinicianJoined(Joined),
    CounterfactualRecorded(Counterfactual),
    ConsentRecorded(Consent),
    ResidentIdentified(Identified),
    Closed(Closed),
    /// On a stream of its own: the home called while the hub was shut.
    AttemptedOutsideHours {
        home: HomeId,
        channel: Channel,
        reason: CallReason,
    },
    Abandoned {
        waited_seconds: u32,
    },
    Voided(Voided),
    TaskOpened(Task),
    TaskClosed {
        task: TaskId,
        kind: TaskKind,
        closure: Closure,
    },
    /// The key of the call's personal data is gone for good.
    PersonalDataDestroyed,
}

/// A resident by random id, and whether the directory knows whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResidentRef {
    pub id: ResidentId,
    pub status: IdentityStatus,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Opened {
    pub home: HomeId,
    pub channel: Channel,
    pub reason: CallReason,
    pub secondary_reasons: Vec<CallReason>,
    pub resident: ResidentRef,
    /// The home used RESTORE2 before it called.
    pub restore2_used: bool,
    pub said: Option<Personal<OpeningWords>>,
}

/// What the caller said at opening.
#[derive(Clone, PartialEq, Eq, Default, Zeroize, ZeroizeOnDrop)]
pub struct OpeningWords {
    pub reason_text: String,
    pub caller_name: String,
    /// Of a provisional resident.
    pub resident: Option<Demographics>,
}

/// Who a person is, as far as the caller said. Every part may be missing.
#[derive(Clone, PartialEq, Eq, Default, Zeroize, ZeroizeOnDrop)]
pub struct Demographics {
    pub family_name: String,
    pub given_names: Vec<String>,
    pub date_of_birth: Option<DateOfBirth>,
    pub nhs_number: Option<NhsNumber>,
}

impl Demographics {
    /// Nothing was said.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// One set of observations with the score made of it here; a total that came with it is compared, never used.
#[derive(Debug, Clone, PartialEq)]
pub struct Observed {
    pub observations: Observations,
    pub score: Score,
    pub tool: ObservationTool,
    /// The total that the home stated.
    pub supplied_total: Option<u8>,
    pub supplied_total_wrong: bool,
    /// The resident's usual NEWS2, as the home knows it.
    pub usual_news2: Option<u8>,
}

/// A NEWS2 as it was recorded (RCP 2017). Whole: `total`; with parameters missing: `partial`, below which the total cannot lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Score {
    pub total: Option<u8>,
    pub partial: Option<u8>,
    /// 0 to 3 for each parameter that was scored, in the order of the chart.
    pub parts: [Option<u8>; 7],
    pub missing: Vec<Parameter>,
    pub risk: Risk,
}

impl Score {
    /// The score of these observations.
    pub fn of(observations: &Observations) -> Self {
        let news2 = score(observations);
        let (partial, parts, missing) = match &news2 {
            News2::Complete { parts, .. } => (None, *parts, Vec::new()),
            News2::Partial { partial, parts, missing } => (Some(*partial), *parts, missing.clone()),
        };
        Score { total: news2.total(), partial, parts: Parameter::ALL.map(|parameter| parts.get(parameter)), missing, risk: news2.risk_at_least() }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Triaged {
    pub urgency: Urgency,
    /// The main reason as understood now.
    pub reason: CallReason,
    pub secondary_reasons: Vec<CallReason>,
    pub referral_source: ReferralSource,
    /// Why again, where the call was triaged before.
    pub retriage: Option<RetriageReason>,
    pub note: Option<Personal<String>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Joined {
    pub role: ClinicianRole,
    pub grade: ClinicianGrade,
    /// Another clinician had joined before.
    pub after_escalation: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Counterfactual {
    pub alternative: Alternative,
    /// Staff of the home would have gone along, and for how long.
    pub escort_expected: bool,
    pub escort_minutes: Option<u32>,
    pub text: Option<Personal<String>>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Consent {
    pub basis: ConsentBasis,
    pub note: Option<Personal<String>>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Identified {
    pub resident: ResidentRef,
    /// The provisional id that this one closes.
    pub closed_provisional: Option<ResidentId>,
    /// The resident whom the call named before by mistake. Never a merge of people.
    pub replaced: Option<ResidentId>,
    /// What the caller said, where the reference stays or becomes provisional.
    pub said: Option<Personal<Demographics>>,
}

/// A version of another context's stream that the clinician saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamVersion {
    pub stream: StreamId,
    pub version: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    pub outcome: Outcome,
    pub prescriptions: Vec<StreamVersion>,
    /// The main reason where it was corrected at closing.
    pub corrected_reason: Option<CallReason>,
}

/// With what a call is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Consultation(StreamVersion),
    ToFollow(OutcomeToFollow),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Voided {
    pub reason: VoidReason,
    /// The call that stands, where this one is a duplicate.
    pub duplicate_of: Option<CallId>,
    pub note: Option<Personal<String>>,
}

hearthline_nhs::words! {
    /// What a person is asked to do about a call.
    pub enum TaskKind {
        /// A call was closed with its outcome to follow, and none followed.
        OutcomeMissing = "outcome_missing",
    }

    /// How a task ended.
    pub enum Closure { Done = "done", Overtaken = "overtaken", Dismissed = "dismissed" }
}

/// A task for a clinician of the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Task {
    pub id: TaskId,
    pub kind: TaskKind,
    /// µs UTC.
    pub due_at: i64,
}

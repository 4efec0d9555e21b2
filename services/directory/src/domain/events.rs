//! What happened, in the directory's own types.

use super::{Alignment, HomeDetails, Person, PharmacyDetails, PracticeDetails, SecureEmail, TaskKind};
use hearthline_nhs::{HomeId, OdsCode, Personal, ResidentId, TaskId};
use jiff::civil::Date;

/// How a resident came to be registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegistrationSource {
    Register,
    Person,
    Call,
}

/// Why a resident left a home.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MoveOutReason {
    OtherHome,
    OwnHome,
    OutOfArea,
    Died,
    Other,
}

/// What led to an alias edge, or to the proposal of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MergeCause {
    ProvisionalMatched,
    FoundBySearch,
    Hospital,
    Person,
}

/// How a task came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closure {
    Done,
    Overtaken,
    Dismissed,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    HomeRegistered(HomeDetails),
    HomeWentLive { live_from_us: i64 },
    SecureEmailVerified(SecureEmail),
    GpAligned { home: HomeId, alignment: Alignment, from: Date },
    PracticeListed(PracticeDetails),
    PharmacyListed(PharmacyDetails),
    ResidentRegistered { home: Option<HomeId>, source: RegistrationSource, practice: Option<OdsCode>, has_nhs_number: bool, person: Personal<Person> },
    ResidentMovedIn { home: HomeId, on: Option<Date> },
    ResidentMovedOut { home: HomeId, on: Option<Date>, reason: MoveOutReason },
    ResidentDied { on: Date, at_us: Option<i64> },
    ResidentsMerged { from: ResidentId, into: ResidentId, cause: MergeCause },
    MergeReversed { from: ResidentId, into: ResidentId },
    MergeProposed { from: ResidentId, into: ResidentId, cause: MergeCause },
    MergeDeclined { from: ResidentId, into: ResidentId },
    TaskOpened { id: TaskId, kind: TaskKind, due_at_us: i64, subject: Option<ResidentId> },
    TaskClosed { id: TaskId, kind: TaskKind, closure: Closure },
    PersonalDataDestroyed,
}

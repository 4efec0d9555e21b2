//! What the directory refuses, each named after the rule that refuses it.

/// A rule says no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    #[error("another resident has this NHS number")]
    IdentifierTaken,
    #[error("no home with this id is registered")]
    HomeUnknown,
    #[error("this resident is registered already")]
    AlreadyRegistered,
    #[error("nobody is registered under this id")]
    NotRegistered,
    #[error("this resident has died")]
    ResidentDied,
    #[error("a resident is not merged into themselves")]
    SamePerson,
    #[error("these two are one resident already")]
    AlreadyMerged,
    #[error("this resident is merged into another one already")]
    MergedElsewhere,
    #[error("the dates of birth of the two residents disagree")]
    DemographicsDisagree,
    #[error("nobody proposed to merge these two")]
    NoMergeProposed,
    #[error("the resident lives in this home already")]
    AlreadyThere,
    #[error("a home that is live stays live: the date cannot be taken back")]
    LiveAlready,
}

impl Rejection {
    /// The stable word for clients to match on.
    pub fn code(self) -> &'static str {
        match self {
            Rejection::IdentifierTaken => "identifier_taken",
            Rejection::HomeUnknown => "home_unknown",
            Rejection::AlreadyRegistered => "already_registered",
            Rejection::NotRegistered => "not_registered",
            Rejection::ResidentDied => "resident_died",
            Rejection::SamePerson => "same_person",
            Rejection::AlreadyMerged => "already_merged",
            Rejection::MergedElsewhere => "merged_elsewhere",
            Rejection::DemographicsDisagree => "demographics_disagree",
            Rejection::NoMergeProposed => "no_merge_proposed",
            Rejection::AlreadyThere => "already_there",
            Rejection::LiveAlready => "live_already",
        }
    }
}

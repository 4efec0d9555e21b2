//! Why a report changes nothing: dispositions that operators see, none of them an error of the sender.

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// What it speaks of has not been opened here: it may come later.
    #[error("its visit has not been opened here")]
    NotOpened,
    #[error("it says nothing new of the visit")]
    NothingNew,
    /// A42 or A45 between two numbers of one visit, or back along a chain of merges.
    #[error("a merge cycle: the two visits are one already")]
    OneVisit,
    /// A34, A40 or A47 whose identifier goes into one that went into it before.
    #[error("a merge cycle: the identifier that stays was merged into the one that goes")]
    MergeCycle,
    #[error("a merge of an identifier with itself")]
    MergeWithItself,
}

impl Rejection {
    /// As kept beside the message.
    pub fn why(self) -> &'static str {
        match self {
            Rejection::NotOpened => "its visit has not been opened here",
            Rejection::NothingNew => "it says nothing new of the visit",
            Rejection::OneVisit => "a merge cycle: the two visits are one already",
            Rejection::MergeCycle => "a merge cycle: the identifier that stays was merged into the one that goes",
            Rejection::MergeWithItself => "a merge of an identifier with itself",
        }
    }
}

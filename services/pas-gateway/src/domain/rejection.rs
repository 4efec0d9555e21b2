//! Why a report changes nothing: dispositions that operators see, none of them an error of the sender.

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// What it speaks of has not been opened here: it may come later.
    #[error("its visit has not been opened here")]
    NotOpened,
    #[error("it says nothing new of the visit")]
    NothingNew,
}

impl Rejection {
    /// As kept beside the message.
    pub fn why(self) -> &'static str {
        match self {
            Rejection::NotOpened => "its visit has not been opened here",
            Rejection::NothingNew => "it says nothing new of the visit",
        }
    }
}

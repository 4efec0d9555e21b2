//! What is peculiar about how a peer frames its messages, by name: for a counter, and for telling its engineer.

use super::Event;

/// A peculiarity of a byte stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Quirk {
    /// White space or zero bytes between frames.
    BlankBetweenFrames,
    /// Anything else between frames.
    NoiseBetweenFrames,
    /// A byte order mark before the start block.
    MarkBeforeFrame,
    /// A byte order mark after the start block.
    MarkInFrame,
    /// An end block without a start block before it.
    MissingStart,
    /// An end block without its carriage return.
    MissingTrailer,
    /// A start block and a message header inside a frame.
    StartedAgain,
    /// `0x1C` inside a message.
    EndByteInContent,
    /// `0x0B` inside a message.
    StartByteInContent,
    /// A frame without content.
    EmptyFrame,
    /// A frame longer than the limit.
    Oversize,
    /// A frame that was begun and not ended.
    Unfinished,
}

impl Quirk {
    /// Every quirk, in the order of [`Quirk::index`].
    pub const ALL: [Self; 12] = [
        Self::BlankBetweenFrames,
        Self::NoiseBetweenFrames,
        Self::MarkBeforeFrame,
        Self::MarkInFrame,
        Self::MissingStart,
        Self::MissingTrailer,
        Self::StartedAgain,
        Self::EndByteInContent,
        Self::StartByteInContent,
        Self::EmptyFrame,
        Self::Oversize,
        Self::Unfinished,
    ];

    /// Its place in [`Quirk::ALL`], for an array of counters.
    pub fn index(self) -> usize {
        self as usize
    }

    /// A name that stays the same: a label of a counter.
    pub fn name(self) -> &'static str {
        match self {
            Self::BlankBetweenFrames => "blank_between_frames",
            Self::NoiseBetweenFrames => "noise_between_frames",
            Self::MarkBeforeFrame => "mark_before_frame",
            Self::MarkInFrame => "mark_in_frame",
            Self::MissingStart => "missing_start",
            Self::MissingTrailer => "missing_trailer",
            Self::StartedAgain => "started_again",
            Self::EndByteInContent => "end_byte_in_content",
            Self::StartByteInContent => "start_byte_in_content",
            Self::EmptyFrame => "empty_frame",
            Self::Oversize => "oversize",
            Self::Unfinished => "unfinished",
        }
    }

    /// What it means and what the sender's engineer can do about it.
    pub fn explanation(self) -> &'static str {
        match self {
            Self::BlankBetweenFrames => "Spaces, line ends or zero bytes stand between messages. They are skipped and do no harm.",
            Self::NoiseBetweenFrames => {
                "Bytes that belong to no message stand between messages. They are skipped; check that nothing but HL7 is sent to this port, and that the text before them really ended."
            }
            Self::MarkBeforeFrame => "A byte order mark (EF BB BF) is sent before the start block (0B). It is skipped; leave it out.",
            Self::MarkInFrame => "A byte order mark (EF BB BF) stands between the start block (0B) and MSH. It is skipped; leave it out.",
            Self::MissingStart => {
                "A message came without the start block (0B) before it and cannot be taken. Set the sender to MLLP framing: 0B, message, 1C 0D."
            }
            Self::MissingTrailer => {
                "The end block (1C) came without the carriage return (0D) behind it. The message is taken; set the sender to end each message with 1C 0D."
            }
            Self::StartedAgain => {
                "A message broke off and another began before its end block (1C 0D). The first is lost unless it is sent again; look at the sender's log for a failure while sending."
            }
            Self::EndByteInContent => "The byte 1C stands inside a message without 0D behind it. It is taken as content; escape it as \\X1C\\.",
            Self::StartByteInContent => {
                "The byte 0B stands inside a message, often a soft line break from a word processor. It is taken as content; escape it as \\X0B\\."
            }
            Self::EmptyFrame => "A frame without a message came, perhaps to keep the connection open.",
            Self::Oversize => {
                "A message is longer than the limit agreed for this peer. It was not kept; send it without the attached document, or agree a larger limit."
            }
            Self::Unfinished => "A message was begun and never ended: no end block (1C 0D) came. It was not taken; send it again.",
        }
    }
}

impl Event {
    /// The peculiarity this event stands for; none for a frame.
    pub fn quirk(&self) -> Option<Quirk> {
        match self {
            Self::Frame(_) => None,
            Self::Quirk(quirk) => Some(*quirk),
            Self::Noise { .. } => Some(Quirk::NoiseBetweenFrames),
            Self::MissingStart { .. } => Some(Quirk::MissingStart),
            Self::Oversize { .. } => Some(Quirk::Oversize),
            Self::Truncated { .. } => Some(Quirk::Unfinished),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_quirk_has_its_own_name_and_place() {
        let mut names: Vec<&str> = Quirk::ALL.iter().map(|quirk| quirk.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Quirk::ALL.len());
        assert!(Quirk::ALL.iter().enumerate().all(|(place, quirk)| quirk.index() == place));
        assert!(Quirk::ALL.iter().all(|quirk| quirk.explanation().ends_with('.')));
    }
}

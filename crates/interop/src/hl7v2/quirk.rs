//! What is odd about how a message is written, by name: none of it stops the message from being read.

/// A peculiarity of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MessageQuirk {
    /// MSH-18 and the bytes disagree, or MSH-18 is unknown.
    Mislabelled,
    /// Bytes that mean nothing in the declared character set.
    Substituted,
    /// UTF-8 with a byte order mark.
    ByteOrderMark,
    /// UTF-16 or UTF-32.
    WideCharacters,
    /// Segments end in LF.
    LineFeeds,
    /// Some segments end in CR, others in LF.
    MixedLineEnds,
    /// Free text goes over several lines.
    JoinedLines,
    /// Two segments on one line.
    SegmentsOnOneLine,
    /// `^~\\&`
    DoubledEscape,
    /// No escape character, or no subcomponent separator.
    FewDelimiters,
}

impl MessageQuirk {
    /// Every quirk.
    pub const ALL: [Self; 10] = [
        Self::Mislabelled,
        Self::Substituted,
        Self::ByteOrderMark,
        Self::WideCharacters,
        Self::LineFeeds,
        Self::MixedLineEnds,
        Self::JoinedLines,
        Self::SegmentsOnOneLine,
        Self::DoubledEscape,
        Self::FewDelimiters,
    ];

    pub(super) fn bit(self) -> u16 {
        1 << self as u16
    }

    /// A name that stays the same: a label of a counter.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mislabelled => "charset_mislabelled",
            Self::Substituted => "charset_substituted",
            Self::ByteOrderMark => "byte_order_mark",
            Self::WideCharacters => "wide_characters",
            Self::LineFeeds => "line_feeds",
            Self::MixedLineEnds => "mixed_line_ends",
            Self::JoinedLines => "joined_lines",
            Self::SegmentsOnOneLine => "segments_on_one_line",
            Self::DoubledEscape => "doubled_escape",
            Self::FewDelimiters => "few_delimiters",
        }
    }

    /// What it means and what the sender's engineer can do about it.
    pub fn explanation(self) -> &'static str {
        match self {
            Self::Mislabelled => "MSH-18 does not name the character set the text is really in, so accented letters may be read wrongly. Correct MSH-18.",
            Self::Substituted => "Some bytes mean nothing in the character set MSH-18 names and are shown as a replacement character. Correct MSH-18.",
            Self::ByteOrderMark => "The message begins with a byte order mark (EF BB BF). It is skipped; leave it out.",
            Self::WideCharacters => "The message is in UTF-16 or UTF-32. It is read; UTF-8 is what other receivers expect.",
            Self::LineFeeds => "Segments end in a line feed (0A) instead of a carriage return (0D). They are read.",
            Self::MixedLineEnds => "Some segments end in a carriage return (0D), others in a line feed (0A). They are read.",
            Self::JoinedLines => "Free text goes over several lines. The lines are joined to the segment before; escape line ends as \\.br\\ or \\X0D\\.",
            Self::SegmentsOnOneLine => "Two segments stand on one line with blanks between. They are read as two; end each with a carriage return (0D).",
            Self::DoubledEscape => "MSH-2 holds the escape character twice. It is read as one; correct MSH-2 to ^~\\&.",
            Self::FewDelimiters => {
                "MSH-2 declares no escape character or no subcomponent separator, so these characters cannot be sent as text. Correct MSH-2 to ^~\\&."
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_quirk_has_its_own_name_and_bit() {
        let mut names: Vec<&str> = MessageQuirk::ALL.iter().map(|quirk| quirk.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), MessageQuirk::ALL.len());
        assert_eq!(MessageQuirk::ALL.iter().fold(0, |bits, quirk| bits | quirk.bit()).count_ones() as usize, MessageQuirk::ALL.len());
    }
}

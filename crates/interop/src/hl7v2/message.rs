//! One message: its text, its delimiters and where its segments lie.

use std::borrow::Cow;

use memchr::memchr2_iter;

use super::part::{Field, Segment};
use super::separators::{SeparatorFault, Separators};

/// Why bytes are not a message that can be read. Says where, never what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Hl7Error {
    /// Nothing but white space.
    #[error("the message is empty")]
    Empty,
    /// The first segment is not MSH.
    #[error("the message does not begin with an MSH segment")]
    NoHeader,
    /// MSH-1 or MSH-2 cannot be used.
    #[error("MSH-1 or MSH-2 is unusable: {0}")]
    Separators(#[from] SeparatorFault),
    /// Two messages in one: reading on would lose the second. Files are split by [`super::batch`].
    #[error("a second MSH segment at line {line}")]
    SecondHeader {
        /// Counted from 1, blank lines included.
        line: usize,
    },
}

/// A message in memory. Segments are located in one pass; everything below them is found when asked for.
///
/// Lines end in CR, LF or both. A line that does not begin with a segment name belongs to the segment before it:
/// free text broken over lines inside OBX-5 is common. Unknown and misplaced segments are kept as they are.
pub struct Message<'a> {
    text: Cow<'a, str>,
    charset: &'static str,
    mislabelled: bool,
    separators: Separators,
    segments: Vec<(usize, usize)>,
    joined_lines: usize,
}

impl<'a> Message<'a> {
    /// Reads one message, without MLLP framing. A byte order mark and white space before MSH are skipped.
    pub fn parse(raw: &'a [u8]) -> Result<Self, Hl7Error> {
        let decoded = super::decode(raw);
        let text = decoded.text;
        let bytes = text.as_bytes();
        let start = bytes.iter().position(|b| !b.is_ascii_whitespace()).ok_or(Hl7Error::Empty)?;
        if !bytes[start..].starts_with(b"MSH") {
            return Err(Hl7Error::NoHeader);
        }
        let separators = Separators::from_header(&bytes[start..])?;
        let mut segments = Vec::with_capacity(16);
        let mut joined_lines = 0;
        let mut at = start;
        let line_ends = memchr2_iter(b'\r', b'\n', &bytes[start..]).map(|end| start + end);
        for (line, end) in line_ends.chain(std::iter::once(bytes.len())).enumerate() {
            let content = &bytes[at..end];
            if begins_segment(content, separators.field) {
                if !segments.is_empty() && content.starts_with(b"MSH") {
                    return Err(Hl7Error::SecondHeader { line: line + 1 });
                }
                segments.push((at, end));
            } else if !content.trim_ascii().is_empty()
                && let Some(last) = segments.last_mut()
            {
                last.1 = end;
                joined_lines += 1;
            }
            at = end + 1;
        }
        Ok(Self { charset: decoded.charset, mislabelled: decoded.mislabelled || decoded.substituted, separators, segments, joined_lines, text })
    }

    /// The delimiters the message declares.
    pub fn separators(&self) -> Separators {
        self.separators
    }

    /// Name of the character set the text was read in.
    pub fn charset(&self) -> &'static str {
        self.charset
    }

    /// Whether MSH-18 and the bytes disagree.
    pub fn is_mislabelled(&self) -> bool {
        self.mislabelled
    }

    /// Lines that were not segments of their own and were joined to the segment before.
    pub fn joined_lines(&self) -> usize {
        self.joined_lines
    }

    /// All segments in order, unknown ones included.
    pub fn segments(&self) -> impl Iterator<Item = Segment<'_>> {
        self.segments.iter().map(|&(start, end)| Segment::new(&self.text[start..end], self.separators))
    }

    /// The first segment of that name.
    pub fn segment(&self, id: &str) -> Option<Segment<'_>> {
        self.segments_named(id).next()
    }

    /// Every segment of that name, in order.
    pub fn segments_named<'m>(&'m self, id: &str) -> impl Iterator<Item = Segment<'m>> {
        self.segments().filter(move |segment| segment.id() == id)
    }

    /// Field `number` (from 1, as HL7 counts) of the first segment of that name.
    pub fn field(&self, id: &str, number: usize) -> Field<'_> {
        match self.segment(id) {
            Some(segment) => segment.field(number),
            None => Field::absent(self.separators),
        }
    }
}

impl std::fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Message({} segments, {} bytes)", self.segments.len(), self.text.len())
    }
}

/// Three characters, `A-Z` then twice `A-Z0-9`, then the field separator or the end of the line.
fn begins_segment(line: &[u8], field: u8) -> bool {
    match line {
        [a, b, c, rest @ ..] => {
            a.is_ascii_uppercase()
                && [b, c].iter().all(|x| x.is_ascii_uppercase() || x.is_ascii_digit())
                && (rest.first() == Some(&field) || rest.trim_ascii().is_empty())
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hl7v2::Value;

    const HEADER: &str = "MSH|^~\\&|PAS|RHM|HUB|QRL|20250101||ADT^A01|1|P|2.4";

    fn parse(text: &str) -> Result<Message<'_>, Hl7Error> {
        Message::parse(text.as_bytes())
    }

    #[test]
    fn every_kind_of_line_end_separates_segments() {
        for end in ["\r", "\n", "\r\n", "\n\r", "\r\r\n"] {
            let text = format!("\u{FEFF}{HEADER}{end}PID|1||7{end}ZPD|x{end}");
            let message = parse(&text).expect("readable");
            let names: Vec<&str> = message.segments().map(|s| s.id()).collect();
            assert_eq!(names, ["MSH", "PID", "ZPD"]);
            assert_eq!(message.field("PID", 3).value(), Value::Text("7"));
        }
    }

    #[test]
    fn header_fields_count_the_separator_as_field_one() {
        let message = parse(HEADER).expect("readable");
        assert_eq!(message.field("MSH", 1).value(), Value::Text("|"));
        assert_eq!(message.field("MSH", 2).value(), Value::Text("^~\\&"));
        assert_eq!(message.field("MSH", 9).component(2).value(), Value::Text("A01"));
        assert_eq!(message.field("MSH", 12).value(), Value::Text("2.4"));
    }

    #[test]
    fn broken_free_text_belongs_to_the_segment_before() {
        let text = format!("{HEADER}\rOBX|1|TX|||first line\nsecond line\n\nthird|||F\rZZZ");
        let message = parse(&text).expect("readable");
        assert_eq!(message.field("OBX", 5).value(), Value::Text("first line\nsecond line\n\nthird"));
        assert_eq!(message.field("OBX", 8).value(), Value::Text("F"));
        assert_eq!(message.joined_lines(), 2);
        assert!(message.segment("ZZZ").is_some());
    }

    #[test]
    fn what_is_no_message_is_refused_with_the_reason() {
        assert_eq!(parse("").err(), Some(Hl7Error::Empty));
        assert_eq!(parse(" \r\n").err(), Some(Hl7Error::Empty));
        assert_eq!(parse("PID|1").err(), Some(Hl7Error::NoHeader));
        assert_eq!(parse("\u{19}MSH|^~\\&|").err(), Some(Hl7Error::NoHeader));
        assert_eq!(parse("MSH|0000|").err(), Some(Hl7Error::Separators(SeparatorFault::NotPunctuation)));
        assert_eq!(parse("<ADT_A01/>").err(), Some(Hl7Error::NoHeader));
        let twice = format!("{HEADER}\rPID|1\r{HEADER}");
        assert_eq!(parse(&twice).err(), Some(Hl7Error::SecondHeader { line: 3 }));
    }

    #[test]
    fn debug_output_holds_no_content() {
        let text = format!("{HEADER}\rPID|1||9990000018||SMITH^ANN");
        let message = parse(&text).expect("readable");
        let printed = format!("{message:?} {:?} {:?}", message.segment("PID"), message.field("PID", 5));
        assert!(!printed.contains("SMITH") && !printed.contains("9990000018"), "{printed}");
    }
}

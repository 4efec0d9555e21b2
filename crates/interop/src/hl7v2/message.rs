//! One message: its text, its delimiters and where its segments lie.

use std::borrow::Cow;
use std::sync::LazyLock;

use memchr::{memchr2_iter, memmem};

use super::charset::{self, Charset, Decoded};
use super::part::{Component, Field, Repetition, Segment, Value};
use super::path::Path;
use super::places::{self, Marked};
use super::quirk::MessageQuirk;
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

/// A message in memory. Segments and fields are located in one pass; everything below them is found when asked for.
///
/// Lines end in CR, LF or both. A line that does not begin with a segment name belongs to the segment before it:
/// free text broken over lines inside OBX-5 is common. A known segment name that stands where a field would, with
/// blanks before it, begins a segment: some files have lost a line end that way. Unknown and misplaced segments are
/// kept as they are.
pub struct Message<'a> {
    text: Cow<'a, str>,
    charset: &'static str,
    separators: Separators,
    segments: Vec<(usize, usize)>,
    /// Where field separators stand in the text.
    marks: Vec<u64>,
    joined_lines: usize,
    quirks: u16,
}

impl<'a> Message<'a> {
    /// Reads one message, without MLLP framing. A byte order mark and white space before MSH are skipped.
    pub fn parse(raw: &'a [u8]) -> Result<Self, Hl7Error> {
        Self::parse_in(raw, None)
    }

    /// As [`Message::parse`], with the character set that holds when MSH-18 names none.
    pub fn parse_in(raw: &'a [u8], default: Option<Charset>) -> Result<Self, Hl7Error> {
        let decoded = charset::decode_in(raw, default);
        let mut quirks = quirks_of(raw, &decoded);
        let text = decoded.text;
        let bytes = text.as_bytes();
        let start = bytes.iter().position(|b| !b.is_ascii_whitespace()).ok_or(Hl7Error::Empty)?;
        if !bytes[start..].starts_with(b"MSH") {
            return Err(Hl7Error::NoHeader);
        }
        let separators = Separators::from_header(&bytes[start..])?;
        let mut lines = Lines { bytes, separators, segments: Vec::with_capacity(16), joined: 0, split: 0, ends: [0; 2] };
        lines.locate(start)?;
        let Lines { segments, joined, split, ends, .. } = lines;
        let marks = places::marks(separators.field, bytes);
        let header = &bytes[start..segments.first().map_or(start, |&(_, end)| end)];
        let odd = [
            (MessageQuirk::JoinedLines, joined > 0),
            (MessageQuirk::SegmentsOnOneLine, split > 0),
            (MessageQuirk::LineFeeds, ends[1] > 0 && ends[0] == 0),
            (MessageQuirk::MixedLineEnds, ends[1] > 0 && ends[0] > 0),
            (MessageQuirk::DoubledEscape, header.get(6..8) == Some(b"\\\\")),
            (MessageQuirk::FewDelimiters, separators.escape.is_none() || separators.subcomponent.is_none()),
        ];
        odd.into_iter().filter(|(_, is_so)| *is_so).for_each(|(quirk, _)| quirks |= quirk.bit());
        Ok(Self { charset: decoded.charset, separators, segments, marks, joined_lines: joined, quirks, text })
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
        self.has(MessageQuirk::Mislabelled) || self.has(MessageQuirk::Substituted)
    }

    /// What is odd about how the message is written, for the report on its sender.
    pub fn quirks(&self) -> impl Iterator<Item = MessageQuirk> + use<> {
        let quirks = self.quirks;
        MessageQuirk::ALL.into_iter().filter(move |quirk| quirks & quirk.bit() != 0)
    }

    fn has(&self, quirk: MessageQuirk) -> bool {
        self.quirks & quirk.bit() != 0
    }

    /// Lines that were not segments of their own and were joined to the segment before.
    pub fn joined_lines(&self) -> usize {
        self.joined_lines
    }

    /// All segments in order, unknown ones included.
    pub fn segments(&self) -> impl Iterator<Item = Segment<'_>> {
        self.segments.iter().map(|&place| self.segment_at(place))
    }

    fn segment_at(&self, (start, end): (usize, usize)) -> Segment<'_> {
        Segment::new(&self.text[start..end], self.separators, Marked::from(&self.marks, start))
    }

    /// By the three bytes that a segment begins with.
    fn segments_beginning<'m>(&'m self, name: [u8; 3]) -> impl Iterator<Item = Segment<'m>> + use<'m, 'a> {
        let bytes = self.text.as_bytes();
        let found = self.segments.iter().filter(move |(start, _)| bytes[*start..].first_chunk() == Some(&name));
        found.map(|&place| self.segment_at(place))
    }

    /// The first segment of that name.
    pub fn segment(&self, id: &str) -> Option<Segment<'_>> {
        self.segments_named(id).next()
    }

    /// Every segment of that name, in order.
    pub fn segments_named<'m>(&'m self, id: &str) -> impl Iterator<Item = Segment<'m>> {
        <[u8; 3]>::try_from(id.as_bytes()).into_iter().flat_map(|name| self.segments_beginning(name))
    }

    /// Field `number` (from 1, as HL7 counts) of the first segment of that name.
    pub fn field(&self, id: &str, number: usize) -> Field<'_> {
        match self.segment(id) {
            Some(segment) => segment.field(number),
            None => Field::absent(self.separators),
        }
    }

    /// What stands at a path: the first where it says `[*]`.
    pub fn value(&self, path: &Path) -> Value<'_> {
        self.values(path).next().unwrap_or(Value::Absent)
    }

    /// Text at a path, trimmed and with escapes resolved; `None` when there is none.
    pub fn text(&self, path: &Path) -> Option<Cow<'_, str>> {
        self.value(path).code().map(|raw| self.separators.unescape(raw))
    }

    /// Everything at a path: one value, or as many as there are where it says `[*]`. None for what is not there.
    pub fn values<'m>(&'m self, path: &Path) -> impl Iterator<Item = Value<'m>> + use<'m, 'a> {
        let path = *path;
        let (skip, take) = path.segments();
        self.segments_beginning(path.segment_id()).skip(skip).take(take).flat_map(move |segment| values_in(segment.field(path.field()), path))
    }

    /// The message written out again: its segments as they were read, each ended by CR.
    pub fn render(&self) -> String {
        let mut out = String::with_capacity(self.text.len() + 1);
        for segment in self.segments() {
            out.push_str(segment.raw());
            out.push('\r');
        }
        out
    }

    /// The text and where its segments lie in it.
    pub(crate) fn into_parts(self) -> (Cow<'a, str>, Vec<(usize, usize)>) {
        (self.text, self.segments)
    }
}

fn values_in<'m>(field: Field<'m>, path: Path) -> impl Iterator<Item = Value<'m>> + use<'m> {
    // A path without a repetition means the whole field, and the first repetition when it goes on to a component.
    let whole = path.repetition().is_none() && path.component().is_none();
    let (skip, take) = path.repetition().unwrap_or((0, 1));
    let below = field.repetitions().skip(skip).take(if whole { 0 } else { take }).map(move |repetition: Repetition<'m>| {
        let Some(component) = path.component() else {
            return repetition.value();
        };
        let component: Component<'m> = repetition.component(component);
        path.subcomponent().map_or(component.value(), |number| component.subcomponent(number))
    });
    whole.then(|| field.value()).into_iter().chain(below)
}

fn quirks_of(raw: &[u8], decoded: &Decoded<'_>) -> u16 {
    let odd = [
        (MessageQuirk::Mislabelled, decoded.mislabelled),
        (MessageQuirk::Substituted, decoded.substituted),
        (MessageQuirk::ByteOrderMark, raw.starts_with(b"\xEF\xBB\xBF")),
        (MessageQuirk::WideCharacters, decoded.charset.starts_with("UTF-16") || decoded.charset.starts_with("UTF-32")),
    ];
    odd.into_iter().filter(|(_, is_so)| *is_so).fold(0, |bits, (quirk, _)| bits | quirk.bit())
}

/// What may stand where a line end got lost, for the usual field separator: a search takes longer to prepare than to do.
static USUAL_GLUE: LazyLock<memmem::Finder<'static>> = LazyLock::new(|| memmem::Finder::new("| "));

/// Finds the segments of a text.
struct Lines<'t> {
    bytes: &'t [u8],
    separators: Separators,
    segments: Vec<(usize, usize)>,
    joined: usize,
    split: usize,
    /// How many lines ended in CR and how many in LF alone.
    ends: [usize; 2],
}

impl Lines<'_> {
    fn locate(&mut self, start: usize) -> Result<(), Hl7Error> {
        let bytes = self.bytes;
        // Asked once for the whole text: hardly any message has it.
        let may_split = match self.separators.field {
            b'|' => USUAL_GLUE.find(&bytes[start..]),
            other => memmem::find(&bytes[start..], &[other, b' ']),
        };
        let mut at = start;
        let line_ends = memchr2_iter(b'\r', b'\n', &bytes[start..]).map(|end| start + end);
        for (line, end) in line_ends.chain(std::iter::once(bytes.len())).enumerate() {
            let content = &bytes[at..end];
            if begins_segment(content, self.separators.field) {
                if !self.segments.is_empty() && content.starts_with(b"MSH") {
                    return Err(Hl7Error::SecondHeader { line: line + 1 });
                }
                self.segments.push((at, end));
                // What stands in these is copied into acknowledgements and back, odd or not.
                if may_split.is_some() && !matches!(&content[..3], b"MSH" | b"MSA" | b"ERR") {
                    self.split_line(line)?;
                }
            } else if !content.trim_ascii().is_empty()
                && let Some(last) = self.segments.last_mut()
            {
                last.1 = end;
                self.joined += 1;
            }
            match bytes.get(end) {
                Some(b'\r') => self.ends[0] += 1,
                Some(b'\n') if end == 0 || bytes[end - 1] != b'\r' => self.ends[1] += 1,
                _ => {}
            }
            at = end + 1;
        }
        Ok(())
    }

    /// Cuts the last segment where a known segment name stands as a field with blanks before it.
    fn split_line(&mut self, line: usize) -> Result<(), Hl7Error> {
        let Some(&(mut from, end)) = self.segments.last() else {
            return Ok(());
        };
        let field = self.separators.field;
        let first = from;
        for found in memmem::find_iter(&self.bytes[first..end], &[field, b' ']) {
            let after = first + found + 1;
            let blanks = self.bytes[after..end].iter().take_while(|&&b| b == b' ').count();
            let name = after + blanks;
            let rest = &self.bytes[name..end];
            if !(rest.len() > 3 && rest[3] == field && is_known_segment(&rest[..3])) {
                continue;
            }
            if rest.starts_with(b"MSH") {
                return Err(Hl7Error::SecondHeader { line: line + 1 });
            }
            if let Some(last) = self.segments.last_mut() {
                *last = (from, after);
            }
            self.segments.push((name, end));
            self.split += 1;
            from = name;
        }
        Ok(())
    }
}

impl std::fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Message({} segments, {} bytes)", self.segments.len(), self.text.len())
    }
}

/// Segments of ADT, ORU, MDM and acknowledgement messages that may be told from a field's content by their name.
pub(super) fn is_known_segment(name: &[u8]) -> bool {
    const KNOWN: [&[u8; 3]; 36] = [
        b"MSH", b"MSA", b"ERR", b"EVN", b"PID", b"PD1", b"NK1", b"PV1", b"PV2", b"DB1", b"OBR", b"OBX", b"NTE", b"AL1", b"DG1", b"DRG", b"PR1", b"ROL", b"GT1",
        b"IN1", b"IN2", b"IN3", b"ACC", b"MRG", b"ORC", b"TXA", b"SFT", b"PDA", b"ZU1", b"ZU2", b"ZU3", b"ZU4", b"ZU5", b"ZU6", b"ZU7", b"ZU8",
    ];
    KNOWN.iter().any(|known| name == known.as_slice())
}

/// Three characters, `A-Z` then twice `A-Z0-9`, then the field separator or the end of the line.
pub(super) fn begins_segment(line: &[u8], field: u8) -> bool {
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
    fn a_segment_that_lost_its_line_end_is_found() {
        let text = format!("{HEADER}\rPID|1||7| PV1||E| ZZZ|x| OBX| DG1\rPV1||I");
        let message = parse(&text).expect("readable");
        let raw: Vec<&str> = message.segments().skip(1).map(|s| s.raw()).collect();
        assert_eq!(raw, ["PID|1||7|", "PV1||E| ZZZ|x|", "OBX| DG1", "PV1||I"]);
        assert_eq!(message.quirks().collect::<Vec<_>>(), [MessageQuirk::SegmentsOnOneLine]);
        let twice = format!("{HEADER}\rPID|1| {HEADER}");
        assert_eq!(parse(&twice).err(), Some(Hl7Error::SecondHeader { line: 2 }));
    }

    #[test]
    fn what_is_odd_about_a_message_is_named() {
        use MessageQuirk::{ByteOrderMark, DoubledEscape, FewDelimiters, LineFeeds, MixedLineEnds, WideCharacters};
        let quirks = |text: &str| parse(text).expect("readable").quirks().collect::<Vec<_>>();
        assert_eq!(quirks(&format!("{HEADER}\r\nPID|1\r\n")), []);
        assert_eq!(quirks(&format!("{HEADER}\nPID|1\n")), [LineFeeds]);
        assert_eq!(quirks(&format!("{HEADER}\nPID|1\rEVN\r")), [MixedLineEnds]);
        assert_eq!(quirks("\u{FEFF}MSH|^~\\\\&|A"), [ByteOrderMark, DoubledEscape]);
        assert_eq!(quirks("MSH|^~}|A"), [FewDelimiters]);
        let wide: Vec<u8> = HEADER.encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(Message::parse(&wide).expect("readable").quirks().collect::<Vec<_>>(), [WideCharacters]);
    }

    #[test]
    fn what_was_read_can_be_written_out_again() {
        let text = format!("{HEADER}\nPID|1| PV1||E\n\nOBX|1|TX|||broken\nline\r\nZZZ\n");
        let message = parse(&text).expect("readable");
        let again = message.render();
        assert_eq!(again, format!("{HEADER}\rPID|1|\rPV1||E\rOBX|1|TX|||broken\nline\rZZZ\r"));
        assert_eq!(parse(&again).expect("readable").render(), again);
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

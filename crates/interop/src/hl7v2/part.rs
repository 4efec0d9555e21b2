//! Parts of a message below the segment: field, repetition, component, subcomponent. All borrowed, all lazy.

use std::borrow::Cow;

use super::Separators;
use super::places::{Marked, first_pieces_before, nth, nth_before, until, until_any};

/// What stands at a place. HL7 means three different things by nothing: not sent, sent empty (no change), and `""`
/// (delete what you have).
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Value<'m> {
    /// The segment ends before this place, or is not there.
    Absent,
    /// Nothing between two delimiters: not supported, or no change.
    Empty,
    /// `""`: known to be nothing.
    Null,
    /// Raw text, escapes unresolved.
    Text(&'m str),
}

impl<'m> Value<'m> {
    fn of(raw: Option<&'m str>) -> Self {
        match raw {
            None => Self::Absent,
            Some("") => Self::Empty,
            Some("\"\"") => Self::Null,
            Some(text) => Self::Text(text),
        }
    }

    /// The raw text, if there is any.
    pub fn text(self) -> Option<&'m str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Absent | Self::Empty | Self::Null => None,
        }
    }

    /// As a code or identifier: trimmed, and `None` when only white space is left.
    pub fn code(self) -> Option<&'m str> {
        self.text().map(trimmed).filter(|text| !text.is_empty())
    }
}

impl std::fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Absent => f.write_str("Absent"),
            Self::Empty => f.write_str("Empty"),
            Self::Null => f.write_str("Null"),
            Self::Text(text) => write!(f, "Text({} bytes)", text.len()),
        }
    }
}

/// One segment.
#[derive(Clone, Copy)]
pub struct Segment<'m> {
    text: &'m str,
    separators: Separators,
    /// Where its field separators stand.
    marked: Marked<'m>,
}

impl<'m> Segment<'m> {
    #[inline]
    pub(super) fn new(text: &'m str, separators: Separators, marked: Marked<'m>) -> Self {
        Self { text, separators, marked }
    }

    /// `PID`, `ZU1` …
    pub fn id(&self) -> &'m str {
        self.text.get(..3).unwrap_or(self.text)
    }

    /// The segment as it was sent, joined lines included.
    pub fn raw(&self) -> &'m str {
        self.text
    }

    /// Field `number`, from 1. In a header segment field 1 is the separator itself.
    #[inline]
    pub fn field(&self, number: usize) -> Field<'m> {
        let raw = match (self.is_header(), number) {
            (_, 0) => None,
            (true, 1) => self.text.get(3..4),
            (true, n) => self.piece(n - 1),
            (false, n) => self.piece(n),
        };
        Field { raw, separators: self.separators }
    }

    /// The text behind field separator `n`, from 1.
    #[inline]
    fn piece(&self, n: usize) -> Option<&'m str> {
        let (separator, next) = self.marked.pair(n)?;
        self.text.get(separator + 1..next.min(self.text.len()))
    }

    #[inline]
    fn is_header(&self) -> bool {
        matches!(self.text.as_bytes(), [b'M', b'S', b'H', ..] | [b'F' | b'B', b'H', b'S', ..])
    }
}

/// One field, with its repetitions.
#[derive(Clone, Copy)]
pub struct Field<'m> {
    raw: Option<&'m str>,
    separators: Separators,
}

impl<'m> Field<'m> {
    pub(crate) fn absent(separators: Separators) -> Self {
        Self { raw: None, separators }
    }

    /// The whole field, delimiters included.
    pub fn value(&self) -> Value<'m> {
        Value::of(self.raw)
    }

    /// Every repetition, an empty first one included; none when the field is absent.
    pub fn repetitions(&self) -> impl Iterator<Item = Repetition<'m>> + use<'m> {
        let separators = self.separators;
        pieces(self.raw, separators.repetition).map(move |raw| Repetition { raw: Some(raw), separators })
    }

    /// The first repetition.
    pub fn first(&self) -> Repetition<'m> {
        let raw = self.raw.map(|raw| until(raw, self.separators.repetition));
        Repetition { raw, separators: self.separators }
    }

    /// [`Component::code`] of the first component.
    pub fn code(&self) -> Option<&'m str> {
        let Separators { repetition, component, subcomponent, .. } = self.separators;
        Value::of(self.raw.map(|raw| until_any(raw, [repetition, component, subcomponent.unwrap_or(component)]))).code()
    }

    /// Component `number` (from 1) of the first repetition.
    pub fn component(&self, number: usize) -> Component<'m> {
        let raw = match (self.raw, number.checked_sub(1)) {
            (Some(raw), Some(n)) => nth_before(raw, self.separators.repetition, self.separators.component, n),
            _ => None,
        };
        Component { raw, separators: self.separators }
    }
}

/// One repetition of a field.
#[derive(Clone, Copy)]
pub struct Repetition<'m> {
    raw: Option<&'m str>,
    separators: Separators,
}

impl<'m> Repetition<'m> {
    /// The whole repetition, component separators included.
    pub fn value(&self) -> Value<'m> {
        Value::of(self.raw)
    }

    /// Component `number`, from 1.
    pub fn component(&self, number: usize) -> Component<'m> {
        let raw = match (self.raw, number.checked_sub(1)) {
            (Some(raw), Some(n)) => nth(raw, self.separators.component, n),
            _ => None,
        };
        Component { raw, separators: self.separators }
    }

    /// The first components, from 1, in one pass.
    pub(super) fn components<const N: usize>(&self) -> [Component<'m>; N] {
        let raws = self.raw.map_or([None; N], |raw| first_pieces_before(raw, self.separators.component, self.separators.component));
        raws.map(|raw| Component { raw, separators: self.separators })
    }

    /// [`Component::code`] of the first components, from 1, in one pass.
    pub(super) fn codes<const N: usize>(&self) -> [Option<&'m str>; N] {
        let Separators { component, subcomponent, .. } = self.separators;
        let mut codes = self.raw.map_or([None; N], |raw| first_pieces_before(raw, subcomponent.unwrap_or(component), component));
        codes.iter_mut().for_each(|code| *code = Value::of(*code).code());
        codes
    }

    /// Whether every component that was sent is `""`: HL7 UK A.3 deletes a composite field only then.
    pub fn is_delete(&self) -> bool {
        self.raw.is_some_and(|raw| pieces(Some(raw), self.separators.component).all(|piece| piece == "\"\""))
    }
}

/// One component.
#[derive(Clone, Copy)]
pub struct Component<'m> {
    raw: Option<&'m str>,
    separators: Separators,
}

impl<'m> Component<'m> {
    /// The whole component, subcomponent separators included.
    pub fn value(&self) -> Value<'m> {
        Value::of(self.raw)
    }

    /// Subcomponent `number`, from 1. Without a declared separator the component is its own only subcomponent.
    pub fn subcomponent(&self, number: usize) -> Value<'m> {
        let raw = match (self.raw, number, self.separators.subcomponent) {
            (_, 0, _) | (None, ..) => None,
            (Some(raw), n, Some(separator)) => nth(raw, separator, n - 1),
            (Some(raw), 1, None) => Some(raw),
            (Some(_), _, None) => None,
        };
        Value::of(raw)
    }

    /// Trimmed text of the first subcomponent with escapes resolved; `None` when there is none.
    pub fn decoded(&self) -> Option<Cow<'m, str>> {
        self.code().map(|text| self.separators.unescape(text))
    }

    /// Trimmed text of the first subcomponent, escapes unresolved: for codes and identifiers.
    pub fn code(&self) -> Option<&'m str> {
        let raw = match (self.raw, self.separators.subcomponent) {
            (Some(raw), Some(separator)) => Some(until(raw, separator)),
            (raw, _) => raw,
        };
        Value::of(raw).code()
    }
}

macro_rules! redacted_debug {
    ($($part:ident),+) => {$(
        impl std::fmt::Debug for $part<'_> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!(stringify!($part), "({:?})"), self.value())
            }
        }
    )+};
}

redacted_debug!(Field, Repetition, Component);

impl std::fmt::Debug for Segment<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Segment({}, {} bytes)", self.id(), self.text.len())
    }
}

/// As [`str::trim`], which reads characters: hardly any text has a blank at its ends.
#[inline]
pub(super) fn trimmed(text: &str) -> &str {
    match text.as_bytes() {
        [only] if only.is_ascii_graphic() => text,
        [first, .., last] if first.is_ascii_graphic() && last.is_ascii_graphic() => text,
        _ => text.trim(),
    }
}

fn pieces(text: Option<&str>, separator: u8) -> impl Iterator<Item = &str> {
    let mut left = text;
    std::iter::from_fn(move || {
        let text = left?;
        let piece = until(text, separator);
        left = text.get(piece.len() + 1..);
        Some(piece)
    })
}

#[cfg(test)]
#[path = "part_tests.rs"]
mod tests;

//! Where in a message something stands: `PID-3`, `PID-3[2].1`, `OBX[2]-5.1.2`, `NK1[*]-2.1`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A place in a message, parsed once and looked up often. Numbers count from 1 as HL7's do.
///
/// `PID-3` is the whole field with its repetitions, `PID-3[2]` one repetition, `PID-3.1` a component of the first
/// repetition, `PID-3[2].1.2` a subcomponent. `[*]` behind a segment or a field means every one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Path {
    segment: [u8; 3],
    occurrence: Which,
    field: u16,
    repetition: Option<Which>,
    component: Option<u16>,
    subcomponent: Option<u16>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Which {
    Number(u16),
    Every,
}

impl Which {
    fn skip_and_take(self) -> (usize, usize) {
        match self {
            Self::Number(number) => (usize::from(number) - 1, 1),
            Self::Every => (0, usize::MAX),
        }
    }
}

/// Why a text is not a path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// The first three characters are no segment name.
    #[error("`{0}` does not begin with a segment name of three capital letters or digits, as in PID-3[2].1")]
    Segment(String),
    /// No `-` and field number.
    #[error("`{0}` names no field: write a hyphen and the field's number, as in PID-3[2].1")]
    Field(String),
    /// Something that is not a number from 1 to 65535.
    #[error("`{0}` has a number that is not from 1 to 65535, as in PID-3[2].1")]
    Number(String),
    /// Text behind the path.
    #[error("`{0}` goes on behind the place it names: a path ends with the subcomponent, as in OBX[2]-5.1.2")]
    Rest(String),
}

impl Path {
    /// Reads a path.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let number_wrong = || PathError::Number(text.to_owned());
        let name = text.get(..3).and_then(|name| <[u8; 3]>::try_from(name.as_bytes()).ok());
        let segment = name.filter(is_segment_name).ok_or_else(|| PathError::Segment(text.to_owned()))?;
        let (occurrence, rest) = which(&text[3..]).ok_or_else(number_wrong)?;
        let rest = rest.strip_prefix('-').ok_or_else(|| PathError::Field(text.to_owned()))?;
        let (field, rest) = number(rest).ok_or_else(number_wrong)?;
        let (repetition, rest) = which(rest).ok_or_else(number_wrong)?;
        let (component, rest) = dotted(rest).ok_or_else(number_wrong)?;
        let (subcomponent, rest) = dotted(rest).ok_or_else(number_wrong)?;
        if !rest.is_empty() {
            return Err(PathError::Rest(text.to_owned()));
        }
        Ok(Self { segment, occurrence: occurrence.unwrap_or(Which::Number(1)), field, repetition, component, subcomponent })
    }

    /// `PID`
    pub fn segment_id(&self) -> [u8; 3] {
        self.segment
    }

    /// The field's number.
    pub fn field(&self) -> usize {
        usize::from(self.field)
    }

    /// How many segments of that name to skip, and how many to take.
    pub(super) fn segments(&self) -> (usize, usize) {
        self.occurrence.skip_and_take()
    }

    /// How many repetitions to skip, and how many to take.
    pub(super) fn repetition(&self) -> Option<(usize, usize)> {
        self.repetition.map(Which::skip_and_take)
    }

    pub(super) fn component(&self) -> Option<usize> {
        self.component.map(usize::from)
    }

    pub(super) fn subcomponent(&self) -> Option<usize> {
        self.subcomponent.map(usize::from)
    }
}

impl FromStr for Path {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        Self::parse(text)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.segment).unwrap_or_default())?;
        if self.occurrence != Which::Number(1) {
            write!(f, "[{}]", self.occurrence)?;
        }
        write!(f, "-{}", self.field)?;
        if let Some(repetition) = self.repetition {
            write!(f, "[{repetition}]")?;
        }
        [self.component, self.subcomponent].into_iter().flatten().try_for_each(|number| write!(f, ".{number}"))
    }
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Every => f.write_str("*"),
        }
    }
}

impl<'de> Deserialize<'de> for Path {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

impl Serialize for Path {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

fn is_segment_name(name: &[u8; 3]) -> bool {
    name[0].is_ascii_uppercase() && name[1..].iter().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
}

fn number(text: &str) -> Option<(u16, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number = text[..digits].parse::<u16>().ok().filter(|&number| number > 0)?;
    Some((number, &text[digits..]))
}

/// `[2]`, `[*]` or nothing.
fn which(text: &str) -> Option<(Option<Which>, &str)> {
    let Some(inside) = text.strip_prefix('[') else {
        return Some((None, text));
    };
    if let Some(rest) = inside.strip_prefix("*]") {
        return Some((Some(Which::Every), rest));
    }
    let (number, rest) = number(inside)?;
    Some((Some(Which::Number(number)), rest.strip_prefix(']')?))
}

/// `.1` or nothing.
fn dotted(text: &str) -> Option<(Option<u16>, &str)> {
    match text.strip_prefix('.') {
        Some(rest) => number(rest).map(|(number, rest)| (Some(number), rest)),
        None => Some((None, text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hl7v2::{Message, Value};

    const TEXT: &str = "MSH|^~\\&|PAS|R&h^x|HUB\rPID|1||7^^^RHM~8^^^N&H S~|\rOBX|1|TX|||a\\T\\b^c&d\rOBX|2|ED|||e^f&g\rZU1|\"\"|";

    fn at(path: &str) -> Option<String> {
        let message = Message::parse(TEXT.as_bytes()).expect("readable");
        message.value(&Path::parse(path).expect("a path")).text().map(str::to_owned)
    }

    #[test]
    fn a_path_finds_fields_repetitions_components_and_subcomponents() {
        for (path, expected) in [
            ("MSH-1", "|"),
            ("MSH-2", "^~\\&"),
            ("MSH-3", "PAS"),
            ("MSH-4.1.2", "h"),
            ("PID-3", "7^^^RHM~8^^^N&H S~"),
            ("PID-3[1]", "7^^^RHM"),
            ("PID-3.1", "7"),
            ("PID-3[2].1", "8"),
            ("PID-3[2].4.2", "H S"),
            ("OBX-5", "a\\T\\b^c&d"),
            ("OBX[2]-5.2.2", "g"),
            ("OBX[2]-5.1.1", "e"),
        ] {
            assert_eq!(at(path).as_deref(), Some(expected), "{path}");
        }
    }

    #[test]
    fn what_is_not_there_is_absent_empty_or_null() {
        let message = Message::parse(TEXT.as_bytes()).expect("readable");
        let value = |path: &str| message.value(&Path::parse(path).expect("a path"));
        assert_eq!(value("PID-3[3].1"), Value::Empty);
        assert_eq!(value("PID-3[4].1"), Value::Absent);
        assert_eq!(value("OBX[3]-5"), Value::Absent);
        assert_eq!(value("ZU2-1"), Value::Absent);
        assert_eq!(value("ZU1-1"), Value::Null);
        assert_eq!(value("ZU1-2"), Value::Empty);
        assert_eq!(value("PID-65535.65535.65535"), Value::Absent);
    }

    #[test]
    fn a_star_means_every_one() {
        let message = Message::parse(TEXT.as_bytes()).expect("readable");
        let all = |path: &str| message.values(&Path::parse(path).expect("a path")).map(|v| v.text().unwrap_or("-").to_owned()).collect::<Vec<_>>();
        assert_eq!(all("PID-3[*].1"), ["7", "8", "-"]);
        assert_eq!(all("OBX[*]-5.2.1"), ["c", "f"]);
        assert_eq!(all("OBX[*]-1"), ["1", "2"]);
        assert!(all("NK1[*]-2").is_empty());
        assert_eq!(message.text(&Path::parse("OBX-5.1").expect("a path")).as_deref(), Some("a&b"));
    }

    #[test]
    fn a_path_is_written_as_it_was_read() {
        for path in ["PID-3", "PID-3[2].1", "OBX[2]-5.1.2", "NK1[*]-2[*].1", "ZU1-1"] {
            assert_eq!(Path::parse(path).map(|path| path.to_string()).as_deref(), Ok(path));
        }
        assert_eq!(Path::parse("OBX[1]-5").map(|path| path.to_string()).as_deref(), Ok("OBX-5"));
    }

    #[test]
    fn what_is_no_path_is_refused_with_the_reason() {
        for (text, expected) in [
            ("", PathError::Segment as fn(String) -> PathError),
            ("pid-3", PathError::Segment),
            ("é1", PathError::Segment),
            ("PID", PathError::Field),
            ("PID.3", PathError::Field),
            ("PID-", PathError::Number),
            ("PID-0", PathError::Number),
            ("PID-70000", PathError::Number),
            ("PID-3[0]", PathError::Number),
            ("PID-3[2", PathError::Number),
            ("PID[x]-3", PathError::Number),
            ("PID-3.", PathError::Number),
            ("PID-3.1.2.3", PathError::Rest),
            ("PID-3 ", PathError::Rest),
        ] {
            assert_eq!(Path::parse(text), Err(expected(text.to_owned())), "{text}");
        }
    }
}

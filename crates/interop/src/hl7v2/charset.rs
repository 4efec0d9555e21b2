//! Which characters the bytes of a message mean.
//!
//! Policy: a UTF-16 or UTF-32 message is known by its first bytes; then MSH-18 is honoured where it names a
//! character set other than ASCII or UTF-8; else the bytes are UTF-8 if they can be; else Windows-1252, which real
//! feeds send under an ASCII label. Nothing is ever dropped.

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};
use memchr::memchr2;

use super::places::nth_place;

/// A message as text, with how it became so.
pub struct Decoded<'a> {
    /// Borrowed when the message was UTF-8 (or ASCII) already.
    pub text: Cow<'a, str>,
    /// WHATWG name of the character set used.
    pub charset: &'static str,
    /// The label in MSH-18 and the bytes disagree, or the label is unknown: worth a line in the feed's report.
    pub mislabelled: bool,
    /// Some bytes mean nothing in the declared character set and became U+FFFD; only the raw message has them.
    pub substituted: bool,
}

/// A character set by one of its HL7 names (table 0211): what a peer uses that leaves MSH-18 empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Charset(Label);

impl Charset {
    /// From `ASCII`, `8859/1` … `8859/15`, `ISO IR6`, `UNICODE UTF-8` …, in any case and with spaces around it. Of wide
    /// characters nothing need be said: UTF-16 and UTF-32 are known by their first bytes.
    pub fn named(name: &str) -> Option<Self> {
        match label_named(name.trim().as_bytes()) {
            Label::Absent | Label::Unknown => None,
            known => Some(Self(known)),
        }
    }
}

/// Of table 0211 (HL7 2.8) what is no character set of [`Charset::named`]: wide, of other scripts, or never registered.
const OTHER_LABELS: [&str; 12] = [
    "8859/12",
    "UNICODE UTF-16",
    "UNICODE UTF-32",
    "ISO IR14",
    "ISO IR87",
    "ISO IR159",
    "GB 18030-2000",
    "KS X 1001",
    "CNS 11643-1992",
    "BIG-5",
    "JIS X 0202",
    "JAS2020",
];

/// Whether a text is a name of a character set, be it one that is never read by it.
pub(super) fn is_label(name: &str) -> bool {
    Charset::named(name).is_some() || OTHER_LABELS.iter().any(|label| name.trim().eq_ignore_ascii_case(label))
}

/// Turns the bytes of one message into text. Never fails; a leading byte order mark is left out.
pub fn decode(raw: &[u8]) -> Decoded<'_> {
    decode_in(raw, None)
}

/// As [`decode`], with the character set that holds when MSH-18 names none.
pub fn decode_in(raw: &[u8], default: Option<Charset>) -> Decoded<'_> {
    let label = |raw| match (label(raw), default) {
        (Label::Absent, Some(Charset(default))) => default,
        (named, _) => named,
    };
    if let Some(wide) = decode_wide(raw) {
        return wide;
    }
    let raw = raw.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(raw);
    match std::str::from_utf8(raw) {
        Ok(text) if text.is_ascii() => {
            Decoded { text: Cow::Borrowed(text), charset: UTF_8.name(), mislabelled: matches!(label(raw), Label::Unknown), substituted: false }
        }
        utf8 => match (label(raw), utf8) {
            (Label::Named(encoding), _) => {
                let (text, substituted) = encoding.decode_without_bom_handling(raw);
                // By chance a text in a single-byte character set is hardly ever UTF-8.
                Decoded { text, charset: encoding.name(), mislabelled: utf8.is_ok() && encoding.is_single_byte(), substituted }
            }
            (named, Ok(text)) => {
                Decoded { text: Cow::Borrowed(text), charset: UTF_8.name(), mislabelled: matches!(named, Label::Ascii | Label::Unknown), substituted: false }
            }
            (named, Err(_)) => {
                let (text, substituted) = WINDOWS_1252.decode_without_bom_handling(raw);
                Decoded { text, charset: WINDOWS_1252.name(), mislabelled: named != Label::Absent, substituted }
            }
        },
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Label {
    Absent,
    Ascii,
    Utf8,
    Named(&'static Encoding),
    Unknown,
}

/// MSH-18, first repetition, without the spaces some senders put around it.
fn label(raw: &[u8]) -> Label {
    let start = raw.iter().position(|b| !b.is_ascii_whitespace()).unwrap_or(raw.len());
    let raw = &raw[start..];
    // A NUL separates nothing, and is not looked for.
    let Some(&separator) = raw.get(3).filter(|&&separator| separator != 0) else {
        return Label::Absent;
    };
    let end = memchr2(b'\r', b'\n', raw).unwrap_or(raw.len());
    // MSH-1 is the separator itself, so MSH-18 begins behind the seventeenth.
    let Some((start, end)) = nth_place(&raw[..end], separator, 17) else {
        return Label::Absent;
    };
    let field = &raw[start..end];
    let length = field.iter().position(|&b| b == b'~').unwrap_or(field.len());
    label_named(field[..length].trim_ascii())
}

fn label_named(name: &[u8]) -> Label {
    let is_any = |names: &[&str]| names.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()));
    if is_any(&["", "\"\""]) {
        Label::Absent
    } else if is_any(&["ASCII", "US-ASCII", "ISO IR6"]) {
        Label::Ascii
    } else if is_any(&["UNICODE", "UNICODE UTF-8", "UTF-8", "UTF8"]) {
        Label::Utf8
    } else if name == b"8859/1" {
        // As the standard that is followed here has it; by far the most frequent.
        Label::Named(WINDOWS_1252)
    } else {
        let whatwg = match name.strip_prefix(b"8859/") {
            Some(part) => [b"iso-8859-", part].concat(),
            None => name.to_vec(),
        };
        // A message whose header could be read byte by byte is in no UTF-16, whatever it says.
        let known = Encoding::for_label_no_replacement(&whatwg).filter(|encoding| encoding.is_ascii_compatible());
        known.map_or(Label::Unknown, Label::Named)
    }
}

fn decode_wide(raw: &[u8]) -> Option<Decoded<'_>> {
    let (charset, text) = match raw {
        [0xFF, 0xFE, 0, 0, rest @ ..] => ("UTF-32LE", utf_32(rest, u32::from_le_bytes)),
        [0, 0, 0xFE, 0xFF, rest @ ..] => ("UTF-32BE", utf_32(rest, u32::from_be_bytes)),
        [b'M', 0, 0, 0, ..] => ("UTF-32LE", utf_32(raw, u32::from_le_bytes)),
        [0, 0, 0, b'M', ..] => ("UTF-32BE", utf_32(raw, u32::from_be_bytes)),
        [0xFF, 0xFE, ..] | [b'M', 0, ..] => (UTF_16LE.name(), UTF_16LE.decode_with_bom_removal(raw).0.into_owned()),
        [0xFE, 0xFF, ..] | [0, b'M', ..] => (UTF_16BE.name(), UTF_16BE.decode_with_bom_removal(raw).0.into_owned()),
        _ => return None,
    };
    let substituted = text.contains(char::REPLACEMENT_CHARACTER);
    Some(Decoded { text: Cow::Owned(text), charset, mislabelled: false, substituted })
}

fn utf_32(bytes: &[u8], read: fn([u8; 4]) -> u32) -> String {
    bytes
        .chunks(4)
        .map(|unit| <[u8; 4]>::try_from(unit).ok().and_then(|unit| char::from_u32(read(unit))))
        .map(|character| character.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labelled(charset: &str, name: &[u8]) -> Vec<u8> {
        let mut raw = format!("MSH|^~\\&|A|B|C|D|2020||ADT^A01|1|P|2.4||||||{charset}\rPID|||||").into_bytes();
        raw.extend_from_slice(name);
        raw
    }

    fn name_of(raw: &[u8]) -> (String, &'static str, bool) {
        let decoded = decode(raw);
        let name = decoded.text.rsplit('|').next().unwrap_or_default().to_owned();
        (name, decoded.charset, decoded.mislabelled)
    }

    #[test]
    fn ascii_and_utf8_are_borrowed() {
        assert!(matches!(decode(b"MSH|^~\\&|A").text, Cow::Borrowed(_)));
        assert!(matches!(decode("MSH|^~\\&|é".as_bytes()).text, Cow::Borrowed(_)));
    }

    #[test]
    fn the_declared_character_set_is_honoured_even_with_spaces_around_it() {
        assert_eq!(name_of(&labelled(" 8859/1", b"Zo\xEB")), ("Zoë".into(), "windows-1252", false));
        assert_eq!(name_of(&labelled("8859/15", b"\xA4")), ("€".into(), "ISO-8859-15", false));
        assert_eq!(name_of(&labelled("UNICODE UTF-8", "Zoë".as_bytes())), ("Zoë".into(), "UTF-8", false));
    }

    #[test]
    fn windows_1252_under_an_ascii_label_is_read_and_reported() {
        assert_eq!(name_of(&labelled("ASCII", b"O\x92Neill \x96")), ("O’Neill –".into(), "windows-1252", true));
        assert_eq!(name_of(&labelled("", b"Zo\xEB")), ("Zoë".into(), "windows-1252", false));
        assert_eq!(name_of(&labelled("", "Zoë".as_bytes())), ("Zoë".into(), "UTF-8", false));
    }

    #[test]
    fn an_unknown_label_falls_back_and_is_reported() {
        for label in ["KLINGON", "UNICODE UTF-16", "utf-16le"] {
            assert_eq!(name_of(&labelled(label, "Zoë".as_bytes())), ("Zoë".into(), "UTF-8", true));
        }
    }

    #[test]
    fn where_msh_18_is_silent_the_peers_own_character_set_holds() {
        let default = Charset::named(" 8859/15 ");
        assert!(default.is_some() && Charset::named("KLINGON").is_none() && Charset::named("").is_none());
        assert!(decode_in(&labelled("", b"\xA4"), default).text.ends_with('€'));
        assert!(decode_in(&labelled("8859/1", b"\xA4"), default).text.ends_with('¤'));
        let utf8 = decode_in(&labelled("", b"\xA4"), Charset::named("UNICODE UTF-8")).text.ends_with('¤');
        assert!(utf8, "what is no UTF-8 is still read");
    }

    #[test]
    fn every_part_of_iso_8859_is_known() {
        for part in (1..=15).filter(|part| *part != 12) {
            assert!(Charset::named(&format!("8859/{part}")).is_some(), "8859/{part}");
        }
    }

    #[test]
    fn every_label_of_the_table_is_one() {
        for label in
            ["ASCII", "8859/1", "8859/15", "ISO IR6", "ISO IR87", "UNICODE", "UNICODE UTF-8", "unicode utf-16", " UNICODE UTF-32", "BIG-5", "KS X 1001"]
        {
            assert!(is_label(label), "{label}");
        }
        assert!(!is_label("") && !is_label("SMITH") && !is_label("9434765919"));
    }

    #[test]
    fn utf8_under_a_single_byte_label_is_read_as_labelled_and_reported() {
        assert_eq!(name_of(&labelled("8859/1", "Zoë".as_bytes())), ("ZoÃ«".into(), "windows-1252", true));
    }

    #[test]
    fn wide_encodings_are_known_by_their_first_bytes() {
        let text = "MSH|^~\\&|é";
        let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let utf16_marked: Vec<u8> = [0xFE, 0xFF].into_iter().chain(text.encode_utf16().flat_map(u16::to_be_bytes)).collect();
        let utf32: Vec<u8> = text.chars().flat_map(|c| u32::from(c).to_be_bytes()).collect();
        for raw in [utf16, utf16_marked, utf32] {
            assert_eq!(decode(&raw).text, text);
        }
    }

    #[test]
    fn a_byte_order_mark_is_left_out() {
        assert_eq!(decode(b"\xEF\xBB\xBFMSH").text, "MSH");
    }
}

//! Escape sequences inside text: reading them tolerantly, writing them in plain ASCII.

use std::borrow::Cow;

use encoding_rs::WINDOWS_1252;
use memchr::memchr;

use super::Separators;
use super::places::until;

impl Separators {
    /// Text with its delimiter and hexadecimal escapes resolved; borrowed when there is none.
    ///
    /// Highlighting (`\H\`, `\N\`), formatting (`\.br\`), character-set and local sequences are left as they stand,
    /// and so is a backslash that begins no sequence.
    pub fn unescape<'m>(&self, text: &'m str) -> Cow<'m, str> {
        self.unescape_counting(text).0
    }

    /// As [`Separators::unescape`], with the number of escape characters that begin no known sequence.
    pub fn unescape_counting<'m>(&self, text: &'m str) -> (Cow<'m, str>, usize) {
        let Some(escape) = self.escape else {
            return (Cow::Borrowed(text), 0);
        };
        let first = until(text, escape).len();
        if first == text.len() {
            return (Cow::Borrowed(text), 0);
        }
        let mut out = String::with_capacity(text.len());
        let mut lone = 0;
        let mut rest = text;
        let mut next = Some(first);
        while let Some(at) = next {
            out.push_str(&rest[..at]);
            let after = &rest[at + 1..];
            let close = memchr(escape, after.as_bytes());
            match close.and_then(|close| Some((close, self.sequence(&after[..close])?))) {
                Some((close, Sequence::Character(byte))) => {
                    out.push(char::from(byte));
                    rest = &after[close + 1..];
                }
                Some((close, Sequence::Text(resolved))) => {
                    out.push_str(&resolved);
                    rest = &after[close + 1..];
                }
                Some((close, Sequence::Left)) => {
                    out.push_str(&rest[at..at + close + 2]);
                    rest = &after[close + 1..];
                }
                None => {
                    out.push(char::from(escape));
                    lone += 1;
                    rest = after;
                }
            }
            next = memchr(escape, rest.as_bytes());
        }
        out.push_str(rest);
        (Cow::Owned(out), lone)
    }

    /// Appends text with delimiters, control characters and everything outside ASCII escaped. Where the message
    /// declares no escape character, what cannot be written becomes a space.
    pub fn escape_into(&self, text: &str, out: &mut String) {
        for character in text.chars() {
            let letter = u8::try_from(character).ok().and_then(|byte| self.letter(byte));
            match (self.escape, letter) {
                (Some(escape), Some(letter)) => out.extend([char::from(escape), letter, char::from(escape)]),
                (None, Some(_)) => out.push(' '),
                (_, None) => self.ascii_into(character, out),
            }
        }
    }

    /// Appends already delimited text, with only control characters and what lies outside ASCII escaped.
    pub(crate) fn copy_into(&self, raw: &str, out: &mut String) {
        raw.chars().for_each(|character| self.ascii_into(character, out));
    }

    fn ascii_into(&self, character: char, out: &mut String) {
        if character.is_ascii() && !character.is_ascii_control() {
            out.push(character);
        } else if let Some(escape) = self.escape {
            out.extend([char::from(escape), 'X']);
            for byte in character.encode_utf8(&mut [0; 4]).bytes() {
                out.extend([byte >> 4, byte & 0xF].map(|nibble| char::from(b"0123456789ABCDEF"[usize::from(nibble)])));
            }
            out.push(char::from(escape));
        } else {
            out.push(' ');
        }
    }

    fn letter(&self, byte: u8) -> Option<char> {
        match byte {
            b if b == self.field => Some('F'),
            b if b == self.component => Some('S'),
            b if b == self.repetition => Some('R'),
            b if Some(b) == self.escape => Some('E'),
            b if Some(b) == self.subcomponent => Some('T'),
            b if Some(b) == self.truncation => Some('P'),
            _ => None,
        }
    }

    fn sequence(&self, body: &str) -> Option<Sequence> {
        let delimiter = match body {
            "F" => Some(self.field),
            "S" => Some(self.component),
            "R" => Some(self.repetition),
            "E" => self.escape,
            "T" => Some(self.subcomponent.unwrap_or(b'&')),
            "P" => Some(self.truncation.unwrap_or(b'#')),
            _ => None,
        };
        if let Some(byte) = delimiter {
            return Some(Sequence::Character(byte));
        }
        let (kind, rest) = (*body.as_bytes().first()?, body.get(1..)?);
        match kind {
            b'X' => hexadecimal(rest),
            b'H' | b'N' => rest.is_empty().then_some(Sequence::Left),
            b'.' => (!rest.is_empty() && rest.len() <= 8 && !rest.contains(' ')).then_some(Sequence::Left),
            b'C' | b'M' | b'Z' => (!rest.is_empty() && rest.bytes().all(|b| b.is_ascii_hexdigit())).then_some(Sequence::Left),
            _ => None,
        }
    }
}

enum Sequence {
    /// One of ASCII, a delimiter above all.
    Character(u8),
    Text(String),
    Left,
}

/// `0D0A`, or in groups of four as some senders write (`000d`). Bytes are UTF-8 where they can be, else Windows-1252.
fn hexadecimal(digits: &str) -> Option<Sequence> {
    let (pairs, []) = digits.as_bytes().as_chunks::<2>() else {
        return None;
    };
    let byte = |&[high, low]: &[u8; 2]| Some(nibble(high)? << 4 | nibble(low)?);
    // Nearly always a line end, so nothing is allocated for it.
    if let [only] | [[b'0', b'0'], only] = pairs
        && let Some(byte) = byte(only).filter(u8::is_ascii)
    {
        return Some(Sequence::Character(byte));
    }
    let mut bytes = pairs.iter().map(byte).collect::<Option<Vec<u8>>>().filter(|bytes| !bytes.is_empty())?;
    if bytes.len().is_multiple_of(2) && bytes.chunks_exact(2).all(|pair| pair[0] == 0) {
        bytes = bytes.chunks_exact(2).map(|pair| pair[1]).collect();
    }
    Some(Sequence::Text(match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(other) => WINDOWS_1252.decode_without_bom_handling(other.as_bytes()).0.into_owned(),
    }))
}

fn nibble(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> String {
        Separators::STANDARD.unescape(text).into_owned()
    }

    #[test]
    fn delimiter_escapes_are_resolved() {
        assert_eq!(plain(r"A\T\E"), "A&E");
        assert_eq!(plain(r"\F\\S\\R\\E\"), r"|^~\");
        assert_eq!(plain(r"ends with \E\"), r"ends with \");
        assert_eq!(plain(r"<p class=\E\x\E\>"), r"<p class=\x\>");
    }

    #[test]
    fn hexadecimal_escapes_stand_back_to_back_and_in_groups_of_four() {
        assert_eq!(plain(r"\X0D\\X0A\"), "\r\n");
        assert_eq!(plain(r"\X000d\"), "\r");
        assert_eq!(plain(r"\XC3A9\"), "é");
        assert_eq!(plain(r"\X96\"), "–");
        assert_eq!(plain(r"\X41\\X0041\\X410042\\x41\"), "AAA\0B\\x41\\");
        for no_sequence in [r"\X\", r"\X4\", r"\X+1\", r"\X4é\", r"\X0G\"] {
            assert_eq!(plain(no_sequence), no_sequence);
        }
    }

    #[test]
    fn a_lone_backslash_is_kept_and_counted() {
        assert_eq!(Separators::STANDARD.unescape_counting(r"\"), (Cow::Borrowed(r"\"), 1));
        assert_eq!(Separators::STANDARD.unescape_counting(r"C:\dir\T\x"), (Cow::Borrowed(r"C:\dir&x"), 1));
        assert_eq!(Separators::STANDARD.unescape_counting(r"\XZZ\"), (Cow::Borrowed(r"\XZZ\"), 2));
    }

    #[test]
    fn formatting_and_highlighting_are_left_as_they_stand() {
        for text in [r"one\.br\two", r"\H\loud\N\", r"\.sp+3\", r"\C2842\", r"\Z01\"] {
            assert_eq!(plain(text), text);
        }
    }

    #[test]
    fn text_without_escapes_is_borrowed() {
        assert!(matches!(Separators::STANDARD.unescape("plain"), Cow::Borrowed("plain")));
    }

    #[test]
    fn what_is_written_is_ascii_and_reads_back() {
        let text = "A&E | 5^2 ~ \\ {\"json\":1}\r\nZoë – £5 \u{1C}";
        let mut out = String::new();
        Separators::STANDARD.escape_into(text, &mut out);
        assert!(out.bytes().all(|b| b.is_ascii() && !b.is_ascii_control()));
        assert_eq!(plain(&out), text);
    }

    #[test]
    fn without_an_escape_character_delimiters_become_spaces() {
        let separators = Separators { escape: None, ..Separators::STANDARD };
        let mut out = String::new();
        separators.escape_into("a|b\\c\u{e9}", &mut out);
        assert_eq!(out, "a b\\c ");
    }
}

//! A mail as it was received, and enough of RFC 5322, 2045 and 2047 to find one by its headers and read it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Serialize;

/// One accepted mail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mail {
    /// Envelope sender; empty for a bounce.
    pub from: String,
    /// Envelope recipients.
    pub to: Vec<String>,
    /// `Message-ID` without its angle brackets.
    pub message_id: Option<String>,
    /// `Subject`, decoded.
    pub subject: Option<String>,
    /// All headers in order, unfolded, not decoded.
    pub headers: Vec<(String, String)>,
    /// Everything after the headers, as sent (not UTF-8 is replaced).
    pub body: String,
}

impl Mail {
    pub(super) fn read(from: String, to: Vec<String>, data: &[u8]) -> Self {
        let (headers, body) = split(data);
        let headers = unfold(&String::from_utf8_lossy(headers));
        let message_id = find(&headers, "message-id").map(bare_id).map(str::to_owned);
        let subject = find(&headers, "subject").map(decode_words);
        Self { from, to, message_id, subject, headers, body: String::from_utf8_lossy(body).into_owned() }
    }

    /// The first header of this name, whatever its case.
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    /// The plain text: the body with its transfer encoding undone, or the first part that is text.
    pub fn text(&self) -> String {
        plain_text(&self.headers, self.body.as_bytes())
    }

    /// Whether this is the mail of a `Message-ID`, given with or without angle brackets.
    pub fn has_message_id(&self, message_id: &str) -> bool {
        self.message_id.as_deref() == Some(bare_id(message_id))
    }

    /// Whether the address is among the envelope recipients; case does not count.
    pub fn is_to(&self, address: &str) -> bool {
        self.to.iter().any(|to| to.eq_ignore_ascii_case(address))
    }
}

fn bare_id(id: &str) -> &str {
    id.trim().trim_start_matches('<').trim_end_matches('>')
}

fn find<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

/// Cuts at the first empty line.
fn split(data: &[u8]) -> (&[u8], &[u8]) {
    if let Some(body) = data.strip_prefix(b"\r\n") {
        return (&[], body);
    }
    match data.windows(4).position(|four| four == b"\r\n\r\n") {
        Some(at) => (&data[..at], &data[at + 4..]),
        None => (data, &[]),
    }
}

fn unfold(headers: &str) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    for line in headers.split("\r\n").filter(|line| !line.is_empty()) {
        match (line.starts_with([' ', '\t']), found.last_mut()) {
            (true, Some((_, value))) => value.push_str(line),
            _ => {
                let (name, value) = line.split_once(':').unwrap_or((line, ""));
                found.push((name.trim_end().to_owned(), value.trim().to_owned()));
            }
        }
    }
    found
}

fn plain_text(headers: &[(String, String)], body: &[u8]) -> String {
    let content_type = find(headers, "content-type").unwrap_or("text/plain");
    if content_type.to_ascii_lowercase().starts_with("multipart/") {
        return boundary(content_type).and_then(|boundary| first_text(body, &boundary)).unwrap_or_default();
    }
    let encoding = find(headers, "content-transfer-encoding").unwrap_or_default();
    let decoded = if encoding.eq_ignore_ascii_case("base64") {
        let tight: Vec<u8> = body.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
        BASE64.decode(tight).unwrap_or_default()
    } else if encoding.eq_ignore_ascii_case("quoted-printable") {
        quoted_printable(body, false)
    } else {
        body.to_vec()
    };
    String::from_utf8_lossy(&decoded).into_owned()
}

fn boundary(content_type: &str) -> Option<String> {
    let start = content_type.to_ascii_lowercase().find("boundary=")? + "boundary=".len();
    let rest = &content_type[start..];
    let value = match rest.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next(),
        None => rest.split(';').next(),
    };
    value.map(|value| value.trim().to_owned())
}

fn first_text(body: &[u8], boundary: &str) -> Option<String> {
    let body = String::from_utf8_lossy(body);
    let delimiter = format!("--{boundary}");
    body.split(delimiter.as_str()).skip(1).find_map(|part| {
        let (headers, content) = split(part.strip_prefix("\r\n")?.as_bytes());
        let headers = unfold(&String::from_utf8_lossy(headers));
        let kind = find(&headers, "content-type").unwrap_or("text/plain").to_ascii_lowercase();
        let is_text = kind.starts_with("text/plain") || kind.starts_with("multipart/");
        is_text.then(|| plain_text(&headers, content.strip_suffix(b"\r\n").unwrap_or(content)))
    })
}

/// Decodes RFC 2045 quoted-printable, or RFC 2047's `Q` where an underscore is a space.
fn quoted_printable(encoded: &[u8], in_header: bool) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(encoded.len());
    let mut rest = encoded;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'=' if after.starts_with(b"\r\n") => rest = &after[2..],
            b'=' => match after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok()) {
                Some(hex) if hex.bytes().all(|digit| digit.is_ascii_hexdigit()) => {
                    decoded.extend(u8::from_str_radix(hex, 16));
                    rest = &after[2..];
                }
                _ => decoded.push(byte),
            },
            b'_' if in_header => decoded.push(b' '),
            _ => decoded.push(byte),
        }
    }
    decoded
}

/// Decodes the encoded words of a header in UTF-8; words in other charsets stay as they are.
fn decode_words(value: &str) -> String {
    let mut decoded = String::new();
    let mut after_word = false;
    for token in value.split_inclusive(' ') {
        match decode_word(token.trim_end()) {
            Some(text) => {
                // The space between two encoded words belongs to the encoding (RFC 2047, 6.2).
                if after_word {
                    decoded.truncate(decoded.trim_end().len());
                }
                decoded.push_str(&text);
                decoded.push_str(&token[token.trim_end().len()..]);
                after_word = true;
            }
            None => {
                decoded.push_str(token);
                after_word = after_word && token.trim().is_empty();
            }
        }
    }
    decoded.trim_end().to_owned()
}

fn decode_word(word: &str) -> Option<String> {
    let mut parts = word.strip_prefix("=?")?.strip_suffix("?=")?.splitn(3, '?');
    let charset = parts.next()?;
    let (encoding, text) = (parts.next()?, parts.next()?);
    if !charset.eq_ignore_ascii_case("utf-8") {
        return None;
    }
    let bytes = match encoding {
        "B" | "b" => BASE64.decode(text).ok()?,
        "Q" | "q" => quoted_printable(text.as_bytes(), true),
        _ => return None,
    };
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail(data: &str) -> Mail {
        Mail::read("a@example.test".into(), vec!["b@example.test".into()], data.as_bytes())
    }

    #[test]
    fn folded_and_encoded_headers_are_read() {
        let mail = mail("Message-ID: <1@example.test>\r\nSubject: =?utf-8?b?UGzDoW4=?=\r\n =?UTF-8?Q?_f=C3=BCr_you?= today\r\n\r\nHello");
        assert_eq!(mail.subject.as_deref(), Some("Plán für you today"));
        assert!(mail.has_message_id("<1@example.test>"));
        assert!(mail.has_message_id("1@example.test"));
        assert_eq!(mail.text(), "Hello");
    }

    #[test]
    fn quoted_printable_and_base64_bodies_are_decoded() {
        let quoted = mail("Content-Transfer-Encoding: quoted-printable\r\n\r\ncaf=C3=A9 =\r\nopen");
        assert_eq!(quoted.text(), "café open");
        let base64 = mail("Content-Transfer-Encoding: base64\r\n\r\nSGVs\r\nbG8=\r\n");
        assert_eq!(base64.text(), "Hello");
    }

    #[test]
    fn the_first_plain_part_of_a_multipart_mail_is_its_text() {
        let mail = mail(
            "Content-Type: multipart/alternative; boundary=\"x y\"\r\n\r\n--x y\r\nContent-Type: text/html\r\n\r\n<p>no\r\n\
             --x y\r\nContent-Type: text/plain\r\n\r\nyes\r\n--x y--\r\n",
        );
        assert_eq!(mail.text(), "yes");
    }

    #[test]
    fn a_mail_without_headers_is_all_body() {
        assert_eq!(mail("\r\nplain").body, "plain");
        assert_eq!(mail("\r\nplain").message_id, None);
    }
}

//! Writing messages: plain ASCII, segments ended by CR, everything escaped that needs it.

use super::Separators;

/// Collects segments into one message with the standard delimiters. The first segment is MSH, made by
/// [`MessageWriter::new`].
pub struct MessageWriter {
    separators: Separators,
    out: String,
}

/// MSH fields of a new message. All are text; composite ones may be given as `ADT^A01^ADT_A01`.
#[derive(Debug, Clone, Copy)]
pub struct Header<'a> {
    /// MSH-3.
    pub sending_application: &'a str,
    /// MSH-4.
    pub sending_facility: &'a str,
    /// MSH-5.
    pub receiving_application: &'a str,
    /// MSH-6.
    pub receiving_facility: &'a str,
    /// MSH-7, already in HL7 form; see [`utc`].
    pub sent_at: &'a str,
    /// MSH-9 with its components.
    pub message_type: &'a str,
    /// MSH-10.
    pub control_id: &'a str,
    /// MSH-11.
    pub processing_id: &'a str,
    /// MSH-12.
    pub version: &'a str,
}

impl MessageWriter {
    /// Begins a message.
    pub fn new(header: &Header<'_>) -> Self {
        let mut writer = Self { separators: Separators::STANDARD, out: String::with_capacity(1024) };
        writer
            .segment("MSH")
            .text(3, header.sending_application)
            .text(4, header.sending_facility)
            .text(5, header.receiving_application)
            .text(6, header.receiving_facility)
            .text(7, header.sent_at)
            .raw(9, header.message_type)
            .text(10, header.control_id)
            .text(11, header.processing_id)
            .text(12, header.version)
            .end();
        writer
    }

    /// Begins a segment; it is added by [`SegmentWriter::end`].
    pub fn segment(&mut self, id: &str) -> SegmentWriter<'_> {
        SegmentWriter { id: id.to_owned(), fields: Vec::new(), separators: self.separators, out: &mut self.out }
    }

    /// The whole message, ASCII, each segment ended by CR.
    pub fn finish(self) -> Vec<u8> {
        self.out.into_bytes()
    }
}

/// Collects the fields of one segment, in any order. Field numbers count from 1 as HL7 does, so in MSH the first to set
/// is 3.
pub struct SegmentWriter<'w> {
    id: String,
    fields: Vec<String>,
    separators: Separators,
    out: &'w mut String,
}

impl<'w> SegmentWriter<'w> {
    pub(crate) fn new(id: &str, separators: Separators, out: &'w mut String) -> Self {
        Self { id: id.to_owned(), fields: Vec::new(), separators, out }
    }

    /// Sets field `number` to one escaped text.
    pub fn text(self, number: usize, text: &str) -> Self {
        self.components(number, &[text])
    }

    /// Sets field `number` to escaped components; trailing empty ones are left out.
    pub fn components(mut self, number: usize, parts: &[&str]) -> Self {
        let written = self.join(parts);
        *self.slot(number) = written;
        self
    }

    /// Adds a repetition of escaped components to field `number`.
    pub fn repeat(mut self, number: usize, parts: &[&str]) -> Self {
        let written = self.join(parts);
        let separator = char::from(self.separators.repetition);
        let slot = self.slot(number);
        if !slot.is_empty() {
            slot.push(separator);
        }
        slot.push_str(&written);
        self
    }

    /// Sets field `number` to text that has its delimiters already; only what is not ASCII is escaped.
    pub fn raw(mut self, number: usize, raw: &str) -> Self {
        let mut written = String::with_capacity(raw.len());
        self.separators.copy_into(raw, &mut written);
        *self.slot(number) = written;
        self
    }

    /// Sets field `number` to `""`, which deletes what the receiver has.
    pub fn null(mut self, number: usize) -> Self {
        *self.slot(number) = "\"\"".to_owned();
        self
    }

    /// Adds the segment to the message, without trailing empty fields.
    pub fn end(self) {
        let separator = char::from(self.separators.field);
        let header = self.id == "MSH";
        self.out.push_str(&self.id);
        if header {
            self.out.push(separator);
            self.out.push_str(&self.separators.encoding_characters());
        }
        let used = self.fields.iter().rposition(|field| !field.is_empty()).map_or(0, |last| last + 1);
        for field in self.fields[..used].iter().skip(if header { 2 } else { 0 }) {
            self.out.push(separator);
            self.out.push_str(field);
        }
        self.out.push('\r');
    }

    fn join(&self, parts: &[&str]) -> String {
        let mut written = String::new();
        let used = parts.iter().rposition(|part| !part.is_empty()).map_or(0, |last| last + 1);
        for (at, part) in parts[..used].iter().enumerate() {
            if at > 0 {
                written.push(char::from(self.separators.component));
            }
            if *part == "\"\"" {
                // Two quotes alone would mean deletion.
                written.push_str("\\X2222\\");
            } else {
                self.separators.escape_into(part, &mut written);
            }
        }
        written
    }

    fn slot(&mut self, number: usize) -> &mut String {
        let number = number.max(1);
        if self.fields.len() < number {
            self.fields.resize(number, String::new());
        }
        &mut self.fields[number - 1]
    }
}

/// `20250110120000+0000` from microseconds since 1970-01-01T00:00:00Z; `None` outside the years 1 to 9999.
pub fn utc(instant_us: i64) -> Option<String> {
    let timestamp = jiff::Timestamp::from_microsecond(instant_us).ok()?;
    let utc = jiff::tz::Offset::UTC.to_datetime(timestamp);
    (utc.year() > 0).then(|| utc.strftime("%Y%m%d%H%M%S+0000").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hl7v2::{Message, Value};

    const HEADER: Header<'_> = Header {
        sending_application: "PAS",
        sending_facility: "RHM",
        receiving_application: "HUB",
        receiving_facility: "QRL",
        sent_at: "20250110120000+0000",
        message_type: "ADT^A01^ADT_A01",
        control_id: "M|1",
        processing_id: "T",
        version: "2.4",
    };

    #[test]
    fn a_message_is_written_as_expected() {
        let mut writer = MessageWriter::new(&HEADER);
        writer.segment("PID").repeat(3, &["1", "", "", "RHM", "MR"]).repeat(3, &["2"]).null(5).text(8, "").end();
        assert_eq!(
            String::from_utf8(writer.finish()).expect("ascii"),
            "MSH|^~\\&|PAS|RHM|HUB|QRL|20250110120000+0000||ADT^A01^ADT_A01|M\\F\\1|T|2.4\rPID|||1^^^RHM^MR~2||\"\"\r"
        );
    }

    #[test]
    fn what_is_written_reads_back_and_is_ascii() {
        let mut writer = MessageWriter::new(&HEADER);
        writer.segment("PID").components(5, &["O’Neill & Zoë", "A^B~C|D\\E", "line\r\nline"]).end();
        let bytes = writer.finish();
        assert!(bytes.is_ascii());
        let message = Message::parse(&bytes).expect("readable");
        let name = message.field("PID", 5);
        assert_eq!(name.component(1).decoded().as_deref(), Some("O’Neill & Zoë"));
        assert_eq!(name.component(2).decoded().as_deref(), Some("A^B~C|D\\E"));
        assert_eq!(name.component(3).decoded().as_deref(), Some("line\r\nline"));
        assert_eq!(message.field("MSH", 10).value(), Value::Text("M\\F\\1"));
    }

    #[test]
    fn an_instant_is_written_in_utc() {
        assert_eq!(utc(0).as_deref(), Some("19700101000000+0000"));
        assert_eq!(utc(1_736_510_400_999_999).as_deref(), Some("20250110120000+0000"));
        assert_eq!(utc(i64::MAX), None);
    }
}

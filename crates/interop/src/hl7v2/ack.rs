//! Acknowledgements: building our reply to a message, and reading a receiver's reply to ours.
//!
//! What each code means for sending again: AE, the content is wrong, the same message will never be taken; AR, it was
//! not processed. For our own trouble no reply is sent at all.

use super::message::Message;
use super::part::{Component, Field, Repetition, Segment};
use super::separators::Separators;
use super::write::SegmentWriter;

/// MSA-1 (table 0008).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AckCode {
    /// AA
    ApplicationAccept,
    /// AE
    ApplicationError,
    /// AR
    ApplicationReject,
    /// CA
    CommitAccept,
    /// CE
    CommitError,
    /// CR
    CommitReject,
}

/// Which family of codes a feed is answered with. UK feeds ask for enhanced mode (`MSH-15=AL, MSH-16=NE`) and yet
/// expect AA, so this is set per feed and not read from the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AckMode {
    /// AA, AE, AR.
    #[default]
    Original,
    /// CA, CE, CR.
    Enhanced,
}

impl AckMode {
    /// The message is safely stored.
    pub fn accept(self) -> AckCode {
        match self {
            Self::Original => AckCode::ApplicationAccept,
            Self::Enhanced => AckCode::CommitAccept,
        }
    }

    /// The content is wrong.
    pub fn error(self) -> AckCode {
        match self {
            Self::Original => AckCode::ApplicationError,
            Self::Enhanced => AckCode::CommitError,
        }
    }

    /// The message cannot be taken here.
    pub fn reject(self) -> AckCode {
        match self {
            Self::Original => AckCode::ApplicationReject,
            Self::Enhanced => AckCode::CommitReject,
        }
    }
}

impl AckCode {
    /// As it stands in MSA-1.
    pub fn code(self) -> &'static str {
        match self {
            Self::ApplicationAccept => "AA",
            Self::ApplicationError => "AE",
            Self::ApplicationReject => "AR",
            Self::CommitAccept => "CA",
            Self::CommitError => "CE",
            Self::CommitReject => "CR",
        }
    }

    /// From MSA-1.
    pub fn of(code: &str) -> Option<Self> {
        [Self::ApplicationAccept, Self::ApplicationError, Self::ApplicationReject, Self::CommitAccept, Self::CommitError, Self::CommitReject]
            .into_iter()
            .find(|known| known.code() == code.trim())
    }

    /// The same verdict in the family of codes a feed is answered with.
    pub fn in_mode(self, mode: AckMode) -> Self {
        match self {
            Self::ApplicationAccept | Self::CommitAccept => mode.accept(),
            Self::ApplicationError | Self::CommitError => mode.error(),
            Self::ApplicationReject | Self::CommitReject => mode.reject(),
        }
    }

    /// AA and CA alike: receivers asked for one send the other.
    pub fn is_accept(self) -> bool {
        matches!(self, Self::ApplicationAccept | Self::CommitAccept)
    }
}

/// HL7 table 0357, message error condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorCode {
    /// 100
    SegmentSequence,
    /// 101
    RequiredFieldMissing,
    /// 102
    DataType,
    /// 103
    TableValueNotFound,
    /// 200
    UnsupportedMessageType,
    /// 201
    UnsupportedEvent,
    /// 202
    UnsupportedProcessingId,
    /// 203
    UnsupportedVersion,
    /// 204
    UnknownKey,
    /// 205
    DuplicateKey,
    /// 206
    RecordLocked,
    /// 207
    ApplicationInternal,
}

impl ErrorCode {
    fn number_and_text(self) -> (&'static str, &'static str) {
        match self {
            Self::SegmentSequence => ("100", "Segment sequence error"),
            Self::RequiredFieldMissing => ("101", "Required field missing"),
            Self::DataType => ("102", "Data type error"),
            Self::TableValueNotFound => ("103", "Table value not found"),
            Self::UnsupportedMessageType => ("200", "Unsupported message type"),
            Self::UnsupportedEvent => ("201", "Unsupported event code"),
            Self::UnsupportedProcessingId => ("202", "Unsupported processing id"),
            Self::UnsupportedVersion => ("203", "Unsupported version id"),
            Self::UnknownKey => ("204", "Unknown key identifier"),
            Self::DuplicateKey => ("205", "Duplicate key identifier"),
            Self::RecordLocked => ("206", "Application record locked"),
            Self::ApplicationInternal => ("207", "Application internal error"),
        }
    }
}

/// Where in the message the error is. Numbers count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorLocation {
    /// `PID`
    pub segment: &'static str,
    /// Which of that name.
    pub sequence: u16,
    /// Field, where one is meant.
    pub field: Option<u16>,
}

/// Content of the ERR segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorDetail {
    /// What is wrong.
    pub code: ErrorCode,
    /// Where.
    pub location: Option<ErrorLocation>,
}

/// What our reply says. No field may hold personal data: replies are logged by senders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acknowledgement<'a> {
    /// MSA-1.
    pub code: AckCode,
    /// MSH-10 of the reply, ours.
    pub control_id: &'a str,
    /// MSH-7 of the reply in HL7 form; see [`super::write::utc`].
    pub sent_at: &'a str,
    /// MSA-3, escaped when written.
    pub text: Option<&'a str>,
    /// ERR.
    pub error: Option<ErrorDetail>,
}

/// The ACK for `message`, in its own delimiters: MSH-3/4 and MSH-5/6 swapped, MSH-11, MSH-12 and MSH-18 copied so that
/// a test is never acknowledged as live (not MSH-18 where it names a wide character set), MSA-2 the control id as it was
/// sent. MSH-9 has as many components as the version knows: `ACK` to 2.2, `ACK^A01` in 2.3, `ACK^A01^ACK` from 2.3.1. The
/// reply itself is plain ASCII.
pub fn acknowledge(message: &Message<'_>, reply: &Acknowledgement<'_>) -> Vec<u8> {
    let raw = |number: usize| message.field("MSH", number).value().text().unwrap_or_default();
    let separators = message.separators();
    let header = ReplyHeader {
        parties: [raw(5), raw(6), raw(3), raw(4)],
        message_type: &reply_type(message),
        processing_id: raw(11),
        version: raw(12),
        // What the reply, in ASCII, is not.
        charset: Some(raw(18)).filter(|charset| !["UTF-16", "UTF-32"].iter().any(|wide| charset.contains(wide))).unwrap_or_default(),
        acknowledged: raw(10),
    };
    write_reply(separators, &header, reply)
}

fn reply_type(message: &Message<'_>) -> String {
    let separators = message.separators();
    let component = char::from(separators.component);
    let version = message.field("MSH", 12).value().text().unwrap_or_default();
    match (message.field("MSH", 9).component(2).code(), version_number(version, separators)) {
        (None, _) | (_, Some((2, ..=2, _) | (..=1, ..))) => "ACK".to_owned(),
        (Some(trigger), Some((2, 3, 0))) => format!("ACK{component}{trigger}"),
        (Some(trigger), _) => format!("ACK{component}{trigger}{component}ACK"),
    }
}

/// The AR for bytes whose MSH cannot be read: nobody is named, nothing is copied.
pub fn reject_unreadable(reply: &Acknowledgement<'_>) -> Vec<u8> {
    let header = ReplyHeader { parties: [""; 4], message_type: "ACK", processing_id: "P", version: "2.4", charset: "", acknowledged: "" };
    write_reply(Separators::STANDARD, &header, reply)
}

/// Raw header fields of a reply.
struct ReplyHeader<'a> {
    parties: [&'a str; 4],
    message_type: &'a str,
    processing_id: &'a str,
    version: &'a str,
    charset: &'a str,
    acknowledged: &'a str,
}

fn write_reply(separators: Separators, header: &ReplyHeader<'_>, reply: &Acknowledgement<'_>) -> Vec<u8> {
    let mut out = String::with_capacity(256);
    let [application, facility, to_application, to_facility] = header.parties;
    SegmentWriter::new("MSH", separators, &mut out)
        .raw(3, application)
        .raw(4, facility)
        .raw(5, to_application)
        .raw(6, to_facility)
        .text(7, reply.sent_at)
        .raw(9, header.message_type)
        .text(10, reply.control_id)
        .raw(11, header.processing_id)
        .raw(12, header.version)
        .raw(18, header.charset)
        .end();
    SegmentWriter::new("MSA", separators, &mut out).text(1, reply.code.code()).raw(2, header.acknowledged).text(3, reply.text.unwrap_or_default()).end();
    if let Some(error) = reply.error {
        let err = SegmentWriter::new("ERR", separators, &mut out);
        if is_2_5_or_later(header.version, separators) {
            write_err_by_field(err, error, reply.text.unwrap_or_default());
        } else {
            write_err_by_component(err, error, separators);
        }
    }
    out.into_bytes()
}

/// HL7 2.5: ERR-2 location, ERR-3 code, ERR-4 severity, ERR-8 text for a person.
fn write_err_by_field(err: SegmentWriter<'_>, error: ErrorDetail, text: &str) {
    let (number, meaning) = error.code.number_and_text();
    let location = location_parts(error.location);
    err.components(2, &location.each_ref().map(String::as_str)).components(3, &[number, meaning, "HL70357"]).text(4, "E").text(8, text).end();
}

/// Before HL7 2.5: ERR-1 `segment^sequence^field^code&text&table`.
fn write_err_by_component(err: SegmentWriter<'_>, error: ErrorDetail, separators: Separators) {
    let (number, meaning) = error.code.number_and_text();
    let [segment, sequence, field] = location_parts(error.location);
    let code = match separators.subcomponent.map(char::from) {
        Some(sub) => format!("{number}{sub}{meaning}{sub}HL70357"),
        None => number.to_owned(),
    };
    err.raw(1, &[segment, sequence, field, code].join(&char::from(separators.component).to_string())).end();
}

fn location_parts(location: Option<ErrorLocation>) -> [String; 3] {
    match location {
        Some(at) => [at.segment.to_owned(), at.sequence.to_string(), at.field.map_or(String::new(), |f| f.to_string())],
        None => Default::default(),
    }
}

fn is_2_5_or_later(version: &str, separators: Separators) -> bool {
    version_number(version, separators).is_some_and(|number| number >= (2, 5, 0))
}

/// `(2, 3, 1)` from MSH-12; `None` when nothing was sent or its first component is no version.
fn version_number(version: &str, separators: Separators) -> Option<(u32, u32, u32)> {
    let version = version.split(char::from(separators.component)).next().unwrap_or_default();
    let mut numbers = version.trim().split('.').map(|part| part.parse::<u32>());
    let major = numbers.next()?.ok()?;
    let mut next = || numbers.next().and_then(Result::ok).unwrap_or(0);
    Some((major, next(), next()))
}

/// MSH-15 or MSH-16 (table 0155).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// AL
    Always,
    /// NE
    Never,
    /// ER
    OnError,
    /// SU
    OnSuccess,
    /// Empty or not in the table.
    Unstated,
}

/// What the sender asks for: accept acknowledgement (MSH-15), application acknowledgement (MSH-16).
pub fn requested_acknowledgements(message: &Message<'_>) -> (Condition, Condition) {
    let condition = |field: Field<'_>| match field.component(1).code() {
        Some("AL") => Condition::Always,
        Some("NE") => Condition::Never,
        Some("ER") => Condition::OnError,
        Some("SU") => Condition::OnSuccess,
        _ => Condition::Unstated,
    };
    (condition(message.field("MSH", 15)), condition(message.field("MSH", 16)))
}

/// A receiver's reply to a message of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// MSA-1.
    pub code: AckCode,
    /// MSA-2: MSH-10 of the message it answers.
    pub control_id: String,
    /// MSA-3, escapes resolved. Written by others: may hold anything.
    pub text: Option<String>,
    /// Table 0357 code of the first error, in either style.
    pub error_code: Option<String>,
    /// Every ERR segment and repetition.
    pub errors: Vec<ReplyError>,
}

/// One error of a receiver's reply. Every text is the receiver's: it may hold anything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReplyError {
    /// Table 0357 code.
    pub code: Option<String>,
    /// Where in our message, as it was sent: `PID^1^3`.
    pub location: Option<String>,
    /// ERR-4: `E`, `W`, `I` or `F`; only from 2.5.
    pub severity: Option<String>,
    /// What the receiver says: ERR-8, ERR-7, the text of the code, or ERR-5.2.
    pub text: Option<String>,
}

impl Reply {
    /// `None` when there is no MSA segment with a known code. The message type is not looked at: some receivers answer
    /// with other types.
    pub fn of(message: &Message<'_>) -> Option<Self> {
        let msa = message.segment("MSA")?;
        let errors: Vec<ReplyError> = message.segments_named("ERR").flat_map(errors_of).collect();
        Some(Self {
            code: AckCode::of(msa.field(1).component(1).code()?)?,
            control_id: msa.field(2).value().code().unwrap_or_default().to_owned(),
            text: msa.field(3).value().code().map(|text| message.separators().unescape(text).into_owned()),
            error_code: errors.iter().find_map(|error| error.code.clone()),
            errors,
        })
    }
}

/// From 2.5 one error to a segment; before, one to each repetition of ERR-1.
fn errors_of(err: Segment<'_>) -> Vec<ReplyError> {
    let text = |component: Component<'_>| component.decoded().map(std::borrow::Cow::into_owned);
    let whole = |number: usize| err.field(number).value().code().map(str::to_owned);
    if err.field(3).component(1).code().is_some() || err.field(2).component(1).code().is_some() {
        let said = [err.field(8).component(1), err.field(7).component(1), err.field(3).component(2), err.field(5).component(2)];
        return vec![ReplyError {
            code: text(err.field(3).component(1)),
            location: whole(2),
            severity: text(err.field(4).component(1)),
            text: said.into_iter().find_map(text),
        }];
    }
    let old = |place: Repetition<'_>| {
        let code = place.component(4);
        let location: Vec<&str> = (1..=3).map_while(|number| place.component(number).code()).collect();
        ReplyError {
            code: text(code),
            location: (!location.is_empty()).then(|| location.join("^")),
            severity: None,
            text: code.subcomponent(2).code().map(str::to_owned),
        }
    };
    err.field(1).repetitions().filter(|place| place.value().code().is_some()).map(old).collect()
}

#[cfg(test)]
#[path = "ack_tests.rs"]
mod tests;

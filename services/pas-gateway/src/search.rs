//! The message store as operators and trusts' engineers search and read it. Engineers are given the peers they may see; what is not
//! theirs is not there for them.

use crate::explain::of_length;
use crate::gateway::{Gateway, HELD, IGNORED, INTERPRETED, SHADOW};
use crate::inbox::MEDIA_TYPE;
use crate::tags::Lasting;
use hearthline_eventing::{Answer, AuditRow, NotNow, Row, Unit, Value};
use hearthline_interop::hl7v2::{Charset, Hl7Time, Message, Separators, looks_like_code};
use hearthline_nhs::{NhsNumber, StreamId};

/// Most messages of one answer.
pub const LIMIT_MAX: u32 = 1_000;

/// Whose messages may be seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Visible {
    /// Also of those whom nobody knows.
    All,
    /// Of these peers.
    Of(Vec<String>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    In,
    Out,
}

/// What is looked for; every part that is given must agree.
#[derive(Debug, Clone, Default)]
pub struct MessageQuery {
    /// Received from here on, µs.
    pub from: Option<i64>,
    /// Received before, µs.
    pub until: Option<i64>,
    pub peer: Option<String>,
    /// MSH-9 as `ADT^A01`.
    pub kind: Option<String>,
    pub control_id: Option<String>,
    pub nhs_number: Option<NhsNumber>,
    pub state: Option<String>,
    pub direction: Option<Direction>,
    /// The last message of the page before.
    pub before_seq: Option<i64>,
    /// At most [`LIMIT_MAX`]; none is fifty.
    pub limit: Option<u32>,
}

/// A message as listed: nothing of the patient but pseudonyms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageSummary {
    pub seq: i64,
    pub id: [u8; 16],
    pub received_at: i64,
    /// The message's own time.
    pub occurred_at: i64,
    pub direction: Direction,
    pub peer: String,
    pub control_id: String,
    pub kind: String,
    pub reply: String,
    pub size: i64,
    pub state: String,
    pub why: String,
    pub effect: String,
    pub stream: Option<StreamId>,
    pub resident: Option<[u8; 16]>,
    pub day: String,
}

/// A message as shown.
#[derive(Debug, Clone)]
pub struct MessageDetail {
    pub summary: MessageSummary,
    pub shown: Shown,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    /// As it came.
    Revealed(String),
    /// Segment by segment: of what may be personal, dots or the length.
    Masked(String),
    /// A frame that cannot be read is shown to those alone who may see all of it.
    Unreadable,
    /// A repeat: its bytes are the earlier message's.
    SameAs([u8; 16]),
    /// Its key is destroyed, or nothing of it was kept.
    Gone,
}

/// A row's bytes under its day's key; none where they moved to its visit or went.
pub(crate) const SEALED: &str = "(select sealed from inbox_bytes where inbox_bytes.id = inbox.id)";
const COLUMNS: &str = "seq, id, received_at, occurred_at, outgoing, peer, control_id, kind, reply, size, state, why, effect, stream, resident, day";

impl Gateway {
    /// Messages, newest first.
    pub async fn messages(&self, query: &MessageQuery, visible: &Visible) -> Result<Vec<MessageSummary>, NotNow> {
        let mut sought = Sought::default();
        if let Some(number) = &query.nhs_number {
            let mut tags = vec![Lasting::open(&self.kernel.composer.keyring).await?.number(number)];
            tags.extend(self.daily_tags(|daily| daily.number(number)).await?);
            sought.among("person_tag", tags);
        }
        if let Some(control_id) = &query.control_id {
            sought.is("control_id", control_id.as_str());
        }
        // Of several that agree the engine is led to the one that says most: the common states say least.
        let is_common = |state: &str| [INTERPRETED, HELD, IGNORED, SHADOW].contains(&state);
        if let Some(state) = query.state.as_deref().filter(|state| !is_common(state)) {
            sought.is("state", state);
        }
        if let Some(kind) = &query.kind {
            sought.is("kind", kind.as_str());
        }
        if let Some(state) = query.state.as_deref().filter(|state| is_common(state)) {
            sought.is("state", state);
        }
        if let Some(peer) = &query.peer {
            sought.is("peer", peer.as_str());
        }
        if let Visible::Of(peers) = visible {
            sought.among("peer", peers.clone());
        }
        for (bound, at) in [(">=", query.from), ("<", query.until)] {
            if let Some(at) = at {
                let place = sought.place(at);
                sought.conditions.push(format!("received_at {bound} {place}"));
            }
        }
        if let Some(direction) = query.direction {
            let place = sought.place(i64::from(direction == Direction::Out));
            sought.conditions.push(format!("outgoing = {place}"));
        }
        if let Some(before) = query.before_seq {
            let place = sought.place(before);
            sought.conditions.push(format!("(received_at, seq) < (select received_at, seq from inbox where seq = {place})"));
        }
        let limit = sought.place(query.limit.unwrap_or(50).min(LIMIT_MAX));
        let conditions = if sought.conditions.is_empty() { "1 = 1".to_owned() } else { sought.conditions.join(" and ") };
        let sql = format!("select {COLUMNS} from inbox where {conditions} order by received_at desc, seq desc limit {limit}");
        Ok(self.kernel.store.query(&sql, &sought.args).await?.iter().map(summary).collect())
    }

    /// One message. `audit` says who looks and why; it is durable before anything is shown.
    pub async fn message(&self, id: [u8; 16], visible: &Visible, reveal: bool, audit: AuditRow) -> Result<Option<MessageDetail>, NotNow> {
        let sql = format!("select {COLUMNS}, {SEALED} from inbox where id = $1");
        let rows = self.kernel.store.query(&sql, &[id.into()]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let summary = summary(row);
        if let Visible::Of(peers) = visible
            && !peers.contains(&summary.peer)
        {
            return Ok(None);
        }
        let audit = AuditRow { whose: summary.resident, ..audit };
        match self.kernel.store.append(Unit { audit: vec![audit], ..Unit::default() }).await? {
            Answer::Committed { .. } => {}
            Answer::VersionConflict { .. } | Answer::Claimed(_) | Answer::Fenced(_) => return Err(NotNow::Other("an audit row was not taken".to_owned())),
        }
        let shown = match self.bytes_of(id, &summary.day, row.opt_blob(16)).await? {
            Some(raw) => match (Message::parse(&raw), reveal) {
                (Ok(message), true) => Shown::Revealed(message.segments().map(|segment| segment.raw().to_owned()).collect::<Vec<_>>().join("\n")),
                (Ok(message), false) => Shown::Masked(masked(&message)),
                (Err(_), true) => Shown::Revealed(String::from_utf8_lossy(&raw).into_owned()),
                (Err(_), false) => Shown::Unreadable,
            },
            None => match summary.stream.filter(|_| summary.state == crate::gateway::DUPLICATE) {
                Some(earlier) => Shown::SameAs(*earlier.bytes()),
                None => Shown::Gone,
            },
        };
        Ok(Some(MessageDetail { summary, shown }))
    }

    /// The bytes of a row, under its day's key or its visit's; none where they are gone.
    pub(crate) async fn bytes_of(&self, id: [u8; 16], day: &str, sealed: Option<&bytes::Bytes>) -> Result<Option<bytes::Bytes>, NotNow> {
        if let Some(sealed) = sealed {
            return self.unseal(id, day, sealed).await;
        }
        let Some(blob) = self.kernel.store.blob(id).await?.filter(|blob| blob.media_type == MEDIA_TYPE) else { return Ok(None) };
        let plain = self.kernel.composer.open_blob(id, &blob).await?;
        Ok(plain.known().map(|plain| bytes::Bytes::copy_from_slice(plain)))
    }
}

/// Conditions and their arguments.
#[derive(Default)]
struct Sought {
    conditions: Vec<String>,
    args: Vec<Value>,
    /// A column that is indexed was named.
    is_led: bool,
}

impl Sought {
    fn place(&mut self, value: impl Into<Value>) -> String {
        self.args.push(value.into());
        format!("${}", self.args.len())
    }

    fn is(&mut self, column: &str, value: &str) {
        let place = self.place(value);
        // An expression is not looked up in an index: the first condition leads.
        let column = if self.is_led { format!("({column} || '')") } else { column.to_owned() };
        self.conditions.push(format!("{column} = {place}"));
        self.is_led = true;
    }

    fn among<V: Into<Value>>(&mut self, column: &str, values: Vec<V>) {
        if values.is_empty() {
            return self.conditions.push("1 = 0".to_owned());
        }
        let places: Vec<String> = values.into_iter().map(|value| self.place(value)).collect();
        let column = if self.is_led { format!("({column} || '')") } else { column.to_owned() };
        self.conditions.push(format!("{column} in ({})", places.join(",")));
        self.is_led = true;
    }
}

fn summary(row: &Row) -> MessageSummary {
    MessageSummary {
        seq: row.int(0),
        id: row.id(1),
        received_at: row.int(2),
        occurred_at: row.int(3),
        direction: if row.flag(4) { Direction::Out } else { Direction::In },
        peer: row.text(5).to_owned(),
        control_id: row.text(6).to_owned(),
        kind: row.text(7).to_owned(),
        reply: row.text(8).to_owned(),
        size: row.int(9),
        state: row.text(10).to_owned(),
        why: row.text(11).to_owned(),
        effect: row.text(12).to_owned(),
        stream: (!matches!(row.0[13], Value::Null)).then(|| row.stream(13)),
        resident: row.opt_id(14),
        day: row.text(15).to_owned(),
    }
}

/// What a field is to hold that says nothing of the patient.
#[derive(Clone, Copy)]
enum Plain {
    /// A delimiter, or the name of a system or an organisation.
    Name,
    /// A control id or a number of sequence.
    Id,
    Time,
    Code,
}

fn plain(segment: &str, field: usize) -> Option<Plain> {
    match (segment, field) {
        ("MSH", 2..=6) => Some(Plain::Name),
        ("MSH", 10 | 13) | ("MSA", 2) => Some(Plain::Id),
        ("MSH", 7) | ("EVN", 2 | 3 | 6) | ("PV1", 44 | 45) => Some(Plain::Time),
        ("MSH", 9 | 11 | 12 | 14..=21) | ("EVN", 1 | 4) | ("MSA", 1) | ("PV1", 2 | 4 | 10 | 14 | 18 | 36 | 38) | ("PV2", 38) => Some(Plain::Code),
        _ => None,
    }
}

/// The message with its delimiters: fields of header, times and codes as they are where they hold such, and each letter and digit of
/// all else as a dot. Line by line, since one that begins no segment is part of the one before and may be about anybody.
fn masked(message: &Message<'_>) -> String {
    let mut out = String::new();
    for segment in message.segments() {
        for (n, line) in segment.raw().split(['\r', '\n']).filter(|line| !line.is_empty()).enumerate() {
            if !out.is_empty() {
                out.push('\n');
            }
            match n {
                0 => masked_segment(line, segment.id(), message.separators(), &mut out),
                _ => dotted(line, &mut out),
            }
        }
    }
    out
}

fn masked_segment(line: &str, id: &str, separators: Separators, out: &mut String) {
    let delimiter = char::from(separators.field);
    let offset = usize::from(id == "MSH");
    let mut is_another = false;
    for (n, field) in line.split(delimiter).enumerate() {
        if n == 0 {
            out.push_str(field);
            continue;
        }
        out.push(delimiter);
        // Another segment whose line end got lost.
        is_another |= field.starts_with(' ') && field.trim().len() == 3;
        match plain(id, n + offset).filter(|_| !is_another) {
            Some(Plain::Name) => out.push_str(field),
            Some(plain) => as_it_should_be(plain, field, separators, out),
            None => dotted(field, out),
        }
    }
}

/// Each part of a field as it is where it holds what it should, else its length.
fn as_it_should_be(plain: Plain, field: &str, separators: Separators, out: &mut String) {
    let is_delimiter = |c: char| [Some(separators.component), Some(separators.repetition), separators.subcomponent].contains(&u8::try_from(c).ok());
    for piece in field.split_inclusive(is_delimiter) {
        let value = piece.trim_end_matches(is_delimiter);
        let fits = match plain {
            Plain::Name => true,
            Plain::Time => value.is_empty() || Hl7Time::parse(value).is_ok(),
            Plain::Code => looks_like_code(value) || Charset::named(value).is_some(),
            Plain::Id => looks_like_code(value) || looks_like_id(value),
        };
        if fits {
            out.push_str(value)
        } else {
            out.push_str(&of_length(value))
        }
        out.push_str(&piece[value.len()..]);
    }
}

fn looks_like_id(value: &str) -> bool {
    let mut parts = value.split(|c: char| !c.is_ascii_digit()).chain([value]);
    value.bytes().all(|b| b.is_ascii_graphic()) && value.bytes().any(|b| b.is_ascii_digit()) && parts.all(|part| NhsNumber::parse(part).is_err())
}

/// Letters and digits of any script count.
fn dotted(text: &str, out: &mut String) {
    out.extend(text.chars().map(|c| if c.is_alphanumeric() { '•' } else { c }));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        masked(&Message::parse(text.as_bytes()).expect("readable"))
    }

    const HEADER: &str = "MSH|^~\\&|PAS|RHM|HUB|QRL|20260301101500||ADT^A01^ADT_A01|C0001|P|2.4|17|||AL|NE||UNICODE UTF-8";

    #[test]
    fn header_times_and_codes_are_shown_as_they_are() {
        let text = format!("{HEADER}\rEVN|A01|20260301101500||EMER-ED\rPV1|1|I||21~2A");
        assert_eq!(shown(&text), text.replace("|1|", "|•|").replace('\r', "\n"));
    }

    #[test]
    fn a_line_that_begins_no_segment_is_masked_whole_whatever_it_was_joined_to() {
        for before in ["", "\rEVN|A01|20260301101500", "\rPV1|1|I"] {
            for patient in ["pid|1||9434765919^^^NHS^NH||SMITH^JOHN||19400701", " PID|1||9434765919||SMITH^JOHN||19400701", "SMITH 9434765919 19400701"] {
                let out = shown(&format!("{HEADER}{before}\r{patient}"));
                for needle in ["9434765919", "SMITH", "JOHN", "19400701"] {
                    assert!(!out.contains(needle), "{needle} is shown in {out}");
                }
            }
        }
        // A line end that got lost in the header.
        let out = shown("MSH|^~\\&|PAS|RHM|HUB|QRL|20260301| PID|1||9434765919||SMITH^JOHN||19400701");
        assert!(!out.contains("9434765919") && !out.contains("SMITH") && !out.contains("19400701"), "{out}");
    }

    #[test]
    fn text_where_a_code_or_a_time_belongs_is_counted() {
        let text = format!("{HEADER}\rEVN|A01|Smith||SMITH JOHN\rPV1|1|I||WHITCOMBE||||||||||Home of Mrs X{}9434765919", "|".repeat(30));
        let out = shown(&text);
        assert!(out.contains("\nEVN|A01|(text of 5 characters)||(text of 10 characters)\n") && out.contains("|(text of 13 characters)|"), "{out}");
        for needle in ["SMITH", "Smith", "WHITCOMBE", "Home", "9434765919"] {
            assert!(!out.contains(needle), "{needle} is shown in {out}");
        }
        let out = shown(&HEADER.replace("C0001", "9434765919").replace("||ADT", "|secret|ADT"));
        assert!(!out.contains("9434765919") && !out.contains("secret"), "{out}");
    }
}

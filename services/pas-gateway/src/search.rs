//! The message store as operators and trusts' engineers search and read it. Engineers are given the peers they may see; what is not
//! theirs is not there for them.

use crate::gateway::{Gateway, HELD, IGNORED, INTERPRETED, SHADOW};
use crate::inbox::MEDIA_TYPE;
use crate::tags::Lasting;
use hearthline_eventing::{Answer, AuditRow, NotNow, Row, Unit, Value};
use hearthline_interop::hl7v2::{Message, Segment};
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
    /// Segment by segment, with what may be personal replaced by dots.
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
                (Ok(message), false) => Shown::Masked(message.segments().map(|segment| masked(&segment)).collect::<Vec<_>>().join("\n")),
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

/// Fields that say nothing of the patient: header, times and codes.
fn is_plain(segment: &str, field: usize) -> bool {
    match segment {
        "MSH" => true,
        "EVN" => matches!(field, 1 | 2 | 3 | 4 | 6),
        "MSA" => matches!(field, 1 | 2),
        "PV1" => matches!(field, 1 | 2 | 4 | 10 | 14 | 18 | 36 | 38 | 44 | 45),
        "PV2" => matches!(field, 38),
        _ => field == 0,
    }
}

/// A segment with its delimiters, and each character of what may be personal as a dot. Letters and digits of any script count.
fn masked(segment: &Segment<'_>) -> String {
    let raw = segment.raw();
    let id = segment.id();
    if id == "MSH" {
        return raw.to_owned();
    }
    let delimiter = raw[id.len()..].chars().next();
    let mut out = String::with_capacity(raw.len());
    for (n, field) in delimiter.map_or_else(|| vec![raw], |delimiter| raw.split(delimiter).collect()).into_iter().enumerate() {
        if n > 0 {
            out.extend(delimiter);
        }
        if n == 0 || is_plain(id, n) {
            out.push_str(field);
        } else {
            out.extend(field.chars().map(|c| if c.is_alphanumeric() { '•' } else { c }));
        }
    }
    out
}

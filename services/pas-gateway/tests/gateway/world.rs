//! A gateway on a temporary folder, a directory that tells it things, and messages as a PAS writes them.

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use hearthline_contracts::directory::{self as dir, DirectoryEvent};
use hearthline_contracts::envelope::Environment;
use hearthline_contracts::types::Demographics;
use hearthline_contracts::{topics, wire};
use hearthline_eventing::consumer::{Inbound, Reaction};
use hearthline_eventing::{
    Actor, Answer, Cause, Committed, Consumed, Fact, InboxChange, Kernel, NewEvent, Occurred, Ports, Recorded, Row, Store, StoreError, StoredBlob, Unit, Value,
    now_us, timers,
};
use hearthline_interop::hl7v2::write::{Header, MessageWriter};
use hearthline_interop::hl7v2::{Message, Reply};
use hearthline_interop::mllp;
use hearthline_nhs::{NhsNumber, OdsCode, StreamId};
use hearthline_pas_gateway::gateway::Gateway;
use hearthline_pas_gateway::inbound::Policies;
use hearthline_pas_gateway::interpret::Run;
use hearthline_pas_gateway::mllp::Arrival;
use hearthline_pas_gateway::peer::Agreement;
use hearthline_pas_gateway::timers::Clock;
use hearthline_pas_gateway::{NAME, Peer, TOPIC, views};
use hearthline_runtime::connect::Backend;
use prost::Message as _;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

pub const BORN: &str = "19380412";
pub const POSTCODE: &str = "SO16 6YD";

pub struct World {
    pub folder: tempfile::TempDir,
    pub backend: Backend,
    pub ports: Ports,
    pub directory: Kernel,
}

pub fn peers() -> Vec<Peer> {
    let agreement = Agreement { from: jiff::civil::date(2020, 1, 1), purpose: "evaluation".to_owned(), lawful_basis: "public task".to_owned() };
    let ods = |code| OdsCode::parse(code).expect("valid");
    vec![Peer { home_level_visits: Some(agreement), ..Peer::new("southampton", ods("RHM")) }, Peer::new("portsmouth", ods("RHU"))]
}

/// The `n`th number of the range that is never issued.
pub fn number(n: u32) -> String {
    (999_000_100 + 20 * n..).find_map(|first_nine| NhsNumber::complete(first_nine).ok()).expect("one in eleven has no check digit").as_str().to_owned()
}

impl World {
    pub async fn new(environment: Environment) -> Self {
        let folder = tempfile::tempdir().expect("temporary folder");
        let backend = Backend::open(folder.path(), None, environment, "QRL").await.expect("backend");
        let ports = backend.connect(NAME, TOPIC, views()).await.expect("store").ports;
        let theirs = backend.connect("directory", &topics::DIRECTORY, Vec::new()).await.expect("store").ports;
        let directory = Kernel::new("directory", &topics::DIRECTORY, &theirs);
        World { folder, backend, ports, directory }
    }

    pub fn gateway(&self) -> Gateway {
        self.gateway_on(self.ports.store.clone())
    }

    pub fn gateway_on(&self, store: Arc<dyn Store>) -> Gateway {
        let ports = Ports { store, ..self.ports.clone() };
        Gateway::new(Kernel::new(NAME, TOPIC, &ports), peers(), false, 14).expect("shipped profiles")
    }

    /// A resident's registration as the directory composes it.
    pub async fn registration(&self, resident: [u8; 16], nhs_number: &str, born: &str, home: Option<[u8; 16]>) -> Fact {
        let demographics = Demographics { family_name: "Test".into(), date_of_birth: born.into(), nhs_number: nhs_number.into(), ..Demographics::default() };
        let fact =
            dir::ResidentRegistered { home_id: home.map(|id| Bytes::copy_from_slice(&id)).unwrap_or_default(), has_nhs_number: true, ..Default::default() };
        let personal = dir::ResidentRegisteredPersonal { demographics: Some(demographics) }.encode_to_vec();
        self.compose(resident, "ResidentRegistered", wire::fact_bytes::<DirectoryEvent>(fact), Some(personal)).await
    }

    /// A home's registration as the directory composes it.
    pub async fn home(&self, id: [u8; 16], name: &str, line: &str, postcode: &str) -> Fact {
        self.home_at(id, name, line, postcode, "").await
    }

    /// The same of a home whose UPRN is known.
    pub async fn home_at(&self, id: [u8; 16], name: &str, line: &str, postcode: &str, uprn: &str) -> Fact {
        let fact = dir::HomeRegistered {
            ods_code: "VL001".into(),
            name: name.into(),
            address_lines: vec![line.into()],
            postcode: postcode.into(),
            uprn: uprn.into(),
            ..Default::default()
        };
        self.compose(id, "HomeRegistered", wire::fact_bytes::<DirectoryEvent>(fact), None).await
    }

    /// A resident comes to a home on a day, or leaves it.
    pub async fn moved(&self, resident: [u8; 16], home: [u8; 16], came: bool, on: &str) -> Fact {
        let home_id = Bytes::copy_from_slice(&home);
        let (name, fact) = match came {
            true => ("ResidentMovedIn", wire::fact_bytes::<DirectoryEvent>(dir::ResidentMovedIn { home_id, moved_in_on: on.into() })),
            false => ("ResidentMovedOut", wire::fact_bytes::<DirectoryEvent>(dir::ResidentMovedOut { home_id, moved_out_on: on.into(), ..Default::default() })),
        };
        self.compose(resident, name, fact, None).await
    }

    /// Two residents made one, as the directory composes it.
    pub async fn residents_merged(&self, from: [u8; 16], into: [u8; 16]) -> Fact {
        let fact = dir::ResidentsMerged { from_id: Bytes::copy_from_slice(&from), into_id: Bytes::copy_from_slice(&into), ..Default::default() };
        self.compose(into, "ResidentsMerged", wire::fact_bytes::<DirectoryEvent>(fact), None).await
    }

    async fn compose(&self, stream: [u8; 16], name: &'static str, fact: Bytes, personal: Option<Vec<u8>>) -> Fact {
        let now = now_us();
        let event = NewEvent { name, fact, personal: personal.map(Into::into), occurred: Occurred::at(now), revision: 1 };
        let cause = Cause { actor: Actor::SYSTEM, causation: None, correlation: stream, traceparent: None };
        let mut write = self.directory.composer.write(StreamId::from_bytes(stream), 0, vec![event], &cause, now).await.expect("composed");
        let row = write.events.remove(0);
        let parts = wire::split(&row.payload).expect("ours");
        Fact { topic: topics::DIRECTORY.name, envelope: row.envelope, sealed: parts.sealed, payload: row.payload }
    }

    /// Appends the fact at the directory, for its relay to publish.
    pub async fn publish(&self, fact: &Fact) {
        let event = DirectoryEvent::decode(fact.payload.clone()).expect("ours");
        let row = hearthline_eventing::EventRow {
            stream: fact.stream(),
            version: fact.version(),
            event_id: fact.event_id(),
            name: if matches!(event.fact, Some(dir::directory_event::Fact::HomeRegistered(_))) { "HomeRegistered" } else { "ResidentRegistered" },
            envelope: fact.envelope.clone(),
            payload: fact.payload.clone(),
            traceparent: None,
        };
        let write = hearthline_eventing::Write { stream: fact.stream(), expected: 0, events: vec![row] };
        let answer = self.directory.store.append(Unit { writes: vec![write], ..Unit::default() }).await.expect("appended");
        assert!(matches!(answer, Answer::Committed { .. }));
    }

    pub async fn events(&self) -> Vec<String> {
        self.ports.store.read_all(0, 1_000).await.expect("readable").into_iter().map(|e| e.name).collect()
    }

    pub async fn rows(&self) -> Vec<(String, String)> {
        let rows = self.ports.store.query("select state, why from inbox order by occurred_at, seq", &[]).await.expect("readable");
        rows.iter().map(|r| (r.text(0).to_owned(), r.text(1).to_owned())).collect()
    }

    pub async fn states(&self) -> Vec<String> {
        self.rows().await.into_iter().map(|(state, _)| state).collect()
    }
}

/// Does with a fact what the consumer does: asks the policy, and appends its unit with the fact to project.
pub async fn consume(gateway: &Gateway, fact: &Fact) {
    let reaction = Policies { gateway: gateway.clone() }.act(fact).await.expect("acted");
    let Reaction::Apply(mut unit) = reaction else { panic!("it acts on residents and homes") };
    unit.consumed = Some(Consumed { subscription: NAME.into(), facts: vec![fact.clone()], ..Consumed::default() });
    let answer = gateway.kernel.store.append(*unit).await.expect("appended");
    assert!(matches!(answer, Answer::Committed { .. }));
}

/// A fact of the directory that views alone take.
pub async fn project(gateway: &Gateway, fact: &Fact) {
    let consumed = Consumed { subscription: NAME.into(), facts: vec![fact.clone()], ..Consumed::default() };
    let answer = gateway.kernel.store.append(Unit { consumed: Some(consumed), ..Unit::default() }).await.expect("appended");
    assert!(matches!(answer, Answer::Committed { .. }));
}

/// Noon in London so many days after the one whose messages are here, µs.
pub async fn noon_after(world: &World, days: i64) -> i64 {
    let rows = world.ports.store.query("select max(day) from inbox", &[]).await.expect("readable");
    let day: jiff::civil::Date = rows[0].text(0).parse().expect("a day");
    let day = day.checked_add(jiff::Span::new().days(days)).expect("in the calendar");
    hearthline_nhs::london_instant(day.at(12, 0, 0, 0)).expect("in the calendar")
}

/// Fires what is due, and what was set anew because something was still being interpreted.
pub async fn tick(gateway: &Gateway) {
    fire(gateway).await;
    tokio::time::sleep(Duration::from_millis(60)).await;
    fire(gateway).await;
}

pub async fn fire(gateway: &Gateway) {
    timers::step(&gateway.kernel, &Clock { gateway: gateway.clone() }, now_us(), &mut HashMap::new()).await.expect("fired");
}

/// Receives a message and interprets what was received.
pub async fn take(gateway: &Gateway, raw: &[u8]) {
    assert!(receive(gateway, raw).await.code.is_accept());
    interpret(gateway).await;
}

pub fn arrival() -> Arrival {
    Arrival { listener: "default".into(), remote: ([127, 0, 0, 1], 1).into(), peer: None, certificate: None }
}

/// The reply to a frame.
pub async fn receive(gateway: &Gateway, raw: &[u8]) -> Reply {
    let reply = gateway.receive(&Bytes::copy_from_slice(raw), &arrival()).await.expect("answered").expect("a reply");
    let message = Message::parse(&reply).expect("a reply is readable");
    Reply::of(&message).expect("a reply has an MSA")
}

/// Does what the worker does until nothing is left.
pub async fn interpret(gateway: &Gateway) {
    let run = Run::new(gateway);
    while run.step().await.expect("interpreted") > 0 {}
}

/// One ADT message.
#[derive(Clone)]
pub struct Adt {
    pub trigger: &'static str,
    pub control: String,
    pub facility: &'static str,
    pub processing: &'static str,
    pub number: String,
    pub born: &'static str,
    pub address: (&'static str, &'static str),
    pub class: &'static str,
    pub method: &'static str,
    pub visit: &'static str,
    pub at: &'static str,
}

impl Adt {
    pub fn new(trigger: &'static str, control: &str, number: &str) -> Self {
        Adt {
            trigger,
            control: control.into(),
            facility: "RHM",
            processing: "P",
            number: number.into(),
            born: BORN,
            address: ("1 Nowhere Lane", "PO1 1AA"),
            class: "I",
            method: "21",
            visit: "V1",
            at: "20260301101500",
        }
    }

    pub fn write(&self) -> Vec<u8> {
        let kind = format!("ADT^{}", self.trigger);
        let mut writer = MessageWriter::new(&Header {
            sending_application: "PAS",
            sending_facility: self.facility,
            receiving_application: "HUB",
            receiving_facility: "QRL",
            sent_at: self.at,
            message_type: &kind,
            control_id: &self.control,
            processing_id: self.processing,
            version: "2.4",
        });
        writer.segment("EVN").text(2, self.at).text(6, self.at).end();
        writer
            .segment("PID")
            .repeat(3, &["H123", "", "", self.facility, "MR"])
            .repeat(3, &[&self.number, "", "", "NHS", "NH"])
            .components(5, &["TESTPERSON", "Ada"])
            .text(7, self.born)
            .components(11, &[self.address.0, "", "SOUTHAMPTON", "", self.address.1])
            .end();
        writer.segment("PV1").text(2, self.class).text(4, self.method).text(19, self.visit).end();
        writer.segment("PV2").text(38, "A").end();
        writer.finish()
    }
}

/// A socket, with or without TLS.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A sending system on a socket.
pub struct Sender {
    stream: Box<dyn Stream>,
    decoder: mllp::Decoder,
}

impl Sender {
    pub async fn connect(address: std::net::SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.expect("connected"))
    }

    pub fn over(stream: impl Stream + 'static) -> Self {
        Sender { stream: Box::new(stream), decoder: mllp::Decoder::new(1 << 20) }
    }

    pub async fn send(&mut self, message: &[u8]) {
        let mut framed = BytesMut::new();
        mllp::encode(message, &mut framed);
        self.stream.write_all(&framed).await.expect("sent");
    }

    pub async fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("sent");
    }

    /// The next reply and its bytes; none where the connection was closed.
    pub async fn reply(&mut self) -> Option<(Reply, String)> {
        let mut buffer = [0; 4096];
        loop {
            if let Some(mllp::Event::Frame(frame)) = self.decoder.poll() {
                let message = Message::parse(&frame).expect("a reply is readable");
                return Some((Reply::of(&message).expect("a reply has an MSA"), String::from_utf8_lossy(&frame).into_owned()));
            }
            let read = tokio::time::timeout(Duration::from_secs(20), self.stream.read(&mut buffer)).await.expect("an answer in time");
            match read {
                Ok(0) | Err(_) => return None,
                Ok(n) => self.decoder.push(&buffer[..n]),
            }
        }
    }

    pub async fn exchange(&mut self, message: &[u8]) -> (Reply, String) {
        self.send(message).await;
        self.reply().await.expect("a reply")
    }
}

/// Looks until what is seen is as it should be.
pub async fn until<F, Fut>(what: &str, mut look: F)
where
    F: FnMut() -> Fut,
    Fut: Future<Output = bool>,
{
    let deadline = Instant::now() + Duration::from_secs(90);
    while !look().await {
        assert!(Instant::now() < deadline, "never came: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Where a message's commits stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    BeforeReceipt,
    AfterReceipt,
    BeforeSettling,
    AfterSettling,
}

type Between = Box<dyn Fn(Stage) -> BoxFuture<'static, Result<(), StoreError>> + Send + Sync>;

/// A store that lets something else happen around the commits of messages, or keeps them from happening.
pub struct Interrupted {
    inner: Arc<dyn Store>,
    between: Between,
    /// How many rows it was asked for, and found.
    pub read: AtomicUsize,
}

impl Interrupted {
    pub fn new(inner: Arc<dyn Store>, between: impl Fn(Stage) -> BoxFuture<'static, Result<(), StoreError>> + Send + Sync + 'static) -> Self {
        Interrupted { inner, between: Box::new(between), read: AtomicUsize::new(0) }
    }
}

#[async_trait]
impl Store for Interrupted {
    fn service(&self) -> &str {
        self.inner.service()
    }
    async fn append(&self, unit: Unit) -> Result<Answer, StoreError> {
        let stages = match unit.inbox.first() {
            Some(InboxChange::Receive(_)) => Some((Stage::BeforeReceipt, Stage::AfterReceipt)),
            Some(InboxChange::Settle(_)) => Some((Stage::BeforeSettling, Stage::AfterSettling)),
            Some(InboxChange::Answered { .. } | InboxChange::Sweep { .. }) | None => None,
        };
        if let Some((before, _)) = stages {
            (self.between)(before).await?;
        }
        let answer = self.inner.append(unit).await;
        if let Some((_, after)) = stages {
            (self.between)(after).await?;
        }
        answer
    }
    async fn read_stream(&self, stream: StreamId, after: u64) -> Result<Vec<Recorded>, StoreError> {
        self.inner.read_stream(stream, after).await
    }
    async fn read_all(&self, after: u64, limit: u32) -> Result<Vec<Recorded>, StoreError> {
        self.inner.read_all(after, limit).await
    }
    async fn query(&self, sql: &str, args: &[Value]) -> Result<Vec<Row>, StoreError> {
        let rows = self.inner.query(sql, args).await?;
        self.read.fetch_add(1 + rows.len(), Ordering::SeqCst);
        Ok(rows)
    }
    async fn blob(&self, id: [u8; 16]) -> Result<Option<StoredBlob>, StoreError> {
        self.inner.blob(id).await
    }
    fn committed(&self) -> watch::Receiver<Committed> {
        self.inner.committed()
    }
    fn set_open(&self, open: Result<(), String>) {
        self.inner.set_open(open);
    }
    fn opened(&self) -> Result<(), String> {
        self.inner.opened()
    }
}

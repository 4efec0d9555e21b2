//! The hospitals' way in: frames to their durable reply, what was received to events, and one message found among many.

use super::bed::Bed;
use super::{Figure, Options, histogram, ms};
use anyhow::{Context, bail};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use hearthline_contracts::directory::{DirectoryEvent, ResidentRegistered, ResidentRegisteredPersonal};
use hearthline_contracts::types::Demographics;
use hearthline_contracts::{topics, wire};
use hearthline_eventing::consumer::{Inbound, Reaction};
use hearthline_eventing::{Actor, Cause, Fact, InboxChange, InboxRow, Kernel, NewEvent, Occurred, Unit, now_us};
use hearthline_interop::mllp;
use hearthline_nhs::{NhsNumber, OdsCode, StreamId};
use hearthline_pas_gateway::gateway::Gateway;
use hearthline_pas_gateway::inbound::Policies;
use hearthline_pas_gateway::interpret::Run;
use hearthline_pas_gateway::mllp::listener::Port;
use hearthline_pas_gateway::mllp::{Arrival, Timings};
use hearthline_pas_gateway::search::{MessageQuery, Visible};
use hearthline_pas_gateway::{Listener, NAME, Peer, TOPIC, peer::DEFAULT_LISTENER, views};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

const FRAME_LIMIT: usize = 1 << 20;
/// Messages handed in at once where nothing but the store is waited for.
const HANDED_IN: usize = 256;
const RESIDENTS: u32 = 1_000;

fn gateway(kernel: Kernel) -> Gateway {
    Gateway::new(kernel, vec![Peer::new("bench", OdsCode::parse("RHM").expect("a valid code"))], false, 14).expect("a shipped profile")
}

/// Frames to AA on so many connections with one message outstanding each; with `reads`, what is received is interpreted at the same time.
pub async fn mllp(options: &Options, connections: usize, reads: bool) -> anyhow::Result<Figure> {
    let bed = Bed::make(options).await?;
    let connected = bed.connect(NAME, TOPIC, views()).await?;
    let gateway = gateway(Kernel::new(NAME, TOPIC, &connected.ports));
    let listener = Listener { name: DEFAULT_LISTENER.to_owned(), listen: SocketAddr::from(([127, 0, 0, 1], 0)), tls: None };
    let port = Port::open(&listener, FRAME_LIMIT, Timings::default()).await?;
    let address = port.address()?;
    let stop = CancellationToken::new();
    let serving = tokio::spawn(port.serve(gateway.clone(), stop.clone()));
    let reading = reads.then(|| tokio::spawn(read_on(gateway.clone(), stop.clone())));
    let what = format!("MLLP to durable AA, {}{}", bed.named(), if reads { ", interpreting" } else { "" });
    let figure = sent_to(address, what, options.seconds, connections).await?;
    stop.cancel();
    serving.await?.map_err(|why| anyhow::anyhow!(why))?;
    if let Some(reading) = reading {
        reading.await??;
    }
    connected.store.close().await;
    bed.clear().await?;
    Ok(figure)
}

/// The same frames to whatever receiver listens at an address.
pub async fn sent_to(address: SocketAddr, what: String, during: Duration, connections: usize) -> anyhow::Result<Figure> {
    let begun = Instant::now();
    let until = begun + during;
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..connections {
        tasks.spawn(sender(address, n, until));
    }
    let mut all = histogram();
    while let Some(done) = tasks.join_next().await {
        all.add(done??)?;
    }
    let per_second = all.len() as f64 / begun.elapsed().as_secs_f64();
    Ok(Figure { what, callers: connections, per_second, p50_ms: ms(all.value_at_quantile(0.5)), p99_ms: ms(all.value_at_quantile(0.99)) })
}

async fn read_on(gateway: Gateway, stop: CancellationToken) -> anyhow::Result<()> {
    let run = Run::new(&gateway);
    while !stop.is_cancelled() {
        if run.step().await? == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    Ok(())
}

async fn sender(address: SocketAddr, n: usize, until: Instant) -> anyhow::Result<hdrhistogram::Histogram<u64>> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (mut times, mut framed, mut reply) = (histogram(), BytesMut::new(), Vec::with_capacity(1_024));
    for i in 0u64.. {
        if Instant::now() >= until {
            break;
        }
        let visit = u64::try_from(n)? * 10_000_000 + i;
        let message = adt("A01", &format!("B{visit}"), &number(u32::try_from(visit % 50_000)?), &format!("V{visit}"), "20260301101500");
        framed.clear();
        mllp::encode(message.as_bytes(), &mut framed);
        let begun = Instant::now();
        stream.write_all(&framed).await?;
        reply.clear();
        while !reply.ends_with(&[0x1c, 0x0d]) {
            if stream.read_buf(&mut reply).await? == 0 {
                bail!("the gateway closed the connection");
            }
        }
        times.record(u64::try_from(begun.elapsed().as_micros())?.max(1))?;
        if !reply.windows(6).any(|w| w == b"MSA|AA") {
            bail!("a message was not accepted: {}", String::from_utf8_lossy(&reply));
        }
    }
    Ok(times)
}

/// Received messages to committed events: every visit is a resident's, and has an admission, a transfer and a discharge.
pub async fn interpret(options: &Options, messages: u64) -> anyhow::Result<Vec<Figure>> {
    let bed = Bed::make(options).await?;
    let connected = bed.connect(NAME, TOPIC, views()).await?;
    let theirs = bed.connect("directory", &topics::DIRECTORY, Vec::new()).await?;
    let gateway = gateway(Kernel::new(NAME, TOPIC, &connected.ports));
    register(&gateway, &Kernel::new("directory", &topics::DIRECTORY, &theirs.ports)).await?;
    let visits = (messages / 3).max(1);
    let begun = Instant::now();
    let story = (0..visits.div_ceil(1_000)).flat_map(|round| {
        [("A01", "20260301101500"), ("A02", "20260302101500"), ("A03", "20260303101500")]
            .into_iter()
            .flat_map(move |(trigger, at)| (round * 1_000..((round + 1) * 1_000).min(visits)).map(move |visit| (trigger, at, visit)))
    });
    let handing = futures_util::stream::iter(story.map(|(trigger, at, visit)| {
        let gateway = gateway.clone();
        async move {
            let number = number(u32::try_from(visit % u64::from(RESIDENTS)).unwrap_or(0));
            let raw = adt(trigger, &format!("{trigger}{visit}"), &number, &format!("V{visit}"), at);
            gateway.receive(&Bytes::from(raw), &arrival()).await
        }
    }));
    let taken: Vec<_> = handing.buffered(HANDED_IN).collect().await;
    for reply in taken {
        reply?.context("no reply")?;
    }
    let received = begun.elapsed().as_secs_f64();
    let (begun, mut settled, mut pages) = (Instant::now(), 0u64, histogram());
    let run = Run::new(&gateway);
    loop {
        let page = Instant::now();
        let done = run.step().await?;
        if done == 0 {
            break;
        }
        settled += done as u64;
        pages.record(u64::try_from(page.elapsed().as_micros())?.max(1))?;
    }
    let seconds = begun.elapsed().as_secs_f64();
    let events = connected.ports.store.query("select count(*) from events", &[]).await?[0].int(0);
    let held = connected.ports.store.query("select count(*) from inbox where state <> 'interpreted'", &[]).await?[0].int(0);
    if held > 0 {
        bail!("{held} messages of residents were not interpreted");
    }
    connected.store.close().await;
    theirs.store.close().await;
    let named = bed.named();
    bed.clear().await?;
    let figure = |what: &str, callers, per_second| Figure {
        what: format!("{what}, {named}"),
        callers,
        per_second,
        p50_ms: ms(pages.value_at_quantile(0.5)),
        p99_ms: ms(pages.value_at_quantile(0.99)),
    };
    Ok(vec![
        Figure { p50_ms: 0.0, p99_ms: 0.0, ..figure("messages received", HANDED_IN, settled as f64 / received) },
        figure("messages interpreted (ms: a page)", 1, settled as f64 / seconds),
        figure("events of them (ms: a page)", 1, events as f64 / seconds),
    ])
}

async fn register(gateway: &Gateway, directory: &Kernel) -> anyhow::Result<()> {
    for n in 0..RESIDENTS {
        let stream = StreamId::from_bytes(*uuid::Uuid::now_v7().as_bytes());
        let demographics = Demographics { family_name: "Bench".into(), date_of_birth: "1938-04-12".into(), nhs_number: number(n), ..Default::default() };
        let personal = prost::Message::encode_to_vec(&ResidentRegisteredPersonal { demographics: Some(demographics) });
        let fact = wire::fact_bytes::<DirectoryEvent>(ResidentRegistered { has_nhs_number: true, ..Default::default() });
        let now = now_us();
        let event = NewEvent { name: "ResidentRegistered", fact, personal: Some(personal.into()), occurred: Occurred::at(now), revision: 1 };
        let cause = Cause { actor: Actor::SYSTEM, causation: None, correlation: *stream.bytes(), traceparent: None };
        let row = directory.composer.write(stream, 0, vec![event], &cause, now).await?.events.remove(0);
        let sealed = wire::split(&row.payload).ok().and_then(|parts| parts.sealed);
        let fact = Fact { topic: topics::DIRECTORY.name, envelope: row.envelope, sealed, payload: row.payload };
        match (Policies { gateway: gateway.clone() }).act(&fact).await? {
            // Nothing is held yet that they could take.
            Reaction::Apply(unit) => gateway.kernel.store.append(Unit { timers: Vec::new(), ..*unit }).await?,
            _ => bail!("a resident was not taken in"),
        };
    }
    Ok(())
}

/// One message among many, by each of what it may be looked for by.
pub async fn search(options: &Options, messages: u64) -> anyhow::Result<Vec<Figure>> {
    let bed = Bed::make(options).await?;
    let connected = bed.connect(NAME, TOPIC, views()).await?;
    let gateway = gateway(Kernel::new(NAME, TOPIC, &connected.ports));
    let needle = adt("A28", "NEEDLE", &number(77_777), "NEEDLE", "20260301101500");
    let half = messages / 2;
    fill(&gateway, 0..half).await?;
    let at = now_us();
    gateway.receive(&Bytes::from(needle), &arrival()).await?;
    fill(&gateway, half..messages).await?;
    let one = NhsNumber::parse(&number(77_777)).context("a number")?;
    let query = MessageQuery::default;
    let sought = [
        ("control id", MessageQuery { control_id: Some("NEEDLE".to_owned()), ..query() }),
        ("NHS number", MessageQuery { nhs_number: Some(one), ..query() }),
        ("type", MessageQuery { kind: Some("ADT^A28".to_owned()), peer: Some("bench".to_owned()), ..query() }),
        ("state", MessageQuery { state: Some("received".to_owned()), ..query() }),
        ("time", MessageQuery { from: Some(at), until: Some(at + 1_000_000), kind: Some("ADT^A28".to_owned()), ..query() }),
    ];
    let mut figures = Vec::new();
    for (by, query) in sought {
        let mut times = histogram();
        let all = Instant::now();
        for _ in 0..50 {
            let begun = Instant::now();
            let found = gateway.messages(&query, &Visible::All).await?;
            times.record(u64::try_from(begun.elapsed().as_micros())?.max(1))?;
            if found.len() != 1 || found[0].control_id != "NEEDLE" {
                bail!("looking by {by} found {} messages", found.len());
            }
        }
        figures.push(Figure {
            what: format!("one of {messages} by {by}, {}", bed.named()),
            callers: 1,
            per_second: 50.0 / all.elapsed().as_secs_f64(),
            p50_ms: ms(times.value_at_quantile(0.5)),
            p99_ms: ms(times.value_at_quantile(0.99)),
        });
    }
    connected.store.close().await;
    bed.clear().await?;
    Ok(figures)
}

/// Rows as the gateway leaves them, of a thousand patients' size of sealed bytes, in big units.
async fn fill(gateway: &Gateway, rows: std::ops::Range<u64>) -> anyhow::Result<()> {
    let day = hearthline_nhs::london_date(now_us())?.to_string();
    let sealed = Bytes::from(vec![0x5a; 1_000]);
    let mut at = rows.start;
    while at < rows.end {
        let next = (at + 1_000).min(rows.end);
        let inbox = (at..next).map(|n| InboxChange::Receive(Box::new(row(n, &day, &sealed)))).collect();
        gateway.kernel.store.append(Unit { inbox, ..Unit::default() }).await?;
        at = next;
    }
    Ok(())
}

fn row(n: u64, day: &str, sealed: &Bytes) -> InboxRow {
    let mut digest = [0; 32];
    digest[..8].copy_from_slice(&n.to_be_bytes());
    let kinds = ["ADT^A01", "ADT^A02", "ADT^A03", "ADT^A08", "ADT^A31"];
    let kind = kinds[usize::try_from(n % 5).unwrap_or(0)];
    InboxRow {
        id: *uuid::Uuid::now_v7().as_bytes(),
        received_at: now_us(),
        outgoing: false,
        peer: "bench".to_owned(),
        control_id: format!("C{n}"),
        kind: kind.to_owned(),
        reply: "AA",
        size: 1_000,
        digest,
        body_tag: None,
        day: day.to_owned(),
        person_tag: Some(*uuid::Uuid::new_v4().as_bytes()),
        place_tag: None,
        occurred_at: now_us(),
        sealed: sealed.clone(),
        state: "held",
        why: "nobody of the directory".to_owned(),
        effect: String::new(),
        stream: None,
        resident: None,
        traceparent: None,
    }
}

fn arrival() -> Arrival {
    Arrival { listener: DEFAULT_LISTENER.into(), remote: SocketAddr::from(([127, 0, 0, 1], 1)), peer: None, certificate: None }
}

/// The `n`th number of the range that is never issued.
fn number(n: u32) -> String {
    (999_000_100 + 11 * n..).find_map(|first_nine| NhsNumber::complete(first_nine).ok()).expect("one in eleven has no check digit").as_str().to_owned()
}

/// A message as a PAS writes it, of a thousand bytes.
fn adt(trigger: &str, control: &str, number: &str, visit: &str, at: &str) -> String {
    let location = if trigger == "A01" { "RHM01" } else { "RHM02" };
    format!(
        "MSH|^~\\&|PAS|RHM|HUB|X26|{at}||ADT^{trigger}|{control}|P|2.4|||AL|NE|GBR|ASCII|EN\r\
         EVN|{trigger}|{at}|||BENCH^Clerk^A|{at}\r\
         PID|1||{control}H^^^RHM^MR~{number}^^^NHS^NH||TESTPERSON^Ada^Beatrice^^MRS^^L||19380412|F|||1 Nowhere Lane^Lower Nowhere^SOUTHAMPTON^Hampshire^SO16 6YD^GBR^H||02380000000^PRN^PH|02380000001^WPN^PH|EN|M|C22||||||A|||||||N\r\
         PD1|||TEST SURGERY^^J82001|G1234567^TESTDOCTOR^A\r\
         NK1|1|TESTPERSON^Charles^^^MR|SPO|1 Nowhere Lane^^SOUTHAMPTON^^SO16 6YD|02380000002\r\
         PV1|1|I|WARD1^BAY2^BED3^{location}^^^^^Acute admissions|21|||C1234567^TESTCONSULTANT^D^^^DR|||300|||||19||||{visit}^^^RHM^VN|||||||||||||||||||||||||20260301101500\r\
         PV2||1^BED|Shortness of breath||||||||||||||||||||||||||||||||||||A\r\
         ZU1|20260301|2|||RHM01|Y\r"
    )
}

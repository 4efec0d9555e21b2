//! From an HTTP request or an MLLP frame to the row that the KPI page reads, at a steady rate, with memory and start-up.

use super::load::Connection;
use super::system::{System, wait_settled};
use super::{Figure, Options, histogram, ms};
use anyhow::{Context, bail};
use hearthline_eventing::{Value, now_us};
use hearthline_interop::{hl7v2::write, mllp};
use hearthline_nhs::NhsNumber;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How often the row is looked for; on servers a look costs what a commit costs.
const LOOK_EVERY: Duration = Duration::from_millis(4);

/// What is on its way: the row's key and when it was sent.
type Underway = Arc<Mutex<HashMap<Key, Instant>>>;

#[derive(PartialEq, Eq, Hash, Clone, Copy)]
enum Key {
    Call([u8; 16]),
    /// By the admission time that the frame says, which is unique here.
    Visit(i64),
}

/// Half the rate as calls, half as A04 messages of residents. Two figures, and this process's memory in MiB.
pub async fn latency(options: &Options, per_second: u32) -> anyhow::Result<(Vec<Figure>, f64, Duration)> {
    let begun = Instant::now();
    let system = System::start(options, None).await?;
    let start = begun.elapsed();
    let numbers = register_residents(&system).await?;
    wait_settled(&system.ops, Duration::from_secs(30)).await?;
    let underway: Underway = Arc::default();
    let each = Duration::from_secs_f64(2.0 / f64::from(per_second));
    let until = Instant::now() + options.seconds;
    let watching = tokio::spawn(watch(system.ops.clone(), underway.clone(), until + Duration::from_secs(10)));
    let calling = tokio::spawn(calling((system.http, system.call_handler.clone(), system.home.clone()), underway.clone(), each, until));
    let mllp = system.mllp.context("the gateway has no listener")?;
    let framing = tokio::spawn(framing(mllp, numbers, underway.clone(), each, until));
    let resident_mib = {
        tokio::time::sleep(options.seconds).await;
        resident_set_mib()
    };
    calling.await??;
    framing.await??;
    let (calls, visits) = watching.await??;
    if calls.is_empty() || visits.is_empty() {
        bail!("no rows were seen; the measurement says nothing");
    }
    system.stop().await?;
    let figure = |what: &str, h: &hdrhistogram::Histogram<u64>| Figure {
        what: what.to_owned(),
        callers: 1,
        per_second: h.len() as f64 / options.seconds.as_secs_f64(),
        p50_ms: ms(h.value_at_quantile(0.5)),
        p99_ms: ms(h.value_at_quantile(0.99)),
    };
    Ok((vec![figure("POST /calls → KPI row", &calls), figure("MLLP A04 → KPI row", &visits)], resident_mib, start))
}

/// The process's resident memory (VmRSS), load generator included.
pub fn resident_set_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).and_then(|v| v.trim().trim_end_matches(" kB").parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1024.0
}

async fn register_residents(system: &System) -> anyhow::Result<Vec<String>> {
    let mut connection = Connection::open(system.http).await?;
    let numbers: Vec<NhsNumber> = (999_100_000..999_100_200u32).filter_map(|n| NhsNumber::complete(n).ok()).take(100).collect();
    for (i, number) in numbers.iter().enumerate() {
        let body = format!(
            r#"{{"home_id":"{}","family_name":"Bench","given_names":"Number {}","date_of_birth":"1935-01-{:02}","nhs_number":"{}","moved_in_on":"2024-01-01"}}"#,
            system.home,
            "I".repeat(1 + i % 9),
            1 + i % 28,
            number.as_str()
        );
        let (status, answer) = connection.post("/residents", &system.operator, &format!("bench-resident-{i}"), &body).await?;
        if status != 201 {
            bail!("POST /residents was answered {status}: {answer}");
        }
    }
    Ok(numbers.iter().map(|n| n.as_str().to_owned()).collect())
}

async fn calling((http, token, home): (std::net::SocketAddr, String, String), underway: Underway, each: Duration, until: Instant) -> anyhow::Result<()> {
    let mut connection = Connection::open(http).await?;
    let mut tick = tokio::time::interval(each);
    let body = format!(r#"{{"home_id":"{home}","channel":"telephone","reason":"fall","reason_text":"fell beside the bed, no injury seen"}}"#);
    for i in 0.. {
        tick.tick().await;
        if Instant::now() >= until {
            return Ok(());
        }
        let sent = Instant::now();
        let (status, answer) = connection.post("/calls", &token, &format!("latency-{i}"), &body).await?;
        if status != 201 {
            bail!("POST /calls was answered {status}: {answer}");
        }
        let answer: serde_json::Value = serde_json::from_str(&answer)?;
        let id: uuid::Uuid = answer["stream"].as_str().context("no stream")?.parse()?;
        lock(&underway).insert(Key::Call(*id.as_bytes()), sent);
    }
    Ok(())
}

async fn framing(address: std::net::SocketAddr, numbers: Vec<String>, underway: Underway, each: Duration, until: Instant) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut tick = tokio::time::interval(each);
    let mut answer = vec![0u8; 4_096];
    let base = now_us() / 1_000_000 - 400_000;
    for i in 0.. {
        tick.tick().await;
        if Instant::now() >= until {
            return Ok(());
        }
        let admitted = base + i;
        let time = write::utc(admitted * 1_000_000).context("a time beyond the calendar")?;
        let control = format!("B{i}");
        let header = write::Header {
            sending_application: "PAS",
            sending_facility: "RN1",
            receiving_application: "HL",
            receiving_facility: "X26",
            sent_at: &time,
            message_type: "ADT^A04",
            control_id: &control,
            processing_id: "P",
            version: "2.4",
        };
        let mut message = write::MessageWriter::new(&header);
        message.segment("EVN").text(2, &time).end();
        let who = usize::try_from(i).unwrap_or(0) % numbers.len();
        let (number, born) = (&numbers[who], format!("193501{:02}", 1 + who % 28));
        message.segment("PID").components(3, &[number, "", "", "NHS", "NH"]).components(5, &["Bench", "Number"]).text(7, &born).end();
        message.segment("PV1").text(2, "E").components(3, &["ED", "", "", "RN101"]).text(19, &format!("V{i}")).text(44, &time).end();
        message.segment("PV2").text(38, "1048031000000100").end();
        let mut framed = Default::default();
        mllp::encode(&message.finish(), &mut framed);
        let sent = Instant::now();
        lock(&underway).insert(Key::Visit(admitted * 1_000_000), sent);
        stream.write_all(&framed).await?;
        let n = stream.read(&mut answer).await?;
        let text = String::from_utf8_lossy(&answer[..n]);
        if !text.contains("MSA|AA") {
            bail!("an A04 was answered {text}");
        }
    }
    Ok(())
}

/// Looks at the KPI tables after each commit and notes what has arrived.
async fn watch(ops: crate::ops::Ops, underway: Underway, until: Instant) -> anyhow::Result<(hdrhistogram::Histogram<u64>, hdrhistogram::Histogram<u64>)> {
    let kpi = ops.services.iter().find(|s| s.name == hearthline_kpi_projection::NAME).context("no KPI service")?;
    let store = kpi.kernel.store.clone();
    let (mut calls, mut visits) = (histogram(), histogram());
    let mut idle_since = Instant::now();
    while Instant::now() < until {
        let waiting: Vec<(Key, Instant)> = lock(&underway).iter().map(|(k, at)| (*k, *at)).collect();
        if waiting.is_empty() {
            if idle_since.elapsed() > Duration::from_secs(3) && !calls.is_empty() {
                break;
            }
        } else {
            idle_since = Instant::now();
        }
        for (table, column) in [("calls", "call_id"), ("visits", "opened_at")] {
            let keys: Vec<(Key, Value)> = waiting
                .iter()
                .filter_map(|(k, _)| match (k, table) {
                    (Key::Call(id), "calls") => Some((*k, (*id).into())),
                    (Key::Visit(at), "visits") => Some((*k, (*at).into())),
                    _ => None,
                })
                .take(500)
                .collect();
            if keys.is_empty() {
                continue;
            }
            // A few texts for all numbers of keys, so that looking costs no planning: the last key fills the row.
            let places_n = keys.len().next_power_of_two();
            let places = (1..=places_n).map(|i| format!("${i}")).collect::<Vec<_>>().join(",");
            let last = keys.last().map(|(_, v)| v.clone()).into_iter().cycle();
            let args: Vec<Value> = keys.iter().map(|(_, v)| v.clone()).chain(last).take(places_n).collect();
            let found = store.query(&format!("select {column} from {table} where {column} in ({places})"), &args).await?;
            let seen = Instant::now();
            for row in found {
                let (key, times) = if table == "calls" { (Key::Call(row.id(0)), &mut calls) } else { (Key::Visit(row.int(0)), &mut visits) };
                if let Some(sent) = lock(&underway).remove(&key) {
                    times.record(u64::try_from((seen - sent).as_micros()).unwrap_or(u64::MAX).max(1))?;
                }
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let lost = lock(&underway).clone();
    if !lost.is_empty() {
        let calls = lost.keys().filter(|k| matches!(k, Key::Call(_))).count();
        bail!("{calls} calls and {} visits did not reach the KPI tables in time: the rate is more than this machine can take", lost.len() - calls);
    }
    Ok((calls, visits))
}

fn lock(underway: &Underway) -> std::sync::MutexGuard<'_, HashMap<Key, Instant>> {
    underway.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

//! How fast messages are read, on one core and without disk or network.

use super::Figure;
use anyhow::ensure;
use hearthline_interop::hl7v2::write::{Header, MessageWriter};
use hearthline_interop::hl7v2::{Adt, Message, Path};
use hearthline_interop::mllp::{Decoder, Event, encode};
use std::hint::black_box;
use std::time::{Duration, Instant};

const MIB: usize = 1024 * 1024;

/// An admission as a hospital sends it: line ends CR, a character set other than ASCII, escapes, identifiers repeated.
const ADMISSION: &str = "MSH|^~\\&|PAS|RHM01|TIE|RHM|20250110120000.123+0000||ADT^A01^ADT_A01|000000012345|P|2.4|||AL|NE|GBR|8859/1\r\
EVN||20250110120000||||20250110115500|RHM01\r\
PID|1||RHM0012345^^^RHM^MR~9990000018^01^^NHS^NH||SURNAM\u{c9}^AGN\u{c8}S^MAY^^MRS^^L~KNOWN^AS^^^^^PREFERRED||19390612|F|||THE ELMS \\T\\ LODGE^12 HIGH STREET^SOUTHAMPTON^HAMPSHIRE^SO16 6YD^GBR^H||02380000000^PRN^PH~07000000000^PRN^CP||EN|W|C22|ACC0098765||||A|||||||N|||N|NSTS01\r\
PD1|||THE SURGERY^^J82001|G1234567^GENERAL^PRACTICE^^^DR\r\
NK1|1|RELATIVE^ONE^^^MR|SON|1 LOW ROAD^^SOUTHAMPTON^^SO15 1AA|02380111111\r\
PV1|1|I|AMU^BAY 2^BED 6^RHM01|21|||C1234567^CONSULTANT^A^^^DR|C7654321^REFERRER^B^^^DR||A\\T\\E||||19|||C1234567^CONSULTANT^A^^^DR|NHS|V00123456^^^RHM^VN|||||||||||||||||19||||||||20250110115500\r\
PV2||1|^Fall at home \\F\\ long lie, \\X0D\\confused|||||20250110||||||||||||||||||||||||||||||2\r\
AL1|1|DA|^Penicillin\r\
ZU1|20250110114500|1||20250110115500||300|300||||||GP|||||||||N||N|||01\r";

/// Messages and megabytes a second. Each figure is of the slice of time given, after a warm-up.
pub(crate) fn parse(seconds: Duration) -> anyhow::Result<Vec<Figure>> {
    let slice = seconds.min(Duration::from_secs(3));
    let admission = latin_1(ADMISSION)?;
    let fields = read_as_gateway(&admission)?;
    ensure!(fields == 28, "of the 28 fields of the admission {fields} were found");
    let paths = ["PID-3[1].1", "PID-3[2].1", "PID-5.1", "PID-7", "PID-11.5", "PV1-2", "PV1-3.1", "PV1-19.1", "PV1-44", "ZU1-27"];
    let paths = paths.map(|path| Path::parse(path).expect("the paths are constants"));
    let mut figures = vec![
        rate("parse an ADT, 28 fields read, 8859/1, escapes", slice, || read_as_gateway(&admission))?,
        rate("the same, ten fields by path", slice, || read_by_path(&admission, &paths))?,
        rate("acknowledge an ADT", slice, || acknowledge(&admission))?,
    ];
    for mebibytes in [5, 10, 20] {
        let report = document(mebibytes * MIB);
        let mut figure = rate(&format!("parse a {mebibytes} MB document in OBX-5, MB/s"), slice, || read_document(&report))?;
        figure.per_second *= mebibytes as f64;
        figures.push(figure);
    }
    let report = document(20 * MIB);
    let mut figure = rate("frame a 20 MB document off the wire, MB/s", slice, || unframe(&report))?;
    figure.per_second *= 20.0;
    figures.push(figure);
    Ok(figures)
}

fn rate(what: &str, slice: Duration, mut once: impl FnMut() -> anyhow::Result<usize>) -> anyhow::Result<Figure> {
    black_box(once()?);
    let mut took = super::histogram();
    let (mut done, begun) = (0_u64, Instant::now());
    while begun.elapsed() < slice {
        // Clocks are read once in a while: reading one takes as long as a tenth of a message.
        let batch = if done == 0 { 1 } else { (done / 50).clamp(1, 1_000) };
        let batch_begun = Instant::now();
        for _ in 0..batch {
            black_box(once()?);
        }
        took.saturating_record(u64::try_from(batch_begun.elapsed().as_micros())?.div_ceil(batch).max(1));
        done += batch;
    }
    let per_second = done as f64 / begun.elapsed().as_secs_f64();
    Ok(Figure {
        what: what.to_owned(),
        callers: 1,
        per_second,
        p50_ms: super::ms(took.value_at_quantile(0.5)),
        p99_ms: super::ms(took.value_at_quantile(0.99)),
    })
}

/// What the gateway reads of an admission, each text with its escapes resolved. Says how many were there.
fn read_as_gateway(raw: &[u8]) -> anyhow::Result<usize> {
    let message = Message::parse(raw)?;
    let adt = Adt::of(&message);
    let mut there = 0;
    let mut count = |is_there: bool| there += usize::from(is_there);
    count(adt.is_adt());
    count(black_box(adt.trigger()).code() == "A01");
    count(black_box(adt.control_id()).is_some());
    count(black_box(adt.version()).is_some());
    count(black_box(adt.sending_application()).is_some());
    count(black_box(adt.sending_facility()).is_some());
    count(black_box(adt.sent_at())?.is_some());
    count(black_box(adt.recorded_at())?.is_some());
    count(black_box(adt.occurred_at())?.is_some());
    count(black_box(adt.nhs_number_candidates()).len() == 1);
    adt.identifiers().for_each(|id| count(!black_box(id).value.is_empty()));
    for component in 1..=3 {
        count(black_box(adt.pid(5).component(component).decoded()).is_some());
    }
    count(black_box(adt.birth_date()).is_some());
    count(black_box(adt.pid(8).component(1).code()).is_some());
    for component in [1, 2, 3, 5] {
        count(black_box(adt.pid(11).component(component).decoded()).is_some());
    }
    count(black_box(adt.registered_practice()).is_some());
    count(black_box(adt.patient_class()).is_some());
    count(black_box(adt.location()).is_some());
    count(black_box(adt.pv1(10).component(1).decoded()).as_deref() == Some("A&E"));
    count(black_box(adt.visit_id()).is_some());
    count(black_box(adt.admitted_at())?.is_some());
    count(black_box(adt.pv2(3).component(2).decoded()).is_some_and(|reason| reason.contains('|')));
    Ok(there)
}

fn read_by_path(raw: &[u8], paths: &[Path]) -> anyhow::Result<usize> {
    let message = Message::parse(raw)?;
    Ok(paths.iter().filter(|path| black_box(message.text(path)).is_some()).count())
}

fn acknowledge(raw: &[u8]) -> anyhow::Result<usize> {
    use hearthline_interop::hl7v2::{AckCode, Acknowledgement, acknowledge};
    let message = Message::parse(raw)?;
    let reply = Acknowledgement { code: AckCode::ApplicationAccept, control_id: "R1", sent_at: "20250110120001+0000", text: None, error: None };
    Ok(acknowledge(&message, &reply).len())
}

fn read_document(raw: &[u8]) -> anyhow::Result<usize> {
    let message = Message::parse(raw)?;
    let content = message.field("OBX", 5).component(5).value().text().map_or(0, str::len);
    ensure!(content > raw.len() / 2 && message.field("OBX", 11).value().text() == Some("F"), "the document was not found");
    Ok(content)
}

fn unframe(message: &[u8]) -> anyhow::Result<usize> {
    let mut framed = bytes::BytesMut::with_capacity(message.len() + 3);
    encode(message, &mut framed);
    let mut decoder = Decoder::new(64 * MIB);
    framed.chunks(64 * 1024).for_each(|chunk| decoder.push(chunk));
    let Some(Event::Frame(frame)) = decoder.poll() else { anyhow::bail!("no frame came out") };
    Ok(frame.len())
}

/// A report with an attached document of about so many bytes of base64.
fn document(bytes: usize) -> Vec<u8> {
    let header = Header {
        sending_application: "PAS",
        sending_facility: "RHM",
        receiving_application: "HUB",
        receiving_facility: "QRL",
        sent_at: "20250110120000+0000",
        message_type: "ORU^R01^ORU_R01",
        control_id: "1",
        processing_id: "P",
        version: "2.4",
    };
    let mut writer = MessageWriter::new(&header);
    let content = "JVBERi0xLjQKJcOkw7zDtsOfCjIgMCBvYmoKPDwvTGVuZ3Ro+/".repeat(bytes / 50);
    writer.segment("PID").text(1, "1").text(3, "RHM0012345").end();
    writer.segment("OBX").text(1, "1").text(2, "ED").components(5, &["", "application", "pdf", "Base64", &content]).text(11, "F").end();
    writer.finish()
}

fn latin_1(text: &str) -> anyhow::Result<Vec<u8>> {
    text.chars().map(|character| Ok(u8::try_from(character)?)).collect()
}

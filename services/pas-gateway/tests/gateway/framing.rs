//! What senders do to a stream: frames cut, joined, unfinished, too large, too many, never acknowledged.

use crate::edge::{edge, edge_on, plain, quirks};
use crate::world::*;
use bytes::BytesMut;
use hearthline_interop::hl7v2::AckCode;
use hearthline_interop::mllp;
use hearthline_pas_gateway::mllp::Timings;
use hearthline_pas_gateway::{Peer, Sends, sending};
use hearthline_runtime::config::{LogFormat, Telemetry as Settings};
use hearthline_runtime::telemetry::Telemetry;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::watch;

fn message(n: u32) -> Vec<u8> {
    Adt { visit: "", ..Adt::new("A01", &format!("C{n}"), &number(n)) }.write()
}

fn framed(message: &[u8]) -> BytesMut {
    let mut framed = BytesMut::new();
    mllp::encode(message, &mut framed);
    framed
}

fn each(change: impl Fn(Peer) -> Peer) -> Vec<Peer> {
    peers().into_iter().map(change).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_that_comes_byte_by_byte_is_answered() {
    let edge = edge(peers(), Timings::default()).await;
    let mut sender = Sender::connect(edge.addresses[0]).await;
    for byte in framed(&message(1)) {
        sender.send_raw(&[byte]).await;
    }
    let (reply, _) = sender.reply().await.expect("a reply");
    assert_eq!((reply.code, reply.control_id.as_str()), (AckCode::ApplicationAccept, "C1"));
    until("it waits for the next", || async { edge.connection().state == "waiting for a frame" }).await;
    let report = edge.connection();
    assert_eq!((report.peer.as_deref(), report.frames, report.replies.get("AA")), (Some("southampton"), 1, Some(&1)));
    assert_eq!((report.problem, report.in_flight), (None, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_frames_of_one_write_are_answered_in_their_order() {
    let edge = edge(peers(), Timings::default()).await;
    let mut sender = Sender::connect(edge.addresses[0]).await;
    let all: Vec<u8> = (0..100).flat_map(|n| framed(&message(n))).collect();
    sender.send_raw(&all).await;
    for n in 0..100 {
        assert_eq!(sender.reply().await.expect("a reply").0.control_id, format!("C{n}"));
    }
    assert_eq!(edge.world.rows().await.len(), 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn noise_is_skipped_and_a_byte_order_mark_is_read_over_and_both_are_told() {
    let edge = edge(peers(), Timings::default()).await;
    let mut sender = Sender::connect(edge.addresses[0]).await;
    let marked = [b"\xEF\xBB\xBF".as_slice(), &message(1)].concat();
    assert_eq!(sender.exchange(&marked).await.0.code, AckCode::ApplicationAccept);
    sender.send_raw(b"\r\n keep alive? \r\n").await;
    assert_eq!(sender.exchange(&message(2)).await.0.control_id, "C2");
    let report = edge.connection();
    assert_eq!(quirks(&report), [("blank_between_frames", 1), ("noise_between_frames", 1), ("mark_in_frame", 1)]);
    assert!(report.problem.is_some_and(|problem| problem.contains("between frames")) && report.advice.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_without_its_end_is_given_up_after_the_peers_time() {
    let edge = edge(each(|peer| Peer { partial_frame: Duration::from_millis(150), ..peer }), Timings::default()).await;
    let mut sender = Sender::connect(edge.addresses[0]).await;
    assert_eq!(sender.exchange(&message(1)).await.0.code, AckCode::ApplicationAccept);
    sender.send_raw(&[b"\x0b".as_slice(), &message(2)].concat()).await;
    assert!(sender.reply().await.is_none());
    let report = edge.end().await;
    assert_eq!(report.state, "closed because a frame did not go on for 0.150 s");
    assert_eq!(quirks(&report), [("partial_frame", 1)]);
    assert_eq!(edge.world.rows().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_without_its_last_byte_is_answered_after_a_wait_and_told() {
    let edge = edge(peers(), Timings::default()).await;
    let mut sender = Sender::connect(edge.addresses[0]).await;
    for n in 1..3 {
        sender.send_raw(&[b"\x0b".as_slice(), &message(n), b"\x1c"].concat()).await;
        assert_eq!(sender.reply().await.expect("a reply").0.control_id, format!("C{n}"));
    }
    assert_eq!(quirks(&edge.connection()), [("missing_trailer", 2)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_connection_is_closed_where_the_peer_agreed_to_that() {
    let edge = edge(each(|peer| Peer { idle: Some(Duration::from_millis(100)), ..peer }), Timings::default()).await;
    let mut sender = Sender::connect(edge.addresses[0]).await;
    assert_eq!(sender.exchange(&message(1)).await.0.code, AckCode::ApplicationAccept);
    assert!(sender.reply().await.is_none());
    let report = edge.end().await;
    assert_eq!((report.state.as_str(), report.problem), ("closed because nothing came for 0.100 s", None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_peers_own_limit_holds_from_its_first_header_on_and_the_feed_goes_on() {
    let limits = |peer: Peer| Peer { frame_limit: if peer.name == "southampton" { 4_096 } else { 1 << 20 }, ..peer };
    let edge = edge(each(limits), Timings::default()).await;
    let mut sender = Sender::connect(edge.addresses[0]).await;
    // Not ended yet, and refused already: no more than the limit is kept of it.
    sender.send_raw(b"\x0b").await;
    sender.send_raw(&message(1)).await;
    until("its peer is known", || async { edge.gateway.connections().iter().any(|c| c.peer.is_some()) }).await;
    sender.send_raw(&vec![b'x'; 8_192]).await;
    assert_eq!(sender.reply().await.expect("a reply").0.code, AckCode::ApplicationReject);
    sender.send_raw(b"\x1c\r").await;
    assert_eq!(sender.exchange(&message(2)).await.0.code, AckCode::ApplicationAccept);
    // In one piece with what follows.
    let large = [message(3), vec![b'x'; 8_192]].concat();
    sender.send_raw(&[framed(&large), framed(&message(4))].concat()).await;
    assert_eq!(sender.reply().await.expect("a reply").0.code, AckCode::ApplicationReject);
    assert_eq!(sender.reply().await.expect("a reply").0.control_id, "C4");
    assert_eq!(quirks(&edge.connection()), [("oversize", 2)]);
    // The other peer's limit is another.
    let mut other = Sender::connect(edge.addresses[0]).await;
    let large = [Adt { facility: "RHU", ..Adt::new("A01", "C5", &number(5)) }.write(), b"ZZZ|".to_vec(), vec![b'x'; 8_192]].concat();
    assert_eq!(other.exchange(&large).await.0.code, AckCode::ApplicationAccept);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_frame_of_a_connection_is_refused_by_its_peers_limit_and_by_name() {
    let limits = |peer: Peer| Peer { frame_limit: if peer.name == "southampton" { 1_024 } else { 1 << 20 }, ..peer };
    let edge = edge(each(limits), Timings::default()).await;
    let mut sender = Sender::connect(edge.addresses[0]).await;
    let large = [message(1), b"ZZZ|".to_vec(), vec![b'x'; 1_500]].concat();
    let (reply, text) = sender.exchange(&large).await;
    assert_eq!((reply.code, reply.control_id.as_str()), (AckCode::ApplicationReject, "C1"));
    assert!(text.contains("larger"), "{text}");
    assert_eq!(sender.exchange(&message(2)).await.0.code, AckCode::ApplicationAccept);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_strangers_little_is_kept_and_what_is_wrong_with_it_is_said() {
    let edge = edge(peers(), Timings::default()).await;
    let stranger = Adt { facility: "RZZ", ..Adt::new("A01", "C1", &number(1)) }.write();
    for (begin, said) in [(b"no header".to_vec(), "does not begin with an MSH"), (stranger, "MSH-4")] {
        let mut sender = Sender::connect(edge.addresses[0]).await;
        // Not ended, and answered already.
        sender.send_raw(&[b"\x0b".as_slice(), &begin, b"\rZZZ|", &vec![b'x'; 100_000]].concat()).await;
        let (reply, text) = sender.reply().await.expect("a reply");
        assert_eq!(reply.code, AckCode::ApplicationReject);
        assert!(text.contains(said), "{text}");
        sender.send_raw(&[vec![b'x'; 100_000], b"\x1c\r".to_vec()].concat()).await;
        assert_eq!(sender.exchange(&message(2)).await.0.code, AckCode::ApplicationAccept);
    }
    let connections = edge.gateway.connections();
    let noted: Vec<_> = connections.iter().flat_map(quirks).filter(|(quirk, _)| *quirk == "unknown_facility").collect();
    assert_eq!(noted, [("unknown_facility", 1)], "once of a frame");
    let sizes = edge.world.ports.store.query("select max(size) from inbox", &[]).await.expect("readable");
    assert!(sizes[0].int(0) <= 64 * 1024);
}

fn large(n: u32) -> Vec<u8> {
    [message(n), b"ZZZ|".to_vec(), vec![b'x'; 3 << 20]].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_large_frame_waits_unread_for_the_first_and_small_ones_do_not() {
    let edge = edge(peers(), Timings::default()).await;
    let (mut first, mut second) = (Sender::connect(edge.addresses[0]).await, Sender::connect(edge.addresses[0]).await);
    first.send_raw(&[b"\x0b".as_slice(), &large(1)].concat()).await;
    until("the first has all that it needs", || async { edge.gateway.connections().iter().any(|c| c.bytes > 3 << 20) }).await;
    let waiting = tokio::spawn(async move { second.exchange(&large(2)).await.0 });
    let held = || async { edge.gateway.connections().iter().filter(|c| c.state.contains("memory for its large message")).count() == 1 };
    until("the second is held", held).await;
    let mut third = Sender::connect(edge.addresses[0]).await;
    assert_eq!(third.exchange(&message(3)).await.0.code, AckCode::ApplicationAccept);
    let between = [message(4), b"ZZZ|".to_vec(), vec![b'x'; 500_000]].concat();
    assert_eq!(third.exchange(&between).await.0.code, AckCode::ApplicationAccept);
    assert!(held().await);
    first.send_raw(b"\x1c\r").await;
    assert_eq!(first.reply().await.expect("a reply").0.control_id, "C1");
    let reply = waiting.await.expect("it goes on");
    assert_eq!((reply.code, reply.control_id.as_str()), (AckCode::ApplicationAccept, "C2"));
    assert_eq!(first.exchange(&large(5)).await.0.code, AckCode::ApplicationAccept);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_frame_that_does_not_end_gives_way_to_one_that_waits() {
    let edge = edge(each(|peer| Peer { partial_frame: Duration::from_secs(2), ..peer }), Timings::default()).await;
    let mut slow = TcpStream::connect(edge.addresses[0]).await.expect("connected");
    slow.write_all(&[b"\x0b".as_slice(), &large(1)].concat()).await.expect("sent");
    // It is never silent.
    let trickle = tokio::spawn(async move {
        while slow.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    until("all of it came", || async { edge.gateway.connections().iter().any(|c| c.bytes > 3 << 20) }).await;
    let mut other = Sender::connect(edge.addresses[0]).await;
    assert_eq!(other.exchange(&large(2)).await.0.code, AckCode::ApplicationAccept);
    trickle.await.expect("it was closed");
    until("it says why", || async { edge.gateway.connections().iter().any(|c| c.state.starts_with("closed because a frame did not")) }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_store_waits_no_more_is_read_than_is_being_taken() {
    let (open, gate) = watch::channel(false);
    let edge = edge_on(each(|peer| Peer { in_flight: 4, ..peer }), Timings::default(), vec![plain("default")], move |store| {
        Arc::new(Interrupted::new(store, move |stage| {
            let mut gate = gate.clone();
            Box::pin(async move {
                if stage == Stage::BeforeReceipt {
                    let _ = gate.wait_for(|open| *open).await;
                }
                Ok(())
            })
        }))
    })
    .await;
    let (read, mut write) = tokio::io::split(TcpStream::connect(edge.addresses[0]).await.expect("connected"));
    let written = Arc::new(AtomicU64::new(0));
    let counted = written.clone();
    let writer = tokio::spawn(async move {
        for n in 0u32.. {
            let frame = framed(&[message(n % 1_000), b"ZZZ|".to_vec(), vec![b'x'; 60_000]].concat());
            if write.write_all(&frame).await.is_err() {
                break;
            }
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    // Full twice in a row with nothing written in between: the sender's own socket is full.
    let mut before = 0;
    until("the sender cannot go on", || {
        let now = written.load(Ordering::SeqCst);
        let stands = now == before && now > 4 && edge.connection().state == "not read from until frames are taken";
        before = now;
        async move {
            tokio::time::sleep(Duration::from_millis(100)).await;
            stands
        }
    })
    .await;
    let report = edge.connection();
    assert_eq!((report.frames, report.in_flight), (4, 4));
    assert!(report.bytes < 4 * 61_000 + 2 * 64 * 1024, "{} bytes were read", report.bytes);
    open.send(true).expect("the store waits");
    let mut sender = Sender::over(tokio::io::join(read, tokio::io::sink()));
    for n in 0..20 {
        assert_eq!(sender.reply().await.expect("a reply").0.control_id, format!("C{n}"));
    }
    writer.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_does_not_read_its_replies_slows_nobody_and_is_closed() {
    let edge = edge(peers(), Timings { unread: Duration::from_secs(5), ..Timings::default() }).await;
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4_096).expect("set");
    let mut slow = socket.connect(edge.addresses[0]).await.expect("connected");
    let writer = tokio::spawn(async move {
        slow.write_all(&framed(&message(1))).await.expect("taken");
        let many = framed(b"x").repeat(1_000);
        while slow.write_all(&many).await.is_ok() {}
        slow
    });
    let of_slow = || edge.gateway.connections().into_iter().find(|c| c.peer.as_deref() == Some("southampton")).expect("it is there");
    until("its replies are stuck", || async { edge.gateway.connections().iter().any(|c| c.state == "writing a reply") }).await;
    let mut other = Sender::connect(edge.addresses[0]).await;
    for n in 0..10 {
        let (reply, _) = other.exchange(&Adt { facility: "RHU", ..Adt::new("A01", &format!("D{n}"), &number(n)) }.write()).await;
        assert_eq!(reply.code, AckCode::ApplicationAccept);
        assert!(n > 0 || of_slow().ended.is_none(), "it did not wait until the other was closed");
    }
    until("it is closed", || async { of_slow().ended.is_some() }).await;
    let report = of_slow();
    assert_eq!(report.state, "closed because replies were not read for 5 s");
    assert!(quirks(&report).contains(&("unread_replies", 1)) && report.problem.is_some());
    drop(writer.await.expect("no panic"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_connection_of_a_peer_supersedes_its_dead_one_and_no_other() {
    let timings = Timings { stuck: Duration::from_millis(50), silent: Duration::from_secs(3_600), ..Timings::default() };
    let edge = edge(peers(), timings).await;
    let mut alive = Sender::connect(edge.addresses[0]).await;
    assert_eq!(alive.exchange(&message(1)).await.0.code, AckCode::ApplicationAccept);
    let mut dead = Sender::connect(edge.addresses[0]).await;
    assert_eq!(dead.exchange(&message(2)).await.0.code, AckCode::ApplicationAccept);
    dead.send_raw(b"\x0bMSH|^~").await;
    until("it is in the middle of a frame", || async { edge.gateway.connections().iter().any(|c| c.state == "in the middle of a frame") }).await;
    // Another peer's connection changes nothing, although it would be stuck for long enough.
    tokio::time::sleep(3 * timings.stuck).await;
    let elsewhere = Adt { facility: "RHU", ..Adt::new("A01", "E1", &number(9)) };
    assert_eq!(Sender::connect(edge.addresses[0]).await.exchange(&elsewhere.write()).await.0.code, AckCode::ApplicationAccept);
    assert!(!edge.gateway.connections().iter().any(|c| c.state.starts_with("superseded")));
    until("the dead one is superseded", || async {
        let mut new = Sender::connect(edge.addresses[0]).await;
        assert_eq!(new.exchange(&message(3)).await.0.code, AckCode::ApplicationAccept);
        edge.gateway.connections().iter().any(|c| c.state.starts_with("superseded by a new connection"))
    })
    .await;
    assert!(dead.reply().await.is_none());
    assert_eq!(alive.exchange(&message(4)).await.0.code, AckCode::ApplicationAccept, "several living connections of a peer are its right");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_connection_is_superseded_once_it_was_silent_for_long() {
    let edge = edge(peers(), Timings { silent: Duration::ZERO, ..Timings::default() }).await;
    let mut old = Sender::connect(edge.addresses[0]).await;
    assert_eq!(old.exchange(&message(1)).await.0.code, AckCode::ApplicationAccept);
    until("its reply is settled", || async { edge.connection().in_flight == 0 }).await;
    let mut new = Sender::connect(edge.addresses[0]).await;
    assert_eq!(new.exchange(&message(2)).await.0.code, AckCode::ApplicationAccept);
    assert!(old.reply().await.is_none());
    assert_eq!(new.exchange(&message(3)).await.0.code, AckCode::ApplicationAccept);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ended_is_kept_of_each_peer_and_no_more_than_the_last_few() {
    let edge = edge(peers(), Timings::default()).await;
    for n in 0..15 {
        assert_eq!(Sender::connect(edge.addresses[0]).await.exchange(&message(n)).await.0.code, AckCode::ApplicationAccept);
    }
    until("all ended", || async { edge.gateway.connections().iter().all(|c| c.ended.is_some()) }).await;
    let kept = edge.gateway.connections();
    assert_eq!(kept.len(), 10);
    assert!(kept.iter().all(|c| c.state == "closed by the sender" && c.frames == 1 && c.problem.is_none()));
    assert!(serde_json::to_string(&kept).expect("serialisable").contains("\"peer\":\"southampton\""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sender_that_speaks_something_else_is_told_what_by_the_registry() {
    for (bytes, quirk) in [(b"\x16\x03\x01\x02\x00\x01".as_slice(), "tls_on_plain"), (b"GET / HTTP/1.1\r\n\r\n", "http_on_mllp")] {
        let edge = edge(peers(), Timings::default()).await;
        let mut sender = Sender::connect(edge.addresses[0]).await;
        sender.send_raw(bytes).await;
        assert!(sender.reply().await.is_none());
        assert_eq!(quirks(&edge.end().await), [(quirk, 1)]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_is_known_at_its_own_listener_only() {
    let listeners = |peer: Peer| Peer { listener: if peer.name == "portsmouth" { "south" } else { "default" }.to_owned(), ..peer };
    let edge = edge_on(each(listeners), Timings::default(), vec![plain("default"), plain("south")], |store| store).await;
    let theirs = Adt { facility: "RHU", ..Adt::new("A01", "C1", &number(1)) }.write();
    let (reply, _) = Sender::connect(edge.addresses[0]).await.exchange(&theirs).await;
    assert_eq!(reply.code, AckCode::ApplicationReject);
    let report = edge.end().await;
    assert_eq!((report.peer.as_deref(), quirks(&report)), (None, vec![("wrong_listener", 1)]));
    assert_eq!(Sender::connect(edge.addresses[1]).await.exchange(&theirs).await.0.code, AckCode::ApplicationAccept);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_and_quirks_are_counted_by_peer() {
    let edge = edge(peers(), Timings::default()).await;
    let settings = Settings { log_format: LogFormat::Text, log_level: "off".to_owned(), otlp_endpoint: None, service_name: "test".to_owned() };
    let telemetry = Telemetry::start(&settings).expect("started");
    edge.gateway.connections.measured_by(&telemetry.meter("hearthline"));
    let mut sender = Sender::connect(edge.addresses[0]).await;
    sender.send_raw(&[b"\xEF\xBB\xBF".as_slice(), &framed(&message(1))].concat()).await;
    assert_eq!(sender.reply().await.expect("a reply").0.code, AckCode::ApplicationAccept);
    assert_eq!(sender.exchange(b"not HL7 at all").await.0.code, AckCode::ApplicationReject);
    let metrics = telemetry.render_metrics();
    for (name, labels) in [
        ("hearthline_mllp_frames_total", "reply=\"AA\""),
        ("hearthline_mllp_frames_total", "reply=\"AR\""),
        ("hearthline_mllp_quirks_total", "name=\"mark_before_frame\""),
        ("hearthline_mllp_quirks_total", "name=\"unreadable\""),
    ] {
        let line = metrics.lines().find(|line| line.starts_with(name) && line.contains(labels)).unwrap_or_else(|| panic!("{name} {labels}: {metrics}"));
        assert!(line.contains("peer=\"southampton\"") && line.ends_with(" 1"), "{line}");
    }
}

#[test]
fn a_peer_is_found_by_its_code_its_agreed_names_or_its_sites() {
    let all = vec![Peer { sending_facilities: vec!["192".to_owned()], ..peers().remove(0) }, peers().remove(1)];
    let name = |facility: &str| match sending(&all, "default", facility) {
        Sends::Here(peer) => peer.name.clone(),
        Sends::Elsewhere(_) => "elsewhere".to_owned(),
        Sends::Nowhere => "nowhere".to_owned(),
    };
    for (facility, expected) in [
        ("RHM", "southampton"),
        ("192", "southampton"),
        ("RHM01", "nowhere"),
        ("RHU", "portsmouth"),
        ("RHU03", "portsmouth"),
        ("", "nowhere"),
        ("RHUX", "nowhere"),
    ] {
        assert_eq!(name(facility), expected, "{facility}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_that_msh_13_leaves_out_are_told_also_over_a_new_connection_and_change_no_answer() {
    let edge = edge(peers(), Timings::default()).await;
    let mut numbers = 0;
    // Two gaps (3, and 7 to 9); a repeat, a message sent again and a new beginning are none.
    for numbers_sent in [&["1", "2", "4", "4", "2", "5"][..], &["6", "10", "", "0", "1", "2"]] {
        let mut sender = Sender::connect(edge.addresses[0]).await;
        for number_sent in numbers_sent {
            numbers += 1;
            let message = String::from_utf8(Adt::new("A01", &format!("N{numbers}"), &number(numbers)).write()).expect("ascii");
            let (reply, _) = sender.exchange(message.replacen("|P|2.4", &format!("|P|2.4|{number_sent}"), 1).as_bytes()).await;
            assert!(reply.code.is_accept());
        }
    }
    let told = edge.gateway.connections.quirks_of("southampton");
    assert_eq!(told.iter().map(|quirk| (quirk.name, quirk.count)).collect::<Vec<_>>(), [("sequence_gap", 2)]);
    assert!(edge.gateway.connections().iter().all(|c| c.problem.as_ref().is_some_and(|problem| problem.contains("MSH-13"))));
}

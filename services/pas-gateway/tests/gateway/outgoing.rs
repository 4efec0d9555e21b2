//! Messages that go out: against the project's own listener and a receiver that answers as told.

use crate::edge::edge;
use crate::world::*;
use hearthline_contracts::envelope::Environment;
use hearthline_eventing::now_us;
use hearthline_interop::hl7v2::AckCode;
use hearthline_pas_gateway::mllp::Timings;
use hearthline_pas_gateway::search::{MessageQuery, Visible};
use hearthline_runtime::mllp_client::{MllpClient, Outcome, Target};
use hearthline_sandbox::Fault;
use hearthline_sandbox::mllp::{Options, Receiver};
use std::time::Duration;
use tokio::io::AsyncWriteExt;

fn target(address: std::net::SocketAddr) -> Target {
    Target::plain(address.ip().to_string(), address.port())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_own_listener_answers_our_own_client() {
    let edge = edge(peers(), Timings::default()).await;
    let mut client = MllpClient::new(target(edge.addresses[0]));
    for n in 0..3 {
        let control = format!("C{n}");
        let outcome = client.send(&Adt::new("A01", &control, &number(n)).write(), &control).await;
        assert_eq!(outcome, Outcome::Accepted { code: AckCode::ApplicationAccept });
    }
    let outcome = client.send(&Adt { facility: "XYZ", ..Adt::new("A01", "C9", &number(1)) }.write(), "C9").await;
    assert!(matches!(&outcome, Outcome::Refused { code: AckCode::ApplicationReject, text: Some(text), .. } if text.contains("MSH-4")), "{outcome:?}");
    assert_eq!(edge.connection().frames, 4, "one lasting connection");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_messages_that_ask_for_no_acknowledgement_only_what_is_said_is_told() {
    let edge = edge(peers(), Timings::default()).await;
    let asking = |id: &str, asked: &str, patient: &str| {
        format!("MSH|^~\\&|PAS|RHM|H|Q|20260301121000||ADT^A01|{id}|P|2.4|||{asked}|NE\rPID|1||{patient}\rPV1|1|I|||||||||||||||||V{id}\r")
    };
    let texts = [asking("N1", "NE", "1"), asking("N2", "ER", ""), asking("N3", "NE", ""), asking("N4", "AL", "1"), asking("N5", "NE", "1")];
    let messages: Vec<&[u8]> = texts.iter().map(|text| text.as_bytes()).collect();
    let client = MllpClient::new(target(edge.addresses[0]));
    let said = client.send_unawaited(&messages).await.expect("all is taken");
    let said: Vec<_> = said.iter().map(|(named, outcome)| (named.as_str(), matches!(outcome, Outcome::Accepted { .. }))).collect();
    assert_eq!(said, [("N2", false), ("N4", true)]);
    let states = edge.world.states().await;
    assert_eq!(states.len(), 5, "every one is kept before the connection ends: {states:?}");

    let hasty = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let client = MllpClient::new(target(hasty.local_addr().expect("bound")));
    let closing = tokio::spawn(async move { drop(hasty.accept().await.expect("connected")) });
    // More than sockets hold.
    let large = vec![b'A'; 1 << 20];
    let cut = client.send_unawaited(&vec![large.as_slice(); 64]).await.expect_err("it is not taken");
    assert!(cut.contains("connection"), "{cut}");
    closing.await.expect("it ends");
    assert!(client.send_unawaited(&messages).await.expect_err("nobody is there").contains("cannot be connected to"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_of_a_receiver_is_told_apart_and_kept() {
    let world = World::new(Environment::Test).await;
    let gateway = world.gateway();
    let receiver = Receiver::start(([127, 0, 0, 1], 0).into(), Options::default()).await.expect("started");
    let mut client = MllpClient::new(Target { reply_timeout: Duration::from_secs(3), ..target(receiver.addr()) });
    let mut sent = 0;
    let faults = receiver.faults().clone();
    let mut attempt = async |fault: Option<Fault>| {
        if let Some(fault) = fault {
            faults.script(fault).expect("a fault");
        }
        sent += 1;
        gateway.send(&mut client, "elsewhere", &Adt::new("A01", &format!("O{sent}"), &number(1)).write()).await.expect("recorded").outcome
    };
    assert_eq!(attempt(None).await, Outcome::Accepted { code: AckCode::ApplicationAccept });
    for code in ["AE", "AR", "CE", "CR"] {
        let outcome = attempt(Some(Fault::refuse(code))).await;
        assert!(matches!(&outcome, Outcome::Refused { code: said, .. } if said.code() == code), "{code}: {outcome:?}");
    }
    assert!(matches!(attempt(Some(Fault::lost_reply())).await, Outcome::Unconfirmed(why) if why.contains("closed")));
    assert!(matches!(attempt(Some(Fault::delay(Duration::from_secs(60)))).await, Outcome::Unconfirmed(why) if why.contains("no acknowledgement")));
    // The late answer is not taken for the next message's.
    assert_eq!(attempt(None).await, Outcome::Accepted { code: AckCode::ApplicationAccept });
    receiver.stop().await;
    assert!(matches!(attempt(None).await, Outcome::NotSent(_)));

    let rows = world.ports.store.query("select state, reply, control_id, outgoing from inbox order by seq", &[]).await.expect("readable");
    let rows: Vec<_> = rows.iter().map(|row| (row.text(0).to_owned(), row.text(1).to_owned(), row.text(2).to_owned(), row.int(3))).collect();
    let states = ["sent", "refused", "refused", "refused", "refused", "unconfirmed", "unconfirmed", "sent", "unsent"];
    let replies = ["AA", "AE", "AR", "CE", "CR", "", "", "AA", ""];
    for (n, ((state, reply), row)) in states.iter().zip(replies).zip(&rows).enumerate() {
        assert_eq!(*row, ((*state).to_owned(), reply.to_owned(), format!("O{}", n + 1), 1));
    }
    assert_eq!(rows.len(), 9);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_being_sent_when_its_process_ended_is_unconfirmed_and_a_late_answer_still_counts() {
    let world = World::new(Environment::Test).await;
    let gateway = world.gateway();
    let receiver = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let (sender, address) = (gateway.clone(), receiver.local_addr().expect("bound"));
    let (answer, answers) = tokio::sync::oneshot::channel::<()>();
    tokio::spawn(async move {
        let (mut socket, _) = receiver.accept().await.expect("connected");
        answers.await.expect("it is told to");
        socket.write_all(b"\x0bMSH|^~\\&|B|B|A|A|20260301||ACK|1|P|2.4\rMSA|AA|O1\r\x1c\r").await.expect("written");
        socket
    });
    let sending = tokio::spawn(async move {
        let mut client = MllpClient::new(Target { reply_timeout: Duration::from_secs(90), ..target(address) });
        sender.send(&mut client, "elsewhere", &Adt::new("A01", "O1", &number(1)).write()).await
    });
    until("the row is there", || async { world.states().await == ["sending"] }).await;
    gateway.give_up_unanswered(now_us()).await.expect("looked");
    assert_eq!(world.states().await, ["sending"], "an answer may still come");
    gateway.give_up_unanswered(now_us() + 3_600_000_000).await.expect("looked");
    let rows = world.rows().await;
    assert!(rows[0].0 == "unconfirmed" && rows[0].1.contains("not known"), "{rows:?}");
    let found = gateway.messages(&MessageQuery { state: Some("unconfirmed".into()), ..MessageQuery::default() }, &Visible::All).await.expect("searched");
    assert_eq!(found.len(), 1);
    answer.send(()).expect("it waits");
    assert!(matches!(sending.await.expect("ended").expect("recorded").outcome, Outcome::Accepted { .. }));
    assert_eq!(world.states().await, ["sent"]);
}

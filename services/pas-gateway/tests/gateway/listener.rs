//! Frames over a real socket, with every worker running.

use crate::world::*;
use hearthline_contracts::envelope::Environment;
use hearthline_eventing::{Ports, Store, StoreError, Workers};
use hearthline_interop::hl7v2::AckCode;
use hearthline_pas_gateway::Listener;
use hearthline_pas_gateway::mllp::Timings;
use hearthline_pas_gateway::{Options, Peer, build};
use hearthline_runtime::auth::{Issuer, Verifier};
use hearthline_runtime::http::Shell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio_util::sync::{CancellationToken, DropGuard};

const HOME: [u8; 16] = [9; 16];

struct Running {
    world: World,
    address: SocketAddr,
    _stop: DropGuard,
}

async fn running(environment: Environment) -> Running {
    running_on(environment, |store| store).await
}

async fn running_on(environment: Environment, store: impl FnOnce(Arc<dyn Store>) -> Arc<dyn Store>) -> Running {
    let world = World::new(environment).await;
    let issuer = Issuer::open(world.folder.path(), "test", "hearthline").expect("issuer");
    let shell = Shell::builder(Arc::new(Verifier::new(issuer.verifier_options(5)).expect("verifier"))).build();
    let options = Options {
        listeners: vec![Listener { name: "default".to_owned(), listen: ([127, 0, 0, 1], 0).into(), tls: None }],
        frame_limit: 64 * 1024,
        timings: Timings::default(),
        kept_days: 14,
        peers: peers().into_iter().map(|peer| Peer { frame_limit: 64 * 1024, ..peer }).collect(),
    };
    let ports = Ports { store: store(world.ports.store.clone()), ..world.ports.clone() };
    let built = build(options, &ports, &shell).await.expect("built");
    // The relays open them once they have compared them with the log.
    for store in [&world.ports.store, &world.directory.store] {
        store.set_open(Err("nobody is at work yet".to_owned()));
    }
    let stop = CancellationToken::new();
    let address = built.addresses[0].1;
    for (_, task) in built.tasks {
        tokio::spawn(task(stop.clone()));
    }
    tokio::spawn(built.workers.run(stop.clone()));
    let directory = Workers { kernel: world.directory.clone(), inbound: None, on_timer: None, couriers: Vec::new(), leading: Vec::new() };
    tokio::spawn(directory.run(stop.clone()));
    until("the stores are open", || async { world.ports.store.opened().is_ok() && world.directory.store.opened().is_ok() }).await;
    Running { world, address, _stop: stop.drop_guard() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_are_accepted_once_refused_by_name_and_interpreted_when_the_person_is_known() {
    let running = running(Environment::Test).await;
    let world = &running.world;
    world.publish(&world.home(HOME, "Oak Lodge", "12 High Street", POSTCODE).await).await;
    world.publish(&world.registration([7; 16], &number(1), "1938-04-12", Some(HOME)).await).await;
    until("the resident's tag", || async {
        !world.ports.store.query("select 1 from claims where scope = 'resident-nhs'", &[]).await.expect("readable").is_empty()
    })
    .await;
    until("the home", || async { !world.ports.store.query("select 1 from homes", &[]).await.expect("readable").is_empty() }).await;

    let mut sender = Sender::connect(running.address).await;
    let admission = Adt::new("A01", "C1", &number(1)).write();
    for _ in 0..2 {
        let (reply, _) = sender.exchange(&admission).await;
        assert_eq!((reply.code, reply.control_id.as_str()), (AckCode::ApplicationAccept, "C1"));
    }
    until("it is interpreted", || async { world.states().await == ["interpreted", "duplicate"] }).await;
    assert_eq!(world.events().await, ["VisitOpened"]);

    // Uninteresting, malformed, unknown.
    assert_eq!(sender.exchange(&Adt::new("A05", "C2", &number(1)).write()).await.0.code, AckCode::ApplicationAccept);
    assert_eq!(sender.exchange(b"not HL7 at all").await.0.code, AckCode::ApplicationReject);
    let (reply, text) = sender.exchange(&Adt { facility: "XYZ", ..Adt::new("A01", "C3", &number(1)) }.write()).await;
    assert_eq!((reply.code, reply.control_id.as_str()), (AckCode::ApplicationReject, "C3"));
    assert!(text.contains("MSH-4"));

    // A stranger at the home, a stranger elsewhere, and a registration that comes late.
    let at_home = Adt { address: ("Oak Lodge", POSTCODE), visit: "V2", ..Adt::new("A01", "C4", &number(2)) };
    assert_eq!(sender.exchange(&at_home.write()).await.0.code, AckCode::ApplicationAccept);
    let elsewhere = Adt { visit: "V3", ..Adt::new("A01", "C5", &number(3)) };
    assert_eq!(sender.exchange(&elsewhere.write()).await.0.code, AckCode::ApplicationAccept);
    until("both are interpreted", || async { world.states().await.iter().filter(|s| *s == "held").count() == 2 }).await;
    // The pre-admission that came after the admission is remembered and changes nothing.
    assert_eq!(world.events().await, ["VisitOpened", "VisitReported", "VisitOpened"]);
    world.publish(&world.registration([8; 16], &number(2), "1938-04-12", Some(HOME)).await).await;
    world.publish(&world.registration([6; 16], &number(3), "1938-04-12", Some(HOME)).await).await;
    until("both are known", || async { world.events().await.len() == 5 }).await;
    let mut late = world.events().await.split_off(3);
    late.sort();
    assert_eq!(late, ["VisitIdentified", "VisitOpened"]);
    assert_eq!(world.states().await.iter().filter(|s| *s == "held").count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipelined_frames_are_answered_in_their_order() {
    let running = running(Environment::Test).await;
    let mut sender = Sender::connect(running.address).await;
    for n in 0..100 {
        let bad = n % 10 == 3;
        let facility = if bad { "XYZ" } else { "RHM" };
        sender.send(&Adt { facility, ..Adt::new("A01", &format!("C{n}"), &number(n)) }.write()).await;
    }
    for n in 0..100 {
        let (reply, _) = sender.reply().await.expect("a reply");
        assert_eq!(reply.control_id, format!("C{n}"));
        assert_eq!(reply.code.is_accept(), n % 10 != 3);
    }
    let refused = running.world.states().await.iter().filter(|s| *s == "refused").count();
    assert_eq!((running.world.rows().await.len(), refused), (100, 10));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_live_gateway_takes_live_messages_only_and_says_so() {
    let running = running(Environment::Live).await;
    let mut sender = Sender::connect(running.address).await;
    let (reply, text) = sender.exchange(&Adt { processing: "T", ..Adt::new("A01", "C1", &number(1)) }.write()).await;
    assert_eq!((reply.code, reply.error_code.as_deref()), (AckCode::ApplicationReject, Some("202")));
    assert!(text.contains("MSH-11") && text.contains("|T|"), "{text}");
    assert_eq!(running.world.states().await, ["refused"]);
    assert_eq!(sender.exchange(&Adt::new("A01", "C2", &number(1)).write()).await.0.code, AckCode::ApplicationAccept);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trouble_of_our_own_closes_the_connection_without_an_answer() {
    let away = Arc::new(AtomicBool::new(true));
    let is_away = away.clone();
    let running = running_on(Environment::Test, move |store| {
        let is_away = is_away.clone();
        Arc::new(Interrupted::new(store, move |stage| {
            let refuses = stage == Stage::BeforeReceipt && is_away.load(Ordering::SeqCst);
            Box::pin(async move { if refuses { Err(StoreError::Unavailable("the disk is full".to_owned())) } else { Ok(()) } })
        }))
    })
    .await;
    let mut sender = Sender::connect(running.address).await;
    sender.send(&Adt::new("A01", "C1", &number(1)).write()).await;
    assert!(sender.reply().await.is_none(), "the connection is closed");
    away.store(false, Ordering::SeqCst);
    let mut again = Sender::connect(running.address).await;
    assert_eq!(again.exchange(&Adt::new("A01", "C1", &number(1)).write()).await.0.code, AckCode::ApplicationAccept);
    until("it is interpreted", || async { running.world.states().await == ["held"] }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_too_large_is_refused_and_bytes_without_a_frame_close_the_connection() {
    let running = running(Environment::Test).await;
    let mut sender = Sender::connect(running.address).await;
    let large = [Adt::new("A01", "C1", &number(1)).write(), vec![b'x'; 70 * 1024]].concat();
    assert_eq!(sender.exchange(&large).await.0.code, AckCode::ApplicationReject);
    assert_eq!(sender.exchange(&Adt::new("A01", "C2", &number(1)).write()).await.0.code, AckCode::ApplicationAccept);
    sender.send_raw(b"MSH|^~\\&|no start block\x1c\r").await;
    assert!(sender.reply().await.is_none());
}

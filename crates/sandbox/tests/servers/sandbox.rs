use std::net::SocketAddr;

use hearthline_sandbox::eps::{Eps, Options};
use hearthline_sandbox::{Ports, Sandbox, StartError};

use crate::any_port;

#[tokio::test]
async fn the_three_start_together_and_free_their_ports() {
    let sandbox = Sandbox::start(Ports::default()).await.unwrap();
    let urls = sandbox.urls();
    for base in [&urls.eps, &urls.fhir, &urls.smtp_control] {
        let counts = crate::get(format!("{base}/_sandbox/counts")).await.unwrap();
        assert!(counts.status().is_success(), "{base}");
    }
    let ports = Ports { eps: sandbox.eps.addr().port(), fhir: sandbox.fhir.addr().port(), smtp: sandbox.smtp.addr().port(), ..Ports::default() };
    assert_eq!(sandbox.summary().eps.orders, 0);
    sandbox.stop().await;
    assert!(crate::get(format!("{}/_sandbox/counts", urls.eps)).await.is_err());

    // Where no other test took one of them in between.
    match Sandbox::start(ports).await {
        Ok(again) => assert_eq!((again.urls().eps, again.urls().smtp), (urls.eps, urls.smtp)),
        Err(StartError::Bind { .. }) => {}
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test]
async fn two_sandboxes_run_side_by_side() {
    let one = Sandbox::start(Ports::default()).await.unwrap();
    let other = Sandbox::start(Ports::default()).await.unwrap();
    assert_ne!(one.urls(), other.urls());
}

#[tokio::test]
async fn no_server_listens_beyond_this_machine() {
    let everywhere: SocketAddr = "0.0.0.0:0".parse().unwrap();
    let refused = Eps::start(everywhere, Options::default()).await;
    assert!(matches!(refused, Err(StartError::NotLoopback(addr)) if addr == everywhere));
}

#[tokio::test]
async fn a_port_in_use_is_said_so() {
    let first = Eps::start(any_port(), Options::default()).await.unwrap();
    let second = Eps::start(first.addr(), Options::default()).await;
    assert!(matches!(second, Err(StartError::Bind { addr, .. }) if addr == first.addr()));
}

#[tokio::test]
async fn a_handle_that_is_printed_does_not_spill_what_it_holds() {
    let eps = Eps::start(any_port(), Options::default()).await.unwrap();
    assert!(format!("{eps:?}").contains("Kept { .. }"));
}

//! What the tests of the shell share: an issuer in a temporary folder and a server on a free port.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Router;
use hearthline_nhs::{HomeId, OdsCode};
use hearthline_runtime::auth::{Grant, Issuer, Role, Verifier};
use hearthline_runtime::http::{self, Shell};
use tokio_util::sync::CancellationToken;
use tokio_util::sync::DropGuard;

pub const HOME: HomeId = HomeId::from_bytes([7; 16]);
pub const ISSUER: &str = "hearthline-test";
pub const AUDIENCE: &str = "hearthline";

pub struct Keys {
    pub folder: tempfile::TempDir,
    pub issuer: Issuer,
    pub verifier: Arc<Verifier>,
}

pub fn keys() -> Keys {
    let folder = tempfile::tempdir().expect("temporary folder");
    let issuer = Issuer::open(folder.path(), ISSUER, AUDIENCE).expect("issuer");
    let verifier = Arc::new(Verifier::new(issuer.verifier_options(5)).expect("verifier"));
    Keys { folder, issuer, verifier }
}

pub fn grant(role: Role) -> Grant {
    Grant {
        subject: format!("somebody in the role {role}"),
        role,
        org: OdsCode::parse("VL001").expect("valid"),
        home: (role == Role::CareHome).then_some(HOME),
        session: role == Role::Prescriber,
    }
}

impl Keys {
    pub fn token(&self, role: Role) -> String {
        self.issuer.token(&grant(role), SystemTime::now(), Duration::from_secs(600)).expect("token")
    }
}

pub struct Server {
    pub address: SocketAddr,
    _stop: DropGuard,
}

impl Server {
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

pub async fn serve(shell: &Shell, router: Router) -> Server {
    let (listener, address) = http::bind(([127, 0, 0, 1], 0).into()).await.expect("bind");
    let stop = CancellationToken::new();
    let router = shell.finish(router);
    tokio::spawn(http::serve(listener, router, stop.clone(), Duration::from_secs(5)));
    Server { address, _stop: stop.drop_guard() }
}

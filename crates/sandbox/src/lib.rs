//! Real servers on loopback ports that stand in for the systems outside: the Electronic Prescription
//! Service, a FHIR shared record, a mail server, an HL7 receiver and an OpenTelemetry collector.
//!
//! The product's ordinary clients point at them, so what is exercised is the client that will meet the
//! real thing: its sockets, time-outs and retries. Each server
//! 1. listens on a loopback address only (it shows what it was sent to whoever asks),
//! 2. judges what arrives by the rules of the outside system ([`eps`], [`fhir`], [`smtp`], [`mllp`], [`otlp`]),
//! 3. keeps it in memory, and nowhere else, until its handle is stopped or dropped,
//! 4. does what its script says ([`Fault`]): refuse, answer late, or act and then lose the reply,
//! 5. shows what arrived, through its handle and as JSON under `/_sandbox/`.
//!
//! Log lines carry counts and codes only, never content. Nothing here may be used with real residents' data.

mod control;
mod fault;
mod http;
mod json;
mod kept;

pub mod eps;
pub mod fhir;
pub mod mllp;
pub mod otlp;
pub mod smtp;

use std::net::{Ipv4Addr, SocketAddr};

use serde::Serialize;

pub use fault::{Fault, Faults, InvalidFault};
pub use http::StartError;

/// The ports of a [`Sandbox`] on 127.0.0.1; 0 takes any free one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ports {
    pub eps: u16,
    pub fhir: u16,
    pub smtp: u16,
    /// Where the mail server answers control and query requests over HTTP.
    pub smtp_control: u16,
}

/// Where the servers of a [`Sandbox`] listen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Urls {
    /// Base URL of the prescription service, without a trailing slash.
    pub eps: String,
    /// Base URL of the shared record, without a trailing slash.
    pub fhir: String,
    /// `smtp://host:port`, without TLS or authentication.
    pub smtp: String,
    /// Base URL of the mail server's control requests.
    pub smtp_control: String,
}

/// How much a [`Sandbox`] holds. Free of content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    pub urls: Urls,
    pub eps: eps::Counts,
    pub fhir: fhir::Counts,
    pub smtp: smtp::Counts,
}

/// The three outside systems of one consultation, together. Dropping it stops them all.
#[derive(Debug)]
pub struct Sandbox {
    pub eps: eps::Handle,
    pub fhir: fhir::Handle,
    pub smtp: smtp::Handle,
}

impl Sandbox {
    /// Starts all three with their default options.
    ///
    /// # Errors
    /// [`StartError`] when a port is taken; what had started is stopped again.
    pub async fn start(ports: Ports) -> Result<Self, StartError> {
        let mail = smtp::Options { control: loopback(ports.smtp_control), ..smtp::Options::default() };
        Ok(Self {
            eps: eps::Eps::start(loopback(ports.eps), eps::Options::default()).await?,
            fhir: fhir::SharedRecord::start(loopback(ports.fhir), fhir::Options::default()).await?,
            smtp: smtp::Smtp::start(loopback(ports.smtp), mail).await?,
        })
    }

    pub fn urls(&self) -> Urls {
        Urls { eps: self.eps.url(), fhir: self.fhir.url(), smtp: format!("smtp://{}", self.smtp.addr()), smtp_control: self.smtp.control_url() }
    }

    pub fn summary(&self) -> Summary {
        Summary { urls: self.urls(), eps: self.eps.counts(), fhir: self.fhir.counts(), smtp: self.smtp.counts() }
    }

    /// Stops all three; what they held is gone.
    pub async fn stop(self) {
        self.eps.stop().await;
        self.fhir.stop().await;
        self.smtp.stop().await;
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

//! A mail server that keeps what it is sent (RFC 5321 with SIZE, 8BITMIME and PIPELINING; neither TLS nor
//! authentication).
//!
//! Operations for faults: `message` (at the end of DATA; what an unnamed fault waits for), and `connect` and
//! `rcpt`, which take `status` (and `connect` also `delay_ms` and `drop_before_reply`). `drop_before_reply` on
//! `message` keeps the mail and never says so. `status` is an SMTP reply code: 451 asks for a later try, 554
//! refuses for good.
//!
//! Control, on a port of its own: `GET /_sandbox/mails[?message_id=…&recipient=…&subject=…]`,
//! `/_sandbox/counts`, `/_sandbox/faults`.

mod mail;
mod session;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::extract::{Query, State};
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

use crate::control;
use crate::fault::Faults;
use crate::http::{HttpServer, StartError, TcpServer};
use crate::kept::Kept;

pub use mail::Mail;

/// How the server behaves from the start.
#[derive(Debug, Clone)]
pub struct Options {
    /// How it names itself.
    pub hostname: String,
    /// Largest mail taken, in bytes; announced by EHLO.
    pub size_bytes_max: usize,
    /// Recipients answered 550; case does not count.
    pub refused_recipients: BTreeSet<String>,
    /// Where control requests are taken; a loopback address.
    pub control: SocketAddr,
    /// What is to go wrong first.
    pub faults: Faults,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            hostname: "mail.sandbox.test".to_owned(),
            size_bytes_max: 10 * 1024 * 1024,
            refused_recipients: BTreeSet::new(),
            control: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            faults: Faults::default(),
        }
    }
}

/// The server; see the module.
#[derive(Debug)]
pub struct Smtp;

impl Smtp {
    /// Listens on `addr` and on the control address, both loopback; port 0 takes any free one.
    ///
    /// # Errors
    /// [`StartError`] when an address is not loopback or taken.
    pub async fn start(addr: SocketAddr, options: Options) -> Result<Handle, StartError> {
        let control_addr = options.control;
        let office = Office { mails: Kept::default(), faults: options.faults.clone(), options };
        let router = Router::new()
            .route("/_sandbox/mails", get(mails))
            .route("/_sandbox/counts", get(counts))
            .with_state(office.clone())
            .merge(control::faults(office.faults.clone()));
        let control = HttpServer::start(control_addr, router).await?;
        let sessions = office.clone();
        let server = TcpServer::start(addr, move |stream| session::serve(stream, sessions.clone())).await?;
        Ok(Handle { server, control, office })
    }
}

/// A running mail server. Dropping it stops it.
#[derive(Debug)]
pub struct Handle {
    server: TcpServer,
    control: HttpServer,
    office: Office,
}

impl Handle {
    /// Where mail is taken.
    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// `http://host:port` of the control requests.
    pub fn control_url(&self) -> String {
        self.control.url()
    }

    pub fn faults(&self) -> &Faults {
        &self.office.faults
    }

    /// Every mail kept, in order of arrival, repeats included.
    pub fn mails(&self) -> Vec<Mail> {
        self.office.mails.read(|kept| kept.mails.clone())
    }

    /// The mails of one `Message-ID`; more than one is a repeat.
    pub fn mails_by_id(&self, message_id: &str) -> Vec<Mail> {
        self.office.find(|mail| mail.has_message_id(message_id))
    }

    /// The mails with this address among their recipients.
    pub fn mails_to(&self, recipient: &str) -> Vec<Mail> {
        self.office.find(|mail| mail.is_to(recipient))
    }

    pub fn counts(&self) -> Counts {
        self.office.mails.read(Mailbox::counts)
    }

    /// Waits until `enough` holds of the counts; false when `deadline` passes first.
    pub async fn wait_until(&self, deadline: Duration, enough: impl Fn(&Counts) -> bool) -> bool {
        self.office.mails.wait_until(deadline, |kept| enough(&kept.counts())).await
    }

    /// Frees both ports and breaks off every session; what was held is gone with the handle.
    pub async fn stop(self) {
        self.server.stop().await;
        self.control.stop().await;
    }
}

/// How much arrived. Free of content.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Mails kept, repeats included.
    pub mails: usize,
    /// Different `Message-ID`s among them.
    pub message_ids: usize,
    /// Mails beyond the size limit.
    pub too_large: u64,
    /// Recipients answered 550.
    pub recipients_refused: u64,
    /// Mails refused because a fault said so.
    pub refused_as_scripted: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    TooLarge,
    Recipient,
    Scripted,
}

#[derive(Debug, Default)]
struct Mailbox {
    mails: Vec<Mail>,
    too_large: u64,
    recipients_refused: u64,
    refused_as_scripted: u64,
}

impl Mailbox {
    fn counts(&self) -> Counts {
        let ids: BTreeSet<&str> = self.mails.iter().filter_map(|mail| mail.message_id.as_deref()).collect();
        Counts {
            mails: self.mails.len(),
            message_ids: ids.len(),
            too_large: self.too_large,
            recipients_refused: self.recipients_refused,
            refused_as_scripted: self.refused_as_scripted,
        }
    }
}

/// What all sessions share.
#[derive(Debug, Clone)]
struct Office {
    mails: Kept<Mailbox>,
    faults: Faults,
    options: Options,
}

impl Office {
    /// Keeps the mail and returns its number, from 1.
    fn keep(&self, mail: Mail) -> usize {
        self.mails.change(|kept| {
            kept.mails.push(mail);
            kept.mails.len()
        })
    }

    fn refused(&self, refusal: Refusal) {
        self.mails.change(|kept| match refusal {
            Refusal::TooLarge => kept.too_large += 1,
            Refusal::Recipient => kept.recipients_refused += 1,
            Refusal::Scripted => kept.refused_as_scripted += 1,
        });
    }

    fn refuses(&self, address: &str) -> bool {
        self.options.refused_recipients.iter().any(|refused| refused.eq_ignore_ascii_case(address))
    }

    fn find(&self, fits: impl Fn(&Mail) -> bool) -> Vec<Mail> {
        self.mails.read(|kept| kept.mails.iter().filter(|mail| fits(mail)).cloned().collect())
    }
}

#[derive(Debug, Deserialize)]
struct Wanted {
    message_id: Option<String>,
    recipient: Option<String>,
    subject: Option<String>,
}

async fn mails(State(office): State<Office>, Query(wanted): Query<Wanted>) -> Json<Vec<Mail>> {
    Json(office.find(|mail| {
        wanted.message_id.as_deref().is_none_or(|id| mail.has_message_id(id))
            && wanted.recipient.as_deref().is_none_or(|address| mail.is_to(address))
            && wanted.subject.as_deref().is_none_or(|subject| mail.subject.as_deref() == Some(subject))
    }))
}

async fn counts(State(office): State<Office>) -> Json<Counts> {
    Json(office.mails.read(Mailbox::counts))
}

//! The home's own copy: a plain mail to its secure address. What it says goes to the SMTP connection and nowhere else.
//!
//! SMTP cannot be asked whether it took a mail. What fails before the mail is offered is tried again; an answer is an answer; a connection
//! that breaks after the mail was offered leaves it unconfirmed, and a person asks the home.

use crate::composing::MAIL;
use crate::delivering;
use crate::domain::Kind;
use async_trait::async_trait;
use hearthline_eventing::deliveries::{Courier, Guard, Sent};
use hearthline_eventing::{Delivery, DeliveryState, Kernel, NotNow, Unit, now_us};
use hearthline_nhs::EmailAddress;
use hearthline_runtime::config::{MailLogin, MailTls};
use lettre::message::header::ContentType;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{Message, transport::smtp};
use secrecy::ExposeSecret;
use std::time::Duration;
use uuid::Uuid;

/// For the whole conversation; the delivery's deadline lies beyond it.
const TIME_OUT: Duration = Duration::from_secs(30);
/// For connecting alone.
const CONNECT_TIME_OUT: Duration = Duration::from_secs(10);

/// The mail server.
#[derive(Debug, Clone)]
pub struct MailServer {
    pub host: String,
    pub port: u16,
    /// The hub's address.
    pub from: EmailAddress,
    pub tls: MailTls,
    pub login: Option<MailLogin>,
}

/// The client of the mail server, and what its answers mean.
pub struct Mail {
    kernel: Kernel,
    server: Option<MailServer>,
}

impl Mail {
    /// Without a server mails wait, and expire after a day.
    pub fn new(kernel: Kernel, server: Option<MailServer>) -> Self {
        Mail { kernel, server }
    }
}

#[async_trait]
impl Courier for Mail {
    fn kind(&self) -> &'static str {
        Kind::CarePlanEmail.as_str()
    }

    async fn guard(&self, delivery: &Delivery, now: i64) -> Result<Guard, NotNow> {
        if self.server.is_none() {
            return Ok(Guard::Wait { why: "not_configured" });
        }
        delivering::guard(&self.kernel, Kind::CarePlanEmail, delivery, now).await
    }

    async fn send(&self, delivery: &Delivery) -> Result<Sent, NotNow> {
        debug_assert_eq!(delivery.destination, MAIL);
        let server = self.server.as_ref().ok_or_else(|| NotNow::Other("no mail server is configured".to_owned()))?;
        let parcel = delivering::parcel(delivery)?;
        let Some(to) = delivering::address(&self.kernel, &parcel, now_us()).await? else { return Ok(Sent::Retry { code: "no_secure_email".to_owned() }) };
        let Some(text) = delivering::plain(&self.kernel, &parcel).await? else { return Ok(Sent::Refused { code: "personal_data_destroyed".to_owned() }) };
        let message_id = message_id(delivery.id, &server.from);
        let Some(message) = message(server, &to, &message_id, text) else { return Ok(Sent::Refused { code: "address_not_usable".to_owned() }) };
        Ok(hand_over(server, &message, &message_id).await)
    }

    async fn settled(&self, delivery: &Delivery, to: DeliveryState, code: Option<&str>, reference: Option<&str>, now: i64) -> Result<Unit, NotNow> {
        delivering::settled(&self.kernel, Kind::CarePlanEmail, delivery, to, code, reference, now).await
    }
}

/// The same for every attempt at one delivery, so that a mailbox shows a repeat as what it is.
pub fn message_id(delivery: [u8; 16], from: &EmailAddress) -> String {
    format!("{}@{}", Uuid::from_bytes(delivery), from.domain())
}

fn message(server: &MailServer, to: &str, message_id: &str, text: Vec<u8>) -> Option<Message> {
    let built = Message::builder()
        .from(server.from.as_str().parse().ok()?)
        .to(to.parse().ok()?)
        // No name, date of birth or reason: subjects are shown where bodies are not.
        .subject("Care plan after your call to the clinical hub")
        .message_id(Some(format!("<{message_id}>")))
        .header(ContentType::TEXT_PLAIN)
        .body(String::from_utf8(text).ok()?);
    built.ok()
}

async fn hand_over(server: &MailServer, message: &Message, message_id: &str) -> Sent {
    let Ok(connected) = tokio::time::timeout(TIME_OUT, connect(server)).await else { return Sent::Retry { code: "timed_out".to_owned() } };
    let mut connection = match connected {
        Ok(connection) => connection,
        Err(error) => return Sent::Retry { code: before(&error) },
    };
    let offered = tokio::time::timeout(TIME_OUT - CONNECT_TIME_OUT, connection.send(message.envelope(), &message.formatted())).await;
    let sent = match offered {
        Ok(Ok(_)) => Sent::Confirmed { reference: message_id.to_owned() },
        Ok(Err(error)) => match error.status() {
            Some(status) if error.is_transient() => Sent::Retry { code: format!("smtp_{status}") },
            Some(status) => Sent::Refused { code: format!("smtp_{status}") },
            None if error.is_client() => Sent::Refused { code: "mail_not_sendable".to_owned() },
            None => Sent::Unconfirmed { code: "no_answer".to_owned() },
        },
        Err(_) => Sent::Unconfirmed { code: "timed_out".to_owned() },
    };
    // The mail's fate is known or not by now; how the conversation ends changes nothing.
    let _ = tokio::time::timeout(Duration::from_secs(1), connection.abort()).await;
    sent
}

/// Greets the server, protects the connection and logs in; the mail has not been offered yet.
async fn connect(server: &MailServer) -> Result<AsyncSmtpConnection, smtp::Error> {
    let hello = ClientId::Domain(server.from.domain().to_owned());
    let tls = || TlsParameters::new(server.host.clone());
    let at_once = match server.tls {
        MailTls::Required => Some(tls()?),
        MailTls::None | MailTls::StartTls => None,
    };
    let mut connection = AsyncSmtpConnection::connect_tokio1((server.host.as_str(), server.port), Some(CONNECT_TIME_OUT), &hello, at_once, None).await?;
    if server.tls == MailTls::StartTls {
        connection.starttls(tls()?, &hello).await?;
    }
    if let Some(login) = &server.login {
        let credentials = Credentials::new(login.username.clone(), login.password.expose_secret().to_owned());
        connection.auth(&[Mechanism::Plain, Mechanism::Login], &credentials).await?;
    }
    Ok(connection)
}

fn before(error: &smtp::Error) -> String {
    match error.status() {
        Some(status) => format!("smtp_{status}"),
        None if error.is_tls() => "tls_failed".to_owned(),
        None => "unreachable".to_owned(),
    }
}

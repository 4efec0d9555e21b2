//! An MLLP client: one message at a time over a lasting connection, each with what became of it.
//!
//! Messages that do not ask for an answer to everything go several at once over a connection of their own, whose end says that no
//! answer will come any more.
//!
//! State story: *unconnected* until a message is to be sent; *connected* while every message had its acknowledgement; *unconnected*
//! again after anything else, so that a late acknowledgement is never taken for the next message's. Whether to send again is the
//! caller's to decide: an [`Outcome`] says what is known and no more.

use bytes::BytesMut;
use futures_util::FutureExt;
use hearthline_interop::hl7v2::{AckCode, Message, Reply};
use hearthline_interop::mllp::{Decoder, Event, encode};
use rustls::pki_types::ServerName;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;

/// Where messages go.
#[derive(Debug, Clone)]
pub struct Target {
    pub host: String,
    pub port: u16,
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// For the connection with its handshake.
    pub connect_timeout: Duration,
    /// From a message's last byte to its acknowledgement.
    pub reply_timeout: Duration,
}

impl Target {
    /// Without TLS: ten seconds to connect, thirty for an acknowledgement.
    pub fn plain(host: impl Into<String>, port: u16) -> Self {
        Target { host: host.into(), port, tls: None, connect_timeout: Duration::from_secs(10), reply_timeout: Duration::from_secs(30) }
    }
}

/// What is known of a message after an attempt to send it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// AA or CA.
    Accepted { code: AckCode },
    /// AE or CE: its content is wrong. AR or CR: it was not taken. The text is the receiver's and may hold anything: not for logs.
    Refused { code: AckCode, text: Option<String>, error_code: Option<String> },
    /// It was sent, wholly or in part, and nobody said what became of it.
    Unconfirmed(String),
    /// There was no connection: not a byte of it was sent.
    NotSent(String),
}

/// Acknowledgements are short; a longer answer is none.
const REPLY_BYTES_MAX: usize = 64 * 1024;

/// `Sync` so that what sends can be a task of its own.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send + Sync {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send + Sync> Stream for S {}

struct Connected {
    stream: Box<dyn Stream>,
    decoder: Decoder,
}

/// See the module.
pub struct MllpClient {
    target: Target,
    connected: Option<Connected>,
}

impl MllpClient {
    /// Connects when the first message is sent.
    pub fn new(target: Target) -> Self {
        MllpClient { target, connected: None }
    }

    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Sends a message, whose MSH-10 is `control_id`, and waits for its acknowledgement.
    pub async fn send(&mut self, message: &[u8], control_id: &str) -> Outcome {
        let mut connected = match self.connected.take().and_then(still_open) {
            Some(connected) => connected,
            None => match self.connect().await {
                Ok(connected) => connected,
                Err(why) => return Outcome::NotSent(why),
            },
        };
        let outcome = exchange(&mut connected, message, control_id, self.target.reply_timeout).await;
        if matches!(outcome, Outcome::Accepted { .. } | Outcome::Refused { .. }) {
            self.connected = Some(connected);
        }
        outcome
    }

    /// Sends messages of which not every one is answered, over a connection of its own, until the receiver has ended it too. Gives what
    /// was said meanwhile, in the order said, each by the MSH-10 that it names.
    ///
    /// # Errors
    /// The connection ended before all was sent, or did not end: of the messages without an answer nothing is known.
    pub async fn send_unawaited(&self, messages: &[&[u8]]) -> Result<Vec<(String, Outcome)>, String> {
        let Connected { stream, mut decoder } = self.connect().await?;
        let (mut from, mut to) = tokio::io::split(stream);
        let patience = self.target.reply_timeout;
        let writing = async {
            let mut framed = BytesMut::new();
            for message in messages {
                framed.clear();
                encode(message, &mut framed);
                match timeout(patience, to.write_all(&framed)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => return Err(format!("the connection failed while messages were sent: {error}")),
                    Err(_) => return Err(format!("the receiver did not take a whole message within {} s", patience.as_secs())),
                }
            }
            to.shutdown().await.map_err(|error| format!("the connection failed while messages were sent: {error}"))
        };
        let reading = async {
            let (mut said, mut buffer) = (Vec::new(), [0; 4096]);
            loop {
                match from.read(&mut buffer).await {
                    Ok(0) => return Ok(said),
                    Ok(read) => decoder.push(&buffer[..read]),
                    Err(error) => return Err(format!("the connection failed before its end: {error}")),
                }
                while let Some(event) = decoder.poll() {
                    if let Event::Frame(frame) = event {
                        said.extend(read_any_reply(&frame));
                    }
                }
            }
        };
        tokio::pin!(reading);
        tokio::select! {
            biased;
            ended = &mut reading => {
                ended?;
                return Err("the receiver closed the connection before it had all".to_owned());
            }
            written = writing => written?,
        }
        timeout(patience, reading).await.unwrap_or_else(|_| Err(format!("the receiver did not end within {} s", patience.as_secs())))
    }

    async fn connect(&self) -> Result<Connected, String> {
        let Target { host, port, tls, connect_timeout, .. } = &self.target;
        let connecting = async {
            let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(|e| format!("{host}:{port} cannot be connected to: {e}"))?;
            stream.set_nodelay(true).map_err(|e| e.to_string())?;
            let stream: Box<dyn Stream> = match tls {
                None => Box::new(stream),
                Some(config) => {
                    let name = ServerName::try_from(host.clone()).map_err(|_| format!("{host} is not a name that a certificate can have"))?;
                    Box::new(TlsConnector::from(config.clone()).connect(name, stream).await.map_err(|e| format!("TLS with {host}:{port} failed: {e}"))?)
                }
            };
            Ok(Connected { stream, decoder: Decoder::new(REPLY_BYTES_MAX) })
        };
        timeout(*connect_timeout, connecting).await.unwrap_or_else(|_| Err(format!("{host}:{port} did not answer within {} s", connect_timeout.as_secs())))
    }
}

/// The connection, unless the other side has closed it meanwhile: a message sent into it would be unconfirmed for no reason.
fn still_open(mut connected: Connected) -> Option<Connected> {
    let mut buffer = [0; 512];
    loop {
        match connected.stream.read(&mut buffer).now_or_never() {
            None => return Some(connected),
            Some(Ok(0) | Err(_)) => return None,
            // Said outside of turn; what was waited for is over.
            Some(Ok(read)) => {
                connected.decoder.push(&buffer[..read]);
                while connected.decoder.poll().is_some() {}
            }
        }
    }
}

async fn exchange(connected: &mut Connected, message: &[u8], control_id: &str, patience: Duration) -> Outcome {
    let mut framed = BytesMut::new();
    encode(message, &mut framed);
    let deadline = Instant::now() + patience;
    let sending = async {
        connected.stream.write_all(&framed).await?;
        connected.stream.flush().await
    };
    match timeout_at(deadline, sending).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return Outcome::Unconfirmed(format!("the connection failed while the message was sent: {error}")),
        Err(_) => return Outcome::Unconfirmed(format!("the receiver did not take the whole message within {} s", patience.as_secs())),
    }
    let deadline = Instant::now() + patience;
    let mut buffer = [0; 4096];
    loop {
        while let Some(event) = connected.decoder.poll() {
            if let Event::Frame(frame) = event
                && let Some(outcome) = read_reply(&frame, control_id)
            {
                return outcome;
            }
        }
        match timeout_at(deadline, connected.stream.read(&mut buffer)).await {
            Ok(Ok(0)) => return Outcome::Unconfirmed("the receiver closed the connection without an acknowledgement".to_owned()),
            Ok(Ok(read)) => connected.decoder.push(&buffer[..read]),
            Ok(Err(error)) => return Outcome::Unconfirmed(format!("the connection failed before an acknowledgement: {error}")),
            Err(_) => return Outcome::Unconfirmed(format!("no acknowledgement within {} s", patience.as_secs())),
        }
    }
}

/// What an answer says of the message; none for an answer to another one, or one that says nothing.
fn read_reply(frame: &[u8], control_id: &str) -> Option<Outcome> {
    let (named, outcome) = read_any_reply(frame)?;
    // A receiver that could not read MSH-10 refuses without naming it, and nothing else is outstanding.
    let is_its = named == control_id || (named.is_empty() && matches!(outcome, Outcome::Refused { .. }));
    is_its.then_some(outcome)
}

/// MSA-2 of an answer, and what it says.
fn read_any_reply(frame: &[u8]) -> Option<(String, Outcome)> {
    let reply = Message::parse(frame).ok().and_then(|message| Reply::of(&message))?;
    let outcome = match reply.code.is_accept() {
        true => Outcome::Accepted { code: reply.code },
        false => Outcome::Refused { code: reply.code, text: reply.text, error_code: reply.error_code },
    };
    Some((reply.control_id, outcome))
}

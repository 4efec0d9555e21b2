//! An HL7 v2 receiver over MLLP: takes frames, keeps messages, answers as scripted.
//!
//! The reply code is [`Options::code`]; a fault `refuse` replaces it for one message (`AE`, `AR`, `CE`, `CR`),
//! which is then not kept. `status` has no meaning of its own here: any value answers `AR`. The operation's
//! name is `message`.
//!
//! Control, on a port of its own: `GET /_sandbox/messages[?control_id=…]`, `/_sandbox/counts`,
//! `/_sandbox/faults`.

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::extract::{Query, State};
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::control;
use crate::fault::Faults;
use crate::http::{HttpServer, StartError, TcpServer};
use crate::kept::Kept;

const START: u8 = 0x0B;
const END: u8 = 0x1C;
const CARRIAGE_RETURN: u8 = 0x0D;

/// How the receiver behaves from the start.
#[derive(Debug, Clone)]
pub struct Options {
    /// MSA-1 of an ordinary reply; UK receivers say `AA` even in enhanced mode.
    pub code: String,
    /// Largest frame taken, in bytes; the session ends at a larger one.
    pub frame_bytes_max: usize,
    /// Where control requests are taken; a loopback address.
    pub control: SocketAddr,
    /// What is to go wrong first.
    pub faults: Faults,
}

impl Default for Options {
    fn default() -> Self {
        Self { code: "AA".to_owned(), frame_bytes_max: 4 * 1024 * 1024, control: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), faults: Faults::default() }
    }
}

/// One message kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Message {
    /// MSH-9.
    pub message_type: String,
    /// MSH-10.
    pub control_id: String,
    /// The frame's content (not UTF-8 is replaced).
    pub content: String,
}

/// How much arrived. Free of content.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Messages kept, repeats included.
    pub messages: usize,
    /// Different control ids among them.
    pub control_ids: usize,
    /// Messages answered with another code than the ordinary one.
    pub refused: u64,
}

/// The server; see the module.
#[derive(Debug)]
pub struct Receiver;

impl Receiver {
    /// Listens on `addr` and on the control address, both loopback; port 0 takes any free one.
    ///
    /// # Errors
    /// [`StartError`] when an address is not loopback or taken.
    pub async fn start(addr: SocketAddr, options: Options) -> Result<Handle, StartError> {
        let control_addr = options.control;
        let desk = Desk { kept: Kept::default(), faults: options.faults.clone(), options };
        let router = Router::new()
            .route("/_sandbox/messages", get(messages))
            .route("/_sandbox/counts", get(counts))
            .with_state(desk.clone())
            .merge(control::faults(desk.faults.clone()));
        let control = HttpServer::start(control_addr, router).await?;
        let sessions = desk.clone();
        let server = TcpServer::start(addr, move |stream| serve(stream, sessions.clone())).await?;
        Ok(Handle { server, control, desk })
    }
}

/// A running receiver. Dropping it stops it.
#[derive(Debug)]
pub struct Handle {
    server: TcpServer,
    control: HttpServer,
    desk: Desk,
}

impl Handle {
    /// Where frames are taken.
    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// `http://host:port` of the control requests.
    pub fn control_url(&self) -> String {
        self.control.url()
    }

    pub fn faults(&self) -> &Faults {
        &self.desk.faults
    }

    /// Every message kept, in order of arrival, repeats included.
    pub fn messages(&self) -> Vec<Message> {
        self.desk.kept.read(|kept| kept.messages.clone())
    }

    pub fn counts(&self) -> Counts {
        self.desk.kept.read(Received::counts)
    }

    /// Waits until `enough` holds of the counts; false when `deadline` passes first.
    pub async fn wait_until(&self, deadline: Duration, enough: impl Fn(&Counts) -> bool) -> bool {
        self.desk.kept.wait_until(deadline, |kept| enough(&kept.counts())).await
    }

    /// Frees both ports and breaks off every session; what was held is gone with the handle.
    pub async fn stop(self) {
        self.server.stop().await;
        self.control.stop().await;
    }
}

#[derive(Debug, Default)]
struct Received {
    messages: Vec<Message>,
    refused: u64,
}

impl Received {
    fn counts(&self) -> Counts {
        let ids: BTreeSet<&str> = self.messages.iter().map(|message| message.control_id.as_str()).collect();
        Counts { messages: self.messages.len(), control_ids: ids.len(), refused: self.refused }
    }
}

#[derive(Debug, Clone)]
struct Desk {
    kept: Kept<Received>,
    faults: Faults,
    options: Options,
}

async fn serve(stream: TcpStream, desk: Desk) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    while let Some(frame) = frame(&mut read, desk.options.frame_bytes_max).await? {
        let content = String::from_utf8_lossy(&frame).into_owned();
        let header = Header::read(&content);
        let fault = desk.faults.take("message");
        let code = match (&fault.refuse, fault.status, &header) {
            (Some(code), _, _) => code.clone(),
            (None, Some(_), _) | (None, None, None) => "AR".to_owned(),
            (None, None, Some(_)) => desk.options.code.clone(),
        };
        let refused = fault.refuse.is_some() || fault.status.is_some();
        let header = header.unwrap_or_default();
        let reply = header.acknowledgement(&code);
        desk.kept.change(|kept| {
            if refused || header.control_id.is_empty() {
                kept.refused += 1;
            } else {
                let Header { message_type, control_id, .. } = header;
                kept.messages.push(Message { message_type, control_id, content });
            }
        });
        fault.wait().await;
        if fault.drop_before_reply {
            return Ok(());
        }
        write.write_all(&reply).await?;
        write.flush().await?;
    }
    Ok(())
}

/// The content of the next frame, skipping whatever lies between frames; none when the sender has gone.
async fn frame(read: &mut (impl AsyncBufRead + Unpin), bytes_max: usize) -> io::Result<Option<Vec<u8>>> {
    let mut between = Vec::new();
    (&mut *read).take(bytes_max as u64).read_until(START, &mut between).await?;
    if between.last() != Some(&START) {
        return Ok(None);
    }
    let mut content = Vec::new();
    loop {
        let room = (bytes_max + 1).saturating_sub(content.len());
        let found = (&mut *read).take(room as u64).read_until(END, &mut content).await?;
        if found == 0 || content.last() != Some(&END) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // The end block inside a message is content, unless a carriage return follows.
        if read.fill_buf().await?.first() == Some(&CARRIAGE_RETURN) {
            read.consume(1);
            content.pop();
            return Ok(Some(content));
        }
    }
}

/// The fields of MSH that a reply needs.
#[derive(Debug, Default)]
struct Header {
    sending: [String; 2],
    receiving: [String; 2],
    message_type: String,
    control_id: String,
    processing_id: String,
    version: String,
}

impl Header {
    fn read(content: &str) -> Option<Self> {
        let segment = content.split(['\r', '\n']).next()?.strip_prefix("MSH")?;
        let separator = segment.chars().next()?;
        // After the cut, field n of HL7 (MSH-1 being the separator itself) stands at n - 1.
        let fields: Vec<&str> = segment.split(separator).collect();
        let field = |number: usize| fields.get(number - 1).copied().unwrap_or_default().to_owned();
        let header = Self {
            sending: [field(3), field(4)],
            receiving: [field(5), field(6)],
            message_type: field(9),
            control_id: field(10),
            processing_id: field(11),
            version: field(12),
        };
        (!header.control_id.is_empty()).then_some(header)
    }

    /// The framed reply: sides swapped, the message's own control id in MSA-2.
    fn acknowledgement(&self, code: &str) -> Vec<u8> {
        let Self { sending, receiving, control_id, processing_id, version, .. } = self;
        let trigger = self.message_type.split('^').nth(1).unwrap_or_default();
        let time = jiff::Timestamp::now().strftime("%Y%m%d%H%M%S+0000");
        let text = format!(
            "MSH|^~\\&|{}|{}|{}|{}|{time}||ACK^{trigger}^ACK|R{control_id}|{processing_id}|{version}\rMSA|{code}|{control_id}\r",
            receiving[0], receiving[1], sending[0], sending[1],
        );
        [&[START], text.as_bytes(), &[END, CARRIAGE_RETURN]].concat()
    }
}

#[derive(Debug, Deserialize)]
struct Wanted {
    control_id: Option<String>,
}

async fn messages(State(desk): State<Desk>, Query(wanted): Query<Wanted>) -> Json<Vec<Message>> {
    let fits = |message: &&Message| wanted.control_id.as_deref().is_none_or(|id| message.control_id == id);
    Json(desk.kept.read(|kept| kept.messages.iter().filter(fits).cloned().collect()))
}

async fn counts(State(desk): State<Desk>) -> Json<Counts> {
    Json(desk.kept.read(Received::counts))
}

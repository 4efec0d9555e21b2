//! Hospital messages over MLLP: one lasting connection a sender, one message outstanding, the same message again where no
//! acknowledgement came.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use bytes::BytesMut;
use hearthline_interop::hl7v2::{AckCode, Message, Reply};
use hearthline_interop::mllp::{Decoder, Event, encode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::pace::{Moment, Pace, Step};
use super::serving::Serving;

const FRAME_BYTES_MAX: usize = 1 << 20;
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// How long a message that must be taken is sent again.
pub const PATIENCE: Duration = Duration::from_secs(90);
const PAUSE: Duration = Duration::from_millis(20);

/// A message to be sent.
pub struct Outgoing<'m> {
    pub bytes: &'m [u8],
    /// The control id that the answer must repeat, where the message is known to have one.
    pub control_id: Option<&'m str>,
    /// How long it is sent again while nobody answers.
    pub patience: Duration,
}

/// One sender's line.
pub struct Line {
    serving: Arc<Serving>,
    pace: Arc<Pace>,
    open: Option<Open>,
    pub resent: u64,
}

struct Open {
    stream: TcpStream,
    decoder: Decoder,
}

impl Line {
    pub fn new(serving: Arc<Serving>, pace: Arc<Pace>) -> Self {
        Self { serving, pace, open: None, resent: 0 }
    }

    /// Sends a message until it is acknowledged and returns the acknowledgement code (MSA-1). The process may die at it.
    pub async fn send(&mut self, message: &Outgoing<'_>) -> anyhow::Result<AckCode> {
        let serving = Arc::clone(&self.serving);
        match self.pace.next(Step::Message) {
            None => self.persist(message).await,
            Some(Moment::Before) => {
                serving.kill_and_restart().await?;
                self.persist(message).await
            }
            Some(Moment::During(after)) => {
                let killed = async {
                    tokio::time::sleep(after).await;
                    serving.kill_and_restart().await
                };
                let (code, killed) = tokio::join!(self.persist(message), killed);
                killed?;
                code
            }
            Some(Moment::After) => {
                let code = self.persist(message).await?;
                serving.kill_and_restart().await?;
                Ok(code)
            }
        }
    }

    async fn persist(&mut self, message: &Outgoing<'_>) -> anyhow::Result<AckCode> {
        let deadline = Instant::now() + message.patience;
        loop {
            match self.attempt(message).await {
                Ok(code) => return Ok(code),
                Err(error) if Instant::now() > deadline => return Err(error.context("no acknowledgement")),
                Err(_) => {
                    self.serving.must_run()?;
                    self.open = None;
                    self.resent += 1;
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    async fn attempt(&mut self, message: &Outgoing<'_>) -> anyhow::Result<AckCode> {
        if self.open.is_none() {
            let stream = TcpStream::connect(self.serving.mllp().context("no process takes messages")?).await?;
            stream.set_nodelay(true)?;
            self.open = Some(Open { stream, decoder: Decoder::new(FRAME_BYTES_MAX) });
        }
        let Some(open) = self.open.as_mut() else { bail!("not connected") };
        let mut frame = BytesMut::new();
        encode(message.bytes, &mut frame);
        open.stream.write_all(&frame).await?;
        let reply = tokio::time::timeout(ANSWER_WITHIN, open.answer()).await.context("no answer in time")??;
        if message.control_id.is_some_and(|sent| sent != reply.control_id) {
            bail!("the answer is to another message");
        }
        Ok(reply.code)
    }
}

impl Open {
    async fn answer(&mut self) -> anyhow::Result<Reply> {
        let mut chunk = [0; 4_096];
        loop {
            if let Some(event) = self.decoder.poll() {
                let frame = match event {
                    Event::Frame(frame) => frame,
                    Event::Quirk(_) => continue,
                    _ => bail!("the answer is no frame"),
                };
                let reply = Message::parse(&frame).map_err(|_| anyhow!("the answer is no HL7 message"))?;
                return Reply::of(&reply).context("the answer acknowledges nothing");
            }
            let read = self.stream.read(&mut chunk).await?;
            if read == 0 {
                bail!("the line was closed");
            }
            self.decoder.push(&chunk[..read]);
        }
    }
}

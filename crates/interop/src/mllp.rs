//! Minimal Lower Layer Protocol: `0x0B message 0x1C 0x0D` over a byte stream (HL7 v2 Implementation Guide, appendix C).
//!
//! The [`Decoder`] is a state machine without a socket: [`Decoder::push`] takes bytes as they come, however they were
//! split or joined on the way, and [`Decoder::poll`] gives what was found. How the stream was cut never changes the
//! events.
//!
//! State story: *between* frames until a start block; *inside* until an end block; *discarding* after the size limit
//! was passed, until the next end block. In each state a lone `0x1C` waits for one more byte.
//!
//! What real senders do, and what is done with it:
//! - line ends, spaces and a byte order mark between frames: skipped in silence; anything else between frames is
//!   [`Event::Noise`], given when the next start block comes;
//! - text that ends in an end block but never had a start block: [`Event::MissingStart`];
//! - `0x1C` not followed by `0x0D` is content, except straight before a start block, where the sender has
//!   forgotten the carriage return;
//! - `0x0B` inside a frame is content (word processors use it as a soft line break), unless a message header follows:
//!   then the sender began again, and the unfinished part is [`Event::Truncated`];
//! - a frame longer than the limit is never buffered beyond it: [`Event::Oversize`].

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};
use memchr::{memchr, memmem};

const START: u8 = 0x0B;
const END: u8 = 0x1C;
const CARRIAGE_RETURN: u8 = 0x0D;
const BYTE_ORDER_MARK: [u8; 3] = [0xEF, 0xBB, 0xBF];

/// What the decoder found in the stream. Byte counts are of content, without framing.
#[derive(Clone, PartialEq, Eq)]
pub enum Event {
    /// A complete message, verbatim (a byte order mark after the start block is still there).
    Frame(Bytes),
    /// Bytes between frames that are neither white space nor a byte order mark.
    Noise {
        /// How many such bytes.
        bytes: usize,
    },
    /// Text with an end block but no start block; nothing of it was kept.
    MissingStart {
        /// How many bytes that are not white space came before the end block.
        bytes: usize,
    },
    /// A frame passed the size limit; its bytes were dropped and the rest of it will be skipped.
    Oversize {
        /// The limit that was passed.
        limit_bytes: usize,
    },
    /// A frame began and was never finished.
    Truncated {
        /// How many bytes of it had come.
        bytes: usize,
    },
}

impl std::fmt::Debug for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Frame(frame) => write!(f, "Frame({} bytes)", frame.len()),
            Self::Noise { bytes } => write!(f, "Noise({bytes} bytes)"),
            Self::MissingStart { bytes } => write!(f, "MissingStart({bytes} bytes)"),
            Self::Oversize { limit_bytes } => write!(f, "Oversize(limit {limit_bytes} bytes)"),
            Self::Truncated { bytes } => write!(f, "Truncated({bytes} bytes)"),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Between,
    BetweenEnd,
    Inside,
    InsideEnd,
    Discarding,
    DiscardingEnd,
}

/// Cuts a byte stream into frames. One per connection.
pub struct Decoder {
    state: State,
    frame: BytesMut,
    frame_bytes_max: usize,
    noise: Noise,
    found: VecDeque<Event>,
}

impl Decoder {
    /// A decoder that holds at most `frame_bytes_max` bytes of an unfinished message.
    pub fn new(frame_bytes_max: usize) -> Self {
        Self { state: State::Between, frame: BytesMut::new(), frame_bytes_max, noise: Noise::default(), found: VecDeque::new() }
    }

    /// Takes the next bytes of the stream. Poll until `None` before the next push, so that finished frames do not pile up.
    pub fn push(&mut self, mut input: &[u8]) {
        while let Some(&first) = input.first() {
            let taken = match self.state {
                State::Between => self.between(first),
                State::BetweenEnd => self.between_end(first),
                State::Inside => self.inside(input),
                State::InsideEnd => self.inside_end(first),
                State::Discarding => match memchr(END, input) {
                    Some(at) => {
                        self.state = State::DiscardingEnd;
                        at + 1
                    }
                    None => input.len(),
                },
                State::DiscardingEnd => self.discarding_end(first),
            };
            input = &input[taken..];
        }
    }

    /// The next thing found, in stream order.
    pub fn poll(&mut self) -> Option<Event> {
        self.found.pop_front()
    }

    /// Whether a frame has begun and not ended: an idle connection in this state is a stuck sender.
    pub fn is_mid_frame(&self) -> bool {
        matches!(self.state, State::Inside | State::InsideEnd | State::Discarding | State::DiscardingEnd)
    }

    /// What has come of an unfinished message.
    pub fn unfinished(&self) -> &[u8] {
        &self.frame
    }

    /// Another size limit, from the message that has begun on.
    pub fn limit(&mut self, frame_bytes_max: usize) {
        self.frame_bytes_max = frame_bytes_max;
        if self.is_mid_frame() && self.frame.len() > frame_bytes_max {
            self.found.push_back(Event::Oversize { limit_bytes: frame_bytes_max });
            self.frame = BytesMut::new();
            self.state = if self.state == State::InsideEnd { State::DiscardingEnd } else { State::Discarding };
        }
    }

    /// The stream has ended: reports what was left unfinished and returns to the beginning.
    pub fn finish(&mut self) {
        match self.state {
            State::Inside => self.found.push_back(Event::Truncated { bytes: self.frame.len() }),
            State::InsideEnd => self.found.push_back(Event::Truncated { bytes: self.frame.len() + 1 }),
            State::Between => self.report_noise(),
            State::BetweenEnd => {
                self.noise.add(END);
                self.report_noise();
            }
            State::Discarding | State::DiscardingEnd => {}
        }
        self.frame.clear();
        self.noise = Noise::default();
        self.state = State::Between;
    }

    fn between(&mut self, byte: u8) -> usize {
        match byte {
            START => self.begin(),
            END => self.state = State::BetweenEnd,
            _ => {
                self.noise.add(byte);
                if self.noise.bytes >= self.frame_bytes_max.max(1) {
                    self.report_noise();
                }
            }
        }
        1
    }

    fn between_end(&mut self, byte: u8) -> usize {
        self.state = State::Between;
        if byte == CARRIAGE_RETURN && self.noise.bytes > 0 {
            self.found.push_back(Event::MissingStart { bytes: self.noise.bytes });
            self.noise = Noise::default();
            return 1;
        }
        self.noise.add(END);
        0
    }

    fn inside(&mut self, input: &[u8]) -> usize {
        let (content, taken) = match memchr(END, input) {
            Some(at) => (&input[..at], at + 1),
            None => (input, input.len()),
        };
        if !self.keep(content) {
            // What follows is looked at again as part of the discarded frame.
            return content.len();
        }
        if taken > content.len() {
            self.state = State::InsideEnd;
        }
        taken
    }

    fn inside_end(&mut self, byte: u8) -> usize {
        match byte {
            CARRIAGE_RETURN => {
                self.complete();
                self.state = State::Between;
                1
            }
            START => {
                self.complete();
                self.begin();
                1
            }
            _ => {
                self.state = State::Inside;
                self.keep(&[END]);
                0
            }
        }
    }

    fn discarding_end(&mut self, byte: u8) -> usize {
        match byte {
            CARRIAGE_RETURN => {
                self.state = State::Between;
                1
            }
            START => {
                self.begin();
                1
            }
            _ => {
                self.state = State::Discarding;
                0
            }
        }
    }

    fn begin(&mut self) {
        self.report_noise();
        self.frame.clear();
        self.state = State::Inside;
    }

    /// Adds content to the frame, or gives the frame up when that would pass the limit.
    fn keep(&mut self, content: &[u8]) -> bool {
        if self.frame.len() + content.len() > self.frame_bytes_max {
            self.found.push_back(Event::Oversize { limit_bytes: self.frame_bytes_max });
            self.frame = BytesMut::new();
            self.state = State::Discarding;
            return false;
        }
        self.frame.extend_from_slice(content);
        true
    }

    fn complete(&mut self) {
        // Handed on whole: what is left of a large buffer must not stay with an idle connection.
        let mut frame = std::mem::take(&mut self.frame).freeze();
        if let Some(restart) = last_restart(&frame) {
            self.found.push_back(Event::Truncated { bytes: restart });
            frame = frame.slice(restart + 1..);
        }
        self.found.push_back(Event::Frame(frame));
    }

    fn report_noise(&mut self) {
        let noise = std::mem::take(&mut self.noise);
        if noise.bytes > 0 && !noise.is_byte_order_mark() {
            self.found.push_back(Event::Noise { bytes: noise.bytes });
        }
    }
}

/// Wraps one message for sending. The message must not hold `0x1C 0x0D`; what [`crate::hl7v2::write`] makes never does.
pub fn encode(message: &[u8], out: &mut BytesMut) {
    out.reserve(message.len() + 3);
    out.put_u8(START);
    out.put_slice(message);
    out.put_u8(END);
    out.put_u8(CARRIAGE_RETURN);
}

/// Where a second start block followed by a message header stands inside a frame.
fn last_restart(frame: &[u8]) -> Option<usize> {
    let plain = memmem::rfind(frame, b"\x0BMSH");
    let marked = memmem::rfind(frame, b"\x0B\xEF\xBB\xBFMSH");
    plain.max(marked)
}

/// Bytes between frames, counted without keeping them.
#[derive(Default)]
struct Noise {
    bytes: usize,
    mark_bytes: usize,
}

impl Noise {
    fn add(&mut self, byte: u8) {
        if byte.is_ascii_whitespace() || byte == 0 {
            return;
        }
        if self.bytes == self.mark_bytes && BYTE_ORDER_MARK.get(self.mark_bytes) == Some(&byte) {
            self.mark_bytes += 1;
        }
        self.bytes += 1;
    }

    fn is_byte_order_mark(&self) -> bool {
        self.bytes == self.mark_bytes && self.mark_bytes == BYTE_ORDER_MARK.len()
    }
}

#[cfg(test)]
#[path = "mllp_tests.rs"]
mod tests;

//! A connection as an engineer reads of it.

use super::{Doing, Ended, Entry, Quirk, Seen, lock};
use hearthline_eventing::now_us;
use hearthline_runtime::service::rfc3339;
use serde::Serialize;
use std::collections::BTreeMap;

/// One connection, open or ended. Times are RFC 3339 in UTC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConnectionReport {
    /// None until a frame said whose it is.
    pub peer: Option<String>,
    pub listener: String,
    pub remote: String,
    pub since: String,
    pub ended: Option<String>,
    /// What it is doing, or how it ended.
    pub state: String,
    pub frames: u64,
    pub bytes: u64,
    pub last_frame_at: Option<String>,
    pub last_byte_at: String,
    /// Frames that are being taken.
    pub in_flight: usize,
    /// How often each MSA-1 was answered; `none`: no answer was asked for, `closed`: trouble of ours.
    pub replies: BTreeMap<&'static str, u64>,
    pub quirks: Vec<QuirkReport>,
    pub tls: Option<TlsReport>,
    /// What is wrong, in a sentence; none: nothing.
    pub problem: Option<String>,
    pub advice: Option<String>,
}

/// Something a sender does that it should not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct QuirkReport {
    pub name: &'static str,
    pub count: u64,
    pub last_at: String,
    pub problem: &'static str,
    pub advice: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TlsReport {
    pub version: String,
    /// Of the certificate that the sender showed, where one was asked for.
    pub client_name: Option<String>,
    pub client_fingerprint: Option<String>,
}

impl Entry {
    pub(super) fn report(&self, ended: Option<&Ended>) -> ConnectionReport {
        let record = lock(&self.record);
        let quirks = record.quirks.iter().map(|(quirk, seen)| quirk_report(*quirk, seen)).collect();
        let harmful = record.quirks.iter().filter(|(quirk, _)| !quirk.is_harmless()).max_by_key(|(_, seen)| seen.last_at);
        let newest = harmful.map(|(quirk, _)| (quirk.problem().to_owned(), quirk.advice()));
        let refused: u64 = record.replies.iter().filter(|(code, _)| matches!(**code, "AE" | "AR" | "CE" | "CR")).map(|(_, count)| count).sum();
        let refusals = (refused > 0).then(|| (format!("{refused} of {} messages were refused", record.frames), REFUSALS));
        let wrong = ended.and_then(Ended::problem).or(newest).or(refusals);
        ConnectionReport {
            peer: record.peer.as_deref().map(str::to_owned),
            listener: self.listener.to_string(),
            remote: self.remote.to_string(),
            since: rfc3339(self.since),
            ended: ended.map(|_| rfc3339(now_us())),
            state: ended.map_or_else(|| record.doing.words(record.in_flight).to_owned(), Ended::words),
            frames: record.frames,
            bytes: record.bytes,
            last_frame_at: record.last_frame_at.map(rfc3339),
            last_byte_at: rfc3339(record.last_byte_at),
            in_flight: if ended.is_some() { 0 } else { record.in_flight },
            replies: record.replies.clone(),
            quirks,
            tls: self.tls.get().cloned(),
            problem: wrong.as_ref().map(|(problem, _)| problem.clone()),
            advice: wrong.map(|(_, advice)| advice.to_owned()),
        }
    }
}

pub(super) fn quirk_report(quirk: Quirk, seen: &Seen) -> QuirkReport {
    QuirkReport { name: quirk.name(), count: seen.count, last_at: rfc3339(seen.last_at), problem: quirk.problem(), advice: quirk.advice() }
}

const REFUSALS: &str = "see the texts of the refusals among the peer's messages: `hearthline pas messages`";

impl Doing {
    fn words(self, in_flight: usize) -> &'static str {
        match self {
            Doing::Waiting if in_flight == 0 => "waiting for a frame",
            Doing::Waiting => "taking frames",
            Doing::MidFrame => "in the middle of a frame",
            Doing::Full => "not read from until frames are taken",
            Doing::Held => "not read from until there is memory for its large message",
            Doing::Replying => "writing a reply",
        }
    }
}

impl Ended {
    /// How it ended, for any reader.
    pub fn words(&self) -> String {
        match self {
            Ended::BySender => "closed by the sender".to_owned(),
            Ended::BySenderMidFrame => "closed by the sender in the middle of a frame".to_owned(),
            Ended::Stopped => "closed because the gateway stopped".to_owned(),
            Ended::Failed(why) => format!("the connection failed: {why}"),
            Ended::NotNow(_) => "closed without an answer because of trouble on this side".to_owned(),
            Ended::NotFramed => "closed because a message came without its start block".to_owned(),
            Ended::OtherProtocol(quirk) => format!("closed because {}", quirk.problem()),
            Ended::PartialFrame(limit) => format!("closed because a frame did not go on for {} s", seconds(limit.as_millis())),
            Ended::Idle(limit) => format!("closed because nothing came for {} s", seconds(limit.as_millis())),
            Ended::Unread(limit) => format!("closed because replies were not read for {} s", seconds(limit.as_millis())),
            Ended::Superseded(by) => format!("superseded by a new connection of the peer, from {by}"),
            Ended::MadeWay => "closed to make way: there were too many connections, and no known peer had sent on this one".to_owned(),
            Ended::Handshake(why) => format!("TLS was not agreed on: {why}"),
            Ended::Panicked => "closed because of a fault in the gateway".to_owned(),
        }
    }

    /// What is wrong and what to do; none for an ordinary end.
    fn problem(&self) -> Option<(String, &'static str)> {
        let advice = match self {
            Ended::BySender | Ended::Stopped | Ended::Idle(_) => return None,
            Ended::BySenderMidFrame => "the sender has to send that message again; look at its time-outs and at what lies between",
            Ended::Failed(_) => "look at what lies between: firewalls that forget connections, load balancers with time-outs",
            Ended::NotNow(_) => "nothing to do for the sender but to send again; `hearthline doctor` says what is wrong on this side",
            Ended::OtherProtocol(quirk) => quirk.advice(),
            Ended::NotFramed => "have the sender begin every frame with 0x0B",
            Ended::PartialFrame(_) => "have the sender end every frame with 0x1C 0x0D; if its network is that slow, raise partial_frame_s",
            Ended::Unread(_) => "have the sender read every acknowledgement; one that wants none says NE in MSH-15 and MSH-16",
            Ended::Superseded(_) => "nothing to do if the sender was restarted; if it keeps several connections open, have it use them or close them",
            Ended::MadeWay => "have whatever opens connections without sending a known MSH-4 close them",
            Ended::Handshake(_) => "compare the certificates of both sides: who signed them, until when they hold, and whether one is asked for",
            Ended::Panicked => "report it with the log of this time; the message has to be sent again",
        };
        let problem = match self {
            // The cause is said without personal data.
            Ended::NotNow(why) => format!("{}: {why}", self.words()),
            _ => self.words(),
        };
        Some((problem, advice))
    }
}

fn seconds(ms: u128) -> String {
    if ms.is_multiple_of(1_000) { (ms / 1_000).to_string() } else { format!("{}.{:03}", ms / 1_000, ms % 1_000) }
}

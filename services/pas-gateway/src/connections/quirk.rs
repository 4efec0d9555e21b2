//! What senders do that they should not, with what to do about it.

/// A habit of a sender that is worth an engineer's look. The stream goes on unless said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Quirk {
    /// A byte order mark before a message.
    ByteOrderMark,
    Noise,
    /// A frame was begun anew before its end.
    BegunAnew,
    MissingStart,
    /// The connection ended in the middle of a frame.
    CutOff,
    Oversize,
    PartialFrame,
    UnreadReplies,
    SeveralPeers,
    WrongListener,
    UnknownFacility,
    Unreadable,
    TlsOnPlain,
    HttpOnMllp,
}

impl Quirk {
    pub fn name(self) -> &'static str {
        match self {
            Quirk::ByteOrderMark => "byte_order_mark",
            Quirk::Noise => "noise",
            Quirk::BegunAnew => "begun_anew",
            Quirk::MissingStart => "missing_start",
            Quirk::CutOff => "cut_off",
            Quirk::Oversize => "oversize",
            Quirk::PartialFrame => "partial_frame",
            Quirk::UnreadReplies => "unread_replies",
            Quirk::SeveralPeers => "several_peers",
            Quirk::WrongListener => "wrong_listener",
            Quirk::UnknownFacility => "unknown_facility",
            Quirk::Unreadable => "unreadable",
            Quirk::TlsOnPlain => "tls_on_plain",
            Quirk::HttpOnMllp => "http_on_mllp",
        }
    }

    pub fn problem(self) -> &'static str {
        match self {
            Quirk::ByteOrderMark => "messages begin with a byte order mark",
            Quirk::Noise => "bytes come between frames that belong to no message; they were skipped",
            Quirk::BegunAnew => "a frame was begun anew before its end; the unfinished part has no answer",
            Quirk::MissingStart => "a message came without its start block 0x0B, so it cannot be told from noise; the connection is closed",
            Quirk::CutOff => "the sender closed the connection in the middle of a frame; that message has no answer",
            Quirk::Oversize => "a message is larger than agreed with this peer and was answered AR",
            Quirk::PartialFrame => "a frame began and did not go on, so the connection is closed",
            Quirk::UnreadReplies => "the sender does not read its replies, so nothing more is read from it",
            Quirk::SeveralPeers => "messages of several peers come over one connection",
            Quirk::WrongListener => "MSH-4 names a peer that is to use another listener",
            Quirk::UnknownFacility => "MSH-4 names no peer of this listener",
            Quirk::Unreadable => "what is in a frame does not begin with a usable MSH segment",
            Quirk::TlsOnPlain => "the sender speaks TLS on a listener without TLS",
            Quirk::HttpOnMllp => "the sender speaks HTTP on an MLLP listener",
        }
    }

    pub fn advice(self) -> &'static str {
        match self {
            Quirk::ByteOrderMark => "harmless here; have the sender write UTF-8 without a byte order mark, other receivers refuse it",
            Quirk::Noise => "have the sender write 0x0B, the message, 0x1C 0x0D and nothing else",
            Quirk::BegunAnew => "have the sender end every frame with 0x1C 0x0D, and send again what has no acknowledgement",
            Quirk::MissingStart => "have the sender begin every frame with 0x0B",
            Quirk::CutOff => "look at the sender's time-outs and at what lies between; it has to send that message again",
            Quirk::Oversize => "agree on a larger frame_limit_bytes with the peer, or have it leave documents out of the feed",
            Quirk::PartialFrame => "have the sender end every frame with 0x1C 0x0D; if its network is that slow, raise partial_frame_s",
            Quirk::UnreadReplies => "have the sender read every acknowledgement; one that wants none says NE in MSH-15 and MSH-16",
            Quirk::SeveralPeers => "allowed; the settings are those of whoever sent last, so give each peer a connection of its own where they differ",
            Quirk::WrongListener => "have the sender use the listener of its peer, or change `listener` of the peer",
            Quirk::UnknownFacility => "correct MSH-4 at the sender, or add its value to sending_facilities of the peer",
            Quirk::Unreadable => "have the sender begin every message with MSH and its delimiters",
            Quirk::TlsOnPlain => "turn TLS off at the sender, or give the listener a certificate_file and a key_file",
            Quirk::HttpOnMllp => "the HTTP interface has another port: see `server.listen`; a load balancer's health check should only connect",
        }
    }
}

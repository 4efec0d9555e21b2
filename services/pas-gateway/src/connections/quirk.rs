//! What senders do that they should not, with what to do about it.

use hearthline_interop::mllp::Quirk as Framing;

/// A habit of a sender that is worth an engineer's look. The stream goes on unless said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Quirk {
    /// How it frames its messages.
    Framing(Framing),
    /// The connection ended in the middle of a frame.
    CutOff,
    PartialFrame,
    UnreadReplies,
    SeveralPeers,
    WrongListener,
    UnknownFacility,
    /// The certificate that was shown is not the peer's.
    OtherCertificate,
    Unreadable,
    SequenceGap,
    TlsOnPlain,
    HttpOnMllp,
}

impl Quirk {
    pub fn name(self) -> &'static str {
        match self {
            Quirk::Framing(framing) => framing.name(),
            Quirk::CutOff => "cut_off",
            Quirk::PartialFrame => "partial_frame",
            Quirk::UnreadReplies => "unread_replies",
            Quirk::SeveralPeers => "several_peers",
            Quirk::WrongListener => "wrong_listener",
            Quirk::UnknownFacility => "unknown_facility",
            Quirk::OtherCertificate => "other_certificate",
            Quirk::Unreadable => "unreadable",
            Quirk::SequenceGap => "sequence_gap",
            Quirk::TlsOnPlain => "tls_on_plain",
            Quirk::HttpOnMllp => "http_on_mllp",
        }
    }

    /// Other receivers take such a stream as it is, and so does this one.
    pub fn is_harmless(self) -> bool {
        matches!(
            self,
            Quirk::SeveralPeers
                | Quirk::Framing(
                    Framing::BlankBetweenFrames
                        | Framing::MarkBeforeFrame
                        | Framing::MarkInFrame
                        | Framing::EndByteInContent
                        | Framing::StartByteInContent
                        | Framing::EmptyFrame
                )
        )
    }

    pub fn problem(self) -> &'static str {
        match self {
            Quirk::Framing(framing) => framing_problem(framing),
            Quirk::CutOff => "the sender closed the connection in the middle of a frame; that message has no answer",
            Quirk::PartialFrame => "a frame began and did not go on, so the connection is closed",
            Quirk::UnreadReplies => "the sender does not read its replies, so nothing more is read from it",
            Quirk::SeveralPeers => "messages of several peers come over one connection",
            Quirk::WrongListener => "MSH-4 names a peer that is to use another listener",
            Quirk::UnknownFacility => "MSH-4 names no peer of this listener",
            Quirk::OtherCertificate => "MSH-4 names a peer whose certificate is another than the one that was shown",
            Quirk::Unreadable => "what is in a frame does not begin with a usable MSH segment",
            Quirk::SequenceGap => "MSH-13 skips numbers: messages numbered in between have not come",
            Quirk::TlsOnPlain => "the sender speaks TLS on a listener without TLS",
            Quirk::HttpOnMllp => "the sender speaks HTTP on an MLLP listener",
        }
    }

    pub fn advice(self) -> &'static str {
        match self {
            Quirk::Framing(framing) => framing_advice(framing),
            Quirk::CutOff => "look at the sender's time-outs and at what lies between; it has to send that message again",
            Quirk::PartialFrame => "have the sender end every frame with 0x1C 0x0D; if its network is that slow, raise partial_frame_s",
            Quirk::UnreadReplies => "have the sender read every acknowledgement; one that wants none says NE in MSH-15 and MSH-16",
            Quirk::SeveralPeers => "allowed; the settings are those of whoever sent last, so give each peer a connection of its own where they differ",
            Quirk::WrongListener => "have the sender use the listener of its peer, or change `listener` of the peer",
            Quirk::UnknownFacility => "correct MSH-4 at the sender, or add its value to sending_facilities of the peer",
            Quirk::OtherCertificate => "correct MSH-4 or the certificate at the sender, or add a name of the certificate to client_names of the peer",
            Quirk::Unreadable => "have the sender begin every message with MSH and its delimiters",
            Quirk::SequenceGap => {
                "have the sender send again what it numbered in between; if it numbers for several receivers or connections together, have it number for each, or leave MSH-13 empty"
            }
            Quirk::TlsOnPlain => "turn TLS off at the sender, or give the listener a certificate_file and a key_file",
            Quirk::HttpOnMllp => "the HTTP interface has another port: see `server.listen`; a load balancer's health check should only connect",
        }
    }
}

fn framing_problem(framing: Framing) -> &'static str {
    match framing {
        Framing::BlankBetweenFrames => "spaces, line ends or zero bytes come between frames; they were skipped",
        Framing::NoiseBetweenFrames => "bytes come between frames that belong to no message; they were skipped",
        Framing::MarkBeforeFrame => "a byte order mark comes before the start block 0x0B; it was skipped",
        Framing::MarkInFrame => "messages begin with a byte order mark; it was read over",
        Framing::MissingStart => "a message came without its start block 0x0B, so it cannot be told from noise; the connection is closed",
        Framing::MissingTrailer => "frames end in 0x1C without the 0x0D behind it; the messages were taken after a wait",
        Framing::StartedAgain | Framing::Unfinished => "a frame was begun anew before its end; the unfinished part has no answer",
        Framing::EndByteInContent => "the byte 0x1C stands inside a message; it was taken as content",
        Framing::StartByteInContent => "the byte 0x0B stands inside a message; it was taken as content",
        Framing::EmptyFrame => "frames come without a message in them",
        Framing::Oversize => "a message is larger than agreed with this peer and was answered AR",
    }
}

fn framing_advice(framing: Framing) -> &'static str {
    match framing {
        Framing::BlankBetweenFrames => "harmless here; other receivers want nothing between 0x0D and the next 0x0B",
        Framing::NoiseBetweenFrames => "have the sender write 0x0B, the message, 0x1C 0x0D and nothing else",
        Framing::MarkBeforeFrame | Framing::MarkInFrame => "harmless here; have the sender leave the byte order mark out, other receivers refuse it",
        Framing::MissingStart => "have the sender begin every frame with 0x0B",
        Framing::MissingTrailer => "have the sender end every frame with 0x1C 0x0D: each message waits for about a second without it",
        Framing::StartedAgain | Framing::Unfinished => "have the sender end every frame with 0x1C 0x0D, and send again what has no acknowledgement",
        Framing::EndByteInContent => "have the sender escape it as \\X1C\\",
        Framing::StartByteInContent => "have the sender escape it as \\X0B\\ or \\.br\\; it is often a soft line break of a word processor",
        Framing::EmptyFrame => "harmless if it keeps the connection open; TCP keep-alive does the same without",
        Framing::Oversize => "agree on a larger frame_limit_bytes with the peer, or have it leave documents out of the feed",
    }
}

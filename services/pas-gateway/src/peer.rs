//! Who may send, and what is agreed with each.

use hearthline_interop::hl7v2::{Charset, Hl7Error, Message};
use hearthline_nhs::OdsCode;
use hearthline_runtime::tls::Identity;
use jiff::civil::Date;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// A port that is listened on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// `default`, or what the configuration calls it.
    pub name: String,
    pub listen: SocketAddr,
    pub tls: Option<Tls>,
}

/// PEM files of a listener's TLS; with `client_ca_file` a peer must show a certificate that it signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    pub certificate_file: PathBuf,
    pub key_file: PathBuf,
    pub client_ca_file: Option<PathBuf>,
}

/// The listener that every deployment has.
pub const DEFAULT_LISTENER: &str = "default";

/// How a peer wants its messages acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acknowledgement {
    /// As MSH-15 and MSH-16 of each message ask.
    AsAsked,
    Original,
    Enhanced,
}

/// MSA-1 of a reply that accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepts {
    Aa,
    Ca,
}

/// Whether a peer's messages take effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Stored, answered and classified; nothing follows.
    Shadow,
    Live,
}

/// What allows visits of strangers at care-home addresses to be kept without a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreement {
    /// From this local day on.
    pub from: Date,
    pub purpose: String,
    pub lawful_basis: String,
}

/// A hospital system that sends messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    pub name: String,
    /// The trust, or site of it, whose messages these are.
    pub facility_ods: OdsCode,
    /// What MSH-4 may say beside it. Empty: the facility and its five-character sites.
    pub sending_facilities: Vec<String>,
    /// The name of its listener.
    pub listener: String,
    /// Names in the certificates that the peer may show, any of them. Empty: whatever the listener lets in.
    pub client_names: Vec<String>,
    pub acknowledgement: Acknowledgement,
    pub accepts: Accepts,
    /// For messages without MSH-18, in its words.
    pub charset: Option<String>,
    /// IANA name of the zone of times that state no offset.
    pub time_zone: String,
    pub frame_limit: usize,
    /// Frames of one connection taken at once.
    pub in_flight: usize,
    pub idle: Option<Duration>,
    pub partial_frame: Duration,
    /// As configured; an operator's promotion is on record in the store and goes over it.
    pub mode: Mode,
    /// A profile that is shipped, or the path of one.
    pub profile: String,
    pub home_level_visits: Option<Agreement>,
    /// How long a gap of the feed may still be filled.
    pub back_fill_days: u16,
    /// Silence beyond this opens a gap; `None`: learned by hour of the week.
    pub silence: Option<Duration>,
}

impl Peer {
    /// A peer with every setting as a configuration leaves it that names only these.
    pub fn new(name: &str, facility_ods: OdsCode) -> Self {
        Peer {
            name: name.to_owned(),
            facility_ods,
            sending_facilities: Vec::new(),
            listener: DEFAULT_LISTENER.to_owned(),
            client_names: Vec::new(),
            acknowledgement: Acknowledgement::AsAsked,
            accepts: Accepts::Aa,
            charset: None,
            time_zone: "Europe/London".to_owned(),
            frame_limit: 32 << 20,
            in_flight: 32,
            idle: None,
            partial_frame: Duration::from_secs(60),
            mode: Mode::Live,
            profile: "itk".to_owned(),
            home_level_visits: None,
            back_fill_days: 14,
            silence: None,
        }
    }

    /// Reads a message in the characters that were agreed on, where MSH-18 names none.
    pub fn parse<'m>(&self, raw: &'m [u8]) -> Result<Message<'m>, Hl7Error> {
        Message::parse_in(raw, self.charset.as_deref().and_then(Charset::named))
    }

    /// Whether MSH-4 may say this in the peer's messages: the facility itself or what is agreed, else, where nothing is, a site of the
    /// facility.
    pub fn is_sender(&self, facility: &str) -> bool {
        if self.sending_facilities.iter().any(|agreed| agreed == facility) {
            return true;
        }
        let Ok(facility) = OdsCode::parse(facility) else { return false };
        let (trust, facility) = (self.facility_ods.as_str(), facility.as_str());
        facility == trust || (self.sending_facilities.is_empty() && is_site(facility, trust))
    }

    /// Whether a connection on which this certificate was shown may bring the peer's messages.
    pub fn admits(&self, certificate: Option<&Identity>) -> bool {
        let is_named = |name: &String| self.client_names.iter().any(|agreed| agreed.eq_ignore_ascii_case(name));
        self.client_names.is_empty() || certificate.is_some_and(|certificate| certificate.names.iter().any(is_named))
    }

    /// Whether it is this organisation's peer: its own, or a site's of it.
    pub fn is_of(&self, organisation: &OdsCode) -> bool {
        self.facility_ods == *organisation || is_site(self.facility_ods.as_str(), organisation.as_str())
    }

    /// Whether the agreement on home-level visits covers a local day.
    pub fn keeps_home_level(&self, day: Date) -> bool {
        self.home_level_visits.as_ref().is_some_and(|agreement| agreement.from <= day)
    }
}

/// NHS site codes are the trust's three characters and two more.
fn is_site(facility: &str, trust: &str) -> bool {
    trust.len() == 3 && facility.len() == 5 && facility.starts_with(trust)
}

/// Whose messages say this in MSH-4.
#[derive(Debug, Clone, Copy)]
pub enum Sends<'p> {
    /// A peer of this listener.
    Here(&'p Peer),
    /// A peer that is to use another listener.
    Elsewhere(&'p Peer),
    Nowhere,
}

/// The peer of a listener whose messages say `facility` in MSH-4. The one whose own code it is goes before others, also where it is to
/// use another listener: a site with a peer of its own is not its trust's peer's.
pub fn sending<'p>(peers: &'p [Peer], listener: &str, facility: &str) -> Sends<'p> {
    let own = |peer: &&Peer| OdsCode::parse(facility).is_ok_and(|code| code == peer.facility_ods);
    let may = || peers.iter().filter(|peer| peer.is_sender(facility));
    let here = || may().filter(|peer| peer.listener == listener);
    let agreed = |peer: &&Peer| peer.sending_facilities.iter().any(|agreed| agreed == facility);
    if let Some(peer) = here().find(own).or_else(|| here().find(agreed)) {
        return Sends::Here(peer);
    }
    if let Some(peer) = may().find(own) {
        return Sends::Elsewhere(peer);
    }
    match here().next() {
        Some(peer) => Sends::Here(peer),
        None => may().next().map_or(Sends::Nowhere, Sends::Elsewhere),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(name: &str, code: &str, listener: &str) -> Peer {
        Peer { listener: listener.to_owned(), ..Peer::new(name, OdsCode::parse(code).expect("valid")) }
    }

    #[test]
    fn a_site_with_a_peer_of_its_own_is_not_its_trusts_peers() {
        let peers = [peer("trust", "RHM", "default"), peer("site", "RHM01", "north")];
        let name = |listener: &str, facility: &str| match sending(&peers, listener, facility) {
            Sends::Here(peer) => format!("here {}", peer.name),
            Sends::Elsewhere(peer) => format!("elsewhere {}", peer.name),
            Sends::Nowhere => "nowhere".to_owned(),
        };
        assert_eq!(name("default", "RHM"), "here trust");
        assert_eq!(name("default", "RHM02"), "here trust");
        assert_eq!(name("default", "RHM01"), "elsewhere site");
        assert_eq!(name("north", "RHM01"), "here site");
        assert_eq!(name("north", "RHM02"), "elsewhere trust");
        assert_eq!(name("north", "RN1"), "nowhere");
        let agreed = [Peer { sending_facilities: vec!["RHM01".to_owned()], ..peers[0].clone() }, peers[1].clone()];
        assert!(matches!(sending(&agreed, "default", "RHM01"), Sends::Here(peer) if peer.name == "trust"));
    }

    #[test]
    fn a_certificate_is_the_peers_by_any_of_its_names() {
        let shown = |names: &[&str]| Identity { name: String::new(), names: names.iter().map(|&n| n.to_owned()).collect(), fingerprint: String::new() };
        let open = peer("a", "RHM", "default");
        assert!(open.admits(None) && open.admits(Some(&shown(&["other"]))));
        let named = Peer { client_names: vec!["pas.rhm.example".to_owned()], ..open };
        assert!(named.admits(Some(&shown(&["cn", "PAS.rhm.example"]))));
        assert!(!named.admits(None) && !named.admits(Some(&shown(&["other"]))) && !named.admits(Some(&shown(&[]))));
    }
}

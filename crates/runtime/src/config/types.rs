//! The sections as types.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use hearthline_nhs::{CqcLocationId, EmailAddress, OdsCode, OpeningHours};
use jiff::civil::Date;
use secrecy::SecretString;

/// What a deployment is for. Services take, and KPIs count, only their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Environment {
    /// Made-up people.
    Test,
    /// Real people.
    Live,
    /// Made-up people, real staff learning.
    Training,
}

impl Environment {
    /// The word in configuration and events.
    pub fn as_str(self) -> &'static str {
        match self {
            Environment::Test => "test",
            Environment::Live => "live",
            Environment::Training => "training",
        }
    }
}

/// `[server]`
#[derive(Debug, Clone)]
pub struct Server {
    /// The address of the HTTP server; port 0 takes any free one.
    pub listen: SocketAddr,
    /// Whether an address that other machines reach is meant.
    pub allow_remote: bool,
    /// The largest body, in bytes.
    pub body_limit_bytes: usize,
    /// How long running requests may take once the process stops, in seconds.
    pub shutdown_s: u64,
    /// Requests per second and caller; 0 is no limit.
    pub requests_per_second: u32,
}

/// `[data]`
#[derive(Debug, Clone)]
pub struct Data {
    /// The folder of databases, keys and `admin.json`.
    pub folder: PathBuf,
}

/// Where the keys that verify tokens are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthKeys {
    /// The data folder's own issuer.
    Own,
    /// A JWKS file.
    File(PathBuf),
    /// A JWKS address.
    Url(String),
}

/// `[auth]`
#[derive(Debug, Clone)]
pub struct Auth {
    /// The expected `iss`.
    pub issuer: String,
    /// The expected `aud`.
    pub audience: String,
    /// The verifying keys.
    pub keys: AuthKeys,
    /// How far clocks may differ, in seconds.
    pub clock_leeway_s: u64,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// `[telemetry]`
#[derive(Debug, Clone)]
pub struct Telemetry {
    /// Text or JSON, on standard error.
    pub log_format: LogFormat,
    /// A level or filter directives (`info,hearthline_eventing=debug`).
    pub log_level: String,
    /// Base address of an OTLP receiver (http/protobuf); `None`: nothing is exported.
    pub otlp_endpoint: Option<String>,
    /// `service.name` of traces and metrics.
    pub service_name: String,
}

/// How a peer wants its messages acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MllpAcknowledgement {
    /// As MSH-15 and MSH-16 of each message ask.
    AsAsked,
    /// One reply a message, whatever MSH-15 and MSH-16 say.
    Original,
    /// An accept acknowledgement for every message.
    Enhanced,
}

/// MSA-1 of a reply that accepts: `AA` or `CA`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MllpReply {
    Aa,
    Ca,
}

/// Whether a peer's messages take effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MllpMode {
    /// Stored, answered and classified; nothing follows until an operator promotes the peer.
    Shadow,
    Live,
}

/// What allows visits of strangers at care-home addresses to be kept without a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MllpAgreement {
    /// From this local day on.
    pub from: Date,
    pub purpose: String,
    pub lawful_basis: String,
}

/// `[[mllp.listener]]`: a port of its own, for peers that need one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MllpListener {
    pub name: String,
    pub listen: SocketAddr,
    pub tls: Option<MllpTls>,
}

/// TLS of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MllpTls {
    /// PEM: the certificate with its chain.
    pub certificate_file: PathBuf,
    pub key_file: PathBuf,
    /// PEM: who signs peers' certificates; with it a peer must show one.
    pub client_ca_file: Option<PathBuf>,
}

/// `[[mllp.peer]]`: a hospital system that sends messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MllpPeer {
    /// A name for logs and metrics.
    pub name: String,
    /// The trust, or site of it, whose messages these are; its engineers see this peer and no other's.
    pub facility_ods: OdsCode,
    /// What MSH-4 may say beside it, letter by letter. Empty: the facility and its five-character sites.
    pub sending_facilities: Vec<String>,
    /// The listener it connects to; `None`: `mllp.listen`.
    pub listener: Option<String>,
    /// Common or DNS names of the certificates that it may show, any of them. Empty: whatever the listener lets in.
    pub client_names: Vec<String>,
    pub acknowledgement: MllpAcknowledgement,
    pub reply: MllpReply,
    /// For messages without MSH-18, in its words (`8859/1`).
    pub charset: Option<String>,
    /// IANA name of the zone of times that state no offset.
    pub time_zone: String,
    /// The largest frame, in bytes.
    pub frame_limit_bytes: usize,
    /// Frames of one connection that are taken at once.
    pub in_flight: usize,
    /// A connection on which nothing comes for this long is closed; 0: never.
    pub idle_s: u64,
    /// A frame that has begun and does not go on for this long is given up.
    pub partial_frame_s: u64,
    pub mode: MllpMode,
    /// A profile that is shipped, or the path of one in TOML.
    pub profile: String,
    pub home_level_visits: Option<MllpAgreement>,
    /// How long a gap of the feed may still be filled.
    pub back_fill_days: u16,
    /// Silence beyond this many minutes opens a gap, at every hour; `None`: learned by hour of the week.
    pub silence_m: Option<u32>,
}

/// `[mllp]`
#[derive(Debug, Clone)]
pub struct Mllp {
    /// The address of the MLLP listener.
    pub listen: SocketAddr,
    /// Whether an address that other machines reach is meant.
    pub allow_remote: bool,
    /// The largest frame, in bytes, of a peer that says nothing else.
    pub frame_limit_bytes: usize,
    /// How many days strangers' messages are kept.
    pub kept_days: u16,
    /// Further listeners.
    pub listeners: Vec<MllpListener>,
    /// Who may send.
    pub peers: Vec<MllpPeer>,
}

/// A home as a register names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HomeCode {
    /// By its ODS code.
    Ods(OdsCode),
    /// By its CQC location.
    Cqc(CqcLocationId),
}

/// `[[kpi.coverage]]`: whose hospital visits a feed shows, and since when. Without homes and postcode areas it holds
/// for every home.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coverage {
    /// The trust.
    pub trust_ods: OdsCode,
    /// The facilities (sites) whose messages arrive.
    pub facilities: Vec<OdsCode>,
    /// These homes only.
    pub homes: Vec<HomeCode>,
    /// Homes in these postcode areas (`NE`) or districts (`NE8`) only, in capitals.
    pub postcode_areas: Vec<String>,
    /// First day of the feed.
    pub from: Date,
    /// Last day of the feed; `None`: it goes on.
    pub until: Option<Date>,
    /// Whether the feed says how patients arrived.
    pub arrival_mode: bool,
}

/// `[kpi]`
#[derive(Debug, Clone)]
pub struct Kpi {
    /// How long after a call a hospital visit contradicts a claim, in hours.
    pub window_h: u32,
    /// How long after the window messages may still arrive, in hours.
    pub feed_lag_h: u32,
    /// What the feeds show.
    pub coverage: Vec<Coverage>,
}

/// `[hub]`
#[derive(Debug, Clone)]
pub struct Hub {
    /// When calls are taken, in Europe/London civil time.
    pub opening: OpeningHours,
}

/// `[eps]`
#[derive(Debug, Clone)]
pub struct Eps {
    /// Base address of the prescription service; `None`: the edition's own sandbox, where it has one.
    pub url: Option<String>,
}

/// `[shared_record]`
#[derive(Debug, Clone)]
pub struct SharedRecord {
    /// Base address of the FHIR endpoint; `None`: the edition's own sandbox, where it has one.
    pub url: Option<String>,
    /// The destination's name, in deliveries and KPIs.
    pub destination: String,
}

/// How mail is protected on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailTls {
    /// Not at all: loopback only, and never where the environment is live.
    None,
    /// STARTTLS (RFC 3207), required.
    StartTls,
    /// TLS from the first byte (RFC 8314).
    Required,
}

/// Name and password for the mail server.
#[derive(Debug, Clone)]
pub struct MailLogin {
    /// The name.
    pub username: String,
    /// The password, read from `mail.password_file`.
    pub password: SecretString,
}

/// `[mail]`
#[derive(Debug, Clone)]
pub struct Mail {
    /// The SMTP server; `None`: the edition's own sandbox, where it has one.
    pub host: Option<String>,
    /// Its port.
    pub port: u16,
    /// The sender.
    pub from: EmailAddress,
    /// Protection.
    pub tls: MailTls,
    /// Login, where the server wants one.
    pub login: Option<MailLogin>,
}

/// `[limits]`
#[derive(Debug, Clone)]
pub struct Limits {
    /// How many days back a fact may be entered.
    pub late_entry_days: u32,
}

/// `[keyring]`
#[derive(Debug, Clone)]
pub struct Keyring {
    /// The file of the key-encryption key; `None`: one is made in the data folder.
    pub kek_file: Option<PathBuf>,
}

/// How the way to PostgreSQL is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PostgresTls {
    /// Not at all: loopback, or a network that is said to be trusted.
    Disabled,
    /// Encrypted, the server's certificate and name checked.
    VerifyFull,
}

/// `[postgres]`
#[derive(Debug, Clone)]
pub struct Postgres {
    pub host: String,
    pub port: u16,
    /// The database of the services' schemas.
    pub database: String,
    /// The database of the data keys, with backups of its own.
    pub keyring_database: String,
    /// Before the name of every schema, so that several deployments may share a cluster.
    pub schema_prefix: String,
    /// A file for each role, named as the role, holds its password.
    pub password_folder: PathBuf,
    pub tls: PostgresTls,
    /// Authorities to trust; `None`: the machine's own.
    pub ca_file: Option<PathBuf>,
}

/// How the way to Kafka is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KafkaSecurity {
    Plaintext,
    Tls,
    SaslPlaintext,
    SaslTls,
}

/// How a process proves to Kafka who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    ScramSha512,
    ScramSha256,
    Plain,
    OauthBearer,
}

/// What it proves it with.
#[derive(Debug, Clone)]
pub enum SaslLogin {
    Password {
        mechanism: Mechanism,
        username: String,
        password: SecretString,
    },
    /// A file in which an agent keeps a fresh token.
    Token(PathBuf),
}

/// `[kafka]`
#[derive(Debug, Clone)]
pub struct Kafka {
    /// `host:port,…`
    pub brokers: String,
    pub topic_prefix: String,
    pub group_prefix: String,
    pub security: KafkaSecurity,
    pub login: Option<SaslLogin>,
    pub ca_file: Option<PathBuf>,
    pub certificate_file: Option<PathBuf>,
    pub key_file: Option<PathBuf>,
    pub key_password: Option<SecretString>,
    /// The id that the cluster must have.
    pub cluster_id: Option<String>,
    /// Replicas of each topic that `topics apply` makes and `topics verify` expects.
    pub replication_factor: u16,
    /// `[kafka.client]`: settings passed on to librdkafka.
    pub client: BTreeMap<String, String>,
}

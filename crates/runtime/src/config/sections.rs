//! The sections: every key with its default, what is allowed, and the rules across keys.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use hearthline_nhs::{CqcLocationId, EmailAddress, Interval, OdsCode, OpeningHours};
use jiff::civil::{Date, Weekday};
use secrecy::SecretString;

use super::layers::Settings;
use super::reader::Reader;
use super::types::*;
use super::{Config, ConfigError};

const ODS: &str = "an ODS code of 3 to 10 letters and digits";
/// Stands for no organisation at all.
const NOBODY: &str = "ZZ900";
const DAYS: [(&str, Weekday); 7] = [
    ("monday", Weekday::Monday),
    ("tuesday", Weekday::Tuesday),
    ("wednesday", Weekday::Wednesday),
    ("thursday", Weekday::Thursday),
    ("friday", Weekday::Friday),
    ("saturday", Weekday::Saturday),
    ("sunday", Weekday::Sunday),
];

pub(super) fn read(settings: Settings) -> Result<Config, ConfigError> {
    let mut reader = Reader::new(settings);
    let r = &mut reader;
    let environment = r.parsed("environment", "test", "test, live or training", environment);
    // A live deployment must name its controller.
    let is_named = r.is_set("controller_ods");
    let controller = r.optional("controller_ods", Some(NOBODY), ODS, ods);
    if environment == Environment::Live && controller.as_ref().is_some_and(|code| code.as_str() == NOBODY) {
        let wrong = if is_named { "ZZ900 stands in examples and is no organisation" } else { "is not set in a live environment" };
        r.wrong("controller_ods", None, wrong, "the ODS code of the organisation that answers for the hub, 3 to 10 letters and digits");
    }
    let controller_ods = controller.unwrap_or_else(|| ods(NOBODY).expect("an ODS code"));
    let (server, data, auth) = (server(r), data(r), auth(r));
    let (telemetry, mllp, kpi, hub) = (telemetry(r), mllp(r), kpi(r), hub(r));
    let eps = Eps { url: protected_url(r, "eps.url", environment) };
    let shared_record =
        SharedRecord { url: protected_url(r, "shared_record.url", environment), destination: name(r, "shared_record.destination", "shared-record") };
    let mail = mail(r, environment);
    let limits = Limits { late_entry_days: r.number("limits.late_entry_days", 30, 0..=365, " days") };
    let keyring = Keyring { kek_file: r.path("keyring.kek_file") };
    let distributed = match (super::distributed::postgres(r, environment), super::distributed::kafka(r, environment)) {
        (Some(postgres), Some(kafka)) => Some((postgres, kafka)),
        (None, None) => None,
        (Some(_), None) => {
            r.wrong("kafka.brokers", None, "is not set although postgres.host is", "both for the distributed edition, neither for one machine");
            None
        }
        (None, Some(_)) => {
            r.wrong("postgres.host", None, "is not set although kafka.brokers is", "both for the distributed edition, neither for one machine");
            None
        }
    };
    if distributed.is_some() && keyring.kek_file.is_none() {
        r.wrong("keyring.kek_file", None, "is not set", "in the distributed edition, the file of the key-encryption key that every process shares");
    }
    if server.listen.port() != 0 && server.listen == mllp.listen {
        r.wrong("mllp.listen", None, "is the address of server.listen", "an address of its own");
    }
    r.refuse_unknown();
    if !reader.problems.is_empty() {
        return Err(ConfigError { problems: reader.problems });
    }
    Ok(Config {
        environment,
        controller_ods,
        server,
        data,
        auth,
        telemetry,
        mllp,
        kpi,
        hub,
        eps,
        shared_record,
        mail,
        limits,
        keyring,
        distributed,
        effective: reader.effective,
    })
}

fn server(r: &mut Reader) -> Server {
    let listen = r.address("server.listen", "127.0.0.1:8080");
    let allow_remote = r.switch("server.allow_remote", false);
    loopback_unless_allowed(r, "server", listen.ip(), allow_remote);
    Server {
        listen,
        allow_remote,
        body_limit_bytes: r.number("server.body_limit_bytes", 1_048_576, 1_024..=67_108_864, " bytes"),
        shutdown_s: r.number("server.shutdown_seconds", 20, 1..=600, " seconds"),
        requests_per_second: r.number("server.requests_per_second", 0, 0..=100_000, " (0: no limit)"),
    }
}

fn data(r: &mut Reader) -> Data {
    Data { folder: r.parsed("data.folder", "hearthline-data", "a path", |text| (!text.is_empty()).then(|| PathBuf::from(text))) }
}

fn auth(r: &mut Reader) -> Auth {
    let issuer = name(r, "auth.issuer", "hearthline");
    let audience = name(r, "auth.audience", "hearthline");
    let (file, url) = (r.path("auth.jwks_file"), r.url("auth.jwks_url"));
    if file.is_some() && url.is_some() {
        r.wrong("auth.jwks_url", None, "stands beside auth.jwks_file", "one of the two, or neither");
    }
    if url.as_deref().is_some_and(is_plain_and_far) {
        r.wrong("auth.jwks_url", None, "is not protected on its way", "https, or http to this machine");
    }
    let keys = match (file, url) {
        (Some(file), _) => AuthKeys::File(file),
        (None, Some(url)) => AuthKeys::Url(url),
        (None, None) => AuthKeys::Own,
    };
    let clock_leeway_s = r.number("auth.clock_leeway_seconds", 30, 0..=300, " seconds");
    Auth { issuer, audience, keys, clock_leeway_s }
}

fn telemetry(r: &mut Reader) -> Telemetry {
    Telemetry {
        log_format: r.parsed("telemetry.log_format", "text", "text or json", |text| match text {
            "text" => Some(LogFormat::Text),
            "json" => Some(LogFormat::Json),
            _ => None,
        }),
        log_level: r.parsed("telemetry.log_level", "info", "error, warn, info, debug, trace, or directives such as info,hearthline_eventing=debug", |text| {
            let filter = text.parse::<tracing_subscriber::filter::Targets>().ok();
            filter.map(|_| text.to_owned())
        }),
        otlp_endpoint: r.url("telemetry.otlp_endpoint"),
        service_name: name(r, "telemetry.service_name", "hearthline"),
    }
}

fn mllp(r: &mut Reader) -> Mllp {
    const FIELDS: [&str; 20] = [
        "name",
        "facility_ods",
        "sending_facilities",
        "listener",
        "client_names",
        "acknowledgement",
        "reply",
        "charset",
        "time_zone",
        "frame_limit_bytes",
        "in_flight",
        "idle_s",
        "partial_frame_s",
        "mode",
        "profile",
        "home_level_visits_from",
        "home_level_visits_purpose",
        "home_level_visits_lawful_basis",
        "back_fill_days",
        "silence_m",
    ];
    const NAME: &str = "a name of 1 to 100 printable characters";
    let listen = r.address("mllp.listen", "127.0.0.1:2575");
    let allow_remote = r.switch("mllp.allow_remote", false);
    loopback_unless_allowed(r, "mllp", listen.ip(), allow_remote);
    let frame_limit_bytes = r.number("mllp.frame_limit_bytes", 33_554_432, 1_024..=67_108_864, " bytes");
    let kept_days = r.number("mllp.kept_days", 14, 1..=90, " days");
    let mut listeners: Vec<MllpListener> = Vec::new();
    for index in r.indices("mllp.listener", &["name", "listen", "certificate_file", "key_file", "client_ca_file"]) {
        let key = |field: &str| format!("mllp.listener.{index}.{field}");
        let name = required(r, &key("name"), NAME, word);
        let listen = r.address(&key("listen"), "127.0.0.1:0");
        loopback_unless_allowed(r, &format!("mllp.listener.{index}"), listen.ip(), allow_remote);
        let (certificate, private, client_ca) = (r.path(&key("certificate_file")), r.path(&key("key_file")), r.path(&key("client_ca_file")));
        let tls = match (certificate, private) {
            (Some(certificate_file), Some(key_file)) => Some(MllpTls { certificate_file, key_file, client_ca_file: client_ca }),
            (None, None) => {
                if client_ca.is_some() {
                    r.wrong(&key("client_ca_file"), None, "asks peers for a certificate on a listener without TLS", "certificate_file and key_file beside it");
                }
                None
            }
            (Some(_), None) | (None, Some(_)) => {
                r.wrong(&key("certificate_file"), None, "is half of what TLS takes", "certificate_file and key_file together");
                None
            }
        };
        let Some(name) = name else { continue };
        if name == "default" || listeners.iter().any(|listener| listener.name == name) {
            r.wrong(&key("name"), None, "is the name of another listener", "a name of its own");
        }
        listeners.push(MllpListener { name, listen, tls });
    }
    let mut peers: Vec<MllpPeer> = Vec::new();
    let mut keys = Vec::new();
    for index in r.indices("mllp.peer", &FIELDS) {
        let key = |field: &str| format!("mllp.peer.{index}.{field}");
        let name = required(r, &key("name"), NAME, word);
        let facility_ods = required(r, &key("facility_ods"), ODS, ods);
        let listener = r.optional(&key("listener"), None, "the name of an [[mllp.listener]]", word);
        if let Some(listener) = &listener
            && !listeners.iter().any(|l| l.name == *listener)
        {
            r.wrong(&key("listener"), None, "names no [[mllp.listener]]", "the name of one");
        }
        let home_level_visits = agreement(r, index);
        let (Some(name), Some(facility_ods)) = (name, facility_ods) else {
            continue;
        };
        if peers.iter().any(|peer| peer.name == name) {
            r.wrong(&key("name"), None, "is the name of another peer", "a name of its own");
        }
        // What nobody's peer sent is listed under the name of its listener.
        if name == "default" || listeners.iter().any(|listener| listener.name == name) {
            r.wrong(&key("name"), None, "is the name of a listener", "a name of its own");
        }
        if peers.iter().any(|peer| peer.facility_ods == facility_ods && peer.listener == listener) {
            r.wrong(&key("facility_ods"), None, "is the facility of another peer", "one peer per facility and listener");
        }
        keys.push(key("client_names"));
        peers.push(MllpPeer {
            name,
            facility_ods,
            client_names: r.list(&key("client_names"), "names of certificates", word),
            sending_facilities: r.list(&key("sending_facilities"), "values of MSH-4", word),
            listener,
            acknowledgement: r.parsed(&key("acknowledgement"), "as_asked", "as_asked, original or enhanced", |text| match text {
                "as_asked" => Some(MllpAcknowledgement::AsAsked),
                "original" => Some(MllpAcknowledgement::Original),
                "enhanced" => Some(MllpAcknowledgement::Enhanced),
                _ => None,
            }),
            reply: r.parsed(&key("reply"), "AA", "AA or CA", |text| match text {
                "AA" => Some(MllpReply::Aa),
                "CA" => Some(MllpReply::Ca),
                _ => None,
            }),
            charset: r.optional(&key("charset"), None, "a value of HL7 table 0211, such as 8859/1 or UNICODE UTF-8", word),
            time_zone: r.parsed(&key("time_zone"), "Europe/London", "an IANA time zone", |text| jiff::tz::TimeZone::get(text).ok().map(|_| text.to_owned())),
            frame_limit_bytes: r.number(&key("frame_limit_bytes"), frame_limit_bytes, 1_024..=67_108_864, " bytes"),
            in_flight: r.number(&key("in_flight"), 32, 1..=1_024, " frames"),
            idle_s: r.number(&key("idle_s"), 0, 0..=604_800, " seconds"),
            partial_frame_s: r.number(&key("partial_frame_s"), 60, 1..=3_600, " seconds"),
            mode: r.parsed(&key("mode"), "live", "shadow or live", |text| match text {
                "shadow" => Some(MllpMode::Shadow),
                "live" => Some(MllpMode::Live),
                _ => None,
            }),
            profile: r.optional(&key("profile"), None, "the name of a shipped profile or the path of one", word).unwrap_or_else(|| "itk".to_owned()),
            home_level_visits,
            back_fill_days: r.number(&key("back_fill_days"), 14, 1..=90, " days"),
            silence_m: r.is_set(&key("silence_m")).then(|| r.number(&key("silence_m"), 60, 1..=10_080, " minutes")),
        });
    }
    certificates(r, &listeners, &peers, &keys);
    Mllp { listen, allow_remote, frame_limit_bytes, kept_days, listeners, peers }
}

/// An authority says that a certificate is good, not whose messages may come with it.
fn certificates(r: &mut Reader, listeners: &[MllpListener], peers: &[MllpPeer], keys: &[String]) {
    const ALLOWED: &str = "the common name or DNS names of the peer's certificates";
    // A trust's sites are the trust.
    let organisation = |peer: &MllpPeer| peer.facility_ods.as_str().chars().take(3).collect::<String>();
    for (peer, key) in peers.iter().zip(keys) {
        let asks = |l: &MllpListener| peer.listener.as_ref() == Some(&l.name) && l.tls.as_ref().is_some_and(|tls| tls.client_ca_file.is_some());
        let has_others = || peers.iter().any(|other| other.listener == peer.listener && organisation(other) != organisation(peer));
        match (peer.client_names.is_empty(), listeners.iter().any(asks)) {
            (true, true) if has_others() => r.wrong(key, None, "is missing, and its listener serves several organisations", ALLOWED),
            (false, false) => r.wrong(key, None, "names certificates that its listener does not ask for", "client_ca_file of its [[mllp.listener]]"),
            _ => {}
        }
    }
}

/// A dated switch with what it rests on: all three or none.
fn agreement(r: &mut Reader, index: usize) -> Option<MllpAgreement> {
    let key = |field: &str| format!("mllp.peer.{index}.home_level_visits_{field}");
    let from = r.optional(&key("from"), None, "a day, YYYY-MM-DD", |text| text.parse::<jiff::civil::Date>().ok());
    let text = |text: &str| (!text.trim().is_empty() && text.chars().count() <= 500).then(|| text.to_owned());
    let purpose = r.optional(&key("purpose"), None, "what for, in words", text);
    let lawful_basis = r.optional(&key("lawful_basis"), None, "on what lawful basis, in words", text);
    match (from, purpose, lawful_basis) {
        (Some(from), Some(purpose), Some(lawful_basis)) => Some(MllpAgreement { from, purpose, lawful_basis }),
        (None, None, None) => None,
        _ => {
            r.wrong(&key("from"), None, "is part of an agreement", "home_level_visits_from, _purpose and _lawful_basis together");
            None
        }
    }
}

fn kpi(r: &mut Reader) -> Kpi {
    const FIELDS: [&str; 7] = ["trust_ods", "facilities", "homes", "postcode_areas", "from", "until", "arrival_mode"];
    let window_h = r.number("kpi.window_hours", 72, 1..=720, " hours");
    let feed_lag_h = r.number("kpi.feed_lag_hours", 24, 0..=720, " hours");
    let mut coverage = Vec::new();
    for index in r.indices("kpi.coverage", &FIELDS) {
        let key = |field: &str| format!("kpi.coverage.{index}.{field}");
        let trust_ods = required(r, &key("trust_ods"), ODS, ods);
        let facilities = r.list(&key("facilities"), "a list of ODS codes of sites", ods);
        let homes = r.list(&key("homes"), "a list of ODS codes or CQC locations", home_code);
        let areas = "a list of postcode areas or districts, such as NE or NE8";
        let postcode_areas = r.list(&key("postcode_areas"), areas, postcode_area);
        let from = required(r, &key("from"), "a day, YYYY-MM-DD", day);
        let until = r.optional(&key("until"), None, "a day, YYYY-MM-DD", day);
        let arrival_mode = r.switch(&key("arrival_mode"), false);
        if facilities.is_empty() {
            r.wrong(&key("facilities"), None, "names no site", "a list of ODS codes of sites");
        }
        let (Some(trust_ods), Some(from)) = (trust_ods, from) else {
            continue;
        };
        if until.is_some_and(|until| until < from) {
            r.wrong(&key("until"), None, "lies before from", "a day that is not before from");
        }
        coverage.push(Coverage { trust_ods, facilities, homes, postcode_areas, from, until, arrival_mode });
    }
    Kpi { window_h, feed_lag_h, coverage }
}

/// `hub.hours = "24/7"` (the default), or `[hub.hours]` with a list of intervals per weekday; `hub.closed_on` lists
/// days on which it is shut.
fn hub(r: &mut Reader) -> Hub {
    r.parsed("hub.time_zone", "Europe/London", "Europe/London", |text| (text == "Europe/London").then_some(()));
    let by_weekday = DAYS.iter().any(|(day, _)| r.is_set(&format!("hub.hours.{day}")));
    let mut opening = OpeningHours::closed();
    if by_weekday {
        for (day, weekday) in DAYS {
            let key = format!("hub.hours.{day}");
            let intervals = r.list(&key, "intervals such as 08:00-20:00", |text| Interval::parse(text).ok());
            match opening.clone().with_weekday(weekday, intervals) {
                Ok(with) => opening = with,
                Err(error) => r.wrong(&key, None, error.to_string(), "intervals that do not overlap"),
            }
        }
    } else {
        r.parsed("hub.hours", "24/7", "24/7, or a section [hub.hours] with intervals per weekday", |text| (text == "24/7").then_some(()));
        opening = OpeningHours::always();
    }
    for date in r.list("hub.closed_on", "days, YYYY-MM-DD", day) {
        // A day without intervals has none that could overlap.
        if let Ok(with) = opening.clone().with_override(date, Vec::new()) {
            opening = with;
        }
    }
    Hub { opening }
}

fn mail(r: &mut Reader, environment: Environment) -> Mail {
    let host =
        r.optional("mail.host", None, "a host name or address", |text| (!text.is_empty() && !text.contains(char::is_whitespace)).then(|| text.to_owned()));
    let port = r.number("mail.port", 587, 1..=65_535, "");
    let from = r.parsed("mail.from", "hub@hearthline.invalid", "an email address", |text| EmailAddress::parse(text).ok());
    let tls = r.parsed("mail.tls", "starttls", "none, starttls or required", |text| match text {
        "none" => Some(MailTls::None),
        "starttls" => Some(MailTls::StartTls),
        "required" => Some(MailTls::Required),
        _ => None,
    });
    if let (Some(host), MailTls::None) = (&host, tls)
        && (environment == Environment::Live || !is_loopback(host))
    {
        let allowed = "starttls or required; none only to this machine and not where the environment is live";
        r.wrong("mail.tls", None, "leaves mail unprotected on its way", allowed);
    }
    if host.is_some() && from.domain().ends_with(".invalid") {
        r.wrong("mail.from", None, "is not set although mail.host is", "the hub's email address");
    }
    let username = r.optional("mail.username", None, "a name of 1 to 100 printable characters", word);
    let password = r.path("mail.password_file").and_then(|path| secret(r, "mail.password_file", &path));
    let login = match (username, password) {
        (Some(username), Some(password)) => Some(MailLogin { username, password }),
        (None, None) => None,
        (Some(_), None) => {
            r.wrong("mail.password_file", None, "is missing beside mail.username", "the file of the password");
            None
        }
        (None, Some(_)) => {
            r.wrong("mail.username", None, "is missing beside mail.password_file", "the name for the mail server");
            None
        }
    };
    Mail { host, port, from, tls, login }
}

/// Reads a secret; one trailing newline, which editors add, is no part of it.
pub(super) fn secret(r: &mut Reader, key: &str, path: &Path) -> Option<SecretString> {
    match fs::read_to_string(path) {
        Ok(text) => Some(SecretString::from(text.trim_end_matches(['\r', '\n']).to_owned())),
        Err(error) => {
            r.wrong(key, None, format!("{} cannot be read: {}", path.display(), error.kind()), "a readable file");
            None
        }
    }
}

fn required<T>(r: &mut Reader, key: &str, allowed: &str, parse: fn(&str) -> Option<T>) -> Option<T> {
    if !r.is_set(key) {
        r.wrong(key, None, "is missing", allowed);
    }
    r.optional(key, None, allowed, parse)
}

fn loopback_unless_allowed(r: &mut Reader, section: &str, ip: IpAddr, allow_remote: bool) {
    if !ip.is_loopback() && !allow_remote {
        let wrong = "can be reached from other machines, and this process does not encrypt what it is sent";
        let allowed = format!("a loopback address, or {section}.allow_remote = true where something in front ends TLS");
        r.wrong(&format!("{section}.listen"), None, wrong, allowed);
    }
}

fn protected_url(r: &mut Reader, key: &str, environment: Environment) -> Option<String> {
    let url = r.url(key)?;
    if environment == Environment::Live && is_plain_and_far(&url) {
        r.wrong(key, None, "is not protected on its way", "https, or http to this machine");
    }
    Some(url)
}

fn is_plain_and_far(url: &str) -> bool {
    let uri: Result<axum::http::Uri, _> = url.parse();
    uri.is_ok_and(|uri| uri.scheme_str() == Some("http") && !uri.host().is_some_and(is_loopback))
}

pub(super) fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn name(r: &mut Reader, key: &str, default: &str) -> String {
    r.parsed(key, default, "1 to 100 printable characters", word)
}

pub(super) fn word(text: &str) -> Option<String> {
    let fits = (1..=100).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    fits.then(|| text.to_owned())
}

fn environment(text: &str) -> Option<Environment> {
    [Environment::Test, Environment::Live, Environment::Training].into_iter().find(|environment| environment.as_str() == text)
}

fn ods(text: &str) -> Option<OdsCode> {
    OdsCode::parse(text).ok()
}

fn day(text: &str) -> Option<Date> {
    text.parse().ok()
}

fn home_code(text: &str) -> Option<HomeCode> {
    let cqc = CqcLocationId::parse(text).ok().filter(|_| text.contains('-'));
    cqc.map(HomeCode::Cqc).or_else(|| ods(text).map(HomeCode::Ods))
}

/// One or two letters, then for a district a digit and at most two more characters.
fn postcode_area(text: &str) -> Option<String> {
    let text = text.to_ascii_uppercase();
    let letters = text.bytes().take_while(u8::is_ascii_alphabetic).count();
    let rest = text.get(letters..)?;
    let district = rest.is_empty() || (rest.len() <= 2 && rest.as_bytes()[0].is_ascii_digit());
    let plain = rest.bytes().all(|b| b.is_ascii_alphanumeric());
    ((1..=2).contains(&letters) && district && plain).then_some(text)
}

//! `[postgres]` and `[kafka]`: the servers of the distributed edition. Both are configured, or neither.

use super::reader::Reader;
use super::sections::{is_loopback, secret, word};
use super::types::{Environment, Kafka, KafkaSecurity, Mechanism, Postgres, PostgresTls, SaslLogin};

const NAME: &str = "lower-case letters, digits and _";

pub(super) fn postgres(r: &mut Reader, environment: Environment) -> Option<Postgres> {
    let host = r.optional("postgres.host", None, "a host name or address", host);
    let port = r.number("postgres.port", 5432, 1..=65_535, "");
    let database = r.parsed("postgres.database", "hearthline", NAME, identifier);
    let keyring_database = r.parsed("postgres.keyring_database", "hearthline_keyring", NAME, identifier);
    let schema_prefix = r.parsed("postgres.schema_prefix", "", "lower-case letters, digits and _, at most 24, the first no digit", schema_prefix);
    let password_folder = r.path("postgres.password_folder");
    let tls = r.parsed("postgres.tls", "verify_full", "verify_full, or disabled", |text| match text {
        "disabled" => Some(PostgresTls::Disabled),
        "verify_full" => Some(PostgresTls::VerifyFull),
        _ => None,
    });
    let ca_file = r.path("postgres.ca_file");
    let allow_plain = r.switch("postgres.allow_plain", false);
    let host = host?;
    if tls == PostgresTls::Disabled && !is_loopback(&host) && (environment == Environment::Live || !allow_plain) {
        let allowed = "verify_full; or, where the environment is not live and the network is trusted, postgres.allow_plain = true";
        r.wrong("postgres.tls", None, "leaves the way to PostgreSQL unprotected", allowed);
    }
    let Some(password_folder) = password_folder else {
        r.wrong(
            "postgres.password_folder",
            None,
            "is missing beside postgres.host",
            "the folder with a file for each role, named as the role, with its password",
        );
        return None;
    };
    Some(Postgres { host, port, database, keyring_database, schema_prefix, password_folder, tls, ca_file })
}

pub(super) fn kafka(r: &mut Reader, environment: Environment) -> Option<Kafka> {
    let brokers = r.optional("kafka.brokers", None, "host:port, or several with commas", brokers);
    let topic_prefix = r.parsed("kafka.topic_prefix", "", "letters, digits, '.', '_' and '-'", prefix);
    let group_prefix = r.parsed("kafka.group_prefix", "hearthline.", "letters, digits, '.', '_' and '-'", prefix);
    let allowed = "plaintext, tls, sasl_plaintext or sasl_tls";
    let security = r.parsed("kafka.security", "plaintext", allowed, |text| match text {
        "plaintext" => Some(KafkaSecurity::Plaintext),
        "tls" => Some(KafkaSecurity::Tls),
        "sasl_plaintext" => Some(KafkaSecurity::SaslPlaintext),
        "sasl_tls" => Some(KafkaSecurity::SaslTls),
        _ => None,
    });
    let mechanism = r.parsed("kafka.mechanism", "scram-sha-512", "scram-sha-512, scram-sha-256, plain or oauthbearer", |text| match text {
        "scram-sha-512" => Some(Mechanism::ScramSha512),
        "scram-sha-256" => Some(Mechanism::ScramSha256),
        "plain" => Some(Mechanism::Plain),
        "oauthbearer" => Some(Mechanism::OauthBearer),
        _ => None,
    });
    let username = r.optional("kafka.username", None, "a name of 1 to 100 printable characters", word);
    let password = r.path("kafka.password_file").and_then(|path| secret(r, "kafka.password_file", &path));
    let token_file = r.path("kafka.token_file");
    let (ca_file, certificate_file, key_file) = (r.path("kafka.ca_file"), r.path("kafka.certificate_file"), r.path("kafka.key_file"));
    let key_password = r.path("kafka.key_password_file").and_then(|path| secret(r, "kafka.key_password_file", &path));
    let cluster_id = r.optional("kafka.cluster_id", None, "the id that the cluster must have", word);
    let replication_factor = r.number("kafka.replication_factor", 3, 1..=9, " replicas of each topic");
    let allow_plain = r.switch("kafka.allow_plain", false);
    let client = r.section("kafka.client", "a setting of librdkafka as text");
    let brokers = brokers?;
    let is_plain = matches!(security, KafkaSecurity::Plaintext | KafkaSecurity::SaslPlaintext);
    let is_near = brokers.split(',').all(|b| b.rsplit_once(':').is_some_and(|(host, _)| is_loopback(host)));
    if is_plain && !is_near && (environment == Environment::Live || !allow_plain) {
        let allowed = "tls or sasl_tls; or, where the environment is not live and the network is trusted, kafka.allow_plain = true";
        r.wrong("kafka.security", None, "leaves the way to Kafka unprotected", allowed);
    }
    let login = match (security, mechanism) {
        (KafkaSecurity::Plaintext | KafkaSecurity::Tls, _) => None,
        (_, Mechanism::OauthBearer) => match token_file {
            Some(file) => Some(SaslLogin::Token(file)),
            None => {
                r.wrong("kafka.token_file", None, "is missing for oauthbearer", "the file in which an agent keeps a fresh token");
                None
            }
        },
        (_, mechanism) => match (username, password) {
            (Some(username), Some(password)) => Some(SaslLogin::Password { mechanism, username, password }),
            _ => {
                r.wrong("kafka.username", None, "or kafka.password_file is missing", "both, where kafka.security is sasl_plaintext or sasl_tls");
                None
            }
        },
    };
    Some(Kafka {
        brokers,
        topic_prefix,
        group_prefix,
        security,
        login,
        ca_file,
        certificate_file,
        key_file,
        key_password,
        cluster_id,
        replication_factor,
        client,
    })
}

fn host(text: &str) -> Option<String> {
    (!text.is_empty() && !text.contains(char::is_whitespace)).then(|| text.to_owned())
}

fn identifier(text: &str) -> Option<String> {
    let fits = (1..=63).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    fits.then(|| text.to_owned())
}

/// Leaves room for the longest name of a schema among PostgreSQL's 63 characters.
fn schema_prefix(text: &str) -> Option<String> {
    let fits = text.is_empty() || (text.len() <= 24 && !text.starts_with(|c: char| c.is_ascii_digit()) && !text.starts_with("pg_"));
    if text.is_empty() { Some(String::new()) } else { identifier(text).filter(|_| fits) }
}

fn prefix(text: &str) -> Option<String> {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')).then(|| text.to_owned())
}

fn brokers(text: &str) -> Option<String> {
    let all: Vec<&str> = text.split(',').map(str::trim).collect();
    let fits = all.iter().all(|one| one.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok()));
    fits.then(|| all.join(","))
}

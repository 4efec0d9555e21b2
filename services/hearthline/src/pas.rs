//! `hearthline pas`: what an integration engineer does with a feed, before it is live and after.
//!
//! `check`, `scrub` and `spec` need no process; the others ask the one that runs on the folder, by the routes under `/pas`.

mod check;
mod connections;
mod found;
mod load;
mod scrub;

use crate::admin_client::Client;
use crate::cli::table;
use crate::up;
use anyhow::Context;
use clap::{Args, Subcommand};
use hearthline_interop::hl7v2::{Charset, batch};
use hearthline_pas_gateway::peer::Peer;
use hearthline_pas_gateway::profile::{Profile, ProfileStatus};
use hearthline_pas_gateway::sheet::spec;
use hearthline_runtime::config::{Config, Finding};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use uuid::Uuid;

#[derive(Debug, Subcommand)]
pub enum PasCommand {
    /// What each connection is sending, and what is wrong with it.
    Connections,
    /// Who may send, in which mode, and how each feed is.
    Peers,
    /// Looks for messages, the newest first.
    Messages(MessagesArgs),
    /// Shows one message, its personal fields masked unless --reveal.
    Show {
        id: Uuid,
        /// Shows what the message says of the patient; the look is on record.
        #[arg(long, requires = "reason")]
        reveal: bool,
        /// Why it must be seen, without personal data.
        #[arg(long)]
        reason: Option<String>,
        /// Of a trust_engineer of the feed's trust, or a privacy_officer (`hearthline token`): an operator may not see it.
        #[arg(long)]
        token: Option<String>,
    },
    /// Interprets messages again, with today's profile and directory.
    Reprocess {
        /// One message; otherwise all that the filters find.
        id: Option<Uuid>,
        #[command(flatten)]
        select: MessagesArgs,
        /// Says which events would follow, and does nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Shows what the messages of files would become under a profile, and why. Nothing is stored.
    Check {
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// A shipped profile or the path of one, for messages of whomever (default: that of the peer whose facility MSH-4 names; nobody's are refused).
        #[arg(long)]
        profile: Option<String>,
    },
    /// Runs the tests that a profile brings with it.
    Profile {
        /// A shipped profile or the path of one; without it, lists what is shipped.
        profile: Option<String>,
    },
    /// Makes real messages safe to keep as tests: the same person becomes the same made-up person, and the structure stays.
    Scrub {
        /// A file, or a folder with all that is in it.
        input: PathBuf,
        /// A file, or a new folder: names of files name people too, so that what is written into it is numbered.
        output: PathBuf,
    },
    /// Prints the interface sheet of a peer, to be signed by both sides.
    Spec { peer: String },
    /// Sends the messages of a file (also a batch, or messages one after the other) to the running process, as the peer would.
    /// A listener with TLS is not spoken to.
    Load {
        file: PathBuf,
        /// To the listener of this peer (default: of the peer that MSH-4 of each message names).
        #[arg(long, conflicts_with = "listener")]
        peer: Option<String>,
        /// To the listener of this name; `default` is mllp.listen.
        #[arg(long)]
        listener: Option<String>,
    },
    /// What would have happened, had a peer in shadow been live.
    ShadowReport {
        peer: String,
        /// From this time on, RFC 3339 (default: seven days ago).
        #[arg(long)]
        from: Option<String>,
        #[arg(long)]
        to: Option<String>,
    },
    /// Makes a peer live; messages held in shadow since --from take effect too.
    Promote {
        peer: String,
        /// RFC 3339; without it only what comes from now on.
        #[arg(long)]
        from: Option<String>,
        #[arg(long)]
        reason: String,
    },
    /// Puts a peer back into shadow.
    Demote {
        peer: String,
        #[arg(long)]
        reason: String,
    },
    /// Times in which a feed said nothing although it should have.
    #[command(subcommand)]
    Gaps(GapsCommand),
}

#[derive(Debug, Subcommand)]
pub enum GapsCommand {
    List,
    /// Says that a feed was away, for example in an agreed stop of the PAS.
    Declare {
        peer: String,
        /// RFC 3339.
        #[arg(long)]
        from: String,
        /// RFC 3339; without it the gap is still open.
        #[arg(long)]
        until: Option<String>,
        #[arg(long)]
        reason: String,
    },
    /// Ends a gap: with --filled the peer has sent what was missing, or nothing was.
    Close {
        peer: String,
        gap_id: String,
        /// RFC 3339 (default: when the feed spoke again, else now).
        #[arg(long)]
        until: Option<String>,
        #[arg(long)]
        filled: bool,
        #[arg(long)]
        reason: String,
    },
}

#[derive(Debug, Args)]
pub struct MessagesArgs {
    #[arg(long)]
    peer: Option<String>,
    /// MSH-9, for example ADT^A01.
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// MSH-10.
    #[arg(long)]
    control_id: Option<String>,
    /// The look is on record; give --reason.
    #[arg(long, requires = "reason")]
    nhs_number: Option<String>,
    #[arg(long)]
    reason: Option<String>,
    /// received, interpreted, held, ignored, refused, duplicate or shadow; of sent ones sending, sent, refused, unconfirmed or unsent.
    #[arg(long, value_parser = OUTCOMES, hide_possible_values = true)]
    outcome: Option<String>,
    /// RFC 3339.
    #[arg(long)]
    from: Option<String>,
    #[arg(long)]
    to: Option<String>,
    /// At most so many (default: 50; of a reprocessing, all).
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    /// Those before this place, which the page before it names.
    #[arg(long)]
    before: Option<i64>,
}

impl MessagesArgs {
    fn body(&self) -> Value {
        let mut body = serde_json::Map::new();
        let fields = [
            ("peer", &self.peer),
            ("kind", &self.kind),
            ("control_id", &self.control_id),
            ("nhs_number", &self.nhs_number),
            ("outcome", &self.outcome),
            ("from", &self.from),
            ("to", &self.to),
        ];
        for (name, value) in fields {
            if let Some(value) = value {
                body.insert(name.to_owned(), json!(value));
            }
        }
        Value::Object(body)
    }

    /// At least one filter is given.
    fn is_selective(&self) -> bool {
        self.body() != json!({})
    }
}

const OUTCOMES: [&str; 11] = ["received", "interpreted", "held", "ignored", "refused", "duplicate", "shadow", "sending", "sent", "unconfirmed", "unsent"];

/// Runs a command of `pas`. Exit code 2: done, and the answer is not well (a check with refusals, a profile whose tests fail).
pub async fn command(config: &Config, command: PasCommand, as_json: bool) -> anyhow::Result<ExitCode> {
    let client = || Client::of_folder(&config.data.folder);
    let say = |value: Value, text: String| println!("{}", if as_json { format!("{value:#}") } else { text });
    match command {
        PasCommand::Check { files, profile } => return check::check(config, &files, profile.as_deref(), as_json),
        PasCommand::Profile { profile } => return profile_tests(profile.as_deref(), as_json),
        PasCommand::Scrub { input, output } => return scrub::scrub(&input, &output),
        PasCommand::Spec { peer } => {
            let options = up::hospitals(config);
            let peer = named(&options.peers, &peer)?;
            let listener = options.listeners.iter().find(|l| l.name == peer.listener).context("a configuration names its listeners")?;
            print!("{}", spec(peer, Profile::load(&peer.profile)?.as_ref(), listener));
        }
        PasCommand::Load { file, peer, listener } => return load::load(config, &file, peer.as_deref(), listener.as_deref(), as_json).await,
        PasCommand::Connections => {
            let answer = client()?.get("/pas/connections").await?;
            let text = connections::connections(&answer);
            say(answer, text);
        }
        PasCommand::Peers => {
            let answer = client()?.get("/pas/peers").await?;
            let text = table(&answer, "peers", &["name", "facility", "listener", "mode", "profile", "last_message_at", "messages_a_month", "feed"]);
            say(answer, text);
        }
        PasCommand::Messages(args) => {
            let (answer, text) = found::messages(&client()?, &args).await?;
            say(answer, text);
        }
        PasCommand::Show { id, reveal, reason, token } => {
            let client = token.into_iter().fold(client()?, Client::with_token);
            let answer = match reveal {
                true => client.get_with_reason(&format!("/pas/messages/{id}/content"), reason.as_deref().unwrap_or_default()).await?,
                false => client.get(&format!("/pas/messages/{id}")).await?,
            };
            let text = shown(&answer);
            say(answer, text);
        }
        PasCommand::Reprocess { id, select, dry_run } => {
            let (answer, text) = found::reprocess(&client()?, id, &select, dry_run).await?;
            say(answer, text);
        }
        PasCommand::ShadowReport { peer, from, to } => {
            let query = query(&[("from", from.as_deref()), ("to", to.as_deref())]);
            let answer = client()?.get(&format!("/pas/peers/{}/shadow-report{query}", escaped(&peer))).await?;
            let text = shadow_report(&answer);
            say(answer, text);
        }
        PasCommand::Promote { peer, from, reason } => {
            let answer = client()?.post(&format!("/pas/peers/{}/promote", escaped(&peer)), &json!({ "from": from, "reason": reason })).await?;
            let text = format!("{peer} is live");
            say(answer, text);
        }
        PasCommand::Demote { peer, reason } => {
            let answer = client()?.post(&format!("/pas/peers/{}/demote", escaped(&peer)), &json!({ "reason": reason })).await?;
            let text = format!("{peer} is in shadow: its messages are stored and answered, and nothing follows");
            say(answer, text);
        }
        PasCommand::Gaps(GapsCommand::List) => {
            let answer = client()?.get("/pas/gaps").await?;
            let text = table(&answer, "gaps", &["peer", "gap_id", "cause", "from", "until", "back_fill_until"]);
            say(answer, text);
        }
        PasCommand::Gaps(GapsCommand::Declare { peer, from, until, reason }) => {
            let body = json!({ "from": from, "until": until, "reason": reason });
            let answer = client()?.post(&format!("/pas/peers/{}/gaps", escaped(&peer)), &body).await?;
            let text = format!("a gap of {peer} from {from} is on record: {}", answer["gap_id"].as_str().unwrap_or_default());
            say(answer, text);
        }
        PasCommand::Gaps(GapsCommand::Close { peer, gap_id, until, filled, reason }) => {
            let body = json!({ "until": until, "filled": filled, "reason": reason });
            let answer = client()?.post(&format!("/pas/peers/{}/gaps/{}/close", escaped(&peer), escaped(&gap_id)), &body).await?;
            say(answer, format!("the gap of {peer} is closed{}", if filled { ", and counts as covered" } else { "; what it hid stays unknown" }));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn named<'p>(peers: &'p [Peer], name: &str) -> anyhow::Result<&'p Peer> {
    peers.iter().find(|peer| peer.name == name).with_context(|| no_peer(name, &peers.iter().map(|peer| peer.name.as_str()).collect::<Vec<_>>()))
}

/// What the gateway could not start with.
pub(crate) fn findings(config: &Config) -> Vec<Finding> {
    let options = up::hospitals(config);
    let mut findings = Vec::new();
    let mut fatal = |key: String, advice: String| findings.push(Finding { key, advice, fatal: true });
    for (n, peer) in options.peers.iter().enumerate() {
        if let Some(charset) = peer.charset.as_ref().filter(|charset| Charset::named(charset).is_none()) {
            fatal(format!("mllp.peer.{n}.charset"), format!("{charset} is none that is known: give it as MSH-18 would, such as 8859/1 or UNICODE UTF-8"));
        }
        if let Err(error) = Profile::load(&peer.profile) {
            fatal(format!("mllp.peer.{n}.profile"), error.to_string());
        }
    }
    let one_port =
        |a: SocketAddr, b: SocketAddr| a.port() != 0 && a.port() == b.port() && (a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified());
    for (n, listener) in options.listeners.iter().enumerate().skip(1) {
        if let Some(other) = options.listeners[..n].iter().find(|other| one_port(other.listen, listener.listen)) {
            fatal(format!("mllp.listener.{}.listen", n - 1), format!("{} is the port of listener {} too: give each its own", listener.listen, other.name));
        }
        if one_port(config.server.listen, listener.listen) {
            fatal(format!("mllp.listener.{}.listen", n - 1), format!("{} is the port of server.listen too: give each its own", listener.listen));
        }
    }
    findings
}

/// Profiles that are files lie beside the configuration that names them.
pub(crate) fn beside(config: &mut Config, file: &Path) {
    let Some(folder) = file.parent() else { return };
    for peer in &mut config.mllp.peers {
        if !Profile::shipped().iter().any(|(name, _)| *name == peer.profile) {
            peer.profile = folder.join(&peer.profile).to_string_lossy().into_owned();
        }
    }
}

fn no_peer(name: &str, names: &[&str]) -> String {
    format!("no [[mllp.peer]] is called {name:?}; there are: {}", if names.is_empty() { "none".to_owned() } else { names.join(", ") })
}

/// Every message of a file: one, several one after the other, or a batch. And why some may be missing, which is said on the terminal too.
fn messages(file: &Path) -> anyhow::Result<(Vec<Vec<u8>>, Vec<String>)> {
    let raw = std::fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?;
    let split = batch::split(&raw).with_context(|| format!("{} was not read", file.display()))?;
    let warnings: Vec<String> = split.warnings.iter().map(ToString::to_string).collect();
    for warning in &warnings {
        eprintln!("hearthline: {}: {warning}", file.display());
    }
    Ok((split.messages.into_iter().map(<[u8]>::to_vec).collect(), warnings))
}

fn profile_tests(name: Option<&str>, as_json: bool) -> anyhow::Result<ExitCode> {
    let Some(name) = name else {
        let shipped: Vec<Value> =
            Profile::shipped().iter().map(|(name, _)| json!({ "name": name, "status": Profile::load(name).map_or("", |p| status(p.status)) })).collect();
        let answer = json!({ "profiles": shipped });
        println!("{}", if as_json { format!("{answer:#}") } else { table(&answer, "profiles", &["name", "status"]) });
        return Ok(ExitCode::SUCCESS);
    };
    let profile = Profile::load(name)?;
    let failed = profile.check();
    let tests = profile.tests().len();
    let answer = json!({ "profile": name, "status": status(profile.status), "tests": tests, "failed": failed });
    let text = if failed.is_empty() {
        format!("{name} ({}): {}", status(profile.status), if tests == 1 { "1 test passes".to_owned() } else { format!("{tests} tests pass") })
    } else {
        failed.join("\n")
    };
    println!("{}", if as_json { format!("{answer:#}") } else { text });
    Ok(if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(2) })
}

fn status(status: ProfileStatus) -> &'static str {
    match status {
        ProfileStatus::Verified => "verified",
        ProfileStatus::Unverified => "unverified: a sample, never tried with a message of such a system",
    }
}

fn shadow_report(answer: &Value) -> String {
    let word = |name: &str| answer[name].as_str().map_or_else(|| answer[name].to_string(), str::to_owned);
    let mut text = format!(
        "{} ({}) is {}: {} messages from {} to {}, {} of them repeats\n",
        word("peer"),
        word("facility_ods"),
        word("mode"),
        word("messages"),
        word("from"),
        word("until"),
        word("duplicates")
    );
    for (title, list, columns) in [
        ("What became of them", "outcomes", &["kind", "state", "effect", "why", "count"][..]),
        ("Events that would have been", "events", &["what", "count"]),
        ("Without an effect", "without_effect", &["what", "count"]),
        ("Refused", "refused", &["what", "count"]),
        ("Codes that no table knows: add them to [codes.…] of the profile", "unmapped", &["table", "field", "value", "count"]),
        ("What its connections do wrong", "quirks", &["name", "count", "last_at", "problem", "advice"]),
        ("By day", "days", &["day", "messages", "expected"]),
    ] {
        text.push_str(&format!("\n{title}\n{}\n", table(answer, list, columns)));
    }
    for note in answer["notes"].as_array().into_iter().flatten() {
        text.push_str(&format!("\nNote: {}\n", note.as_str().unwrap_or_default()));
    }
    text
}

/// A message segment by segment, after what is known of it.
fn shown(answer: &Value) -> String {
    let mut lines = Vec::new();
    for (name, value) in answer.as_object().into_iter().flatten().filter(|(name, value)| *name != "segments" && !value.is_null() && *value != "") {
        lines.push(format!("{name:<12} {}", value.as_str().map_or_else(|| value.to_string(), str::to_owned)));
    }
    lines.extend(answer["segments"].as_array().into_iter().flatten().map(|s| s.as_str().unwrap_or_default().to_owned()));
    lines.join("\n")
}

fn escaped(text: &str) -> String {
    text.bytes().map(|b| if b.is_ascii_alphanumeric() || b"-_.~".contains(&b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

fn query(fields: &[(&str, Option<&str>)]) -> String {
    let parts: Vec<String> = fields.iter().filter_map(|(name, value)| Some(format!("{name}={}", escaped((*value)?)))).collect();
    if parts.is_empty() { String::new() } else { format!("?{}", parts.join("&")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hearthline_runtime::config::Sources;

    fn config(text: &str) -> Config {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("hearthline.toml");
        std::fs::write(&file, text).expect("written");
        Config::load(&Sources { file: Some(file), ..Sources::default() }).expect("a configuration")
    }

    #[test]
    fn what_the_gateway_could_not_start_with_is_found() {
        let keys = |text: &str| findings(&config(text)).into_iter().map(|found| found.key).collect::<Vec<_>>();
        let peer = "[[mllp.peer]]\nname = \"a\"\nfacility_ods = \"RN1\"\n";
        assert_eq!(keys(&format!("{peer}charset = \"8859/1\"\nprofile = \"itk\"")), [""; 0]);
        assert_eq!(keys(&format!("{peer}charset = \"KLINGON\"\nprofile = \"nope.toml\"")), ["mllp.peer.0.charset", "mllp.peer.0.profile"]);
        let listener = |name: &str, listen: &str| format!("[[mllp.listener]]\nname = \"{name}\"\nlisten = \"{listen}\"\n");
        let both = listener("a", "127.0.0.1:2600") + &listener("b", "127.0.0.1:2600");
        assert_eq!(keys(&both), ["mllp.listener.1.listen"]);
        assert_eq!(keys(&listener("a", "127.0.0.1:2575")), ["mllp.listener.0.listen"]);
        assert_eq!(keys(&(listener("a", "127.0.0.1:0") + &listener("b", "127.0.0.1:0"))), [""; 0]);
    }

    #[test]
    fn a_profile_that_is_a_file_lies_beside_the_configuration() {
        let mut config = config(
            "[[mllp.peer]]\nname = \"a\"\nfacility_ods = \"RN1\"\nprofile = \"a.toml\"\n[[mllp.peer]]\nname = \"b\"\nfacility_ods = \"RN2\"\nprofile = \"itk\"\n\
             [[mllp.peer]]\nname = \"c\"\nfacility_ods = \"RN3\"\nprofile = \"/c.toml\"\n",
        );
        beside(&mut config, Path::new("/etc/hearthline/hearthline.toml"));
        assert_eq!(config.mllp.peers.iter().map(|peer| peer.profile.as_str()).collect::<Vec<_>>(), ["/etc/hearthline/a.toml", "itk", "/c.toml"]);
    }
}

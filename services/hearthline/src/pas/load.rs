//! `pas load`: the messages of a file, sent to the running process as their peer would send them.
//!
//! One after the other, each once the one before is answered. Messages of which MSH-15 and MSH-16 leave something unanswered go as runs:
//! the process ends a connection when all on it is taken, and what it has not answered by then it never will.

use super::messages;
use crate::admin_client::Client;
use crate::cli::table;
use crate::up;
use anyhow::{Context, bail};
use hearthline_interop::hl7v2::{Adt, Condition, Message, requested_acknowledgements};
use hearthline_nhs::OdsCode;
use hearthline_pas_gateway::peer::{DEFAULT_LISTENER, Peer, Sends, sending};
use hearthline_runtime::admin::{AdminFile, Listening};
use hearthline_runtime::config::Config;
use hearthline_runtime::mllp_client::{MllpClient, Outcome, Target};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::process::ExitCode;

/// Messages sent together without waiting for an answer to each, at most: so many are taken well within the patience of a client.
const RUN: usize = 256;

/// `to_peer`, `to_listener`: what was asked for; else each message goes to the listener of the peer that its MSH-4 names.
pub(super) async fn load(config: &Config, file: &Path, to_peer: Option<&str>, to_listener: Option<&str>, as_json: bool) -> anyhow::Result<ExitCode> {
    let admin = AdminFile::read(&config.data.folder)?;
    let mllp = admin.mllp.context("the process on this folder takes no hospital messages")?;
    let mut listening = admin.listeners;
    listening.insert(DEFAULT_LISTENER.to_owned(), Listening { address: mllp, tls: false });
    // Who may send is what the process says; one that gives no token here has the configuration that was named.
    let peers = match admin.token {
        Some(_) => peers(&Client::of_folder(&config.data.folder)?.get("/pas/peers").await?),
        None => up::hospitals(config).peers,
    };
    let chosen = chosen(&peers, to_peer, to_listener)?;
    let (messages, warnings) = messages(file)?;
    let mut outgoing = Vec::with_capacity(messages.len());
    let mut clients: HashMap<String, MllpClient> = HashMap::new();
    for (n, raw) in messages.iter().enumerate() {
        let listener = chosen.clone().unwrap_or_else(|| listener_of(raw, &peers, &listening));
        clients.entry(listener.clone()).or_insert(MllpClient::new(plain(&listening, &listener)?));
        outgoing.push(Outgoing::of(n + 1, raw, listener));
    }
    let mut told = Told::default();
    for run in runs(&outgoing) {
        let client = clients.get_mut(&run[0].listener).expect("every message's listener has a client");
        match run {
            [one] if one.asks.for_every_answer() => match client.send(one.raw, &one.control_id).await {
                Outcome::Unconfirmed(why) | Outcome::NotSent(why) => bail!("message {} had no answer ({why}); {AGAIN}", one.number),
                outcome => told.of(Some(one.number), outcome),
            },
            [first, ..] => match client.send_unawaited(&run.iter().map(|message| message.raw).collect::<Vec<_>>()).await {
                Ok(said) => told.of_run(run, said),
                Err(why) => bail!("what became of messages {} to {} is not known ({why}); {AGAIN}", first.number, first.number + run.len() - 1),
            },
            [] => {}
        }
    }
    let Told { accepted, unacknowledged, refused } = told;
    let answer = json!({ "accepted": accepted, "unacknowledged": unacknowledged, "refused": refused, "warnings": warnings });
    let mut text = format!("{accepted} accepted, {} refused", refused.len());
    if unacknowledged > 0 {
        text.push_str(&format!(", {unacknowledged} sent that ask for no acknowledgement (`hearthline pas messages` says what became of them)"));
    }
    if !refused.is_empty() {
        text.push_str(&format!("\n{}", table(&answer, "refused", &["message", "reply", "text"])));
    }
    println!("{}", if as_json { format!("{answer:#}") } else { text });
    if !warnings.is_empty() {
        eprintln!("hearthline: {INCOMPLETE}");
    }
    Ok(if refused.is_empty() && warnings.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(2) })
}

const INCOMPLETE: &str =
    "what is in the file was sent, and some of it may be missing: ask the sender for the whole file and load that; what was accepted is recognised";
const AGAIN: &str = "send the file again: what was accepted is recognised";

/// A message of the file, and where it goes.
struct Outgoing<'r> {
    /// Counted from 1.
    number: usize,
    raw: &'r [u8],
    control_id: String,
    asks: Asks,
    listener: String,
}

impl<'r> Outgoing<'r> {
    fn of(number: usize, raw: &'r [u8], listener: String) -> Self {
        let message = Message::parse(raw).ok();
        let control_id = message.as_ref().and_then(|m| Adt::of(m).control_id().map(str::to_owned)).unwrap_or_default();
        Outgoing { number, raw, control_id, asks: Asks::of(message.as_ref()), listener }
    }
}

/// Which answers MSH-15 and MSH-16 ask for. More may come: what is agreed with the peer goes over them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Asks {
    success: bool,
    refusal: bool,
}

impl Asks {
    /// What has no header is answered.
    fn of(message: Option<&Message<'_>>) -> Self {
        let (accept, application) = message.map_or((Condition::Unstated, Condition::Unstated), requested_acknowledgements);
        let is_unstated = accept == Condition::Unstated && application == Condition::Unstated;
        let asks = |when: Condition| is_unstated || [accept, application].iter().any(|asked| *asked == Condition::Always || *asked == when);
        Asks { success: asks(Condition::OnSuccess), refusal: asks(Condition::OnError) }
    }

    fn for_every_answer(self) -> bool {
        self.success && self.refusal
    }
}

/// What is sent together, in the file's order: a message that is answered whatever becomes of it alone.
fn runs<'a, 'r>(outgoing: &'a [Outgoing<'r>]) -> impl Iterator<Item = &'a [Outgoing<'r>]> {
    let is_awaited = |message: &Outgoing<'_>| message.asks.for_every_answer();
    outgoing.chunk_by(move |a, b| !is_awaited(a) && !is_awaited(b) && a.listener == b.listener).flat_map(|run| run.chunks(RUN))
}

/// What became of the messages.
#[derive(Default)]
struct Told {
    accepted: usize,
    unacknowledged: usize,
    refused: Vec<Value>,
}

impl Told {
    fn of(&mut self, number: Option<usize>, outcome: Outcome) {
        match outcome {
            Outcome::Accepted { .. } => self.accepted += 1,
            Outcome::Refused { code, text, .. } => self.refused.push(json!({ "message": number, "reply": code.code(), "text": text })),
            Outcome::Unconfirmed(why) | Outcome::NotSent(why) => self.refused.push(json!({ "message": number, "reply": "none", "text": why })),
        }
    }

    /// An answer is that of the first message with its MSH-10 that has none yet: they come in the order of the messages. One that names
    /// no message of the run is nobody's.
    fn of_run(&mut self, run: &[Outgoing<'_>], said: Vec<(String, Outcome)>) {
        let mut outcomes: Vec<Option<Outcome>> = vec![None; run.len()];
        for (named, outcome) in said {
            let its = run.iter().zip(&mut outcomes).find(|(message, known)| message.control_id == named && known.is_none());
            match its {
                Some((_, known)) => *known = Some(outcome),
                None => self.of(None, outcome),
            }
        }
        for (message, outcome) in run.iter().zip(outcomes) {
            match outcome {
                Some(outcome) => self.of(Some(message.number), outcome),
                None if message.asks.success => {
                    let text = "MSH-15 and MSH-16 ask for an answer to what is taken alone, and none came: `hearthline pas messages` says why";
                    self.refused.push(json!({ "message": message.number, "reply": "none", "text": text }));
                }
                None => self.unacknowledged += 1,
            }
        }
    }
}

/// The peers as far as they say to whom a message belongs.
fn peers(answer: &Value) -> Vec<Peer> {
    let peer = |of: &Value| {
        let mut peer = Peer::new(of["name"].as_str()?, OdsCode::parse(of["facility"].as_str()?).ok()?);
        of["listener"].as_str()?.clone_into(&mut peer.listener);
        peer.sending_facilities = of["sending_facilities"].as_array().into_iter().flatten().filter_map(|f| Some(f.as_str()?.to_owned())).collect();
        Some(peer)
    };
    answer["peers"].as_array().into_iter().flatten().filter_map(peer).collect()
}

/// The listener that was asked for, by its name or its peer's.
fn chosen(peers: &[Peer], peer: Option<&str>, listener: Option<&str>) -> anyhow::Result<Option<String>> {
    match (peer, listener) {
        (Some(name), _) => Ok(Some(super::named(peers, name)?.listener.clone())),
        (None, listener) => Ok(listener.map(str::to_owned)),
    }
}

/// Where the peer of a message sends to; what is nobody's goes to the listener that every deployment has, to be refused there.
fn listener_of(raw: &[u8], peers: &[Peer], listening: &BTreeMap<String, Listening>) -> String {
    let message = Message::parse(raw).ok();
    let facility = message.as_ref().and_then(|m| Adt::of(m).sending_facility().map(str::to_owned)).unwrap_or_default();
    let is_its = |name: &&String| matches!(sending(peers, name, &facility), Sends::Here(_));
    let default = DEFAULT_LISTENER.to_owned();
    std::iter::once(&default).chain(listening.keys()).find(is_its).unwrap_or(&default).clone()
}

fn plain(listening: &BTreeMap<String, Listening>, name: &str) -> anyhow::Result<Target> {
    let Some(listener) = listening.get(name) else {
        bail!("the process has no listener {name:?}; there are: {}", listening.keys().map(String::as_str).collect::<Vec<_>>().join(", "))
    };
    if listener.tls {
        bail!(
            "the listener {name:?} takes TLS, which this command does not speak: send the file from the PAS, or with an MLLP client that has its certificate. Nothing was sent"
        );
    }
    Ok(Target::plain(listener.address.ip().to_string(), listener.address.port()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hearthline_interop::hl7v2::AckCode;

    fn listening() -> BTreeMap<String, Listening> {
        let at = |port, tls| Listening { address: ([127, 0, 0, 1], port).into(), tls };
        [("default", at(1, false)), ("north", at(2, false)), ("tls", at(3, true))].map(|(name, l)| (name.to_owned(), l)).into()
    }

    fn known() -> Vec<Peer> {
        peers(&json!({ "peers": [
            { "name": "A", "facility": "RN1", "listener": "default", "sending_facilities": [] },
            { "name": "B", "facility": "RN2", "listener": "north", "sending_facilities": ["NORTH"] },
        ] }))
    }

    #[test]
    fn a_message_goes_to_the_listener_of_the_peer_that_it_names() {
        for (facility, listener) in [("RN1", "default"), ("RN2", "north"), ("NORTH", "north"), ("RXX", "default"), ("", "default")] {
            let raw = format!("MSH|^~\\&|PAS|{facility}|H|Q|20260301121000||ADT^A01|1|P|2.4\rPID|1");
            assert_eq!(listener_of(raw.as_bytes(), &known(), &listening()), listener, "{facility}");
        }
        assert_eq!(plain(&listening(), "north").expect("plain").port, 2);
    }

    fn outgoing<'r>(raws: &'r [String], listener: &str) -> Vec<Outgoing<'r>> {
        raws.iter().enumerate().map(|(n, raw)| Outgoing::of(n + 1, raw.as_bytes(), listener.to_owned())).collect()
    }

    fn asking(id: &str, accept: &str, application: &str) -> String {
        format!("MSH|^~\\&|PAS|RN1|H|Q|20260301121000||ADT^A01|{id}|P|2.4|||{accept}|{application}\rPID|1")
    }

    #[test]
    fn what_may_stay_unanswered_is_told_from_what_is_waited_for() {
        for (accept, application, success, refusal) in [
            ("", "", true, true),
            ("AL", "NE", true, true),
            ("SU", "ER", true, true),
            ("NE", "NE", false, false),
            ("", "NE", false, false),
            ("ER", "NE", false, true),
            ("NE", "SU", true, false),
        ] {
            let raw = asking("1", accept, application);
            assert_eq!(Asks::of(Message::parse(raw.as_bytes()).ok().as_ref()), Asks { success, refusal }, "{accept} {application}");
        }
        assert!(Asks::of(None).for_every_answer());
        let raws: Vec<String> = ["AL", "NE", "ER", "AL", "AL", "SU"].map(|accept| asking("1", accept, "NE")).into();
        let messages = outgoing(&raws, "default");
        assert_eq!(runs(&messages).map(<[_]>::len).collect::<Vec<_>>(), [1, 2, 1, 1, 1]);
        let many = vec![asking("1", "NE", "NE"); RUN + 1];
        assert_eq!(runs(&outgoing(&many, "default")).map(<[_]>::len).collect::<Vec<_>>(), [RUN, 1]);
    }

    #[test]
    fn an_answer_is_that_of_the_message_it_names() {
        let raws = [asking("A", "NE", "NE"), asking("B", "ER", "NE"), asking("B", "ER", "NE"), asking("C", "SU", "NE")];
        let refused = |text: &str| Outcome::Refused { code: AckCode::ApplicationError, text: Some(text.to_owned()), error_code: None };
        let mut told = Told::default();
        told.of_run(&outgoing(&raws, "default"), vec![("B".to_owned(), refused("first")), ("X".to_owned(), refused("nobody's"))]);
        let refused: Vec<_> = told.refused.iter().map(|r| (r["message"].as_u64(), r["reply"].as_str())).collect();
        assert_eq!(refused, [(None, Some("AE")), (Some(2), Some("AE")), (Some(4), Some("none"))]);
        assert_eq!((told.accepted, told.unacknowledged), (0, 2));
    }

    #[test]
    fn what_was_asked_for_goes_before_and_what_is_not_there_is_said() {
        assert_eq!(chosen(&known(), Some("B"), None).expect("there"), Some("north".to_owned()));
        assert_eq!(chosen(&known(), None, Some("north")).expect("there"), Some("north".to_owned()));
        assert_eq!(chosen(&known(), None, None).expect("nothing asked"), None);
        assert!(chosen(&known(), Some("C"), None).expect_err("nobody").to_string().contains("A, B"));
        assert!(plain(&listening(), "south").expect_err("none").to_string().contains("default, north, tls"));
        assert!(plain(&listening(), "tls").expect_err("tls").to_string().contains("takes TLS"));
    }
}

//! `pas load`: the messages of a file, sent to the running process as their peer would send them.

use super::messages;
use crate::admin_client::Client;
use crate::cli::table;
use crate::up;
use anyhow::{Context, bail};
use hearthline_interop::hl7v2::{Adt, Message};
use hearthline_nhs::OdsCode;
use hearthline_pas_gateway::peer::{DEFAULT_LISTENER, Peer, Sends, sending};
use hearthline_runtime::admin::{AdminFile, Listening};
use hearthline_runtime::config::Config;
use hearthline_runtime::mllp_client::{MllpClient, Outcome, Target};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::process::ExitCode;

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
    let messages = messages(file)?;
    let mut routes = Vec::with_capacity(messages.len());
    for raw in &messages {
        let name = chosen.clone().unwrap_or_else(|| listener_of(raw, &peers, &listening));
        routes.push((plain(&listening, &name)?, name));
    }
    let mut clients: HashMap<String, MllpClient> = HashMap::new();
    let (mut accepted, mut refused) = (0, Vec::new());
    for (n, (raw, (target, listener))) in messages.iter().zip(routes).enumerate() {
        let control_id = Message::parse(raw).ok().and_then(|m| Adt::of(&m).control_id().map(str::to_owned)).unwrap_or_default();
        match clients.entry(listener).or_insert_with(|| MllpClient::new(target)).send(raw, &control_id).await {
            Outcome::Accepted { .. } => accepted += 1,
            Outcome::Refused { code, text, .. } => refused.push(json!({ "message": n + 1, "reply": code.code(), "text": text })),
            Outcome::Unconfirmed(why) | Outcome::NotSent(why) => {
                bail!("message {} had no answer ({why}); send the file again: what was accepted is recognised", n + 1)
            }
        }
    }
    let answer = json!({ "accepted": accepted, "refused": refused });
    let mut text = format!("{accepted} accepted, {} refused", refused.len());
    if !refused.is_empty() {
        text.push_str(&format!("\n{}", table(&answer, "refused", &["message", "reply", "text"])));
    }
    println!("{}", if as_json { format!("{answer:#}") } else { text });
    Ok(if refused.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(2) })
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

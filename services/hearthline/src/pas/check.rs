//! `pas check`: what messages of files would become, as the process with this configuration would take them, and why.
//!
//! With a profile that is asked for, a message is interpreted whoever sends it, so that a profile can be tried on samples of a vendor;
//! what the process would refuse all the same is said.

use super::{messages, status};
use crate::up;
use hearthline_interop::hl7v2::{AckCode, Adt, Message};
use hearthline_nhs::OdsCode;
use hearthline_pas_gateway::explain::{Explanation, FieldRead, explain};
use hearthline_pas_gateway::peer::{Peer, Sends, sending};
use hearthline_pas_gateway::profile::Profile;
use hearthline_pas_gateway::reading::{self, Refusal, UNKNOWN_FACILITY};
use hearthline_pas_gateway::receive::reply_code;
use hearthline_runtime::config::{Config, Environment};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::ExitCode;

/// Exit code 1: a file could not be read; else 2: a message is refused.
pub(super) fn check(config: &Config, files: &[PathBuf], profile: Option<&str>, as_json: bool) -> anyhow::Result<ExitCode> {
    let mut all = Vec::new();
    let (mut is_refused, mut is_unread) = (false, false);
    for file in files {
        let messages = match messages(file) {
            Ok((messages, _)) => messages,
            Err(error) => {
                eprintln!("hearthline: {error:#}");
                is_unread = true;
                continue;
            }
        };
        for (n, raw) in messages.into_iter().enumerate() {
            let place = format!("{}#{}", file.display(), n + 1);
            let explanation = checked(config, &raw, profile)?;
            is_refused |= explanation.matter == "refused";
            if !as_json {
                println!("{place}\n{}", explained(&explanation)?);
            }
            let mut value = serde_json::to_value(&explanation)?;
            value["message"] = json!(place);
            all.push(value);
        }
    }
    if as_json {
        println!("{:#}", Value::Array(all));
    }
    Ok(match (is_unread, is_refused) {
        (true, _) => ExitCode::FAILURE,
        (false, true) => ExitCode::from(2),
        (false, false) => ExitCode::SUCCESS,
    })
}

/// What a message becomes on the listener of the peer that MSH-4 names, or by a profile whoever MSH-4 names.
fn checked(config: &Config, raw: &[u8], profile: Option<&str>) -> anyhow::Result<Explanation> {
    let options = up::hospitals(config);
    let message = Message::parse(raw).ok();
    let facility = message.as_ref().and_then(|m| Adt::of(m).sending_facility().map(str::to_owned));
    let named = facility.as_deref().and_then(|facility| {
        options.listeners.iter().find_map(|listener| match sending(&options.peers, &listener.name, facility) {
            Sends::Here(peer) => Some(peer),
            Sends::Elsewhere(_) | Sends::Nowhere => None,
        })
    });
    let mut peer = named.cloned().unwrap_or_else(|| nobody(&config.controller_ods, facility.unwrap_or_default()));
    if let Some(profile) = profile {
        peer.profile = profile.to_owned();
    }
    let mut explanation = explain(raw, &peer, Profile::load(&peer.profile)?.as_ref());
    let Some(message) = message else { return Ok(explanation) };
    let environment = reading::environment(&message, config.environment == Environment::Live);
    let Some(refusal) = environment.err().or_else(|| named.is_none().then_some(UNKNOWN_FACILITY)) else { return Ok(explanation) };
    explanation.acknowledgement = reply_code(named, &message, refusal.code).map_or("none", AckCode::code).to_owned();
    match profile {
        Some(profile) => {
            let what = if named.is_none() { "MSH-4 is no peer's" } else { refusal.text };
            let code = refusal.code.code();
            explanation.warnings.push(format!("{what}: it would be refused ({code}); interpreted all the same by profile {profile}"));
        }
        None => {
            refuse(&mut explanation, &refusal);
            if named.is_none() {
                explanation.warnings.push("no [[mllp.peer]] sends this in MSH-4; with --profile it is interpreted all the same".to_owned());
            }
        }
    }
    Ok(explanation)
}

/// The sender of a message that is no peer's.
fn nobody(controller: &OdsCode, facility: String) -> Peer {
    let mut peer = Peer::new("not configured", OdsCode::parse(&facility).unwrap_or_else(|_| controller.clone()));
    peer.sending_facilities = vec![facility];
    peer
}

fn refuse(explanation: &mut Explanation, refusal: &Refusal) {
    explanation.matter = "refused";
    refusal.text.clone_into(&mut explanation.why);
    (explanation.time, explanation.visit) = (None, "");
    explanation.events.clear();
    explanation.fields.clear();
    explanation.warnings.clear();
    explanation.death.clear();
}

/// What a message becomes, a line for each thing that is known of it.
fn explained(explanation: &Explanation) -> anyhow::Result<String> {
    let Explanation { profile, meaning, matter, why, time, fields, visit, events, warnings, acknowledgement, .. } = explanation;
    let trigger = explanation.header.trigger.as_str();
    let mut lines = vec![line("profile", &format!("{profile} ({})", status(explanation.profile_status)))];
    if !trigger.is_empty() {
        lines.push(line("trigger", &format!("{trigger} {meaning}")));
    }
    lines.push(line("becomes", &if why.is_empty() { (*matter).to_owned() } else { format!("{matter}: {why}") }));
    lines.push(line("answered", acknowledgement));
    let who = serde_json::to_value(&explanation.who)?;
    let said: Vec<String> = who
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(_, v)| v.as_str().is_some_and(|v| !v.is_empty()))
        .map(|(k, v)| format!("{}: {}", k.replace('_', " "), v.as_str().unwrap_or_default()))
        .collect();
    if !said.is_empty() {
        lines.push(line("who", &said.join("; ")));
    }
    if let Some(time) = time {
        let twice = if time.ambiguous { "; the clocks showed this twice" } else { "" };
        lines.push(line("when", &format!("{} from {} ({}){twice}", time.at, time.from, time.why)));
    }
    if !visit.is_empty() {
        lines.push(line("visit", visit));
    }
    lines.extend(fields.iter().map(field));
    lines.push(line("events", &if events.is_empty() { "none".to_owned() } else { events.join(", ") }));
    lines.extend(warnings.iter().map(|warning| line("warning", warning)));
    Ok(lines.join("\n"))
}

/// As wide as the longest name of a field.
fn line(name: &str, what: &str) -> String {
    format!("  {name:<21} {what}")
}

/// One field: where it stands, what was sent and what is made of it.
fn field(read: &FieldRead) -> String {
    let FieldRead { item, path, raw, code, how } = read;
    let said = match (item.is_personal(), code.is_empty()) {
        (true, _) => format!("{path} ends in {:?}; the rest is not shown", raw.trim_start_matches('…')),
        (false, true) => format!("{path} {raw:?} is left out ({how})"),
        (false, false) if code == raw => format!("{path} {raw:?} ({how})"),
        (false, false) => format!("{path} {raw:?} means {code} ({how})"),
    };
    line(item.name(), &said)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hearthline_pas_gateway::national::Item;
    use hearthline_runtime::config::Sources;

    fn config(overrides: &[&str]) -> Config {
        let peer = ["mllp.peer.0.name=Northside PAS", "mllp.peer.0.facility_ods=RN1"];
        let overrides = peer.iter().chain(overrides).map(|o| (*o).to_owned()).collect();
        Config::load(&Sources { overrides, ..Sources::default() }).expect("a configuration")
    }

    fn message(facility: &str, header: &str) -> Vec<u8> {
        format!("MSH|^~\\&|PAS|{facility}|H|Q|20260301121000||ADT^A01|1|{header}\rPID|1||1^^^RN1^MR\rPV1|1|I|||||||||||||||||V1").into_bytes()
    }

    #[test]
    fn a_message_is_checked_as_the_process_would_take_it() {
        let config = config(&[]);
        for (facility, header, matter, answered) in [
            ("RN1", "P|2.4", "admission", "AA"),
            ("RN101", "P|2.4", "admission", "AA"),
            ("RXX", "P|2.4", "refused", "AR"),
            ("", "P|2.4", "refused", "AR"),
            // Who is nobody's is answered also where no answer was asked for.
            ("RXX", "P|2.4|||NE|NE", "refused", "AR"),
            ("RN1", "P|2.4|||NE|NE", "admission", "none"),
        ] {
            let found = checked(&config, &message(facility, header), None).expect("explained");
            assert_eq!((found.matter, found.acknowledgement.as_str()), (matter, answered), "{facility} {header}");
            assert_eq!(found.events.is_empty(), matter == "refused", "{facility} {header}");
        }
    }

    #[test]
    fn a_live_receiver_refuses_what_is_not_for_production() {
        let live = config(&["environment=live", "controller_ods=RYZ01"]);
        assert_eq!(checked(&live, &message("RN1", "P|2.4"), None).expect("explained").acknowledgement, "AA");
        let refused = checked(&live, &message("RN1", "T|2.4"), None).expect("explained");
        assert_eq!((refused.matter, refused.acknowledgement.as_str()), ("refused", "AR"));
        assert!(refused.why.contains("MSH-11"), "{}", refused.why);
    }

    #[test]
    fn a_profile_is_tried_on_messages_of_nobody_who_is_configured() {
        let config = config(&[]);
        let found = checked(&config, &message("EPIC^HOSP", "P|2.4"), Some("epic-uk")).expect("explained");
        assert_eq!((found.matter, found.acknowledgement.as_str(), found.events.as_slice()), ("admission", "AR", &["VisitOpened"][..]));
        let said = "MSH-4 is no peer's: it would be refused (AR); interpreted all the same by profile epic-uk";
        assert!(found.warnings.iter().any(|warning| warning == said), "{:?}", found.warnings);
        let known = checked(&config, &message("RN1", "P|2.4"), Some("epic-uk")).expect("explained");
        assert!(!known.warnings.iter().any(|warning| warning.contains("MSH-4")), "{:?}", known.warnings);
    }

    #[test]
    fn lines_without_anything_to_say_are_left_out() {
        let text = explained(&checked(&config(&[]), b"no message", None).expect("explained")).expect("text");
        assert!(!text.lines().any(|line| ["trigger", "who", "visit"].contains(&line.trim())), "{text}");
    }

    #[test]
    fn a_field_of_a_checked_message_is_said_plainly() {
        let read = |item, path: &str, raw: &str, code: &str, how| field(&FieldRead { item, path: path.into(), raw: raw.into(), code: code.into(), how });
        assert_eq!(read(Item::VisitNumber, "PV1-19", "…23", "", "as sent"), "  visit-number          PV1-19 ends in \"23\"; the rest is not shown");
        assert_eq!(read(Item::Class, "PV1-2", "I", "inpatient", "a national code"), "  class                 PV1-2 \"I\" means inpatient (a national code)");
        assert_eq!(read(Item::AdmissionMethod, "PV1-4", "21", "21", "a national code"), "  admission-method      PV1-4 \"21\" (a national code)");
        assert_eq!(read(Item::DischargeDestination, "PV1-36", "X", "", "not known"), "  discharge-destination PV1-36 \"X\" is left out (not known)");
    }
}

//! The interface sheet that a trust and the operator sign: what is sent where, what is read of it, how it is answered, how it is tried.

use crate::domain::Report;
use crate::explain;
use crate::national::Item;
use crate::peer::{Accepts, Acknowledgement, Listener, Mode, Peer};
use crate::profile::{EmergencyA01, FieldPath, Profile, ProfileStatus};
use crate::reading::{self, Matter};
use hearthline_interop::hl7v2::{Adt, Message};
use std::fmt::Write as _;

const TRIGGERS: &[(&str, &str)] = &[
    ("A01", "PV1-44, else EVN-6, EVN-2, MSH-7"),
    ("A02", "EVN-6, else EVN-2, MSH-7"),
    ("A03", "PV1-45, else EVN-6, EVN-2, MSH-7"),
    ("A04", "PV1-44, else EVN-6, EVN-2, MSH-7"),
    ("A05", "PV2-8, else EVN-6, EVN-2, MSH-7"),
    ("A06", "EVN-6, else EVN-2, MSH-7"),
    ("A07", "EVN-6, else EVN-2, MSH-7"),
    ("A08", "EVN-6, else EVN-2, MSH-7"),
    ("A11", "EVN-6, else EVN-2, MSH-7"),
    ("A12", "EVN-6, else EVN-2, MSH-7"),
    ("A13", "EVN-6, else EVN-2, MSH-7"),
    ("A28", "EVN-6, else EVN-2, MSH-7"),
    ("A31", "EVN-6, else EVN-2, MSH-7"),
    ("A34", "EVN-6, else EVN-2, MSH-7"),
    ("A38", "EVN-6, else EVN-2, MSH-7"),
    ("A40", "EVN-6, else EVN-2, MSH-7"),
    ("A42", "EVN-6, else EVN-2, MSH-7"),
    ("A45", "EVN-6, else EVN-2, MSH-7"),
    ("A47", "EVN-6, else EVN-2, MSH-7"),
];

/// The sheet as Markdown. `listener`: the peer's.
pub fn spec(peer: &Peer, profile: &Profile, listener: &Listener) -> String {
    let mut sheet = format!("# HL7 v2 ADT interface: {}\n\n", peer.name);
    if profile.status == ProfileStatus::Unverified {
        let _ = writeln!(sheet, "**Profile `{}` is unverified: it was never tried with a message of such a system.**\n", profile.name);
    }
    connection(&mut sheet, peer, profile, listener);
    triggers(&mut sheet, profile);
    fields(&mut sheet, profile);
    answers(&mut sheet, peer);
    trial(&mut sheet, peer, profile);
    sheet.push_str("\n## Agreed\n\n| for | name | date |\n|---|---|---|\n| the trust | | |\n| the operator | | |\n");
    sheet
}

fn connection(sheet: &mut String, peer: &Peer, profile: &Profile, listener: &Listener) {
    let facilities = if peer.sending_facilities.is_empty() {
        format!("`{}` or a five-character site of it", peer.facility_ods)
    } else {
        let named: Vec<String> = peer.sending_facilities.iter().map(|f| format!("`{f}`")).collect();
        format!("`{}` or {}", peer.facility_ods, named.join(", "))
    };
    let certificate = if peer.client_names.is_empty() { "as the listener asks".to_owned() } else { peer.client_names.join(" or ") };
    let zone = reading::zone(peer, profile);
    let mode = match peer.mode {
        Mode::Shadow => "shadow: stored and answered, nothing follows until the promotion",
        Mode::Live => "live",
    };
    let tls = match &listener.tls {
        None => "none: the network between must protect what is sent",
        Some(tls) if tls.client_ca_file.is_some() => "TLS; the sender shows a certificate that the agreed authority signed",
        Some(_) => "TLS; the sender shows no certificate",
    };
    let idle = peer.idle.map_or_else(|| "never closed".to_owned(), |idle| format!("closed after {} s", idle.as_secs()));
    let home_level = peer.home_level_visits.as_ref().map_or_else(
        || "not agreed: nothing of strangers is kept beyond their messages".to_owned(),
        |agreed| format!("visits of strangers from care homes are kept without a person from {}; for {}; {}", agreed.from, agreed.purpose, agreed.lawful_basis),
    );
    let _ = write!(
        sheet,
        "## Connection\n\n| | |\n|---|---|\n| Address | `{}`, listener `{}` |\n| Encryption | {tls} |\n| Framing | MLLP: `0x0B` message `0x1C 0x0D`; segments end in `0x0D`; the connection stays open |\n\
         | Sending facility (MSH-4) | {facilities} |\n| Name in the sender's certificate | {certificate} |\n| Processing id (MSH-11) | `P` where the receiver is live; one for tests or training takes any |\n| Character set without MSH-18 | {} |\n\
         | Times without an offset | {zone} |\n| Largest message | {} bytes |\n| Messages in flight | {} |\n| A silent connection | {idle} |\n\
         | A frame that stops in the middle | closed after {} s |\n| Home-level visits | {home_level} |\n| Mode | {mode} |\n| Profile | `{}`: {} |\n\n",
        listener.listen,
        listener.name,
        peer.charset.as_deref().unwrap_or("UTF-8, else Windows-1252"),
        peer.frame_limit,
        peer.in_flight,
        peer.partial_frame.as_secs(),
        profile.name,
        profile.title
    );
}

fn triggers(sheet: &mut String, profile: &Profile) {
    sheet.push_str("## Triggers\n\nMSH-9.1 is `ADT`; the event is MSH-9.2 alone. Other events are answered and kept, and nothing follows.\n\n| event | meaning | time used |\n|---|---|---|\n");
    for (trigger, time) in TRIGGERS {
        let meaning = if profile.ignored.contains_key(*trigger) { "ignored by the profile" } else { explain::meaning(trigger) };
        let _ = writeln!(sheet, "| {trigger} | {meaning} | {time} |");
    }
    sheet.push('\n');
}

fn fields(sheet: &mut String, profile: &Profile) {
    sheet.push_str("## Fields\n\nNeeded: MSH-4, MSH-9, MSH-10, a time, PID-3; PV1 for events of a visit; MRG-1 for A34, A40 and A47; MRG-5 for A42.\n\n| what | where | local values |\n|---|---|---|\n");
    sheet.push_str("| NHS number | PID-3, else PID-2; status in PID-32 | ");
    let rules: Vec<String> = profile
        .nhs_number
        .iter()
        .map(|rule| format!("authority {}, type {}", rule.authority.as_deref().unwrap_or("any"), rule.id_type.as_deref().unwrap_or("any")))
        .collect();
    let _ = writeln!(
        sheet,
        "{} |\n| date of birth | PID-7, first eight digits | |\n| address | PID-11 | |\n| death | PID-29, PID-30, PV1-36 | |",
        rules.join("; ")
    );
    for item in Item::ALL {
        let Some(path) = profile.path(item) else { continue };
        let table: Vec<String> = profile.table(item).map(|(local, national)| format!("`{local}` = {national}")).collect();
        let _ = writeln!(sheet, "| {} | {} | {} |", item.name(), path.as_str(), table.join(", "));
    }
    sheet.push('\n');
}

fn answers(sheet: &mut String, peer: &Peer) {
    let mode = match peer.acknowledgement {
        Acknowledgement::AsAsked => "as MSH-15 and MSH-16 ask",
        Acknowledgement::Original => "original mode",
        Acknowledgement::Enhanced => "enhanced mode",
    };
    let (accept, error, reject) = match (peer.acknowledgement, peer.accepts) {
        (Acknowledgement::Enhanced, Accepts::Ca) => ("CA", "CE", "CR"),
        (Acknowledgement::AsAsked, Accepts::Ca) => ("AA, or CA where asked", "AE, or CE", "AR, or CR"),
        (Acknowledgement::Original, _) | (_, Accepts::Aa) => ("AA", "AE", "AR"),
    };
    let _ = write!(
        sheet,
        "## Acknowledgement\n\nAnswered {mode}, in the order received.\n\n| MSA-1 | meaning | the sender |\n|---|---|---|\n| {accept} | durably kept; what follows from it is the receiver's | goes on |\n\
         | {error} | a field is missing or unreadable; ERR says which | corrects the message; the same one is refused again |\n\
         | {reject} | another type, facility or environment, or no HL7; ERR says which | corrects the connection or the routing |\n\
         | no answer, connection closed | trouble of the receiver's own | connects again and sends again |\n\nA message that comes again is recognised and answered as before.\n\n"
    );
}

/// The opening of a visit as the profile's systems send it: values where the profile has them, and of the kind that its own tests show.
fn sample(peer: &Peer, profile: &Profile) -> String {
    let model = model(peer, profile);
    let model = model.as_deref().and_then(|text| Message::parse(text.as_bytes()).ok());
    let facility = &peer.facility_ods;
    let trigger = model.as_ref().map_or_else(|| "A01".to_owned(), |model| reading::trigger_code(&Adt::of(model)));
    let version = model.as_ref().and_then(|model| Adt::of(model).version().map(str::to_owned)).unwrap_or_else(|| "2.4".to_owned());
    let rule = profile.nhs_number.first();
    let authority = rule.and_then(|rule| rule.authority.as_deref()).unwrap_or("NHS");
    let id_type = rule.and_then(|rule| rule.id_type.as_deref()).unwrap_or("NH");
    let mut segments = vec![format!("MSH|^~\\&|PAS|{facility}|HEARTHLINE||20260301121000||ADT^{trigger}|TEST1|P|{version}")];
    if model.as_ref().is_none_or(|model| model.segment("EVN").is_some()) {
        segments.push("EVN||20260301120500".to_owned());
    }
    segments.push(format!("PID|1||TEST1^^^{facility}^MR~9990000018^^^{authority}^{id_type}||TESTPERSON^Ada||19400701|F"));
    segments.push(format!("PV1|1{}20260301113000", "|".repeat(43)));
    let mut segments: Vec<Vec<String>> = segments.iter().map(|line| line.split('|').map(str::to_owned).collect()).collect();
    for (item, value) in values(facility.as_str(), profile, model.as_ref()) {
        profile.path(item).into_iter().for_each(|path| put(&mut segments, path, &value));
    }
    segments.iter().map(|fields| fields.join("|") + "\n").collect()
}

/// The first of the profile's tests that opens a visit.
fn model(peer: &Peer, profile: &Profile) -> Option<String> {
    let opens = |message: &Message<'_>| reading::read_by(message, peer, profile).is_ok_and(|read| matches!(read.matter, Matter::Visit(Report::Opening(_))));
    let mut texts = profile.tests().iter().map(|test| test.message.trim().lines().map(str::trim_start).collect::<Vec<_>>().join("\r"));
    texts.find(|text| Message::parse(text.as_bytes()).is_ok_and(|message| opens(&message)))
}

/// What the sample says, of codes only such as the profile knows. An attendance has no admission method.
fn values(facility: &str, profile: &Profile, model: Option<&Message<'_>>) -> Vec<(Item, String)> {
    let known = |item| {
        let raw = model.and_then(|model| profile.raw(item, model))?;
        let is_known = reading::code(profile, item, raw).is_some()
            || (item == Item::SourceOfAdmission && model.is_some_and(|m| reading::attendance_source(m, profile).is_some()));
        is_known.then(|| raw.to_owned())
    };
    // The profile's own word, unless it would have to be written otherwise.
    let local = |item, national: &str| {
        let words = profile.table(item).filter(|(local, means)| *means == national && !local.contains(['|', '^', '~', '&', '\\']));
        words.map(|(local, _)| local.to_owned()).next()
    };
    let class = known(Item::Class).or_else(|| local(Item::Class, "inpatient")).unwrap_or_else(|| "I".to_owned());
    let is_attendance =
        reading::code(profile, Item::Class, &class).is_some_and(|class| class == "emergency") && profile.emergency_a01 == EmergencyA01::Attendance;
    let method = known(Item::AdmissionMethod).or_else(|| (!is_attendance).then(|| local(Item::AdmissionMethod, "21").unwrap_or_else(|| "21".to_owned())));
    let said = [
        (Item::Class, Some(class)),
        (Item::AdmissionMethod, method),
        (Item::SourceOfAdmission, known(Item::SourceOfAdmission)),
        (Item::ArrivalMode, known(Item::ArrivalMode)),
        (Item::Site, Some(facility.to_owned())),
        (Item::VisitNumber, Some("TESTVISIT1".to_owned())),
    ];
    said.into_iter().filter_map(|(item, value)| Some((item, value?))).collect()
}

/// Writes a value at a path; a segment that is not there yet comes last.
fn put(segments: &mut Vec<Vec<String>>, path: &FieldPath, value: &str) {
    let at = segments.iter().position(|fields| fields[0] == path.segment()).unwrap_or_else(|| {
        segments.push(vec![path.segment().to_owned()]);
        segments.len() - 1
    });
    let fields = &mut segments[at];
    fields.resize(fields.len().max(path.field() + 1), String::new());
    fields[path.field()] = path.put(&fields[path.field()], value);
}

fn trial(sheet: &mut String, peer: &Peer, profile: &Profile) {
    let sample = sample(peer, profile);
    let _ = write!(
        sheet,
        "## Sample message\n\nThe number is of the range kept for tests.\n\n```\n{sample}```\n\n## Test script\n\n| send | expect |\n|---|---|\n\
         | the sample | accepted; MSA-2 is TEST1 |\n| the sample again, unchanged | accepted; nothing follows |\n| the sample without MSH-10 | error 101 at MSH-10 |\n\
         | the sample as `ORU^R01` | reject 200 at MSH-9 |\n| the sample with MSH-4 `XXXXX` | reject 103 at MSH-4 |\n| A03 of TESTVISIT1 | accepted; the visit is closed |\n\
         | A13, then A03 again | accepted; the visit is closed at the second |\n| an A02 whose EVN-6 lies before the A03, sent last | accepted; the visit stays closed |\n| A11 of TESTVISIT1 | accepted; the visit never was |\n"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::{Agreement, Tls};
    use hearthline_nhs::OdsCode;
    use std::time::Duration;

    fn listener(tls: Option<Tls>) -> Listener {
        Listener { name: "default".to_owned(), listen: ([127, 0, 0, 1], 2575).into(), tls }
    }

    #[test]
    fn what_is_agreed_of_the_connection_is_on_the_sheet() {
        let mut peer = Peer::new("southampton", OdsCode::parse("RHM").expect("valid"));
        let profile = Profile::load("itk").expect("shipped");
        let plain = spec(&peer, &profile, &listener(None));
        for part in ["| Encryption | none", "never closed", "| closed after 60 s |", "not agreed", "one for tests or training takes any"] {
            assert!(plain.contains(part), "{part}");
        }
        (peer.idle, peer.partial_frame) = (Some(Duration::from_secs(300)), Duration::from_secs(7));
        let (from, purpose) = ("2026-01-01".parse().expect("a day"), "evaluation".to_owned());
        peer.home_level_visits = Some(Agreement { from, purpose, lawful_basis: "UK GDPR 6(1)(e)".to_owned() });
        let tls = Tls { certificate_file: "a".into(), key_file: "b".into(), client_ca_file: Some("c".into()) };
        let agreed = spec(&peer, &profile, &listener(Some(tls)));
        for part in ["the sender shows a certificate that", "closed after 300 s", "closed after 7 s", "from 2026-01-01; for evaluation; UK GDPR 6(1)(e)"] {
            assert!(agreed.contains(part), "{part}");
        }
    }

    #[test]
    fn the_sample_has_its_values_where_the_profile_has_them() {
        let peer = Peer::new("northside", OdsCode::parse("RN1").expect("valid"));
        let text = "title = \"x\"\nstatus = \"unverified\"\nextends = \"itk\"\n[fields]\nadmission-method = \"ZU1-2\"\nvisit-number = \"PV1-50[2].3\"\n\
                    [codes.admission-method]\n\"EMER-ED\" = \"21\"\n";
        let profile = Profile::parse("mine", text).expect("a profile");
        let sample = sample(&peer, &profile);
        assert!(sample.ends_with("\nZU1||EMER-ED\n") && sample.contains("|~^^TESTVISIT1\n") && !sample.contains("|21|"), "{sample}");
        let taken = profile.explain(sample.replace('\n', "\r").as_bytes(), &peer);
        assert_eq!((taken.matter, taken.facts()["admission-method"].as_str(), taken.visit), ("admission", "21", "visit number"));
    }

    #[test]
    fn the_sample_is_of_the_kind_that_the_profiles_tests_show() {
        let peer = Peer::new("southampton", OdsCode::parse("RHM").expect("valid"));
        for (name, matter, parts) in [
            ("itk", "admission", &["|2.4\nEVN|", "~9990000018^^^NHS^NH|", "PV1|1|I|^^^RHM|21|", "|54|"][..]),
            (
                "dorset-ed",
                "attendance",
                &["|2.4\nPID|", "~9990000018^^^NHS^NhsNumber|", "PV1|1|E||||", "|^^^RHM||20260301113000\n", "|507291000000100|", "|1048071000000103\n"],
            ),
            ("epic-uk", "admission", &["~9990000018^^^NHS^HN|", "PV1|1|INPATIENT|^^^RHM|Emerg Other|"]),
            ("cerner-uk", "admission", &["|2.3\n", "~9990000018^^^NHSNBR^NHSNMBR|", "PV1|1|I|^^^RHM|21|"]),
        ] {
            let profile = Profile::load(name).expect("shipped");
            let sample = sample(&peer, &profile);
            assert!(parts.iter().all(|part| sample.contains(part)), "{name}: {sample}");
            assert_eq!(profile.explain(sample.replace('\n', "\r").as_bytes(), &peer).matter, matter, "{name}");
        }
    }

    #[test]
    fn the_sheet_names_everything_to_agree_on_and_its_sample_is_taken() {
        let peer = Peer::new("southampton", OdsCode::parse("RHM").expect("valid"));
        for (name, _) in Profile::shipped() {
            let profile = Profile::load(name).expect("shipped");
            let sheet = spec(&peer, &profile, &listener(None));
            for part in ["127.0.0.1:2575", "0x0B", "`RHM`", "| A45 |", "PV1-19", "| AA |", "## Test script", "## Agreed"] {
                assert!(sheet.contains(part), "{name}: {part}");
            }
            assert_eq!(sheet.contains("is unverified"), profile.status == ProfileStatus::Unverified, "{name}");
            let sample = sheet.split("```\n").nth(1).expect("a sample").replace('\n', "\r");
            let taken = profile.explain(sample.as_bytes(), &peer);
            assert_eq!((taken.acknowledgement.as_str(), taken.events.as_slice()), ("AA", &["VisitOpened"][..]), "{name}");
            let is_said = |warning: &String| warning.contains("unverified");
            assert!(taken.warnings.iter().all(is_said) && taken.fields.iter().all(|field| field.how != "not known"), "{name}: {taken:?}");
            assert_eq!((taken.facts()["site"].as_str(), taken.visit), ("RHM", "visit number"), "{name}");
            let is_by_the_rule = taken.who.chosen_by == "PID-3, by authority and type that the profile names";
            assert!(is_by_the_rule || profile.nhs_number.is_empty(), "{name}: {}", taken.who.chosen_by);
        }
    }
}

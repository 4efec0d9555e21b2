//! What is agreed with a peer: its profile, its characters, and on what ground a stranger is counted at a home.

use crate::world::*;
use hearthline_contracts::envelope::Environment;
use hearthline_contracts::hospital::hospital_event::Fact as Pb;
use hearthline_contracts::hospital::{HospitalEvent, VisitOpened};
use hearthline_eventing::Kernel;
use hearthline_pas_gateway::gateway::Gateway;
use hearthline_pas_gateway::{NAME, Peer, TOPIC};
use prost::Message;

const RESIDENT: [u8; 16] = [7; 16];
const HOME: [u8; 16] = [9; 16];

fn gateway_of(world: &World, change: impl Fn(Peer) -> Peer) -> Result<Gateway, String> {
    Gateway::new(Kernel::new(NAME, TOPIC, &world.ports), peers().into_iter().map(change).collect(), false, 14).map_err(|e| e.to_string())
}

async fn opened(world: &World) -> Option<VisitOpened> {
    let recorded = world.ports.store.read_all(0, 10).await.expect("readable");
    match HospitalEvent::decode(recorded.into_iter().next()?.payload).expect("ours").fact {
        Some(Pb::VisitOpened(opened)) => Some(opened),
        _ => None,
    }
}

#[tokio::test]
async fn what_cannot_be_kept_to_is_refused_before_anything_is_received() {
    let world = World::new(Environment::Test).await;
    let path = world.folder.path().join("broken.toml");
    std::fs::write(&path, "title = \"Broken\"\nstatus = \"verified\"\nextends = \"itk\"\n[fields]\nsite = \"nowhere\"\n").expect("written");
    let broken = path.to_str().expect("a plain path");
    for (profile, cause) in [(broken, "fields.site"), ("/no/such.toml", "there is no such file")] {
        let why = gateway_of(&world, |peer| Peer { profile: profile.to_owned(), ..peer }).err().expect("refused");
        assert!(why.contains("southampton") && why.contains(profile) && why.contains(cause), "{why}");
    }
    let why = gateway_of(&world, |peer| Peer { charset: Some("EBCDIC".to_owned()), ..peer }).err().expect("refused");
    assert!(why.contains("southampton") && why.contains("EBCDIC"), "{why}");
    let why = gateway_of(&world, |peer| Peer { time_zone: "Europe/Southampton".to_owned(), ..peer }).err().expect("refused");
    assert!(why.contains("Europe/Southampton"), "{why}");
}

#[tokio::test]
async fn a_profile_from_a_file_is_kept_to_on_receipt_and_afterwards() {
    let world = World::new(Environment::Test).await;
    let path = world.folder.path().join("local.toml");
    std::fs::write(&path, "title = \"Local\"\nstatus = \"verified\"\nextends = \"itk\"\n[codes.admission-method]\n\"EMER\" = \"22\"\n").expect("written");
    let profile = path.to_str().expect("a plain path").to_owned();
    let gateway = gateway_of(&world, |peer| Peer { profile: profile.clone(), ..peer }).expect("usable");
    // Read once, when the gateway was made.
    std::fs::remove_file(&path).expect("removed");
    consume(&gateway, &world.registration(RESIDENT, &number(1), "1938-04-12", Some(HOME)).await).await;
    take(&gateway, &Adt { method: "EMER", ..Adt::new("A01", "1", &number(1)) }.write()).await;
    let opened = opened(&world).await.expect("an opening");
    assert_eq!(opened.admission_method, "22");
    let resident = opened.resident.expect("a resident");
    assert_eq!((resident.resident_id.as_ref(), opened.home_id.as_ref()), (&RESIDENT[..], &HOME[..]));
}

#[tokio::test]
async fn a_peers_characters_hold_where_the_message_names_none() {
    // The same byte is Ł in ISO 8859-2 and a pound sign in 8859-1.
    for (charset, byte, name, is_found) in [
        (Some("8859/2"), b"\xA3\xF3d\xBC Court".as_slice(), "\u{141}\u{f3}d\u{17a} Court", true),
        (Some("8859/1"), b"\xA3\xF3d\xBC Court".as_slice(), "\u{141}\u{f3}d\u{17a} Court", false),
        (Some("8859/1"), b"Ch\xE2teau Court".as_slice(), "Ch\u{e2}teau Court", true),
        (Some("8859/2"), b"\xC0gnes Court".as_slice(), "\u{c0}gnes Court", false),
    ] {
        let world = World::new(Environment::Test).await;
        let gateway = gateway_of(&world, |peer| Peer { charset: charset.map(str::to_owned), ..peer }).expect("usable");
        consume(&gateway, &world.home(HOME, name, "12 High Street", POSTCODE).await).await;
        let plain = Adt { address: ("PLACEHOLDER", POSTCODE), ..Adt::new("A01", "1", &number(1)) }.write();
        let at = plain.windows(11).position(|w| w == b"PLACEHOLDER").expect("there");
        let raw = [&plain[..at], byte, &plain[at + 11..]].concat();
        take(&gateway, &raw).await;
        assert_eq!(opened(&world).await.is_some(), is_found, "{charset:?} {name}");
    }
}

#[tokio::test]
async fn a_home_is_known_by_address_before_codes_and_by_codes_beside_its_postcode() {
    use hearthline_contracts::hospital::{Confidence as C, ResolverRule as R};
    for (line, source, destination, expected) in [
        ("Oak Lodge", "19", "", Some((R::HomeAddress, C::High))),
        ("Oak Lodge", "54", "85", Some((R::HomeAddress, C::High))),
        ("Somewhere", "54", "", Some((R::CareHomeCode, C::Medium))),
        ("Somewhere", "19", "54", Some((R::HomePostcode, C::Low))),
        ("Somewhere", "19", "19", None),
    ] {
        let world = World::new(Environment::Test).await;
        let gateway = world.gateway();
        consume(&gateway, &world.home(HOME, "Oak Lodge", "12 High Street", POSTCODE).await).await;
        let plain = String::from_utf8(Adt { address: (line, POSTCODE), ..Adt::new("A01", "1", &number(1)) }.write()).expect("ascii");
        let visit = format!("PV1||I||21||||||||||{source}|||||V1{}{destination}\r", "|".repeat(17));
        let raw = format!("{}{visit}PV2", plain.split("PV1").next().expect("before the visit"));
        take(&gateway, raw.as_bytes()).await;
        let found = opened(&world).await.map(|o| (o.resolver_rule(), o.confidence()));
        assert_eq!(found, expected, "{line} {source} {destination}");
    }
}

#[tokio::test]
async fn a_home_is_known_by_its_uprn_and_by_every_address_also_when_it_is_registered_late() {
    use hearthline_contracts::hospital::ResolverRule as R;
    const ELSEWHERE: &str = "1 Nowhere Lane^^TOWN^^PO1 1AA^GBR^H";
    let folder = World::new(Environment::Test).await;
    let path = folder.folder.path().join("uprn.toml");
    std::fs::write(&path, "title = \"UPRN\"\nstatus = \"verified\"\nextends = \"itk\"\n[fields]\nuprn = \"PID-11.19\"\n").expect("written");
    let profile = path.to_str().expect("a plain path").to_owned();
    let adt = |addresses: &str| {
        let plain = String::from_utf8(Adt { address: ("PLACE", "HOLDER"), ..Adt::new("A01", "1", &number(1)) }.write()).expect("ascii");
        plain.replace("PLACE^^SOUTHAMPTON^^HOLDER", addresses)
    };
    let uprn = |digits: &str| format!("{ELSEWHERE}{}{digits}", "^".repeat(12));
    let second = format!("{ELSEWHERE}~Oak Lodge^^TOWN^^{POSTCODE}^GBR^C");
    for (addresses, expected) in [
        (uprn("10012345678"), Some(R::HomeUprn)),
        (uprn("010012345678"), Some(R::HomeUprn)),
        (uprn("10012345679"), None),
        (second, Some(R::HomeAddress)),
        (ELSEWHERE.to_owned(), None),
    ] {
        for is_late in [false, true] {
            let world = World::new(Environment::Test).await;
            let gateway = gateway_of(&world, |peer| Peer { profile: profile.clone(), ..peer }).expect("usable");
            let home = world.home_at(HOME, "Oak Lodge", "12 High Street", POSTCODE, "10012345678").await;
            if !is_late {
                consume(&gateway, &home).await;
            }
            take(&gateway, adt(&addresses).as_bytes()).await;
            if is_late {
                assert!(opened(&world).await.is_none());
                consume(&gateway, &home).await;
                tick(&gateway).await;
            }
            let found = opened(&world).await.map(|o| o.resolver_rule());
            assert_eq!(found, expected, "{addresses} late: {is_late}");
        }
    }
}

#[tokio::test]
async fn what_contradicts_is_taken_and_listed() {
    let world = World::new(Environment::Test).await;
    let gateway = world.gateway();
    consume(&gateway, &world.registration(RESIDENT, &number(1), "1938-04-12", None).await).await;
    take(&gateway, &Adt::new("A01", "1", &number(1)).write()).await;
    take(&gateway, &Adt { at: "20260302090000", ..Adt::new("A13", "2", &number(1)) }.write()).await;
    take(&gateway, &Adt { at: "20260303090000", ..Adt::new("A03", "3", &number(1)) }.write()).await;
    let doubtful = String::from_utf8(Adt { at: "20260304090000", visit: "V2", ..Adt::new("A01", "4", &number(1)) }.write()).expect("ascii");
    let doubtful = doubtful.replace("PO1 1AA", &format!("PO1 1AA{}20260304080000|N", "|".repeat(18)));
    take(&gateway, doubtful.as_bytes()).await;
    let rows = world.rows().await;
    assert_eq!(rows[0], ("interpreted".to_owned(), String::new()));
    assert_eq!(rows[1], ("interpreted".to_owned(), "the visit is not closed by then".to_owned()));
    assert_eq!(rows[2], ("interpreted".to_owned(), String::new()));
    assert_eq!(rows[3].0, "interpreted");
    assert!(rows[3].1.contains("PID-29") && rows[3].1.contains("PID-30"), "{}", rows[3].1);
    assert_eq!(world.events().await, ["VisitOpened", "VisitReported", "VisitClosed", "VisitOpened"]);
}

use super::*;

/// The one home that an address is, if it is one's.
fn home_at(address: &PatientAddress, source: &str, homes: &[HomeAddress]) -> Option<Subject> {
    place(None, &Signs { addresses: std::slice::from_ref(address), source, destination: "" }, homes).map(|place| place.subject())
}

fn home(n: u8, name: &str, line: &str) -> HomeAddress {
    HomeAddress {
        id: HomeId::from_bytes([n; 16]),
        name: name.into(),
        first_line: line.into(),
        postcode: Postcode::parse("SO16 6YD").expect("valid"),
        uprn: format!("1000{n}"),
    }
}

fn at(lines: &[&str], postcode: &str) -> PatientAddress {
    PatientAddress { lines: lines.iter().map(|l| (*l).to_owned()).collect(), postcode: Postcode::parse(postcode).ok(), uprn: None }
}

#[test]
fn an_address_is_a_homes_by_name_or_line_beside_the_postcode() {
    let oak = [home(1, "Oak Lodge", "12 High Street")];
    for (lines, postcode, source, expected) in [
        (&["Oak Lodge", "12 High Street"][..], "SO166YD", "", Some(ResolverRule::HomeAddress)),
        (&["Room 4, OAK LODGE."][..], "so16 6yd", "19", Some(ResolverRule::HomeAddress)),
        (&["12 HIGH ST", "SOUTHAMPTON"][..], "SO16 6YD", "", Some(ResolverRule::HomeAddress)),
        (&["112 High Street"][..], "SO16 6YD", "19", None),
        (&["14 High Street"][..], "SO16 6YD", "", None),
        (&["somewhere"][..], "SO16 6YD", "54", Some(ResolverRule::CareHomeCode)),
        (&["Oak Lodge"][..], "SO16 6YE", "54", None),
        (&["Oak Lodge"][..], "", "54", None),
        (&["Oak Lodge"][..], "ZZ99 3VZ", "54", None),
    ] {
        let found = home_at(&at(lines, postcode), source, &oak).map(|subject| match subject {
            Subject::Home { rule, .. } => rule,
            Subject::Resident { .. } => ResolverRule::NhsNumber,
        });
        assert_eq!(found, expected, "{source} of {postcode}");
    }
}

#[test]
fn of_two_homes_with_one_postcode_the_address_decides_and_a_code_does_not() {
    let both = [home(1, "Oak Lodge", "12 High Street"), home(2, "Ash Court", "14 High Street")];
    let id = |subject: Option<Subject>| match subject {
        Some(Subject::Home { home, .. }) => Some(home),
        _ => None,
    };
    assert_eq!(id(home_at(&at(&["Ash Court"], "SO16 6YD"), "", &both)), Some(HomeId::from_bytes([2; 16])));
    assert_eq!(id(home_at(&at(&["12 High Street", "formerly Ash Court"], "SO16 6YD"), "54", &both)), None);
    assert_eq!(id(home_at(&at(&["somewhere"], "SO16 6YD"), "54", &both)), None);
}

#[test]
fn the_strongest_ground_decides_and_says_what_agreed() {
    let homes =
        [home(1, "Oak Lodge", "12 High Street"), HomeAddress { postcode: Postcode::parse("SO16 6YE").expect("valid"), ..home(2, "Ash Court", "1 Low Lane") }];
    let id = |n: u8| HomeId::from_bytes([n; 16]);
    let elsewhere = at(&["somewhere"], "PO1 1AA");
    let by_uprn = PatientAddress { uprn: Some("10002".into()), ..elsewhere.clone() };
    let (near_oak, in_oak) = (at(&["somewhere"], "SO16 6YD"), at(&["Oak Lodge"], "SO16 6YD"));
    for (registered, addresses, source, destination, expected) in [
        (Some(id(3)), &[in_oak.clone()][..], "", "", Some((id(3), ResolverRule::NhsNumber, Confidence::High))),
        (None, &[in_oak.clone(), by_uprn.clone()], "", "", Some((id(2), ResolverRule::HomeUprn, Confidence::High))),
        (None, &[elsewhere.clone(), in_oak.clone()], "", "", Some((id(1), ResolverRule::HomeAddress, Confidence::High))),
        (None, std::slice::from_ref(&near_oak), "85", "19", Some((id(1), ResolverRule::CareHomeCode, Confidence::Medium))),
        (None, std::slice::from_ref(&near_oak), "19", "65", Some((id(1), ResolverRule::HomePostcode, Confidence::Low))),
        (None, std::slice::from_ref(&near_oak), "19", "19", None),
        (None, std::slice::from_ref(&near_oak), "", "", None),
        (None, std::slice::from_ref(&elsewhere), "54", "54", None),
        (None, &[], "54", "", None),
    ] {
        let found = place(registered, &Signs { addresses, source, destination }, &homes);
        assert!(found.as_ref().is_none_or(|place| !place.evidence.is_empty()));
        assert_eq!(found.map(|place| (place.home, place.rule, place.confidence)), expected, "{source} {destination}");
    }
}

use super::*;

fn home(n: u8, name: &str, line: &str) -> HomeAddress {
    HomeAddress { id: HomeId::from_bytes([n; 16]), name: name.into(), first_line: line.into(), postcode: Postcode::parse("SO16 6YD").expect("valid") }
}

fn at(lines: &[&str], postcode: &str) -> PatientAddress {
    PatientAddress { lines: lines.iter().map(|l| (*l).to_owned()).collect(), postcode: Postcode::parse(postcode).ok() }
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

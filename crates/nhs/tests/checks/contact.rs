use hearthline_nhs::{EmailAddress, EmailAddressError, Postcode, PostcodeError};
use proptest::prelude::*;

#[test]
fn a_postcode_takes_its_normal_form_however_it_was_typed() {
    for (typed, normal) in [
        ("so166yd", "SO16 6YD"),
        (" SO16  6YD ", "SO16 6YD"),
        ("S O 1 6 6 Y D", "SO16 6YD"),
        ("M11AE", "M1 1AE"),
        ("EC1A1BB", "EC1A 1BB"),
        ("w1a 0ax", "W1A 0AX"),
        ("gir0aa", "GIR 0AA"),
        ("BF1 2AA", "BF1 2AA"),
    ] {
        let postcode = Postcode::parse(typed).unwrap();
        assert_eq!(postcode.as_str(), normal);
        assert!(!postcode.is_pseudo());
    }
    assert_eq!(Postcode::parse("SO166YD").unwrap().outward(), "SO16");
}

#[test]
fn pseudo_postcodes_of_the_nhs_are_accepted_and_told_apart() {
    for text in ["ZZ99 3VZ", "ZZ99 3WZ", "zz993cz"] {
        assert!(Postcode::parse(text).unwrap().is_pseudo());
    }
}

#[test]
fn what_is_wrong_with_a_postcode_is_said() {
    for (text, error) in [
        ("", PostcodeError::Length { characters: 0 }),
        ("SO16 6YDX", PostcodeError::Length { characters: 8 }),
        ("SO16-6YD", PostcodeError::Characters),
        ("SÖ16 6YD", PostcodeError::Characters),
        ("QO16 6YD", PostcodeError::Outward),
        ("SI16 6YD", PostcodeError::Outward),
        ("SOXX 6YD", PostcodeError::Outward),
        ("ABC1 6YD", PostcodeError::Outward),
        ("SO16 6CD", PostcodeError::Inward),
        ("SO16 YDD", PostcodeError::Inward),
    ] {
        assert_eq!(Postcode::parse(text), Err(error), "{text}");
    }
}

#[test]
fn ordinary_email_addresses_are_accepted_with_the_domain_in_lower_case() {
    let address = EmailAddress::parse(" Home.Manager+plans@NHS.net ").unwrap();
    assert_eq!(address.as_str(), "Home.Manager+plans@nhs.net");
    assert_eq!(address.domain(), "nhs.net");
    assert!(EmailAddress::parse("o'neill@oak-house.co.uk").is_ok());
}

#[test]
fn what_is_wrong_with_an_email_address_is_said() {
    let long_local = format!("{}@nhs.net", "a".repeat(65));
    for (text, error) in [
        ("", EmailAddressError::NotOneAt),
        ("home.nhs.net", EmailAddressError::NotOneAt),
        ("a@b@nhs.net", EmailAddressError::NotOneAt),
        ("@nhs.net", EmailAddressError::LocalPart),
        (".a@nhs.net", EmailAddressError::LocalPart),
        ("a..b@nhs.net", EmailAddressError::LocalPart),
        ("a b@nhs.net", EmailAddressError::LocalPart),
        ("a\r\nBcc: b@nhs.net", EmailAddressError::LocalPart),
        ("a@nhs.net\r\n", EmailAddressError::Domain),
        ("a@localhost", EmailAddressError::Domain),
        ("a@-nhs.net", EmailAddressError::Domain),
        ("a@nhs..net", EmailAddressError::Domain),
        ("a@[10.0.0.1]", EmailAddressError::Domain),
        (long_local.as_str(), EmailAddressError::TooLong),
    ] {
        assert_eq!(EmailAddress::parse(text), Err(error), "{text:?}");
    }
}

#[test]
fn debug_shows_neither_postcode_nor_address() {
    assert_eq!(format!("{:?}", Postcode::parse("SO16 6YD").unwrap()), "Postcode(redacted)");
    assert_eq!(format!("{:?}", EmailAddress::parse("a@nhs.net").unwrap()), "EmailAddress(redacted)");
}

proptest! {
    #[test]
    fn a_normal_form_is_its_own_normal_form(text in "[A-PR-UWYZ][A-HK-Y]?[0-9][0-9A-Z]? ?[0-9][ABD-HJLNP-UW-Z]{2}") {
        if let Ok(postcode) = Postcode::parse(&text) {
            prop_assert_eq!(Postcode::parse(postcode.as_str()).unwrap(), postcode);
        }
    }

    #[test]
    fn no_text_makes_parsing_panic(text in "\\PC*", near in "\\PC{5,7}") {
        let _ = Postcode::parse(&text);
        let _ = Postcode::parse(&near);
        if let Ok(address) = EmailAddress::parse(&text) {
            prop_assert_eq!(EmailAddress::parse(address.as_str()).unwrap(), address);
        }
    }

    #[test]
    fn no_email_address_holds_a_control_character(text in "[a-z\r\n\t @.]{0,12}@[a-z\r\n\t .]{1,12}") {
        if let Ok(address) = EmailAddress::parse(&text) {
            prop_assert!(!address.as_str().chars().any(char::is_control));
        }
    }
}

use hearthline_nhs::{OdsCode, PrescriptionOrderNumber, PrescriptionOrderNumberError as Error};
use proptest::prelude::*;

const VALID: [&str; 5] = ["24F5DA-A83008-7EFE6Z", "7F4CA4-A99968-4B0BAZ", "4243A0-A99968-4E149+", "507FE8-A83008-4A859+", "A0548B-A99968-451485"];

#[test]
fn published_numbers_are_accepted() {
    for number in VALID {
        assert_eq!(PrescriptionOrderNumber::parse(number).unwrap().as_str(), number);
    }
}

#[test]
fn a_wrong_check_character_is_refused() {
    for number in ["269CA9-A99968-4577BP", "561479-395879-521272", "887228-510420-124913"] {
        assert_eq!(PrescriptionOrderNumber::parse(number), Err(Error::CheckCharacter));
    }
    assert!(PrescriptionOrderNumber::parse("269CA9-A99968-4577BF").is_ok());
}

#[test]
fn a_number_is_generated_as_published() {
    let a83008 = OdsCode::parse("A83008").unwrap();
    let number = PrescriptionOrderNumber::generate([0x24, 0xF5, 0xDA], &a83008, 0x7_EFE6).unwrap();
    assert_eq!(number.to_string(), "24F5DA-A83008-7EFE6Z");
    assert_eq!(number.padded_organisation(), "A83008");
}

#[test]
fn a_short_code_is_padded_and_the_sequence_wraps() {
    let trust = OdsCode::parse("RCB").unwrap();
    let number = PrescriptionOrderNumber::generate([0, 0, 1], &trust, 0x10_0002).unwrap();
    assert!(number.as_str().starts_with("000001-000RCB-00002"));
    assert_eq!(number.padded_organisation(), "000RCB");
}

#[test]
fn a_code_that_does_not_fit_is_refused() {
    let long = OdsCode::parse("ABCDEFG").unwrap();
    assert_eq!(PrescriptionOrderNumber::generate([0; 3], &long, 0), Err(Error::OdsCodeTooLong { characters: 7 }));
}

#[test]
fn what_is_wrong_is_said() {
    for (text, error) in [
        ("", Error::Shape),
        ("24F5DAA830087EFE6Z", Error::Shape),
        ("24F5DA-A83008-7EFE6", Error::Shape),
        ("24F5DA-A83008-7EFE6Z-", Error::Shape),
        ("24F5DÄ-A83008-7EFE6Z", Error::Shape),
        ("24F5GA-A83008-7EFE6Z", Error::Random),
        ("24F5DA-A83+08-7EFE6Z", Error::Organisation),
        ("24F5DA-A83008-7EFG6Z", Error::Sequence),
        ("24F5DA-A83008-7EFE6*", Error::Sequence),
    ] {
        assert_eq!(PrescriptionOrderNumber::parse(text), Err(error), "{text}");
    }
}

proptest! {
    #[test]
    fn a_generated_number_parses_to_itself(random: [u8; 3], code in "[A-Z0-9]{3,6}", sequence: u32) {
        let ods = OdsCode::parse(&code).unwrap();
        let number = PrescriptionOrderNumber::generate(random, &ods, sequence).unwrap();
        prop_assert_eq!(PrescriptionOrderNumber::parse(number.as_str()).unwrap(), number.clone());
        prop_assert_eq!(
            PrescriptionOrderNumber::parse(&number.as_str().to_lowercase()).unwrap(),
            number
        );
    }

    #[test]
    fn no_text_makes_parsing_panic(text in "\\PC*", near in "[0-9A-F]{6}-\\PC{6}-\\PC{6}") {
        let _ = PrescriptionOrderNumber::parse(&text);
        let _ = PrescriptionOrderNumber::parse(&near);
    }
}

use hearthline_nhs::{Component, Sctid, SctidError};
use proptest::prelude::*;

#[test]
fn published_identifiers_are_accepted() {
    for id in [
        "39732311000001104",
        "39113611000001102",
        "322341003",
        "428673006",
        "1104051000000101",
        "734163000",
        "1048031000000100",
        "306691003",
        "86290005",
        "364075005",
        "1091811000000102",
    ] {
        assert_eq!(Sctid::parse(id).unwrap().to_string(), id);
    }
}

#[test]
fn a_wrong_check_digit_is_refused() {
    assert_eq!(Sctid::parse("39732311000001105"), Err(SctidError::CheckDigit));
}

#[test]
fn what_is_wrong_is_said() {
    assert_eq!(Sctid::parse("12345"), Err(SctidError::Length { digits: 5 }));
    assert_eq!(Sctid::parse("1234567890123456789"), Err(SctidError::Length { digits: 19 }));
    assert_eq!(Sctid::parse("0322341003"), Err(SctidError::LeadingZero));
    assert_eq!(Sctid::parse("322 341003"), Err(SctidError::NotDigits));
}

#[test]
fn the_namespace_tells_dmd_from_other_concepts() {
    let dmd = Sctid::parse("39732311000001104").unwrap();
    assert_eq!(dmd.namespace(), Some(1_000_001));
    assert_eq!(dmd.component(), Component::Concept);
    assert!(dmd.is_dmd() && dmd.can_name_medicine());

    let clinical = Sctid::parse("1104051000000101").unwrap();
    assert_eq!(clinical.namespace(), Some(1_000_000));
    assert!(!clinical.is_dmd() && !clinical.can_name_medicine());

    let international = Sctid::parse("322341003").unwrap();
    assert_eq!(international.namespace(), None);
    assert!(!international.is_dmd() && international.can_name_medicine());
}

#[test]
fn only_concepts_descriptions_and_relationships_are_known_partitions() {
    let with_check_digit =
        |digits: &str| (0..10).map(|check| Sctid::parse(&format!("{digits}{check}"))).find(|parsed| *parsed != Err(SctidError::CheckDigit)).unwrap();
    assert_eq!(with_check_digit("12345601").unwrap().component(), Component::Description);
    assert_eq!(with_check_digit("12345602").unwrap().component(), Component::Relationship);
    assert_eq!(with_check_digit("12345603"), Err(SctidError::Partition));
    assert_eq!(with_check_digit("12345620"), Err(SctidError::Partition));
    assert_eq!(with_check_digit("12345610"), Err(SctidError::NoNamespace));
}

proptest! {
    #[test]
    fn exactly_one_check_digit_agrees(item in 100_u64..99_999_999) {
        let agreeing = (0..10)
            .filter(|check| Sctid::parse(&format!("{item}00{check}")).is_ok())
            .count();
        prop_assert_eq!(agreeing, 1);
    }

    #[test]
    fn two_neighbouring_digits_swapped_are_noticed(item in 100_u64..99_999_999, at in 0_usize..4) {
        let id = (0..10)
            .map(|check| format!("{item}00{check}"))
            .find(|id| Sctid::parse(id).is_ok())
            .unwrap();
        let mut digits = id.into_bytes();
        prop_assume!(digits[at] != digits[at + 1]);
        digits.swap(at, at + 1);
        prop_assert!(Sctid::parse(std::str::from_utf8(&digits).unwrap()).is_err());
    }

    #[test]
    fn no_text_makes_parsing_panic(text in "\\PC*", digits in "[0-9]{0,20}") {
        let _ = Sctid::parse(&text);
        if let Ok(id) = Sctid::parse(&digits) {
            prop_assert_eq!(id.value().to_string(), digits);
        }
    }
}

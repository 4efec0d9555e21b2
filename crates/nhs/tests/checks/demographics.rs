use hearthline_nhs::{DateOfBirth, DateOfBirthError, PersonName, PersonNameError};
use jiff::civil::date;
use proptest::prelude::*;

fn name(family: &str, given: &str) -> PersonName {
    PersonName::parse(family, given).unwrap()
}

#[test]
fn a_date_of_birth_is_read_from_iso_and_from_the_forms_seen_in_hl7() {
    for (text, expected) in [
        ("1978-10-12", date(1978, 10, 12)),
        ("19781012", date(1978, 10, 12)),
        ("20000101000000", date(2000, 1, 1)),
        ("196512131515", date(1965, 12, 13)),
        ("19760121+", date(1976, 1, 21)),
        ("19760121+^D", date(1976, 1, 21)),
        (" 19400229 ", date(1940, 2, 29)),
    ] {
        assert_eq!(DateOfBirth::parse(text).unwrap().date(), expected, "{text}");
    }
}

#[test]
fn what_is_wrong_with_a_date_of_birth_is_said() {
    for (text, error) in [
        ("", DateOfBirthError::Form),
        ("01/10/1948^53 Y", DateOfBirthError::Form),
        ("1948-1-1", DateOfBirthError::Form),
        ("1948-10", DateOfBirthError::Form),
        ("1948101", DateOfBirthError::Form),
        ("19481301", DateOfBirthError::NotACalendarDate),
        ("1941-02-29", DateOfBirthError::NotACalendarDate),
        ("19480100", DateOfBirthError::NotACalendarDate),
        ("17530101", DateOfBirthError::TooEarly),
        ("1889-12-31", DateOfBirthError::TooEarly),
    ] {
        assert_eq!(DateOfBirth::parse(text), Err(error), "{text}");
    }
}

#[test]
fn nobody_is_born_tomorrow() {
    let born = DateOfBirth::parse("2026-03-02").unwrap();
    assert!(born.clone().not_after(date(2026, 3, 2)).is_ok());
    assert_eq!(born.not_after(date(2026, 3, 1)), Err(DateOfBirthError::InTheFuture));
}

#[test]
fn age_is_counted_in_completed_years() {
    let born = DateOfBirth::parse("1940-02-29").unwrap();
    assert_eq!(born.age_on(date(2026, 2, 28)), 85);
    assert_eq!(born.age_on(date(2026, 3, 1)), 86);
    assert_eq!(born.age_on(date(2024, 2, 29)), 84);
    assert_eq!(born.age_on(date(1939, 1, 1)), 0);
    assert_eq!(born.to_iso(), "1940-02-29");
    assert_eq!(born.to_hl7(), "19400229");
}

#[test]
fn names_agree_across_case_accents_and_punctuation() {
    assert!(name("O'Neill-Smith", "Zoë").agrees_with(&name("ONEILL SMITH", "ZOE")));
    assert!(name("Łukaszewski", "Æthel").agrees_with(&name("LUKASZEWSKI", "Aethel")));
    assert!(name("Zoe\u{308}", "Ann").agrees_with(&name("ZOE", "ANN")));
    assert_eq!(name("Weiß", "Jörg").comparable().expose(), "WEISS JORG");
}

#[test]
fn names_disagree_when_a_part_differs_or_is_missing() {
    assert!(!name("Smith", "Ann").agrees_with(&name("Smith", "Anne")));
    assert!(!name("Ann", "Smith").agrees_with(&name("Smith", "Ann")));
    assert!(!name("Smith", "").agrees_with(&name("Smith", "")));
    assert!(!name("Unknown", "Male").agrees_with(&name("UNKNOWN", "MALE")));
    assert!(name("Unknown", "").is_unknown());
}

#[test]
fn what_is_wrong_with_a_name_is_said() {
    assert_eq!(PersonName::parse("", "Ann"), Err(PersonNameError::NoFamilyName));
    assert_eq!(PersonName::parse("--", "Ann"), Err(PersonNameError::NoFamilyName));
    assert_eq!(PersonName::parse("Smi\nth", ""), Err(PersonNameError::ControlCharacter));
    assert_eq!(PersonName::parse(&"a".repeat(101), ""), Err(PersonNameError::TooLong));
}

#[test]
fn debug_shows_neither_name_nor_date() {
    assert_eq!(format!("{:?}", name("Smith", "Ann")), "PersonName(redacted)");
    assert_eq!(format!("{:?}", DateOfBirth::parse("19481001").unwrap()), "DateOfBirth(redacted)");
}

proptest! {
    #[test]
    fn a_date_of_birth_survives_both_notations(year in 1890_i16..2100, month in 1_i8..=12, day in 1_i8..=28) {
        let born = DateOfBirth::from_date(date(year, month, day)).unwrap();
        prop_assert_eq!(DateOfBirth::parse(&born.to_iso()).unwrap(), born.clone());
        prop_assert_eq!(DateOfBirth::parse(&born.to_hl7()).unwrap(), born);
    }

    #[test]
    fn no_text_makes_parsing_panic(text in "\\PC*", digits in "[0-9]{8,14}") {
        let _ = DateOfBirth::parse(&text);
        let _ = DateOfBirth::parse(&digits);
        if let Ok(name) = PersonName::parse(&text, &text) {
            prop_assert_eq!(name.comparable(), name.clone().comparable());
        }
    }
}

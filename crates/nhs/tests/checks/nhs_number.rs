use hearthline_nhs::{NhsNumber, NhsNumberError, NhsNumberStatus};
use proptest::prelude::*;

#[test]
fn numbers_with_an_agreeing_check_digit_are_accepted() {
    for number in ["9434765919", "9990000018", "9990000050", "9449304130", "2478684691", "0875277810"] {
        assert_eq!(NhsNumber::parse(number).unwrap().as_str(), number);
    }
}

#[test]
fn a_wrong_check_digit_is_refused() {
    // the last stands as an example in a published guide and fails all the same
    for number in ["9434765918", "2278322867", "9219068409"] {
        assert_eq!(NhsNumber::parse(number), Err(NhsNumberError::CheckDigit));
    }
}

#[test]
fn a_number_whose_check_digit_would_be_ten_is_refused() {
    for last in 0..10 {
        assert!(NhsNumber::parse(&format!("999000000{last}")).is_err());
    }
    assert_eq!(NhsNumber::complete(999_000_000), Err(NhsNumberError::NoCheckDigit));
}

#[test]
fn one_digit_repeated_is_refused_although_modulus_11_agrees() {
    for digit in 0..10 {
        let number = digit.to_string().repeat(10);
        assert_eq!(NhsNumber::parse(&number), Err(NhsNumberError::RepeatedDigit));
    }
    assert_eq!(NhsNumber::complete(111_111_111), Err(NhsNumberError::RepeatedDigit));
}

#[test]
fn spaces_and_hyphens_are_ignored_and_nothing_else_is() {
    let number = NhsNumber::parse(" 943 476-5919 ").unwrap();
    assert_eq!(number.as_str(), "9434765919");
    assert_eq!(number.formatted(), "943 476 5919");
    for text in ["943.476.5919", "943476591९", "94347659I9"] {
        assert_eq!(NhsNumber::parse(text), Err(NhsNumberError::NotDigits));
    }
}

#[test]
fn the_number_of_digits_is_said_when_it_is_wrong() {
    assert_eq!(NhsNumber::parse("943476591"), Err(NhsNumberError::Length { digits: 9 }));
    assert_eq!(NhsNumber::parse("94347659190"), Err(NhsNumberError::Length { digits: 11 }));
    assert_eq!(NhsNumber::parse(""), Err(NhsNumberError::Length { digits: 0 }));
    assert_eq!(NhsNumber::complete(1_000_000_000), Err(NhsNumberError::Length { digits: 11 }));
}

#[test]
fn the_test_range_is_told_apart() {
    assert!(NhsNumber::parse("9990000018").unwrap().is_test_range());
    assert!(!NhsNumber::parse("9434765919").unwrap().is_test_range());
}

#[test]
fn debug_and_errors_do_not_show_the_digits() {
    assert_eq!(format!("{:?}", NhsNumber::parse("9434765919").unwrap()), "NhsNumber(redacted)");
    let error = NhsNumber::parse("9434765918").unwrap_err();
    assert!(!format!("{error} {error:?}").contains("9434765918"));
}

#[test]
fn only_status_01_is_verified() {
    for code in 1..=8 {
        let code = format!("{code:02}");
        let status = NhsNumberStatus::parse(&code).unwrap();
        assert_eq!(status.code(), code);
        assert_eq!(status.is_verified(), code == "01");
    }
    assert_eq!(NhsNumberStatus::parse("NSTS02"), Ok(NhsNumberStatus::PresentNotTraced));
    for text in ["", "1", "00", "09", "NSTS"] {
        assert!(NhsNumberStatus::parse(text).is_err());
    }
}

proptest! {
    #[test]
    fn a_completed_number_parses_to_itself(first_nine in 0_u32..1_000_000_000) {
        if let Ok(number) = NhsNumber::complete(first_nine) {
            prop_assert_eq!(NhsNumber::parse(number.as_str()).unwrap(), number.clone());
            prop_assert_eq!(NhsNumber::parse(&number.formatted()).unwrap(), number);
        }
    }

    #[test]
    fn any_one_wrong_digit_is_noticed(first_nine in 0_u32..1_000_000_000, at in 0_usize..10, by in 1_u8..10) {
        if let Ok(number) = NhsNumber::complete(first_nine) {
            let mut digits = number.as_str().as_bytes().to_vec();
            digits[at] = b'0' + (digits[at] - b'0' + by) % 10;
            prop_assert!(NhsNumber::parse(std::str::from_utf8(&digits).unwrap()).is_err());
        }
    }

    #[test]
    fn no_text_makes_parsing_panic(text in "\\PC*") {
        let _ = NhsNumber::parse(&text);
        let _ = NhsNumberStatus::parse(&text);
    }
}

use hearthline_nhs::{CqcLocationId, OdsCode, OdsCodeError};
use proptest::prelude::*;

#[test]
fn ods_codes_of_every_kind_are_accepted() {
    for code in ["RCB", "RCB55", "R0D02", "A83008", "Y06601", "FA565", "FCG71", "QRL", "NV701"] {
        assert_eq!(OdsCode::parse(code).unwrap().to_string(), code);
    }
    assert_eq!(OdsCode::parse(" a83008 ").unwrap().as_str(), "A83008");
}

#[test]
fn what_is_wrong_with_an_ods_code_is_said() {
    assert_eq!(OdsCode::parse("RC"), Err(OdsCodeError::Length { characters: 2 }));
    assert_eq!(OdsCode::parse("ABCDEFGHIJK"), Err(OdsCodeError::Length { characters: 11 }));
    assert_eq!(OdsCode::parse("RC-55"), Err(OdsCodeError::Characters));
    assert_eq!(OdsCode::parse("RÇB"), Err(OdsCodeError::Characters));
}

#[test]
fn cqc_location_ids_of_providers_and_trusts_are_accepted() {
    for id in ["1-545611283", "1-1000210669", "1-199747506", "1-123456", "RCB", "R0D02"] {
        assert_eq!(CqcLocationId::parse(id).unwrap().as_str(), id);
    }
}

#[test]
fn other_cqc_location_ids_are_refused() {
    for id in ["", "1-", "1-12345", "1-123456789012", "2-545611283", "1-54561128X", "R", "RX", "RABCDE", "A83008"] {
        assert!(CqcLocationId::parse(id).is_err(), "{id}");
    }
}

proptest! {
    #[test]
    fn an_ods_code_parses_to_itself(code in "[A-Z0-9]{3,10}") {
        let parsed = OdsCode::parse(&code).unwrap();
        prop_assert_eq!(parsed.as_str(), code);
    }

    #[test]
    fn no_text_makes_parsing_panic(text in "\\PC*") {
        let _ = OdsCode::parse(&text);
        let _ = CqcLocationId::parse(&text);
    }
}

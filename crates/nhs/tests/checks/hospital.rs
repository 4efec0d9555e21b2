use hearthline_nhs::{AdmissionMethod, ArrivalMode, DischargeDestination, NationalCodeError, SourceOfAdmission, is_emergency_admission};
use proptest::prelude::*;

#[test]
fn emergency_admissions_are_the_codes_beginning_with_two() {
    for code in ["21", "22", "23", "24", "25", "2A", "2b", "2C", "2D", "28"] {
        assert!(is_emergency_admission(code), "{code}");
    }
    for code in ["11", "12", "13", "31", "32", "81", "82", "83", "98", "99"] {
        assert!(!is_emergency_admission(code), "{code}");
        assert!(AdmissionMethod::parse(code).is_ok());
    }
}

#[test]
fn local_text_is_not_a_national_code() {
    for text in ["", "2", "2~I", "F", "Emerg Other", "211", "A2", "\"\""] {
        assert_eq!(AdmissionMethod::parse(text), Err(NationalCodeError), "{text}");
        assert!(!is_emergency_admission(text), "{text}");
    }
}

#[test]
fn care_homes_are_54_65_and_85_on_the_way_in_and_out() {
    for code in ["19", "29", "39", "49", "51", "52", "53", "54", "65", "66", "79", "85", "87", "88", "98", "99"] {
        let is_care_home = matches!(code, "54" | "65" | "85");
        assert_eq!(SourceOfAdmission::parse(code).unwrap().is_care_home(), is_care_home);
        let destination = DischargeDestination::parse(code).unwrap();
        assert_eq!(destination.is_care_home(), is_care_home);
        assert_eq!(destination.is_death(), code == "79");
        assert_eq!(destination.as_str(), code);
    }
}

#[test]
fn the_five_ambulance_codes_and_table_0430_are_arrivals_by_ambulance() {
    for code in ["1048031000000100", "1048041000000109", "1048021000000102", "1048051000000107", "1048081000000101", "A", "H", "A^Ambulance^HL70430"] {
        assert_eq!(ArrivalMode::from_pv2_38(code), ArrivalMode::Ambulance, "{code}");
    }
}

#[test]
fn other_known_ways_are_other() {
    for code in ["1048061000000105", "1048071000000103", "1047991000000102", "1048001000000106", "C", "F", "O", "P"] {
        assert_eq!(ArrivalMode::from_pv2_38(code), ArrivalMode::Other, "{code}");
    }
}

#[test]
fn an_arrival_nobody_can_read_is_unknown_and_never_other() {
    for code in ["", "\"\"", "U", "ambulance", "1048031000000101", "^A"] {
        assert_eq!(ArrivalMode::from_pv2_38(code), ArrivalMode::Unknown, "{code}");
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC*") {
        let _ = ArrivalMode::from_pv2_38(&text);
        let _ = AdmissionMethod::parse(&text).map(|code| code.as_str().len());
    }
}

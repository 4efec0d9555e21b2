use super::*;

const ACCEPT: Acknowledgement<'_> =
    Acknowledgement { code: AckCode::ApplicationAccept, control_id: "R1", sent_at: "20250110120001+0000", text: None, error: None };

fn reply_to(text: &str, reply: &Acknowledgement<'_>) -> String {
    let message = Message::parse(text.as_bytes()).expect("readable");
    String::from_utf8(acknowledge(&message, reply)).expect("ascii")
}

fn missing_id(code: AckCode) -> Acknowledgement<'static> {
    Acknowledgement {
        code,
        text: Some("{\"issue\":\"a|b\"}"),
        error: Some(ErrorDetail { code: ErrorCode::RequiredFieldMissing, location: Some(ErrorLocation { segment: "PID", sequence: 1, field: Some(3) }) }),
        ..ACCEPT
    }
}

#[test]
fn an_accept_swaps_the_parties_and_copies_processing_id_and_version() {
    assert_eq!(
        reply_to("MSH|^~\\&|PAS|RHM^x|HUB|QRL|2025||ADT^A01^ADT_A01|M 1|T|2.4^GBR|||AL|NE", &ACCEPT),
        "MSH|^~\\&|HUB|QRL|PAS|RHM^x|20250110120001+0000||ACK^A01^ACK|R1|T|2.4^GBR\rMSA|AA|M 1\r"
    );
}

#[test]
fn a_reply_claims_no_character_set_that_it_is_not_in() {
    for (charset, copied) in [("UNICODE UTF-8", "UNICODE UTF-8"), ("8859/1", "8859/1"), ("UNICODE UTF-16", ""), ("UNICODE UTF-32", "")] {
        let reply = reply_to(&format!("MSH|^~\\&|A|B|C|D|2025||ADT^A01|7|P|2.4||||||{charset}"), &ACCEPT);
        let header = reply.split('\r').next().expect("a header");
        assert_eq!(header.split('|').nth(17).unwrap_or_default(), copied, "{reply}");
    }
}

#[test]
fn the_reply_speaks_the_delimiters_of_the_message() {
    assert_eq!(
        reply_to("MSH^~|\\&^SENDING^200M^RECEIVING^200^2012^^ADT~A24^20^T^2.4", &ACCEPT),
        "MSH^~|\\&^RECEIVING^200^SENDING^200M^20250110120001+0000^^ACK~A24~ACK^R1^T^2.4\rMSA^AA^20\r"
    );
}

#[test]
fn before_2_5_the_error_stands_in_err_1() {
    let text = "MSH|^~\\&|A|B|C|D|2025||ADT^A01|7|P|2.4";
    let written = reply_to(text, &missing_id(AckMode::Original.error()));
    let tail = written.split_once('\r').map(|(_, tail)| tail);
    assert_eq!(tail, Some("MSA|AE|7|{\"issue\":\"a\\F\\b\"}\rERR|PID^1^3^101&Required field missing&HL70357\r"));
}

#[test]
fn from_2_5_the_error_has_its_own_fields() {
    let text = "MSH|^~\\&|A|B|C|D|2025||ADT^A01|7|P|2.5.1";
    let written = reply_to(text, &missing_id(AckMode::Enhanced.reject()));
    assert!(written.contains("MSA|CR|7|"));
    assert!(written.ends_with("ERR||PID^1^3|101^Required field missing^HL70357|E||||{\"issue\":\"a\\F\\b\"}\r"), "{written}");
}

#[test]
fn an_unreadable_header_is_rejected_without_naming_anyone() {
    let reply = Acknowledgement { code: AckCode::ApplicationReject, text: Some("unreadable"), ..ACCEPT };
    assert_eq!(String::from_utf8(reject_unreadable(&reply)).expect("ascii"), "MSH|^~\\&|||||20250110120001+0000||ACK|R1|P|2.4\rMSA|AR||unreadable\r");
}

#[test]
fn an_event_without_a_trigger_is_answered_with_a_bare_ack() {
    let written = reply_to("MSH|^~\\&|A|B|C|D|2025||ACK^|7|P|2.1", &ACCEPT);
    assert!(written.contains("|ACK|R1|P|2.1\r"), "{written}");
}

#[test]
fn the_reply_has_as_many_type_components_as_the_version_knows() {
    for (version, expected) in [
        ("2.1", "|ACK|"),
        ("2.2", "|ACK|"),
        ("2.3", "|ACK^A01|"),
        ("2.3.1", "|ACK^A01^ACK|"),
        ("2.3.1^AUS&&ISO^AS4700.2&&L", "|ACK^A01^ACK|"),
        ("2.8", "|ACK^A01^ACK|"),
        ("", "|ACK^A01^ACK|"),
        ("x", "|ACK^A01^ACK|"),
    ] {
        let written = reply_to(&format!("MSH|^~\\&|A|B|C|D|2025||ADT^A01|7|P|{version}"), &ACCEPT);
        assert!(written.contains(expected), "{version}: {written}");
    }
}

#[test]
fn the_character_set_is_copied() {
    let written = reply_to("MSH|^~\\&|A|B|C|D|2025||ADT^A01|7|P|2.4||||||8859/1", &ACCEPT);
    assert!(written.contains("|P|2.4||||||8859/1\rMSA|AA|7\r"), "{written}");
}

#[test]
fn a_verdict_is_said_in_the_family_of_codes_agreed() {
    use AckCode::{ApplicationAccept, ApplicationReject, CommitAccept, CommitError, CommitReject};
    assert_eq!(ApplicationReject.in_mode(AckMode::Enhanced), CommitReject);
    assert_eq!(CommitAccept.in_mode(AckMode::Original), ApplicationAccept);
    assert_eq!(CommitError.in_mode(AckMode::Enhanced), CommitError);
}

#[test]
fn what_we_write_as_an_error_reads_back() {
    for version in ["2.3", "2.4", "2.5", "2.8"] {
        let written = reply_to(&format!("MSH|^~\\&|A|B|C|D|2025||ADT^A01|7|P|{version}"), &missing_id(AckCode::ApplicationError));
        let reply = Reply::of(&Message::parse(written.as_bytes()).expect("readable")).expect("reply");
        assert_eq!(reply.error_code.as_deref(), Some("101"), "{version}");
        assert_eq!(reply.text.as_deref(), Some("{\"issue\":\"a|b\"}"));
        assert_eq!(reply.errors[0].location.as_deref(), Some("PID^1^3"));
    }
}

#[test]
fn every_error_of_a_reply_is_read() {
    let read = |text: &str| Reply::of(&Message::parse(text.as_bytes()).expect("readable")).expect("reply").errors;
    let old = read("MSH|^~\\&|||||2025||ACK|1|P|2.4\rMSA|AE|7\rERR|PID^1^3^101&Missing~PV1^1^^103\r");
    assert_eq!(old.len(), 2);
    assert_eq!((old[0].text.as_deref(), old[1].code.as_deref(), old[1].location.as_deref()), (Some("Missing"), Some("103"), Some("PV1^1")));
    let new = read("MSH|^~\\&|||||2025||ACK|1|P|2.5\rMSA|AE|7\rERR||PID^1^3|101^Missing|E||||no id\rERR|||207|F\r");
    assert_eq!(new.len(), 2);
    assert_eq!((new[0].severity.as_deref(), new[0].text.as_deref()), (Some("E"), Some("no id")));
    assert_eq!((new[1].code.as_deref(), new[1].location.as_deref()), (Some("207"), None));
    assert!(read("MSH|^~\\&|||||2025||ACK|1|P|2.4\rMSA|AA|7\rERR|\r").is_empty());
}

#[test]
fn replies_of_others_are_read_in_both_styles() {
    let read = |text: &str| Reply::of(&Message::parse(text.as_bytes()).expect("readable"));
    let old = read("MSH|^~\\&|||||2025||ACK|1|P|2.4\rMSA|AE|7|bad \\T\\ wrong\rERR|PID^1^3^101&x").expect("reply");
    assert_eq!((old.code, old.control_id.as_str()), (AckCode::ApplicationError, "7"));
    assert_eq!((old.text.as_deref(), old.error_code.as_deref()), (Some("bad & wrong"), Some("101")));
    let new = read("MSH|^~\\&|||||2025||ACK|1|P|2.5\rMSA|CA|7\rERR||PID^1|207^x").expect("reply");
    assert!(new.code.is_accept());
    assert_eq!(new.error_code.as_deref(), Some("207"));
    assert_eq!(read("MSH|^~\\&|||||2025||ACK|1|P|2.4\rMSA|XX|7"), None);
}

#[test]
fn what_the_sender_asks_for_can_be_read() {
    let asked = |tail: &str| {
        let text = format!("MSH|^~\\&|A|B|C|D|2025||ADT^A01|7|P|2.4{tail}");
        requested_acknowledgements(&Message::parse(text.as_bytes()).expect("readable"))
    };
    assert_eq!(asked("|||AL|NE"), (Condition::Always, Condition::Never));
    assert_eq!(asked(""), (Condition::Unstated, Condition::Unstated));
}

#[test]
fn non_ascii_parties_are_escaped() {
    let written = reply_to("MSH|^~\\&|Zoë|B|C|D|2025||ADT^A01|7|P|2.4", &ACCEPT);
    assert!(written.is_ascii() && written.contains("Zo\\XC3AB\\"), "{written}");
}

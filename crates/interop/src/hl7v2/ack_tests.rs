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

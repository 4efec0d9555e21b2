use super::*;
use hearthline_nhs::{CallId, DeliveryId, HomeId, ResidentId, StreamId, TaskId};

fn source(n: u8, version: u64) -> Source {
    Source { stream: StreamId::from_bytes([n; 16]), version }
}

fn subject(n: u8, is_provisional: bool) -> Subject {
    Subject { resident: ResidentId::from_bytes([n; 16]), is_provisional }
}

/// A closed call whose consultation (stream 4, version 3) and prescription (stream 5, version 5) are here.
fn complete() -> Facts {
    Facts {
        call: CallId::from_bytes([1; 16]),
        home: HomeId::from_bytes([2; 16]),
        subject: subject(3, false),
        former_subject: None,
        is_closed: true,
        is_voided: false,
        is_consent_refused: false,
        named_consultation: Some(source(4, 3)),
        named_prescriptions: vec![source(5, 5)],
        consultation: Some(source(4, 3)),
        content_version: 3,
        is_outcome_withdrawn: false,
        has_outcome: true,
        prescriptions: vec![source(5, 5)],
        accepted: vec![source(5, 5)],
        has_secure_email: true,
    }
}

fn composed(facts: &Facts, version: u32) -> Event {
    Event::Composed(Composed {
        call: facts.call,
        call_version: 1,
        subject: facts.subject,
        home: facts.home,
        document: [version as u8; 16],
        version,
        consultation: facts.consultation.expect("here"),
        prescriptions: facts.accepted.clone(),
        digest: [0; 32],
        blob: [0; 16],
    })
}

/// What a look comes to, in a word.
fn word(given: impl IntoIterator<Item = Event>, facts: &Facts) -> String {
    match review(&Share::fold(given), facts) {
        Decision::Nothing => "nothing".to_owned(),
        Decision::Wait => "wait".to_owned(),
        Decision::Withhold { why, retracts } => format!("withhold {why:?}{}", if retracts.is_some() { ", retract" } else { "" }),
        Decision::Compose(c) => format!("compose {} {:?}{}", c.version, c.email, c.retracts.map(|why| format!(", retract {why:?}")).unwrap_or_default()),
    }
}

#[test]
fn a_call_is_composed_when_what_its_closing_names_is_here() {
    let facts = complete();
    let behind = source(4, 2);
    for (facts, expected) in [
        (facts.clone(), "compose 1 Send"),
        (Facts { has_secure_email: false, ..facts.clone() }, "compose 1 NoAddress"),
        (Facts { is_closed: false, ..facts.clone() }, "nothing"),
        (Facts { consultation: Some(behind), ..facts.clone() }, "wait"),
        (Facts { consultation: None, has_outcome: false, ..facts.clone() }, "wait"),
        (Facts { prescriptions: vec![source(5, 4)], accepted: vec![], ..facts.clone() }, "wait"),
        (Facts { prescriptions: vec![], accepted: vec![], ..facts.clone() }, "wait"),
        (Facts { named_consultation: None, named_prescriptions: vec![], consultation: None, has_outcome: false, ..facts.clone() }, "wait"),
        (Facts { named_consultation: None, named_prescriptions: vec![], ..facts.clone() }, "compose 1 Send"),
        (Facts { is_voided: true, ..facts.clone() }, "withhold CallVoided"),
        (Facts { is_voided: true, is_closed: false, ..facts.clone() }, "nothing"),
        (Facts { is_consent_refused: true, ..facts.clone() }, "withhold ConsentRefused"),
        (Facts { is_consent_refused: true, is_closed: false, ..facts.clone() }, "nothing"),
    ] {
        assert_eq!(word([], &facts), expected, "{facts:?}");
    }
}

#[test]
fn a_share_that_stands_changes_only_with_its_content_its_person_or_a_word_of_the_call() {
    let facts = complete();
    let given = || [composed(&facts, 1)];
    let seen = Facts { former_subject: Some(facts.subject.resident), ..facts.clone() };
    for (facts, expected) in [
        (seen.clone(), "nothing"),
        // A claim moved the consultation on, its content did not change.
        (Facts { consultation: Some(source(4, 9)), ..seen.clone() }, "nothing"),
        (Facts { consultation: Some(source(4, 4)), content_version: 4, ..seen.clone() }, "compose 2 Send"),
        (Facts { accepted: vec![source(5, 5), source(6, 5)], ..seen.clone() }, "compose 2 Send"),
        (Facts { subject: subject(8, false), former_subject: Some(ResidentId::from_bytes([8; 16])), ..seen.clone() }, "compose 2 NotAgain"),
        (Facts { subject: subject(8, false), ..seen.clone() }, "compose 2 Send, retract WrongPerson"),
        (Facts { is_consent_refused: true, ..seen.clone() }, "withhold ConsentRefused, retract"),
        (Facts { is_voided: true, ..seen.clone() }, "withhold CallVoided, retract"),
        (Facts { is_outcome_withdrawn: true, has_outcome: false, ..seen.clone() }, "withhold ClinicianDecision, retract"),
    ] {
        assert_eq!(word(given(), &facts), expected, "{facts:?}");
    }
    let withheld = Event::Withheld { call: facts.call, why: Withholding::ConsentRefused };
    let retracted = Event::Retracted { document: [1; 16], version: 1, why: Retraction::ConsentRefused, subject: facts.subject };
    let refused = Facts { is_consent_refused: true, ..seen.clone() };
    assert_eq!(word([composed(&facts, 1), withheld.clone(), retracted.clone()], &refused), "nothing");
    assert_eq!(word([composed(&facts, 1), withheld, retracted], &seen), "compose 2 Send");
}

#[test]
fn what_is_missing_a_minute_after_the_closing_is_a_task_unless_it_was_to_follow() {
    let task = TaskId::from_bytes([7; 16]);
    let missing = Facts { prescriptions: vec![], accepted: vec![], ..complete() };
    assert_eq!(sources_too_late(&Share::default(), &missing, task, 0).len(), 1);
    let open = Share::fold(sources_too_late(&Share::default(), &missing, task, 0));
    assert!(sources_too_late(&open, &missing, task, 0).is_empty());
    assert!(sources_too_late(&Share::default(), &complete(), task, 0).is_empty());
    let follows = Facts { named_consultation: None, named_prescriptions: vec![], consultation: None, has_outcome: false, ..complete() };
    assert!(sources_too_late(&Share::default(), &follows, task, 0).is_empty());
}

#[test]
fn a_resident_who_stays_provisional_is_a_task() {
    let task = TaskId::from_bytes([7; 16]);
    let provisional = Facts { subject: subject(3, true), ..complete() };
    let share = Share::fold([composed(&provisional, 1)]);
    assert_eq!(provisional_too_long(&share, &provisional, task, 0).len(), 1);
    assert!(provisional_too_long(&share, &complete(), task, 0).is_empty());
    assert!(provisional_too_long(&Share::default(), &provisional, task, 0).is_empty());
}

#[test]
fn the_end_of_a_delivery_closes_its_own_tasks_only() {
    let (delivery, other) = (DeliveryId::from_bytes([5; 16]), [6; 16]);
    let parcel = Parcel { call: CallId::from_bytes([1; 16]), document: [3; 16], version: 1, home: HomeId::from_bytes([2; 16]), blob: [4; 16] };
    let opened =
        |id: u8, subject: [u8; 16]| Event::TaskOpened(Task { id: TaskId::from_bytes([id; 16]), kind: task::EMAIL_UNCONFIRMED.to_owned(), due_at: 0, subject });
    let share = Share::fold([composed(&complete(), 1), opened(1, *delivery.bytes()), opened(2, other)]);
    let errand = Errand { kind: Kind::CarePlanEmail, delivery, parcel, destination: "mail" };
    let end = |state: Deliverable| delivered(&share, errand, state, TaskId::from_bytes([9; 16]), 0);
    let arrived = end(Deliverable::Delivered { reference: String::new(), how: Confirmation::Person });
    assert!(matches!(&arrived[..], [Event::Emailed { .. }, Event::TaskClosed { overtaken: false, .. }]), "{arrived:?}");
    let failed = end(Deliverable::Failed { code: "smtp_554".to_owned() });
    assert!(matches!(&failed[..], [Event::EmailFailed { .. }, Event::TaskClosed { .. }, Event::TaskOpened(_)]), "{failed:?}");
    assert!(end(Deliverable::Unconfirmed).is_empty());
    assert_eq!(end(Deliverable::Again).len(), 1);
}

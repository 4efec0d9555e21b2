use super::*;
use hearthline_nhs::{CallId, Coordinates, DeliveryId, OdsCode, OpeningHours, Personal, PharmacyId, PrescriptionOrderNumber, ResidentId, Sctid, TaskId};

const AT: i64 = 1_772_330_400_000_000;

fn place(latitude: i32) -> Option<Coordinates> {
    Coordinates::from_micro_degrees(latitude, -1_400_000).ok()
}

fn pharmacy(n: u8, latitude: Option<i32>, opening: OpeningHours) -> Pharmacy {
    Pharmacy {
        id: PharmacyId::from_bytes([n; 16]),
        ods: OdsCode::parse(&format!("FA00{n}")).expect("valid"),
        name: String::new(),
        postcode: String::new(),
        place: latitude.and_then(place),
        opening,
        listed_from: None,
    }
}

fn drafted() -> Event {
    let call = CallSeen { id: CallId::from_bytes([1; 16]), version: 3, resident: ResidentId::from_bytes([2; 16]), is_provisional: false, is_voided: false };
    let item = Item {
        id: [3; 16],
        medicine: Sctid::parse("39732311000001104").expect("valid"),
        quantity: Quantity::parse("21").expect("valid"),
        unit: Sctid::parse("428673006").expect("valid"),
        display: Personal::of("m".to_owned()),
        dosage: Personal::of("d".to_owned()),
    };
    draft(&call, PrescriberType::Medical, vec![item], String::new()).expect("a call that stands")
}

fn chosen() -> Event {
    Event::PharmacyChosen {
        pharmacy: PharmacyId::from_bytes([1; 16]),
        ods: OdsCode::parse("FA001").expect("valid"),
        distance_m: None,
        nearest_open: false,
        override_reason: None,
    }
}

fn sent() -> [Event; 2] {
    let signed = Signed {
        order_number: PrescriptionOrderNumber::parse("24F5DA-A83008-7EFE6Z").expect("valid"),
        long_form_id: [4; 16],
        bundle_digest: [5; 32],
        signed_at: AT,
    };
    [Event::Signed(signed), Event::Submitted(Submitted { delivery: DeliveryId::from_bytes([6; 16]), bundle_digest: [5; 32], attempt: 1 })]
}

fn given(events: impl IntoIterator<Item = Event>) -> Prescription {
    Prescription::fold(std::iter::once(drafted()).chain(events)).expect("a draft comes first")
}

#[test]
fn a_voided_call_is_prescribed_for_no_more() {
    let call = CallSeen { id: CallId::from_bytes([1; 16]), version: 3, resident: ResidentId::from_bytes([2; 16]), is_provisional: false, is_voided: true };
    assert_eq!(draft(&call, PrescriberType::Medical, Vec::new(), String::new()), Err(Rejection::CallVoided));
}

#[test]
fn the_choice_of_a_pharmacy_is_judged_by_opening_and_distance() {
    let listed = [
        pharmacy(1, Some(50_910_000), OpeningHours::always()),
        pharmacy(2, Some(50_990_000), OpeningHours::always()),
        pharmacy(3, Some(50_901_000), OpeningHours::closed()),
        pharmacy(4, None, OpeningHours::always()),
    ];
    let check = |n: u8, home: Option<Coordinates>, reason: Option<Override>| {
        let choice = PharmacyChoice { pharmacy: PharmacyId::from_bytes([n; 16]), override_reason: reason, at: AT };
        choose_pharmacy(&given([]), &listed, home, choice).map(|e| match e {
            Event::PharmacyChosen { nearest_open, override_reason, distance_m, .. } => (nearest_open, override_reason, distance_m.is_some()),
            other => panic!("{other:?}"),
        })
    };
    let home = place(50_900_000);
    assert_eq!(check(1, home, None), Ok((true, None, true)));
    assert_eq!(check(1, home, Some(Override::Stock)), Ok((true, None, true)));
    assert_eq!(check(2, home, None), Err(Rejection::OverrideReasonNeeded));
    assert_eq!(check(2, home, Some(Override::Stock)), Ok((false, Some(Override::Stock), true)));
    assert_eq!(check(3, home, Some(Override::Stock)), Err(Rejection::PharmacyClosed));
    assert_eq!(check(4, home, None), Err(Rejection::OverrideReasonNeeded));
    assert_eq!(check(9, home, None), Err(Rejection::PharmacyUnknown));
    // Where the home's place is not known, none is the nearest.
    assert_eq!(check(2, None, None), Ok((false, None, false)));
}

#[test]
fn a_pharmacy_that_is_listed_later_is_not_open_yet() {
    let later = Pharmacy { listed_from: "2026-03-02".parse().ok(), ..pharmacy(1, None, OpeningHours::always()) };
    assert!(!later.is_open(AT));
}

#[test]
fn signing_asks_who_the_resident_is_and_when_it_is() {
    let well = Standing { is_registered: true, is_merge_pending: false, has_died: false };
    for (events, standing, retrospective, live, expected) in [
        (vec![], well, false, false, Err(Rejection::PharmacyNotChosen)),
        (vec![chosen()], well, false, true, Ok(())),
        (vec![chosen()], well, true, false, Ok(())),
        (vec![chosen()], well, true, true, Err(Rejection::SigningCannotBeRetrospective)),
        (vec![chosen()], Standing { is_registered: false, ..well }, false, false, Err(Rejection::ResidentProvisional)),
        (vec![chosen()], Standing { is_merge_pending: true, ..well }, false, false, Err(Rejection::MergePending)),
        (vec![chosen()], Standing { has_died: true, ..well }, false, false, Err(Rejection::ResidentDied)),
        ([chosen()].into_iter().chain(sent()).collect(), well, false, false, Err(Rejection::NotADraft)),
    ] {
        assert_eq!(may_sign(&given(events), standing, retrospective, live), expected);
    }
}

#[test]
fn an_answer_settles_an_order_once_and_closes_what_waited_for_it() {
    let (delivery, task) = (DeliveryId::from_bytes([6; 16]), TaskId::from_bytes([7; 16]));
    let submitted = given([chosen()].into_iter().chain(sent()));
    let unconfirmed = answered(&submitted, delivery, Answer::None, task, AT);
    assert!(matches!(&unconfirmed[..], [Event::TaskOpened(t)] if t.kind == task::UNCONFIRMED));
    let waiting = given([chosen()].into_iter().chain(sent()).chain(unconfirmed.clone()));
    assert!(answered(&waiting, delivery, Answer::None, task, AT).is_empty());
    let taken = answered(&waiting, delivery, Answer::AlreadyHeld, task, AT);
    assert!(matches!(&taken[..], [Event::Accepted { how: Answer::AlreadyHeld, .. }, Event::TaskClosed { overtaken: true, .. }]));
    let accepted = given([chosen()].into_iter().chain(sent()).chain(unconfirmed).chain(taken));
    assert_eq!((accepted.status, accepted.open_tasks.len()), (Status::Accepted, 0));
    assert!(answered(&accepted, delivery, Answer::Refused { code: "X".to_owned() }, task, AT).is_empty());
    let refused = answered(&submitted, delivery, Answer::Refused { code: "X".to_owned() }, task, AT);
    assert!(matches!(&refused[..], [Event::Rejected { .. }, Event::TaskOpened(_)]));
}

#[test]
fn quantities_are_positive_decimals() {
    for (text, good) in [("21", true), ("2.5", true), ("0", false), ("0.0", false), ("-1", false), ("1e3", false), (".5", false), ("12345678901", false)] {
        assert_eq!(Quantity::parse(text).is_ok(), good, "{text}");
    }
}

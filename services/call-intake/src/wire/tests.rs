//! Every fact that is written reads back, with its personal part opened, withheld and destroyed.

use super::*;
use crate::domain::words::*;
use hearthline_contracts::envelope::{Envelope, Sealed};
use hearthline_contracts::{topics, wire};
use hearthline_nhs::{CallId, Consciousness, HomeId, InspiredGas, Observations, Readings, Sensitive, SpO2Scale, StreamId, TaskId};

const ID: [u8; 16] = [9; 16];

fn resident() -> ResidentRef {
    ResidentRef { id: ResidentId::from_bytes([2; 16]), status: IdentityStatus::Provisional }
}

fn said() -> Demographics {
    Demographics {
        family_name: "Zyxwv".to_owned(),
        given_names: vec!["Ada".to_owned(), "May".to_owned()],
        date_of_birth: Some(DateOfBirth::parse("1938-02-11").expect("valid")),
        nhs_number: Some(NhsNumber::parse("9434765919").expect("valid")),
    }
}

fn observed() -> Box<Observed> {
    let observations = Observations::parse(Readings {
        respiratory_rate: Some(22),
        oxygen_saturation: Some(89),
        scale: SpO2Scale::Two,
        inspired_gas: Some(InspiredGas::Oxygen),
        pulse: Some(104),
        consciousness: Some(Consciousness::NewConfusion),
        temperature: Some(38.4),
        ..Readings::default()
    })
    .expect("possible");
    Box::new(Observed {
        observations,
        score: Score::of(&observations),
        tool: ObservationTool::Restore2,
        supplied_total: Some(7),
        supplied_total_wrong: true,
        usual_news2: Some(2),
    })
}

fn version(n: u8) -> StreamVersion {
    StreamVersion { stream: StreamId::from_bytes([n; 16]), version: u64::from(n) }
}

fn note() -> Option<Personal<String>> {
    Some(Personal::of("she said so".to_owned()))
}

fn every_event() -> Vec<CallEvent> {
    let closed = |outcome| CallEvent::Closed(Closed { outcome, prescriptions: vec![version(5)], corrected_reason: Some(CallReason::Pain) });
    vec![
        CallEvent::Opened(Opened {
            home: HomeId::from_bytes([7; 16]),
            channel: Channel::Video,
            reason: CallReason::Fall,
            secondary_reasons: vec![CallReason::Pain, CallReason::Other],
            resident: resident(),
            restore2_used: true,
            said: Some(Personal::of(OpeningWords { reason_text: "fell by the bed".to_owned(), caller_name: "Carer".to_owned(), resident: Some(said()) })),
        }),
        CallEvent::Answered,
        CallEvent::ObservationsRecorded(observed()),
        CallEvent::Triaged(Triaged {
            urgency: Urgency::Soon,
            reason: CallReason::Trauma,
            secondary_reasons: vec![CallReason::Fall],
            referral_source: ReferralSource::Nhs111,
            retriage: Some(RetriageReason::Correction),
            note: note(),
        }),
        CallEvent::ClinicianJoined(Joined { role: ClinicianRole::Paramedic, grade: ClinicianGrade::Band6, after_escalation: true }),
        CallEvent::CounterfactualRecorded(Counterfactual {
            alternative: Alternative::Emergency999,
            escort_expected: true,
            escort_minutes: Some(240),
            text: note(),
        }),
        CallEvent::ConsentRecorded(Consent { basis: ConsentBasis::Refused, note: note() }),
        CallEvent::ResidentIdentified(Identified {
            resident: resident(),
            closed_provisional: Some(ResidentId::from_bytes([3; 16])),
            replaced: None,
            said: Some(Personal::of(said())),
        }),
        closed(Outcome::Consultation(version(4))),
        closed(Outcome::ToFollow(OutcomeToFollow::AwaitingResult)),
        CallEvent::AttemptedOutsideHours { home: HomeId::from_bytes([7; 16]), channel: Channel::Web, reason: CallReason::Medicines },
        CallEvent::Abandoned { waited_seconds: 75 },
        CallEvent::Voided(Voided { reason: VoidReason::Duplicate, duplicate_of: Some(CallId::from_bytes([8; 16])), note: note() }),
        CallEvent::TaskOpened(Task { id: TaskId::from_bytes([6; 16]), kind: TaskKind::OutcomeMissing, due_at: 77 }),
        CallEvent::TaskClosed { task: TaskId::from_bytes([6; 16]), kind: TaskKind::OutcomeMissing, closure: Closure::Done },
        CallEvent::PersonalDataDestroyed,
    ]
}

/// The fact as recorded, with its personal part as plain bytes beside it.
fn record(event: CallEvent) -> (Fact, Option<Vec<u8>>) {
    let new = outward(event, &Occurred::at(1));
    let personal = new.personal.map(|bytes| bytes.to_vec());
    let envelope = Envelope { event_id: ID.to_vec().into(), stream_id: ID.to_vec().into(), stream_version: 1, ..Envelope::default() };
    let sealed = personal.as_ref().map(|_| Sealed {
        key_id: ID.to_vec().into(),
        nonce: vec![0; wire::NONCE_LENGTH].into(),
        ciphertext: vec![0; wire::TAG_LENGTH].into(),
    });
    let payload = wire::compose(&envelope, sealed.as_ref(), &new.fact);
    (Fact { topic: topics::CALL.name, envelope, sealed, payload }, personal)
}

#[test]
fn every_fact_reads_back() {
    for event in every_event() {
        let (fact, personal) = record(event.clone());
        let opened = personal.map(|bytes| Personal::Known(Sensitive::new(bytes)));
        assert_eq!(inward(&fact, opened.as_ref()), Ok(event));
    }
}

#[test]
fn a_personal_part_that_is_not_opened_is_withheld_and_one_without_key_is_destroyed() {
    for event in every_event() {
        let (fact, personal) = record(event);
        if personal.is_none() {
            continue;
        }
        let shown = format!("{:?}", inward(&fact, None).expect("reads"));
        assert!(shown.contains("Withheld"), "{shown}");
        let shown = format!("{:?}", inward(&fact, Some(&Personal::Destroyed)).expect("reads"));
        assert!(shown.contains("Destroyed"), "{shown}");
    }
}

#[test]
fn nothing_personal_is_in_the_clear_part() {
    for event in every_event() {
        let fact = outward(event, &Occurred::at(1)).fact;
        for word in ["Zyxwv", "Ada", "9434765919", "1938", "fell by", "Carer", "she said"] {
            assert!(!fact.windows(word.len()).any(|w| w == word.as_bytes()), "{word} in clear");
        }
    }
}

#[test]
fn a_code_that_is_not_known_is_unreadable_and_not_guessed() {
    let (mut fact, _) = record(CallEvent::ConsentRecorded(Consent { basis: ConsentBasis::Given, note: None }));
    let strange = fact_bytes::<pb::CallEvent>(pb::ConsentRecorded { basis: 99 });
    fact.payload = wire::compose(&fact.envelope, None, &strange);
    assert_eq!(inward(&fact, None), Err(Unreadable("ConsentBasis")));
}

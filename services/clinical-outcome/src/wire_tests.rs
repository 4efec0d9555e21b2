//! Every fact that is written reads back, with its personal part opened and withheld.

use super::*;
use hearthline_contracts::envelope::{Envelope, Sealed};
use hearthline_contracts::{topics, wire};
use hearthline_nhs::{CallId, ClaimId, ResidentId, Sensitive};
use jiff::civil::date;

const ID: [u8; 16] = [9; 16];

fn every_event() -> Vec<OutcomeEvent> {
    let call = CallId::from_bytes([1; 16]);
    let claim = ClaimId::from_bytes([2; 16]);
    let resident = ResidentRef { id: ResidentId::from_bytes([3; 16]), status: IdentityStatus::Provisional };
    let text = || Some(Personal::of("Zyxwv is breathless".to_owned()));
    vec![
        OutcomeEvent::Decided(Decided { call, call_version: 6, resident, disposition: Disposition::Referred, summary: text() }),
        OutcomeEvent::Amended(Amended {
            call,
            call_version: 7,
            resident,
            disposition: Disposition::EdByAmbulance,
            reason: AmendmentReason::NewInformation,
            withdrawn: true,
            summary: text(),
        }),
        OutcomeEvent::AvoidanceClaimed(Claimed {
            call,
            claim,
            kind: AvoidanceKind::Admission,
            would_have_happened: Alternative::Nhs111,
            resident,
            words: Some(Personal::of(ClaimWords { likely_admitting_problem: "Zyxwv".to_owned(), rationale: "well".to_owned() })),
        }),
        OutcomeEvent::AvoidanceWithdrawn { claim, kind: AvoidanceKind::Admission, reason: WithdrawalReason::Reviewed },
        OutcomeEvent::PlanAgreed(PlanAgreed {
            call,
            resident,
            plan_version: 2,
            review_on: Some(date(2026, 11, 25)),
            agreed_with_home: true,
            words: Some(Personal::of(PlanWords { plan: "Zyxwv to rest".to_owned(), gp_actions: "review".to_owned(), call_back_if: "worse".to_owned() })),
        }),
    ]
}

/// The fact as recorded, with its personal part as plain bytes beside it.
fn record(event: OutcomeEvent) -> (Fact, Option<Vec<u8>>) {
    let new = outward(event, &Occurred::at(1));
    assert!(!new.fact.windows(5).any(|w| w == b"Zyxwv"), "personal data in clear");
    let personal = new.personal.map(|bytes| bytes.to_vec());
    let envelope = Envelope { event_id: ID.to_vec().into(), stream_id: ID.to_vec().into(), stream_version: 1, ..Envelope::default() };
    let sealed = personal.as_ref().map(|_| Sealed {
        key_id: ID.to_vec().into(),
        nonce: vec![0; wire::NONCE_LENGTH].into(),
        ciphertext: vec![0; wire::TAG_LENGTH].into(),
    });
    let payload = wire::compose(&envelope, sealed.as_ref(), &new.fact);
    (Fact { topic: topics::OUTCOME.name, envelope, sealed, payload }, personal)
}

#[test]
fn every_fact_reads_back_and_keeps_what_nobody_opened() {
    for event in every_event() {
        let (fact, personal) = record(event.clone());
        let sealed = personal.is_some();
        let opened = personal.map(|bytes| Personal::Known(Sensitive::new(bytes)));
        assert_eq!(inward(&fact, opened.as_ref()), Ok(Some(event)));
        let unopened = format!("{:?}", inward(&fact, None).expect("reads"));
        assert_eq!(unopened.contains("Withheld"), sealed, "{unopened}");
    }
}

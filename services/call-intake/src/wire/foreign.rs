//! What a call needs of other contexts' facts.

use super::Unreadable;
use hearthline_contracts::directory::{DirectoryEvent, directory_event::Fact as Directory};
use hearthline_contracts::hospital::{HospitalEvent, hospital_event::Fact as Hospital};
use hearthline_contracts::outcome::{OutcomeEvent, outcome_event::Fact as Outcome};
use hearthline_contracts::prescribing::{PrescribingEvent, prescribing_event::Fact as Prescribing};
use hearthline_contracts::topics;
use hearthline_eventing::Fact;
use hearthline_nhs::{CallId, ResidentId};
use prost::Message;

/// A change to the reference rows of call intake. The stream and version are the fact's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    HomeRegistered,
    /// µs UTC.
    HomeLive {
        from: i64,
    },
    /// The first fact of a consultation.
    Consultation {
        call: CallId,
    },
    /// The first fact of a prescription.
    Prescription {
        call: CallId,
    },
    /// A later fact of a consultation or a prescription: its version, and what became of a prescription.
    MovedOn {
        state: Option<&'static str>,
    },
    /// µs UTC.
    VisitOpened {
        resident: Option<ResidentId>,
        admitted_at: i64,
    },
    VisitIdentified {
        resident: Option<ResidentId>,
    },
    VisitCancelled,
}

/// What a fact of another context changes here; `None`: nothing.
pub fn reference(fact: &Fact) -> Result<Option<Reference>, Unreadable> {
    match fact.topic {
        name if name == topics::DIRECTORY.name => directory(fact),
        name if name == topics::OUTCOME.name => outcome(fact),
        name if name == topics::PRESCRIBING.name => prescribing(fact),
        name if name == topics::HOSPITAL.name => hospital(fact),
        _ => Ok(None),
    }
}

fn directory(fact: &Fact) -> Result<Option<Reference>, Unreadable> {
    let event: DirectoryEvent = decode(fact, "a directory event")?;
    Ok(match event.fact {
        Some(Directory::HomeRegistered(_)) => Some(Reference::HomeRegistered),
        Some(Directory::HomeWentLive(e)) => Some(Reference::HomeLive { from: e.live_from_us }),
        _ => None,
    })
}

fn outcome(fact: &Fact) -> Result<Option<Reference>, Unreadable> {
    let event: OutcomeEvent = decode(fact, "an outcome event")?;
    Ok(Some(match event.fact {
        Some(Outcome::OutcomeDecided(e)) => Reference::Consultation { call: e.call_id.as_ref().try_into()? },
        _ => Reference::MovedOn { state: None },
    }))
}

fn prescribing(fact: &Fact) -> Result<Option<Reference>, Unreadable> {
    let event: PrescribingEvent = decode(fact, "a prescribing event")?;
    Ok(Some(match event.fact {
        Some(Prescribing::PrescriptionDrafted(e)) => Reference::Prescription { call: e.call_id.as_ref().try_into()? },
        Some(Prescribing::PrescriptionSigned(_)) => Reference::MovedOn { state: Some("signed") },
        Some(Prescribing::PrescriptionSubmitted(_)) => Reference::MovedOn { state: Some("submitted") },
        Some(Prescribing::PrescriptionAccepted(_)) => Reference::MovedOn { state: Some("accepted") },
        Some(Prescribing::PrescriptionRejected(_)) => Reference::MovedOn { state: Some("rejected") },
        _ => Reference::MovedOn { state: None },
    }))
}

fn hospital(fact: &Fact) -> Result<Option<Reference>, Unreadable> {
    let event: HospitalEvent = decode(fact, "a hospital event")?;
    let resident = |r: Option<hearthline_contracts::types::ResidentRef>| -> Result<Option<ResidentId>, Unreadable> {
        Ok(r.map(|r| r.resident_id.as_ref().try_into()).transpose()?)
    };
    Ok(match event.fact {
        Some(Hospital::VisitOpened(e)) => Some(Reference::VisitOpened { resident: resident(e.resident)?, admitted_at: e.admitted_at_us }),
        Some(Hospital::VisitIdentified(e)) => Some(Reference::VisitIdentified { resident: resident(e.resident)? }),
        Some(Hospital::VisitCancelled(_)) => Some(Reference::VisitCancelled),
        _ => None,
    })
}

fn decode<M: Message + Default>(fact: &Fact, what: &'static str) -> Result<M, Unreadable> {
    M::decode(fact.payload.clone()).map_err(|_| Unreadable(what))
}

//! Contracts to this service's words; the only file that names the contracts' facts. Fallible: an id of the wrong length
//! is refused, and what is refused is parked.
//!
//! A fact is decoded once. The carriers below name the facts alone, so that envelope (decoded by the kernel already) and
//! sealed part (never opened here) are skipped by their length, and so are tasks and destroyed keys, which no measure uses.

use crate::codes::{Alternative, Arrival, Channel, ClaimKind, Disposition, HomeType, Reason, VisitClass};
use crate::told::{
    CallFact, ClaimFact, ConsultationFact, GapFact, HomeFact, Of, PrescriptionFact, ResidentFact, ShareFact, Subject, Told, VisitFact, VisitOpening,
};
use hearthline_contracts::call::{self, call_event};
use hearthline_contracts::directory::{self, directory_event};
use hearthline_contracts::hospital::{self, hospital_event};
use hearthline_contracts::outcome::{self, outcome_event};
use hearthline_contracts::prescribing::prescribing_event;
use hearthline_contracts::shared_record::shared_record_event;
use hearthline_contracts::{topics, types};
use hearthline_eventing::Fact;
use hearthline_nhs::london_instant;
use jiff::ToSpan;
use jiff::civil::Date;
use prost::Message;

/// A fact that cannot be read as its context's contract says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} cannot be read")]
pub struct Unreadable(pub &'static str);

#[derive(Clone, PartialEq, prost::Message)]
struct CallCarrier {
    #[prost(oneof = "call_event::Fact", tags = "16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27")]
    fact: Option<call_event::Fact>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct OutcomeCarrier {
    #[prost(oneof = "outcome_event::Fact", tags = "16, 17, 18, 19, 20")]
    fact: Option<outcome_event::Fact>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PrescribingCarrier {
    #[prost(oneof = "prescribing_event::Fact", tags = "16, 17, 18, 19, 20, 21")]
    fact: Option<prescribing_event::Fact>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct SharedRecordCarrier {
    #[prost(oneof = "shared_record_event::Fact", tags = "16, 17, 18, 19, 20, 21, 22")]
    fact: Option<shared_record_event::Fact>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct HospitalCarrier {
    #[prost(oneof = "hospital_event::Fact", tags = "16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 32")]
    fact: Option<hospital_event::Fact>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct DirectoryCarrier {
    #[prost(oneof = "directory_event::Fact", tags = "16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31")]
    fact: Option<directory_event::Fact>,
}

/// What a fact tells the measures; `None` where no measure uses it.
///
/// # Errors
/// [`Unreadable`] where the bytes or an id in them do not decode.
pub fn told(fact: &Fact) -> Result<Option<(Of, Told)>, Unreadable> {
    let envelope = &fact.envelope;
    let of = Of {
        stream: fact.stream(),
        version: envelope.stream_version,
        occurred_at: envelope.occurred_at_us,
        recorded_at: envelope.recorded_at_us,
        late_entry: envelope.late_entry,
    };
    let payload = fact.payload.clone();
    let told = match fact.topic {
        topic if topic == topics::CALL.name => of_call(decode::<CallCarrier>(payload)?.fact),
        topic if topic == topics::OUTCOME.name => of_outcome(decode::<OutcomeCarrier>(payload)?.fact),
        topic if topic == topics::PRESCRIBING.name => of_prescribing(decode::<PrescribingCarrier>(payload)?.fact),
        topic if topic == topics::SHARED_RECORD.name => of_shared_record(decode::<SharedRecordCarrier>(payload)?.fact),
        topic if topic == topics::HOSPITAL.name => of_hospital(decode::<HospitalCarrier>(payload)?.fact),
        topic if topic == topics::DIRECTORY.name => of_directory(decode::<DirectoryCarrier>(payload)?.fact),
        _ => Ok(None),
    }?;
    Ok(told.map(|told| (of, told)))
}

fn decode<M: Message + Default>(payload: bytes::Bytes) -> Result<M, Unreadable> {
    M::decode(payload).map_err(|_| Unreadable("a fact"))
}

fn of_call(fact: Option<call_event::Fact>) -> Result<Option<Told>, Unreadable> {
    use call_event::Fact as F;
    let Some(fact) = fact else { return Ok(None) };
    Ok(Some(Told::Call(match fact {
        F::CallOpened(f) => CallFact::Opened {
            home: id(&f.home_id, "a home id")?,
            channel: channel(f.channel()),
            reason: reason(f.reason()),
            subject: subject(f.resident.as_ref())?,
            restore2_used: f.restore2_used,
        },
        F::CallAnswered(_) => CallFact::Answered,
        F::ObservationsRecorded(f) => CallFact::Observed { news2: f.news2_total },
        F::CallTriaged(f) => CallFact::Triaged { reason: reason(f.reason()) },
        F::CounterfactualRecorded(f) => CallFact::Counterfactual { alternative: alternative(f.alternative()) },
        F::ResidentIdentified(f) => CallFact::Identified(subject(f.resident.as_ref())?),
        F::CallClosed(f) => CallFact::Closed { corrected_reason: reason(f.corrected_reason()) },
        F::CallVoided(_) => CallFact::Voided,
        F::CallAttemptedOutsideHours(f) => {
            return Ok(Some(Told::Attempt { home: id(&f.home_id, "a home id")?, channel: channel(f.channel()), reason: reason(f.reason()) }));
        }
        F::ClinicianJoined(_) | F::ConsentRecorded(_) | F::CallAbandoned(_) | F::TaskOpened(_) | F::TaskClosed(_) | F::PersonalDataDestroyed(_) => {
            return Ok(None);
        }
    })))
}

fn of_outcome(fact: Option<outcome_event::Fact>) -> Result<Option<Told>, Unreadable> {
    use outcome_event::Fact as F;
    let Some(fact) = fact else { return Ok(None) };
    Ok(Some(match fact {
        F::OutcomeDecided(f) => {
            Told::Consultation(ConsultationFact::Decided { call: id(&f.call_id, "a call id")?, disposition: disposition(f.disposition()), withdrawn: false })
        }
        F::OutcomeAmended(f) => Told::Consultation(ConsultationFact::Decided {
            call: id(&f.call_id, "a call id")?,
            disposition: disposition(f.disposition()),
            withdrawn: f.withdrawn,
        }),
        F::TreatmentPlanAgreed(f) => Told::Consultation(ConsultationFact::PlanAgreed { call: id(&f.call_id, "a call id")? }),
        F::AvoidanceClaimed(f) => {
            let kind = match f.kind() {
                outcome::AvoidanceKind::Conveyance => ClaimKind::Conveyance,
                outcome::AvoidanceKind::EdAttendance => ClaimKind::EdAttendance,
                outcome::AvoidanceKind::Admission => ClaimKind::Admission,
                outcome::AvoidanceKind::Unspecified => {
                    return Err(Unreadable("a claim's kind"));
                }
            };
            Told::Claim {
                claim: needed(&f.claim_id, "a claim id")?,
                fact: ClaimFact::Claimed { call: id(&f.call_id, "a call id")?, kind, alternative: alternative(f.would_have_happened()) },
            }
        }
        F::AvoidanceWithdrawn(f) => Told::Claim { claim: needed(&f.claim_id, "a claim id")?, fact: ClaimFact::Withdrawn },
        F::TaskOpened(_) | F::TaskClosed(_) | F::PersonalDataDestroyed(_) => return Ok(None),
    }))
}

fn of_prescribing(fact: Option<prescribing_event::Fact>) -> Result<Option<Told>, Unreadable> {
    use prescribing_event::Fact as F;
    let Some(fact) = fact else { return Ok(None) };
    Ok(Some(Told::Prescription(match fact {
        F::PrescriptionDrafted(f) => PrescriptionFact::Drafted { call: id(&f.call_id, "a call id")?, items: u32::try_from(f.items.len()).unwrap_or(u32::MAX) },
        F::PharmacyChosen(f) => PrescriptionFact::PharmacyChosen { nearest_open: f.nearest_open },
        F::PrescriptionSigned(_) => PrescriptionFact::Signed,
        F::PrescriptionAccepted(_) => PrescriptionFact::Accepted,
        F::PrescriptionRejected(_) => PrescriptionFact::Rejected,
        F::PrescriptionSubmitted(_) | F::TaskOpened(_) | F::TaskClosed(_) | F::PersonalDataDestroyed(_) => return Ok(None),
    })))
}

fn of_shared_record(fact: Option<shared_record_event::Fact>) -> Result<Option<Told>, Unreadable> {
    use shared_record_event::Fact as F;
    let Some(fact) = fact else { return Ok(None) };
    Ok(Some(Told::Share(match fact {
        F::DocumentComposed(f) => ShareFact::Composed { call: id(&f.call_id, "a call id")?, home: id(&f.home_id, "a home id")? },
        F::ShareWithheld(f) => ShareFact::Withheld { call: id(&f.call_id, "a call id")? },
        F::RecordUploaded(_) => ShareFact::Uploaded,
        F::RecordUploadFailed(_) => ShareFact::UploadFailed,
        F::CarePlanEmailed(_) => ShareFact::Emailed,
        F::CarePlanEmailFailed(_) => ShareFact::EmailFailed,
        F::DocumentRetracted(_) => ShareFact::Retracted,
        F::TaskOpened(_) | F::TaskClosed(_) | F::PersonalDataDestroyed(_) => return Ok(None),
    })))
}

fn of_hospital(fact: Option<hospital_event::Fact>) -> Result<Option<Told>, Unreadable> {
    use hospital_event::Fact as F;
    let Some(fact) = fact else { return Ok(None) };
    Ok(Some(match fact {
        F::VisitOpened(f) => Told::Visit(VisitFact::Opened(Box::new(VisitOpening {
            class: class(f.visit_class()).unwrap_or(VisitClass::Other),
            resident: subject(f.resident.as_ref())?.resident,
            home: id(&f.home_id, "a home id")?,
            arrival: match f.arrival_mode() {
                hospital::ArrivalMode::Ambulance => Arrival::Ambulance,
                hospital::ArrivalMode::Other => Arrival::Other,
                hospital::ArrivalMode::Unknown | hospital::ArrivalMode::Unspecified => Arrival::Unknown,
            },
            rule: rule(f.resolver_rule()),
            at: f.admitted_at_us,
            feed: f.feed,
            facility: f.facility_ods,
            site: f.site_ods,
            admission_method: f.admission_method,
            source: f.source_of_admission,
            trigger: f.trigger,
        }))),
        F::VisitTransferred(f) => Told::Visit(VisitFact::Transferred {
            class: class(f.visit_class()),
            admission_method: f.admission_method,
            site: f.site_ods,
            source: f.source_of_admission,
            at: f.transferred_at_us,
        }),
        F::VisitClosed(f) => Told::Visit(VisitFact::Closed { at: f.discharged_at_us }),
        F::VisitIdentified(f) => Told::Visit(VisitFact::Identified {
            resident: subject(f.resident.as_ref())?.resident,
            home: id(&f.home_id, "a home id")?,
            rule: rule(f.resolver_rule()),
        }),
        F::VisitCancelled(f) => Told::Visit(VisitFact::Cancelled { at: f.cancelled_at_us }),
        F::VisitReopened(_) => Told::Visit(VisitFact::Reopened),
        F::FeedGapOpened(f) => {
            let back_fill_until = (f.back_fill_until_us != 0).then_some(f.back_fill_until_us);
            let fact = GapFact::Opened { feed: f.feed, facility: f.facility_ods, from: f.from_us, back_fill_until };
            Told::Gap { gap: needed(&f.gap_id, "a gap id")?, fact }
        }
        F::FeedResumed(f) => Told::Gap { gap: needed(&f.gap_id, "a gap id")?, fact: GapFact::Resumed { until: f.until_us } },
        F::FeedGapClosed(f) => Told::Gap { gap: needed(&f.gap_id, "a gap id")?, fact: GapFact::Closed { until: f.until_us, filled: f.filled } },
        // What follows from these is the directory's to decide.
        F::PatientsMerged(_) | F::DeathReported(_) => return Ok(None),
        // For the gateway alone.
        F::VisitReported(_) => return Ok(None),
        // Where a feed counts, and since when, is configuration (`[[kpi.coverage]]`).
        F::FeedPromoted(_) | F::FeedDemoted(_) => return Ok(None),
        F::TaskOpened(_) | F::TaskClosed(_) | F::PersonalDataDestroyed(_) => return Ok(None),
    }))
}

fn of_directory(fact: Option<directory_event::Fact>) -> Result<Option<Told>, Unreadable> {
    use directory_event::Fact as F;
    let Some(fact) = fact else { return Ok(None) };
    Ok(Some(match fact {
        F::HomeRegistered(f) => Told::Home(HomeFact::Registered {
            home_type: match f.home_type() {
                directory::HomeType::Nursing => HomeType::Nursing,
                directory::HomeType::Residential => HomeType::Residential,
                directory::HomeType::Specialist => HomeType::Specialist,
                directory::HomeType::Unspecified => HomeType::Unknown,
            },
            ods_code: f.ods_code,
            cqc_location_id: f.cqc_location_id,
            postcode: f.postcode,
            beds: f.beds,
        }),
        F::HomeWentLive(f) => Told::Home(HomeFact::WentLive { from: f.live_from_us }),
        F::ResidentRegistered(_) => Told::Resident(ResidentFact::Registered),
        F::ResidentMovedOut(f) => Told::MovedOut {
            at: day_begins(&f.moved_out_on).ok_or(Unreadable("the day of a move"))?,
            out_of_area: f.reason() == directory::MoveOutReason::OutOfArea,
            on: f.moved_out_on,
        },
        F::ResidentDied(f) => {
            Told::Resident(ResidentFact::Died { by: (f.died_at_us != 0).then_some(f.died_at_us).or_else(|| day_ends(&f.died_on)), on: f.died_on })
        }
        F::ResidentsMerged(f) => Told::Alias { from: needed(&f.from_id, "a resident id")?, into: needed(&f.into_id, "a resident id")?, standing: true },
        F::MergeReversed(f) => Told::Alias { from: needed(&f.from_id, "a resident id")?, into: needed(&f.into_id, "a resident id")?, standing: false },
        F::SecureEmailVerified(_)
        | F::ResidentMovedIn(_)
        | F::IdentifierAdded(_)
        | F::IdentifierCorrected(_)
        | F::MergeProposed(_)
        | F::MergeDeclined(_)
        | F::PracticeListed(_)
        | F::PharmacyListed(_)
        | F::GpAligned(_)
        | F::TaskOpened(_)
        | F::TaskClosed(_)
        | F::PersonalDataDestroyed(_) => return Ok(None),
    }))
}

/// An id of 16 bytes; `None` where it is empty.
fn id<T: for<'a> TryFrom<&'a [u8]>>(bytes: &[u8], what: &'static str) -> Result<Option<T>, Unreadable> {
    if bytes.is_empty() {
        return Ok(None);
    }
    T::try_from(bytes).map(Some).map_err(|_| Unreadable(what))
}

fn needed<T: for<'a> TryFrom<&'a [u8]>>(bytes: &[u8], what: &'static str) -> Result<T, Unreadable> {
    id(bytes, what)?.ok_or(Unreadable(what))
}

fn subject(resident: Option<&types::ResidentRef>) -> Result<Subject, Unreadable> {
    let Some(resident) = resident else {
        return Ok(Subject { resident: None, identified: false });
    };
    Ok(Subject { resident: id(&resident.resident_id, "a resident id")?, identified: resident.status() == types::IdentityStatus::Identified })
}

/// Midnight at which a local day (YYYY-MM-DD) begins, in µs UTC; `None` where the text is no day.
fn day_begins(day: &str) -> Option<i64> {
    let day: Date = day.parse().ok()?;
    london_instant(day.at(0, 0, 0, 0)).ok()
}

fn day_ends(day: &str) -> Option<i64> {
    let day: Date = day.parse().ok()?;
    let next = day.checked_add(1.day()).ok()?;
    london_instant(next.at(0, 0, 0, 0)).ok()
}

fn channel(from: call::Channel) -> Channel {
    match from {
        call::Channel::Telephone => Channel::Telephone,
        call::Channel::Video => Channel::Video,
        call::Channel::Web => Channel::Web,
        call::Channel::Unspecified => Channel::Unknown,
    }
}

fn reason(from: call::CallReason) -> Reason {
    match from {
        call::CallReason::Fall => Reason::Fall,
        call::CallReason::Trauma => Reason::Trauma,
        call::CallReason::NewConfusion => Reason::NewConfusion,
        call::CallReason::Pain => Reason::Pain,
        call::CallReason::Breathlessness => Reason::Breathlessness,
        call::CallReason::SuspectedInfection => Reason::SuspectedInfection,
        call::CallReason::EndOfLife => Reason::EndOfLife,
        call::CallReason::Medicines => Reason::Medicines,
        call::CallReason::Other => Reason::Other,
        call::CallReason::Unspecified => Reason::Unknown,
    }
}

fn alternative(from: types::Alternative) -> Option<Alternative> {
    match from {
        types::Alternative::Emergency999 => Some(Alternative::Emergency999),
        types::Alternative::Nhs111 => Some(Alternative::Nhs111),
        types::Alternative::OutOfHours => Some(Alternative::OutOfHours),
        types::Alternative::GpCallOut => Some(Alternative::Gp),
        types::Alternative::Wait => Some(Alternative::Wait),
        types::Alternative::Other => Some(Alternative::Other),
        types::Alternative::Unspecified => None,
    }
}

fn disposition(from: outcome::Disposition) -> Option<Disposition> {
    use outcome::Disposition as D;
    match from {
        D::AdviceOnly => Some(Disposition::AdviceOnly),
        D::TreatedAtHome => Some(Disposition::TreatedAtHome),
        D::Referred => Some(Disposition::Referred),
        D::GpReview => Some(Disposition::GpReview),
        D::EdByAmbulance => Some(Disposition::EdByAmbulance),
        D::EdOther => Some(Disposition::EdOther),
        D::DirectAdmission => Some(Disposition::DirectAdmission),
        D::Emergency999 => Some(Disposition::Emergency999),
        D::Died => Some(Disposition::Died),
        D::Other => Some(Disposition::Other),
        D::Unspecified => None,
    }
}

fn class(from: hospital::VisitClass) -> Option<VisitClass> {
    match from {
        hospital::VisitClass::Inpatient => Some(VisitClass::Inpatient),
        hospital::VisitClass::Emergency => Some(VisitClass::Emergency),
        hospital::VisitClass::Outpatient => Some(VisitClass::Outpatient),
        hospital::VisitClass::Other => Some(VisitClass::Other),
        hospital::VisitClass::Unspecified => None,
    }
}

fn rule(from: hospital::ResolverRule) -> &'static str {
    use hospital::ResolverRule as R;
    match from {
        R::NhsNumber => "nhs_number",
        R::LocalIdentifier => "local_identifier",
        R::Demographics => "demographics",
        R::HomeUprn => "home_uprn",
        R::HomeAddress => "home_address",
        R::HomePostcode => "home_postcode",
        R::CareHomeCode => "care_home_code",
        R::Person => "person",
        R::Unspecified => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hearthline_contracts::Context;
    use hearthline_contracts::facts::{FIRST_COMMON_FACT, facts_of};

    /// The fact of that number, empty, as its context's message carries it.
    fn empty_fact(number: u32) -> bytes::Bytes {
        let mut bytes = Vec::new();
        prost::encoding::encode_key(number, prost::encoding::WireType::LengthDelimited, &mut bytes);
        bytes.push(0);
        bytes.into()
    }

    #[test]
    fn the_carriers_know_every_fact_that_is_a_contexts_own() {
        for context in Context::ALL {
            for fact in facts_of(context).filter(|fact| fact.number < FIRST_COMMON_FACT) {
                let bytes = empty_fact(fact.number);
                let carried = match context {
                    Context::Call => decode::<CallCarrier>(bytes).expect("decodes").fact.is_some(),
                    Context::Outcome => decode::<OutcomeCarrier>(bytes).expect("decodes").fact.is_some(),
                    Context::Prescribing => decode::<PrescribingCarrier>(bytes).expect("decodes").fact.is_some(),
                    Context::SharedRecord => decode::<SharedRecordCarrier>(bytes).expect("decodes").fact.is_some(),
                    Context::Hospital => decode::<HospitalCarrier>(bytes).expect("decodes").fact.is_some(),
                    Context::Directory => decode::<DirectoryCarrier>(bytes).expect("decodes").fact.is_some(),
                    Context::Kpi => continue,
                };
                assert!(carried, "{context}: {} is not carried", fact.name);
            }
        }
    }

    #[test]
    fn an_id_of_another_length_is_refused_and_an_empty_one_is_none() {
        assert_eq!(id::<hearthline_nhs::CallId>(&[], "a call id"), Ok(None));
        assert_eq!(id::<hearthline_nhs::CallId>(&[1; 15], "a call id"), Err(Unreadable("a call id")));
        assert!(needed::<hearthline_nhs::CallId>(&[], "a call id").is_err());
    }

    #[test]
    fn a_death_of_which_only_the_day_is_known_counts_from_the_end_of_that_day() {
        // In British Summer Time the day ends at 23:00 UTC.
        let ends = day_ends("2026-06-01").expect("a day");
        assert_eq!(jiff::Timestamp::from_microsecond(ends).expect("in range").to_string(), "2026-06-01T23:00:00Z");
        assert_eq!(day_ends("soon"), None);
    }
}

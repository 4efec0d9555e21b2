//! Folds: what a fact makes of the row of its stream. Pure. A row that does not exist and that the fact does not begin
//! stays away: its opening was let go by an operator, and what followed it hangs in the air.

use crate::codes::{Reason, VisitClass};
use crate::rows::{Attempt, Call, Claim, Consultation, FeedGap, Home, Prescription, Resident, Share, Visit, local_day_and_week};
use crate::told::{CallFact, ClaimFact, ConsultationFact, GapFact, HomeFact, Of, PrescriptionFact, ResidentFact, ShareFact, Told, VisitFact, VisitOpening};
use hearthline_nhs::{CallId, ClaimId, ConsultationId, HomeId, PrescriptionId, ResidentId, ShareId, StreamId, VisitId};

/// A call after one more fact.
pub fn call(row: Option<Call>, of: &Of, fact: CallFact) -> Option<Call> {
    if let CallFact::Opened { home, channel, reason, subject, restore2_used } = fact {
        let (opened_on, local_week) = local_day_and_week(of.occurred_at);
        return Some(Call {
            call_id: CallId::of_stream(of.stream),
            home_id: home,
            resident_id: subject.resident,
            identified: subject.identified,
            channel,
            reason,
            alternative: None,
            opened_at: of.occurred_at,
            answered_at: None,
            closed_at: None,
            voided: false,
            late_entry: of.late_entry,
            news2: None,
            restore2_used,
            opened_on,
            local_week,
        });
    }
    let mut row = row?;
    match fact {
        CallFact::Opened { .. } => {}
        CallFact::Answered => {
            row.answered_at.get_or_insert(of.occurred_at);
        }
        CallFact::Observed { news2 } => row.news2 = row.news2.or(news2),
        CallFact::Triaged { reason } => row.reason = corrected(row.reason, reason),
        CallFact::Counterfactual { alternative } => row.alternative = alternative,
        CallFact::Identified(subject) => {
            row.resident_id = subject.resident;
            row.identified = subject.identified;
        }
        CallFact::Closed { corrected_reason } => {
            row.closed_at = Some(of.occurred_at);
            row.reason = corrected(row.reason, corrected_reason);
        }
        CallFact::Voided => row.voided = true,
    }
    Some(row)
}

fn corrected(was: Reason, now: Reason) -> Reason {
    if now == Reason::Unknown { was } else { now }
}

/// A call made while the service was shut.
pub fn attempt(of: &Of, told: Told) -> Option<Attempt> {
    let Told::Attempt { home, channel, reason } = told else {
        return None;
    };
    let (attempted_on, local_week) = local_day_and_week(of.occurred_at);
    Some(Attempt { attempt_id: of.stream, home_id: home, channel, reason, attempted_at: of.occurred_at, attempted_on, local_week })
}

/// A consultation after one more fact.
pub fn consultation(row: Option<Consultation>, of: &Of, fact: ConsultationFact) -> Option<Consultation> {
    let mut row = row.unwrap_or_else(|| Consultation {
        consultation_id: ConsultationId::of_stream(of.stream),
        call_id: None,
        disposition: None,
        decided_at: None,
        withdrawn: false,
        plan_agreed_at: None,
        began_at: of.occurred_at,
    });
    match fact {
        ConsultationFact::Decided { call, disposition, withdrawn } => {
            row.call_id = call.or(row.call_id);
            row.disposition = disposition.or(row.disposition);
            row.withdrawn = withdrawn;
            row.decided_at.get_or_insert(of.occurred_at);
        }
        ConsultationFact::PlanAgreed { call } => {
            row.call_id = call.or(row.call_id);
            row.plan_agreed_at.get_or_insert(of.occurred_at);
        }
    }
    Some(row)
}

/// A claim after one more fact.
pub fn claim(row: Option<Claim>, of: &Of, claim: ClaimId, fact: ClaimFact) -> Option<Claim> {
    match fact {
        ClaimFact::Claimed { call, kind, alternative } => {
            let (claimed_on, local_week) = local_day_and_week(of.occurred_at);
            Some(Claim {
                consultation_id: ConsultationId::of_stream(of.stream),
                claim_id: claim,
                call_id: call,
                kind,
                alternative,
                claimed_at: of.occurred_at,
                withdrawn_at: None,
                claimed_on,
                local_week,
            })
        }
        ClaimFact::Withdrawn => {
            let mut row = row?;
            row.withdrawn_at.get_or_insert(of.occurred_at);
            Some(row)
        }
    }
}

/// A prescription after one more fact.
pub fn prescription(row: Option<Prescription>, of: &Of, fact: PrescriptionFact) -> Option<Prescription> {
    if let PrescriptionFact::Drafted { call, items } = fact {
        let (drafted_on, local_week) = local_day_and_week(of.occurred_at);
        return Some(Prescription {
            prescription_id: PrescriptionId::of_stream(of.stream),
            call_id: call,
            items,
            drafted_at: of.occurred_at,
            signed_at: None,
            accepted_at: None,
            rejected_at: None,
            nearest_open: None,
            drafted_on,
            local_week,
        });
    }
    let mut row = row?;
    match fact {
        PrescriptionFact::Drafted { .. } => {}
        PrescriptionFact::PharmacyChosen { nearest_open } => row.nearest_open = Some(nearest_open),
        PrescriptionFact::Signed => {
            row.signed_at.get_or_insert(of.occurred_at);
        }
        PrescriptionFact::Accepted => {
            row.accepted_at.get_or_insert(of.occurred_at);
            row.rejected_at = None;
        }
        PrescriptionFact::Rejected => {
            if row.accepted_at.is_none() {
                row.rejected_at.get_or_insert(of.occurred_at);
            }
        }
    }
    Some(row)
}

/// A share after one more fact.
pub fn share(row: Option<Share>, of: &Of, fact: ShareFact) -> Option<Share> {
    let mut row = row.unwrap_or_else(|| Share {
        share_id: ShareId::of_stream(of.stream),
        call_id: None,
        home_id: None,
        began_at: of.occurred_at,
        composed_at: None,
        emailed_at: None,
        email_failed_at: None,
        uploaded_at: None,
        upload_failed_at: None,
        withheld_at: None,
        retracted_at: None,
    });
    let first = |at: &mut Option<i64>| {
        at.get_or_insert(of.occurred_at);
    };
    match fact {
        ShareFact::Composed { call, home } => {
            row.call_id = call.or(row.call_id);
            row.home_id = home.or(row.home_id);
            first(&mut row.composed_at);
            row.retracted_at = None;
        }
        ShareFact::Withheld { call } => {
            row.call_id = call.or(row.call_id);
            first(&mut row.withheld_at);
        }
        ShareFact::Uploaded => first(&mut row.uploaded_at),
        ShareFact::UploadFailed => first(&mut row.upload_failed_at),
        ShareFact::Emailed => first(&mut row.emailed_at),
        ShareFact::EmailFailed => first(&mut row.email_failed_at),
        ShareFact::Retracted => row.retracted_at = Some(of.occurred_at),
    }
    Some(row)
}

/// A visit after one more fact.
pub fn visit(row: Option<Visit>, of: &Of, fact: VisitFact) -> Option<Visit> {
    if let VisitFact::Opened(opening) = fact {
        return Some(opened(of, *opening));
    }
    let mut row = row?;
    match fact {
        VisitFact::Opened(_) => {}
        VisitFact::Transferred { class, admission_method, site, source, at } => {
            if let Some(class) = class {
                if class == VisitClass::Inpatient {
                    row.inpatient_at.get_or_insert(at);
                }
                row.visit_class = class;
            }
            replace(&mut row.admission_method, admission_method);
            replace(&mut row.site_ods, site);
            replace(&mut row.source_of_admission, source);
            row.transferred_at = Some(at);
        }
        VisitFact::Closed { at } => row.closed_at = Some(at),
        VisitFact::Identified { resident, home, rule } => {
            row.resident_id = resident;
            row.home_id = home.or(row.home_id);
            rule.clone_into(&mut row.resolver_rule);
        }
        VisitFact::Cancelled { at } => row.cancelled_at = Some(at),
        VisitFact::Reopened => row.closed_at = None,
    }
    Some(row)
}

fn opened(of: &Of, told: VisitOpening) -> Visit {
    let (opened_on, local_week) = local_day_and_week(told.at);
    Visit {
        visit_id: VisitId::of_stream(of.stream),
        resident_id: told.resident,
        home_id: told.home,
        feed: told.feed,
        facility_ods: told.facility,
        site_ods: told.site,
        trigger_event: told.trigger,
        opened_class: told.class,
        visit_class: told.class,
        arrival: told.arrival,
        admission_method: told.admission_method,
        source_of_admission: told.source,
        resolver_rule: told.rule.to_owned(),
        opened_at: told.at,
        inpatient_at: (told.class == VisitClass::Inpatient).then_some(told.at),
        transferred_at: None,
        closed_at: None,
        cancelled_at: None,
        opened_on,
        local_week,
    }
}

fn replace(text: &mut String, with: String) {
    match with.as_str() {
        "" => {}
        // The sender deleted it.
        "\"\"" => text.clear(),
        _ => *text = with,
    }
}

/// A feed gap after one more fact.
pub fn gap(row: Option<FeedGap>, of: &Of, gap: StreamId, fact: GapFact) -> Option<FeedGap> {
    match fact {
        GapFact::Opened { feed, facility, from, back_fill_until } => Some(FeedGap {
            feed_stream: of.stream,
            gap_id: gap,
            feed,
            facility_ods: facility,
            from_at: from,
            until_at: None,
            closed_at: None,
            filled: false,
            back_fill_until,
        }),
        GapFact::Resumed { until } => {
            let mut row = row?;
            row.until_at = Some(until);
            Some(row)
        }
        GapFact::Closed { until, filled } => {
            let mut row = row?;
            row.until_at = Some(until);
            row.closed_at = Some(of.occurred_at);
            row.filled = filled;
            Some(row)
        }
    }
}

/// A home after one more fact.
pub fn home(row: Option<Home>, of: &Of, fact: HomeFact) -> Option<Home> {
    match fact {
        HomeFact::Registered { ods_code, cqc_location_id, postcode, beds, home_type } => Some(Home {
            home_id: HomeId::of_stream(of.stream),
            ods_code,
            cqc_location_id,
            postcode,
            beds,
            home_type,
            registered_at: row.as_ref().map_or(of.occurred_at, |row| row.registered_at),
            live_from: row.and_then(|row| row.live_from),
        }),
        HomeFact::WentLive { from } => {
            let mut row = row?;
            row.live_from = Some(from);
            Some(row)
        }
    }
}

/// A resident after one more fact.
pub fn resident(row: Option<Resident>, of: &Of, fact: ResidentFact) -> Option<Resident> {
    let mut row = row.unwrap_or_else(|| Resident { resident_id: ResidentId::of_stream(of.stream), registered: false, died_on: None, died_by: None });
    match fact {
        ResidentFact::Registered => row.registered = true,
        ResidentFact::Died { on, by } => {
            row.died_on = Some(on);
            row.died_by = by;
        }
    }
    Some(row)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_stays_and_what_is_deleted_goes() {
        let mut method = "21".to_owned();
        replace(&mut method, String::new());
        assert_eq!(method, "21");
        replace(&mut method, "\"\"".to_owned());
        assert_eq!(method, "");
        replace(&mut method, "28".to_owned());
        assert_eq!(method, "28");
    }
}

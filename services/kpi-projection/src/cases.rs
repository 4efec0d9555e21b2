//! From episodes to cases: which claims stand in an episode, what is known of the person, and the verdicts on them.

use crate::codes::{ClaimKind, Disposition};
use crate::episodes::Episode;
use crate::measures::{Contradicted, ContradictedBy, Judged, Rows, Terms, WINDOWS_H, is_live};
use crate::people::People;
use crate::reconcile::{Case, Evidence, Rule, Status, judge};
use crate::rows::{Call, Claim, Consultation, Home, Visit};
use hearthline_nhs::words::Word;
use hearthline_nhs::{CallId, ClaimId, ConsultationId, HomeId, ResidentId, VisitId};
use std::collections::{BTreeSet, HashMap, HashSet};

/// The rows by what they are looked up by.
pub(crate) struct Index<'e> {
    as_of: i64,
    pub(crate) people: &'e People,
    pub(crate) opened: HashMap<CallId, i64>,
    homes: HashMap<HomeId, &'e Home>,
    /// By person: whether the directory knows them, and by when they had died.
    residents: HashMap<ResidentId, (bool, Option<i64>)>,
    pub(crate) visits: HashMap<ResidentId, Vec<&'e Visit>>,
    visits_by_id: HashMap<VisitId, &'e Visit>,
    left_area: HashMap<ResidentId, Vec<i64>>,
    pub(crate) consultations: HashMap<CallId, &'e Consultation>,
    withdrawn: HashSet<ConsultationId>,
    pub(crate) claims: HashMap<CallId, Vec<&'e Claim>>,
}

impl<'e> Index<'e> {
    pub(crate) fn of(rows: &'e Rows, as_of: i64) -> Self {
        let people = &rows.people;
        let mut index = Index {
            as_of,
            people,
            opened: rows.calls.iter().map(|call| (call.call_id, call.opened_at)).collect(),
            homes: rows.homes.iter().map(|home| (home.home_id, home)).collect(),
            residents: HashMap::new(),
            visits: HashMap::new(),
            visits_by_id: HashMap::new(),
            left_area: HashMap::new(),
            consultations: HashMap::new(),
            withdrawn: HashSet::new(),
            claims: HashMap::new(),
        };
        for visit in rows.visits.iter().filter(|visit| visit.cancelled_at.is_none()) {
            index.visits_by_id.insert(visit.visit_id, visit);
            if let Some(resident) = visit.resident_id {
                index.visits.entry(people.who(resident)).or_default().push(visit);
            }
        }
        for resident in &rows.residents {
            let (registered, died_by) = index.residents.entry(people.who(resident.resident_id)).or_default();
            *registered |= resident.registered;
            *died_by = (*died_by).or(resident.died_by);
        }
        for moved in rows.moves_out.iter().filter(|moved| moved.out_of_area) {
            index.left_area.entry(people.who(moved.resident_id)).or_default().push(moved.moved_out_at);
        }
        for consultation in &rows.consultations {
            if consultation.withdrawn {
                index.withdrawn.insert(consultation.consultation_id);
            } else if let Some(call) = consultation.call_id {
                index.consultations.insert(call, consultation);
            }
        }
        for claim in rows.claims.iter().filter(|claim| claim.claimed_at <= as_of) {
            if let Some(call) = claim.call_id {
                index.claims.entry(call).or_default().push(claim);
            }
        }
        for claims in index.claims.values_mut() {
            claims.sort_unstable_by_key(|claim| (claim.claimed_at, claim.claim_id));
        }
        index
    }

    /// Answered by a person, not voided, from a home that was live at the opening.
    pub(crate) fn counts(&self, call: &Call) -> bool {
        let home = call.home_id.and_then(|home| self.homes.get(&home));
        !call.voided
            && call.opened_at <= self.as_of
            && call.answered_at.is_some_and(|at| at <= self.as_of)
            && home.is_some_and(|home| is_live(home, call.opened_at))
    }

    /// Whom a call is about; `None` while the caller's description is all that is known.
    pub(crate) fn person(&self, call: &Call) -> Option<ResidentId> {
        let person = self.people.who(call.resident_id?);
        let known = call.identified || self.residents.get(&person).is_some_and(|(registered, _)| *registered);
        known.then_some(person)
    }

    pub(crate) fn standing(&self, claim: &Claim) -> bool {
        claim.withdrawn_at.is_none() && !self.withdrawn.contains(&claim.consultation_id)
    }
}

/// Judges every kind of claim that stands in an episode.
pub(crate) fn judge_all(chains: &[Episode<'_>], index: &Index<'_>, rule: &Rule<'_>, terms: &Terms<'_>) -> Vec<Judged> {
    let windows: BTreeSet<u32> = WINDOWS_H.into_iter().chain([terms.window_h]).collect();
    let mut judged = Vec::new();
    for episode in chains {
        for kind in ClaimKind::EVERY {
            let Some((case, claims, call)) = case(episode, *kind, index) else {
                continue;
            };
            judged.push(Judged {
                kind: *kind,
                counted_at: episode.began_at(),
                anchor: case.anchor,
                claims,
                call: call.call_id,
                home: call.home_id,
                verdict: judge(&case, rule, terms.window_h),
                by_window: windows.iter().map(|hours| (*hours, judge(&case, rule, *hours))).collect(),
            });
        }
    }
    judged
}

/// The standing claims of one kind in an episode, as one case; the second value names them, the third the first call that claims.
fn case<'e>(episode: &Episode<'e>, kind: ClaimKind, index: &Index<'e>) -> Option<(Case<'e>, Vec<ClaimId>, &'e Call)> {
    let mut claims = Vec::new();
    let mut first: Option<(&'e Call, i64)> = None;
    let (mut last, mut call_open) = (i64::MIN, false);
    for call in &episode.calls {
        let standing = index.claims.get(&call.call_id).into_iter().flatten();
        for claim in standing.filter(|claim| claim.kind == kind && index.standing(claim)) {
            let closed = call.closed_at.filter(|at| *at <= index.as_of);
            let anchor = closed.unwrap_or(claim.claimed_at);
            call_open |= closed.is_none();
            first.get_or_insert((call, anchor));
            last = last.max(anchor);
            claims.push(claim.claim_id);
        }
    }
    let (call, anchor) = first?;
    let person = episode.person;
    let of_person = |map: &HashMap<ResidentId, Vec<&'e Visit>>| person.and_then(|person| map.get(&person)).cloned().unwrap_or_default();
    let case = Case {
        kind,
        anchor,
        last,
        call_open,
        identified: person.is_some(),
        home: call.home_id.and_then(|home| index.homes.get(&home).copied()),
        visits: of_person(&index.visits),
        outcomes: outcomes(episode, index),
        died_by: person.and_then(|person| index.residents.get(&person)?.1),
        left_area: person.and_then(|person| index.left_area.get(&person).cloned()).unwrap_or_default(),
    };
    Some((case, claims, call))
}

fn outcomes(episode: &Episode<'_>, index: &Index<'_>) -> Vec<(CallId, i64, Disposition)> {
    episode
        .calls
        .iter()
        .filter_map(|call| {
            let disposition = index.consultations.get(&call.call_id)?.disposition?;
            Some((call.call_id, call.opened_at, disposition))
        })
        .collect()
}

/// What contradicts, where the headline window's verdict says so.
pub(crate) fn contradicted(judged: &Judged, index: &Index<'_>) -> Option<Contradicted> {
    let Status::Contradicted { by, at } = judged.verdict.status else {
        return None;
    };
    Some(Contradicted {
        kind: judged.kind,
        claims: judged.claims.clone(),
        call: judged.call,
        home: judged.home,
        anchor: judged.anchor,
        at,
        by: match by {
            Evidence::Visit(visit) => {
                ContradictedBy::Visit { visit, facility_ods: index.visits_by_id.get(&visit).map(|visit| visit.facility_ods.clone()).unwrap_or_default() }
            }
            Evidence::Call(call) => ContradictedBy::Call(call),
        },
    })
}

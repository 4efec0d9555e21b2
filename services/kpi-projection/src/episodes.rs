//! Episodes: the calls of one resident about one problem. A call belongs to the one before it when its reason is of the same
//! group and it was opened at most 72 hours after that one closed.

use crate::codes::ReasonGroup;
use crate::rows::Call;
use hearthline_nhs::ResidentId;
use std::collections::BTreeMap;

/// How long after a close a call still belongs to the episode: 72 hours, in µs.
pub const EPISODE_US: i64 = 72 * 3_600 * 1_000_000;

/// Calls of one episode, in the order of their opening; never empty.
#[derive(Debug, Clone, PartialEq)]
pub struct Episode<'e> {
    /// The person, resolved; `None` while nobody has said who it is.
    pub person: Option<ResidentId>,
    pub calls: Vec<&'e Call>,
}

impl Episode<'_> {
    /// When its first call was opened: the time by which its figures are counted.
    pub fn began_at(&self) -> i64 {
        self.calls[0].opened_at
    }
}

/// Chains answered calls into episodes. `person` says who a call is about, and `None` where that is not known: such a call
/// is an episode of its own.
pub fn episodes<'e>(calls: &[&'e Call], person: impl Fn(&Call) -> Option<ResidentId>) -> Vec<Episode<'e>> {
    let mut chains: BTreeMap<(ResidentId, ReasonGroup), Vec<&'e Call>> = BTreeMap::new();
    let mut episodes = Vec::new();
    for call in calls.iter().copied() {
        match person(call) {
            Some(resident) => chains.entry((resident, call.reason.group())).or_default().push(call),
            None => episodes.push(Episode { person: None, calls: vec![call] }),
        }
    }
    for ((resident, _), mut calls) in chains {
        calls.sort_unstable_by_key(|call| (call.opened_at, call.call_id));
        let mut open: Option<(Episode<'e>, i64)> = None;
        for call in calls {
            let ended = call.closed_at.unwrap_or(call.opened_at);
            match &mut open {
                Some((episode, last)) if call.opened_at <= *last + EPISODE_US => {
                    episode.calls.push(call);
                    *last = ended.max(*last);
                }
                _ => {
                    let fresh = Episode { person: Some(resident), calls: vec![call] };
                    episodes.extend(open.replace((fresh, ended)).map(|(done, _)| done));
                }
            }
        }
        episodes.extend(open.map(|(done, _)| done));
    }
    episodes.sort_by_key(|episode| (episode.began_at(), episode.calls[0].call_id));
    episodes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codes::{Channel, Reason};
    use hearthline_nhs::CallId;

    const HOUR: i64 = 3_600_000_000;

    fn call(n: u8, resident: u8, reason: Reason, opened_h: i64, closed_h: Option<i64>) -> Call {
        Call {
            call_id: CallId::from_bytes([n; 16]),
            home_id: None,
            resident_id: Some(ResidentId::from_bytes([resident; 16])),
            identified: true,
            channel: Channel::Telephone,
            reason,
            alternative: None,
            opened_at: opened_h * HOUR,
            answered_at: Some(opened_h * HOUR),
            closed_at: closed_h.map(|h| h * HOUR),
            voided: false,
            late_entry: false,
            news2: None,
            restore2_used: false,
            opened_on: String::new(),
            local_week: String::new(),
        }
    }

    fn check(calls: &[Call], expected: &[&[u8]]) {
        let calls: Vec<&Call> = calls.iter().collect();
        let found = episodes(&calls, |call| call.resident_id.filter(|id| *id.bytes() != [0; 16]));
        let found: Vec<Vec<u8>> = found.iter().map(|e| e.calls.iter().map(|c| c.call_id.bytes()[0]).collect()).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_call_within_72_hours_of_the_close_before_belongs_to_it() {
        let fall = Reason::Fall;
        check(&[call(1, 1, fall, 0, Some(1)), call(2, 1, fall, 73, Some(74))], &[&[1, 2]]);
        check(&[call(1, 1, fall, 0, Some(1)), call(2, 1, fall, 74, Some(75))], &[&[1], &[2]]);
        // The chain goes on from the last close, not from the first.
        check(&[call(1, 1, fall, 0, Some(1)), call(2, 1, fall, 70, Some(71)), call(3, 1, fall, 140, Some(141))], &[&[1, 2, 3]]);
    }

    #[test]
    fn another_reason_or_another_person_begins_an_episode_of_its_own() {
        check(
            &[
                call(1, 1, Reason::Fall, 0, Some(1)),
                call(2, 1, Reason::Trauma, 2, Some(3)),
                call(3, 1, Reason::Pain, 4, Some(5)),
                call(4, 2, Reason::Fall, 6, Some(7)),
            ],
            &[&[1, 2], &[3], &[4]],
        );
    }

    #[test]
    fn calls_about_nobody_known_stay_apart() {
        check(&[call(1, 0, Reason::Fall, 0, Some(1)), call(2, 0, Reason::Fall, 1, Some(2))], &[&[1], &[2]]);
    }

    #[test]
    fn a_call_that_was_never_closed_counts_from_its_opening() {
        check(&[call(1, 1, Reason::Pain, 0, None), call(2, 1, Reason::Pain, 72, None), call(3, 1, Reason::Pain, 145, None)], &[&[1, 2], &[3]]);
    }
}

//! Fifteen calls of fifteen residents, each in an episode of its own. What is declared avoided in them: eight conveyances, six
//! attendances and four admissions.

use jiff::ToSpan;
use rand::RngExt;
use rand::seq::SliceRandom;

use super::people::CALLERS;
use super::register::HOMES;
use super::{DAY_US, HOUR_US, Maker, OutsideCalendar};
use crate::demo::week::{Call, Claim, Identification, Item, Observed, Plan};

const MINUTE_US: i64 = 60_000_000;

const AMOXICILLIN: Item = Item { dmd_code: "39732311000001104", display: "Amoxicillin 250mg capsules", quantity: 15, unit_code: "428641000", unit: "capsule" };
const AZITHROMYCIN: Item = Item { dmd_code: "324252006", display: "Azithromycin 250mg capsules", quantity: 6, unit_code: "428641000", unit: "capsule" };
const CO_CODAMOL: Item = Item { dmd_code: "322341003", display: "Co-codamol 30mg/500mg tablets", quantity: 24, unit_code: "428673006", unit: "tablet" };

/// One clinical story. The clock times are London's.
struct Story {
    what: &'static str,
    weekday: i64,
    hour: i64,
    reason: &'static str,
    says: &'static str,
    identification: Identification,
    channel: &'static str,
    observed: Option<Observed>,
    urgency: &'static str,
    counterfactual: &'static str,
    disposition: &'static str,
    found: &'static str,
    claims: &'static [Claim],
    plan: Option<&'static str>,
    medicine: Option<(Item, &'static str)>,
}

/// A full set of observations on air: breaths, saturation, systolic pressure, pulse, ACVPU, temperature, and the NEWS2 total
/// by the chart of the Royal College of Physicians (2017).
const fn full(rate: u8, spo2: u8, systolic: u16, pulse: u16, acvpu: char, temperature: f64, news2: u8) -> Option<Observed> {
    Some(Observed {
        respiratory_rate: Some(rate),
        spo2: Some(spo2),
        spo2_scale: 1,
        systolic: Some(systolic),
        pulse: Some(pulse),
        consciousness: Some(acvpu),
        temperature: Some(temperature),
        news2: Some(news2),
    })
}

use Claim::{Admission, Conveyance, EdAttendance};
use Identification::{Completed, Described, Known, NewResident, Searched};

/// The order is that of [`index`].
const STORIES: [Story; CALLERS] = [
    Story {
        what: "fall, treated at home",
        weekday: 2,
        hour: 2,
        reason: "fall",
        says: "slid from the bed, no head injury, moves all limbs",
        identification: Known,
        channel: "video",
        observed: full(18, 97, 132, 82, 'A', 36.7, 0),
        urgency: "urgent",
        counterfactual: "999",
        disposition: "treated_at_home",
        found: "no injury found on video, lifted with the home's own aid",
        claims: &[Conveyance, EdAttendance],
        plan: Some("hourly observations until morning, look at the bed rail"),
        medicine: None,
    },
    Story {
        what: "chest infection, antibiotic at home",
        weekday: 0,
        hour: 20,
        reason: "suspected_infection",
        says: "coughing for two days, now off her food",
        identification: Searched,
        channel: "telephone",
        observed: full(22, 94, 124, 98, 'A', 38.2, 5),
        urgency: "urgent",
        counterfactual: "999",
        disposition: "treated_at_home",
        found: "lower respiratory tract infection, comfortable at rest",
        claims: &[Conveyance, EdAttendance, Admission],
        plan: Some("oral antibiotic, fluids, observations every four hours"),
        medicine: Some((AMOXICILLIN, "two capsules three times a day for a week")),
    },
    Story {
        what: "breathlessness, later admitted after all",
        weekday: 3,
        hour: 11,
        reason: "breathlessness",
        says: "more breathless than yesterday since the morning wash",
        identification: Known,
        channel: "video",
        observed: full(22, 93, 118, 104, 'A', 37.8, 5),
        urgency: "urgent",
        counterfactual: "999",
        disposition: "treated_at_home",
        found: "infective exacerbation, prefers to stay at home",
        claims: &[Conveyance, EdAttendance, Admission],
        plan: Some("antibiotic, community nurse tomorrow, call back if worse"),
        medicine: Some((AZITHROMYCIN, "two capsules on the first day, then one a day")),
    },
    Story {
        what: "new confusion, urinary infection",
        weekday: 1,
        hour: 15,
        reason: "new_confusion",
        says: "does not know the carers since lunch",
        identification: Known,
        channel: "video",
        observed: full(19, 96, 112, 94, 'C', 38.0, 4),
        urgency: "urgent",
        counterfactual: "111",
        disposition: "treated_at_home",
        found: "delirium with urinary symptoms, drinks well",
        claims: &[EdAttendance, Admission],
        plan: Some("antibiotic, drinks chart, delirium leaflet for the home"),
        medicine: Some((AMOXICILLIN, "two capsules three times a day for five days")),
    },
    Story {
        what: "fall with a knock to the head, later taken to hospital",
        weekday: 4,
        hour: 6,
        reason: "fall",
        says: "found beside the chair, small bruise over the eye",
        identification: Described,
        channel: "video",
        observed: full(17, 96, 146, 88, 'A', 36.5, 0),
        urgency: "urgent",
        counterfactual: "999",
        disposition: "treated_at_home",
        found: "no anticoagulant, no loss of consciousness, neurology normal",
        claims: &[Conveyance, EdAttendance],
        plan: Some("head injury observations for a day, call if drowsy or sick"),
        medicine: None,
    },
    Story {
        what: "back pain, later seen at an emergency department that does not say how patients arrive",
        weekday: 5,
        hour: 10,
        reason: "pain",
        says: "sharp pain in the back on getting up",
        identification: Known,
        channel: "telephone",
        observed: full(18, 97, 138, 92, 'A', 36.9, 1),
        urgency: "routine",
        counterfactual: "999",
        disposition: "referred",
        found: "mechanical back pain, walks with the frame",
        claims: &[Conveyance],
        plan: Some("regular paracetamol, physiotherapy referral"),
        medicine: None,
    },
    Story {
        what: "skin tear, dressed by the home",
        weekday: 2,
        hour: 16,
        reason: "trauma",
        says: "skin tear on the shin, stopped bleeding",
        identification: Known,
        channel: "video",
        observed: full(16, 98, 128, 76, 'A', 36.4, 0),
        urgency: "routine",
        counterfactual: "999",
        disposition: "treated_at_home",
        found: "flap laid back and dressed on video",
        claims: &[Conveyance],
        plan: Some("leave the dressing for five days, community nurse to review"),
        medicine: None,
    },
    Story {
        what: "last days of life, stays in the home",
        weekday: 5,
        hour: 23,
        reason: "end_of_life",
        says: "restless and in pain, family at the bedside",
        identification: Known,
        channel: "telephone",
        observed: None,
        urgency: "urgent",
        counterfactual: "999",
        disposition: "treated_at_home",
        found: "dying as expected, wishes to stay, symptoms can be eased",
        claims: &[Conveyance, Admission],
        plan: Some("pain relief as prescribed, hospice line rung, family content"),
        medicine: Some((CO_CODAMOL, "two tablets four times a day for pain")),
    },
    Story {
        what: "cellulitis, antibiotic at home",
        weekday: 6,
        hour: 9,
        reason: "suspected_infection",
        says: "leg red and hot below the knee",
        identification: Completed,
        channel: "video",
        observed: full(18, 96, 122, 93, 'A', 38.4, 2),
        urgency: "urgent",
        counterfactual: "111",
        disposition: "treated_at_home",
        found: "cellulitis without spreading, margins marked",
        claims: &[EdAttendance],
        plan: Some("oral antibiotic, margins watched, legs up"),
        medicine: Some((AMOXICILLIN, "two capsules three times a day for a week")),
    },
    Story {
        what: "sepsis, sent in by ambulance",
        weekday: 4,
        hour: 19,
        reason: "suspected_infection",
        says: "hard to rouse, clammy, has not passed water since noon",
        identification: Known,
        channel: "telephone",
        observed: full(28, 90, 88, 128, 'V', 39.3, 16),
        urgency: "emergency",
        counterfactual: "999",
        disposition: "ed_by_ambulance",
        found: "red flag sepsis, ambulance called at once",
        claims: &[],
        plan: None,
        medicine: None,
    },
    Story {
        what: "question about medicines",
        weekday: 0,
        hour: 9,
        reason: "medicines",
        says: "two doses of the morning tablets given by mistake",
        identification: Known,
        channel: "telephone",
        observed: None,
        urgency: "routine",
        counterfactual: "111",
        disposition: "advice_only",
        found: "harmless at this dose, omit the evening dose",
        claims: &[],
        plan: None,
        medicine: None,
    },
    Story {
        what: "fall of a resident new to the home and to the hub",
        weekday: 4,
        hour: 22,
        reason: "fall",
        says: "lost her footing on the way to the bathroom",
        identification: NewResident,
        channel: "video",
        observed: Some(Observed {
            respiratory_rate: Some(16),
            spo2: Some(90),
            spo2_scale: 2,
            systolic: Some(134),
            pulse: Some(80),
            consciousness: Some('A'),
            temperature: Some(36.6),
            news2: Some(0),
        }),
        urgency: "urgent",
        counterfactual: "999",
        disposition: "treated_at_home",
        found: "bruised hip, bears weight, known carbon dioxide retainer",
        claims: &[Conveyance],
        plan: Some("pain relief, falls team, look again in the morning"),
        medicine: None,
    },
    Story {
        what: "slow change, for the practice",
        weekday: 3,
        hour: 14,
        reason: "new_confusion",
        says: "muddled in the evenings for some weeks",
        identification: Known,
        channel: "video",
        observed: full(18, 96, 140, 86, 'C', 37.1, 3),
        urgency: "routine",
        counterfactual: "gp",
        disposition: "gp_review",
        found: "no acute illness found, memory review wanted",
        claims: &[],
        plan: Some("practice to review blood tests and medicines"),
        medicine: None,
    },
    Story {
        what: "advice that the family does not want shared",
        weekday: 6,
        hour: 18,
        reason: "other",
        says: "family asks about moving rooms after a stay away",
        identification: Known,
        channel: "video",
        observed: full(16, 97, 126, 72, 'A', 36.6, 0),
        urgency: "routine",
        counterfactual: "wait",
        disposition: "advice_only",
        found: "well, advice given",
        claims: &[],
        plan: None,
        medicine: None,
    },
    Story {
        what: "pain in the last weeks of life",
        weekday: 1,
        hour: 3,
        reason: "end_of_life",
        says: "moans when turned, usual tablets not enough",
        identification: Known,
        channel: "telephone",
        observed: Some(Observed {
            respiratory_rate: Some(20),
            spo2: None,
            spo2_scale: 1,
            systolic: None,
            pulse: Some(96),
            consciousness: Some('A'),
            temperature: None,
            news2: None,
        }),
        urgency: "urgent",
        counterfactual: "out_of_hours",
        disposition: "treated_at_home",
        found: "pain not controlled, step up agreed",
        claims: &[],
        plan: Some("regular pain relief, hospice nurse to visit"),
        medicine: Some((CO_CODAMOL, "two tablets four times a day")),
    },
];

/// Positions in [`STORIES`] of those that hospital truth takes up again. They are also the indices of their residents.
pub(super) mod index {
    pub const FALL: usize = 0;
    pub const ADMITTED_AFTER_ALL: usize = 2;
    pub const CONFUSION: usize = 3;
    pub const HEAD_INJURY: usize = 4;
    pub const ARRIVAL_NOT_SAID: usize = 5;
    pub const SKIN_TEAR: usize = 6;
    pub const SEPSIS: usize = 9;
    pub const NEW_RESIDENT: usize = 11;
    pub const NOT_SHARED: usize = 13;
}

impl Maker {
    pub(super) fn calls(&mut self) -> Result<(), OutsideCalendar> {
        // Different homes all over the county; never the one that cannot be mailed yet.
        let mut homes: Vec<usize> = (0..HOMES - 1).collect();
        homes.shuffle(&mut self.random);
        for (at, story) in STORIES.iter().enumerate() {
            let resident = &mut self.week.residents[at];
            resident.home = homes[at];
            resident.registered = story.identification != NewResident;
            let call = self.call(at, story)?;
            self.week.calls.push(call);
        }
        self.week.calls.sort_by_key(|call| call.opened_at);
        Ok(())
    }

    fn call(&mut self, at: usize, story: &Story) -> Result<Call, OutsideCalendar> {
        let day = self.week.monday.checked_add(story.weekday.days()).map_err(|_| OutsideCalendar)?;
        let noon = hearthline_nhs::london_instant(day.at(12, 0, 0, 0)).map_err(|_| OutsideCalendar)?;
        let opened_at = noon + (story.hour - 12) * HOUR_US + self.random.random_range(0..55) * MINUTE_US + self.random.random_range(0..60) * 1_000_000;
        let mut clock = opened_at;
        let mut after = |least: i64, most: i64| {
            clock += self.random.random_range(least * 60..most * 60) * 1_000_000;
            clock
        };
        let (answered_at, triaged_at) = (after(1, 3), after(2, 6));
        let (identified_at, joined_at) = (after(1, 3), after(4, 15));
        let (decided_at, prescribed_at) = (after(10, 25), after(3, 8));
        let closed_at = after(4, 12);
        let carer = ["Angela", "Blessing", "Grace", "Marek", "Priya"][at % 5];
        let review_on = day.checked_add(3.days()).map_err(|_| OutsideCalendar)?;
        let plan = story.plan.map(|text| Plan {
            text: self.text(text),
            actions_for_gp: self.text("please review within the week"),
            call_back_if: self.text("drowsy, breathless or in more pain"),
            review_on,
        });
        let medicine = story.medicine.map(|(item, dosage)| (item, self.text(dosage)));
        Ok(Call {
            story: story.what,
            resident: at,
            identification: story.identification,
            channel: story.channel,
            reason: story.reason,
            reason_text: self.text(story.says),
            caller_name: self.name(carer),
            restore2_used: story.observed.is_some(),
            observed: story.observed,
            urgency: story.urgency,
            counterfactual: story.counterfactual,
            consent: match at {
                index::NOT_SHARED => Some("refused"),
                _ if at.is_multiple_of(2) => Some("given"),
                _ => None,
            },
            disposition: story.disposition,
            summary: self.text(story.found),
            claims: story.claims.to_vec(),
            rationale: self.text("would have been rung in otherwise"),
            likely_admitting_problem: self.text("acute infection with frailty"),
            plan,
            medicine,
            opened_at,
            answered_at,
            triaged_at,
            identified_at,
            joined_at,
            decided_at,
            prescribed_at,
            closed_at,
        })
    }

    /// When the call of a story was closed.
    pub(super) fn closed_at(&self, resident: usize) -> i64 {
        self.week.calls.iter().find(|call| call.resident == resident).map_or(self.week.starts_at + 3 * DAY_US, |call| call.closed_at)
    }
}

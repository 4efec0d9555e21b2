//! Who truly came to hospital in the week and the four days after it, and the messages in which the hospitals said so.
//!
//! Residents first: what sustains or contradicts the week's claims, then others. Then strangers: a few at the addresses of
//! homes, the rest from everywhere else, until there are as many messages as were asked for.

use rand::RngExt;

use super::calls::index;
use super::people::CALLERS;
use super::register::{HOMES, SITES};
use super::{DAY_US, HOUR_US, Maker};
use crate::demo::adt::{Address, Draft, NumberVariant};
use crate::demo::week::{Arrival, Message, Patient, Person, Visit};

const MINUTE_US: i64 = 60_000_000;
/// Messages go on for the longest window after the week (72 hours), and a day more.
const FEED_AFTER_WEEK_US: i64 = 4 * DAY_US;
const VISITS_OF_OTHER_RESIDENTS: usize = 16;
const VISITS_AT_HOMES: usize = 18;

const BY_ED_HERE: &str = "21";
const BY_GP: &str = "22";
const PLANNED: &str = "11";

const CONSULTANTS: [(&str, &str); 5] = [("Ashworth", "Helen"), ("Banerjee", "Anil"), ("Crowther", "Simon"), ("Dlamini", "Thandi"), ("Eriksson", "Lena")];
const REASONS: [&str; 8] = ["fall", "chest pain", "shortness of breath", "abdominal pain", "confusion", "limb injury", "fever", "collapse"];

/// What a visit is made of, before it is known how it is told.
struct Truth {
    site: usize,
    patient: Patient,
    attended_at: Option<i64>,
    admitted: Option<(i64, &'static str)>,
    outpatient_at: Option<i64>,
    arrival: Arrival,
    discharged_at: Option<i64>,
}

impl Truth {
    fn attendance(site: usize, patient: Patient, at: i64, arrival: Arrival, hours: i64) -> Self {
        Self { site, patient, attended_at: Some(at), admitted: None, outpatient_at: None, arrival, discharged_at: Some(at + hours * HOUR_US) }
    }

    fn then_admitted(mut self, after_h: i64, stay_h: i64) -> Self {
        let came = self.attended_at.unwrap_or_default();
        self.admitted = Some((came + after_h * HOUR_US, BY_ED_HERE));
        self.discharged_at = Some(came + (after_h + stay_h) * HOUR_US);
        self
    }

    fn admission(site: usize, patient: Patient, at: i64, method: &'static str, arrival: Arrival, hours: i64) -> Self {
        Self { attended_at: None, admitted: Some((at, method)), ..Self::attendance(site, patient, at, arrival, hours) }
    }

    fn outpatient(site: usize, patient: Patient, at: i64) -> Self {
        Self { attended_at: None, outpatient_at: Some(at), ..Self::attendance(site, patient, at, Arrival::NotSaid, 1) }
    }
}

impl Maker {
    pub(super) fn hospital(&mut self, messages: usize) {
        self.visits_of_callers();
        for _ in 0..VISITS_OF_OTHER_RESIDENTS {
            let resident = self.random.random_range(CALLERS..self.week.residents.len());
            let truth = self.any_visit(Patient::Resident(resident));
            self.tell(truth, true);
        }
        for _ in 0..VISITS_AT_HOMES {
            let home = self.random.random_range(0..HOMES);
            let truth = self.any_visit(Patient::AtHome(home));
            self.tell(truth, true);
        }
        while self.week.messages.len() < messages {
            let truth = self.any_visit(Patient::Elsewhere);
            self.tell(truth, true);
        }
        self.week.messages.sort_by(|a, b| (a.sent_at, &a.control_id).cmp(&(b.sent_at, &b.control_id)));
    }

    /// What makes the week's claims true or false, and what only looks as if it did.
    fn visits_of_callers(&mut self) {
        let site = |maker: &Self, resident: usize| maker.catchment(maker.week.residents[resident].home);
        let after = |maker: &Self, resident: usize, hours: i64| maker.closed_at(resident) + hours * HOUR_US + 17 * MINUTE_US;
        let patient = Patient::Resident;
        use Arrival::{Ambulance, NotSaid, Own};
        let told = [
            // Contradicts conveyance, attendance and admission.
            (index::ADMITTED_AFTER_ALL, 40, |s, p, at| Truth::attendance(s, p, at, Ambulance, 0).then_admitted(5, 24)),
            // Contradicts conveyance and attendance.
            (index::HEAD_INJURY, 20, |s, p, at| Truth::attendance(s, p, at, Ambulance, 5)),
            // Nobody says how they came: the conveyance cannot be verified.
            (index::ARRIVAL_NOT_SAID, 30, |s, p, at| Truth::attendance(s, p, at, NotSaid, 4)),
            // Was sent in, and claimed nothing.
            (index::SEPSIS, 1, |s, p, at| Truth::attendance(s, p, at, Ambulance, 0).then_admitted(4, 90)),
            // A planned admission contradicts nothing.
            (index::CONFUSION, 50, |s, p, at| Truth::admission(s, p, at, PLANNED, Own, 6)),
            // After the window.
            (index::SKIN_TEAR, 80, |s, p, at| Truth::attendance(s, p, at, Ambulance, 5)),
            // Before the call.
            (index::FALL, -30, |s, p, at| Truth::attendance(s, p, at, Ambulance, 6)),
            // Before the hub knew of the resident.
            (index::NEW_RESIDENT, -60, |s, p, at| Truth::attendance(s, p, at, Ambulance, 5)),
        ] as [(usize, i64, fn(usize, Patient, i64) -> Truth); 8];
        for (resident, hours, truth) in told {
            let truth = truth(site(self, resident), patient(resident), after(self, resident, hours));
            self.tell(truth, false);
        }
    }

    /// The first site of the trust from whose area a home's postcode is.
    fn catchment(&self, home: usize) -> usize {
        let postcode = &self.week.homes[home].postcode;
        SITES.iter().position(|site| site.postcode_areas.contains(&&postcode[..2])).unwrap_or(0)
    }

    fn any_visit(&mut self, patient: Patient) -> Truth {
        let site = match patient {
            Patient::Resident(resident) => self.catchment(self.week.residents[resident].home),
            Patient::AtHome(home) => self.catchment(home),
            Patient::Elsewhere => self.random.random_range(0..SITES.len()),
        };
        let last = self.week.ends_at + FEED_AFTER_WEEK_US - 40 * HOUR_US;
        let at = self.random.random_range(self.week.starts_at / MINUTE_US..last / MINUTE_US) * MINUTE_US;
        let arrival = match self.random.random_range(0..10) {
            0..5 => Arrival::Ambulance,
            5..9 => Arrival::Own,
            _ => Arrival::NotSaid,
        };
        let hours = self.random.random_range(2..9);
        match self.random.random_range(0..10) {
            0..5 => Truth::attendance(site, patient, at, arrival, hours),
            5..7 => Truth::attendance(site, patient, at, arrival, 0).then_admitted(hours, 24),
            7 => Truth::admission(site, patient, at, BY_GP, arrival, 30),
            8 => Truth::admission(site, patient, at, PLANNED, Arrival::Own, 20),
            _ => Truth::outpatient(site, patient, at),
        }
    }

    /// Keeps the visit and writes its messages: A04 on arrival, A01 on admission, A03 at the end, all under one visit number.
    /// With `may_forget` some visits are never said to have ended.
    fn tell(&mut self, truth: Truth, may_forget: bool) {
        let visit = self.week.visits.len();
        let (person, address) = self.who(truth.patient);
        let site = &SITES[truth.site];
        let visit_number = format!("{}{:07}", &site.ods[2..], 4_000_000 + visit);
        let local_number = format!("{}{:06}", site.ods, 100_000 + visit);
        let (family, given) = CONSULTANTS[self.random.random_range(0..CONSULTANTS.len())];
        let consultant = (self.name(family), self.name(given));
        let reason = REASONS[self.random.random_range(0..REASONS.len())];
        let reason = self.text(reason);
        // One visitor from Scotland has the same ten digits as a resident, in another numbering system.
        let chi =
            (truth.patient == Patient::Elsewhere && visit.is_multiple_of(97)).then(|| self.week.residents[CALLERS + 1].person.nhs_number.as_str().to_owned());
        let ends = !may_forget || self.random.random_bool(0.9);
        let mut told: Vec<(&'static str, i64)> = Vec::new();
        told.extend(truth.attended_at.or(truth.outpatient_at).map(|at| ("A04", at)));
        told.extend(truth.admitted.map(|(at, _)| ("A01", at)));
        told.extend(truth.discharged_at.filter(|_| ends).map(|at| ("A03", at)));
        for (step, (trigger, occurred_at)) in told.into_iter().enumerate() {
            let admitted = truth.admitted.filter(|(at, _)| *at <= occurred_at);
            let class = match (admitted, truth.outpatient_at) {
                (Some(_), _) => 'I',
                (None, Some(_)) => 'O',
                (None, None) => 'E',
            };
            let sent_at = occurred_at + self.random.random_range(20..600) * 1_000_000;
            let control_id = format!("{}{:06}", site.ods, self.week.messages.len());
            let variant = NumberVariant::ALL[self.week.messages.len() % NumberVariant::ALL.len()];
            // Later messages of a visit often leave out how it began.
            let arrival = if step == 0 { truth.arrival } else { Arrival::NotSaid };
            let from_home = !matches!(truth.patient, Patient::Elsewhere);
            let practice = "J82901";
            let bytes = Draft {
                site,
                control_id: &control_id,
                trigger,
                sent_at,
                occurred_at,
                person: &person,
                address: &address,
                variant,
                chi: chi.as_deref(),
                local_number: &local_number,
                visit_number: &visit_number,
                class,
                ward: match class {
                    'E' => "ED",
                    'O' => "OPD",
                    _ => "MAU",
                },
                admission_method: admitted.map(|(_, method)| method),
                source: if from_home { "85" } else { "19" },
                destination: (trigger == "A03").then_some(if from_home { "54" } else { "19" }),
                arrival_code: arrival_code(arrival, site.arrival_as_snomed),
                consultant: (&consultant.0, &consultant.1),
                reason: &reason,
                practice,
                began_at: match trigger {
                    "A01" => occurred_at,
                    _ => admitted.map(|(at, _)| at).or(truth.attended_at).or(truth.outpatient_at).unwrap_or(occurred_at),
                },
                ended_at: (trigger == "A03").then_some(occurred_at),
            }
            .write();
            self.week.messages.push(Message { sent_at, site: truth.site, visit, trigger, control_id, variant, bytes });
        }
        self.week.visits.push(Visit {
            site: truth.site,
            patient: truth.patient,
            attended_at: truth.attended_at,
            admitted: truth.admitted,
            outpatient_at: truth.outpatient_at,
            arrival: truth.arrival,
            discharged_at: truth.discharged_at.filter(|_| ends),
        });
    }

    fn who(&mut self, patient: Patient) -> (Person, Address) {
        match patient {
            Patient::Resident(resident) => {
                let resident = &self.week.residents[resident];
                (resident.person.clone(), self.home_address(resident.home))
            }
            Patient::AtHome(home) => (self.person(1924, 1948), self.home_address(home)),
            Patient::Elsewhere => (self.person(1930, 2010), self.private_address()),
        }
    }

    fn home_address(&self, home: usize) -> Address {
        let home = &self.week.homes[home];
        Address { street: home.address_line_1.clone(), other: home.address_line_2.clone(), town: home.town.to_owned(), postcode: home.postcode.clone() }
    }
}

/// PV2-38: a code of the Emergency Care Data Set, or of HL7 table 0430.
fn arrival_code(arrival: Arrival, as_snomed: bool) -> Option<&'static str> {
    match (arrival, as_snomed) {
        (Arrival::Ambulance, true) => Some("1048031000000100"),
        (Arrival::Ambulance, false) => Some("A"),
        (Arrival::Own, true) => Some("1048071000000103"),
        (Arrival::Own, false) => Some("C"),
        (Arrival::NotSaid, _) => None,
    }
}

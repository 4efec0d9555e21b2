//! A week of a hub and its hospitals as plain values: who lives where, who called and what became of it, who came to hospital
//! and what the hospitals sent. Times are µs since 1970-01-01T00:00Z; places and people are named by their index in the week.

use std::collections::BTreeSet;

use hearthline_nhs::NhsNumber;
use jiff::civil::Date;

use super::adt::NumberVariant;

/// Everything that is fed in one run.
pub struct Week {
    /// Monday to Sunday in Europe/London.
    pub monday: Date,
    pub starts_at: i64,
    /// Midnight after the Sunday.
    pub ends_at: i64,
    pub practices: Vec<Practice>,
    pub pharmacies: Vec<Pharmacy>,
    pub homes: Vec<Home>,
    pub sites: Vec<Site>,
    pub residents: Vec<Resident>,
    /// In the order in which they are opened.
    pub calls: Vec<Call>,
    pub visits: Vec<Visit>,
    /// In the order in which they are sent.
    pub messages: Vec<Message>,
    pub(super) personal: BTreeSet<String>,
}

impl Week {
    /// Every personal string that was made up: names, NHS numbers (plain and spaced), dates of birth (ISO and HL7), private
    /// addresses, telephone numbers and free text. None of them may ever be found in clear in a file or a log line.
    pub fn personal_values(&self) -> Vec<String> {
        self.personal.iter().cloned().collect()
    }

    /// The week's last day.
    pub fn sunday(&self) -> Date {
        hearthline_nhs::london_date(self.ends_at - 1).unwrap_or(self.monday)
    }

    /// The trusts and their sites, in the order of the sites.
    pub fn trusts(&self) -> Vec<&'static str> {
        let mut trusts: Vec<&'static str> = self.sites.iter().map(|site| site.trust_ods).collect();
        trusts.dedup();
        trusts
    }
}

pub struct Practice {
    pub ods_code: String,
    pub name: String,
    pub postcode: String,
}

pub struct Pharmacy {
    pub ods_code: String,
    pub name: String,
    pub postcode: String,
    pub latitude: f64,
    pub longitude: f64,
    /// As the register writes it: `24/7` or `mon 09:00-18:30;sat 09:00-13:00`.
    pub opening: &'static str,
}

pub struct Home {
    pub ods_code: String,
    pub cqc_location_id: String,
    pub name: String,
    pub address_line_1: String,
    pub address_line_2: String,
    pub town: &'static str,
    pub postcode: String,
    pub uprn: String,
    pub beds: u32,
    pub home_type: &'static str,
    pub controller_ods: String,
    pub latitude: f64,
    pub longitude: f64,
    pub live_from: Date,
    /// Secure email and the day on which it was verified; a home may still lack it.
    pub secure_email: Option<(String, Date)>,
    /// Index of its practice.
    pub practice: usize,
}

/// A hospital site with an emergency department, which sends its own messages.
#[derive(Debug, Clone, Copy)]
pub struct Site {
    pub trust_ods: &'static str,
    pub ods: &'static str,
    pub application: &'static str,
    pub version: &'static str,
    /// Whether arrival modes are sent as SNOMED CT (ECDS) or in HL7 table 0430.
    pub arrival_as_snomed: bool,
    /// Postcode areas from which its patients come.
    pub postcode_areas: &'static [&'static str],
}

/// Somebody, as registers and messages describe people.
#[derive(Clone)]
pub struct Person {
    pub family: String,
    pub given: String,
    /// 1 male, 2 female (NHS Data Dictionary).
    pub sex: char,
    pub born_on: Date,
    pub nhs_number: NhsNumber,
    pub telephone: String,
    pub next_of_kin: String,
}

pub struct Resident {
    pub person: Person,
    pub home: usize,
    pub moved_in_on: Date,
    /// In the register before the week is fed; otherwise the call registers the resident.
    pub registered: bool,
}

/// How the hub comes to know who a call is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identification {
    /// The call handler names the resident when the call is opened.
    Known,
    /// The caller gives everything at once; the directory finds the resident.
    Described,
    /// The caller gives a name only; the call handler searches and names the resident.
    Searched,
    /// The caller gives a name only and the rest later; the directory finds the resident.
    Completed,
    /// The caller describes somebody whom the directory has never heard of.
    NewResident,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Claim {
    Conveyance,
    EdAttendance,
    Admission,
}

impl Claim {
    pub const ALL: [Claim; 3] = [Claim::Conveyance, Claim::EdAttendance, Claim::Admission];

    /// The word in the HTTP API.
    pub fn word(self) -> &'static str {
        match self {
            Claim::Conveyance => "conveyance",
            Claim::EdAttendance => "ed_attendance",
            Claim::Admission => "admission",
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub struct Observed {
    pub respiratory_rate: Option<u8>,
    pub spo2: Option<u8>,
    pub spo2_scale: u8,
    pub systolic: Option<u16>,
    pub pulse: Option<u16>,
    pub consciousness: Option<char>,
    pub temperature: Option<f64>,
    /// The total by the chart (RCP 2017) where all seven were measured.
    pub news2: Option<u8>,
}

#[derive(Debug, Clone, Copy)]
pub struct Item {
    /// dm+d code as SNOMED CT identifier.
    pub dmd_code: &'static str,
    pub display: &'static str,
    pub quantity: u32,
    pub unit_code: &'static str,
    pub unit: &'static str,
}

pub struct Plan {
    pub text: String,
    pub actions_for_gp: String,
    pub call_back_if: String,
    pub review_on: Date,
}

pub struct Call {
    /// What happens, in a few words, for progress and reports.
    pub story: &'static str,
    pub resident: usize,
    pub identification: Identification,
    pub channel: &'static str,
    pub reason: &'static str,
    pub reason_text: String,
    pub caller_name: String,
    pub restore2_used: bool,
    pub observed: Option<Observed>,
    pub urgency: &'static str,
    pub counterfactual: &'static str,
    pub consent: Option<&'static str>,
    pub disposition: &'static str,
    pub summary: String,
    pub claims: Vec<Claim>,
    pub rationale: String,
    pub likely_admitting_problem: String,
    pub plan: Option<Plan>,
    pub medicine: Option<(Item, String)>,
    pub opened_at: i64,
    pub answered_at: i64,
    pub triaged_at: i64,
    pub identified_at: i64,
    pub joined_at: i64,
    pub decided_at: i64,
    pub prescribed_at: i64,
    pub closed_at: i64,
}

/// Whose visit it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patient {
    /// Somebody in the week's residents.
    Resident(usize),
    /// Nobody the hub knows, at the address of a home.
    AtHome(usize),
    /// Nobody the hub knows, from elsewhere.
    Elsewhere,
}

/// One visit as it truly was, whatever was said about it.
#[derive(Debug, Clone)]
pub struct Visit {
    pub site: usize,
    pub patient: Patient,
    /// When they came to the emergency department, if they did.
    pub attended_at: Option<i64>,
    /// When they were admitted to a bed, if they were, and the national admission method.
    pub admitted: Option<(i64, &'static str)>,
    /// An outpatient appointment.
    pub outpatient_at: Option<i64>,
    pub arrival: Arrival,
    pub discharged_at: Option<i64>,
}

/// How they came, as far as the hospital says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    Ambulance,
    Own,
    NotSaid,
}

/// One message as it goes over the wire.
pub struct Message {
    pub sent_at: i64,
    pub site: usize,
    pub visit: usize,
    pub trigger: &'static str,
    pub control_id: String,
    pub variant: NumberVariant,
    pub bytes: Vec<u8>,
}

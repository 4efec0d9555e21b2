//! The words in which views and figures speak: one text code per case, stored as text so that outsiders read it.

use crate::rows::Column;
use hearthline_eventing::Value;
use hearthline_nhs::words::Word;

hearthline_nhs::words! {
    /// How a call reached the service.
    pub enum Channel { Telephone = "telephone", Video = "video", Web = "web", Unknown = "unknown" }

    /// The main reason of a call.
    pub enum Reason {
        Fall = "fall",
        Trauma = "trauma",
        NewConfusion = "new_confusion",
        Pain = "pain",
        Breathlessness = "breathlessness",
        SuspectedInfection = "suspected_infection",
        EndOfLife = "end_of_life",
        Medicines = "medicines",
        Other = "other",
        Unknown = "unknown",
    }

    /// What the home would have done without the service.
    pub enum Alternative {
        Emergency999 = "999",
        Nhs111 = "111",
        OutOfHours = "out_of_hours",
        Gp = "gp",
        Wait = "wait",
        Other = "other",
    }

    /// What happened to the resident in a call.
    pub enum Disposition {
        AdviceOnly = "advice_only",
        TreatedAtHome = "treated_at_home",
        Referred = "referred",
        GpReview = "gp_review",
        EdByAmbulance = "ed_by_ambulance",
        EdOther = "ed_other",
        DirectAdmission = "direct_admission",
        Emergency999 = "999",
        Died = "died",
        Other = "other",
    }

    /// What a clinician claims was avoided.
    pub enum ClaimKind { Conveyance = "conveyance", EdAttendance = "ed_attendance", Admission = "admission" }

    /// HL7 table 0004 as UK systems use it.
    pub enum VisitClass { Inpatient = "inpatient", Emergency = "emergency", Outpatient = "outpatient", Other = "other" }

    /// How a patient came to the hospital, as far as it decides whether there was a conveyance.
    pub enum Arrival { Ambulance = "ambulance", Other = "other", Unknown = "unknown" }

    /// What kind of home it is.
    pub enum HomeType { Nursing = "nursing", Residential = "residential", Specialist = "specialist", Unknown = "unknown" }
}

macro_rules! columns {
    ($($name:ty),+) => {$(
        impl Column for $name {
            fn value(&self) -> Value {
                self.as_str().into()
            }
            fn read(value: Value) -> Self {
                match &value {
                    Value::Text(text) => Self::parse(text).expect("a stored code is one of this version's"),
                    _ => panic!("a column of codes holds something else"),
                }
            }
        }
    )+};
}
columns!(Channel, Reason, Alternative, Disposition, ClaimKind, VisitClass, Arrival, HomeType);

/// Reasons that are one problem for the purpose of chaining calls into an episode: a fall and the injury it leaves
/// are one, every other reason stands for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReasonGroup(Reason);

impl Reason {
    /// The group whose calls belong together.
    pub fn group(self) -> ReasonGroup {
        ReasonGroup(match self {
            Reason::Fall | Reason::Trauma => Reason::Fall,
            other @ (Reason::NewConfusion
            | Reason::Pain
            | Reason::Breathlessness
            | Reason::SuspectedInfection
            | Reason::EndOfLife
            | Reason::Medicines
            | Reason::Other
            | Reason::Unknown) => other,
        })
    }
}

impl Disposition {
    /// Whether the hub itself sent the resident where a claim of this kind says they did not go.
    pub fn sends_in(self, kind: ClaimKind) -> bool {
        match self {
            Disposition::EdByAmbulance | Disposition::Emergency999 => matches!(kind, ClaimKind::Conveyance | ClaimKind::EdAttendance),
            Disposition::EdOther => kind == ClaimKind::EdAttendance,
            Disposition::DirectAdmission => kind == ClaimKind::Admission,
            Disposition::AdviceOnly | Disposition::TreatedAtHome | Disposition::Referred | Disposition::GpReview | Disposition::Died | Disposition::Other => {
                false
            }
        }
    }
}

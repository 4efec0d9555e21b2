//! The national codes that an ADT message carries, as NHS Data Dictionary lists them for England.
//!
//! Wales differs (27 NHS Direct and 25 domiciliary visit of ADMISSION METHOD, 20 and 21 nursing or residential home of SOURCE OF
//! ADMISSION): its codes are for a profile's tables. 28, other means, was withdrawn in favour of 2A to 2D and is still sent.

const ADMISSION_METHOD: &[&str] = &["11", "12", "13", "21", "22", "23", "24", "25", "2A", "2B", "2C", "2D", "28", "31", "32", "81", "82", "83", "98", "99"];
const SOURCE_OF_ADMISSION: &[&str] = &["19", "29", "39", "40", "42", "49", "51", "52", "53", "54", "55", "56", "65", "66", "79", "85", "87", "88", "98", "99"];
const DISCHARGE_DESTINATION: &[&str] =
    &["19", "29", "30", "37", "38", "40", "42", "48", "49", "50", "51", "52", "53", "54", "55", "56", "65", "66", "79", "84", "85", "87", "88", "98", "99"];
const DISCHARGE_METHOD: &[&str] = &["1", "2", "3", "4", "5", "6", "7", "8", "9"];
const CLASS: &[&str] = &["inpatient", "emergency", "outpatient", "pre-admission", "other"];
const ARRIVAL: &[&str] = &["ambulance", "other", "unknown"];

/// What a message says of a visit that is a code, or is found by a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Item {
    VisitNumber,
    Class,
    AdmissionMethod,
    SourceOfAdmission,
    DischargeDestination,
    DischargeMethod,
    ArrivalMode,
    Site,
    Uprn,
}

impl Item {
    pub const ALL: [Item; 9] = [
        Item::VisitNumber,
        Item::Class,
        Item::AdmissionMethod,
        Item::SourceOfAdmission,
        Item::DischargeDestination,
        Item::DischargeMethod,
        Item::ArrivalMode,
        Item::Site,
        Item::Uprn,
    ];

    /// As profiles and explanations name it.
    pub fn name(self) -> &'static str {
        match self {
            Item::VisitNumber => "visit-number",
            Item::Class => "class",
            Item::AdmissionMethod => "admission-method",
            Item::SourceOfAdmission => "source-of-admission",
            Item::DischargeDestination => "discharge-destination",
            Item::DischargeMethod => "discharge-method",
            Item::ArrivalMode => "arrival-mode",
            Item::Site => "site",
            Item::Uprn => "uprn",
        }
    }

    /// The codes that a local one may stand for; none for what is no code.
    pub fn codes(self) -> &'static [&'static str] {
        match self {
            Item::Class => CLASS,
            Item::AdmissionMethod => ADMISSION_METHOD,
            Item::SourceOfAdmission => SOURCE_OF_ADMISSION,
            Item::DischargeDestination => DISCHARGE_DESTINATION,
            Item::DischargeMethod => DISCHARGE_METHOD,
            Item::ArrivalMode => ARRIVAL,
            Item::VisitNumber | Item::Site | Item::Uprn => &[],
        }
    }

    /// Whether its value may be shown: numbers of a visit and of a dwelling lead to a person.
    pub fn is_personal(self) -> bool {
        matches!(self, Item::VisitNumber | Item::Uprn)
    }
}

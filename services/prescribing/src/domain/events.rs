//! What happened to one prescription, in the words of the domain.

use hearthline_nhs::{CallId, DeliveryId, OdsCode, Personal, PharmacyId, PrescriptionOrderNumber, ResidentId, Sctid, TaskId};

/// Who may issue which order: the EPS prescription type of an acute primary care prescriber.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrescriberType {
    /// 0101
    Medical,
    /// 0104
    NurseIndependent,
    /// 0105
    CommunityPractitionerNurse,
    /// 0108
    PharmacistIndependent,
    /// 0125
    ParamedicIndependent,
}

/// The code is not a prescription type that is written here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("one of 0101, 0104, 0105, 0108 and 0125")]
pub struct UnknownPrescriberType;

impl PrescriberType {
    const ALL: [Self; 5] = [Self::Medical, Self::NurseIndependent, Self::CommunityPractitionerNurse, Self::PharmacistIndependent, Self::ParamedicIndependent];

    /// From the four digits.
    pub fn parse(code: &str) -> Result<Self, UnknownPrescriberType> {
        Self::ALL.into_iter().find(|t| t.code() == code).ok_or(UnknownPrescriberType)
    }

    /// The four digits.
    pub fn code(self) -> &'static str {
        match self {
            Self::Medical => "0101",
            Self::NurseIndependent => "0104",
            Self::CommunityPractitionerNurse => "0105",
            Self::PharmacistIndependent => "0108",
            Self::ParamedicIndependent => "0125",
        }
    }

    /// The term that goes with the code.
    pub fn term(self) -> &'static str {
        match self {
            Self::Medical => "Primary Care Prescriber - Medical Prescriber",
            Self::NurseIndependent => "Primary Care Prescriber - Nurse Independent/Supplementary prescriber",
            Self::CommunityPractitionerNurse => "Primary Care Prescriber - Community Practitioner Nurse prescriber",
            Self::PharmacistIndependent => "Primary Care Prescriber - Pharmacist Independent/Supplementary prescriber",
            Self::ParamedicIndependent => "Primary Care Prescriber - Paramedic Independent/Supplementary prescriber",
        }
    }
}

/// How many units of a medicine: a positive decimal number of at most ten characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quantity(String);

/// Not a quantity that can be dispensed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a positive decimal number such as 21 or 2.5")]
pub struct QuantityError;

impl Quantity {
    pub fn parse(text: &str) -> Result<Self, QuantityError> {
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
        let positive = text.bytes().any(|b| (b'1'..=b'9').contains(&b));
        if text.len() <= 10 && digits(whole) && digits(part) && positive { Ok(Quantity(text.to_owned())) } else { Err(QuantityError) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One medicine of an order. What it is called and how it is taken is personal: together they tell of an illness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    pub id: [u8; 16],
    /// dm+d VMP or AMP.
    pub medicine: Sctid,
    pub quantity: Quantity,
    /// dm+d unit of measure.
    pub unit: Sctid,
    pub display: Personal<String>,
    pub dosage: Personal<String>,
}

/// An order was written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drafted {
    pub call: CallId,
    /// The version of the call that the prescriber saw.
    pub call_version: u64,
    pub resident: ResidentId,
    pub is_provisional: bool,
    pub prescriber_type: PrescriberType,
    pub items: Vec<Item>,
    pub indication: Personal<String>,
}

/// Why not the nearest open pharmacy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Override {
    HomePreference,
    Stock,
    Delivery,
    Collection,
    Other,
}

/// The prescriber signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    pub order_number: PrescriptionOrderNumber,
    /// The EPS long form.
    pub long_form_id: [u8; 16],
    /// SHA-256 of the signed bundle.
    pub bundle_digest: [u8; 32],
    /// µs UTC.
    pub signed_at: i64,
}

/// An attempt is about to leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submitted {
    pub delivery: DeliveryId,
    pub bundle_digest: [u8; 32],
    pub attempt: u32,
}

/// Somebody must do something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    pub id: TaskId,
    pub kind: String,
    /// µs UTC.
    pub due_at: i64,
    /// The delivery that it is about.
    pub subject: [u8; 16],
}

/// A fact of a prescription's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Drafted(Drafted),
    PharmacyChosen { pharmacy: PharmacyId, ods: OdsCode, distance_m: Option<u32>, nearest_open: bool, override_reason: Option<Override> },
    Signed(Signed),
    Submitted(Submitted),
    Accepted { delivery: DeliveryId, how: super::decide::Answer },
    Rejected { delivery: DeliveryId, code: String },
    TaskOpened(Task),
    TaskClosed { id: TaskId, kind: String, overtaken: bool },
    PersonalDataDestroyed,
}

//! Messages to the NHS Electronic Prescription Service (EPS FHIR API, R4) and its replies.
//!
//! A prescription is composed without a signature, its [`PrescriptionOrder::digest`] is signed, and it is composed again
//! with the signature: everything but the Provenance stays the same. What is signed covers the line items *and* the
//! patient, prescriber and organisation they refer to, so that none can be exchanged afterwards.
//!
//! Not checked here, because other code owns the rules: the check character of the prescription id, dm+d codes, NHS
//! number.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::bundle::{Bundle, BundleEntry, Resource};
use super::document::Subject;
pub use super::eps_reply::{CancelOutcome, EpsReply};
use super::order::{Urls, header, item_url, medication_request, parties};
use super::resources::*;
use super::types::*;
use super::{FhirError, instant, systems};

/// A code and its term; the system goes with the place it stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code<'a> {
    /// The code.
    pub code: &'a str,
    /// The term; may be empty.
    pub display: &'a str,
}

/// Where the patient's medicine is to be dispensed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dispenser<'a> {
    /// A site the patient agreed to.
    Nominated {
        /// Its ODS code.
        ods: &'a str,
        /// What kind of site.
        site: DispensingSite,
    },
    /// None (code 0004): the patient chooses later.
    NotNominated,
}

/// Kind of dispensing site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DispensingSite {
    /// P1
    Pharmacy,
    /// P2
    ApplianceContractor,
    /// P3
    DispensingDoctor,
}

/// Professional body of a prescriber.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProfessionalBody {
    /// General Medical Council.
    Gmc,
    /// Nursing and Midwifery Council.
    Nmc,
    /// General Pharmaceutical Council.
    Gphc,
    /// Health and Care Professions Council.
    Hcpc,
}

/// Who prescribes.
#[derive(Clone, Copy)]
pub struct Prescriber<'a> {
    /// Spine user.
    pub sds_user_id: &'a str,
    /// Spine role profile.
    pub role_profile_id: &'a str,
    /// Job role, such as R8000.
    pub role: Code<'a>,
    /// Who registers them.
    pub body: ProfessionalBody,
    /// Their number there.
    pub registration_number: &'a str,
    /// Doctor index number.
    pub din: Option<&'a str>,
    /// Family name.
    pub family: &'a str,
    /// Given name.
    pub given: &'a str,
    /// `DR`
    pub prefix: &'a str,
    /// Work telephone.
    pub phone: &'a str,
}

/// Where they prescribe from.
#[derive(Clone, Copy)]
pub struct PrescribingOrganisation<'a> {
    /// ODS code.
    pub ods: &'a str,
    /// Name.
    pub name: &'a str,
    /// Organisation role, such as 76 GP practice for prescription types 01xx.
    pub role: Option<Code<'a>>,
    /// Lines above the postcode.
    pub address_lines: &'a [&'a str],
    /// Postcode.
    pub postcode: &'a str,
    /// Telephone.
    pub phone: &'a str,
    /// ODS code of the organisation above it.
    pub parent_ods: Option<&'a str>,
}

/// One line item.
#[derive(Clone)]
pub struct PrescriptionItem<'a> {
    /// Unique to the item for ever.
    pub id: Uuid,
    /// dm+d VMP or AMP.
    pub medicine: Code<'a>,
    /// Dosage in words.
    pub dosage: &'a str,
    /// How many units.
    pub quantity: serde_json::Number,
    /// Unit of measure, a SNOMED CT code such as 428673006 tablet.
    pub unit: Code<'a>,
}

/// An acute prescription of one to four items.
#[derive(Clone)]
pub struct PrescriptionOrder<'a> {
    /// Identifier of this message; a repeat of the same message carries the same.
    pub message_id: Uuid,
    /// `RRRRRR-OOOOOO-SSSSSC`
    pub short_form_id: &'a str,
    /// Long-form id.
    pub long_form_id: Uuid,
    /// Such as 0101.
    pub prescription_type: Code<'a>,
    /// Microseconds since 1970-01-01T00:00:00Z.
    pub authored_at_us: i64,
    /// First day it may be dispensed, `YYYY-MM-DD`.
    pub valid_from: &'a str,
    /// Last day, `YYYY-MM-DD`.
    pub valid_to: Option<&'a str>,
    /// Expected supply, whole days; one value for all items.
    pub supply_days: Option<u32>,
    /// The patient.
    pub subject: Subject<'a>,
    /// The prescriber.
    pub prescriber: Prescriber<'a>,
    /// Where from.
    pub organisation: PrescribingOrganisation<'a>,
    /// Where to.
    pub dispenser: Dispenser<'a>,
    /// MessageHeader.source.endpoint.
    pub source_endpoint: &'a str,
    /// MessageHeader.destination.endpoint.
    pub destination_endpoint: &'a str,
    /// One to four.
    pub items: Vec<PrescriptionItem<'a>>,
}

/// An advanced electronic signature over [`PrescriptionOrder::digest`].
#[derive(Clone, Copy)]
pub struct Signed<'a> {
    /// Time of the `$prepare` answer, microseconds since 1970-01-01T00:00:00Z.
    pub signed_at_us: i64,
    /// Signature document; base64 is added here.
    pub signature: &'a [u8],
}

/// Why an item is cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelReason {
    /// 0001
    PrescribingError,
    /// 0002
    ClinicalContraIndication,
    /// 0003
    ChangeOfRegime,
    /// 0004
    ClinicalGrounds,
    /// 0005
    PatientRequest,
    /// 0006
    PharmacistRequest,
    /// 0007
    NotificationOfDeath,
    /// 0008
    PatientDeductedOther,
    /// 0009
    PatientDeductedNewPractice,
}

impl PrescriptionOrder<'_> {
    /// The `prescription-order` message; without a signature, what `$prepare` takes.
    pub fn bundle(&self, signed: Option<&Signed<'_>>) -> Result<Bundle, FhirError> {
        if !(1..=4).contains(&self.items.len()) {
            return Err(FhirError::ItemCount { count: self.items.len() });
        }
        let urls = Urls::of(self.long_form_id, self.message_id);
        let event = ("prescription-order", "Prescription Order");
        let mut entry = vec![BundleEntry::of(&urls.header, header(self, &urls, event, self.items.iter().map(item_url)))];
        for item in &self.items {
            entry.push(BundleEntry::of(&item_url(item), medication_request(self, item, &urls)?));
        }
        entry.extend(parties(self, &self.prescriber, &urls));
        if let Some(signed) = signed {
            let targets = self.items.iter().map(item_url).collect();
            entry.push(BundleEntry::of(&urls.provenance, provenance(signed, targets, &urls)?));
        }
        message(self.message_id, entry)
    }

    /// SHA-256 of [`signable`] of the message.
    pub fn digest(&self) -> Result<[u8; 32], FhirError> {
        Ok(digest(&self.bundle(None)?))
    }

    /// The `prescription-order-update` message that cancels one item. `requested_by` may be another than the prescriber.
    pub fn cancel(&self, message_id: Uuid, item: Uuid, reason: CancelReason, requested_by: &Prescriber<'_>) -> Result<Bundle, FhirError> {
        let item = self.items.iter().find(|known| known.id == item).ok_or(FhirError::NoSuchItem)?;
        let urls = Urls::of(self.long_form_id, message_id);
        let event = ("prescription-order-update", "Prescription Order Update");
        let (code, term) = reason.code_and_term();
        let request = MedicationRequest {
            status: some("cancelled"),
            status_reason: Some(CodeableConcept::new(systems::STATUS_REASON, code, term)),
            ..medication_request(self, item, &urls)?
        };
        let mut entry =
            vec![BundleEntry::of(&urls.header, header(self, &urls, event, std::iter::once(item_url(item)))), BundleEntry::of(&item_url(item), request)];
        entry.extend(parties(self, requested_by, &urls));
        message(message_id, entry)
    }
}

/// The bytes a signature covers: every resource but MessageHeader and Provenance with its URL, in order. The same for a
/// message composed here and for that message read back.
pub fn signable(bundle: &Bundle) -> Vec<u8> {
    let covered: Vec<BundleEntry> =
        bundle.entry.iter().filter(|entry| !matches!(entry.resource, None | Some(Resource::MessageHeader(_) | Resource::Provenance(_)))).cloned().collect();
    serde_json::to_vec(&covered).expect("maps with text keys and no floats that are not numbers")
}

/// SHA-256 of [`signable`].
pub fn digest(bundle: &Bundle) -> [u8; 32] {
    Sha256::digest(signable(bundle)).into()
}

/// The signature document of a message, base64 removed; `None` when there is none or it cannot be read.
pub fn signature_of(bundle: &Bundle) -> Option<Vec<u8>> {
    let provenance = bundle.resources().find_map(|resource| match resource {
        Resource::Provenance(provenance) => Some(provenance),
        _ => None,
    })?;
    STANDARD.decode(provenance.signature.first()?.data.as_deref()?).ok()
}

fn message(id: Uuid, entry: Vec<BundleEntry>) -> Result<Bundle, FhirError> {
    Ok(Bundle { identifier: Some(Identifier::new(systems::UUID, &id.to_string())), r#type: some("message"), entry, ..Bundle::default() })
}

fn provenance(signed: &Signed<'_>, targets: Vec<String>, urls: &Urls) -> Result<Provenance, FhirError> {
    let when = instant(signed.signed_at_us)?;
    let who = Some(Reference::to(&urls.role));
    Ok(Provenance {
        target: targets.iter().map(|url| Reference::to(url)).collect(),
        recorded: Some(when.clone()),
        agent: vec![ProvenanceAgent { who: who.clone() }],
        signature: vec![Signature {
            r#type: vec![Coding::new(systems::SIGNATURE_TYPE, "1.2.840.10065.1.12.1.1", "")],
            when: Some(when),
            who,
            data: Some(STANDARD.encode(signed.signature)),
        }],
        ..Provenance::default()
    })
}

impl Dispenser<'_> {
    pub(super) fn nominated_ods(&self) -> Option<&str> {
        match self {
            Self::Nominated { ods, .. } => Some(ods),
            Self::NotNominated => None,
        }
    }

    pub(super) fn site_type(&self) -> &'static str {
        match self {
            Self::Nominated { site: DispensingSite::Pharmacy, .. } => "P1",
            Self::Nominated { site: DispensingSite::ApplianceContractor, .. } => "P2",
            Self::Nominated { site: DispensingSite::DispensingDoctor, .. } => "P3",
            Self::NotNominated => "0004",
        }
    }
}

impl ProfessionalBody {
    pub(super) fn system(self) -> &'static str {
        match self {
            Self::Gmc => systems::GMC_NUMBER,
            Self::Nmc => systems::NMC_NUMBER,
            Self::Gphc => systems::GPHC_NUMBER,
            Self::Hcpc => systems::HCPC_NUMBER,
        }
    }
}

impl CancelReason {
    /// Code and term as EPS has them.
    pub fn code_and_term(self) -> (&'static str, &'static str) {
        match self {
            Self::PrescribingError => ("0001", "Prescribing Error"),
            Self::ClinicalContraIndication => ("0002", "Clinical contra-indication"),
            Self::ChangeOfRegime => ("0003", "Change to medication treatment regime"),
            Self::ClinicalGrounds => ("0004", "Clinical grounds"),
            Self::PatientRequest => ("0005", "At the Patient's request"),
            Self::PharmacistRequest => ("0006", "At the Pharmacist's request"),
            Self::NotificationOfDeath => ("0007", "Notification of Death"),
            Self::PatientDeductedOther => ("0008", "Patient deducted - other reason"),
            Self::PatientDeductedNewPractice => ("0009", "Patient deducted - registered with new practice"),
        }
    }
}

#[cfg(test)]
#[path = "eps_tests.rs"]
mod tests;

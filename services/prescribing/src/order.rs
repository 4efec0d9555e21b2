//! From a prescription, a person and a prescriber to the EPS message.

use crate::domain::{Chosen, Prescription, Rejection};
use crate::people::Person;
use crate::signer::PrescriberDetails;
use hearthline_interop::fhir::document::Subject;
use hearthline_interop::fhir::eps::{
    Code, Dispenser, DispensingSite, Prescriber, PrescribingOrganisation, PrescriptionItem, PrescriptionOrder, ProfessionalBody, Signed,
};
use hearthline_interop::fhir::{Bundle, FhirError};
use hearthline_nhs::{PrescriptionOrderNumber, Sctid, london_date};
use uuid::Uuid;

/// What an order needs beside the prescription itself.
pub struct Order<'a> {
    pub prescription: &'a Prescription,
    pub chosen: &'a Chosen,
    pub person: &'a Person,
    pub prescriber: &'a PrescriberDetails,
    pub number: &'a PrescriptionOrderNumber,
    pub message_id: Uuid,
    pub long_form_id: Uuid,
    /// ODS code and name of the organisation that prescribes.
    pub organisation: (&'a str, &'a str),
    /// Base address of the prescription service.
    pub endpoint: &'a str,
    /// When it was written, µs UTC.
    pub authored_at: i64,
}

/// Labels of the units most used; others go by their code alone.
fn unit_label(unit: Sctid) -> &'static str {
    match unit.value() {
        428_673_006 => "tablet",
        428_641_000 => "capsule",
        258_773_002 => "millilitre",
        258_682_000 => "gram",
        _ => "",
    }
}

/// The order cannot be composed.
#[derive(Debug, thiserror::Error)]
pub enum NotComposed {
    #[error(transparent)]
    Rejected(#[from] Rejection),
    #[error("the order does not compose")]
    Fhir(#[from] FhirError),
}

impl Order<'_> {
    /// The message; without a signature, what `$prepare` takes.
    pub fn bundle(&self, signed: Option<&Signed<'_>>) -> Result<Bundle, NotComposed> {
        let draft = &self.prescription.draft;
        let d = &self.person.demographics;
        if d.nhs_number.is_empty() {
            return Err(Rejection::NoNhsNumber.into());
        }
        let codes: Vec<(String, String)> = draft.items.iter().map(|i| (i.medicine.to_string(), i.unit.to_string())).collect();
        let mut items = Vec::with_capacity(draft.items.len());
        for (item, (medicine, unit)) in draft.items.iter().zip(&codes) {
            let (Some(display), Some(dosage)) = (item.display.known(), item.dosage.known()) else {
                return Err(Rejection::PersonalDataNotReadable.into());
            };
            items.push(PrescriptionItem {
                id: Uuid::from_bytes(item.id),
                medicine: Code { code: medicine, display },
                dosage,
                quantity: serde_json::from_str(item.quantity.as_str()).map_err(|_| FhirError::Unexpected { expected: "quantity" })?,
                unit: Code { code: unit, display: unit_label(item.unit) },
            });
        }
        let given: Vec<&str> = d.given_names.iter().map(String::as_str).collect();
        let lines: Vec<&str> = d.address_lines.iter().map(String::as_str).collect();
        let valid_from = london_date(self.authored_at).map_err(|_| FhirError::TimeOutOfRange)?.to_string();
        let text = |s: &'static str| Code { code: s, display: "" };
        let order = PrescriptionOrder {
            message_id: self.message_id,
            short_form_id: self.number.as_str(),
            long_form_id: self.long_form_id,
            prescription_type: Code { code: draft.prescriber_type.code(), display: draft.prescriber_type.term() },
            authored_at_us: self.authored_at,
            valid_from: &valid_from,
            valid_to: None,
            supply_days: None,
            subject: Subject {
                nhs_number: Some(&d.nhs_number),
                is_nhs_number_verified: false,
                family: &d.family_name,
                given: &given,
                gender: self.person.gender(),
                birth_date: Some(d.date_of_birth.as_str()).filter(|s| !s.is_empty()),
                address_lines: &lines,
                postcode: &d.postcode,
                practice_ods: Some(self.person.practice_ods.as_str()).filter(|s| !s.is_empty()),
            },
            prescriber: Prescriber {
                sds_user_id: &self.prescriber.sds_user_id,
                role_profile_id: &self.prescriber.role_profile_id,
                role: Code { code: "R8000", display: "Clinical Practitioner Access Role" },
                body: ProfessionalBody::Gmc,
                registration_number: &self.prescriber.gmc_number,
                din: None,
                family: &self.prescriber.family,
                given: &self.prescriber.given,
                prefix: &self.prescriber.prefix,
                phone: "",
            },
            organisation: PrescribingOrganisation {
                ods: self.organisation.0,
                name: self.organisation.1,
                role: Some(text("76")),
                address_lines: &[],
                postcode: "",
                phone: "",
                parent_ods: None,
            },
            dispenser: Dispenser::Nominated { ods: self.chosen.ods.as_str(), site: DispensingSite::Pharmacy },
            source_endpoint: "urn:hearthline:prescribing",
            destination_endpoint: self.endpoint,
            items,
        };
        Ok(order.bundle(signed)?)
    }
}

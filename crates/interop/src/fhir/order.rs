//! The resources of a prescription order. What must be the same in every line item is taken from one place.

use uuid::Uuid;

use super::bundle::BundleEntry;
use super::document::full_url;
use super::eps::{Code, Dispenser, Prescriber, PrescribingOrganisation, PrescriptionItem, PrescriptionOrder};
use super::resources::*;
use super::types::*;
use super::{FhirError, instant, systems};

/// `urn:uuid:` of each shared resource of one prescription.
pub(super) struct Urls {
    pub(super) header: String,
    pub(super) patient: String,
    pub(super) role: String,
    practitioner: String,
    organisation: String,
    pub(super) provenance: String,
}

impl Urls {
    pub(super) fn of(prescription: Uuid, message: Uuid) -> Self {
        let part = |name| full_url(prescription, name);
        Self {
            header: full_url(message, "MessageHeader"),
            patient: part("Patient"),
            role: part("PractitionerRole"),
            practitioner: part("Practitioner"),
            organisation: part("Organization"),
            provenance: full_url(message, "Provenance"),
        }
    }
}

pub(super) fn item_url(item: &PrescriptionItem<'_>) -> String {
    format!("urn:uuid:{}", item.id)
}

pub(super) fn header(order: &PrescriptionOrder<'_>, urls: &Urls, event: (&str, &str), focus: impl Iterator<Item = String>) -> MessageHeader {
    let receiver = order.dispenser.nominated_ods();
    MessageHeader {
        event_coding: Some(Coding::new(systems::MESSAGE_EVENT, event.0, event.1)),
        destination: vec![MessageDestination {
            endpoint: some(order.destination_endpoint),
            receiver: receiver.map(|ods| Reference::by_identifier(systems::ODS_CODE, ods)),
        }],
        sender: Some(Reference { display: some(order.organisation.name), ..Reference::by_identifier(systems::ODS_CODE, order.organisation.ods) }),
        source: Some(MessageSource { endpoint: some(order.source_endpoint), name: None }),
        focus: focus.chain([urls.patient.clone(), urls.role.clone()]).map(|url| Reference::to(&url)).collect(),
        ..MessageHeader::default()
    }
}

pub(super) fn medication_request(order: &PrescriptionOrder<'_>, item: &PrescriptionItem<'_>, urls: &Urls) -> Result<MedicationRequest, FhirError> {
    Ok(MedicationRequest {
        extension: vec![coded(systems::PRESCRIPTION_TYPE_EXTENSION, systems::PRESCRIPTION_TYPE, order.prescription_type)],
        identifier: vec![Identifier::new(systems::PRESCRIPTION_ORDER_ITEM_NUMBER, &item.id.to_string())],
        status: some("active"),
        intent: some("order"),
        category: vec![CodeableConcept::new(systems::MEDICATION_REQUEST_CATEGORY, "community", "Community")],
        medication_codeable_concept: Some(CodeableConcept::new(systems::SNOMED_CT, item.medicine.code, item.medicine.display)),
        subject: Some(Reference::to(&urls.patient)),
        authored_on: Some(instant(order.authored_at_us)?),
        requester: Some(Reference::to(&urls.role)),
        group_identifier: Some(Identifier {
            extension: vec![Extension {
                url: systems::PRESCRIPTION_ID_EXTENSION.to_owned(),
                value_identifier: Some(Identifier::new(systems::PRESCRIPTION, &order.long_form_id.to_string())),
                ..Extension::default()
            }],
            ..Identifier::new(systems::PRESCRIPTION_ORDER_NUMBER, order.short_form_id)
        }),
        course_of_therapy_type: Some(CodeableConcept::new(systems::COURSE_OF_THERAPY, "acute", "Short course (acute) therapy")),
        dosage_instruction: vec![Dosage { text: some(item.dosage), ..Dosage::default() }],
        dispense_request: Some(dispense_request(order, item)),
        substitution: Some(Substitution { allowed_boolean: Some(false) }),
        ..MedicationRequest::default()
    })
}

/// Patient, PractitionerRole, Practitioner, Organization.
pub(super) fn parties(order: &PrescriptionOrder<'_>, prescriber: &Prescriber<'_>, urls: &Urls) -> Vec<BundleEntry> {
    vec![
        BundleEntry::of(&urls.patient, order.subject.patient()),
        BundleEntry::of(&urls.role, role(prescriber, urls)),
        BundleEntry::of(&urls.practitioner, practitioner(prescriber)),
        BundleEntry::of(&urls.organisation, organisation(&order.organisation)),
    ]
}

fn dispense_request(order: &PrescriptionOrder<'_>, item: &PrescriptionItem<'_>) -> DispenseRequest {
    let site_type = Code { code: order.dispenser.site_type(), display: "" };
    DispenseRequest {
        extension: vec![coded(systems::PERFORMER_SITE_TYPE_EXTENSION, systems::DISPENSING_SITE_PREFERENCE, site_type)],
        validity_period: Some(Period { start: some(order.valid_from), end: order.valid_to.and_then(some) }),
        quantity: Some(Quantity {
            value: Some(item.quantity.clone()),
            unit: some(item.unit.display),
            system: some(systems::SNOMED_CT),
            code: some(item.unit.code),
        }),
        expected_supply_duration: order.supply_days.map(|days| Quantity {
            value: Some(days.into()),
            unit: some("day"),
            system: some(systems::UCUM),
            code: some("d"),
        }),
        performer: match order.dispenser {
            Dispenser::Nominated { ods, .. } => Some(Reference::by_identifier(systems::ODS_CODE, ods)),
            Dispenser::NotNominated => None,
        },
    }
}

fn role(prescriber: &Prescriber<'_>, urls: &Urls) -> PractitionerRole {
    PractitionerRole {
        identifier: vec![Identifier::new(systems::SDS_ROLE_PROFILE_ID, prescriber.role_profile_id)],
        practitioner: Some(Reference::to(&urls.practitioner)),
        organization: Some(Reference::to(&urls.organisation)),
        code: vec![CodeableConcept::new(systems::SDS_JOB_ROLE, prescriber.role.code, prescriber.role.display)],
        telecom: phone(prescriber.phone),
        ..PractitionerRole::default()
    }
}

fn practitioner(prescriber: &Prescriber<'_>) -> Practitioner {
    let numbers = [
        (systems::SDS_USER_ID, Some(prescriber.sds_user_id)),
        (prescriber.body.system(), Some(prescriber.registration_number)),
        (systems::DIN_NUMBER, prescriber.din),
    ];
    Practitioner {
        identifier: numbers.into_iter().filter_map(|(system, value)| Some(Identifier::new(system, value?))).collect(),
        name: vec![HumanName {
            family: some(prescriber.family),
            given: some(prescriber.given).into_iter().collect(),
            prefix: some(prescriber.prefix).into_iter().collect(),
            ..HumanName::default()
        }],
        ..Practitioner::default()
    }
}

fn organisation(organisation: &PrescribingOrganisation<'_>) -> Organization {
    Organization {
        identifier: vec![Identifier::new(systems::ODS_CODE, organisation.ods)],
        r#type: organisation.role.map(|role| CodeableConcept::new(systems::ORGANISATION_ROLE, role.code, role.display)).into_iter().collect(),
        name: some(organisation.name),
        telecom: phone(organisation.phone),
        address: vec![Address {
            r#use: some("work"),
            line: organisation.address_lines.iter().filter_map(|line| some(line)).collect(),
            postal_code: some(organisation.postcode),
            ..Address::default()
        }],
        part_of: organisation.parent_ods.map(|ods| Reference::by_identifier(systems::ODS_CODE, ods)),
        ..Organization::default()
    }
}

fn phone(number: &str) -> Vec<ContactPoint> {
    let number = some(number);
    number.map(|value| ContactPoint { system: some("phone"), value: Some(value), r#use: some("work") }).into_iter().collect()
}

fn coded(url: &str, system: &str, code: Code<'_>) -> Extension {
    Extension { url: url.to_owned(), value_coding: Some(Coding::new(system, code.code, code.display)), ..Extension::default() }
}

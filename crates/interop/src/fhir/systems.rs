//! Identifier systems, code systems and profiles, exactly as the NHS publishes them. Case matters when sending.

/// NHS number of a patient.
pub const NHS_NUMBER: &str = "https://fhir.nhs.uk/Id/nhs-number";
/// ODS code of an organisation.
pub const ODS_CODE: &str = "https://fhir.nhs.uk/Id/ods-organization-code";
/// Spine Directory Service user.
pub const SDS_USER_ID: &str = "https://fhir.nhs.uk/Id/sds-user-id";
/// Spine Directory Service role profile.
pub const SDS_ROLE_PROFILE_ID: &str = "https://fhir.nhs.uk/Id/sds-role-profile-id";
/// General Medical Council.
pub const GMC_NUMBER: &str = "https://fhir.hl7.org.uk/Id/gmc-number";
/// Nursing and Midwifery Council.
pub const NMC_NUMBER: &str = "https://fhir.hl7.org.uk/Id/nmc-number";
/// General Pharmaceutical Council.
pub const GPHC_NUMBER: &str = "https://fhir.hl7.org.uk/Id/gphc-number";
/// Health and Care Professions Council.
pub const HCPC_NUMBER: &str = "https://fhir.hl7.org.uk/Id/hcpc-number";
/// Doctor index number.
pub const DIN_NUMBER: &str = "https://fhir.hl7.org.uk/Id/din-number";
/// SNOMED CT, and dm+d in it.
pub const SNOMED_CT: &str = "http://snomed.info/sct";
/// Units of measure.
pub const UCUM: &str = "http://unitsofmeasure.org";
/// A UUID as an identifier value.
pub const UUID: &str = "https://tools.ietf.org/html/rfc4122";
/// NHS number tracing status, extension and code system.
pub const NHS_NUMBER_STATUS_EXTENSION: &str = "https://fhir.hl7.org.uk/StructureDefinition/Extension-UKCore-NHSNumberVerificationStatus";
/// Code system of the tracing status in England.
pub const NHS_NUMBER_STATUS: &str = "https://fhir.hl7.org.uk/CodeSystem/UKCore-NHSNumberVerificationStatusEngland";
/// Encounter class.
pub const ACT_CODE: &str = "http://terminology.hl7.org/CodeSystem/v3-ActCode";

/// Short-form prescription id.
pub const PRESCRIPTION_ORDER_NUMBER: &str = "https://fhir.nhs.uk/Id/prescription-order-number";
/// Long-form prescription id, a UUID.
pub const PRESCRIPTION: &str = "https://fhir.nhs.uk/Id/prescription";
/// Line item of a prescription, a UUID.
pub const PRESCRIPTION_ORDER_ITEM_NUMBER: &str = "https://fhir.nhs.uk/Id/prescription-order-item-number";
/// Event of an EPS message.
pub const MESSAGE_EVENT: &str = "https://fhir.nhs.uk/CodeSystem/message-event";
/// Prescription type extension.
pub const PRESCRIPTION_TYPE_EXTENSION: &str = "https://fhir.nhs.uk/StructureDefinition/Extension-DM-PrescriptionType";
/// Prescription type codes.
pub const PRESCRIPTION_TYPE: &str = "https://fhir.nhs.uk/CodeSystem/prescription-type";
/// Long-form prescription id extension.
pub const PRESCRIPTION_ID_EXTENSION: &str = "https://fhir.nhs.uk/StructureDefinition/Extension-DM-PrescriptionId";
/// Dispensing site type extension.
pub const PERFORMER_SITE_TYPE_EXTENSION: &str = "https://fhir.nhs.uk/StructureDefinition/Extension-DM-PerformerSiteType";
/// Dispensing site type codes.
pub const DISPENSING_SITE_PREFERENCE: &str = "https://fhir.nhs.uk/CodeSystem/dispensing-site-preference";
/// Outcome of a cancellation, extension and codes.
pub const STATUS_HISTORY_EXTENSION: &str = "https://fhir.nhs.uk/StructureDefinition/Extension-DM-PrescriptionStatusHistory";
/// Codes of the outcome of a cancellation.
pub const STATUS_HISTORY: &str = "https://fhir.nhs.uk/CodeSystem/medicationrequest-status-history";
/// Reason for a cancellation.
pub const STATUS_REASON: &str = "https://fhir.nhs.uk/CodeSystem/medicationrequest-status-reason";
/// Category of a medication request.
pub const MEDICATION_REQUEST_CATEGORY: &str = "http://terminology.hl7.org/CodeSystem/medicationrequest-category";
/// Course of therapy of a medication request.
pub const COURSE_OF_THERAPY: &str = "http://terminology.hl7.org/CodeSystem/medicationrequest-course-of-therapy";
/// Job role of a prescriber.
pub const SDS_JOB_ROLE: &str = "https://fhir.nhs.uk/CodeSystem/NHSDigital-SDS-JobRoleCode";
/// Role of an organisation.
pub const ORGANISATION_ROLE: &str = "https://fhir.nhs.uk/CodeSystem/organisation-role";
/// Kind of signature in a Provenance.
pub const SIGNATURE_TYPE: &str = "urn:iso-astm:E1762-95:2013";

/// `https://fhir.hl7.org.uk/StructureDefinition/UKCore-{resource}`.
pub fn uk_core_profile(resource: &str) -> String {
    format!("https://fhir.hl7.org.uk/StructureDefinition/UKCore-{resource}")
}

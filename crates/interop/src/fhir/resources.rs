//! FHIR resources, as far as they are used. What a server adds beyond these fields is not kept when read.

use serde::{Deserialize, Serialize};

use super::types::*;

type Text = Option<String>;

fhir_struct! {
    /// Composition: the first entry of a document.
    Composition {
        id: Text,
        meta: Option<Meta>,
        identifier: Option<Identifier>,
        status: Text,
        r#type: Option<CodeableConcept>,
        subject: Option<Reference>,
        encounter: Option<Reference>,
        date: Text,
        author: Vec<Reference>,
        title: Text,
        custodian: Option<Reference>,
        relates_to: Vec<CompositionRelation>,
        section: Vec<CompositionSection>,
    }
    /// Composition.relatesTo.
    CompositionRelation { code: Text, target_identifier: Option<Identifier> }
    /// Composition.section.
    CompositionSection { title: Text, code: Option<CodeableConcept>, text: Option<Narrative>, entry: Vec<Reference> }
    /// Patient.
    Patient {
        id: Text,
        meta: Option<Meta>,
        identifier: Vec<Identifier>,
        name: Vec<HumanName>,
        gender: Text,
        birth_date: Text,
        address: Vec<Address>,
        general_practitioner: Vec<Reference>,
    }
    /// Practitioner.
    Practitioner { id: Text, identifier: Vec<Identifier>, name: Vec<HumanName> }
    /// PractitionerRole.
    PractitionerRole {
        id: Text,
        identifier: Vec<Identifier>,
        practitioner: Option<Reference>,
        organization: Option<Reference>,
        code: Vec<CodeableConcept>,
        telecom: Vec<ContactPoint>,
    }
    /// Organization.
    Organization {
        id: Text,
        identifier: Vec<Identifier>,
        r#type: Vec<CodeableConcept>,
        name: Text,
        telecom: Vec<ContactPoint>,
        address: Vec<Address>,
        part_of: Option<Reference>,
    }
    /// Encounter.
    Encounter {
        id: Text,
        meta: Option<Meta>,
        identifier: Vec<Identifier>,
        status: Text,
        class: Option<Coding>,
        subject: Option<Reference>,
        period: Option<Period>,
        service_provider: Option<Reference>,
    }
    /// DocumentReference.
    DocumentReference {
        id: Text,
        meta: Option<Meta>,
        master_identifier: Option<Identifier>,
        identifier: Vec<Identifier>,
        status: Text,
        doc_status: Text,
        r#type: Option<CodeableConcept>,
        category: Vec<CodeableConcept>,
        subject: Option<Reference>,
        date: Text,
        author: Vec<Reference>,
        custodian: Option<Reference>,
        relates_to: Vec<DocumentRelation>,
        content: Vec<DocumentContent>,
        context: Option<DocumentContext>,
    }
    /// DocumentReference.relatesTo.
    DocumentRelation { code: Text, target: Option<Reference> }
    /// DocumentReference.content.
    DocumentContent { attachment: Attachment }
    /// DocumentReference.context.
    DocumentContext { encounter: Vec<Reference>, period: Option<Period> }
    /// MessageHeader: the first entry of a message.
    MessageHeader {
        id: Text,
        extension: Vec<Extension>,
        event_coding: Option<Coding>,
        destination: Vec<MessageDestination>,
        sender: Option<Reference>,
        source: Option<MessageSource>,
        response: Option<MessageResponse>,
        focus: Vec<Reference>,
    }
    /// MessageHeader.destination.
    MessageDestination { endpoint: Text, receiver: Option<Reference> }
    /// MessageHeader.source.
    MessageSource { name: Text, endpoint: Text }
    /// MessageHeader.response.
    MessageResponse { identifier: Text, code: Text }
    /// MedicationRequest: one line item of a prescription.
    MedicationRequest {
        id: Text,
        extension: Vec<Extension>,
        identifier: Vec<Identifier>,
        status: Text,
        status_reason: Option<CodeableConcept>,
        intent: Text,
        category: Vec<CodeableConcept>,
        medication_codeable_concept: Option<CodeableConcept>,
        subject: Option<Reference>,
        authored_on: Text,
        requester: Option<Reference>,
        group_identifier: Option<Identifier>,
        course_of_therapy_type: Option<CodeableConcept>,
        note: Vec<Annotation>,
        dosage_instruction: Vec<Dosage>,
        dispense_request: Option<DispenseRequest>,
        substitution: Option<Substitution>,
    }
    /// Annotation.
    Annotation { text: Text }
    /// Dosage.
    Dosage { sequence: Option<u32>, text: Text, patient_instruction: Text }
    /// MedicationRequest.dispenseRequest.
    DispenseRequest {
        extension: Vec<Extension>,
        validity_period: Option<Period>,
        quantity: Option<Quantity>,
        expected_supply_duration: Option<Quantity>,
        performer: Option<Reference>,
    }
    /// MedicationRequest.substitution.
    Substitution { allowed_boolean: Option<bool> }
    /// Provenance: who signed what.
    Provenance {
        id: Text,
        target: Vec<Reference>,
        recorded: Text,
        agent: Vec<ProvenanceAgent>,
        signature: Vec<Signature>,
    }
    /// Provenance.agent.
    ProvenanceAgent { who: Option<Reference> }
    /// Parameters, as `$prepare` answers.
    Parameters { parameter: Vec<Parameter> }
    /// Parameters.parameter.
    Parameter { name: Text, value_string: Text }
}

//! A care plan as a FHIR document, and its upload to a shared care record.
//!
//! The document bundle is the thing itself; the DocumentReference describes and carries it; the transaction sends it so
//! that a repeat after a lost answer creates nothing. A new version replaces the old one in the same transaction.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};
use uuid::Uuid;

use super::bundle::{Bundle, BundleEntry, EntryRequest};
use super::narrative::table;
use super::resources::*;
use super::types::*;
use super::{FhirError, identifier_query, identifier_query_encoded, instant, systems};

/// The person a document or prescription is about. Empty texts are left out.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    /// Ten digits, checked by the caller.
    pub nhs_number: Option<&'a str>,
    /// Tracing status 01.
    pub is_nhs_number_verified: bool,
    /// Family name.
    pub family: &'a str,
    /// Given names.
    pub given: &'a [&'a str],
    /// `male`, `female`, `other` or `unknown`.
    pub gender: Option<&'a str>,
    /// `YYYY-MM-DD`
    pub birth_date: Option<&'a str>,
    /// Lines above the postcode.
    pub address_lines: &'a [&'a str],
    /// Postcode.
    pub postcode: &'a str,
    /// ODS code of the registered practice.
    pub practice_ods: Option<&'a str>,
}

/// Who wrote a document.
#[derive(Clone, Copy)]
pub struct Author<'a> {
    /// System of the identifier, one of [`systems`].
    pub identifier_system: &'a str,
    /// Registration or user number.
    pub identifier: &'a str,
    /// Family name.
    pub family: &'a str,
    /// Given name.
    pub given: &'a str,
}

/// An organisation by its ODS code.
#[derive(Debug, Clone, Copy)]
pub struct OdsOrganisation<'a> {
    /// ODS code.
    pub ods: &'a str,
    /// Its name.
    pub name: &'a str,
}

/// The contact a document came from.
#[derive(Debug, Clone, Copy)]
pub struct Contact {
    /// Identifier of the contact.
    pub id: Uuid,
    /// Microseconds since 1970-01-01T00:00:00Z.
    pub began_at_us: i64,
    /// The same; `None` while it lasts.
    pub ended_at_us: Option<i64>,
}

/// One section, a table of label and text.
#[derive(Clone, Copy)]
pub struct Section<'a> {
    /// Heading.
    pub title: &'a str,
    /// SNOMED CT code and term of the heading, where there is one.
    pub code: Option<(&'a str, &'a str)>,
    /// Label and text.
    pub rows: &'a [(&'a str, &'a str)],
}

/// A care plan to be shared.
#[derive(Clone, Copy)]
pub struct CarePlanDocument<'a> {
    /// What all versions of this document have in common.
    pub set_id: Uuid,
    /// From 1.
    pub version: u32,
    /// The version this one replaces.
    pub replaces_version: Option<u32>,
    /// Microseconds since 1970-01-01T00:00:00Z.
    pub composed_at_us: i64,
    /// Title for people.
    pub title: &'a str,
    /// The person.
    pub subject: Subject<'a>,
    /// The author.
    pub author: Author<'a>,
    /// Who answers for the document.
    pub custodian: OdsOrganisation<'a>,
    /// The contact it came from.
    pub contact: Option<Contact>,
    /// Content.
    pub sections: &'a [Section<'a>],
}

/// The business identifier of one version of a document: UUIDv5 of what its versions share and the version number.
pub fn document_identifier(set_id: Uuid, version: u32) -> Uuid {
    Uuid::new_v5(&set_id, format!("document version {version}").as_bytes())
}

impl CarePlanDocument<'_> {
    /// The business identifier of this version.
    pub fn identifier(&self) -> Uuid {
        document_identifier(self.set_id, self.version)
    }

    /// The document bundle: Composition, Patient, Practitioner, Organization, and Encounter where there was a contact.
    pub fn bundle(&self) -> Result<Bundle, FhirError> {
        let composed_at = instant(self.composed_at_us)?;
        let id = self.identifier();
        let [patient, author, custodian, encounter] = ["Patient", "Practitioner", "Organization", "Encounter"].map(|name| full_url(id, name));
        let composition = Composition {
            meta: profile("Composition"),
            identifier: Some(uuid_identifier(id)),
            status: some("final"),
            r#type: Some(care_plan_type()),
            subject: Some(Reference::to(&patient)),
            encounter: self.contact.map(|_| Reference::to(&encounter)),
            date: Some(composed_at.clone()),
            author: vec![Reference::to(&author)],
            title: some(self.title),
            custodian: Some(Reference::to(&custodian)),
            relates_to: self.replaced().map(|target| CompositionRelation { code: some("replaces"), target_identifier: Some(target) }).into_iter().collect(),
            section: self.sections.iter().map(section).collect(),
            ..Composition::default()
        };
        let mut entry = vec![
            BundleEntry::of(&full_url(id, "Composition"), composition),
            BundleEntry::of(&patient, self.subject.patient()),
            BundleEntry::of(&author, practitioner(&self.author)),
            BundleEntry::of(&custodian, organisation(self.custodian)),
        ];
        if let Some(contact) = self.contact {
            entry.push(BundleEntry::of(&encounter, self.encounter(contact, &patient, &custodian)?));
        }
        Ok(Bundle {
            meta: profile("Bundle"),
            identifier: Some(uuid_identifier(id)),
            r#type: some("document"),
            timestamp: Some(composed_at),
            entry,
            ..Bundle::default()
        })
    }

    /// The DocumentReference that carries `document` (the JSON of [`CarePlanDocument::bundle`]) with its size and hash.
    pub fn reference(&self, document: &[u8]) -> Result<DocumentReference, FhirError> {
        let composed_at = instant(self.composed_at_us)?;
        let identifier = uuid_identifier(self.identifier());
        Ok(DocumentReference {
            meta: profile("DocumentReference"),
            master_identifier: Some(identifier.clone()),
            identifier: vec![identifier],
            status: some("current"),
            doc_status: some("final"),
            r#type: Some(care_plan_type()),
            category: vec![care_plan_type()],
            subject: self.subject.nhs_number.map(|number| Reference::by_identifier(systems::NHS_NUMBER, number)),
            date: Some(composed_at.clone()),
            author: vec![Reference::by_identifier(self.author.identifier_system, self.author.identifier)],
            custodian: Some(Reference::by_identifier(systems::ODS_CODE, self.custodian.ods)),
            relates_to: self
                .replaced()
                .map(|identifier| DocumentRelation { code: some("replaces"), target: Some(Reference { identifier: Some(identifier), ..Reference::default() }) })
                .into_iter()
                .collect(),
            content: vec![DocumentContent {
                attachment: Attachment {
                    content_type: some("application/fhir+json"),
                    data: Some(STANDARD.encode(document)),
                    size: Some(document.len() as u64),
                    hash: Some(STANDARD.encode(Sha1::digest(document))),
                    title: some(self.title),
                    creation: Some(composed_at),
                    url: None,
                },
            }],
            context: self.contact.map(period).transpose()?.map(|period| DocumentContext { encounter: Vec::new(), period: Some(period) }),
            ..DocumentReference::default()
        })
    }

    fn replaced(&self) -> Option<Identifier> {
        self.replaces_version.map(|version| uuid_identifier(document_identifier(self.set_id, version)))
    }

    fn encounter(&self, contact: Contact, patient: &str, provider: &str) -> Result<Encounter, FhirError> {
        Ok(Encounter {
            meta: profile("Encounter"),
            identifier: vec![uuid_identifier(contact.id)],
            status: some(if contact.ended_at_us.is_some() { "finished" } else { "in-progress" }),
            class: Some(Coding::new(systems::ACT_CODE, "VR", "virtual")),
            subject: Some(Reference::to(patient)),
            period: Some(period(contact)?),
            service_provider: Some(Reference::to(provider)),
            ..Encounter::default()
        })
    }
}

impl Subject<'_> {
    pub(super) fn patient(&self) -> Patient {
        let number = self.nhs_number.map(|number| Identifier {
            extension: if self.is_nhs_number_verified { vec![verified()] } else { Vec::new() },
            ..Identifier::new(systems::NHS_NUMBER, number)
        });
        let address = Address {
            r#use: some("home"),
            line: self.address_lines.iter().filter_map(|line| some(line)).collect(),
            postal_code: some(self.postcode),
            ..Address::default()
        };
        Patient {
            meta: profile("Patient"),
            identifier: number.into_iter().collect(),
            name: vec![HumanName {
                r#use: some("usual"),
                family: some(self.family),
                given: self.given.iter().filter_map(|name| some(name)).collect(),
                ..HumanName::default()
            }],
            gender: self.gender.and_then(some),
            birth_date: self.birth_date.and_then(some),
            address: if address.line.is_empty() && address.postal_code.is_none() { vec![] } else { vec![address] },
            general_practitioner: self.practice_ods.map(|ods| Reference::by_identifier(systems::ODS_CODE, ods)).into_iter().collect(),
            ..Patient::default()
        }
    }
}

/// The transaction that creates `reference` unless it is there, and marks the version it replaces as superseded. The
/// earlier reference must be complete: a server replaces the whole resource.
pub fn upload(reference: DocumentReference, replaced: Option<DocumentReference>) -> Bundle {
    let if_none_exist = key(&reference).map(|(system, value)| identifier_query(system, value));
    let create = BundleEntry {
        request: Some(EntryRequest { method: some("POST"), url: some("DocumentReference"), if_none_exist, ..EntryRequest::default() }),
        resource: Some(reference.into()),
        ..BundleEntry::default()
    };
    transaction(std::iter::once(create).chain(replaced.map(|reference| restated(reference, "superseded"))).collect())
}

/// The transaction that marks `reference` as entered in error and takes its content away.
pub fn retract(reference: DocumentReference) -> Bundle {
    let mut reference = reference;
    reference.doc_status = some("entered-in-error");
    for content in &mut reference.content {
        content.attachment.data = None;
    }
    transaction(vec![restated(reference, "entered-in-error")])
}

fn restated(reference: DocumentReference, status: &str) -> BundleEntry {
    let url = key(&reference).map(|(system, value)| format!("DocumentReference?{}", identifier_query_encoded(system, value)));
    BundleEntry {
        request: Some(EntryRequest { method: some("PUT"), url, ..EntryRequest::default() }),
        resource: Some(DocumentReference { status: some(status), ..reference }.into()),
        ..BundleEntry::default()
    }
}

fn transaction(entry: Vec<BundleEntry>) -> Bundle {
    Bundle { r#type: some("transaction"), entry, ..Bundle::default() }
}

fn key(reference: &DocumentReference) -> Option<(&str, &str)> {
    let identifier = reference.master_identifier.as_ref()?;
    Some((identifier.system.as_deref()?, identifier.value.as_deref()?))
}

fn section(section: &Section<'_>) -> CompositionSection {
    CompositionSection {
        title: some(section.title),
        code: section.code.map(|(code, term)| CodeableConcept::new(systems::SNOMED_CT, code, term)),
        text: Some(table(section.rows)),
        entry: Vec::new(),
    }
}

fn practitioner(author: &Author<'_>) -> Practitioner {
    Practitioner {
        identifier: vec![Identifier::new(author.identifier_system, author.identifier)],
        name: vec![HumanName { family: some(author.family), given: some(author.given).into_iter().collect(), ..HumanName::default() }],
        ..Practitioner::default()
    }
}

fn organisation(organisation: OdsOrganisation<'_>) -> Organization {
    Organization { identifier: vec![Identifier::new(systems::ODS_CODE, organisation.ods)], name: some(organisation.name), ..Organization::default() }
}

fn period(contact: Contact) -> Result<Period, FhirError> {
    Ok(Period { start: Some(instant(contact.began_at_us)?), end: contact.ended_at_us.map(instant).transpose()? })
}

fn verified() -> Extension {
    let status = CodeableConcept::new(systems::NHS_NUMBER_STATUS, "01", "Number present and verified");
    Extension { url: systems::NHS_NUMBER_STATUS_EXTENSION.to_owned(), value_codeable_concept: Some(status), ..Extension::default() }
}

fn care_plan_type() -> CodeableConcept {
    CodeableConcept::new(systems::SNOMED_CT, "734163000", "Care plan")
}

fn profile(resource: &str) -> Option<Meta> {
    Some(Meta { profile: vec![systems::uk_core_profile(resource)], ..Meta::default() })
}

fn uuid_identifier(id: Uuid) -> Identifier {
    Identifier::new(systems::UUID, &id.to_string())
}

/// `urn:uuid:` of one part of a bundle, the same on every composing.
pub(super) fn full_url(bundle: Uuid, part: &str) -> String {
    format!("urn:uuid:{}", Uuid::new_v5(&bundle, part.as_bytes()))
}

#[cfg(test)]
#[path = "document_tests.rs"]
mod tests;

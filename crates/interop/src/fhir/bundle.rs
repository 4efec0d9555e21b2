//! Bundles, and any resource by its `resourceType`.

use serde::{Deserialize, Serialize};

use super::outcome::OperationOutcome;
use super::resources::*;
use super::types::*;
use super::{FhirError, Identifier};

type Text = Option<String>;

fhir_struct! {
    /// Bundle.
    Bundle {
        id: Text,
        meta: Option<Meta>,
        identifier: Option<Identifier>,
        r#type: Text,
        timestamp: Text,
        total: Option<u64>,
        entry: Vec<BundleEntry>,
    }
    /// Bundle.entry.
    BundleEntry {
        full_url: Text,
        resource: Option<Resource>,
        request: Option<EntryRequest>,
        response: Option<EntryResponse>,
    }
    /// Bundle.entry.request.
    EntryRequest { method: Text, url: Text, if_match: Text, if_none_exist: Text }
    /// Bundle.entry.response.
    EntryResponse { status: Text, location: Text, etag: Text }
}

/// Any resource that is known here.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "resourceType")]
#[expect(missing_docs, reason = "each variant is the FHIR resource of that name")]
pub enum Resource {
    Bundle(Box<Bundle>),
    Composition(Box<Composition>),
    DocumentReference(Box<DocumentReference>),
    Encounter(Box<Encounter>),
    MedicationRequest(Box<MedicationRequest>),
    MessageHeader(Box<MessageHeader>),
    OperationOutcome(Box<OperationOutcome>),
    Organization(Box<Organization>),
    Parameters(Box<Parameters>),
    Patient(Box<Patient>),
    Practitioner(Box<Practitioner>),
    PractitionerRole(Box<PractitionerRole>),
    Provenance(Box<Provenance>),
    /// Another resource; its content is not kept.
    #[serde(other)]
    Other,
}

macro_rules! into_resource {
    ($($name:ident),+) => {$(
        impl From<$name> for Resource {
            fn from(resource: $name) -> Self {
                Self::$name(Box::new(resource))
            }
        }
    )+};
}

into_resource!(
    Bundle,
    Composition,
    DocumentReference,
    Encounter,
    MedicationRequest,
    MessageHeader,
    OperationOutcome,
    Organization,
    Parameters,
    Patient,
    Practitioner,
    PractitionerRole,
    Provenance
);

impl Resource {
    /// Reads any resource. A byte order mark is skipped.
    pub fn parse(json: &[u8]) -> Result<Self, FhirError> {
        let json = json.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(json);
        serde_json::from_slice(json).map_err(|error| FhirError::unreadable(&error))
    }

    /// JSON without white space. The same resource always gives the same bytes.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("maps with text keys and no floats that are not numbers")
    }
}

impl Bundle {
    /// Reads a bundle.
    pub fn parse(json: &[u8]) -> Result<Self, FhirError> {
        match Resource::parse(json)? {
            Resource::Bundle(bundle) => Ok(*bundle),
            _ => Err(FhirError::Unexpected { expected: "Bundle" }),
        }
    }

    /// JSON without white space. The same bundle always gives the same bytes.
    pub fn to_json(&self) -> Vec<u8> {
        #[derive(Serialize)]
        #[serde(tag = "resourceType")]
        enum Tagged<'a> {
            Bundle(&'a Bundle),
        }
        serde_json::to_vec(&Tagged::Bundle(self)).expect("maps with text keys and no floats that are not numbers")
    }

    /// The resources, in order.
    pub fn resources(&self) -> impl Iterator<Item = &Resource> {
        self.entry.iter().filter_map(|entry| entry.resource.as_ref())
    }
}

impl DocumentReference {
    /// Reads a DocumentReference.
    pub fn parse(json: &[u8]) -> Result<Self, FhirError> {
        match Resource::parse(json)? {
            Resource::DocumentReference(reference) => Ok(*reference),
            _ => Err(FhirError::Unexpected { expected: "DocumentReference" }),
        }
    }
}

impl BundleEntry {
    /// An entry that others of the bundle refer to.
    pub(crate) fn of(full_url: &str, resource: impl Into<Resource>) -> Self {
        Self { full_url: some(full_url), resource: Some(resource.into()), ..Self::default() }
    }
}

impl EntryResponse {
    /// The HTTP status in front of `201 Created`.
    pub fn status_code(&self) -> Option<u16> {
        self.status.as_deref()?.split_whitespace().next()?.parse().ok()
    }
}

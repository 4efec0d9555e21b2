//! FHIR data types, as far as they are used. Empty parts are left out; fields serialise in the order written here.

use serde::{Deserialize, Serialize};

/// Stamps a FHIR structure: every field may be missing when read and is left out when empty.
macro_rules! fhir_struct {
    ($($(#[$meta:meta])* $name:ident { $($field:ident: $kind:ty),+ $(,)? })+) => {$(
        $(#[$meta])*
        #[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase")]
        pub struct $name {
            $(
                #[doc = concat!("`", stringify!($field), "` as in FHIR R4.")]
                #[serde(default, skip_serializing_if = "crate::fhir::types::is_empty")]
                pub $field: $kind,
            )+
        }
    )+};
}

pub(crate) use fhir_struct;

pub(crate) fn is_empty<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

type Text = Option<String>;

fhir_struct! {
    /// Extension.
    Extension {
        url: String,
        extension: Vec<Extension>,
        value_coding: Option<Coding>,
        value_codeable_concept: Option<CodeableConcept>,
        value_identifier: Option<Identifier>,
        value_date_time: Text,
        value_string: Text,
    }
    /// Coding.
    Coding { system: Text, code: Text, display: Text }
    /// CodeableConcept.
    CodeableConcept { coding: Vec<Coding>, text: Text }
    /// Identifier.
    Identifier { extension: Vec<Extension>, system: Text, value: Text }
    /// Reference, literal or by identifier.
    Reference { reference: Text, identifier: Option<Identifier>, display: Text }
    /// HumanName.
    HumanName { r#use: Text, text: Text, family: Text, given: Vec<String>, prefix: Vec<String> }
    /// ContactPoint.
    ContactPoint { system: Text, value: Text, r#use: Text }
    /// Address.
    Address { r#use: Text, line: Vec<String>, city: Text, district: Text, postal_code: Text }
    /// Period.
    Period { start: Text, end: Text }
    /// Quantity; the value is a JSON number.
    Quantity { value: Option<serde_json::Number>, unit: Text, system: Text, code: Text }
    /// Narrative; `div` is XHTML.
    Narrative { status: Text, div: Text }
    /// Meta.
    Meta { version_id: Text, last_updated: Text, profile: Vec<String> }
    /// Attachment; `data` is base64, `hash` the base64 SHA-1 and `size` the bytes of the decoded data.
    Attachment {
        content_type: Text,
        data: Text,
        url: Text,
        size: Option<u64>,
        hash: Text,
        title: Text,
        creation: Text,
    }
    /// Signature; `data` is base64.
    Signature { r#type: Vec<Coding>, when: Text, who: Option<Reference>, data: Text }
}

impl Coding {
    /// A coding with all three parts; an empty display is left out.
    pub fn new(system: &str, code: &str, display: &str) -> Self {
        Self { system: some(system), code: some(code), display: some(display) }
    }
}

impl CodeableConcept {
    /// A concept with one coding.
    pub fn new(system: &str, code: &str, display: &str) -> Self {
        Self { coding: vec![Coding::new(system, code, display)], text: None }
    }

    /// The first code, whatever its system.
    pub fn first_code(&self) -> Option<&str> {
        self.coding.iter().find_map(|coding| coding.code.as_deref())
    }
}

impl Identifier {
    /// A system and a value.
    pub fn new(system: &str, value: &str) -> Self {
        Self { extension: Vec::new(), system: some(system), value: some(value) }
    }

    /// Whether this is an identifier of that system. Reading, the case of the system is ignored: real data has
    /// `https://fhir.nhs.uk/id/…` too.
    pub fn is_of(&self, system: &str) -> bool {
        self.system.as_deref().is_some_and(|own| own.eq_ignore_ascii_case(system))
    }
}

impl Reference {
    /// To another entry of the same bundle, or to a server's resource.
    pub fn to(url: &str) -> Self {
        Self { reference: some(url), ..Self::default() }
    }

    /// To whatever carries that identifier.
    pub fn by_identifier(system: &str, value: &str) -> Self {
        Self { identifier: Some(Identifier::new(system, value)), ..Self::default() }
    }
}

/// `None` for empty text.
pub(crate) fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

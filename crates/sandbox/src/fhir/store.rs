//! The resources of the shared record, their versions and what replaced them.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use crate::json::{list, text};

/// A FHIR identifier, the value with its naming system.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Identifier {
    pub system: String,
    pub value: String,
}

/// A search value of FHIR's token type: `system|value`, `|value` or `value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    system: Option<String>,
    value: String,
}

impl Token {
    pub(super) fn parse(text: &str) -> Self {
        match text.split_once('|') {
            Some((system, value)) => Self { system: Some(system.to_owned()), value: value.to_owned() },
            None => Self { system: None, value: text.to_owned() },
        }
    }

    fn fits(&self, identifier: &Identifier) -> bool {
        self.value == identifier.value && self.system.as_ref().is_none_or(|system| *system == identifier.system)
    }
}

/// One resource as it stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Stored {
    pub resource_type: String,
    pub id: String,
    /// 1 when created, one more with every change.
    pub version: u32,
    /// All identifiers that a search finds it by.
    pub identifiers: Vec<Identifier>,
    /// `status` of the resource; of a document bundle, that of its Composition.
    pub status: Option<String>,
    /// Whether something later named it as replaced.
    pub superseded: bool,
    /// What it names as replaced, whether that is here or not.
    pub replaces: Vec<Identifier>,
    /// How often somebody asked to create it, the first time included.
    pub times_submitted: u32,
    pub resource: Value,
}

impl Stored {
    /// `Type/id`.
    pub fn reference(&self) -> String {
        format!("{}/{}", self.resource_type, self.id)
    }

    fn read(resource_type: &str, id: String, version: u32, times_submitted: u32, mut resource: Value) -> Self {
        resource["id"] = json!(id);
        resource["meta"]["versionId"] = json!(version.to_string());
        Self {
            resource_type: resource_type.to_owned(),
            id,
            version,
            identifiers: identifiers(&resource),
            status: status(&resource).map(str::to_owned),
            superseded: false,
            replaces: replaced(&resource).filter_map(|target| identifier(&target.identifier?)).collect(),
            times_submitted,
            resource,
        }
    }
}

/// How much arrived. Free of content.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Resources held, by type.
    pub held: BTreeMap<String, usize>,
    pub created: u64,
    /// Requests to create that found the resource here already.
    pub matched: u64,
    pub updated: u64,
    /// Conditional creates or updates refused because several resources fitted.
    pub ambiguous: u64,
}

/// Which resources a condition fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Match {
    None,
    One(usize),
    Several,
}

#[derive(Debug, Default)]
pub(super) struct Store {
    resources: Vec<Stored>,
    last_id: u64,
    created: u64,
    matched: u64,
    updated: u64,
    ambiguous: u64,
}

impl Store {
    pub(super) fn get(&self, at: usize) -> &Stored {
        &self.resources[at]
    }

    pub(super) fn by_id(&self, resource_type: &str, id: &str) -> Option<usize> {
        self.resources.iter().position(|stored| stored.resource_type == resource_type && stored.id == id)
    }

    pub(super) fn search<'a>(&'a self, resource_type: &'a str, token: &'a Token) -> impl Iterator<Item = usize> + 'a {
        let fits = move |stored: &Stored| stored.resource_type == resource_type && stored.identifiers.iter().any(|identifier| token.fits(identifier));
        self.resources.iter().enumerate().filter(move |(_, stored)| fits(stored)).map(|(at, _)| at)
    }

    pub(super) fn matching(&mut self, resource_type: &str, token: &Token) -> Match {
        let found = {
            let mut found = self.search(resource_type, token);
            match (found.next(), found.next()) {
                (None, _) => Match::None,
                (Some(at), None) => Match::One(at),
                (Some(_), Some(_)) => Match::Several,
            }
        };
        self.ambiguous += u64::from(found == Match::Several);
        found
    }

    /// An id that no resource has or will have.
    pub(super) fn new_id(&mut self) -> String {
        self.last_id += 1;
        format!("sr-{}", self.last_id)
    }

    pub(super) fn create(&mut self, resource_type: &str, id: String, resource: Value) -> usize {
        self.created += 1;
        self.supersede(resource_type, &resource);
        self.resources.push(Stored::read(resource_type, id, 1, 1, resource));
        self.resources.len() - 1
    }

    /// A request to create that found `at` instead.
    pub(super) fn submitted_again(&mut self, at: usize) {
        self.matched += 1;
        self.resources[at].times_submitted += 1;
    }

    pub(super) fn update(&mut self, at: usize, resource: Value) {
        self.updated += 1;
        let old = &self.resources[at];
        let resource_type = old.resource_type.clone();
        let superseded = old.superseded;
        let mut new = Stored::read(&resource_type, old.id.clone(), old.version + 1, old.times_submitted, resource);
        new.superseded = superseded || new.status.as_deref() == Some("superseded");
        self.supersede(&resource_type, &new.resource);
        self.resources[at] = new;
    }

    /// Marks what `resource` names as replaced: a DocumentReference also by its status and a new version; a
    /// document bundle stays as it was sent, since a FHIR document is immutable.
    fn supersede(&mut self, resource_type: &str, resource: &Value) {
        for target in replaced(resource) {
            let token = target.identifier.and_then(|found| identifier(&found)).map(|found| Token { system: Some(found.system), value: found.value });
            for stored in self.resources.iter_mut().filter(|stored| stored.resource_type == resource_type) {
                let by_reference = target.reference.as_deref() == Some(stored.reference().as_str());
                let by_identifier = token.as_ref().is_some_and(|token| stored.identifiers.iter().any(|known| token.fits(known)));
                if !(by_reference || by_identifier) || stored.superseded {
                    continue;
                }
                stored.superseded = true;
                if resource_type == "DocumentReference" {
                    stored.version += 1;
                    stored.status = Some("superseded".to_owned());
                    stored.resource["status"] = json!("superseded");
                    stored.resource["meta"]["versionId"] = json!(stored.version.to_string());
                }
            }
        }
    }

    pub(super) fn all(&self) -> &[Stored] {
        &self.resources
    }

    pub(super) fn counts(&self) -> Counts {
        let mut held = BTreeMap::new();
        for stored in &self.resources {
            *held.entry(stored.resource_type.clone()).or_default() += 1;
        }
        Counts { held, created: self.created, matched: self.matched, updated: self.updated, ambiguous: self.ambiguous }
    }
}

/// What a resource is found by: its `identifier` (one or many), a DocumentReference's `masterIdentifier`, and
/// of a document bundle also the identifier of its Composition, by which a later version names it.
pub(super) fn identifiers(resource: &Value) -> Vec<Identifier> {
    let composition = resource.pointer("/entry/0/resource").filter(|first| first["resourceType"] == "Composition");
    let places = [resource.get("identifier"), resource.get("masterIdentifier"), composition.and_then(|composition| composition.get("identifier"))];
    let mut found = Vec::new();
    for place in places.into_iter().flatten() {
        let several = place.as_array().map_or(std::slice::from_ref(place), Vec::as_slice);
        for known in several.iter().filter_map(identifier) {
            if !found.contains(&known) {
                found.push(known);
            }
        }
    }
    found
}

fn identifier(value: &Value) -> Option<Identifier> {
    Some(Identifier { system: text(value, "/system").unwrap_or_default().to_owned(), value: text(value, "/value")?.to_owned() })
}

fn status(resource: &Value) -> Option<&str> {
    text(resource, "/status").or_else(|| text(resource, "/entry/0/resource/status"))
}

struct Target {
    reference: Option<String>,
    identifier: Option<Value>,
}

/// The targets of `relatesTo` with code `replaces`, of a DocumentReference (`target`) or of a document's
/// Composition (`targetReference` or `targetIdentifier`).
fn replaced(resource: &Value) -> impl Iterator<Item = Target> {
    let related = match resource["resourceType"].as_str() {
        Some("Bundle") => resource.pointer("/entry/0/resource").unwrap_or(&Value::Null),
        _ => resource,
    };
    list(related, "relatesTo").iter().filter(|relation| relation["code"] == "replaces").map(|relation| {
        let target = relation.get("target").or_else(|| relation.get("targetReference"));
        Target {
            reference: target.and_then(|target| text(target, "/reference")).map(str::to_owned),
            identifier: relation.get("targetIdentifier").or_else(|| target.and_then(|target| target.get("identifier"))).cloned(),
        }
    })
}

//! What differs between the systems of trusts: which field holds what, and what local codes stand for.
//!
//! A profile is a TOML file: `extends` another, names `fields` by path (`PV1-36`, `PV1-3.4`, `ZU1-1`), gives `codes` local value →
//! national code, says which identifiers of PID-3 are the NHS number, and brings `[[test]]` messages with what each must become.
//! Nothing in it can make a message be refused or lost: a value that no table knows is left out of the events and warned of.

use crate::explain::{self, Explanation};
use crate::national::Item;
use crate::peer::Peer;
use hearthline_interop::hl7v2::{Component, Message, Value};
use hearthline_nhs::OdsCode;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, LazyLock};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProfileStatus {
    /// Tried with messages of such a system.
    Verified,
    /// A sample to begin from: no message of such a system was at hand.
    Unverified,
}

/// An identifier of PID-3 that is the NHS number.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NumberRule {
    /// CX-4.
    pub authority: Option<String>,
    /// CX-5.
    #[serde(rename = "type")]
    pub id_type: Option<String>,
}

/// What A01 of class E is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EmergencyA01 {
    Attendance,
    Admission,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    pub name: String,
    pub title: String,
    pub status: ProfileStatus,
    /// IANA name; a peer's own goes over it.
    pub time_zone: Option<String>,
    pub emergency_a01: EmergencyA01,
    /// Trigger → why nothing is made of it.
    pub ignored: BTreeMap<String, &'static str>,
    pub nhs_number: Vec<NumberRule>,
    fields: BTreeMap<Item, FieldPath>,
    /// By the local value in upper case.
    codes: BTreeMap<Item, BTreeMap<String, String>>,
    tests: Vec<Test>,
}

/// A message, and what must become of it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Test {
    pub name: String,
    pub message: String,
    pub expect: BTreeMap<String, String>,
}

/// Why a profile cannot be used: which file, which key, what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    #[error("profile {name}: there is no such file, and of those shipped ({shipped}) none is called so")]
    Unknown { name: String, shipped: String },
    #[error("profile {name} cannot be read: {why}")]
    Unreadable { name: String, why: String },
    #[error("profile {name}: {key}: {why}")]
    Refused { name: String, key: String, why: String },
}

const SHIPPED: &[(&str, &str)] = &[
    ("itk", include_str!("../profiles/itk.toml")),
    ("dorset-ed", include_str!("../profiles/dorset-ed.toml")),
    ("epic-uk", include_str!("../profiles/epic-uk.toml")),
    ("cerner-uk", include_str!("../profiles/cerner-uk.toml")),
];

static READ: LazyLock<BTreeMap<&'static str, Arc<Profile>>> =
    LazyLock::new(|| SHIPPED.iter().map(|(name, text)| (*name, Arc::new(Profile::parse(name, text).expect("shipped profiles are tested")))).collect());

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    title: String,
    status: ProfileStatus,
    extends: Option<String>,
    time_zone: Option<String>,
    a01_of_class_emergency: Option<EmergencyA01>,
    #[serde(default)]
    ignored_triggers: Vec<String>,
    #[serde(default)]
    nhs_number: Vec<NumberRule>,
    #[serde(default)]
    fields: BTreeMap<Item, String>,
    #[serde(default)]
    codes: BTreeMap<Item, BTreeMap<String, String>>,
    #[serde(default, rename = "test")]
    tests: Vec<Test>,
}

impl Profile {
    /// Name and text of those that are shipped.
    pub fn shipped() -> &'static [(&'static str, &'static str)] {
        SHIPPED
    }

    /// One that is shipped, or the file at a path.
    pub fn load(name_or_path: &str) -> Result<Arc<Self>, ProfileError> {
        if let Some(profile) = READ.get(name_or_path) {
            return Ok(profile.clone());
        }
        if !Path::new(name_or_path).is_file() {
            let shipped = SHIPPED.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
            return Err(ProfileError::Unknown { name: name_or_path.to_owned(), shipped });
        }
        let text = std::fs::read_to_string(name_or_path).map_err(|e| ProfileError::Unreadable { name: name_or_path.to_owned(), why: e.to_string() })?;
        Profile::parse(name_or_path, &text).map(Arc::new)
    }

    /// Reads a profile; `extends` names one that is shipped.
    pub fn parse(name: &str, text: &str) -> Result<Self, ProfileError> {
        let file: File = toml::from_str(text).map_err(|e| ProfileError::Unreadable { name: name.to_owned(), why: e.to_string().trim_end().to_owned() })?;
        let refused = |key: String, why: String| ProfileError::Refused { name: name.to_owned(), key, why };
        let mut profile = match &file.extends {
            None => Profile::plain(),
            Some(base) => match SHIPPED.iter().find(|(shipped, _)| shipped == base) {
                Some((base, text)) if *base != name => Profile::parse(base, text)?,
                _ => {
                    let names = SHIPPED.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
                    return Err(refused("extends".to_owned(), format!("must be another profile that is shipped: {names}")));
                }
            },
        };
        (profile.name, profile.title, profile.status, profile.tests) = (name.to_owned(), file.title, file.status, file.tests);
        if let Some(zone) = file.time_zone {
            jiff::tz::TimeZone::get(&zone).map_err(|_| refused("time-zone".to_owned(), format!("{zone} is no IANA time zone such as Europe/London")))?;
            profile.time_zone = Some(zone);
        }
        profile.emergency_a01 = file.a01_of_class_emergency.unwrap_or(profile.emergency_a01);
        for trigger in file.ignored_triggers {
            let is_trigger = trigger.len() == 3 && trigger.starts_with('A') && trigger[1..].bytes().all(|b| b.is_ascii_digit());
            if !is_trigger {
                return Err(refused("ignored-triggers".to_owned(), format!("{trigger} is no trigger event such as A08")));
            }
            profile.ignored.insert(trigger, "the profile ignores this trigger");
        }
        for (n, rule) in file.nhs_number.iter().enumerate() {
            if rule.authority.is_none() && rule.id_type.is_none() {
                return Err(refused(format!("nhs-number[{n}]"), "needs authority, type or both".to_owned()));
            }
        }
        profile.nhs_number.splice(0..0, file.nhs_number);
        for (item, path) in file.fields {
            let path = FieldPath::parse(&path).map_err(|why| refused(format!("fields.{}", item.name()), why))?;
            profile.fields.insert(item, path);
        }
        for (item, table) in file.codes {
            profile.add_codes(item, table).map_err(|why| refused(format!("codes.{}", item.name()), why))?;
        }
        for test in &profile.tests {
            if let Some(key) = test.expect.keys().find(|key| !explain::KEYS.contains(&key.as_str())) {
                return Err(refused(format!("test \"{}\": expect.{key}", test.name), format!("is none of {}", explain::KEYS.join(", "))));
            }
        }
        Ok(profile)
    }

    fn add_codes(&mut self, item: Item, table: BTreeMap<String, String>) -> Result<(), String> {
        if item.codes().is_empty() {
            return Err("is no code and takes no table".to_owned());
        }
        let mut here = BTreeMap::new();
        for (local, national) in table {
            if !item.codes().contains(&national.as_str()) {
                return Err(format!("\"{local}\" stands for {national}, which is none of {}", item.codes().join(", ")));
            }
            if here.insert(local.trim().to_uppercase(), national).is_some() {
                return Err(format!("\"{}\" is there twice: case and spaces around it make no difference", local.trim()));
            }
        }
        self.codes.entry(item).or_default().extend(here);
        Ok(())
    }

    /// Nothing but the standard's places.
    fn plain() -> Self {
        let places = [
            (Item::VisitNumber, "PV1-19"),
            (Item::Class, "PV1-2"),
            (Item::AdmissionMethod, "PV1-4"),
            (Item::SourceOfAdmission, "PV1-14"),
            (Item::DischargeDestination, "PV1-36"),
            (Item::ArrivalMode, "PV2-38"),
            (Item::Site, "PV1-3.4"),
        ];
        Profile {
            name: String::new(),
            title: String::new(),
            status: ProfileStatus::Unverified,
            time_zone: None,
            emergency_a01: EmergencyA01::Attendance,
            ignored: BTreeMap::new(),
            nhs_number: Vec::new(),
            fields: places.into_iter().map(|(item, path)| (item, FieldPath::parse(path).expect("paths of the standard"))).collect(),
            codes: BTreeMap::new(),
            tests: Vec::new(),
        }
    }

    /// Where something stands; none where messages of this profile do not carry it.
    pub fn path(&self, item: Item) -> Option<&FieldPath> {
        self.fields.get(&item)
    }

    /// What stands there: trimmed, none where nothing usable does.
    pub fn raw<'m>(&self, item: Item, message: &'m Message<'_>) -> Option<&'m str> {
        self.fields.get(&item)?.of(message)
    }

    /// The sender says that what stood there does so no more: HL7's null, `""`.
    pub fn deletes(&self, item: Item, message: &Message<'_>) -> bool {
        self.fields.get(&item).is_some_and(|place| place.is_null(message))
    }

    /// The profile's own meaning of a local value.
    pub fn mapped(&self, item: Item, raw: &str) -> Option<&str> {
        let table = self.codes.get(&item)?;
        table.get(raw).or_else(|| table.get(&raw.trim().to_uppercase())).map(String::as_str)
    }

    /// Local values with what they stand for, for the interface sheet.
    pub fn table(&self, item: Item) -> impl Iterator<Item = (&str, &str)> {
        self.codes.get(&item).into_iter().flatten().map(|(local, national)| (local.as_str(), national.as_str()))
    }

    pub fn tests(&self) -> &[Test] {
        &self.tests
    }

    /// Runs its tests: what each message became against what it must become. Empty: all are as expected.
    pub fn check(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for test in &self.tests {
            // Segments end in CR; a file of lines has something else.
            let text = test.message.trim().lines().map(str::trim_start).collect::<Vec<_>>().join("\r");
            let explanation = explain::explain(text.as_bytes(), &self.peer_of(&text), self);
            let facts = explanation.facts();
            for (key, expected) in &test.expect {
                let found = facts.get(key.as_str()).map(String::as_str).unwrap_or_default();
                if found != expected {
                    wrong.push(format!("{}: test \"{}\": {key} is \"{found}\", expected \"{expected}\"", self.name, test.name));
                }
            }
        }
        wrong
    }

    /// Whoever a test message says that it is from.
    fn peer_of(&self, text: &str) -> Peer {
        let message = Message::parse(text.as_bytes()).ok();
        let facility = message.as_ref().and_then(|m| m.field("MSH", 4).component(1).code()).unwrap_or_default();
        let mut peer = Peer::new("test", OdsCode::parse(facility).unwrap_or_else(|_| OdsCode::parse("X26").expect("an ODS code")));
        peer.sending_facilities = vec![facility.to_owned()];
        peer.profile.clone_from(&self.name);
        peer
    }

    /// What a message would become; see [`explain::explain`].
    pub fn explain(&self, raw: &[u8], peer: &Peer) -> Explanation {
        explain::explain(raw, peer, self)
    }
}

/// A place in a message: `SEG-field[repetition].component.subcomponent`, counted from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldPath {
    text: String,
    segment: String,
    field: usize,
    repetition: usize,
    component: usize,
    subcomponent: Option<usize>,
}

impl FieldPath {
    /// # Errors
    /// What a path looks like.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("\"{text}\" is no path such as PV1-36, PV1-3.4, PID-3[2].1 or ZU1-1");
        let number = |part: &str| part.parse::<usize>().ok().filter(|n| (1..=200).contains(n)).ok_or_else(wrong);
        let (segment, rest) = text.split_once('-').ok_or_else(wrong)?;
        let is_segment = segment.len() == 3
            && segment.starts_with(|c: char| c.is_ascii_uppercase())
            && segment.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
        if !is_segment {
            return Err(wrong());
        }
        let mut parts = rest.split('.');
        let (field, repetition) = match parts.next().ok_or_else(wrong)?.split_once('[') {
            Some((field, repetition)) => (number(field)?, number(repetition.strip_suffix(']').ok_or_else(wrong)?)?),
            None => (number(rest.split('.').next().ok_or_else(wrong)?)?, 1),
        };
        let component = parts.next().map(number).transpose()?.unwrap_or(1);
        let subcomponent = parts.next().map(number).transpose()?;
        if parts.next().is_some() {
            return Err(wrong());
        }
        Ok(FieldPath { text: text.to_owned(), segment: segment.to_owned(), field, repetition, component, subcomponent })
    }

    pub fn of<'m>(&self, message: &'m Message<'_>) -> Option<&'m str> {
        let component = self.component_of(message)?;
        match self.subcomponent {
            Some(n) => component.subcomponent(n).code(),
            None => component.code(),
        }
    }

    pub fn is_null(&self, message: &Message<'_>) -> bool {
        self.component_of(message).is_some_and(|component| match self.subcomponent {
            Some(n) => component.subcomponent(n) == Value::Null,
            None => component.value() == Value::Null,
        })
    }

    fn component_of<'m>(&self, message: &'m Message<'_>) -> Option<Component<'m>> {
        let field = message.field(&self.segment, self.field);
        match self.repetition {
            1 => Some(field.component(self.component)),
            n => Some(field.repetitions().nth(n - 1)?.component(self.component)),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn segment(&self) -> &str {
        &self.segment
    }

    pub fn field(&self) -> usize {
        self.field
    }

    /// The text of the field, in the usual delimiters, with a value where the path leads.
    pub fn put(&self, field: &str, value: &str) -> String {
        let subcomponent = self.subcomponent.unwrap_or(1);
        part(field, '~', self.repetition, |text| part(text, '^', self.component, |text| part(text, '&', subcomponent, |_| value.to_owned())))
    }
}

/// A text whose `n`th part, counted from 1, is changed.
fn part(text: &str, delimiter: char, n: usize, change: impl FnOnce(&str) -> String) -> String {
    let mut parts: Vec<String> = text.split(delimiter).map(str::to_owned).collect();
    parts.resize(parts.len().max(n), String::new());
    parts[n - 1] = change(&parts[n - 1]);
    parts.join(&delimiter.to_string())
}

#[cfg(test)]
#[path = "profile_tests.rs"]
mod tests;

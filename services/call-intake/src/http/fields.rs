//! Fields that several commands share, parsed into domain types.

use crate::domain::decide::Observe;
use crate::domain::events::{Demographics, StreamVersion};
use crate::domain::words::ObservationTool;
use crate::{Intake, view};
use hearthline_eventing::identity::{self, Identity};
use hearthline_eventing::now_us;
use hearthline_nhs::{
    Consciousness, DateOfBirth, HomeId, InspiredGas, NhsNumber, Observations, PersonName, Personal, Readings, ResidentId, SpO2Scale, StreamId, london_date,
};
use hearthline_runtime::auth::{Caller, Role};
use hearthline_runtime::http::{Problem, codes, invalid_field, not_here_yet};
use hearthline_runtime::service;
use serde::Deserialize;
use uuid::Uuid;

/// The longest free text, in characters.
const TEXT_CHARS_MAX: usize = 4_000;
/// The highest NEWS2 (RCP 2017).
const NEWS2_MAX: u8 = 20;

/// One set of observations; what was not measured is left out.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ObservationFields {
    /// Breaths per minute.
    respiratory_rate: Option<i32>,
    /// %.
    spo2: Option<i32>,
    /// 1 unless scale 2 is stated.
    spo2_scale: Option<u8>,
    on_oxygen: Option<bool>,
    /// mmHg.
    systolic: Option<i32>,
    /// Beats per minute.
    pulse: Option<i32>,
    /// ACVPU.
    consciousness: Option<String>,
    /// Degrees Celsius.
    temperature: Option<f64>,
    tool: Option<String>,
    supplied_total: Option<u8>,
    usual_news2: Option<u8>,
    /// Only where the observations are a command of their own.
    pub(super) occurred_at: Option<String>,
}

impl ObservationFields {
    /// `at` is the path of these fields in the body: empty, or ending with a dot.
    pub(super) fn parse(&self, at: &str) -> Result<Observe, Problem> {
        stands_alone(at, self.occurred_at.as_deref())?;
        let scale = match self.spo2_scale {
            None | Some(1) => SpO2Scale::One,
            Some(2) => SpO2Scale::Two,
            Some(_) => return Err(invalid_field(format!("{at}spo2_scale"), "1 or 2")),
        };
        let consciousness = self.consciousness.as_deref().map(Consciousness::parse).transpose();
        let readings = Readings {
            respiratory_rate: self.respiratory_rate,
            oxygen_saturation: self.spo2,
            scale,
            inspired_gas: self.on_oxygen.map(|on| if on { InspiredGas::Oxygen } else { InspiredGas::Air }),
            systolic_blood_pressure: self.systolic,
            pulse: self.pulse,
            consciousness: consciousness.map_err(|e| invalid_field(format!("{at}consciousness"), e.to_string()))?,
            temperature: self.temperature,
        };
        let observations = Observations::parse(readings).map_err(|e| invalid_field(format!("{at}{}", field_of(e.parameter)), e.to_string()))?;
        let total = |name: &str, value: Option<u8>| match value {
            Some(above) if above > NEWS2_MAX => Err(invalid_field(format!("{at}{name}"), "a NEWS2 from 0 to 20")),
            within => Ok(within),
        };
        Ok(Observe {
            observations,
            tool: service::opt_word(&format!("{at}tool"), self.tool.as_deref())?.unwrap_or(ObservationTool::None),
            supplied_total: total("supplied_total", self.supplied_total)?,
            usual_news2: total("usual_news2", self.usual_news2)?,
        })
    }
}

/// What is part of another command occurred with it.
fn stands_alone(at: &str, occurred_at: Option<&str>) -> Result<(), Problem> {
    if !at.is_empty() && occurred_at.is_some() {
        return Err(invalid_field(format!("{at}occurred_at"), "left out: the time of the call is meant"));
    }
    Ok(())
}

/// The body's field of a parameter that NEWS2 names.
fn field_of(parameter: &str) -> &'static str {
    match parameter {
        "respiratory rate" => "respiratory_rate",
        "oxygen saturation" => "spo2",
        "systolic blood pressure" => "systolic",
        "pulse" => "pulse",
        "temperature" => "temperature",
        _ => "observations",
    }
}

/// Who the call is about: an id out of a search, or what the caller says.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ResidentFields {
    resident_id: Option<Uuid>,
    family_name: Option<String>,
    given_names: Option<GivenNames>,
    date_of_birth: Option<String>,
    nhs_number: Option<String>,
    /// Only where naming the resident is a command of its own.
    pub(super) occurred_at: Option<String>,
}

/// One text or a list of names.
#[derive(Deserialize)]
#[serde(untagged)]
enum GivenNames {
    One(String),
    List(Vec<String>),
}

impl std::fmt::Debug for ResidentFields {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ResidentFields(redacted)")
    }
}

/// A resident as a body names one.
#[derive(Debug, Clone)]
pub(super) enum Named {
    Known(ResidentId),
    Described(Option<Personal<Demographics>>),
}

impl ResidentFields {
    /// `at` is the path of these fields in the body: empty, or ending with a dot.
    pub(super) fn parse(&self, at: &str) -> Result<Named, Problem> {
        stands_alone(at, self.occurred_at.as_deref())?;
        let said = self.demographics(at)?;
        match self.resident_id {
            Some(id) if said.is_empty() => Ok(Named::Known(ResidentId::from_bytes(id.into_bytes()))),
            Some(_) => Err(invalid_field(format!("{at}resident_id"), "left out where the resident is described, or alone")),
            None => Ok(Named::Described((!said.is_empty()).then(|| Personal::of(said)))),
        }
    }

    fn demographics(&self, at: &str) -> Result<Demographics, Problem> {
        let given: Vec<&str> = match &self.given_names {
            None => Vec::new(),
            Some(GivenNames::One(text)) => text.split_whitespace().collect(),
            Some(GivenNames::List(names)) => names.iter().map(|name| name.trim()).filter(|name| !name.is_empty()).collect(),
        };
        let family = self.family_name.as_deref().unwrap_or_default().trim();
        if !family.is_empty() || !given.is_empty() {
            // A caller may know only the first name: then it stands in for the check of form.
            let checked = if family.is_empty() { PersonName::parse(&given.join(" "), "") } else { PersonName::parse(family, &given.join(" ")) };
            checked.map_err(|e| invalid_field(format!("{at}family_name"), e.to_string()))?;
        }
        let stated = |text: &Option<String>| text.as_deref().map(str::trim).filter(|t| !t.is_empty()).map(str::to_owned);
        let today = london_date(now_us()).map_err(|_| hearthline_runtime::http::internal())?;
        let date_of_birth = stated(&self.date_of_birth).map(|text| DateOfBirth::parse(&text).and_then(|date| date.not_after(today)));
        let nhs_number = stated(&self.nhs_number).map(|text| NhsNumber::parse(&text));
        Ok(Demographics {
            family_name: family.to_owned(),
            given_names: given.into_iter().map(str::to_owned).collect(),
            date_of_birth: date_of_birth.transpose().map_err(|e| invalid_field(format!("{at}date_of_birth"), e.to_string()))?,
            nhs_number: nhs_number.transpose().map_err(|e| invalid_field(format!("{at}nhs_number"), e.to_string()))?,
        })
    }
}

/// Waits until the directory's resident of that id is here, and makes sure that a home names its own.
pub(super) async fn known_resident(intake: &Intake, caller: &Caller, id: ResidentId) -> Result<Identity, Problem> {
    let store = intake.kernel.store.as_ref();
    let found =
        service::wait_for(intake.options.patience, || async { Ok(Some(identity::resolve(store, *id.bytes()).await?).filter(|who| who.registered)) }).await?;
    let identity = found.ok_or_else(not_here_yet)?;
    let elsewhere = identity.home.map(HomeId::from_bytes) != caller.home;
    if caller.role == Role::CareHome && elsewhere {
        return Err(Problem::of(codes::HOME_NOT_OWN).detail("the resident lives in another home"));
    }
    Ok(identity)
}

/// Waits until the home is here and live at a time (µs UTC); what is here after that is for the rule to judge.
pub(super) async fn home_at(intake: &Intake, id: HomeId, at_us: i64) -> Result<Option<crate::domain::decide::Home>, Problem> {
    let store = intake.kernel.store.as_ref();
    let live = service::wait_for(intake.options.patience, || async { Ok(intake.homes.get(store, id).await?.filter(|home| home.is_live(at_us))) }).await?;
    match live {
        Some(home) => Ok(Some(home)),
        None => Ok(view::home(store, id).await?),
    }
}

/// A stream of another context in the version that was seen.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StreamVersionFields {
    stream: Uuid,
    version: u64,
}

impl StreamVersionFields {
    pub(super) fn parse(self) -> StreamVersion {
        StreamVersion { stream: StreamId::from_bytes(self.stream.into_bytes()), version: self.version }
    }
}

/// A text of at most 4,000 characters without control characters other than line breaks; an empty one is none.
pub(super) fn free_text(field: &str, text: Option<&str>) -> Result<Option<Personal<String>>, Problem> {
    let text = text.unwrap_or_default().trim();
    if text.chars().count() > TEXT_CHARS_MAX {
        return Err(invalid_field(field, "at most 4000 characters"));
    }
    if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
        return Err(invalid_field(field, "without control characters"));
    }
    Ok((!text.is_empty()).then(|| Personal::of(text.to_owned())))
}

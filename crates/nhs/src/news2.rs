//! The National Early Warning Score 2.
//!
//! Source: Royal College of Physicians, "National Early Warning Score (NEWS) 2: Standardising the assessment
//! of acute-illness severity in the NHS" (2017), charts 1 and 2. For people aged 16 or over who are not
//! pregnant; it supports clinical judgement and does not replace it.
//!
//! A total that came with a message is never trusted: it is computed here from the observations. What is
//! missing is never taken as normal: without all seven parameters there is no total, only a floor.

mod observations;

pub use observations::{Consciousness, ConsciousnessError, ImpossibleObservation, InspiredGas, Observations, Readings, SpO2Scale};

/// The seven parameters in the order of the chart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Parameter {
    RespiratoryRate,
    OxygenSaturation,
    InspiredGas,
    SystolicBloodPressure,
    Pulse,
    Consciousness,
    Temperature,
}

impl Parameter {
    pub const ALL: [Self; 7] =
        [Self::RespiratoryRate, Self::OxygenSaturation, Self::InspiredGas, Self::SystolicBloodPressure, Self::Pulse, Self::Consciousness, Self::Temperature];

    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::RespiratoryRate => "respiratory rate",
            Self::OxygenSaturation => "oxygen saturation",
            Self::InspiredGas => "air or oxygen",
            Self::SystolicBloodPressure => "systolic blood pressure",
            Self::Pulse => "pulse",
            Self::Consciousness => "consciousness",
            Self::Temperature => "temperature",
        }
    }

    /// Its unit; empty where it has none.
    pub fn unit(self) -> &'static str {
        match self {
            Self::RespiratoryRate => "breaths/min",
            Self::OxygenSaturation => "%",
            Self::SystolicBloodPressure => "mmHg",
            Self::Pulse => "beats/min",
            Self::Temperature => "°C",
            Self::InspiredGas | Self::Consciousness => "",
        }
    }

    /// The values accepted as possible, in [`Parameter::unit`].
    pub fn range(self) -> &'static str {
        match self {
            Self::RespiratoryRate => "0-80",
            Self::OxygenSaturation => "30-100",
            Self::InspiredGas => "air, oxygen",
            Self::SystolicBloodPressure => "30-320",
            Self::Pulse => "0-320",
            Self::Consciousness => "A, C, V, P, U",
            Self::Temperature => "20.0-45.0",
        }
    }
}

/// The points each parameter gave; `None` where it could not be scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Parts([Option<u8>; 7]);

impl Parts {
    /// Points of one parameter, 0 to 3.
    pub fn get(&self, parameter: Parameter) -> Option<u8> {
        self.0[parameter as usize]
    }

    /// The scored parameters in the order of the chart.
    pub fn iter(&self) -> impl Iterator<Item = (Parameter, u8)> + '_ {
        Parameter::ALL.into_iter().filter_map(|parameter| self.get(parameter).map(|points| (parameter, points)))
    }

    fn sum(&self) -> u8 {
        self.0.iter().flatten().sum()
    }

    fn risk(&self) -> Risk {
        match self.sum() {
            7.. => Risk::High,
            5..=6 => Risk::Medium,
            _ if self.0.contains(&Some(3)) => Risk::LowMedium,
            _ => Risk::Low,
        }
    }
}

/// Clinical risk by aggregate score, or by a single parameter scoring 3. In order of severity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Risk {
    /// 0 to 4.
    Low,
    /// 0 to 4 with 3 in a single parameter: urgent ward-based review.
    LowMedium,
    /// 5 or 6: the threshold for urgent response.
    Medium,
    /// 7 or more: emergency response.
    High,
}

/// A NEWS2, whole or in part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News2 {
    Complete {
        /// 0 to 20.
        total: u8,
        parts: Parts,
        risk: Risk,
    },
    /// Not a NEWS2: the sum of what could be scored, below which the total cannot lie.
    Partial {
        partial: u8,
        parts: Parts,
        /// What was not recorded, in the order of the chart.
        missing: Vec<Parameter>,
    },
}

impl News2 {
    /// The total, where all parameters were recorded.
    pub fn total(&self) -> Option<u8> {
        match self {
            Self::Complete { total, .. } => Some(*total),
            Self::Partial { .. } => None,
        }
    }

    /// The risk, or for a partial score the risk that what is missing can only raise.
    pub fn risk_at_least(&self) -> Risk {
        match self {
            Self::Complete { risk, .. } => *risk,
            Self::Partial { parts, .. } => parts.risk(),
        }
    }
}

/// Scores observations.
pub fn score(observations: &Observations) -> News2 {
    let parts = Parts([
        observations.respiratory_rate().map(respiratory_rate),
        oxygen_saturation(observations),
        observations.inspired_gas().map(inspired_gas),
        observations.systolic_blood_pressure().map(systolic_blood_pressure),
        observations.pulse().map(pulse),
        observations.consciousness().map(consciousness),
        observations.temperature_tenths().map(temperature),
    ]);
    let recorded = [
        observations.respiratory_rate().is_some(),
        observations.oxygen_saturation().is_some(),
        observations.inspired_gas().is_some(),
        observations.systolic_blood_pressure().is_some(),
        observations.pulse().is_some(),
        observations.consciousness().is_some(),
        observations.temperature_tenths().is_some(),
    ];
    let missing: Vec<Parameter> = Parameter::ALL.into_iter().filter(|parameter| !recorded[*parameter as usize]).collect();
    if missing.is_empty() { News2::Complete { total: parts.sum(), parts, risk: parts.risk() } } else { News2::Partial { partial: parts.sum(), parts, missing } }
}

fn respiratory_rate(rate: u8) -> u8 {
    match rate {
        ..=8 => 3,
        9..=11 => 1,
        12..=20 => 0,
        21..=24 => 2,
        25.. => 3,
    }
}

/// On scale 2 a saturation of 93 % or more counts only on oxygen, so without knowing the gas it has no points.
fn oxygen_saturation(observations: &Observations) -> Option<u8> {
    let saturation = observations.oxygen_saturation()?;
    match observations.scale() {
        SpO2Scale::One => Some(match saturation {
            ..=91 => 3,
            92..=93 => 2,
            94..=95 => 1,
            96.. => 0,
        }),
        SpO2Scale::Two => match saturation {
            ..=83 => Some(3),
            84..=85 => Some(2),
            86..=87 => Some(1),
            88..=92 => Some(0),
            93.. => observations.inspired_gas().map(|gas| match (gas, saturation) {
                (InspiredGas::Air, _) => 0,
                (InspiredGas::Oxygen, ..=94) => 1,
                (InspiredGas::Oxygen, 95..=96) => 2,
                (InspiredGas::Oxygen, 97..) => 3,
            }),
        },
    }
}

fn inspired_gas(gas: InspiredGas) -> u8 {
    match gas {
        InspiredGas::Air => 0,
        InspiredGas::Oxygen => 2,
    }
}

fn systolic_blood_pressure(pressure: u16) -> u8 {
    match pressure {
        ..=90 => 3,
        91..=100 => 2,
        101..=110 => 1,
        111..=219 => 0,
        220.. => 3,
    }
}

fn pulse(pulse: u16) -> u8 {
    match pulse {
        ..=40 => 3,
        41..=50 => 1,
        51..=90 => 0,
        91..=110 => 1,
        111..=130 => 2,
        131.. => 3,
    }
}

fn consciousness(level: Consciousness) -> u8 {
    match level {
        Consciousness::Alert => 0,
        Consciousness::NewConfusion | Consciousness::Voice | Consciousness::Pain | Consciousness::Unresponsive => 3,
    }
}

fn temperature(tenths: u16) -> u8 {
    match tenths {
        ..=350 => 3,
        351..=360 => 1,
        361..=380 => 0,
        381..=390 => 1,
        391.. => 2,
    }
}

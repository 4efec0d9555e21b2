//! Vital signs that can have been measured.

use super::Parameter;

/// Which SpO2 scale applies. Scale 2 is only for hypercapnic respiratory failure confirmed on blood gas, with
/// a target of 88–92 % that a competent clinician has prescribed and recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum SpO2Scale {
    #[default]
    One,
    Two,
}

/// What the person was breathing when saturation was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum InspiredGas {
    Air,
    Oxygen,
}

/// Level of consciousness on the ACVPU scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Consciousness {
    Alert,
    /// **New** confusion or delirium; long-standing confusion in a person who is awake is `Alert`.
    NewConfusion,
    /// Responds to voice.
    Voice,
    /// Responds to pain.
    Pain,
    Unresponsive,
}

/// The text is not one of A, C, V, P, U.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("consciousness is one of A, C, V, P, U")]
pub struct ConsciousnessError;

impl Consciousness {
    /// Parses the ACVPU letter, in either case.
    pub fn parse(text: &str) -> Result<Self, ConsciousnessError> {
        match text.trim() {
            "A" | "a" => Ok(Self::Alert),
            "C" | "c" => Ok(Self::NewConfusion),
            "V" | "v" => Ok(Self::Voice),
            "P" | "p" => Ok(Self::Pain),
            "U" | "u" => Ok(Self::Unresponsive),
            _ => Err(ConsciousnessError),
        }
    }

    /// The ACVPU letter.
    pub fn letter(self) -> char {
        match self {
            Self::Alert => 'A',
            Self::NewConfusion => 'C',
            Self::Voice => 'V',
            Self::Pain => 'P',
            Self::Unresponsive => 'U',
        }
    }
}

/// Observations as somebody read them out, not yet believed. Leave out what was not measured.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Readings {
    /// Breaths per minute.
    pub respiratory_rate: Option<i32>,
    /// Oxygen saturation, %.
    pub oxygen_saturation: Option<i32>,
    pub scale: SpO2Scale,
    pub inspired_gas: Option<InspiredGas>,
    /// mmHg.
    pub systolic_blood_pressure: Option<i32>,
    /// Beats per minute.
    pub pulse: Option<i32>,
    pub consciousness: Option<Consciousness>,
    /// Degrees Celsius.
    pub temperature: Option<f64>,
}

/// A reading that no person can have, most often a slip of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("impossible {parameter}: it lies outside {range} {unit}")]
pub struct ImpossibleObservation {
    pub parameter: &'static str,
    pub unit: &'static str,
    pub range: &'static str,
}

/// Observations within what instruments and bodies can give.
///
/// The limits are Hearthline's own and wide on purpose: they refuse slips of the key, never a person who is
/// very ill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observations {
    respiratory_rate: Option<u8>,
    oxygen_saturation: Option<u8>,
    scale: SpO2Scale,
    inspired_gas: Option<InspiredGas>,
    systolic_blood_pressure: Option<u16>,
    pulse: Option<u16>,
    consciousness: Option<Consciousness>,
    /// Tenths of a degree Celsius.
    temperature_tenths: Option<u16>,
}

impl Observations {
    /// Checks every reading; the first impossible one, in the order of the chart, is named.
    pub fn parse(readings: Readings) -> Result<Self, ImpossibleObservation> {
        Ok(Self {
            respiratory_rate: within(Parameter::RespiratoryRate, readings.respiratory_rate, 0, 80)?.map(|rate| rate as u8),
            oxygen_saturation: within(Parameter::OxygenSaturation, readings.oxygen_saturation, 30, 100)?.map(|saturation| saturation as u8),
            scale: readings.scale,
            inspired_gas: readings.inspired_gas,
            systolic_blood_pressure: within(Parameter::SystolicBloodPressure, readings.systolic_blood_pressure, 30, 320)?,
            pulse: within(Parameter::Pulse, readings.pulse, 0, 320)?,
            consciousness: readings.consciousness,
            temperature_tenths: readings.temperature.map(tenths).transpose()?,
        })
    }

    /// Breaths per minute.
    pub fn respiratory_rate(&self) -> Option<u8> {
        self.respiratory_rate
    }

    /// %.
    pub fn oxygen_saturation(&self) -> Option<u8> {
        self.oxygen_saturation
    }

    pub fn scale(&self) -> SpO2Scale {
        self.scale
    }

    pub fn inspired_gas(&self) -> Option<InspiredGas> {
        self.inspired_gas
    }

    /// mmHg.
    pub fn systolic_blood_pressure(&self) -> Option<u16> {
        self.systolic_blood_pressure
    }

    /// Beats per minute.
    pub fn pulse(&self) -> Option<u16> {
        self.pulse
    }

    pub fn consciousness(&self) -> Option<Consciousness> {
        self.consciousness
    }

    /// Tenths of a degree Celsius, the precision of the chart.
    pub fn temperature_tenths(&self) -> Option<u16> {
        self.temperature_tenths
    }
}

fn within(parameter: Parameter, reading: Option<i32>, lowest: u16, highest: u16) -> Result<Option<u16>, ImpossibleObservation> {
    reading.map(|reading| u16::try_from(reading).ok().filter(|reading| (lowest..=highest).contains(reading)).ok_or_else(|| impossible(parameter))).transpose()
}

/// Rounds half up to tenths. The detour over millionths removes the binary error first: 36.05 means exactly
/// that, and rounds to 36.1.
fn tenths(degrees: f64) -> Result<u16, ImpossibleObservation> {
    if !(20.0..=45.0).contains(&degrees) {
        return Err(impossible(Parameter::Temperature));
    }
    let millionths = (degrees * 1e6).round() as u32;
    Ok(((millionths + 50_000) / 100_000) as u16)
}

fn impossible(parameter: Parameter) -> ImpossibleObservation {
    ImpossibleObservation { parameter: parameter.name(), unit: parameter.unit(), range: parameter.range() }
}

//! Observations and their score ⇄ protobuf.

use super::{Unreadable, codes};
use crate::domain::events::{Observed, Score};
use hearthline_contracts::call::{News2Scores, ObservationsRecorded};
use hearthline_contracts::wire::Coded;
use hearthline_nhs::{InspiredGas, Observations, Parameter, Readings};

const WHAT: Unreadable = Unreadable("observations");

pub(super) fn outward(observed: &Observed) -> ObservationsRecorded {
    let (seen, score) = (&observed.observations, &observed.score);
    let part = |parameter: Parameter| score.parts[parameter as usize].map(u32::from);
    ObservationsRecorded {
        resp_rate_per_min: seen.respiratory_rate().map(u32::from),
        spo2_percent: seen.oxygen_saturation().map(u32::from),
        spo2_scale: codes::scale(seen.scale()) as i32,
        on_oxygen: seen.inspired_gas().map(|gas| gas == InspiredGas::Oxygen),
        systolic_mmhg: seen.systolic_blood_pressure().map(u32::from),
        pulse_per_min: seen.pulse().map(u32::from),
        consciousness: codes::consciousness(seen.consciousness()) as i32,
        temperature_tenths: seen.temperature_tenths().map(u32::from),
        news2_total: score.total.map(u32::from),
        news2_partial: score.partial.map(u32::from),
        news2_scores: Some(News2Scores {
            respiration_rate: part(Parameter::RespiratoryRate),
            oxygen_saturation: part(Parameter::OxygenSaturation),
            air_or_oxygen: part(Parameter::InspiredGas),
            systolic_blood_pressure: part(Parameter::SystolicBloodPressure),
            pulse: part(Parameter::Pulse),
            consciousness: part(Parameter::Consciousness),
            temperature: part(Parameter::Temperature),
        }),
        missing: score.missing.iter().map(|p| codes::parameter(*p) as i32).collect(),
        news2_risk: codes::risk(score.risk) as i32,
        tool: observed.tool.code(),
        supplied_total: observed.supplied_total.map(u32::from),
        supplied_total_wrong: observed.supplied_total_wrong,
        usual_news2: observed.usual_news2.map(u32::from),
    }
}

/// The score stays as it was recorded; it is not computed anew.
pub(super) fn inward(recorded: ObservationsRecorded) -> Result<Observed, Unreadable> {
    let observations = Observations::parse(Readings {
        respiratory_rate: reading(recorded.resp_rate_per_min)?,
        oxygen_saturation: reading(recorded.spo2_percent)?,
        scale: codes::scale_of(recorded.spo2_scale),
        inspired_gas: recorded.on_oxygen.map(|on| if on { InspiredGas::Oxygen } else { InspiredGas::Air }),
        systolic_blood_pressure: reading(recorded.systolic_mmhg)?,
        pulse: reading(recorded.pulse_per_min)?,
        consciousness: codes::consciousness_of(recorded.consciousness()),
        temperature: recorded.temperature_tenths.map(|tenths| f64::from(tenths) / 10.0),
    })
    .map_err(|_| WHAT)?;
    let scores = recorded.news2_scores.unwrap_or_default();
    let parts = [
        points(scores.respiration_rate)?,
        points(scores.oxygen_saturation)?,
        points(scores.air_or_oxygen)?,
        points(scores.systolic_blood_pressure)?,
        points(scores.pulse)?,
        points(scores.consciousness)?,
        points(scores.temperature)?,
    ];
    let missing: Option<Vec<Parameter>> = recorded.missing.iter().map(|code| codes::parameter_of(*code)).collect();
    Ok(Observed {
        observations,
        score: Score {
            total: points(recorded.news2_total)?,
            partial: points(recorded.news2_partial)?,
            parts,
            missing: missing.ok_or(WHAT)?,
            risk: codes::risk_of(recorded.news2_risk).ok_or(WHAT)?,
        },
        tool: Coded::of_code(recorded.tool)?,
        supplied_total: points(recorded.supplied_total)?,
        supplied_total_wrong: recorded.supplied_total_wrong,
        usual_news2: points(recorded.usual_news2)?,
    })
}

fn reading(value: Option<u32>) -> Result<Option<i32>, Unreadable> {
    value.map(|v| i32::try_from(v).map_err(|_| WHAT)).transpose()
}

fn points(value: Option<u32>) -> Result<Option<u8>, Unreadable> {
    value.map(|v| u8::try_from(v).map_err(|_| WHAT)).transpose()
}

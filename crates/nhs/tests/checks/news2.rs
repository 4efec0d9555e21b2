use hearthline_nhs::{Consciousness, ImpossibleObservation, InspiredGas, News2, Observations, Parameter, Readings, Risk, SpO2Scale, score};
use proptest::prelude::*;

use Consciousness::{Alert, NewConfusion, Pain, Unresponsive, Voice};
use InspiredGas::{Air, Oxygen};
use SpO2Scale::{One, Two};

/// Respiratory rate, saturation, scale, gas, systolic pressure, pulse, consciousness, temperature.
type Row = (i32, i32, SpO2Scale, InspiredGas, i32, i32, Consciousness, f64);

const WELL: Row = (16, 98, One, Air, 130, 75, Alert, 37.0);

fn readings(row: Row) -> Readings {
    Readings {
        respiratory_rate: Some(row.0),
        oxygen_saturation: Some(row.1),
        scale: row.2,
        inspired_gas: Some(row.3),
        systolic_blood_pressure: Some(row.4),
        pulse: Some(row.5),
        consciousness: Some(row.6),
        temperature: Some(row.7),
    }
}

fn scored(readings: Readings) -> News2 {
    score(&Observations::parse(readings).unwrap())
}

fn points(readings: Readings, parameter: Parameter) -> u8 {
    match scored(readings) {
        News2::Complete { parts, .. } => parts.get(parameter).unwrap(),
        News2::Partial { .. } => panic!("all parameters were given"),
    }
}

#[test]
fn totals_agree_with_the_check_values() {
    let rows: [(Row, u8); 8] = [
        ((21, 93, One, Air, 120, 95, Alert, 37.5), 5),
        ((18, 97, One, Air, 130, 80, Alert, 36.8), 0),
        ((25, 91, One, Oxygen, 90, 131, NewConfusion, 39.1), 19),
        ((22, 90, Two, Oxygen, 105, 112, Alert, 38.5), 8),
        ((20, 95, Two, Oxygen, 120, 80, Alert, 37.0), 4),
        ((20, 95, Two, Air, 120, 80, Alert, 37.0), 0),
        ((8, 83, Two, Oxygen, 220, 40, Unresponsive, 35.0), 20),
        ((16, 96, One, Air, 119, 49, Alert, 36.0), 2),
    ];
    for (row, total) in rows {
        assert_eq!(scored(readings(row)).total(), Some(total), "{row:?}");
    }
}

#[test]
fn every_band_of_the_chart_begins_and_ends_where_the_chart_says() {
    for (rate, expected) in [(0, 3), (8, 3), (9, 1), (11, 1), (12, 0), (20, 0), (21, 2), (24, 2), (25, 3), (80, 3)] {
        assert_eq!(points(Readings { respiratory_rate: Some(rate), ..readings(WELL) }, Parameter::RespiratoryRate), expected, "{rate}");
    }
    for (saturation, expected) in [(91, 3), (92, 2), (93, 2), (94, 1), (95, 1), (96, 0), (100, 0)] {
        assert_eq!(points(Readings { oxygen_saturation: Some(saturation), ..readings(WELL) }, Parameter::OxygenSaturation), expected, "{saturation}");
    }
    for (saturation, on_air, on_oxygen) in [
        (83, 3, 3),
        (84, 2, 2),
        (85, 2, 2),
        (86, 1, 1),
        (87, 1, 1),
        (88, 0, 0),
        (92, 0, 0),
        (93, 0, 1),
        (94, 0, 1),
        (95, 0, 2),
        (96, 0, 2),
        (97, 0, 3),
        (100, 0, 3),
    ] {
        for (gas, expected) in [(Air, on_air), (Oxygen, on_oxygen)] {
            let observed = Readings { oxygen_saturation: Some(saturation), scale: Two, inspired_gas: Some(gas), ..readings(WELL) };
            assert_eq!(points(observed, Parameter::OxygenSaturation), expected, "{saturation} {gas:?}");
        }
    }
    for (pressure, expected) in [(90, 3), (91, 2), (100, 2), (101, 1), (110, 1), (111, 0), (219, 0), (220, 3)] {
        assert_eq!(points(Readings { systolic_blood_pressure: Some(pressure), ..readings(WELL) }, Parameter::SystolicBloodPressure), expected, "{pressure}");
    }
    for (pulse, expected) in [(40, 3), (41, 1), (50, 1), (51, 0), (90, 0), (91, 1), (110, 1), (111, 2), (130, 2), (131, 3)] {
        assert_eq!(points(Readings { pulse: Some(pulse), ..readings(WELL) }, Parameter::Pulse), expected, "{pulse}");
    }
    for (level, expected) in [(Alert, 0), (NewConfusion, 3), (Voice, 3), (Pain, 3), (Unresponsive, 3)] {
        assert_eq!(points(Readings { consciousness: Some(level), ..readings(WELL) }, Parameter::Consciousness), expected, "{level:?}");
    }
    assert_eq!(points(Readings { inspired_gas: Some(Oxygen), ..readings(WELL) }, Parameter::InspiredGas), 2);
}

#[test]
fn temperature_is_rounded_to_a_tenth_before_it_is_banded() {
    for (degrees, expected) in [
        (35.0, 3),
        (35.04, 3),
        (35.05, 1),
        (35.1, 1),
        (36.0, 1),
        (36.049, 1),
        (36.05, 0),
        (36.1, 0),
        (38.0, 0),
        (38.04, 0),
        (38.05, 1),
        (39.0, 1),
        (39.04, 1),
        (39.05, 2),
        (39.1, 2),
    ] {
        assert_eq!(points(Readings { temperature: Some(degrees), ..readings(WELL) }, Parameter::Temperature), expected, "{degrees}");
    }
}

#[test]
fn risk_follows_the_total_and_a_single_three() {
    for (row, risk) in [
        (WELL, Risk::Low),
        // 4 without a single 3
        ((21, 93, One, Air, 130, 75, Alert, 37.0), Risk::Low),
        // a single 3
        ((25, 98, One, Air, 130, 75, Alert, 37.0), Risk::LowMedium),
        // 5 with and 5 without a single 3
        ((21, 93, One, Air, 130, 95, Alert, 37.0), Risk::Medium),
        ((25, 93, One, Air, 130, 75, Alert, 37.0), Risk::Medium),
        // 6 and 7
        ((21, 93, One, Oxygen, 130, 75, Alert, 37.0), Risk::Medium),
        ((21, 93, One, Oxygen, 130, 95, Alert, 37.0), Risk::High),
    ] {
        let News2::Complete { risk: found, .. } = scored(readings(row)) else {
            panic!("all parameters were given");
        };
        assert_eq!(found, risk, "{row:?}");
    }
}

#[test]
fn what_is_missing_is_named_and_gives_no_total() {
    let partial = scored(Readings { temperature: None, inspired_gas: None, ..readings((25, 98, One, Air, 130, 75, Alert, 37.0)) });
    assert_eq!(partial.total(), None);
    assert_eq!(partial.risk_at_least(), Risk::LowMedium);
    let News2::Partial { partial, parts, missing } = partial else {
        panic!("two parameters are missing");
    };
    assert_eq!(partial, 3);
    assert_eq!(missing, [Parameter::InspiredGas, Parameter::Temperature]);
    assert_eq!(parts.iter().count(), 5);
}

#[test]
fn nothing_recorded_is_a_partial_score_of_nothing() {
    let News2::Partial { partial, missing, .. } = scored(Readings::default()) else {
        panic!("nothing was given");
    };
    assert_eq!((partial, missing.len()), (0, 7));
}

#[test]
fn on_scale_2_a_high_saturation_has_no_points_until_the_gas_is_known() {
    let saturation = |saturation| {
        let observed = scored(Readings { oxygen_saturation: Some(saturation), scale: Two, ..Readings::default() });
        match observed {
            News2::Partial { parts, missing, .. } => {
                assert!(!missing.contains(&Parameter::OxygenSaturation));
                parts.get(Parameter::OxygenSaturation)
            }
            News2::Complete { .. } => panic!("most parameters are missing"),
        }
    };
    assert_eq!(saturation(92), Some(0));
    assert_eq!(saturation(93), None);
    assert_eq!(saturation(100), None);
}

#[test]
fn an_impossible_reading_names_parameter_unit_and_range() {
    let refused = |change: fn(&mut Readings)| {
        let mut readings = readings(WELL);
        change(&mut readings);
        Observations::parse(readings).unwrap_err()
    };
    let error = refused(|readings| readings.respiratory_rate = Some(81));
    assert_eq!(error, ImpossibleObservation { parameter: "respiratory rate", unit: "breaths/min", range: "0-80" });
    assert_eq!(error.to_string(), "impossible respiratory rate: it lies outside 0-80 breaths/min");
    for (error, parameter) in [
        (refused(|r| r.respiratory_rate = Some(-1)), "respiratory rate"),
        (refused(|r| r.oxygen_saturation = Some(101)), "oxygen saturation"),
        (refused(|r| r.oxygen_saturation = Some(29)), "oxygen saturation"),
        (refused(|r| r.systolic_blood_pressure = Some(29)), "systolic blood pressure"),
        (refused(|r| r.systolic_blood_pressure = Some(321)), "systolic blood pressure"),
        (refused(|r| r.pulse = Some(i32::MAX)), "pulse"),
        (refused(|r| r.pulse = Some(-1)), "pulse"),
        (refused(|r| r.temperature = Some(19.99)), "temperature"),
        (refused(|r| r.temperature = Some(98.6)), "temperature"),
        (refused(|r| r.temperature = Some(f64::NAN)), "temperature"),
    ] {
        assert_eq!(error.parameter, parameter);
    }
}

#[test]
fn consciousness_is_read_and_written_as_one_letter() {
    for level in [Alert, NewConfusion, Voice, Pain, Unresponsive] {
        assert_eq!(Consciousness::parse(&level.letter().to_string()), Ok(level));
    }
    assert_eq!(Consciousness::parse("c"), Ok(NewConfusion));
    assert!(Consciousness::parse("").is_err());
    assert!(Consciousness::parse("confused").is_err());
}

proptest! {
    #[test]
    fn no_reading_panics_and_no_score_passes_twenty(
        respiratory_rate: Option<i32>,
        oxygen_saturation in proptest::option::of(0..120),
        is_scale_two: bool,
        on_oxygen: Option<bool>,
        pressure in proptest::option::of(0..400),
        pulse in proptest::option::of(-10..400),
        level in proptest::option::of(0_usize..5),
        temperature: Option<f64>,
    ) {
        let readings = Readings {
            respiratory_rate,
            oxygen_saturation,
            scale: if is_scale_two { Two } else { One },
            inspired_gas: on_oxygen.map(|on_oxygen| if on_oxygen { Oxygen } else { Air }),
            systolic_blood_pressure: pressure,
            pulse,
            consciousness: level.map(|level| [Alert, NewConfusion, Voice, Pain, Unresponsive][level]),
            temperature,
        };
        if let Ok(observations) = Observations::parse(readings) {
            match score(&observations) {
                News2::Complete { total, parts, .. } => {
                    prop_assert!(total <= 20);
                    prop_assert_eq!(parts.iter().map(|(_, points)| points).sum::<u8>(), total);
                }
                News2::Partial { partial, missing, .. } => {
                    prop_assert!(partial <= 17 && !missing.is_empty());
                }
            }
        }
    }

    #[test]
    fn a_partial_score_is_a_floor(
        rate in 0..=80, saturation in 30..=100, is_scale_two: bool, on_oxygen: bool, pressure in 30..=320,
        pulse in 0..=320, temperature in 20.0..=45.0_f64, left_out in 0_usize..7,
    ) {
        let row = (
            rate,
            saturation,
            if is_scale_two { Two } else { One },
            if on_oxygen { Oxygen } else { Air },
            pressure,
            pulse,
            Alert,
            temperature,
        );
        let whole = scored(readings(row));
        let mut fewer = readings(row);
        match Parameter::ALL[left_out] {
            Parameter::RespiratoryRate => fewer.respiratory_rate = None,
            Parameter::OxygenSaturation => fewer.oxygen_saturation = None,
            Parameter::InspiredGas => fewer.inspired_gas = None,
            Parameter::SystolicBloodPressure => fewer.systolic_blood_pressure = None,
            Parameter::Pulse => fewer.pulse = None,
            Parameter::Consciousness => fewer.consciousness = None,
            Parameter::Temperature => fewer.temperature = None,
        }
        let part = scored(fewer);
        prop_assert!(part.risk_at_least() <= whole.risk_at_least());
        let News2::Partial { partial, missing, .. } = part else {
            return Err(TestCaseError::fail("a parameter is missing"));
        };
        prop_assert!(partial <= whole.total().unwrap());
        prop_assert_eq!(missing, [Parameter::ALL[left_out]]);
    }
}

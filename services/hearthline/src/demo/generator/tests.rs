use std::collections::{BTreeMap, BTreeSet};

use hearthline_interop::hl7v2::{Adt, Message};
use hearthline_nhs::{NhsNumber, OdsCode, Postcode, Sctid, london_local};
use jiff::civil::Date;

use super::*;
use crate::demo::adt::NumberVariant;
use crate::demo::week::{Claim, Patient};

fn make(seed: u64) -> Make {
    Make { seed, monday: Date::constant(2025, 10, 20), messages: 1_500, marker: None }
}

fn week(seed: u64) -> Week {
    generate(&make(seed)).expect("the week is in the calendar")
}

#[test]
fn the_counts_of_the_scoping_guide_are_exact_for_every_seed() {
    for seed in 0..5 {
        let week = week(seed);
        assert_eq!(week.homes.len(), 104);
        assert_eq!(week.calls.len(), 15);
        let residents: BTreeSet<usize> = week.calls.iter().map(|call| call.resident).collect();
        assert_eq!(residents.len(), 15);
        let homes: BTreeSet<usize> = residents.iter().map(|at| week.residents[*at].home).collect();
        assert_eq!(homes.len(), 15);
        let declared = |claim| {
            let claims = week.calls.iter().flat_map(|call| &call.claims);
            claims.filter(|declared| **declared == claim).count()
        };
        assert_eq!(Claim::ALL.map(declared), [8, 6, 4], "conveyances, attendances, admissions");
        assert!((1_500..1_503).contains(&week.messages.len()));
    }
}

#[test]
fn the_same_seed_gives_the_same_week_and_another_gives_another() {
    let bytes = |week: &Week| -> Vec<Vec<u8>> { week.messages.iter().map(|message| message.bytes.clone()).collect() };
    let (first, again, other) = (week(7), week(7), week(8));
    assert_eq!(bytes(&first), bytes(&again));
    assert_eq!(first.personal_values(), again.personal_values());
    assert_ne!(bytes(&first), bytes(&other));
    let opened = |week: &Week| -> Vec<i64> { week.calls.iter().map(|call| call.opened_at).collect() };
    assert_eq!(opened(&first), opened(&again));
}

#[test]
fn every_call_runs_forward_within_the_week() {
    let week = week(3);
    for call in &week.calls {
        let times = [
            week.starts_at,
            call.opened_at,
            call.answered_at,
            call.triaged_at,
            call.identified_at,
            call.joined_at,
            call.decided_at,
            call.prescribed_at,
            call.closed_at,
        ];
        assert!(times.is_sorted(), "{}", call.story);
        assert!(call.opened_at < week.ends_at, "{}", call.story);
    }
    let nights = week.calls.iter().filter(|call| {
        let hour = london_local(call.opened_at).expect("in the calendar").hour();
        !(8..18).contains(&hour)
    });
    assert!(nights.count() >= 5, "calls come by night as well");
}

#[test]
fn every_way_of_sending_the_nhs_number_occurs_and_is_read_back() {
    let week = week(1);
    let mut of_residents: BTreeMap<NumberVariant, usize> = BTreeMap::new();
    let mut of_strangers: BTreeMap<NumberVariant, usize> = BTreeMap::new();
    for sent in &week.messages {
        let message = Message::parse(&sent.bytes).expect("readable");
        let adt = Adt::of(&message);
        assert_eq!(adt.trigger().code(), sent.trigger);
        assert_eq!(adt.control_id(), Some(sent.control_id.as_str()));
        assert_eq!(adt.sending_facility(), Some(week.sites[sent.site].ods));
        let found = adt.nhs_number(|digits| NhsNumber::parse(digits).is_ok()).map(|found| found.digits.as_str().to_owned());
        match week.visits[sent.visit].patient {
            Patient::Resident(resident) => {
                *of_residents.entry(sent.variant).or_default() += 1;
                let number = week.residents[resident].person.nhs_number.as_str();
                assert_eq!(found.as_deref(), Some(number));
            }
            Patient::AtHome(_) | Patient::Elsewhere => {
                *of_strangers.entry(sent.variant).or_default() += 1;
                assert!(found.is_none_or(|found| { week.residents.iter().all(|resident| resident.person.nhs_number.as_str() != found) }));
            }
        }
    }
    assert_eq!(of_strangers.len(), NumberVariant::ALL.len());
    assert!(of_residents.len() >= 10, "residents meet most of them");
}

#[test]
fn numbers_are_valid_in_the_test_range_and_nobody_shares_one() {
    let week = week(2);
    let numbers: BTreeSet<&str> = week.residents.iter().map(|resident| resident.person.nhs_number.as_str()).collect();
    assert_eq!(numbers.len(), week.residents.len());
    assert!(numbers.iter().all(|number| number.starts_with("999")));
    assert!(numbers.iter().all(|number| NhsNumber::parse(number).is_ok()));
}

#[test]
fn the_totals_beside_the_observations_are_those_of_the_chart() {
    use hearthline_nhs::{Consciousness, InspiredGas, Observations, Readings, SpO2Scale, score};
    for call in week(1).calls {
        let Some(observed) = call.observed else { continue };
        let observations = Observations::parse(Readings {
            respiratory_rate: observed.respiratory_rate.map(Into::into),
            oxygen_saturation: observed.spo2.map(Into::into),
            scale: if observed.spo2_scale == 2 { SpO2Scale::Two } else { SpO2Scale::One },
            inspired_gas: observed.spo2.map(|_| InspiredGas::Air),
            systolic_blood_pressure: observed.systolic.map(Into::into),
            pulse: observed.pulse.map(Into::into),
            consciousness: observed.consciousness.map(|letter| Consciousness::parse(&letter.to_string()).expect("a letter of ACVPU")),
            temperature: observed.temperature,
        });
        assert_eq!(score(&observations.expect("possible")).total(), observed.news2, "{}", call.story);
    }
}

#[test]
fn registers_hold_only_what_can_be_parsed_and_no_code_or_postcode_twice() {
    let week = week(4);
    let mut codes = BTreeSet::new();
    let mut postcodes = BTreeSet::new();
    for home in &week.homes {
        assert!(OdsCode::parse(&home.ods_code).is_ok());
        assert!(hearthline_nhs::CqcLocationId::parse(&home.cqc_location_id).is_ok());
        assert!(Postcode::parse(&home.postcode).is_ok(), "{}", home.postcode);
        assert!(codes.insert(home.ods_code.clone()));
        assert!(postcodes.insert(home.postcode.clone()));
        assert!(home.live_from < week.monday);
    }
    let registers = week.practices.iter().map(|p| (&p.ods_code, &p.postcode));
    let pharmacies = week.pharmacies.iter().map(|p| (&p.ods_code, &p.postcode));
    for (code, postcode) in registers.chain(pharmacies) {
        assert!(OdsCode::parse(code).is_ok());
        assert!(Postcode::parse(postcode).is_ok(), "{postcode}");
        assert!(codes.insert(code.clone()));
    }
    for (item, _) in week.calls.iter().filter_map(|call| call.medicine.as_ref()) {
        assert!(Sctid::parse(item.dmd_code).is_ok_and(|id| id.can_name_medicine()));
        assert!(Sctid::parse(item.unit_code).is_ok(), "{}", item.unit);
    }
}

#[test]
fn nearly_everybody_in_the_feed_is_a_stranger_and_some_live_at_homes() {
    let week = week(5);
    let of = |wanted: fn(&Patient) -> bool| {
        let patients = week.messages.iter().map(|message| week.visits[message.visit].patient);
        patients.filter(wanted).count()
    };
    let elsewhere = of(|patient| *patient == Patient::Elsewhere);
    assert!(elsewhere * 100 / week.messages.len() >= 92, "{elsewhere}");
    assert!(of(|patient| matches!(patient, Patient::AtHome(_))) >= 18);
    assert!(of(|patient| matches!(patient, Patient::Resident(_))) >= 30);
    let triggers: BTreeSet<&str> = week.messages.iter().map(|message| message.trigger).collect();
    assert_eq!(triggers, BTreeSet::from(["A01", "A03", "A04"]));
}

#[test]
fn messages_are_in_the_order_of_sending_with_control_ids_of_their_own() {
    let week = week(6);
    assert!(week.messages.is_sorted_by_key(|message| message.sent_at));
    let ids: BTreeSet<&str> = week.messages.iter().map(|m| m.control_id.as_str()).collect();
    assert_eq!(ids.len(), week.messages.len());
}

#[test]
fn a_marker_is_in_every_name_address_and_text_that_is_personal() {
    let marked = generate(&Make { marker: Some("zqxjv".to_owned()), ..make(9) }).expect("the week is in the calendar");
    let numberless = |value: &&String| value.chars().any(char::is_alphabetic);
    let values = marked.personal_values();
    assert!(values.iter().filter(numberless).count() > 500);
    assert!(values.iter().filter(numberless).all(|value| value.contains("zqxjv")));
    for call in &marked.calls {
        let texts = [&call.reason_text, &call.caller_name, &call.summary, &call.rationale];
        assert!(texts.iter().all(|text| text.contains("zqxjv")));
    }
    let homes = marked.homes.iter();
    assert!(homes.clone().all(|home| !home.name.contains("zqxjv")));
}

#[test]
fn the_week_fed_ended_at_least_five_days_ago_and_at_most_twelve() {
    for day in 0..14 {
        let now = 1_761_442_200_000_000 + day * DAY_US;
        let week = generate(&Make { monday: last_settled_week(now).expect("in the calendar"), ..make(0) }).expect("in the calendar");
        let since_end = now - week.ends_at;
        assert!((5 * DAY_US - HOUR_US..12 * DAY_US + HOUR_US).contains(&since_end));
        assert!(week.messages.iter().all(|message| message.sent_at < now));
    }
}

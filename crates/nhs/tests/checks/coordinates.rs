use hearthline_nhs::{Coordinates, CoordinatesError};
use proptest::prelude::*;

fn at(latitude: f64, longitude: f64) -> Coordinates {
    Coordinates::from_degrees(latitude, longitude).unwrap()
}

#[test]
fn one_degree_of_latitude_is_111_195_metres() {
    assert!((at(50.0, -1.0).distance_m(at(51.0, -1.0)) - 111_195.08).abs() < 0.1);
}

#[test]
fn london_to_paris_is_344_kilometres() {
    let distance = at(51.5074, -0.1278).distance_m(at(48.8566, 2.3522));
    assert!((distance - 343_556.0).abs() < 500.0, "{distance}");
}

#[test]
fn the_far_side_of_the_earth_is_half_a_circumference_away() {
    let distance = at(0.0, 0.0).distance_m(at(0.0, 180.0));
    assert!((distance - 20_015_114.0).abs() < 10.0, "{distance}");
}

#[test]
fn positions_off_the_globe_are_refused() {
    assert_eq!(Coordinates::from_degrees(90.1, 0.0), Err(CoordinatesError::Latitude));
    assert_eq!(Coordinates::from_degrees(f64::NAN, 0.0), Err(CoordinatesError::Latitude));
    assert_eq!(Coordinates::from_degrees(0.0, f64::INFINITY), Err(CoordinatesError::Longitude));
    assert_eq!(Coordinates::from_micro_degrees(0, -180_000_001), Err(CoordinatesError::Longitude));
}

proptest! {
    #[test]
    fn distance_is_symmetric_and_zero_only_to_itself(
        north in -90_000_000..=90_000_000, east in -180_000_000..=180_000_000,
        other_north in -90_000_000..=90_000_000, other_east in -180_000_000..=180_000_000,
    ) {
        let here = Coordinates::from_micro_degrees(north, east).unwrap();
        let there = Coordinates::from_micro_degrees(other_north, other_east).unwrap();
        prop_assert!((here.distance_m(there) - there.distance_m(here)).abs() < 1e-3);
        prop_assert_eq!(here.distance_m(here), 0.0);
        prop_assert!((0.0..=20_015_115.0).contains(&here.distance_m(there)));
        prop_assert_eq!((here.latitude(), here.longitude()), (north, east));
    }
}

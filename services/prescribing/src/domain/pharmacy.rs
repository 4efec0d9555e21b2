//! Which pharmacies are open, nearest first.

use hearthline_nhs::{Coordinates, OdsCode, OpeningHours, PharmacyId, london_local};
use jiff::civil::Date;

/// A community pharmacy as the directory lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pharmacy {
    pub id: PharmacyId,
    pub ods: OdsCode,
    pub name: String,
    pub postcode: String,
    pub place: Option<Coordinates>,
    pub opening: OpeningHours,
    /// The first day it is listed, local; none = always.
    pub listed_from: Option<Date>,
}

impl Pharmacy {
    /// Whether it is listed and open at `at` (µs UTC), in Europe/London civil time.
    pub fn is_open(&self, at: i64) -> bool {
        london_local(at).is_ok_and(|local| self.opening.is_open(local) && self.listed_from.is_none_or(|from| from <= local.date()))
    }
}

/// A pharmacy and how far it lies from the home in a straight line, metres; none where either place is unknown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed<'a> {
    pub pharmacy: &'a Pharmacy,
    pub distance_m: Option<u32>,
}

/// Those open at `at`, nearest first; those whose distance is not known come last, by their code.
pub fn open_by_distance(pharmacies: &[Pharmacy], home: Option<Coordinates>, at: i64) -> Vec<Placed<'_>> {
    let mut open: Vec<Placed<'_>> = pharmacies
        .iter()
        .filter(|pharmacy| pharmacy.is_open(at))
        .map(|pharmacy| {
            let metres = home.zip(pharmacy.place).map(|(from, to)| from.distance_m(to).round());
            // Half the Earth's circumference is far below 2^32 metres.
            Placed { pharmacy, distance_m: metres.map(|metres| metres as u32) }
        })
        .collect();
    open.sort_by(|a, b| {
        let key = |p: &Placed<'_>| (p.distance_m.is_none(), p.distance_m);
        key(a).cmp(&key(b)).then_with(|| a.pharmacy.ods.cmp(&b.pharmacy.ods))
    });
    open
}

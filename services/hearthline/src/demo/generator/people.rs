//! Residents of the homes and strangers from everywhere else.

use hearthline_nhs::NhsNumber;
use jiff::ToSpan;
use jiff::civil::Date;
use rand::RngExt;

use super::Maker;
use super::register::{HOMES, TOWNS, postcode};
use crate::demo::adt::Address;
use crate::demo::week::{Person, Resident};

/// Residents known to the hub before the week; the whole county has some forty times as many.
const RESIDENTS: usize = 208;
/// The week's callers are the residents with the lowest indices, one in each of the first homes.
pub(super) const CALLERS: usize = 15;

const FAMILIES: [&str; 40] = [
    "Abbott",
    "Ainsworth",
    "Barlow",
    "Beckett",
    "Bellamy",
    "Blackwood",
    "Bowyer",
    "Calloway",
    "Carlisle",
    "Chadwick",
    "Cresswell",
    "Dunmore",
    "Eastwood",
    "Fairfax",
    "Fenwick",
    "Garside",
    "Greenhalgh",
    "Hadley",
    "Hartnell",
    "Holloway",
    "Ibbotson",
    "Jessop",
    "Kershaw",
    "Langford",
    "Lockwood",
    "Marchbank",
    "Midgley",
    "Naylor",
    "Oakeshott",
    "Pemberton",
    "Quarmby",
    "Radcliffe",
    "Sedgwick",
    "Thackeray",
    "Underhill",
    "Vickers",
    "Wainwright",
    "Whitlock",
    "Yardley",
    "O'Shea",
];
const WOMEN: [&str; 14] =
    ["Ada", "Beryl", "Constance", "Doreen", "Edna", "Florence", "Gwendoline", "Hilda", "Iris", "Joan", "Kathleen", "Mavis", "Phyllis", "Vera"];
const MEN: [&str; 12] = ["Albert", "Bernard", "Cyril", "Donald", "Ernest", "Frederick", "Gordon", "Harold", "Leonard", "Norman", "Reginald", "Stanley"];
const PRIVATE_STREETS: [&str; 8] =
    ["Ashdown Close", "Bittern Way", "Clover Rise", "Drovers Walk", "Ferndale Crescent", "Hilltop View", "Larkspur Gardens", "Tollgate Mews"];

impl Maker {
    pub(super) fn residents(&mut self) {
        for at in 0..RESIDENTS {
            let person = self.person(1924, 1948);
            let days = self.random.random_range(40..900_i64);
            self.week.residents.push(Resident { person, home: at % HOMES, moved_in_on: self.week.monday.saturating_sub(days.days()), registered: true });
        }
    }

    /// Somebody born in the years from `first` to `last`.
    pub(super) fn person(&mut self, first: i16, last: i16) -> Person {
        let sex = if self.random.random_bool(0.62) { '2' } else { '1' };
        let given = if sex == '2' { WOMEN[self.random.random_range(0..WOMEN.len())] } else { MEN[self.random.random_range(0..MEN.len())] };
        let family = FAMILIES[self.random.random_range(0..FAMILIES.len())];
        let (family, given) = (self.name(family), self.name(given));
        let kin = WOMEN[self.random.random_range(0..WOMEN.len())];
        let next_of_kin = self.text(&format!("{kin} {family}"));
        let telephone = format!("07700 900{:03}", self.random.random_range(0..1_000));
        let telephone = self.text(&telephone);
        Person { family, given, sex, born_on: self.birthday(first, last), nhs_number: self.nhs_number(), telephone, next_of_kin }
    }

    /// A private address somewhere in the county.
    pub(super) fn private_address(&mut self) -> Address {
        let town = &TOWNS[self.random.random_range(0..TOWNS.len())];
        let street = format!("{} {}", self.random.random_range(1..250), PRIVATE_STREETS[self.random.random_range(0..PRIVATE_STREETS.len())]);
        // Sector 0 is nobody's but theirs.
        let postcode = postcode(town, 0, self.random.random_range(0..400));
        Address { street: self.text(&street), other: String::new(), town: town.name.to_owned(), postcode }
    }

    fn birthday(&mut self, first: i16, last: i16) -> Date {
        let year = self.random.random_range(first..=last);
        let days = self.random.random_range(0..365_i64);
        let date = Date::constant(year, 1, 1).saturating_add(days.days());
        self.personal(date.to_string());
        self.personal(date.strftime("%Y%m%d").to_string());
        date
    }

    /// A number of the range 999 that nobody else in the week has.
    fn nhs_number(&mut self) -> NhsNumber {
        loop {
            let first_nine = 999_000_000 + self.random.random_range(1..1_000_000_u32);
            let Ok(number) = NhsNumber::complete(first_nine) else {
                continue;
            };
            if self.numbers_used.insert(first_nine) {
                self.personal(number.as_str().to_owned());
                self.personal(number.formatted());
                return number;
            }
        }
    }
}

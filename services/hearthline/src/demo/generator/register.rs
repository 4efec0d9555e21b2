//! Homes, practices, pharmacies and hospital sites. Names and codes are invented; towns and postcode districts are real ones
//! around the Solent, so that distances and catchments make sense.

use jiff::ToSpan;
use jiff::civil::Date;
use rand::RngExt;

use super::Maker;
use crate::demo::week::{Home, Pharmacy, Practice, Site};

/// The homes of the county that take part.
pub(super) const HOMES: usize = 104;
const PRACTICES: usize = 12;
const PHARMACIES: usize = 10;
/// The one home whose secure email has not been verified yet.
pub(super) const HOME_WITHOUT_EMAIL: usize = HOMES - 1;

pub(super) const SITES: [Site; 5] = [
    Site { trust_ods: "RZ1", ods: "RZ101", application: "IPM", version: "2.4", arrival_as_snomed: false, postcode_areas: &["PO"] },
    Site { trust_ods: "RZ1", ods: "RZ102", application: "IPM", version: "2.4", arrival_as_snomed: false, postcode_areas: &["PO"] },
    Site { trust_ods: "RZ2", ods: "RZ201", application: "CAMIS", version: "2.3", arrival_as_snomed: true, postcode_areas: &["SO"] },
    Site { trust_ods: "RZ3", ods: "RZ301", application: "EDIS", version: "2.5.1", arrival_as_snomed: true, postcode_areas: &["RG", "GU"] },
    Site { trust_ods: "RZ3", ods: "RZ302", application: "EDIS", version: "2.5.1", arrival_as_snomed: true, postcode_areas: &["RG", "GU"] },
];

pub(super) struct Town {
    pub name: &'static str,
    pub district: &'static str,
    latitude: f64,
    longitude: f64,
}

const fn town(name: &'static str, district: &'static str, latitude: f64, longitude: f64) -> Town {
    Town { name, district, latitude, longitude }
}

pub(super) const TOWNS: [Town; 20] = [
    town("Portsmouth", "PO4", 50.795, -1.065),
    town("Southampton", "SO15", 50.915, -1.425),
    town("Basingstoke", "RG21", 51.262, -1.087),
    town("Fareham", "PO16", 50.852, -1.178),
    town("Eastleigh", "SO50", 50.968, -1.350),
    town("Aldershot", "GU11", 51.248, -0.760),
    town("Havant", "PO9", 50.855, -0.983),
    town("Winchester", "SO22", 51.063, -1.330),
    town("Farnborough", "GU14", 51.294, -0.754),
    town("Gosport", "PO12", 50.795, -1.135),
    town("Romsey", "SO51", 50.989, -1.497),
    town("Petersfield", "GU31", 51.003, -0.934),
    town("Waterlooville", "PO7", 50.880, -1.030),
    town("Lymington", "SO41", 50.758, -1.543),
    town("Alton", "GU34", 51.149, -0.974),
    town("Cosham", "PO6", 50.845, -1.065),
    town("Hedge End", "SO30", 50.913, -1.303),
    town("Hook", "RG27", 51.281, -0.960),
    town("Emsworth", "PO10", 50.849, -0.937),
    town("Tadley", "RG26", 51.350, -1.137),
];

const NAMES: [&str; 26] = [
    "Alder", "Beech", "Bramble", "Cedar", "Chalk", "Downs", "Elm", "Fern", "Gorse", "Hazel", "Heath", "Holly", "Ivy", "Juniper", "Kestrel", "Lark", "Linden",
    "Maple", "Meadow", "Oak", "Orchard", "Rowan", "Saffron", "Thistle", "Willow", "Wren",
];
const KINDS: [&str; 4] = ["House", "Lodge", "Court", "Grange"];
const STREETS: [&str; 8] = ["Station Road", "Church Lane", "The Avenue", "Park Road", "London Road", "Mill Lane", "Queens Road", "High Street"];
const WEEKDAYS: &str = "mon 09:00-18:30;tue 09:00-18:30;wed 09:00-18:30;thu 09:00-18:30;\
                        fri 09:00-18:30;sat 09:00-13:00";
const LONG_HOURS: &str = "mon 07:00-22:30;tue 07:00-22:30;wed 07:00-22:30;thu 07:00-22:30;\
                          fri 07:00-22:30;sat 08:00-20:00;sun 10:00-17:00";

impl Maker {
    pub(super) fn registers(&mut self) {
        for (at, town) in TOWNS.iter().take(PRACTICES).enumerate() {
            let postcode = postcode(town, 9, at);
            self.week.practices.push(Practice { ods_code: format!("J829{at:02}"), name: format!("{} Surgery", town.name), postcode });
        }
        for (at, town) in TOWNS.iter().take(PHARMACIES).enumerate() {
            let (latitude, longitude) = self.near(town);
            self.week.pharmacies.push(Pharmacy {
                ods_code: format!("FZ9{at:02}"),
                name: format!("{} Pharmacy", town.name),
                postcode: postcode(town, 8, at),
                latitude,
                longitude,
                // One in each of the three largest towns never shuts.
                opening: match at {
                    0..3 => "24/7",
                    _ if at.is_multiple_of(2) => LONG_HOURS,
                    _ => WEEKDAYS,
                },
            });
        }
        for at in 0..HOMES {
            let home = self.home(at);
            self.week.homes.push(home);
        }
    }

    fn home(&mut self, at: usize) -> Home {
        let town = &TOWNS[at % TOWNS.len()];
        let name = format!("{} {}", NAMES[at % NAMES.len()], KINDS[at / NAMES.len()]);
        let (latitude, longitude) = self.near(town);
        let live_from = self.days_before_week(30, 400);
        let verified_on = self.days_before_week(20, 300);
        let mailbox = name.to_lowercase().replace(' ', ".");
        Home {
            ods_code: format!("VN{}", 100 + at),
            cqc_location_id: format!("1-{}", 7_000_000_100 + at),
            address_line_1: format!("{} {}", self.random.random_range(1..190), STREETS[self.random.random_range(0..STREETS.len())]),
            address_line_2: name.clone(),
            town: town.name,
            postcode: postcode(town, 1 + at / TOWNS.len(), at),
            uprn: format!("{}", 100_090_000_000_u64 + at as u64),
            beds: self.random.random_range(18..82),
            home_type: ["nursing", "residential"][at % 2],
            controller_ods: format!("AZ{}", 100 + at / 4),
            latitude,
            longitude,
            live_from,
            secure_email: (at != HOME_WITHOUT_EMAIL).then(|| (format!("{mailbox}@example.nhs.net"), verified_on)),
            practice: at % PRACTICES,
            name,
        }
    }

    /// Within about two kilometres of the middle of a town.
    fn near(&mut self, town: &Town) -> (f64, f64) {
        let mut scatter = || f64::from(self.random.random_range(-180..=180)) / 10_000.0;
        let (north, east) = (scatter(), scatter());
        (town.latitude + north, town.longitude + east)
    }

    fn days_before_week(&mut self, least: i64, most: i64) -> Date {
        let days = self.random.random_range(least..most);
        self.week.monday.saturating_sub(days.days())
    }
}

/// A postcode of the town's district that no two things of one kind share. `sector` and `at` choose it.
pub(super) fn postcode(town: &Town, sector: usize, at: usize) -> String {
    const LETTERS: &[u8; 20] = b"ABDEFGHJLNPQRSTUWXYZ";
    let (first, second) = (LETTERS[at / 20 % 20], LETTERS[at % 20]);
    format!("{} {}{}{}", town.district, sector % 10, char::from(first), char::from(second))
}

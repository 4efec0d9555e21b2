//! Registers as CSV files: one row is one home, practice or pharmacy. Pure: rows in, details or the reason of refusal out.

use crate::domain::{HomeDetails, HomeType, PharmacyDetails, PracticeDetails, SecureEmail};
use hearthline_nhs::{Coordinates, CqcLocationId, EmailAddress, Interval, OdsCode, OpeningHours, Postcode, london_instant};
use jiff::Timestamp;
use jiff::civil::{Date, Weekday};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// A row as parsed: which ODS code it was about, if that much could be read, and what it says or why it is refused.
pub struct Row<T> {
    /// Counted from 1, the header not among them.
    pub number: usize,
    pub ods: String,
    pub parsed: Result<T, String>,
}

/// The file as a whole cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the first line must name the columns: {columns}")]
pub struct NotARegister {
    pub columns: &'static str,
}

/// A home's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HomeRow {
    pub details: HomeDetails,
    pub live_from_us: Option<i64>,
    pub email: Option<SecureEmail>,
    pub practice_ods: Option<OdsCode>,
}

pub const HOME_COLUMNS: &str = "ods_code,cqc_location_id,name,address_line_1,address_line_2,town,postcode,uprn,beds,home_type,controller_ods,latitude,longitude,\
                                live_from,secure_email,secure_email_verified_on,practice_ods";
pub const PRACTICE_COLUMNS: &str = "ods_code,name,postcode";
pub const PHARMACY_COLUMNS: &str = "ods_code,name,postcode,latitude,longitude,opening,listed_from";

#[derive(Deserialize)]
struct HomeCells {
    ods_code: String,
    #[serde(default)]
    cqc_location_id: String,
    name: String,
    address_line_1: String,
    #[serde(default)]
    address_line_2: String,
    #[serde(default)]
    town: String,
    postcode: String,
    #[serde(default)]
    uprn: String,
    beds: String,
    home_type: String,
    controller_ods: String,
    #[serde(default)]
    latitude: String,
    #[serde(default)]
    longitude: String,
    #[serde(default)]
    live_from: String,
    #[serde(default)]
    secure_email: String,
    #[serde(default)]
    secure_email_verified_on: String,
    #[serde(default)]
    practice_ods: String,
}

#[derive(Deserialize)]
struct PracticeCells {
    ods_code: String,
    name: String,
    postcode: String,
}

#[derive(Deserialize)]
struct PharmacyCells {
    ods_code: String,
    name: String,
    postcode: String,
    #[serde(default)]
    latitude: String,
    #[serde(default)]
    longitude: String,
    opening: String,
    #[serde(default)]
    listed_from: String,
}

pub fn homes(csv: &[u8]) -> Result<Vec<Row<HomeRow>>, NotARegister> {
    rows(csv, HOME_COLUMNS, |c: &HomeCells| c.ods_code.clone(), home)
}

pub fn practices(csv: &[u8]) -> Result<Vec<Row<PracticeDetails>>, NotARegister> {
    rows(csv, PRACTICE_COLUMNS, |c: &PracticeCells| c.ods_code.clone(), practice)
}

pub fn pharmacies(csv: &[u8]) -> Result<Vec<Row<PharmacyDetails>>, NotARegister> {
    rows(csv, PHARMACY_COLUMNS, |c: &PharmacyCells| c.ods_code.clone(), pharmacy)
}

/// The word for a kind of home in registers and replies.
pub fn home_type_word(kind: HomeType) -> &'static str {
    match kind {
        HomeType::Nursing => "nursing",
        HomeType::Residential => "residential",
        HomeType::Specialist => "specialist",
    }
}

fn rows<C: DeserializeOwned, T>(
    csv: &[u8],
    columns: &'static str,
    ods: impl Fn(&C) -> String,
    parse: impl Fn(C) -> Result<T, String>,
) -> Result<Vec<Row<T>>, NotARegister> {
    // Spreadsheets put a byte order mark before the first column's name.
    let csv = csv.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(csv);
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).flexible(true).from_reader(csv);
    let header = reader.headers().map_err(|_| NotARegister { columns })?;
    let known: Vec<&str> = columns.split(',').map(str::trim).collect();
    if header.iter().next() != Some("ods_code") || header.iter().any(|name| !known.contains(&name)) {
        return Err(NotARegister { columns });
    }
    let rows = reader.deserialize::<C>().enumerate().map(|(n, cells)| match cells {
        Ok(cells) => Row { number: n + 1, ods: ods(&cells), parsed: parse(cells) },
        Err(error) => Row { number: n + 1, ods: String::new(), parsed: Err(unreadable(&error)) },
    });
    Ok(rows.collect())
}

/// The reason without the row's content.
fn unreadable(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::Utf8 { .. } => "the row is not UTF-8".to_owned(),
        csv::ErrorKind::Deserialize { err, .. } => match err.kind() {
            csv::DeserializeErrorKind::Message(text) if text.starts_with("missing field") => text.clone(),
            _ => "the row has too few or malformed cells".to_owned(),
        },
        _ => "the row cannot be read".to_owned(),
    }
}

fn home(c: HomeCells) -> Result<HomeRow, String> {
    let beds = c.beds.parse::<u32>().ok().filter(|n| (1..=500).contains(n)).ok_or("beds: a number from 1 to 500")?;
    let home_type = match c.home_type.to_ascii_lowercase().as_str() {
        "nursing" => HomeType::Nursing,
        "residential" => HomeType::Residential,
        "specialist" => HomeType::Specialist,
        _ => return Err("home_type: nursing, residential or specialist".to_owned()),
    };
    let uprn = filled(&c.uprn)
        .map(|u| if u.len() <= 12 && u.bytes().all(|b| b.is_ascii_digit()) { Ok(u.to_owned()) } else { Err("uprn: up to 12 digits".to_owned()) })
        .transpose()?;
    let email = match (filled(&c.secure_email), filled(&c.secure_email_verified_on)) {
        (None, None) => None,
        (Some(address), Some(on)) => Some(SecureEmail {
            address: EmailAddress::parse(address).map_err(|e| format!("secure_email: {e}"))?,
            verified_on: day("secure_email_verified_on", on)?,
        }),
        _ => return Err("secure_email and secure_email_verified_on: both or neither".to_owned()),
    };
    let lines = [&c.address_line_1, &c.address_line_2, &c.town];
    let address: Vec<String> = lines.into_iter().filter_map(|line| filled(line)).map(str::to_owned).collect();
    if filled(&c.address_line_1).is_none() {
        return Err("address_line_1: is needed".to_owned());
    }
    Ok(HomeRow {
        details: HomeDetails {
            ods: ods("ods_code", &c.ods_code)?,
            cqc: filled(&c.cqc_location_id).map(|id| CqcLocationId::parse(id).map_err(|e| format!("cqc_location_id: {e}"))).transpose()?,
            name: name(&c.name)?,
            address,
            postcode: postcode(&c.postcode)?,
            uprn,
            beds,
            home_type,
            controller: ods("controller_ods", &c.controller_ods)?,
            position: position(&c.latitude, &c.longitude)?,
        },
        live_from_us: filled(&c.live_from).map(live_from).transpose()?,
        email,
        practice_ods: filled(&c.practice_ods).map(|code| ods("practice_ods", code)).transpose()?,
    })
}

fn practice(c: PracticeCells) -> Result<PracticeDetails, String> {
    Ok(PracticeDetails { ods: ods("ods_code", &c.ods_code)?, name: name(&c.name)?, postcode: postcode(&c.postcode)? })
}

fn pharmacy(c: PharmacyCells) -> Result<PharmacyDetails, String> {
    Ok(PharmacyDetails {
        ods: ods("ods_code", &c.ods_code)?,
        name: name(&c.name)?,
        postcode: postcode(&c.postcode)?,
        position: position(&c.latitude, &c.longitude)?,
        opening: opening(&c.opening)?,
        listed_from: filled(&c.listed_from).map(|on| day("listed_from", on)).transpose()?,
    })
}

/// `24/7`, or `mon 08:30-18:30;sat 09:00-13:00`; a day may be named more than once, and several at a time as `mon-fri`.
pub fn opening(text: &str) -> Result<OpeningHours, String> {
    const FORM: &str = "opening: 24/7, or days and hours as in mon-fri 08:30-18:30;sat 09:00-13:00";
    if text == "24/7" {
        return Ok(OpeningHours::always());
    }
    let mut days: [Vec<Interval>; 7] = Default::default();
    for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
        let (names, hours) = part.split_once(' ').ok_or(FORM)?;
        let interval = Interval::parse(hours).map_err(|e| format!("opening: {e}"))?;
        let (first, last) = names.split_once('-').unwrap_or((names, names));
        let (first, last) = (weekday(first).ok_or(FORM)?, weekday(last).ok_or(FORM)?);
        let from = first.to_monday_zero_offset();
        for n in 0..=first.until(last) {
            days[usize::from((from + n).rem_euclid(7).unsigned_abs())].push(interval);
        }
    }
    let mut opening = OpeningHours::closed();
    for (n, intervals) in (0_i8..).zip(days) {
        let weekday = Weekday::from_monday_zero_offset(n).map_err(|_| FORM)?;
        opening = opening.with_weekday(weekday, intervals).map_err(|e| format!("opening: {e}"))?;
    }
    Ok(opening)
}

fn weekday(name: &str) -> Option<Weekday> {
    Some(match name.to_ascii_lowercase().as_str() {
        "mon" => Weekday::Monday,
        "tue" => Weekday::Tuesday,
        "wed" => Weekday::Wednesday,
        "thu" => Weekday::Thursday,
        "fri" => Weekday::Friday,
        "sat" => Weekday::Saturday,
        "sun" => Weekday::Sunday,
        _ => return None,
    })
}

/// A day, from its first moment in London, or an instant.
fn live_from(text: &str) -> Result<i64, String> {
    const FORM: &str = "live_from: YYYY-MM-DD, or a time with its offset";
    if let Ok(date) = text.parse::<Date>()
        && text.len() == 10
    {
        return london_instant(date.to_datetime(jiff::civil::Time::midnight())).map_err(|_| FORM.to_owned());
    }
    text.parse::<Timestamp>().map(Timestamp::as_microsecond).map_err(|_| FORM.to_owned())
}

fn position(latitude: &str, longitude: &str) -> Result<Option<Coordinates>, String> {
    match (filled(latitude), filled(longitude)) {
        (None, None) => Ok(None),
        (Some(north), Some(east)) => {
            let (north, east) = (north.parse().map_err(|_| "latitude: degrees")?, east.parse().map_err(|_| "longitude: degrees")?);
            Coordinates::from_degrees(north, east).map(Some).map_err(|e| e.to_string())
        }
        _ => Err("latitude and longitude: both or neither".to_owned()),
    }
}

fn filled(cell: &str) -> Option<&str> {
    Some(cell).filter(|cell| !cell.is_empty())
}

fn name(text: &str) -> Result<String, String> {
    let fits = (1..=200).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    if fits { Ok(text.to_owned()) } else { Err("name: 1 to 200 characters".to_owned()) }
}

fn ods(column: &str, text: &str) -> Result<OdsCode, String> {
    OdsCode::parse(text).map_err(|e| format!("{column}: {e}"))
}

fn postcode(text: &str) -> Result<Postcode, String> {
    Postcode::parse(text).map_err(|e| format!("postcode: {e}"))
}

fn day(column: &str, text: &str) -> Result<Date, String> {
    text.parse().map_err(|_| format!("{column}: YYYY-MM-DD"))
}

#[cfg(test)]
#[path = "registers_tests.rs"]
mod tests;

use super::*;

const HEADER: &str = "ods_code,cqc_location_id,name,address_line_1,address_line_2,town,postcode,uprn,beds,home_type,controller_ods,latitude,longitude,live_from,secure_email,secure_email_verified_on,practice_ods\n";
const OAK: &str =
    "VL1A2,1-1234567,Oak Lodge,12 High Street,,Southampton,so166yd,100012345678,40,nursing,QRL,50.93,-1.43,2026-03-01,oak@nhs.net,2026-02-20,J82001\n";

fn home_row(line: &str) -> Result<HomeRow, String> {
    homes(format!("{HEADER}{line}").as_bytes()).expect("a register").remove(0).parsed
}

#[test]
fn a_home_is_read_from_its_row() {
    let row = home_row(OAK).expect("taken");
    assert_eq!(row.details.postcode.as_str(), "SO16 6YD");
    assert_eq!(row.details.address, ["12 High Street", "Southampton"]);
    assert_eq!(row.live_from_us, Some(1_772_323_200_000_000));
    assert_eq!(row.practice_ods.map(|o| o.to_string()).as_deref(), Some("J82001"));
}

#[test]
fn a_row_that_cannot_be_taken_says_which_column() {
    for (from, to, column) in [
        ("VL1A2", "V", "ods_code"),
        ("so166yd", "nowhere", "postcode"),
        (",40,", ",0,", "beds"),
        ("nursing", "castle", "home_type"),
        ("2026-03-01", "soon", "live_from"),
        ("oak@nhs.net", "", "secure_email"),
        ("50.93", "", "latitude"),
        ("100012345678", "12a", "uprn"),
    ] {
        let why = home_row(&OAK.replace(from, to)).expect_err(column);
        assert!(why.contains(column), "{why}");
    }
}

#[test]
fn a_bad_row_keeps_no_good_one_out() {
    let rows = homes(format!("{HEADER}{}{OAK}", OAK.replace("VL1A2", "?")).as_bytes()).expect("a register");
    assert_eq!(rows.iter().map(|row| (row.number, row.parsed.is_ok())).collect::<Vec<_>>(), [(1, false), (2, true)]);
}

#[test]
fn a_file_with_other_columns_is_no_register() {
    assert!(homes(b"name,address\nOak Lodge,12 High Street\n").is_err());
    assert!(practices(format!("{HEADER}{OAK}").as_bytes()).is_err());
}

#[test]
fn opening_hours_are_read_by_day_and_by_range() {
    let monday_at = |text: &str, hour: i8| opening(text).map(|o| o.is_open(jiff::civil::date(2026, 3, 2).at(hour, 0, 0, 0)));
    assert_eq!(monday_at("mon 08:30-18:30;sat 09:00-13:00", 9), Ok(true));
    assert_eq!(monday_at("mon 08:30-18:30;sat 09:00-13:00", 19), Ok(false));
    assert_eq!(monday_at("sat-mon 10:00-12:00", 11), Ok(true));
    assert_eq!(monday_at("tue-sun 10:00-12:00", 11), Ok(false));
    assert_eq!(monday_at("24/7", 3), Ok(true));
    assert_eq!(monday_at("mon 09:00-12:00;mon 13:00-17:00", 12), Ok(false));
    assert!(opening("monday 9-5").is_err());
}

//! Dates moved by whole days in the shape they were written in.

use jiff::ToSpan;
use jiff::civil::Date;

/// How a text writes a day: where year, month and day stand.
struct Shape {
    year: usize,
    /// Absent in `1948`.
    month: Option<usize>,
    /// Absent in `194810`.
    day: Option<usize>,
}

const DAY: Shape = Shape { year: 0, month: Some(4), day: Some(6) };
const MONTH: Shape = Shape { year: 0, month: Some(4), day: None };
const YEAR: Shape = Shape { year: 0, month: None, day: None };
const DASHED: Shape = Shape { year: 0, month: Some(5), day: Some(8) };
const SLASHED: Shape = Shape { year: 6, month: Some(3), day: Some(0) };

/// How long the time stamp at the beginning of a text is, when it begins with one of at least eight digits that ends
/// there: `20250110`, `20250110120000.123+0000`.
pub(super) fn stamp_length(text: &str) -> Option<usize> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    if !matches!(digits, 8 | 10 | 12 | 14) {
        return None;
    }
    let date = read(text, &DAY)?;
    let rest = &text[digits..];
    let fraction = rest.strip_prefix('.').map_or(0, |after| after.bytes().take_while(u8::is_ascii_digit).count());
    let mut length = digits + if (1..=6).contains(&fraction) { fraction + 1 } else { 0 };
    if let Some(zone) = text[length..].strip_prefix(['+', '-'])
        && zone.bytes().take_while(u8::is_ascii_digit).count() == 4
    {
        length += 5;
    }
    let ends = text[length..].chars().next().is_none_or(|next| !next.is_alphanumeric());
    (ends && (1850..=2200).contains(&date.year())).then_some(length)
}

/// The text with its leading date moved; the rest as it was. `None` when it begins with no date.
pub(super) fn moved(text: &str, days: impl FnOnce(&str) -> i64) -> Option<String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (shape, length) = match (digits, text.as_bytes()) {
        (8.., _) => (DAY, 8),
        (6, _) => (MONTH, 6),
        (4, [_, _, _, _, b'-' | b'/', _, _, b'-' | b'/', _, _, ..]) => (DASHED, 10),
        (4, _) => (YEAR, 4),
        (2, [_, _, b'-' | b'/', _, _, b'-' | b'/', _, _, _, _, ..]) => (SLASHED, 10),
        _ => return None,
    };
    let date = read(text, &shape)?;
    let days = days(&text[..length]);
    // Where only the month or the year is written, less than that would change nothing.
    let least = if shape.month.is_none() {
        366
    } else if shape.day.is_none() {
        31
    } else {
        1
    };
    let days = if days < 0 { days.min(-least) } else { days.max(least) };
    let date = date.checked_add(days.days()).ok().filter(|date| (1000..=9999).contains(&date.year()))?;
    let mut written = text.as_bytes().to_vec();
    written[shape.year..shape.year + 4].copy_from_slice(format!("{:04}", date.year()).as_bytes());
    for (at, number) in [(shape.month, date.month()), (shape.day, date.day())] {
        if let Some(at) = at {
            written[at..at + 2].copy_from_slice(format!("{number:02}").as_bytes());
        }
    }
    String::from_utf8(written).ok()
}

fn read(text: &str, shape: &Shape) -> Option<Date> {
    let year = text.get(shape.year..shape.year + 4)?.parse::<i16>().ok()?;
    let two = |at: Option<usize>| at.map_or(Some(1), |at| text.get(at..at + 2)?.parse::<i8>().ok());
    Date::new(year, two(shape.month)?, two(shape.day)?).ok().filter(|date| date.year() >= 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_moved_in_its_own_shape() {
        let later = |text: &str| moved(text, |_| 10);
        assert_eq!(later("19781225").as_deref(), Some("19790104"));
        assert_eq!(later("196512131515").as_deref(), Some("196512231515"));
        assert_eq!(later("20140529080238.241+0100").as_deref(), Some("20140608080238.241+0100"));
        assert_eq!(later("19760121+").as_deref(), Some("19760131+"));
        assert_eq!(later("197812").as_deref(), Some("197901"));
        assert_eq!(later("1978").as_deref(), Some("1979"));
        assert_eq!(later("01/10/1948").as_deref(), Some("11/10/1948"));
        assert_eq!(later("1948-10-01").as_deref(), Some("1948-10-11"));
        for text in ["", "19781340", "00000000", "%s", "197"] {
            assert_eq!(later(text), None, "{text}");
        }
    }

    #[test]
    fn a_time_stamp_is_told_from_other_numbers() {
        assert_eq!(stamp_length("20250110 x"), Some(8));
        assert_eq!(stamp_length("20250110120000.12+0000|"), Some(22));
        assert_eq!(stamp_length("20250110-1"), Some(8));
        assert_eq!(stamp_length("202501101"), None);
        assert_eq!(stamp_length("20251310"), None);
        assert_eq!(stamp_length("20250110a"), None);
    }
}

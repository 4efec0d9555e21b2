//! Writes ADT messages as UK hospitals send them (HL7 UK A.3 and ITK ADT 1.1), with the NHS number in each of the ways in
//! which real feeds carry it.

use hearthline_interop::hl7v2::write::{Header, MessageWriter};
use hearthline_nhs::{london_instant, london_local};

use super::week::{Person, Site};

/// Where and how a message carries the NHS number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NumberVariant {
    /// `n^^^NHS^NH`, the rule of HL7 UK A.3.
    AuthorityAndType,
    /// `n^^^NHS`, as in ITK examples.
    AuthorityOnly,
    /// `n^^^NHS^HN`: the letters swapped.
    LettersSwapped,
    /// `n^^^NHS^NhsNumber` behind a hospital number that also claims authority NHS.
    WordTypes,
    /// `n^^^^NH`, and again in PID-2.
    TypeOnly,
    /// `n^01^^^NI`: the tracing status where the check digit belongs.
    StatusAsCheckDigit,
    /// `n^^^NHSNBR^NHSNMBR`.
    LongNames,
    /// `n^^^NHSNMBR`.
    LongAuthority,
    /// `999 123 4567^^^NHS^NH`.
    Spaced,
    /// `999-123-4567^^^NHS^NH`.
    Hyphenated,
    /// The A.3 rule with status `NSTS01` in PID-32.
    StatusNsts,
    /// The A.3 rule with status `PDS01` in PID-32.
    StatusPds,
    /// In PID-2 alone.
    ExternalOnly,
}

impl NumberVariant {
    pub const ALL: [NumberVariant; 13] = [
        Self::AuthorityAndType,
        Self::AuthorityOnly,
        Self::LettersSwapped,
        Self::WordTypes,
        Self::TypeOnly,
        Self::StatusAsCheckDigit,
        Self::LongNames,
        Self::LongAuthority,
        Self::Spaced,
        Self::Hyphenated,
        Self::StatusNsts,
        Self::StatusPds,
        Self::ExternalOnly,
    ];
}

/// Where a patient lives, as PID-11 says.
#[derive(Clone)]
pub(super) struct Address {
    pub street: String,
    pub other: String,
    pub town: String,
    pub postcode: String,
}

/// The parts of one message.
pub(super) struct Draft<'a> {
    pub site: &'a Site,
    pub control_id: &'a str,
    pub trigger: &'static str,
    pub sent_at: i64,
    pub occurred_at: i64,
    pub person: &'a Person,
    pub address: &'a Address,
    pub variant: NumberVariant,
    /// A Scottish number instead of an NHS number.
    pub chi: Option<&'a str>,
    pub local_number: &'a str,
    pub visit_number: &'a str,
    pub class: char,
    pub ward: &'a str,
    pub admission_method: Option<&'a str>,
    pub source: &'a str,
    pub destination: Option<&'a str>,
    pub arrival_code: Option<&'a str>,
    pub consultant: (&'a str, &'a str),
    pub reason: &'a str,
    pub practice: &'a str,
    /// PV1-44.
    pub began_at: i64,
    /// PV1-45.
    pub ended_at: Option<i64>,
}

impl Draft<'_> {
    /// The message, segments ended by CR.
    pub fn write(&self) -> Vec<u8> {
        let sent = time(self.sent_at, self.site.version == "2.5.1");
        let mut writer = MessageWriter::new(&Header {
            sending_application: self.site.application,
            sending_facility: self.site.ods,
            receiving_application: "HEARTHLINE",
            receiving_facility: "QRL",
            sent_at: &sent,
            message_type: &format!("ADT^{}", self.trigger),
            control_id: self.control_id,
            processing_id: "P",
            version: self.site.version,
        });
        writer.segment("EVN").text(2, &time(self.sent_at, false)).text(6, &time(self.occurred_at, false)).end();
        self.patient(&mut writer);
        writer.segment("PD1").components(3, &["GENERAL PRACTICE", "", self.practice]).end();
        writer.segment("NK1").text(1, "1").components(2, &[&self.person.next_of_kin]).end();
        self.visit(&mut writer);
        if self.arrival_code.is_some() || self.trigger != "A03" {
            writer.segment("PV2").components(3, &["", self.reason]).text(38, self.arrival_code.unwrap_or_default()).end();
        }
        writer.finish()
    }

    fn patient(&self, writer: &mut MessageWriter) {
        let number = self.person.nhs_number.as_str();
        let spaced = self.person.nhs_number.formatted();
        let hyphened = spaced.replace(' ', "-");
        let mut segment = writer.segment("PID").text(1, "1");
        let hospital = [self.local_number, "", "", self.site.ods, "MR"];
        let both = |national| vec![hospital, national];
        use NumberVariant as V;
        let repetitions = match (self.chi, self.variant) {
            (Some(chi), _) => both([chi, "", "", "CHI", "NH"]),
            (None, V::AuthorityAndType | V::StatusNsts | V::StatusPds) => both([number, "", "", "NHS", "NH"]),
            (None, V::AuthorityOnly) => both([number, "", "", "NHS", ""]),
            (None, V::LettersSwapped) => both([number, "", "", "NHS", "HN"]),
            (None, V::WordTypes) => vec![[self.local_number, "", "", "NHS", "HospitalNumber"], [number, "", "", "NHS", "NhsNumber"]],
            (None, V::TypeOnly) => both([number, "", "", "", "NH"]),
            (None, V::StatusAsCheckDigit) => both([number, "01", "", "", "NI"]),
            (None, V::LongNames) => both([number, "", "", "NHSNBR", "NHSNMBR"]),
            (None, V::LongAuthority) => both([number, "", "", "NHSNMBR", ""]),
            (None, V::Spaced) => both([&spaced, "", "", "NHS", "NH"]),
            (None, V::Hyphenated) => both([&hyphened, "", "", "NHS", "NH"]),
            (None, V::ExternalOnly) => vec![hospital],
        };
        for repetition in &repetitions {
            segment = segment.repeat(3, repetition);
        }
        if self.chi.is_none() && matches!(self.variant, V::TypeOnly | V::ExternalOnly) {
            segment = segment.text(2, number);
        }
        segment = match self.variant {
            V::StatusNsts => segment.text(32, "NSTS01"),
            V::StatusPds => segment.text(32, "PDS01"),
            _ => segment,
        };
        segment
            .components(5, &[&self.person.family, &self.person.given])
            .text(7, &self.person.born_on.strftime("%Y%m%d").to_string())
            .text(8, &self.person.sex.to_string())
            .components(11, &[&self.address.street, &self.address.other, &self.address.town, "", &self.address.postcode, "GBR"])
            .components(13, &[&self.person.telephone, "PRN", "PH"])
            .text(31, "N")
            .end();
    }

    fn visit(&self, writer: &mut MessageWriter) {
        let (family, given) = self.consultant;
        let mut segment = writer
            .segment("PV1")
            .text(1, "1")
            .text(2, &self.class.to_string())
            .components(3, &[self.ward, "", "", self.site.ods])
            .text(4, self.admission_method.unwrap_or_default())
            .components(7, &["C1234567", family, given])
            .text(14, self.source)
            .components(19, &[self.visit_number, "", "", self.site.ods, "VISITID"])
            .text(44, &time(self.began_at, false));
        if let Some(destination) = self.destination {
            segment = segment.text(36, destination);
        }
        if let Some(ended_at) = self.ended_at {
            segment = segment.text(45, &time(ended_at, false));
        }
        segment.end();
    }
}

/// London's clock to the second; with its offset where asked, or where the clock alone would be ambiguous.
fn time(instant_us: i64, with_offset: bool) -> String {
    let whole = instant_us - instant_us.rem_euclid(1_000_000);
    let Ok(local) = london_local(whole) else {
        return String::new();
    };
    let clock = local.strftime("%Y%m%d%H%M%S").to_string();
    let read_back = london_instant(local).unwrap_or(i64::MIN);
    if !with_offset && read_back == whole {
        return clock;
    }
    let as_if_utc = local.to_zoned(jiff::tz::TimeZone::UTC).map(|zoned| zoned.timestamp().as_microsecond());
    let offset_min = as_if_utc.map_or(0, |utc| (utc - whole) / 60_000_000);
    format!("{clock}+{:02}{:02}", offset_min / 60, offset_min % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_londons_clock_and_says_its_offset_where_that_is_needed() {
        let summer = 1_752_573_600_000_000; // 2025-07-15T10:00:00Z
        assert_eq!(time(summer, false), "20250715110000");
        assert_eq!(time(summer, true), "20250715110000+0100");
        let second_half_past_one = 1_761_442_200_000_000; // 2025-10-26T01:30:00Z
        assert_eq!(time(second_half_past_one, false), "20251026013000+0000");
    }
}

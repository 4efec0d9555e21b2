//! Which of a message's identifiers may be the NHS number.
//!
//! UK systems send it in at least seven ways, and one of them puts authority `NHS` on the hospital number too, so
//! neither type nor authority decides alone. Candidates come in order of trust; a checksum decides among them.

use super::adt::Adt;
use super::person::PatientIdentifier;

/// Ten ASCII digits without spaces or hyphens, not all the same.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TenDigits([u8; 10]);

impl TenDigits {
    /// From `943 476 5919`, `943-476-5919` or `9434765919`. A digit repeated ten times passes modulus 11 and fills
    /// test feeds, so it is refused here.
    pub fn of(text: &str) -> Option<Self> {
        let mut digits = [0; 10];
        let mut count = 0;
        for byte in text.bytes().filter(|b| !matches!(b, b' ' | b'-')) {
            *digits.get_mut(count).filter(|_| byte.is_ascii_digit())? = byte;
            count += 1;
        }
        (count == 10 && digits.iter().any(|&d| d != digits[0])).then_some(Self(digits))
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl std::fmt::Debug for TenDigits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TenDigits(..)")
    }
}

/// Why an identifier is a candidate, in order of trust.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NhsNumberRule {
    /// PID-3 type `NH`, `NHSNMBR` or `NhsNumber`.
    Type,
    /// PID-3 authority `NHS`, `NHSNBR` or `NHSNMBR` with type `HN`, `NI` or none; or type `NI` without an authority
    /// and a tracing status in the check-digit place, as Welsh PIMS sends.
    Authority,
    /// PID-2.
    ExternalId,
}

/// An identifier that may be the NHS number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NhsNumberCandidate<'m> {
    /// The number, not yet checked.
    pub digits: TenDigits,
    /// Why it is a candidate.
    pub rule: NhsNumberRule,
    /// Two-digit tracing status (NHS Data Dictionary: NHS NUMBER STATUS INDICATOR CODE), from CX-2 or PID-32.
    pub tracing_status: Option<&'m str>,
}

impl NhsNumberCandidate<'_> {
    /// Status 01: the number is present and verified against the Personal Demographics Service.
    pub fn is_verified(&self) -> bool {
        self.tracing_status == Some("01")
    }
}

const OTHER_NUMBER_SPACES: [&str; 2] = ["CHI", "HSNI"];

impl<'m> Adt<'m> {
    /// Candidates in order of trust, then in the order sent. Numbers of Scotland (CHI) and Northern Ireland (HSNI) have
    /// the same checksum and are no candidates.
    pub fn nhs_number_candidates(&self) -> Vec<NhsNumberCandidate<'m>> {
        let in_pid_3 = self.identifiers().map(|id| (id, id.nhs_number_rule()));
        let in_pid_2 = self.external_identifier().map(|id| (id, Some(NhsNumberRule::ExternalId).filter(|_| !id.is_of_another_space())));
        let mut found: Vec<NhsNumberCandidate<'m>> = in_pid_3
            .chain(in_pid_2)
            .filter_map(|(id, rule)| {
                Some(NhsNumberCandidate {
                    digits: TenDigits::of(id.value)?,
                    rule: rule?,
                    tracing_status: id.check_digit.and_then(status_code).or_else(|| self.nhs_number_status()),
                })
            })
            .collect();
        found.sort_by_key(|candidate| candidate.rule);
        found
    }

    /// The first candidate that `valid` (modulus 11) accepts.
    pub fn nhs_number(&self, valid: impl Fn(&str) -> bool) -> Option<NhsNumberCandidate<'m>> {
        self.nhs_number_candidates().into_iter().find(|candidate| valid(candidate.digits.as_str()))
    }
}

/// `01`–`08` out of `01`, `NSTS02` or `PDS01`.
pub(crate) fn status_code(text: &str) -> Option<&str> {
    let digits = ["NSTS", "PDS"].iter().find_map(|prefix| text.strip_prefix(prefix)).unwrap_or(text);
    matches!(digits.as_bytes(), [b'0', b'1'..=b'8']).then_some(digits)
}

impl PatientIdentifier<'_> {
    /// What says, in an identifier of PID-3 or MRG-1, that it is an NHS number. Its digits alone say nothing: one in eleven hospital
    /// numbers of ten digits passes modulus 11.
    pub fn nhs_number_rule(&self) -> Option<NhsNumberRule> {
        if self.is_of_another_space() {
            return None;
        }
        if is_any(self.id_type, &["NH", "NHSNMBR", "NhsNumber"]) {
            return Some(NhsNumberRule::Type);
        }
        let generic = self.id_type.is_none() || is_any(self.id_type, &["HN", "NI"]);
        let issued_nationally = is_any(self.authority, &["NHS", "NHSNBR", "NHSNMBR"]);
        let status_beside_it = self.check_digit.and_then(status_code).is_some();
        let welsh_pims = self.authority.is_none() && is_any(self.id_type, &["NI"]) && status_beside_it;
        ((generic && issued_nationally) || welsh_pims).then_some(NhsNumberRule::Authority)
    }

    /// A number of Scotland (CHI) or Northern Ireland, which have the same checksum.
    pub fn is_of_another_space(&self) -> bool {
        is_any(self.authority, &OTHER_NUMBER_SPACES)
    }
}

fn is_any(text: Option<&str>, names: &[&str]) -> bool {
    text.is_some_and(|text| names.iter().any(|name| text.eq_ignore_ascii_case(name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hl7v2::Message;

    fn modulus_11(number: &str) -> bool {
        let digits: Vec<u32> = number.chars().filter_map(|c| c.to_digit(10)).collect();
        let sum: u32 = digits[..9].iter().zip((2..=10).rev()).map(|(d, weight)| d * weight).sum();
        (11 - sum % 11) % 11 == digits[9]
    }

    fn chosen(pid: &str) -> Option<(String, NhsNumberRule, Option<String>)> {
        let text = format!("MSH|^~\\&|A|B|C|D|20250101||ADT^A01|1|P|2.4\r{pid}");
        let message = Message::parse(text.as_bytes()).expect("readable");
        let adt = Adt::of(&message);
        adt.nhs_number(modulus_11).map(|c| (c.digits.as_str().to_owned(), c.rule, c.tracing_status.map(str::to_owned)))
    }

    fn number(pid: &str) -> Option<(String, NhsNumberRule)> {
        chosen(pid).map(|(number, rule, _)| (number, rule))
    }

    #[test]
    fn the_number_is_found_in_every_way_uk_systems_send_it() {
        use NhsNumberRule::{Authority, ExternalId, Type};
        for (pid, rule) in [
            ("PID|1||RHM1^^^RHM^MR~9990000018^^^NHS^NH", Type),
            ("PID|1||9990000018^^^NHS", Authority),
            ("PID|1||9990000018^^^NHS^HN", Authority),
            ("PID|1||0123456^^^NHS^HospitalNumber~9990000018^^^NHS^NhsNumber", Type),
            ("PID|1|9990000018|9990000018^^^^NH", Type),
            ("PID|1||9990000018^06^^^NI", Authority),
            ("PID|1||1^^^X^MRN~9990000018^^^NHSNBR^NHSNMBR", Type),
            ("PID|1||9990000018^^^NHSNMBR", Authority),
            ("PID|1||999 000 0018^^^NHS^NH", Type),
            ("PID|1||999-000-0018^^^NHS^NH", Type),
            ("PID|1|9990000018|1234^^^RHM^MR", ExternalId),
        ] {
            assert_eq!(number(pid), Some(("9990000018".into(), rule)), "{pid}");
        }
    }

    #[test]
    fn a_hospital_number_under_authority_nhs_is_no_candidate() {
        assert_eq!(number("PID|1||9990000018^^^NHS^HospitalNumber"), None);
        assert_eq!(number("PID|1||9990000018^^^RHM^MR"), None);
    }

    #[test]
    fn other_number_spaces_and_repeated_digits_are_refused() {
        assert_eq!(number("PID|1||9990000018^^^CHI^NH"), None);
        assert_eq!(number("PID|1||9990000018^^^HSNI^NH"), None);
        assert_eq!(number("PID|1||9999999999^^^NHS^NH"), None);
        assert_eq!(number("PID|1||2278322867^^^NHSNMBR"), None);
        assert_eq!(number("PID|1||99900000181^^^NHS^NH"), None);
    }

    #[test]
    fn a_valid_number_wins_over_an_invalid_one_of_higher_trust() {
        assert_eq!(number("PID|1|9990000018|9434765918^^^NHS^NH~9990000050^^^NHS"), Some(("9990000050".into(), NhsNumberRule::Authority)));
    }

    #[test]
    fn only_status_01_is_verified() {
        let status = |pid: &str| chosen(pid).and_then(|(.., status)| status);
        let pid_32 = |status: &str| format!("PID|1||9990000018^^^NHS^NH{}{status}", "|".repeat(29));
        assert_eq!(status("PID|1||9990000018^06^^^NI").as_deref(), Some("06"));
        assert_eq!(status(&pid_32("NSTS02")).as_deref(), Some("02"));
        assert_eq!(status(&pid_32("PDS01")).as_deref(), Some("01"));
        assert_eq!(status(&pid_32("99")), None);
    }
}

//! Coded values of an ADT message, with the spellings found in real feeds.

/// MSH-9.2, the only thing an ADT message is dispatched on: EVN-1 contradicts it in real feeds and MSH-9.3 differs
/// between publications. Meanings as in HL7 UK A.3 (2010).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Trigger<'m> {
    /// Admit to a bed; some emergency departments also send attendances as A01 with class E.
    A01,
    /// Transfer to another location.
    A02,
    /// Discharge, or end of visit.
    A03,
    /// Register a patient who is not admitted.
    A04,
    /// Pre-admit.
    A05,
    /// Change an outpatient to an inpatient.
    A06,
    /// Change an inpatient to an outpatient.
    A07,
    /// Update visit information.
    A08,
    /// Cancel admit (of A01 or A04 with the same visit number).
    A11,
    /// Cancel transfer.
    A12,
    /// Cancel discharge: the visit is open again.
    A13,
    /// Add a person.
    A28,
    /// Update a person; no substitute for A08.
    A31,
    /// Old merge, kept for compatibility.
    A34,
    /// Cancel pre-admit.
    A38,
    /// Merge patient identifiers: PID-3 survives, MRG-1 goes.
    A40,
    /// Merge visits.
    A42,
    /// Move visit.
    A45,
    /// Change an identifier.
    A47,
    /// Anything else, as sent; empty when MSH-9.2 is.
    Other(&'m str),
}

impl<'m> Trigger<'m> {
    /// From MSH-9.2, trimmed.
    pub fn of(code: &'m str) -> Self {
        match code.trim() {
            "A01" => Self::A01,
            "A02" => Self::A02,
            "A03" => Self::A03,
            "A04" => Self::A04,
            "A05" => Self::A05,
            "A06" => Self::A06,
            "A07" => Self::A07,
            "A08" => Self::A08,
            "A11" => Self::A11,
            "A12" => Self::A12,
            "A13" => Self::A13,
            "A28" => Self::A28,
            "A31" => Self::A31,
            "A34" => Self::A34,
            "A38" => Self::A38,
            "A40" => Self::A40,
            "A42" => Self::A42,
            "A45" => Self::A45,
            "A47" => Self::A47,
            other => Self::Other(other),
        }
    }

    /// As it stands in MSH-9.2.
    pub fn code(self) -> &'m str {
        match self {
            Self::A01 => "A01",
            Self::A02 => "A02",
            Self::A03 => "A03",
            Self::A04 => "A04",
            Self::A05 => "A05",
            Self::A06 => "A06",
            Self::A07 => "A07",
            Self::A08 => "A08",
            Self::A11 => "A11",
            Self::A12 => "A12",
            Self::A13 => "A13",
            Self::A28 => "A28",
            Self::A31 => "A31",
            Self::A34 => "A34",
            Self::A38 => "A38",
            Self::A40 => "A40",
            Self::A42 => "A42",
            Self::A45 => "A45",
            Self::A47 => "A47",
            Self::Other(code) => code,
        }
    }
}

/// MSH-11.1 (table 0103).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessingId<'m> {
    /// `P`
    Production,
    /// `T`
    Training,
    /// `D`
    Debugging,
    /// Anything else, or empty.
    Other(&'m str),
}

impl<'m> ProcessingId<'m> {
    /// From MSH-11.1.
    pub fn of(code: &'m str) -> Self {
        match code.trim() {
            "P" => Self::Production,
            "T" => Self::Training,
            "D" => Self::Debugging,
            other => Self::Other(other),
        }
    }
}

/// PV1-2 (table 0004 with the UK additions of A.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatientClass<'m> {
    /// `E`
    Emergency,
    /// `I`
    Inpatient,
    /// `DAY CASE` and the like; table 0004 has no code for it.
    DayCase,
    /// `O`
    Outpatient,
    /// `P`
    Preadmit,
    /// `R`
    Recurring,
    /// `B`
    Obstetrics,
    /// `C`
    Commercial,
    /// `W`, UK addition.
    WaitingList,
    /// `N`
    NotApplicable,
    /// `U`
    Unknown,
    /// Not in any list.
    Unmapped(&'m str),
}

impl<'m> PatientClass<'m> {
    /// From PV1-2: codes in either case, and the words some systems send instead.
    pub fn of(code: &'m str) -> Self {
        let code = code.trim();
        match code.to_ascii_uppercase().as_str() {
            "E" | "EMERGENCY" | "ED" => Self::Emergency,
            "I" | "INPATIENT" => Self::Inpatient,
            "DAY CASE" | "DAYCASE" | "DAY_CASE" => Self::DayCase,
            "O" | "OUTPATIENT" => Self::Outpatient,
            "P" | "PREADMIT" | "PRE-ADMIT" => Self::Preadmit,
            "R" | "RECURRING" => Self::Recurring,
            "B" | "OBSTETRICS" => Self::Obstetrics,
            "C" | "COMMERCIAL" => Self::Commercial,
            "W" | "WAITING LIST" => Self::WaitingList,
            "N" | "NA" | "N/A" => Self::NotApplicable,
            "U" | "UNKNOWN" => Self::Unknown,
            _ => Self::Unmapped(code),
        }
    }
}

/// PID-8: HL7 table 0001, or the NHS Data Dictionary codes 0, 1, 2, 9 that ITK feeds send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdministrativeSex<'m> {
    /// `M` or `1`.
    Male,
    /// `F` or `2`.
    Female,
    /// `O`, `A` or `N` of table 0001.
    Other,
    /// `U` or `0`.
    NotKnown,
    /// `9`
    NotSpecified,
    /// Not in any list.
    Unmapped(&'m str),
}

impl<'m> AdministrativeSex<'m> {
    /// From PID-8.
    pub fn of(code: &'m str) -> Self {
        match code.trim() {
            "M" | "m" | "1" => Self::Male,
            "F" | "f" | "2" => Self::Female,
            "O" | "A" | "N" => Self::Other,
            "U" | "0" => Self::NotKnown,
            "9" => Self::NotSpecified,
            other => Self::Unmapped(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patient_class_is_read_from_codes_and_words() {
        assert_eq!(PatientClass::of("E"), PatientClass::Emergency);
        assert_eq!(PatientClass::of("INPATIENT"), PatientClass::Inpatient);
        assert_eq!(PatientClass::of("Day Case"), PatientClass::DayCase);
        assert_eq!(PatientClass::of("NA"), PatientClass::NotApplicable);
        assert_eq!(PatientClass::of("W"), PatientClass::WaitingList);
        assert_eq!(PatientClass::of("ff"), PatientClass::Unmapped("ff"));
    }

    #[test]
    fn sex_is_read_in_both_code_systems() {
        assert_eq!(AdministrativeSex::of("2"), AdministrativeSex::Female);
        assert_eq!(AdministrativeSex::of("M"), AdministrativeSex::Male);
        assert_eq!(AdministrativeSex::of("0"), AdministrativeSex::NotKnown);
        assert_eq!(AdministrativeSex::of("9"), AdministrativeSex::NotSpecified);
    }

    #[test]
    fn triggers_keep_their_code() {
        for code in ["A01", "A13", "A47", "A60", ""] {
            assert_eq!(Trigger::of(code).code(), code);
        }
        assert_eq!(Trigger::of("A03 "), Trigger::A03);
    }
}

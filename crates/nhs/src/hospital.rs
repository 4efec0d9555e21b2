//! National codes that hospitals carry in ADT messages, reduced to the questions asked of them.
//!
//! Sources: NHS Data Dictionary (ADMISSION METHOD, SOURCE OF ADMISSION, DISCHARGE DESTINATION), Emergency
//! Care Data Set arrival modes, HL7 v2 table 0430. Many systems put local text where a code belongs; such a
//! value is an error here and says nothing either way.

/// The value is not a national code of two characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a national code is a digit followed by a digit or letter")]
pub struct NationalCodeError;

macro_rules! national_codes {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub struct $name([u8; 2]);

        impl $name {
            /// Parses two characters, ignoring surrounding spaces and putting a letter into upper case. Local
            /// text (`Emerg Other`, `2~I`, `F`) is refused.
            pub fn parse(text: &str) -> Result<Self, NationalCodeError> {
                match text.trim().as_bytes() {
                    [first, second] if first.is_ascii_digit() && second.is_ascii_alphanumeric() => {
                        Ok(Self([*first, second.to_ascii_uppercase()]))
                    }
                    _ => Err(NationalCodeError),
                }
            }

            /// The two characters.
            pub fn as_str(&self) -> &str {
                std::str::from_utf8(&self.0).expect("the code is ASCII")
            }
        }
    )+};
}

national_codes! {
    /// How an admission came about (PV1-4).
    AdmissionMethod,
    /// Where a patient was before admission (PV1-14).
    SourceOfAdmission,
    /// Where a patient went on discharge (PV1-36).
    DischargeDestination,
}

impl AdmissionMethod {
    /// Emergency admissions are the codes beginning with 2 (21 to 28, 2A to 2D; in Wales also 27).
    pub fn is_emergency(self) -> bool {
        self.0[0] == b'2'
    }
}

impl SourceOfAdmission {
    /// NHS care home (54), local authority residential care (65), other care home (85). Many residents are
    /// coded 19, usual residence, so "no" proves nothing.
    pub fn is_care_home(self) -> bool {
        is_care_home(self.0)
    }
}

impl DischargeDestination {
    /// As [`SourceOfAdmission::is_care_home`].
    pub fn is_care_home(self) -> bool {
        is_care_home(self.0)
    }

    /// 79: the patient died or was stillborn.
    pub fn is_death(self) -> bool {
        &self.0 == b"79"
    }
}

/// Whether a raw admission method is a national emergency code.
pub fn is_emergency_admission(code: &str) -> bool {
    AdmissionMethod::parse(code).is_ok_and(AdmissionMethod::is_emergency)
}

fn is_care_home(code: [u8; 2]) -> bool {
    matches!(&code, b"54" | b"65" | b"85")
}

/// How a patient came to the hospital, as far as it decides whether there was a conveyance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ArrivalMode {
    /// By ambulance, road or air.
    Ambulance,
    /// Some other way that is known.
    Other,
    /// Not said, or said in a code nobody knows: no ground to confirm or refute a conveyance.
    Unknown,
}

impl ArrivalMode {
    /// Reads PV2-38, mode of arrival: an ECDS SNOMED CT code or a code of HL7 table 0430. Only the first
    /// component counts.
    pub fn from_pv2_38(code: &str) -> Self {
        let code = code.split('^').next().unwrap_or_default().trim();
        match code {
            // ECDS: emergency ambulance; with medical escort; non-emergency; helicopter; grouped as ambulance
            "1048031000000100" | "1048041000000109" | "1048021000000102" | "1048051000000107" | "1048081000000101" => Self::Ambulance,
            // ECDS: public transport; own transport; prison; police
            "1048061000000105" | "1048071000000103" | "1047991000000102" | "1048001000000106" => Self::Other,
            // table 0430: ambulance; helicopter
            "A" | "H" => Self::Ambulance,
            // table 0430: car; on foot; other; public transport
            "C" | "F" | "O" | "P" => Self::Other,
            // absent, deliberately empty, "U" of table 0430, or local text
            _ => Self::Unknown,
        }
    }
}

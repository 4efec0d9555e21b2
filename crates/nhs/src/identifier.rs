//! One identifier type per entity, so that a call is never looked up among prescriptions.
//!
//! All are sixteen random bytes minted elsewhere and written as a UUID. They name no person to an outsider.

use std::fmt;

/// Why a text is not an identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an identifier is 32 hexadecimal digits, plain or grouped 8-4-4-4-12 by hyphens")]
pub struct IdentifierError;

/// Stamps one identifier type per entity.
macro_rules! identifiers {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 16]);

        impl $name {
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            pub const fn bytes(&self) -> &[u8; 16] {
                &self.0
            }

            /// Parses 32 hexadecimal digits, plain or as a hyphenated UUID, in either case.
            pub fn parse(text: &str) -> Result<Self, IdentifierError> {
                parse_bytes(text).map(Self)
            }
        }

        /// The sixteen bytes, refused if there are more or fewer.
        impl TryFrom<&[u8]> for $name {
            type Error = IdentifierError;

            fn try_from(bytes: &[u8]) -> Result<Self, IdentifierError> {
                bytes.try_into().map(Self).map_err(|_| IdentifierError)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_uuid(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }
    )+};
}

/// Lets the entity's identifier name its stream, and back where the stream's kind is known.
macro_rules! stream_of {
    ($($name:ident),+ $(,)?) => {$(
        impl From<$name> for StreamId {
            fn from(id: $name) -> Self {
                Self(id.0)
            }
        }

        impl $name {
            /// The entity whose stream this is. The caller vouches for the stream's kind.
            pub const fn of_stream(stream: StreamId) -> Self {
                Self(stream.0)
            }
        }
    )+};
}

identifiers! {
    /// One call of a care home to the hub.
    CallId,
    /// What clinicians decided in a call.
    ConsultationId,
    /// One prescription, from draft to dispensing.
    PrescriptionId,
    /// What of a call is shared with records and the home.
    ShareId,
    /// One hospital visit: attendance or admission.
    VisitId,
    /// A care home, through changes of provider and of code.
    HomeId,
    /// A resident, known or provisional.
    ResidentId,
    /// A general practice.
    PracticeId,
    /// A community pharmacy.
    PharmacyId,
    /// Something a person has to do.
    TaskId,
    /// One delivery of one document to one destination.
    DeliveryId,
    /// A declared avoidance of a conveyance, attendance or admission.
    ClaimId,
    /// A stream of events, whatever entity it tells of.
    StreamId,
    /// One event.
    EventId,
}

stream_of! {
    CallId, ConsultationId, PrescriptionId, ShareId, VisitId, HomeId, ResidentId, PracticeId, PharmacyId,
    TaskId, DeliveryId, ClaimId,
}

fn parse_bytes(text: &str) -> Result<[u8; 16], IdentifierError> {
    let bytes = text.as_bytes();
    let is_hyphenated = match bytes.len() {
        32 => false,
        36 => [8, 13, 18, 23].iter().all(|at| bytes[*at] == b'-'),
        _ => return Err(IdentifierError),
    };
    let mut parsed = [0_u8; 16];
    let mut count = 0;
    for (at, byte) in bytes.iter().enumerate() {
        if is_hyphenated && matches!(at, 8 | 13 | 18 | 23) {
            continue;
        }
        let nibble = char::from(*byte).to_digit(16).ok_or(IdentifierError)? as u8;
        let slot = parsed.get_mut(count / 2).ok_or(IdentifierError)?;
        *slot = *slot << 4 | nibble;
        count += 1;
    }
    Ok(parsed)
}

fn write_uuid(bytes: &[u8; 16], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            f.write_str("-")?;
        }
        write!(f, "{byte:02x}")?;
    }
    Ok(())
}

//! HL7 v2 messages: reading (tolerant), a typed ADT view, acknowledgements, writing (strict), files.
//!
//! Accept liberally, emit strictly: real feeds break the HL7 UK profile (A.3, 2010) in delimiters, line ends,
//! character sets and field use, and a message is only refused when its header cannot be understood.
//! Segments and fields are located once, what is in them when asked for; values are borrowed from the message.

mod ack;
mod adt;
pub mod batch;
mod charset;
mod codes;
mod escape;
mod london;
mod message;
mod nhs_number;
mod part;
mod path;
mod person;
mod places;
mod quirk;
mod scrub;
mod separators;
mod time;
mod visit;
pub mod write;

pub use ack::{
    AckCode, AckMode, Acknowledgement, Condition, ErrorCode, ErrorDetail, ErrorLocation, Reply, ReplyError, acknowledge, reject_unreadable,
    requested_acknowledgements,
};
pub use adt::Adt;
pub use charset::{Charset, Decoded, decode, decode_in};
pub use codes::{AdministrativeSex, PatientClass, ProcessingId, Trigger};
pub use message::{Hl7Error, Message};
pub use nhs_number::{NhsNumberCandidate, NhsNumberRule, TenDigits};
pub use part::{Component, Field, Repetition, Segment, Value};
pub use path::{Path, PathError};
pub use person::{Address, DeathSignal, PatientIdentifier, PersonName};
pub use quirk::MessageQuirk;
pub use scrub::{Scrubber, looks_like_code};
pub use separators::{SeparatorFault, Separators};
pub use time::{Clock, Hl7Time, Hl7TimeError, Precision, Zone};
pub use visit::{Location, TimeSource, VisitTime};

//! Outside wire formats, without input or output: bytes go in, values come out, and the other way round.
//!
//! 1. [`mllp`] cuts a TCP byte stream into HL7 frames and wraps outgoing messages.
//! 2. [`hl7v2`] reads one message (zero-copy where it is already UTF-8), gives a typed view of an ADT message,
//!    builds acknowledgements and writes messages; [`hl7v2::batch`] splits files.
//! 3. [`fhir`] holds the few FHIR R4 resources that are sent: documents for shared records and EPS messages.
//!
//! This crate knows nothing of calls, residents or KPIs. It opens no socket, reads no clock and draws no random
//! number: times and identifiers are arguments, so the same input always gives the same bytes. Nothing here prints
//! message content: `Debug` of the reading types shows sizes only, and errors carry positions and codes.

pub mod fhir;
pub mod hl7v2;
pub mod mllp;

//! What the services tell each other: the types generated from `proto/`, the topics, and the bytes on the wire.
//!
//! An event is `{ Envelope envelope = 1; Sealed sealed = 2; oneof fact { … = 16 … } }` in every context. The envelope
//! and the fact are in clear and hold codes, times, ids and scores; names, NHS numbers, dates of birth, private
//! addresses and free text are in `sealed` only. The sealed plaintext of the fact `X` is the message `XPersonal`, whose
//! `Debug` prints nothing of it.
//!
//! - [`wire`]: put an event together from its three parts, take it apart, and cut the sealed part out, without knowing
//!   the fact;
//! - [`facts`]: the names and numbers of the facts;
//! - [`topics`], [`partition`]: where an event goes;
//! - [`cloudevents`]: the headers that go with it.
//!
//! ```
//! use hearthline_contracts::call::{CallEvent, CallOpened, Channel};
//! use hearthline_contracts::envelope::Envelope;
//! use hearthline_contracts::{Context, facts, wire};
//!
//! let opened = CallOpened { channel: Channel::Video.into(), ..Default::default() };
//! let envelope = Envelope {
//!     event_id: vec![1; 16].into(),
//!     stream_id: vec![2; 16].into(),
//!     stream_version: 1,
//!     ..Default::default()
//! };
//! let payload = wire::compose(&envelope, None, &wire::fact_bytes::<CallEvent>(opened));
//!
//! let parts = wire::split(&payload)?;
//! assert_eq!(facts::fact_name(Context::Call, parts.fact_number), Some("CallOpened"));
//! # Ok::<(), wire::Malformed>(())
//! ```
//!
//! This crate must not know a service's rules, and must not encrypt: sealing is the kernel's.

pub mod cloudevents;
pub mod facts;
pub mod partition;
pub mod topics;
pub mod wire;

#[allow(clippy::all, missing_docs, reason = "generated")]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/contracts.rs"));
}

mod redacted {
    include!(concat!(env!("OUT_DIR"), "/redacted.rs"));
}

mod conversions {
    include!(concat!(env!("OUT_DIR"), "/conversions.rs"));
}

pub use generated::hearthline::call::v1 as call;
pub use generated::hearthline::directory::v1 as directory;
pub use generated::hearthline::envelope::v1 as envelope;
pub use generated::hearthline::hospital::v1 as hospital;
pub use generated::hearthline::kpi::v1 as kpi;
pub use generated::hearthline::outcome::v1 as outcome;
pub use generated::hearthline::prescribing::v1 as prescribing;
pub use generated::hearthline::shared_record::v1 as shared_record;
pub use generated::hearthline::types::v1 as types;

pub use topics::Context;

/// The highest schema level that this release reads and writes: the highest revision of any fact. A deployment writes it once every
/// process has it and an operator has finalised the upgrade.
pub const LEVEL: u32 = 1;

/// The contracts as an encoded `google.protobuf.FileDescriptorSet`, without comments.
pub static DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/contracts.binpb"));

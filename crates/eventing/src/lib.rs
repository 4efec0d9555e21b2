//! The kernel: how a decided fact is appended, published, consumed and projected, and how everything to the outside and
//! everything timed is remembered. Logic and ports only; adapters lie in `store` and the logs.
//!
//! 1. A service decides and composes events ([`Composer`]), and appends one [`Unit`] to its [`Store`].
//! 2. The [`relay`] publishes committed events in order, and never skips one.
//! 3. A [`consumer`] takes each record once, gives it a [`Disposition`], parks what it cannot take, and projects ([`View`]).
//! 4. [`timers`] and [`deliveries`] work off rows that units inserted.
//!
//! What must not happen here: a read of a wall clock inside a decision, a write that is not a unit, an event that is skipped.

mod compose;
pub mod consumer;
pub mod deliveries;
mod event;
pub mod hostile;
pub mod identity;
mod kernel;
mod keyring;
pub mod lease;
pub mod parking;
mod ports;
pub mod recover;
pub mod relay;
pub mod seal;
pub mod timers;
pub mod trace;
mod tx;
mod unit;
pub mod upgrade;
mod upkeep;
mod value;
mod view;

pub use compose::{ComposeError, Composer, Deployment, OpenError, PersonalBytes, READER_REVISION};
pub use event::{Actor, Cause, EventRow, Fact, NewEvent, Occurred, Recorded};
pub use kernel::{Attempted, Kernel, Leading, NotNow, Opened, Ports, Stopped, Workers, retrying};
pub use keyring::{Access, GRANTS, Keyring, Lookup};
pub use ports::*;
pub use tx::{Conn, DbError, Table, Tx};
pub use unit::*;
pub use upkeep::{DeploymentState, Process, Requested, Upkeep, deployment_state, processes, republishing, request_republish};
pub use value::{Dialect, Kind, Row, Script, Statement, Value};
pub use view::{View, ViewError};

/// The server's clock in µs UTC. Read at the edges; decisions get it as a value.
pub fn now_us() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}

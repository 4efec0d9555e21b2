//! Every server over real sockets, as the product's clients meet it.

mod eps;
mod fhir;
mod mllp;
mod otlp;
mod sandbox;
mod smtp;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// How long a test waits for what must happen.
const DEADLINE: Duration = Duration::from_secs(10);

fn any_port() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

//! The gateway against a real store, keyring and socket.

mod edge;
mod framing;
mod inbox;
mod listener;
mod outgoing;
mod tls;
mod world;

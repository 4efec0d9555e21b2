//! The gateway against a real store, keyring and socket.

mod edge;
mod feeds;
mod framing;
mod inbox;
mod listener;
mod outgoing;
mod store;
mod tls;
mod world;

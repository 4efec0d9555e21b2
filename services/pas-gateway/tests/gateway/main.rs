//! The gateway against a real store, keyring and socket.

mod agreements;
mod edge;
mod feeds;
mod framing;
mod inbox;
mod listener;
mod outgoing;
mod store;
mod tls;
mod visits;
mod world;

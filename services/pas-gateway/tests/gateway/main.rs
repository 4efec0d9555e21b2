//! The gateway against a real store, keyring and socket.

mod feeds;
mod inbox;
mod listener;
mod world;

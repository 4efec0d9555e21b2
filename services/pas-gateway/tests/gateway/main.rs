//! The gateway against a real store, keyring and socket.

mod inbox;
mod listener;
mod world;

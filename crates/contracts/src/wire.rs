//! The bytes of an event.

//! Who is calling, and in which role.
//!
//! A bearer token (JWT, RFC 7519) is verified against the issuer's published keys; what it says becomes a [`Caller`].
//! Which role may use which route is the business of [`crate::http`]; whether a thing belongs to the caller's
//! organisation or home is asked of [`Caller`] after parsing.

mod caller;
mod issuer;
mod verify;

pub use caller::{Caller, Role, UnknownRole};
pub use issuer::{Grant, Issuer, IssuerError, JWKS_FILE, PRIVATE_KEY_FILE};
pub use verify::{AuthError, KeySource, KeySourceError, Verifier, VerifierOptions};

//! Wrappers that keep personal data out of logs, panics and memory that outlives its use.

use std::fmt;

use zeroize::Zeroize;

/// A personal value. `Debug` says only that there is one, there is no `Display`, and the memory is wiped on
/// drop. Reading it is a visible act: [`Sensitive::expose`].
#[derive(Clone, PartialEq, Eq)]
pub struct Sensitive<T: Zeroize>(T);

impl<T: Zeroize> Sensitive<T> {
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// The value. Never hand it to a log, an error, a metric or a span.
    pub fn expose(&self) -> &T {
        &self.0
    }

    /// A value computed from this one, no less sensitive.
    pub fn map<U: Zeroize>(&self, compute: impl FnOnce(&T) -> U) -> Sensitive<U> {
        Sensitive(compute(&self.0))
    }
}

impl<T: Zeroize> From<T> for Sensitive<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

impl<T: Zeroize> fmt::Debug for Sensitive<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sensitive(redacted)")
    }
}

impl<T: Zeroize> Drop for Sensitive<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// A personal value as a reader of events and state meets it. Folds and views handle all three; only `Known`
/// is ever written.
#[derive(Clone, PartialEq, Eq)]
pub enum Personal<T: Zeroize> {
    /// Opened with its key.
    Known(Sensitive<T>),
    /// The key has been destroyed: nobody will read this value again.
    Destroyed,
    /// This reader has no grant for the key; another may.
    Withheld,
}

impl<T: Zeroize> Personal<T> {
    /// A value that is known.
    pub fn of(value: T) -> Self {
        Self::Known(Sensitive::new(value))
    }

    /// The value where it is known.
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value.expose()),
            Self::Destroyed | Self::Withheld => None,
        }
    }

    pub fn is_known(&self) -> bool {
        self.known().is_some()
    }

    /// A value computed from this one where it is known; otherwise the same reason for its absence.
    pub fn map<U: Zeroize>(&self, compute: impl FnOnce(&T) -> U) -> Personal<U> {
        match self {
            Self::Known(value) => Personal::Known(value.map(compute)),
            Self::Destroyed => Personal::Destroyed,
            Self::Withheld => Personal::Withheld,
        }
    }

    /// As [`Personal::map`] for a computation that can fail, such as parsing.
    pub fn try_map<U: Zeroize, E>(&self, compute: impl FnOnce(&T) -> Result<U, E>) -> Result<Personal<U>, E> {
        match self {
            Self::Known(value) => compute(value.expose()).map(Personal::of),
            Self::Destroyed => Ok(Personal::Destroyed),
            Self::Withheld => Ok(Personal::Withheld),
        }
    }
}

impl<T: Zeroize> fmt::Debug for Personal<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Known(_) => "Known(redacted)",
            Self::Destroyed => "Destroyed",
            Self::Withheld => "Withheld",
        })
    }
}

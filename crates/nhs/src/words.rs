//! Enums whose variants have a stable word each, as answers, commands and tables write them.

use std::fmt;

/// An enum of code words; [`words!`](crate::words) stamps it.
pub trait Word: Sized + Copy + 'static {
    /// Every variant, in the order in which it was declared.
    const EVERY: &'static [Self];
    /// The word, in lower snake case.
    fn as_str(self) -> &'static str;
    /// The variant of a word.
    fn parse(text: &str) -> Result<Self, UnknownWord>;
}

/// The text is none of the words allowed. Never repeats it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownWord {
    /// The words allowed.
    pub allowed: &'static [&'static str],
}

impl fmt::Display for UnknownWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "one of {}", self.allowed.join(", "))
    }
}

impl std::error::Error for UnknownWord {}

/// Declares an enum with one word for each variant.
///
/// ```
/// use hearthline_nhs::words::Word;
/// hearthline_nhs::words! {
///     /// How urgent a call is.
///     pub enum Urgency { Emergency = "emergency", Routine = "routine" }
/// }
/// assert_eq!(Urgency::parse("routine"), Ok(Urgency::Routine));
/// assert_eq!(Urgency::parse("soon").unwrap_err().to_string(), "one of emergency, routine");
/// ```
#[macro_export]
macro_rules! words {
    ($($(#[$doc:meta])* pub enum $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),+ $(,)? })+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant),+ }

        impl $crate::words::Word for $name {
            const EVERY: &'static [Self] = &[$(Self::$variant),+];
            fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
            fn parse(text: &str) -> Result<Self, $crate::words::UnknownWord> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err($crate::words::UnknownWord { allowed: &[$($word),+] }),
                }
            }
        }
    )+};
}

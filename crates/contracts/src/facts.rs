//! The names and numbers of the facts, as the descriptors have them.

use crate::topics::Context;

/// The first number a fact may have: below it are the envelope and the sealed part.
pub const FIRST_FACT: u32 = 16;

/// Facts with this number or a higher one have the same meaning and number in every context.
pub const FIRST_COMMON_FACT: u32 = 1000;

/// One kind of fact of one context.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fact {
    /// Whose fact it is.
    pub context: Context,
    /// Its field number in the context's event message.
    pub number: u32,
    /// Its name, e.g. `CallOpened`.
    pub name: &'static str,
    /// Its field in the context's event message, e.g. `call_opened`.
    pub field: &'static str,
    /// There is a message `<name>Personal` for its sealed part.
    pub personal: bool,
}

include!(concat!(env!("OUT_DIR"), "/facts.rs"));

/// The name of a fact, or `None` when this version of the contracts does not know the number.
pub fn fact_name(context: Context, number: u32) -> Option<&'static str> {
    facts_of(context).find(|fact| fact.number == number).map(|fact| fact.name)
}

/// The number of a fact by its name, or `None`.
pub fn fact_number(context: Context, name: &str) -> Option<u32> {
    facts_of(context).find(|fact| fact.name == name).map(|fact| fact.number)
}

/// The facts of one context in ascending order of number.
pub fn facts_of(context: Context) -> impl Iterator<Item = &'static Fact> {
    FACTS.iter().filter(move |fact| fact.context == context)
}

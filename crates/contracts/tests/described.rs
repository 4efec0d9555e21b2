//! `docs/events.md` describes the facts there are, and no others as written.

use std::collections::BTreeSet;

use hearthline_contracts::Context;
use hearthline_contracts::facts::{FIRST_COMMON_FACT, facts_of};

static DOCUMENT: &str = include_str!("../../../docs/events.md");

#[test]
fn every_fact_is_described_in_its_context_and_nothing_else_is() {
    for context in Context::ALL {
        let described = rows_under(&format!("## {context}"));
        let own = facts_of(context).filter(|fact| fact.number < FIRST_COMMON_FACT);
        let own: BTreeSet<&str> = own.map(|fact| fact.name).collect();
        assert_eq!(described, own, "{context}");
    }
    let common = facts_of(Context::Call).filter(|fact| fact.number >= FIRST_COMMON_FACT);
    assert_eq!(rows_under("## in every context"), common.map(|fact| fact.name).collect());
}

/// The names in the first column under that heading, without the mark of an added name.
fn rows_under(heading: &str) -> BTreeSet<&'static str> {
    let section = DOCUMENT.lines().skip_while(|line| !line.starts_with(heading)).skip(1);
    let rows = section.take_while(|line| !line.starts_with("## ")).filter_map(|line| line.strip_prefix("| `"));
    rows.filter_map(|row| row.split('`').next()).collect()
}

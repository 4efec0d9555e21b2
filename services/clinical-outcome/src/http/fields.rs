//! Fields that several commands share, parsed into domain types.

use crate::domain::decide::AgreePlan;
use crate::domain::events::PlanWords;
use hearthline_nhs::Personal;
use hearthline_runtime::http::{Problem, invalid_field};
use serde::Deserialize;
use std::fmt;

/// The longest free text, in characters.
const TEXT_CHARS_MAX: usize = 8_000;

/// A plan of care.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PlanFields {
    text: String,
    actions_for_gp: Option<String>,
    call_back_if: Option<String>,
    /// YYYY-MM-DD, local.
    review_on: Option<String>,
    agreed_with_home: bool,
    /// Only where the plan is a command of its own.
    pub(super) occurred_at: Option<String>,
}

impl fmt::Debug for PlanFields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PlanFields(redacted)")
    }
}

impl PlanFields {
    /// `at` is the path of these fields in the body: empty, or ending with a dot.
    pub(super) fn parse(&self, at: &str) -> Result<AgreePlan, Problem> {
        if !at.is_empty() && self.occurred_at.is_some() {
            return Err(invalid_field(format!("{at}occurred_at"), "left out: the time of the decision is meant"));
        }
        let review_on = self.review_on.as_deref().map(str::parse).transpose();
        let plan = text(&format!("{at}text"), Some(&self.text))?;
        if plan.is_empty() {
            return Err(invalid_field(format!("{at}text"), "what is planned"));
        }
        Ok(AgreePlan {
            review_on: review_on.map_err(|_| invalid_field(format!("{at}review_on"), "a day, YYYY-MM-DD"))?,
            agreed_with_home: self.agreed_with_home,
            words: Personal::of(PlanWords {
                plan,
                gp_actions: text(&format!("{at}actions_for_gp"), self.actions_for_gp.as_deref())?,
                call_back_if: text(&format!("{at}call_back_if"), self.call_back_if.as_deref())?,
            }),
        })
    }
}

/// A text of at most 8,000 characters without control characters other than line breaks; empty where there is none.
pub(super) fn text(field: &str, text: Option<&str>) -> Result<String, Problem> {
    let text = text.unwrap_or_default().trim();
    if text.chars().count() > TEXT_CHARS_MAX {
        return Err(invalid_field(field, "at most 8000 characters"));
    }
    if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
        return Err(invalid_field(field, "without control characters"));
    }
    Ok(text.to_owned())
}

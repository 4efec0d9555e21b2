//! What a server is told to do wrong.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// One scripted fault, used up by the next request it fits.
///
/// `status` and `refuse` keep the server from acting; without them it acts as usual, and `delay_ms` and
/// `drop_before_reply` decide what the client hears of it. So `drop_before_reply` alone is the lost reply,
/// and `delay_ms` beyond the client's time-out is the late one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// The operation it waits for (each server names its own); any operation when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<String>,
    /// How many requests it spoils.
    #[serde(default = "once", skip_serializing_if = "is_once")]
    pub times: u32,
    /// Answer this code (HTTP 400–599, SMTP 400–599) without acting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Refuse with this code of the outside system's own (an EPS issue code, a cancellation outcome such as
    /// `R-0002`, an HL7 acknowledgement code) without acting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refuse: Option<String>,
    /// Milliseconds between acting and answering.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub delay_ms: u64,
    /// Close the connection instead of answering.
    #[serde(default, skip_serializing_if = "is_false")]
    pub drop_before_reply: bool,
}

/// Why a fault cannot be scripted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidFault {
    #[error("a fault needs one of status, refuse, delay_ms and drop_before_reply")]
    Harmless,
    #[error("a fault has either status or refuse, not both")]
    Ambiguous,
    #[error("status must lie between 400 and 599")]
    StatusOutOfRange,
}

impl Fault {
    /// Answers `status` without acting.
    pub fn status(status: u16) -> Self {
        Self { status: Some(status), ..Self::none() }
    }

    /// Refuses with the outside system's own `code` without acting.
    pub fn refuse(code: impl Into<String>) -> Self {
        Self { refuse: Some(code.into()), ..Self::none() }
    }

    /// Acts, waits, answers.
    pub fn delay(delay: Duration) -> Self {
        Self { delay_ms: u64::try_from(delay.as_millis()).unwrap_or(u64::MAX), ..Self::none() }
    }

    /// Acts, then closes the connection without a word.
    pub fn lost_reply() -> Self {
        Self { drop_before_reply: true, ..Self::none() }
    }

    /// Closes the connection without having acted.
    pub fn lost_request() -> Self {
        Self { drop_before_reply: true, ..Self::status(503) }
    }

    /// The same fault, for one operation only.
    #[must_use]
    pub fn on(mut self, operation: impl Into<String>) -> Self {
        self.on = Some(operation.into());
        self
    }

    /// The same fault, for the next `times` requests.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = times;
        self
    }

    /// Behaves as if no fault were scripted.
    pub(crate) fn none() -> Self {
        Self { on: None, times: 1, status: None, refuse: None, delay_ms: 0, drop_before_reply: false }
    }

    pub(crate) fn check(&self) -> Result<(), InvalidFault> {
        match (self.status, &self.refuse) {
            (Some(_), Some(_)) => Err(InvalidFault::Ambiguous),
            (Some(status), None) if !(400..=599).contains(&status) => Err(InvalidFault::StatusOutOfRange),
            (None, None) if self.delay_ms == 0 && !self.drop_before_reply => Err(InvalidFault::Harmless),
            _ => Ok(()),
        }
    }

    pub(crate) async fn wait(&self) {
        if self.delay_ms > 0 {
            tokio::time::sleep(Duration::from_millis(self.delay_ms)).await;
        }
    }
}

/// The script of one server. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<Mutex<VecDeque<Fault>>>);

impl Faults {
    /// Adds `fault` behind those already waiting.
    ///
    /// # Errors
    /// [`InvalidFault`] when it contradicts itself or would do nothing.
    pub fn script(&self, fault: Fault) -> Result<(), InvalidFault> {
        self.script_all([fault])
    }

    /// Adds all of `faults`, or none when one of them is invalid.
    ///
    /// # Errors
    /// As [`Faults::script`].
    pub fn script_all(&self, faults: impl IntoIterator<Item = Fault>) -> Result<(), InvalidFault> {
        let faults: Vec<Fault> = faults.into_iter().collect();
        faults.iter().try_for_each(Fault::check)?;
        self.with(|waiting| waiting.extend(faults.into_iter().filter(|fault| fault.times > 0)));
        Ok(())
    }

    /// The faults not used up yet, next first.
    pub fn waiting(&self) -> Vec<Fault> {
        self.with(|waiting| waiting.iter().cloned().collect())
    }

    /// Forgets what was scripted.
    pub fn clear(&self) {
        self.with(VecDeque::clear);
    }

    /// The first fault that fits `operation`, used up once; [`Fault::none`] when there is none.
    pub(crate) fn take(&self, operation: &str) -> Fault {
        self.take_where(|fault| fault.on.as_deref().is_none_or(|on| on == operation))
    }

    /// As [`Faults::take`], for operations that an unnamed fault is not meant for.
    pub(crate) fn take_named(&self, operation: &str) -> Fault {
        self.take_where(|fault| fault.on.as_deref() == Some(operation))
    }

    fn take_where(&self, fits: impl Fn(&Fault) -> bool) -> Fault {
        self.with(|waiting| {
            let Some(at) = waiting.iter().position(fits) else {
                return Fault::none();
            };
            let fault = waiting[at].clone();
            if fault.times > 1 {
                waiting[at].times -= 1;
            } else {
                waiting.remove(at);
            }
            fault
        })
    }

    fn with<R>(&self, act: impl FnOnce(&mut VecDeque<Fault>) -> R) -> R {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn once() -> u32 {
    1
}

// The references are what serde's `skip_serializing_if` passes.
fn is_once(times: &u32) -> bool {
    *times == 1
}

fn is_zero(delay_ms: &u64) -> bool {
    *delay_ms == 0
}

fn is_false(flag: &bool) -> bool {
    !*flag
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_used_up_by_the_operation_it_names() {
        let faults = Faults::default();
        faults.script(Fault::status(503).on("order")).unwrap();
        assert_eq!(faults.take("prepare"), Fault::none());
        assert_eq!(faults.take("order").status, Some(503));
        assert_eq!(faults.take("order"), Fault::none());
    }

    #[test]
    fn a_repeated_fault_lasts_as_often_as_it_says() {
        let faults = Faults::default();
        faults.script(Fault::status(503).times(2)).unwrap();
        assert_eq!(faults.take("a").status, Some(503));
        assert_eq!(faults.take("b").status, Some(503));
        assert_eq!(faults.take("c"), Fault::none());
    }

    #[test]
    fn an_unnamed_fault_waits_for_an_ordinary_operation() {
        let faults = Faults::default();
        faults.script(Fault::lost_reply()).unwrap();
        assert_eq!(faults.take_named("connect"), Fault::none());
        assert!(faults.take("message").drop_before_reply);
    }

    #[test]
    fn a_fault_that_does_nothing_or_contradicts_itself_is_refused() {
        let faults = Faults::default();
        assert_eq!(faults.script(Fault::none()), Err(InvalidFault::Harmless));
        assert_eq!(faults.script(Fault::status(200)), Err(InvalidFault::StatusOutOfRange));
        let both = Fault { status: Some(503), ..Fault::refuse("R-0002") };
        assert_eq!(faults.script(both), Err(InvalidFault::Ambiguous));
        assert!(faults.waiting().is_empty());
    }
}

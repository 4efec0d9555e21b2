//! How many requests one caller may make: a bucket per caller that fills at a steady rate.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Buckets that are full again are dropped once there are this many.
const BUCKETS_MAX: usize = 10_000;

/// Requests per second and caller, with a burst of twice that. Zero: no limit.
#[derive(Debug)]
pub(super) struct CallerLimit {
    per_second: u32,
    buckets: Mutex<HashMap<[u8; 16], Bucket>>,
}

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl CallerLimit {
    pub(super) fn per_second(per_second: u32) -> Self {
        Self { per_second, buckets: Mutex::new(HashMap::new()) }
    }

    /// Takes one request of this caller at `now`; otherwise the seconds to wait.
    pub(super) fn take(&self, caller: &[u8; 16], now: Instant) -> Result<(), u64> {
        if self.per_second == 0 {
            return Ok(());
        }
        let rate = f64::from(self.per_second);
        let burst = rate * 2.0;
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= BUCKETS_MAX && !buckets.contains_key(caller) {
            buckets.retain(|_, bucket| bucket.level(rate, burst, now) < burst);
        }
        let bucket = buckets.entry(*caller).or_insert(Bucket { tokens: burst, at: now });
        bucket.tokens = bucket.level(rate, burst, now);
        bucket.at = now;
        if bucket.tokens >= 1.0 {
            bucket.tokens -= 1.0;
            return Ok(());
        }
        // Below one second for every rate there is; clients count whole seconds.
        Err(1)
    }
}

impl Bucket {
    fn level(&self, rate: f64, burst: f64, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        (self.tokens + passed * rate).min(burst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_caller_gets_a_burst_then_the_rate_and_others_are_not_touched() {
        let limit = CallerLimit::per_second(2);
        let start = Instant::now();
        for _ in 0..4 {
            assert_eq!(limit.take(&[1; 16], start), Ok(()));
        }
        assert_eq!(limit.take(&[1; 16], start), Err(1));
        assert_eq!(limit.take(&[2; 16], start), Ok(()));
        assert_eq!(limit.take(&[1; 16], start + Duration::from_millis(500)), Ok(()));
    }

    #[test]
    fn zero_means_no_limit() {
        let limit = CallerLimit::per_second(0);
        let now = Instant::now();
        assert!((0..1000).all(|_| limit.take(&[1; 16], now).is_ok()));
    }
}

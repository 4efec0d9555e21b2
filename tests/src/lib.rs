//! What the tests of the whole share: folders, seeds, waiting, and a small service made of nothing but the kernel.

pub mod bench;
pub mod folds;
pub mod servers;

use std::future::Future;
use std::time::{Duration, Instant};

/// Seeds for a test: `HEARTHLINE_SEED` alone where it is set, else `n` fixed ones.
pub fn seeds(n: u64) -> Vec<u64> {
    match std::env::var("HEARTHLINE_SEED") {
        Ok(text) => vec![text.parse().expect("HEARTHLINE_SEED is a number")],
        Err(_) => (1..=n).map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect(),
    }
}

/// Names the seed when a test that runs under it fails.
pub struct Seed(pub u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed under HEARTHLINE_SEED={}", self.0);
        }
    }
}

/// The address of a service that a test may use, from an environment variable. Without one the test is skipped, in print, or
/// fails where `HEARTHLINE_REQUIRE` names the service.
pub fn address(service: &str, variable: &str) -> Option<String> {
    let address = std::env::var(variable).ok().filter(|a| !a.is_empty());
    if address.is_none() {
        let required = std::env::var("HEARTHLINE_REQUIRE").unwrap_or_default();
        assert!(!required.split(',').any(|r| r.trim() == service), "{service} is required, but {variable} is not set");
        eprintln!("skipped: {variable} is not set");
    }
    address
}

/// How long a predicate may take to become true.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Waits until `probe` gives a value; fails the test, naming what it waited for, after [`PATIENCE`].
pub async fn until<T, F, Fut>(what: &str, mut probe: F) -> T
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    let begun = Instant::now();
    loop {
        if let Some(value) = probe().await {
            return value;
        }
        assert!(begun.elapsed() < PATIENCE, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

//! How fast this folder's disk makes bytes durable.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

/// Appends of 512 bytes, each followed by fdatasync, per second; over about `for_` of wall time.
pub fn fdatasync_rate(folder: &Path, for_: Duration) -> std::io::Result<f64> {
    let path = folder.join(".fdatasync-probe");
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).open(&path)?;
    let block = [0x5au8; 512];
    let begun = Instant::now();
    let mut n = 0u32;
    while begun.elapsed() < for_ {
        file.write_all(&block)?;
        file.sync_data()?;
        n += 1;
    }
    let rate = f64::from(n) / begun.elapsed().as_secs_f64();
    drop(file);
    std::fs::remove_file(&path)?;
    Ok(rate)
}

//! What `doctor` measures of a machine: how often its disk makes a write durable, how much room is left, whether its
//! clock can be right, and who may read the data folder.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// One write of a measurement: a page of the database.
const WRITE_BYTES: usize = 4_096;
/// No clock is right that says less: 2025-01-01, in seconds since 1970.
const CLOCK_MIN_S: u64 = 1_735_689_600;

/// How fast a folder's disk makes writes durable.
#[derive(Debug, Clone, PartialEq)]
pub struct SyncRate {
    /// How many writes were measured.
    pub writes: usize,
    /// Durable writes per second, one after the other.
    pub per_second: f64,
    /// The median of one write, in microseconds.
    pub p50_us: u64,
    /// The 99th percentile, in microseconds.
    pub p99_us: u64,
}

/// Appends pages to a file in `folder`, making each durable (`fdatasync`), for at most `writes_max` writes or
/// `at_most`. The file is removed again.
pub fn measure_sync_rate(folder: &Path, writes_max: usize, at_most: Duration) -> io::Result<SyncRate> {
    let path = folder.join(format!("sync-rate-{}", std::process::id()));
    let measured = File::create(&path).and_then(|file| measure(file, writes_max, at_most));
    let removed = fs::remove_file(&path);
    let mut took = measured?;
    removed?;
    took.sort_unstable();
    let total: Duration = took.iter().sum();
    let at = |share: f64| {
        let index = ((took.len() - 1) as f64 * share).round() as usize;
        u64::try_from(took[index].as_micros()).unwrap_or(u64::MAX)
    };
    Ok(SyncRate { writes: took.len(), per_second: took.len() as f64 / total.as_secs_f64().max(f64::EPSILON), p50_us: at(0.5), p99_us: at(0.99) })
}

/// At least one write, however short the time.
fn measure(mut file: File, writes_max: usize, at_most: Duration) -> io::Result<Vec<Duration>> {
    let (began, page) = (Instant::now(), [0x5a; WRITE_BYTES]);
    let mut took = Vec::with_capacity(writes_max.min(100_000));
    while took.is_empty() || (took.len() < writes_max && began.elapsed() < at_most) {
        let started = Instant::now();
        file.write_all(&page)?;
        file.sync_data()?;
        took.push(started.elapsed());
    }
    Ok(took)
}

/// Free and total space of the folder's disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Free to this user, in bytes.
    pub free_bytes: u64,
    /// In all, in bytes.
    pub total_bytes: u64,
}

/// The space of the disk that holds `folder`.
pub fn space(folder: &Path) -> io::Result<Space> {
    Ok(Space { free_bytes: fs4::available_space(folder)?, total_bytes: fs4::total_space(folder)? })
}

/// A clock that cannot be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClockProblem {
    /// It says a time before this program was written.
    #[error("the clock says a time before 2025; set it, and let a time service keep it right")]
    Past,
    /// It says a time before something in the data folder was written.
    #[error("the clock is {behind_s} s behind the newest file of the data folder; it was set back, or the files come from a machine whose clock was ahead")]
    BehindData {
        /// By how many seconds.
        behind_s: u64,
    },
}

/// Whether `now` can be right, seen from the data folder. A difference below a minute is not reported.
pub fn check_clock(folder: &Path, now: SystemTime) -> io::Result<Result<(), ClockProblem>> {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    if since.as_secs() < CLOCK_MIN_S {
        return Ok(Err(ClockProblem::Past));
    }
    let mut newest = UNIX_EPOCH;
    for entry in fs::read_dir(folder)? {
        newest = newest.max(entry?.metadata()?.modified()?);
    }
    let behind_s = newest.duration_since(now).unwrap_or_default().as_secs();
    if behind_s >= 60 {
        return Ok(Err(ClockProblem::BehindData { behind_s }));
    }
    Ok(Ok(()))
}

/// Files and folders that others than their owner may read or write, with their mode, relative to `folder`. Empty on
/// systems without modes.
pub fn exposed_files(folder: &Path) -> io::Result<Vec<(String, u32)>> {
    let mut exposed = Vec::new();
    // What lies in a folder that others cannot enter is not exposed, whatever its own mode.
    if let Some(mode) = mode_for_others(&fs::metadata(folder)?) {
        exposed.push((".".to_owned(), mode));
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            // The key set is meant to be read.
            if entry.file_name() == crate::auth::JWKS_FILE {
                continue;
            }
            if let Some(mode) = mode_for_others(&entry.metadata()?) {
                exposed.push((entry.file_name().to_string_lossy().into_owned(), mode));
            }
        }
    }
    exposed.sort();
    Ok(exposed)
}

#[cfg(unix)]
fn mode_for_others(metadata: &fs::Metadata) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt;
    let mode = metadata.permissions().mode() & 0o777;
    (mode & 0o077 != 0).then_some(mode)
}

#[cfg(not(unix))]
fn mode_for_others(_metadata: &fs::Metadata) -> Option<u32> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_measurement_writes_as_asked_and_leaves_nothing() {
        let folder = tempfile::tempdir().expect("folder");
        let rate = measure_sync_rate(folder.path(), 20, Duration::from_secs(60)).expect("measured");
        assert_eq!(rate.writes, 20);
        assert!(rate.per_second > 0.0 && rate.p50_us <= rate.p99_us);
        let least = measure_sync_rate(folder.path(), 1_000, Duration::ZERO).expect("measured");
        assert_eq!(least.writes, 1);
        assert_eq!(fs::read_dir(folder.path()).expect("list").count(), 0);
    }

    #[test]
    fn free_space_is_no_more_than_all_space() {
        let space = space(tempfile::tempdir().expect("folder").path()).expect("measured");
        assert!(space.free_bytes <= space.total_bytes && space.total_bytes > 0);
    }

    #[test]
    fn a_clock_before_its_own_files_is_found() {
        let folder = tempfile::tempdir().expect("folder");
        let now = SystemTime::now();
        fs::write(folder.path().join("file"), "x").expect("written");
        assert_eq!(check_clock(folder.path(), now).expect("checked"), Ok(()));
        let earlier = now - Duration::from_secs(3_600);
        let behind = check_clock(folder.path(), earlier).expect("checked");
        assert!(matches!(behind, Err(ClockProblem::BehindData { behind_s }) if behind_s >= 3_599), "{behind:?}");
        assert_eq!(check_clock(folder.path(), UNIX_EPOCH).expect("checked"), Err(ClockProblem::Past));
    }

    #[cfg(unix)]
    #[test]
    fn files_that_others_can_reach_are_listed() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("folder");
        let file = folder.path().join("store.db");
        fs::write(&file, "x").expect("written");
        let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("mode");
        mode(&file, 0o644);
        mode(folder.path(), 0o700);
        assert_eq!(exposed_files(folder.path()).expect("listed"), []);
        mode(folder.path(), 0o755);
        let exposed = exposed_files(folder.path()).expect("listed");
        assert_eq!(exposed, [(".".to_owned(), 0o755), ("store.db".to_owned(), 0o644)]);
    }
}

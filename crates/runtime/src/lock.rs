//! The data folder: one process at a time, and usable before anything is opened in it.
//!
//! The lock is the operating system's on an open file, so it ends with the process however that ends; a left-over
//! file locks nothing. Everything that could go wrong later with the folder is tried first, with a file of its own.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::admin::AdminFile;

/// The file that is locked.
pub const LOCK_FILE: &str = "lock";
/// Below this much free space nothing is started, in bytes.
pub const FREE_BYTES_MIN: u64 = 64 << 20;
/// What is written to see whether the folder takes it, in bytes.
const PROBE_BYTES: usize = 64 << 10;

/// The folder cannot be used. Nothing in it has been changed.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// There is no such folder.
    #[error("the data folder {folder} does not exist; `hearthline up` makes it, or correct data.folder")]
    Missing {
        /// The folder.
        folder: PathBuf,
    },
    /// There is something else of that name.
    #[error("{folder} is not a folder; correct data.folder")]
    NotAFolder {
        /// The path.
        folder: PathBuf,
    },
    /// It cannot be written to.
    #[error("the data folder {folder} cannot be written to; check its owner, its mode and whether its disk is mounted read-only")]
    ReadOnly {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Its disk is full.
    #[error("the disk of the data folder {folder} is full: {free_bytes} bytes are free and {needed_bytes} are needed; make room and start again")]
    Full {
        /// The folder.
        folder: PathBuf,
        /// What is free, in bytes.
        free_bytes: u64,
        /// What is needed, in bytes.
        needed_bytes: u64,
    },
    /// Another process uses it.
    #[error("the data folder {folder} is in use by {}; stop it first, or use another folder", holder(.pid))]
    InUse {
        /// The folder.
        folder: PathBuf,
        /// The process, where it has said so.
        pid: Option<u32>,
    },
    /// Something else.
    #[error("the data folder {folder} cannot be used")]
    Io {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
}

fn holder(pid: &Option<u32>) -> String {
    match pid {
        Some(pid) => format!("process {pid}"),
        None => "another process".to_owned(),
    }
}

/// A data folder that this process, and no other, uses. Dropping it gives it up.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    _lock: File,
}

impl DataFolder {
    /// Makes the folder where it is missing (mode 0700), locks it and tries it out.
    pub fn open_or_create(path: &Path) -> Result<Self, FolderError> {
        if !path.exists() {
            create(path).map_err(|error| classify(path, error))?;
        }
        Self::open_existing(path)
    }

    /// Locks a folder that exists and tries it out.
    pub fn open_existing(path: &Path) -> Result<Self, FolderError> {
        Self::open_with(path, FREE_BYTES_MIN)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn open_with(path: &Path, free_bytes_min: u64) -> Result<Self, FolderError> {
        let metadata = fs::metadata(path).map_err(|error| classify(path, error))?;
        if !metadata.is_dir() {
            return Err(FolderError::NotAFolder { folder: path.to_owned() });
        }
        let lock = take_lock(path)?;
        try_out(path, free_bytes_min)?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }
}

fn take_lock(folder: &Path) -> Result<File, FolderError> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(folder.join(LOCK_FILE)).map_err(|error| classify(folder, error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(FolderError::InUse { folder: folder.to_owned(), pid: AdminFile::read(folder).ok().map(|admin| admin.pid) }),
        Err(TryLockError::Error(error)) => Err(classify(folder, error)),
    }
}

/// Free space, and a file written, made durable and removed.
fn try_out(folder: &Path, free_bytes_min: u64) -> Result<(), FolderError> {
    let free_bytes = fs4::available_space(folder).map_err(|error| classify(folder, error))?;
    if free_bytes < free_bytes_min {
        return Err(FolderError::Full { folder: folder.to_owned(), free_bytes, needed_bytes: free_bytes_min });
    }
    let path = folder.join(format!("probe-{}", std::process::id()));
    let written = File::create(&path).and_then(|mut file| {
        file.write_all(&[0; PROBE_BYTES])?;
        file.sync_data()
    });
    let removed = match fs::remove_file(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    };
    written.and(removed).map_err(|error| classify(folder, error))
}

fn classify(folder: &Path, source: io::Error) -> FolderError {
    let folder = folder.to_owned();
    match source.kind() {
        ErrorKind::NotFound => FolderError::Missing { folder },
        ErrorKind::NotADirectory => FolderError::NotAFolder { folder },
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => FolderError::ReadOnly { folder, source },
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            FolderError::Full { free_bytes: fs4::available_space(&folder).unwrap_or(0), folder, needed_bytes: FREE_BYTES_MIN }
        }
        _ => FolderError::Io { folder, source },
    }
}

#[cfg(unix)]
fn create(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(not(unix))]
fn create(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::Listening;

    #[test]
    fn a_folder_is_made_for_its_owner_only_and_locked_for_one() {
        let parent = tempfile::tempdir().expect("folder");
        let path = parent.path().join("a/b");
        let held = DataFolder::open_or_create(&path).expect("usable");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&path).expect("metadata").permissions().mode() & 0o777, 0o700);
        }
        let second = DataFolder::open_existing(&path).expect_err("in use");
        assert!(matches!(second, FolderError::InUse { pid: None, .. }), "{second}");
        drop(held);
        DataFolder::open_existing(&path).expect("free again");
    }

    #[test]
    fn the_process_that_holds_the_folder_is_named() {
        let folder = tempfile::tempdir().expect("folder");
        let _held = DataFolder::open_existing(folder.path()).expect("usable");
        let admin = AdminFile {
            pid: 4711,
            version: "0.1.0".to_owned(),
            started_at_us: 0,
            http: ([127, 0, 0, 1], 8080).into(),
            mllp: None,
            listeners: [("north".to_owned(), Listening { address: ([127, 0, 0, 1], 2576).into(), tls: true })].into(),
            token: Some("Zyxwv".to_owned()),
        };
        admin.write(folder.path()).expect("written");
        let refused = DataFolder::open_existing(folder.path()).expect_err("in use");
        assert!(refused.to_string().contains("process 4711"), "{refused}");
        assert!(!format!("{admin:?}").contains("Zyxwv"));
        assert_eq!(AdminFile::read(folder.path()).expect("read"), admin);
        AdminFile::remove(folder.path()).expect("removed");
        AdminFile::remove(folder.path()).expect("twice is no error");
        assert!(AdminFile::read(folder.path()).expect_err("gone").to_string().starts_with("nothing runs on"));
    }

    #[test]
    fn a_missing_folder_and_a_file_in_its_place_are_said() {
        let parent = tempfile::tempdir().expect("folder");
        let missing = DataFolder::open_existing(&parent.path().join("x")).expect_err("missing");
        assert!(matches!(missing, FolderError::Missing { .. }), "{missing}");
        let file = parent.path().join("file");
        fs::write(&file, "x").expect("written");
        let refused = DataFolder::open_or_create(&file).expect_err("a file");
        assert!(matches!(refused, FolderError::NotAFolder { .. }), "{refused}");
        assert_eq!(fs::read_to_string(&file).expect("untouched"), "x");
    }

    #[test]
    fn a_full_disk_is_said_with_what_is_needed() {
        let folder = tempfile::tempdir().expect("folder");
        let refused = DataFolder::open_with(folder.path(), u64::MAX).expect_err("never that much");
        assert!(matches!(refused, FolderError::Full { needed_bytes: u64::MAX, .. }), "{refused}");
        DataFolder::open_existing(folder.path()).expect("the lock was given up");
    }

    #[test]
    fn what_the_system_says_becomes_what_an_operator_understands() {
        let path = Path::new("/");
        for (kind, words) in [
            (ErrorKind::ReadOnlyFilesystem, "cannot be written to"),
            (ErrorKind::PermissionDenied, "cannot be written to"),
            (ErrorKind::StorageFull, "is full"),
            (ErrorKind::QuotaExceeded, "is full"),
            (ErrorKind::NotFound, "does not exist"),
        ] {
            let error = classify(path, io::Error::from(kind));
            assert!(error.to_string().contains(words), "{error}");
        }
    }

    #[test]
    fn trying_the_folder_out_leaves_nothing_behind() {
        let folder = tempfile::tempdir().expect("folder");
        drop(DataFolder::open_existing(folder.path()).expect("usable"));
        let left: Vec<_> = fs::read_dir(folder.path()).expect("list").map(|e| e.expect("entry").file_name()).collect();
        assert_eq!(left, [LOCK_FILE]);
    }
}

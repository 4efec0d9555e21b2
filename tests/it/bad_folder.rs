//! A data folder that cannot be used: said at the start, with a failing exit code, and nothing in it is touched.

use crate::binary;
use crate::running::{Running, SMALL};
use hearthline_runtime::auth::Role;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Every file of a folder with its digest.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let listed = std::fs::read_dir(folder).expect("listed").map(|entry| entry.expect("an entry").path());
    listed.map(|path| (path.clone(), Sha256::digest(std::fs::read(&path).unwrap_or_default()).to_vec())).collect()
}

/// Starts the program on a folder on which it must not start, and returns what it says.
fn refuses(folder: &Path) -> String {
    let folder = folder.to_str().expect("a readable path");
    let output = binary::run(&["up", "--folder", folder, "--set", "server.listen=127.0.0.1:0", "--set", "mllp.listen=127.0.0.1:0"]);
    let said = binary::said(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(output.stdout.is_empty(), "it does not say that it runs: {said}");
    assert!(!said.contains("panicked"), "{said}");
    said
}

/// A folder as a stopped hub leaves it.
fn used(folder: &Path) {
    let output = binary::run(&["migrate", "--folder", folder.to_str().expect("a readable path")]);
    assert!(output.status.success(), "{}", binary::said(&output));
}

/// A mount that ends with the test.
struct Mounted(PathBuf);

impl Mounted {
    /// None where this user may not mount.
    fn tmpfs(at: &Path, options: &str) -> Option<Self> {
        std::fs::create_dir_all(at).expect("made");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", options, "none"]).arg(at).output().is_ok_and(|output| output.status.success());
        mounted.then(|| Mounted(at.to_owned()))
    }

    fn read_only(&self) -> bool {
        Command::new("mount").args(["-o", "remount,ro"]).arg(&self.0).output().is_ok_and(|output| output.status.success())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).output();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_in_use_is_left_alone() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let hub = Running::start(SMALL, folder.path(), false).await;
    hub.settled().await;
    let path = folder.path().to_owned();
    let (said, migrated) = tokio::task::spawn_blocking(move || {
        let migrated = binary::run(&["migrate", "--folder", path.to_str().expect("a readable path")]);
        (refuses(&path), migrated)
    })
    .await
    .expect("it ran");
    assert!(said.contains("is in use by process"), "{said}");
    assert!(said.contains(&std::process::id().to_string()), "it names the process: {said}");
    assert_eq!(migrated.status.code(), Some(1), "{}", binary::said(&migrated));
    // Who has it goes on undisturbed.
    assert_eq!(hub.get(Role::Operator, "/ops/status").await.status, 200);
    let homes = hub.homes(&["VN100"]).await;
    assert_eq!(homes.len(), 1);
    hub.stop().await;
}

#[test]
fn a_folder_that_is_a_file_or_cannot_be_made_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = folder.path().join("data");
    std::fs::write(&file, "a letter").expect("written");
    let said = refuses(&file);
    assert!(said.contains("is not a folder"), "{said}");
    assert_eq!(std::fs::read(&file).expect("read"), b"a letter");
    // Nobody makes folders here, root neither.
    if Path::new("/sys/kernel").is_dir() {
        let said = refuses(Path::new("/sys/hearthline"));
        assert!(said.contains("cannot be written to"), "{said}");
    }
}

#[test]
fn a_read_only_folder_is_refused_and_stays_as_it_was() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let Some(mount) = Mounted::tmpfs(&folder.path().join("disk"), "size=128m") else {
        eprintln!("skipped: this user may not mount");
        return;
    };
    let data = mount.0.join("data");
    used(&data);
    assert!(mount.read_only(), "the disk turns read-only");
    let before = files(&data);
    let said = refuses(&data);
    assert!(said.contains("cannot be written to") && said.contains("read-only"), "{said}");
    assert_eq!(files(&data), before);
    let doctor = binary::run(&["doctor", "--folder", data.to_str().expect("a readable path")]);
    assert_eq!(doctor.status.code(), Some(1), "{}", binary::said(&doctor));
}

#[test]
fn a_full_disk_is_refused_and_what_is_on_it_stays_as_it_was() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let Some(mount) = Mounted::tmpfs(&folder.path().join("disk"), "size=128m") else {
        eprintln!("skipped: this user may not mount");
        return;
    };
    let data = mount.0.join("data");
    used(&data);
    std::fs::write(mount.0.join("films"), vec![0; 100 << 20]).expect("there is room for it");
    let before = files(&data);
    let said = refuses(&data);
    assert!(said.contains("is full") && said.contains("make room"), "{said}");
    assert_eq!(files(&data), before);
    std::fs::remove_file(mount.0.join("films")).expect("removed");
    used(&data);
}

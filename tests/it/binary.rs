//! The `hearthline` program, built once for all tests and run as an operator runs it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// Builds the program in the profile of this test and returns where it is.
pub fn hearthline() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(build)
}

fn build() -> PathBuf {
    // <target>/<profile>/deps/it-0123456789abcdef
    let this = std::env::current_exe().expect("this test knows its own path");
    let folder = this.parent().and_then(Path::parent).expect("tests lie in <target>/<profile>/deps");
    let profile = match folder.file_name().and_then(OsStr::to_str) {
        Some("debug") | None => "dev",
        Some(other) => other,
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "--package", "hearthline", "--bin", "hearthline", "--profile", profile]);
    build.arg("--target-dir").arg(folder.parent().expect("a profile lies in the target folder"));
    build.current_dir(env!("CARGO_MANIFEST_DIR"));
    let status = build.status().expect("cargo can be started");
    assert!(status.success(), "the program does not build");
    let program = folder.join(format!("hearthline{}", std::env::consts::EXE_SUFFIX));
    assert!(program.is_file(), "{} was built", program.display());
    program
}

/// A command line of the program, free of this test's own settings.
pub fn command<S: AsRef<OsStr>>(args: &[S]) -> Command {
    let mut command = Command::new(hearthline());
    command.args(args);
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("HEARTHLINE")) {
            command.env_remove(name);
        }
    }
    command
}

/// Runs the program to its end.
pub fn run<S: AsRef<OsStr>>(args: &[S]) -> Output {
    command(args).output().expect("the program can be started")
}

/// What a program that ended said, for a failing test.
pub fn said(output: &Output) -> String {
    format!("{}\n{}{}", output.status, String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

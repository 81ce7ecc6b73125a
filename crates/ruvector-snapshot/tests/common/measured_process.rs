//! Commands that run in a process of their own, which reports the most memory that it has had.
//!
//! The process is this test binary with one ignored test of the caller, `measured_process`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const DIRECTORY: &str = "RUVECTOR_SNAPSHOT_TEST_DIRECTORY";
const COMMAND: &str = "RUVECTOR_SNAPSHOT_TEST_VERB";

/// Returns the directory and the command that this process was started for, if it was.
pub fn started_for() -> Option<(PathBuf, String)> {
    Some((std::env::var_os(DIRECTORY)?.into(), std::env::var(COMMAND).ok()?))
}

/// Reports the most memory that this process has had.
pub fn report_peak() {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    println!("{}", status.lines().find(|line| line.starts_with("VmHWM")).unwrap());
}

/// Returns the most memory of a process that ran this command, in bytes. `module` has the test `measured_process`.
pub fn peak_bytes(module: &str, directory: &Path, command: &str) -> usize {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("{module}::measured_process"), "--ignored", "--nocapture"])
        .env(DIRECTORY, directory)
        .env(COMMAND, command)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command}: {text}");
    let kib = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap().trim().strip_suffix(" kB").unwrap();
    kib.parse::<usize>().unwrap() << 10
}

//! Passes the target and, if it is known, the commit to the program. The variable `RUVECTOR_SNAPSHOT_COMMIT` gives it;
//! without that git is asked. Neither has to be there.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=RUVECTOR_SNAPSHOT_COMMIT");
    println!("cargo::rustc-env=BUILD_TARGET={}", std::env::var("TARGET").unwrap_or_default());
    let given = std::env::var("RUVECTOR_SNAPSHOT_COMMIT").ok().filter(|commit| !commit.is_empty());
    if let Some(commit) = given.or_else(of_checkout) {
        println!("cargo::rustc-env=BUILD_COMMIT={commit}");
    }
}

/// Returns the commit that is checked out, if this package is in a checkout of its own project. It is asked for again after
/// each commit.
fn of_checkout() -> Option<String> {
    // A package that was unpacked into another project is not of the commit of that.
    let root = Path::new("../..");
    if !root.join(".git").exists() {
        return None;
    }
    let log = git(&["rev-parse", "--git-path", "logs/HEAD"])?;
    let log = root.join(log);
    if log.exists() {
        println!("cargo::rerun-if-changed={}", log.display());
    }
    git(&["rev-parse", "HEAD"]).filter(|commit| commit.bytes().all(|digit| digit.is_ascii_hexdigit()))
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).current_dir("../..").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let text = text.trim();
    (output.status.success() && !text.is_empty()).then(|| text.to_owned())
}

//! The library that is preloaded into a process and answers instead of the system.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// Returns the library to preload. Its source, `refusals.c` of the tests of the program, says what it refuses.
pub fn refusals() -> PathBuf {
    static LIBRARY: OnceLock<tempfile::TempDir> = OnceLock::new();
    let directory = LIBRARY.get_or_init(|| {
        let directory = tempfile::tempdir().unwrap();
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/program/refusals.c");
        let library = directory.path().join("refusals.so");
        let compiled =
            Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(library).arg(source).arg("-ldl").status();
        assert!(compiled.unwrap().success());
        directory
    });
    directory.path().join("refusals.so")
}

//! What the tests of the examples share: where the programs are.

use std::path::PathBuf;

/// An example's binary: cargo builds the examples of a package before it runs the tests, next to the tests' directory.
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().unwrap().parent().unwrap().join("examples").join(name);
    let path = path.with_extension(std::env::consts::EXE_EXTENSION);
    assert!(path.exists(), "{} is missing: cargo test --test NAME alone does not build it", path.display());
    path
}

//! The README, run as it stands: from the installation on. Its first two commands, the demo and the tests, are run by
//! `.ci/run` before.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use super::page::{Page, sources};
use super::setting;

/// The setting that allows it: it builds the program again, in the profile of a release.
const README: &str = "RUVECTOR_SNAPSHOT_TEST_README";

#[test]
fn every_command_of_the_readme_works_and_prints_what_it_shows() {
    if setting(README, "every_command_of_the_readme_works_and_prints_what_it_shows").is_none() {
        return;
    }
    let page = Page::read("README.md", |input| {
        ["cargo run -p ruvector-snapshot-cli -- demo", "cargo test --workspace"].contains(&input)
    });
    let machine = tempfile::tempdir().unwrap();
    // As in a clone, but what the commands write is removed with the directory.
    for entry in fs::read_dir(sources()).unwrap().map(Result::unwrap).filter(|entry| entry.file_name() != "target") {
        symlink(entry.path(), machine.path().join(entry.file_name())).unwrap();
    }
    let outputs = page.run(machine.path(), &BTreeMap::new());
    page.assert_shows(&outputs);
    assert!(fs::metadata(machine.path().join("restored.db")).unwrap().len() > 0);
}

#[test]
fn the_dependency_of_the_readme_resolves() {
    if setting(README, "the_dependency_of_the_readme_resolves").is_none() {
        return;
    }
    let readme = fs::read_to_string(sources().join("README.md")).unwrap();
    let block = readme.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let repository = format!("file://{}", sources().display());
    let package = tempfile::tempdir().unwrap();
    let manifest = format!("[package]\nname = \"user\"\nedition = \"2024\"\n\n{}", block.replace('…', &repository));
    fs::write(package.path().join("Cargo.toml"), manifest).unwrap();
    fs::create_dir(package.path().join("src")).unwrap();
    fs::write(package.path().join("src/lib.rs"), "").unwrap();
    let tree = Command::new(env!("CARGO")).args(["tree", "--depth", "1"]).current_dir(package.path()).output().unwrap();
    let printed = String::from_utf8_lossy(&tree.stdout);
    assert!(tree.status.success() && printed.contains("ruvector-snapshot v"), "{tree:?}");
}

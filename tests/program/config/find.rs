//! Which file is read.

use std::fs;

use super::{FILE, run, write};
use crate::sandbox::{RunResult, Sandbox};

#[test]
fn the_first_file_that_exists_is_read_and_no_other() {
    let sandbox = Sandbox::empty();
    let file_of = |environment: &[(&str, &str)], args: &[&str]| {
        let result = run(&sandbox, environment, &[&["config", "path"], args].concat());
        (result.exit_code, result.stdout.trim_end().to_owned())
    };
    let absolute = |name: &str| sandbox.path("").canonicalize().unwrap().join(name).display().to_string();
    let home = sandbox.path("home").display().to_string();
    let xdg = sandbox.path("xdg").display().to_string();
    let environment = [("HOME", home.as_str())];
    assert_eq!(file_of(&environment, &[]), (Some(4), String::new()));
    let in_home = format!("{home}/.config/ruvector-snapshot/{FILE}");
    write(&sandbox, "home/.config/ruvector-snapshot/ruvector-snapshot.toml", "");
    assert_eq!(file_of(&environment, &[]), (Some(0), in_home.clone()));
    // A relative directory is ignored.
    assert_eq!(file_of(&[environment[0], ("XDG_CONFIG_HOME", "xdg")], &[]), (Some(0), in_home));
    let environment = [environment[0], ("XDG_CONFIG_HOME", xdg.as_str())];
    write(&sandbox, "xdg/ruvector-snapshot/ruvector-snapshot.toml", "");
    assert_eq!(file_of(&environment, &[]), (Some(0), format!("{xdg}/ruvector-snapshot/{FILE}")));
    write(&sandbox, FILE, "");
    assert_eq!(file_of(&environment, &[]), (Some(0), absolute(FILE)));
    write(&sandbox, "named.toml", "");
    let environment = [environment[0], environment[1], ("RUVECTOR_SNAPSHOT_CONFIG", "named.toml")];
    assert_eq!(file_of(&environment, &[]), (Some(0), absolute("named.toml")));
    write(&sandbox, "flag.toml", "");
    assert_eq!(file_of(&environment, &["--config", "flag.toml"]), (Some(0), absolute("flag.toml")));
    // An empty variable is none.
    assert_eq!(file_of(&[("RUVECTOR_SNAPSHOT_CONFIG", "")], &[]), (Some(0), absolute(FILE)));
}

#[test]
fn a_file_that_cannot_be_read_stops_every_command_that_uses_it() {
    let (sandbox, _) = Sandbox::with_snapshots(1);
    sandbox
        .run(&["list", "--config", "absent.toml"])
        .assert_fails(2, "cannot read the configuration file absent.toml: ");
    sandbox.run(&["list", "--config", "snapshots"]).assert_fails(2, "it is a directory");
    fs::write(sandbox.path("bytes.toml"), b"store = \"\xff\"").unwrap();
    sandbox.run(&["list", "--config", "bytes.toml"]).assert_fails(2, "it is not UTF-8 text");
    fs::write(sandbox.path("large.toml"), "#".repeat((1 << 20) + 1)).unwrap();
    sandbox.run(&["list", "--config", "large.toml"]).assert_fails(2, "larger than 1 MiB");
    sandbox.run(&["config", "check", "absent.toml"]).assert_fails(2, "cannot read");
    sandbox.run(&["config", "path", "--config", "absent.toml"]).assert_fails(2, "cannot read");
    write(&sandbox, "bom.toml", "\u{feff}store = \"snapshots\"");
    assert!(sandbox.ok(&["list", "--config", "bom.toml"]).contains("1 snapshot"));
    let both = sandbox.run(&["list", "--config", "bom.toml", "--no-config"]);
    both.assert_fails(2, "cannot be used with");
}

#[test]
fn a_file_that_is_there_is_never_skipped_and_a_pipe_is_not_waited_for() {
    let (sandbox, _) = Sandbox::with_snapshots(1);
    std::os::unix::fs::symlink("/absent/file.toml", sandbox.path(FILE)).unwrap();
    sandbox.run(&["list"]).assert_fails(2, "ruvector-snapshot.toml cannot be used: it is a link");
    sandbox.ok(&["list", "--no-config"]);
    fs::remove_file(sandbox.path(FILE)).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(sandbox.path(FILE)).status().unwrap().success());
    sandbox.run(&["list"]).assert_fails(2, "it is no regular file");
    write(&sandbox, "b.toml", &format!("[databases.a]\npath = \"{FILE}\"\n"));
    sandbox.run(&["config", "check", "b.toml"]).assert_fails(2, "is no regular file");
    assert_eq!(sandbox.run(&["config", "path", "--no-config"]).exit_code, Some(4));
}

#[test]
fn relative_paths_are_those_of_the_file_and_not_of_the_working_directory() {
    let sandbox = Sandbox::with_rows(20);
    write(
        &sandbox,
        "etc/conf.toml",
        "store = \"../kept\"\n[databases.a]\npath = \"../a.db\"\n[stores.h]\nlocation = \"~/h\"\n",
    );
    sandbox.ok(&["create", "--db", "@a", "--config", "etc/conf.toml"]);
    assert_eq!(sandbox.names("kept").len(), 1);
    let elsewhere = sandbox.path("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let mut command = sandbox.command(&["list", "--config", "../etc/conf.toml"]);
    let result = RunResult::from(command.current_dir(&elsewhere).output().unwrap());
    assert!(result.stdout.contains("1 snapshot, "), "{result:?}");
    let home = sandbox.path("home").display().to_string();
    let args = ["config", "show", "--json", "--store", "@h", "--config", "etc/conf.toml"];
    let (_, document) = run(&sandbox, &[("HOME", &home)], &args).into_json();
    assert_eq!(document["store"], format!("{home}/h"));
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
}

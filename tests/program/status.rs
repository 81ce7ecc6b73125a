//! `status`: what a probe and a monitoring system get to know.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use ruvector_snapshot::{CreateOptions, SnapshotConfig, SnapshotManager};
use serde_json::json;
use test_fixtures::TickingClock;

use super::sandbox::{DIMENSIONS, Sandbox, create_database};

#[test]
fn a_fresh_store_is_0_and_says_how_old_what_is_there_is() {
    let (sandbox, _) = Sandbox::with_snapshots(2);
    let text = sandbox.ok(&["status"]);
    assert!(text.contains("  fresh  just now  never     never"), "{text}");
    assert!(text.ends_with("1 database, fresh\n"), "{text}");
    let quiet = sandbox.run(&["status", "-q"]);
    assert_eq!((quiet.exit_code, &*quiet.stdout, &*quiet.stderr), (Some(0), "", ""));
    let (exit_code, document) = sandbox.json(&["status"]);
    assert_eq!((exit_code, &document["fresh"], &document["stale"]), (0, &json!(true), &json!([])), "{document}");
    let newest = &document["databases"][0]["newest"];
    assert_eq!((&newest["records"], &newest["chain_length"]), (&json!(300), &json!(1)), "{document}");
}

#[test]
fn what_is_stale_is_4_and_is_said_also_with_quiet() {
    let sandbox = Sandbox::empty();
    fs::create_dir(sandbox.path("snapshots")).unwrap();
    for quiet in [&[][..], &["-q"]] {
        let run = sandbox.run(&[&["status"], quiet].concat());
        assert_eq!(run.exit_code, Some(4), "{run:?}");
        assert!(run.stdout.contains("STALE  ") && run.stdout.contains("the store has no snapshots"), "{run:?}");
    }
    let (sandbox, ids) = Sandbox::with_snapshots(1);
    let verified = ["status", "--max-verify-age", "7d", "-q"];
    let run = sandbox.run(&verified);
    assert_eq!(run.exit_code, Some(4), "{run:?}");
    assert!(
        run.stdout.contains("no snapshot was verified within 7d: none ever was, or not since its files were written"),
        "{run:?}"
    );
    sandbox.ok(&["verify", "--all"]);
    assert_eq!(sandbox.run(&verified).exit_code, Some(0));
    // A host has several databases.
    let (_, document) = sandbox.json(&["status"]);
    let source = document["databases"][0]["source"].as_str().unwrap().to_owned();
    sandbox.ok(&["status", "--source", &source]);
    let host = source.split(':').next().unwrap();
    assert_eq!(sandbox.run(&["status", "--source", host]).exit_code, Some(4));
    let missing = sandbox.run(&["status", "--source", "users"]);
    assert_eq!(missing.exit_code, Some(4), "{missing:?}");
    assert!(missing.stdout.contains("STALE  users: there is no snapshot that can be restored"), "{missing:?}");
    assert!(missing.stderr.contains(&format!("hint: the store also has snapshots of {source}")), "{missing:?}");
    fs::remove_file(sandbox.stored(&ids[0], "vectors.bin.gz")).unwrap();
    let (exit_code, document) = sandbox.json(&["status"]);
    assert_eq!((exit_code, &document["databases"][0]["stale"][0]["kind"]), (4, &json!("no_snapshot")), "{document}");
    assert_eq!(document["databases"][0]["stale"][1]["kind"], json!("problem"), "{document}");
}

#[test]
fn the_databases_of_jobs_must_be_there_and_may_be_as_old_as_their_jobs_say() {
    let sandbox = Sandbox::with_rows(5);
    let config = SnapshotConfig { snapshot_dir: sandbox.path("snapshots"), ..SnapshotConfig::default() };
    let manager = SnapshotManager::new(config).unwrap().with_clock(TickingClock::seconds_from_year(2020));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (path, options) = (sandbox.path("a.db"), CreateOptions::default());
    runtime.block_on(manager.create_snapshot_of_file(path, "a", &options)).unwrap();
    assert_eq!(sandbox.run(&["status"]).exit_code, Some(4));
    let file = |databases: &str, store: &str| {
        let tables = "store = \"snapshots\"\n[databases.a]\npath = \"a.db\"\n[databases.b]\npath = \"b.db\"\nsource = \"users\"\n";
        let job = format!("[[jobs]]\nname = \"n\"\ndatabases = {databases}\nstore = \"{store}\"\nwhen = \"@daily\"\n");
        fs::write(sandbox.path("ruvector-snapshot.toml"), format!("{tables}{job}max_age = \"90y\"\n")).unwrap();
    };
    file("\"@a\"", "snapshots");
    sandbox.ok(&["status"]);
    sandbox.ok(&["status", "--source", "@a"]);
    let typed = sandbox.run(&["status", "--max-age", "26h"]);
    assert!(typed.exit_code == Some(4) && typed.stdout.contains("and it may be 26h old"), "{typed:?}");
    file("[\"@a\", \"@b\"]", "snapshots");
    let missing = sandbox.run(&["status"]);
    assert_eq!(missing.exit_code, Some(4), "{missing:?}");
    assert!(missing.stdout.contains("STALE  users: there is no snapshot that can be restored"), "{missing:?}");
    assert!(!missing.stdout.contains("a.db:"), "{missing:?}");
    sandbox.ok(&["status", "--source", "@a"]);
    assert!(sandbox.run(&["status", "--source", "@b"]).stdout.contains("STALE  users: "));
    file("[\"@a\", \"@b\"]", "other");
    let other = sandbox.run(&["status"]);
    assert!(other.stdout.contains("1 database, 1 stale"), "{other:?}");
    assert!(
        other.stderr.contains("warning: jobs also use the store ")
            && other.stderr.contains("/other, which was not checked"),
        "{other:?}"
    );
    file("\"@a\"", "snapshots\"\ncopies = [{ to = \"other\" }]\nmissed = \"skip");
    let warned = sandbox.run(&["--config", "ruvector-snapshot.toml", "status", "-q"]);
    warned.assert_warns("/other, which was not checked: `ruvector-snapshot --config ruvector-snapshot.toml --store ");
    // What it advises knows the jobs too.
    let advised = warned.stderr.split('`').nth(1).unwrap();
    let args: Vec<&str> = advised.split(' ').skip(1).collect();
    fs::create_dir(sandbox.path("other")).unwrap();
    let advised = sandbox.run(&args);
    assert!(advised.exit_code == Some(4) && advised.stdout.contains("a.db: there is no snapshot"), "{advised:?}");
    let (exit_code, document) = sandbox.json(&["status"]);
    assert_eq!((exit_code, document["warnings"].as_array().unwrap().len()), (5, 1), "{document}");
    let typed = sandbox.run(&["status", "--store", "snapshots"]);
    assert!(typed.exit_code == Some(0) && typed.stderr.contains("hint: jobs also use the store "), "{typed:?}");
    assert_eq!(sandbox.ok(&["status", "-q", "--store", "snapshots"]), "");
    sandbox.run(&["status", "--source", "@c"]).assert_fails(2, "there is no database \"c\" in ");
    for command in [&["status"][..], &["list"], &["prune", "--keep-last", "1"]] {
        sandbox.run(&[command, &["--source", ""]].concat()).assert_fails(2, "cannot be empty; leave the option out");
    }
}

#[test]
fn a_store_that_cannot_be_read_is_a_failure_and_not_stale() {
    let sandbox = Sandbox::empty();
    sandbox.run(&["status", "--store", "absent"]).assert_fails(1, "absent");
    sandbox.run(&["status", "--shrink-warn", "0%"]).assert_fails(2, "from 1% to 100%");
    sandbox.run(&["status", "--max-age", "0s"]).assert_fails(2, "--max-age");
}

#[test]
fn metrics_are_written_in_one_step_for_other_users() {
    let (sandbox, _) = Sandbox::with_snapshots(1);
    create_database(&sandbox.path("b.db"), 5, DIMENSIONS);
    sandbox.ok(&["create", "--db", "b.db", "--source", "a \"quoted\"\\name"]);
    fs::create_dir(sandbox.path("collector")).unwrap();
    let write = ["status", "--textfile", "collector/ruvector.prom"];
    sandbox.ok(&write);
    assert_eq!(sandbox.names("collector"), ["ruvector.prom"]);
    let path = sandbox.path("collector/ruvector.prom");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
    let text = fs::read_to_string(&path).unwrap();
    let source = r#"source="a \"quoted\"\\name""#;
    for (name, value) in [("newest_records", "5.0"), ("snapshots", "1.0"), ("verified_timestamp_seconds", "0.0")] {
        let line =
            text.lines().find(|line| line.starts_with(&format!("ruvector_snapshot_{name}{{")) && line.contains(source));
        assert!(line.is_some_and(|line| line.ends_with(&format!(" {value}"))), "{name}: {text}");
    }
    assert!(text.contains("ruvector_snapshot_status_success{store="), "{text}");
    assert!(text.lines().any(|line| line.starts_with("ruvector_snapshot_stale{") && line.ends_with(" 0.0")), "{text}");
    let reason =
        |line: &&str| line.starts_with("ruvector_snapshot_stale_reasons{") && line.contains("reason=\"too_old\"");
    assert_eq!(text.lines().filter(reason).count(), 2, "{text}");
    // A store that is gone must not leave the last numbers.
    fs::rename(sandbox.path("snapshots"), sandbox.path("away")).unwrap();
    sandbox.run(&write).assert_fails(1, "snapshots");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("ruvector_snapshot_status_success{store=") && text.contains("} 0.0\n"), "{text}");
    assert!(!text.contains("newest_timestamp_seconds"), "{text}");
}

#[test]
fn a_file_of_metrics_that_no_collector_would_read_is_refused() {
    let (sandbox, _) = Sandbox::with_snapshots(1);
    sandbox.run(&["status", "--textfile", "ruvector.txt"]).assert_fails(2, "must end with .prom");
    let absent = sandbox.run(&["status", "--textfile", "absent/ruvector.prom"]);
    absent.assert_fails(1, "cannot write the metrics to absent/ruvector.prom");
    let both = sandbox.run(&["status", "--store", "absent", "--textfile", "absent/ruvector.prom"]);
    both.assert_fails(1, "the file of metrics could not be written either");
    assert!(absent.stderr.contains("hint: check that its directory exists"), "{absent:?}");
    // What is in the directory of a store belongs to a snapshot.
    let inside = sandbox.run(&["status", "--textfile", "snapshots/ruvector.prom"]);
    inside.assert_fails(2, "the path is inside of the store");
    assert_eq!(sandbox.names("snapshots").len(), 1);
    sandbox.run(&["status", "--max-age", "0s"]).assert_fails(2, "\"0s\" is zero, and this must be longer");
}

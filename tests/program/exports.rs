//! `export`: files for other programs, from a disk and from a bucket, and what it prints if that is not possible.

use std::fs;
use std::process::{Command, Stdio};
use std::thread;

use serde_json::json;
use test_fixtures::{contents, flip_bit_in_the_middle, read_npy_export};
use test_servers::{Fault, Request, S3Server};

use super::bucket::{Bucket, ROWS};
use super::refused_sync::refusals;
use super::sandbox::{DIMENSIONS, RunResult, Sandbox, after, create_database, open_database};

fn assert_exports(sandbox: &Sandbox, run: &dyn Fn(&[&str]) -> RunResult) {
    let ok = |args: &[&str]| {
        let result = run(args);
        assert_eq!((result.exit_code, result.stderr.as_str()), (Some(0), ""), "{result:?}");
        result.stdout
    };
    ok(&["create", "--db", "a.db", "--name", "team/full"]);
    open_database(&sandbox.path("a.db"), DIMENSIONS).delete("id-000003").unwrap();
    ok(&["create", "--db", "a.db", "--name", "newest", "--base", "latest"]);
    let printed = ok(&["export", "latest", "--to", "all/"]);
    assert!(printed.starts_with("exported 299 of 299 records of ") && printed.contains(" to all/\n"), "{printed}");
    assert!(printed.contains("matrix.npy, ") && printed.contains("with the content checksum of the snapshot\n"));
    assert!(printed.lines().all(|line| line.chars().count() <= 80), "{printed}");
    let (found, shape) = read_npy_export(&sandbox.path("all"));
    assert!(found == contents(&open_database(&sandbox.path("a.db"), DIMENSIONS)));
    assert_eq!(shape, (299, DIMENSIONS));

    let args = ["export", "team/full", "--to", "part", "--format", "npy", "--where", "n<8", "--json"];
    let (exit_code, document) = run(&args).into_json();
    assert_eq!(exit_code, 0, "{document}");
    assert_eq!(read_npy_export(&sandbox.path("part")).0.into_keys().last().unwrap(), "id-000007");
    assert_eq!((&document["records"], &document["snapshot"]["records"]), (&json!(5), &json!(300)), "{document}");
    assert_eq!((&document["is_part"], &document["format"]), (&json!(true), &json!("npy")), "{document}");
    let bytes = 128 + 5 * DIMENSIONS * 4;
    assert_eq!(document["files"][0], json!({ "name": "matrix.npy", "bytes": bytes }), "{document}");
    assert_eq!((&document["to"], &document["warnings"]), (&json!("part"), &json!([])), "{document}");
    assert!(document["file_written_bytes"].as_u64().unwrap() > bytes as u64, "{document}");
    let printed = ok(&["export", "latest", "--to", "parquet", "--format", "parquet"]);
    assert!(printed.contains("  file          records.parquet, "), "{printed}");
    assert_eq!(sandbox.names("parquet"), ["records.parquet"]);
    let bytes = fs::read(sandbox.path("parquet/records.parquet")).unwrap();
    assert!(bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1"));
    assert!(run(&["export", "latest", "--to", "one", "--id", "id-000001"]).stdout.contains("1 of 299 records"));
}

#[test]
fn a_chain_and_a_part_are_exported_from_a_disk_and_from_a_bucket() {
    let disk = Sandbox::with_rows(ROWS);
    assert_exports(&disk, &|args| disk.run(args));
    let bucket = Bucket::s3(S3Server::start());
    assert_exports(&bucket.sandbox, &|args| bucket.run(args));
}

#[test]
fn mistakes_are_named_and_nothing_is_left() {
    let (sandbox, ids) = Sandbox::with_snapshots(2);
    fs::create_dir(sandbox.path("full")).unwrap();
    fs::write(sandbox.path("full/file"), "precious").unwrap();
    let before = sandbox.names(".");
    let inside = format!("snapshots/snapshot-{}/x", ids[0]);
    for (args, exit_code, text) in [
        (&["one", "--to", "full"][..], 1, "full: this exists and is not an empty directory; it was not changed"),
        (&["one", "--to", "a.db"], 1, "a.db: this exists and is not an empty directory"),
        (&["one", "--to", "absent/x"], 1, "hint: create the directory absent first\n"),
        (&["one", "--to", &inside], 1, "an export cannot be inside a snapshot"),
        (&["one"], 2, "--to <DIR>"),
        (&["one", "--to", "x", "--format", "csv"], 2, "possible values: npy, parquet"),
        (&["nothing", "--to", "x"], 4, "no snapshot has the id, id prefix or name"),
        (&["one", "--to", "x", "--id", "y"], 1, "the id \"y\" is not in snapshot"),
        (&["one", "--to", "x", "--id", "y"], 1, "hint: `find RECORD_ID` shows which snapshots have a record\n"),
        (&["one", "--to", "x", "--where", "n>4000"], 1, "; nothing was exported\n"),
    ] {
        sandbox.run(&[&["export"], args].concat()).assert_fails(exit_code, text);
        assert_eq!(sandbox.names("."), before, "{args:?}");
    }
    flip_bit_in_the_middle(&sandbox.stored(&ids[1], "vectors.bin.gz"));
    let args = ["export", "two", "--to", "x"];
    sandbox.run(&args).assert_fails(3, "hint: nothing was written to x; `verify` shows everything that is corrupt");
    let (exit_code, document) = sandbox.json(&args);
    assert_eq!((exit_code, &document["error"]["kind"]), (3, &json!("corrupt")), "{document}");
    assert_eq!((sandbox.names("."), sandbox.names("full")), (before, vec!["file".to_owned()]));
    assert_eq!(sandbox.names(&format!("snapshots/snapshot-{}", ids[0])).len(), 5);
}

#[test]
fn an_export_that_reaches_the_limit_of_file_sizes_leaves_no_trace() {
    let sandbox = Sandbox::empty();
    create_database(&sandbox.path("a.db"), 2000, 128);
    sandbox.create("one");
    // The first is found before the start, the second when it is reached: how many records are selected is not known.
    for selection in [&[][..], &["--where", "n>=0"], &["--format", "parquet", "--where", "n>=0"]] {
        let command = sandbox.command(&[&["export", "one", "--to", "x"], selection].concat());
        let result = RunResult::from(after("ulimit -f 64", &command).output().unwrap());
        for text in ["RLIMIT_FSIZE", "hint: raise the limit, for example with `ulimit -f unlimited`", "error: x"] {
            result.assert_fails(1, text);
        }
        assert_eq!(sandbox.names("."), ["a.db", "snapshots"]);
    }
}

/// Starts an export that waits for an answer of the server, and sends it a signal.
#[test]
fn an_interrupted_export_leaves_no_trace_and_the_next_one_removes_what_a_killed_one_left() {
    let bucket = Bucket::s3(S3Server::start());
    bucket.create("one");
    let reads_vectors: fn(&Request) -> bool = |request| request.is_get() && request.key().ends_with("vectors.bin.gz");
    let signalled = |signal: &str| {
        let wire = bucket.server.wire();
        wire.reset_log();
        wire.set(move |request, _| reads_vectors(request).then_some(Fault::Hang));
        let args = ["export", "one", "--to", "x", "-o", "stall_timeout=60s"];
        let child = bucket.command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        while !wire.requests().iter().any(reads_vectors) {
            thread::yield_now();
        }
        assert!(bucket.sandbox.names(".").iter().any(|name| name.starts_with(".x.exporting-")));
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        let result = RunResult::from(child.wait_with_output().unwrap()).without_secrets();
        wire.clear();
        result
    };
    let result = signalled("-INT");
    assert_eq!(result.exit_code, Some(130), "{result:?}");
    assert!(result.stderr.ends_with("interrupted: nothing was exported, and nothing was left behind\n"), "{result:?}");
    assert_eq!(bucket.sandbox.names("."), ["a.db"]);

    assert_eq!(signalled("-KILL").exit_code, None);
    let names = bucket.sandbox.names(".");
    let result = bucket.run(&["export", "one", "--to", "x"]);
    result.assert_warns(&format!("{} was removed: an export to this path that was killed had left it", names[0]));
    assert_eq!(bucket.sandbox.names("."), ["a.db", "x"]);
}

#[cfg(target_os = "linux")]
#[test]
fn an_export_works_where_directories_cannot_be_synced_and_says_what_is_there_if_that_fails() {
    let (sandbox, _) = Sandbox::with_snapshots(1);
    let run = |error: &str, to: &str| {
        let mut command = sandbox.command(&["export", "one", "--to", to]);
        RunResult::from(command.env("LD_PRELOAD", refusals()).env("REFUSE_DIRECTORY_SYNC", error).output().unwrap())
    };
    run("22", "x").assert_warns("x was created, but the file system does not sync directories");
    assert_eq!(read_npy_export(&sandbox.path("x")).1, (300, DIMENSIONS));
    run("5", "y").assert_fails(1, "cannot sync the directory of the export");
    assert_eq!(sandbox.names("."), ["a.db", "snapshots", "x"]);
}

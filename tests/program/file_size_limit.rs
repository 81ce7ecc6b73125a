//! The largest size of a file that a process may write, `ulimit -f`: an error like that of a full disk, and nothing is
//! left behind. SIGXFSZ, which would end the process at once, is not ignored from outside.

use std::fs;
use std::process::Command;

use serde_json::json;

use super::bucket::Bucket;
use super::sandbox::{RunResult, Sandbox, after, assert_holds, create_database, files_below};

/// Blocks of 512 or 1024 bytes. The largest is far less than what is written.
const LIMITS: [u32; 7] = [0, 1, 2, 8, 64, 256, 1024];
const ROWS: usize = 10_000;
const DIMENSIONS: usize = 128;

/// Runs a command that must reach the limit, and asserts that the error names it, what it is about, and what to do.
#[track_caller]
fn assert_reaches_limit(blocks: u32, command: &Command, key: &str) {
    let result = RunResult::from(after(&format!("ulimit -f {blocks}"), command).output().unwrap());
    assert_names_limit(&result, key);
    result.assert_fails(1, "hint: raise the limit, for example with `ulimit -f unlimited`");
}

#[track_caller]
fn assert_names_limit(result: &RunResult, key: &str) {
    for text in ["RLIMIT_FSIZE", "`ulimit -f unlimited`", key] {
        result.assert_fails(1, text);
    }
    assert!(!result.stderr.contains("free space"), "{result:?}");
}

/// Returns a sandbox with a full snapshot `full` of `a.db`, and an increment `step` that depends on it.
fn sandbox_with_a_chain() -> Sandbox {
    let sandbox = Sandbox::empty();
    create_database(&sandbox.path("a.db"), ROWS, DIMENSIONS);
    sandbox.create("full");
    sandbox.ok(&["create", "--db", "a.db", "--name", "step", "--base", "full"]);
    sandbox
}

#[test]
fn a_create_or_a_compact_that_reaches_the_limit_leaves_no_trace() {
    let sandbox = sandbox_with_a_chain();
    let before = files_below(&sandbox.path("snapshots"));
    for blocks in LIMITS {
        assert_reaches_limit(blocks, &sandbox.command(&["create", "--db", "a.db"]), "snapshot-");
        assert_reaches_limit(blocks, &sandbox.command(&["compact", "step"]), "snapshot-");
        assert!(files_below(&sandbox.path("snapshots")) == before, "{blocks}");
        assert_eq!(sandbox.names("snapshots").len(), 2, "{blocks}");
        assert_eq!(sandbox.names("."), ["a.db", "snapshots"]);
    }
    // What they write is small.
    for args in [&["create", "--db", "a.db", "--base", "step"][..], &["pin", "step"]] {
        assert_reaches_limit(0, &sandbox.command(args), "snapshot-");
        assert!(files_below(&sandbox.path("snapshots")) == before, "{args:?}");
        assert_eq!(sandbox.names("snapshots").len(), 2, "{args:?}");
    }
    let json = after("ulimit -f 64", &sandbox.command(&["--json", "create", "--db", "a.db"])).output().unwrap();
    let (exit_code, document) = RunResult::from(json).into_json();
    assert_eq!((exit_code, &document["error"]["kind"]), (1, &json!("storage_full")), "{document}");
    sandbox.ok(&["create", "--db", "a.db"]);
    sandbox.ok(&["verify", "--all"]);
}

/// A limit that is less than the least size of the restored file is found before the start, another one when it is
/// reached.
#[test]
fn a_restore_that_reaches_the_limit_leaves_no_trace() {
    let sandbox = sandbox_with_a_chain();
    let bucket = Bucket::s3(test_servers::S3Server::start());
    create_database(&bucket.sandbox.path("big.db"), ROWS, DIMENSIONS);
    bucket.ok(&["create", "--db", "big.db", "--name", "step"]);
    for (sandbox, is_bucket) in [(&sandbox, false), (&bucket.sandbox, true)] {
        let command = |args: &[&str]| if is_bucket { bucket.command(args) } else { sandbox.command(args) };
        let result = RunResult::from(command(&["restore", "step", "--to", "b.db"]).output().unwrap());
        assert_eq!(result.exit_code, Some(0), "{result:?}");
        assert_holds(&sandbox.path("b.db"), ROWS, DIMENSIONS);
        let size = fs::metadata(sandbox.path("b.db")).unwrap().len();
        fs::remove_file(sandbox.path("b.db")).unwrap();
        let before = sandbox.names(".");
        for bytes in [0, 1, 4096, 1 << 20, size - 4096, size - 1] {
            let limited = |args: &[&str]| {
                let limited = after(&format!("prlimit --pid $$ --fsize={bytes}"), &command(args));
                RunResult::from({ limited }.env("PATH", std::env::var_os("PATH").unwrap()).output().unwrap())
            };
            assert_names_limit(&limited(&["restore", "step", "--to", "b.db"]), "b.db");
            assert_eq!(sandbox.names("."), before, "{bytes}");
            fs::write(sandbox.path("b.db"), "precious").unwrap();
            assert_names_limit(&limited(&["restore", "step", "--to", "b.db", "--force"]), "b.db");
            assert_eq!(fs::read_to_string(sandbox.path("b.db")).unwrap(), "precious");
            fs::remove_file(sandbox.path("b.db")).unwrap();
            assert_eq!(sandbox.names("."), before, "{bytes}");
        }
    }
}

#[test]
fn an_output_that_reaches_the_limit_is_an_error() {
    let sandbox = sandbox_with_a_chain();
    let mut command = after("exec >out && ulimit -f 0", &sandbox.command(&["list"]));
    RunResult::from(command.output().unwrap()).assert_fails(1, "standard output could not be written");
}

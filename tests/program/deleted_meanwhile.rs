//! A chain is deleted while a command reads it: the increment has been read, and its base has not. The rules for readers are
//! in section 7 of docs/CONCURRENCY.md.

use std::process::Stdio;
use std::sync::mpsc;

use serde_json::json;
use test_servers::{Fault, Gate, S3Server};

use super::bucket::Bucket;
use super::sandbox::{RunResult, Sandbox};

/// Runs the program, and deletes the base of the increment `inc` with its dependents after it was read.
#[track_caller]
fn run_during_deletion(bucket: &Bucket, args: &[&str], base: &str, inc: &str) -> RunResult {
    let (sender, is_read) = mpsc::channel();
    let gate = Gate::closed();
    let (held, key) = (gate.clone(), format!("snapshot-{inc}/metadata.json"));
    let mut is_first = true;
    bucket.server.wire().set(move |request, _| {
        let is_it = is_first && request.is_get() && request.key().ends_with(&key);
        is_first &= !is_it;
        is_it.then(|| {
            let _received = sender.send(());
            Fault::Hold(held.clone())
        })
    });
    // With one connection the base is read after the increment.
    let args = [args, &["--connections", "1"]].concat();
    let child = bucket.command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    is_read.recv().unwrap();
    bucket.ok(&["delete", base, "--cascade"]);
    gate.open();
    let result = RunResult::from(child.wait_with_output().unwrap());
    bucket.server.wire().clear();
    result
}

fn create(bucket: &Bucket, more: &[&str]) -> String {
    let (exit_code, document) = bucket.json(&[&["create", "--db", "a.db"], more].concat());
    assert_eq!(exit_code, 0, "{document}");
    document["snapshot"]["id"].as_str().unwrap().to_owned()
}

#[test]
fn a_chain_that_is_deleted_while_a_command_reads_it_is_not_missing_and_not_corrupt() {
    let bucket = Bucket::s3(S3Server::start());
    let kept = bucket.create("kept");
    for command in ["list", "verify --all", "show", "verify", "restore", "compact", "create"] {
        let base = create(&bucket, &["--name", "base"]);
        let inc = create(&bucket, &["--name", "inc", "--base", &base]);
        let args: Vec<&str> = match command {
            "create" => vec!["create", "--db", "a.db", "--base", &inc],
            "restore" => vec!["restore", &inc, "--to", "restored.db"],
            "show" | "verify" | "compact" => vec![command, &inc],
            _ => command.split(' ').collect(),
        };
        let result = run_during_deletion(&bucket, &args, &base, &inc);
        if ["list", "verify --all"].contains(&command) {
            assert_eq!(result.exit_code, Some(0), "{command}: {result:?}");
            let says_damage = ["MISSING", "CORRUPT", &inc, &base].iter().any(|text| result.stdout.contains(text));
            assert!(!says_damage && result.stdout.contains(&kept), "{command}: {result:?}");
        } else {
            result.assert_fails(1, &inc);
            assert!(result.stderr.contains("was deleted meanwhile"), "{command}: {result:?}");
        }
        assert_eq!(bucket.ids(), [&*kept], "{command}");
    }
    assert!(!bucket.sandbox.path("restored.db").exists());
}

/// The same, but nothing was deleted: the base is lost.
#[test]
fn a_base_that_is_lost_is_still_missing() {
    let sandbox = Sandbox::with_rows(10);
    let base = sandbox.create("base");
    sandbox.ok(&["create", "--db", "a.db", "--name", "inc", "--base", "base"]);
    let inc = sandbox.ids().remove(0);
    std::fs::remove_dir_all(sandbox.stored(&base, "")).unwrap();
    // As an interrupted deletion leaves it.
    std::fs::write(sandbox.stored(&inc, "deleting-0123456789abcdef"), "").unwrap();
    let result = sandbox.run(&["list"]);
    assert_eq!(result.exit_code, Some(3), "{result:?}");
    assert!(result.stdout.contains(&format!("{base}  MISSING")), "{result:?}");
    for args in [&["show", &inc][..], &["verify", &inc], &["verify", "--all"]] {
        assert_eq!(sandbox.run(args).exit_code, Some(3), "{args:?}");
    }
    for args in
        [&["restore", &inc, "--to", "b.db"][..], &["compact", &inc], &["create", "--db", "a.db", "--base", &inc]]
    {
        sandbox.run(args).assert_fails(3, &base);
    }
    let (_, document) = sandbox.json(&["list"]);
    assert_eq!(document["snapshots"][0]["chain_state"], json!("broken"));
}

//! `verify` in depths, and the ledger in `list`, `show` and `prune`.

use serde_json::{Value, json};
use test_servers::{Fault, GcsServer, S3Server};

use super::bucket::{Bucket, ROWS};
use super::sandbox::{RunResult, Sandbox};

/// Runs the program, asserts that it succeeds without a word on standard error, and returns its output.
#[track_caller]
fn ok(run: &dyn Fn(&[&str]) -> RunResult, args: &[&str]) -> String {
    let result = run(args);
    assert_eq!((result.exit_code, result.stderr.as_str()), (Some(0), ""), "{args:?}: {result:?}");
    result.stdout
}

#[track_caller]
fn json_of(run: &dyn Fn(&[&str]) -> RunResult, args: &[&str]) -> Value {
    let (exit_code, document) = run(&[args, &["--json"]].concat()).into_json();
    assert_eq!(exit_code, 0, "{document}");
    document
}

fn assert_depths(run: &dyn Fn(&[&str]) -> RunResult) {
    ok(run, &["create", "--db", "a.db", "--name", "team/nightly"]);
    ok(run, &["create", "--db", "a.db", "--name", "next", "--base", "latest"]);
    let list = ok(run, &["list"]);
    assert_eq!(list.lines().filter(|line| line.contains("  never  ")).count(), 2, "{list}");

    // Quick.
    let quick = ok(run, &["verify", "latest", "--quick"]);
    assert!(quick.contains("  quick: intact metadata and sizes, no data read, with 1 snapshot that it"), "{quick}");
    let list = ok(run, &["list"]);
    assert!(list.contains("  quick just now  "), "{list}");
    let all = ok(run, &["verify", "--all", "--quick"]);
    assert!(all.ends_with("2 snapshots with intact metadata and sizes (quick, no data read)\n"), "{all}");
    assert!(all.lines().all(|line| !line.contains("intact") || line.contains("quick")), "{all}");

    // Subsets.
    let part = ok(run, &["verify", "team/nightly", "--subset", "2/7"]);
    assert!(part.contains("  intact in subset 2/7: ") && part.contains(" of "), "{part}");
    let sample = ok(run, &["verify", "--all", "--subset", "10%"]);
    assert!(sample.ends_with("2 snapshots intact in a sample of 10 %; the rest was not read\n"), "{sample}");
    let document = json_of(run, &["verify", "latest", "--subset", "7/7", "--no-record"]);
    assert_eq!((&document["depth"], &document["state"]), (&json!("7of7"), &json!("intact")));
    let one = &document["snapshots"][0];
    assert!(one["store_read_bytes"].as_u64().unwrap() <= one["chain_stored_bytes"].as_u64().unwrap(), "{one}");

    // All, and what is skipped after that.
    assert!(ok(run, &["verify", "--all"]).ends_with("2 snapshots intact\n"));
    let list = ok(run, &["list"]);
    assert_eq!(list.lines().filter(|line| line.contains("  just now  ")).count(), 2, "{list}");
    let skipped = ok(run, &["verify", "--all", "--max-age", "7d"]);
    assert_eq!(skipped.matches("  skipped: nothing was read; found intact ").count(), 2, "{skipped}");
    assert!(
        skipped.ends_with("0 snapshots intact, 2 skipped (verified within --max-age, nothing read)\n"),
        "{skipped}"
    );
    let document = json_of(run, &["verify", "--all", "--max-age", "7d"]);
    assert_eq!((&document["state"], &document["skipped"]), (&Value::Null, &json!(2)));
    assert!(document["snapshots"].as_array().unwrap().iter().all(|one| one["skipped"] == true));
    assert!(ok(run, &["verify", "latest", "--max-age", "1y2mo"]).contains("  skipped: nothing was read; "));

    // What the ledger has.
    let show = ok(run, &["show", "latest"]);
    for text in [
        "verified",
        "just now, ",
        "every byte intact, ",
        "quick intact, ",
        "sample of 10 % intact, ",
        "ruvector-snapshot ",
    ] {
        assert!(show.contains(text), "{text}: {show}");
    }
    let document = json_of(run, &["show", "latest"]);
    let entries = document["snapshots"][0]["ledger"]["entries"].as_array().unwrap();
    assert_eq!(entries.len(), 4, "{entries:?}");
    assert!(entries.iter().any(|entry| entry["depth"] == "full" && entry["state"] == "intact"));
    let listed = json_of(run, &["list"]);
    assert!(listed["snapshots"][0]["checks"]["verified_at"].is_string(), "{listed}");
    assert_eq!(listed["foreign"], json!(0));

    // A second full verification makes the first unneeded, and prune says so.
    ok(run, &["verify", "--all"]);
    let prune = ok(run, &["prune", "--keep-last", "9", "--grace", "0s", "--dry-run"]);
    assert!(prune.contains("ledger entry that is not needed"), "{prune}");
    ok(run, &["prune", "--keep-last", "9", "--grace", "0s"]);
    // A bucket dates objects to the second, and what was written in this second is not older than the grace period.
    let left = json_of(run, &["show", "latest"])["snapshots"][0]["ledger"]["entries"].as_array().unwrap().len();
    assert!((3..=5).contains(&left), "{left}");
}

#[test]
fn verifications_in_depths_are_recorded_on_a_disk() {
    let sandbox = Sandbox::with_rows(ROWS);
    assert_depths(&|args| sandbox.run(args));
}

#[test]
fn verifications_in_depths_are_recorded_in_a_bucket() {
    for bucket in [Bucket::s3(S3Server::start()), Bucket::gcs(GcsServer::start())] {
        assert_depths(&|args| bucket.run(args));
    }
}

#[test]
fn corruption_is_listed_until_everything_is_intact_again() {
    let (sandbox, ids) = Sandbox::with_snapshots(2);
    let path = sandbox.stored(&ids[0], "vectors.bin.gz");
    let intact = std::fs::read(&path).unwrap();
    let mut bytes = intact.clone();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    // What a quick verification does not read it does not find, and it does not say that it is intact.
    let quick = sandbox.ok(&["verify", "one", "--quick"]);
    assert!(quick.contains("no data read"), "{quick}");
    let result = sandbox.run(&["verify", "one"]);
    assert_eq!(result.exit_code, Some(3), "{result:?}");
    let list = sandbox.run(&["list"]);
    let line = format!("{}  CORRUPT  found at ", ids[0]);
    assert!(list.stdout.lines().any(|printed| printed.starts_with(&line)), "{list:?}");
    assert_eq!(list.exit_code, Some(3), "{list:?}");
    let show = sandbox.run(&["show", "one"]);
    assert!(show.stdout.contains("every byte CORRUPT") && show.exit_code == Some(3), "{show:?}");
    sandbox.ok(&["show", "two"]);
    assert_eq!(sandbox.run(&["verify", "one", "--max-age", "1y"]).exit_code, Some(3));
    std::fs::write(&path, intact).unwrap();
    assert!(sandbox.run(&["list"]).stdout.contains("CORRUPT"));
    assert!(sandbox.ok(&["verify", "one"]).contains("  intact: "));
    assert!(!sandbox.ok(&["list"]).contains("CORRUPT"));
}

#[test]
fn a_verification_of_a_part_warns_of_what_was_found_corrupt_and_was_not_read_since() {
    let (sandbox, ids) = Sandbox::with_snapshots(2);
    sandbox.ok(&["create", "--db", "a.db", "--name", "next", "--base", "one"]);
    let path = sandbox.stored(&ids[0], "vectors.bin.gz");
    let intact = std::fs::read(&path).unwrap();
    std::fs::write(&path, "corrupt").unwrap();
    assert_eq!(sandbox.run(&["verify", "one"]).exit_code, Some(3));
    std::fs::write(&path, intact).unwrap();
    let warning = format!("warning: snapshot {} was found corrupt at ", ids[0]);
    let subset = |number: u8| format!("{number}/2");
    for args in [
        &["--all", "--quick", "-q"][..],
        &["--all", "--subset", "10%"],
        &["one", "--quick"],
        &["next", "--subset", "2/2", "--no-record"],
        &["one", "next", "--quick", "-q"],
    ] {
        let result = sandbox.run(&[&["verify"], args].concat());
        result.assert_warns("was found corrupt at");
        assert_eq!(result.stderr.matches(&warning).count(), 1, "{args:?}: {result:?}");
        assert!(result.stderr.contains("only a full one shows whether it still is"), "{args:?}: {result:?}");
        assert_eq!(sandbox.run(&[&["verify"], args, &["--strict"]].concat()).exit_code, Some(1), "{args:?}");
    }
    let (exit_code, document) = sandbox.json(&["verify", "--all", "--quick"]);
    assert_eq!((exit_code, document["warnings"].as_array().unwrap().len()), (5, 1), "{document}");
    // What was not found corrupt is not warned of.
    sandbox.ok(&["verify", "two", "--quick"]);
    // All parts together are all of it.
    sandbox.run(&["verify", "--all", "--subset", &subset(1)]).assert_warns("was found corrupt at");
    sandbox.ok(&["verify", "--all", "--subset", &subset(2)]);
    sandbox.ok(&["verify", "--all", "--quick"]);
}

#[test]
fn a_list_says_that_files_were_written_since_the_verification_and_that_a_chain_is_broken() {
    let (sandbox, ids) = Sandbox::with_snapshots(1);
    sandbox.ok(&["create", "--db", "a.db", "--name", "next", "--base", "one"]);
    sandbox.ok(&["verify", "--all"]);
    sandbox.ok(&["drill", "one", "--min-recall", "0"]);
    let rows = |text: &str| sandbox.run(&["list"]).stdout.lines().filter(|line| line.contains(text)).count();
    assert_eq!((rows("  just now  "), rows("  outdated  "), rows("  BROKEN  ")), (2, 0, 0));
    // As a copy by another program writes it.
    let path = sandbox.stored(&ids[0], "vectors.bin.gz");
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    let later = file.metadata().unwrap().modified().unwrap() + std::time::Duration::from_secs(60);
    file.set_modified(later).unwrap();
    assert_eq!((rows("  just now  "), rows("  outdated  ")), (0, 2));
    let shown = sandbox.ok(&["show", "one"]);
    assert!(shown.contains("verified      outdated: not since files were written"), "{shown}");
    assert!(shown.contains("drilled       outdated: not since files were written"), "{shown}");
    assert!(shown.contains(", does not count: files were written after it"), "{shown}");
    std::fs::remove_file(path).unwrap();
    assert_eq!(rows("  BROKEN  "), 1);
    assert!(sandbox.run(&["list"]).stdout.contains("; 1 of them may not be restorable; 1 more cannot be used ("));
    assert_eq!(sandbox.run(&["list"]).exit_code, Some(3));
}

#[test]
fn subsets_that_do_not_exist_are_wrong_usage() {
    let (sandbox, _) = Sandbox::with_snapshots(1);
    for (subset, why) in [
        ("0/7", "the number of the subset is from 1 to 7"),
        ("8/7", "the number of the subset is from 1 to 7"),
        ("1/0", "the number of subsets is from 1 to 1000"),
        ("1/1001", "the number of subsets is from 1 to 1000"),
        ("0%", "is not from 1 % to 100 %"),
        ("101%", "is not from 1 % to 100 %"),
        ("a tenth", "give a part, for example 2/7, or a whole percentage, for example 10%"),
        ("2.5%", "give a part, for example 2/7"),
    ] {
        sandbox.run(&["verify", "latest", "--subset", subset]).assert_fails(2, why);
    }
    sandbox.run(&["verify", "latest", "--max-age", "soon"]).assert_fails(2, "is not a length of time");
    sandbox.run(&["verify", "latest", "--quick", "--subset", "1/2"]).assert_fails(2, "cannot be used with");
}

#[test]
fn without_the_permission_to_write_the_result_stands_with_a_warning() {
    let bucket = Bucket::s3(S3Server::start());
    bucket.create("full");
    bucket.server.wire().set(|request, _| {
        let (code, message) = ("AccessDenied", "Access Denied");
        request.is_put().then_some(Fault::Error { status: 403, code, message })
    });
    let result = bucket.run(&["verify", "latest"]);
    result.assert_warns("the verification of snapshot ");
    assert!(result.stdout.contains("  intact: "), "{result:?}");
    assert!(result.stderr.contains("was not recorded") && result.stderr.contains("the result stands"), "{result:?}");
    let (exit_code, document) = bucket.run(&["verify", "--all", "--json"]).into_json();
    assert_eq!((exit_code, document["warnings"].as_array().unwrap().len()), (5, 1), "{document}");
    let result = bucket.run(&["verify", "latest", "--no-record"]);
    assert_eq!((result.exit_code, result.stderr.as_str()), (Some(0), ""), "{result:?}");
    assert!(bucket.server.keys().iter().all(|key| !key.contains("checked-")));
}

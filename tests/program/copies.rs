//! `copy`: to a directory and to buckets and back, what it prints, and how it ends.

use std::fs;

use serde_json::Value;
use test_fixtures::flip_bit_in_the_middle;
use test_servers::{GcsServer, S3Server};

use super::bucket::{Bucket, Server};
use super::sandbox::{DIMENSIONS, Sandbox, assert_holds, files_below, ids_of};

/// Returns the files below a directory by their paths in it.
fn below(sandbox: &Sandbox, directory: &str) -> Vec<(String, Vec<u8>)> {
    let root = sandbox.path(directory);
    let files = files_below(&root).into_iter();
    files.map(|(path, bytes)| (path.strip_prefix(&root).unwrap().display().to_string(), bytes)).collect()
}

/// Returns a sandbox with a chain of two snapshots, and a full one with another name.
fn chain_and_full() -> (Sandbox, Vec<String>) {
    let sandbox = Sandbox::with_rows(300);
    let first = sandbox.create("nightly");
    let (exit_code, document) =
        sandbox.json(&["create", "--db", "a.db", "--name", "nightly", "--base", &first, "--label", "x=1"]);
    assert_eq!(exit_code, 0, "{document}");
    let second = document["snapshot"]["id"].as_str().unwrap().to_owned();
    let third = sandbox.create("team/weekly");
    (sandbox, vec![first, second, third])
}

fn outcomes(document: &Value) -> Vec<&str> {
    let snapshots = document["snapshots"].as_array().unwrap();
    snapshots.iter().map(|snapshot| snapshot["outcome"].as_str().unwrap()).collect()
}

/// An empty directory would look like a store without snapshots, and hide that its path was mistyped.
#[test]
fn a_command_that_fails_leaves_no_new_directory() {
    let (sandbox, ids) = chain_and_full();
    for file in ["vectors.bin.gz", "index.bin.gz", "metadata.bin.gz"] {
        flip_bit_in_the_middle(&sandbox.stored(&ids[2], file));
    }
    fs::write(sandbox.path("x.snapshot.gz"), "no file of the published crate").unwrap();
    for (args, exit_code) in [
        (&["copy", "nope", "--to", "new"][..], 4),
        (&["copy", "--name", "nope", "--to", "new"], 4),
        (&["copy", &ids[2], "--to", "new"], 3),
        (&["import", "x.snapshot.gz", "--unverified", "--store", "new"], 1),
        (&["create", "--db", "x.snapshot.gz", "--store", "new"], 1),
    ] {
        let result = sandbox.run(args);
        assert_eq!(result.exit_code, Some(exit_code), "{args:?}: {result:?}");
        assert!(!result.stdout.contains("repeat the command"), "{result:?}");
        assert!(!sandbox.path("new").exists() || !sandbox.names("new").is_empty(), "{args:?}: {result:?}");
    }
    // A directory that was there stays.
    fs::create_dir(sandbox.path("new")).unwrap();
    assert_eq!(sandbox.run(&["copy", "--name", "nope", "--to", "new"]).exit_code, Some(4));
    assert!(sandbox.path("new").exists());
}

#[test]
fn all_snapshots_are_copied_to_a_new_directory_and_once_only() {
    let (sandbox, ids) = chain_and_full();
    let plan = sandbox.ok(&["copy", "--all", "--to", "offsite", "--dry-run"]);
    assert!(plan.contains("would copy 3 snapshots") && plan.contains(&ids[0]), "{plan}");
    let new = "NEW: there were no snapshots at offsite before";
    assert!(plan.contains(new), "{plan}");
    assert!(plan.lines().all(|line| line.chars().count() <= 80), "{plan}");
    assert!(!sandbox.path("offsite").exists());

    let printed = sandbox.ok(&["copy", "--all", "--to", "offsite"]);
    assert!(printed.contains(&format!("copied  {}  nightly", ids[1])), "{printed}");
    assert!(printed.contains("3 snapshots copied, 0 there already") && printed.contains(new), "{printed}");
    assert!(printed.lines().all(|line| line.chars().count() <= 80), "{printed}");
    assert!(below(&sandbox, "offsite") == below(&sandbox, "snapshots"));
    assert!(sandbox.ok(&["verify", "--all", "--store", "offsite"]).contains("intact"));
    sandbox.ok(&["restore", &ids[1], "--to", "restored.db", "--store", "offsite"]);
    assert_holds(&sandbox.path("restored.db"), 300, DIMENSIONS);

    let (exit_code, document) = sandbox.json(&["copy", "--all", "--to", "offsite"]);
    assert_eq!((exit_code, outcomes(&document)), (0, vec!["existing"; 3]));
    assert_eq!((&document["store_written_bytes"], &document["target_is_new"]), (&0.into(), &false.into()));
    let plan = sandbox.ok(&["copy", "--all", "--to", "offsite", "--dry-run"]);
    assert!(plan.contains("would copy 0 snapshots, 0 B; 3 snapshots there already"), "{plan}");
}

#[test]
fn snapshots_are_chosen_by_id_by_name_and_by_latest() {
    let (sandbox, ids) = chain_and_full();
    for (to, args, expected) in [
        ("by-id", vec![ids[1].as_str()], vec![&ids[1], &ids[0]]),
        ("by-name", vec!["--name", "team/weekly"], vec![&ids[2]]),
        ("by-latest", vec!["latest", &ids[0]], vec![&ids[2], &ids[0]]),
    ] {
        sandbox.ok(&[&["copy", "--to", to], args.as_slice()].concat());
        let (_, document) = sandbox.json(&["list", "--store", to]);
        assert_eq!(ids_of(&document).iter().collect::<Vec<_>>(), expected, "{to}");
    }
}

/// The copy is in the target, and its own ledger says that it is worth nothing.
#[test]
fn a_copy_that_was_found_corrupt_in_the_target_is_an_error() {
    let sandbox = Sandbox::with_rows(300);
    let id = sandbox.create("one");
    let copy = ["copy", "--all", "--to", "offsite"];
    sandbox.ok(&copy);
    flip_bit_in_the_middle(&sandbox.path(&format!("offsite/snapshot-{id}/vectors.bin.gz")));
    // It is not known yet.
    sandbox.ok(&copy);
    assert_eq!(sandbox.run(&["verify", "one", "--store", "offsite"]).exit_code, Some(3));
    for dry in [&["--dry-run"][..], &[]] {
        let result = sandbox.run(&[&copy[..], dry].concat());
        result.assert_fails(3, &format!("offsite has this snapshot, as {id}, but it was found corrupt there at "));
        result.assert_fails(3, "delete it there with these dependents, and repeat the copy");
    }
    let diff = ["diff", "one", "one", "--to", "offsite"];
    sandbox.run(&diff).assert_warns(&format!("snapshot {id} was found corrupt at "));
    sandbox.ok_with_warning(&["delete", "one", "--store", "offsite"], "NO SNAPSHOT");
    sandbox.ok(&copy);
    sandbox.ok(&["verify", "one", "--store", "offsite"]);
    sandbox.ok(&diff);
}

#[test]
fn a_copy_says_that_pins_stay_behind() {
    let (sandbox, ids) = chain_and_full();
    sandbox.ok(&["pin", &ids[0], &ids[1]]);
    let tip = "tip: 2 snapshots pinned here and not in the target; --pins pins there too\n";
    let copy = ["copy", "--all", "--to", "offsite"];
    for more in [&["--dry-run"][..], &[], &[]] {
        let result = sandbox.run(&[&copy[..], more].concat());
        assert!(result.exit_code == Some(0) && result.stderr.ends_with(tip), "{result:?}");
    }
    for more in ["--quiet", "--pins"] {
        let result = sandbox.run(&[&copy[..], &[more]].concat());
        assert!(result.exit_code == Some(0) && !result.stderr.contains("tip"), "{result:?}");
    }
    assert!(!sandbox.run(&copy).stderr.contains("tip"));
}

#[test]
fn a_base_that_is_missing_can_be_copied_back() {
    let (sandbox, ids) = chain_and_full();
    sandbox.ok(&["copy", "--all", "--to", "offsite"]);
    fs::remove_dir_all(sandbox.path(&format!("snapshots/snapshot-{}", ids[0]))).unwrap();
    let advice = format!("if another store has it, `copy {} --store OTHER --to ", ids[0]);
    sandbox.run(&["restore", &ids[1], "--to", "b.db"]).assert_fails(3, &advice);
    sandbox.run(&["copy", &ids[1], "--to", "other"]).assert_fails(3, &advice);
    sandbox.ok(&["copy", &ids[0], "--store", "offsite", "--to", "snapshots"]);
    sandbox.ok(&["restore", &ids[1], "--to", "b.db"]);
    sandbox.run(&["copy", "--name", "nigthly", "--to", "other"]).assert_fails(4, "did you mean \"nightly\"? `list`");
}

/// The target has the state twice, and one of the two is corrupt.
#[test]
fn a_compacted_copy_that_is_intact_is_enough() {
    let (sandbox, ids) = chain_and_full();
    let copy = ["copy", ids[1].as_str(), "--compact", "--to", "offsite"];
    sandbox.ok(&copy);
    let (_, compacted) = sandbox.json(&["compact", &ids[1]]);
    let id = compacted["snapshots"][0]["id"].as_str().unwrap();
    sandbox.ok(&["copy", id, "--to", "offsite"]);
    let twice = ids_of(&sandbox.json(&["list", "--store", "offsite"]).1);
    assert_eq!(twice.len(), 2);
    for (corrupt, exit_code) in twice.iter().zip([0, 3]) {
        flip_bit_in_the_middle(&sandbox.path(&format!("offsite/snapshot-{corrupt}/vectors.bin.gz")));
        assert_eq!(sandbox.run(&["verify", corrupt, "--store", "offsite"]).exit_code, Some(3));
        let result = sandbox.run(&copy);
        assert_eq!(result.exit_code, Some(exit_code), "{result:?}");
    }
}

#[test]
fn a_required_target_must_have_a_snapshot() {
    let (sandbox, _) = chain_and_full();
    let copy = ["copy", "--all", "--to", "offsite", "--require-store", "--quiet"];
    for dry in [&["--dry-run"][..], &[]] {
        let result = sandbox.run(&[&copy[..], dry].concat());
        result.assert_fails(1, "offsite");
        assert!(!sandbox.path("offsite").exists(), "{result:?}");
    }
    fs::create_dir(sandbox.path("offsite")).unwrap();
    sandbox.run(&copy).assert_fails(4, "there are no snapshots at offsite, so nothing was copied there");
    assert_eq!(sandbox.names("offsite"), [""; 0]);
    sandbox.ok(&copy[..4]);
    assert_eq!(sandbox.ok(&copy), "");
}

#[test]
fn a_chain_is_compacted_and_pins_are_copied() {
    let (sandbox, ids) = chain_and_full();
    sandbox.ok(&["pin", &ids[1]]);
    let copy = ["copy", ids[1].as_str(), "--compact", "--pins", "--to", "offsite"];
    let printed = sandbox.ok(&copy);
    assert!(
        printed.contains(", full") && printed.contains("1 snapshot copied, 0 there already, 1 pinned\n"),
        "{printed}"
    );
    let (_, document) = sandbox.json(&["list", "--store", "offsite"]);
    let snapshot = &document["snapshots"][0];
    assert_eq!((snapshot["name"].as_str(), snapshot["pinned"].as_bool()), (Some("nightly"), Some(true)));
    assert_eq!(snapshot["type"], "full");
    assert!(sandbox.ok(&copy).contains("0 snapshots copied, 1 there already"));
    assert_eq!(sandbox.json(&["list", "--store", "offsite"]).1["snapshots"].as_array().unwrap().len(), 1);
}

#[test]
fn a_corrupt_snapshot_is_named_and_all_others_are_copied() {
    let (sandbox, ids) = chain_and_full();
    flip_bit_in_the_middle(&sandbox.stored(&ids[1], "vectors.bin.gz"));
    let result = sandbox.run(&["copy", "--all", "--to", "offsite"]);
    result.assert_fails(3, "vectors.bin.gz");
    assert_eq!(result.stderr.matches(&format!("cannot copy snapshot {}", ids[1])).count(), 1, "{result:?}");
    assert!(result.stderr.contains(&ids[1]) && result.stdout.contains("2 snapshots copied"), "{result:?}");
    assert!(result.stdout.contains("1 not copied") && !result.stdout.contains("repeat the command"), "{result:?}");
    assert_eq!(ids_of(&sandbox.json(&["list", "--store", "offsite"]).1).len(), 2);
    let (exit_code, document) = sandbox.json(&["copy", "--all", "--to", "offsite"]);
    assert_eq!((exit_code, outcomes(&document)), (3, vec!["existing", "failed", "existing"]));
    assert_eq!((&document["complete"], &document["snapshots"][1]["error"]["kind"]), (&false.into(), &"corrupt".into()));

    // What the listing sees is blocked before anything is copied, and a dry run says so.
    fs::remove_file(sandbox.stored(&ids[1], "vectors.bin.gz")).unwrap();
    let result = sandbox.run(&["copy", "--all", "--to", "other", "--dry-run"]);
    result.assert_fails(3, "the file is missing");
    assert!(result.stdout.contains("would copy 2 snapshots"), "{result:?}");
}

#[test]
fn mistakes_are_refused() {
    let (sandbox, ids) = chain_and_full();
    let id = ids[0].as_str();
    let cases: [(&[&str], i32, &str); 8] = [
        (&["copy", "--to", "offsite"], 2, "required arguments"),
        (&["copy", id], 2, "--to"),
        (&["copy", id, "--all", "--to", "offsite"], 2, "cannot be used with"),
        (&["copy", "--all", "--to", "snapshots"], 1, "choose another store"),
        (&["copy", "--all", "--to", "memory://"], 2, "would be lost"),
        (&["copy", "--all", "--to", "missing/offsite"], 1, "does not exist"),
        (&["copy", "--all", "--to", "s3://bucket/x", "--to-option", "secret"], 2, "--to-option takes KEY=VALUE"),
        (&["copy", "--name", "unknown", "--to", "offsite"], 4, "no snapshot with the name"),
    ];
    for (args, exit_code, text) in cases {
        sandbox.run(args).assert_fails(exit_code, text);
    }
    let inside = format!("snapshots/snapshot-{id}");
    sandbox.run(&["copy", "--all", "--to", &inside]).assert_fails(2, "cannot be inside a snapshot");
    fs::create_dir(sandbox.path("empty")).unwrap();
    sandbox.run(&["copy", "--all", "--store", "empty", "--to", "offsite"]).assert_fails(4, "there are no snapshots");
    assert!(!sandbox.path("offsite").exists());
}

/// From a directory to S3, from there to GCS with options of its own, and back to a directory.
#[test]
fn snapshots_go_to_one_bucket_to_another_and_back() {
    let s3 = Bucket::s3(S3Server::start());
    let gcs = GcsServer::start();
    let first = s3.sandbox.create("nightly");
    s3.sandbox.ok(&["create", "--db", "a.db", "--name", "nightly", "--base", &first]);
    let (base_url, token) = (format!("base_url={}", gcs.endpoint()), format!("bearer_token={}", GcsServer::TOKEN));
    let gcs_store = format!("gs://{}/offsite", GcsServer::BUCKET);
    let options = [base_url.as_str(), token.as_str(), "allow_http=true"];
    let to_options = options.map(|option| ["--to-option", option]).concat();
    let from_options = options.map(|option| ["-o", option]).concat();
    let steps: [Vec<&str>; 3] = [
        vec!["copy", "--all", "--store", "snapshots", "--to", &s3.store],
        [&["copy", "--all", "--store", &s3.store, "--to", &gcs_store][..], &to_options].concat(),
        [&["copy", "--all", "--store", &gcs_store, "--to", "back"][..], &from_options].concat(),
    ];
    for args in steps {
        let output = s3.command(&args).env_remove("RUVECTOR_SNAPSHOT_STORE").output().unwrap();
        assert!(output.status.success(), "{args:?}: {output:?}");
        let text = format!("{output:?}");
        assert!(text.contains("2 snapshots copied") && !text.contains(GcsServer::TOKEN), "{text}");
    }
    assert!(below(&s3.sandbox, "back") == below(&s3.sandbox, "snapshots"));
    assert_eq!((s3.server.open_uploads(), gcs.open_uploads()), (0, 0));
}

/// The keys of the environment are for both buckets, and those of an option for one.
#[test]
fn a_bucket_of_another_server_needs_its_own_options() {
    let Bucket { sandbox, server, store, environment } = Bucket::s3(S3Server::start());
    let Server::S3(_here) = &server else { unreachable!() };
    let there = S3Server::start();
    sandbox.create("nightly");
    let endpoint = format!("endpoint={}", there.endpoint());
    let run = |args: &[&str]| {
        let mut command = sandbox.command(args);
        command.envs(environment.iter().map(|(name, value)| (name, value))).output().unwrap()
    };
    assert!(run(&["copy", "--all", "--to", &store]).status.success());
    // The same location, at another server.
    let copied = run(&["copy", "--all", "--store", &store, "--to", &store, "--to-option", &endpoint]);
    assert!(copied.status.success(), "{copied:?}");
    assert_eq!(there.objects().len(), 5);
    let refused = run(&["copy", "--all", "--store", &store, "--to", &store]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
}

#[test]
fn a_copy_says_that_later_annotations_are_not_in_a_compacted_copy() {
    let (sandbox, _) = Sandbox::with_snapshots(1);
    sandbox.ok(&["create", "--db", "a.db", "--name", "inc", "--base", "latest"]);
    let copy = ["copy", "inc", "--compact", "--to", "copies"];
    sandbox.ok(&copy);
    sandbox.ok(&copy);
    sandbox.ok(&["annotate", "inc", "--label", "keep=1", "--note", "hello"]);
    for args in [&copy[..], &[&copy[..], &["--dry-run"]].concat()] {
        sandbox.run(args).assert_warns("are not copied; annotate the copy");
    }
    sandbox.ok(&["--store", "copies", "annotate", "inc", "--label", "keep=1", "--note", "hello"]);
    sandbox.ok(&copy);
}

#[test]
fn a_copy_of_a_snapshot_whose_base_is_missing_is_one_of_a_corrupt_snapshot() {
    let (sandbox, ids) = Sandbox::with_snapshots(1);
    sandbox.ok(&["create", "--db", "a.db", "--name", "inc", "--base", "latest"]);
    std::fs::remove_dir_all(sandbox.path("snapshots").join(format!("snapshot-{}", ids[0]))).unwrap();
    for how in [&[][..], &["--compact"], &["--dry-run"]] {
        let result = sandbox.run(&[&["copy", "inc", "--to", "copies"], how].concat());
        assert_eq!(result.exit_code, Some(3), "{result:?}");
        assert!(result.stderr.contains("on which others depend, is not in the store"), "{result:?}");
    }
}

/// Each of the dependents would repeat all errors before it.
#[test]
fn the_cause_of_a_broken_chain_is_named_once() {
    let (sandbox, ids) = Sandbox::with_snapshots(1);
    let mut dependents: Vec<String> = Vec::new();
    for _ in 0..4 {
        let (exit_code, document) = sandbox.json(&["create", "--db", "a.db", "--name", "inc", "--base", "latest"]);
        assert_eq!(exit_code, 0, "{document}");
        dependents.push(document["snapshot"]["id"].as_str().unwrap().to_owned());
    }
    let depends = format!("it depends on snapshot {}, which cannot be copied", ids[0]);
    let check = |cause: &str, how: &[&str]| {
        let args = [&["copy", "--all", "--to", "copies"], how].concat();
        let result = sandbox.run(&args);
        assert_eq!(result.exit_code, Some(3), "{result:?}");
        assert_eq!(result.stderr.matches(cause).count(), 1, "{result:?}");
        assert_eq!(result.stderr.lines().filter(|line| line.contains(&depends)).count(), 4, "{result:?}");
        let (_, document) = sandbox.json(&args);
        let each = if how.is_empty() { &document["snapshots"] } else { &document["blocked"] };
        let messages = each.as_array().unwrap().iter().filter(|one| one["error"]["message"] == depends.as_str());
        assert_eq!(messages.count(), 4, "{document}");
    };
    fs::remove_file(sandbox.stored(&ids[0], "vectors.bin.gz")).unwrap();
    for how in [&[][..], &["--dry-run"]] {
        check("the file is missing", how);
    }
    fs::remove_dir_all(sandbox.path(&format!("snapshots/snapshot-{}", ids[0]))).unwrap();
    for how in [&[][..], &["--dry-run"]] {
        check("on which others depend, is not in the store", how);
    }
    // A compaction of each needs the base, too.
    let result = sandbox.run(&["copy", "--all", "--compact", "--to", "copies"]);
    assert_eq!(result.stderr.matches("on which others depend, is not in the store").count(), 1, "{result:?}");
    assert_eq!(result.stderr.matches(&depends).count(), 3, "{result:?}");
}

#[test]
fn a_copy_counts_the_annotations_that_it_brings() {
    let (sandbox, ids) = Sandbox::with_snapshots(2);
    let copy = ["copy", "--all", "--to", "copies"];
    let dry = ["copy", "--all", "--to", "copies", "--dry-run"];
    sandbox.ok(&["annotate", "two", "--note", "before"]);
    assert!(sandbox.ok(&dry).contains(", 1 annotation; nothing was copied"));
    assert!(sandbox.ok(&copy).contains("2 snapshots copied, 0 there already, 1 annotation copied\n"));
    sandbox.ok(&["annotate", "one", "--label", "keep=1"]);
    sandbox.ok(&["annotate", "two", "--note", "after"]);
    let planned = sandbox.ok(&dry);
    assert!(planned.contains("would copy 0 snapshots, 0 B, 2 annotations; 2 snapshots there already"), "{planned}");
    let (_, plan) = sandbox.json(&dry);
    assert_eq!((&plan["existing"][0]["annotations"], &plan["write_checked"]), (&1.into(), &true.into()), "{plan}");
    let printed = sandbox.ok(&copy);
    assert!(printed.contains("0 snapshots copied, 2 there already, 2 annotations copied\n"), "{printed}");
    assert!(!sandbox.ok(&dry).contains("annotation") && !sandbox.ok(&copy).contains("annotation"));
    let (_, document) = sandbox.json(&copy);
    assert_eq!(
        (&document["snapshots"][0]["id"], &document["snapshots"][0]["annotations"]),
        (&ids[0].as_str().into(), &0.into())
    );
}

#[test]
fn a_copy_says_of_which_database_a_snapshot_is_if_there_are_several() {
    let (sandbox, _) = Sandbox::with_snapshots(1);
    assert!(!sandbox.ok(&["copy", "--all", "--to", "one-database"]).contains("a.db"));
    sandbox.ok(&["create", "--db", "a.db", "--name", "one", "--source", "articles"]);
    for how in [&["--dry-run"][..], &[]] {
        for (what, expected) in [(&["latest"][..], 1), (&["--name", "one"], 2)] {
            let to = format!("copies-{expected}");
            let printed = sandbox.ok(&[&["copy", "--to", &to], what, how].concat());
            let named = |source: &str| printed.lines().any(|line| line.contains("  one  ") && line.contains(source));
            assert!(named("articles") && named("a.db") == (expected == 2), "{printed}");
            let (_, document) = sandbox.json(&[&["copy", "--to", &to], what, &["--dry-run"]].concat());
            let planned = if how.is_empty() { &document["existing"] } else { &document["copy"] };
            assert_eq!(planned[expected - 1]["source_id"], "articles", "{document}");
        }
    }
}

/// The newest of a name may be the one that cannot be read.
#[test]
fn a_copy_by_name_says_that_a_snapshot_whose_name_cannot_be_read_was_not_copied() {
    let (sandbox, ids) = Sandbox::with_snapshots(2);
    std::fs::write(sandbox.stored(&ids[1], "metadata.json"), "{").unwrap();
    for more in [&["--dry-run"][..], &[]] {
        let copied = sandbox.run(&[&["copy", "--name", "one", "--to", "offsite"], more].concat());
        assert_eq!(copied.exit_code, Some(3), "{copied:?}");
        assert!(copied.stderr.contains(&format!("cannot copy snapshot {}", ids[1])), "{copied:?}");
    }
    sandbox.ok(&["verify", "one", "--store", "offsite"]);
    let unknown = sandbox.run(&["copy", "--name", "two", "--to", "offsite"]);
    unknown.assert_fails(4, "as far as is known, but metadata.json of 1 snapshot cannot be read");
}

#[test]
fn a_copy_says_which_annotations_have_no_effect_in_the_target() {
    let (sandbox, ids) = Sandbox::with_snapshots(1);
    let copy = ["copy", "--all", "--to", "offsite"];
    sandbox.ok(&copy);
    for label in ["keep=no", "keep=never"] {
        sandbox.ok(&["annotate", &ids[0], "--label", label, "--store", "offsite"]);
    }
    sandbox.ok(&["annotate", &ids[0], "--label", "keep=yearly"]);
    for dry in [&["--dry-run"][..], &[]] {
        sandbox.run(&[&copy[..], dry].concat()).assert_warns("are copied without effect on the label keep");
    }
    sandbox.ok(&copy);
}

#[test]
fn a_new_store_inside_of_another_one_is_a_warning() {
    let (sandbox, _) = Sandbox::with_snapshots(1);
    let inside = ["create", "--db", "a.db", "--store", "snapshots/daily"];
    sandbox.run(&inside).assert_warns("is inside of the store");
    sandbox.ok(&inside);
    sandbox.ok(&["copy", "--all", "--to", "offsite"]);
    let copied = sandbox.run(&["copy", "--all", "--store", "snapshots/daily", "--to", "offsite/daily"]);
    copied.assert_warns("is inside of the store");
}

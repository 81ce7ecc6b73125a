//! Snapshots that cannot be read, for lack of a permission: each is listed with its reason, the others work, and nothing
//! that it may depend on is deleted.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::Path;

use serde_json::{Value, json};
use test_servers::Fault;

use super::bucket::Bucket;
use super::sandbox::{RunResult, Sandbox, ids_of};

/// The user `nobody`, for tests that root runs: root can read everything.
const NOBODY: u32 = 65_534;

/// A sandbox whose files belong to somebody who is not root, and who runs the program.
struct Unprivileged(Sandbox);

impl Unprivileged {
    fn new(sandbox: Sandbox) -> Self {
        let own = Self(sandbox);
        if own.is_root() {
            give_away(&own.0.path("."));
        }
        own
    }

    fn is_root(&self) -> bool {
        fs::metadata("/proc/self").unwrap().uid() == 0
    }

    fn run(&self, args: &[&str]) -> RunResult {
        let mut command = self.0.command(args);
        if self.is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        RunResult::from(command.output().unwrap())
    }

    /// Takes all permissions of a file or a directory of a snapshot away.
    fn lock(&self, path: &Path) {
        fs::set_permissions(path, Permissions::from_mode(0o000)).unwrap();
    }
}

fn give_away(path: &Path) {
    chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    if path.is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| give_away(&entry.unwrap().path()));
    }
}

/// Of four snapshots, the second cannot be read. `run` runs the program.
fn assert_the_rest_works(ids: &[String], run: &dyn Fn(&[&str]) -> RunResult) {
    let json = |args: &[&str]| run(&[args, &["--json"]].concat()).into_json();
    let unread = &ids[1];
    let (exit_code, listing) = json(&["list"]);
    assert_eq!((exit_code, ids_of(&listing)), (1, vec![ids[3].clone(), ids[2].clone(), ids[0].clone()]), "{listing}");
    assert_eq!(
        (&listing["unusable"][0]["id"], &listing["unusable"][0]["error"]["kind"]),
        (&json!(unread), &json!("permission_denied"))
    );
    let text = run(&["list"]);
    assert!(text.stdout.contains(&format!("{unread}  UNREADABLE  ")), "{text:?}");
    assert!(text.stdout.contains("permission denied") || text.stdout.contains("credentials"), "{text:?}");

    assert_eq!(json(&["show", "four"]).0, 0);
    run(&["show", unread]).assert_fails(1, unread);
    assert_eq!(json(&["verify", "three"]).0, 0);
    let (exit_code, verified) = json(&["verify", "--all"]);
    let intact = verified["snapshots"].as_array().unwrap().iter().filter(|one| one["state"] == "intact").count();
    assert_eq!((exit_code, intact), (1, 3), "{verified}");
    assert_eq!(json(&["restore", "four", "--to", "restored.db"]).0, 0);
    assert_eq!(json(&["create", "--db", "a.db", "--name", "five", "--base", "latest", "--require-store"]).0, 0);

    // Nothing but its id is known, so its name may be any.
    for args in [&["show", "two"][..], &["restore", "two", "--to", "two.db"], &["pin", "two"], &["delete", "two"]] {
        let result = run(args);
        result.assert_fails(1, "metadata.json of 1 snapshot cannot be read, and it may be the one that is meant");
        result.assert_fails(1, unread);
    }
    run(&["show", "19991231T000000000Z-0123456789abcdef"]).assert_fails(4, "no snapshot has the id");
    // It may depend on the first one, and not on those after it.
    run(&["delete", "one"]).assert_fails(2, "give the whole id");
    let refused = run(&["delete", &ids[0]]);
    refused.assert_fails(1, &format!("the newer snapshot {unread} cannot be read, and may depend on it"));
    run(&["delete", unread]).assert_fails(1, unread);
    let (exit_code, plan) = json(&["prune", "--keep-last", "2", "--dry-run"]);
    assert_eq!((exit_code, &plan["unread"]), (1, &json!([unread])), "{plan}");
    let reasons: Vec<&Value> = plan["keep"].as_array().unwrap().iter().filter(|kept| kept["id"] == *ids[0]).collect();
    assert_eq!(reasons[0]["reasons"], json!([{ "why": "may_be_needed_by", "id": unread }]));
    assert_eq!(plan["warnings"], json!([]), "{plan}");
    let pruned = run(&["prune", "--keep-last", "2"]);
    assert_eq!(pruned.exit_code, Some(1), "{pruned:?}");
    assert!(pruned.stderr.contains(&format!("everything older than {unread} was kept")), "{pruned:?}");
    let (_, listing) = json(&["list"]);
    let names: Vec<&str> =
        listing["snapshots"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["five", "four", "one"], "{listing}");
    assert_eq!(json(&["delete", "five"]).0, 5);
}

#[test]
fn an_unreadable_directory_or_file_of_a_local_store_hides_no_other_snapshot() {
    for file in ["", "metadata.json"] {
        let (sandbox, ids) = Sandbox::with_snapshots(4);
        let locked = sandbox.stored(&ids[1], file);
        let own = Unprivileged::new(sandbox);
        own.lock(&locked);
        assert_the_rest_works(&ids, &|args| own.run(args));
        fs::set_permissions(&locked, Permissions::from_mode(0o700)).unwrap();
        assert_eq!(own.run(&["verify", &ids[1]]).exit_code, Some(0));
        let (exit_code, plan) = own.run(&["prune", "--keep-last", "1", "--json"]).into_json();
        assert_eq!(
            (exit_code, &plan["unread"], plan["deleted"].as_array().unwrap().len()),
            (0, &json!([]), 2),
            "{plan}"
        );
    }
}

#[test]
fn an_object_that_a_bucket_does_not_give_hides_no_other_snapshot() {
    for bucket in Bucket::both() {
        let ids = ["one", "two", "three", "four"].map(|name| bucket.create(name));
        let denied = format!("snapshot-{}/metadata.json", ids[1]);
        bucket.server.wire().set(move |request, _| {
            let is_read = request.is_get() || request.is_head();
            (is_read && request.key().ends_with(&denied)).then_some(Fault::Status(403))
        });
        assert_the_rest_works(&ids, &|args| bucket.run(args));
    }
}

#[test]
fn an_increment_of_an_unreadable_base_is_not_called_corrupt() {
    let (sandbox, ids) = Sandbox::with_snapshots(1);
    sandbox.ok(&["create", "--db", "a.db", "--name", "inc", "--base", "one"]);
    let own = Unprivileged::new(sandbox);
    own.lock(&own.0.stored(&ids[0], "metadata.json"));
    let stats = own.run(&["stats"]);
    assert!(stats.stderr.contains("unusable: 1 snapshot") && !stats.stderr.contains("corrupt"), "{stats:?}");
    let pruned = own.run(&["prune", "--keep-last", "1", "--dry-run"]);
    let why = format!("it depends on snapshot {}, which cannot be read", ids[0]);
    assert!(pruned.stderr.contains(&why) && !pruned.stderr.contains("`delete ID`"), "{pruned:?}");
    assert_eq!(pruned.exit_code, Some(1), "{pruned:?}");
}

#[test]
fn a_name_that_may_be_that_of_a_corrupt_snapshot_says_so() {
    let (sandbox, ids) = Sandbox::with_snapshots(3);
    for id in &ids[..2] {
        fs::write(sandbox.stored(id, "metadata.json"), "{").unwrap();
    }
    let result = sandbox.run(&["restore", "one", "--to", "b.db"]);
    result.assert_fails(4, "metadata.json of 2 snapshots cannot be read, and one of them may be the one that is meant");
    result.assert_fails(4, "give the whole id");
}

#[test]
fn a_store_that_cannot_be_read_at_all_is_an_error_and_not_an_empty_store() {
    let (sandbox, _) = Sandbox::with_snapshots(1);
    let own = Unprivileged::new(sandbox);
    own.lock(&own.0.path("snapshots"));
    own.run(&["list"]).assert_fails(1, "permission denied");
    own.run(&["prune", "--keep-last", "1"]).assert_fails(1, "permission denied");
    fs::set_permissions(own.0.path("snapshots"), Permissions::from_mode(0o700)).unwrap();
}

//! Objects of others among the snapshots: whatever they are called, every command works as without them, and `list`
//! counts them.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use serde_json::Value;

use super::bucket::{Bucket, Server};
use super::sandbox::{RunResult, Sandbox, ids_of};

/// Keys below the prefix of the snapshots that are no keys of this program, and some that look like ones.
const FOREIGN: [&str; 17] = [
    "",
    "/",
    "/x",
    "folder/",
    "x//y",
    ".",
    "./x",
    "../x",
    "Icon\r",
    "a\tb",
    "a\nb",
    "a \u{1}",
    "photo.jpg",
    "snapshot-20200131T080000000Z-0123456789abcdef/",
    "snapshot-20200131T080000000Z-0123456789abcdef//metadata.json",
    "snapshot-20200131T080000000Z-0123456789abcdef/metadata.json/",
    "/snapshot-20200131T080000000Z-0123456789abcdef/metadata.json",
];

impl Server {
    /// Starts a multipart upload, and does not end it.
    pub(crate) fn start_upload(&self, key: &str, parts: &[&[u8]]) {
        match self {
            Self::S3(server) => server.start_upload(key, parts),
            Self::Gcs(server) => server.start_upload(key, parts),
        }
    }

    pub(crate) fn put(&self, key: &str, bytes: &[u8]) {
        match self {
            Self::S3(server) => server.put_object(key, bytes),
            Self::Gcs(server) => server.put_object(key, bytes),
        }
    }
}

/// Runs every command that lists. There are two snapshots, named one and increment, and so many foreign objects.
#[track_caller]
fn assert_all_commands_work(sandbox: &Sandbox, foreign: usize, run: &dyn Fn(&[&str]) -> RunResult) {
    let ok = |args: &[&str]| {
        let result = run(args);
        assert_eq!(result.exit_code, Some(0), "{args:?}: {result:?}");
        result.stdout
    };
    let listed = || run(&["list", "--json"]).into_json();
    let (_, before) = listed();
    assert_eq!((ids_of(&before).len(), before["foreign"].as_u64()), (2, Some(foreign as u64)), "{before}");
    assert_eq!((&before["unusable"], &before["pending_uploads"]), (&Value::Array(vec![]), &Value::Array(vec![])));
    let text = ok(&["list"]);
    assert!(text.contains(&format!("ignored: {foreign} object")), "{text}");
    ok(&["show", "one"]);
    ok(&["verify", "increment"]);
    assert!(ok(&["verify", "--all"]).ends_with("2 snapshots intact\n"));
    ok(&["restore", "increment", "--to", "b.db"]);
    fs::remove_file(sandbox.path("b.db")).unwrap();
    ok(&["create", "--db", "a.db", "--name", "three", "--base", "latest", "--require-store"]);
    ok(&["compact", "three"]);
    ok(&["pin", "increment"]);
    ok(&["unpin", "increment"]);
    ok(&["delete", "one", "--cascade", "--dry-run"]);
    ok(&["prune", "--keep-last", "1", "--dry-run"]);
    ok(&["prune", "--keep-last", "1"]);
    ok(&["store", "check"]);
    run(&["delete", "latest"]).assert_warns("NO SNAPSHOT");
    let (exit_code, after) = listed();
    let found = (exit_code, ids_of(&after).len(), after["foreign"].as_u64());
    assert_eq!(found, (4, 0, Some(foreign as u64)), "{after}");
}

#[test]
fn objects_of_others_in_a_bucket_hide_no_snapshot_and_are_not_touched() {
    for bucket in Bucket::both() {
        bucket.create("one");
        bucket.ok(&["create", "--db", "a.db", "--name", "increment", "--base", "one"]);
        for key in FOREIGN {
            bucket.server.put(&format!("backups/prod/{key}"), b"theirs");
        }
        bucket.server.put(&format!("backups/prod/{}", "long".repeat(220)), b"theirs");
        assert_all_commands_work(&bucket.sandbox, FOREIGN.len() + 1, &|args| bucket.run(args));
        assert_eq!(bucket.server.keys().len(), FOREIGN.len() + 1);
    }
}

#[test]
fn a_whole_page_of_objects_of_others_in_a_bucket_hides_no_snapshot() {
    for bucket in Bucket::both() {
        bucket.create("one");
        // Before the snapshots in every listing, and more than a page of them.
        for number in 0..1_001 {
            bucket.server.put(&format!("backups/prod/!//{number}"), b"");
        }
        let (exit_code, document) = bucket.json(&["list"]);
        assert_eq!((exit_code, ids_of(&document).len(), document["foreign"].as_u64()), (0, 1, Some(1_001)));
    }
}

#[test]
fn files_of_others_in_a_directory_hide_no_snapshot_and_are_not_touched() {
    let (sandbox, _) = Sandbox::with_snapshots(1);
    sandbox.ok(&["create", "--db", "a.db", "--name", "increment", "--base", "one"]);
    let store = sandbox.path("snapshots");
    let write = |name: &[u8]| fs::write(store.join(Path::new(OsStr::from_bytes(name))), "theirs").unwrap();
    for name in
        [&b"Icon\r"[..], b"a\tb", b"photo.jpg", b".DS_Store", b"back\\slash", b"half#x", &[b'a', 0xff], &[b'l'; 255]]
    {
        write(name);
    }
    fs::create_dir_all(store.join("theirs/more")).unwrap();
    write(b"theirs/more/files");
    std::os::unix::fs::symlink("nowhere", store.join("link")).unwrap();
    // The system keeps it there.
    fs::create_dir(store.join("lost+found")).unwrap();
    assert_all_commands_work(&sandbox, 10, &|args| sandbox.run(args));
    assert_eq!(sandbox.names("snapshots").len(), 11);
}

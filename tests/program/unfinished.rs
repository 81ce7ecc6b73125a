//! What killed commands have left, and what running ones have written: `list` and `prune` report it with its size.

use std::fs;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use test_servers::{Fault, Request};

use super::bucket::Bucket;
use super::sandbox::{RunResult, Sandbox};

const UPLOAD: &str = "20260101T080000000Z-0000000000000001";
const DELETED: &str = "20260101T080000000Z-0000000000000002";

/// What a killed create, a killed deletion and a killed check of the store leave, as keys with a size.
fn debris() -> [(String, usize); 5] {
    [
        (format!("snapshot-{UPLOAD}/index.bin.gz"), 2_000),
        (format!("snapshot-{UPLOAD}/upload.json"), 14),
        (format!("snapshot-{DELETED}/vectors.bin.gz"), 3_000),
        (format!("snapshot-{DELETED}/deleting-0123456789abcdef"), 0),
        ("store-check-0123456789abcdef/a".to_owned(), 500),
    ]
}

fn content(size: usize) -> Vec<u8> {
    let mut bytes = br#"{"base_ids":[]}"#.to_vec();
    bytes.resize(size.max(15), b' ');
    bytes
}

/// `more` is what only this store has.
fn assert_reported(run: &dyn Fn(&[&str]) -> RunResult, more: &[Value]) {
    let json = |args: &[&str]| -> Value {
        let (exit_code, document) = run(&[args, &["--json"]].concat()).into_json();
        assert_eq!(exit_code, 0, "{args:?}: {document}");
        document
    };
    let entry = |key: String, kind: &str, bytes: usize| json!({ "key": key, "kind": kind, "stored_bytes": bytes });
    let mut expected = vec![
        entry(format!("snapshot-{UPLOAD}"), "upload", 2_015),
        entry(format!("snapshot-{DELETED}"), "deletion", 3_015),
        entry("store-check-0123456789abcdef/a".to_owned(), "check", 500),
    ];
    expected.extend(more.iter().cloned());
    let keys = |found: &Value| -> Vec<Value> {
        let mut found = found.as_array().unwrap().clone();
        found.sort_by_key(|one| one["key"].to_string());
        found
    };
    expected.sort_by_key(|one| one["key"].to_string());

    let listing = json(&["list"]);
    assert_eq!((keys(&listing["unfinished"]), listing["foreign"].as_u64()), (expected.clone(), Some(0)));
    let text = run(&["list"]).stdout;
    for part in [
        format!("upload: snapshot-{UPLOAD} has no metadata.json"),
        format!("deleting: snapshot-{DELETED} is being deleted"),
        "object of a store check: store-check-0123456789abcdef/a: ".to_owned(),
        "unfinished: ".to_owned(),
        "(1.97 KiB)".to_owned(),
        "(2.94 KiB)".to_owned(),
    ] {
        assert!(text.contains(&part), "{part:?} is not in {text}");
    }

    // They are too young to be collected.
    let plan = json(&["prune", "--keep-last", "1", "--dry-run"]);
    assert_eq!((keys(&plan["unfinished"]), &plan["orphans"]), (expected, &json!([])), "{plan}");
    let text = run(&["prune", "--keep-last", "1", "--dry-run"]).stdout;
    assert!(
        text.contains(&format!("later  snapshot-{UPLOAD}  1.97 KiB  upload, kept until it is older than --grace")),
        "{text}"
    );
}

#[test]
fn unfinished_files_in_a_directory_are_reported_with_their_size() {
    let (sandbox, ids) = Sandbox::with_snapshots(1);
    let write = |key: &str, size: usize| {
        let path = sandbox.path(&format!("snapshots/{key}"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content(size)).unwrap();
    };
    for (key, size) in debris() {
        write(&key, size);
    }
    // Beside the finished files of an upload, and beside those of a snapshot.
    let staged = [format!("snapshot-{UPLOAD}/vectors.bin.gz#1"), format!("snapshot-{}/pinned.json#1", ids[0])];
    staged.iter().for_each(|key| write(key, 70_000));
    fs::create_dir(sandbox.path("snapshots/snapshot-20260101T080000000Z-0000000000000003")).unwrap();
    let mut more = staged.map(|key| json!({ "key": key, "kind": "staged", "stored_bytes": 70_000 })).to_vec();
    more.push(
        json!({ "key": "snapshot-20260101T080000000Z-0000000000000003/", "kind": "directory", "stored_bytes": 0 }),
    );
    assert_reported(&|args| sandbox.run(args), &more);
    let text = sandbox.ok(&["list"]);
    assert!(text.contains(&format!("temporary file: snapshot-{UPLOAD}/vectors.bin.gz#1: ")), "{text}");
    assert!(text.contains("(68.36 KiB)"), "{text}");
}

#[test]
fn unfinished_objects_in_a_bucket_are_reported_with_their_size() {
    for bucket in Bucket::both() {
        bucket.create("one");
        for (key, size) in debris() {
            bucket.server.put(&format!("backups/prod/{key}"), &content(size));
        }
        assert_reported(&|args| bucket.run(args), &[]);
    }
}

/// Returns whether a request asks for the multipart uploads of a bucket.
fn lists_uploads(request: &Request) -> bool {
    request.method == "GET" && request.parameter("uploads").is_some()
}

/// A killed create leaves parts that no listing of objects shows.
#[test]
fn multipart_uploads_in_a_bucket_are_reported_with_their_size() {
    for bucket in Bucket::both() {
        bucket.create("one");
        let part = vec![7; 6 << 20];
        let own = format!("snapshot-{UPLOAD}/vectors.bin.gz");
        bucket.server.start_upload(&format!("backups/prod/{own}"), &[&part, &part[..1000]]);
        bucket.server.start_upload("backups/prod/theirs.bin", &[&part]);
        bucket.server.start_upload(&format!("backups/other/{own}"), &[&part]);
        let (exit_code, listing) = bucket.json(&["list"]);
        let expected = json!([{ "key": own, "kind": "multipart", "stored_bytes": (6 << 20) + 1000 }]);
        assert_eq!((exit_code, &listing["unfinished"]), (0, &expected), "{listing}");
        assert_eq!(listing["multipart_uploads_known"], true, "{listing}");
        let text = bucket.ok(&["list"]);
        assert!(text.contains(&format!("multipart upload: {own}: ")) && text.contains("6.00 MiB"), "{text}");
        assert!(text.contains("and a lifecycle rule of the bucket multipart uploads"), "{text}");

        // Prune says the same, and leaves them alone.
        let later = format!("later  {own}  6.00 MiB  multipart upload, a lifecycle rule of the bucket removes it");
        assert!(bucket.ok(&["prune", "--keep-last", "1", "--dry-run"]).contains(&later));
        for more in [&["--dry-run"][..], &[]] {
            let args = [&["prune", "--keep-last", "1", "--grace", "0s"], more].concat();
            let (exit_code, plan) = bucket.json(&args);
            assert_eq!((exit_code, &plan["unfinished"], &plan["collected"]), (0, &expected, &json!([])), "{plan}");
            assert_eq!(plan["multipart_uploads_known"], true, "{plan}");
        }
        assert_eq!(bucket.server.open_uploads(), 3);
    }
}

/// The servers of the tests list two uploads, and two parts, in a page.
#[test]
fn multipart_uploads_of_several_pages_are_reported() {
    for bucket in Bucket::both() {
        let keys =
            ["index.bin.gz", "metadata.bin.gz", "vectors.bin.gz"].map(|file| format!("snapshot-{UPLOAD}/{file}"));
        for key in keys.iter().chain(&keys[1..]) {
            bucket.server.start_upload(&format!("backups/prod/{key}"), &[b"12", b"34", b"56", b"78", b"9"]);
        }
        let (_, listing) = bucket.json(&["list"]);
        let one = |key: &String| json!({ "key": key, "kind": "multipart", "stored_bytes": 9 });
        let expected: Vec<Value> = [0, 1, 1, 2, 2].map(|index: usize| one(&keys[index])).into();
        assert_eq!(listing["unfinished"], json!(expected), "{listing}");
    }
}

/// The permission to list uploads is a separate one, and some servers do not have the request. Nothing else depends on
/// it.
#[test]
fn a_server_that_cannot_list_multipart_uploads_is_no_error() {
    for bucket in Bucket::both() {
        let id = bucket.create("one");
        bucket.server.start_upload(&format!("backups/prod/snapshot-{UPLOAD}/vectors.bin.gz"), &[b"part"]);
        let other = Fault::Error { status: 200, code: "", message: "" };
        for fault in [403, 404, 405, 500, 501, 503].map(Fault::Status).into_iter().chain([other]) {
            let shown = format!("{fault:?}");
            bucket.server.wire().set(move |request, _| lists_uploads(request).then(|| fault.clone()));
            let (exit_code, listing) = bucket.json(&["list"]);
            assert_eq!((exit_code, &listing["unfinished"]), (0, &json!([])), "{shown}: {listing}");
            assert_eq!(listing["snapshots"][0]["id"], json!(id), "{shown}: {listing}");
            assert_eq!(listing["multipart_uploads_known"], false, "{shown}: {listing}");
            let (exit_code, plan) = bucket.json(&["prune", "--keep-last", "1", "--dry-run"]);
            assert_eq!((exit_code, &plan["multipart_uploads_known"]), (0, &json!(false)), "{shown}: {plan}");
            assert_eq!(bucket.run(&["list"]).exit_code, Some(0), "{shown}");
        }
    }
}

#[test]
fn a_multipart_upload_that_ends_while_uploads_are_listed_is_left_out() {
    for bucket in Bucket::both() {
        for file in ["index.bin.gz", "vectors.bin.gz"] {
            bucket.server.start_upload(&format!("backups/prod/snapshot-{UPLOAD}/{file}"), &[b"part"]);
        }
        bucket.server.wire().set(|request, _| {
            let is_ended = request.method == "GET" && request.parameter("uploadId").is_some();
            let message = "The specified multipart upload does not exist.";
            (is_ended && request.path.ends_with("index.bin.gz")).then_some(Fault::Error {
                status: 404,
                code: "NoSuchUpload",
                message,
            })
        });
        let (_, listing) = bucket.json(&["list"]);
        let key = format!("snapshot-{UPLOAD}/vectors.bin.gz");
        assert_eq!(listing["unfinished"], json!([{ "key": key, "kind": "multipart", "stored_bytes": 4 }]), "{listing}");
        assert_eq!(listing["multipart_uploads_known"], true, "{listing}");
    }
}

#[test]
fn sizes_that_no_number_holds_together_are_no_panic() {
    for bucket in Bucket::both() {
        for file in ["index.bin.gz", "vectors.bin.gz"] {
            bucket.server.start_upload(&format!("backups/prod/snapshot-{UPLOAD}/{file}"), &[b"part"]);
        }
        bucket.server.wire().set(|request, _| {
            let lists_parts = request.method == "GET" && request.parameter("uploadId").is_some();
            let code = "<Part><Size>18446744073709551615</Size></Part>";
            lists_parts.then_some(Fault::Error { status: 200, code, message: "" })
        });
        let (exit_code, listing) = bucket.json(&["list"]);
        assert_eq!((exit_code, &listing["unfinished"][1]["stored_bytes"]), (4, &json!(u64::MAX)), "{listing}");
        assert!(bucket.run(&["list"]).stdout.contains("unfinished: 2 items, 16.00 EiB, "));
        let prune = ["prune", "--keep", "1", "--dry-run"];
        assert!(bucket.run(&prune).stdout.contains("vectors.bin.gz  16.00 EiB  multipart upload"));
        let (exit_code, plan) = bucket.json(&prune);
        assert_eq!((exit_code, &plan["unfinished"][1]["stored_bytes"]), (4, &json!(u64::MAX)), "{plan}");
    }
}

#[test]
fn a_thousand_multipart_uploads_are_reported_and_the_others_are_not_known() {
    let upload = |id| {
        let key = format!("backups/prod/snapshot-{UPLOAD}/vectors.bin.gz");
        let started = "2026-01-01T08:00:00.000Z";
        format!("<Upload><Key>{key}</Key><UploadId>{id}</UploadId><Initiated>{started}</Initiated></Upload>")
    };
    let uploads: String = (0..1001).map(upload).collect();
    let page: &str = format!("<ListMultipartUploadsResult>{uploads}</ListMultipartUploadsResult>").leak();
    for bucket in Bucket::both() {
        bucket.server.wire().set(move |request, _| {
            let lists_parts = request.method == "GET" && request.parameter("uploadId").is_some();
            let code = if lists_uploads(request) { page } else { "<Part><Size>5</Size></Part>" };
            (lists_parts || lists_uploads(request)).then_some(Fault::Error { status: 200, code, message: "" })
        });
        let (exit_code, listing) = bucket.json(&["--connections", "1", "list"]);
        assert_eq!((exit_code, listing["unfinished"].as_array().unwrap().len()), (4, 1000));
        assert_eq!(listing["multipart_uploads_known"], false);
        let listed = bucket.run(&["--connections", "1", "list"]).stdout;
        assert!(listed.contains("multipart uploads, of which there may be more"), "{listed}");
        let plan = bucket.run(&["--connections", "1", "prune", "--keep", "1", "--dry-run"]).stdout;
        assert!(plan.contains("later  there may be more multipart uploads"), "{plan}");
        assert_eq!(bucket.server.wire().max_in_flight(), 1);
    }
}

#[test]
fn a_page_of_multipart_uploads_without_end_is_not_read() {
    let page: &str = format!("<ListMultipartUploadsResult>{}", " ".repeat(9 << 20)).leak();
    for bucket in Bucket::both() {
        bucket.server.wire().set(move |request, _| {
            lists_uploads(request).then_some(Fault::Error { status: 200, code: page, message: "" })
        });
        let (exit_code, listing) = bucket.json(&["list"]);
        assert_eq!((exit_code, &listing["multipart_uploads_known"]), (4, &json!(false)), "{listing}");
    }
}

/// Returns when the data of a snapshot was written.
fn written(sandbox: &Sandbox, id: &str) -> SystemTime {
    fs::metadata(sandbox.stored(id, "vectors.bin.gz")).unwrap().modified().unwrap()
}

/// Sets when each file of a snapshot was written.
fn set_written(sandbox: &Sandbox, id: &str, time: SystemTime) {
    for entry in fs::read_dir(sandbox.path(&format!("snapshots/snapshot-{id}"))).unwrap() {
        let file = fs::File::options().write(true).open(entry.unwrap().path()).unwrap();
        file.set_modified(time).unwrap();
    }
}

const SHORTLY_BEFORE_A_COMMIT: Duration = Duration::from_secs(10 * 60);
const LONG_AGO: Duration = Duration::from_secs(2 * 60 * 60);

#[test]
fn an_upload_that_lacks_only_its_metadata_json_for_long_may_be_a_lost_snapshot() {
    let (sandbox, ids) = Sandbox::with_snapshots(2);
    let now = written(&sandbox, &ids[1]);
    let metadata = fs::read(sandbox.stored(&ids[1], "metadata.json")).unwrap();
    fs::remove_file(sandbox.stored(&ids[1], "metadata.json")).unwrap();
    let commands: [&[&str]; 4] =
        [&["list"], &["verify", "--all"], &["stats"], &["prune", "--keep-last", "9", "--dry-run"]];
    let all = |exit_code: i32, is_lost: bool| {
        for command in commands {
            let run = sandbox.run(&[command, &["--quiet"]].concat());
            assert_eq!(run.exit_code, Some(exit_code), "{command:?}: {}", run.stderr);
            assert_eq!(run.stderr.contains("metadata.json"), is_lost, "{command:?}: {}", run.stderr);
        }
        let (_, listing) = sandbox.json(&["list"]);
        let expected = if is_lost { json!([ids[1]]) } else { json!([]) };
        assert_eq!(listing["possibly_lost"], expected, "{listing}");
    };
    // A create that is about to write it.
    set_written(&sandbox, &ids[1], now - SHORTLY_BEFORE_A_COMMIT);
    all(0, false);
    set_written(&sandbox, &ids[1], now - LONG_AGO);
    all(5, true);
    sandbox.ok_with_warning(&["list"], &format!("{} has all files of a snapshot except metadata.json", ids[1]));
    let copied = sandbox.run(&["copy", "--all", "--to", "copy"]);
    copied.assert_warns("has all files of a snapshot except metadata.json");
    assert_eq!(sandbox.run(&["status"]).exit_code, Some(4));
    for command in [
        &["restore", "latest", "--to", "b.db", "--dry-run"][..],
        &["restore", "one", "--to", "b.db"],
        &["show", "latest"],
    ] {
        sandbox.run(command).assert_warns(&format!("but {} is newer, and may be a snapshot that has lost", ids[1]));
    }
    sandbox.ok(&["show", &ids[0]]);
    // Without its data it never was a snapshot.
    let index = fs::read(sandbox.stored(&ids[1], "index.bin.gz")).unwrap();
    fs::remove_file(sandbox.stored(&ids[1], "index.bin.gz")).unwrap();
    all(0, false);
    fs::write(sandbox.stored(&ids[1], "index.bin.gz"), index).unwrap();
    fs::write(sandbox.stored(&ids[1], "metadata.json"), metadata).unwrap();
    all(0, false);
    // If it was an interrupted create, it is deleted by its id.
    fs::remove_file(sandbox.stored(&ids[1], "metadata.json")).unwrap();
    set_written(&sandbox, &ids[1], now - LONG_AGO);
    sandbox.ok(&["delete", &ids[1], "--dry-run"]);
    sandbox.ok(&["delete", &ids[1]]);
    assert!(!sandbox.stored(&ids[1], "vectors.bin.gz").exists());
    all(0, false);
}

/// Times in a bucket are those of a second, so a small snapshot and its verification can have the same.
#[test]
fn a_verification_in_the_second_of_the_upload_shows_that_a_lost_snapshot_existed() {
    let (sandbox, ids) = Sandbox::with_snapshots(1);
    sandbox.ok(&["verify", "--all"]);
    fs::remove_file(sandbox.stored(&ids[0], "metadata.json")).unwrap();
    set_written(&sandbox, &ids[0], written(&sandbox, &ids[0]));
    let (exit_code, listing) = sandbox.json(&["list"]);
    assert_eq!((exit_code, &listing["unusable"][0]["state"]), (3, &json!("corrupt")), "{listing}");
    assert_eq!(listing["pending_uploads"], json!([]), "{listing}");
    for command in [&["show"][..], &["verify"], &["pin"], &["annotate", "--note", "x"], &["restore", "--to", "b.db"]] {
        let run = sandbox.run(&[command, &[&ids[0]]].concat());
        assert_eq!(run.exit_code, Some(3), "{run:?}");
        let printed = [run.stdout, run.stderr].concat();
        let is_said = printed.contains("metadata.json: ") && printed.contains("the file is missing");
        assert!(is_said, "{printed}");
    }
}

//! `import`: files of the published crate, into a directory and into a bucket, and what it prints if that is not possible.

use std::fs;
use std::process::{Command, Stdio};
use std::thread;

use ruvector_snapshot_format::layout;
use serde_json::json;
use test_fixtures::{Published, entry, records_of_file};
use test_servers::{Fault, Request, S3Server};

use super::bucket::Bucket;
use super::sandbox::{RunResult, Sandbox, after};

const DIMENSIONS: usize = 8;

/// Writes a file `articles.snapshot.gz` and its sidecar, with the records in no order.
fn write_file(sandbox: &Sandbox, rows: usize) -> Published {
    let entries = (0..rows).map(|number| entry(format!("id-{:06}", number * 7919 % rows), number, DIMENSIONS, 1));
    let published = Published::of_entries(DIMENSIONS, entries);
    published.write(&sandbox.path(""), "articles");
    published
}

fn assert_imports(sandbox: &Sandbox, run: &dyn Fn(&[&str]) -> RunResult) {
    let ok = |args: &[&str]| {
        let result = run(args);
        assert_eq!((result.exit_code, result.stderr.as_str()), (Some(0), ""), "{result:?}");
        result.stdout
    };
    let published = write_file(sandbox, 300);
    let printed = ok(&["import", "articles.snapshot.gz"]);
    assert!(printed.starts_with("imported 20251121T090000123Z-"), "{printed}");
    for text in [
        "store         NEW: there were no snapshots at ",
        "  name          articles\n",
        "  file          articles.snapshot.gz, of 2025-11-21 09:00:00 UTC\n",
        "not captured  quantization and other settings: the imported file lacks them\n",
        "next: ruvector-snapshot",
    ] {
        assert!(printed.contains(text), "{text:?} is not in {printed}");
    }
    let args = ["import", "articles.snapshot.gz", "--name", "team/old", "--source", "s", "--label", "a=b", "--json"];
    let (exit_code, document) = run(&args).into_json();
    assert_eq!(exit_code, 5, "{document}");
    let warning = document["warnings"][0].as_str().unwrap();
    assert!(warning.starts_with("the file was imported before, as 20251121T090000123Z-"), "{document}");
    let snapshot = &document["snapshot"];
    assert_eq!((&snapshot["name"], &snapshot["source"]["name"]), (&json!("team/old"), &json!("s")), "{document}");
    assert_eq!(snapshot["labels"], json!({ "a": "b", "imported-id": published.id, "imported-version": "2.3.0" }));
    assert_eq!(document["store_is_new"], false, "{document}");
    assert!(document["store_written_bytes"].as_u64().unwrap() > 1000, "{document}");
    ok(&["verify", "--all"]);
    ok(&["restore", "team/old", "--to", "b.db", "--allow-not-captured"]);
    let (vectors, metadata) = records_of_file(&sandbox.path("b.db"));
    assert_eq!((vectors.len(), metadata.len()), (300, 200));
    ok(&["export", "articles", "--to", "exported"]);
    let (records, _) = test_fixtures::read_npy_export(&sandbox.path("exported"));
    for (id, vector, _) in &published.records {
        let bits: Vec<_> = vector.iter().map(|value| value.to_bits()).collect();
        assert_eq!(records[id].0, bits, "{id}");
    }
}

#[test]
fn a_file_is_imported_into_a_directory_and_into_a_bucket() {
    let disk = Sandbox::empty();
    assert_imports(&disk, &|args| disk.run(args));
    let bucket = Bucket::s3(S3Server::start());
    assert_imports(&bucket.sandbox, &|args| bucket.run(args));
}

#[test]
fn mistakes_and_corrupt_files_are_named_and_nothing_is_stored() {
    let sandbox = Sandbox::empty();
    let published = write_file(&sandbox, 3);
    fs::create_dir(sandbox.path("snapshots")).unwrap();
    fs::copy(sandbox.path("articles.snapshot.gz"), sandbox.path("alone.snapshot.gz")).unwrap();
    let contents = published.contents();
    published.write_contents(&sandbox.path(""), "cut", &contents[..contents.len() - 1]);
    let twice = Published { records: vec![published.records[0].clone(); 3], ..published };
    twice.write(&sandbox.path(""), "twice");
    for (args, exit_code, text) in [
        (&["absent.snapshot.gz"][..], 1, "absent.snapshot.gz: cannot open the file"),
        (&["snapshots"], 1, "snapshots: this is a directory"),
        (&["articles.metadata.json"], 1, "this is not a gzip file"),
        (&["alone.snapshot.gz"], 1, "there is no alone.metadata.json, the sidecar"),
        (&["alone.snapshot.gz"], 1, "hint: put the sidecar beside the file, named as the file with .metadata.json"),
        (&["cut.snapshot.gz"], 3, "the contents end too early"),
        (&["cut.snapshot.gz"], 3, "hint: no snapshot was created; look for another copy of the file\n"),
        (&["twice.snapshot.gz"], 1, "is there twice, and no database can hold both records"),
        (&["articles.snapshot.gz", "--name", "latest"], 2, "latest"),
        (&["articles.snapshot.gz", "--label", "imported-id=x"], 1, "one that an import sets itself"),
        (&["articles.snapshot.gz", "--scratch-dir", "absent"], 1, "the directory does not exist"),
        (&[], 2, "<FILE>"),
    ] {
        sandbox.run(&[&["import"], args].concat()).assert_fails(exit_code, text);
        assert_eq!(sandbox.names("snapshots"), Vec::<String>::new(), "{args:?}");
    }
    let (exit_code, document) = sandbox.json(&["import", "cut.snapshot.gz"]);
    assert_eq!((exit_code, &document["error"]["kind"]), (3, &json!("corrupt")), "{document}");
    sandbox.ok_with_warning(&["import", "alone.snapshot.gz", "--unverified"], "there was no sidecar: nothing shows ");
    // An empty variable is no name of a source.
    let mut command = sandbox.command(&["import", "articles.snapshot.gz"]);
    let result = RunResult::from(command.env("RUVECTOR_SNAPSHOT_SOURCE", "").output().unwrap());
    result.assert_warns("the file was imported before, as ");
}

#[test]
fn an_import_that_reaches_the_limit_of_file_sizes_leaves_no_trace() {
    let sandbox = Sandbox::empty();
    write_file(&sandbox, 20_000);
    fs::create_dir(sandbox.path("snapshots")).unwrap();
    fs::create_dir(sandbox.path("scratch")).unwrap();
    let command = sandbox.command(&["import", "articles.snapshot.gz", "--scratch-dir", "scratch"]);
    let result = RunResult::from(after("ulimit -f 1024", &command).output().unwrap());
    for text in ["scratch: cannot sort the records in the scratch directory", "hint: raise the limit"] {
        result.assert_fails(1, text);
    }
    for directory in ["snapshots", "scratch"] {
        assert_eq!(sandbox.names(directory), Vec::<String>::new());
    }
}

#[test]
fn an_interrupted_import_stores_nothing() {
    let bucket = Bucket::s3(S3Server::start());
    write_file(&bucket.sandbox, 300);
    let is_upload: fn(&Request) -> bool = |request| request.key().contains("snapshot-") && !request.is_get();
    bucket.server.wire().set(move |request, _| is_upload(request).then_some(Fault::Hang));
    let args = ["import", "articles.snapshot.gz", "-o", "stall_timeout=60s"];
    let child = bucket.command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    while !bucket.server.wire().requests().iter().any(is_upload) {
        thread::yield_now();
    }
    bucket.server.wire().clear();
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let result = RunResult::from(child.wait_with_output().unwrap()).without_secrets();
    assert_eq!(result.exit_code, Some(130), "{result:?}");
    assert!(
        result.stderr.contains("error: interrupted: no snapshot was created, and no object was left at"),
        "{result:?}"
    );
    assert!(!bucket.server.keys().iter().any(|key| key.ends_with(layout::METADATA_JSON)));
}

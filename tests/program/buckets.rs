//! Snapshots in buckets: every verb, on servers in this process, with keys from every source.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use serde_json::{Value, json};
use test_servers::{Fault, GcsServer, Request, S3Server};

use super::bucket::{Bucket, ROWS, Server};
use super::sandbox::{RunResult, Sandbox, assert_holds, create_database};

/// The rows of a database that is uploaded in several parts.
const MANY_ROWS: usize = 80_000;
/// On a slow machine a request may time out before the signal arrives. The test then tries again.
const ATTEMPTS: usize = 20;

#[test]
fn every_verb_works_in_a_bucket() {
    for bucket in Bucket::both() {
        let nothing = format!("no snapshots at {} yet; create the first with: ruvector-snapshot create", bucket.store);
        assert!(bucket.run(&["list"]).stdout.starts_with(&nothing));
        let printed = bucket.ok(&["create", "--db", "a.db", "--name", "one", "--label", "host=db1"]);
        let one = bucket.ids().remove(0);
        assert!(printed.starts_with(&format!("created {one}\n")), "{printed}");
        assert!(printed.ends_with(&format!("next: ruvector-snapshot verify {one}\n")));
        assert!(bucket.server.keys().iter().all(|key| key.starts_with(&format!("backups/prod/snapshot-{one}/"))));
        assert_eq!(bucket.server.keys().len(), 5);

        let two = bucket.create("two");
        assert_eq!(bucket.ids(), [two.clone(), one.clone()]);
        assert!(bucket.ok(&["list"]).contains("2 snapshots, "));
        let printed = bucket.ok(&["show", "one"]);
        assert!(printed.contains("host=db1") && printed.contains(&format!("snapshot-{one} at {}\n", bucket.store)));
        assert!(bucket.ok(&["verify", "latest"]).starts_with(&format!("{two}  intact: 300 records, ")));
        assert!(bucket.ok(&["verify", "--all"]).ends_with("2 snapshots intact\n"));

        bucket.ok(&["restore", &one, "--to", "b.db"]);
        bucket.run(&["restore", "two", "--to", "b.db"]).assert_fails(1, "--force");
        bucket.ok(&["restore", "two", "--to", "b.db", "--force"]);
        assert_holds(&bucket.sandbox.path("b.db"), ROWS, 8);

        let three = bucket.create("three");
        assert!(bucket.ok(&["delete", "two"]).contains(&two));
        bucket.run(&["delete", &two]).assert_fails(4, "no snapshot has the id");
        assert_eq!(bucket.ids(), [three.clone(), one]);
        assert!(bucket.ok(&["prune", "--keep", "1"]).ends_with(" freed\n"));
        assert!(bucket.ok(&["prune", "--keep", "1"]).ends_with("nothing to delete\n"));
        assert_eq!(bucket.ids(), [three]);
        assert_eq!((bucket.server.keys().len(), bucket.server.open_uploads()), (5, 0));
    }
}

#[test]
fn the_data_files_have_the_storage_class_of_the_option() {
    let bucket = Bucket::s3(S3Server::start());
    bucket.ok(&["create", "--db", "a.db", "--name", "ia", "-o", "storage_class=standard_ia"]);
    let requests = bucket.server.wire().requests();
    let with_class = requests.iter().filter(|request| request.header("x-amz-storage-class") == Some("STANDARD_IA"));
    let mut keys: Vec<String> = with_class.map(Request::key).collect();
    keys.sort();
    assert!(keys.len() == 3 && keys.iter().all(|key| key.ends_with(".bin.gz")), "{keys:?}");
    assert!(bucket.ok(&["verify", "latest"]).contains("intact"));

    let refused = ["create", "--db", "a.db", "-o", "storage_class=DEEP_ARCHIVE"];
    bucket.run(&refused).assert_fails(2, "use GLACIER_IR");
    bucket.run(&["create", "--db", "a.db", "-o", "storage_class=cool"]).assert_fails(2, "must be one of STANDARD, ");
    let copy = ["copy", "--all", "--to", "s3://other/x", "--to-option", "storage_class=GLACIER"];
    bucket.run(&copy).assert_fails(2, "use GLACIER_IR");
    let local = ["create", "--db", "a.db", "--store", "snapshots", "-o", "storage_class=STANDARD"];
    bucket.run(&local).assert_fails(2, "takes no options");

    // A lifecycle rule has moved it: the credentials are right, and it is not corrupt.
    let (code, message) = ("InvalidObjectState", "The operation is not valid for the object's storage class");
    bucket.server.wire().set(move |request, _| {
        let is_data = request.is_get() && request.key().ends_with("vectors.bin.gz");
        is_data.then_some(Fault::Error { status: 403, code, message })
    });
    for verb in [&["verify", "ia"][..], &["restore", "ia", "--to", "b.db"], &["dump", "ia"]] {
        let result = bucket.run(verb);
        result.assert_fails(1, "the object is intact, but in an archive class");
        assert!(result.stderr.contains("aws s3api restore-object"), "{}", result.stderr);
        assert!(!result.stderr.contains("corrupt") && !result.stderr.contains("credentials"), "{}", result.stderr);
    }
    let result = bucket.run(&["verify", "--all"]);
    assert!(result.exit_code == Some(1) && result.stdout.contains("1 not verified"), "{result:?}");
    assert!(result.stdout.contains("the object is intact, but in an archive class"), "{result:?}");
}

#[test]
fn a_chain_works_in_a_bucket() {
    for bucket in Bucket::both() {
        let full = bucket.create("full");
        bucket.ok(&["create", "--db", "a.db", "--name", "one", "--base", "full"]);
        // The upload marker was removed.
        assert_eq!(bucket.server.keys().len(), 2 * 5);
        bucket.ok(&["create", "--db", "a.db", "--name", "two", "--base", "latest"]);
        assert!(bucket.ok(&["list"]).ends_with(": 1 full, 2 incremental\n"));
        assert!(bucket.ok(&["verify", "two"]).contains(", with 2 snapshots that it depends on\n"));
        bucket.ok(&["restore", "two", "--to", "b.db"]);
        assert_holds(&bucket.sandbox.path("b.db"), ROWS, 8);
        bucket.ok(&["compact", "two"]);
        bucket.ok(&["pin", "one"]);
        // The pin, and what verify has recorded of each snapshot of the chain.
        assert_eq!(bucket.server.keys().len(), 4 * 5 + 1 + 3);
        let refused = bucket.run(&["delete", "full"]);
        refused.assert_fails(1, &format!("cannot delete {full}: "));
        refused.assert_fails(1, " depend on it\n");
        bucket.run(&["delete", "full", "--cascade"]).assert_fails(1, "is pinned");
        bucket.ok(&["unpin", "one"]);
        bucket.ok(&["delete", "full", "--cascade"]);
        assert_eq!((bucket.ids().len(), bucket.server.keys().len(), bucket.server.open_uploads()), (1, 5, 0));
        assert!(bucket.ok(&["verify", "two"]).contains("intact: 300 records"));
    }
}

#[test]
fn every_verb_prints_one_json_document() {
    for bucket in Bucket::both() {
        let id = bucket.create("one");
        let of = |args: &[&str]| {
            let (exit_code, document) = bucket.json(args);
            assert_eq!(exit_code, 0, "{args:?}: {document}");
            document
        };
        assert_eq!(of(&["show", "one"])["snapshots"][0]["id"], id);
        assert_eq!(of(&["verify", "one"])["state"], "intact");
        assert_eq!(of(&["verify", "--all"])["store"], bucket.store);
        assert_eq!(of(&["restore", "one", "--to", "b.db"])["records"], ROWS);
        assert_eq!(of(&["prune", "--keep", "1", "--dry-run"])["deleted"], json!([]));
        let (exit_code, document) = bucket.json(&["delete", "one"]);
        assert_eq!((exit_code, &document["deleted"]), (5, &json!([id])), "{document}");
        let (exit_code, document) = bucket.json(&["show", "one"]);
        assert_eq!((exit_code, document["error"]["kind"].as_str()), (4, Some("not_found")));
    }
}

#[test]
fn the_store_and_its_settings_can_be_given_as_options() {
    for bucket in Bucket::both() {
        let settings: Vec<String> = bucket.environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut typed = vec!["--store", &bucket.store];
        settings.iter().for_each(|setting| typed.extend(["-o", setting]));
        let run = |args: &[&str]| bucket.sandbox.run(&[args, &typed].concat()).without_secrets();

        let created = run(&["create", "--db", "a.db"]);
        assert_eq!(created.exit_code, Some(0), "{created:?}");
        let next = created.stdout.lines().last().unwrap();
        assert!(next.starts_with(&format!("next: ruvector-snapshot --store {} -o ", bucket.store)), "{next}");
        assert!(next.contains(" -o ... verify "), "{next}");
        assert_eq!(run(&["verify", "--all"]).stdout.lines().last(), Some("1 snapshot intact"));
        // Options may have short names, and override the environment.
        let (wrong, short) = match bucket.server {
            Server::S3(_) => {
                (("AWS_SECRET_ACCESS_KEY", "wrong"), format!("secret_access_key={}", S3Server::SECRET_KEY))
            }
            Server::Gcs(_) => (("GOOGLE_BEARER_TOKEN", "wrong"), format!("bearer_token={}", GcsServer::TOKEN)),
        };
        let mut command = bucket.command(&["list", "-o", &short]);
        let listed = RunResult::from(command.env(wrong.0, wrong.1).output().unwrap()).without_secrets();
        assert!(listed.exit_code == Some(0) && listed.stdout.contains("1 snapshot, "), "{listed:?}");
    }
}

#[test]
fn keys_can_come_from_a_profile() {
    let mut bucket = Bucket::s3(S3Server::start());
    let keys = format!(
        "[backup]\naws_access_key_id = {}\naws_secret_access_key = {}\n",
        S3Server::ACCESS_KEY,
        S3Server::SECRET_KEY
    );
    fs::write(bucket.sandbox.path("keys"), keys).unwrap();
    bucket.environment.retain(|(name, _)| !name.contains("ACCESS_KEY"));
    bucket.environment.push(("AWS_SHARED_CREDENTIALS_FILE", "keys".to_owned()));
    bucket.environment.push(("AWS_PROFILE", "backup".to_owned()));
    bucket.create("one");
    assert!(bucket.ok(&["verify", "one"]).contains("  intact: 300 records"));
    bucket.environment.push(("AWS_PROFILE", "other".to_owned()));
    bucket.run(&["list"]).assert_fails(2, "there is no profile \"other\"");
}

/// A full snapshot is compared with the last one of its source. A store of years is not read for that.
#[test]
fn a_full_create_lists_once_and_reads_the_newest_snapshot_of_its_source() {
    let bucket = Bucket::s3(S3Server::start());
    for name in ["one", "two", "three"] {
        bucket.create(name);
    }
    bucket.ok(&["create", "--db", "a.db", "--source", "other"]);
    bucket.server.wire().reset_log();
    bucket.ok(&["create", "--db", "a.db", "--connections", "1"]);
    let requests = bucket.server.wire().requests();
    let read = requests.iter().filter(|request| request.is_get() && request.key().ends_with("metadata.json"));
    // Of the other source, and the newest of this one.
    assert_eq!(read.count(), 2);
    let listed = requests.iter().filter(|request| request.query == "list-type=2&prefix=backups%2Fprod%2F");
    assert_eq!(listed.count(), 1);
}

#[test]
fn verify_after_write_reads_everything_back_before_the_commit() {
    let bucket = Bucket::s3(S3Server::start());
    let commit = |requests: &[Request]| {
        requests.iter().position(|request| request.is_put() && request.key().ends_with("metadata.json")).unwrap()
    };
    for is_asked in [false, true] {
        bucket.server.wire().reset_log();
        bucket.ok(&["create", "--db", "a.db", if is_asked { "--verify-after-write" } else { "--quiet" }]);
        let requests = bucket.server.wire().requests();
        let is_data = |request: &&Request| request.is_get() && !request.key().ends_with("metadata.json");
        let read = requests[..commit(&requests)].iter().filter(is_data).count();
        assert_eq!(read, if is_asked { 3 } else { 0 });
    }
    bucket
        .server
        .wire()
        .set(|request, _| (request.is_get() && request.key().contains("vectors")).then_some(Fault::Corrupt));
    bucket.run(&["create", "--db", "a.db", "--verify-after-write"]).assert_fails(3, "do not trust this store");
    bucket.server.wire().clear();
    assert_eq!((bucket.ids().len(), bucket.server.keys().len()), (2, 10));
}

#[test]
fn store_check_passes_and_leaves_nothing() {
    for bucket in Bucket::both() {
        let printed = bucket.ok(&["store", "check"]);
        for text in
            ["create if absent             PASS\n", "multipart upload             PASS\n", "latency ", "throughput "]
        {
            assert!(printed.contains(text), "{text:?} is not in {printed}");
        }
        assert!(printed.ends_with(&format!("snapshots are safe at {}\n", bucket.store)), "{printed}");
        assert!(!printed.contains("WARN") && !printed.contains("FAIL"), "{printed}");
        assert_eq!((bucket.server.keys(), bucket.server.open_uploads()), (Vec::new(), 0));
    }
}

#[test]
fn store_check_warns_about_a_store_that_ignores_preconditions() {
    let bucket = Bucket::s3(S3Server::start_without_preconditions());
    let checked = bucket.run(&["store", "check"]);
    checked.assert_warns("create if absent");
    assert!(checked.stdout.contains("ignores If-None-Match"), "{checked:?}");
    assert!(checked.stdout.contains("snapshots are safe at"), "{checked:?}");
    let strict = bucket.run(&["store", "check", "--strict"]);
    assert_eq!(strict.exit_code, Some(1), "{strict:?}");
    let (exit_code, document) = bucket.json(&["store", "check"]);
    assert_eq!((exit_code, &document["safe"], &document["store"]), (5, &json!(true), &json!(bucket.store)));
    let findings = document["findings"].as_array().unwrap();
    let warnings: Vec<_> = findings.iter().filter(|finding| finding["status"] != "pass").collect();
    assert!(warnings.iter().all(|finding| finding["status"] == "warn"), "{document}");
    assert!(warnings.iter().any(|finding| finding["name"] == "create if absent"), "{document}");
    assert!(document["speed"]["upload_bytes_per_second"].as_f64().unwrap() > 0.0);
    assert_eq!(bucket.server.keys(), Vec::<String>::new());
}

#[test]
fn a_server_that_refuses_preconditions_is_used_without_a_warning() {
    let bucket = Bucket::s3(S3Server::start_refusing_preconditions());
    let quiet = |args: &[&str]| {
        let result = bucket.run(args);
        assert_eq!((result.exit_code, result.stderr.contains("warning")), (Some(0), false), "{args:?}: {result:?}");
    };
    let create = ["create", "--db", "a.db", "--name"];
    quiet(&[&create[..], &["first"]].concat());
    quiet(&[&create[..], &["second", "--base", "latest"]].concat());
    for args in [["pin", "first"], ["unpin", "first"], ["compact", "second"], ["delete", "latest"]] {
        quiet(&args);
    }
    quiet(&["prune", "--keep-last", "1", "--group-by", "none"]);
    quiet(&[&create[..], &["chosen", "-o", "conditional_create=false"]].concat());
    let logged = bucket.run(&[&create[..], &["logged", "-v"]].concat());
    assert!(logged.stderr.contains("the server refuses If-None-Match"), "{logged:?}");
    bucket.ok(&["verify", "--all"]);
}

#[test]
fn store_check_warns_about_a_server_that_refuses_preconditions() {
    let bucket = Bucket::s3(S3Server::start_refusing_preconditions());
    let checked = bucket.run(&["store", "check"]);
    checked.assert_warns("not met, and not needed for safety: create if absent, concurrent create if absent");
    let printed = checked.stdout;
    assert!(printed.contains("create if absent             WARN") && printed.contains("refuses"), "{printed}");
    assert!(printed.contains("snapshots are safe at"), "{printed}");
    let chosen = bucket.run(&["store", "check", "-o", "conditional_create=false"]);
    chosen.assert_warns("create if absent");
    assert!(chosen.stdout.contains("conditional_create=false is set"), "{chosen:?}");
    assert_eq!(bucket.server.keys(), Vec::<String>::new());
}

#[test]
fn store_check_fails_for_a_store_that_corrupts_data() {
    let bucket = Bucket::s3(S3Server::start());
    bucket
        .server
        .wire()
        .set(|request, _| (request.is_get() && request.key().ends_with("parts")).then_some(Fault::Corrupt));
    let result = bucket.run(&["store", "check"]);
    assert_eq!(result.exit_code, Some(1), "{result:?}");
    assert!(result.stdout.contains("multipart upload             FAIL"), "{result:?}");
    assert!(result.stdout.contains(&format!("do not keep snapshots at {}", bucket.store)), "{result:?}");
    assert_eq!((bucket.server.keys(), bucket.server.open_uploads()), (Vec::new(), 0));
}

#[test]
fn store_options_lists_every_setting() {
    let sandbox = Sandbox::empty();
    let all = sandbox.ok(&["store", "options"]);
    for text in ["s3://", "gs://", "az://", "region", "AWS_DEFAULT_REGION", "bearer_token", "account_key"] {
        assert!(all.contains(text), "{text:?} is not in {all}");
    }
    let s3 = sandbox.ok(&["store", "options", "s3"]);
    assert!(s3.contains("AWS_ENDPOINT_URL") && !s3.contains("gs://") && !s3.contains("bearer_token"), "{s3}");
    let (exit_code, document) = sandbox.json(&["store", "options", "gs"]);
    let token = document["options"].as_array().unwrap().iter().find(|option| option["name"] == "bearer_token").unwrap();
    assert_eq!((exit_code, &token["environment"]), (0, &json!(["GOOGLE_BEARER_TOKEN"])));
    sandbox.run(&["store", "options", "gcs"]).assert_fails(2, "possible values: s3, gs, az");
}

#[test]
fn the_operations_guide_documents_every_store_option() {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/OPERATIONS.md");
    let guide = fs::read_to_string(guide).unwrap();
    let (_, document) = Sandbox::empty().json(&["store", "options"]);
    for option in document["options"].as_array().unwrap() {
        let environment: Vec<_> = option["environment"]
            .as_array()
            .unwrap()
            .iter()
            .map(|name| format!("`{}`", name.as_str().unwrap()))
            .collect();
        let row = format!(
            "| `{}` | {} | {} |",
            option["name"].as_str().unwrap(),
            environment.join(", "),
            option["description"].as_str().unwrap()
        );
        assert!(guide.contains(&row), "docs/OPERATIONS.md has no row {row}");
    }
}

/// Returns a bucket, and a database `big.db` that is uploaded in several parts.
fn bucket_with_big_database() -> Bucket {
    let bucket = Bucket::s3(S3Server::start());
    create_database(&bucket.sandbox.path("big.db"), MANY_ROWS, 128);
    bucket
}

/// Runs `create` until the server gets a request that is `awaited`, interrupts it, and returns its result.
fn interrupted(bucket: &Bucket, more: &[&str], awaited: impl Fn(&Request) -> bool) -> RunResult {
    bucket.server.wire().reset_log();
    let mut command = bucket.command(&[&["create", "--db", "big.db"], more].concat());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    while !bucket.server.wire().requests().iter().any(&awaited) && child.try_wait().unwrap().is_none() {
        thread::yield_now();
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    RunResult::from(child.wait_with_output().unwrap()).without_secrets()
}

#[cfg(unix)]
#[test]
fn an_interrupted_upload_leaves_nothing_in_the_bucket() {
    let bucket = bucket_with_big_database();
    // Only the first part gets an answer. With one connection, the upload then waits for the second one.
    let mut parts = 0;
    bucket.server.wire().set(move |request, _| {
        parts += usize::from(request.is_part_upload());
        (request.is_part_upload() && parts > 1).then_some(Fault::Hang)
    });
    let result = interrupted(&bucket, &["--connections", "1"], |request| {
        request.parameter("partNumber").is_some_and(|number| number == "2")
    });
    assert_eq!((result.exit_code, result.stdout.as_str()), (Some(130), ""), "{result:?}");
    assert!(result.stderr.contains("interrupted; cleaning up"), "{result:?}");
    let text = format!("error: interrupted: no snapshot was created, and no object was left at {}\n", bucket.store);
    assert!(result.stderr.ends_with(&text), "{result:?}");
    assert_eq!((bucket.server.open_uploads(), bucket.server.keys()), (0, Vec::new()));
    bucket.server.wire().clear();
    bucket.ok(&["create", "--db", "big.db"]);
    assert!(bucket.ok(&["verify", "latest"]).contains("intact: 80,000 records"));
}

#[cfg(unix)]
#[test]
fn an_interrupted_create_names_objects_that_could_not_be_removed() {
    let bucket = bucket_with_big_database();
    // Completing the third file hangs. Then nothing can be deleted.
    bucket.server.wire().set(|request, _| match () {
        () if request.is_complete() => Some(Fault::Hang),
        () if request.is_delete() => Some(Fault::Status(403)),
        () => None,
    });
    let timeouts = ["-o", "stall_timeout=2s", "-o", "retry_timeout=1s"];
    let result = (0..ATTEMPTS).map(|_| interrupted(&bucket, &timeouts, Request::is_complete));
    let result = { result }
        .find(|result| result.stderr.contains("error: interrupted: "))
        .expect("no run was interrupted in time");
    assert_eq!(result.exit_code, Some(130), "{result:?}");
    bucket.server.wire().clear();
    let (_, document) = bucket.json(&["list"]);
    let uploads = document["pending_uploads"].as_array().unwrap();
    let names = |id: &Value| {
        let text =
            format!("error: interrupted: no snapshot was created, but objects of {} were left", id.as_str().unwrap());
        result.stderr.contains(&text)
    };
    assert!(uploads.iter().any(names), "{result:?}");
    assert!(result.stderr.contains(&bucket.store), "{result:?}");
    assert!(bucket.run(&["list"]).stdout.contains("upload: snapshot-"));
    assert_eq!(bucket.server.open_uploads(), 0);
}

//! Snapshots in buckets: every verb, on servers in this process, with keys given in every way there is.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use serde_json::{Value, json};
use test_servers::{Fault, GcsServer, Request, S3Server, Wire};

use super::{Desk, Ran, assert_holds, database};

const ROWS: usize = 300;
/// Of a database that is uploaded in several parts.
const MANY_ROWS: usize = 80_000;
/// A machine may be so slow that a request is given up before the signal comes; then it is tried again.
const ATTEMPTS: usize = 20;

/// A server, and a desk whose runs find it by their environment.
pub(crate) struct Bucket {
    pub(crate) desk: Desk,
    pub(crate) server: Server,
    /// The location of the snapshots.
    pub(crate) store: String,
    /// The variables that say where the server is, and with which keys.
    pub(crate) environment: Vec<(&'static str, String)>,
}

pub(crate) enum Server {
    S3(S3Server),
    Gcs(GcsServer),
}

impl Server {
    pub(crate) fn wire(&self) -> &Wire {
        match self {
            Self::S3(server) => server.wire(),
            Self::Gcs(server) => server.wire(),
        }
    }

    pub(crate) fn open_uploads(&self) -> usize {
        match self {
            Self::S3(server) => server.open_uploads(),
            Self::Gcs(server) => server.open_uploads(),
        }
    }

    /// The keys of all objects, sorted.
    pub(crate) fn keys(&self) -> Vec<String> {
        match self {
            Self::S3(server) => server.objects().into_keys().collect(),
            Self::Gcs(server) => server.objects().into_keys().collect(),
        }
    }
}

impl Bucket {
    pub(crate) fn s3(server: S3Server) -> Self {
        let environment = vec![
            ("AWS_ENDPOINT_URL", server.endpoint()),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
            ("AWS_ACCESS_KEY_ID", S3Server::ACCESS_KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", S3Server::SECRET_KEY.to_owned()),
        ];
        let store = format!("s3://{}/backups/prod", S3Server::BUCKET);
        Self { desk: Desk::with_rows(ROWS), server: Server::S3(server), store, environment }
    }

    pub(crate) fn gcs(server: GcsServer) -> Self {
        let environment = vec![
            ("GOOGLE_BASE_URL", server.endpoint()),
            ("GOOGLE_ALLOW_HTTP", "true".to_owned()),
            ("GOOGLE_BEARER_TOKEN", GcsServer::TOKEN.to_owned()),
        ];
        let store = format!("gs://{}/backups/prod", GcsServer::BUCKET);
        Self { desk: Desk::with_rows(ROWS), server: Server::Gcs(server), store, environment }
    }

    fn both() -> [Self; 2] {
        [Self::s3(S3Server::start()), Self::gcs(GcsServer::start())]
    }

    /// With the store and the keys in the environment.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = self.desk.command(args);
        command.env("RUVECTOR_SNAPSHOT_STORE", &self.store).envs(self.environment.iter().cloned());
        command
    }

    #[track_caller]
    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        Ran::from(self.command(args).output().unwrap()).without_secrets()
    }

    #[track_caller]
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let ran = self.run(args);
        assert_eq!(ran.status, Some(0), "{args:?}: {ran:?}");
        ran.stdout
    }

    #[track_caller]
    pub(crate) fn json(&self, args: &[&str]) -> (i32, Value) {
        let ran = self.run(&[args, &["--json"]].concat());
        (ran.status.unwrap(), serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("no document: {ran:?}")))
    }

    #[track_caller]
    fn create(&self, name: &str) -> String {
        let (status, document) = self.json(&["create", "--db", "a.db", "--name", name]);
        assert_eq!((status, document["store"].as_str()), (0, Some(&*self.store)), "{document}");
        document["snapshot"]["id"].as_str().unwrap().to_owned()
    }

    /// The ids that list gives, newest first.
    #[track_caller]
    fn ids(&self) -> Vec<String> {
        let (status, document) = self.json(&["list"]);
        assert_eq!((status, &document["unfinished"], &document["damaged"]), (0, &json!([]), &json!([])));
        let ids = document["snapshots"].as_array().unwrap().iter().map(|snapshot| snapshot["id"].as_str().unwrap());
        ids.map(str::to_owned).collect()
    }
}

impl Ran {
    /// Nothing that was printed holds a key of the servers.
    #[track_caller]
    pub(crate) fn without_secrets(self) -> Self {
        for secret in [S3Server::SECRET_KEY, GcsServer::TOKEN] {
            assert!(!self.stdout.contains(secret) && !self.stderr.contains(secret), "a secret was printed: {self:?}");
        }
        self
    }
}

#[test]
fn every_verb_works_in_a_bucket() {
    for bucket in Bucket::both() {
        let nothing = format!("no snapshots at {} yet; the first comes with: ruvector-snapshot create", bucket.store);
        assert!(bucket.ok(&["list"]).starts_with(&nothing));
        let printed = bucket.ok(&["create", "--db", "a.db", "--name", "one", "--label", "host=db1"]);
        let one = bucket.ids().remove(0);
        assert!(printed.starts_with(&format!("created {one}\n")), "{printed}");
        assert!(printed.ends_with(&format!("next: ruvector-snapshot verify {one}, or restore {one} --to FILE\n")));
        assert!(bucket.server.keys().iter().all(|key| key.starts_with(&format!("backups/prod/snapshot-{one}/"))));
        assert_eq!(bucket.server.keys().len(), 5);

        let two = bucket.create("two");
        assert_eq!(bucket.ids(), [two.clone(), one.clone()]);
        assert!(bucket.ok(&["list"]).contains("2 snapshots, "));
        let printed = bucket.ok(&["show", "one"]);
        assert!(printed.contains("host=db1") && printed.contains(&format!("snapshot-{one} at {}\n", bucket.store)));
        assert!(bucket.ok(&["verify", "latest"]).starts_with(&format!("{two}  whole: 300 records, ")));
        assert!(bucket.ok(&["verify", "--all"]).ends_with("2 snapshots whole\n"));

        bucket.ok(&["restore", &one, "--to", "b.db"]);
        bucket.run(&["restore", "two", "--to", "b.db"]).fails(1, "--force");
        bucket.ok(&["restore", "two", "--to", "b.db", "--force"]);
        assert_holds(&bucket.desk.path("b.db"), ROWS, 8);

        let three = bucket.create("three");
        assert!(bucket.ok(&["delete", "two"]).contains(&two));
        bucket.run(&["delete", &two]).fails(1, "no snapshot has the id");
        assert_eq!(bucket.ids(), [three.clone(), one]);
        assert!(bucket.ok(&["prune", "--keep", "1"]).ends_with(" freed\n"));
        assert!(bucket.ok(&["prune", "--keep", "1"]).ends_with("nothing to delete\n"));
        assert_eq!(bucket.ids(), [three]);
        assert_eq!((bucket.server.keys().len(), bucket.server.open_uploads()), (5, 0));
    }
}

#[test]
fn a_chain_lives_in_a_bucket() {
    for bucket in Bucket::both() {
        let full = bucket.create("full");
        bucket.ok(&["create", "--db", "a.db", "--name", "one", "--base", "full"]);
        // What marked the upload is gone again.
        assert_eq!(bucket.server.keys().len(), 2 * 5);
        bucket.ok(&["create", "--db", "a.db", "--name", "two", "--base", "latest"]);
        assert!(bucket.ok(&["list"]).ends_with(": 1 full, 2 increments\n"));
        assert!(bucket.ok(&["verify", "two"]).contains(", with the 2 snapshots below it"));
        bucket.ok(&["restore", "two", "--to", "b.db"]);
        assert_holds(&bucket.desk.path("b.db"), ROWS, 8);
        bucket.ok(&["compact", "two"]);
        bucket.ok(&["pin", "one"]);
        assert_eq!(bucket.server.keys().len(), 4 * 5 + 1);
        bucket.run(&["delete", "full"]).fails(1, &format!("snapshot {full} is needed"));
        bucket.run(&["delete", "full", "--cascade"]).fails(1, "is pinned");
        bucket.ok(&["unpin", "one"]);
        bucket.ok(&["delete", "full", "--cascade"]);
        assert_eq!((bucket.ids().len(), bucket.server.keys().len(), bucket.server.open_uploads()), (1, 5, 0));
        assert!(bucket.ok(&["verify", "two"]).contains("whole: 300 records"));
    }
}

#[test]
fn every_verb_prints_one_document_for_a_program() {
    for bucket in Bucket::both() {
        let id = bucket.create("one");
        let of = |args: &[&str]| {
            let (status, document) = bucket.json(args);
            assert_eq!(status, 0, "{args:?}: {document}");
            document
        };
        assert_eq!(of(&["show", "one"])["snapshot"]["id"], id);
        assert_eq!(of(&["verify", "one"])["whole"], true);
        assert_eq!(of(&["verify", "--all"])["store"], bucket.store);
        assert_eq!(of(&["restore", "one", "--to", "b.db"])["records"], ROWS);
        assert_eq!(of(&["prune", "--keep", "1", "--dry-run"])["deleted"], json!([]));
        assert_eq!(of(&["delete", "one"])["deleted"], json!([id]));
        let (status, document) = bucket.json(&["show", "one"]);
        assert_eq!((status, document["error"]["kind"].as_str()), (1, Some("not_found")));
    }
}

#[test]
fn the_store_and_its_settings_can_be_typed() {
    for bucket in Bucket::both() {
        let settings: Vec<String> = bucket.environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut typed = vec!["--store", &bucket.store];
        settings.iter().for_each(|setting| typed.extend(["-o", setting]));
        let run = |args: &[&str]| bucket.desk.run(&[args, &typed].concat()).without_secrets();

        let created = run(&["create", "--db", "a.db"]);
        assert_eq!(created.status, Some(0), "{created:?}");
        let next = format!("next: ruvector-snapshot --store {} -o ... verify ", bucket.store);
        assert!(created.stdout.contains(&next), "{created:?}");
        assert_eq!(run(&["verify", "--all"]).stdout.lines().last(), Some("1 snapshot whole"));
        // Under the short names, and before the environment.
        let (wrong, short) = match bucket.server {
            Server::S3(_) => {
                (("AWS_SECRET_ACCESS_KEY", "wrong"), format!("secret_access_key={}", S3Server::SECRET_KEY))
            }
            Server::Gcs(_) => (("GOOGLE_BEARER_TOKEN", "wrong"), format!("bearer_token={}", GcsServer::TOKEN)),
        };
        let mut command = bucket.command(&["list", "-o", &short]);
        let listed = Ran::from(command.env(wrong.0, wrong.1).output().unwrap()).without_secrets();
        assert!(listed.status == Some(0) && listed.stdout.contains("1 snapshot, "), "{listed:?}");
    }
}

#[test]
fn keys_are_found_in_a_profile() {
    let mut bucket = Bucket::s3(S3Server::start());
    let keys = format!(
        "[backup]\naws_access_key_id = {}\naws_secret_access_key = {}\n",
        S3Server::ACCESS_KEY,
        S3Server::SECRET_KEY
    );
    fs::write(bucket.desk.path("keys"), keys).unwrap();
    bucket.environment.retain(|(name, _)| !name.contains("ACCESS_KEY"));
    bucket.environment.push(("AWS_SHARED_CREDENTIALS_FILE", "keys".to_owned()));
    bucket.environment.push(("AWS_PROFILE", "backup".to_owned()));
    bucket.create("one");
    assert!(bucket.ok(&["verify", "one"]).contains("whole"));
    bucket.environment.push(("AWS_PROFILE", "other".to_owned()));
    bucket.run(&["list"]).fails(2, "there is no profile \"other\"");
}

#[test]
fn what_was_written_is_read_back_before_the_commit() {
    let bucket = Bucket::s3(S3Server::start());
    let commit = |requests: &[Request]| {
        requests.iter().position(|request| request.is_put() && request.key().ends_with("metadata.json")).unwrap()
    };
    for is_asked in [false, true] {
        bucket.server.wire().forget();
        bucket.ok(&["create", "--db", "a.db", if is_asked { "--verify-after-write" } else { "--quiet" }]);
        let requests = bucket.server.wire().requests();
        let read = requests[..commit(&requests)].iter().filter(|request| request.is_get()).count();
        assert_eq!(read, if is_asked { 3 } else { 0 });
    }
    bucket
        .server
        .wire()
        .set(|request, _| (request.is_get() && request.key().contains("vectors")).then_some(Fault::Corrupt));
    bucket.run(&["create", "--db", "a.db", "--verify-after-write"]).fails(3, "do not trust this store");
    bucket.server.wire().clear();
    assert_eq!((bucket.ids().len(), bucket.server.keys().len()), (2, 10));
}

#[test]
fn check_tries_a_store_out_and_leaves_nothing() {
    for bucket in Bucket::both() {
        let printed = bucket.ok(&["store", "check"]);
        for words in ["create once       ok\n", "uploads in parts  ok\n", "latency ", "throughput "] {
            assert!(printed.contains(words), "{words:?} is not in {printed}");
        }
        assert!(printed.ends_with(&format!("snapshots are safe at {}\n", bucket.store)), "{printed}");
        assert!(!printed.contains("missing") && !printed.contains("BROKEN"), "{printed}");
        assert_eq!((bucket.server.keys(), bucket.server.open_uploads()), (Vec::new(), 0));
    }
}

#[test]
fn check_names_a_store_that_ignores_preconditions() {
    let bucket = Bucket::s3(S3Server::start_without_preconditions());
    let printed = bucket.ok(&["store", "check"]);
    assert!(printed.contains("ignores If-None-Match"), "{printed}");
    assert!(printed.lines().all(|line| line.len() <= 120), "{printed}");
    assert!(printed.contains("snapshots are safe at"), "{printed}");
    let (status, document) = bucket.json(&["store", "check"]);
    assert_eq!((status, &document["safe"], &document["store"]), (0, &json!(true), &json!(bucket.store)));
    let findings = document["report"]["findings"].as_array().unwrap();
    let missing: Vec<_> = findings.iter().filter(|finding| finding["verdict"] != "kept").collect();
    assert!(missing.iter().all(|finding| finding["verdict"] == "missing"), "{document}");
    assert!(missing.iter().any(|finding| finding["what"] == "create once"), "{document}");
    assert!(document["report"]["speed"]["upload_bytes_per_second"].as_f64().unwrap() > 0.0);
    assert_eq!(bucket.server.keys(), Vec::<String>::new());
}

#[test]
fn check_says_where_snapshots_are_not_safe() {
    let bucket = Bucket::s3(S3Server::start());
    bucket
        .server
        .wire()
        .set(|request, _| (request.is_get() && request.key().ends_with("parts")).then_some(Fault::Corrupt));
    let ran = bucket.run(&["store", "check"]);
    assert_eq!(ran.status, Some(1), "{ran:?}");
    assert!(ran.stdout.contains("uploads in parts  BROKEN"), "{ran:?}");
    assert!(ran.stdout.contains(&format!("do not keep snapshots at {}", bucket.store)), "{ran:?}");
    assert_eq!((bucket.server.keys(), bucket.server.open_uploads()), (Vec::new(), 0));
}

#[test]
fn options_lists_what_can_be_set() {
    let desk = Desk::empty();
    let all = desk.ok(&["store", "options"]);
    for words in ["s3://", "gs://", "az://", "region", "AWS_DEFAULT_REGION", "bearer_token", "account_key"] {
        assert!(all.contains(words), "{words:?} is not in {all}");
    }
    assert!(all.lines().all(|line| line.chars().count() <= 120), "{all}");
    let s3 = desk.ok(&["store", "options", "s3"]);
    assert!(s3.contains("AWS_ENDPOINT_URL") && !s3.contains("gs://") && !s3.contains("bearer_token"), "{s3}");
    let (status, document) = desk.json(&["store", "options", "gs"]);
    let token = document.as_array().unwrap().iter().find(|option| option["name"] == "bearer_token").unwrap();
    assert_eq!((status, &token["environment"]), (0, &json!(["GOOGLE_BEARER_TOKEN"])));
    desk.run(&["store", "options", "gcs"]).fails(2, "possible values: s3, gs, az");
}

#[test]
fn the_operations_guide_names_every_option() {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/OPERATIONS.md");
    let guide = fs::read_to_string(guide).unwrap();
    let (_, document) = Desk::empty().json(&["store", "options"]);
    for option in document.as_array().unwrap() {
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
            option["what"].as_str().unwrap()
        );
        assert!(guide.contains(&row), "docs/OPERATIONS.md has no row {row}");
    }
}

/// A bucket, and a database of several parts, named big.db.
fn with_a_big_database() -> Bucket {
    let bucket = Bucket::s3(S3Server::start());
    database(&bucket.desk.path("big.db"), MANY_ROWS, 128);
    bucket
}

/// Runs `create` until a request that is `awaited` has come, interrupts it, and gives what came of it.
fn interrupted(bucket: &Bucket, more: &[&str], awaited: impl Fn(&Request) -> bool) -> Ran {
    bucket.server.wire().forget();
    let mut command = bucket.command(&[&["create", "--db", "big.db"], more].concat());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    while !bucket.server.wire().requests().iter().any(&awaited) && child.try_wait().unwrap().is_none() {
        thread::yield_now();
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    Ran::from(child.wait_with_output().unwrap()).without_secrets()
}

#[cfg(unix)]
#[test]
fn an_interrupted_upload_leaves_nothing_in_the_bucket() {
    let bucket = with_a_big_database();
    // The first part arrives, and no other; with one connection, the upload is then in its middle until it is interrupted.
    let mut parts = 0;
    bucket.server.wire().set(move |request, _| {
        parts += usize::from(request.is_part_upload());
        (request.is_part_upload() && parts > 1).then_some(Fault::Hang)
    });
    let ran = interrupted(&bucket, &["--connections", "1"], |request| {
        request.parameter("partNumber").is_some_and(|number| number == "2")
    });
    assert_eq!((ran.status, ran.stdout.as_str()), (Some(1), ""), "{ran:?}");
    assert!(ran.stderr.contains("interrupted; cleaning up"), "{ran:?}");
    let words =
        format!("error: interrupted; there is no new snapshot, and no object of one was left at {}\n", bucket.store);
    assert!(ran.stderr.ends_with(&words), "{ran:?}");
    assert_eq!((bucket.server.open_uploads(), bucket.server.keys()), (0, Vec::new()));
    bucket.server.wire().clear();
    bucket.ok(&["create", "--db", "big.db"]);
    assert!(bucket.ok(&["verify", "latest"]).contains("whole: 80,000 records"));
}

#[cfg(unix)]
#[test]
fn an_interrupt_tells_what_could_not_be_removed() {
    let bucket = with_a_big_database();
    // Two files are there when the end of the third does not come; then nothing can be deleted.
    bucket.server.wire().set(|request, _| match () {
        () if request.is_complete() => Some(Fault::Hang),
        () if request.is_delete() => Some(Fault::Status(403)),
        () => None,
    });
    let patience = ["-o", "stall_timeout=2s", "-o", "retry_timeout=1s"];
    let ran = (0..ATTEMPTS).map(|_| interrupted(&bucket, &patience, Request::is_complete));
    let ran = { ran }.find(|ran| ran.stderr.contains("interrupted; ")).expect("a run that was interrupted in time");
    assert_eq!(ran.status, Some(1), "{ran:?}");
    let words = format!("there is no new snapshot; objects under {}/snapshot-", bucket.store);
    assert!(ran.stderr.contains(&words), "{ran:?}");
    bucket.server.wire().clear();
    assert!(bucket.ok(&["list"]).contains("unfinished: snapshot-"));
    assert_eq!(bucket.server.open_uploads(), 0);
}

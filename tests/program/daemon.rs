//! `schedule`, which runs jobs until it is stopped, `schedule --once`, and what a service manager hears of it. No test waits for a
//! time: each waits for a line, a request or a message.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::thread;

use serde_json::{Value, json};
use test_servers::{Fault, Gate, Request, S3Server};

use super::bucket::Bucket;
use super::documents::strict_schema;
use super::sandbox::{DIMENSIONS, RunResult, Sandbox, create_database, ids_of, open_database};

const FILE: &str = "ruvector-snapshot.toml";

/// A job of `a.db` that is due each second.
const EACH_SECOND: &str = "[[jobs]]\nname = \"nightly\"\ndatabases = [\"a.db\"]\nwhen = \"every 1s\"\n";

/// Writes a file with a store and these jobs.
fn with_jobs(sandbox: &Sandbox, jobs: &str) {
    let policies = "[retention.few]\nkeep_last = 2\n";
    fs::write(sandbox.path(FILE), format!("store = \"snapshots\"\n{policies}{jobs}")).unwrap();
}

/// A program that runs until it is stopped.
pub(crate) struct Daemon {
    child: Child,
    stdout: BufReader<ChildStdout>,
    stderr: BufReader<ChildStderr>,
    read: String,
}

impl Daemon {
    /// Starts a command, and waits until it says that it is running.
    #[track_caller]
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        Self { child, stdout: BufReader::new(stdout), stderr: BufReader::new(stderr), read: String::new() }
    }

    /// Returns the next line of standard output.
    #[track_caller]
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.stdout.read_line(&mut line).unwrap() > 0, "it has ended: {}", self.rest_of_stderr());
        line
    }

    /// Waits for a line of standard output that has this text.
    #[track_caller]
    pub(crate) fn line_with(&mut self, text: &str) -> String {
        loop {
            let line = self.line();
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Waits for a line of standard error that has this text.
    #[track_caller]
    pub(crate) fn message_with(&mut self, text: &str) -> String {
        loop {
            let mut line = String::new();
            assert!(self.stderr.read_line(&mut line).unwrap() > 0, "it has ended before {text:?}: {}", self.read);
            self.read += &line;
            if line.contains(text) {
                return line;
            }
        }
    }

    pub(crate) fn rest_of_stderr(&mut self) -> &str {
        self.stderr.read_to_string(&mut self.read).unwrap();
        &self.read
    }

    pub(crate) fn signal(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap().success());
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for the end, and returns the rest of the output, with all of standard error that was read.
    pub(crate) fn end(mut self) -> RunResult {
        self.rest_of_stderr();
        let mut stdout = String::new();
        self.stdout.read_to_string(&mut stdout).unwrap();
        RunResult { exit_code: self.child.wait().unwrap().code(), stdout, stderr: self.read }
    }

    pub(crate) fn stop(self) -> RunResult {
        self.signal("-TERM");
        self.end()
    }
}

#[test]
fn jobs_run_when_they_are_due_until_a_signal() {
    for signal in ["-TERM", "-INT"] {
        let sandbox = Sandbox::with_rows(30);
        with_jobs(&sandbox, &format!("{EACH_SECOND}retention = \"few\"\nverify_parts = 1\n"));
        let mut daemon = Daemon::start(sandbox.command(&["schedule"]));
        daemon.message_with("running 1 job of ruvector-snapshot.toml");
        let first = daemon.line();
        assert!(first.starts_with("20") && first.contains(" UTC nightly: done after "), "{first}");
        assert!(first.contains(" (full, 30 records, ") && first.contains("; verified a part of 1 snapshot"), "{first}");
        let next = daemon.line();
        assert!(next.contains(" (increment, 30 records, ") && !next.contains("verified"), "{next}");
        daemon.line_with("; deleted ");
        daemon.signal(signal);
        let end = daemon.end();
        assert_eq!(end.exit_code, Some(0), "{end:?}");
        assert!((1..=3).contains(&sandbox.ids().len()), "{:?}", sandbox.ids());
        assert_eq!(sandbox.json(&["list"]).1["pending_uploads"], json!([]));
        sandbox.ok(&["verify", "--all"]);
    }
}

#[test]
fn runs_are_documents_on_a_line_each() {
    let sandbox = Sandbox::with_rows(30);
    with_jobs(&sandbox, &format!("{EACH_SECOND}copies = [{{ to = \"copied\" }}]\n"));
    let log = ["--log-file", "log", "--log-format", "json"];
    let mut daemon = Daemon::start(sandbox.command(&[&["schedule", "--json"][..], &log].concat()));
    let schema = strict_schema("schedule");
    let mut documents = Vec::new();
    for _ in 0..2 {
        let document: Value = serde_json::from_str(&daemon.line()).unwrap();
        let problems: Vec<_> = schema.iter_errors(&document).map(|error| error.to_string()).collect();
        assert!(problems.is_empty(), "{document}: {problems:?}");
        documents.push(document);
    }
    let run = &documents[1]["run"];
    let expected = (json!("schedule"), json!("nightly"), json!("succeeded"), json!(1));
    let found = (&documents[1]["command"], &run["job"], &run["outcome"], &run["attempt"]);
    assert_eq!(found, (&expected.0, &expected.1, &expected.2, &expected.3), "{run}");
    let steps: Vec<_> = run["steps"].as_array().unwrap().iter().map(|step| step["step"].as_str().unwrap()).collect();
    assert_eq!((steps, &run["steps"][1]["store"]), (vec!["create", "copy"], &json!(copied(&sandbox))), "{run}");
    assert_eq!(run["steps"][0]["base_id"], documents[0]["run"]["steps"][1]["snapshot_id"]);
    let first = &documents[0]["run"]["steps"][0];
    assert_eq!((&first["step"], &first["snapshots"]), (&json!("list"), &json!(0)), "{first}");
    let end = daemon.stop();
    assert_eq!(end.exit_code, Some(0), "{end:?}");
    let log = fs::read_to_string(sandbox.path("log")).unwrap();
    let events: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |message: &str| events.iter().find(|event| event["message"] == message && event["job"] == "nightly");
    assert!(of("a run of a job was started").is_some() && of("a run of a job is done").is_some(), "{log}");
}

fn copied(sandbox: &Sandbox) -> String {
    sandbox.path("copied").canonicalize().unwrap().display().to_string()
}

#[test]
fn a_job_that_fails_stops_no_other_and_quiet_prints_only_failures() {
    let sandbox = Sandbox::with_rows(30);
    let other = "[[jobs]]\nname = \"other\"\ndatabases = [\"absent.db\"]\nwhen = \"every 1s\"\n";
    with_jobs(&sandbox, &format!("{other}{EACH_SECOND}"));
    let mut daemon = Daemon::start(sandbox.command(&["schedule"]));
    let failed = daemon.line_with("other: FAILED");
    assert!(failed.contains("create of ") && failed.contains("absent.db: "), "{failed}");
    daemon.line_with("nightly: done");
    daemon.line_with("other: FAILED");
    daemon.line_with("nightly: done");
    assert_eq!(daemon.stop().exit_code, Some(0));

    let mut daemon = Daemon::start(sandbox.command(&["schedule", "-q"]));
    for _ in 0..3 {
        let line = daemon.line();
        assert!(line.contains("other: FAILED"), "{line}");
    }
    // What is missing comes back.
    create_database(&sandbox.path("absent.db"), 5, DIMENSIONS);
    let end = daemon.stop();
    assert_eq!((end.exit_code, &*end.stderr), (Some(0), ""), "{end:?}");
    assert!(sandbox.ids().len() > 1);
}

#[test]
fn a_hangup_reads_the_file_again_and_a_wrong_one_changes_nothing() {
    let sandbox = Sandbox::with_rows(30);
    with_jobs(&sandbox, EACH_SECOND);
    let mut daemon = Daemon::start(sandbox.command(&["schedule", "--log-file", "log"]));
    daemon.line_with("nightly: done");
    for (wrong, mistake) in [
        (EACH_SECOND.replace("every 1s", "evry 1s"), "ruvector-snapshot.toml:7:8: "),
        (EACH_SECOND.replace("every 1s", "every 1s\"\nstore = \"absent/store"), "cannot "),
        (String::new(), "has no jobs"),
    ] {
        with_jobs(&sandbox, &wrong);
        daemon.signal("-HUP");
        let warning = daemon.message_with("warning: ");
        assert!(warning.starts_with("warning: the jobs stay as they were, because the new ones cannot be used: "));
        assert!(warning.contains(mistake), "{mistake}: {warning}");
        assert!(fs::read_to_string(sandbox.path("log")).unwrap().contains(mistake), "{mistake}");
        // Those that were written before the signal are left behind.
        (0..3).for_each(|_| drop(daemon.line_with("nightly: done")));
    }
    let added = EACH_SECOND.replace("nightly", "added");
    with_jobs(&sandbox, &format!("{EACH_SECOND}{added}"));
    daemon.signal("-HUP");
    daemon.message_with("read again: running 2 jobs of ruvector-snapshot.toml");
    daemon.line_with("added: done");
    with_jobs(&sandbox, &added);
    daemon.signal("-HUP");
    daemon.message_with("read again: running 1 job of");
    let end = daemon.stop();
    assert_eq!(end.exit_code, Some(0), "{end:?}");

    with_jobs(&sandbox, &EACH_SECOND.replace("every 1s", "evry 1s"));
    sandbox.run(&["schedule"]).assert_fails(2, "ruvector-snapshot.toml:7:8: ");
}

/// Returns a bucket whose file has a job each of whose runs takes a snapshot of `a.db` into it.
fn bucket_with_job(stall_timeout: &str) -> Bucket {
    let bucket = Bucket::s3(S3Server::start());
    let store = format!("store = \"@bucket\"\n[stores.bucket]\nlocation = {:?}\n", bucket.store);
    // Of a bucket of the file, the environment gives credentials and nothing else.
    let server = "endpoint = \"env:AWS_ENDPOINT_URL\"\nallow_http = \"env:AWS_ALLOW_HTTP\"\n";
    let options = format!("[stores.bucket.options]\n{server}stall_timeout = {stall_timeout:?}\n");
    fs::write(bucket.sandbox.path(FILE), format!("{store}{options}{EACH_SECOND}")).unwrap();
    bucket
}

fn is_of_data(request: &Request) -> bool {
    request.is_put() && request.key().ends_with("vectors.bin.gz")
}

/// Starts a command, and waits until the server has received data of a snapshot, which it answers with `fault`.
fn start_upload(bucket: &Bucket, args: &[&str], mut fault: impl FnMut() -> Fault + Send + 'static) -> Daemon {
    let wire = bucket.server.wire();
    wire.reset_log();
    wire.set(move |request, _| is_of_data(request).then(&mut fault));
    let args = [args, &["--config", FILE]].concat();
    let mut daemon = Daemon::start(bucket.command(&args));
    while !wire.requests().iter().any(is_of_data) {
        assert!(daemon.is_running(), "{}", daemon.rest_of_stderr());
        thread::yield_now();
    }
    daemon
}

#[test]
fn a_run_that_does_not_end_within_the_grace_leaves_nothing() {
    // What was sent and not answered may be stored, so its end is waited for before it is removed.
    let bucket = bucket_with_job("3s");
    let stopped = "interrupted: runs that had not ended were stopped, and what they had not finished was removed";
    for (signal, exit_code) in [("-TERM", 143), ("-INT", 130)] {
        let mut daemon = start_upload(&bucket, &["schedule", "--grace", "0s"], || Fault::Hang);
        daemon.signal(signal);
        daemon.message_with("stopping; what is at work has 0 s to end (a second signal stops at once)");
        bucket.server.wire().clear();
        let end = daemon.end().without_secrets();
        assert_eq!(end.exit_code, Some(exit_code), "{end:?}");
        assert!(end.stderr.contains(stopped) && end.stdout.contains("nightly: interrupted after "), "{end:?}");
        assert_eq!((bucket.server.open_uploads(), bucket.server.keys()), (0, Vec::new()));
    }
    let stopped = "interrupted: the run that was at work was stopped, and what it had not finished was removed";
    for (signal, exit_code) in [("-TERM", 143), ("-INT", 130), ("-HUP", 129)] {
        let daemon = start_upload(&bucket, &["schedule", "--once", "nightly"], || Fault::Hang);
        daemon.signal(signal);
        bucket.server.wire().clear();
        let end = daemon.end().without_secrets();
        assert_eq!(end.exit_code, Some(exit_code), "{end:?}");
        assert!(end.stderr.contains(stopped) && end.stdout.contains("nightly: interrupted after "), "{end:?}");
        assert_eq!((bucket.server.open_uploads(), bucket.server.keys()), (0, Vec::new()));
    }
}

#[test]
fn a_run_that_ends_within_the_grace_is_kept() {
    let (bucket, gate) = (bucket_with_job("60s"), Gate::closed());
    let held = gate.clone();
    let mut daemon = start_upload(&bucket, &["schedule", "--grace", "1h"], move || Fault::Hold(held.clone()));
    daemon.signal("-TERM");
    daemon.message_with("stopping; what is at work has 3600 s to end");
    gate.open();
    let end = daemon.end();
    assert!(end.exit_code == Some(0) && end.stdout.contains("nightly: done after "), "{end:?}");
    bucket.server.wire().clear();
    assert_eq!(bucket.ids().len(), 1);
}

#[test]
fn a_second_signal_ends_the_daemon_at_once() {
    let bucket = bucket_with_job("60s");
    let mut daemon = start_upload(&bucket, &["schedule", "--grace", "1h"], || Fault::Hang);
    daemon.signal("-TERM");
    daemon.message_with("stopping; ");
    // One that comes at nearly the same moment is the same signal.
    while daemon.is_running() {
        daemon.signal("-TERM");
    }
    let end = daemon.end();
    assert_eq!(end.exit_code, Some(143), "{end:?}");
    assert!(end.stderr.ends_with("stopped at once; parts of files or uploads may be left, which are not snapshots\n"));
}

#[test]
fn jobs_run_once() {
    let sandbox = Sandbox::with_rows(30);
    create_database(&sandbox.path("b.db"), 5, DIMENSIONS);
    let daily = EACH_SECOND.replace("every 1s", "@daily");
    let other = daily.replace("nightly", "other").replace("a.db", "b.db");
    with_jobs(&sandbox, &format!("{daily}{other}"));
    let text = sandbox.ok(&["schedule", "--once", "other", "--once", "nightly", "--once", "other"]);
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].contains(" other: done after ") && lines[1].contains(" nightly: done after "), "{text}");
    assert_eq!((lines.len(), sandbox.ids().len()), (2, 2), "{text}");
    assert_eq!(sandbox.ok(&["schedule", "--once-all", "-q"]), "");
    let (exit_code, document) = sandbox.json(&["schedule", "--once-all"]);
    let job = |at: usize| (document["runs"][at]["job"].as_str(), document["runs"][at]["due"].clone());
    assert_eq!((exit_code, job(0), job(1)), (0, (Some("nightly"), json!(null)), (Some("other"), json!(null))));
    let unknown = sandbox.run(&["schedule", "--once", "nigthly"]);
    unknown.assert_fails(2, "there is no job \"nigthly\" in ruvector-snapshot.toml");
    assert!(unknown.stderr.contains("did you mean nightly?"), "{unknown:?}");
    for more in [&["--once-all"][..], &["--check"], &["--next"], &["--grace", "1s"]] {
        sandbox.run(&[&["schedule", "--once", "nightly"][..], more].concat()).assert_fails(2, "cannot be used with");
    }
    assert_eq!(sandbox.ids().len(), 6);
}

#[test]
fn a_run_takes_what_the_file_says_of_a_database() {
    let sandbox = Sandbox::with_rows(30);
    let database = "[databases.articles]\npath = \"a.db\"\nname = \"arts\"\nsource = \"articles\"\n\
                    labels = { team = \"search\" }\nembedding = { model = \"m\" }\n";
    let job = EACH_SECOND.replace("a.db", "@articles");
    with_jobs(&sandbox, &format!("{database}{job}retention = \"few\"\nfull_every = 1\n"));
    (0..3).for_each(|_| drop(sandbox.ok(&["schedule", "--once-all"])));
    let (_, document) = sandbox.json(&["show", "latest"]);
    let shown = &document["snapshots"][0];
    let snapshot = shown.get("snapshot").unwrap_or(shown);
    assert_eq!((&snapshot["name"], &snapshot["labels"]), (&json!("arts"), &json!({ "team": "search" })), "{document}");
    let text = document.to_string();
    assert!(text.contains("\"articles\"") && text.contains("\"model\":\"m\""), "{document}");
    assert_eq!(sandbox.ids().len(), 2);
}

#[test]
fn the_exit_code_of_a_run_says_what_is_wrong() {
    let sandbox = Sandbox::with_rows(30);
    let daily = EACH_SECOND.replace("every 1s", "@daily");
    let absent = daily.replace("nightly", "absent").replace("a.db", "absent.db");
    with_jobs(&sandbox, &format!("{absent}{daily}verify_parts = 1\n"));
    let failed = sandbox.run(&["schedule", "--once-all", "-q"]);
    assert_eq!((failed.exit_code, failed.stdout.lines().count()), (Some(1), 1), "{failed:?}");
    assert!(failed.stdout.contains(" absent: FAILED after ") && failed.stdout.contains("absent.db"), "{failed:?}");
    let (exit_code, document) = sandbox.json(&["schedule", "--once", "absent"]);
    let step = &document["runs"][0]["steps"][0];
    assert_eq!((exit_code, &step["step"], &step["error"]["kind"]), (1, &json!("create"), &json!("not_found")));

    fs::write(sandbox.path("a.db.agentic"), "").unwrap();
    let warned = sandbox.run(&["schedule", "--once", "nightly"]);
    warned.assert_warns("job nightly: not captured: ");
    assert!(warned.stdout.contains("nightly: done, with warnings after "), "{warned:?}");
    assert_eq!(sandbox.run(&["schedule", "--once", "nightly", "--strict"]).exit_code, Some(1));
    fs::remove_file(sandbox.path("a.db.agentic")).unwrap();

    let corrupt = sandbox.stored(&sandbox.ids()[0], "vectors.bin.gz");
    let mut bytes = fs::read(&corrupt).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(&corrupt, bytes).unwrap();
    open_database(&sandbox.path("a.db"), DIMENSIONS).delete("id-000007").unwrap();
    let found = sandbox.run(&["schedule", "--once-all"]);
    assert_eq!(found.exit_code, Some(3), "{found:?}");
    assert!(found.stdout.contains("nightly: FAILED after ") && found.stdout.contains("verify: "), "{found:?}");
}

#[test]
fn a_directory_is_made_for_a_new_store_and_kept_only_if_a_run_succeeds() {
    let sandbox = Sandbox::with_rows(30);
    let daily = EACH_SECOND.replace("every 1s", "@daily");
    with_jobs(&sandbox, &daily.replace("a.db", "absent.db"));
    assert_eq!(sandbox.run(&["schedule", "--once-all"]).exit_code, Some(1));
    assert_eq!(sandbox.names("."), ["a.db", FILE]);
    with_jobs(&sandbox, &daily);
    sandbox.ok(&["schedule", "--once-all"]);
    assert_eq!(sandbox.names("."), ["a.db", FILE, "snapshots"]);
    fs::write(sandbox.path(FILE), format!("store = \"absent/snapshots\"\n{daily}")).unwrap();
    sandbox.run(&["schedule", "--once-all"]).assert_fails(1, "absent");
    sandbox.run(&["schedule"]).assert_fails(1, "absent");
}

#[test]
fn a_store_that_cannot_be_opened_stops_no_other_job_and_is_opened_later() {
    let sandbox = Sandbox::with_rows(30);
    let other = EACH_SECOND.replace("nightly", "other") + "store = \"absent/snapshots\"\n";
    with_jobs(&sandbox, &format!("{other}{EACH_SECOND}"));
    let once = sandbox.run(&["schedule", "--once-all"]);
    assert_eq!(once.exit_code, Some(1), "{once:?}");
    let failed = once.stdout.lines().find(|line| line.contains(" other: FAILED")).unwrap();
    assert!(failed.contains("list of the store: the store ") && failed.contains("cannot be opened"), "{once:?}");
    assert!(once.stdout.contains(" nightly: done"), "{once:?}");

    let mut daemon = Daemon::start(sandbox.command(&["schedule"]));
    daemon.line_with("other: FAILED");
    daemon.line_with("nightly: done");
    assert!(!sandbox.path("absent").exists());
    fs::create_dir(sandbox.path("absent")).unwrap();
    daemon.line_with("other: done");
    let end = daemon.stop();
    assert_eq!(end.exit_code, Some(0), "{end:?}");
    assert!(end.stderr.contains("a store that could not be opened is open now"), "{end:?}");
    assert!(!ids_of(&sandbox.json(&["list", "--store", "absent/snapshots"]).1).is_empty());
}

#[test]
fn a_store_that_comes_is_opened_also_if_another_one_goes() {
    let sandbox = Sandbox::with_rows(30);
    let other = EACH_SECOND.replace("nightly", "other") + "store = \"absent/snapshots\"\n";
    with_jobs(&sandbox, &format!("{other}{EACH_SECOND}"));
    let mut daemon = Daemon::start(sandbox.command(&["schedule"]));
    daemon.line_with("other: FAILED");
    daemon.line_with("nightly: done");
    fs::rename(sandbox.path("snapshots"), sandbox.path("aside")).unwrap();
    fs::write(sandbox.path("snapshots"), "").unwrap();
    daemon.line_with("nightly: FAILED");
    fs::create_dir(sandbox.path("absent")).unwrap();
    daemon.line_with("other: done");
    assert_eq!(daemon.stop().exit_code, Some(0));
}

/// Receives messages until one begins like this, and returns it.
fn heard(socket: &UnixDatagram, beginning: &str) -> String {
    let mut bytes = [0; 4096];
    loop {
        let length = socket.recv(&mut bytes).unwrap();
        let message = String::from_utf8(bytes[..length].to_vec()).unwrap();
        if message.starts_with(beginning) {
            return message;
        }
    }
}

#[test]
fn a_service_manager_hears_of_the_daemon() {
    let sandbox = Sandbox::with_rows(30);
    let path = sandbox.path("notify.sock");
    let name = path.display().to_string();
    let of_name = SocketAddr::from_abstract_name(&name).unwrap();
    let sockets = [
        (name.clone(), UnixDatagram::bind(&path).unwrap()),
        (format!("@{name}"), UnixDatagram::bind_addr(&of_name).unwrap()),
    ];
    for (address, socket) in sockets {
        with_jobs(&sandbox, &EACH_SECOND.replace("every 1s", "@daily"));
        let mut command = sandbox.command(&["schedule"]);
        command.env("NOTIFY_SOCKET", &address).env("WATCHDOG_USEC", "200000");
        let daemon = Daemon::start(command);
        heard(&socket, "READY=1");
        let status = heard(&socket, "STATUS=next run: nightly at 20");
        assert!(status.ends_with(" 00:00:00 UTC"), "{status}");
        // More often than the scheduler itself, which would wait for a minute.
        (0..5).for_each(|_| drop(heard(&socket, "WATCHDOG=1")));
        daemon.signal("-HUP");
        let reloading = heard(&socket, "RELOADING=1\nMONOTONIC_USEC=");
        let (_, usec) = reloading.rsplit_once('=').unwrap();
        assert!(usec.parse::<u64>().unwrap() > 1_000_000, "{reloading}");
        heard(&socket, "READY=1");
        daemon.signal("-TERM");
        heard(&socket, "STOPPING=1");
        assert_eq!(daemon.end().exit_code, Some(0));
    }
    let mut command = sandbox.command(&["schedule"]);
    command.env("NOTIFY_SOCKET", "absent.sock").env("WATCHDOG_USEC", "1000").env("WATCHDOG_PID", "1");
    let mut daemon = Daemon::start(command);
    daemon.message_with("running 1 job");
    assert_eq!(daemon.stop().exit_code, Some(0));
}

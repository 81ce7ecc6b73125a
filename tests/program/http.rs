//! The HTTP of the daemon: its page, its metrics and its probes, asked over TCP. No test waits for a time: each waits for a line or
//! for an answer. `browser` opens the page in Chromium, and `metrics` compares the metrics with what documents say.

mod browser;
pub(super) mod metrics;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;

use serde_json::Value;
use test_servers::{Fault, Gate, Request, S3Server};

use super::bucket::Bucket;
use super::daemon::Daemon;
use super::sandbox::{DIMENSIONS, Sandbox, create_database};

const FILE: &str = "ruvector-snapshot.toml";

/// A job of `a.db` whose first run is due at once, and the next one in an hour.
const HOURLY: &str = "[[jobs]]\nname = \"nightly\"\ndatabases = [\"@articles\"]\nwhen = \"@hourly\"\n";
const ARTICLES: &str = "[databases.articles]\npath = \"a.db\"\nsource = \"articles\"\n";
const PATHS: [&str; 4] = ["/", "/metrics", "/healthz", "/readyz"];

/// A daemon that answers HTTP.
struct Site {
    daemon: Daemon,
    address: String,
}

/// What was answered.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Site {
    /// Starts a daemon with these jobs, in a sandbox with a store `snapshots`.
    #[track_caller]
    fn start(sandbox: &Sandbox, jobs: &str) -> Self {
        fs::write(sandbox.path(FILE), format!("store = \"snapshots\"\n{ARTICLES}{jobs}")).unwrap();
        Self::of(Daemon::start(sandbox.command(&["schedule", "--listen", "0"])))
    }

    #[track_caller]
    fn of(mut daemon: Daemon) -> Self {
        let notice = daemon.message_with("status page and metrics: http://127.0.0.1:");
        let address = notice.trim().rsplit("http://").next().unwrap().trim_end_matches('/').to_owned();
        Self { daemon, address }
    }

    #[track_caller]
    fn get(&self, path: &str) -> Answer {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.address))
    }

    #[track_caller]
    fn send(&self, request: &str) -> Answer {
        let mut connection = TcpStream::connect(&self.address).unwrap();
        connection.write_all(request.as_bytes()).unwrap();
        let mut text = String::new();
        connection.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{request}: {text}"));
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.map(|line| line.split_once(": ").unwrap());
        let headers = headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
        Answer { status, headers, body: body.to_owned() }
    }

    /// Asks again until the answer is as expected.
    #[track_caller]
    fn wait(&mut self, path: &str, is_expected: impl Fn(&Answer) -> bool) -> Answer {
        loop {
            let answer = self.get(path);
            if is_expected(&answer) {
                return answer;
            }
            assert!(self.daemon.is_running(), "{path}: {answer:?}: {}", self.daemon.rest_of_stderr());
            thread::yield_now();
        }
    }

    /// Returns the reasons of a job that is not fresh, once one of them has this text.
    #[track_caller]
    fn reasons_with(&mut self, job: &str, text: &str) -> Vec<String> {
        let reasons = |answer: &Answer| -> Vec<String> {
            let document: Value = serde_json::from_str(&answer.body).unwrap();
            let stale = document["stale"].as_array().unwrap().iter().find(|stale| stale["job"] == job);
            let reasons = stale.and_then(|stale| stale["reasons"].as_array()).cloned().unwrap_or_default();
            reasons.iter().map(|reason| reason.as_str().unwrap().to_owned()).collect()
        };
        let answer = self.wait("/readyz", |answer| reasons(answer).iter().any(|reason| reason.contains(text)));
        assert_eq!(answer.status, 503);
        reasons(&answer)
    }

    /// Returns the value of a series.
    #[track_caller]
    fn metric(&self, series: &str) -> f64 {
        let text = self.get("/metrics").body;
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{series} is not in {text}")).parse().unwrap()
    }
}

#[test]
fn a_daemon_answers_with_its_page_its_metrics_and_its_probes() {
    let sandbox = Sandbox::with_rows(30);
    let rules = "[retention.few]\nkeep_last = 2\n";
    let mut site = Site::start(&sandbox, &format!("{rules}{HOURLY}retention = \"few\"\nverify_parts = 1\n"));
    site.daemon.line_with("nightly: done");
    let ready = site.wait("/readyz", |answer| answer.status == 200);
    assert_eq!(ready.body, "{\"fresh\":true,\"stale\":[]}\n");
    let health = site.get("/healthz");
    assert_eq!((health.status, &*health.body), (200, "{\"alive\":true}\n"));
    assert_eq!(health.headers["content-type"], "application/json");
    let page = site.get("/");
    assert_eq!((page.status, &*page.headers["content-type"]), (200, "text/html; charset=utf-8"));
    let id = &sandbox.ids()[0];
    for text in ["<span>The job is fresh</span></h1>", "30 records", "last 2", "verifies everything each day", id] {
        assert!(page.body.contains(text), "{text} is not in {}", page.body);
    }
    let metrics = site.get("/metrics");
    let open_metrics = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!((metrics.status, &*metrics.headers["content-type"]), (200, open_metrics));
    assert!(metrics.body.ends_with("\n# EOF\n"), "{}", metrics.body);
    let store = sandbox.path("snapshots").canonicalize().unwrap().display().to_string();
    let of_store = format!("{{store=\"{store}\",source=\"articles\"}}");
    for (series, value) in [
        ("ruvector_snapshot_job_runs_total{job=\"nightly\",outcome=\"succeeded\"}".to_owned(), 1.0),
        ("ruvector_snapshot_job_runs_total{job=\"nightly\",outcome=\"failed\"}".to_owned(), 0.0),
        ("ruvector_snapshot_job_stale{job=\"nightly\"}".to_owned(), 0.0),
        ("ruvector_snapshot_job_last_run_records{job=\"nightly\"}".to_owned(), 30.0),
        (format!("ruvector_snapshot_newest_records{of_store}"), 30.0),
        (format!("ruvector_snapshot_newest_chain_length{of_store}"), 1.0),
        (format!("ruvector_snapshot_status_success{{store=\"{store}\"}}"), 1.0),
    ] {
        assert_eq!(site.metric(&series), value, "{series}");
    }
    for name in ["job_last_success_timestamp_seconds", "job_next_run_timestamp_seconds"] {
        assert!(site.metric(&format!("ruvector_snapshot_{name}{{job=\"nightly\"}}")) > 1.7e9, "{name}");
    }
    let absent = site.get("/absent");
    assert_eq!((absent.status, absent.body.contains("/metrics")), (404, true), "{absent:?}");
    assert_eq!(site.daemon.stop().exit_code, Some(0));
}

#[test]
fn nothing_can_be_changed_and_every_answer_is_restricted() {
    let sandbox = Sandbox::with_rows(5);
    let site = Site::start(&sandbox, HOURLY);
    let host = &site.address;
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"] {
        for path in ["/", "/metrics", "/absent"] {
            let answer = site.send(&format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n"));
            assert_eq!((answer.status, &*answer.headers["allow"]), (405, "GET, HEAD"), "{method} {path}: {answer:?}");
        }
    }
    // A body is not read.
    let answer = site.send(&format!("POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1000000000\r\n\r\nabc"));
    assert_eq!(answer.status, 405, "{answer:?}");
    for path in PATHS.into_iter().chain(["/absent"]) {
        let head = site.send(&format!("HEAD {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(head.body, "", "{path}");
        let answer = site.get(path);
        assert_eq!((head.status, head.headers["content-length"].is_empty()), (answer.status, false), "{path}");
        let policy = &answer.headers["content-security-policy"];
        assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"), "{policy}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cache-control", "no-store"),
            ("x-frame-options", "DENY"),
        ] {
            assert_eq!(answer.headers[name], value, "{path}");
        }
        assert!(!answer.headers.contains_key("access-control-allow-origin"), "{path}");
    }
    let page = site.get("/").body;
    for outside in ["<script", "src=", "@import", "url(", "<form", "<input", "<iframe", "<link", "onload"] {
        assert!(!page.contains(outside), "{outside} is in {page}");
    }
    let port = host.rsplit(':').next().unwrap();
    for (name, status) in [
        ("localhost", 200),
        (&*format!("localhost:{port}"), 200),
        ("127.0.0.1:1", 200),
        (&*format!("[::1]:{port}"), 200),
        ("evil.example", 421),
        (&*format!("localhost.evil.example:{port}"), 421),
        (&*format!("10.0.0.1:{port}"), 421),
        ("", 421),
    ] {
        for path in PATHS {
            let answer = site.send(&format!("GET {path} HTTP/1.1\r\nHost: {name}\r\n\r\n"));
            let is_answered = if status == 200 { answer.status != 421 } else { answer.status == 421 };
            assert!(is_answered, "{name}: {answer:?}");
            let is_restricted = answer.headers.contains_key("content-security-policy");
            assert!(is_restricted && (status == 200 || !answer.body.contains("nightly")), "{name}: {answer:?}");
        }
    }
    let nameless = site.send("GET / HTTP/1.1\r\nConnection: close\r\n\r\n");
    assert!(nameless.status == 421 || nameless.status == 400, "{nameless:?}");
    assert_eq!(site.daemon.stop().exit_code, Some(0));
}

#[test]
fn a_job_without_a_young_snapshot_is_not_ready() {
    let sandbox = Sandbox::with_rows(30);
    let other = "[[jobs]]\nname = \"other\"\ndatabases = [\"absent.db\"]\nwhen = \"@hourly\"\n";
    let young =
        "[[jobs]]\nname = \"old\"\ndatabases = [\"b.db\"]\nwhen = \"@monthly\"\nmissed = \"skip\"\nmax_age = \"1s\"\n";
    create_database(&sandbox.path("b.db"), 3, DIMENSIONS);
    sandbox.ok(&["create", "--db", "b.db"]);
    while sandbox.run(&["status", "--max-age", "1s"]).exit_code == Some(0) {}
    let mut site = Site::start(&sandbox, &format!("{HOURLY}{other}{young}"));
    site.daemon.line_with("other: FAILED");
    let reasons = site.reasons_with("other", "there is no snapshot that can be restored");
    assert!(reasons[0].contains("absent.db in "), "{reasons:?}");
    let reasons = site.reasons_with("old", "and it may be 1s old");
    assert!(reasons[0].contains("b.db in "), "{reasons:?}");
    site.wait("/readyz", |answer| !answer.body.contains("nightly"));
    let page = site.get("/").body;
    for text in ["<span>2 jobs are stale: other, old</span>", "1 failed run in a row", "absent.db: file not found"] {
        assert!(page.contains(text), "{text} is not in {page}");
    }
    assert_eq!(site.get("/healthz").status, 200);
    for (series, value) in [
        ("job_stale{job=\"other\"}", 1.0),
        ("job_stale{job=\"nightly\"}", 0.0),
        ("job_failures_in_a_row{job=\"other\"}", 1.0),
        ("job_runs_total{job=\"other\",outcome=\"failed\"}", 1.0),
        ("job_failed_steps_total{job=\"other\",step=\"create\",kind=\"not found\"}", 1.0),
    ] {
        assert_eq!(site.metric(&format!("ruvector_snapshot_{series}")), value, "{series}");
    }
    assert_eq!(site.daemon.stop().exit_code, Some(0));
}

fn is_of_data(request: &Request) -> bool {
    request.is_put() && request.key().ends_with("vectors.bin.gz")
}

/// Starts a daemon whose job stores in a bucket on a server in this process, which answers with a fault when it receives data.
fn with_bucket(when: &str, fault: Option<Fault>) -> (Bucket, Site) {
    let bucket = Bucket::s3(S3Server::start());
    bucket.server.wire().set(move |request, _| fault.clone().filter(|_| is_of_data(request)));
    let server = "endpoint = \"env:AWS_ENDPOINT_URL\"\nallow_http = \"env:AWS_ALLOW_HTTP\"\nretry_timeout = \"1s\"\n";
    let file = format!(
        "store = \"@bucket\"\n[stores.bucket]\nlocation = {:?}\n[stores.bucket.options]\n{server}{ARTICLES}[[jobs]]\nname = \
         \"nightly\"\ndatabases = [\"@articles\"]\nwhen = {when:?}\nretry_first = \"1s\"\n",
        bucket.store
    );
    fs::write(bucket.sandbox.path(FILE), file).unwrap();
    let site = Site::of(Daemon::start(bucket.command(&["schedule", "--listen", "0", "--config", FILE])));
    (bucket, site)
}

#[test]
fn a_store_that_cannot_be_read_is_named_and_no_secret_is_shown() {
    let (bucket, mut site) = with_bucket("every 1s", None);
    site.daemon.line_with("nightly: done");
    site.wait("/readyz", |answer| answer.status == 200);
    let message = "the key AKIAEXAMPLE with the signature abc is not allowed";
    let fault = move || Fault::Error { status: 403, code: "AccessDenied", message };
    bucket.server.wire().set(move |_, _| Some(fault()));
    site.daemon.line_with("nightly: FAILED");
    let page = site.wait("/", |answer| answer.body.contains("cannot be read. What is shown of it was read ")).body;
    assert!(page.contains("the credentials do not allow this") && page.contains("<strong>@bucket</strong>"), "{page}");
    assert_eq!(site.metric(&format!("ruvector_snapshot_status_success{{store=\"{}\"}}", bucket.store)), 0.0);
    assert!(
        site.metric(&format!("ruvector_snapshot_store_listed_timestamp_seconds{{store=\"{}\"}}", bucket.store)) > 1.7e9
    );
    // What is known is still shown, and fresh.
    assert!(page.contains("<span>The job is fresh</span>") && page.contains("fresh, but failing"), "{page}");
    for path in PATHS {
        let answer = site.get(path);
        for secret in [S3Server::SECRET_KEY, S3Server::ACCESS_KEY, "Signature=", "Credential="] {
            assert!(!answer.body.contains(secret), "{path}: {secret} is in {answer:?}");
        }
    }
    bucket.server.wire().clear();
    site.wait("/", |answer| !answer.body.contains("cannot be read"));
    let end = site.daemon.stop().without_secrets();
    assert_eq!(end.exit_code, Some(0), "{end:?}");
}

#[test]
fn it_answers_until_the_last_run_has_ended() {
    let gate = Gate::closed();
    let (bucket, mut site) = with_bucket("@hourly", Some(Fault::Hold(gate.clone())));
    while !bucket.server.wire().requests().iter().any(is_of_data) {
        assert!(site.daemon.is_running(), "{}", site.daemon.rest_of_stderr());
        thread::yield_now();
    }
    assert!(site.get("/").body.contains(">running</span>"));
    assert_eq!(site.metric("ruvector_snapshot_job_running{job=\"nightly\"}"), 1.0);
    site.daemon.signal("-TERM");
    site.daemon.message_with("stopping; ");
    assert!(site.get("/").body.contains("The daemon is stopping."));
    assert_eq!(site.get("/healthz").status, 200);
    gate.open();
    let (address, end) = (site.address.clone(), site.daemon.end());
    assert_eq!(end.exit_code, Some(0), "{end:?}");
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn names_and_messages_are_text_and_no_markup() {
    let sandbox = Sandbox::with_rows(5);
    let hostile = "<script>alert(1)</script>&\\\"'";
    let file = format!(
        "store = \"<i>store\"\n[databases.x]\npath = \"a.db\"\nname = \"{hostile}\"\nsource = \"src{hostile}\"\n\
         labels = {{ team = \"{hostile}\" }}\n[[jobs]]\nname = \"nightly\"\ndatabases = [\"@x\", \"<b>absent.db\"]\nwhen = \"@hourly\"\n"
    );
    fs::write(sandbox.path(FILE), file).unwrap();
    let mut site = Site::of(Daemon::start(sandbox.command(&["schedule", "--listen", "0"])));
    site.daemon.line_with("nightly: FAILED");
    let page = site.wait("/", |answer| answer.body.contains("<td>&lt;script&gt;")).body;
    let escaped = "src&lt;script&gt;alert(1)&lt;/script&gt;&amp;&quot;&#39;";
    assert!(page.contains(escaped) && page.contains("&lt;i&gt;store") && page.contains("&lt;b&gt;absent.db"), "{page}");
    for markup in ["<script", "<i>", "<b>"] {
        assert!(!page.contains(markup), "{page}");
    }
    let metrics = site.get("/metrics").body;
    assert!(metrics.contains("source=\"src<script>alert(1)</script>&\\\"'\""), "{metrics}");
    assert_eq!(site.daemon.stop().exit_code, Some(0));
}

#[test]
fn slow_clients_hold_up_no_run_and_do_not_pile_up() {
    let sandbox = Sandbox::with_rows(5);
    let mut site = Site::start(&sandbox, &HOURLY.replace("@hourly", "every 1s"));
    site.daemon.line_with("nightly: done");
    // More than are served at once: some send half of a request, some read no answer.
    let mut slow: Vec<TcpStream> = (0..40).map(|_| TcpStream::connect(&site.address).unwrap()).collect();
    for (number, connection) in slow.iter_mut().enumerate() {
        let request =
            if number % 2 == 0 { "GET / HTTP/1.1\r\nHo" } else { "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" };
        connection.write_all(request.as_bytes()).unwrap();
    }
    for _ in 0..3 {
        site.daemon.line_with("nightly: done");
    }
    // Those that have sent half are ended by the daemon.
    let mut rest = Vec::new();
    _ = slow.remove(0).read_to_end(&mut rest);
    assert!(!String::from_utf8_lossy(&rest).contains("200 OK"));
    assert_eq!(site.get("/healthz").status, 200);
    // The head of a request has a limit.
    let long = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    let mut connection = TcpStream::connect(&site.address).unwrap();
    let (mut answer, sent) = (Vec::new(), connection.write_all(long.as_bytes()));
    _ = connection.read_to_end(&mut answer);
    assert!(sent.is_err() || !String::from_utf8_lossy(&answer).contains("200 OK"));
    assert_eq!(site.get("/healthz").status, 200);
    assert_eq!(site.daemon.stop().exit_code, Some(0));
}

#[test]
fn an_address_that_cannot_be_used_ends_the_start() {
    let sandbox = Sandbox::with_rows(5);
    fs::write(sandbox.path(FILE), format!("store = \"snapshots\"\n{ARTICLES}{HOURLY}")).unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let result = sandbox.run(&["schedule", "--listen", &address]);
    result.assert_fails(1, &format!("cannot listen at {address}: "));
    assert!(result.stderr.contains("choose another port with --listen"), "{result:?}");
    sandbox.run(&["schedule", "--listen", "192.0.2.1:80"]).assert_fails(1, "this machine does not have that address");
    for wrong in ["example.org:80", "127.0.0.1", "70000"] {
        sandbox.run(&["schedule", "--listen", wrong]).assert_fails(2, "must be IP:PORT");
    }
    for other in [&["--once", "nightly"][..], &["--once-all"], &["--check"], &["--next"]] {
        sandbox.run(&[&["schedule", "--listen", "0"][..], other].concat()).assert_fails(2, "cannot be used with");
    }
    assert!(!sandbox.path("snapshots").exists());
}

#[test]
fn the_file_says_where_to_listen_and_a_hangup_changes_the_jobs() {
    let sandbox = Sandbox::with_rows(5);
    let file = |listen: &str, jobs: &str| {
        let schedule = format!("[schedule]\nlisten = {listen:?}\n");
        fs::write(sandbox.path(FILE), format!("store = \"snapshots\"\n{schedule}{ARTICLES}{jobs}")).unwrap();
    };
    file("127.0.0.1:0", HOURLY);
    let (exit_code, shown) = sandbox.json(&["config", "show"]);
    assert!(exit_code == 0 && shown.to_string().contains("127.0.0.1:0"), "{shown}");
    let mut site = Site::of(Daemon::start(sandbox.command(&["schedule"])));
    site.wait("/readyz", |answer| answer.status == 200);
    let added = HOURLY.replace("nightly", "added").replace("@articles", "absent.db");
    file("127.0.0.1:0", &format!("{HOURLY}{added}"));
    site.daemon.signal("-HUP");
    site.daemon.message_with("read again: running 2 jobs");
    site.reasons_with("added", "there is no snapshot");
    file("127.0.0.1:0", HOURLY);
    site.daemon.signal("-HUP");
    site.daemon.message_with("read again: running 1 job");
    site.wait("/readyz", |answer| answer.status == 200);
    assert!(!site.get("/metrics").body.contains("added"));
    assert_eq!(site.daemon.stop().exit_code, Some(0));

    file("nowhere", HOURLY);
    sandbox.run(&["schedule"]).assert_fails(2, "schedule.listen: must be IP:PORT");
    file("0.0.0.0:0", HOURLY);
    let mut daemon = Daemon::start(sandbox.command(&["schedule"]));
    daemon.message_with("warning: the status page has no password, and everyone who reaches 0.0.0.0:");
    assert_eq!(daemon.stop().exit_code, Some(0));
    // Without an address, there is no HTTP.
    fs::write(sandbox.path(FILE), format!("store = \"snapshots\"\n{ARTICLES}{HOURLY}")).unwrap();
    let mut daemon = Daemon::start(sandbox.command(&["schedule", "-v"]));
    daemon.message_with("running 1 job");
    assert!(!daemon.stop().stderr.contains("status page"));
    assert_eq!(sandbox.json(&["list"]).1["snapshots"].as_array().map(Vec::len), Some(1));
}

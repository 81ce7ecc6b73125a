//! What jobs run and call besides their work: commands, pings, webhooks, and what pauses an application. No test waits for a time: each
//! waits for a line, a request, a file or the end of a process.

use std::fs;
use std::path::Path;
use std::thread;

use chrono::TimeDelta;
use ruvector_snapshot::clock::{Clock as _, SystemClock};
use serde_json::{Value, json};
use test_fixtures::local_store;

use super::clocks::take_at;
use super::daemon::Daemon;
use super::documents::strict_schema;
use super::receiver::{Receiver, Reply};
use super::sandbox::{DIMENSIONS, RunResult, Sandbox, create_database};

const FILE: &str = "ruvector-snapshot.toml";

/// What an address has that must not be printed.
const KEY: &str = "k3y-0f-an-address";

const EACH_SECOND: &str = "when = \"every 1s\"\n";

/// Writes a file with a job of `a.db` and these lines below it. The first line can say when it is due.
fn with_job(sandbox: &Sandbox, lines: &str) {
    let when = if lines.starts_with("when = ") { "" } else { "when = \"@daily\"\n" };
    let job = format!("[[jobs]]\nname = \"nightly\"\ndatabases = [\"a.db\"]\n{when}{lines}\n");
    fs::write(sandbox.path(FILE), format!("store = \"snapshots\"\n{job}")).unwrap();
}

/// Returns a table of the file with a script that a shell runs, and more keys.
fn hook(key: &str, script: &str, more: &str) -> String {
    format!("[jobs.{key}]\ncommand = [\"/bin/sh\", \"-c\", '''{script}''']\n{more}\n")
}

/// Runs the job now.
fn once(sandbox: &Sandbox, more: &[&str]) -> RunResult {
    sandbox.run(&[&["schedule", "--once", "nightly", "--config", FILE], more].concat())
}

fn daemon(sandbox: &Sandbox, more: &[&str]) -> Daemon {
    Daemon::start(sandbox.command(&[&["schedule", "--config", FILE], more].concat()))
}

#[track_caller]
fn read(sandbox: &Sandbox, name: &str) -> String {
    fs::read_to_string(sandbox.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Waits for a file that has a whole line, and returns it.
fn wait_for(sandbox: &Sandbox, name: &str) -> String {
    loop {
        match fs::read_to_string(sandbox.path(name)) {
            Ok(text) if text.ends_with('\n') => return text,
            _ => thread::yield_now(),
        }
    }
}

/// Waits until a process has ended, of which nothing else may wait.
fn wait_for_end(process: &str) {
    let stat = Path::new("/proc").join(process.trim()).join("stat");
    let is_running = || fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z "));
    while is_running() {
        thread::yield_now();
    }
}

fn variables(text: &str) -> Vec<(String, String)> {
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[test]
fn commands_before_and_after_a_run_have_its_facts() {
    let sandbox = Sandbox::with_rows(30);
    let script = |name: &str| format!("env | sort > {name}.env; cat > {name}.in; echo fine");
    let hooks = hook("before", &script("before"), "") + &hook("after", &script("after"), "required = true");
    with_job(&sandbox, &hooks);
    let mut command = sandbox.command(&["schedule", "--once", "nightly", "--config", FILE]);
    command.env("NOTIFY_SOCKET", "absent.sock").env("WATCHDOG_USEC", "1000000").env("WATCHDOG_PID", "1");
    let result = RunResult::from(command.env("OWN", "inherited").output().unwrap());
    assert_eq!((result.exit_code, &*result.stderr), (Some(0), ""), "{result:?}");
    let of = |name: &str| {
        let all = variables(&read(&sandbox, &format!("{name}.env")));
        assert!(all.contains(&("OWN".to_owned(), "inherited".to_owned())), "{all:?}");
        assert!(!all.iter().any(|(name, _)| name.starts_with("NOTIFY_") || name.starts_with("WATCHDOG_")), "{all:?}");
        let own = all
            .into_iter()
            .filter_map(|(name, value)| Some((name.strip_prefix("RUVECTOR_SNAPSHOT_")?.to_owned(), value)));
        own.collect::<Vec<_>>()
    };
    let expected = |event: &str, outcome: &str, ids: &str| {
        [
            ("ATTEMPT", "1"),
            ("DUE", ""),
            ("ERROR", ""),
            ("EVENT", event),
            ("JOB", "nightly"),
            ("OUTCOME", outcome),
            ("SNAPSHOT_IDS", ids),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
    };
    assert_eq!(of("before"), expected("before", "", ""));
    assert_eq!(of("after"), expected("after", "succeeded", &sandbox.ids()[0]));
    let operations = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/OPERATIONS.md")).unwrap();
    for (name, _) in of("after") {
        assert!(operations.contains(&format!("`RUVECTOR_SNAPSHOT_{name}`")), "{name} is not documented");
    }
    assert_eq!(read(&sandbox, "before.in"), "");
    let document = assert_is_schedule_document(&read(&sandbox, "after.in"));
    assert_eq!((&document["run"]["job"], &document["run"]["outcome"]), (&json!("nightly"), &json!("succeeded")));
}

/// Asserts that a line is a document that `schedule` has by its schema.
#[track_caller]
fn assert_is_schedule_document(line: &str) -> Value {
    let document: Value = serde_json::from_str(line).unwrap();
    let schema = strict_schema("schedule");
    let problems: Vec<_> = schema.iter_errors(&document).map(|error| error.to_string()).collect();
    assert!(problems.is_empty() && line.ends_with("}\n") && line.lines().count() == 1, "{line}: {problems:?}");
    document
}

#[test]
fn a_command_that_fails_is_a_warning_unless_it_is_required() {
    let sandbox = Sandbox::with_rows(30);
    let fails = "echo no disk; echo here >&2; exit 3";
    for (key, required, step) in
        [("before", false, "start"), ("before", true, "start"), ("after", false, "finish"), ("after", true, "finish")]
    {
        let ran = "echo $RUVECTOR_SNAPSHOT_OUTCOME: $RUVECTOR_SNAPSHOT_ERROR > after";
        let other = if key == "before" { hook("after", ran, "") } else { String::new() };
        with_job(&sandbox, &format!("{}{other}", hook(key, fails, &format!("required = {required}"))));
        let before = sandbox.run(&["list", "--quiet"]).stdout.lines().count();
        let text = format!(
            "the command {key} (/bin/sh) has failed: it ended with exit code 3; its last output: no disk | here"
        );
        let result = once(&sandbox, &[]);
        let taken = sandbox.run(&["list", "--quiet"]).stdout.lines().count() > before;
        if required {
            assert_eq!((result.exit_code, &*result.stderr), (Some(1), ""), "{result:?}");
            assert!(result.stdout.contains(&format!("nightly: FAILED after 0 s: {step}: {text}")), "{result:?}");
        } else {
            result.assert_warns(&format!("job nightly: {text}"));
            assert!(result.stdout.contains("nightly: done, with warnings after "), "{result:?}");
        }
        // Without what has to come before it, no snapshot is taken.
        assert_eq!(taken, !(required && key == "before"), "{key} {required}");
        if key == "before" {
            let expected = if required { format!("failed: {text}\n") } else { "warnings:\n".to_owned() };
            assert_eq!(read(&sandbox, "after"), expected);
        }
        let (_, document) = once(&sandbox, &["--json"]).into_json();
        let steps = document["runs"][0]["steps"].as_array().unwrap();
        let found = steps.iter().find(|found| found["step"] == step).unwrap();
        let (warnings, error) = (found["warnings"].as_array().unwrap().len(), found["error"]["kind"].as_str());
        assert_eq!((warnings, error.is_some()), (usize::from(!required), required), "{document}");
    }
}

#[test]
fn a_program_that_cannot_be_started_is_named_with_what_to_do() {
    let sandbox = Sandbox::with_rows(30);
    fs::write(sandbox.path("plain.sh"), "exit 0\n").unwrap();
    for (program, problem) in [
        ("absent-program", "there is no program absent-program in PATH; write its path, or install it"),
        ("./absent/program", "absent/program; check the path"),
        ("./plain.sh", "plain.sh cannot be executed by this user; use chmod +x, or check its owner"),
    ] {
        with_job(&sandbox, &format!("[jobs.before]\ncommand = [{program:?}, \"{KEY}\"]\n"));
        let result = once(&sandbox, &[]);
        result.assert_warns(problem);
        assert!(!result.stderr.contains(KEY), "an argument was printed: {result:?}");
        let checked = sandbox.run(&["schedule", "--check", "--config", FILE]);
        assert_eq!(checked.exit_code, Some(1), "{checked:?}");
        assert!(
            checked.stdout.contains("FAILED  nightly: before: ") && checked.stdout.contains(problem),
            "{checked:?}"
        );
        sandbox.run(&["config", "check", FILE]).assert_fails(2, problem);
    }
}

#[test]
fn a_command_that_hangs_is_killed_with_all_that_it_has_started() {
    let sandbox = Sandbox::with_rows(30);
    // Neither process ends by SIGTERM.
    let hangs = "trap '' TERM; sleep 1000 & echo $! > grandchild; echo $$ > child; echo waits; wait";
    with_job(&sandbox, &hook("before", hangs, "timeout = \"1s\""));
    let text = "it was killed, because it had not ended after 1 s; its last output: waits";
    once(&sandbox, &[]).assert_warns(text);
    ["child", "grandchild"].into_iter().for_each(|name| wait_for_end(&read(&sandbox, name)));

    // One that has ended leaves nothing, and nothing waits for what holds its output.
    let leaves = "sleep 1000 & echo $! > grandchild; exec sleep 0";
    with_job(&sandbox, &hook("before", leaves, "timeout = \"1h\""));
    let result = once(&sandbox, &[]);
    assert_eq!((result.exit_code, &*result.stderr), (Some(0), ""), "{result:?}");
    wait_for_end(&read(&sandbox, "grandchild"));
}

#[test]
fn the_end_of_a_large_output_is_kept_and_input_need_not_be_read() {
    let sandbox = Sandbox::with_rows(30);
    let writes = "exec <&-; yes abcdefghi | head -c 3000000; printf '\\033[31mthe end'; exit 1";
    with_job(&sandbox, &hook("after", writes, ""));
    let result = once(&sandbox, &[]);
    result.assert_warns("it ended with exit code 1; its last output: … ");
    assert!(result.stderr.contains("abcdefghi | abcdefghi |") && result.stderr.contains("the end"), "{result:?}");
    assert!(result.stderr.len() < 10_000 && !result.stderr.contains('\u{1b}'), "{}", result.stderr.len());
}

#[test]
fn failures_and_the_first_success_after_them_have_commands() {
    let sandbox = Sandbox::with_rows(30);
    let note = "echo $RUVECTOR_SNAPSHOT_EVENT $RUVECTOR_SNAPSHOT_OUTCOME $RUVECTOR_SNAPSHOT_DUE $RUVECTOR_SNAPSHOT_ERROR >> events";
    let hooks = hook("on_failure", note, "") + &hook("on_recovery", note, "");
    with_job(&sandbox, &format!("{EACH_SECOND}{hooks}"));
    fs::rename(sandbox.path("a.db"), sandbox.path("hidden.db")).unwrap();
    let mut daemon = daemon(&sandbox, &[]);
    daemon.line_with("nightly: FAILED");
    daemon.line_with("nightly: FAILED");
    fs::rename(sandbox.path("hidden.db"), sandbox.path("a.db")).unwrap();
    daemon.line_with("nightly: done");
    daemon.line_with("nightly: done");
    let end = daemon.stop();
    assert_eq!(end.exit_code, Some(0), "{end:?}");
    let events = read(&sandbox, "events");
    let failed = events.lines().take_while(|line| line.starts_with("failure failed 20")).count();
    assert!(failed >= 2 && events.lines().next().unwrap().contains("a.db"), "{events}");
    let rest: Vec<_> = events.lines().skip(failed).collect();
    assert!(rest.len() == 1 && rest[0].starts_with("recovery succeeded 20"), "{events}");
}

#[test]
fn a_server_receives_the_start_the_success_and_the_failure_of_a_run() {
    let sandbox = Sandbox::with_rows(30);
    let receiver = Receiver::start();
    let url = receiver.url(&format!("ping/{KEY}?create=1"));
    with_job(&sandbox, &format!("ping = {url:?}\n"));
    let line = once(&sandbox, &[]).stdout;
    let [start, success] = [receiver.next(), receiver.next()];
    assert_eq!((start.line, start.body), (format!("POST /ping/{KEY}/start?create=1"), String::new()));
    assert_eq!(
        (success.line, success.content_type),
        (format!("POST /ping/{KEY}?create=1"), "text/plain; charset=utf-8".to_owned())
    );
    assert!(
        success.body.starts_with("the store had no snapshots before; created 20")
            && line.ends_with(&format!("{}\n", success.body)),
        "{line}"
    );

    fs::write(sandbox.path("key"), format!("{url}\n")).unwrap();
    with_job(&sandbox, "ping = \"file:key\"\n");
    fs::rename(sandbox.path("a.db"), sandbox.path("hidden.db")).unwrap();
    let failed = once(&sandbox, &["--json"]);
    assert_eq!(failed.exit_code, Some(1), "{failed:?}");
    receiver.next();
    let failure = receiver.next();
    assert_eq!(failure.line, format!("POST /ping/{KEY}/fail?create=1"));
    assert!(failure.body.starts_with("create of ") && failure.body.contains("a.db: "), "{failure:?}");
    assert_eq!(receiver.rest().len(), 0);
}

#[test]
fn a_webhook_receives_the_document_of_each_run() {
    let sandbox = Sandbox::with_rows(30);
    let receiver = Receiver::start();
    let after = hook("after", "exit 7", "required = true");
    with_job(&sandbox, &format!("webhook = \"env:HOOK\"\n{after}"));
    let mut command = sandbox.command(&["schedule", "--once", "nightly", "--json", "--config", FILE]);
    let result = RunResult::from(command.env("HOOK", receiver.url(KEY)).output().unwrap());
    let (exit_code, printed) = result.into_json();
    let received = receiver.next();
    assert_eq!((received.line, received.content_type), (format!("POST /{KEY}"), "application/json".to_owned()));
    let document = assert_is_schedule_document(&received.body);
    // With what was decided last.
    assert_eq!((exit_code, &document["run"]), (1, &printed["runs"][0]));
    assert_eq!(document["run"]["outcome"], "failed", "{document}");
    // Without the address the run is what it was, and a warning says so.
    let without = once(&sandbox, &[]);
    assert_eq!(without.exit_code, Some(1), "{without:?}");
    assert!(without.stderr.contains("jobs.nightly.webhook: the environment variable HOOK is not set"), "{without:?}");
}

#[test]
fn a_server_that_does_not_take_a_request_is_a_warning_without_its_key() {
    let sandbox = Sandbox::with_rows(30);
    let not_there = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let echo = |status| Receiver::answering(move |_| Reply::Status(status));
    let servers = [
        (echo("404 Not Found"), "it has answered 404 Not Found; check the address", 1),
        (echo("503 Service Unavailable"), "it has answered 503 Service Unavailable, 3 times", 3),
        (echo("307 Temporary Redirect"), "redirects are not followed, so write the address that it leads to", 1),
    ];
    let check = |webhook: &str, problem: &str| {
        with_job(&sandbox, &format!("webhook = {webhook:?}\n"));
        let result = once(&sandbox, &["--log-file", "log", "-vv"]);
        result.assert_warns("job nightly: the webhook has failed: http://127.0.0.1:");
        result.assert_warns(problem);
        assert!(result.stdout.contains("nightly: done after "), "{result:?}");
        let json = once(&sandbox, &["--json", "-vv"]);
        let shown = sandbox.run(&["config", "show", "--config", FILE]);
        assert!(shown.stdout.contains("jobs.nightly.webhook = http://127.0.0.1:"), "{shown:?}");
        let checked = sandbox.run(&["schedule", "--check", "--json", "--config", FILE]);
        let all = format!("{result:?}{json:?}{shown:?}{checked:?}{}", read(&sandbox, "log"));
        assert!(!all.contains(KEY) && !all.contains("p4ssword"), "{all}");
        assert!(all.contains("/***"), "{all}");
    };
    for (server, problem, attempts) in servers {
        let url = server.url(&format!("{KEY}?{KEY}")).replace("://", "://user:p4ssword@");
        check(&url, problem);
        assert_eq!(server.rest().len(), 2 * attempts);
    }
    check(&format!("http://{not_there}/{KEY}"), "it cannot be reached: Connection refused (os error 111), 3 times");
}

#[test]
fn a_run_does_not_wait_for_the_ping_of_its_start() {
    let sandbox = Sandbox::with_rows(30);
    let done = sandbox.path("done");
    let receiver = Receiver::answering(move |request| {
        while request.line.ends_with("/start") && !done.exists() {
            thread::yield_now();
        }
        Reply::Status("200 OK")
    });
    with_job(&sandbox, &format!("ping = {:?}\n{}", receiver.url(KEY), hook("after", "echo done > done", "")));
    let result = once(&sandbox, &[]);
    assert_eq!((result.exit_code, &*result.stderr), (Some(0), ""), "{result:?}");
    assert_eq!(receiver.rest().len(), 2);
}

#[test]
fn a_server_that_hangs_is_a_warning() {
    let sandbox = Sandbox::with_rows(30);
    let receiver = Receiver::answering(|_| Reply::Hang);
    with_job(&sandbox, &format!("webhook = {:?}\n", receiver.url(KEY)));
    let result = once(&sandbox, &[]);
    result.assert_warns("job nightly: the webhook has failed: http://127.0.0.1:");
    result.assert_warns("it has not answered within 10 s");
    assert_eq!((result.stdout.contains("nightly: done after "), receiver.rest().len()), (true, 1), "{result:?}");
}

#[test]
fn an_application_is_paused_while_its_databases_are_read() {
    let sandbox = Sandbox::with_rows(30);
    let note = "echo $RUVECTOR_SNAPSHOT_EVENT $RUVECTOR_SNAPSHOT_JOB $(ls snapshots | grep -c ^snapshot-) >> order";
    let hooks = |pause: &str, resume: &str| {
        hook("pause", &format!("{note}; {pause}"), "")
            + &hook("resume", &format!("{note}; {resume}"), "timeout = \"30s\"")
    };
    let run = |pause: &str, resume: &str| {
        let _not_there = fs::remove_file(sandbox.path("order"));
        with_job(&sandbox, &hooks(pause, resume));
        once(&sandbox, &[])
    };
    let done = run("true", "true");
    assert_eq!(
        (done.exit_code, &*read(&sandbox, "order")),
        (Some(0), "pause nightly 0\nresume nightly 1\n"),
        "{done:?}"
    );

    let refused = run("exit 5", "true");
    assert_eq!((refused.exit_code, &*read(&sandbox, "order")), (Some(1), "pause nightly 1\nresume nightly 1\n"));
    let text = "pause of the application: the command pause (/bin/sh) has failed: it ended with exit code 5; no snapshot was taken";
    assert!(refused.stdout.contains(text), "{refused:?}");

    let stuck = run("true", "exit 6");
    assert_eq!((stuck.exit_code, &*read(&sandbox, "order")), (Some(1), "pause nightly 1\nresume nightly 2\n"));
    let text = "resumption of the application: the command resume (/bin/sh) has failed: it ended with exit code 6; \
                the application may still be paused, so let it go on now";
    assert!(stuck.stdout.contains(text) && stuck.stdout.contains("created 20"), "{stuck:?}");

    fs::rename(sandbox.path("a.db"), sandbox.path("hidden.db")).unwrap();
    let failed = run("true", "true");
    assert_eq!(
        (failed.exit_code, &*read(&sandbox, "order")),
        (Some(1), "pause nightly 2\nresume nightly 2\n"),
        "{failed:?}"
    );
}

#[test]
fn an_application_goes_on_if_a_run_is_stopped_while_it_is_being_paused() {
    let sandbox = Sandbox::with_rows(30);
    let pause = "echo $$ > pausing; trap 'sleep 0; echo paused >> order; exit 0' TERM; while :; do sleep 0.01; done";
    let resume = "echo resumed >> order";
    let after = "echo $RUVECTOR_SNAPSHOT_OUTCOME >> order";
    let never = hook("on_failure", "echo never >> order", "");
    let hooks =
        hook("pause", pause, "timeout = \"1h\"") + &hook("resume", resume, "") + &hook("after", after, "") + &never;
    for (args, exit_code) in [(&["schedule", "--once", "nightly"][..], 143), (&["schedule", "--grace", "0s"], 143)] {
        let _not_there = (fs::remove_file(sandbox.path("order")), fs::remove_file(sandbox.path("pausing")));
        with_job(&sandbox, &format!("{EACH_SECOND}{hooks}"));
        let daemon = Daemon::start(sandbox.command(&[args, &["--config", FILE]].concat()));
        let pausing = wait_for(&sandbox, "pausing");
        daemon.signal("-TERM");
        let end = daemon.end();
        assert_eq!(end.exit_code, Some(exit_code), "{end:?}");
        assert!(end.stdout.contains("nightly: interrupted after "), "{end:?}");
        assert_eq!(read(&sandbox, "order"), "paused\nresumed\ninterrupted\n", "{end:?}");
        wait_for_end(&pausing);
    }
}

#[test]
fn a_job_that_becomes_stale_is_reported_once() {
    let sandbox = Sandbox::with_rows(30);
    fs::create_dir(sandbox.path("snapshots")).unwrap();
    let store = local_store(&sandbox.path("snapshots"));
    take_at(store, &sandbox.path("a.db"), "old", SystemClock.now() - TimeDelta::days(2));
    let receiver = Receiver::start();
    let stale = hook("on_stale", "env | grep ^RUVECTOR | sort > stale.env; cat > stale.in", "");
    let other = "[[jobs]]\nname = \"other\"\ndatabases = [\"b.db\"]\nstore = \"others\"\nwhen = \"every 1s\"\n";
    create_database(&sandbox.path("b.db"), 5, DIMENSIONS);
    let lines = format!("missed = \"skip\"\nmax_age = \"26h\"\nwebhook = {:?}\n{stale}{other}", receiver.url(KEY));
    with_job(&sandbox, &format!("when = \"0 0 1 1 *\"\n{lines}"));
    let mut daemon = daemon(&sandbox, &[]);
    let warning = daemon.message_with("it is stale");
    assert!(warning.starts_with("warning: job nightly: it is stale: its newest success was at 20"), "{warning}");
    assert!(warning.ends_with(" UTC, and max_age is 26h\n"), "{warning}");
    let body = receiver.next().body;
    let document = assert_is_schedule_document(&body);
    let stale = &document["stale"];
    assert_eq!((&stale["job"], &stale["max_age"], &stale["failures"]), (&json!("nightly"), &json!("26h"), &json!(0)));
    assert!(stale["succeeded_at"].is_string() && stale["next_run"].is_string(), "{document}");
    (0..3).for_each(|_| drop(daemon.line_with("other: done")));
    assert_eq!(wait_for(&sandbox, "stale.in"), body);
    let end = daemon.stop();
    assert_eq!((end.exit_code, end.stderr.matches("it is stale").count()), (Some(0), 1), "{end:?}");
    assert_eq!(receiver.rest().len(), 0);
    let environment = read(&sandbox, "stale.env");
    assert!(environment.contains("RUVECTOR_SNAPSHOT_EVENT=stale\n"), "{environment}");
    assert!(environment.contains("RUVECTOR_SNAPSHOT_ERROR=it is stale: its newest success was at 20"), "{environment}");
}

#[test]
fn a_run_that_never_ends_makes_its_job_stale_and_ends_with_the_daemon() {
    let sandbox = Sandbox::with_rows(30);
    let before = hook("before", "echo $$ > waiting; exec sleep 1000", "timeout = \"1h\"");
    let stale = hook("on_stale", "echo $$ > stale; exec sleep 1000", "timeout = \"1h\"");
    let other = "[[jobs]]\nname = \"other\"\ndatabases = [\"b.db\"]\nstore = \"others\"\nwhen = \"every 1s\"\n";
    create_database(&sandbox.path("b.db"), 5, DIMENSIONS);
    with_job(&sandbox, &format!("max_age = \"1s\"\n{before}{stale}{other}"));
    let mut daemon = daemon(&sandbox, &["--grace", "0s"]);
    daemon.message_with(
        "job nightly: it is stale: no run has succeeded, and not every database has a snapshot, and max_age is 1s",
    );
    let processes = [wait_for(&sandbox, "waiting"), wait_for(&sandbox, "stale")];
    daemon.signal("-TERM");
    let end = daemon.end();
    assert_eq!(end.exit_code, Some(143), "{end:?}");
    assert!(
        end.stderr.contains("the command on_stale (/bin/sh) has failed: it was killed, because the program is ending"),
        "{end:?}"
    );
    processes.iter().for_each(|process| wait_for_end(process));
}

#[test]
fn a_hook_that_hangs_at_the_end_of_the_daemon_ends_with_the_grace() {
    let sandbox = Sandbox::with_rows(30);
    let receiver = Receiver::answering(|_| Reply::Hang);
    let hangs = hook("on_failure", "echo $$ > hanging; exec sleep 1000", "timeout = \"1h\"");
    with_job(&sandbox, &format!("webhook = {:?}\n{hangs}", receiver.url(KEY)));
    fs::rename(sandbox.path("a.db"), sandbox.path("hidden.db")).unwrap();
    let daemon = daemon(&sandbox, &["--grace", "0s"]);
    let hanging = wait_for(&sandbox, "hanging");
    receiver.next();
    daemon.signal("-TERM");
    let end = daemon.end();
    assert_eq!(end.exit_code, Some(143), "{end:?}");
    assert!(end.stderr.contains("commands or requests of jobs that had not ended were stopped; no run was"), "{end:?}");
    assert!(end.stderr.contains("it has not answered, and the program is ending"), "{end:?}");
    assert!(!format!("{end:?}").contains(KEY), "{end:?}");
    wait_for_end(&hanging);
}

#[test]
fn a_second_signal_leaves_no_command() {
    let sandbox = Sandbox::with_rows(30);
    let hangs = "trap '' TERM; sleep 1000 & echo $! > grandchild; echo $$ > child; wait; wait";
    with_job(&sandbox, &hook("before", hangs, "timeout = \"1h\""));
    let mut daemon = daemon(&sandbox, &["--grace", "1h"]);
    let processes = [wait_for(&sandbox, "child"), wait_for(&sandbox, "grandchild")];
    daemon.signal("-TERM");
    daemon.message_with("stopping; ");
    while daemon.is_running() {
        daemon.signal("-TERM");
    }
    assert_eq!(daemon.end().exit_code, Some(143));
    processes.iter().for_each(|process| wait_for_end(process));
}

#[test]
fn a_second_signal_names_the_applications_that_may_stay_paused() {
    let sandbox = Sandbox::with_rows(30);
    let resume = hook("resume", "echo $$ > resuming; exec sleep 1000", "timeout = \"1h\"");
    with_job(&sandbox, &(hook("pause", "true", "") + &resume));
    let mut daemon = daemon(&sandbox, &["--grace", "1h"]);
    let resuming = wait_for(&sandbox, "resuming");
    daemon.signal("-TERM");
    daemon.message_with("stopping; ");
    while daemon.is_running() {
        daemon.signal("-TERM");
    }
    let end = daemon.end();
    let advice = "warning: what the job nightly pauses may still be paused; run its command resume now";
    assert!(end.exit_code == Some(143) && end.stderr.contains(advice), "{end:?}");
    wait_for_end(&resuming);
}

/// A file that came with an archive must not decide what is run here.
#[test]
fn hooks_of_a_file_that_is_not_named_are_refused() {
    let sandbox = Sandbox::with_rows(30);
    for lines in [hook("before", "touch ran", ""), "ping = \"https://example.org/key\"\n".to_owned()] {
        with_job(&sandbox, &lines);
        let unused = "this file was only found in the working directory, so it is not used";
        for args in [&["schedule"][..], &["schedule", "--once", "nightly"], &["config", "check"]] {
            sandbox.run(args).assert_fails(2, unused);
        }
        let checked = sandbox.run(&["schedule", "--check"]);
        assert!(checked.exit_code == Some(1) && checked.stdout.contains(unused), "{checked:?}");
        sandbox.run(&["config", "show"]).assert_warns(unused);
        assert_eq!(sandbox.names("."), ["a.db", FILE]);
    }
}

#[test]
fn a_run_ends_with_the_hooks_that_it_was_started_with() {
    let sandbox = Sandbox::with_rows(30);
    let receiver = Receiver::start();
    let before = hook("before", "echo $$ > waiting; while [ ! -e go ]; do sleep 0.01; done", "timeout = \"1h\"");
    let after = hook("after", "echo done > after", "");
    with_job(&sandbox, &format!("ping = {:?}\n{before}{after}", receiver.url("old")));
    let mut daemon = daemon(&sandbox, &[]);
    wait_for(&sandbox, "waiting");
    let other = "store = \"others\"\n[[jobs]]\nname = \"other\"\ndatabases = [\"b.db\"]\nwhen = \"@daily\"\n";
    create_database(&sandbox.path("b.db"), 5, DIMENSIONS);
    fs::write(sandbox.path(FILE), other).unwrap();
    daemon.signal("-HUP");
    daemon.message_with("read again: running 1 job");
    fs::write(sandbox.path("go"), "").unwrap();
    daemon.line_with("nightly: done");
    assert_eq!((&*receiver.next().line, &*receiver.next().line), ("POST /old/start", "POST /old"));
    assert_eq!(read(&sandbox, "after"), "done\n");
    assert_eq!(daemon.stop().exit_code, Some(0));
}

#[test]
fn a_hangup_reads_hooks_again() {
    let sandbox = Sandbox::with_rows(30);
    let receiver = Receiver::start();
    let with = |path: &str| with_job(&sandbox, &format!("{EACH_SECOND}ping = {:?}\n", receiver.url(path)));
    with("one");
    let mut daemon = daemon(&sandbox, &[]);
    while receiver.next().line != "POST /one" {}
    with_job(&sandbox, &format!("{EACH_SECOND}ping = \"file:absent\"\n"));
    daemon.signal("-HUP");
    let warning = daemon.message_with("warning: ");
    assert!(
        warning.contains("jobs.nightly.ping: cannot read") && warning.contains("the job runs without it"),
        "{warning}"
    );
    with("two");
    daemon.signal("-HUP");
    while receiver.next().line != "POST /two" {}
    assert_eq!(daemon.stop().exit_code, Some(0));
}

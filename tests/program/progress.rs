//! `--progress`: which progress is printed, its documents, and that it never claims more than what is done.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStderr, Command, Stdio};

use serde_json::{Value, json};
use test_fixtures::{Published, entry};
use test_servers::{Fault, Request, S3Server};

use super::bucket::Bucket;
use super::documents::strict_schema;
use super::sandbox::{RunResult, Sandbox, ids_of, open_database};

/// The commands that have progress, and the phases of each.
const COMMANDS: &[(&[&str], &[&str])] = &[
    (&["create", "--db", "a.db", "--name", "more"], &["creating", "storing"]),
    (&["create", "--db", "a.db", "--base", "one", "--verify-base"], &["verifying", "creating", "storing"]),
    (&["create", "--db", "a.db", "--dry-run"], &["creating"]),
    (&["verify", "one"], &["verifying"]),
    (&["verify", "--all", "--no-record"], &["verifying"]),
    (&["restore", "one", "--to", "b.db", "--force"], &["restoring", "verifying"]),
    (&["restore", "one", "--to", "part.db", "--force", "--id", "id-000001"], &["restoring", "verifying"]),
    (&["copy", "one", "--to", "copies"], &["copying"]),
    (&["export", "one", "--to", "exported"], &["exporting"]),
    (&["import", "old.snapshot.gz"], &["sorting", "creating", "storing"]),
    (&["compact", "ID"], &["creating", "storing"]),
    (&["diff", "one", "step"], &["comparing"]),
    (&["search", "one", "--like", "id-000001"], &["searching"]),
    (&["drill", "one", "--no-record"], &["restoring", "verifying", "searching", "opening"]),
];

/// Returns a sandbox with a snapshot `one`, an increment `step` and its id, and a file of the published crate.
fn prepared() -> (Sandbox, String) {
    let sandbox = Sandbox::with_rows(300);
    sandbox.create("one");
    open_database(&sandbox.path("a.db"), 8).delete("id-000007").unwrap();
    sandbox.ok(&["create", "--db", "a.db", "--name", "step", "--base", "one"]);
    let entries = (0..300).map(|number| entry(format!("id-{number}"), number, 8, 1));
    Published::of_entries(8, entries).write(&sandbox.path(""), "old");
    let id = sandbox.ids()[0].clone();
    (sandbox, id)
}

/// Runs a command that succeeds. `ID` is that of the increment.
#[track_caller]
fn ok((sandbox, id): &(Sandbox, String), args: &[&str], more: &[&str]) -> RunResult {
    // They would be in the way of the next run.
    if args[0] == "compact" {
        for copy in ids_of(&sandbox.json(&["list", "--name", "step", "--type", "full"]).1) {
            sandbox.ok(&["delete", &copy]);
        }
    }
    let imported = sandbox.names("snapshots").into_iter().filter(|name| name.starts_with("snapshot-20251121T"));
    for name in imported.map(|name| format!("snapshots/{name}")).chain(["copies".to_owned(), "exported".to_owned()]) {
        let _absent = fs::remove_dir_all(sandbox.path(&name));
    }
    let args: Vec<_> = args.iter().chain(more).map(|arg| if *arg == "ID" { id } else { *arg }).collect();
    let result = sandbox.run(&args);
    assert_eq!(result.exit_code, Some(0), "{args:?}: {result:?}");
    result
}

/// Returns the members of each line of progress. Asserts that all lines are documents as the schema says.
#[track_caller]
fn lines(stderr: &str, command: &str) -> Vec<Value> {
    let schema = strict_schema("progress");
    let line = |line: &str| {
        let document: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line:?} in {stderr}"));
        let problems: Vec<_> = schema.iter_errors(&document).map(|error| error.to_string()).collect();
        assert!(problems.is_empty(), "{document}: {problems:?}");
        assert_eq!((&document["schema_version"], &document["command"]), (&json!(1), &json!(command)));
        document["progress"].clone()
    };
    stderr.lines().map(line).collect()
}

/// The members that count something, each with its total.
const COUNTED: [[&str; 2]; 5] = [
    ["records", "records_total"],
    ["snapshots", "snapshots_total"],
    ["rows", "rows_total"],
    ["searches", "searches_total"],
    ["stored_bytes", "stored_bytes_total"],
];

/// Asserts that everything is done that the line of a phase counts, as far as its total is known.
#[track_caller]
fn assert_complete(line: &Value) {
    let counted = COUNTED.iter().filter(|[done, _]| line.get(done).is_some()).collect::<Vec<_>>();
    assert!(!counted.is_empty(), "{line}");
    let known: Vec<_> = counted.into_iter().filter(|[_, total]| line.get(total).is_some()).collect();
    for [done, total] in &known {
        assert_eq!(line[done], line[total], "{done} of {line}");
    }
    assert_eq!(line.get("seconds_left"), (!known.is_empty()).then_some(&json!(0.0)), "{line}");
}

#[test]
fn of_each_phase_the_first_and_the_last_update_are_documents() {
    let sandbox = prepared();
    for (args, phases) in COMMANDS {
        let result = ok(&sandbox, args, &["--progress", "json"]);
        assert!(!result.stdout.contains("schema_version"), "{result:?}");
        let lines = lines(&result.stderr, args[0]);
        let runs: Vec<_> = lines.chunk_by(|a, b| a["phase"] == b["phase"]).collect();
        let found: Vec<_> = runs.iter().map(|lines| lines[0]["phase"].as_str().unwrap()).collect();
        assert_eq!(found, *phases, "{args:?}: {result:?}");
        for lines in runs {
            assert!(lines.len() > 1, "{args:?} prints {lines:?} only");
            assert_complete(lines.last().unwrap());
        }
    }
}

#[test]
fn standard_output_has_only_the_document_and_progress_none_and_quiet_print_no_progress() {
    let sandbox = prepared();
    for (args, phases) in COMMANDS {
        let (_, document) = ok(&sandbox, args, &["--json", "--progress", "none"]).into_json();
        let result = ok(&sandbox, args, &["--json"]);
        assert!(lines(&result.stderr, args[0]).len() >= phases.len(), "{args:?}");
        let (_, with_progress) = result.into_json();
        let members = |document: Value| document.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(members(document), members(with_progress), "{args:?}");
    }
    let create = ["create", "--db", "a.db"];
    for (more, is_printed) in [
        (&["--json", "--progress", "none"][..], false),
        (&["--json", "--quiet"], false),
        // What is said explicitly counts.
        (&["--quiet", "--progress", "json"], true),
        (&["--json", "--quiet", "--progress", "json"], true),
        // Lines of text come from time to time, and a short run has none.
        (&[], false),
        (&["--progress", "text"], false),
        (&["--json", "--progress", "text"], false),
    ] {
        assert_eq!(ok(&sandbox, &create, more).stderr.contains("\"creating\""), is_printed, "{more:?}");
    }
    let wrong = sandbox.0.run(&["create", "--db", "a.db", "--progress", "bar"]);
    wrong.assert_fails(2, "auto, text, json, none");
}

#[test]
fn progress_and_an_event_of_the_log_have_no_member_in_common_that_tells_them_apart() {
    let sandbox = Sandbox::with_rows(300);
    let args = ["create", "--db", "a.db", "--json", "-v", "--log-format", "json"];
    let result = sandbox.run(&args);
    let lines: Vec<Value> = result.stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (progress, events): (Vec<_>, Vec<_>) = lines.iter().partition(|line| line.get("progress").is_some());
    assert!(progress.len() > 1 && events.len() > 1, "{result:?}");
    assert!(progress.iter().all(|line| line["schema_version"] == 1 && line.get("level").is_none()), "{result:?}");
    for member in ["timestamp", "level", "target"] {
        assert!(events.iter().all(|event| event.get(member).is_some()), "{result:?}");
    }
    result.into_json();
}

/// A run of which the progress is read while it goes on.
pub(crate) struct Followed {
    child: Child,
    stderr: BufReader<ChildStderr>,
    read: String,
}

impl Followed {
    /// Starts a command with `--progress json`.
    pub(crate) fn start(mut command: Command) -> Self {
        command.args(["--progress", "json"]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        Self { child, stderr, read: String::new() }
    }

    /// Waits until a phase has begun.
    #[track_caller]
    pub(crate) fn wait_for(mut self, phase: &str) -> Self {
        while !self.read.contains(&format!("\"phase\":\"{phase}\"")) {
            let read = self.stderr.read_line(&mut self.read).unwrap();
            assert!(read > 0, "it has ended before {phase}: {}", self.read);
        }
        self
    }

    /// Sends a signal, and returns the result.
    pub(crate) fn stop(mut self, signal: &str) -> RunResult {
        assert!(Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap().success());
        self.stderr.read_to_string(&mut self.read).unwrap();
        let result = RunResult::from(self.child.wait_with_output().unwrap());
        RunResult { stderr: self.read, ..result }
    }
}

/// Everything was read at once, and a byte of it is sent in a second.
#[test]
fn what_waits_for_the_rate_limit_is_not_counted_as_stored() {
    let bucket = Bucket::s3(S3Server::start());
    let create = bucket.command(&["create", "--db", "a.db", "--limit-upload", "1B"]);
    let result = Followed::start(create).wait_for("storing").stop("-INT");
    let printed: String = result.stderr.split_inclusive('\n').filter(|line| line.starts_with('{')).collect();
    let lines = lines(&printed, "create");
    assert_complete(lines.iter().rfind(|line| line["phase"] == "creating").unwrap());
    let storing = lines.last().unwrap();
    assert_eq!((&storing["phase"], &storing["stored_bytes"]), (&json!("storing"), &json!(0)), "{storing}");
    assert!(storing["stored_bytes_total"].as_u64().unwrap() > 1000, "{storing}");
}

/// The upload lasts some seconds, and each line comes a second after the one before.
#[test]
fn what_the_limit_allows_is_printed_while_a_part_waits_for_it() {
    let bucket = Bucket::s3(S3Server::start());
    for (args, limits) in [
        (&["create", "--db", "a.db", "--name", "one", "--limit-upload", "3KiB"][..], "creating"),
        (&["copy", "one", "--to", "copies", "--limit-upload", "3KiB"], "copying"),
    ] {
        let result = bucket.run(&[args, &["--progress", "json"]].concat());
        let printed: String = result.stderr.split_inclusive('\n').filter(|line| line.starts_with('{')).collect();
        let lines = lines(&printed, args[0]);
        assert_eq!((result.exit_code, &lines[0]["phase"]), (Some(0), &json!(limits)), "{result:?}");
        let allowed: Vec<_> = lines.iter().filter_map(|line| line.get("stored_bytes_allowed")).collect();
        assert!(!allowed.is_empty() && allowed.iter().all(|bytes| bytes.as_u64().unwrap() > 0), "{result:?}");
        let last = lines.last().unwrap();
        assert_eq!((last.get("stored_bytes_allowed"), &last["stored_bytes"]), (None, &last["stored_bytes_total"]));
    }
}

/// The commit is the last that counts.
#[test]
fn the_total_is_the_size_of_the_snapshot_and_reached_with_its_commit() {
    let bucket = Bucket::s3(S3Server::start());
    let commits: fn(&Request) -> bool = |request| request.is_put() && request.key().ends_with("/metadata.json");
    let last_of = |stderr: &str, command: &str| {
        let printed: String = stderr.split_inclusive('\n').filter(|line| line.starts_with('{')).collect();
        let last = lines(&printed, command).pop().unwrap();
        (last["stored_bytes"].as_u64().unwrap(), last["stored_bytes_total"].as_u64().unwrap())
    };
    let to = format!("{}-copy", bucket.store);
    for args in [&["create", "--db", "a.db", "--name", "one"][..], &["copy", "one", "--to", &to]] {
        let wire = bucket.server.wire();
        wire.set(move |request, _| commits(request).then_some(Fault::Status(403)));
        let refused = bucket.run(&[args, &["--progress", "json"]].concat());
        let (done, total) = last_of(&refused.stderr, args[0]);
        assert!(0 < done && done < total, "{refused:?}");
        wire.clear();
        let stored = bucket.run(&[args, &["--progress", "json"]].concat());
        let (done, total) = last_of(&stored.stderr, args[0]);
        assert_eq!((stored.exit_code, done), (Some(0), total), "{stored:?}");
        let shown = bucket.json(&["show", "one"]).1["snapshots"][0]["stored_bytes"].as_u64().unwrap();
        assert_eq!(done, shown, "{args:?}");
    }
}

//! `schedule --check` and `schedule --next`: what the jobs need, and what their next runs would do. `daemon` has the runs.

use std::fs;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::sandbox::{DIMENSIONS, Sandbox, create_database};

const FILE: &str = "ruvector-snapshot.toml";

/// A job of `a.db` in the store `snapshots`, with these lines.
fn with_job(sandbox: &Sandbox, lines: &str) {
    let policies = "[retention.few]\nkeep_last = 2\n[retention.labelled]\nkeep_label = \"absent\"\n";
    let job = "[[jobs]]\nname = \"nightly\"\ndatabases = [\"a.db\"]\n";
    fs::write(sandbox.path(FILE), format!("store = \"snapshots\"\n{policies}{job}{lines}")).unwrap();
}

fn time(value: &Value) -> DateTime<Utc> {
    value.as_str().unwrap().parse().unwrap()
}

fn types(run: &Value) -> Vec<&str> {
    run["snapshots"].as_array().unwrap().iter().map(|snapshot| snapshot["type"].as_str().unwrap()).collect()
}

#[test]
fn what_a_job_needs_is_checked() {
    let (sandbox, _) = Sandbox::with_snapshots(1);
    with_job(&sandbox, "when = \"30 2 * * * Europe/Berlin\"\njitter = \"15m\"\n");
    let text = sandbox.ok(&["schedule", "--check"]);
    assert!(
        text.starts_with("ok      nightly: the next run starts at 20") && text.ends_with("1 job, all ok\n"),
        "{text}"
    );
    let note = "note    nightly: the store has snapshots now: set require_store = true, so that a run fails if its disk is not mounted\n";
    assert_eq!(text.matches(note).count(), 1, "{text}");
    assert_eq!(sandbox.ok(&["schedule", "--check", "-q"]), "");
    let (exit_code, document) = sandbox.json(&["schedule", "--check"]);
    let job = &document["jobs"][0];
    assert_eq!((exit_code, &document["ok"], &job["problems"]), (0, &json!(true), &json!([])), "{document}");
    let wait = time(&job["next_start"]) - time(&document["started_at"]);
    assert!(wait > TimeDelta::zero() && wait <= TimeDelta::hours(25) + TimeDelta::minutes(15), "{document}");
    assert_eq!(
        (&job["full_every"], &job["retry_longest_seconds"], &job["missed"]),
        (&json!(7), &json!(3600), &json!("run-once"))
    );
    with_job(&sandbox, "when = \"@daily\"\nrequire_store = true\n");
    assert!(!sandbox.ok(&["schedule", "--check"]).contains("note"));
    with_job(&sandbox, "when = \"@daily\"\nstore = \"empty\"\nrequire_store = true\n");
    fs::create_dir(sandbox.path("empty")).unwrap();
    let empty = sandbox.run(&["schedule", "--check"]);
    assert!(
        empty.exit_code == Some(1) && empty.stdout.contains("it has no snapshots, and require_store = true"),
        "{empty:?}"
    );
    // Twice the distance of due times, which is 25 hours only on the day on which clocks are set back.
    assert!(["48h", "50h"].contains(&job["max_age"].as_str().unwrap()), "{job}");

    with_job(&sandbox, "when = \"@daily\"\nmax_age = \"8d\"\nstore = \"new\"\ncopies = [{ to = \"snapshots\" }]\n");
    let absent = sandbox.run(&["schedule", "--check", "-q"]);
    assert_eq!((absent.exit_code, &*absent.stderr), (Some(1), ""), "{absent:?}");
    assert!(absent.stdout.starts_with("FAILED  nightly: store ") && absent.stdout.lines().count() == 1, "{absent:?}");
    assert!(
        absent
            .stdout
            .ends_with("the directory does not exist; mount its disk, or make the directory if this is a new store\n")
    );
    assert_eq!(sandbox.names(".").iter().filter(|name| *name == "new").count(), 0, "a check makes no directory");
    fs::create_dir(sandbox.path("new")).unwrap();
    let noted = sandbox.ok(&["schedule", "--check"]);
    assert!(noted.contains("note    nightly: the store ") && noted.contains("/new has no snapshots yet\n"), "{noted}");
    assert!(noted.contains("nightly: the first run starts when `schedule` is started\n"), "{noted}");
    let (_, document) = sandbox.json(&["schedule", "--check"]);
    let job = &document["jobs"][0];
    assert_eq!((&job["max_age"], time(&job["next_start"])), (&json!("8d"), time(&document["started_at"])));
    with_job(&sandbox, "when = \"@daily\"\nstore = \"new\"\nmissed = \"skip\"\n");
    assert!(sandbox.ok(&["schedule", "--check"]).contains("nightly: the next run starts at 20"));

    let database = fs::OpenOptions::new().write(true).open(sandbox.path("a.db")).unwrap();
    database.set_len(database.metadata().unwrap().len() - 1).unwrap();
    let cut = sandbox.run(&["schedule", "--check"]);
    assert_eq!(cut.exit_code, Some(1), "{cut:?}");
    assert!(cut.stdout.contains("the file is shorter than its header says"), "{cut:?}");

    fs::write(sandbox.path("a.db"), "no database ".repeat(100)).unwrap();
    fs::write(sandbox.path("snapshots.txt"), "").unwrap();
    with_job(&sandbox, "when = \"@daily\"\ncopies = [{ to = \"snapshots.txt\" }]\n");
    let (exit_code, document) = sandbox.json(&["schedule", "--check"]);
    let problems = document["jobs"][0]["problems"].as_array().unwrap();
    assert_eq!((exit_code, &document["ok"], problems.len()), (1, &json!(false), 2), "{document}");
    assert!(problems[0].as_str().unwrap().contains("the magic number does not match"), "{document}");
    fs::remove_file(sandbox.path("a.db")).unwrap();
    let missing = sandbox.run(&["schedule", "--check"]);
    assert_eq!(missing.exit_code, Some(1), "{missing:?}");
    assert!(
        missing.stdout.contains("a.db: No such file or directory") && missing.stdout.ends_with("1 job, 1 failed\n")
    );
}

#[test]
fn the_next_runs_follow_from_what_the_store_has() {
    let (sandbox, _) = Sandbox::with_snapshots(1);
    create_database(&sandbox.path("b.db"), 5, DIMENSIONS);
    with_job(&sandbox, "when = \"every 6h\"\nretention = \"few\"\nfull_every = 2\n");
    let file = fs::read_to_string(sandbox.path(FILE)).unwrap();
    let other =
        "[[jobs]]\nname = \"hourly\"\ndatabases = [\"b.db\", \"a.db\"]\nstore = \"other\"\nwhen = \"@hourly\"\n";
    fs::write(sandbox.path(FILE), format!("{file}{other}")).unwrap();
    fs::create_dir(sandbox.path("other")).unwrap();
    let (exit_code, document) = sandbox.json(&["schedule", "--next", "30"]);
    assert_eq!((exit_code, &document["store"]), (0, &json!(null)), "{document}");
    let (now, runs) = (time(&document["started_at"]), document["runs"].as_array().unwrap());
    let starts: Vec<DateTime<Utc>> = runs.iter().map(|run| time(&run["start"])).collect();
    // Of what `hourly` backs up, its store has nothing: a run would start at once.
    assert!(starts.len() == 30 && starts.is_sorted() && starts[0] == now && starts[1] > now, "{document}");
    assert_eq!(runs[0]["job"], "hourly");
    let of = |job: &str| runs.iter().filter(|run| run["job"] == job).cloned().collect::<Vec<_>>();
    let nightly = of("nightly");
    let seconds: Vec<i64> = nightly.iter().map(|run| time(&run["due"]).timestamp()).collect();
    assert!(
        seconds[0] - now.timestamp() <= 6 * 3600 && seconds.iter().all(|second| second % (6 * 3600) == 0),
        "{document}"
    );
    // The store has a full one.
    let expected = ["incremental", "full"].repeat(3);
    assert_eq!(nightly.iter().flat_map(types).collect::<Vec<_>>(), expected[..nightly.len()]);
    assert_eq!(types(&of("hourly")[0]), ["full", "full"]);
    assert_eq!(types(&of("hourly")[1]), ["incremental", "incremental"]);
    let state = |job: usize| {
        let job = &document["jobs"][job];
        let number = |key: &str| usize::try_from(job[key].as_u64().unwrap()).unwrap();
        ([number("full"), number("incremental"), number("deleted")], number("runs"))
    };
    let ([full, incremental, deleted], runs) = state(0);
    assert_eq!((runs, full + incremental + deleted), (nightly.len(), nightly.len() + 1));
    assert!((2..=3).contains(&(full + incremental)), "two, and the base of the older: {document}");
    let ([full, incremental, deleted], runs) = state(1);
    assert_eq!((full + incremental, deleted), (2 * runs, 0));
    assert_eq!(document["jobs"][1]["oldest"], of("hourly")[0]["start"]);

    let text = sandbox.ok(&["schedule", "--next", "-q"]);
    assert!(text.starts_with("START (UTC)          IN"), "{text}");
    assert_eq!(text.lines().count(), 1 + 10 + 2, "{text}");
    assert!(text.contains("hourly: after ") && text.contains("; without a policy, nothing is deleted\n"), "{text}");
    assert!(text.contains("; the policy few would have deleted "), "{text}");
    assert!(sandbox.ok(&["schedule", "--next", "1"]).contains("nightly: after 0 runs the store would hold 1 full"));
    // Nothing was changed.
    assert_eq!((sandbox.ids().len(), sandbox.names("other").len()), (1, 0));
}

#[test]
fn what_is_not_known_of_the_future_is_a_warning() {
    let (sandbox, _) = Sandbox::with_snapshots(1);
    with_job(&sandbox, "when = \"@daily\"\nstore = \"absent\"\n");
    let text =
        sandbox.ok_with_warning(&["schedule", "--next", "2"], "so the forecast of its jobs starts from an empty one");
    assert!(text.contains("nightly: after 2 runs the store would hold 1 full and 1 incremental"), "{text}");
    let (exit_code, document) = sandbox.json(&["schedule", "--next"]);
    assert_eq!((exit_code, &document["jobs"][0]["store_read"]), (5, &json!(false)), "{document}");
    assert_eq!(sandbox.run(&["schedule", "--next", "--strict"]).exit_code, Some(1));
    with_job(&sandbox, "when = \"@daily\"\nretention = \"labelled\"\n");
    sandbox.ok_with_warning(&["schedule", "--next"], "job nightly: its retention policy would delete nothing: ");
}

#[test]
fn jobs_need_a_file_and_a_choice() {
    let sandbox = Sandbox::with_rows(5);
    let without = sandbox.run(&["schedule", "--check"]);
    without.assert_fails(2, "there are no jobs, because there is no configuration file");
    assert!(without.stderr.contains("deploy/ruvector-snapshot.toml is an example"), "{without:?}");
    fs::write(sandbox.path(FILE), "store = \"snapshots\"\n").unwrap();
    sandbox.run(&["schedule", "--next"]).assert_fails(2, "the configuration file ruvector-snapshot.toml has no jobs");
    with_job(&sandbox, "when = \"@daily\"\n");
    sandbox.run(&["schedule", "--next", "--no-config"]).assert_fails(2, "--no-config is given");
    sandbox.run(&["schedule", "--no-config"]).assert_fails(2, "--no-config is given");
    sandbox.run(&["schedule", "--store", "x"]).assert_fails(2, "--store and -o have no meaning here");
    sandbox.run(&["schedule", "--check", "--next"]).assert_fails(2, "cannot be used with");
    for number in ["0", "1001", "many"] {
        sandbox.run(&["schedule", "--next", number]).assert_fails(2, "must be a whole number from 1 to 1000");
    }
    sandbox.run(&["schedule", "--next", "--store", "x"]).assert_fails(2, "--store and -o have no meaning here");
    sandbox.run(&["schedule", "--next", "-o", "region=x"]).assert_fails(2, "--store and -o have no meaning here");
    fs::create_dir(sandbox.path("snapshots")).unwrap();
    let mut command = sandbox.command(&["schedule", "--check"]);
    command.env("RUVECTOR_SNAPSHOT_STORE", "elsewhere");
    assert_eq!(command.output().unwrap().status.code(), Some(0));
}

//! `[[jobs]]`: what is wrong with one, and what `config show` prints of it.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;
use test_servers::S3Server;

use super::{FILE, offsite, run, run_named, write};
use crate::sandbox::{Sandbox, create_database};

/// A file with a store, a database and a policy, in 6 lines, and then a job with these lines instead of those of the same keys.
fn file_with_job(lines: &[&str]) -> String {
    let key = |line: &str| line.split(" =").next().unwrap_or_default().to_owned();
    let usual = ["name = \"nightly\"", "databases = [\"@articles\"]", "when = \"@daily\""];
    let usual = usual.into_iter().filter(|line| !lines.iter().any(|other| key(other) == key(line)));
    let job: Vec<&str> = usual.chain(lines.iter().copied().filter(|line| !line.ends_with("= absent"))).collect();
    format!(
        "store = \"snapshots\"\n[stores.offsite]\nlocation = \"other\"\n[databases.articles]\npath = \"a.db\"\n\
         [retention.standard]\nkeep_last = 3\n[[jobs]]\n{}\n",
        job.join("\n")
    )
}

#[test]
fn every_mistake_of_a_job_is_named_with_its_place_and_a_suggestion() {
    let sandbox = Sandbox::empty();
    create_database(&sandbox.path("a.db"), 2, 4);
    for (lines, problem) in [
        (&["wehn = \"@daily\""][..], "12:1: unknown key \"wehn\" in [jobs.nightly]; did you mean when?"),
        (&["hooks = 1"], "unknown key \"hooks\" in [jobs.nightly]; known keys are name, databases, store, when"),
        (&["name = absent"], "8:1: jobs.name is missing; for example name = \"nightly\""),
        (&["name = \"a b\""], "jobs.name: a name of a job has letters, digits, - and _"),
        (&["databases = absent"], "8:1: jobs.nightly.databases is missing; for example databases = [\"@NAME\"]"),
        (&["databases = []"], "11:1: jobs.nightly.databases is empty"),
        (&["databases = [1]"], "11:13: jobs.nightly.databases must be a text in quotes, or a list of them"),
        (
            &["databases = [\"@articels\"]"],
            "11:14: jobs.nightly.databases: there is no database @articels; did you mean @articles?",
        ),
        (&["databases = [\"@users\"]"], "there is no database @users; add [databases.users], or write a path"),
        (&["databases = [\"articles\"]"], "write @articles for the database, or ./articles for the file"),
        (&["databases = [\"@articles\", \"@articles\"]"], "11:27: jobs.nightly.databases has @articles twice"),
        (&["databases = [\"@articles\", \"./a.db\"]"], "a.db is the same file as @articles"),
        (&["databases = [\"\"]"], "jobs.nightly.databases: the path is empty"),
        (&["databases = [\"absent.db\"]"], "jobs.nightly.databases: cannot open"),
        (&["databases = [\"ruvector-snapshot.toml\"]"], "jobs.nightly.databases: cannot open"),
        (&["store = \"@ofsite\""], "12:1: jobs.nightly.store: there is no profile @ofsite; did you mean @offsite?"),
        (&["store = \"offsite\""], "write @offsite for the profile, or ./offsite for the directory"),
        (&["store = \"memory://\""], "jobs.nightly.store: a memory:// store would be lost"),
        (&["store = 1"], "jobs.nightly.store must be a text in quotes"),
        (&["when = absent"], "8:1: jobs.nightly.when is missing; for example when = \"30 2 * * * Europe/Berlin\""),
        (&["when = \"every 6\""], "11:8: jobs.nightly.when: \"every 6\" is not a schedule: "),
        (&["when = \"0 0 30 2 *\""], "it never comes: no month that is given has such a day"),
        (&["when = \"@daily Mars/Olympus\""], "unknown time zone \"Mars/Olympus\""),
        (&["jitter = \"soon\""], "12:10: jobs.nightly.jitter: a length of time is a number with w, d, h, m or s"),
        (&["missed = \"run_once\""], "it is \"run-once\" or \"skip\"; did you mean run-once?"),
        (&["missed = \"catch-up\""], "jobs.nightly.missed: it is \"run-once\" or \"skip\""),
        (&["retry_first = \"0s\""], "jobs.nightly.retry_first: it is at least 1s"),
        (&["retry_longest = \"30s\""], "12:1: jobs.nightly.retry_first: 60 s is longer than retry_longest, 30 s"),
        (&["full_every = 0"], "jobs.nightly.full_every: must be a whole number from 1 to 1000"),
        (&["full_when = \"weekly\""], "jobs.nightly.full_when: \"weekly\" is not a schedule"),
        (
            &["full_every = 7", "full_when = \"@weekly\""],
            "13:1: jobs.nightly.full_when and full_every cannot both apply",
        ),
        (
            &["retention = \"standart\""],
            "12:1: jobs.nightly.retention: there is no retention policy \"standart\"; did you mean standard?",
        ),
        (&["retention = \"@standard\""], "did you mean standard?"),
        (&["verify_parts = 0"], "jobs.nightly.verify_parts: must be a whole number, for example 7"),
        (&["verify_parts = 60000"], "the number of subsets is from 1 to"),
        (&["drill = \"sometimes\""], "jobs.nightly.drill: \"sometimes\" is not a schedule"),
        (&["max_age = \"0h\""], "jobs.nightly.max_age: "),
        (
            &["copies = \"@offsite\""],
            "jobs.nightly.copies must be a list of tables; write copies = [{ to = \"@NAME\" }]",
        ),
        (&["copies = [{ retention = \"standard\" }]"], "jobs.nightly.copies.1.to is missing"),
        (
            &["copies = [{ to = \"@offsite\", retenton = 1 }]"],
            "unknown key \"retenton\" in [jobs.nightly.copies.1]; did you mean retention?",
        ),
        (
            &["copies = [{ to = \"@offsite\", retention = \"x\" }]"],
            "jobs.nightly.copies.1.retention: there is no retention policy",
        ),
        (&["copies = [{ to = \"snapshots\" }]"], "jobs.nightly.copies.1.to: "),
        (&["store = \"@offsite\"", "copies = [{ to = \"other\" }]"], "is the store that the snapshots are in"),
        (&["copies = [{ to = \"@offsite\" }, { to = \"other\" }]"], "jobs.nightly.copies.2.to: another copy goes to"),
        (
            &["[[jobs]]", "name = \"nightly\"", "databases = \"a.db\"", "when = \"@daily\""],
            "two jobs have the name \"nightly\"; the other is in line 9; give each a name of its own",
        ),
    ] {
        let text = match lines {
            ["[[jobs]]", ..] => format!("{}{}\n", file_with_job(&[]), lines.join("\n")),
            _ => file_with_job(lines),
        };
        write(&sandbox, FILE, &text);
        let result = sandbox.run(&["config", "check"]);
        result.assert_fails(2, problem);
        assert_eq!(result.stderr.lines().count(), 1, "{lines:?}: {result:?}");
        // What a job refers to outside of the file is not read by other commands.
        let is_in_file = !problem.contains("cannot open");
        let schedule = sandbox.run(&["schedule", "--check"]);
        assert_eq!(schedule.exit_code == Some(2), is_in_file, "{lines:?}: {schedule:?}");
    }
}

#[test]
fn databases_and_policies_that_would_be_taken_for_each_other_are_mistakes() {
    let sandbox = Sandbox::empty();
    for name in ["a.db", "b.db", "c.db"] {
        create_database(&sandbox.path(name), 2, 4);
    }
    let database = |name: &str| format!("[databases.{name}]\npath = \"{name}.db\"\nsource = \"x\"\n");
    let policies = "[retention.long]\nkeep_daily = 30\n[retention.short]\nkeep_last = 1\n";
    let job = |name: &str, databases: &str, policy: &str| {
        format!("[[jobs]]\nname = \"{name}\"\ndatabases = {databases}\nwhen = \"@daily\"\n{policy}\n")
    };
    let start = format!("store = \"snapshots\"\n{}{}{policies}", database("a"), database("b"));
    let (long, short) = ("retention = \"long\"", "retention = \"short\"");
    let two = job("one", "\"@a\"", long);
    for (jobs, problem) in [
        (
            job("one", "[\"@a\", \"@b\"]", ""),
            "databases: @a and @b have the source \"x\"; give each a source of its own",
        ),
        (
            two.clone() + &job("other", "\"@a\"", short),
            "jobs.other: it has the policy short and the job one has the policy long for the same database in the store ",
        ),
        (two.clone() + &job("other", "\"a.db\"", "").replace("a.db", "c.db"), ""),
        (
            two.clone() + &job("other", "\"@b\"", long),
            "jobs.other: its database @b has the source of @a of the job one, in the store ",
        ),
        // Another database that they share hides nothing.
        (
            job("one", "[\"c.db\", \"@a\"]", long) + &job("other", "[\"c.db\", \"@b\"]", long),
            "jobs.other: its database @b has the source of @a of the job one, in the store ",
        ),
        (two.clone() + &job("other", "\"@b\"", "store = \"other\""), ""),
        (
            two.clone()
                + &job("other", "\"@a\"", "retention = \"long\"\ncopies = [{ to = \"c\", retention = \"short\" }]"),
            "",
        ),
        (two.clone() + &job("other", "\"@a\"", long), ""),
        (
            two.clone() + &job("other", "\"@a\"", ""),
            "jobs.other: it has no policy and the job one has the policy long for the same database in the store ",
        ),
        (two.clone() + &job("other", "\"@a\"", "store = \"other\"\nretention = \"short\""), ""),
    ] {
        write(&sandbox, FILE, &format!("{start}{jobs}"));
        let result = sandbox.run(&["config", "check"]);
        match problem {
            "" => assert_eq!(result.exit_code, Some(0), "{result:?}"),
            problem => result.assert_fails(2, problem),
        }
    }
}

#[test]
fn every_mistake_of_a_hook_is_named_with_its_place_and_a_suggestion() {
    let sandbox = Sandbox::empty();
    create_database(&sandbox.path("a.db"), 2, 4);
    let secret = "k3y-0f-an-address";
    write(&sandbox, "private", secret);
    std::fs::set_permissions(sandbox.path("private"), Permissions::from_mode(0o600)).unwrap();
    for (lines, problem) in [
        (&["on_failiure = 1"][..], "unknown key \"on_failiure\" in [jobs.nightly]; did you mean on_failure?"),
        (&["before = \"true\""], "12:10: jobs.nightly.before must be a table"),
        (&["before = {}"], "jobs.nightly.before.command is missing; for example command = [\"/usr/local/bin/report\""),
        (&["before = { command = [] }"], "jobs.nightly.before.command is empty"),
        (
            &["before = { command = \"k3y-0f-an-address\" }"],
            "12:22: jobs.nightly.before.command must be a list of texts: a program and its arguments, which no shell reads",
        ),
        (&["before = { command = [\"/bin/sh\", 1] }"], "jobs.nightly.before.command must be a list of texts"),
        (&["before = { command = [\"/bin/sh\", \"\\u0000\"] }"], "jobs.nightly.before.command must be a list of texts"),
        (&["before = { command = [\"\"] }"], "jobs.nightly.before.command: the path is empty"),
        (&["before = { command = [\"/absent\"] }"], "jobs.nightly.before: there is no program /absent; check the path"),
        (&["before = { comand = [\"/bin/sh\"], command = [\"/bin/sh\"] }"], "did you mean command?"),
        (&["before = { command = [\"/bin/sh\"], timeout = \"0s\" }"], "jobs.nightly.before.timeout: it is at least 1s"),
        (&["before = { command = [\"/bin/sh\"], required = 1 }"], "jobs.nightly.before.required: "),
        (
            &["on_stale = { command = [\"/bin/sh\"], required = true }"],
            "jobs.nightly.on_stale.required: the run has ended by then, so this cannot make it fail; only before and after",
        ),
        (
            &["pause = { command = [\"/bin/sh\"], required = true }", "resume = { command = [\"/bin/sh\"] }"],
            "unknown key \"required\" in [jobs.nightly.pause]; known keys are command, timeout",
        ),
        (
            &["pause = { command = [\"/bin/sh\"] }"],
            "12:1: jobs.nightly.pause needs resume; an application that is paused",
        ),
        (&["resume = { command = [\"/bin/sh\"] }"], "12:1: jobs.nightly.resume needs pause; "),
        (&["ping = 1"], "jobs.nightly.ping must be a text in quotes"),
        (&["ping = \"k3y-0f-an-address\""], "jobs.nightly.ping: this is no address: "),
        (
            &["ping = \"ftp://example.org/k3y-0f-an-address\""],
            "jobs.nightly.ping: an address begins with https:// or http://",
        ),
        (&["ping = \"env:\""], "jobs.nightly.ping: after env: comes the name of an environment variable"),
        (&["webhook = \"env:ABSENT\""], "jobs.nightly.webhook: the environment variable ABSENT is not set"),
        (&["webhook = \"file:absent\""], "jobs.nightly.webhook: cannot read "),
        (&["webhook = \"file:private\""], "/private: this is no address: "),
    ] {
        write(&sandbox, FILE, &file_with_job(lines));
        let result = run_named(&sandbox, &[], &["config", "check"]);
        result.assert_fails(2, problem);
        assert_eq!(result.stderr.lines().count(), 1, "{lines:?}: {result:?}");
        assert!(!result.stderr.contains(secret), "{lines:?}: {result:?}");
    }
}

#[test]
fn hooks_are_shown_without_what_may_be_a_key() {
    let sandbox = Sandbox::empty();
    let lines = [
        "ping = \"https://user:s3cret@example.org:8443/s3cret?s3cret\"",
        "webhook = \"file:s3\"",
        "after = { command = [\"./report\", \"s3cret\"], timeout = \"2m\" }",
        "before = { command = [\"true\"] }",
    ];
    write(&sandbox, FILE, &file_with_job(&lines));
    let shown = run_named(&sandbox, &[], &["config", "show"]).stdout;
    for line in [
        "jobs.nightly.ping = https://example.org:8443/***".to_owned(),
        format!("jobs.nightly.webhook = file:{}", sandbox.path("s3").display()),
        format!("jobs.nightly.after.command = {} (1 argument)", sandbox.path("report").display()),
        "jobs.nightly.after.timeout = 2m".to_owned(),
        "jobs.nightly.before.command = true (0 arguments)".to_owned(),
    ] {
        assert!(shown.contains(&line), "{line}: {shown}");
    }
    assert!(!shown.contains("s3cret"), "{shown}");
}

#[test]
fn a_table_instead_of_a_list_and_a_missing_store_are_mistakes() {
    let sandbox = Sandbox::empty();
    for (text, problem) in [
        (
            "[jobs.nightly]\nwhen = \"@daily\"\n",
            "jobs must be a list of tables; write [[jobs]], and name = \"NAME\" below it",
        ),
        (
            "[[jobs]]\nname = \"a\"\ndatabases = \"a.db\"\nwhen = \"@daily\"\n",
            "1:1: jobs.a.store is missing, and the file has none; write store = \"@NAME\" here",
        ),
        (
            "store = \"snapshots\"\n[databases]\na = { path = \"a.db\", scratch_dir = \"one\" }\nb = { path = \"b.db\", scratch_dir = \"two\" }\n\
             [[jobs]]\nname = \"a\"\ndatabases = [\"@a\", \"@b\"]\nwhen = \"@daily\"\n",
            "jobs.a.databases: these databases do not have the same scratch_dir",
        ),
    ] {
        write(&sandbox, FILE, text);
        sandbox.run(&["list"]).assert_fails(2, problem.split(": ").last().unwrap());
        let result = sandbox.run(&["config", "check"]);
        assert!(result.stderr.contains(problem), "{result:?}");
    }
}

#[test]
fn jobs_are_shown_by_their_names() {
    let sandbox = Sandbox::empty();
    let lines =
        ["jitter = \"15m\"", "full_when = \"@weekly\"", "max_age = \"26h\"", "copies = [{ to = \"@offsite\" }]"];
    write(&sandbox, FILE, &file_with_job(&lines));
    let (exit_code, document) = sandbox.json(&["config", "show"]);
    assert_eq!(exit_code, 0, "{document}");
    let value = |key: &str| {
        let values = document["values"].as_array().unwrap().iter();
        values.clone().find(|value| value["key"] == key).map(|value| (value["value"].clone(), value["place"].clone()))
    };
    let place = |line| json!(format!("{FILE}:{line}"));
    assert_eq!(value("jobs.nightly.when"), Some((json!("@daily"), place(11))));
    assert_eq!(value("jobs.nightly.databases"), Some((json!("@articles"), place(10))));
    assert_eq!(value("jobs.nightly.jitter"), Some((json!("15m"), place(12))));
    assert_eq!(value("jobs.nightly.copies.1.to"), Some((json!("@offsite"), place(15))));
}

/// A file that came with an archive must not decide where snapshots go.
#[test]
fn a_bucket_of_a_job_is_used_only_if_the_file_is_named() {
    let sandbox = Sandbox::empty();
    create_database(&sandbox.path("a.db"), 2, 4);
    write(&sandbox, FILE, &file_with_job(&["store = \"s3://strange/bucket\""]));
    let unused = "names s3://strange/bucket, but this file was only found in the working directory";
    sandbox.run(&["config", "check"]).assert_fails(2, unused);
    let checked = sandbox.run(&["schedule", "--check"]);
    assert_eq!(checked.exit_code, Some(1), "{checked:?}");
    assert!(checked.stdout.contains(unused), "{checked:?}");
    sandbox.run(&["schedule", "--next"]).assert_warns(unused);
    assert_eq!(run_named(&sandbox, &[], &["config", "check"]).exit_code, Some(0));
}

#[test]
fn jobs_reach_the_bucket_of_a_profile() {
    let (sandbox, _server) = offsite();
    let text = std::fs::read_to_string(sandbox.path(FILE)).unwrap();
    let job = "[[jobs]]\nname = \"a\"\ndatabases = \"a.db\"\nwhen = \"@daily\"\nstore = \"@offsite\"\n";
    write(&sandbox, FILE, &format!("{text}{job}"));
    let keys = [("OFFSITE_KEY", S3Server::ACCESS_KEY)];
    let checked = run_named(&sandbox, &keys, &["schedule", "--check"]);
    assert_eq!(checked.exit_code, Some(0), "{checked:?}");
    assert!(checked.stdout.contains("note    a: the store @offsite has no snapshots yet\n"), "{checked:?}");
    let next = run_named(&sandbox, &keys, &["schedule", "--next", "1"]);
    assert_eq!(next.exit_code, Some(0), "{next:?}");
    // Without its key the profile is wrong, and nothing is said of the database.
    let wrong = run(&sandbox, &[], &["schedule", "--check", "--config", FILE]);
    assert_eq!(wrong.exit_code, Some(1), "{wrong:?}");
    assert!(wrong.stdout.contains("FAILED  a: store @offsite: ") && wrong.stdout.contains("OFFSITE_KEY"), "{wrong:?}");
}

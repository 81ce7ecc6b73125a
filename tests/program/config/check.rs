//! What is wrong with a file, and that the example is good.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::{CANARY, FILE, run_named, write};
use crate::sandbox::{Sandbox, create_database};

#[test]
fn every_mistake_of_a_file_is_named_with_its_line_and_a_suggestion() {
    let sandbox = Sandbox::empty();
    for (text, problem) in [
        ("stoer = \"a\"", "1:1: unknown key \"stoer\"; did you mean store?"),
        ("[plans.a]\nx = 1", "1:2: unknown key \"plans\"; known keys are store, stores, databases, retention, jobs"),
        ("store = 1", "1:9: store must be a text in quotes"),
        ("store = \"\"", "store: the store location is empty"),
        ("store = \"memory://\"", "a memory:// store would be lost"),
        ("store = \"s4://a\"", "store: unsupported URL scheme s4://"),
        (
            "store = \"@ofsite\"\n[stores.offsite]\nlocation = \"a\"",
            "1:1: store: there is no profile @ofsite; did you mean @offsite?",
        ),
        (
            "[stores.a]\nlocation = \"a\"\nlimit_uplaod = 1",
            "3:1: unknown key \"limit_uplaod\" in [stores.a]; did you mean limit_upload?",
        ),
        ("[stores.a]\nconnections = 4", "1:9: stores.a.location is missing"),
        ("[stores.a]\nlocation = \"@b\"", "a profile cannot be another profile"),
        ("[stores.\"a b\"]\nlocation = \"a\"", "\"a b\" is no name"),
        ("stores.a = \"/srv\"", "stores.a must be a table; write [stores.a]"),
        ("[stores.a]\nlocation = \"a\"\noptions = { region = \"x\" }", "takes no options"),
        (
            "[stores.a]\nlocation = \"s3://a\"\noptions = { regoin = \"x\" }",
            "3:13: unknown option \"regoin\" of s3://; did you mean region?",
        ),
        (
            "[stores.a]\nlocation = \"s3://a\"\noptions = { region = \"é\" }",
            "stores.a.options.region may contain only letters",
        ),
        (
            "[stores.a]\nlocation = \"s3://a\"\noptions = { region = \"a\", AWS_REGION = \"b\" }",
            "is the option region once more",
        ),
        (
            "[stores.a]\nlocation = \"gs://a\"\noptions = { bearer_token = \"c4n4ry-0f-a-s3cret\" }",
            "bearer_token is a secret, which is not written into this file",
        ),
        (
            "[stores.a]\nlocation = \"s3://a\"\noptions = { AWS_SECRET_ACCESS_KEY = \"c4n4ry-0f-a-s3cret\" }",
            "is a secret",
        ),
        (
            "[stores.a]\nlocation = \"s3://a\"\noptions = { proxy_url = \"http://u:c4n4ry-0f-a-s3cret@p\" }",
            "is a secret",
        ),
        ("[stores.a]\nlocation = \"s3://a\"\noptions = { secret_access_key = \"env:\" }", "after env: comes the name"),
        (
            "[stores.a]\nlocation = \"a\"\nlimit_upload = \"fast\"",
            "3:16: stores.a.limit_upload: must be a number of bytes per second",
        ),
        (
            "[stores.a]\nlocation = \"a\"\nlimit_upload = 20",
            "limit_upload: has no unit: write 20B for bytes per second",
        ),
        (
            "[stores.a]\nlocation = \"a\"\nconnections = 0",
            "stores.a.connections: must be a whole number from 1 to 1024",
        ),
        ("[databases.a]\nname = \"x\"", "databases.a.path is missing"),
        ("[databases.a]\npath = \"absent.db\"", "cannot open"),
        ("[databases.a]\npath = \"ruvector-snapshot.toml\"", "cannot open"),
        ("[databases.a]\npath = \"\"", "the path is empty"),
        ("[databases.a]\npath = \"a.db\"\nlabels = \"a\"", "databases.a.labels must be a table"),
        (
            "[databases.a]\npath = \"a.db\"\nlabels = { \"\" = \"x\" }",
            "3:12: databases.a.labels: a key of a label is not empty",
        ),
        ("[databases.a]\npath = \"a.db\"\nsource = \" \"", "the name of a source cannot be empty"),
        ("[retention.a]\nkeep_last = 0", "retention.a.keep_last: 0 would keep nothing"),
        ("[retention.a]\nkeep_within = \"soon\"", "retention.a.keep_within: "),
        ("[retention.a]\nkeep_last = 1\ntime_zone = \"Moon\"", "retention.a.time_zone: "),
        ("[retention.a]\nkeep_last = 1\ngroup_by = \"x\"", "retention.a.group_by: "),
        ("[retention.a]\nkeep_label = [[1]]", "retention.a.keep_label: it is KEY or KEY=VALUE"),
        ("[retention.a]\ntime_zone = \"UTC\"", "retention.a has no rule"),
        ("[retention.a]\nkeep_dayly = 1", "did you mean keep_daily?"),
        ("[stores.a", "this is not TOML: "),
        ("a = 1\na = 2", "2:1: this is not TOML: duplicate key"),
        ("secret_access_key = c4n4ry-0f-a-s3cret", "this is not TOML: "),
        ("secret_access_key = \"c4n4ry-0f-a-s3cret\n", "this is not TOML: "),
    ] {
        write(&sandbox, FILE, text);
        let result = sandbox.run(&["config", "check"]);
        result.assert_fails(2, problem);
        assert!(result.stderr.starts_with(&format!("error: {FILE}:")), "{result:?}");
        let (exit_code, document) = sandbox.json(&["config", "check"]);
        assert_eq!((exit_code, &document["valid"]), (2, &json!(false)), "{document}");
        let list = sandbox.run(&["list"]);
        // Only what a file refers to is not read by other commands.
        assert_eq!(list.exit_code == Some(2), problem != "cannot open", "{list:?}");
        for printed in [result.stdout, result.stderr, document.to_string(), list.stderr] {
            assert!(!printed.contains(CANARY) && !printed.contains("panicked"), "{printed}");
        }
    }
}

#[test]
fn all_mistakes_are_found_at_once() {
    let sandbox = Sandbox::empty();
    write(&sandbox, FILE, "stoer = 1\n[stores.a]\nlocation = 1\nx = 2\n[retention.b]\nkeep_last = \"x\"\n");
    let (_, document) = sandbox.json(&["config", "check"]);
    let lines: Vec<_> =
        document["problems"].as_array().unwrap().iter().map(|problem| problem["line"].clone()).collect();
    assert_eq!(lines, [json!(1), json!(3), json!(4), json!(6)]);
    let result = sandbox.run(&["list"]);
    result.assert_fails(2, "ruvector-snapshot.toml has 4 mistakes");
    assert!(result.stderr.contains("ruvector-snapshot.toml:6:13: "), "{result:?}");
}

/// A wrong value hides no check of what the file refers to.
#[test]
fn what_a_file_refers_to_is_checked_beside_its_mistakes() {
    let sandbox = Sandbox::empty();
    let text = "[databases.a]\npath = \"nofile.db\"\nlabels = \"x\"\n[databases.b]\npath = 1\nscratch_dir = \"absent\"\n\
                [stores.c]\nlocation = \"s3://c\"\nconnections = 0\noptions = { region = \"eu-west-1\", access_key_id = \"env:ABSENT\" }\n\
                [stores.d]\nlocation = \"s3://d\"\noptions = { regoin = \"x\", access_key_id = \"AKID\" }\n";
    write(&sandbox, FILE, text);
    let (exit_code, document) = run_named(&sandbox, &[], &["config", "check", "--json"]).into_json();
    let problems = document["problems"].as_array().unwrap().iter();
    let lines: Vec<_> = problems.map(|problem| problem["line"].as_u64().unwrap()).collect();
    // That keys are missing because of a mistake is not said.
    assert_eq!((exit_code, lines), (2, vec![2, 3, 5, 6, 9, 10, 13]), "{document}");
}

#[test]
fn a_database_that_is_none_is_a_mistake() {
    let sandbox = Sandbox::empty();
    create_database(&sandbox.path("a.db"), 2, 4);
    write(&sandbox, "empty.db", "");
    write(&sandbox, "text.db", &"no database ".repeat(100));
    write(&sandbox, "rows.json", "[]");
    for (file, problem) in [
        ("empty.db", "it is empty"),
        ("text.db", "the magic number does not match"),
        ("rows.json", "this is a JSON file, and not a database"),
    ] {
        write(&sandbox, FILE, &format!("[databases.a]\npath = \"{file}\"\n"));
        sandbox.run(&["config", "check"]).assert_fails(2, problem);
        sandbox.run(&["create", "--db", "@a"]).assert_fails(1, problem);
    }
    write(&sandbox, FILE, "[databases.a]\npath = \"a.db\"\n");
    sandbox.ok(&["config", "check"]);
}

/// Returns the example with the lines `numbers` uncommented.
fn uncommented(example: &str, is_wanted: impl Fn(usize) -> bool) -> String {
    let lines = example.lines().enumerate().map(|(number, line)| match line.strip_prefix('#') {
        Some(option) if is_option(line) && is_wanted(number) => option.to_owned(),
        _ => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Returns whether a line of the example is an option that is commented out.
fn is_option(line: &str) -> bool {
    line.strip_prefix('#')
        .is_some_and(|line| line.starts_with(|c: char| c.is_ascii_lowercase()) && line.contains(" = "))
}

#[test]
fn the_example_is_good_and_so_is_each_of_its_options() {
    let example = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(FILE)).unwrap();
    let sandbox = Sandbox::empty();
    create_database(&sandbox.path("articles.db"), 2, 4);
    // The paths and programs of the example are those of a server.
    let here = ["/usr/local/bin/report", "mountpoint", "systemctl"]
        .iter()
        .fold(example.replace("/srv/ruvector/articles.db", "articles.db"), |here, program| {
            here.replace(program, "/bin/sh")
        });
    let options: Vec<usize> =
        example.lines().enumerate().filter(|(_, line)| is_option(line)).map(|(number, _)| number).collect();
    assert!(options.len() >= 20, "{options:?}");
    write(&sandbox, "secrets/offsite", "secret");
    write(&sandbox, "secrets/ping", "https://example.org/key");
    // Each needs the other.
    let is_half = |number: usize| {
        example.lines().nth(number).is_some_and(|line| line.starts_with("#pause") || line.starts_with("#resume"))
    };
    // It needs a real key.
    let is_key_file = |number: usize| example.lines().nth(number).is_some_and(|line| line.contains("service_account"));
    let check = |text: &str| {
        write(&sandbox, FILE, text);
        // What one option says of the keys is half of what is needed.
        let keys = [
            ("AWS_ACCESS_KEY_ID", "AKID"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("OFFSITE_ACCESS_KEY_ID", "AKID"),
            ("BACKUP_WEBHOOK", "https://example.org/key"),
        ];
        run_named(&sandbox, &keys, &["config", "check"])
    };
    let result = check(&here);
    assert_eq!(result.exit_code, Some(0), "{result:?}");
    for option in options.iter().copied().filter(|option| !is_key_file(*option)) {
        let result = check(&uncommented(&here, |number| number == option || is_half(option) && is_half(number)));
        assert_eq!(result.exit_code, Some(0), "{option}: {result:?}");
    }
    let result = check(&uncommented(&here, |number| !is_key_file(number)));
    assert_eq!(result.exit_code, Some(0), "{result:?}");
    let all = uncommented(&here, |_| true);
    write(&sandbox, FILE, &all);
    let shown = run_named(&sandbox, &[], &["config", "show"]);
    assert_eq!(shown.exit_code, Some(0), "{shown:?}");
    // Every key that a file can have is in it.
    for key in [
        "connections",
        "limit_upload",
        "limit_download",
        "name",
        "source",
        "labels",
        "embedding",
        "scratch_dir",
        "keep_last",
        "keep_hourly",
        "keep_daily",
        "keep_weekly",
        "keep_monthly",
        "keep_quarterly",
        "keep_yearly",
        "keep_within",
        "keep_label",
        "group_by",
        "time_zone",
        "databases",
        "store",
        "when",
        "jitter",
        "missed",
        "retry_first",
        "retry_longest",
        "full_every",
        "full_when",
        "retention",
        "verify_parts",
        "drill",
        "max_age",
        "copies",
        "ping",
        "webhook",
        "before",
        "after",
        "on_failure",
        "on_recovery",
        "on_stale",
        "pause",
        "resume",
    ] {
        assert!(all.lines().any(|line| line.starts_with(&format!("{key} = "))), "{key}");
    }
}

//! The JSON documents of every command, of successes and failures, validated against the schemas in `docs/schema`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use test_fixtures::{Published, entry};

use crate::help::every_command;
use crate::sandbox::{RunResult, Sandbox, open_database};

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs")
}

/// The schema of each command, strict: no object has a member that the schema does not name.
fn schemas() -> BTreeMap<String, jsonschema::Validator> {
    let files = fs::read_dir(docs().join("schema")).unwrap().map(|entry| entry.unwrap().path());
    let names = files.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned());
    let of_commands = names.filter(|name| name != "progress");
    of_commands
        .map(|name| (name.replace("store-", "store ").replace("config-", "config "), strict_schema(&name)))
        .collect()
}

/// A schema that allows no member that it does not name.
pub(crate) fn strict_schema(name: &str) -> jsonschema::Validator {
    let file = docs().join("schema").join(name).with_extension("json");
    let mut schema: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    close(&mut schema);
    jsonschema::validator_for(&schema).unwrap()
}

/// Allows no members but those that a schema names.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            if members.get("properties").is_some_and(Value::is_object) {
                members.insert("additionalProperties".to_owned(), false.into());
            }
            members.values_mut().for_each(close);
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}

/// Returns what is wrong with the output of a run.
fn problems(validator: &jsonschema::Validator, command: &str, exit_code: i32, result: RunResult) -> Vec<String> {
    let shown = format!("{result:?}");
    let (code, document) = result.into_json();
    let mut problems: Vec<String> = validator.iter_errors(&document).map(|error| error.to_string()).collect();
    let is_right = code == exit_code && document["command"] == *command && document["schema_version"] == 1;
    if !is_right || !problems.is_empty() {
        problems.push(format!("{command}: exit code {exit_code} is expected: {shown}"));
    }
    if let Some(error) = document.get("error")
        && error["exit_code"] != code
    {
        problems.push(format!("{command}: another exit code in the document: {document}"));
    }
    problems
}

/// Two snapshots of a chain, `full` and `inc`, and one that is corrupt, `bad`, in another store.
fn prepared() -> Sandbox {
    let sandbox = Sandbox::with_rows(60);
    sandbox.ok(&["create", "--db", "a.db", "--name", "full", "--label", "host=db1", "--embedding", "model=m"]);
    open_database(&sandbox.path("a.db"), 8).delete("id-000007").unwrap();
    sandbox.ok(&["create", "--db", "a.db", "--name", "inc", "--base", "full"]);
    sandbox.ok(&["verify", "full", "--quick"]);
    sandbox.ok(&["create", "--db", "a.db", "--name", "bad", "--store", "other"]);
    let directory = fs::read_dir(sandbox.path("other")).unwrap().map(|entry| entry.unwrap().path());
    let directory = directory.into_iter().find(|path| path.is_dir()).unwrap();
    let mut bytes = fs::read(directory.join("vectors.bin.gz")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(directory.join("vectors.bin.gz"), bytes).unwrap();
    fs::create_dir(sandbox.path("empty")).unwrap();
    fs::write(sandbox.path("settings.toml"), "[stores.offsite]\nlocation = \"s3://bucket/prefix\"\n").unwrap();
    let job = "store = \"snapshots\"\n[[jobs]]\nname = \"nightly\"\nwhen = \"@daily\"\n";
    fs::write(sandbox.path("jobs.toml"), format!("{job}databases = \"a.db\"\ncopies = [{{ to = \"other\" }}]\n"))
        .unwrap();
    fs::write(sandbox.path("wrong.toml"), format!("{job}databases = \"missing.db\"\n")).unwrap();
    sandbox
}

/// A run of each command in each form of its document, and of its failures: the arguments, and the exit code.
const CASES: &[(&str, &[&str], i32)] = &[
    ("create", &["create", "--db", "a.db", "--name", "third", "--base", "inc"], 0),
    ("create", &["create", "--db", "a.db"], 0),
    ("create", &["create", "--db", "a.db", "--dry-run"], 0),
    ("create", &["create", "--db", "a.db", "--base", "inc", "--dry-run"], 0),
    ("create", &["create", "--db", "missing.db"], 1),
    ("create", &["create", "--db", "a.db", "--base", "nope"], 4),
    ("create", &["create", "--db", "a.db", "--require-store", "--store", "empty"], 4),
    ("create", &["create"], 2),
    ("list", &["list"], 0),
    ("list", &["list", "--store", "empty"], 4),
    ("list", &["list", "--store", "missing"], 1),
    ("show", &["show", "inc"], 0),
    ("show", &["show", "full", "inc"], 0),
    ("show", &["show", "nope"], 4),
    ("verify", &["verify", "inc"], 0),
    ("verify", &["verify", "--all"], 0),
    ("verify", &["verify", "full", "--max-age", "7d"], 0),
    ("verify", &["verify", "--all", "--store", "empty"], 4),
    ("verify", &["verify", "bad", "--store", "other"], 3),
    ("verify", &["verify", "--all", "--dry-run"], 0),
    ("verify", &["verify", "full", "inc", "--max-age", "7d", "--subset", "1/2", "--dry-run"], 0),
    ("verify", &["verify", "--all", "--dry-run", "--store", "empty"], 4),
    ("verify", &["verify", "--all", "--quick", "--subset", "1/2"], 2),
    ("restore", &["restore", "inc", "--to", "whole.db"], 0),
    ("restore", &["restore", "inc", "--to", "part.db", "--id", "id-000001"], 0),
    ("restore", &["restore", "inc", "--to", "part.db", "--merge", "--id", "id-000002"], 0),
    ("restore", &["restore", "inc", "--to", "planned.db", "--dry-run"], 0),
    ("restore", &["restore", "inc", "--to", "whole.db", "--dry-run"], 1),
    ("restore", &["restore", "inc", "--to", "planned.db", "--dry-run", "--where", "n<8"], 0),
    ("restore", &["restore", "inc", "--to", "part.db", "--dry-run", "--merge"], 0),
    ("restore", &["restore", "inc", "--to", "missing.db", "--dry-run", "--merge", "--id", "nope"], 1),
    ("restore", &["restore", "bad", "--to", "bad.db", "--dry-run", "--id", "id-000001", "--store", "other"], 3),
    ("restore", &["restore", "inc", "--to", "whole.db"], 1),
    ("restore", &["restore", "inc", "--to", "none.db", "--id", "nope"], 1),
    ("restore", &["restore", "bad", "--to", "bad.db", "--store", "other"], 3),
    ("dump", &["dump", "inc"], 0),
    ("dump", &["dump", "inc", "--id", "id-000001", "--id", "nope"], 1),
    ("dump", &["dump", "bad", "--store", "other"], 3),
    ("dump", &["dump", "nope"], 4),
    ("export", &["export", "inc", "--to", "exported", "--dry-run"], 0),
    ("export", &["export", "inc", "--to", "missing/exported", "--dry-run", "--id", "nope"], 1),
    ("export", &["export", "inc", "--to", "exported"], 0),
    ("export", &["export", "inc", "--to", "exported"], 1),
    ("import", &["import", "missing.snapshot.gz"], 1),
    ("find", &["find", "id-000007"], 0),
    ("find", &["find", "nope"], 1),
    ("find", &["find", "id-000007", "--store", "missing"], 1),
    ("diff", &["diff", "full", "inc"], 0),
    ("diff", &["diff", "full", "inc", "--list"], 0),
    ("diff", &["diff", "full", "inc", "--exit-code"], 1),
    ("diff", &["diff", "full", "nope"], 4),
    ("drill", &["drill", "inc", "--dry-run"], 0),
    ("drill", &["drill", "inc", "--dry-run", "--scratch-dir", "missing"], 1),
    ("drill", &["drill", "inc"], 0),
    ("drill", &["drill", "bad", "--store", "other"], 3),
    ("search", &["search", "inc", "--like", "id-000001", "--with-metadata"], 0),
    ("search", &["search", "inc", "--like", "nope"], 1),
    ("compact", &["compact", "inc", "--dry-run"], 0),
    ("compact", &["compact", "inc", "full", "--dry-run"], 1),
    ("compact", &["compact", "inc"], 0),
    ("compact", &["compact", "inc", "full"], 1),
    ("compact", &["compact", "full"], 1),
    ("copy", &["copy", "--all", "--to", "copied", "--dry-run"], 0),
    ("copy", &["copy", "inc", "--to", "copied"], 0),
    ("copy", &["copy", "--all", "--to", "copied", "--store", "empty"], 4),
    ("copy", &["copy", "--all", "--to", "copied", "--store", "other"], 3),
    ("pin", &["pin", "full", "inc", "--dry-run"], 0),
    ("unpin", &["unpin", "full", "third", "--dry-run"], 0),
    ("pin", &["pin", "full", "inc"], 0),
    ("pin", &["pin", "nope"], 4),
    ("annotate", &["annotate", "full", "--label", "a=b", "--note", "checked"], 0),
    ("annotate", &["annotate", "nope", "--note", "checked"], 4),
    ("show", &["show", "full"], 0),
    ("stats", &["stats"], 0),
    ("stats", &["stats", "--store", "empty"], 4),
    ("status", &["status"], 0),
    ("status", &["status", "--max-drill-age", "1d", "--source", "nope"], 4),
    ("status", &["status", "--store", "empty"], 4),
    ("status", &["status", "--store", "missing"], 1),
    ("schedule", &["schedule", "--check", "--config", "jobs.toml"], 0),
    ("schedule", &["schedule", "--check", "--config", "wrong.toml"], 1),
    ("schedule", &["schedule", "--next", "3", "--config", "jobs.toml"], 0),
    ("schedule", &["schedule", "--next", "--config", "settings.toml"], 2),
    ("version", &["version"], 0),
    ("version", &["version", "--unknown"], 2),
    // The increment, and the full snapshot that was made of it.
    ("delete", &["delete", "inc", "--dry-run"], 2),
    ("unpin", &["unpin", "full"], 0),
    ("unpin", &["unpin", "nope"], 4),
    ("delete", &["delete", "full", "--dry-run"], 1),
    ("delete", &["delete", "full", "--cascade", "--dry-run"], 0),
    ("prune", &["prune", "--keep-last", "1", "--dry-run"], 0),
    ("prune", &["prune", "--keep-daily", "1", "--keep-label", "host", "--group-by", "name", "--dry-run"], 0),
    ("prune", &["prune", "--keep-last", "1", "--store", "empty"], 4),
    ("prune", &["prune"], 2),
    ("delete", &["delete", "third", "--cascade"], 0),
    ("store check", &["store", "check"], 0),
    ("store check", &["store", "check", "--dry-run"], 0),
    ("store check", &["store", "check", "--dry-run", "--store", "missing"], 1),
    ("store check", &["store", "check", "--store", "missing"], 1),
    ("store options", &["store", "options"], 0),
    ("store options", &["store", "options", "ftp"], 2),
    ("config show", &["config", "show"], 0),
    ("config show", &["config", "show", "--config", "settings.toml"], 0),
    ("config show", &["config", "show", "--config", "missing.toml"], 2),
    ("config path", &["config", "path", "--config", "settings.toml"], 0),
    ("config path", &["config", "path"], 4),
    ("config check", &["config", "check", "--config", "settings.toml"], 0),
    ("config check", &["config", "check", "--config", "missing.toml"], 2),
    ("demo", &["demo"], 0),
    ("demo", &["demo", "other"], 2),
    ("schedule", &["schedule", "--once", "nightly", "--config", "jobs.toml"], 0),
    ("schedule", &["schedule", "--once-all", "--config", "wrong.toml"], 1),
    ("schedule", &["schedule", "--config", "settings.toml"], 2),
];

#[test]
fn the_documents_of_every_command_are_as_their_schemas_say() {
    let (schemas, sandbox) = (schemas(), prepared());
    let entries = (0..3).map(|number| entry(format!("id-{number}"), number, 8, 1));
    Published::of_entries(8, entries).write(&sandbox.path(""), "old");
    let mut found = Vec::new();
    let import: &[(&str, &[&str], i32)] =
        &[("import", &["import", "old.snapshot.gz", "--dry-run"], 0), ("import", &["import", "old.snapshot.gz"], 0)];
    for (command, arguments, exit_code) in CASES.iter().chain(import) {
        let result = sandbox.run(&[*arguments, &["--json"]].concat());
        found.extend(problems(&schemas[*command], command, *exit_code, result));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
    for command in schemas.keys() {
        let of = |is_failure: bool| {
            let cases = CASES.iter().chain(import).filter(|(other, ..)| other == command);
            cases.filter(|(_, _, exit_code)| (*exit_code != 0) == is_failure).count()
        };
        assert!(of(false) > 0 && of(true) > 0, "{command} has no case of a success, or none of a failure");
    }
}

/// Provokes a failure, and returns its kind and its exit code.
fn failed(sandbox: &Sandbox, arguments: &[&str]) -> (Value, i32) {
    let (exit_code, document) = sandbox.json(arguments);
    (document["error"]["kind"].clone(), exit_code)
}

#[test]
fn failures_have_kinds_of_their_own() {
    let sandbox = prepared();
    let id = sandbox.ids()[1].clone();
    sandbox.ok(&["pin", "inc"]);
    for (arguments, kind, exit_code) in [
        (&["delete", "inc"][..], "pinned", 1),
        (&["delete", "full"], "has_dependents", 1),
        (&["show", "2"], "ambiguous", 2),
        (&["show", "nope"], "not_found", 4),
        (&["create", "--db", "missing.db"], "not_found", 1),
        (&["restore", "inc", "--to", "a.db"], "already_exists", 1),
        (&["restore", "bad", "--store", "other", "--to", "b.db"], "corrupt", 3),
        (&["verify", "--all", "--store", "empty"], "nothing_there", 4),
        (&["create", "--db", "a.db", "--base", "inc", "--max-chain", "2"], "chain_too_long", 1),
        (&["create", "--db", "a.db", "--base", "full", "--embedding", "model=other"], "other_embedding", 1),
        (&["create", "--db", "other.db", "--base", &id], "other_source", 1),
        (&["show"], "usage", 2),
        (&["show", "full", "--unknown"], "usage", 2),
        (&["unknown"], "usage", 2),
        (&["prune", "--keep-last", "none"], "usage", 2),
        (&["list", "--store", "memory://"], "usage", 2),
    ] {
        fs::copy(sandbox.path("a.db"), sandbox.path("other.db")).unwrap();
        assert_eq!(failed(&sandbox, arguments), (json!(kind), exit_code), "{arguments:?}");
    }
    let (_, document) = sandbox.json(&["delete", "inc"]);
    assert_eq!((&document["error"]["id"], &document["command"]), (&json!(sandbox.ids()[0]), &json!("delete")));
    let (_, document) = sandbox.json(&["restore", "bad", "--store", "other", "--to", "b.db"]);
    assert!(document["error"]["key"].as_str().unwrap().ends_with("/vectors.bin.gz"), "{document}");
}

#[test]
fn a_usage_error_without_json_prints_no_document() {
    let sandbox = Sandbox::empty();
    let result = sandbox.run(&["show"]);
    assert_eq!((result.exit_code, &*result.stdout), (Some(2), ""));
    let (exit_code, document) = sandbox.json(&["show"]);
    assert_eq!((exit_code, &document["command"], &document["store"]), (2, &json!("show"), &Value::Null));
    assert!(document["error"]["message"].as_str().unwrap().contains("required"), "{document}");
}

#[test]
fn the_exit_codes_are_the_same_in_the_help_and_the_documentation() {
    let help = Sandbox::empty().ok(&["--help"]);
    let rows = help.split("Exit codes:\n").nth(1).unwrap().lines().take_while(|line| !line.trim().is_empty());
    let rows: Vec<_> = rows.map(|row| row.trim().split_once("  ").unwrap()).collect();
    let codes: Vec<_> = rows.iter().map(|(code, _)| *code).collect();
    assert_eq!(codes, ["0", "1", "2", "3", "4", "5", "129, 130, 143"]);
    for file in ["JSON.md", "OPERATIONS.md"] {
        let text = fs::read_to_string(docs().join(file)).unwrap();
        for (code, meaning) in &rows {
            assert!(text.contains(&format!("| {code} | {meaning} |")), "{code}: {meaning} is not in {file}");
        }
    }
}

#[test]
fn the_help_of_each_command_names_only_exit_codes_of_the_table() {
    let sandbox = Sandbox::empty();
    let mut without = Vec::new();
    for command in every_command(&sandbox) {
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        let help = sandbox.ok(&[&command[..], &["--help"]].concat());
        let Some((_, codes)) = help.split_once("Exit codes: ") else {
            without.push(command.join(" "));
            continue;
        };
        let words: Vec<&str> = codes.split("\n\n").next().unwrap().split_whitespace().collect();
        let mut numbers = words.iter().filter(|word| word.parse::<u32>().is_ok());
        let codes = words.join(" ");
        assert!(numbers.all(|code| ["0", "1", "2", "3", "4", "5"].contains(code)), "{command:?}: {codes}");
        assert!(codes.starts_with("0 "), "{command:?}: {codes}");
        let usage = help.lines().find(|line| line.starts_with("Usage: ")).unwrap();
        if usage.contains("<ID") {
            assert!(codes.contains("4 there is no such ") && codes.contains("; 5 "), "{command:?}: {codes}");
        }
    }
    // They end with 0, or as every command can.
    without.sort();
    assert_eq!(without, ["completions", "config", "store", "store options"]);
}

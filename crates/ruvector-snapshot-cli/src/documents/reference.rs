//! Makes the schemas in `docs/schema` and the reference `docs/JSON.md` from the types, and compares them with the files.
//! `UPDATE=1 cargo test -p ruvector-snapshot-cli reference` writes the files.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Command;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::envelope::{Document, WITHOUT_STORE};
use super::failure::{ErrorDocument, Failed, FailureDocument};
use super::shared::OutcomeDocument;
use super::{
    AnnotateDocument, CompactDocument, CompactPlanDocument, CompactedDocument, ConfigCheckDocument, ConfigPathDocument,
    ConfigShowDocument, CopyDocument, CopyPlanDocument, CreateDocument, CreatePlanDocument, DeleteDocument,
    DemoDocument, DrillDocument, DrillPlanDocument, ExportDocument, ExportPlanDocument, FindDocument, ImportDocument,
    ImportPlanDocument, MergeDocument, NoMembers, PinDocument, PlannedCompactionDocument, ProgressLine, PruneDocument,
    RestoreDocument, RestorePlanDocument, ScheduleCheckDocument, ScheduleLine, ScheduleNextDocument,
    ScheduleOnceDocument, SearchDocument, ShowDocument, ShownDocument, StaleLine, StatsDocument, StatusDocument,
    StoreCheckDocument, StoreCheckPlanDocument, StoreOptionsDocument, VerifyDocument, VerifyPlanDocument,
    VersionDocument, diff, dump, list,
};
use crate::args;
use crate::failure::EXIT_CODES;

type Make = fn(&mut SchemaGenerator) -> schemars::Schema;

/// Returns a reference to the schema of a document, which is described as its members are.
fn document<T: JsonSchema + 'static>(generator: &mut SchemaGenerator) -> schemars::Schema {
    let schema = generator.subschema_for::<Document<'static, T>>();
    let members = T::json_schema(generator).to_value();
    if let (Some(name), Some(description)) = (named(schema.as_value()), members.get("description")) {
        let definition = generator.definitions_mut().get_mut(name).and_then(Value::as_object_mut).unwrap();
        definition.insert("description".to_owned(), description.clone());
    }
    schema
}

/// The documents of each command, apart from that of a failure.
fn documents() -> BTreeMap<&'static str, Vec<Make>> {
    BTreeMap::from([
        (
            "compact",
            vec![
                document::<CompactDocument<Vec<OutcomeDocument<CompactedDocument<'static>>>>> as Make,
                document::<CompactPlanDocument<Vec<OutcomeDocument<PlannedCompactionDocument<'static>>>>>,
            ],
        ),
        ("annotate", vec![document::<AnnotateDocument<'static>> as Make]),
        ("config check", vec![document::<ConfigCheckDocument>]),
        ("config path", vec![document::<ConfigPathDocument>]),
        ("config show", vec![document::<ConfigShowDocument<'static>>]),
        ("copy", vec![document::<CopyDocument<'static>>, document::<CopyPlanDocument<'static>>]),
        ("create", vec![document::<CreateDocument<'static>>, document::<CreatePlanDocument<'static>>]),
        ("delete", vec![document::<DeleteDocument<'static>>]),
        ("demo", vec![document::<DemoDocument<'static>>]),
        (
            "diff",
            vec![
                document::<diff::DiffCounts<'static>>,
                document::<diff::DiffDocument<'static>>,
                document::<Failed<'static, diff::DiffFailed<'static>>>,
            ],
        ),
        ("drill", vec![document::<DrillDocument<'static>>, document::<DrillPlanDocument<'static>>]),
        ("dump", vec![document::<dump::DumpDocument>, document::<Failed<'static, dump::DumpDocument>>]),
        ("export", vec![document::<ExportDocument<'static>>, document::<ExportPlanDocument<'static>>]),
        ("find", vec![document::<FindDocument<'static>>]),
        ("import", vec![document::<ImportDocument<'static>>, document::<ImportPlanDocument<'static>>]),
        ("list", vec![document::<list::ListDocument<'static>>, document::<Failed<'static, list::ListFailed<'static>>>]),
        ("pin", vec![document::<PinDocument<'static>>]),
        ("prune", vec![document::<PruneDocument<'static>>]),
        (
            "restore",
            vec![
                document::<RestoreDocument<'static>>,
                document::<MergeDocument<'static>>,
                document::<RestorePlanDocument<'static>>,
            ],
        ),
        (
            "schedule",
            vec![
                document::<ScheduleCheckDocument<'static>>,
                document::<ScheduleNextDocument<'static>>,
                document::<ScheduleOnceDocument<'static>>,
                schedule_line,
                stale_line,
            ],
        ),
        ("search", vec![document::<SearchDocument<'static>>]),
        ("show", vec![document::<ShowDocument<Vec<OutcomeDocument<ShownDocument<'static>>>>>]),
        ("stats", vec![document::<StatsDocument>]),
        ("status", vec![document::<StatusDocument<'static>>]),
        ("store check", vec![document::<StoreCheckDocument<'static>>, document::<StoreCheckPlanDocument<'static>>]),
        ("store options", vec![document::<StoreOptionsDocument>]),
        ("unpin", vec![document::<PinDocument<'static>>]),
        ("version", vec![document::<VersionDocument>]),
        ("verify", vec![document::<VerifyDocument<'static>>, document::<VerifyPlanDocument<'static>>]),
    ])
}

/// Commands that print no document.
const WITHOUT_DOCUMENT: [&str; 3] = ["completions", "help", "man"];

#[test]
fn every_command_has_a_schema() {
    let mut commands = BTreeSet::new();
    leaves(&args::program(), "", &mut commands);
    let known: BTreeSet<String> = documents().keys().map(|command| (*command).to_owned()).collect();
    let commands = &commands - &WITHOUT_DOCUMENT.map(str::to_owned).into();
    assert_eq!(commands, known);
    let without_store = WITHOUT_STORE.map(str::to_owned).into();
    assert_eq!(&(&known | &WITHOUT_DOCUMENT.map(str::to_owned).into()) & &without_store, without_store);
}

fn leaves(command: &Command, path: &str, found: &mut BTreeSet<String>) {
    for inner in command.get_subcommands() {
        let path = format!("{path} {}", inner.get_name()).trim().to_owned();
        match inner.has_subcommands() {
            true => leaves(inner, &path, found),
            false => drop(found.insert(path)),
        }
    }
}

#[test]
fn the_schemas_are_those_of_the_types() {
    let mut differing = Vec::new();
    let failure: Make = document::<FailureDocument<'static>>;
    let of_commands = documents().into_iter().map(|(command, makes)| {
        (command.replace(' ', "-"), schema(&format!("{command} --json"), makes.iter().chain([&failure])))
    });
    let progress = ("progress".to_owned(), schema("--progress json", [&(progress as Make)]));
    for (name, schema) in of_commands.chain([progress]) {
        let mut schema = serde_json::to_string_pretty(&schema).unwrap();
        schema.push('\n');
        compare(&format!("schema/{name}.json"), &schema, &mut differing);
    }
    compare("JSON.md", &reference(), &mut differing);
    assert!(differing.is_empty(), "not as the types say: {differing:?}; UPDATE=1 writes them");
}

fn compare(path: &str, expected: &str, differing: &mut Vec<String>) {
    let file = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs")).join(path);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, expected).unwrap();
    }
    if std::fs::read_to_string(&file).unwrap_or_default() != expected {
        differing.push(path.to_owned());
    }
}

fn generator() -> SchemaGenerator {
    SchemaSettings::draft2020_12().for_serialize().into_generator()
}

/// A line of progress, which every command with progress prints.
fn progress(generator: &mut SchemaGenerator) -> schemars::Schema {
    generator.subschema_for::<ProgressLine<'static>>()
}

/// A line of `schedule` for each run.
fn schedule_line(generator: &mut SchemaGenerator) -> schemars::Schema {
    generator.subschema_for::<ScheduleLine<'static>>()
}

fn stale_line(generator: &mut SchemaGenerator) -> schemars::Schema {
    generator.subschema_for::<StaleLine<'static>>()
}

fn schema<'a>(arguments: &str, makes: impl IntoIterator<Item = &'a Make>) -> Value {
    let mut generator = generator();
    let forms: Vec<Value> = makes.into_iter().map(|make| make(&mut generator).to_value()).collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": format!("ruvector-snapshot {arguments}"),
        "anyOf": forms,
        "$defs": generator.take_definitions(true),
    })
}

const INTRODUCTION: &str = "\
# JSON documents

With `--json`, a command prints one JSON document to standard output, and nothing else. It is a contract: this file and the schemas in
[schema](schema) (JSON Schema, draft 2020-12) are made from the types of the program, and a test validates the output of every command, of successes
and of failures.

- Members can be added without notice: ignore those that you do not know. If a member gets another name or another meaning, or is no longer there,
  `schema_version` changes.
- A time is text as in RFC 3339, in UTC. A size is a number of bytes. A chain is an array of ids, from the full snapshot on, and it ends with the
  snapshot that it is of.
- A failure is a document too, with the member `error`, also if the arguments are wrong. A command that prints a long array, such as `dump`, may fail
  in the middle of it: its document then has what was printed, and `error`.
- The exit code says more than that there is a document: see [Exit codes](#exit-codes). If all is done and there are `warnings`, it is 5, and with
  `--strict` 1. The document is the same then, without `error`.
- `dump` and `diff --jsonl` print a line of JSON for each record or change, without `--json`: a [Record](#record) or a [Change](#change).
- `schedule --json`, which runs until it is stopped, prints a document on a line of its own for each run.
- Standard error has lines of [progress](#lines-of-progress), and messages for people.
";

const PROGRESS: &str = "
With `--json`, and with `--progress json`, `create`, `compact`, `copy`, `diff`, `drill`, `export`, `import`, `restore`, `search` and `verify` print their
progress to standard error: a document on a line of its own, as [schema/progress.json](schema/progress.json) says. Of each phase they print the first
update, further ones at least a second apart, and the last. If a phase starts again within a second, as for the next one of several snapshots, its last
update and the first of the next can be missing. A line that cannot be written at once is lost, for example if the pipe is not read. `--quiet` without
`--progress`, and `--progress none`, print none.

Other lines can be between these. A line that does not begin with `{` is a message for a person, for example `warning: ...`. With
`-v --log-format json` the events of the log are JSON too: they have the members `timestamp`, `level` and `target`, and never `progress`. `--log-file`
keeps them out of standard error. How the run ended is in its document and its exit code, not in the progress.

";

fn reference() -> String {
    let mut text = INTRODUCTION.to_owned();
    let mut generator = generator();
    let common = document::<NoMembers>(&mut generator).to_value();
    let common = resolved(&common, &generator).as_object().unwrap().clone();
    text.push_str("\n## Every document\n\n");
    text.push_str(&table(&common, &BTreeSet::new()));
    let common: BTreeSet<String> = members(&common).keys().cloned().collect();
    let mut used = Vec::new();
    text.push_str("\n## A failure\n\n");
    let failure = document::<FailureDocument<'static>>(&mut generator).to_value();
    text.push_str(&table(resolved(&failure, &generator).as_object().unwrap(), &common));
    used.push(failure);
    let line = progress(&mut generator).to_value();
    write!(text, "\n## Lines of progress\n{PROGRESS}").unwrap();
    text.push_str(&table(resolved(&line, &generator).as_object().unwrap(), &BTreeSet::new()));
    used.push(line);
    for (command, makes) in documents() {
        write!(text, "\n## {command}\n").unwrap();
        for make in makes {
            let made = make(&mut generator).to_value();
            let schema = resolved(&made, &generator).as_object().unwrap().clone();
            if !members(&schema).contains_key("error") {
                write!(text, "\n{}\n\n{}", described(&schema), table(&schema, &common)).unwrap();
            }
            used.push(made);
        }
    }
    generator.subschema_for::<ErrorDocument>();
    let used: BTreeSet<String> = used.iter().filter_map(|made| Some(named(made)?.to_owned())).collect();
    text.push_str("\n## Objects and values\n");
    for (name, schema) in generator.definitions() {
        if !used.contains(name) && name != "NoMembers" {
            write!(text, "\n### {name}\n\n{}", definition(schema.as_object().unwrap())).unwrap();
        }
    }
    text.push_str("\n## Exit codes\n\n| code | meaning |\n|---|---|\n");
    EXIT_CODES.iter().for_each(|(code, meaning)| writeln!(text, "| {code} | {meaning} |").unwrap());
    text
}

fn definition(schema: &Map<String, Value>) -> String {
    let intro = format!("{}\n\n", described(schema));
    if let Some(values) = schema.get("oneOf").and_then(Value::as_array) {
        let mut text = format!("{intro}| value | meaning |\n|---|---|\n");
        for value in values {
            let name = value["const"].as_str().unwrap();
            writeln!(text, "| `{name}` | {} |", described(value.as_object().unwrap())).unwrap();
        }
        return text;
    }
    if let Some(forms) = schema.get("anyOf").and_then(Value::as_array) {
        let mut text = intro;
        for form in forms {
            match named(form) {
                Some(_) => writeln!(text, "Either a {}, or:\n", type_of(form)).unwrap(),
                None => text.push_str(&table(form.as_object().unwrap(), &BTreeSet::new())),
            }
        }
        return text;
    }
    format!("{intro}{}", table(schema, &BTreeSet::new()))
}

fn members(schema: &Map<String, Value>) -> Map<String, Value> {
    schema.get("properties").and_then(Value::as_object).cloned().unwrap_or_default()
}

/// A table of members, without those that every document has.
fn table(schema: &Map<String, Value>, without: &BTreeSet<String>) -> String {
    let required: BTreeSet<&str> =
        schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    let mut text = "| member | type | meaning |\n|---|---|---|\n".to_owned();
    for (name, member) in members(schema) {
        if without.contains(&name) {
            continue;
        }
        let missing = if required.contains(name.as_str()) { "" } else { ", can be missing" };
        let meaning = member.as_object().map(described).unwrap_or_default();
        writeln!(text, "| `{name}` | {}{missing} | {meaning} |", type_of(&member)).unwrap();
    }
    text
}

fn described(schema: &Map<String, Value>) -> String {
    let text = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

fn named(schema: &Value) -> Option<&str> {
    schema.get("$ref")?.as_str()?.rsplit('/').next()
}

fn resolved<'a>(schema: &'a Value, generator: &'a SchemaGenerator) -> &'a Value {
    named(schema).and_then(|name| generator.definitions().get(name)).unwrap_or(schema)
}

fn type_of(schema: &Value) -> String {
    if let Some(name) = named(schema) {
        return format!("[{name}](#{})", name.to_lowercase());
    }
    if let Some(forms) = schema.get("anyOf").and_then(Value::as_array) {
        return forms.iter().map(type_of).collect::<Vec<_>>().join(" or ");
    }
    let one = |name: &str| match name {
        "array" => format!("array of {}", type_of(&schema["items"])),
        "object" => format!("object of {} by name", type_of(&schema["additionalProperties"])),
        "string" if schema["format"] == "date-time" => "time".to_owned(),
        name => name.to_owned(),
    };
    match schema.get("type") {
        Some(Value::String(name)) => one(name),
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).map(one).collect::<Vec<_>>().join(" or "),
        _ => "any JSON".to_owned(),
    }
}

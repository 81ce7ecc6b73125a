//! The keys of the file, and what their values may be.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ruvector_snapshot::store::{KnownOption, Location, known_options};
use ruvector_snapshot::{LabelPattern, check_label, check_name, check_source_name, closest};

use super::document::{Problem, Reader, Section, scalar};
use super::jobs::jobs;
use super::references::{Names, location, path};
use super::{At, ConfigFile, Database, OptionValue, Retention, StoreProfile, StoreRef};
use crate::values::{connections, count, listen_address, rate, shown_rate};

/// Reads a document, and returns what is right in it, and everything that is wrong. Paths in it are relative to `directory`.
pub(super) fn read(text: &str, directory: &Path) -> (ConfigFile, Vec<Problem>) {
    let mut reader = Reader::new(text);
    let mut file = ConfigFile::default();
    if let Some(table) = reader.parse() {
        let mut root = Section::new("", 0, &table);
        let names = Names::of(&table, directory);
        file.store = store(&mut reader, &mut root, &names);
        for (name, section) in root.named_tables(&mut reader, "stores") {
            file.stores.insert(name.to_owned(), store_profile(&mut reader, section, directory));
        }
        for (name, section) in root.named_tables(&mut reader, "databases") {
            file.databases.insert(name.to_owned(), database(&mut reader, section, directory));
        }
        for (name, section) in root.named_tables(&mut reader, "retention") {
            file.retention.insert(name.to_owned(), retention(&mut reader, section));
        }
        file.jobs = jobs(&mut reader, &mut root, &names, &file);
        if let Some(mut section) = root.table(&mut reader, "schedule") {
            file.listen = section.parsed(&mut reader, "listen", listen_address);
            section.finish(&mut reader);
        }
        root.finish(&mut reader);
    }
    let Reader { mut problems, mut shown, .. } = reader;
    problems.sort();
    shown.sort_by_key(|value| value.line);
    (ConfigFile { shown, ..file }, problems)
}

/// Returns what `store` says, and where.
fn store(reader: &mut Reader<'_>, root: &mut Section<'_, '_>, names: &Names<'_>) -> Option<At<StoreRef>> {
    let (at, text) = root.text(reader, "store")?;
    let store = names.store(reader, "store", at, text)?;
    reader.show("store", store.to_string(), at);
    Some(At { value: store, line: reader.line(at) })
}

fn store_profile(reader: &mut Reader<'_>, mut section: Section<'_, '_>, directory: &Path) -> StoreProfile {
    let problems = reader.problems.len();
    if !section.has("location") {
        let advice = Some("for example location = \"s3://bucket/prefix\"".to_owned());
        reader.problem(section.at, format!("{} is missing", section.key("location")), advice);
    }
    let found = section.text(reader, "location");
    let location = found.and_then(|(at, text)| match location(text, directory) {
        Ok(location) => {
            reader.show(&section.key("location"), location.to_string(), at);
            Some(At { value: location, line: reader.line(at) })
        }
        Err(problem) => {
            reader.problem(at, format!("{}: {problem}", section.key("location")), None);
            None
        }
    });
    let options = options(reader, &mut section, location.as_ref().map(|location| &location.value), directory);
    let mut profile = StoreProfile {
        location: location.unwrap_or(At { value: Location::Memory, line: 0 }),
        options,
        connections: section.parsed(reader, "connections", connections),
        limit_upload: section.parsed_and_shown(reader, "limit_upload", rate_and_text),
        limit_download: section.parsed_and_shown(reader, "limit_download", rate_and_text),
        has_mistakes: false,
    };
    section.finish(reader);
    profile.has_mistakes = reader.problems.len() > problems;
    profile
}

/// Parses a rate, and returns it with its text in the form in which all rates are shown.
fn rate_and_text(text: &str) -> Result<(u64, String), String> {
    rate(text).map(|rate| (rate, shown_rate(rate)))
}

/// Reads the options of a store. Those of a store whose location is not known are not checked.
fn options(
    reader: &mut Reader<'_>,
    section: &mut Section<'_, '_>,
    location: Option<&Location>,
    directory: &Path,
) -> BTreeMap<&'static str, At<OptionValue>> {
    let mut options = BTreeMap::new();
    let (Some(table), Some(location)) = (section.table(reader, "options"), location) else { return options };
    let Location::Bucket { provider, .. } = location else {
        if table.entries().next().is_some() {
            let message = format!("{location} takes no options; options are for buckets, such as s3://bucket");
            reader.problem(table.at, message, None);
        }
        return options;
    };
    let known = known_options(provider.scheme());
    for (name, at, value) in table.entries() {
        let Some(option) = known.iter().find(|option| option.is_called(name)) else {
            let advice = match closest(name, known.iter().map(|option| option.name)) {
                Some(known) => format!("did you mean {known}?"),
                None => format!("`store options {}` lists all", provider.scheme()),
            };
            reader.problem(at, format!("unknown option {name:?} of {}://", provider.scheme()), Some(advice));
            continue;
        };
        let key = table.key(name);
        let Some(text) = scalar(value.get_ref()) else {
            reader.problem(value.span().start, format!("{key} must be a single value"), None);
            continue;
        };
        match option_value(option, &text, directory) {
            Ok(given) => {
                reader.show(&table.key(option.name), given.to_string(), at);
                let line = reader.line(at);
                if options.insert(option.name, At { value: given, line }).is_some() {
                    reader.problem(at, format!("{key} is the option {} once more", option.name), None);
                }
            }
            Err(problem) => reader.problem(value.span().start, format!("{key} {problem}"), None),
        }
    }
    options
}

/// Parses the value of an option. A secret is only named.
fn option_value(option: &KnownOption, text: &str, directory: &Path) -> Result<OptionValue, String> {
    let value =
        OptionValue::parse(text, |text| path(text, directory)).map_err(|problem| format!("is wrong: {problem}"))?;
    let OptionValue::Text(text) = &value else { return Ok(value) };
    // Only a proxy with a password is a secret.
    let is_open = option.name == "proxy_url" && !text.contains('@');
    if option.is_secret && !is_open {
        return Err(
            "is a secret, which is not written into this file: write env:NAME for an environment variable, or \
                    file:PATH for a file that only its owner can read"
                .to_owned(),
        );
    }
    let text = match option.is_path() {
        true => path(text, directory)?.display().to_string(),
        false => text.clone(),
    };
    option.problem(&text).map_or(Ok(OptionValue::Text(text)), Err)
}

fn database(reader: &mut Reader<'_>, mut section: Section<'_, '_>, directory: &Path) -> Database {
    let nowhere = At { value: PathBuf::new(), line: reader.line(section.at) };
    if !section.has("path") {
        let advice = Some("for example path = \"/srv/vectors.db\"".to_owned());
        reader.problem(section.at, format!("{} is missing", section.key("path")), advice);
    }
    let to_path = |text: &str| path(text, directory);
    let named = |text: &str| check_name(text).map(|()| text.to_owned());
    let sourced = |text: &str| check_source_name(text).map(|()| text.to_owned());
    let database = section.path(reader, "path", to_path);
    let name = section.parsed(reader, "name", named);
    let source = section.parsed(reader, "source", sourced);
    let labels = section.texts(reader, "labels", |key, value| match key.is_empty() || key.contains('=') {
        true => Some("a key of a label is not empty, and has no =".to_owned()),
        false => check_label(key, value).err().map(|error| error.message().to_owned()),
    });
    let embedding = section.texts(reader, "embedding", |_, _| None);
    let scratch_dir = section.path(reader, "scratch_dir", to_path);
    section.finish(reader);
    Database { path: database.unwrap_or(nowhere), name, source, labels, embedding, scratch_dir }
}

fn retention(reader: &mut Reader<'_>, mut section: Section<'_, '_>) -> Retention {
    let problems = reader.problems.len();
    let mut counted = |reader: &mut Reader<'_>, key| section.parsed(reader, key, count).map(|count| count.value);
    let rules = Retention {
        keep_last: counted(reader, "keep_last"),
        keep_hourly: counted(reader, "keep_hourly"),
        keep_daily: counted(reader, "keep_daily"),
        keep_weekly: counted(reader, "keep_weekly"),
        keep_monthly: counted(reader, "keep_monthly"),
        keep_quarterly: counted(reader, "keep_quarterly"),
        keep_yearly: counted(reader, "keep_yearly"),
        keep_within: section.parsed(reader, "keep_within", str::parse).map(|span| span.value),
        keep_labels: keep_labels(reader, &mut section),
        group_by: section.parsed(reader, "group_by", str::parse).map(|group_by| group_by.value),
        time_zone: section.parsed(reader, "time_zone", str::parse).map(|time_zone| time_zone.value),
    };
    if !rules.has_rule() && reader.problems.len() == problems && section.entries().next().is_none() {
        let message = format!("{} has no rule, so a prune would delete everything", section.name());
        reader.problem(section.at, message, Some("for example keep_last = 7".to_owned()));
    }
    if let Err(problem) = rules.policy().check()
        && reader.problems.len() == problems
    {
        reader.problem(section.at, format!("{}: {}", section.name(), problem.message()), None);
    }
    section.finish(reader);
    rules
}

/// Reads one label or several.
fn keep_labels(reader: &mut Reader<'_>, section: &mut Section<'_, '_>) -> Vec<LabelPattern> {
    let key = section.key("keep_label");
    let Some((at, value)) = section.take("keep_label") else { return Vec::new() };
    let texts: Option<Vec<String>> = match value.get_ref().as_array() {
        Some(array) => array.iter().map(|one| scalar(one.get_ref())).collect(),
        None => scalar(value.get_ref()).map(|text| vec![text]),
    };
    let parsed = texts.map(|texts| {
        let patterns: Result<Vec<LabelPattern>, _> = texts.iter().map(|text| text.parse()).collect();
        patterns
            .map(|patterns| (patterns, texts.join(", ")))
            .map_err(|error: ruvector_snapshot::SnapshotError| error.to_string())
    });
    match parsed.unwrap_or_else(|| Err("it is KEY or KEY=VALUE, or a list of them".to_owned())) {
        Ok((patterns, shown)) => {
            reader.show(&key, shown, at);
            patterns
        }
        Err(problem) => {
            reader.problem(value.span().start, format!("{key}: {problem}"), None);
            Vec::new()
        }
    }
}

//! `[[jobs]]`: what is to be done to which databases, and when. Reads the keys and checks what they refer to in the file; does
//! nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Utc};
use ruvector_snapshot::schedule::{FullRule, Missed, Retry, Schedule, When};
use ruvector_snapshot::store::Location;
use ruvector_snapshot::{Span, VerifyDepth, closest};
use toml::de::DeTable;

use super::document::{Reader, Section, scalar};
use super::hooks::{JobHooks, hooks};
use super::references::Names;
use super::{At, ConfigFile, DatabaseRef, StoreRef};
use crate::values::{duration, max_chain, some_duration};

/// How a job is written, for errors.
const FORM: &str = "[[jobs]], and name = \"NAME\" below it";
/// How the copies of a job are written, for errors.
const COPIES_FORM: &str = "copies = [{ to = \"@NAME\" }]";
/// What is said of `missed`.
const MISSED: [(&str, Missed); 2] = [("run-once", Missed::RunOnce), ("skip", Missed::Skip)];
/// Due times that the default of `max_age` is derived from: those of two weeks, if there is one in each hour of work.
const DUE_TIMES_COMPARED: usize = 100;

/// `[[jobs]]`: databases of which snapshots are taken at due times.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) name: At<String>,
    /// Not empty, and all different.
    pub(crate) databases: Vec<At<DatabaseRef>>,
    /// Where the snapshots go: its own store, or that of the file.
    pub(crate) store: At<StoreRef>,
    /// Whether the store is its own.
    has_store: bool,
    pub(crate) when: At<When>,
    pub(crate) jitter: Duration,
    pub(crate) missed: Missed,
    pub(crate) retry: Retry,
    pub(crate) full: FullRule,
    /// A policy of the file. `None`: nothing is deleted.
    pub(crate) retention: Option<String>,
    /// Each day, one of so many parts of every snapshot is verified. `None`: none is.
    pub(crate) verify_parts: Option<u16>,
    /// When the newest snapshot is restored as a drill. `None`: never.
    pub(crate) drill: Option<When>,
    /// See [`max_age`](Self::max_age).
    max_age: Option<Span>,
    /// Whether a store without snapshots is a failure, and not a new one.
    pub(crate) requires_store: bool,
    pub(crate) copies: Vec<JobCopy>,
    pub(crate) hooks: JobHooks,
}

/// `copies` of a job: another store that the snapshots are copied to.
#[derive(Debug, Clone)]
pub(crate) struct JobCopy {
    pub(crate) to: At<StoreRef>,
    /// A policy of the file, for the copies. `None`: nothing is deleted there.
    pub(crate) retention: Option<String>,
}

impl Job {
    /// Returns the schedule. The jitter of a job differs from host to host: many hosts can have one file.
    pub(crate) fn schedule(&self, host: Option<&str>) -> Schedule {
        let seed = format!("{}/{}", host.unwrap_or_default(), self.name.value);
        Schedule::new(self.when.value.clone())
            .jitter(self.jitter, seed)
            .missed(self.missed)
            .retry(self.retry.first_wait, self.retry.longest_wait)
    }

    /// Returns how old the newest snapshot of its databases may be: what the file says, or twice the longest distance of the due
    /// times that follow. `None` if there is only one.
    pub(crate) fn max_age(&self, now: DateTime<Utc>) -> Option<Span> {
        self.max_age.or_else(|| {
            let longest = self.when.value.longest_distance(now, DUE_TIMES_COMPARED)?;
            let minutes = longest.to_std().ok()?.checked_mul(2)?.as_secs().div_ceil(60);
            let minutes = u32::try_from(minutes).ok()?;
            Some(Span { hours: minutes / 60, minutes: minutes % 60, ..Span::default() })
        })
    }

    /// Returns the stores of the job, each with its policy.
    fn policies(&self) -> impl Iterator<Item = (&StoreRef, Option<&String>)> {
        let own = (&self.store.value, self.retention.as_ref());
        std::iter::once(own).chain(self.copies.iter().map(|copy| (&copy.to.value, copy.retention.as_ref())))
    }

    /// Returns the stores that the job itself names.
    pub(super) fn own_stores(&self) -> impl Iterator<Item = &At<StoreRef>> {
        self.has_store.then_some(&self.store).into_iter().chain(self.copies.iter().map(|copy| &copy.to))
    }
}

/// Reads the jobs. One of which something is missing is left out, and a problem names what.
pub(super) fn jobs(
    reader: &mut Reader<'_>,
    root: &mut Section<'_, '_>,
    names: &Names<'_>,
    file: &ConfigFile,
) -> Vec<Job> {
    let mut jobs: Vec<Job> = Vec::new();
    for (at, table) in root.tables(reader, "jobs", FORM) {
        let mut section = Section::new(path(table), at, table);
        let job = job(reader, &mut section, names, file);
        section.finish(reader);
        let Some(job) = job else { continue };
        if let Some(other) = jobs.iter().find(|other| other.name.value == job.name.value) {
            let message =
                format!("two jobs have the name {:?}; the other is in line {}", job.name.value, other.name.line);
            reader.problem(at, message, Some("give each a name of its own".to_owned()));
        }
        check_other_jobs(reader, at, file, &jobs, &job);
        jobs.push(job);
    }
    jobs
}

/// Returns the path of a job in messages and in `config show`: names are unique.
fn path(table: &DeTable<'_>) -> String {
    let name = table.iter().find(|(key, _)| key.get_ref() == "name").and_then(|(_, name)| scalar(name.get_ref()));
    name.filter(|name| is_name(name)).map_or_else(|| "jobs".to_owned(), |name| format!("jobs.{name}"))
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || "-_".contains(c))
}

fn job(reader: &mut Reader<'_>, section: &mut Section<'_, '_>, names: &Names<'_>, file: &ConfigFile) -> Option<Job> {
    for (key, example) in [
        ("name", "name = \"nightly\""),
        ("databases", "databases = [\"@NAME\"] or databases = [\"/srv/vectors.db\"]"),
        ("when", "when = \"30 2 * * * Europe/Berlin\" or when = \"every 6h\""),
    ] {
        if !section.has(key) {
            reader.problem(
                section.at,
                format!("{} is missing", section.key(key)),
                Some(format!("for example {example}")),
            );
        }
    }
    let name = section.parsed(reader, "name", |text| match is_name(text) {
        true => Ok(text.to_owned()),
        false => Err("a name of a job has letters, digits, - and _"),
    });
    let databases = databases(reader, section, names, file);
    let has_store = section.has("store");
    if !has_store && !names.has_store {
        let advice = Some("write store = \"@NAME\" here, or above all tables for all jobs".to_owned());
        reader.problem(section.at, format!("{} is missing, and the file has none", section.key("store")), advice);
    }
    let own_store = store(reader, section, names, "store");
    let store = if has_store { own_store } else { file.store.clone() };
    let when = section.parsed(reader, "when", str::parse::<When>);
    let jitter = section.parsed(reader, "jitter", duration).map_or(Duration::ZERO, |jitter| jitter.value);
    let missed = section.parsed(reader, "missed", missed).map(|missed| missed.value).unwrap_or_default();
    let retry = retry(reader, section);
    let full = full(reader, section);
    let retention = policy(reader, section, names);
    let verify_parts = section.parsed(reader, "verify_parts", parts).map(|parts| parts.value);
    let drill = section.parsed(reader, "drill", str::parse::<When>).map(|drill| drill.value);
    let max_age = section.parsed(reader, "max_age", str::parse::<Span>).map(|max_age| max_age.value);
    let requires_store = section.parsed(reader, "require_store", str::parse::<bool>).is_some_and(|key| key.value);
    let copies = copies(reader, section, names, file, store.as_ref());
    let hooks = hooks(reader, section, names);
    Some(Job {
        name: name?,
        databases: Some(databases).filter(|databases| !databases.is_empty())?,
        store: store?,
        has_store,
        when: when?,
        jitter,
        missed,
        retry,
        full,
        retention,
        verify_parts,
        drill,
        max_age,
        requires_store,
        copies,
        hooks,
    })
}

fn databases(
    reader: &mut Reader<'_>,
    section: &mut Section<'_, '_>,
    names: &Names<'_>,
    file: &ConfigFile,
) -> Vec<At<DatabaseRef>> {
    let (key, at) = (section.key("databases"), section.position("databases"));
    let (Some(texts), Some(at)) = (section.list(reader, "databases"), at) else { return Vec::new() };
    if texts.is_empty() {
        reader.problem(at, format!("{key} is empty"), Some("a job has at least one database".to_owned()));
    }
    let mut databases: Vec<At<DatabaseRef>> = Vec::new();
    for (at, text) in texts {
        let Some(database) = names.database(reader, &key, at, text) else { continue };
        let path = |database: &DatabaseRef| match database {
            DatabaseRef::Named(name) => file.databases.get(name).map(|database| database.path.value.clone()),
            DatabaseRef::Path(path) => Some(path.clone()),
        };
        let own = path(&database).filter(|path| !path.as_os_str().is_empty());
        match databases.iter().map(|other| &other.value).find(|other| own.is_some() && path(other) == own) {
            Some(other) if *other == database => reader.problem(at, format!("{key} has {database} twice"), None),
            Some(other) => reader.problem(at, format!("{key}: {database} is the same file as {other}"), None),
            None => {}
        }
        databases.push(At { value: database, line: reader.line(at) });
    }
    let scratch_dir = |database: &At<DatabaseRef>| match &database.value {
        DatabaseRef::Named(name) => file.databases.get(name)?.scratch_dir.as_ref().map(|path| path.value.clone()),
        DatabaseRef::Path(_) => None,
    };
    let scratch_dirs: BTreeSet<_> = databases.iter().filter_map(scratch_dir).collect();
    if scratch_dirs.len() > 1 {
        let advice = Some("a job has one; put them into a job each".to_owned());
        reader.problem(at, format!("{key}: these databases do not have the same scratch_dir"), advice);
    }
    check_sources(reader, &key, at, file, &databases);
    let shown: Vec<String> = databases.iter().map(|database| database.value.to_string()).collect();
    reader.show(&key, shown.join(", "), at);
    databases
}

/// Two databases with one source would be taken for one, and only one of them backed up.
fn check_sources(reader: &mut Reader<'_>, key: &str, at: usize, file: &ConfigFile, databases: &[At<DatabaseRef>]) {
    let mut known: BTreeMap<&str, &DatabaseRef> = BTreeMap::new();
    for At { value: database, .. } in databases {
        let DatabaseRef::Named(name) = database else { continue };
        let Some(source) = file.databases.get(name).and_then(|known| known.source.as_ref()) else { continue };
        if let Some(other) = known.insert(&source.value, database) {
            let advice = Some("give each a source of its own".to_owned());
            reader.problem(at, format!("{key}: {other} and {database} have the source {:?}", source.value), advice);
        }
    }
}

/// Reports the databases that a job has in a store of another job, and which one of the two would delete.
fn check_other_jobs(reader: &mut Reader<'_>, at: usize, file: &ConfigFile, jobs: &[Job], job: &Job) {
    for other in jobs {
        let stores = job.policies().flat_map(|own| other.policies().map(move |other| (own, other)));
        for (own_place, other_place) in stores.filter(|((own, _), (other, _))| file.is_same_store(own, other)) {
            let pairs = databases_of(job).flat_map(|own| databases_of(other).map(move |other| (own, other)));
            let conflict = pairs.filter(|(own, other)| file.is_one_source(own, other)).find_map(|(own, of_other)| {
                conflict(file, &other.name.value, (own, own_place), (of_other, other_place.1))
            });
            if let Some((problem, advice)) = conflict {
                reader.problem(at, format!("jobs.{}: {problem}", job.name.value), Some(advice.to_owned()));
            }
        }
    }
}

/// Returns what is wrong with two databases of one source in one store, and what to do. A policy decides about all snapshots of a source:
/// of two policies, one would delete what the other keeps, and of two databases, the snapshots of one would be deleted for those of the
/// other.
fn conflict(
    file: &ConfigFile,
    other: &str,
    (database, (store, policy)): (&DatabaseRef, (&StoreRef, Option<&String>)),
    (of_other, other_policy): (&DatabaseRef, Option<&String>),
) -> Option<(String, &'static str)> {
    if file.path_of(database) != file.path_of(of_other) {
        let problem =
            format!("its database {database} has the source of {of_other} of the job {other}, in the store {store}");
        return Some((problem, "give each database a source of its own"));
    }
    let words =
        |policy: Option<&String>| policy.map_or("no policy".to_owned(), |policy| format!("the policy {policy}"));
    (policy != other_policy).then(|| {
        let problem = format!(
            "it has {} and the job {other} has {} for the same database in the store {store}, so one deletes what the other keeps",
            words(policy),
            words(other_policy)
        );
        (problem, "use one policy with the rules of both, or a store for each")
    })
}

fn databases_of(job: &Job) -> impl Iterator<Item = &DatabaseRef> {
    job.databases.iter().map(|database| &database.value)
}

/// Reads the store that a key names.
fn store(
    reader: &mut Reader<'_>,
    section: &mut Section<'_, '_>,
    names: &Names<'_>,
    key: &'static str,
) -> Option<At<StoreRef>> {
    let (at, text) = section.text(reader, key)?;
    let path = section.key(key);
    let store = names.store(reader, &path, at, text)?;
    reader.show(&path, store.to_string(), at);
    Some(At { value: store, line: reader.line(at) })
}

fn policy(reader: &mut Reader<'_>, section: &mut Section<'_, '_>, names: &Names<'_>) -> Option<String> {
    let (at, text) = section.text(reader, "retention")?;
    let path = section.key("retention");
    let policy = names.policy(reader, &path, at, text)?;
    reader.show(&path, policy.as_str(), at);
    Some(policy)
}

fn missed(text: &str) -> Result<Missed, String> {
    let known = MISSED.iter().find(|(name, _)| *name == text).map(|(_, missed)| *missed);
    known.ok_or_else(|| {
        let forms = "it is \"run-once\" or \"skip\"";
        match closest(text, MISSED.iter().map(|(name, _)| *name)) {
            Some(meant) => format!("{forms}; did you mean {meant}?"),
            None => forms.to_owned(),
        }
    })
}

fn retry(reader: &mut Reader<'_>, section: &mut Section<'_, '_>) -> Retry {
    let mut retry = Retry::default();
    let positions = ["retry_first", "retry_longest"].map(|key| section.position(key));
    let first = section.parsed(reader, "retry_first", some_duration);
    let longest = section.parsed(reader, "retry_longest", some_duration);
    retry.first_wait = first.map_or(retry.first_wait, |first| first.value);
    retry.longest_wait = longest.map_or(retry.longest_wait, |longest| longest.value);
    if let Some(at) = positions.into_iter().flatten().next().filter(|_| retry.first_wait > retry.longest_wait) {
        let waits = [retry.first_wait, retry.longest_wait].map(|wait| wait.as_secs());
        let key = section.key("retry_first");
        let message = format!("{key}: {} s is longer than retry_longest, {} s", waits[0], waits[1]);
        reader.problem(at, message, None);
    }
    retry
}

fn full(reader: &mut Reader<'_>, section: &mut Section<'_, '_>) -> FullRule {
    let at = section.position("full_when");
    let every = section.parsed(reader, "full_every", max_chain);
    let when = section.parsed(reader, "full_when", str::parse::<When>);
    if let (Some(_), Some(at)) = (&every, at) {
        let message = format!("{} and full_every cannot both apply", section.key("full_when"));
        reader.problem(at, message, Some("remove one of them".to_owned()));
    }
    match (every, when) {
        (_, Some(when)) => FullRule::When(when.value),
        (Some(every), None) => FullRule::Every(u32::try_from(every.value).unwrap_or(u32::MAX)),
        (None, None) => FullRule::default(),
    }
}

fn parts(text: &str) -> Result<u16, String> {
    let parts: Option<u16> = text.parse().ok().filter(|parts| *parts > 0);
    let parts = parts.ok_or("must be a whole number, for example 7 for everything within a week")?;
    VerifyDepth::subset(1, parts).map(|_| parts).map_err(|error| error.to_string())
}

/// Reads where snapshots are copied to: to no store twice, and not to the one that they are in.
fn copies(
    reader: &mut Reader<'_>,
    section: &mut Section<'_, '_>,
    names: &Names<'_>,
    file: &ConfigFile,
    own: Option<&At<StoreRef>>,
) -> Vec<JobCopy> {
    let path = section.key("copies");
    let mut copies: Vec<JobCopy> = Vec::new();
    for (number, (at, table)) in section.tables(reader, "copies", COPIES_FORM).into_iter().enumerate() {
        let mut section = Section::new(format!("{path}.{}", number + 1), at, table);
        if !section.has("to") {
            let advice = Some(format!("for example {COPIES_FORM}"));
            reader.problem(at, format!("{} is missing", section.key("to")), advice);
        }
        let to = store(reader, &mut section, names, "to");
        let retention = policy(reader, &mut section, names);
        let key = section.key("to");
        section.finish(reader);
        let Some(to) = to else { continue };
        if own.is_some_and(|own| file.is_same_store(&own.value, &to.value)) {
            reader.problem(at, format!("{key}: {} is the store that the snapshots are in", to.value), None);
        }
        if copies.iter().any(|other| file.is_same_store(&other.to.value, &to.value)) {
            reader.problem(at, format!("{key}: another copy goes to {} too", to.value), None);
        }
        copies.push(JobCopy { to, retention });
    }
    copies
}

impl ConfigFile {
    /// Returns whether two names mean one store: a location can have several profiles.
    pub(crate) fn is_same_store(&self, one: &StoreRef, other: &StoreRef) -> bool {
        one == other || self.location(one).is_some_and(|one| self.location(other) == Some(one))
    }

    /// Returns whether snapshots of two databases have one source.
    fn is_one_source(&self, one: &DatabaseRef, other: &DatabaseRef) -> bool {
        match (self.source_name_of(one), self.source_name_of(other)) {
            (None, None) => self.path_of(one).is_some_and(|one| self.path_of(other) == Some(one)),
            (one, other) => one == other,
        }
    }

    fn source_name_of(&self, database: &DatabaseRef) -> Option<&String> {
        let DatabaseRef::Named(name) = database else { return None };
        self.databases.get(name)?.source.as_ref().map(|source| &source.value)
    }

    /// Returns the file of a database. `None` if a mistake hides it.
    fn path_of<'a>(&'a self, database: &'a DatabaseRef) -> Option<&'a PathBuf> {
        match database {
            DatabaseRef::Named(name) => self.databases.get(name).map(|database| &database.path.value),
            DatabaseRef::Path(path) => Some(path),
        }
    }

    /// Returns where a store is. `None` if a mistake in the file hides it.
    fn location<'a>(&'a self, store: &'a StoreRef) -> Option<&'a Location> {
        let location = match store {
            StoreRef::Location(location) => Some(location),
            StoreRef::Profile(name) => self.stores.get(name).map(|profile| &profile.location.value),
        };
        location.filter(|location| **location != Location::Memory)
    }
}

//! The configuration file `ruvector-snapshot.toml`: profiles of stores, databases and retention policies, by name, and jobs.
//!
//! The types here know nothing of the command line, so that a command that keeps running can read the same file. `find`
//! searches for the file, `document` reads TOML with positions and collects what is wrong, `sections`, `jobs` and `hooks` know the
//! keys, `references` reads what values refer to, `secrets` has values that are read from elsewhere, `environment` decides which variables complete a profile, and `check`
//! checks what the file refers to. `settings`
//! decides which value has precedence.

mod check;
mod document;
mod environment;
mod find;
mod hooks;
mod jobs;
mod references;
mod secrets;
mod sections;

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use ruvector_snapshot::store::Location;
use ruvector_snapshot::{GroupBy, LabelPattern, PrunePolicy, Span, TimeZone};

pub(crate) use check::{UNUSED_HOOK, problem_of_database, problem_of_program, problems_of_hooks, unused_bucket};
pub(crate) use document::Problem;
pub(crate) use environment::UnsaidVariable;
pub(crate) use find::{Found, FoundBy, find, places};
pub(crate) use hooks::{Address, JobCommand, JobHooks, origin};
pub(crate) use jobs::{Job, JobCopy};
pub(crate) use references::plain_path;
pub(crate) use secrets::OptionValue;

/// No configuration is larger. It bounds what a wrong path can make the program read.
const BYTES_MAX: u64 = 1 << 20;

/// A value and the line it is in, from 1.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) line: usize,
}

/// What a configuration file says. Everything in it has been checked, except what it refers to.
#[derive(Debug, Clone, Default)]
pub(crate) struct ConfigFile {
    /// The path as it was found.
    pub(crate) path: PathBuf,
    pub(crate) store: Option<At<StoreRef>>,
    pub(crate) stores: BTreeMap<String, StoreProfile>,
    pub(crate) databases: BTreeMap<String, Database>,
    pub(crate) retention: BTreeMap<String, Retention>,
    /// In the order of the file.
    pub(crate) jobs: Vec<Job>,
    /// `listen` of `[schedule]`: where the daemon answers HTTP.
    pub(crate) listen: Option<At<SocketAddr>>,
    /// Every value of the file as it may be shown, in the order of their keys.
    pub(crate) shown: Vec<ShownValue>,
}

/// A value of the file, without its secret.
#[derive(Debug, Clone)]
pub(crate) struct ShownValue {
    pub(crate) key: String,
    pub(crate) text: String,
    pub(crate) line: usize,
}

/// What `store` names: a profile, or a location.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StoreRef {
    Profile(String),
    Location(Location),
}

impl fmt::Display for StoreRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Profile(name) => write!(f, "@{name}"),
            Self::Location(location) => location.fmt(f),
        }
    }
}

/// What a job names: a database of the file, or the path of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DatabaseRef {
    Named(String),
    Path(PathBuf),
}

impl fmt::Display for DatabaseRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => write!(f, "@{name}"),
            Self::Path(path) => path.display().fmt(f),
        }
    }
}

/// `[stores.NAME]`: where a store is, and how it is used.
#[derive(Debug, Clone)]
pub(crate) struct StoreProfile {
    pub(crate) location: At<Location>,
    /// By the names of the table of options.
    pub(crate) options: BTreeMap<&'static str, At<OptionValue>>,
    pub(crate) connections: Option<At<usize>>,
    /// Bytes per second.
    pub(crate) limit_upload: Option<At<u64>>,
    /// Bytes per second.
    pub(crate) limit_download: Option<At<u64>>,
    /// Whether something in it is wrong, and missing here.
    pub(crate) has_mistakes: bool,
}

/// `[databases.NAME]`: a database file, and what its snapshots are called.
#[derive(Debug, Clone)]
pub(crate) struct Database {
    pub(crate) path: At<PathBuf>,
    pub(crate) name: Option<At<String>>,
    pub(crate) source: Option<At<String>>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) embedding: BTreeMap<String, String>,
    pub(crate) scratch_dir: Option<At<PathBuf>>,
}

/// `[retention.NAME]`: rules of prune.
#[derive(Debug, Clone, Default)]
pub(crate) struct Retention {
    pub(crate) keep_last: Option<usize>,
    pub(crate) keep_hourly: Option<usize>,
    pub(crate) keep_daily: Option<usize>,
    pub(crate) keep_weekly: Option<usize>,
    pub(crate) keep_monthly: Option<usize>,
    pub(crate) keep_quarterly: Option<usize>,
    pub(crate) keep_yearly: Option<usize>,
    pub(crate) keep_within: Option<Span>,
    pub(crate) keep_labels: Vec<LabelPattern>,
    pub(crate) group_by: Option<GroupBy>,
    pub(crate) time_zone: Option<TimeZone>,
}

impl Retention {
    /// Returns whether there is a rule: without one, a prune would delete everything.
    pub(crate) fn has_rule(&self) -> bool {
        let counts = [
            self.keep_last,
            self.keep_hourly,
            self.keep_daily,
            self.keep_weekly,
            self.keep_monthly,
            self.keep_quarterly,
            self.keep_yearly,
        ];
        counts.iter().any(Option::is_some) || self.keep_within.is_some() || !self.keep_labels.is_empty()
    }

    /// Returns these rules, with those of `lower` that are not here. Labels add up: what either keeps is kept.
    pub(crate) fn over(&self, lower: &Self) -> Self {
        Self {
            keep_last: self.keep_last.or(lower.keep_last),
            keep_hourly: self.keep_hourly.or(lower.keep_hourly),
            keep_daily: self.keep_daily.or(lower.keep_daily),
            keep_weekly: self.keep_weekly.or(lower.keep_weekly),
            keep_monthly: self.keep_monthly.or(lower.keep_monthly),
            keep_quarterly: self.keep_quarterly.or(lower.keep_quarterly),
            keep_yearly: self.keep_yearly.or(lower.keep_yearly),
            keep_within: self.keep_within.or(lower.keep_within),
            keep_labels: self.keep_labels.iter().chain(&lower.keep_labels).cloned().collect(),
            group_by: self.group_by.clone().or_else(|| lower.group_by.clone()),
            time_zone: self.time_zone.clone().or_else(|| lower.time_zone.clone()),
        }
    }

    /// Returns the policy that these rules describe.
    pub(crate) fn policy(&self) -> PrunePolicy {
        let mut policy = PrunePolicy::default()
            .keep_last(self.keep_last.unwrap_or(0))
            .keep_hourly(self.keep_hourly.unwrap_or(0))
            .keep_daily(self.keep_daily.unwrap_or(0))
            .keep_weekly(self.keep_weekly.unwrap_or(0))
            .keep_monthly(self.keep_monthly.unwrap_or(0))
            .keep_quarterly(self.keep_quarterly.unwrap_or(0))
            .keep_yearly(self.keep_yearly.unwrap_or(0))
            .time_zone(self.time_zone.clone().unwrap_or_default())
            .group_by(self.group_by.clone().unwrap_or_default());
        if let Some(span) = self.keep_within {
            policy = policy.keep_within(span);
        }
        self.keep_labels.iter().cloned().fold(policy, PrunePolicy::keep_label)
    }
}

/// Why a configuration file cannot be used.
#[derive(Debug)]
pub(crate) enum ConfigError {
    /// It cannot be read.
    Unreadable { path: PathBuf, why: String },
    /// Something in it is wrong. Never empty; in the order of the lines.
    Wrong { path: PathBuf, problems: Vec<Problem> },
}

impl ConfigFile {
    /// Reads a file, once. Reports all that is wrong with it, and not only the first mistake.
    pub(crate) fn read(found: &Found) -> Result<Self, ConfigError> {
        let path = || found.path.clone();
        let (file, problems) = Self::read_partly(found).map_err(|why| ConfigError::Unreadable { path: path(), why })?;
        if problems.is_empty() { Ok(file) } else { Err(ConfigError::Wrong { path: path(), problems }) }
    }

    /// Reads what is right in a file, so that it can be checked further, and returns it with everything that is wrong. One that
    /// was checked is read as it was opened, whatever its path leads to by now.
    ///
    /// # Errors
    ///
    /// Returns why the file cannot be read.
    pub(crate) fn read_partly(found: &Found) -> Result<(Self, Vec<Problem>), String> {
        let Found { path, opened, .. } = found;
        let text = match opened {
            Some(file) => text_of(file)?,
            None => File::open(path).map_err(|error| error.to_string()).and_then(|file| text_of(&file))?,
        };
        let directory = std::path::absolute(path).map_err(|error| error.to_string())?;
        let (file, problems) = sections::read(&text, directory.parent().unwrap_or(Path::new("/")));
        Ok((Self { path: path.to_owned(), ..file }, problems))
    }

    /// Returns a line of this file, as messages name it.
    pub(crate) fn place(&self, line: usize) -> String {
        format!("{}:{line}", self.path.display())
    }
}

/// Returns the text of a file. A directory is refused: the error of reading one does not say what is wrong.
fn text_of(file: &File) -> Result<String, String> {
    if file.metadata().is_ok_and(|metadata| metadata.is_dir()) {
        return Err("it is a directory".to_owned());
    }
    let mut bytes = Vec::new();
    file.take(BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err("it is larger than 1 MiB, so it is no configuration file".to_owned());
    }
    let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned())?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

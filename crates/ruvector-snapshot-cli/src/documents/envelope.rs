//! What every document has, whatever the command: the version of the contract, the command, the store, the times and the
//! warnings.
#![expect(clippy::disallowed_methods, reason = "measures how long the run took")]

use std::time::Instant;

use chrono::{DateTime, SubsecRound as _, Utc};
use ruvector_snapshot::clock::{Clock as _, SystemClock};
use schemars::JsonSchema;
use serde::Serialize;

/// The version of the contract.
pub(crate) const SCHEMA_VERSION: u32 = 1;

/// Commands that use no store, or those of the jobs of the configuration file.
pub(crate) const WITHOUT_STORE: [&str; 7] =
    ["completions", "config check", "config path", "demo", "schedule", "store options", "version"];

/// One run of the program, as its documents name it.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    command: Option<String>,
    store: Option<String>,
    started_at: DateTime<Utc>,
    started: Instant,
}

impl Run {
    /// Starts the run of a command at a store. The command is not known if the arguments name none.
    pub(crate) fn start(command: Option<String>, store: Option<String>) -> Self {
        let run = Self { command, store: None, started_at: now(), started: Instant::now() };
        store.iter().fold(run, |run, store| run.at_store(store))
    }

    /// Sets the store, which a configuration file can name, unless the command uses none.
    pub(crate) fn at_store(self, store: &str) -> Self {
        let is_used = self.command.as_deref().is_none_or(|command| !WITHOUT_STORE.contains(&command));
        Self { store: is_used.then(|| without_user(store)), ..self }
    }

    /// Returns the command, for example `store check`.
    pub(crate) fn command(&self) -> Option<&str> {
        self.command.as_deref()
    }

    /// Returns when the run was started, by the clock of this machine.
    pub(crate) fn started_at(&self) -> DateTime<Utc> {
        self.started_at
    }

    /// Returns the document of the run that has these members.
    pub(crate) fn document<'a, T>(&'a self, members: &'a T, warnings: &'a [String]) -> Document<'a, T> {
        Document { head: self.head(), members, tail: self.tail(warnings) }
    }

    /// Returns the beginning of a document, with these members.
    pub(crate) fn beginning<'a, T>(&'a self, members: &'a T) -> Beginning<'a, T> {
        Beginning { head: self.head(), members }
    }

    /// Returns the end of a document, with these members.
    pub(crate) fn ending<'a, T>(&self, members: &'a T, warnings: &'a [String]) -> Ending<'a, T> {
        Ending { members, tail: self.tail(warnings) }
    }

    fn head(&self) -> Head<'_> {
        let Self { command, store, started_at, .. } = self;
        Head {
            schema_version: SCHEMA_VERSION,
            command: command.as_deref(),
            store: store.as_deref(),
            started_at: *started_at,
        }
    }

    fn tail<'a>(&self, warnings: &'a [String]) -> Tail<'a> {
        Tail { finished_at: now(), seconds: self.started.elapsed().as_secs_f64(), warnings }
    }
}

/// Returns a location without the user and the password of a URL, which is refused: they are no part of a document that is
/// kept.
fn without_user(store: &str) -> String {
    match store.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.rsplit_once('@')?))) {
        Some((scheme, (_, rest))) if scheme != "file" => format!("{scheme}://***@{rest}"),
        _ => store.to_owned(),
    }
}

/// The time, to the millisecond.
fn now() -> DateTime<Utc> {
    SystemClock.now().trunc_subsecs(3)
}

/// A document: what all of them have, and between that the members of the command.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "{T}")]
pub(crate) struct Document<'a, T> {
    #[serde(flatten)]
    head: Head<'a>,
    #[serde(flatten)]
    members: &'a T,
    #[serde(flatten)]
    tail: Tail<'a>,
}

/// The beginning of a document that is printed in parts.
#[derive(Debug, Serialize)]
pub(crate) struct Beginning<'a, T> {
    #[serde(flatten)]
    head: Head<'a>,
    #[serde(flatten)]
    members: &'a T,
}

/// The end of a document that is printed in parts.
#[derive(Debug, Serialize)]
pub(crate) struct Ending<'a, T> {
    #[serde(flatten)]
    members: &'a T,
    #[serde(flatten)]
    tail: Tail<'a>,
}

/// What a document begins with.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Head<'a> {
    /// The version of this contract: 1. Members can be added in the same version, so ignore those that you do not know.
    schema_version: u32,
    /// The command, for example `create` or `store check`. Null if the arguments name none.
    command: Option<&'a str>,
    /// The store, as it was given, or the location of the profile of the configuration file that was given. Null for a command that uses no store, and if the arguments could not be read.
    store: Option<&'a str>,
    /// When the run started, by the clock of this machine.
    started_at: DateTime<Utc>,
}

/// What a document ends with.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Tail<'a> {
    /// When the document was completed, by the clock of this machine.
    finished_at: DateTime<Utc>,
    /// How long the run took until then, in seconds, whatever the clock did.
    seconds: f64,
    /// What the user should know although it did not stop the work, one sentence each. They are printed to standard error too.
    warnings: &'a [String],
}

/// No members of its own.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct NoMembers {}

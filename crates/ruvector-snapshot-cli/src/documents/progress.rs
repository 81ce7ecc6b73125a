//! A line of progress on standard error: one document on one line.

use std::fmt;

use ruvector_snapshot::Phase;
use schemars::JsonSchema;
use serde::Serialize;

use super::envelope::{Run, SCHEMA_VERSION};

/// A line of progress. `progress` is in no other line on standard error.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ProgressLine")]
pub(crate) struct ProgressLine<'a> {
    /// The version of this contract: 1. Members can be added in the same version, so ignore those that you do not know.
    schema_version: u32,
    /// The command, for example `create`.
    command: Option<&'a str>,
    /// How far the command has come.
    progress: ProgressDocument,
}

impl<'a> ProgressLine<'a> {
    pub(crate) fn new(run: &'a Run, progress: ProgressDocument) -> Self {
        Self { schema_version: SCHEMA_VERSION, command: run.command(), progress }
    }
}

/// How far a phase of a command has come. A member that the phase does not count is missing. Less than in the line before
/// means that the phase has started again, for example for the next snapshot.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[schemars(rename = "Progress")]
pub(crate) struct ProgressDocument {
    /// What is being done.
    pub(crate) phase: PhaseName,
    /// Number of records that are done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) records: Option<u64>,
    /// Number of records in total, as far as that is known. A database that is being written may have more or fewer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) records_total: Option<u64>,
    /// Records per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) records_per_second: Option<u64>,
    /// Number of snapshots that are done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) snapshots: Option<u64>,
    /// Number of snapshots in total.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) snapshots_total: Option<u64>,
    /// Number of rows of both indexes that are compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rows: Option<u64>,
    /// Number of rows of both indexes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rows_total: Option<u64>,
    /// Rows per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rows_per_second: Option<u64>,
    /// Number of searches that are done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) searches: Option<u64>,
    /// Number of searches in total.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) searches_total: Option<u64>,
    /// Searches per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) searches_per_second: Option<u64>,
    /// Bytes of the vectors and the metadata of the records, uncompressed. Not what was read from or written to a store or a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) record_bytes: Option<u64>,
    /// Bytes of records per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) record_bytes_per_second: Option<u64>,
    /// Bytes of objects that the store, or the target of a copy, has received. In the phase `rereading`: bytes of an object that were read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stored_bytes: Option<u64>,
    /// Bytes of objects in total. Of a snapshot that is compacted on the way it is an estimate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stored_bytes_total: Option<u64>,
    /// Bytes of objects that the upload limit has allowed, and that the store has not received yet. They are sent, or wait until the limit has allowed the rest of their part. Missing if there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stored_bytes_allowed: Option<u64>,
    /// Bytes of objects per second, with those that the upload limit has allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stored_bytes_per_second: Option<u64>,
    /// How long the phase has taken so far, in seconds.
    pub(crate) seconds: f64,
    /// How long the rest of the phase takes at the rate so far, in seconds. Missing if that cannot be said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) seconds_left: Option<f64>,
}

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Phase")]
pub(crate) enum PhaseName {
    /// The database or the chain is read and compressed, and sent to the store. What was read last is not there yet: `storing` follows.
    Creating,
    /// The rest of a snapshot is stored, up to the commit. Counts from its first byte.
    Storing,
    /// A snapshot is read and written to a database.
    Restoring,
    /// A snapshot, or a restored database, is read, and every byte is verified.
    Verifying,
    /// A snapshot is read, and its records are passed on.
    Streaming,
    /// A snapshot is read and written to the files of an export.
    Exporting,
    /// Records are compared with vectors.
    Searching,
    /// The restored database of a drill is opened by Ruvector and searched.
    Opening,
    /// Snapshots are copied to another store.
    Copying,
    /// The indexes of two snapshots are compared.
    Comparing,
    /// A file of a snapshot is read a second time, because what was read of it was corrupt. `verifying` can follow, of the snapshot and of those that depend on it.
    Rereading,
    /// A file of the published crate is read, and its records are sorted. `creating` follows.
    Sorting,
    /// Something else.
    #[default]
    Working,
}

impl From<Phase> for PhaseName {
    fn from(phase: Phase) -> Self {
        match phase {
            Phase::Create => Self::Creating,
            Phase::Store => Self::Storing,
            Phase::Restore => Self::Restoring,
            Phase::VerifyRestored | Phase::Verify => Self::Verifying,
            Phase::Stream => Self::Streaming,
            Phase::Copy => Self::Copying,
            Phase::Compare => Self::Comparing,
            Phase::Export => Self::Exporting,
            Phase::Search => Self::Searching,
            Phase::Import => Self::Sorting,
            Phase::Drill => Self::Opening,
            Phase::ReadAgain => Self::Rereading,
            _ => Self::Working,
        }
    }
}

/// As in the documents.
impl fmt::Display for PhaseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

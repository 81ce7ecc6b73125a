//! The document of `status`.

use chrono::{DateTime, Utc};
use ruvector_snapshot::{DatabaseFreshness, Freshness, NewestSnapshot, StaleReason};
use schemars::JsonSchema;
use serde::Serialize;

/// Whether the databases of a store are backed up.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Status")]
pub(crate) struct StatusDocument<'a> {
    /// Whether nothing is stale. If something is, the exit code is 4.
    fresh: bool,
    /// When the store was listed: what ages are counted from.
    checked_at: DateTime<Utc>,
    /// The databases, in the order of their names.
    databases: Vec<DatabaseStatusDocument<'a>>,
    /// Why the store is stale, whatever its databases are.
    stale: Vec<StaleDocument>,
    /// The databases that have snapshots and are not checked, because `--source` names others.
    not_checked: &'a [String],
    /// Number of things that belong to no snapshot and are older than the grace period.
    orphans: u64,
    /// Their size, in bytes.
    orphan_bytes: u64,
}

/// Whether a database is backed up.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "DatabaseStatus")]
struct DatabaseStatusDocument<'a> {
    /// The name of the source, or the host and the path of the database, or else its kind.
    source: &'a str,
    /// Whether it is not stale.
    fresh: bool,
    /// Why it is stale.
    stale: Vec<StaleDocument>,
    /// Number of its snapshots that can be restored, as far as is known.
    snapshots: u64,
    /// Bytes of these snapshots in the store.
    stored_bytes: u64,
    /// The newest of these snapshots. Null if there is none.
    newest: Option<NewestDocument<'a>>,
    /// When one of these snapshots was last verified to the last byte. Null if that was never done.
    verified_at: Option<DateTime<Utc>>,
    /// When one of these snapshots last passed a drill. Null if that was never done.
    drilled_at: Option<DateTime<Utc>>,
}

/// The newest snapshot of a database that can be restored, as far as is known.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "NewestSnapshot")]
struct NewestDocument<'a> {
    /// The id.
    id: &'a str,
    /// When it was taken.
    created_at: DateTime<Utc>,
    /// How long ago that was, in seconds.
    age_seconds: u64,
    /// Number of its records.
    records: u64,
    /// Number of records that it has more than the snapshot before it. Null if it is the first.
    records_added: Option<i64>,
    /// Number of snapshots in its chain, itself included.
    chain_length: u64,
}

/// Why a store or a database is stale.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "StaleReason")]
struct StaleDocument {
    /// The kind: `empty_store`, `no_snapshot`, `too_old`, `not_verified`, `not_drilled`, `drill_failed`, `shrunken`, `problem`,
    /// `dated_in_future` or `several_files`.
    kind: &'static str,
    /// The reason, in words.
    message: String,
}

impl<'a> From<&'a Freshness> for StatusDocument<'a> {
    fn from(freshness: &'a Freshness) -> Self {
        Self {
            fresh: !freshness.is_stale(),
            checked_at: freshness.checked_at,
            databases: freshness.databases.iter().map(Into::into).collect(),
            stale: freshness.stale.iter().map(Into::into).collect(),
            not_checked: &freshness.not_checked,
            orphans: freshness.orphans,
            orphan_bytes: freshness.orphan_bytes,
        }
    }
}

impl<'a> From<&'a DatabaseFreshness> for DatabaseStatusDocument<'a> {
    fn from(database: &'a DatabaseFreshness) -> Self {
        Self {
            source: &database.source,
            fresh: database.stale.is_empty(),
            stale: database.stale.iter().map(Into::into).collect(),
            snapshots: database.snapshots,
            stored_bytes: database.stored_bytes,
            newest: database.newest.as_ref().map(Into::into),
            verified_at: database.verified_at,
            drilled_at: database.drilled_at,
        }
    }
}

impl<'a> From<&'a NewestSnapshot> for NewestDocument<'a> {
    fn from(newest: &'a NewestSnapshot) -> Self {
        let NewestSnapshot { id, created_at, age_seconds, records, records_added, chain_length, .. } = newest;
        Self {
            id,
            created_at: *created_at,
            age_seconds: *age_seconds,
            records: *records,
            records_added: *records_added,
            chain_length: *chain_length,
        }
    }
}

impl From<&StaleReason> for StaleDocument {
    fn from(reason: &StaleReason) -> Self {
        Self { kind: reason.kind(), message: reason.to_string() }
    }
}

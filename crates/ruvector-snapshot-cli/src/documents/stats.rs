//! The document of `stats`.

use ruvector_snapshot::{DayStats, SourceStats, StatsTotals, StoreStats};
use schemars::JsonSchema;
use serde::Serialize;

/// What the snapshots of a store add up to.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Stats")]
pub(crate) struct StatsDocument {
    /// All snapshots that can be restored, as far as is known, and are not dated in the future.
    totals: TotalsDocument,
    /// The full ones of these.
    full: TotalsDocument,
    /// The incremental ones of these.
    incremental: TotalsDocument,
    /// What is known of each database, in the order of their names.
    sources: Vec<SourceStatsDocument>,
    /// What was added on each day on which a snapshot was taken, the oldest first.
    days: Vec<DayDocument>,
    /// Bytes that are added to the store in a day, on average. Null if the snapshots are of less than a day.
    stored_bytes_per_day: Option<f64>,
    /// Snapshots that were found corrupt, that are damaged or depend on one that is, or whose chain is broken. Not in the other numbers.
    corrupt: TotalsDocument,
    /// Snapshots that are dated in the future. Not in the other numbers.
    dated_in_future: TotalsDocument,
    /// Number of snapshots whose metadata cannot be used. Not in the other numbers.
    unusable: u64,
    /// Number of uploads that may be snapshots which have lost their `metadata.json`. Not in the other numbers.
    possibly_lost: u64,
}

/// Several snapshots together.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct TotalsDocument {
    /// Number of snapshots.
    snapshots: u64,
    /// Bytes in the store.
    stored_bytes: u64,
    /// Bytes of the same files, uncompressed.
    logical_bytes: u64,
}

/// The snapshots of one database.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct SourceStatsDocument {
    /// The name of the source, or the host and the path of the database, or else its kind.
    source: String,
    /// Number of snapshots.
    snapshots: u64,
    /// Number of the full ones.
    full: u64,
    /// Number of the incremental ones.
    incremental: u64,
    /// Number of records in the newest snapshot.
    records: u64,
    /// Bytes in the store.
    stored_bytes: u64,
    /// Bytes of the same files, uncompressed.
    logical_bytes: u64,
    /// When the oldest snapshot was taken.
    oldest_at: String,
    /// When the newest snapshot was taken.
    newest_at: String,
}

/// The snapshots of one day.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DayDocument {
    /// The day, in UTC, such as 2026-01-31.
    date: String,
    /// Number of snapshots.
    snapshots: u64,
    /// Bytes in the store.
    stored_bytes: u64,
    /// Bytes of the same files, uncompressed.
    logical_bytes: u64,
}

impl From<&StoreStats> for StatsDocument {
    fn from(stats: &StoreStats) -> Self {
        Self {
            totals: stats.totals.into(),
            full: stats.full.into(),
            incremental: stats.incremental.into(),
            sources: stats.sources.iter().map(SourceStatsDocument::from).collect(),
            days: stats.days.iter().map(DayDocument::from).collect(),
            stored_bytes_per_day: stats.stored_bytes_per_day,
            corrupt: stats.corrupt.into(),
            dated_in_future: stats.dated_in_future.into(),
            unusable: stats.unusable,
            possibly_lost: stats.possibly_lost,
        }
    }
}

impl From<StatsTotals> for TotalsDocument {
    fn from(totals: StatsTotals) -> Self {
        let StatsTotals { snapshots, stored_bytes, logical_bytes, .. } = totals;
        Self { snapshots, stored_bytes, logical_bytes }
    }
}

impl From<&SourceStats> for SourceStatsDocument {
    fn from(stats: &SourceStats) -> Self {
        let time = |time: chrono::DateTime<chrono::Utc>| time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true);
        Self {
            source: stats.source.clone(),
            snapshots: stats.totals.snapshots,
            full: stats.full,
            incremental: stats.incremental,
            records: stats.records,
            stored_bytes: stats.totals.stored_bytes,
            logical_bytes: stats.totals.logical_bytes,
            oldest_at: time(stats.oldest_at),
            newest_at: time(stats.newest_at),
        }
    }
}

impl From<&DayStats> for DayDocument {
    fn from(day: &DayStats) -> Self {
        let StatsTotals { snapshots, stored_bytes, logical_bytes, .. } = day.totals;
        Self { date: day.date.to_string(), snapshots, stored_bytes, logical_bytes }
    }
}

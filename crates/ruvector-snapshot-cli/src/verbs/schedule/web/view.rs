//! What the daemon knows, as its status page, its metrics and its probes need it: plain data. Decides nothing, and asks no store.
//!
//! No text in it has a secret: stores are called by the names of the configuration file and by their locations, and messages are
//! those that the program prints.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use ruvector_snapshot::scheduler::RunOutcome;

/// What the daemon knows at a moment.
#[derive(Debug, Clone, Default)]
pub(super) struct View {
    pub(super) host: Option<String>,
    pub(super) started_at: DateTime<Utc>,
    /// Whether the scheduler makes its decisions in time, or is ending.
    pub(super) is_alive: bool,
    pub(super) is_stopping: bool,
    pub(super) jobs: Vec<JobView>,
    pub(super) stores: Vec<Arc<StoreView>>,
    /// What has failed since the start, the newest first. Only the newest are kept.
    pub(super) failures: Vec<FailureView>,
}

/// A job.
#[derive(Debug, Clone, Default)]
pub(super) struct JobView {
    pub(super) name: String,
    /// When it runs, as the file says.
    pub(super) when: String,
    pub(super) databases: Vec<String>,
    /// What the file calls its store.
    pub(super) store: String,
    pub(super) copies: Vec<String>,
    /// The rules of its retention, as the file calls them.
    pub(super) retention: Option<String>,
    pub(super) verify_parts: Option<u16>,
    pub(super) has_drills: bool,
    /// How old the newest snapshot may be, such as `26h`.
    pub(super) max_age: Option<String>,
    pub(super) running_since: Option<DateTime<Utc>>,
    pub(super) next_run: Option<DateTime<Utc>>,
    /// Runs in a row that have failed.
    pub(super) failures: u32,
    pub(super) succeeded_at: Option<DateTime<Utc>>,
    pub(super) last_run: Option<RunView>,
    /// Why it is stale, each as a sentence. Empty if it is fresh.
    pub(super) stale: Vec<String>,
}

/// A run that has ended.
#[derive(Debug, Clone)]
pub(super) struct RunView {
    pub(super) ended_at: DateTime<Utc>,
    pub(super) seconds: f64,
    pub(super) outcome: RunOutcome,
    /// Records of the snapshots that it took.
    pub(super) records: u64,
    /// Bytes that it stored, those of copies included.
    pub(super) stored_bytes: u64,
    /// What it has done, in words.
    pub(super) did: String,
}

/// Something that has failed.
#[derive(Debug, Clone)]
pub(super) struct FailureView {
    pub(super) at: DateTime<Utc>,
    pub(super) job: String,
    /// What has failed, why, and what to do.
    pub(super) message: String,
}

/// A store of the jobs.
#[derive(Debug, Clone, Default)]
pub(super) struct StoreView {
    /// What the file calls it.
    pub(super) name: String,
    pub(super) location: String,
    /// When it was last listed. `None` if it never was.
    pub(super) read_at: Option<DateTime<Utc>>,
    /// Why it could not be listed the last time.
    pub(super) error: Option<String>,
    pub(super) snapshots: u64,
    pub(super) bytes: u64,
    pub(super) bytes_per_day: Option<f64>,
    /// What is wrong with it that is due to no database.
    pub(super) problems: Vec<String>,
    pub(super) databases: Vec<DatabaseView>,
}

/// A database of a job, in one store.
#[derive(Debug, Clone, Default)]
pub(super) struct DatabaseView {
    /// The name of the source, or the host and the path of the database.
    pub(super) source: String,
    /// The names of the jobs.
    pub(super) jobs: Vec<String>,
    /// Why it is stale, each as a sentence. Empty if it is fresh.
    pub(super) stale: Vec<String>,
    /// Snapshots that can be restored, as far as is known.
    pub(super) snapshots: u64,
    pub(super) bytes: u64,
    pub(super) bytes_per_day: Option<f64>,
    pub(super) newest_at: Option<DateTime<Utc>>,
    pub(super) records: u64,
    pub(super) records_added: Option<i64>,
    pub(super) chain_length: u64,
    pub(super) verified_at: Option<DateTime<Utc>>,
    pub(super) drilled_at: Option<DateTime<Utc>>,
    /// The rules of the retention that holds here, as the file calls them.
    pub(super) retention: Option<String>,
    /// Why these rules delete nothing.
    pub(super) retention_problem: Option<String>,
    /// Its snapshots, the oldest first. Only the newest are kept.
    pub(super) points: Vec<Point>,
    /// Number of older snapshots.
    pub(super) older: u64,
}

/// A snapshot.
#[derive(Debug, Clone, Default)]
pub(super) struct Point {
    pub(super) id: String,
    pub(super) short_id: String,
    pub(super) name: String,
    pub(super) at: DateTime<Utc>,
    /// The id of the base of an increment.
    pub(super) base: Option<String>,
    pub(super) state: PointState,
    pub(super) is_pinned: bool,
    pub(super) records: u64,
    pub(super) bytes: u64,
    pub(super) verified_at: Option<DateTime<Utc>>,
    pub(super) drilled_at: Option<DateTime<Utc>>,
    /// Why it is kept.
    pub(super) kept: Vec<String>,
    /// Why the next prune deletes it. Empty if it is kept.
    pub(super) dropped: Vec<String>,
}

/// Whether a snapshot can be relied on, as far as is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum PointState {
    #[default]
    Sound,
    /// It was found corrupt, or one that it depends on was.
    Corrupt,
    /// It cannot be used, or its chain is broken.
    Unusable,
    /// It is dated in the future, and does not count.
    Future,
}

impl PointState {
    /// Returns what is wrong with the snapshot, in words.
    pub(super) fn problem(self) -> Option<&'static str> {
        match self {
            Self::Sound => None,
            Self::Corrupt => Some("found corrupt"),
            Self::Unusable => Some("cannot be restored"),
            Self::Future => Some("dated in the future"),
        }
    }
}

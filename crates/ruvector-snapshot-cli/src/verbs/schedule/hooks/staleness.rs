//! When a job becomes stale. Pure: asks no clock and no store.

use chrono::{DateTime, TimeDelta, Utc};
use ruvector_snapshot::scheduler::JobStatus;

/// Whether a job is stale, as far as is known.
#[derive(Debug, Clone, Default)]
pub(super) struct Staleness {
    /// When the job was first seen. A job without any success is as old.
    first_seen: Option<DateTime<Utc>>,
    is_stale: bool,
}

impl Staleness {
    /// Returns whether the job has become stale since the last call.
    pub(super) fn has_begun(&mut self, job: &JobStatus, max_age: TimeDelta, now: DateTime<Utc>) -> bool {
        let first_seen = *self.first_seen.get_or_insert(now);
        let since = newest_success(job).unwrap_or(first_seen);
        let was_stale = std::mem::replace(&mut self.is_stale, now.signed_duration_since(since) > max_age);
        self.is_stale && !was_stale
    }
}

/// Returns when a run last succeeded, or else of when the snapshots are that were there at the start.
pub(super) fn newest_success(job: &JobStatus) -> Option<DateTime<Utc>> {
    job.succeeded_at.max(job.snapshots_at)
}

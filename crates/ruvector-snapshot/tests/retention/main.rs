//! Retention: what a policy keeps and drops, and why. Tables with examples, and random histories against a slow and
//! simple oracle.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod calendar;
mod chains;
mod groups;
mod oracle;
mod random;
mod rules;

use chrono::{DateTime, TimeZone as _, Utc};
use ruvector_snapshot::retention::ExternalRefs;
use ruvector_snapshot::retention::plan;
use ruvector_snapshot::{PrunePlan, PrunePolicy, Result, Snapshot, SnapshotType};
use serde_json::json;

/// Returns a full snapshot without labels. Its content is different from that of every other.
fn snapshot(id: &str, created_at: DateTime<Utc>) -> Snapshot {
    let document = json!({
        "id": id, "name": "nightly", "created_at": created_at, "size_bytes": 0, "checksum": id, "snapshot_type": "full",
        "vector_count": 0, "dimensions": 4, "distance_metric": null, "labels": {}, "metadata": null,
        "source": { "kind": "file" }, "raw_bytes": 0, "files": {}, "changes": null,
        "pinned": false, "writer": "",
    });
    serde_json::from_value(document).unwrap()
}

/// Returns the snapshot as an increment with this base.
fn increment(base_id: &str, mut snapshot: Snapshot) -> Snapshot {
    snapshot.snapshot_type = SnapshotType::Incremental { base_id: base_id.to_owned() };
    snapshot
}

/// Parses a moment with its offset from UTC, for example `2026-10-25T02:30:00+02:00`.
fn moment(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).unwrap().to_utc()
}

/// Returns a moment later than every snapshot of the tables.
fn later() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2100, 1, 1, 0, 0, 0).unwrap()
}

/// Returns the plan if nothing is pinned or dated in the future.
fn planned(snapshots: Vec<Snapshot>, policy: &PrunePolicy) -> Result<PrunePlan> {
    plan(snapshots, &ExternalRefs::default(), policy, later())
}

/// Returns external references that contain these pins and nothing else.
fn pinned<const N: usize>(ids: [&str; N]) -> ExternalRefs {
    ExternalRefs { pinned: ids.map(str::to_owned).into(), ..ExternalRefs::default() }
}

/// Returns a line for every snapshot, in the order of the plan: first `keep ID: reasons`, then `drop ID: reasons`.
fn lines(plan: &PrunePlan) -> Vec<String> {
    fn listed<T: ToString>(reasons: &[T]) -> String {
        reasons.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
    }
    let keep = plan.keep.iter().map(|kept| format!("keep {}: {}", kept.snapshot.id, listed(&kept.reasons)));
    let drop = plan.drop.iter().map(|dropped| format!("drop {}: {}", dropped.snapshot.id, listed(&dropped.reasons)));
    keep.chain(drop).collect()
}

/// Checks a policy against a table. Each row is the moment of a snapshot, which is also its id, and the expected
/// decision with its reasons. The snapshots are passed in another order.
#[track_caller]
fn assert_table(policy: &PrunePolicy, table: &[(&str, &str)]) {
    let mut snapshots: Vec<_> = table.iter().map(|(taken, _)| snapshot(taken, moment(taken))).collect();
    snapshots.reverse();
    let found = lines(&planned(snapshots, policy).unwrap());
    let mut expected = Vec::new();
    for decision in ["keep", "drop"] {
        let rows = table.iter().filter_map(|(taken, text)| Some((taken, text.strip_prefix(decision)?)));
        expected.extend(rows.map(|(taken, reasons)| format!("{decision} {taken}:{reasons}")));
    }
    assert_eq!(expected.len(), table.len(), "a row of the table begins with neither keep nor drop");
    assert_eq!(found, expected);
}

//! What a clean-up keeps and drops, and why: tables to read like a manual, and random histories against an oracle that
//! is slow and plainly right.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod calendar;
mod chains;
mod oracle;
mod random;
mod rules;

use chrono::{DateTime, TimeZone as _, Utc};
use ruvector_snapshot::manager::retention::plan;
use ruvector_snapshot::{Others, PrunePlan, PrunePolicy, Result, Snapshot, SnapshotType};
use serde_json::json;

/// A full snapshot without labels, of a state of its own.
fn snapshot(id: &str, created_at: DateTime<Utc>) -> Snapshot {
    let document = json!({
        "id": id, "name": "nightly", "created_at": created_at, "size_bytes": 0, "checksum": id, "snapshot_type": "full",
        "vector_count": 0, "dimensions": 4, "distance_metric": null, "labels": {}, "metadata": null,
        "source": { "kind": "file" }, "raw_bytes": 0, "files": {}, "changes": null,
        "pinned": false, "writer": "",
    });
    serde_json::from_value(document).unwrap()
}

/// The same, as an increment.
fn on(base_id: &str, mut snapshot: Snapshot) -> Snapshot {
    snapshot.snapshot_type = SnapshotType::Incremental { base_id: base_id.to_owned() };
    snapshot
}

/// A moment, with its distance from UTC: `2026-10-25T02:30:00+02:00`.
fn moment(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).unwrap().to_utc()
}

/// Later than every snapshot of the tables.
fn later() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2100, 1, 1, 0, 0, 0).unwrap()
}

/// The plan where nothing is pinned and nothing dated in the future.
fn planned(snapshots: Vec<Snapshot>, policy: &PrunePolicy) -> Result<PrunePlan> {
    plan(snapshots, &Others::default(), policy, later())
}

/// Where these are pinned, and there is nothing else.
fn pinned<const N: usize>(ids: [&str; N]) -> Others {
    Others { pinned: ids.map(str::to_owned).into(), ..Others::default() }
}

/// A line for every snapshot: `keep ID: reasons` in the order of the plan, then `drop ID: reasons` in its order.
fn lines(plan: &PrunePlan) -> Vec<String> {
    fn listed<T: ToString>(reasons: &[T]) -> String {
        reasons.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
    }
    let keep = plan.keep.iter().map(|kept| format!("keep {}: {}", kept.snapshot.id, listed(&kept.reasons)));
    let drop = plan.drop.iter().map(|dropped| format!("drop {}: {}", dropped.snapshot.id, listed(&dropped.reasons)));
    keep.chain(drop).collect()
}

/// Takes a snapshot at every moment of the table, in some other order, each called by its moment, and compares what the
/// policy does to each with what the table says.
#[track_caller]
fn assert_table(policy: &PrunePolicy, table: &[(&str, &str)]) {
    let mut snapshots: Vec<_> = table.iter().map(|(taken, _)| snapshot(taken, moment(taken))).collect();
    snapshots.reverse();
    let found = lines(&planned(snapshots, policy).unwrap());
    let mut expected = Vec::new();
    for verdict in ["keep", "drop"] {
        let rows = table.iter().filter_map(|(taken, text)| Some((taken, text.strip_prefix(verdict)?)));
        expected.extend(rows.map(|(taken, reasons)| format!("{verdict} {taken}:{reasons}")));
    }
    assert_eq!(expected.len(), table.len(), "a row of the table says neither keep nor drop");
    assert_eq!(found, expected);
}

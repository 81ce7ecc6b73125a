//! Fixtures that several subjects of the library's tests share. Fixtures that other crates use too are in
//! `test-fixtures`.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

pub mod bucket_stores;
pub mod chain_and_full;
pub mod measured_process;
#[path = "../../../ruvector-snapshot-format/tests/it/reference.rs"]
pub mod reference_checksum;
pub mod three_snapshots;

use std::collections::BTreeMap;

use ruvector_snapshot::store::SnapshotStore;
use ruvector_snapshot::store::testing::fault::{Call, Moment, Step};
use ruvector_snapshot::{Result, SnapshotManager, VerifyOptions};
use test_fixtures::objects;

/// Verifies a snapshot and leaves nothing in the store.
pub async fn is_intact(manager: &SnapshotManager, id: &str) -> Result<bool> {
    Ok(manager.verify_snapshot_with(id, &VerifyOptions::default().record(false)).await?.is_intact())
}

/// Removes what commands have recorded of corruption, or else the next create refuses what it would read.
pub async fn forget(store: &dyn SnapshotStore) {
    for key in objects(store).await.into_keys().filter(|key| key.contains("-read-corrupt-")) {
        store.delete(&key).await.unwrap();
    }
}

/// Counts the calls in a log of steps, by kind.
pub fn count_calls(steps: &[Step]) -> BTreeMap<Call, usize> {
    let mut counts = BTreeMap::new();
    for step in steps.iter().filter(|step| step.moment == Moment::Before) {
        *counts.entry(step.call).or_default() += 1;
    }
    counts
}

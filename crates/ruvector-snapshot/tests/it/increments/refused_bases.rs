//! Bases that are refused: each error has the right kind and names the snapshot, and the store does not change. A
//! refused increment never becomes a full snapshot.

use std::path::{Path, PathBuf};

use ruvector_core::VectorDB;
use ruvector_core::types::{DbOptions, DistanceMetric};
use ruvector_snapshot::{ErrorKind, Snapshot, SnapshotConfig, SnapshotError, SnapshotManager};
use ruvector_snapshot_format::layout::{self, DataFile};
use test_fixtures::{StoredSnapshot, TestDir, TickingClock, edit_metadata, entry, make_database, options};

use super::fixture::{create, create_from_elsewhere, files, forget};

/// A database, a full snapshot of it, and an increment on that.
struct Fixture {
    dir: TestDir,
    path: PathBuf,
    manager: SnapshotManager,
    full: Snapshot,
    one: Snapshot,
}

impl Fixture {
    async fn new() -> Self {
        let dir = TestDir::new();
        let manager = dir.manager().with_clock(TickingClock::seconds_from_year(2020));
        let path = dir.path("a.db");
        let db = make_database(&path, 100, 4, 1);
        let full = create(&manager, &path, None).await.unwrap();
        db.insert(entry("new".to_owned(), 1, 4, 2)).unwrap();
        let one = create(&manager, &path, Some(&full)).await.unwrap();
        Self { dir, path, manager, full, one }
    }

    /// Returns the error of an increment, and asserts that it stored nothing.
    async fn create_error(&self, manager: &SnapshotManager, path: &Path, base: &Snapshot) -> SnapshotError {
        let before = files(&self.dir.snapshots());
        let error = create_from_elsewhere(manager, path, Some(base)).await.unwrap_err();
        forget(&self.dir.snapshots());
        assert!(files(&self.dir.snapshots()) == before, "the store has changed in spite of {error}");
        self.dir.assert_scratch_empty();
        error
    }

    /// Asserts that increments on either snapshot are refused, and that the error names the full snapshot.
    async fn assert_refused(&self, what: &str, kind: ErrorKind, parts: &[&str]) {
        for base in [&self.full, &self.one] {
            let error = self.create_error(&self.manager, &self.path, base).await;
            assert_error(&error, what, kind, &[&[self.full.id.as_str()], parts].concat());
        }
    }

    fn stored(&self) -> StoredSnapshot {
        StoredSnapshot::read(&self.dir.snapshots(), &self.full.id)
    }
}

#[track_caller]
fn assert_error(error: &SnapshotError, what: &str, kind: ErrorKind, parts: &[&str]) {
    assert_eq!(error.kind(), kind, "{what}: {error}");
    let text = error.to_string();
    for part in parts {
        assert!(text.contains(part), "{what}: {text:?} does not contain {part:?}");
    }
}

#[tokio::test]
async fn a_missing_base_is_refused() {
    let fixture = Fixture::new().await;
    std::fs::remove_dir_all(fixture.stored().dir).unwrap();
    let error = fixture.create_error(&fixture.manager, &fixture.path, &fixture.full).await;
    assert_error(&error, "deleted", ErrorKind::NotFound, &[&fixture.full.id, "list"]);
    let error = fixture.create_error(&fixture.manager, &fixture.path, &fixture.one).await;
    let parts = [fixture.one.id.as_str(), &fixture.full.id, "not in the store"];
    assert_error(&error, "ancestor deleted", ErrorKind::Corrupt, &parts);
    let mut no_id = fixture.full.clone();
    no_id.id = "yesterday".to_owned();
    let error = fixture.create_error(&fixture.manager, &fixture.path, &no_id).await;
    assert_error(&error, "no id", ErrorKind::InvalidInput, &["yesterday"]);
}

#[tokio::test]
async fn a_base_with_corrupt_files_is_refused() {
    let fixture = Fixture::new().await;
    let stored = fixture.stored();
    let json = stored.file(layout::METADATA_JSON);
    let renamed = String::from_utf8(json.to_vec()).unwrap().replacen("\"increments\"", "\"another\"", 1);
    assert_ne!(renamed.as_bytes(), json);
    for corruption in [&json[..0], &json[..json.len() / 2], renamed.as_bytes()] {
        stored.put(layout::METADATA_JSON, corruption);
        fixture.assert_refused("metadata.json", ErrorKind::Corrupt, &["metadata.json"]).await;
    }
    stored.repair();
    for file in DataFile::ALL {
        stored.remove(file.name());
        fixture.assert_refused("a missing file", ErrorKind::Corrupt, &[file.name(), "missing"]).await;
        stored.put(file.name(), &stored.file(file.name())[1..]);
        fixture.assert_refused("a short file", ErrorKind::Corrupt, &[file.name(), "bytes"]).await;
        stored.repair();
    }
    create(&fixture.manager, &fixture.path, Some(&fixture.one)).await.unwrap();
}

#[tokio::test]
async fn a_base_without_checksum_sha256_is_refused() {
    let fixture = Fixture::new().await;
    let stored = fixture.stored();
    stored.remove(layout::CHECKSUM_SHA256);
    fixture.assert_refused("no checksum.sha256", ErrorKind::Corrupt, &["choose another base"]).await;
}

#[tokio::test]
async fn a_base_of_a_newer_format_version_is_refused() {
    let fixture = Fixture::new().await;
    let stored = fixture.stored();
    let newer = edit_metadata(stored.file(layout::METADATA_JSON), |json| json["format_version"] = 3.into());
    stored.put(layout::METADATA_JSON, &newer);
    fixture.assert_refused("newer", ErrorKind::Unsupported, &["format version 3", "use a newer"]).await;
}

#[tokio::test]
async fn a_base_with_other_dimensions_or_another_metric_is_refused() {
    let fixture = Fixture::new().await;
    let wider = fixture.dir.path("wider.db");
    drop(make_database(&wider, 100, 5, 1));
    let farther = fixture.dir.path("farther.db");
    let options = DbOptions { distance_metric: DistanceMetric::Manhattan, ..options(&farther, 4) };
    VectorDB::new(options).unwrap().insert(entry("a".to_owned(), 1, 4, 1)).unwrap();
    for base in [&fixture.full, &fixture.one] {
        let error = fixture.create_error(&fixture.manager, &wider, base).await;
        assert_error(
            &error,
            "wider",
            ErrorKind::InvalidInput,
            &[&base.id, "5 dimensions", "4 dim", "take a full snapshot"],
        );
        let error = fixture.create_error(&fixture.manager, &farther, base).await;
        assert_error(
            &error,
            "farther",
            ErrorKind::InvalidInput,
            &[&base.id, "Manhattan", "Cosine", "take a full snapshot"],
        );
    }
}

#[tokio::test]
async fn a_chain_longer_than_the_maximum_is_refused() {
    let fixture = Fixture::new().await;
    let config = SnapshotConfig { max_chain_length: 2, ..fixture.dir.config() };
    let manager = SnapshotManager::new(config).unwrap().with_clock(TickingClock::seconds_from_year(2021));
    let error = fixture.create_error(&manager, &fixture.path, &fixture.one).await;
    let parts = [fixture.one.id.as_str(), "3 snapshots", "maximum of 2", "take a full snapshot", "compact"];
    assert_error(&error, "too long", ErrorKind::InvalidInput, &parts);
    // The advice of the error works.
    let compacted = manager.compact_snapshot(&fixture.one.id, None).await.unwrap();
    create(&manager, &fixture.path, Some(&compacted)).await.unwrap();
}

#[test]
fn a_maximum_chain_length_out_of_range_is_refused() {
    let dir = TestDir::new();
    for max_chain_length in [0, 1001] {
        let config = SnapshotConfig { max_chain_length, ..dir.config() };
        let error = SnapshotManager::new(config).unwrap_err();
        assert_error(&error, "the settings", ErrorKind::InvalidInput, &["max_chain_length"]);
    }
}

#[tokio::test]
async fn a_cyclic_chain_is_refused() {
    let fixture = Fixture::new().await;
    let stored = fixture.stored();
    for base_id in [&fixture.one.id, &fixture.full.id] {
        let cyclic = edit_metadata(stored.file(layout::METADATA_JSON), |json| {
            json["snapshot_type"] = serde_json::json!({"incremental": {"base_id": base_id}});
            json["changes"] = serde_json::json!({"added": 100, "changed": 0, "removed": 0});
            json["base_checksum"] = json["checksum"].clone();
        });
        stored.put(layout::METADATA_JSON, &cyclic);
        fixture.assert_refused("a cycle", ErrorKind::Corrupt, &["not newer than its base"]).await;
    }
}

#[tokio::test]
async fn a_base_dated_in_the_future_is_refused() {
    let fixture = Fixture::new().await;
    let earlier = fixture.dir.manager().with_clock(TickingClock::seconds_from_year(2019));
    let error = fixture.create_error(&earlier, &fixture.path, &fixture.full).await;
    assert_error(&error, "the future", ErrorKind::InvalidInput, &[&fixture.full.id, "future", "correct the clock"]);
}

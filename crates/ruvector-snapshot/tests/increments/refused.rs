//! What an increment is not made on: each refusal has its kind, names the snapshot, and leaves the store as it was.
//! None becomes a full snapshot instead.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ruvector_core::VectorDB;
use ruvector_core::types::{DbOptions, DistanceMetric};
use ruvector_snapshot::format::layout::{self, DataFile};
use ruvector_snapshot::{ErrorKind, Snapshot, SnapshotConfig, SnapshotError, SnapshotManager};

use crate::bench::{Ticking, files, take};
use crate::common::stored::{Stored, edit};
use crate::common::{Place, entry, make_database, options};

/// A database, a full snapshot of it and an increment on that.
struct Bench {
    place: Place,
    path: PathBuf,
    manager: SnapshotManager,
    full: Snapshot,
    one: Snapshot,
}

impl Bench {
    async fn new() -> Self {
        let place = Place::new();
        let manager = place.manager().with_clock(Arc::new(Ticking::from_year(2020)));
        let path = place.path("a.db");
        let db = make_database(&path, 100, 4, 1);
        let full = take(&manager, &path, None).await.unwrap();
        db.insert(entry("new".to_owned(), 1, 4, 2)).unwrap();
        let one = take(&manager, &path, Some(&full)).await.unwrap();
        Self { place, path, manager, full, one }
    }

    /// Why no increment is made, having stored nothing.
    async fn refusal(&self, manager: &SnapshotManager, path: &Path, base: &Snapshot) -> SnapshotError {
        let before = files(&self.place.snapshots());
        let error = take(manager, path, Some(base)).await.unwrap_err();
        assert!(files(&self.place.snapshots()) == before, "something was stored in spite of {error}");
        self.place.assert_scratch_empty();
        error
    }

    /// Why nothing is made on either of the two, both times by the name of the full one.
    async fn assert_refused(&self, what: &str, kind: ErrorKind, parts: &[&str]) {
        for base in [&self.full, &self.one] {
            let error = self.refusal(&self.manager, &self.path, base).await;
            assert_tells(&error, what, kind, &[&[self.full.id.as_str()], parts].concat());
        }
    }

    fn stored(&self) -> Stored {
        Stored::read(&self.place.snapshots(), &self.full.id)
    }
}

#[track_caller]
fn assert_tells(error: &SnapshotError, what: &str, kind: ErrorKind, parts: &[&str]) {
    assert_eq!(error.kind(), kind, "{what}: {error}");
    let text = error.to_string();
    for part in parts {
        assert!(text.contains(part), "{what}: {text:?} does not say {part:?}");
    }
}

#[tokio::test]
async fn a_base_that_is_not_there() {
    let bench = Bench::new().await;
    std::fs::remove_dir_all(bench.stored().dir).unwrap();
    let error = bench.refusal(&bench.manager, &bench.path, &bench.full).await;
    assert_tells(&error, "deleted", ErrorKind::NotFound, &[&bench.full.id, "list"]);
    let error = bench.refusal(&bench.manager, &bench.path, &bench.one).await;
    let parts = [bench.one.id.as_str(), &bench.full.id, "which is not in the store"];
    assert_tells(&error, "deleted below", ErrorKind::Damaged, &parts);
    let mut no_id = bench.full.clone();
    no_id.id = "yesterday".to_owned();
    let error = bench.refusal(&bench.manager, &bench.path, &no_id).await;
    assert_tells(&error, "no id", ErrorKind::Invalid, &["yesterday"]);
}

#[tokio::test]
async fn a_base_whose_files_are_not_as_written() {
    let bench = Bench::new().await;
    let stored = bench.stored();
    let json = stored.file(layout::METADATA_JSON);
    let renamed = String::from_utf8(json.to_vec()).unwrap().replacen("\"increments\"", "\"another\"", 1);
    assert_ne!(renamed.as_bytes(), json);
    for damage in [&json[..0], &json[..json.len() / 2], renamed.as_bytes()] {
        stored.put(layout::METADATA_JSON, damage);
        bench.assert_refused("metadata.json", ErrorKind::Damaged, &["metadata.json"]).await;
    }
    stored.repair();
    for file in DataFile::ALL {
        stored.remove(file.name());
        bench.assert_refused("a missing file", ErrorKind::Damaged, &[file.name(), "missing"]).await;
        stored.put(file.name(), &stored.file(file.name())[1..]);
        bench.assert_refused("a short file", ErrorKind::Damaged, &[file.name(), "bytes, not"]).await;
        stored.repair();
    }
    take(&bench.manager, &bench.path, Some(&bench.one)).await.unwrap();
}

#[tokio::test]
async fn a_base_without_its_list_of_checksums() {
    let bench = Bench::new().await;
    let stored = bench.stored();
    stored.remove(layout::CHECKSUM_SHA256);
    bench.assert_refused("no checksum.sha256", ErrorKind::Damaged, &["choose another base"]).await;
}

#[tokio::test]
async fn a_base_of_a_newer_version() {
    let bench = Bench::new().await;
    let stored = bench.stored();
    let newer = edit(stored.file(layout::METADATA_JSON), |json| json["format_version"] = 2.into());
    stored.put(layout::METADATA_JSON, &newer);
    bench.assert_refused("newer", ErrorKind::Unsupported, &["format version 2", "use a newer"]).await;
}

#[tokio::test]
async fn a_base_of_other_dimensions_or_another_metric() {
    let bench = Bench::new().await;
    let wider = bench.place.path("wider.db");
    drop(make_database(&wider, 100, 5, 1));
    let farther = bench.place.path("farther.db");
    let options = DbOptions { distance_metric: DistanceMetric::Manhattan, ..options(&farther, 4) };
    VectorDB::new(options).unwrap().insert(entry("a".to_owned(), 1, 4, 1)).unwrap();
    for base in [&bench.full, &bench.one] {
        let error = bench.refusal(&bench.manager, &wider, base).await;
        assert_tells(&error, "wider", ErrorKind::Invalid, &[&base.id, "5 dimensions", "4 dim", "take a full snapshot"]);
        let error = bench.refusal(&bench.manager, &farther, base).await;
        assert_tells(&error, "farther", ErrorKind::Invalid, &[&base.id, "Manhattan", "Cosine", "take a full snapshot"]);
    }
}

#[tokio::test]
async fn one_link_more_than_a_chain_may_have() {
    let bench = Bench::new().await;
    let config = SnapshotConfig { max_chain_length: 2, ..bench.place.config() };
    let manager = SnapshotManager::new(config).unwrap().with_clock(Arc::new(Ticking::from_year(2021)));
    let error = bench.refusal(&manager, &bench.path, &bench.one).await;
    let parts = [bench.one.id.as_str(), "3 snapshots", "max_chain_length", "take a full snapshot", "compact"];
    assert_tells(&error, "too long", ErrorKind::Invalid, &parts);
    // What it says helps.
    let compacted = manager.compact_snapshot(&bench.one.id, None).await.unwrap();
    take(&manager, &bench.path, Some(&compacted)).await.unwrap();
}

#[test]
fn a_longest_chain_of_nothing_or_without_end() {
    let place = Place::new();
    for max_chain_length in [0, 1001] {
        let config = SnapshotConfig { max_chain_length, ..place.config() };
        let error = SnapshotManager::new(config).unwrap_err();
        assert_tells(&error, "the settings", ErrorKind::Invalid, &["max_chain_length"]);
    }
}

#[tokio::test]
async fn a_chain_that_comes_back_to_where_it_began() {
    let bench = Bench::new().await;
    let stored = bench.stored();
    for base_id in [&bench.one.id, &bench.full.id] {
        let circle = edit(stored.file(layout::METADATA_JSON), |json| {
            json["snapshot_type"] = serde_json::json!({"incremental": {"base_id": base_id}});
            json["changes"] = serde_json::json!({"added": 100, "changed": 0, "removed": 0});
            json["base_checksum"] = json["checksum"].clone();
        });
        stored.put(layout::METADATA_JSON, &circle);
        bench.assert_refused("a circle", ErrorKind::Damaged, &["older than the snapshot it stands on"]).await;
    }
}

#[tokio::test]
async fn a_base_that_is_dated_in_the_future() {
    let bench = Bench::new().await;
    let earlier = bench.place.manager().with_clock(Arc::new(Ticking::from_year(2019)));
    let error = bench.refusal(&earlier, &bench.path, &bench.full).await;
    assert_tells(&error, "the future", ErrorKind::Invalid, &[&bench.full.id, "future", "check the clocks"]);
}

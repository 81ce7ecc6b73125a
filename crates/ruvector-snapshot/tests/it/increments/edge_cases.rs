//! Extreme databases: vectors without values, and metadata without a vector that exceeds the limits of a record.

use std::path::Path;

use redb_live::{LiveFile, ViewOptions};
use ruvector_core::{VectorDB, VectorEntry};
use ruvector_snapshot::RestoreOptions;
use ruvector_snapshot_format::leaves;
use ruvector_snapshot_format::model::LeafTable;
use test_fixtures::{StoredSnapshot, TestDir, TickingClock, encode_vector, options, rows_of_file};

use super::corrupt_chains::{put_leaves, put_metadata};
use super::fixture::{State, assert_restores, create, make_empty_database};

#[tokio::test]
async fn a_database_without_dimensions_is_restored() {
    let dir = TestDir::new();
    let manager = dir.manager().with_clock(TickingClock::seconds_from_year(2020));
    let path = dir.path("a.db");
    let db = VectorDB::new(options(&path, 0)).unwrap();
    let entry = |id: &str, round: Option<u32>| VectorEntry {
        id: Some(id.to_owned()),
        vector: Vec::new(),
        metadata: round.map(|round| [("round".to_owned(), round.into())].into()),
    };
    db.insert(entry("a", None)).unwrap();
    db.insert(entry("b", Some(1))).unwrap();
    let full = create(&manager, &path, None).await.unwrap();
    db.insert(entry("b", Some(2))).unwrap();
    db.insert(entry("c", None)).unwrap();
    db.delete("a").unwrap();
    let increment = create(&manager, &path, Some(&full)).await.unwrap();
    let changes = increment.changes.unwrap();
    assert_eq!((changes.added, changes.changed, changes.removed), (1, 1, 1));
    assert_eq!(increment.checksum, create(&manager, &path, None).await.unwrap().checksum);
    for snapshot in [&full, &increment] {
        assert!(manager.verify_snapshot(&snapshot.id).await.unwrap());
        manager.restore_snapshot_to(&snapshot.id, dir.restored(), &RestoreOptions::default()).await.unwrap();
        let restored = rows_of_file(&dir.restored());
        assert_eq!(restored.vectors.len(), snapshot.vector_count);
        std::fs::remove_file(dir.restored()).unwrap();
    }
}

/// Makes a database with one record.
fn one_record(path: &Path) -> State {
    make_empty_database(path, 2);
    let mut state = State::default();
    state.vectors.insert("a".to_owned(), encode_vector(&[1.0, 2.0]));
    state.metadata.insert("a".to_owned(), "{}".to_owned());
    state.write_over(&State::default(), path);
    state
}

/// Metadata without a vector belongs to no record. Full snapshots and increments keep it, whatever its size.
#[tokio::test]
async fn metadata_without_a_vector_may_have_any_size() {
    let (long_id, long_text) = ("z".repeat((1 << 20) + 1), format!("{{\"a\":\"{}\"}}", "x".repeat(64 << 20)));
    for (id, text) in [(long_id.as_str(), "{}"), ("z", &long_text), ("z", "no json")] {
        let dir = TestDir::new();
        let manager = dir.manager().with_clock(TickingClock::seconds_from_year(2020));
        let path = dir.path("a.db");
        let mut state = one_record(&path);
        let full = create(&manager, &path, None).await.unwrap();
        let before = state.clone();
        state.metadata.insert(id.to_owned(), text.to_owned());
        state.write_over(&before, &path);
        let increment = create(&manager, &path, Some(&full)).await.unwrap();
        assert_eq!((increment.vector_count, increment.irregular.map(|of| of.records)), (1, Some(1)));
        assert_eq!(increment.checksum, create(&manager, &path, None).await.unwrap().checksum);
        assert_ne!(increment.checksum, full.checksum);
        assert!(manager.verify_snapshot(&increment.id).await.unwrap());
        assert_restores(&manager, &dir, &increment.id, &state).await;
    }
}

/// Earlier versions left out metadata without a vector, but counted it in the leaf tables, and recorded no host. Their
/// leaf tables must not hide such rows from the next increment.
#[tokio::test]
async fn an_increment_on_a_snapshot_of_an_earlier_version_captures_metadata_without_a_vector() {
    let dir = TestDir::new();
    let manager = dir.manager().with_clock(TickingClock::seconds_from_year(2020));
    let path = dir.path("a.db");
    let mut state = one_record(&path);
    let base = create(&manager, &path, None).await.unwrap();
    let before = state.clone();
    state.metadata.insert("lost".to_owned(), "{}".to_owned());
    state.write_over(&before, &path);

    let view = LiveFile::open(&path).unwrap().view(&ViewOptions::default()).unwrap();
    let tables = ["vectors", "metadata"].map(|name| {
        let (mut leaves, mut table) = (view.table(name).unwrap().unwrap().leaves(), LeafTable::default());
        while let Some(leaf) = leaves.next_leaf().unwrap() {
            table.push(leaf.checksum(), leaf.len() as u32, std::str::from_utf8(leaf.key(0)).unwrap());
        }
        table
    });
    let stored = StoredSnapshot::read(&dir.snapshots(), &base.id);
    put_leaves(&stored, &leaves::encode(&tables, None));
    put_metadata(&StoredSnapshot::read(&dir.snapshots(), &base.id), |json| {
        for recorded in ["host", "path", "device", "inode"] {
            json["source"].as_object_mut().unwrap().remove(recorded);
        }
    });

    let increment = create(&manager, &path, Some(&base)).await.unwrap();
    assert_eq!(increment.irregular.as_ref().map(|rows| rows.records), Some(1));
    assert_eq!(increment.checksum, create(&manager, &path, None).await.unwrap().checksum);
    assert_restores(&manager, &dir, &increment.id, &state).await;
}

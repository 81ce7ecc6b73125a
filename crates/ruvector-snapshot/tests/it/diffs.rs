//! Diffs of two snapshots: what has changed of which records, what is read for that, and what is corrupt.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::TimeDelta;
use futures::TryStreamExt as _;
use ruvector_core::types::{DbOptions, DistanceMetric};
use ruvector_core::{VectorDB, VectorEntry};
use ruvector_snapshot::store::SnapshotStore;
use ruvector_snapshot::{
    CopyOptions, CopySelection, DiffEntry, DiffOptions, DiffSummary, ErrorKind, RecordChange, Result, Snapshot,
    SnapshotManager,
};
use ruvector_snapshot_format::layout::{self, DataFile};
use test_fixtures::{
    CountingStore, StoredSnapshot, TestDir, TickingClock, create_full, edit_metadata, encode_vector,
    flip_bit_in_the_middle, json_object, local_store, memory_store, options,
};
use test_servers::S3Server;

use crate::common::bucket_stores::s3_store;
use crate::common::three_snapshots::key;
use crate::increments::fixture::{Random, State, create_from_elsewhere, make_empty_database};

const DIMENSIONS: usize = 4;

type Changes = BTreeMap<String, RecordChange>;

async fn diff(first: (&SnapshotManager, &str), second: (&SnapshotManager, &str)) -> Result<(Changes, DiffSummary)> {
    let mut diff = first.0.diff(first.1, second.0, second.1, &DiffOptions::default()).await?;
    assert!(diff.summary().is_none());
    let mut entries: Vec<DiffEntry> = Vec::new();
    while let Some(entry) = diff.try_next().await? {
        entries.push(entry);
    }
    assert!(entries.is_sorted_by(|one, next| one.id < next.id));
    let summary = diff.summary().unwrap().clone();
    Ok((entries.into_iter().map(|entry| (entry.id, entry.change)).collect(), summary))
}

/// What has changed from one state to another one.
fn expected(first: &State, second: &State) -> Changes {
    let ids = first.vectors.keys().chain(second.vectors.keys());
    let change = |id: &String| {
        let of = |state: &State| (state.vectors.get(id).cloned(), state.metadata.get(id).cloned());
        let ((vector, metadata), (other_vector, other_metadata)) = (of(first), of(second));
        match (vector.is_some(), other_vector.is_some()) {
            (false, _) => Some(RecordChange::Added),
            (_, false) => Some(RecordChange::Removed),
            _ => match (vector == other_vector, metadata == other_metadata) {
                (true, true) => None,
                (true, false) => Some(RecordChange::Metadata),
                (false, true) => Some(RecordChange::Vector),
                (false, false) => Some(RecordChange::VectorAndMetadata),
            },
        }
    };
    ids.filter_map(|id| Some((id.clone(), change(id)?))).collect()
}

#[track_caller]
fn assert_summary(summary: &DiffSummary, changes: &Changes, second: &State) {
    let count = |wanted| changes.values().filter(|change| **change == wanted).count() as u64;
    assert_eq!(
        [summary.added, summary.removed, summary.vector_changed, summary.metadata_changed],
        [RecordChange::Added, RecordChange::Removed, RecordChange::Vector, RecordChange::Metadata].map(count)
    );
    assert_eq!(summary.vector_and_metadata_changed, count(RecordChange::VectorAndMetadata));
    let added_or_changed = changes.len() as u64 - summary.removed;
    assert_eq!(summary.unchanged, second.vectors.len() as u64 - added_or_changed);
    assert_eq!((summary.differences(), summary.is_equal()), (changes.len() as u64, changes.is_empty()));
}

/// Changes a state here and there: values that come back to what they were are among them.
fn changed(state: &State, random: &mut Random, changes: usize) -> State {
    let mut state = state.clone();
    for _ in 0..changes {
        let id = format!("id/{:03}", random.below(120));
        let vector = encode_vector(&[random.below(2) as f32; DIMENSIONS]);
        let text = format!("{{\"n\":{}}}", random.below(2));
        match random.below(7) {
            0 | 1 => drop(state.vectors.insert(id, vector)),
            2 | 3 if state.vectors.contains_key(&id) => drop(state.metadata.insert(id, text)),
            4 => drop(state.metadata.remove(&id)),
            5 => {
                state.vectors.remove(&id);
                state.metadata.remove(&id);
            }
            _ => {
                state.vectors.insert(id.clone(), vector);
                state.metadata.insert(id, text);
            }
        }
    }
    state
}

/// States, and a snapshot of each in a store: two chains of the same database, whose branches have a common ancestor, and
/// a full snapshot.
async fn branches(manager: &SnapshotManager, dir: &TestDir, seed: u64) -> Vec<(State, Snapshot)> {
    let mut random = Random::new(seed);
    let mut made: Vec<(State, Snapshot)> = Vec::new();
    // The number is that of the base.
    for (at, base) in [None, Some(0), Some(1), Some(2), Some(1), Some(4), None, Some(6)].into_iter().enumerate() {
        let path = dir.path(&format!("{seed}-{at}.db"));
        make_empty_database(&path, DIMENSIONS);
        let base = base.map(|base: usize| made[base].clone());
        let before = base.as_ref().map_or_else(State::default, |(state, _)| state.clone());
        let state = changed(&before, &mut random, if base.is_none() { 200 } else { 12 });
        state.write_over(&State::default(), &path);
        let base = base.map(|(_, snapshot)| snapshot);
        let snapshot = create_from_elsewhere(manager, &path, base.as_ref()).await.unwrap();
        made.push((state, snapshot));
    }
    made
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_two_snapshots_differ_as_their_databases_do() {
    let server = S3Server::start();
    let dir = TestDir::new();
    for (seed, store) in
        [(1, memory_store()), (2, memory_store()), (3, local_store(&dir.snapshots())), (4, s3_store(&server, "diffs"))]
    {
        let clock = TickingClock::from_year(2020, TimeDelta::minutes(1));
        let manager = dir.manager_with_store(store.clone()).with_clock(clock);
        let made = branches(&manager, &dir, seed).await;
        // The same snapshots in another store, and one of them compacted.
        let other = dir.manager_with_store(memory_store());
        let copied = manager.plan_copy(&other, &CopySelection::All, &CopyOptions::default()).await.unwrap();
        manager.apply_copy(&other, &copied, None).await.unwrap();
        let full = other.compact_snapshot(&made[3].1.id, None).await.unwrap();
        for (number, (first, snapshot)) in made.iter().enumerate() {
            for (second, other_snapshot) in &made {
                let (ids, changes) = ((&snapshot.id, &other_snapshot.id), expected(first, second));
                // The pairs of each first snapshot are in different stores in turn.
                let right = if number % 2 == 0 { &manager } else { &other };
                let (found, summary) = diff((&manager, ids.0), (right, ids.1)).await.unwrap();
                assert_eq!(found, changes, "seed {seed}, {ids:?}");
                assert_summary(&summary, &found, second);
            }
            let (found, _) = diff((&other, &full.id), (&manager, &snapshot.id)).await.unwrap();
            assert_eq!(found, expected(&made[3].0, first), "seed {seed}, compacted and {number}");
        }
    }
}

/// More differences than are compared together, and blocks of several of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_differences_are_found_in_order() {
    let dir = TestDir::new();
    let manager = dir.manager_with_store(memory_store());
    let state = |number: usize| {
        let mut state = State::default();
        for row in (0..20_000).filter(|row| row % 7 != number) {
            let id = format!("row-{row:06}");
            let changed = if row % 3 == 0 { number } else { 0 };
            state.vectors.insert(id.clone(), encode_vector(&[changed as f32; DIMENSIONS]));
            state.metadata.insert(id, format!("{{\"text\":\"{:0>200}\"}}", if row % 5 == 0 { number } else { 0 }));
        }
        state
    };
    let (states, mut ids) = ([state(1), state(2)], Vec::new());
    for (number, state) in states.iter().enumerate() {
        let path = dir.path(&format!("{number}.db"));
        make_empty_database(&path, DIMENSIONS);
        state.write_over(&State::default(), &path);
        ids.push(create_full(&manager, &path, "many").await.unwrap().id);
    }
    let (found, summary) = diff((&manager, &ids[0]), (&manager, &ids[1])).await.unwrap();
    assert!(found == expected(&states[0], &states[1]) && found.len() > 10_000);
    assert_summary(&summary, &found, &states[1]);
}

/// Bytes that were read of each data file of a snapshot.
fn bytes_of(read: &BTreeMap<String, u64>, id: &str) -> [u64; 3] {
    DataFile::ALL.map(|file| read.get(&key(id, file.name())).copied().unwrap_or_default())
}

#[tokio::test]
async fn only_what_decides_is_read() {
    let dir = TestDir::new();
    let store = CountingStore::over(memory_store());
    let manager = dir.manager_with_store(store.clone());
    let path = dir.path("a.db");
    make_empty_database(&path, 64);
    let mut state = State::default();
    for row in 0..30_000 {
        let id = format!("row-{row:06}");
        let vector = Random::new(row + 1).vector(64);
        state.vectors.insert(id.clone(), encode_vector(&vector));
        state.metadata.insert(id, format!("{{\"n\":{row}}}"));
    }
    state.write_over(&State::default(), &path);
    let take = async |base: Option<&Snapshot>| create_from_elsewhere(&manager, &path, base).await.unwrap();
    let full = take(None).await;
    let change = |state: &State, metadata: Option<&str>, vector: Option<f32>| {
        let mut after = state.clone();
        let id = "row-020000".to_owned();
        metadata.iter().for_each(|text| drop(after.metadata.insert(id.clone(), (*text).to_owned())));
        vector.iter().for_each(|value| drop(after.vectors.insert(id.clone(), encode_vector(&[*value; 64]))));
        after.write_over(state, &path);
        after
    };
    let after = change(&state, Some("{\"n\":-1}"), None);
    let metadata_only = take(Some(&full)).await;
    let after = change(&after, None, Some(1.0));
    let vector_too = take(Some(&metadata_only)).await;
    let unrelated = take(None).await;
    change(&after, None, Some(2.0));
    let vector_only = take(None).await;
    let of = async |first: &Snapshot, second: &Snapshot| {
        store.take_bytes_read();
        let (found, _) = diff((&manager, &first.id), (&manager, &second.id)).await.unwrap();
        assert!(found.len() < 2, "{found:?}");
        (found.into_values().next(), store.take_bytes_read())
    };

    // Equal contents: nothing but metadata.json.
    let (change, read) = of(&vector_too, &unrelated).await;
    assert_eq!(change, None);
    assert!(read.keys().all(|key| key.ends_with(layout::METADATA_JSON)), "{read:?}");
    // The row of the increment says that the vector is the same, and one block of the base has the record.
    let (change, read) = of(&full, &metadata_only).await;
    assert_eq!(change, Some(RecordChange::Metadata));
    let [vectors, index, metadata] = bytes_of(&read, &full.id);
    assert!(vectors == 0 && metadata == 0 && index * 3 < full.files[DataFile::Index.name()], "{read:?}");
    assert_eq!(bytes_of(&read, &metadata_only.id)[0], 0);
    // The metadata is the same, so the vector is not.
    let (change, read) = of(&metadata_only, &vector_too).await;
    assert_eq!(change, Some(RecordChange::Vector));
    assert!([&full, &metadata_only, &vector_too].iter().all(|one| bytes_of(&read, &one.id)[0] == 0), "{read:?}");
    let (change, read) = of(&unrelated, &vector_only).await;
    assert_eq!(change, Some(RecordChange::Vector));
    for one in [&unrelated, &vector_only] {
        let [vectors, _, metadata] = bytes_of(&read, &one.id);
        assert!(vectors == 0 && metadata * 3 < one.files[DataFile::Payloads.name()], "{read:?}");
    }
    // Both have changed: the vectors of one block of the increment, and none of the full snapshot.
    let (change, read) = of(&full, &vector_too).await;
    assert_eq!(change, Some(RecordChange::VectorAndMetadata));
    assert!(bytes_of(&read, &full.id)[0] == 0 && bytes_of(&read, &vector_too.id)[0] > 0, "{read:?}");
}

#[tokio::test]
async fn large_metadata_is_compared_too() {
    let dir = TestDir::new();
    let manager = dir.manager_with_store(memory_store());
    let path = dir.path("a.db");
    let texts = [("x", 1.0, 5 << 20), ("y", 1.0, 5 << 20), ("y", 2.0, 5 << 20), ("z", 3.0, 10), ("z", 3.0, 5 << 20)];
    let mut ids: Vec<Snapshot> = Vec::new();
    for (text, value, bytes) in texts {
        let metadata = json_object(serde_json::json!({ "text": text.repeat(bytes) }));
        let db = VectorDB::new(options(&path, DIMENSIONS)).unwrap();
        db.insert(VectorEntry { id: Some("large".to_owned()), vector: vec![value; DIMENSIONS], metadata }).unwrap();
        drop(db);
        let base = ids.last();
        ids.push(create_from_elsewhere(&manager, &path, base).await.unwrap());
    }
    use RecordChange::{Metadata, Vector, VectorAndMetadata};
    let cases =
        [(0, 1, Metadata), (1, 2, Vector), (0, 2, VectorAndMetadata), (2, 3, VectorAndMetadata), (3, 4, Metadata)];
    for (first, second, change) in cases {
        for (one, other) in [(first, second), (second, first)] {
            let (found, _) = diff((&manager, &ids[one].id), (&manager, &ids[other].id)).await.unwrap();
            assert_eq!(found.into_iter().collect::<Vec<_>>(), [("large".to_owned(), change)], "{one} and {other}");
        }
    }
}

/// Makes a database with one record, and a snapshot of it.
async fn snapshot_of(manager: &SnapshotManager, dir: &TestDir, options: DbOptions, records: usize) -> Snapshot {
    let dimensions = options.dimensions;
    let path = dir.path(&format!("{dimensions}-{:?}-{records}.db", options.distance_metric));
    let db = VectorDB::new(DbOptions { storage_path: path.display().to_string(), ..options }).unwrap();
    for number in 0..records {
        let id = Some(format!("record-{number}"));
        db.insert(VectorEntry { id, vector: vec![1.0; dimensions], metadata: None }).unwrap();
    }
    drop(db);
    create_full(manager, &path, "shape").await.unwrap()
}

#[tokio::test]
async fn a_change_of_the_database_is_no_error() {
    let dir = TestDir::new();
    let manager = dir.manager_with_store(memory_store());
    let with = |dimensions, metric| DbOptions { distance_metric: metric, ..options(dir.path("x"), dimensions) };
    let four = snapshot_of(&manager, &dir, with(4, DistanceMetric::Cosine), 2).await;
    let eight = snapshot_of(&manager, &dir, with(8, DistanceMetric::Cosine), 3).await;
    let euclidean = snapshot_of(&manager, &dir, with(4, DistanceMetric::Euclidean), 2).await;
    let empty = snapshot_of(&manager, &dir, with(4, DistanceMetric::Cosine), 0).await;

    let (found, summary) = diff((&manager, &four.id), (&manager, &eight.id)).await.unwrap();
    assert_eq!(
        found.into_values().collect::<Vec<_>>(),
        [RecordChange::Vector, RecordChange::Vector, RecordChange::Added]
    );
    assert!(!summary.has_same_shape() && !summary.is_equal());
    assert_eq!((summary.first.dimensions, summary.second.dimensions), (4, 8));
    let (found, summary) = diff((&manager, &four.id), (&manager, &euclidean.id)).await.unwrap();
    assert!(found.is_empty() && summary.unchanged == 2 && !summary.is_equal(), "{summary:?}");
    assert_eq!(summary.second.distance_metric.as_deref(), Some("Euclidean"));
    let (found, summary) = diff((&manager, &four.id), (&manager, &empty.id)).await.unwrap();
    assert_eq!((found.len(), summary.removed, summary.unchanged), (2, 2, 0));
    for same in [&empty, &four] {
        let (found, summary) = diff((&manager, &same.id), (&manager, &same.id)).await.unwrap();
        assert!(found.is_empty() && summary.is_equal() && summary.unchanged == summary.first.records);
    }
}

#[tokio::test]
async fn other_irregular_rows_are_reported() {
    let dir = TestDir::new();
    let manager = dir.manager_with_store(memory_store());
    let mut ids = Vec::new();
    for text in ["no JSON", "still no JSON", "no JSON"] {
        let path = dir.path(&format!("{}.db", ids.len()));
        make_empty_database(&path, DIMENSIONS);
        let mut state = State::default();
        for id in ["a", "b"] {
            state.vectors.insert(id.to_owned(), encode_vector(&[1.0; DIMENSIONS]));
        }
        state.metadata.insert("a".to_owned(), text.to_owned());
        state.write_over(&State::default(), &path);
        ids.push(create_full(&manager, &path, "irregular").await.unwrap().id);
    }
    let (found, summary) = diff((&manager, &ids[0]), (&manager, &ids[1])).await.unwrap();
    assert!(found.is_empty() && summary.irregular_rows_differ && !summary.is_equal(), "{summary:?}");
    assert!(diff((&manager, &ids[0]), (&manager, &ids[2])).await.unwrap().1.is_equal());
}

/// Two full snapshots with one difference, and an increment on the first one, in a directory.
async fn in_directory(dir: &TestDir) -> (SnapshotManager, Vec<Snapshot>) {
    let manager = dir.manager();
    let (path, mut made) = (dir.path("a.db"), Vec::new());
    make_empty_database(&path, DIMENSIONS);
    let mut before = State::default();
    for number in 0..3 {
        let mut state = before.clone();
        for row in 0..300 {
            let value = if row == 7 { number as f32 } else { 9.0 };
            state.vectors.insert(format!("row-{row:03}"), encode_vector(&[value; DIMENSIONS]));
            state
                .metadata
                .insert(format!("row-{row:03}"), format!("{{\"n\":{}}}", if row == 7 { number } else { row }));
        }
        state.write_over(&before, &path);
        before = state;
        let base = if number == 1 { made.first() } else { None };
        made.push(create_from_elsewhere(&manager, &path, base).await.unwrap());
    }
    (manager, made)
}

#[tokio::test]
async fn what_is_corrupt_is_named_and_nothing_is_said_to_be_equal() {
    let dir = TestDir::new();
    let (manager, made) = in_directory(&dir).await;
    let error_of = async |first: usize, second: usize| -> String {
        let error = diff((&manager, &made[first].id), (&manager, &made[second].id)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        error.to_string()
    };
    for file in [DataFile::Index, DataFile::Payloads] {
        let stored = StoredSnapshot::read(&dir.snapshots(), &made[2].id);
        let mut bytes = stored.file(file.name()).to_vec();
        let piece = stored.entries()[0].range(file);
        bytes[piece.start as usize + 12] ^= 1;
        stored.put(file.name(), &bytes);
        let text = error_of(0, 2).await;
        assert!(text.starts_with(&key(&made[2].id, file.name())), "{text}");
        stored.repair();
    }
    // A seal and every CRC-32 is right, but the index has other rows than the content checksum.
    let stored = StoredSnapshot::read(&dir.snapshots(), &made[2].id);
    let forged = edit_metadata(stored.file(layout::METADATA_JSON), |json| json["checksum"] = "00".repeat(32).into());
    stored.put(layout::METADATA_JSON, &forged);
    assert!(error_of(0, 2).await.contains("content checksum of the rows in the index"));
    stored.repair();
    flip_bit_in_the_middle(&dir.snapshots().join(layout::prefix(&made[0].id)).join(layout::METADATA_JSON));
    error_of(1, 2).await;
    StoredSnapshot::read(&dir.snapshots(), &made[0].id).remove(layout::METADATA_JSON);
    assert!(error_of(1, 2).await.contains(&made[0].id));
    let missing = diff((&manager, &made[0].id), (&manager, &made[2].id)).await.unwrap_err();
    // What was found corrupt in it before shows that it existed.
    assert_eq!(missing.kind(), ErrorKind::Corrupt);
}

/// The content checksums are the same, but one of the two has lost data: it, or its base.
#[tokio::test]
async fn a_snapshot_that_has_lost_a_file_is_not_said_to_be_equal() {
    let (dir, offsite) = (TestDir::new(), TestDir::new());
    let (manager, made) = in_directory(&dir).await;
    let other = offsite.manager();
    let plan = manager.plan_copy(&other, &CopySelection::All, &CopyOptions::default()).await.unwrap();
    assert!(manager.apply_copy(&other, &plan, None).await.unwrap().is_complete());
    let id = &made[1].id;
    for file in DataFile::ALL {
        let stored = StoredSnapshot::read(&offsite.snapshots(), &made[0].id);
        for is_missing in [true, false] {
            stored.put(file.name(), b"");
            if is_missing {
                stored.remove(file.name());
            }
            for (first, second) in [(&manager, &other), (&other, &manager), (&other, &other)] {
                let error = diff((first, id), (second, id)).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
                assert!(error.to_string().starts_with(&key(&made[0].id, file.name())), "{error}");
            }
            stored.repair();
        }
    }
    let (changes, summary) = diff((&manager, id), (&other, id)).await.unwrap();
    assert!(changes.is_empty() && summary.is_equal());
}

/// Each of the reads fails once. Nothing is counted after that.
#[tokio::test]
async fn a_read_that_fails_is_no_difference() {
    let dir = TestDir::new();
    let (_, made) = in_directory(&dir).await;
    let inner: Arc<dyn SnapshotStore> = dir.local_store();
    for (at, snapshot) in made.iter().enumerate() {
        for file in [DataFile::Index.name(), DataFile::Payloads.name(), layout::METADATA_JSON] {
            let store = CountingStore::with_unreachable_key(inner.clone(), key(&snapshot.id, file));
            let manager = dir.manager_with_store(store);
            let (first, second) = if at == 0 { (0, 2) } else { (at, 0) };
            let failed = diff((&manager, &made[first].id), (&manager, &made[second].id)).await;
            assert_eq!(failed.unwrap_err().kind(), ErrorKind::Unavailable, "{at} {file}");
        }
    }
}

//! Names, ids and times: which snapshot an id or a name selects, which names and user data are accepted, and how
//! snapshots of a newer format version are protected.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, TimeDelta, TimeZone as _, Utc};
use ruvector_core::{VectorDB, VectorEntry};
use ruvector_snapshot::clock::Clock;
use ruvector_snapshot::store::testing::fault::FaultStore;
use ruvector_snapshot::{CreateOptions, ErrorKind, Labels, RawJson, RestoreOptions, Result, Snapshot, SnapshotManager};
use ruvector_snapshot_format::id::SnapshotId;
use ruvector_snapshot_format::layout;
use serde_json::{Value, json};
use test_fixtures::{
    CONFIG, CountingStore, FixedClock, METADATA, StoredSnapshot, TestDir, VECTORS, create_full, edit_metadata,
    make_database, names, options,
};

fn dir_with_database() -> (TestDir, SnapshotManager) {
    let dir = TestDir::new();
    drop(make_database(&dir.path("a.db"), 20, 4, 1));
    let manager = dir.manager();
    (dir, manager)
}

async fn create(dir: &TestDir, manager: &SnapshotManager, name: &str) -> Snapshot {
    create_full(manager, &dir.path("a.db"), name).await.unwrap()
}

// ---- user data and databases beyond the limits

fn nested(depth: usize) -> Value {
    (0..depth).fold(Value::Null, |inner, _| json!([inner]))
}

#[tokio::test]
async fn user_json_beyond_the_limits_is_refused_before_the_store_is_used() {
    let (dir, _) = dir_with_database();
    let (store, steps) = FaultStore::over(dir.local_store(), []);
    let manager = dir.manager_with_store(store);
    let large = "x".repeat((512 << 10) + 1);
    let with_metadata = |metadata: Value| CreateOptions::default().metadata(metadata);
    let cases = [
        with_metadata(nested(200)),
        with_metadata(json!(large)),
        with_metadata(json!({ "list": [large] })),
        CreateOptions::default().label("k", large),
    ];
    for invalid in cases {
        let error = manager.create_snapshot_of_file(dir.path("a.db"), "refused", &invalid).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
        let db = VectorDB::new(options("memory://refused", 4)).unwrap();
        let error = manager.create_snapshot_with(&db, "refused", &invalid).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
    }
    assert_eq!(steps.log(), [], "the store was used");
    dir.assert_no_snapshots();
}

/// The exact limits do not matter: user JSON is either stored and read back, or refused without leaving an object.
#[tokio::test]
async fn user_json_near_the_limits_is_stored_completely_or_not_at_all() {
    let (dir, manager) = dir_with_database();
    let mut accepted = Vec::new();
    let deep = (120..=130).map(nested);
    let long = [(512 << 10) - 100, (512 << 10) + 100].map(|length| json!("x".repeat(length)));
    // With indentation, these would exceed the size limit of metadata.json.
    let wide = [json!(vec![1; 200_000]), json!(vec![vec![1]; 100_000])];
    for metadata in deep.chain(long).chain(wide) {
        let options = CreateOptions::default().metadata(metadata.clone());
        let made = manager.create_snapshot_of_file(dir.path("a.db"), "near", &options).await;
        manager.wait_for_cleanup().await;
        match made {
            Ok(made) => {
                assert!(manager.verify_snapshot(&made.id).await.unwrap());
                let read = manager.get_snapshot(&made.id).await.unwrap().unwrap().metadata;
                assert_eq!(read.as_ref().unwrap(), &metadata);
                // A listing leaves large JSON out.
                let listed = manager.list_snapshots().await.unwrap()[0].metadata.clone();
                assert_eq!(listed, read.filter(|json| json.get().len() <= 4 << 10));
                manager.delete_snapshot(&made.id).await.unwrap();
                accepted.push(true);
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
                accepted.push(false);
            }
        }
        dir.assert_no_snapshots();
    }
    assert!(accepted[0] && !accepted[10], "the depths do not include the limit: {accepted:?}");
    assert_eq!(accepted[11..], [true, false, true, true]);
}

#[tokio::test]
async fn a_database_beyond_the_limits_is_refused_and_leaves_no_objects() {
    let (dir, manager) = dir_with_database();
    let row = serde_json::to_string(&options("elsewhere.db", 20_000_000)).unwrap();
    let database = redb::Database::create(dir.path("vast.db")).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(VECTORS).unwrap();
    transaction.open_table(METADATA).unwrap();
    transaction.open_table(CONFIG).unwrap().insert("__ruvector_db_config__", row.as_str()).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let error = create_full(&manager, &dir.path("vast.db"), "vast").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
    assert!(error.to_string().contains("20000000 dimensions"), "{error}");
    manager.wait_for_cleanup().await;
    dir.assert_no_snapshots();
    dir.assert_scratch_empty();
}

// ---- snapshots of a newer format version

#[tokio::test]
async fn a_snapshot_that_one_of_a_newer_format_may_depend_on_is_not_deleted() {
    for newer in ["an increment of version 3", "version 3", "version 3 with another seal"] {
        let (dir, manager) = dir_with_database();
        let base = create(&dir, &manager, "base").await.id;
        let old = create(&dir, &manager, "old").await.id;
        let foreign = StoredSnapshot::read(&dir.snapshots(), &create(&dir, &manager, "foreign").await.id);
        let honest = foreign.file(layout::METADATA_JSON);
        let metadata_json = match newer {
            "an increment of version 3" => edit_metadata(honest, |json| {
                json["format_version"] = json!(3);
                json["snapshot_type"] = json!({ "incremental": { "base_id": base } });
            }),
            "version 3" => edit_metadata(honest, |json| json["format_version"] = json!(3)),
            _ => br#"{"format":"ruvector-snapshot","format_version":3,"anything":[]}"#.to_vec(),
        };
        foreign.put(layout::METADATA_JSON, &metadata_json);
        let before = names(&dir.snapshots());

        let listing = manager.list().await.unwrap();
        assert_eq!(listing.snapshots.len(), 2, "{newer}");
        let [unusable] = &listing.unusable[..] else { panic!("{newer}: {:?}", listing.unusable) };
        assert_eq!((unusable.id.as_str(), unusable.error.kind()), (foreign.id.as_str(), ErrorKind::Unsupported));
        assert_eq!(manager.list_snapshots().await.unwrap_err().kind(), ErrorKind::Unsupported);

        let errors = [
            manager.delete_snapshot(&base).await.err(),
            manager.delete_snapshot(&old).await.err(),
            manager.plan_cleanup(1).await.err(),
            manager.cleanup_old_snapshots(1).await.err(),
        ];
        for error in errors {
            let error = error.unwrap_or_else(|| panic!("{newer}: not refused"));
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{newer}: {error:?}");
            assert!(error.message().contains(foreign.id.as_str()), "{newer}: {error}");
        }
        assert_eq!(names(&dir.snapshots()), before, "{newer}");
        for id in [&base, &old] {
            assert!(manager.verify_snapshot(id).await.unwrap());
        }

        manager.delete_snapshot(foreign.id.as_str()).await.unwrap();
        assert!(!foreign.dir.exists());
        assert_eq!(manager.cleanup_old_snapshots(1).await.unwrap(), 1);
        assert_eq!(names(&dir.snapshots()), [format!("snapshot-{old}")]);
    }
}

// ---- which snapshot is selected

#[tokio::test]
async fn the_newest_snapshot_is_selected_even_if_it_is_corrupt() {
    let (dir, manager) = dir_with_database();
    for _ in 0..2 {
        create(&dir, &manager, "nightly").await;
    }
    let newest = StoredSnapshot::read(&dir.snapshots(), &create(&dir, &manager, "nightly").await.id);
    for file in ["vectors.bin.gz", "index.bin.gz", "metadata.bin.gz", "checksum.sha256"] {
        newest.remove(file);
        for text in ["latest", "nightly"] {
            let id = manager.resolve(text).await.unwrap();
            assert_eq!(id, newest.id.as_str(), "{text} without {file}");
            assert!(!manager.verify_snapshot(&id).await.unwrap());
            if file == "checksum.sha256" {
                continue;
            }
            assert_eq!(manager.restore_snapshot(&id).await.err().unwrap().kind(), ErrorKind::Corrupt);
            let restored = manager.restore_snapshot_to(&id, dir.restored(), &RestoreOptions::default()).await;
            assert_eq!(restored.unwrap_err().kind(), ErrorKind::Corrupt);
            dir.assert_nothing_restored();
        }
        newest.repair();
    }
    // The name of this snapshot is unreadable. Its id still shows that it is the newest.
    newest.put(layout::METADATA_JSON, b"{");
    assert_eq!(manager.resolve("latest").await.unwrap(), newest.id.as_str());
    let error = manager.resolve("nightly").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Ambiguous, "{error:?}");
    assert!(error.to_string().contains(newest.id.as_str()), "{error}");
}

#[tokio::test]
async fn a_complete_id_is_resolved_without_reading_other_snapshots() {
    let (dir, manager) = dir_with_database();
    let wanted = create(&dir, &manager, "wanted").await;
    let away = create(&dir, &manager, "away").await;
    let key = layout::key(&away.id.parse().unwrap(), layout::METADATA_JSON);
    let manager = dir.manager_with_store(CountingStore::with_unreachable_key(dir.local_store(), key));
    assert_eq!(manager.list().await.unwrap().unusable[0].error.kind(), ErrorKind::Unavailable);
    assert_eq!(manager.resolve(&wanted.id).await.unwrap(), wanted.id);
    assert_eq!(manager.restore_snapshot(&wanted.id).await.unwrap().len().unwrap(), 20);
    assert!(manager.verify_snapshot(&wanted.id).await.unwrap());
    manager.restore_snapshot_to(&wanted.id, dir.restored(), &RestoreOptions::default()).await.unwrap();
    assert_eq!(manager.resolve("latest").await.unwrap(), away.id, "an older snapshot must not pass for the latest");
    assert_eq!(manager.resolve(&away.id).await.unwrap(), away.id);
    assert_eq!(manager.restore_snapshot(&away.id).await.err().unwrap().kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_date_is_a_name_before_it_is_the_start_of_another_id() {
    let (dir, manager) = dir_with_database();
    let at = |year| manager.clone().with_clock(fixed_clock(Utc.with_ymd_and_hms(year, 1, 2, 3, 4, 5).unwrap()));
    let named = create(&dir, &at(2030), "2031").await.id;
    assert_eq!(manager.resolve("2031").await.unwrap(), named);
    let other = create(&dir, &at(2031), "2031 and more").await.id;
    assert_eq!(manager.resolve("2031").await.unwrap(), named);
    assert_eq!(manager.resolve("2031 and more").await.unwrap(), other);
    assert_eq!(manager.resolve("20310102").await.unwrap(), other);
    // Not ambiguous: the name and the id prefix select the same snapshot.
    let both = create(&dir, &at(2032), "2032").await.id;
    assert_eq!(manager.resolve("2032").await.unwrap(), both);
    assert_eq!(manager.resolve("").await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn names_that_would_be_read_as_latest_or_as_an_id_are_refused() {
    let (dir, manager) = dir_with_database();
    let db = VectorDB::new(options("memory://refused", 4)).unwrap();
    let like_ids = ["20260131T080000000Z-0123456789abcdef", "20260131T080000000Z-0123456789abcde", "20260131T08"];
    for name in ["latest", "nightly ", like_ids[0], like_ids[1], like_ids[2]] {
        let error = create_full(&manager, &dir.path("a.db"), name).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{name}");
        assert_eq!(manager.create_snapshot(&db, name).await.unwrap_err().kind(), ErrorKind::InvalidInput, "{name}");
    }
    dir.assert_no_snapshots();
    for name in ["Latest", "latest one", "20260131T080000000Z-0123456789abcdeg"] {
        let made = create(&dir, &manager, name).await;
        assert_eq!(manager.resolve(name).await.unwrap(), made.id);
    }
}

#[tokio::test]
async fn an_unknown_or_malformed_id_is_refused() {
    let (dir, manager) = dir_with_database();
    create(&dir, &manager, "one").await;
    let unknown = "20260131T080000000Z-0123456789abcdef";
    assert_eq!(manager.restore_snapshot(unknown).await.err().unwrap().kind(), ErrorKind::NotFound);
    assert_eq!(manager.delete_snapshot(unknown).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert!(manager.get_snapshot(unknown).await.unwrap().is_none());
    for malformed in ["", "..", "../x", "latest", "a/b", "\0"] {
        assert_eq!(manager.restore_snapshot(malformed).await.err().unwrap().kind(), ErrorKind::InvalidInput);
        assert_eq!(manager.delete_snapshot(malformed).await.unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(manager.verify_snapshot(malformed).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}

// ---- names, labels and user metadata

#[tokio::test]
async fn names_labels_and_user_metadata_are_stored_as_given() {
    let dir = TestDir::new();
    let path = dir.path("a.db");
    drop(make_database(&path, 5, 2, 1));
    let manager = dir.manager();
    let longest = "é".repeat(512);
    for name in ["backup-2024-01", "../../etc/passwd", "日本語 🦀", "a\\b\"c", longest.as_str()] {
        let options = CreateOptions::default()
            .label("ключ", "value / \"x\"")
            .label("", "")
            .metadata(json!({"any": [1, 2.5, null, {"x": "y"}], "big": u64::MAX}));
        let made = manager.create_snapshot_of_file(&path, name, &options).await.unwrap();
        assert_eq!(made.name, name);
        assert_eq!(
            (&made.labels, made.metadata.as_ref().unwrap()),
            (&Labels::from(&options.labels), &RawJson::new(&options.metadata).unwrap())
        );
        assert_eq!(manager.get_snapshot(&made.id).await.unwrap().unwrap(), made);
        assert_eq!(manager.list_snapshots().await.unwrap(), std::slice::from_ref(&made));
        assert_eq!(manager.resolve(name).await.unwrap(), made.id);
        let stored = StoredSnapshot::read(&dir.snapshots(), &made.id);
        assert_eq!(made.size_bytes, stored.files.values().map(|file| file.len() as u64).sum::<u64>());
        assert_eq!(made.files.len(), 5);
        assert!(stored.files.iter().all(|(file, bytes)| made.files[file] == bytes.len() as u64));
        manager.delete_snapshot(&made.id).await.unwrap();
    }
    let too_long = format!("{longest}a");
    for (key, value) in [("host ", "db1"), ("host", "db1\n"), ("ho\tst", "db1")] {
        let options = CreateOptions::default().label(key, value);
        let error = manager.create_snapshot_of_file(&path, "labelled", &options).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{key:?}={value:?}: {error:?}");
    }
    for name in ["", "  ", "a\nb", "\0", "\u{7f}", "\u{85}", too_long.as_str()] {
        let error = create_full(&manager, &path, name).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{name:?}: {error:?}");
    }
    dir.assert_no_snapshots();
}

#[tokio::test]
async fn labels_of_the_largest_size_are_stored_and_larger_ones_are_refused() {
    const BYTES_MAX: usize = 512 << 10;
    let (dir, manager) = dir_with_database();
    let path = dir.path("a.db");
    let many = (0..50_000).map(|number| (format!("{number:x}"), String::new())).collect();
    for mut labels in [BTreeMap::new(), many] {
        labels.insert("fill".to_owned(), String::new());
        let rest = BYTES_MAX - serde_json::to_string(&(&labels, ())).unwrap().len();
        labels.insert("fill".to_owned(), "x".repeat(rest));
        let options = CreateOptions::default().labels(labels.clone());
        let made = manager.create_snapshot_of_file(&path, "largest", &options).await.unwrap();
        assert_eq!(made.labels, labels);
        assert_eq!(manager.get_snapshot(&made.id).await.unwrap().as_ref(), Some(&made));
        assert_eq!(manager.list().await.unwrap().snapshots, std::slice::from_ref(&made));
        manager.delete_snapshot(&made.id).await.unwrap();
        labels.insert("fill".to_owned(), "x".repeat(rest + 1));
        let options = CreateOptions::default().labels(labels);
        let error = manager.create_snapshot_of_file(&path, "larger", &options).await.unwrap_err();
        assert!(error.kind() == ErrorKind::InvalidInput && error.to_string().contains("512 KiB"), "{error:?}");
        dir.assert_no_snapshots();
    }
}

// ---- times

fn fixed_clock(now: DateTime<Utc>) -> Arc<FixedClock> {
    Arc::new(FixedClock { now, random: 7 })
}

/// A clock that advances by a second each time it is read, and inserts a record with the number of seconds into the
/// database. A state that was captured at the returned time or later contains that record.
struct InsertingClock {
    db: Arc<VectorDB>,
    seconds: AtomicI64,
}

impl std::fmt::Debug for InsertingClock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("InsertingClock")
    }
}

fn start() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2030, 1, 1, 0, 0, 0).unwrap()
}

impl Clock for InsertingClock {
    fn now(&self) -> DateTime<Utc> {
        let seconds = self.seconds.fetch_add(1, Ordering::SeqCst) + 1;
        let id = Some(format!("second {seconds}"));
        self.db.insert(VectorEntry { id, vector: vec![seconds as f32, 0.0], metadata: None }).unwrap();
        start() + TimeDelta::seconds(seconds)
    }

    fn random(&self) -> Result<u64> {
        Ok(u64::try_from(self.seconds.load(Ordering::SeqCst)).unwrap())
    }
}

#[tokio::test]
async fn a_snapshot_contains_everything_committed_before_its_timestamp() {
    for in_memory in [false, true] {
        let dir = TestDir::new();
        let path = dir.path("ticking.db");
        let storage = if in_memory { "memory://ticking" } else { path.to_str().unwrap() };
        let db = Arc::new(VectorDB::new(options(storage, 2)).unwrap());
        let clock = Arc::new(InsertingClock { db: db.clone(), seconds: AtomicI64::new(0) });
        let manager = dir.manager().with_clock(clock);
        for _ in 0..3 {
            let made = manager.create_snapshot(&db, "ticking").await.unwrap();
            let seconds = (made.created_at - start()).num_seconds();
            let restored = manager.restore_snapshot(&made.id).await.unwrap();
            assert!(
                restored.get(&format!("second {seconds}")).unwrap().is_some(),
                "{storage}: the state is older than {made:?}"
            );
            let id: SnapshotId = made.id.parse().unwrap();
            assert!(id.as_str().starts_with(&made.created_at.format("%Y%m%dT%H%M%S000Z-").to_string()), "{id}");
        }
    }
}

#[tokio::test]
async fn a_create_whose_id_is_taken_fails_and_changes_nothing() {
    let (dir, manager) = dir_with_database();
    let manager = manager.with_clock(fixed_clock(start()));
    let first = create(&dir, &manager, "first").await;
    let error = create_full(&manager, &dir.path("a.db"), "second").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert_eq!(manager.list_snapshots().await.unwrap(), std::slice::from_ref(&first));
    assert!(manager.verify_snapshot(&first.id).await.unwrap());
}

//! Which snapshot is meant, which may be made and which may go: names, ids and times, what no snapshot can hold, and
//! snapshots of a newer version that may stand on others.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, TimeDelta, TimeZone as _, Utc};
use common::stored::{Stored, edit};
use common::watched::Watched;
use common::{CONFIG, METADATA, Place, VECTORS, make_database, names, options};
use ruvector_core::{VectorDB, VectorEntry};
use ruvector_snapshot::clock::Clock;
use ruvector_snapshot::format::id::SnapshotId;
use ruvector_snapshot::format::layout;
use ruvector_snapshot::store::fault::FaultStore;
use ruvector_snapshot::store::{Location, SnapshotStore, StoreConfig, open};
use ruvector_snapshot::{CreateOptions, ErrorKind, RestoreOptions, Result, Snapshot, SnapshotManager};
use serde_json::{Value, json};

fn place_with_database() -> (Place, SnapshotManager) {
    let place = Place::new();
    drop(make_database(&place.path("a.db"), 20, 4, 1));
    let manager = place.manager();
    (place, manager)
}

async fn create(place: &Place, manager: &SnapshotManager, name: &str) -> Snapshot {
    manager.create_snapshot_of_file(place.path("a.db"), name, &CreateOptions::default()).await.unwrap()
}

fn local(place: &Place) -> Arc<dyn SnapshotStore> {
    open(&Location::Local(place.snapshots()), &StoreConfig::default()).unwrap()
}

// ---- what no snapshot can hold

fn nested(depth: usize) -> Value {
    (0..depth).fold(Value::Null, |inner, _| json!([inner]))
}

#[tokio::test]
async fn user_json_that_no_snapshot_can_hold_is_refused_before_anything_is_stored() {
    let (place, _) = place_with_database();
    let (store, steps) = FaultStore::over(local(&place), []);
    let manager = SnapshotManager::with_store(place.config(), store).unwrap();
    let large = "x".repeat((512 << 10) + 1);
    let with = |metadata: Value| CreateOptions { metadata, ..CreateOptions::default() };
    let labels = CreateOptions { labels: [("k".to_owned(), large.clone())].into(), ..CreateOptions::default() };
    for options in [with(nested(200)), with(json!(large)), with(json!({ "list": [large] })), labels] {
        let error = manager.create_snapshot_of_file(place.path("a.db"), "refused", &options).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
        let db = VectorDB::new(common::options("memory://refused", 4)).unwrap();
        let error = manager.create_snapshot_with(&db, "refused", &options).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
    }
    assert_eq!(steps.log(), [], "the store was asked for something");
    assert_eq!(names(&place.snapshots()), Vec::<String>::new());
}

/// Wherever the limits lie: what is taken can be read again, and of the rest nothing stays.
#[tokio::test]
async fn user_json_near_the_limits_is_taken_or_leaves_nothing() {
    let (place, manager) = place_with_database();
    let mut taken = Vec::new();
    let deep = (120..=130).map(nested);
    let long = [(512 << 10) - 100, (512 << 10) + 100].map(|length| json!("x".repeat(length)));
    // Printed with indentation these come to more than metadata.json may have.
    let wide = [json!(vec![1; 200_000]), json!(vec![vec![1]; 100_000])];
    for metadata in deep.chain(long).chain(wide) {
        let options = CreateOptions { metadata: metadata.clone(), ..CreateOptions::default() };
        let made = manager.create_snapshot_of_file(place.path("a.db"), "near", &options).await;
        manager.settle().await;
        match made {
            Ok(made) => {
                assert!(manager.verify_snapshot(&made.id).await.unwrap());
                assert_eq!(manager.list_snapshots().await.unwrap()[0].metadata, metadata);
                manager.delete_snapshot(&made.id).await.unwrap();
                taken.push(true);
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
                taken.push(false);
            }
        }
        assert_eq!(names(&place.snapshots()), Vec::<String>::new());
    }
    assert!(taken[0] && !taken[10], "the depths do not include the limit: {taken:?}");
    assert_eq!(taken[11..], [true, false, false, false]);
}

#[tokio::test]
async fn a_database_that_no_snapshot_can_hold_leaves_nothing() {
    let (place, manager) = place_with_database();
    let row = serde_json::to_string(&options("elsewhere.db", 20_000_000)).unwrap();
    let database = redb::Database::create(place.path("vast.db")).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(VECTORS).unwrap();
    transaction.open_table(METADATA).unwrap();
    transaction.open_table(CONFIG).unwrap().insert("__ruvector_db_config__", row.as_str()).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let made = manager.create_snapshot_of_file(place.path("vast.db"), "vast", &CreateOptions::default()).await;
    let error = made.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
    assert!(error.to_string().contains("20000000 dimensions"), "{error}");
    manager.settle().await;
    assert_eq!(names(&place.snapshots()), Vec::<String>::new());
    place.assert_scratch_empty();
}

// ---- snapshots of a newer version

#[tokio::test]
async fn nothing_is_deleted_that_a_newer_snapshot_may_stand_on() {
    for newer in ["an increment of version 2", "version 2", "version 2 with another seal"] {
        let (place, manager) = place_with_database();
        let base = create(&place, &manager, "base").await.id;
        let old = create(&place, &manager, "old").await.id;
        let foreign = Stored::read(&place.snapshots(), &create(&place, &manager, "foreign").await.id);
        let honest = foreign.file(layout::METADATA_JSON);
        let metadata_json = match newer {
            "an increment of version 2" => edit(honest, |json| {
                json["format_version"] = json!(2);
                json["snapshot_type"] = json!({ "incremental": { "base_id": base } });
            }),
            "version 2" => edit(honest, |json| json["format_version"] = json!(2)),
            _ => br#"{"format":"ruvector-snapshot","format_version":2,"anything":[]}"#.to_vec(),
        };
        foreign.put(layout::METADATA_JSON, &metadata_json);
        let before = names(&place.snapshots());

        let listing = manager.list().await.unwrap();
        assert_eq!(listing.snapshots.len(), 2, "{newer}");
        let [damaged] = &listing.damaged[..] else { panic!("{newer}: {:?}", listing.damaged) };
        assert_eq!((damaged.id.as_str(), damaged.error.kind()), (foreign.id.as_str(), ErrorKind::Unsupported));
        assert_eq!(manager.list_snapshots().await.unwrap_err().kind(), ErrorKind::Unsupported);

        let refusals = [
            manager.delete_snapshot(&base).await.err(),
            manager.delete_snapshot(&old).await.err(),
            manager.plan_cleanup(1).await.err(),
            manager.cleanup_old_snapshots(1).await.err(),
        ];
        for error in refusals {
            let error = error.unwrap_or_else(|| panic!("{newer}: not refused"));
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{newer}: {error:?}");
            assert!(error.message().contains(foreign.id.as_str()), "{newer}: {error}");
        }
        assert_eq!(names(&place.snapshots()), before, "{newer}");
        for id in [&base, &old] {
            assert!(manager.verify_snapshot(id).await.unwrap());
        }

        manager.delete_snapshot(foreign.id.as_str()).await.unwrap();
        assert!(!foreign.dir.exists());
        assert_eq!(manager.cleanup_old_snapshots(1).await.unwrap(), 1);
        assert_eq!(names(&place.snapshots()), [format!("snapshot-{old}")]);
    }
}

// ---- which one is meant

#[tokio::test]
async fn the_newest_is_meant_even_where_it_is_damaged() {
    let (place, manager) = place_with_database();
    for _ in 0..2 {
        create(&place, &manager, "nightly").await;
    }
    let newest = Stored::read(&place.snapshots(), &create(&place, &manager, "nightly").await.id);
    for file in ["vectors.bin.gz", "index.bin.gz", "metadata.bin.gz", "checksum.sha256"] {
        newest.remove(file);
        for text in ["latest", "nightly"] {
            let id = manager.resolve(text).await.unwrap();
            assert_eq!(id, newest.id.as_str(), "{text} without {file}");
            assert!(!manager.verify_snapshot(&id).await.unwrap());
            if file == "checksum.sha256" {
                continue;
            }
            assert_eq!(manager.restore_snapshot(&id).await.err().unwrap().kind(), ErrorKind::Damaged);
            let restored = manager.restore_snapshot_to(&id, place.restored(), &RestoreOptions::default()).await;
            assert_eq!(restored.unwrap_err().kind(), ErrorKind::Damaged);
            place.assert_nothing_restored();
        }
        newest.repair();
    }
    // What the name of this one is cannot be known; that it is the newest can.
    newest.put(layout::METADATA_JSON, b"{");
    assert_eq!(manager.resolve("latest").await.unwrap(), newest.id.as_str());
    let error = manager.resolve("nightly").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
    assert!(error.to_string().contains(newest.id.as_str()), "{error}");
}

#[tokio::test]
async fn a_whole_id_needs_no_other_snapshot() {
    let (place, manager) = place_with_database();
    let wanted = create(&place, &manager, "wanted").await;
    let away = create(&place, &manager, "away").await;
    let key = layout::key(&away.id.parse().unwrap(), layout::METADATA_JSON);
    let store = Watched::without(local(&place), key);
    let manager = SnapshotManager::with_store(place.config(), store).unwrap();
    assert_eq!(manager.list().await.unwrap().damaged[0].error.kind(), ErrorKind::Unavailable);
    assert_eq!(manager.resolve(&wanted.id).await.unwrap(), wanted.id);
    assert_eq!(manager.restore_snapshot(&wanted.id).await.unwrap().len().unwrap(), 20);
    assert!(manager.verify_snapshot(&wanted.id).await.unwrap());
    manager.restore_snapshot_to(&wanted.id, place.restored(), &RestoreOptions::default()).await.unwrap();
    assert_eq!(manager.resolve("latest").await.unwrap(), away.id, "an older one would be taken for the latest");
    assert_eq!(manager.resolve(&away.id).await.unwrap(), away.id);
    assert_eq!(manager.restore_snapshot(&away.id).await.err().unwrap().kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_name_that_is_the_start_of_another_id_means_neither() {
    let (place, manager) = place_with_database();
    let at = |year| manager.clone().with_clock(Arc::new(Standing(Utc.with_ymd_and_hms(year, 1, 2, 3, 4, 5).unwrap())));
    let named = create(&place, &at(2030), "2031").await.id;
    assert_eq!(manager.resolve("2031").await.unwrap(), named);
    let other = create(&place, &at(2031), "2031 and more").await.id;
    let error = manager.resolve("2031").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
    assert_eq!(manager.resolve("2031 and more").await.unwrap(), other);
    assert_eq!(manager.resolve("20310102").await.unwrap(), other);
    // The one that the name and the start of the id both stand for.
    let both = create(&place, &at(2032), "2032").await.id;
    assert_eq!(manager.resolve("2032").await.unwrap(), both);
    assert_eq!(manager.resolve("").await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn names_that_mean_something_else_are_refused() {
    let (place, manager) = place_with_database();
    let db = VectorDB::new(options("memory://refused", 4)).unwrap();
    for name in ["latest", "20260131T080000000Z-0123456789abcdef"] {
        let made = manager.create_snapshot_of_file(place.path("a.db"), name, &CreateOptions::default()).await;
        assert_eq!(made.unwrap_err().kind(), ErrorKind::Invalid, "{name}");
        assert_eq!(manager.create_snapshot(&db, name).await.unwrap_err().kind(), ErrorKind::Invalid, "{name}");
    }
    assert_eq!(names(&place.snapshots()), Vec::<String>::new());
    for name in ["Latest", "latest one", "20260131T080000000Z-0123456789abcde"] {
        let made = create(&place, &manager, name).await;
        assert_eq!(manager.resolve(name).await.unwrap(), made.id);
    }
}

// ---- times

/// A clock that stands still.
#[derive(Debug)]
struct Standing(DateTime<Utc>);

impl Clock for Standing {
    fn now(&self) -> DateTime<Utc> {
        self.0
    }

    fn random(&self) -> Result<u64> {
        Ok(7)
    }
}

/// A clock that goes on by a second whenever it is asked, and puts a record with the number of seconds into the database: what
/// is captured at the time it tells, or later, holds that record.
struct Committing {
    db: Arc<VectorDB>,
    seconds: AtomicI64,
}

impl std::fmt::Debug for Committing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Committing")
    }
}

fn start() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2030, 1, 1, 0, 0, 0).unwrap()
}

impl Clock for Committing {
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
async fn a_snapshot_is_never_older_than_it_says() {
    for in_memory in [false, true] {
        let place = Place::new();
        let path = place.path("ticking.db");
        let storage = if in_memory { "memory://ticking" } else { path.to_str().unwrap() };
        let db = Arc::new(VectorDB::new(options(storage, 2)).unwrap());
        let clock = Arc::new(Committing { db: db.clone(), seconds: AtomicI64::new(0) });
        let manager = place.manager().with_clock(clock);
        for _ in 0..3 {
            let made = manager.create_snapshot(&db, "ticking").await.unwrap();
            let seconds = (made.created_at - start()).num_seconds();
            let restored = manager.restore_snapshot(&made.id).await.unwrap();
            assert!(restored.get(&format!("second {seconds}")).unwrap().is_some(), "{storage}: older than {made:?}");
            let id: SnapshotId = made.id.parse().unwrap();
            assert!(id.as_str().starts_with(&made.created_at.format("%Y%m%dT%H%M%S000Z-").to_string()), "{id}");
        }
    }
}

#[tokio::test]
async fn an_id_that_comes_up_twice_harms_nothing() {
    let (place, manager) = place_with_database();
    let manager = manager.with_clock(Arc::new(Standing(start())));
    let first = create(&place, &manager, "first").await;
    let second = manager.create_snapshot_of_file(place.path("a.db"), "second", &CreateOptions::default()).await;
    assert_eq!(second.unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(manager.list_snapshots().await.unwrap(), std::slice::from_ref(&first));
    assert!(manager.verify_snapshot(&first.id).await.unwrap());
}

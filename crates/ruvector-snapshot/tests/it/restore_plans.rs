//! The plan of a restore: it says exactly what a restore then reads, names what a restore would be refused for, and writes
//! nothing.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use ruvector_snapshot::source::{FileSource, RestoreTarget};
use ruvector_snapshot::store::SnapshotStore;
use ruvector_snapshot::store::testing::fault::{Call, FaultStore};
use ruvector_snapshot::{
    CheckOutcome, CreateOptions, ErrorKind, PlannedFetch, Record, RestoreDestination, RestoreOptions, RestorePlan,
    Result, Snapshot, SnapshotConfig, SnapshotManager, SnapshotType,
};
use ruvector_snapshot_format::layout;
use test_fixtures::{
    CountingStore, METADATA, TestDir, Warnings, create_full, edit_metadata, make_database, make_many_blocks,
    memory_store, names, objects, records_of_file,
};
use test_servers::S3Server;

use crate::common::bucket_stores::s3_store;
use crate::common::three_snapshots::key;
use crate::common::{count_calls, forget};

/// Runs a test on a disk, and in a bucket.
async fn on_each_store(test: impl AsyncFn(&TestDir, &Arc<dyn SnapshotStore>)) {
    let dir = TestDir::new();
    test(&dir, &dir.local_store()).await;
    let server = S3Server::start();
    test(&TestDir::new(), &s3_store(&server, "backups")).await;
}

fn set_metadata(db: &Path, id: &str, text: &str) {
    let database = redb::Database::create(db).unwrap();
    let write = database.begin_write().unwrap();
    write.open_table(METADATA).unwrap().insert(id, text).unwrap();
    write.commit().unwrap();
}

/// Takes a snapshot on a base.
async fn increment(manager: &SnapshotManager, db: &Path, base: &str) -> Snapshot {
    let options = CreateOptions::default().base_id(base);
    manager.create_snapshot_of_file(db, "step", &options).await.unwrap()
}

/// Takes a full snapshot and two increments of a small database, and returns their ids, oldest first.
async fn chain(dir: &TestDir, manager: &SnapshotManager) -> Vec<String> {
    let db = dir.path("a.db");
    drop(make_database(&db, 40, 4, 1));
    let mut ids = vec![create_full(manager, &db, "full").await.unwrap().id];
    for text in ["{\"step\":1}", "{\"step\":2}"] {
        set_metadata(&db, "id-000002", text);
        ids.push(increment(manager, &db, ids.last().unwrap()).await.id);
    }
    ids
}

async fn plan(manager: &SnapshotManager, id: &str, to: impl Into<RestoreDestination>) -> RestorePlan {
    manager.plan_restore(id, to, &RestoreOptions::default()).await.unwrap()
}

fn outcome(plan: &RestorePlan, name: &str) -> CheckOutcome {
    plan.checks.iter().find(|check| check.name == name).unwrap_or_else(|| panic!("no check {name}: {plan:?}")).outcome
}

/// Everything below a directory, with the directory itself: sizes and times of modification.
type Tree = BTreeMap<PathBuf, (u64, SystemTime)>;

fn tree(directory: &Path) -> Tree {
    let describe = |path: &Path| {
        let found = fs::symlink_metadata(path).unwrap();
        (path.to_owned(), (found.len(), found.modified().unwrap()))
    };
    let mut found = Tree::from([describe(directory)]);
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(tree(&path));
        } else {
            found.extend([describe(&path)]);
        }
    }
    found
}

/// What a store holds, and what is on the disk.
async fn everything(dir: &TestDir, store: &Arc<dyn SnapshotStore>) -> (Tree, BTreeMap<String, Bytes>) {
    (tree(&dir.path("")), objects(store.as_ref()).await)
}

// ---- what is read

/// Plans and makes a restore, to a file and to memory, and compares what it reads of each object.
async fn assert_reads_as_planned(dir: &TestDir, store: Arc<dyn SnapshotStore>, id: &str, options: &RestoreOptions) {
    for to_memory in [false, true] {
        let counting = CountingStore::over(store.clone());
        let (faulty, steps) = FaultStore::over(counting.clone(), []);
        let manager = dir.manager_with_store(faulty);
        let (destination, path) = match to_memory {
            true => (RestoreDestination::Memory, None),
            false => (dir.restored().into(), Some(dir.restored())),
        };
        let plan = dir.manager_with_store(store.clone()).plan_restore(id, destination, options).await.unwrap();
        assert!(plan.is_feasible(), "{plan:?}");
        match path {
            Some(path) => {
                manager.restore_snapshot_to(id, &path, options).await.unwrap();
                fs::remove_file(path).unwrap();
            }
            None => drop(manager.restore_snapshot_with(id, options).await.unwrap()),
        }
        let read = counting.take_bytes_read();
        let objects = || plan.chain.iter().flat_map(|snapshot| &snapshot.objects);
        let planned: BTreeMap<_, _> =
            objects().map(|object| (object.key.clone(), object.fetch.unwrap().bytes)).filter(|(_, n)| *n > 0).collect();
        assert_eq!(read, planned);
        let calls = count_calls(&steps.log());
        let requests = calls.get(&Call::Get).unwrap() + calls.get(&Call::GetRange).unwrap();
        let fetch = plan.fetch.unwrap();
        let sum = |of: fn(PlannedFetch) -> u64| objects().map(|object| of(object.fetch.unwrap())).sum::<u64>();
        // The ledger of each snapshot is listed besides.
        let listed = calls.get(&Call::List).unwrap();
        assert_eq!((requests as u64, calls.values().sum()), (fetch.requests, requests + listed));
        assert_eq!(*listed, plan.chain.len());
        assert_eq!((fetch.objects, fetch.bytes), (planned.len() as u64, planned.values().sum()));
        assert_eq!(
            (fetch.objects, fetch.bytes, fetch.requests),
            (sum(|f| f.objects), sum(|f| f.bytes), sum(|f| f.requests))
        );
        for object in objects() {
            assert_eq!(store.head(&object.key).await.unwrap().size_bytes, object.size_bytes);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_reads_what_its_plan_says_of_snapshots_of_every_kind() {
    on_each_store(async |dir, store| {
        let manager = dir.manager_with_store(store.clone());
        let (plain, skips) = (RestoreOptions::default(), RestoreOptions::default().skip_irregular(true));
        for id in chain(dir, &manager).await {
            assert_reads_as_planned(dir, store.clone(), &id, &plain).await;
        }
        let (empty, blocks) = (dir.path("empty.db"), dir.path("blocks.db"));
        drop(make_database(&empty, 0, 4, 1));
        let id = create_full(&manager, &empty, "empty").await.unwrap().id;
        assert_reads_as_planned(dir, store.clone(), &id, &plain).await;
        drop(make_many_blocks(&blocks, 5000, 1));
        let full = create_full(&manager, &blocks, "blocks").await.unwrap().id;
        assert_reads_as_planned(dir, store.clone(), &full, &plain).await;
        // A row that is not a record, in the increment alone.
        set_metadata(&blocks, "0", "no JSON");
        let irregular = increment(&manager, &blocks, &full).await;
        assert!(irregular.irregular.is_some());
        assert_reads_as_planned(dir, store.clone(), &irregular.id, &skips).await;
        let plan = plan(&manager, &irregular.id, &dir.restored()).await;
        assert!(plan.is_feasible());
        let counting = CountingStore::over(store.clone());
        let manager = dir.manager_with_store(counting.clone());
        manager.restore_snapshot_to(&irregular.id, dir.restored(), &plain).await.unwrap();
        assert_eq!(counting.take_bytes_read().values().sum::<u64>(), plan.fetch.unwrap().bytes);
    })
    .await;
}

/// A snapshot whose files are read in several runs, alone and in a chain.
#[tokio::test(flavor = "multi_thread")]
async fn large_files_are_read_with_as_many_requests_as_planned() {
    let (dir, store) = (TestDir::new(), memory_store());
    let manager = dir.manager_with_store(store.clone());
    let db = dir.path("a.db");
    drop(make_database(&db, 4000, 1024, 1));
    let full = create_full(&manager, &db, "full").await.unwrap().id;
    set_metadata(&db, "id-000002", "{}");
    let step = increment(&manager, &db, &full).await.id;
    let requests = async |id: &str| plan(&manager, id, &dir.restored()).await.fetch.unwrap().requests;
    let (alone, in_chain) = (requests(&full).await, requests(&step).await);
    // More than one run. The increment has its metadata.json, its directory, and two pieces of a block without vectors.
    assert_eq!((alone > 1 + 2 + 3, in_chain), (true, alone + 1 + 1 + 2));
    for id in [full, step] {
        assert_reads_as_planned(&dir, store.clone(), &id, &RestoreOptions::default()).await;
    }
}

/// The large record of the base is not read, because the increment replaces it.
#[tokio::test(flavor = "multi_thread")]
async fn a_restore_of_a_large_record_that_was_replaced_reads_less_than_planned() {
    let (dir, store) = (TestDir::new(), memory_store());
    let manager = dir.manager_with_store(store.clone());
    let db = dir.path("a.db");
    drop(make_database(&db, 40, 4, 1));
    let mut state = 1u64;
    let mut text = || {
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            char::from(b'a' + (state >> 60) as u8)
        };
        format!("{{\"text\":\"{}\"}}", (0..10 << 20).map(|_| next()).collect::<String>())
    };
    set_metadata(&db, "id-000002", &text());
    let full = create_full(&manager, &db, "full").await.unwrap();
    set_metadata(&db, "id-000002", &text());
    let step = increment(&manager, &db, &full.id).await;
    assert_reads_as_planned(&dir, store.clone(), &full.id, &RestoreOptions::default()).await;
    let planned = plan(&manager, &step.id, &dir.restored()).await.fetch.unwrap();
    let counting = CountingStore::over(store);
    let restoring = dir.manager_with_store(counting.clone());
    restoring.restore_snapshot_to(&step.id, dir.restored(), &RestoreOptions::default()).await.unwrap();
    let read: u64 = counting.take_bytes_read().values().sum();
    assert!(read < planned.bytes && planned.bytes < full.size_bytes + step.size_bytes, "{read} of {planned:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_of_a_bucket_counts_the_requests_that_the_server_receives() {
    let server = S3Server::start();
    let dir = TestDir::new();
    let manager = dir.manager_with_store(s3_store(&server, "backups"));
    let id = chain(&dir, &manager).await.remove(2);
    let plan = plan(&manager, &id, &dir.restored()).await;
    server.wire().reset_log();
    manager.restore_snapshot_to(&id, dir.restored(), &RestoreOptions::default()).await.unwrap();
    let requests = server.wire().requests();
    let listings = requests.iter().filter(|request| request.query.contains("list-type")).count();
    let gets = requests.iter().filter(|request| request.is_get()).count();
    assert_eq!(gets + listings, requests.len(), "{requests:?}");
    assert_eq!(listings, plan.chain.len());
    assert_eq!(gets as u64, plan.fetch.unwrap().requests);
}

// ---- what a plan says

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_describes_the_chain_and_writes_nothing() {
    on_each_store(async |dir, store| {
        let manager = dir.manager_with_store(store.clone());
        let ids = chain(dir, &manager).await;
        let newest = manager.get_snapshot(&ids[2]).await.unwrap().unwrap();
        let before = everything(dir, store).await;
        let plan = plan(&manager, &ids[2], &dir.restored()).await;
        assert_eq!(everything(dir, store).await, before);
        assert!(plan.is_feasible() && plan.warnings.is_empty(), "{plan:?}");
        assert_eq!(plan.id, ids[2]);
        let state = plan.state.as_ref().unwrap();
        assert_eq!((state.records, state.dimensions, &*state.name), (40, 4, "step"));
        assert_eq!((&state.checksum, &state.distance_metric), (&newest.checksum, &newest.distance_metric));
        assert_eq!(state.created_at, newest.created_at);
        let planned: Vec<_> = plan.chain.iter().map(|snapshot| snapshot.id.clone()).collect();
        assert_eq!(planned, ids);
        assert_eq!(plan.chain[0].snapshot_type, SnapshotType::Full);
        for snapshot in &plan.chain {
            assert_eq!(snapshot.format_version, 1);
            assert_eq!(snapshot.writer, newest.writer);
            let keys: Vec<_> = snapshot.objects.iter().map(|object| object.key.clone()).collect();
            let files = ["metadata.json", "vectors.bin.gz", "index.bin.gz", "metadata.bin.gz"];
            assert_eq!(keys, files.map(|file| key(&snapshot.id, file)));
        }
        let file = plan.file.as_ref().unwrap();
        assert_eq!((Path::new(&file.path), file.replaced_bytes), (&*dir.restored(), None));
        assert!(file.free_bytes.unwrap() > 0);
        let checks: Vec<_> = plan.checks.iter().map(|check| &*check.name).collect();
        let expected = [
            "path",
            "existing file",
            "open elsewhere",
            "name",
            "mount point",
            "attributes",
            "directory",
            "owner",
            "file size limit",
            "largest file",
            "free space",
            "quota",
        ];
        assert_eq!(checks, expected);
        assert!(plan.checks.iter().all(|check| check.outcome == CheckOutcome::Ok), "{plan:?}");
        // It is data.
        let json = ruvector_snapshot::serde_json::to_string(&plan).unwrap();
        assert_eq!(ruvector_snapshot::serde_json::from_str::<RestorePlan>(&json).unwrap(), plan);
    })
    .await;
}

#[tokio::test]
async fn a_plan_says_what_is_lost_or_replaced() {
    let dir = TestDir::new();
    let manager = dir.manager();
    let db = dir.path("a.db");
    drop(make_database(&db, 30, 4, 1));
    fs::write(dir.path("a.db.meta.json"), "{}").unwrap();
    set_metadata(&db, "unknown", "no JSON");
    let snapshot = create_full(&manager, &db, "one").await.unwrap();
    let not_captured = &snapshot.source.not_captured;
    assert_eq!(not_captured.len(), 1);
    let overwrite = RestoreOptions::default().overwrite(true);
    fs::write(dir.restored(), "precious").unwrap();
    let plan = manager.plan_restore(&snapshot.id, &dir.restored(), &overwrite).await.unwrap();
    assert!(plan.is_feasible());
    let state = plan.state.unwrap();
    assert_eq!((&state.not_captured, &state.irregular), (not_captured, &snapshot.irregular));
    assert_eq!(plan.chain[0].format_version, 2);
    assert_eq!(plan.file.unwrap().replaced_bytes, Some(8));
    assert_eq!(plan.warnings, Vec::<String>::new());
    assert_eq!(fs::read(dir.restored()).unwrap(), b"precious");

    let skips = overwrite.skip_irregular(true);
    let plan = manager.plan_restore(&snapshot.id, &dir.restored(), &skips).await.unwrap();
    let skipped = plan.warnings.iter().find(|warning| warning.contains("are not restored"));
    // The restore says the same.
    let warnings = Arc::new(Warnings::default());
    manager.restore_snapshot_to(&snapshot.id, dir.restored(), &skips.progress(warnings.clone())).await.unwrap();
    assert_eq!(*warnings.list(), [skipped.unwrap().clone()]);
}

#[tokio::test]
async fn a_plan_names_files_of_killed_restores_and_leaves_them() {
    let dir = TestDir::new();
    let manager = dir.manager();
    let id = chain(&dir, &manager).await.remove(0);
    let left = dir.path("restored/.restored.db.restoring-abcdef");
    fs::write(&left, vec![0; 8192]).unwrap();
    let before = tree(&dir.path(""));
    let plan = plan(&manager, &id, &dir.restored()).await;
    assert_eq!(tree(&dir.path("")), before);
    let would =
        format!("{} (8192 bytes) would be removed: a restore to this path that was killed has left it", left.display());
    assert_eq!((plan.is_feasible(), &*plan.warnings), (true, &[would][..]));
    manager.restore_snapshot_to(&id, dir.restored(), &RestoreOptions::default()).await.unwrap();
    assert_eq!(names(&dir.path("restored")), ["restored.db"]);
    assert!(records_of_file(&dir.restored()).0.len() == 40);
}

// ---- what is in the way

/// Plans a restore that something is in the way of, and asserts that the restore fails with the first blocker.
async fn assert_blocked(
    manager: &SnapshotManager,
    id: &str,
    to: &Path,
    options: &RestoreOptions,
    kinds: &[ErrorKind],
) -> RestorePlan {
    let plan = manager.plan_restore(id, to, options).await.unwrap();
    let found: Vec<_> = plan.blockers.iter().map(|blocker| blocker.kind).collect();
    assert_eq!((found, plan.is_feasible()), (kinds.to_vec(), false), "{plan:?}");
    let error = manager.restore_snapshot_to(id, to, options).await.unwrap_err();
    let first = &plan.blockers[0];
    assert_eq!((first.kind, first.key.as_deref(), first.remedy), (error.kind(), error.key(), error.remedy()));
    assert_eq!(first.message, error.problem());
    let blocked = plan.checks.iter().filter(|check| check.outcome == CheckOutcome::Blocker).count();
    assert!(blocked <= plan.blockers.len());
    plan
}

#[tokio::test]
async fn whatever_is_in_the_way_at_the_target_is_a_blocker() {
    let dir = TestDir::new();
    let manager = dir.manager();
    let ids = chain(&dir, &manager).await;
    let (id, plain) = (&ids[2], RestoreOptions::default());
    let overwrite = plain.clone().overwrite(true);
    let old = dir.path("restored/old.db");
    let program = make_database(&old, 3, 4, 1);
    std::os::unix::fs::symlink("nowhere", dir.path("link.db")).unwrap();
    let before = tree(&dir.path(""));

    let plan = assert_blocked(&manager, id, &old, &plain, &[ErrorKind::AlreadyExists]).await;
    assert_eq!(outcome(&plan, "existing file"), CheckOutcome::Blocker);
    assert_eq!(
        (outcome(&plan, "open elsewhere"), outcome(&plan, "quota")),
        (CheckOutcome::NotChecked, CheckOutcome::Ok)
    );
    let plan = assert_blocked(&manager, id, &old, &overwrite, &[ErrorKind::Busy]).await;
    assert_eq!((outcome(&plan, "open elsewhere"), outcome(&plan, "quota")), (CheckOutcome::Blocker, CheckOutcome::Ok));
    for options in [&plain, &overwrite] {
        let missing = dir.path("no/such/a.db");
        let plan = assert_blocked(&manager, id, &missing, options, &[ErrorKind::NotFound]).await;
        assert_eq!(outcome(&plan, "directory"), CheckOutcome::Blocker);
        assert_eq!(outcome(&plan, "free space"), CheckOutcome::NotChecked);
        assert!(plan.blockers[0].advice.as_deref().unwrap().starts_with("create the directory"), "{plan:?}");
        for path in ["scratch", "scratch/..", "link.db", "a.db/b.db"] {
            let plan = assert_blocked(&manager, id, &dir.path(path), options, &[ErrorKind::InvalidInput]).await;
            assert_eq!((outcome(&plan, "path"), plan.checks.len()), (CheckOutcome::Blocker, 12), "{path}");
        }
        let long = dir.path(&"n".repeat(256));
        drop(assert_blocked(&manager, id, &long, options, &[ErrorKind::InvalidInput]).await);
    }
    let while_open = overwrite.clone().overwrite_while_open(true);
    let plan = manager.plan_restore(id, &old, &while_open).await.unwrap();
    assert!(plan.is_feasible() && plan.warnings.iter().any(|warning| warning.contains("a program has")), "{plan:?}");
    assert_eq!(outcome(&plan, "open elsewhere"), CheckOutcome::Warning);
    drop(program);
    assert_eq!(tree(&dir.path("")).keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
    let plan = manager.plan_restore(id, &old, &overwrite).await.unwrap();
    assert!(plan.is_feasible(), "{plan:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_in_the_way_in_the_store_is_a_blocker() {
    on_each_store(async |dir, store| {
        let manager = dir.manager_with_store(store.clone());
        let ids = chain(dir, &manager).await;
        let (id, plain, restored) = (&ids[2], RestoreOptions::default(), dir.restored());
        let all = objects(store.as_ref()).await;
        let put = async |key: &str, bytes: Option<Bytes>| {
            store.delete(key).await.unwrap();
            if let Some(bytes) = bytes {
                store.create(key, bytes).await.unwrap();
            }
        };
        let json = |id: &str| key(id, layout::METADATA_JSON);
        let newer = |id: &str| Bytes::from(edit_metadata(&all[&json(id)], |json| json["format_version"] = 99.into()));
        let (corrupt, unsupported) = (ErrorKind::Corrupt, ErrorKind::Unsupported);
        let cut = |key: &str| all[key].slice(..all[key].len() - 1);
        let index = key(&ids[1], "index.bin.gz");
        let cases = [
            // An ancestor is missing, or cannot be read.
            (json(&ids[0]), None, corrupt),
            (json(&ids[1]), Some(Bytes::from_static(b"{}")), corrupt),
            (json(&ids[0]), Some(newer(&ids[0])), unsupported),
            (json(&ids[2]), Some(Bytes::from_static(b"no JSON")), corrupt),
            (json(&ids[2]), Some(newer(&ids[2])), unsupported),
            // Its files are.
            (index.clone(), Some(Bytes::from(vec![0; all[&index].len()])), corrupt),
            (index.clone(), None, corrupt),
            (key(&ids[0], "vectors.bin.gz"), None, corrupt),
            (key(&ids[2], "metadata.bin.gz"), None, corrupt),
        ];
        for (key, bytes, kind) in cases {
            put(&key, bytes).await;
            let before = everything(dir, store).await;
            let plan = assert_blocked(&manager, id, &restored, &plain, &[kind]).await;
            assert_eq!(plan.state.is_none(), key.ends_with("json"), "{key}: {plan:?}");
            assert!(plan.checks.len() == 12 && plan.file.is_some(), "{key}: {plan:?}");
            // With something else in the way, both are found.
            fs::write(&restored, "precious").unwrap();
            drop(assert_blocked(&manager, id, &restored, &plain, &[ErrorKind::AlreadyExists, kind]).await);
            fs::remove_file(&restored).unwrap();
            forget(store.as_ref()).await;
            assert_eq!(everything(dir, store).await.1, before.1);
            put(&key, Some(all[&key].clone())).await;
        }
        // A file that is cut is found without reading it.
        let payloads = key(&ids[0], "metadata.bin.gz");
        put(&payloads, Some(cut(&payloads))).await;
        let plan = plan(&manager, id, &restored).await;
        assert_eq!((plan.blockers.len(), plan.blockers[0].key.as_deref()), (1, Some(&*payloads)), "{plan:?}");
        put(&payloads, Some(all[&payloads].clone())).await;
        // The increment has no vectors of its own, so a restore does not miss the file.
        let vectors = key(&ids[2], "vectors.bin.gz");
        put(&vectors, None).await;
        let plan = self::plan(&manager, id, &restored).await;
        let start = format!("{vectors} is missing: this command fails if it needs what is missing; ");
        assert!(plan.is_feasible() && plan.warnings.len() == 1 && plan.warnings[0].starts_with(&start), "{plan:?}");
        let warnings = Arc::new(Warnings::default());
        let listening = RestoreOptions::default().progress(warnings.clone());
        manager.restore_snapshot_to(id, &restored, &listening).await.unwrap();
        assert_eq!(warnings.list(), plan.warnings);
        fs::remove_file(&restored).unwrap();
        // What does not exist has no plan.
        for unknown in ["20200101T000000000Z-0123456789abcdef", "no id"] {
            let error = manager.plan_restore(unknown, &restored, &plain).await.unwrap_err();
            let expected = manager.restore_snapshot_to(unknown, &restored, &plain).await.unwrap_err();
            assert_eq!((error.kind(), error.message()), (expected.kind(), expected.message()));
        }
        dir.assert_nothing_restored();
    })
    .await;
}

/// A restore reads ranges, so that it does not see what is behind them.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_a_wrong_size_is_a_blocker_only_if_what_is_read_is_missing() {
    on_each_store(async |dir, store| {
        let manager = dir.manager_with_store(store.clone());
        let ids = chain(dir, &manager).await;
        let (id, restored) = (&ids[2], dir.restored());
        let all = objects(store.as_ref()).await;
        let put = async |key: &str, bytes: Bytes| {
            store.delete(key).await.unwrap();
            store.create(key, bytes).await.unwrap();
        };
        let (mut feasible_cuts, mut refused_cuts) = (0, 0);
        let files = ["vectors.bin.gz", "index.bin.gz", "metadata.bin.gz"];
        for (at, file) in ids.iter().flat_map(|id| files.map(|file| (id, file))) {
            let key = key(at, file);
            let whole = &all[&key];
            let longer = Bytes::from([whole, &b"xx"[..]].concat());
            for changed in [longer, whole.slice(..whole.len().saturating_sub(3)), whole.slice(..whole.len() / 2)] {
                if changed.len() == whole.len() {
                    continue;
                }
                let is_longer = changed.len() > whole.len();
                put(&key, changed.clone()).await;
                forget(store.as_ref()).await;
                let plan = plan(&manager, id, &restored).await;
                assert!(plan.is_feasible() || !is_longer, "{key}: {plan:?}");
                let warnings = Arc::new(Warnings::default());
                let listening = RestoreOptions::default().progress(warnings.clone());
                let done = manager.restore_snapshot_to(id, &restored, &listening).await;
                assert_eq!(plan.is_feasible(), done.is_ok(), "{key}, {} bytes: {plan:?} {done:?}", changed.len());
                let size = format!("{key} has {} bytes instead of {}: this command ", changed.len(), whole.len());
                let need = if is_longer { "does not need it, but " } else { "fails if it needs what is missing; " };
                assert!(plan.warnings[0].starts_with(&(size + need)), "{plan:?}");
                assert_eq!(warnings.list(), plan.warnings, "{key}, {} bytes", changed.len());
                if plan.is_feasible() {
                    assert_eq!(records_of_file(&restored).0.len(), 40);
                    fs::remove_file(&restored).unwrap();
                    feasible_cuts += usize::from(!is_longer);
                } else {
                    assert_eq!(plan.blockers[0].key.as_deref(), Some(&*key));
                    refused_cuts += 1;
                }
                put(&key, whole.clone()).await;
            }
        }
        // Both happen, so that the test does not pass for the one only.
        assert!(feasible_cuts > 0 && refused_cuts > 0, "{feasible_cuts} {refused_cuts}");
    })
    .await;
}

#[tokio::test]
async fn a_store_that_does_not_answer_is_an_error_and_no_blocker() {
    let (dir, store) = (TestDir::new(), memory_store());
    let ids = chain(&dir, &dir.manager_with_store(store.clone())).await;
    for file in ["metadata.json", "index.bin.gz", "vectors.bin.gz"] {
        let unreachable = CountingStore::with_unreachable_key(store.clone(), key(&ids[0], file));
        let manager = dir.manager_with_store(unreachable);
        let answer = manager.plan_restore(&ids[2], &dir.restored(), &RestoreOptions::default()).await;
        assert_eq!(answer.unwrap_err().kind(), ErrorKind::Unavailable, "{file}");
    }
}

/// An object that is only read, so that a plan can be distinguished from a restore.
#[tokio::test]
async fn a_restore_that_is_refused_reads_no_data() {
    let dir = TestDir::new();
    let ids = chain(&dir, &dir.manager()).await;
    fs::write(dir.restored(), "precious").unwrap();
    let counting = CountingStore::over(dir.local_store());
    let manager = dir.manager_with_store(counting.clone());
    manager.restore_snapshot_to(&ids[2], dir.restored(), &RestoreOptions::default()).await.unwrap_err();
    assert_eq!(counting.take_bytes_read(), BTreeMap::new());
    let missing = dir.path("no/such.db");
    manager.restore_snapshot_to(&ids[2], missing, &RestoreOptions::default()).await.unwrap_err();
    assert!(counting.take_bytes_read().keys().all(|key| key.ends_with("metadata.json")));
}

// ---- other destinations

#[tokio::test]
async fn a_plan_for_memory_has_no_target_and_refuses_what_memory_cannot_hold() {
    let dir = TestDir::new();
    let manager = dir.manager();
    let ids = chain(&dir, &manager).await;
    let feasible = plan(&manager, &ids[2], RestoreDestination::Memory).await;
    assert!(feasible.is_feasible() && feasible.checks.is_empty() && feasible.file.is_none(), "{feasible:?}");
    assert!(feasible.memory_bytes.unwrap() > 0);

    set_metadata(&dir.path("a.db"), "unknown", "no JSON");
    let irregular = create_full(&manager, &dir.path("a.db"), "irregular").await.unwrap().id;
    let refused = plan(&manager, &irregular, RestoreDestination::Memory).await;
    let error = manager.restore_snapshot(&irregular).await.map(drop).unwrap_err();
    let [blocker] = &*refused.blockers else { panic!("{refused:?}") };
    assert_eq!((blocker.kind, &*blocker.message), (error.kind(), error.message()));
    assert!(error.message().contains("this target can store records only"), "{error}");
    let skips = RestoreOptions::default().skip_irregular(true);
    let plan = manager.plan_restore(&irregular, RestoreDestination::Memory, &skips).await.unwrap();
    assert!(plan.is_feasible() && plan.warnings.len() == 1, "{plan:?}");
    assert_eq!(manager.restore_snapshot_with(&irregular, &skips).await.unwrap().len().unwrap(), 40);

    let index = dir.snapshots().join(layout::prefix(&ids[0])).join("index.bin.gz");
    fs::remove_file(&index).unwrap();
    let plan = manager.plan_restore(&ids[2], RestoreDestination::Memory, &skips).await.unwrap();
    let error = manager.restore_snapshot(&ids[2]).await.map(drop).unwrap_err();
    assert_eq!((plan.blockers[0].kind, plan.blockers[0].key.as_deref()), (error.kind(), error.key()));
}

/// A target of the caller's has no plan, and reads the same.
#[tokio::test]
async fn a_target_of_the_callers_gets_the_records_of_a_chain() {
    struct Count(usize);

    impl RestoreTarget for Count {
        fn put(&mut self, records: &mut dyn Iterator<Item = Record<'_>>) -> Result<()> {
            self.0 += records.count();
            Ok(())
        }
    }

    let dir = TestDir::new();
    let counting = CountingStore::over(dir.local_store());
    let manager = dir.manager_with_store(counting.clone());
    let ids = chain(&dir, &manager).await;
    let plan = plan(&manager, &ids[2], RestoreDestination::Memory).await;
    counting.take_bytes_read();
    let mut target = Count(0);
    manager.restore_into(&ids[2], &mut target, &RestoreOptions::default()).await.unwrap();
    assert_eq!((target.0, counting.take_bytes_read().values().sum()), (40, plan.fetch.unwrap().bytes));
}

#[tokio::test]
async fn a_snapshot_names_the_versions_that_wrote_it() {
    let dir = TestDir::new();
    let manager = dir.manager();
    drop(make_database(&dir.path("a.db"), 3, 4, 1));
    let source = FileSource::new(dir.path("a.db"));
    let snapshot = manager.create_from(&source, "one", &CreateOptions::default()).await.unwrap();
    let lock = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.lock")).unwrap();
    let (_, after) = lock.split_once("name = \"ruvector-core\"\nversion = \"").unwrap();
    let version = after.split('"').next().unwrap();
    let expected = format!("ruvector-snapshot {} for ruvector-core {version}", env!("CARGO_PKG_VERSION"));
    assert_eq!(snapshot.writer, expected);
    assert_eq!(plan(&manager, &snapshot.id, &dir.restored()).await.chain[0].writer, expected);
}

#[tokio::test]
async fn a_restored_file_has_about_the_size_that_the_plan_says() {
    for (rows, dimensions) in [(0, 4), (40, 4), (3000, 16), (3000, 128), (4000, 1000)] {
        let dir = TestDir::new();
        let manager = dir.manager();
        drop(make_database(&dir.path("a.db"), rows, dimensions, 1));
        let id = create_full(&manager, &dir.path("a.db"), "a").await.unwrap().id;
        let file = plan(&manager, &id, &dir.restored()).await.file.unwrap();
        let (least, likely) = (file.least_bytes.unwrap(), file.likely_bytes.unwrap());
        manager.restore_snapshot_to(&id, dir.restored(), &RestoreOptions::default()).await.unwrap();
        let found = fs::metadata(dir.restored()).unwrap();
        // redb extends a file before it fills it.
        let (bytes, filled) = (found.len(), found.blocks() * 512);
        assert!(least <= filled && filled <= likely && bytes <= likely + likely / 32, "{file:?}, {bytes}, {filled}");
    }
}

/// A table that cannot be read in place needs a private copy.
#[tokio::test]
async fn the_file_that_is_replaced_is_compared_by_a_copy_in_the_scratch_directory_of_the_settings() {
    let dir = TestDir::new();
    let db = dir.path("a.db");
    drop(make_database(&db, 40, 4, 1));
    let id = create_full(&dir.manager(), &db, "full").await.unwrap().id;
    let database = redb::Database::open(&db).unwrap();
    let write = database.begin_write().unwrap();
    let groups: redb::MultimapTableDefinition<'_, u64, &str> = redb::MultimapTableDefinition::new("groups");
    write.open_multimap_table(groups).unwrap().insert(1, "x").unwrap();
    write.commit().unwrap();
    drop(database);
    let options = RestoreOptions::default().overwrite(true);
    for (scratch, compared, expected) in
        [("scratch", "database of others", CheckOutcome::Ok), ("absent", "replaced file", CheckOutcome::NotChecked)]
    {
        let config = SnapshotConfig { scratch_dir: Some(dir.path(scratch)), ..dir.config() };
        let plan = SnapshotManager::new(config).unwrap().plan_restore(&id, &db, &options).await.unwrap();
        let check = plan.checks.iter().find(|check| check.name == compared);
        assert_eq!(check.map(|check| check.outcome), Some(expected), "{:?}", plan.checks);
    }
    dir.assert_scratch_empty();
}

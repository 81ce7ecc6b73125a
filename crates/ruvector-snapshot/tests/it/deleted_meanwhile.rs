//! A chain is deleted at any step of a reader. Every reader says that it was deleted, and none that it is corrupt; but a
//! base that is lost while its dependents stand is corrupt. R1 to R4 are the reading rules of docs/CONCURRENCY.md.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use ruvector_snapshot::store::testing::fault::{Action, Fault, FaultStore, Moment};
use ruvector_snapshot::store::{SnapshotStore, StoreConfig, StoreOptions, open};
use ruvector_snapshot::{
    AnnotateOptions, ChainEnd, CreateOptions, ErrorKind, Listing, PrunePolicy, RestoreOptions, Result, SnapshotError,
    SnapshotManager, Verification, VerifyOptions,
};
use test_fixtures::{TestDir, create_full, entry, local_store, make_database, memory_store, objects};
use test_servers::S3Server;

/// A deletion marker that an interrupted deletion has left.
const MARKER: &str = "deleting-0123456789abcdef";

/// Where the snapshots are.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Place {
    Disk,
    Bucket,
}

/// Something that reads a chain.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Reader {
    List,
    Resolve,
    Get,
    Chain,
    Records,
    Verify,
    VerifyAll,
    RestoreToFile,
    RestoreToMemory,
    Increment,
    Compact,
    PlanPrune,
}

const READERS: [Reader; 12] = [
    Reader::List,
    Reader::Resolve,
    Reader::Get,
    Reader::Chain,
    Reader::Records,
    Reader::Verify,
    Reader::VerifyAll,
    Reader::RestoreToFile,
    Reader::RestoreToMemory,
    Reader::Increment,
    Reader::Compact,
    Reader::PlanPrune,
];

/// A full snapshot that is kept, and a chain of a full snapshot and two increments.
struct Fixture {
    dir: TestDir,
    server: S3Server,
    objects: BTreeMap<String, Bytes>,
    kept: String,
    /// The chain, the full snapshot first.
    chain: Vec<String>,
    /// How many stores were made.
    stores: std::cell::Cell<usize>,
}

impl Fixture {
    async fn new() -> Self {
        let dir = TestDir::new();
        let store = memory_store();
        let manager = dir.manager_with_store(store.clone());
        let db = make_database(&dir.path("a.db"), 12, 4, 1);
        let kept = create_full(&manager, &dir.path("a.db"), "kept").await.unwrap().id;
        let mut chain = vec![create_full(&manager, &dir.path("a.db"), "chain").await.unwrap().id];
        for number in 0..2 {
            db.insert(entry(format!("new-{number}"), number, 4, 2)).unwrap();
            let options = CreateOptions::default().base_id(chain.last().unwrap());
            chain.push(manager.create_snapshot_of_file(dir.path("a.db"), "chain", &options).await.unwrap().id);
        }
        drop(db);
        Self { objects: objects(store.as_ref()).await, server: S3Server::start(), dir, kept, chain, stores: 0.into() }
    }

    fn newest(&self) -> &str {
        self.chain.last().unwrap()
    }

    /// Returns a store of its own with all snapshots.
    async fn store(&self, place: Place) -> Arc<dyn SnapshotStore> {
        self.stores.set(self.stores.get() + 1);
        if place == Place::Disk {
            let directory = self.dir.path(&format!("stores-{}", self.stores.get()));
            for (key, bytes) in &self.objects {
                let path = directory.join(key);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, bytes).unwrap();
            }
            return local_store(&directory);
        }
        let options = [
            ("endpoint", self.server.endpoint()),
            ("allow_http", "true".to_owned()),
            ("region", "us-east-1".to_owned()),
            ("access_key_id", S3Server::ACCESS_KEY.to_owned()),
            ("secret_access_key", S3Server::SECRET_KEY.to_owned()),
            ("shared_credentials_file", "/dev/null".to_owned()),
            ("config_file", "/dev/null".to_owned()),
        ];
        let options: StoreOptions = options.iter().map(|(name, value)| (*name, value.as_str())).collect();
        for (key, bytes) in &self.objects {
            self.server.put_object(&format!("{}/{key}", self.stores.get()), bytes);
        }
        let location = format!("s3://{}/{}", S3Server::BUCKET, self.stores.get()).parse().unwrap();
        open(&location, &StoreConfig::default().options(options)).unwrap()
    }

    async fn read(&self, manager: &SnapshotManager, reader: Reader) -> Result<()> {
        let id = self.newest();
        match reader {
            Reader::List => manager.list().await.map(|listing| assert_undamaged(&listing)),
            Reader::Resolve => manager.resolve("chain").await.map(drop),
            Reader::Get => manager.get_snapshot(id).await.map(drop),
            Reader::Chain => manager.chain(id).await.map(drop),
            Reader::Records => {
                let reader = manager.reader(id).await?;
                reader.records().await?.try_for_each(|_| async { Ok(()) }).await?;
                reader.index_rows().await?.try_for_each(|_| async { Ok(()) }).await
            }
            Reader::Verify => {
                let report = manager.verify_snapshot_with(id, &VerifyOptions::default()).await?;
                assert!(report.is_intact(), "{:?}", report.corruption);
                Ok(())
            }
            Reader::VerifyAll => {
                let all: Vec<_> = manager.verify_all(VerifyOptions::default()).try_collect().await?;
                let is_damage =
                    |one: &&Verification| one.is_intact() == Some(false) || matches!(one, Verification::Failed { .. });
                assert!(!all.iter().any(|one| is_damage(&one)), "{all:?}");
                assert!(all.iter().any(|one| one.id() == self.kept && one.is_intact() == Some(true)), "{all:?}");
                Ok(())
            }
            Reader::RestoreToFile => {
                let to = self.dir.restored();
                let restored = manager.restore_snapshot_to(id, &to, &RestoreOptions::default()).await.map(drop);
                if restored.is_ok() {
                    fs::remove_file(to).unwrap();
                }
                self.dir.assert_nothing_restored();
                restored
            }
            Reader::RestoreToMemory => manager.restore_snapshot(id).await.map(drop),
            Reader::Increment => {
                let options = CreateOptions::default().base_id(id);
                manager.create_snapshot_of_file(self.dir.path("a.db"), "new", &options).await.map(drop)
            }
            Reader::Compact => manager.compact_snapshot(id, None).await.map(drop),
            Reader::PlanPrune => {
                let plan = manager.plan_prune(&PrunePolicy::default().keep_last(9)).await?;
                assert!(plan.unusable.is_empty(), "{:?}", plan.unusable);
                let is_broken = |reason: &ruvector_snapshot::KeepReason| reason.to_string().contains("broken");
                let mut reasons = plan.keep.iter().flat_map(|kept| &kept.reasons);
                assert!(!reasons.any(is_broken), "{:?}", plan.keep);
                Ok(())
            }
        }
    }
}

fn assert_undamaged(listing: &Listing) {
    assert!(listing.unusable.is_empty(), "{:?}", listing.unusable);
    for snapshot in &listing.snapshots {
        let end = listing.ancestry(snapshot).end;
        assert!(!matches!(end, ChainEnd::Missing | ChainEnd::Unusable), "{}: {end:?}", snapshot.id);
    }
}

/// Runs a reader with an action at each of its steps, one run for each step.
async fn with_action_at_every_step<F: Future<Output = ()> + Send + 'static>(
    fixture: &Fixture,
    place: Place,
    reader: Reader,
    action: impl Fn(SnapshotManager, Vec<String>) -> F + Send + Sync + Clone + 'static,
    check: impl Fn(Result<()>, &str),
) -> usize {
    for at in 0.. {
        let inner = fixture.store(place).await;
        let (other, chain) = (fixture.dir.manager_with_store(inner.clone()), fixture.chain.clone());
        let action = action.clone();
        let run = move || action(other.clone(), chain.clone());
        let (store, steps) = FaultStore::over(inner, [(at, Fault::Do(Action::new(run)))]);
        let manager = fixture.dir.manager_with_store(store);
        let result = fixture.read(&manager, reader).await;
        manager.wait_for_cleanup().await;
        let Some(step) = steps.at(at) else { return at };
        check(result, &format!("{place:?}, {reader:?}, step {at}: {step}"));
    }
    unreachable!()
}

async fn delete_chain(manager: SnapshotManager, chain: Vec<String>) {
    // Refused if an increment depends on the chain by now.
    if let Ok(plan) = manager.plan_delete(&[&chain[0]], true).await {
        let _done = manager.apply_delete(&plan).await;
    }
}

async fn prune_chain(manager: SnapshotManager, chain: Vec<String>) {
    // A label of the other snapshot makes it the only one that is kept.
    let policy = PrunePolicy::default().keep_label("keep".parse().unwrap());
    let kept = manager.list().await.unwrap().snapshots.into_iter().find(|snapshot| !chain.contains(&snapshot.id));
    let label = AnnotateOptions::default().label("keep", "");
    manager.annotate_snapshot(&kept.unwrap().id, &label).await.unwrap();
    let plan = manager.plan_prune(&policy).await.unwrap();
    let _done = manager.apply_prune(&plan).await;
}

fn assert_deleted_meanwhile(reader: Reader, result: Result<()>, step: &str) {
    let Err(error) = result else { return };
    let is_right = match error.kind() {
        ErrorKind::NotFound => {
            let message = error.message();
            message.contains("deleted") || message.contains("does not exist") || reader == Reader::Resolve
        }
        // The base was seen with a deletion marker.
        ErrorKind::Unavailable => reader == Reader::Increment,
        _ => false,
    };
    assert!(is_right, "{step}: {error:?}");
}

async fn check_readers(place: Place, readers: impl IntoIterator<Item = Reader>) {
    let fixture = Fixture::new().await;
    for reader in readers {
        let check = |result: Result<()>, step: &str| assert_deleted_meanwhile(reader, result, step);
        let steps = with_action_at_every_step(&fixture, place, reader, delete_chain, check).await;
        assert!(steps > 2, "{reader:?} takes only {steps} steps");
    }
}

/// R1 and R2.
#[tokio::test]
async fn a_chain_on_disk_that_is_deleted_at_any_step_of_a_reader_is_not_corrupt() {
    // The others read the same way. Every store on disk takes some time.
    let is_like_another =
        |reader: &Reader| matches!(reader, Reader::Resolve | Reader::PlanPrune | Reader::RestoreToMemory | Reader::Get);
    check_readers(Place::Disk, READERS.into_iter().filter(|reader| !is_like_another(reader))).await;
}

/// R1 and R2.
#[tokio::test]
async fn a_chain_in_a_bucket_that_is_deleted_at_any_step_of_a_reader_is_not_corrupt() {
    check_readers(Place::Bucket, READERS).await;
}

/// R1 and R2, with a prune in place of a delete.
#[tokio::test]
async fn a_chain_that_is_pruned_at_any_step_of_a_reader_is_not_corrupt() {
    let fixture = Fixture::new().await;
    for reader in [Reader::List, Reader::Chain, Reader::VerifyAll, Reader::RestoreToMemory] {
        let check = |result: Result<()>, step: &str| assert_deleted_meanwhile(reader, result, step);
        with_action_at_every_step(&fixture, Place::Bucket, reader, prune_chain, check).await;
    }
}

/// A corrupt chain that is deleted while it is read was deleted. Only a reader that has ended before may call it
/// corrupt.
#[tokio::test]
async fn a_corrupt_chain_that_is_deleted_meanwhile_is_not_found() {
    let mut fixture = Fixture::new().await;
    let key = format!("snapshot-{}/vectors.bin.gz", fixture.chain[0]);
    let mut bytes = fixture.objects[&key].to_vec();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fixture.objects.insert(key, bytes.into());
    for reader in [Reader::RestoreToFile, Reader::Records, Reader::Compact] {
        let (not_found, corrupt) = (std::cell::Cell::new(0), std::cell::RefCell::new(Vec::new()));
        let check = |result: Result<()>, step: &str| match result.unwrap_err().kind() {
            ErrorKind::Corrupt => corrupt.borrow_mut().push(step.to_owned()),
            ErrorKind::NotFound if corrupt.borrow().is_empty() => not_found.set(not_found.get() + 1),
            kind => panic!("{step}: {kind}, after {:?}", corrupt.borrow()),
        };
        with_action_at_every_step(&fixture, Place::Disk, reader, delete_chain, check).await;
        assert!(not_found.get() > 10, "{reader:?}: {}", not_found.get());
        // The chain exists until the end of the last look.
        let last_look = format!("snapshot-{}/metadata.json", fixture.newest());
        let first = corrupt.borrow().first().cloned().unwrap();
        assert!(first.contains("after head") && first.ends_with(&last_look), "{reader:?}: {first}");
    }
}

// ---- real damage

/// What a reader says of a chain whose base is lost.
async fn damage_found(fixture: &Fixture, manager: &SnapshotManager, reader: Reader) -> Option<SnapshotError> {
    match reader {
        Reader::List => {
            let listing = manager.list().await.unwrap();
            let snapshot = listing.snapshots.iter().find(|snapshot| snapshot.id == *fixture.newest()).unwrap();
            assert!(matches!(listing.ancestry(snapshot).end, ChainEnd::Missing | ChainEnd::Unusable), "{listing:?}");
            None
        }
        Reader::Verify => {
            let report = manager.verify_snapshot_with(fixture.newest(), &VerifyOptions::default()).await.unwrap();
            assert!(!report.is_intact());
            None
        }
        Reader::VerifyAll => {
            let all: Vec<_> = manager.verify_all(VerifyOptions::default()).try_collect().await.unwrap();
            let newest = all.iter().find(|one| one.id() == fixture.newest()).unwrap();
            assert_eq!(newest.is_intact(), Some(false), "{all:?}");
            None
        }
        Reader::Resolve | Reader::Get | Reader::PlanPrune => None,
        _ => Some(fixture.read(manager, reader).await.unwrap_err()),
    }
}

/// R3: a deletion marker that an interrupted deletion has left hides no damage.
#[tokio::test]
async fn a_base_that_is_lost_while_its_dependents_stand_is_corrupt() {
    let fixture = Fixture::new().await;
    for place in [Place::Disk, Place::Bucket] {
        for lost_files in [&["metadata.json"][..], &["metadata.json", "vectors.bin.gz"], &[]] {
            for is_marked in [false, true] {
                let store = fixture.store(place).await;
                let base = format!("snapshot-{}/", fixture.chain[0]);
                let keys: Vec<&String> = fixture.objects.keys().filter(|key| key.starts_with(&base)).collect();
                let is_lost =
                    |key: &&&String| lost_files.is_empty() || lost_files.iter().any(|file| key.ends_with(file));
                for key in keys.iter().filter(is_lost) {
                    store.delete(key).await.unwrap();
                }
                if is_marked {
                    for dependent in &fixture.chain[1..] {
                        store.create(&format!("snapshot-{dependent}/{MARKER}"), Bytes::new()).await.unwrap();
                    }
                }
                let manager = fixture.dir.manager_with_store(store);
                for reader in READERS {
                    let what = format!("{place:?}, {reader:?}, {lost_files:?}, marked: {is_marked}");
                    if let Some(error) = damage_found(&fixture, &manager, reader).await {
                        assert_eq!(error.kind(), ErrorKind::Corrupt, "{what}: {error:?}");
                        assert!(error.message().contains(&fixture.chain[0]), "{what}: {error:?}");
                    }
                }
            }
        }
    }
}

/// The base is lost at any step of a reader, by hand and not by a deletion.
#[tokio::test]
async fn a_base_that_is_lost_during_the_work_is_corrupt_and_not_deleted() {
    let fixture = Fixture::new().await;
    for reader in [Reader::Chain, Reader::Records, Reader::RestoreToFile, Reader::Increment, Reader::Compact] {
        let objects: Vec<String> = fixture.objects.keys().cloned().collect();
        let place = Place::Disk;
        for at in 0.. {
            let inner = fixture.store(place).await;
            let (other, objects) = (inner.clone(), objects.clone());
            let base = format!("snapshot-{}/", fixture.chain[0]);
            let lose = move || {
                let (other, keys) = (other.clone(), objects.clone());
                let base = base.clone();
                async move {
                    let keys = keys.into_iter().filter(|key| key.starts_with(&base));
                    let lost = futures::stream::iter(keys).for_each(|key| {
                        let other = other.clone();
                        async move { other.delete(&key).await.unwrap() }
                    });
                    lost.await;
                }
            };
            let (store, steps) = FaultStore::over(inner, [(at, Fault::Do(Action::new(lose)))]);
            let manager = fixture.dir.manager_with_store(store);
            let result = fixture.read(&manager, reader).await;
            manager.wait_for_cleanup().await;
            let Some(step) = steps.at(at) else { break };
            if let Err(error) = result {
                // A create checks its base again around the commit, and says of any base that is gone that it was deleted.
                let is_right = error.kind() == ErrorKind::Corrupt
                    || reader == Reader::Increment && error.kind() == ErrorKind::NotFound;
                assert!(is_right, "{reader:?}, step {at}: {step}: {error:?}");
            }
        }
    }
}

/// R4: a snapshot without `metadata.json` that something depends on is lost, unless it is being deleted.
#[tokio::test]
async fn a_lost_snapshot_that_is_deleted_meanwhile_is_not_reported_by_verify_all() {
    let mut fixture = Fixture::new().await;
    fixture.objects.remove(&format!("snapshot-{}/metadata.json", fixture.chain[0]));
    for at in 0.. {
        let inner = fixture.store(Place::Disk).await;
        let (other, chain) = (fixture.dir.manager_with_store(inner.clone()), fixture.chain.clone());
        let delete = move || delete_chain(other.clone(), chain.clone());
        let (store, steps) = FaultStore::over(inner.clone(), [(at, Fault::Do(Action::new(delete)))]);
        let manager = fixture.dir.manager_with_store(store);
        // Its steps come after what is reported was found out.
        let options = VerifyOptions::default().record(false);
        let mut found = std::pin::pin!(manager.verify_all(options));
        while let Some(one) = found.next().await {
            let one = one.unwrap();
            let is_reported = one.is_intact() == Some(false) || matches!(one, Verification::Failed { .. });
            let listing = fixture.dir.manager_with_store(inner.clone()).list().await.unwrap();
            let has_chain = listing.snapshots.iter().any(|snapshot| fixture.chain.contains(&snapshot.id));
            // After the last look.
            let is_late = steps.at(at).is_some_and(|step| step.moment == Moment::After);
            assert!(has_chain || is_late || !is_reported, "step {at}, {:?}: {one:?}", steps.at(at));
        }
        if steps.at(at).is_none() {
            break;
        }
    }
}

// ---- what looks like a deletion and is none

/// `metadata.json` of the newest snapshot is removed at any step, and its data stays: it is lost, and was not deleted.
#[tokio::test]
async fn a_metadata_json_that_is_lost_during_the_work_is_corrupt_and_not_deleted() {
    let fixture = Fixture::new().await;
    let key = format!("snapshot-{}/metadata.json", fixture.newest());
    for place in [Place::Disk, Place::Bucket] {
        for reader in [Reader::Verify, Reader::VerifyAll, Reader::List, Reader::RestoreToFile, Reader::Records] {
            let mut lost = 0;
            for at in 0.. {
                let inner = fixture.store(place).await;
                let (other, key) = (inner.clone(), key.clone());
                let lose = move || {
                    let (other, key) = (other.clone(), key.clone());
                    async move { other.delete(&key).await.unwrap() }
                };
                let (store, steps) = FaultStore::over(inner, [(at, Fault::Do(Action::new(lose)))]);
                let manager = fixture.dir.manager_with_store(store);
                let outcome = outcome_of_newest(&fixture, &manager, reader).await;
                let Some(step) = steps.at(at) else { break };
                let what = format!("{place:?}, {reader:?}, step {at}: {step}: {outcome:?}");
                match outcome {
                    Ok(()) => {}
                    // Lost before it was read for the first time.
                    Err(error) if error.kind() == ErrorKind::NotFound => {
                        assert!(error.message().contains("files of it are there, but no metadata.json"), "{what}");
                        assert!(![Reader::VerifyAll, Reader::List].contains(&reader), "{what}");
                        lost += 1;
                    }
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::Corrupt, "{what}");
                        lost += 1;
                    }
                }
            }
            assert!(lost > 0, "{place:?}, {reader:?}");
        }
    }
}

/// What a reader finds out about the newest snapshot.
async fn outcome_of_newest(fixture: &Fixture, manager: &SnapshotManager, reader: Reader) -> Result<()> {
    match reader {
        Reader::VerifyAll => {
            let all: Vec<_> = manager.verify_all(VerifyOptions::default()).try_collect().await?;
            let newest = all.into_iter().find(|one| one.id() == fixture.newest()).expect("it is reported");
            match newest {
                Verification::Failed { error, .. } => Err(error),
                // Lost before it was listed.
                Verification::PendingUpload { .. } => Ok(()),
                other => {
                    assert_eq!(other.is_intact(), Some(true), "{other:?}");
                    Ok(())
                }
            }
        }
        Reader::List => {
            let listing = manager.list().await?;
            let is_usable = listing.snapshots.iter().any(|snapshot| snapshot.id == fixture.newest());
            if is_usable || listing.pending_uploads.iter().any(|id| id == fixture.newest()) {
                return Ok(());
            }
            Err(listing.unusable.into_iter().find(|other| other.id == fixture.newest()).expect("it is listed").error)
        }
        _ => fixture.read(manager, reader).await,
    }
}

/// The directory of the store is moved away, or becomes empty, at any step of a verification.
#[tokio::test]
async fn a_store_that_vanishes_is_no_success_of_verify_all() {
    let fixture = Fixture::new().await;
    for is_empty_then in [false, true] {
        let mut failed = 0;
        for at in 0.. {
            let inner = fixture.store(Place::Disk).await;
            let directory = fixture.dir.path(&format!("stores-{}", fixture.stores.get()));
            let vanish = move || {
                let directory = directory.clone();
                async move {
                    fs::rename(&directory, directory.with_extension("gone")).unwrap();
                    if is_empty_then {
                        fs::create_dir(&directory).unwrap();
                    }
                }
            };
            let (store, steps) = FaultStore::over(inner, [(at, Fault::Do(Action::new(vanish)))]);
            let manager = fixture.dir.manager_with_store(store);
            let all: Vec<_> = manager.verify_all(VerifyOptions::default()).collect().await;
            let Some(step) = steps.at(at) else { break };
            let what = format!("empty: {is_empty_then}, step {at}: {step}: {all:?}");
            let is_failure = |one: &Result<Verification>| matches!(one, Err(_) | Ok(Verification::Failed { .. }));
            let is_intact = |one: &Result<Verification>| one.as_ref().is_ok_and(|one| one.is_intact() == Some(true));
            // An empty store has nothing to verify, and after the last step nothing is left to do.
            let is_right = all.iter().any(is_failure) || all.iter().all(is_intact);
            assert!(is_right, "{what}");
            let is_deleted = |one: &Result<Verification>| matches!(one, Ok(Verification::Deleted { .. }));
            assert!(is_empty_then || !all.iter().any(is_deleted), "{what}");
            failed += usize::from(all.iter().any(is_failure));
        }
        assert!(failed > 5, "{failed}");
    }
}

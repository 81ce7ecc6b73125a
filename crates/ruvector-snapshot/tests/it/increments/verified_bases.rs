//! What a create checks of its base: by default what it reads, with `verify_base` or `verify_after_write` every byte of
//! the chain. A base that is found corrupt is refused before anything is stored.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use ruvector_snapshot::store::SnapshotStore;
use ruvector_snapshot::{
    CreateOptions, ErrorKind, Phase, Progress, ProgressUpdate, Result, Snapshot, SnapshotConfig, SnapshotError,
    SnapshotManager,
};
use ruvector_snapshot_format::layout::{self, DataFile};
use ruvector_snapshot_format::leaves;
use test_fixtures::{
    StoredSnapshot, TestDir, TickingClock, entry, local_store, make_database, make_many_blocks, objects,
};
use test_servers::S3Server;

use super::corrupt_chains::put_leaves;
use super::fixture::{create, forget as forget_files};
use crate::common::bucket_stores::s3_store;
use crate::common::forget;

/// A full snapshot and two increments, and a database that has changed since.
struct Fixture {
    dir: TestDir,
    store: Arc<dyn SnapshotStore>,
    manager: SnapshotManager,
    path: PathBuf,
    chain: Vec<Snapshot>,
    /// The content checksum of the database.
    checksum: String,
}

/// How a create is asked to verify its base.
#[derive(Debug, Clone, Copy)]
enum Asked {
    VerifyBase,
    VerifyAfterWrite,
}

impl Fixture {
    async fn new(store: impl FnOnce(&TestDir) -> Arc<dyn SnapshotStore>) -> Self {
        let dir = TestDir::new();
        let store = store(&dir);
        let manager = dir.manager_with_store(store.clone()).with_clock(TickingClock::seconds_from_year(2020));
        let path = dir.path("a.db");
        let db = make_database(&path, 120, 8, 1);
        let mut chain = vec![create(&manager, &path, None).await.unwrap()];
        for number in 0..2 {
            db.insert(entry("id-000007".to_owned(), 20 + number, 8, 2)).unwrap();
            db.insert(entry(format!("new-{number}"), 10, 8, 2)).unwrap();
            db.delete(&format!("id-00003{number}")).unwrap();
            let next = create(&manager, &path, chain.last()).await.unwrap();
            chain.push(next);
        }
        db.insert(entry("newest".to_owned(), 1, 8, 4)).unwrap();
        drop(db);
        // Its id is older than those of the chain, and it depends on nothing.
        let full = create(&manager, &path, None).await.unwrap();
        manager.delete_snapshot(&full.id).await.unwrap();
        Self { dir, store, manager, path, chain, checksum: full.checksum }
    }

    async fn on_disk() -> Self {
        Self::new(|dir| local_store(&dir.snapshots())).await
    }

    fn base(&self) -> &Snapshot {
        &self.chain[2]
    }

    fn key(&self, at: usize, file: &str) -> String {
        layout::key(&self.chain[at].id.parse().unwrap(), file)
    }

    async fn create(&self, asked: Asked) -> Result<Snapshot> {
        let options = CreateOptions::default().base_id(&self.base().id);
        match asked {
            Asked::VerifyBase => {
                self.manager.create_snapshot_of_file(&self.path, "next", &options.verify_base(true)).await
            }
            Asked::VerifyAfterWrite => {
                let config = SnapshotConfig { verify_after_write: true, ..self.dir.config() };
                let manager = SnapshotManager::with_store(config, self.store.clone()).unwrap();
                manager.create_snapshot_of_file(&self.path, "next", &options).await
            }
        }
    }

    /// Asserts that a create is refused, that nothing is stored, and that the error says what to do.
    async fn assert_refused(&self, what: &str, asked: Asked) -> SnapshotError {
        let before = objects(self.store.as_ref()).await;
        let error = self.create(asked).await.expect_err(what);
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{what}: {error:?}");
        let text = error.to_string();
        for part in [self.base().id.as_str(), "as a base", "take a full snapshot", "verify"] {
            assert!(text.contains(part), "{what}: {part:?} is not in {text:?}");
        }
        forget(self.store.as_ref()).await;
        assert!(objects(self.store.as_ref()).await == before, "{what}: the store has changed");
        self.dir.assert_scratch_empty();
        error
    }

    /// Asserts that a create without options stores the state of the database, or is refused and stores nothing.
    /// Returns whether it was refused.
    async fn is_refused_by_default(&self, what: &str) -> bool {
        let before = objects(self.store.as_ref()).await;
        match create(&self.manager, &self.path, Some(self.base())).await {
            Ok(made) => {
                assert_eq!(made.checksum, self.checksum, "{what}");
                self.manager.delete_snapshot(&made.id).await.unwrap();
                false
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Corrupt, "{what}: {error:?}");
                assert!(error.message().contains("as a base"), "{what}: {error}");
                forget(self.store.as_ref()).await;
                assert!(objects(self.store.as_ref()).await == before, "{what}: the store has changed");
                true
            }
        }
    }

    /// Asserts that a compact is refused, or that its result is intact and has the state of the chain. Returns whether
    /// it was refused.
    async fn is_compact_refused(&self, what: &str) -> bool {
        let before = objects(self.store.as_ref()).await;
        match self.manager.compact_snapshot(&self.base().id, None).await {
            Ok(compacted) => {
                assert_eq!(compacted.checksum, self.base().checksum, "{what}");
                assert!(self.manager.verify_snapshot(&compacted.id).await.unwrap(), "{what}");
                self.manager.delete_snapshot(&compacted.id).await.unwrap();
                false
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Corrupt, "{what}: {error:?}");
                forget(self.store.as_ref()).await;
                assert!(objects(self.store.as_ref()).await == before, "{what}: the store has changed");
                true
            }
        }
    }

    async fn replace(&self, key: &str, bytes: &[u8]) {
        self.store.delete(key).await.unwrap();
        self.store.create(key, bytes.to_vec().into()).await.unwrap();
    }

    /// Flips a bit in each file of each snapshot of the chain, in the first block and at the end.
    async fn check_every_file_of_the_chain(&self) {
        for asked in [Asked::VerifyBase, Asked::VerifyAfterWrite] {
            let made = self.create(asked).await.unwrap();
            assert_eq!(made.checksum, self.checksum, "{asked:?}");
            self.manager.delete_snapshot(&made.id).await.unwrap();
        }
        let all = objects(self.store.as_ref()).await;
        for (at, file) in (0..3).flat_map(|at| layout::FILES.map(|file| (at, file))) {
            let key = self.key(at, file);
            let intact = &all[&key];
            for byte in [15, intact.len() - 2] {
                let what = format!("byte {byte} of {file} of link {at}");
                let mut bytes = intact.to_vec();
                bytes[byte] ^= 4;
                self.replace(&key, &bytes).await;
                for asked in [Asked::VerifyBase, Asked::VerifyAfterWrite] {
                    let error = self.assert_refused(&what, asked).await;
                    assert_eq!(error.key(), Some(key.as_str()), "{what}: {error}");
                    if byte == 15 && DataFile::ALL.iter().any(|data| data.name() == file) {
                        assert_eq!(error.message().matches("block 0: ").count(), 1, "{what}: {error}");
                    }
                }
                let by_default = self.is_refused_by_default(&what).await;
                let compact = self.is_compact_refused(&what).await;
                match (file, byte) {
                    // The seal is checked, and so are the leaf tables, at the end of the index.
                    ("metadata.json", _) => assert!(by_default && compact, "{what}"),
                    ("index.bin.gz", 15) => assert!(compact, "{what}"),
                    ("index.bin.gz", _) => assert!(by_default && !compact, "{what}"),
                    ("checksum.sha256", _) => assert!(!by_default && !compact, "{what}"),
                    ("vectors.bin.gz", _) => assert!(!by_default && compact, "{what}"),
                    _ => assert!(compact, "{what}"),
                }
                self.replace(&key, intact).await;
            }
        }
        assert!(self.manager.verify_snapshot(&self.base().id).await.unwrap());
    }
}

#[tokio::test]
async fn a_base_that_is_corrupt_anywhere_in_its_chain_is_refused_if_it_is_verified() {
    Fixture::on_disk().await.check_every_file_of_the_chain().await;
}

#[tokio::test]
async fn a_base_that_is_corrupt_anywhere_in_its_chain_is_refused_if_it_is_verified_in_a_bucket() {
    let server = S3Server::start();
    Fixture::new(|_| s3_store(&server, "verified")).await.check_every_file_of_the_chain().await;
}

#[tokio::test]
async fn a_sealed_leaf_table_that_does_not_fit_its_snapshot_is_refused_if_the_base_is_verified() {
    let fixture = Fixture::on_disk().await;
    let stored = StoredSnapshot::read(&fixture.dir.snapshots(), &fixture.chain[0].id);
    let [mut vectors, metadata] = leaves::decode(&stored.section("leaves"), None).unwrap();
    vectors.push(1, 1, "zzz");
    put_leaves(&stored, &leaves::encode(&[vectors, metadata], None));
    for asked in [Asked::VerifyBase, Asked::VerifyAfterWrite] {
        let error = fixture.assert_refused("a leaf too many", asked).await;
        assert!(error.message().contains("leaves"), "{error}");
    }
    // A table that is no table is refused in any case, because the create reads it.
    put_leaves(&stored, b"not a table");
    assert!(fixture.is_refused_by_default("no table").await);
    fixture.assert_refused("no table", Asked::VerifyBase).await;
}

/// By default it depends on where the database has changed whether the corruption of a block is found.
#[tokio::test]
async fn a_corrupt_block_is_found_by_default_only_if_the_create_reads_it() {
    let dir = TestDir::new();
    let path = dir.path("a.db");
    let db = make_many_blocks(&path, 5000, 1);
    let manager = dir.manager().with_clock(TickingClock::seconds_from_year(2020));
    let base = create(&manager, &path, None).await.unwrap();
    let stored = StoredSnapshot::read(&dir.snapshots(), &base.id);
    let entries = stored.entries();
    assert!(entries.len() >= 3, "{} blocks", entries.len());
    db.delete(&entries[1].first_id).unwrap();
    let expected = create(&manager, &path, None).await.unwrap().checksum;
    for (file, block) in [DataFile::Index, DataFile::Vectors].into_iter().flat_map(|file| [(file, 1), (file, 2)]) {
        let what = format!("block {block} of {}", file.name());
        let mut bytes = stored.file(file.name()).to_vec();
        bytes[entries[block].range(file).start as usize + 30] ^= 1;
        stored.put(file.name(), &bytes);
        let options = CreateOptions::default().base_id(&base.id);
        let verified = manager.create_snapshot_of_file(&path, "next", &options.clone().verify_base(true)).await;
        let error = verified.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{what}");
        assert!(error.message().contains(&format!("block {block}: ")), "{what}: {error}");
        assert!(error.key().is_some_and(|key| key.ends_with(file.name())), "{what}: {error}");
        forget_files(&dir.snapshots());
        match manager.create_snapshot_of_file(&path, "next", &options).await {
            Ok(made) => {
                assert!(file == DataFile::Vectors || block != 1, "{what} was read");
                assert_eq!(made.checksum, expected, "{what}");
                manager.delete_snapshot(&made.id).await.unwrap();
            }
            Err(error) => {
                assert!(file == DataFile::Index && block == 1, "{what} was not read: {error}");
                assert_eq!(error.kind(), ErrorKind::Corrupt, "{what}");
                let text = error.to_string();
                assert!(text.contains(&base.id) && text.contains("take a full snapshot"), "{what}: {text}");
            }
        }
        stored.repair();
        forget_files(&dir.snapshots());
    }
}

#[tokio::test]
async fn the_base_of_a_database_in_memory_is_verified_too() {
    let fixture = Fixture::on_disk().await;
    let db = fixture.manager.restore_snapshot(&fixture.base().id).await.unwrap();
    let options = CreateOptions::default().base_id(&fixture.base().id).base_from_elsewhere(true);
    let stored = StoredSnapshot::read(&fixture.dir.snapshots(), &fixture.chain[0].id);
    let mut vectors = stored.file(DataFile::Vectors.name()).to_vec();
    vectors[20] ^= 1;
    stored.put(DataFile::Vectors.name(), &vectors);
    let verified = options.clone().verify_base(true);
    let error = fixture.manager.create_snapshot_with(&db, "next", &verified).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
    forget(fixture.store.as_ref()).await;
    fixture.manager.create_snapshot_with(&db, "next", &options).await.unwrap();
}

#[derive(Debug, Default)]
struct Phases(Mutex<Vec<Phase>>);

impl Progress for Phases {
    fn update(&self, update: ProgressUpdate) {
        let mut phases = self.0.lock().unwrap();
        if phases.last() != Some(&update.phase) {
            phases.push(update.phase);
        }
    }
}

#[tokio::test]
async fn a_create_reports_the_verification_of_its_base_and_a_full_snapshot_needs_none() {
    let fixture = Fixture::on_disk().await;
    let phases_of = async |options: CreateOptions| {
        let phases = Arc::new(Phases::default());
        let options = options.verify_base(true).progress(phases.clone());
        fixture.manager.create_snapshot_of_file(&fixture.path, "next", &options).await.unwrap();
        let phases = phases.0.lock().unwrap();
        phases.clone()
    };
    let based = phases_of(CreateOptions::default().base_id(&fixture.base().id)).await;
    assert_eq!(based, [Phase::Verify, Phase::Create, Phase::Store]);
    assert_eq!(phases_of(CreateOptions::default()).await, [Phase::Create, Phase::Store]);
}

//! Corrupt snapshots within a chain: verify names the snapshot, no operation uses wrong data, and intact snapshots of
//! the chain can still be read.

use std::collections::BTreeSet;

use ruvector_core::VectorDB;
use ruvector_snapshot::{ErrorKind, RestoreOptions, Snapshot, SnapshotManager, VerifyOptions, VerifyReport};
use ruvector_snapshot_format::checksum::{checksum_sha256, sha256_hex};
use ruvector_snapshot_format::codec::member::{Coding, pack};
use ruvector_snapshot_format::layout::{self, DataFile};
use ruvector_snapshot_format::leaves;
use ruvector_snapshot_format::model::LeafTable;
use test_fixtures::{
    Records, StoredSnapshot, TestDir, TickingClock, contents, edit_metadata, entry, make_database, memory_store,
    options, records_of_file,
};

use super::fixture::{create, files, forget};

/// A full snapshot and two increments of a database that changed before each of them.
struct Fixture {
    dir: TestDir,
    manager: SnapshotManager,
    snapshots: [Snapshot; 3],
    records: [Records; 3],
}

impl Fixture {
    async fn new() -> Self {
        let dir = TestDir::new();
        let manager = dir.manager().with_clock(TickingClock::seconds_from_year(2020));
        let path = dir.path("a.db");
        let db = make_database(&path, 300, 8, 1);
        let full = create(&manager, &path, None).await.unwrap();
        let mut records = vec![records_of_file(&path)];
        db.insert(entry("id-000007".to_owned(), 7, 8, 2)).unwrap();
        db.insert(entry("new".to_owned(), 8, 8, 2)).unwrap();
        db.delete("id-000100").unwrap();
        let one = create(&manager, &path, Some(&full)).await.unwrap();
        records.push(records_of_file(&path));
        db.insert(entry("newer".to_owned(), 10, 8, 3)).unwrap();
        db.delete("new").unwrap();
        let two = create(&manager, &path, Some(&one)).await.unwrap();
        records.push(records_of_file(&path));
        Self { dir, manager, snapshots: [full, one, two], records: records.try_into().unwrap() }
    }

    fn id(&self, at: usize) -> &str {
        &self.snapshots[at].id
    }

    fn stored(&self, at: usize) -> StoredSnapshot {
        StoredSnapshot::read(&self.dir.snapshots(), self.id(at))
    }

    async fn verify(&self, at: usize) -> VerifyReport {
        // Not recorded: a base that is known to be corrupt is refused before it is read.
        let options = VerifyOptions::default().record(false);
        self.manager.verify_snapshot_with(self.id(at), &options).await.unwrap()
    }

    async fn assert_restores(&self, at: usize) {
        self.assert_restores_to(self.id(at), &self.records[at]).await;
    }

    async fn assert_restores_to(&self, id: &str, records: &Records) {
        let restored = self.dir.restored();
        self.manager.restore_snapshot_to(id, &restored, &RestoreOptions::default()).await.unwrap();
        assert!(records_of_file(&restored) == *records, "{id} restores to other records");
        std::fs::remove_file(restored).unwrap();
    }

    /// Asserts that restore, compact and create find that the snapshot is corrupt, and change nothing but the ledger.
    async fn assert_refused(&self, at: usize) {
        let before = files(&self.dir.snapshots());
        let options = RestoreOptions::default();
        let restored = self.manager.restore_snapshot_to(self.id(at), self.dir.restored(), &options).await;
        assert_eq!(restored.unwrap_err().kind(), ErrorKind::Corrupt);
        self.dir.assert_nothing_restored();
        forget(&self.dir.snapshots());
        let made = create(&self.manager, &self.dir.path("a.db"), Some(&self.snapshots[at])).await;
        assert_eq!(made.unwrap_err().kind(), ErrorKind::Corrupt);
        forget(&self.dir.snapshots());
        if at > 0 {
            let compacted = self.manager.compact_snapshot(self.id(at), None).await;
            assert_eq!(compacted.unwrap_err().kind(), ErrorKind::Corrupt);
        }
        forget(&self.dir.snapshots());
        assert!(files(&self.dir.snapshots()) == before, "the store has changed");
    }
}

/// Returns the snapshots that a report finds corrupt.
fn corrupt(report: &VerifyReport) -> BTreeSet<&str> {
    report.corruption.iter().map(|corruption| corruption.snapshot.as_str()).collect()
}

/// Changes members of metadata.json, seals it, and lists it in checksum.sha256.
pub(super) fn put_metadata(stored: &StoredSnapshot, change: impl FnOnce(&mut serde_json::Value)) {
    let json = edit_metadata(stored.file(layout::METADATA_JSON), change);
    let sums = DataFile::ALL.map(|file| sha256_hex(stored.file(file.name())));
    stored.put(layout::CHECKSUM_SHA256, checksum_sha256(&json, sums.each_ref().map(String::as_str)).as_bytes());
    stored.put(layout::METADATA_JSON, &json);
}

/// Replaces the leaf table of a snapshot, and adapts every size and checksum.
pub(super) fn put_leaves(stored: &StoredSnapshot, raw: &[u8]) {
    let metadata = stored.metadata();
    let section = metadata.sections.last().unwrap();
    assert_eq!(section.name, "leaves");
    let mut index = stored.file(DataFile::Index.name())[..section.offset as usize].to_vec();
    let bytes = pack(raw, Coding::Deflate(9), &mut index).unwrap();
    let index_raw_bytes = metadata.file(DataFile::Index).unwrap().raw_bytes - section.raw_bytes + raw.len() as u64;
    stored.put(DataFile::Index.name(), &index);
    let mut changed = stored.clone();
    changed.files.insert(DataFile::Index.name().to_owned(), index.clone());
    put_metadata(&changed, |json| {
        json["sections"][2]["bytes"] = bytes.into();
        json["sections"][2]["raw_bytes"] = raw.len().into();
        json["files"][DataFile::Index.name()] =
            serde_json::json!({"bytes": index.len(), "sha256": sha256_hex(&index), "raw_bytes": index_raw_bytes});
    });
}

#[tokio::test]
async fn a_malformed_leaf_table_is_reported_refused_as_a_base_and_removed_by_compact() {
    let fixture = Fixture::new().await;
    let path = fixture.dir.path("a.db");
    for at in [0, 1] {
        let stored = fixture.stored(at);
        let original = stored.section("leaves");
        put_leaves(&stored, &original);
        assert!(fixture.verify(2).await.is_intact());

        put_leaves(&stored, b"not a table");
        for dependent in at..3 {
            let report = fixture.verify(dependent).await;
            assert!(!report.is_intact(), "verify of {dependent} missed the leaf table of {at}");
            assert!(
                report.corruption.iter().all(|corruption| corruption.file == "index.bin.gz"),
                "{:?}",
                report.corruption
            );
            let before = files(&fixture.dir.snapshots());
            let error = create(&fixture.manager, &path, Some(&fixture.snapshots[dependent])).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt);
            assert!(error.to_string().contains(fixture.id(at)) && error.message().contains("leaves"), "{error}");
            forget(&fixture.dir.snapshots());
            assert!(files(&fixture.dir.snapshots()) == before);
            // The records do not depend on the leaf table.
            fixture.assert_restores(dependent).await;
        }
        // The compacted copy has no such table, and can be a base.
        let compacted = fixture.manager.compact_snapshot(fixture.id(2), None).await.unwrap();
        fixture.assert_restores_to(&compacted.id, &fixture.records[2]).await;
        let next = create(&fixture.manager, &path, Some(&compacted)).await.unwrap();
        assert_eq!(next.checksum, fixture.snapshots[2].checksum);
        assert!(fixture.manager.verify_snapshot(&next.id).await.unwrap());
        stored.repair();
    }
    assert!(fixture.verify(2).await.is_intact());
}

#[tokio::test]
async fn a_leaf_table_with_a_wrong_number_of_rows_is_reported() {
    let fixture = Fixture::new().await;
    let stored = fixture.stored(0);
    let [vectors, metadata] = leaves::decode(&stored.section("leaves"), None).unwrap();
    let mut more = vectors.clone();
    more.push(1, 1, "zzz");
    for wrong in [LeafTable::default(), more] {
        put_leaves(&stored, &leaves::encode(&[wrong, metadata.clone()], None));
        let report = fixture.verify(0).await;
        assert_eq!(corrupt(&report), BTreeSet::from([fixture.id(0)]));
        assert!(
            report.corruption.iter().all(|corruption| corruption.detail.contains("leaves")),
            "{:?}",
            report.corruption
        );
        // A verify of the newest snapshot reports it too.
        assert!(corrupt(&fixture.verify(2).await).contains(fixture.id(0)));
        stored.repair();
    }
    assert!(fixture.verify(0).await.is_intact());
}

#[tokio::test]
async fn verify_names_the_snapshot_of_a_chain_with_a_corrupt_metadata_json() {
    let fixture = Fixture::new().await;
    for at in 0..3 {
        let stored = fixture.stored(at);
        let mut json = stored.file(layout::METADATA_JSON).to_vec();
        json[100] ^= 1;
        stored.put(layout::METADATA_JSON, &json);
        for dependent in at..3 {
            let report = fixture.verify(dependent).await;
            assert_eq!(
                corrupt(&report),
                BTreeSet::from([fixture.id(at)]),
                "{at}, verified from {dependent}: {:?}",
                report.corruption
            );
            fixture.assert_refused(dependent).await;
        }
        for ancestor in 0..at {
            assert!(fixture.verify(ancestor).await.is_intact());
            fixture.assert_restores(ancestor).await;
        }
        stored.repair();
    }
    fixture.assert_restores(2).await;
}

#[tokio::test]
async fn verify_names_every_corrupt_snapshot_of_a_chain() {
    let fixture = Fixture::new().await;
    let flip = |at: usize, file: &str, byte: usize| {
        let stored = fixture.stored(at);
        let mut bytes = stored.file(file).to_vec();
        bytes[byte] ^= 4;
        stored.put(file, &bytes);
        stored
    };
    let all = BTreeSet::from([0, 1, 2].map(|at| fixture.id(at)));
    let flipped = [0, 1, 2].map(|at| flip(at, DataFile::Vectors.name(), 20));
    let report = fixture.verify(2).await;
    assert_eq!(corrupt(&report), all, "{:?}", report.corruption);
    assert!(
        report.corruption.iter().all(|corruption| corruption.file == DataFile::Vectors.name()),
        "{:?}",
        report.corruption
    );
    assert_eq!(report.chain, [fixture.id(1), fixture.id(0)]);

    // Without the metadata.json in the middle the ancestors are unknown. The dependents are still verified.
    flip(1, layout::METADATA_JSON, 100);
    let report = fixture.verify(2).await;
    assert_eq!(corrupt(&report), BTreeSet::from([fixture.id(1), fixture.id(2)]), "{:?}", report.corruption);
    let of = |at: usize, file: &str| {
        report.corruption.iter().any(|corruption| corruption.snapshot == fixture.id(at) && corruption.file == file)
    };
    assert!(of(1, layout::METADATA_JSON) && of(2, DataFile::Vectors.name()), "{:?}", report.corruption);
    flipped.iter().for_each(StoredSnapshot::repair);
    assert!(fixture.verify(2).await.is_intact());
}

#[tokio::test]
async fn every_wrong_count_of_changes_is_reported() {
    let fixture = Fixture::new().await;
    let stored = fixture.stored(1);
    let changes = fixture.snapshots[1].changes.unwrap();
    assert_eq!((changes.added, changes.changed, changes.removed), (1, 1, 1));
    let mut cases = 0;
    for (added, changed, removed) in (0..64).map(|at| (at / 16, at / 4 % 4, at % 4)) {
        if (added, changed, removed) == (1, 1, 1) {
            continue;
        }
        // With the original record count, and with the count that would match the changes.
        for vector_count in BTreeSet::from([300, 300 + added - removed]) {
            put_metadata(&stored, |json| {
                json["changes"] = serde_json::json!({"added": added, "changed": changed, "removed": removed});
                json["vector_count"] = vector_count.into();
            });
            let report = fixture.verify(1).await;
            let what = format!("{added} added, {changed} changed, {removed} removed of {vector_count}");
            assert_eq!(corrupt(&report), BTreeSet::from([fixture.id(1)]), "{what}: {:?}", report.corruption);
            cases += 1;
        }
    }
    assert!(cases > 63, "{cases}");
    stored.repair();
    assert!(fixture.verify(1).await.is_intact());
}

#[tokio::test]
async fn a_wrong_content_checksum_within_a_chain_is_reported_in_its_snapshot() {
    let fixture = Fixture::new().await;
    let (one, two) = (fixture.stored(1), fixture.stored(2));
    // The newest snapshot is consistent with itself and with the wrong checksum of its base.
    let wrong = &fixture.snapshots[0].checksum;
    put_metadata(&one, |json| json["checksum"] = serde_json::json!(wrong));
    put_metadata(&two, |json| json["base_checksum"] = serde_json::json!(wrong));
    for dependent in [1, 2] {
        let report = fixture.verify(dependent).await;
        assert_eq!(corrupt(&report), BTreeSet::from([fixture.id(1)]), "{:?}", report.corruption);
    }
    fixture.assert_restores(2).await;
    one.repair();
    two.repair();
    assert!(fixture.verify(2).await.is_intact());
}

#[tokio::test]
async fn a_base_whose_content_was_replaced_is_reported_and_refused() {
    let fixture = Fixture::new().await;
    let other = make_database(&fixture.dir.path("b.db"), 300, 8, 2);
    drop(other);
    let other = create(&fixture.manager, &fixture.dir.path("b.db"), None).await.unwrap();
    // Replaces the files of the base with those of another snapshot, whose metadata.json gets the id of the base.
    let (from, to) = (StoredSnapshot::read(&fixture.dir.snapshots(), &other.id), fixture.stored(0));
    for file in layout::FILES {
        to.put(file, from.file(file));
    }
    let here = StoredSnapshot { id: to.id.clone(), dir: to.dir.clone(), ..from };
    put_metadata(&here, |json| json["id"] = fixture.id(0).into());

    assert!(fixture.verify(0).await.is_intact(), "on its own the snapshot is intact");
    for dependent in [1, 2] {
        let report = fixture.verify(dependent).await;
        assert_eq!(corrupt(&report), BTreeSet::from([fixture.id(0)]), "{:?}", report.corruption);
        assert!(
            report.corruption.iter().any(|corruption| corruption.detail.contains("contents")),
            "{:?}",
            report.corruption
        );
        fixture.assert_refused(dependent).await;
    }
    to.repair();
    assert!(fixture.verify(2).await.is_intact());
    fixture.assert_restores(2).await;
}

#[tokio::test]
async fn a_change_of_any_byte_of_a_chain_never_leads_to_a_wrong_result() {
    let fixture = Fixture::new().await;
    // In memory, because a store on disk would be much slower.
    let store = memory_store();
    let manager = fixture.dir.manager_with_store(store.clone());
    let files = files(&fixture.dir.snapshots());
    for (key, bytes) in &files {
        store.create(key, bytes.clone().into()).await.unwrap();
    }
    let newest = &fixture.snapshots[2];
    let original = contents(&manager.restore_snapshot(&newest.id).await.unwrap());
    let path = fixture.dir.path("a.db");
    let db = VectorDB::new(options(&path, 8)).unwrap();
    db.insert(entry("newest".to_owned(), 1, 8, 4)).unwrap();
    db.delete("id-000200").unwrap();
    let expected = create(&manager, &path, None).await.unwrap().checksum;

    let (mut flips, mut increments) = (0, 0);
    for (key, bytes) in &files {
        let (id, _) = layout::parse_key(key).unwrap();
        // All bytes would take minutes. These lie in every part of every file.
        for at in (flips % 3..bytes.len()).step_by(1 + bytes.len() / 25) {
            let what = format!("byte {at} of {key}");
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (at % 8);
            store.delete(key).await.unwrap();
            store.create(key, changed.into()).await.unwrap();
            let report = manager.verify_snapshot_with(&newest.id, &Default::default()).await.unwrap();
            assert_eq!(corrupt(&report), BTreeSet::from([id.as_str()]), "{what}: {:?}", report.corruption);
            match manager.restore_snapshot(&newest.id).await {
                Ok(restored) => assert!(contents(&restored) == original, "{what}"),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt, "{what}: {error:?}"),
            }
            match create(&manager, &path, Some(newest)).await {
                Ok(made) => {
                    assert_eq!(made.checksum, expected, "{what}");
                    increments += 1;
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt, "{what}: {error:?}"),
            }
            store.delete(key).await.unwrap();
            store.create(key, bytes.clone().into()).await.unwrap();
            flips += 1;
        }
    }
    // An increment succeeds if the flipped byte is in a part of the chain that it does not read.
    assert!(flips > 250 && increments < flips, "{increments} of {flips}");
    assert!(manager.verify_snapshot(&newest.id).await.unwrap());
}

//! Chains in which something is not as it was written: verify says in which snapshot, nothing that is wrong is restored
//! or stood on, and what is whole can still be read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ruvector_core::VectorDB;
use ruvector_snapshot::format::checksum::{checksum_sha256, sha256_hex};
use ruvector_snapshot::format::layout::{self, DataFile};
use ruvector_snapshot::format::leaves::{self, LeafTable};
use ruvector_snapshot::format::member::{Coding, pack};
use ruvector_snapshot::store::{Location, StoreConfig, open};
use ruvector_snapshot::{ErrorKind, RestoreOptions, Snapshot, SnapshotManager, VerifyReport};

use crate::bench::{Ticking, files, take};
use crate::common::stored::{Stored, edit};
use crate::common::{Place, contents, entry, make_database, options, records_of_file};

type Records = (BTreeMap<String, Vec<u8>>, BTreeMap<String, serde_json::Value>);

/// A full snapshot and two increments, of a database that has changed before each.
struct Bench {
    place: Place,
    manager: SnapshotManager,
    snapshots: [Snapshot; 3],
    records: [Records; 3],
}

impl Bench {
    async fn new() -> Self {
        let place = Place::new();
        let manager = place.manager().with_clock(Arc::new(Ticking::from_year(2020)));
        let path = place.path("a.db");
        let db = make_database(&path, 300, 8, 1);
        let full = take(&manager, &path, None).await.unwrap();
        let mut records = vec![records_of_file(&path)];
        db.insert(entry("id-000007".to_owned(), 7, 8, 2)).unwrap();
        db.insert(entry("new".to_owned(), 8, 8, 2)).unwrap();
        db.delete("id-000100").unwrap();
        let one = take(&manager, &path, Some(&full)).await.unwrap();
        records.push(records_of_file(&path));
        db.insert(entry("newer".to_owned(), 10, 8, 3)).unwrap();
        db.delete("new").unwrap();
        let two = take(&manager, &path, Some(&one)).await.unwrap();
        records.push(records_of_file(&path));
        Self { place, manager, snapshots: [full, one, two], records: records.try_into().unwrap() }
    }

    fn id(&self, at: usize) -> &str {
        &self.snapshots[at].id
    }

    fn stored(&self, at: usize) -> Stored {
        Stored::read(&self.place.snapshots(), self.id(at))
    }

    async fn verify(&self, at: usize) -> VerifyReport {
        self.manager.verify_snapshot_with(self.id(at), &Default::default()).await.unwrap()
    }

    async fn assert_restores(&self, at: usize) {
        self.assert_restores_to(self.id(at), &self.records[at]).await;
    }

    async fn assert_restores_to(&self, id: &str, records: &Records) {
        let restored = self.place.restored();
        self.manager.restore_snapshot_to(id, &restored, &RestoreOptions::default()).await.unwrap();
        assert!(records_of_file(&restored) == *records, "{id} is not what it was");
        std::fs::remove_file(restored).unwrap();
    }

    /// Neither a restore nor a compact nor an increment takes it for what it was, and nothing comes into the store.
    async fn assert_of_no_use(&self, at: usize) {
        let before = files(&self.place.snapshots());
        let options = RestoreOptions::default();
        let restored = self.manager.restore_snapshot_to(self.id(at), self.place.restored(), &options).await;
        assert_eq!(restored.unwrap_err().kind(), ErrorKind::Damaged);
        self.place.assert_nothing_restored();
        let made = take(&self.manager, &self.place.path("a.db"), Some(&self.snapshots[at])).await;
        assert_eq!(made.unwrap_err().kind(), ErrorKind::Damaged);
        if at > 0 {
            let compacted = self.manager.compact_snapshot(self.id(at), None).await;
            assert_eq!(compacted.unwrap_err().kind(), ErrorKind::Damaged);
        }
        assert!(files(&self.place.snapshots()) == before, "something was stored");
    }
}

/// The snapshots that a report finds damage in.
fn damaged(report: &VerifyReport) -> BTreeSet<&str> {
    report.damage.iter().map(|damage| damage.snapshot.as_str()).collect()
}

/// Seals metadata.json with members changed, and lists it in checksum.sha256.
fn put_metadata(stored: &Stored, change: impl FnOnce(&mut serde_json::Value)) {
    let json = edit(stored.file(layout::METADATA_JSON), change);
    let sums = DataFile::ALL.map(|file| sha256_hex(stored.file(file.name())));
    stored.put(layout::CHECKSUM_SHA256, checksum_sha256(&json, sums.each_ref().map(String::as_str)).as_bytes());
    stored.put(layout::METADATA_JSON, &json);
}

/// Gives a snapshot another leaf table, and everything else the sums that go with it.
fn put_leaves(stored: &Stored, raw: &[u8]) {
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
async fn a_leaf_table_that_cannot_be_read_is_seen_stood_on_by_nothing_and_compacted_away() {
    let bench = Bench::new().await;
    let path = bench.place.path("a.db");
    for at in [0, 1] {
        let stored = bench.stored(at);
        let honest = stored.section("leaves");
        put_leaves(&stored, &honest);
        assert!(bench.verify(2).await.is_whole());

        put_leaves(&stored, b"not a table");
        for above in at..3 {
            let report = bench.verify(above).await;
            assert!(!report.is_whole(), "the table of {at} went unnoticed in {above}");
            assert!(report.damage.iter().all(|damage| damage.file == "index.bin.gz"), "{:?}", report.damage);
            let before = files(&bench.place.snapshots());
            let error = take(&bench.manager, &path, Some(&bench.snapshots[above])).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Damaged);
            assert!(error.to_string().contains(bench.id(at)) && error.message().contains("leaves"), "{error}");
            assert!(files(&bench.place.snapshots()) == before);
            // The records are all there.
            bench.assert_restores(above).await;
        }
        // What is made of the chain does without the table, and can be stood on.
        let compacted = bench.manager.compact_snapshot(bench.id(2), None).await.unwrap();
        bench.assert_restores_to(&compacted.id, &bench.records[2]).await;
        let next = take(&bench.manager, &path, Some(&compacted)).await.unwrap();
        assert_eq!(next.checksum, bench.snapshots[2].checksum);
        assert!(bench.manager.verify_snapshot(&next.id).await.unwrap());
        stored.repair();
    }
    assert!(bench.verify(2).await.is_whole());
}

#[tokio::test]
async fn a_leaf_table_of_fewer_or_more_rows_than_there_are_records_is_seen() {
    let bench = Bench::new().await;
    let stored = bench.stored(0);
    let [vectors, metadata] = leaves::decode(&stored.section("leaves"), None).unwrap();
    let mut more = vectors.clone();
    more.push(1, 1, "zzz");
    for wrong in [LeafTable::default(), more] {
        put_leaves(&stored, &leaves::encode(&[wrong, metadata.clone()], None));
        let report = bench.verify(0).await;
        assert_eq!(damaged(&report), BTreeSet::from([bench.id(0)]));
        assert!(report.damage.iter().all(|damage| damage.what.contains("leaves")), "{:?}", report.damage);
        // Also from above, where it is not the table of the newest.
        assert!(damaged(&bench.verify(2).await).contains(bench.id(0)));
        stored.repair();
    }
    assert!(bench.verify(0).await.is_whole());
}

#[tokio::test]
async fn verify_names_the_snapshot_of_a_chain_whose_metadata_json_is_damaged() {
    let bench = Bench::new().await;
    for at in 0..3 {
        let stored = bench.stored(at);
        let mut json = stored.file(layout::METADATA_JSON).to_vec();
        json[100] ^= 1;
        stored.put(layout::METADATA_JSON, &json);
        for above in at..3 {
            let report = bench.verify(above).await;
            assert_eq!(damaged(&report), BTreeSet::from([bench.id(at)]), "{at} below {above}: {:?}", report.damage);
            bench.assert_of_no_use(above).await;
        }
        for below in 0..at {
            assert!(bench.verify(below).await.is_whole());
            bench.assert_restores(below).await;
        }
        stored.repair();
    }
    bench.assert_restores(2).await;
}

#[tokio::test]
async fn verify_reads_the_others_of_a_chain_as_well_and_names_each_that_is_damaged() {
    let bench = Bench::new().await;
    let flip = |at: usize, file: &str, byte: usize| {
        let stored = bench.stored(at);
        let mut bytes = stored.file(file).to_vec();
        bytes[byte] ^= 4;
        stored.put(file, &bytes);
        stored
    };
    let all = BTreeSet::from([0, 1, 2].map(|at| bench.id(at)));
    let flipped = [0, 1, 2].map(|at| flip(at, DataFile::Vectors.name(), 20));
    let report = bench.verify(2).await;
    assert_eq!(damaged(&report), all, "{:?}", report.damage);
    assert!(report.damage.iter().all(|damage| damage.file == DataFile::Vectors.name()), "{:?}", report.damage);
    assert_eq!(report.chain, [bench.id(1), bench.id(0)]);

    // Without the metadata.json in the middle nobody knows what lies below; what stands on it is read all the same.
    flip(1, layout::METADATA_JSON, 100);
    let report = bench.verify(2).await;
    assert_eq!(damaged(&report), BTreeSet::from([bench.id(1), bench.id(2)]), "{:?}", report.damage);
    let of = |at: usize, file: &str| {
        report.damage.iter().any(|damage| damage.snapshot == bench.id(at) && damage.file == file)
    };
    assert!(of(1, layout::METADATA_JSON) && of(2, DataFile::Vectors.name()), "{:?}", report.damage);
    flipped.iter().for_each(Stored::repair);
    assert!(bench.verify(2).await.is_whole());
}

#[tokio::test]
async fn no_other_count_of_changes_is_taken_for_true() {
    let bench = Bench::new().await;
    let stored = bench.stored(1);
    let truth = bench.snapshots[1].changes.unwrap();
    assert_eq!((truth.added, truth.changed, truth.removed), (1, 1, 1));
    let mut lies = 0;
    for (added, changed, removed) in (0..64).map(|at| (at / 16, at / 4 % 4, at % 4)) {
        if (added, changed, removed) == (1, 1, 1) {
            continue;
        }
        // With the count of records that was, and with the one that would go with the changes.
        for vector_count in BTreeSet::from([300, 300 + added - removed]) {
            put_metadata(&stored, |json| {
                json["changes"] = serde_json::json!({"added": added, "changed": changed, "removed": removed});
                json["vector_count"] = vector_count.into();
            });
            let report = bench.verify(1).await;
            let what = format!("{added} added, {changed} changed, {removed} removed of {vector_count}");
            assert_eq!(damaged(&report), BTreeSet::from([bench.id(1)]), "{what}: {:?}", report.damage);
            lies += 1;
        }
    }
    assert!(lies > 63, "{lies}");
    stored.repair();
    assert!(bench.verify(1).await.is_whole());
}

#[tokio::test]
async fn a_state_within_a_chain_that_is_not_what_was_recorded_is_named_from_above() {
    let bench = Bench::new().await;
    let (one, two) = (bench.stored(1), bench.stored(2));
    // The newest is what it says it is, and stands on what the one below says it is.
    let lie = &bench.snapshots[0].checksum;
    put_metadata(&one, |json| json["checksum"] = serde_json::json!(lie));
    put_metadata(&two, |json| json["base_checksum"] = serde_json::json!(lie));
    for above in [1, 2] {
        let report = bench.verify(above).await;
        assert_eq!(damaged(&report), BTreeSet::from([bench.id(1)]), "{:?}", report.damage);
    }
    bench.assert_restores(2).await;
    one.repair();
    two.repair();
    assert!(bench.verify(2).await.is_whole());
}

#[tokio::test]
async fn a_base_that_has_come_to_have_other_contents_is_no_base_any_more() {
    let bench = Bench::new().await;
    let other = make_database(&bench.place.path("b.db"), 300, 8, 2);
    drop(other);
    let other = take(&bench.manager, &bench.place.path("b.db"), None).await.unwrap();
    // The files of another snapshot come to lie under the id, with a metadata.json that says so.
    let (from, to) = (Stored::read(&bench.place.snapshots(), &other.id), bench.stored(0));
    for file in layout::FILES {
        to.put(file, from.file(file));
    }
    let here = Stored { id: to.id.clone(), dir: to.dir.clone(), ..from };
    put_metadata(&here, |json| json["id"] = bench.id(0).into());

    assert!(bench.verify(0).await.is_whole(), "alone it is a snapshot as any other");
    for above in [1, 2] {
        let report = bench.verify(above).await;
        assert_eq!(damaged(&report), BTreeSet::from([bench.id(0)]), "{:?}", report.damage);
        assert!(report.damage.iter().any(|damage| damage.what.contains("other contents")), "{:?}", report.damage);
        bench.assert_of_no_use(above).await;
    }
    to.repair();
    assert!(bench.verify(2).await.is_whole());
    bench.assert_restores(2).await;
}

#[tokio::test]
async fn no_byte_of_a_chain_can_change_and_lead_to_anything_wrong() {
    let bench = Bench::new().await;
    // In memory, where it costs no more than the reading.
    let store = open(&Location::Memory, &StoreConfig::default()).unwrap();
    let manager = SnapshotManager::with_store(bench.place.config(), store.clone()).unwrap();
    let files = files(&bench.place.snapshots());
    for (key, bytes) in &files {
        store.create(key, bytes.clone().into()).await.unwrap();
    }
    let newest = &bench.snapshots[2];
    let original = contents(&manager.restore_snapshot(&newest.id).await.unwrap());
    let path = bench.place.path("a.db");
    let db = VectorDB::new(options(&path, 8)).unwrap();
    db.insert(entry("newest".to_owned(), 1, 8, 4)).unwrap();
    db.delete("id-000200").unwrap();
    let truth = take(&manager, &path, None).await.unwrap().checksum;

    let (mut flips, mut stood_on) = (0, 0);
    for (key, bytes) in &files {
        let (id, _) = layout::parse_key(key).unwrap();
        // Every byte would take minutes; these are in every part of every file.
        for at in (flips % 3..bytes.len()).step_by(1 + bytes.len() / 25) {
            let what = format!("byte {at} of {key}");
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (at % 8);
            store.delete(key).await.unwrap();
            store.create(key, changed.into()).await.unwrap();
            let report = manager.verify_snapshot_with(&newest.id, &Default::default()).await.unwrap();
            assert_eq!(damaged(&report), BTreeSet::from([id.as_str()]), "{what}: {:?}", report.damage);
            match manager.restore_snapshot(&newest.id).await {
                Ok(restored) => assert!(contents(&restored) == original, "{what}"),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Damaged, "{what}: {error:?}"),
            }
            match take(&manager, &path, Some(newest)).await {
                Ok(made) => {
                    assert_eq!(made.checksum, truth, "{what}");
                    stood_on += 1;
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::Damaged, "{what}: {error:?}"),
            }
            store.delete(key).await.unwrap();
            store.create(key, bytes.clone().into()).await.unwrap();
            flips += 1;
        }
    }
    // What is not read for it does not show in it.
    assert!(flips > 250 && stood_on < flips, "{stood_on} of {flips}");
    assert!(manager.verify_snapshot(&newest.id).await.unwrap());
}

//! Forged chains: every checksum matches, but the content is inconsistent. Verify detects it and names the forged
//! snapshot.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ruvector_snapshot::store::SnapshotStore;
use ruvector_snapshot::{SnapshotManager, VerifyReport};
use ruvector_snapshot_format::block::Block;
use ruvector_snapshot_format::checksum::{ContentSum, Digest, checksum_sha256, digest, sha256_hex};
use ruvector_snapshot_format::codec::member::{Coding, pack};
use ruvector_snapshot_format::index::encode_directory;
use ruvector_snapshot_format::layout::{self, DataFile};
use ruvector_snapshot_format::leaves;
use ruvector_snapshot_format::model::{Change, ChangedRow, LeafTable};
use serde_json::json;
use test_fixtures::{StoredSnapshot, TestDir, TickingClock, edit_metadata, memory_store};

use super::fixture::{create, make_empty_database};

const DIMENSIONS: usize = 2;

/// A store of forged snapshots.
struct Forge {
    template: StoredSnapshot,
    store: Arc<dyn SnapshotStore>,
    manager: SnapshotManager,
    _place: TestDir,
}

/// The content of a forged snapshot, and what its metadata claims.
struct Link<'a> {
    /// If true, the base is the snapshot with the previous number.
    is_increment: bool,
    vector_count: u64,
    /// Added, changed, removed.
    changes: [u64; 3],
    base_sum: ContentSum,
    sum: ContentSum,
    rows: &'a [(&'a str, Digest, Change<'a>)],
    leaves: Option<[LeafTable; 2]>,
}

fn vector(of: f32) -> Vec<u8> {
    [of, 1.0].iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// Returns the content checksum of records without metadata.
fn sum_of(records: &BTreeMap<&str, Vec<u8>>) -> ContentSum {
    let mut sum = ContentSum::default();
    records.iter().for_each(|(id, vector)| sum.add(&digest(id, vector, None)));
    sum
}

fn id(at: usize) -> String {
    format!("20200101T0000{at:02}000Z-00000000000000{at:02x}")
}

fn corrupt(report: &VerifyReport) -> BTreeSet<String> {
    report.corruption.iter().map(|corruption| corruption.snapshot.clone()).collect()
}

impl Forge {
    async fn new() -> Self {
        let dir = TestDir::new();
        let disk = dir.manager().with_clock(TickingClock::seconds_from_year(2020));
        let path = dir.path("empty.db");
        make_empty_database(&path, DIMENSIONS);
        let empty = create(&disk, &path, None).await.unwrap();
        let template = StoredSnapshot::read(&dir.snapshots(), &empty.id);
        let store = memory_store();
        let manager = dir.manager_with_store(store.clone());
        Self { template, store, manager, _place: dir }
    }

    /// Returns a forge with a full snapshot, number 0, and its two records.
    async fn with_full(leaves: Option<[LeafTable; 2]>) -> (Self, BTreeMap<&'static str, Vec<u8>>) {
        let forge = Self::new().await;
        let records = BTreeMap::from([("a", vector(1.0)), ("b", vector(2.0))]);
        let change = |vector| Change::Put { vector: Some(vector), metadata: None };
        let rows: Vec<_> =
            records.iter().map(|(id, vector)| (*id, digest(id, vector, None), change(vector.as_slice()))).collect();
        let sum = sum_of(&records);
        let link = Link {
            is_increment: false,
            vector_count: 2,
            changes: [0; 3],
            base_sum: ContentSum::default(),
            sum,
            rows: &rows,
            leaves,
        };
        forge.put(0, link).await;
        (forge, records)
    }

    async fn put(&self, at: usize, link: Link<'_>) {
        let mut block = Block::new(DIMENSIONS);
        for (id, digest, change) in link.rows {
            block.push_change(ChangedRow { id, digest: *digest, change: *change }).unwrap();
        }
        let (mut files, mut raw_bytes, mut entries) = ([const { Vec::new() }; 3], [0; 3], Vec::new());
        if !block.is_empty() {
            let packed = block.pack(1).unwrap();
            files = [packed.vectors, packed.index, packed.payloads];
            raw_bytes = packed.raw_bytes;
            entries.push(packed.entry);
        }
        let mut raw = vec![("directory", encode_directory(&entries)), ("database", self.template.section("database"))];
        raw.extend(link.leaves.map(|tables| ("leaves", leaves::encode(&tables, None))));
        let mut sections = Vec::new();
        for (name, raw) in raw {
            let offset = files[1].len();
            let bytes = pack(&raw, Coding::Deflate(1), &mut files[1]).unwrap();
            raw_bytes[1] += raw.len() as u64;
            sections.push(json!({"name": name, "offset": offset, "bytes": bytes, "raw_bytes": raw.len()}));
        }
        for file in files.iter_mut().filter(|file| file.is_empty()) {
            pack(b"", Coding::Stored, file).unwrap();
        }
        let metadata_json = edit_metadata(self.template.file(layout::METADATA_JSON), |json| {
            json["id"] = id(at).into();
            json["vector_count"] = link.vector_count.into();
            json["checksum"] = link.sum.to_string().into();
            json["blocks"] = entries.len().into();
            json["sections"] = sections.into();
            if link.is_increment {
                let [added, changed, removed] = link.changes;
                json["snapshot_type"] = json!({"incremental": {"base_id": id(at - 1)}});
                json["base_checksum"] = link.base_sum.to_string().into();
                json["changes"] = json!({"added": added, "changed": changed, "removed": removed});
            }
            for ((file, bytes), raw_bytes) in DataFile::ALL.into_iter().zip(&files).zip(raw_bytes) {
                json["files"][file.name()] =
                    json!({"bytes": bytes.len(), "sha256": sha256_hex(bytes), "raw_bytes": raw_bytes});
            }
        });
        let sums = files.each_ref().map(|file| sha256_hex(file));
        let checksums = checksum_sha256(&metadata_json, sums.each_ref().map(String::as_str));
        for (file, bytes) in DataFile::ALL.into_iter().zip(files) {
            self.create(at, file.name(), bytes).await;
        }
        self.create(at, layout::CHECKSUM_SHA256, checksums.into()).await;
        self.create(at, layout::METADATA_JSON, metadata_json).await;
    }

    async fn create(&self, at: usize, file: &str, bytes: Vec<u8>) {
        self.store.create(&layout::key(&id(at).parse().unwrap(), file), bytes.into()).await.unwrap();
    }

    /// Stores an increment without rows on the previous snapshot.
    async fn put_empty(&self, at: usize, vector_count: u64, sum: ContentSum) {
        let (is_increment, changes, rows) = (true, [0; 3], [].as_slice());
        self.put(at, Link { is_increment, vector_count, changes, base_sum: sum, sum, rows, leaves: None }).await;
    }

    async fn verify(&self, at: usize) -> VerifyReport {
        self.manager.verify_snapshot_with(&id(at), &Default::default()).await.unwrap()
    }

    #[track_caller]
    fn assert_only(report: &VerifyReport, at: usize) {
        assert_eq!(corrupt(report), BTreeSet::from([id(at)]), "{:?}", report.corruption);
    }
}

#[tokio::test]
async fn a_forged_chain_without_inconsistencies_is_intact() {
    let (forge, mut records) = Forge::with_full(None).await;
    let base_sum = sum_of(&records);
    let removed = digest("a", &records.remove("a").unwrap(), None);
    let (sum, rows) = (sum_of(&records), [("a", removed, Change::Removed)]);
    let changes = [0, 0, 1];
    forge.put(1, Link { is_increment: true, vector_count: 1, changes, base_sum, sum, rows: &rows, leaves: None }).await;
    forge.put_empty(2, 1, sum).await;
    let report = forge.verify(2).await;
    assert!(report.is_intact(), "{:?}", report.corruption);
    assert_eq!(report.records, 1);
}

#[tokio::test]
async fn a_row_that_contradicts_the_base_is_reported_in_its_snapshot() {
    let metadata = "{\"x\":1}";
    let described = Change::Put { vector: None, metadata: Some(metadata) };
    let cases = [
        ("a digest of another vector than that of the base", "a", [7; 16], described, [0, 1, 0], 2),
        ("metadata for a vector that does not exist", "c", [7; 16], described, [1, 0, 0], 3),
        ("a tombstone of an id that does not exist", "c", [7; 16], Change::Removed, [0, 0, 1], 1),
        ("a tombstone of another record", "a", [7; 16], Change::Removed, [0, 0, 1], 1),
    ];
    for (what, row_id, stored, change, changes, vector_count) in cases {
        let (forge, mut records) = Forge::with_full(None).await;
        let base_sum = sum_of(&records);
        let mut sum = base_sum;
        match change {
            Change::Removed => {
                records.remove(row_id);
                sum = sum_of(&records);
            }
            Change::Put { .. } => {
                records.get(row_id).iter().for_each(|vector| sum.subtract(&digest(row_id, vector, None)));
                sum.add(&stored);
            }
        }
        let rows = [(row_id, stored, change)];
        forge
            .put(1, Link { is_increment: true, vector_count, changes, base_sum, sum, rows: &rows, leaves: None })
            .await;
        forge.put_empty(2, vector_count, sum).await;
        for dependent in [1, 2] {
            let report = forge.verify(dependent).await;
            assert_eq!(corrupt(&report), BTreeSet::from([id(1)]), "{what}: {:?}", report.corruption);
            assert!(report.records <= 2, "{what}: {} records", report.records);
        }
        assert!(forge.verify(0).await.is_intact());
    }
}

#[tokio::test]
async fn a_dependent_of_a_forged_snapshot_is_not_reported() {
    // A wrong record count in the middle of the chain.
    let (forge, records) = Forge::with_full(None).await;
    forge.put_empty(1, 3, sum_of(&records)).await;
    forge.put_empty(2, 2, sum_of(&records)).await;
    Forge::assert_only(&forge.verify(2).await, 1);

    // A wrong leaf table in the full snapshot, below an increment without one.
    let (forge, records) = Forge::with_full(Some(Default::default())).await;
    forge.put_empty(1, 2, sum_of(&records)).await;
    Forge::assert_only(&forge.verify(1).await, 0);
}

//! Damage to stored snapshots: every file, every kind of place in it, flipped, cut, added to, swapped and missing. Verify
//! names the file and the block, a restore gives nothing rather than something wrong, and the other snapshots do not care.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::sync::OnceLock;

use common::stored::Stored;
use common::{Contents, Place, contents, make_database, make_many_blocks, records_of_file};
use ruvector_snapshot::format::layout::{self, DataFile};
use ruvector_snapshot::{
    CreateOptions, ErrorKind, RestoreOptions, SnapshotConfig, SnapshotManager, VerifyOptions, VerifyReport,
};

type Records = (std::collections::BTreeMap<String, Vec<u8>>, std::collections::BTreeMap<String, serde_json::Value>);

/// Two snapshots of several blocks each, of different records of the same shape, and what the first one holds.
struct Fixture {
    damaged: Stored,
    other: Stored,
    records: Records,
    contents: Contents,
}

/// Made once at each level; level 0 gives both snapshots files of the same sizes.
fn fixture(level: u32) -> &'static Fixture {
    static MADE: [OnceLock<Fixture>; 2] = [OnceLock::new(), OnceLock::new()];
    let make = move || {
        let place = Place::new();
        let (a, b) = (place.path("a.db"), place.path("b.db"));
        let db = make_many_blocks(&a, 800, 1);
        drop(make_many_blocks(&b, 800, 2));
        let config = SnapshotConfig { compression_level: level, ..place.config() };
        let manager = SnapshotManager::new(config).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let [damaged, other] = [&a, &b].map(|path| {
            let options = CreateOptions::default();
            let snapshot = runtime.block_on(manager.create_snapshot_of_file(path, "fixture", &options)).unwrap();
            Stored::read(&place.snapshots(), &snapshot.id)
        });
        assert!(damaged.entries().len() >= 3, "the fixture needs several blocks");
        Fixture { damaged, other, records: records_of_file(&a), contents: contents(&db) }
    };
    // A runtime cannot be made on a thread that runs another one.
    MADE[usize::from(level > 0)].get_or_init(|| std::thread::spawn(make).join().unwrap())
}

/// A store that holds both snapshots of the fixture.
struct Bench {
    place: Place,
    manager: SnapshotManager,
    damaged: Stored,
    other: Stored,
    fixture: &'static Fixture,
}

impl Bench {
    fn new(level: u32) -> Self {
        let fixture = fixture(level);
        let place = Place::new();
        let here = |stored: &Stored| {
            let dir = place.snapshots().join(layout::prefix(&stored.id));
            let stored = Stored { dir, ..stored.clone() };
            stored.repair();
            stored
        };
        let (damaged, other) = (here(&fixture.damaged), here(&fixture.other));
        Self { manager: place.manager(), place, damaged, other, fixture }
    }

    /// Changes a file (or removes it), asserts what everybody sees then, and makes it whole again.
    async fn check(&self, what: &str, file: &str, block: Option<usize>, bytes: Option<&[u8]>) -> VerifyReport {
        match bytes {
            Some(bytes) => self.damaged.put(file, bytes),
            None => self.damaged.remove(file),
        }
        let id = self.damaged.id.as_str();
        let report = self.manager.verify_snapshot_with(id, &VerifyOptions::default()).await;
        let report = report.unwrap_or_else(|error| panic!("{what} of {file}: verify failed: {error:?}"));
        assert!(!self.manager.verify_snapshot(id).await.unwrap(), "{what} of {file} went unnoticed");
        assert!(!report.is_whole());
        let may_name =
            |named: &str| named == file || (file == layout::METADATA_JSON && named == layout::CHECKSUM_SHA256);
        assert!(report.damage.iter().all(|damage| may_name(&damage.file)), "{what} of {file}: {:?}", report.damage);
        assert!(report.damage.iter().any(|damage| damage.file == file), "{what} of {file}: {:?}", report.damage);
        if let Some(block) = block {
            assert!(report.damage.iter().any(|damage| damage.block == Some(block)), "{what}: {:?}", report.damage);
            let others = report.damage.iter().filter(|damage| damage.block.is_some_and(|named| named != block));
            assert_eq!(others.count(), 0, "{what} of {file}, block {block}: {:?}", report.damage);
        }
        self.check_restores(&format!("{what} of {file}"), block.is_some()).await;
        let listing = self.manager.list().await.unwrap();
        let listed: Vec<_> = listing.snapshots.iter().map(|snapshot| snapshot.id.as_str()).collect();
        assert!(listed.contains(&self.other.id.as_str()), "{what} of {file} hides another snapshot");
        self.damaged.repair();
        report
    }

    /// A restore gives what was captured or nothing; nothing where the change is inside of a block.
    async fn check_restores(&self, what: &str, must_fail: bool) {
        let id = self.damaged.id.as_str();
        let path = self.place.restored();
        match self.manager.restore_snapshot_to(id, &path, &RestoreOptions::default()).await {
            Ok(_) => {
                assert!(!must_fail, "{what}: restored");
                assert!(records_of_file(&path) == self.fixture.records, "{what}: restored something else");
                std::fs::remove_file(&path).unwrap();
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::Damaged, "{what}: {error:?}"),
        }
        self.place.assert_nothing_restored();
        match self.manager.restore_snapshot(id).await {
            Ok(db) => {
                assert!(!must_fail, "{what}: restored into memory");
                assert!(contents(&db) == self.fixture.contents, "{what}: restored something else into memory");
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::Damaged, "{what}: {error:?}"),
        }
    }

    /// The snapshot that was left damaged does not keep another from being made.
    async fn check_create(&self) {
        let path = self.place.path("more.db");
        drop(make_database(&path, 10, 4, 3));
        let more = self.manager.create_snapshot_of_file(&path, "more", &CreateOptions::default()).await.unwrap();
        assert!(self.manager.verify_snapshot(&more.id).await.unwrap());
    }
}

fn flipped(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 1 << (at % 8);
    bytes
}

/// One bit at each kind of place in each gzip member of a file.
async fn flip_members(file: DataFile) {
    let bench = Bench::new(6);
    let bytes = bench.damaged.file(file.name());
    let members = bench.damaged.members();
    let members: Vec<_> = members.into_iter().filter(|(of, ..)| *of == file).collect();
    assert_eq!(members.last().unwrap().2.end, bytes.len());
    for (at, (_, block, range)) in members.into_iter().enumerate() {
        // The header: magic, method, flags, time, hints, system. The end: CRC-32 and size. Everywhere it is enough to try
        // the rarer ones once.
        let mut places = vec![("the first byte", range.start), ("the middle", range.start + range.len() / 2)];
        places.extend([("the CRC-32", range.end - 8), ("the last byte", range.end - 1)]);
        if at == 1 || block.is_none() {
            places.extend((1..10).map(|byte| ("a header byte", range.start + byte)));
            places.extend([("the first data byte", range.start + 10), ("the size", range.end - 4)]);
        }
        for (what, at) in places {
            let report = bench.check(&format!("{what}, {at},"), file.name(), block, Some(&flipped(bytes, at))).await;
            if block.is_none() {
                assert!(report.damage.iter().all(|damage| damage.block.is_none()), "{what}: {:?}", report.damage);
            }
        }
    }
    bench.damaged.put(file.name(), &flipped(bytes, 0));
    bench.check_create().await;
}

#[tokio::test]
async fn a_flipped_bit_in_the_vectors_is_found_in_its_block() {
    flip_members(DataFile::Vectors).await;
}

#[tokio::test]
async fn a_flipped_bit_in_the_index_is_found_in_its_block() {
    flip_members(DataFile::Index).await;
}

#[tokio::test]
async fn a_flipped_bit_in_the_metadata_is_found_in_its_block() {
    flip_members(DataFile::Payloads).await;
}

#[tokio::test]
async fn a_flipped_bit_in_the_small_files_is_found() {
    let bench = Bench::new(6);
    for file in [layout::METADATA_JSON, layout::CHECKSUM_SHA256] {
        let bytes = bench.damaged.file(file);
        for at in (0..bytes.len()).step_by(bytes.len() / 12).chain([bytes.len() - 70, bytes.len() - 1]) {
            bench.check(&format!("byte {at}"), file, None, Some(&flipped(bytes, at))).await;
        }
    }
}

#[tokio::test]
async fn a_file_that_was_cut_or_is_missing_is_named() {
    let bench = Bench::new(6);
    for file in layout::FILES {
        let bytes = bench.damaged.file(file);
        for (what, length) in [("cut to nothing", 0), ("cut to half", bytes.len() / 2), ("cut by one", bytes.len() - 1)]
        {
            bench.check(what, file, None, Some(&bytes[..length])).await;
        }
        // Without metadata.json there is no snapshot at all: see `without_its_commit_a_snapshot_is_none`.
        if file != layout::METADATA_JSON {
            bench.check("missing", file, None, None).await;
            bench.damaged.remove(file);
            let listing = bench.manager.list().await.unwrap();
            let damaged: Vec<_> = listing.damaged.iter().map(|damaged| damaged.id.as_str()).collect();
            assert_eq!(damaged, [bench.damaged.id.as_str()], "{file} is missing and list does not say so");
            bench.damaged.repair();
        }
    }
    bench.damaged.put(DataFile::Index.name(), b"");
    bench.check_create().await;
}

#[tokio::test]
async fn bytes_behind_the_end_of_a_file_are_found() {
    let bench = Bench::new(6);
    for file in layout::FILES {
        let bytes = bench.damaged.file(file);
        let mut member = Vec::new();
        ruvector_snapshot::format::member::pack(
            b"more",
            ruvector_snapshot::format::member::Coding::Stored,
            &mut member,
        )
        .unwrap();
        for (what, more) in [("one byte", &b"\0"[..]), ("garbage", &[0xA5; 5000]), ("a gzip member", &member)] {
            bench.check(&format!("{what} behind the end"), file, None, Some(&[bytes, more].concat())).await;
        }
    }
}

#[tokio::test]
async fn a_file_of_another_snapshot_is_found() {
    for level in [6, 0] {
        let bench = Bench::new(level);
        for file in layout::FILES {
            let (own, foreign) = (bench.damaged.file(file), bench.other.file(file));
            assert_ne!(own, foreign);
            bench.check(&format!("a swap at level {level}"), file, None, Some(foreign)).await;
        }
        let sizes = |stored: &Stored| DataFile::ALL.map(|file| stored.file(file.name()).len());
        assert!(level > 0 || sizes(&bench.damaged) == sizes(&bench.other), "level 0 is to make files of one size");
    }
}

#[tokio::test]
async fn blocks_that_changed_places_are_found() {
    let bench = Bench::new(0);
    let entries = bench.damaged.entries();
    for file in DataFile::ALL {
        let bytes = bench.damaged.file(file.name());
        let [first, second] = [0, 1].map(|at| {
            let range = entries[at].range(file);
            range.start as usize..range.end as usize
        });
        let swapped = [&bytes[second.clone()], &bytes[first], &bytes[second.end..]].concat();
        assert_eq!(swapped.len(), bytes.len());
        let report = bench.check("two blocks swapped", file.name(), None, Some(&swapped)).await;
        let blocks: Vec<_> = report.damage.iter().filter_map(|damage| damage.block).collect();
        assert!(blocks.contains(&0) && blocks.contains(&1), "{:?}", report.damage);
    }
}

#[tokio::test]
async fn without_its_commit_a_snapshot_is_none() {
    let bench = Bench::new(6);
    bench.damaged.remove(layout::METADATA_JSON);
    let id = bench.damaged.id.as_str();
    let listing = bench.manager.list().await.unwrap();
    assert_eq!(listing.unfinished, [id]);
    assert!(listing.damaged.is_empty());
    assert!(bench.manager.get_snapshot(id).await.unwrap().is_none());
    assert_eq!(bench.manager.verify_snapshot(id).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(bench.manager.restore_snapshot(id).await.err().unwrap().kind(), ErrorKind::NotFound);
    let restored = bench.manager.restore_snapshot_to(id, bench.place.restored(), &RestoreOptions::default()).await;
    assert_eq!(restored.unwrap_err().kind(), ErrorKind::NotFound);
    bench.place.assert_nothing_restored();
    bench.check_create().await;
}

#[tokio::test]
async fn several_damages_are_all_reported() {
    let bench = Bench::new(6);
    let entries = bench.damaged.entries();
    let vectors = bench.damaged.file(DataFile::Vectors.name());
    let vectors = flipped(&flipped(vectors, 30), entries[2].vectors_offset as usize + 40);
    bench.damaged.put(DataFile::Vectors.name(), &vectors);
    let payloads = bench.damaged.file(DataFile::Payloads.name());
    bench.damaged.put(DataFile::Payloads.name(), &flipped(payloads, entries[1].payloads_offset as usize + 20));
    bench.damaged.remove(layout::CHECKSUM_SHA256);
    let report =
        bench.manager.verify_snapshot_with(bench.damaged.id.as_str(), &VerifyOptions::default()).await.unwrap();
    let mut found: Vec<_> = report.damage.iter().map(|damage| (damage.file.as_str(), damage.block)).collect();
    found.sort();
    assert_eq!(
        found,
        [
            ("checksum.sha256", None),
            ("metadata.bin.gz", Some(1)),
            ("vectors.bin.gz", Some(0)),
            ("vectors.bin.gz", Some(2)),
        ]
    );
    let shown: Vec<_> = report.damage.iter().map(ToString::to_string).collect();
    assert!(shown.iter().any(|line| line.starts_with("vectors.bin.gz: block 2: ")), "{shown:?}");
}

/// Every byte of every file of a tiny snapshot, one bit each.
#[tokio::test]
async fn no_byte_can_change_unnoticed() {
    let place = Place::new();
    let path = place.path("tiny.db");
    let db = make_database(&path, 3, 2, 7);
    let manager = place.manager();
    let id = manager.create_snapshot(&db, "tiny").await.unwrap().id;
    let stored = Stored::read(&place.snapshots(), &id);
    let expected = contents(&db);
    let mut restored = 0;
    for file in layout::FILES {
        let bytes = stored.file(file);
        for at in 0..bytes.len() {
            stored.put(file, &flipped(bytes, at));
            let report = manager.verify_snapshot_with(&id, &VerifyOptions::default()).await;
            let report = report.unwrap_or_else(|error| panic!("{file}, byte {at}: {error:?}"));
            assert!(!report.is_whole(), "{file}, byte {at} went unnoticed");
            assert!(report.damage.iter().any(|damage| damage.file == file), "{file}, byte {at}: {:?}", report.damage);
            match manager.restore_snapshot(&id).await {
                Ok(db) => {
                    assert!(contents(&db) == expected, "{file}, byte {at}: restored something else");
                    restored += 1;
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::Damaged, "{file}, byte {at}: {error:?}"),
            }
        }
        stored.repair();
    }
    assert!(manager.verify_snapshot(&id).await.unwrap());
    // checksum.sha256 is for `sha256sum -c`; a restore does not need it.
    assert!(restored >= stored.file(layout::CHECKSUM_SHA256).len());
}

#[tokio::test]
async fn foreign_files_are_left_alone() {
    let bench = Bench::new(6);
    let id = bench.damaged.id.as_str();
    let root = bench.place.snapshots();
    let foreign = [
        root.join("notes.txt"),
        root.join("snapshot-"),
        root.join("snapshot-not-an-id/metadata.json"),
        root.join(format!("snapshot-{}/metadata.json", id.to_uppercase())),
        root.join(format!("{id}/metadata.json")),
        root.join("lost+found/x"),
        bench.damaged.dir.join("README"),
        bench.damaged.dir.join("sub/metadata.json"),
        bench.damaged.dir.join("vectors.bin.gz.bak"),
        bench.damaged.dir.join("vectors.bin.gz#1"),
    ];
    for path in &foreign {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, b"foreign").unwrap();
    }
    let listing = bench.manager.list().await.unwrap();
    let ids: Vec<_> = listing.snapshots.iter().map(|snapshot| snapshot.id.as_str()).collect();
    assert_eq!(ids, [bench.other.id.as_str(), id]);
    assert!(listing.damaged.is_empty() && listing.unfinished.is_empty(), "{listing:?}");
    assert!(bench.manager.verify_snapshot(id).await.unwrap());
    bench.manager.restore_snapshot_to(id, bench.place.restored(), &RestoreOptions::default()).await.unwrap();
    assert!(records_of_file(&bench.place.restored()) == bench.fixture.records);

    bench.manager.delete_snapshot(id).await.unwrap();
    assert!(foreign.iter().all(|path| std::fs::read(path).unwrap() == b"foreign"));
    assert_eq!(common::names(&bench.damaged.dir), ["README", "sub", "vectors.bin.gz#1", "vectors.bin.gz.bak"]);
    assert!(bench.manager.verify_snapshot(bench.other.id.as_str()).await.unwrap());
    bench.manager.delete_snapshot(bench.other.id.as_str()).await.unwrap();
    assert!(!bench.other.dir.exists(), "an empty directory was left");
    let listing = bench.manager.list().await.unwrap();
    assert!(listing.snapshots.is_empty() && listing.damaged.is_empty() && listing.unfinished.is_empty());
}

#[tokio::test]
async fn a_damaged_snapshot_can_be_deleted_and_does_not_count_for_a_clean_up() {
    let bench = Bench::new(6);
    let id = bench.damaged.id.as_str();
    bench.damaged.put(layout::METADATA_JSON, b"not JSON");
    assert_eq!(bench.manager.cleanup_old_snapshots(1).await.unwrap(), 0);
    assert_eq!(bench.manager.list_snapshots().await.unwrap_err().kind(), ErrorKind::Damaged);
    assert_eq!(bench.manager.get_snapshot(id).await.unwrap_err().kind(), ErrorKind::Damaged);
    assert!(bench.damaged.dir.exists() && bench.other.dir.exists());
    bench.manager.delete_snapshot(id).await.unwrap();
    assert!(!bench.damaged.dir.exists());
    assert_eq!(bench.manager.list_snapshots().await.unwrap().len(), 1);
}

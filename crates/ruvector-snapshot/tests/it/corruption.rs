//! Corruption of a stored snapshot: flipped bits, truncated, extended, swapped and missing files. Verify names the file
//! and the block, a restore never returns wrong data, and other snapshots are not affected.

use std::sync::OnceLock;

use ruvector_snapshot::{ErrorKind, RestoreOptions, SnapshotConfig, SnapshotManager, VerifyOptions, VerifyReport};
use ruvector_snapshot_format::codec::member::{Coding, pack};
use ruvector_snapshot_format::layout::{self, DataFile};
use test_fixtures::{
    Contents, Records, StoredSnapshot, TestDir, contents, create_full, make_database, make_many_blocks, names,
    records_of_file,
};

/// Two snapshots of several blocks each, and the records of the first. Both databases have the same shape.
struct Originals {
    target: StoredSnapshot,
    other: StoredSnapshot,
    records: Records,
    contents: Contents,
}

/// Returns the snapshots at a compression level, created once per level. At level 0 the files of both have equal sizes.
fn originals(level: u32) -> &'static Originals {
    static MADE: [OnceLock<Originals>; 2] = [OnceLock::new(), OnceLock::new()];
    let make = move || {
        let dir = TestDir::new();
        let (a, b) = (dir.path("a.db"), dir.path("b.db"));
        let db = make_many_blocks(&a, 800, 1);
        drop(make_many_blocks(&b, 800, 2));
        let config = SnapshotConfig { compression_level: level, ..dir.config() };
        let manager = SnapshotManager::new(config).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let [target, other] = [&a, &b].map(|path| {
            let snapshot = runtime.block_on(create_full(&manager, path, "original")).unwrap();
            StoredSnapshot::read(&dir.snapshots(), &snapshot.id)
        });
        assert!(target.entries().len() >= 3, "the tests need several blocks");
        Originals { target, other, records: records_of_file(&a), contents: contents(&db) }
    };
    // A runtime cannot be created on a thread that runs another one.
    MADE[usize::from(level > 0)].get_or_init(|| std::thread::spawn(make).join().unwrap())
}

/// A store that holds copies of both snapshots.
struct Fixture {
    dir: TestDir,
    manager: SnapshotManager,
    target: StoredSnapshot,
    other: StoredSnapshot,
    originals: &'static Originals,
}

impl Fixture {
    fn new(level: u32) -> Self {
        let originals = originals(level);
        let dir = TestDir::new();
        let copy = |stored: &StoredSnapshot| {
            let dir = dir.snapshots().join(layout::prefix(&stored.id));
            let stored = StoredSnapshot { dir, ..stored.clone() };
            stored.repair();
            stored
        };
        let (target, other) = (copy(&originals.target), copy(&originals.other));
        Self { manager: dir.manager(), dir, target, other, originals }
    }

    /// Replaces a file, or removes it if `bytes` is `None`. Asserts that verify reports the corruption, that no restore
    /// returns wrong data, and that the other snapshot stays listed. Then repairs the file.
    async fn check(&self, what: &str, file: &str, block: Option<usize>, bytes: Option<&[u8]>) -> VerifyReport {
        match bytes {
            Some(bytes) => self.target.put(file, bytes),
            None => self.target.remove(file),
        }
        let id = self.target.id.as_str();
        let report = self.manager.verify_snapshot_with(id, &VerifyOptions::default()).await;
        let report = report.unwrap_or_else(|error| panic!("{what} of {file}: verify failed: {error:?}"));
        assert!(!self.manager.verify_snapshot(id).await.unwrap(), "{what} of {file} went unnoticed");
        assert!(!report.is_intact());
        let may_name =
            |named: &str| named == file || (file == layout::METADATA_JSON && named == layout::CHECKSUM_SHA256);
        assert!(
            report.corruption.iter().all(|corruption| may_name(&corruption.file)),
            "{what} of {file}: {:?}",
            report.corruption
        );
        assert!(
            report.corruption.iter().any(|corruption| corruption.file == file),
            "{what} of {file}: {:?}",
            report.corruption
        );
        if let Some(block) = block {
            assert!(
                report.corruption.iter().any(|corruption| corruption.block == Some(block)),
                "{what}: {:?}",
                report.corruption
            );
            let others =
                report.corruption.iter().filter(|corruption| corruption.block.is_some_and(|named| named != block));
            assert_eq!(others.count(), 0, "{what} of {file}, block {block}: {:?}", report.corruption);
        }
        self.check_restores(&format!("{what} of {file}"), block.is_some()).await;
        let listing = self.manager.list().await.unwrap();
        let listed: Vec<_> = listing.snapshots.iter().map(|snapshot| snapshot.id.as_str()).collect();
        assert!(listed.contains(&self.other.id.as_str()), "{what} of {file} hides another snapshot");
        self.target.repair();
        report
    }

    /// Asserts that a restore returns the original records or fails. It must fail if a block has changed.
    async fn check_restores(&self, what: &str, must_fail: bool) {
        let id = self.target.id.as_str();
        let path = self.dir.restored();
        match self.manager.restore_snapshot_to(id, &path, &RestoreOptions::default()).await {
            Ok(_) => {
                assert!(!must_fail, "{what}: restored");
                assert!(records_of_file(&path) == self.originals.records, "{what}: restored wrong records");
                std::fs::remove_file(&path).unwrap();
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt, "{what}: {error:?}"),
        }
        self.dir.assert_nothing_restored();
        match self.manager.restore_snapshot(id).await {
            Ok(db) => {
                assert!(!must_fail, "{what}: restored into memory");
                assert!(contents(&db) == self.originals.contents, "{what}: restored wrong records into memory");
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt, "{what}: {error:?}"),
        }
    }

    /// Asserts that a new snapshot can be created next to the corrupt one.
    async fn check_create(&self) {
        let path = self.dir.path("more.db");
        drop(make_database(&path, 10, 4, 3));
        let more = create_full(&self.manager, &path, "more").await.unwrap();
        assert!(self.manager.verify_snapshot(&more.id).await.unwrap());
    }
}

fn flipped(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 1 << (at % 8);
    bytes
}

/// Flips one bit in each part of each gzip member of a file.
async fn flip_bits_of_every_member(file: DataFile) {
    let fixture = Fixture::new(6);
    let bytes = fixture.target.file(file.name());
    let members = fixture.target.members();
    let members: Vec<_> = members.into_iter().filter(|(of, ..)| *of == file).collect();
    assert_eq!(members.last().unwrap().2.end, bytes.len());
    for (at, (_, block, range)) in members.into_iter().enumerate() {
        // The other header bytes (method, flags, time, hints, system) and the size are the same in every member. They
        // are tested in one block and in every section.
        let mut offsets = vec![("the first byte", range.start), ("the middle", range.start + range.len() / 2)];
        offsets.extend([("the CRC-32", range.end - 8), ("the last byte", range.end - 1)]);
        if at == 1 || block.is_none() {
            offsets.extend((1..10).map(|byte| ("a header byte", range.start + byte)));
            offsets.extend([("the first data byte", range.start + 10), ("the size", range.end - 4)]);
        }
        for (what, at) in offsets {
            let report = fixture.check(&format!("{what}, {at},"), file.name(), block, Some(&flipped(bytes, at))).await;
            if block.is_none() {
                assert!(
                    report.corruption.iter().all(|corruption| corruption.block.is_none()),
                    "{what}: {:?}",
                    report.corruption
                );
            }
        }
    }
    fixture.target.put(file.name(), &flipped(bytes, 0));
    fixture.check_create().await;
}

#[tokio::test]
async fn a_flipped_bit_in_the_vectors_is_reported_with_its_block() {
    flip_bits_of_every_member(DataFile::Vectors).await;
}

#[tokio::test]
async fn a_flipped_bit_in_the_index_is_reported_with_its_block() {
    flip_bits_of_every_member(DataFile::Index).await;
}

#[tokio::test]
async fn a_flipped_bit_in_the_metadata_is_reported_with_its_block() {
    flip_bits_of_every_member(DataFile::Payloads).await;
}

#[tokio::test]
async fn a_flipped_bit_in_the_small_files_is_reported() {
    let fixture = Fixture::new(6);
    for file in [layout::METADATA_JSON, layout::CHECKSUM_SHA256] {
        let bytes = fixture.target.file(file);
        for at in (0..bytes.len()).step_by(bytes.len() / 12).chain([bytes.len() - 70, bytes.len() - 1]) {
            fixture.check(&format!("byte {at}"), file, None, Some(&flipped(bytes, at))).await;
        }
    }
}

#[tokio::test]
async fn a_truncated_or_missing_file_is_reported() {
    let fixture = Fixture::new(6);
    for file in layout::FILES {
        let bytes = fixture.target.file(file);
        for (what, length) in [("cut to nothing", 0), ("cut to half", bytes.len() / 2), ("cut by one", bytes.len() - 1)]
        {
            fixture.check(what, file, None, Some(&bytes[..length])).await;
        }
        // Without metadata.json there is no snapshot: see `a_snapshot_without_metadata_json_does_not_exist`.
        if file != layout::METADATA_JSON {
            fixture.check("missing", file, None, None).await;
            fixture.target.remove(file);
            let listing = fixture.manager.list().await.unwrap();
            let unusable = listing.unusable.iter().map(|unusable| unusable.id.as_str());
            let unusable: Vec<_> = unusable.chain(listing.damaged.keys().map(String::as_str)).collect();
            assert_eq!(unusable, [fixture.target.id.as_str()], "{file} is missing, but list does not report it");
            fixture.target.repair();
        }
    }
    fixture.target.put(DataFile::Index.name(), b"");
    fixture.check_create().await;
}

#[tokio::test]
async fn bytes_after_the_end_of_a_file_are_reported() {
    let fixture = Fixture::new(6);
    for file in layout::FILES {
        let bytes = fixture.target.file(file);
        let mut member = Vec::new();
        pack(b"more", Coding::Stored, &mut member).unwrap();
        for (what, more) in [("one byte", &b"\0"[..]), ("garbage", &[0xA5; 5000]), ("a gzip member", &member)] {
            fixture.check(&format!("{what} after the end"), file, None, Some(&[bytes, more].concat())).await;
        }
    }
}

#[tokio::test]
async fn a_file_of_another_snapshot_is_reported() {
    for level in [6, 0] {
        let fixture = Fixture::new(level);
        for file in layout::FILES {
            let (own, foreign) = (fixture.target.file(file), fixture.other.file(file));
            assert_ne!(own, foreign);
            fixture.check(&format!("a swap at level {level}"), file, None, Some(foreign)).await;
        }
        let sizes = |stored: &StoredSnapshot| DataFile::ALL.map(|file| stored.file(file.name()).len());
        assert!(
            level > 0 || sizes(&fixture.target) == sizes(&fixture.other),
            "at level 0 the files must have equal sizes"
        );
    }
}

#[tokio::test]
async fn swapped_blocks_are_reported() {
    let fixture = Fixture::new(0);
    let entries = fixture.target.entries();
    for file in DataFile::ALL {
        let bytes = fixture.target.file(file.name());
        let [first, second] = [0, 1].map(|at| {
            let range = entries[at].range(file);
            range.start as usize..range.end as usize
        });
        let swapped = [&bytes[second.clone()], &bytes[first], &bytes[second.end..]].concat();
        assert_eq!(swapped.len(), bytes.len());
        let report = fixture.check("two blocks swapped", file.name(), None, Some(&swapped)).await;
        let blocks: Vec<_> = report.corruption.iter().filter_map(|corruption| corruption.block).collect();
        assert!(blocks.contains(&0) && blocks.contains(&1), "{:?}", report.corruption);
    }
}

#[tokio::test]
async fn a_snapshot_without_metadata_json_does_not_exist() {
    let fixture = Fixture::new(6);
    fixture.target.remove(layout::METADATA_JSON);
    let id = fixture.target.id.as_str();
    let listing = fixture.manager.list().await.unwrap();
    assert_eq!(listing.pending_uploads, [id]);
    assert!(listing.unusable.is_empty());
    assert!(fixture.manager.get_snapshot(id).await.unwrap().is_none());
    assert_eq!(fixture.manager.verify_snapshot(id).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(fixture.manager.restore_snapshot(id).await.err().unwrap().kind(), ErrorKind::NotFound);
    let restored = fixture.manager.restore_snapshot_to(id, fixture.dir.restored(), &RestoreOptions::default()).await;
    assert_eq!(restored.unwrap_err().kind(), ErrorKind::NotFound);
    fixture.dir.assert_nothing_restored();
    fixture.check_create().await;
}

#[tokio::test]
async fn every_corruption_of_a_snapshot_is_reported() {
    let fixture = Fixture::new(6);
    let entries = fixture.target.entries();
    let vectors = fixture.target.file(DataFile::Vectors.name());
    let vectors = flipped(&flipped(vectors, 30), entries[2].vectors_offset as usize + 40);
    fixture.target.put(DataFile::Vectors.name(), &vectors);
    let payloads = fixture.target.file(DataFile::Payloads.name());
    fixture.target.put(DataFile::Payloads.name(), &flipped(payloads, entries[1].payloads_offset as usize + 20));
    fixture.target.remove(layout::CHECKSUM_SHA256);
    let report =
        fixture.manager.verify_snapshot_with(fixture.target.id.as_str(), &VerifyOptions::default()).await.unwrap();
    let mut found: Vec<_> =
        report.corruption.iter().map(|corruption| (corruption.file.as_str(), corruption.block)).collect();
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
    let shown: Vec<_> = report.corruption.iter().map(ToString::to_string).collect();
    assert!(shown.iter().any(|line| line.starts_with("vectors.bin.gz: block 2: ")), "{shown:?}");
}

/// Flips one bit of every byte of every file of a tiny snapshot.
#[tokio::test]
async fn a_change_of_any_byte_is_reported() {
    let dir = TestDir::new();
    let path = dir.path("tiny.db");
    let db = make_database(&path, 3, 2, 7);
    let manager = dir.manager();
    let id = manager.create_snapshot(&db, "tiny").await.unwrap().id;
    let stored = StoredSnapshot::read(&dir.snapshots(), &id);
    let expected = contents(&db);
    let mut restored = 0;
    for file in layout::FILES {
        let bytes = stored.file(file);
        for at in 0..bytes.len() {
            stored.put(file, &flipped(bytes, at));
            let report = manager.verify_snapshot_with(&id, &VerifyOptions::default()).await;
            let report = report.unwrap_or_else(|error| panic!("{file}, byte {at}: {error:?}"));
            assert!(!report.is_intact(), "{file}, byte {at} went unnoticed");
            assert!(
                report.corruption.iter().any(|corruption| corruption.file == file),
                "{file}, byte {at}: {:?}",
                report.corruption
            );
            match manager.restore_snapshot(&id).await {
                Ok(db) => {
                    assert!(contents(&db) == expected, "{file}, byte {at}: restored wrong records");
                    restored += 1;
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt, "{file}, byte {at}: {error:?}"),
            }
        }
        stored.repair();
    }
    assert!(manager.verify_snapshot(&id).await.unwrap());
    // A restore does not read checksum.sha256.
    assert!(restored >= stored.file(layout::CHECKSUM_SHA256).len());
}

#[tokio::test]
async fn foreign_files_are_ignored_and_kept() {
    let fixture = Fixture::new(6);
    let id = fixture.target.id.as_str();
    let root = fixture.dir.snapshots();
    let foreign = [
        root.join("notes.txt"),
        root.join("snapshot-"),
        root.join("snapshot-not-an-id/metadata.json"),
        root.join(format!("snapshot-{}/metadata.json", id.to_uppercase())),
        root.join(format!("{id}/metadata.json")),
        root.join("lost+found/x"),
        fixture.target.dir.join("README"),
        fixture.target.dir.join("sub/metadata.json"),
        fixture.target.dir.join("vectors.bin.gz.bak"),
        fixture.target.dir.join("vectors.bin.gz#1"),
    ];
    for path in &foreign {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, b"foreign").unwrap();
    }
    let listing = fixture.manager.list().await.unwrap();
    let ids: Vec<_> = listing.snapshots.iter().map(|snapshot| snapshot.id.as_str()).collect();
    assert_eq!(ids, [fixture.other.id.as_str(), id]);
    assert!(listing.unusable.is_empty() && listing.pending_uploads.is_empty(), "{listing:?}");
    assert!(fixture.manager.verify_snapshot(id).await.unwrap());
    fixture.manager.restore_snapshot_to(id, fixture.dir.restored(), &RestoreOptions::default()).await.unwrap();
    assert!(records_of_file(&fixture.dir.restored()) == fixture.originals.records);

    fixture.manager.delete_snapshot(id).await.unwrap();
    assert!(foreign.iter().all(|path| std::fs::read(path).unwrap() == b"foreign"));
    assert_eq!(names(&fixture.target.dir), ["README", "sub", "vectors.bin.gz#1", "vectors.bin.gz.bak"]);
    assert!(fixture.manager.verify_snapshot(fixture.other.id.as_str()).await.unwrap());
    fixture.manager.delete_snapshot(fixture.other.id.as_str()).await.unwrap();
    assert!(!fixture.other.dir.exists(), "an empty directory was left");
    let listing = fixture.manager.list().await.unwrap();
    assert!(listing.snapshots.is_empty() && listing.unusable.is_empty() && listing.pending_uploads.is_empty());
}

#[tokio::test]
async fn a_corrupt_snapshot_can_be_deleted_and_does_not_count_in_a_cleanup() {
    let fixture = Fixture::new(6);
    let id = fixture.target.id.as_str();
    fixture.target.put(layout::METADATA_JSON, b"not JSON");
    assert_eq!(fixture.manager.cleanup_old_snapshots(1).await.unwrap(), 0);
    assert_eq!(fixture.manager.list_snapshots().await.unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(fixture.manager.get_snapshot(id).await.unwrap_err().kind(), ErrorKind::Corrupt);
    assert!(fixture.target.dir.exists() && fixture.other.dir.exists());
    fixture.manager.delete_snapshot(id).await.unwrap();
    assert!(!fixture.target.dir.exists());
    assert_eq!(fixture.manager.list_snapshots().await.unwrap().len(), 1);
}

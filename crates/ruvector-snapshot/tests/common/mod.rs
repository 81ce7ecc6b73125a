//! Databases, comparisons and places for the tests. Knows nothing of what a test is about.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod large;
pub mod reference;
pub mod stored;
pub mod watched;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use redb::{ReadableTable, TableDefinition};
use ruvector_core::types::DbOptions;
use ruvector_core::{VectorDB, VectorEntry};
use ruvector_snapshot::{SnapshotConfig, SnapshotManager};

pub const VECTORS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("vectors");
pub const METADATA: TableDefinition<'_, &str, &str> = TableDefinition::new("metadata");
pub const CONFIG: TableDefinition<'_, &str, &str> = TableDefinition::new("config");

/// A directory of a test's own, with room for databases, snapshots and scratch files; gone at the end.
pub struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["snapshots", "scratch", "restored"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        Self { dir }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn snapshots(&self) -> PathBuf {
        self.path("snapshots")
    }

    pub fn scratch(&self) -> PathBuf {
        self.path("scratch")
    }

    /// A place for a restored database, in a directory that holds nothing else.
    pub fn restored(&self) -> PathBuf {
        self.path("restored").join("restored.db")
    }

    pub fn config(&self) -> SnapshotConfig {
        config(self.dir.path())
    }

    pub fn manager(&self) -> SnapshotManager {
        SnapshotManager::new(self.config()).unwrap()
    }

    /// Asserts that a restore that failed left neither a file nor a temporary one.
    #[track_caller]
    pub fn assert_nothing_restored(&self) {
        assert_eq!(names(&self.path("restored")), Vec::<String>::new());
    }

    #[track_caller]
    pub fn assert_scratch_empty(&self) {
        assert_eq!(names(&self.scratch()), Vec::<String>::new());
    }
}

/// The settings for a directory that is laid out as a [`Place`].
pub fn config(dir: &Path) -> SnapshotConfig {
    SnapshotConfig {
        snapshot_dir: dir.join("snapshots"),
        scratch_dir: Some(dir.join("scratch")),
        workers: 2,
        ..SnapshotConfig::default()
    }
}

/// Makes everything below a directory three days old.
pub fn age(dir: &Path) {
    let then = std::time::SystemTime::now() - std::time::Duration::from_secs(3 * 24 * 60 * 60);
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            age(&path);
        }
        std::fs::File::open(path).unwrap().set_modified(then).unwrap();
    }
}

/// What is directly in a directory, sorted.
pub fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Options with a flat index: building another takes longer than everything that is tested.
pub fn options(path: impl AsRef<Path>, dimensions: usize) -> DbOptions {
    DbOptions {
        dimensions,
        storage_path: path.as_ref().to_str().unwrap().to_owned(),
        hnsw_config: None,
        quantization: None,
        ..DbOptions::default()
    }
}

/// The metadata map of a JSON object.
pub fn map(json: serde_json::Value) -> Option<std::collections::HashMap<String, serde_json::Value>> {
    Some(serde_json::from_value(json).unwrap())
}

/// A record that is made from its number and a seed alone; every third has no metadata.
pub fn entry(id: String, at: usize, dimensions: usize, seed: u64) -> VectorEntry {
    let mut random = seed ^ (at as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let vector = (0..dimensions)
        .map(|_| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 40) as f32 / 16_777_216.0 - 0.5
        })
        .collect();
    let metadata =
        map(serde_json::json!({ "n": at, "seed": seed, "text": "ünï\n\"quoted\"", "list": [1.5, null, {}] }));
    VectorEntry { id: Some(id), vector, metadata: metadata.filter(|_| !at.is_multiple_of(3)) }
}

/// A database file of `rows` records with short ids.
pub fn make_database(path: &Path, rows: usize, dimensions: usize, seed: u64) -> VectorDB {
    let db = VectorDB::new(options(path, dimensions)).unwrap();
    let entries: Vec<_> = (0..rows).map(|at| entry(format!("id-{at:06}"), at, dimensions, seed)).collect();
    db.insert_batch(&entries).unwrap();
    db
}

/// A small database file whose long ids make several blocks of it.
pub fn make_many_blocks(path: &Path, rows: usize, seed: u64) -> VectorDB {
    let db = VectorDB::new(options(path, 16)).unwrap();
    let tail: String = (0..1000).map(|at| char::from(b'a' + (at % 26) as u8)).collect();
    let entries: Vec<_> = (0..rows).map(|at| entry(format!("{at:06}-{tail}"), at, 16, seed)).collect();
    db.insert_batch(&entries).unwrap();
    db
}

/// Every record of a `VectorDB`: the bits of its vector and its metadata.
pub type Contents = BTreeMap<String, (Vec<u32>, Option<BTreeMap<String, serde_json::Value>>)>;

pub fn contents(db: &VectorDB) -> Contents {
    let record = |id: String| {
        let entry = db.get(&id).unwrap().unwrap();
        let bits = entry.vector.iter().map(|value| value.to_bits()).collect();
        (id, (bits, entry.metadata.map(|map| map.into_iter().collect())))
    };
    db.keys().unwrap().into_iter().map(record).collect()
}

/// The rows of a database file, word for word, read by redb and not by this crate.
#[derive(Debug, Default, PartialEq)]
pub struct Rows {
    pub vectors: BTreeMap<String, Vec<u8>>,
    pub metadata: BTreeMap<String, String>,
    pub config: BTreeMap<String, String>,
}

pub fn rows_of_file(path: &Path) -> Rows {
    // A copy: redb wants to write to what it opens, and the file may be open.
    let copy = tempfile::NamedTempFile::new().unwrap();
    std::fs::copy(path, copy.path()).unwrap();
    let database = redb::Database::open(copy.path()).unwrap();
    let transaction = database.begin_read().unwrap();
    let mut rows = Rows::default();
    for row in transaction.open_table(VECTORS).unwrap().iter().unwrap() {
        let (id, value) = row.unwrap();
        rows.vectors.insert(id.value().to_owned(), value.value().to_owned());
    }
    for (definition, to) in [(METADATA, &mut rows.metadata), (CONFIG, &mut rows.config)] {
        for row in transaction.open_table(definition).unwrap().iter().unwrap() {
            let (id, value) = row.unwrap();
            to.insert(id.value().to_owned(), value.value().to_owned());
        }
    }
    rows
}

/// The records of a file, with metadata as values: their text is canonical in one file and as the database wrote it in
/// another.
pub fn records_of_file(path: &Path) -> (BTreeMap<String, Vec<u8>>, BTreeMap<String, serde_json::Value>) {
    let rows = rows_of_file(path);
    let metadata = rows.metadata.into_iter().map(|(id, text)| (id, serde_json::from_str(&text).unwrap()));
    (rows.vectors, metadata.collect())
}

/// What a bincode `Vec<f32>` looks like in the `vectors` table.
pub fn encoded(values: &[f32]) -> Vec<u8> {
    let mut bytes = match values.len() {
        length @ 0..=250 => vec![length as u8],
        length @ 251..=65535 => [&[251][..], &(length as u16).to_le_bytes()].concat(),
        length => [&[252][..], &(length as u32).to_le_bytes()].concat(),
    };
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    bytes
}

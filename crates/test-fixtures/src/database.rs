//! Small databases, and their contents as values that can be compared.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use redb::{ReadableTable, TableDefinition};
use ruvector_core::types::DbOptions;
use ruvector_core::{VectorDB, VectorEntry};

/// The table of vectors in a database file.
pub const VECTORS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("vectors");
/// The table of metadata in a database file.
pub const METADATA: TableDefinition<'_, &str, &str> = TableDefinition::new("metadata");
/// The table of settings in a database file.
pub const CONFIG: TableDefinition<'_, &str, &str> = TableDefinition::new("config");

/// Returns options for a database with a flat index: building another index takes longer than all that is tested.
pub fn options(path: impl AsRef<Path>, dimensions: usize) -> DbOptions {
    DbOptions {
        dimensions,
        storage_path: path.as_ref().to_str().unwrap().to_owned(),
        hnsw_config: None,
        quantization: None,
        ..DbOptions::default()
    }
}

/// Returns the metadata map of a JSON object.
pub fn json_object(json: serde_json::Value) -> Option<HashMap<String, serde_json::Value>> {
    Some(serde_json::from_value(json).unwrap())
}

/// Returns a record that depends on its number and the seed only. Every third record has no metadata.
pub fn entry(id: String, number: usize, dimensions: usize, seed: u64) -> VectorEntry {
    let mut random = seed ^ (number as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let vector = (0..dimensions)
        .map(|_| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 40) as f32 / 16_777_216.0 - 0.5
        })
        .collect();
    let metadata = json_object(
        serde_json::json!({ "n": number, "seed": seed, "text": "ünï\n\"quoted\"", "list": [1.5, null, {}] }),
    );
    VectorEntry { id: Some(id), vector, metadata: metadata.filter(|_| !number.is_multiple_of(3)) }
}

/// Makes a database file of `rows` records with short ids, `id-000000` and so on.
pub fn make_database(path: &Path, rows: usize, dimensions: usize, seed: u64) -> VectorDB {
    let db = VectorDB::new(options(path, dimensions)).unwrap();
    let entries: Vec<_> = (0..rows).map(|row| entry(format!("id-{row:06}"), row, dimensions, seed)).collect();
    db.insert_batch(&entries).unwrap();
    db
}

/// Makes a small database file whose long ids fill several blocks.
pub fn make_many_blocks(path: &Path, rows: usize, seed: u64) -> VectorDB {
    let db = VectorDB::new(options(path, 16)).unwrap();
    let tail: String = (0..1000).map(|at| char::from(b'a' + (at % 26) as u8)).collect();
    let entries: Vec<_> = (0..rows).map(|row| entry(format!("{row:06}-{tail}"), row, 16, seed)).collect();
    db.insert_batch(&entries).unwrap();
    db
}

/// Every record of a `VectorDB`: the bits of its vector, and its metadata.
pub type Contents = BTreeMap<String, (Vec<u32>, Option<BTreeMap<String, serde_json::Value>>)>;

/// Returns every record of a database.
pub fn contents(db: &VectorDB) -> Contents {
    let record = |id: String| {
        let entry = db.get(&id).unwrap().unwrap();
        let bits = entry.vector.iter().map(|value| value.to_bits()).collect();
        (id, (bits, entry.metadata.map(|map| map.into_iter().collect())))
    };
    db.keys().unwrap().into_iter().map(record).collect()
}

/// The rows of a database file, byte by byte, as redb reads them.
#[derive(Debug, Default, PartialEq)]
pub struct Rows {
    /// The encoded vectors by id.
    pub vectors: BTreeMap<String, Vec<u8>>,
    /// The text of the metadata by id.
    pub metadata: BTreeMap<String, String>,
    /// The settings by name.
    pub config: BTreeMap<String, String>,
}

/// Reads the rows of a database file with redb, not with this project.
pub fn rows_of_file(path: &Path) -> Rows {
    // A copy, because redb writes to the files that it opens, and this one may be open.
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

/// The encoded vectors of a database file by id, and its metadata as values by id.
pub type Records = (BTreeMap<String, Vec<u8>>, BTreeMap<String, serde_json::Value>);

/// Reads the records of a database file, with metadata as values: two files may spell the same value differently.
pub fn records_of_file(path: &Path) -> Records {
    let rows = rows_of_file(path);
    let metadata = rows.metadata.into_iter().map(|(id, text)| (id, serde_json::from_str(&text).unwrap()));
    (rows.vectors, metadata.collect())
}

/// Encodes a vector as the `vectors` table stores it: as bincode encodes a `Vec<f32>`.
pub fn encode_vector(values: &[f32]) -> Vec<u8> {
    let mut bytes = match values.len() {
        length @ 0..=250 => vec![length as u8],
        length @ 251..=65535 => [&[251][..], &(length as u16).to_le_bytes()].concat(),
        length => [&[252][..], &(length as u32).to_le_bytes()].concat(),
    };
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    bytes
}

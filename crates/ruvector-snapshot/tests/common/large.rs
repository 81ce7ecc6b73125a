//! Large database files: made quickly, without a search index, and compared in little memory.

use std::path::Path;

use redb::{Database, ReadableTable, ReadableTableMetadata};
use ruvector_core::VectorDB;

use super::{CONFIG, METADATA, VECTORS, encoded, options};

/// Makes a database file of random vectors, each with metadata, in as many seconds as the disk needs.
pub fn make_vectors(path: &Path, rows: usize, dimensions: usize) {
    drop(VectorDB::new(options(path, dimensions)).unwrap());
    let database = Database::open(path).unwrap();
    let transaction = database.begin_write().unwrap();
    let mut vectors = transaction.open_table(VECTORS).unwrap();
    let mut metadata = transaction.open_table(METADATA).unwrap();
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut value = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    for row in 0..rows {
        let (id, vector) = (format!("row-{row:08}"), (0..dimensions).map(|_| value()).collect::<Vec<_>>());
        vectors.insert(id.as_str(), encoded(&vector).as_slice()).unwrap();
        metadata.insert(id.as_str(), format!("{{\"row\":{row}}}").as_str()).unwrap();
    }
    drop((vectors, metadata));
    transaction.commit().unwrap();
}

/// The two database files hold the same rows, word for word, as redb reads them; row by row, for they may be large.
#[track_caller]
pub fn assert_same_rows(one: &Path, other: &Path) {
    let [one_file, other_file] = [one, other].map(|path| Database::open(path).unwrap().begin_read().unwrap());
    macro_rules! compare {
        ($($table:ident),*) => {$(
            let [one, other] = [&one_file, &other_file].map(|file| file.open_table($table).unwrap());
            assert_eq!(one.len().unwrap(), other.len().unwrap(), stringify!($table));
            for (one, other) in one.iter().unwrap().zip(other.iter().unwrap()) {
                let ((one_id, one), (other_id, other)) = (one.unwrap(), other.unwrap());
                assert_eq!(one_id.value(), other_id.value(), stringify!($table));
                assert!(one.value() == other.value(), "{} of {}", stringify!($table), one_id.value());
            }
        )*};
    }
    compare!(VECTORS, METADATA, CONFIG);
}

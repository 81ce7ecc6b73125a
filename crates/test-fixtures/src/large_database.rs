//! Large database files: made quickly, without a search index, and compared in little memory.

use std::path::Path;

use redb::{Database, ReadableTable, ReadableTableMetadata};
use ruvector_core::VectorDB;

use super::database::{CONFIG, METADATA, VECTORS, encode_vector, options};

/// Makes a database file of random vectors, each with metadata, as fast as the disk allows.
pub fn make_large_database(path: &Path, rows: usize, dimensions: usize) {
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
        vectors.insert(id.as_str(), encode_vector(&vector).as_slice()).unwrap();
        metadata.insert(id.as_str(), format!("{{\"row\":{row}}}").as_str()).unwrap();
    }
    drop((vectors, metadata));
    transaction.commit().unwrap();
}

/// Asserts that two database files hold the same rows, byte by byte, as redb reads them.
///
/// Compares row by row, because the files may not fit into memory.
#[track_caller]
pub fn assert_same_rows(left: &Path, right: &Path) {
    let [left_file, right_file] = [left, right].map(|path| Database::open(path).unwrap().begin_read().unwrap());
    macro_rules! compare {
        ($($table:ident),*) => {$(
            let [left, right] = [&left_file, &right_file].map(|file| file.open_table($table).unwrap());
            assert_eq!(left.len().unwrap(), right.len().unwrap(), stringify!($table));
            for (left, right) in left.iter().unwrap().zip(right.iter().unwrap()) {
                let ((left_id, left), (right_id, right)) = (left.unwrap(), right.unwrap());
                assert_eq!(left_id.value(), right_id.value(), stringify!($table));
                assert!(left.value() == right.value(), "{} of {}", stringify!($table), left_id.value());
            }
        )*};
    }
    compare!(VECTORS, METADATA, CONFIG);
}

//! The files of an export, read without this project.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::database::Contents;
use crate::test_dir::names;

/// Reads `matrix.npy` and `records.jsonl`, and asserts that their rows are in the order of the ids and that there is nothing
/// else. Returns the records, and the shape of the matrix.
#[track_caller]
pub fn read_npy_export(directory: &Path) -> (Contents, (usize, usize)) {
    assert_eq!(names(directory), ["matrix.npy", "records.jsonl"]);
    let (shape, rows) = read_npy(&directory.join("matrix.npy"));
    let text = fs::read_to_string(directory.join("records.jsonl")).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    let lines: Vec<Value> = text.split_terminator('\n').map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines.len(), rows.len()), (shape.0, shape.0));
    let records = lines.into_iter().zip(rows).map(|(line, row)| {
        assert_eq!(line.as_object().unwrap().len(), 2, "{line}");
        let metadata = line["metadata"].as_object().map(|map| map.clone().into_iter().collect());
        assert!(metadata.is_some() || line["metadata"].is_null(), "{line}");
        (line["id"].as_str().unwrap().to_owned(), (row, metadata))
    });
    let records: Vec<_> = records.collect();
    assert!(records.is_sorted_by(|one, next| one.0 < next.0));
    (records.into_iter().collect(), shape)
}

/// Returns the shape of a file of NumPy, version 1.0, and the bits of its rows.
fn read_npy(path: &Path) -> ((usize, usize), Vec<Vec<u32>>) {
    let bytes = fs::read(path).unwrap();
    assert_eq!(bytes[..8], *b"\x93NUMPY\x01\x00");
    let length = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let (header, values) = bytes[10..].split_at(length);
    // The values are aligned.
    assert_eq!((10 + length) % 64, 0);
    let header = std::str::from_utf8(header).unwrap().strip_suffix('\n').unwrap().trim_end();
    let shape = header.strip_prefix("{'descr': '<f4', 'fortran_order': False, 'shape': (").unwrap();
    let shape = shape.strip_suffix("), }").unwrap().split_once(", ").unwrap();
    let shape: (usize, usize) = (shape.0.parse().unwrap(), shape.1.parse().unwrap());
    assert_eq!(values.len(), shape.0 * shape.1 * 4);
    let values: Vec<u32> = values.as_chunks::<4>().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect();
    (shape, (0..shape.0).map(|row| values[row * shape.1..(row + 1) * shape.1].to_vec()).collect())
}

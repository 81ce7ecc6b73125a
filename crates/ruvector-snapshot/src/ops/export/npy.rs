//! The files of the format npy: `matrix.npy`, version 1.0 of NumPy's format, and `records.jsonl`.

use std::io::Write as _;

use ruvector_snapshot_format::block::Block;

use super::check_vector;
use super::options::ExportedFile;
use crate::error::Result;
use crate::source::export_directory::{ExportDirectory, ExportFile, LeastSize};

pub(super) const MATRIX: &str = "matrix.npy";
pub(super) const RECORDS: &str = "records.jsonl";

/// The magic number of NumPy, and the version.
const MAGIC: [u8; 8] = *b"\x93NUMPY\x01\x00";
/// The size of the header, with the largest shape. A multiple of 64, so that the values are aligned.
const HEADER_BYTES: usize = 128;
/// Bytes of the shortest line that can be: one whose id has no characters.
const LINE_BYTES: u64 = r#"{"id":"","metadata":null}"#.len() as u64 + 1;

/// The files that are being written.
#[derive(Debug)]
pub(super) struct NpyFiles {
    matrix: ExportFile,
    records: ExportFile,
    dimensions: u64,
    rows: u64,
}

impl NpyFiles {
    pub(super) fn create(directory: &ExportDirectory, dimensions: u64) -> Result<Self> {
        let mut matrix = directory.create_file(MATRIX)?;
        let records = directory.create_file(RECORDS)?;
        // The number of rows is known at the end.
        matrix.write_all(&header(0, dimensions)).map_err(|error| matrix.failed(error))?;
        Ok(Self { matrix, records, dimensions, rows: 0 })
    }

    pub(super) fn put(&mut self, block: &Block) -> Result<()> {
        for record in block.rows() {
            check_vector(&record, self.dimensions)?;
            self.matrix.write_all(record.vector).map_err(|error| self.matrix.failed(error))?;
            self.put_line(record.id, record.metadata).map_err(|error| self.records.failed(error))?;
            self.rows += 1;
        }
        Ok(())
    }

    /// Canonical JSON has no end of a line in it.
    fn put_line(&mut self, id: &str, metadata: Option<&str>) -> std::io::Result<()> {
        self.records.write_all(br#"{"id":"#)?;
        serde_json::to_writer(&mut self.records, id)?;
        self.records.write_all(br#","metadata":"#)?;
        self.records.write_all(metadata.unwrap_or("null").as_bytes())?;
        self.records.write_all(b"}\n")
    }

    pub(super) fn finish(mut self) -> Result<Vec<ExportedFile>> {
        self.matrix.write_over_start(&header(self.rows, self.dimensions))?;
        [self.matrix, self.records].into_iter().map(|file| Ok(ExportedFile::new(file.name(), file.finish()?))).collect()
    }
}

/// Returns how large the files of so many records are at least.
pub(super) fn least_size(records: u64, dimensions: u64) -> LeastSize {
    let matrix = records.saturating_mul(dimensions).saturating_mul(4).saturating_add(HEADER_BYTES as u64);
    let lines = records.saturating_mul(LINE_BYTES);
    LeastSize { bytes: matrix.saturating_add(lines), largest_file_bytes: matrix.max(lines) }
}

/// Returns the header of a matrix: the length of the rest, a dictionary in the notation of Python, spaces, and the end of a
/// line.
fn header(rows: u64, columns: u64) -> [u8; HEADER_BYTES] {
    let start = MAGIC.len() + 2;
    let text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {columns}), }}");
    let length = (HEADER_BYTES - start) as u16;
    let bytes = MAGIC.into_iter().chain(length.to_le_bytes()).chain(text.bytes());
    let mut header = [b' '; HEADER_BYTES];
    header.iter_mut().zip(bytes).for_each(|(to, byte)| *to = byte);
    header[HEADER_BYTES - 1] = b'\n';
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_has_room_for_every_shape() {
        let header = header(u64::MAX, u64::MAX);
        let text = std::str::from_utf8(&header[10..]).unwrap();
        let expected = "'shape': (18446744073709551615, 18446744073709551615), }";
        assert!(text.trim_end().ends_with(expected) && text.ends_with(" \n"), "{text}");
    }
}

//! The files of the format npy: `matrix.npy`, version 1.0 of NumPy's format, and `records.jsonl`.

use std::io::{self, Write};

use ruvector_snapshot_format::block::Block;
use ruvector_snapshot_format::model::Record;

use super::check_vector;
use super::options::ExportedFile;
use crate::error::Result;
use crate::source::export_directory::{ExportDirectory, ExportFile};

pub(super) const MATRIX: &str = "matrix.npy";
pub(super) const RECORDS: &str = "records.jsonl";

/// The magic number of NumPy, and the version.
const MAGIC: [u8; 8] = *b"\x93NUMPY\x01\x00";
/// The size of the header, with the largest shape. A multiple of 64, so that the values are aligned.
pub(super) const HEADER_BYTES: usize = 128;
/// Bytes of the shortest line that can be: one whose id has no characters.
pub(super) const LINE_BYTES: u64 = r#"{"id":"","metadata":null}"#.len() as u64 + 1;

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
            write_line(&mut self.records, &record).map_err(|error| self.records.failed(error))?;
            self.rows += 1;
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<Vec<ExportedFile>> {
        self.matrix.write_over_start(&header(self.rows, self.dimensions))?;
        [self.matrix, self.records].into_iter().map(|file| Ok(ExportedFile::new(file.name(), file.finish()?))).collect()
    }
}

/// Writes the line of a record. Canonical JSON has no end of a line in it.
fn write_line(to: &mut impl Write, record: &Record<'_>) -> io::Result<()> {
    to.write_all(br#"{"id":"#)?;
    serde_json::to_writer(&mut *to, record.id)?;
    to.write_all(br#","metadata":"#)?;
    to.write_all(record.metadata.unwrap_or("null").as_bytes())?;
    to.write_all(b"}\n")
}

/// Returns the size of the line of a record.
pub(super) fn line_bytes(record: &Record<'_>) -> u64 {
    let mut counter = Counter(0);
    // Counting cannot fail.
    let _counted = write_line(&mut counter, record);
    counter.0
}

/// Counts what is written to it.
struct Counter(u64);

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
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

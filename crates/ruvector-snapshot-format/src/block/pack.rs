//! Packs a block: rows to pieces.

use super::Block;
use crate::checksum::{ContentSum, DIGEST_BYTES, digest};
use crate::codec::member::Coding;
use crate::codec::piece::{self, Piece};
use crate::codec::planes::{self, PLANES};
use crate::error::Result;
use crate::index::{BlockEntry, FLAG_VECTOR};
use crate::layout::DataFile;
use crate::payloads;

/// A block as it is stored: one piece per data file, and its entry in the block directory.
#[derive(Debug)]
pub struct PackedBlock {
    /// The piece in vectors.bin.gz.
    pub vectors: Vec<u8>,
    /// The piece in index.bin.gz.
    pub index: Vec<u8>,
    /// The piece in metadata.bin.gz.
    pub payloads: Vec<u8>,
    /// The entry of the directory. All offsets are 0; [`Writer::append`](crate::writer::Writer::append) sets them.
    pub entry: BlockEntry,
    /// The sum of the digests of the rows.
    pub sum: ContentSum,
    /// The size of each piece after expansion, in bytes, in the order of [`DataFile::ALL`].
    pub raw_bytes: [u64; 3],
}

/// The contents of the index and metadata members, and what was counted on the way.
struct Rows {
    digests: Vec<u8>,
    lines: String,
    metadata_rows: u32,
    sum: ContentSum,
}

impl Block {
    /// Packs the rows at a compression level of 0 to 9.
    ///
    /// # Errors
    ///
    /// Returns `InvalidInput` if the metadata of a row is not a JSON object.
    pub fn pack(mut self, level: u32) -> Result<PackedBlock> {
        let rows = if self.is_large() { self.encode_large_row()? } else { self.encode_rows()? };
        // The lines have all of it.
        self.metadata = String::new();
        let ids = self.ids.encode();
        let vectors = self.pack_vectors(level)?;
        let index = piece::pack([(&ids, Coding::at_level(level)), (&rows.digests, Coding::Stored)])?;
        let payloads = pack_lines(&rows, level)?;
        let [ids_bytes, digests_bytes] = index.member_bytes;
        let [payloads_bytes] = payloads.member_bytes;
        let entry = BlockEntry {
            rows: self.len() as u32,
            vector_rows: self.vector_rows(),
            metadata_rows: rows.metadata_rows,
            ids_raw_bytes: ids.len() as u32,
            plane_bytes: vectors.member_bytes,
            vectors_crc32: vectors.crc32,
            ids_bytes,
            digests_bytes,
            index_crc32: index.crc32,
            payloads_bytes,
            payloads_raw_bytes: rows.lines.len() as u32,
            payloads_crc32: payloads.crc32,
            first_id: self.ids.get(0).to_owned(),
            ..BlockEntry::default()
        };
        let raw_bytes = DataFile::ALL.map(|file| entry.raw_bytes(file, (self.vector_bytes / 4) as u64));
        let (vectors, index, payloads) = (vectors.bytes, index.bytes, payloads.bytes);
        Ok(PackedBlock { vectors, index, payloads, entry, sum: rows.sum, raw_bytes })
    }

    /// Returns the digests and the metadata lines of all rows.
    fn encode_rows(&self) -> Result<Rows> {
        let mut rows = Rows {
            digests: Vec::with_capacity(self.len() * DIGEST_BYTES),
            lines: String::with_capacity(self.metadata.len() + self.ids.text.len() + self.len() * 24),
            metadata_rows: 0,
            sum: ContentSum::default(),
        };
        for (at, row) in self.rows().enumerate() {
            let canonical = row.metadata.map(|text| payloads::append_canonical_line(row.id, text, &mut rows.lines));
            let canonical = canonical.transpose()?.and_then(|range| rows.lines.get(range));
            rows.metadata_rows += u32::from(row.metadata.is_some());
            let known = self.digests.get(at).copied();
            let digest = known.unwrap_or_else(|| digest(row.id, row.vector, canonical));
            rows.sum.add(&digest);
            rows.digests.extend_from_slice(&digest);
        }
        Ok(rows)
    }

    /// As [`encode_rows`](Self::encode_rows), of a single row. Its metadata becomes the line: the row can have tens of
    /// megabytes, which are not copied.
    fn encode_large_row(&mut self) -> Result<Rows> {
        self.make_canonical()?;
        let row = self.row(0);
        let metadata_rows = u32::from(row.metadata.is_some());
        let digest = self.digests.first().copied().unwrap_or_else(|| row.digest());
        let mut lines = std::mem::take(&mut self.metadata);
        if metadata_rows > 0 {
            payloads::make_line(self.ids.get(0), &mut lines)?;
        }
        let mut sum = ContentSum::default();
        sum.add(&digest);
        Ok(Rows { digests: digest.to_vec(), lines, metadata_rows, sum })
    }

    /// Packs the vectors as four planes. The piece is empty if no row has a vector.
    fn pack_vectors(&self, level: u32) -> Result<Piece<PLANES>> {
        if self.vector_rows() == 0 {
            return Ok(Piece { bytes: Vec::new(), member_bytes: [0; PLANES], crc32: 0 });
        }
        let planes = planes::split(&self.matrix);
        let (low, high) = planes.split_at(planes.len() / 2);
        let halves = [low.split_at(low.len() / 2), high.split_at(high.len() / 2)];
        let [(plane0, plane1), (plane2, plane3)] = halves;
        piece::pack([plane0, plane1, plane2, plane3].map(|plane| (plane, Coding::choose(plane, level))))
    }

    fn vector_rows(&self) -> u32 {
        self.ids.flags.iter().filter(|flags| **flags & FLAG_VECTOR != 0).count() as u32
    }
}

/// Packs the metadata lines. The piece is empty if no row has metadata.
fn pack_lines(rows: &Rows, level: u32) -> Result<Piece<1>> {
    if rows.metadata_rows == 0 {
        return Ok(Piece { bytes: Vec::new(), member_bytes: [0], crc32: 0 });
    }
    piece::pack([(rows.lines.as_bytes(), Coding::at_level(level))])
}

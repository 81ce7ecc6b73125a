//! Estimates the size of a restored file from what `metadata.json` says of the snapshots of a chain.

use ruvector_snapshot_format::checksum::DIGEST_BYTES;
use ruvector_snapshot_format::layout::DataFile;

use crate::error::Result;
use crate::repo::chain::Chain;
use crate::source::destination_checks::FileSize;

/// A page of redb.
const PAGE_BYTES: u64 = 4096;
/// The pages that a new file has, however few are used.
const LEAST_PAGES_BYTES: u64 = 4 << 20;
/// Pages that hold no rows: the tables of redb itself, and pages that were freed meanwhile.
const OTHER_PAGES_BYTES: u64 = 512 << 10;
/// The pages of a region, and the header of each. There is a page with the header of the file, too.
const REGION_BYTES: u64 = 4 << 30;
const REGION_HEADER_BYTES: u64 = 131 * PAGE_BYTES;
/// What a page has besides rows, and a row besides its key and its value.
const PAGE_HEADER_BYTES: u64 = 4;
const ROW_HEADER_BYTES: u64 = 8;
/// The number of values before a vector.
const VECTOR_HEADER_BYTES: u64 = 8;
/// What a line of metadata.bin.gz has besides the id and the metadata.
const LINE_BYTES: u64 = 22;
/// What a row of index.bin.gz has besides the id: flags, the length of the id, and the digest.
const INDEX_ROW_BYTES: u64 = 1 + 4 + DIGEST_BYTES as u64;

/// Returns the size of the file that the newest snapshot of a chain is restored to.
///
/// A forged number that does not fit the sizes of the files is not used: the restore reports such a snapshot as corrupt,
/// and not as too large.
pub(super) fn of_restored_file(chain: &Chain) -> Result<FileSize> {
    let metadata = &chain.newest()?.metadata;
    let payload_bytes = chain.expanded_bytes(DataFile::Payloads)?;
    let index_bytes = chain.expanded_bytes(DataFile::Index)?;
    let records = chain.records()?;
    // An increment does not say how much of the metadata of its chain is left.
    let line_bytes = if chain.snapshots().len() == 1 { payload_bytes } else { 0 };
    // The id of a line is in both tables. With escapes, a line can have six bytes for each byte of its id.
    let least_bytes = line_bytes.saturating_sub(records.saturating_mul(LINE_BYTES)) / 3;
    let texts = Texts { least_bytes, likely_bytes: payload_bytes.saturating_add(index_bytes) };
    Ok(of_state(records, metadata.dimensions, texts))
}

/// What a state has besides vectors, in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Texts {
    /// The ids and the metadata that the tables have at least.
    least_bytes: u64,
    /// All ids and metadata, with what describes them.
    likely_bytes: u64,
}

impl Texts {
    /// Adds those of a record: what it has in the tables, and in the files of a full snapshot.
    pub(super) fn add(&mut self, id: &str, metadata: Option<&str>) {
        let id_bytes = id.len() as u64;
        self.likely_bytes += INDEX_ROW_BYTES + id_bytes;
        if let Some(metadata) = metadata {
            self.least_bytes += metadata.len() as u64;
            self.likely_bytes += LINE_BYTES + id_bytes + metadata.len() as u64;
        }
    }
}

/// Returns the size of a file with so many records.
pub(super) fn of_state(records: u64, dimensions: u64, texts: Texts) -> FileSize {
    let vector_bytes = VECTOR_HEADER_BYTES.saturating_add(dimensions.saturating_mul(4));
    let vectors = table_bytes(records, vector_bytes);
    let least_bytes = vectors.saturating_add(texts.least_bytes);
    // Pages are half full in the worst case, and the file grows to the next power of two.
    let pages = vectors.saturating_add(texts.likely_bytes).saturating_mul(2).saturating_add(OTHER_PAGES_BYTES);
    let pages = pages.checked_next_power_of_two().unwrap_or(u64::MAX).max(LEAST_PAGES_BYTES);
    let headers = pages.div_ceil(REGION_BYTES).saturating_mul(REGION_HEADER_BYTES).saturating_add(PAGE_BYTES);
    FileSize { least_bytes, likely_bytes: pages.saturating_add(headers) }
}

/// Returns the size of a table whose pages are full.
fn table_bytes(rows: u64, value_bytes: u64) -> u64 {
    let row_bytes = value_bytes.saturating_add(ROW_HEADER_BYTES);
    let rows_per_page = ((PAGE_BYTES - PAGE_HEADER_BYTES) / row_bytes).max(1);
    // A row that is larger than a page has a page of its own, whose size is a power of two.
    let needed = row_bytes.saturating_add(PAGE_HEADER_BYTES).max(PAGE_BYTES);
    let page_bytes = needed.checked_next_power_of_two().unwrap_or(u64::MAX);
    rows.div_ceil(rows_per_page).saturating_mul(page_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_metadata_of_an_increment_counts_only_as_what_may_be_needed() {
        let likely_bytes = (4 << 20) + 132 * 4096;
        let texts = Texts { least_bytes: 3333, likely_bytes: 10_022 };
        assert_eq!(of_state(1, 4, texts), FileSize { least_bytes: 4096 + 3333, likely_bytes });
        let texts = Texts { least_bytes: 0, likely_bytes: 10_022 };
        assert_eq!(of_state(1, 4, texts), FileSize { least_bytes: 4096, likely_bytes });
        let max = of_state(u64::MAX, u64::MAX, Texts { least_bytes: u64::MAX, likely_bytes: u64::MAX });
        assert_eq!(max, FileSize { least_bytes: u64::MAX, likely_bytes: u64::MAX });
    }

    #[test]
    fn pages_hold_whole_rows_and_large_rows_have_larger_pages() {
        assert_eq!(table_bytes(0, 100), 0);
        assert_eq!(table_bytes(1, 100), 4096);
        // 4092 / (520 + 8) is 7.
        assert_eq!(table_bytes(7, 520), 4096);
        assert_eq!(table_bytes(8, 520), 8192);
        assert_eq!(table_bytes(3, 4084), 3 * 4096);
        assert_eq!(table_bytes(3, 4085), 3 * 8192);
        assert_eq!(table_bytes(u64::MAX, u64::MAX), u64::MAX);
    }
}

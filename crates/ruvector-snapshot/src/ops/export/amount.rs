//! How much an export writes: counted, or estimated from what `metadata.json` says of the snapshots of a chain. Pure.

use ruvector_snapshot_format::block::Block;
use ruvector_snapshot_format::layout::DataFile;

use super::options::{ExportFormat, PlannedExportFile};
use super::{GROUP_BYTES, PARQUET, check_vector, npy};
use crate::error::Result;
use crate::repo::chain::Chain;
use crate::repo::filter::RecordFilter;

/// The lengths of an id and of metadata in the format parquet, and the statistics of the id.
const TEXTS_BYTES: u64 = 16;
/// What describes a row group of the format parquet and its pages.
const GROUP_HEADER_BYTES: u64 = 16 << 10;

/// How much is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Amount {
    /// Number of records.
    records: u64,
    /// Bytes of their lines in the format npy: at least, and about. The same if they were counted.
    line_bytes: [u64; 2],
    /// About how many bytes their ids and metadata have.
    text_bytes: u64,
}

impl Amount {
    /// Estimates it. Of selected records only what is certain: how many fulfil conditions is not known.
    pub(super) fn estimated(chain: &Chain, filter: &RecordFilter) -> Result<Self> {
        let records = if filter.conditions.is_empty() { filter.records_max(chain.records()?) } else { 0 };
        let shortest_bytes = records.saturating_mul(npy::LINE_BYTES);
        if !filter.accepts_everything() {
            return Ok(Self { records, line_bytes: [shortest_bytes; 2], text_bytes: 0 });
        }
        let metadata_bytes = chain.expanded_bytes(DataFile::Payloads)?;
        let text_bytes = metadata_bytes.saturating_add(chain.expanded_bytes(DataFile::Index)?);
        // Its lines are those of an export, without the records that have no metadata. An increment does not say how much of
        // the metadata of its chain is left.
        let known_bytes = if chain.snapshots().len() == 1 { metadata_bytes } else { 0 };
        let line_bytes = [shortest_bytes.max(known_bytes), shortest_bytes.saturating_add(text_bytes)];
        Ok(Self { records, line_bytes, text_bytes })
    }

    /// Returns the files of a format.
    pub(super) fn files(&self, format: ExportFormat, dimensions: u64) -> Vec<PlannedExportFile> {
        let vector_bytes = self.records.saturating_mul(dimensions).saturating_mul(4);
        match format {
            ExportFormat::Npy => {
                let matrix_bytes = vector_bytes.saturating_add(npy::HEADER_BYTES as u64);
                [(npy::MATRIX, [matrix_bytes; 2]), (npy::RECORDS, self.line_bytes)]
                    .map(|(name, bytes)| PlannedExportFile::new(name, bytes))
                    .into()
            }
            ExportFormat::Parquet => {
                // Vectors are not compressed. Each value has a bit that says where a vector begins, and each text its length.
                let text_bytes = self.text_bytes.saturating_add(self.records.saturating_mul(TEXTS_BYTES));
                let groups_bytes = (vector_bytes / GROUP_BYTES).saturating_add(1).saturating_mul(GROUP_HEADER_BYTES);
                let rest = [vector_bytes / 16, text_bytes, text_bytes / 6, groups_bytes];
                let likely_bytes = rest.into_iter().fold(vector_bytes, u64::saturating_add);
                vec![PlannedExportFile::new(PARQUET, [vector_bytes, likely_bytes])]
            }
        }
    }
}

/// What was counted of selected records.
#[derive(Debug)]
pub(super) struct Counter {
    dimensions: u64,
    records: u64,
    line_bytes: u64,
    text_bytes: u64,
}

impl Counter {
    pub(super) fn new(dimensions: u64) -> Self {
        Self { dimensions, records: 0, line_bytes: 0, text_bytes: 0 }
    }

    pub(super) fn put(mut self, block: Block) -> Result<Self> {
        for record in block.rows() {
            check_vector(&record, self.dimensions)?;
            self.records += 1;
            self.line_bytes += npy::line_bytes(&record);
            self.text_bytes += (record.id.len() + record.metadata.map_or(0, str::len)) as u64;
        }
        Ok(self)
    }

    pub(super) fn amount(&self) -> Amount {
        let Self { records, line_bytes, text_bytes, .. } = *self;
        Amount { records, line_bytes: [line_bytes; 2], text_bytes }
    }
}

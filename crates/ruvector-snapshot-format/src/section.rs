//! The sections of index.bin.gz: their names, where they are, and how large each can be (FORMAT.md, sections 4 and 7).

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::codec::member::{check_expansion, check_overhead};
use crate::error::{FormatError, Result};
use crate::irregular;
use crate::limits;

/// Name of the section that holds the block directory.
pub const DIRECTORY: &str = "directory";
/// Name of the section that holds a [`DatabaseInfo`](crate::model::DatabaseInfo).
pub const DATABASE: &str = "database";
/// Name of the section that holds the leaf tables, see [`leaves`](crate::leaves).
pub const LEAVES: &str = "leaves";

/// What metadata.json records about one section of index.bin.gz.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SectionInfo {
    /// Its name. A reader skips a section whose name it does not know.
    pub name: String,
    /// Its offset in index.bin.gz.
    pub offset: u64,
    /// Its size, as stored.
    pub bytes: u64,
    /// Its size, after expansion.
    pub raw_bytes: u64,
}

impl SectionInfo {
    /// Returns where the section is in index.bin.gz.
    pub fn range(&self) -> Range<u64> {
        self.offset..self.offset.saturating_add(self.bytes)
    }

    /// Checks that the section is no larger than what is in it can be, in a snapshot of so many blocks
    /// and records. `before_raw_bytes` is the size of the sections before it, after expansion.
    ///
    /// # Errors
    ///
    /// Returns `Corrupt` if it is.
    pub(crate) fn check_size(&self, blocks: u64, records: u64, before_raw_bytes: u64) -> Result<()> {
        check_expansion(self.bytes, self.raw_bytes)?;
        check_overhead(self.bytes, self.raw_bytes)?;
        let (limit_bytes, is_in_proportion) = match self.name.as_str() {
            DIRECTORY => {
                let limit_bytes = blocks.saturating_mul(limits::DIRECTORY_BLOCK_BYTES);
                (limit_bytes, self.is_in_proportion() || self.raw_bytes <= limits::IDS_FREE_BYTES)
            }
            DATABASE => (limits::DATABASE_SECTION_BYTES, self.is_in_proportion()),
            LEAVES => {
                let free_bytes = records.saturating_mul(2 * limits::LEAF_BYTES).min(limits::IDS_FREE_BYTES);
                (limits::SECTION_BYTES, self.is_in_proportion() || self.raw_bytes <= free_bytes)
            }
            // Rows of an application can be anything, such as megabytes of zeros. The sections grow with the stream,
            // because metadata.json has an entry for each.
            name if irregular::is_section_name(name) => {
                let part_bytes = before_raw_bytes / limits::IRREGULAR_SECTION_PART;
                (limits::IRREGULAR_SECTION_BYTES.max(part_bytes), true)
            }
            // A section of this name is not read.
            _ => (limits::SECTION_BYTES, true),
        };
        if is_in_proportion && self.raw_bytes <= limit_bytes.min(limits::SECTION_BYTES) {
            return Ok(());
        }
        Err(FormatError::corrupt(format!(
            "section {:?} of index.bin.gz would expand from {} to {} bytes, more than such a section can have",
            self.name, self.bytes, self.raw_bytes
        )))
    }

    fn is_in_proportion(&self) -> bool {
        is_in_proportion(&self.name, self.bytes, self.raw_bytes)
    }
}

/// Returns whether a section of `bytes` may expand to `raw_bytes`: a megabyte never becomes a gigabyte.
pub(crate) fn is_in_proportion(name: &str, bytes: u64, raw_bytes: u64) -> bool {
    let factor = if name == LEAVES { limits::LEAVES_EXPANSION } else { limits::SECTION_EXPANSION };
    let limit_bytes = bytes.saturating_mul(factor).saturating_add(limits::SECTION_FREE_BYTES);
    raw_bytes <= limit_bytes
}

//! Floor 1: the stored bytes of a snapshot, as `docs/FORMAT.md` gives them.
//!
//! Pure: bytes in, bytes out. No I/O, no async, no store, no database. Whatever comes from outside is checked here
//! against the limits of the format before anything is allocated for it.

pub mod id;
pub mod layout;

pub mod metadata;

pub mod checksum;
pub mod huffman;
pub mod member;

pub mod index;
pub mod leaves;
pub mod payloads;
pub mod vectors;

pub mod block;

use crate::error::{ErrorKind, SnapshotError};

/// An error that says that stored bytes are not what was written.
pub(crate) fn damaged(what: impl Into<String>) -> SnapshotError {
    SnapshotError::new(ErrorKind::Damaged, what)
}

/// Limits of the format (FORMAT.md, section 7), in bytes unless the name says otherwise.
pub mod limits {
    /// Of metadata.json and checksum.sha256.
    pub const METADATA_JSON_BYTES: u64 = 1 << 20;
    /// Rows of a block.
    pub const BLOCK_ROWS: usize = 1 << 16;
    /// Of one id.
    pub const ID_BYTES: usize = 1 << 20;
    /// Of one record's canonical metadata.
    pub const RECORD_METADATA_BYTES: usize = 64 << 20;
    /// Of one vector.
    pub const VECTOR_BYTES: usize = 64 << 20;
    /// Of each part of a block of more than one row: its vectors, its ids and flags, its metadata lines.
    pub const BLOCK_BYTES: usize = 8 << 20;
    /// Of a section of index.bin.gz, expanded.
    pub const SECTION_BYTES: u64 = 1 << 30;
    /// How many times its own size a deflate stream can expand to.
    pub const EXPANSION: u64 = 1032;
    /// That a piece or a section may have beyond 65/64 of what it expands to.
    pub const OVERHEAD_BYTES: u64 = 64 << 10;
    /// Of a snapshot's name.
    pub const NAME_BYTES: usize = 1024;
    /// At which a writer closes a block.
    pub const BLOCK_TARGET_BYTES: usize = 2 << 20;
}

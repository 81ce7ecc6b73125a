//! Limits of the format (FORMAT.md, section 7). Sizes are in bytes unless the name says otherwise.
//!
//! A reader checks them before it allocates memory. A writer must not exceed them.

/// Size of metadata.json and of checksum.sha256.
pub const METADATA_JSON_BYTES: u64 = 1 << 20;
/// Size of a ledger entry.
pub const LEDGER_ENTRY_BYTES: u64 = 256 << 10;
/// Size of an annotation.
pub const ANNOTATION_BYTES: u64 = 256 << 10;
/// Annotations beside a snapshot that are read, and beside which another one is written.
pub const ANNOTATIONS: usize = 1000;
/// Size of a note.
pub const NOTE_BYTES: usize = 4096;
/// Rows of a block.
pub const BLOCK_ROWS: usize = 1 << 16;
/// Size of an id.
pub const ID_BYTES: usize = 1 << 20;
/// Size of the canonical metadata of a record.
pub const RECORD_METADATA_BYTES: usize = 64 << 20;
/// Size of a vector.
pub const VECTOR_BYTES: usize = 64 << 20;
/// Size of each part of a block of more than one row: its vectors, its ids and flags, its metadata lines.
pub const BLOCK_BYTES: usize = 8 << 20;
/// Size of a section of index.bin.gz, after expansion. Some sections have a lower limit.
pub const SECTION_BYTES: u64 = 1 << 30;
/// Size of what the block directory has of each block: its entry, and the length and the text of an id.
pub const DIRECTORY_BLOCK_BYTES: u64 = 92 + ID_BYTES as u64;
/// Size of the section that describes the database, after expansion.
pub const DATABASE_SECTION_BYTES: u64 = 64 << 20;
/// Size of each of the first sections of irregular rows, after expansion.
pub const IRREGULAR_SECTION_BYTES: u64 = 8 << 20;
/// A later section of irregular rows may have this part of the sections before it, after expansion.
pub const IRREGULAR_SECTION_PART: u64 = 64;
/// Size of a table or a row in the irregular stream: its first 9 bytes, and what redb stores at most.
pub const IRREGULAR_ENTRY_BYTES: u64 = 9 + (15 << 28);
/// Size that a table or a row in the irregular stream may have, however small the stream is stored.
pub const IRREGULAR_ENTRY_FREE_BYTES: u64 = 64 << 20;
/// What a section may have after expansion, however small it is stored.
pub const SECTION_FREE_BYTES: u64 = 16 << 20;
/// The factor by which a section may expand, apart from [`SECTION_FREE_BYTES`]. A table or a row in the irregular stream
/// can have this factor of the size of the stream as stored, if that is more than [`IRREGULAR_ENTRY_FREE_BYTES`].
pub const SECTION_EXPANSION: u64 = 256;
/// Size of what the section `leaves` has of each record in each of its two tables: a leaf, a run, and the text of an id.
pub const LEAF_BYTES: u64 = 40 + ID_BYTES as u64;
/// The factor by which the section `leaves` may expand, apart from [`SECTION_FREE_BYTES`]. Checksums do not compress.
pub const LEAVES_EXPANSION: u64 = 32;
/// What the sections `directory` and `leaves` may have after expansion, however small they are stored, if their blocks
/// and records can have as much: long ids can be alike.
pub const IDS_FREE_BYTES: u64 = 80 << 20;
/// Rows of the table of settings that the section `database` can have.
pub const CONFIG_ROWS: usize = 1_000_000;
/// Size of each option of the database that is stored as JSON of any shape.
pub const OPTION_JSON_BYTES: usize = 64 << 10;
/// The factor by which a deflate stream can expand at most.
pub const EXPANSION: u64 = 1032;
/// What a piece or a section may have in addition to 65/64 of its size after expansion.
pub const OVERHEAD_BYTES: u64 = 64 << 10;
/// Size of the name of a snapshot.
pub const NAME_BYTES: usize = 1024;
/// Size at which a writer closes a block.
pub const BLOCK_TARGET_BYTES: usize = 2 << 20;

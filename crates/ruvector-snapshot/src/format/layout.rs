//! Every file name and key of a snapshot, built and taken apart here alone.

use super::id::SnapshotId;

/// The commit: a snapshot exists if and only if this file of it does.
pub const METADATA_JSON: &str = "metadata.json";
/// The input of `sha256sum -c`.
pub const CHECKSUM_SHA256: &str = "checksum.sha256";

/// The five files of a snapshot, in the order in which they are deleted: the commit first.
pub const FILES: [&str; 5] =
    [METADATA_JSON, CHECKSUM_SHA256, DataFile::Vectors.name(), DataFile::Index.name(), DataFile::Payloads.name()];

/// The three files that hold blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DataFile {
    /// `vectors.bin.gz`
    Vectors,
    /// `index.bin.gz`
    Index,
    /// `metadata.bin.gz`
    Payloads,
}

impl DataFile {
    /// All three, in the order of checksum.sha256.
    pub const ALL: [Self; 3] = [Self::Vectors, Self::Index, Self::Payloads];

    /// The name of the file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vectors => "vectors.bin.gz",
            Self::Index => "index.bin.gz",
            Self::Payloads => "metadata.bin.gz",
        }
    }
}

/// The key of one file of a snapshot.
pub fn key(id: &SnapshotId, file: &str) -> String {
    format!("{}/{file}", prefix(id))
}

/// What all keys of a snapshot begin with, up to the slash.
pub fn prefix(id: &SnapshotId) -> String {
    format!("snapshot-{id}")
}

/// What all keys of a check of the store begin with, up to the slash. No snapshot has such a key.
pub fn check_prefix(random: u64) -> String {
    format!("store-check-{random:016x}")
}

/// The snapshot and the rest of the key, where `key` lies under the prefix of a snapshot; `None` for anything foreign.
pub fn parse_key(key: &str) -> Option<(SnapshotId, &str)> {
    let (prefix, file) = key.split_once('/')?;
    let id = prefix.strip_prefix("snapshot-")?.parse().ok()?;
    Some((id, file))
}

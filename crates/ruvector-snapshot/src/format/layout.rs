//! Every file name and key of a snapshot, built and taken apart here alone.

use super::id::SnapshotId;

/// The commit: a snapshot exists if and only if this file of it does.
pub const METADATA_JSON: &str = "metadata.json";
/// The input of `sha256sum -c`.
pub const CHECKSUM_SHA256: &str = "checksum.sha256";

/// What an increment that is being made stands on; of use until it is committed.
pub const UPLOAD_JSON: &str = "upload.json";
/// Keeps a snapshot from being deleted.
pub const PINNED_JSON: &str = "pinned.json";

/// The objects that may lie beside the files of a snapshot for a while, besides the marks of deletions.
pub const MARKS: [&str; 2] = [UPLOAD_JSON, PINNED_JSON];

/// The five files of a snapshot, in the order in which they are deleted: the commit first.
pub const FILES: [&str; 5] =
    [METADATA_JSON, CHECKSUM_SHA256, DataFile::Vectors.name(), DataFile::Index.name(), DataFile::Payloads.name()];

const CHECK: &str = "store-check-";

const DELETING: &str = "deleting-";

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

/// Whether a key belongs to a check of the store.
pub fn is_check(key: &str) -> bool {
    key.strip_prefix(CHECK).and_then(|rest| rest.split_once('/')).is_some_and(|(random, _)| random.len() == 16)
}

/// What all keys of a check of the store begin with, up to the slash. No snapshot has such a key.
pub fn check_prefix(random: u64) -> String {
    format!("{CHECK}{random:016x}")
}

/// The name of the object beside the files of a snapshot that says that it is being deleted, by the deletion with this
/// number.
pub fn deletion_mark(random: u64) -> String {
    format!("{DELETING}{random:016x}")
}

/// Whether a file is the mark of a deletion.
pub fn is_deletion_mark(file: &str) -> bool {
    file.strip_prefix(DELETING).is_some_and(|random| random.len() == 16 && !random.contains('/'))
}

/// The snapshot whose keys begin with `prefix`.
pub fn parse_prefix(prefix: &str) -> Option<SnapshotId> {
    prefix.strip_prefix("snapshot-")?.parse().ok()
}

/// The snapshot and the rest of the key, where `key` lies under the prefix of a snapshot; `None` for anything foreign.
pub fn parse_key(key: &str) -> Option<(SnapshotId, &str)> {
    let (prefix, file) = key.split_once('/')?;
    Some((parse_prefix(prefix)?, file))
}

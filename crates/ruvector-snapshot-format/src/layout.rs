//! The names of all objects of a snapshot, and their keys in a store. No other code builds or parses an object key.

use std::fmt;

use crate::id::SnapshotId;

/// The commit: a snapshot exists if and only if its `metadata.json` exists.
pub const METADATA_JSON: &str = "metadata.json";
/// The input of `sha256sum -c`.
pub const CHECKSUM_SHA256: &str = "checksum.sha256";

/// The upload marker: names the bases of an increment that is being made.
pub const UPLOAD_JSON: &str = "upload.json";
/// Protects a snapshot from deletion.
pub const PINNED_JSON: &str = "pinned.json";

/// The objects that can exist beside the files of a snapshot, in addition to deletion markers.
pub const MARKERS: [&str; 2] = [UPLOAD_JSON, PINNED_JSON];

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

    /// Returns the name of the file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vectors => "vectors.bin.gz",
            Self::Index => "index.bin.gz",
            Self::Payloads => "metadata.bin.gz",
        }
    }
}

/// Returns the key of one file of a snapshot.
pub fn key(id: &SnapshotId, file: &str) -> String {
    format!("{}/{file}", prefix(id))
}

/// Returns the prefix of all keys of a snapshot, without the slash.
pub fn prefix(id: impl fmt::Display) -> String {
    format!("snapshot-{id}")
}

/// Returns whether a key belongs to a check of the store.
pub fn is_check(key: &str) -> bool {
    key.strip_prefix(CHECK).and_then(|rest| rest.split_once('/')).is_some_and(|(random, _)| random.len() == 16)
}

/// Returns the prefix of all keys of a check of the store, without the slash. No snapshot has such a key.
pub fn check_prefix(random: u64) -> String {
    format!("{CHECK}{random:016x}")
}

/// Returns the name of the deletion marker of the deletion with this number.
pub fn deletion_marker(random: u64) -> String {
    format!("{DELETING}{random:016x}")
}

/// Returns whether a file is a deletion marker.
pub fn is_deletion_marker(file: &str) -> bool {
    file.strip_prefix(DELETING).is_some_and(|random| random.len() == 16 && !random.contains('/'))
}

/// Returns the snapshot that a prefix belongs to, if any. The inverse of [`prefix`].
pub fn parse_prefix(prefix: &str) -> Option<SnapshotId> {
    prefix.strip_prefix("snapshot-")?.parse().ok()
}

/// Returns the snapshot that a key belongs to, and the name of the file. Returns `None` for a foreign key. The inverse
/// of [`key`].
pub fn parse_key(key: &str) -> Option<(SnapshotId, &str)> {
    let (prefix, file) = key.split_once('/')?;
    Some((parse_prefix(prefix)?, file))
}

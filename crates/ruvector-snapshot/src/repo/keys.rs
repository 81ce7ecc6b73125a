//! Which keys belong to a repository. A store may hold objects of others, which are never listed, read or deleted.

use ruvector_snapshot_format::id::SnapshotId;
use ruvector_snapshot_format::layout::{self, DataFile};

/// Returns whether a key, or a prefix of keys that ends with a slash, belongs to a snapshot or to a store check.
pub(crate) fn is_repository_key(key: &str) -> bool {
    match layout::parse_key(key) {
        Some((_, file)) => file.is_empty() || is_of_snapshot(file),
        None => layout::is_check(key),
    }
}

/// Returns whether an object gets the storage class of the options: the data files, and the uploads of a store check.
pub(crate) fn has_storage_class(key: &str) -> bool {
    match layout::parse_key(key) {
        Some((_, file)) => DataFile::ALL.iter().any(|data| data.name() == file),
        None => layout::is_check(key),
    }
}

/// Returns the snapshot that a key, or the key of a directory, belongs to.
pub(super) fn snapshot_of(key: &str) -> Option<SnapshotId> {
    layout::parse_prefix(key.split('/').next()?)
}

pub(super) fn is_of_snapshot(file: &str) -> bool {
    layout::FILES.contains(&file)
        || layout::MARKERS.contains(&file)
        || layout::is_deletion_marker(file)
        || layout::is_remark(file)
}

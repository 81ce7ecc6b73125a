//! Whether a store is where its user means it to be: not inside a snapshot of another store, and with snapshots in it
//! if there must be some. A mistyped path, or a disk that is not mounted, looks like an empty store.

use std::collections::BTreeSet;
use std::path::Path;

use futures::TryStreamExt;
use ruvector_snapshot_format::id::SnapshotId;
use ruvector_snapshot_format::layout;

use crate::error::{ErrorKind, Remedy, Result, SnapshotError};
use crate::source::database_path::{check_outside, snapshot_around};
use crate::store::{ListEntry, Location, SnapshotStore};

use super::keys::snapshot_of;

/// Refuses a location inside a snapshot of another store: a directory or a prefix `snapshot-ID`, or anything below one.
///
/// Objects that are stored there belong to no store. The commands that list or delete that snapshot do not expect them.
///
/// # Errors
///
/// Returns [`ErrorKind::InvalidInput`].
///
/// # Examples
///
/// ```
/// use ruvector_snapshot::check_location;
///
/// assert!(check_location(&"s3://bucket/backups".parse()?).is_ok());
/// let nested = "s3://bucket/backups/snapshot-20260131T080000000Z-0123456789abcdef".parse()?;
/// assert!(check_location(&nested).is_err());
/// # Ok::<(), ruvector_snapshot::SnapshotError>(())
/// ```
pub fn check_location(location: &Location) -> Result<()> {
    match location {
        Location::Local(path) => check_path(path, "a store"),
        Location::Bucket { prefix, .. } => check_components(prefix.split('/'), "a store", &location.to_string()),
        Location::Memory => Ok(()),
    }
}

/// Refuses a store that is inside a snapshot of another one, by what it calls itself.
pub(super) fn check_store(store: &dyn SnapshotStore) -> Result<()> {
    let location = store.to_string();
    check_components(location.split('/'), "a store", &location)
}

/// Returns the ids of the newest snapshots, newest first and at most so many. Reads one listing and nothing else.
pub(crate) async fn newest_ids(store: &dyn SnapshotStore, max: usize) -> Result<Vec<String>> {
    let mut newest = BTreeSet::new();
    let mut entries = store.list_entries("");
    while let Some(entry) = entries.try_next().await? {
        if let Some(id) = snapshot_in(&entry) {
            newest.insert(id.to_string());
            // An id begins with its time.
            if newest.len() > max {
                newest.pop_first();
            }
        }
    }
    Ok(newest.into_iter().rev().collect())
}

/// Returns whether the store has a snapshot, intact or not, readable or not. Reads the listing up to the first one.
pub(crate) async fn has_snapshots(store: &dyn SnapshotStore) -> Result<bool> {
    let mut entries = store.list_entries("");
    while let Some(entry) = entries.try_next().await? {
        if snapshot_in(&entry).is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Returns whether the store has an object of a snapshot or of an upload.
async fn has_objects(store: &dyn SnapshotStore) -> Result<bool> {
    let mut entries = store.list_entries("");
    while let Some(entry) = entries.try_next().await? {
        if matches!(&entry, ListEntry::Object(object) if layout::parse_key(&object.key).is_some()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Returns the snapshot that an entry of a listing shows: by its `metadata.json`, or by a key that cannot be read.
fn snapshot_in(entry: &ListEntry) -> Option<SnapshotId> {
    match entry {
        ListEntry::Object(object) => match layout::parse_key(&object.key) {
            Some((id, layout::METADATA_JSON)) => Some(id),
            _ => None,
        },
        ListEntry::Unreadable { key, .. } => snapshot_of(key),
        ListEntry::Foreign => None,
    }
}

/// Fails with `NotFound` if the store has no snapshots.
pub(crate) async fn require_snapshots(store: &dyn SnapshotStore) -> Result<()> {
    if has_snapshots(store).await? {
        return Ok(());
    }
    let reason = match has_objects(store).await? {
        true => "there are only files of snapshots or uploads without metadata.json, which `list` shows",
        false => "the location may be mistyped, or its disk not mounted",
    };
    let message = format!(
        "there are no snapshots at {store}, but this store must have some already: {reason}; nothing was stored"
    );
    let advice = "to start a new store, do not require one";
    Err(SnapshotError::new(ErrorKind::NotFound, message).with_remedy(Remedy::NewStore, advice))
}

/// Refuses a path inside of the directory of a store, or inside a snapshot of another one. `what` is what would be there.
pub(crate) fn check_output(path: &Path, what: &str, store: Option<&Path>) -> Result<()> {
    check_path(path, what)?;
    check_outside(path, store)
}

/// Refuses a path inside a snapshot of a store. `what` is what would be there.
fn check_path(path: &Path, what: &str) -> Result<()> {
    snapshot_around(path).map_or(Ok(()), |name| Err(inside(&name, what, &path.display().to_string())))
}

fn check_components<'a>(mut names: impl Iterator<Item = &'a str>, what: &str, location: &str) -> Result<()> {
    let name = names.find(|name| layout::parse_prefix(name).is_some());
    name.map_or(Ok(()), |name| Err(inside(name, what, location)))
}

fn inside(name: &str, what: &str, location: &str) -> SnapshotError {
    let message = format!(
        "{what} cannot be inside a snapshot, but {location} is in {name}; use the directory or prefix that contains {name}"
    );
    SnapshotError::new(ErrorKind::InvalidInput, message)
}

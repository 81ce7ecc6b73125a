//! list and show: what a store holds, from the keys in it and every metadata.json. Reads no data, writes nothing.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

use super::{DamagedSnapshot, Listing, Snapshot, SnapshotManager, no_snapshot};
use crate::error::{ErrorKind, Result, SnapshotError};
use crate::format::id::SnapshotId;
use crate::format::layout::{self, DataFile};
use crate::format::metadata::SnapshotMetadata;
use crate::format::{checksum, damaged, limits};
use crate::store::{ObjectInfo, SnapshotStore};

/// The objects under a snapshot's prefix, by name: its files and what marks it.
pub(super) type Found = BTreeMap<String, ObjectInfo>;

/// What a store holds, and what a deletion has to know of it.
pub(super) struct Survey {
    pub(super) listing: Listing,
    pub(super) found: BTreeMap<SnapshotId, Found>,
    /// What each snapshot stands on, as far as its metadata.json can be read.
    pub(super) bases: BTreeMap<SnapshotId, SnapshotId>,
    /// Objects of checks of the store.
    pub(super) checks: Vec<ObjectInfo>,
}

impl Survey {
    /// Refuses where a snapshot cannot be read, be it that a newer version wrote it: it may stand on others. One that is damaged
    /// stands on nothing any more.
    pub(super) fn check_all_known(&self) -> Result<()> {
        self.check_all_known_but(&BTreeSet::new())
    }

    /// As [`check_all_known`](Self::check_all_known), except for those that are to go themselves and that a newer version wrote.
    pub(super) fn check_all_known_but(&self, doomed: &BTreeSet<SnapshotId>) -> Result<()> {
        let is_doomed = |id: &str| doomed.iter().any(|doomed| doomed.as_str() == id);
        let unknown = |other: &&DamagedSnapshot| match other.error.kind() {
            ErrorKind::Damaged => false,
            ErrorKind::Unsupported => !is_doomed(&other.id),
            _ => true,
        };
        match self.listing.damaged.iter().find(unknown) {
            None => Ok(()),
            Some(other) => Err(SnapshotError::new(
                other.error.kind(),
                format!(
                    "snapshot {} cannot be read and may stand on others, so nothing was deleted: {}",
                    other.id,
                    other.error.message()
                ),
            )),
        }
    }
}

pub(super) async fn list(manager: &SnapshotManager) -> Result<Listing> {
    Ok(survey(manager).await?.listing)
}

/// One listing of all keys, and one read for each metadata.json.
pub(super) async fn survey(manager: &SnapshotManager) -> Result<Survey> {
    let store = manager.store.as_ref();
    let mut found: BTreeMap<SnapshotId, Found> = BTreeMap::new();
    let mut checks = Vec::new();
    let mut objects = store.list("");
    while let Some(object) = objects.try_next().await? {
        match layout::parse_key(&object.key) {
            Some((id, file)) if is_of_snapshot(file) => {
                let file = file.to_owned();
                found.entry(id).or_default().insert(file, object);
            }
            _ if layout::is_check(&object.key) => checks.push(object),
            _ => {}
        }
    }
    drop(objects);
    let mut listing = Listing::default();
    let mut committed = Vec::new();
    for (id, objects) in found.iter().rev() {
        match objects {
            objects if objects.contains_key(layout::METADATA_JSON) => committed.push((id, objects)),
            objects if is_being_deleted(objects) => listing.deleting.push(id.to_string()),
            _ => listing.unfinished.push(id.to_string()),
        }
    }
    let reads = committed.into_iter().map(|(id, objects)| {
        let (store, id, objects) = (manager.store.clone(), id.clone(), objects.clone());
        async move {
            let inspected = inspect(store.as_ref(), &id, &objects).await;
            (id, inspected)
        }
    });
    let mut reads = stream::iter(reads.collect::<Vec<_>>()).buffered(manager.config.max_concurrent_io);
    let mut bases = BTreeMap::new();
    while let Some((id, inspected)) = reads.next().await {
        bases.extend(inspected.base_id.map(|base_id| (id, base_id)));
        match inspected.outcome {
            Ok(snapshot) => listing.snapshots.push(snapshot),
            // Deleted since the keys were listed.
            Err(damaged) if damaged.error.kind() == ErrorKind::NotFound => {}
            Err(damaged) => listing.damaged.push(damaged),
        }
    }
    drop(reads);
    listing.snapshots.sort_by(|a, b| (b.created_at, &b.id).cmp(&(a.created_at, &a.id)));
    Ok(Survey { listing, found, bases, checks })
}

/// The objects under the prefix of one snapshot.
pub(super) async fn found_under(store: &dyn SnapshotStore, id: &SnapshotId) -> Result<Found> {
    let objects = store.list(&layout::prefix(id)).try_filter_map(|object| async {
        let file = layout::parse_key(&object.key).map(|(_, file)| file.to_owned());
        Ok(file.filter(|file| is_of_snapshot(file)).map(|file| (file, object)))
    });
    objects.try_collect().await
}

/// Whether a deletion has marked it.
pub(super) fn is_being_deleted(found: &Found) -> bool {
    found.keys().any(|file| layout::is_deletion_mark(file))
}

fn is_of_snapshot(file: &str) -> bool {
    layout::FILES.contains(&file) || layout::MARKS.contains(&file) || layout::is_deletion_mark(file)
}

/// The metadata.json of a snapshot, checked, and its bytes.
pub(super) async fn read(store: &dyn SnapshotStore, id: &SnapshotId) -> Result<(SnapshotMetadata, Bytes)> {
    let key = layout::key(id, layout::METADATA_JSON);
    let bytes = match store.get(&key, limits::METADATA_JSON_BYTES).await {
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(no_snapshot(id).because(error)),
        answer => answer?,
    };
    let metadata = SnapshotMetadata::decode(&bytes, id).map_err(|error| error.at(key))?;
    Ok((metadata, bytes))
}

/// What checksum.sha256 of a snapshot says, exactly.
pub(super) fn checksum_sha256(metadata_json: &[u8], metadata: &SnapshotMetadata) -> Result<String> {
    let [vectors, index, payloads] = DataFile::ALL;
    Ok(checksum::checksum_sha256(
        metadata_json,
        [&metadata.file(vectors)?.sha256, &metadata.file(index)?.sha256, &metadata.file(payloads)?.sha256],
    ))
}

/// The id that a user means.
pub(super) fn resolve(listing: &Listing, text: &str) -> Result<String> {
    let ids = || {
        let whole = listing.snapshots.iter().map(|snapshot| &snapshot.id);
        whole.chain(listing.damaged.iter().map(|damaged| &damaged.id))
    };
    if let Some(id) = ids().find(|id| *id == text) {
        return Ok(id.clone());
    }
    // The newest counts even where it is damaged: an older one in its place would not be what was asked for.
    let named = {
        let whole = listing.snapshots.iter().map(|snapshot| (&snapshot.id, Some(snapshot.name.as_str())));
        whole.chain(listing.damaged.iter().map(|damaged| (&damaged.id, damaged.name.as_deref())))
    };
    // One whose name cannot be read may be the one that is meant.
    let nameless = listing.damaged.iter().find(|damaged| damaged.name.is_none()).map(|damaged| &damaged.id);
    let named = named.filter(|(_, name)| text == "latest" || *name == Some(text)).map(|(id, _)| id).max();
    let mut matches: Vec<&String> = ids().filter(|id| !text.is_empty() && id.starts_with(text)).collect();
    if let Some(id) = named {
        if let Some(newer) = nameless.filter(|newer| *newer > id) {
            return Err(SnapshotError::new(
                ErrorKind::Invalid,
                format!(
                    "{id} is the newest of the name {text:?} that can be read, but {newer} is newer and its name cannot be \
                     read; give the whole id"
                ),
            ));
        }
        if matches.iter().any(|other| *other != id) {
            return Err(SnapshotError::new(
                ErrorKind::Invalid,
                format!("{text:?} is the name of {id} and the start of another id; give the whole id"),
            ));
        }
        matches = vec![id];
    }
    match matches.as_slice() {
        [id] => Ok((*id).clone()),
        [] if text == "latest" => {
            Err(SnapshotError::new(ErrorKind::NotFound, "there is no snapshot yet, so none is the latest"))
        }
        [] => {
            let shown: String = text.chars().take(64).collect();
            let more = if shown.len() < text.len() { "…" } else { "" };
            Err(SnapshotError::new(
                ErrorKind::NotFound,
                format!(
                    "no snapshot has the id, the start of an id or the name {shown:?}{more}; list shows which there are"
                ),
            ))
        }
        [first, second, ..] => Err(SnapshotError::new(
            ErrorKind::Invalid,
            format!("{} ids begin with {text:?}, among them {first} and {second}; give more of it", matches.len()),
        )),
    }
}

/// What came of looking at one snapshot.
struct Inspected {
    base_id: Option<SnapshotId>,
    outcome: Result<Snapshot, DamagedSnapshot>,
}

/// Reads the metadata.json and compares what it says with the sizes in the store.
async fn inspect(store: &dyn SnapshotStore, id: &SnapshotId, objects: &Found) -> Inspected {
    let mut base_id = None;
    let unusable = |name, error| DamagedSnapshot { id: id.to_string(), name, error };
    let read = async {
        let (metadata, bytes) = read(store, id).await?;
        base_id = metadata.base_id()?;
        Snapshot::new(&metadata, bytes.len() as u64)
    };
    let outcome = match read.await {
        Ok(snapshot) => match compare_sizes(store, id, &snapshot, objects).await {
            Ok(()) => Ok(Snapshot { pinned: objects.contains_key(layout::PINNED_JSON), ..snapshot }),
            Err(error) => Err(unusable(Some(snapshot.name), error)),
        },
        Err(error) => Err(unusable(None, error)),
    };
    Inspected { base_id, outcome }
}

async fn compare_sizes(store: &dyn SnapshotStore, id: &SnapshotId, snapshot: &Snapshot, objects: &Found) -> Result<()> {
    for (file, expected) in &snapshot.files {
        if objects.get(file).is_some_and(|object| object.size_bytes == *expected) {
            continue;
        }
        // A listing is no moment in time: the file may have come after the listing passed its place.
        let key = layout::key(id, file);
        let problem = match store.head(&key).await {
            Ok(object) if object.size_bytes == *expected => continue,
            Ok(object) => damaged(format!("the file has {} bytes, not {expected}", object.size_bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => damaged("the file is missing").because(error),
            Err(error) => return Err(error),
        };
        // A delete that is under way looks like this too, but then metadata.json is gone.
        store.head(&layout::key(id, layout::METADATA_JSON)).await?;
        return Err(problem.at(key));
    }
    Ok(())
}

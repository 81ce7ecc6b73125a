//! list and show: what a store holds, from the keys in it and every metadata.json. Reads no data, writes nothing.
//!
//! What begins with the prefix of a snapshot and has no metadata.json is one of three things: it is being deleted where a
//! deletion has marked it; it has lost its metadata.json where snapshots stand on it; and else it is an upload. What was lost may
//! come back, so nothing sweeps it.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

use super::{DamagedSnapshot, Listing, Snapshot, SnapshotManager, delete, no_snapshot};
use crate::error::{ErrorKind, Result, SnapshotError};
use crate::format::id::SnapshotId;
use crate::format::layout::{self, DataFile};
use crate::format::metadata::{SnapshotMetadata, SnapshotType};
use crate::format::{checksum, damaged, limits};
use crate::store::{ObjectInfo, SnapshotStore};

/// So many characters of an id are the moment of creation.
const MOMENT_LENGTH: usize = 19;

/// The objects under a snapshot's prefix, by name: its files and what marks it.
pub(super) type Found = BTreeMap<String, ObjectInfo>;

/// What a store holds, and what a deletion has to know of it.
pub(super) struct Survey {
    pub(super) listing: Listing,
    pub(super) found: BTreeMap<SnapshotId, Found>,
    /// What each snapshot stands on, as far as its metadata.json can be read.
    pub(super) bases: BTreeMap<SnapshotId, SnapshotId>,
    /// Those of `found` that have lost their metadata.json.
    pub(super) lost: BTreeSet<SnapshotId>,
    /// Objects of checks of the store.
    pub(super) checks: Vec<ObjectInfo>,
}

impl Survey {
    /// The newest snapshot that others stand on, of those that stay, and of which nobody can read what it stands on itself: it
    /// may be anything that is older.
    pub(super) fn newest_unknown(&self, goes: impl Fn(&SnapshotId) -> bool) -> Option<SnapshotId> {
        let staying = self.bases.iter().filter(|(id, _)| !goes(id));
        let needed: BTreeSet<&SnapshotId> = staying.map(|(_, base_id)| base_id).collect();
        let damaged = self.listing.damaged.iter().filter(|damaged| damaged.name.is_none());
        let ids = damaged.filter_map(|damaged| damaged.id.parse::<SnapshotId>().ok());
        ids.filter(|id| !self.bases.contains_key(id) && needed.contains(id) && !goes(id)).max()
    }

    /// These, and all that they stand on.
    pub(super) fn with_all_below(&self, ids: Vec<SnapshotId>) -> BTreeSet<SnapshotId> {
        let (mut pending, mut all) = (ids, BTreeSet::new());
        while let Some(id) = pending.pop() {
            if all.insert(id.clone()) {
                pending.extend(self.bases.get(&id).cloned());
            }
        }
        all
    }

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
    let mut objects = store.list_ours(is_ours);
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
    let committed = found.iter().rev().filter(|(_, objects)| objects.contains_key(layout::METADATA_JSON));
    let reads = committed.map(|(id, objects)| {
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
    let lost = find_lost(manager, &mut found, &bases).await?;
    for (id, objects) in found.iter().rev() {
        let is_whole = || listing.snapshots.iter().any(|snapshot| snapshot.id == id.as_str());
        match objects {
            objects if is_being_deleted(objects) && is_whole() => listing.marked.push(id.to_string()),
            objects if objects.contains_key(layout::METADATA_JSON) => {}
            objects if is_being_deleted(objects) => listing.deleting.push(id.to_string()),
            _ if lost.contains(id) => listing.damaged.push(without_metadata_json(id)),
            _ => listing.unfinished.push(id.to_string()),
        }
    }
    listing.damaged.sort_by(|a, b| b.id.cmp(&a.id));
    listing.snapshots.sort_by(newest_first);
    Ok(Survey { listing, found, bases, lost, checks })
}

/// The order in which snapshots are listed and judged. Of one moment are an increment and the full snapshot that it was
/// compacted into, which takes its place.
pub(super) fn newest_first(a: &Snapshot, b: &Snapshot) -> Ordering {
    let age = |snapshot: &Snapshot| (snapshot.created_at, snapshot.snapshot_type == SnapshotType::Full);
    age(b).cmp(&age(a)).then_with(|| b.id.cmp(&a.id))
}

/// Whether a key, or what keys begin with up to and with a slash, is of a snapshot or of a check of the store.
pub(super) fn is_ours(key: &str) -> bool {
    match layout::parse_key(key) {
        Some((_, file)) => file.is_empty() || is_of_snapshot(file),
        None => layout::is_check(key),
    }
}

/// What every upload that is under way, or was cut off, will stand on, as far as it can be read.
pub(super) async fn uploads(
    store: &dyn SnapshotStore,
    survey: &Survey,
) -> BTreeMap<SnapshotId, Result<Vec<SnapshotId>>> {
    let mut uploads = BTreeMap::new();
    for (id, found) in &survey.found {
        if found.contains_key(layout::UPLOAD_JSON) && !found.contains_key(layout::METADATA_JSON) {
            uploads.insert(id.clone(), delete::bases_of_upload(store, id).await);
        }
    }
    uploads
}

/// Those that have lost their metadata.json. What else was found of them is looked up again: a listing is no moment in
/// time, and a deletion that began meanwhile would look the same without its mark.
async fn find_lost(
    manager: &SnapshotManager,
    found: &mut BTreeMap<SnapshotId, Found>,
    bases: &BTreeMap<SnapshotId, SnapshotId>,
) -> Result<BTreeSet<SnapshotId>> {
    let needed: BTreeSet<&SnapshotId> = bases.values().collect();
    let is_lost = |id: &SnapshotId, objects: &Found| {
        let is_without = !objects.is_empty() && !objects.contains_key(layout::METADATA_JSON);
        is_without && !is_being_deleted(objects) && needed.contains(id)
    };
    let candidates: Vec<SnapshotId> =
        found.iter().filter(|(id, objects)| is_lost(id, objects)).map(|(id, _)| id.clone()).collect();
    let mut lost = BTreeSet::new();
    for id in candidates {
        let again = found_under(manager.store.as_ref(), &id).await?;
        if is_lost(&id, &again) {
            lost.insert(id);
        } else {
            found.insert(id, again);
        }
    }
    found.retain(|_, objects| !objects.is_empty());
    Ok(lost)
}

fn without_metadata_json(id: &SnapshotId) -> DamagedSnapshot {
    let error = damaged(
        "the file is missing, so this cannot be read; put it back from a copy of the store or an older version of the object, \
         or delete the snapshot",
    );
    DamagedSnapshot { id: id.to_string(), name: None, error: error.at(layout::key(id, layout::METADATA_JSON)) }
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
    // The newest counts even where it is damaged: an older one in its place would not be what was asked for. Ids begin
    // with the moment of creation. Those of one moment come in the order of the list, and a damaged one after them.
    let named = {
        let whole = listing.snapshots.iter().rev().zip(1..);
        let whole = whole.map(|(snapshot, place)| (&snapshot.id, Some(snapshot.name.as_str()), place));
        whole.chain(listing.damaged.iter().map(|damaged| (&damaged.id, damaged.name.as_deref(), 0)))
    };
    // One whose name cannot be read may be the one that is meant.
    let nameless = listing.damaged.iter().find(|damaged| damaged.name.is_none()).map(|damaged| &damaged.id);
    let named = named.filter(|(_, name, _)| text == "latest" || *name == Some(text));
    let named = named.max_by_key(|(id, _, place)| (id.get(..MOMENT_LENGTH), *place, *id)).map(|(id, ..)| id);
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

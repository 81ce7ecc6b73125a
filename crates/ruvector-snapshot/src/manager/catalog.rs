//! list and show: what a store holds, from the keys in it and every metadata.json. Reads no data, writes nothing.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

use super::{DamagedSnapshot, Listing, Snapshot, SnapshotManager, no_snapshot};
use crate::error::{ErrorKind, Result, SnapshotError};
use crate::format::id::SnapshotId;
use crate::format::layout::{self, DataFile};
use crate::format::metadata::SnapshotMetadata;
use crate::format::{checksum, damaged, limits};
use crate::store::SnapshotStore;

/// Sizes of the files under a snapshot's prefix, by name.
type Sizes = BTreeMap<String, u64>;

/// One listing of all keys, and one read for each metadata.json.
pub(super) async fn list(manager: &SnapshotManager) -> Result<Listing> {
    let store = manager.store.as_ref();
    let mut found: BTreeMap<SnapshotId, Sizes> = BTreeMap::new();
    let mut objects = store.list("");
    while let Some(object) = objects.try_next().await? {
        if let Some((id, file)) = layout::parse_key(&object.key)
            && layout::FILES.contains(&file)
        {
            found.entry(id).or_default().insert(file.to_owned(), object.size_bytes);
        }
    }
    let mut listing = Listing::default();
    let mut committed = Vec::new();
    for (id, sizes) in found.into_iter().rev() {
        match sizes.contains_key(layout::METADATA_JSON) {
            true => committed.push((id, sizes)),
            false => listing.unfinished.push(id.to_string()),
        }
    }
    let reads = committed.into_iter().map(async |(id, sizes)| inspect(store, id, &sizes).await);
    let mut reads = stream::iter(reads).buffered(manager.config.max_concurrent_io);
    while let Some(found) = reads.next().await {
        match found {
            Ok(snapshot) => listing.snapshots.push(snapshot),
            // Deleted since the keys were listed.
            Err(damaged) if damaged.error.kind() == ErrorKind::NotFound => {}
            Err(damaged) => listing.damaged.push(damaged),
        }
    }
    listing.snapshots.sort_by(|a, b| (b.created_at, &b.id).cmp(&(a.created_at, &a.id)));
    Ok(listing)
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

/// Reads the metadata.json and compares what it says with the sizes in the store.
async fn inspect(store: &dyn SnapshotStore, id: SnapshotId, sizes: &Sizes) -> Result<Snapshot, DamagedSnapshot> {
    let unusable = |name, error| DamagedSnapshot { id: id.to_string(), name, error };
    let read = async {
        let (metadata, bytes) = read(store, &id).await?;
        Snapshot::new(&metadata, bytes.len() as u64)
    };
    let snapshot = read.await.map_err(|error| unusable(None, error))?;
    match compare_sizes(store, &id, &snapshot, sizes).await {
        Ok(()) => Ok(snapshot),
        Err(error) => Err(unusable(Some(snapshot.name), error)),
    }
}

async fn compare_sizes(store: &dyn SnapshotStore, id: &SnapshotId, snapshot: &Snapshot, sizes: &Sizes) -> Result<()> {
    for (file, expected) in &snapshot.files {
        if sizes.get(file) == Some(expected) {
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

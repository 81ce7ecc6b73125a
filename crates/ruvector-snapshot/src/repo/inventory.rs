//! The contents of a repository: lists all objects and classifies them.
//!
//! Reads keys and every `metadata.json`, but no data. Writes nothing.
//!
//! Objects under the prefix of a snapshot without `metadata.json` are one of three things. With a deletion marker, the
//! snapshot is being deleted. If another snapshot depends on it, its `metadata.json` was lost and may come back, so it
//! is never collected. Otherwise it is an upload.
//!
//! What does not belong to snapshots is counted, and a snapshot that cannot be read is listed as one: neither hides the
//! others.
//!
//! A snapshot can be deleted while it is listed. What seems missing or corrupt is checked once more (reading rules R1
//! to R4 of `docs/CONCURRENCY.md`).

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use futures::{StreamExt, TryStreamExt, stream};
use ruvector_snapshot_format::checksum::checksum_sha256_bytes;
use ruvector_snapshot_format::id::SnapshotId;
use ruvector_snapshot_format::lineage::{BaseRef, ChainEnd, Lineage};
use ruvector_snapshot_format::metadata::SnapshotMetadata;
use ruvector_snapshot_format::{layout, limits};

use super::annotations::Annotations;
use super::context::Context;
use super::keys::{is_of_snapshot, snapshot_of};
use super::ledger;
use super::presence::{
    ObjectsByName, absent, exists, gone, is_being_deleted, is_empty, is_lost, judge, list_again, lost_metadata_json,
    may_be_lost, objects_of, was_snapshot,
};
use crate::error::{ErrorKind, Result, SnapshotError, corrupt};
use crate::snapshot::checks::{ChainChecks, Checks};
use crate::snapshot::{Listing, Snapshot, UnusableSnapshot, newest_first};
use crate::store::{ListEntry, ObjectInfo, SnapshotStore};

/// How long after its last other file an upload can still commit, with room for clocks that differ. See step C4 in
/// `docs/CONCURRENCY.md`.
const COMMIT_TIME_MAX: TimeDelta = TimeDelta::hours(1);

/// The contents of a repository, with what a deletion needs to know.
pub(crate) struct Inventory {
    pub(crate) listing: Listing,
    pub(crate) objects: BTreeMap<SnapshotId, ObjectsByName>,
    /// Which snapshot depends on which.
    pub(crate) lineage: Lineage<SnapshotId>,
    /// Snapshots that have lost their `metadata.json`.
    pub(crate) lost: BTreeSet<SnapshotId>,
    /// Objects of store checks.
    pub(crate) checks: Vec<ObjectInfo>,
    /// The annotations of the snapshots that have any.
    pub(crate) annotations: BTreeMap<SnapshotId, Annotations>,
}

impl Inventory {
    /// Lists all keys once and reads every `metadata.json`.
    pub(crate) async fn read(context: &Context) -> Result<Self> {
        let Listed { mut objects, checks, unreadable, foreign } = Listed::read(context).await?;
        let mut listing = Listing { foreign, ..Listing::default() };
        let mut bases = BTreeMap::new();
        for (id, error) in unreadable {
            let error = of_snapshot(error)?;
            listing.unusable.push(UnusableSnapshot { id: id.to_string(), name: None, source: None, error });
            bases.insert(id, BaseRef::Unreadable);
        }
        for (id, inspected) in inspect_all(context, &objects).await {
            bases.insert(id, inspected.base);
            match inspected.outcome {
                Ok((snapshot, damage)) => {
                    listing.damaged.extend(damage.map(|damage| (snapshot.id.clone(), damage.to_string())));
                    listing.snapshots.push(snapshot);
                }
                // Deleted since the keys were listed.
                Err(gone) if gone.error.kind() == ErrorKind::NotFound => {}
                Err(unusable) => {
                    let error = of_snapshot(unusable.error)?;
                    listing.unusable.push(UnusableSnapshot { error, ..unusable });
                }
            }
        }
        let seemingly_lost = without_metadata_json(&objects, &bases);
        forget_deleted(context, &mut listing, &mut bases).await?;
        let lost = confirm_lost(context, seemingly_lost, &mut objects, &bases).await?;
        bases.extend(lost.iter().map(|id| (id.clone(), BaseRef::Unreadable)));
        let now = context.clock.now();
        classify(&mut listing, &objects, &lost, now);
        listing.find_dated_in_future(now);
        listing.listed_at = now;
        let lineage = Lineage::new(bases);
        find_checks(&mut listing, &objects, &lineage, now);
        let annotations = annotate(context, &mut listing, &objects).await?;
        Ok(Self { listing, objects, lineage, lost, checks, annotations })
    }

    /// Returns the base of a snapshot. `None` if the snapshot is not listed.
    pub(crate) fn base_ref(&self, id: &SnapshotId) -> Option<BaseRef<String>> {
        let base = match self.lineage.base_of(id) {
            Some(base_id) => BaseRef::Base(base_id.to_string()),
            None if matches!(self.lineage.chain_end(id)?, ChainEnd::Full(_)) => BaseRef::Full,
            None => BaseRef::Unreadable,
        };
        Some(base)
    }

    /// Returns whether an object of this name exists beside the snapshot.
    pub(crate) fn has(&self, id: &SnapshotId, file: &str) -> bool {
        self.objects.get(id).is_some_and(|objects| objects.contains_key(file))
    }

    /// Returns whether this is a snapshot that has lost its `metadata.json`, or may be one.
    pub(crate) fn may_be_lost(&self, id: &SnapshotId) -> bool {
        self.lost.contains(id) || self.listing.possibly_lost.iter().any(|lost| lost == id.as_str())
    }

    /// Returns the ids of the uploads in progress that name their bases in an upload marker.
    pub(crate) fn uploads_with_marker(&self) -> impl Iterator<Item = &SnapshotId> {
        let is_upload = |objects: &ObjectsByName| {
            objects.contains_key(layout::UPLOAD_JSON) && !objects.contains_key(layout::METADATA_JSON)
        };
        self.objects.iter().filter(move |(_, objects)| is_upload(objects)).map(|(id, _)| id)
    }

    /// Refuses if a newer version wrote a snapshot: it may depend on others in a way that this version does not know.
    ///
    /// Other snapshots that cannot be used are no obstacle. If one is corrupt, the lineage treats it as having an unknown
    /// base; for one that cannot be read see [`unread`](Self::unread).
    pub(crate) fn check_all_known(&self) -> Result<()> {
        self.check_all_known_except(&BTreeSet::new())
    }

    /// As [`check_all_known`](Self::check_all_known), but ignores snapshots that are to be deleted themselves.
    pub(crate) fn check_all_known_except(&self, doomed: &BTreeSet<SnapshotId>) -> Result<()> {
        let is_doomed = |id: &str| doomed.iter().any(|doomed| doomed.as_str() == id);
        let is_obstacle =
            |other: &&UnusableSnapshot| other.error.kind() == ErrorKind::Unsupported && !is_doomed(&other.id);
        let Some(other) = self.listing.unusable.iter().find(is_obstacle) else { return Ok(()) };
        let message = format!(
            "nothing was deleted: snapshot {} cannot be read and may depend on other snapshots: {}",
            other.id,
            other.error.message()
        );
        Err(SnapshotError::new(other.error.kind(), message))
    }

    /// Returns the snapshots that could not be read, for example for lack of a permission.
    ///
    /// They may be intact, and depend on any older snapshot. Pass them to [`Lineage::required_by`] as roots, as if
    /// something depended on them: then its rule for unreadable bases keeps everything older.
    pub(crate) fn unread(&self) -> Vec<SnapshotId> {
        let unread = self.listing.unusable.iter().filter(|unusable| unusable.is_unread());
        unread.filter_map(|unusable| unusable.id.parse().ok()).collect()
    }

    /// Returns the error of a snapshot that cannot be used.
    pub(crate) fn error_of(&self, id: &SnapshotId) -> Option<&SnapshotError> {
        let unusable = self.listing.unusable.iter().find(|unusable| unusable.id == id.as_str());
        unusable.map(|unusable| &unusable.error)
    }
}

/// Returns whether the objects include all five files. That of `checksum.sha256` must not be cut off either.
pub(crate) fn has_all_files(objects: &ObjectsByName) -> bool {
    wrong_file(objects).is_none()
}

/// Returns one of the five files that is missing or, of `checksum.sha256`, has another size.
pub(crate) fn wrong_file(objects: &ObjectsByName) -> Option<&'static str> {
    let is_wrong = |file: &&'static str| match objects.get(*file) {
        Some(object) => *file == layout::CHECKSUM_SHA256 && object.size_bytes != checksum_sha256_bytes(),
        None => true,
    };
    layout::FILES.into_iter().find(is_wrong)
}

/// Reads and checks the `metadata.json` of a snapshot. Returns its bytes too.
pub(crate) async fn read_metadata(store: &dyn SnapshotStore, id: &SnapshotId) -> Result<(SnapshotMetadata, Bytes)> {
    let key = layout::key(id, layout::METADATA_JSON);
    let bytes = match store.get(&key, limits::METADATA_JSON_BYTES).await {
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(absent(store, id).await),
        answer => answer?,
    };
    match SnapshotMetadata::decode(&bytes, id) {
        Ok(metadata) => Ok((metadata, bytes)),
        Err(error) => Err(judge(store, id, SnapshotError::from(error).with_key(key)).await),
    }
}

/// Reads one snapshot, and whether it is pinned.
pub(crate) async fn describe(
    store: &dyn SnapshotStore,
    metadata: &SnapshotMetadata,
    metadata_json_bytes: u64,
) -> Result<Snapshot> {
    let pinned = match store.head(&layout::key(&metadata.id, layout::PINNED_JSON)).await {
        Err(error) if error.kind() == ErrorKind::NotFound => false,
        answer => answer.map(|_| true)?,
    };
    Ok(Snapshot { pinned, ..Snapshot::new(metadata, metadata_json_bytes)? })
}

/// As [`describe`], with what annotations have changed. Without the permission to list the store, they are left out.
pub(crate) async fn describe_annotated(
    store: &dyn SnapshotStore,
    metadata: &SnapshotMetadata,
    metadata_json_bytes: u64,
) -> Result<Snapshot> {
    let objects = match objects_of(store, &metadata.id).await {
        Ok(objects) => objects,
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            let unreadable_annotations = vec![format!("annotations could not be listed: {error}")];
            let snapshot = describe(store, metadata, metadata_json_bytes).await?;
            return Ok(Snapshot { unreadable_annotations, ..snapshot });
        }
        Err(error) => return Err(error),
    };
    let pinned = objects.contains_key(layout::PINNED_JSON);
    let mut snapshot = Snapshot { pinned, ..Snapshot::new(metadata, metadata_json_bytes)? };
    Annotations::read(store, &metadata.id, &objects).await?.apply(&mut snapshot, &metadata.id);
    Ok(snapshot)
}

/// What the keys of a store show.
#[derive(Default)]
struct Listed {
    objects: BTreeMap<SnapshotId, ObjectsByName>,
    /// Objects of store checks.
    checks: Vec<ObjectInfo>,
    /// Snapshots whose objects cannot be listed. Of such a snapshot nothing is known.
    unreadable: BTreeMap<SnapshotId, SnapshotError>,
    /// The number of things that are not ours.
    foreign: u64,
}

impl Listed {
    /// Lists all keys once.
    async fn read(context: &Context) -> Result<Self> {
        let mut listed = Self::default();
        let mut entries = context.store.list_entries("");
        while let Some(entry) = entries.try_next().await? {
            match entry {
                ListEntry::Object(object) => listed.add(object),
                ListEntry::Foreign => listed.foreign += 1,
                ListEntry::Unreadable { key, error } => match snapshot_of(&key) {
                    Some(id) => drop(listed.unreadable.entry(id).or_insert(error)),
                    None => listed.foreign += 1,
                },
            }
        }
        // What was listed of it before the error is not all of it.
        listed.objects.retain(|id, _| !listed.unreadable.contains_key(id));
        Ok(listed)
    }

    fn add(&mut self, object: ObjectInfo) {
        match layout::parse_key(&object.key) {
            Some((id, file)) if is_of_snapshot(file) => {
                let file = file.to_owned();
                self.objects.entry(id).or_default().insert(file, object);
            }
            _ if layout::is_check(&object.key) => self.checks.push(object),
            _ => self.foreign += 1,
        }
    }
}

/// What was found out about one snapshot.
struct Inspected {
    base: BaseRef<SnapshotId>,
    /// The snapshot, and what is wrong with its `checksum.sha256`.
    outcome: Result<(Snapshot, Option<SnapshotError>), UnusableSnapshot>,
}

/// Returns the error of a snapshot. A limit of the process says nothing of the snapshot, and ends the listing.
fn of_snapshot(error: SnapshotError) -> Result<SnapshotError> {
    if error.is_of_process() { Err(error) } else { Ok(error) }
}

/// Reads every `metadata.json`, newest first, some at a time.
async fn inspect_all(context: &Context, objects: &BTreeMap<SnapshotId, ObjectsByName>) -> Vec<(SnapshotId, Inspected)> {
    let committed = objects.iter().rev().filter(|(_, objects)| objects.contains_key(layout::METADATA_JSON));
    let reads = committed.map(|(id, objects)| {
        let (store, id, objects) = (context.store.clone(), id.clone(), objects.clone());
        async move {
            let inspected = inspect(store.as_ref(), &id, &objects).await;
            (id, inspected)
        }
    });
    stream::iter(reads.collect::<Vec<_>>()).buffered(context.config.max_concurrent_io).collect().await
}

/// Reads a `metadata.json` and compares the recorded sizes with those in the store.
async fn inspect(store: &dyn SnapshotStore, id: &SnapshotId, objects: &ObjectsByName) -> Inspected {
    let mut base = BaseRef::Unreadable;
    let unusable = |read: Option<Snapshot>, error| {
        let (name, source) = read.map(|snapshot| (snapshot.name, snapshot.source)).unzip();
        UnusableSnapshot { id: id.to_string(), name, source, error }
    };
    let read = async {
        let (metadata, bytes) = match read_metadata(store, id).await {
            // It was listed.
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(gone(store, id).await),
            read => read?,
        };
        base = metadata.base_id()?.map_or(BaseRef::Full, BaseRef::Base);
        Ok(Snapshot::new(&metadata, bytes.len() as u64)?.for_listing())
    };
    let outcome = match read.await {
        Ok(snapshot) => match compare_sizes(store, id, &snapshot, objects).await {
            Ok(damage) => Ok((Snapshot { pinned: objects.contains_key(layout::PINNED_JSON), ..snapshot }, damage)),
            Err(error) => Err(unusable(Some(snapshot), error)),
        },
        Err(error) => Err(unusable(None, error)),
    };
    Inspected { base, outcome }
}

/// Fails if a file that is needed is missing or has another size. Returns what is wrong with `checksum.sha256`: a restore does
/// not need it.
async fn compare_sizes(
    store: &dyn SnapshotStore,
    id: &SnapshotId,
    snapshot: &Snapshot,
    objects: &ObjectsByName,
) -> Result<Option<SnapshotError>> {
    let mut damage = None;
    for (file, expected) in &snapshot.files {
        if objects.get(file).is_some_and(|object| object.size_bytes == *expected) {
            continue;
        }
        // A listing is not atomic: the file may have been written after the listing passed its key.
        let key = layout::key(id, file);
        let problem = match check_size(store, &key, *expected).await {
            Ok(None) => continue,
            Ok(Some((problem, _))) => problem.with_key(key),
            Err(error) => error,
        };
        match (file.as_str(), problem.kind()) {
            (layout::CHECKSUM_SHA256, ErrorKind::Corrupt) => damage = Some(problem),
            _ => return Err(problem),
        }
    }
    Ok(damage)
}

/// Returns what is wrong with the size of an object, if anything, and its size. A missing object has no bytes.
pub(super) async fn check_size(
    store: &dyn SnapshotStore,
    key: &str,
    expected: u64,
) -> Result<Option<(SnapshotError, u64)>> {
    match store.head(key).await {
        Ok(object) if object.size_bytes == expected => Ok(None),
        Ok(object) => {
            let bytes = object.size_bytes;
            Ok(Some((corrupt(format!("the file has {bytes} bytes instead of {expected}")), bytes)))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Ok(Some((corrupt("the file is missing").with_source(error), 0)))
        }
        Err(error) => Err(error),
    }
}

/// Removes what was deleted since it was listed or read: an increment can be read, and then be deleted together with its
/// base, which is read after it.
///
/// Checks every snapshot that is corrupt or has a broken chain once more (reading rules R1 and R2). If one is gone,
/// others may only now have a broken chain, so the check is repeated.
async fn forget_deleted(
    context: &Context,
    listing: &mut Listing,
    bases: &mut BTreeMap<SnapshotId, BaseRef<SnapshotId>>,
) -> Result<()> {
    loop {
        let checks = suspects(listing, bases).into_iter().map(|id| {
            let store = context.store.clone();
            async move {
                let exists = match exists(store.as_ref(), &id).await {
                    Ok(false) => match gone(store.as_ref(), &id).await {
                        deleted if deleted.kind() == ErrorKind::NotFound => Ok(false),
                        error => Err(error),
                    },
                    answer => answer,
                };
                (id.to_string(), exists)
            }
        });
        let checks = stream::iter(checks.collect::<Vec<_>>()).buffered(context.config.max_concurrent_io);
        let mut gone = BTreeSet::new();
        for (id, exists) in checks.collect::<Vec<_>>().await {
            match (exists, listing.unusable.iter_mut().find(|unusable| unusable.id == id)) {
                (Ok(true), _) => {}
                (Ok(false), _) => drop(gone.insert(id)),
                // It has lost its `metadata.json`, or the check itself failed.
                (Err(error), Some(unusable)) => unusable.error = error,
                (Err(error), None) if error.kind() == ErrorKind::Corrupt => {
                    listing.snapshots.retain(|snapshot| snapshot.id != id);
                    listing.unusable.push(UnusableSnapshot { id, name: None, source: None, error });
                }
                (Err(error), None) => return Err(error),
            }
        }
        if gone.is_empty() {
            break;
        }
        listing.snapshots.retain(|snapshot| !gone.contains(&snapshot.id));
        listing.unusable.retain(|unusable| !gone.contains(&unusable.id));
    }
    let usable: BTreeSet<&str> = listing.snapshots.iter().map(|snapshot| snapshot.id.as_str()).collect();
    listing.damaged.retain(|id, _| usable.contains(id.as_str()));
    // A snapshot that is gone has no place in the lineage, unless one that is not gone names it as its base.
    let usable = listing.snapshots.iter().map(|snapshot| snapshot.id.as_str());
    let listed: BTreeSet<&str> = usable.chain(listing.unusable.iter().map(|unusable| unusable.id.as_str())).collect();
    let mut named = BTreeSet::new();
    // Newest first: a base is older than its dependents.
    for (id, base) in bases.iter().rev() {
        if let BaseRef::Base(base_id) = base
            && (listed.contains(id.as_str()) || named.contains(id))
        {
            named.insert(base_id.clone());
        }
    }
    bases.retain(|id, base| listed.contains(id.as_str()) || matches!(base, BaseRef::Base(_)) && named.contains(id));
    Ok(())
}

/// Returns the listed snapshots that seem to be corrupt or damaged, or have a broken chain.
fn suspects(listing: &Listing, bases: &BTreeMap<SnapshotId, BaseRef<SnapshotId>>) -> Vec<SnapshotId> {
    let usable: BTreeSet<&str> = listing.snapshots.iter().map(|snapshot| snapshot.id.as_str()).collect();
    let corrupt = listing.unusable.iter().filter(|unusable| unusable.error.kind() == ErrorKind::Corrupt);
    let corrupt: BTreeSet<&str> = corrupt.map(|unusable| unusable.id.as_str()).collect();
    let of_usable = bases.iter().filter(|(id, _)| usable.contains(id.as_str()));
    let lineage = Lineage::new(of_usable.map(|(id, base)| (id.clone(), base.clone())));
    let is_suspect = |id: &&SnapshotId| {
        corrupt.contains(id.as_str())
            || listing.damaged.contains_key(id.as_str())
            || usable.contains(id.as_str()) && lineage.broken_at(*id).is_some()
    };
    bases.keys().filter(is_suspect).cloned().collect()
}

/// Returns the snapshots that seem to have lost their `metadata.json`: others name them as their base, or what is beside them shows
/// that they existed.
fn without_metadata_json(
    objects: &BTreeMap<SnapshotId, ObjectsByName>,
    bases: &BTreeMap<SnapshotId, BaseRef<SnapshotId>>,
) -> Vec<SnapshotId> {
    let needed = needed_bases(bases);
    let is_candidate = |(id, objects): &(&SnapshotId, &ObjectsByName)| {
        needed.contains(id) && is_lost(objects) || was_snapshot(objects)
    };
    objects.iter().filter(is_candidate).map(|(id, _)| id.clone()).collect()
}

/// Returns those that have lost their `metadata.json`, and updates the objects of the others.
async fn confirm_lost(
    context: &Context,
    candidates: Vec<SnapshotId>,
    objects: &mut BTreeMap<SnapshotId, ObjectsByName>,
    bases: &BTreeMap<SnapshotId, BaseRef<SnapshotId>>,
) -> Result<BTreeSet<SnapshotId>> {
    let needed = needed_bases(bases);
    let mut lost = BTreeSet::new();
    for id in candidates {
        let again = list_again(context.store.as_ref(), &id).await?;
        if needed.contains(&id) && is_lost(&again) || was_snapshot(&again) {
            lost.insert(id);
        } else {
            objects.insert(id, again);
        }
    }
    objects.retain(|_, objects| !objects.is_empty());
    Ok(lost)
}

fn needed_bases(bases: &BTreeMap<SnapshotId, BaseRef<SnapshotId>>) -> BTreeSet<&SnapshotId> {
    let base_ids = bases.values().filter_map(|base| match base {
        BaseRef::Base(base_id) => Some(base_id),
        BaseRef::Full | BaseRef::Unreadable => None,
    });
    base_ids.collect()
}

/// Sorts everything that is not a usable snapshot into its list.
fn classify(
    listing: &mut Listing,
    objects: &BTreeMap<SnapshotId, ObjectsByName>,
    lost: &BTreeSet<SnapshotId>,
    now: DateTime<Utc>,
) {
    let usable: BTreeSet<String> = listing.snapshots.iter().map(|snapshot| snapshot.id.clone()).collect();
    for (id, objects) in objects.iter().rev() {
        if is_being_deleted(objects) && usable.contains(id.as_str()) {
            listing.marked_for_deletion.push(id.to_string());
        } else if objects.contains_key(layout::METADATA_JSON) || is_empty(objects) {
            // Usable or unusable, as its metadata.json says; or entries of a snapshot that was deleted.
        } else if is_being_deleted(objects) {
            listing.deleting.push(id.to_string());
        } else if lost.contains(id) {
            let error = lost_metadata_json(id);
            listing.unusable.push(UnusableSnapshot { id: id.to_string(), name: None, source: None, error });
        } else {
            listing.pending_uploads.push(id.to_string());
            if may_be_lost(objects, now - COMMIT_TIME_MAX) {
                listing.possibly_lost.push(id.to_string());
            }
        }
    }
    listing.unusable.sort_by(|a, b| b.id.cmp(&a.id));
    listing.snapshots.sort_by(newest_first);
}

/// Reads the annotations of all usable snapshots, some at a time, and applies them.
async fn annotate(
    context: &Context,
    listing: &mut Listing,
    objects: &BTreeMap<SnapshotId, ObjectsByName>,
) -> Result<BTreeMap<SnapshotId, Annotations>> {
    let usable: BTreeSet<&str> = listing.snapshots.iter().map(|snapshot| snapshot.id.as_str()).collect();
    let is_annotated = |objects: &ObjectsByName| objects.keys().any(|file| layout::parse_annotation(file).is_some());
    let annotated = objects.iter().filter(|(id, objects)| usable.contains(id.as_str()) && is_annotated(objects));
    let reads = annotated.map(|(id, objects)| {
        let (store, id, objects) = (context.store.clone(), id.clone(), objects.clone());
        async move { Ok::<_, SnapshotError>((id.clone(), Annotations::read(store.as_ref(), &id, &objects).await?)) }
    });
    let reads = stream::iter(reads.collect::<Vec<_>>()).buffered(context.config.max_concurrent_io);
    let annotations: BTreeMap<SnapshotId, Annotations> = reads.try_collect().await?;
    for snapshot in &mut listing.snapshots {
        if let Ok(id) = snapshot.id.parse()
            && let Some(annotations) = annotations.get(&id)
        {
            annotations.apply(snapshot, &id);
        }
    }
    Ok(annotations)
}

/// Fills [`Listing::checks`].
fn find_checks(
    listing: &mut Listing,
    objects: &BTreeMap<SnapshotId, ObjectsByName>,
    lineage: &Lineage<SnapshotId>,
    now: DateTime<Utc>,
) {
    let mut known: BTreeMap<&SnapshotId, ChainChecks> = BTreeMap::new();
    // A base is older than its dependents.
    for (id, objects) in objects {
        let base = lineage.base_of(id).and_then(|base_id| known.get(base_id));
        if let Some(checks) = ledger::checks_of(objects, base, now) {
            known.insert(id, checks);
        }
    }
    let usable = listing.snapshots.iter().map(|snapshot| snapshot.id.as_str());
    let listed: BTreeSet<&str> = usable.chain(listing.unusable.iter().map(|unusable| unusable.id.as_str())).collect();
    let checks = known.into_iter().map(|(id, known)| (id.to_string(), known.checks));
    let is_worth_it = |checks: &Checks| checks.entries() > 0 || checks.corrupt_at().is_some();
    listing.checks = checks.filter(|(id, checks)| listed.contains(id.as_str()) && is_worth_it(checks)).collect();
}

//! delete: takes snapshots away, without a lock, so that none that stands is ever without what it stands on; and sweeps
//! what others have left. Decides nothing but that.
//!
//! The order, for a set of snapshots:
//!
//! 1. a mark is put beside each of them, of a name that no other deletion uses: from here on nobody begins to stand on
//!    it;
//! 2. the store is listed: of what a snapshot outside of the set stands on by now, or an upload that has begun
//!    (upload.json), the marks are taken back, and it stays;
//! 3. metadata.json of each of the others is deleted, the newest first, and each only after a look at its mark and then
//!    at the time that has passed since step 1: it is no snapshot any more, and never becomes one again;
//! 4. the data is deleted, and the marks last.
//!
//! # Why nothing loses its base
//!
//! Who makes an increment writes upload.json first, then looks for marks beside its bases, and does not remove
//! upload.json before it has looked again after the commit. A mark that the first look does not see was put after
//! upload.json, so the listing of step 2 finds upload.json, or the metadata.json that came before it went, and the base
//! stays. A listing is no moment: whoever looks for a mark looks for metadata.json after that, since marks go last. A
//! deletion only ever takes its own marks back, so several of them may run at once, and none needs to be the only one:
//! nothing rests on a create that refuses a key that exists. Until step 3 everything can be read as before, and after it
//! all that is left to do may be done by anybody, several times.
//!
//! # Why no sweep undoes that
//!
//! A mark beside a snapshot is swept once it is [`MARKS_LAST`] old and as old as the time of grace, both by the clock of the
//! store, which has dated the mark and is asked for its time by an object that is put for that. A deletion that is
//! [`STEPS_LAST`] old by its own clocks gives up. It looks at the time last, after the look at the mark: so the mark
//! stands when the request is sent, and for the other half of the hour, in which the request takes effect or never does.
//! That is all that is asked of clocks and networks: that they do not go wrong by half an hour within an hour.
//!
//! The upload.json beside a snapshot is swept once its metadata.json is as old as that, too, and no base is marked. It is
//! looked at in this order: the commit, then the marks of the bases. A mark that is put later comes after the commit, and
//! its deletion finds metadata.json.
//!
//! What has no metadata.json is swept under a mark of the sweep's own, if nothing in it is younger than the grace, and no mark
//! and no checksum.sha256 in it younger than marks last: so no sweep takes the mark of another that is at work. A create looks for such marks, and for its files, before its commit and after it, and the last object before the first of
//! those looks, checksum.sha256, is young: a sweep that the look does not see leaves the upload alone. It looks at the
//! time before it commits, as a deletion does. Where a commit comes under the mark of a sweep all the same, the sweep
//! takes metadata.json, too, after the data and before its mark, and nobody can have come to stand on it.
//!
//! # What a crash leaves
//!
//! Before step 3 marks beside a snapshot that is whole, and the deletion can be repeated at once; after it objects that
//! belong to no snapshot. Both are leftovers. A delete whose answer is lost may take effect later: its mark is the one
//! that is not taken back on an error.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::SnapshotManager;
use super::catalog::{self, Found, Survey};
use crate::clock::Stopwatch;
use crate::error::{ErrorKind, Result, SnapshotError};
use crate::format::id::SnapshotId;
use crate::format::{layout, limits};
use crate::store::{ObjectInfo, SnapshotStore};

/// How old a mark beside a snapshot must be to be swept, however short the time of grace is.
pub(super) const MARKS_LAST: TimeDelta = TimeDelta::hours(1);

/// How long after its first mark a deletion still deletes a metadata.json, and after its last look a create still commits.
/// What is left of [`MARKS_LAST`] is for the request: it takes effect in that time, or never.
pub(super) const STEPS_LAST: TimeDelta = TimeDelta::minutes(30);

/// How long whoever meets the mark of a deletion waits for it to be settled: three seconds, in steps.
const PATIENCE_MILLIS: [u64; 5] = [100, 200, 400, 800, 1600];

/// What upload.json says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct UploadMark {
    /// The snapshots that the new one will stand on, directly or not.
    pub(super) base_ids: Vec<SnapshotId>,
}

/// What became of a deletion.
#[derive(Debug, Default)]
pub(super) struct Deleted {
    /// What is gone.
    pub(super) gone: BTreeSet<SnapshotId>,
    /// What stays, since something has come to stand on it, or it has been pinned.
    pub(super) kept: BTreeSet<SnapshotId>,
}

/// Deletes a set of snapshots. One that is gone already is passed over.
pub(super) async fn delete(manager: &SnapshotManager, ids: &[SnapshotId]) -> Result<Deleted> {
    let store = manager.store.as_ref();
    let mark = OwnMark::new(manager)?;
    let mut marked = BTreeSet::new();
    let decided = async {
        for id in ids {
            if is_there(store, id).await? {
                // Before the answer: it may have got lost.
                marked.insert(id.clone());
                store.create(&mark.key(id), Bytes::new()).await?;
            }
        }
        let (deleted, survey) = decide(manager, &marked).await?;
        for id in marked.difference(&deleted.gone) {
            store.delete(&mark.key(id)).await?;
        }
        Ok((deleted, survey))
    }
    .await;
    match decided {
        Ok((deleted, survey)) => carry_out(store, &deleted.gone, &mark, &survey).await.map(|()| deleted),
        Err(error) => {
            take_back(store, &marked, &mark).await;
            Err(error)
        }
    }
}

/// Why something is to be removed that belongs to no snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remains {
    /// An upload or a deletion that was cut off has left it, as far as its age tells.
    LeftOver,
    /// It was a snapshot, which lost its metadata.json and was asked to be deleted; no upload owns it, whatever its age.
    Lost,
}

/// Whether an object of no snapshot is old where it is `now` by the clock of the store. A mark, and what a create writes right
/// before its commit, stay as long as marks do, since both sides of the protocol rely on that.
pub(super) fn is_left_over(manager: &SnapshotManager, file: &str, object: &ObjectInfo, now: DateTime<Utc>) -> bool {
    let is_marking = layout::is_deletion_mark(file) || file == layout::CHECKSUM_SHA256;
    let grace_begins = if is_marking { marks_grace_begins(manager, now) } else { manager.grace_before(now) };
    object.modified_at < grace_begins
}

/// Marks keep others from losing what they stand on, so no time of grace is too short for them.
pub(super) fn marks_grace_begins(manager: &SnapshotManager, now: DateTime<Utc>) -> DateTime<Utc> {
    manager.grace_before(now).min(now.checked_sub_signed(MARKS_LAST).unwrap_or(DateTime::<Utc>::MIN_UTC))
}

/// Removes what belongs to no snapshot: what an upload that was never committed has left, or a deletion that was cut
/// off. It is marked and looked at again before that, and its age is told by the time that the store gave the mark.
pub(super) async fn sweep(manager: &SnapshotManager, id: &SnapshotId, why: Remains) -> Result<bool> {
    let store = manager.store.as_ref();
    let mark = OwnMark::new(manager)?;
    let marked = BTreeSet::from([id.clone()]);
    let looked = async {
        store.create(&mark.key(id), Bytes::new()).await?;
        catalog::found_under(store, id).await
    };
    let found = match looked.await {
        Ok(found) => found,
        Err(error) => {
            take_back(store, &marked, &mark).await;
            return Err(error);
        }
    };
    let is_left = found.get(&mark.file).is_some_and(|own| {
        let mut others = found.iter().filter(|(file, _)| **file != mark.file);
        others.all(|(file, object)| {
            let is_old = why == Remains::Lost || is_left_over(manager, file, object, own.modified_at);
            file != layout::METADATA_JSON && is_old
        })
    });
    if !is_left {
        store.delete(&mark.key(id)).await?;
        return Ok(false);
    }
    // Whoever commits it from here on finds the mark, or finds files missing, and gives up: metadata.json goes, too.
    let commit = [layout::METADATA_JSON];
    for key in data_of(id, &mark, &found).into_iter().chain(commit.map(|file| layout::key(id, file))) {
        mark.check_time(id)?;
        store.delete(&key).await?;
    }
    store.delete(&mark.key(id)).await.map(|()| true)
}

/// When a mark beside a snapshot was last of use: what the upload stands on is told by `commit` only once that is there.
pub(super) fn mark_touched_at(file: &str, mark: &ObjectInfo, commit: &ObjectInfo) -> DateTime<Utc> {
    if file == layout::UPLOAD_JSON { mark.modified_at.max(commit.modified_at) } else { mark.modified_at }
}

/// Removes a mark beside a snapshot that nobody needs any more, if it was put before `grace_begins` by the time of the
/// store. What an upload stands on must be known from its metadata.json alone before its upload.json may go: a deletion
/// whose mark is up may have passed the place of the one before it was committed, and not yet that of the other.
pub(super) async fn sweep_mark(manager: &SnapshotManager, key: &str, grace_begins: DateTime<Utc>) -> Result<bool> {
    let store = manager.store.as_ref();
    let Some((id, file)) = layout::parse_key(key) else { return Ok(false) };
    let found = catalog::found_under(store, &id).await?;
    let (Some(object), Some(commit)) = (found.get(file), found.get(layout::METADATA_JSON)) else { return Ok(false) };
    if mark_touched_at(file, object, commit) >= grace_begins {
        return Ok(false);
    }
    if file == layout::UPLOAD_JSON {
        let base_ids = match bases_of_upload(store, &id).await {
            // It cannot be read, and its age has to do.
            Err(error) if error.kind() == ErrorKind::Damaged => Vec::new(),
            answer => answer?,
        };
        for base_id in &base_ids {
            if catalog::is_being_deleted(&catalog::found_under(store, base_id).await?) {
                return Ok(false);
            }
        }
    }
    store.delete(key).await.map(|()| true)
}

/// The time by the clock of the store: that of an object which is put for this and removed again, under an id that no
/// snapshot has.
pub(super) async fn store_time(manager: &SnapshotManager) -> Result<DateTime<Utc>> {
    let store = manager.store.as_ref();
    let mark = OwnMark::new(manager)?;
    let id = SnapshotId::new(manager.clock.now(), manager.clock.random()?);
    let asked = async {
        store.create(&mark.key(&id), Bytes::new()).await?;
        store.head(&mark.key(&id)).await
    };
    let answer = asked.await;
    take_back(store, &BTreeSet::from([id]), &mark).await;
    Ok(answer?.modified_at)
}

/// What lies under an id once no deletion and no sweep has it marked, or patience is over. Marks go last, so they are
/// looked for before the files: what has gone with a mark that is not seen any more is not seen either.
pub(super) async fn settled(store: &dyn SnapshotStore, id: &SnapshotId) -> Result<Found> {
    for wait in PATIENCE_MILLIS.map(Duration::from_millis) {
        if !catalog::is_being_deleted(&catalog::found_under(store, id).await?) {
            let found = catalog::found_under(store, id).await?;
            if !catalog::is_being_deleted(&found) {
                return Ok(found);
            }
        }
        tokio::time::sleep(wait).await;
    }
    catalog::found_under(store, id).await
}

/// The mark that one deletion puts beside each of its snapshots, and the time that has passed since.
struct OwnMark {
    file: String,
    watch: Stopwatch,
}

impl OwnMark {
    /// Before the first is put, so that none is older than the time that has passed.
    fn new(manager: &SnapshotManager) -> Result<Self> {
        let file = layout::deletion_mark(manager.clock.random()?);
        Ok(Self { file, watch: Stopwatch::start(&manager.clock) })
    }

    fn key(&self, id: &SnapshotId) -> String {
        layout::key(id, &self.file)
    }

    /// The last look before a metadata.json is deleted: whether it is still to be. Not where another deletion has been
    /// faster, and has removed this mark with all else. The time is looked at last: see the top of this file.
    async fn check(&self, store: &dyn SnapshotStore, id: &SnapshotId) -> Result<bool> {
        match store.head(&self.key(id)).await {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                if !is_there(store, id).await? {
                    return Ok(false);
                }
                let what = format!(
                    "the mark of this deletion was removed while it ran, so snapshot {id} and what was to go after it \
                     stay; delete them again"
                );
                return Err(SnapshotError::new(ErrorKind::Unavailable, what).at(self.key(id)).because(error));
            }
            answer => answer?,
        };
        self.check_time(id).map(|()| true)
    }

    fn check_time(&self, id: &SnapshotId) -> Result<()> {
        if self.watch.elapsed() < STEPS_LAST {
            return Ok(());
        }
        let what = format!(
            "the deletion took more than {} minutes, in which its marks may have been swept, so snapshot {id} and what \
             was to go after it stay; delete them again",
            STEPS_LAST.num_minutes()
        );
        Err(SnapshotError::new(ErrorKind::Unavailable, what).at(layout::prefix(id)))
    }
}

/// Steps 3 and 4. What could be deleted is removed, and the first error is told.
async fn carry_out(
    store: &dyn SnapshotStore,
    gone: &BTreeSet<SnapshotId>,
    mark: &OwnMark,
    survey: &Survey,
) -> Result<()> {
    let (mut left, mut deleted, mut outcome) = (gone.clone(), Vec::new(), Ok(()));
    for id in gone.iter().rev() {
        match mark.check(store, id).await {
            Ok(true) => {}
            Ok(false) => {
                left.remove(id);
                continue;
            }
            Err(error) => {
                outcome = Err(error);
                break;
            }
        }
        let key = layout::key(id, layout::METADATA_JSON);
        if let Err(error) = store.delete(&key).await {
            if may_come_late(&error) {
                left.remove(id);
            }
            outcome = Err(in_doubt(id, error));
            break;
        }
        left.remove(id);
        deleted.push(id);
    }
    take_back(store, &left, mark).await;
    let none = Found::new();
    for id in deleted {
        let removed = remove(store, id, mark, survey.found.get(id).unwrap_or(&none)).await;
        outcome = outcome.and(removed);
    }
    outcome
}

/// Whether a delete that ended so can take effect yet.
fn may_come_late(error: &SnapshotError) -> bool {
    !matches!(error.kind(), ErrorKind::Denied | ErrorKind::Invalid)
}

fn in_doubt(id: &SnapshotId, error: SnapshotError) -> SnapshotError {
    if !may_come_late(&error) {
        return error;
    }
    // The mark stays: what comes to stand on it now would lose it.
    let what = format!(
        "the store gave no clear answer, so it is not known whether snapshot {id} is deleted; it stays marked, and nothing \
         can stand on it, until it is deleted again or prune sweeps the mark"
    );
    SnapshotError::new(error.kind(), what).at(layout::key(id, layout::METADATA_JSON)).because(error)
}

/// Removes all objects of what is no snapshot, the marks of deletions last.
async fn remove(store: &dyn SnapshotStore, id: &SnapshotId, mark: &OwnMark, found: &Found) -> Result<()> {
    for key in data_of(id, mark, found).into_iter().chain([mark.key(id)]) {
        store.delete(&key).await.map_err(|error| {
            let what = "the snapshot is deleted, but this file of it could not be removed; prune does that later";
            SnapshotError::new(error.kind(), what).at(key).because(error)
        })?;
    }
    Ok(())
}

/// The keys of all but metadata.json and the own mark, the marks of other deletions last.
fn data_of(id: &SnapshotId, mark: &OwnMark, found: &Found) -> Vec<String> {
    let data = layout::FILES.into_iter().filter(|file| *file != layout::METADATA_JSON);
    let beside = layout::MARKS.into_iter().filter(|file| found.contains_key(*file));
    let others = found.keys().map(String::as_str).filter(|file| *file != mark.file && layout::is_deletion_mark(file));
    data.chain(beside).chain(others).map(|file| layout::key(id, file)).collect()
}

/// Takes marks back after an error, which is the one to tell. A mark that stays is swept later.
async fn take_back(store: &dyn SnapshotStore, ids: &BTreeSet<SnapshotId>, mark: &OwnMark) {
    for id in ids {
        if let Err(error) = store.delete(&mark.key(id)).await {
            tracing::debug!(%error, "the mark of a deletion could not be taken back; prune does that later");
        }
    }
}

async fn is_there(store: &dyn SnapshotStore, id: &SnapshotId) -> Result<bool> {
    match store.head(&layout::key(id, layout::METADATA_JSON)).await {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        answer => answer.map(|_| true),
    }
}

/// Step 2: which of the marked snapshots go, and which stay. Those that are gone already are neither.
async fn decide(manager: &SnapshotManager, marked: &BTreeSet<SnapshotId>) -> Result<(Deleted, Survey)> {
    let survey = catalog::survey(manager).await?;
    survey.check_all_known_but(marked)?;
    let has = |id: &SnapshotId, file: &str| survey.found.get(id).is_some_and(|found| found.contains_key(file));
    let goes = |id: &SnapshotId| marked.contains(id) && !has(id, layout::PINNED_JSON);
    let mut pending: Vec<SnapshotId> = marked.iter().filter(|id| !goes(id)).cloned().collect();
    pending.extend(survey.bases.iter().filter(|(id, _)| !goes(id)).map(|(_, base_id)| base_id.clone()));
    if let Some(unknown) = survey.newest_unknown(goes) {
        pending.extend(marked.iter().filter(|id| **id < unknown).cloned());
    }
    for (id, found) in &survey.found {
        if found.contains_key(layout::UPLOAD_JSON) && !found.contains_key(layout::METADATA_JSON) {
            pending.extend(bases_of_upload(manager.store.as_ref(), id).await?);
        }
    }
    let mut needed = BTreeSet::new();
    while let Some(id) = pending.pop() {
        if needed.insert(id.clone()) {
            pending.extend(survey.bases.get(&id).cloned());
        }
    }
    // One of the marked that stays after all stands on others, and nobody knows on which.
    let stays = |id: &str| needed.iter().any(|needed| needed.as_str() == id);
    if survey.listing.damaged.iter().any(|other| other.error.kind() == ErrorKind::Unsupported && stays(&other.id)) {
        survey.check_all_known()?;
    }
    let there = marked.iter().filter(|id| has(id, layout::METADATA_JSON)).cloned();
    let (kept, gone) = there.partition(|id| needed.contains(id));
    Ok((Deleted { gone, kept }, survey))
}

/// What an upload that is under way will stand on.
pub(super) async fn bases_of_upload(store: &dyn SnapshotStore, id: &SnapshotId) -> Result<Vec<SnapshotId>> {
    let key = layout::key(id, layout::UPLOAD_JSON);
    match store.get(&key, limits::METADATA_JSON_BYTES).await {
        // It ended in the meantime, and may have become a snapshot.
        Err(error) if error.kind() == ErrorKind::NotFound => match catalog::read(store, id).await {
            Ok((metadata, _)) => Ok(metadata.base_id()?.into_iter().collect()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        },
        answer => {
            let mark: UploadMark = serde_json::from_slice(&answer?).map_err(|error| {
                let what = "it does not say what the upload stands on, so nothing can be deleted; delete this object if no create is under way";
                SnapshotError::new(ErrorKind::Damaged, what).at(key).because(error)
            })?;
            Ok(mark.base_ids)
        }
    }
}

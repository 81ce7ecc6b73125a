//! The create's side of the protocol: what it announces before it uploads, and what it checks before and after its
//! commit (steps C1 to C7 of `docs/CONCURRENCY.md`). The delete's side is in `markers::deletion`.

use bytes::Bytes;
use ruvector_snapshot_format::FormatError;
use ruvector_snapshot_format::id::SnapshotId;
use ruvector_snapshot_format::layout;

use super::context::Context;
use super::inventory::{has_all_files, wrong_file};
use super::markers::{UploadMarker, await_unmarked, deletion};
use super::presence::{exists, is_being_deleted, objects_of};
use crate::error::{ErrorKind, Result, SnapshotError};
use crate::store::SnapshotStore;

/// Guards the commit of one upload.
pub(crate) struct CommitGuard<'a> {
    pub(crate) context: &'a Context,
    pub(crate) id: &'a SnapshotId,
    pub(crate) origin: Origin,
    /// All ancestors of the new snapshot. Empty for a full one.
    pub(crate) base_ids: &'a [SnapshotId],
}

/// Where the bytes of an upload come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// It is a new snapshot.
    Created,
    /// It is a snapshot of another store.
    Copied,
}

impl Origin {
    /// Returns what can be done if a base cannot be used.
    fn without_base(self) -> &'static str {
        match self {
            Self::Created => "choose another base, or take a full snapshot",
            Self::Copied => "repeat the copy, which copies the base again if it can",
        }
    }

    fn noun(self) -> &'static str {
        match self {
            Self::Created => "create",
            Self::Copied => "copy",
        }
    }
}

/// Why a commit failed.
pub(crate) enum CommitOutcome {
    /// The snapshot does not exist.
    NotCommitted(SnapshotError),
    /// It is unknown whether the snapshot exists, or it could not be rolled back. Nothing of it may be removed.
    Indeterminate(SnapshotError),
}

impl CommitOutcome {
    pub(crate) fn into_error(self) -> SnapshotError {
        match self {
            Self::NotCommitted(error) | Self::Indeterminate(error) => error,
        }
    }

    /// Converts an outcome from before the commit, when whatever is stored is not a snapshot.
    pub(crate) fn before_commit(self) -> Self {
        Self::NotCommitted(self.into_error())
    }
}

impl From<SnapshotError> for CommitOutcome {
    fn from(error: SnapshotError) -> Self {
        Self::NotCommitted(error)
    }
}

impl From<FormatError> for CommitOutcome {
    fn from(error: FormatError) -> Self {
        Self::NotCommitted(error.into())
    }
}

/// What can be seen of a base.
enum BaseState {
    Intact,
    /// It has a deletion marker.
    Marked,
    Deleted,
    /// With the file that is missing or has another size.
    Incomplete(&'static str),
}

/// Checks that each of these snapshots exists, is kept and is complete. `origin` says what can be done if not.
pub(crate) async fn check_bases(context: &Context, base_ids: &[SnapshotId], origin: Origin) -> Result<()> {
    for (base_id, state) in base_states(context, base_ids).await? {
        let (kind, why) = match state {
            BaseState::Intact => continue,
            BaseState::Deleted => (ErrorKind::NotFound, "it has been deleted".to_owned()),
            BaseState::Marked => {
                (ErrorKind::Unavailable, "it is being deleted, or its deletion was interrupted".to_owned())
            }
            BaseState::Incomplete(file) => {
                (ErrorKind::Corrupt, format!("its {file} is missing or has another size, as `verify` shows"))
            }
        };
        let advice = origin.without_base();
        let message = format!("cannot use snapshot {base_id} as a base: {why}; {advice}");
        return Err(SnapshotError::new(kind, message));
    }
    Ok(())
}

async fn base_states(context: &Context, base_ids: &[SnapshotId]) -> Result<Vec<(SnapshotId, BaseState)>> {
    let store = context.store.as_ref();
    let states = base_ids.iter().map(async |base_id| {
        let objects = objects_of(store, base_id).await?;
        let state = if is_being_deleted(&objects) {
            BaseState::Marked
        } else {
            wrong_file(&objects).map_or(BaseState::Intact, BaseState::Incomplete)
        };
        // Checked after the markers, which a deletion removes last (invariant I3).
        let state = if exists(store, base_id).await? { state } else { BaseState::Deleted };
        Ok((base_id.clone(), state))
    });
    futures::future::try_join_all(states).await
}

impl CommitGuard<'_> {
    /// Steps C1 and C2: writes `upload.json`, which names all ancestors, and then checks that each of them exists and
    /// has no deletion marker.
    ///
    /// A deletion writes its marker before it lists uploads, so at least one of the two sees the other (invariant
    /// I1).
    pub(crate) async fn announce_bases(&self) -> Result<()> {
        if self.base_ids.is_empty() {
            return Ok(());
        }
        let marker = UploadMarker { base_ids: self.base_ids.to_vec() }.encode()?;
        let key = layout::key(self.id, layout::UPLOAD_JSON);
        if let Err(error) = self.context.store.create(&key, marker.clone()).await {
            let resolved = resolve_lost_answer(self.context.store.as_ref(), &key, &marker, error).await;
            resolved.map_err(CommitOutcome::into_error)?;
        }
        self.check_bases().await
    }

    async fn check_bases(&self) -> Result<()> {
        check_bases(self.context, self.base_ids, self.origin).await
    }

    /// Step C4: the last check before the commit, after `checksum.sha256` was written.
    ///
    /// `checksum.sha256` is young, so a collection that starts later skips the upload (invariant I7). If a collection
    /// has removed the `upload.json` of a slow upload, it is written again: either its bases are as before, or the
    /// upload is given up.
    pub(crate) async fn before_commit(&self) -> Result<()> {
        let store = self.context.store.as_ref();
        let is_marked = is_being_deleted(&objects_of(store, self.id).await?);
        let objects = objects_of(store, self.id).await?;
        let mut files = layout::FILES.into_iter().filter(|file| *file != layout::METADATA_JSON);
        if is_marked || !files.all(|file| objects.contains_key(file)) {
            return Err(was_collected(self.id));
        }
        if objects.contains_key(layout::UPLOAD_JSON) { Ok(()) } else { self.announce_bases().await }
    }

    /// Step C6: checks the snapshot and its bases again after the commit, and rolls the snapshot back if one of them is
    /// not intact.
    ///
    /// A deletion marker beside the snapshot may be that of a user who deletes it, or of a collection that is about to
    /// see that it is committed. Either ends soon, so it is waited for.
    pub(crate) async fn after_commit(&self) -> Result<(), CommitOutcome> {
        let id = self.id;
        let objects = await_unmarked(self.context.store.as_ref(), id).await.map_err(|error| unconfirmed(id, error))?;
        if !objects.contains_key(layout::METADATA_JSON) {
            let message = format!(
                "snapshot {id} was stored, but was deleted or collected before the {} had ended; try again",
                self.origin.noun()
            );
            return Err(CommitOutcome::NotCommitted(SnapshotError::new(ErrorKind::Unavailable, message)));
        }
        if !has_all_files(&objects) {
            return Err(self.roll_back(was_collected(id)).await);
        }
        if is_being_deleted(&objects) {
            let message = format!(
                "snapshot {id} was stored, but a deletion or a collection of it has started and does not end, so it was rolled back; \
                 try again"
            );
            return Err(self.roll_back(SnapshotError::new(ErrorKind::Unavailable, message)).await);
        }
        self.confirm_bases(objects.contains_key(layout::UPLOAD_JSON)).await
    }

    /// Checks that every base exists and is kept, and then removes `upload.json` (step C7).
    ///
    /// A marker beside a base was written after C2, and so after `upload.json`. If `upload.json` still exists, that
    /// deletion sees it and keeps the base (invariant I1). If it does not exist, it is unknown what the deletion has
    /// seen.
    async fn confirm_bases(&self, has_upload_marker: bool) -> Result<(), CommitOutcome> {
        let id = self.id;
        if self.base_ids.is_empty() {
            return Ok(());
        }
        let mut is_any_marked = false;
        for (base_id, state) in
            base_states(self.context, self.base_ids).await.map_err(|error| unconfirmed(id, error))?
        {
            let (kind, why) = match state {
                BaseState::Intact => continue,
                BaseState::Marked if has_upload_marker => {
                    is_any_marked = true;
                    continue;
                }
                BaseState::Marked => (ErrorKind::Unavailable, "is being deleted".to_owned()),
                BaseState::Deleted => (ErrorKind::NotFound, "was deleted meanwhile".to_owned()),
                BaseState::Incomplete(file) => (ErrorKind::Corrupt, format!("has lost its {file}")),
            };
            let advice = self.origin.without_base();
            let message = format!("snapshot {id} was rolled back: its base {base_id} {why}; {advice}");
            return Err(self.roll_back(SnapshotError::new(kind, message)).await);
        }
        if !is_any_marked && let Err(error) = self.context.store.delete(&layout::key(id, layout::UPLOAD_JSON)).await {
            tracing::debug!(%error, "an upload marker could not be removed; garbage collection removes it later");
        }
        Ok(())
    }

    /// Deletes the committed snapshot because of an error, unless something already depends on it.
    async fn roll_back(&self, cause: SnapshotError) -> CommitOutcome {
        let id = self.id;
        let why = match deletion::delete(self.context, std::slice::from_ref(id)).await {
            Ok(deleted) if deleted.kept.is_empty() => return CommitOutcome::NotCommitted(cause),
            Ok(_) => "it was pinned or has a dependent".to_owned(),
            Err(error) => error.to_string(),
        };
        let message =
            format!("snapshot {id} was stored, may be incomplete and could not be rolled back ({why}); verify it");
        let error = SnapshotError::new(cause.kind(), message).with_key(layout::prefix(id));
        CommitOutcome::Indeterminate(error.with_source(cause))
    }
}

/// Finds out whether a create that failed took effect, by reading the object back.
pub(crate) async fn resolve_lost_answer(
    store: &dyn SnapshotStore,
    key: &str,
    bytes: &Bytes,
    error: SnapshotError,
) -> Result<(), CommitOutcome> {
    match store.get(key, bytes.len() as u64).await {
        Ok(found) if found == *bytes => Ok(()),
        Err(absent) if absent.kind() == ErrorKind::NotFound => Err(CommitOutcome::NotCommitted(error)),
        // Other bytes than were sent, or no answer again.
        _ => {
            let message = "it is not known whether the snapshot exists: the store gave no clear answer to the commit, and reading it \
                           back failed too; `list` shows whether it exists";
            let error = SnapshotError::new(error.kind(), message).with_key(key).with_source(error);
            Err(CommitOutcome::Indeterminate(error))
        }
    }
}

fn was_collected(id: &SnapshotId) -> SnapshotError {
    let message = format!("the upload of {id} took so long that it was collected as abandoned; try again");
    SnapshotError::new(ErrorKind::Unavailable, message)
}

fn unconfirmed(id: &SnapshotId, error: SnapshotError) -> CommitOutcome {
    let message = "the snapshot was stored, but the checks after the commit failed; verify it";
    CommitOutcome::Indeterminate(
        SnapshotError::new(error.kind(), message).with_key(layout::prefix(id)).with_source(error),
    )
}

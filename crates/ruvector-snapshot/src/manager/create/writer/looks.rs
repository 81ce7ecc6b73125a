//! The looks that a create takes: at what it stands on before it uploads, at its own files before the commit, at both after
//! it. The other side of the same rules is in `delete.rs`, which says why they are enough.

use bytes::Bytes;

use super::super::super::delete::{self, UploadMark};
use super::super::super::{SnapshotManager, catalog};
use crate::error::{ErrorKind, Result, SnapshotError};
use crate::format::id::SnapshotId;
use crate::format::layout;
use crate::store::SnapshotStore;

/// One upload, as others that are at work in the store see it.
pub(super) struct Looks<'a> {
    pub(super) manager: &'a SnapshotManager,
    pub(super) id: &'a SnapshotId,
    /// What it stands on, directly or not.
    pub(super) base_ids: &'a [SnapshotId],
}

/// How a commit failed: it did not happen, or nobody knows.
pub(super) enum Doubt {
    Failed(SnapshotError),
    Unknown(SnapshotError),
}

impl Doubt {
    fn into_error(self) -> SnapshotError {
        match self {
            Self::Failed(error) | Self::Unknown(error) => error,
        }
    }

    /// The same before the commit, where whatever stands there is no snapshot and can be removed.
    pub(super) fn before_the_commit(self) -> Self {
        Self::Failed(self.into_error())
    }
}

impl From<SnapshotError> for Doubt {
    fn from(error: SnapshotError) -> Self {
        Self::Failed(error)
    }
}

impl Looks<'_> {
    /// Says what the increment will stand on, and looks then whether all of that is there and stays: whoever deletes a
    /// snapshot marks it and looks for such uploads then, so one of the two sees the other.
    pub(super) async fn mark_bases(&self) -> Result<()> {
        let id = self.id;
        if self.base_ids.is_empty() {
            return Ok(());
        }
        let mark = serde_json::to_vec(&UploadMark { base_ids: self.base_ids.to_vec() })
            .map_err(|error| SnapshotError::new(ErrorKind::Internal, "the mark is no JSON").because(error))?;
        let key = layout::key(id, layout::UPLOAD_JSON);
        if let Err(error) = self.manager.store.create(&key, Bytes::from(mark.clone())).await {
            let settled = settle(self.manager.store.as_ref(), &key, &Bytes::from(mark), error).await;
            settled.map_err(Doubt::into_error)?;
        }
        self.check_bases().await
    }

    /// Every base is whole, and nobody is about to delete it.
    async fn check_bases(&self) -> Result<()> {
        for (base_id, state) in self.look_at_bases().await? {
            let (kind, what) = match state {
                BaseState::Whole => continue,
                BaseState::Gone => (ErrorKind::NotFound, "has been deleted; choose another base"),
                BaseState::Marked => (
                    ErrorKind::Unavailable,
                    "is being deleted; choose another base, or try again: prune removes what a killed deletion left",
                ),
                BaseState::Damaged => (ErrorKind::Damaged, "is not whole; choose another base"),
            };
            let what = format!("snapshot {base_id}, on which this one was to stand, {what}");
            return Err(SnapshotError::new(kind, what));
        }
        Ok(())
    }

    async fn look_at_bases(&self) -> Result<Vec<(SnapshotId, BaseState)>> {
        let store = self.manager.store.as_ref();
        let looks = self.base_ids.iter().map(async |base_id| {
            let found = catalog::found_under(store, base_id).await?;
            let state = if catalog::is_being_deleted(&found) {
                BaseState::Marked
            } else if layout::FILES.into_iter().all(|file| found.contains_key(file)) {
                BaseState::Whole
            } else {
                BaseState::Damaged
            };
            // After the look for marks: a deletion may have ended while that was taken, its mark the last to go.
            match store.head(&layout::key(base_id, layout::METADATA_JSON)).await {
                Err(error) if error.kind() == ErrorKind::NotFound => Ok((base_id.clone(), BaseState::Gone)),
                answer => answer.map(|_| (base_id.clone(), state)),
            }
        });
        futures::future::try_join_all(looks).await
    }

    /// The last look before the commit, once checksum.sha256 is there, which no sweep takes for old: none is at work on the
    /// upload, none has taken a file of it, and none begins before the commit. Where one has removed the upload.json of an
    /// upload that took long, another is put: what it names is as it was, or the upload is given up.
    pub(super) async fn before_commit(&self) -> Result<()> {
        let id = self.id;
        let store = self.manager.store.as_ref();
        let is_marked = catalog::is_being_deleted(&catalog::found_under(store, id).await?);
        let found = catalog::found_under(store, id).await?;
        let mut files = layout::FILES.into_iter().filter(|file| *file != layout::METADATA_JSON);
        if is_marked || !files.all(|file| found.contains_key(file)) {
            return Err(was_swept(id));
        }
        if found.contains_key(layout::UPLOAD_JSON) { Ok(()) } else { self.mark_bases().await }
    }

    /// Looks once more after the commit, and takes the snapshot back where it or what it stands on is not whole. A mark beside
    /// it may be that of a user who deletes it, or of a sweep that will see that it is no leftover: that is waited for.
    pub(super) async fn after_commit(&self) -> Result<(), Doubt> {
        let id = self.id;
        let found = delete::settled(self.manager.store.as_ref(), id).await.map_err(|error| unsure(id, error))?;
        if !found.contains_key(layout::METADATA_JSON) {
            let what =
                format!("snapshot {id} was stored, and deleted or swept before this create had ended; try again");
            return Err(Doubt::Failed(SnapshotError::new(ErrorKind::Unavailable, what)));
        }
        if !layout::FILES.into_iter().all(|file| found.contains_key(file)) {
            return Err(self.take_back(was_swept(id)).await);
        }
        if catalog::is_being_deleted(&found) {
            let what = format!(
                "snapshot {id} was stored, and a deletion or a sweep of it has begun and does not end, so it was taken back; \
                 try again"
            );
            return Err(self.take_back(SnapshotError::new(ErrorKind::Unavailable, what)).await);
        }
        self.confirm_bases(found.contains_key(layout::UPLOAD_JSON)).await
    }

    /// What it stands on is there, and stays. A mark that is up beside a base came after the first look at it, and so after
    /// upload.json, which whoever has put the mark finds as long as it is there: then it stays, and the base with it. Where
    /// it is not there, nobody knows what that deletion has seen.
    async fn confirm_bases(&self, has_upload_json: bool) -> Result<(), Doubt> {
        let id = self.id;
        if self.base_ids.is_empty() {
            return Ok(());
        }
        let mut is_marked = false;
        for (base_id, state) in self.look_at_bases().await.map_err(|error| unsure(id, error))? {
            let (kind, what) = match state {
                BaseState::Whole => continue,
                BaseState::Marked if has_upload_json => {
                    is_marked = true;
                    continue;
                }
                BaseState::Marked => (ErrorKind::Unavailable, "is being deleted"),
                BaseState::Gone => (ErrorKind::NotFound, "was deleted meanwhile"),
                BaseState::Damaged => (ErrorKind::Damaged, "is not whole any more"),
            };
            let what = format!(
                "snapshot {base_id}, on which {id} was to stand, {what}, so {id} was taken back; choose another base, or take \
                 a full snapshot"
            );
            return Err(self.take_back(SnapshotError::new(kind, what)).await);
        }
        if !is_marked && let Err(error) = self.manager.store.delete(&layout::key(id, layout::UPLOAD_JSON)).await {
            tracing::debug!(%error, "the mark of an upload was not removed; prune does that later");
        }
        Ok(())
    }

    /// Takes back what is committed because of an error, unless something has come to stand on it.
    async fn take_back(&self, because: SnapshotError) -> Doubt {
        let id = self.id;
        match delete::delete(self.manager, std::slice::from_ref(id)).await {
            Ok(deleted) if deleted.kept.is_empty() => Doubt::Failed(because),
            Ok(_) => {
                let what = format!(
                    "snapshot {id} was stored, could not be taken back since it was pinned or something stands on it, and may \
                     not be whole; verify it"
                );
                Doubt::Unknown(SnapshotError::new(because.kind(), what).at(layout::prefix(id)).because(because))
            }
            Err(error) => {
                let what = format!("snapshot {id} was stored and could not be taken back ({error}); verify it");
                Doubt::Unknown(SnapshotError::new(because.kind(), what).at(layout::prefix(id)).because(because))
            }
        }
    }
}

/// Whether a create that ended in an error took effect: read back what stands there.
pub(super) async fn settle(
    store: &dyn SnapshotStore,
    key: &str,
    json: &Bytes,
    error: SnapshotError,
) -> Result<(), Doubt> {
    match store.get(key, json.len() as u64).await {
        Ok(found) if found == *json => Ok(()),
        Err(absent) if absent.kind() == ErrorKind::NotFound => Err(Doubt::Failed(error)),
        // Other bytes than were sent, or no answer.
        _ => Err(Doubt::Unknown(
            SnapshotError::new(
                error.kind(),
                "the store took the commit and gave no clear answer, and asking again did not help; list shows whether the snapshot exists",
            )
            .at(key)
            .because(error),
        )),
    }
}

/// What can be seen of a base.
enum BaseState {
    Whole,
    /// A deletion of it is under way, or was cut off.
    Marked,
    Gone,
    Damaged,
}

fn was_swept(id: &SnapshotId) -> SnapshotError {
    let what = format!("the upload of {id} took so long that it was swept as left over; try again");
    SnapshotError::new(ErrorKind::Unavailable, what)
}

fn unsure(id: &SnapshotId, error: SnapshotError) -> Doubt {
    let what = "the snapshot was stored, but whether it stands cannot be seen; verify it";
    Doubt::Unknown(SnapshotError::new(error.kind(), what).at(layout::prefix(id)).because(error))
}

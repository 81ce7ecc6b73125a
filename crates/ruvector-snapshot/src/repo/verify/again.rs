//! Whether a file that was found corrupt while it was read is still corrupt when it is read again. A bit that flips on the way
//! or in the memory of this machine looks like corruption, and is none.

use std::collections::BTreeSet;

use ruvector_snapshot_format::checksum::hex;
use ruvector_snapshot_format::id::SnapshotId;
use ruvector_snapshot_format::layout::{self, DataFile};
use ruvector_snapshot_format::limits;
use sha2::Digest as _;

use super::blocks::FileHash;
use super::report::is_corruption;
use super::{Scope, verify_chain};
use crate::error::{ErrorKind, Result, SnapshotError};
use crate::progress::{Phase, Progress, ProgressCounter};
use crate::repo::context::{Context, run_blocking};
use crate::repo::inventory::Inventory;
use crate::repo::reader::StoredSnapshot;

/// What was read when a file was found corrupt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Read {
    /// Files, which were compared with their SHA-256.
    Bytes,
    /// What they contain. It can be corrupt although the files are as they were written, because they do not fit together.
    Records,
}

/// Reads a file of a snapshot again, and returns whether it is corrupt. A snapshot that is lost is.
///
/// # Errors
///
/// Returns an error if the second read fails for another reason. Then nothing is known.
pub(crate) async fn is_still_corrupt(
    context: &Context,
    id: &SnapshotId,
    file: &str,
    read: Read,
    listener: Option<&dyn Progress>,
) -> Result<bool> {
    match is_changed_or_corrupt(context, id, file, read, listener).await {
        Err(error) if is_corruption(&error) || error.kind() == ErrorKind::NotFound => Ok(true),
        answer => answer,
    }
}

async fn is_changed_or_corrupt(
    context: &Context,
    id: &SnapshotId,
    file: &str,
    read: Read,
    listener: Option<&dyn Progress>,
) -> Result<bool> {
    let snapshot = StoredSnapshot::open(context, id).await?;
    let is_changed = match DataFile::ALL.into_iter().find(|data_file| data_file.name() == file) {
        Some(file) => is_changed(&snapshot, file, listener).await?,
        None if file == layout::CHECKSUM_SHA256 => {
            let key = layout::key(id, layout::CHECKSUM_SHA256);
            let found = context.store.get(&key, limits::METADATA_JSON_BYTES).await?;
            found != snapshot.checksum_sha256.as_bytes()
        }
        None => false,
    };
    match read {
        Read::Records if !is_changed => does_not_fit(context, id, listener).await,
        Read::Records | Read::Bytes => Ok(is_changed),
    }
}

/// Verifies the snapshot, and whether it fits the snapshots that depend on it: any of them may have been read.
async fn does_not_fit(context: &Context, id: &SnapshotId, listener: Option<&dyn Progress>) -> Result<bool> {
    if !verify_chain(context, id, &Scope::Full, listener).await?.is_intact() {
        return Ok(true);
    }
    let lineage = Inventory::read(context).await?.lineage;
    for dependent in lineage.dependents(&BTreeSet::from([id.clone()])) {
        let report = match verify_chain(context, &dependent, &Scope::Full, listener).await {
            // It was deleted meanwhile, or is lost itself: that proves nothing of this one.
            Err(error) if is_corruption(&error) => continue,
            report => report?,
        };
        if report.corruption.iter().any(|corruption| corruption.snapshot == id.as_str()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Compares the size and the SHA-256 of a data file with what `metadata.json` says.
async fn is_changed(snapshot: &StoredSnapshot, file: DataFile, listener: Option<&dyn Progress>) -> Result<bool> {
    if snapshot.wrong_size(file).await?.is_some() {
        return Ok(true);
    }
    let info = snapshot.metadata.file(file)?;
    let mut progress = ProgressCounter::start_bytes(listener, Phase::ReadAgain, info.bytes);
    let mut state = FileHash::new(Some(info.bytes));
    while state.read < info.bytes {
        let range = state.read..info.bytes.min(state.read + limits::BLOCK_BYTES as u64);
        let piece = snapshot.range(file, range).await?;
        if piece.is_empty() {
            let message = "the store returned no bytes of the file";
            return Err(SnapshotError::new(ErrorKind::Unavailable, message).with_key(snapshot.key(file)));
        }
        progress.add(0, piece.len() as u64);
        state = run_blocking(move || Ok(state.updated(&piece))).await?;
    }
    Ok(hex(&state.hash.finalize()) != info.sha256)
}

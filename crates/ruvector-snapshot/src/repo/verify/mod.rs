//! The verification of one chain: reads all of it, or as much as a scope says, and collects everything that is corrupt, by
//! file and block. Shared by verify and by a create that verifies its base. Writes nothing.
//!
//! `report` has what a verification returns, `planned` how much it would read, `scope` what it reads, `chain` verifies the snapshots of one chain, `files`
//! the files of one snapshot, `blocks` its blocks, and `again` a file that another command has found corrupt.

mod again;
mod blocks;
mod chain;
mod files;
mod planned;
mod report;
mod scope;

use ruvector_snapshot_format::id::SnapshotId;

use super::context::Context;
use super::presence::{exists, gone};
use crate::error::{ErrorKind, Result, SnapshotError};
use crate::progress::Progress;

pub(crate) use again::{Read, is_still_corrupt};
pub(crate) use planned::bytes_at_most;
pub use report::{Corruption, VerifyReport};
pub(crate) use scope::{ListedObjects, Scope};

/// Verifies a snapshot and all its ancestors: the files of each, then their chain.
///
/// If something was not found, the chain is verified once more: a missing ancestor is corruption, and is reported as
/// such when the chain is read again. Before anything is reported as corrupt, the snapshot is checked once more
/// (reading rule R1).
pub(crate) async fn verify_chain(
    context: &Context,
    id: &SnapshotId,
    scope: &Scope,
    progress: Option<&dyn Progress>,
) -> Result<VerifyReport> {
    for _ in 0..2 {
        let verified = chain::verify_once(context, id, scope, progress).await;
        let is_doubtful = match &verified {
            Ok(report) => !report.is_intact(),
            Err(error) => error.kind() == ErrorKind::NotFound,
        };
        if !is_doubtful {
            return verified;
        }
        match (exists(context.store.as_ref(), id).await?, verified) {
            (true, Err(_missing)) => {}
            (true, report) | (false, report @ Err(_)) => return report,
            (false, Ok(_)) => return Err(gone(context.store.as_ref(), id).await),
        }
    }
    let message = format!("the ancestors of snapshot {id} changed while they were being read; try again");
    Err(SnapshotError::new(ErrorKind::Unavailable, message))
}

//! Verify: reads a whole snapshot and reports everything that is corrupt, by file and block. Writes nothing.
//!
//! `report` has what a verification returns, `chain` verifies the snapshots of one chain, `files` the files of one
//! snapshot, `blocks` its blocks, and `all` every snapshot of a store.

mod all;
mod blocks;
mod chain;
mod files;
mod report;

use ruvector_snapshot_format::id::SnapshotId;
use tracing::Instrument as _;

use crate::error::{ErrorKind, Result, SnapshotError};
use crate::repo::context::Context;
use crate::repo::inventory::check_exists;

pub(crate) use all::verify_all;
pub use report::{Corruption, Verification, VerifyOptions, VerifyReport};

/// Verifies a snapshot and all its ancestors.
pub(crate) async fn verify(context: &Context, id: &SnapshotId, options: &VerifyOptions) -> Result<VerifyReport> {
    let span = tracing::info_span!("verify", snapshot = %id);
    verify_twice(context, id, options).instrument(span).await
}

/// Verifies, and once more if something was not found: a missing ancestor is corruption, and is reported as such when
/// the chain is read again.
async fn verify_twice(context: &Context, id: &SnapshotId, options: &VerifyOptions) -> Result<VerifyReport> {
    for _ in 0..2 {
        match chain::verify_once(context, id, options).await {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            answer => return answer,
        }
        check_exists(context.store.as_ref(), id).await?;
    }
    let message = format!("the ancestors of snapshot {id} changed while they were being read; try again");
    Err(SnapshotError::new(ErrorKind::Unavailable, message))
}

/// Returns whether an error of the read side means that stored data is corrupt or missing.
fn is_corruption(error: &SnapshotError) -> bool {
    matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NotFound)
}

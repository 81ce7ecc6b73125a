//! Verify: reads a snapshot and reports everything that is corrupt, by file and block. Writes nothing but an entry of the
//! ledger.
//!
//! `repo::verify` verifies one chain, `all` verifies every snapshot of a store, `report` has what that returns, and
//! `recorded` adds it to the ledger.

mod all;
mod recorded;
mod report;

use ruvector_snapshot_format::id::SnapshotId;
use tracing::Instrument as _;

use crate::error::Result;
use crate::repo::context::Context;
use crate::repo::verify::{VerifyReport, verify_chain};

pub(crate) use all::verify_all;
pub use report::{Verification, VerifyOptions};

/// Verifies a snapshot and all its ancestors.
pub(crate) async fn verify(context: &Context, id: &SnapshotId, options: &VerifyOptions) -> Result<VerifyReport> {
    let span = tracing::info_span!("verify", snapshot = %id);
    let verified = verify_chain(context, id, options.progress.as_deref()).instrument(span).await;
    if let Ok(report) = &verified {
        recorded::record_report(context, report, options).await;
    }
    verified
}

//! Verify: reads a snapshot and reports everything that is corrupt, by file and block. Writes nothing but an entry of the
//! ledger.
//!
//! `repo::verify` verifies one chain, `all` verifies every snapshot of a store or several, `report` has what that returns, `plan`
//! says what would be read, and `recorded` adds it to the ledger.

mod all;
mod plan;
mod recorded;
mod report;

use chrono::{DateTime, Utc};
use ruvector_snapshot_format::id::SnapshotId;
use ruvector_snapshot_format::ledger::VerifyDepth;
use tracing::Instrument as _;

use crate::error::{ErrorKind, Result, SnapshotError};
use crate::progress::warn;
use crate::repo::annotations;
use crate::repo::chain_checks::{ListedChain, Then};
use crate::repo::context::Context;
use crate::repo::verify::{ListedObjects, Scope, VerifyReport, verify_chain};
use crate::snapshot::checks::Checks;

pub(crate) use all::{verify_all, verify_each};
pub(crate) use plan::plan;
pub use plan::{PlannedVerification, VerifyPlan, VerifyStep};
pub use report::{Verification, VerifyOptions};

/// Verifies a snapshot and all its ancestors, whenever that was done before. The result is recorded beside each of them.
pub(crate) async fn verify(context: &Context, id: &SnapshotId, options: &VerifyOptions) -> Result<VerifyReport> {
    let Timed { started_at, report, can_record } = verify_listed(context, id, options, None).await?;
    if can_record {
        recorded::record_ancestors(context, &report, |_| true, started_at, options).await;
    }
    let listed = match report.is_intact() {
        true => warn_if_corrupt_before(context, id, options).await,
        false => None,
    };
    warn_of_annotations(context, listed.as_ref(), &report, options).await;
    Ok(report)
}

/// As [`verify`], unless the ledger shows that it was done within [`VerifyOptions::max_age`], and everything is still there.
pub(crate) async fn verify_due(context: &Context, id: &SnapshotId, options: &VerifyOptions) -> Result<Verification> {
    if options.max_age.is_some() {
        let listed = ListedChain::read(context, id).await?;
        let known = listed.checks(context.clock.now());
        if let Some(skipped) = known.and_then(|known| skipped(context, id.as_str(), &known.checks, options)) {
            let warnings = listed.annotation_warnings(context).await;
            warnings.iter().for_each(|warning| warn(options.progress.as_deref(), warning));
            return Ok(skipped);
        }
    }
    verify(context, id, options).await.map(Verification::Verified)
}

/// Warns if what this verification has not read was found corrupt before, and not intact since. Returns the chain, if it had to
/// be listed for that.
async fn warn_if_corrupt_before(context: &Context, id: &SnapshotId, options: &VerifyOptions) -> Option<ListedChain> {
    if options.depth == VerifyDepth::Full {
        return None;
    }
    let listed = ListedChain::read(context, id).await;
    let warning = match &listed {
        Ok(chain) => chain.corruption_warning(context.clock.now(), Then::ReadsPart),
        Err(error) => Some(format!("whether snapshot {id} was found corrupt before is not known: {error}")),
    };
    if let Some(warning) = warning {
        warn(options.progress.as_deref(), &warning);
    }
    listed.ok()
}

/// Warns of annotations of the verified snapshots that cannot be read. Their data can be intact.
async fn warn_of_annotations(
    context: &Context,
    listed: Option<&ListedChain>,
    report: &VerifyReport,
    options: &VerifyOptions,
) {
    let warnings = match listed {
        Some(chain) => chain.annotation_warnings(context).await,
        None => {
            let ids = std::iter::once(&report.id).chain(&report.chain).filter_map(|id| id.parse().ok());
            let mut all = Vec::new();
            for id in ids.collect::<Vec<SnapshotId>>() {
                all.extend(annotations::warnings(context.store.as_ref(), &id).await);
            }
            all
        }
    };
    warnings.iter().for_each(|warning| warn(options.progress.as_deref(), warning));
}

/// Refuses a depth that no verification has.
fn check_depth(depth: VerifyDepth) -> Result<()> {
    if matches!(depth, VerifyDepth::Full | VerifyDepth::Quick | VerifyDepth::Subset { .. } | VerifyDepth::Sample { .. })
    {
        return Ok(());
    }
    let message = format!("a verification cannot have the depth {depth}; a drill restores the snapshot");
    Err(SnapshotError::new(ErrorKind::InvalidInput, message))
}

/// A report, when its verification was started, and whether others can be recorded.
struct Timed {
    started_at: DateTime<Utc>,
    report: VerifyReport,
    can_record: bool,
}

/// As [`verify`], with the sizes that a listing has shown, if there is one. Records the snapshot alone.
async fn verify_listed(
    context: &Context,
    id: &SnapshotId,
    options: &VerifyOptions,
    listed: Option<ListedObjects>,
) -> Result<Timed> {
    check_depth(options.depth)?;
    let scope = match options.depth {
        VerifyDepth::Quick => Scope::Quick { listed },
        VerifyDepth::Subset { number, of } => Scope::Subset { number, of },
        VerifyDepth::Sample { percent } => Scope::Sample { percent, random: context.clock.random()? },
        _ => Scope::Full,
    };
    let span = tracing::info_span!("verify", snapshot = %id);
    let started_at = context.clock.now();
    let report = verify_chain(context, id, &scope, options.progress.as_deref()).instrument(span).await?;
    tracing::info!(snapshot = %id, intact = report.is_intact(), records = report.records, read_bytes = report.bytes, "verified a snapshot");
    let can_record = recorded::record_report(context, &report, started_at, options).await;
    Ok(Timed { started_at, report, can_record })
}

/// Returns that a snapshot is skipped, if its ledger shows an intact verification that is young and deep enough, and no
/// corruption since.
fn skipped(context: &Context, id: &str, checks: &Checks, options: &VerifyOptions) -> Option<Verification> {
    let oldest = options.max_age?.before_utc(context.clock.now());
    let intact_at = checks.intact_at(options.depth).filter(|intact_at| *intact_at >= oldest)?;
    let skipped = Verification::Skipped { id: id.to_owned(), intact_at };
    checks.corrupt_at().is_none().then_some(skipped)
}

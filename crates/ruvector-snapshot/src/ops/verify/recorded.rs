//! From the report of a verification to the entry of a ledger.

use ruvector_snapshot_format::id::SnapshotId;
use ruvector_snapshot_format::ledger::{Finding, LedgerEntry};

use super::report::VerifyOptions;
use crate::error::Result;
use crate::repo::context::Context;
use crate::repo::ledger;
use crate::repo::verify::{Corruption, VerifyReport};

/// Adds the report of a verification to the ledger of its snapshot, unless the options say otherwise.
pub(super) async fn record_report(context: &Context, report: &VerifyReport, options: &VerifyOptions) {
    let entry = || {
        let entry = new_entry(context, &report.id, &report.chain, &report.corruption, options)?;
        let checksum = report.checksum.clone();
        Ok(LedgerEntry { records: report.records, bytes: report.bytes, checksum, ..entry })
    };
    if options.record {
        ledger::record_or_warn(context, entry(), options.progress.as_deref()).await;
    }
}

/// As [`record_report`], for a snapshot that was read as an ancestor of another one.
pub(super) async fn record_ancestor(
    context: &Context,
    id: &str,
    dependent_id: &str,
    chain: &[String],
    corruption: &[Corruption],
    options: &VerifyOptions,
) {
    let entry = || {
        let entry = new_entry(context, id, chain, corruption, options)?;
        Ok(LedgerEntry { verified_with: Some(dependent_id.parse()?), ..entry })
    };
    if options.record {
        ledger::record_or_warn(context, entry(), options.progress.as_deref()).await;
    }
}

fn new_entry(
    context: &Context,
    id: &str,
    chain: &[String],
    corruption: &[Corruption],
    options: &VerifyOptions,
) -> Result<LedgerEntry> {
    let mut entry = ledger::new_entry(context, &id.parse()?, options.depth)?;
    entry.chain = chain.iter().map(|id| Ok(id.parse::<SnapshotId>()?)).collect::<Result<_>>()?;
    for Corruption { snapshot, file, block, detail } in corruption.iter().cloned() {
        entry.add_finding(Finding { snapshot, file, block, detail });
    }
    Ok(entry)
}

//! From the report of a verification to the entry of a ledger.

use chrono::{DateTime, Utc};
use futures::stream::{self, StreamExt as _};
use ruvector_snapshot_format::id::SnapshotId;
use ruvector_snapshot_format::ledger::{Finding, LedgerEntry};

use super::report::VerifyOptions;
use crate::error::Result;
use crate::repo::context::Context;
use crate::repo::ledger;
use crate::repo::verify::{Corruption, VerifyReport};

/// Adds the report of a verification to the ledger of its snapshot, unless the options say otherwise. Returns `false` if it
/// is no use to record others.
pub(super) async fn record_report(
    context: &Context,
    report: &VerifyReport,
    started_at: DateTime<Utc>,
    options: &VerifyOptions,
) -> bool {
    let entry = || {
        let entry = new_entry(context, &report.id, &report.chain, &report.corruption, started_at, options)?;
        let checksum = report.checksum.clone();
        Ok(LedgerEntry { records: report.records, bytes: report.bytes, checksum, ..entry })
    };
    !options.record || ledger::record_or_warn(context, entry(), options.progress.as_deref()).await
}

/// Adds what a report says of the ancestors to their ledgers, if `is_wanted` returns true for them. An intact chain was
/// verified as deep in each of its snapshots. Otherwise only an ancestor that is corrupt itself is recorded: what depends on
/// it is corrupt by that, and of what it depends on not everything was checked.
pub(super) async fn record_ancestors(
    context: &Context,
    report: &VerifyReport,
    is_wanted: impl Fn(&str) -> bool,
    started_at: DateTime<Utc>,
    options: &VerifyOptions,
) {
    let mut entries = Vec::new();
    for (at, id) in report.chain.iter().enumerate().filter(|(_, id)| is_wanted(id)) {
        let corruption: Vec<_> = report.corruption.iter().filter(|one| one.snapshot == *id).cloned().collect();
        if report.is_intact() || !corruption.is_empty() {
            let older = report.chain.get(at + 1..).unwrap_or_default();
            entries.push(async move {
                record_ancestor(context, id, &report.id, older, &corruption, started_at, options).await
            });
        }
    }
    let recorded = stream::iter(entries).buffer_unordered(context.config.max_concurrent_io);
    recorded.collect::<Vec<bool>>().await;
}

/// As [`record_report`], for a snapshot that was read as an ancestor of another one.
pub(super) async fn record_ancestor(
    context: &Context,
    id: &str,
    dependent_id: &str,
    chain: &[String],
    corruption: &[Corruption],
    started_at: DateTime<Utc>,
    options: &VerifyOptions,
) -> bool {
    let entry = || {
        let entry = new_entry(context, id, chain, corruption, started_at, options)?;
        Ok(LedgerEntry { verified_with: Some(dependent_id.parse()?), ..entry })
    };
    !options.record || ledger::record_or_warn(context, entry(), options.progress.as_deref()).await
}

fn new_entry(
    context: &Context,
    id: &str,
    chain: &[String],
    corruption: &[Corruption],
    started_at: DateTime<Utc>,
    options: &VerifyOptions,
) -> Result<LedgerEntry> {
    let time = if corruption.is_empty() { started_at } else { context.clock.now() };
    let mut entry = ledger::new_entry(&id.parse()?, time, options.depth)?;
    entry.chain = chain.iter().map(|id| Ok(id.parse::<SnapshotId>()?)).collect::<Result<_>>()?;
    for Corruption { snapshot, file, block, detail } in corruption.iter().cloned() {
        entry.add_finding(Finding { snapshot, file, block, detail });
    }
    Ok(entry)
}

//! `verify`: checks that snapshots are intact, or prints where they are corrupt.

use futures::TryStreamExt as _;
use ruvector_snapshot::{
    Corruption, ErrorKind, SnapshotError, SnapshotManager, Verification, VerifyOptions, VerifyReport,
};
use serde_json::{Value, json};

use crate::args::Verify;
use crate::failure::{Exit, Failure, kind_name};
use crate::interrupted::Attempts;
use crate::output::{count, counted, size};
use crate::progress::ProgressDisplay;
use crate::session::Session;

pub(crate) async fn verify(session: &Session, args: Verify) -> Result<Exit, Failure> {
    let manager = session.open()?;
    match args.id {
        Some(id) => verify_one(session, &manager, &id).await,
        None => verify_all(session, &manager).await,
    }
}

async fn verify_one(session: &Session, manager: &SnapshotManager, text: &str) -> Result<Exit, Failure> {
    let id = session.resolve(manager, text).await?;
    let report = {
        let progress = ProgressDisplay::new(session, &Attempts::default());
        let options = VerifyOptions::default().progress(progress.listener());
        session.read(manager, manager.verify_snapshot_with(&id, &options)).await?
    };
    print_report(session, &report)?;
    for id in &report.chain {
        session.output.line(format_args!("  depends on {id}, which was verified with it"))?;
    }
    if !report.is_intact() {
        let places = counted(report.corruption.len() as u64, "place");
        let others = match report.chain.is_empty() {
            true => "other snapshots are not affected unless they depend on this one",
            false => "snapshots that depend on none of these are not affected",
        };
        session.output.line(format_args!("corrupt in {places}; {others} (see `show`)"))?;
    }
    let totals = Totals { corrupt: u64::from(!report.is_intact()), ..Totals::default() };
    finish(session, vec![report_document(&report)], &totals)
}

/// How many snapshots of each kind there are.
#[derive(Default)]
struct Totals {
    intact: u64,
    corrupt: u64,
    failed: u64,
    deleted: u64,
}

async fn verify_all(session: &Session, manager: &SnapshotManager) -> Result<Exit, Failure> {
    let progress = ProgressDisplay::new(session, &Attempts::default());
    let options = VerifyOptions::default().progress(progress.listener());
    let mut verifications = std::pin::pin!(manager.verify_all(options));
    let (mut documents, mut totals) = (Vec::new(), Totals::default());
    while let Some(verification) = session.read(manager, verifications.try_next()).await? {
        progress.clear();
        match verification.is_intact() {
            Some(true) => totals.intact += 1,
            Some(false) => totals.corrupt += 1,
            None if matches!(verification, Verification::Failed { .. }) => totals.failed += 1,
            None if matches!(verification, Verification::Deleted { .. }) => totals.deleted += 1,
            None => {}
        }
        documents.extend(print_verification(session, &verification)?);
    }
    drop(progress);
    if totals.intact + totals.corrupt + totals.failed == 0 {
        let message = format!("there are no snapshots at {}, so nothing was verified", session.store);
        let hint = "check --store, and that the disk is mounted; `list` shows everything that is there";
        return Err(Failure::nothing_there(message).with_hint(hint));
    }
    session.output.line(summary(&totals))?;
    finish(session, documents, &totals)
}

/// Prints one verification, and returns its JSON document if it is about a snapshot.
fn print_verification(session: &Session, verification: &Verification) -> Result<Option<Value>, Failure> {
    let output = session.output;
    match verification {
        Verification::Verified(report) => {
            print_report(session, report)?;
            Ok(Some(report_document(report)))
        }
        Verification::VerifiedWith { id, dependent_id, corruption } => {
            let state = if corruption.is_empty() { "intact" } else { "CORRUPT" };
            output.line(format_args!("{id}  {state}, verified with {dependent_id}"))?;
            print_corruption(session, id, corruption)?;
            Ok(Some(json!({
                "id": id, "intact": corruption.is_empty(), "corruption": corruption, "verified_with": dependent_id,
            })))
        }
        Verification::Failed { id, error } => {
            let state = if error.kind() == ErrorKind::Corrupt { "CORRUPT" } else { "NOT VERIFIED" };
            output.line(format_args!("{id}  {state}: {error}"))?;
            Ok(Some(error_document(id, error)))
        }
        Verification::PendingUpload { id } => {
            output.line(format_args!(
                "{id}  not verified: it has no metadata.json, so it is not a snapshot (see `list`)"
            ))?;
            Ok(None)
        }
        Verification::Deleted { id } => {
            output.line(format_args!("{id}  not verified: it was deleted meanwhile"))?;
            Ok(Some(json!({ "id": id, "intact": null, "deleted": true })))
        }
        _ => Ok(None),
    }
}

fn print_report(session: &Session, report: &VerifyReport) -> Result<(), Failure> {
    let (records, bytes) = (counted(report.records, "record"), size(report.bytes));
    let chain = match report.chain.len() as u64 {
        0 => String::new(),
        length => format!(", with {} that it depends on", counted(length, "snapshot")),
    };
    if report.is_intact() {
        return session
            .output
            .line(format_args!("{}  intact: {records}, {bytes} read from the store{chain}", report.id));
    }
    session
        .output
        .line(format_args!("{}  CORRUPT: {records} intact, {bytes} read from the store{chain}", report.id))?;
    print_corruption(session, &report.id, &report.corruption)
}

fn print_corruption(session: &Session, id: &str, corruption: &[Corruption]) -> Result<(), Failure> {
    corruption.iter().try_for_each(|one| match one.snapshot == id {
        true => session.output.line(format_args!("  {one}")),
        false => session.output.line(format_args!("  in {}: {one}", one.snapshot)),
    })
}

fn summary(totals: &Totals) -> String {
    let mut summary = format!("{} intact", counted(totals.intact, "snapshot"));
    if totals.corrupt > 0 {
        summary += &format!(", {} corrupt", count(totals.corrupt));
    }
    if totals.failed > 0 {
        summary += &format!(", {} not verified", count(totals.failed));
    }
    if totals.deleted > 0 {
        summary += &format!(", {} deleted meanwhile", count(totals.deleted));
    }
    summary
}

fn finish(session: &Session, snapshots: Vec<Value>, totals: &Totals) -> Result<Exit, Failure> {
    let is_intact = totals.corrupt == 0 && totals.failed == 0;
    session.output.document(&json!({
        "store": session.store, "intact": is_intact, "snapshots": snapshots, "deleted": totals.deleted,
        "warnings": session.warnings.list(),
    }))?;
    Ok(match (totals.corrupt, totals.failed) {
        (0, 0) => Exit::Success,
        (0, _) => Exit::Failure,
        _ => Exit::Corruption,
    })
}

fn report_document(report: &VerifyReport) -> Value {
    json!({
        "id": report.id, "intact": report.is_intact(), "records": report.records, "store_read_bytes": report.bytes,
        "chain": report.chain, "corruption": report.corruption,
    })
}

fn error_document(id: &str, error: &SnapshotError) -> Value {
    json!({ "id": id, "intact": null, "error": { "kind": kind_name(error.kind()), "message": error.to_string() } })
}

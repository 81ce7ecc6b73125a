//! `restore --dry-run`: prints the plan of a restore. Also says what can be done about what is in its way.

use std::collections::BTreeSet;
use std::path::Path;

use ruvector_snapshot::{
    CheckOutcome, ErrorKind, PlannedFile, PlannedSnapshot, PlannedState, Remedy, RestoreOptions, RestorePlan,
    SnapshotManager, SnapshotType,
};

use super::Restore;
use crate::documents::RestorePlanDocument;
use crate::failure::{Exit, Failure, kind_name};
use crate::output::{count, counted, shape_of, size, source, total};
use crate::session::Session;

/// Plans the restore of this snapshot and prints the plan. What is in the way goes to standard error.
pub(crate) async fn plan(
    session: &Session,
    manager: &SnapshotManager,
    id: &str,
    args: &Restore,
    options: &RestoreOptions,
) -> Result<Exit, Failure> {
    let plan = session.read(manager, manager.plan_restore(id, args.to.as_path(), options)).await;
    let plan = plan.map_err(|failure| explained(failure, &args.to))?;
    plan.warnings.iter().for_each(|warning| session.warnings.add(warning));
    session.document(&RestorePlanDocument::from(&plan))?;
    print(session, &plan, &args.to)?;
    for blocker in &plan.blockers {
        let failure = explained(Failure::blocker(blocker), &args.to);
        failure.lines().iter().for_each(|line| session.output.message(line));
    }
    Ok(if plan.is_feasible() { Exit::Success } else { Exit::Failure })
}

fn print(session: &Session, plan: &RestorePlan, to: &Path) -> Result<(), Failure> {
    let output = session.output;
    let would = if plan.is_feasible() { "would restore" } else { "could not restore" };
    output.line(format_args!("{would} {} to {}", session.short(&plan.id), to.display()))?;
    print_contents(session, plan)?;
    output.line("nothing was restored (--dry-run)")
}

/// Prints what would be read and written, and the checks.
pub(crate) fn print_contents(session: &Session, plan: &RestorePlan) -> Result<(), Failure> {
    let output = session.output;
    if let Some(state) = &plan.state {
        print_state(session, state)?;
    }
    print_chain(session, &plan.chain)?;
    if let Some(fetch) = plan.fetch {
        let (objects, requests) = (counted(fetch.objects, "object"), counted(fetch.requests, "request"));
        output.field("read", format_args!("{} of {objects}, with {requests}", size(fetch.bytes)))?;
    }
    if let Some(file) = &plan.file {
        print_file(session, file)?;
    }
    if let Some(bytes) = plan.memory_bytes {
        output.field("memory", format_args!("{} at most", size(bytes)))?;
    }
    output.line("  checks of the destination")?;
    plan.checks
        .iter()
        .try_for_each(|check| output.line(format_args!("    {:<11}  {}", outcome(check.outcome), check.name)))
}

fn print_state(session: &Session, state: &PlannedState) -> Result<(), Failure> {
    let output = session.output;
    output.field("name", &state.name)?;
    output.field("taken", output.time(state.created_at))?;
    output.field("source", source(&state.source))?;
    output.field("vectors", shape_of(state.records, state.dimensions, state.distance_metric.as_deref()))?;
    if let Some(irregular) = &state.irregular {
        output.field("irregular", format_args!("{irregular}, restored as they were"))?;
    }
    if !state.not_captured.is_empty() {
        output.line("  this snapshot does not hold:")?;
    }
    state.not_captured.iter().try_for_each(|what| output.line(format_args!("    {what}")))
}

fn print_chain(session: &Session, chain: &[PlannedSnapshot]) -> Result<(), Failure> {
    let output = session.output;
    if chain.is_empty() {
        return Ok(());
    }
    output.field("chain", counted(chain.len() as u64, "snapshot"))?;
    for snapshot in chain {
        let kind = match snapshot.snapshot_type {
            SnapshotType::Full => "full",
            SnapshotType::Incremental { .. } => "incremental",
        };
        let bytes = size(total(snapshot.objects.iter().map(|object| object.size_bytes)));
        let version = snapshot.format_version;
        output.line(format_args!("    {}  {kind:<11}  {bytes:>10}  format {version}", session.short(&snapshot.id)))?;
    }
    let writers: BTreeSet<&str> = chain.iter().map(|snapshot| snapshot.writer.as_str()).collect();
    writers.into_iter().try_for_each(|writer| output.field("written by", writer))
}

fn print_file(session: &Session, file: &PlannedFile) -> Result<(), Failure> {
    let output = session.output;
    if let (Some(least), Some(likely)) = (file.least_bytes, file.likely_bytes) {
        output.field("write", format_args!("{} at least, up to about {}", size(least), size(likely)))?;
    }
    if let Some(bytes) = file.replaced_bytes {
        output.field("replace", format_args!("a file of {}", size(bytes)))?;
    }
    match file.free_bytes {
        Some(bytes) => output.field("free", format_args!("{} ({} bytes)", size(bytes), count(bytes))),
        None => output.field("free", "not known"),
    }
}

fn outcome(outcome: CheckOutcome) -> &'static str {
    match outcome {
        CheckOutcome::Ok => "ok",
        CheckOutcome::Warning => "warning",
        CheckOutcome::Blocker => "blocker",
        _ => "not checked",
    }
}

/// As [`explained`], of a restore of selected records. To replace the file would lose all others.
pub(crate) fn explained_part(failure: Failure, to: &Path) -> Failure {
    if failure.remedy() == Some(Remedy::FindRecord) {
        failure
    } else if failure.kind() == kind_name(ErrorKind::Busy) {
        failure.with_hint(
            "stop the program; then --merge instead of --force puts the records into its database; to replace the file would \
             leave only the selected records",
        )
    } else {
        explained(failure, to)
    }
}

/// Adds what can be done about the failure of a restore to this path, in the words of the command line.
pub(crate) fn explained(failure: Failure, to: &Path) -> Failure {
    let directory = to.parent().filter(|parent| !parent.as_os_str().is_empty());
    let is_kind = |kind| failure.kind() == kind_name(kind);
    match directory {
        // It is at the destination, so its directory exists.
        _ if is_kind(ErrorKind::AlreadyExists) => failure,
        _ if is_kind(ErrorKind::Busy) => failure.with_hint(
            "--force with --force-while-open replaces the file all the same; everything that the program writes after that is lost",
        ),
        _ if is_kind(ErrorKind::Corrupt) => failure.with_hint(format!(
            "nothing was written to {}; `verify` shows everything that is corrupt, and a snapshot that does not depend on the \
             corrupt one may be intact",
            to.display()
        )),
        Some(directory) if !directory.exists() => {
            failure.with_hint(format!("create the directory {} first", directory.display()))
        }
        _ => failure,
    }
}

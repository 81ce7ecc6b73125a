//! `restore --dry-run`: prints the plan of a restore or a merge. Also says what can be done about what is in its way.

use std::collections::BTreeSet;
use std::path::Path;

use ruvector_snapshot::{
    Blocker, CheckOutcome, DestinationCheck, ErrorKind, MergeCounts, PlannedFile, PlannedSelection, PlannedSnapshot,
    PlannedState, RecordFilter, Remedy, RestorePlan, SnapshotManager, SnapshotType,
};

use super::{Restore, merge};
use crate::documents::RestorePlanDocument;
use crate::failure::{Exit, Failure, kind_name};
use crate::interrupted::Attempts;
use crate::output::{count, counted, shape_of, size, source, total};
use crate::progress::ProgressDisplay;
use crate::session::Session;
use crate::verbs::space;

/// Plans the restore or the merge of this snapshot and prints the plan. What is in the way goes to standard error.
pub(crate) async fn plan(
    session: &Session,
    manager: &SnapshotManager,
    id: &str,
    args: &Restore,
    filter: Option<RecordFilter>,
) -> Result<Exit, Failure> {
    let explain = |failure| match (args.merge, &filter) {
        (true, _) => merge::explained(failure),
        (false, Some(_)) => explained_part(failure, &args.to),
        (false, None) => explained(failure, &args.to),
    };
    let progress = ProgressDisplay::new(session, &Attempts::default());
    let plan = async {
        let (to, options) = (args.to.as_path(), args.options().progress(progress.listener()));
        match &filter {
            _ if args.merge => {
                let options = args.merge_options(filter.clone()).progress(progress.listener());
                manager.plan_merge(id, to, &options).await
            }
            Some(filter) => manager.plan_restore_part(id, to, filter, &options).await,
            None => manager.plan_restore(id, to, &options).await,
        }
    };
    let plan = session.read(manager, plan).await.map_err(explain)?;
    drop(progress);
    plan.warnings.iter().for_each(|warning| session.warnings.add(warning));
    // A part is not the whole database anyway.
    let not_captured = not_captured(session, &plan, args.allow_not_captured || filter.is_some() || args.merge);
    session.document(&RestorePlanDocument::from(&plan))?;
    print(session, &plan, not_captured, args, filter.is_some())?;
    Ok(print_blockers(session, &plan.blockers, explain))
}

/// Prints everything that is in the way as errors, and returns the exit code of the first, which the work would fail with.
pub(crate) fn print_blockers(session: &Session, blockers: &[Blocker], explain: impl Fn(Failure) -> Failure) -> Exit {
    let mut printed = BTreeSet::new();
    for blocker in blockers {
        let lines = explain(Failure::blocker(blocker)).lines();
        // What a restore needs twice is in the way once.
        if printed.insert(lines.clone()) {
            lines.iter().for_each(|line| session.output.message(line));
        }
    }
    match blockers.first() {
        None => Exit::Success,
        // A corrupt database that is merged into is no corrupt snapshot.
        Some(first) if first.kind == ErrorKind::Corrupt && first.remedy != Some(Remedy::NewFile) => Exit::Corruption,
        Some(_) => Exit::Failure,
    }
}

/// Warns of what the snapshot does not hold of its database. Returns what is listed instead, if that is allowed.
pub(crate) fn not_captured<'a>(session: &Session, plan: &'a RestorePlan, is_allowed: bool) -> &'a [String] {
    let what = plan.state.as_ref().map_or(&[][..], |state| &state.not_captured);
    session.warnings.not_captured(what, is_allowed)
}

fn print(
    session: &Session,
    plan: &RestorePlan,
    not_captured: &[String],
    args: &Restore,
    is_part: bool,
) -> Result<(), Failure> {
    let output = session.output;
    let would = if plan.is_feasible() { "would" } else { "could not" };
    let (does, into, done) = if args.merge { ("merge", "into", "merged") } else { ("restore", "to", "restored") };
    let what = match (&plan.selection, &plan.state) {
        (Some(selection), Some(state)) => {
            format!("{} of {} records of ", count(selection.records), count(state.records))
        }
        _ if is_part => "records of ".to_owned(),
        _ => String::new(),
    };
    output.line(format_args!("{would} {does} {what}{} {into} {}", session.short(&plan.id), args.to.display()))?;
    print_contents(session, plan, not_captured)?;
    output.line(format_args!("nothing was {done} (--dry-run)"))
}

/// Prints what would be read and written, and the checks.
pub(crate) fn print_contents(session: &Session, plan: &RestorePlan, not_captured: &[String]) -> Result<(), Failure> {
    let output = session.output;
    if let Some(state) = &plan.state {
        print_state(session, state, plan.selection.is_none())?;
        not_captured.iter().try_for_each(|what| output.field("not captured", what))?;
    }
    print_chain(session, &plan.chain)?;
    if let Some(fetch) = plan.fetch {
        let (objects, requests) = (counted(fetch.objects, "object"), counted(fetch.requests, "request"));
        output.field("read", format_args!("{} of {objects}, with {requests}", size(fetch.bytes)))?;
    }
    if let Some(selection) = &plan.selection {
        print_selection(session, selection)?;
    }
    if let Some(counts) = &plan.merge {
        print_counts(session, counts, plan.is_feasible())?;
    }
    if let Some(file) = &plan.file {
        print_file(session, file)?;
    }
    if let Some(bytes) = plan.memory_bytes {
        output.field("memory", format_args!("{} at most", size(bytes)))?;
    }
    print_checks(session, &plan.checks)
}

/// Prints how the checks of the destination have ended.
pub(crate) fn print_checks(session: &Session, checks: &[DestinationCheck]) -> Result<(), Failure> {
    let output = session.output;
    output.line("  checks of the destination")?;
    let line =
        |check: &DestinationCheck| output.line(format_args!("    {:<11}  {}", outcome(check.outcome), check.name));
    checks.iter().try_for_each(line)
}

fn print_selection(session: &Session, selection: &PlannedSelection) -> Result<(), Failure> {
    let output = session.output;
    output.field("selected", counted(selection.records, "record"))?;
    print_missing_ids(session, &selection.missing_ids)?;
    output.field("read", format_args!("{}, also for this plan", size(selection.read_bytes)))
}

/// Prints how many ids were not found, if any. The errors name them.
pub(crate) fn print_missing_ids(session: &Session, ids: &[String]) -> Result<(), Failure> {
    match ids.len() as u64 {
        0 => Ok(()),
        missing => session.output.field("not found", counted(missing, "id")),
    }
}

fn print_counts(session: &Session, counts: &MergeCounts, is_feasible: bool) -> Result<(), Failure> {
    let output = session.output;
    let kept = if is_feasible { "which differ and stay as they are in the database" } else { "which differ" };
    output.field("inserted", format_args!("{}, which the database does not have", count(counts.inserted)))?;
    output.field("replaced", format_args!("{}, which the database has with other values", count(counts.replaced)))?;
    output.field(if is_feasible { "kept" } else { "conflicts" }, format_args!("{}, {kept}", count(counts.kept)))?;
    output.field("same", format_args!("{}, which the database has already", count(counts.same)))
}

fn print_state(session: &Session, state: &PlannedState, is_whole: bool) -> Result<(), Failure> {
    let output = session.output;
    output.field("name", &state.name)?;
    output.field("taken", output.time(state.created_at))?;
    output.field("source", source(&state.source))?;
    output.field("vectors", shape_of(state.records, state.dimensions, state.distance_metric.as_deref()))?;
    if let Some(irregular) = state.irregular.as_ref().filter(|_| is_whole) {
        output.field("irregular", format_args!("{irregular}, restored as they were"))?;
    }
    Ok(())
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
    print_free(session, file.free_bytes)
}

/// Prints how much the file system of the destination has left.
pub(crate) fn print_free(session: &Session, free_bytes: Option<u64>) -> Result<(), Failure> {
    match free_bytes {
        Some(_) => space::print_free(session, "free", free_bytes),
        None => session.output.field("free", "not known"),
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
            "stop the program; then --merge puts the records into its database; to replace the file would \
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
        Some(directory) if failure.is_about_missing(to) && !directory.exists() => {
            failure.with_hint(format!("create the directory {} first", directory.display()))
        }
        _ => failure,
    }
}

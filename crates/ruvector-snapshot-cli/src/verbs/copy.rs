//! `copy`: stores snapshots in another store, as the plan says.
#![expect(clippy::disallowed_methods, reason = "prints how long the work took")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use ruvector_snapshot::store::{self, Location, SnapshotStore, StoreAccess, StoreConfig, check_access};
use ruvector_snapshot::{
    BlockedCopy, CopiedSnapshot, CopyOptions, CopyOutcome, CopyPlan, CopyReport, CopySelection, ErrorKind, PlannedCopy,
    SnapshotConfig, SnapshotManager, SourceInfo,
};

use crate::documents::{CopyDocument, CopyPlanDocument};
use crate::failure::{Exit, Failure};
use crate::interrupted::Attempts;
use crate::near_store::store_around;
use crate::output::{counted, rate, size, total};
use crate::progress::ProgressDisplay;
use crate::session::{Session, Several};
use crate::verbs::space::{self, Needed, print_free};

pub(crate) const HELP: &str = "\
Copies snapshots, and those that they depend on, to another store: a second disk, or a bucket in another place. The copies have the same ids and the same \
bytes. The SHA-256 of every file is verified on the way, and a copy exists only when all of it is stored. What is there already is not copied again, so \
the command can be repeated every night: it brings new snapshots, and changes of labels and notes to those that are there. Of those only metadata.json and the sizes of the files are compared: `verify` reads the files of the target. A copy that \
was found corrupt there is an error: delete it there, and repeat the command.

If the command is interrupted or fails, repeat it: files that are complete in the target are not sent again. What is not continued is removed by a prune of \
the target after its grace period. If a snapshot cannot be copied, those that depend on it are skipped, and the others are copied.

With --compact, the state of an incremental snapshot is stored as one full snapshot with an id of its own, which has the name, the time and the content \
checksum. It is stored only once.

A directory that does not exist is created if the directory above it exists; a bucket is not. With --require-store, a target without snapshots is a \
failure: use it for scheduled copies to a disk that may not be mounted. A snapshot that was deleted in the target is copied again, so \
use --name or IDs, or prune both stores by the same policy.

With --dry-run, the command fails if the file system of a directory has too little space for what would be copied.

Credentials: -o is for --store, and --to-option for --to. What no option says comes from the environment, which is the same for both. Two buckets of one \
provider with different keys need options for one of them: `store options` lists them. Other users of this machine can see options, so put the keys of one \
of the two into the environment, or use a file or a profile. --connections and the limits of the rates are for each store.

Examples:
  ruvector-snapshot copy --all --to /mnt/second-disk/snapshots
  ruvector-snapshot copy latest --store /srv/snapshots \\
      --to gs://offsite/snapshots
  ruvector-snapshot copy --name nightly --to s3://bucket/backups \\
      --to-option region=eu-west-1 --pins --dry-run
  ruvector-snapshot copy latest --compact --to gs://archive/monthly \\
      --to-option storage_class=ARCHIVE

Exit codes: 0 everything is in the target; 1 failure, complete or partial; 2 wrong usage; 3 a snapshot is corrupt and was not copied; 4 there is no such \
snapshot, or none at all, or, with --require-store, none in the target; 5 everything is in the target, with warnings.";

#[derive(Debug, Args)]
#[command(override_usage = "ruvector-snapshot copy <ID...|--all|--name NAME> --to LOCATION [OPTIONS]")]
pub(crate) struct Copies {
    /// Ids, prefixes of ids, names, or latest
    #[arg(value_name = "ID", required_unless_present_any = ["all", "name"])]
    pub(crate) ids: Vec<String>,
    /// Copy every snapshot in the store
    #[arg(long, conflicts_with_all = ["ids", "name"])]
    pub(crate) all: bool,
    /// Copy every snapshot with this name
    #[arg(long, conflicts_with = "ids")]
    pub(crate) name: Option<String>,
    /// Store to copy to: a directory, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX, or @NAME for a profile
    /// of the configuration file
    #[arg(long, value_name = "LOCATION")]
    pub(crate) to: String,
    /// Option of the bucket of --to, for example region=eu-west-1. Can be repeated. The options of -o are those of --store
    /// alone; the environment is for both
    // Parsed in `session`, as those of -o.
    #[arg(long = "to-option", value_name = "KEY=VALUE")]
    pub(crate) to_options: Vec<String>,
    /// Store the state of an incremental snapshot as one full snapshot with a new id, and not the snapshots that it
    /// depends on
    #[arg(long)]
    pub(crate) compact: bool,
    /// Fail if the target has no snapshots yet. For scheduled copies: its disk may not be mounted
    #[arg(long)]
    pub(crate) require_store: bool,
    /// Pin snapshots that are pinned
    #[arg(long)]
    pub(crate) pins: bool,
    /// Read the stored data back and compare it before the commit. It downloads as much as it uploads
    #[arg(long)]
    pub(crate) verify_after_write: bool,
    /// Print what would be copied, and copy nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// Columns of the terminal for a name.
const NAME_COLUMNS: usize = 24;

pub(crate) async fn copy(session: &Session, args: &Copies) -> Result<Exit, Failure> {
    let source = session.open()?;
    // Before the target is opened, which can create its directory.
    let selection = selection(session, &source, args).await?;
    let target = open_target(session, args)?;
    let options = CopyOptions::default().compact(args.compact).pins(args.pins);
    let plan = async { Ok(source.plan_copy(&target, &selection, &options).await) };
    let plan = session.read(&source, plan).await;
    session.warnings.take_from(&target);
    let plan = plan?.map_err(Failure::of_search)?;
    if selection == CopySelection::All && is_empty(&plan) {
        let message = format!("there are no snapshots at {}, so nothing was copied", session.store);
        return Err(Failure::nothing_there(message).with_hint("check --store, and that the disk is mounted"));
    }
    if args.require_store && plan.target_is_empty {
        let message = format!("there are no snapshots at {}, so nothing was copied there", args.to);
        let hint = "check --to, and that the disk is mounted; without --require-store, copy starts a new store";
        return Err(Failure::nothing_there(message).with_hint(hint));
    }
    session.learn_ids(&source).await;
    plan.warnings.iter().for_each(|warning| session.warnings.add(warning));
    if plan.target_is_empty
        && let Some(warning) = store_around(&target_location(session, args)?)
    {
        session.warnings.add(&warning);
    }
    if args.dry_run {
        let (access, free) = match is_written(&plan) {
            true => (Some(check_target(session, args)?), check_space(session, args, &plan)?),
            false => (None, None),
        };
        print_plan(session, args, &plan, access, free)?;
        return Ok(exit_code(plan.blocked.iter().map(|blocked| blocked.kind)));
    }
    let started = Instant::now();
    let report = {
        let limit = session.chosen_as(&args.to, "--to")?.transfers.max_upload_bytes_per_second;
        let progress = ProgressDisplay::new(session, &Attempts::default()).sending_at_most(limit);
        let work = source.apply_copy(&target, &plan, Some(progress.listener()));
        let after_interrupt =
            || "the snapshots that were copied before are complete; repeat the command to copy the rest".to_owned();
        session.run(&target, work, after_interrupt).await
    };
    session.warnings.take_from(&source);
    let report = report?;
    if args.compact {
        // The new snapshots have ids of their own.
        session.read_ids(&target).await;
    }
    let printed = print_report(session, args, &plan, &report, started.elapsed());
    printed.map_err(|failure| {
        let copied: Vec<_> = of_outcome(&report, CopyOutcome::Copied).map(|copied| copied.id.as_str()).collect();
        failure.with_hint(match copied.is_empty() {
            true => "nothing had to be copied".to_owned(),
            false => format!("copied before that: {}", copied.join(" ")),
        })
    })?;
    Ok(exit_code(report.snapshots.iter().filter_map(|copied| copied.kind)))
}

/// Returns whether something would be stored in the target.
fn is_written(plan: &CopyPlan) -> bool {
    !plan.copy.is_empty() || plan.annotations() > 0 || plan.existing.iter().any(|existing| existing.pin)
}

fn target_location(session: &Session, args: &Copies) -> Result<Location, Failure> {
    session.location_of(&session.chosen_as(&args.to, "--to")?)
}

/// Fails if the target is a directory that this user cannot write, or cannot create.
fn check_target(session: &Session, args: &Copies) -> Result<StoreAccess, Failure> {
    let location = target_location(session, args)?;
    check_access(&location).map_err(|error| Failure::from(error).with_hint(match location {
        Location::Local(_) => "nothing could be copied; check the owner and the permissions of --to, and that its disk is mounted for writing",
        _ => "check --to",
    }))
}

/// Compares what would be copied with the space of the target. How large a compacted snapshot will be is not known.
fn check_space(session: &Session, args: &Copies, plan: &CopyPlan) -> Result<Option<u64>, Failure> {
    let location = target_location(session, args)?;
    let known = plan.copy.iter().filter(|planned| !planned.compact);
    let least = total(known.map(|planned| planned.bytes.saturating_sub(planned.stored_bytes)));
    space::check_store(session, &location, Needed { least, most: plan.bytes() })
}

/// Opens the target. A directory is created as `create` does it, but not by a dry run, to which it is an empty store.
fn open_target(session: &Session, args: &Copies) -> Result<SnapshotManager, Failure> {
    let chosen = session.chosen_as(&args.to, "--to")?;
    let config = SnapshotConfig { verify_after_write: args.verify_after_write, ..chosen.config() };
    let store: Arc<dyn SnapshotStore> = match &session.location_of(&chosen)? {
        Location::Local(path) if args.dry_run && !args.require_store && !path.exists() => {
            check_target(session, args)?;
            store::open(&Location::Memory, &StoreConfig::default()).map_err(Failure::from)?
        }
        _ => session.open_at(&chosen, &args.to_options, "--to-option", !args.require_store)?,
    };
    SnapshotManager::with_store(config, store).map_err(Failure::usage)
}

async fn selection(session: &Session, source: &SnapshotManager, args: &Copies) -> Result<CopySelection, Failure> {
    Ok(match &args.name {
        _ if args.all => CopySelection::All,
        Some(name) => CopySelection::Named(name.clone()),
        None => CopySelection::Ids(session.resolve_all(source, &args.ids, Several::NewestNamed).await?),
    })
}

fn is_empty(plan: &CopyPlan) -> bool {
    plan.copy.is_empty() && plan.existing.is_empty() && plan.blocked.is_empty()
}

/// Corrupt snapshots have an exit code of their own.
fn exit_code(kinds: impl Iterator<Item = ErrorKind>) -> Exit {
    let kinds: Vec<ErrorKind> = kinds.collect();
    match kinds.is_empty() {
        true => Exit::Success,
        false if kinds.contains(&ErrorKind::Corrupt) => Exit::Corruption,
        false => Exit::Failure,
    }
}

fn print_plan(
    session: &Session,
    args: &Copies,
    plan: &CopyPlan,
    access: Option<StoreAccess>,
    free: Option<u64>,
) -> Result<(), Failure> {
    let output = session.output;
    session.document(&CopyPlanDocument::new(&args.to, plan, access.map(StoreAccess::is_known), free))?;
    for (what, planned) in [("copy", &plan.copy), ("exists", &plan.existing)] {
        for PlannedCopy { id, name, source, bytes, compact, pin, annotations, .. } in planned {
            let how = if *compact { ", as a full snapshot" } else { "" };
            let pin = if *pin { ", pin" } else { "" };
            output.line(format_args!(
                "{what:<6}  {}  {}{}  {}{how}{pin}{}",
                session.short(id),
                output.fitted(name, NAME_COLUMNS),
                shown_source(plan, Some(source)),
                size(*bytes),
                shown_annotations(*annotations)
            ))?;
        }
    }
    for BlockedCopy { id, reason, .. } in &plan.blocked {
        output.message(format_args!("error: cannot copy snapshot {id}: {reason}"));
    }
    let existing = match plan.existing.len() {
        0 => String::new(),
        existing => format!("; {} there already", counted(existing as u64, "snapshot")),
    };
    output.line(format_args!(
        "would copy {}, {}{}{existing}; nothing was copied (--dry-run)",
        counted(plan.copy.len() as u64, "snapshot"),
        size(plan.bytes()),
        shown_annotations(plan.annotations())
    ))?;
    print_new_target(session, args, plan)?;
    advise_pins(session, plan);
    print_free(session, "target free", free)?;
    match access {
        Some(StoreAccess::NotTried) => output.field("access", "whether the target can be written to was not tried"),
        _ => Ok(()),
    }
}

/// Returns the source of a snapshot as it follows its name, if the store has several databases: names alone do not say which is
/// meant.
fn shown_source(plan: &CopyPlan, source: Option<&SourceInfo>) -> String {
    let source = source.filter(|_| plan.has_several_sources);
    source.map(|source| format!("  {}", source.id_or_kind())).unwrap_or_default()
}

/// Returns a number of annotations as it follows something else.
fn shown_annotations(annotations: u64) -> String {
    match annotations {
        0 => String::new(),
        annotations => format!(", {}", counted(annotations, "annotation")),
    }
}

/// Says that the target has no snapshots, which a person should notice if it is a disk that is not mounted.
fn print_new_target(session: &Session, args: &Copies, plan: &CopyPlan) -> Result<(), Failure> {
    match plan.target_is_empty && !plan.copy.is_empty() {
        true => session.output.field("target", format_args!("NEW: there were no snapshots at {} before", args.to)),
        false => Ok(()),
    }
}

fn print_report(
    session: &Session,
    args: &Copies,
    plan: &CopyPlan,
    report: &CopyReport,
    taken: Duration,
) -> Result<(), Failure> {
    let output = session.output;
    session.document(&CopyDocument::new(&args.to, plan, report))?;
    for CopiedSnapshot { id, name, source, target_id, .. } in of_outcome(report, CopyOutcome::Copied) {
        let name = output.fitted(name.as_deref().unwrap_or_default(), NAME_COLUMNS);
        let new_id = target_id.as_ref().filter(|target_id| *target_id != id);
        output.line(format_args!("copied  {}  {name}{}", session.short(id), shown_source(plan, source.as_ref())))?;
        let full = new_id.map(|new_id| format!("        as {}, full", session.short(new_id)));
        full.iter().try_for_each(|full| output.line(full))?;
    }
    for CopiedSnapshot { id, outcome, error, .. } in &report.snapshots {
        let Some(error) = error else { continue };
        let problem = match outcome {
            CopyOutcome::Copied | CopyOutcome::Existing => "cannot complete the copy of",
            _ => "cannot copy",
        };
        let what = format!("{problem} snapshot {id}: ");
        // An error of the copy itself says so already, after the key.
        let what = if error.contains(&what) { "" } else { &*what };
        output.message(format_args!("error: {what}{error}"));
    }
    let count = |outcome| of_outcome(report, outcome).count() as u64;
    let failed = match count(CopyOutcome::Failed) + count(CopyOutcome::Skipped) {
        0 => String::new(),
        failed => format!(", {failed} not copied"),
    };
    let pinned = match pinned(plan, report) {
        0 => String::new(),
        pinned => format!(", {pinned} pinned"),
    };
    let annotations = match report.snapshots.iter().fold(0, |sum, copied| sum + copied.annotations) {
        0 => String::new(),
        annotations => format!("{} copied", shown_annotations(annotations)),
    };
    output.line(format_args!(
        "{} copied, {} there already{annotations}{pinned}{failed}",
        counted(count(CopyOutcome::Copied), "snapshot"),
        count(CopyOutcome::Existing)
    ))?;
    print_new_target(session, args, plan)?;
    if report.written_bytes > 0 {
        let (written, rate) = (size(report.written_bytes), size(rate(report.written_bytes, taken)));
        output.field("written", format_args!("{written} to {}, {rate}/s", args.to))?;
        output.field("time", format_args!("{:.2} s", taken.as_secs_f64()))?;
    }
    if report.is_complete() {
        advise_pins(session, plan);
    }
    let can_continue = |copied: &CopiedSnapshot| {
        use ErrorKind::{Busy, PermissionDenied, StorageFull, Unavailable};
        matches!(copied.kind, Some(Unavailable | StorageFull | PermissionDenied | Busy))
    };
    match report.snapshots.iter().any(can_continue) {
        true => output.line("what was stored of them is kept: mend the cause, and repeat the command to go on"),
        false => Ok(()),
    }
}

/// Says that pins stay behind, which is what was asked for.
fn advise_pins(session: &Session, plan: &CopyPlan) {
    if plan.pins_left > 0 && !session.output.quiet {
        let snapshots = counted(plan.pins_left, "snapshot");
        session
            .output
            .message(format_args!("tip: {snapshots} pinned here and not in the target; --pins pins there too"));
    }
}

/// Returns how many snapshots were pinned in the target.
fn pinned(plan: &CopyPlan, report: &CopyReport) -> usize {
    let planned = plan.copy.iter().chain(&plan.existing).filter(|planned| planned.pin);
    let planned: BTreeSet<&str> = planned.map(|planned| planned.id.as_str()).collect();
    let is_done = |copied: &&CopiedSnapshot| {
        copied.error.is_none() && matches!(copied.outcome, CopyOutcome::Copied | CopyOutcome::Existing)
    };
    report.snapshots.iter().filter(is_done).filter(|copied| planned.contains(copied.id.as_str())).count()
}

fn of_outcome(report: &CopyReport, outcome: CopyOutcome) -> impl Iterator<Item = &CopiedSnapshot> {
    report.snapshots.iter().filter(move |copied| copied.outcome == outcome)
}

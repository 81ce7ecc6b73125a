//! `prune`: applies a retention policy, as the plan that it prints says.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use clap::Args;
use ruvector_snapshot::store::StoreAccess;
use ruvector_snapshot::{
    DeleteOptions, DeleteReport, DisplacedDatabase, DropReason, ErrorKind, GroupBy, KeepReason, LabelPattern, Orphan,
    OrphanKind, PlannedGroup, PrunePlan, PrunePolicy, ShrunkenDatabase, Snapshot, SnapshotConfig, SnapshotError,
    SnapshotManager, SnapshotProblem, SourceId, Span, TimeZone,
};

use crate::config_file::Retention;
use crate::confirmation::confirm;
use crate::documents::{PruneDocument, Pruned};
use crate::failure::{Exit, Failure};
use crate::output::{self, Output, Text, Tone, counted, orphan_kind, size, total};
use crate::session::Session;
use crate::values::{DIRECTORY_PREFIX, count, grace, not_empty};
use crate::verbs::create::plan::print_not_tried;
use crate::verbs::delete::{self, Deletion};

pub(crate) const HELP: &str = "\
Deletes every snapshot that no --keep rule matches. Prints each snapshot with the reasons why it is kept or dropped. Use --dry-run to preview the result.

The rules apply to the snapshots of each source on their own: `--keep-last 1` keeps one snapshot of every database in the store. The source is the name \
that was given with `create --source`, or else the host and the path of the database file. --group-by name or --group-by label:KEY groups the snapshots \
by something else, and --group-by none applies the rules to all of them together. Snapshots whose source has neither a name nor a path are grouped by the \
kind of their source, and those that do not have the label are one group. If no snapshot has the label, or if the rules would keep nothing of a group that \
can be restored, nothing is deleted; only --keep-label can cause the latter. If nothing would be left of a database that can be restored, or only empty \
snapshots of one that had records, nothing is deleted, unless --allow-unprotected is given.

--keep-daily 7 keeps the newest snapshot of each of the last 7 days that have one, even if they are spread over a year. The rules for hours, weeks (from \
Monday), months, quarters and years work alike. --time-zone decides where they start.

Also kept: snapshots that a kept snapshot depends on, pinned snapshots, snapshots dated more than 5 minutes in the future, snapshots with a broken chain, and snapshots that \
were found corrupt. The last three do not count for any rule. If one of the last two is kept, that is a warning, and so is a database of which nothing \
is left that can be restored. Snapshots that cannot be used are neither counted nor deleted; delete them by ID. If one cannot be read, it may depend on any \
older snapshot, and these are kept.

Orphans, objects that interrupted commands have left, are removed first if they are older than --grace. Files that do not belong to snapshots are never \
touched.

If standard input is a terminal, prints the plan to standard error and asks, also with --json and -q, unless --yes is given. A script is never asked.

Examples:
  ruvector-snapshot prune --keep-last 7 --dry-run
  ruvector-snapshot prune --keep-daily 7 --keep-weekly 5 --keep-monthly 12 \\
      --keep-yearly 10
  ruvector-snapshot prune --keep-within 14d --keep-quarterly 8 \\
      --time-zone Europe/Berlin
  ruvector-snapshot prune --keep-last 3 --keep-label keep \\
      --keep-label reason=release
  ruvector-snapshot prune --keep-daily 7 --group-by label:host
  ruvector-snapshot prune --policy nightly --dry-run
  ruvector-snapshot prune --keep-last 7 --source articles

With --source, the rules are for the snapshots of these databases, and those of others are kept.

Exit codes: 0 success, even if there was nothing to delete; 1 failure, complete or partial, a snapshot cannot be read, or the rules \
keep nothing of a group or a database that can be restored; 2 wrong usage, for example no rule; 4 there are no snapshots, or none of a source, and nothing was collected; 5 success, with \
warnings.";

#[derive(Debug, Args)]
#[command(override_usage = "ruvector-snapshot prune RULE... [OPTIONS]")]
pub(crate) struct Prune {
    /// Apply the rules to each group of snapshots on its own: source, name, label:KEY, or none for all snapshots
    /// together [default: source]
    #[arg(long, value_name = "GROUP")]
    pub(crate) group_by: Option<GroupBy>,
    /// Time zone of days and other periods, by its IANA name [default: UTC]
    #[arg(long, value_name = "ZONE")]
    pub(crate) time_zone: Option<TimeZone>,
    /// Age at which orphans are collected, for example 24h, 90m or 0s. A create or a delete that is still running and
    /// older than this may fail and must be repeated. No kept snapshot is lost: markers beside a snapshot are kept for
    /// at least one hour
    #[arg(long, value_name = "TIME", value_parser = grace, default_value = "24h")]
    pub(crate) grace: TimeDelta,
    /// Apply the rules to the snapshots of this database only, and keep those of others: the name of its source, or HOST:PATH, as
    /// `list` prints it. Can be repeated
    #[arg(long = "source", value_name = "SOURCE", value_parser = not_empty)]
    pub(crate) sources: Vec<String>,
    /// Allow that nothing is left of a database that can be restored, or only empty snapshots of one that had records
    #[arg(long)]
    pub(crate) allow_unprotected: bool,
    /// Print what would be kept, deleted and collected, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) deletion: Deletion,
    // The heading applies to all options that follow.
    #[command(flatten)]
    pub(crate) rules: Rules,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Rules, at least one")]
pub(crate) struct Rules {
    /// Apply the rules of [retention.NAME] in the configuration file. A rule that is given here replaces that of the
    /// file; labels are added
    #[arg(long, value_name = "NAME")]
    pub(crate) policy: Option<String>,
    /// Keep the newest N snapshots
    #[arg(long, visible_alias = "keep", value_name = "N", value_parser = count)]
    pub(crate) keep_last: Option<usize>,
    /// Keep the newest of each of the last N hours
    #[arg(long, value_name = "N", value_parser = count)]
    pub(crate) keep_hourly: Option<usize>,
    /// Keep the newest of each of the last N days
    #[arg(long, value_name = "N", value_parser = count)]
    pub(crate) keep_daily: Option<usize>,
    /// Keep the newest of each of the last N weeks
    #[arg(long, value_name = "N", value_parser = count)]
    pub(crate) keep_weekly: Option<usize>,
    /// Keep the newest of each of the last N months
    #[arg(long, value_name = "N", value_parser = count)]
    pub(crate) keep_monthly: Option<usize>,
    /// Keep the newest of each of the last N quarters
    #[arg(long, value_name = "N", value_parser = count)]
    pub(crate) keep_quarterly: Option<usize>,
    /// Keep the newest of each of the last N years
    #[arg(long, value_name = "N", value_parser = count)]
    pub(crate) keep_yearly: Option<usize>,
    /// Keep all that are at most this much older than the newest, for example 1y5mo7d2h: y, mo (months), w, d or h
    #[arg(long, value_name = "SPAN")]
    pub(crate) keep_within: Option<Span>,
    /// Keep all with this label, for example host or host=db1. Can be repeated
    #[arg(long = "keep-label", value_name = "KEY[=VALUE]")]
    pub(crate) keep_labels: Vec<LabelPattern>,
}

/// Columns of the terminal for a name.
const NAME_COLUMNS: usize = 24;

pub(crate) async fn prune(session: &Session, args: &Prune) -> Result<Exit, Failure> {
    let policy = policy(session, args)?;
    policy.check().map_err(Failure::usage)?;
    let config = SnapshotConfig { grace: args.grace, ..session.config() };
    let manager = session.open_with(config)?;
    let policy = match args.sources.as_slice() {
        [] => policy,
        sources => policy.of_sources(sources_of(session, &manager, sources).await?),
    };
    let plan = session.read(&manager, manager.plan_prune(&policy)).await?;
    session.learn_ids(&manager).await;
    session.warn_of_annotations(plan.keep.iter().map(|kept| &kept.snapshot));
    session.warn_of_annotations(plan.drop.iter().map(|dropped| &dropped.snapshot));
    let known = plan.unusable.iter().filter(|id| !plan.unread.contains(id)).count() as u64;
    if known > 0 {
        let unusable = counted(known, "unusable snapshot");
        session.warnings.add(&format!("ignored {unusable}; `list` prints why, and `delete ID` removes one"));
    }
    for pattern in &plan.unmatched {
        let message =
            format!("the rule keep-label {pattern} keeps nothing: no snapshot has this label; it may be mistyped");
        session.warnings.add(&message);
    }
    warn_of_problems(session, &plan);
    let print_plan = |output: Output| {
        print_plan(session, output, &policy, &plan).map_err(|failure| failure.with_hint("nothing was deleted"))
    };
    let is_nothing_to_do = plan.drop.is_empty() && plan.orphans.is_empty();
    let mut is_printed = false;
    if !(args.dry_run || args.deletion.yes || is_nothing_to_do) {
        let snapshots = counted(plan.drop.len() as u64, "snapshot");
        let orphans = match plan.orphans.len() as u64 {
            0 => String::new(),
            orphans => format!(" and {}", counted(orphans, "orphan")),
        };
        let question = format!("delete {snapshots}{orphans}? This cannot be undone.");
        is_printed = confirm(session, &question, print_plan).await?;
    }
    if !is_printed {
        print_plan(session.output)?;
    }
    let access = match args.dry_run && !is_nothing_to_do {
        true => Some(session.check_access()?),
        false => None,
    };
    let outcome = if args.dry_run { Outcome::default() } else { apply(session, args, &manager, &plan).await? };
    let deleted = || match outcome.report.deleted.as_slice() {
        [] => "no snapshot was deleted".to_owned(),
        deleted => format!("deleted before that: {}", deleted.join(" ")),
    };
    print_outcome(session, args, &plan, &outcome, access).map_err(|failure| failure.with_hint(deleted()))?;
    let Outcome { report, .. } = outcome;
    if !report.kept.is_empty() {
        session.output.message(format_args!(
            "error: not everything was deleted: {} was kept because it was pinned, or a snapshot or an upload depends on it by now",
            report.kept.join(", ")
        ));
    }
    if let Some(newest) = plan.unread.first() {
        session.output.message(format_args!(
            "error: {} could not be read, so everything older than {newest} was kept: it may depend on any of that; `list` \
             prints why it cannot be read",
            counted(plan.unread.len() as u64, "snapshot")
        ));
    }
    Ok(if !report.kept.is_empty() || !plan.unread.is_empty() {
        Exit::Failure
    } else if has_no_snapshots(&plan) && plan.orphans.is_empty() {
        Exit::NothingThere
    } else {
        Exit::Success
    })
}

/// Returns the sources of the store that are called so. A mistyped one would leave everything as it is, without a word.
async fn sources_of(
    session: &Session,
    manager: &SnapshotManager,
    texts: &[String],
) -> Result<BTreeSet<SourceId>, Failure> {
    let listing = session.read(manager, manager.list()).await?;
    let known: BTreeMap<String, SourceId> = listing
        .snapshots
        .iter()
        .filter_map(|snapshot| snapshot.source.id())
        .map(|source| (source.to_string(), source))
        .collect();
    let find = |text: &String| {
        known.get(text).cloned().ok_or_else(|| {
            let names: Vec<&String> = known.keys().collect();
            let message = format!("the store has no snapshot of the source {text:?}");
            let failure = Failure::of_search(SnapshotError::new(ErrorKind::NotFound, message));
            match names.is_empty() {
                true => failure,
                false => failure.with_hint(format!("the store has snapshots of {}", output::enumerated(names))),
            }
        })
    };
    texts.iter().map(find).collect()
}

/// Number of problems that a warning has.
const PROBLEMS_SHOWN: usize = 5;

/// Warns of what is kept, but cannot be relied on, and of databases of which nothing else is left.
fn warn_of_problems(session: &Session, plan: &PrunePlan) {
    let shown: Vec<String> = plan.problems.iter().take(PROBLEMS_SHOWN).map(ToString::to_string).collect();
    if !shown.is_empty() {
        let more = match plan.problems.len().saturating_sub(PROBLEMS_SHOWN) {
            0 => String::new(),
            more => format!("; and {more} more"),
        };
        session.warnings.add(&format!(
            "{} of the snapshots that are kept cannot be relied on, and no rule counts them: {}{more}",
            plan.problems.len(),
            shown.join("; ")
        ));
    }
    for problem in &plan.possible_losses {
        let is_of = |orphan: &Orphan| match problem {
            SnapshotProblem::PossiblyLost { id } => orphan.key == format!("{DIRECTORY_PREFIX}{id}/"),
            _ => false,
        };
        let now = match plan.orphans.iter().any(is_of) {
            true => "; they are old enough, and this prune is to remove them",
            false => "",
        };
        session.warnings.add(&format!("{problem}{now}"));
    }
    for ShrunkenDatabase { source, kept_records, dropped_records, .. } in &plan.shrunken {
        session.warnings.add(&format!(
            "what is kept of {source} has {} records at most, and what is dropped has up to {}: if records were lost from the database, \
             these snapshots still have them",
            output::count(*kept_records),
            output::count(*dropped_records)
        ));
    }
    for DisplacedDatabase { source, path, kept_path, .. } in &plan.displaced {
        session.warnings.add(&format!(
            "every snapshot of {path} is dropped, because {kept_path} has the same source name, {source:?}; if these are two databases, give \
             each a name of its own (`create --source`), and take a snapshot of both"
        ));
    }
    for source in &plan.unprotected {
        session.warnings.add(&format!(
            "NO SNAPSHOT of {source} that can be restored and has records is left after this prune, as far as is known; take a full \
             snapshot of it, unless it is not needed any more"
        ));
    }
}

/// Returns whether the store had no snapshots when the plan was made.
fn has_no_snapshots(plan: &PrunePlan) -> bool {
    plan.keep.is_empty() && plan.drop.is_empty() && plan.unusable.is_empty()
}

/// What became of a plan.
#[derive(Default)]
struct Outcome {
    collected: Vec<Orphan>,
    report: DeleteReport,
}

impl Outcome {
    fn freed_bytes(&self, plan: &PrunePlan) -> u64 {
        let dropped = plan.drop.iter().map(|dropped| &dropped.snapshot);
        let deleted = dropped.filter(|snapshot| self.report.deleted.contains(&snapshot.id));
        let collected = self.collected.iter().map(|orphan| orphan.bytes);
        total(deleted.map(|snapshot| snapshot.size_bytes).chain(collected))
    }
}

/// Collects the orphans, and then deletes: an abandoned upload keeps its bases. If orphans cannot be removed, the
/// snapshots are deleted all the same, and the error is reported after that.
async fn apply(
    session: &Session,
    args: &Prune,
    manager: &SnapshotManager,
    plan: &PrunePlan,
) -> Result<Outcome, Failure> {
    let options = DeleteOptions::default().exclusive(args.deletion.exclusive);
    let ids: Vec<String> = plan.drop.iter().map(|dropped| dropped.snapshot.id.clone()).collect();
    let after_interrupt = || {
        let (manager, ids) = (manager.clone(), ids.clone());
        move || delete::report(&manager, &ids)
    };
    let collection = async { Ok(manager.collect_garbage_with(&plan.orphans, &options).await) };
    let collected = session.run(manager, collection, after_interrupt()).await?;
    let deletion = async { Ok(manager.apply_prune_with(plan, &options).await) };
    let deleted = session.run(manager, deletion, after_interrupt()).await?;
    let (also, error) = match (collected, deleted) {
        (Ok(collected), Ok(report)) => return Ok(Outcome { collected, report }),
        (Err(orphans), Err(error)) => (format!("; {orphans}"), error),
        (Err(error), Ok(_)) | (Ok(_), Err(error)) => (String::new(), error),
    };
    let deleted = match ids.as_slice() {
        [] => "no snapshot was to be deleted".to_owned(),
        ids => delete::what_was_deleted(manager.list().await.ok(), ids),
    };
    Err(Failure::from(error).with_outcome(&format!("{deleted}{also}")))
}

fn without_rule() -> Failure {
    let message = "cannot prune without a rule, since every snapshot would be deleted";
    Failure::usage(SnapshotError::new(ErrorKind::InvalidInput, message)).with_hint(
        "give at least one rule, such as --keep-last <N>, --keep-daily <N> or --keep-within <SPAN>; `prune --help` lists all",
    )
}

/// Returns the policy that the options and the configuration file describe.
fn policy(session: &Session, args: &Prune) -> Result<PrunePolicy, Failure> {
    let rules = &args.rules;
    let typed = Retention {
        keep_last: rules.keep_last,
        keep_hourly: rules.keep_hourly,
        keep_daily: rules.keep_daily,
        keep_weekly: rules.keep_weekly,
        keep_monthly: rules.keep_monthly,
        keep_quarterly: rules.keep_quarterly,
        keep_yearly: rules.keep_yearly,
        keep_within: rules.keep_within,
        keep_labels: rules.keep_labels.clone(),
        group_by: args.group_by.clone(),
        time_zone: args.time_zone.clone(),
    };
    let rules = match &rules.policy {
        Some(name) => typed.over(session.settings.retention(name.trim_start_matches('@'), "--policy")?),
        None => typed,
    };
    if rules.has_rule() { Ok(rules.policy().allow_unprotected(args.allow_unprotected)) } else { Err(without_rule()) }
}

/// Prints the plan: a heading for each group, and a line for each snapshot. If the reasons name days and other periods, times
/// are in the time zone of the policy, in which these begin.
fn print_plan(session: &Session, output: Output, policy: &PrunePolicy, plan: &PrunePlan) -> Result<(), Failure> {
    let PrunePolicy { time_zone, keep_hourly, keep_daily, keep_weekly, .. } = policy;
    let PrunePolicy { keep_monthly, keep_quarterly, keep_yearly, .. } = policy;
    let periods = [keep_hourly, keep_daily, keep_weekly, keep_monthly, keep_quarterly, keep_yearly];
    let has_periods = *time_zone != TimeZone::default() || periods.into_iter().any(|count| *count > 0);
    let line = |action: &str, tone, snapshot: &Snapshot, reasons: String| {
        let time = match has_periods {
            true => time_zone.local_time(snapshot.created_at),
            false => output.time(snapshot.created_at),
        };
        let (id, name) = (session.short(&snapshot.id), output.fitted(&snapshot.name, NAME_COLUMNS));
        output.line(Text::default().tone(tone, action).add(format_args!("  {id}  {time}  {name}  {reasons}")))
    };
    let kept: BTreeMap<&str, _> = plan.keep.iter().map(|kept| (kept.snapshot.id.as_str(), kept)).collect();
    let dropped: BTreeMap<&str, _> = plan.drop.iter().map(|drop| (drop.snapshot.id.as_str(), drop)).collect();
    for PlannedGroup { group, keep, drop, .. } in &plan.groups {
        if plan.group_by != GroupBy::None {
            output.line(format_args!("{group}: keep {}, delete {}", keep.len(), drop.len()))?;
        }
        let mut kept = keep.iter().filter_map(|id| kept.get(id.as_str()));
        kept.try_for_each(|kept| line("keep", Tone::Good, &kept.snapshot, kept_because(session, &kept.reasons)))?;
        let mut dropped = drop.iter().filter_map(|id| dropped.get(id.as_str()));
        dropped.try_for_each(|dropped| {
            line("drop", Tone::Caution, &dropped.snapshot, dropped_because(session, &dropped.reasons))
        })?;
    }
    plan.orphans.iter().try_for_each(|orphan| {
        let kind = orphan_kind(orphan.kind);
        output.line(format_args!("orphan  {}  {}  {kind}", orphan.key, size(orphan.bytes)))
    })?;
    plan.unfinished.iter().try_for_each(|one| {
        let kind = match one.kind {
            OrphanKind::Upload => "upload",
            kind => orphan_kind(kind),
        };
        let why = match one.kind {
            OrphanKind::Multipart => "a lifecycle rule of the bucket removes it",
            _ => "kept until it is older than --grace and no snapshot may depend on it",
        };
        output.line(format_args!("later  {}  {}  {kind}, {why}", one.key, size(one.bytes)))
    })?;
    let is_any_multipart = plan.unfinished.iter().any(|one| one.kind == OrphanKind::Multipart);
    match is_any_multipart && !plan.multipart_uploads_known {
        true => output.line("later  there may be more multipart uploads: not all of them could be listed"),
        false => Ok(()),
    }
}

fn print_outcome(
    session: &Session,
    args: &Prune,
    plan: &PrunePlan,
    outcome: &Outcome,
    access: Option<StoreAccess>,
) -> Result<(), Failure> {
    let output = session.output;
    let freed_bytes = outcome.freed_bytes(plan);
    let DeleteReport { deleted, kept, .. } = &outcome.report;
    let (collected, write_checked) = (&outcome.collected[..], access.map(StoreAccess::is_known));
    let pruned = Pruned { dry_run: args.dry_run, write_checked, deleted, kept, collected, freed_bytes };
    session.document(&PruneDocument::new(plan, pruned))?;
    if plan.drop.is_empty() && plan.orphans.is_empty() {
        return output.line(match plan.keep.len() {
            0 if plan.unusable.is_empty() => {
                format!("no snapshots at {}{}, nothing to delete", session.store, session.store_inside())
            }
            kept => format!("{} kept, nothing to delete", counted(kept as u64, "snapshot")),
        });
    }
    if args.dry_run {
        print_not_tried(session, access)?;
        return print_intent(session, plan);
    }
    let kept = counted((plan.keep.len() + outcome.report.kept.len()) as u64, "snapshot");
    let (deleted, collected) = (outcome.report.deleted.len(), and_orphans(outcome.collected.len()));
    output.line(format_args!("{kept} kept, {deleted} deleted{collected}, {} freed", size(freed_bytes)))
}

/// Prints the last line of a dry run.
fn print_intent(session: &Session, plan: &PrunePlan) -> Result<(), Failure> {
    let dropped = plan.drop.iter().map(|dropped| dropped.snapshot.size_bytes);
    let freed = size(total(dropped.chain(plan.orphans.iter().map(|orphan| orphan.bytes))));
    session.output.line(format_args!(
        "would keep {} and delete {}{}, {freed}; nothing was deleted (--dry-run)",
        counted(plan.keep.len() as u64, "snapshot"),
        plan.drop.len(),
        and_orphans(plan.orphans.len())
    ))
}

fn and_orphans(orphans: usize) -> String {
    if orphans == 0 { String::new() } else { format!(", {} collected", counted(orphans as u64, "orphan")) }
}

fn kept_because(session: &Session, reasons: &[KeepReason]) -> String {
    use KeepReason::{BaseOf, BaseOfUnusable, BaseOfUpload, BrokenChain, MayBeNeededBy};
    let text = reasons.iter().map(|reason| match reason {
        BrokenChain { at: id } | BaseOf { id } | BaseOfUnusable { id } | BaseOfUpload { id } | MayBeNeededBy { id } => {
            reason.to_string().replace(id, session.short(id))
        }
        reason => reason.to_string(),
    });
    text.collect::<Vec<_>>().join(", ")
}

fn dropped_because(session: &Session, reasons: &[DropReason]) -> String {
    let text = reasons.iter().map(|reason| match reason {
        DropReason::SameState { id } => reason.to_string().replace(id, session.short(id)),
        reason => reason.to_string(),
    });
    text.collect::<Vec<_>>().join(", ")
}

//! `drill`: rehearses the recovery of a snapshot, and prints what was measured.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use ruvector_snapshot::{DrillOptions, DrillReport, ErrorKind, SnapshotManager, Transferred};

use super::restore::plan::{not_captured, print_blockers, print_contents};
use crate::documents::{DrillDocument, DrillPlanDocument};
use crate::failure::{Exit, Failure, kind_name};
use crate::interrupted::Attempts;
use crate::output::{count, print_transferred, shape, size, source};
use crate::progress::ProgressDisplay;
use crate::session::Session;
use crate::values::{new_path, probes, recall};

pub(crate) const HELP: &str = "\
Does what a recovery does, and measures it. Restores the snapshot from the store into a scratch directory, reads the database file back and compares its content \
checksum, opens it with Ruvector, and searches for the vectors of 100 of its records, drawn evenly over the ids. Everything is removed again.

It prints:
  data          the time until the restored database was there, and verified
  first search  the time until Ruvector has answered, which is what a recovery
                takes (RTO). Ruvector builds its search index again whenever it
                opens a database, and that takes most of the time. `search`
                answers from the snapshot meanwhile
  age           from the moment of the snapshot until now: what was written in
                this time would be lost (RPO)
  recall@10     the share of the 10 nearest neighbors that Ruvector finds,
                compared with an exact search

With a recall below --min-recall the drill fails. The recall depends on the vectors, the metric and the settings of the index, and not on the snapshot: compare it with \
that of earlier drills, and choose --min-recall for your database. Each result is \
recorded beside the snapshot, where `list` and `show` read it; --no-record turns that off. It needs memory for the search \
index, as Ruvector does.

What belongs to the database and is not in the snapshot is a warning, unless --allow-not-captured is given: a recovery does not bring it back.

With --dry-run, nothing is restored, and nothing is written. It prints what would be read, the space and the memory that the drill needs, and what is in its way.

Examples:
  ruvector-snapshot drill latest
  ruvector-snapshot drill nightly --min-recall 0.95 --scratch-dir /var/tmp
  ruvector-snapshot drill latest --json | jq .time_to_first_search_ms

Exit codes: 0 the drill has passed; 1 the recall is too low, Ruvector cannot open the restored database, or another failure; 2 wrong usage; 3 the snapshot is \
corrupt; 4 there is no such snapshot; 5 the drill has passed, with warnings.";

#[derive(Debug, Args)]
pub(crate) struct Drill {
    /// An id, a prefix of an id, a name, or latest
    pub(crate) id: String,
    /// Number of records whose vectors are searched for, 1 to 10000
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = probes)]
    pub(crate) probes: usize,
    /// Fail if the restored database finds less than this share of the nearest neighbors, from 0 to 1
    #[arg(long, value_name = "RECALL", default_value_t = DrillOptions::default().min_recall, value_parser = recall)]
    pub(crate) min_recall: f64,
    /// Directory to restore the database in, which must exist and needs as much space as the database [default: the
    /// system's temporary directory]
    #[arg(long, value_name = "DIR", value_parser = new_path())]
    pub(crate) scratch_dir: Option<PathBuf>,
    /// Do not warn of what the snapshot does not hold of its database; print it only
    #[arg(long)]
    pub(crate) allow_not_captured: bool,
    /// Do not record the drill beside the snapshot
    #[arg(long)]
    pub(crate) no_record: bool,
    /// Print what would be read, the space and the memory that are needed, and what is in the way. Write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

pub(crate) async fn drill(session: &Session, args: Drill) -> Result<Exit, Failure> {
    let manager = session.open()?;
    let id = session.resolve(&manager, &args.id).await?;
    let mut options = DrillOptions::default().probes(args.probes).min_recall(args.min_recall).record(!args.no_record);
    options.scratch_dir = args.scratch_dir;
    if args.dry_run {
        return plan(session, &manager, &id, &options, args.allow_not_captured).await;
    }
    let report = {
        let progress = ProgressDisplay::new(session, &Attempts::default());
        let options = options.progress(progress.listener());
        let after_interrupt = || "the scratch directory was removed; nothing was changed".to_owned();
        session.run(&manager, manager.drill_snapshot(&id, &options), after_interrupt).await.map_err(hinted)?
    };
    let not_captured = session.warnings.not_captured(&report.snapshot.source.not_captured, args.allow_not_captured);
    let printed = session.document(&DrillDocument::from(&report)).and_then(|()| print(session, &report, not_captured));
    let outcome = if report.passed { "the drill has passed before that" } else { "the drill has failed before that" };
    printed.map_err(|failure| failure.with_hint(outcome))?;
    Ok(if report.passed { Exit::Success } else { Exit::Failure })
}

/// Plans the drill and prints the plan. What is in the way goes to standard error.
async fn plan(
    session: &Session,
    manager: &SnapshotManager,
    id: &str,
    options: &DrillOptions,
    allows_not_captured: bool,
) -> Result<Exit, Failure> {
    let plan = session.read(manager, manager.plan_drill(id, options)).await.map_err(hinted)?;
    plan.warnings.iter().for_each(|warning| session.warnings.add(warning));
    let not_captured = not_captured(session, &plan, allows_not_captured);
    session.document(&DrillPlanDocument::new(&plan, options))?;
    let output = session.output;
    let would = if plan.is_feasible() { "would drill" } else { "could not drill" };
    output.line(format_args!("{would} {}", session.short(&plan.id)))?;
    print_contents(session, &plan, not_captured)?;
    output.field("probes", count(options.probes as u64))?;
    output.field("record", if options.record { "beside the snapshot" } else { "none (--no-record)" })?;
    output.line("nothing was written (--dry-run)")?;
    Ok(print_blockers(session, &plan.blockers, |failure| failure))
}

fn hinted(failure: Failure) -> Failure {
    if failure.exit() == Exit::Corruption {
        failure.with_hint(
            "`verify` shows everything that is corrupt, and a snapshot that does not depend on the corrupt one may be intact",
        )
    } else if failure.kind() == kind_name(ErrorKind::NotFound) && failure.exit() == Exit::Failure {
        failure.with_hint("create the directory of --scratch-dir first, or choose another one")
    } else if failure.kind() == kind_name(ErrorKind::StorageFull) {
        failure.with_hint("--scratch-dir selects the directory that the snapshot is restored to")
    } else {
        failure
    }
}

fn print(session: &Session, report: &DrillReport, not_captured: &[String]) -> Result<(), Failure> {
    let snapshot = &report.snapshot;
    // With --quiet, only a drill that has failed is printed.
    let output = if report.passed { session.output } else { session.output.always() };
    output.line(format_args!("drilled {}", session.short(&snapshot.id)))?;
    output.field("name", &snapshot.name)?;
    output.field("taken", output.time(snapshot.created_at))?;
    output.field("source", source(&snapshot.source))?;
    output.field("age", age(report.data_age_ms))?;
    output.field("vectors", shape(snapshot))?;
    output.field("data", format_args!("restored and verified after {}", seconds(report.time_to_data_ms)))?;
    match report.time_to_first_search_ms {
        Some(time) => {
            output.field("first search", format_args!("answered after {}", seconds(time)))?;
            let open = seconds(report.time_to_open_ms);
            output.field("", format_args!("{open} of that for Ruvector to build its index again"))?;
        }
        None => output.field("first search", "not measured: there is no record to search for")?,
    }
    let recall = format!("recall@{}", report.neighbors.max(1));
    match report.recall {
        Some(found) => {
            let probes = count(report.probes as u64) + if report.probes == 1 { " search" } else { " searches" };
            let verdict = if report.passed { "at least" } else { "TOO LOW: it must be at least" };
            output.field(&recall, format_args!("{found:.3} in {probes}, {verdict} {}", report.min_recall))?;
            if !report.passed {
                output.field("", "the data was verified, but the index of Ruvector finds too little of it")?;
            }
        }
        None => output.field("recall", "not measured: there is no record to search for")?,
    }
    output.field("file", format_args!("{}, removed again", size(report.file_bytes)))?;
    not_captured.iter().try_for_each(|what| output.field("not captured", what))?;
    let mut transferred = Transferred::default();
    transferred.store_read_bytes = report.store_read_bytes;
    print_transferred(&output, transferred, Duration::from_millis(report.time_to_data_ms))
}

fn seconds(milliseconds: u64) -> String {
    format!("{:.2} s", Duration::from_millis(milliseconds).as_secs_f64())
}

/// Formats an age in its two largest units.
fn age(milliseconds: i64) -> String {
    let total = milliseconds.unsigned_abs() / 1000;
    let (days, hours, minutes, seconds) = (total / 86_400, total / 3600 % 24, total / 60 % 60, total % 60);
    let text = match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min {seconds} s"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    };
    match milliseconds < 0 {
        true => format!("{text} in the future: a clock is or was wrong"),
        false => format!("{text}: what was written since would be lost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_has_its_two_largest_units() {
        for (milliseconds, expected) in [
            (0, "0 s: "),
            (59_999, "59 s: "),
            (61_000, "1 min 1 s: "),
            (7_260_000, "2 h 1 min: "),
            (90_000_000, "1 d 1 h: "),
            (-5_000, "5 s in the future"),
        ] {
            assert!(age(milliseconds).starts_with(expected), "{milliseconds}: {}", age(milliseconds));
        }
    }
}

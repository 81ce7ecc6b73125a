//! `export --dry-run`: prints what would be written, and what is in the way.

use std::path::Path;

use ruvector_snapshot::{ExportOptions, ExportPlan, PlannedExportFile, SnapshotManager};

use super::explained;
use crate::documents::ExportPlanDocument;
use crate::failure::{Exit, Failure};
use crate::interrupted::Attempts;
use crate::output::{count, size};
use crate::progress::ProgressDisplay;
use crate::session::Session;
use crate::verbs::restore::plan::{print_blockers, print_checks, print_free, print_missing_ids};

/// Plans the export of this snapshot and prints the plan. What is in the way goes to standard error.
pub(super) async fn plan(
    session: &Session,
    manager: &SnapshotManager,
    id: &str,
    to: &Path,
    options: ExportOptions,
) -> Result<Exit, Failure> {
    let plan = {
        let progress = ProgressDisplay::new(session, &Attempts::default());
        let options = options.progress(progress.listener());
        session.read(manager, manager.plan_export(id, to, &options)).await
    };
    let plan = plan.map_err(|failure| explained(failure, to))?;
    plan.warnings.iter().for_each(|warning| session.warnings.add(warning));
    session.document(&ExportPlanDocument::new(&plan, to))?;
    print(session, &plan, to)?;
    Ok(print_blockers(session, &plan.blockers, |failure| explained(failure, to)))
}

fn print(session: &Session, plan: &ExportPlan, to: &Path) -> Result<(), Failure> {
    let output = session.output;
    let would = if plan.is_feasible() { "would export" } else { "could not export" };
    let what = match (plan.records, &plan.snapshot) {
        (Some(records), Some(snapshot)) => {
            format!("{} of {} records of ", count(records), count(snapshot.vector_count as u64))
        }
        _ => String::new(),
    };
    output.line(format_args!("{would} {what}{} to {}", session.short(&plan.id), to.display()))?;
    if let Some(snapshot) = &plan.snapshot {
        output.field("name", &snapshot.name)?;
        output.field("taken", output.time(snapshot.created_at))?;
    }
    print_missing_ids(session, &plan.missing_ids)?;
    plan.files.iter().try_for_each(|file| print_file(session, file))?;
    if let Some(bytes) = plan.read_bytes {
        output.field("read", size(bytes))?;
    }
    print_free(session, plan.free_bytes)?;
    print_checks(session, &plan.checks)?;
    output.line("nothing was exported (--dry-run)")
}

fn print_file(session: &Session, file: &PlannedExportFile) -> Result<(), Failure> {
    let (name, least, likely) = (&file.name, size(file.least_bytes), size(file.likely_bytes));
    match file.least_bytes == file.likely_bytes {
        true => session.output.field("file", format_args!("{name}, {least}")),
        false => session.output.field("file", format_args!("{name}, {least} at least, up to about {likely}")),
    }
}

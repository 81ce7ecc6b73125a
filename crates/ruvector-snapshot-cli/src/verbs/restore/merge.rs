//! `restore --merge`: merges records of a snapshot into an existing database file.
#![expect(clippy::disallowed_methods, reason = "prints how long the work took")]

use std::path::{Path, PathBuf};
use std::time::Instant;

use ruvector_snapshot::{ErrorKind, MergeOptions, MergeReport, Remedy, SnapshotManager};

use crate::documents::MergeDocument;
use crate::failure::{Exit, Failure, kind_name};
use crate::interrupted::Attempts;
use crate::output::{count, pace, print_transferred, source};
use crate::progress::ProgressDisplay;
use crate::session::Session;

pub(crate) async fn merge(
    session: &Session,
    manager: &SnapshotManager,
    id: &str,
    into: &Path,
    options: MergeOptions,
) -> Result<Exit, Failure> {
    let started = Instant::now();
    let (report, transferred) = {
        let progress = ProgressDisplay::new(session, &Attempts::default());
        let options = options.progress(progress.listener());
        let after_interrupt = outcome(into.to_owned(), progress.is_restored());
        let work = async { Ok(manager.merge_snapshot_into(id, into, &options).await) };
        (session.run(manager, work, after_interrupt).await?, progress.transferred())
    };
    let report = report.map_err(|error| explained(error.into()))?;
    let taken = started.elapsed();
    let MergeReport { snapshot, selected, counts, .. } = &report;
    let output = session.output;
    let merged = || format!("the records were merged into {} before that", into.display());
    let print = || {
        session.document(&MergeDocument::new(&report, into, transferred))?;
        let (part, whole) = (count(selected.saturating_sub(counts.kept)), count(snapshot.vector_count as u64));
        let kept = match counts.kept {
            0 => String::new(),
            kept => format!("; {} that differ stayed as they are in the database", count(kept)),
        };
        output.line(format_args!(
            "merged {part} of {whole} records of {} into {}{kept}",
            session.short(&snapshot.id),
            into.display()
        ))?;
        output.field("name", &snapshot.name)?;
        output.field("taken", output.time(snapshot.created_at))?;
        output.field("source", source(&snapshot.source))?;
        output.field("inserted", format_args!("{}, which the database did not have", count(counts.inserted)))?;
        output
            .field("replaced", format_args!("{}, which the database had with other values", count(counts.replaced)))?;
        output.field(
            "kept",
            format_args!("{}, which differ and stayed as they are in the database", count(counts.kept)),
        )?;
        output.field("same", format_args!("{}, which the database had already", count(counts.same)))?;
        output.field("time", pace(taken, *selected, "records"))?;
        print_transferred(&output, transferred, taken)?;
        output.field("verified", "each record that was merged has the digest that the snapshot has of it")
    };
    print().map_err(|failure| failure.with_hint(merged()))?;
    Ok(Exit::Success)
}

/// Distinguishes a corrupt database file from a corrupt snapshot.
pub(super) fn explained(failure: Failure) -> Failure {
    match failure.remedy() == Some(Remedy::NewFile) && failure.kind() == kind_name(ErrorKind::Corrupt) {
        true => failure
            .not_of_snapshot()
            .with_hint("the snapshot is not the reason; to restore it to a new file, leave out --merge"),
        false if failure.exit() == Exit::Corruption => failure.with_hint(
            "nothing was merged; `verify` shows everything that is corrupt, and a snapshot that does not depend on the corrupt one \
             may be intact",
        ),
        false => failure,
    }
}

/// Reports after an interrupt whether the merge was committed.
fn outcome(
    into: PathBuf,
    is_merged: impl FnOnce() -> bool + Send + 'static,
) -> impl FnOnce() -> String + Send + 'static {
    move || match is_merged() {
        true => format!("the records were already merged into {}", into.display()),
        false => {
            format!("nothing was merged, and {} has the records that it had; the file may be larger", into.display())
        }
    }
}

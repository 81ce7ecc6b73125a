//! `restore`: restores a snapshot to a database file.
#![expect(clippy::disallowed_methods, reason = "prints how long the work took")]

use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ruvector_snapshot::{
    MergeOptions, PartReport, RecordFilter, RestoreOptions, Snapshot, SnapshotManager, Transferred,
};
use serde_json::json;

use crate::args::Restore;
use crate::failure::{Exit, Failure};
use crate::interrupted::Attempts;
use crate::merge::merge;
use crate::output::{count, pace, print_transferred, shape, size, source, timestamp};
use crate::progress::ProgressDisplay;
use crate::restore_plan::{self, explained, explained_part};
use crate::session::Session;

pub(crate) async fn restore(session: &Session, args: Restore) -> Result<Exit, Failure> {
    let manager = session.open()?;
    let id = session.resolve(&manager, &args.id).await?;
    let options = RestoreOptions::default().overwrite(args.force).overwrite_while_open(args.force_while_open);
    let options = options.other_embedding(args.other_embedding);
    if args.dry_run {
        return restore_plan::plan(session, &manager, &id, &args, &options).await;
    }
    let filter = args.selection.filter(session).await?;
    if args.merge {
        let options = MergeOptions::default()
            .filter(filter.unwrap_or_default())
            .on_conflict(args.on_conflict.unwrap_or_default())
            .other_embedding(args.other_embedding);
        return merge(session, &manager, &id, &args.to, options).await;
    }
    if let Some(filter) = &filter {
        return restore_part(session, &manager, &id, &args.to, filter, options).await;
    }
    let started = Instant::now();
    let (snapshot, transferred) = {
        let progress = ProgressDisplay::new(session, &Attempts::default());
        let options = options.progress(progress.listener());
        let after_interrupt = report(args.to.clone(), progress.is_restored());
        let work = manager.restore_snapshot_to(&id, &args.to, &options);
        (session.run(&manager, work, after_interrupt).await, progress.transferred())
    };
    let snapshot = snapshot.map_err(|failure| explained(failure, &args.to))?;
    let taken = (transferred, started.elapsed());
    let restored = || format!("{} was restored and verified before that", args.to.display());
    print(session, &snapshot, &args.to, taken).map_err(|failure| failure.with_hint(restored()))?;
    Ok(Exit::Success)
}

fn print(
    session: &Session,
    snapshot: &Snapshot,
    to: &Path,
    (transferred, taken): (Transferred, Duration),
) -> Result<(), Failure> {
    let file_bytes = fs::metadata(to).map(|metadata| metadata.len()).ok();
    let output = session.output;
    output.document_of(
        snapshot,
        &json!({
            "to": to.to_string_lossy(), "records": snapshot.vector_count, "file_bytes": file_bytes,
            "store_read_bytes": transferred.store_read_bytes, "file_written_bytes": transferred.file_written_bytes,
            "verified_checksum": snapshot.checksum, "seconds": taken.as_secs_f64(),
            "warnings": session.warnings.list(), "not_captured": snapshot.source.not_captured,
        }),
    )?;
    output.line(format_args!("restored {} to {}", snapshot.id, to.display()))?;
    output.field("name", &snapshot.name)?;
    output.field("taken", timestamp(snapshot.created_at))?;
    output.field("source", source(&snapshot.source))?;
    output.field("vectors", shape(snapshot))?;
    if let Some(irregular) = &snapshot.irregular {
        output.field("irregular", format_args!("{irregular}, restored as they were"))?;
    }
    if let Some(bytes) = file_bytes {
        output.field("file", size(bytes))?;
    }
    output.field("time", pace(taken, snapshot.vector_count as u64, "records"))?;
    print_transferred(&output, transferred, taken)?;
    output.field("verified", "the file was read back and has the content checksum of the snapshot:")?;
    output.field("", &snapshot.checksum)?;
    let not_captured = &snapshot.source.not_captured;
    if !not_captured.is_empty() {
        output.line("this snapshot does not hold:")?;
    }
    not_captured.iter().try_for_each(|what| output.line(format_args!("  {what}")))
}

/// Restores the records that a filter accepts.
async fn restore_part(
    session: &Session,
    manager: &SnapshotManager,
    id: &str,
    to: &Path,
    filter: &RecordFilter,
    options: RestoreOptions,
) -> Result<Exit, Failure> {
    let started = Instant::now();
    let (part, transferred) = {
        let progress = ProgressDisplay::new(session, &Attempts::default());
        let options = options.progress(progress.listener());
        let after_interrupt = report(to.to_owned(), progress.is_restored());
        let work = manager.restore_part_to(id, to, filter, &options);
        (session.run(manager, work, after_interrupt).await, progress.transferred())
    };
    let part = part.map_err(|failure| explained_part(failure, to))?;
    let restored = || format!("a part of the snapshot was restored to {} before that", to.display());
    print_part(session, &part, to, (transferred, started.elapsed()))
        .map_err(|failure| failure.with_hint(restored()))?;
    Ok(Exit::Success)
}

/// Prints what was restored, and that it is not all.
fn print_part(
    session: &Session,
    part: &PartReport,
    to: &Path,
    (transferred, taken): (Transferred, Duration),
) -> Result<(), Failure> {
    let (snapshot, output) = (&part.snapshot, session.output);
    let file_bytes = fs::metadata(to).map(|metadata| metadata.len()).ok();
    output.document_of(
        snapshot,
        &json!({
            "to": to.to_string_lossy(), "is_part": true, "records": part.records,
            "records_in_snapshot": snapshot.vector_count, "file_bytes": file_bytes,
            "store_read_bytes": transferred.store_read_bytes, "file_written_bytes": transferred.file_written_bytes,
            "verified_checksum_of_part": part.checksum, "seconds": taken.as_secs_f64(),
            "warnings": session.warnings.list(), "not_captured": snapshot.source.not_captured,
        }),
    )?;
    let (records, whole) = (count(part.records), count(snapshot.vector_count as u64));
    output.line(format_args!("restored {records} of {whole} records of {} to {}", snapshot.id, to.display()))?;
    output.field("name", &snapshot.name)?;
    output.field("taken", timestamp(snapshot.created_at))?;
    output.field("source", source(&snapshot.source))?;
    if let Some(bytes) = file_bytes {
        output.field("file", size(bytes))?;
    }
    output.field("time", pace(taken, part.records, "records"))?;
    print_transferred(&output, transferred, taken)?;
    output
        .field("verified", "each of these records has the digest that the snapshot has of it, and the file was read")?;
    output.field("", "back. It has this content checksum, which is that of the part, not that of the snapshot:")?;
    output.field("", &part.checksum)
}

/// Reports after an interrupt whether this restore has changed the destination, and whether another program has.
fn report(
    destination: PathBuf,
    is_restored: impl FnOnce() -> bool + Send + 'static,
) -> impl FnOnce() -> String + Send + 'static {
    let before = fs::metadata(&destination).ok();
    move || {
        let shown = destination.display();
        if is_restored() {
            return format!("{shown} was already restored and verified, and was kept");
        }
        match (before, fs::metadata(&destination).ok()) {
            (None, None) => "nothing was restored, and nothing was left behind".to_owned(),
            (Some(before), Some(after)) if is_same_file(&before, &after) => {
                format!("{shown} was not changed, and nothing was left behind")
            }
            (Some(_), None) => format!("{shown} was removed by another program, and nothing was restored"),
            (None, Some(_)) => format!("nothing was restored; {shown} was created by another program, and was kept"),
            (Some(_), Some(_)) => {
                format!("nothing was restored; {shown} was replaced by another program, and was kept")
            }
        }
    }
}

fn is_same_file(before: &Metadata, after: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    (before.dev(), before.ino()) == (after.dev(), after.ino())
}

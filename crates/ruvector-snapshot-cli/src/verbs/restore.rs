//! `restore`: restores a snapshot to a database file.
#![expect(clippy::disallowed_methods, reason = "prints how long the work took")]

mod merge;
pub(crate) mod plan;

use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use ruvector_snapshot::{
    MergeOptions, OnConflict, PartReport, RecordFilter, RestoreOptions, Snapshot, SnapshotManager, Transferred,
};

use crate::documents::RestoreDocument;
use crate::failure::{Exit, Failure};
use crate::interrupted::Attempts;
use crate::output::{count, pace, print_transferred, shape, size, source};
use crate::progress::ProgressDisplay;
use crate::selection::Selection;
use crate::session::{Session, Several};
use crate::values::{new_path, on_conflict};
use merge::merge;
use plan::{explained, explained_part};

pub(crate) const HELP: &str = "\
Reads a snapshot, and all snapshots that it depends on, and writes a database file. The file is written under a hidden name in the same directory, read \
back, and checked against the content checksum. Only then is it renamed to FILE, in one step.

An existing FILE is not changed unless --force is given. FILE is not replaced while a program holds its lock, as Ruvector does while it has a database \
open: the program would keep the old file, and lose everything that it writes from then on. Stop it first, or restore to another path. --force with --force-while-open replaces FILE all the same.

`latest` is the newest snapshot of all databases in the store, and a name can be that of snapshots of several: the newest counts, with a warning. \
With --force or --merge, and a FILE that exists, that is refused: give the ID. \
The database of other snapshots in the store is neither replaced nor merged into, unless --other-database is given. --force warns if FILE has another metric, \
is no database, or has at least twice the records of the snapshot.

What belongs to the database and is not in the snapshot, as a second file beside it, is a warning, unless --allow-not-captured is given.

A new FILE can be read by its owner only. A replaced FILE keeps its owner and its permissions.

With --id, --ids-from or --where, only these records are restored: the output says how many of how many. By ids, only the parts of the snapshot that can \
hold them are read. A condition is for example lang=de, author.born>=1900 or 'lang exists'; a dot separates names, and \\. is a dot in a name. Numbers are \
compared as numbers, strings as strings, and a number never equals a string: year=2020 is the number, and year=\"2020\" the string. A record without the \
path fulfils only !=. Give --where once for each condition, and quote < and > from the shell. If an id is not in the snapshot, or no record is selected, \
nothing is restored.

With --ids-from -, the ids are read from standard input, to its end. A list of ids has at most 64 MiB.

A database that records another embedding model than the snapshot, or has other dimensions, is neither replaced nor merged into, unless --other-embedding is given.

With --merge, the records are merged into the database FILE in one transaction: all of them or none. It must be closed, and have the same dimensions and \
metric. It is read to its end first, because a merge into a corrupt database could hide that it is corrupt. --on-conflict decides what happens if it has another record with an id. Its other records and its settings stay as they are. After a failure \
or an interrupt no record was changed, but the file may be larger.

With --dry-run, nothing is written. It prints the snapshots that are read, how many bytes are read and written, the free space and the memory that is \
needed, and every check of FILE; what is in the way is printed as errors. Reads metadata.json and the block directories. It does not read the data: `verify` does. \
Of a part and of a merge it reads the records, as the command does, and prints how many are selected, and how many would be inserted, replaced and kept. \
It does not estimate the memory for a part, nor the bytes that a merge writes.

Examples:
  ruvector-snapshot restore latest --to restored.db --dry-run
  ruvector-snapshot restore latest --to restored.db
  ruvector-snapshot restore nightly --to /srv/app/vectors.db --force
  ruvector-snapshot restore latest --to part.db --where lang=de \\
      --where 'year>=2020'
  ruvector-snapshot restore nightly --to vectors.db --merge --id doc-17 \\
      --on-conflict replace --dry-run
  cut -f1 lost.tsv | ruvector-snapshot restore nightly --to vectors.db \\
      --merge --ids-from -

Exit codes: 0 restored and verified, or, with --dry-run, nothing is in the way; 1 failure, FILE was not changed, unless the error says that it was, or only the output could not be written; 2 \
wrong usage; 3 the snapshot is corrupt, FILE was not changed; 4 there is no such snapshot; 5 as 0, with warnings. With --merge, no record of FILE was changed instead, and 1 also if FILE is corrupt. With --dry-run, the code is that of the restore, as far as that shows without reading the data: a snapshot that was found corrupt before is a warning.";

#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// An id, a prefix of an id, a name, or latest
    pub(crate) id: String,
    /// Database file to write
    #[arg(long, value_name = "FILE", value_parser = new_path())]
    pub(crate) to: PathBuf,
    /// Replace FILE if it exists and no program holds its lock, as Ruvector does
    #[arg(long)]
    pub(crate) force: bool,
    /// With --force: replace FILE even while a program holds its lock. What that program writes afterwards is lost
    #[arg(long, requires = "force")]
    pub(crate) force_while_open: bool,
    /// Replace FILE, or merge into it, even if it is of another embedding model than the snapshot
    #[arg(long)]
    pub(crate) other_embedding: bool,
    /// Replace FILE, or merge into it, even if it is the database of other snapshots in the store
    #[arg(long)]
    pub(crate) other_database: bool,
    #[command(flatten)]
    pub(crate) selection: Selection,
    /// Merge the records into the database FILE, which must exist and be closed
    #[arg(long, conflicts_with = "force")]
    pub(crate) merge: bool,
    /// With --merge: what happens if FILE has another record with the same id: fail, and merge nothing; keep that record;
    /// or replace it [default: fail]
    #[arg(long, value_name = "WHAT", requires = "merge", value_parser = on_conflict())]
    pub(crate) on_conflict: Option<OnConflict>,
    /// Do not warn of what the snapshot does not hold of its database; print it only
    #[arg(long, conflicts_with_all = ["merge", "ids", "ids_from", "conditions"])]
    pub(crate) allow_not_captured: bool,
    /// Print what would be read and written, and everything that is in the way. Write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

impl Restore {
    fn options(&self) -> RestoreOptions {
        let options = RestoreOptions::default().overwrite(self.force).overwrite_while_open(self.force_while_open);
        options.other_embedding(self.other_embedding).other_database(self.other_database)
    }

    fn merge_options(&self, filter: Option<RecordFilter>) -> MergeOptions {
        MergeOptions::default()
            .filter(filter.unwrap_or_default())
            .on_conflict(self.on_conflict.unwrap_or_default())
            .other_embedding(self.other_embedding)
            .other_database(self.other_database)
    }
}

pub(crate) async fn restore(session: &Session, args: Restore) -> Result<Exit, Failure> {
    let manager = session.open()?;
    // The file may be a database of its own, and the newest snapshot that of another one.
    let changes_file = (args.force || args.merge) && args.to.exists();
    let several = if changes_file { Several::NewestOfOneSource } else { Several::Newest };
    let id = session.resolve_of_several(&manager, &args.id, several).await?;
    let filter = args.selection.filter(session).await?;
    if args.dry_run {
        return plan::plan(session, &manager, &id, &args, filter).await;
    }
    if args.merge {
        return merge(session, &manager, &id, &args.to, args.merge_options(filter)).await;
    }
    let options = args.options();
    if let Some(filter) = &filter {
        return restore_part(session, &manager, &id, &args.to, filter, options).await;
    }
    let (started, replaced_bytes) = (Instant::now(), file_bytes(&args.to));
    let (snapshot, transferred) = {
        let progress = ProgressDisplay::new(session, &Attempts::default());
        let options = options.progress(progress.listener());
        let after_interrupt = report(args.to.clone(), progress.is_restored());
        let work = manager.restore_snapshot_to(&id, &args.to, &options);
        (session.run(&manager, work, after_interrupt).await, progress.transferred())
    };
    let snapshot = snapshot.map_err(|failure| explained(failure, &args.to))?;
    let done = Done { transferred, taken: started.elapsed(), replaced_bytes };
    let restored = || format!("{} was restored and verified before that", args.to.display());
    print(session, &snapshot, &args, &done).map_err(|failure| failure.with_hint(restored()))?;
    Ok(Exit::Success)
}

/// What a restore took.
#[derive(Clone, Copy)]
struct Done {
    transferred: Transferred,
    taken: Duration,
    /// The size of the file that was there.
    replaced_bytes: Option<u64>,
}

fn file_bytes(path: &Path) -> Option<u64> {
    fs::metadata(path).map(|metadata| metadata.len()).ok()
}

/// Prints the size of the file, and of the one that it has replaced, which may have held another database.
fn print_sizes(session: &Session, file_bytes: Option<u64>, replaced_bytes: Option<u64>) -> Result<(), Failure> {
    if let Some(bytes) = file_bytes {
        session.output.field("file", size(bytes))?;
    }
    match replaced_bytes {
        Some(bytes) => session.output.field("replaced", format_args!("the file of {} that was there", size(bytes))),
        None => Ok(()),
    }
}

fn print(session: &Session, snapshot: &Snapshot, args: &Restore, done: &Done) -> Result<(), Failure> {
    let to = args.to.as_path();
    let (Done { transferred, taken, replaced_bytes }, file_bytes) = (*done, file_bytes(to));
    let not_captured = session.warnings.not_captured(&snapshot.source.not_captured, args.allow_not_captured);
    let output = session.output;
    session.document(&RestoreDocument::whole(snapshot, to, file_bytes, transferred))?;
    output.line(format_args!("restored {} to {}", session.short(&snapshot.id), to.display()))?;
    output.field("name", &snapshot.name)?;
    output.field("taken", output.time(snapshot.created_at))?;
    output.field("source", source(&snapshot.source))?;
    output.field("vectors", shape(snapshot))?;
    if let Some(irregular) = &snapshot.irregular {
        output.field("irregular", format_args!("{irregular}, restored as they were"))?;
    }
    print_sizes(session, file_bytes, replaced_bytes)?;
    output.field("time", pace(taken, snapshot.vector_count as u64, "records"))?;
    print_transferred(&output, transferred, taken)?;
    output.field("verified", "the file was read back and has the content checksum of the snapshot:")?;
    output.field("", &snapshot.checksum)?;
    not_captured.iter().try_for_each(|what| output.field("not captured", what))
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
    let (started, replaced_bytes) = (Instant::now(), file_bytes(to));
    let (part, transferred) = {
        let progress = ProgressDisplay::new(session, &Attempts::default());
        let options = options.progress(progress.listener());
        let after_interrupt = report(to.to_owned(), progress.is_restored());
        let work = manager.restore_part_to(id, to, filter, &options);
        (session.run(manager, work, after_interrupt).await, progress.transferred())
    };
    let part = part.map_err(|failure| explained_part(failure, to))?;
    let restored = || format!("a part of the snapshot was restored to {} before that", to.display());
    let done = Done { transferred, taken: started.elapsed(), replaced_bytes };
    print_part(session, &part, to, &done).map_err(|failure| failure.with_hint(restored()))?;
    Ok(Exit::Success)
}

/// Prints what was restored, and that it is not all.
fn print_part(session: &Session, part: &PartReport, to: &Path, done: &Done) -> Result<(), Failure> {
    let (snapshot, output) = (&part.snapshot, session.output);
    let (Done { transferred, taken, replaced_bytes }, file_bytes) = (*done, file_bytes(to));
    session.document(&RestoreDocument::part(part, to, file_bytes, transferred))?;
    let (records, whole) = (count(part.records), count(snapshot.vector_count as u64));
    output.line(format_args!(
        "restored {records} of {whole} records of {} to {}",
        session.short(&snapshot.id),
        to.display()
    ))?;
    output.field("name", &snapshot.name)?;
    output.field("taken", output.time(snapshot.created_at))?;
    output.field("source", source(&snapshot.source))?;
    print_sizes(session, file_bytes, replaced_bytes)?;
    output.field("time", pace(taken, part.records, "records"))?;
    print_transferred(&output, transferred, taken)?;
    let verified = "each of these records has the digest that the snapshot has of it, and the file was read back. It has this content \
                    checksum, which is that of the part, not that of the snapshot:";
    output.field("verified", verified)?;
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

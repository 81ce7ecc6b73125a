//! `export`: writes the records of a snapshot to files for other programs.
#![expect(clippy::disallowed_methods, reason = "prints how long the work took")]

mod plan;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use ruvector_snapshot::{ErrorKind, ExportFormat, ExportOptions, ExportReport, Transferred};

use crate::documents::ExportDocument;
use crate::failure::{Exit, Failure, kind_name};
use crate::interrupted::Attempts;
use crate::output::{count, pace, print_transferred, size};
use crate::progress::ProgressDisplay;
use crate::selection::Selection;
use crate::session::Session;
use crate::values::{export_format, new_path};

pub(crate) const HELP: &str = "\
Writes the records, in the order of the bytes of their ids, to a new directory DIR. It appears when all files are complete and synced, or not at all. A DIR \
that exists must be an empty directory.

--format npy writes two files. matrix.npy is an array of NumPy: one row of 32-bit floats for each record, with the same bits as in the database. Line i of \
records.jsonl belongs to row i:
  {\"id\":\"doc-1\",\"metadata\":{\"lang\":\"de\"}}
The metadata is canonical JSON; null if there is none.

--format parquet writes records.parquet, with the columns id (a string), vector (a list of 32-bit floats of fixed size) and metadata (JSON, or null), in row \
groups of about 32 MiB. Vectors are not compressed, the rest with Snappy.

The digest of every record is verified, and if all records are exported, their content checksum is compared with that of the snapshot before DIR appears. The \
settings of the database are not exported: `show` prints them. Irregular rows are not exported either: a warning counts them. An export is no backup: it \
cannot be restored.

With --id or --ids-from, only the parts of the snapshot that can hold these records are read. `restore --help` explains --where.

With --dry-run, nothing is written. It prints the files and how large they would be, the free space, and every check of DIR; what is in the way is printed \
as errors. It does not read the data of all records: `verify` does. Selected records are read and counted, as the command does.

Examples:
  ruvector-snapshot export latest --to exported --dry-run
  ruvector-snapshot export latest --to exported
  ruvector-snapshot export nightly --to german --format parquet \\
      --where lang=de
  python3 -c 'import numpy; print(numpy.load(\"exported/matrix.npy\").shape)'

Exit codes: 0 exported, or, with --dry-run, nothing is in the way; 1 failure, or an id is not in the snapshot, or no record fulfils the conditions; 2 wrong usage; 3 the snapshot is corrupt; 4 there is no such snapshot; 5 as 0, with warnings. After a \
failure DIR is as it was, unless the error says that it was created.";

#[derive(Debug, Args)]
pub(crate) struct Export {
    /// An id, a prefix of an id, a name, or latest
    pub(crate) id: String,
    /// Directory to create
    #[arg(long, value_name = "DIR", value_parser = new_path())]
    pub(crate) to: PathBuf,
    /// Format of the files
    #[arg(long, default_value_t, value_parser = export_format())]
    pub(crate) format: ExportFormat,
    #[command(flatten)]
    pub(crate) selection: Selection,
    /// Print the files that would be written, and everything that is in the way. Write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

pub(crate) async fn export(session: &Session, args: Export) -> Result<Exit, Failure> {
    let manager = session.open()?;
    let id = session.resolve(&manager, &args.id).await?;
    let filter = args.selection.filter(session).await?.unwrap_or_default();
    if args.dry_run {
        let options = ExportOptions::default().format(args.format).filter(filter);
        return plan::plan(session, &manager, &id, &args.to, options).await;
    }
    let started = Instant::now();
    let (report, transferred) = {
        let progress = ProgressDisplay::new(session, &Attempts::default());
        let options = ExportOptions::default().format(args.format).filter(filter).progress(progress.listener());
        let after_interrupt = outcome(args.to.clone(), progress.is_restored());
        let work = manager.export_snapshot(&id, &args.to, &options);
        (session.run(&manager, work, after_interrupt).await, progress.transferred())
    };
    let report = report.map_err(|failure| explained(failure, &args.to))?;
    let exported = || format!("{} was exported before that", args.to.display());
    print(session, &report, &args.to, (transferred, started.elapsed()))
        .map_err(|failure| failure.with_hint(exported()))?;
    Ok(Exit::Success)
}

fn print(
    session: &Session,
    report: &ExportReport,
    to: &Path,
    (transferred, taken): (Transferred, Duration),
) -> Result<(), Failure> {
    let (snapshot, output) = (&report.snapshot, session.output);
    session.document(&ExportDocument::new(report, to, transferred))?;
    let (records, whole) = (count(report.records), count(snapshot.vector_count as u64));
    output.line(format_args!(
        "exported {records} of {whole} records of {} to {}",
        session.short(&snapshot.id),
        to.display()
    ))?;
    output.field("name", &snapshot.name)?;
    output.field("taken", output.time(snapshot.created_at))?;
    for file in &report.files {
        output.field("file", format_args!("{}, {}", file.name, size(file.bytes)))?;
    }
    output.field("time", pace(taken, report.records, "records"))?;
    print_transferred(&output, transferred, taken)?;
    match report.is_complete {
        true => output.field("verified", "all records, with the content checksum of the snapshot"),
        false => output.field("verified", "each of these records has the digest that the snapshot has of it"),
    }
}

/// Adds what can be done about the failure of an export to this path.
fn explained(failure: Failure, to: &Path) -> Failure {
    let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty());
    match parent {
        _ if failure.kind() == kind_name(ErrorKind::Corrupt) => failure.with_hint(format!(
            "nothing was written to {}; `verify` shows everything that is corrupt, and another snapshot may be intact",
            to.display()
        )),
        Some(parent) if failure.is_about_missing(to) && !parent.exists() => {
            failure.with_hint(format!("create the directory {} first", parent.display()))
        }
        _ => failure,
    }
}

/// Reports after an interrupt whether the directory has appeared.
fn outcome(
    to: PathBuf,
    is_exported: impl FnOnce() -> bool + Send + 'static,
) -> impl FnOnce() -> String + Send + 'static {
    move || match is_exported() {
        true => format!("{} was already exported, and was kept", to.display()),
        false => "nothing was exported, and nothing was left behind".to_owned(),
    }
}

//! `diff`: prints which records differ between two snapshots, and how many.

use std::io;

use clap::Args;
use futures::StreamExt as _;
use ruvector_snapshot::{
    DiffEntry, DiffOptions, DiffSummary, DiffedSnapshot, RecordChange, SnapshotDiff, SnapshotManager,
};

use crate::documents::{ChangeDocument, DiffBegin, DiffCounts, DiffEnd, NoMembers};
use crate::failure::{Exit, Failure};
use crate::interrupted::Attempts;
use crate::output::{counted, plain, size};
use crate::progress::ProgressDisplay;
use crate::session::Session;
use crate::streamed::{OutputBuffer, StreamedDocument};

pub(crate) const HELP: &str = "\
Prints how many records differ between two snapshots, related or not, of one store or of two. With --list, each of them; with --jsonl, each as a line of JSON.
  added             only the second snapshot has it
  removed           only the first snapshot has it
  vector changed    another vector, the same metadata
  metadata changed  other metadata, the same vector
  both changed      another vector and other metadata
Each record counts once. Other dimensions, another metric, and irregular rows that differ are printed too. Of irregular rows it is not compared which ones.

Reads the indexes. If the content checksums are equal, it reads no data, and only checks that the files are there. Of records that differ, the metadata is read, and vectors only where that does not decide. \
What two snapshots of a chain have in common is read only where the others have changed something. The ids and digests that are compared are verified. \
To check everything, use `verify`.

With --to, the second snapshot is in another store, for example the copy of the first one: --to-option is for that store, and -o for --store.

Examples:
  ruvector-snapshot diff nightly latest
  ruvector-snapshot diff nightly latest --list | grep ^removed
  ruvector-snapshot diff 20260130 20260131 --jsonl | jq -r .id
  ruvector-snapshot diff latest latest --to s3://bucket/offsite --exit-code

Exit codes: 0 compared, whether they differ or not; 1 failure, and with --exit-code also if they differ; 2 wrong usage; 3 a snapshot is corrupt; 4 there is \
no such snapshot; 5 compared, with warnings.";

#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// The first snapshot: an id, a prefix of an id, a name, or latest
    #[arg(value_name = "ID")]
    pub(crate) first: String,
    /// The second snapshot, which is compared with the first one
    #[arg(value_name = "OTHER_ID")]
    pub(crate) second: String,
    /// Store of the second snapshot, if it is not that of the first. @NAME is a profile of the configuration file
    #[arg(long, value_name = "LOCATION")]
    pub(crate) to: Option<String>,
    /// Option of the bucket of --to, for example region=eu-west-1. Can be repeated. The options of -o are those of --store
    /// alone; the environment is for both
    // Parsed in `session`, as those of -o.
    #[arg(long = "to-option", value_name = "KEY=VALUE", requires = "to")]
    pub(crate) to_options: Vec<String>,
    /// Print each record that differs, and then the counts
    #[arg(long)]
    pub(crate) list: bool,
    /// Print each record that differs as a line of JSON, and nothing else
    #[arg(long, conflicts_with_all = ["list", "json"])]
    pub(crate) jsonl: bool,
    /// End with exit code 1 if the snapshots differ
    #[arg(long)]
    pub(crate) exit_code: bool,
}

/// Differences that are printed before an interrupt is seen.
const CHUNK_LEN: usize = 4096;
/// Columns of a label.
const LABEL_COLUMNS: usize = 18;
/// Columns of the name of a snapshot, which are left beside its id.
const NAME_COLUMNS: usize = 24;

pub(crate) async fn diff(session: &Session, args: &Diff) -> Result<Exit, Failure> {
    let manager = session.open()?;
    let (other, other_store) = match &args.to {
        None => (manager.clone(), session.store.as_str()),
        Some(to) => (open_other(session, args, to)?, to.as_str()),
    };
    let id = session.resolve(&manager, &args.first).await?;
    let option = if args.to.is_some() { "--to" } else { "--store" };
    let other_id = session.resolve_in(&other, &args.second, other_store, option).await?;
    let is_listed = args.list || args.jsonl;
    let progress = (!is_listed).then(|| ProgressDisplay::new(session, &Attempts::default()));
    let listener = progress.as_ref().map_or_else(|| session.warnings.listener(), ProgressDisplay::listener);
    let opening = DiffOptions::default().progress(listener);
    let opened = session.read(&manager, manager.diff(&id, &other, &other_id, &opening)).await;
    session.warnings.take_from(&other);
    let mut diff = opened?;
    let mut printer = Printer::begin(session, args, other_store)?;
    let printed = print_entries(session, &manager, &mut diff, &mut printer).await;
    drop(progress);
    session.warnings.take_from(&other);
    // Also after an error: these records differ.
    let printed = printed.and(printer.buffer.flush());
    match (printed, diff.summary()) {
        (Err(failure), _) => Err(printer.fail(failure, &session.warnings.list())),
        // The output is a closed pipe: its reader has seen enough. Something was printed, so the snapshots differ.
        (Ok(()), None) => Ok(if args.exit_code { Exit::Failure } else { Exit::Success }),
        (Ok(()), Some(summary)) => {
            printer.end(session, other_store, summary)?;
            if !args.jsonl {
                print_summary(session, summary)?;
            }
            Ok(if args.exit_code && !summary.is_equal() { Exit::Failure } else { Exit::Success })
        }
    }
}

/// Opens the store of the second snapshot.
fn open_other(session: &Session, args: &Diff, to: &str) -> Result<SnapshotManager, Failure> {
    let chosen = session.chosen_as(to, "--to")?;
    let store = session.open_existing(&chosen, &args.to_options, "--to-option")?;
    SnapshotManager::with_store(chosen.config(), store).map_err(Failure::usage)
}

async fn print_entries(
    session: &Session,
    manager: &SnapshotManager,
    diff: &mut SnapshotDiff,
    printer: &mut Printer,
) -> Result<(), Failure> {
    let mut chunks = diff.ready_chunks(CHUNK_LEN);
    while let Some(chunk) = session.read(manager, async { Ok(chunks.next().await) }).await? {
        for entry in chunk {
            printer.entry(&entry?)?;
        }
        if printer.buffer.is_closed {
            break;
        }
    }
    Ok(())
}

/// Prints the records that differ, in one of the forms.
struct Printer {
    form: Form,
    buffer: OutputBuffer,
}

enum Form {
    /// Only the counts are printed.
    Counts,
    Lines,
    JsonLines,
    /// The array of a JSON document.
    Document(StreamedDocument),
}

impl Printer {
    fn begin(session: &Session, args: &Diff, other_store: &str) -> Result<Self, Failure> {
        let output = session.output;
        let form = match (args.list, args.jsonl) {
            (_, true) => Form::JsonLines,
            (true, _) if output.json => {
                Form::Document(StreamedDocument::begin(session, &DiffBegin { other_store }, "changes")?)
            }
            (true, _) => Form::Lines,
            (false, false) => Form::Counts,
        };
        Ok(Self { form, buffer: OutputBuffer::new(output) })
    }

    fn entry(&mut self, entry: &DiffEntry) -> Result<(), Failure> {
        match &mut self.form {
            Form::Counts => return Ok(()),
            Form::Lines => {
                let line = format!("{:<LABEL_COLUMNS$}{}\n", words(entry.change), plain(&entry.id));
                self.buffer.bytes.extend_from_slice(line.as_bytes());
            }
            Form::JsonLines => {
                serde_json::to_writer(&mut self.buffer.bytes, &ChangeDocument::from(entry)).map_err(unwritten)?;
                self.buffer.bytes.push(b'\n');
            }
            Form::Document(document) => {
                self.buffer.bytes.extend_from_slice(document.next_item().as_bytes());
                serde_json::to_writer(&mut self.buffer.bytes, &ChangeDocument::from(entry)).map_err(unwritten)?;
            }
        }
        self.buffer.flush_if_full()
    }

    /// Prints the document, or the end of it.
    fn end(self, session: &Session, other_store: &str, summary: &DiffSummary) -> Result<(), Failure> {
        let end = DiffEnd::from(summary);
        match self.form {
            Form::Document(document) => document.end(&end, &session.warnings.list()),
            Form::JsonLines => Ok(()),
            Form::Counts | Form::Lines => session.document(&DiffCounts { begin: DiffBegin { other_store }, end }),
        }
    }

    fn fail(self, failure: Failure, warnings: &[String]) -> Failure {
        match self.form {
            Form::Document(document) => document.fail(&NoMembers {}, failure, warnings),
            _ => failure,
        }
    }
}

fn unwritten(error: serde_json::Error) -> Failure {
    Failure::output(&io::Error::from(error))
}

fn print_summary(session: &Session, summary: &DiffSummary) -> Result<(), Failure> {
    let output = session.output;
    let field = |label: &str, value: String| output.line(format_args!("{label:<LABEL_COLUMNS$}{value}"));
    for (label, DiffedSnapshot { id, name, .. }) in [("first", &summary.first), ("second", &summary.second)] {
        field(label, format!("{}  {}", session.short(id), output.fitted(name, NAME_COLUMNS)))?;
    }
    for (change, number) in [
        (RecordChange::Added, summary.added),
        (RecordChange::Removed, summary.removed),
        (RecordChange::Vector, summary.vector_changed),
        (RecordChange::Metadata, summary.metadata_changed),
        (RecordChange::VectorAndMetadata, summary.vector_and_metadata_changed),
    ] {
        field(words(change), crate::output::count(number))?;
    }
    field("unchanged", crate::output::count(summary.unchanged))?;
    let (first, second) = (&summary.first, &summary.second);
    if first.dimensions != second.dimensions {
        field("dimensions", format!("{}, then {}", first.dimensions, second.dimensions))?;
    }
    if first.distance_metric != second.distance_metric {
        let metric = |snapshot: &DiffedSnapshot| snapshot.distance_metric.clone().unwrap_or_else(|| "none".to_owned());
        field("metric", format!("{}, then {}", metric(first), metric(second)))?;
    }
    if summary.irregular_rows_differ {
        field("irregular rows", "differ; which ones is not compared".to_owned())?;
    }
    field("read", size(summary.read_bytes))?;
    match (summary.is_equal(), summary.differences()) {
        (true, _) => {
            field("compared", "the content checksums; `verify` reads the data".to_owned())?;
            output.line("the snapshots are equal")
        }
        (false, 0) => output.line("the snapshots have the same records, and differ otherwise"),
        (false, 1) => output.line("1 record differs"),
        (false, differences) => output.line(format_args!("{} differ", counted(differences, "record"))),
    }
}

fn words(change: RecordChange) -> &'static str {
    match change {
        RecordChange::Added => "added",
        RecordChange::Removed => "removed",
        RecordChange::Vector => "vector changed",
        RecordChange::Metadata => "metadata changed",
        RecordChange::VectorAndMetadata => "both changed",
        _ => "changed",
    }
}

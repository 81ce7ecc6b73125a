//! `dump`: prints the records of a snapshot, as JSON Lines or as one JSON document.

use std::collections::BTreeSet;
use std::io;

use clap::Args;
use futures::TryStreamExt as _;
use ruvector_snapshot::{ErrorKind, Record, RecordStream, SnapshotManager, StreamOptions};

use crate::documents::{DumpBegin, DumpEnd, RecordBegin};
use crate::failure::{Exit, Failure};
use crate::output::{count, counted};
use crate::selection::Selection;
use crate::session::Session;
use crate::streamed::{OutputBuffer, StreamedDocument};

pub(crate) const HELP: &str = "\
Prints each record as one line of JSON, in the order of the bytes of the ids:
  {\"id\":\"doc-1\",\"vector\":[0.25,-1.5],\"metadata\":{\"lang\":\"de\"}}
A value of a vector has as few digits as a 32-bit float needs to be read back with the same bits. The metadata is printed as it is stored, as canonical \
JSON; null if there is none. NaN and infinite values, which JSON does not have, are printed as null, with a warning. Irregular rows are not records: they \
are not printed, and a warning counts them.

The digest of every record is verified before it is printed. At the end of a dump of all records, their content checksum is compared: if it is not that of the \
snapshot, the command fails, after it has printed them.

With --id or --ids-from, only the parts of the snapshot that can hold these records are read. `restore --help` explains --where. An id that is not in the snapshot is an error at the end, after the others \
were printed. If no record fulfils the conditions, nothing is printed, with a warning. A dump that was interrupted goes on with --after \
and the last id that was printed. If the output failed, for example because a disk was full, its last line may be cut: remove that line first. With --json, the records are the array `records` of one document.

Examples:
  ruvector-snapshot dump latest > records.jsonl
  ruvector-snapshot dump latest --id doc-17 --id doc-18
  ruvector-snapshot dump nightly | jq -r 'select(.metadata.lang == \"de\").id'
  ruvector-snapshot dump latest --after doc-17 >> records.jsonl

Exit codes: 0 all were printed, or the reader has closed the pipe; 1 failure, or an id is not in the snapshot; 2 wrong usage; 3 the snapshot is corrupt; 4 there \
is no such snapshot; 5 all were printed, with warnings.";

#[derive(Debug, Args)]
pub(crate) struct Dump {
    /// An id, a prefix of an id, a name, or latest
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) selection: Selection,
    /// Print only records whose ids come after this one, for example the last one of a dump that was interrupted
    #[arg(long, value_name = "RECORD_ID")]
    pub(crate) after: Option<String>,
}

/// Ids that an error names.
const IDS_NAMED: usize = 10;

pub(crate) async fn dump(session: &Session, args: &Dump) -> Result<Exit, Failure> {
    let manager = session.open()?;
    let id = session.resolve(&manager, &args.id).await?;
    let filter = args.selection.filter(session).await?.unwrap_or_default();
    let is_whole = filter.accepts_everything();
    let asked = filter.ids.as_ref().map_or(0, BTreeSet::len);
    let mut options = StreamOptions::default().filter(filter).progress(session.warnings.listener());
    options.after.clone_from(&args.after);
    let mut records = manager.restore_stream(&id, options);
    let mut printer = Printer::begin(session, &id)?;
    let printed = print_records(session, &manager, &mut records, &mut printer).await;
    // Also after an error: these records were verified.
    let printed = printed.and(printer.buffer.flush());
    printer.warn(session);
    if let (Some(after), 0, true, true) = (&args.after, printer.printed, printed.is_ok(), is_whole) {
        session
            .warnings
            .add(&format!("no record comes after {after:?}, so nothing was printed; check the id of --after"));
    }
    let missing = records.missing_ids();
    // Without an end of the stream, ids that were not found yet are not known to be missing.
    let failure = match (printed, records.proof()) {
        (Err(failure), _) => Some(explained(failure, printer.printed)),
        (Ok(()), Some(_)) if !missing.is_empty() => Some(not_found(&id, &missing, asked)),
        (Ok(()), _) => None,
    };
    let end = DumpEnd { printed: printer.printed, proof: records.proof().map(Into::into) };
    printer.end(session, &end, failure)
}

async fn print_records(
    session: &Session,
    manager: &SnapshotManager,
    records: &mut RecordStream,
    printer: &mut Printer,
) -> Result<(), Failure> {
    while let Some(batch) = session.read(manager, records.try_next()).await? {
        batch.records().try_for_each(|record| printer.record(record))?;
        if printer.buffer.is_closed {
            return Ok(());
        }
    }
    Ok(())
}

/// Prints records, and counts them.
struct Printer {
    /// The document, if the output is JSON.
    document: Option<StreamedDocument>,
    buffer: OutputBuffer,
    printed: u64,
    /// Records with values that JSON does not have, and the id of the first.
    not_finite: u64,
    first_not_finite: Option<String>,
}

impl Printer {
    fn begin(session: &Session, id: &str) -> Result<Self, Failure> {
        let output = session.output;
        let document = match output.json {
            true => Some(StreamedDocument::begin(session, &DumpBegin { id }, "records")?),
            false => None,
        };
        Ok(Self { document, buffer: OutputBuffer::new(output), printed: 0, not_finite: 0, first_not_finite: None })
    }

    fn record(&mut self, record: Record<'_>) -> Result<(), Failure> {
        let before = self.document.as_mut().map_or("", StreamedDocument::next_item);
        self.buffer.bytes.extend_from_slice(before.as_bytes());
        let printed = RecordBegin { id: record.id, vector: record.values().collect() };
        if printed.vector.iter().any(|value| !value.is_finite()) {
            self.not_finite += 1;
            self.first_not_finite.get_or_insert_with(|| record.id.to_owned());
        }
        // Values that are not finite are written as null.
        serde_json::to_writer(&mut self.buffer.bytes, &printed)
            .map_err(|error| Failure::output(&io::Error::from(error)))?;
        // The metadata is one more member of the same object.
        let bytes = &mut self.buffer.bytes;
        bytes.truncate(bytes.len().saturating_sub(1));
        bytes.extend_from_slice(br#","metadata":"#);
        self.buffer.push(record.metadata.unwrap_or("null").as_bytes())?;
        self.buffer.bytes.extend_from_slice(if self.document.is_some() { b"}" } else { b"}\n" });
        self.printed += 1;
        self.buffer.flush_if_full()
    }

    /// Warns of values that JSON does not have.
    fn warn(&self, session: &Session) {
        let Some(first) = &self.first_not_finite else { return };
        session.warnings.add(&format!(
            "{} with values that JSON cannot hold, NaN or infinite, which were printed as null; the first is {first:?}. \
             A restore keeps these values",
            counted(self.not_finite, "record"),
        ));
    }

    /// Prints the end of the document, if there is one, and returns how the run ends.
    fn end(self, session: &Session, end: &DumpEnd, failure: Option<Failure>) -> Result<Exit, Failure> {
        let warnings = session.warnings.list();
        match (self.document, failure) {
            (None, None) => Ok(Exit::Success),
            (None, Some(failure)) => Err(failure),
            (Some(document), Some(failure)) => Err(document.fail(end, failure, &warnings)),
            (Some(document), None) => document.end(end, &warnings).map(|()| Exit::Success),
        }
    }
}

/// Returns the failure for ids that are in no record.
fn not_found(snapshot_id: &str, missing: &[String], asked: usize) -> Failure {
    let named: Vec<_> = missing.iter().take(IDS_NAMED).map(|id| format!("{id:?}")).collect();
    let more = match missing.len().saturating_sub(named.len()) as u64 {
        0 => String::new(),
        more => format!(" and {} more", count(more)),
    };
    let (number, asked, named) = (count(missing.len() as u64), count(asked as u64), named.join(", "));
    let message = match (missing.len(), asked.as_str()) {
        (_, "1") => format!("the id {named} is not in snapshot {snapshot_id}"),
        (1, _) => format!("1 of {asked} ids is not in snapshot {snapshot_id}: {named}"),
        _ => format!("{number} of {asked} ids are not in snapshot {snapshot_id}: {named}{more}"),
    };
    Failure::new(ErrorKind::NotFound, message).with_hint("`find RECORD_ID` shows which snapshots have a record")
}

fn explained(failure: Failure, printed: u64) -> Failure {
    match failure.exit() {
        Exit::Corruption => failure.with_hint(format!(
            "{} printed before that, and they are not all; `verify` shows everything that is corrupt, and another snapshot \
             may be intact",
            if printed == 1 { "1 record was".to_owned() } else { format!("{} records were", count(printed)) }
        )),
        _ => failure,
    }
}

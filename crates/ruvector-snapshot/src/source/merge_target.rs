//! A database file that records are merged into, in one transaction. The file must be closed: the transaction holds its
//! lock, as Ruvector does while it has a database open.

#![allow(clippy::result_large_err, reason = "redb's own error is large; it is converted where it occurs")]

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};

use redb::{Database, DatabaseError, ReadableTable as _, WriteTransaction};
use ruvector_snapshot_format::embedding::EmbeddingInfo;
use ruvector_snapshot_format::model::{DatabaseInfo, Record};
use ruvector_snapshot_format::payloads;
use serde::{Deserialize, Serialize};

use super::SourceReader as _;
use super::destination::is_locked;
use super::destination_checks::{Checks, Finding, Purpose};
use super::embedding::other_embedding;
use super::file::{FileOptions, FileReader, RowLookup, append_vector};
use super::file_system::FileSystem;
use super::target::{CACHE_BYTES, METADATA, VECTORS, redb_error};
use super::temporary::directory;
use crate::error::{ErrorKind, Remedy, Result, SnapshotError};

/// What a commit that failed means.
const UNCERTAIN: &str = "cannot commit the merge; the database has either all of the merged records or none of them";

/// What it means for the file that a merge was not committed: redb makes a file larger before a commit.
pub(crate) const NO_RECORD_CHANGED: &str = "no record of the database was changed; the file may be larger";

/// What happens to a record of the snapshot if the database has another record with the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OnConflict {
    /// Nothing is merged, and the error says how many there are.
    #[default]
    Fail,
    /// The record of the database stays as it is.
    Keep,
    /// The record of the snapshot replaces that of the database.
    Replace,
}

/// How many records a merge has put into a database, or would put there, and what it does with the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MergeCounts {
    /// Records whose ids the database did not have.
    pub inserted: u64,
    /// Records that have replaced other records of the database.
    pub replaced: u64,
    /// Records that are not merged, because the database has other records with their ids. A plan with [`OnConflict::Fail`]
    /// counts here what the merge fails for.
    pub kept: u64,
    /// Records that the database had already, with the same vector and the same metadata.
    pub same: u64,
}

/// What becomes of the records that are merged. A merge and its plan decide it here.
#[derive(Debug, Default)]
struct Decisions {
    on_conflict: OnConflict,
    counts: MergeCounts,
    /// Bytes of the records that are written.
    written_bytes: u64,
    /// The first record that differs.
    first_conflict: Option<String>,
    /// The vector of the current record, as the database stores it.
    value: Vec<u8>,
}

impl Decisions {
    fn new(on_conflict: OnConflict) -> Self {
        Self { on_conflict, ..Self::default() }
    }

    /// Counts a record, and returns whether it is written. `own` are the rows that the database has of its id.
    fn add(&mut self, record: Record<'_>, own: [Option<&[u8]>; 2]) -> bool {
        self.value.clear();
        append_vector(record.vector, &mut self.value);
        let [vector, metadata] = own;
        let has_same = vector == Some(self.value.as_slice()) && is_same_metadata(record, metadata);
        let (counted, is_written) = match self.on_conflict {
            _ if own == [None, None] => (&mut self.counts.inserted, true),
            _ if has_same => (&mut self.counts.same, false),
            OnConflict::Replace => (&mut self.counts.replaced, true),
            OnConflict::Keep | OnConflict::Fail => {
                self.first_conflict.get_or_insert_with(|| record.id.to_owned());
                (&mut self.counts.kept, false)
            }
        };
        *counted += 1;
        if is_written {
            let bytes = self.value.len() + record.id.len() + record.metadata.map_or(0, str::len);
            self.written_bytes = self.written_bytes.saturating_add(bytes as u64);
        }
        is_written
    }

    /// Refuses records that differ, if none may. `outcome` is what that means for the file.
    fn check(&self, path: &Path, outcome: &str) -> Result<()> {
        match &self.first_conflict {
            Some(first) if self.on_conflict == OnConflict::Fail => {
                Err(conflicts(path, self.counts.kept, first, outcome))
            }
            _ => Ok(()),
        }
    }
}

/// A database that records would be merged into. Nothing is written. Its lock is taken only for a moment, to find out whether
/// a program has it open.
#[derive(Debug)]
pub(crate) struct MergePreview {
    // Has the file that the lookup reads.
    _reader: FileReader,
    rows: RowLookup,
    path: PathBuf,
    decisions: Decisions,
}

/// The checks of the database, in this order.
pub(crate) const DATABASE: &str = "database";
const OPEN_ELSEWHERE: &str = "open elsewhere";
const WRITABLE: &str = "writable";
const SPACE: &str = "dimensions and metric";
const EMBEDDING: &str = "embedding";

impl MergePreview {
    /// Checks that records of a database with this description can be merged into a database file. Writes nothing. `None` if
    /// a check has failed: then there is nothing to compare. `records` is `None` if the snapshot cannot be read.
    ///
    /// The errors are those of [`MergeTarget::open`].
    pub(crate) fn check(
        path: &Path,
        records: Option<&DatabaseInfo>,
        (on_conflict, accepts_other_embedding): (OnConflict, bool),
        purpose: Purpose,
    ) -> (Option<Self>, Checks) {
        let mut checks = Checks::new(purpose);
        let reader = match FileReader::open(path, &FileOptions::default()) {
            Ok(reader) => reader,
            Err(error) => {
                if checks.add(DATABASE, Err(unusable(error))) {
                    let others = [OPEN_ELSEWHERE, WRITABLE, SPACE, EMBEDDING];
                    checks.add_not_made(others, "the database cannot be read");
                }
                return (None, checks);
            }
        };
        let own = reader.database();
        let fits = |check: &dyn Fn(&DatabaseInfo) -> Result<Option<String>>| match records.map(check).transpose()? {
            None => Ok(Finding::NotMade("the snapshot cannot be read")),
            Some(None) => Ok(Finding::Passed),
            Some(Some(warning)) => Ok(Finding::Doubtful(warning)),
        };
        let _all_made = checks.add(DATABASE, Ok(Finding::Passed))
            && checks.add(OPEN_ELSEWHERE, check_closed(path))
            && checks.add(WRITABLE, check_writable(path))
            && checks.add(SPACE, fits(&|records| check_same_space(path, own, records).map(|()| None)))
            && checks
                .add(EMBEDDING, fits(&|records| check_same_embedding(path, own, records, accepts_other_embedding)));
        let rows = reader.row_lookup();
        let (path, decisions) = (path.to_owned(), Decisions::new(on_conflict));
        (checks.have_passed().then_some(Self { _reader: reader, rows, path, decisions }), checks)
    }

    /// Counts what would become of records, whose ids must ascend from call to call.
    pub(crate) fn put(&mut self, records: &mut dyn Iterator<Item = Record<'_>>) -> Result<()> {
        for record in records {
            let own = self.rows.get(record.id).map_err(unusable)?;
            self.decisions.add(record, own);
        }
        Ok(())
    }

    pub(crate) fn counts(&self) -> MergeCounts {
        self.decisions.counts
    }

    /// Returns the path of the database, with symbolic links followed.
    pub(crate) fn path(&self) -> PathBuf {
        self.path.canonicalize().unwrap_or_else(|_| self.path.clone())
    }

    /// Returns the bytes that the file system of the database has left.
    pub(crate) fn free_bytes(&self) -> Option<u64> {
        FileSystem::of_directory(directory(&self.path())).available_bytes
    }

    /// Fails with the error that the commit would fail with.
    pub(crate) fn check_conflicts(&self) -> Result<()> {
        self.decisions.check(&self.path, "nothing would be merged")
    }

    /// Checks that there is room for the records that would be written. The file can have room of its own.
    pub(crate) fn check_space(&self) -> Finding {
        let bytes = self.decisions.written_bytes;
        match self.free_bytes() {
            Some(left) if left < bytes => Finding::Doubtful(format!(
                "the merged records have {bytes} bytes, and the file system of the database has {left} bytes left; if that is \
                 too little, the merge will fail"
            )),
            _ => Finding::Passed,
        }
    }
}

/// Reads a database to its end, which compares the checksum of each page. A commit to a corrupt database would give corrupt pages new
/// checksums, and hide it.
fn check_intact(reader: &mut FileReader) -> Result<()> {
    while reader.next_record().map_err(unusable)?.is_some() {}
    while reader.next_irregular().map_err(unusable)?.is_some() {}
    Ok(())
}

/// Checks that no program has the database open.
fn check_closed(path: &Path) -> Result<Finding> {
    // What cannot be opened is reported by the next check.
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    match is_locked(&real) {
        Ok(true) => Err(open_elsewhere(path)),
        Ok(false) => Ok(Finding::Passed),
        Err(_) => Ok(Finding::NotMade("the file cannot be opened")),
    }
}

/// Checks that the file can be opened as redb opens it. That changes nothing.
fn check_writable(path: &Path) -> Result<Finding> {
    let opened = OpenOptions::new().read(true).write(true).open(path);
    opened.map(|_| Finding::Passed).map_err(|error| cannot_open(path, redb::Error::Io(error)))
}

/// A transaction on the database. Dropping it changes no record. The file may stay larger.
pub(crate) struct MergeTarget {
    // Fields are dropped in this order: redb closes a database only after its transaction is gone.
    transaction: WriteTransaction,
    database: Database,
    path: PathBuf,
    decisions: Decisions,
}

impl MergeTarget {
    /// Opens a database for records of a database with this description.
    ///
    /// # Errors
    ///
    /// Returns `NotFound` if there is no file, `Busy` if a program has it open, and `InvalidInput` if it is no database, or
    /// one of other dimensions, with another metric, or of another embedding identity, unless that is accepted. Then there is
    /// a warning.
    pub(crate) fn open(
        path: &Path,
        records: &DatabaseInfo,
        on_conflict: OnConflict,
        accepts_other_embedding: bool,
    ) -> Result<(Self, Option<String>)> {
        // redb writes to what it opens. This shows first, without writing, what a plan would show.
        let choices = (on_conflict, accepts_other_embedding);
        let (_, checks) = MergePreview::check(path, Some(records), choices, Purpose::Apply);
        checks.into_vec().into_iter().try_for_each(|check| check.verdict.map(drop))?;
        let database = match redb::Builder::new().set_cache_size(CACHE_BYTES).open(path) {
            Ok(database) => database,
            Err(DatabaseError::DatabaseAlreadyOpen) => return Err(open_elsewhere(path)),
            Err(error) => return Err(cannot_open(path, error.into())),
        };
        // Read again under the lock: the file can be another one by now.
        let mut reader = FileReader::open(path, &FileOptions::default()).map_err(unusable)?;
        check_intact(&mut reader)?;
        check_same_space(path, reader.database(), records)?;
        let warning = check_same_embedding(path, reader.database(), records, accepts_other_embedding)?;
        let transaction = database.begin_write().map_err(|error| cannot_open(path, error.into()))?;
        let (path, decisions) = (path.to_owned(), Decisions::new(on_conflict));
        Ok((Self { transaction, database, path, decisions }, warning))
    }

    /// Merges records.
    pub(crate) fn put(&mut self, records: &mut dyn Iterator<Item = Record<'_>>) -> Result<()> {
        let Self { transaction, decisions, path, .. } = self;
        let merge = || -> Result<(), redb::Error> {
            let mut vectors = transaction.open_table(VECTORS)?;
            let mut metadata = transaction.open_table(METADATA)?;
            for record in records {
                let id = record.id.as_bytes();
                let is_written = {
                    let (own_vector, own_metadata) = (vectors.get(id)?, metadata.get(id)?);
                    let own =
                        [own_vector.as_ref().map(|own| own.value()), own_metadata.as_ref().map(|own| own.value())];
                    decisions.add(record, own)
                };
                if is_written {
                    vectors.insert(id, decisions.value.as_slice())?;
                    match record.metadata {
                        Some(text) => drop(metadata.insert(id, text.as_bytes())?),
                        None => drop(metadata.remove(id)?),
                    }
                }
            }
            Ok(())
        };
        let failed = |error| redb_error("cannot write to the database", error).with_key(shown(path));
        merge().map_err(|error| unusable(failed(error)))
    }

    /// Commits, and returns what was done.
    ///
    /// # Errors
    ///
    /// Returns `AlreadyExists` if records differ and none may; then no record has changed.
    pub(crate) fn commit(self) -> Result<MergeCounts> {
        let Self { transaction, database, path, decisions } = self;
        if let Err(error) = decisions.check(&path, &format!("nothing was merged: {NO_RECORD_CHANGED}")) {
            // In this order, see above.
            drop(transaction);
            drop(database);
            return Err(error);
        }
        let committed = transaction.commit();
        drop(database);
        let failed = |error: redb::CommitError| redb_error(UNCERTAIN, error.into());
        committed.map_err(|error| unusable(failed(error).with_key(shown(&path))))?;
        Ok(decisions.counts)
    }
}

impl std::fmt::Debug for MergeTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MergeTarget")
            .field("path", &self.path)
            .field("counts", &self.decisions.counts)
            .finish_non_exhaustive()
    }
}

/// Returns whether the metadata of a record has the same canonical form as that of the database.
fn is_same_metadata(record: Record<'_>, own: Option<&[u8]>) -> bool {
    let Some(own) = own else { return record.metadata.is_none() };
    let own = std::str::from_utf8(own).ok().and_then(|text| payloads::canonical_of(record.id, text).ok());
    own.is_some_and(|own| record.metadata == Some(&*own))
}

/// Checks that vectors of two databases can be compared with each other.
fn check_same_space(path: &Path, own: &DatabaseInfo, records: &DatabaseInfo) -> Result<()> {
    if (own.dimensions, &own.distance_metric) == (records.dimensions, &records.distance_metric) {
        return Ok(());
    }
    let described = |database: &DatabaseInfo| {
        let metric = database.distance_metric.as_deref().unwrap_or("a metric that is not recorded");
        format!("{} dimensions and {metric}", database.dimensions)
    };
    let message = format!(
        "cannot merge into this database: it has {}, and the snapshot has {}; restore to a new file instead",
        described(own),
        described(records)
    );
    Err(SnapshotError::new(ErrorKind::InvalidInput, message).with_key(shown(path)))
}

/// Checks that both databases record the same embedding space, if both record one.
fn check_same_embedding(
    path: &Path,
    own: &DatabaseInfo,
    records: &DatabaseInfo,
    accepts_other: bool,
) -> Result<Option<String>> {
    let [own, records] = [own, records].map(|database| EmbeddingInfo::recorded_in(&database.rows));
    let differences = own.differences(&records);
    if differences.is_empty() {
        return Ok(None);
    }
    let between = ["the database", "the snapshot"];
    let checked = other_embedding("merge into this database", between, &differences, accepts_other);
    checked.map(Some).map_err(|error| error.with_key(shown(path)))
}

/// Says what can be done if the database is missing or corrupt. A caller could take it for the snapshot.
fn unusable(error: SnapshotError) -> SnapshotError {
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::Corrupt => error.with_remedy(Remedy::NewFile, "restore to a new file instead"),
        _ => error,
    }
}

fn cannot_open(path: &Path, error: redb::Error) -> SnapshotError {
    unusable(redb_error("cannot open the database", error).with_key(shown(path)))
}

fn open_elsewhere(path: &Path) -> SnapshotError {
    let message = "a program has this database open; nothing was merged. Stop it first";
    SnapshotError::new(ErrorKind::Busy, message).with_key(shown(path))
}

fn conflicts(path: &Path, conflicts: u64, first: &str, outcome: &str) -> SnapshotError {
    let differ = match conflicts {
        1 => format!("1 record of the snapshot differs from the record with the same id in the database, {first:?}"),
        _ => format!(
            "{conflicts} records of the snapshot differ from records with the same ids in the database, for example {first:?}"
        ),
    };
    SnapshotError::new(ErrorKind::AlreadyExists, format!("{differ}; {outcome}"))
        .with_key(shown(path))
        .with_remedy(Remedy::OnConflict, "choose OnConflict::Keep or OnConflict::Replace")
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

//! A database file that records are merged into, in one transaction. The file must be closed: the transaction holds its
//! lock, as Ruvector does while it has a database open.

#![allow(clippy::result_large_err, reason = "redb's own error is large; it is converted where it occurs")]

use std::path::{Path, PathBuf};

use redb::{Database, DatabaseError, ReadableTable as _, WriteTransaction};
use ruvector_snapshot_format::embedding::EmbeddingInfo;
use ruvector_snapshot_format::model::{DatabaseInfo, Record};
use ruvector_snapshot_format::payloads;

use super::SourceReader as _;
use super::embedding::other_embedding;
use super::file::{FileOptions, FileReader, append_vector};
use super::target::{CACHE_BYTES, METADATA, VECTORS, redb_error};
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

/// How many records a merge has put into a database, and what it did with the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct MergeCounts {
    /// Records whose ids the database did not have.
    pub inserted: u64,
    /// Records that have replaced other records of the database.
    pub replaced: u64,
    /// Records that were not merged, because the database has other records with their ids.
    pub kept: u64,
    /// Records that the database had already, with the same vector and the same metadata.
    pub same: u64,
}

/// A transaction on the database. Dropping it changes no record. The file may stay larger.
pub(crate) struct MergeTarget {
    // Fields are dropped in this order: redb closes a database only after its transaction is gone.
    transaction: WriteTransaction,
    database: Database,
    path: PathBuf,
    on_conflict: OnConflict,
    counts: MergeCounts,
    /// The first record that differs.
    first_conflict: Option<String>,
    value: Vec<u8>,
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
        // redb writes to what it opens. This shows first, without writing, that it is a database of Ruvector.
        drop(FileReader::open(path, &FileOptions::default()).map_err(unusable)?);
        let failed = |error: redb::Error| unusable(redb_error("cannot open the database", error).with_key(shown(path)));
        let database = match redb::Builder::new().set_cache_size(CACHE_BYTES).open(path) {
            Ok(database) => database,
            Err(DatabaseError::DatabaseAlreadyOpen) => return Err(open_elsewhere(path)),
            Err(error) => return Err(failed(error.into())),
        };
        // Read again under the lock: the file can be another one by now.
        let reader = FileReader::open(path, &FileOptions::default()).map_err(unusable)?;
        check_same_space(path, reader.database(), records)?;
        let warning = check_same_embedding(reader.database(), records, accepts_other_embedding)
            .map_err(|error| error.with_key(shown(path)))?;
        let transaction = database.begin_write().map_err(|error| failed(error.into()))?;
        let (counts, value) = (MergeCounts::default(), Vec::new());
        let path = path.to_owned();
        Ok((Self { transaction, database, path, on_conflict, counts, first_conflict: None, value }, warning))
    }

    /// Merges records.
    pub(crate) fn put(&mut self, records: &mut dyn Iterator<Item = Record<'_>>) -> Result<()> {
        let Self { transaction, on_conflict, counts, first_conflict, value, .. } = self;
        let merge = || -> Result<(), redb::Error> {
            let mut vectors = transaction.open_table(VECTORS)?;
            let mut metadata = transaction.open_table(METADATA)?;
            for record in records {
                let id = record.id.as_bytes();
                value.clear();
                append_vector(record.vector, value);
                let (own_vector, own_metadata) = (vectors.get(id)?, metadata.get(id)?);
                let is_new = own_vector.is_none() && own_metadata.is_none();
                let has_same = own_vector.is_some_and(|own| own.value() == value.as_slice())
                    && is_same_metadata(record, own_metadata.as_ref().map(|own| own.value()));
                drop(own_metadata);
                match (is_new, has_same, *on_conflict) {
                    (true, ..) => counts.inserted += 1,
                    (_, true, _) => counts.same += 1,
                    (.., OnConflict::Replace) => counts.replaced += 1,
                    (.., OnConflict::Keep | OnConflict::Fail) => {
                        counts.kept += 1;
                        first_conflict.get_or_insert_with(|| record.id.to_owned());
                    }
                }
                if is_new || (!has_same && *on_conflict == OnConflict::Replace) {
                    vectors.insert(id, value.as_slice())?;
                    match record.metadata {
                        Some(text) => drop(metadata.insert(id, text.as_bytes())?),
                        None => drop(metadata.remove(id)?),
                    }
                }
            }
            Ok(())
        };
        let failed = |error| redb_error("cannot write to the database", error).with_key(shown(&self.path));
        merge().map_err(|error| unusable(failed(error)))
    }

    /// Commits, and returns what was done.
    ///
    /// # Errors
    ///
    /// Returns `AlreadyExists` if records differ and none may; then no record has changed.
    pub(crate) fn commit(self) -> Result<MergeCounts> {
        let Self { transaction, database, path, on_conflict, counts, first_conflict, .. } = self;
        if on_conflict == OnConflict::Fail
            && let Some(first) = first_conflict
        {
            // In this order, see above.
            drop(transaction);
            drop(database);
            return Err(conflicts(&path, counts.kept, &first));
        }
        let committed = transaction.commit();
        drop(database);
        let failed = |error: redb::CommitError| redb_error(UNCERTAIN, error.into());
        committed.map_err(|error| unusable(failed(error).with_key(shown(&path))))?;
        Ok(counts)
    }
}

impl std::fmt::Debug for MergeTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MergeTarget").field("path", &self.path).field("counts", &self.counts).finish_non_exhaustive()
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
fn check_same_embedding(own: &DatabaseInfo, records: &DatabaseInfo, accepts_other: bool) -> Result<Option<String>> {
    let [own, records] = [own, records].map(|database| EmbeddingInfo::recorded_in(&database.rows));
    let differences = own.differences(&records);
    if differences.is_empty() {
        return Ok(None);
    }
    let between = ["the database", "the snapshot"];
    other_embedding("merge into this database", between, &differences, accepts_other).map(Some)
}

/// Says what can be done if the database is missing or corrupt. A caller could take it for the snapshot.
fn unusable(error: SnapshotError) -> SnapshotError {
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::Corrupt => error.with_remedy(Remedy::NewFile, "restore to a new file instead"),
        _ => error,
    }
}

fn open_elsewhere(path: &Path) -> SnapshotError {
    let message = "a program has this database open; nothing was merged. Stop it first";
    SnapshotError::new(ErrorKind::Busy, message).with_key(shown(path))
}

fn conflicts(path: &Path, conflicts: u64, first: &str) -> SnapshotError {
    let differ = match conflicts {
        1 => format!("1 record of the snapshot differs from the record with the same id in the database, {first:?}"),
        _ => format!(
            "{conflicts} records of the snapshot differ from records with the same ids in the database, for example {first:?}"
        ),
    };
    let message = format!("{differ}; nothing was merged: {NO_RECORD_CHANGED}");
    SnapshotError::new(ErrorKind::AlreadyExists, message)
        .with_key(shown(path))
        .with_remedy(Remedy::OnConflict, "choose OnConflict::Keep or OnConflict::Replace")
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

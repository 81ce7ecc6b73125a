//! The restore targets of this crate: a new database file, and a new `VectorDB` in memory.

#![allow(clippy::result_large_err, reason = "redb's own error is large; it is converted where it occurs")]

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use redb::{Database, StorageBackend, TableDefinition, WriteTransaction};
use ruvector_core::VectorDB;
use ruvector_core::types::VectorEntry;
use ruvector_snapshot_format::irregular::{IrregularItem, IrregularTable};
use ruvector_snapshot_format::large::LARGE_ROW_BYTES;
use ruvector_snapshot_format::model::{DatabaseInfo, Record};

use super::destination::Destination;
use super::file::{FileOptions, FileReader, append_vector};
use super::raw_table::{RawText, TypedTable, check_restorable};
use super::temporary::{Temporary, replaced};
use super::{OPTIONS_ROW, RestoreTarget, SourceReader as _, database_error, database_options};
use crate::error::{ErrorKind, Result, SnapshotError, corrupt};

pub(super) const VECTORS: TableDefinition<'_, RawText, &[u8]> = TableDefinition::new("vectors");
pub(super) const METADATA: TableDefinition<'_, RawText, RawText> = TableDefinition::new("metadata");
const CONFIG: TableDefinition<'_, RawText, RawText> = TableDefinition::new("config");

/// Size of the irregular rows that are written together.
const IRREGULAR_BYTES: usize = 1 << 20;
/// Size of the large rows that the cache of redb may hold.
const LARGE_BYTES_CACHED: usize = 16 << 20;
/// Bytes of a large page that are read together.
const CHUNK_BYTES: usize = 1 << 20;
static ZEROS: [u8; CHUNK_BYTES] = [0; CHUNK_BYTES];
/// Memory that redb may use as a cache while the file is written.
pub(crate) const CACHE_BYTES: usize = 128 << 20;

/// A database file that is built beside its destination, under a hidden name. It is removed when dropped.
pub(crate) struct FileTarget {
    // Fields are dropped in this order: the transaction, its database, then the file.
    /// `None` only after an error.
    written: Option<Written>,
    /// Size of the large rows since the last commit.
    large_bytes: usize,
    /// Whether redb may have large rows in its cache that were committed.
    has_large_cached: bool,
    temporary: Temporary,
    destination: Destination,
    value: Vec<u8>,
    irregular: Option<PendingRows>,
    written_bytes: Arc<AtomicU64>,
}

/// A database that is being written. Its fields are dropped in their order: redb closes a database only after its
/// transaction is gone, and would wait for it for ever.
struct Written {
    transaction: WriteTransaction,
    database: Database,
}

impl Written {
    /// Opens the database in a file, or creates it if the file is empty.
    fn open(file: &Arc<File>, written_bytes: &Arc<AtomicU64>) -> Result<Self, redb::Error> {
        let backend = LockedFile { file: file.clone(), written_bytes: written_bytes.clone() };
        let database = redb::Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(backend)?;
        Ok(Self { transaction: database.begin_write()?, database })
    }

    /// Commits and closes the database.
    fn close(self) -> Result<(), redb::Error> {
        self.transaction.commit()?;
        drop(self.database);
        Ok(())
    }
}

/// Rows of one table that are not written yet.
struct PendingRows {
    table: IrregularTable,
    rows: Vec<(Vec<u8>, Vec<u8>)>,
    bytes: usize,
}

/// A database file that is complete, closed and synced, but still beside its destination.
#[derive(Debug)]
pub(crate) struct FinishedFile {
    temporary: Temporary,
    destination: Destination,
    written_bytes: u64,
}

impl FileTarget {
    /// Starts a database in the temporary file.
    pub(crate) fn create(destination: Destination, temporary: Temporary) -> Result<Self> {
        let shown = destination.path().display();
        let failed =
            |error: redb::Error| redb_error("cannot create the database file", error).with_key(shown.to_string());
        let written_bytes = Arc::new(AtomicU64::new(0));
        let written = Some(Written::open(temporary.file(), &written_bytes).map_err(failed)?);
        let (value, irregular) = (Vec::new(), None);
        let (large_bytes, has_large_cached) = (0, false);
        Ok(Self { written, large_bytes, has_large_cached, temporary, destination, value, irregular, written_bytes })
    }

    /// Commits, closes the database and opens it again, with an empty cache.
    fn reopen(&mut self) -> Result<(), redb::Error> {
        if let Some(written) = self.written.take() {
            written.close()?;
        }
        self.written = Some(Written::open(self.temporary.file(), &self.written_bytes)?);
        self.has_large_cached = false;
        Ok(())
    }

    /// Commits, and goes on.
    fn commit(&mut self) -> Result<(), redb::Error> {
        if let Some(Written { transaction, database }) = self.written.take() {
            transaction.commit()?;
            self.written = Some(Written { transaction: database.begin_write()?, database });
        }
        (self.large_bytes, self.has_large_cached) = (0, true);
        Ok(())
    }

    /// Writes the description of the database, commits, closes and syncs.
    pub(crate) fn finish(mut self, description: &DatabaseInfo) -> Result<FinishedFile> {
        self.write_irregular()?;
        let mut options_row = None;
        if !description.rows.contains_key(OPTIONS_ROW) && description.distance_metric.is_some() {
            let options = database_options(description, &self.destination.path().display().to_string())?;
            options_row = Some(serde_json::to_string(&options).map_err(|error| {
                SnapshotError::new(ErrorKind::Internal, "cannot write the options of the database as JSON")
                    .with_source(error)
            })?);
        }
        let options_row = options_row.iter().map(|text| (OPTIONS_ROW, text));
        let config_rows = description.rows.iter().map(|(name, text)| (name.as_str(), text)).chain(options_row);
        let Self { destination, temporary, written, written_bytes, .. } = self;
        let shown = destination.path().display().to_string();
        let failed =
            |error: redb::Error| redb_error("cannot complete the database file", error).with_key(shown.as_str());
        let written = written.ok_or_else(closed)?;
        let write = || -> Result<(), redb::Error> {
            // All three tables exist even if they are empty, as in a database that Ruvector creates.
            written.transaction.open_table(VECTORS)?;
            written.transaction.open_table(METADATA)?;
            let mut config = written.transaction.open_table(CONFIG)?;
            for (name, value) in config_rows {
                config.insert(name.as_bytes(), value.as_bytes())?;
            }
            Ok(())
        };
        write().map_err(failed)?;
        written.close().map_err(failed)?;
        let synced = temporary.file().sync_all();
        synced.map_err(|error| SnapshotError::io(destination.path(), "sync the database file", error))?;
        Ok(FinishedFile { temporary, destination, written_bytes: written_bytes.load(Ordering::Relaxed) })
    }

    /// Writes the irregular rows that are pending.
    fn write_irregular(&mut self) -> Result<()> {
        let Some(PendingRows { table, rows, bytes }) = &mut self.irregular else { return Ok(()) };
        let transaction = &self.written.as_ref().ok_or_else(closed)?.transaction;
        check_restorable(table)?;
        let pending = rows.iter().map(|(key, value)| (key.as_slice(), value.as_slice()));
        let are_new = match table.name.as_str() {
            "vectors" => insert_all(transaction, VECTORS, pending),
            "metadata" => insert_all(transaction, METADATA, pending),
            "config" => insert_all(transaction, CONFIG, pending),
            _ => TypedTable::new(table).map_or(Ok(true), |typed| typed.append(transaction, pending)),
        };
        let failed = |error| {
            redb_error("cannot write the database file", error).with_key(self.destination.path().display().to_string())
        };
        if !are_new.map_err(failed)? {
            return Err(twice(&table.name));
        }
        rows.clear();
        let bytes = std::mem::take(bytes);
        self.large_bytes += if bytes > LARGE_ROW_BYTES { bytes } else { 0 };
        Ok(())
    }
}

fn closed() -> SnapshotError {
    SnapshotError::new(ErrorKind::Internal, "the database file is closed after an error")
}

/// Inserts rows. Returns whether all keys were new.
fn insert_all<'r, V>(
    transaction: &WriteTransaction,
    definition: TableDefinition<'_, RawText, V>,
    rows: impl Iterator<Item = (&'r [u8], &'r [u8])>,
) -> Result<bool, redb::Error>
where
    V: for<'v> redb::Value<SelfType<'v> = &'v [u8]> + 'static,
{
    let mut table = transaction.open_table(definition)?;
    for (key, value) in rows {
        if table.insert(key, value)?.is_some() {
            return Ok(false);
        }
    }
    Ok(true)
}

fn twice(table: &str) -> SnapshotError {
    corrupt(format!("the snapshot has two rows of the table {table:?} with the same key"))
}

impl RestoreTarget for FileTarget {
    fn put_irregular(&mut self, item: IrregularItem<'_>) -> Result<()> {
        match item {
            IrregularItem::Table(table) => {
                self.write_irregular()?;
                self.irregular = Some(PendingRows { table: table.clone(), rows: Vec::new(), bytes: 0 });
                // A table without rows exists too.
                self.write_irregular()
            }
            IrregularItem::Row { key, value, .. } => {
                let Some(pending) = &mut self.irregular else { return Ok(()) };
                pending.rows.push((key.to_vec(), value.to_vec()));
                pending.bytes += key.len() + value.len() + size_of::<(Vec<u8>, Vec<u8>)>();
                if pending.bytes < IRREGULAR_BYTES { Ok(()) } else { self.write_irregular() }
            }
        }
    }

    fn put(&mut self, records: &mut dyn Iterator<Item = Record<'_>>) -> Result<()> {
        self.write_irregular()?;
        let path = self.destination.path().to_owned();
        let failed = |error| redb_error("cannot write the database file", error).with_key(path.display().to_string());
        let first = records.next();
        if self.has_large_cached && first.as_ref().is_some_and(is_large) {
            self.reopen().map_err(failed)?;
        }
        let transaction = &self.written.as_ref().ok_or_else(closed)?.transaction;
        let (value, large_bytes) = (&mut self.value, &mut self.large_bytes);
        let write = || -> Result<bool, redb::Error> {
            let mut are_new = true;
            let mut vectors = transaction.open_table(VECTORS)?;
            let mut metadata = transaction.open_table(METADATA)?;
            for record in first.into_iter().chain(records) {
                value.clear();
                append_vector(record.vector, value);
                are_new &= vectors.insert(record.id.as_bytes(), value.as_slice())?.is_none();
                if let Some(text) = record.metadata {
                    are_new &= metadata.insert(record.id.as_bytes(), text.as_bytes())?.is_none();
                }
                *large_bytes += if is_large(&record) { bytes_of(&record) } else { 0 };
            }
            Ok(are_new)
        };
        if write().map_err(failed)? { Ok(()) } else { Err(twice("vectors")) }
    }

    /// After large rows, commits: redb would write them soon to make room, and would read them again in a commit. The last
    /// one stays in its cache, because redb reads it to insert the next row. It is freed before the next large one.
    fn settle(&mut self) -> Result<()> {
        if self.large_bytes <= LARGE_BYTES_CACHED {
            return Ok(());
        }
        let key = self.destination.path().display().to_string();
        self.commit().map_err(|error| redb_error("cannot write the database file", error).with_key(key))
    }
}

fn is_large(record: &Record<'_>) -> bool {
    bytes_of(record) > LARGE_ROW_BYTES
}

fn bytes_of(record: &Record<'_>) -> usize {
    record.vector.len() + record.metadata.map_or(0, str::len)
}

impl std::fmt::Debug for FileTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileTarget").field("destination", &self.destination).finish_non_exhaustive()
    }
}

impl FinishedFile {
    /// Opens the database for its verification.
    ///
    /// The reader opens it by its name, which may be that of another file for a moment: who can write to the directory could
    /// have a file verified that is not the restored one. The numbers of the file that the reader has open show which one
    /// it is. No other file can get them, because the temporary file is open until it is published. That the name is still
    /// its own is checked again before the rename.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read, or if its name is that of another file.
    pub(crate) fn open(&self) -> Result<FileReader> {
        let failed = |error| SnapshotError::io(self.destination.path(), "verify the restored database", error);
        let own = self.temporary.file().metadata().map_err(failed)?;
        let reader = FileReader::open(self.temporary.path(), &FileOptions::default())?;
        match reader.file() {
            Some(read) if (read.device, read.inode) == (Some(own.dev()), Some(own.ino())) => Ok(reader),
            _ => Err(failed(replaced())),
        }
    }

    /// Returns how many bytes were written to the file.
    pub(crate) fn written_bytes(&self) -> u64 {
        self.written_bytes
    }

    /// Renames the file to its destination, as [`Destination::publish`] does.
    pub(crate) fn publish(self, on_rename: impl FnOnce(&Path)) -> Result<Option<String>> {
        self.destination.publish(self.temporary, on_rename)
    }
}

/// The storage of a database in a file whose lock is held by its owner. The storage of redb takes the lock, and releases
/// it when the database is closed: too early, because the file is verified after that.
#[derive(Debug)]
pub(super) struct LockedFile {
    pub(super) file: Arc<File>,
    pub(super) written_bytes: Arc<AtomicU64>,
}

impl StorageBackend for LockedFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let mut buffer = vec![0; len];
        if len <= CHUNK_BYTES {
            self.file.read_exact_at(&mut buffer, offset)?;
            return Ok(buffer);
        }
        // The page of a large row has the next power of two as its size. The zeros behind the row take no memory.
        let mut read = vec![0; CHUNK_BYTES];
        let starts = (offset..).step_by(CHUNK_BYTES);
        for (chunk, start) in buffer.chunks_mut(CHUNK_BYTES).zip(starts) {
            let read = read.get_mut(..chunk.len()).unwrap_or_default();
            self.file.read_exact_at(read, start)?;
            if Some(&*read) != ZEROS.get(..read.len()) {
                chunk.copy_from_slice(read);
            }
        }
        Ok(buffer)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self, _eventual: bool) -> io::Result<()> {
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write_all_at(data, offset)?;
        self.written_bytes.fetch_add(data.len() as u64, Ordering::Relaxed);
        Ok(())
    }
}

/// A `VectorDB` in memory that records are restored to.
pub(crate) struct MemoryTarget {
    database: VectorDB,
}

impl MemoryTarget {
    /// Creates an empty database in memory of this description.
    pub(crate) fn create(description: &DatabaseInfo) -> Result<Self> {
        let options = database_options(description, "memory://restored")?;
        let database =
            VectorDB::new(options).map_err(|error| not_in_memory("such a database cannot be created", error))?;
        for (name, value) in description.rows.iter().filter(|(name, _)| *name != OPTIONS_ROW) {
            database
                .save_config_value(name, value)
                .map_err(|error| database_error(format!("cannot restore the config row {name:?}"), error))?;
        }
        Ok(Self { database })
    }

    /// Returns the database with all records.
    pub(crate) fn finish(self) -> VectorDB {
        self.database
    }
}

impl RestoreTarget for MemoryTarget {
    fn put(&mut self, records: &mut dyn Iterator<Item = Record<'_>>) -> Result<()> {
        let mut entries = Vec::new();
        for record in records {
            let metadata = match record.metadata {
                Some(text) => Some(serde_json::from_str(text).map_err(|error| {
                    not_in_memory(&format!("Ruvector cannot read the metadata of {:?}", record.id), error)
                })?),
                None => None,
            };
            let vector = record.vector.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
            entries.push(VectorEntry { id: Some(record.id.to_owned()), vector, metadata });
        }
        match self.database.insert_batch(&entries) {
            Ok(_) => Ok(()),
            Err(error) => Err(database_error("cannot insert records into the database in memory", error)),
        }
    }
}

impl std::fmt::Debug for MemoryTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryTarget").field("options", self.database.options()).finish()
    }
}

/// What a file can hold, but not a database in memory.
fn not_in_memory(why: &str, error: impl std::error::Error + Send + Sync + 'static) -> SnapshotError {
    let message = format!("cannot restore the snapshot into memory: {why}; restore it to a file");
    SnapshotError::new(ErrorKind::Unsupported, message).with_source(error)
}

pub(super) fn redb_error(what: &str, error: redb::Error) -> SnapshotError {
    match error {
        // redb does not return it as the cause.
        redb::Error::Io(io) => SnapshotError::new(io.kind().into(), what).with_source(io),
        other => SnapshotError::new(ErrorKind::Unavailable, what).with_source(other),
    }
}

//! Where records are put back: a new database file, or a `VectorDB` in memory.

#![allow(clippy::result_large_err, reason = "redb's own error is large, and mapped where it comes up")]

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use redb::{Database, TableDefinition, WriteTransaction};
use ruvector_core::VectorDB;
use ruvector_core::types::VectorEntry;

use super::{Description, OPTIONS_ROW, Record, RestoreTarget, database_error, file::append_vector};
use crate::error::{ErrorKind, Result, SnapshotError};

const VECTORS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("vectors");
const METADATA: TableDefinition<'_, &str, &str> = TableDefinition::new("metadata");
const CONFIG: TableDefinition<'_, &str, &str> = TableDefinition::new("config");

/// Before the system takes away what the user's umask says.
const NEW_FILE_MODE: u32 = 0o666;
/// What redb may keep in memory while the file is written.
const CACHE_BYTES: usize = 128 << 20;

/// A database file that is built beside its place, under a name that starts with a dot, and gone when dropped.
pub struct FileTarget {
    // The order of the fields is the order of the drops: the transaction, its database, then the file.
    transaction: WriteTransaction,
    database: Database,
    file: tempfile::TempPath,
    place: PathBuf,
    /// What a new file of this user's is open to.
    mode: Permissions,
    value: Vec<u8>,
}

/// A database file that is complete, closed and synced, and still beside its place.
#[derive(Debug)]
pub struct FinishedFile {
    file: tempfile::TempPath,
    place: PathBuf,
    mode: Permissions,
}

impl FileTarget {
    /// Begins a database file that is to stand at `place`.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` where something stands there and `overwrite` is false; `NotFound` where its directory is missing.
    pub fn create(place: &Path, overwrite: bool) -> Result<Self> {
        let place = &resolve(place, overwrite)?;
        let shown = place.display();
        let Some(name) = place.file_name() else {
            return Err(SnapshotError::new(ErrorKind::Invalid, "this is not the name of a file").at(shown.to_string()));
        };
        let mut prefix = std::ffi::OsString::from(".");
        prefix.push(name);
        prefix.push(".restoring-");
        let file = tempfile::Builder::new()
            .prefix(&prefix)
            .permissions(Permissions::from_mode(NEW_FILE_MODE))
            .tempfile_in(directory(place))
            .map_err(|error| SnapshotError::io(place, "begin a file beside this place", error))?
            .into_temp_path();
        let mode =
            restrict(&file).map_err(|error| SnapshotError::io(&file, "restrict the file to its owner", error))?;
        let failed = |error: redb::Error| redb_error("cannot begin the database file", error).at(shown.to_string());
        let database =
            redb::Builder::new().set_cache_size(CACHE_BYTES).create(&file).map_err(|error| failed(error.into()))?;
        let transaction = database.begin_write().map_err(|error| failed(error.into()))?;
        Ok(Self { transaction, database, file, place: place.to_owned(), mode, value: Vec::new() })
    }

    /// Writes what the database is, commits, closes and syncs.
    pub fn finish(self, description: &Description) -> Result<FinishedFile> {
        let mut rows = description.rows.clone();
        if !rows.contains_key(OPTIONS_ROW) && description.distance_metric.is_some() {
            let options = description.to_options(&self.place.display().to_string())?;
            let text = serde_json::to_string(&options)
                .map_err(|error| SnapshotError::new(ErrorKind::Internal, "the options are no JSON").because(error))?;
            rows.insert(OPTIONS_ROW.to_owned(), text);
        }
        // Dropped in the reverse of this order where an error ends it here: redb closes a database only once its transaction
        // is gone, and would wait for it for ever.
        let Self { mode, place, file, database, transaction, .. } = self;
        let failed =
            |error: redb::Error| redb_error("cannot finish the database file", error).at(place.display().to_string());
        let write = || -> Result<(), redb::Error> {
            // All three tables exist even where they are empty, as Ruvector makes them.
            transaction.open_table(VECTORS)?;
            transaction.open_table(METADATA)?;
            let mut config = transaction.open_table(CONFIG)?;
            for (name, value) in &rows {
                config.insert(name.as_str(), value.as_str())?;
            }
            Ok(())
        };
        write().map_err(failed)?;
        transaction.commit().map_err(|error| failed(error.into()))?;
        drop(database);
        sync(&file).map_err(|error| SnapshotError::io(&place, "sync the database file", error))?;
        Ok(FinishedFile { file, place, mode })
    }
}

impl RestoreTarget for FileTarget {
    fn put(&mut self, records: &mut dyn Iterator<Item = Record<'_>>) -> Result<()> {
        let (transaction, value) = (&self.transaction, &mut self.value);
        let write = || -> Result<(), redb::Error> {
            let mut vectors = transaction.open_table(VECTORS)?;
            let mut metadata = transaction.open_table(METADATA)?;
            for record in records {
                value.clear();
                append_vector(record.vector, value);
                vectors.insert(record.id, value.as_slice())?;
                if let Some(text) = record.metadata {
                    metadata.insert(record.id, text)?;
                }
            }
            Ok(())
        };
        write()
            .map_err(|error| redb_error("cannot write the database file", error).at(self.place.display().to_string()))
    }
}

impl std::fmt::Debug for FileTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileTarget").field("place", &self.place).field("database", &self.database).finish()
    }
}

impl FinishedFile {
    /// Where the file lies until it is moved to its place.
    pub fn path(&self) -> &Path {
        &self.file
    }

    /// Moves the file to its place, in one step, and makes that durable.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` where something has come to stand there and `overwrite` is false.
    pub fn move_to_place(self, overwrite: bool) -> Result<()> {
        let Self { file, place, mode } = self;
        give_to(&file, &place, mode).map_err(|error| {
            SnapshotError::io(&place, "give the restored database its owner and permissions", error)
        })?;
        let moved = if overwrite { file.persist(&place) } else { file.persist_noclobber(&place) };
        moved.map_err(|error| match error.error.kind() {
            std::io::ErrorKind::AlreadyExists => exists(&place),
            _ => SnapshotError::io(&place, "move the restored database to its place", error.error),
        })?;
        sync(directory(&place)).map_err(|error| SnapshotError::io(&place, "sync the directory", error))
    }
}

/// A `VectorDB` in memory that takes records.
pub struct MemoryTarget {
    database: VectorDB,
}

impl MemoryTarget {
    /// An empty database in memory of this description.
    pub fn create(description: &Description) -> Result<Self> {
        let options = description.to_options("memory://restored")?;
        let database =
            VectorDB::new(options).map_err(|error| database_error("cannot make a database in memory", error))?;
        for (name, value) in description.rows.iter().filter(|(name, _)| *name != OPTIONS_ROW) {
            database
                .save_config_value(name, value)
                .map_err(|error| database_error(format!("cannot restore the config row {name:?}"), error))?;
        }
        Ok(Self { database })
    }

    /// The database with all that was put.
    pub fn finish(self) -> VectorDB {
        self.database
    }
}

impl RestoreTarget for MemoryTarget {
    fn put(&mut self, records: &mut dyn Iterator<Item = Record<'_>>) -> Result<()> {
        let mut entries = Vec::new();
        for record in records {
            let metadata = match record.metadata {
                Some(text) => Some(serde_json::from_str(text).map_err(|error| {
                    database_error(format!("the metadata of {:?} cannot be read", record.id), error)
                })?),
                None => None,
            };
            let vector = record.vector.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
            entries.push(VectorEntry { id: Some(record.id.to_owned()), vector, metadata });
        }
        match self.database.insert_batch(&entries) {
            Ok(_) => Ok(()),
            Err(error) => Err(database_error("cannot put records into the database in memory", error)),
        }
    }
}

impl std::fmt::Debug for MemoryTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryTarget").field("options", self.database.options()).finish()
    }
}

/// Owned by and open to whom the file is that stands at `place`, else as any new file of this user's.
fn give_to(file: &Path, place: &Path, mode: Permissions) -> std::io::Result<()> {
    let Ok(replaced) = std::fs::metadata(place) else { return std::fs::set_permissions(file, mode) };
    let own = std::fs::metadata(file)?;
    if (own.uid(), own.gid()) != (replaced.uid(), replaced.gid()) {
        std::os::unix::fs::chown(file, Some(replaced.uid()), Some(replaced.gid()))?;
    }
    std::fs::set_permissions(file, replaced.permissions())
}

/// Leaves a new file to its owner alone, and returns what it was open to.
fn restrict(file: &Path) -> std::io::Result<Permissions> {
    let mode = std::fs::metadata(file)?.permissions();
    std::fs::set_permissions(file, Permissions::from_mode(0o600))?;
    Ok(mode)
}

/// Where the file really is to stand. A link is followed, so that it goes on leading to the database; only a regular file is
/// ever replaced.
fn resolve(place: &Path, overwrite: bool) -> Result<PathBuf> {
    let refused = |what: &str| Err(SnapshotError::new(ErrorKind::Invalid, what).at(place.display().to_string()));
    if place.as_os_str().as_encoded_bytes().ends_with(b"/") {
        return refused("this is the name of a directory, and the database is a file");
    }
    let Ok(standing) = place.symlink_metadata() else { return Ok(place.to_owned()) };
    if standing.is_dir() {
        return refused("a directory stands where the database should go");
    }
    if !overwrite {
        return Err(exists(place));
    }
    match place.canonicalize().and_then(|real| Ok((real.metadata()?.is_file(), real))) {
        Ok((true, real)) => Ok(real),
        Ok((false, _)) => refused("what stands there is not a regular file, and was left as it is"),
        Err(error) => Err(SnapshotError::io(place, "follow the link that stands there", error)),
    }
}

fn exists(place: &Path) -> SnapshotError {
    SnapshotError::new(
        ErrorKind::AlreadyExists,
        "a file stands there already and was left as it is; choose another place, or ask to overwrite it",
    )
    .at(place.display().to_string())
}

fn redb_error(what: &str, error: redb::Error) -> SnapshotError {
    let kind = match &error {
        redb::Error::Io(io) => io.kind().into(),
        _ => ErrorKind::Unavailable,
    };
    SnapshotError::new(kind, what).because(error)
}

fn directory(place: &Path) -> &Path {
    match place.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn sync(path: &Path) -> std::io::Result<()> {
    std::fs::File::open(path)?.sync_all()
}

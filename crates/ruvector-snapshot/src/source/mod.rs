//! Sources that snapshots are taken of, and targets that snapshots are restored to.
//!
//! [`SnapshotSource`] and [`RestoreTarget`] are the two traits. A database file ([`FileSource`]), a database in memory,
//! a new database file and a new database in memory implement them here. An application can bring its own: see
//! [`SnapshotManager::create_from`](crate::SnapshotManager::create_from) and
//! [`SnapshotManager::restore_into`](crate::SnapshotManager::restore_into).
//!
//! This module knows Ruvector's databases. It knows no key and no store.

pub(crate) mod companions;
pub(crate) mod database_path;
pub(crate) mod description;
pub(crate) mod destination;
pub(crate) mod destination_checks;
pub(crate) mod embedding;
pub(crate) mod export_directory;
pub(crate) mod file;
pub(crate) mod file_system;
mod foreign;
pub(crate) mod irregular_rows;
pub(crate) mod key_range;
pub(crate) mod memory;
pub(crate) mod merge_target;
pub(crate) mod published;
pub(crate) mod raw_table;
mod redb_types;
pub(crate) mod scratch;
pub(crate) mod target;
pub(crate) mod temporary;

use std::collections::BTreeMap;
use std::fmt::Debug;

use ruvector_core::types::DbOptions;
use ruvector_snapshot_format::irregular::IrregularItem;
use ruvector_snapshot_format::model::{DatabaseInfo, LeafTable, Record};

use crate::error::{ErrorKind, Result, SnapshotError};

pub use file::{FileOptions, FileReader, FileSource, Mirror};

/// The name of the file in which Ruvector keeps each collection, in a directory with the name of the collection.
pub(crate) const COLLECTION_FILE: &str = "vectors.db";

/// The row of the `config` table in which Ruvector stores its options.
pub(crate) const OPTIONS_ROW: &str = "__ruvector_db_config__";

/// A database that snapshots can be taken of.
///
/// # Examples
///
/// ```
/// use ruvector_snapshot::source::{SnapshotSource, SourceReader};
/// use ruvector_snapshot::{DatabaseInfo, Record, Result};
///
/// /// Three records of two dimensions.
/// #[derive(Debug)]
/// struct Constant;
///
/// struct ConstantReader {
///     database: DatabaseInfo,
///     next: usize,
/// }
///
/// impl SnapshotSource for Constant {
///     fn open(&self) -> Result<Box<dyn SourceReader>> {
///         Ok(Box::new(ConstantReader { database: DatabaseInfo::new(2), next: 0 }))
///     }
/// }
///
/// impl SourceReader for ConstantReader {
///     fn database(&self) -> &DatabaseInfo {
///         &self.database
///     }
///
///     fn next_record(&mut self) -> Result<Option<Record<'_>>> {
///         const IDS: [&str; 3] = ["a", "b", "c"];
///         let id = IDS.get(self.next).copied();
///         self.next += 1;
///         Ok(id.map(|id| Record { id, vector: &[0; 8], metadata: None }))
///     }
/// }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<()> {
/// # use ruvector_snapshot::{CreateOptions, SnapshotConfig, SnapshotManager};
/// let manager = SnapshotManager::open("memory://", SnapshotConfig::default())?;
/// let snapshot = manager.create_from(&Constant, "constant", &CreateOptions::default()).await?;
/// assert_eq!(snapshot.vector_count, 3);
/// # Ok(()) }
/// ```
pub trait SnapshotSource: Debug + Send + Sync {
    /// Returns the word for this kind of source. Every snapshot stores it as `source.kind`.
    fn kind(&self) -> &str {
        "custom"
    }

    /// Opens the database at one point in time.
    ///
    /// Called once for each attempt. A create that fails with [`ErrorKind::Busy`] opens the source again, a few times.
    /// The call is made on the task of the create, so slow work belongs in the first [`SourceReader::next_record`],
    /// which runs on a thread where it may block.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::NotFound`] if the database does not exist, and [`ErrorKind::InvalidInput`] if it is not of
    /// the expected kind.
    fn open(&self) -> Result<Box<dyn SourceReader>>;
}

/// Yields the records of a database as of one point in time, sorted by the bytes of their ids.
pub trait SourceReader: Send {
    /// Returns the description of the database.
    fn database(&self) -> &DatabaseInfo;

    /// Returns the number of records that are expected. Used for progress only.
    fn records_expected(&self) -> u64 {
        0
    }

    /// Returns upper bounds, in bytes, on what a snapshot stores of the vectors, the ids and the metadata. `None` if
    /// there is no bound: an upload is then limited to 10,000 parts of 8 MiB.
    fn size_bounds_bytes(&self) -> Option<[u64; 3]> {
        None
    }

    /// Returns the next record, or `None` after the last one.
    ///
    /// `None` also promises that **all records were of one point in time**. Ids must ascend bytewise, and each vector
    /// must have the dimensions of [`database`](Self::database).
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Busy`] if the database has changed: all records returned so far are void, and the caller
    /// may open the source again. Returns [`ErrorKind::Corrupt`] if the database is corrupt.
    fn next_record(&mut self) -> Result<Option<Record<'_>>>;

    /// Returns the next row, of a reader that may be restricted to metadata. Only readers of this crate implement it.
    #[doc(hidden)]
    fn next_row(&mut self) -> Result<Option<SourceRow<'_>>> {
        Ok(self.next_record()?.map(SourceRow::Record))
    }

    /// Returns the next of what the database holds apart from records: tables, each before its rows, with the bytes that
    /// the database has. `None` after the last one, and of a database that holds nothing else.
    ///
    /// Called after [`next_record`](Self::next_record) has returned `None`, and of the same point in time. Tables are
    /// sorted by their names. The rows of a table are in its order.
    ///
    /// A create refuses rows that could not be restored with [`ErrorKind::InvalidInput`], before anything is committed:
    /// rows of `vectors` and `metadata` that form a record, or whose id is that of a record; rows of `config` that are
    /// text, or that [`database`](Self::database) has too; keys out of order, twice, or of another type than that of
    /// their table. For this it keeps 8 bytes of memory for each record of the source.
    ///
    /// # Errors
    ///
    /// The same as [`next_record`](Self::next_record).
    fn next_irregular(&mut self) -> Result<Option<IrregularItem<'_>>> {
        Ok(None)
    }

    /// Says that the last row was used, so that a source can free its memory before the next one is asked for. Called after
    /// large rows.
    #[doc(hidden)]
    fn release_row(&mut self) {}

    /// Lets [`next_irregular`](Self::next_irregular) start again. Returns whether that is possible.
    #[doc(hidden)]
    fn rewind_irregular(&mut self) -> bool {
        false
    }

    /// Returns the number of records whose rows are irregular, and names some. Complete after `next_record` has returned
    /// `None`.
    #[doc(hidden)]
    fn irregular_records(&self) -> IrregularRecords {
        IrregularRecords::default()
    }

    /// Returns the number of rows of the tables `vectors` and `metadata`, read or not.
    #[doc(hidden)]
    fn row_counts(&self) -> Option<[u64; 2]> {
        None
    }

    /// Returns the id of the commit that is being read, if the database numbers its commits.
    fn transaction_id(&self) -> Option<u64> {
        None
    }

    /// Returns the file that is being read, if the database is one. Its path identifies the source of the snapshot,
    /// unless the user has given the source a name.
    fn file(&self) -> Option<&SourceFile> {
        None
    }

    /// Takes the leaf tables of the B-trees `vectors` and `metadata`, if all records came from such leaves. Complete
    /// after `next_record` has returned `None`.
    fn take_leaves(&mut self) -> Option<[LeafTable; 2]> {
        None
    }

    /// Lists what the database holds that no record holds, in words. Complete after `next_record` has returned `None`.
    fn not_captured(&self) -> Vec<String> {
        Vec::new()
    }
}

/// The file of a database.
///
/// # Examples
///
/// ```
/// let file = ruvector_snapshot::source::SourceFile::new("/srv/vectors.db");
/// assert_eq!(file.device, None);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SourceFile {
    /// The absolute path, as a snapshot records it.
    pub path: String,
    /// The device of the file, as the operating system numbers it.
    pub device: Option<u64>,
    /// The inode of the file.
    pub inode: Option<u64>,
}

impl SourceFile {
    /// Describes the file at an absolute path, of unknown device and inode.
    ///
    /// # Examples
    ///
    /// ```
    /// let file = ruvector_snapshot::source::SourceFile::new("/srv/vectors.db");
    /// assert_eq!(file.path, "/srv/vectors.db");
    /// ```
    pub fn new(path: impl Into<String>) -> Self {
        Self { path: path.into(), device: None, inode: None }
    }
}

/// The records of a source whose rows are irregular.
#[doc(hidden)]
#[derive(Debug, Clone, Default)]
pub struct IrregularRecords {
    /// Their number.
    pub count: u64,
    /// The first of them, each with the reason.
    pub examples: Vec<String>,
}

impl IrregularRecords {
    /// Number of records that are named.
    const EXAMPLES: usize = 10;

    pub(crate) fn add(&mut self, key: &[u8], why: &str) {
        self.count += 1;
        if self.examples.len() < Self::EXAMPLES {
            self.examples.push(file::irregular_example(key, why));
        }
    }
}

/// A row of a source.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceRow<'a> {
    /// A whole record.
    Record(Record<'a>),
    /// The metadata of a record whose vector is the one of the base snapshot.
    MetadataOnly {
        /// The id.
        id: &'a str,
        /// The metadata as JSON text.
        metadata: Option<&'a str>,
    },
}

impl<'a> SourceRow<'a> {
    /// Returns the row as a record, with an empty vector if it has none.
    pub(crate) fn as_record(&self) -> Record<'a> {
        match *self {
            Self::Record(record) => record,
            Self::MetadataOnly { id, metadata } => Record { id, vector: &[], metadata },
        }
    }
}

impl SourceReader for Box<dyn SourceReader> {
    fn database(&self) -> &DatabaseInfo {
        (**self).database()
    }

    fn records_expected(&self) -> u64 {
        (**self).records_expected()
    }

    fn size_bounds_bytes(&self) -> Option<[u64; 3]> {
        (**self).size_bounds_bytes()
    }

    fn next_record(&mut self) -> Result<Option<Record<'_>>> {
        (**self).next_record()
    }

    fn next_row(&mut self) -> Result<Option<SourceRow<'_>>> {
        (**self).next_row()
    }

    fn next_irregular(&mut self) -> Result<Option<IrregularItem<'_>>> {
        (**self).next_irregular()
    }

    fn release_row(&mut self) {
        (**self).release_row();
    }

    fn rewind_irregular(&mut self) -> bool {
        (**self).rewind_irregular()
    }

    fn irregular_records(&self) -> IrregularRecords {
        (**self).irregular_records()
    }

    fn row_counts(&self) -> Option<[u64; 2]> {
        (**self).row_counts()
    }

    fn transaction_id(&self) -> Option<u64> {
        (**self).transaction_id()
    }

    fn file(&self) -> Option<&SourceFile> {
        (**self).file()
    }

    fn take_leaves(&mut self) -> Option<[LeafTable; 2]> {
        (**self).take_leaves()
    }

    fn not_captured(&self) -> Vec<String> {
        (**self).not_captured()
    }
}

/// A place that records are restored to, sorted by the bytes of their ids.
///
/// The calls come in this order: [`begin`](Self::begin) once, [`put_irregular`](Self::put_irregular) and then
/// [`put`](Self::put) any number of times, [`finish`](Self::finish) once. If any call fails, or the restore is cancelled, no further call is made, and the
/// target must not leave anything under a name that looks complete.
pub trait RestoreTarget: Send {
    /// Prepares for records of a database of this description.
    ///
    /// # Errors
    ///
    /// Any error ends the restore.
    fn begin(&mut self, database: &DatabaseInfo) -> Result<()> {
        let _accepts_any_database = database;
        Ok(())
    }

    /// Stores a table or a row of a table that is not a record, with the bytes that the database had. Each table comes
    /// before its rows.
    ///
    /// Called before the first [`put`](Self::put), and only if the snapshot has irregular rows and
    /// [`RestoreOptions::skip_irregular`](crate::RestoreOptions::skip_irregular) is not set.
    ///
    /// # Errors
    ///
    /// Any error ends the restore. The default is [`ErrorKind::Unsupported`].
    fn put_irregular(&mut self, item: IrregularItem<'_>) -> Result<()> {
        let _not_stored = item;
        Err(records_only())
    }

    /// Stores records. Their digests have been verified.
    ///
    /// # Errors
    ///
    /// Any error ends the restore.
    fn put(&mut self, records: &mut dyn Iterator<Item = Record<'_>>) -> Result<()>;

    /// Called after each [`put`](Self::put), when its records are no longer in memory. The default does nothing.
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put).
    #[doc(hidden)]
    fn settle(&mut self) -> Result<()> {
        Ok(())
    }

    /// Completes the target. Called after the content checksum of all records has been verified, and never otherwise.
    ///
    /// # Errors
    ///
    /// Any error ends the restore.
    fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Returns the error of a target for irregular rows that it cannot store.
pub(crate) fn records_only() -> SnapshotError {
    SnapshotError::new(ErrorKind::Unsupported, "this target can store records only")
}

/// Describes a database with these options and config rows.
pub(crate) fn database_info(options: &DbOptions, rows: BTreeMap<String, String>) -> Result<DatabaseInfo> {
    let json = |value: serde_json::Result<serde_json::Value>| {
        value.map_err(|error| {
            SnapshotError::new(ErrorKind::Internal, "cannot write the options of the database as JSON")
                .with_source(error)
        })
    };
    let metric = json(serde_json::to_value(options.distance_metric))?;
    Ok(DatabaseInfo {
        dimensions: options.dimensions as u64,
        distance_metric: metric.as_str().map(str::to_owned),
        hnsw_config: json(serde_json::to_value(&options.hnsw_config))?,
        quantization: json(serde_json::to_value(&options.quantization))?,
        rows,
    })
}

/// Returns the options of a database of this description at `storage_path`.
///
/// # Errors
///
/// Returns [`ErrorKind::Unsupported`] if this version of Ruvector does not know a value.
pub(crate) fn database_options(database: &DatabaseInfo, storage_path: &str) -> Result<DbOptions> {
    let unsupported = |what: &str, error| {
        let message = format!("this version of Ruvector does not know the {what} of the snapshot; use a newer version");
        SnapshotError::new(ErrorKind::Unsupported, message).with_source(error)
    };
    let dimensions = usize::try_from(database.dimensions).map_err(|error| {
        SnapshotError::new(ErrorKind::Unsupported, "the vectors are too long for this machine").with_source(error)
    })?;
    let mut options = DbOptions {
        dimensions,
        storage_path: storage_path.to_owned(),
        hnsw_config: serde_json::from_value(database.hnsw_config.clone())
            .map_err(|error| unsupported("hnsw_config", error))?,
        quantization: serde_json::from_value(database.quantization.clone())
            .map_err(|error| unsupported("quantization", error))?,
        ..DbOptions::default()
    };
    if let Some(metric) = &database.distance_metric {
        options.distance_metric = serde_json::from_value(serde_json::Value::String(metric.clone()))
            .map_err(|error| unsupported("distance_metric", error))?;
    }
    Ok(options)
}

/// Wraps an error of Ruvector, which does not distinguish kinds.
pub(crate) fn database_error(
    what: impl Into<String>,
    error: impl std::error::Error + Send + Sync + 'static,
) -> SnapshotError {
    SnapshotError::new(ErrorKind::Unavailable, what).with_source(error)
}

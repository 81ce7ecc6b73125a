//! A Ruvector database file, read while another process may be writing to it.
//!
//! The file is read through `redb-live`, as of one commit and without a lock. This module knows which tables Ruvector
//! uses and pairs their rows into records; `scan` walks one table, `tables` opens the tables and decodes their values,
//! `ranges` restricts a reader to key ranges, and `irregular` yields the rows that form no record.

mod irregular;
mod ranges;
mod rows;
mod scan;
mod tables;

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use redb_live::{LiveFile, Mode, View, ViewOptions};
use ruvector_snapshot_format::irregular::IrregularItem;
use ruvector_snapshot_format::model::{DatabaseInfo, LeafTable, Record};

use super::{
    IrregularRecords, SnapshotSource, SourceFile, SourceReader, SourceRow, companions, database_path, foreign,
};
use crate::error::{ErrorKind, Result, SnapshotError};
use irregular::{IrregularPass, IrregularSource};
use ranges::RangeCursor;
use scan::TableCursor;

pub(crate) use rows::{
    IdRows, append_vector, irregular_example, irregular_row_met, is_irregular_row_met, vector_bytes,
};
pub(crate) use scan::{DatabaseTable, LeafVisit, RowLookup, VectorLookup};

/// How a database file is read. Start from `default()`.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct FileOptions {
    /// Directory for the mirror of a database that is being written. The system's temporary directory by default.
    pub scratch_dir: Option<PathBuf>,
    /// When a mirror is made.
    pub mirror: Mirror,
}

impl FileOptions {
    /// Sets the directory for the mirror.
    ///
    /// # Examples
    ///
    /// ```
    /// let options = ruvector_snapshot::source::FileOptions::default().scratch_dir("/var/tmp");
    /// ```
    #[must_use]
    pub fn scratch_dir(self, scratch_dir: impl Into<PathBuf>) -> Self {
        Self { scratch_dir: Some(scratch_dir.into()), ..self }
    }

    /// Sets when a mirror is made.
    ///
    /// # Examples
    ///
    /// ```
    /// use ruvector_snapshot::source::{FileOptions, Mirror};
    ///
    /// let options = FileOptions::default().mirror(Mirror::AtOnce);
    /// ```
    #[must_use]
    pub fn mirror(self, mirror: Mirror) -> Self {
        Self { mirror, ..self }
    }
}

/// When a private copy of the database file, the mirror, is made. No writer can disturb reading a mirror.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Mirror {
    /// Never. If a page that is needed has been overwritten, or if the file has a table that is not captured, reading
    /// fails with [`ErrorKind::Busy`].
    Never,
    /// As soon as another process commits while the file is being read, or if the file has a table that is not captured.
    #[default]
    WhenWritten,
    /// Before anything is read.
    AtOnce,
}

/// A database file as a source of snapshots.
///
/// # Examples
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("vectors.db");
/// # let db = ruvector_core::VectorDB::new(ruvector_core::types::DbOptions {
/// #     dimensions: 2, storage_path: path.display().to_string(), ..Default::default() })?;
/// # db.insert(ruvector_core::VectorEntry { id: Some("a".into()), vector: vec![1.0, 2.0], metadata: None })?;
/// use ruvector_snapshot::source::{FileSource, SnapshotSource};
///
/// let mut reader = FileSource::new(&path).open()?;
/// while let Some(record) = reader.next_record()? {
///     println!("{}: {} bytes", record.id, record.vector.len());
/// }
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct FileSource {
    path: PathBuf,
    options: FileOptions,
}

impl FileSource {
    /// Describes the database file at `path`. Nothing is opened yet.
    ///
    /// # Examples
    ///
    /// ```
    /// let source = ruvector_snapshot::source::FileSource::new("/srv/vectors.db");
    /// ```
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), options: FileOptions::default() }
    }

    /// Reads the file with these options.
    ///
    /// # Examples
    ///
    /// ```
    /// use ruvector_snapshot::source::{FileOptions, FileSource};
    ///
    /// let source = FileSource::new("/srv/vectors.db").with_options(FileOptions::default().scratch_dir("/var/tmp"));
    /// ```
    #[must_use]
    pub fn with_options(self, options: FileOptions) -> Self {
        Self { options, ..self }
    }
}

impl SnapshotSource for FileSource {
    fn kind(&self) -> &str {
        FILE_KIND
    }

    fn open(&self) -> Result<Box<dyn SourceReader>> {
        Ok(Box::new(FileReader::open(&self.path, &self.options)?))
    }
}

/// The `source.kind` of a snapshot of a database file.
pub(crate) const FILE_KIND: &str = "file";

/// Reads the records of a database file as of one commit.
#[derive(Debug)]
pub struct FileReader {
    file: SourceFile,
    view: View,
    database: DatabaseInfo,
    vectors: TableCursor,
    metadata: TableCursor,
    /// Whether the metadata row under the cursor belongs to the current record.
    is_metadata_paired: bool,
    /// The key ranges to read. `None` reads everything.
    ranges: Option<RangeCursor>,
    records_expected: u64,
    file_bytes: u64,
    /// What belongs to the database and lies beside it, as sentences.
    companions: Vec<String>,
    /// The ids whose rows form no record, so far.
    irregular: IrregularRecords,
    irregular_sources: Vec<IrregularSource>,
    pass: IrregularPass,
    not_captured: Vec<String>,
}

impl FileReader {
    /// Checks that a file is a database by its header, and no shorter than that says, as [`open`](Self::open) does first. Reads no
    /// more of it.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`open`](Self::open) about the header, and about a file that cannot be read.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::path::Path;
    ///
    /// use ruvector_snapshot::ErrorKind;
    /// use ruvector_snapshot::source::FileReader;
    ///
    /// let error = FileReader::check(Path::new("missing.db")).unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::NotFound);
    /// ```
    pub fn check(path: &Path) -> Result<()> {
        let live = LiveFile::open(path).map_err(|error| not_a_database(path, error))?;
        live.transaction_id().map(drop).map_err(rows::live_error)
    }

    /// Opens the newest commit of the database file at `path`.
    ///
    /// # Errors
    ///
    /// - [`ErrorKind::NotFound`]: the file does not exist.
    /// - [`ErrorKind::InvalidInput`]: it is not a redb file, or not a Ruvector database.
    /// - [`ErrorKind::Unsupported`]: a version of redb's file format, or of Ruvector, that is not known.
    /// - [`ErrorKind::Corrupt`]: the database is corrupt.
    /// - [`ErrorKind::StorageFull`]: there is no room for the mirror.
    /// - [`ErrorKind::Busy`]: the file changed too quickly to be read.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::path::Path;
    ///
    /// use ruvector_snapshot::ErrorKind;
    /// use ruvector_snapshot::source::{FileOptions, FileReader};
    ///
    /// let error = FileReader::open(Path::new("missing.db"), &FileOptions::default()).unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::NotFound);
    /// ```
    pub fn open(path: &Path, options: &FileOptions) -> Result<Self> {
        let live = LiveFile::open(path).map_err(|error| not_a_database(path, error))?;
        let view_options = ViewOptions {
            scratch_dir: options.scratch_dir.clone(),
            mode: if options.mirror == Mirror::AtOnce { Mode::Mirror } else { Mode::Direct },
            mirror_on_commit: options.mirror == Mirror::WhenWritten,
            ..ViewOptions::default()
        };
        let view = live.view(&view_options).map_err(rows::live_error)?;
        let opened = tables::open_all(&view, path)?;
        if !opened.not_captured.is_empty() {
            // A direct view vouches only for tables that are read to their end. A commit must be consistent across all
            // tables.
            match options.mirror {
                Mirror::AtOnce => {}
                Mirror::WhenWritten => return Self::open(path, &options.clone().mirror(Mirror::AtOnce)),
                Mirror::Never => return Err(rows::live_error(redb_live::Error::Changed)),
            }
        }
        let found = live.metadata().map_err(rows::live_error)?;
        let absolute = database_path::absolute(path)?;
        let mut reader = Self {
            file: SourceFile {
                path: database_path::text(&absolute),
                device: Some(found.dev()),
                inode: Some(found.ino()),
            },
            database: opened.database,
            records_expected: opened.vectors.info().rows,
            vectors: TableCursor::new(&opened.vectors),
            metadata: TableCursor::new(&opened.metadata),
            is_metadata_paired: false,
            ranges: None,
            file_bytes: found.len(),
            companions: companions::beside(&absolute),
            irregular: IrregularRecords::default(),
            irregular_sources: opened.irregular,
            pass: IrregularPass::default(),
            not_captured: opened.not_captured,
            view,
        };
        reader.metadata.step().map_err(rows::live_error)?;
        Ok(reader)
    }

    /// Moves both cursors to the next record. Both tables are sorted by key, so metadata rows before the record's id
    /// have no vector.
    fn step(&mut self) -> Result<(), redb_live::Error> {
        self.vectors.step()?;
        if std::mem::take(&mut self.is_metadata_paired) {
            self.metadata.step()?;
        }
        self.pair()
    }

    /// Moves the metadata cursor to the row of the current record, or past its place.
    fn pair(&mut self) -> Result<(), redb_live::Error> {
        while let Some((key, _)) = self.metadata.row() {
            match self.vectors.row() {
                Some((id, _)) if key > id => break,
                Some((id, _)) if key == id => {
                    self.is_metadata_paired = true;
                    break;
                }
                _ => self.irregular.add(key, "it has metadata, but no vector"),
            }
            self.metadata.step()?;
        }
        Ok(())
    }

    /// Returns the rows under the cursors. `None` after the last ones.
    fn id_rows(&self) -> Option<IdRows<'_>> {
        let is_metadata_only = self.is_metadata_only()?;
        if is_metadata_only {
            return self.metadata.row().map(|(key, text)| IdRows { key, vector: None, metadata: Some(text) });
        }
        let metadata = self.metadata.row().filter(|_| self.is_metadata_paired).map(|(_, text)| text);
        self.vectors.row().map(|(key, vector)| IdRows { key, vector: Some(vector), metadata })
    }

    /// Moves to the next rows that form a record. Counts those that do not. A reader that is restricted to ranges ends
    /// there: it may have missed others.
    fn advance_to_record(&mut self) -> Result<()> {
        loop {
            self.advance().map_err(rows::live_error)?;
            if self.ranges.is_some() && self.irregular.count > 0 {
                return Err(irregular_row_met());
            }
            let checked = self.id_rows().map(|rows| match rows.vector {
                None => rows.texts().map(drop).map_err(|why| (rows.key.to_vec(), why)),
                Some(_) => rows.record(self.database.dimensions).map(drop).map_err(|why| (rows.key.to_vec(), why)),
            });
            match checked {
                None | Some(Ok(())) => return Ok(()),
                Some(Err(_)) if self.ranges.is_some() => return Err(irregular_row_met()),
                Some(Err((key, why))) => self.irregular.add(&key, &why),
            }
        }
    }

    /// Returns the row under the cursors, which form a record.
    fn current_row(&self) -> Result<Option<SourceRow<'_>>> {
        let Some(rows) = self.id_rows() else { return Ok(None) };
        let not_checked = || SnapshotError::new(ErrorKind::Internal, "a row was not checked");
        if rows.vector.is_some() {
            return Ok(Some(SourceRow::Record(rows.as_record().ok_or_else(not_checked)?)));
        }
        let (id, metadata) = rows.as_texts().ok_or_else(not_checked)?;
        Ok(Some(SourceRow::MetadataOnly { id, metadata }))
    }
}

impl SourceReader for FileReader {
    fn database(&self) -> &DatabaseInfo {
        &self.database
    }

    fn records_expected(&self) -> u64 {
        self.records_expected
    }

    fn size_bounds_bytes(&self) -> Option<[u64; 3]> {
        const SLACK_BYTES: u64 = 1 << 20;
        let values_bytes = self.database.dimensions.saturating_mul(4);
        let vectors = self.records_expected.saturating_mul(values_bytes.saturating_add(1));
        // Ids are stored in two files and may be escaped there. Each record has a digest and some punctuation.
        let rest = self.file_bytes.saturating_sub(vectors).saturating_mul(2);
        // If rows are irregular, other bytes of the file are vectors, and all of it may be stored there.
        let rest = rest.max(self.file_bytes.saturating_add(self.file_bytes / 64));
        let rest = rest.saturating_add(self.records_expected.saturating_mul(64)).saturating_add(SLACK_BYTES);
        // Stored deflate blocks add five bytes in 65,535. Each gzip member adds its header.
        Some([vectors.saturating_add(vectors / 64).saturating_add(SLACK_BYTES), rest, rest])
    }

    fn next_record(&mut self) -> Result<Option<Record<'_>>> {
        match self.next_row()? {
            None => Ok(None),
            Some(SourceRow::Record(record)) => Ok(Some(record)),
            Some(SourceRow::MetadataOnly { .. }) => Err(SnapshotError::new(
                ErrorKind::Internal,
                "a reader that is restricted to metadata was asked for a record",
            )),
        }
    }

    fn next_row(&mut self) -> Result<Option<SourceRow<'_>>> {
        self.advance_to_record()?;
        self.current_row()
    }

    fn release_row(&mut self) {
        if self.is_metadata_only() == Some(true) {
            return self.metadata.release();
        }
        self.vectors.release();
        if self.is_metadata_paired {
            self.metadata.release();
        }
    }

    fn next_irregular(&mut self) -> Result<Option<IrregularItem<'_>>> {
        self.next_irregular_item()
    }

    fn rewind_irregular(&mut self) -> bool {
        self.pass = IrregularPass::default();
        true
    }

    fn irregular_records(&self) -> IrregularRecords {
        self.irregular.clone()
    }

    fn row_counts(&self) -> Option<[u64; 2]> {
        Some([self.vectors.rows(), self.metadata.rows()])
    }

    fn transaction_id(&self) -> Option<u64> {
        Some(self.view.transaction_id())
    }

    fn file(&self) -> Option<&SourceFile> {
        Some(&self.file)
    }

    fn take_leaves(&mut self) -> Option<[LeafTable; 2]> {
        let leaves = self.vectors.take_leaves().zip(self.metadata.take_leaves());
        // The next increment must read all rows: it cannot find the irregular ones by their leaves.
        leaves.filter(|_| self.irregular.count == 0).map(|(vectors, metadata)| [vectors, metadata])
    }

    fn not_captured(&self) -> Vec<String> {
        [self.companions.as_slice(), &self.not_captured].concat()
    }
}

/// Says what a file is that is not a redb file.
fn not_a_database(path: &Path, error: redb_live::Error) -> SnapshotError {
    let is_foreign = matches!(error, redb_live::Error::NotRedb { .. });
    let error = rows::live_error(error);
    match foreign::describe_path(path).filter(|_| is_foreign) {
        Some(what) => SnapshotError::new(ErrorKind::InvalidInput, what).with_key(path.display().to_string()),
        None => error,
    }
}

//! The error type of this crate. Each message says what failed, why, and what to do about it.

use std::{io, path::PathBuf};

use crate::page::PageNumber;

/// The reason why a file cannot be opened, viewed or streamed.
///
/// # Examples
///
/// Fall back to [`Mode::Mirror`](crate::Mode::Mirror) if a direct view ends in [`Error::Changed`]:
///
/// ```
/// use redb_live::{Error, LiveFile, Mode, ViewOptions};
///
/// fn count_rows(file: &LiveFile, table: &str, mode: Mode) -> Result<u64, Error> {
///     let view = file.view(&ViewOptions { mode, ..ViewOptions::default() })?;
///     let Some(table) = view.table(table)? else { return Ok(0) };
///     let mut rows = 0;
///     for leaf in table.leaves() {
///         rows += leaf?.len() as u64;
///     }
///     Ok(rows)
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("app.redb");
/// # let database = redb::Database::create(&path)?;
/// # let txn = database.begin_write()?;
/// # txn.open_table(redb::TableDefinition::<&str, u64>::new("users"))?.insert("a", 1)?;
/// # txn.commit()?;
/// let file = LiveFile::open(&path)?;
/// let rows = match count_rows(&file, "users", Mode::Direct) {
///     Err(Error::Changed) => count_rows(&file, "users", Mode::Mirror)?,
///     other => other?,
/// };
/// # assert_eq!(rows, 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file does not exist.
    #[error("cannot open {}: file not found; check the path", path.display())]
    NotFound {
        /// The path that was passed to [`LiveFile::open`](crate::LiveFile::open).
        path: PathBuf,
    },
    /// The operating system cannot read the file.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file that was read.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The path is not a redb file: it is a directory, it is empty, or it has another format.
    #[error("cannot open {}: not a redb file ({reason}); pass the path of the database file", path.display())]
    NotRedb {
        /// The path that was passed to [`LiveFile::open`](crate::LiveFile::open).
        path: PathBuf,
        /// What is missing or wrong.
        reason: &'static str,
    },
    /// The file has a format version that this crate does not support. It supports versions 2 and 3.
    #[error(
        "cannot open {}: unsupported redb file format version {version} (versions 2 and 3 are supported); \
         read it with the redb release that wrote it",
        path.display()
    )]
    UnsupportedVersion {
        /// The database file.
        path: PathBuf,
        /// The format version in the commit slot.
        version: u8,
    },
    /// The crate does not support the requested operation on this table, for example reading a multimap table.
    #[error("cannot read table {table:?}: {reason}; read it with redb")]
    UnsupportedTable {
        /// The name of the table.
        table: String,
        /// What is not supported.
        reason: &'static str,
    },
    /// The stored data is corrupt. A concurrent writer cannot be the reason.
    #[error(
        "{} is corrupt{}{}: {reason}; restore it from a backup",
        path.display(),
        page.map(|page| format!(", page {page}")).unwrap_or_default(),
        table.as_ref().map(|table| format!(", table {table:?}")).unwrap_or_default()
    )]
    Corrupt {
        /// The database file.
        path: PathBuf,
        /// The corrupt page, or `None` if the header is corrupt or no single page is.
        page: Option<PageNumber>,
        /// The table that the page belongs to, if it is known.
        table: Option<String>,
        /// Which check failed.
        reason: &'static str,
    },
    /// A page is not valid in [`Mode::Direct`], and a concurrent writer may be the reason: the page was overwritten, or
    /// is not written yet.
    ///
    /// Discard the rows that were streamed and take a new view in [`Mode::Mirror`], which distinguishes corruption from
    /// a concurrent write.
    ///
    /// [`Mode::Direct`]: crate::Mode::Direct
    /// [`Mode::Mirror`]: crate::Mode::Mirror
    #[error("the database changed while it was read; take a new view in mirror mode")]
    Changed,
    /// The writer overwrote pages before they could be copied, in every pass.
    #[error(
        "cannot copy a consistent state: the database changed in each of {passes} passes; \
         try again when the write load is lower, or allow more passes"
    )]
    Busy {
        /// The number of passes that were made.
        passes: u32,
    },
    /// The scratch directory does not have enough space for the mirror.
    #[error(
        "cannot copy the database to {}: {needed_bytes} bytes are needed and {available_bytes} are free; \
         free some space or use another scratch directory",
        dir.display()
    )]
    StorageFull {
        /// The scratch directory.
        dir: PathBuf,
        /// The length of the database file, in bytes. Sparse regions are counted although they need no space.
        needed_bytes: u64,
        /// The space that is available to this user, in bytes.
        available_bytes: u64,
    },
    /// The scratch directory, or the scratch file in it, cannot be used.
    #[error("cannot use scratch directory {}: {source}", dir.display())]
    Scratch {
        /// The scratch directory.
        dir: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
}

impl Error {
    /// Adds the name of the table to an [`Error::Corrupt`].
    pub(crate) fn in_table(mut self, name: &str) -> Self {
        if let Error::Corrupt { table, .. } = &mut self {
            *table = Some(name.to_owned());
        }
        self
    }

    /// Returns a copy of an error that [`Mirror::copy_of`](crate::mirror::Mirror::copy_of) returned, and `None` for any
    /// other error. `io::Error` is not `Clone`, and several cursors may have to return the same failure.
    pub(crate) fn duplicate(&self) -> Option<Self> {
        let duplicate_io = |source: &io::Error| match source.raw_os_error() {
            Some(code) => io::Error::from_raw_os_error(code),
            None => io::Error::new(source.kind(), source.to_string()),
        };
        match self {
            Error::Io { path, source } => Some(Error::Io { path: path.clone(), source: duplicate_io(source) }),
            Error::Scratch { dir, source } => Some(Error::Scratch { dir: dir.clone(), source: duplicate_io(source) }),
            Error::StorageFull { dir, needed_bytes, available_bytes } => Some(Error::StorageFull {
                dir: dir.clone(),
                needed_bytes: *needed_bytes,
                available_bytes: *available_bytes,
            }),
            _ => None,
        }
    }
}

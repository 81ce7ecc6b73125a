//! The one error of this crate: what went wrong, where, and what the caller can do about it.

use std::{io, path::PathBuf};

use crate::page::PageNumber;

/// Why a file cannot be opened, viewed or streamed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no file at the path.
    #[error("no file at {}: check the path", path.display())]
    NotFound {
        /// The path that was asked for.
        path: PathBuf,
    },
    /// The operating system refused to read the file.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file that was being read.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The path leads to something that is not a redb file: a directory, a text, an empty or a foreign file.
    #[error("{} is not a redb file ({reason}): check the path", path.display())]
    NotRedb {
        /// The path that was asked for.
        path: PathBuf,
        /// What is missing or wrong.
        reason: &'static str,
    },
    /// The file is in a format that this crate does not know. It reads the formats 2 and 3.
    #[error(
        "{} is in the redb file format {version}, and only the formats 2 and 3 are known: read it with the redb that wrote it",
        path.display()
    )]
    UnsupportedVersion {
        /// The file.
        path: PathBuf,
        /// The format version that its newest commit names.
        version: u8,
    },
    /// The table is of a kind whose rows this crate does not stream, as multimap tables.
    #[error("rows of table {table:?} cannot be streamed ({reason}): read it with redb")]
    UnsupportedTable {
        /// The table's name.
        table: String,
        /// What is not supported.
        reason: &'static str,
    },
    /// What is stored is wrong: no writer explains it. Restore the file from a backup, or let redb check it.
    #[error(
        "{} is damaged{}{}: {reason}; restore it from a backup",
        path.display(),
        page.map(|page| format!(", page {page}")).unwrap_or_default(),
        table.as_ref().map(|table| format!(", table {table:?}")).unwrap_or_default()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The page that does not hold; none where it is the header.
        page: Option<PageNumber>,
        /// The table the page belongs to, where that is known.
        table: Option<String>,
        /// What does not hold.
        reason: &'static str,
    },
    /// In [`Mode::Direct`] a page does not hold, and a writer may be why: it has reused the page, or has not written it
    /// yet. Drop what was streamed and take a new view in [`Mode::Mirror`], which can tell that from damage.
    ///
    /// [`Mode::Direct`]: crate::Mode::Direct
    /// [`Mode::Mirror`]: crate::Mode::Mirror
    #[error("the database moved on while it was read: take a new view in mirror mode")]
    Moved,
    /// The writer reused pages faster than they could be read, in every one of the allowed passes.
    #[error("the database changed in each of {passes} passes: try when less is written, or allow more passes")]
    Busy {
        /// The passes that were made.
        passes: u32,
    },
    /// The mirror does not fit into the scratch directory.
    #[error(
        "{} has {available_bytes} bytes free and the copy needs {needed_bytes}: make room or name another scratch directory",
        dir.display()
    )]
    NoSpace {
        /// The scratch directory.
        dir: PathBuf,
        /// The length of the database file in bytes. Holes count, although they need no room.
        needed_bytes: u64,
        /// The bytes that are free for this user.
        available_bytes: u64,
    },
    /// The scratch directory or the scratch file in it failed.
    #[error("cannot use the scratch directory {}: {source}", dir.display())]
    Scratch {
        /// The scratch directory.
        dir: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

impl Error {
    /// Names the table in which a damaged page was found.
    pub(crate) fn in_table(mut self, name: &str) -> Self {
        if let Error::Damaged { table, .. } = &mut self {
            *table = Some(name.to_owned());
        }
        self
    }

    /// The same error once more, of those that making a mirror gives: several cursors may have to return it.
    pub(crate) fn again(&self) -> Option<Self> {
        let again = |source: &io::Error| match source.raw_os_error() {
            Some(code) => io::Error::from_raw_os_error(code),
            None => io::Error::new(source.kind(), source.to_string()),
        };
        match self {
            Error::Io { path, source } => Some(Error::Io { path: path.clone(), source: again(source) }),
            Error::Scratch { dir, source } => Some(Error::Scratch { dir: dir.clone(), source: again(source) }),
            Error::NoSpace { dir, needed_bytes, available_bytes } => Some(Error::NoSpace {
                dir: dir.clone(),
                needed_bytes: *needed_bytes,
                available_bytes: *available_bytes,
            }),
            _ => None,
        }
    }
}

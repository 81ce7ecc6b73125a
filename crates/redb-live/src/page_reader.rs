//! Returns checked pages to the cursors of a view, from the mirror or from the live file.

use std::{
    path::PathBuf,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{
    error::Error,
    file::{self, DatabaseFile, PageRead},
    header::Header,
    mirror::Mirror,
    page::{Child, Node, PageNumber, Widths},
    walk::{PageSource, WalkError},
};

/// The number of pages that are read from the live file between two checks of its header.
const PAGES_PER_HEADER_CHECK: u64 = 64;

/// The page source that all cursors of a view share.
#[derive(Debug)]
pub(crate) struct PageReader {
    pub live: Arc<DatabaseFile>,
    /// Made when the view is taken, or when a cursor notices a commit.
    ///
    /// If it could not be made, pages are still read from the live file. The error is returned when a page is
    /// overwritten.
    pub mirror: OnceLock<Result<Mirror, Error>>,
    /// Whether a mirror is made when a commit is noticed.
    pub mirror_on_commit: bool,
    /// Whether the mirror contains all pages of the view. If so, the live file is not read.
    pub is_complete: bool,
    pub scratch_dir: PathBuf,
    /// The header at the time when the view was taken.
    pub header: Header,
    pub pages_max: u64,
    pub pages_read: AtomicU64,
}

impl PageReader {
    pub fn is_mirrored(&self) -> bool {
        self.mirror.get().is_some_and(Result::is_ok)
    }

    pub fn pages_read(&self) -> u64 {
        self.pages_read.load(Ordering::Relaxed)
    }

    fn fetch(&self, child: Child, widths: Widths) -> Result<Node, Error> {
        let read_before = self.pages_read.fetch_add(1, Ordering::Relaxed);
        if self.mirror_on_commit && read_before.is_multiple_of(PAGES_PER_HEADER_CHECK) && self.mirror.get().is_none() {
            self.mirror_if_changed()?;
        }
        if let Some(Ok(mirror)) = self.mirror.get() {
            let read = file::read_page(&mirror.file, &self.header.geometry, child, widths);
            match read.map_err(|source| mirror.scratch_error(source))? {
                PageRead::Node(node) => return Ok(node),
                PageRead::Malformed(reason) => return Err(self.live.corrupt(Some(child.number), reason)),
                PageRead::ChecksumMismatch if self.is_complete => {
                    return Err(mirror.scratch_error(std::io::Error::other("the scratch file has changed")));
                }
                PageRead::ChecksumMismatch => {}
            }
        }
        self.fetch_live(child, widths)
    }

    /// Reads a page from the live file.
    ///
    /// A page that does not match twice under the same header is corrupt, unless the newest commit may be incomplete.
    /// Then only a view in mirror mode can decide.
    fn fetch_live(&self, child: Child, widths: Widths) -> Result<Node, Error> {
        for _ in 0..2 {
            let read = file::read_page(&self.live.file, &self.header.geometry, child, widths);
            match read.map_err(|source| self.live.io_error(source))? {
                PageRead::Node(node) => return Ok(node),
                PageRead::Malformed(reason) => return Err(self.live.corrupt(Some(child.number), reason)),
                PageRead::ChecksumMismatch
                    if self.header.may_be_incomplete() || !self.live.is_unchanged(&self.header)? =>
                {
                    return Err(self.changed());
                }
                PageRead::ChecksumMismatch => {}
            }
        }
        Err(self.live.corrupt(Some(child.number), "its checksum does not match"))
    }

    /// Returns the error for a page that was overwritten. If a mirror would have kept the page and could not be made,
    /// the reason for that is returned, because the caller can do something about it.
    fn changed(&self) -> Error {
        let failure = self.mirror.get().and_then(|mirror| mirror.as_ref().err());
        failure.and_then(Error::duplicate).unwrap_or(Error::Changed)
    }

    /// Copies the file if something was committed. The pages of the view usually stay in place for one more commit,
    /// which is enough time for the copy.
    fn mirror_if_changed(&self) -> Result<(), Error> {
        if !self.live.is_unchanged(&self.header)? {
            self.mirror.get_or_init(|| Mirror::copy_of(&self.live, &self.scratch_dir));
        }
        Ok(())
    }
}

/// The page source of one cursor, with the cursor's own limit on pages.
pub(crate) struct CursorPages<'a> {
    pub reader: &'a PageReader,
    pub pages_left: &'a mut u64,
}

impl CursorPages<'_> {
    /// Replaces [`Error::Corrupt`] with [`Error::Changed`] if the file has changed.
    ///
    /// The limit on pages is computed from the length of the live file, which a writer may have shrunk at that time.
    pub fn explain(&self, error: Error) -> Error {
        let may_have_changed = matches!(error, Error::Corrupt { .. }) && !self.reader.is_complete;
        match may_have_changed.then(|| self.reader.live.is_unchanged(&self.reader.header)) {
            Some(Ok(false)) => self.reader.changed(),
            _ => error,
        }
    }
}

impl PageSource for CursorPages<'_> {
    fn fetch(&mut self, child: Child, widths: Widths) -> Result<Node, WalkError> {
        Ok(self.reader.fetch(child, widths)?)
    }

    fn pages_left(&mut self) -> &mut u64 {
        self.pages_left
    }

    fn corrupt(&self, page: Option<PageNumber>, reason: &'static str) -> Error {
        self.reader.live.corrupt(page, reason)
    }
}

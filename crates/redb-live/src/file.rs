//! Reads the live file: positioned reads, a consistent header, and checked pages. Takes no lock and follows no tree.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rustix::{buffer::spare_capacity, fs::OFlags, io::Errno};

use crate::{
    error::Error,
    header::{Geometry, HEADER_LEN, Header, HeaderError},
    page::{self, Child, CoveredLen, Node, PageNumber, Widths},
};

/// The length of the first read of a page, in bytes. Most pages are not longer. The rest of a longer page is read only
/// after its first bytes say how long it is.
const FIRST_READ_LEN: usize = 64 * 1024;

/// The C library returns memory of this size to the system when it is freed. It keeps smaller buffers for later, and those
/// of each thread apart.
const RETURNED_LEN: usize = 33 << 20;

/// The number of header reads after which the last one is used even if it differs from the one before. A writer commits
/// far less often than once per read.
const HEADER_READS_MAX: usize = 64;

/// An open database file and its path, which error messages contain.
#[derive(Debug)]
pub(crate) struct DatabaseFile {
    pub path: PathBuf,
    pub file: File,
}

impl DatabaseFile {
    /// Opens a regular file for reading.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let io_error = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => Error::NotFound { path: path.to_owned() },
            _ => Error::Io { path: path.to_owned(), source },
        };
        // Check the type first: opening a device can have effects. A FIFO that replaces the file meanwhile must not block.
        if !std::fs::metadata(path).map_err(io_error)?.is_file() {
            return Err(Error::NotRedb { path: path.to_owned(), reason: "it is not a regular file" });
        }
        let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(io_error)?;
        if !file.metadata().map_err(io_error)?.is_file() {
            return Err(Error::NotRedb { path: path.to_owned(), reason: "it is not a regular file" });
        }
        Ok(Self { path: path.to_owned(), file })
    }

    /// Returns the length of the file, in bytes.
    pub fn len_bytes(&self) -> Result<u64, Error> {
        Ok(self.file.metadata().map_err(|source| self.io_error(source))?.len())
    }

    /// Reads the header until two consecutive reads agree. A read is not atomic with respect to a write of the same
    /// bytes.
    pub fn header(&self) -> Result<Header, Error> {
        let mut last = self.header_bytes()?;
        for _ in 0..HEADER_READS_MAX {
            let next = self.header_bytes()?;
            if next == last {
                break;
            }
            last = next;
        }
        Header::parse(&last).map_err(|error| self.header_error(error))
    }

    /// Returns whether the header is unchanged. If so, no newer commit was published.
    pub fn is_unchanged(&self, header: &Header) -> Result<bool, Error> {
        Ok(header.matches(&self.header_bytes()?))
    }

    /// Returns the id of the newest commit in the header. Its trees are not checked.
    pub fn newest_transaction_id(&self) -> Result<u64, Error> {
        loop {
            let header = self.header()?;
            match header.candidates(self.len_bytes()?) {
                Ok(candidates) => return Ok(candidates.first.transaction_id),
                Err(_) if !self.is_unchanged(&header)? => {}
                Err(error) => return Err(self.header_error(error)),
            }
        }
    }

    pub fn header_error(&self, error: HeaderError) -> Error {
        let path = self.path.clone();
        match error {
            HeaderError::NotRedb(reason) => Error::NotRedb { path, reason },
            HeaderError::UnsupportedVersion(version) => Error::UnsupportedVersion { path, version },
            HeaderError::Corrupt(reason) => self.corrupt(None, reason),
        }
    }

    pub fn corrupt(&self, page: Option<PageNumber>, reason: &'static str) -> Error {
        Error::Corrupt { path: self.path.clone(), page, table: None, reason }
    }

    pub fn io_error(&self, source: io::Error) -> Error {
        Error::Io { path: self.path.clone(), source }
    }

    fn header_bytes(&self) -> Result<[u8; HEADER_LEN], Error> {
        let mut bytes = Vec::with_capacity(HEADER_LEN);
        read_up_to(&self.file, &mut bytes, 0, HEADER_LEN).map_err(|source| self.io_error(source))?;
        bytes.first_chunk().copied().ok_or_else(|| Error::NotRedb {
            path: self.path.clone(),
            reason: if bytes.is_empty() { "it is empty" } else { "it is too short" },
        })
    }
}

/// The result of reading a page.
pub(crate) enum PageRead {
    Node(Node),
    /// The page does not match the checksum in its parent.
    ChecksumMismatch,
    /// The page matches its checksum, but its contents are not valid.
    Malformed(&'static str),
}

/// Reads one page and checks it.
///
/// A page beyond the end of the file is a checksum mismatch and not an error, because a writer may have shrunk the
/// file.
pub(crate) fn read_page(file: &File, geometry: &Geometry, child: Child, widths: Widths) -> io::Result<PageRead> {
    let Some(range) = geometry.range(child.number) else {
        return Ok(PageRead::ChecksumMismatch);
    };
    let page_len = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
    let mut bytes = Vec::with_capacity(page_len.min(FIRST_READ_LEN));
    let mut wanted_len = page_len.min(FIRST_READ_LEN);
    let covered_len = loop {
        read_up_to(file, &mut bytes, range.start, wanted_len)?;
        match page::covered_len(&bytes, widths) {
            CoveredLen::Bytes(covered_len) if covered_len <= bytes.len() => break covered_len,
            CoveredLen::Bytes(need) | CoveredLen::NeedBytes(need) if need <= page_len && bytes.len() == wanted_len => {
                wanted_len = need;
            }
            _ => return Ok(PageRead::ChecksumMismatch),
        }
    };
    bytes.truncate(covered_len);
    if page::checksum(&bytes) != child.checksum {
        return Ok(PageRead::ChecksumMismatch);
    }
    Ok(match Node::parse(bytes, child.checksum, widths) {
        Ok(node) => PageRead::Node(node),
        Err(reason) => PageRead::Malformed(reason),
    })
}

/// As [`read_up_to`], in a buffer of at least [`RETURNED_LEN`]. What is not used of it takes no memory.
fn read_large(file: &File, bytes: &mut Vec<u8>, start: u64, wanted_len: usize) -> io::Result<()> {
    while bytes.len() < wanted_len {
        let next_len = wanted_len.min(bytes.len() * 2).max(RETURNED_LEN);
        let more = next_len.saturating_sub(bytes.len());
        bytes.try_reserve_exact(more).map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
        let wanted = (next_len.min(wanted_len) - bytes.len()) as u64;
        let at = start.saturating_add(bytes.len() as u64);
        if (PositionedFile { file, at }).take(wanted).read_to_end(bytes)? == 0 {
            break;
        }
    }
    Ok(())
}

/// Reads a file from an offset on, whatever others read of it.
struct PositionedFile<'a> {
    file: &'a File,
    at: u64,
}

impl Read for PositionedFile<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at = self.at.saturating_add(read as u64);
        Ok(read)
    }
}

/// Appends bytes of the file to `bytes`, until it contains the `wanted_len` bytes from offset `start` on or the file
/// ends.
///
/// The buffer grows step by step and is not zeroed first. It never takes more than twice the memory of the bytes that
/// the file contains, so a hostile length cannot exhaust the memory.
pub(crate) fn read_up_to(file: &File, bytes: &mut Vec<u8>, start: u64, wanted_len: usize) -> io::Result<()> {
    while bytes.len() < wanted_len {
        if wanted_len > RETURNED_LEN / 4 && bytes.len() >= RETURNED_LEN / 8 {
            return read_large(file, bytes, start, wanted_len);
        }
        if bytes.len() == bytes.capacity() {
            let more = (wanted_len - bytes.len()).min(bytes.len().max(FIRST_READ_LEN));
            bytes.try_reserve_exact(more).map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
        }
        let at = start.saturating_add(bytes.len() as u64);
        match rustix::io::pread(file, spare_capacity(bytes), at) {
            Ok(0) => break,
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    bytes.truncate(wanted_len);
    Ok(())
}

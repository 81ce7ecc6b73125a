//! The live file: positioned reads, the header read without tearing, and pages read and checked. Takes no lock.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use rustix::{buffer::spare_capacity, io::Errno};

use crate::{
    error::Error,
    header::{Geometry, HEADER_LEN, Header, HeaderError},
    page::{self, Child, Node, PageNumber, Used, Widths},
};

/// Most pages fit; a longer one is read in two goes, so that what it claims is bounded by what it holds.
const FIRST_READ_LEN: usize = 64 * 1024;

/// Two reads that agree are one state of the header; a writer commits far less often than this many reads take.
const HEADER_READS_MAX: usize = 64;

/// An open database file, its path kept for messages.
#[derive(Debug)]
pub(crate) struct DatabaseFile {
    pub path: PathBuf,
    pub file: File,
}

impl DatabaseFile {
    pub fn open(path: &Path) -> Result<Self, Error> {
        let io_error = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => Error::NotFound { path: path.to_owned() },
            _ => Error::Io { path: path.to_owned(), source },
        };
        // Opening a fifo would wait for a writer, so the kind is asked for first.
        if !std::fs::metadata(path).map_err(io_error)?.is_file() {
            return Err(Error::NotRedb { path: path.to_owned(), reason: "it is not a regular file" });
        }
        let file = File::open(path).map_err(io_error)?;
        if !file.metadata().map_err(io_error)?.is_file() {
            return Err(Error::NotRedb { path: path.to_owned(), reason: "it is not a regular file" });
        }
        Ok(Self { path: path.to_owned(), file })
    }

    pub fn len_bytes(&self) -> Result<u64, Error> {
        Ok(self.file.metadata().map_err(|source| self.io_error(source))?.len())
    }

    /// Reads the header until two reads agree: a read is not atomic against a write of the same bytes.
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

    /// Whether the header still reads as it did, and so no commit has become the newest since.
    pub fn is_unchanged(&self, header: &Header) -> Result<bool, Error> {
        Ok(header.is(&self.header_bytes()?))
    }

    /// The newest commit by the header, whether or not its trees hold.
    pub fn newest_id(&self) -> Result<u64, Error> {
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
            HeaderError::Damaged(reason) => self.damaged(None, reason),
        }
    }

    pub fn damaged(&self, page: Option<PageNumber>, reason: &'static str) -> Error {
        Error::Damaged { path: self.path.clone(), page, table: None, reason }
    }

    pub fn io_error(&self, source: io::Error) -> Error {
        Error::Io { path: self.path.clone(), source }
    }

    fn header_bytes(&self) -> Result<[u8; HEADER_LEN], Error> {
        let mut bytes = Vec::with_capacity(HEADER_LEN);
        read_more(&self.file, &mut bytes, 0, HEADER_LEN).map_err(|source| self.io_error(source))?;
        bytes.first_chunk().copied().ok_or_else(|| Error::NotRedb {
            path: self.path.clone(),
            reason: if bytes.is_empty() { "it is empty" } else { "it is too short" },
        })
    }
}

/// A page's contents, or that they are not what the parent says, or that they are and make no sense.
pub(crate) enum Read {
    Node(Node),
    Torn,
    Malformed(&'static str),
}

/// Reads one page and checks it. A page beyond the end of the file is torn: the file may have shrunk.
pub(crate) fn read_page(file: &File, geometry: &Geometry, child: Child, widths: Widths) -> io::Result<Read> {
    let Some(range) = geometry.range(child.number) else {
        return Ok(Read::Torn);
    };
    let page_len = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
    let mut bytes = Vec::with_capacity(page_len.min(FIRST_READ_LEN));
    let mut wanted_len = page_len.min(FIRST_READ_LEN);
    let used_len = loop {
        read_more(file, &mut bytes, range.start, wanted_len)?;
        match page::used(&bytes, widths) {
            Used::Bytes(used_len) if used_len <= bytes.len() => break used_len,
            Used::Bytes(need) | Used::NeedBytes(need) if need <= page_len && bytes.len() == wanted_len => {
                wanted_len = need;
            }
            _ => return Ok(Read::Torn),
        }
    };
    bytes.truncate(used_len);
    if page::checksum(&bytes) != child.checksum {
        return Ok(Read::Torn);
    }
    Ok(match Node::parse(bytes, child.checksum, widths) {
        Ok(node) => Read::Node(node),
        Err(reason) => Read::Malformed(reason),
    })
}

/// Reads on from `start` until `bytes` holds `wanted_len` bytes or the file ends. Nothing is filled with zeros first, and
/// no more memory is taken than twice what the file really holds.
pub(crate) fn read_more(file: &File, bytes: &mut Vec<u8>, start: u64, wanted_len: usize) -> io::Result<()> {
    while bytes.len() < wanted_len {
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

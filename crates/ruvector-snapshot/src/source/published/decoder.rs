//! Decodes the contents of a file of the published crate: bincode 2 with its standard configuration, in one gzip member.
//!
//! Nothing is believed: every length has a limit, and no memory is allocated for what has not been read.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read};
use std::path::Path;

use flate2::bufread::GzDecoder;
use ruvector_snapshot_format::checksum::hex;
use ruvector_snapshot_format::limits;
use sha2::{Digest as _, Sha256};

use crate::error::{ErrorKind, Result, SnapshotError, corrupt};

/// The magic number of gzip.
const MAGIC: [u8; 2] = [0x1f, 0x8b];
/// Size of the id, of the name of the collection, and of other texts before the records.
const HEADER_TEXT_BYTES: usize = 64 << 10;
/// Bytes that are expanded at once.
const CHUNK_BYTES: usize = 64 << 10;

/// What is before the records.
#[derive(Debug, Clone)]
pub(crate) struct Header {
    pub(crate) id: String,
    pub(crate) collection_name: String,
    /// The time as text, RFC 3339.
    pub(crate) created_at: String,
    /// The version of the crate that wrote the file.
    pub(crate) version: String,
    pub(crate) dimensions: u64,
    pub(crate) metric: &'static str,
    pub(crate) hnsw: Option<Hnsw>,
    pub(crate) records: u64,
}

/// The parameters of the index.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hnsw {
    pub(crate) m: u64,
    pub(crate) ef_construction: u64,
    pub(crate) ef_search: u64,
}

/// A record, in buffers that are used again.
#[derive(Debug, Default)]
pub(super) struct Decoded {
    pub(super) id: String,
    /// f32 values, little-endian.
    pub(super) vector: Vec<u8>,
    pub(super) payload: Option<String>,
}

/// Reads the values one after the other.
pub(super) struct Decoder<'a> {
    path: &'a Path,
    input: BufReader<Hashed>,
}

/// What was expanded, and its SHA-256.
struct Hashed {
    input: GzDecoder<BufReader<File>>,
    hash: Sha256,
    bytes: u64,
}

impl Read for Hashed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.hash.update(buffer.get(..read).unwrap_or_default());
        self.bytes += read as u64;
        Ok(read)
    }
}

impl<'a> Decoder<'a> {
    /// Starts at the beginning of a file.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::InvalidInput`] if it is no gzip file.
    pub(super) fn open(path: &'a Path, file: File) -> Result<Self> {
        let mut file = BufReader::with_capacity(CHUNK_BYTES, file);
        let start = file.fill_buf().map_err(|error| SnapshotError::io(path, "read the file", error))?;
        if !start.starts_with(&MAGIC) {
            let message = "this is not a gzip file; give a file FILE.snapshot.gz of the crate ruvector-snapshot 2.3.0";
            return Err(SnapshotError::new(ErrorKind::InvalidInput, message).with_key(path.display().to_string()));
        }
        let input = Hashed { input: GzDecoder::new(file), hash: Sha256::new(), bytes: 0 };
        Ok(Self { path, input: BufReader::with_capacity(CHUNK_BYTES, input) })
    }

    pub(super) fn header(&mut self) -> Result<Header> {
        let id = self.text(HEADER_TEXT_BYTES, "the id of the snapshot")?;
        let collection_name = self.text(HEADER_TEXT_BYTES, "the name of the collection")?;
        let created_at = self.text(HEADER_TEXT_BYTES, "the time of the snapshot")?;
        let version = self.text(HEADER_TEXT_BYTES, "the version")?;
        let dimensions = self.number()?;
        let metric = match self.number()? {
            0 => "Cosine",
            1 => "Euclidean",
            2 => "DotProduct",
            other => return Err(self.wrong(&format!("there is no metric {other}"))),
        };
        let hnsw = match self.is_some()? {
            false => None,
            true => Some(Hnsw { m: self.number()?, ef_construction: self.number()?, ef_search: self.number()? }),
        };
        let records = self.number()?;
        Ok(Header { id, collection_name, created_at, version, dimensions, metric, hnsw, records })
    }

    /// Reads the next record, whose vector must have so many dimensions.
    pub(super) fn record(&mut self, dimensions: u64, record: &mut Decoded) -> Result<()> {
        record.id = self.text(limits::ID_BYTES, "an id")?;
        let values = self.number()?;
        if values != dimensions {
            let message = format!(
                "the vector of {:?} has {values} dimensions, and the collection {dimensions}; no database can hold both, and \
                 nothing was imported",
                record.id
            );
            return Err(self.keyed(SnapshotError::new(ErrorKind::InvalidInput, message)));
        }
        let bytes = usize::try_from(values).ok().and_then(|values| values.checked_mul(4));
        let bytes = bytes.filter(|bytes| *bytes <= limits::VECTOR_BYTES);
        let bytes = bytes.ok_or_else(|| self.wrong(&format!("a vector of {values} dimensions is too long")))?;
        record.vector.clear();
        let mut vector = std::mem::take(&mut record.vector);
        self.fill(bytes, &mut vector)?;
        record.vector = vector;
        record.payload = match self.is_some()? {
            true => Some(self.text(limits::RECORD_METADATA_BYTES, "a payload")?),
            false => None,
        };
        Ok(())
    }

    /// Checks that nothing follows, and returns the SHA-256 of all that was expanded, in hexadecimal.
    pub(super) fn finish(mut self) -> Result<String> {
        let more = !self.buffer()?.is_empty();
        if more {
            return Err(self.wrong("there are bytes after the last record"));
        }
        let mut hashed = self.input.into_inner();
        let after = hashed.input.get_mut().fill_buf();
        let after = after.map_err(|error| SnapshotError::io(self.path, "read the file", error))?;
        if !after.is_empty() {
            let message =
                "the file is corrupt: there are bytes after the end of the compressed data; nothing was imported";
            return Err(corrupt(message).with_key(self.path.display().to_string()));
        }
        Ok(hex(&hashed.hash.finalize()))
    }

    /// Returns what is expanded and not read yet. Empty at the end.
    fn buffer(&mut self) -> Result<&[u8]> {
        let path = self.path;
        self.input.fill_buf().map_err(|error| match error.raw_os_error() {
            Some(_) => SnapshotError::io(path, "read the file", error),
            // An error of the gzip decoder. A file that was cut ends too early.
            None => {
                let what = match error.kind() {
                    io::ErrorKind::UnexpectedEof => "it ends too early",
                    _ => "it cannot be expanded",
                };
                let message = format!("the file is corrupt: {what}; nothing was imported");
                corrupt(message).with_key(path.display().to_string()).with_source(error)
            }
        })
    }

    /// Appends so many bytes. Memory grows with what is read.
    fn fill(&mut self, bytes: usize, to: &mut Vec<u8>) -> Result<()> {
        let mut left = bytes;
        while left > 0 {
            let buffer = self.buffer()?;
            let part = buffer.get(..left.min(buffer.len())).unwrap_or_default();
            let read = part.len();
            to.extend_from_slice(part);
            if read == 0 {
                return Err(self.wrong("the contents end too early"));
            }
            self.input.consume(read);
            left -= read;
        }
        Ok(())
    }

    fn byte(&mut self) -> Result<u8> {
        let first = self.buffer()?.first().copied();
        let Some(byte) = first else { return Err(self.wrong("the contents end too early")) };
        self.input.consume(1);
        Ok(byte)
    }

    /// Reads a number: one byte, or the number of bytes that follow.
    fn number(&mut self) -> Result<u64> {
        let bytes = match self.byte()? {
            small @ 0..=250 => return Ok(u64::from(small)),
            251 => 2,
            252 => 4,
            253 => 8,
            _ => return Err(self.wrong("a number is too large")),
        };
        let mut number = 0_u64;
        for place in 0..bytes {
            number |= u64::from(self.byte()?) << (8 * place);
        }
        Ok(number)
    }

    fn is_some(&mut self) -> Result<bool> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(self.wrong(&format!("{other} says neither that a value is there nor that there is none"))),
        }
    }

    fn text(&mut self, bytes_max: usize, what: &str) -> Result<String> {
        let number = self.number()?;
        let bytes = usize::try_from(number).ok().filter(|bytes| *bytes <= bytes_max);
        let Some(bytes) = bytes else {
            return Err(self.wrong(&format!("{what} has {number} bytes, more than the {bytes_max} allowed")));
        };
        let mut text = Vec::new();
        self.fill(bytes, &mut text)?;
        String::from_utf8(text).map_err(|error| self.wrong(&format!("{what} is not UTF-8")).with_source(error))
    }

    fn wrong(&self, what: &str) -> SnapshotError {
        let at = self.input.get_ref().bytes.saturating_sub(self.input.buffer().len() as u64);
        let message = format!(
            "this is no intact snapshot of the crate ruvector-snapshot 2.3.0: {what}, at byte {at} of the contents; nothing was \
             imported"
        );
        self.keyed(corrupt(message))
    }

    fn keyed(&self, error: SnapshotError) -> SnapshotError {
        error.with_key(self.path.display().to_string())
    }
}

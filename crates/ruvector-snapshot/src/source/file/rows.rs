//! The encoding of the rows of a database file, which rows form a record of the format, and the errors of reading them.
//! Opens no table.

use ruvector_snapshot_format::model::Record;
use ruvector_snapshot_format::{limits, payloads};

use crate::error::{ErrorKind, SnapshotError};

/// Number of characters of an id that are shown.
const ID_CHARS_SHOWN: usize = 64;

/// The rows of one id, as the database has them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IdRows<'a> {
    pub(crate) key: &'a [u8],
    /// The row of `vectors`.
    pub(crate) vector: Option<&'a [u8]>,
    /// The row of `metadata`.
    pub(crate) metadata: Option<&'a [u8]>,
}

impl<'a> IdRows<'a> {
    /// Returns the record that the rows form, or why they form none: then they are irregular. Depends on nothing but the
    /// rows and the dimensions of the database, so a restored file has the same records.
    pub(crate) fn record(&self, dimensions: u64) -> std::result::Result<Record<'a>, String> {
        let vector = checked_vector(self.vector.ok_or("it has metadata, but no vector")?, dimensions)?;
        let (id, metadata) = self.texts()?;
        Ok(Record { id, vector, metadata })
    }

    /// Returns the id and the metadata. The metadata has a canonical form.
    pub(crate) fn texts(&self) -> std::result::Result<(&'a str, Option<&'a str>), String> {
        if self.key.len() > limits::ID_BYTES {
            return Err(format!("its id has {} bytes, more than 1 MiB", self.key.len()));
        }
        let id = std::str::from_utf8(self.key).map_err(|_| "its id is not UTF-8")?;
        let Some(bytes) = self.metadata else { return Ok((id, None)) };
        if bytes.len() > limits::RECORD_METADATA_BYTES {
            return Err(format!("its metadata has {} bytes, more than 64 MiB", bytes.len()));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| "its metadata is not UTF-8")?;
        payloads::check_canonical(text).map_err(|error| error.message().to_owned())?;
        Ok((id, Some(text)))
    }

    /// Returns the rows as a record, without checking that they form one.
    pub(super) fn as_record(&self) -> Option<Record<'a>> {
        let (id, metadata) = self.as_texts()?;
        Some(Record { id, vector: vector_bytes(self.vector?)?, metadata })
    }

    /// Returns the id and the metadata, without checking the metadata.
    pub(super) fn as_texts(&self) -> Option<(&'a str, Option<&'a str>)> {
        let text = |bytes| std::str::from_utf8(bytes).ok();
        let metadata = match self.metadata {
            Some(bytes) => Some(text(bytes)?),
            None => None,
        };
        Some((text(self.key)?, metadata))
    }
}

/// Names a record for a person, with the reason why it is irregular.
pub(crate) fn irregular_example(key: &[u8], why: &str) -> String {
    let id = String::from_utf8_lossy(key);
    let mut shown: String = id.chars().take(ID_CHARS_SHOWN).collect();
    if shown.len() < id.len() {
        shown.push('…');
    }
    let why: String = why.chars().take(2 * ID_CHARS_SHOWN).collect();
    format!("record {shown:?}: {why}")
}

/// Returns the values of a row of `vectors`, f32 little-endian, or why it is not one of a record.
pub(super) fn checked_vector(value: &[u8], dimensions: u64) -> std::result::Result<&[u8], String> {
    let vector = vector_bytes(value).ok_or("its vector is malformed")?;
    if vector.len() > limits::VECTOR_BYTES {
        return Err(format!("its vector has {} bytes, more than 64 MiB", vector.len()));
    }
    let found = vector.len() as u64 / 4;
    if found != dimensions {
        return Err(format!("its vector has {found} dimensions, but the database has {dimensions}"));
    }
    Ok(vector)
}

/// Appends the bincode encoding of f32 values: the inverse of [`vector_bytes`].
pub(crate) fn append_vector(values: &[u8], out: &mut Vec<u8>) {
    let length = values.len() / 4;
    if length <= 250 {
        out.push(length as u8);
    } else if let Ok(length) = u16::try_from(length) {
        out.push(251);
        out.extend_from_slice(&length.to_le_bytes());
    } else {
        // The format limits a vector to 64 MiB.
        out.push(252);
        out.extend_from_slice(&(length as u32).to_le_bytes());
    }
    out.extend_from_slice(values);
}

/// Returns the f32 values, little-endian, of a bincode `Vec<f32>`: a varint length, then the values.
pub(crate) fn vector_bytes(value: &[u8]) -> Option<&[u8]> {
    let (tag, rest) = value.split_first()?;
    let (length, values) = match tag {
        0..=250 => (u64::from(*tag), rest),
        251 => rest.split_first_chunk::<2>().map(|(bytes, rest)| (u64::from(u16::from_le_bytes(*bytes)), rest))?,
        252 => rest.split_first_chunk::<4>().map(|(bytes, rest)| (u64::from(u32::from_le_bytes(*bytes)), rest))?,
        253 => rest.split_first_chunk::<8>().map(|(bytes, rest)| (u64::from_le_bytes(*bytes), rest))?,
        _ => return None,
    };
    (length.checked_mul(4)? == values.len() as u64).then_some(values)
}

/// A reader that reads only parts of a database file has met an irregular row, or has missed one. The file must be read
/// completely.
#[derive(Debug)]
struct IrregularRowMet;

impl std::fmt::Display for IrregularRowMet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the database has irregular rows")
    }
}

impl std::error::Error for IrregularRowMet {}

/// Returns the error with which a reader that is restricted to parts of a database file ends at an irregular row.
pub(crate) fn irregular_row_met() -> SnapshotError {
    SnapshotError::new(ErrorKind::Internal, "cannot read only what has changed").with_source(IrregularRowMet)
}

/// Returns whether an error is that of [`irregular_row_met`].
pub(crate) fn is_irregular_row_met(error: &SnapshotError) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<IrregularRowMet>())
}

/// Converts an error of redb-live.
pub(super) fn live_error(error: redb_live::Error) -> SnapshotError {
    use redb_live::Error as Live;
    let kind = match &error {
        Live::NotFound { .. } => ErrorKind::NotFound,
        Live::NotRedb { .. } | Live::UnsupportedTable { .. } => ErrorKind::InvalidInput,
        Live::UnsupportedVersion { .. } => ErrorKind::Unsupported,
        Live::Corrupt { .. } => ErrorKind::Corrupt,
        Live::Changed | Live::Busy { .. } => ErrorKind::Busy,
        Live::StorageFull { .. } => ErrorKind::StorageFull,
        Live::Io { source, .. } | Live::Scratch { source, .. } => source.kind().into(),
        _ => ErrorKind::Unavailable,
    };
    SnapshotError::new(kind, error.to_string()).with_source(error)
}

//! The encoding of the rows of a database file, and the errors for what is wrong with them. Opens no table.

use std::path::Path;

use crate::error::{ErrorKind, Result, SnapshotError};

/// Returns the values of a row of `vectors`, f32 little-endian, checked against the dimensions of the database.
pub(super) fn checked_vector<'a>(path: &Path, id: &str, value: &'a [u8], dimensions: u64) -> Result<&'a [u8]> {
    let vector =
        vector_bytes(value).ok_or_else(|| corrupt_database(path, &format!("the vector of id {id:?} is malformed")))?;
    let found = vector.len() as u64 / 4;
    if found == dimensions {
        return Ok(vector);
    }
    let what = format!("the vector of id {id:?} has {found} dimensions, but the database has {dimensions}");
    Err(corrupt_database(path, &what))
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
pub(super) fn vector_bytes(value: &[u8]) -> Option<&[u8]> {
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

pub(super) fn corrupt_database(path: &Path, what: &str) -> SnapshotError {
    let message = format!("the database is corrupt: {what}");
    SnapshotError::new(ErrorKind::Corrupt, message).with_key(path.display().to_string())
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

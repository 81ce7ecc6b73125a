//! The sidecar of a file of the published crate: `ID.metadata.json` beside `ID.snapshot.gz`.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::decoder::Header;
use crate::error::{ErrorKind, Remedy, Result, SnapshotError, corrupt};

const FILE_SUFFIX: &str = ".snapshot.gz";
const SIDECAR_SUFFIX: &str = ".metadata.json";
/// The largest sidecar. The crate writes a few hundred bytes.
const BYTES_MAX: u64 = 1 << 20;

/// What it says of the file.
#[derive(Debug, Deserialize)]
pub(super) struct Sidecar {
    id: String,
    vectors_count: u64,
    /// The SHA-256 of the expanded bytes, in hexadecimal.
    checksum: String,
    /// The size of the file.
    size_bytes: u64,
    #[serde(skip)]
    path: PathBuf,
}

impl Sidecar {
    /// Reads the sidecar of a file. `None` if there is none and none is needed.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::NotFound`] if there is none, and [`ErrorKind::Corrupt`] if it is not what the crate writes.
    pub(super) fn of(file: &Path, is_needed: bool) -> Result<Option<Self>> {
        let path = path_of(file);
        let opened = match &path {
            Some(path) => File::open(path),
            None => Err(io::Error::from(io::ErrorKind::NotFound)),
        };
        let sidecar = match opened {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !is_needed => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(missing(file, path.as_deref())),
            Err(error) => return Err(SnapshotError::io(&path.unwrap_or_default(), "open the sidecar", error)),
            Ok(sidecar) => sidecar,
        };
        let path = path.unwrap_or_default();
        let mut json = Vec::new();
        let read = sidecar.take(BYTES_MAX).read_to_end(&mut json);
        read.map_err(|error| SnapshotError::io(&path, "read the sidecar", error))?;
        let parsed: Self = serde_json::from_slice(&json).map_err(|error| {
            let message = "the sidecar is not what the crate ruvector-snapshot 2.3.0 writes; nothing was imported";
            corrupt(message).with_key(path.display().to_string()).with_source(error)
        })?;
        Ok(Some(Self { path, ..parsed }))
    }

    /// Compares what is known before the records are read.
    pub(super) fn check_header(&self, file_bytes: u64, header: &Header) -> Result<()> {
        self.compare("size of the file in bytes", &self.size_bytes.to_string(), &file_bytes.to_string())?;
        self.compare("id", &self.id, &header.id)?;
        self.compare("number of vectors", &self.vectors_count.to_string(), &header.records.to_string())
    }

    /// Compares the SHA-256 of the expanded bytes.
    pub(super) fn check_sha256(&self, found: &str) -> Result<()> {
        self.compare("SHA-256 of the contents", &self.checksum.to_ascii_lowercase(), found)
    }

    fn compare(&self, what: &str, expected: &str, found: &str) -> Result<()> {
        if expected == found {
            return Ok(());
        }
        let message = format!(
            "the {what} is {found:?}, and {expected:?} in the sidecar: one of the two files is corrupt, or they do not belong \
             together; nothing was imported"
        );
        Err(corrupt(message).with_key(self.path.display().to_string()))
    }
}

fn path_of(file: &Path) -> Option<PathBuf> {
    let name = file.file_name()?.to_str()?.strip_suffix(FILE_SUFFIX)?;
    Some(file.with_file_name(format!("{name}{SIDECAR_SUFFIX}")))
}

fn missing(file: &Path, sidecar: Option<&Path>) -> SnapshotError {
    let message = match sidecar {
        Some(path) => format!(
            "there is no {}, the sidecar with the SHA-256 of the contents, so nothing shows that the file is what was written; \
             nothing was imported",
            path.display()
        ),
        None => format!(
            "the name does not end in {FILE_SUFFIX}, so its sidecar with the SHA-256 of the contents is not known, and nothing \
             shows that the file is what was written; nothing was imported"
        ),
    };
    let advice = "put the sidecar beside the file, or import the file unverified";
    SnapshotError::new(ErrorKind::NotFound, message)
        .with_remedy(Remedy::Unverified, advice)
        .with_key(file.display().to_string())
}

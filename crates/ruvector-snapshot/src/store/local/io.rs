//! What everything in a local directory needs: work on a thread where it may block, and errors with the path where they
//! occurred.

use std::error::Error as _;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use object_store::Result;

pub(super) async fn run_blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await?
}

/// The C library returns memory of this size to the system when it is freed. It keeps smaller buffers for later, and those
/// of each thread apart.
pub(in crate::store) const RETURNED_BYTES: u64 = 33 << 20;

/// Reads a large part of a file into a buffer of at least [`RETURNED_BYTES`]. What is not used of it takes no memory.
pub(in crate::store) async fn read_large(file: File, path: PathBuf, range: Range<u64>) -> Result<Bytes> {
    let read = move || {
        let mut file = file;
        let length = range.end.saturating_sub(range.start);
        let mut bytes = Vec::with_capacity(usize::try_from(length.max(RETURNED_BYTES)).unwrap_or_default());
        file.seek(SeekFrom::Start(range.start))?;
        file.take(length).read_to_end(&mut bytes)?;
        Ok(bytes.into())
    };
    run_blocking(move || read().map_err(|error| at(&path, error))).await
}

/// Returns an I/O error with the path where it occurred.
pub(super) fn at(path: &Path, source: io::Error) -> object_store::Error {
    generic(AtPath { path: path.to_owned(), source })
}

/// Returns the error for a file that was removed from a directory that could not be synced.
pub(super) fn not_durable(path: &Path, source: io::Error) -> object_store::Error {
    generic(NotDurable { path: path.to_owned(), source })
}

/// Fails if the directory of the store is not there. A store without it must not look like an empty one.
pub(super) fn check_root(root: &Path) -> Result<()> {
    match std::fs::metadata(root) {
        Ok(found) if found.is_dir() => Ok(()),
        Err(error) if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Err(at(root, error))
        }
        _ => Err(generic(RootIsGone { root: root.to_owned() })),
    }
}

/// Traces that a change of a directory may be lost in a power failure.
pub(super) fn trace_unsupported(path: &Path, error: &io::Error) {
    tracing::debug!(path = %path.display(), %error, "the file system does not sync directories");
}

pub(super) fn generic(source: impl std::error::Error + Send + Sync + 'static) -> object_store::Error {
    object_store::Error::Generic { store: "LocalFs", source: Box::new(source) }
}

/// Nothing is known of the objects of such a store: its disk may be unmounted.
#[derive(Debug, thiserror::Error)]
#[error("the directory {} does not exist any more", root.display())]
pub(in crate::store) struct RootIsGone {
    root: PathBuf,
}

impl RootIsGone {
    pub(in crate::store) fn is_cause_of(error: &object_store::Error) -> bool {
        matches!(error, object_store::Error::Generic { source, .. } if source.is::<Self>())
    }
}

/// What is behind a link in a store belongs to somebody else.
#[derive(Debug, thiserror::Error)]
#[error("{} is a symbolic link", path.display())]
pub(in crate::store) struct LinkInStore {
    path: PathBuf,
}

impl LinkInStore {
    pub(super) fn error(path: PathBuf) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidInput, Self { path })
    }

    /// Returns the link that is the cause of an error.
    pub(in crate::store) fn within(error: &object_store::Error) -> Option<&Self> {
        let causes = std::iter::successors(error.source(), |&cause| cause.source());
        causes.filter_map(|cause| cause.downcast_ref::<io::Error>()?.get_ref()?.downcast_ref()).next()
    }
}

#[derive(Debug, thiserror::Error)]
#[error("at {}", path.display())]
struct AtPath {
    path: PathBuf,
    source: io::Error,
}

#[derive(Debug, thiserror::Error)]
#[error("{} was removed, but its directory could not be synced: after a power failure it may be back", path.display())]
struct NotDurable {
    path: PathBuf,
    source: io::Error,
}

//! The one error of this crate: a kind that says what the caller can do, a sentence that says what happened to what,
//! and the cause underneath.
//!
//! Sentences are lower case without a full stop, and name the snapshot, key or path concerned. Errors are returned and
//! never logged. No secret ever enters one.

use std::error::Error as StdError;
use std::fmt;

/// A result whose error is a [`SnapshotError`].
pub type Result<T, E = SnapshotError> = std::result::Result<T, E>;

/// What an error means for the caller: try again, ask for something else, or look at the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// What was asked for is not there.
    NotFound,
    /// Something stands where the new thing should go; nothing was overwritten.
    AlreadyExists,
    /// The request itself cannot be carried out: a name, an id, an option, a file of the wrong kind.
    Invalid,
    /// Stored bytes are not what was written: a snapshot or a database is damaged.
    Damaged,
    /// Written by a newer version of this program, or of the database.
    Unsupported,
    /// The credentials or the permissions do not allow it.
    Denied,
    /// A disk or a quota is full.
    NoSpace,
    /// The database kept changing and no single moment of it could be read; try again, or pause the writes.
    Busy,
    /// The store or the disk did not answer as it should; trying again may help.
    Unavailable,
    /// A bug in this program.
    Internal,
}

/// An error of this crate: see [`SnapshotError::kind`] for what to do about it.
pub struct SnapshotError {
    kind: ErrorKind,
    message: String,
    key: Option<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl SnapshotError {
    /// An error of this kind; `message` is lower case, without a full stop, and says what happened to what and, where
    /// it is not plain, what can be done.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), key: None, source: None }
    }

    /// Names the stored object or the file concerned, where the message does not.
    #[must_use]
    pub fn at(mut self, key: impl Into<String>) -> Self {
        self.key.get_or_insert_with(|| key.into());
        self
    }

    /// Keeps the cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What this error means for the caller.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What happened, without the key.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The key of the stored object, or the path of the file, that the error is about.
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// An I/O error at a path, with the kind that fits it.
    pub fn io(path: &std::path::Path, doing: &str, error: std::io::Error) -> Self {
        let kind = ErrorKind::from(error.kind());
        Self::new(kind, format!("cannot {doing}")).at(path.display().to_string()).because(error)
    }
}

impl From<std::io::ErrorKind> for ErrorKind {
    fn from(kind: std::io::ErrorKind) -> Self {
        use std::io::ErrorKind as Io;
        match kind {
            Io::NotFound => Self::NotFound,
            Io::AlreadyExists => Self::AlreadyExists,
            Io::PermissionDenied | Io::ReadOnlyFilesystem => Self::Denied,
            Io::StorageFull | Io::QuotaExceeded | Io::FileTooLarge => Self::NoSpace,
            Io::InvalidInput | Io::NotADirectory | Io::IsADirectory | Io::InvalidFilename => Self::Invalid,
            _ => Self::Unavailable,
        }
    }
}

impl fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            Some(key) => write!(f, "{}: {}", key, self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl fmt::Debug for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.kind)?;
        let mut cause = self.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

impl StdError for SnapshotError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|error| error as &(dyn StdError + 'static))
    }
}

//! The error of this crate: a kind that says what the caller can do, a message, the key or path concerned, and the
//! cause.
//!
//! Messages are lower case, without a full stop. Errors are returned and never logged. No secret is ever part of one.

pub(crate) mod limit;

use std::error::Error as StdError;
use std::fmt;

use ruvector_snapshot_format::id::SnapshotId;
use ruvector_snapshot_format::{FormatError, FormatErrorKind, layout};
use serde::{Deserialize, Serialize};

use self::limit::Limit;

/// A result whose error is a [`SnapshotError`].
pub type Result<T, E = SnapshotError> = std::result::Result<T, E>;

/// What an error means for the caller.
///
/// The [crate documentation](crate#errors) says what to do for each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// The snapshot, object or file does not exist.
    NotFound,
    /// An object or file already exists. Nothing was overwritten.
    AlreadyExists,
    /// The request cannot be carried out: a name, an id, an option, or a file of the wrong kind.
    InvalidInput,
    /// Stored bytes are not the bytes that were written: a snapshot or a database is corrupt.
    Corrupt,
    /// A newer version of this program, or of the database, wrote the data.
    Unsupported,
    /// The credentials or the permissions do not allow the request.
    PermissionDenied,
    /// A disk or a quota is full, or a file has reached the largest size that this process or the file system allows.
    StorageFull,
    /// The database is in use: it changed too quickly for one point in time to be read, or a program has the file open
    /// that a restore would replace.
    Busy,
    /// The store or the disk did not answer as expected.
    Unavailable,
    /// The snapshot is pinned.
    Pinned,
    /// An upload in progress, or an interrupted one, depends on the snapshot.
    InUse,
    /// Other snapshots depend on the snapshot.
    HasDependents,
    /// What a user calls a snapshot can mean several.
    Ambiguous,
    /// A bug in this program.
    Internal,
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotFound => "not found",
            Self::AlreadyExists => "already exists",
            Self::InvalidInput => "invalid input",
            Self::Corrupt => "corrupt",
            Self::Unsupported => "unsupported",
            Self::PermissionDenied => "permission denied",
            Self::StorageFull => "storage full",
            Self::Busy => "busy",
            Self::Unavailable => "unavailable",
            Self::Pinned => "pinned",
            Self::InUse => "in use",
            Self::HasDependents => "has dependents",
            Self::Ambiguous => "ambiguous",
            Self::Internal => "internal error",
        })
    }
}

/// What a caller can do about an error, where it is a choice that the caller makes with an option of its own. A program
/// can say it in the words of its options.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Remedy {
    /// Delete the dependents of the snapshots first, or delete them too, with `cascade`.
    Cascade,
    /// Repair the corrupt snapshot whose base cannot be read, or delete it together with the others, with `cascade`.
    DeleteUnreadable,
    /// Take a full snapshot, compact the base, or allow a longer chain with
    /// [`SnapshotConfig::max_chain_length`](crate::SnapshotConfig::max_chain_length).
    LongerChain,
    /// Take a full snapshot, or accept the base with
    /// [`CreateOptions::base_from_elsewhere`](crate::CreateOptions::base_from_elsewhere).
    BaseFromElsewhere,
    /// Take a full snapshot instead of an increment, and verify the base.
    FullSnapshot,
    /// Create the snapshot without [`CreateOptions::strict`](crate::CreateOptions::strict).
    NotStrict,
    /// Make room in the store in another way, or delete without markers, with
    /// [`DeleteOptions::exclusive`](crate::DeleteOptions::exclusive), if nothing else is at work at the store.
    Exclusive,
    /// Check the location and that its disk is mounted, or start a new store, without
    /// [`SnapshotConfig::require_store`](crate::SnapshotConfig::require_store).
    NewStore,
    /// Add a rule to the policy that keeps something of every group.
    AddRule,
    /// Add a rule that keeps a snapshot of the database, or allow that none is left.
    AllowUnprotected,
    /// Choose another path, or replace the file with [`RestoreOptions::overwrite`](crate::RestoreOptions::overwrite).
    Overwrite,
    /// Choose what happens to records that differ, with [`MergeOptions::on_conflict`](crate::MergeOptions::on_conflict).
    OnConflict,
    /// Merge the records into the database at that path, with
    /// [`merge_snapshot_into`](crate::SnapshotManager::merge_snapshot_into), or choose another path. To replace the file
    /// would leave only the selected records.
    MergePart,
    /// Restore to a new file: the database that records were to be merged into is missing or corrupt.
    NewFile,
    /// Look for a snapshot that has the record, with [`find_record`](crate::SnapshotManager::find_record).
    FindRecord,
    /// Put the sidecar of the file beside it, or import the file without its checksum, with
    /// [`ImportOptions::unverified`](crate::ImportOptions::unverified).
    Unverified,
    /// Raise the limit of the size of files that this process may write, or use a file system that holds larger files.
    FileSizeLimit,
    /// Raise the limit of the number of files that this process may have open, or use fewer connections at the same time,
    /// with [`TransferConfig::max_concurrent_io`](crate::store::TransferConfig::max_concurrent_io).
    OpenFilesLimit,
    /// Find the process that has too many files open, or raise the limit of the machine.
    OpenFilesOfMachine,
    /// Raise the limit of the number of threads and processes of this user, container or service.
    ThreadsLimit,
    /// Check that the vectors are of the same embedding model, and accept another identity of it with `other_embedding`, if the
    /// vectors can be compared all the same.
    OtherEmbedding,
    /// Check the id and the path, and accept that the file is the database of other snapshots with `other_database`, if it is
    /// what is wanted.
    OtherDatabase,
    /// Open the database with the version of Ruvector that wrote it. The snapshot is intact.
    OtherRuvector,
    /// Bring the objects of the snapshot back from the archive class that they were moved to, with the tools of the
    /// provider, and repeat the call when that is done.
    BringFromArchive,
}

/// An error of this crate.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> ruvector_snapshot::Result<()> {
/// use ruvector_snapshot::{ErrorKind, SnapshotConfig, SnapshotManager};
///
/// let manager = SnapshotManager::open("memory://", SnapshotConfig::default())?;
/// let error = manager.delete_snapshot("20260131T080000000Z-0123456789abcdef").await.unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::NotFound);
/// assert!(!error.is_retryable());
/// # Ok(()) }
/// ```
pub struct SnapshotError {
    kind: ErrorKind,
    message: String,
    /// What can be done, and how much of the message is before the words that say it.
    remedy: Option<(Remedy, usize)>,
    key: Option<String>,
    /// The snapshot that the error is about.
    snapshot_id: Option<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl SnapshotError {
    /// Creates an error. `message` is lower case, without a full stop, and says what failed, why, and what to do.
    ///
    /// # Examples
    ///
    /// ```
    /// use ruvector_snapshot::{ErrorKind, SnapshotError};
    ///
    /// let error = SnapshotError::new(ErrorKind::Unavailable, "the other database does not respond");
    /// ```
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), remedy: None, key: None, snapshot_id: None, source: None }
    }

    /// Creates the error for an I/O error at a path. `doing` completes the sentence "cannot …".
    ///
    /// # Examples
    ///
    /// ```
    /// use std::path::Path;
    ///
    /// use ruvector_snapshot::SnapshotError;
    ///
    /// let path = Path::new("missing");
    /// let error = std::fs::File::open(path).map_err(|error| SnapshotError::io(path, "open the file", error)).unwrap_err();
    /// assert_eq!(error.to_string(), "missing: cannot open the file");
    /// ```
    pub fn io(path: &std::path::Path, doing: &str, error: std::io::Error) -> Self {
        let kind = ErrorKind::from(error.kind());
        Self::new(kind, format!("cannot {doing}")).with_key(path.display().to_string()).with_source(error)
    }

    /// Creates the error for a thread that could not be started. `doing` completes the sentence "cannot …".
    ///
    /// # Examples
    ///
    /// ```
    /// use ruvector_snapshot::{Remedy, SnapshotError};
    ///
    /// let cause = std::io::Error::from(std::io::ErrorKind::WouldBlock);
    /// let error = SnapshotError::thread("compare two tables", cause);
    /// assert_eq!(error.remedy(), Some(Remedy::ThreadsLimit));
    /// assert!(error.to_string().starts_with("cannot compare two tables: this user"));
    /// ```
    pub fn thread(doing: &str, error: std::io::Error) -> Self {
        let limit = Limit::within(&error).unwrap_or(Limit::Threads);
        Self::new(limit.kind(), format!("cannot {doing}")).naming(limit).with_source(error)
    }

    /// Names the object or file that the error is about, if the error has no key yet.
    ///
    /// # Examples
    ///
    /// ```
    /// use ruvector_snapshot::{ErrorKind, SnapshotError};
    ///
    /// let error = SnapshotError::new(ErrorKind::NotFound, "there is no such object").with_key("a/b");
    /// assert_eq!(error.key(), Some("a/b"));
    /// ```
    #[must_use]
    pub fn with_key(mut self, key: impl Into<String>) -> Self {
        self.key.get_or_insert_with(|| key.into());
        self
    }

    /// Names the snapshot that the error is about.
    #[must_use]
    pub(crate) fn with_snapshot(self, id: &SnapshotId) -> Self {
        Self { snapshot_id: Some(id.to_string()), ..self }
    }

    /// Returns the id of the snapshot that the error is about, if it is about one.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> ruvector_snapshot::Result<()> {
    /// use ruvector_snapshot::{SnapshotConfig, SnapshotManager};
    ///
    /// let manager = SnapshotManager::open("memory://", SnapshotConfig::default())?;
    /// let id = "20260131T080000000Z-0123456789abcdef";
    /// let error = manager.delete_snapshot(id).await.unwrap_err();
    /// assert_eq!(error.snapshot_id().as_deref(), Some(id));
    /// # Ok(()) }
    /// ```
    pub fn snapshot_id(&self) -> Option<String> {
        let of_key = || layout::parse_key(self.key.as_deref()?).map(|(id, _)| id.to_string());
        self.snapshot_id.clone().or_else(of_key)
    }

    /// Adds what can be done to the end of the message: as data, and in the words of this library.
    #[must_use]
    pub(crate) fn with_remedy(mut self, remedy: Remedy, advice: &str) -> Self {
        self.remedy = Some((remedy, self.message.len()));
        self.message.push_str("; ");
        self.message.push_str(advice);
        self
    }

    /// Returns an error of the same kind with another problem. What can be done stays.
    pub(crate) fn about(&self, problem: String) -> Self {
        let error = Self { snapshot_id: self.snapshot_id.clone(), ..Self::new(self.kind, problem) };
        match (self.remedy(), self.advice()) {
            (Some(remedy), Some(advice)) => error.with_remedy(remedy, advice),
            _ => error,
        }
    }

    /// Adds what a clean-up has left that failed too, before the words that say what can be done.
    pub(crate) fn leaving(mut self, left: &[String]) -> Self {
        if left.is_empty() {
            return self;
        }
        let text = format!("; the clean-up failed too, and left {}", left.join(", "));
        self.message.insert_str(self.problem().len(), &text);
        self.remedy = self.remedy.map(|(remedy, end)| (remedy, end + text.len()));
        self
    }

    /// Says in which stores that is so.
    #[must_use]
    pub(crate) fn in_stores(mut self, stores: &[String]) -> Self {
        let text = format!("in {}: ", stores.join(" and in "));
        self.message.insert_str(0, &text);
        self.remedy = self.remedy.map(|(remedy, end)| (remedy, end + text.len()));
        self
    }

    /// Says what could not be done because stored data is corrupt or of a newer version, and what that means. Other errors
    /// stay as they are.
    pub(crate) fn while_doing(self, doing: &str, outcome: &str) -> Self {
        if !matches!(self.kind, ErrorKind::Corrupt | ErrorKind::Unsupported) {
            return self;
        }
        let mut error = Self::new(self.kind, format!("cannot {doing}: {}; {outcome}", self.message));
        error.key.clone_from(&self.key);
        error.snapshot_id.clone_from(&self.snapshot_id);
        error.with_source(self)
    }

    /// Keeps the cause. If a limit of the process or of the machine is the cause, the message names it, and what can be
    /// done about it is the [`remedy`](Self::remedy), unless there is one already.
    ///
    /// # Examples
    ///
    /// ```
    /// use ruvector_snapshot::{ErrorKind, SnapshotError};
    ///
    /// let source = std::io::Error::other("broken");
    /// let error = SnapshotError::new(ErrorKind::Unavailable, "cannot read").with_source(source);
    /// assert!(std::error::Error::source(&error).is_some());
    /// ```
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        let source = source.into();
        let limit = Limit::within(&*source).filter(|_| self.remedy.is_none());
        self.source = Some(source);
        match limit {
            Some(limit) => self.naming(limit),
            None => self,
        }
    }

    /// Adds a limit that was reached to the message, unless it is the message of an error that names it.
    fn naming(mut self, limit: Limit) -> Self {
        let (remedy, advice) = limit.remedy();
        if self.message.ends_with(advice) {
            self.remedy = Some((remedy, self.message.len() - advice.len() - "; ".len()));
            return self;
        }
        self.kind = limit.kind();
        if self.message.contains(advice) {
            return self;
        }
        if !self.message.contains(limit.problem()) {
            self.message.push_str(": ");
            self.message.push_str(limit.problem());
        }
        self.with_remedy(remedy, advice)
    }

    /// Returns what the error means for the caller.
    ///
    /// # Examples
    ///
    /// ```
    /// use ruvector_snapshot::{ErrorKind, SnapshotError};
    ///
    /// let error = SnapshotError::new(ErrorKind::NotFound, "there is no such object");
    /// assert_eq!(error.kind(), ErrorKind::NotFound);
    /// ```
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Returns what happened, without the key.
    ///
    /// # Examples
    ///
    /// ```
    /// use ruvector_snapshot::{ErrorKind, SnapshotError};
    ///
    /// let error = SnapshotError::new(ErrorKind::NotFound, "there is no such object");
    /// assert_eq!(error.message(), "there is no such object");
    /// ```
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Returns the key of the object, or the path of the file, that the error is about.
    ///
    /// # Examples
    ///
    /// ```
    /// use ruvector_snapshot::{ErrorKind, SnapshotError};
    ///
    /// let error = SnapshotError::new(ErrorKind::NotFound, "there is no such object");
    /// assert_eq!(error.key(), None);
    /// ```
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// Returns what can be done about the error, if a program may want to say it in its own words.
    ///
    /// # Examples
    ///
    /// ```
    /// use ruvector_snapshot::{ErrorKind, SnapshotError};
    ///
    /// let error = SnapshotError::new(ErrorKind::NotFound, "there is no such object");
    /// assert_eq!(error.remedy(), None);
    /// ```
    pub fn remedy(&self) -> Option<Remedy> {
        self.remedy.map(|(remedy, _)| remedy)
    }

    /// Returns whether a limit of this process or machine is the reason, and not what the error is about.
    pub(crate) fn is_of_process(&self) -> bool {
        let limits = [Remedy::OpenFilesLimit, Remedy::OpenFilesOfMachine, Remedy::ThreadsLimit];
        self.remedy().is_some_and(|remedy| limits.contains(&remedy))
    }

    /// Returns the [`message`](Self::message) without the words that say what can be done, if there is a
    /// [`remedy`](Self::remedy).
    ///
    /// # Examples
    ///
    /// ```
    /// use ruvector_snapshot::{ErrorKind, SnapshotError};
    ///
    /// let error = SnapshotError::new(ErrorKind::NotFound, "there is no such object");
    /// assert_eq!(error.problem(), error.message());
    /// ```
    pub fn problem(&self) -> &str {
        let end = self.remedy.map_or(self.message.len(), |(_, end)| end);
        self.message.get(..end).unwrap_or(&self.message)
    }

    /// Returns the words of this library that say what can be done, if there is a [`remedy`](Self::remedy).
    pub(crate) fn advice(&self) -> Option<&str> {
        let (_, end) = self.remedy?;
        self.message.get(end..)?.strip_prefix("; ")
    }

    /// Returns whether the same call may succeed if it is repeated later: the database was [busy](ErrorKind::Busy), a
    /// snapshot was [in use](ErrorKind::InUse), or the store was [unavailable](ErrorKind::Unavailable).
    ///
    /// # Examples
    ///
    /// ```
    /// use ruvector_snapshot::{ErrorKind, SnapshotError};
    ///
    /// let error = SnapshotError::new(ErrorKind::NotFound, "there is no such object");
    /// assert!(!error.is_retryable());
    /// ```
    pub fn is_retryable(&self) -> bool {
        matches!(self.kind, ErrorKind::Busy | ErrorKind::InUse | ErrorKind::Unavailable)
    }
}

impl From<std::io::ErrorKind> for ErrorKind {
    fn from(kind: std::io::ErrorKind) -> Self {
        use std::io::ErrorKind as Io;
        match kind {
            Io::NotFound => Self::NotFound,
            Io::AlreadyExists => Self::AlreadyExists,
            Io::PermissionDenied | Io::ReadOnlyFilesystem => Self::PermissionDenied,
            Io::StorageFull | Io::QuotaExceeded | Io::FileTooLarge => Self::StorageFull,
            Io::InvalidInput | Io::NotADirectory | Io::IsADirectory | Io::InvalidFilename => Self::InvalidInput,
            _ => Self::Unavailable,
        }
    }
}

impl From<FormatError> for SnapshotError {
    fn from(error: FormatError) -> Self {
        let kind = match error.kind() {
            FormatErrorKind::InvalidInput => ErrorKind::InvalidInput,
            FormatErrorKind::Corrupt => ErrorKind::Corrupt,
            FormatErrorKind::Unsupported => ErrorKind::Unsupported,
            _ => ErrorKind::Internal,
        };
        let file = error.file();
        let (message, source) = error.into_parts();
        Self { kind, message, remedy: None, key: file.map(str::to_owned), snapshot_id: None, source }
    }
}

/// Returns an error of the kind [`ErrorKind::Corrupt`].
pub(crate) fn corrupt(message: impl Into<String>) -> SnapshotError {
    SnapshotError::new(ErrorKind::Corrupt, message)
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

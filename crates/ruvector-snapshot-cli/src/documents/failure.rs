//! The document of a run that has failed, and the kinds of failures.

use ruvector_snapshot::{ErrorKind, Remedy};
use schemars::JsonSchema;
use serde::Serialize;

/// A run that has failed.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Failure")]
pub(crate) struct FailureDocument<'a> {
    /// Why the run has failed.
    pub(crate) error: &'a ErrorDocument,
}

/// A run that has failed after its document was printed in part: what was printed, and why there is no more.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Failed{T}")]
pub(crate) struct Failed<'a, T> {
    #[serde(flatten)]
    pub(crate) members: &'a T,
    /// Why the run has failed.
    pub(crate) error: &'a ErrorDocument,
}

/// Why a run has failed.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(rename = "Error")]
pub(crate) struct ErrorDocument {
    /// What the failure means for the caller.
    pub(crate) kind: FailureKind,
    /// What failed, and why. For people: programs use `kind`.
    pub(crate) message: String,
    /// The causes that add something to the message, the innermost last.
    pub(crate) causes: Vec<String>,
    /// What can be done about it.
    pub(crate) hint: Option<String>,
    /// The exit code of the run.
    pub(crate) exit_code: u8,
    /// The id of the snapshot that the failure is about, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
    /// The key of the object in the store, or the path of the file, that the failure is about, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<String>,
}

/// What a failure means for the caller. Treat a kind that you do not know as `internal`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FailureKind {
    /// The arguments are wrong, or do not fit together.
    Usage,
    /// A snapshot, an object, a file or a record does not exist.
    NotFound,
    /// The store has no snapshots, or none that the arguments select.
    NothingThere,
    /// A file or an object exists already. Nothing was overwritten.
    AlreadyExists,
    /// What was asked cannot be done with this database, file or snapshot.
    InvalidInput,
    /// A snapshot, a database or a file is corrupt.
    Corrupt,
    /// A newer version of this program, or of the database, wrote the data.
    Unsupported,
    /// The credentials or the permissions do not allow it.
    PermissionDenied,
    /// A disk, a quota or a bucket is full, or a file would be larger than is allowed.
    StorageFull,
    /// The database changes too quickly to be read, or a program has the file open. Try again later.
    Busy,
    /// The store, the network or the disk did not answer as expected. Try again later.
    Unavailable,
    /// The snapshot is pinned.
    Pinned,
    /// A running or interrupted command uses the snapshot. Try again when it has ended.
    InUse,
    /// Other snapshots depend on the snapshot.
    HasDependents,
    /// A snapshot that cannot be read may depend on the snapshot.
    MayHaveDependents,
    /// An id, a prefix or a name can mean several snapshots.
    Ambiguous,
    /// The base is of another database or path.
    OtherSource,
    /// The vectors are of another embedding model.
    OtherEmbedding,
    /// The file is the database of other snapshots in the store.
    OtherDatabase,
    /// The chain would have more snapshots than is allowed.
    ChainTooLong,
    /// The database has something that a snapshot does not hold, and `--strict` refuses that.
    NotCaptured,
    /// The database has other records with the same ids.
    Conflict,
    /// The provider has moved objects to an archive, from which they must be brought back first.
    Archived,
    /// A limit of the process or the machine is reached: open files or threads.
    LimitReached,
    /// A check of `demo` failed.
    CheckFailed,
    /// A signal has stopped the run.
    Interrupted,
    /// Standard output could not be written.
    Output,
    /// A bug in this program.
    Internal,
}

impl FailureKind {
    /// Returns the kind of an error of the library. If it has a remedy that the caller can choose, the kind is that of the
    /// remedy.
    pub(crate) fn of(kind: ErrorKind, remedy: Option<Remedy>) -> Self {
        match remedy {
            Some(Remedy::Cascade) => Self::HasDependents,
            Some(Remedy::DeleteUnreadable) => Self::MayHaveDependents,
            Some(Remedy::BaseFromElsewhere) => Self::OtherSource,
            Some(Remedy::OtherEmbedding) => Self::OtherEmbedding,
            Some(Remedy::OtherDatabase) => Self::OtherDatabase,
            Some(Remedy::LongerChain) => Self::ChainTooLong,
            Some(Remedy::NotStrict) => Self::NotCaptured,
            Some(Remedy::OnConflict) => Self::Conflict,
            Some(Remedy::BringFromArchive) => Self::Archived,
            Some(Remedy::OpenFilesLimit | Remedy::OpenFilesOfMachine | Remedy::ThreadsLimit) => Self::LimitReached,
            _ => kind.into(),
        }
    }
}

impl From<ErrorKind> for FailureKind {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::NotFound => Self::NotFound,
            ErrorKind::AlreadyExists => Self::AlreadyExists,
            ErrorKind::InvalidInput => Self::InvalidInput,
            ErrorKind::Corrupt => Self::Corrupt,
            ErrorKind::Unsupported => Self::Unsupported,
            ErrorKind::PermissionDenied => Self::PermissionDenied,
            ErrorKind::StorageFull => Self::StorageFull,
            ErrorKind::Busy => Self::Busy,
            ErrorKind::Unavailable => Self::Unavailable,
            ErrorKind::Pinned => Self::Pinned,
            ErrorKind::InUse => Self::InUse,
            ErrorKind::HasDependents => Self::HasDependents,
            ErrorKind::Ambiguous => Self::Ambiguous,
            _ => Self::Internal,
        }
    }
}

//! The plan of a restore, as data: what would be read and written, and what is in its way. How it is made is in
//! `planning`.

use std::error::Error as _;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use ruvector_snapshot_format::irregular::IrregularInfo;
use ruvector_snapshot_format::model::SnapshotType;
use ruvector_snapshot_format::source::SourceInfo;
use serde::{Deserialize, Serialize};

use crate::error::{ErrorKind, Remedy, SnapshotError};

/// Where a restore that is planned writes to.
///
/// # Examples
///
/// ```
/// use ruvector_snapshot::RestoreDestination;
///
/// assert_eq!(RestoreDestination::from("restored.db"), RestoreDestination::File("restored.db".into()));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RestoreDestination {
    /// A database file, as [`restore_snapshot_to`](crate::SnapshotManager::restore_snapshot_to) writes it.
    File(PathBuf),
    /// A database in memory, as [`restore_snapshot`](crate::SnapshotManager::restore_snapshot) returns it.
    Memory,
}

impl From<PathBuf> for RestoreDestination {
    fn from(path: PathBuf) -> Self {
        Self::File(path)
    }
}

impl From<&Path> for RestoreDestination {
    fn from(path: &Path) -> Self {
        Self::File(path.to_owned())
    }
}

impl From<&PathBuf> for RestoreDestination {
    fn from(path: &PathBuf) -> Self {
        Self::File(path.clone())
    }
}

impl From<&str> for RestoreDestination {
    fn from(path: &str) -> Self {
        Self::File(path.into())
    }
}

/// What a restore would read and write, and everything that is in its way.
///
/// [`SnapshotManager::plan_restore`](crate::SnapshotManager::plan_restore) makes it, and writes nothing. A restore makes
/// the same plan, stops at its first blocker, and otherwise does what it says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[must_use = "a plan restores nothing"]
pub struct RestorePlan {
    /// The id of the snapshot.
    pub id: String,
    /// The state that the restored database would have. `None` if the `metadata.json` of the snapshot or of an ancestor
    /// cannot be used.
    pub state: Option<PlannedState>,
    /// The snapshots that are read, the full one first. Empty if `state` is `None`.
    pub chain: Vec<PlannedSnapshot>,
    /// What is read of all snapshots of the chain. `None` if that is not known because one of them is corrupt.
    pub fetch: Option<PlannedFetch>,
    /// The file that would be written. `None` for a database in memory, and for a path that no file can have.
    pub file: Option<PlannedFile>,
    /// Memory that the restore takes at most, in bytes, in addition to what the process has already. An estimate; for a
    /// database in memory it includes the database. `None` if `fetch` is.
    pub memory_bytes: Option<u64>,
    /// Every check of the destination, in the order in which a restore makes them. None for a database in memory.
    pub checks: Vec<DestinationCheck>,
    /// What the user should know, although it is not in the way: what the snapshot does not hold, rows that are left out,
    /// a file that is replaced, files of killed restores that would be removed, and checks that are in doubt.
    pub warnings: Vec<String>,
    /// Everything that is in the way. A restore fails with the first.
    pub blockers: Vec<RestoreBlocker>,
}

impl RestorePlan {
    pub(super) fn new(id: String) -> Self {
        Self {
            id,
            state: None,
            chain: Vec::new(),
            fetch: None,
            file: None,
            memory_bytes: None,
            checks: Vec::new(),
            warnings: Vec::new(),
            blockers: Vec::new(),
        }
    }

    /// Returns whether nothing is in the way of the restore. Whether every byte of the snapshot is intact shows only when
    /// it is read.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(manager: ruvector_snapshot::SnapshotManager, id: &str) -> Result<(), Box<dyn std::error::Error>> {
    /// use ruvector_snapshot::RestoreOptions;
    ///
    /// let plan = manager.plan_restore(id, "restored.db", &RestoreOptions::default()).await?;
    /// for blocker in &plan.blockers {
    ///     eprintln!("{}", blocker.message);
    /// }
    /// assert_eq!(plan.is_feasible(), plan.blockers.is_empty());
    /// # Ok(()) }
    /// ```
    pub fn is_feasible(&self) -> bool {
        self.blockers.is_empty()
    }
}

/// The state that a restored database would have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PlannedState {
    /// The name of the snapshot.
    pub name: String,
    /// When the snapshot was taken.
    pub created_at: DateTime<Utc>,
    /// Where the records came from.
    pub source: SourceInfo,
    /// Number of records.
    pub records: u64,
    /// Number of f32 values in each vector.
    pub dimensions: u64,
    /// The distance metric in Ruvector's notation. `None` if the database did not record it.
    pub distance_metric: Option<String>,
    /// The content checksum: 64 hexadecimal digits.
    pub checksum: String,
    /// Rows that are not records. They are restored too, unless
    /// [`RestoreOptions::skip_irregular`](crate::RestoreOptions::skip_irregular) is set. `None` if there are none.
    pub irregular: Option<IrregularInfo>,
    /// What the database had that the snapshot does not hold, one sentence each.
    pub not_captured: Vec<String>,
}

/// A snapshot of the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PlannedSnapshot {
    /// The id.
    pub id: String,
    /// Full, or incremental with its base.
    pub snapshot_type: SnapshotType,
    /// When the snapshot was taken.
    pub created_at: DateTime<Utc>,
    /// The version of the stored format.
    pub format_version: u32,
    /// The program that wrote the snapshot, with its version and, since it is recorded, that of ruvector-core.
    pub writer: String,
    /// The objects that are read.
    pub objects: Vec<PlannedObject>,
}

/// An object of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PlannedObject {
    /// The key in the store.
    pub key: String,
    /// Size of the object, in bytes.
    pub size_bytes: u64,
    /// What is read of it. `None` if that is not known because a snapshot of the chain is corrupt.
    pub fetch: Option<PlannedFetch>,
}

/// What is read from the store, at most: a large record that a newer snapshot of the chain replaces is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PlannedFetch {
    /// Number of objects.
    pub objects: u64,
    /// Number of bytes.
    pub bytes: u64,
    /// Number of requests. A request that fails for a moment is repeated, which does not count. A store in a directory
    /// reads as often.
    pub requests: u64,
}

impl PlannedFetch {
    pub(super) fn of_object(bytes: u64, requests: u64) -> Self {
        Self { objects: u64::from(requests > 0), bytes, requests }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.objects = self.objects.saturating_add(other.objects);
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.requests = self.requests.saturating_add(other.requests);
    }
}

/// The file that would be written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PlannedFile {
    /// The path that is really written: a symbolic link is followed. What is not UTF-8 in it is replaced.
    pub path: String,
    /// Size of the file that is replaced, in bytes. `None` if there is none. Its space is free only after the restore.
    pub replaced_bytes: Option<u64>,
    /// The restored file is not smaller, in bytes. `None` if the snapshot cannot be read.
    pub least_bytes: Option<u64>,
    /// About how large the restored file may become, in bytes. `None` if the snapshot cannot be read.
    pub likely_bytes: Option<u64>,
    /// Bytes that the file system has left, with those of files that the restore removes first. `None` if the file system
    /// does not say, or no file can be created there.
    pub free_bytes: Option<u64>,
}

/// A check of the destination, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DestinationCheck {
    /// What is checked, in a few words.
    pub name: String,
    /// How it ended.
    pub outcome: CheckOutcome,
    /// What was found. `None` if there is nothing to say.
    pub detail: Option<String>,
    /// What to do about it, if `detail` does not say it.
    pub advice: Option<String>,
}

/// How a check of the destination ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CheckOutcome {
    /// Nothing is in the way.
    Ok,
    /// The restore may fail, or something is lost that the user may need.
    Warning,
    /// The restore would fail.
    Blocker,
    /// The check could not be made.
    NotChecked,
}

/// Something that is in the way of a restore: the error that the restore would return, as data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RestoreBlocker {
    /// What the error means.
    pub kind: ErrorKind,
    /// The key of the object, or the path of the file, that it is about.
    pub key: Option<String>,
    /// What is in the way.
    pub message: String,
    /// The causes, the innermost last.
    pub causes: Vec<String>,
    /// What to do about it, where that is an option of the caller.
    pub remedy: Option<Remedy>,
    /// What to do about it, in words, if `message` does not say it.
    pub advice: Option<String>,
}

impl RestoreBlocker {
    /// Creates the blocker of an error about a snapshot.
    pub(super) fn new(error: &SnapshotError) -> Self {
        let causes = std::iter::successors(error.source(), |&cause| cause.source()).map(ToString::to_string);
        Self {
            kind: error.kind(),
            key: error.key().map(str::to_owned),
            message: error.problem().to_owned(),
            causes: causes.collect(),
            remedy: error.remedy(),
            advice: error.advice().map(str::to_owned),
        }
    }

    /// Creates the blocker of an error about the destination.
    pub(super) fn of_destination(error: &SnapshotError) -> Self {
        let blocker = Self::new(error);
        let advice = blocker.advice.clone().or_else(|| advice(error));
        Self { advice, ..blocker }
    }
}

/// Returns what can be done about an error of the system, which no message of this library says.
fn advice(error: &SnapshotError) -> Option<String> {
    use std::io::ErrorKind as Io;
    let mut causes = std::iter::successors(error.source(), |&cause| cause.source());
    let cause: &std::io::Error = causes.find_map(|cause| cause.downcast_ref())?;
    let advice = match cause.kind() {
        Io::NotFound => "create the directory first, or choose another path",
        Io::PermissionDenied => "check the owner and the permissions of the path, and which user runs this program",
        Io::ReadOnlyFilesystem => "mount the file system for writing, or choose another path",
        Io::StorageFull => "free space, or choose another path",
        Io::QuotaExceeded => "remove files of this user, or have the quota raised",
        _ => return None,
    };
    Some(advice.to_owned())
}

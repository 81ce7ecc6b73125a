//! The plan of a restore, as data: what would be read and written, and what is in its way. How it is made is in
//! `planning`.

use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use ruvector_snapshot_format::irregular::IrregularInfo;
use ruvector_snapshot_format::model::SnapshotType;
use ruvector_snapshot_format::source::SourceInfo;
use serde::{Deserialize, Serialize};

use crate::repo::findings::{Blocker, DestinationCheck};
use crate::repo::selection::Selected;
use crate::source::merge_target::MergeCounts;
use crate::store::metered::Meter;

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
/// the same plan, stops at its first blocker, and otherwise does what it says. So do
/// [`plan_restore_part`](crate::SnapshotManager::plan_restore_part) and
/// [`plan_merge`](crate::SnapshotManager::plan_merge), which read the selected records, too.
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
    /// What is read of all snapshots of the chain. `None` for a part and for a merge, whose `selection` says it, and if it
    /// is not known because a snapshot is corrupt.
    pub fetch: Option<PlannedFetch>,
    /// The records that a part or a merge selects. `None` for all records, and if the records cannot be read.
    pub selection: Option<PlannedSelection>,
    /// What a merge would do with these records. `None` without a merge, and if the database cannot be compared with them.
    pub merge: Option<MergeCounts>,
    /// The file that would be written. `None` for a database in memory, for a path that no file can have, and if a
    /// check of the database that is merged into has failed.
    pub file: Option<PlannedFile>,
    /// Memory that the restore takes at most, in bytes, in addition to what the process has already. An estimate; for a
    /// database in memory it includes the database. `None` if `fetch` is.
    pub memory_bytes: Option<u64>,
    /// Every check of the destination, in the order in which a restore makes them. None for a database in memory.
    pub checks: Vec<DestinationCheck>,
    /// What the user should know, although it is not in the way: rows that are left out, files of killed restores that would
    /// be removed, corruption of what the restore does not need, and checks that are in doubt.
    pub warnings: Vec<String>,
    /// Everything that is in the way. A restore fails with the first.
    pub blockers: Vec<Blocker>,
}

impl RestorePlan {
    pub(super) fn new(id: String) -> Self {
        Self {
            id,
            state: None,
            chain: Vec::new(),
            fetch: None,
            selection: None,
            merge: None,
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

/// The records of a snapshot that a part or a merge selects. They were read to find that out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PlannedSelection {
    /// Number of records that are selected.
    pub records: u64,
    /// The ids that were asked for and are in no record, sorted.
    pub missing_ids: Vec<String>,
    /// The content checksum of the selected records: 64 hexadecimal digits.
    pub checksum: String,
    /// Bytes that were read from the store for the plan. The restore or the merge reads as many.
    pub read_bytes: u64,
}

impl PlannedSelection {
    pub(super) fn new(selected: &Selected, meter: &Meter) -> Self {
        Self {
            records: selected.records,
            missing_ids: selected.missing.list(),
            checksum: selected.sum.to_string(),
            read_bytes: meter.read_bytes(),
        }
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
    /// The restored file is not smaller, in bytes. `None` if the snapshot cannot be read, and for a merge.
    pub least_bytes: Option<u64>,
    /// About how large the restored file may become, in bytes. `None` if the snapshot cannot be read, and for a merge.
    pub likely_bytes: Option<u64>,
    /// Bytes that the file system has left, with those of files that the restore removes first. `None` if the file system
    /// does not say, or no file can be created there.
    pub free_bytes: Option<u64>,
}

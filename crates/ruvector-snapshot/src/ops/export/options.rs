//! The options of an export, and what it has written.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::{ErrorKind, SnapshotError};
use crate::progress::Progress;
use crate::repo::filter::RecordFilter;
use crate::repo::findings::{Blocker, DestinationCheck};
use crate::snapshot::Snapshot;

/// The files that an export writes.
///
/// # Examples
///
/// ```
/// use ruvector_snapshot::ExportFormat;
///
/// assert_eq!("npy".parse::<ExportFormat>()?, ExportFormat::Npy);
/// assert_eq!(ExportFormat::Npy.to_string(), "npy");
/// # Ok::<(), ruvector_snapshot::SnapshotError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ExportFormat {
    /// `matrix.npy`, an array of NumPy with one row of 32-bit floats for each record, and `records.jsonl`, whose line i has
    /// the id and the metadata of row i.
    #[default]
    Npy,
    /// `records.parquet`, with the columns `id` (a string), `vector` (a list of 32-bit floats of fixed size) and `metadata`
    /// (JSON, or null). Only in a build with the feature `parquet`.
    Parquet,
}

impl ExportFormat {
    /// All formats.
    pub const ALL: &[Self] = &[Self::Npy, Self::Parquet];

    /// Returns the name.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(ruvector_snapshot::ExportFormat::Npy.name(), "npy");
    /// ```
    pub fn name(self) -> &'static str {
        match self {
            Self::Npy => "npy",
            Self::Parquet => "parquet",
        }
    }
}

impl fmt::Display for ExportFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for ExportFormat {
    type Err = SnapshotError;

    fn from_str(text: &str) -> Result<Self, SnapshotError> {
        Self::ALL.iter().copied().find(|format| format.name() == text).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|format| format.name()).collect();
            let message = format!("there is no format {text:?}; the formats are: {}", names.join(", "));
            SnapshotError::new(ErrorKind::InvalidInput, message)
        })
    }
}

/// Options of an export. Start from `default()`.
///
/// # Examples
///
/// ```
/// use ruvector_snapshot::{ExportFormat, ExportOptions, RecordFilter};
///
/// let options = ExportOptions::default().format(ExportFormat::Npy).filter(RecordFilter::default().id("doc-17"));
/// assert!(!options.filter.accepts_everything());
/// ```
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ExportOptions {
    /// The files that are written.
    pub format: ExportFormat,
    /// The records that are exported. By default all.
    pub filter: RecordFilter,
    /// A listener for progress and warnings. [`Progress::restored`] is called right after the directory got its name.
    pub progress: Option<Arc<dyn Progress>>,
}

impl ExportOptions {
    /// Writes the files of this format.
    ///
    /// # Examples
    ///
    /// ```
    /// use ruvector_snapshot::{ExportFormat, ExportOptions};
    ///
    /// assert_eq!(ExportOptions::default().format(ExportFormat::Npy).format, ExportFormat::Npy);
    /// ```
    #[must_use]
    pub fn format(self, format: ExportFormat) -> Self {
        Self { format, ..self }
    }

    /// Exports only the records that this filter accepts.
    ///
    /// # Examples
    ///
    /// ```
    /// use ruvector_snapshot::{ExportOptions, RecordFilter};
    ///
    /// let options = ExportOptions::default().filter(RecordFilter::default().condition("lang=de".parse()?));
    /// assert!(!options.filter.accepts_everything());
    /// # Ok::<(), ruvector_snapshot::SnapshotError>(())
    /// ```
    #[must_use]
    pub fn filter(self, filter: RecordFilter) -> Self {
        Self { filter, ..self }
    }

    /// Reports progress to this listener.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use ruvector_snapshot::{ExportOptions, Progress, ProgressUpdate};
    ///
    /// #[derive(Debug)]
    /// struct Printer;
    ///
    /// impl Progress for Printer {
    ///     fn update(&self, update: ProgressUpdate) {
    ///         println!("{} records", update.records);
    ///     }
    /// }
    ///
    /// let options = ExportOptions::default().progress(Arc::new(Printer));
    /// assert!(options.progress.is_some());
    /// ```
    #[must_use]
    pub fn progress(self, progress: Arc<dyn Progress>) -> Self {
        Self { progress: Some(progress), ..self }
    }
}

/// What an export has written.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ExportReport {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// The directory. A symbolic link was followed.
    pub directory: PathBuf,
    /// The format of the files.
    pub format: ExportFormat,
    /// The number of records that were exported.
    pub records: u64,
    /// Whether all records of the snapshot were exported: whether their content checksum is that of the snapshot.
    pub is_complete: bool,
    /// The content checksum of the exported records. Irregular rows are not part of it.
    pub checksum: String,
    /// The files.
    pub files: Vec<ExportedFile>,
}

/// What an export would write, and everything that is in its way.
///
/// [`SnapshotManager::plan_export`](crate::SnapshotManager::plan_export) makes it, and writes nothing.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
#[must_use = "a plan exports nothing"]
pub struct ExportPlan {
    /// The id of the snapshot.
    pub id: String,
    /// The snapshot. `None` if the `metadata.json` of the snapshot or of an ancestor cannot be used.
    pub snapshot: Option<Snapshot>,
    /// The directory. A symbolic link was followed. `None` if none can be created at this path.
    pub directory: Option<PathBuf>,
    /// The format of the files.
    pub format: ExportFormat,
    /// The number of records that would be exported. `None` if they cannot be read.
    pub records: Option<u64>,
    /// Whether these are all records of the snapshot. `None` if they cannot be read.
    pub is_complete: Option<bool>,
    /// The ids that were asked for and are in no record, sorted.
    pub missing_ids: Vec<String>,
    /// The files. None if their sizes are not known, because the snapshot cannot be read.
    pub files: Vec<PlannedExportFile>,
    /// Bytes that the export reads from the store. Of all records at most: a large record that a newer snapshot of the chain
    /// replaces is not read. `None` if that is not known because a snapshot is corrupt.
    pub read_bytes: Option<u64>,
    /// Bytes that the file system of the directory has left. `None` if it does not say, or no directory can be created
    /// there.
    pub free_bytes: Option<u64>,
    /// Every check of the destination, in the order in which an export makes them.
    pub checks: Vec<DestinationCheck>,
    /// What the user should know, although it is not in the way: what is not exported, directories of killed exports that
    /// would be removed, and checks that are in doubt.
    pub warnings: Vec<String>,
    /// Everything that is in the way. An export fails with the first.
    pub blockers: Vec<Blocker>,
}

impl ExportPlan {
    /// Returns whether nothing is in the way of the export. Whether every byte of the snapshot is intact shows only when it is
    /// read.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(manager: ruvector_snapshot::SnapshotManager, id: &str) -> Result<(), Box<dyn std::error::Error>> {
    /// let plan = manager.plan_export(id, "exported", &ruvector_snapshot::ExportOptions::default()).await?;
    /// assert_eq!(plan.is_feasible(), plan.blockers.is_empty());
    /// # Ok(()) }
    /// ```
    pub fn is_feasible(&self) -> bool {
        self.blockers.is_empty()
    }
}

/// A file that an export would write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PlannedExportFile {
    /// The name in the directory.
    pub name: String,
    /// The file is not smaller, in bytes.
    pub least_bytes: u64,
    /// About how large the file may become, in bytes. Exact if it is the same as `least_bytes`.
    pub likely_bytes: u64,
}

impl PlannedExportFile {
    pub(super) fn new(name: &str, [least_bytes, likely_bytes]: [u64; 2]) -> Self {
        Self { name: name.to_owned(), least_bytes, likely_bytes }
    }
}

/// A file of an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ExportedFile {
    /// The name in the directory.
    pub name: String,
    /// The size in bytes.
    pub bytes: u64,
}

impl ExportedFile {
    pub(super) fn new(name: &str, bytes: u64) -> Self {
        Self { name: name.to_owned(), bytes }
    }
}

//! The options of a drill.

use std::path::PathBuf;
use std::sync::Arc;

use crate::progress::Progress;

/// Options of a drill. Start from `default()`.
///
/// # Examples
///
/// ```
/// use ruvector_snapshot::DrillOptions;
///
/// let options = DrillOptions::default().probes(20).min_recall(0.95);
/// assert_eq!(options.probes, 20);
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DrillOptions {
    /// Number of records whose vectors are searched for, from 1 to 10,000. They are drawn evenly over the ids. If the
    /// snapshot has fewer records, all of them. Default: 100.
    pub probes: usize,
    /// The recall that the restored database must have, from 0 to 1. Default: 0.9. With less, a search misses more
    /// than one of ten neighbors. It depends on the vectors, the metric and the settings of the index, and not on the
    /// snapshot: the index of the database that it was taken of has about the same.
    pub min_recall: f64,
    /// The directory in which the database is restored. It must exist, and needs as much space as the database. Default:
    /// [`SnapshotConfig::scratch_dir`](crate::SnapshotConfig::scratch_dir), and else the temporary directory of the
    /// system.
    pub scratch_dir: Option<PathBuf>,
    /// Whether the result is recorded beside the snapshot, as an entry of its [ledger](crate::SnapshotManager::ledger).
    /// Default: true. That needs the permission to create objects. If it fails, the result stands, with a warning.
    pub record: bool,
    /// A listener for progress and warnings.
    pub progress: Option<Arc<dyn Progress>>,
}

impl Default for DrillOptions {
    fn default() -> Self {
        Self { probes: 100, min_recall: 0.9, scratch_dir: None, record: true, progress: None }
    }
}

impl DrillOptions {
    /// Searches for the vectors of so many records.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(ruvector_snapshot::DrillOptions::default().probes(20).probes, 20);
    /// ```
    #[must_use]
    pub fn probes(self, probes: usize) -> Self {
        Self { probes, ..self }
    }

    /// Sets the recall that the restored database must have, from 0 to 1.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(ruvector_snapshot::DrillOptions::default().min_recall(0.95).min_recall, 0.95);
    /// ```
    #[must_use]
    pub fn min_recall(self, min_recall: f64) -> Self {
        Self { min_recall, ..self }
    }

    /// Restores the database in this directory.
    ///
    /// # Examples
    ///
    /// ```
    /// let options = ruvector_snapshot::DrillOptions::default().scratch_dir("/var/tmp");
    /// assert!(options.scratch_dir.is_some());
    /// ```
    #[must_use]
    pub fn scratch_dir(self, directory: impl Into<PathBuf>) -> Self {
        Self { scratch_dir: Some(directory.into()), ..self }
    }

    /// Sets whether the result is recorded beside the snapshot.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(!ruvector_snapshot::DrillOptions::default().record(false).record);
    /// ```
    #[must_use]
    pub fn record(self, record: bool) -> Self {
        Self { record, ..self }
    }

    /// Reports progress and warnings to this listener.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use ruvector_snapshot::{DrillOptions, Progress, ProgressUpdate};
    ///
    /// #[derive(Debug)]
    /// struct Printer;
    ///
    /// impl Progress for Printer {
    ///     fn update(&self, update: ProgressUpdate) {
    ///         println!("{:?}: {} records", update.phase, update.records);
    ///     }
    /// }
    ///
    /// let options = DrillOptions::default().progress(Arc::new(Printer));
    /// assert!(options.progress.is_some());
    /// ```
    #[must_use]
    pub fn progress(self, progress: Arc<dyn Progress>) -> Self {
        Self { progress: Some(progress), ..self }
    }
}

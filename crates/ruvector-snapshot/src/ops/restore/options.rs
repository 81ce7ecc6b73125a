//! The options of a restore.

use std::sync::Arc;

use crate::progress::Progress;

/// Options of a restore. Start from `default()`.
///
/// # Examples
///
/// ```
/// let options = ruvector_snapshot::RestoreOptions::default().overwrite(true);
/// # assert!(options.overwrite);
/// ```
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct RestoreOptions {
    /// Whether an existing file at the destination is replaced. A process that has it open keeps the old file.
    pub overwrite: bool,
    /// A listener for progress.
    pub progress: Option<Arc<dyn Progress>>,
}

impl RestoreOptions {
    /// Replaces an existing file at the destination.
    ///
    /// # Examples
    ///
    /// ```
    /// let options = ruvector_snapshot::RestoreOptions::default().overwrite(true);
    /// assert!(options.overwrite);
    /// ```
    #[must_use]
    pub fn overwrite(self, overwrite: bool) -> Self {
        Self { overwrite, ..self }
    }

    /// Reports progress to this listener.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use ruvector_snapshot::{Progress, ProgressUpdate, RestoreOptions};
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
    /// let options = RestoreOptions::default().progress(Arc::new(Printer));
    /// ```
    #[must_use]
    pub fn progress(self, progress: Arc<dyn Progress>) -> Self {
        Self { progress: Some(progress), ..self }
    }
}

//! The options of a restore.

use std::sync::Arc;

use crate::progress::Progress;
use crate::source::destination::Overwrite;

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
    /// Whether an existing file at the destination is replaced. A file is not replaced while a program
    /// holds its lock, as Ruvector does while it has a database open: the restore fails with [`ErrorKind::Busy`](crate::ErrorKind::Busy).
    pub overwrite: bool,
    /// Whether [`overwrite`](Self::overwrite) also replaces a file whose lock a program holds. The program keeps the old
    /// file, which no longer has a name, and everything that it writes after the restore is lost. Default: false.
    pub overwrite_while_open: bool,
    /// Whether irregular rows are left out: rows that are not records, see
    /// [`Snapshot::irregular`](crate::Snapshot::irregular). By default a target that cannot store them, such as a
    /// database in memory, refuses the snapshot.
    pub skip_irregular: bool,
    /// Whether [`overwrite`](Self::overwrite) also replaces a database of another embedding identity, see
    /// [`other_embedding`](Self::other_embedding). Default: false.
    pub other_embedding: bool,
    /// Whether [`overwrite`](Self::overwrite) also replaces the database of other snapshots in the store, see
    /// [`other_database`](Self::other_database). Default: false.
    pub other_database: bool,
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

    /// Replaces an existing file at the destination even if a program holds its lock. Without
    /// [`overwrite`](Self::overwrite) it has no effect.
    ///
    /// # Examples
    ///
    /// ```
    /// let options = ruvector_snapshot::RestoreOptions::default().overwrite(true).overwrite_while_open(true);
    /// assert!(options.overwrite_while_open);
    /// ```
    #[must_use]
    pub fn overwrite_while_open(self, overwrite_while_open: bool) -> Self {
        Self { overwrite_while_open, ..self }
    }

    /// Replaces a database that records another embedding space, or another model, than that of the snapshot: a program that
    /// goes on to write or search vectors of the model that it had would put together what cannot be compared. Without
    /// [`overwrite`](Self::overwrite) it has no effect.
    ///
    /// # Examples
    ///
    /// ```
    /// let options = ruvector_snapshot::RestoreOptions::default().overwrite(true).other_embedding(true);
    /// assert!(options.other_embedding);
    /// ```
    #[must_use]
    pub fn other_embedding(self, accept: bool) -> Self {
        Self { other_embedding: accept, ..self }
    }

    /// Replaces a file that is the database of other snapshots in the store: their source has its path, and that of this
    /// snapshot is another one. Without [`overwrite`](Self::overwrite) it has no effect.
    ///
    /// # Examples
    ///
    /// ```
    /// let options = ruvector_snapshot::RestoreOptions::default().overwrite(true).other_database(true);
    /// assert!(options.other_database);
    /// ```
    #[must_use]
    pub fn other_database(self, accept: bool) -> Self {
        Self { other_database: accept, ..self }
    }

    /// Returns what happens to a file at the destination.
    pub(super) fn overwriting(&self) -> Overwrite {
        match (self.overwrite, self.overwrite_while_open) {
            (false, _) => Overwrite::Never,
            (true, false) => Overwrite::UnlessOpen,
            (true, true) => Overwrite::EvenIfOpen,
        }
    }

    /// Leaves out irregular rows.
    ///
    /// # Examples
    ///
    /// ```
    /// let options = ruvector_snapshot::RestoreOptions::default().skip_irregular(true);
    /// assert!(options.skip_irregular);
    /// ```
    #[must_use]
    pub fn skip_irregular(self, skip_irregular: bool) -> Self {
        Self { skip_irregular, ..self }
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

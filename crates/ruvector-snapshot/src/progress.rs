//! Reports progress to a listener. Knows no terminal.

use std::fmt::Debug;

/// A phase of a verb.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// Reads the database, compresses and uploads.
    Create,
    /// Downloads the snapshot, expands it and writes the database.
    Restore,
    /// Reads the restored database back and verifies its content checksum.
    VerifyRestored,
    /// Downloads the snapshot and verifies every byte.
    Verify,
}

/// How far a phase has come. Totals are expectations: a database that is being written may have more or fewer records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProgressUpdate {
    /// The phase.
    pub phase: Phase,
    /// Number of records done.
    pub records: u64,
    /// Number of records in total.
    pub records_total: u64,
    /// Bytes of vectors and metadata done, uncompressed.
    pub bytes: u64,
}

/// A listener for progress. Called about once every 2 MiB, on the thread that does the work, so it must not block.
///
/// # Examples
///
/// ```
/// use ruvector_snapshot::{Progress, ProgressUpdate};
///
/// #[derive(Debug)]
/// struct Print;
///
/// impl Progress for Print {
///     fn update(&self, update: ProgressUpdate) {
///         println!("{:?}: {} of {} records", update.phase, update.records, update.records_total);
///     }
/// }
/// ```
pub trait Progress: Debug + Send + Sync {
    /// Receives an update. A phase that restarts at 0 records was started again.
    fn update(&self, update: ProgressUpdate);

    /// Receives the id under which an attempt to create a snapshot stores its objects.
    ///
    /// Called before the first object is written, and again with another id for each further attempt. If the create is
    /// interrupted, [`SnapshotManager::attempt_outcome`](crate::SnapshotManager::attempt_outcome) returns what is left of
    /// it.
    fn started(&self, id: &str) {
        let _not_needed = id;
    }

    /// Receives the path of a restored database file, right after the file was renamed to it. A symbolic link was followed.
    ///
    /// Until this call a restore has not changed its destination, and after it the restored file is there, even if the
    /// restore is cancelled or fails after that. What happens to the file before or after is the work of others.
    fn restored(&self, path: &std::path::Path) {
        let _not_needed = path;
    }

    /// Receives a sentence about something that the user should know, although the work goes on.
    ///
    /// The same warning can come again if the work is attempted again.
    fn warning(&self, message: &str) {
        let _not_needed = message;
    }
}

/// Reports a warning to the listener, and traces it for those without one.
pub(crate) fn warn(listener: Option<&dyn Progress>, warning: &str) {
    tracing::warn!("{warning}");
    if let Some(listener) = listener {
        listener.warning(warning);
    }
}

/// Counts for a listener, if there is one.
#[derive(Debug)]
pub(crate) struct ProgressCounter<'a> {
    listener: Option<&'a dyn Progress>,
    update: ProgressUpdate,
}

impl<'a> ProgressCounter<'a> {
    pub(crate) fn start(listener: Option<&'a dyn Progress>, phase: Phase, records_total: u64) -> Self {
        let counter = Self { listener, update: ProgressUpdate { phase, records: 0, records_total, bytes: 0 } };
        counter.report();
        counter
    }

    pub(crate) fn add(&mut self, records: u64, bytes: u64) {
        self.update.records += records;
        self.update.bytes += bytes;
        self.report();
    }

    fn report(&self) {
        if let Some(listener) = self.listener {
            listener.update(self.update);
        }
    }
}

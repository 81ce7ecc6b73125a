//! The options of a verification, and what the verification of a whole store reports.

use std::sync::Arc;

use ruvector_snapshot_format::ledger::VerifyDepth;

use crate::error::SnapshotError;
use crate::progress::Progress;
use crate::repo::verify::{Corruption, VerifyReport};

/// Options of a verification. Start from `default()`.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct VerifyOptions {
    /// How deep snapshots are verified. Default: [`VerifyDepth::Full`], every byte.
    pub depth: VerifyDepth,
    /// Whether the result is recorded beside the snapshot, as an entry of its [ledger](crate::SnapshotManager::ledger).
    /// Default: true. That needs the permission to create objects. If it fails, the result stands, with a warning.
    pub record: bool,
    /// A listener for progress and warnings.
    pub progress: Option<Arc<dyn Progress>>,
}

impl Default for VerifyOptions {
    fn default() -> Self {
        Self { depth: VerifyDepth::Full, record: true, progress: None }
    }
}

impl VerifyOptions {
    /// Reports progress to this listener.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use ruvector_snapshot::{Progress, ProgressUpdate, VerifyOptions};
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
    /// let options = VerifyOptions::default().progress(Arc::new(Printer));
    /// ```
    #[must_use]
    pub fn progress(self, progress: Arc<dyn Progress>) -> Self {
        Self { progress: Some(progress), ..self }
    }

    /// Sets whether the result is recorded beside the snapshot.
    ///
    /// # Examples
    ///
    /// ```
    /// let options = ruvector_snapshot::VerifyOptions::default().record(false);
    /// assert!(!options.record);
    /// ```
    #[must_use]
    pub fn record(self, record: bool) -> Self {
        Self { record, ..self }
    }
}

/// What [`verify_all`](crate::SnapshotManager::verify_all) found out about one snapshot.
#[derive(Debug)]
#[non_exhaustive]
pub enum Verification {
    /// The snapshot was read, with its ancestors.
    Verified(VerifyReport),
    /// The snapshot was read as an ancestor of another one, which was reported before.
    VerifiedWith {
        /// The id of the snapshot.
        id: String,
        /// The id of the dependent that it was read with.
        dependent_id: String,
        /// What is corrupt in it or in its ancestors.
        corruption: Vec<Corruption>,
    },
    /// The snapshot could not be verified. The kind is [`Corrupt`](crate::ErrorKind::Corrupt) if its `metadata.json` is
    /// lost.
    Failed {
        /// The id of the snapshot.
        id: String,
        /// Why.
        error: SnapshotError,
    },
    /// The snapshot was deleted after it was listed: nothing of it is left, or a deletion marker. If files are left
    /// without one, it is [`Failed`](Self::Failed).
    Deleted {
        /// The id of the snapshot.
        id: String,
    },
    /// Objects without `metadata.json`: an upload in progress or an abandoned one. It is not a snapshot.
    PendingUpload {
        /// The id of the upload.
        id: String,
    },
}

impl Verification {
    /// Returns the id of the snapshot.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn example(verification: ruvector_snapshot::Verification) {
    /// println!("{}", verification.id());
    /// # }
    /// ```
    pub fn id(&self) -> &str {
        match self {
            Self::Verified(report) => &report.id,
            Self::VerifiedWith { id, .. } | Self::Failed { id, .. } => id,
            Self::Deleted { id } | Self::PendingUpload { id } => id,
        }
    }

    /// Returns whether the snapshot is intact, or `None` if that could not be found out or it is not a snapshot.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn example(verification: ruvector_snapshot::Verification) {
    /// match verification.is_intact() {
    ///     Some(true) => println!("intact"),
    ///     Some(false) => println!("corrupt"),
    ///     None => println!("could not be verified"),
    /// }
    /// # }
    /// ```
    pub fn is_intact(&self) -> Option<bool> {
        match self {
            Self::Verified(report) => Some(report.is_intact()),
            Self::VerifiedWith { corruption, .. } => Some(corruption.is_empty()),
            Self::Failed { error, .. } if error.kind() == crate::ErrorKind::Corrupt => Some(false),
            Self::Failed { .. } | Self::Deleted { .. } | Self::PendingUpload { .. } => None,
        }
    }
}

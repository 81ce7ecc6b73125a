//! The options of a verification, and what the verification of a whole store reports.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use ruvector_snapshot_format::ledger::VerifyDepth;

use crate::error::SnapshotError;
use crate::policy::retention::Span;
use crate::progress::Progress;
use crate::repo::verify::{Corruption, VerifyReport};

/// Options of a verification. Start from `default()`.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct VerifyOptions {
    /// How deep snapshots are verified. Default: [`VerifyDepth::Full`], every byte.
    pub depth: VerifyDepth,
    /// Skips snapshots that were found intact at least so deep within this span of time, as their ledgers show. Default: none
    /// is skipped. A snapshot whose newest result is that it is corrupt is never skipped. Only
    /// [`verify_due`](crate::SnapshotManager::verify_due) and [`verify_all`](crate::SnapshotManager::verify_all) skip.
    pub max_age: Option<Span>,
    /// Whether the result is recorded beside the snapshot, as an entry of its [ledger](crate::SnapshotManager::ledger).
    /// Default: true. That needs the permission to create objects. If it fails, the result stands, with a warning.
    pub record: bool,
    /// A listener for progress and warnings.
    pub progress: Option<Arc<dyn Progress>>,
}

impl Default for VerifyOptions {
    fn default() -> Self {
        Self { depth: VerifyDepth::Full, max_age: None, record: true, progress: None }
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

    /// Sets how deep snapshots are verified.
    ///
    /// # Examples
    ///
    /// ```
    /// use ruvector_snapshot::{VerifyDepth, VerifyOptions};
    ///
    /// let monday = VerifyOptions::default().depth(VerifyDepth::subset(1, 7)?);
    /// # let _ = monday;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn depth(self, depth: VerifyDepth) -> Self {
        Self { depth, ..self }
    }

    /// Skips snapshots that were verified within this span of time.
    ///
    /// # Examples
    ///
    /// ```
    /// let options = ruvector_snapshot::VerifyOptions::default().max_age("7d".parse()?);
    /// # let _ = options;
    /// # Ok::<(), ruvector_snapshot::SnapshotError>(())
    /// ```
    #[must_use]
    pub fn max_age(self, max_age: Span) -> Self {
        Self { max_age: Some(max_age), ..self }
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
    /// Nothing was read, because the ledger shows that the snapshot was found intact within
    /// [`VerifyOptions::max_age`].
    Skipped {
        /// The id of the snapshot.
        id: String,
        /// When it was found intact.
        intact_at: DateTime<Utc>,
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
            Self::Skipped { id, .. } | Self::Deleted { id } | Self::PendingUpload { id } => id,
        }
    }

    /// Returns whether what was read of the snapshot is intact, or `None` if nothing was read, or it is not a snapshot.
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
            Self::Failed { .. } | Self::Skipped { .. } | Self::Deleted { .. } | Self::PendingUpload { .. } => None,
        }
    }
}

//! The options of a create, and what they are checked for before anything is stored.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use crate::progress::Progress;

/// Options of a create. Start from `default()`.
///
/// # Examples
///
/// ```
/// use ruvector_snapshot::CreateOptions;
///
/// let options = CreateOptions::default().label("host", "db1").metadata(serde_json::json!({ "ticket": 4711 }));
/// # assert_eq!(options.labels["host"], "db1");
/// ```
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct CreateOptions {
    /// Labels that are stored with the snapshot.
    pub labels: BTreeMap<String, String>,
    /// A text for people that is stored with the snapshot, of at most 4,096 bytes.
    pub note: Option<String>,
    /// Any JSON that is stored with the snapshot, as [`Snapshot::metadata`](crate::Snapshot::metadata).
    pub metadata: serde_json::Value,
    /// The id of the base. Only what changed since the base is stored. `None` creates a full snapshot.
    pub base_id: Option<String>,
    /// The name of the source: of the database, wherever it is. `None` takes [`SnapshotConfig::source_name`], and without
    /// that the path of the database and the host identify the source.
    ///
    /// [`SnapshotConfig::source_name`]: crate::SnapshotConfig::source_name
    pub source_name: Option<String>,
    /// Whether a base of another source is accepted.
    pub base_from_elsewhere: bool,
    /// What is known of the embedding model of the vectors, for example `model`, `revision` and `normalized`. It is stored
    /// with the snapshot. If it is empty, an increment has that of its base.
    pub embedding: BTreeMap<String, String>,
    /// Whether a base of another embedding identity is accepted.
    pub other_embedding: bool,
    /// Whether every byte of the base and its ancestors is read and verified before anything is stored, as
    /// [`verify_snapshot`](crate::SnapshotManager::verify_snapshot) does. Default: false. Then the `metadata.json` of
    /// each is read and its seal verified, the sizes of the data files are compared, and so is all data of the base
    /// that the create reads: leaf tables, and the index and the metadata of records where the database may have
    /// changed. Vectors of the base are never read. [`SnapshotConfig::verify_after_write`] verifies the base too.
    ///
    /// [`SnapshotConfig::verify_after_write`]: crate::SnapshotConfig::verify_after_write
    pub verify_base: bool,
    /// Whether to fail instead of taking a snapshot that does not hold everything. See [`strict`](Self::strict).
    pub strict: bool,
    /// A listener for progress.
    pub progress: Option<Arc<dyn Progress>>,
    /// Pauses the writes of the application to a database in memory, or to a source of the application, that keeps
    /// changing. Not used by `create_snapshot_of_file`, nor for a database that has a file.
    pub pause_writes: Option<Arc<dyn PauseWrites>>,
}

impl CreateOptions {
    /// Stores only what changed since the snapshot `id`.
    ///
    /// # Examples
    ///
    /// ```
    /// let options = ruvector_snapshot::CreateOptions::default().base_id("20260131T080000000Z-0123456789abcdef");
    /// assert!(options.base_id.is_some());
    /// ```
    #[must_use]
    pub fn base_id(self, id: impl Into<String>) -> Self {
        Self { base_id: Some(id.into()), ..self }
    }

    /// Gives the source a name, by which it is known wherever the database is: in containers, host names change.
    ///
    /// # Examples
    ///
    /// ```
    /// let options = ruvector_snapshot::CreateOptions::default().source_name("articles");
    /// assert_eq!(options.source_name.as_deref(), Some("articles"));
    /// ```
    #[must_use]
    pub fn source_name(self, name: impl Into<String>) -> Self {
        Self { source_name: Some(name.into()), ..self }
    }

    /// Accepts a base of another source, for example after the database was moved. The snapshot is exact, but if the
    /// base is of another database, nearly everything in it is a change.
    ///
    /// # Examples
    ///
    /// ```
    /// let options = ruvector_snapshot::CreateOptions::default().base_from_elsewhere(true);
    /// assert!(options.base_from_elsewhere);
    /// ```
    #[must_use]
    pub fn base_from_elsewhere(self, accept: bool) -> Self {
        Self { base_from_elsewhere: accept, ..self }
    }

    /// Says something of the embedding model of the vectors. Vectors of different models cannot be compared with each other,
    /// and nothing in a vector shows its model. A base of which something else was said is refused.
    ///
    /// # Examples
    ///
    /// ```
    /// let options = ruvector_snapshot::CreateOptions::default().embedding("model", "all-MiniLM-L6-v2");
    /// assert_eq!(options.embedding["model"], "all-MiniLM-L6-v2");
    /// ```
    #[must_use]
    pub fn embedding(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.embedding.insert(key.into(), value.into());
        self
    }

    /// Accepts a base of another embedding identity: of which the database has recorded, or the user has said something
    /// else. The snapshot is exact.
    ///
    /// # Examples
    ///
    /// ```
    /// let options = ruvector_snapshot::CreateOptions::default().other_embedding(true);
    /// assert!(options.other_embedding);
    /// ```
    #[must_use]
    pub fn other_embedding(self, accept: bool) -> Self {
        Self { other_embedding: accept, ..self }
    }

    /// Reads and verifies the whole chain of the base before anything is stored.
    ///
    /// # Examples
    ///
    /// ```
    /// let options = ruvector_snapshot::CreateOptions::default()
    ///     .base_id("20260131T080000000Z-0123456789abcdef")
    ///     .verify_base(true);
    /// assert!(options.verify_base);
    /// ```
    #[must_use]
    pub fn verify_base(self, verify_base: bool) -> Self {
        Self { verify_base, ..self }
    }

    /// Fails if the snapshot would not hold something that belongs to the database: a file beside it, such as the second
    /// file of AgenticDB, or a part of the file itself. Without this, [`SourceInfo::not_captured`] lists it.
    ///
    /// [`SourceInfo::not_captured`]: crate::SourceInfo::not_captured
    ///
    /// # Examples
    ///
    /// ```
    /// let options = ruvector_snapshot::CreateOptions::default().strict(true);
    /// assert!(options.strict);
    /// ```
    #[must_use]
    pub fn strict(self, strict: bool) -> Self {
        Self { strict, ..self }
    }

    /// Adds a label.
    ///
    /// # Examples
    ///
    /// ```
    /// let options = ruvector_snapshot::CreateOptions::default().label("host", "db1");
    /// assert!(options.labels["host"] == "db1");
    /// ```
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// Replaces all labels.
    ///
    /// # Examples
    ///
    /// ```
    /// let options = ruvector_snapshot::CreateOptions::default().labels([("host".to_owned(), "db1".to_owned())].into());
    /// assert!(options.labels.len() == 1);
    /// ```
    #[must_use]
    pub fn labels(self, labels: BTreeMap<String, String>) -> Self {
        Self { labels, ..self }
    }

    /// Stores this note with the snapshot.
    ///
    /// # Examples
    ///
    /// ```
    /// let options = ruvector_snapshot::CreateOptions::default().note("before the upgrade");
    /// assert!(options.note.is_some());
    /// ```
    #[must_use]
    pub fn note(self, note: impl Into<String>) -> Self {
        Self { note: Some(note.into()), ..self }
    }

    /// Stores this JSON with the snapshot.
    ///
    /// # Examples
    ///
    /// ```
    /// let options = ruvector_snapshot::CreateOptions::default().metadata(serde_json::json!({ "ticket": 17 }));
    /// assert!(options.metadata["ticket"] == 17);
    /// ```
    #[must_use]
    pub fn metadata(self, metadata: serde_json::Value) -> Self {
        Self { metadata, ..self }
    }

    /// Reports progress to this listener.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use ruvector_snapshot::{Progress, ProgressUpdate, CreateOptions};
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
    /// let options = CreateOptions::default().progress(Arc::new(Printer));
    /// ```
    #[must_use]
    pub fn progress(self, progress: Arc<dyn Progress>) -> Self {
        Self { progress: Some(progress), ..self }
    }

    /// Pauses writes to a database in memory with this hook.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use ruvector_snapshot::{CreateOptions, PauseWrites};
    ///
    /// #[derive(Debug)]
    /// struct Application;
    ///
    /// impl PauseWrites for Application {
    ///     fn pause(&self) {
    ///         // Take the lock that all writers take.
    ///     }
    ///     fn resume(&self) {
    ///         // Release it.
    ///     }
    /// }
    ///
    /// let options = CreateOptions::default().pause_writes(Arc::new(Application));
    /// ```
    #[must_use]
    pub fn pause_writes(self, pause_writes: Arc<dyn PauseWrites>) -> Self {
        Self { pause_writes: Some(pause_writes), ..self }
    }
}

/// Pauses and resumes an application's own writes.
///
/// Called only after three attempts to read the database were disturbed by writes. Between the two calls the database
/// is read and compressed, which takes as long as the store takes to accept the data.
pub trait PauseWrites: Debug + Send + Sync {
    /// Returns when no write is in progress and none will start. Called on a thread that may block.
    fn pause(&self);
    /// Allows writes again. Called on every path, also after an error or a cancellation.
    fn resume(&self);
}

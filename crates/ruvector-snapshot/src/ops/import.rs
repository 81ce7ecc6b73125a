//! Import: stores the records of a file of the published crate as a full snapshot.
//!
//! The file is read and checked as a whole before anything is stored.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use ruvector_snapshot_format::embedding::EmbeddingInfo;
use ruvector_snapshot_format::metadata::SourceInfo;
use ruvector_snapshot_format::{Labels, RawJson};
use serde::Serialize;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::error::{ErrorKind, Result, SnapshotError};
use crate::progress::{Phase, Progress, ProgressCounter, report_transferred, warn};
use crate::repo::context::Context;
use crate::repo::draft::{Draft, Made, Purpose, file_bytes, make};
use crate::repo::irregular::RowsFrom;
use crate::repo::location;
use crate::repo::names::{check_name, check_source_name};
use crate::repo::pipeline::{SourceTrailer, read_ahead};
use crate::repo::spec::{Completion, Content, SnapshotSpec, SourceSummary};
use crate::repo::user_json;
use crate::snapshot::Snapshot;
use crate::source::published::{self, Header, KIND, KNOWN_VERSION, Sorted};
use crate::text::composed;

/// The label that an import adds with the id that the file has.
pub const IMPORTED_ID_LABEL: &str = "imported-id";
/// The label with the version of the crate that has written the file.
const VERSION_LABEL: &str = "imported-version";

/// Options of an import. Start from `default()`.
///
/// # Examples
///
/// ```
/// let options = ruvector_snapshot::ImportOptions::default().name("from-the-old-server");
/// assert_eq!(options.name.as_deref(), Some("from-the-old-server"));
/// ```
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ImportOptions {
    /// The name of the snapshot. By default the name of the collection in the file.
    pub name: Option<String>,
    /// The name of the source. By default [`SnapshotConfig::source_name`](crate::SnapshotConfig::source_name), or else the
    /// name of the collection in the file.
    pub source_name: Option<String>,
    /// Labels to store with the snapshot, besides `imported-id` and `imported-version`.
    pub labels: BTreeMap<String, String>,
    /// Whether a file without its sidecar is imported. Then nothing shows that the contents are those that were written,
    /// apart from the CRC-32 of gzip. If the sidecar is there, it is always compared. Default: false.
    pub unverified: bool,
    /// A listener for progress and warnings.
    pub progress: Option<Arc<dyn Progress>>,
}

impl ImportOptions {
    /// Gives the snapshot this name.
    ///
    /// # Examples
    ///
    /// ```
    /// let options = ruvector_snapshot::ImportOptions::default().name("articles");
    /// assert_eq!(options.name.as_deref(), Some("articles"));
    /// ```
    #[must_use]
    pub fn name(self, name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..self }
    }

    /// Gives the source this name.
    ///
    /// # Examples
    ///
    /// ```
    /// let options = ruvector_snapshot::ImportOptions::default().source_name("articles");
    /// assert_eq!(options.source_name.as_deref(), Some("articles"));
    /// ```
    #[must_use]
    pub fn source_name(self, name: impl Into<String>) -> Self {
        Self { source_name: Some(name.into()), ..self }
    }

    /// Stores a label with the snapshot, besides those that were given before.
    ///
    /// # Examples
    ///
    /// ```
    /// let options = ruvector_snapshot::ImportOptions::default().label("host", "db1");
    /// assert_eq!(options.labels["host"], "db1");
    /// ```
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// Imports a file without its sidecar.
    ///
    /// # Examples
    ///
    /// ```
    /// let options = ruvector_snapshot::ImportOptions::default().unverified(true);
    /// assert!(options.unverified);
    /// ```
    #[must_use]
    pub fn unverified(self, unverified: bool) -> Self {
        Self { unverified, ..self }
    }

    /// Reports progress to this listener.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use ruvector_snapshot::{ImportOptions, Progress, ProgressUpdate};
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
    /// let options = ImportOptions::default().progress(Arc::new(Printer));
    /// assert!(options.progress.is_some());
    /// ```
    #[must_use]
    pub fn progress(self, progress: Arc<dyn Progress>) -> Self {
        Self { progress: Some(progress), ..self }
    }

    /// Checks what can be checked before the file is read.
    fn check(&self, context: &Context) -> Result<()> {
        self.name.as_deref().map_or(Ok(()), |name| check_name(&composed(name)))?;
        self.given_source_name(context).map_or(Ok(()), |name| check_source_name(&composed(name)))?;
        if let Some(key) =
            self.labels.keys().find(|key| [IMPORTED_ID_LABEL, VERSION_LABEL].contains(&composed(key).as_ref()))
        {
            let message = format!("the label {key:?} is one that an import sets itself; use another key");
            return Err(SnapshotError::new(ErrorKind::InvalidInput, message));
        }
        user_json::check_labels(&self.labels)?;
        user_json::check(&self.labels, &Value::Null)
    }

    fn given_source_name<'a>(&'a self, context: &'a Context) -> Option<&'a str> {
        self.source_name.as_deref().or(context.config.source_name.as_deref())
    }
}

/// What an import would store.
///
/// [`SnapshotManager::plan_import`](crate::SnapshotManager::plan_import) makes it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
#[must_use = "a plan imports nothing"]
pub struct ImportPlan {
    /// The name that the snapshot would have.
    pub name: String,
    /// When the snapshot would be dated: as the file is.
    pub created_at: DateTime<Utc>,
    /// Where the records come from, and what the snapshot would not hold.
    pub source: SourceInfo,
    /// The labels that would be stored.
    pub labels: Labels,
    /// Size of the file, in bytes.
    pub file_bytes: u64,
    /// Number of records.
    pub records: u64,
    /// Number of values in each vector.
    pub dimensions: u64,
    /// The distance metric, as Ruvector writes it.
    pub distance_metric: Option<String>,
    /// The content checksum of the records.
    pub checksum: String,
    /// Whether the contents were compared with the SHA-256 of the sidecar.
    pub is_verified: bool,
    /// Size of the data files when expanded, in bytes.
    pub raw_bytes: u64,
    /// Size of the files in the store at most, in bytes: how well they can be compressed is not tried.
    pub stored_bytes_max: u64,
    /// Whether the store has no snapshots yet.
    pub store_is_new: bool,
}

/// Stores the records of a file as a full snapshot.
pub(crate) async fn import_file(context: &Context, path: PathBuf, options: &ImportOptions) -> Result<Snapshot> {
    import_or_draft(context, Purpose::Store, path, options).await?.0.stored()
}

/// Reads and checks the file as an import does, and says what it would store. Stores nothing.
pub(crate) async fn plan(context: &Context, path: PathBuf, options: &ImportOptions) -> Result<ImportPlan> {
    let (made, is_verified) = import_or_draft(context, Purpose::Draft, path.clone(), options).await?;
    let Draft { snapshot, stored_bytes_max, .. } = made.drafted()?;
    let store_is_new = !location::has_snapshots(context.store.as_ref()).await?;
    Ok(ImportPlan {
        name: snapshot.name,
        created_at: snapshot.created_at,
        source: snapshot.source,
        labels: snapshot.labels,
        file_bytes: file_bytes(path).await?,
        records: snapshot.vector_count as u64,
        dimensions: snapshot.dimensions as u64,
        distance_metric: snapshot.distance_metric,
        checksum: snapshot.checksum,
        is_verified,
        raw_bytes: snapshot.raw_bytes,
        stored_bytes_max,
        store_is_new,
    })
}

/// Imports a file, or makes a draft by the same steps. Also returns whether the contents were compared with a sidecar.
async fn import_or_draft(
    context: &Context,
    purpose: Purpose,
    path: PathBuf,
    options: &ImportOptions,
) -> Result<(Made, bool)> {
    let span = tracing::info_span!("import", path = %path.display());
    async {
        options.check(context)?;
        let (context, meter) = &context.metered();
        if context.config.require_store {
            location::require_snapshots(context.store.as_ref()).await?;
        }
        let shown = path.display().to_string();
        let sorted = sort(context, path, options).await?;
        let is_verified = sorted.is_verified;
        let made = store(context, purpose, sorted, options).await;
        context.report_notices(options.progress.as_deref());
        let made = made.map_err(|error| error.while_doing(&format!("import {shown}"), "nothing was imported"))?;
        report_transferred(options.progress.as_deref(), meter, 0);
        Ok((made, is_verified))
    }
    .instrument(span)
    .await
}

/// Reads, checks and sorts the file. Ends soon after the returned future is dropped.
async fn sort(context: &Context, path: PathBuf, options: &ImportOptions) -> Result<Sorted> {
    let (listener, is_sidecar_needed) = (options.progress.clone(), !options.unverified);
    let scratch_dir = context.config.scratch_dir.clone().unwrap_or_else(std::env::temp_dir);
    let cancellation = CancellationToken::new();
    let _cancels = cancellation.clone().drop_guard();
    context
        .run_blocking(move || {
            let mut counter: Option<ProgressCounter<'_>> = None;
            published::sort(&path, is_sidecar_needed, &scratch_dir, &mut |header, records, bytes| {
                if cancellation.is_cancelled() {
                    return Err(SnapshotError::new(ErrorKind::Unavailable, "the import was cancelled"));
                }
                let start = || ProgressCounter::start(listener.as_deref(), Phase::Import, header.records);
                counter.get_or_insert_with(start).add(records, bytes);
                Ok(())
            })
        })
        .await
}

async fn store(context: &Context, purpose: Purpose, sorted: Sorted, options: &ImportOptions) -> Result<Made> {
    let Sorted { header, is_verified, .. } = &sorted;
    let (header, is_verified) = (header.clone(), *is_verified);
    let progress = options.progress.as_deref();
    let name = match &options.name {
        Some(name) => composed(name).into_owned(),
        None => name_of(&header)?,
    };
    let source_name = match options.given_source_name(context) {
        Some(name) => Some(composed(name).into_owned()),
        None => Some(composed(&header.collection_name).into_owned()).filter(|name| check_source_name(name).is_ok()),
    };
    let mut labels = options.labels.clone();
    labels.insert(IMPORTED_ID_LABEL.to_owned(), header.id.clone());
    labels.insert(VERSION_LABEL.to_owned(), header.version.clone());
    user_json::check(&labels, &Value::Null)?;
    let created_at = time_of(&header, context.clock.now(), progress)?;
    warn_of_doubts(&header, is_verified, progress);
    let reader = context.run_blocking(move || sorted.into_reader()).await?;
    let mut source = SourceSummary::of(&reader, KIND);
    (source.info.name, source.info.host) = (source_name, context.config.host.clone());
    let spec = SnapshotSpec {
        name: &name,
        created_at,
        labels: user_json::composed_labels(&labels)?,
        note: None,
        metadata: RawJson::new(&Value::Null)?,
        embedding: EmbeddingInfo::recorded_in(&source.database.rows),
        source,
        base_ids: Vec::new(),
        progress: options.progress.as_ref(),
    };
    let complete = |trailer: SourceTrailer| Completion {
        not_captured: trailer.not_captured,
        irregular: trailer.irregular,
        leaves: None,
        content: Content::Full,
    };
    make(context, purpose, spec, read_ahead(Box::new(reader), RowsFrom::Database, None), complete).await
}

fn name_of(header: &Header) -> Result<String> {
    let name = composed(&header.collection_name).into_owned();
    check_name(&name).map_err(|error| {
        let message = format!(
            "the name of the collection in the file cannot be the name of a snapshot: {}; give another name",
            error.message()
        );
        SnapshotError::new(ErrorKind::InvalidInput, message).with_source(error)
    })?;
    Ok(name)
}

/// Returns the time that the file says, because its records are as old. A time in the future would hide later snapshots.
fn time_of(header: &Header, now: DateTime<Utc>, progress: Option<&dyn Progress>) -> Result<DateTime<Utc>> {
    let parsed = DateTime::parse_from_rfc3339(&header.created_at).map_err(|error| {
        let message = format!("the time {:?} in the file is not one of RFC 3339", header.created_at);
        SnapshotError::new(ErrorKind::Corrupt, message).with_source(error)
    })?;
    let time = parsed.with_timezone(&Utc);
    if time <= now {
        return Ok(time);
    }
    let warning = format!("the file is dated in the future, {time}: the snapshot is dated now, {now}");
    warn(progress, &warning);
    Ok(now)
}

fn warn_of_doubts(header: &Header, is_verified: bool, progress: Option<&dyn Progress>) {
    if !is_verified {
        warn(progress, "there was no sidecar: nothing shows that the imported contents are those that were written");
    }
    if header.version != KNOWN_VERSION {
        let warning = format!(
            "the file was written by version {:?} of the crate, and only files of {KNOWN_VERSION} are known",
            header.version
        );
        warn(progress, &warning);
    }
}

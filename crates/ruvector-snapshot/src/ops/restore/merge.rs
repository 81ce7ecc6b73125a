//! Merge: puts records of a snapshot into an existing database, in one transaction.

use std::path::PathBuf;
use std::sync::Arc;

use ruvector_snapshot_format::block::Block;
use ruvector_snapshot_format::id::SnapshotId;
use ruvector_snapshot_format::model::DatabaseInfo;
use tracing::Instrument as _;

use super::options::RestoreOptions;
use super::ownership;
use super::plan::{PlannedFile, PlannedSelection, RestorePlan};
use super::planning::Planner;
use crate::error::{Remedy, Result};
use crate::progress::{Phase, Progress, report_transferred, warn};
use crate::repo::chain::Chain;
use crate::repo::chain_checks::{Then, corruption_warning};
use crate::repo::context::Context;
use crate::repo::filter::RecordFilter;
use crate::repo::location::check_output;
use crate::repo::selection::{Put, check_selected, put_selected, read_selected};
use crate::snapshot::Snapshot;
use crate::source::destination_checks::{Check, Finding, Purpose};
use crate::source::merge_target::{DATABASE, MergeCounts, MergePreview, MergeTarget, NO_RECORD_CHANGED, OnConflict};
use crate::store::metered::Meter;

/// Options of a merge. Start from `default()`.
///
/// # Examples
///
/// ```
/// use ruvector_snapshot::{MergeOptions, OnConflict};
///
/// let options = MergeOptions::default().on_conflict(OnConflict::Keep);
/// assert_eq!(options.on_conflict, OnConflict::Keep);
/// ```
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct MergeOptions {
    /// The records that are merged. By default all.
    pub filter: RecordFilter,
    /// What happens if the database has another record with the same id. By default nothing is merged.
    pub on_conflict: OnConflict,
    /// Whether a database of another embedding identity is accepted, see [`other_embedding`](Self::other_embedding).
    pub other_embedding: bool,
    /// Whether the database of other snapshots in the store is accepted, see [`other_database`](Self::other_database).
    pub other_database: bool,
    /// A listener for progress and warnings. [`Progress::restored`] is called right after the commit.
    pub progress: Option<Arc<dyn Progress>>,
}

impl MergeOptions {
    /// Merges only the records that this filter accepts.
    ///
    /// # Examples
    ///
    /// ```
    /// use ruvector_snapshot::{MergeOptions, RecordFilter};
    ///
    /// let options = MergeOptions::default().filter(RecordFilter::default().id("doc-17"));
    /// assert!(!options.filter.accepts_everything());
    /// ```
    #[must_use]
    pub fn filter(self, filter: RecordFilter) -> Self {
        Self { filter, ..self }
    }

    /// Decides what happens if the database has another record with the same id.
    ///
    /// # Examples
    ///
    /// ```
    /// use ruvector_snapshot::{MergeOptions, OnConflict};
    ///
    /// let options = MergeOptions::default().on_conflict(OnConflict::Replace);
    /// assert_eq!(options.on_conflict, OnConflict::Replace);
    /// ```
    #[must_use]
    pub fn on_conflict(self, on_conflict: OnConflict) -> Self {
        Self { on_conflict, ..self }
    }

    /// Accepts a database that records another embedding space, or another model, than that of the snapshot. By default
    /// nothing is merged: vectors of different models cannot be compared with each other. What only one of the two records
    /// is no reason.
    ///
    /// # Examples
    ///
    /// ```
    /// let options = ruvector_snapshot::MergeOptions::default().other_embedding(true);
    /// assert!(options.other_embedding);
    /// ```
    #[must_use]
    pub fn other_embedding(self, accept: bool) -> Self {
        Self { other_embedding: accept, ..self }
    }

    /// Merges into a database of which the store has snapshots, but none that can be of the same database as this one. By
    /// default nothing is merged: a merge cannot be undone.
    ///
    /// # Examples
    ///
    /// ```
    /// let options = ruvector_snapshot::MergeOptions::default().other_database(true);
    /// assert!(options.other_database);
    /// ```
    #[must_use]
    pub fn other_database(self, accept: bool) -> Self {
        Self { other_database: accept, ..self }
    }

    /// Reports progress to this listener.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use ruvector_snapshot::{MergeOptions, Progress, ProgressUpdate};
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
    /// let options = MergeOptions::default().progress(Arc::new(Printer));
    /// assert!(options.progress.is_some());
    /// ```
    #[must_use]
    pub fn progress(self, progress: Arc<dyn Progress>) -> Self {
        Self { progress: Some(progress), ..self }
    }
}

/// What a merge has done.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct MergeReport {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// The number of records of the snapshot that the filter has accepted.
    pub selected: u64,
    /// What became of them.
    pub counts: MergeCounts,
}

/// Plans a merge of records of a snapshot into a database file. Reads both, and writes nothing.
pub(crate) async fn plan_merge(
    context: &Context,
    id: &SnapshotId,
    path: PathBuf,
    options: &MergeOptions,
) -> Result<RestorePlan> {
    let span = tracing::info_span!("plan_merge", snapshot = %id);
    async {
        let (context, meter) = &context.metered();
        let restore = RestoreOptions { progress: options.progress.clone(), ..RestoreOptions::default() };
        let mut planner = Planner::new(context, id, &restore, Purpose::Plan);
        let chain = planner.open_chain(id).await?;
        let database = match &chain {
            Some(chain) => planner.describe_database(chain).await?,
            None => None,
        };
        let preview = check_database(context, &mut planner, path.clone(), database, options).await?;
        if let (Some(_), Some(chain)) = (&preview, &chain) {
            let source = &chain.newest()?.metadata.source;
            let check = ownership::check(context, &path, source, options.other_database).await?;
            planner.findings.add_check(check)?;
        }
        if let Some(chain) = &chain {
            planner.findings.warnings.extend(irregular_warning(chain)?);
            compare(context, meter, &mut planner, (chain, preview), options).await?;
        }
        Ok(planner.finish())
    }
    .instrument(span)
    .await
}

/// Checks the database, and describes it. `None` if a check has failed.
async fn check_database(
    context: &Context,
    planner: &mut Planner<'_>,
    path: PathBuf,
    records: Option<Arc<DatabaseInfo>>,
    options: &MergeOptions,
) -> Result<Option<MergePreview>> {
    let choices = (options.on_conflict, options.other_embedding);
    let outside = check_output(&path, MERGED, context.directory().as_deref());
    if outside.is_err() {
        let verdict = outside.map(|()| Finding::Passed);
        planner.findings.add_check(Check { name: "path", verdict })?;
        return Ok(None);
    }
    let check = move || Ok(MergePreview::check(&path, records.as_deref(), choices, Purpose::Plan));
    let (preview, checks) = context.run_blocking(check).await?;
    planner.findings.add_checks(checks)?;
    planner.plan.file = preview.as_ref().map(|preview| PlannedFile {
        path: preview.path().to_string_lossy().into_owned(),
        replaced_bytes: None,
        least_bytes: None,
        likely_bytes: None,
        free_bytes: preview.free_bytes(),
    });
    Ok(preview)
}

/// Reads the selected records, and compares them with those of the database.
async fn compare(
    context: &Context,
    meter: &Meter,
    planner: &mut Planner<'_>,
    (chain, preview): (&Chain, Option<MergePreview>),
    options: &MergeOptions,
) -> Result<()> {
    let (filter, progress) = (&options.filter, options.progress.as_deref());
    let what = Put { filter, progress, phase: Phase::Stream, outcome: "nothing would be merged" };
    let read = read_selected(context, chain, what, preview, |mut preview, block| {
        if let Some(preview) = &mut preview {
            preview.put(&mut block.rows())?;
        }
        Ok(preview)
    });
    let read = read.await;
    // Only now its records were read.
    if let Some(error) = read.as_ref().err().filter(|error| error.remedy() == Some(Remedy::NewFile)) {
        planner.findings.revoke_check(DATABASE, error);
    }
    let Some((preview, selected)) = planner.findings.unless_refused(read)? else { return Ok(()) };
    planner.plan.selection = Some(PlannedSelection::new(&selected, meter));
    planner.findings.unless_refused(check_selected(chain, what, &selected).await)?;
    if let Some(preview) = preview {
        planner.plan.merge = Some(preview.counts());
        planner.findings.add_check(Check { name: "free space", verdict: Ok(preview.check_space()) })?;
        planner.findings.unless_refused(preview.check_conflicts())?;
    }
    Ok(())
}

/// What a merge would write into a store, in words.
const MERGED: &str = "a database that records are merged into";

/// Says which rows of the snapshot are not merged.
fn irregular_warning(chain: &Chain) -> Result<Option<String>> {
    let irregular = chain.newest()?.metadata.irregular.as_ref();
    Ok(irregular.map(|irregular| format!("irregular rows of the snapshot are not merged: {irregular}")))
}

/// Merges records of a snapshot into a database file.
pub(crate) async fn merge(
    context: &Context,
    id: &SnapshotId,
    path: PathBuf,
    options: &MergeOptions,
) -> Result<MergeReport> {
    let span = tracing::info_span!("merge", snapshot = %id);
    async {
        let (context, meter) = &context.metered();
        check_output(&path, MERGED, context.directory().as_deref())?;
        let chain = Chain::open(context, id).await?;
        let newest = chain.newest()?;
        let snapshot = Snapshot::new(&newest.metadata, newest.metadata_json_bytes)?;
        let database = newest.restorable_database().await?;
        let source = newest.metadata.source.clone();
        let (destination, on_conflict, accepts_other) = (path.clone(), options.on_conflict, options.other_embedding);
        let open = move || MergeTarget::open(&destination, &database, on_conflict, accepts_other);
        let (target, warning) = context.run_blocking(open).await?;
        let doubt = match ownership::check(context, &path, &source, options.other_database).await?.verdict? {
            Finding::Doubtful(warning) => Some(warning),
            _ => None,
        };
        let known = corruption_warning(context, &chain, Then::ReadsAgain).await;
        let warnings = warning.into_iter().chain(doubt).chain(known).chain(irregular_warning(&chain)?);
        warnings.for_each(|warning| warn(options.progress.as_deref(), &warning));
        let (filter, progress) = (&options.filter, options.progress.as_deref());
        let what = Put { filter, progress, phase: Phase::Restore, outcome: NO_RECORD_CHANGED };
        let (target, selected, _) = put_selected(context, &chain, what, target, put).await?;
        let listener = options.progress.clone();
        let commit = move || {
            let counts = target.commit()?;
            if let Some(listener) = listener {
                listener.restored(&path);
            }
            Ok(counts)
        };
        let counts = context.run_blocking(commit).await?;
        report_transferred(options.progress.as_deref(), meter, 0);
        Ok(MergeReport { snapshot, selected, counts })
    }
    .instrument(span)
    .await
}

fn put(mut target: MergeTarget, block: Block) -> Result<MergeTarget> {
    target.put(&mut block.rows())?;
    Ok(target)
}

//! Create: stores the records of a source as a new snapshot, full or incremental.
//!
//! The order of the objects is in `repo::writer` and `repo::commit_guard`. This file chooses how a source is read: how
//! often, and whether directly or through a mirror. `base` opens the base of an increment,
//! `base_source` compares its source with this one, `embedding` its embedding identity, `leaf_diff` finds where the
//! source may differ from it, and `delta` finds what differs. `plan` says what a create would store, and `earlier` compares a
//! full snapshot with those before.

mod base;
mod base_source;
mod delta;
mod earlier;
mod embedding;
mod leaf_diff;
mod options;
mod plan;
mod strict;

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use ruvector_core::VectorDB;
use ruvector_snapshot_format::irregular::IrregularInfo;
use ruvector_snapshot_format::leaves;
use ruvector_snapshot_format::metadata::{SourceId, SourceInfo};
use ruvector_snapshot_format::model::LeafTable;
use ruvector_snapshot_format::{Labels, RawJson};

use crate::config::SnapshotConfig;
use crate::error::{ErrorKind, Remedy, Result, SnapshotError};
use crate::progress::{report_transferred, warn};
use crate::repo::context::{Context, run_blocking};
use crate::repo::draft::{Made, Purpose, make};
use crate::repo::irregular::RowsFrom;
use crate::repo::location;
use crate::repo::names::{check_embedding, check_name, check_source_name};
use crate::repo::pipeline::{BlockStream, SourceTrailer, read_ahead, read_inline};
use crate::repo::spec::{Completion, Content, SnapshotSpec, SourceSummary};
use crate::repo::user_json;
use crate::snapshot::Snapshot;
use crate::source::database_path;
use crate::source::file::{FILE_KIND, FileOptions, FileReader, Mirror, is_irregular_row_met};
use crate::source::irregular_rows::SourceIds;
use crate::source::key_range::DiffRange;
use crate::source::memory::MemoryReader;
use crate::source::{SnapshotSource, SourceReader as _, companions};
use crate::text::composed;
use base::Base;
use delta::Totals;
use leaf_diff::SourceDiff;

pub use earlier::EarlierSnapshots;
pub(crate) use earlier::of_source as earlier_of_source;
pub use options::{CreateOptions, PauseWrites};
pub use plan::CreatePlan;
pub(crate) use plan::plan;

/// Attempts to read an increment directly from a file that is being written, before the file is mirrored.
const DIRECT_ATTEMPTS: usize = 5;
/// Attempts to read a database in memory, or a custom source, before its writes are paused or the create fails.
const REREAD_ATTEMPTS: usize = 3;

/// The `source.kind` of a snapshot of a database in memory.
const MEMORY_KIND: &str = "memory";

/// What a snapshot is taken of.
#[derive(Clone, Copy)]
pub(crate) enum Origin<'a> {
    File(&'a Path),
    Memory(&'a VectorDB),
    Custom(&'a dyn SnapshotSource),
}

/// Creates a snapshot.
pub(crate) async fn create(
    context: &Context,
    origin: Origin<'_>,
    name: &str,
    options: &CreateOptions,
) -> Result<Snapshot> {
    create_or_draft(context, Purpose::Store, origin, name, options).await?.stored()
}

/// Creates a snapshot, or a draft of it by the same steps.
async fn create_or_draft(
    context: &Context,
    purpose: Purpose,
    origin: Origin<'_>,
    name: &str,
    options: &CreateOptions,
) -> Result<Made> {
    let (name, labels) = (composed(name), user_json::composed_labels(&options.labels)?);
    check_name(&name)?;
    user_json::check_labels(&options.labels)?;
    user_json::check(&options.labels, &options.metadata)?;
    let note = options.note.as_deref().map(user_json::composed_note).transpose()?;
    check_embedding(&options.embedding)?;
    let source_name = source_name(&context.config, options)?;
    let source_name = source_name.as_deref();
    let (context, meter) = &context.metered();
    let base = match &options.base_id {
        Some(base_id) => {
            let own = known_source(&context.config, origin, source_name)?;
            Some(Base::open(context, &base_id.parse()?, options, own.as_ref()).await?)
        }
        None if context.config.require_store => {
            location::require_snapshots(context.store.as_ref()).await?;
            None
        }
        None => None,
    };
    let create = Create { context, purpose, name: &name, labels, note, options, source_name, base: base.as_ref() };
    let created = match origin {
        Origin::File(path) => create.of_file(path).await,
        Origin::Memory(_) | Origin::Custom(_) => create.attempt_and_pause(origin).await,
    };
    context.report_notices(options.progress.as_deref());
    if created.is_ok() {
        report_transferred(options.progress.as_deref(), meter, 0);
    }
    created
}

/// Opens a database file, and returns an error if no snapshot can be taken of it with these options. Stores nothing.
pub(crate) async fn check_source(path: &Path, config: &SnapshotConfig, options: &CreateOptions) -> Result<()> {
    user_json::check_labels(&options.labels)?;
    user_json::check(&options.labels, &options.metadata)?;
    options.note.as_deref().map(user_json::composed_note).transpose()?;
    check_embedding(&options.embedding)?;
    source_name(config, options)?;
    let file_options = FileOptions { scratch_dir: config.scratch_dir.clone(), ..FileOptions::default() };
    let (path, is_strict) = (path.to_owned(), options.strict);
    run_blocking(move || {
        let known = match FileReader::open(&path, &file_options) {
            Ok(reader) => reader.not_captured(),
            // A create reads a busy database again, and in the end through a mirror.
            Err(error) if error.kind() == ErrorKind::Busy => companions::beside(&database_path::absolute(&path)?),
            Err(error) => return Err(error),
        };
        if is_strict { strict::check(&known) } else { Ok(()) }
    })
    .await
}

/// Returns what identifies a database file as a source.
///
/// # Errors
///
/// Returns `InvalidInput` if the name of the source is not allowed, and the error of the operating system if the path
/// cannot be resolved.
pub(crate) fn source_of_file(config: &SnapshotConfig, options: &CreateOptions, path: &Path) -> Result<SourceId> {
    Ok(match source_name(config, options)? {
        Some(name) => SourceId::Name(name.into_owned()),
        None => {
            SourceId::Path { host: config.host.clone(), path: database_path::text(&database_path::absolute(path)?) }
        }
    })
}

/// Returns what is known of the source before it is read. Then a base of another source is not verified in vain.
fn known_source(config: &SnapshotConfig, origin: Origin<'_>, name: Option<&str>) -> Result<Option<SourceInfo>> {
    let (kind, path) = match origin {
        Origin::File(path) => (FILE_KIND, Some(database_path::text(&database_path::absolute(path)?))),
        Origin::Memory(_) => (MEMORY_KIND, None),
        Origin::Custom(_) => return Ok(None),
    };
    let mut source = SourceInfo::new(kind, None);
    (source.name, source.host, source.path) = (name.map(str::to_owned), config.host.clone(), path);
    Ok(Some(source))
}

/// Returns the name that the user gave to the source, checked and composed.
fn source_name<'a>(config: &'a SnapshotConfig, options: &'a CreateOptions) -> Result<Option<Cow<'a, str>>> {
    let name = options.source_name.as_deref().or(config.source_name.as_deref()).map(composed);
    name.as_deref().map_or(Ok(()), check_source_name)?;
    Ok(name)
}

/// One create.
struct Create<'a> {
    context: &'a Context,
    purpose: Purpose,
    name: &'a str,
    labels: Labels,
    note: Option<String>,
    options: &'a CreateOptions,
    source_name: Option<&'a str>,
    base: Option<&'a Base>,
}

impl Create<'_> {
    /// Reads the file directly first. If writers keep interfering, it is read through a mirror in the end.
    async fn of_file(&self, path: &Path) -> Result<Made> {
        // An increment reads little: reading it again is cheaper than copying a whole database that is being written.
        let is_short = self.base.is_some_and(|base| base.leaves().is_some());
        let direct: &[Mirror] = if is_short { &[Mirror::Never; DIRECT_ATTEMPTS] } else { &[Mirror::WhenWritten] };
        for mirror in direct {
            match self.read_file(path, *mirror).await {
                Err(error) if error.kind() == ErrorKind::Busy => tracing::debug!(%error, "reading the database again"),
                answer => return answer,
            }
        }
        self.read_file(path, Mirror::AtOnce).await
    }

    /// Reads only what has changed since the base, if that is possible. Irregular rows are found only by reading all.
    async fn read_file(&self, path: &Path, mirror: Mirror) -> Result<Made> {
        let base_leaves = self.base.and_then(|base| base.leaves().cloned());
        if base_leaves.is_some() {
            match self.read_file_from(path, mirror, base_leaves).await {
                Err(error) if is_irregular_row_met(&error) => tracing::debug!(%error, "reading all of the database"),
                answer => return answer,
            }
        }
        // All of the file takes longer to read than a writer may take to change it.
        let mirror = if mirror == Mirror::Never { Mirror::WhenWritten } else { mirror };
        self.read_file_from(path, mirror, None).await
    }

    async fn read_file_from(
        &self,
        path: &Path,
        mirror: Mirror,
        base_leaves: Option<Arc<[LeafTable; 2]>>,
    ) -> Result<Made> {
        let created_at = self.context.clock.now();
        let options = FileOptions { scratch_dir: self.context.config.scratch_dir.clone(), mirror };
        let path = path.to_owned();
        let (reader, diff) = run_blocking(move || {
            let mut reader = FileReader::open(&path, &options)?;
            let diff = match base_leaves {
                Some(base_leaves) => SourceDiff::restrict(&mut reader, &base_leaves)?,
                None => SourceDiff::everything(),
            };
            Ok((reader, diff))
        })
        .await?;
        let lookup = reader.vector_lookup();
        let source = SourceSummary::of(&reader, FILE_KIND);
        let diff = SourceDiff { lookup: Some(lookup), ..diff };
        self.store(source, read_ahead(Box::new(reader), RowsFrom::Database, self.known_irregular()?), diff, created_at)
            .await
    }

    async fn of_memory(&self, db: &VectorDB) -> Result<Made> {
        let created_at = self.context.clock.now();
        let mut reader = MemoryReader::open(db)?;
        while reader.collect_more()? {
            tokio::task::yield_now().await;
        }
        let source = SourceSummary::of(&reader, MEMORY_KIND);
        let blocks = read_inline(reader, RowsFrom::Database, self.known_irregular()?);
        self.store(source, blocks, SourceDiff::everything(), created_at).await
    }

    async fn of_custom(&self, source: &dyn SnapshotSource) -> Result<Made> {
        let created_at = self.context.clock.now();
        let reader = source.open()?;
        let summary = SourceSummary::of(&reader, source.kind());
        let blocks = read_ahead(reader, RowsFrom::Application(SourceIds::default()), self.known_irregular()?);
        self.store(summary, blocks, SourceDiff::everything(), created_at).await
    }

    /// Returns the irregular rows of the base, which need not be stored again.
    fn known_irregular(&self) -> Result<Option<IrregularInfo>> {
        self.base.map_or(Ok(None), Base::irregular)
    }

    async fn attempt(&self, origin: Origin<'_>) -> Result<Made> {
        match origin {
            Origin::File(path) => self.of_file(path).await,
            Origin::Memory(db) => self.of_memory(db).await,
            Origin::Custom(source) => self.of_custom(source).await,
        }
    }

    /// Reads a source again if writes disturbed the attempt, the last time while they are paused.
    async fn attempt_and_pause(&self, origin: Origin<'_>) -> Result<Made> {
        for number in 1..=REREAD_ATTEMPTS {
            let is_last = number == REREAD_ATTEMPTS && self.options.pause_writes.is_none();
            match self.attempt(origin).await {
                Err(error) if error.kind() == ErrorKind::Busy && !is_last => {
                    tracing::debug!(%error, "reading the database again");
                }
                answer => return answer,
            }
        }
        let _paused = match self.options.pause_writes.clone() {
            // On a thread of its own: what it waits for may need this one.
            Some(writes) => Some(run_blocking(move || Ok(PausedWrites::new(writes))).await?),
            None => None,
        };
        self.attempt(origin).await
    }

    /// Stores the records of a source: all of them, or the changes since the base.
    async fn store(
        &self,
        mut source: SourceSummary,
        blocks: BlockStream<'_, SourceTrailer>,
        diff: SourceDiff,
        created_at: DateTime<Utc>,
    ) -> Result<Made> {
        let blocks = match self.options.strict {
            true => {
                strict::check(&source.not_captured)?;
                strict::checked(blocks)
            }
            false => blocks,
        };
        source.info.name = self.source_name.map(str::to_owned);
        source.info.host = self.context.config.host.clone();
        let mut spec = SnapshotSpec {
            name: self.name,
            created_at,
            labels: self.labels.clone(),
            note: self.note.clone(),
            metadata: RawJson::new(&self.options.metadata)?,
            embedding: embedding::identity(&source.database, self.options),
            source,
            base_ids: Vec::new(),
            progress: self.options.progress.as_ref(),
        };
        let Some(base) = self.base else {
            let complete = |trailer: SourceTrailer| Completion {
                not_captured: trailer.not_captured,
                irregular: trailer.irregular,
                leaves: trailer.leaves.map(|tables| leaves::encode(&tables, None)),
                content: Content::Full,
            };
            return make(self.context, self.purpose, spec, blocks, complete).await;
        };
        let metadata = base.metadata()?;
        let warning = base_source::check(metadata, &spec.source.info, self.options.base_from_elsewhere)?;
        base.check_shape(&spec.source.database)?;
        let (identity, other) = embedding::identity_on(metadata, spec.embedding, self.options.other_embedding)?;
        spec.embedding = identity;
        self.warn(warning);
        self.warn(other);
        spec.base_ids = base.ids();
        // Only changes are counted, and their number is not known before the end.
        spec.source.records_expected = 0;
        let (own_leaves, changes) = self.changes(blocks, base, diff).await.map_err(|error| base.explained(error))?;
        let complete = |(trailer, totals): (SourceTrailer, Totals)| {
            let tables = own_leaves.or(trailer.leaves);
            let records = metadata.vector_count.saturating_sub(totals.changes.removed) + totals.changes.added;
            self.warn(base_source::shrinkage("its base", metadata.id.as_str(), metadata.vector_count, records));
            Completion {
                not_captured: trailer.not_captured,
                irregular: trailer.irregular,
                leaves: tables.map(|tables| leaves::encode(&tables, base.leaves().map(Arc::as_ref))),
                content: Content::Increment { base: metadata, changes: totals.changes, checksum: totals.checksum },
            }
        };
        let made = make(self.context, self.purpose, spec, changes, complete).await;
        made.map_err(|error| base.explained(error))
    }

    fn warn(&self, warning: Option<String>) {
        if let Some(warning) = warning {
            warn(self.options.progress.as_deref(), &warning);
        }
    }

    /// Compares the records with the state of the base. Returns the leaf tables of the source too, if they are known
    /// already.
    async fn changes<'b>(
        &self,
        blocks: BlockStream<'b, SourceTrailer>,
        base: &Base,
        diff: SourceDiff,
    ) -> Result<(Option<[LeafTable; 2]>, BlockStream<'b, (SourceTrailer, Totals)>)> {
        let SourceDiff { ranges, leaves, base_row_counts, lookup } = diff;
        let rows = base.rows_in(&ranges, self.context).await?;
        let records = delta::with_digests(blocks, self.context.config.workers);
        let dimensions = usize::try_from(base.metadata()?.dimensions).unwrap_or(usize::MAX);
        let mut records_sum = base.metadata()?.checksum;
        records_sum.unmerge(&base.metadata()?.irregular_checksum());
        let base_rows = delta::BaseRows::new(rows, ranges, records_sum, base_row_counts);
        Ok((leaves, delta::changes(records, base_rows, lookup, dimensions)))
    }
}

impl SourceDiff {
    /// Everything may differ.
    fn everything() -> Self {
        Self { ranges: [DiffRange::all()].into(), leaves: None, base_row_counts: None, lookup: None }
    }
}

/// Writes are paused while this exists.
struct PausedWrites(Arc<dyn PauseWrites>);

impl PausedWrites {
    fn new(writes: Arc<dyn PauseWrites>) -> Self {
        writes.pause();
        Self(writes)
    }
}

impl Drop for PausedWrites {
    fn drop(&mut self) {
        self.0.resume();
    }
}

/// Refuses what cannot be used as a base, with a message that says what to do instead.
fn unusable_base(id: &impl std::fmt::Display, error: SnapshotError) -> SnapshotError {
    let message = format!("cannot use snapshot {id} as a base: {}", error.message());
    let advice = format!("take a full snapshot, and verify {id}; if nothing is found then, it can be a base");
    let refused = SnapshotError::new(ErrorKind::Corrupt, message).with_remedy(Remedy::FullSnapshot, &advice);
    let refused = match error.key() {
        Some(key) => refused.with_key(key.to_owned()),
        None => refused,
    };
    refused.with_source(error)
}

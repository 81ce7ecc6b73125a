//! Export: writes the records of a snapshot to files that other programs read.
//!
//! The files are written to a directory beside the destination. It gets its name in one step, after the content checksum of
//! all records was compared and the files were synced.

mod amount;
mod npy;
mod options;
#[cfg(feature = "parquet")]
mod parquet;
mod plan;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ruvector_snapshot_format::block::Block;
use ruvector_snapshot_format::id::SnapshotId;
use ruvector_snapshot_format::model::Record;
use tracing::Instrument as _;

use crate::error::{ErrorKind, Result, SnapshotError};
use crate::progress::{Phase, Progress, report_transferred, warn};
use crate::repo::chain::Chain;
use crate::repo::chain_checks::{Then, corruption_warning};
use crate::repo::context::Context;
use crate::repo::findings::Findings;
use crate::repo::location::check_output;
use crate::repo::selection::{Put, put_selected};
use crate::snapshot::Snapshot;
use crate::source::destination_checks::Purpose;
use crate::source::export_directory::{ExportDirectory, ExportSize};
use amount::Amount;
use npy::NpyFiles;
#[cfg(feature = "parquet")]
use parquet::ParquetFile;

pub use options::{ExportFormat, ExportOptions, ExportPlan, ExportReport, ExportedFile, PlannedExportFile};
pub(crate) use plan::plan;

/// The names of all files that an export can have, of all formats and versions.
const KNOWN_FILES: [&str; 3] = [npy::MATRIX, npy::RECORDS, PARQUET];
/// The file of the format parquet.
const PARQUET: &str = "records.parquet";
const NOTHING: &str = "nothing was exported";
/// Size at which a row group of the format parquet is written.
const GROUP_BYTES: u64 = 32 << 20;

/// Exports the records of a snapshot to a new directory.
pub(crate) async fn export(
    context: &Context,
    id: &SnapshotId,
    path: PathBuf,
    options: &ExportOptions,
) -> Result<ExportReport> {
    let span = tracing::info_span!("export", snapshot = %id);
    async {
        let (context, meter) = &context.metered();
        check_output(&path, "an export", context.directory().as_deref())?;
        check_format(options.format)?;
        let directory = create_directory(context, path, options.progress.clone()).await?;
        let chain = Chain::open(context, id).await?;
        let newest = chain.newest()?;
        let snapshot = Snapshot::new(&newest.metadata, newest.metadata_json_bytes)?;
        let dimensions = newest.metadata.dimensions;
        let format = options.format;
        let amount = Amount::estimated(&chain, &options.filter)?;
        let size = size_of(&amount.files(format, dimensions));
        let (filter, progress) = (&options.filter, options.progress.as_deref());
        let (directory, checks) = context
            .run_blocking(move || {
                let checks = directory.check_size(size);
                Ok((directory, checks))
            })
            .await?;
        Findings::new(Purpose::Apply, progress).add_checks(checks)?;
        check_values(format, dimensions, 0)?;
        let create = move || Ok(Target { files: Files::create(format, &directory, dimensions)?, directory });
        let target = context.run_blocking(create).await?;
        let known = corruption_warning(context, &chain, Then::ReadsAgain).await;
        known.iter().chain(&warnings_of(&chain)?).for_each(|warning| warn(progress, warning));
        let what = Put { filter, progress, phase: Phase::Export, outcome: NOTHING };
        let (target, records, sum) = put_selected(context, &chain, what, target, Target::put).await?;
        let (directory, files) = publish(context, target, options.progress.clone()).await?;
        let mut found = newest.metadata.irregular_checksum();
        found.merge(&sum);
        let is_complete = found == newest.metadata.checksum;
        report_transferred(progress, meter, files.iter().map(|file| file.bytes).sum());
        Ok(ExportReport { snapshot, directory, format, records, is_complete, checksum: sum.to_string(), files })
    }
    .instrument(span)
    .await
}

/// Refuses a format that this build does not have.
fn check_format(format: ExportFormat) -> Result<()> {
    if format == ExportFormat::Parquet && !cfg!(feature = "parquet") {
        let message = format!(
            "this program was built without the format {format}; {NOTHING}. Build it with the feature `parquet`, or export to npy"
        );
        return Err(SnapshotError::new(ErrorKind::Unsupported, message));
    }
    Ok(())
}

/// Creates the directory, and warns of what killed exports have left, also if that fails.
async fn create_directory(
    context: &Context,
    path: PathBuf,
    listener: Option<Arc<dyn Progress>>,
) -> Result<ExportDirectory> {
    context
        .run_blocking(move || {
            ExportDirectory::create(&path, &KNOWN_FILES, &mut |warning| warn(listener.as_deref(), warning))
        })
        .await
}

/// Returns how large files are together.
fn size_of(files: &[PlannedExportFile]) -> ExportSize {
    let sum = |bytes: fn(&PlannedExportFile) -> u64| files.iter().map(bytes).fold(0, u64::saturating_add);
    ExportSize {
        least_bytes: sum(|file| file.least_bytes),
        likely_bytes: sum(|file| file.likely_bytes),
        largest_file_bytes: files.iter().map(|file| file.least_bytes).max().unwrap_or_default(),
    }
}

/// Refuses vectors that a format cannot hold.
fn check_values(format: ExportFormat, dimensions: u64, records: u64) -> Result<()> {
    if format != ExportFormat::Parquet {
        return Ok(());
    }
    i32::try_from(dimensions).map_err(|error| {
        SnapshotError::new(ErrorKind::Unsupported, "the vectors are too long for parquet").with_source(error)
    })?;
    if dimensions == 0 && records > 0 {
        let message = "the records have vectors without values, which parquet cannot hold; export them as npy";
        return Err(SnapshotError::new(ErrorKind::Unsupported, message));
    }
    Ok(())
}

/// Says what is not exported.
fn warnings_of(chain: &Chain) -> Result<Vec<String>> {
    let metadata = &chain.newest()?.metadata;
    let irregular = metadata.irregular.as_ref();
    let irregular = irregular.map(|irregular| format!("irregular rows of the snapshot are not exported: {irregular}"));
    let has_none = metadata.dimensions == 0;
    let dimensions =
        has_none.then(|| "the database does not record its dimensions, so the exported vectors have none".to_owned());
    Ok(irregular.into_iter().chain(dimensions).collect())
}

/// Finishes and syncs the files, and gives the directory its name. Steps of their own: a caller who has cancelled meanwhile
/// gets no directory.
async fn publish(
    context: &Context,
    target: Target,
    listener: Option<Arc<dyn Progress>>,
) -> Result<(PathBuf, Vec<ExportedFile>)> {
    let Target { files, directory } = target;
    let (directory, files) = context
        .run_blocking(move || {
            let files = files.finish()?;
            Ok((directory, files))
        })
        .await?;
    let renamed = listener.clone();
    let on_rename = move |path: &Path| {
        if let Some(listener) = renamed {
            listener.restored(path);
        }
    };
    let (path, warning) = context.run_blocking(move || directory.publish(on_rename)).await?;
    if let Some(warning) = warning {
        warn(listener.as_deref(), &warning);
    }
    Ok((path, files))
}

/// The directory, and its files.
#[derive(Debug)]
struct Target {
    // Closed before the directory is removed.
    files: Files,
    directory: ExportDirectory,
}

impl Target {
    fn put(mut self, block: Block) -> Result<Self> {
        self.files.put(block)?;
        Ok(self)
    }
}

/// The files of one format.
#[derive(Debug)]
enum Files {
    Npy(NpyFiles),
    #[cfg(feature = "parquet")]
    Parquet(Box<ParquetFile>),
}

impl Files {
    fn create(format: ExportFormat, directory: &ExportDirectory, dimensions: u64) -> Result<Self> {
        match format {
            ExportFormat::Npy => NpyFiles::create(directory, dimensions).map(Self::Npy),
            #[cfg(feature = "parquet")]
            ExportFormat::Parquet => Ok(Self::Parquet(Box::new(ParquetFile::create(directory, dimensions)?))),
            #[cfg(not(feature = "parquet"))]
            ExportFormat::Parquet => Err(SnapshotError::new(ErrorKind::Internal, "the format was not checked")),
        }
    }

    fn put(&mut self, block: Block) -> Result<()> {
        match self {
            Self::Npy(files) => files.put(&block),
            #[cfg(feature = "parquet")]
            Self::Parquet(file) => file.put(block),
        }
    }

    fn finish(self) -> Result<Vec<ExportedFile>> {
        match self {
            Self::Npy(files) => files.finish(),
            #[cfg(feature = "parquet")]
            Self::Parquet(file) => file.finish(),
        }
    }
}

/// Checks that a vector has the dimensions of the others. The file would be shifted after it.
fn check_vector(record: &Record<'_>, dimensions: u64) -> Result<()> {
    if record.vector.len() as u64 == dimensions.saturating_mul(4) {
        return Ok(());
    }
    let message = format!("the vector of {:?} has other dimensions than the snapshot; {NOTHING}", record.id);
    Err(SnapshotError::new(ErrorKind::Corrupt, message))
}

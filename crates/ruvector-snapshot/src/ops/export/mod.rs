//! Export: writes the records of a snapshot to files that other programs read.
//!
//! The files are written to a directory beside the destination. It gets its name in one step, after the content checksum of
//! all records was compared and the files were synced.

mod npy;
mod options;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ruvector_snapshot_format::block::Block;
use ruvector_snapshot_format::id::SnapshotId;
use tracing::Instrument as _;

use crate::error::Result;
use crate::progress::{Phase, Progress, report_transferred, warn};
use crate::repo::chain::Chain;
use crate::repo::context::Context;
use crate::repo::location::check_path;
use crate::repo::selection::{Put, put_selected};
use crate::snapshot::Snapshot;
use crate::source::export_directory::{ExportDirectory, LeastSize};
use npy::NpyFiles;

pub use options::{ExportFormat, ExportOptions, ExportReport, ExportedFile};

/// The names of all files that an export can have, of all formats and versions.
const KNOWN_FILES: [&str; 2] = [npy::MATRIX, npy::RECORDS];
const NOTHING: &str = "nothing was exported";

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
        check_path(&path, "an export")?;
        let directory = create_directory(context, path, options.progress.clone()).await?;
        let chain = Chain::open(context, id).await?;
        let newest = chain.newest()?;
        let snapshot = Snapshot::new(&newest.metadata, newest.metadata_json_bytes)?;
        let dimensions = newest.metadata.dimensions;
        let size = least_size(&chain, options)?;
        let format = options.format;
        let target = context
            .run_blocking(move || {
                directory.check_size(size)?;
                let files = Files::create(format, &directory, dimensions)?;
                Ok(Target { files, directory })
            })
            .await?;
        let (filter, progress) = (&options.filter, options.progress.as_deref());
        warn_of_what_is_not_exported(&chain, progress)?;
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

/// Returns how large the files are at least. How many records fulfil conditions is not known.
fn least_size(chain: &Chain, options: &ExportOptions) -> Result<LeastSize> {
    let records = match options.filter.conditions.is_empty() {
        true => options.filter.records_max(chain.records()?),
        false => 0,
    };
    let dimensions = chain.newest()?.metadata.dimensions;
    Ok(match options.format {
        ExportFormat::Npy => npy::least_size(records, dimensions),
    })
}

fn warn_of_what_is_not_exported(chain: &Chain, progress: Option<&dyn Progress>) -> Result<()> {
    let metadata = &chain.newest()?.metadata;
    if let Some(irregular) = &metadata.irregular {
        warn(progress, &format!("irregular rows of the snapshot are not exported: {irregular}"));
    }
    if metadata.dimensions == 0 {
        warn(progress, "the database does not record its dimensions, so the exported vectors have none");
    }
    Ok(())
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
        match &mut self.files {
            Files::Npy(files) => files.put(&block)?,
        }
        Ok(self)
    }
}

/// The files of one format.
#[derive(Debug)]
enum Files {
    Npy(NpyFiles),
}

impl Files {
    fn create(format: ExportFormat, directory: &ExportDirectory, dimensions: u64) -> Result<Self> {
        match format {
            ExportFormat::Npy => NpyFiles::create(directory, dimensions).map(Self::Npy),
        }
    }

    fn finish(self) -> Result<Vec<ExportedFile>> {
        match self {
            Self::Npy(files) => files.finish(),
        }
    }
}

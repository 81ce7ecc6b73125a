//! restore: a snapshot's records into a database, proved by the content checksum.
//!
//! The order for a file: everything is written beside its place, committed and synced, read back and proved, and only then
//! moved to its name, in one step.

use std::path::Path;
use std::sync::Arc;

use futures::TryStreamExt;
use ruvector_core::VectorDB;
use tracing::Instrument as _;

use super::chain::Chain;
use super::progress::{Meter, Phase, Progress};
use super::{Snapshot, SnapshotManager};
use crate::error::{ErrorKind, Result, SnapshotError};
use crate::format::block::Row;
use crate::format::checksum::{ContentSum, digest};
use crate::format::damaged;
use crate::format::id::SnapshotId;
use crate::format::payloads;
use crate::source::database::{FileTarget, FinishedFile, MemoryTarget};
use crate::source::file::{FileOptions, FileSource};
use crate::source::{Description, Record, RestoreTarget, SnapshotSource};

/// What a restore may be told. Start from `default()`.
#[derive(Debug, Clone, Default)]
pub struct RestoreOptions {
    /// Whether a file that stands at the place may be replaced; false. A process that has it open keeps the old one.
    pub overwrite: bool,
    /// Hears how far it has come.
    pub progress: Option<Arc<dyn Progress>>,
}

impl SnapshotManager {
    pub(super) async fn restore_to_memory(&self, id: &SnapshotId, options: &RestoreOptions) -> Result<VectorDB> {
        let span = tracing::info_span!("restore", snapshot = %id);
        async {
            let chain = Chain::open(self, id).await?;
            let description = chain.newest()?.database().await?;
            let target = self.unblock(move || MemoryTarget::create(&description)).await?;
            let target = self.restore_records(&chain, target, options).await?;
            Ok(target.finish())
        }
        .instrument(span)
        .await
    }

    pub(super) async fn restore_to_file(
        &self,
        id: &SnapshotId,
        path: &Path,
        options: &RestoreOptions,
    ) -> Result<Snapshot> {
        let span = tracing::info_span!("restore", snapshot = %id);
        async {
            let chain = Chain::open(self, id).await?;
            let reader = chain.newest()?;
            let description = Arc::new(reader.database().await?);
            let (place, overwrite) = (path.to_owned(), options.overwrite);
            let target = self.unblock(move || FileTarget::create(&place, overwrite)).await?;
            let target = self.restore_records(&chain, target, options).await?;
            let finished = {
                let description = description.clone();
                self.unblock(move || target.finish(&description)).await?
            };
            let prove = self.config.verify_checksum;
            let progress = options.progress.clone();
            let metadata = reader.metadata.clone();
            let proved = self
                .unblock(move || {
                    if prove {
                        let mut meter = Meter::start(progress.as_deref(), Phase::Prove, metadata.vector_count);
                        prove_file(&finished, &description, metadata.checksum, &mut meter)?;
                    }
                    Ok(finished)
                })
                .await?;
            // A step of its own: whoever gave up in the meantime gets no file.
            self.unblock(move || proved.move_to_place(overwrite)).await?;
            Snapshot::new(&reader.metadata, reader.metadata_json.len() as u64)
        }
        .instrument(span)
        .await
    }

    /// Puts every record into the target, and compares the content checksum of what was put.
    async fn restore_records<T: RestoreTarget>(
        &self,
        chain: &Chain,
        mut target: T,
        options: &RestoreOptions,
    ) -> Result<T> {
        let metadata = &chain.newest()?.metadata;
        let mut meter = Meter::start(options.progress.as_deref(), Phase::Restore, metadata.vector_count);
        let mut sum = ContentSum::default();
        let mut last_id: Option<String> = None;
        let mut blocks = chain.blocks(&self.config).await?;
        while let Some((block, block_sum)) = blocks.try_next().await? {
            let first = block.row(0).id;
            if last_id.as_deref().is_some_and(|last| last >= first) {
                return Err(damaged(format!("snapshot {}: its blocks are not in the order of their ids", metadata.id)));
            }
            last_id = block.len().checked_sub(1).map(|last| block.row(last).id.to_owned());
            sum.merge(&block_sum);
            let (records, bytes) = (block.len() as u64, block.content_bytes() as u64);
            target = self
                .unblock(move || {
                    let mut records = block.rows().map(|Row { id, vector, metadata }| Record {
                        id,
                        vector,
                        metadata,
                        is_metadata_only: false,
                    });
                    target.put(&mut records)?;
                    Ok(target)
                })
                .await?;
            meter.add(records, bytes);
        }
        check_sum(sum, metadata.checksum, "the records of the snapshot")?;
        Ok(target)
    }
}

/// Reads the finished file back, through the same verified walk that captures a database, and sums what it holds.
fn prove_file(
    finished: &FinishedFile,
    description: &Description,
    expected: ContentSum,
    meter: &mut Meter<'_>,
) -> Result<()> {
    let mut source = FileSource::open(finished.path(), &FileOptions::default())?;
    let missing = description.rows.iter().find(|(name, value)| source.description().rows.get(*name) != Some(value));
    if let Some((name, _)) = missing {
        return Err(unproved(format!("the config row {name:?} is not in the restored database")));
    }
    let mut sum = ContentSum::default();
    let mut canonical = String::new();
    let (mut records, mut bytes) = (0, 0);
    while let Some(record) = source.next_record()? {
        canonical.clear();
        if let Some(text) = record.metadata {
            payloads::canonical(text, &mut canonical)?;
        }
        sum.add(&digest(record.id, record.vector, record.metadata.map(|_| canonical.as_str())));
        records += 1;
        bytes += (record.vector.len() + record.metadata.map_or(0, str::len)) as u64;
        if records == 1024 {
            meter.add(std::mem::take(&mut records), std::mem::take(&mut bytes));
        }
    }
    meter.add(records, bytes);
    check_sum(sum, expected, "the restored database")
}

fn check_sum(found: ContentSum, expected: ContentSum, of: &str) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    Err(unproved(format!("the content checksum of {of} is {found}, and {expected} was recorded")))
}

fn unproved(what: String) -> SnapshotError {
    SnapshotError::new(ErrorKind::Damaged, format!("{what}; nothing was restored"))
}

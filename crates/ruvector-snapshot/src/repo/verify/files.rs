//! Verifies the files of one snapshot: `checksum.sha256`, the sizes, every block, the sections, and the SHA-256 of each
//! data file.

use std::ops::Range;
use std::sync::Arc;

use futures::stream::{self, StreamExt, TryStreamExt};
use ruvector_snapshot_format::block::BlockOrder;
use ruvector_snapshot_format::checksum::{ContentSum, hex};
use ruvector_snapshot_format::index::BlockEntry;
use ruvector_snapshot_format::layout::{self, DataFile};
use ruvector_snapshot_format::limits;
use ruvector_snapshot_format::model::DatabaseInfo;
use sha2::Digest as _;

use super::blocks::{BlockCheck, FileHash, VerifiedBlock, check_if_large, fetch_run, hash_pieces, verify_block};
use super::report::{Corruption, VerifyReport, is_corruption};
use super::scope::Scope;
use crate::error::{ErrorKind, Result, SnapshotError};
use crate::progress::{Phase, Progress, ProgressCounter};
use crate::repo::context::{Context, run_blocking};
use crate::repo::irregular::IrregularSections;
use crate::repo::presence::{ObjectsByName, objects_of};
use crate::repo::reader::{RUN_BYTES_MAX, StoredSnapshot, runs};
use crate::snapshot::Snapshot;
use crate::source::irregular_rows::IrregularIds;

/// Verifies one snapshot and adds to a report.
pub(super) struct FileCheck<'a> {
    context: &'a Context,
    snapshot: &'a StoredSnapshot,
    scope: &'a Scope,
    progress: Option<&'a dyn Progress>,
    report: &'a mut VerifyReport,
    found: Found,
}

/// What the verification of one snapshot has found, apart from corruption.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Why this version cannot restore the snapshot, although it may be intact.
    pub(super) unsupported: Option<SnapshotError>,
    /// The description of the database. `None` if it cannot be restored.
    pub(super) database: Option<DatabaseInfo>,
    /// The ids of the irregular rows that the snapshot stores itself.
    pub(super) irregular: Option<Arc<IrregularIds>>,
}

/// What the blocks of a snapshot add up to.
struct BlockTotals {
    /// `None` if a block is corrupt.
    sum: Option<ContentSum>,
    removed: u64,
    order: BlockOrder,
}

impl<'a> FileCheck<'a> {
    pub(super) fn new(
        context: &'a Context,
        snapshot: &'a StoredSnapshot,
        scope: &'a Scope,
        progress: Option<&'a dyn Progress>,
        report: &'a mut VerifyReport,
    ) -> Self {
        Self { context, snapshot, scope, progress, report, found: Found::default() }
    }

    pub(super) async fn run(mut self) -> Result<Found> {
        self.report.bytes += self.snapshot.metadata_json_bytes;
        let files = Snapshot::new(&self.snapshot.metadata, self.snapshot.metadata_json_bytes)?;
        self.report.stored_bytes = self.report.stored_bytes.saturating_add(files.size_bytes);
        self.checksum_file().await?;
        if let Scope::Quick { listed } = self.scope {
            let own = listed.as_ref().and_then(|listed| listed.get(self.snapshot.id()));
            let objects = match own {
                Some(objects) => objects.clone(),
                None => objects_of(self.context.store.as_ref(), self.snapshot.id()).await?,
            };
            return self.sizes(&objects).await.map(|_| self.found);
        }
        let sizes = self.sizes(&ObjectsByName::new()).await?;
        match self.snapshot.directory().await {
            Ok(entries) => self.contents(&entries, sizes).await?,
            Err(error) if is_corruption(&error) => {
                if sizes.iter().all(Option::is_some) {
                    self.add(DataFile::Index.name(), None, error.message());
                }
                // Without the directory no block can be found, but the SHA-256 of every file can be compared.
                let is_read = |file: &DataFile| matches!(self.scope, Scope::Full) || *file == DataFile::Index;
                for (file, size) in DataFile::ALL.into_iter().zip(sizes).filter(|(file, _)| is_read(file)) {
                    self.rest_of_file(file, FileHash::new(size)).await?;
                }
            }
            Err(error) => return Err(error),
        }
        Ok(self.found)
    }

    async fn checksum_file(&mut self) -> Result<()> {
        let key = layout::key(self.snapshot.id(), layout::CHECKSUM_SHA256);
        match self.context.store.get(&key, limits::METADATA_JSON_BYTES).await {
            Ok(found) => {
                self.report.bytes += found.len() as u64;
                if found != self.snapshot.checksum_sha256.as_bytes() {
                    self.add(layout::CHECKSUM_SHA256, None, "it does not have the checksums of the other files");
                }
            }
            Err(error) => self.add_or_fail(layout::CHECKSUM_SHA256, error)?,
        }
        Ok(())
    }

    /// Returns the stored sizes of the data files that can be read. One that a listing has shown with the right size is not
    /// looked at again.
    async fn sizes(&mut self, listed: &ObjectsByName) -> Result<[Option<u64>; 3]> {
        let mut sizes = [None; 3];
        for (file, size) in DataFile::ALL.into_iter().zip(&mut sizes) {
            let expected = self.snapshot.metadata.file(file)?.bytes;
            if listed.get(file.name()).is_some_and(|object| object.size_bytes == expected) {
                *size = Some(expected);
                continue;
            }
            match self.context.store.head(&self.snapshot.key(file)).await {
                Ok(object) => {
                    *size = Some(object.size_bytes);
                    if object.size_bytes != expected {
                        let detail = format!("the file has {} bytes instead of {expected}", object.size_bytes);
                        self.add(file.name(), None, detail);
                    }
                }
                Err(error) => self.add_or_fail(file.name(), error)?,
            }
        }
        Ok(sizes)
    }

    /// Verifies every block, then the sections, and the SHA-256 of each file over the same bytes, in order.
    async fn contents(&mut self, entries: &Arc<[BlockEntry]>, sizes: [Option<u64>; 3]) -> Result<()> {
        let chosen = self.scope.chosen(self.snapshot.id(), entries);
        let (files, totals) = self.blocks(entries, &chosen, sizes).await?;
        self.check_totals(&totals);
        match self.snapshot.restorable_database().await {
            Ok(database) => self.found.database = Some(database),
            Err(error) => self.add_index_error(error)?,
        }
        self.irregular().await?;
        let mut changed = Vec::new();
        let is_complete = chosen.iter().all(|chosen| *chosen);
        for (file, hash) in DataFile::ALL.into_iter().zip(files) {
            // Of a file that was read in part, the SHA-256 is not known.
            let is_read = is_complete || file == DataFile::Index || has_no_pieces(entries, file);
            if is_read && !self.rest_of_file(file, hash).await? {
                changed.push(file.name());
            }
        }
        self.blame(&changed);
        Ok(())
    }

    /// Verifies the irregular rows that this snapshot stores itself.
    async fn irregular(&mut self) -> Result<()> {
        let metadata = &self.snapshot.metadata;
        let Some(info) = metadata.irregular.clone().filter(|_| metadata.irregular_sections().next().is_some()) else {
            return Ok(());
        };
        let mut sections = IrregularSections::of(self.snapshot, info);
        if let Some(database) = &self.found.database {
            sections = sections.restorable(database);
        }
        match sections.check().await {
            Ok(ids) => self.found.irregular = Some(Arc::new(ids)),
            Err(error) => self.add_index_error(error)?,
        }
        Ok(())
    }

    /// Adds an error of a section. One that a newer version may not have is kept apart.
    fn add_index_error(&mut self, error: SnapshotError) -> Result<()> {
        match error.kind() {
            ErrorKind::Unsupported => self.found.unsupported = self.found.unsupported.take().or(Some(error)),
            _ if is_corruption(&error) => self.add(DataFile::Index.name(), None, error.message()),
            _ => return Err(error),
        }
        Ok(())
    }

    async fn blocks(
        &mut self,
        entries: &Arc<[BlockEntry]>,
        chosen: &[bool],
        sizes: [Option<u64>; 3],
    ) -> Result<([FileHash; 3], BlockTotals)> {
        let (snapshot, config) = (self.snapshot, &self.context.config);
        let mut progress = ProgressCounter::start(self.progress, Phase::Verify, snapshot.metadata.rows());
        let mut files = sizes.map(FileHash::new);
        let mut totals = BlockTotals { sum: Some(ContentSum::default()), removed: 0, order: BlockOrder::default() };
        let mut checks = stream::iter(runs_of(snapshot, entries, chosen))
            .map(|(run, is_chosen)| {
                fetch_run(snapshot, run.start, entries.get(run).unwrap_or_default(), sizes, is_chosen)
            })
            .buffered(config.max_concurrent_io)
            .map_ok(|run| stream::iter(run.into_iter().map(Ok)))
            .try_flatten()
            .map(|fetched: Result<BlockCheck>| async { verify_block(snapshot, fetched?).await })
            .buffered(config.workers);
        while let Some(block) = checks.try_next().await? {
            let block = check_if_large(snapshot, block, sizes).await?;
            self.report.bytes += block.pieces.iter().map(|piece| piece.len() as u64).sum::<u64>();
            files = hash_pieces(files, block.pieces).await?;
            self.report.corruption.extend(block.corruption);
            match block.verified {
                Some(verified) => {
                    progress.add(verified.rows, verified.bytes);
                    self.add_block(block.at, verified, &mut totals);
                }
                None => (totals.sum, totals.order) = (None, BlockOrder::default()),
            }
        }
        drop(checks);
        Ok((files, totals))
    }

    fn add_block(&mut self, at: usize, verified: VerifiedBlock, totals: &mut BlockTotals) {
        if !totals.order.follows_ids(&verified.first_id, &verified.last_id) {
            self.add(DataFile::Index.name(), Some(at), "its ids do not follow those of the previous block");
        }
        totals.removed += verified.removed;
        if let Some(sum) = &mut totals.sum {
            sum.merge(&verified.sum);
        }
        self.report.records += verified.records;
    }

    /// Compares the totals with `metadata.json`. The rows of an increment are not a state and have no content checksum.
    fn check_totals(&mut self, totals: &BlockTotals) {
        let Some(mut sum) = totals.sum else { return };
        let metadata = &self.snapshot.metadata;
        // Verified by itself.
        sum.merge(&metadata.irregular_checksum());
        if metadata.changes.is_none() && sum != metadata.checksum {
            let detail = format!("the content checksum of all records is {sum} instead of {}", metadata.checksum);
            self.add(layout::METADATA_JSON, None, detail);
        }
        let expected = metadata.changes.map_or(0, |changes| changes.removed);
        if totals.removed != expected {
            let detail = format!("it has {} tombstones instead of {expected}", totals.removed);
            self.add(layout::METADATA_JSON, None, detail);
        }
    }

    /// Hashes the rest of a file behind its blocks and compares its SHA-256, unless its corruption is known already.
    /// Returns whether the file is as it was written.
    async fn rest_of_file(&mut self, file: DataFile, mut state: FileHash) -> Result<bool> {
        let info = self.snapshot.metadata.file(file)?;
        if state.readable != Some(info.bytes) {
            return Ok(false);
        }
        while state.read < info.bytes {
            let range = state.read..info.bytes.min(state.read + limits::BLOCK_BYTES as u64);
            let piece = match self.snapshot.range(file, range).await {
                Ok(piece) => piece,
                Err(error) => return self.add_or_fail(file.name(), error).map(|()| false),
            };
            self.report.bytes += piece.len() as u64;
            state = run_blocking(move || Ok(state.updated(&piece))).await?;
        }
        let found = hex(&state.hash.finalize());
        if found == info.sha256 {
            return Ok(true);
        }
        let id = self.snapshot.id().as_str();
        if !self.report.corruption.iter().any(|one| one.snapshot == id && one.file == file.name()) {
            self.add(file.name(), None, format!("its SHA-256 is {found} instead of {}", info.sha256));
        }
        Ok(false)
    }

    /// If the files do not fit together, that can show in any of them. Assigns the corruption to a file whose bytes
    /// have changed.
    fn blame(&mut self, changed: &[&str]) {
        let Some(culprit) = changed.first() else { return };
        let is_unchanged =
            |name: &str| !changed.contains(&name) && DataFile::ALL.iter().any(|file| file.name() == name);
        let id = self.snapshot.id().as_str();
        let own = self.report.corruption.iter_mut().filter(|one| one.snapshot == id);
        for one in own.filter(|one| is_unchanged(&one.file)) {
            one.file = (*culprit).to_owned();
        }
    }

    fn add(&mut self, file: &str, block: Option<usize>, detail: impl Into<String>) {
        let snapshot = self.snapshot.id().to_string();
        self.report.corruption.push(Corruption { snapshot, file: file.to_owned(), block, detail: detail.into() });
    }

    fn add_or_fail(&mut self, file: &str, error: SnapshotError) -> Result<()> {
        match error.kind() {
            ErrorKind::NotFound => self.add(file, None, "the file is missing"),
            _ if is_corruption(&error) => self.add(file, None, error.message()),
            _ => return Err(error),
        }
        Ok(())
    }
}

/// Returns whether no block has bytes in a file. Then it consists of one empty member.
pub(super) fn has_no_pieces(entries: &[BlockEntry], file: DataFile) -> bool {
    entries.iter().all(|entry| entry.range(file).is_empty())
}

/// Groups consecutive blocks that are read together, and says of each group whether it is read as a whole. Of the others
/// only the index is read.
fn runs_of(snapshot: &StoredSnapshot, entries: &[BlockEntry], chosen: &[bool]) -> Vec<(Range<usize>, bool)> {
    let mut start = 0;
    let mut all = Vec::new();
    for alike in chosen.chunk_by(|a, b| a == b) {
        let end = start + alike.len();
        let is_chosen = alike.first().copied().unwrap_or_default();
        let blocks = entries.get(start..end).unwrap_or_default();
        let runs = match is_chosen {
            true => runs(blocks, &DataFile::ALL, RUN_BYTES_MAX, |entry| snapshot.is_large(entry)),
            false => runs(blocks, &[DataFile::Index], RUN_BYTES_MAX, |_| false),
        };
        all.extend(runs.into_iter().map(|run| (start + run.start..start + run.end, is_chosen)));
        start = end;
    }
    all
}

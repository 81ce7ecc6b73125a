//! verify: reads a whole snapshot and reports every damage it finds, by file and block. Writes nothing.

mod blocks;

use std::fmt;
use std::sync::Arc;

use futures::stream::{self, StreamExt, TryStreamExt};
use serde::Serialize;
use sha2::Digest as _;
use tracing::Instrument as _;

use self::blocks::{Checked, FileHash, fetch_run, hash_pieces, prove_block};
use super::chain::Chain;
use super::progress::{Meter, Phase, Progress};
use super::reader::{RUN_BYTES_MAX, SnapshotReader, runs};
use super::{SnapshotManager, catalog, no_snapshot, unblock};
use crate::error::{ErrorKind, Result, SnapshotError};
use crate::format::checksum::{ContentSum, hex};
use crate::format::id::SnapshotId;
use crate::format::index::{self, BlockEntry};
use crate::format::layout::{self, DataFile};
use crate::format::metadata::Changes;
use crate::format::{damaged, limits};

/// What a verify may be told. Start from `default()`.
#[derive(Debug, Clone, Default)]
pub struct VerifyOptions {
    /// Hears how far it has come.
    pub progress: Option<Arc<dyn Progress>>,
}

/// What a verify found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct VerifyReport {
    /// The snapshot.
    pub id: String,
    /// What it stands on, the newest first: each was verified with it, as by a verify of its own.
    pub chain: Vec<String>,
    /// Every damage found; none where the snapshot is whole. One can hide another, which shows once the first is mended.
    pub damage: Vec<Damage>,
    /// Records whose digests were proved; where there is damage, in all snapshots of the chain.
    pub records: u64,
    /// Bytes of files that were read and compared.
    pub bytes: u64,
}

/// One damage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Damage {
    /// The snapshot it is in, of those of the chain.
    pub snapshot: String,
    /// The file it is in.
    pub file: String,
    /// The block it is in, from 0, where it is in a block.
    pub block: Option<usize>,
    /// What is wrong.
    pub what: String,
}

impl VerifyReport {
    /// Whether no damage was found.
    pub fn is_whole(&self) -> bool {
        self.damage.is_empty()
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.block {
            Some(block) => write!(f, "{}: block {block}: {}", self.file, self.what),
            None => write!(f, "{}: {}", self.file, self.what),
        }
    }
}

pub(super) async fn verify(
    manager: &SnapshotManager,
    id: &SnapshotId,
    options: &VerifyOptions,
) -> Result<VerifyReport> {
    let span = tracing::info_span!("verify", snapshot = %id);
    verify_twice(manager, id, options).instrument(span).await
}

/// What is not there may be what it stands on. That is damage, and shows as such when the chain is read again.
async fn verify_twice(manager: &SnapshotManager, id: &SnapshotId, options: &VerifyOptions) -> Result<VerifyReport> {
    let is_gone = |error: &SnapshotError| error.kind() == ErrorKind::NotFound;
    for _ in 0..2 {
        match verify_once(manager, id, options).await {
            Err(error) if is_gone(&error) => {}
            answer => return answer,
        }
        match manager.store.head(&layout::key(id, layout::METADATA_JSON)).await {
            Err(error) if is_gone(&error) => return Err(no_snapshot(id).because(error)),
            answer => answer?,
        };
    }
    let what = format!("what snapshot {id} stands on changed while it was read; try again");
    Err(SnapshotError::new(ErrorKind::Unavailable, what))
}

async fn verify_once(manager: &SnapshotManager, id: &SnapshotId, options: &VerifyOptions) -> Result<VerifyReport> {
    let mut check = Check {
        manager,
        report: VerifyReport { id: id.to_string(), chain: Vec::new(), damage: Vec::new(), records: 0, bytes: 0 },
        current: id.to_string(),
        progress: options.progress.as_deref(),
    };
    match Chain::open(manager, id).await {
        Ok(chain) => check.chain(&chain).await?,
        Err(error) if error.kind() == ErrorKind::Damaged => check.broken(id, error).await?,
        Err(error) => return Err(error),
    }
    Ok(check.report)
}

struct Check<'a> {
    manager: &'a SnapshotManager,
    /// The snapshot that is being read.
    current: String,
    report: VerifyReport,
    progress: Option<&'a dyn Progress>,
}

impl Check<'_> {
    fn note(&mut self, file: &str, block: Option<usize>, what: impl Into<String>) {
        let snapshot = self.current.clone();
        self.report.damage.push(Damage { snapshot, file: file.to_owned(), block, what: what.into() });
    }

    /// Every snapshot of the chain, then the state that they come to.
    async fn chain(&mut self, chain: &Chain) -> Result<()> {
        let ids = chain.readers().iter().map(|reader| reader.metadata.id.to_string());
        self.report.chain = ids.skip(1).collect();
        for reader in chain.readers() {
            self.current = reader.metadata.id.to_string();
            self.files(reader).await?;
            // A delete that is under way looks like damage.
            if !self.report.is_whole() {
                reader.check_exists().await?;
            }
        }
        self.counts(chain)?;
        if !self.report.is_whole() {
            return Ok(());
        }
        self.leaves(chain).await?;
        // The blocks of a full snapshot have proved its state already.
        if chain.readers().len() > 1 { self.states(chain).await } else { Ok(()) }
    }

    /// What each increment counts, against what its base does, up to the first that is wrong.
    fn counts(&mut self, chain: &Chain) -> Result<()> {
        for (above, base) in chain.readers().iter().zip(chain.readers().iter().skip(1)).rev() {
            let base_id = base.metadata.id.to_string();
            if self.report.damage.iter().any(|damage| damage.snapshot == base_id) {
                return Ok(());
            }
            let Some(changes) = above.metadata.changes else { continue };
            let kept = base.metadata.vector_count.checked_sub(changes.removed);
            if kept.and_then(|kept| kept.checked_add(changes.added)) != Some(above.metadata.vector_count) {
                self.current = above.metadata.id.to_string();
                self.note(
                    layout::METADATA_JSON,
                    None,
                    "its changes do not lead from the records of its base to its own",
                );
            }
        }
        Ok(())
    }

    /// The leaf tables, on which the next increment relies, can be read and hold all records.
    async fn leaves(&mut self, chain: &Chain) -> Result<()> {
        let read = chain.each_leaves(&self.manager.config, |reader, [vectors, _]| {
            let rows: u64 = vectors.rows.iter().map(|rows| u64::from(*rows)).sum();
            let records = reader.metadata.vector_count;
            if rows == records {
                return Ok(());
            }
            let what = format!("the section {:?} has {rows} rows of the {records} records", index::LEAVES);
            Err(damaged(what).at(reader.key(DataFile::Index)))
        });
        read.await.map(drop).or_else(|error| self.note_at(error))
    }

    /// The records that the chain comes to, at each of its snapshots, by their digests and the content checksum.
    async fn states(&mut self, chain: &Chain) -> Result<()> {
        let steps = match chain.steps(&self.manager.config).await {
            Ok(steps) => steps,
            Err(error) => return self.note_at(error),
        };
        let mut sum = ContentSum::default();
        for (reader, step) in chain.readers().iter().zip(steps).rev() {
            let metadata = &reader.metadata;
            sum.merge(&step.sum);
            self.current = metadata.id.to_string();
            if sum != metadata.checksum {
                let what = format!(
                    "the chain comes to records with the content checksum {sum}, and {} was recorded",
                    metadata.checksum
                );
                self.note(layout::METADATA_JSON, None, what);
            }
            if let Some(recorded) = metadata.changes.filter(|recorded| *recorded != step.changes) {
                let counts = |Changes { added, changed, removed }| {
                    format!("{added} added, {changed} changed, {removed} removed")
                };
                let what = format!("its rows are {}, and {} were recorded", counts(step.changes), counts(recorded));
                self.note(layout::METADATA_JSON, None, what);
            }
        }
        if self.report.is_whole() {
            self.report.records = chain.newest()?.metadata.vector_count;
        }
        Ok(())
    }

    /// Notes damage where the error says it is; an error of another kind stays one.
    fn note_at(&mut self, error: SnapshotError) -> Result<()> {
        if error.kind() != ErrorKind::Damaged {
            return Err(error);
        }
        let place = error.key().and_then(layout::parse_key).map(|(id, file)| (id.to_string(), file.to_owned()));
        let (id, file) = place.unwrap_or_else(|| (self.report.id.clone(), layout::METADATA_JSON.to_owned()));
        self.current = id;
        self.note(&file, None, error.message());
        Ok(())
    }

    /// A chain that cannot be followed to its end: what can be said of those that can be read, and where it breaks off.
    async fn broken(&mut self, id: &SnapshotId, broken: SnapshotError) -> Result<()> {
        let first = id;
        let mut next = Some(first.clone());
        while let Some(id) = next {
            match SnapshotReader::open(self.manager, &id).await {
                Ok(reader) => {
                    self.current = id.to_string();
                    if id != *first {
                        self.report.chain.push(self.current.clone());
                    }
                    self.files(&reader).await?;
                    if !self.report.is_whole() {
                        reader.check_exists().await?;
                    }
                    next = reader.metadata.base_id()?;
                }
                Err(error) if error.kind() == ErrorKind::Damaged => {
                    self.current = id.to_string();
                    let what = format!("{}; the other files cannot be checked without it", error.message());
                    self.note(layout::METADATA_JSON, None, what);
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::NotFound && id != *first => break,
                Err(error) => return Err(error),
            }
        }
        self.note_at(broken)
    }

    async fn files(&mut self, reader: &SnapshotReader) -> Result<()> {
        self.report.bytes += reader.metadata_json.len() as u64;
        self.checksum_file(reader).await?;
        let sizes = self.sizes(reader).await?;
        match reader.directory().await {
            Ok(entries) => self.contents(reader, &entries, sizes).await,
            Err(error) if is_damage(&error) => {
                if sizes.iter().all(Option::is_some) {
                    self.note(DataFile::Index.name(), None, error.message());
                }
                // Without the directory no block can be found, but every file still shows whether it is as written.
                for (file, size) in DataFile::ALL.into_iter().zip(sizes) {
                    self.whole_file(reader, file, size).await?;
                }
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    async fn checksum_file(&mut self, reader: &SnapshotReader) -> Result<()> {
        let key = layout::key(&reader.metadata.id, layout::CHECKSUM_SHA256);
        let expected = catalog::checksum_sha256(&reader.metadata_json, &reader.metadata)?;
        match self.manager.store.get(&key, limits::METADATA_JSON_BYTES).await {
            Ok(found) => {
                self.report.bytes += found.len() as u64;
                if found != expected.as_bytes() {
                    self.note(layout::CHECKSUM_SHA256, None, "it does not hold the checksums of the other files");
                }
            }
            Err(error) => self.note_or_fail(layout::CHECKSUM_SHA256, error)?,
        }
        Ok(())
    }

    /// The sizes of the data files as stored, where they can be read at all.
    async fn sizes(&mut self, reader: &SnapshotReader) -> Result<[Option<u64>; 3]> {
        let mut sizes = [None; 3];
        for (file, size) in DataFile::ALL.into_iter().zip(&mut sizes) {
            let expected = reader.metadata.file(file)?.bytes;
            match self.manager.store.head(&reader.key(file)).await {
                Ok(object) => {
                    *size = Some(object.size_bytes);
                    if object.size_bytes != expected {
                        let what = format!("the file has {} bytes, not {expected}", object.size_bytes);
                        self.note(file.name(), None, what);
                    }
                }
                Err(error) => self.note_or_fail(file.name(), error)?,
            }
        }
        Ok(sizes)
    }

    /// Every block, then the sections; and the SHA-256 of each file over the same bytes, in order.
    async fn contents(
        &mut self,
        reader: &SnapshotReader,
        entries: &Arc<[BlockEntry]>,
        sizes: [Option<u64>; 3],
    ) -> Result<()> {
        let mut meter = Meter::start(self.progress, Phase::Verify, reader.metadata.rows());
        let mut files = sizes.map(FileHash::new);
        let (mut sum, mut removed) = (Some(ContentSum::default()), 0);
        let mut last_id: Option<String> = None;
        let config = &self.manager.config;
        let mut checked = stream::iter(runs(entries, &DataFile::ALL, RUN_BYTES_MAX))
            .map(|run| fetch_run(reader, run.start, entries.get(run).unwrap_or_default(), sizes))
            .buffered(config.max_concurrent_io)
            .map_ok(|run| stream::iter(run.into_iter().map(Ok)))
            .try_flatten()
            .map(|fetched: Result<Checked>| async { prove_block(reader, fetched?).await })
            .buffered(config.workers);
        while let Some(block) = checked.try_next().await? {
            self.report.bytes += block.pieces.iter().map(|piece| piece.len() as u64).sum::<u64>();
            files = hash_pieces(files, block.pieces).await?;
            self.report.damage.extend(block.damage);
            match block.proved {
                Some(proved) => {
                    if last_id.is_some_and(|last| last >= proved.first_id) {
                        self.note(
                            DataFile::Index.name(),
                            Some(block.at),
                            "its ids do not follow those of the block before",
                        );
                    }
                    last_id = Some(proved.last_id);
                    if let Some(sum) = &mut sum {
                        sum.merge(&proved.sum);
                    }
                    removed += proved.removed;
                    self.report.records += proved.records;
                    meter.add(proved.rows, proved.bytes);
                }
                None => (sum, last_id) = (None, None),
            }
        }
        drop(checked);
        // What an increment's rows sum to is no state.
        if let Some(sum) = sum
            && reader.metadata.changes.is_none()
            && sum != reader.metadata.checksum
        {
            let what =
                format!("the content checksum of all records is {sum}, and {} was recorded", reader.metadata.checksum);
            self.note(layout::METADATA_JSON, None, what);
        }
        let removed_due = reader.metadata.changes.map_or(0, |changes| changes.removed);
        if sum.is_some() && removed != removed_due {
            let what = format!("{removed} of its rows are removed records, and {removed_due} were recorded");
            self.note(layout::METADATA_JSON, None, what);
        }
        self.sections(reader).await?;
        let mut changed = Vec::new();
        for (file, hash) in DataFile::ALL.into_iter().zip(files) {
            if !self.rest_of_file(reader, file, hash).await? {
                changed.push(file.name());
            }
        }
        self.blame(&changed);
        Ok(())
    }

    /// Where the files do not fit together, that shows in any of them: to blame is one whose bytes are not as written.
    fn blame(&mut self, changed: &[&str]) {
        let Some(culprit) = changed.first() else { return };
        let as_written = |name: &str| !changed.contains(&name) && DataFile::ALL.iter().any(|file| file.name() == name);
        let current = &self.current;
        let here = self.report.damage.iter_mut().filter(|damage| damage.snapshot == *current);
        for damage in here.filter(|damage| as_written(&damage.file)) {
            damage.file = (*culprit).to_owned();
        }
    }

    /// The sections expand; their bytes are hashed with the rest of the file.
    async fn sections(&mut self, reader: &SnapshotReader) -> Result<()> {
        match reader.database().await {
            Err(error) if is_damage(&error) => self.note(DataFile::Index.name(), None, error.message()),
            Err(error) => return Err(error),
            Ok(_) => {}
        }
        Ok(())
    }

    async fn whole_file(&mut self, reader: &SnapshotReader, file: DataFile, size: Option<u64>) -> Result<bool> {
        self.rest_of_file(reader, file, FileHash::new(size)).await
    }

    /// What lies behind the blocks; then the SHA-256 of the file, noted unless its damage is known already. Returns whether
    /// the file is as it was written.
    async fn rest_of_file(&mut self, reader: &SnapshotReader, file: DataFile, mut state: FileHash) -> Result<bool> {
        let info = reader.metadata.file(file)?;
        if state.readable != Some(info.bytes) {
            return Ok(false);
        }
        while state.read < info.bytes {
            let range = state.read..info.bytes.min(state.read + limits::BLOCK_BYTES as u64);
            let piece = match reader.range(file, range).await {
                Ok(piece) => piece,
                Err(error) => return self.note_or_fail(file.name(), error).map(|()| false),
            };
            self.report.bytes += piece.len() as u64;
            state = unblock(move || Ok(state.updated(&piece))).await?;
        }
        let found = hex(&state.hash.finalize());
        if found != info.sha256
            && !self.report.damage.iter().any(|damage| damage.snapshot == self.current && damage.file == file.name())
        {
            self.note(file.name(), None, format!("its SHA-256 is {found}, and {} was recorded", info.sha256));
        }
        Ok(found == info.sha256)
    }

    fn note_or_fail(&mut self, file: &str, error: SnapshotError) -> Result<()> {
        match error.kind() {
            ErrorKind::NotFound => self.note(file, None, "the file is missing"),
            _ if is_damage(&error) => self.note(file, None, error.message()),
            _ => return Err(error),
        }
        Ok(())
    }
}

fn is_damage(error: &SnapshotError) -> bool {
    matches!(error.kind(), ErrorKind::Damaged | ErrorKind::NotFound)
}

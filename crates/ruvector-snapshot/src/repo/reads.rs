//! What it takes to read a whole chain: bytes and requests of each object. Computed from the block directories, with the
//! functions by which the reader itself divides its reads.

use std::ops::Range;
use std::sync::Arc;

use futures::stream::{self, StreamExt as _};
use ruvector_snapshot_format::index::{self, BlockEntry};
use ruvector_snapshot_format::layout::DataFile;

use super::chain::Chain;
use super::reader::{StoredSnapshot, range_of, runs};
use crate::config::SnapshotConfig;
use crate::error::{Result, SnapshotError};

/// What is read of one object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct ObjectReads {
    pub(crate) bytes: u64,
    pub(crate) requests: u64,
    /// Where the last byte that is read ends. What is behind it is not missed.
    pub(crate) end: u64,
}

impl ObjectReads {
    /// Adds a read. An empty one needs no request.
    fn add(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        self.bytes = self.bytes.saturating_add(range.end.saturating_sub(range.start));
        self.requests += 1;
        self.end = self.end.max(range.end);
    }
}

/// A data file that is missing or has another size than `metadata.json` says.
#[derive(Debug)]
pub(crate) struct WrongSize {
    pub(crate) error: SnapshotError,
    /// Whether what is read of it is not all there.
    pub(crate) is_needed: bool,
}

impl Chain {
    /// Asks for the size of every data file, and returns those that are wrong. `reads` is `None` if it is not known what is
    /// read: then all of a file is needed.
    pub(crate) async fn wrong_sizes(
        &self,
        reads: Option<&[[ObjectReads; 4]]>,
        config: &SnapshotConfig,
    ) -> Result<Vec<WrongSize>> {
        let mut checks = Vec::new();
        for (at, snapshot) in self.snapshots().iter().enumerate() {
            let known = reads.and_then(|reads| reads.get(at));
            for (number, file) in DataFile::ALL.into_iter().enumerate() {
                let recorded = snapshot.metadata.file(file)?.bytes;
                // The first is `metadata.json`.
                let needed = known.and_then(|reads| reads.get(number + 1)).map_or(recorded, |reads| reads.end);
                checks.push(async move {
                    let wrong = snapshot.wrong_size(file).await?;
                    Ok::<_, SnapshotError>(wrong.map(|(error, bytes)| WrongSize { error, is_needed: bytes < needed }))
                });
            }
        }
        let checked: Vec<_> = stream::iter(checks).buffered(config.max_concurrent_io).collect().await;
        checked.into_iter().filter_map(Result::transpose).collect()
    }

    /// Returns what a restore reads of `metadata.json` and of the data files, in the order of [`DataFile::ALL`], of each
    /// snapshot, the newest first: the state, and the irregular rows
    /// if `with_irregular` is set. A request that is repeated counts once. A large block counts, although it is not read if
    /// a newer snapshot replaces its row.
    pub(crate) fn reads(
        &self,
        directories: &[Arc<[BlockEntry]>],
        with_irregular: bool,
        config: &SnapshotConfig,
    ) -> Result<Vec<[ObjectReads; 4]>> {
        let irregular = self.irregular()?.filter(|_| with_irregular);
        let each = self.snapshots().iter().zip(directories).enumerate().map(|(at, (snapshot, entries))| {
            let mut sections = vec![index::DIRECTORY];
            if at == 0 {
                sections.push(index::DATABASE);
            }
            let stores_irregular = irregular.as_ref().is_some_and(|rows| rows.stored_in() == snapshot.id());
            let irregular = snapshot.metadata.irregular_sections().filter(|_| stores_irregular);
            let named = sections.into_iter().map(|name| snapshot.metadata.section(name));
            let sections = named.chain(irregular.map(Ok)).map(|section| Ok(section?.range()));
            let run_bytes_max = self.read_ahead(at, config).run_bytes_max;
            Ok(reads_of(snapshot, entries, sections.collect::<Result<_>>()?, run_bytes_max))
        });
        each.collect()
    }
}

fn reads_of(
    snapshot: &StoredSnapshot,
    entries: &[BlockEntry],
    sections: Vec<Range<u64>>,
    run_bytes_max: u64,
) -> [ObjectReads; 4] {
    let mut metadata_json = ObjectReads::default();
    metadata_json.add(0..snapshot.metadata_json_bytes);
    let mut data = DataFile::ALL.map(|_| ObjectReads::default());
    for run in runs(entries, &DataFile::ALL, run_bytes_max, |entry| snapshot.is_large(entry)) {
        let run = entries.get(run).unwrap_or_default();
        for (file, reads) in DataFile::ALL.into_iter().zip(&mut data) {
            reads.add(range_of(run, file));
        }
    }
    let [vectors, mut index, payloads] = data;
    sections.into_iter().for_each(|range| index.add(range));
    [metadata_json, vectors, index, payloads]
}

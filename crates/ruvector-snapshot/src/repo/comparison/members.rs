//! The snapshots of two chains that are compared, each once, and streams of their rows.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use ruvector_snapshot_format::checksum::ContentSum;
use ruvector_snapshot_format::index::BlockEntry;
use ruvector_snapshot_format::layout::DataFile;

use super::Side;
use crate::error::{ErrorKind, Result, SnapshotError, corrupt};
use crate::repo::chain::{Chain, judged};
use crate::repo::context::Context;
use crate::repo::merge::Merge;
use crate::repo::reader::{NextBlock, ReadAhead, StoredSnapshot};
use crate::source::key_range::{DiffRange, KeyRange};

/// The snapshots: those that only the first chain has, then those that only the second one has, then those of both. In
/// each part the newest is first, so the rows of one side are in the order of their numbers.
pub(super) struct Members {
    all: Vec<Member>,
    /// How many only one of the chains has.
    own: [usize; 2],
    chains: [Chain; 2],
}

struct Member {
    snapshot: StoredSnapshot,
    /// The blocks whose rows are compared.
    entries: Arc<[BlockEntry]>,
    ahead: ReadAhead,
}

impl Members {
    /// Reads the block directories, and finds the blocks of the common snapshots that can hold a row of one of the others.
    pub(super) async fn open(chains: [Chain; 2], contexts: [&Context; 2]) -> Result<Self> {
        let [first, second] = chains.each_ref().map(Chain::snapshots);
        let ends = first.iter().rev().zip(second.iter().rev());
        let shared = ends.take_while(|(one, other)| is_same(one, other)).count();
        let own = [first.len() - shared, second.len() - shared];
        let ranges = [0..own[0], 0..own[1], own[0]..first.len()];
        let parts =
            ranges.into_iter().zip([(&chains[0], contexts[0]), (&chains[1], contexts[1]), (&chains[0], contexts[0])]);
        let mut opening = Vec::new();
        for (range, (chain, context)) in parts {
            for at in range {
                let snapshot = chain.snapshots().get(at).cloned().ok_or_else(no_member)?;
                let ahead = chain.read_ahead(at, &context.config);
                opening.push(async move {
                    let entries = snapshot.directory().await?;
                    Ok::<_, SnapshotError>(Member { snapshot, entries, ahead })
                });
            }
        }
        let all = stream::iter(opening).buffered(contexts[0].config.max_concurrent_io).try_collect().await?;
        let mut members = Self { all, own, chains };
        members.leave_out_same_blocks().await?;
        Ok(members)
    }

    /// Leaves out the blocks of common snapshots that can hold no row of the others. Reads the index of the others.
    async fn leave_out_same_blocks(&mut self) -> Result<()> {
        let shared = self.shared();
        if shared.is_empty() {
            return Ok(());
        }
        let mut rows = self.merge(0..shared.start);
        let mut needed: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); shared.len()];
        while rows.advance().await? {
            let Some(row) = rows.newest() else { continue };
            for (member, needed) in self.all.iter().skip(shared.start).zip(&mut needed) {
                let after = member.entries.partition_point(|entry| entry.first_id.as_str() <= row.id);
                needed.extend(after.checked_sub(1));
            }
        }
        for (member, needed) in self.all.iter_mut().skip(shared.start).zip(needed) {
            member.entries = needed.into_iter().filter_map(|at| member.entries.get(at).cloned()).collect();
        }
        Ok(())
    }

    fn shared(&self) -> Range<usize> {
        self.own.iter().sum()..self.all.len()
    }

    pub(super) fn is_shared(&self, member: usize) -> bool {
        member >= self.shared().start
    }

    /// Returns whether the rows of a member belong to the state of a side.
    pub(super) fn is_of(&self, side: Side, member: usize) -> bool {
        let [first, _] = self.own;
        self.is_shared(member) || (side == Side::First) == (member < first)
    }

    /// Returns whether a member holds all records of its time, so that its blocks are full.
    pub(super) fn is_full(&self, member: usize) -> bool {
        self.all.get(member).is_some_and(|member| matches!(member.snapshot.metadata.base_id(), Ok(None)))
    }

    pub(super) fn entry(&self, (member, block): (usize, usize)) -> Option<&BlockEntry> {
        self.all.get(member)?.entries.get(block)
    }

    /// Returns the number of rows that are compared.
    pub(super) fn rows_total(&self) -> u64 {
        self.all.iter().flat_map(|member| member.entries.iter()).map(|entry| u64::from(entry.rows)).sum()
    }

    pub(super) fn newest(&self, side: Side) -> Result<&StoredSnapshot> {
        let [first, second] = &self.chains;
        match side {
            Side::First => first.newest(),
            Side::Second => second.newest(),
        }
    }

    /// Returns what the records of the newest common snapshot add to the content checksum.
    pub(super) fn shared_sum(&self) -> Result<ContentSum> {
        let Some(newest) = self.all.get(self.shared().start) else { return Ok(ContentSum::default()) };
        let mut sum = newest.snapshot.metadata.checksum;
        sum.unmerge(&newest.snapshot.metadata.irregular_checksum());
        Ok(sum)
    }

    /// Checks that these are the sums of the records of both sides.
    pub(super) async fn check_sums(&self, sums: [ContentSum; 2]) -> Result<()> {
        for (side, mut found) in Side::BOTH.into_iter().zip(sums) {
            let newest = self.newest(side)?;
            found.merge(&newest.metadata.irregular_checksum());
            let expected = newest.metadata.checksum;
            if found != expected {
                let message = format!(
                    "the content checksum of the rows in the index is {found} instead of {expected}; do not rely on the \
                     differences that were found before"
                );
                return Err(newest.judged(corrupt(message).with_key(newest.key(DataFile::Index))).await);
            }
        }
        Ok(())
    }

    /// Merges the rows of all members, without vectors and metadata.
    pub(super) fn index_rows(&self) -> Merge {
        self.merge(0..self.all.len())
    }

    fn merge(&self, members: Range<usize>) -> Merge {
        let members = self.all.iter().skip(members.start).take(members.len());
        let rows = |member: &Member| member.snapshot.blocks_without_content(&member.entries, member.ahead);
        Merge::new(members.map(|member| judged(&member.snapshot, rows(member))).collect())
    }

    /// Merges the rows of these ids in these blocks of one side, with metadata and without vectors.
    pub(super) fn rows_with_metadata<'a>(
        &self,
        blocks: impl Iterator<Item = (usize, usize)>,
        ids: impl Iterator<Item = &'a str>,
    ) -> Merge {
        let range = |id| DiffRange { key_range: KeyRange::inclusive(id, id), is_metadata_only: false };
        let ranges: Arc<[DiffRange]> = ids.map(range).collect();
        self.merge_of(blocks, |member, entries| {
            member.snapshot.blocks_without_vectors(entries, ranges.clone(), member.ahead).boxed()
        })
    }

    /// Merges all rows of these blocks of one side.
    pub(super) fn whole_rows(&self, blocks: impl Iterator<Item = (usize, usize)>) -> Merge {
        self.merge_of(blocks, |member, entries| member.snapshot.blocks(&entries.into(), member.ahead).boxed())
    }

    fn merge_of(
        &self,
        blocks: impl Iterator<Item = (usize, usize)>,
        open: impl Fn(&Member, Vec<BlockEntry>) -> BoxStream<'static, Result<NextBlock>>,
    ) -> Merge {
        let mut chosen: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
        blocks.for_each(|(member, block)| chosen.entry(member).or_default().extend([block]));
        let streams = chosen.into_iter().filter_map(|(member, blocks)| {
            let member = self.all.get(member)?;
            let entries = blocks.into_iter().filter_map(|at| member.entries.get(at).cloned()).collect();
            Some(judged(&member.snapshot, open(member, entries)))
        });
        Merge::new(streams.collect())
    }
}

/// Returns whether two snapshots, perhaps of two stores, are the same: `metadata.json` has the SHA-256 of every file.
fn is_same(one: &StoredSnapshot, other: &StoredSnapshot) -> bool {
    one.id() == other.id() && one.checksum_sha256 == other.checksum_sha256
}

fn no_member() -> SnapshotError {
    SnapshotError::new(ErrorKind::Internal, "a chain has fewer snapshots than it had")
}

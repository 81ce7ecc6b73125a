//! Compares the states of two chains: which records only one of them has, and which have other digests.
//!
//! Ids and digests are read from indexes, and both states are summed on the way: at the end the sums must be the content
//! checksums of the two snapshots, so what was compared is what they hold. Snapshots that both chains have are read only
//! where one of the others has a row. What has changed of a record, its vector or its metadata, is decided in `content`.

mod content;
mod members;

use ruvector_snapshot_format::block::RowKind;
use ruvector_snapshot_format::checksum::{ContentSum, Digest};
use serde::{Deserialize, Serialize};

use self::content::Contents;
use self::members::Members;
use super::chain::Chain;
use super::context::Context;
use super::merge::{Merge, RowPlace};
use crate::error::Result;

/// Differences whose contents are compared together.
const BATCH_LEN: usize = 8192;
/// Bytes of ids of differences that are compared together. One id has up to 1 MiB.
const BATCH_BYTES: usize = 4 << 20;

/// What became of a record from one snapshot to another one.
///
/// # Examples
///
/// ```
/// use ruvector_snapshot::RecordChange;
///
/// assert_eq!(serde_json::to_string(&RecordChange::Vector)?, r#""vector""#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RecordChange {
    /// Only the second snapshot has the record.
    Added,
    /// Only the first snapshot has the record.
    Removed,
    /// Both have the record, with the same metadata and another vector.
    Vector,
    /// Both have the record, with the same vector and other metadata.
    Metadata,
    /// Both have the record, with another vector and other metadata.
    VectorAndMetadata,
}

/// One of the two states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    First,
    Second,
}

impl Side {
    const BOTH: [Self; 2] = [Self::First, Self::Second];
}

/// An id whose record is not the same in both states.
#[derive(Debug)]
struct Difference {
    id: String,
    /// What the states have of it.
    records: [Option<StoredRecord>; 2],
}

/// Where a record of a state is stored.
#[derive(Debug, Clone, Copy)]
struct StoredRecord {
    digest: Digest,
    /// The newest row of the id, as the number of a member and of one of its blocks.
    newest: (usize, usize),
    /// The row that has its vector.
    with_vector: Option<(usize, usize)>,
}

/// The comparison of two states, as far as it has come.
pub(crate) struct Comparison {
    members: Members,
    rows: Merge,
    /// The rows of the current id.
    places: Vec<RowPlace>,
    /// What each side adds to the content checksum so far.
    sums: [ContentSum; 2],
    rows_read: u64,
    has_ended: bool,
}

impl Comparison {
    /// Opens the indexes of two chains.
    pub(crate) async fn open(chains: [Chain; 2], contexts: [&Context; 2]) -> Result<Self> {
        let members = Members::open(chains, contexts).await?;
        let (rows, shared) = (members.index_rows(), members.shared_sum()?);
        Ok(Self { members, rows, places: Vec::new(), sums: [shared; 2], rows_read: 0, has_ended: false })
    }

    /// Returns the number of rows that were read, and of all that are to be read.
    pub(crate) fn progress(&self) -> (u64, u64) {
        (self.rows_read, self.members.rows_total())
    }

    /// Returns the next ids whose records differ, in order, and how. Empty only while nothing differs, so that the caller
    /// can report progress; `None` at the end, when both sums have been compared.
    pub(crate) async fn next_batch(&mut self) -> Result<Option<Vec<(String, RecordChange)>>> {
        if self.has_ended {
            return Ok(None);
        }
        let (mut batch, mut bytes, start) = (Vec::new(), 0, self.rows_read);
        while batch.len() < BATCH_LEN && bytes < BATCH_BYTES && self.rows_read - start < 16 * BATCH_LEN as u64 {
            if !self.rows.advance().await? {
                self.has_ended = true;
                self.members.check_sums(self.sums).await?;
                break;
            }
            if let Some(difference) = self.difference() {
                bytes += difference.id.len();
                batch.push(difference);
            }
        }
        let changes = Contents::new(&self.members, &batch).changes().await?;
        Ok(Some(batch.into_iter().map(|difference| difference.id).zip(changes).collect()))
    }

    /// Adds the records of the current id to the sums. Returns how they differ.
    fn difference(&mut self) -> Option<Difference> {
        self.places.clear();
        self.places.extend(self.rows.places());
        self.rows_read += self.places.len() as u64;
        let places = || self.places.iter().copied();
        if places().all(|place| self.members.is_shared(place.member)) {
            return None;
        }
        let shared = stored_record(places().filter(|place| self.members.is_shared(place.member)));
        let records =
            Side::BOTH.map(|side| stored_record(places().filter(|place| self.members.is_of(side, place.member))));
        let digest_of = |record: &Option<StoredRecord>| record.map(|record| record.digest);
        let [first, second] = records.each_ref().map(digest_of);
        let base = digest_of(&shared).map(|digest| sum_of(&digest));
        // Most records are the same in both states, and are hashed once.
        let first_sum = first.map(|digest| sum_of(&digest));
        let second_sum = if first == second { first_sum } else { second.map(|digest| sum_of(&digest)) };
        for (sum, own) in self.sums.iter_mut().zip([first_sum, second_sum]) {
            base.iter().for_each(|base| sum.unmerge(base));
            own.iter().for_each(|own| sum.merge(own));
        }
        if first == second {
            return None;
        }
        Some(Difference { id: self.rows.newest()?.id.to_owned(), records })
    }
}

/// Returns the record that rows result in, the newest first. `None` if there is none, or a tombstone.
fn stored_record(mut rows: impl Iterator<Item = RowPlace>) -> Option<StoredRecord> {
    let newest = rows.next().filter(|place| place.kind != RowKind::Tombstone)?;
    let mut with_vector = std::iter::once(newest).chain(rows).take_while(|place| place.kind != RowKind::Tombstone);
    let with_vector = with_vector.find(|place| place.kind == RowKind::WithVector);
    let at = |place: RowPlace| (place.member, place.block);
    Some(StoredRecord { digest: newest.digest, newest: at(newest), with_vector: with_vector.map(at) })
}

fn sum_of(digest: &Digest) -> ContentSum {
    let mut sum = ContentSum::default();
    sum.add(digest);
    sum
}

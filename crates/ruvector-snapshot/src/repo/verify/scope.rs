//! How much of a chain a verification reads, and which blocks belong to a subset of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use ruvector_snapshot_format::id::SnapshotId;
use ruvector_snapshot_format::index::BlockEntry;
use ruvector_snapshot_format::layout::DataFile;

use crate::repo::presence::ObjectsByName;

/// The files of which a subset reads only the pieces of its blocks. The index is read as a whole.
pub(super) const DIVIDED: [DataFile; 2] = [DataFile::Vectors, DataFile::Payloads];

/// The objects of all snapshots, as one listing has shown them.
pub(crate) type ListedObjects = Arc<BTreeMap<SnapshotId, ObjectsByName>>;

/// What a verification reads.
#[derive(Debug, Clone)]
pub(crate) enum Scope {
    /// Every byte.
    Full,
    /// No data: metadata, seals, existence and sizes.
    Quick {
        /// A listing that has the sizes. Without it each snapshot is listed.
        listed: Option<ListedObjects>,
    },
    /// The index, and the blocks of one of several parts.
    Subset {
        /// 1 to `of`.
        number: u16,
        /// The number of parts.
        of: u16,
    },
    /// The index, and blocks with at least so many percent of the rest, from a random place on.
    Sample {
        /// 1 to 99.
        percent: u8,
        /// The place.
        random: u64,
    },
}

impl Scope {
    /// Returns which of the blocks of a snapshot are read.
    ///
    /// The blocks of a snapshot lie on a circle, each as long as its pieces. Every snapshot starts elsewhere on it, so that
    /// many small snapshots are spread over all parts.
    pub(super) fn chosen(&self, id: &SnapshotId, entries: &[BlockEntry]) -> Vec<bool> {
        let lengths = entries.iter().map(|entry| DIVIDED.map(|file| length(entry, file)).iter().sum::<u64>());
        let mut total = 0u128;
        let mut spans = Vec::with_capacity(entries.len());
        for length in lengths {
            spans.push((total, u128::from(length)));
            total += u128::from(length);
        }
        let place = u128::from(place_of(id));
        let is_chosen = |(start, length): (u128, u128)| match self {
            Self::Full => true,
            Self::Quick { .. } => false,
            // Each block belongs to the part in which it starts.
            Self::Subset { number, of } => {
                let part = (start * u128::from(*of)).checked_div(total).unwrap_or(0);
                (part + place) % u128::from(*of) + 1 == u128::from(*number)
            }
            Self::Sample { percent, random } => {
                let window = (total * u128::from(*percent)).div_ceil(100);
                let from = (u128::from(*random) + place).checked_rem(total).unwrap_or(0);
                // Of the window on the circle, what lies before and behind the first byte of the first block.
                let touches = |from: u128, to: u128| start < to && from < start + length.max(1);
                touches(from, from + window) || (from + window > total && touches(0, from + window - total))
            }
        };
        spans.into_iter().map(is_chosen).collect()
    }
}

pub(super) fn length(entry: &BlockEntry, file: DataFile) -> u64 {
    let range = entry.range(file);
    range.end.saturating_sub(range.start)
}

/// Returns the random part of an id as a number.
fn place_of(id: &SnapshotId) -> u64 {
    let random = id.as_str().rsplit('-').next().and_then(|random| u64::from_str_radix(random, 16).ok());
    random.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(random: u64) -> SnapshotId {
        format!("20260131T080000000Z-{random:016x}").parse().unwrap()
    }

    /// Blocks with pieces of these sizes.
    fn entries(sizes: &[u32]) -> Vec<BlockEntry> {
        let mut offset = 0;
        let entry = |size: &u32| {
            let entry = BlockEntry {
                rows: 1,
                vector_rows: 1,
                vectors_offset: offset,
                plane_bytes: [*size, 0, 0, 0],
                ..BlockEntry::default()
            };
            offset += u64::from(*size);
            entry
        };
        sizes.iter().map(entry).collect()
    }

    #[test]
    fn the_parts_have_each_block_once() {
        for sizes in [&[][..], &[0, 0, 0], &[7], &[1000, 1, 1, 1], &[5, 0, 9, 3, 3, 3, 100, 0, 42, 7, 7, 7, 7]] {
            let entries = entries(sizes);
            for of in [2, 3, 7, 1000] {
                for random in [0, 1, u64::MAX] {
                    let mut times = vec![0; entries.len()];
                    for number in 1..=of {
                        let chosen = Scope::Subset { number, of }.chosen(&id(random), &entries);
                        times.iter_mut().zip(chosen).for_each(|(times, chosen)| *times += u32::from(chosen));
                    }
                    assert!(times.iter().all(|times| *times == 1), "{sizes:?} {of}: {times:?}");
                }
            }
        }
    }

    #[test]
    fn parts_of_alike_blocks_are_alike_and_small_snapshots_are_in_different_ones() {
        let many = entries(&[10; 700]);
        for number in 1..=7 {
            let chosen = Scope::Subset { number, of: 7 }.chosen(&id(3), &many);
            assert_eq!(chosen.into_iter().filter(|chosen| *chosen).count(), 100);
        }
        let one = entries(&[10]);
        let first = (0..700).filter(|random| Scope::Subset { number: 1, of: 7 }.chosen(&id(*random), &one)[0]).count();
        assert_eq!(first, 100);
    }

    #[test]
    fn a_sample_has_at_least_its_percentage_and_little_more() {
        let entries = entries(&[10; 200]);
        for percent in [1, 10, 50, 99] {
            for random in [0, 5, 1999, u64::MAX] {
                let chosen = Scope::Sample { percent, random }.chosen(&id(77), &entries);
                let blocks = chosen.into_iter().filter(|chosen| *chosen).count();
                let least = usize::from(percent) * 2;
                assert!((least..=least + 1).contains(&blocks), "{percent} {random}: {blocks}");
            }
        }
        assert_eq!(Scope::Sample { percent: 1, random: 9 }.chosen(&id(1), &self::entries(&[10])), [true]);
        assert!(Scope::Sample { percent: 1, random: 9 }.chosen(&id(1), &[]).is_empty());
    }
}

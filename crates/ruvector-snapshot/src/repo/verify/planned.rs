//! How much a verification of a chain reads, without reading it: of a part of the data, only the block directories.

use ruvector_snapshot_format::index::BlockEntry;
use ruvector_snapshot_format::layout::DataFile;
use ruvector_snapshot_format::ledger::VerifyDepth;

use super::files::has_no_pieces;
use super::scope::{DIVIDED, Scope, length};
use crate::error::Result;
use crate::repo::chain::Chain;
use crate::repo::reader::StoredSnapshot;

/// Returns how many bytes a verification reads and compares, at most, of all snapshots of a chain: as its report counts them.
pub(crate) async fn bytes_at_most(chain: &Chain, depth: VerifyDepth) -> Result<u64> {
    let mut bytes = 0_u64;
    for snapshot in chain.snapshots() {
        let small = snapshot.metadata_json_bytes.saturating_add(snapshot.checksum_sha256.len() as u64);
        bytes = bytes.saturating_add(small).saturating_add(of_files(snapshot, depth).await?);
    }
    Ok(bytes)
}

async fn of_files(snapshot: &StoredSnapshot, depth: VerifyDepth) -> Result<u64> {
    let whole = |files: &[DataFile]| {
        files.iter().try_fold(0_u64, |sum, file| Ok(sum.saturating_add(snapshot.metadata.file(*file)?.bytes)))
    };
    if depth == VerifyDepth::Quick {
        return Ok(0);
    }
    let scope = match depth {
        VerifyDepth::Subset { number, of } => Some(Scope::Subset { number, of }),
        VerifyDepth::Sample { .. } => None,
        _ => return whole(&DataFile::ALL),
    };
    let entries = snapshot.directory().await?;
    let divided = whole(&DIVIDED)?;
    let blocks = match (&scope, depth) {
        (Some(scope), _) => {
            let chosen = scope.chosen(snapshot.id(), &entries);
            match chosen.iter().all(|chosen| *chosen) {
                true => divided,
                false => {
                    entries.iter().zip(chosen).filter(|(_, chosen)| *chosen).map(|(entry, _)| of_block(entry)).sum()
                }
            }
        }
        (None, VerifyDepth::Sample { percent }) => {
            let total: u64 = entries.iter().map(of_block).sum();
            let largest = entries.iter().map(of_block).max().unwrap_or_default();
            let window = (u128::from(total) * u128::from(percent)).div_ceil(100);
            // A block is read as a whole, at the beginning of the sample and at its end.
            u64::try_from(window).unwrap_or(u64::MAX).saturating_add(largest.saturating_mul(2))
        }
        (None, _) => divided,
    };
    let empty: Vec<_> = DIVIDED.into_iter().filter(|file| has_no_pieces(&entries, *file)).collect();
    let read = blocks.saturating_add(whole(&empty)?).min(divided);
    Ok(read.saturating_add(whole(&[DataFile::Index])?))
}

fn of_block(entry: &BlockEntry) -> u64 {
    DIVIDED.map(|file| length(entry, file)).iter().sum()
}

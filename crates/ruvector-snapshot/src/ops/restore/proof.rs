//! Verifies a restored database file before it gets its final name: reads it back and compares its content checksum.

use ruvector_snapshot_format::checksum::{ContentSum, digest};
use ruvector_snapshot_format::irregular::IrregularTally;
use ruvector_snapshot_format::model::DatabaseInfo;
use ruvector_snapshot_format::payloads;

use crate::error::{ErrorKind, Result, SnapshotError};
use crate::progress::ProgressCounter;
use crate::source::SourceReader as _;
use crate::source::target::FinishedFile;

/// Records between two reports of progress.
const REPORT_RECORDS: u64 = 1024;

/// Reads the finished file through the same verified walk that takes snapshots, and sums its records and its irregular
/// rows.
pub(super) fn verify_file(
    finished: &FinishedFile,
    expected: &DatabaseInfo,
    expected_sum: ContentSum,
    progress: &mut ProgressCounter<'_>,
) -> Result<()> {
    let mut reader = finished.open()?;
    let missing = expected.rows.iter().find(|(name, value)| reader.database().rows.get(*name) != Some(value));
    if let Some((name, _)) = missing {
        return Err(not_restored(format!("the config row {name:?} is not in the restored database")));
    }
    let mut sum = ContentSum::default();
    let (mut records, mut bytes) = (0, 0);
    while let Some(record) = reader.next_record()? {
        let canonical = record.metadata.map(|text| payloads::canonical_of(record.id, text)).transpose()?;
        sum.add(&digest(record.id, record.vector, canonical.as_deref()));
        records += 1;
        bytes += (record.vector.len() + record.metadata.map_or(0, str::len)) as u64;
        if records == REPORT_RECORDS {
            progress.add(std::mem::take(&mut records), std::mem::take(&mut bytes));
        }
    }
    progress.add(records, bytes);
    let mut tally = IrregularTally::default();
    while let Some(item) = reader.next_irregular()? {
        tally.add(item)?;
    }
    sum.merge(&tally.finish()?.checksum);
    check_sum(sum, expected_sum, "the restored database")
}

pub(super) fn check_sum(found: ContentSum, expected: ContentSum, of: &str) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    Err(not_restored(format!("the content checksum of {of} is {found} instead of {expected}")))
}

fn not_restored(what: String) -> SnapshotError {
    SnapshotError::new(ErrorKind::Corrupt, format!("{what}; nothing was restored"))
}

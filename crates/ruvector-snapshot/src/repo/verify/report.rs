//! What the verification of a chain reports.

use std::fmt;

use serde::Serialize;

use crate::error::{ErrorKind, SnapshotError};

/// The result of verifying one snapshot and its ancestors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct VerifyReport {
    /// The id of the snapshot.
    pub id: String,
    /// The ids of its ancestors, the newest first. Each was verified as if by itself.
    pub chain: Vec<String>,
    /// Everything that is corrupt. Empty if the snapshot is intact. One corruption can hide another, which shows after
    /// the first is repaired.
    pub corruption: Vec<Corruption>,
    /// Number of records whose digests were verified. 0 if no data was read. If something is corrupt: in all snapshots of the chain.
    pub records: u64,
    /// The content checksum of the state, if it was verified and nothing is corrupt.
    pub checksum: Option<String>,
    /// Bytes that were read from the store and compared, of all snapshots of the chain.
    pub bytes: u64,
    /// Bytes that the files of all snapshots of the chain have, as far as they could be opened. All of them are read, unless the
    /// [depth](crate::VerifyOptions::depth) says otherwise.
    pub stored_bytes: u64,
}

/// One corruption.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Corruption {
    /// The id of the snapshot of the chain that is corrupt.
    pub snapshot: String,
    /// The name of the corrupt file.
    pub file: String,
    /// The number of the corrupt block, from 0, if the corruption is in a block.
    pub block: Option<usize>,
    /// What is wrong.
    pub detail: String,
}

impl VerifyReport {
    pub(super) fn new(id: String) -> Self {
        Self { id, chain: Vec::new(), corruption: Vec::new(), records: 0, checksum: None, bytes: 0, stored_bytes: 0 }
    }

    /// Returns whether nothing is corrupt.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn example(report: ruvector_snapshot::VerifyReport) {
    /// if !report.is_intact() {
    ///     println!("{} is corrupt in {} places", report.id, report.corruption.len());
    /// }
    /// # }
    /// ```
    pub fn is_intact(&self) -> bool {
        self.corruption.is_empty()
    }
}

impl fmt::Display for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.block {
            Some(block) => write!(f, "{}: block {block}: {}", self.file, self.detail),
            None => write!(f, "{}: {}", self.file, self.detail),
        }
    }
}

/// Returns whether an error of the read side means that stored data is corrupt or missing.
pub(super) fn is_corruption(error: &SnapshotError) -> bool {
    matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NotFound)
}

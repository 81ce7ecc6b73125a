//! The settings of a [`SnapshotManager`](super::SnapshotManager): data with defaults and limits, no components.

use std::path::PathBuf;

use chrono::TimeDelta;

use crate::error::{ErrorKind, Result, SnapshotError};
use crate::store::{StoreOptions, TransferConfig};

/// Settings of a manager. Start from `default()`: fields may be added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotConfig {
    /// The directory that [`SnapshotManager::new`](super::SnapshotManager::new) keeps snapshots in; `./snapshots`.
    pub snapshot_dir: PathBuf,
    /// Whether to compress; true. Without it the layout is the same, and every gzip member stores its bytes as they are.
    pub compression: bool,
    /// From 0, which stores, to 9, the smallest and slowest; 6. It is the deflate level of ids, of metadata, and of those
    /// byte planes of vectors that repeat themselves. Planes that are noise are stored, and those that are merely skewed are
    /// Huffman-coded, at every level from 1 on.
    pub compression_level: u32,
    /// Whether a restore to a file reads the finished file back and proves its contents before it gets its name; true.
    /// Every restore compares the content checksum of the records it read and handed on, whatever this says.
    pub verify_checksum: bool,
    /// Requests to the store under way at the same time, and buffers of 8 MiB that they may hold, 1 to 1,024; 4. One budget for
    /// everything that a manager sends and reads; see [`TransferConfig`].
    pub max_concurrent_io: usize,
    /// Bytes per second that are written to the store at most, on average; no limit where it is `None`.
    pub max_upload_bytes_per_second: Option<u64>,
    /// Bytes per second that are read from the store at most, on average; no limit where it is `None`.
    pub max_download_bytes_per_second: Option<u64>,
    /// Whether a create reads everything back from the store and compares it before the commit; false. Without it the sizes are
    /// compared, and what the network does to bytes is left to TLS and, on S3, to SHA-256 checksums.
    pub verify_after_write: bool,
    /// How many snapshots a chain may have, from the full one to the newest increment, 1 to 1,000; 32. Restoring reads them all.
    pub max_chain_length: usize,
    /// How long what looks left over is taken for an upload or a deletion that is under way, 0 or more; 24 hours.
    pub grace: TimeDelta,
    /// Settings of a bucket for [`SnapshotManager::open`](super::SnapshotManager::open), over those of the environment.
    pub store_options: StoreOptions,
    /// Where the mirror of a database that is being written goes, which needs as much room as the database file; the
    /// system's directory for temporary files where it is `None`.
    pub scratch_dir: Option<PathBuf>,
    /// Blocks that are packed or unpacked at the same time, 1 to 256; as many as there are processors. A block in work takes
    /// about 6 MiB of memory.
    pub workers: usize,
}

impl Default for SnapshotConfig {
    fn default() -> Self {
        Self {
            snapshot_dir: PathBuf::from("./snapshots"),
            compression: true,
            compression_level: 6,
            verify_checksum: true,
            max_concurrent_io: TransferConfig::default().max_concurrent_io,
            max_upload_bytes_per_second: None,
            max_download_bytes_per_second: None,
            verify_after_write: false,
            max_chain_length: 32,
            grace: TimeDelta::hours(24),
            store_options: StoreOptions::default(),
            scratch_dir: None,
            workers: std::thread::available_parallelism().map_or(2, usize::from).clamp(1, 256),
        }
    }
}

impl SnapshotConfig {
    /// Refuses settings outside of their limits, with `Invalid`.
    pub fn validate(&self) -> Result<()> {
        let limits = [
            ("compression_level", self.compression_level as usize, 0..=9),
            ("workers", self.workers, 1..=256),
            ("max_chain_length", self.max_chain_length, 1..=1000),
        ];
        for (name, value, allowed) in limits {
            if !allowed.contains(&value) {
                return Err(SnapshotError::new(
                    ErrorKind::Invalid,
                    format!("{name} is {value}, and can be {} to {}", allowed.start(), allowed.end()),
                ));
            }
        }
        if self.grace < TimeDelta::zero() {
            return Err(SnapshotError::new(
                ErrorKind::Invalid,
                format!("grace is {} seconds, and can be 0 or more", self.grace.num_seconds()),
            ));
        }
        self.transfers().validate()
    }

    /// The limits on what is under way in the store.
    pub fn transfers(&self) -> TransferConfig {
        TransferConfig {
            max_concurrent_io: self.max_concurrent_io,
            max_upload_bytes_per_second: self.max_upload_bytes_per_second,
            max_download_bytes_per_second: self.max_download_bytes_per_second,
        }
    }

    /// The level that `compression` and `compression_level` come to.
    pub(crate) fn level(&self) -> u32 {
        if self.compression { self.compression_level } else { 0 }
    }
}

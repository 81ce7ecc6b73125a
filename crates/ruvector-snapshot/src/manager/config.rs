//! The settings of a [`SnapshotManager`](super::SnapshotManager): data with defaults and limits, no components.

use std::path::PathBuf;

use crate::error::{ErrorKind, Result, SnapshotError};

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
    /// Reads from the store at the same time, 1 to 1,024; 4. A read is of a block, about 2 MiB, or of a part of a file of 8 MiB. An upload sends at most
    /// two parts at a time for each of the three data files.
    pub max_concurrent_io: usize,
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
            max_concurrent_io: 4,
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
            ("max_concurrent_io", self.max_concurrent_io, 1..=1024),
            ("workers", self.workers, 1..=256),
        ];
        for (name, value, allowed) in limits {
            if !allowed.contains(&value) {
                return Err(SnapshotError::new(
                    ErrorKind::Invalid,
                    format!("{name} is {value}, and can be {} to {}", allowed.start(), allowed.end()),
                ));
            }
        }
        Ok(())
    }

    /// The level that `compression` and `compression_level` come to.
    pub(crate) fn level(&self) -> u32 {
        if self.compression { self.compression_level } else { 0 }
    }
}

//! The settings of a [`SnapshotManager`](crate::SnapshotManager): plain data with defaults and limits.

use std::path::PathBuf;

use chrono::TimeDelta;

use crate::error::{ErrorKind, Result, SnapshotError};
use crate::store::{StoreOptions, TransferConfig};

/// Settings of a [`SnapshotManager`](crate::SnapshotManager). Start from `default()`: fields may be added.
///
/// # Examples
///
/// ```
/// use ruvector_snapshot::SnapshotConfig;
///
/// let config = SnapshotConfig { max_concurrent_io: 8, verify_after_write: true, ..Default::default() };
/// assert!(config.validate().is_ok());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotConfig {
    /// Directory that [`SnapshotManager::new`](crate::SnapshotManager::new) stores snapshots in. Default:
    /// `./snapshots`.
    pub snapshot_dir: PathBuf,
    /// Whether to compress. Default: true. Without compression the format is the same; every gzip member stores its
    /// bytes as they are.
    pub compression: bool,
    /// Compression level from 0 (none) to 9 (smallest and slowest). Default: 6. It is the deflate level of ids, of
    /// metadata, and of byte planes of vectors that repeat. Planes of noise are stored uncompressed, and skewed planes
    /// are Huffman-coded, at every level from 1.
    pub compression_level: u32,
    /// Whether a restore to a file reads the file back and verifies its contents before it gets its name. Default:
    /// true. Every restore verifies the content checksum of the records that it has read, whatever this setting is.
    pub verify_checksum: bool,
    /// Number of concurrent requests to the store, from 1 to 1,024, each with a buffer of up to 8 MiB. Default: 4. The
    /// limit is shared by everything that a manager sends and reads; see [`TransferConfig`].
    pub max_concurrent_io: usize,
    /// Average upload rate to the store, in bytes per second. Default: no limit.
    pub max_upload_bytes_per_second: Option<u64>,
    /// Average download rate from the store, in bytes per second. Default: no limit.
    pub max_download_bytes_per_second: Option<u64>,
    /// Whether a create reads the three data files back from the store and compares them before the commit, and whether
    /// it verifies the base of an increment first, as [`CreateOptions::verify_base`] does. Default: false. Without it
    /// only sizes are compared; TLS and, on S3, SHA-256 checksums protect the transfer.
    ///
    /// [`CreateOptions::verify_base`]: crate::CreateOptions::verify_base
    pub verify_after_write: bool,
    /// Number of snapshots a chain may have, from the full one to the newest increment, from 1 to 1,000. Default: 32. A
    /// restore reads them all.
    pub max_chain_length: usize,
    /// Whether the store must have snapshots already. Default: false. With it, a missing directory is not created, and a
    /// create fails with [`ErrorKind::NotFound`] in a store without snapshots. Set it for scheduled backups: a disk that
    /// is not mounted, or a mistyped prefix, is an error then, and not the start of a new store.
    pub require_store: bool,
    /// Grace period: how old an orphan must be before it is collected. Default: 24 hours.
    pub grace: TimeDelta,
    /// Options of a bucket for [`SnapshotManager::open`](crate::SnapshotManager::open). They override the environment.
    pub store_options: StoreOptions,
    /// Name of this host, which snapshots record as a part of their source. Default: the name that the system reports.
    pub host: Option<String>,
    /// Name of the source of the snapshots that are created, unless [`CreateOptions::source_name`] gives another one.
    /// Default: none, so that the path of the database and the host identify the source.
    ///
    /// [`CreateOptions::source_name`]: crate::CreateOptions::source_name
    pub source_name: Option<String>,
    /// Directory for the mirror of a database that is being written. It needs as much space as the database. Default:
    /// the system's temporary directory.
    pub scratch_dir: Option<PathBuf>,
    /// Number of blocks that are compressed or expanded at the same time, from 1 to 256. Default: the number of
    /// processors. Each takes about 6 MiB of memory.
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
            require_store: false,
            grace: TimeDelta::hours(24),
            store_options: StoreOptions::default(),
            host: system_host(),
            source_name: None,
            scratch_dir: None,
            workers: std::thread::available_parallelism().map_or(2, usize::from).clamp(1, 256),
        }
    }
}

impl SnapshotConfig {
    /// Checks that every setting is within its limits.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::InvalidInput`].
    ///
    /// # Examples
    ///
    /// ```
    /// use ruvector_snapshot::SnapshotConfig;
    ///
    /// let config = SnapshotConfig { workers: 0, ..Default::default() };
    /// assert!(config.validate().is_err());
    /// ```
    pub fn validate(&self) -> Result<()> {
        let limits = [
            ("compression_level", self.compression_level as usize, 0..=9),
            ("workers", self.workers, 1..=256),
            ("max_chain_length", self.max_chain_length, 1..=1000),
        ];
        for (name, value, allowed) in limits {
            if !allowed.contains(&value) {
                return Err(SnapshotError::new(
                    ErrorKind::InvalidInput,
                    format!("{name} is {value}, but must be from {} to {}", allowed.start(), allowed.end()),
                ));
            }
        }
        if self.grace < TimeDelta::zero() {
            return Err(SnapshotError::new(
                ErrorKind::InvalidInput,
                format!("grace is {} seconds, but must not be negative", self.grace.num_seconds()),
            ));
        }
        self.transfers().validate()
    }

    /// Returns the limits of transfers.
    ///
    /// # Examples
    ///
    /// ```
    /// let config = ruvector_snapshot::SnapshotConfig::default();
    /// assert_eq!(config.transfers().max_concurrent_io, config.max_concurrent_io);
    /// ```
    pub fn transfers(&self) -> TransferConfig {
        TransferConfig {
            max_concurrent_io: self.max_concurrent_io,
            max_upload_bytes_per_second: self.max_upload_bytes_per_second,
            max_download_bytes_per_second: self.max_download_bytes_per_second,
        }
    }

    /// Returns the compression level, or 0 without compression.
    pub(crate) fn level(&self) -> u32 {
        if self.compression { self.compression_level } else { 0 }
    }
}

/// Returns the name that the system has, if it has one.
fn system_host() -> Option<String> {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Some(host).filter(|host| !host.is_empty())
}

//! Servers, the options that open their buckets, databases, and checks of a bucket.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ruvector_core::VectorDB;
use ruvector_snapshot::store::{Location, SnapshotStore, StoreConfig, StoreOptions, TransferConfig, open};
use ruvector_snapshot::{Listing, RestoreOptions, SnapshotConfig, SnapshotManager, VerifyOptions};
use ruvector_snapshot_format::layout;
use test_fixtures::{TestDir, contents, make_database, options, records_of_file};
use test_servers::{GcsServer, S3Server, Wire};

/// Far longer than any operation takes, even on a busy machine. Only a hang reaches it.
pub(crate) const HANG_TIMEOUT: Duration = Duration::from_secs(300);

/// The size of a part. A larger object is a multipart upload.
pub(crate) const PART_BYTES: u64 = 8 << 20;

/// Rows of 2 KiB, enough for an upload of two parts of 8 MiB.
const LARGE_ROWS: usize = 4_150;
const LARGE_DIMENSIONS: usize = 512;

/// A server with a bucket.
pub(crate) enum Server {
    S3(S3Server),
    Gcs(GcsServer),
}

/// Functions that start the servers. Both keep the whole contract.
pub(crate) const SERVERS: [fn() -> Server; 2] = [Server::s3, Server::gcs];

impl Server {
    pub(crate) fn s3() -> Self {
        Self::S3(S3Server::start())
    }

    pub(crate) fn gcs() -> Self {
        Self::Gcs(GcsServer::start())
    }

    pub(crate) fn is_s3(&self) -> bool {
        matches!(self, Self::S3(_))
    }

    pub(crate) fn endpoint(&self) -> String {
        match self {
            Self::S3(server) => server.endpoint(),
            Self::Gcs(server) => server.endpoint(),
        }
    }

    pub(crate) fn wire(&self) -> &Wire {
        match self {
            Self::S3(server) => server.wire(),
            Self::Gcs(server) => server.wire(),
        }
    }

    pub(crate) fn open_uploads(&self) -> usize {
        match self {
            Self::S3(server) => server.open_uploads(),
            Self::Gcs(server) => server.open_uploads(),
        }
    }

    pub(crate) fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        match self {
            Self::S3(server) => server.objects(),
            Self::Gcs(server) => server.objects(),
        }
    }

    /// Returns the bucket with a prefix that holds nothing else.
    pub(crate) fn location(&self) -> Location {
        let url = match self {
            Self::S3(_) => format!("s3://{}/backups", S3Server::BUCKET),
            Self::Gcs(_) => format!("gs://{}/backups", GcsServer::BUCKET),
        };
        url.parse().unwrap()
    }

    /// Returns the options that open the bucket. `more` override them.
    pub(crate) fn options(&self, more: &[(&str, &str)]) -> StoreOptions {
        let endpoint = self.endpoint();
        let usual: StoreOptions = match self {
            Self::S3(_) => [
                ("endpoint", endpoint.as_str()),
                ("allow_http", "true"),
                ("region", "us-east-1"),
                ("access_key_id", S3Server::ACCESS_KEY),
                ("secret_access_key", S3Server::SECRET_KEY),
                // Ignores the files of the AWS tools on this machine.
                ("shared_credentials_file", "/dev/null"),
                ("config_file", "/dev/null"),
            ]
            .into_iter()
            .collect(),
            Self::Gcs(_) => {
                [("base_url", endpoint.as_str()), ("allow_http", "true"), ("bearer_token", GcsServer::TOKEN)]
                    .into_iter()
                    .collect()
            }
        };
        more.iter().copied().collect::<StoreOptions>().over(&usual)
    }

    pub(crate) fn config(&self, more: &[(&str, &str)]) -> StoreConfig {
        StoreConfig::default().options(self.options(more))
    }

    pub(crate) fn open(&self, more: &[(&str, &str)]) -> Arc<dyn SnapshotStore> {
        open(&self.location(), &self.config(more)).unwrap()
    }

    pub(crate) fn open_wide(&self, max_concurrent_io: usize) -> Arc<dyn SnapshotStore> {
        let config = self.config(&[]).transfers(width(max_concurrent_io));
        open(&self.location(), &config).unwrap()
    }

    pub(crate) fn manager(&self, dir: &TestDir, more: &[(&str, &str)]) -> SnapshotManager {
        SnapshotManager::with_store(uncompressed_config(dir), self.open(more)).unwrap()
    }
}

/// The kinds of store that a location can name, except Azure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Memory,
    Local,
    S3,
    Gcs,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::Memory, Self::Local, Self::S3, Self::Gcs];
}

/// An empty store, and the server or directory behind it.
pub(crate) struct Opened {
    pub(crate) store: Arc<dyn SnapshotStore>,
    server: Option<Server>,
    _dir: TestDir,
}

impl Opened {
    pub(crate) fn new(kind: Kind, max_concurrent_io: usize) -> Self {
        let dir = TestDir::new();
        let (location, options, server) = match kind {
            Kind::Memory => (Location::Memory, StoreOptions::default(), None),
            Kind::Local => (Location::Local(dir.snapshots()), StoreOptions::default(), None),
            Kind::S3 | Kind::Gcs => {
                let server = if kind == Kind::S3 { Server::s3() } else { Server::gcs() };
                (server.location(), server.options(&[]), Some(server))
            }
        };
        let config = StoreConfig::default().options(options).transfers(width(max_concurrent_io));
        Self { store: open(&location, &config).unwrap(), server, _dir: dir }
    }

    pub(crate) fn open_uploads(&self) -> usize {
        self.server.as_ref().map_or(0, Server::open_uploads)
    }
}

pub(crate) fn width(max_concurrent_io: usize) -> TransferConfig {
    TransferConfig::default().max_concurrent_io(max_concurrent_io)
}

/// Returns settings without compression, so that the size of an upload is known.
pub(crate) fn uncompressed_config(dir: &TestDir) -> SnapshotConfig {
    SnapshotConfig { compression: false, ..dir.config() }
}

/// Creates a database whose vectors take two parts.
pub(crate) fn make_large(dir: &TestDir) -> PathBuf {
    let path = dir.path("large.db");
    drop(make_database(&path, LARGE_ROWS, LARGE_DIMENSIONS, 7));
    path
}

/// Creates a database whose files are sent with one request each.
pub(crate) fn make_small(dir: &TestDir, name: &str, rows: usize) -> PathBuf {
    let path = dir.path(name);
    drop(make_database(&path, rows, 8, rows as u64));
    path
}

/// Asserts that a snapshot is intact, and that it restores the records of a database to a file and into memory.
pub(crate) async fn assert_restores(manager: &SnapshotManager, id: &str, database: &Path) {
    let report = manager.verify_snapshot_with(id, &VerifyOptions::default().record(false)).await.unwrap();
    assert!(report.is_intact(), "{report:?}");
    let dir = TestDir::new();
    manager.restore_snapshot_to(id, dir.restored(), &RestoreOptions::default()).await.unwrap();
    assert!(records_of_file(&dir.restored()) == records_of_file(database), "{id}: the file has other records");
    let restored = manager.restore_snapshot(id).await.unwrap();
    let original = VectorDB::new(options(database, restored.options().dimensions)).unwrap();
    assert!(contents(&restored) == contents(&original), "{id}: the database in memory has other records");
}

/// Returns the keys of the five files of each snapshot, sorted.
pub(crate) fn keys_of<'a>(ids: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
    let keys = |id: &str| layout::FILES.map(|file| layout::key(&id.parse().unwrap(), file));
    ids.into_iter().flat_map(keys).collect()
}

/// Returns the ids of the snapshots in a listing.
pub(crate) fn ids(listing: &Listing) -> BTreeSet<&str> {
    listing.snapshots.iter().map(|snapshot| snapshot.id.as_str()).collect()
}

/// Returns the `Display` and `Debug` texts of an error and of all its sources.
pub(crate) fn full_text(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = format!("{error}\n{error:?}\n{error:#?}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!("\n{error}\n{error:?}\n{error:#?}"));
        cause = error.source();
    }
    text
}

//! The stores of these tests: servers, the options that open their buckets, and what must hold of a bucket afterwards.
//! No test stands here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt as _;
use ruvector_core::VectorDB;
use ruvector_snapshot::format::layout;
use ruvector_snapshot::store::{Location, SnapshotStore, StoreConfig, StoreOptions, TransferConfig, open};
use ruvector_snapshot::{CreateOptions, Listing, RestoreOptions, Snapshot, SnapshotConfig, SnapshotManager};
use test_servers::{GcsServer, S3Server, Wire};

use crate::common::{Place, contents, make_database, records_of_file};

/// Tells an end from none, however busy the machine is.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

/// The size of a part, and so of the largest object that is sent with one request.
pub(crate) const PART_BYTES: u64 = 8 << 20;

/// Rows of 2 KiB, of which so many make an upload of two parts of 8 MiB.
const LARGE_ROWS: usize = 4_150;
const LARGE_DIMENSIONS: usize = 512;

/// A server with a bucket.
pub(crate) enum Server {
    S3(S3Server),
    Gcs(GcsServer),
}

/// What starts a [`Server`]: the two that keep all of the contract.
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

    /// The bucket, below a prefix that holds nothing else.
    pub(crate) fn location(&self) -> Location {
        let url = match self {
            Self::S3(_) => format!("s3://{}/backups", S3Server::BUCKET),
            Self::Gcs(_) => format!("gs://{}/backups", GcsServer::BUCKET),
        };
        url.parse().unwrap()
    }

    /// The options that open the bucket, and `more`, which go before them.
    pub(crate) fn options(&self, more: &[(&str, &str)]) -> StoreOptions {
        let endpoint = self.endpoint();
        let usual: StoreOptions = match self {
            Self::S3(_) => [
                ("endpoint", endpoint.as_str()),
                ("allow_http", "true"),
                ("region", "us-east-1"),
                ("access_key_id", S3Server::ACCESS_KEY),
                ("secret_access_key", S3Server::SECRET_KEY),
                // Files of the AWS tools that this machine may have are none of the tests' business.
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
        StoreConfig { options: self.options(more), ..StoreConfig::default() }
    }

    pub(crate) fn open(&self, more: &[(&str, &str)]) -> Arc<dyn SnapshotStore> {
        open(&self.location(), &self.config(more)).unwrap()
    }

    pub(crate) fn open_wide(&self, max_concurrent_io: usize) -> Arc<dyn SnapshotStore> {
        let config = StoreConfig { transfers: width(max_concurrent_io), ..self.config(&[]) };
        open(&self.location(), &config).unwrap()
    }

    pub(crate) fn manager(&self, place: &Place, more: &[(&str, &str)]) -> SnapshotManager {
        SnapshotManager::with_store(config(place), self.open(more)).unwrap()
    }
}

/// One of the stores that a location can name.
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

/// An empty store, and what stands behind it.
pub(crate) struct Opened {
    pub(crate) store: Arc<dyn SnapshotStore>,
    server: Option<Server>,
    _place: Place,
}

impl Opened {
    pub(crate) fn new(kind: Kind, max_concurrent_io: usize) -> Self {
        let place = Place::new();
        let (location, options, server) = match kind {
            Kind::Memory => (Location::Memory, StoreOptions::default(), None),
            Kind::Local => (Location::Local(place.snapshots()), StoreOptions::default(), None),
            Kind::S3 | Kind::Gcs => {
                let server = if kind == Kind::S3 { Server::s3() } else { Server::gcs() };
                (server.location(), server.options(&[]), Some(server))
            }
        };
        let config = StoreConfig { options, transfers: width(max_concurrent_io), ..StoreConfig::default() };
        Self { store: open(&location, &config).unwrap(), server, _place: place }
    }

    pub(crate) fn open_uploads(&self) -> usize {
        self.server.as_ref().map_or(0, Server::open_uploads)
    }
}

pub(crate) fn width(max_concurrent_io: usize) -> TransferConfig {
    TransferConfig { max_concurrent_io, ..TransferConfig::default() }
}

/// Settings that leave the bytes as they are: what is tested here is their way to a store and back.
pub(crate) fn config(place: &Place) -> SnapshotConfig {
    SnapshotConfig { compression: false, ..place.config() }
}

/// A database whose vectors take two parts.
pub(crate) fn make_large(place: &Place) -> PathBuf {
    let path = place.path("large.db");
    drop(make_database(&path, LARGE_ROWS, LARGE_DIMENSIONS, 7));
    path
}

/// A database that is sent with one request a file.
pub(crate) fn make_small(place: &Place, name: &str, rows: usize) -> PathBuf {
    let path = place.path(name);
    drop(make_database(&path, rows, 8, rows as u64));
    path
}

pub(crate) async fn create(
    manager: &SnapshotManager,
    database: &Path,
    name: &str,
) -> ruvector_snapshot::Result<Snapshot> {
    manager.create_snapshot_of_file(database, name, &CreateOptions::default()).await
}

/// Asserts that a snapshot is whole, and restores to a file and into memory as it was.
pub(crate) async fn assert_restores(manager: &SnapshotManager, id: &str, database: &Path) {
    let report = manager.verify_snapshot_with(id, &Default::default()).await.unwrap();
    assert!(report.is_whole(), "{report:?}");
    let place = Place::new();
    manager.restore_snapshot_to(id, place.restored(), &RestoreOptions::default()).await.unwrap();
    assert!(records_of_file(&place.restored()) == records_of_file(database), "{id}: the file is another");
    let restored = manager.restore_snapshot(id).await.unwrap();
    let original = VectorDB::new(crate::common::options(database, restored.options().dimensions)).unwrap();
    assert!(contents(&restored) == contents(&original), "{id}: the database in memory is another");
}

/// Every object of a store.
pub(crate) async fn objects(store: &dyn SnapshotStore) -> BTreeMap<String, Bytes> {
    let infos: Vec<_> = store.list("").try_collect().await.unwrap();
    let mut objects = BTreeMap::new();
    for info in infos {
        objects.insert(info.key.clone(), store.get(&info.key, info.size_bytes).await.unwrap());
    }
    objects
}

/// The keys of the five files of snapshots, sorted.
pub(crate) fn keys_of<'a>(ids: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
    let keys = |id: &str| layout::FILES.map(|file| layout::key(&id.parse().unwrap(), file));
    ids.into_iter().flat_map(keys).collect()
}

/// The ids of the snapshots in a listing.
pub(crate) fn ids(listing: &Listing) -> BTreeSet<&str> {
    listing.snapshots.iter().map(|snapshot| snapshot.id.as_str()).collect()
}

/// An error and all its causes, in both of their forms.
pub(crate) fn whole_text(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = format!("{error}\n{error:?}\n{error:#?}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!("\n{error}\n{error:?}\n{error:#?}"));
        cause = error.source();
    }
    text
}

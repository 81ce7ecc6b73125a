//! A MinIO that is killed in the middle of a transfer: what is going on goes on when it comes back, and ends clean when
//! it does not. Our own process killed is a matter of the CLI's tests.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ruvector_snapshot::store::{Location, SnapshotStore, StoreConfig, StoreOptions, open};
use ruvector_snapshot::{
    CreateOptions, ErrorKind, Phase, Progress, ProgressUpdate, RestoreOptions, Result, Snapshot, SnapshotManager,
};
use test_servers::Minio;
use tokio::sync::Notify;
use tokio::task::{JoinHandle, block_in_place};
use tokio::time::timeout;

use super::common::Place;
use super::common::large::{assert_same_rows, make_vectors};
use super::{MINIO, named};

/// About 60 MB, eight parts of an upload.
const ROWS: usize = 40_000;
const DIMENSIONS: usize = 384;
/// So slow that there is a middle to be met.
const BYTES_PER_SECOND: u64 = 16 << 20;
/// Far more than the 2 s that are allowed without a success, and the clearing up that is tried after them; far less
/// than the 3 minutes that are allowed where nothing is set.
const GIVES_UP_WITHIN: Duration = Duration::from_secs(60);
/// Longer than anything here takes on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(300);

#[tokio::test(flavor = "multi_thread")]
async fn a_create_outlives_the_server() {
    let Some(mut bench) = Bench::new("a_create_outlives_the_server") else { return };
    let creating = bench.spawn_create(bench.manager(None));
    bench.kill_in_the_middle_of(&creating).await;
    block_in_place(|| bench.minio.wait_for_a_knock());
    block_in_place(|| bench.minio.restart());
    let first = ended(creating).await.unwrap();

    assert_eq!(bench.minio.open_uploads(), Vec::<String>::new());
    bench.assert_whole(&[first]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_outlives_the_server() {
    let Some(mut bench) = Bench::new("a_restore_outlives_the_server") else { return };
    let snapshot = ended(bench.spawn_create(bench.manager(None))).await.unwrap();

    let (manager, to) = (bench.manager(None), bench.place.restored());
    let halfway = Arc::new(Halfway::default());
    let options = RestoreOptions { progress: Some(halfway.clone()), ..RestoreOptions::default() };
    let id = snapshot.id.clone();
    let restoring = tokio::spawn(async move { manager.restore_snapshot_to(&id, &to, &options).await });
    timeout(PATIENCE, halfway.reached.notified()).await.unwrap();
    block_in_place(|| bench.minio.kill());
    assert!(!restoring.is_finished());
    block_in_place(|| bench.minio.wait_for_a_knock());
    block_in_place(|| bench.minio.restart());

    assert_eq!(ended(restoring).await.unwrap(), snapshot);
    assert_same_rows(&bench.database(), &bench.place.restored());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_server_a_create_ends_and_leaves_no_snapshot() {
    let Some(mut bench) = Bench::new("without_the_server_a_create_ends_and_leaves_no_snapshot") else { return };
    let creating = bench.spawn_create(bench.manager(Some("2s")));
    bench.kill_in_the_middle_of(&creating).await;
    let time = Instant::now();
    let error = timeout(GIVES_UP_WITHIN, creating).await.expect("it goes on without a server").unwrap().unwrap_err();
    println!("gave up after {:.1} s: {error}", time.elapsed().as_secs_f64());
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");

    block_in_place(|| bench.minio.restart());
    let listing = bench.manager(None).list().await.unwrap();
    assert!(listing.snapshots.is_empty() && listing.damaged.is_empty(), "{listing:?}");
    bench.assert_whole(&[]).await;
}

/// A database, and a server to keep snapshots of it.
struct Bench {
    place: Place,
    minio: Minio,
}

impl Bench {
    /// Nothing where the environment names no MinIO.
    fn new(test: &str) -> Option<Self> {
        let binary = named(MINIO, test)?;
        let bench = Self { place: Place::new(), minio: Minio::start(Path::new(&binary)) };
        make_vectors(&bench.database(), ROWS, DIMENSIONS);
        Some(bench)
    }

    fn database(&self) -> std::path::PathBuf {
        self.place.path("a.db")
    }

    /// A manager whose transfers take their time.
    fn manager(&self, retry_timeout: Option<&str>) -> SnapshotManager {
        let mut config = self.place.config();
        config.max_concurrent_io = 2;
        config.max_upload_bytes_per_second = Some(BYTES_PER_SECOND);
        config.max_download_bytes_per_second = Some(BYTES_PER_SECOND);
        let location: Location = format!("s3://{}/killed", Minio::BUCKET).parse().unwrap();
        let mut options: StoreOptions = [
            ("access_key_id", Minio::ACCESS_KEY),
            ("secret_access_key", self.minio.secret_key()),
            ("endpoint", &self.minio.endpoint()),
            ("allow_http", "true"),
        ]
        .into_iter()
        .collect();
        if let Some(retry_timeout) = retry_timeout {
            options.set("retry_timeout", retry_timeout);
        }
        let store: Arc<dyn SnapshotStore> =
            open(&location, &StoreConfig { create: false, options, transfers: config.transfers() }).unwrap();
        SnapshotManager::with_store(config, store).unwrap()
    }

    fn spawn_create(&self, manager: SnapshotManager) -> JoinHandle<Result<Snapshot>> {
        let database = self.database();
        tokio::spawn(async move { manager.create_snapshot_of_file(&database, "a", &CreateOptions::default()).await })
    }

    /// Kills the server when two parts of an upload have come, and not all of them.
    async fn kill_in_the_middle_of(&mut self, creating: &JoinHandle<Result<Snapshot>>) {
        let deadline = Instant::now() + PATIENCE;
        while self.minio.parts_on_disk() < 2 {
            assert!(!creating.is_finished() && Instant::now() < deadline, "no upload in parts was seen");
            tokio::task::yield_now().await;
        }
        block_in_place(|| {
            // Says at the same time that this way of asking finds an upload where there is one.
            assert_ne!(self.minio.open_uploads(), Vec::<String>::new());
            self.minio.kill();
        });
        assert!(!creating.is_finished());
        assert!((2..8).contains(&self.minio.parts_on_disk()));
    }

    /// These snapshots are all there are, another can be made, each is whole, and the last gives back what went in.
    async fn assert_whole(&self, snapshots: &[Snapshot]) {
        let manager = self.manager(None);
        assert_eq!(manager.list_snapshots().await.unwrap(), snapshots);
        let next = ended(self.spawn_create(manager.clone())).await.unwrap();
        for snapshot in snapshots.iter().chain([&next]) {
            assert!(manager.verify_snapshot(&snapshot.id).await.unwrap());
            assert_eq!(snapshot.checksum, next.checksum);
        }
        let snapshot = snapshots.last().unwrap_or(&next);
        manager.restore_snapshot_to(&snapshot.id, self.place.restored(), &RestoreOptions::default()).await.unwrap();
        assert_same_rows(&self.database(), &self.place.restored());
    }
}

/// Tells when half of the records are restored.
#[derive(Debug, Default)]
struct Halfway {
    reached: Notify,
}

impl Progress for Halfway {
    fn update(&self, update: ProgressUpdate) {
        if update.phase == Phase::Restore && 2 * update.records >= update.records_total {
            self.reached.notify_one();
        }
    }
}

async fn ended<T>(work: JoinHandle<Result<T>>) -> Result<T> {
    timeout(PATIENCE, work).await.expect("it goes on for ever").unwrap()
}

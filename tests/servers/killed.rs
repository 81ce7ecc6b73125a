//! A MinIO that is killed during a transfer: the transfer goes on when the server comes back, and ends without a trace
//! if it does not. The suite `program` tests the program that is killed.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ruvector_snapshot::store::{Location, SnapshotStore, StoreConfig, StoreOptions, open};
use ruvector_snapshot::{
    CreateOptions, ErrorKind, Phase, Progress, ProgressUpdate, RestoreOptions, Result, Snapshot, SnapshotManager,
};
use test_fixtures::{TestDir, assert_same_rows, make_large_database};
use test_servers::Minio;
use tokio::sync::Notify;
use tokio::task::{JoinHandle, block_in_place};
use tokio::time::timeout;

use super::{MINIO, setting};

/// About 60 MB, eight parts of an upload.
const ROWS: usize = 40_000;
const DIMENSIONS: usize = 384;
/// Slow enough for the server to be killed in the middle of a transfer.
const BYTES_PER_SECOND: u64 = 16 << 20;
/// Ends a test that hangs. Much longer than the 2 s that are allowed without a success and the clean-up that is tried
/// after them, and much shorter than the 3 minutes of the default.
const GIVES_UP_WITHIN: Duration = Duration::from_secs(60);
/// Ends a test that hangs. Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

#[tokio::test(flavor = "multi_thread")]
async fn a_create_goes_on_after_the_server_was_restarted() {
    let Some(mut fixture) = Fixture::new("a_create_goes_on_after_the_server_was_restarted") else { return };
    let creating = fixture.spawn_create(fixture.manager(None));
    fixture.kill_during_upload(&creating).await;
    block_in_place(|| fixture.minio.wait_for_connection());
    block_in_place(|| fixture.minio.restart());
    let first = ended(creating).await.unwrap();

    assert_eq!(fixture.minio.open_uploads(), Vec::<String>::new());
    fixture.assert_intact(&[first]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_goes_on_after_the_server_was_restarted() {
    let Some(mut fixture) = Fixture::new("a_restore_goes_on_after_the_server_was_restarted") else { return };
    let snapshot = ended(fixture.spawn_create(fixture.manager(None))).await.unwrap();

    let (manager, to) = (fixture.manager(None), fixture.dir.restored());
    let halfway = Arc::new(Halfway::default());
    let options = RestoreOptions::default().progress(halfway.clone());
    let id = snapshot.id.clone();
    let restoring = tokio::spawn(async move { manager.restore_snapshot_to(&id, &to, &options).await });
    timeout(PATIENCE, halfway.reached.notified()).await.unwrap();
    block_in_place(|| fixture.minio.kill());
    assert!(!restoring.is_finished());
    block_in_place(|| fixture.minio.wait_for_connection());
    block_in_place(|| fixture.minio.restart());

    assert_eq!(ended(restoring).await.unwrap(), snapshot);
    assert_same_rows(&fixture.database(), &fixture.dir.restored());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_create_fails_without_a_trace_if_the_server_stays_away() {
    let Some(mut fixture) = Fixture::new("a_create_fails_without_a_trace_if_the_server_stays_away") else { return };
    let creating = fixture.spawn_create(fixture.manager(Some("2s")));
    fixture.kill_during_upload(&creating).await;
    let error = timeout(GIVES_UP_WITHIN, creating).await.expect("it goes on without a server").unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");

    block_in_place(|| fixture.minio.restart());
    let listing = fixture.manager(None).list().await.unwrap();
    assert!(listing.snapshots.is_empty() && listing.unusable.is_empty(), "{listing:?}");
    fixture.assert_intact(&[]).await;
}

/// A database, and a server for its snapshots.
struct Fixture {
    dir: TestDir,
    minio: Minio,
}

impl Fixture {
    /// Returns `None` if the environment names no MinIO.
    fn new(test: &str) -> Option<Self> {
        let binary = setting(MINIO, test)?;
        let fixture = Self { dir: TestDir::new(), minio: Minio::start(Path::new(&binary)) };
        make_large_database(&fixture.database(), ROWS, DIMENSIONS);
        Some(fixture)
    }

    fn database(&self) -> std::path::PathBuf {
        self.dir.path("a.db")
    }

    /// Returns a manager with slow transfers.
    fn manager(&self, retry_timeout: Option<&str>) -> SnapshotManager {
        let mut config = self.dir.config();
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
            open(&location, &StoreConfig::default().options(options).transfers(config.transfers())).unwrap();
        SnapshotManager::with_store(config, store).unwrap()
    }

    fn spawn_create(&self, manager: SnapshotManager) -> JoinHandle<Result<Snapshot>> {
        let database = self.database();
        tokio::spawn(async move { manager.create_snapshot_of_file(&database, "a", &CreateOptions::default()).await })
    }

    /// Kills the server after it has received two parts of an upload, and not all of them.
    async fn kill_during_upload(&mut self, creating: &JoinHandle<Result<Snapshot>>) {
        let two_parts = async {
            while self.minio.parts_on_disk() < 2 {
                assert!(!creating.is_finished(), "no multipart upload was seen");
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, two_parts).await.expect("no parts arrived");
        block_in_place(|| {
            // Shows that `open_uploads` finds an upload if there is one.
            assert_ne!(self.minio.open_uploads(), Vec::<String>::new());
            self.minio.kill();
        });
        assert!(!creating.is_finished());
        assert!((2..8).contains(&self.minio.parts_on_disk()));
    }

    /// Asserts that these are all snapshots, that another one can be created, that all are intact, and that the last
    /// one restores the database.
    async fn assert_intact(&self, snapshots: &[Snapshot]) {
        let manager = self.manager(None);
        assert_eq!(manager.list_snapshots().await.unwrap(), snapshots);
        let next = ended(self.spawn_create(manager.clone())).await.unwrap();
        for snapshot in snapshots.iter().chain([&next]) {
            assert!(manager.verify_snapshot(&snapshot.id).await.unwrap());
            assert_eq!(snapshot.checksum, next.checksum);
        }
        let snapshot = snapshots.last().unwrap_or(&next);
        manager.restore_snapshot_to(&snapshot.id, self.dir.restored(), &RestoreOptions::default()).await.unwrap();
        assert_same_rows(&self.database(), &self.dir.restored());
    }
}

/// Notifies when half of the records are restored.
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

async fn ended<T>(task: JoinHandle<Result<T>>) -> Result<T> {
    timeout(PATIENCE, task).await.expect("it does not end").unwrap()
}

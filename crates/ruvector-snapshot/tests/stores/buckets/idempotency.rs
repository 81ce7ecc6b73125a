//! A connection fault at each request of an operation, one at a time. The operation repeats the request and succeeds if
//! a retry can help. Corrupt bytes are detected. Faults that last are in `outages.rs`.

#![expect(clippy::disallowed_methods, reason = "a test of Retry-After measures time")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream;
use ruvector_snapshot::{ErrorKind, RestoreOptions, Result, Snapshot, SnapshotManager, VerifyOptions};
use ruvector_snapshot_format::layout::{self, DataFile};
use ruvector_snapshot_format::metadata::SnapshotMetadata;
use sha2::{Digest as _, Sha256};
use test_fixtures::{TestDir, create_full, records_of_file};
use test_servers::{Fault, Request};

use super::fixture::{PART_BYTES, SERVERS, Server, full_text, ids, keys_of, make_large, make_small};

/// Number of runs in parallel. They spend most of their time waiting.
const PARALLEL_RUNS: usize = 20;
const RETRIED: &[(&str, &str)] = &[("retry_timeout", "30s")];
const STALLED: &[(&str, &str)] = &[("retry_timeout", "30s"), ("stall_timeout", "300ms")];
/// On a busy machine a part may take longer than 300 ms to get a response, and would be sent again.
const STALLED_MULTIPART: &[(&str, &str)] = &[("retry_timeout", "30s"), ("stall_timeout", "2s")];

/// The objects at the start of every run: a small snapshot and a multipart one.
struct Fixture {
    dir: TestDir,
    small: PathBuf,
    large: PathBuf,
    small_id: String,
    large_id: String,
    /// Objects by key, without the prefix of the location.
    objects: BTreeMap<String, Vec<u8>>,
    /// The options for servers that hang.
    stalled: &'static [(&'static str, &'static str)],
}

/// A fault, and the request into which it was injected.
struct Case<'a> {
    fixture: &'a Fixture,
    server: &'a Server,
    healthy: &'a SnapshotManager,
    fault: &'a Fault,
    hit: Request,
}

impl Fixture {
    async fn new() -> Self {
        let dir = TestDir::new();
        let (small, large) = (make_small(&dir, "small.db", 20), make_large(&dir));
        let server = Server::gcs();
        let manager = server.manager(&dir, &[]);
        let small_id = create_full(&manager, &small, "small").await.unwrap().id;
        let large_id = create_full(&manager, &large, "large").await.unwrap().id;
        let objects = server.objects().into_iter().map(|(key, bytes)| (key["backups/".len()..].to_owned(), bytes));
        Self { small, large, small_id, large_id, objects: objects.collect(), stalled: STALLED, dir }
    }

    /// Stores the objects of a snapshot that are missing in a bucket.
    async fn seed(&self, server: &Server, id: &str) {
        let (store, there) = (server.open(&[]), server.objects());
        for (key, bytes) in self.objects.iter().filter(|(key, _)| key.contains(id)) {
            if there.get(&format!("backups/{key}")) != Some(bytes) {
                store.delete(key).await.unwrap();
                store.create(key, bytes.clone().into()).await.unwrap();
            }
        }
    }

    /// Runs an operation with each fault at each of its requests that `selects` accepts, on both servers, and calls
    /// `check` after each run. Returns the number of runs.
    async fn inject_at_every_request<T>(
        &self,
        faults: &[Fault],
        selects: fn(&Request) -> bool,
        kept: &[&str],
        operation: impl AsyncFn(&SnapshotManager, &TestDir) -> Result<T>,
        check: impl AsyncFn(&Case<'_>, Result<T>),
    ) -> usize {
        let pairs = SERVERS.into_iter().flat_map(|start| faults.iter().map(move |fault| (start, fault)));
        let (operation, check) = (&operation, &check);
        let runs = pairs.map(|(start, fault)| self.inject_one_by_one(start(), fault, selects, kept, operation, check));
        stream::iter(runs).buffer_unordered(PARALLEL_RUNS).fold(0, async |sum, runs| sum + runs).await
    }

    async fn inject_one_by_one<T>(
        &self,
        server: Server,
        fault: &Fault,
        selects: fn(&Request) -> bool,
        kept: &[&str],
        operation: &impl AsyncFn(&SnapshotManager, &TestDir) -> Result<T>,
        check: &impl AsyncFn(&Case<'_>, Result<T>),
    ) -> usize {
        let healthy = server.manager(&self.dir, &[]);
        let mut runs = 0;
        for at in 0.. {
            for id in kept {
                self.seed(&server, id).await;
            }
            let uploads_before = server.open_uploads();
            // A new connection pool, so that broken connections of an earlier run have no effect.
            let manager = server.manager(&self.dir, if *fault == Fault::Hang { self.stalled } else { RETRIED });
            let hit = inject(&server, at, fault, selects);
            let dir = TestDir::new();
            let result = operation(&manager, &dir).await;
            manager.wait_for_cleanup().await;
            server.wire().clear();
            let Some(hit) = hit.lock().unwrap().take() else {
                assert!(result.is_ok(), "the operation failed without a fault: {:?}", result.err());
                break;
            };
            runs += 1;
            let case = Case { fixture: self, server: &server, healthy: &healthy, fault, hit };
            let lost = server.open_uploads() - uploads_before;
            assert!(lost <= usize::from(case.loses_an_upload()), "{}: {lost} uploads are still open", case.what());
            check(&case, result).await;
        }
        runs
    }
}

impl Case<'_> {
    fn what(&self) -> String {
        let Request { method, path, query, .. } = &self.hit;
        format!("{:?} at {method} {path}?{query}", self.fault)
    }

    /// Returns true if the server started an upload whose id was lost. Only a lifecycle rule removes such an upload.
    fn loses_an_upload(&self) -> bool {
        let is_executed = !matches!(
            self.fault,
            Fault::ResetBefore | Fault::Status(_) | Fault::RetryAfter { .. } | Fault::Hang | Fault::Conflict409
        );
        self.hit.is_initiate() && is_executed
    }

    /// Unwraps the result of an operation whose retries must succeed.
    #[track_caller]
    fn unwrap_retried<T>(&self, result: Result<T>) -> T {
        result.unwrap_or_else(|error| panic!("{}: a retry did not help: {error:?}", self.what()))
    }

    /// Asserts that an error was caused by corrupt bytes, and that it has a suitable kind and shows no secret.
    #[track_caller]
    fn assert_caused_by_corruption(&self, error: &ruvector_snapshot::SnapshotError) {
        assert_eq!(*self.fault, Fault::Corrupt, "{}: {error:?}", self.what());
        let kinds = [ErrorKind::Corrupt, ErrorKind::Unavailable, ErrorKind::NotFound, ErrorKind::Unsupported];
        assert!(kinds.contains(&error.kind()), "{}: {error:?}", self.what());
        assert!(!full_text(error).contains("test-servers-"), "{}: {error:?}", self.what());
    }

    /// Asserts that the bucket holds these snapshots, all intact, and no other object.
    async fn assert_holds(&self, expected: &[&str]) {
        let what = self.what();
        let listing = self.healthy.list().await.unwrap();
        assert_eq!(ids(&listing), expected.iter().copied().collect(), "{what}");
        assert!(listing.unusable.is_empty(), "{what}: {:?}", listing.unusable);
        let objects = self.server.objects();
        for id in expected {
            // Verifying the large snapshot again would take long, and its bytes are the same each time.
            if self.is_copy_of_large(&objects, id) {
                continue;
            }
            let options = VerifyOptions::default().record(false);
            let report = self.healthy.verify_snapshot_with(id, &options).await.unwrap();
            assert!(report.is_intact(), "{what}: {report:?}");
        }
        let keys: BTreeSet<_> = objects.keys().map(|key| key["backups/".len()..].to_owned()).collect();
        assert_eq!(keys, keys_of(expected.iter().copied()), "{what}");
    }

    /// Returns true if a snapshot has the data files of the large one, byte for byte, and a checksum.sha256 that
    /// matches.
    fn is_copy_of_large(&self, objects: &BTreeMap<String, Vec<u8>>, id: &str) -> bool {
        let file = |name: &str| &objects[&format!("backups/{}", layout::key(&id.parse().unwrap(), name))];
        let large = |name: &str| &self.fixture.objects[&layout::key(&self.fixture.large_id.parse().unwrap(), name)];
        let is_sealed = SnapshotMetadata::decode(file(layout::METADATA_JSON), &id.parse().unwrap()).is_ok();
        let sum: String =
            Sha256::digest(file(layout::METADATA_JSON)).iter().map(|byte| format!("{byte:02x}")).collect();
        let is_named = String::from_utf8_lossy(file(layout::CHECKSUM_SHA256)).contains(&sum);
        is_sealed && is_named && DataFile::ALL.iter().all(|data| file(data.name()) == large(data.name()))
    }
}

/// Injects the fault into the request of this number, counting only requests that `selects` accepts. The request is
/// returned once it has been sent.
fn inject(server: &Server, at: usize, fault: &Fault, selects: fn(&Request) -> bool) -> Arc<Mutex<Option<Request>>> {
    let hit = Arc::new(Mutex::new(None));
    let (found, fault) = (hit.clone(), fault.clone());
    let mut selected = 0;
    server.wire().set(move |request, _| {
        // S3 returns this status for concurrent creates only.
        let counts = selects(request) && (fault != Fault::Conflict409 || request.header("if-none-match").is_some());
        selected += usize::from(counts);
        (counts && selected == at + 1).then(|| {
            *found.lock().unwrap() = Some(request.clone());
            fault.clone()
        })
    });
    hit
}

/// Returns every fault except those that only cause delays.
fn faults() -> Vec<Fault> {
    vec![
        Fault::Corrupt,
        Fault::ResetBefore,
        Fault::ResetAfter,
        Fault::Status(500),
        Fault::StatusAfter(500),
        Fault::Status(429),
        Fault::RetryAfter { status: 503, seconds: 0 },
        Fault::Truncate(10),
        Fault::Hang,
        Fault::Conflict409,
    ]
}

// ---- create

async fn check_create(case: &Case<'_>, result: Result<Snapshot>) {
    let kept = case.fixture.small_id.as_str();
    match result {
        Ok(made) => {
            case.assert_holds(&[kept, &made.id]).await;
            case.healthy.delete_snapshot(&made.id).await.unwrap();
        }
        Err(error) => {
            case.assert_caused_by_corruption(&error);
            case.assert_holds(&[kept]).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_create_succeeds_after_one_fault_at_any_request() {
    let fixture = Fixture::new().await;
    let operation = async |manager: &SnapshotManager, _: &TestDir| create_full(manager, &fixture.small, "new").await;
    let runs =
        fixture.inject_at_every_request(&faults(), |_| true, &[&fixture.small_id], operation, check_create).await;
    // The check of the id, three files and their sizes, checksum.sha256, metadata.json, and two listings before and
    // after the commit. The two creates can conflict.
    assert_eq!(runs, 2 * 9 * 13 + 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_multipart_create_succeeds_after_one_fault_at_any_request_of_the_upload() {
    let fixture = Fixture { stalled: STALLED_MULTIPART, ..Fixture::new().await };
    let selects: fn(&Request) -> bool =
        |request| request.is_initiate() || request.is_part_upload() || request.is_complete();
    let operation = async |manager: &SnapshotManager, _: &TestDir| create_full(manager, &fixture.large, "new").await;
    let mut faults = faults();
    // These are handled in the same way for every request. The next test covers them.
    faults.retain(|fault| !matches!(fault, Fault::Status(429) | Fault::RetryAfter { .. }));
    let runs = fixture.inject_at_every_request(&faults, selects, &[&fixture.small_id], operation, check_create).await;
    assert_eq!(runs, 2 * 7 * 4, "the start, two parts, the completion");
}

/// The start, every part and the completion are refused once each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_multipart_upload_to_a_busy_server_succeeds() {
    for (start, fault) in SERVERS.into_iter().flat_map(|start| {
        [Fault::Status(429), Fault::RetryAfter { status: 503, seconds: 0 }].map(|fault| (start, fault))
    }) {
        let server = start();
        let mut refused = BTreeSet::new();
        let busy = fault.clone();
        server.wire().set(move |request, _| {
            refused.insert((request.method.clone(), request.query.clone())).then(|| busy.clone())
        });
        let mut upload = server.open(RETRIED).upload("key", None).await.unwrap();
        upload.write(vec![7; PART_BYTES as usize].into()).await.unwrap();
        upload.write("more".into()).await.unwrap();
        assert_eq!(upload.finish().await.unwrap(), PART_BYTES + 4, "{fault:?}");
        assert_eq!(server.objects()["backups/key"].len() as u64, PART_BYTES + 4, "{fault:?}");
        assert_eq!(server.open_uploads(), 0, "{fault:?}");
        assert_eq!(server.wire().requests().len(), 8, "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_multipart_create_succeeds_after_one_lost_response_at_any_request() {
    let fixture = Fixture::new().await;
    let operation = async |manager: &SnapshotManager, _: &TestDir| create_full(manager, &fixture.large, "new").await;
    let runs = fixture
        .inject_at_every_request(&[Fault::ResetAfter], |_| true, &[&fixture.small_id], operation, check_create)
        .await;
    assert_eq!(runs, 2 * 16);
}

// ---- verify, restore, delete

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_verify_succeeds_after_one_fault_and_detects_corrupt_bytes() {
    let fixture = Fixture::new().await;
    let options = VerifyOptions::default().record(false);
    let operation = async |manager: &SnapshotManager, _: &TestDir| {
        let report = manager.verify_snapshot_with(&fixture.small_id, &options).await;
        report.map(|report| report.is_intact())
    };
    let check = async |case: &Case<'_>, result: Result<bool>| {
        if *case.fault != Fault::Corrupt || case.hit.is_head() {
            assert!(case.unwrap_retried(result), "{}: an intact snapshot was reported as corrupt", case.what());
            return;
        }
        match result {
            // The annotations are listed for a warning only.
            Ok(is_intact) if case.hit.is_list() => assert!(is_intact, "{}: data was reported as corrupt", case.what()),
            Ok(is_intact) => assert!(!is_intact, "{}: corrupt bytes were not detected", case.what()),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt, "{}: {error:?}", case.what()),
        }
    };
    let runs = fixture.inject_at_every_request(&faults(), |_| true, &[&fixture.small_id], operation, check).await;
    assert_eq!(runs, 2 * 9 * 13);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_succeeds_after_one_fault_and_detects_corrupt_bytes() {
    let fixture = Fixture::new().await;
    let expected = records_of_file(&fixture.small);
    let operation = async |manager: &SnapshotManager, dir: &TestDir| {
        let path = dir.restored();
        let result = manager.restore_snapshot_to(&fixture.small_id, &path, &RestoreOptions::default()).await;
        match result {
            Ok(_) => Ok(records_of_file(&path)),
            Err(error) => {
                dir.assert_nothing_restored();
                Err(error)
            }
        }
    };
    let check = async |case: &Case<'_>, result: Result<_>| {
        if *case.fault == Fault::Corrupt && case.hit.is_list() {
            // The ledger is listed for a warning only.
            assert!(result.unwrap() == expected, "{}: it restores to other records", case.what());
        } else if *case.fault == Fault::Corrupt {
            let error = result.err().unwrap_or_else(|| panic!("{}: corrupt bytes were not detected", case.what()));
            // The fault is one of this answer only, which a second read shows.
            let is_detected =
                error.kind() == ErrorKind::Corrupt || error.message().contains("a second read was intact");
            assert!(is_detected, "{}: {error:?}", case.what());
        } else {
            assert!(case.unwrap_retried(result) == expected, "{}: it restores to other records", case.what());
        }
    };
    let runs = fixture.inject_at_every_request(&faults(), |_| true, &[&fixture.small_id], operation, check).await;
    assert_eq!(runs, 2 * 9 * 7);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delete_succeeds_after_one_fault_at_any_request() {
    let fixture = Fixture::new().await;
    let operation = async |manager: &SnapshotManager, _: &TestDir| manager.delete_snapshot(&fixture.small_id).await;
    let check = async |case: &Case<'_>, result: Result<()>| match result {
        Ok(()) => case.assert_holds(&[&fixture.large_id]).await,
        Err(error) => {
            case.assert_caused_by_corruption(&error);
            case.assert_holds(&[&fixture.small_id, &fixture.large_id]).await;
        }
    };
    let runs = fixture
        .inject_at_every_request(&faults(), |_| true, &[&fixture.small_id, &fixture.large_id], operation, check)
        .await;
    // Two listings with the reads of both metadata.json, a check of the snapshot, the marker and a check of it, five
    // deletes and that of the marker. A wrong size in a listing causes another request.
    assert!((2 * 9 * 14..2 * 9 * 16).contains(&runs), "{runs} runs");
}

// ---- Retry-After

/// The wait does not count as a stall.
#[tokio::test(flavor = "multi_thread")]
async fn a_retry_waits_as_long_as_retry_after_says() {
    for start in SERVERS {
        let server = start();
        let store = server.open(STALLED);
        let hit = inject(&server, 0, &Fault::RetryAfter { status: 503, seconds: 1 }, |_| true);
        let began = std::time::Instant::now();
        store.create("key", "bytes".into()).await.unwrap();
        assert!(hit.lock().unwrap().is_some());
        assert!(began.elapsed() >= Duration::from_secs(1), "the request was repeated after {:?}", began.elapsed());
        assert_eq!(server.objects()["backups/key"], b"bytes");
    }
}

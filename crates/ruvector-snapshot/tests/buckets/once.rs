//! A fault on the wire that strikes one request, at every request of a verb. Where trying again can help, one call of
//! the verb is enough; where bytes are wrong, nothing wrong is believed. What a server that stays away does is in
//! `lasting.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream;
use ruvector_snapshot::format::layout::{self, DataFile};
use ruvector_snapshot::format::metadata::SnapshotMetadata;
use ruvector_snapshot::{ErrorKind, RestoreOptions, Result, Snapshot, SnapshotManager};
use sha2::{Digest as _, Sha256};
use test_servers::{Fault, Request};

use crate::common::{Place, records_of_file};
use crate::stores::{PART_BYTES, SERVERS, Server, create, ids, keys_of, make_large, make_small, whole_text};

/// Walks that go on at the same time: they wait for most of their time.
const AT_ONCE: usize = 20;
const RETRIED: &[(&str, &str)] = &[("retry_timeout", "30s")];
const STALLED: &[(&str, &str)] = &[("retry_timeout", "30s"), ("stall_timeout", "300ms")];

/// Where every case begins: a bucket with a small snapshot, and one of several parts where the verb needs it.
struct Scene {
    place: Place,
    small: PathBuf,
    large: PathBuf,
    small_id: String,
    large_id: String,
    /// By key, without the prefix of the location.
    objects: BTreeMap<String, Vec<u8>>,
}

/// A fault, and the request that it struck.
struct Case<'a> {
    scene: &'a Scene,
    server: &'a Server,
    healthy: &'a SnapshotManager,
    fault: &'a Fault,
    hit: Request,
}

impl Scene {
    async fn new() -> Self {
        let place = Place::new();
        let (small, large) = (make_small(&place, "small.db", 20), make_large(&place));
        let server = Server::gcs();
        let manager = server.manager(&place, &[]);
        let small_id = create(&manager, &small, "small").await.unwrap().id;
        let large_id = create(&manager, &large, "large").await.unwrap().id;
        let objects = server.objects().into_iter().map(|(key, bytes)| (key["backups/".len()..].to_owned(), bytes));
        Self { small, large, small_id, large_id, objects: objects.collect(), place }
    }

    /// Puts the objects of a snapshot into a bucket that may have lost some of them.
    async fn seed(&self, server: &Server, id: &str) {
        let (store, there) = (server.open(&[]), server.objects());
        for (key, bytes) in self.objects.iter().filter(|(key, _)| key.contains(id)) {
            if there.get(&format!("backups/{key}")) != Some(bytes) {
                store.delete(key).await.unwrap();
                store.create(key, bytes.clone().into()).await.unwrap();
            }
        }
    }

    /// Carries a verb out with each fault at each of its requests that `concerns` names, on both servers, and judges
    /// what came of it. Returns how many such runs there were.
    async fn walk<T>(
        &self,
        faults: &[Fault],
        concerns: fn(&Request) -> bool,
        kept: &[&str],
        verb: impl AsyncFn(&SnapshotManager, &Place) -> Result<T>,
        judge: impl AsyncFn(&Case<'_>, Result<T>),
    ) -> usize {
        let pairs = SERVERS.into_iter().flat_map(|start| faults.iter().map(move |fault| (start, fault)));
        let (verb, judge) = (&verb, &judge);
        let walks = pairs.map(|(start, fault)| self.walk_requests(start(), fault, concerns, kept, verb, judge));
        stream::iter(walks).buffer_unordered(AT_ONCE).fold(0, async |sum, runs| sum + runs).await
    }

    async fn walk_requests<T>(
        &self,
        server: Server,
        fault: &Fault,
        concerns: fn(&Request) -> bool,
        kept: &[&str],
        verb: &impl AsyncFn(&SnapshotManager, &Place) -> Result<T>,
        judge: &impl AsyncFn(&Case<'_>, Result<T>),
    ) -> usize {
        let healthy = server.manager(&self.place, &[]);
        let mut runs = 0;
        for at in 0.. {
            for id in kept {
                self.seed(&server, id).await;
            }
            let uploads_before = server.open_uploads();
            // A pool of connections of its own: what an earlier case broke is none of this one's.
            let manager = server.manager(&self.place, if *fault == Fault::Hang { STALLED } else { RETRIED });
            let hit = strike(&server, at, fault, concerns);
            let place = Place::new();
            let answer = verb(&manager, &place).await;
            manager.settle().await;
            server.wire().clear();
            let Some(hit) = hit.lock().unwrap().take() else {
                assert!(answer.is_ok(), "it fails without a fault: {:?}", answer.err());
                break;
            };
            runs += 1;
            let case = Case { scene: self, server: &server, healthy: &healthy, fault, hit };
            let lost = server.open_uploads() - uploads_before;
            assert!(lost <= usize::from(case.loses_an_upload()), "{}: {lost} uploads are left open", case.what());
            judge(&case, answer).await;
        }
        runs
    }
}

impl Case<'_> {
    fn what(&self) -> String {
        let Request { method, path, query, .. } = &self.hit;
        format!("{:?} at {method} {path}?{query}", self.fault)
    }

    /// Whether the server began an upload whose name nobody was told. It takes a lifecycle rule to sweep such a one.
    fn loses_an_upload(&self) -> bool {
        let is_carried_out = !matches!(
            self.fault,
            Fault::ResetBefore | Fault::Status(_) | Fault::RetryAfter { .. } | Fault::Hang | Fault::Conflict409
        );
        self.hit.is_initiate() && is_carried_out
    }

    /// The answer, where the fault is one that trying again mends.
    #[track_caller]
    fn mended<T>(&self, answer: Result<T>) -> T {
        answer.unwrap_or_else(|error| panic!("{}: one try was not enough: {error:?}", self.what()))
    }

    /// The error, where there is one because bytes came back wrong.
    #[track_caller]
    fn assert_no_wrong_words(&self, error: &ruvector_snapshot::SnapshotError) {
        assert_eq!(*self.fault, Fault::Corrupt, "{}: {error:?}", self.what());
        let kinds = [ErrorKind::Damaged, ErrorKind::Unavailable, ErrorKind::NotFound, ErrorKind::Unsupported];
        assert!(kinds.contains(&error.kind()), "{}: {error:?}", self.what());
        assert!(!whole_text(error).contains("test-servers-"), "{}: {error:?}", self.what());
    }

    /// Asserts that the bucket shows these snapshots, each of them whole, and holds nothing else.
    async fn assert_holds(&self, expected: &[&str]) {
        let what = self.what();
        let listing = self.healthy.list().await.unwrap();
        assert_eq!(ids(&listing), expected.iter().copied().collect(), "{what}");
        assert!(listing.damaged.is_empty(), "{what}: {:?}", listing.damaged);
        let objects = self.server.objects();
        for id in expected {
            // That one is of many bytes, which are the same each time.
            if self.is_copy_of_large(&objects, id) {
                continue;
            }
            let report = self.healthy.verify_snapshot_with(id, &Default::default()).await.unwrap();
            assert!(report.is_whole(), "{what}: {report:?}");
        }
        let keys: BTreeSet<_> = objects.keys().map(|key| key["backups/".len()..].to_owned()).collect();
        assert_eq!(keys, keys_of(expected.iter().copied()), "{what}");
    }

    /// Whether the data files of a snapshot are those of the large one, byte for byte, and its checksum.sha256 names
    /// it.
    fn is_copy_of_large(&self, objects: &BTreeMap<String, Vec<u8>>, id: &str) -> bool {
        let file = |name: &str| &objects[&format!("backups/{}", layout::key(&id.parse().unwrap(), name))];
        let large = |name: &str| &self.scene.objects[&layout::key(&self.scene.large_id.parse().unwrap(), name)];
        let is_sealed = SnapshotMetadata::decode(file(layout::METADATA_JSON), &id.parse().unwrap()).is_ok();
        let sum: String =
            Sha256::digest(file(layout::METADATA_JSON)).iter().map(|byte| format!("{byte:02x}")).collect();
        let is_named = String::from_utf8_lossy(file(layout::CHECKSUM_SHA256)).contains(&sum);
        is_sealed && is_named && DataFile::ALL.iter().all(|data| file(data.name()) == large(data.name()))
    }
}

/// Lets the fault strike the request of this number among those that `concerns` names, and tells which that was.
fn strike(server: &Server, at: usize, fault: &Fault, concerns: fn(&Request) -> bool) -> Arc<Mutex<Option<Request>>> {
    let hit = Arc::new(Mutex::new(None));
    let (noted, fault) = (hit.clone(), fault.clone());
    let mut asked = 0;
    server.wire().set(move |request, _| {
        // What S3 answers to creates at the same time, and to no other request.
        let counts = concerns(request) && (fault != Fault::Conflict409 || request.header("if-none-match").is_some());
        asked += usize::from(counts);
        (counts && asked == at + 1).then(|| {
            *noted.lock().unwrap() = Some(request.clone());
            fault.clone()
        })
    });
    hit
}

/// Every fault, but those that merely take time.
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

async fn judge_create(case: &Case<'_>, answer: Result<Snapshot>) {
    let kept = case.scene.small_id.as_str();
    match answer {
        Ok(made) => {
            case.assert_holds(&[kept, &made.id]).await;
            case.healthy.delete_snapshot(&made.id).await.unwrap();
        }
        Err(error) => {
            case.assert_no_wrong_words(&error);
            case.assert_holds(&[kept]).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_create() {
    let scene = Scene::new().await;
    let verb = async |manager: &SnapshotManager, _: &Place| create(manager, &scene.small, "new").await;
    let runs = scene.walk(&faults(), |_| true, &[&scene.small_id], verb, judge_create).await;
    // A look at the id, three files and their sizes, checksum.sha256 and metadata.json, and two listings before the commit and after it; the two
    // creates can conflict.
    assert_eq!(runs, 2 * 9 * 13 + 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_create_with_an_upload_in_parts() {
    let scene = Scene::new().await;
    let concerns: fn(&Request) -> bool =
        |request| request.is_initiate() || request.is_part_upload() || request.is_complete();
    let verb = async |manager: &SnapshotManager, _: &Place| create(manager, &scene.large, "new").await;
    let mut faults = faults();
    // Those are dealt with alike whatever the request is, and are in the test below.
    faults.retain(|fault| !matches!(fault, Fault::Status(429) | Fault::RetryAfter { .. }));
    let runs = scene.walk(&faults, concerns, &[&scene.small_id], verb, judge_create).await;
    assert_eq!(runs, 2 * 7 * 4, "the start, two parts, the completion");
}

/// The start, every part and the completion meet a server that is busy, each of them once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_in_parts_to_a_server_that_is_busy() {
    for (start, fault) in SERVERS.into_iter().flat_map(|start| {
        [Fault::Status(429), Fault::RetryAfter { status: 503, seconds: 0 }].map(|fault| (start, fault))
    }) {
        let server = start();
        let mut met = BTreeSet::new();
        let busy = fault.clone();
        server
            .wire()
            .set(move |request, _| met.insert((request.method.clone(), request.query.clone())).then(|| busy.clone()));
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
async fn an_answer_that_is_lost_anywhere_beside_an_upload_in_parts() {
    let scene = Scene::new().await;
    let verb = async |manager: &SnapshotManager, _: &Place| create(manager, &scene.large, "new").await;
    let runs = scene.walk(&[Fault::ResetAfter], |_| true, &[&scene.small_id], verb, judge_create).await;
    assert_eq!(runs, 2 * 16);
}

// ---- verify, restore, delete

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_verify() {
    let scene = Scene::new().await;
    let verb = async |manager: &SnapshotManager, _: &Place| manager.verify_snapshot(&scene.small_id).await;
    let judge = async |case: &Case<'_>, answer: Result<bool>| {
        if *case.fault != Fault::Corrupt || case.hit.is_head() {
            assert!(case.mended(answer), "{}: a whole snapshot is called damaged", case.what());
            return;
        }
        match answer {
            Ok(is_whole) => assert!(!is_whole, "{}: wrong bytes were not noticed", case.what()),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Damaged, "{}: {error:?}", case.what()),
        }
    };
    let runs = scene.walk(&faults(), |_| true, &[&scene.small_id], verb, judge).await;
    assert_eq!(runs, 2 * 9 * 12);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_to_a_file() {
    let scene = Scene::new().await;
    let expected = records_of_file(&scene.small);
    let verb = async |manager: &SnapshotManager, place: &Place| {
        let path = place.restored();
        let answer = manager.restore_snapshot_to(&scene.small_id, &path, &RestoreOptions::default()).await;
        match answer {
            Ok(_) => Ok(records_of_file(&path)),
            Err(error) => {
                place.assert_nothing_restored();
                Err(error)
            }
        }
    };
    let judge = async |case: &Case<'_>, answer: Result<_>| {
        if *case.fault == Fault::Corrupt {
            let error = answer.err().unwrap_or_else(|| panic!("{}: wrong bytes were not noticed", case.what()));
            assert_eq!(error.kind(), ErrorKind::Damaged, "{}: {error:?}", case.what());
        } else {
            assert!(case.mended(answer) == expected, "{}: it restores to something else", case.what());
        }
    };
    let runs = scene.walk(&faults(), |_| true, &[&scene.small_id], verb, judge).await;
    assert_eq!(runs, 2 * 9 * 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delete() {
    let scene = Scene::new().await;
    let verb = async |manager: &SnapshotManager, _: &Place| manager.delete_snapshot(&scene.small_id).await;
    let judge = async |case: &Case<'_>, answer: Result<()>| match answer {
        Ok(()) => case.assert_holds(&[&scene.large_id]).await,
        Err(error) => {
            case.assert_no_wrong_words(&error);
            case.assert_holds(&[&scene.small_id, &scene.large_id]).await;
        }
    };
    let runs = scene.walk(&faults(), |_| true, &[&scene.small_id, &scene.large_id], verb, judge).await;
    // Two listings and the reads of both metadata.json in each, a look at the snapshot, the mark, a look at that, five deletes and that of the mark; a
    // size that came wrong in a listing is asked for again.
    assert!((2 * 9 * 14..2 * 9 * 16).contains(&runs), "{runs} runs");
}

// ---- how long a server may ask to wait

/// It is believed, and the time that it takes is not taken for silence.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_busy_is_asked_again_when_it_says() {
    for start in SERVERS {
        let server = start();
        let store = server.open(STALLED);
        let hit = strike(&server, 0, &Fault::RetryAfter { status: 503, seconds: 1 }, |_| true);
        let began = std::time::Instant::now();
        store.create("key", "bytes".into()).await.unwrap();
        assert!(hit.lock().unwrap().is_some());
        assert!(began.elapsed() >= Duration::from_secs(1), "it was asked again after {:?}", began.elapsed());
        assert_eq!(server.objects()["backups/key"], b"bytes");
    }
}

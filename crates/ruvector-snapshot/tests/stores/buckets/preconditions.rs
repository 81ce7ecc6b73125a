//! Servers that ignore or refuse preconditions, and stores that lie: what is still safe on them, and what `check_store`
//! reports.

use std::sync::Arc;

use ruvector_snapshot::store::testing::conformance;
use ruvector_snapshot::store::testing::fault::{Call, Fault, FaultStore, Moment};
use ruvector_snapshot::store::{CheckStatus, SnapshotStore, StoreReport};
use ruvector_snapshot::{CreateOptions, ErrorKind, SnapshotManager};
use test_fixtures::{TestDir, Warnings, create_full, memory_store};
use test_servers::{Fault as HttpFault, Request, S3Server};

use super::fixture::{SERVERS, Server, assert_restores, ids, make_small};

fn server_without_preconditions() -> Server {
    Server::S3(S3Server::start_without_preconditions())
}

fn status(report: &StoreReport, what: &str) -> CheckStatus {
    let found = report.findings.iter().find(|finding| finding.name == what);
    found.unwrap_or_else(|| panic!("no finding {what:?}: {report:?}")).status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snapshots_are_safe_on_a_server_that_ignores_preconditions() {
    let (server, dir) = (server_without_preconditions(), TestDir::new());
    let databases = [10, 20, 30].map(|rows| make_small(&dir, &format!("{rows}.db"), rows));
    let [one, other] = [(); 2].map(|()| server.manager(&dir, &[]));
    let kept = create_full(&one, &databases[0], "kept").await.unwrap();
    let (first, second) =
        tokio::join!(create_full(&one, &databases[1], "first"), create_full(&other, &databases[2], "second"));
    let made = [kept, first.unwrap(), second.unwrap()];
    assert_eq!(ids(&one.list().await.unwrap()), made.iter().map(|snapshot| snapshot.id.as_str()).collect());
    for (snapshot, database) in made.iter().zip(&databases) {
        assert_restores(&other, &snapshot.id, database).await;
    }
    assert_eq!(server.open_uploads(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_store_warns_about_ignored_preconditions() {
    let (server, dir) = (server_without_preconditions(), TestDir::new());
    let report = server.manager(&dir, &[]).check_store().await.unwrap();
    for finding in &report.findings {
        let expected = match finding.name {
            "create if absent" | "concurrent create if absent" => CheckStatus::Warn,
            _ => CheckStatus::Pass,
        };
        assert_eq!(finding.status, expected, "{finding:?}");
    }
    assert_eq!(status(&report, "create if absent"), CheckStatus::Warn);
    assert_eq!(status(&report, "concurrent create if absent"), CheckStatus::Warn);
    assert!(report.is_safe() && report.speed.is_some(), "{report:?}");
    assert!(server.objects().is_empty(), "{:?}", server.objects().keys());
    assert_eq!(server.open_uploads(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_store_passes_on_a_good_server() {
    let dir = TestDir::new();
    for start in SERVERS {
        let server = start();
        let report = server.manager(&dir, &[]).check_store().await.unwrap();
        assert_eq!(report.findings.len(), 8);
        assert!(report.findings.iter().all(|finding| finding.status == CheckStatus::Pass), "{report:?}");
        let speed = report.speed.unwrap();
        assert!(speed.upload_bytes_per_second > 0.0 && speed.head_seconds > 0.0, "{speed:?}");
        assert!(server.objects().is_empty(), "{:?}", server.objects().keys());
        assert_eq!(server.open_uploads(), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_store_fails_on_a_store_that_lies_and_names_the_check() {
    let lies: [(Call, Fault, &str); 4] = [
        (Call::Get, Fault::FlipBit(0), "read after write"),
        (Call::GetRange, Fault::FlipBit(0), "ranged reads"),
        (Call::Finish, Fault::StoreHalf, "multipart upload"),
        (Call::Finish, Fault::PretendDone, "multipart upload"),
    ];
    let dir = TestDir::new();
    let correct = memory_store;
    let (store, steps) = FaultStore::over(correct(), []);
    let report = manager(&dir, store).check_store().await.unwrap();
    assert!(report.is_safe(), "{report:?}");
    for (call, lie, what) in lies {
        let first = steps.log().iter().position(|step| step.call == call && step.moment == Moment::Before).unwrap();
        let (store, _) = FaultStore::over(correct(), [(first, lie.clone())]);
        let report = manager(&dir, store).check_store().await.unwrap();
        assert_eq!(status(&report, what), CheckStatus::Fail, "{lie:?}: {report:?}");
        assert!(!report.is_safe(), "{lie:?}");
    }
}

fn manager(dir: &TestDir, store: Arc<dyn SnapshotStore>) -> SnapshotManager {
    SnapshotManager::with_store(dir.config(), store).unwrap()
}

/// Ways in which servers refuse a write because of its precondition.
const REFUSALS: [HttpFault; 5] = [
    refusal(501, "NotImplemented", "A header you provided implies functionality that is not implemented"),
    refusal(501, "", ""),
    refusal(400, "NotImplemented", "A header you provided implies functionality that is not implemented"),
    refusal(400, "InvalidArgument", "Unsupported header 'if-none-match' received for this API call."),
    refusal(400, "ConditionHeadersNotSupported", "Condition headers are not supported."),
];

const fn refusal(status: u16, code: &'static str, message: &'static str) -> HttpFault {
    HttpFault::Error { status, code, message }
}

fn has_precondition(request: &Request) -> bool {
    request.header("if-none-match").is_some() || request.header("x-goog-if-generation-match").is_some()
}

/// Makes a server refuse preconditions in this way.
fn refuse(server: &Server, refusal: &HttpFault) {
    let refusal = refusal.clone();
    server.wire().set(move |request, _| has_precondition(request).then(|| refusal.clone()));
}

fn sent_with_precondition(server: &Server) -> usize {
    server.wire().requests().iter().filter(|request| has_precondition(request)).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_on_a_server_that_refuses_preconditions_passes_the_conformance_suite() {
    let server = Server::S3(S3Server::start_refusing_preconditions());
    conformance::run_all(server.open(&[]), "suite").await.unwrap();
    assert_eq!(server.open_uploads(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_without_preconditions_passes_the_conformance_suite() {
    let server = Server::S3(S3Server::start_refusing_preconditions());
    conformance::run_all(server.open(&[("conditional_create", "false")]), "suite").await.unwrap();
    assert_eq!((server.open_uploads(), sent_with_precondition(&server)), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_precondition_is_given_up_once_for_each_store() {
    for start in SERVERS {
        for refusal in &REFUSALS {
            let server = start();
            refuse(&server, refusal);
            let store = server.open(&[]);
            for key in ["one", "two", "three"] {
                store.create(key, "first".into()).await.unwrap();
                let error = store.create(key, "second".into()).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{refusal:?}: {error}");
                assert_eq!(store.get(key, 10).await.unwrap(), "first", "{refusal:?}");
            }
            assert_eq!(sent_with_precondition(&server), 1, "{refusal:?}");
            // A store that was not opened with the option tries it again.
            server.open(&[]).create("four", "x".into()).await.unwrap();
            assert_eq!(sent_with_precondition(&server), 2, "{refusal:?}");
            server.open(&[("conditional_create", "false")]).create("five", "x".into()).await.unwrap();
            assert_eq!(sent_with_precondition(&server), 2, "{refusal:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_is_refused_without_the_precondition_too_is_an_error() {
    for start in SERVERS {
        for refusal in &REFUSALS {
            let (server, dir) = (start(), TestDir::new());
            let all = refusal.clone();
            server.wire().set(move |request, _| request.is_put().then(|| all.clone()));
            let manager = server.manager(&dir, &[]);
            let error = create_full(&manager, &make_small(&dir, "a.db", 10), "a").await.unwrap_err();
            assert_ne!(error.kind(), ErrorKind::AlreadyExists, "{refusal:?}: {error}");
            assert!(server.objects().is_empty(), "{refusal:?}");
            assert_eq!(manager.take_warnings(), Vec::<String>::new(), "{refusal:?}");
        }
    }
}

/// The object is stored, and the response is lost or is an error. The next attempt finds the object.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_preconditions_a_create_finds_its_own_object_after_a_lost_response() {
    for start in SERVERS {
        for lost in [HttpFault::ResetAfter, HttpFault::StatusAfter(500), HttpFault::StatusAfter(503)] {
            let server = start();
            let store = server.open(&[("conditional_create", "false"), ("retry_timeout", "30s")]);
            let (fault, mut is_lost) = (lost.clone(), false);
            server.wire().set(move |request, _| {
                (request.is_put() && !std::mem::replace(&mut is_lost, true)).then(|| fault.clone())
            });
            store.create("key", "own".into()).await.unwrap_or_else(|error| panic!("{lost:?}: {error:?}"));
            assert_eq!(store.get("key", 10).await.unwrap(), "own");
        }
    }
}

/// As above, but every response to the write is lost until the client has given it up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_preconditions_a_create_that_was_given_up_is_not_taken_for_a_foreign_object() {
    for start in SERVERS {
        let server = start();
        let store = server.open(&[("conditional_create", "false"), ("retry_timeout", "1s")]);
        server.wire().set(|request, _| request.is_put().then_some(HttpFault::ResetAfter));
        match store.create("key", "own".into()).await {
            Ok(()) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}"),
        }
        assert_eq!(server.objects().into_values().collect::<Vec<_>>(), [b"own".to_vec()]);
    }
}

/// The first attempt is stored and its response is lost; the server then refuses the precondition of the second one, as
/// servers behind one address may.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_create_whose_repetition_is_refused_finds_its_own_object() {
    for start in SERVERS {
        let server = start();
        let mut attempts = 0;
        server.wire().set(move |request, _| {
            attempts += usize::from(has_precondition(request));
            match attempts {
                1 => has_precondition(request).then_some(HttpFault::StatusAfter(503)),
                _ => has_precondition(request).then(|| REFUSALS[0].clone()),
            }
        });
        server.open(&[]).create("key", "own".into()).await.unwrap();
        assert_eq!(sent_with_precondition(&server), 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snapshots_on_a_server_that_refuses_preconditions_are_created_without_a_warning() {
    for start in SERVERS {
        let (server, dir) = (start(), TestDir::new());
        refuse(&server, &REFUSALS[0]);
        let database = make_small(&dir, "a.db", 20);
        let manager = server.manager(&dir, &[]);
        let warnings = Arc::new(Warnings::default());
        let options = CreateOptions::default().progress(warnings.clone());
        let full = manager.create_snapshot_of_file(&database, "a", &options).await.unwrap();
        let increment = manager.create_snapshot_of_file(&database, "b", &options.base_id(&full.id)).await.unwrap();
        assert_restores(&manager, &increment.id, &database).await;
        manager.pin_snapshot(&full.id).await.unwrap();
        manager.unpin_snapshot(&full.id).await.unwrap();
        manager.delete_snapshot(&increment.id).await.unwrap();
        assert_eq!(manager.take_warnings(), Vec::<String>::new());
        assert_eq!(warnings.list(), Vec::<String>::new());
        let chosen = server.manager(&dir, &[("conditional_create", "false")]);
        create_full(&chosen, &database, "c").await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_store_warns_about_refused_preconditions() {
    for (options, why) in
        [(&[][..], "refuses If-None-Match"), (&[("conditional_create", "false")], "conditional_create")]
    {
        let (server, dir) = (Server::S3(S3Server::start_refusing_preconditions()), TestDir::new());
        let report = server.manager(&dir, options).check_store().await.unwrap();
        for finding in &report.findings {
            let is_create = finding.name.contains("create if absent");
            let expected = if is_create { CheckStatus::Warn } else { CheckStatus::Pass };
            assert_eq!(finding.status, expected, "{finding:?}");
            assert_eq!(finding.detail.contains(why), is_create, "{finding:?}");
        }
        assert!(report.is_safe() && server.objects().is_empty(), "{report:?}");
    }
}

#[test]
fn the_option_conditional_create_is_true_or_false() {
    let server = Server::s3();
    for (value, is_valid) in [("true", true), ("no", true), ("maybe", false), ("", false)] {
        let opened =
            ruvector_snapshot::store::open(&server.location(), &server.config(&[("conditional_create", value)]));
        assert_eq!(opened.is_ok(), is_valid, "{value:?}");
    }
}

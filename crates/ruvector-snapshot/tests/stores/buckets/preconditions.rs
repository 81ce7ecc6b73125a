//! Servers that ignore preconditions, and stores that lie: what is still safe on them, and what `check_store` reports.

use std::sync::Arc;

use ruvector_snapshot::SnapshotManager;
use ruvector_snapshot::store::testing::fault::{Call, Fault, FaultStore, Moment};
use ruvector_snapshot::store::{CheckStatus, SnapshotStore, StoreReport};
use test_fixtures::{TestDir, create_full, memory_store};
use test_servers::S3Server;

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

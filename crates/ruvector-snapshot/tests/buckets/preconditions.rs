//! Servers that keep less than the contract: what snapshots still hold there, and what `check_store` says of them.

use std::sync::Arc;

use ruvector_snapshot::SnapshotManager;
use ruvector_snapshot::store::fault::{Call, Fault, FaultStore, Moment};
use ruvector_snapshot::store::{Location, SnapshotStore, StoreConfig, StoreReport, Verdict, open};
use test_servers::S3Server;

use crate::common::Place;
use crate::stores::{SERVERS, Server, assert_restores, create, ids, make_small};

fn forgetful() -> Server {
    Server::S3(S3Server::start_without_preconditions())
}

fn verdict(report: &StoreReport, what: &str) -> Verdict {
    let found = report.findings.iter().find(|finding| finding.what == what);
    found.unwrap_or_else(|| panic!("no finding {what:?}: {report:?}")).verdict
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snapshots_are_safe_where_preconditions_are_ignored() {
    let (server, place) = (forgetful(), Place::new());
    let databases = [10, 20, 30].map(|rows| make_small(&place, &format!("{rows}.db"), rows));
    let [one, other] = [(); 2].map(|()| server.manager(&place, &[]));
    let kept = create(&one, &databases[0], "kept").await.unwrap();
    let (first, second) = tokio::join!(create(&one, &databases[1], "first"), create(&other, &databases[2], "second"));
    let made = [kept, first.unwrap(), second.unwrap()];
    assert_eq!(ids(&one.list().await.unwrap()), made.iter().map(|snapshot| snapshot.id.as_str()).collect());
    for (snapshot, database) in made.iter().zip(&databases) {
        assert_restores(&other, &snapshot.id, database).await;
    }
    assert_eq!(server.open_uploads(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_names_the_preconditions_that_are_ignored() {
    let (server, place) = (forgetful(), Place::new());
    let report = server.manager(&place, &[]).check_store().await.unwrap();
    for finding in &report.findings {
        let expected = match finding.what {
            "create once" | "create at once" => Verdict::Missing,
            _ => Verdict::Kept,
        };
        assert_eq!(finding.verdict, expected, "{finding:?}");
    }
    assert_eq!(verdict(&report, "create once"), Verdict::Missing);
    assert_eq!(verdict(&report, "create at once"), Verdict::Missing);
    assert!(report.is_safe() && report.speed.is_some(), "{report:?}");
    assert!(server.objects().is_empty(), "{:?}", server.objects().keys());
    assert_eq!(server.open_uploads(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_of_a_good_server_has_no_objection() {
    let place = Place::new();
    for start in SERVERS {
        let server = start();
        let report = server.manager(&place, &[]).check_store().await.unwrap();
        assert_eq!(report.findings.len(), 8);
        assert!(report.findings.iter().all(|finding| finding.verdict == Verdict::Kept), "{report:?}");
        let speed = report.speed.unwrap();
        assert!(speed.upload_bytes_per_second > 0.0 && speed.head_seconds > 0.0, "{speed:?}");
        assert!(server.objects().is_empty(), "{:?}", server.objects().keys());
        assert_eq!(server.open_uploads(), 0);
    }
}

/// A store that lies about an object is called unsafe, and which lie it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_of_a_store_that_lies_says_that_it_is_not_safe() {
    let lies: [(Call, Fault, &str); 4] = [
        (Call::Get, Fault::FlipBit(0), "written is read"),
        (Call::GetRange, Fault::FlipBit(0), "ranges"),
        (Call::Finish, Fault::StoreHalf, "uploads in parts"),
        (Call::Finish, Fault::PretendDone, "uploads in parts"),
    ];
    let place = Place::new();
    let honest = || open(&Location::Memory, &StoreConfig::default()).unwrap();
    let (store, steps) = FaultStore::over(honest(), []);
    let report = manager(&place, store).check_store().await.unwrap();
    assert!(report.is_safe(), "{report:?}");
    for (call, lie, what) in lies {
        let first = steps.log().iter().position(|step| step.call == call && step.moment == Moment::Before).unwrap();
        let (store, _) = FaultStore::over(honest(), [(first, lie.clone())]);
        let report = manager(&place, store).check_store().await.unwrap();
        assert_eq!(verdict(&report, what), Verdict::Broken, "{lie:?}: {report:?}");
        assert!(!report.is_safe(), "{lie:?}");
    }
}

fn manager(place: &Place, store: Arc<dyn SnapshotStore>) -> SnapshotManager {
    SnapshotManager::with_store(place.config(), store).unwrap()
}

//! Faults of the store during an annotation: all snapshots stay intact, and have the labels from before or after it.

use ruvector_snapshot::AnnotateOptions;
use ruvector_snapshot::store::testing::fault::Fault;
use test_fixtures::objects;

use super::fixture::faults;
use crate::common::three_snapshots::ThreeSnapshots;

#[tokio::test]
async fn an_annotation_with_any_fault_leaves_snapshots_intact_and_can_be_repeated() {
    let fixture = ThreeSnapshots::new().await;
    let id = &fixture.ids[1];
    let options = AnnotateOptions::default().label("a", "1").note("n");
    let runs = fixture
        .inject_at_every_step(
            faults(),
            async |manager| manager.annotate_snapshot(id, &options).await,
            async |run, case, result| {
                let what = case.what();
                let listing = run.check(case, &[0, 1, 2]).await;
                assert!(listing.unusable.is_empty() && listing.unfinished.is_empty(), "{what}: {listing:?}");
                let label = async || {
                    let snapshot = run.healthy.get_snapshot(id).await.unwrap().unwrap();
                    assert!(snapshot.unreadable_annotations.is_empty(), "{what}");
                    snapshot.labels.get("a").map(str::to_owned)
                };
                match result {
                    Ok(_) if matches!(case.fault, Fault::PretendDone) => {}
                    Ok(done) => assert_eq!((done.changes, label().await.as_deref()), (true, Some("1")), "{what}"),
                    Err(error) => case.assert_reported_by(&error),
                }
                run.healthy.annotate_snapshot(id, &options).await.unwrap();
                assert_eq!(label().await.as_deref(), Some("1"), "{what}");
                let mut left = objects(run.store.as_ref()).await;
                left.retain(|key, _| !key.contains("/annotation-"));
                assert!(left == fixture.objects, "{what}");
            },
        )
        .await;
    assert!(runs > 30, "only {runs} runs");
}

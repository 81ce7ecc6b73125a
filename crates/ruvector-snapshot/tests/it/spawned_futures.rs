//! The futures of every operation are `Send`: they can be spawned on a multi-threaded runtime. Compiling this file is
//! the test.

use std::sync::Arc;

use futures::StreamExt as _;
use ruvector_core::VectorDB;
use ruvector_snapshot::source::{RestoreTarget, SnapshotSource};
use ruvector_snapshot::{
    CopyOptions, CopyPlan, CopySelection, CreateOptions, DeletePlan, DrillOptions, MergeOptions, PrunePlan,
    PrunePolicy, RecordFilter, RestoreOptions, SearchOptions, SnapshotManager, StreamOptions, VerifyOptions,
};

fn assert_send(_: impl Future + Send) {}

#[test]
fn the_futures_of_every_operation_are_send() {
    // Never called: the function only has to compile.
    let _compiled = assert_all;
}

fn assert_all(
    manager: SnapshotManager,
    db: Arc<VectorDB>,
    source: Arc<dyn SnapshotSource>,
    mut target: Box<dyn RestoreTarget>,
    delete_plan: DeletePlan,
    prune_plan: PrunePlan,
    copy_plan: CopyPlan,
) {
    let manager = Arc::new(manager);
    let options = CreateOptions::default;
    macro_rules! assert_operations {
        ($($manager:ident => $future:expr),* $(,)?) => {$({
            let $manager = manager.clone();
            assert_send(async move { let _result = $future.await; });
        })*};
    }
    assert_operations! {
        manager => manager.create_snapshot_of_file("a.db", "name", &options()),
        manager => manager.create_snapshot_with(&db, "name", &options()),
        manager => manager.create_from(source.as_ref(), "name", &options()),
        manager => manager.compact_snapshot("id", None),
        manager => manager.plan_copy(&manager, &CopySelection::All, &CopyOptions::default()),
        manager => manager.apply_copy(&manager, &copy_plan, None),
        manager => manager.list(),
        manager => manager.get_snapshot("id"),
        manager => manager.chain("id"),
        manager => manager.resolve("latest"),
        manager => manager.reader("id"),
        manager => manager.restore_snapshot("id"),
        manager => manager.restore_snapshot_to("id", "b.db", &RestoreOptions::default()),
        manager => manager.restore_into("id", target.as_mut(), &RestoreOptions::default()),
        manager => manager.find_record("x"),
        manager => manager.restore_part_to("id", "b.db", &RecordFilter::default(), &RestoreOptions::default()),
        manager => manager.merge_snapshot_into("id", "b.db", &MergeOptions::default()),
        manager => manager.restore_stream("id", StreamOptions::default()).collect::<Vec<_>>(),
        manager => manager.search_snapshot("id", &[], &SearchOptions::default()),
        manager => manager.drill_snapshot("id", &DrillOptions::default()),
        manager => manager.verify_snapshot_with("id", &VerifyOptions::default()),
        manager => manager.verify_all(VerifyOptions::default()).collect::<Vec<_>>(),
        manager => manager.delete_snapshot("id"),
        manager => manager.apply_delete(&delete_plan),
        manager => manager.pin_snapshot("id"),
        manager => manager.unpin_snapshot("id"),
        manager => manager.plan_prune(&PrunePolicy::default()),
        manager => manager.apply_prune(&prune_plan),
        manager => manager.cleanup_old_snapshots(1),
        manager => manager.orphans(),
        manager => manager.collect_garbage(&[]),
        manager => manager.check_store(),
        manager => manager.wait_for_cleanup(),
    }
}

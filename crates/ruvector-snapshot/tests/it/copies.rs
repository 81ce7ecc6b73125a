//! Copies of snapshots to another store: the same ids and bytes, what is copied and what is not, and what a copy refuses.
//! Copies that fail or are interrupted are in the `crash` binary.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use ruvector_snapshot::store::{SnapshotStore, TransferConfig};
use ruvector_snapshot::{
    CopyOptions, CopyOutcome, CopyPlan, CopyReport, CopySelection, ErrorKind, SnapshotConfig, SnapshotManager,
};
use ruvector_snapshot_format::layout::{self, DataFile};
use test_fixtures::{CountingStore, TestDir, contents, local_store, memory_store, objects};
use test_servers::{GcsServer, S3Server};

use crate::common::bucket_stores::{gcs_store, s3_store, s3_store_with};
use crate::common::chain_and_full::{ChainAndFull, chain_and_full};
use crate::common::three_snapshots::key;

/// The size of the upload markers that the increments have until they are committed.
const MARKERS_BYTES: u64 = 145;

fn manager(store: &Arc<dyn SnapshotStore>) -> SnapshotManager {
    SnapshotManager::with_store(SnapshotConfig::default(), store.clone()).unwrap()
}

async fn copy_with(
    from: &Arc<dyn SnapshotStore>,
    to: &Arc<dyn SnapshotStore>,
    selection: &CopySelection,
    options: CopyOptions,
) -> (CopyPlan, CopyReport) {
    let (from, to) = (manager(from), manager(to));
    let plan = from.plan_copy(&to, selection, &options).await.unwrap();
    let report = from.apply_copy(&to, &plan, None).await.unwrap();
    (plan, report)
}

async fn copy(from: &Arc<dyn SnapshotStore>, to: &Arc<dyn SnapshotStore>, selection: &CopySelection) -> CopyReport {
    copy_with(from, to, selection, CopyOptions::default()).await.1
}

/// Copies everything, and asserts that both stores have the same objects.
async fn assert_copies(from: &Arc<dyn SnapshotStore>, to: &Arc<dyn SnapshotStore>) -> CopyReport {
    let report = copy(from, to, &CopySelection::All).await;
    assert!(report.is_complete(), "{report:?}");
    assert!(objects(from.as_ref()).await == objects(to.as_ref()).await);
    report
}

fn ids(ids: &[&String]) -> CopySelection {
    CopySelection::Ids(ids.iter().map(ToString::to_string).collect())
}

fn outcomes(report: &CopyReport) -> Vec<CopyOutcome> {
    report.snapshots.iter().map(|copied| copied.outcome).collect()
}

fn data_of(objects: &BTreeMap<String, Bytes>) -> u64 {
    objects.values().map(|bytes| bytes.len() as u64).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_is_copied_from_a_disk_to_s3_to_gcs_and_back_with_the_same_bytes() {
    let (dir, s3, gcs) = (TestDir::new(), S3Server::start(), GcsServer::start());
    let ChainAndFull { objects: expected, .. } = chain_and_full().await;
    let memory = chain_and_full().await.new_store().await;
    let (disk, again) = (dir.local_store(), local_store(&dir.path("restored")));
    let (s3_store, gcs_store) = (s3_store(&s3, "backups/prod"), gcs_store(&gcs, "offsite"));
    let places = [&memory, &disk, &s3_store, &gcs_store, &again];
    for pair in places.windows(2) {
        let report = assert_copies(pair[0], pair[1]).await;
        assert_eq!(outcomes(&report), [CopyOutcome::Copied; 4]);
        // The upload markers of the two increments are deleted again.
        let markers_bytes = report.written_bytes - data_of(expected);
        assert_eq!(markers_bytes, MARKERS_BYTES);
    }
    assert!(objects(again.as_ref()).await == *expected);
    assert_eq!((s3.open_uploads(), gcs.open_uploads()), (0, 0));
    for id in &chain_and_full().await.ids {
        assert!(manager(&gcs_store).verify_snapshot(id).await.unwrap());
    }
}

#[tokio::test]
async fn a_repeated_copy_reads_no_data_and_writes_nothing() {
    let source = CountingStore::over(chain_and_full().await.new_store().await);
    let from: Arc<dyn SnapshotStore> = source.clone();
    let dir = TestDir::new();
    for to in [memory_store(), dir.local_store()] {
        assert_copies(&from, &to).await;
        source.take_bytes_read();
        let (plan, report) = copy_with(&from, &to, &CopySelection::All, CopyOptions::default()).await;
        assert_eq!((plan.copy.len(), plan.existing.len(), plan.bytes()), (0, 4, 0));
        assert_eq!(outcomes(&report), [CopyOutcome::Existing; 4]);
        assert_eq!((report.read_bytes, report.written_bytes), (0, 0));
        let read = source.take_bytes_read();
        assert!(read.keys().all(|key| key.ends_with(layout::METADATA_JSON)), "{read:?}");
    }
}

#[tokio::test]
async fn a_snapshot_is_copied_with_those_that_it_depends_on_and_no_others() {
    let fixture = chain_and_full().await;
    let (from, to) = (fixture.new_store().await, memory_store());
    let (plan, _) = copy_with(&from, &to, &ids(&[&fixture.ids[1]]), CopyOptions::default()).await;
    let planned: Vec<_> = plan.copy.iter().map(|planned| (&planned.id, planned.ancestors.len())).collect();
    assert_eq!(planned, [(&fixture.ids[0], 0), (&fixture.ids[1], 1)]);
    assert_eq!(plan.bytes(), data_of(&objects(to.as_ref()).await));
    let expected = fixture.objects.iter().filter(|(key, _)| fixture.ids[..2].iter().any(|id| key.contains(id)));
    assert!(objects(to.as_ref()).await == expected.map(|(key, bytes)| (key.clone(), bytes.clone())).collect());
    // The rest of the chain finds its base there.
    assert_copies(&from, &to).await;
}

#[tokio::test]
async fn all_snapshots_of_a_name_are_copied_also_if_it_has_a_slash() {
    let fixture = chain_and_full().await;
    let (from, to) = (fixture.new_store().await, memory_store());
    let report = copy(&from, &to, &CopySelection::Named("team/nightly".to_owned())).await;
    assert_eq!(report.snapshots.iter().map(|copied| &copied.id).collect::<Vec<_>>(), [&fixture.ids[3]]);
    assert_eq!(manager(&to).list().await.unwrap().snapshots[0].name, "team/nightly");
    let unknown = CopySelection::Named("team".to_owned());
    let error = manager(&from).plan_copy(&manager(&to), &unknown, &CopyOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let unknown = ids(&[&"20260131T080000000Z-0123456789abcdef".to_owned()]);
    let error = manager(&from).plan_copy(&manager(&to), &unknown, &CopyOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn an_empty_store_has_nothing_to_copy() {
    let (plan, report) = copy_with(&memory_store(), &memory_store(), &CopySelection::All, CopyOptions::default()).await;
    assert!(plan.copy.is_empty() && plan.existing.is_empty() && plan.blocked.is_empty());
    assert!(report.snapshots.is_empty() && report.is_complete());
}

#[tokio::test]
async fn a_corrupt_file_of_the_source_is_named_and_its_snapshot_and_dependents_are_not_committed() {
    let fixture = chain_and_full().await;
    for file in ["vectors.bin.gz", "index.bin.gz", "metadata.bin.gz", layout::CHECKSUM_SHA256] {
        let corrupt_key = key(&fixture.ids[1], file);
        let mut objects_before = fixture.objects.clone();
        let mut bytes = objects_before[&corrupt_key].to_vec();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        objects_before.insert(corrupt_key.clone(), bytes.into());
        let from = store_of(&objects_before).await;
        let to = memory_store();
        let report = copy(&from, &to, &CopySelection::All).await;
        let expected = [CopyOutcome::Copied, CopyOutcome::Failed, CopyOutcome::Skipped, CopyOutcome::Copied];
        assert_eq!(outcomes(&report), expected, "{report:?}");
        assert!(!report.is_complete());
        let failed = &report.snapshots[1];
        assert_eq!(failed.kind, Some(ErrorKind::Corrupt));
        assert!(failed.error.as_ref().unwrap().starts_with(&corrupt_key), "{failed:?}");
        assert!(report.snapshots[2].error.as_ref().unwrap().contains(&fixture.ids[1]), "{report:?}");
        let listing = manager(&to).list().await.unwrap();
        assert_eq!((listing.snapshots.len(), listing.unusable.len()), (2, 0));
        // When the source was repaired, the copy goes on.
        assert_copies(&fixture.new_store().await, &to).await;
    }
}

#[tokio::test]
async fn unusable_snapshots_are_reported_and_all_others_are_copied() {
    let fixture = chain_and_full().await;
    type Damage = fn(&mut BTreeMap<String, Bytes>, &ChainAndFull);
    let damages: [Damage; 3] = [
        |objects, fixture| drop(objects.remove(&key(&fixture.ids[1], "vectors.bin.gz"))),
        |objects, fixture| drop(objects.insert(key(&fixture.ids[1], layout::METADATA_JSON), "{}".into())),
        |objects, fixture| drop(objects.remove(&key(&fixture.ids[1], layout::METADATA_JSON))),
    ];
    for damage in damages {
        let mut damaged = fixture.objects.clone();
        damage(&mut damaged, fixture);
        let (from, to) = (store_of(&damaged).await, memory_store());
        let (plan, report) = copy_with(&from, &to, &CopySelection::All, CopyOptions::default()).await;
        let blocked: Vec<_> = plan.blocked.iter().map(|blocked| (&blocked.id, blocked.kind)).collect();
        assert_eq!(blocked, [(&fixture.ids[1], ErrorKind::Corrupt), (&fixture.ids[2], ErrorKind::Corrupt)]);
        let expected = [CopyOutcome::Copied, CopyOutcome::Failed, CopyOutcome::Failed, CopyOutcome::Copied];
        assert_eq!(outcomes(&report), expected);
        assert!(manager(&to).verify_snapshot(&fixture.ids[3]).await.unwrap());
        assert!(manager(&to).list().await.unwrap().unusable.is_empty());
    }
}

#[tokio::test]
async fn a_snapshot_is_not_copied_beside_a_deletion_marker_and_neither_are_its_dependents() {
    let fixture = chain_and_full().await;
    for (present, blocked) in [(0, vec![0, 1, 2]), (1, vec![0, 1, 2])] {
        let (from, to) = (fixture.new_store().await, memory_store());
        // Beside a snapshot that is there, and where none is.
        if present == 1 {
            copy(&from, &to, &ids(&[&fixture.ids[0]])).await;
        }
        to.create(&key(&fixture.ids[0], "deleting-0123456789abcdef"), Bytes::new()).await.unwrap();
        let before = objects(to.as_ref()).await;
        let (plan, report) = copy_with(&from, &to, &ids(&[&fixture.ids[2]]), CopyOptions::default()).await;
        let expected: Vec<_> = blocked.iter().map(|at| (&fixture.ids[*at], ErrorKind::Unavailable)).collect();
        assert_eq!(plan.blocked.iter().map(|one| (&one.id, one.kind)).collect::<Vec<_>>(), expected);
        assert_eq!(outcomes(&report), [CopyOutcome::Failed; 3]);
        assert!(objects(to.as_ref()).await == before);
    }
}

#[tokio::test]
async fn a_base_that_the_target_has_deleted_after_the_plan_is_noticed_and_copied_by_the_next_plan() {
    let fixture = chain_and_full().await;
    let (from, to) = (fixture.new_store().await, memory_store());
    let (source, target) = (manager(&from), manager(&to));
    copy(&from, &to, &ids(&[&fixture.ids[0]])).await;
    let selection = ids(&[&fixture.ids[2]]);
    let plan = source.plan_copy(&target, &selection, &CopyOptions::default()).await.unwrap();
    assert_eq!((plan.existing.len(), plan.copy.len()), (1, 2));
    target.delete_snapshot(&fixture.ids[0]).await.unwrap();
    let report = source.apply_copy(&target, &plan, None).await.unwrap();
    assert_eq!(outcomes(&report)[1..], [CopyOutcome::Failed, CopyOutcome::Skipped]);
    let error = report.snapshots[1].error.as_ref().unwrap();
    assert!(error.contains(&fixture.ids[0]) && error.contains("repeat the copy"), "{error}");
    // Not even an upload marker, which would keep nothing.
    assert!(objects(to.as_ref()).await.is_empty());
    assert!(copy(&from, &to, &selection).await.is_complete());
    assert!(target.verify_snapshot(&fixture.ids[2]).await.unwrap());
}

#[tokio::test]
async fn a_snapshot_that_the_target_cannot_use_or_that_is_another_one_is_no_copy() {
    let fixture = chain_and_full().await;
    let (from, id) = (fixture.new_store().await, &fixture.ids[3]);
    let to = memory_store();
    copy(&from, &to, &ids(&[id])).await;
    to.delete(&key(id, "index.bin.gz")).await.unwrap();
    let (plan, report) = copy_with(&from, &to, &ids(&[id]), CopyOptions::default()).await;
    assert_eq!(plan.blocked[0].kind, ErrorKind::Corrupt);
    assert!(plan.blocked[0].reason.contains("delete it there"), "{plan:?}");
    assert!(!report.is_complete());

    let to = memory_store();
    let json = &fixture.objects[&key(id, layout::METADATA_JSON)];
    let other = test_fixtures::edit_metadata(json, |document| document["name"] = "other".into());
    for (key, bytes) in fixture.objects.iter().filter(|(key, _)| key.contains(id)) {
        let bytes = if key.ends_with(layout::METADATA_JSON) { other.clone().into() } else { bytes.clone() };
        to.create(key, bytes).await.unwrap();
    }
    let before = objects(to.as_ref()).await;
    let (plan, _) = copy_with(&from, &to, &ids(&[id]), CopyOptions::default()).await;
    assert_eq!(plan.blocked[0].kind, ErrorKind::AlreadyExists, "{plan:?}");
    assert!(objects(to.as_ref()).await == before);
}

#[tokio::test]
async fn pins_are_copied_on_request_also_to_snapshots_that_are_there_already() {
    let fixture = chain_and_full().await;
    let (from, to) = (fixture.new_store().await, memory_store());
    for id in [&fixture.ids[1], &fixture.ids[3]] {
        manager(&from).pin_snapshot(id).await.unwrap();
    }
    let pinned = async || {
        let snapshots = manager(&to).list().await.unwrap().snapshots;
        snapshots.into_iter().filter(|snapshot| snapshot.pinned).map(|snapshot| snapshot.id).collect::<Vec<_>>()
    };
    assert!(copy(&from, &to, &ids(&[&fixture.ids[2]])).await.is_complete());
    assert_eq!(pinned().await, Vec::<String>::new());
    let with_pins = CopyOptions::default().pins(true);
    assert!(copy_with(&from, &to, &CopySelection::All, with_pins).await.1.is_complete());
    assert_eq!(pinned().await.len(), 2);
    let (plan, _) = copy_with(&from, &to, &CopySelection::All, with_pins).await;
    assert!(plan.existing.iter().all(|planned| !planned.pin));
}

#[tokio::test]
async fn a_chain_is_compacted_on_the_way_and_only_once() {
    let fixture = chain_and_full().await;
    let (from, to) = (fixture.new_store().await, memory_store());
    let options = CopyOptions::default().compact(true).pins(true);
    manager(&from).pin_snapshot(&fixture.ids[2]).await.unwrap();
    let selection = ids(&[&fixture.ids[2], &fixture.ids[3]]);
    let (plan, report) = copy_with(&from, &to, &selection, options).await;
    assert_eq!(plan.copy.iter().map(|planned| planned.compact).collect::<Vec<_>>(), [true, false]);
    assert!(report.is_complete(), "{report:?}");
    let snapshots = manager(&to).list().await.unwrap().snapshots;
    let compacted = snapshots.iter().find(|snapshot| snapshot.id != fixture.ids[3]).unwrap();
    let original = manager(&from).get_snapshot(&fixture.ids[2]).await.unwrap().unwrap();
    assert_eq!(report.snapshots[0].target_id.as_ref(), Some(&compacted.id));
    assert_eq!(
        (compacted.base_id(), &compacted.name, compacted.created_at, &compacted.checksum, compacted.pinned),
        (None, &original.name, original.created_at, &original.checksum, true)
    );
    let restored = manager(&to).restore_snapshot(&compacted.id).await.unwrap();
    assert!(contents(&restored) == fixture.contents[2]);
    let (plan, report) = copy_with(&from, &to, &selection, options).await;
    assert_eq!((plan.copy.len(), plan.existing.len()), (0, 2));
    assert_eq!(plan.existing[0].target_id.as_ref(), Some(&compacted.id));
    assert_eq!(report.written_bytes, 0);
    assert_eq!(manager(&to).list().await.unwrap().snapshots.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_itself_is_no_target_whatever_it_is_called() {
    let (fixture, dir, server) = (chain_and_full().await, TestDir::new(), S3Server::start());
    std::os::unix::fs::symlink(dir.snapshots(), dir.path("link")).unwrap();
    let pairs = [
        [dir.local_store(), local_store(&dir.path("link"))],
        [s3_store(&server, "backups"), s3_store(&server, "backups")],
    ];
    for [from, to] in pairs {
        assert_copies(&fixture.new_store().await, &from).await;
        let plan = manager(&from).plan_copy(&manager(&to), &CopySelection::All, &CopyOptions::default()).await;
        let compacted = CopyOptions::default().compact(true);
        let compacted = manager(&from).plan_copy(&manager(&to), &ids(&[&fixture.ids[2]]), &compacted).await;
        for error in [plan.unwrap_err(), compacted.unwrap_err()] {
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.message().contains("choose another store"), "{error}");
        }
    }
    // Another server can have a bucket of the same name.
    let other = S3Server::start();
    let (from, to) = (s3_store(&server, "backups"), s3_store(&other, "backups"));
    assert_copies(&from, &to).await;
    let report = assert_copies(&from, &to).await;
    assert_eq!(outcomes(&report), [CopyOutcome::Existing; 4]);
}

#[tokio::test]
async fn a_directory_inside_of_the_source_is_no_target_and_neither_is_one_around_it() {
    let (fixture, dir) = (chain_and_full().await, TestDir::new());
    let outer = dir.local_store();
    assert_copies(&fixture.new_store().await, &outer).await;
    let path = dir.snapshots().join("copies");
    std::fs::create_dir(&path).unwrap();
    let inner = local_store(&path);
    for (from, to) in [(&outer, &inner), (&inner, &outer)] {
        let plan = manager(from).plan_copy(&manager(to), &CopySelection::All, &CopyOptions::default()).await;
        let error = plan.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.message().contains("inside of the other"), "{error}");
    }
}

#[tokio::test]
async fn a_prefix_inside_of_the_source_is_no_target_and_neither_is_one_around_it() {
    let (fixture, server) = (chain_and_full().await, S3Server::start());
    let outer = s3_store(&server, "backups");
    assert_copies(&fixture.new_store().await, &outer).await;
    let plan = async |from: &Arc<dyn SnapshotStore>, to: &Arc<dyn SnapshotStore>| {
        manager(from).plan_copy(&manager(to), &CopySelection::All, &CopyOptions::default()).await
    };
    for prefix in ["", "backups/copies"] {
        let other = s3_store(&server, prefix);
        for (from, to) in [(&outer, &other), (&other, &outer)] {
            let error = plan(from, to).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.message().contains("inside of the other"), "{error}");
        }
    }
    // A name that begins alike is another prefix, and another server can have a bucket of the same name.
    let elsewhere = S3Server::start();
    for beside in [s3_store(&server, "backups-2"), s3_store(&server, "copies"), s3_store(&elsewhere, "backups/copies")]
    {
        assert_eq!(plan(&outer, &beside).await.unwrap().copy.len(), 4);
    }
}

/// Something else has stored a file, or has removed the `metadata.json` of a corrupt snapshot.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_the_target_with_wrong_bytes_of_the_right_size_is_sent_again() {
    let fixture = chain_and_full().await;
    let from = fixture.new_store().await;
    let (dir, server) = (TestDir::new(), S3Server::start());
    for to in [dir.local_store(), s3_store(&server, "wrong")] {
        for file in DataFile::ALL {
            let key = key(&fixture.ids[0], file.name());
            let mut wrong = objects(from.as_ref()).await[&key].to_vec();
            let middle = wrong.len() / 2;
            wrong[middle] ^= 1;
            to.create(&key, wrong.into()).await.unwrap();
        }
        assert_copies(&from, &to).await;
    }
}

#[tokio::test]
async fn a_compacted_copy_that_is_being_deleted_is_not_there_already() {
    let fixture = chain_and_full().await;
    let (from, to) = (fixture.new_store().await, memory_store());
    let (selection, options) = (ids(&[&fixture.ids[2]]), CopyOptions::default().compact(true));
    let (_, first) = copy_with(&from, &to, &selection, options).await;
    let first_id = first.snapshots[0].target_id.clone().unwrap();
    to.create(&key(&first_id, "deleting-0123456789abcdef"), Bytes::new()).await.unwrap();
    let (plan, second) = copy_with(&from, &to, &selection, options).await;
    assert_eq!((plan.copy.len(), plan.existing.len()), (1, 0));
    assert_ne!(second.snapshots[0].target_id, Some(first_id));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_without_preconditions_receives_the_same_bytes() {
    let fixture = chain_and_full().await;
    for server in [S3Server::start_without_preconditions(), S3Server::start_refusing_preconditions()] {
        assert_copies(&fixture.new_store().await, &s3_store(&server, "backups")).await;
        assert_eq!(server.open_uploads(), 0);
    }
}

#[tokio::test]
async fn several_objects_are_copied_at_a_time_and_no_more_than_each_store_allows() {
    let server = S3Server::start();
    let source = CountingStore::over(chain_and_full().await.new_store().await);
    let config = SnapshotConfig { max_concurrent_io: 3, ..SnapshotConfig::default() };
    let from = SnapshotManager::with_store(config, source.clone()).unwrap();
    let to = s3_store_with(&server, "b", TransferConfig::default().max_concurrent_io(2));
    let plan = from.plan_copy(&manager(&to), &CopySelection::All, &CopyOptions::default()).await.unwrap();
    server.wire().reset_log();
    assert!(from.apply_copy(&manager(&to), &plan, None).await.unwrap().is_complete());
    // How many depends on how fast each of them ends.
    let most = source.take_most_concurrent_ranges();
    assert!((2..=3).contains(&most), "{most}");
    assert!(server.wire().max_in_flight() <= 2);
}

async fn store_of(objects: &BTreeMap<String, Bytes>) -> Arc<dyn SnapshotStore> {
    let store = memory_store();
    for (key, bytes) in objects {
        store.create(key, bytes.clone()).await.unwrap();
    }
    store
}

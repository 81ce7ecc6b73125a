//! Annotations: labels and notes that change after a snapshot was taken, what counts of concurrent ones, what is collected,
//! and what other verbs make of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use chrono::TimeDelta;
use ruvector_snapshot::store::SnapshotStore;
use ruvector_snapshot::store::testing::fault::{Action, Call, Fault, FaultStore, Step};
use ruvector_snapshot::{
    AnnotateOptions, CopyOptions, CopySelection, CreateOptions, ErrorKind, GroupBy, KeepReason, LabelPattern,
    OrphanKind, PrunePolicy, Snapshot, SnapshotConfig, SnapshotManager,
};
use ruvector_snapshot_format::layout;
use test_fixtures::{FixedClock, TestDir, local_store, make_database, memory_store, objects};
use test_servers::S3Server;

use crate::common::bucket_stores::s3_store;
use crate::common::chain_and_full::{ChainAndFull, chain_and_full};
use crate::common::three_snapshots::key;

fn manager(store: Arc<dyn SnapshotStore>) -> SnapshotManager {
    let config = SnapshotConfig { workers: 2, grace: TimeDelta::zero(), ..Default::default() };
    SnapshotManager::with_store(config, store).unwrap()
}

async fn filled(fixture: &ChainAndFull, store: Arc<dyn SnapshotStore>) -> Arc<dyn SnapshotStore> {
    for (key, bytes) in &fixture.objects {
        store.create(key, bytes.clone()).await.unwrap();
    }
    store
}

fn label(key: &str, value: &str) -> AnnotateOptions {
    AnnotateOptions::default().label(key, value)
}

/// The labels and the note, as a listing and `get_snapshot` have them.
async fn seen(manager: &SnapshotManager, id: &str) -> (BTreeMap<String, String>, Option<String>) {
    let of = |snapshot: &Snapshot| (BTreeMap::from(&snapshot.labels), snapshot.note.clone());
    let listing = manager.list().await.unwrap();
    let listed = of(listing.snapshots.iter().find(|snapshot| snapshot.id == id).unwrap());
    assert_eq!(of(&manager.get_snapshot(id).await.unwrap().unwrap()), listed);
    listed
}

fn labels<const N: usize>(labels: [(&str, &str); N]) -> BTreeMap<String, String> {
    labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// The keys of all annotations, the newest last.
async fn annotations(store: &dyn SnapshotStore) -> Vec<String> {
    let is_annotation = |key: &String| layout::parse_key(key).is_some_and(|(_, file)| file.starts_with("annotation-"));
    objects(store).await.into_keys().filter(is_annotation).collect()
}

async fn replace(store: &dyn SnapshotStore, key: &str, bytes: impl Into<Bytes>) {
    store.delete(key).await.unwrap();
    store.create(key, bytes.into()).await.unwrap();
}

#[tokio::test]
async fn labels_and_the_note_change_and_nothing_is_rewritten() {
    let (fixture, dir, server) = (chain_and_full().await, TestDir::new(), S3Server::start());
    let id = &fixture.ids[1];
    for store in [local_store(&dir.snapshots()), s3_store(&server, "annotations")] {
        let store = filled(fixture, store).await;
        let manager = manager(store.clone());
        let done = manager.annotate_snapshot(id, &label("keep", "yearly").note("before\nthe upgrade")).await.unwrap();
        assert!(done.changes && done.labels == labels([("keep", "yearly")]), "{done:?}");
        let expected = (labels([("keep", "yearly")]), Some("before\nthe upgrade".to_owned()));
        assert_eq!(seen(&manager, id).await, expected);
        // The same again writes nothing.
        let again = manager.annotate_snapshot(id, &label("keep", "yearly").remove_label("other")).await.unwrap();
        assert!(!again.changes);
        assert_eq!(annotations(store.as_ref()).await.len(), 1);
        // One label is added, one replaced, and one removed.
        manager.annotate_snapshot(id, &label("keep", "no").label("a/b", "")).await.unwrap();
        let removed = AnnotateOptions::default().remove_label("keep").remove_note(true);
        manager.annotate_snapshot(id, &removed).await.unwrap();
        assert_eq!(seen(&manager, id).await, (labels([("a/b", "")]), None));
        let mut stored = objects(store.as_ref()).await;
        stored.retain(|key, _| !key.contains("annotation-"));
        assert_eq!(stored, fixture.objects);
        let listing = manager.list().await.unwrap();
        assert_eq!((listing.snapshots.len(), listing.unusable.len(), listing.foreign), (4, 0, 0));
        assert!(listing.unfinished.is_empty());
        // The newest includes the others, and is all that a listing needs.
        let orphans = manager.orphans().await.unwrap();
        assert!(orphans.iter().all(|orphan| orphan.kind == OrphanKind::Annotation), "{orphans:?}");
        assert!(manager.verify_snapshot(&fixture.ids[2]).await.unwrap());
    }
}

#[tokio::test]
async fn one_request_reads_all_annotations_of_a_snapshot_and_none_is_made_without_any() {
    let fixture = chain_and_full().await;
    let inner = fixture.new_store().await;
    let reads = async |what: &str| {
        let (store, steps) = FaultStore::over(inner.clone(), []);
        manager(store).list().await.unwrap();
        let of = |step: &&Step| matches!((step.call, step.key.contains(what)), (Call::Get, true));
        steps.log().iter().filter(of).count()
    };
    assert_eq!(reads("annotation-").await, 0);
    let manager = manager(inner.clone());
    for number in 0..5 {
        manager.annotate_snapshot(&fixture.ids[0], &label("n", &number.to_string())).await.unwrap();
    }
    // Before and after the call.
    assert_eq!(reads("annotation-").await, 2);
}

#[tokio::test]
async fn of_two_at_the_same_time_none_loses_the_label_of_the_other() {
    let fixture = chain_and_full().await;
    let id = fixture.ids[3].as_str();
    let mut concurrent = 0;
    for at in 0.. {
        let inner = fixture.new_store().await;
        let other = manager(inner.clone());
        let annotate = Action::new(move || {
            let other = other.clone();
            async move {
                let options = label("other", "1").label("same", "other").note("of the other");
                other.annotate_snapshot(&chain_and_full().await.ids[3], &options).await.unwrap();
            }
        });
        let (store, steps) = FaultStore::over(inner.clone(), [(at, Fault::Do(annotate))]);
        manager(store).annotate_snapshot(id, &label("one", "1").label("same", "one")).await.unwrap();
        let Some(step) = steps.at(at) else { break };
        let manager = manager(inner.clone());
        let (labels, note) = seen(&manager, id).await;
        assert_eq!((labels["one"].as_str(), labels["other"].as_str()), ("1", "1"), "{step}");
        assert_eq!(note.as_deref(), Some("of the other"), "{step}");
        assert!(["one", "other"].contains(&labels["same"].as_str()), "{step}");
        concurrent += usize::from(manager.orphans().await.unwrap().is_empty());
        // Whatever it was, a later one counts, and has all that was before.
        manager.annotate_snapshot(id, &label("same", "a")).await.unwrap();
        let (labels, _) = seen(&manager, id).await;
        assert_eq!((labels["same"].as_str(), labels.len()), ("a", 3), "{step}");
        manager.collect_garbage(&manager.orphans().await.unwrap()).await.unwrap();
        assert_eq!(seen(&manager, id).await.0, labels, "{step}");
    }
    assert!(concurrent > 0);
}

#[tokio::test]
async fn the_clock_does_not_decide() {
    let fixture = chain_and_full().await;
    let store = fixture.new_store().await;
    let id = &fixture.ids[0];
    for (year, value) in [(2199, "first"), (1980, "second"), (2026, "third")] {
        let now = format!("{year}-01-01T00:00:00Z").parse().unwrap();
        let manager = manager(store.clone()).with_clock(Arc::new(FixedClock { now, random: 7 }));
        manager.annotate_snapshot(id, &label("of", value)).await.unwrap();
        assert_eq!(seen(&manager, id).await.0["of"], value);
    }
}

#[tokio::test]
async fn a_corrupt_annotation_is_no_corrupt_snapshot_and_the_next_one_replaces_it() {
    let fixture = chain_and_full().await;
    let store = fixture.new_store().await;
    let (manager, id) = (manager(store.clone()), &fixture.ids[0]);
    manager.annotate_snapshot(id, &label("a", "1")).await.unwrap();
    manager.annotate_snapshot(id, &label("keep", "yes")).await.unwrap();
    let newest = annotations(store.as_ref()).await.pop().unwrap();
    for bytes in [&b""[..], b"{}", &[b'x'; 300 << 10]] {
        replace(store.as_ref(), &newest, bytes.to_vec()).await;
        let listing = manager.list().await.unwrap();
        assert_eq!((listing.snapshots.len(), listing.unusable.len()), (4, 0));
        let snapshot = listing.snapshots.iter().find(|snapshot| snapshot.id == *id).unwrap();
        // What the others say still counts.
        assert_eq!(snapshot.labels, labels([("a", "1")]));
        assert!(matches!(&snapshot.unreadable_annotations[..], [one] if one.contains(&newest)), "{snapshot:?}");
        assert!(manager.verify_snapshot(id).await.unwrap());
        // Nothing is collected that the corrupt one may include.
        assert!(manager.orphans().await.unwrap().iter().all(|one| one.kind != OrphanKind::Annotation));
    }
    // A policy that keeps a label keeps what may have it, and one that groups by labels refuses.
    let pattern: LabelPattern = "keep".parse().unwrap();
    let policy = PrunePolicy::default().keep_label(pattern.clone()).keep_last(1).group_by(GroupBy::None);
    let plan = manager.plan_prune(&policy).await.unwrap();
    let kept = plan.keep.iter().find(|kept| kept.snapshot.id == *id).unwrap();
    assert!(kept.reasons.contains(&KeepReason::MayHaveLabel { pattern }), "{kept:?}");
    let by_label = PrunePolicy::default().keep_last(1).group_by(GroupBy::Label("a".to_owned()));
    let error = manager.plan_prune(&by_label).await.unwrap_err();
    assert!(error.message().contains("cannot be known"), "{error}");
    // It is not compacted into a snapshot whose labels would be wrong.
    manager.annotate_snapshot(&fixture.ids[2], &label("b", "2")).await.unwrap();
    let of_increment = annotations(store.as_ref()).await.pop().unwrap();
    replace(store.as_ref(), &of_increment, "{}").await;
    let error = manager.compact_snapshot(&fixture.ids[2], None).await.unwrap_err();
    assert!(error.message().contains("annotate the snapshot again"), "{error}");

    // The same change again is a change, because it was lost.
    assert!(manager.annotate_snapshot(id, &label("a", "1")).await.unwrap().changes);
    let snapshot = manager.get_snapshot(id).await.unwrap().unwrap();
    assert_eq!(snapshot.unreadable_annotations, Vec::<String>::new());
    assert_eq!(snapshot.labels, labels([("a", "1")]));
}

#[tokio::test]
async fn an_annotation_that_cannot_be_read_now_is_not_replaced() {
    let fixture = chain_and_full().await;
    let id = &fixture.ids[0];
    let inner = fixture.new_store().await;
    manager(inner.clone()).annotate_snapshot(id, &label("a", "1")).await.unwrap();
    for kind in [ErrorKind::PermissionDenied, ErrorKind::Unavailable] {
        let (mut refused, before) = (0, objects(inner.as_ref()).await);
        for at in 0.. {
            let (store, steps) = FaultStore::over(inner.clone(), [(at, Fault::Fail(kind))]);
            let outcome = manager(store).plan_annotate(id, &label("b", "2")).await;
            let Some(step) = steps.at(at) else { break };
            assert_eq!(outcome.unwrap_err().kind(), kind, "{step}");
            refused += usize::from(step.key.contains("annotation-"));
        }
        assert_eq!((refused, objects(inner.as_ref()).await == before), (2, true));
    }
}

#[tokio::test]
async fn a_snapshot_that_is_deleted_meanwhile_leaves_nothing_that_is_never_collected() {
    let fixture = chain_and_full().await;
    let id = &fixture.ids[3];
    let mut left = 0;
    for at in 0.. {
        let inner = fixture.new_store().await;
        let (other, doomed) = (manager(inner.clone()), id.clone());
        let delete = Action::new(move || {
            let (other, doomed) = (other.clone(), doomed.clone());
            async move { other.delete_snapshot(&doomed).await.unwrap() }
        });
        let (store, steps) = FaultStore::over(inner.clone(), [(at, Fault::Do(delete))]);
        let outcome = manager(store).annotate_snapshot(id, &label("a", "1")).await;
        let Some(step) = steps.at(at) else { break };
        if let Err(error) = outcome {
            assert_eq!(error.kind(), ErrorKind::NotFound, "{step}: {error}");
        }
        let manager = manager(inner.clone());
        let listing = manager.list().await.unwrap();
        assert_eq!((listing.snapshots.len(), listing.unusable.len(), listing.foreign), (3, 0, 0), "{step}");
        assert!(listing.pending_uploads.is_empty() && listing.deleting.is_empty(), "{step}");
        left += annotations(inner.as_ref()).await.len();
        manager.collect_garbage(&manager.orphans().await.unwrap()).await.unwrap();
        assert_eq!(annotations(inner.as_ref()).await, Vec::<String>::new(), "{step}");
    }
    assert_eq!(left, 0, "it checks again after the write");

    // And the other way round: a deletion during which the snapshot is annotated.
    for at in 0.. {
        let inner = fixture.new_store().await;
        let (other, doomed) = (manager(inner.clone()), id.clone());
        let annotate = Action::new(move || {
            let (other, doomed) = (other.clone(), doomed.clone());
            async move { drop(other.annotate_snapshot(&doomed, &label("a", "1")).await) }
        });
        let (store, steps) = FaultStore::over(inner.clone(), [(at, Fault::Do(annotate))]);
        manager(store).delete_snapshot(id).await.unwrap();
        let Some(step) = steps.at(at) else { break };
        let found = annotations(inner.as_ref()).await;
        left += found.len();
        let manager = manager(inner.clone());
        let listing = manager.list().await.unwrap();
        assert_eq!((listing.snapshots.len(), listing.unusable.len(), listing.foreign), (3, 0, 0), "{step}");
        assert!(listing.unfinished.iter().all(|one| one.kind == OrphanKind::Annotation), "{step}: {listing:?}");
        assert_eq!(listing.unfinished.len(), found.len(), "{step}");
        let error = manager.annotate_snapshot(id, &label("a", "2")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{step}");
        manager.collect_garbage(&manager.orphans().await.unwrap()).await.unwrap();
        assert_eq!(annotations(inner.as_ref()).await, Vec::<String>::new(), "{step}");
    }
    assert!(left > 0);
}

#[tokio::test]
async fn a_copy_takes_annotations_along_and_a_compaction_stores_what_they_say() {
    let fixture = chain_and_full().await;
    let (source, target) = (fixture.new_store().await, memory_store());
    let (from, to) = (manager(source.clone()), manager(target.clone()));
    let [_, _, increment, full] = &fixture.ids[..] else { panic!() };
    let copy = async || {
        let plan = from.plan_copy(&to, &CopySelection::All, &CopyOptions::default()).await.unwrap();
        let planned = plan.copy.iter().chain(&plan.existing).map(|planned| planned.annotations).sum::<u64>();
        assert!(from.apply_copy(&to, &plan, None).await.unwrap().is_complete());
        planned
    };
    from.annotate_snapshot(full, &label("a", "1").note("one")).await.unwrap();
    from.annotate_snapshot(full, &label("b", "1")).await.unwrap();
    assert_eq!(copy().await, 1, "the newest includes the other");
    let expected = (labels([("a", "1"), ("b", "1")]), Some("one".to_owned()));
    assert_eq!(seen(&to, full).await, expected);
    // Later ones too, and what was changed in the target stays.
    to.annotate_snapshot(full, &label("of", "target")).await.unwrap();
    from.annotate_snapshot(full, &label("a", "2")).await.unwrap();
    from.annotate_snapshot(increment, &label("c", "3").note("two")).await.unwrap();
    assert_eq!(copy().await, 2);
    assert_eq!(seen(&to, full).await.0, labels([("a", "2"), ("b", "1"), ("of", "target")]));
    assert_eq!(copy().await, 0);

    let compacted = from.compact_snapshot(increment, None).await.unwrap();
    assert_eq!((BTreeMap::from(&compacted.labels), compacted.note.as_deref()), (labels([("c", "3")]), Some("two")));
    let read = from.get_snapshot(&compacted.id).await.unwrap().unwrap();
    assert_eq!((&read.labels, &read.note), (&compacted.labels, &compacted.note));

    // A deletion removes them with the snapshot.
    to.delete_snapshot(full).await.unwrap();
    assert!(objects(target.as_ref()).await.keys().all(|key| !key.contains(full.as_str())));
}

#[tokio::test]
async fn a_note_is_stored_by_a_create_and_changed_later() {
    let (dir, store) = (TestDir::new(), memory_store());
    drop(make_database(&dir.path("a.db"), 10, 4, 1));
    let manager = manager(store.clone());
    let options = CreateOptions::default().label("e\u{301}", "1").note("u\u{308}ber");
    let id = manager.create_snapshot_of_file(dir.path("a.db"), "a", &options).await.unwrap().id;
    assert_eq!(seen(&manager, &id).await, (labels([("é", "1")]), Some("über".to_owned())));
    let metadata: serde_json::Value =
        serde_json::from_slice(&store.get(&key(&id, "metadata.json"), 1 << 20).await.unwrap()).unwrap();
    assert_eq!(metadata["note"], "über");
    // The key in its other form is the same label.
    manager.annotate_snapshot(&id, &AnnotateOptions::default().remove_label("e\u{301}").note("b")).await.unwrap();
    assert_eq!(seen(&manager, &id).await, (labels([]), Some("b".to_owned())));

    for note in ["", " ", "a\u{1b}b", &"x".repeat(4097)] {
        let options = CreateOptions::default().note(note);
        let error = manager.create_snapshot_of_file(dir.path("a.db"), "a", &options).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let error = manager.annotate_snapshot(&id, &AnnotateOptions::default().note(note)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
    for options in [
        AnnotateOptions::default(),
        label("a", "1").remove_label("a"),
        AnnotateOptions::default().note("a").remove_note(true),
        label("large", &"x".repeat(300 << 10)),
    ] {
        let error = manager.annotate_snapshot(&id, &options).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    }
    assert_eq!(annotations(store.as_ref()).await.len(), 1);
}

#[tokio::test]
async fn the_number_of_annotations_is_bounded() {
    let fixture = chain_and_full().await;
    let store = fixture.new_store().await;
    let (manager, id) = (manager(store.clone()), &fixture.ids[0]);
    // None of them includes another one.
    for number in 1..=1001u32 {
        let json = format!(
            r#"{{"snapshot":"{id}","time":"2026-01-01T00:00:00Z","program":"p","labels":{{"{number}":{{"number":{number},"value":"x"}}}}}}"#
        );
        let name = ruvector_snapshot_format::annotation::AnnotationName {
            number: number.into(),
            digest: ruvector_snapshot_format::checksum::sha256_hex(json.as_bytes())[..32].to_owned(),
        };
        store.create(&key(id, &layout::annotation(&name)), json.into()).await.unwrap();
    }
    let snapshot = manager.get_snapshot(id).await.unwrap().unwrap();
    assert_eq!(snapshot.labels.len(), 1000);
    assert!(snapshot.unreadable_annotations[0].contains("too many"), "{:?}", snapshot.unreadable_annotations);
    let error = manager.annotate_snapshot(id, &label("a", "1")).await.unwrap_err();
    assert!(error.message().contains("has 1001 annotations"), "{error}");
}

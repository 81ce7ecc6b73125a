//! A base that a verification has found corrupt: a create refuses it without reading it, until a verification finds nothing.

use ruvector_snapshot::store::testing::fault::{Call, FaultStore};
use ruvector_snapshot::{CreateOptions, ErrorKind, VerifyDepth, VerifyOptions};
use ruvector_snapshot_format::layout;
use test_fixtures::{TestDir, local_store, make_database, objects};

use super::fixture::create;

#[tokio::test]
async fn a_base_that_was_found_corrupt_is_refused_until_it_is_found_intact() {
    let dir = TestDir::new();
    let (store, steps) = FaultStore::over(local_store(&dir.snapshots()), []);
    let manager = dir.manager_with_store(store);
    let path = dir.path("a.db");
    make_database(&path, 120, 8, 1);
    let full = create(&manager, &path, None).await.unwrap();
    let middle = create(&manager, &path, Some(&full)).await.unwrap();
    let newest = create(&manager, &path, Some(&middle)).await.unwrap();
    let key = layout::key(&full.id.parse().unwrap(), "vectors.bin.gz");
    let store = local_store(&dir.snapshots());
    let intact = objects(store.as_ref()).await[&key].clone();
    let replace = async |bytes: Vec<u8>| {
        store.delete(&key).await.unwrap();
        store.create(&key, bytes.into()).await.unwrap();
    };
    let mut damaged = intact.to_vec();
    damaged[15] ^= 4;
    replace(damaged).await;
    // It is not known yet: an increment does not read these bytes.
    let made = create(&manager, &path, Some(&newest)).await.unwrap();
    manager.delete_snapshot(&made.id).await.unwrap();

    assert!(!manager.verify_snapshot(&newest.id).await.unwrap());
    replace(intact.to_vec()).await;
    let before = objects(store.as_ref()).await;
    let quick = VerifyOptions::default().depth(VerifyDepth::Quick).record(false);
    assert!(manager.verify_snapshot_with(&newest.id, &quick).await.unwrap().is_intact());
    // By the base itself, or by an ancestor.
    for base in [&newest, &middle, &full] {
        let from = steps.log().len();
        let error = create(&manager, &path, Some(base)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
        let message = format!("cannot use snapshot {} as a base: it was found corrupt at 2", base.id);
        assert!(error.message().starts_with(&message), "{error}");
        assert!(error.to_string().contains("take a full snapshot"), "{error}");
        let writes = [Call::Create, Call::Upload, Call::Delete];
        assert!(steps.log()[from..].iter().all(|step| !writes.contains(&step.call)), "{base:?}");
    }
    assert!(objects(store.as_ref()).await == before);
    // If the base is read now, what was found before does not matter.
    let options = CreateOptions::default().base_id(&newest.id).verify_base(true);
    let made = manager.create_snapshot_of_file(&path, "read", &options).await.unwrap();
    manager.delete_snapshot(&made.id).await.unwrap();

    assert!(manager.verify_snapshot(&newest.id).await.unwrap());
    create(&manager, &path, Some(&newest)).await.unwrap();
}

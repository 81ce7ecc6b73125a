//! The double of Google Cloud Storage, through the client of `object_store`.

use crate::common::*;
use object_store::path::Path;
use object_store::{CopyMode, CopyOptions, Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use test_servers::GcsServer;

#[tokio::test]
async fn objects() {
    let server = GcsServer::start();
    let store = gcs(&server);
    objects_are_written_read_and_deleted(&store).await;
    empty_objects_are_stored(&store).await;
    assert_eq!(server.open_uploads(), 0);
}

#[tokio::test]
async fn a_missing_object_cannot_be_deleted() {
    let server = GcsServer::start();
    let refused = gcs(&server).delete(&Path::from("nothing")).await;
    assert!(matches!(refused, Err(Error::NotFound { .. })), "{refused:?}");
}

#[tokio::test]
async fn keys() {
    a_key_may_be_the_prefix_of_another(&gcs(&GcsServer::start())).await;
    let server = GcsServer::start();
    assert_eq!(odd_keys_are_stored(&gcs(&server)).await, server.objects());
}

#[tokio::test]
async fn listings() {
    let server = GcsServer::start();
    listings_have_pages(&gcs(&server)).await;
    assert!(server.wire().requests().iter().any(|request| request.parameter("continuation-token").is_some()));
}

#[tokio::test]
async fn listings_during_deletes() {
    let server = GcsServer::start();
    listings_and_deletes_run_concurrently(&gcs(&server)).await;
    assert!(server.objects().is_empty());
}

#[tokio::test]
async fn creates() {
    let server = GcsServer::start();
    one_create_wins(&gcs(&server)).await;
}

#[tokio::test]
async fn updates_need_the_present_generation() {
    let server = GcsServer::start();
    let store = gcs(&server);
    let key = Path::from("key");
    let first = store.put(&key, "first".into()).await.unwrap();
    let update = |bytes: &'static str, version: object_store::UpdateVersion| {
        let options = PutOptions { mode: PutMode::Update(version), ..PutOptions::default() };
        store.put_opts(&key, bytes.into(), options)
    };
    update("second", first.clone().into()).await.unwrap();
    assert!(matches!(update("third", first.into()).await, Err(Error::Precondition { .. })));
    assert_eq!(server.objects()["key"], b"second");
}

#[tokio::test]
async fn copies() {
    let server = GcsServer::start();
    let store = gcs(&server);
    let (from, to) = (Path::from("from/a b"), Path::from("to"));
    store.put(&from, "copied".into()).await.unwrap();
    let create = CopyOptions { mode: CopyMode::Create, ..CopyOptions::default() };
    store.copy_opts(&from, &to, create.clone()).await.unwrap();
    assert!(matches!(store.copy_opts(&from, &to, create).await, Err(Error::AlreadyExists { .. })));
    assert_eq!(server.objects()["to"], b"copied");
}

#[tokio::test]
async fn multipart() {
    let server = GcsServer::start();
    let store = gcs(&server);
    assert_eq!(parts_become_an_object(&store).await, server.objects()["object"]);
    assert_eq!(server.open_uploads(), 0);
    small_parts_are_refused(&store).await;
    assert_eq!(server.open_uploads(), 0);
}

#[tokio::test]
async fn aborts() {
    let server = GcsServer::start();
    let store = gcs(&server);
    let mut upload = store.put_multipart(&Path::from("given up")).await.unwrap();
    upload.put_part("part".into()).await.unwrap();
    assert_eq!(server.open_uploads(), 1);
    upload.abort().await.unwrap();
    assert_eq!(server.open_uploads(), 0);
    assert!(server.objects().is_empty());
    let late = upload.put_part("late".into()).await.unwrap_err();
    assert!(late.to_string().contains("NoSuchUpload"), "{late}");
}

#[tokio::test]
async fn a_wrong_token_is_refused_on_every_request() {
    let server = GcsServer::start();
    let store = gcs_builder(&server).with_bearer_token("wrong").build().unwrap();
    let key = Path::from("key");
    let refusals = [
        store.put(&key, "x".into()).await.map(drop).unwrap_err(),
        store.get(&key).await.map(drop).unwrap_err(),
        store.put_multipart(&key).await.map(drop).unwrap_err(),
        store.delete(&key).await.unwrap_err(),
    ];
    for refused in refusals {
        assert!(matches!(refused, Error::Unauthenticated { .. }), "{refused}");
        assert!(refused.to_string().contains("AuthenticationRequired"), "{refused}");
    }
    let refused = store.list_with_delimiter(None).await.unwrap_err();
    assert!(refused.to_string().contains("AuthenticationRequired"), "{refused}");
}

#[tokio::test]
async fn a_missing_bucket_is_an_error_everywhere() {
    let server = GcsServer::start();
    let store = gcs_builder(&server).with_bucket_name("no-such-bucket").build().unwrap();
    let key = Path::from("key");
    let refusals = [
        store.put(&key, "x".into()).await.map(drop).unwrap_err(),
        store.get(&key).await.map(drop).unwrap_err(),
        store.put_multipart(&key).await.map(drop).unwrap_err(),
        store.list_with_delimiter(None).await.map(drop).unwrap_err(),
        store.delete(&key).await.unwrap_err(),
    ];
    for refused in refusals {
        assert!(refused.to_string().contains("NoSuchBucket"), "{refused}");
    }
}

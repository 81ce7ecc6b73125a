//! The S3 server, through the client of `object_store`.

use crate::common::*;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use object_store::aws::AmazonS3ConfigKey;
use object_store::path::Path;
use object_store::{ClientOptions, Error, ObjectStore, ObjectStoreExt, RetryConfig};
use test_servers::{Fault, S3Server};

#[tokio::test]
async fn objects() {
    let server = S3Server::start();
    let store = s3(&server);
    objects_are_written_read_and_deleted(&store).await;
    empty_objects_are_stored(&store).await;
    assert_eq!(server.open_uploads(), 0);
}

#[tokio::test]
async fn keys() {
    a_key_may_be_the_prefix_of_another(&s3(&S3Server::start())).await;
    let server = S3Server::start();
    assert_eq!(odd_keys_are_stored(&s3(&server)).await, server.objects());
}

#[tokio::test]
async fn listings() {
    let server = S3Server::start();
    listings_have_pages(&s3(&server)).await;
    assert!(server.wire().requests().iter().any(|request| request.parameter("continuation-token").is_some()));
}

#[tokio::test]
async fn listings_during_deletes() {
    let server = S3Server::start();
    listings_and_deletes_run_concurrently(&s3(&server)).await;
    assert!(server.objects().is_empty());
}

#[tokio::test]
async fn creates() {
    let server = S3Server::start();
    one_create_wins(&s3(&server)).await;
}

#[tokio::test]
async fn creates_without_preconditions() {
    let server = S3Server::start_without_preconditions();
    let store = s3(&server);
    create(&store, "once", "first").await.unwrap();
    create(&store, "once", "second").await.unwrap();
    assert_eq!(server.objects()["once"], b"second");
}

#[tokio::test]
async fn multipart() {
    let server = S3Server::start();
    let store = s3(&server);
    assert_eq!(parts_become_an_object(&store).await, server.objects()["object"]);
    assert_eq!(server.open_uploads(), 0);
    small_parts_are_refused(&store).await;
    assert_eq!(server.open_uploads(), 0);
}

#[tokio::test]
async fn aborts() {
    let server = S3Server::start();
    let store = s3(&server);
    let mut upload = store.put_multipart(&Path::from("given up")).await.unwrap();
    upload.put_part("part".into()).await.unwrap();
    assert_eq!(server.open_uploads(), 1);
    upload.abort().await.unwrap();
    assert_eq!(server.open_uploads(), 0);
    assert!(server.objects().is_empty());
    let late = upload.put_part("late".into()).await.unwrap_err();
    assert!(late.to_string().contains("NoSuchUpload"), "{late}");
    assert_eq!(server.open_uploads(), 0, "the late part started an upload");
}

#[tokio::test]
async fn unknown_users_are_refused() {
    let server = S3Server::start();
    let key = Path::from("key");
    let wrong_secret = s3_builder(&server).with_secret_access_key("wrong").build().unwrap();
    let refused = wrong_secret.put(&key, "x".into()).await.unwrap_err();
    assert!(matches!(refused, Error::PermissionDenied { .. }), "{refused}");
    assert!(refused.to_string().contains("SignatureDoesNotMatch"), "{refused}");

    let unknown = s3_builder(&server).with_access_key_id("AKIDUNKNOWN").build().unwrap();
    let refused = unknown.get(&key).await.unwrap_err();
    assert!(matches!(refused, Error::PermissionDenied { .. }), "{refused}");
    assert!(refused.to_string().contains("InvalidAccessKeyId"), "{refused}");

    let anonymous = s3_builder(&server).with_skip_signature(true).build().unwrap();
    let refused = anonymous.get(&key).await.unwrap_err();
    assert!(refused.to_string().contains("AccessDenied"), "{refused}");
    assert!(server.objects().is_empty());
}

#[tokio::test]
async fn a_missing_bucket_is_an_error_everywhere() {
    let server = S3Server::start();
    let store = s3_builder(&server).with_bucket_name("no-such-bucket").build().unwrap();
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
    assert!(matches!(store.head(&key).await, Err(Error::NotFound { .. })));
    assert_eq!(server.open_uploads(), 0);
}

/// If the response to a completion is lost, the upload is complete. The client that retries learns that it has ended.
#[tokio::test]
async fn a_repeated_completion_finds_no_upload() {
    let server = S3Server::start();
    let once_more = RetryConfig { max_retries: 1, ..RetryConfig::default() };
    let store = s3_builder(&server).with_retry(once_more).build().unwrap();
    let mut upload = store.put_multipart(&Path::from("object")).await.unwrap();
    upload.put_part("all of it".into()).await.unwrap();
    server.wire().reset_log();
    server.wire().set(|request, number| (request.is_complete() && number == 0).then_some(Fault::ResetAfter));
    let refused = upload.complete().await.unwrap_err();
    assert!(refused.to_string().contains("NoSuchUpload"), "{refused}");
    assert_eq!(server.wire().requests().len(), 2);
    assert_eq!(server.objects()["object"], b"all of it");
    assert_eq!(server.open_uploads(), 0);
}

#[tokio::test]
async fn bytes_that_do_not_match_their_checksum_are_not_stored() {
    let server = S3Server::start();
    let of_other_bytes = HeaderValue::from_static("47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
    let headers = HeaderMap::from_iter([(HeaderName::from_static("x-amz-checksum-sha256"), of_other_bytes)]);
    let options = ClientOptions::new().with_allow_http(true).with_default_headers(headers);
    let store = s3_builder(&server).with_client_options(options).build().unwrap();
    let refused = store.put(&Path::from("key"), "bytes".into()).await.unwrap_err();
    assert!(refused.to_string().contains("BadDigest"), "{refused}");
    let mut upload = store.put_multipart(&Path::from("key")).await.unwrap();
    let refused = upload.put_part("bytes".into()).await.unwrap_err();
    assert!(refused.to_string().contains("BadDigest"), "{refused}");
    upload.abort().await.unwrap();
    assert!(server.objects().is_empty());
}

#[tokio::test]
async fn requested_encryption_is_accepted() {
    let server = S3Server::start();
    let encryption: AmazonS3ConfigKey = "aws_server_side_encryption".parse().unwrap();
    let store = s3_builder(&server).with_config(encryption, "AES256").build().unwrap();
    store.put(&Path::from("key"), "bytes".into()).await.unwrap();
    let mut upload = store.put_multipart(&Path::from("parts")).await.unwrap();
    upload.put_part("bytes".into()).await.unwrap();
    upload.complete().await.unwrap();
    let log = server.wire().requests();
    let asked = log.iter().filter(|request| request.header("x-amz-server-side-encryption") == Some("AES256"));
    assert_eq!(asked.filter(|request| request.is_put() || request.is_initiate()).count(), 2);
}

#[tokio::test]
async fn objects_with_a_customers_key_are_read_with_that_key_only() {
    let server = S3Server::start();
    let builder = s3_builder(&server).with_ssec_encryption("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=");
    let with_key = builder.build().unwrap();
    let key = Path::from("key");
    with_key.put(&key, "bytes".into()).await.unwrap();
    assert_eq!(with_key.get(&key).await.unwrap().bytes().await.unwrap(), "bytes");
    with_key.head(&key).await.unwrap();
    let refused = s3(&server).get(&key).await.unwrap_err();
    assert!(refused.to_string().contains("InvalidRequest"), "{refused}");
    s3(&server).head(&key).await.unwrap_err();
}

/// It works without a runtime, and in runtimes with one or many threads.
#[test]
fn it_starts_and_stops_anywhere() {
    let server = S3Server::start();
    let address = server.endpoint().trim_start_matches("http://").to_owned();
    std::net::TcpStream::connect(&address).unwrap();
    let other = S3Server::start();
    assert_ne!(server.endpoint(), other.endpoint());
    drop(server);
    std::net::TcpStream::connect(&address).unwrap_err();
    tokio::runtime::Builder::new_multi_thread().build().unwrap().block_on(async { drop(other) });
}

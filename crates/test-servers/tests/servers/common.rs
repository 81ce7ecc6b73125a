//! Clients of both servers, and assertions that hold for both. `s3.rs` and `gcs.rs` call them; no test is here.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::join_all;
use futures::{StreamExt, TryStreamExt};
use object_store::aws::{AmazonS3Builder, Checksum};
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::path::Path;
use object_store::{
    ClientOptions, Error, GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload,
    RetryConfig,
};
use test_servers::{GcsServer, S3Server};

pub(crate) const MIB: usize = 1024 * 1024;

/// Makes every fault visible.
pub(crate) fn no_retries() -> RetryConfig {
    RetryConfig { max_retries: 0, ..RetryConfig::default() }
}

pub(crate) fn s3_builder(server: &S3Server) -> AmazonS3Builder {
    AmazonS3Builder::new()
        .with_endpoint(server.endpoint())
        .with_region("us-east-1")
        .with_bucket_name(S3Server::BUCKET)
        .with_access_key_id(S3Server::ACCESS_KEY)
        .with_secret_access_key(S3Server::SECRET_KEY)
        .with_client_options(ClientOptions::new().with_allow_http(true))
        .with_retry(no_retries())
}

pub(crate) fn s3(server: &S3Server) -> Arc<dyn ObjectStore> {
    Arc::new(s3_builder(server).with_checksum_algorithm(Checksum::SHA256).build().unwrap())
}

pub(crate) fn gcs_builder(server: &GcsServer) -> GoogleCloudStorageBuilder {
    GoogleCloudStorageBuilder::new()
        .with_base_url(&server.endpoint())
        .with_bucket_name(GcsServer::BUCKET)
        .with_bearer_token(GcsServer::TOKEN)
        .with_retry(no_retries())
}

pub(crate) fn gcs(server: &GcsServer) -> Arc<dyn ObjectStore> {
    Arc::new(gcs_builder(server).build().unwrap())
}

pub(crate) async fn create(store: &dyn ObjectStore, key: &str, bytes: &'static str) -> object_store::Result<()> {
    let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
    store.put_opts(&Path::from(key), bytes.into(), options).await.map(drop)
}

pub(crate) async fn objects_are_written_read_and_deleted(store: &dyn ObjectStore) {
    let key = Path::from("snapshots/one/data.bin");
    let first = store.put(&key, "first".into()).await.unwrap();
    store.put(&key, "0123456789".into()).await.unwrap();
    let meta = store.head(&key).await.unwrap();
    assert_eq!(meta.size, 10);
    assert_ne!(meta.e_tag, first.e_tag);
    assert_eq!(store.get(&key).await.unwrap().bytes().await.unwrap(), "0123456789");
    assert_eq!(store.get_range(&key, 2..5).await.unwrap(), "234");
    let tail = GetOptions { range: Some(GetRange::Suffix(3)), ..GetOptions::default() };
    assert_eq!(store.get_opts(&key, tail).await.unwrap().bytes().await.unwrap(), "789");
    assert!(store.get_range(&key, 10..12).await.is_err());

    let known = GetOptions { if_none_match: meta.e_tag.clone(), ..GetOptions::default() };
    assert!(matches!(store.get_opts(&key, known).await, Err(Error::NotModified { .. })));
    let another = GetOptions { if_match: first.e_tag, ..GetOptions::default() };
    assert!(matches!(store.get_opts(&key, another).await, Err(Error::Precondition { .. })));

    let prefix = Path::from("snapshots/one");
    assert!(matches!(store.head(&prefix).await, Err(Error::NotFound { .. })));
    assert!(matches!(store.get(&prefix).await, Err(Error::NotFound { .. })));

    store.delete(&key).await.unwrap();
    assert!(matches!(store.head(&key).await, Err(Error::NotFound { .. })));
    assert!(matches!(store.get(&key).await, Err(Error::NotFound { .. })));
    store.put(&prefix, "an object".into()).await.unwrap();
}

pub(crate) async fn empty_objects_are_stored(store: &dyn ObjectStore) {
    let key = Path::from("empty");
    store.put(&key, PutPayload::new()).await.unwrap();
    assert_eq!(store.head(&key).await.unwrap().size, 0);
    assert_eq!(store.get(&key).await.unwrap().bytes().await.unwrap(), "");
    let parts = Path::from("empty of parts");
    store.put_multipart(&parts).await.unwrap().complete().await.unwrap();
    assert_eq!(store.head(&parts).await.unwrap().size, 0);
}

/// Asserts that the key of one object may be a prefix of the key of another.
pub(crate) async fn a_key_may_be_the_prefix_of_another(store: &dyn ObjectStore) {
    let [file, below] = ["x", "x/y"].map(Path::from);
    store.put(&file, "file".into()).await.unwrap();
    store.put(&below, "below".into()).await.unwrap();
    assert_eq!(store.get(&file).await.unwrap().bytes().await.unwrap(), "file");
    let level = store.list_with_delimiter(None).await.unwrap();
    assert_eq!((level.objects.len(), level.common_prefixes), (1, vec![Path::from("x")]));
    store.delete(&file).await.unwrap();
    assert_eq!(store.get(&below).await.unwrap().bytes().await.unwrap(), "below");
}

/// Returns the objects that it wrote.
pub(crate) async fn odd_keys_are_stored(store: &dyn ObjectStore) -> BTreeMap<String, Vec<u8>> {
    let keys = ["a b", "a+b", "100%", "%41", "a&b=c", "a#b?c", "dir with space/größe-日本", "tilde~'()!*,;:@$"];
    let mut written = BTreeMap::new();
    for key in keys {
        let path = Path::parse(key).unwrap();
        store.put(&path, key.into()).await.unwrap();
        assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), key, "{key}");
        written.insert(key.to_owned(), key.as_bytes().to_vec());
    }
    let listed: Vec<_> = store.list(None).map_ok(|meta| meta.location.to_string()).try_collect().await.unwrap();
    assert_eq!(listed, written.keys().cloned().collect::<Vec<_>>());
    written
}

pub(crate) async fn listings_have_pages(store: &dyn ObjectStore) {
    let keys: Vec<_> = (0..1_100).map(|number| Path::from(format!("page/{}/{number:04}", number % 2))).collect();
    let puts = futures::stream::iter(&keys).map(|key| store.put(key, "x".into())).buffer_unordered(16);
    puts.try_collect::<Vec<_>>().await.unwrap();
    store.put(&Path::from("page/file"), "x".into()).await.unwrap();
    store.put(&Path::from("pages"), "x".into()).await.unwrap();

    let mut expected: Vec<_> = keys.iter().map(Path::to_string).chain(["page/file".to_owned()]).collect();
    expected.sort_unstable();
    let listed = store.list(Some(&Path::from("page"))).map_ok(|meta| meta.location.to_string());
    assert_eq!(listed.try_collect::<Vec<_>>().await.unwrap(), expected);

    let level = store.list_with_delimiter(Some(&Path::from("page"))).await.unwrap();
    assert_eq!(level.common_prefixes, [Path::from("page/0"), Path::from("page/1")]);
    let files: Vec<_> = level.objects.iter().map(|meta| meta.location.as_ref()).collect();
    assert_eq!(files, ["page/file"]);

    let offset = store.list_with_offset(Some(&Path::from("page/1")), &Path::from("page/1/1095"));
    let rest: Vec<_> = offset.map_ok(|meta| meta.location.to_string()).try_collect().await.unwrap();
    assert_eq!(rest, ["page/1/1097", "page/1/1099"]);

    let doomed = futures::stream::iter(keys.into_iter().map(Ok)).boxed();
    assert_eq!(store.delete_stream(doomed).try_collect::<Vec<_>>().await.unwrap().len(), 1_100);
    assert_eq!(store.list(None).count().await, 2);
}

pub(crate) async fn one_create_wins(store: &dyn ObjectStore) {
    create(store, "once", "first").await.unwrap();
    assert!(matches!(create(store, "once", "second").await, Err(Error::AlreadyExists { .. })));
    assert_eq!(store.get(&Path::from("once")).await.unwrap().bytes().await.unwrap(), "first");

    let racing = join_all((0..16).map(|_| create(store, "raced/by/many", "x"))).await;
    assert_eq!(racing.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{racing:?}");
    let lost = racing.into_iter().filter_map(Result::err);
    assert!(lost.into_iter().all(|error| matches!(error, Error::AlreadyExists { .. })));
}

/// Returns the bytes of the object that it uploaded.
pub(crate) async fn parts_become_an_object(store: &dyn ObjectStore) -> Vec<u8> {
    let bytes: Vec<u8> = (0..16 * MIB + 17).map(|at| (at / MIB * 7 + at % 251) as u8).collect();
    let key = Path::from("object");
    let mut upload = store.put_multipart(&key).await.unwrap();
    let parts = bytes.chunks(5 * MIB).map(|part| upload.put_part(part.to_vec().into()));
    futures::future::try_join_all(parts).await.unwrap();
    assert!(
        matches!(store.head(&key).await, Err(Error::NotFound { .. })),
        "the object exists before the upload is complete"
    );
    upload.complete().await.unwrap();
    assert!(upload.complete().await.is_err(), "an upload was completed twice");
    assert_eq!(store.get(&key).await.unwrap().bytes().await.unwrap(), bytes);
    bytes
}

pub(crate) async fn small_parts_are_refused(store: &dyn ObjectStore) {
    let mut upload = store.put_multipart(&Path::from("small")).await.unwrap();
    for _ in 0..2 {
        upload.put_part("too small to be followed".into()).await.unwrap();
    }
    let refused = upload.complete().await.unwrap_err();
    assert!(refused.to_string().contains("EntityTooSmall"), "{refused}");
    upload.abort().await.unwrap();
}

/// Asserts that a listing does not fail if objects are deleted at the same time.
pub(crate) async fn listings_and_deletes_run_concurrently(store: &dyn ObjectStore) {
    let keys: Vec<_> = (0..60).map(|number| Path::from(format!("going/{number:04}/data"))).collect();
    let puts = futures::stream::iter(&keys).map(|key| store.put(key, "x".into())).buffer_unordered(16);
    puts.try_collect::<Vec<_>>().await.unwrap();
    let deletes = futures::stream::iter(&keys).map(|key| store.delete(key)).buffer_unordered(4);
    let lists = async {
        while store.list(None).try_collect::<Vec<_>>().await.unwrap().len() > 1 {
            store.list_with_delimiter(Some(&Path::from("going"))).await.unwrap();
        }
    };
    futures::join!(async { deletes.try_collect::<Vec<_>>().await.unwrap() }, lists);
}

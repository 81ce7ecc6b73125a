//! Storage classes: the data files get the class of the option, all other objects that of the bucket. And objects that
//! a lifecycle rule has moved to an archive.

use std::sync::Arc;

use ruvector_snapshot::store::{SnapshotStore, StoreConfig, StoreOptions, open};
use ruvector_snapshot::{CopyOptions, CopySelection, CreateOptions, ErrorKind, Remedy, SnapshotManager};
use ruvector_snapshot_format::layout::{self, DataFile};
use test_fixtures::{TestDir, create_full};
use test_servers::{Fault, Request};

use super::fixture::{PART_BYTES, SERVERS, Server, make_large, make_small};
use super::stub_server::{StubServer, response};

fn is_write(request: &&Request) -> bool {
    request.is_put() || request.is_initiate()
}

/// Asserts that the data files were written with this class, and everything else without one. Returns how many data
/// files were written.
fn assert_classes(server: &Server, class: Option<&str>) -> usize {
    let header = if server.is_s3() { "x-amz-storage-class" } else { "x-goog-storage-class" };
    let requests = server.wire().requests();
    let is_data = |request: &Request| DataFile::ALL.iter().any(|file| request.key().ends_with(file.name()));
    for request in requests.iter().filter(is_write) {
        assert_eq!(request.header(header), class.filter(|_| is_data(request)), "{request:?}");
    }
    server.wire().reset_log();
    requests.iter().filter(is_write).filter(|request| is_data(request)).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_data_files_of_every_verb_that_writes_have_the_class() {
    let dir = TestDir::new();
    let (small, large) = (make_small(&dir, "small.db", 5), make_large(&dir));
    for (server, given, class) in [(Server::s3(), "glacier_ir", "GLACIER_IR"), (Server::gcs(), "ARCHIVE", "ARCHIVE")] {
        let manager = server.manager(&dir, &[("storage_class", given)]);
        let made = create_full(&manager, &large, "large").await.unwrap();
        assert!(made.files[DataFile::Vectors.name()] > PART_BYTES, "it must be a multipart upload");
        assert_eq!(assert_classes(&server, Some(class)), 3);
        assert!(manager.verify_snapshot(&made.id).await.unwrap());

        let full = create_full(&manager, &small, "small").await.unwrap();
        let options = CreateOptions::default().base_id(&full.id);
        let increment = manager.create_snapshot_of_file(&small, "small", &options).await.unwrap();
        manager.pin_snapshot(&increment.id).await.unwrap();
        manager.compact_snapshot(&increment.id, None).await.unwrap();
        assert_eq!(assert_classes(&server, Some(class)), 9);

        // Without the option there is no header, and the target of a copy has an option of its own.
        let plain = server.manager(&dir, &[]);
        create_full(&plain, &small, "plain").await.unwrap();
        assert_eq!(assert_classes(&server, None), 3);
        let target = if server.is_s3() { Server::gcs() } else { Server::s3() };
        let to = target.manager(&dir, &[("storage_class", "STANDARD")]);
        copy_all(&plain, &to).await;
        assert_eq!(assert_classes(&server, None), 0);
        assert_eq!(assert_classes(&target, Some("STANDARD")), 15);
    }
}

async fn copy_all(from: &SnapshotManager, to: &SnapshotManager) {
    let plan = from.plan_copy(to, &CopySelection::All, &CopyOptions::default().pins(true)).await.unwrap();
    assert!(from.apply_copy(to, &plan, None).await.unwrap().is_complete());
}

fn azure(server: &StubServer, class: &str) -> Arc<dyn SnapshotStore> {
    let endpoint = format!("http://{}", server.address());
    let options: StoreOptions = [
        ("endpoint", endpoint.as_str()),
        ("allow_http", "true"),
        ("account_name", "account"),
        ("bearer_token", "test-servers-token"),
        ("retry_timeout", "300ms"),
        ("storage_class", class),
    ]
    .into_iter()
    .collect();
    open(&"az://container".parse().unwrap(), &StoreConfig::default().options(options)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn azure_gets_the_tier_with_the_request_that_makes_the_object() {
    let server = StubServer::answering(|_| response("201 Created", "etag: \"e\"\r\n", ""));
    let store = azure(&server, "cool");
    store.create("created", "small".into()).await.unwrap();
    for (key, bytes) in [("one-part", 1), ("two-parts", PART_BYTES as usize + 1)] {
        let mut upload = store.upload(key, None).await.unwrap();
        upload.write(vec![0; bytes].into()).await.unwrap();
        upload.finish().await.unwrap();
    }
    let requests = server.requests();
    let lines = |request: &String| request.lines().next().unwrap().to_owned();
    let with_tier = requests.iter().filter(|request| request.contains("x-ms-access-tier: Cool\r\n"));
    let with_tier: Vec<String> = with_tier.map(lines).collect();
    assert_eq!(with_tier.len(), 2, "{with_tier:?}");
    assert!(with_tier[0].contains("one-part"), "{with_tier:?}");
    assert!(with_tier[1].contains("two-parts") && with_tier[1].contains("comp=blocklist"), "{with_tier:?}");
    assert_eq!(requests.len(), 5);
}

#[test]
fn classes_that_must_be_thawed_and_unknown_ones_are_refused_by_name() {
    let cases = [
        ("s3", "DEEP_ARCHIVE", "is DEEP_ARCHIVE, whose objects cannot be read", "use GLACIER_IR"),
        ("s3", "glacier", "is GLACIER, whose objects cannot be read", "use GLACIER_IR"),
        ("s3", "NEARLINE", "must be one of STANDARD, STANDARD_IA, ONEZONE_IA, INTELLIGENT_TIERING,", "GLACIER_IR"),
        ("gs", "GLACIER_IR", "must be one of STANDARD, NEARLINE, COLDLINE, ARCHIVE", ""),
        ("az", "archive", "is Archive, whose objects cannot be read", "use cold"),
        ("az", "STANDARD", "must be one of Hot, Cool, Cold", ""),
        ("s3", "", "is empty", ""),
    ];
    for (scheme, class, problem, remedy) in cases {
        let options = StoreConfig::default().options([("storage_class", class)].into_iter().collect());
        let error = open(&format!("{scheme}://bucket").parse().unwrap(), &options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
        let text = error.to_string();
        assert!(text.contains("the option storage_class") && text.contains(problem) && text.contains(remedy), "{text}");
    }
    let options = StoreConfig::default().options([("storage_class", "STANDARD")].into_iter().collect());
    for location in ["memory://", "/tmp"] {
        let error = open(&location.parse().unwrap(), &options).unwrap_err();
        assert!(error.to_string().contains("takes no options"), "{error}");
    }
}

/// The snapshot is intact, and the credentials are right.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_in_an_archive_says_what_to_do() {
    let dir = TestDir::new();
    let small = make_small(&dir, "small.db", 5);
    let server = SERVERS[0]();
    let manager = server.manager(&dir, &[]);
    let made = create_full(&manager, &small, "moved").await.unwrap();
    let (code, message) = ("InvalidObjectState", "The operation is not valid for the object's storage class");
    server.wire().set(move |request, _| {
        let is_data = request.is_get() && request.key().ends_with(".bin.gz");
        is_data.then_some(Fault::Error { status: 403, code, message })
    });
    let mut errors = vec![
        manager.verify_snapshot(&made.id).await.unwrap_err(),
        manager.restore_snapshot(&made.id).await.map(drop).unwrap_err(),
        manager.restore_snapshot_to(&made.id, dir.restored(), &Default::default()).await.unwrap_err(),
    ];
    let options = CreateOptions::default().base_id(&made.id);
    errors.push(manager.create_snapshot_of_file(&small, "increment", &options).await.unwrap_err());
    for error in errors {
        assert_eq!((error.kind(), error.remedy()), (ErrorKind::Unavailable, Some(Remedy::BringFromArchive)), "{error}");
        let text = error.to_string();
        for words in
            [".bin.gz", "intact, but in an archive class", "InvalidObjectState", "bring the objects", "lifecycle"]
        {
            assert!(text.contains(words), "{words:?} is not in: {text}");
        }
    }
    dir.assert_nothing_restored();
    // A listing needs only the small objects.
    assert_eq!(manager.list_snapshots().await.unwrap(), std::slice::from_ref(&made));

    // The same of an ancestor, even if its metadata.json was moved.
    server.wire().clear();
    let increment = manager.create_snapshot_of_file(&small, "increment", &options).await.unwrap();
    let key = layout::key(&made.id.parse().unwrap(), layout::METADATA_JSON);
    server.wire().set(move |request, _| {
        (request.is_get() && request.key().ends_with(&key)).then_some(Fault::Error { status: 403, code, message })
    });
    for error in [
        manager.chain(&increment.id).await.map(drop).unwrap_err(),
        manager.restore_snapshot(&increment.id).await.map(drop).unwrap_err(),
    ] {
        assert_eq!((error.kind(), error.remedy()), (ErrorKind::Unavailable, Some(Remedy::BringFromArchive)), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_class_that_the_server_does_not_have_names_the_option() {
    let body = "<Error><Code>InvalidStorageClass</Code><Message>Invalid storage class.</Message></Error>";
    let server = StubServer::responding("400 Bad Request", "", body);
    let store = server.s3(&[("storage_class", "STANDARD_IA")]);
    let mut upload = store.upload("key", None).await.unwrap();
    upload.write("bytes".into()).await.unwrap();
    let error = upload.finish().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
    assert!(error.to_string().contains("check storage_class"), "{error}");
}

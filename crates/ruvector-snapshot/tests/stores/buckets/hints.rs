//! Errors whose cause is a setting name the setting, and what to set it to.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::thread;

use futures::TryStreamExt as _;
use ruvector_snapshot::store::{SnapshotStore, StoreConfig, StoreOptions, open};
use ruvector_snapshot::{ErrorKind, SnapshotError, SnapshotManager};
use test_fixtures::{TestDir, create_full};
use test_servers::{GcsServer, S3Server};

use super::fixture::{Server, make_small, uncompressed_config};
use super::stub_server::{StubServer, response};

const CHECKSUM: &str = "x-amz-checksum-sha256";

#[track_caller]
fn assert_advice(error: &SnapshotError, words: &[&str]) {
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
    for word in words {
        assert!(error.to_string().contains(word), "{word:?} is not in: {error}");
    }
}

fn error_body(code: &str, message: &str) -> String {
    format!("<Error><Code>{code}</Code><Message>{message}</Message></Error>")
}

/// Returns a server that refuses requests with a checksum, as those do that were written before it.
fn refusing_checksums(status: &'static str, body: String) -> StubServer {
    StubServer::answering(move |request| match request.contains(CHECKSUM) {
        true => response(status, "", &body),
        false => response("200 OK", "etag: \"e\"\r\n", ""),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_checksum_names_the_option_with_which_the_server_can_be_used() {
    let implied = "A header you provided implies functionality that is not implemented";
    for (status, code, message) in [
        (
            "400 Bad Request",
            "InvalidArgument",
            "Unsupported header 'x-amz-checksum-sha256' received for this API call.",
        ),
        ("400 Bad Request", "InvalidRequest", "Value for x-amz-checksum-sha256 header is invalid."),
        ("501 Not Implemented", "NotImplemented", "Header 'x-amz-checksum-sha256' with value 'x' not implemented"),
        (
            "400 Bad Request",
            "XAmzContentSHA256Mismatch",
            "The provided checksum header does not match what was computed.",
        ),
    ] {
        let server = refusing_checksums(status, error_body(code, message));
        let error = server.s3(&[]).create("key", "bytes".into()).await.unwrap_err();
        assert_advice(&error, &["key: ", "-o checksum_algorithm=none", code]);
        let chosen = server.s3(&[("checksum_algorithm", "none")]);
        chosen.create("key", "bytes".into()).await.unwrap();
    }
    // A server that does not say which header it means, and a write without a precondition.
    let server = refusing_checksums("501 Not Implemented", error_body("NotImplemented", implied));
    let mut upload = server.s3(&[]).upload("key", None).await.unwrap();
    upload.write("bytes".into()).await.unwrap();
    assert_advice(&upload.finish().await.unwrap_err(), &["-o checksum_algorithm=none", "NotImplemented"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_that_does_not_mean_the_checksum_does_not_name_it() {
    let refused = error_body("InvalidArgument", "the checksum of the moon");
    let server = StubServer::responding("400 Bad Request", "", &refused);
    let error = server.s3(&[]).get("key", 1).await.unwrap_err();
    assert!(!error.to_string().contains("checksum_algorithm"), "no checksum was sent: {error}");
    let server = StubServer::responding("400 Bad Request", "", &error_body("BadDigest", "checksum did not match"));
    let error = server.s3(&[]).create("key", "bytes".into()).await.unwrap_err();
    assert!(!error.to_string().contains("checksum_algorithm"), "the checksum was useful: {error}");
}

/// Opens the bucket of a server with the bucket in the address too. Nothing may be written.
async fn with_the_bucket_twice(server: &Server, option: &str, bucket: &str) -> Vec<SnapshotError> {
    let dir = TestDir::new();
    let database = make_small(&dir, "a.db", 3);
    let address = format!("{}/{bucket}/", server.endpoint());
    let store = server.open(&[(option, &address)]);
    let manager = SnapshotManager::with_store(uncompressed_config(&dir), store).unwrap();
    let errors = vec![
        manager.list().await.unwrap_err(),
        create_full(&manager, &database, "name").await.unwrap_err(),
        manager.cleanup_old_snapshots(1).await.unwrap_err(),
    ];
    assert!(server.objects().is_empty(), "{:?}", server.objects().keys());
    errors
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_contains_the_bucket_is_named() {
    let servers = [(Server::s3(), "endpoint", S3Server::BUCKET), (Server::gcs(), "base_url", GcsServer::BUCKET)];
    for (server, option, bucket) in servers {
        for error in with_the_bucket_twice(&server, option, bucket).await {
            let advice = format!("write the address without {bucket}");
            assert_advice(&error, &[&format!("the option {option} contains the bucket"), &advice]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_may_end_like_the_bucket_if_the_server_knows_it() {
    let listing = "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>";
    let server = StubServer::responding("200 OK", "", listing);
    let address = format!("http://{}/bucket", server.address());
    let listed: Vec<_> = server.s3(&[("endpoint", &address)]).list("").try_collect().await.unwrap();
    assert!(listed.is_empty());
    let missing = StubServer::responding("404 Not Found", "", &error_body("NoSuchKey", "No."));
    let address = format!("http://{}/bucket", missing.address());
    let error = missing.s3(&[("endpoint", &address)]).get("key", 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_says_what_to_check() {
    let to_https = StubServer::responding("301 Moved Permanently", "location: https://127.0.0.1/x\r\n", "");
    assert_advice(&to_https.s3(&[]).get("key", 1).await.unwrap_err(), &["with https://"]);
    let elsewhere = StubServer::responding("307 Temporary Redirect", "location: http://127.0.0.2/x\r\n", "");
    let error = elsewhere.s3(&[]).create("key", "x".into()).await.unwrap_err();
    assert_advice(&error, &["redirects to another address", "region"]);
}

/// Returns the address of a server that answers the first bytes of every connection with these.
fn answering_with(bytes: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for mut connection in listener.incoming().flatten() {
            let mut read = [0; 1024];
            let _result = connection.read(&mut read).and_then(|_| connection.write_all(bytes));
        }
    });
    address
}

fn s3_at(endpoint: &str) -> Arc<dyn SnapshotStore> {
    let options: StoreOptions = [
        ("endpoint", endpoint),
        ("allow_http", "true"),
        ("access_key_id", "AKID"),
        ("secret_access_key", "secret"),
        ("shared_credentials_file", "/dev/null"),
        ("config_file", "/dev/null"),
    ]
    .into_iter()
    .collect();
    open(&"s3://bucket".parse().unwrap(), &StoreConfig::default().options(options)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn http_to_a_server_of_tls_and_the_reverse_say_what_to_write() {
    // Go, nginx, and a server that sends an alert of TLS.
    for text in ["Client sent an HTTP request to an HTTPS server.\n", "The plain HTTP request was sent to HTTPS port"] {
        let server = StubServer::responding("400 Bad Request", "", text);
        assert_advice(&server.s3(&[]).get("key", 1).await.unwrap_err(), &["with https://"]);
    }
    let alert = answering_with(b"\x15\x03\x01\x00\x02\x02\x46");
    let error = s3_at(&format!("http://{alert}")).get("key", 1).await.unwrap_err();
    assert_advice(&error, &[&alert, "does not answer in HTTP", "with https://"]);

    let plain = answering_with(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
    let error = s3_at(&format!("https://{plain}")).get("key", 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    for word in [&plain, "does not use TLS", "http://", "allow_http=true"] {
        assert!(error.to_string().contains(word), "{word:?} is not in: {error}");
    }
}

//! Server-side encryption: every request that writes an object carries the encryption of the options.

use ruvector_snapshot_format::layout::DataFile;
use test_fixtures::{TestDir, create_full};
use test_servers::Request;

use super::fixture::{PART_BYTES, Server, make_large, make_small};

const KEY_BASE64: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

fn has(request: &Request, name: &str, value: &str) -> bool {
    request.header(&format!("x-amz-server-side-encryption{name}")) == Some(value)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_write_requests_the_encryption_of_the_options() {
    let dir = TestDir::new();
    let (small, large) = (make_small(&dir, "small.db", 5), make_large(&dir));
    let server = Server::s3();
    let manager = server.manager(&dir, &[("server_side_encryption", "AES256")]);
    let made = create_full(&manager, &large, "large").await.unwrap();
    assert!(made.files[DataFile::Vectors.name()] > PART_BYTES);
    let writes: Vec<_> = server.wire().requests().into_iter().filter(|r| r.is_put() || r.is_initiate()).collect();
    assert_eq!(writes.len(), 5);
    assert!(writes.iter().all(|request| has(request, "", "AES256")), "{writes:?}");
    assert!(manager.verify_snapshot(&made.id).await.unwrap());

    let kms = [
        ("server_side_encryption", "aws:kms"),
        ("sse_kms_key_id", "arn:aws:kms:us-east-1:111122223333:key/k"),
        ("sse_bucket_key_enabled", "true"),
    ];
    let manager = server.manager(&dir, &kms);
    server.wire().reset_log();
    create_full(&manager, &small, "kms").await.unwrap();
    let writes: Vec<_> = server.wire().requests().into_iter().filter(Request::is_put).collect();
    assert_eq!(writes.len(), 5);
    for request in writes {
        assert!(has(&request, "", "aws:kms"), "{request:?}");
        assert!(has(&request, "-aws-kms-key-id", "arn:aws:kms:us-east-1:111122223333:key/k"), "{request:?}");
        assert!(has(&request, "-bucket-key-enabled", "true"), "{request:?}");
    }
}

/// The server does not store a customer key, so reads need it too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_read_and_write_carries_the_customer_key() {
    let dir = TestDir::new();
    let large = make_large(&dir);
    let server = Server::s3();
    let options = [("server_side_encryption", "sse-c"), ("sse_customer_key_base64", KEY_BASE64)];
    let manager = server.manager(&dir, &options);
    let made = create_full(&manager, &large, "large").await.unwrap();
    assert!(manager.verify_snapshot(&made.id).await.unwrap());
    let log = server.wire().requests();
    let of_objects = |request: &&Request| {
        request.is_put() || request.is_initiate() || request.is_part_upload() || request.is_get() || request.is_head()
    };
    assert!(log.iter().filter(of_objects).count() > 15);
    for request in log.iter().filter(of_objects) {
        assert!(has(request, "-customer-algorithm", "AES256"), "{request:?}");
        assert!(has(request, "-customer-key", KEY_BASE64), "{request:?}");
    }
}

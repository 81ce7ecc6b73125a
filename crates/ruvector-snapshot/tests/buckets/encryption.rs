//! Encryption by the server: what was asked for in the options is asked for with every object that is written.

use ruvector_snapshot::format::layout::DataFile;
use test_servers::Request;

use crate::common::Place;
use crate::stores::{PART_BYTES, Server, create, make_large, make_small};

const KEY_BASE64: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

fn has(request: &Request, name: &str, value: &str) -> bool {
    request.header(&format!("x-amz-server-side-encryption{name}")) == Some(value)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_object_asks_for_the_encryption_of_the_options() {
    let place = Place::new();
    let (small, large) = (make_small(&place, "small.db", 5), make_large(&place));
    let server = Server::s3();
    let manager = server.manager(&place, &[("server_side_encryption", "AES256")]);
    let made = create(&manager, &large, "large").await.unwrap();
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
    let manager = server.manager(&place, &kms);
    server.wire().forget();
    create(&manager, &small, "kms").await.unwrap();
    let writes: Vec<_> = server.wire().requests().into_iter().filter(Request::is_put).collect();
    assert_eq!(writes.len(), 5);
    for request in writes {
        assert!(has(&request, "", "aws:kms"), "{request:?}");
        assert!(has(&request, "-aws-kms-key-id", "arn:aws:kms:us-east-1:111122223333:key/k"), "{request:?}");
        assert!(has(&request, "-bucket-key-enabled", "true"), "{request:?}");
    }
}

/// A key of the customer's goes with reads too: the server does not keep it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_of_the_customers_goes_with_every_object() {
    let place = Place::new();
    let large = make_large(&place);
    let server = Server::s3();
    let options = [("server_side_encryption", "sse-c"), ("sse_customer_key_base64", KEY_BASE64)];
    let manager = server.manager(&place, &options);
    let made = create(&manager, &large, "large").await.unwrap();
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

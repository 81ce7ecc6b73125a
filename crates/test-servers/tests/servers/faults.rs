//! What a client without retries observes of each fault, and whether the service executed the request.
#![expect(clippy::disallowed_methods, reason = "the test measures or waits for real time")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::pin::pin;
use std::time::{Duration, Instant};

use crate::common::*;
use futures::future::join_all;
use futures::{FutureExt, StreamExt};
use object_store::path::Path;
use object_store::{ClientOptions, Error, ObjectStoreExt};
use test_servers::{Fault, Gate, GcsServer, S3Server, Wire};

#[tokio::test]
async fn reset_before_stores_nothing() {
    let server = S3Server::start();
    always(server.wire(), Fault::ResetBefore);
    let error = s3(&server).put(&Path::from("key"), vec![7; MIB].into()).await.unwrap_err();
    assert!(is_reset(&error), "{error:?}");
    assert!(server.objects().is_empty());
    assert_eq!(server.wire().requests().len(), 1);
}

#[tokio::test]
async fn reset_after_stores_the_object() {
    let (first, second) = (S3Server::start(), GcsServer::start());
    let key = Path::from("key");
    always(first.wire(), Fault::ResetAfter);
    always(second.wire(), Fault::ResetAfter);
    let error = s3(&first).put(&key, "stored".into()).await.unwrap_err();
    assert!(is_reset(&error), "{error:?}");
    let error = gcs(&second).put(&key, "stored".into()).await.unwrap_err();
    assert!(is_reset(&error), "{error:?}");
    assert_eq!(first.objects()["key"], b"stored");
    assert_eq!(second.objects()["key"], b"stored");
}

#[tokio::test]
async fn status_stores_nothing() {
    let server = S3Server::start();
    for (status, code) in [(500, "InternalError"), (503, "SlowDown"), (403, "AccessDenied"), (429, "SlowDown")] {
        always(server.wire(), Fault::Status(status));
        let error = s3(&server).put(&Path::from("key"), "x".into()).await.unwrap_err().to_string();
        assert!(error.contains(&format!("{status} ")) && error.contains(code), "{error}");
    }
    assert!(server.objects().is_empty());
}

#[tokio::test]
async fn status_after_stores_the_object() {
    let server = GcsServer::start();
    always(server.wire(), Fault::StatusAfter(500));
    let error = create(&gcs(&server), "key", "stored").await.unwrap_err();
    assert!(error.to_string().contains("InternalError"), "{error}");
    assert_eq!(server.objects()["key"], b"stored");
}

#[test]
fn retry_after_is_a_header() {
    let server = S3Server::start();
    always(server.wire(), Fault::RetryAfter { status: 503, seconds: 7 });
    let response = raw_response(&server.endpoint());
    assert!(response.starts_with("HTTP/1.1 503 "), "{response}");
    assert!(response.contains("\r\nretry-after: 7\r\n"), "{response}");
    assert!(
        response
            .ends_with("<Error><Code>SlowDown</Code><Message>this response was injected by a test</Message></Error>")
    );
}

#[tokio::test]
async fn truncate_sends_the_first_bytes_and_an_error() {
    let (first, second) = (S3Server::start(), GcsServer::start());
    for (store, wire) in [(s3(&first), first.wire()), (gcs(&second), second.wire())] {
        let key = Path::from("key");
        let bytes: Vec<u8> = (0..3 * MIB).map(|at| (at % 251) as u8).collect();
        store.put(&key, bytes.clone().into()).await.unwrap();
        always(wire, Fault::Truncate(2 * MIB + 1));
        assert_eq!(store.head(&key).await.unwrap().size, bytes.len() as u64);
        let mut body = store.get(&key).await.unwrap().into_stream();
        let mut read = Vec::new();
        let error = loop {
            match body.next().await.expect("a truncated body ends with an error") {
                Ok(chunk) => read.extend_from_slice(&chunk),
                Err(error) => break error,
            }
        };
        assert!(read == bytes[..2 * MIB + 1], "{} bytes before {error}", read.len());
    }
}

#[tokio::test]
async fn slow_responses_have_pauses() {
    let server = S3Server::start();
    let (store, key) = (s3(&server), Path::from("key"));
    store.put(&key, "0123456789".into()).await.unwrap();
    always(server.wire(), Fault::Slow { chunk_bytes: 4, pause: Duration::from_millis(30) });
    let start = Instant::now();
    assert_eq!(store.get(&key).await.unwrap().bytes().await.unwrap(), "0123456789");
    assert!(start.elapsed() >= Duration::from_millis(90));
}

#[tokio::test]
async fn slow_reads_delay_the_client() {
    let server = GcsServer::start();
    always(server.wire(), Fault::SlowRead { chunk_bytes: 4, pause: Duration::from_millis(30) });
    let start = Instant::now();
    gcs(&server).put(&Path::from("key"), "0123456789".into()).await.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(90));
    assert_eq!(server.objects()["key"], b"0123456789");
}

/// The requests hang at the same time, because none gets a response before the client gives up.
#[tokio::test]
async fn hang_lasts_until_the_client_gives_up() {
    let server = S3Server::start();
    always(server.wire(), Fault::Hang);
    let options = ClientOptions::new().with_allow_http(true).with_timeout(Duration::from_millis(500));
    let store = s3_builder(&server).with_client_options(options).build().unwrap();
    let keys = ["a", "b", "c"].map(Path::from);
    let outcomes = join_all(keys.iter().map(|key| store.put(key, "x".into()))).await;
    for outcome in outcomes {
        let error = format!("{:?}", outcome.unwrap_err());
        assert!(error.contains("Timeout"), "{error}");
    }
    assert_eq!(server.wire().max_in_flight(), 3);
    assert!(server.objects().is_empty());
}

#[tokio::test]
async fn hold_delays_the_response_until_the_gate_is_open() {
    let server = S3Server::start();
    let gate = Gate::closed();
    always(server.wire(), Fault::Hold(gate.clone()));
    let (store, key) = (s3(&server), Path::from("key"));
    let mut put = pin!(store.put(&key, "x".into()));
    // The service executes the request, and the response is held.
    while server.objects().is_empty() {
        assert!(put.as_mut().now_or_never().is_none());
        tokio::task::yield_now().await;
    }
    assert_eq!(server.wire().max_in_flight(), 1);
    assert!(put.as_mut().now_or_never().is_none());
    gate.open();
    put.await.unwrap();
    store.head(&key).await.unwrap();
}

#[tokio::test]
async fn corrupt_flips_one_bit() {
    let server = S3Server::start();
    let (store, key) = (s3(&server), Path::from("key"));
    store.put(&key, vec![0; 1_000].into()).await.unwrap();
    always(server.wire(), Fault::Corrupt);
    let read = store.get(&key).await.unwrap().bytes().await.unwrap();
    assert_eq!(read.len(), 1_000);
    assert_eq!(read.iter().map(|byte| byte.count_ones()).sum::<u32>(), 1);
    assert_eq!(server.objects()["key"], vec![0; 1_000]);
}

#[tokio::test]
async fn conflict_looks_like_an_existing_object() {
    let server = S3Server::start();
    always(server.wire(), Fault::Conflict409);
    let error = create(&s3(&server), "key", "x").await.unwrap_err();
    assert!(matches!(error, Error::AlreadyExists { .. }), "{error}");
    assert!(error.to_string().contains("key") && format!("{error:?}").contains("ConditionalRequestConflict"));
    assert!(server.objects().is_empty());
}

#[tokio::test]
async fn a_plan_chooses_among_requests() {
    let server = S3Server::start();
    let store = s3(&server);
    server.wire().set(|request, number| (request.is_put() && number == 1).then_some(Fault::Status(500)));
    store.put(&Path::from("zero"), "x".into()).await.unwrap();
    store.put(&Path::from("one"), "x".into()).await.unwrap_err();
    store.put(&Path::from("two"), "x".into()).await.unwrap();
    server.wire().clear();
    store.put(&Path::from("one"), "x".into()).await.unwrap();
    assert_eq!(server.objects().into_keys().collect::<Vec<_>>(), ["one", "two", "zero"]);
}

#[tokio::test]
async fn the_log_classifies_requests() {
    let (first, second) = (S3Server::start(), GcsServer::start());
    for (store, wire) in [(s3(&first), first.wire()), (gcs(&second), second.wire())] {
        let key = Path::from("dir/a b");
        let mut upload = store.put_multipart(&key).await.unwrap();
        upload.put_part("x".into()).await.unwrap();
        upload.complete().await.unwrap();
        store.put_multipart(&key).await.unwrap().abort().await.unwrap();
        create(&store, "once", "x").await.unwrap();
        store.get_range(&key, 0..1).await.unwrap();
        store.head(&key).await.unwrap();
        store.delete(&key).await.unwrap();
        let log = wire.requests();
        let keys: Vec<_> = log.iter().map(|request| request.key()).filter(|key| !key.is_empty()).collect();
        assert!(keys.iter().all(|key| key == "dir/a b" || key == "once"), "{keys:?}");
        assert!(log.iter().all(|request| request.bucket() == S3Server::BUCKET));
        assert!(log[0].is_initiate() && log[1].is_part_upload() && log[2].is_complete(), "{log:?}");
        assert_eq!(log[1].parameter("partNumber").as_deref(), Some("1"));
        assert!(log[3].is_initiate() && log[4].is_abort() && log[5].is_put(), "{log:?}");
        assert!(log[6].is_get() && log[7].is_head() && log[8].is_delete(), "{log:?}");
        assert_eq!(log[6].header("range"), Some("bytes=0-0"));
        assert_eq!(wire.max_in_flight(), 1);
        wire.reset_log();
        store.list_with_delimiter(None).await.unwrap();
        assert!(wire.requests().iter().all(|request| request.is_list()) && wire.requests().len() == 1);
    }
}

fn always(wire: &Wire, fault: Fault) {
    wire.set(move |_, _| Some(fault.clone()));
}

fn is_reset(error: &Error) -> bool {
    format!("{error:?}").contains("ConnectionReset")
}

/// Sends a request without a signature, and returns the response as it was received.
fn raw_response(endpoint: &str) -> String {
    let mut socket = TcpStream::connect(endpoint.trim_start_matches("http://")).unwrap();
    socket.write_all(b"GET /bucket/key HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    let mut response = String::new();
    socket.read_to_string(&mut response).unwrap();
    response
}

//! Stalled connections are given up, slow ones are not: the timeout starts at the last byte that was transferred. A
//! truncated read is resumed where it broke off.

#![expect(clippy::disallowed_methods, reason = "a test of timeouts measures time")]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::join_all;
use ruvector_snapshot::ErrorKind;
use test_servers::Fault;

use super::fixture::{SERVERS, Server};

/// Longer than the pauses of a busy machine.
const STALL: Duration = Duration::from_secs(2);
const STALL_OPTION: &[(&str, &str)] = &[("stall_timeout", "2s")];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_to_a_server_that_hangs_is_repeated() {
    join_all(SERVERS.map(hangs_once)).await;
}

async fn hangs_once(start: fn() -> Server) {
    let server = start();
    let store = server.open(STALL_OPTION);
    let mut hung = BTreeSet::new();
    server.wire().set(move |request, _| hung.insert(request.method.clone()).then_some(Fault::Hang));
    store.create("key", "bytes".into()).await.unwrap();
    assert_eq!(store.get("key", 100).await.unwrap(), "bytes");
    assert_eq!(store.head("key").await.unwrap().size_bytes, 5);
    store.delete("key").await.unwrap();
    let mut methods: Vec<_> = server.wire().requests().into_iter().map(|request| request.method).collect();
    methods.dedup();
    // Before a create is repeated, a read (which hung too) has shown that the object does not exist.
    assert_eq!(methods, ["PUT", "GET", "PUT", "GET", "HEAD", "DELETE"]);
    assert!(server.objects().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_response_is_not_a_stall() {
    join_all(SERVERS.map(responds_slowly)).await;
}

async fn responds_slowly(start: fn() -> Server) {
    let server = start();
    let store = server.open(STALL_OPTION);
    let bytes = Bytes::from(vec![7; 20_000]);
    store.create("key", bytes.clone()).await.unwrap();
    server.wire().set(|_, _| Some(Fault::Slow { chunk_bytes: 1000, pause: Duration::from_millis(120) }));
    server.wire().reset_log();
    let began = Instant::now();
    assert_eq!(store.get("key", 20_000).await.unwrap(), bytes);
    assert!(began.elapsed() > STALL, "the response was not slow");
    assert_eq!(server.wire().requests().len(), 1, "the request was repeated");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_truncated_read_is_resumed_at_the_byte_where_it_broke_off() {
    for start in SERVERS {
        let server = start();
        let store = server.open(&[]);
        let bytes: Bytes = (0..20_000u32).flat_map(u32::to_le_bytes).collect();
        store.create("key", bytes.clone()).await.unwrap();
        // Two faults, so that the resumed response is truncated as well.
        for range in [0..80_000, 100..79_900] {
            server.wire().reset_log();
            server.wire().set(|_, number| (number < 2).then_some(Fault::Truncate(30_000)));
            let read = match range.start {
                0 => store.get("key", range.end).await.unwrap(),
                _ => store.get_range("key", range.clone()).await.unwrap(),
            };
            assert!(read == bytes.slice(range.start as usize..range.end as usize), "{range:?}");
            let asked: Vec<_> = server.wire().requests();
            let asked: Vec<_> = asked.iter().map(|request| request.header("range").map(str::to_owned)).collect();
            let resumed = |at: u64| Some(format!("bytes={at}-{}", range.end - 1));
            assert_eq!(asked[1..], [resumed(range.start + 30_000), resumed(range.start + 60_000)]);
        }
    }
}

/// The server may delete an object between a response that breaks off and the request for the rest.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_is_deleted_while_it_is_read_is_not_found() {
    for start in SERVERS {
        let server = start();
        let store = server.open(&[]);
        store.create("key", vec![7; 80_000].into()).await.unwrap();
        server.wire().set(|_, number| Some(if number == 0 { Fault::Truncate(30_000) } else { Fault::Status(404) }));
        server.wire().reset_log();
        let error = store.get_range("key", 0..80_000).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_upload_of_a_part_is_not_a_stall() {
    join_all(SERVERS.map(sends_slowly)).await;
}

async fn sends_slowly(start: fn() -> Server) {
    let server = start();
    // The socket buffers accept some bytes at once, and the server reads them after the client has sent its last byte.
    // With a part of this size that silent time is short compared to the whole upload.
    let part_bytes = 33 << 20;
    let store = server.open(STALL_OPTION);
    let pace = Fault::SlowRead { chunk_bytes: 256 * 1024, pause: Duration::from_millis(20) };
    server.wire().set(move |request, _| request.is_part_upload().then(|| pace.clone()));
    let began = Instant::now();
    let mut upload = store.upload("key", Some(9_900 * part_bytes)).await.unwrap();
    upload.write(Bytes::from(vec![7; part_bytes as usize])).await.unwrap();
    upload.write("more".into()).await.unwrap();
    assert_eq!(upload.finish().await.unwrap(), part_bytes + 4);
    assert!(began.elapsed() > STALL, "the upload was not slow: {:?}", began.elapsed());
    let parts = server.wire().requests().iter().filter(|request| request.is_part_upload()).count();
    assert_eq!(parts, 2, "a part was sent again");
}

//! Silence is given up, slowness never: a deadline counts from the last byte that moved, not from the first.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::join_all;
use test_servers::Fault;

use crate::stores::{SERVERS, Server};

/// What a busy machine does not take for a pause of its own.
const STALL: Duration = Duration::from_secs(2);
const STALL_OPTION: &[(&str, &str)] = &[("stall_timeout", "2s")];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_is_asked_again() {
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
    // A create is not sent again before a look, which hung too, showed that nothing is there.
    assert_eq!(methods, ["PUT", "GET", "PUT", "GET", "HEAD", "DELETE"]);
    assert!(server.objects().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_comes_slowly_is_waited_for() {
    join_all(SERVERS.map(answers_slowly)).await;
}

async fn answers_slowly(start: fn() -> Server) {
    let server = start();
    let store = server.open(STALL_OPTION);
    let bytes = Bytes::from(vec![7; 20_000]);
    store.create("key", bytes.clone()).await.unwrap();
    server.wire().set(|_, _| Some(Fault::Slow { chunk_bytes: 1000, pause: Duration::from_millis(120) }));
    server.wire().forget();
    let began = Instant::now();
    assert_eq!(store.get("key", 20_000).await.unwrap(), bytes);
    assert!(began.elapsed() > STALL, "it was not slow");
    assert_eq!(server.wire().requests().len(), 1, "it was given up and asked for again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_that_goes_slowly_is_waited_for() {
    join_all(SERVERS.map(sends_slowly)).await;
}

async fn sends_slowly(start: fn() -> Server) {
    let server = start();
    // What the buffers of the sockets take over at once is read by the server after the last byte has left: a part of this size
    // keeps that silence short beside the time that the whole takes, however busy the machine is.
    let part_bytes = 33 << 20;
    let store = server.open(STALL_OPTION);
    let pace = Fault::SlowRead { chunk_bytes: 256 * 1024, pause: Duration::from_millis(20) };
    server.wire().set(move |request, _| request.is_part_upload().then(|| pace.clone()));
    let began = Instant::now();
    let mut upload = store.upload("key", Some(9_900 * part_bytes)).await.unwrap();
    upload.write(Bytes::from(vec![7; part_bytes as usize])).await.unwrap();
    upload.write("more".into()).await.unwrap();
    assert_eq!(upload.finish().await.unwrap(), part_bytes + 4);
    assert!(began.elapsed() > STALL, "it was not slow: {:?}", began.elapsed());
    let parts = server.wire().requests().iter().filter(|request| request.is_part_upload()).count();
    assert_eq!(parts, 2, "a part was given up and sent again");
}

//! Servers that answer without an end: what is read of an answer is limited, whatever the request is.

use futures::{StreamExt as _, TryStreamExt as _};
use ruvector_snapshot::store::SnapshotStore;
use ruvector_snapshot::{ErrorKind, Result};
use test_servers::{Fault, Request};
use tokio::time::timeout;

use super::fixture::{HANG_TIMEOUT, PART_BYTES, SERVERS};

async fn upload(store: &dyn SnapshotStore, is_finished: bool) -> Result<()> {
    let mut upload = store.upload("large", None).await?;
    let written = upload.write(vec![7; PART_BYTES as usize + 1000].into()).await;
    match (written, is_finished) {
        (Ok(()), true) => upload.finish().await.map(drop),
        (written, _) => upload.abort().await.and(written),
    }
}

/// Makes a request of this kind among others.
async fn request(store: &dyn SnapshotStore, kind: &str) -> Result<()> {
    match kind {
        "list" => store.list("").try_collect::<Vec<_>>().await.map(drop),
        "initiate" | "complete" | "part" => upload(store, true).await,
        "abort" => upload(store, false).await,
        "get" => store.get("object", 10).await.and(store.get_range("object", 1..3).await).map(drop),
        "head" => store.head("object").await.map(drop),
        "put" => store.create("new", "new".into()).await,
        "delete" => store.delete("object").await,
        _ => panic!("{kind}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_read_of_an_answer_is_limited() {
    type Is = fn(&Request) -> bool;
    // Of the answers to others only the headers are read.
    let kinds: [(&str, Is, Option<&str>); 9] = [
        ("list", Request::is_list, Some("a request for a listing with more than 64 MiB")),
        ("initiate", Request::is_initiate, Some("a request with more than 8 MiB")),
        ("complete", Request::is_complete, Some("a request with more than 8 MiB")),
        ("part", Request::is_part_upload, None),
        ("abort", Request::is_abort, None),
        ("get", Request::is_get, None),
        ("head", Request::is_head, None),
        ("put", Request::is_put, None),
        ("delete", Request::is_delete, None),
    ];
    for start in SERVERS {
        for (kind, is_meant, text) in kinds {
            let server = start();
            let store = server.open(&[("retry_timeout", "100ms")]);
            store.create("object", "object".into()).await.unwrap();
            for status in [None, Some(403)] {
                server.wire().set(move |request, _| is_meant(request).then_some(Fault::Endless(status)));
                let result = timeout(HANG_TIMEOUT, request(store.as_ref(), kind)).await.unwrap();
                let error = result.err().map(|error| error.to_string()).unwrap_or_default();
                let is_said = text.is_none_or(|text| error.contains(text));
                assert!(is_said || status.is_some(), "{kind}: {error}");
                assert!(error.len() < 4096, "{kind}, {status:?}: {error}");
            }
        }
    }
}

#[tokio::test]
async fn a_page_without_an_end_is_not_asked_for_again() {
    for start in SERVERS {
        let server = start();
        let store = server.open(&[]);
        server.wire().set(|_, _| Some(Fault::Endless(None)));
        let error = store.list("").next().await.unwrap().unwrap_err();
        assert_eq!((error.kind(), server.wire().requests().len()), (ErrorKind::InvalidInput, 1), "{error:?}");
    }
}

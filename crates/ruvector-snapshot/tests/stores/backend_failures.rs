//! Backends that fail: the kind of the error, and that every upload that was started is completed or aborted.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;
use futures::stream::{self, BoxStream, StreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};
use ruvector_snapshot::ErrorKind;
use ruvector_snapshot::store::{ObjectSnapshotStore, SnapshotStore, TransferConfig};

const MIB: usize = 1024 * 1024;

/// A full disk, as `object_store` reports it: the error of the system is the source of the source.
fn disk_full() -> Error {
    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[from] io::Error);
    Error::Generic { store: "test", source: Box::new(Outer(io::ErrorKind::StorageFull.into())) }
}

fn other(text: &'static str) -> Error {
    Error::Generic { store: "test", source: text.into() }
}

/// Where the backend fails, and what it received.
#[derive(Debug, Default)]
struct Plan {
    fail: Mutex<Option<fn() -> Error>>,
    failing_part: Option<usize>,
    complete_fails: bool,
    abort_fails: bool,
    parts_bytes: Mutex<Vec<usize>>,
    parts_in_flight: AtomicUsize,
    parts_in_flight_max: AtomicUsize,
    puts: AtomicUsize,
    begun: AtomicUsize,
    completed: AtomicUsize,
    aborted: AtomicUsize,
}

impl Plan {
    fn check(&self) -> Result<()> {
        self.fail.lock().unwrap().map_or(Ok(()), |error| Err(error()))
    }

    fn counts(&self) -> [usize; 3] {
        [&self.begun, &self.completed, &self.aborted].map(|count| count.load(SeqCst))
    }
}

#[derive(Debug, Default)]
struct Backend {
    inner: InMemory,
    plan: Arc<Plan>,
}

fn store(plan: Plan) -> (ObjectSnapshotStore, Arc<Plan>) {
    let plan = Arc::new(plan);
    let backend = Backend { inner: InMemory::new(), plan: plan.clone() };
    (ObjectSnapshotStore::new(Arc::new(backend), "", "a test").unwrap(), plan)
}

#[tokio::test]
async fn errors_of_the_backend_are_mapped_to_kinds() {
    let cases: [(fn() -> Error, ErrorKind); 9] = [
        (disk_full, ErrorKind::StorageFull),
        (|| io_error(io::ErrorKind::QuotaExceeded), ErrorKind::StorageFull),
        (|| io_error(io::ErrorKind::ReadOnlyFilesystem), ErrorKind::PermissionDenied),
        (|| io_error(io::ErrorKind::PermissionDenied), ErrorKind::PermissionDenied),
        (|| Error::PermissionDenied { path: "p".into(), source: "no".into() }, ErrorKind::PermissionDenied),
        (|| Error::Unauthenticated { path: "p".into(), source: "no".into() }, ErrorKind::PermissionDenied),
        (|| Error::Precondition { path: "p".into(), source: "no".into() }, ErrorKind::AlreadyExists),
        (|| io_error(io::ErrorKind::ConnectionReset), ErrorKind::Unavailable),
        (|| other("odd"), ErrorKind::Unavailable),
    ];
    for (error, kind) in cases {
        let (store, plan) = store(Plan::default());
        *plan.fail.lock().unwrap() = Some(error);
        let error = store.create("a/b", "x".into()).await.unwrap_err();
        assert_eq!((error.kind(), error.key()), (kind, Some("a/b")), "{error:?}");
        assert!(error.to_string().starts_with("a/b: cannot create the object in a test: "), "{error}");
        assert!(std::error::Error::source(&error).is_some(), "the source is missing");
    }
}

fn io_error(kind: io::ErrorKind) -> Error {
    Error::Generic { store: "test", source: Box::new(io::Error::from(kind)) }
}

#[tokio::test]
async fn a_full_disk_is_storage_full_for_every_kind_of_write() {
    let (store, plan) = store(Plan::default());
    let mut small = store.upload("small", None).await.unwrap();
    small.write("x".into()).await.unwrap();
    let mut large = store.upload("large", None).await.unwrap();
    large.write(vec![0; 8 * MIB].into()).await.unwrap();
    *plan.fail.lock().unwrap() = Some(disk_full);
    assert_eq!(small.finish().await.unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(large.write("x".into()).await.unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(
        large.write("x".into()).await.unwrap_err().kind(),
        ErrorKind::InvalidInput,
        "a failed upload stays failed"
    );
    assert_eq!(plan.counts(), [0, 0, 0]);
}

#[tokio::test]
async fn parts_have_equal_sizes_and_fill_the_budget() {
    for max_concurrent_io in [1, 2, 5] {
        let (store, plan) = store(Plan::default());
        let config = TransferConfig::default().max_concurrent_io(max_concurrent_io);
        parts_of_an_upload(store.with_transfers(&config).unwrap(), &plan, max_concurrent_io).await;
    }
}

async fn parts_of_an_upload(store: ObjectSnapshotStore, plan: &Plan, parts_in_flight: usize) {
    let mut upload = store.upload("a", None).await.unwrap();
    let bytes = Bytes::from(vec![1; 60 * MIB + 5]);
    for start in (0..bytes.len()).step_by(999_999) {
        upload.write(bytes.slice(start..bytes.len().min(start + 999_999))).await.unwrap();
    }
    assert_eq!(upload.finish().await.unwrap(), 60 * MIB as u64 + 5);
    let mut expected = vec![8 * MIB; 7];
    expected.push(4 * MIB + 5);
    assert_eq!(*plan.parts_bytes.lock().unwrap(), expected);
    assert_eq!(plan.parts_in_flight_max.load(SeqCst), parts_in_flight);
    assert_eq!(plan.counts(), [1, 1, 0]);
    assert_eq!(store.get("a", u64::MAX).await.unwrap(), bytes);
}

#[tokio::test]
async fn an_upload_that_fits_in_one_part_is_a_single_put() {
    for size_bytes in [0, 1, 8 * MIB] {
        let (store, plan) = store(Plan::default());
        let mut upload = store.upload("a", None).await.unwrap();
        upload.write(vec![1; size_bytes].into()).await.unwrap();
        upload.finish().await.unwrap();
        assert_eq!((plan.puts.load(SeqCst), plan.counts()), (1, [0, 0, 0]), "{size_bytes}");
    }
    let (store, plan) = store(Plan::default());
    let mut upload = store.upload("a", Some(20_000 * 8 * MIB as u64)).await.unwrap();
    upload.write(vec![1; 17 * MIB].into()).await.unwrap();
    upload.finish().await.unwrap();
    assert_eq!(plan.parts_bytes.lock().unwrap()[..], [17 * MIB; 0], "a hint of 156 GiB makes parts of 17 MiB");
}

#[tokio::test]
async fn an_upload_with_any_failed_part_is_aborted_and_reports_the_first_error() {
    for failing_part in 0..6 {
        for abort_fails in [false, true] {
            let plan = Plan { failing_part: Some(failing_part), abort_fails, ..Plan::default() };
            let (store, plan) = store(plan);
            let mut upload = store.upload("a", None).await.unwrap();
            let mut outcome = Ok(());
            for _ in 0..48 {
                outcome = upload.write(vec![1; MIB].into()).await;
                if outcome.is_err() {
                    break;
                }
            }
            let error = match outcome {
                Err(error) => error,
                Ok(()) => upload.finish().await.unwrap_err(),
            };
            assert_eq!(
                error.kind(),
                ErrorKind::StorageFull,
                "part {failing_part}, abort fails {abort_fails}: {error:?}"
            );
            assert_eq!(plan.counts(), [1, 0, 1], "part {failing_part}, abort fails {abort_fails}");
            let started = plan.parts_bytes.lock().unwrap().len();
            assert!(started <= failing_part + 5, "{started} parts were started, part {failing_part} failed");
            assert_eq!(store.head("a").await.unwrap_err().kind(), ErrorKind::NotFound);
        }
    }
}

#[tokio::test]
async fn an_upload_whose_completion_fails_is_aborted() {
    let (store, plan) = store(Plan { complete_fails: true, abort_fails: true, ..Plan::default() });
    let mut upload = store.upload("a", None).await.unwrap();
    upload.write(vec![1; 9 * MIB].into()).await.unwrap();
    assert_eq!(upload.finish().await.unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(plan.counts(), [1, 0, 1]);
}

#[tokio::test]
async fn a_finish_dropped_at_any_point_aborts_the_upload() {
    // Drops the finish after this number of polls, until a number is enough to complete it.
    for polls in 0..200 {
        let (store, plan) = store(Plan::default());
        let mut upload = store.upload("a", None).await.unwrap();
        upload.write(vec![1; 30 * MIB].into()).await.unwrap();
        let mut finish = upload.finish();
        let mut done = false;
        for _ in 0..polls {
            tokio::task::yield_now().await;
            done = (&mut finish).now_or_never().is_some();
            if done {
                break;
            }
        }
        drop(finish);
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
        if done {
            assert_eq!(plan.counts(), [1, 1, 0]);
            return;
        }
        assert_eq!(plan.counts(), [1, 0, 1], "after {polls} polls");
    }
    panic!("200 polls did not finish an upload of four parts");
}

#[tokio::test]
async fn an_upload_too_large_for_every_store_is_refused() {
    let (store, _) = store(Plan::default());
    let outcome = store.upload("a", Some(u64::MAX)).await.map(drop);
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn display_and_debug_show_only_the_location() {
    let (store, _) = store(Plan::default());
    assert_eq!(store.to_string(), "a test");
    assert!(!format!("{store:?}").contains("Plan"), "{store:?}");
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Backend")
    }
}

#[async_trait]
impl ObjectStore for Backend {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.plan.check()?;
        self.plan.puts.fetch_add(1, SeqCst);
        self.inner.put_opts(path, payload, options).await
    }

    async fn put_multipart_opts(&self, path: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.plan.check()?;
        self.plan.begun.fetch_add(1, SeqCst);
        let inner = self.inner.put_multipart_opts(path, options).await?;
        Ok(Box::new(BackendUpload { inner, plan: self.plan.clone() }))
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.plan.check()?;
        self.inner.get_opts(path, options).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.plan.check() {
            Err(error) => stream::iter([Err(error)]).boxed(),
            Ok(()) => self.inner.list(prefix),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[derive(Debug)]
struct BackendUpload {
    inner: Box<dyn MultipartUpload>,
    plan: Arc<Plan>,
}

#[async_trait]
impl MultipartUpload for BackendUpload {
    fn put_part(&mut self, part: PutPayload) -> UploadPart {
        let plan = self.plan.clone();
        let number = {
            let mut parts_bytes = plan.parts_bytes.lock().unwrap();
            parts_bytes.push(part.content_length());
            parts_bytes.len() - 1
        };
        let in_flight = plan.parts_in_flight.fetch_add(1, SeqCst) + 1;
        plan.parts_in_flight_max.fetch_max(in_flight, SeqCst);
        let sent = self.inner.put_part(part);
        let work = async move {
            for _ in 0..3 {
                tokio::task::yield_now().await;
            }
            plan.parts_in_flight.fetch_sub(1, SeqCst);
            if plan.failing_part == Some(number) { Err(disk_full()) } else { sent.await }
        };
        work.boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        tokio::task::yield_now().await;
        if self.plan.complete_fails {
            return Err(disk_full());
        }
        let stored = self.inner.complete().await?;
        self.plan.completed.fetch_add(1, SeqCst);
        Ok(stored)
    }

    async fn abort(&mut self) -> Result<()> {
        tokio::task::yield_now().await;
        self.plan.aborted.fetch_add(1, SeqCst);
        if self.plan.abort_fails { Err(other("the abort failed too")) } else { self.inner.abort().await }
    }
}

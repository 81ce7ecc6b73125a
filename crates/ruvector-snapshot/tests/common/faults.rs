//! A store over another one in which something happens at the nth step: an error, the end of the process, no answer, or
//! whatever a test wants to do there. A step is a call, and the call's answer is the step after it.

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, StreamExt};
use ruvector_snapshot::store::{ObjectInfo, SnapshotStore, Upload};
use ruvector_snapshot::{ErrorKind, Result, SnapshotError};
use tokio::sync::Semaphore;

/// What happens at a step.
#[derive(Clone)]
pub enum Fault {
    Nothing,
    /// This step fails, and every later one works. After a call, its effect stands and its answer is lost.
    Fail(ErrorKind),
    /// This step fails, and so does every later one.
    FailFromHereOn(ErrorKind),
    /// The process ends here, as by a signal that cannot be caught.
    Die,
    /// The step waits until it is let go.
    Wait(Arc<Gate>),
    /// Something is done here, and the step goes on.
    Do(Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>),
}

/// Where a step waits.
#[derive(Debug)]
pub struct Gate {
    reached: Semaphore,
    open: Semaphore,
}

impl Gate {
    pub fn new() -> Arc<Self> {
        Arc::new(Self { reached: Semaphore::new(0), open: Semaphore::new(0) })
    }

    /// Returns once the step has come.
    pub async fn reached(&self) {
        self.reached.acquire().await.unwrap().forget();
    }

    /// Lets the step go on.
    pub fn open(&self) {
        self.open.add_permits(1);
    }
}

/// The store; see the file.
pub struct Faulty {
    inner: Arc<dyn SnapshotStore>,
    steps: Arc<Steps>,
}

/// The count, shared with the uploads.
pub struct Steps {
    at: usize,
    fault: Fault,
    next: AtomicUsize,
    log: Mutex<Vec<String>>,
}

impl Steps {
    /// What has been called, in order.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// What came at the step of the fault; `None` where it never came.
    pub fn hit(&self) -> Option<String> {
        self.log().get(self.at).cloned()
    }

    async fn step(&self, what: String, key: &str) -> Result<()> {
        let number = {
            let mut log = self.log.lock().unwrap();
            log.push(format!("{what} {key}"));
            self.next.fetch_add(1, Ordering::SeqCst)
        };
        let error = |kind| Err(SnapshotError::new(kind, format!("injected at step {number}")).at(key));
        match &self.fault {
            Fault::FailFromHereOn(kind) if number >= self.at => error(*kind),
            _ if number != self.at => Ok(()),
            Fault::Nothing | Fault::FailFromHereOn(_) => Ok(()),
            Fault::Fail(kind) => error(*kind),
            Fault::Die => std::process::abort(),
            Fault::Wait(gate) => {
                gate.reached.add_permits(1);
                gate.open.acquire().await.unwrap().forget();
                Ok(())
            }
            Fault::Do(action) => {
                action().await;
                Ok(())
            }
        }
    }

    async fn around<T>(&self, what: &str, key: &str, call: impl Future<Output = Result<T>>) -> Result<T> {
        self.step(format!("before {what}"), key).await?;
        let answer = call.await?;
        self.step(format!("after {what}"), key).await?;
        Ok(answer)
    }
}

impl Faulty {
    /// The store, and its count of steps.
    pub fn over(inner: Arc<dyn SnapshotStore>, at: usize, fault: Fault) -> (Arc<dyn SnapshotStore>, Arc<Steps>) {
        let steps = Arc::new(Steps { at, fault, next: AtomicUsize::new(0), log: Mutex::default() });
        (Arc::new(Self { inner, steps: steps.clone() }), steps)
    }
}

#[async_trait]
impl SnapshotStore for Faulty {
    async fn create(&self, key: &str, bytes: Bytes) -> Result<()> {
        self.steps.around("create", key, self.inner.create(key, bytes)).await
    }

    async fn upload(&self, key: &str, size_hint_bytes: Option<u64>) -> Result<Box<dyn Upload>> {
        let inner = self.steps.around("upload", key, self.inner.upload(key, size_hint_bytes)).await?;
        Ok(Box::new(FaultyUpload { inner, steps: self.steps.clone(), key: key.to_owned() }))
    }

    async fn get(&self, key: &str, limit_bytes: u64) -> Result<Bytes> {
        self.steps.around("get", key, self.inner.get(key, limit_bytes)).await
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes> {
        self.steps.around("get_range", key, self.inner.get_range(key, range)).await
    }

    async fn head(&self, key: &str) -> Result<ObjectInfo> {
        self.steps.around("head", key, self.inner.head(key)).await
    }

    fn list<'a>(&'a self, prefix: &str) -> BoxStream<'a, Result<ObjectInfo>> {
        let prefix = prefix.to_owned();
        let first = async move {
            match self.steps.step("before list".to_owned(), &prefix).await {
                Ok(()) => self.inner.list(&prefix),
                Err(error) => stream::iter([Err(error)]).boxed(),
            }
        };
        stream::once(first).flatten().boxed()
    }

    async fn delete(&self, key: &str) -> Result<()> {
        self.steps.around("delete", key, self.inner.delete(key)).await
    }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.inner)
    }
}

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Faulty({:?})", self.inner)
    }
}

struct FaultyUpload {
    inner: Box<dyn Upload>,
    steps: Arc<Steps>,
    key: String,
}

#[async_trait]
impl Upload for FaultyUpload {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        let steps = self.steps.clone();
        steps.around("write", &self.key, self.inner.write(bytes)).await
    }

    async fn finish(self: Box<Self>) -> Result<u64> {
        let Self { inner, steps, key } = *self;
        // Like a write that a disk has begun: dropping the call does not call it back.
        let finish = async move { steps.around("finish", &key, inner.finish()).await };
        tokio::spawn(finish).await.unwrap()
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        let Self { inner, steps, key } = *self;
        steps.around("abort", &key, inner.abort()).await
    }
}

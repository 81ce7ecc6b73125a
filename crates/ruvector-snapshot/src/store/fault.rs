//! A store over another one in which something goes wrong at chosen steps: to show what a program does when its store
//! fails, lies, is slow or goes away, and when it is killed itself.
//!
//! A step is the beginning of a call or the call's answer: of calls one after the other the first is steps 0 and 1, the next
//! one 2 and 3. Calls of an [`Upload`] are counted too. A fault before a call keeps it from having an effect, and from being
//! answered; after it, the effect stands and the answer is lost. To walk every step, run the program with the fault at 0, 1, 2, … until no such step comes any more:
//!
//! ```
//! # use ruvector_snapshot::store::fault::{Fault, FaultStore};
//! # use ruvector_snapshot::store::{Location, StoreConfig, open};
//! # use ruvector_snapshot::{ErrorKind, Result};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<()> {
//! for at in 0.. {
//!     let inner = open(&Location::Memory, &StoreConfig::default())?;
//!     let (store, steps) = FaultStore::over(inner.clone(), [(at, Fault::Fail(ErrorKind::Unavailable))]);
//!     let answer = store.create("key", "value".into()).await;
//!     let Some(step) = steps.at(at) else { break };
//!     assert_eq!(answer.unwrap_err().kind(), ErrorKind::Unavailable, "{step}");
//!     assert_eq!(inner.head("key").await.is_ok(), step.to_string() == "after create key");
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Nothing here knows what is stored, and nothing waits for a clock. A store without faults, `FaultStore::over(inner, [])`,
//! counts and logs the calls and keeps the contract.

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::future::{BoxFuture, FutureExt};
use futures::stream::{self, BoxStream, StreamExt};
use tokio::sync::Semaphore;

use super::{IsOurs, ObjectInfo, SnapshotStore, Upload};
use crate::error::{ErrorKind, Result, SnapshotError};

/// What happens at a step. A fault at a step that it does not [fit](Self::fits) does nothing.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Fault {
    /// The step fails, and later ones work: before a call without effect, after it with an answer that is lost.
    Fail(ErrorKind),
    /// The step fails and so does every later one: the store is gone. Uploads that are dropped give up what they staged.
    FailFromHereOn(ErrorKind),
    /// The program is killed, as far as the store can tell: this step and every later one fails with
    /// [`ErrorKind::Unavailable`], and nothing that the program still does reaches the inner store, dropping uploads
    /// included. What an upload had staged is left as it is, and its memory is not given back.
    Crash,
    /// This process ends, as by a signal that cannot be caught. For tests that run the program as a process of its own.
    Die,
    /// The step waits until it is let go.
    Wait(Arc<Gate>),
    /// Something is done, and then the step goes on.
    Do(Action),
    /// Before a read: it reads, and the connection breaks before the answer is complete. Before a listing: half of the
    /// objects come, then the error. Before a write: half of the bytes are taken over, then it fails.
    Cut(ErrorKind),
    /// Before a create, a finish or a delete: it answers that it worked, and has no effect.
    PretendDone,
    /// Before a finish: the first half of the bytes becomes the object, and the answer is the size of the whole.
    StoreHalf,
    /// Before a read: one bit of what comes back is another. Bits are counted from the first, and from the first again
    /// behind the last.
    FlipBit(usize),
}

impl Fault {
    /// Whether this fault does anything at such a step.
    pub fn fits(&self, step: &Step) -> bool {
        let is_before = step.moment == Moment::Before;
        match self {
            Self::Cut(_) => is_before && matches!(step.call, Call::Get | Call::GetRange | Call::List | Call::Write),
            Self::PretendDone => is_before && matches!(step.call, Call::Create | Call::Finish | Call::Delete),
            Self::StoreHalf => is_before && step.call == Call::Finish,
            Self::FlipBit(_) => is_before && matches!(step.call, Call::Get | Call::GetRange),
            Self::Fail(_) | Self::FailFromHereOn(_) | Self::Crash | Self::Die | Self::Wait(_) | Self::Do(_) => true,
        }
    }
}

/// What [`Fault::Do`] does.
#[derive(Clone)]
pub struct Action(Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>);

impl Action {
    /// An action; the step goes on once the future is done.
    pub fn new<F: Future<Output = ()> + Send + 'static>(action: impl Fn() -> F + Send + Sync + 'static) -> Self {
        Self(Arc::new(move || action().boxed()))
    }
}

impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Action")
    }
}

/// Where a step waits.
#[derive(Debug)]
pub struct Gate {
    reached: Semaphore,
    open: Semaphore,
}

impl Gate {
    /// A gate that is closed.
    pub fn new() -> Arc<Self> {
        Arc::new(Self { reached: Semaphore::new(0), open: Semaphore::new(0) })
    }

    /// Returns once a step has come to the gate.
    pub async fn reached(&self) {
        take_permit(&self.reached).await;
    }

    /// Lets one step go on: the one that waits, or the first that comes.
    pub fn open(&self) {
        self.open.add_permits(1);
    }

    async fn pass(&self) {
        self.reached.add_permits(1);
        take_permit(&self.open).await;
    }
}

/// One step of a program, as the log has it. Shown as `before get_range a/key`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Which side of the call.
    pub moment: Moment,
    /// The call.
    pub call: Call,
    /// The key, or the prefix of a listing.
    pub key: String,
}

/// Which side of a call a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Moment {
    /// The call begins.
    Before,
    /// The call has its answer, be it an error, or a listing has come to its end.
    After,
}

/// A method of [`SnapshotStore`] or of [`Upload`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Call {
    /// [`SnapshotStore::create`]
    Create,
    /// [`SnapshotStore::upload`]
    Upload,
    /// [`Upload::write`]
    Write,
    /// [`Upload::finish`]
    Finish,
    /// [`Upload::abort`]
    Abort,
    /// [`SnapshotStore::get`]
    Get,
    /// [`SnapshotStore::get_range`]
    GetRange,
    /// [`SnapshotStore::head`]
    Head,
    /// [`SnapshotStore::list`]
    List,
    /// [`SnapshotStore::delete`]
    Delete,
    /// [`SnapshotStore::sweep`]
    Sweep,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = match self.moment {
            Moment::Before => "before",
            Moment::After => "after",
        };
        write!(f, "{moment} {} {}", self.call, self.key)
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Create => "create",
            Self::Upload => "upload",
            Self::Write => "write",
            Self::Finish => "finish",
            Self::Abort => "abort",
            Self::Get => "get",
            Self::GetRange => "get_range",
            Self::Head => "head",
            Self::List => "list",
            Self::Delete => "delete",
            Self::Sweep => "sweep",
        })
    }
}

/// What a [`FaultStore`] was asked for, and what is to happen: shared between the store, its uploads and the test.
#[derive(Debug)]
pub struct Steps {
    faults: Vec<(usize, Fault)>,
    log: Mutex<Vec<Step>>,
    open_uploads: AtomicUsize,
}

impl Steps {
    /// Every step so far, in order.
    pub fn log(&self) -> Vec<Step> {
        self.lock().clone()
    }

    /// The step of this number, from 0; `None` where it has not come.
    pub fn at(&self, number: usize) -> Option<Step> {
        self.lock().get(number).cloned()
    }

    /// How often a call was begun.
    pub fn count(&self, call: Call) -> usize {
        self.lock().iter().filter(|step| step.moment == Moment::Before && step.call == call).count()
    }

    /// Uploads that were begun and have been neither finished nor aborted nor dropped.
    pub fn open_uploads(&self) -> usize {
        self.open_uploads.load(Ordering::SeqCst)
    }

    async fn before(&self, call: Call, key: &str) -> Result<Twist> {
        self.take(Step { moment: Moment::Before, call, key: key.to_owned() }).await
    }

    /// Hands the answer of a call over, unless it is lost.
    async fn after<T>(&self, call: Call, key: &str, answer: Result<T>) -> Result<T> {
        self.take(Step { moment: Moment::After, call, key: key.to_owned() }).await?;
        answer
    }

    async fn take(&self, step: Step) -> Result<Twist> {
        let number = {
            let mut log = self.lock();
            log.push(step.clone());
            log.len() - 1
        };
        let mut twist = Twist { number, fault: None };
        for (at, fault) in &self.faults {
            match fault {
                Fault::FailFromHereOn(kind) if number >= *at => return Err(injected(*kind, number, &step.key)),
                Fault::Crash if number >= *at => return Err(injected(ErrorKind::Unavailable, number, &step.key)),
                _ if number != *at || !fault.fits(&step) => {}
                Fault::Fail(kind) => return Err(injected(*kind, number, &step.key)),
                Fault::FailFromHereOn(_) | Fault::Crash => {}
                Fault::Die => std::process::abort(),
                Fault::Wait(gate) => gate.pass().await,
                Fault::Do(Action(action)) => action().await,
                Fault::Cut(_) | Fault::PretendDone | Fault::StoreHalf | Fault::FlipBit(_) => {
                    twist.fault = Some(fault.clone());
                }
            }
        }
        Ok(twist)
    }

    /// Whether the program counts as killed.
    fn has_crashed(&self) -> bool {
        let steps = self.lock().len();
        self.faults.iter().any(|(at, fault)| matches!(fault, Fault::Crash) && steps > *at)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Step>> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The store; see the [module](self).
pub struct FaultStore {
    inner: Arc<dyn SnapshotStore>,
    steps: Arc<Steps>,
}

impl FaultStore {
    /// A store over `inner` in which each fault happens at the step of its number, from 0, and its steps.
    pub fn over(
        inner: Arc<dyn SnapshotStore>,
        faults: impl IntoIterator<Item = (usize, Fault)>,
    ) -> (Arc<dyn SnapshotStore>, Arc<Steps>) {
        let faults = faults.into_iter().collect();
        let steps = Arc::new(Steps { faults, log: Mutex::default(), open_uploads: AtomicUsize::new(0) });
        (Arc::new(Self { inner, steps: steps.clone() }), steps)
    }
}

#[async_trait]
impl SnapshotStore for FaultStore {
    async fn create(&self, key: &str, bytes: Bytes) -> Result<()> {
        let answer = match self.steps.before(Call::Create, key).await?.fault {
            Some(Fault::PretendDone) => Ok(()),
            _ => self.inner.create(key, bytes).await,
        };
        self.steps.after(Call::Create, key, answer).await
    }

    async fn upload(&self, key: &str, size_hint_bytes: Option<u64>) -> Result<Box<dyn Upload>> {
        self.steps.before(Call::Upload, key).await?;
        let answer = self.inner.upload(key, size_hint_bytes).await;
        // Made before the answer can get lost: dropping it is what a crash must keep from the inner store.
        let answer = answer.map(|inner| FaultUpload::begin(inner, self, key));
        Ok(Box::new(self.steps.after(Call::Upload, key, answer).await?))
    }

    async fn get(&self, key: &str, limit_bytes: u64) -> Result<Bytes> {
        let twist = self.steps.before(Call::Get, key).await?;
        let answer = self.inner.get(key, limit_bytes).await.and_then(|bytes| twist.read(key, bytes));
        self.steps.after(Call::Get, key, answer).await
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes> {
        let twist = self.steps.before(Call::GetRange, key).await?;
        let answer = self.inner.get_range(key, range).await.and_then(|bytes| twist.read(key, bytes));
        self.steps.after(Call::GetRange, key, answer).await
    }

    async fn head(&self, key: &str) -> Result<ObjectInfo> {
        self.steps.before(Call::Head, key).await?;
        let answer = self.inner.head(key).await;
        self.steps.after(Call::Head, key, answer).await
    }

    fn list<'a>(&'a self, prefix: &str) -> BoxStream<'a, Result<ObjectInfo>> {
        let prefix = prefix.to_owned();
        let begun = async move {
            let twist = match self.steps.before(Call::List, &prefix).await {
                Ok(twist) => twist,
                Err(error) => return stream::iter([Err(error)]).boxed(),
            };
            let objects = twist.list(&prefix, self.inner.list(&prefix)).await;
            let end = async move { self.steps.after(Call::List, &prefix, Ok(())).await };
            objects.chain(stream::once(end).filter_map(async |end| end.err().map(Err))).boxed()
        };
        stream::once(begun).flatten().boxed()
    }

    async fn delete(&self, key: &str) -> Result<()> {
        let answer = match self.steps.before(Call::Delete, key).await?.fault {
            Some(Fault::PretendDone) => Ok(()),
            _ => self.inner.delete(key).await,
        };
        self.steps.after(Call::Delete, key, answer).await
    }

    async fn sweep(&self, is_ours: IsOurs, before: DateTime<Utc>, remove: bool) -> Result<Vec<ObjectInfo>> {
        self.steps.before(Call::Sweep, "").await?;
        let answer = self.inner.sweep(is_ours, before, remove).await;
        self.steps.after(Call::Sweep, "", answer).await
    }
}

impl fmt::Display for FaultStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.inner)
    }
}

impl fmt::Debug for FaultStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultStore").field("inner", &self.inner).field("faults", &self.steps.faults).finish()
    }
}

struct FaultUpload {
    /// `None` once it has been ended.
    inner: Option<Box<dyn Upload>>,
    store: Arc<dyn SnapshotStore>,
    steps: Arc<Steps>,
    key: String,
    written_bytes: u64,
    /// What was written, where it may be needed once more.
    written: Option<Vec<Bytes>>,
    /// False from an error on, and while a write is running: one that was dropped half-way leaves it false.
    intact: bool,
}

impl FaultUpload {
    fn begin(inner: Box<dyn Upload>, store: &FaultStore, key: &str) -> Self {
        store.steps.open_uploads.fetch_add(1, Ordering::SeqCst);
        let is_kept = store.steps.faults.iter().any(|(_, fault)| matches!(fault, Fault::StoreHalf));
        Self {
            inner: Some(inner),
            store: store.inner.clone(),
            steps: store.steps.clone(),
            key: key.to_owned(),
            written_bytes: 0,
            written: is_kept.then(Vec::new),
            intact: true,
        }
    }

    /// After an error nothing more is taken, as the contract says.
    fn check_intact(&self) -> Result<()> {
        if self.intact {
            return Ok(());
        }
        let message = "this upload failed or was interrupted before; start a new one";
        Err(SnapshotError::new(ErrorKind::Invalid, message).at(&self.key))
    }

    async fn write_to_inner(&mut self, bytes: Bytes) -> Result<()> {
        let twist = self.steps.before(Call::Write, &self.key).await?;
        let size_bytes = bytes.len();
        let answer = match (&mut self.inner, twist.fault) {
            (None, _) => Err(ended(&self.key)),
            (Some(inner), Some(Fault::Cut(kind))) => {
                let half = inner.write(bytes.slice(..size_bytes / 2)).await;
                half.and(Err(injected(kind, twist.number, &self.key)))
            }
            (Some(inner), _) => {
                self.written.as_mut().into_iter().for_each(|written| written.push(bytes.clone()));
                self.written_bytes += size_bytes as u64;
                inner.write(bytes).await
            }
        };
        self.steps.after(Call::Write, &self.key, answer).await
    }

    async fn end(mut self) -> Result<u64> {
        self.check_intact()?;
        let (steps, key) = (self.steps.clone(), self.key.clone());
        let twist = steps.before(Call::Finish, &key).await?;
        let Some(inner) = self.inner.take() else { return Err(ended(&key)) };
        let answer = match twist.fault {
            Some(Fault::PretendDone) => inner.abort().await.map(|()| self.written_bytes),
            Some(Fault::StoreHalf) => match inner.abort().await {
                Ok(()) => self.store_half().await,
                Err(error) => Err(error),
            },
            _ => inner.finish().await,
        };
        steps.after(Call::Finish, &key, answer).await
    }

    async fn store_half(&mut self) -> Result<u64> {
        let whole = self.written.take().unwrap_or_default().concat();
        let half = Bytes::from(whole).slice(..(self.written_bytes / 2) as usize);
        let mut upload = self.store.upload(&self.key, None).await?;
        upload.write(half).await?;
        upload.finish().await?;
        Ok(self.written_bytes)
    }
}

#[async_trait]
impl Upload for FaultUpload {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.check_intact()?;
        self.intact = false;
        let written = self.write_to_inner(bytes).await;
        self.intact = written.is_ok();
        written
    }

    async fn finish(self: Box<Self>) -> Result<u64> {
        // As a write that a disk has begun: dropping the call does not call it back.
        let ended = tokio::spawn(async move { self.end().await }).await;
        ended.unwrap_or_else(|error| Err(SnapshotError::new(ErrorKind::Internal, "an upload failed").because(error)))
    }

    async fn abort(mut self: Box<Self>) -> Result<()> {
        let (steps, key) = (self.steps.clone(), self.key.clone());
        steps.before(Call::Abort, &key).await?;
        let answer = match self.inner.take() {
            Some(inner) => inner.abort().await,
            None => Err(ended(&key)),
        };
        steps.after(Call::Abort, &key, answer).await
    }
}

impl Drop for FaultUpload {
    fn drop(&mut self) {
        self.steps.open_uploads.fetch_sub(1, Ordering::SeqCst);
        if self.steps.has_crashed() {
            // A process that was killed drops nothing.
            std::mem::forget(self.inner.take());
        }
    }
}

/// What becomes of a call that goes on.
struct Twist {
    number: usize,
    /// One that changes the call itself, and fits it.
    fault: Option<Fault>,
}

impl Twist {
    fn read(self, key: &str, bytes: Bytes) -> Result<Bytes> {
        match self.fault {
            Some(Fault::Cut(kind)) => Err(injected(kind, self.number, key)),
            Some(Fault::FlipBit(number)) => Ok(with_bit_flipped(bytes, number)),
            _ => Ok(bytes),
        }
    }

    async fn list<'a>(
        self,
        prefix: &str,
        objects: BoxStream<'a, Result<ObjectInfo>>,
    ) -> BoxStream<'a, Result<ObjectInfo>> {
        let Some(Fault::Cut(kind)) = self.fault else { return objects };
        let mut objects: Vec<_> = objects.collect().await;
        objects.truncate(objects.len() / 2);
        objects.push(Err(injected(kind, self.number, prefix)));
        stream::iter(objects).boxed()
    }
}

fn with_bit_flipped(bytes: Bytes, number: usize) -> Bytes {
    let mut bytes = Vec::from(bytes);
    let at = (number / 8).checked_rem(bytes.len()).unwrap_or(0);
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1 << (number % 8);
    }
    bytes.into()
}

fn injected(kind: ErrorKind, number: usize, key: &str) -> SnapshotError {
    let error = SnapshotError::new(kind, format!("injected at step {number}"));
    if key.is_empty() { error } else { error.at(key) }
}

fn ended(key: &str) -> SnapshotError {
    SnapshotError::new(ErrorKind::Internal, "this upload has been ended already").at(key)
}

async fn take_permit(semaphore: &Semaphore) {
    // It is an error only where the semaphore was closed, which nobody does.
    if let Ok(permit) = semaphore.acquire().await {
        permit.forget();
    }
}

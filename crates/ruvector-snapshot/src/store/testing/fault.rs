//! A store that injects faults at chosen steps, over another store. Shows what a program does when its store fails,
//! lies, is slow or disappears, and when the program itself is killed.
//!
//! A step is the start of a call or its end: of consecutive calls, the first one is steps 0 and 1, the next one steps 2
//! and 3. Calls of an [`Upload`] count as well. A fault at the start of a call prevents its effect. A fault at its end
//! loses the response, but the effect remains. To test every step, run the program with a fault at step 0, 1, 2 and so
//! on, until there is no such step:
//!
//! ```
//! # use ruvector_snapshot::store::testing::fault::{Fault, FaultStore};
//! # use ruvector_snapshot::store::{Location, StoreConfig, open};
//! # use ruvector_snapshot::{ErrorKind, Result};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<()> {
//! for at in 0.. {
//!     let inner = open(&Location::Memory, &StoreConfig::default())?;
//!     let (store, steps) = FaultStore::over(inner.clone(), [(at, Fault::Fail(ErrorKind::Unavailable))]);
//!     let outcome = store.create("key", "value".into()).await;
//!     let Some(step) = steps.at(at) else { break };
//!     assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Unavailable, "{step}");
//!     assert_eq!(inner.head("key").await.is_ok(), step.to_string() == "after create key");
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Nothing here knows what is stored, and nothing depends on time. A store without faults records the calls and keeps
//! the contract.

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt as _};
use tokio::sync::Semaphore;

use crate::error::{ErrorKind, Result, SnapshotError};
use crate::store::{ListEntry, ObjectInfo, SentCounter, SnapshotStore, Upload};

/// What happens at a step. A fault at a step that it does not [fit](Self::fits) has no effect.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Fault {
    /// The step fails, and later steps succeed. At the start of a call there is no effect; at its end the response is
    /// lost.
    Fail(ErrorKind),
    /// The step and all later ones fail: the store is gone. Uploads that are dropped are still aborted.
    FailFromHereOn(ErrorKind),
    /// The program is killed, from the view of the store. This step and all later ones fail with
    /// [`ErrorKind::Unavailable`], and nothing reaches the inner store any more, including dropped uploads. What an
    /// upload had staged remains, and its memory is leaked.
    Crash,
    /// This process is killed, as by a signal that cannot be caught. For tests that run the program in another process.
    Die,
    /// The step waits at a gate.
    Wait(Arc<Gate>),
    /// An action runs, and then the step continues.
    Do(Action),
    /// At the start of a read: the connection breaks before the response is complete. At the start of a listing: half
    /// of the objects are returned, then the error. At the start of a write: half of the bytes are accepted, then it
    /// fails.
    Cut(ErrorKind),
    /// At the start of a create, a finish or a delete: it reports success without an effect.
    PretendDone,
    /// At the start of a finish: the object contains only the first half of the bytes, but the full size is returned.
    StoreHalf,
    /// At the start of a read: one bit of the response is flipped. Bits are counted from the first byte, and from the
    /// first again after the last.
    FlipBit(usize),
}

impl Fault {
    /// Returns whether this fault has an effect at a step.
    pub fn fits(&self, step: &Step) -> bool {
        let is_start = step.moment == Moment::Before;
        match self {
            Self::Cut(_) => is_start && matches!(step.call, Call::Get | Call::GetRange | Call::List | Call::Write),
            Self::PretendDone => is_start && matches!(step.call, Call::Create | Call::Finish | Call::Delete),
            Self::StoreHalf => is_start && step.call == Call::Finish,
            Self::FlipBit(_) => is_start && matches!(step.call, Call::Get | Call::GetRange),
            Self::Fail(_) | Self::FailFromHereOn(_) | Self::Crash | Self::Die | Self::Wait(_) | Self::Do(_) => true,
        }
    }
}

/// The action of [`Fault::Do`].
#[derive(Clone)]
pub struct Action(Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>);

impl Action {
    /// Returns an action. The step continues when the future is complete.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ruvector_snapshot::store::testing::fault::{Action, Fault, FaultStore};
    /// # use ruvector_snapshot::store::{Location, StoreConfig, open};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> ruvector_snapshot::Result<()> {
    /// let inner = open(&Location::Memory, &StoreConfig::default())?;
    /// let other = inner.clone();
    /// let delete = Action::new(move || {
    ///     let other = other.clone();
    ///     async move { other.delete("key").await.unwrap_or_default() }
    /// });
    /// let (store, _) = FaultStore::over(inner, [(2, Fault::Do(delete))]);
    /// store.create("key", "value".into()).await?;
    /// assert!(store.head("key").await.is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub fn new<F: Future<Output = ()> + Send + 'static>(action: impl Fn() -> F + Send + Sync + 'static) -> Self {
        Self(Arc::new(move || action().boxed()))
    }
}

impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Action")
    }
}

/// A gate at which steps wait.
///
/// # Examples
///
/// ```
/// # use ruvector_snapshot::store::testing::fault::{Fault, FaultStore, Gate};
/// # use ruvector_snapshot::store::{Location, StoreConfig, open};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> ruvector_snapshot::Result<()> {
/// let (gate, inner) = (Gate::new(), open(&Location::Memory, &StoreConfig::default())?);
/// let (store, _) = FaultStore::over(inner.clone(), [(0, Fault::Wait(gate.clone()))]);
/// let create = tokio::spawn(async move { store.create("key", "value".into()).await });
/// gate.reached().await;
/// assert!(inner.head("key").await.is_err());
/// gate.open();
/// create.await.unwrap()?;
/// assert!(inner.head("key").await.is_ok());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Gate {
    reached: Semaphore,
    open: Semaphore,
}

impl Gate {
    /// Returns a closed gate.
    pub fn new() -> Arc<Self> {
        Arc::new(Self { reached: Semaphore::new(0), open: Semaphore::new(0) })
    }

    /// Waits until a step is at the gate.
    pub async fn reached(&self) {
        take_permit(&self.reached).await;
    }

    /// Lets one step pass: the one that waits, or the next one.
    pub fn open(&self) {
        self.open.add_permits(1);
    }

    async fn pass(&self) {
        self.reached.add_permits(1);
        take_permit(&self.open).await;
    }
}

/// One step of a program. Displayed as `before get_range a/key`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Whether it is the start or the end of the call.
    pub moment: Moment,
    /// The call.
    pub call: Call,
    /// The key, or the prefix of a listing.
    pub key: String,
}

/// The start or the end of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Moment {
    /// The call starts.
    Before,
    /// The call has a result, which may be an error, or a listing has ended.
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
        })
    }
}

/// The steps of a [`FaultStore`] and its faults, shared by the store, its uploads and the test.
#[derive(Debug)]
pub struct Steps {
    faults: Vec<(usize, Fault)>,
    log: Mutex<Vec<Step>>,
    open_uploads: AtomicUsize,
}

impl Steps {
    /// Returns every step so far, in order.
    pub fn log(&self) -> Vec<Step> {
        self.lock().clone()
    }

    /// Returns the step with this number, from 0; `None` if it has not happened.
    pub fn at(&self, number: usize) -> Option<Step> {
        self.lock().get(number).cloned()
    }

    /// Returns how often a call was started.
    pub fn count(&self, call: Call) -> usize {
        self.lock().iter().filter(|step| step.moment == Moment::Before && step.call == call).count()
    }

    /// Returns the number of uploads that were started and neither finished nor aborted nor dropped.
    pub fn open_uploads(&self) -> usize {
        self.open_uploads.load(Ordering::SeqCst)
    }

    async fn before(&self, call: Call, key: &str) -> Result<InjectedFault> {
        self.take(Step { moment: Moment::Before, call, key: key.to_owned() }).await
    }

    /// Returns the result of a call, unless a fault loses it.
    async fn after<T>(&self, call: Call, key: &str, result: Result<T>) -> Result<T> {
        self.take(Step { moment: Moment::After, call, key: key.to_owned() }).await?;
        result
    }

    async fn take(&self, step: Step) -> Result<InjectedFault> {
        let number = {
            let mut log = self.lock();
            log.push(step.clone());
            log.len() - 1
        };
        let mut injected_fault = InjectedFault { number, fault: None };
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
                    injected_fault.fault = Some(fault.clone());
                }
            }
        }
        Ok(injected_fault)
    }

    /// Returns whether the program counts as killed.
    fn has_crashed(&self) -> bool {
        let steps = self.lock().len();
        self.faults.iter().any(|(at, fault)| matches!(fault, Fault::Crash) && steps > *at)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Step>> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Injects faults at chosen steps; see the [module](self).
pub struct FaultStore {
    inner: Arc<dyn SnapshotStore>,
    steps: Arc<Steps>,
}

impl FaultStore {
    /// Returns a store over `inner` with a fault at each of the given steps, counted from 0, and its steps. The
    /// [module](self) has an example.
    pub fn over(
        inner: Arc<dyn SnapshotStore>,
        faults: impl IntoIterator<Item = (usize, Fault)>,
    ) -> (Arc<dyn SnapshotStore>, Arc<Steps>) {
        let faults = faults.into_iter().collect();
        let steps = Arc::new(Steps { faults, log: Mutex::default(), open_uploads: AtomicUsize::new(0) });
        (Arc::new(Self { inner, steps: steps.clone() }), steps)
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl SnapshotStore for FaultStore {
    async fn create(&self, key: &str, bytes: Bytes) -> Result<()> {
        let result = match self.steps.before(Call::Create, key).await?.fault {
            Some(Fault::PretendDone) => Ok(()),
            _ => self.inner.create(key, bytes).await,
        };
        self.steps.after(Call::Create, key, result).await
    }

    async fn upload(&self, key: &str, size_hint_bytes: Option<u64>) -> Result<Box<dyn Upload>> {
        self.steps.before(Call::Upload, key).await?;
        let result = self.inner.upload(key, size_hint_bytes).await;
        // Wrapped before a fault can lose it: after a crash, dropping it must not reach the inner store.
        let result = result.map(|inner| FaultUpload::begin(inner, self, key));
        Ok(Box::new(self.steps.after(Call::Upload, key, result).await?))
    }

    async fn get(&self, key: &str, limit_bytes: u64) -> Result<Bytes> {
        let fault = self.steps.before(Call::Get, key).await?;
        let result = self.inner.get(key, limit_bytes).await.and_then(|bytes| fault.read(key, bytes));
        self.steps.after(Call::Get, key, result).await
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes> {
        let fault = self.steps.before(Call::GetRange, key).await?;
        let result = self.inner.get_range(key, range).await.and_then(|bytes| fault.read(key, bytes));
        self.steps.after(Call::GetRange, key, result).await
    }

    async fn head(&self, key: &str) -> Result<ObjectInfo> {
        self.steps.before(Call::Head, key).await?;
        let result = self.inner.head(key).await;
        self.steps.after(Call::Head, key, result).await
    }

    fn list<'a>(&'a self, prefix: &str) -> BoxStream<'a, Result<ObjectInfo>> {
        let prefix = prefix.to_owned();
        let begun = async move {
            let fault = match self.steps.before(Call::List, &prefix).await {
                Ok(fault) => fault,
                Err(error) => return stream::iter([Err(error)]).boxed(),
            };
            let objects = fault.list(&prefix, self.inner.list(&prefix)).await;
            let end = async move { self.steps.after(Call::List, &prefix, Ok(())).await };
            objects.chain(stream::once(end).filter_map(async |end| end.err().map(Err))).boxed()
        };
        stream::once(begun).flatten().boxed()
    }

    fn list_entries<'a>(&'a self, prefix: &str) -> BoxStream<'a, Result<ListEntry>> {
        self.list(prefix).map_ok(ListEntry::Object).boxed()
    }

    async fn delete(&self, key: &str) -> Result<()> {
        let result = match self.steps.before(Call::Delete, key).await?.fault {
            Some(Fault::PretendDone) => Ok(()),
            _ => self.inner.delete(key).await,
        };
        self.steps.after(Call::Delete, key, result).await
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
    /// `None` after it has ended.
    inner: Option<Box<dyn Upload>>,
    store: Arc<dyn SnapshotStore>,
    steps: Arc<Steps>,
    key: String,
    written_bytes: u64,
    /// What was written, if a fault needs it again.
    written: Option<Vec<Bytes>>,
    /// False after an error and while a write is running. A write that was dropped leaves it false.
    usable: bool,
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
            usable: true,
        }
    }

    /// Returns an error after an error, as the contract says.
    fn check_usable(&self) -> Result<()> {
        if self.usable {
            return Ok(());
        }
        let message = "this upload failed or was interrupted before; start a new one";
        Err(SnapshotError::new(ErrorKind::InvalidInput, message).with_key(&self.key))
    }

    async fn write_to_inner(&mut self, bytes: Bytes) -> Result<()> {
        let fault = self.steps.before(Call::Write, &self.key).await?;
        let size_bytes = bytes.len();
        let result = match (&mut self.inner, fault.fault) {
            (None, _) => Err(ended(&self.key)),
            (Some(inner), Some(Fault::Cut(kind))) => {
                let half = inner.write(bytes.slice(..size_bytes / 2)).await;
                half.and(Err(injected(kind, fault.number, &self.key)))
            }
            (Some(inner), _) => {
                self.written.as_mut().into_iter().for_each(|written| written.push(bytes.clone()));
                self.written_bytes += size_bytes as u64;
                inner.write(bytes).await
            }
        };
        self.steps.after(Call::Write, &self.key, result).await
    }

    async fn end(mut self) -> Result<u64> {
        self.check_usable()?;
        let (steps, key) = (self.steps.clone(), self.key.clone());
        let fault = steps.before(Call::Finish, &key).await?;
        let Some(inner) = self.inner.take() else { return Err(ended(&key)) };
        let result = match fault.fault {
            Some(Fault::PretendDone) => inner.abort().await.map(|()| self.written_bytes),
            Some(Fault::StoreHalf) => match inner.abort().await {
                Ok(()) => self.store_half().await,
                Err(error) => Err(error),
            },
            _ => inner.finish().await,
        };
        steps.after(Call::Finish, &key, result).await
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

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Upload for FaultUpload {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.check_usable()?;
        self.usable = false;
        let written = self.write_to_inner(bytes).await;
        self.usable = written.is_ok();
        written
    }

    async fn send_rest(&mut self) -> Result<()> {
        self.check_usable()?;
        let Some(inner) = &mut self.inner else { return Err(ended(&self.key)) };
        inner.send_rest().await
    }

    fn count_sent(&mut self, count: SentCounter) {
        self.inner.iter_mut().for_each(|inner| inner.count_sent(count.clone()));
    }

    async fn finish(self: Box<Self>) -> Result<u64> {
        // Like a write that a disk has begun, this continues if the future is dropped.
        let ended = tokio::spawn(async move { self.end().await }).await;
        ended
            .unwrap_or_else(|error| Err(SnapshotError::new(ErrorKind::Internal, "an upload failed").with_source(error)))
    }

    async fn abort(mut self: Box<Self>) -> Result<()> {
        let (steps, key) = (self.steps.clone(), self.key.clone());
        steps.before(Call::Abort, &key).await?;
        let result = match self.inner.take() {
            Some(inner) => inner.abort().await,
            None => Err(ended(&key)),
        };
        steps.after(Call::Abort, &key, result).await
    }
}

impl Drop for FaultUpload {
    fn drop(&mut self) {
        self.steps.open_uploads.fetch_sub(1, Ordering::SeqCst);
        if self.steps.has_crashed() {
            // A killed process drops nothing.
            std::mem::forget(self.inner.take());
        }
    }
}

/// The fault of a call that continues.
struct InjectedFault {
    number: usize,
    /// Set if the fault changes the call itself.
    fault: Option<Fault>,
}

impl InjectedFault {
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
    if key.is_empty() { error } else { error.with_key(key) }
}

fn ended(key: &str) -> SnapshotError {
    SnapshotError::new(ErrorKind::Internal, "this upload has already ended").with_key(key)
}

async fn take_permit(semaphore: &Semaphore) {
    // Fails only for a closed semaphore. This one is never closed.
    if let Ok(permit) = semaphore.acquire().await {
        permit.forget();
    }
}

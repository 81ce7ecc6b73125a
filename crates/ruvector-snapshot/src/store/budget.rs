//! The budget of a store: how many requests run at the same time, how fast bytes are sent and received, and how long a
//! failing operation is retried.
//!
//! - A permit stands for 8 MiB of buffer or for one request. There are `max_concurrent_io` permits, so that they bound
//!   memory and concurrency. An operation that needs a permit waits for it, and so does the compressor that feeds it.
//! - The deadline for retries counts from the last success, not from the start. A transfer that makes progress is never
//!   given up, however slow it is.
//!
//! A store of this crate has a budget of its own. [`BudgetedStore`] gives one to any other store.
//!
//! Nothing here knows `object_store`'s stores. Without limits and without failures no timer is used.
#![expect(clippy::disallowed_methods, reason = "rates, retries and timeouts measure time")]

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::PutMultipartOptions;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, sleep, timeout};

use super::rate_limit::{Allowed, RateLimit};
use super::{ListEntry, ObjectInfo, SentCounter, SnapshotStore, Upload};
use crate::error::{ErrorKind, Result, SnapshotError};

/// Bytes of buffer that a permit stands for.
pub(super) const PERMIT_BYTES: u64 = 8 * 1024 * 1024;

/// How long to retry without a success, unless the settings say otherwise.
pub(super) const RETRY_TIMEOUT: Duration = Duration::from_secs(180);

/// How long a report that nothing depends on may take, with all its requests.
const REPORT_TIMEOUT: Duration = Duration::from_secs(10);

const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(15);

/// Limits of the transfers of a store. Start from `default()`.
///
/// # Examples
///
/// ```
/// use ruvector_snapshot::store::TransferConfig;
///
/// let limits = TransferConfig::default().max_concurrent_io(8).max_upload_bytes_per_second(10_000_000);
/// assert!(limits.validate().is_ok());
/// assert_eq!(limits.max_download_bytes_per_second, None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransferConfig {
    /// Number of requests that run at the same time, and of buffers of 8 MiB that they hold, from 1 to 1,024. The
    /// default is 4. A larger part of an upload counts as several.
    pub max_concurrent_io: usize,
    /// Average limit of bytes sent per second. The default is no limit.
    pub max_upload_bytes_per_second: Option<u64>,
    /// Average limit of bytes received per second. The default is no limit.
    pub max_download_bytes_per_second: Option<u64>,
}

impl Default for TransferConfig {
    fn default() -> Self {
        Self { max_concurrent_io: 4, max_upload_bytes_per_second: None, max_download_bytes_per_second: None }
    }
}

impl TransferConfig {
    /// Sets the number of requests that run at the same time.
    ///
    /// # Examples
    ///
    /// ```
    /// let transfers = ruvector_snapshot::store::TransferConfig::default().max_concurrent_io(8);
    /// ```
    #[must_use]
    pub fn max_concurrent_io(self, max_concurrent_io: usize) -> Self {
        Self { max_concurrent_io, ..self }
    }

    /// Limits the bytes sent per second; `None` removes the limit.
    ///
    /// # Examples
    ///
    /// ```
    /// let transfers = ruvector_snapshot::store::TransferConfig::default().max_upload_bytes_per_second(20_000_000);
    /// ```
    #[must_use]
    pub fn max_upload_bytes_per_second(self, limit: impl Into<Option<u64>>) -> Self {
        Self { max_upload_bytes_per_second: limit.into(), ..self }
    }

    /// Limits the bytes received per second; `None` removes the limit.
    ///
    /// # Examples
    ///
    /// ```
    /// let transfers = ruvector_snapshot::store::TransferConfig::default().max_download_bytes_per_second(20_000_000);
    /// ```
    #[must_use]
    pub fn max_download_bytes_per_second(self, limit: impl Into<Option<u64>>) -> Self {
        Self { max_download_bytes_per_second: limit.into(), ..self }
    }

    /// Checks that every setting is within its limits.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::InvalidInput`] if one is not.
    ///
    /// # Examples
    ///
    /// ```
    /// use ruvector_snapshot::store::TransferConfig;
    ///
    /// assert!(TransferConfig::default().max_concurrent_io(0).validate().is_err());
    /// ```
    pub fn validate(&self) -> Result<()> {
        let problem = if !(1..=1024).contains(&self.max_concurrent_io) {
            format!("max_concurrent_io is {}, but must be from 1 to 1024", self.max_concurrent_io)
        } else if self.max_upload_bytes_per_second == Some(0) || self.max_download_bytes_per_second == Some(0) {
            "a limit of 0 bytes per second would never end; use no limit instead".to_owned()
        } else {
            return Ok(());
        };
        Err(SnapshotError::new(ErrorKind::InvalidInput, problem))
    }
}

/// The budget of one store. All its operations share it.
#[derive(Debug)]
pub(super) struct Budget {
    permits: Arc<Semaphore>,
    permits_max: usize,
    upload_rate: Option<RateLimit>,
    download_rate: Option<RateLimit>,
    retry_timeout: Duration,
    last_success: Mutex<Option<Instant>>,
}

impl Budget {
    pub(super) fn new(config: &TransferConfig, retry_timeout: Duration) -> Result<Arc<Self>> {
        config.validate()?;
        Ok(Arc::new(Self {
            permits: Arc::new(Semaphore::new(config.max_concurrent_io)),
            permits_max: config.max_concurrent_io,
            upload_rate: config.max_upload_bytes_per_second.map(RateLimit::new),
            download_rate: config.max_download_bytes_per_second.map(RateLimit::new),
            retry_timeout,
            last_success: Mutex::default(),
        }))
    }

    /// Waits for permits for a request that holds `bytes`.
    ///
    /// The holder must not wait for another permit of the same budget, and must make progress on its own; see
    /// [`run_detached`].
    pub(super) async fn permit(&self, bytes: u64) -> Permit {
        let wanted = usize::try_from(bytes.div_ceil(PERMIT_BYTES)).unwrap_or(usize::MAX).clamp(1, self.permits_max);
        let wanted = u32::try_from(wanted).unwrap_or(u32::MAX);
        // The semaphore is never closed. Without a permit the work would run uncounted.
        Permit { _permit: self.permits.clone().acquire_many_owned(wanted).await.ok() }
    }

    /// Runs a report that nothing depends on. It ends early, with an error, when its time is over.
    pub(super) async fn report<T>(&self, report: impl Future<Output = T>) -> Result<T, Elapsed> {
        timeout(REPORT_TIMEOUT, report).await
    }

    /// Waits until the rate limit allows sending this many bytes, and counts what it has allowed so far. If it is dropped,
    /// nothing was sent and nothing counts.
    pub(super) async fn before_sending(&self, bytes: u64, count: &SentCounter) -> Allowed {
        let mut allowed = Allowed::new(count.clone());
        if let Some(rate) = &self.upload_rate {
            rate.take(bytes, |bytes| allowed.add(bytes)).await;
        }
        allowed
    }

    /// Counts the bytes of a small object, and does not wait: what is sent after it waits longer. Small objects are written
    /// by steps that have a time limit, and that must run to their end after an interrupt.
    pub(super) fn sending_small(&self, bytes: u64) {
        if let Some(rate) = &self.upload_rate {
            rate.owe(bytes);
        }
    }

    /// Waits until the rate limit allows receiving this many bytes.
    pub(super) async fn before_receiving(&self, bytes: u64) {
        if let Some(rate) = &self.download_rate {
            rate.take(bytes, |_not_counted| {}).await;
        }
    }

    /// Records that a transfer succeeded.
    pub(super) fn succeeded(&self) {
        *lock(&self.last_success) = Some(Instant::now());
    }

    /// Returns the deadline of an operation that begins now.
    pub(super) fn deadline(&self) -> RetryDeadline {
        RetryDeadline { since: Instant::now(), retry_timeout: self.retry_timeout, delay: BACKOFF_FIRST }
    }
}

/// A share of the budget, returned when it is dropped.
#[derive(Debug)]
pub(super) struct Permit {
    _permit: Option<OwnedSemaphorePermit>,
}

/// Runs a read that holds permits on a task of its own, which is cancelled if the returned future is dropped.
///
/// A stream of reads may be left unpolled while its consumer waits for permits to write. A read that holds permits must
/// make progress meanwhile, or both would wait forever.
pub(super) async fn run_detached<T: Send + 'static>(
    read: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    let mut task = JoinSet::new();
    task.spawn(read);
    let failed = || SnapshotError::new(ErrorKind::Internal, "a task of this program failed");
    match task.join_next().await {
        Some(Ok(answer)) => answer,
        Some(Err(error)) => Err(failed().with_source(error)),
        None => Err(failed()),
    }
}

/// How long an operation is retried: until nothing has succeeded for the retry timeout.
#[derive(Debug)]
pub(super) struct RetryDeadline {
    since: Instant,
    retry_timeout: Duration,
    delay: Duration,
}

impl RetryDeadline {
    /// Restarts the deadline, because the operation has made progress.
    pub(super) fn restart(&mut self) {
        self.since = Instant::now();
        self.delay = BACKOFF_FIRST;
    }

    /// Waits before the next attempt. Returns false, without waiting, if there should be none.
    pub(super) async fn wait(&mut self) -> bool {
        if self.since.elapsed() >= self.retry_timeout {
            return false;
        }
        tracing::info!(delay_ms = self.delay.as_millis() as u64, "a request has failed; it is sent again");
        sleep(self.delay).await;
        self.delay = (self.delay * 2).min(BACKOFF_MAX);
        true
    }
}

/// Counts how often the layers below sent a request. After more than one attempt, an object that exists may be its own.
#[derive(Debug, Clone, Default)]
pub(super) struct AttemptCount(Arc<AtomicU32>);

impl AttemptCount {
    #[cfg(feature = "http")]
    pub(super) fn increment(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn is_several(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 1
    }
}

/// Returns the options of a multipart upload whose parts are retried within the budget.
pub(super) fn part_options(budget: &Arc<Budget>) -> PutMultipartOptions {
    #[cfg(feature = "http")]
    return PutMultipartOptions::default().with_retry_policy(budget.clone());
    #[cfg(not(feature = "http"))]
    {
        let _local_parts_are_not_retried = budget;
        PutMultipartOptions::default()
    }
}

#[cfg(feature = "http")]
mod part_retries {
    //! The retries of parts that the client of `object_store` gave up.

    use async_trait::async_trait;
    use object_store::retry::{RetryContext, RetryFailure, RetryPolicy};
    use tokio::time::sleep;

    use super::{BACKOFF_FIRST, BACKOFF_MAX, Budget, lock};
    use crate::store::error::is_transient_kind;

    #[async_trait]
    impl RetryPolicy for Budget {
        /// Retries while other transfers of the same budget succeed.
        async fn retry(&self, part: RetryContext) -> bool {
            let is_transient = match part.failure {
                RetryFailure::Status(status) => status.is_server_error() || matches!(status.as_u16(), 408 | 429),
                RetryFailure::Transport(kind) => is_transient_kind(kind),
                _ => false,
            };
            let quiet_for = lock(&self.last_success).map_or(part.elapsed, |at| at.elapsed().min(part.elapsed));
            if !is_transient || quiet_for >= self.retry_timeout {
                return false;
            }
            let doublings = u32::try_from(part.attempt).unwrap_or(u32::MAX).min(8);
            sleep((BACKOFF_FIRST * 2u32.pow(doublings)).min(BACKOFF_MAX)).await;
            true
        }
    }
}

/// A store with a budget, over a store that has none that this crate knows of.
///
/// Each call holds permits while it runs. A listing holds none.
#[derive(Debug)]
pub(super) struct BudgetedStore {
    inner: Arc<dyn SnapshotStore>,
    budget: Arc<Budget>,
}

impl BudgetedStore {
    pub(super) fn new(inner: Arc<dyn SnapshotStore>, budget: Arc<Budget>) -> Self {
        Self { inner, budget }
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl SnapshotStore for BudgetedStore {
    async fn create(&self, key: &str, bytes: Bytes) -> Result<()> {
        let size_bytes = bytes.len() as u64;
        let _permit = self.budget.permit(size_bytes).await;
        self.budget.sending_small(size_bytes);
        self.inner.create(key, bytes).await
    }

    async fn upload(&self, key: &str, size_hint_bytes: Option<u64>) -> Result<Box<dyn Upload>> {
        let _permit = self.budget.permit(0).await;
        let inner = self.inner.upload(key, size_hint_bytes).await?;
        Ok(Box::new(BudgetedUpload { inner, budget: self.budget.clone(), count: Arc::new(|_| {}) }))
    }

    async fn get(&self, key: &str, limit_bytes: u64) -> Result<Bytes> {
        let (inner, budget, key) = (self.inner.clone(), self.budget.clone(), key.to_owned());
        run_detached(async move {
            let _permit = budget.permit(0).await;
            let bytes = inner.get(&key, limit_bytes).await?;
            // The size is known only now. The wait delays the next read.
            budget.before_receiving(bytes.len() as u64).await;
            Ok(bytes)
        })
        .await
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes> {
        let (inner, budget, key) = (self.inner.clone(), self.budget.clone(), key.to_owned());
        run_detached(async move {
            let size_bytes = range.end.saturating_sub(range.start);
            let _permit = budget.permit(size_bytes).await;
            budget.before_receiving(size_bytes).await;
            inner.get_range(&key, range).await
        })
        .await
    }

    async fn head(&self, key: &str) -> Result<ObjectInfo> {
        let (inner, budget, key) = (self.inner.clone(), self.budget.clone(), key.to_owned());
        run_detached(async move {
            let _permit = budget.permit(0).await;
            inner.head(&key).await
        })
        .await
    }

    fn list<'a>(&'a self, prefix: &str) -> BoxStream<'a, Result<ObjectInfo>> {
        self.inner.list(prefix)
    }

    fn list_entries<'a>(&'a self, prefix: &str) -> BoxStream<'a, Result<ListEntry>> {
        self.inner.list_entries(prefix)
    }

    async fn delete(&self, key: &str) -> Result<()> {
        let _permit = self.budget.permit(0).await;
        self.inner.delete(key).await
    }
}

impl fmt::Display for BudgetedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

struct BudgetedUpload {
    inner: Box<dyn Upload>,
    budget: Arc<Budget>,
    count: SentCounter,
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Upload for BudgetedUpload {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        let size_bytes = bytes.len() as u64;
        let _permit = self.budget.permit(size_bytes).await;
        let allowed = self.budget.before_sending(size_bytes, &self.count).await;
        self.inner.write(bytes).await?;
        allowed.received(size_bytes);
        Ok(())
    }

    async fn send_rest(&mut self) -> Result<()> {
        let _permit = self.budget.permit(0).await;
        self.inner.send_rest().await
    }

    fn count_sent(&mut self, count: SentCounter) {
        self.count = count;
    }

    async fn finish(self: Box<Self>) -> Result<u64> {
        let _permit = self.budget.permit(0).await;
        self.inner.finish().await
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        // Without a permit: an abort releases resources and must not wait for them.
        self.inner.abort().await
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limited(max_concurrent_io: usize, bytes_per_second: Option<u64>) -> Arc<Budget> {
        let config = TransferConfig::default()
            .max_concurrent_io(max_concurrent_io)
            .max_upload_bytes_per_second(bytes_per_second);
        Budget::new(&config, RETRY_TIMEOUT).unwrap()
    }

    fn uncounted() -> SentCounter {
        Arc::new(|_| {})
    }

    #[tokio::test]
    async fn a_large_part_takes_several_permits_and_never_more_than_there_are() {
        let budget = limited(3, None);
        let two = budget.permit(2 * PERMIT_BYTES).await;
        let one = budget.permit(0).await;
        assert_eq!(budget.permits.available_permits(), 0);
        drop((one, two));
        let _all = budget.permit(u64::MAX).await;
        assert_eq!(budget.permits.available_permits(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_limit_holds_on_average() {
        let budget = limited(4, Some(1_000_000));
        let start = Instant::now();
        for _ in 0..5 {
            budget.before_sending(2_000_000, &uncounted()).await;
            budget.before_receiving(u64::MAX).await;
        }
        assert_eq!(start.elapsed().as_secs(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_small_object_waits_for_nothing_and_is_paid_for_by_the_next_one() {
        let budget = limited(4, Some(1000));
        let start = Instant::now();
        budget.sending_small(5000);
        assert_eq!(start.elapsed().as_secs(), 0);
        budget.before_sending(1000, &uncounted()).await;
        assert_eq!(start.elapsed().as_secs(), 6);
        budget.before_sending(1000, &uncounted()).await;
        assert_eq!(start.elapsed().as_secs(), 7);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_was_dropped_delays_nothing() {
        let budget = limited(4, Some(1));
        // Also one that exceeds every duration.
        let count = uncounted();
        for bytes in [1_000_000, u64::MAX] {
            assert!(futures::poll!(std::pin::pin!(budget.before_sending(bytes, &count))).is_pending());
        }
        let start = Instant::now();
        budget.before_sending(3, &uncounted()).await;
        assert_eq!(start.elapsed().as_secs(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn an_operation_that_makes_progress_is_never_given_up() {
        let budget = limited(4, None);
        let mut deadline = budget.deadline();
        for _ in 0..100 {
            sleep(RETRY_TIMEOUT - Duration::from_secs(1)).await;
            assert!(deadline.wait().await);
            deadline.restart();
        }
        let mut attempts = 0;
        while deadline.wait().await {
            attempts += 1;
        }
        assert!((10..100).contains(&attempts), "{attempts}");
    }

    #[tokio::test]
    async fn a_detached_read_releases_its_permits_while_it_is_not_polled() {
        let budget = limited(1, None);
        let held = budget.clone();
        let mut read = Box::pin(run_detached(async move {
            let _permit = held.permit(0).await;
            tokio::task::yield_now().await;
            Ok(7)
        }));
        assert!(futures::poll!(read.as_mut()).is_pending());
        drop(budget.permit(PERMIT_BYTES).await);
        assert_eq!(read.await.unwrap(), 7);
    }

    #[tokio::test]
    async fn dropping_a_detached_read_cancels_it() {
        let budget = limited(1, None);
        let held = budget.clone();
        let mut read = Box::pin(run_detached(async move {
            let _permit = held.permit(0).await;
            std::future::pending::<Result<()>>().await
        }));
        assert!(futures::poll!(read.as_mut()).is_pending());
        while budget.permits.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        drop(read);
        drop(budget.permit(PERMIT_BYTES).await);
    }
}

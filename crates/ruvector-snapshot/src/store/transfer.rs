//! How much is under way at once, how fast, and how long to go on trying: one budget for everything that a store carries.
//!
//! - A permit is 8 MiB of buffer on its way, or one request. `max_concurrent_io` permits are all there are, so that they
//!   bound memory and concurrency at once; whoever wants more waits, and so does the compressor behind it.
//! - The deadline for trying again counts from the last time that something succeeded, not from the start: a transfer that
//!   gets on, however slowly, is never given up.
//!
//! Nothing here knows a key or a store. Where nothing is limited and nothing fails, no timer is used.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use object_store::PutMultipartOptions;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, sleep_until};

use crate::error::{ErrorKind, Result, SnapshotError};

/// What a permit stands for, in bytes of buffer.
pub(super) const PERMIT_BYTES: u64 = 8 * 1024 * 1024;

const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(15);
/// How long to go on trying while nothing succeeds, unless the settings say otherwise.
pub(super) const RETRY_TIMEOUT: Duration = Duration::from_secs(180);

/// The limits of a store's transfers. Start from `default()`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransferConfig {
    /// Requests under way at the same time, and buffers of 8 MiB that they may hold, 1 to 1,024; 4. A part of an upload that
    /// is larger takes the place of several.
    pub max_concurrent_io: usize,
    /// Bytes per second that are written at most, on average over a few parts of 8 MiB; no limit where it is `None`.
    pub max_upload_bytes_per_second: Option<u64>,
    /// Bytes per second that are read at most, on average over a few reads; no limit where it is `None`.
    pub max_download_bytes_per_second: Option<u64>,
}

impl Default for TransferConfig {
    fn default() -> Self {
        Self { max_concurrent_io: 4, max_upload_bytes_per_second: None, max_download_bytes_per_second: None }
    }
}

impl TransferConfig {
    /// Refuses settings outside of their limits, with `Invalid`.
    pub fn validate(&self) -> Result<()> {
        let problem = if !(1..=1024).contains(&self.max_concurrent_io) {
            format!("max_concurrent_io is {}, and can be 1 to 1024", self.max_concurrent_io)
        } else if self.max_upload_bytes_per_second == Some(0) || self.max_download_bytes_per_second == Some(0) {
            "a limit of 0 bytes per second would never end; leave it out for none".to_owned()
        } else {
            return Ok(());
        };
        Err(SnapshotError::new(ErrorKind::Invalid, problem))
    }
}

/// The budget of one store, shared by all that it carries.
#[derive(Debug)]
pub(super) struct Transfers {
    permits: Arc<Semaphore>,
    permits_max: usize,
    up: Option<Rate>,
    down: Option<Rate>,
    retry_timeout: Duration,
    last_success: Mutex<Option<Instant>>,
}

impl Transfers {
    pub(super) fn new(config: &TransferConfig, retry_timeout: Duration) -> Result<Arc<Self>> {
        config.validate()?;
        Ok(Arc::new(Self {
            permits: Arc::new(Semaphore::new(config.max_concurrent_io)),
            permits_max: config.max_concurrent_io,
            up: config.max_upload_bytes_per_second.map(Rate::new),
            down: config.max_download_bytes_per_second.map(Rate::new),
            retry_timeout,
            last_success: Mutex::default(),
        }))
    }

    /// Waits for room for a request that holds `bytes`. Whoever holds a permit never waits for another.
    pub(super) async fn permit(&self, bytes: u64) -> Permit {
        let wanted = usize::try_from(bytes.div_ceil(PERMIT_BYTES)).unwrap_or(usize::MAX).clamp(1, self.permits_max);
        let wanted = u32::try_from(wanted).unwrap_or(u32::MAX);
        // The semaphore is never closed; without a permit the work would merely not be counted.
        Permit { _permit: self.permits.clone().acquire_many_owned(wanted).await.ok() }
    }

    /// Waits until the limit allows that many bytes to be sent.
    pub(super) async fn before_sending(&self, bytes: u64) {
        if let Some(rate) = &self.up {
            rate.take(bytes).await;
        }
    }

    /// Waits until the limit allows that many bytes to be read.
    pub(super) async fn before_reading(&self, bytes: u64) {
        if let Some(rate) = &self.down {
            rate.take(bytes).await;
        }
    }

    /// Something got through.
    pub(super) fn succeeded(&self) {
        *lock(&self.last_success) = Some(Instant::now());
    }

    /// Patience for one piece of work that begins now.
    pub(super) fn patience(&self) -> Patience {
        Patience { begun: Instant::now(), retry_timeout: self.retry_timeout, delay: BACKOFF_FIRST }
    }
}

/// Room in the budget, until it is dropped.
#[derive(Debug)]
pub(super) struct Permit {
    _permit: Option<OwnedSemaphorePermit>,
}

/// How much longer a piece of work is tried: until nothing has succeeded for the retry timeout.
#[derive(Debug)]
pub(super) struct Patience {
    begun: Instant,
    retry_timeout: Duration,
    delay: Duration,
}

impl Patience {
    /// The work has got on: the deadline begins anew.
    pub(super) fn progressed(&mut self) {
        self.begun = Instant::now();
        self.delay = BACKOFF_FIRST;
    }

    /// Waits before the next try; false where there should be none.
    pub(super) async fn wait(&mut self) -> bool {
        if self.begun.elapsed() >= self.retry_timeout {
            return false;
        }
        sleep(self.delay).await;
        self.delay = (self.delay * 2).min(BACKOFF_MAX);
        true
    }
}

/// How often a request was sent, by whoever repeats it below: after more than once, an object that exists may be its own.
#[derive(Debug, Clone, Default)]
pub(super) struct Tries(Arc<AtomicU32>);

impl Tries {
    #[cfg(feature = "http")]
    pub(super) fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn are_several(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 1
    }
}

/// How the parts of an upload are tried again.
pub(super) fn part_options(transfers: &Arc<Transfers>) -> PutMultipartOptions {
    #[cfg(feature = "http")]
    return PutMultipartOptions::default().with_retry_policy(transfers.clone());
    #[cfg(not(feature = "http"))]
    {
        let _a_disk_needs_none = transfers;
        PutMultipartOptions::default()
    }
}

/// Whether what failed so may work another time: the connection broke, and nobody refused anything.
pub(super) fn is_transient(error: &object_store::Error) -> bool {
    #[cfg(feature = "http")]
    return http::is_transient(error);
    #[cfg(not(feature = "http"))]
    {
        let _a_disk_says_no_for_good = error;
        false
    }
}

#[cfg(feature = "http")]
mod http {
    use std::error::Error as StdError;

    use async_trait::async_trait;
    use object_store::client::{HttpError, HttpErrorKind};
    use object_store::retry::{RetryContext, RetryFailure, RetryPolicy};
    use tokio::time::sleep;

    use super::{BACKOFF_FIRST, BACKOFF_MAX, Transfers, lock};

    /// Whether a part that failed is sent again, after the client's own tries of it were in vain.
    #[async_trait]
    impl RetryPolicy for Transfers {
        async fn retry(&self, part: RetryContext) -> bool {
            let may_pass = match part.failure {
                RetryFailure::Status(status) => status.is_server_error() || matches!(status.as_u16(), 408 | 429),
                RetryFailure::Transport(kind) => may_pass(kind),
                _ => false,
            };
            let quiet_for = lock(&self.last_success).map_or(part.elapsed, |at| at.elapsed().min(part.elapsed));
            if !may_pass || quiet_for >= self.retry_timeout {
                return false;
            }
            let doublings = u32::try_from(part.attempt).unwrap_or(u32::MAX).min(8);
            sleep((BACKOFF_FIRST * 2u32.pow(doublings)).min(BACKOFF_MAX)).await;
            true
        }
    }

    pub(super) fn is_transient(error: &object_store::Error) -> bool {
        let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
        while let Some(current) = cause {
            if let Some(error) = current.downcast_ref::<HttpError>() {
                return may_pass(error.kind());
            }
            cause = current.source();
        }
        false
    }

    fn may_pass(kind: HttpErrorKind) -> bool {
        matches!(
            kind,
            HttpErrorKind::Connect | HttpErrorKind::Request | HttpErrorKind::Timeout | HttpErrorKind::Interrupted
        )
    }
}

/// So many bytes per second, on average: each taking is put off until the takings before it have been paid for.
#[derive(Debug)]
struct Rate {
    bytes_per_second: u64,
    free_at: Mutex<Option<Instant>>,
}

impl Rate {
    fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second, free_at: Mutex::default() }
    }

    async fn take(&self, bytes: u64) {
        let turn = {
            let mut free_at = lock(&self.free_at);
            let now = Instant::now();
            let turn = free_at.map_or(now, |at| at.max(now));
            // The slowest limit and the widest range are more seconds than there are.
            let pay = Duration::try_from_secs_f64(bytes as f64 / self.bytes_per_second as f64).unwrap_or(Duration::MAX);
            *free_at = turn.checked_add(pay);
            turn
        };
        sleep_until(turn).await;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limited(max_concurrent_io: usize, bytes_per_second: Option<u64>) -> Arc<Transfers> {
        let config = TransferConfig {
            max_concurrent_io,
            max_upload_bytes_per_second: bytes_per_second,
            max_download_bytes_per_second: None,
        };
        Transfers::new(&config, RETRY_TIMEOUT).unwrap()
    }

    #[tokio::test]
    async fn a_large_part_takes_the_place_of_several_and_never_more_than_there_are() {
        let transfers = limited(3, None);
        let two = transfers.permit(2 * PERMIT_BYTES).await;
        let one = transfers.permit(0).await;
        assert_eq!(transfers.permits.available_permits(), 0);
        drop((one, two));
        let _all = transfers.permit(u64::MAX).await;
        assert_eq!(transfers.permits.available_permits(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_holds_on_average() {
        let transfers = limited(4, Some(1_000_000));
        let start = Instant::now();
        for _ in 0..5 {
            transfers.before_sending(2_000_000).await;
            transfers.before_reading(u64::MAX).await;
        }
        // The first goes at once, and each of the others when the one before it is paid for.
        assert_eq!(start.elapsed().as_secs(), 8);
    }

    #[tokio::test(start_paused = true)]
    async fn a_range_that_no_time_would_do_for_is_no_panic() {
        limited(4, Some(1)).before_sending(u64::MAX).await;
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_gets_on_is_never_given_up() {
        let transfers = limited(4, None);
        let mut patience = transfers.patience();
        for _ in 0..100 {
            sleep(RETRY_TIMEOUT - Duration::from_secs(1)).await;
            assert!(patience.wait().await);
            patience.progressed();
        }
        let mut tries = 0;
        while patience.wait().await {
            tries += 1;
        }
        assert!((10..100).contains(&tries), "{tries}");
    }
}

//! A rate limit, and the count of what it has allowed.
#![expect(clippy::disallowed_methods, reason = "a rate is measured")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::{Sent, SentCounter};

/// Time without a transfer for which a rate limit lets bytes through at once.
const CREDIT: Duration = Duration::from_millis(100);

/// How often a call that waits reports what it has allowed.
const REPORT_INTERVAL: Duration = Duration::from_millis(250);

/// Bytes per second, on average. Each call waits for its turn, and until its bytes have been paid for with time.
#[derive(Debug)]
pub(super) struct RateLimit {
    bytes_per_second: u64,
    /// Until when all bytes are paid for. Locked by the call whose turn it is: one that is dropped has taken nothing.
    paid_until: tokio::sync::Mutex<Option<Instant>>,
    /// Bytes that the next call pays for.
    owed_bytes: AtomicU64,
}

impl RateLimit {
    pub(super) fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second, paid_until: tokio::sync::Mutex::default(), owed_bytes: AtomicU64::new(0) }
    }

    /// Waits until this many bytes are paid for. Passes to `allow` how many more are, again and again: in all, `bytes`.
    pub(super) async fn take(&self, bytes: u64, allow: impl FnMut(u64) + Send) {
        let mut paid_until = self.paid_until.lock().await;
        let owed_bytes = self.owed_bytes.load(Ordering::Relaxed);
        // The lowest limit and the longest range give more seconds than a `Duration` holds.
        let all_bytes = bytes.saturating_add(owed_bytes);
        let cost =
            Duration::try_from_secs_f64(all_bytes as f64 / self.bytes_per_second as f64).unwrap_or(Duration::MAX);
        let now = Instant::now();
        // Time without a call counts a little. Timers are too coarse for each of many small reads.
        let from = paid_until.map_or(now, |paid| now.checked_sub(CREDIT).map_or(now, |credit| paid.max(credit)));
        let Some(paid) = from.checked_add(cost) else { return std::future::pending().await };
        wait_until(paid, now, bytes, allow).await;
        *paid_until = Some(paid);
        self.owed_bytes.fetch_sub(owed_bytes, Ordering::Relaxed);
    }

    pub(super) fn owe(&self, bytes: u64) {
        self.owed_bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// Waits from `now` until `paid`, and divides `bytes` evenly over this time.
async fn wait_until(paid: Instant, now: Instant, bytes: u64, mut allow: impl FnMut(u64)) {
    let mut allowed = 0;
    let mut next = now + REPORT_INTERVAL;
    while next < paid {
        sleep_until(next).await;
        let share = (next - now).as_secs_f64() / (paid - now).as_secs_f64();
        let so_far = ((bytes as f64 * share) as u64).clamp(allowed, bytes);
        if so_far > allowed {
            allow(so_far - allowed);
        }
        (allowed, next) = (so_far, next + REPORT_INTERVAL);
    }
    if paid > now {
        sleep_until(paid).await;
    }
    allow(bytes - allowed);
}

/// Bytes that a rate limit has allowed. They are withdrawn when this is dropped before the store has received them.
pub(super) struct Allowed {
    count: SentCounter,
    bytes: u64,
}

impl Allowed {
    pub(super) fn new(count: SentCounter) -> Self {
        Self { count, bytes: 0 }
    }

    pub(super) fn add(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
        (self.count)(Sent::Allowed(bytes));
    }

    /// Counts bytes that the store has received.
    pub(super) fn received(mut self, bytes: u64) {
        self.bytes = 0;
        (self.count)(Sent::Received(bytes));
    }
}

impl Drop for Allowed {
    fn drop(&mut self) {
        if self.bytes > 0 {
            (self.count)(Sent::Withdrawn(self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_allowed_is_reported_while_it_waits_and_adds_up() {
        let rate = RateLimit::new(1000);
        rate.owe(3000);
        let mut allowed = Vec::new();
        rate.take(5000, |bytes| allowed.push(bytes)).await;
        // 8 seconds, for which what was owed counts too.
        assert_eq!((allowed.len(), allowed.iter().sum::<u64>()), (32, 5000));
        assert!(allowed.iter().all(|bytes| (156..=157).contains(bytes)), "{allowed:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_allowed_and_is_not_sent_is_withdrawn() {
        let (rate, counted) = (RateLimit::new(1000), Arc::<Mutex<Vec<Sent>>>::default());
        let counter = counted.clone();
        let count: SentCounter = Arc::new(move |sent| counter.lock().unwrap().push(sent));
        let waiting = async {
            let mut allowed = Allowed::new(count.clone());
            rate.take(5000, |bytes| allowed.add(bytes)).await;
        };
        assert!(tokio::time::timeout(Duration::from_millis(600), waiting).await.is_err());
        assert_eq!(*counted.lock().unwrap(), [Sent::Allowed(250), Sent::Allowed(250), Sent::Withdrawn(500)]);
    }
}

//! What a phase counts, how far it has come and how fast it is, as numbers. `words` puts that into text.
#![expect(clippy::disallowed_methods, reason = "measures how long a phase takes")]

use std::time::{Duration, Instant};

use ruvector_snapshot::{Phase, ProgressUpdate};

use crate::output::rate;

/// Whose bytes a phase counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BytesOf {
    /// Of vectors and metadata, uncompressed.
    Records,
    /// Of objects.
    Store,
    Nothing,
}

impl BytesOf {
    pub(super) fn phase(phase: Phase) -> Self {
        match phase {
            Phase::Compare | Phase::Drill => Self::Nothing,
            Phase::Copy | Phase::Store | Phase::ReadAgain => Self::Store,
            _ => Self::Records,
        }
    }
}

/// The phase that is going on.
#[derive(Debug, Default)]
pub(super) struct Course {
    began: Option<(Instant, ProgressUpdate)>,
    last: Option<ProgressUpdate>,
    pub(super) limits: Limits,
}

/// Bytes per second that are sent to the store and received from it at most.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Limits {
    pub(super) upload: Option<u64>,
    pub(super) download: Option<u64>,
}

impl Course {
    pub(super) fn with_limits(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Takes the next update. A phase of which less is done than before was started again.
    pub(super) fn next(&mut self, update: ProgressUpdate) -> Step {
        let continues = |last: ProgressUpdate| {
            last.phase == update.phase && last.records <= update.records && last.bytes <= update.bytes
        };
        if !self.last.is_some_and(continues) {
            self.began = None;
        }
        self.last = Some(update);
        let (started, first) = *self.began.get_or_insert_with(|| (Instant::now(), update));
        Step { update, first, taken: started.elapsed(), limits: self.limits }
    }
}

/// How far a phase has come.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    pub(super) update: ProgressUpdate,
    /// Where the phase has begun: what was done before it is no part of its rates.
    first: ProgressUpdate,
    pub(super) taken: Duration,
    pub(super) limits: Limits,
}

impl Step {
    pub(super) fn phase(&self) -> Phase {
        self.update.phase
    }

    pub(super) fn records_per_second(&self) -> u64 {
        rate(self.update.records.saturating_sub(self.first.records), self.taken)
    }

    pub(super) fn bytes_per_second(&self) -> u64 {
        rate(passed(&self.update).saturating_sub(passed(&self.first)), self.taken)
    }

    /// Returns how far the work has come, and how far it goes: in bytes if their total is known, and else in records.
    pub(super) fn position(&self) -> (u64, u64) {
        position(&self.update)
    }

    /// Returns how much is done, in percent: 100 only if everything is that is counted.
    pub(super) fn percent(&self) -> Option<u64> {
        let ((done, total), update) = (self.position(), &self.update);
        let percent = (total > 0).then(|| (u128::from(done) * 100 / u128::from(total.max(done))) as u64);
        let is_open = update.records < update.records_total || update.allowed_bytes > 0;
        percent.map(|percent| if is_open { percent.min(99) } else { percent })
    }

    /// Returns how long the rest takes at the rate so far.
    pub(super) fn seconds_left(&self) -> Option<f64> {
        let (done, total) = self.position();
        let (before, _) = position(&self.first);
        match (total.checked_sub(done)?, done.saturating_sub(before)) {
            (0, _) => Some(0.0),
            (_, 0) => None,
            (rest, done) => Some(self.taken.as_secs_f64() * rest as f64 / done as f64),
        }
        .filter(|_| total > 0)
    }
}

fn position(update: &ProgressUpdate) -> (u64, u64) {
    match update.bytes_total {
        0 => (update.records, update.records_total),
        total => (passed(update), total),
    }
}

/// Returns the bytes of a phase, with those that the upload limit has allowed: a part that waits for the limit is not stored,
/// but the time that it takes passes.
fn passed(update: &ProgressUpdate) -> u64 {
    update.bytes.saturating_add(update.allowed_bytes)
}

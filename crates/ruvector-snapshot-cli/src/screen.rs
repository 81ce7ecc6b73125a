//! The progress bar that is on the screen, and how it makes way for a notice.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use indicatif::ProgressBar;

/// The bar that is on the screen. A clone shares it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Screen {
    bar: Arc<Mutex<Option<ProgressBar>>>,
    is_stopped: Arc<AtomicBool>,
}

impl Screen {
    /// Remembers the bar that is drawn.
    pub(crate) fn show(&self, bar: &ProgressBar) {
        *self.locked() = Some(bar.clone());
    }

    /// Removes the bar, and keeps it away: a notice is on a line of its own.
    pub(crate) fn stop(&self) {
        self.is_stopped.store(true, Ordering::SeqCst);
        if let Some(bar) = &*self.locked() {
            bar.finish_and_clear();
        }
    }

    /// Returns whether a signal has stopped the work, then and later.
    pub(crate) fn stopped(&self) -> Arc<AtomicBool> {
        self.is_stopped.clone()
    }

    fn locked(&self) -> MutexGuard<'_, Option<ProgressBar>> {
        self.bar.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! How progress is displayed, and how the bar that is on the screen makes way for a notice.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use indicatif::ProgressBar;

use crate::global::{Global, ProgressFormat};
use crate::logs;
use crate::output::Output;

/// How progress is displayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    Nothing,
    Bar,
    Lines,
    Documents,
}

impl Shown {
    /// Returns how a run with these options displays it. What `--progress` says counts, and then `--quiet` and `--json`.
    pub(crate) fn of(global: &Global, output: Output) -> Self {
        match global.progress {
            ProgressFormat::None => Self::Nothing,
            ProgressFormat::Text => Self::Lines,
            ProgressFormat::Json => Self::Documents,
            ProgressFormat::Auto if output.quiet => Self::Nothing,
            ProgressFormat::Auto if output.json => Self::Documents,
            // Lines of a log and a bar would overwrite each other.
            ProgressFormat::Auto if output.is_terminal() && !logs::is_on_stderr(global) => Self::Bar,
            ProgressFormat::Auto => Self::Lines,
        }
    }
}

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

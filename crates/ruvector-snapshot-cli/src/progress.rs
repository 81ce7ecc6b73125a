//! Displays progress: a bar on a terminal, and a line from time to time elsewhere. Only on standard error, and never
//! with --quiet. Also remembers the ids that the library reports, and passes its warnings on.
#![expect(clippy::disallowed_methods, reason = "limits how often progress is printed, and estimates the time left")]

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use ruvector_snapshot::{Phase, Progress, ProgressUpdate, Transferred};
use serde_json::{Value, json};

use crate::interrupted::Attempts;
use crate::output::{Output, count, rate, size};
use crate::session::Session;
use crate::warnings::Warnings;

/// Time between two lines without a terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

const BAR: &str = "{prefix:<9} [{bar:15}] {percent:>3} %  {msg}  {eta} left";

/// The progress display of one command. Removed from the terminal when dropped.
#[derive(Debug)]
pub(crate) struct ProgressDisplay {
    listener: Arc<dyn Progress>,
    bar: Option<ProgressBar>,
    is_restored: Arc<AtomicBool>,
    transferred: Arc<Mutex<Transferred>>,
}

impl ProgressDisplay {
    /// Starts a display. The ids of attempts are added to `attempts`.
    pub(crate) fn new(session: &Session, attempts: &Attempts) -> Self {
        let output = session.output;
        let now = Instant::now();
        let (display, bar): (Option<Box<dyn Display>>, _) = if output.quiet {
            (None, None)
        } else if !output.is_terminal() || session.has_log_on_stderr {
            let state = LinesState { printed: now, phase_started: now, phase: None };
            (Some(Box::new(Lines { output, state: Mutex::new(state) })), None)
        } else {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            if let Ok(style) = ProgressStyle::with_template(BAR) {
                bar.set_style(style.progress_chars("=> "));
            }
            let state = Mutex::new(BarState { phase: None, started: now });
            (Some(Box::new(Bar { bar: bar.clone(), state })), Some(bar))
        };
        let (is_restored, transferred) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Transferred>>::default());
        let listener = Listener {
            display,
            bar: bar.clone(),
            attempts: attempts.clone(),
            warnings: session.warnings.clone(),
            is_restored: is_restored.clone(),
            transferred: transferred.clone(),
        };
        Self { listener: Arc::new(listener), bar, is_restored, transferred }
    }

    /// Returns the listener for the library.
    pub(crate) fn listener(&self) -> Arc<dyn Progress> {
        self.listener.clone()
    }

    /// Returns whether the library has put a restored file in its place. Ask at the end: it may still be at work.
    pub(crate) fn is_restored(&self) -> impl FnOnce() -> bool + Send + 'static {
        let is_restored = self.is_restored.clone();
        move || is_restored.load(Ordering::SeqCst)
    }

    /// Returns what the library has read and written, once its work has succeeded.
    pub(crate) fn transferred(&self) -> Transferred {
        *locked(&self.transferred)
    }

    /// Clears the bar, so that a line can be printed. The next update shows it again.
    pub(crate) fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Drop for ProgressDisplay {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// A way to display updates.
trait Display: std::fmt::Debug + Send + Sync {
    fn update(&self, update: ProgressUpdate);
}

#[derive(Debug)]
struct Listener {
    display: Option<Box<dyn Display>>,
    bar: Option<ProgressBar>,
    attempts: Attempts,
    warnings: Warnings,
    is_restored: Arc<AtomicBool>,
    transferred: Arc<Mutex<Transferred>>,
}

impl Progress for Listener {
    fn update(&self, update: ProgressUpdate) {
        if let Some(display) = &self.display {
            display.update(update);
        }
    }

    fn started(&self, id: &str) {
        self.attempts.add(id);
    }

    fn restored(&self, _path: &Path) {
        self.is_restored.store(true, Ordering::SeqCst);
    }

    fn transferred(&self, transferred: Transferred) {
        *locked(&self.transferred) = transferred;
    }

    fn warning(&self, message: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| self.warnings.add(message)),
            None => self.warnings.add(message),
        }
    }
}

#[derive(Debug)]
struct Bar {
    bar: ProgressBar,
    state: Mutex<BarState>,
}

#[derive(Debug)]
struct BarState {
    phase: Option<Phase>,
    started: Instant,
}

impl Display for Bar {
    fn update(&self, update: ProgressUpdate) {
        let mut state = locked(&self.state);
        if state.phase != Some(update.phase) || update.records == 0 || self.bar.is_finished() {
            *state = BarState { phase: Some(update.phase), started: Instant::now() };
            self.bar.reset();
            self.bar.set_prefix(phase_name(update.phase));
        }
        let (done, total) = position(update);
        self.bar.set_length(total.max(done));
        self.bar.set_message(of_records(update, state.started.elapsed()));
        self.bar.set_position(done);
    }
}

#[derive(Debug)]
struct Lines {
    output: Output,
    state: Mutex<LinesState>,
}

#[derive(Debug)]
struct LinesState {
    printed: Instant,
    phase_started: Instant,
    phase: Option<Phase>,
}

impl Display for Lines {
    fn update(&self, update: ProgressUpdate) {
        let mut state = locked(&self.state);
        if state.phase != Some(update.phase) || update.records == 0 {
            (state.phase, state.phase_started) = (Some(update.phase), Instant::now());
        }
        if state.printed.elapsed() < LINE_INTERVAL {
            return;
        }
        state.printed = Instant::now();
        let taken = state.phase_started.elapsed();
        match self.output.json {
            true => self.output.notice(document(update, taken)),
            false => self.output.notice(line(update, taken)),
        }
    }
}

fn document(update: ProgressUpdate, taken: Duration) -> Value {
    if update.phase == Phase::Copy {
        return json!({ "progress": {
            "phase": phase_name(update.phase), "snapshots": update.records, "snapshots_total": update.records_total,
            "bytes": update.bytes, "bytes_total": update.bytes_total, "bytes_per_second": rate(update.bytes, taken),
        }});
    }
    json!({ "progress": {
        "phase": phase_name(update.phase), "records": update.records, "records_total": update.records_total,
        "records_per_second": rate(update.records, taken),
        "record_bytes": update.bytes, "record_bytes_per_second": rate(update.bytes, taken),
    }})
}

fn line(update: ProgressUpdate, taken: Duration) -> String {
    let total = update.records_total.max(update.records);
    let (phase, done, total) = (phase_name(update.phase), count(update.records), count(total));
    if let Some(things) = without_contents(update.phase) {
        return format!("{phase}: {done} of {total} {things}");
    }
    let things = if update.phase == Phase::Copy { "snapshots" } else { "records" };
    format!("{phase}: {done} of {total} {things}, {}", of_records(update, taken))
}

/// Returns what a phase counts that has no contents to measure.
fn without_contents(phase: Phase) -> Option<&'static str> {
    match phase {
        // Indexes are compared.
        Phase::Compare => Some("rows"),
        Phase::Drill => Some("searches"),
        _ => None,
    }
}

/// Returns how far the work has come, and how far it goes: in bytes if their total is known, and else in records.
fn position(update: ProgressUpdate) -> (u64, u64) {
    match update.bytes_total {
        0 => (update.records, update.records_total),
        total => (update.bytes, total),
    }
}

/// Formats the bytes of an update: those of the records, not of a store or a file. Of a copy those of the objects.
fn of_records(update: ProgressUpdate, taken: Duration) -> String {
    let (done, rate) = (size(update.bytes), size(rate(update.bytes, taken)));
    if let Some(things) = without_contents(update.phase) {
        return format!("{} {things}", count(update.records));
    }
    match update.bytes_total {
        0 => format!("{done} of records, {rate}/s"),
        total => format!("{done} of {}, {rate}/s", size(total)),
    }
}

fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Create => "creating",
        Phase::Restore => "restoring",
        Phase::VerifyRestored => "verifying",
        Phase::Verify => "verifying",
        Phase::Stream => "streaming",
        Phase::Copy => "copying",
        Phase::Compare => "comparing",
        Phase::Export => "exporting",
        Phase::Search => "searching",
        Phase::Import => "sorting",
        Phase::Drill => "opening",
        _ => "working",
    }
}

fn locked<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

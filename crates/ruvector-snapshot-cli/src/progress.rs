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
use terminal_size::{Width, terminal_size_of};

use crate::interrupted::Attempts;
use crate::output::{Output, count, rate, size};
use crate::session::Session;
use crate::warnings::Warnings;

/// Time between two lines without a terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// Columns of a terminal that does not say how many it has.
const COLUMNS_DEFAULT: usize = 80;
/// How long the bar is at least, and at most.
const BAR_COLUMNS_MIN: usize = 6;
const BAR_COLUMNS_MAX: usize = 40;

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
            if let Ok(style) = ProgressStyle::with_template("{wide_msg}") {
                bar.set_style(style);
            }
            let state = Mutex::new(BarState { phase: None, started: now });
            session.screen.show(&bar);
            (Some(Box::new(Bar { bar: bar.clone(), is_stopped: session.screen.stopped(), state })), Some(bar))
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
    /// Whether a signal has stopped the work. What still runs of it does not draw the bar again.
    is_stopped: Arc<AtomicBool>,
    state: Mutex<BarState>,
}

#[derive(Debug)]
struct BarState {
    phase: Option<Phase>,
    started: Instant,
}

impl Display for Bar {
    fn update(&self, update: ProgressUpdate) {
        if self.is_stopped.load(Ordering::SeqCst) {
            return;
        }
        let mut state = locked(&self.state);
        if state.phase != Some(update.phase) || update.records == 0 || self.bar.is_finished() {
            *state = BarState { phase: Some(update.phase), started: Instant::now() };
            self.bar.reset();
        }
        let columns = terminal_columns();
        self.bar.set_message(bar_line(update, state.started.elapsed(), columns));
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
    let parts = [counts(update), bytes(update), speed(update, taken), left(update, taken)];
    format!("{}: {}", phase_name(update.phase), parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
}

/// Returns what is drawn on a terminal of so many columns. What does not fit is left out, the least important first.
fn bar_line(update: ProgressUpdate, taken: Duration, columns: usize) -> String {
    let percent = percent(update).map(|percent| format!("{percent:>3} %"));
    // In the order in which they are printed, and how important each is.
    let parts =
        [(percent, 0), (counts(update), 1), (bytes(update), 4), (speed(update, taken), 3), (left(update, taken), 2)];
    let mut parts: Vec<(String, u8)> = parts.into_iter().filter_map(|(part, rank)| Some((part?, rank))).collect();
    let joined = |parts: &[(String, u8)]| {
        let texts = parts.iter().map(|(text, _)| text.as_str());
        texts.collect::<Vec<_>>().join("  ")
    };
    let phase = phase_name(update.phase);
    // A line that fills the last column may wrap.
    let room = columns.saturating_sub(phase.len() + 3);
    while joined(&parts).chars().count() > room
        && let Some(least) = parts.iter().map(|(_, rank)| *rank).max()
    {
        parts.retain(|(_, rank)| *rank != least);
    }
    let rest = room.saturating_sub(joined(&parts).chars().count());
    format!("{phase}  {}{}", bar(update, rest), joined(&parts))
}

/// Returns the bar in the room that is left, if there is enough and the total is known.
fn bar(update: ProgressUpdate, room: usize) -> String {
    let (done, total) = position(update);
    let length = room.saturating_sub(4).min(BAR_COLUMNS_MAX);
    if total == 0 || length < BAR_COLUMNS_MIN {
        return String::new();
    }
    let filled = (done as f64 / total.max(done) as f64 * length as f64) as usize;
    format!("[{}{}]  ", "=".repeat(filled.min(length)), " ".repeat(length.saturating_sub(filled)))
}

/// Returns the columns of the terminal of the bar.
fn terminal_columns() -> usize {
    terminal_size_of(std::io::stderr()).map_or(COLUMNS_DEFAULT, |(Width(columns), _)| usize::from(columns))
}

/// Returns what a phase counts.
fn things(phase: Phase) -> &'static str {
    match phase {
        // Indexes are compared.
        Phase::Compare => "rows",
        Phase::Drill => "searches",
        Phase::Copy => "snapshots",
        _ => "records",
    }
}

/// Returns whose bytes a phase counts: those of the records, uncompressed, or those of objects. `None` if it counts none.
fn bytes_of(phase: Phase) -> Option<&'static str> {
    match phase {
        Phase::Compare | Phase::Drill => None,
        Phase::Copy => Some("stored bytes"),
        Phase::Create | Phase::Import => Some("source bytes"),
        _ => Some("record bytes"),
    }
}

fn counts(update: ProgressUpdate) -> Option<String> {
    let (done, things) = (count(update.records), things(update.phase));
    Some(match update.records_total.max(update.records) {
        _ if update.records_total == 0 => format!("{done} {things}, total not known"),
        total => format!("{done} of {} {things}", count(total)),
    })
}

fn bytes(update: ProgressUpdate) -> Option<String> {
    let whose = bytes_of(update.phase)?;
    Some(match update.bytes_total {
        0 => format!("{} {whose}", size(update.bytes)),
        total => format!("{} of {} {whose}", size(update.bytes), size(total)),
    })
}

fn speed(update: ProgressUpdate, taken: Duration) -> Option<String> {
    Some(match bytes_of(update.phase) {
        Some(_) => format!("{}/s", size(rate(update.bytes, taken))),
        None => format!("{} {}/s", count(rate(update.records, taken)), things(update.phase)),
    })
}

fn percent(update: ProgressUpdate) -> Option<u64> {
    let (done, total) = position(update);
    (total > 0).then(|| (u128::from(done) * 100 / u128::from(total.max(done))) as u64)
}

/// Returns how long the rest takes at the rate so far.
fn left(update: ProgressUpdate, taken: Duration) -> Option<String> {
    let (done, total) = position(update);
    let rest = total.checked_sub(done).filter(|_| done > 0)?;
    let seconds = (taken.as_secs_f64() * rest as f64 / done as f64).ceil().min(u32::MAX as f64) as u64;
    Some(match (seconds / 3600, seconds / 60 % 60) {
        (0, 0) => format!("{seconds} s left"),
        (0, minutes) => format!("{minutes} min left"),
        (hours, minutes) => format!("{hours} h {minutes} min left"),
    })
}

/// Returns how far the work has come, and how far it goes: in bytes if their total is known, and else in records.
fn position(update: ProgressUpdate) -> (u64, u64) {
    match update.bytes_total {
        0 => (update.records, update.records_total),
        total => (update.bytes, total),
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

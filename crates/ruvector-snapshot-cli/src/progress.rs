//! Displays progress on standard error: a bar on a terminal, lines of text from time to time elsewhere, or JSON Lines. Also
//! remembers the ids that the library reports, and passes its warnings on.
#![expect(clippy::disallowed_methods, reason = "limits how often progress is printed")]

mod phases;
mod words;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use ruvector_snapshot::{Phase, Progress, ProgressUpdate, Transferred};
use terminal_size::{Width, terminal_size_of};

use crate::documents::{ProgressDocument, ProgressLine, Run};
use crate::interrupted::Attempts;
use crate::output::Output;
use crate::screen::Shown;
use crate::session::Session;
use crate::stderr;
use crate::warnings::Warnings;

use phases::{BytesOf, Course, Limits, Step};

/// Time between two lines of text.
const LINE_INTERVAL: Duration = Duration::from_secs(5);
/// Time between two JSON Lines of one phase.
const DOCUMENT_INTERVAL: Duration = Duration::from_secs(1);

/// Columns of a terminal that does not say how many it has.
const COLUMNS_DEFAULT: usize = 80;

/// The progress display of one command. Removed from the terminal when dropped.
#[derive(Debug)]
pub(crate) struct ProgressDisplay {
    listener: Arc<Listener>,
    bar: Option<ProgressBar>,
}

impl ProgressDisplay {
    /// Starts a display. The ids of attempts are added to `attempts`.
    pub(crate) fn new(session: &Session, attempts: &Attempts) -> Self {
        let output = session.output;
        let (display, bar): (Option<Box<dyn Display>>, _) = match session.progress {
            Shown::Nothing => (None, None),
            Shown::Lines => (Some(Box::new(Lines { output, printed: Instant::now() })), None),
            Shown::Documents => {
                let run = session.run.clone();
                (Some(Box::new(Documents { output, run, printed: None, waiting: None })), None)
            }
            Shown::Bar => {
                let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
                if let Ok(style) = ProgressStyle::with_template("{wide_msg}") {
                    bar.set_style(style);
                }
                session.screen.show(&bar);
                (Some(Box::new(Bar { bar: bar.clone() })), Some(bar))
            }
        };
        let limits = session.chosen().map_or(Limits::default(), |chosen| Limits {
            upload: chosen.transfers.max_upload_bytes_per_second,
            download: chosen.transfers.max_download_bytes_per_second,
        });
        let course = Course::with_limits(limits);
        let listener = Listener {
            state: Mutex::new(State { display, course }),
            is_stopped: session.screen.stopped(),
            bar: bar.clone(),
            attempts: attempts.clone(),
            warnings: session.warnings.clone(),
            is_restored: Arc::default(),
            transferred: Mutex::default(),
        };
        Self { listener: Arc::new(listener), bar }
    }

    /// Returns a display of work that sends at most so many bytes per second, to another store than that of the session.
    pub(crate) fn sending_at_most(self, upload_limit: Option<u64>) -> Self {
        locked(&self.listener.state).course.limits.upload = upload_limit;
        self
    }

    /// Returns the listener for the library.
    pub(crate) fn listener(&self) -> Arc<dyn Progress> {
        self.listener.clone()
    }

    /// Returns whether the library has put a restored file in its place. Ask at the end: it may still be at work.
    pub(crate) fn is_restored(&self) -> impl FnOnce() -> bool + Send + 'static {
        let is_restored = self.listener.is_restored.clone();
        move || is_restored.load(Ordering::SeqCst)
    }

    /// Returns what the library has read and written, once its work has succeeded.
    pub(crate) fn transferred(&self) -> Transferred {
        *locked(&self.listener.transferred)
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
        // What the library still does, for example because it was interrupted, is not displayed.
        if let Some(mut display) = locked(&self.listener.state).display.take() {
            display.end();
        }
    }
}

/// A way to display updates.
trait Display: std::fmt::Debug + Send {
    fn update(&mut self, step: Step);

    fn end(&mut self) {}
}

#[derive(Debug)]
struct State {
    /// `None` if nothing is displayed, and after the end.
    display: Option<Box<dyn Display>>,
    course: Course,
}

#[derive(Debug)]
struct Listener {
    state: Mutex<State>,
    /// Whether a signal has stopped the work. What still runs of it is not displayed.
    is_stopped: Arc<AtomicBool>,
    bar: Option<ProgressBar>,
    attempts: Attempts,
    warnings: Warnings,
    is_restored: Arc<AtomicBool>,
    transferred: Mutex<Transferred>,
}

impl Progress for Listener {
    fn update(&self, update: ProgressUpdate) {
        let State { display, course } = &mut *locked(&self.state);
        let Some(display) = display else { return };
        if !self.is_stopped.load(Ordering::SeqCst) {
            display.update(course.next(update));
        }
        // The signal may have arrived meanwhile.
        if self.is_stopped.load(Ordering::SeqCst) {
            display.end();
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
}

impl Display for Bar {
    fn update(&mut self, step: Step) {
        if !stderr::is_ready() {
            return;
        }
        if self.bar.is_finished() {
            self.bar.reset();
        }
        self.bar.set_message(words::bar_line(&step, terminal_columns()));
    }

    fn end(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Returns the columns of the terminal of the bar.
fn terminal_columns() -> usize {
    terminal_size_of(std::io::stderr()).map_or(COLUMNS_DEFAULT, |(Width(columns), _)| usize::from(columns))
}

#[derive(Debug)]
struct Lines {
    output: Output,
    printed: Instant,
}

impl Display for Lines {
    fn update(&mut self, step: Step) {
        if self.printed.elapsed() >= LINE_INTERVAL {
            self.printed = Instant::now();
            self.output.passing_notice(words::line(&step));
        }
    }
}

/// JSON Lines: of each phase the first update, then one from time to time, and the last.
#[derive(Debug)]
struct Documents {
    output: Output,
    run: Run,
    /// The phase of the last line, and when it was printed.
    printed: Option<(Phase, Instant)>,
    /// An update that is printed if no other one of its phase comes.
    waiting: Option<Step>,
}

impl Display for Documents {
    fn update(&mut self, step: Step) {
        match self.printed {
            Some((phase, at)) if phase == step.phase() && at.elapsed() < DOCUMENT_INTERVAL => self.waiting = Some(step),
            Some((phase, _)) if phase == step.phase() => self.print(step),
            _ => {
                self.end();
                self.print(step);
            }
        }
    }

    fn end(&mut self) {
        if let Some(last) = self.waiting.take() {
            self.print(last);
        }
    }
}

impl Documents {
    fn print(&mut self, step: Step) {
        self.waiting = None;
        self.printed = Some((step.phase(), Instant::now()));
        self.output.json_line(&ProgressLine::new(&self.run, document(&step)));
    }
}

/// Returns the document of an update: what the phase counts, under the name of that.
fn document(step: &Step) -> ProgressDocument {
    let Step { update, taken, .. } = *step;
    let done = Some(update.records);
    let (total, pace) = (Some(update.records_total).filter(|total| *total > 0), Some(step.records_per_second()));
    let (bytes, bytes_total) = (Some(update.bytes), Some(update.bytes_total).filter(|total| *total > 0));
    let bytes_pace = Some(step.bytes_per_second());
    let mut document = ProgressDocument {
        phase: update.phase.into(),
        seconds: taken.as_secs_f64(),
        seconds_left: step.seconds_left(),
        ..ProgressDocument::default()
    };
    match update.phase {
        Phase::Store | Phase::ReadAgain => {}
        Phase::Copy => (document.snapshots, document.snapshots_total) = (done, total),
        Phase::Compare => (document.rows, document.rows_total, document.rows_per_second) = (done, total, pace),
        Phase::Drill => {
            (document.searches, document.searches_total, document.searches_per_second) = (done, total, pace);
        }
        _ => (document.records, document.records_total, document.records_per_second) = (done, total, pace),
    }
    match BytesOf::phase(update.phase) {
        BytesOf::Nothing => {}
        BytesOf::Records => (document.record_bytes, document.record_bytes_per_second) = (bytes, bytes_pace),
        BytesOf::Store => {
            (document.stored_bytes, document.stored_bytes_total) = (bytes, bytes_total);
            document.stored_bytes_allowed = Some(update.allowed_bytes).filter(|allowed| *allowed > 0);
            document.stored_bytes_per_second = bytes_pace;
        }
    }
    document
}

fn locked<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

//! How far a verb has come, as the user sees it: a bar on a terminal, now and then a line where nobody watches. Only on
//! standard error, and never with --quiet.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use ruvector_snapshot::{Phase, Progress, ProgressUpdate};
use serde_json::json;

use crate::output::{Output, count, size};

/// How long nothing is said where nobody watches.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

const BAR: &str = "{prefix:<9} [{bar:30}] {percent:>3} %  {msg}  {eta} left";

/// Shows how far one run of a verb has come; gone from the terminal when dropped.
#[derive(Debug)]
pub(crate) struct Shown {
    listener: Option<Arc<dyn Progress>>,
    bar: Option<ProgressBar>,
}

impl Shown {
    pub(crate) fn new(output: Output) -> Self {
        if output.quiet {
            return Self { listener: None, bar: None };
        }
        let now = Instant::now();
        if !output.is_watched() {
            let state = LinesState { said: now, phase_began: now, phase: None };
            let lines = Lines { output, state: Mutex::new(state) };
            return Self { listener: Some(Arc::new(lines)), bar: None };
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template(BAR) {
            bar.set_style(style.progress_chars("=> "));
        }
        let listener = Bar { bar: bar.clone(), state: Mutex::new(BarState { phase: None, began: now }) };
        Self { listener: Some(Arc::new(listener)), bar: Some(bar) }
    }

    /// What the library tells.
    pub(crate) fn listener(&self) -> Option<Arc<dyn Progress>> {
        self.listener.clone()
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
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
    began: Instant,
}

impl Progress for Bar {
    fn update(&self, update: ProgressUpdate) {
        let mut state = locked(&self.state);
        if state.phase != Some(update.phase) || update.records == 0 {
            *state = BarState { phase: Some(update.phase), began: Instant::now() };
            self.bar.reset();
            self.bar.set_prefix(doing(update.phase));
        }
        self.bar.set_length(update.records_total.max(update.records));
        self.bar.set_message(format!("{}, {}/s", size(update.bytes), size(rate(update.bytes, state.began))));
        self.bar.set_position(update.records);
    }
}

#[derive(Debug)]
struct Lines {
    output: Output,
    state: Mutex<LinesState>,
}

#[derive(Debug)]
struct LinesState {
    said: Instant,
    phase_began: Instant,
    phase: Option<Phase>,
}

impl Progress for Lines {
    fn update(&self, update: ProgressUpdate) {
        let mut state = locked(&self.state);
        if state.phase != Some(update.phase) || update.records == 0 {
            (state.phase, state.phase_began) = (Some(update.phase), Instant::now());
        }
        if state.said.elapsed() < LINE_INTERVAL {
            return;
        }
        state.said = Instant::now();
        let bytes_per_second = rate(update.bytes, state.phase_began);
        if self.output.json {
            self.output.notice(json!({ "progress": {
                "phase": doing(update.phase), "records": update.records, "records_total": update.records_total,
                "bytes": update.bytes, "bytes_per_second": bytes_per_second,
            }}));
        } else {
            self.output.notice(format_args!(
                "{}: {} of {} records, {}, {}/s",
                doing(update.phase),
                count(update.records),
                count(update.records_total.max(update.records)),
                size(update.bytes),
                size(bytes_per_second),
            ));
        }
    }
}

fn doing(phase: Phase) -> &'static str {
    match phase {
        Phase::Create => "creating",
        Phase::Restore => "restoring",
        Phase::Prove => "proving",
        Phase::Verify => "verifying",
        _ => "working",
    }
}

fn rate(bytes: u64, began: Instant) -> u64 {
    (bytes as f64 / began.elapsed().as_secs_f64().max(0.001)) as u64
}

fn locked<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

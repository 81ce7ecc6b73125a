//! The warnings of one run: each is printed to standard error once, and listed in the JSON document.

use std::sync::{Arc, Mutex, PoisonError};

use ruvector_snapshot::{Progress, ProgressUpdate, SnapshotManager};

use crate::logs::{self, PRINTED};
use crate::output::Output;

/// The warnings so far. A clone shares them.
#[derive(Debug, Clone)]
pub(crate) struct Warnings {
    output: Output,
    given: Arc<Mutex<Vec<String>>>,
}

impl Warnings {
    pub(crate) fn new(output: Output) -> Self {
        Self { output, given: Arc::default() }
    }

    /// Prints a warning, also with --quiet. The library repeats a warning when it attempts its work again.
    pub(crate) fn add(&self, message: &str) {
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        if given.iter().any(|other| other == message) {
            return;
        }
        given.push(message.to_owned());
        tracing::warn!(target: PRINTED, "{message}");
        self.output.message(format_args!("warning: {message}"));
    }

    /// Forgets the warnings so far, which were printed: those of a program that has run for months say nothing of its end.
    pub(crate) fn forget(&self) {
        self.given.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Adds those of a manager that no caller has received yet.
    pub(crate) fn take_from(&self, manager: &SnapshotManager) {
        manager.take_warnings().iter().for_each(|warning| self.add(warning));
    }

    /// Warns of what belongs to a database and is not in its snapshot, because a restore does not bring it back. Returns what
    /// is listed instead, if that is allowed.
    pub(crate) fn not_captured<'a>(&self, what: &'a [String], is_allowed: bool) -> &'a [String] {
        if is_allowed {
            return what;
        }
        what.iter().for_each(|what| self.add(&format!("not captured: {what}")));
        &[]
    }

    /// Returns a listener that only takes warnings.
    pub(crate) fn listener(&self) -> Arc<dyn Progress> {
        Arc::new(self.clone())
    }

    /// Returns the warnings, for the JSON document. If the log is not complete by now, that is one.
    pub(crate) fn list(&self) -> Vec<String> {
        if logs::is_incomplete() {
            self.add("the log file lacks lines: it could not be written; check the disk of --log-file");
        }
        self.given.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A listener that only takes warnings.
impl Progress for Warnings {
    fn update(&self, _update: ProgressUpdate) {}

    fn warning(&self, message: &str) {
        self.add(message);
    }
}

//! The listener of a scheduler: it receives a report of each run.

use std::fmt::Debug;

use async_trait::async_trait;

use super::JobStatus;
use super::report::{RunReport, RunStart};
use crate::error::Result;

/// Receives the runs of a scheduler: to log them, to measure them, and to call what a person has asked for.
///
/// Calls for one job come one after the other; those for several jobs may come at the same time. While a call is at work, other jobs
/// go on.
#[async_trait]
pub trait JobListener: Debug + Send + Sync {
    /// Is called before a run. Returns what a person should know, as sentences. After an error, nothing is done, and the run has
    /// failed. If the run is stopped, the future is dropped.
    async fn starting(&self, run: &RunStart) -> Result<Vec<String>> {
        let _not_needed = run;
        Ok(Vec::new())
    }

    /// Is called when the work of a run is done, with what it has done so far, also if it has failed or was stopped. Returns what a
    /// person should know, as sentences. After an error, the run has failed, and is tried again.
    async fn finishing(&self, report: &RunReport) -> Result<Vec<String>> {
        let _not_needed = report;
        Ok(Vec::new())
    }

    /// Is called after each run, with what it has done, and if a store could not be read to know which runs were missed.
    async fn ended(&self, report: &RunReport) {
        let _not_needed = report;
    }

    /// Is called each time the scheduler has decided what to do next, at least once a minute. It must return at once.
    fn waiting(&self, jobs: &[JobStatus]) {
        let _not_needed = jobs;
    }
}

/// A listener that does nothing.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Deaf;

impl JobListener for Deaf {}

//! Pauses an application by a command, and lets it go on by another. When that is done is decided by the library.

use std::sync::Arc;

use async_trait::async_trait;
use ruvector_snapshot::scheduler::JobPause;
use ruvector_snapshot::{ErrorKind, Result, SnapshotError};
use tokio::sync::Mutex;

use super::calls::Calls;
use super::environment::{Event, of_job};
use crate::config_file::JobCommand;
use crate::paused;

#[derive(Debug)]
pub(super) struct Pauser {
    job: String,
    pause: JobCommand,
    resume: JobCommand,
    calls: Arc<Calls>,
    /// Held by the command that is at work: the application is not resumed before the end of one that is pausing it.
    turn: Arc<Mutex<()>>,
}

impl Pauser {
    pub(super) fn new(job: String, (pause, resume): (JobCommand, JobCommand), calls: Arc<Calls>) -> Self {
        Self { job, pause, resume, calls, turn: Arc::default() }
    }

    async fn run(&self, event: Event, command: &JobCommand) -> std::result::Result<(), String> {
        let held = Box::new(self.turn.clone().lock_owned().await);
        let environment = of_job(event, &self.job, "");
        self.calls.run_of_pair(event, command, environment, (event == Event::Resume, held)).await
    }
}

#[async_trait]
impl JobPause for Pauser {
    async fn pause(&self) -> Result<()> {
        paused::begin(&self.job);
        let paused = self.run(Event::Pause, &self.pause).await;
        paused.map_err(|why| error(format!("{why}; no snapshot was taken")))
    }

    async fn resume(&self) -> Result<()> {
        let resumed = self.run(Event::Resume, &self.resume).await;
        if resumed.is_ok() {
            paused::end(&self.job);
        }
        resumed.map_err(|why| error(format!("{why}; the application may still be paused, so let it go on now")))
    }
}

fn error(message: String) -> SnapshotError {
    SnapshotError::new(ErrorKind::Unavailable, message)
}

//! What is at work for jobs: commands and requests, until they are to end. When they are called is not decided here.

use std::any::Any;
use std::fmt::{self, Debug};
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::watch;
use tokio::time::timeout;
use url::Url;

use super::command::{self, Call};
use super::environment::{Environment, Event};
use super::requests::{JSON, Post, Requests, TEXT};
use crate::config_file::JobCommand;

/// How long something has that is started when all is to end: what follows a run that was interrupted.
const LAST_TIMEOUT: Duration = Duration::from_secs(10);

/// Calls commands and servers.
pub(super) struct Calls {
    requests: Requests,
    /// Becomes true when all is to end. What is at work has a receiver.
    stop: watch::Sender<bool>,
    /// Whether something had to end before it was done.
    was_cut: Arc<AtomicBool>,
    /// Reports what a person should know.
    warn: Box<dyn Fn(&str) + Send + Sync>,
}

/// Without addresses and arguments: they may have keys.
impl Debug for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Calls").finish_non_exhaustive()
    }
}

impl Calls {
    pub(super) fn new(warn: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self {
            requests: Requests::default(),
            stop: watch::Sender::new(false),
            was_cut: Arc::default(),
            warn: Box::new(warn),
        }
    }

    /// Ends all that is at work, soon. What is started later has little time.
    pub(super) fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Waits until nothing is at work.
    pub(super) async fn wait_until_idle(&self) {
        self.stop.closed().await;
    }

    /// Returns whether something had to end before it was done.
    pub(super) fn was_cut(&self) -> bool {
        self.was_cut.load(Ordering::Relaxed)
    }

    /// Reports something of a job that a person should know.
    pub(super) fn warn(&self, job: &str, message: &str) {
        (self.warn)(&format!("job {job}: {message}"));
    }

    /// Runs a command.
    ///
    /// # Errors
    ///
    /// Returns which command has failed, and why.
    pub(super) async fn run(
        &self,
        event: Event,
        command: &JobCommand,
        environment: Environment,
        input: Vec<u8>,
    ) -> Result<(), String> {
        let held = Box::new(self.stop.subscribe());
        self.run_until(self.end(), held, event, Call { command, environment, input }).await
    }

    /// Runs a command that belongs together with another one, and holds this as long as it is at work. `is_last` is true of a command
    /// without which something would stay as it must not: it is not ended.
    pub(super) async fn run_of_pair(
        &self,
        event: Event,
        command: &JobCommand,
        environment: Environment,
        (is_last, held): (bool, Box<dyn Any + Send>),
    ) -> Result<(), String> {
        let held = Box::new((self.stop.subscribe(), held));
        let end = if is_last { Box::pin(pending()) } else { self.end() };
        self.run_until(end, held, event, Call { command, environment, input: Vec::new() }).await
    }

    /// Runs a command, if there is one, and reports its failure.
    pub(super) async fn run_and_report(
        &self,
        job: &str,
        event: Event,
        command: Option<&JobCommand>,
        environment: Environment,
        input: Vec<u8>,
    ) {
        let Some(command) = command else { return };
        // Until it is reported: the program does not end before.
        let _at_work = self.stop.subscribe();
        if let Err(why) = self.run(event, command, environment, input).await {
            self.warn(job, &why);
        }
    }

    /// Sends a ping that says this.
    pub(super) async fn ping(&self, job: &str, url: Url, said: String) {
        self.post(job, "ping", Post { url, content_type: TEXT, body: said.into_bytes() }).await;
    }

    /// Sends a document to a webhook, if there is one.
    pub(super) async fn webhook(&self, job: &str, url: Option<&Url>, document: Vec<u8>) {
        if let Some(url) = url {
            self.post(job, "webhook", Post { url: url.clone(), content_type: JSON, body: document }).await;
        }
    }

    async fn post(&self, job: &str, what: &str, post: Post) {
        let _at_work = self.stop.subscribe();
        if let Err(why) = self.requests.send(&post, self.end()).await {
            self.warn(job, &format!("the {what} has failed: {why}"));
        }
    }

    async fn run_until(
        &self,
        end: BoxFuture<'static, ()>,
        held: Box<dyn Any + Send>,
        event: Event,
        call: Call<'_>,
    ) -> Result<(), String> {
        let (key, program) = (event.key(), call.command.program.display().to_string());
        command::run(call, end, held).await.map_err(|why| format!("the command {key} ({program}) has failed: {why}"))
    }

    /// Returns when what is started now has to end.
    fn end(&self) -> BoxFuture<'static, ()> {
        let mut stop = self.stop.subscribe();
        let (is_late, was_cut) = (*stop.borrow(), self.was_cut.clone());
        Box::pin(async move {
            match is_late {
                true => drop(timeout(LAST_TIMEOUT, pending::<()>()).await),
                false => drop(stop.wait_for(|stop| *stop).await),
            }
            was_cut.store(true, Ordering::Relaxed);
        })
    }
}

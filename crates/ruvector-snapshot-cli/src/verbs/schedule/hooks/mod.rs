//! What a job runs and calls besides its work, by the configuration file: [`Hooks`]. What fails here is reported, and stops nothing that the
//! file does not make depend on it.
//!
//! `calls` is what is at work, until it is to end. `command` runs a command, `environment` is what it is started with, `requests` sends
//! pings and webhooks, `pause` pauses an application, and `staleness` decides when a job has become stale. Nothing here prints.

mod calls;
mod command;
mod environment;
mod pause;
mod requests;
mod staleness;

use std::collections::BTreeMap;
use std::fmt;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use ruvector_snapshot::clock::{Clock as _, SystemClock};
use ruvector_snapshot::scheduler::{JobPause, JobStatus, RunOutcome, RunReport, RunStart};
use ruvector_snapshot::{ErrorKind, Result, SnapshotError, Span};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use url::Url;

use calls::Calls;
use environment::{Event, of_job, of_run, of_start};
use pause::Pauser;
use staleness::{Staleness, newest_success};

use crate::config_file::{Address, At, ConfigFile, Job as FileJob, JobCommand, JobHooks};
use crate::documents::{ScheduleLine, StaleLine};
use crate::failure::Failure;
use crate::output::Zone;
use crate::settings::Settings;

/// How much later than the runs hooks are stopped, so that a run is interrupted before its hooks are.
const AFTER_RUNS: Duration = Duration::from_millis(200);
/// How much of what a run has done is the body of a ping.
const PING_CHARS_MAX: usize = 10_000;

/// The hooks of all jobs. A clone is the same.
#[derive(Clone)]
pub(super) struct Hooks(Arc<Shared>);

struct Shared {
    jobs: Mutex<BTreeMap<String, Known>>,
    /// The runs that are at work.
    runs: Mutex<BTreeMap<String, Running>>,
    calls: Arc<Calls>,
}

/// What is known of a job.
struct Known {
    hooks: Arc<Prepared>,
    staleness: Staleness,
}

/// A run that is at work. It comes to its end with the hooks that it was started with.
struct Running {
    hooks: Arc<Prepared>,
    /// The ping that says that the run has started.
    start_ping: Option<JoinHandle<()>>,
}

/// The hooks of a job, with what the file refers to.
pub(super) struct Prepared {
    commands: JobHooks,
    ping: Option<Url>,
    webhook: Option<Url>,
    max_age: Option<Span>,
}

/// The hooks of the jobs of a file, by the names of the jobs.
pub(super) type PreparedJobs = BTreeMap<String, Arc<Prepared>>;

/// Returns the hooks of the jobs of a file, and reads the addresses that are elsewhere. One that cannot be read is a warning: no backup
/// depends on it. A file that was only found in the working directory has none.
pub(super) fn prepare(
    settings: &Settings,
    file: &ConfigFile,
    warn: &dyn Fn(&str),
) -> std::result::Result<PreparedJobs, Failure> {
    settings.check_hooks_are_named(file)?;
    let now = SystemClock.now();
    Ok(file.jobs.iter().map(|job| (job.name.value.clone(), Arc::new(prepared(file, job, now, warn)))).collect())
}

fn prepared(file: &ConfigFile, job: &FileJob, now: DateTime<Utc>, warn: &dyn Fn(&str)) -> Prepared {
    let read = |key: &str, address: &Option<At<Address>>| {
        let At { value, line } = address.as_ref()?;
        let address = value.read();
        if let Err(error) = &address {
            let key = format!("{}: jobs.{}.{key}", file.place(*line), job.name.value);
            warn(&format!("{key}: {error}; the job runs without it"));
        }
        address.ok()
    };
    let (ping, webhook) = (read("ping", &job.hooks.ping), read("webhook", &job.hooks.webhook));
    Prepared { commands: job.hooks.clone(), ping, webhook, max_age: job.max_age(now) }
}

/// Without addresses and arguments: they may have keys.
impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks").finish_non_exhaustive()
    }
}

impl Hooks {
    /// Returns hooks of these jobs. `warn` reports what fails and is no part of a run.
    pub(super) fn new(jobs: PreparedJobs, warn: impl Fn(&str) + Send + Sync + 'static) -> Self {
        let this = Self(Arc::new(Shared {
            jobs: Mutex::default(),
            runs: Mutex::default(),
            calls: Arc::new(Calls::new(warn)),
        }));
        this.set_jobs(jobs);
        this
    }

    /// Sets the jobs. What is known of those whose names stay is kept.
    pub(super) fn set_jobs(&self, jobs: PreparedJobs) {
        let mut known = self.0.known();
        known.retain(|name, _| jobs.contains_key(name));
        for (name, hooks) in jobs {
            match known.get_mut(&name) {
                Some(job) => job.hooks = hooks,
                None => drop(known.insert(name, Known { hooks, staleness: Staleness::default() })),
            }
        }
    }

    /// Returns what pauses the application of a job, if there is one.
    pub(super) fn pause_of(&self, job: &FileJob) -> Option<Arc<dyn JobPause>> {
        let (pause, resume) = (job.hooks.pause.clone()?, job.hooks.resume.clone()?);
        Some(Arc::new(Pauser::new(job.name.value.clone(), (pause, resume), self.0.calls.clone())))
    }

    /// Is called before a run. Returns what a person should know, and fails if the run must not start.
    pub(super) async fn starting(&self, run: &RunStart) -> Result<Vec<String>> {
        let Some(hooks) = self.0.hooks_of(&run.job) else { return Ok(Vec::new()) };
        let start_ping = hooks.ping.as_ref().map(|url| {
            let (calls, job, url) = (self.0.calls.clone(), run.job.clone(), below(url, "start"));
            // The run does not wait for the server.
            tokio::spawn(async move { calls.ping(&job, url, String::new()).await })
        });
        self.0.runs().insert(run.job.clone(), Running { hooks: hooks.clone(), start_ping });
        let Some(command) = &hooks.commands.before else { return Ok(Vec::new()) };
        let environment = of_start(Event::Before, run);
        required(command, self.0.calls.run(Event::Before, command, environment, Vec::new()).await)
    }

    /// Is called when the work of a run is done. Returns what a person should know, and fails if the run has failed.
    pub(super) async fn finishing(&self, report: &RunReport) -> Result<Vec<String>> {
        let hooks = self.0.runs().get(&report.start.job).map(|run| run.hooks.clone());
        let Some(hooks) = hooks else { return Ok(Vec::new()) };
        let Some(command) = &hooks.commands.after else { return Ok(Vec::new()) };
        let (environment, input) = (of_run(Event::After, report), environment::line(&ScheduleLine::new(report)));
        required(command, self.0.calls.run(Event::After, command, environment, input).await)
    }

    /// Is called after a run, or after a store could not be read to know which runs were missed. `said` is what the run has done, in words.
    pub(super) async fn ended(&self, report: &RunReport, said: &str) {
        let job = &report.start.job;
        let run = self.0.runs().remove(job);
        let (hooks, start_ping) =
            run.map_or_else(|| (self.0.hooks_of(job), None), |run| (Some(run.hooks), run.start_ping));
        let Some(hooks) = hooks else { return };
        if let Some(ping) = start_ping {
            let _sent = ping.await;
        }
        let document = environment::line(&ScheduleLine::new(report));
        let commands = &hooks.commands;
        // A run that was interrupted has neither succeeded nor failed: the next start repeats it.
        let (event, command, ping) = match report.outcome {
            RunOutcome::Interrupted => (Event::Failure, None, None),
            _ if !report.is_success() => {
                (Event::Failure, commands.on_failure.as_ref(), hooks.ping.as_ref().map(|url| below(url, "fail")))
            }
            _ => (Event::Recovery, commands.on_recovery.as_ref().filter(|_| report.is_recovery()), hooks.ping.clone()),
        };
        let calls = &self.0.calls;
        let command = calls.run_and_report(job, event, command, of_run(event, report), document.clone());
        let ping = async {
            if let Some(url) = ping {
                calls.ping(job, url, said.chars().take(PING_CHARS_MAX).collect()).await;
            }
        };
        tokio::join!(command, ping, calls.webhook(job, hooks.webhook.as_ref(), document));
    }

    /// Is called with what is known of all jobs. Returns at once.
    pub(super) fn waiting(&self, jobs: &[JobStatus]) {
        let now = SystemClock.now();
        for job in jobs {
            if let Some((hooks, max_age)) = self.0.has_become_stale(job, now) {
                let (calls, job) = (self.0.calls.clone(), job.clone());
                drop(tokio::spawn(async move { report_stale(&calls, &job, &hooks, max_age, now).await }));
            }
        }
    }

    /// Ends all hooks that are at work, soon. Those that are started later have little time.
    pub(super) fn stop(&self) {
        self.0.calls.stop();
    }

    /// Does the same after a time.
    pub(super) fn stop_after(&self, grace: Duration) {
        let hooks = self.clone();
        drop(tokio::spawn(async move {
            let _elapsed = timeout(grace.saturating_add(AFTER_RUNS), pending::<()>()).await;
            hooks.stop();
        }));
    }

    /// Returns whether a hook had to end before it was done.
    pub(super) fn was_cut(&self) -> bool {
        self.0.calls.was_cut()
    }

    /// Waits until no hook is at work.
    pub(super) async fn wait_until_idle(&self) {
        self.0.calls.wait_until_idle().await;
    }
}

impl Shared {
    fn known(&self) -> MutexGuard<'_, BTreeMap<String, Known>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn runs(&self) -> MutexGuard<'_, BTreeMap<String, Running>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hooks_of(&self, job: &str) -> Option<Arc<Prepared>> {
        self.known().get(job).map(|known| known.hooks.clone())
    }

    fn has_become_stale(&self, job: &JobStatus, now: DateTime<Utc>) -> Option<(Arc<Prepared>, Span)> {
        let mut known = self.known();
        let known = known.get_mut(&job.name)?;
        let max_age = known.hooks.max_age?;
        known.staleness.has_begun(job, max_age.longest(), now).then(|| (known.hooks.clone(), max_age))
    }
}

/// Reports that a job has become stale.
async fn report_stale(calls: &Calls, job: &JobStatus, hooks: &Prepared, max_age: Span, now: DateTime<Utc>) {
    let newest = newest_success(job);
    let why = match newest {
        Some(newest) => format!("its newest success was at {}", Zone::Utc.time(newest)),
        None => "no run has succeeded, and not every database has a snapshot".to_owned(),
    };
    let why = format!("it is stale: {why}, and max_age is {max_age}");
    calls.warn(&job.name, &why);
    let document = environment::line(&StaleLine::new(job, newest, max_age, now));
    let (command, environment) = (hooks.commands.on_stale.as_ref(), of_job(Event::Stale, &job.name, &why));
    tokio::join!(
        calls.run_and_report(&job.name, Event::Stale, command, environment, document.clone()),
        calls.webhook(&job.name, hooks.webhook.as_ref(), document),
    );
}

/// Returns a failure as an error if the command is required, and else as a warning.
fn required(command: &JobCommand, answer: std::result::Result<(), String>) -> Result<Vec<String>> {
    match answer {
        Ok(()) => Ok(Vec::new()),
        Err(why) if command.is_required => Err(SnapshotError::new(ErrorKind::Unavailable, why)),
        Err(why) => Ok(vec![why]),
    }
}

/// Returns an address below another one, whose query stays.
fn below(url: &Url, name: &str) -> Url {
    let mut url = url.clone();
    url.set_path(&format!("{}/{name}", url.path().trim_end_matches('/')));
    url
}

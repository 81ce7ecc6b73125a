//! `schedule`: runs the jobs of the configuration file when they are due, until a signal stops it. SIGHUP reads the file again.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Duration;

use ruvector_snapshot::scheduler::SnapshotScheduler;

use super::hooks::{Hooks, prepare};
use super::jobs::{Opened, file_with_jobs, jobs_of};
use super::reports::{Reporter, warn};
use super::service::Service;
use crate::config_file::ConfigFile;
use crate::failure::{Exit, Failure};
use crate::output::{counted, quoted_path};
use crate::session::Session;
use crate::settings::Settings;

/// How often a store is opened again that could not be opened.
const OPEN_INTERVAL: Duration = Duration::from_secs(5);

/// What the jobs that run were made of.
struct Current {
    settings: Settings,
    absent_stores: usize,
}

pub(super) async fn run(session: &Session, file: &ConfigFile, grace: Duration) -> Result<Exit, Failure> {
    let service = Arc::new(Service::of_environment());
    let output = session.output;
    let hooks = Hooks::new(prepare(&session.settings, file)?, move |message| warn(&output, message));
    let Opened { jobs, absent_stores } = jobs_of(session, &session.settings, file, &hooks)?;
    let number = jobs.len();
    let current = RefCell::new(Current { settings: session.settings.clone(), absent_stores });
    let reporter = Arc::new(Reporter::new(output, service.clone(), hooks.clone(), &jobs));
    let scheduler = SnapshotScheduler::new(jobs).map_err(Failure::usage)?.listener(reporter.clone());
    service.ready();
    notice(session, &format!("running {} of {}", counted(number as u64, "job"), quoted_path(&file.path)));
    let stopped = Cell::new(None);
    let stop = async {
        stopped.set(Some(session.stopped().await));
        hooks.stop_after(grace);
        service.stopping();
        if scheduler.status().iter().any(|job| job.running_since.is_some()) {
            let grace = grace.as_secs();
            let text = format!("stopping; what is at work has {grace} s to end (a second signal stops at once)");
            notice(session, &text);
        }
    };
    // In one task: the watchdog only hears of a daemon whose scheduler is polled.
    tokio::select! {
        () = scheduler.run(stop, grace) => {}
        () = reload(session, &current, &scheduler, (&reporter, &hooks), &service) => {}
        () = open_absent(session, &current, &scheduler, (&reporter, &hooks)) => {}
        () = service.keep_alive() => {}
    }
    hooks.wait_until_idle().await;
    reporter.wait_for_cleanup().await;
    // They were printed when they were new.
    session.warnings.forget();
    match stopped.get() {
        Some(exit) if reporter.was_interrupted() => {
            let left = || "runs that had not ended were stopped, and what they had not finished was removed".to_owned();
            Err(Failure::interrupted(exit, left).in_document())
        }
        _ => Ok(Exit::Success),
    }
}

fn notice(session: &Session, text: &str) {
    tracing::info!("{text}");
    if !session.output.quiet {
        session.output.passing_notice(text);
    }
}

/// Reads the file again whenever that is asked for. Never ends.
async fn reload(
    session: &Session,
    current: &RefCell<Current>,
    scheduler: &SnapshotScheduler,
    (reporter, hooks): (&Reporter, &Hooks),
    service: &Service,
) {
    let mut reloads = session.reloads.clone();
    while reloads.changed().await.is_ok() {
        service.reloading();
        let read = session.settings.read_again();
        let read = read.and_then(|settings| use_jobs(session, settings, scheduler, (reporter, hooks)));
        match read {
            Ok(now) => {
                let jobs = counted(scheduler.status().len() as u64, "job");
                notice(session, &format!("read again: running {jobs} of {}", now.file()));
                *current.borrow_mut() = now;
            }
            Err(failure) => {
                reporter.warn(&format!(
                    "the jobs stay as they were, because the new ones cannot be used: {}",
                    failure.sentence()
                ));
            }
        }
        service.ready();
    }
    std::future::pending().await
}

/// Opens stores again as long as one of them could not be opened. Never ends.
async fn open_absent(
    session: &Session,
    current: &RefCell<Current>,
    scheduler: &SnapshotScheduler,
    (reporter, hooks): (&Reporter, &Hooks),
) {
    let mut ticks = tokio::time::interval(OPEN_INTERVAL);
    loop {
        ticks.tick().await;
        let (settings, absent_stores) = {
            let current = current.borrow();
            (current.settings.clone(), current.absent_stores)
        };
        // Stores are replaced only if that helps: what is at work goes on with those that it has.
        if absent_stores > 0
            && absent(session, &settings, hooks) < absent_stores
            && let Ok(now) = use_jobs(session, settings, scheduler, (reporter, hooks))
        {
            notice(session, "a store that could not be opened is open now");
            *current.borrow_mut() = now;
        }
    }
}

/// Returns how many stores of the file cannot be opened now.
fn absent(session: &Session, settings: &Settings, hooks: &Hooks) -> usize {
    let opened = file_with_jobs(settings).and_then(|file| jobs_of(session, settings, file, hooks));
    opened.map_or(usize::MAX, |opened| opened.absent_stores)
}

/// Runs the jobs of these settings from now on.
fn use_jobs(
    session: &Session,
    settings: Settings,
    scheduler: &SnapshotScheduler,
    (reporter, hooks): (&Reporter, &Hooks),
) -> Result<Current, Failure> {
    let file = file_with_jobs(&settings)?;
    let prepared = prepare(&settings, file)?;
    let Opened { jobs, absent_stores } = jobs_of(session, &settings, file, hooks)?;
    scheduler.replace_jobs(jobs.clone()).map_err(Failure::usage)?;
    reporter.set_jobs(&jobs);
    hooks.set_jobs(prepared);
    Ok(Current { settings, absent_stores })
}

impl Current {
    fn file(&self) -> String {
        self.settings.file.as_deref().map(|file| quoted_path(&file.path).to_string()).unwrap_or_default()
    }
}

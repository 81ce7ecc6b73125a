//! `schedule`: runs the jobs of the configuration file when they are due, until a signal stops it. SIGHUP reads the file again.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ruvector_snapshot::scheduler::{JobListener, SnapshotScheduler};

use super::hooks::{Hooks, prepare};
use super::jobs::{Absent, Opened, can_any_be_opened, file_with_jobs, jobs_of};
use super::reports::{Reporter, warn};
use super::service::Service;
use super::web::Web;
use crate::config_file::ConfigFile;
use crate::failure::{Exit, Failure};
use crate::output::{counted, quoted_path};
use crate::session::Session;
use crate::settings::Settings;

/// How often a store is opened again that could not be opened.
const OPEN_INTERVAL: Duration = Duration::from_secs(5);

/// The parts of the daemon that have the jobs.
struct Parts<'a> {
    session: &'a Session,
    scheduler: &'a SnapshotScheduler,
    reporter: &'a Reporter,
    hooks: &'a Hooks,
    web: Option<&'a Web>,
    current: RefCell<Current>,
}

/// What the jobs that run were made of.
struct Current {
    settings: Settings,
    absent: Vec<Absent>,
}

pub(super) async fn run(
    session: &Session,
    file: &ConfigFile,
    grace: Duration,
    listen: Option<SocketAddr>,
) -> Result<Exit, Failure> {
    let service = Arc::new(Service::of_environment());
    let output = session.output;
    let prepared = prepare(&session.settings, file, &|message| warn(&output, message))?;
    let hooks = Hooks::new(prepared, move |message| warn(&output, message));
    let Opened { jobs, absent } = jobs_of(session, &session.settings, file, &hooks)?;
    let number = jobs.len();
    let reporter = Arc::new(Reporter::new(output, service.clone(), hooks.clone(), &jobs));
    let listen = listen.or(file.listen.as_ref().map(|listen| listen.value));
    let web = listen.map(|address| Web::start(session, address, file, &jobs)).transpose()?;
    let listener: Arc<dyn JobListener> = match &web {
        Some(web) => web.listener(reporter.clone()),
        None => reporter.clone(),
    };
    let scheduler = SnapshotScheduler::new(jobs).map_err(Failure::usage)?.listener(listener);
    let current = RefCell::new(Current { settings: session.settings.clone(), absent });
    let parts =
        Parts { session, scheduler: &scheduler, reporter: &reporter, hooks: &hooks, web: web.as_ref(), current };
    service.ready();
    notice(session, &format!("running {} of {}", counted(number as u64, "job"), quoted_path(&file.path)));
    if let Some(web) = &web {
        notice(session, &format!("status page and metrics: {}", web.location()));
        web.warning().iter().for_each(|warning| reporter.warn(warning));
    }
    let stopped = Cell::new(None);
    let stop = async {
        stopped.set(Some(session.stopped().await));
        hooks.stop_after(grace);
        service.stopping();
        web.iter().for_each(Web::stopping);
        if scheduler.status().iter().any(|job| job.running_since.is_some()) {
            let grace = grace.as_secs();
            let text = format!("stopping; what is at work has {grace} s to end (a second signal stops at once)");
            notice(session, &text);
        }
    };
    // In one task: the watchdog only hears of a daemon whose scheduler is polled.
    tokio::select! {
        () = scheduler.run(stop, grace) => {}
        () = reload(&parts, &service) => {}
        () = open_absent(&parts) => {}
        () = service.keep_alive() => {}
    }
    hooks.wait_until_idle().await;
    reporter.wait_for_cleanup().await;
    drop(web);
    // They were printed when they were new.
    session.warnings.forget();
    match stopped.get() {
        Some(exit) if reporter.was_interrupted() => {
            let left = || "runs that had not ended were stopped, and what they had not finished was removed".to_owned();
            Err(Failure::interrupted(exit, left).in_document())
        }
        Some(exit) if hooks.was_cut() => {
            let left = || "commands or requests of jobs that had not ended were stopped; no run was".to_owned();
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
async fn reload(parts: &Parts<'_>, service: &Service) {
    let mut reloads = parts.session.reloads.clone();
    while reloads.changed().await.is_ok() {
        service.reloading();
        match parts.session.settings.read_again().and_then(|settings| parts.use_jobs(settings)) {
            Ok(()) => {
                let jobs = counted(parts.scheduler.status().len() as u64, "job");
                notice(parts.session, &format!("read again: running {jobs} of {}", parts.file()));
            }
            Err(failure) => {
                parts.reporter.warn(&format!(
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
async fn open_absent(parts: &Parts<'_>) {
    let mut ticks = tokio::time::interval(OPEN_INTERVAL);
    loop {
        ticks.tick().await;
        // Stores are replaced only if that helps: what is at work goes on with those that it has.
        if let Some(settings) = parts.settings_with_a_store_that_came()
            && parts.use_jobs(settings).is_ok()
        {
            notice(parts.session, "a store that could not be opened is open now");
        }
    }
}

impl Parts<'_> {
    /// Runs the jobs of these settings from now on.
    fn use_jobs(&self, settings: Settings) -> Result<(), Failure> {
        let file = file_with_jobs(&settings)?;
        let prepared = prepare(&settings, file, &|message| self.reporter.warn(message))?;
        let Opened { jobs, absent } = jobs_of(self.session, &settings, file, self.hooks)?;
        self.scheduler.replace_jobs(jobs.clone()).map_err(Failure::usage)?;
        if let Some(web) = self.web {
            web.set_jobs(&settings, file, &jobs)?;
        }
        self.reporter.set_jobs(&jobs);
        self.hooks.set_jobs(prepared);
        *self.current.borrow_mut() = Current { settings, absent };
        Ok(())
    }

    /// Returns the settings, if a store that could not be opened can be now.
    fn settings_with_a_store_that_came(&self) -> Option<Settings> {
        let Current { settings, absent } = &*self.current.borrow();
        let file = file_with_jobs(settings).ok()?;
        can_any_be_opened(self.session, settings, file, absent).then(|| settings.clone())
    }

    fn file(&self) -> String {
        let current = self.current.borrow();
        current.settings.file.as_deref().map(|file| quoted_path(&file.path)).unwrap_or_default()
    }
}

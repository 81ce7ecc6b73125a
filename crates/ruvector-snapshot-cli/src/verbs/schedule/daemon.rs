//! `schedule`: runs the jobs of the configuration file when they are due, until a signal stops it. SIGHUP reads the file again.

use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ruvector_snapshot::scheduler::{JobListener, SnapshotScheduler};

use super::jobs::{file_with_jobs, jobs_of};
use super::reports::Reporter;
use super::service::Service;
use super::web::Web;
use crate::config_file::ConfigFile;
use crate::failure::{Exit, Failure};
use crate::output::{counted, quoted_path};
use crate::session::Session;

pub(super) async fn run(
    session: &Session,
    file: &ConfigFile,
    grace: Duration,
    listen: Option<SocketAddr>,
) -> Result<Exit, Failure> {
    let service = Arc::new(Service::of_environment());
    let jobs = jobs_of(session, &session.settings, file)?;
    let number = jobs.len();
    let reporter = Arc::new(Reporter::new(session.output, service.clone(), &jobs));
    let listen = listen.or(file.listen.as_ref().map(|listen| listen.value));
    let web = listen.map(|address| Web::start(session, address, file, &jobs)).transpose()?;
    let listener: Arc<dyn JobListener> = match &web {
        Some(web) => web.listener(reporter.clone()),
        None => reporter.clone(),
    };
    let scheduler = SnapshotScheduler::new(jobs).map_err(Failure::usage)?.listener(listener);
    service.ready();
    notice(session, &format!("running {} of {}", counted(number as u64, "job"), quoted_path(&file.path)));
    if let Some(web) = &web {
        notice(session, &format!("status page and metrics: {}", web.location()));
        web.warning().iter().for_each(|warning| reporter.warn(warning));
    }
    let stopped = Cell::new(None);
    let stop = async {
        stopped.set(Some(session.stopped().await));
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
        () = reload(session, &scheduler, (&reporter, web.as_ref()), &service) => {}
        () = service.keep_alive() => {}
    }
    reporter.wait_for_cleanup().await;
    drop(web);
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
    scheduler: &SnapshotScheduler,
    (reporter, web): (&Reporter, Option<&Web>),
    service: &Service,
) {
    let mut reloads = session.reloads.clone();
    while reloads.changed().await.is_ok() {
        service.reloading();
        match read_again(session, scheduler, reporter, web) {
            Ok(done) => notice(session, &done),
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

fn read_again(
    session: &Session,
    scheduler: &SnapshotScheduler,
    reporter: &Reporter,
    web: Option<&Web>,
) -> Result<String, Failure> {
    let settings = session.settings.read_again()?;
    let file = file_with_jobs(&settings)?;
    let jobs = jobs_of(session, &settings, file)?;
    scheduler.replace_jobs(jobs.clone()).map_err(Failure::usage)?;
    reporter.set_jobs(&jobs);
    if let Some(web) = web {
        web.set_jobs(&settings, file, &jobs)?;
    }
    Ok(format!("read again: running {} of {}", counted(jobs.len() as u64, "job"), quoted_path(&file.path)))
}

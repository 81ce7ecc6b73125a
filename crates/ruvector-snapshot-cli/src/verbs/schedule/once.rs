//! `schedule --once`: runs jobs now, one after the other, whatever their schedules say.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use ruvector_snapshot::scheduler::{Job, JobListener, RunOutcome, RunReport, RunStart, SnapshotScheduler};
use ruvector_snapshot::{ErrorKind, SnapshotManager, closest};

use super::hooks::{Hooks, prepare};
use super::jobs::jobs_of;
use super::reports::{log_end, log_start, print, said, stores_of};
use crate::config_file::ConfigFile;
use crate::documents::{JobRunDocument, ScheduleOnceDocument};
use crate::failure::{Exit, Failure};
use crate::output::{enumerated, quoted_path};
use crate::session::Session;
use crate::settings::wrong;

/// Runs the jobs of these names in this order, or all of the file if there are none.
pub(super) async fn once(session: &Session, file: &ConfigFile, names: &[String]) -> Result<Exit, Failure> {
    names.iter().try_for_each(|name| check_name(file, name))?;
    let mut seen = BTreeSet::new();
    let names: Vec<&String> = match names.is_empty() {
        true => file.jobs.iter().map(|job| &job.name.value).collect(),
        false => names.iter().filter(|name| seen.insert(*name)).collect(),
    };
    // The stores of other jobs are not needed.
    let wanted = ConfigFile {
        jobs: file.jobs.iter().filter(|job| names.contains(&&job.name.value)).cloned().collect(),
        ..file.clone()
    };
    let warnings = session.warnings.clone();
    let prepared = prepare(&session.settings, &wanted, &|message| session.warnings.add(message))?;
    let hooks = Hooks::new(prepared, move |message| warnings.add(message));
    let jobs = jobs_of(session, &session.settings, &wanted, &hooks)?.jobs;
    let stores: Vec<SnapshotManager> = jobs.iter().flat_map(stores_of).collect();
    let mut reports = Vec::new();
    let stopped = run_each(session, jobs, &hooks, &names, &mut reports).await;
    hooks.wait_until_idle().await;
    for store in &stores {
        store.wait_for_cleanup().await;
        session.warnings.take_from(store);
    }
    session.document(&ScheduleOnceDocument { runs: reports.iter().map(JobRunDocument::from).collect() })?;
    match stopped? {
        Some(exit) => {
            let left = || "the run that was at work was stopped, and what it had not finished was removed".to_owned();
            Err(Failure::interrupted(exit, left).in_document())
        }
        None => Ok(reports.iter().map(exit).fold(Exit::Success, Exit::worse)),
    }
}

fn check_name(file: &ConfigFile, name: &str) -> Result<(), Failure> {
    let known: Vec<&String> = file.jobs.iter().map(|job| &job.name.value).collect();
    if known.iter().any(|known| *known == name) {
        return Ok(());
    }
    let hint = match closest(name, known.iter().map(|known| known.as_str())) {
        Some(known) => format!("did you mean {known}?"),
        None => format!("it has {}", enumerated(known)),
    };
    Err(wrong(format!("--once: there is no job {name:?} in {}", quoted_path(&file.path))).with_hint(hint))
}

/// Runs the jobs, until a signal stops the program. Returns how it ends then.
async fn run_each(
    session: &Session,
    jobs: Vec<Job>,
    hooks: &Hooks,
    names: &[&String],
    reports: &mut Vec<RunReport>,
) -> Result<Option<Exit>, Failure> {
    let scheduler = SnapshotScheduler::new(jobs).map_err(Failure::usage)?.listener(Arc::new(Log(hooks.clone())));
    for name in names {
        let mut run = std::pin::pin!(scheduler.run_job(name));
        let (report, stopped) = tokio::select! {
            biased;
            exit = session.stopped() => {
                if !session.output.quiet {
                    session.output.passing_notice("interrupted; cleaning up (a second signal stops at once)");
                }
                scheduler.stop_runs();
                hooks.stop();
                (run.await?, Some(exit))
            }
            report = &mut run => (report?, None),
        };
        for warning in report.steps.iter().flat_map(|step| &step.warnings) {
            session.warnings.add(&format!("job {name}: {warning}"));
        }
        // They follow as those of the program.
        print(&session.output, &report, false)?;
        reports.push(report);
        if stopped.is_some() {
            return Ok(stopped);
        }
    }
    Ok(None)
}

/// Returns the exit code of a run. Its warnings are those of the program.
fn exit(report: &RunReport) -> Exit {
    let is_corrupt =
        || report.errors().filter_map(|step| step.error.as_ref()).any(|error| error.kind == ErrorKind::Corrupt);
    match report.outcome {
        RunOutcome::Succeeded | RunOutcome::Warnings => Exit::Success,
        _ if is_corrupt() => Exit::Corruption,
        _ => Exit::Failure,
    }
}

/// Writes the log, and calls the hooks.
#[derive(Debug)]
struct Log(Hooks);

#[async_trait]
impl JobListener for Log {
    async fn starting(&self, run: &RunStart) -> ruvector_snapshot::Result<Vec<String>> {
        log_start(run);
        self.0.starting(run).await
    }

    async fn finishing(&self, report: &RunReport) -> ruvector_snapshot::Result<Vec<String>> {
        self.0.finishing(report).await
    }

    async fn ended(&self, report: &RunReport) {
        log_end(report);
        self.0.ended(report, &said(report)).await;
    }
}

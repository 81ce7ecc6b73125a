//! `schedule --check`: whether the databases of each job can be read, and its stores be reached. Reads no data and writes nothing.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use ruvector_snapshot::schedule::Missed;
use ruvector_snapshot::store::{Location, check_access};
use ruvector_snapshot::{SnapshotConfig, SnapshotManager};

use crate::config_file::{At, ConfigFile, DatabaseRef, Job, StoreRef, problem_of_database, problems_of_hooks};
use crate::documents::{CheckedJobDocument, ScheduleCheckDocument};
use crate::failure::{Exit, Failure};
use crate::output::{Output, Text, Tone, counted, until};
use crate::session::Session;

const REQUIRE: &str =
    "the store has snapshots now: set require_store = true, so that a run fails if its disk is not mounted";
const MAKE_OR_MOUNT: &str = "; mount its disk, or make the directory if this is a new store";

/// What was found of a job or of a store, as sentences.
#[derive(Debug, Clone, Default)]
struct Findings {
    problems: Vec<String>,
    notes: Vec<String>,
    /// Whether the store of the job has no snapshots yet.
    is_new: bool,
}

/// The stores that were checked. Each is reached once, however many jobs have it.
type Checked<'f> = Vec<(&'f StoreRef, Findings)>;

pub(super) async fn check(session: &Session, file: &ConfigFile) -> Result<Exit, Failure> {
    let (now, host) = (session.run.started_at(), SnapshotConfig::default().host);
    let (mut stores, mut jobs) = (Checked::new(), Vec::new());
    for job in &file.jobs {
        let Findings { problems, notes, is_new } = check_job(session, file, job, &mut stores).await?;
        let is_at_once = is_new && job.missed != Missed::Skip;
        let next_start = if is_at_once { Some(now) } else { next_start(job, host.as_deref(), now) };
        jobs.push(CheckedJobDocument::new(job, problems, notes, next_start, job.max_age(now)));
    }
    let document = ScheduleCheckDocument::new(&file.path, jobs);
    session.document(&document)?;
    print(&session.output, &document, now)?;
    Ok(if document.is_ok() { Exit::Success } else { Exit::Failure })
}

fn next_start(job: &Job, host: Option<&str>, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let schedule = job.schedule(host);
    ruvector_snapshot::schedule::upcoming(&[&schedule], now, 1).first().map(|run| run.start)
}

async fn check_job<'f>(
    session: &Session,
    file: &'f ConfigFile,
    job: &'f Job,
    stores: &mut Checked<'f>,
) -> Result<Findings, Failure> {
    let mut found = Findings::default();
    if let Err(failure) = session.settings.check_hooks_are_named(file) {
        found.problems.push(failure.sentence());
    }
    found.problems.extend(problems_of_hooks(job).into_iter().map(|(_, problem)| problem));
    for At { value: database, .. } in &job.databases {
        let path = match database {
            DatabaseRef::Named(name) => file.databases.get(name).map(|database| &database.path.value),
            DatabaseRef::Path(path) => Some(path),
        };
        let problem = path.and_then(|path| problem_of_database(path));
        found.problems.extend(problem.map(|problem| format!("database {database}: {problem}")));
    }
    for (at, store) in std::iter::once(&job.store).chain(job.copies.iter().map(|copy| &copy.to)).enumerate() {
        let known = stores.iter().find(|(other, _)| **other == store.value).map(|(_, findings)| findings.clone());
        let findings = match known {
            Some(findings) => findings,
            None => {
                let findings = check_store(session, file, store).await?;
                stores.push((&store.value, findings.clone()));
                findings
            }
        };
        found.is_new |= at == 0 && findings.is_new;
        found.problems.extend(findings.problems);
        found.notes.extend(findings.notes);
    }
    if found.is_new && job.requires_store {
        let store = &job.store.value;
        found.problems.push(format!(
            "store {store}: it has no snapshots, and require_store = true; check that its disk is mounted"
        ));
    }
    let is_ready = found.problems.is_empty() && !found.is_new;
    if is_ready && !job.requires_store && directory_of(session, file, &job.store).is_some() {
        found.notes.push(REQUIRE.to_owned());
    }
    Ok(found)
}

/// Reaches a store. Fails only if the run has to end.
async fn check_store(session: &Session, file: &ConfigFile, store: &At<StoreRef>) -> Result<Findings, Failure> {
    let mut found = Findings::default();
    match has_snapshots(session, file, store).await {
        Ok(true) => {}
        Ok(false) => {
            found.is_new = true;
            found.notes.push(format!("the store {} has no snapshots yet", store.value));
        }
        Err(failure) if failure.is_of_run() => return Err(failure),
        Err(failure) => {
            // A run would make it, also if it is that of a disk that is not mounted.
            let is_absent = directory_of(session, file, store).is_some_and(|directory| !directory.exists());
            let advice = if is_absent { MAKE_OR_MOUNT } else { "" };
            found.problems.push(format!("store {}: {}{advice}", store.value, failure.sentence()));
        }
    }
    Ok(found)
}

/// Returns the directory of a store that is on a local disk.
fn directory_of(session: &Session, file: &ConfigFile, store: &At<StoreRef>) -> Option<PathBuf> {
    match session.settings.of_file(file, store).ok()?.location().ok()? {
        Location::Local(path) => Some(path),
        _ => None,
    }
}

async fn has_snapshots(session: &Session, file: &ConfigFile, store: &At<StoreRef>) -> Result<bool, Failure> {
    let chosen = session.settings.of_file(file, store)?;
    let manager = SnapshotManager::with_store(chosen.config(), session.open_existing(&chosen, &[], "-o")?)?;
    check_access(&session.location_of(&chosen)?)?;
    session.read(&manager, manager.has_snapshots()).await
}

fn print(output: &Output, document: &ScheduleCheckDocument<'_>, now: DateTime<Utc>) -> Result<(), Failure> {
    for job in &document.jobs {
        let name = job.name;
        let next = match job.next_start {
            Some(start) if start == now => "the first run starts when `schedule` is started".to_owned(),
            Some(start) => format!("the next run starts at {}, {}", output.time(start), until(start, now)),
            None => "no run follows".to_owned(),
        };
        match job.problems.is_empty() {
            true => output.line(Text::default().tone(Tone::Good, "ok      ").add(format_args!("{name}: {next}")))?,
            // What is wrong is the result, and not an error of the command.
            false => job.problems.iter().try_for_each(|problem| {
                let text = Text::default().tone(Tone::Bad, "FAILED  ").add(format_args!("{name}: {problem}"));
                output.always().line(text)
            })?,
        }
        job.notes.iter().try_for_each(|note| output.line(format_args!("note    {name}: {note}")))?;
    }
    let (jobs, failed) = (document.jobs.len() as u64, document.failed() as u64);
    output.line(match failed {
        0 => format!("{}, all ok", counted(jobs, "job")),
        failed => format!("{}, {failed} failed", counted(jobs, "job")),
    })
}

//! From the jobs of the configuration file to those of the library. Opens their stores, and runs nothing.

use std::path::PathBuf;
use std::sync::Arc;

use ruvector_snapshot::scheduler::{Job, JobCopy};
use ruvector_snapshot::store::SnapshotStore;
use ruvector_snapshot::{SnapshotConfig, SnapshotManager};

use super::absent_store::AbsentStore;
use super::hooks::Hooks;
use crate::config_file::{At, ConfigFile, Job as FileJob, Retention, StoreRef};
use crate::failure::{Exit, Failure};
use crate::job_databases::{database_of, known_database};
use crate::output::quoted_path;
use crate::session::Session;
use crate::settings::{Settings, wrong};

/// Returns the configuration file, which must have jobs.
pub(super) fn file_with_jobs(settings: &Settings) -> Result<&ConfigFile, Failure> {
    const WRITE: &str = "jobs are tables [[jobs]] in it, as `schedule --help` shows; deploy/ruvector-snapshot.toml is an example with every key";
    let Some(file) = settings.file.as_deref() else {
        let why = if settings.is_off { "--no-config is given" } else { "there is no configuration file" };
        return Err(wrong(format!("there are no jobs, because {why}")).with_hint(format!(
            "write the file ruvector-snapshot.toml, or name one with --config (`config path --help`); {WRITE}"
        )));
    };
    match file.jobs.is_empty() {
        true => Err(wrong(format!("the configuration file {} has no jobs", quoted_path(&file.path))).with_hint(WRITE)),
        false => Ok(file),
    }
}

/// The jobs of a file.
pub(super) struct Opened {
    pub(super) jobs: Vec<Job>,
    /// The stores that could not be opened. The jobs that have one of them fail until it can.
    pub(super) absent: Vec<Absent>,
}

/// A store that could not be opened.
#[derive(Clone)]
pub(super) struct Absent {
    store: At<StoreRef>,
    /// Whether it is made if it does not exist.
    create: bool,
}

/// Returns the jobs of a file. A store that several of them have is opened once, so that its limits hold for all together. A
/// directory that does not exist is created, as by `create`. Fails if the file is wrong, or if no store can be opened.
pub(super) fn jobs_of(
    session: &Session,
    settings: &Settings,
    file: &ConfigFile,
    hooks: &Hooks,
) -> Result<Opened, Failure> {
    let mut stores = Stores { session, settings, file, opened: Vec::new(), absent: Vec::new() };
    let host = SnapshotConfig::default().host;
    let jobs = file.jobs.iter().map(|job| {
        let made = stores.job(job, host.as_deref())?;
        Ok(match hooks.pause_of(job) {
            Some(pause) => made.pause(pause),
            None => made,
        })
    });
    let jobs = jobs.collect::<Result<_, Failure>>()?;
    let is_any_open = stores.opened.len() > stores.absent.len();
    let (absent, failures): (Vec<Absent>, Vec<Failure>) = stores.absent.into_iter().unzip();
    match failures.into_iter().next() {
        Some(failure) if !is_any_open => Err(failure),
        _ => Ok(Opened { jobs, absent }),
    }
}

/// Returns whether one of these stores can be opened now.
pub(super) fn can_any_be_opened(session: &Session, settings: &Settings, file: &ConfigFile, absent: &[Absent]) -> bool {
    absent.iter().any(|Absent { store, create }| {
        let chosen = settings.of_file(file, store);
        chosen.and_then(|chosen| session.open_at(&chosen, &[], "-o", *create)).is_ok()
    })
}

/// The stores that were opened.
struct Stores<'a> {
    session: &'a Session,
    settings: &'a Settings,
    file: &'a ConfigFile,
    opened: Vec<(StoreRef, SnapshotConfig, Arc<dyn SnapshotStore>)>,
    /// The stores that could not be opened, and why.
    absent: Vec<(Absent, Failure)>,
}

impl Stores<'_> {
    fn job(&mut self, job: &FileJob, host: Option<&str>) -> Result<Job, Failure> {
        let scratch_dir = scratch_dir(self.file, job);
        let store = self.manager(&job.store, scratch_dir.as_ref(), !job.requires_store)?;
        let made = Job::new(&job.name.value, store, job.schedule(host)).full(job.full.clone());
        let mut made = made.require_store(job.requires_store);
        for database in &job.databases {
            let database = database_of(self.file, &database.value);
            let options = database.options.clone().strict(self.session.strict);
            made = made.database(database.options(options));
        }
        if let Some(rules) = self.rules(job.retention.as_deref()) {
            made = made.retention(rules.policy());
        }
        if let Some(parts) = job.verify_parts {
            made = made.verify_parts(parts);
        }
        if let Some(drill) = &job.drill {
            made = made.drill(drill.clone());
        }
        for copy in &job.copies {
            let target = JobCopy::new(copy.to.value.to_string(), self.manager(&copy.to, None, !job.requires_store)?);
            made = made.copy_to(match self.rules(copy.retention.as_deref()) {
                Some(rules) => target.retention(rules.policy()),
                None => target,
            });
        }
        Ok(made)
    }

    fn rules(&self, name: Option<&str>) -> Option<&Retention> {
        name.and_then(|name| self.file.retention.get(name))
    }

    fn manager(
        &mut self,
        store: &At<StoreRef>,
        scratch_dir: Option<&PathBuf>,
        create: bool,
    ) -> Result<SnapshotManager, Failure> {
        let known = self.opened.iter().position(|(other, ..)| *other == store.value);
        let at = match known {
            Some(at) => at,
            None => {
                let chosen = self.settings.of_file(self.file, store)?;
                let opened = match self.session.open_at(&chosen, &[], "-o", create) {
                    Err(failure) if failure.exit() != Exit::Usage && !failure.is_of_run() => {
                        let opened = AbsentStore::new(store.value.to_string(), failure.sentence());
                        self.absent.push((Absent { store: store.clone(), create }, failure));
                        Arc::new(opened)
                    }
                    opened => opened?,
                };
                self.opened.push((store.value.clone(), chosen.config(), opened));
                self.opened.len() - 1
            }
        };
        let Some((_, config, opened)) = self.opened.get(at) else {
            return Err(Failure::check("a store that was opened is not there"));
        };
        let config = SnapshotConfig { scratch_dir: scratch_dir.cloned(), ..config.clone() };
        SnapshotManager::with_store(config, opened.clone()).map_err(Failure::usage)
    }
}

/// Returns where private copies of the databases of a job are made. A file with two places for those of one job is wrong.
fn scratch_dir(file: &ConfigFile, job: &FileJob) -> Option<PathBuf> {
    let known = job.databases.iter().filter_map(|database| known_database(file, &database.value));
    known.filter_map(|known| known.scratch_dir.as_ref()).map(|path| path.value.clone()).next()
}

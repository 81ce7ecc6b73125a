//! What is watched: the jobs, and the databases that they have in each of their stores. From the jobs of the configuration file and
//! those of the library; reads no store.

use chrono::{DateTime, Utc};
use ruvector_snapshot::scheduler::{Job, JobDatabase};
use ruvector_snapshot::{PrunePolicy, SnapshotManager, SourceId, Span};

use crate::config_file::{At, ConfigFile, Job as FileJob, StoreRef};
use crate::failure::Failure;
use crate::settings::Settings;

/// The jobs, and their stores.
#[derive(Debug, Default)]
pub(super) struct Watched {
    pub(super) jobs: Vec<WatchedJob>,
    /// Each once, also if several jobs have it.
    pub(super) stores: Vec<WatchedStore>,
}

/// A job.
#[derive(Debug)]
pub(super) struct WatchedJob {
    pub(super) name: String,
    pub(super) when: String,
    pub(super) sources: Vec<String>,
    pub(super) store: String,
    pub(super) copies: Vec<String>,
    pub(super) retention: Option<String>,
    pub(super) verify_parts: Option<u16>,
    pub(super) has_drills: bool,
    pub(super) max_age: Option<Span>,
}

/// A store.
#[derive(Debug)]
pub(super) struct WatchedStore {
    /// What the file calls it.
    pub(super) name: String,
    pub(super) location: String,
    pub(super) manager: SnapshotManager,
    pub(super) databases: Vec<WatchedDatabase>,
    pub(super) rules: Vec<WatchedRules>,
}

/// A database of a job, in a store.
#[derive(Debug)]
pub(super) struct WatchedDatabase {
    pub(super) source: String,
    pub(super) jobs: Vec<String>,
    /// How old its newest snapshot may be: the least that a job allows.
    pub(super) max_age: Option<Span>,
}

/// The rules that a job applies to a store.
#[derive(Debug)]
pub(super) struct WatchedRules {
    /// What the file calls them.
    pub(super) name: String,
    pub(super) policy: PrunePolicy,
    pub(super) sources: Vec<String>,
}

impl Watched {
    /// Returns what is watched of jobs. Both lists are of the same file.
    pub(super) fn of(
        settings: &Settings,
        file: &ConfigFile,
        jobs: &[Job],
        now: DateTime<Utc>,
    ) -> Result<Self, Failure> {
        let mut watched = Self::default();
        for (of_file, job) in file.jobs.iter().zip(jobs) {
            let sources: Vec<SourceId> = job.databases.iter().map(|one| source_of(job, one)).collect();
            let max_age = of_file.max_age(now);
            let own = (&of_file.store, &of_file.retention, &job.store, &job.retention);
            let copies = of_file.copies.iter().zip(&job.copies);
            let copies = copies.map(|(of_file, copy)| (&of_file.to, &of_file.retention, &copy.store, &copy.retention));
            let mut names = Vec::new();
            for (reference, rules, manager, policy) in std::iter::once(own).chain(copies) {
                let store = watched.store(settings, file, reference, manager)?;
                names.push(store.name.clone());
                store.add(&job.name, &sources, max_age);
                if let (Some(name), Some(policy)) = (rules, policy) {
                    let (name, policy) = (name.clone(), policy.clone().of_sources(sources.iter().cloned()));
                    store.rules.push(WatchedRules { name, policy, sources: as_text(&sources) });
                }
            }
            watched.jobs.push(WatchedJob::new(of_file, job, names, as_text(&sources), max_age));
        }
        Ok(watched)
    }

    fn store(
        &mut self,
        settings: &Settings,
        file: &ConfigFile,
        reference: &At<StoreRef>,
        manager: &SnapshotManager,
    ) -> Result<&mut WatchedStore, Failure> {
        let location = settings.of_file(file, reference)?.location()?.to_string();
        let known = self.stores.iter().position(|store| store.location == location);
        let at = known.unwrap_or(self.stores.len());
        if known.is_none() {
            let (name, manager) = (reference.value.to_string(), manager.clone());
            self.stores.push(WatchedStore { name, location, manager, databases: Vec::new(), rules: Vec::new() });
        }
        self.stores.get_mut(at).ok_or_else(|| Failure::check("a store that is watched is not there"))
    }
}

impl WatchedJob {
    /// Returns whether its snapshots are in a store, as its own or as copies.
    pub(super) fn has(&self, store: &str) -> bool {
        self.store == store || self.copies.iter().any(|copy| copy == store)
    }

    fn new(of_file: &FileJob, job: &Job, stores: Vec<String>, sources: Vec<String>, max_age: Option<Span>) -> Self {
        let mut stores = stores.into_iter();
        Self {
            name: job.name.clone(),
            when: of_file.when.value.to_string(),
            sources,
            store: stores.next().unwrap_or_default(),
            copies: stores.collect(),
            retention: of_file.retention.clone(),
            verify_parts: of_file.verify_parts,
            has_drills: of_file.drill.is_some(),
            max_age,
        }
    }
}

impl WatchedStore {
    fn add(&mut self, job: &str, sources: &[SourceId], max_age: Option<Span>) {
        for source in as_text(sources) {
            match self.databases.iter_mut().find(|known| known.source == source) {
                Some(known) => {
                    known.jobs.push(job.to_owned());
                    known.max_age = known.max_age.into_iter().chain(max_age).min_by_key(|age| age.longest());
                }
                None => self.databases.push(WatchedDatabase { source, jobs: vec![job.to_owned()], max_age }),
            }
        }
    }
}

/// Returns the source of a database. One whose path cannot be resolved has no snapshots, and its runs say why.
fn source_of(job: &Job, database: &JobDatabase) -> SourceId {
    let source = job.store.source_of_file(&database.path, &database.options);
    source.unwrap_or_else(|_| SourceId::Name(database.path.display().to_string()))
}

fn as_text(sources: &[SourceId]) -> Vec<String> {
    sources.iter().map(ToString::to_string).collect()
}

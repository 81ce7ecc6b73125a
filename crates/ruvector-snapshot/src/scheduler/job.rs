//! What a job does and when: data, as an application or a configuration file states it.

use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;

use crate::error::{ErrorKind, Result, SnapshotError};
use crate::manager::SnapshotManager;
use crate::ops::create::CreateOptions;
use crate::policy::retention::PrunePolicy;
use crate::policy::schedule::{FullRule, Schedule, When};

/// A job: databases that are backed up together, to one store, and what is done after that.
///
/// A run takes a snapshot of each database, copies the snapshots to the other stores, applies the retention policies, verifies a
/// part, and drills. What fails does not stop what does not depend on it.
///
/// # Examples
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use ruvector_snapshot::schedule::Schedule;
/// use ruvector_snapshot::scheduler::{Job, JobDatabase};
/// use ruvector_snapshot::{PrunePolicy, SnapshotConfig, SnapshotManager};
///
/// let store = SnapshotManager::open("memory://", SnapshotConfig::default())?;
/// let job = Job::new("nightly", store, Schedule::new("30 2 * * * Europe/Berlin".parse()?))
///     .database(JobDatabase::new("/srv/articles.db", "articles"))
///     .retention(PrunePolicy::default().keep_daily(7).keep_weekly(5))
///     .verify_parts(7)
///     .drill("@monthly".parse()?);
/// assert_eq!(job.databases.len(), 1);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Job {
    /// The name of the job, by which reports and metrics name it.
    pub name: String,
    /// The store.
    pub store: SnapshotManager,
    /// When the job runs.
    pub schedule: Schedule,
    /// The databases. At least one.
    pub databases: Vec<JobDatabase>,
    /// Which snapshots are full ones.
    pub full: FullRule,
    /// Which snapshots of these databases are kept in the store. `None` keeps all.
    pub retention: Option<PrunePolicy>,
    /// The number of parts in which the snapshots of these databases are verified, one part with the first run of each day. `None`
    /// verifies nothing; 1 verifies every byte each day.
    pub verify_parts: Option<u16>,
    /// When the newest snapshot of each database is drilled, with the first run after each of these times.
    pub drill: Option<When>,
    /// The stores that the snapshots of these databases are copied to.
    pub copies: Vec<JobCopy>,
    /// Whether a store without snapshots fails the run: the disk of the store may not be mounted.
    pub requires_store: bool,
    /// Pauses the writes of an application while the databases are read.
    pub pause: Option<Arc<dyn JobPause>>,
}

/// A database of a job.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct JobDatabase {
    /// The database file. The application may have it open.
    pub path: PathBuf,
    /// The name of its snapshots.
    pub name: String,
    /// How its snapshots are taken. The job decides about the base, and receives progress and warnings.
    pub options: CreateOptions,
}

/// A store that the snapshots of a job are copied to.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct JobCopy {
    /// What reports call the store.
    pub name: String,
    /// The store.
    pub store: SnapshotManager,
    /// Which snapshots of the databases of the job are kept there. `None` keeps all.
    pub retention: Option<PrunePolicy>,
}

/// Pauses the writes of an application that holds its data in several files, so that the snapshots of them are of one moment.
///
/// [`resume`](Self::resume) is called after every [`pause`](Self::pause), also if that has failed, if a snapshot could not be taken,
/// and if the run is interrupted. Between the two, the databases are read and sent to the store.
#[async_trait]
pub trait JobPause: Debug + Send + Sync {
    /// Returns when no write is in progress and none will start. After an error, no snapshot is taken.
    async fn pause(&self) -> Result<()>;

    /// Allows writes again.
    async fn resume(&self) -> Result<()>;
}

impl Job {
    /// Returns a job without databases that only takes snapshots.
    ///
    /// # Examples
    ///
    /// See [`Job`].
    pub fn new(name: impl Into<String>, store: SnapshotManager, schedule: Schedule) -> Self {
        Self {
            name: name.into(),
            store,
            schedule,
            databases: Vec::new(),
            full: FullRule::default(),
            retention: None,
            verify_parts: None,
            drill: None,
            copies: Vec::new(),
            requires_store: false,
            pause: None,
        }
    }

    /// Adds a database.
    #[must_use]
    pub fn database(mut self, database: JobDatabase) -> Self {
        self.databases.push(database);
        self
    }

    /// Sets which snapshots are full ones.
    #[must_use]
    pub fn full(self, full: FullRule) -> Self {
        Self { full, ..self }
    }

    /// Sets which snapshots are kept.
    #[must_use]
    pub fn retention(self, retention: PrunePolicy) -> Self {
        Self { retention: Some(retention), ..self }
    }

    /// Sets in how many parts the snapshots are verified.
    #[must_use]
    pub fn verify_parts(self, parts: u16) -> Self {
        Self { verify_parts: Some(parts), ..self }
    }

    /// Sets when the newest snapshots are drilled.
    #[must_use]
    pub fn drill(self, drill: When) -> Self {
        Self { drill: Some(drill), ..self }
    }

    /// Adds a store that the snapshots are copied to.
    #[must_use]
    pub fn copy_to(mut self, copy: JobCopy) -> Self {
        self.copies.push(copy);
        self
    }

    /// Sets whether a store without snapshots fails the run. It always does if the scheduler has known snapshots of the job in it.
    #[must_use]
    pub fn require_store(self, requires_store: bool) -> Self {
        Self { requires_store, ..self }
    }

    /// Pauses an application while the databases are read.
    #[must_use]
    pub fn pause(self, pause: Arc<dyn JobPause>) -> Self {
        Self { pause: Some(pause), ..self }
    }

    /// Returns what decides whether another job of this name does the same work: what is known of the runs of one holds for the other.
    pub(super) fn work(&self) -> Vec<String> {
        let database = |one: &JobDatabase| format!("{:?} {:?}", one.path, one.options.source_name);
        let copies = self.copies.iter().map(|copy| format!("{} {}", copy.name, copy.store.location()));
        std::iter::once(self.store.location()).chain(self.databases.iter().map(database)).chain(copies).collect()
    }

    /// Checks that the job can be meant. Reads nothing.
    pub(super) fn check(&self) -> Result<()> {
        let wrong =
            |what: String| Err(SnapshotError::new(ErrorKind::InvalidInput, format!("the job {:?} {what}", self.name)));
        if self.databases.is_empty() {
            return wrong("has no database; add one".to_owned());
        }
        let mut paths: Vec<_> = self.databases.iter().map(|database| &database.path).collect();
        paths.sort();
        if let Some([twice, _]) = paths.windows(2).find(|pair| matches!(pair, [one, other] if one == other)) {
            return wrong(format!("has the database {} twice", twice.display()));
        }
        let policies = self.copies.iter().filter_map(|copy| copy.retention.as_ref()).chain(&self.retention);
        for policy in policies {
            if let Err(error) = policy.check() {
                return wrong(format!("has a retention policy that cannot be meant: {}", error.message()));
            }
        }
        Ok(())
    }
}

impl JobDatabase {
    /// Returns a database whose snapshots have this name.
    ///
    /// # Examples
    ///
    /// See [`Job`].
    pub fn new(path: impl Into<PathBuf>, name: impl Into<String>) -> Self {
        Self { path: path.into(), name: name.into(), options: CreateOptions::default() }
    }

    /// Sets how the snapshots are taken.
    #[must_use]
    pub fn options(self, options: CreateOptions) -> Self {
        Self { options, ..self }
    }
}

impl JobCopy {
    /// Returns a store that keeps all that is copied to it.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> ruvector_snapshot::Result<()> {
    /// use ruvector_snapshot::scheduler::JobCopy;
    /// use ruvector_snapshot::{PrunePolicy, SnapshotConfig, SnapshotManager};
    ///
    /// let offsite = SnapshotManager::open("memory://", SnapshotConfig::default())?;
    /// let copy = JobCopy::new("offsite", offsite).retention(PrunePolicy::default().keep_monthly(12));
    /// assert!(copy.retention.is_some());
    /// # Ok(()) }
    /// ```
    pub fn new(name: impl Into<String>, store: SnapshotManager) -> Self {
        Self { name: name.into(), store, retention: None }
    }

    /// Sets which snapshots are kept there.
    #[must_use]
    pub fn retention(self, retention: PrunePolicy) -> Self {
        Self { retention: Some(retention), ..self }
    }
}

//! What the next runs of jobs would take and keep, if every run succeeds: [`upcoming`] and [`StoreForecast`].

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use ruvector_snapshot_format::Labels;
use ruvector_snapshot_format::id::SnapshotId;
use ruvector_snapshot_format::metadata::{SourceId, SourceInfo};
use ruvector_snapshot_format::model::SnapshotType;
use serde::Serialize;

use super::full::{base_of_next, is_of};
use super::{Decision, FullRule, JobState, Schedule, decide};
use crate::config::SnapshotConfig;
use crate::error::SnapshotError;
use crate::policy::retention::{self, ExternalRefs, PrunePolicy};
use crate::snapshot::{Snapshot, is_in_future, newest_first};
use crate::text::composed_source;

/// A run that is to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct UpcomingRun {
    /// When it starts: the due time and its jitter.
    pub start: DateTime<Utc>,
    /// The number of its schedule, from 0.
    pub job: usize,
    /// The due time.
    pub due: DateTime<Utc>,
}

/// Returns the next runs of several schedules, at most so many, in the order in which they start. A due time that has passed
/// counts if its jitter has not.
///
/// # Examples
///
/// ```
/// use chrono::{DateTime, TimeDelta};
/// use ruvector_snapshot::schedule::{Schedule, upcoming};
///
/// let (daily, often) = (Schedule::new("@daily".parse()?), Schedule::new("every 9h".parse()?));
/// let runs = upcoming(&[&daily, &often], DateTime::UNIX_EPOCH, 4);
/// let runs: Vec<_> = runs.iter().map(|run| (run.job, (run.start - DateTime::UNIX_EPOCH).num_hours())).collect();
/// assert_eq!(runs, [(1, 9), (1, 18), (0, 24), (1, 27)]);
/// # Ok::<(), ruvector_snapshot::SnapshotError>(())
/// ```
pub fn upcoming(schedules: &[&Schedule], now: DateTime<Utc>, count: usize) -> Vec<UpcomingRun> {
    let of = |(job, schedule): (usize, &&Schedule)| {
        let jitter = TimeDelta::from_std(schedule.jitter).unwrap_or(TimeDelta::MAX);
        let begin = now.checked_sub_signed(jitter).unwrap_or(DateTime::<Utc>::MIN_UTC);
        // Jitter is at most half of the distance of due times, so only the last one that has passed can start later.
        let passed = schedule.when.last_between(begin, now).into_iter();
        let runs = passed.chain(schedule.when.due_times(now)).map(move |due| {
            let start = schedule.start_of(due);
            UpcomingRun { start, job, due }
        });
        runs.filter(|run| run.start > now).take(count).collect::<Vec<_>>()
    };
    let mut runs: Vec<UpcomingRun> = schedules.iter().enumerate().flat_map(of).collect();
    runs.sort();
    runs.truncate(count);
    runs
}

/// What a job does in a run, for a forecast. Start from [`new`](Self::new).
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ForecastJob {
    /// When it takes a full snapshot.
    pub full: FullRule,
    /// Number of snapshots in a chain at most.
    pub max_chain_length: usize,
    /// What it takes snapshots of.
    pub databases: Vec<ForecastDatabase>,
    /// The policy that is applied to the snapshots of these databases after each run. `None`: nothing is deleted.
    pub retention: Option<PrunePolicy>,
}

/// A database of a job, and what its snapshots have that rules of a policy can ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForecastDatabase {
    /// What identifies the database.
    pub source: SourceId,
    /// The name of its snapshots.
    pub name: String,
    /// Their labels.
    pub labels: Labels,
}

impl ForecastJob {
    /// Returns a job that deletes nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// use ruvector_snapshot::schedule::{ForecastJob, FullRule};
    ///
    /// assert_eq!(ForecastJob::new(FullRule::default(), Vec::new()).retention, None);
    /// ```
    pub fn new(full: FullRule, databases: Vec<ForecastDatabase>) -> Self {
        let max_chain_length = SnapshotConfig::default().max_chain_length;
        Self { full, max_chain_length, databases, retention: None }
    }

    /// Sets the policy that is applied after each run.
    ///
    /// ```
    /// # use ruvector_snapshot::PrunePolicy;
    /// # use ruvector_snapshot::schedule::{ForecastJob, FullRule};
    /// let job = ForecastJob::new(FullRule::default(), Vec::new()).retention(PrunePolicy::default().keep_last(7));
    /// assert!(job.retention.is_some());
    /// ```
    #[must_use]
    pub fn retention(self, policy: PrunePolicy) -> Self {
        Self { retention: Some(policy), ..self }
    }

    fn is_of(&self, snapshot: &Snapshot) -> bool {
        self.databases.iter().any(|database| is_of(snapshot, &composed_source(database.source.clone())))
    }
}

/// What a run would do.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct ForecastRun {
    /// For each database of the job, whether a full snapshot would be taken of it. If not, an increment.
    pub full: Vec<bool>,
    /// Number of snapshots that the policy of the job would delete after that.
    pub deleted: usize,
    /// Why the policy would delete nothing.
    pub problem: Option<SnapshotError>,
}

/// What a store would hold of the databases of a job.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ForecastState {
    /// Number of full snapshots.
    pub full: usize,
    /// Number of incremental snapshots.
    pub incremental: usize,
    /// When the oldest of them was taken, or would be. `None` if there are none.
    pub oldest: Option<DateTime<Utc>>,
}

/// A store as runs would change it. Start from what it holds, see
/// [`retention_inputs`](crate::SnapshotManager::retention_inputs), or from `default()`, which is an empty one.
///
/// # Examples
///
/// ```
/// use chrono::{DateTime, TimeDelta};
/// use ruvector_snapshot::PrunePolicy;
/// use ruvector_snapshot::schedule::{ForecastDatabase, ForecastJob, FullRule, StoreForecast};
/// use ruvector_snapshot::SourceId;
///
/// let source = SourceId::Name("articles".to_owned());
/// let database = ForecastDatabase { source, name: "articles".to_owned(), labels: Default::default() };
/// let job = ForecastJob::new(FullRule::Every(2), vec![database]).retention(PrunePolicy::default().keep_last(3));
///
/// let mut store = StoreForecast::default();
/// let days = (0..5).map(|day| DateTime::UNIX_EPOCH + TimeDelta::days(day));
/// let full: Vec<bool> = days.flat_map(|day| store.run(&job, day).full).collect();
/// assert_eq!(full, [true, false, true, false, true]);
///
/// let state = store.state(&job);
/// assert_eq!((state.full, state.incremental), (2, 1));
/// assert_eq!(state.oldest, Some(DateTime::UNIX_EPOCH + TimeDelta::days(2)));
/// ```
#[derive(Debug, Default)]
pub struct StoreForecast {
    /// The newest first.
    snapshots: Vec<Snapshot>,
    external: ExternalRefs,
    /// Number of snapshots that were added.
    added: u64,
}

impl StoreForecast {
    /// Returns a store that holds these snapshots, and what else a policy has to respect.
    ///
    /// # Examples
    ///
    /// ```
    /// use ruvector_snapshot::retention::ExternalRefs;
    /// use ruvector_snapshot::schedule::{ForecastJob, ForecastState, FullRule, StoreForecast};
    ///
    /// let store = StoreForecast::new(Vec::new(), ExternalRefs::default());
    /// assert_eq!(store.state(&ForecastJob::new(FullRule::default(), Vec::new())), ForecastState::default());
    /// ```
    pub fn new(mut snapshots: Vec<Snapshot>, external: ExternalRefs) -> Self {
        snapshots.sort_by(newest_first);
        Self { snapshots, external, added: 0 }
    }

    /// Returns the due time of the run that a scheduler would start at once: it was missed, or there is no snapshot of a database yet.
    ///
    /// # Examples
    ///
    /// ```
    /// use chrono::{DateTime, TimeDelta};
    /// use ruvector_snapshot::schedule::{ForecastDatabase, ForecastJob, FullRule, Schedule, StoreForecast};
    /// use ruvector_snapshot::SourceId;
    ///
    /// let source = SourceId::Name("articles".to_owned());
    /// let database = ForecastDatabase { source, name: "articles".to_owned(), labels: Default::default() };
    /// let job = ForecastJob::new(FullRule::default(), vec![database]);
    /// let (daily, now) = (Schedule::new("@daily".parse()?), DateTime::UNIX_EPOCH + TimeDelta::hours(36));
    /// let mut store = StoreForecast::default();
    /// assert_eq!(store.overdue(&job, &daily, now), Some(DateTime::UNIX_EPOCH + TimeDelta::hours(24)));
    /// store.run(&job, now);
    /// assert_eq!(store.overdue(&job, &daily, now), None);
    /// # Ok::<(), ruvector_snapshot::SnapshotError>(())
    /// ```
    pub fn overdue(&self, job: &ForecastJob, schedule: &Schedule, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let newest = job.databases.iter().map(|database| self.newest_of(&database.source, now));
        let oldest = newest.collect::<Option<Vec<_>>>().and_then(|newest| newest.into_iter().min());
        match decide(schedule, &JobState::of_newest(oldest, schedule, now), now) {
            Decision::Run { due, .. } => Some(due),
            Decision::Wait { .. } | Decision::Never => None,
        }
    }

    fn newest_of(&self, source: &SourceId, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let source = composed_source(source.clone());
        let own = self.snapshots.iter().filter(|snapshot| is_of(snapshot, &source));
        own.map(|snapshot| snapshot.created_at).find(|taken| !is_in_future(*taken, now))
    }

    /// Returns what a run of the job at this moment would do, and does so here.
    pub fn run(&mut self, job: &ForecastJob, at: DateTime<Utc>) -> ForecastRun {
        let mut run = ForecastRun::default();
        for database in &job.databases {
            let base_id = self.base_id(job, &database.source, at);
            run.full.push(base_id.is_none());
            self.add(database, base_id, at);
        }
        match job.retention.as_ref().map(|policy| self.prune(job, policy, at)) {
            Some(Ok(deleted)) => run.deleted = deleted,
            Some(Err(problem)) => run.problem = Some(problem),
            None => {}
        }
        run
    }

    /// Returns what the store would hold of the databases of a job.
    pub fn state(&self, job: &ForecastJob) -> ForecastState {
        let own = self.snapshots.iter().filter(|snapshot| job.is_of(snapshot));
        own.fold(ForecastState::default(), |state, snapshot| {
            let is_full = snapshot.base_id().is_none();
            ForecastState {
                full: state.full + usize::from(is_full),
                incremental: state.incremental + usize::from(!is_full),
                oldest: Some(snapshot.created_at),
            }
        })
    }

    /// Returns the id of the snapshot that the next one of a source would be an increment on. `None` if it would be a full one.
    fn base_id(&self, job: &ForecastJob, source: &SourceId, at: DateTime<Utc>) -> Option<String> {
        let is_sound = |snapshot: &Snapshot| !self.external.corrupt.contains(&snapshot.id);
        let rule = (&job.full, job.max_chain_length);
        base_of_next(&self.snapshots, is_sound, source, rule, at).map(|base| base.id.clone())
    }

    fn add(&mut self, database: &ForecastDatabase, base_id: Option<String>, at: DateTime<Utc>) {
        self.added += 1;
        let number = self.added;
        let id = SnapshotId::new(at, number).map_or_else(|_| format!("forecast-{number}"), |id| id.to_string());
        self.snapshots.push(snapshot(id, database, base_id, at));
        self.snapshots.sort_by(newest_first);
    }

    /// Applies a policy to the snapshots of the databases of a job, and returns how many it deletes.
    fn prune(&mut self, job: &ForecastJob, policy: &PrunePolicy, at: DateTime<Utc>) -> Result<usize, SnapshotError> {
        let sources = job.databases.iter().map(|database| database.source.clone());
        let policy = policy.clone().of_sources(sources);
        let plan = retention::plan(self.snapshots.clone(), &self.external, &policy, at)?;
        let deleted: BTreeSet<String> = plan.drop.into_iter().map(|dropped| dropped.snapshot.id).collect();
        self.snapshots.retain(|snapshot| !deleted.contains(&snapshot.id));
        Ok(deleted.len())
    }
}

/// Returns a snapshot that was not taken, with all that a policy asks for.
fn snapshot(id: String, database: &ForecastDatabase, base_id: Option<String>, at: DateTime<Utc>) -> Snapshot {
    let mut source = SourceInfo::new("file", None);
    match &database.source {
        SourceId::Name(name) => source.name = Some(name.clone()),
        SourceId::Path { host, path } => (source.host, source.path) = (host.clone(), Some(path.clone())),
    }
    Snapshot {
        // Two snapshots with one checksum would be one state.
        checksum: id.clone(),
        id,
        name: database.name.clone(),
        created_at: at,
        size_bytes: 0,
        snapshot_type: base_id.map_or(SnapshotType::Full, |base_id| SnapshotType::Incremental { base_id }),
        vector_count: 0,
        dimensions: 0,
        distance_metric: None,
        labels: database.labels.clone(),
        note: None,
        unreadable_annotations: Vec::new(),
        metadata: None,
        source,
        embedding: None,
        irregular: None,
        raw_bytes: 0,
        files: BTreeMap::new(),
        changes: None,
        pinned: false,
        writer: String::new(),
    }
}

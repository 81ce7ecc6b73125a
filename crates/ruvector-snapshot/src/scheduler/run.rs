//! Runs a job once: takes the steps one after the other, and reports each. What is to be done is decided in `plan`.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, NaiveDate, Utc};
use futures::TryStreamExt as _;
use ruvector_snapshot_format::metadata::SourceId;
use tokio::sync::watch;

use super::job::{Job, JobCopy, JobDatabase};
use super::jobs::KnownStores;
use super::listener::JobListener;
use super::plan;
use super::report::{RunOutcome, RunReport, RunStart, StepError, StepKind, StepReport};
use crate::clock::Clock;
use crate::error::{ErrorKind, Remedy, Result, SnapshotError};
use crate::manager::SnapshotManager;
use crate::ops::copy::{CopiedSnapshot, CopyOptions, CopyOutcome, CopySelection};
use crate::ops::drill::DrillOptions;
use crate::ops::verify::{Verification, VerifyOptions};
use crate::policy::retention::PrunePolicy;
use crate::progress::{Progress, ProgressUpdate};
use crate::repo::deletion_batches::DeleteOptions;
use crate::repo::verify::Corruption;
use crate::snapshot::{Listing, Snapshot};

/// How long a run waits for the removal of what was aborted.
const CLEANUP_MAX: Duration = Duration::from_secs(60);

/// What a run is started with.
pub(super) struct Run<'a> {
    pub(super) job: &'a Job,
    pub(super) clock: &'a dyn Clock,
    pub(super) listener: &'a dyn JobListener,
    /// The steps of the runs that this one is a further attempt of.
    pub(super) before: Vec<StepReport>,
    /// The day on which a part was last verified.
    pub(super) verified_on: Option<NaiveDate>,
    pub(super) known: KnownStores,
    /// Becomes true if the run is to stop.
    pub(super) stop: watch::Receiver<bool>,
}

/// Runs a job to its end. The day on which a part was last verified is returned too.
pub(super) async fn run(run: Run<'_>, start: RunStart) -> (RunReport, Option<NaiveDate>) {
    let mut running = Running { verified_on: run.verified_on, run, steps: Vec::new(), is_interrupted: false };
    if running.start(&start).await {
        running.work().await;
        running.clean_up().await;
    }
    running.finish(&start).await;
    let report = running.report(start);
    (report, running.verified_on)
}

struct Running<'a> {
    run: Run<'a>,
    steps: Vec<StepReport>,
    is_interrupted: bool,
    verified_on: Option<NaiveDate>,
}

/// What a step is of.
#[derive(Clone, Copy)]
struct Step<'a> {
    kind: StepKind,
    database: Option<&'a str>,
    store: Option<&'a str>,
}

impl<'a> Step<'a> {
    fn of(kind: StepKind) -> Self {
        Self { kind, database: None, store: None }
    }

    fn database(self, database: &'a str) -> Self {
        Self { database: Some(database), ..self }
    }

    fn store(self, store: &'a str) -> Self {
        Self { store: Some(store), ..self }
    }
}

/// What a step returns for its report.
#[derive(Default)]
struct Done {
    snapshot_id: Option<String>,
    base_id: Option<String>,
    records: Option<u64>,
    stored_bytes: Option<u64>,
    snapshots: Option<u64>,
    warnings: Vec<String>,
    /// What has failed although the step came to its end: a corrupt snapshot that was found, for example.
    failed: Option<SnapshotError>,
}

impl Running<'_> {
    /// Asks the listener whether the run may start.
    async fn start(&mut self, start: &RunStart) -> bool {
        let (started_at, listener) = (self.run.clock.now(), self.run.listener);
        let answer = self.unless_stopped(listener.starting(start)).await;
        let may_start = answer.is_ok();
        self.add_answer(StepKind::Start, started_at, answer);
        may_start
    }

    /// Lets the listener finish the run. It is not stopped: it limits its time itself.
    async fn finish(&mut self, start: &RunStart) {
        let started_at = self.run.clock.now();
        let report = self.report(start.clone());
        let answer = self.run.listener.finishing(&report).await;
        self.add_answer(StepKind::Finish, started_at, answer);
    }

    /// Returns the report of the steps so far.
    fn report(&self, start: RunStart) -> RunReport {
        let has_warnings = self.steps.iter().any(|step| !step.warnings.is_empty());
        let outcome = match self.steps.iter().any(|step| step.error.is_some()) {
            _ if self.is_interrupted => RunOutcome::Interrupted,
            true => RunOutcome::Failed,
            false if has_warnings => RunOutcome::Warnings,
            false => RunOutcome::Succeeded,
        };
        RunReport { start, ended_at: self.run.clock.now(), outcome, steps: self.steps.clone() }
    }

    async fn work(&mut self) {
        let Some(sources) = self.sources() else { return };
        self.create_all(&sources).await;
        for at in 0..self.run.job.copies.len() {
            self.copy(at, &sources).await;
        }
        self.prune_all(&sources).await;
        self.verify(&sources).await;
        self.drill(&sources).await;
    }

    /// Waits until what was aborted is removed. A store that does not answer must not hold up the job for ever.
    async fn clean_up(&mut self) {
        let started_at = self.run.clock.now();
        let job = self.run.job;
        let stores: Vec<&SnapshotManager> = job.copies.iter().map(|copy| &copy.store).chain([&job.store]).collect();
        let cleaned_up = futures::future::join_all(stores.iter().map(|store| store.wait_for_cleanup()));
        if tokio::time::timeout(CLEANUP_MAX, cleaned_up).await.is_err() {
            let message = "what was stored of an unfinished snapshot may be left in the store; prune collects it later";
            let done = Done { warnings: vec![message.to_owned()], ..Done::default() };
            self.add(Step::of(StepKind::Cleanup), started_at, Vec::new(), Ok(done));
        }
        // What a store has to say that no listener has heard.
        if let Some(last) = self.steps.last_mut() {
            last.warnings.extend(stores.iter().flat_map(|store| store.take_warnings()));
        }
    }

    /// Returns the databases with their sources. `None` if one has none, which fails the run.
    fn sources(&mut self) -> Option<Vec<SourceId>> {
        let job = self.run.job;
        let source = |database: &JobDatabase| job.store.source_of_file(&database.path, &database.options);
        match job.databases.iter().map(source).collect::<Result<Vec<_>>>().and_then(plan::distinct) {
            Ok(sources) => Some(sources),
            Err(error) => {
                let now = self.run.clock.now();
                self.add(Step::of(StepKind::Start), now, Vec::new(), Err(error));
                None
            }
        }
    }

    /// Takes a snapshot of each database, between the calls that pause and resume the application.
    async fn create_all(&mut self, sources: &[SourceId]) {
        let texts: Vec<String> = sources.iter().map(ToString::to_string).collect();
        let store = self.run.job.store.clone();
        let Some(listing) = self.step(Step::of(StepKind::List), store.list()).await else { return };
        let is_known = self.run.known.contains("");
        if let Some(problem) = plan::problem_of_store(&listing, sources, self.run.job.requires_store, is_known) {
            let error = SnapshotError::new(ErrorKind::NotFound, problem);
            return self.add(Step::of(StepKind::List), self.run.clock.now(), Vec::new(), Err(error));
        }
        let is_left = |source: &String| !self.has_done(Step::of(StepKind::Create).database(source));
        if !texts.iter().any(is_left) {
            return;
        }
        if plan::is_empty(&listing) {
            let new = Done { snapshots: Some(0), ..Done::default() };
            self.add(Step::of(StepKind::List), self.run.clock.now(), Vec::new(), Ok(new));
        }
        let problems = plan::problems_of(&listing, sources);
        if !problems.is_empty() {
            let now = self.run.clock.now();
            self.add(Step::of(StepKind::List), now, problems, Ok(Done::default()));
        }
        let pause = self.run.job.pause.clone();
        let mut may_create = true;
        if let Some(pause) = &pause {
            may_create = self.step(Step::of(StepKind::Pause), pause.pause()).await.is_some();
        }
        for ((database, source), text) in self.run.job.databases.iter().zip(sources).zip(&texts) {
            let step = Step::of(StepKind::Create).database(text);
            if may_create && !self.is_interrupted && !self.has_done(step) {
                self.create(database, source, step, &listing).await;
            }
        }
        if let Some(pause) = &pause {
            // Also after an interrupt, which must not leave the application paused.
            let started_at = self.run.clock.now();
            let resumed = pause.resume().await.map(|()| Done::default());
            self.add(Step::of(StepKind::Resume), started_at, Vec::new(), resumed);
        }
    }

    async fn create(&mut self, database: &JobDatabase, source: &SourceId, step: Step<'_>, listing: &Listing) {
        let Run { job, clock, .. } = &self.run;
        let rule = (&job.full, job.store.config().max_chain_length);
        let base_id = plan::base_of_next(listing, source, rule, clock.now());
        let store = job.store.clone();
        self.step_with(step, |heard| async move {
            let options = database.options.clone().progress(heard.clone());
            let Some(base_id) = base_id else {
                let full = options.clone();
                return Ok(created(store.create_snapshot_of_file(&database.path, &database.name, &full).await?));
            };
            let increment = options.clone().base_id(base_id);
            match store.create_snapshot_of_file(&database.path, &database.name, &increment).await {
                // The base is corrupt, or of another shape: a full snapshot is what helps.
                Err(error) if error.remedy() == Some(Remedy::FullSnapshot) || error.kind() == ErrorKind::Corrupt => {
                    let full = store.create_snapshot_of_file(&database.path, &database.name, &options).await?;
                    heard.warning(&format!("a full snapshot was taken, because no increment was possible: {error}"));
                    Ok(created(full))
                }
                snapshot => Ok(created(snapshot?)),
            }
        })
        .await;
    }

    async fn copy(&mut self, at: usize, sources: &[SourceId]) {
        let Some(copy) = self.run.job.copies.get(at) else { return };
        let JobCopy { name, store: target, .. } = copy.clone();
        let step = Step::of(StepKind::Copy).store(&name);
        if self.is_interrupted || self.has_done(step) {
            return;
        }
        let (store, is_known) = (self.run.job.store.clone(), self.run.known.contains(&name));
        self.step_with(step, |heard| async move {
            let listing = store.list().await?;
            let ids = sources.iter().flat_map(|source| plan::snapshots_of(&listing, source));
            // What is known to be corrupt would not be copied.
            let problems = listing.problems();
            let sound = ids.filter(|snapshot| !problems.contains_key(&snapshot.id));
            let ids = CopySelection::Ids(sound.map(|snapshot| snapshot.id.clone()).collect());
            let plan = store.plan_copy(&target, &ids, &CopyOptions::default()).await?;
            if is_known && plan.target_is_empty {
                return Err(SnapshotError::new(ErrorKind::NotFound, plan::LOST_ALL));
            }
            let report = store.apply_copy(&target, &plan, Some(heard)).await?;
            target.wait_for_cleanup().await;
            let is_copied = |copied: &&CopiedSnapshot| copied.outcome == CopyOutcome::Copied && copied.error.is_none();
            let copied = report.snapshots.iter().filter(is_copied).count() as u64;
            let bytes = report.written_bytes;
            let failed = report.snapshots.into_iter().find_map(|copied| copied.error);
            let failed = failed.map(|why| SnapshotError::new(ErrorKind::Unavailable, why));
            Ok(Done { snapshots: Some(copied), stored_bytes: Some(bytes), failed, ..Done::default() })
        })
        .await;
    }

    /// Applies the retention policies, unless a snapshot could not be taken or copied: then what is there is worth more.
    async fn prune_all(&mut self, sources: &[SourceId]) {
        let is_created = |source: &SourceId| self.has_done(Step::of(StepKind::Create).database(&source.to_string()));
        let is_copied = |copy: &JobCopy| self.has_done(Step::of(StepKind::Copy).store(&copy.name));
        if !sources.iter().all(is_created) || !self.run.job.copies.iter().all(is_copied) {
            return;
        }
        let Job { store, retention, copies, .. } = self.run.job;
        let own = retention.iter().map(|policy| (None, store, policy));
        let others =
            copies.iter().filter_map(|copy| Some((Some(copy.name.as_str()), &copy.store, copy.retention.as_ref()?)));
        for (name, store, policy) in own.chain(others) {
            let step = Step { kind: StepKind::Prune, database: None, store: name };
            if !self.is_interrupted && !self.has_done(step) {
                let policy = policy.clone().of_sources(sources.iter().cloned());
                self.step_with(step, |_| prune(store.clone(), policy)).await;
            }
        }
    }

    /// Verifies the part of the day, once.
    async fn verify(&mut self, sources: &[SourceId]) {
        let today = self.run.clock.now().date_naive();
        let Some(parts) = self.run.job.verify_parts.filter(|_| self.verified_on != Some(today)) else { return };
        if self.is_interrupted {
            return;
        }
        let store = self.run.job.store.clone();
        let verified = self.step_with(Step::of(StepKind::Verify), |heard| async move {
            let listing = store.list().await?;
            let depth = plan::part_of(today, parts)?;
            let ids = plan::not_verified_on(&listing, plan::to_verify(&listing, sources), depth, today);
            let options = VerifyOptions::default().depth(depth).progress(heard);
            let mut verifications = std::pin::pin!(store.verify_each(&ids, options)?);
            let mut done = Done { snapshots: Some(0), ..Done::default() };
            while let Some(verification) = verifications.try_next().await? {
                done.snapshots = done.snapshots.map(|number| number + 1);
                if let Some(error) = failure_of(verification) {
                    done.failed.get_or_insert(error);
                }
            }
            Ok(done)
        });
        if verified.await {
            self.verified_on = Some(today);
        }
    }

    async fn drill(&mut self, sources: &[SourceId]) {
        let Some(when) = self.run.job.drill.clone().filter(|_| !self.is_interrupted) else { return };
        let store = self.run.job.store.clone();
        let Some(listing) = self.step(Step::of(StepKind::List), store.list()).await else { return };
        let now = self.run.clock.now();
        let due = sources.iter().filter_map(|source| Some((source, plan::drill_of(&listing, source, &when, now)?)));
        let due: Vec<_> = due.map(|(source, snapshot)| (source.to_string(), snapshot.id.clone())).collect();
        for (source, id) in due {
            if self.is_interrupted {
                return;
            }
            let store = store.clone();
            let step = Step::of(StepKind::Drill).database(&source);
            self.step_with(step, |heard| async move {
                let report = store.drill_snapshot(&id, &DrillOptions::default().progress(heard)).await?;
                let failed = (!report.passed).then(|| {
                    let recall = report.recall.unwrap_or_default();
                    let message = format!(
                        "the drill of snapshot {id} has not passed: its searches have found {recall:.3} of the nearest neighbors, and {} is \
                         required",
                        report.min_recall
                    );
                    SnapshotError::new(ErrorKind::Corrupt, message)
                });
                Ok(Done { snapshot_id: Some(id), failed, ..Done::default() })
            })
            .await;
        }
    }

    /// Returns whether a step was done, in this run or in one that it is a further attempt of.
    fn has_done(&self, step: Step<'_>) -> bool {
        let is_it = |done: &&StepReport| {
            (done.step, done.database.as_deref(), done.store.as_deref()) == (step.kind, step.database, step.store)
        };
        self.run.before.iter().chain(&self.steps).filter(is_it).any(StepReport::is_done)
    }

    /// Takes a step that has nothing to report but an error. A list that succeeds is not reported.
    async fn step<T>(&mut self, step: Step<'_>, work: impl Future<Output = Result<T>>) -> Option<T> {
        let started_at = self.run.clock.now();
        match self.unless_stopped(work).await {
            Ok(value) => {
                if step.kind != StepKind::List {
                    self.add(step, started_at, Vec::new(), Ok(Done::default()));
                }
                Some(value)
            }
            Err(error) => {
                self.add(step, started_at, Vec::new(), Err(error));
                None
            }
        }
    }

    /// Takes a step, and reports it with the warnings that it was heard to give. Returns whether a further attempt would not repeat it.
    async fn step_with<F: Future<Output = Result<Done>>>(
        &mut self,
        step: Step<'_>,
        work: impl FnOnce(Arc<Heard>) -> F,
    ) -> bool {
        let (started_at, heard) = (self.run.clock.now(), Arc::new(Heard::default()));
        let done = self.unless_stopped(work(heard.clone())).await;
        let warnings = std::mem::take(&mut *heard.0.lock().unwrap_or_else(PoisonError::into_inner));
        self.add(step, started_at, warnings, done);
        let error = self.steps.last().and_then(|step| step.error.as_ref());
        error.is_none_or(|error| !error.is_tried_again)
    }

    /// Drops the work if the run is to stop.
    async fn unless_stopped<T>(&mut self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let stop = &mut self.run.stop;
        tokio::select! {
            biased;
            Ok(_) = stop.wait_for(|stop| *stop) => {
                self.is_interrupted = true;
                Err(SnapshotError::new(ErrorKind::Unavailable, "the run was stopped, because the scheduler is ending"))
            }
            answer = work => answer,
        }
    }

    /// Reports what the listener has answered, unless that is nothing.
    fn add_answer(&mut self, kind: StepKind, started_at: DateTime<Utc>, answer: Result<Vec<String>>) {
        if !matches!(&answer, Ok(warnings) if warnings.is_empty()) {
            let done = answer.map(|warnings| Done { warnings, ..Done::default() });
            self.add(Step::of(kind), started_at, Vec::new(), done);
        }
    }

    fn add(&mut self, step: Step<'_>, started_at: DateTime<Utc>, mut warnings: Vec<String>, done: Result<Done>) {
        let is_result = done.is_ok();
        let Done { snapshot_id, base_id, records, stored_bytes, snapshots, warnings: more, failed } =
            done.unwrap_or_else(|error| Done { failed: Some(error), ..Done::default() });
        warnings.extend(more);
        // Each step that lists the store finds the same.
        warnings.retain(|warning| !self.steps.iter().any(|before| before.warnings.contains(warning)));
        // A verification or a drill that has come to its end has a result, and not a fault that passes.
        let has_result = is_result && matches!(step.kind, StepKind::Verify | StepKind::Drill);
        let error = failed.map(|error| StepError::new(&error, !has_result || error.is_retryable()));
        self.steps.push(StepReport {
            step: step.kind,
            database: step.database.map(str::to_owned),
            store: step.store.map(str::to_owned),
            started_at,
            ended_at: self.run.clock.now(),
            snapshot_id,
            base_id,
            records,
            stored_bytes,
            snapshots,
            warnings,
            error,
        });
    }
}

fn created(snapshot: Snapshot) -> Done {
    let not_captured = snapshot.source.not_captured.iter().map(|what| format!("not captured: {what}")).collect();
    Done {
        base_id: snapshot.base_id().map(str::to_owned),
        records: Some(snapshot.vector_count as u64),
        stored_bytes: Some(snapshot.size_bytes),
        snapshot_id: Some(snapshot.id),
        warnings: not_captured,
        ..Done::default()
    }
}

/// Returns that a snapshot is corrupt, or why that is not known.
fn failure_of(verification: Verification) -> Option<SnapshotError> {
    let corrupt = |id: &str, corruption: &[Corruption]| {
        let first = corruption.first().map(|first| match first.snapshot == id {
            true => format!(": {first}"),
            false => format!(", because of snapshot {}: {first}", first.snapshot),
        });
        let first = first.unwrap_or_default();
        SnapshotError::new(ErrorKind::Corrupt, format!("snapshot {id} is corrupt{first}"))
    };
    match verification {
        Verification::Verified(report) => (!report.is_intact()).then(|| corrupt(&report.id, &report.corruption)),
        Verification::VerifiedWith { id, corruption, .. } => {
            (!corruption.is_empty()).then(|| corrupt(&id, &corruption))
        }
        Verification::Failed { error, .. } => Some(error),
        Verification::Skipped { .. } | Verification::Deleted { .. } | Verification::PendingUpload { .. } => None,
    }
}

/// Plans, removes what interrupted processes have left, and deletes what the policy drops.
async fn prune(store: SnapshotManager, policy: PrunePolicy) -> Result<Done> {
    let plan = store.plan_prune(&policy).await?;
    let mut warnings: Vec<String> =
        plan.problems.iter().chain(&plan.possible_losses).map(ToString::to_string).collect();
    warnings
        .extend(plan.unprotected.iter().map(|source| format!("no snapshot of {source} that can be restored is kept")));
    store.collect_garbage_with(&plan.orphans, &DeleteOptions::default()).await?;
    let report = store.apply_prune(&plan).await?;
    store.wait_for_cleanup().await;
    Ok(Done { snapshots: Some(report.deleted.len() as u64), warnings, ..Done::default() })
}

/// A listener that keeps warnings.
#[derive(Debug, Default)]
struct Heard(Mutex<Vec<String>>);

impl Progress for Heard {
    fn update(&self, _update: ProgressUpdate) {}

    fn warning(&self, message: &str) {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Work that is attempted again repeats its warnings.
        if !heard.iter().any(|other| other == message) {
            heard.push(message.to_owned());
        }
    }
}

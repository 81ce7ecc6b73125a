//! Jobs that run, in simulated time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use chrono::TimeDelta;
use ruvector_snapshot::schedule::{FullRule, Missed, Schedule};
use ruvector_snapshot::scheduler::{Job, JobCopy, JobPause, RunOutcome, RunReport, SnapshotScheduler, StepKind};
use ruvector_snapshot::{ErrorKind, Listing, PrunePolicy, Result, SnapshotConfig, SnapshotError, SnapshotManager};
use test_fixtures::memory_store;

use super::world::{World, passes};

/// Returns the hours after the beginning at which runs have started.
fn hours(world: &World) -> Vec<i64> {
    let began = super::moment("2026-01-01T00:00:00Z");
    let started = world.ears.started.lock().unwrap();
    started.iter().map(|run| (run.started_at - began).num_hours()).collect()
}

/// Returns the types of the snapshots of a source, oldest first: `f` or `i`.
fn types(listing: &Listing, source: &str) -> String {
    let own = listing.snapshots.iter().rev().filter(|one| one.source.name.as_deref() == Some(source));
    own.map(|one| if one.base_id().is_some() { 'i' } else { 'f' }).collect()
}

fn with_store(mut job: Job, store: SnapshotManager) -> Job {
    job.store = store;
    job
}

fn assert_success(reports: &[RunReport]) {
    let failed: Vec<_> = reports.iter().filter(|report| report.outcome != RunOutcome::Succeeded).collect();
    assert!(failed.is_empty() && !reports.is_empty(), "{failed:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_job_runs_at_each_due_time_and_takes_full_snapshots_by_its_rule() {
    let world = World::new();
    let job = || world.job("articles", "0 3 * * *").full(FullRule::Every(3));
    world.run(vec![job().retention(PrunePolicy::default().keep_last(4))], 8 * 24).await;
    assert_success(&world.take_reports());
    // The first run is at once, because there is no snapshot.
    assert_eq!(hours(&world), [0, 3, 27, 51, 75, 99, 123, 147, 171]);
    // Of the chain of three that the oldest of the four is in, all are needed.
    assert_eq!(types(&world.listing().await, "articles"), "fiifii");
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_a_missed_run_is_run_once_or_skipped() {
    for (missed, expected) in [(Missed::RunOnce, 1), (Missed::Skip, 0)] {
        let world = World::new();
        let job = |missed| {
            let mut job = world.job("articles", "0 3 * * *");
            job.schedule.missed = missed;
            job
        };
        world.run(vec![job(Missed::RunOnce)], 4).await;
        passes(Duration::from_secs(3 * 24 * 3600)).await;
        world.ears.started.lock().unwrap().clear();
        world.run(vec![job(missed)], 1).await;
        let started = world.ears.started.lock().unwrap().clone();
        assert_eq!(started.len(), expected, "{started:?}");
        if let Some(run) = started.first() {
            // The first of three is run for the last of them.
            assert_eq!((run.missed_runs, run.due), (2, Some(super::moment("2026-01-04T03:00:00Z"))));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_job_that_fails_is_tried_again_and_stops_no_other() {
    let world = World::new();
    let jobs = vec![world.job("broken", "every 12h"), world.job("sound", "every 12h")];
    let path = world.dir.path("broken.db");
    let aside = world.dir.path("aside");
    std::fs::rename(&path, &aside).unwrap();
    let scheduler = world.scheduler(jobs);
    let mend = async {
        passes(Duration::from_secs(10 * 60)).await;
        std::fs::rename(&aside, &path).unwrap();
        passes(Duration::from_secs(3600)).await;
    };
    scheduler.run(mend, Duration::ZERO).await;
    let reports = world.take_reports();
    let of = |job: &str| reports.iter().filter(|report| report.start.job == job).collect::<Vec<_>>();
    assert_eq!(of("sound").len(), 1);
    let broken = of("broken");
    // After 1, 2, 4 and 8 minutes.
    assert_eq!(broken.iter().map(|report| report.start.attempt).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    let failed = broken[0].errors().next().unwrap();
    assert_eq!((failed.step, failed.error.as_ref().unwrap().kind), (StepKind::Create, ErrorKind::NotFound));
    assert!(failed.error.as_ref().unwrap().message.contains("broken.db"), "{failed:?}");
    let last = broken.last().unwrap();
    assert!(last.is_recovery() && last.start.failures_before == 4, "{last:?}");
    let status = scheduler.status();
    assert_eq!((status[0].name.as_str(), status[0].failures, status[1].failures), ("broken", 0, 0));
    assert_eq!(status[0].next_run, Some(super::moment("2026-01-01T12:00:00Z")));
}

#[tokio::test(start_paused = true)]
async fn what_a_failed_run_has_done_is_not_repeated() {
    let world = World::new();
    let offsite = memory_store();
    let closed = world.manager_at(test_fixtures::ForwardingStore::new(offsite.clone(), Closed::default()));
    let job = world.job("articles", "every 24h").copy_to(JobCopy::new("offsite", closed));
    world.run(vec![job], 3).await;
    let reports = world.take_reports();
    let creates = reports.iter().flat_map(|report| &report.steps).filter(|step| step.step == StepKind::Create).count();
    assert_eq!((creates, world.listing().await.snapshots.len()), (1, 1), "{reports:#?}");
    let copies = reports.iter().flat_map(|report| &report.steps).filter(|step| step.step == StepKind::Copy);
    let copies: Vec<bool> = copies.map(|step| step.error.is_none()).collect();
    assert_eq!(copies, [false, false, true]);
    assert_eq!(world.manager_at(offsite).list().await.unwrap().snapshots.len(), 1);
}

/// A store that refuses the first two attempts to store something.
#[derive(Default)]
struct Closed(AtomicUsize);

#[async_trait]
impl test_fixtures::StoreHooks for Closed {
    type Guard = ();

    async fn before(&self, method: test_fixtures::Method, key: &str) -> Result<()> {
        let is_commit = method == test_fixtures::Method::Create && key.ends_with("metadata.json");
        if is_commit && self.0.fetch_add(1, Ordering::SeqCst) < 2 {
            return Err(SnapshotError::new(ErrorKind::PermissionDenied, "the store is closed").with_key(key));
        }
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_retention_policy_is_for_the_databases_of_its_job() {
    let world = World::new();
    let full = |name: &str| world.job(name, "every 6h").full(FullRule::Every(1));
    let jobs = vec![full("few").retention(PrunePolicy::default().keep_last(1)), full("all")];
    world.run(jobs, 24).await;
    assert_success(&world.take_reports());
    let listing = world.listing().await;
    assert_eq!((types(&listing, "few").len(), types(&listing, "all").len()), (1, 4));
}

#[tokio::test(start_paused = true)]
async fn snapshots_are_copied_verified_in_parts_and_drilled() {
    let world = World::new();
    let offsite = memory_store();
    let copy =
        JobCopy::new("offsite", world.manager_at(offsite.clone())).retention(PrunePolicy::default().keep_last(9));
    let job = world.job("articles", "0 */12 * * *").full(FullRule::Every(2)).copy_to(copy).verify_parts(2);
    let job = job.drill("0 12 3 * *".parse().unwrap()).retention(PrunePolicy::default().keep_last(2));
    world.run(vec![job], 3 * 24).await;
    let reports = world.take_reports();
    assert_success(&reports);
    let steps = |kind| reports.iter().flat_map(|report| &report.steps).filter(move |step| step.step == kind);
    // Once a day, on four days; what was read adds up to everything.
    assert_eq!(steps(StepKind::Verify).count(), 3, "{reports:#?}");
    assert_eq!(steps(StepKind::Drill).count(), 1);
    assert!(steps(StepKind::Drill).all(|step| step.snapshot_id.is_some()));
    let (kept, copied) = (world.listing().await, world.manager_at(offsite).list().await.unwrap());
    assert!(kept.snapshots.len() < copied.snapshots.len(), "{} {}", kept.snapshots.len(), copied.snapshots.len());
    let drilled = copied.snapshots.len() as u64;
    assert!(drilled >= 6, "{drilled}");
}

/// The usual damage: a file is lost or cut off, and the snapshot cannot be used any more.
#[tokio::test(start_paused = true)]
async fn a_snapshot_that_cannot_be_used_is_reported_and_fails_the_verification() {
    for file in ["vectors.bin.gz", "checksum.sha256"] {
        let world = World::new();
        let job = || world.job("articles", "every 24h").full(FullRule::Every(1));
        world.run(vec![job()], 25).await;
        assert_success(&world.take_reports());
        let newest = world.listing().await.snapshots[0].id.clone();
        world.remove(&format!("snapshot-{newest}/{file}")).await;
        world.run(vec![job().verify_parts(1)], 25).await;
        let reports = world.take_reports();
        let report = reports.last().unwrap();
        let warned = report.steps.iter().flat_map(|step| &step.warnings).any(|warning| warning.contains(&newest));
        assert!(warned && report.outcome != RunOutcome::Succeeded, "{file}: {report:#?}");
        let failed = report.errors().next().unwrap();
        assert_eq!((failed.step, failed.error.as_ref().unwrap().kind), (StepKind::Verify, ErrorKind::Corrupt));
    }
}

#[derive(Debug, Default)]
struct Application(Mutex<Vec<&'static str>>);

#[async_trait]
impl JobPause for Application {
    async fn pause(&self) -> Result<()> {
        self.0.lock().unwrap().push("pause");
        Ok(())
    }

    async fn resume(&self) -> Result<()> {
        self.0.lock().unwrap().push("resume");
        Ok(())
    }
}

/// The upload hangs. A run that ends within the grace period is not stopped.
#[tokio::test(start_paused = true)]
async fn a_run_that_does_not_end_in_time_is_stopped_and_leaves_nothing() {
    for (answers_after_seconds, expected) in [(75, RunOutcome::Succeeded), (100, RunOutcome::Interrupted)] {
        let world = World::new();
        world.ears.time_passes.store(true, Ordering::SeqCst);
        let application = Arc::new(Application::default());
        let job = world.job("articles", "every 6h").pause(application.clone());
        let store = job.store.clone();
        world.weather.hangs.store(true, Ordering::SeqCst);
        let scheduler = world.scheduler(vec![job]);
        let answer = async {
            passes(Duration::from_secs(answers_after_seconds)).await;
            world.weather.hangs.store(false, Ordering::SeqCst);
        };
        let stop = passes(Duration::from_secs(60));
        tokio::join!(scheduler.run(stop, Duration::from_secs(30)), answer);
        let reports = world.take_reports();
        assert_eq!(reports.iter().map(|report| report.outcome).collect::<Vec<_>>(), [expected], "{reports:#?}");
        assert_eq!(*application.0.lock().unwrap(), ["pause", "resume"]);
        store.wait_for_cleanup().await;
        let listing = world.listing().await;
        let left = (listing.snapshots.len(), listing.pending_uploads.len(), listing.unfinished.len());
        assert_eq!(left, (usize::from(expected == RunOutcome::Succeeded), 0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_answer_at_the_start_is_reported_and_asked_again() {
    let world = World::new();
    world.weather.is_down.store(true, Ordering::SeqCst);
    let scheduler = world.scheduler(vec![world.job("articles", "every 24h")]);
    let heal = async {
        passes(Duration::from_secs(150)).await;
        world.weather.is_down.store(false, Ordering::SeqCst);
        passes(Duration::from_secs(3600)).await;
    };
    scheduler.run(heal, Duration::ZERO).await;
    let reports = world.take_reports();
    let outcomes: Vec<_> = reports.iter().map(|report| (report.outcome, report.steps[0].step)).collect();
    let down = (RunOutcome::Failed, StepKind::List);
    assert_eq!(outcomes, [down, down, (RunOutcome::Succeeded, StepKind::List)]);
    assert!(
        reports[2].is_recovery()
            && reports[0].errors().next().unwrap().error.as_ref().unwrap().message.contains("is down")
    );
}

#[tokio::test(start_paused = true)]
async fn a_listener_can_refuse_a_run() {
    let world = World::new();
    *world.ears.refusal.lock().unwrap() = Some("the disk is not mounted".to_owned());
    world.run(vec![world.job("articles", "every 24h")], 0).await;
    let scheduler = world.scheduler(vec![world.job("articles", "every 24h")]);
    let report = scheduler.run_job("articles").await.unwrap();
    assert_eq!((report.outcome, report.steps.len(), report.steps[0].step), (RunOutcome::Failed, 1, StepKind::Start));
    assert!(world.listing().await.snapshots.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_listener_can_warn_of_a_run_and_fail_it_when_its_work_is_done() {
    let world = World::new();
    let scheduler = world.scheduler(vec![world.job("articles", "every 24h")]);
    *world.ears.warning.lock().unwrap() = Some("the disk is slow".to_owned());
    let report = scheduler.run_job("articles").await.unwrap();
    let steps: Vec<_> = report.steps.iter().map(|step| (step.step, step.warnings.len())).collect();
    assert_eq!(
        (report.outcome, steps),
        (RunOutcome::Warnings, vec![(StepKind::Start, 1), (StepKind::List, 0), (StepKind::Create, 0)])
    );

    *world.ears.complaint.lock().unwrap() = Some("the disk cannot be unmounted".to_owned());
    let report = scheduler.run_job("articles").await.unwrap();
    let last = report.steps.last().unwrap();
    assert_eq!((report.outcome, last.step, report.steps.len()), (RunOutcome::Failed, StepKind::Finish, 3));
    assert!(last.error.as_ref().unwrap().message.contains("cannot be unmounted"), "{last:?}");

    // Also a run that may not start is finished, and has what it has done by then.
    *world.ears.refusal.lock().unwrap() = Some("the disk is not mounted".to_owned());
    scheduler.run_job("articles").await.unwrap();
    let finished: Vec<_> =
        world.ears.finished.lock().unwrap().iter().map(|run| (run.outcome, run.steps.len())).collect();
    assert_eq!(finished, [(RunOutcome::Warnings, 3), (RunOutcome::Warnings, 2), (RunOutcome::Failed, 1)]);
}

#[tokio::test(start_paused = true)]
async fn the_status_has_the_time_of_the_snapshots_that_were_there_at_the_start() {
    let world = World::new();
    world.run(vec![world.job("articles", "every 24h")], 1).await;
    let newest = world.listing().await.snapshots[0].created_at;
    let scheduler = world.scheduler(vec![world.job("articles", "every 24h")]);
    assert_eq!(scheduler.status()[0].snapshots_at, None);
    scheduler.run(passes(Duration::from_secs(60)), Duration::ZERO).await;
    let status = scheduler.status();
    assert_eq!((status[0].snapshots_at, status[0].succeeded_at), (Some(newest), None));
}

#[tokio::test(start_paused = true)]
async fn jobs_are_replaced_and_what_is_known_of_them_is_kept() {
    let world = World::new();
    let scheduler = world.scheduler(vec![world.job("stays", "every 6h"), world.job("goes", "every 6h")]);
    let replace = async {
        passes(Duration::from_secs(7 * 3600)).await;
        let twice = vec![world.job("stays", "every 1h"), world.job("stays", "every 1h")];
        assert!(scheduler.replace_jobs(twice).unwrap_err().message().contains("two jobs have the name"));
        scheduler.replace_jobs(vec![world.job("stays", "every 24h"), world.job("comes", "every 6h")]).unwrap();
        passes(Duration::from_secs(6 * 3600)).await;
    };
    scheduler.run(replace, Duration::ZERO).await;
    assert_success(&world.take_reports());
    let listing = world.listing().await;
    let of = |source: &str| types(&listing, source).len();
    assert_eq!((of("stays"), of("goes"), of("comes")), (2, 2, 2));
    let names: Vec<_> = scheduler.status().into_iter().map(|status| status.name).collect();
    assert_eq!(names, ["comes", "stays"]);
}

#[tokio::test(start_paused = true)]
async fn what_was_done_for_one_store_is_not_taken_for_done_in_another() {
    let (world, down) = (World::new(), World::new());
    down.weather.is_down.store(true, Ordering::SeqCst);
    let job = || world.job("articles", "@monthly");
    // The create is done, and the copy has failed.
    let scheduler = world.scheduler(vec![job().copy_to(JobCopy::new("offsite", down.manager()))]);
    let dir = world.dir.path("other");
    let other = SnapshotManager::new(SnapshotConfig { snapshot_dir: dir, ..world.dir.config() }).unwrap();
    let other = other.with_clock(world.clock.clone());
    let replace = async {
        passes(Duration::from_secs(90)).await;
        scheduler.replace_jobs(vec![with_store(job(), other.clone())]).unwrap();
        passes(Duration::from_secs(3600)).await;
    };
    scheduler.run(replace, Duration::ZERO).await;
    assert_eq!(other.list().await.unwrap().snapshots.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_always_due_does_not_keep_others_from_running() {
    let world = World::new();
    world.ears.time_passes.store(true, Ordering::SeqCst);
    world.weather.hangs.store(true, Ordering::SeqCst);
    let jobs = ["a", "b", "c"].map(|name| world.job(name, "every 1s"));
    let scheduler = world.scheduler(jobs.into()).concurrent_runs(1);
    let life = async {
        for _ in 0..40 {
            world.weather.hangs.store(true, Ordering::SeqCst);
            passes(Duration::from_secs(3)).await;
            world.weather.hangs.store(false, Ordering::SeqCst);
            passes(Duration::from_secs(3)).await;
        }
    };
    scheduler.run(life, Duration::ZERO).await;
    let listing = world.listing().await;
    for source in ["a", "b", "c"] {
        assert!(types(&listing, source).len() > 3, "{source}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_repeats_and_loses_no_run() {
    let world = World::new();
    let scheduler = world.scheduler(vec![world.job("articles", "0 3 * * *")]);
    let set = async {
        passes(Duration::from_secs(4 * 3600)).await;
        world.clock.set(TimeDelta::hours(-3));
        passes(Duration::from_secs(4 * 3600)).await;
        // The machine was asleep for three days.
        world.clock.set(TimeDelta::days(3));
        passes(Duration::from_secs(120)).await;
    };
    scheduler.run(set, Duration::ZERO).await;
    assert_success(&world.take_reports());
    let due: Vec<_> = world.ears.started.lock().unwrap().iter().map(|run| run.due.unwrap().to_rfc3339()).collect();
    assert_eq!(due, ["2025-12-31T03:00:00+00:00", "2026-01-01T03:00:00+00:00", "2026-01-04T03:00:00+00:00"]);
}

#[tokio::test(start_paused = true)]
async fn jobs_that_cannot_be_meant_are_refused() {
    let world = World::new();
    let refused = |jobs: Vec<Job>| SnapshotScheduler::new(jobs).unwrap_err().message().to_owned();
    let nothing = Job::new("nothing", world.manager(), Schedule::new("@daily".parse().unwrap()));
    assert!(refused(vec![nothing]).contains("has no database"));
    let job = world.job("articles", "@daily");
    let twice = job.clone().database(job.databases[0].clone());
    assert!(refused(vec![twice]).contains("twice"));
    assert!(refused(vec![job.clone().retention(PrunePolicy::default())]).contains("without a rule"));
    let scheduler = world.scheduler(vec![job]);
    assert_eq!(scheduler.run_job("other").await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test(start_paused = true)]
async fn two_databases_of_one_name_fail_the_run_and_neither_is_taken_for_the_other() {
    let world = World::new();
    let (one, other) = (world.job("articles", "@daily"), world.job("other", "@daily"));
    let mut database = other.databases[0].clone();
    database.options = database.options.source_name("articles");
    let report = world.scheduler(vec![one.database(database)]).run_job("articles").await.unwrap();
    let error = report.errors().next().unwrap().error.as_ref().unwrap();
    assert!(error.message.contains("two databases of the job are called articles"), "{report:#?}");
    assert!(world.listing().await.snapshots.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_copied_is_not_pruned() {
    let (world, down) = (World::new(), World::new());
    let job = |copy: SnapshotManager| {
        let job =
            world.job("articles", "@daily").full(FullRule::Every(1)).retention(PrunePolicy::default().keep_last(1));
        job.copy_to(JobCopy::new("offsite", copy))
    };
    // A store of which every use fails, as one on a full disk.
    down.weather.is_down.store(true, Ordering::SeqCst);
    for (copy, kept) in [(down.manager(), 3), (world.manager_at(memory_store()), 1)] {
        for _ in 0..3 {
            let report = world.scheduler(vec![job(copy.clone())]).run_job("articles").await.unwrap();
            assert_eq!(report.is_success(), kept == 1, "{report:#?}");
            passes(Duration::from_secs(60)).await;
        }
        assert_eq!(world.listing().await.snapshots.len(), kept);
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_without_snapshots_fails_a_job_that_requires_them() {
    let world = World::new();
    let run = async |requires: bool| {
        let job = world.job("articles", "@daily").require_store(requires);
        world.scheduler(vec![job]).run_job("articles").await.unwrap()
    };
    let report = run(true).await;
    let error = report.errors().next().unwrap().error.as_ref().unwrap();
    assert!(error.message.contains("the store has no snapshots"), "{report:#?}");
    assert!(world.listing().await.snapshots.is_empty());
    assert!(run(false).await.is_success());
    passes(Duration::from_secs(60)).await;
    assert!(run(true).await.is_success());
}

/// The directory under the mount point of a disk looks like a new store.
#[tokio::test(start_paused = true)]
async fn a_store_that_had_snapshots_and_has_none_fails_the_job() {
    let world = World::new();
    let scheduler = world.scheduler(vec![world.job("articles", "@daily")]);
    let first = scheduler.run_job("articles").await.unwrap();
    let list = first.steps.iter().find(|step| step.step == StepKind::List).unwrap();
    assert_eq!((first.is_success(), list.snapshots), (true, Some(0)), "{first:#?}");
    passes(Duration::from_secs(60)).await;
    let id = world.listing().await.snapshots[0].id.clone();
    world.manager().delete_snapshot(&id).await.unwrap();
    let failed = scheduler.run_job("articles").await.unwrap();
    let error = failed.errors().next().unwrap().error.as_ref().unwrap();
    assert!(
        error.message.contains("the store has no snapshots of this job any more; check that its disk is mounted"),
        "{failed:#?}"
    );
    assert!(world.listing().await.snapshots.is_empty());
    // One that knows nothing of them begins a new store.
    let scheduler = world.scheduler(vec![world.job("articles", "@daily")]);
    assert!(scheduler.run_job("articles").await.unwrap().is_success());
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_had_snapshots_and_has_none_fails_the_job() {
    let (world, copy) = (World::new(), World::new());
    let job = world.job("articles", "@daily").copy_to(JobCopy::new("offsite", copy.manager()));
    let scheduler = world.scheduler(vec![job]);
    assert!(scheduler.run_job("articles").await.unwrap().is_success());
    passes(Duration::from_secs(60)).await;
    let id = copy.listing().await.snapshots[0].id.clone();
    copy.manager().delete_snapshot(&id).await.unwrap();
    let failed = scheduler.run_job("articles").await.unwrap();
    let failures: Vec<_> = failed.errors().map(|step| (step.step, step.store.as_deref())).collect();
    assert_eq!(failures, [(StepKind::Copy, Some("offsite"))], "{failed:#?}");
    assert!(copy.listing().await.snapshots.is_empty());
}

/// A job of which one database is missing never succeeds, and a run that is tried again creates nothing.
#[tokio::test(start_paused = true)]
async fn a_store_that_lost_its_snapshots_fails_also_what_had_failed_before() {
    let world = World::new();
    let job = world.job("articles", "every 24h");
    let mut absent = job.databases[0].clone();
    (absent.path, absent.options) = (world.dir.path("absent.db"), absent.options.source_name("absent"));
    let scheduler = world.scheduler(vec![job.database(absent)]);
    assert!(!scheduler.run_job("articles").await.unwrap().is_success());
    passes(Duration::from_secs(60)).await;
    let id = world.listing().await.snapshots[0].id.clone();
    world.manager().delete_snapshot(&id).await.unwrap();
    let failed = scheduler.run_job("articles").await.unwrap();
    let failures: Vec<_> = failed.errors().map(|step| step.step).collect();
    assert_eq!(failures, [StepKind::List], "{failed:#?}");
    assert!(world.listing().await.snapshots.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_was_verified_today_is_not_read_again_by_another_program() {
    let world = World::new();
    passes(Duration::from_secs(3600)).await;
    let mut verified = Vec::new();
    for hours in [1, 1, 24, 1] {
        // A scheduler of its own, as for each `schedule --once`.
        let scheduler = world.scheduler(vec![world.job("articles", "@daily").verify_parts(1)]);
        let report = scheduler.run_job("articles").await.unwrap();
        let step = report.steps.iter().find(|step| step.step == StepKind::Verify).unwrap();
        verified.push(step.snapshots.unwrap());
        passes(Duration::from_secs(hours * 3600)).await;
    }
    // Each run takes a snapshot. On the next day, all of them are read.
    assert_eq!(verified, [1, 1, 1, 4]);
}

//! A job in simulated time, with a store that is down at times, a database that is away at times, restarts, crashes and a clock that is
//! set. Without `RUVECTOR_SNAPSHOT_TEST_YEARS` it is a season; with it, so many years, each with another seed.

use std::future::pending;
use std::sync::atomic::Ordering;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::TryStreamExt as _;
use ruvector_core::VectorDB;
use ruvector_snapshot::schedule::FullRule;
use ruvector_snapshot::scheduler::{Job, JobCopy, RunOutcome, StepKind};
use ruvector_snapshot::store::SnapshotStore;
use ruvector_snapshot::{FreshnessLimits, PrunePolicy, SnapshotManager, StaleReason, VerifyOptions};
use test_fixtures::{entry, memory_store, options};

use super::world::{World, passes};

const HOUR: Duration = Duration::from_secs(3600);

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    fn is_one_in(&mut self, number: u64) -> bool {
        self.below(number) == 0
    }
}

struct Year {
    world: World,
    offsite: std::sync::Arc<dyn SnapshotStore>,
    random: Random,
    /// When a snapshot could last have been taken: the database was there, the store answered and the scheduler was at work.
    last_chance: DateTime<Utc>,
    last_success: DateTime<Utc>,
    /// The clock was set since then, so ages are not what they were.
    clock_set_at: DateTime<Utc>,
    hours: usize,
    crashes: usize,
    changes: usize,
    checks: [usize; 2],
    /// Number of failures and of recoveries that were reported.
    alerts: [usize; 2],
}

fn policy() -> PrunePolicy {
    PrunePolicy::default().keep_last(3).keep_daily(7).keep_weekly(4).keep_monthly(6)
}

impl Year {
    fn new(seed: u64) -> Self {
        let world = World::new();
        let now = world.now();
        world.database("articles", 12);
        Self {
            world,
            offsite: memory_store(),
            random: Random(seed),
            last_chance: now,
            last_success: now,
            clock_set_at: now,
            hours: 0,
            crashes: 0,
            changes: 0,
            checks: [0; 2],
            alerts: [0; 2],
        }
    }

    fn offsite(&self) -> SnapshotManager {
        self.world.manager_at(self.offsite.clone())
    }

    fn job(&self) -> Job {
        let copy = JobCopy::new("offsite", self.offsite()).retention(policy());
        let job = self.world.job("articles", "15 3 * * *").full(FullRule::Every(5)).retention(policy());
        job.copy_to(copy).verify_parts(7).drill("@monthly".parse().unwrap())
    }

    fn is_down(&self) -> bool {
        self.world.weather.is_down.load(Ordering::SeqCst)
    }

    fn set_down(&self, is_down: bool) {
        self.world.weather.is_down.store(is_down, Ordering::SeqCst);
    }

    fn is_away(&self) -> bool {
        !self.world.dir.path("articles.db").exists()
    }

    fn set_away(&self, is_away: bool) {
        let (there, away) = (self.world.dir.path("articles.db"), self.world.dir.path("away"));
        let (from, to) = if is_away { (there, away) } else { (away, there) };
        if from.exists() {
            std::fs::rename(from, to).unwrap();
        }
    }

    fn change_database(&mut self) {
        self.changes += 1;
        let path = self.world.dir.path("articles.db");
        if path.exists() {
            let db = VectorDB::new(options(path, 4)).unwrap();
            db.insert(entry(format!("new-{}", self.changes % 40), self.changes, 4, 1)).unwrap();
        }
    }

    /// Lets an hour pass, and what happens in it.
    async fn hour(&mut self, is_scheduler_at_work: bool) {
        passes(HOUR).await;
        if is_scheduler_at_work && !self.is_down() && !self.is_away() {
            self.last_chance = self.world.now();
        }
        if self.random.is_one_in(100) {
            self.change_database();
        }
        // Most troubles pass within a day; some last for several.
        let is_down = if self.is_down() { !self.random.is_one_in(9) } else { self.random.is_one_in(60) };
        self.set_down(is_down);
        let is_away = if self.is_away() { !self.random.is_one_in(12) } else { self.random.is_one_in(150) };
        self.set_away(is_away);
        self.hours += 1;
        if self.hours.is_multiple_of(11) {
            self.check_freshness().await;
        }
    }

    /// What a monitor asks from time to time, against what has happened.
    async fn check_freshness(&mut self) {
        let limits = FreshnessLimits::default().max_age("26h".parse().unwrap()).source("articles");
        let Ok(freshness) = self.world.manager().freshness(&limits).await else {
            assert!(self.is_down(), "the store answers, and its state cannot be read");
            return;
        };
        let now = self.world.now();
        let is_old = |reason: &StaleReason| matches!(reason, StaleReason::TooOld { .. } | StaleReason::NoSnapshot);
        let is_stale = freshness.databases.iter().flat_map(|database| &database.stale).any(is_old);
        let reports = self.world.ears.reports.lock().unwrap();
        let created = reports.iter().flat_map(|report| &report.steps).filter(|step| step.step == StepKind::Create);
        let created = created.filter(|step| step.error.is_none()).map(|step| step.started_at).max();
        drop(reports);
        self.last_success = self.last_success.max(created.unwrap_or(self.last_success));
        if now - self.clock_set_at < TimeDelta::hours(60) {
            return;
        }
        if now - self.last_success < TimeDelta::hours(26) {
            assert!(!is_stale, "{now}: fresh since {}, and reported as stale", self.last_success);
            self.checks[0] += 1;
        }
        if now - self.last_chance > TimeDelta::hours(28) {
            assert!(is_stale, "{now}: nothing could be taken since {}, and it is not stale", self.last_chance);
            self.checks[1] += 1;
        }
    }

    /// What a person was alerted of by one life of the scheduler: that a run has failed, each time, and that the first one after that has
    /// succeeded, once.
    fn check_alerts(&mut self, heard_before: usize) {
        let reports = self.world.ears.reports.lock().unwrap();
        let mut failures = 0;
        for report in &reports[heard_before..] {
            assert_eq!(report.start.failures_before, failures, "{report:#?}");
            assert_eq!(report.is_recovery(), failures > 0 && report.is_success(), "{report:#?}");
            assert_eq!(report.is_success(), report.errors().next().is_none(), "{report:#?}");
            self.alerts[0] += usize::from(!report.is_success());
            self.alerts[1] += usize::from(report.is_recovery());
            failures = if report.is_success() { 0 } else { failures + 1 };
        }
    }

    /// Runs the scheduler for some days, until it is stopped or killed.
    async fn live(&mut self) {
        let scheduler = self.world.scheduler(vec![self.job()]);
        let heard_before = self.world.ears.reports.lock().unwrap().len();
        let hours = self.random.below(12 * 24) + 1;
        // With time that passes during runs, a crash can hit one.
        let is_crash = self.random.is_one_in(3);
        self.world.ears.time_passes.store(is_crash, Ordering::SeqCst);
        let life = async {
            for _ in 0..hours {
                self.hour(true).await;
            }
        };
        if is_crash {
            tokio::select! {
                () = scheduler.run(pending(), Duration::ZERO) => {}
                () = life => {}
            }
            self.crashes += 1;
            self.world.ears.release();
        } else {
            scheduler.run(life, HOUR).await;
        }
        self.check_alerts(heard_before);
    }

    async fn run(&mut self, days: i64) {
        let end = self.world.now() + TimeDelta::days(days);
        while self.world.now() < end {
            self.live().await;
            self.world.ears.time_passes.store(true, Ordering::SeqCst);
            for _ in 0..self.random.below(50) {
                self.hour(false).await;
            }
            if self.random.is_one_in(4) {
                let minutes = i64::try_from(self.random.below(600)).unwrap() - 300;
                self.world.clock.set(TimeDelta::minutes(minutes));
                self.clock_set_at = self.world.now();
            }
        }
    }

    /// Everything works again for three days. Then the stores hold what the policy says, and all of it can be restored.
    async fn end(&mut self) {
        self.set_down(false);
        self.set_away(false);
        self.world.ears.time_passes.store(false, Ordering::SeqCst);
        self.world.take_reports();
        self.change_database();
        self.world.run(vec![self.job()], 3 * 24).await;
        let reports = self.world.take_reports();
        assert!(reports.len() >= 3, "{reports:#?}");
        let last = reports.last().unwrap();
        assert!(last.is_success(), "{last:#?}");
        for manager in [self.world.manager(), self.offsite()] {
            let plan = manager.plan_prune(&policy()).await.unwrap();
            assert!(plan.drop.is_empty() && plan.problems.is_empty() && plan.unusable.is_empty(), "{plan:#?}");
            assert!(plan.keep.len() >= 8, "{}", plan.keep.len());
            let mut verified = std::pin::pin!(manager.verify_all(VerifyOptions::default()));
            while let Some(verification) = verified.try_next().await.unwrap() {
                assert_eq!(verification.is_intact(), Some(true), "{verification:?}");
            }
            for (at, kept) in plan.keep.iter().enumerate() {
                let to = self.world.dir.path(&format!("restored-{at}.db"));
                manager.restore_snapshot_to(&kept.snapshot.id, &to, &Default::default()).await.unwrap();
                std::fs::remove_file(to).unwrap();
            }
        }
        // The newest snapshot is the database.
        let newest = self.world.listing().await.snapshots.remove(0);
        let to = self.world.dir.path("newest.db");
        self.world.manager().restore_snapshot_to(&newest.id, &to, &Default::default()).await.unwrap();
        assert!(
            test_fixtures::records_of_file(&to) == test_fixtures::records_of_file(&self.world.dir.path("articles.db"))
        );
        std::fs::remove_file(to).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn after_times_of_trouble_the_stores_hold_what_the_policy_says_and_all_of_it_restores() {
    let years = std::env::var("RUVECTOR_SNAPSHOT_TEST_YEARS").ok().and_then(|years| years.parse().ok());
    let days = if years.is_some() { 365 } else { 90 };
    for seed in 0..years.unwrap_or(1_u64) {
        let mut year = Year::new(seed);
        year.run(days).await;
        let started = year.world.ears.started.lock().unwrap().len();
        let reports = year.world.take_reports();
        let of_runs = reports.iter().filter(|report| report.start.due.is_some()).count();
        // Each run was reported, but those that a crash has ended.
        assert!(of_runs <= started && started <= of_runs + year.crashes, "{of_runs} of {started}, {}", year.crashes);
        let failed = reports.iter().filter(|report| report.outcome == RunOutcome::Failed).count();
        assert!(failed > 0 && of_runs - failed > 20, "{failed} of {of_runs} failed");
        assert!(
            year.checks.iter().chain(&year.alerts).all(|number| *number > 3),
            "{:?}, {:?}",
            year.checks,
            year.alerts
        );
        year.end().await;
        println!(
            "seed {seed}: {started} runs, {failed} failed, {} crashes, checks {:?}, alerts {:?}",
            year.crashes, year.checks, year.alerts
        );
    }
}

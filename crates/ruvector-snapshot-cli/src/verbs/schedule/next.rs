//! `schedule --next`: the next runs of the jobs, and what the store would hold after them. Prints what the library forecasts.

use ruvector_snapshot::schedule::{
    ForecastDatabase, ForecastJob, ForecastRun, Schedule, StoreForecast, UpcomingRun, upcoming,
};
use ruvector_snapshot::scheduler::JobDatabase;
use ruvector_snapshot::{SnapshotConfig, SnapshotManager};

use crate::config_file::{At, ConfigFile, DatabaseRef, Job, StoreRef};
use crate::documents::{ForecastJobDocument, ForecastRunDocument, ForecastSnapshotDocument, ScheduleNextDocument};
use crate::failure::{Exit, Failure};
use crate::job_databases::{database_of, source_of};
use crate::output::{Column, Output, Table, count, counted, until};
use crate::session::Session;

/// A store, as the runs so far would have changed it.
struct Store<'f> {
    reference: &'f StoreRef,
    is_read: bool,
    forecast: StoreForecast,
}

pub(super) async fn next(session: &Session, file: &ConfigFile, runs: usize) -> Result<Exit, Failure> {
    let (now, host) = (session.run.started_at(), SnapshotConfig::default().host);
    let schedules: Vec<Schedule> = file.jobs.iter().map(|job| job.schedule(host.as_deref())).collect();
    let jobs = file.jobs.iter().map(|job| forecast_job(file, job)).collect::<Result<Vec<_>, _>>()?;
    let mut stores = read_stores(session, file).await?;
    let overdue = jobs.iter().zip(&schedules).enumerate().filter_map(|(job, (forecast, schedule))| {
        let store = store_of(file, &mut stores, file.jobs.get(job)?)?;
        let due = store.forecast.overdue(forecast, schedule, now)?;
        Some(UpcomingRun { start: now, job, due })
    });
    let overdue = overdue.collect::<Vec<_>>().into_iter();
    let upcoming = upcoming(&schedules.iter().collect::<Vec<_>>(), now, runs);
    let upcoming: Vec<UpcomingRun> = overdue.chain(upcoming).take(runs).collect();
    let mut documents: Vec<ForecastJobDocument<'_>> = file.jobs.iter().map(ForecastJobDocument::new).collect();
    let mut runs = Vec::new();
    for run in &upcoming {
        let (Some(job), Some(forecast), Some(document)) =
            (file.jobs.get(run.job), jobs.get(run.job), documents.get_mut(run.job))
        else {
            continue;
        };
        let Some(store) = store_of(file, &mut stores, job) else { continue };
        let done = store.forecast.run(forecast, run.start);
        document.add(&done);
        runs.push(run_document(job, forecast, *run, &done));
    }
    for ((job, forecast), document) in file.jobs.iter().zip(&jobs).zip(&mut documents) {
        if let Some(store) = store_of(file, &mut stores, job) {
            document.end(&store.forecast.state(forecast), store.is_read);
        }
    }
    for document in &documents {
        if let Some(problem) = &document.retention_problem {
            let message = format!("job {}: its retention policy would delete nothing: {problem}", document.name);
            session.warnings.add(&message);
        }
    }
    let document = ScheduleNextDocument { runs, jobs: documents };
    session.document(&document)?;
    print(session, &document)?;
    Ok(Exit::Success)
}

/// Reads every store that a job has, each once. One that cannot be read is taken for empty, with a warning.
async fn read_stores<'f>(session: &Session, file: &'f ConfigFile) -> Result<Vec<Store<'f>>, Failure> {
    let mut stores: Vec<Store<'f>> = Vec::new();
    for job in &file.jobs {
        if store_of(file, &mut stores, job).is_some() {
            continue;
        }
        let reference = &job.store.value;
        let read = read_store(session, file, &job.store).await;
        stores.push(match read {
            Ok(forecast) => Store { reference, is_read: true, forecast },
            Err(failure) if failure.is_of_run() => return Err(failure),
            Err(failure) => {
                session.warnings.add(&format!(
                    "the store {reference} cannot be read, so the forecast of its jobs starts from an empty one: {}",
                    failure.sentence()
                ));
                Store { reference, is_read: false, forecast: StoreForecast::default() }
            }
        });
    }
    Ok(stores)
}

fn store_of<'s, 'f>(file: &ConfigFile, stores: &'s mut [Store<'f>], job: &Job) -> Option<&'s mut Store<'f>> {
    stores.iter_mut().find(|store| file.is_same_store(store.reference, &job.store.value))
}

async fn read_store(session: &Session, file: &ConfigFile, store: &At<StoreRef>) -> Result<StoreForecast, Failure> {
    let chosen = session.settings.of_file(file, store)?;
    let manager = SnapshotManager::with_store(chosen.config(), session.open_existing(&chosen, &[], "-o")?)?;
    let (snapshots, external) = session.read(&manager, manager.retention_inputs()).await?;
    Ok(StoreForecast::new(snapshots, external))
}

fn forecast_job(file: &ConfigFile, job: &Job) -> Result<ForecastJob, Failure> {
    let databases = job.databases.iter().map(|database| forecast_database(file, &database.value));
    let forecast = ForecastJob::new(job.full.clone(), databases.collect::<Result<_, Failure>>()?);
    let policy = job.retention.as_ref().and_then(|name| file.retention.get(name));
    Ok(match policy {
        Some(rules) => forecast.retention(rules.policy()),
        None => forecast,
    })
}

fn forecast_database(file: &ConfigFile, database: &DatabaseRef) -> Result<ForecastDatabase, Failure> {
    let database = database_of(file, database);
    let source = source_of(&database)?;
    let JobDatabase { name, options, .. } = database;
    Ok(ForecastDatabase { source, name, labels: options.labels.into_iter().collect() })
}

fn run_document<'a>(
    job: &'a Job,
    forecast: &ForecastJob,
    run: UpcomingRun,
    done: &ForecastRun,
) -> ForecastRunDocument<'a> {
    let snapshots = forecast.databases.iter().zip(&done.full);
    let snapshots = snapshots.map(|(database, is_full)| ForecastSnapshotDocument::new(&database.source, *is_full));
    ForecastRunDocument {
        job: &job.name.value,
        due: run.due,
        start: run.start,
        snapshots: snapshots.collect(),
        deleted: done.deleted,
    }
}

fn print(session: &Session, document: &ScheduleNextDocument<'_>) -> Result<(), Failure> {
    let (output, now) = (session.output, session.run.started_at());
    let is_utc = output.zone().name() == "UTC";
    let mut table = Table::new([
        Column::new(if is_utc { "START (UTC)" } else { "START" }),
        Column::new("IN").rank(2),
        Column::new("JOB").cut_to(8),
        Column::new("TAKES"),
        Column::new("DELETES").number().rank(1),
    ]);
    for ForecastRunDocument { job, start, snapshots, deleted, .. } in &document.runs {
        table.add([
            output.zone().short_time(*start).into(),
            if *start == now { "now".into() } else { until(*start, now).into() },
            (*job).into(),
            taken(snapshots).into(),
            count(*deleted as u64).into(),
        ]);
    }
    output.table(&table)?;
    document.jobs.iter().try_for_each(|job| print_job(&output, job))
}

/// Returns what a run takes, in words: `full`, or for several databases `1 full, 2 increments`.
fn taken(snapshots: &[ForecastSnapshotDocument]) -> String {
    let full = snapshots.iter().filter(|snapshot| snapshot.is_full()).count();
    match (snapshots.len(), full, snapshots.len() - full) {
        (1, 1, _) => "full".to_owned(),
        (1, ..) => "increment".to_owned(),
        (_, full, 0) => format!("{full} full"),
        (_, 0, increments) => counted(increments as u64, "increment"),
        (_, full, increments) => format!("{full} full, {}", counted(increments as u64, "increment")),
    }
}

fn print_job(output: &Output, job: &ForecastJobDocument<'_>) -> Result<(), Failure> {
    let ForecastJobDocument { name, runs, full, incremental, deleted, oldest, retention, .. } = job;
    let runs = counted(*runs as u64, "run");
    let held = match oldest {
        Some(oldest) => format!(
            "{} full and {} incremental, the oldest of {}",
            count(*full as u64),
            count(*incremental as u64),
            output.time(*oldest)
        ),
        None => "no snapshots".to_owned(),
    };
    let policy = match retention {
        Some(policy) => format!("the policy {policy} would have deleted {}", count(*deleted as u64)),
        None => "without a policy, nothing is deleted".to_owned(),
    };
    output.line(format_args!("{name}: after {runs} the store would hold {held}; {policy}"))
}

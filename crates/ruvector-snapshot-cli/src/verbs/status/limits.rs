//! What `status` asks of the databases of a store: what its options say, and the jobs of the configuration file.

use ruvector_snapshot::FreshnessLimits;
use ruvector_snapshot::store::Location;

use super::Status;
use crate::config_file::{ConfigFile, DatabaseRef, Job};
use crate::failure::Failure;
use crate::job_databases::{database_of, source_of};
use crate::session::Session;

pub(super) fn limits(session: &Session, args: &Status) -> Result<FreshnessLimits, Failure> {
    let mut limits = FreshnessLimits::default().shrink_percent(args.shrink_warn);
    (limits.max_verify_age, limits.max_drill_age) = (args.max_verify_age, args.max_drill_age);
    if let Some(max_age) = args.max_age {
        limits = limits.max_age(max_age);
    }
    let Some(file) = session.settings.file.as_deref() else {
        limits.sources.clone_from(&args.sources);
        return Ok(limits);
    };
    limits.sources = args.sources.iter().map(|source| named(file, source)).collect::<Result<_, Failure>>()?;
    let (location, now) = (session.location()?, session.run.started_at());
    for job in &file.jobs {
        if !has_store(session, file, job, &location) {
            continue;
        }
        let max_age = job.max_age(now).filter(|_| args.max_age.is_none());
        for database in &job.databases {
            limits = limits.expect(source_of(&database_of(file, &database.value))?.to_string(), max_age);
        }
    }
    Ok(limits)
}

/// Returns the source of a database of the configuration file, if the text means one, and else the text.
fn named(file: &ConfigFile, text: &str) -> Result<String, Failure> {
    match text.strip_prefix('@').filter(|name| file.databases.contains_key(*name)) {
        Some(name) => Ok(source_of(&database_of(file, &DatabaseRef::Named(name.to_owned())))?.to_string()),
        None => Ok(text.to_owned()),
    }
}

/// Returns whether a job stores snapshots at a location, or copies them there.
fn has_store(session: &Session, file: &ConfigFile, job: &Job, location: &Location) -> bool {
    let mut stores = std::iter::once(&job.store).chain(job.copies.iter().map(|copy| &copy.to));
    let location_of = |store| session.settings.of_file(file, store).ok()?.location().ok();
    stores.any(|store| location_of(store).as_ref() == Some(location))
}

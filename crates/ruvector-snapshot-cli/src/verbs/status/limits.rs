//! What `status` asks of the databases of a store: what its options say, and the jobs of the configuration file.

use std::collections::BTreeSet;
use std::path;

use ruvector_snapshot::FreshnessLimits;
use ruvector_snapshot::store::Location;

use super::Status;
use crate::config_file::{At, ConfigFile, DatabaseRef, Job, StoreRef};
use crate::failure::Failure;
use crate::job_databases::{database_of, source_of};
use crate::output::{enumerated, quoted_path};
use crate::session::Session;
use crate::settings::wrong;

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
    let (location, now) = (absolute(session.location()?), session.run.started_at());
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

/// Returns the stores of jobs other than the one that is checked.
pub(super) fn other_stores(session: &Session) -> Result<Vec<String>, Failure> {
    let Some(file) = session.settings.file.as_deref() else { return Ok(Vec::new()) };
    let location = absolute(session.location()?);
    let stores = file
        .jobs
        .iter()
        .flat_map(stores_of)
        .filter(|store| location_of(session, file, store).as_ref() != Some(&location));
    let names: BTreeSet<String> = stores.map(|store| store.value.to_string()).collect();
    Ok(names.into_iter().collect())
}

/// Returns the source of a database of the configuration file, if the text means one, and else the text.
fn named(file: &ConfigFile, text: &str) -> Result<String, Failure> {
    match text.strip_prefix('@') {
        Some(name) if file.databases.contains_key(name) => {
            Ok(source_of(&database_of(file, &DatabaseRef::Named(name.to_owned())))?.to_string())
        }
        Some(name) => {
            let failure = wrong(format!("--source: there is no database {name:?} in {}", quoted_path(&file.path)));
            let known = file.databases.keys();
            Err(if file.databases.is_empty() {
                failure
            } else {
                failure.with_hint(format!("it has {}", enumerated(known)))
            })
        }
        None => Ok(text.to_owned()),
    }
}

/// Returns whether a job stores snapshots at a location, or copies them there.
fn has_store(session: &Session, file: &ConfigFile, job: &Job, location: &Location) -> bool {
    stores_of(job).any(|store| location_of(session, file, store).as_ref() == Some(location))
}

fn stores_of(job: &Job) -> impl Iterator<Item = &At<StoreRef>> {
    std::iter::once(&job.store).chain(job.copies.iter().map(|copy| &copy.to))
}

fn location_of(session: &Session, file: &ConfigFile, store: &At<StoreRef>) -> Option<Location> {
    session.settings.of_file(file, store).ok()?.location().ok().map(absolute)
}

/// Returns a location by which it is compared: one directory can have several paths.
fn absolute(location: Location) -> Location {
    match location {
        Location::Local(path) => {
            Location::Local(path.canonicalize().or_else(|_| path::absolute(&path)).unwrap_or(path))
        }
        other => other,
    }
}

//! The databases of the jobs of the configuration file, as the library knows them. Opens no file and no store.

use std::path::Path;

use ruvector_snapshot::scheduler::JobDatabase;
use ruvector_snapshot::store::{self, Location, StoreConfig};
use ruvector_snapshot::{CreateOptions, SnapshotConfig, SnapshotManager, SourceId, default_name};

use crate::config_file::{ConfigFile, Database, DatabaseRef};
use crate::failure::Failure;

/// Returns a database of a job, and how its snapshots are taken.
pub(crate) fn database_of(file: &ConfigFile, reference: &DatabaseRef) -> JobDatabase {
    let known = known_database(file, reference);
    let path = match (known, reference) {
        (Some(known), _) => &known.path.value,
        (None, DatabaseRef::Path(path)) => path,
        (None, DatabaseRef::Named(name)) => Path::new(name),
    };
    let name = known.and_then(|known| known.name.as_ref()).map(|name| name.value.clone());
    let database = JobDatabase::new(path, name.unwrap_or_else(|| default_name(path)));
    let Some(known) = known else { return database };
    let mut options = CreateOptions::default().labels(known.labels.clone());
    options.source_name = known.source.as_ref().map(|source| source.value.clone());
    options.embedding = known.embedding.clone();
    database.options(options)
}

/// Returns a database that is a table of the file.
pub(crate) fn known_database<'f>(file: &'f ConfigFile, reference: &DatabaseRef) -> Option<&'f Database> {
    match reference {
        DatabaseRef::Named(name) => file.databases.get(name),
        DatabaseRef::Path(_) => None,
    }
}

/// Returns what identifies the database. That does not depend on a store.
pub(crate) fn source_of(database: &JobDatabase) -> Result<SourceId, Failure> {
    let store = store::open(&Location::Memory, &StoreConfig::default())?;
    let manager = SnapshotManager::with_store(SnapshotConfig::default(), store)?;
    Ok(manager.source_of_file(&database.path, &database.options)?)
}

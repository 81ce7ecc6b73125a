//! Examines a restored database: opens it with Ruvector, and compares its searches with an exact one.
//!
//! Ruvector may panic, and building its index cannot be interrupted. So it works on a thread of its own, for which a drill
//! that is cancelled does not wait.
#![expect(clippy::disallowed_methods, reason = "measures how long Ruvector takes")]

use std::any::Any;
use std::collections::BTreeSet;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use ruvector_core::types::{DbOptions, SearchQuery};
use ruvector_core::{RuvectorError, VectorDB};
use tokio::sync::oneshot;

use crate::error::{ErrorKind, Result, SnapshotError};
use crate::progress::{Phase, Progress, ProgressCounter};
use crate::repo::nearest::{Candidate, Distance, Scan, Target, nearest_of};
use crate::source::file::{FileOptions, FileReader};
use crate::source::{SourceReader as _, database_error, database_options};
use crate::text;

/// Neighbors of each probe.
pub(super) const NEIGHBORS: usize = 10;

/// What was found out about a restored database.
pub(super) struct Findings {
    pub(super) open: Duration,
    /// `None` if there was nothing to search.
    pub(super) first_search: Option<Duration>,
    pub(super) recall: Option<f64>,
    pub(super) probes: usize,
    pub(super) neighbors: usize,
}

/// A vector that is searched for, and the nearest records by an exact search.
struct Probe {
    values: Vec<f32>,
    nearest: Vec<Candidate>,
}

/// Examines the database file at a path, which has so many records.
pub(super) async fn examine(
    path: &Path,
    records: u64,
    probes: usize,
    progress: Option<Arc<dyn Progress>>,
) -> Result<Findings> {
    let (sender, answer) = oneshot::channel();
    let path = path.to_owned();
    let work = move || {
        let is_cancelled = || sender.is_closed();
        let examine = || examine_here(&path, records, probes, progress.as_deref(), &is_cancelled);
        let found =
            panic::catch_unwind(AssertUnwindSafe(examine)).unwrap_or_else(|panic| Err(panicked(panic.as_ref())));
        if sender.send(found).is_err() {
            remove_recreated(&path);
        }
    };
    thread::Builder::new()
        .name("drill".to_owned())
        .spawn(work)
        .map_err(|error| SnapshotError::thread("start the thread that opens the restored database", error))?;
    answer.await.unwrap_or_else(|_ended| Err(cancelled()))
}

/// Removes what Ruvector has created in the place of a directory that was removed while it was about to open a database
/// there.
fn remove_recreated(path: &Path) {
    let _removed = std::fs::remove_file(path);
    let _removed = path.parent().map(std::fs::remove_dir);
}

fn unusable(why: &str) -> SnapshotError {
    let message = format!("the snapshot was restored and verified, but the restored database cannot be used: {why}");
    SnapshotError::new(ErrorKind::Unsupported, message)
}

/// Returns the error of a panic, whose message was printed.
fn panicked(panic: &(dyn Any + Send)) -> SnapshotError {
    let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
    match text.and_then(system_error_in) {
        Some(error) => of_machine("Ruvector has panicked while it opened or searched it", error),
        None => unusable("Ruvector has panicked while it opened or searched it"),
    }
}

/// Returns the error of a failure of Ruvector. One of the system, such as a full disk, says nothing of the database.
fn failed(what: &str, error: RuvectorError) -> SnapshotError {
    let found = match &error {
        RuvectorError::IoError(error) => {
            Some(error.raw_os_error().map_or_else(|| io::Error::from(error.kind()), io::Error::from_raw_os_error))
        }
        other => system_error_in(&other.to_string()),
    };
    match found {
        Some(error) => of_machine(what, error),
        None => unusable(what).with_source(database_error("Ruvector failed", error)),
    }
}

/// Returns the error of the system that a text has, as the standard library prints one. Ruvector and redb keep only the text.
fn system_error_in(text: &str) -> Option<io::Error> {
    let after = |start: &str| text.split_once(start).map(|(_, rest)| rest);
    let rest = after("(os error ").or_else(|| after("Os { code: "))?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok().map(io::Error::from_raw_os_error)
}

/// Returns the error of a database that this machine cannot open or search now.
fn of_machine(why: &str, error: io::Error) -> SnapshotError {
    let message = format!(
        "the snapshot was restored and verified, but this machine failed: {why}. That says nothing of the snapshot, and nothing \
         was recorded; see the cause"
    );
    SnapshotError::new(ErrorKind::from(error.kind()), message).with_source(error)
}

/// Returns the error of a drill whose future was dropped.
fn cancelled() -> SnapshotError {
    SnapshotError::new(ErrorKind::Internal, "the drill was cancelled")
}

fn examine_here(
    path: &Path,
    records: u64,
    probes: usize,
    progress: Option<&dyn Progress>,
    is_cancelled: &dyn Fn() -> bool,
) -> Result<Findings> {
    let options = options_of(path)?;
    let distance = Distance::of(&options);
    let probes = exact_search(path, records, probes, distance, progress, is_cancelled)?;
    let mut counter = ProgressCounter::start(progress, Phase::Drill, probes.len() as u64);
    if is_cancelled() {
        return Err(cancelled());
    }
    let started = Instant::now();
    let db = VectorDB::new(options).map_err(|error| failed("Ruvector cannot open it", error))?;
    let open = started.elapsed();
    let found = db.len().map_err(|error| failed("Ruvector cannot count its records", error))? as u64;
    if found < records {
        return Err(unusable(&format!("Ruvector finds {} of {}", text::count(found), text::records(records))));
    }
    let neighbors = NEIGHBORS.min(usize::try_from(records).unwrap_or(NEIGHBORS));
    let (mut first_search, mut hits) = (None, 0);
    for probe in &probes {
        if is_cancelled() {
            return Err(cancelled());
        }
        let query = SearchQuery { vector: probe.values.clone(), k: neighbors, filter: None, ef_search: None };
        let started = Instant::now();
        let results = db.search(query).map_err(|error| failed("Ruvector cannot search it", error))?;
        first_search.get_or_insert_with(|| started.elapsed());
        hits += hits_of(probe, distance, results);
        counter.add(1, 0);
    }
    let expected = probes.iter().map(|probe| probe.nearest.len()).sum::<usize>();
    let recall = (expected > 0).then(|| hits as f64 / expected as f64);
    Ok(Findings { open, first_search, recall, probes: probes.len(), neighbors })
}

/// Returns the options with which Ruvector opens a database file. What the file records is not changed by them.
fn options_of(path: &Path) -> Result<DbOptions> {
    let reader = FileReader::open(path, &FileOptions::default())?;
    // A path that Ruvector does not have as it is would be that of another file, which it creates.
    let path = path.to_str().ok_or_else(|| unusable("its path is not UTF-8"))?;
    database_options(reader.database(), path)
}

/// Draws probes evenly over the ids, and searches for them.
fn exact_search(
    path: &Path,
    records: u64,
    probes: usize,
    distance: Distance,
    progress: Option<&dyn Progress>,
    is_cancelled: &dyn Fn() -> bool,
) -> Result<Vec<Probe>> {
    let probes = records.min(probes as u64);
    let numbers: BTreeSet<u64> = (0..probes).map(|probe| (probe * records).div_ceil(probes)).collect();
    let (mut vectors, mut number) = (Vec::new(), 0);
    let mut reader = FileReader::open(path, &FileOptions::default())?;
    while let Some(record) = reader.next_record()? {
        if numbers.contains(&number) {
            vectors.push(record.values().collect::<Vec<_>>());
        }
        number += 1;
    }
    let target = |values: &Vec<f32>| Target { point: distance.point(values.iter().copied()), without: None };
    let targets = vectors.iter().map(target).collect();
    let scan = Scan { distance, targets, conditions: Vec::new(), k: NEIGHBORS };
    let counter = ProgressCounter::start(progress, Phase::Search, records);
    let nearest = nearest_of(&mut FileReader::open(path, &FileOptions::default())?, &scan, counter, is_cancelled)?;
    let probe = |(values, nearest)| Probe { values, nearest };
    Ok(vectors.into_iter().zip(nearest).map(probe).collect())
}

/// Counts the results that are among the nearest, or as near as the last of them.
fn hits_of(probe: &Probe, distance: Distance, results: Vec<ruvector_core::SearchResult>) -> usize {
    let Some(last) = probe.nearest.last() else { return 0 };
    let point = distance.point(probe.values.iter().copied());
    let is_hit = |result: &ruvector_core::SearchResult| {
        let is_as_near =
            |vector: &Vec<f32>| distance.between(&point, &distance.point(vector.iter().copied())) <= last.distance;
        probe.nearest.iter().any(|near| *near.id == *result.id) || result.vector.as_ref().is_some_and(is_as_near)
    };
    let hits: BTreeSet<String> = results.into_iter().filter(is_hit).map(|result| result.id).collect();
    hits.len().min(probe.nearest.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Remedy;

    #[test]
    fn errors_of_the_system_are_told_from_those_of_the_database() {
        let io_error = |number| io::Error::from_raw_os_error(number);
        let text = |number| RuvectorError::DatabaseError(format!("I/O error: {}", io_error(number)));
        for (number, kind) in
            [(28, ErrorKind::StorageFull), (13, ErrorKind::PermissionDenied), (12, ErrorKind::Unavailable)]
        {
            for error in [RuvectorError::IoError(io_error(number)), text(number)] {
                assert_eq!(failed("it fails", error).kind(), kind);
            }
        }
        let debug = format!("not built: ThreadPoolBuildError {{ kind: IOError({:?}) }}", io_error(11));
        assert_eq!(panicked(&debug).kind(), ErrorKind::Unavailable);
        assert_eq!(failed("it fails", text(24)).remedy(), Some(Remedy::OpenFilesLimit));
        let refused = RuvectorError::DatabaseError("DB corrupted: invalid magic number".to_owned());
        assert_eq!(failed("it fails", refused).kind(), ErrorKind::Unsupported);
        assert_eq!(panicked(&"index out of bounds").kind(), ErrorKind::Unsupported);
    }
}

//! The database of the demo: records that depend only on their number and a generation, and a thread that keeps writing
//! new generations of some of them. Prints nothing.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ruvector_core::types::DbOptions;
use ruvector_core::{RuvectorError, VectorDB, VectorEntry};
use ruvector_snapshot::{ErrorKind, SnapshotError};
use serde_json::json;

use crate::failure::Failure;

/// Records in the database.
pub(super) const RECORDS: u64 = 12_000;
/// Number of records, evenly spread, that each commit sets to the next generation.
pub(super) const GROUP: u64 = 600;
/// Number of f32 values in each vector.
pub(super) const DIMENSIONS: u64 = 64;

const GROUP_STEP: u64 = RECORDS / GROUP;

/// A thread that commits one generation after the other until it is dropped.
pub(super) struct Writer {
    path: PathBuf,
    commits: Arc<AtomicU64>,
    is_stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<(), RuvectorError>>>,
}

impl Writer {
    /// Creates the database at generation 0, and starts to write.
    pub(super) fn start(path: &Path) -> Result<Self, Failure> {
        let db = open(path)?;
        db.insert_batch((0..RECORDS).map(|number| record(number, 0)).collect::<Vec<_>>())
            .map_err(|error| failed(path, &error))?;
        let (commits, is_stopped) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let thread = {
            let (commits, is_stopped) = (commits.clone(), is_stopped.clone());
            thread::Builder::new().name("writer".to_owned()).spawn(move || {
                while !is_stopped.load(Ordering::Acquire) {
                    let generation = commits.load(Ordering::Acquire) + 1;
                    let group = (0..RECORDS).filter(|number| is_in_group(*number));
                    db.insert_batch(group.map(|number| record(number, generation)).collect::<Vec<_>>())?;
                    commits.store(generation, Ordering::Release);
                }
                Ok(())
            })
        };
        let thread = thread.map_err(|error| SnapshotError::thread("write to the database of the demo", error))?;
        Ok(Self { path: path.to_owned(), commits, is_stopped, thread: Some(thread) })
    }

    /// Returns the number of commits, which is the generation of the last one.
    pub(super) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Acquire)
    }

    /// Waits until there have been so many commits, or the thread has ended.
    pub(super) fn wait_for_commits(&self, commits: u64) {
        while self.commits() < commits && self.thread.as_ref().is_some_and(|thread| !thread.is_finished()) {
            thread::park_timeout(Duration::from_millis(1));
        }
    }

    /// Stops the thread, and returns its error if it had failed.
    pub(super) fn stop(mut self) -> Result<(), Failure> {
        self.is_stopped.store(true, Ordering::Release);
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(Err(error))) => Err(failed(&self.path, &error)),
            Some(Err(_)) => Err(Failure::check("the writing thread of the demo ended early")),
            Some(Ok(Ok(()))) | None => Ok(()),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.is_stopped.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}

/// Opens the database file at a path, and creates it if it does not exist.
pub(super) fn open(path: &Path) -> Result<VectorDB, Failure> {
    let options = DbOptions {
        dimensions: DIMENSIONS as usize,
        storage_path: path.to_string_lossy().into_owned(),
        // Without a search index the database opens immediately.
        hnsw_config: None,
        ..DbOptions::default()
    };
    VectorDB::new(options).map_err(|error| failed(path, &error))
}

/// Sets the group to the next generation, and returns it.
pub(super) fn change(path: &Path) -> Result<u64, Failure> {
    let db = open(path)?;
    let generation = generation(&db)? + 1;
    let group = (0..RECORDS).filter(|number| is_in_group(*number));
    db.insert_batch(group.map(|number| record(number, generation)).collect::<Vec<_>>())
        .map_err(|error| failed(path, &error))?;
    Ok(generation)
}

/// Returns the generation of the whole group.
pub(super) fn generation(db: &VectorDB) -> Result<u64, Failure> {
    let mut found = None;
    for number in (0..RECORDS).filter(|number| is_in_group(*number)) {
        let entry = db.get(&id(number)).map_err(unreadable)?;
        let generation = entry.and_then(|entry| entry.metadata?.get("generation")?.as_u64());
        let Some(generation) = generation else {
            return Err(Failure::check(format!("{} is not in the snapshot, or has no generation", id(number))));
        };
        if *found.get_or_insert(generation) != generation {
            return Err(Failure::check("the snapshot has records of two generations"));
        }
    }
    found.ok_or_else(|| Failure::check("the database of the demo has no generation"))
}

/// Compares every id, every bit of every vector and every metadata value with what was written for a generation.
pub(super) fn compare(db: &VectorDB, generation: u64) -> Result<(), Failure> {
    let records = db.len().map_err(unreadable)? as u64;
    if records != RECORDS {
        return Err(Failure::check(format!("{records} of {RECORDS} records were restored")));
    }
    for number in 0..RECORDS {
        let expected = record(number, if is_in_group(number) { generation } else { 0 });
        let Some(found) = db.get(&id(number)).map_err(unreadable)? else {
            return Err(Failure::check(format!("{} was not restored", id(number))));
        };
        let bits = |entry: &VectorEntry| entry.vector.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        if bits(&found) != bits(&expected) || found.metadata != expected.metadata {
            return Err(Failure::check(format!("{} was restored with another value", id(number))));
        }
    }
    Ok(())
}

fn is_in_group(number: u64) -> bool {
    number.is_multiple_of(GROUP_STEP)
}

fn id(number: u64) -> String {
    format!("doc-{number:05}")
}

fn record(number: u64, generation: u64) -> VectorEntry {
    let mut state = (number << 24 | generation).wrapping_add(0x9e37_79b9_7f4a_7c15);
    let vector = (0..DIMENSIONS).map(|_| value(&mut state)).collect();
    let metadata = [
        ("generation".to_owned(), json!(generation)),
        ("title".to_owned(), json!(format!("document {number}"))),
        ("tags".to_owned(), json!(["demo", number % 7])),
    ];
    VectorEntry { id: Some(id(number)), vector, metadata: Some(metadata.into()) }
}

/// Returns the next pseudo-random value from -1 to 1 (splitmix64).
fn value(state: &mut u64) -> f32 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut bits = *state;
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^= bits >> 31;
    (bits >> 40) as f32 / (1u64 << 23) as f32 - 1.0
}

fn unreadable(error: RuvectorError) -> Failure {
    Failure::new(ErrorKind::Unavailable, format!("the database of the demo cannot be read: {error}"))
}

/// Returns the failure of writing the database. Ruvector says only in words which error of the system it was.
fn failed(path: &Path, error: &RuvectorError) -> Failure {
    let text = error.to_string();
    let number = text.split_once("(os error ").and_then(|(_, rest)| rest.split_once(')')?.0.parse().ok());
    let cause = number.map_or_else(|| io::Error::other(text), io::Error::from_raw_os_error);
    SnapshotError::io(path, "write the database of the demo", cause).into()
}

//! `create`: a database file into a new snapshot.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use ruvector_snapshot::clock::{Clock, SystemClock};
use ruvector_snapshot::format::id::SnapshotId;
use ruvector_snapshot::format::metadata::check_name;
use ruvector_snapshot::source::file::{FileOptions, FileSource};
use ruvector_snapshot::store::Location;
use ruvector_snapshot::{CreateOptions, ErrorKind, Snapshot, SnapshotConfig, SnapshotError, SnapshotManager};
use serde_json::json;

use crate::args::Create;
use crate::failure::{Exit, Failure};
use crate::output::{moment, pace, quoted_path, ratio, shape};
use crate::progress::Shown;
use crate::session::Session;

pub(crate) async fn create(session: &Session, args: Create) -> Result<Exit, Failure> {
    let name = match &args.name {
        Some(name) => name.clone(),
        None => default_name(&args.db),
    };
    check_name(&name).map_err(Failure::typed)?;
    let location = session.location()?;
    let labels = labels(args.labels)?;
    check_scratch_dir(args.scratch_dir.as_deref())?;
    check_database(&args.db, args.scratch_dir.as_deref()).await?;
    let config = SnapshotConfig {
        compression: !args.no_compression,
        compression_level: args.compression_level,
        scratch_dir: args.scratch_dir,
        verify_after_write: args.verify_after_write,
        ..session.config()
    };
    let attempts = Arc::new(Attempts::default());
    let manager = session.open_or_make(config)?.with_clock(attempts.clone());
    let began = Instant::now();
    let snapshot = {
        let progress = Shown::new(session.output);
        let options = CreateOptions { labels, progress: progress.listener(), ..CreateOptions::default() };
        let aftermath = {
            let manager = manager.clone();
            move || attempts.aftermath(&manager, &location)
        };
        session.run(&manager, manager.create_snapshot_of_file(&args.db, &name, &options), aftermath).await?
    };
    print(session, &snapshot, &args.db, began.elapsed())?;
    Ok(Exit::Done)
}

fn print(session: &Session, snapshot: &Snapshot, db: &Path, taken: Duration) -> Result<(), Failure> {
    let output = session.output;
    output.document(&json!({ "snapshot": snapshot, "store": session.store, "seconds": taken.as_secs_f64() }))?;
    output.line(format_args!("created {}", snapshot.id))?;
    output.field("name", &snapshot.name)?;
    output.field("database", format_args!("{}, as of {}", db.display(), moment(snapshot.created_at)))?;
    output.field("vectors", shape(snapshot))?;
    output.field("size", ratio(snapshot))?;
    output.field("time", pace(taken, snapshot.raw_bytes))?;
    output.field("checksum", &snapshot.checksum)?;
    for what in &snapshot.source.not_captured {
        output.field("not captured", what)?;
    }
    let verify = session.command(&format!("verify {}", snapshot.id));
    output.line(format_args!("next: {verify}, or restore {} --to FILE", snapshot.id))
}

fn labels(pairs: Vec<(String, String)>) -> Result<BTreeMap<String, String>, Failure> {
    let mut labels = BTreeMap::new();
    for (key, value) in pairs {
        if labels.contains_key(&key) {
            let message = format!("the label {key:?} is given twice; a key has one value");
            return Err(Failure::typed(SnapshotError::new(ErrorKind::Invalid, message)));
        }
        labels.insert(key, value);
    }
    Ok(labels)
}

/// It may not be needed for a long time, and a mistyped one should not show on the busiest day.
fn check_scratch_dir(scratch_dir: Option<&Path>) -> Result<(), Failure> {
    match scratch_dir {
        Some(path) if !path.is_dir() => {
            let message = format!("--scratch-dir {}: there is no such directory", path.display());
            Err(Failure::new(ErrorKind::NotFound, message))
        }
        _ => Ok(()),
    }
}

/// Looks at the database before anything is made in the store: a mistyped path leaves nothing behind.
async fn check_database(path: &Path, scratch_dir: Option<&Path>) -> Result<(), Failure> {
    let options = FileOptions { scratch_dir: scratch_dir.map(Path::to_owned), mirror: false };
    let place: PathBuf = path.to_owned();
    let opened = tokio::task::spawn_blocking(move || FileSource::open(&place, &options).map(drop)).await;
    match opened {
        Ok(Err(error)) if error.kind() != ErrorKind::Busy => Err(explained(path, error)),
        _ => Ok(()),
    }
}

fn explained(path: &Path, error: SnapshotError) -> Failure {
    let (kind, shown) = (error.kind(), quoted_path(path));
    let failure = Failure::from(error);
    match kind {
        ErrorKind::NotFound => failure.with_hint(format!("check --db {shown}")),
        ErrorKind::Invalid => failure.with_hint("--db takes the file that Ruvector calls its storage path"),
        ErrorKind::Damaged => {
            failure.with_hint("no snapshot was made; the last one that was made before is listed by list")
        }
        _ => failure,
    }
}

/// The clock of the system, which remembers the ids that were made with it: after an interrupt these are looked for.
#[derive(Debug, Default)]
struct Attempts {
    now: Mutex<Option<DateTime<Utc>>>,
    ids: Mutex<Vec<SnapshotId>>,
}

impl Clock for Attempts {
    fn now(&self) -> DateTime<Utc> {
        let now = SystemClock.now();
        *self.now.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
        now
    }

    fn random(&self) -> Result<u64, SnapshotError> {
        let random = SystemClock.random()?;
        if let Some(now) = *self.now.lock().unwrap_or_else(PoisonError::into_inner) {
            self.ids.lock().unwrap_or_else(PoisonError::into_inner).push(SnapshotId::new(now, random));
        }
        Ok(random)
    }
}

impl Attempts {
    /// What these attempts left in the store.
    fn aftermath(&self, manager: &SnapshotManager, location: &Location) -> String {
        let unknown = || "what is left could not be looked at; list shows it".to_owned();
        let ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return unknown() };
        let Ok(listing) = runtime.block_on(manager.list()) else { return unknown() };
        for id in ids.iter() {
            if listing.snapshots.iter().any(|snapshot| snapshot.id == id.as_str()) {
                return format!("the snapshot {id} had been completed already, and stays");
            }
            if !is_gone(location, id) || listing.unfinished.iter().any(|unfinished| unfinished == id.as_str()) {
                return format!("there is no new snapshot; {}", left_behind(location, id));
            }
        }
        match location {
            Location::Local(_) => "there is no new snapshot, and nothing was left behind".to_owned(),
            // Parts of an upload that could not be aborted are in no listing.
            _ => format!("there is no new snapshot, and no object of one was left at {location}"),
        }
    }
}

fn left_behind(location: &Location, id: &SnapshotId) -> String {
    match location {
        Location::Local(_) => format!("the directory snapshot-{id} was left and can be deleted"),
        _ => {
            format!("objects under {location}/snapshot-{id}/ were left and can be deleted, with the tools of the store")
        }
    }
}

/// Whether nothing is left of the directory of an attempt. An empty one, which holds no object that a store could delete,
/// is removed. A bucket has no directories.
fn is_gone(location: &Location, id: &SnapshotId) -> bool {
    let Location::Local(root) = location else { return true };
    let directory = root.join(format!("snapshot-{id}"));
    let _removed_if_empty = fs::remove_dir(&directory);
    directory.symlink_metadata().is_err()
}

/// The stem of the file's name, where that can be a name.
fn default_name(db: &Path) -> String {
    let stem = db.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    if check_name(&stem).is_ok() { stem } else { "database".to_owned() }
}

//! A custom store: an audit log around any other store. It records what was written and deleted, and when.
//!
//!     cargo run -p ruvector-snapshot-examples --example custom_store
//!
//! The contract of the log: every change is recorded before it begins. `begin` is followed by `done` or `failed`. A
//! `begin` without an end is a call that was interrupted, which may have succeeded or not. If the log cannot be
//! written, nothing is changed. The file is not synced, so its last lines may be lost if the machine crashes.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use ruvector_core::types::DbOptions;
use ruvector_core::{VectorDB, VectorEntry};
use ruvector_snapshot::clock::{Clock as _, SystemClock};
use ruvector_snapshot::store::{
    ListEntry, Location, ObjectInfo, SnapshotStore, StoreConfig, Upload, check_key, maintenance_of, open,
    testing::conformance,
};
use ruvector_snapshot::{Result, SnapshotConfig, SnapshotError, SnapshotManager};

/// A store that records the changes in another one.
#[derive(Debug)]
pub(crate) struct Audited {
    inner: Arc<dyn SnapshotStore>,
    log: Log,
}

impl Audited {
    /// Appends to the file at `path`, which is created if it does not exist.
    pub(crate) fn new(inner: Arc<dyn SnapshotStore>, path: &Path) -> Result<Self> {
        let opened = OpenOptions::new().append(true).create(true).open(path);
        let file = opened.map_err(|error| SnapshotError::io(path, "open the log", error))?;
        Ok(Self { inner, log: Log { path: path.to_owned(), file: Arc::new(file) } })
    }

    /// Records the beginning of a change. Checks the key first: an invalid one could add lines to the log.
    fn begin(&self, verb: &'static str, key: &str) -> Result<Change> {
        check_key(key)?;
        self.log.write("begin", verb, key)?;
        Ok(Change { log: self.log.clone(), verb, key: key.to_owned() })
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl SnapshotStore for Audited {
    async fn create(&self, key: &str, bytes: Bytes) -> Result<()> {
        let change = self.begin("create", key)?;
        change.end(self.inner.create(key, bytes).await)
    }

    async fn upload(&self, key: &str, size_hint_bytes: Option<u64>) -> Result<Box<dyn Upload>> {
        let change = self.begin("upload", key)?;
        match self.inner.upload(key, size_hint_bytes).await {
            Ok(inner) => Ok(Box::new(AuditedUpload { inner, change })),
            Err(error) => change.end(Err(error)),
        }
    }

    async fn delete(&self, key: &str) -> Result<()> {
        let change = self.begin("delete", key)?;
        change.end(self.inner.delete(key).await)
    }

    async fn get(&self, key: &str, limit_bytes: u64) -> Result<Bytes> {
        self.inner.get(key, limit_bytes).await
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes> {
        self.inner.get_range(key, range).await
    }

    async fn head(&self, key: &str) -> Result<ObjectInfo> {
        self.inner.head(key).await
    }

    fn list<'a>(&'a self, prefix: &str) -> BoxStream<'a, Result<ObjectInfo>> {
        self.inner.list(prefix)
    }

    fn list_entries<'a>(&'a self, prefix: &str) -> BoxStream<'a, Result<ListEntry>> {
        self.inner.list_entries(prefix)
    }
}

impl fmt::Display for Audited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, with a log in {}", self.inner, self.log.path.display())
    }
}

/// Dropping it drops the upload inside, which aborts it, and leaves its `begin` without an end.
struct AuditedUpload {
    inner: Box<dyn Upload>,
    change: Change,
}

#[async_trait]
impl Upload for AuditedUpload {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.inner.write(bytes).await
    }

    async fn finish(self: Box<Self>) -> Result<u64> {
        self.change.end(self.inner.finish().await)
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        let change = Change { verb: "abort", ..self.change };
        change.end(self.inner.abort().await)
    }
}

/// A change in progress.
struct Change {
    log: Log,
    verb: &'static str,
    key: String,
}

impl Change {
    /// Records how the change ended, and returns its outcome. The change cannot be undone, so an error of the log is
    /// not returned here. The next change meets it, before it begins.
    fn end<T>(self, outcome: Result<T>) -> Result<T> {
        let _ = self.log.write(if outcome.is_ok() { "done" } else { "failed" }, self.verb, &self.key);
        outcome
    }
}

#[derive(Debug, Clone)]
struct Log {
    path: PathBuf,
    file: Arc<File>,
}

impl Log {
    /// Writes a line at once, so that lines of several threads and processes do not mix.
    fn write(&self, what: &str, verb: &str, key: &str) -> Result<()> {
        let line = format!("{} {what:<6} {verb:<6} {key}\n", SystemClock.now().format("%Y-%m-%dT%H:%M:%S%.3fZ"));
        let written = self.file.as_ref().write_all(line.as_bytes());
        written.map_err(|error| SnapshotError::io(&self.path, "write the log, so nothing was changed", error))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;

    // Every store must pass the conformance suite. It writes a lot, so its log is discarded.
    let memory = open(&Location::Memory, &StoreConfig::default())?;
    conformance::run_all(Arc::new(Audited::new(memory, &dir.path().join("suite.log"))?), "suite").await?;
    println!("the store keeps its contract");

    let backups = Location::Local(dir.path().join("backups"));
    let backups = open(&backups, &StoreConfig::default().create(true))?;
    // The wrapper hides the directory from the manager, so the manager gets its maintenance separately.
    let maintenance = maintenance_of(backups.as_ref()).ok_or("not a local directory")?;
    let log = dir.path().join("audit.log");
    let store = Arc::new(Audited::new(backups, &log)?);
    let manager = SnapshotManager::with_store(SnapshotConfig::default(), store)?.with_maintenance(maintenance);
    let storage_path = dir.path().join("vectors.db").to_string_lossy().into_owned();
    let db = VectorDB::new(DbOptions { dimensions: 2, storage_path, ..DbOptions::default() })?;
    db.insert(VectorEntry { id: Some("a".to_owned()), vector: vec![0.5, 1.0], metadata: None })?;

    let snapshot = manager.create_snapshot(&db, "example").await?;
    println!("verified: {}", manager.verify_snapshot(&snapshot.id).await?);
    println!("restored {} vector", manager.restore_snapshot(&snapshot.id).await?.len()?);
    manager.delete_snapshot(&snapshot.id).await?;
    println!("{}", std::fs::read_to_string(&log)?);
    Ok(())
}

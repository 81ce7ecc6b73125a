//! The check of a store: does it keep the contract, on a few objects, and how fast is it. For operators who use a new
//! server. The conformance suite (`testing::conformance`) is for authors of stores and checks much more.
//!
//! Works below a prefix that the caller chooses. The caller removes the objects with [`clear`].
#![expect(clippy::disallowed_methods, reason = "measures the speed of a store")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::join_all;
use futures::stream::{self, StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::local::staged::Published;
use super::{CreateMode, SnapshotStore};
use crate::error::{ErrorKind, Result, SnapshotError};

/// How many callers create one key at the same time.
const CONCURRENT_CREATES: usize = 8;
/// Two parts of a multipart upload and a half.
const UPLOAD_BYTES: usize = 20 << 20;
/// How much is sent and received to measure the throughput.
const MEASURED_BYTES: usize = 64 << 20;
const PIECE_BYTES: usize = 1 << 20;
const RANGE_BYTES: u64 = 8 << 20;
const CREATE_IF_ABSENT: &str = "create if absent";
const CONCURRENT_CREATE_IF_ABSENT: &str = "concurrent create if absent";
/// How many requests of each kind are made to measure the latency.
const REQUESTS: usize = 15;

/// How large the objects are that single requests write.
const RANGES_BYTES: usize = 100_000;
const SMALL_BYTES: usize = 1024;
const FIRST: &[u8] = b"first";
const FIRST_NAME: &str = "first";

/// What a check of a store would write and read. [`SnapshotManager::plan_check_store`](crate::SnapshotManager::plan_check_store)
/// makes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
#[must_use = "a plan checks nothing"]
pub struct StoreCheckPlan {
    /// What the keys of all its objects start with. 16 random hexadecimal digits and a slash follow.
    pub key_prefix: String,
    /// Number of objects that are written, and removed again.
    pub objects: u64,
    /// Bytes that are written, at most.
    pub written_bytes: u64,
    /// Bytes that are read, at most, apart from listings.
    pub read_bytes: u64,
}

/// Returns what a check writes and reads, under keys that start with this.
pub(crate) fn plan(key_prefix: String) -> StoreCheckPlan {
    let first = FIRST.len();
    // Created twice, of which the second time is refused, and read twice.
    let both = 2 * first + RANGES_BYTES + UPLOAD_BYTES + REQUESTS * SMALL_BYTES + MEASURED_BYTES;
    let written = both + UPLOAD_BYTES / 2 + CONCURRENT_CREATES;
    StoreCheckPlan {
        key_prefix,
        // The first, the ranges, the parts, the race and the large one.
        objects: 5 + REQUESTS as u64,
        written_bytes: written as u64,
        read_bytes: (both + RANGES_BYTES) as u64,
    }
}

/// The result of a check of a store.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct StoreReport {
    /// The results of the single checks, in order.
    pub findings: Vec<Finding>,
    /// How fast the store is; `None` if it could not be measured.
    pub speed: Option<Speed>,
}

/// The result of one check.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// What was checked, for example `ranged reads`.
    pub name: &'static str,
    /// The result.
    pub status: CheckStatus,
    /// What the store did wrong; empty if the check passed.
    pub detail: String,
}

/// The result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CheckStatus {
    /// The store keeps the contract.
    Pass,
    /// The store breaks the contract, but snapshots are safe. The detail says what does not work.
    Warn,
    /// Snapshots are not safe in this store.
    Fail,
}

/// How fast a store is, measured from this machine.
#[derive(Debug, Clone, Copy, Serialize)]
#[non_exhaustive]
pub struct Speed {
    /// Median time of a `head`, in seconds.
    pub head_seconds: f64,
    /// Median time of a `get` of 1 KiB, in seconds.
    pub get_seconds: f64,
    /// Median time of a `create` of 1 KiB, in seconds.
    pub create_seconds: f64,
    /// Throughput of one upload of 64 MiB, in bytes per second.
    pub upload_bytes_per_second: f64,
    /// Throughput of concurrent reads of ranges of that object, in bytes per second.
    pub download_bytes_per_second: f64,
}

impl StoreReport {
    /// Returns whether snapshots are safe in this store: no check failed.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use ruvector_snapshot::{SnapshotConfig, SnapshotManager};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> ruvector_snapshot::Result<()> {
    /// let manager = SnapshotManager::open("s3://bucket/prefix", SnapshotConfig::default())?;
    /// let report = manager.check_store().await?;
    /// assert!(report.is_safe());
    /// # Ok(())
    /// # }
    /// ```
    pub fn is_safe(&self) -> bool {
        self.findings.iter().all(|finding| finding.status != CheckStatus::Fail)
    }

    /// Adds what the file system of a local directory cannot do.
    pub(crate) fn add_file_system(&mut self, published: Result<Published>) {
        let outcome = match published {
            Ok(Published { is_exclusive, unsynced }) => {
                if !is_exclusive {
                    self.warn(CONCURRENT_CREATE_IF_ABSENT, format!("{NO_EXCLUSIVE_NAMES}; {SAFE}"));
                }
                unsynced.map_or(Ok(()), |error| Err(format!("{UNSYNCED} ({error}); {UNSYNCED_RISK}")))
            }
            Err(error) => Err(message(error)),
        };
        self.findings.push(finding("sync directories", CheckStatus::Warn, outcome));
    }

    /// Makes a check that passed by chance a warning.
    fn warn(&mut self, name: &str, detail: String) {
        let passed = self.findings.iter_mut().find(|found| found.name == name && found.status == CheckStatus::Pass);
        if let Some(found) = passed {
            (found.status, found.detail) = (CheckStatus::Warn, detail);
        }
    }

    /// Replaces the results of creates if they were made without a precondition: then the check before each of them
    /// passed, and not the server.
    pub(crate) fn created_without_precondition(&mut self, mode: CreateMode) {
        let why = match mode {
            CreateMode::Conditional => return,
            CreateMode::Refused => "the server refuses If-None-Match",
            CreateMode::Unconditional => "conditional_create=false is set",
        };
        let detail = format!(
            "{why}, so a create checks that its key is free and then writes; another program can write in between; {SAFE}"
        );
        let creates = [CREATE_IF_ABSENT, CONCURRENT_CREATE_IF_ABSENT];
        for finding in self.findings.iter_mut().filter(|finding| creates.contains(&finding.name)) {
            (finding.status, finding.detail) = (CheckStatus::Warn, detail.clone());
        }
    }

    /// Adds the finding that the objects of the check could not be removed.
    pub(crate) fn not_cleared(&mut self, prefix: &str, error: &SnapshotError) {
        let detail = format!("the objects of this check remain under {prefix}/: {}", error.message());
        self.findings.push(Finding { name: "clean up", status: CheckStatus::Warn, detail });
    }
}

/// Checks the store with objects below `prefix`.
///
/// # Errors
///
/// Returns the error of the first request: the store cannot be reached, or is not writable. Later errors are findings.
pub(crate) async fn probe(
    store: Arc<dyn SnapshotStore>,
    prefix: &str,
    max_concurrent_io: usize,
) -> Result<StoreReport> {
    let probe = Probe { store: store.as_ref(), prefix };
    let first = probe.key(FIRST_NAME);
    store.create(&first, Bytes::from_static(FIRST)).await?;
    let findings = vec![
        finding("read after write", CheckStatus::Fail, probe.read_after_write(&first).await),
        finding("list after write", CheckStatus::Fail, probe.list_after_write(&first).await),
        finding("ranged reads", CheckStatus::Fail, probe.ranged_reads().await),
        finding("multipart upload", CheckStatus::Fail, probe.multipart_upload().await),
        finding("abort upload", CheckStatus::Fail, probe.abort_upload().await),
        finding(CREATE_IF_ABSENT, CheckStatus::Warn, probe.create_if_absent(&first).await),
        finding(CONCURRENT_CREATE_IF_ABSENT, CheckStatus::Warn, probe.concurrent_create_if_absent().await),
        finding("delete", CheckStatus::Warn, probe.delete(&first).await),
    ];
    let speed = probe.measure(max_concurrent_io).await.ok();
    Ok(StoreReport { findings, speed })
}

/// Removes everything below the prefix of a check.
pub(crate) async fn clear(store: &dyn SnapshotStore, prefix: &str) -> Result<()> {
    let keys: Vec<String> = store.list(prefix).map_ok(|object| object.key).try_collect().await?;
    if keys.is_empty() {
        // On a full disk, the first create has left a directory without a file, which goes with its last object.
        let _absent = store.delete(&format!("{prefix}/{FIRST_NAME}")).await;
    }
    for key in keys {
        store.delete(&key).await?;
    }
    Ok(())
}

struct Probe<'a> {
    store: &'a dyn SnapshotStore,
    prefix: &'a str,
}

/// The outcome of a check: what the store did wrong, or why it could not be checked.
type Outcome = Result<(), String>;

fn finding(name: &'static str, if_wrong: CheckStatus, outcome: Outcome) -> Finding {
    match outcome {
        Ok(()) => Finding { name, status: CheckStatus::Pass, detail: String::new() },
        Err(detail) => Finding { name, status: if_wrong, detail },
    }
}

impl Probe<'_> {
    fn key(&self, name: &str) -> String {
        format!("{}/{name}", self.prefix)
    }

    async fn read_after_write(&self, first: &str) -> Outcome {
        let found = self.store.get(first, 100).await.map_err(message)?;
        require(found == "first", "an object has other contents than were written")?;
        let size_bytes = self.store.head(first).await.map_err(message)?.size_bytes;
        require(size_bytes == 5, "the size of an object is reported wrong")?;
        match self.store.get(&self.key("missing"), 100).await {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(message(error)),
            Ok(_) => Err("reading an object that was never written succeeds".to_owned()),
        }
    }

    async fn list_after_write(&self, first: &str) -> Outcome {
        let keys = self.keys().await?;
        require(keys.iter().any(|key| key == first), "an object that was just written is not listed")
    }

    async fn ranged_reads(&self) -> Outcome {
        let key = self.key("ranges");
        let bytes = noise(RANGES_BYTES, 1);
        self.store.create(&key, bytes.clone()).await.map_err(message)?;
        for (start, end) in [(0, 1), (0, 100_000), (99_999, 100_000), (12_345, 67_890)] {
            let found = self.store.get_range(&key, start..end).await.map_err(message)?;
            require(
                found == bytes.slice(start as usize..end as usize),
                "a range has other contents than were written",
            )?;
        }
        match self.store.get_range(&key, 50_000..100_001).await {
            Err(error) if error.kind() == ErrorKind::Corrupt => Ok(()),
            Err(error) => Err(message(error)),
            Ok(_) => Err("reading a range behind the end of an object succeeds".to_owned()),
        }
    }

    async fn multipart_upload(&self) -> Outcome {
        let key = self.key("parts");
        let mut upload = self.store.upload(&key, Some(UPLOAD_BYTES as u64)).await.map_err(message)?;
        let bytes = noise(UPLOAD_BYTES, 2);
        for piece in pieces(&bytes) {
            upload.write(piece).await.map_err(message)?;
        }
        let is_early = self.store.head(&key).await.is_ok();
        upload.finish().await.map_err(message)?;
        require(!is_early, "an object is visible before its upload is finished")?;
        let found = self.store.get(&key, UPLOAD_BYTES as u64).await.map_err(message)?;
        require(Sha256::digest(&found) == Sha256::digest(&bytes), "an upload has other contents than were written")
    }

    async fn abort_upload(&self) -> Outcome {
        let key = self.key("aborted");
        let mut upload = self.store.upload(&key, Some(UPLOAD_BYTES as u64)).await.map_err(message)?;
        for piece in pieces(&noise(UPLOAD_BYTES / 2, 3)) {
            upload.write(piece).await.map_err(message)?;
        }
        upload.abort().await.map_err(|error| {
            format!(
                "an upload cannot be aborted; its parts remain until a lifecycle rule removes them: {}",
                message(error)
            )
        })?;
        require(self.store.head(&key).await.is_err(), "an upload that was aborted is visible")
    }

    async fn create_if_absent(&self, first: &str) -> Outcome {
        let second = self.store.create(first, Bytes::from_static(b"other")).await;
        let found = self.store.get(first, 100).await.map_err(message)?;
        match second {
            _ if found != "first" => Err(format!("it ignores If-None-Match and replaced an existing object; {SAFE}")),
            Ok(()) => Err("it reports success for an object that exists, which it did not change".to_owned()),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(message(error)),
        }
    }

    async fn concurrent_create_if_absent(&self) -> Outcome {
        let key = self.key("race");
        let creates = (0..CONCURRENT_CREATES).map(|number| self.store.create(&key, Bytes::from(format!("{number}"))));
        match join_all(creates).await.iter().filter(|outcome| outcome.is_ok()).count() {
            1 => Ok(()),
            0 => Err("of several concurrent creates of one object none succeeded".to_owned()),
            succeeded => {
                Err(format!("{succeeded} of {CONCURRENT_CREATES} concurrent creates of one object succeeded; {SAFE}"))
            }
        }
    }

    async fn delete(&self, first: &str) -> Outcome {
        let failed = |error| format!("objects cannot be deleted; delete and prune do not work: {}", message(error));
        self.store.delete(first).await.map_err(failed)?;
        self.store.delete(first).await.map_err(failed)?;
        require(self.store.head(first).await.is_err(), "a deleted object can still be read")?;
        require(!self.keys().await?.iter().any(|key| key == first), "a deleted object is still listed")
    }

    async fn measure(&self, max_concurrent_io: usize) -> Result<Speed> {
        let small = noise(SMALL_BYTES, 4);
        let keys: Vec<String> = (0..REQUESTS).map(|number| self.key(&format!("small-{number}"))).collect();
        let (mut creates, mut heads, mut gets) = (Vec::new(), Vec::new(), Vec::new());
        for key in &keys {
            creates.push(timed(self.store.create(key, small.clone())).await?.0);
            heads.push(timed(self.store.head(key)).await?.0);
            gets.push(timed(self.store.get(key, SMALL_BYTES as u64)).await?.0);
        }
        let key = self.key("large");
        let bytes = noise(MEASURED_BYTES, 5);
        let (sent, ()) = timed(async {
            let mut upload = self.store.upload(&key, Some(MEASURED_BYTES as u64)).await?;
            for piece in pieces(&bytes) {
                upload.write(piece).await?;
            }
            upload.finish().await.map(drop)
        })
        .await?;
        let starts = (0..MEASURED_BYTES as u64).step_by(RANGE_BYTES as usize);
        let (received, ()) = timed(async {
            let ranges = starts.map(|start| self.store.get_range(&key, start..start + RANGE_BYTES));
            stream::iter(ranges).buffer_unordered(max_concurrent_io).try_for_each(|_| async { Ok(()) }).await
        })
        .await?;
        let rate = |taken: Duration| MEASURED_BYTES as f64 / taken.as_secs_f64().max(1e-6);
        Ok(Speed {
            head_seconds: median(heads),
            get_seconds: median(gets),
            create_seconds: median(creates),
            upload_bytes_per_second: rate(sent),
            download_bytes_per_second: rate(received),
        })
    }

    async fn keys(&self) -> Result<Vec<String>, String> {
        self.store.list(self.prefix).map_ok(|object| object.key).try_collect().await.map_err(message)
    }
}

const NO_EXCLUSIVE_NAMES: &str = "the file system can neither rename a file without replacing another one nor give it a \
                                  second name: if several create one object at the same time, the last one stays";
const UNSYNCED: &str = "the file system does not sync directories";
const UNSYNCED_RISK: &str = "after a power failure, a snapshot of the last minute may be missing, and one that was deleted \
                             may be back";
const SAFE: &str = "snapshots are safe, because no two have the same id";

fn require(holds: bool, otherwise: &str) -> Outcome {
    if holds { Ok(()) } else { Err(otherwise.to_owned()) }
}

fn message(error: SnapshotError) -> String {
    error.message().to_owned()
}

async fn timed<T>(work: impl Future<Output = Result<T>>) -> Result<(Duration, T)> {
    let start = Instant::now();
    let output = work.await?;
    Ok((start.elapsed(), output))
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times.get(times.len() / 2).map_or(0.0, Duration::as_secs_f64)
}

fn pieces(bytes: &Bytes) -> impl Iterator<Item = Bytes> {
    (0..bytes.len()).step_by(PIECE_BYTES).map(|start| bytes.slice(start..bytes.len().min(start + PIECE_BYTES)))
}

/// Returns bytes that do not compress. Equal seeds give equal bytes.
fn noise(size_bytes: usize, seed: u64) -> Bytes {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut noise = vec![0; size_bytes];
    for word in noise.chunks_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        word.copy_from_slice(state.to_le_bytes().get(..word.len()).unwrap_or_default());
    }
    noise.into()
}

//! What a store really keeps of its contract, tried out on a few objects, and how fast it is. For an operator who meets a
//! new server; `conformance` is the same question from somebody who writes a store, and asks far more.
//!
//! Works below a prefix that nobody else uses. Whoever calls clears it up: see [`clear`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::join_all;
use futures::stream::{self, StreamExt, TryStreamExt};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::SnapshotStore;
use crate::error::{ErrorKind, Result, SnapshotError};

/// How many create one key at the same time.
const RACERS: usize = 8;
/// Two parts of an upload, and a bit.
const UPLOAD_BYTES: usize = 20 << 20;
/// What is sent and read to measure.
const MEASURED_BYTES: usize = 64 << 20;
const PIECE_BYTES: usize = 1 << 20;
const RANGE_BYTES: u64 = 8 << 20;
/// How often a request is made to measure it.
const REQUESTS: usize = 15;

/// What a store was found to do.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct StoreReport {
    /// What was tried, in order.
    pub findings: Vec<Finding>,
    /// How fast it answers; `None` where it could not be measured.
    pub speed: Option<Speed>,
}

/// One thing that was tried.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// What.
    pub what: &'static str,
    /// What came of it.
    pub verdict: Verdict,
    /// What the store did; empty where it kept the contract.
    pub detail: String,
}

/// What came of something that was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Verdict {
    /// As snapshots need it.
    Kept,
    /// Not as the contract says; snapshots are safe all the same, and the detail says what is not to be had.
    Missing,
    /// Snapshots are not safe in this store.
    Broken,
}

/// How fast a store answers, from here.
#[derive(Debug, Clone, Copy, Serialize)]
#[non_exhaustive]
pub struct Speed {
    /// The median time of a `head`, in seconds.
    pub head_seconds: f64,
    /// The median time of a `get` of 1 KiB, in seconds.
    pub get_seconds: f64,
    /// The median time of a `create` of 1 KiB, in seconds.
    pub create_seconds: f64,
    /// One upload of 64 MiB, in bytes per second.
    pub upload_bytes_per_second: f64,
    /// The same object read in ranges at the same time, in bytes per second.
    pub download_bytes_per_second: f64,
}

impl StoreReport {
    /// Whether snapshots are safe in this store.
    pub fn is_safe(&self) -> bool {
        self.findings.iter().all(|finding| finding.verdict != Verdict::Broken)
    }

    /// Notes that the objects of the probe could not be removed.
    pub(crate) fn left_behind(&mut self, prefix: &str, error: &SnapshotError) {
        let detail = format!("the objects of this check stay under {prefix}/: {}", error.message());
        self.findings.push(Finding { what: "nothing is left", verdict: Verdict::Missing, detail });
    }
}

/// Tries the store out below `prefix`. An error is of the first request: the store cannot be reached, or refuses to be
/// written; what goes wrong after that is a finding.
pub(crate) async fn probe(
    store: Arc<dyn SnapshotStore>,
    prefix: &str,
    max_concurrent_io: usize,
) -> Result<StoreReport> {
    let probe = Probe { store: store.as_ref(), prefix };
    let first = probe.key("first");
    store.create(&first, Bytes::from_static(b"first")).await?;
    let findings = vec![
        probe.finding("written is read", Verdict::Broken, probe.reads_what_was_written(&first).await),
        probe.finding("listed at once", Verdict::Broken, probe.lists_what_was_written(&first).await),
        probe.finding("ranges", Verdict::Broken, probe.reads_ranges().await),
        probe.finding("uploads in parts", Verdict::Broken, probe.uploads_in_parts().await),
        probe.finding("uploads given up", Verdict::Broken, probe.gives_up_uploads().await),
        probe.finding("create once", Verdict::Missing, probe.creates_once(&first).await),
        probe.finding("create at once", Verdict::Missing, probe.has_one_winner().await),
        probe.finding("delete", Verdict::Missing, probe.deletes(&first).await),
    ];
    let speed = probe.measure(max_concurrent_io).await.ok();
    Ok(StoreReport { findings, speed })
}

/// Removes everything below the prefix of a probe.
pub(crate) async fn clear(store: &dyn SnapshotStore, prefix: &str) -> Result<()> {
    let keys: Vec<String> = store.list(prefix).map_ok(|object| object.key).try_collect().await?;
    for key in keys {
        store.delete(&key).await?;
    }
    Ok(())
}

struct Probe<'a> {
    store: &'a dyn SnapshotStore,
    prefix: &'a str,
}

/// What was found wrong, or why it could not be tried.
type Objection = Result<(), String>;

impl Probe<'_> {
    fn key(&self, name: &str) -> String {
        format!("{}/{name}", self.prefix)
    }

    fn finding(&self, what: &'static str, if_not: Verdict, outcome: Objection) -> Finding {
        match outcome {
            Ok(()) => Finding { what, verdict: Verdict::Kept, detail: String::new() },
            Err(detail) => Finding { what, verdict: if_not, detail },
        }
    }

    async fn reads_what_was_written(&self, first: &str) -> Objection {
        let found = self.store.get(first, 100).await.map_err(told)?;
        must(found == "first", "an object that was written is read back otherwise")?;
        let size_bytes = self.store.head(first).await.map_err(told)?.size_bytes;
        must(size_bytes == 5, "the size of an object is told wrong")?;
        match self.store.get(&self.key("missing"), 100).await {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(told(error)),
            Ok(_) => Err("an object is read that was never written".to_owned()),
        }
    }

    async fn lists_what_was_written(&self, first: &str) -> Objection {
        let keys = self.keys().await?;
        must(keys.iter().any(|key| key == first), "an object that was just written is not in the listing")
    }

    async fn reads_ranges(&self) -> Objection {
        let key = self.key("ranges");
        let bytes = noise(100_000, 1);
        self.store.create(&key, bytes.clone()).await.map_err(told)?;
        for (start, end) in [(0, 1), (0, 100_000), (99_999, 100_000), (12_345, 67_890)] {
            let found = self.store.get_range(&key, start..end).await.map_err(told)?;
            must(found == bytes.slice(start as usize..end as usize), "a range of an object is read wrong")?;
        }
        match self.store.get_range(&key, 50_000..100_001).await {
            Err(error) if error.kind() == ErrorKind::Damaged => Ok(()),
            Err(error) => Err(told(error)),
            Ok(_) => Err("a range behind the end of an object is read without an error".to_owned()),
        }
    }

    async fn uploads_in_parts(&self) -> Objection {
        let key = self.key("parts");
        let mut upload = self.store.upload(&key, Some(UPLOAD_BYTES as u64)).await.map_err(told)?;
        let bytes = noise(UPLOAD_BYTES, 2);
        for piece in pieces(&bytes) {
            upload.write(piece).await.map_err(told)?;
        }
        let is_early = self.store.head(&key).await.is_ok();
        upload.finish().await.map_err(told)?;
        must(!is_early, "an upload can be read before it is finished")?;
        let found = self.store.get(&key, UPLOAD_BYTES as u64).await.map_err(told)?;
        must(Sha256::digest(&found) == Sha256::digest(&bytes), "an upload in parts is read back otherwise")
    }

    async fn gives_up_uploads(&self) -> Objection {
        let key = self.key("given-up");
        let mut upload = self.store.upload(&key, Some(UPLOAD_BYTES as u64)).await.map_err(told)?;
        for piece in pieces(&noise(UPLOAD_BYTES / 2, 3)) {
            upload.write(piece).await.map_err(told)?;
        }
        upload.abort().await.map_err(|error| {
            format!(
                "an upload cannot be aborted, so its parts stay until a lifecycle rule sweeps them: {}",
                told(error)
            )
        })?;
        must(self.store.head(&key).await.is_err(), "an upload that was given up can be read")
    }

    async fn creates_once(&self, first: &str) -> Objection {
        let again = self.store.create(first, Bytes::from_static(b"other")).await;
        let stands = self.store.get(first, 100).await.map_err(told)?;
        match again {
            _ if stands != "first" => {
                Err(format!("it ignores If-None-Match and replaced an object that exists; {SAFE}"))
            }
            Ok(()) => Err("it says that an object was created where one exists, which it left as it is".to_owned()),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(told(error)),
        }
    }

    async fn has_one_winner(&self) -> Objection {
        let key = self.key("race");
        let bids = (0..RACERS).map(|racer| self.store.create(&key, Bytes::from(format!("racer {racer}"))));
        let won = join_all(bids).await.iter().filter(|answer| answer.is_ok()).count();
        match won {
            1 => Ok(()),
            0 => Err("of several that created an object at once none was told that it did".to_owned()),
            _ => Err(format!("{won} of {RACERS} that created an object at once were told that they did; {SAFE}")),
        }
    }

    async fn deletes(&self, first: &str) -> Objection {
        let cannot = |error| format!("objects cannot be deleted, so delete and prune do not work: {}", told(error));
        self.store.delete(first).await.map_err(cannot)?;
        self.store.delete(first).await.map_err(cannot)?;
        must(self.store.head(first).await.is_err(), "an object that was deleted can still be read")?;
        must(!self.keys().await?.iter().any(|key| key == first), "an object that was deleted is still in the listing")
    }

    async fn measure(&self, max_concurrent_io: usize) -> Result<Speed> {
        let small = noise(1024, 4);
        let keys: Vec<String> = (0..REQUESTS).map(|number| self.key(&format!("small-{number}"))).collect();
        let (mut creates, mut heads, mut gets) = (Vec::new(), Vec::new(), Vec::new());
        for key in &keys {
            creates.push(timed(self.store.create(key, small.clone())).await?.0);
            heads.push(timed(self.store.head(key)).await?.0);
            gets.push(timed(self.store.get(key, 1024)).await?.0);
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
        let (read, ()) = timed(async {
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
            download_bytes_per_second: rate(read),
        })
    }

    async fn keys(&self) -> Result<Vec<String>, String> {
        self.store.list(self.prefix).map_ok(|object| object.key).try_collect().await.map_err(told)
    }
}

const SAFE: &str = "snapshots are safe all the same, for no two have the same id";

fn must(holds: bool, otherwise: &str) -> Objection {
    if holds { Ok(()) } else { Err(otherwise.to_owned()) }
}

fn told(error: SnapshotError) -> String {
    error.message().to_owned()
}

async fn timed<T>(work: impl Future<Output = Result<T>>) -> Result<(Duration, T)> {
    let began = Instant::now();
    let done = work.await?;
    Ok((began.elapsed(), done))
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times.get(times.len() / 2).map_or(0.0, Duration::as_secs_f64)
}

fn pieces(bytes: &Bytes) -> impl Iterator<Item = Bytes> {
    (0..bytes.len()).step_by(PIECE_BYTES).map(|start| bytes.slice(start..bytes.len().min(start + PIECE_BYTES)))
}

/// Bytes that do not compress, the same for the same seed.
fn noise(bytes: usize, seed: u64) -> Bytes {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let words = (0..bytes.div_ceil(8)).flat_map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    let mut noise: Vec<u8> = words.collect();
    noise.truncate(bytes);
    noise.into()
}

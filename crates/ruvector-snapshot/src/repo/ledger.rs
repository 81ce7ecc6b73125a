//! The ledger of a snapshot: what is kept of its verifications, beside it. Entries are created and never rewritten
//! (`docs/FORMAT.md`, section 9; steps V1 and V2 of `docs/CONCURRENCY.md`).
//!
//! No step of a create or a delete, and no reading rule, depends on entries. Before its first step a create refuses a base that
//! entries call corrupt.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use ruvector_snapshot_format::id::SnapshotId;
use ruvector_snapshot_format::ledger::{EntryName, LedgerEntry, VerifyDepth, VerifyResult};
use ruvector_snapshot_format::{layout, limits};
use serde::Serialize;

use super::context::Context;
use super::presence::{ObjectsByName, absent, exists};
use crate::error::{ErrorKind, Result, SnapshotError, corrupt};
use crate::progress::{Progress, warn};
use crate::snapshot::checks::{ChainChecks, Checks, Counted, ListedEntry, unneeded};
use crate::snapshot::latest_now;
use crate::store::ObjectInfo;

/// The program, as entries and annotations name it.
pub(super) const PROGRAM: &str = concat!("ruvector-snapshot ", env!("CARGO_PKG_VERSION"));

/// The number of entries whose contents are read, the newest first.
const CONTENTS_READ_MAX: usize = 100;

/// What the ledger of a snapshot has.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Ledger {
    /// When it was read, by the clock of this machine: what ages are counted from.
    pub read_at: DateTime<Utc>,
    /// What the entries say together, with those of the ancestors that say that something is corrupt.
    pub checks: Checks,
    /// All entries, the newest first.
    pub entries: Vec<ListedVerification>,
}

/// An entry of a ledger.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct ListedVerification {
    /// The key of the object.
    pub key: String,
    /// The start of the verification, by the clock of the machine that verified, or its end if it has found corruption.
    pub time: DateTime<Utc>,
    /// How deep it was.
    pub depth: VerifyDepth,
    /// What it has found.
    pub result: VerifyResult,
    /// Whether the entry counts. It does not if it is older than the snapshot, or if it is intact and older than a file of
    /// the chain, or dated in the future.
    pub counts: bool,
    /// The content. `None` if it cannot be read, or if there are 100 newer entries.
    pub content: Option<LedgerEntry>,
    /// Why the content cannot be read.
    pub error: Option<String>,
}

/// Creates an entry that says that a verification of this depth has found nothing.
///
/// Its time is the start of a verification that has found nothing, and the end of one that has: what changes while a store is
/// read may not have been read any more.
///
/// # Errors
///
/// Returns `InvalidInput` if the time is not in the years 0 to 9999.
pub(crate) fn new_entry(id: &SnapshotId, time: DateTime<Utc>, depth: VerifyDepth) -> Result<LedgerEntry> {
    Ok(LedgerEntry::new(id, time, depth, PROGRAM)?)
}

/// Adds an entry to the ledger of its snapshot. Returns `false` if the snapshot does not exist any more.
pub(crate) async fn record(context: &Context, entry: &LedgerEntry) -> Result<bool> {
    let store = context.store.as_ref();
    // V1
    if !exists(store, &entry.snapshot).await? {
        return Ok(false);
    }
    // V2
    let name = layout::ledger_entry(&entry.name(context.clock.random()?));
    store.create(&layout::key(&entry.snapshot, &name), Bytes::from(entry.encode()?)).await?;
    tracing::info!(snapshot = %entry.snapshot, entry = %name, "recorded a result beside the snapshot");
    Ok(true)
}

/// As [`record`], and turns a failure into a warning: what was found out stands all the same. Returns `false` if it is no use
/// to try it again, because the permission is missing.
pub(crate) async fn record_or_warn(
    context: &Context,
    entry: Result<LedgerEntry>,
    progress: Option<&dyn Progress>,
) -> bool {
    let recorded = match &entry {
        Ok(entry) => record(context, entry).await.map(drop),
        Err(error) => Err(SnapshotError::new(error.kind(), error.message().to_owned())),
    };
    let Err(error) = recorded else { return true };
    let is_drill = entry.as_ref().is_ok_and(|entry| entry.depth == VerifyDepth::Drill);
    let work = if is_drill { "drill" } else { "verification" };
    let of = entry.map(|entry| format!(" of snapshot {}", entry.snapshot)).unwrap_or_default();
    let message = format!(
        "the result of the {work}{of} was not recorded, so `list` will not show it: {error}; the result stands. Without the \
         permission to write to the store, use --no-record"
    );
    warn(progress, &message);
    error.kind() != ErrorKind::PermissionDenied
}

/// Returns the entries among the objects of a snapshot.
pub(crate) fn entries_of(objects: &ObjectsByName) -> Vec<ListedEntry> {
    let entries = objects.iter().filter_map(|(file, object)| Some((layout::parse_ledger_entry(file)?, object)));
    entries.map(|(name, object)| ListedEntry { name, modified_at: object.modified_at }).collect()
}

/// Returns what the entries beside a snapshot say at the time `now`, with what is known of its base. `None` if there is no
/// snapshot.
pub(crate) fn checks_of(
    objects: &ObjectsByName,
    base: Option<&ChainChecks>,
    now: DateTime<Utc>,
) -> Option<ChainChecks> {
    Some(ChainChecks::new(&entries_of(objects), counted_by(objects, now)?, base))
}

/// Returns the entries that are not needed at the time `now`, whatever their age.
pub(crate) fn unneeded_of(objects: &ObjectsByName, now: DateTime<Utc>) -> Vec<&ObjectInfo> {
    let entries = entries_of(objects);
    let unneeded = unneeded(&entries, counted_by(objects, now));
    unneeded.into_iter().filter_map(|entry| objects.get(&layout::ledger_entry(&entry.name))).collect()
}

fn counted_by(objects: &ObjectsByName, now: DateTime<Utc>) -> Option<Counted> {
    let committed_at = objects.get(layout::METADATA_JSON)?.modified_at;
    let files = layout::FILES.into_iter().filter_map(|file| objects.get(file));
    let written_at = files.map(|object| object.modified_at).max().unwrap_or(committed_at);
    Some(Counted { committed_at, written_at, latest: latest_now(now) })
}

/// Reads the ledger of a snapshot from its objects and what is known of its base. An entry whose content cannot be read is
/// listed with the reason.
///
/// # Errors
///
/// Returns `NotFound` if the snapshot does not exist.
pub(crate) async fn read(
    context: &Context,
    id: &SnapshotId,
    objects: &ObjectsByName,
    base: Option<&ChainChecks>,
) -> Result<Ledger> {
    let read_at = context.clock.now();
    let Some(ChainChecks { checks, counted, .. }) = checks_of(objects, base, read_at) else {
        return Err(absent(context.store.as_ref(), id).await);
    };
    let mut entries = entries_of(objects);
    entries.sort_by(|a, b| b.name.cmp(&a.name));
    let reads = entries.into_iter().enumerate().map(|(at, entry)| async move {
        let content = match at < CONTENTS_READ_MAX {
            true => Some(read_content(context, id, &entry.name).await?),
            false => None,
        };
        Ok::<_, SnapshotError>(listed(id, &entry, counted, content))
    });
    let read = stream::iter(reads.collect::<Vec<_>>()).buffered(context.config.max_concurrent_io);
    Ok(Ledger { read_at, checks, entries: read.try_collect().await? })
}

fn listed(
    id: &SnapshotId,
    entry: &ListedEntry,
    counted: Counted,
    content: Option<Result<LedgerEntry>>,
) -> ListedVerification {
    let (content, error) = match content.transpose() {
        Ok(content) => (content, None),
        Err(error) => (None, Some(error.to_string())),
    };
    let EntryName { time, depth, result, .. } = entry.name;
    let key = layout::key(id, &layout::ledger_entry(&entry.name));
    ListedVerification { key, time, depth, result, counts: counted.counts(entry), content, error }
}

/// Reads the content of an entry, or why it cannot be read. A limit of the process says nothing of the entry, and is an
/// error.
async fn read_content(context: &Context, id: &SnapshotId, name: &EntryName) -> Result<Result<LedgerEntry>> {
    let key = layout::key(id, &layout::ledger_entry(name));
    match context.store.get(&key, limits::LEDGER_ENTRY_BYTES).await {
        Ok(bytes) => {
            Ok(LedgerEntry::decode(&bytes, id, name).map_err(|error| SnapshotError::from(error).with_key(key)))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Ok(Err(corrupt("the entry was deleted meanwhile").with_key(key).with_source(error)))
        }
        Err(error) if error.is_of_process() => Err(error),
        Err(error) => Ok(Err(error)),
    }
}

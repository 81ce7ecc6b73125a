//! What the ledgers of a snapshot and its ancestors say together. Reads listings and the `metadata.json` of each.

use chrono::{DateTime, Utc};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use ruvector_snapshot_format::id::SnapshotId;
use ruvector_snapshot_format::layout::{self, DataFile};
use ruvector_snapshot_format::metadata::SnapshotMetadata;

use super::chain::{CHAIN_LENGTH_MAX, Chain};
use super::context::Context;
use super::inventory::{has_all_files, read_metadata};
use super::ledger::{self, Ledger};
use super::presence::{ObjectsByName, objects_of};
use crate::error::{ErrorKind, Result, SnapshotError};
use crate::snapshot::checks::ChainChecks;
use crate::text::utc_time;

/// The objects of the snapshots of a chain, the newest first.
pub(crate) struct ListedChain {
    snapshots: Vec<ListedSnapshot>,
    /// Whether the chain reaches a full snapshot, and all files are there, with their sizes.
    is_whole: bool,
}

struct ListedSnapshot {
    id: SnapshotId,
    objects: ObjectsByName,
}

impl ListedChain {
    /// Lists the chain of a snapshot, as far as it can be followed.
    pub(crate) async fn read(context: &Context, id: &SnapshotId) -> Result<Self> {
        let store = context.store.as_ref();
        let mut chain = Self { snapshots: Vec::new(), is_whole: true };
        let mut next = Some(id.clone());
        while let Some(id) = next.take() {
            let objects = objects_of(store, &id).await?;
            match read_metadata(store, &id).await {
                Ok((metadata, _)) => {
                    chain.is_whole &= is_whole(&metadata, &objects)?;
                    next = metadata.base_id()?.filter(|_| chain.snapshots.len() < CHAIN_LENGTH_MAX);
                }
                Err(error) if is_of_snapshot(&error) => chain.is_whole = false,
                Err(error) => return Err(error),
            }
            chain.snapshots.push(ListedSnapshot { id, objects });
        }
        Ok(chain)
    }

    /// Lists a chain that is open, with one request for each snapshot, some at a time.
    pub(crate) async fn of(context: &Context, chain: &Chain) -> Result<Self> {
        let store = context.store.as_ref();
        let listings = chain.snapshots().iter().map(|snapshot| async move {
            let id = snapshot.id().clone();
            let objects = objects_of(store, &id).await?;
            Ok::<_, SnapshotError>(ListedSnapshot { id, objects })
        });
        let listings = stream::iter(listings.collect::<Vec<_>>()).buffered(context.config.max_concurrent_io);
        let mut listed = Self { snapshots: listings.try_collect().await?, is_whole: true };
        for (snapshot, objects) in chain.snapshots().iter().zip(&listed.snapshots) {
            listed.is_whole &= is_whole(&snapshot.metadata, &objects.objects)?;
        }
        Ok(listed)
    }

    /// Returns whether all files are there, with their sizes. What is missing may have been written after the listing.
    pub(crate) fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Returns when a snapshot of the chain was found corrupt, unless everything was found intact since.
    pub(crate) fn corrupt_at(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        ledger::checks_of(&self.snapshots.first()?.objects, self.base_checks(now).as_ref(), now)?.checks.corrupt_at()
    }

    /// Returns the warning if a snapshot of the chain was found corrupt, unless everything was found intact since.
    pub(crate) fn corruption_warning(&self, now: DateTime<Utc>, then: Then) -> Option<String> {
        let corrupt_at = self.corrupt_at(now)?;
        let mut base: Option<ChainChecks> = None;
        for ListedSnapshot { id, objects } in self.snapshots.iter().rev() {
            base = ledger::checks_of(objects, base.as_ref(), now).or(base);
            // What is corrupt is corrupt in each dependent, with the same time.
            if base.as_ref().and_then(|checks| checks.checks.corrupt_at()) == Some(corrupt_at) {
                return Some(corrupt_since(id, corrupt_at, then));
            }
        }
        None
    }

    /// Returns the warning for a snapshot of the chain that has lost the file that only other tools and verifications read.
    fn missing_checksums(&self) -> Option<String> {
        let lacks = |listed: &&ListedSnapshot| !listed.objects.contains_key(layout::CHECKSUM_SHA256);
        let key = layout::key(&self.snapshots.iter().find(lacks)?.id, layout::CHECKSUM_SHA256);
        Some(format!(
            "{key} is missing: this command does not need it, but the snapshot is corrupt, and no increment can be based on it; `create` makes \
             a new full snapshot"
        ))
    }

    /// Returns what the ledgers say at the time `now`. `None` if a snapshot or a file of the chain is missing.
    pub(crate) fn checks(&self, now: DateTime<Utc>) -> Option<ChainChecks> {
        let newest = self.snapshots.first().filter(|_| self.is_whole)?;
        ledger::checks_of(&newest.objects, self.base_checks(now).as_ref(), now)
    }

    /// Returns what is known of the base, as far as the chain can be followed.
    fn base_checks(&self, now: DateTime<Utc>) -> Option<ChainChecks> {
        let oldest_first = self.snapshots.iter().skip(1).rev();
        oldest_first.fold(None, |base, listed| ledger::checks_of(&listed.objects, base.as_ref(), now).or(base))
    }
}

/// What a command does with a snapshot that was found corrupt, as the warning says it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Then {
    ReadsAgain,
    Compares,
    ReadsPart,
    ReadsIndex,
}

/// Returns the warning for a chain of which a snapshot was found corrupt, and not intact since. If the ledgers cannot be
/// listed, that is the warning: nothing depends on them.
pub(crate) async fn corruption_warning(context: &Context, chain: &Chain, then: Then) -> Option<String> {
    match ListedChain::of(context, chain).await {
        Ok(listed) => listed.corruption_warning(context.clock.now(), then).or_else(|| listed.missing_checksums()),
        Err(error) => Some(format!("whether the snapshot was found corrupt before is not known: {error}")),
    }
}

/// Returns the warning for a snapshot that was found corrupt, of a command that reads it.
pub(crate) fn corrupt_since(id: &SnapshotId, corrupt_at: DateTime<Utc>, then: Then) -> String {
    let then = match then {
        Then::ReadsAgain => "this command reads it again, and fails if what it needs is still corrupt",
        Then::Compares => "a comparison does not show whether it still is: `verify` does",
        Then::ReadsIndex => "its index may be wrong: `verify` shows what is",
        Then::ReadsPart => "this verification did not read everything, and only a full one shows whether it still is",
    };
    format!("snapshot {id} was found corrupt at {}, and not intact since; {then}", utc_time(corrupt_at))
}

/// Reads the ledger of a snapshot, and what those of its ancestors say of it.
///
/// # Errors
///
/// Returns `NotFound` if the snapshot does not exist.
pub(crate) async fn read_ledger(context: &Context, id: &SnapshotId) -> Result<Ledger> {
    let chain = ListedChain::read(context, id).await?;
    let base = chain.base_checks(context.clock.now());
    let objects = chain.snapshots.into_iter().next().map(|newest| newest.objects).unwrap_or_default();
    ledger::read(context, id, &objects, base.as_ref()).await
}

fn is_whole(metadata: &SnapshotMetadata, objects: &ObjectsByName) -> Result<bool> {
    let mut is_whole = has_all_files(objects);
    for file in DataFile::ALL {
        let bytes = metadata.file(file)?.bytes;
        is_whole &= objects.get(file.name()).is_some_and(|object| object.size_bytes == bytes);
    }
    Ok(is_whole)
}

/// Returns whether an error says something of the snapshot, which its verification reports.
fn is_of_snapshot(error: &SnapshotError) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Corrupt | ErrorKind::Unsupported)
}

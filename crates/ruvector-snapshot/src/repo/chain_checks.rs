//! What the ledgers of a snapshot and its ancestors say together. Reads listings and the `metadata.json` of each.

use chrono::{DateTime, Utc};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use ruvector_snapshot_format::checksum::checksum_sha256_bytes;
use ruvector_snapshot_format::id::SnapshotId;
use ruvector_snapshot_format::layout::{self, DataFile};
use ruvector_snapshot_format::metadata::SnapshotMetadata;

use super::annotations;
use super::chain::{CHAIN_LENGTH_MAX, Chain};
use super::context::Context;
use super::inventory::read_metadata;
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
    /// The files that are not, as far as `metadata.json` can be read.
    wrong_files: Vec<WrongFile>,
}

/// A file that is missing or has another size than it was written with.
struct WrongFile {
    key: String,
    /// What is wrong with it, as it follows the key.
    problem: String,
    /// Whether what a command reads may be missing. Nothing but verifications and other tools reads `checksum.sha256`, and
    /// nothing reads behind the recorded end of a file.
    may_be_needed: bool,
}

struct ListedSnapshot {
    id: SnapshotId,
    objects: ObjectsByName,
}

impl ListedChain {
    /// Lists the chain of a snapshot, as far as it can be followed.
    pub(crate) async fn read(context: &Context, id: &SnapshotId) -> Result<Self> {
        let store = context.store.as_ref();
        let mut chain = Self { snapshots: Vec::new(), is_whole: true, wrong_files: Vec::new() };
        let mut next = Some(id.clone());
        while let Some(id) = next.take() {
            let objects = objects_of(store, &id).await?;
            match read_metadata(store, &id).await {
                Ok((metadata, _)) => {
                    chain.compare(&metadata, &objects)?;
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
        let snapshots: Vec<ListedSnapshot> = listings.try_collect().await?;
        let mut listed = Self { snapshots: Vec::new(), is_whole: true, wrong_files: Vec::new() };
        for (snapshot, objects) in chain.snapshots().iter().zip(&snapshots) {
            listed.compare(&snapshot.metadata, &objects.objects)?;
        }
        Ok(Self { snapshots, ..listed })
    }

    /// Compares the files of a snapshot with their sizes.
    fn compare(&mut self, metadata: &SnapshotMetadata, objects: &ObjectsByName) -> Result<()> {
        self.wrong_files.extend(wrong_files(metadata, objects)?);
        self.is_whole &= self.wrong_files.is_empty() && objects.contains_key(layout::METADATA_JSON);
        Ok(())
    }

    /// Returns whether all files are there, with their sizes. What is missing may have been written after the listing.
    pub(crate) fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Returns a warning for each annotation of the chain that cannot be read.
    pub(crate) async fn annotation_warnings(&self, context: &Context) -> Vec<String> {
        let mut all = Vec::new();
        for ListedSnapshot { id, objects } in &self.snapshots {
            all.extend(annotations::warnings_among(context.store.as_ref(), id, objects).await);
        }
        all
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

    /// Returns the warning for files of the chain that are missing or have another size. Whether a command needs what is missing
    /// only shows when it reads, and then it fails.
    fn wrong_files_warning(&self) -> Option<String> {
        let wrong: Vec<String> = self.wrong_files.iter().map(|file| format!("{} {}", file.key, file.problem)).collect();
        let need = match self.wrong_files.iter().any(|file| file.may_be_needed) {
            true => "this command fails if it needs what is missing;",
            false => "this command does not need it, but",
        };
        (!wrong.is_empty()).then(|| {
            format!(
                "{}: {need} the snapshot is corrupt, and no increment can be based on it; `create` makes a new full snapshot",
                wrong.join(", ")
            )
        })
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

/// Returns the warning for a chain of which a snapshot was found corrupt, and not intact since, or of which a file is missing or
/// has another size. A command and its dry run give this one. If the ledgers cannot be
/// listed, that is the warning: nothing depends on them.
pub(crate) async fn corruption_warning(context: &Context, chain: &Chain, then: Then) -> Option<String> {
    match ListedChain::of(context, chain).await {
        Ok(listed) => listed.corruption_warning(context.clock.now(), then).or_else(|| listed.wrong_files_warning()),
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

/// Returns the files that a listing does not show with the size that they were written with.
fn wrong_files(metadata: &SnapshotMetadata, objects: &ObjectsByName) -> Result<Vec<WrongFile>> {
    let mut sizes = vec![(layout::CHECKSUM_SHA256, checksum_sha256_bytes())];
    for file in DataFile::ALL {
        sizes.push((file.name(), metadata.file(file)?.bytes));
    }
    let wrong = sizes.into_iter().filter_map(|(file, expected)| {
        let bytes = objects.get(file).map(|object| object.size_bytes);
        let problem = match bytes {
            Some(bytes) if bytes == expected => return None,
            Some(bytes) => format!("has {bytes} bytes instead of {expected}"),
            None => "is missing".to_owned(),
        };
        let may_be_needed = file != layout::CHECKSUM_SHA256 && bytes.unwrap_or_default() < expected;
        Some(WrongFile { key: layout::key(&metadata.id, file), problem, may_be_needed })
    });
    Ok(wrong.collect())
}

/// Returns whether an error says something of the snapshot, which its verification reports.
fn is_of_snapshot(error: &SnapshotError) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Corrupt | ErrorKind::Unsupported)
}

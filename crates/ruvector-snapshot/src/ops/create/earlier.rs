//! What a full snapshot is compared with. An increment is compared with its base; a full snapshot of another database, or of one
//! that has lost its records, would look as good as any.

use std::path::{Path, PathBuf};

use futures::{StreamExt as _, stream};
use ruvector_snapshot_format::id::SnapshotId;
use ruvector_snapshot_format::metadata::{SourceId, SourceInfo};

use super::base_source::shrinkage;
use crate::error::{ErrorKind, Result};
use crate::repo::context::Context;
use crate::repo::inventory::read_metadata;
use crate::repo::location::newest_ids;
use crate::text::composed_source;

/// The snapshots of a store, as far as a new one is compared with them.
///
/// # Examples
///
/// ```
/// # async fn example(manager: ruvector_snapshot::SnapshotManager) -> Result<(), Box<dyn std::error::Error>> {
/// use std::path::Path;
///
/// use ruvector_snapshot::CreateOptions;
///
/// let (db, options) = (Path::new("vectors.db"), CreateOptions::default());
/// let earlier = manager.earlier_of_source(&manager.source_of_file(db, &options)?).await?;
/// let snapshot = manager.create_snapshot_of_file(db, "nightly", &options).await?;
/// for difference in earlier.differences(&snapshot.source, snapshot.vector_count as u64) {
///     println!("warning: {difference}");
/// }
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct EarlierSnapshots {
    /// The ids of all snapshots of the store, newest first.
    pub ids: Vec<String>,
    /// The number of snapshots that could not be read while the last one of the source was searched.
    pub unread: u64,
    /// The number of those that may not be read with these credentials.
    pub forbidden: u64,
    last: Option<Last>,
}

/// The last snapshot of the source.
#[derive(Debug, Clone)]
struct Last {
    id: SnapshotId,
    records: u64,
    source: SourceInfo,
    /// The path of its database without links, if the file exists. If it is gone, the database was moved.
    real_path: Option<PathBuf>,
}

impl EarlierSnapshots {
    /// Returns what a user should know of a new snapshot with this source and this number of records, as sentences: that it has half
    /// of the records of the last one or fewer, and that the last one is of another database file, which exists.
    ///
    /// # Examples
    ///
    /// See [`EarlierSnapshots`].
    pub fn differences(&self, source: &SourceInfo, records: u64) -> Vec<String> {
        let Some(last) = &self.last else { return Vec::new() };
        let lost = shrinkage("the last snapshot of this source", last.id.as_str(), last.records, records);
        let own = source.path.as_ref().and_then(|path| Path::new(path).canonicalize().ok());
        let is_other = last.real_path.is_some() && last.real_path != own && is_other_file(&last.source, source);
        lost.into_iter().chain(is_other.then(|| two_databases(last, source))).collect()
    }

    /// Returns whether the store has no snapshots.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(ruvector_snapshot::EarlierSnapshots::default().is_new_store());
    /// ```
    pub fn is_new_store(&self) -> bool {
        self.ids.is_empty()
    }
}

/// Lists the store, and finds the last snapshot of this source. Reads `metadata.json` of the newest snapshots, until one is of the
/// source.
pub(crate) async fn of_source(context: &Context, source: &SourceId) -> Result<EarlierSnapshots> {
    let source = composed_source(source.clone());
    let store = context.store.as_ref();
    let mut earlier = EarlierSnapshots { ids: newest_ids(store, usize::MAX).await?, ..EarlierSnapshots::default() };
    let reads = earlier.ids.iter().map(|id| async { read_metadata(store, &id.parse()?).await });
    let mut reads = stream::iter(reads.collect::<Vec<_>>()).buffered(context.config.max_concurrent_io);
    while let Some(read) = reads.next().await {
        match read {
            Ok((metadata, _)) if metadata.source.id().map(composed_source).as_ref() == Some(&source) => {
                let (id, records, source) = (metadata.id, metadata.vector_count, metadata.source);
                let path = source.path.clone();
                let find = move || Ok(path.and_then(|path| Path::new(&path).canonicalize().ok()));
                let real_path = context.run_blocking(find).await?;
                earlier.last = Some(Last { id, records, source, real_path });
                break;
            }
            Ok(_) => {}
            // Deleted since the keys were listed.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => {
                earlier.unread += 1;
                earlier.forbidden += u64::from(error.kind() == ErrorKind::PermissionDenied);
            }
        }
    }
    drop(reads);
    Ok(earlier)
}

fn is_other_file(other: &SourceInfo, own: &SourceInfo) -> bool {
    other.host == own.host && other.path.as_ref().zip(own.path.as_ref()).is_some_and(|(other, own)| other != own)
}

fn two_databases(last: &Last, source: &SourceInfo) -> String {
    let path = |source: &SourceInfo| source.path.clone().unwrap_or_default();
    format!(
        "snapshot {} has the same source name, {:?}, but it is of {}, which exists, and this one is of {}; the rules of `prune` count \
         snapshots of one source together, so give each database a name of its own",
        last.id,
        source.name.clone().unwrap_or_default(),
        path(&last.source),
        path(source)
    )
}

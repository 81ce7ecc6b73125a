//! The base of an increment: opened and checked before anything is uploaded. The rows of the base are read by `delta`.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use ruvector_snapshot_format::id::SnapshotId;
use ruvector_snapshot_format::irregular::IrregularInfo;
use ruvector_snapshot_format::layout;
use ruvector_snapshot_format::metadata::{SnapshotMetadata, SourceInfo};
use ruvector_snapshot_format::model::{DatabaseInfo, LeafTable};

use super::options::CreateOptions;
use super::{base_source, unusable_base};
use crate::error::{ErrorKind, Remedy, Result, SnapshotError, corrupt};
use crate::repo::chain::Chain;
use crate::repo::chain_checks::ListedChain;
use crate::repo::context::Context;
use crate::repo::merge::Merge;
use crate::repo::verify::{Scope, VerifyReport, verify_chain};
use crate::source::key_range::DiffRange;
use crate::text::utc_time;

pub(super) struct Base {
    chain: Chain,
    leaves: Option<Arc<[LeafTable; 2]>>,
}

impl Base {
    /// Opens the chain of the base and checks its source, if `own` is known already, its length and the sizes of its files.
    /// Verifies the whole chain if that is wanted, and otherwise refuses one that is known to be corrupt.
    pub(super) async fn open(
        context: &Context,
        id: &SnapshotId,
        options: &CreateOptions,
        own: Option<&SourceInfo>,
    ) -> Result<Self> {
        Self::open_checked(context, id, options, own).await.map_err(|error| match error.kind() {
            ErrorKind::Corrupt => unusable_base(id, error),
            _ => error,
        })
    }

    async fn open_checked(
        context: &Context,
        id: &SnapshotId,
        options: &CreateOptions,
        own: Option<&SourceInfo>,
    ) -> Result<Self> {
        let chain = Chain::open(context, id).await?;
        if let Some(own) = own {
            base_source::check(&chain.newest()?.metadata, own, options.base_from_elsewhere)?;
        }
        let (length, length_max) = (chain.snapshots().len() + 1, context.config.max_chain_length);
        if length > length_max {
            let message = format!("the chain would have {length} snapshots, more than the maximum of {length_max}");
            let advice = format!("take a full snapshot, or compact {id} and use the result as the base");
            let refused = SnapshotError::new(ErrorKind::InvalidInput, message);
            return Err(refused.with_remedy(Remedy::LongerChain, &advice));
        }
        // Data that the base has lost is lost in all its dependents, and would be missed only when it is needed.
        let listed = ListedChain::of(context, &chain).await?;
        if !listed.is_whole() {
            chain.check_sizes(&context.config).await?;
        }
        if options.verify_base || context.config.verify_after_write {
            check_intact(&verify_chain(context, id, &Scope::Full, options.progress.as_deref()).await?)?;
        } else if let Some(corrupt_at) = listed.corrupt_at(context.clock.now()) {
            return Err(known_corrupt(id, corrupt_at));
        }
        let base = &chain.newest()?.metadata;
        let leaves = chain.leaves(&context.config).await?.map(Arc::new);
        let leaves = leaves.filter(|_| !may_lack_irregular_rows(base));
        Ok(Self { chain, leaves })
    }

    /// Returns the ids of the base and its ancestors, the newest first.
    pub(super) fn ids(&self) -> Vec<SnapshotId> {
        self.chain.ids()
    }

    pub(super) fn metadata(&self) -> Result<&SnapshotMetadata> {
        Ok(&self.chain.newest()?.metadata)
    }

    /// Explains an error of a create, if it is corruption in the chain of the base: that shows when its rows are read.
    pub(super) fn explained(&self, error: SnapshotError) -> SnapshotError {
        let place = error.key().and_then(layout::parse_key).map(|(id, _)| id);
        match self.chain.snapshots() {
            [newest, ..] if error.kind() == ErrorKind::Corrupt && place.is_some_and(|id| self.ids().contains(&id)) => {
                unusable_base(newest.id(), error)
            }
            _ => error,
        }
    }

    /// Returns the irregular rows of the base.
    pub(super) fn irregular(&self) -> Result<Option<IrregularInfo>> {
        Ok(self.metadata()?.irregular.clone())
    }

    /// Returns the leaf tables of the base, if it has some.
    pub(super) fn leaves(&self) -> Option<&Arc<[LeafTable; 2]>> {
        self.leaves.as_ref()
    }

    /// Returns the rows of the base in these ranges.
    pub(super) async fn rows_in(&self, ranges: &Arc<[DiffRange]>, context: &Context) -> Result<Merge> {
        self.chain.rows_in(ranges, &context.config).await
    }

    /// Checks that the database has the dimensions and the metric of the base.
    pub(super) fn check_shape(&self, database: &DatabaseInfo) -> Result<()> {
        let base = self.metadata()?;
        let shape = |dimensions: u64, metric: &Option<String>| {
            format!("{dimensions} dimensions and the metric {}", metric.as_deref().unwrap_or("(not recorded)"))
        };
        if (base.dimensions, &base.distance_metric) == (database.dimensions, &database.distance_metric) {
            return Ok(());
        }
        let message = format!(
            "cannot use snapshot {} as a base: it has {}, but the database has {}; take a full snapshot",
            base.id,
            shape(base.dimensions, &base.distance_metric),
            shape(database.dimensions, &database.distance_metric),
        );
        Err(SnapshotError::new(ErrorKind::InvalidInput, message))
    }
}

/// Refuses a base that a verification has found corrupt, here or in an ancestor. An increment reads little of its base, so
/// it may miss that.
fn known_corrupt(id: &SnapshotId, corrupt_at: DateTime<Utc>) -> SnapshotError {
    let found = format!("it was found corrupt at {}, and not intact since", utc_time(corrupt_at));
    corrupt(found).with_snapshot(id)
}

/// Returns the first corruption of a report as an error that names the file and the block.
fn check_intact(report: &VerifyReport) -> Result<()> {
    let Some(first) = report.corruption.first() else { return Ok(()) };
    let block = first.block.map(|block| format!("block {block}: ")).unwrap_or_default();
    let more = match report.corruption.len() - 1 {
        0 => String::new(),
        more => format!(" (and {more} more in its chain)"),
    };
    // The detail of a block that cannot be expanded names the block itself.
    let detail = first.detail.strip_prefix(&block).unwrap_or(&first.detail);
    let error = corrupt(format!("{block}{detail}{more}"));
    let id: SnapshotId = first.snapshot.parse()?;
    Err(error.with_key(layout::key(&id, &first.file)))
}

/// Returns whether the leaf tables of the base may count metadata rows that its state does not have: earlier versions of
/// this program left out metadata of ids without a vector. They recorded no host, and this one does.
fn may_lack_irregular_rows(base: &SnapshotMetadata) -> bool {
    base.source.host.is_none()
}

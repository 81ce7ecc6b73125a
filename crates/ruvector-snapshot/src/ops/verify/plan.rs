//! Plans a verification: which snapshots are read, and how much of them. Reads metadata, sizes and, for a part of the data,
//! block directories.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use futures::TryStreamExt as _;
use futures::stream::{self, StreamExt as _};
use ruvector_snapshot_format::id::SnapshotId;
use ruvector_snapshot_format::layout::DataFile;
use ruvector_snapshot_format::ledger::VerifyDepth;
use serde::{Deserialize, Serialize};

use super::all::checks_of_whole;
use super::report::{Verification, VerifyOptions};
use super::{check_depth, skipped};
use crate::error::{ErrorKind, Result, SnapshotError};
use crate::repo::chain::Chain;
use crate::repo::chain_checks::ListedChain;
use crate::repo::context::Context;
use crate::repo::inventory::Inventory;
use crate::repo::verify::bytes_at_most;
use crate::snapshot::checks::Checks;

/// What a verification would read.
///
/// [`SnapshotManager::plan_verify`](crate::SnapshotManager::plan_verify) and
/// [`plan_verify_all`](crate::SnapshotManager::plan_verify_all) make it. They read no records and write nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
#[must_use = "a plan verifies nothing"]
pub struct VerifyPlan {
    /// How deep snapshots would be verified.
    pub depth: VerifyDepth,
    /// Whether the results would be recorded in the store.
    pub record: bool,
    /// The snapshots, newest first.
    pub snapshots: Vec<PlannedVerification>,
}

impl VerifyPlan {
    /// Returns how many bytes would be read and compared, at most.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(manager: ruvector_snapshot::SnapshotManager) -> Result<(), Box<dyn std::error::Error>> {
    /// use ruvector_snapshot::VerifyOptions;
    ///
    /// let plan = manager.plan_verify_all(&VerifyOptions::default()).await?;
    /// println!("{} bytes", plan.bytes());
    /// # Ok(()) }
    /// ```
    pub fn bytes(&self) -> u64 {
        self.snapshots.iter().fold(0, |sum, snapshot| match &snapshot.step {
            VerifyStep::Verify { bytes, .. } => sum.saturating_add(*bytes),
            _ => sum,
        })
    }
}

/// A snapshot that would be verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PlannedVerification {
    /// The id.
    pub id: String,
    /// The name. `None` if it was not read.
    pub name: Option<String>,
    /// What would be done.
    pub step: VerifyStep,
}

/// What would be done with a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum VerifyStep {
    /// It would be read, with all that it depends on.
    Verify {
        /// The ids of its ancestors, its base first.
        chain: Vec<String>,
        /// Bytes that would be read and compared, at most, of all snapshots of the chain.
        bytes: u64,
    },
    /// It would be read as an ancestor of a newer snapshot.
    VerifyWith {
        /// The id of the newer snapshot.
        dependent_id: String,
    },
    /// It would be skipped, because it was found intact within [`VerifyOptions::max_age`].
    Skip {
        /// When it was found intact.
        intact_at: DateTime<Utc>,
    },
    /// It shows already that it would not be found intact, or could not be verified.
    Fail {
        /// What that means. [`Corrupt`](ErrorKind::Corrupt) if something is missing or corrupt.
        kind: ErrorKind,
        /// What is wrong.
        message: String,
    },
}

impl VerifyStep {
    fn failing(error: &SnapshotError) -> Self {
        Self::Fail { kind: error.kind(), message: error.to_string() }
    }
}

/// Plans the verification of all snapshots, or of these.
pub(crate) async fn plan(
    context: &Context,
    only: Option<BTreeSet<SnapshotId>>,
    options: &VerifyOptions,
) -> Result<VerifyPlan> {
    check_depth(options.depth)?;
    let snapshots = match &only {
        Some(ids) if ids.len() <= 1 => {
            let planned = ids.iter().map(|id| plan_one(context, id, options));
            stream::iter(planned).buffered(1).try_collect().await?
        }
        _ => plan_several(context, only, options).await?,
    };
    Ok(VerifyPlan { depth: options.depth, record: options.record, snapshots })
}

/// Plans the verification of one snapshot, which lists nothing but its chain.
async fn plan_one(context: &Context, id: &SnapshotId, options: &VerifyOptions) -> Result<PlannedVerification> {
    if options.max_age.is_some() {
        let known = ListedChain::read(context, id).await?.checks(context.clock.now());
        if let Some(step) = known.and_then(|known| skip(context, id, &known.checks, options)) {
            return Ok(PlannedVerification { id: id.to_string(), name: None, step });
        }
    }
    let (name, step) = match Chain::open(context, id).await {
        Ok(chain) => {
            let name = chain.newest()?.metadata.name.clone();
            let step = match wrong_size(context, &chain).await? {
                Some(error) => VerifyStep::failing(&error),
                None => step(&chain, options).await,
            };
            (Some(name), step)
        }
        Err(error) if error.kind() == ErrorKind::Corrupt => (None, VerifyStep::failing(&error)),
        Err(error) => return Err(error),
    };
    Ok(PlannedVerification { id: id.to_string(), name, step })
}

/// Plans the verification of several, each chain once, from its newest snapshot.
async fn plan_several(
    context: &Context,
    only: Option<BTreeSet<SnapshotId>>,
    options: &VerifyOptions,
) -> Result<Vec<PlannedVerification>> {
    let Inventory { mut listing, lineage, .. } = Inventory::read(context).await?;
    let checks = checks_of_whole(&mut listing, &lineage);
    let names: HashMap<&str, &str> =
        listing.snapshots.iter().map(|snapshot| (snapshot.id.as_str(), snapshot.name.as_str())).collect();
    let unusable: HashMap<&str, &SnapshotError> =
        listing.unusable.iter().map(|unusable| (unusable.id.as_str(), &unusable.error)).collect();
    let all: BTreeSet<SnapshotId> = names.keys().chain(unusable.keys()).filter_map(|id| id.parse().ok()).collect();
    let is_all = only.is_none();
    let (mut with, mut planned) = (HashMap::new(), Vec::new());
    for id in only.unwrap_or(all).iter().rev() {
        let known = with.remove(id.as_str()).map(|dependent_id| VerifyStep::VerifyWith { dependent_id });
        let skipped = || checks.get(id).and_then(|checks| skip(context, id, checks, options));
        let step = match known.or_else(skipped) {
            Some(step) => step,
            None => match step_of(context, id, &unusable, options).await {
                // Deleted meanwhile.
                VerifyStep::Fail { kind: ErrorKind::NotFound, .. } if is_all => continue,
                step => step,
            },
        };
        if let VerifyStep::Verify { chain, .. } = &step {
            chain.iter().for_each(|ancestor| {
                with.entry(ancestor.clone()).or_insert_with(|| id.to_string());
            });
        }
        let name = names.get(id.as_str()).map(|name| (*name).to_owned());
        planned.push(PlannedVerification { id: id.to_string(), name, step });
    }
    Ok(planned)
}

async fn step_of(
    context: &Context,
    id: &SnapshotId,
    unusable: &HashMap<&str, &SnapshotError>,
    options: &VerifyOptions,
) -> VerifyStep {
    let chain = match Chain::open(context, id).await {
        Ok(chain) => chain,
        Err(error) => return VerifyStep::failing(unusable.get(id.as_str()).copied().unwrap_or(&error)),
    };
    let mut members = chain.snapshots().iter();
    match members.find_map(|snapshot| unusable.get(snapshot.id().as_str())) {
        Some(error) => VerifyStep::failing(error),
        None => step(&chain, options).await,
    }
}

async fn step(chain: &Chain, options: &VerifyOptions) -> VerifyStep {
    match bytes_at_most(chain, options.depth).await {
        Ok(bytes) => {
            let ancestors = chain.snapshots().iter().skip(1);
            VerifyStep::Verify { chain: ancestors.map(|snapshot| snapshot.id().to_string()).collect(), bytes }
        }
        Err(error) => VerifyStep::failing(&error),
    }
}

fn skip(context: &Context, id: &SnapshotId, checks: &Checks, options: &VerifyOptions) -> Option<VerifyStep> {
    match skipped(context, id.as_str(), checks, options)? {
        Verification::Skipped { intact_at, .. } => Some(VerifyStep::Skip { intact_at }),
        _ => None,
    }
}

/// Returns what is wrong with the size of a file of the chain, if anything.
async fn wrong_size(context: &Context, chain: &Chain) -> Result<Option<SnapshotError>> {
    let files = chain.snapshots().iter().flat_map(|snapshot| DataFile::ALL.map(|file| snapshot.wrong_size(file)));
    let checks = files.collect::<Vec<_>>();
    let found: Vec<_> = stream::iter(checks).buffered(context.config.max_concurrent_io).try_collect().await?;
    Ok(found.into_iter().flatten().map(|(error, _)| error).next())
}

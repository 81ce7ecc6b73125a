//! Verifies every snapshot of a store, or several, each chain once, from its newest snapshot.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures::stream::{self, Stream, StreamExt};
use ruvector_snapshot_format::id::SnapshotId;
use ruvector_snapshot_format::lineage::{ChainEnd, Lineage};

use super::report::{Verification, VerifyOptions};
use super::{Timed, recorded, skipped, verify_listed, warn_if_corrupt_before};
use crate::error::{ErrorKind, Result, SnapshotError};
use crate::progress::warn;
use crate::repo::context::Context;
use crate::repo::inventory::Inventory;
use crate::repo::presence::gone;
use crate::repo::verify::{Corruption, ListedObjects, VerifyReport};
use crate::snapshot::checks::Checks;
use crate::snapshot::{Listing, Snapshot};

/// Streams what is found out about each snapshot, newest first. Goes on after corruption and after errors that concern
/// one snapshot. Ends with an error if nothing is left of what was listed.
pub(crate) fn verify_all(context: Context, options: VerifyOptions) -> impl Stream<Item = Result<Verification>> + Send {
    verify(context, options, None)
}

/// As [`verify_all`], only for these snapshots.
pub(crate) fn verify_each(
    context: Context,
    ids: BTreeSet<SnapshotId>,
    options: VerifyOptions,
) -> impl Stream<Item = Result<Verification>> + Send {
    verify(context, options, Some(ids))
}

fn verify(
    context: Context,
    options: VerifyOptions,
    only: Option<BTreeSet<SnapshotId>>,
) -> impl Stream<Item = Result<Verification>> + Send {
    let listed = stream::once(async move {
        let Inventory { mut listing, objects, lineage, .. } = Inventory::read(&context).await?;
        if only.is_none() {
            listing.possible_losses().for_each(|problem| warn(options.progress.as_deref(), &problem.to_string()));
        }
        warn_of_annotations(&listing, &lineage, only.as_ref(), &options);
        let checks = checks_of_whole(&mut listing, &lineage);
        let mut ids: Vec<String> = listing.snapshots.iter().map(|snapshot| snapshot.id.clone()).collect();
        let mut lost = HashMap::new();
        for unusable in listing.unusable {
            ids.push(unusable.id.clone());
            if unusable.error.kind() == ErrorKind::Corrupt {
                lost.insert(unusable.id, unusable.error);
            }
        }
        let mut pending: VecDeque<String> = listing.pending_uploads.into();
        if let Some(only) = &only {
            ids = only.iter().map(SnapshotId::to_string).collect();
            pending.clear();
        }
        ids.sort_by(|a, b| b.cmp(a));
        let (known, counts) = (HashMap::new(), Some(Counts::default()));
        let (listed, objects) = (ids.clone(), Arc::new(objects));
        let ids = ids.into();
        let run = Run { context, options, only, listed, objects, lineage, checks, ids, pending, lost, known, counts };
        Ok::<_, SnapshotError>(stream::unfold(run, |mut run| async move {
            let next = run.next().await?;
            Some((next, run))
        }))
    });
    listed.flat_map(|run| match run {
        Ok(run) => run.boxed(),
        Err(error) => stream::once(async { Err(error) }).boxed(),
    })
}

/// Warns of annotations that cannot be read, of the snapshots that are verified. Their data can be intact.
fn warn_of_annotations(
    listing: &Listing,
    lineage: &Lineage<SnapshotId>,
    only: Option<&BTreeSet<SnapshotId>>,
    options: &VerifyOptions,
) {
    let with_ancestors = |ids: &BTreeSet<SnapshotId>| -> BTreeSet<String> {
        let ancestors = ids.iter().flat_map(|id| lineage.ancestors(id));
        ids.iter().chain(ancestors).map(ToString::to_string).collect()
    };
    let wanted = only.map(with_ancestors);
    let is_wanted = |snapshot: &&Snapshot| wanted.as_ref().is_none_or(|wanted| wanted.contains(&snapshot.id));
    let warnings = listing.snapshots.iter().filter(is_wanted).flat_map(Snapshot::annotation_warnings);
    warnings.for_each(|warning| warn(options.progress.as_deref(), &warning));
}

/// Returns what the ledgers say of snapshots with a complete chain, of which the listing shows every file.
pub(super) fn checks_of_whole(listing: &mut Listing, lineage: &Lineage<SnapshotId>) -> BTreeMap<SnapshotId, Checks> {
    let usable = listing.snapshots.iter().map(|snapshot| snapshot.id.as_str());
    let usable: BTreeSet<&str> = usable.filter(|id| !listing.damaged.contains_key(*id)).collect();
    let is_whole = |id: &SnapshotId| {
        let mut chain = lineage.ancestors(id).chain([id]);
        matches!(lineage.chain_end(id), Some(ChainEnd::Full(_))) && chain.all(|id| usable.contains(id.as_str()))
    };
    let checks = std::mem::take(&mut listing.checks).into_iter();
    let checks = checks.filter_map(|(id, checks)| Some((id.parse().ok()?, checks)));
    checks.filter(|(id, _)| is_whole(id)).collect()
}

/// One verification of all snapshots, or of several.
struct Run {
    context: Context,
    options: VerifyOptions,
    /// The snapshots to verify. `None` if it is all of them.
    only: Option<BTreeSet<SnapshotId>>,
    /// All snapshots to verify, newest first.
    listed: Vec<String>,
    objects: ListedObjects,
    lineage: Lineage<SnapshotId>,
    /// What the ledgers say of snapshots that can be skipped. Nothing that this run has found corrupt can.
    checks: BTreeMap<SnapshotId, Checks>,
    /// Snapshots that are left, newest first: a dependent comes before its base.
    ids: VecDeque<String>,
    pending: VecDeque<String>,
    /// What the listing says of snapshots that are corrupt.
    lost: HashMap<String, SnapshotError>,
    /// What is known of an ancestor from a dependent.
    known: HashMap<String, Known>,
    /// `None` after the end.
    counts: Option<Counts>,
}

/// How many snapshots there are of each outcome.
#[derive(Default)]
struct Counts {
    verified: usize,
    failed: usize,
    deleted: usize,
}

struct Known {
    dependent_id: String,
    /// Its ancestors.
    chain: Vec<String>,
    corruption: Vec<Corruption>,
    /// When the verification of the dependent was started.
    started_at: DateTime<Utc>,
}

impl Run {
    async fn next(&mut self) -> Option<Result<Verification>> {
        let Some(id) = self.ids.pop_front() else {
            return match self.pending.pop_front() {
                Some(id) => Some(Ok(Verification::PendingUpload { id })),
                None => self.check_end().await.err().map(Err),
            };
        };
        let verification = match self.known.remove(&id) {
            Some(Known { dependent_id, chain, corruption, started_at }) => {
                let (context, options) = (&self.context, &self.options);
                let can_record =
                    recorded::record_ancestor(context, &id, &dependent_id, &chain, &corruption, started_at, options);
                self.stop_recording_unless(can_record.await);
                Verification::VerifiedWith { id, dependent_id, corruption }
            }
            None => match self.skipped(&id) {
                Some(skipped) => skipped,
                None => self.verify(id).await,
            },
        };
        if verification.is_intact() == Some(true) {
            self.warn_if_corrupt_before(verification.id()).await;
        }
        if let Some(counts) = &mut self.counts {
            match &verification {
                Verification::Failed { .. } => counts.failed += 1,
                Verification::Deleted { .. } => counts.deleted += 1,
                _ => counts.verified += 1,
            }
        }
        Some(Ok(verification))
    }

    /// Lists again what was found corrupt before this run: it may have repaired it.
    async fn warn_if_corrupt_before(&self, id: &str) {
        let Ok(id) = id.parse() else { return };
        if self.checks.get(&id).is_some_and(|checks| checks.corrupt_at().is_some()) {
            warn_if_corrupt_before(&self.context, &id, &self.options).await;
        }
    }

    /// Fails if snapshots were deleted and none that was listed is left: where a disk was unmounted, an empty directory
    /// may be all that there is.
    async fn check_end(&mut self) -> Result<()> {
        let Some(counts) = self.counts.take() else { return Ok(()) };
        if counts.deleted == 0 || counts.failed > 0 {
            return Ok(());
        }
        if counts.verified > 0 {
            let listing = Inventory::read(&self.context).await?.listing;
            let usable = listing.snapshots.iter().map(|snapshot| &snapshot.id);
            let mut there = usable.chain(listing.unusable.iter().map(|unusable| &unusable.id));
            if there.any(|id| self.listed.contains(id)) {
                return Ok(());
            }
        }
        let none = match self.listed.len() {
            1 => "the snapshot that was listed is not there any more: it was".to_owned(),
            number => format!("none of the {number} snapshots that were listed is left: they were"),
        };
        let message = format!(
            "{none} deleted during the verification, or the disk of the store was unmounted; check the store, and verify \
             again"
        );
        Err(SnapshotError::new(ErrorKind::Unavailable, message))
    }

    /// Without the permission there is one warning, and one for all that is left.
    fn stop_recording_unless(&mut self, can_record: bool) {
        if !can_record {
            self.options.record = false;
            if !self.ids.is_empty() {
                let message = "the verifications of the snapshots that follow are not recorded either";
                warn(self.options.progress.as_deref(), message);
            }
        }
    }

    fn skipped(&self, id: &str) -> Option<Verification> {
        let checks = self.checks.get(&id.parse().ok()?)?;
        skipped(&self.context, id, checks, &self.options)
    }

    /// Removes what is known from the ledgers of snapshots that were found corrupt just now, and of their dependents.
    fn distrust(&mut self, report: &VerifyReport) {
        let corrupt: BTreeSet<SnapshotId> =
            report.corruption.iter().filter_map(|one| one.snapshot.parse().ok()).collect();
        for id in self.lineage.dependents(&corrupt).iter().chain(&corrupt) {
            self.checks.remove(id);
        }
    }

    async fn verify(&mut self, id: String) -> Verification {
        let parsed = match id.parse() {
            Ok(parsed) => parsed,
            Err(error) => return Verification::Failed { id, error: SnapshotError::from(error) },
        };
        match verify_listed(&self.context, &parsed, &self.options, Some(self.objects.clone())).await {
            Ok(Timed { started_at, report, can_record }) => {
                self.stop_recording_unless(can_record);
                self.distrust(&report);
                self.record_ancestors(&report, started_at).await;
                for (ancestor, known) in ancestors_known_from(&report, started_at) {
                    self.known.entry(ancestor).or_insert(known);
                }
                Verification::Verified(report)
            }
            Err(error) if error.kind() == ErrorKind::NotFound => self.without_metadata_json(id, &parsed).await,
            Err(error) => Verification::Failed { id, error },
        }
    }

    /// Records what was found out about ancestors that get no verification of their own.
    async fn record_ancestors(&self, report: &VerifyReport, started_at: DateTime<Utc>) {
        let Some(only) = &self.only else { return };
        let is_other = |id: &str| only.iter().all(|one| one.as_str() != id);
        recorded::record_ancestors(&self.context, report, is_other, started_at, &self.options).await;
    }

    /// Says what has become of a snapshot without `metadata.json`: it was deleted after it was listed, or it is lost. What
    /// the listing called lost may have been deleted since (reading rule R4).
    async fn without_metadata_json(&mut self, id: String, parsed: &SnapshotId) -> Verification {
        match gone(self.context.store.as_ref(), parsed).await {
            error if error.kind() == ErrorKind::NotFound => Verification::Deleted { id },
            error if error.kind() == ErrorKind::Corrupt => {
                let error = self.lost.remove(&id).unwrap_or(error);
                Verification::Failed { id, error }
            }
            error => Verification::Failed { id, error },
        }
    }
}

/// Returns what a report says of the ancestors, if that is all there is to say: all of them are intact, or one has a
/// corrupt ancestor itself.
///
/// An ancestor that is corrupt itself gets a verification of its own, which may find more. So does one below all
/// corruption: its state was not checked.
fn ancestors_known_from(report: &VerifyReport, started_at: DateTime<Utc>) -> impl Iterator<Item = (String, Known)> {
    let chain = &report.chain;
    chain.iter().enumerate().filter_map(move |(at, id)| {
        let is_in_ancestor = |one: &Corruption| chain.iter().skip(at + 1).any(|ancestor| *ancestor == one.snapshot);
        let concerns = |one: &&Corruption| one.snapshot == *id || is_in_ancestor(one);
        let is_known = report.is_intact() || report.corruption.iter().any(is_in_ancestor);
        let corruption = || report.corruption.iter().filter(concerns).cloned().collect();
        let older = || chain.iter().skip(at + 1).cloned().collect();
        let dependent_id = report.id.clone();
        is_known.then(|| (id.clone(), Known { dependent_id, chain: older(), corruption: corruption(), started_at }))
    })
}

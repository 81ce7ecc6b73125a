//! Copy: stores snapshots in another store, with the same ids and bytes, as a plan says. What is copied is decided in
//! `plan`; how one snapshot is copied is in `repo::snapshot_copy`.
//!
//! A snapshot is copied after its base. If one cannot be copied, those that depend on it are skipped, and the others
//! are copied.

mod places;
mod plan;
mod state;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::stream::{FuturesUnordered, StreamExt};
use ruvector_snapshot_format::FormatError;
use ruvector_snapshot_format::id::SnapshotId;
use ruvector_snapshot_format::metadata::SourceInfo;
use serde::Serialize;

pub(crate) use self::plan::plan;
pub use self::plan::{BlockedCopy, CopyOptions, CopyPlan, CopySelection, PlannedCopy};
use crate::error::{ErrorKind, Result, SnapshotError};
use crate::progress::{Phase, Progress, StoredCounter, Transferred};
use crate::repo::annotations;
use crate::repo::compaction::store_compacted;
use crate::repo::context::Context;
use crate::repo::found_corrupt::recorded;
use crate::repo::markers;
use crate::repo::snapshot_copy::{Copied, Transfer};

/// Snapshots that are copied at the same time. Each has up to three uploads, with a part in memory that is being
/// filled.
const SNAPSHOTS_AT_ONCE: usize = 4;

/// Failures in a row, without a success between them, after which a store that does not answer is given up.
const FAILURES_IN_A_ROW_MAX: usize = 3;

/// What became of a [`CopyPlan`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CopyReport {
    /// Every snapshot of the plan, oldest first.
    pub snapshots: Vec<CopiedSnapshot>,
    /// Bytes of objects that were read from the source.
    pub read_bytes: u64,
    /// Bytes of objects that were written to the target.
    pub written_bytes: u64,
}

impl CopyReport {
    /// Returns whether the target has every snapshot of the plan.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(source: ruvector_snapshot::SnapshotManager, target: ruvector_snapshot::SnapshotManager) -> ruvector_snapshot::Result<()> {
    /// use ruvector_snapshot::{CopyOptions, CopySelection};
    ///
    /// let plan = source.plan_copy(&target, &CopySelection::All, &CopyOptions::default()).await?;
    /// let report = source.apply_copy(&target, &plan, None).await?;
    /// assert!(report.is_complete());
    /// # Ok(()) }
    /// ```
    pub fn is_complete(&self) -> bool {
        let is_there = |copied: &CopiedSnapshot| {
            copied.error.is_none() && matches!(copied.outcome, CopyOutcome::Copied | CopyOutcome::Existing)
        };
        self.snapshots.iter().all(is_there)
    }
}

/// What became of one snapshot of a [`CopyPlan`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CopiedSnapshot {
    /// The id of the snapshot in the source.
    pub id: String,
    /// The name of the snapshot, if it can be read.
    pub name: Option<String>,
    /// Where its records came from, if that can be read.
    pub source: Option<SourceInfo>,
    /// What became of it.
    pub outcome: CopyOutcome,
    /// The id in the target, if it is there: another one for a compacted snapshot.
    pub target_id: Option<String>,
    /// The kind of error, if there was one.
    pub kind: Option<ErrorKind>,
    /// Why it was not copied, or not pinned, or why its annotations were not copied.
    pub error: Option<String>,
    /// Number of annotations that were copied: changes of its labels and its note that the target did not have.
    pub annotations: u64,
}

/// What became of a snapshot that was to be copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CopyOutcome {
    /// It was copied.
    Copied,
    /// The target had it already.
    Existing,
    /// It could not be copied.
    Failed,
    /// It was not tried, because a snapshot that it depends on was not copied, or a store does not answer or is full.
    Skipped,
}

/// Copies what the plan says. An error of one snapshot is in the report.
pub(crate) async fn apply(
    from: &Context,
    to: &Context,
    plan: &CopyPlan,
    progress: Option<Arc<dyn Progress>>,
) -> Result<CopyReport> {
    let ((from, read), (to, written)) = (from.metered(), to.metered());
    let counter = StoredCounter::silent(progress.clone(), Phase::Copy);
    // What an earlier copy has left is counted when it is found to be right.
    let bytes_total = plan.copy.iter().fold(0u64, |sum, planned| sum.saturating_add(planned.bytes));
    counter.report_from_now(plan.copy.len() as u64, bytes_total);
    let transfer = Transfer::new(from.clone(), to.clone(), counter.clone());
    let copies = Copies { transfer, counter, compaction: tokio::sync::Mutex::new(()) };
    let mut outcomes = copies.copy_all(&plan.copy).await?;
    for planned in &plan.existing {
        let copied = copies.completed(planned, CopyOutcome::Existing, planned.target_id.clone()).await;
        outcomes.insert(planned.id.clone(), copied);
    }
    for BlockedCopy { id, name, source, kind, reason } in plan.blocked.clone() {
        let (outcome, kind, error) = (CopyOutcome::Failed, Some(kind), Some(reason));
        let blocked = CopiedSnapshot { id, name, source, outcome, target_id: None, kind, error, annotations: 0 };
        outcomes.insert(blocked.id.clone(), blocked);
    }
    let report = CopyReport {
        snapshots: outcomes.into_values().collect(),
        read_bytes: read.read_bytes(),
        written_bytes: written.written_bytes(),
    };
    if !report.is_complete() {
        // Uploads of what has failed are aborted before the caller goes on.
        to.wait_for_cleanup().await;
    }
    for context in [&from, &to] {
        context.report_notices(progress.as_deref());
    }
    if let Some(listener) = progress.as_deref() {
        listener.transferred(Transferred {
            store_read_bytes: report.read_bytes,
            store_written_bytes: report.written_bytes,
            file_written_bytes: 0,
        });
    }
    Ok(report)
}

struct Copies {
    transfer: Transfer,
    counter: StoredCounter,
    /// Held while a chain is compacted: each compaction may use all the memory that a command has.
    compaction: tokio::sync::Mutex<()>,
}

impl Copies {
    /// Copies several snapshots at a time, each after those that it depends on.
    async fn copy_all(&self, planned: &[PlannedCopy]) -> Result<BTreeMap<String, CopiedSnapshot>> {
        let mut waiting: Vec<&PlannedCopy> = planned.iter().collect();
        let mut unfinished: BTreeSet<&str> = planned.iter().map(|planned| planned.id.as_str()).collect();
        let mut outcomes: BTreeMap<String, CopiedSnapshot> = BTreeMap::new();
        let mut running = FuturesUnordered::new();
        let mut given_up = GivenUp::default();
        loop {
            let is_ready = |planned: &&PlannedCopy| {
                planned.ancestors.iter().all(|ancestor| !unfinished.contains(ancestor.as_str()))
            };
            while running.len() < SNAPSHOTS_AT_ONCE
                && let Some(at) = waiting.iter().position(is_ready)
            {
                let next = waiting.remove(at);
                let reason = given_up.reason().or_else(|| base_is_missing(next, &outcomes));
                running.push(async move {
                    match reason {
                        Some((kind, reason)) => of(next, CopyOutcome::Skipped, None, Some((kind, reason))),
                        None => self.copy(next).await,
                    }
                });
            }
            let Some(copied) = running.next().await else { break };
            given_up.add(&copied);
            unfinished.remove(copied.id.as_str());
            outcomes.insert(copied.id.clone(), copied);
        }
        Ok(outcomes)
    }

    async fn copy(&self, planned: &PlannedCopy) -> CopiedSnapshot {
        let copied = if planned.compact { self.compact(planned).await } else { self.verbatim(planned).await };
        let copied = match copied {
            Ok((outcome, target_id)) => self.completed(planned, outcome, Some(target_id)).await,
            Err(error) => of(planned, CopyOutcome::Failed, None, Some((error.kind(), error.to_string()))),
        };
        self.counter.add_record();
        copied
    }

    async fn verbatim(&self, planned: &PlannedCopy) -> Result<(CopyOutcome, String)> {
        let id: SnapshotId = planned.id.parse()?;
        let ancestors: Vec<SnapshotId> =
            planned.ancestors.iter().map(|id| id.parse()).collect::<Result<_, FormatError>>()?;
        let copied = self.transfer.copy(&id, &ancestors).await;
        let outcome = match copied.map_err(|error| not_copied(&id, error))? {
            Copied::Committed => CopyOutcome::Copied,
            Copied::Existing => CopyOutcome::Existing,
        };
        Ok((outcome, planned.id.clone()))
    }

    async fn compact(&self, planned: &PlannedCopy) -> Result<(CopyOutcome, String)> {
        let id: SnapshotId = planned.id.parse()?;
        let _one_at_a_time = self.compaction.lock().await;
        let Transfer { from, to, .. } = &self.transfer;
        let stored = recorded(from, store_compacted(from, to, &id, None)).await;
        let stored = stored.map_err(|error| not_copied(&id, error))?;
        self.counter.add_bytes(planned.bytes);
        Ok((CopyOutcome::Copied, stored.id))
    }

    /// Pins a snapshot that is in the target and copies its annotations, if the plan says so.
    async fn completed(
        &self,
        planned: &PlannedCopy,
        outcome: CopyOutcome,
        target_id: Option<String>,
    ) -> CopiedSnapshot {
        let Transfer { from, to, .. } = &self.transfer;
        let pin = async {
            match &target_id {
                Some(id) if planned.pin => markers::pin(to, &id.parse()?).await,
                _ => Ok(()),
            }
        };
        let annotate = async {
            match planned.annotations {
                0 => Ok(0),
                _ => annotations::copy(from, to, &planned.id.parse()?).await,
            }
        };
        let pinned =
            pin.await.map_err(|error| (error.kind(), format!("it is there, but could not be pinned: {error}")));
        let annotated = annotate.await.map_err(|error| {
            (error.kind(), format!("it is there, but its annotations could not be copied: {error}; repeat the copy"))
        });
        let annotations = *annotated.as_ref().unwrap_or(&0);
        CopiedSnapshot { annotations, ..of(planned, outcome, target_id, pinned.and(annotated.map(drop)).err()) }
    }
}

fn not_copied(id: &SnapshotId, error: SnapshotError) -> SnapshotError {
    error.while_doing(&format!("copy snapshot {id}"), "it was not committed in the target")
}

fn of(
    planned: &PlannedCopy,
    outcome: CopyOutcome,
    target_id: Option<String>,
    problem: Option<(ErrorKind, String)>,
) -> CopiedSnapshot {
    let (kind, error) = problem.unzip();
    let (id, name, source) = (planned.id.clone(), Some(planned.name.clone()), Some(planned.source.clone()));
    CopiedSnapshot { id, name, source, outcome, target_id, kind, error, annotations: 0 }
}

/// Returns why a snapshot is skipped, if one that it depends on was not copied.
fn base_is_missing(planned: &PlannedCopy, outcomes: &BTreeMap<String, CopiedSnapshot>) -> Option<(ErrorKind, String)> {
    let mut before = planned.ancestors.iter().rev().filter_map(|ancestor| outcomes.get(ancestor));
    let missing = before.find(|copied| copied.target_id.is_none())?;
    let kind = missing.kind.unwrap_or(ErrorKind::Internal);
    Some((kind, format!("it depends on snapshot {}, which was not copied", missing.id)))
}

/// Whether the rest of a plan is still tried. A store that is full or does not answer would fail for each snapshot
/// anew, and an error of the network can take minutes.
#[derive(Default)]
struct GivenUp {
    failures_in_a_row: usize,
    reason: Option<(ErrorKind, String)>,
}

impl GivenUp {
    fn add(&mut self, copied: &CopiedSnapshot) {
        match (copied.outcome, copied.kind) {
            (CopyOutcome::Failed, Some(kind @ (ErrorKind::Unavailable | ErrorKind::PermissionDenied))) => {
                self.failures_in_a_row += 1;
                if self.failures_in_a_row >= FAILURES_IN_A_ROW_MAX {
                    self.give_up(kind, copied);
                }
            }
            (CopyOutcome::Failed, Some(kind @ ErrorKind::StorageFull)) => self.give_up(kind, copied),
            (CopyOutcome::Copied | CopyOutcome::Existing, _) => self.failures_in_a_row = 0,
            _ => {}
        }
    }

    fn give_up(&mut self, kind: ErrorKind, copied: &CopiedSnapshot) {
        let reason = format!("it was not tried, because the copy of snapshot {} had failed: {kind}", copied.id);
        self.reason.get_or_insert((kind, reason));
    }

    fn reason(&self) -> Option<(ErrorKind, String)> {
        self.reason.clone()
    }
}

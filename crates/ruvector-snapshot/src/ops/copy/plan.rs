//! What is to be copied, and what the target has already. Writes nothing.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use futures::stream::{self, StreamExt};
use ruvector_snapshot_format::id::SnapshotId;
use ruvector_snapshot_format::layout::{self, DataFile};
use ruvector_snapshot_format::metadata::SourceInfo;
use serde::Serialize;

use super::places::{check_places, same_store};
use super::state::{compare, corrupt_at, corrupt_copy};
use crate::error::{ErrorKind, Result, SnapshotError, corrupt};
use crate::repo::chain::bring_back;
use crate::repo::chain_checks::{Then, corrupt_since};
use crate::repo::context::Context;
use crate::repo::inventory::Inventory;
use crate::repo::presence::no_snapshot;
use crate::repo::resolve::nameless;
use crate::repo::snapshot_copy::State;
use crate::snapshot::{Snapshot, UnusableSnapshot};
use crate::text::{closest, is_same};

/// Which snapshots are copied. The snapshots that they depend on are copied too.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CopySelection {
    /// The snapshots with these ids.
    Ids(Vec<String>),
    /// All snapshots with this name.
    Named(String),
    /// All snapshots of the store.
    All,
}

/// Options of a copy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CopyOptions {
    /// Whether an incremental snapshot is stored in the target as one full snapshot, with an id of its own, instead of
    /// being copied with the snapshots that it depends on.
    pub compact: bool,
    /// Whether snapshots that are pinned are pinned in the target too.
    pub pins: bool,
}

impl CopyOptions {
    /// Sets whether an incremental snapshot is stored in the target as one full snapshot.
    ///
    /// # Examples
    ///
    /// ```
    /// let options = ruvector_snapshot::CopyOptions::default().compact(true);
    /// assert!(options.compact);
    /// ```
    #[must_use]
    pub fn compact(self, compact: bool) -> Self {
        Self { compact, ..self }
    }

    /// Sets whether snapshots that are pinned are pinned in the target too.
    ///
    /// # Examples
    ///
    /// ```
    /// let options = ruvector_snapshot::CopyOptions::default().pins(true);
    /// assert!(options.pins);
    /// ```
    #[must_use]
    pub fn pins(self, pins: bool) -> Self {
        Self { pins, ..self }
    }
}

/// What is copied, as of the time of the plan.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
#[must_use = "a plan copies nothing until it is applied"]
pub struct CopyPlan {
    /// What is copied, oldest first: each snapshot after those that it depends on.
    pub copy: Vec<PlannedCopy>,
    /// What the target has already, oldest first.
    pub existing: Vec<PlannedCopy>,
    /// What cannot be copied, oldest first.
    pub blocked: Vec<BlockedCopy>,
    /// Whether the target has no snapshots: a new store, or one that is not mounted.
    pub target_is_empty: bool,
    /// Number of snapshots of the plan that are pinned in the source and will not be in the target, because
    /// [`CopyOptions::pins`] is not set.
    pub pins_left: u64,
    /// Whether the store of the snapshots has snapshots of several databases, so that names alone do not say which are meant.
    pub has_several_sources: bool,
    /// What should be known before the plan is applied.
    pub warnings: Vec<String>,
}

impl CopyPlan {
    /// Returns the number of bytes that are still to be copied. Those of compacted snapshots are an estimate: the size
    /// of the chain.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn example(plan: ruvector_snapshot::CopyPlan) {
    /// println!("{} bytes to copy", plan.bytes());
    /// # }
    /// ```
    pub fn bytes(&self) -> u64 {
        let left = self.copy.iter().map(|planned| planned.bytes.saturating_sub(planned.stored_bytes));
        left.fold(0, u64::saturating_add)
    }

    /// Returns the number of annotations that are to be copied: changes of labels and notes that the target does not have.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn example(plan: ruvector_snapshot::CopyPlan) {
    /// println!("{} annotations to copy", plan.annotations());
    /// # }
    /// ```
    pub fn annotations(&self) -> u64 {
        self.copy.iter().chain(&self.existing).map(|planned| planned.annotations).fold(0, u64::saturating_add)
    }
}

/// One snapshot of a [`CopyPlan`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PlannedCopy {
    /// The id of the snapshot in the source.
    pub id: String,
    /// The name of the snapshot.
    pub name: String,
    /// Where its records came from.
    pub source: SourceInfo,
    /// When the snapshot was taken.
    pub created_at: DateTime<Utc>,
    /// The ids of the snapshots that it depends on in the target, the newest first. Empty for a full snapshot and for a
    /// compacted one.
    pub ancestors: Vec<String>,
    /// Whether it is stored in the target as a full snapshot with an id of its own.
    pub compact: bool,
    /// Whether it is to be pinned in the target.
    pub pin: bool,
    /// Number of annotations that the target does not have. A compacted snapshot has none: what they say is stored in it.
    pub annotations: u64,
    /// Number of objects that are read: five, or those of the chain of a compacted snapshot.
    pub objects: u64,
    /// Size of these objects, in bytes.
    pub bytes: u64,
    /// Size of the objects that an interrupted copy has stored in the target, in bytes. They are not copied again.
    pub stored_bytes: u64,
    /// The id in the target. `None` for a compacted snapshot that is not there yet.
    pub target_id: Option<String>,
}

/// A snapshot that cannot be copied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct BlockedCopy {
    /// The id of the snapshot.
    pub id: String,
    /// The name of the snapshot, if it can be read.
    pub name: Option<String>,
    /// Where its records came from, if that can be read.
    pub source: Option<SourceInfo>,
    /// The kind of error that a copy would end with.
    pub kind: ErrorKind,
    /// Why it cannot be copied.
    pub reason: String,
}

/// Plans the copy of snapshots to another store. Writes nothing.
pub(crate) async fn plan(
    from: &Context,
    to: &Context,
    selection: &CopySelection,
    options: CopyOptions,
) -> Result<CopyPlan> {
    check_places(from, to)?;
    let (source, target) = futures::try_join!(Inventory::read(from), Inventory::read(to))?;
    let is_same = from.store.to_string() == to.store.to_string();
    if is_same && source.objects.keys().any(|id| is_same_object(&source, &target, id)) {
        return Err(same_store(from));
    }
    let selected = select(&source, selection)?;
    let mut planner = Planner {
        source: &source,
        target: &target,
        to,
        source_location: from.store.to_string(),
        options,
        blocked: BTreeMap::new(),
        named: BTreeSet::new(),
    };
    let (compacted, mut copied) = planner.partition(selected);
    for id in copied.clone() {
        copied.extend(source.lineage.ancestors(&id).cloned());
    }
    let target_is_empty = target.listing.snapshots.is_empty() && target.listing.unusable.is_empty();
    let mut plan =
        CopyPlan { target_is_empty, has_several_sources: source.listing.has_several_sources(), ..CopyPlan::default() };
    let states = planner.states(from, to, &copied).await;
    // Oldest first, so that a base is decided before its dependents.
    for (id, state) in states {
        planner.add(&mut plan, &id, state)?;
    }
    for id in compacted {
        planner.add_compacted(&mut plan, &id)?;
    }
    plan.blocked = planner.blocked.into_values().collect();
    [&mut plan.copy, &mut plan.existing].into_iter().for_each(|planned| planned.sort_by(|a, b| a.id.cmp(&b.id)));
    plan.warnings.extend(found_corrupt(&source, &plan.copy)?);
    plan.warnings.extend(source.listing.possible_losses().map(|problem| problem.to_string()));
    Ok(plan)
}

/// Returns a warning for each snapshot that a copy reads and that was found corrupt.
fn found_corrupt(source: &Inventory, copied: &[PlannedCopy]) -> Result<Vec<String>> {
    let corrupt_at = |id: &SnapshotId| corrupt_at(source, id.as_str());
    let mut found = BTreeMap::new();
    for planned in copied {
        let id: SnapshotId = planned.id.parse()?;
        let Some(time) = corrupt_at(&id) else { continue };
        // What is corrupt is corrupt in each dependent, with the same time. Only a compaction reads the ancestors, too.
        let mut chain: Vec<_> =
            source.lineage.ancestors(&id).take_while(|base| corrupt_at(base) == Some(time)).collect();
        let origin = chain.pop().unwrap_or(&id).clone();
        if origin == id || planned.compact {
            found.insert(origin, time);
        }
    }
    Ok(found.iter().map(|(id, time)| corrupt_since(id, *time, Then::ReadsAgain)).collect())
}

/// Returns the ids of the selected snapshots, usable or not.
fn select(source: &Inventory, selection: &CopySelection) -> Result<BTreeSet<SnapshotId>> {
    let usable = source.listing.snapshots.iter().map(|snapshot| (snapshot.id.as_str(), Some(snapshot.name.as_str())));
    let unusable = source.listing.unusable.iter().map(|unusable| (unusable.id.as_str(), unusable.name.as_deref()));
    let all: Vec<_> = usable.chain(unusable).collect();
    let chosen: Vec<&str> = match selection {
        CopySelection::Ids(ids) => {
            let is_there = |id: &&String| all.iter().any(|(other, _)| *other == id.as_str());
            if let Some(id) = ids.iter().find(|id| !is_there(id)) {
                return Err(no_snapshot(&id.parse()?));
            }
            ids.iter().map(String::as_str).collect()
        }
        CopySelection::Named(name) => {
            let is_named = |other: &str| is_same(other, name);
            if !all.iter().any(|(_, other)| other.is_some_and(is_named)) {
                if let Some(error) = nameless(&source.listing, name) {
                    return Err(error);
                }
                let names = all.iter().filter_map(|(_, name)| *name);
                let meant = closest(name, names).map(|name| format!("did you mean {name:?}? ")).unwrap_or_default();
                let message = format!("there is no snapshot with the name {name:?}; {meant}`list` shows all snapshots");
                return Err(SnapshotError::new(ErrorKind::NotFound, message));
            }
            // One whose name cannot be read may be meant, and be the newest. It is an error, as with all snapshots.
            all.iter().filter(|(_, other)| other.is_none_or(is_named)).map(|(id, _)| *id).collect()
        }
        CopySelection::All => all.iter().map(|(id, _)| *id).collect(),
    };
    Ok(chosen.into_iter().map(str::parse).collect::<Result<_, _>>()?)
}

/// Decides about one snapshot after the other.
struct Planner<'a> {
    source: &'a Inventory,
    target: &'a Inventory,
    to: &'a Context,
    /// The source, as errors call it.
    source_location: String,
    options: CopyOptions,
    blocked: BTreeMap<SnapshotId, BlockedCopy>,
    /// Snapshots that cannot be used and are not copied themselves, after the first that depends on one has said why.
    named: BTreeSet<SnapshotId>,
}

impl Planner<'_> {
    /// Divides the selected snapshots into those that are compacted and those that are copied as they are.
    fn partition(&self, selected: BTreeSet<SnapshotId>) -> (BTreeSet<SnapshotId>, BTreeSet<SnapshotId>) {
        selected.into_iter().partition(|id| self.options.compact && self.source.lineage.base_of(id).is_some())
    }

    fn snapshot(&self, id: &SnapshotId) -> Option<&Snapshot> {
        find(&self.source.listing.snapshots, id)
    }

    /// Compares each snapshot with what the target has, some at a time.
    async fn states(
        &self,
        from: &Context,
        to: &Context,
        ids: &BTreeSet<SnapshotId>,
    ) -> Vec<(SnapshotId, Result<State>)> {
        let states = ids.iter().map(|id| {
            let usable = self.usable(id).map(drop);
            let is_rescued = usable.is_err() && self.is_rescued(id);
            async move {
                let state = match usable {
                    Ok(()) => compare(from, to, (self.source, self.target), id).await,
                    Err(error) if is_rescued => match compare(from, to, (self.source, self.target), id).await {
                        Ok(State::Existing) => Ok(State::Existing),
                        Ok(State::Free(_)) => Err(error),
                        Err(other) => Err(other),
                    },
                    Err(error) => Err(error),
                };
                (id.clone(), state)
            }
        });
        let states = stream::iter(states.collect::<Vec<_>>()).buffered(from.config.max_concurrent_io);
        states.collect().await
    }

    /// Returns whether a snapshot cannot be used in the source, but what the target has of it can be compared: only its data files
    /// are damaged. So what depends on it can be copied.
    fn is_rescued(&self, id: &SnapshotId) -> bool {
        let mut unusable = self.source.listing.unusable.iter().filter(|unusable| unusable.id == id.as_str());
        unusable.any(UnusableSnapshot::may_be_restorable) && find(&self.target.listing.snapshots, id).is_some()
    }

    /// Returns the warning for a snapshot that cannot be used here, and that the target has. Its data there was not read.
    fn rescued(&self, id: &SnapshotId) -> Option<String> {
        let error = self.source.error_of(id)?;
        Some(format!("snapshot {id} cannot be used here, but the target has it: {error}"))
    }

    /// Returns a snapshot of the source, or why it cannot be used.
    fn usable(&self, id: &SnapshotId) -> Result<&Snapshot> {
        match (self.snapshot(id), self.source.error_of(id)) {
            (Some(snapshot), _) => Ok(snapshot),
            (None, Some(error)) => Err(restated(error)),
            (None, None) => Err(missing_base(id, &self.source_location)),
        }
    }

    fn add(&mut self, plan: &mut CopyPlan, id: &SnapshotId, state: Result<State>) -> Result<()> {
        let ancestors: Vec<SnapshotId> = self.source.lineage.ancestors(id).cloned().collect();
        // The oldest has the cause, and the others only depend on it.
        let state = match ancestors.iter().rev().find(|ancestor| self.blocked.contains_key(*ancestor)) {
            Some(ancestor) if state.is_ok() => Err(self.without_base(ancestor)),
            _ => state,
        };
        let state = match state {
            Ok(state) => state,
            Err(error) => return self.block(id, error),
        };
        let in_target = find(&self.target.listing.snapshots, id);
        let Some(snapshot) = self.snapshot(id).or(in_target) else { return Ok(()) };
        plan.warnings.extend(self.rescued(id));
        plan.warnings.extend(self.overruled(id));
        plan.warnings.extend(self.left_out(id));
        self.count_pin(plan, snapshot, Some(id));
        let planned = PlannedCopy {
            ancestors: ancestors.iter().map(ToString::to_string).collect(),
            compact: false,
            pin: self.is_to_be_pinned(snapshot, Some(id)),
            annotations: self.annotations(id),
            objects: layout::FILES.len() as u64,
            bytes: snapshot.size_bytes,
            stored_bytes: stored_bytes(snapshot, &state),
            target_id: Some(id.to_string()),
            id: snapshot.id.clone(),
            name: snapshot.name.clone(),
            source: snapshot.source.clone(),
            created_at: snapshot.created_at,
        };
        match state {
            State::Existing => plan.existing.push(planned),
            State::Free(_) => plan.copy.push(planned),
        }
        Ok(())
    }

    /// A chain that is stored as a full snapshot is in the target if a full snapshot of the same state is there.
    fn add_compacted(&mut self, plan: &mut CopyPlan, id: &SnapshotId) -> Result<()> {
        let chain: Vec<SnapshotId> = std::iter::once(id).chain(self.source.lineage.ancestors(id)).cloned().collect();
        let unusable = chain.iter().rev().find_map(|member| Some((member, self.usable(member).err()?)));
        if let Some((member, error)) = unusable {
            let is_said = self.blocked.contains_key(member) || !self.named.insert(member.clone());
            return self.block(id, if is_said { unusable_base(member, error.kind()) } else { error });
        }
        let members = chain.iter().map(|member| self.usable(member)).collect::<Result<Vec<_>>>()?;
        let Some(snapshot) = members.first() else { return Ok(()) };
        let existing = match self.target.listing.compacted_copy_of(snapshot) {
            Some((existing, Some(corrupt_at))) => {
                return self.block(id, corrupt_copy(self.to, &existing.id, corrupt_at));
            }
            existing => existing.map(|(existing, _)| existing),
        };
        // A compaction stores what the annotations say.
        if existing.is_none()
            && let Some(Err(error)) = self.source.annotations.get(id).map(|annotations| annotations.check_all_read(id))
        {
            return self.block(id, error);
        }
        let existing_id: Option<SnapshotId> = existing.map(|existing| existing.id.parse()).transpose()?;
        self.count_pin(plan, snapshot, existing_id.as_ref());
        let planned = PlannedCopy {
            ancestors: Vec::new(),
            compact: true,
            pin: self.is_to_be_pinned(snapshot, existing_id.as_ref()),
            annotations: 0,
            objects: (members.len() * layout::FILES.len()) as u64,
            bytes: members.iter().fold(0, |sum, member| sum.saturating_add(member.size_bytes)),
            stored_bytes: 0,
            target_id: existing.map(|existing| existing.id.clone()),
            id: snapshot.id.clone(),
            name: snapshot.name.clone(),
            source: snapshot.source.clone(),
            created_at: snapshot.created_at,
        };
        match existing {
            Some(existing) => {
                plan.warnings.extend(other_remarks(snapshot, existing));
                plan.existing.push(planned);
            }
            None => plan.copy.push(planned),
        }
        Ok(())
    }

    /// Returns the error of a snapshot that depends on a blocked one. Its own error says why.
    fn without_base(&self, base_id: &SnapshotId) -> SnapshotError {
        unusable_base(base_id, self.blocked.get(base_id).map_or(ErrorKind::Internal, |blocked| blocked.kind))
    }

    /// Returns a warning for each annotation that cannot be read, and is not copied for that reason.
    fn left_out(&self, id: &SnapshotId) -> Vec<String> {
        let problems = self.source.annotations.get(id).map(|annotations| annotations.problems(id)).unwrap_or_default();
        let warning = |problem: &String| {
            format!(
                "an annotation of snapshot {id} cannot be read and is not copied, so labels and note of the copy may be others: \
                 {problem}; `annotate` the snapshot, which replaces what is corrupt, and repeat the copy"
            )
        };
        problems.iter().map(warning).collect()
    }

    /// Returns a warning if annotations are to be copied that have no effect in the target.
    fn overruled(&self, id: &SnapshotId) -> Option<String> {
        let (own, theirs) = (self.source.annotations.get(id)?, self.target.annotations.get(id)?);
        let overruled = own.overruled_by(theirs);
        (self.annotations(id) > 0 && !overruled.is_empty()).then(|| {
            format!(
                "annotations of snapshot {id} are copied without effect on {}: the target has more changes of it, which count there; \
                 annotate it there",
                overruled.join(", ")
            )
        })
    }

    fn annotations(&self, id: &SnapshotId) -> u64 {
        let Some(annotations) = self.source.annotations.get(id) else { return 0 };
        annotations.needed().filter(|file| !self.target.has(id, file)).count() as u64
    }

    fn is_to_be_pinned(&self, snapshot: &Snapshot, in_target: Option<&SnapshotId>) -> bool {
        self.options.pins && self.lacks_pin(snapshot, in_target)
    }

    /// Returns whether a snapshot is pinned in the source, and not in the target.
    fn lacks_pin(&self, snapshot: &Snapshot, in_target: Option<&SnapshotId>) -> bool {
        let is_pinned = in_target.is_some_and(|id| self.target.has(id, layout::PINNED_JSON));
        snapshot.pinned && !is_pinned
    }

    fn count_pin(&self, plan: &mut CopyPlan, snapshot: &Snapshot, in_target: Option<&SnapshotId>) {
        plan.pins_left += u64::from(!self.options.pins && self.lacks_pin(snapshot, in_target));
    }

    /// Records why a snapshot cannot be copied. A limit of this process says nothing of the snapshot, and ends the
    /// plan.
    fn block(&mut self, id: &SnapshotId, error: SnapshotError) -> Result<()> {
        if error.is_of_process() {
            return Err(error);
        }
        let (name, source) = self.snapshot(id).map(|snapshot| (snapshot.name.clone(), snapshot.source.clone())).unzip();
        let (kind, reason) = (error.kind(), error.to_string());
        self.blocked.insert(id.clone(), BlockedCopy { id: id.to_string(), name, source, kind, reason });
        Ok(())
    }
}

/// Returns whether both listings have the same object, and not one and a copy of it: a copy is written later.
fn is_same_object(source: &Inventory, target: &Inventory, id: &SnapshotId) -> bool {
    let [one, other] = [source, target].map(|inventory| inventory.objects.get(id)?.get(layout::METADATA_JSON));
    one.zip(other).is_some_and(|(one, other)| one == other)
}

/// Returns the error for a snapshot that is not in the source, and that a selected one depends on: that is corrupt without it.
fn missing_base(id: &SnapshotId, source: &str) -> SnapshotError {
    corrupt(format!(
        "snapshot {id}, on which others depend, is not in the store of the snapshots; {}",
        bring_back(id.as_str(), source)
    ))
}

/// Returns the warning for a compacted copy whose labels or note are not those that its source has now: annotations are objects
/// of one snapshot, and the copy is another one.
fn other_remarks(snapshot: &Snapshot, copy: &Snapshot) -> Option<String> {
    let is_same = snapshot.labels == copy.labels && snapshot.note == copy.note;
    (!is_same).then(|| {
        format!(
            "the labels or the note of snapshot {} are others than those of {}, its compacted copy in the target, and are not copied; \
             annotate the copy",
            snapshot.id, copy.id
        )
    })
}

fn find<'a>(snapshots: &'a [Snapshot], id: &SnapshotId) -> Option<&'a Snapshot> {
    snapshots.iter().find(|snapshot| snapshot.id == id.as_str())
}

/// Returns how much an earlier attempt has stored.
fn stored_bytes(snapshot: &Snapshot, state: &State) -> u64 {
    let State::Free(objects) = state else { return 0 };
    let sizes = DataFile::ALL.into_iter().filter_map(|file| {
        let expected = *snapshot.files.get(file.name())?;
        objects.get(file.name()).filter(|object| object.size_bytes == expected).map(|_| expected)
    });
    sizes.fold(0, u64::saturating_add)
}

fn unusable_base(base_id: &SnapshotId, kind: ErrorKind) -> SnapshotError {
    SnapshotError::new(kind, format!("it depends on snapshot {base_id}, which cannot be copied"))
}

/// Returns an error of the listing as one of the plan.
fn restated(error: &SnapshotError) -> SnapshotError {
    SnapshotError::new(error.kind(), error.to_string())
}

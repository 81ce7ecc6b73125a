//! Find: in which snapshots a record is, and in which it changed, from indexes alone.

use std::collections::HashSet;

use futures::stream::{self, StreamExt, TryStreamExt};
use ruvector_snapshot_format::block::{IndexedRow, RowKind};
use ruvector_snapshot_format::checksum::{Digest, hex};
use ruvector_snapshot_format::id::SnapshotId;

use crate::error::{ErrorKind, Result, SnapshotError};
use crate::policy::retention::GroupBy;
use crate::repo::chain_checks::{Then, corrupt_since};
use crate::repo::context::Context;
use crate::repo::found_corrupt::recorded;
use crate::repo::history::row_of;
use crate::snapshot::{Listing, Snapshot, UnusableSnapshot};

/// What became of a record from one snapshot to the next one of the same source.
///
/// # Examples
///
/// ```
/// use ruvector_snapshot::RecordState;
///
/// assert!(RecordState::Added.is_present() && !RecordState::Removed.is_present());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordState {
    /// The snapshot does not have the record, and neither has the snapshot before it.
    Absent,
    /// The snapshot has the record, and the snapshot before it does not, or there is none.
    Added,
    /// The snapshot has the record. Whether the snapshot before it has it is not known, because that cannot be read.
    Present,
    /// Both have the record, with the same vector and the same metadata.
    Same,
    /// The vector has changed. The metadata may have changed too.
    VectorChanged,
    /// The metadata has changed, and the vector has not.
    MetadataChanged,
    /// The vector, the metadata or both have changed. The index does not say which if the snapshot is full, or if the
    /// metadata has or had several megabytes.
    Changed,
    /// The snapshot does not have the record, and the snapshot before it has.
    Removed,
    /// Not known, because a snapshot that this one depends on is missing or cannot be read.
    Unknown,
}

impl RecordState {
    /// Returns whether the snapshot has the record.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(ruvector_snapshot::RecordState::Same.is_present());
    /// ```
    pub fn is_present(self) -> bool {
        !matches!(self, Self::Absent | Self::Removed | Self::Unknown)
    }
}

/// What one snapshot has of a record.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct FoundRecord {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// What became of the record, compared with the snapshot before it of the same source: for an increment its base, for
    /// a full snapshot the newest older one.
    pub state: RecordState,
    /// The digest of the record, in hexadecimal, if the snapshot has it. Equal records have equal digests.
    pub digest: Option<String>,
}

/// Where a record is.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct FindReport {
    /// The id of the record.
    pub record_id: String,
    /// What each snapshot of the store that can be used has of it, newest first.
    pub snapshots: Vec<FoundRecord>,
    /// The ids of the snapshots that cannot be used, newest first. Whether they have the record is not known.
    pub unusable: Vec<String>,
    /// Why the state of snapshots is not known.
    pub problems: Vec<String>,
}

impl FindReport {
    /// Returns whether a snapshot has the record.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(manager: ruvector_snapshot::SnapshotManager) -> ruvector_snapshot::Result<()> {
    /// if !manager.find_record("doc-17").await?.is_found() {
    ///     println!("no snapshot has it");
    /// }
    /// # Ok(()) }
    /// ```
    pub fn is_found(&self) -> bool {
        self.snapshots.iter().any(|found| found.state.is_present())
    }
}

/// Looks for a record in all snapshots of a listing.
pub(crate) async fn find(context: &Context, listing: Listing, record_id: &str) -> Result<FindReport> {
    let warnings = listing.checks.iter().filter_map(|(id, checks)| {
        let (id, corrupt_at) = (id.parse().ok()?, checks.corrupt_at()?);
        Some(corrupt_since(&id, corrupt_at, Then::ReadsIndex))
    });
    warnings.for_each(|warning| context.notices.add(&warning));
    let unusable = listing.unusable.iter().map(|unusable| format!("{}: {}", unusable.id, unusable.error));
    let mut unusable_ids: Vec<String> = listing.unusable.iter().map(|unusable| unusable.id.clone()).collect();
    unusable_ids.sort_by(|a, b| b.cmp(a));
    let (mut snapshots, mut problems) = (listing.snapshots, unusable.collect::<Vec<_>>());
    let usable = snapshots.iter().map(|snapshot| snapshot.id.clone());
    let listed: HashSet<String> = usable.chain(listing.unusable.iter().map(|unusable| unusable.id.clone())).collect();
    let mut gaps: Vec<Gap> = listing.unusable.into_iter().map(Gap::of).collect();
    let rows = snapshots.iter().map(|snapshot| own_row(context, snapshot, record_id)).collect::<Vec<_>>();
    let mut rows: Vec<_> = stream::iter(rows).buffered(context.config.max_concurrent_io).try_collect().await?;
    // Oldest first: a state depends on older ones only.
    snapshots.reverse();
    rows.reverse();
    let mut states: Vec<State> = Vec::with_capacity(snapshots.len());
    for (snapshot, row) in snapshots.iter().zip(rows) {
        let before = before(snapshot, &snapshots, &states);
        let state = row.map(|row| State::after(snapshot, row, before.map(|(_, state)| state)));
        let is_after_gap = || gaps.iter().any(|gap| gap.is_between(before.map(|(other, _)| other), snapshot));
        let state = state.map(|state| match state.state {
            RecordState::Added if is_after_gap() => State { state: RecordState::Present, ..state },
            _ => state,
        });
        problems.extend(match &state {
            Err(error) => Some(format!("{}: {error}", snapshot.id)),
            Ok(state) if state.state == RecordState::Unknown => missing_base(snapshot, &listed),
            Ok(_) => None,
        });
        let state = state.unwrap_or(State::UNKNOWN);
        if state.state == RecordState::Unknown {
            gaps.push(Gap { id: snapshot.id.clone(), source: Some(snapshot.source.id_or_kind()) });
        }
        states.push(state);
    }
    let found = snapshots.into_iter().zip(states).rev().map(|(snapshot, State { digest, state, .. })| FoundRecord {
        snapshot,
        state,
        digest: digest.map(|digest| hex(&digest)),
    });
    let (record_id, unusable) = (record_id.to_owned(), unusable_ids);
    Ok(FindReport { record_id, snapshots: found.collect(), unusable, problems })
}

/// Says that the base of a snapshot is missing. `None` if it is listed: if it cannot be used, that was said of it.
fn missing_base(snapshot: &Snapshot, listed: &HashSet<String>) -> Option<String> {
    let base_id = snapshot.base_id().filter(|base_id| !listed.contains(*base_id))?;
    Some(format!("{}, and of those that depend on it: its base {base_id} is missing", snapshot.id))
}

/// Returns the state that a snapshot is compared with: that of its base, or for a full snapshot the newest one of the same
/// source that is known. `states` are those of the first snapshots, oldest first.
fn before<'a>(snapshot: &Snapshot, snapshots: &'a [Snapshot], states: &[State]) -> Option<(&'a Snapshot, State)> {
    let older = snapshots.iter().zip(states).rev();
    let mut comparable = older.filter(|(other, state)| match snapshot.base_id() {
        Some(base_id) => other.id == base_id,
        None => {
            let is_of_same_source = GroupBy::Source.group_of(other) == GroupBy::Source.group_of(snapshot);
            is_of_same_source && state.state != RecordState::Unknown
        }
    });
    comparable.next().map(|(other, state)| (other, *state))
}

/// A snapshot of which it is not known whether it has the record.
struct Gap {
    id: String,
    /// `None` if it cannot be read.
    source: Option<String>,
}

impl Gap {
    fn of(unusable: UnusableSnapshot) -> Self {
        Self { id: unusable.id, source: unusable.source.map(|source| source.id_or_kind()) }
    }

    /// Returns whether it lies between a snapshot and the one that it is compared with, if there is one. An increment has no
    /// gap before it.
    fn is_between(&self, other: Option<&Snapshot>, snapshot: &Snapshot) -> bool {
        let is_of_source = self.source.as_ref().is_none_or(|source| *source == snapshot.source.id_or_kind());
        let is_later = other.is_none_or(|other| other.id < self.id);
        snapshot.base_id().is_none() && is_of_source && is_later && self.id < snapshot.id
    }
}

/// What a snapshot, with all that it depends on, has of the record.
#[derive(Debug, Clone, Copy)]
struct State {
    digest: Option<Digest>,
    has_large_metadata: bool,
    state: RecordState,
}

impl State {
    const UNKNOWN: Self = Self { digest: None, has_large_metadata: false, state: RecordState::Unknown };

    /// Returns the state of a snapshot with this row, after the state `before`.
    fn after(snapshot: &Snapshot, row: Option<IndexedRow>, before: Option<Self>) -> Self {
        let is_increment = snapshot.base_id().is_some();
        // A full snapshot does not depend on the one before it. It is only compared with it.
        if is_increment && before.is_none_or(|before| before.state == RecordState::Unknown) {
            return Self::UNKNOWN;
        }
        let had = before.and_then(|before| before.digest);
        let had_large_metadata = before.is_some_and(|before| before.has_large_metadata);
        let (digest, has_large_metadata) = match row {
            None if is_increment => (had, had_large_metadata),
            None | Some(IndexedRow { kind: RowKind::Tombstone, .. }) => (None, false),
            Some(row) => (Some(row.digest), row.has_large_metadata),
        };
        let state = match (had, digest) {
            (None, None) => RecordState::Absent,
            (None, Some(_)) => RecordState::Added,
            (Some(_), None) => RecordState::Removed,
            (Some(had), Some(has)) if had == has => RecordState::Same,
            (Some(_), Some(_)) => match row.map(|row| row.kind) {
                _ if !is_increment => RecordState::Changed,
                Some(RowKind::WithoutVector) => RecordState::MetadataChanged,
                _ if has_large_metadata || had_large_metadata => RecordState::Changed,
                _ => RecordState::VectorChanged,
            },
        };
        Self { digest, has_large_metadata, state }
    }
}

/// Returns the row of a snapshot itself. An error that concerns only this snapshot is part of the result.
async fn own_row(context: &Context, snapshot: &Snapshot, record_id: &str) -> Result<Result<Option<IndexedRow>>> {
    let id: SnapshotId = snapshot.id.parse()?;
    match recorded(context, row_of(context, &id, record_id)).await {
        Err(error) if concerns_one(&error) => Ok(Err(error)),
        Err(error) => Err(error),
        Ok(row) => Ok(Ok(row)),
    }
}

fn concerns_one(error: &SnapshotError) -> bool {
    matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NotFound | ErrorKind::Unsupported)
}

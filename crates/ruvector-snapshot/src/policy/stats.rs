//! What the snapshots of a store add up to: [`StoreStats`]. A pure function of a listing and a time.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;

use super::list_filter::ListFilter;
use crate::snapshot::ancestry::{Ancestries, ChainEnd};
use crate::snapshot::checks::Checks;
use crate::snapshot::{Listing, Snapshot};

/// What the snapshots of a store add up to.
///
/// # Examples
///
/// ```
/// # async fn example(manager: ruvector_snapshot::SnapshotManager) -> Result<(), Box<dyn std::error::Error>> {
/// use ruvector_snapshot::ListFilter;
///
/// let stats = manager.stats(&ListFilter::default()).await?;
/// for source in &stats.sources {
///     println!("{}: {} bytes", source.source, source.totals.stored_bytes);
/// }
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct StoreStats {
    /// All snapshots that can be restored, as far as is known, and are not dated in the future.
    pub totals: StatsTotals,
    /// The full ones of these.
    pub full: StatsTotals,
    /// The incremental ones of these.
    pub incremental: StatsTotals,
    /// What is known of each database, in the order of their names.
    pub sources: Vec<SourceStats>,
    /// What was added on each day of UTC on which a snapshot was taken, the oldest first.
    pub days: Vec<DayStats>,
    /// Bytes that are added to the store in a day, on average: those of all snapshots but the oldest, divided by the
    /// days from the oldest to the newest. `None` if that is less than a day.
    pub stored_bytes_per_day: Option<f64>,
    /// Snapshots that were found corrupt, that are [damaged](Listing::damaged) or depend on one that is, or whose chain is broken.
    /// Not in the other numbers.
    pub corrupt: StatsTotals,
    /// Snapshots that are dated in the future. Not in the other numbers.
    pub dated_in_future: StatsTotals,
    /// Number of snapshots whose metadata cannot be used, whatever the filter is. Not in the other numbers.
    pub unusable: u64,
    /// Number of uploads that [may be snapshots](Listing::possibly_lost), whatever the filter is. Not in the other numbers.
    pub possibly_lost: u64,
}

/// Several snapshots together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct StatsTotals {
    /// Number of snapshots.
    pub snapshots: u64,
    /// Bytes of their objects in the store.
    pub stored_bytes: u64,
    /// Bytes of their files, uncompressed.
    pub logical_bytes: u64,
}

/// The snapshots of one database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SourceStats {
    /// The name of the source, or the host and the path of the database, or else its kind.
    pub source: String,
    /// All snapshots of it.
    pub totals: StatsTotals,
    /// Number of the full ones.
    pub full: u64,
    /// Number of the incremental ones.
    pub incremental: u64,
    /// Number of records in the newest snapshot.
    pub records: u64,
    /// When the oldest snapshot was taken.
    pub oldest_at: DateTime<Utc>,
    /// When the newest snapshot was taken.
    pub newest_at: DateTime<Utc>,
}

/// The snapshots of one day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DayStats {
    /// The day, in UTC.
    pub date: NaiveDate,
    /// The snapshots that were taken on it.
    pub totals: StatsTotals,
}

impl StatsTotals {
    fn add(&mut self, snapshot: &Snapshot) {
        self.snapshots += 1;
        self.stored_bytes = self.stored_bytes.saturating_add(snapshot.size_bytes);
        self.logical_bytes = self.logical_bytes.saturating_add(snapshot.raw_bytes);
    }

    fn of<'a>(snapshots: impl IntoIterator<Item = &'a Snapshot>) -> Self {
        let mut totals = Self::default();
        snapshots.into_iter().for_each(|snapshot| totals.add(snapshot));
        totals
    }
}

impl StoreStats {
    /// Returns what the snapshots of a listing that a filter accepts add up to.
    ///
    /// # Examples
    ///
    /// ```
    /// use ruvector_snapshot::{ListFilter, Listing, StoreStats};
    ///
    /// let listing = Listing::default();
    /// let stats = StoreStats::of(&listing, &ListFilter::default(), listing.listed_at);
    /// assert_eq!(stats, StoreStats::default());
    /// ```
    pub fn of(listing: &Listing, filter: &ListFilter, now: DateTime<Utc>) -> Self {
        let future: BTreeSet<&str> = listing.dated_in_future.iter().map(String::as_str).collect();
        let mut selected = filter.select(listing, now);
        selected.sort_by_key(|snapshot| snapshot.created_at);
        let ancestries = listing.ancestries();
        let (corrupt, sound): (Vec<&Snapshot>, Vec<_>) =
            selected.into_iter().partition(|snapshot| is_corrupt(listing, &ancestries, snapshot));
        let (future, sound): (Vec<&Snapshot>, Vec<_>) =
            sound.into_iter().partition(|snapshot| future.contains(snapshot.id.as_str()));
        let of_type =
            |full: bool| StatsTotals::of(sound.iter().copied().filter(|snapshot| snapshot.base_id().is_none() == full));
        Self {
            totals: StatsTotals::of(sound.iter().copied()),
            full: of_type(true),
            incremental: of_type(false),
            sources: sources(&sound),
            days: days(&sound),
            stored_bytes_per_day: per_day(&sound),
            corrupt: StatsTotals::of(corrupt),
            dated_in_future: StatsTotals::of(future),
            unusable: listing.unusable.len() as u64,
            possibly_lost: listing.possibly_lost.len() as u64,
        }
    }
}

fn is_corrupt(listing: &Listing, ancestries: &Ancestries<'_>, snapshot: &Snapshot) -> bool {
    let is_found = listing.checks_of(&snapshot.id).and_then(Checks::corrupt_at).is_some();
    let ancestry = ancestries.of(snapshot);
    // Of a base that could not be read nothing is known.
    let is_unread = |id: &String| listing.unusable.iter().any(|unusable| unusable.id == *id && unusable.is_unread());
    let is_damaged = |id: &String| listing.damaged.contains_key(id);
    is_found
        || std::iter::once(&snapshot.id).chain(&ancestry.ids).any(is_damaged)
        || match ancestry.end {
            ChainEnd::Missing => true,
            ChainEnd::Unusable => !ancestry.ids.last().is_some_and(is_unread),
            ChainEnd::Full | ChainEnd::Deleting => false,
        }
}

/// Returns what is known of each source. The snapshots are oldest first.
fn sources(snapshots: &[&Snapshot]) -> Vec<SourceStats> {
    let mut sources: BTreeMap<String, SourceStats> = BTreeMap::new();
    for snapshot in snapshots {
        let source = snapshot.source.id_or_kind();
        let stats = sources.entry(source.clone()).or_insert_with(|| SourceStats {
            source,
            totals: StatsTotals::default(),
            full: 0,
            incremental: 0,
            records: 0,
            oldest_at: snapshot.created_at,
            newest_at: snapshot.created_at,
        });
        stats.totals.add(snapshot);
        *if snapshot.base_id().is_none() { &mut stats.full } else { &mut stats.incremental } += 1;
        (stats.records, stats.newest_at) = (snapshot.vector_count as u64, snapshot.created_at);
    }
    sources.into_values().collect()
}

fn days(snapshots: &[&Snapshot]) -> Vec<DayStats> {
    let mut days: BTreeMap<NaiveDate, StatsTotals> = BTreeMap::new();
    for snapshot in snapshots {
        days.entry(snapshot.created_at.date_naive()).or_default().add(snapshot);
    }
    days.into_iter().map(|(date, totals)| DayStats { date, totals }).collect()
}

fn per_day(snapshots: &[&Snapshot]) -> Option<f64> {
    let (oldest, others) = snapshots.split_first()?;
    let seconds = others.last()?.created_at.signed_duration_since(oldest.created_at).num_seconds();
    let days = seconds as f64 / 86_400.0;
    let stored = StatsTotals::of(others.iter().copied()).stored_bytes as f64;
    (days >= 1.0).then(|| stored / days)
}

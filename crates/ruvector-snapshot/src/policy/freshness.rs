//! Whether the databases of a store are backed up: [`Freshness`]. A pure function of a listing, limits and a time.
//!
//! A backup that has stopped reports no failure. So this does not ask what has run, but what is there: a database is stale
//! unless it has a snapshot that is young enough and can be relied on.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use ruvector_snapshot_format::metadata::SourceInfo;
use serde::Serialize;

use super::retention::Span;
use crate::snapshot::ancestry::Ancestries;
use crate::snapshot::checks::Checks;
use crate::snapshot::compacted::is_same_state;
use crate::snapshot::problems::{SnapshotProblem, database_of, shown_files, taken_in_turn};
use crate::snapshot::{Listing, Orphan, Snapshot};
use crate::text::{self, is_same, utc_time};

/// How old what is known of a database may be. Start from `default()`.
///
/// # Examples
///
/// ```
/// use ruvector_snapshot::FreshnessLimits;
///
/// let limits = FreshnessLimits::default().max_age("8d".parse()?).max_verify_age("30d".parse()?);
/// assert_eq!(limits.shrink_percent, 50);
/// # Ok::<(), ruvector_snapshot::SnapshotError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FreshnessLimits {
    /// How old the newest snapshot of a database may be that can be restored, as far as is known. Default: 26 hours.
    pub max_age: Span,
    /// How long ago a snapshot of a database may have been verified to the last byte. `None`: it need not be verified.
    pub max_verify_age: Option<Span>,
    /// How long ago a snapshot of a database may have been restored as a drill. `None`: no drill is needed.
    pub max_drill_age: Option<Span>,
    /// By how many percent of its records the newest snapshot may be smaller than one before it: than any that was taken within
    /// seven days, or [`max_age`](Self::max_age) if that is longer, and the last one. Default: 50. It may lose all of them if this
    /// is 100.
    pub shrink_percent: u8,
    /// The databases that must have snapshots: the name of a source, or `HOST:PATH` of a database file. If there are any, only
    /// these are checked. If there are none, every database that has a snapshot is, and every one of `expected`.
    pub sources: Vec<String>,
    /// The databases that are backed up on a schedule, as in `sources`, and how old the newest snapshot of each may be. `None`: as
    /// old as that of any other. Without a snapshot, they are stale.
    pub expected: BTreeMap<String, Option<Span>>,
}

impl Default for FreshnessLimits {
    fn default() -> Self {
        let max_age = Span { hours: 26, ..Span::default() };
        let (sources, expected) = (Vec::new(), BTreeMap::new());
        Self { max_age, max_verify_age: None, max_drill_age: None, shrink_percent: 50, sources, expected }
    }
}

impl FreshnessLimits {
    /// Sets how old the newest snapshot of a database may be.
    ///
    /// ```
    /// # use ruvector_snapshot::FreshnessLimits;
    /// assert_eq!(FreshnessLimits::default().max_age("8d".parse()?).max_age.days, 8);
    /// # Ok::<(), ruvector_snapshot::SnapshotError>(())
    /// ```
    #[must_use]
    pub fn max_age(self, max_age: Span) -> Self {
        Self { max_age, ..self }
    }

    /// Requires a verification of every byte that is not older than this.
    ///
    /// ```
    /// # use ruvector_snapshot::FreshnessLimits;
    /// assert!(FreshnessLimits::default().max_verify_age("8d".parse()?).max_verify_age.is_some());
    /// # Ok::<(), ruvector_snapshot::SnapshotError>(())
    /// ```
    #[must_use]
    pub fn max_verify_age(self, max_age: Span) -> Self {
        Self { max_verify_age: Some(max_age), ..self }
    }

    /// Requires a drill that is not older than this.
    ///
    /// ```
    /// # use ruvector_snapshot::FreshnessLimits;
    /// assert!(FreshnessLimits::default().max_drill_age("2mo".parse()?).max_drill_age.is_some());
    /// # Ok::<(), ruvector_snapshot::SnapshotError>(())
    /// ```
    #[must_use]
    pub fn max_drill_age(self, max_age: Span) -> Self {
        Self { max_drill_age: Some(max_age), ..self }
    }

    /// Sets by how many percent of its records the newest snapshot may be smaller than one before it.
    ///
    /// ```
    /// # use ruvector_snapshot::FreshnessLimits;
    /// assert_eq!(FreshnessLimits::default().shrink_percent(20).shrink_percent, 20);
    /// ```
    #[must_use]
    pub fn shrink_percent(self, shrink_percent: u8) -> Self {
        Self { shrink_percent, ..self }
    }

    /// Requires snapshots of this database, and checks only those that are required.
    ///
    /// ```
    /// # use ruvector_snapshot::FreshnessLimits;
    /// assert_eq!(FreshnessLimits::default().source("articles").sources, ["articles"]);
    /// ```
    #[must_use]
    pub fn source(mut self, source: impl Into<String>) -> Self {
        self.sources.push(source.into());
        self
    }

    /// Expects snapshots of this database, and checks others too. If it was expected before, the shorter age counts.
    ///
    /// ```
    /// # use ruvector_snapshot::FreshnessLimits;
    /// let limits = FreshnessLimits::default().expect("articles", Some("2h".parse()?));
    /// assert_eq!(limits.expected["articles"], Some("2h".parse()?));
    /// # Ok::<(), ruvector_snapshot::SnapshotError>(())
    /// ```
    #[must_use]
    pub fn expect(mut self, source: impl Into<String>, max_age: Option<Span>) -> Self {
        let known = self.expected.entry(source.into()).or_default();
        *known = known.iter().copied().chain(max_age).min_by_key(|span| span.longest());
        self
    }

    /// Returns how old the newest snapshot of a source may be.
    fn max_age_of(&self, source: &str) -> Span {
        let expected = self.expected.iter().find(|(expected, _)| is_same(source, expected));
        expected.and_then(|(_, max_age)| *max_age).unwrap_or(self.max_age)
    }
}

/// Whether the databases of a store are backed up.
///
/// # Examples
///
/// ```
/// # async fn example(manager: ruvector_snapshot::SnapshotManager) -> Result<(), Box<dyn std::error::Error>> {
/// use ruvector_snapshot::FreshnessLimits;
///
/// let freshness = manager.freshness(&FreshnessLimits::default()).await?;
/// for reason in freshness.reasons() {
///     println!("STALE: {reason}");
/// }
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Freshness {
    /// When the store was listed, by the clock of this machine: what ages are counted from.
    pub checked_at: DateTime<Utc>,
    /// What is known of each database, in the order of their names.
    pub databases: Vec<DatabaseFreshness>,
    /// Why the store is stale, whatever its databases are.
    pub stale: Vec<StaleReason>,
    /// The databases that have snapshots and are not checked, because others are required.
    pub not_checked: Vec<String>,
    /// Number of things that belong to no snapshot, and are older than the grace period.
    pub orphans: u64,
    /// Their size, in bytes.
    pub orphan_bytes: u64,
}

/// Whether a database is backed up.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct DatabaseFreshness {
    /// The name of the source, or the host and the path of the database, or else its kind.
    pub source: String,
    /// Number of its snapshots that can be restored, as far as is known.
    pub snapshots: u64,
    /// Bytes of the objects of these snapshots in the store.
    pub stored_bytes: u64,
    /// The newest of these snapshots. `None` if there is none.
    pub newest: Option<NewestSnapshot>,
    /// When one of these snapshots was last verified to the last byte. `None` if that was never done.
    pub verified_at: Option<DateTime<Utc>>,
    /// When one of these snapshots was last restored as a drill. `None` if that was never done.
    pub drilled_at: Option<DateTime<Utc>>,
    /// Why it is stale. Empty if it is fresh.
    pub stale: Vec<StaleReason>,
}

/// The newest snapshot of a database that can be restored, as far as is known.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct NewestSnapshot {
    /// The id.
    pub id: String,
    /// When it was taken.
    pub created_at: DateTime<Utc>,
    /// How long ago that was, in seconds. Not less than 0.
    pub age_seconds: u64,
    /// Number of its records.
    pub records: u64,
    /// Number of snapshots in its chain, itself included.
    pub chain_length: u64,
    /// Number of records that it has more than the snapshot before it. Negative if it has fewer. `None` if it is the first.
    pub records_added: Option<i64>,
}

/// Why a store or a database is stale.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum StaleReason {
    /// The store has no snapshots.
    EmptyStore,
    /// There is no snapshot of the database that can be restored, as far as is known.
    NoSnapshot,
    /// The newest snapshot is older than is allowed.
    TooOld {
        /// When it was taken.
        created_at: DateTime<Utc>,
        /// How old it may be, such as `26h`.
        max_age: String,
    },
    /// No snapshot was verified to the last byte within the time that is allowed.
    NotVerified {
        /// When one was last verified. `None` if none was.
        verified_at: Option<DateTime<Utc>>,
        /// How long ago that may be.
        max_age: String,
    },
    /// No snapshot was restored as a drill within the time that is allowed.
    NotDrilled {
        /// When one last was. `None` if none was.
        drilled_at: Option<DateTime<Utc>>,
        /// How long ago that may be.
        max_age: String,
    },
    /// The last drill of a snapshot has failed.
    DrillFailed {
        /// The id of the snapshot.
        id: String,
        /// When the drill failed.
        at: DateTime<Utc>,
    },
    /// The newest snapshot has many fewer records than one before it.
    Shrunken {
        /// Number of records of the newest snapshot.
        records: u64,
        /// The id of the snapshot before it that has the most.
        earlier_id: String,
        /// Number of records of that.
        earlier_records: u64,
    },
    /// A snapshot cannot be relied on.
    Problem {
        /// Which snapshot, and why.
        problem: SnapshotProblem,
    },
    /// A snapshot is dated in the future. It does not count.
    DatedInFuture {
        /// The id of the snapshot.
        id: String,
    },
    /// Snapshots of two files with the same name of a source were taken in turn: these are two databases, and only one of them may
    /// be backed up.
    SeveralFiles {
        /// One path.
        path: String,
        /// The other path.
        other_path: String,
    },
}

impl StaleReason {
    /// Returns the name of the kind, as in JSON and in metrics.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(ruvector_snapshot::StaleReason::EmptyStore.kind(), "empty_store");
    /// ```
    pub fn kind(&self) -> &'static str {
        match self {
            Self::EmptyStore => "empty_store",
            Self::NoSnapshot => "no_snapshot",
            Self::TooOld { .. } => "too_old",
            Self::NotVerified { .. } => "not_verified",
            Self::NotDrilled { .. } => "not_drilled",
            Self::DrillFailed { .. } => "drill_failed",
            Self::Shrunken { .. } => "shrunken",
            Self::Problem { .. } => "problem",
            Self::DatedInFuture { .. } => "dated_in_future",
            Self::SeveralFiles { .. } => "several_files",
        }
    }

    /// The names of all kinds.
    pub const KINDS: [&'static str; 10] = [
        "empty_store",
        "no_snapshot",
        "too_old",
        "not_verified",
        "not_drilled",
        "drill_failed",
        "shrunken",
        "problem",
        "dated_in_future",
        "several_files",
    ];
}

impl fmt::Display for StaleReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EmptyStore => f.write_str("the store has no snapshots"),
            Self::NoSnapshot => f.write_str("there is no snapshot that can be restored, as far as is known"),
            Self::TooOld { created_at, max_age } => write!(
                f,
                "the newest snapshot that can be restored was taken at {}, and it may be {max_age} old",
                utc_time(*created_at)
            ),
            Self::NotVerified { verified_at, max_age } => write_last(f, "verified", *verified_at, max_age),
            Self::NotDrilled { drilled_at, max_age } => write_last(f, "drilled", *drilled_at, max_age),
            Self::DrillFailed { id, at } => write!(f, "the drill of snapshot {id} failed at {}", utc_time(*at)),
            Self::Shrunken { records, earlier_id, earlier_records } => write!(
                f,
                "the newest snapshot has {}, and snapshot {earlier_id} before it has {}",
                text::records(*records),
                text::count(*earlier_records)
            ),
            Self::Problem { problem } => problem.fmt(f),
            Self::DatedInFuture { id } => {
                write!(f, "snapshot {id} is dated in the future, so a clock is or was wrong, and it does not count")
            }
            Self::SeveralFiles { path, other_path } => write!(
                f,
                "snapshots of {path} and of {other_path} were taken in turn under this name, so one of them may not be backed up any \
                 more; give each database a name of its own"
            ),
        }
    }
}

fn write_last(f: &mut fmt::Formatter<'_>, what: &str, at: Option<DateTime<Utc>>, max_age: &str) -> fmt::Result {
    match at {
        Some(at) => write!(f, "no snapshot was {what} within {max_age}; the last time was at {}", utc_time(at)),
        None => {
            write!(f, "no snapshot was {what} within {max_age}: none ever was, or not since its files were written")
        }
    }
}

impl Freshness {
    /// Returns how fresh the databases of a listing are.
    ///
    /// # Examples
    ///
    /// ```
    /// use ruvector_snapshot::{Freshness, FreshnessLimits, Listing};
    ///
    /// let listing = Listing::default();
    /// let freshness = Freshness::of(&listing, &[], &FreshnessLimits::default(), listing.listed_at);
    /// assert!(freshness.is_stale());
    /// ```
    pub fn of(listing: &Listing, orphans: &[Orphan], limits: &FreshnessLimits, now: DateTime<Utc>) -> Self {
        let databases = databases(listing, limits, now);
        let orphan_bytes = orphans.iter().fold(0_u64, |sum, orphan| sum.saturating_add(orphan.bytes));
        let stale = of_store(listing);
        let is_checked = |source: &String| databases.iter().any(|database| database.source == *source);
        let not_checked = listing.databases().into_iter().filter(|source| !is_checked(source)).collect();
        Self { checked_at: now, databases, stale, not_checked, orphans: orphans.len() as u64, orphan_bytes }
    }

    /// Returns whether the store or a database is stale.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(!ruvector_snapshot::Freshness::default().is_stale());
    /// ```
    pub fn is_stale(&self) -> bool {
        self.reasons().next().is_some()
    }

    /// Returns why the store and its databases are stale.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(ruvector_snapshot::Freshness::default().reasons().count(), 0);
    /// ```
    pub fn reasons(&self) -> impl Iterator<Item = &StaleReason> {
        self.stale.iter().chain(self.databases.iter().flat_map(|database| &database.stale))
    }
}

/// Returns why a store is stale that is not due to one database: nothing is there, or what is there cannot be attributed.
fn of_store(listing: &Listing) -> Vec<StaleReason> {
    let is_nameless = |id: &str| listing.unusable.iter().any(|unusable| unusable.id == id && unusable.source.is_none());
    let nameless = listing.unusable.iter().map(|unusable| unusable.id.as_str()).filter(|id| is_nameless(id));
    let problems = nameless.filter_map(|id| listing.problem_of(id)).chain(listing.possible_losses());
    let empty = listing.snapshots.is_empty() && listing.unusable.is_empty();
    let empty = empty.then_some(StaleReason::EmptyStore);
    empty.into_iter().chain(problems.map(|problem| StaleReason::Problem { problem })).collect()
}

/// What a listing has of one database.
#[derive(Default)]
struct Known<'a> {
    /// Newest first, without those that are dated in the future.
    usable: Vec<&'a Snapshot>,
    stale: Vec<StaleReason>,
}

fn databases(listing: &Listing, limits: &FreshnessLimits, now: DateTime<Utc>) -> Vec<DatabaseFreshness> {
    let problems = listing.problems();
    let future: BTreeSet<&str> = listing.dated_in_future.iter().map(String::as_str).collect();
    let mut known: BTreeMap<String, Known<'_>> = BTreeMap::new();
    for snapshot in &listing.snapshots {
        let Some(database) = wanted(&mut known, &snapshot.source, limits) else { continue };
        if listing.marked_for_deletion.contains(&snapshot.id) {
            continue;
        }
        let problem = problems.get(&snapshot.id);
        database.stale.extend(problem.map(|problem| StaleReason::Problem { problem: problem.clone() }));
        if problem.is_some_and(|problem| !matches!(problem, SnapshotProblem::Damaged { .. })) {
            continue;
        }
        if future.contains(snapshot.id.as_str()) {
            database.stale.push(StaleReason::DatedInFuture { id: snapshot.id.clone() });
        } else {
            database.usable.push(snapshot);
        }
    }
    for unusable in &listing.unusable {
        let Some(source) = &unusable.source else { continue };
        let database = wanted(&mut known, source, limits);
        if let (Some(database), Some(problem)) = (database, listing.problem_of(&unusable.id)) {
            database.stale.push(StaleReason::Problem { problem });
        }
    }
    for source in missing(listing, limits) {
        known.entry(source).or_default();
    }
    let ancestries = listing.ancestries();
    let describe = |(source, known)| describe(source, known, (listing, &ancestries), limits, now);
    known.into_iter().map(describe).collect()
}

/// Returns the database of a source, unless the limits do not ask for it.
fn wanted<'a, 'b>(
    known: &'b mut BTreeMap<String, Known<'a>>,
    source: &SourceInfo,
    limits: &FreshnessLimits,
) -> Option<&'b mut Known<'a>> {
    let is_wanted = limits.sources.is_empty() || limits.sources.iter().any(|wanted| is_required(source, wanted));
    is_wanted.then(|| known.entry(database_of(source)).or_default())
}

/// Returns whether a source is the required one. A host, or a path of any host, would be there as long as one of several databases is.
fn is_required(source: &SourceInfo, wanted: &str) -> bool {
    is_same(&database_of(source), wanted)
}

/// Returns the required databases of which there is nothing.
fn missing<'a>(listing: &'a Listing, limits: &'a FreshnessLimits) -> impl Iterator<Item = String> {
    let usable = listing.snapshots.iter().map(|snapshot| &snapshot.source);
    let sources: Vec<_> = usable.chain(listing.unusable.iter().filter_map(|one| one.source.as_ref())).collect();
    let is_there = move |wanted: &&String| sources.iter().any(|source| is_required(source, wanted));
    let expected = limits.expected.keys().filter(|_| limits.sources.is_empty());
    limits.sources.iter().chain(expected).filter(move |wanted| !is_there(wanted)).cloned()
}

fn describe(
    source: String,
    Known { usable, mut stale }: Known<'_>,
    (listing, ancestries): (&Listing, &Ancestries<'_>),
    limits: &FreshnessLimits,
    now: DateTime<Utc>,
) -> DatabaseFreshness {
    let checks = || usable.iter().filter_map(|snapshot| listing.checks_of(&snapshot.id));
    let verified_at = checks().filter_map(Checks::verified_at).max();
    let drilled_at = checks().filter_map(Checks::drilled_at).max();
    for snapshot in &usable {
        if let Some(at) = listing.checks_of(&snapshot.id).and_then(Checks::drill_failed_at) {
            stale.push(StaleReason::DrillFailed { id: snapshot.id.clone(), at });
        }
    }
    match usable.first() {
        None => stale.insert(0, StaleReason::NoSnapshot),
        Some(newest) => {
            let max_age = limits.max_age_of(&source);
            stale.extend(too_old(newest, max_age, now));
            stale.extend(shrunken(newest, &usable, limits.shrink_percent, max_age));
            stale.extend(several_files(&usable, max_age));
        }
    }
    if let Some(max_age) = limits.max_verify_age.filter(|max_age| !is_since(verified_at, *max_age, now)) {
        stale.push(StaleReason::NotVerified { verified_at, max_age: max_age.to_string() });
    }
    if let Some(max_age) = limits.max_drill_age.filter(|max_age| !is_since(drilled_at, *max_age, now)) {
        stale.push(StaleReason::NotDrilled { drilled_at, max_age: max_age.to_string() });
    }
    let stored_bytes = usable.iter().fold(0_u64, |sum, snapshot| sum.saturating_add(snapshot.size_bytes));
    let newest = newest(&usable, ancestries, now);
    DatabaseFreshness { source, snapshots: usable.len() as u64, stored_bytes, newest, verified_at, drilled_at, stale }
}

fn newest(usable: &[&Snapshot], ancestries: &Ancestries<'_>, now: DateTime<Utc>) -> Option<NewestSnapshot> {
    let newest = usable.first()?;
    let records = |snapshot: &Snapshot| i64::try_from(snapshot.vector_count).unwrap_or(i64::MAX);
    Some(NewestSnapshot {
        id: newest.id.clone(),
        created_at: newest.created_at,
        age_seconds: u64::try_from((now - newest.created_at).num_seconds()).unwrap_or(0),
        records: newest.vector_count as u64,
        chain_length: ancestries.of(newest).ids.len() as u64 + 1,
        records_added: usable
            .iter()
            .find(|other| !is_same_state(other, newest))
            .map(|before| records(newest).saturating_sub(records(before))),
    })
}

fn is_since(at: Option<DateTime<Utc>>, max_age: Span, now: DateTime<Utc>) -> bool {
    at.is_some_and(|at| at >= max_age.before_utc(now))
}

fn too_old(newest: &Snapshot, max_age: Span, now: DateTime<Utc>) -> Option<StaleReason> {
    let is_young = is_since(Some(newest.created_at), max_age, now);
    let (created_at, max_age) = (newest.created_at, max_age.to_string());
    (!is_young).then_some(StaleReason::TooOld { created_at, max_age })
}

/// How long a loss of records is stale at least: a weekend and the days around it.
const LOSS_SHOWN: TimeDelta = TimeDelta::days(7);

/// A loss would show for one interval only if it was compared with the last snapshot alone. If all records are lost, it is compared
/// with every snapshot.
fn shrunken(newest: &Snapshot, usable: &[&Snapshot], shrink_percent: u8, max_age: Span) -> Option<StaleReason> {
    if shrink_percent >= 100 {
        return None;
    }
    let records = newest.vector_count as u64;
    // After a compact, the snapshot that comes next has the same state.
    let usable: Vec<&Snapshot> = usable.iter().copied().filter(|other| !is_same_state(other, newest)).collect();
    let since = max_age.before_utc(newest.created_at).min(newest.created_at - LOSS_SHOWN);
    let earlier = usable.iter().enumerate();
    let compared = earlier.filter(|(at, snapshot)| *at == 0 || records == 0 || snapshot.created_at >= since);
    let (_, most) = compared.max_by_key(|(_, snapshot)| snapshot.vector_count)?;
    let earlier_records = most.vector_count as u64;
    let kept_percent = u128::from(100 - shrink_percent);
    let is_shrunken =
        records < earlier_records && u128::from(records) * 100 <= u128::from(earlier_records) * kept_percent;
    is_shrunken.then(|| StaleReason::Shrunken { records, earlier_id: most.id.clone(), earlier_records })
}

/// An old turn is no reason: a database may have been restored to another path for some days.
fn several_files(usable: &[&Snapshot], max_age: Span) -> Option<StaleReason> {
    let newest = usable.first()?;
    let since = max_age.before_utc(newest.created_at).min(newest.created_at - LOSS_SHOWN);
    let recent = usable.iter().filter(|snapshot| snapshot.created_at >= since).map(|snapshot| &snapshot.source);
    let (one, other) = taken_in_turn(recent)?;
    let [path, other_path] = shown_files(one, other);
    Some(StaleReason::SeveralFiles { path, other_path })
}

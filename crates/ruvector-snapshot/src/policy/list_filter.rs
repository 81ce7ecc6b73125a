//! Which snapshots of a listing are wanted, and in which order: [`ListFilter`]. A pure function of a listing and a time.

use std::cmp::Ordering;
use std::str::FromStr;

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use ruvector_snapshot_format::metadata::SourceInfo;

use super::retention::{LabelPattern, Span};
use crate::error::{ErrorKind, SnapshotError};
use crate::snapshot::{Listing, Snapshot, newest_first};
use crate::text::is_same;

/// Which snapshots of a [`Listing`] are wanted, and in which order. The default wants all, newest first.
///
/// # Examples
///
/// ```
/// # async fn example(manager: ruvector_snapshot::SnapshotManager) -> Result<(), Box<dyn std::error::Error>> {
/// use ruvector_snapshot::ListFilter;
///
/// let listing = manager.list().await?;
/// let week = ListFilter::default().name("nightly").since("7d".parse()?);
/// for snapshot in week.select(&listing, listing.listed_at) {
///     println!("{}", snapshot.id);
/// }
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListFilter {
    /// Only snapshots with this name.
    pub name: Option<String>,
    /// Only snapshots that have all these labels.
    pub labels: Vec<LabelPattern>,
    /// Only snapshots of this source: its name, or `HOST:PATH`, the path or the host of the database file.
    pub source: Option<String>,
    /// Only full snapshots (true), or only incremental ones (false).
    pub full: Option<bool>,
    /// Only snapshots that were taken since then.
    pub since: Option<Since>,
    /// Only so many, the newest of those that fulfil the rest.
    pub last: Option<usize>,
    /// By what they are sorted.
    pub sort: ListOrder,
    /// Whether the order is turned round.
    pub reverse: bool,
}

impl ListFilter {
    /// Wants only snapshots with this name.
    ///
    /// ```
    /// # use ruvector_snapshot::ListFilter;
    /// assert_eq!(ListFilter::default().name("nightly").name.as_deref(), Some("nightly"));
    /// ```
    #[must_use]
    pub fn name(self, name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..self }
    }

    /// Wants only snapshots that have this label too.
    ///
    /// ```
    /// # use ruvector_snapshot::ListFilter;
    /// assert_eq!(ListFilter::default().label("host=db1".parse()?).labels.len(), 1);
    /// # Ok::<(), ruvector_snapshot::SnapshotError>(())
    /// ```
    #[must_use]
    pub fn label(mut self, label: LabelPattern) -> Self {
        self.labels.push(label);
        self
    }

    /// Wants only snapshots of this source: its name, or `HOST:PATH`, the path or the host of the database file.
    ///
    /// ```
    /// # use ruvector_snapshot::ListFilter;
    /// assert!(ListFilter::default().source("/srv/vectors.db").source.is_some());
    /// ```
    #[must_use]
    pub fn source(self, source: impl Into<String>) -> Self {
        Self { source: Some(source.into()), ..self }
    }

    /// Wants only full snapshots, or only incremental ones.
    ///
    /// ```
    /// # use ruvector_snapshot::ListFilter;
    /// assert_eq!(ListFilter::default().full(true).full, Some(true));
    /// ```
    #[must_use]
    pub fn full(self, full: bool) -> Self {
        Self { full: Some(full), ..self }
    }

    /// Wants only snapshots that were taken since then.
    ///
    /// ```
    /// # use ruvector_snapshot::ListFilter;
    /// assert!(ListFilter::default().since("7d".parse()?).since.is_some());
    /// # Ok::<(), ruvector_snapshot::SnapshotError>(())
    /// ```
    #[must_use]
    pub fn since(self, since: Since) -> Self {
        Self { since: Some(since), ..self }
    }

    /// Wants only so many, the newest of those that fulfil the rest.
    ///
    /// ```
    /// # use ruvector_snapshot::ListFilter;
    /// assert_eq!(ListFilter::default().last(3).last, Some(3));
    /// ```
    #[must_use]
    pub fn last(self, last: usize) -> Self {
        Self { last: Some(last), ..self }
    }

    /// Sorts them by this.
    ///
    /// ```
    /// # use ruvector_snapshot::{ListFilter, ListOrder};
    /// assert_eq!(ListFilter::default().sort(ListOrder::Name).sort, ListOrder::Name);
    /// ```
    #[must_use]
    pub fn sort(self, sort: ListOrder) -> Self {
        Self { sort, ..self }
    }

    /// Turns the order round.
    ///
    /// ```
    /// # use ruvector_snapshot::ListFilter;
    /// assert!(ListFilter::default().reverse(true).reverse);
    /// ```
    #[must_use]
    pub fn reverse(self, reverse: bool) -> Self {
        Self { reverse, ..self }
    }

    /// Returns whether all snapshots are wanted.
    ///
    /// ```
    /// # use ruvector_snapshot::{ListFilter, ListOrder};
    /// assert!(ListFilter::default().sort(ListOrder::Name).is_all());
    /// ```
    pub fn is_all(&self) -> bool {
        *self == Self::default().sort(self.sort).reverse(self.reverse)
    }

    /// Returns the snapshots of a listing that are wanted, in their order. `now` is what spans are counted from.
    ///
    /// ```
    /// # use ruvector_snapshot::{ListFilter, Listing};
    /// let listing = Listing::default();
    /// assert!(ListFilter::default().select(&listing, listing.listed_at).is_empty());
    /// ```
    pub fn select<'a>(&self, listing: &'a Listing, now: DateTime<Utc>) -> Vec<&'a Snapshot> {
        let since = self.since.map(|since| since.moment(now));
        let is_wanted = |snapshot: &&Snapshot| self.accepts(snapshot, since);
        let mut snapshots: Vec<&Snapshot> = listing.snapshots.iter().filter(is_wanted).collect();
        snapshots.sort_by(|a, b| newest_first(a, b));
        snapshots.truncate(self.last.unwrap_or(usize::MAX));
        snapshots.sort_by(|a, b| self.sort.compare(a, b));
        if self.reverse {
            snapshots.reverse();
        }
        snapshots
    }

    fn accepts(&self, snapshot: &Snapshot, since: Option<DateTime<Utc>>) -> bool {
        self.name.as_ref().is_none_or(|name| is_same(name, &snapshot.name))
            && self.labels.iter().all(|label| label.matches(&snapshot.labels))
            && self.source.as_ref().is_none_or(|source| is_of_source(&snapshot.source, source))
            && self.full.is_none_or(|full| full == snapshot.base_id().is_none())
            && since.is_none_or(|since| snapshot.created_at >= since)
    }
}

fn is_of_source(source: &SourceInfo, text: &str) -> bool {
    let id = source.id().map(|id| id.to_string());
    [&id, &source.host, &source.path].into_iter().flatten().any(|known| is_same(known, text))
}

/// By what snapshots are sorted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ListOrder {
    /// When they were taken, the newest first.
    #[default]
    Taken,
    /// Their names.
    Name,
    /// Their sources.
    Source,
    /// Number of records, the largest first.
    Records,
    /// Bytes in the store, the largest first.
    Stored,
    /// Bytes of the records, uncompressed, the largest first.
    Logical,
}

impl ListOrder {
    /// All of them.
    ///
    /// ```
    /// assert_eq!(ruvector_snapshot::ListOrder::ALL.len(), 6);
    /// ```
    pub const ALL: [Self; 6] = [Self::Taken, Self::Name, Self::Source, Self::Records, Self::Stored, Self::Logical];

    /// Returns the word for it.
    ///
    /// ```
    /// assert_eq!(ruvector_snapshot::ListOrder::Stored.word(), "stored");
    /// ```
    pub fn word(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::Name => "name",
            Self::Source => "source",
            Self::Records => "records",
            Self::Stored => "stored",
            Self::Logical => "logical",
        }
    }

    /// Compares two. Those that are equal keep their order, newest first.
    fn compare(self, a: &Snapshot, b: &Snapshot) -> Ordering {
        match self {
            Self::Taken => Ordering::Equal,
            Self::Name => a.name.cmp(&b.name),
            Self::Source => a.source.id().cmp(&b.source.id()),
            Self::Records => b.vector_count.cmp(&a.vector_count),
            Self::Stored => b.size_bytes.cmp(&a.size_bytes),
            Self::Logical => b.raw_bytes.cmp(&a.raw_bytes),
        }
    }
}

/// Parses the word.
impl FromStr for ListOrder {
    type Err = SnapshotError;

    fn from_str(text: &str) -> Result<Self, SnapshotError> {
        let words = Self::ALL.map(Self::word).join(", ");
        let problem = || SnapshotError::new(ErrorKind::InvalidInput, format!("{text:?} is none of {words}"));
        Self::ALL.into_iter().find(|order| order.word() == text).ok_or_else(problem)
    }
}

/// A moment in the past: so long ago, or a date.
///
/// ```
/// use ruvector_snapshot::Since;
///
/// let now = "2026-01-31T08:00:00Z".parse().unwrap();
/// let moment = |text: &str| text.parse::<Since>().map(|since| since.moment(now).to_rfc3339());
/// assert_eq!(moment("7d")?, "2026-01-24T08:00:00+00:00");
/// assert_eq!(moment("2026-01-24")?, "2026-01-24T00:00:00+00:00");
/// assert_eq!(moment("2026-01-24T12:00:00+02:00")?, "2026-01-24T10:00:00+00:00");
/// # Ok::<(), ruvector_snapshot::SnapshotError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Since {
    /// So long ago.
    Span(Span),
    /// A moment.
    Moment(DateTime<Utc>),
}

impl Since {
    /// Returns the moment, if it is `now`.
    ///
    /// ```
    /// # use ruvector_snapshot::Since;
    /// let now = "2026-01-31T08:00:00Z".parse().unwrap();
    /// assert_eq!(Since::Moment(now).moment(now), now);
    /// ```
    pub fn moment(self, now: DateTime<Utc>) -> DateTime<Utc> {
        match self {
            Self::Span(span) => span.before_utc(now),
            Self::Moment(moment) => moment,
        }
    }
}

/// Parses a length of time such as `7d`, a date such as `2026-01-31`, which begins in UTC, or a time of RFC 3339.
impl FromStr for Since {
    type Err = SnapshotError;

    fn from_str(text: &str) -> Result<Self, SnapshotError> {
        if let Ok(date) = text.parse::<NaiveDate>() {
            return Ok(Self::Moment(date.and_time(NaiveTime::MIN).and_utc()));
        }
        if let Ok(time) = DateTime::parse_from_rfc3339(text) {
            return Ok(Self::Moment(time.to_utc()));
        }
        text.parse().map(Self::Span).map_err(|_| {
            let message =
                format!("{text:?} is neither a length of time, such as 7d or 3mo, nor a date, such as 2026-01-31");
            SnapshotError::new(ErrorKind::InvalidInput, message)
        })
    }
}

//! A retention policy as the user states it. Must not decide anything.

use ruvector_snapshot_format::metadata::{SourceId, SourceInfo};

use super::calendar::Period;
use super::calendar_span::Span;
use super::group::GroupBy;
use super::invalid;
use super::label_pattern::LabelPattern;
use super::rule::Rule;
use super::time_zone::TimeZone;
use crate::error::Result;
use crate::text::composed_source;

/// Which snapshots of a store to keep.
///
/// A snapshot is kept if any rule keeps it. A rule with a count of 0 is not in effect. The rules apply to the snapshots
/// of each source on their own; [`group_by`](Self::group_by) groups them by something else.
///
/// The newest snapshot of an hour, day, week, month, quarter or year represents it. Periods without a snapshot do not
/// count: `keep_daily(7)` keeps seven snapshots even if they are spread over a year.
///
/// ```
/// use ruvector_snapshot::PrunePolicy;
///
/// let policy = PrunePolicy::default().keep_daily(7).keep_within("36h".parse()?).time_zone("Europe/Berlin".parse()?);
/// assert_eq!(policy.keep_daily, 7);
/// # Ok::<(), ruvector_snapshot::SnapshotError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PrunePolicy {
    /// Keep this many of the newest snapshots. A full snapshot and the increment that it was compacted from count once.
    pub keep_last: usize,
    /// Keep the newest snapshot of each of this many hours.
    pub keep_hourly: usize,
    /// Keep the newest snapshot of each of this many days.
    pub keep_daily: usize,
    /// Keep the newest snapshot of each of this many weeks, from Monday to Sunday (ISO 8601).
    pub keep_weekly: usize,
    /// Keep the newest snapshot of each of this many months.
    pub keep_monthly: usize,
    /// Keep the newest snapshot of each of this many quarters.
    pub keep_quarterly: usize,
    /// Keep the newest snapshot of each of this many years.
    pub keep_yearly: usize,
    /// Keep all snapshots that are at most this much older than the newest one of their group. The span is not counted
    /// from now: if no new snapshots are made, none expires.
    pub keep_within: Option<Span>,
    /// Keep all snapshots with one of these labels.
    pub keep_labels: Vec<LabelPattern>,
    /// The time zone in which hours, days and longer periods begin and end. UTC by default.
    pub time_zone: TimeZone,
    /// The groups of snapshots to which the rules apply, each on its own. By source by default.
    pub group_by: GroupBy,
    /// The sources whose snapshots the rules are for. Snapshots of others are kept. `None` by default: those of all sources.
    pub sources: Option<Vec<SourceId>>,
    /// Whether a prune may leave nothing of a database that can be restored, or only empty snapshots of one that had records. False
    /// by default: such a prune is refused.
    pub allow_unprotected: bool,
}

impl PrunePolicy {
    /// Keeps the newest `count` snapshots.
    ///
    /// # Examples
    ///
    /// ```
    /// let policy = ruvector_snapshot::PrunePolicy::default().keep_last(7);
    /// assert!(policy.keep_last == 7);
    /// ```
    #[must_use]
    pub fn keep_last(self, count: usize) -> Self {
        Self { keep_last: count, ..self }
    }

    /// Keeps the newest of each of the last `count` hours.
    ///
    /// # Examples
    ///
    /// ```
    /// let policy = ruvector_snapshot::PrunePolicy::default().keep_hourly(7);
    /// assert!(policy.keep_hourly == 7);
    /// ```
    #[must_use]
    pub fn keep_hourly(self, count: usize) -> Self {
        Self { keep_hourly: count, ..self }
    }

    /// Keeps the newest of each of the last `count` days.
    ///
    /// # Examples
    ///
    /// ```
    /// let policy = ruvector_snapshot::PrunePolicy::default().keep_daily(7);
    /// assert!(policy.keep_daily == 7);
    /// ```
    #[must_use]
    pub fn keep_daily(self, count: usize) -> Self {
        Self { keep_daily: count, ..self }
    }

    /// Keeps the newest of each of the last `count` weeks.
    ///
    /// # Examples
    ///
    /// ```
    /// let policy = ruvector_snapshot::PrunePolicy::default().keep_weekly(7);
    /// assert!(policy.keep_weekly == 7);
    /// ```
    #[must_use]
    pub fn keep_weekly(self, count: usize) -> Self {
        Self { keep_weekly: count, ..self }
    }

    /// Keeps the newest of each of the last `count` months.
    ///
    /// # Examples
    ///
    /// ```
    /// let policy = ruvector_snapshot::PrunePolicy::default().keep_monthly(7);
    /// assert!(policy.keep_monthly == 7);
    /// ```
    #[must_use]
    pub fn keep_monthly(self, count: usize) -> Self {
        Self { keep_monthly: count, ..self }
    }

    /// Keeps the newest of each of the last `count` quarters.
    ///
    /// # Examples
    ///
    /// ```
    /// let policy = ruvector_snapshot::PrunePolicy::default().keep_quarterly(7);
    /// assert!(policy.keep_quarterly == 7);
    /// ```
    #[must_use]
    pub fn keep_quarterly(self, count: usize) -> Self {
        Self { keep_quarterly: count, ..self }
    }

    /// Keeps the newest of each of the last `count` years.
    ///
    /// # Examples
    ///
    /// ```
    /// let policy = ruvector_snapshot::PrunePolicy::default().keep_yearly(7);
    /// assert!(policy.keep_yearly == 7);
    /// ```
    #[must_use]
    pub fn keep_yearly(self, count: usize) -> Self {
        Self { keep_yearly: count, ..self }
    }

    /// Keeps all snapshots that are at most this much older than the newest of their group.
    ///
    /// # Examples
    ///
    /// ```
    /// let policy = ruvector_snapshot::PrunePolicy::default().keep_within("14d".parse()?);
    /// # Ok::<(), ruvector_snapshot::SnapshotError>(())
    /// ```
    #[must_use]
    pub fn keep_within(self, span: Span) -> Self {
        Self { keep_within: Some(span), ..self }
    }

    /// Keeps all snapshots with this label. Can be called several times.
    ///
    /// # Examples
    ///
    /// ```
    /// let policy = ruvector_snapshot::PrunePolicy::default().keep_label("reason=release".parse()?);
    /// # Ok::<(), ruvector_snapshot::SnapshotError>(())
    /// ```
    #[must_use]
    pub fn keep_label(mut self, pattern: LabelPattern) -> Self {
        self.keep_labels.push(pattern);
        self
    }

    /// Sets the time zone in which hours, days and longer periods begin and end.
    ///
    /// # Examples
    ///
    /// ```
    /// let policy = ruvector_snapshot::PrunePolicy::default().keep_daily(7).time_zone("Europe/Berlin".parse()?);
    /// # Ok::<(), ruvector_snapshot::SnapshotError>(())
    /// ```
    #[must_use]
    pub fn time_zone(self, time_zone: TimeZone) -> Self {
        Self { time_zone, ..self }
    }

    /// Sets the groups of snapshots to which the rules apply, each on its own.
    ///
    /// # Examples
    ///
    /// ```
    /// let policy = ruvector_snapshot::PrunePolicy::default().keep_last(7).group_by("label:host".parse()?);
    /// # Ok::<(), ruvector_snapshot::SnapshotError>(())
    /// ```
    #[must_use]
    pub fn group_by(self, group_by: GroupBy) -> Self {
        Self { group_by, ..self }
    }

    /// Limits the rules to the snapshots of these sources. For a store that several programs share.
    ///
    /// # Examples
    ///
    /// ```
    /// use ruvector_snapshot::{PrunePolicy, SourceId};
    ///
    /// let policy = PrunePolicy::default().keep_last(7).of_sources([SourceId::Name("articles".to_owned())]);
    /// assert!(policy.sources.is_some());
    /// ```
    #[must_use]
    pub fn of_sources(self, sources: impl IntoIterator<Item = SourceId>) -> Self {
        Self { sources: Some(sources.into_iter().map(composed_source).collect()), ..self }
    }

    /// Allows a prune that leaves nothing of a database that can be restored, for example of one that is not needed any more.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(ruvector_snapshot::PrunePolicy::default().keep_last(7).allow_unprotected(true).allow_unprotected);
    /// ```
    #[must_use]
    pub fn allow_unprotected(self, allow_unprotected: bool) -> Self {
        Self { allow_unprotected, ..self }
    }

    /// Returns whether the rules are for snapshots of this source.
    pub(super) fn includes(&self, source: &SourceInfo) -> bool {
        let Some(sources) = &self.sources else { return true };
        source.id().is_some_and(|id| sources.contains(&composed_source(id)))
    }

    /// Checks that the policy can be meant, without looking at snapshots.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if the policy has no rule, or if it keeps what is
    /// within less than an hour: other programs write months as `m`, and a policy that means six months must not keep six
    /// minutes.
    ///
    /// # Examples
    ///
    /// ```
    /// use ruvector_snapshot::PrunePolicy;
    ///
    /// assert!(PrunePolicy::default().keep_within("6mo".parse()?).check().is_ok());
    /// assert!(PrunePolicy::default().keep_within("6m".parse()?).check().is_err());
    /// # Ok::<(), ruvector_snapshot::SnapshotError>(())
    /// ```
    pub fn check(&self) -> Result<()> {
        if self.rules().is_empty() {
            return Err(invalid(
                "cannot prune without a rule, since every snapshot would be deleted; give at least one rule, with a count of at least 1",
            ));
        }
        match self.keep_within.filter(|span| !span.is_zero() && span.is_short()) {
            None => Ok(()),
            Some(span) => Err(invalid(format!(
                "cannot keep what is within {span}: it is less than an hour; m means minutes, and months are mo, for example 6mo"
            ))),
        }
    }

    /// Returns the rules that are in effect.
    pub(super) fn rules(&self) -> Vec<Rule> {
        let periods = [
            (Period::Hour, self.keep_hourly),
            (Period::Day, self.keep_daily),
            (Period::Week, self.keep_weekly),
            (Period::Month, self.keep_monthly),
            (Period::Quarter, self.keep_quarterly),
            (Period::Year, self.keep_yearly),
        ];
        let last = (self.keep_last > 0).then_some(Rule::Last { count: self.keep_last });
        let newest = periods.into_iter().filter(|(_, count)| *count > 0);
        let newest = newest.map(|(period, count)| Rule::NewestOf { period, count });
        let within = self.keep_within.filter(|span| !span.is_zero()).map(|span| Rule::Within { span });
        let labels = self.keep_labels.iter().map(|pattern| Rule::Label { pattern: pattern.clone() });
        last.into_iter().chain(newest).chain(within).chain(labels).collect()
    }
}

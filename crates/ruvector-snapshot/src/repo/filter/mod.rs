//! Which records of a snapshot are wanted. Pure.

mod condition;

use std::collections::BTreeSet;

use ruvector_snapshot_format::id::SnapshotId;

use crate::source::key_range::{KeyRange, coalesced};

pub use condition::Condition;

/// Selects records of a snapshot. The default accepts every record. Start from `default()`.
///
/// # Examples
///
/// ```
/// use ruvector_snapshot::RecordFilter;
///
/// let filter = RecordFilter::default().ids(["doc-1", "doc-2"]).condition("lang=de".parse()?);
/// assert!(filter.accepts("doc-1", Some(r#"{"lang":"de"}"#)));
/// assert!(!filter.accepts("doc-2", Some(r#"{"lang":"fr"}"#)));
/// assert!(RecordFilter::default().accepts_everything());
/// # Ok::<(), ruvector_snapshot::SnapshotError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct RecordFilter {
    /// The ids of the records. `None` for all ids; an empty set accepts no record.
    pub ids: Option<BTreeSet<String>>,
    /// Conditions on the metadata, all of which must hold.
    pub conditions: Vec<Condition>,
}

impl RecordFilter {
    /// Accepts the record with this id, besides those of the ids that were given before.
    ///
    /// # Examples
    ///
    /// ```
    /// let filter = ruvector_snapshot::RecordFilter::default().id("a").id("b");
    /// assert!(filter.ids.is_some_and(|ids| ids.contains("a") && ids.contains("b")));
    /// ```
    #[must_use]
    pub fn id(self, id: impl Into<String>) -> Self {
        self.ids([id])
    }

    /// Accepts the records with these ids, besides those of the ids that were given before.
    ///
    /// # Examples
    ///
    /// ```
    /// let nothing = ruvector_snapshot::RecordFilter::default().ids(Vec::<String>::new());
    /// assert!(!nothing.accepts_everything());
    /// ```
    #[must_use]
    pub fn ids<I: Into<String>>(mut self, ids: impl IntoIterator<Item = I>) -> Self {
        self.ids.get_or_insert_default().extend(ids.into_iter().map(Into::into));
        self
    }

    /// Accepts only records for which this condition holds, besides those that were given before.
    ///
    /// # Examples
    ///
    /// ```
    /// use ruvector_snapshot::RecordFilter;
    ///
    /// let filter = RecordFilter::default().condition("lang=de".parse()?).condition("year>=2020".parse()?);
    /// assert!(filter.accepts("any id", Some(r#"{"lang":"de","year":2024}"#)));
    /// # Ok::<(), ruvector_snapshot::SnapshotError>(())
    /// ```
    #[must_use]
    pub fn condition(mut self, condition: Condition) -> Self {
        self.conditions.push(condition);
        self
    }

    /// Returns whether the filter accepts a record.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(ruvector_snapshot::RecordFilter::default().id("a").accepts("a", None));
    /// ```
    pub fn accepts(&self, id: &str, metadata: Option<&str>) -> bool {
        self.ids.as_ref().is_none_or(|ids| ids.contains(id)) && self.holds(metadata)
    }

    /// Returns whether all conditions hold.
    pub(crate) fn holds(&self, metadata: Option<&str>) -> bool {
        self.conditions.iter().all(|condition| condition.holds(metadata))
    }

    /// Returns whether the filter accepts every record.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(!ruvector_snapshot::RecordFilter::default().id("a").accepts_everything());
    /// ```
    pub fn accepts_everything(&self) -> bool {
        self.ids.is_none() && self.conditions.is_empty()
    }

    /// Says that the filter accepts no record of a snapshot, what that means, and what may be the reason.
    pub(crate) fn accepts_none_of(&self, snapshot_id: &SnapshotId, outcome: &str) -> String {
        let readings: Vec<_> = self.conditions.iter().filter_map(Condition::other_reading).collect();
        let advice = match readings.is_empty() {
            true => String::new(),
            false => format!(". A number and a string are never equal: {}", readings.join("; ")),
        };
        format!("the filter accepts no record of snapshot {snapshot_id}; {outcome}{advice}")
    }

    /// Returns how many records of so many the filter can accept.
    pub(crate) fn records_max(&self, records: u64) -> u64 {
        self.ids.as_ref().map_or(records, |ids| ids.len() as u64)
    }

    /// Returns the ranges of ids after `after` in which accepted records can be, sorted and disjoint. `None` for the
    /// range of all ids.
    pub(crate) fn ranges(&self, after: Option<&str>) -> Option<Vec<KeyRange>> {
        // No id lies between an id and the same id with a zero byte appended.
        let start = after.map(|after| format!("{after}\0"));
        match (&self.ids, start) {
            (None, None) => None,
            (None, Some(start)) => Some(vec![KeyRange::half_open(start, None)]),
            (Some(ids), start) => {
                let ids = ids.iter().filter(|id| start.as_deref().is_none_or(|start| id.as_str() >= start));
                Some(coalesced(ids.map(|id| KeyRange::inclusive(id, id)).collect()))
            }
        }
    }
}

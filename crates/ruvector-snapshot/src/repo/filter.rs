//! Which records of a snapshot are wanted. Pure.

use std::collections::BTreeSet;

use crate::source::key_range::{KeyRange, coalesced};

/// Selects records of a snapshot. The default accepts every record. Start from `default()`.
///
/// # Examples
///
/// ```
/// use ruvector_snapshot::RecordFilter;
///
/// let filter = RecordFilter::default().id("doc-1").ids(["doc-2", "doc-3"]);
/// assert_eq!(filter.ids.map(|ids| ids.len()), Some(3));
/// assert!(RecordFilter::default().accepts_everything());
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct RecordFilter {
    /// The ids of the records. `None` for all ids; an empty set accepts no record.
    pub ids: Option<BTreeSet<String>>,
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

    /// Returns whether the filter accepts every record.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(!ruvector_snapshot::RecordFilter::default().id("a").accepts_everything());
    /// ```
    pub fn accepts_everything(&self) -> bool {
        self.ids.is_none()
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

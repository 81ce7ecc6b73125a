//! Ranges of ids, in the order of their bytes. Pure.

use std::borrow::Borrow;

/// A range of ids in which the records of two states may differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DiffRange {
    pub(crate) key_range: KeyRange,
    /// Whether both states have the same ids and the same vectors in the range, and differ only in metadata.
    pub(crate) is_metadata_only: bool,
}

impl DiffRange {
    /// Returns the range of all ids, in which everything may differ.
    pub(crate) fn all() -> Self {
        Self { key_range: KeyRange::all(), is_metadata_only: false }
    }
}

/// Returns the ranges of two states whose vectors may differ in some ranges and whose metadata may differ in others.
/// The result is sorted and disjoint.
pub(crate) fn diff_ranges(vectors: Vec<KeyRange>, metadata: Vec<KeyRange>) -> Vec<DiffRange> {
    let vectors = coalesced(vectors);
    let mut metadata_only = Vec::new();
    let mut first = 0;
    for key_range in coalesced(metadata) {
        first += vectors.iter().skip(first).take_while(|vectors| vectors.ends_before(&key_range.start)).count();
        // What is left of the range behind each range of vectors that overlaps it. The last of them may overlap the
        // next range as well.
        let mut rest = Some(key_range);
        for hole in vectors.iter().skip(first) {
            let Some(left) = rest.take_if(|left| !left.ends_before(&hole.start)) else { break };
            if left.start < hole.start {
                metadata_only.push(KeyRange::half_open(left.start, Some(&hole.start)));
            }
            rest = hole.successor().map(|start| KeyRange { start, end: left.end });
        }
        metadata_only.extend(rest.filter(|left| !left.ends_before(&left.start)));
    }
    let diff_range = |is_metadata_only| move |key_range| DiffRange { key_range, is_metadata_only };
    let mut all: Vec<_> = vectors.iter().cloned().map(diff_range(false)).collect();
    all.extend(metadata_only.into_iter().map(diff_range(true)));
    all.sort_by(|a, b| a.key_range.start.cmp(&b.key_range.start));
    all
}

/// A range of ids: from `start` to an end. Ids are compared byte by byte.
///
/// # Examples
///
/// ```
/// use ruvector_snapshot::KeyRange;
///
/// let range = KeyRange::half_open("doc-1", Some("doc-2"));
/// assert!(range.contains("doc-1") && range.contains("doc-17") && !range.contains("doc-2"));
/// assert!(KeyRange::inclusive("a", "b").contains("b"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRange {
    /// The first id of the range.
    pub start: String,
    /// The end of the range.
    pub end: KeyRangeEnd,
}

/// The end of a [`KeyRange`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyRangeEnd {
    /// The range ends at this id.
    At {
        /// The id.
        id: String,
        /// Whether the range includes the id.
        is_inside: bool,
    },
    /// The range has no end.
    Open,
}

impl KeyRange {
    /// Returns the range of all ids.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(ruvector_snapshot::KeyRange::all().contains("any id"));
    /// ```
    pub fn all() -> Self {
        Self { start: String::new(), end: KeyRangeEnd::Open }
    }

    /// Returns the range from `start` to `last`, both included.
    ///
    /// # Examples
    ///
    /// ```
    /// let range = ruvector_snapshot::KeyRange::inclusive("a", "c");
    /// assert!(range.contains("c") && !range.contains("ca"));
    /// ```
    pub fn inclusive(start: impl Into<String>, last: impl Into<String>) -> Self {
        Self { start: start.into(), end: KeyRangeEnd::At { id: last.into(), is_inside: true } }
    }

    /// Returns the range from `start` up to, but not including, `end`. Without `end` the range is open.
    ///
    /// # Examples
    ///
    /// ```
    /// let range = ruvector_snapshot::KeyRange::half_open("a", Some("c"));
    /// assert!(range.contains("bz") && !range.contains("c"));
    /// ```
    pub fn half_open(start: impl Into<String>, end: Option<&str>) -> Self {
        let end = end.map_or(KeyRangeEnd::Open, |id| KeyRangeEnd::At { id: id.to_owned(), is_inside: false });
        Self { start: start.into(), end }
    }

    /// Returns whether the range ends before `id`.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(ruvector_snapshot::KeyRange::inclusive("a", "c").ends_before("d"));
    /// ```
    pub fn ends_before(&self, id: &str) -> bool {
        match &self.end {
            KeyRangeEnd::Open => false,
            KeyRangeEnd::At { id: end, is_inside } => id > end.as_str() || id == end && !is_inside,
        }
    }

    /// Returns whether `id`, which is in the range, is the last id that can be in it.
    pub(crate) fn is_last(&self, id: &[u8]) -> bool {
        matches!(&self.end, KeyRangeEnd::At { id: end, is_inside: true } if end.as_bytes() == id)
    }

    /// Returns whether only one id is in the range.
    pub(crate) fn is_one_id(&self) -> bool {
        self.is_last(self.start.as_bytes())
    }

    /// Returns the smallest id after the range; `None` if the range is open.
    fn successor(&self) -> Option<String> {
        match &self.end {
            KeyRangeEnd::Open => None,
            KeyRangeEnd::At { id, is_inside: false } => Some(id.clone()),
            // No id lies between an id and the same id with a zero byte appended.
            KeyRangeEnd::At { id, is_inside: true } => Some(format!("{id}\0")),
        }
    }

    /// Returns whether `id` is in the range.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(!ruvector_snapshot::KeyRange::half_open("b", None).contains("a"));
    /// ```
    pub fn contains(&self, id: &str) -> bool {
        self.start.as_str() <= id && !self.ends_before(id)
    }
}

/// Returns a check of whether an id is in one of these ranges, which are sorted and disjoint. The ids must come in order.
pub(crate) fn contains_in_order<R: Borrow<KeyRange>>(ranges: impl IntoIterator<Item = R>) -> impl FnMut(&str) -> bool {
    let mut left = ranges.into_iter().peekable();
    move |id| {
        while left.next_if(|range| range.borrow().ends_before(id)).is_some() {}
        left.peek().is_some_and(|range| range.borrow().start.as_str() <= id)
    }
}

/// Returns the same ids in as few ranges as possible, sorted.
pub(crate) fn coalesced(mut key_ranges: Vec<KeyRange>) -> Vec<KeyRange> {
    key_ranges.sort_by(|a, b| (&a.start, &a.end).cmp(&(&b.start, &b.end)));
    let mut coalesced: Vec<KeyRange> = Vec::with_capacity(key_ranges.len());
    for next in key_ranges {
        match coalesced.last_mut() {
            Some(last) if last.touches(&next.start) => {
                last.end = std::mem::replace(&mut last.end, KeyRangeEnd::Open).max(next.end)
            }
            _ => coalesced.push(next),
        }
    }
    coalesced
}

impl KeyRange {
    /// Returns whether no id lies between the end of this range and a range that starts at `start`.
    fn touches(&self, start: &str) -> bool {
        match &self.end {
            KeyRangeEnd::Open => true,
            KeyRangeEnd::At { id, .. } => start <= id.as_str(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key_range() -> impl Strategy<Value = KeyRange> {
        ("[a-d]{0,2}", "[a-d]{0,2}", 0..3).prop_map(|(one, other, end)| {
            let (start, id) = if one <= other { (one, other) } else { (other, one) };
            match end {
                0 => KeyRange::inclusive(start, id),
                1 => KeyRange::half_open(start, Some(&id)),
                _ if id.starts_with('d') => KeyRange::half_open(start, None),
                _ => KeyRange::inclusive(id.clone(), id),
            }
        })
    }

    proptest! {
        #[test]
        fn each_id_is_in_at_most_one_range_which_says_how_it_may_differ(
            vectors in prop::collection::vec(key_range(), 0..6),
            metadata in prop::collection::vec(key_range(), 0..6),
            ids in prop::collection::vec("[a-d]{0,3}", 1..200),
        ) {
            let diff_ranges = diff_ranges(vectors.clone(), metadata.clone());
            for pair in diff_ranges.windows(2) {
                prop_assert!(pair[0].key_range.successor().is_some_and(|id| id <= pair[1].key_range.start), "{diff_ranges:?}");
            }
            for id in ids {
                let of = |key_ranges: &[KeyRange]| key_ranges.iter().any(|key_range| key_range.contains(&id));
                let found: Vec<_> = diff_ranges.iter().filter(|diff_range| diff_range.key_range.contains(&id)).collect();
                let expected = match (of(&vectors), of(&metadata)) {
                    (true, _) => Some(false),
                    (false, true) => Some(true),
                    (false, false) => None,
                };
                prop_assert!(found.len() <= 1);
                prop_assert_eq!(found.first().map(|diff_range| diff_range.is_metadata_only), expected, "{} {:?}", id, diff_ranges);
            }
        }
    }

    #[test]
    fn adjacent_ranges_are_merged() {
        let cases = vec![
            KeyRange::half_open("c", Some("e")),
            KeyRange::inclusive("a", "b"),
            KeyRange::inclusive("b", "b"),
            KeyRange::half_open("e", Some("f")),
            KeyRange::inclusive("x", "y"),
            KeyRange::half_open("k", Some("l")),
            KeyRange::inclusive("k", "k"),
        ];
        let expected = [
            KeyRange::inclusive("a", "b"),
            KeyRange::half_open("c", Some("f")),
            KeyRange::half_open("k", Some("l")),
            KeyRange::inclusive("x", "y"),
        ];
        assert_eq!(coalesced(cases), expected);
        assert_eq!(
            coalesced(vec![KeyRange::half_open("b", None), KeyRange::inclusive("c", "d")]),
            [KeyRange::half_open("b", None)]
        );
        assert_eq!(
            coalesced(vec![KeyRange::half_open("", Some("d")), KeyRange::inclusive("b", "d")]),
            [KeyRange::inclusive("", "d")]
        );
        assert!(KeyRange::all().contains("") && KeyRange::inclusive("b", "d").contains("d"));
        assert!(!KeyRange::half_open("b", Some("d")).contains("d") && !KeyRange::inclusive("b", "d").contains("a"));
    }
}

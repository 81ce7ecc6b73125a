//! How short the ids of a store can be and still mean one snapshot each: [`ShortIds`].

/// Shortest prefix of an id that is shown to a person: the time to the second.
const LENGTH_MIN: usize = 15;

/// How short the ids of a store can be, at least the time to the second. The default leaves them whole.
///
/// A prefix means one snapshot until another is created that starts with the same characters: show it to a person, and
/// store the whole id.
///
/// # Examples
///
/// ```
/// use ruvector_snapshot::ShortIds;
///
/// let ids = ["20260131T080000000Z-0123456789abcdef", "20260131T080000123Z-0123456789abcdef"];
/// assert_eq!(ShortIds::of(ids).shorten(ids[0]), "20260131T0800000");
/// assert_eq!(ShortIds::of([ids[0]]).shorten(ids[0]), "20260131T080000");
/// assert_eq!(ShortIds::default().shorten(ids[0]), ids[0]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ShortIds {
    length: Option<usize>,
}

impl ShortIds {
    /// Returns the shortest length at which these ids all differ. An id that is given twice is one id.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ruvector_snapshot::ShortIds;
    /// assert_eq!(ShortIds::of([]).shorten("20260131T080000000Z-0123456789abcdef"), "20260131T080000");
    /// ```
    pub fn of<'a>(ids: impl IntoIterator<Item = &'a str>) -> Self {
        let mut ids: Vec<&str> = ids.into_iter().collect();
        ids.sort_unstable();
        ids.dedup();
        let common = |a: &str, b: &str| a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
        let longest = ids.windows(2).filter_map(|pair| Some(common(pair.first()?, pair.get(1)?))).max();
        Self { length: Some(longest.map_or(LENGTH_MIN, |common| LENGTH_MIN.max(common + 1))) }
    }

    /// Returns the start of an id that is long enough.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ruvector_snapshot::ShortIds;
    /// assert_eq!(ShortIds::default().shorten("20260131T080000000Z-0123456789abcdef").len(), 36);
    /// ```
    pub fn shorten<'a>(&self, id: &'a str) -> &'a str {
        self.length.and_then(|length| id.get(..length)).unwrap_or(id)
    }
}

//! Stretches of ids, in the order of their bytes. Pure.

/// Where the records of two states may differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    /// The ids.
    pub interval: Interval,
    /// Whether both states have the same ids there with the same vectors, and differ in metadata alone.
    pub is_metadata_only: bool,
}

impl Stretch {
    /// All ids, and all of their records.
    pub fn all() -> Self {
        Self { interval: Interval::all(), is_metadata_only: false }
    }
}

/// The stretches of states whose vectors may differ in some intervals and whose metadata in others, in order and apart.
pub fn stretches(vectors: Vec<Interval>, metadata: Vec<Interval>) -> Vec<Stretch> {
    let vectors = united(vectors);
    let mut metadata_only = Vec::new();
    let mut first = 0;
    for interval in united(metadata) {
        first += vectors.iter().skip(first).take_while(|vectors| vectors.is_before(&interval.start)).count();
        // What is left of the interval, behind each of those that reach into it. The last may reach into the next as well.
        let mut rest = Some(interval);
        for hole in vectors.iter().skip(first) {
            let Some(left) = rest.take_if(|left| !left.is_before(&hole.start)) else { break };
            if left.start < hole.start {
                metadata_only.push(Interval::before(left.start, Some(&hole.start)));
            }
            rest = hole.first_behind().map(|start| Interval { start, end: left.end });
        }
        metadata_only.extend(rest.filter(|left| !left.is_before(&left.start)));
    }
    let stretch = |is_metadata_only| move |interval| Stretch { interval, is_metadata_only };
    let mut all: Vec<_> = vectors.iter().cloned().map(stretch(false)).collect();
    all.extend(metadata_only.into_iter().map(stretch(true)));
    all.sort_by(|a, b| a.interval.start.cmp(&b.interval.start));
    all
}

/// The ids from `start` on, up to an end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interval {
    /// The first id that may be in it.
    pub start: String,
    /// Where it ends.
    pub end: End,
}

/// Where an [`Interval`] ends.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// Before this id, or with it.
    At {
        /// The id.
        id: String,
        /// Whether the id itself belongs to it.
        is_inside: bool,
    },
    /// Nowhere.
    Open,
}

impl Interval {
    /// All ids.
    pub fn all() -> Self {
        Self { start: String::new(), end: End::Open }
    }

    /// From one id to another, both inside.
    pub fn through(start: impl Into<String>, last: impl Into<String>) -> Self {
        Self { start: start.into(), end: End::At { id: last.into(), is_inside: true } }
    }

    /// From one id up to, and without, another; without an end where there is none.
    pub fn before(start: impl Into<String>, end: Option<&str>) -> Self {
        let end = end.map_or(End::Open, |id| End::At { id: id.to_owned(), is_inside: false });
        Self { start: start.into(), end }
    }

    /// Whether an id lies behind it.
    pub fn is_before(&self, id: &str) -> bool {
        match &self.end {
            End::Open => false,
            End::At { id: end, is_inside } => id > end.as_str() || id == end && !is_inside,
        }
    }

    /// Whether this id of it is known to be its last.
    pub fn is_last(&self, id: &[u8]) -> bool {
        matches!(&self.end, End::At { id: end, is_inside: true } if end.as_bytes() == id)
    }

    /// The least id behind it; `None` where it has no end.
    fn first_behind(&self) -> Option<String> {
        match &self.end {
            End::Open => None,
            End::At { id, is_inside: false } => Some(id.clone()),
            // Nothing lies between an id and the same id with a zero byte.
            End::At { id, is_inside: true } => Some(format!("{id}\0")),
        }
    }

    /// Whether an id lies in it.
    pub fn contains(&self, id: &str) -> bool {
        self.start.as_str() <= id && !self.is_before(id)
    }
}

/// The same ids in as few intervals as can be, in order.
pub fn united(mut intervals: Vec<Interval>) -> Vec<Interval> {
    intervals.sort_by(|a, b| (&a.start, &a.end).cmp(&(&b.start, &b.end)));
    let mut united: Vec<Interval> = Vec::with_capacity(intervals.len());
    for next in intervals {
        match united.last_mut() {
            Some(last) if last.touches(&next.start) => {
                last.end = std::mem::replace(&mut last.end, End::Open).max(next.end)
            }
            _ => united.push(next),
        }
    }
    united
}

impl Interval {
    /// Whether no id lies between the end of this and one that begins at `start`.
    fn touches(&self, start: &str) -> bool {
        match &self.end {
            End::Open => true,
            End::At { id, .. } => start <= id.as_str(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn interval() -> impl Strategy<Value = Interval> {
        ("[a-d]{0,2}", "[a-d]{0,2}", 0..3).prop_map(|(one, other, end)| {
            let (start, id) = if one <= other { (one, other) } else { (other, one) };
            match end {
                0 => Interval::through(start, id),
                1 => Interval::before(start, Some(&id)),
                _ if id.starts_with('d') => Interval::before(start, None),
                _ => Interval::through(id.clone(), id),
            }
        })
    }

    proptest! {
        #[test]
        fn each_id_is_in_the_one_stretch_that_says_how_it_may_differ(
            vectors in prop::collection::vec(interval(), 0..6),
            metadata in prop::collection::vec(interval(), 0..6),
            ids in prop::collection::vec("[a-d]{0,3}", 1..200),
        ) {
            let stretches = stretches(vectors.clone(), metadata.clone());
            for pair in stretches.windows(2) {
                prop_assert!(pair[0].interval.first_behind().is_some_and(|id| id <= pair[1].interval.start), "{stretches:?}");
            }
            for id in ids {
                let of = |intervals: &[Interval]| intervals.iter().any(|interval| interval.contains(&id));
                let found: Vec<_> = stretches.iter().filter(|stretch| stretch.interval.contains(&id)).collect();
                let expected = match (of(&vectors), of(&metadata)) {
                    (true, _) => Some(false),
                    (false, true) => Some(true),
                    (false, false) => None,
                };
                prop_assert!(found.len() <= 1);
                prop_assert_eq!(found.first().map(|stretch| stretch.is_metadata_only), expected, "{} {:?}", id, stretches);
            }
        }
    }

    #[test]
    fn intervals_that_meet_become_one() {
        let cases = vec![
            Interval::before("c", Some("e")),
            Interval::through("a", "b"),
            Interval::through("b", "b"),
            Interval::before("e", Some("f")),
            Interval::through("x", "y"),
            Interval::before("k", Some("l")),
            Interval::through("k", "k"),
        ];
        let expected = [
            Interval::through("a", "b"),
            Interval::before("c", Some("f")),
            Interval::before("k", Some("l")),
            Interval::through("x", "y"),
        ];
        assert_eq!(united(cases), expected);
        assert_eq!(
            united(vec![Interval::before("b", None), Interval::through("c", "d")]),
            [Interval::before("b", None)]
        );
        assert_eq!(
            united(vec![Interval::before("", Some("d")), Interval::through("b", "d")]),
            [Interval::through("", "d")]
        );
        assert!(Interval::all().contains("") && Interval::through("b", "d").contains("d"));
        assert!(!Interval::before("b", Some("d")).contains("d") && !Interval::through("b", "d").contains("a"));
    }
}

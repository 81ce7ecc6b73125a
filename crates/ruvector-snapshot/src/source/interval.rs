//! Stretches of ids, in the order of their bytes. Pure.

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
    use super::*;

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

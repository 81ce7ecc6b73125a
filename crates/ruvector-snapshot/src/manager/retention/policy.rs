//! What a user asks to be kept. Decides nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use chrono_tz::Tz;
use serde::{Serialize, Serializer};

use super::invalid;
use super::period::Period;
use super::rule::Rule;
use super::span::Span;
use crate::error::SnapshotError;

/// What to keep of the snapshots in a store, which are one history, whatever their names. A snapshot stays that any of
/// the rules keeps; a rule with a count of 0 is none.
///
/// The newest snapshot stands for its hour, day, week, month, quarter or year, and only those count in which there is a
/// snapshot:
/// `keep_daily: 7` keeps one for each of the last seven days that have one, even if they are spread over a year.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PrunePolicy {
    /// The newest so many. A full snapshot and the increment that it was compacted from count once.
    pub keep_last: usize,
    /// The newest of each of the last so many hours.
    pub keep_hourly: usize,
    /// The newest of each of the last so many days.
    pub keep_daily: usize,
    /// The newest of each of the last so many weeks, from Monday to Sunday (ISO 8601).
    pub keep_weekly: usize,
    /// The newest of each of the last so many months.
    pub keep_monthly: usize,
    /// The newest of each of the last so many quarters.
    pub keep_quarterly: usize,
    /// The newest of each of the last so many years.
    pub keep_yearly: usize,
    /// All that are no older than the newest snapshot less this span. It is counted from there and not from now, so
    /// that nothing runs out where no new snapshots come.
    pub keep_within: Option<Span>,
    /// All that have one of these labels.
    pub keep_labels: Vec<LabelPattern>,
    /// Where hours, days and all longer periods begin and end.
    pub time_zone: Tz,
}

/// A label to look for: `key`, with any value, or `key=value`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LabelPattern {
    /// The key of the label.
    pub key: String,
    /// The value that it must have; `None` for any.
    pub value: Option<String>,
}

impl PrunePolicy {
    /// The rules that are set.
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

impl LabelPattern {
    /// Whether one of these labels is meant.
    pub(super) fn is_in(&self, labels: &BTreeMap<String, String>) -> bool {
        labels.get(&self.key).is_some_and(|found| self.value.as_ref().is_none_or(|value| value == found))
    }
}

impl FromStr for LabelPattern {
    type Err = SnapshotError;

    fn from_str(text: &str) -> Result<Self, SnapshotError> {
        let (key, value) = match text.split_once('=') {
            None => (text, None),
            Some((key, value)) => (key, Some(value.to_owned())),
        };
        if key.is_empty() {
            return Err(invalid("a label to keep is KEY or KEY=VALUE, as host or host=db1"));
        }
        Ok(Self { key: key.to_owned(), value })
    }
}

impl fmt::Display for LabelPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            None => f.write_str(&self.key),
            Some(value) => write!(f, "{}={value}", self.key),
        }
    }
}

impl Serialize for LabelPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

//! A pattern for labels, as a policy names the snapshots that it keeps. Knows no snapshot.

use std::fmt;
use std::str::FromStr;

use ruvector_snapshot_format::Labels;
use serde::{Serialize, Serializer};

use super::invalid;
use crate::error::SnapshotError;
use crate::text::{is_same, label};

/// A pattern for labels: `key` with any value, or `key=value`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LabelPattern {
    /// The key of the label.
    pub key: String,
    /// The value that the label must have, or `None` for any value.
    pub value: Option<String>,
}

impl LabelPattern {
    /// Returns whether one of these labels matches.
    pub(crate) fn matches(&self, labels: &Labels) -> bool {
        label(labels, &self.key).is_some_and(|found| self.value.as_ref().is_none_or(|value| is_same(value, found)))
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
            return Err(invalid("a label is KEY or KEY=VALUE, for example host or host=db1"));
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

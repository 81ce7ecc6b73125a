//! Snapshot ids: made here, parsed here, and trusted nowhere before that.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Datelike, Timelike, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{ErrorKind, Result, SnapshotError};

const LENGTH: usize = 36;

/// `YYYYMMDDThhmmssmmmZ-rrrrrrrrrrrrrrrr`: the moment of creation in UTC and 64 random bits.
///
/// Sorts by time, is never used twice, and is safe as a segment of a key or a path: there is no other way to a value of
/// this type than text of exactly this form.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotId(String);

impl SnapshotId {
    /// The id of a snapshot made at `now`; `random` keeps it apart from others of the same millisecond.
    pub fn new(now: DateTime<Utc>, random: u64) -> Self {
        let millis = now.timestamp_subsec_millis().min(999);
        Self(format!(
            "{:04}{:02}{:02}T{:02}{:02}{:02}{:03}Z-{:016x}",
            now.year().clamp(0, 9999),
            now.month(),
            now.day(),
            now.hour(),
            now.minute(),
            now.second(),
            millis,
            random
        ))
    }

    /// The id as text, 36 characters of ASCII.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SnapshotId {
    type Err = SnapshotError;

    fn from_str(text: &str) -> Result<Self> {
        let well_formed = text.len() == LENGTH
            && text.bytes().enumerate().all(|(at, byte)| match at {
                8 => byte == b'T',
                18 => byte == b'Z',
                19 => byte == b'-',
                0..18 => byte.is_ascii_digit(),
                _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
            });
        if well_formed {
            return Ok(Self(text.to_owned()));
        }
        let shown: String = text.chars().take(64).collect();
        let more = if shown.len() < text.len() { "…" } else { "" };
        Err(SnapshotError::new(
            ErrorKind::Invalid,
            format!("{shown:?}{more} is not a snapshot id; ids look like 20260131T080000000Z-0123456789abcdef"),
        ))
    }
}

impl fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for SnapshotId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for SnapshotId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

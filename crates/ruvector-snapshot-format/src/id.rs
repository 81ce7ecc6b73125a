//! Snapshot ids: created, parsed and checked here.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Datelike, Timelike, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{FormatError, Result};

const LENGTH: usize = 36;

/// The id of a snapshot: `YYYYMMDDThhmmssmmmZ-rrrrrrrrrrrrrrrr`, the time of creation in UTC and 64 random bits.
///
/// Ids sort by time. A value of this type always has exactly this form, so it is safe as a segment of a key or of a
/// path.
///
/// ```
/// use ruvector_snapshot_format::SnapshotId;
///
/// let id: SnapshotId = "20260131T080000000Z-0123456789abcdef".parse()?;
/// assert_eq!(id, SnapshotId::new("2026-01-31T08:00:00Z".parse()?, 0x0123_4567_89ab_cdef)?);
/// assert!("../20260131T080000000Z".parse::<SnapshotId>().is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotId(String);

impl SnapshotId {
    /// Creates the id of a snapshot made at `now`. `random` distinguishes it from others of the same millisecond.
    ///
    /// # Errors
    ///
    /// Returns `InvalidInput` if the year of `now` does not have four digits.
    pub fn new(now: DateTime<Utc>, random: u64) -> Result<Self> {
        if !has_writable_year(now) {
            return Err(FormatError::invalid_input(format!(
                "the clock says {now}, and a snapshot can only be dated in the years 0 to 9999; correct the clock"
            )));
        }
        let millis = now.timestamp_subsec_millis().min(999);
        Ok(Self(format!(
            "{:04}{:02}{:02}T{:02}{:02}{:02}{:03}Z-{:016x}",
            now.year(),
            now.month(),
            now.day(),
            now.hour(),
            now.minute(),
            now.second(),
            millis,
            random
        )))
    }

    /// Returns the id as text: 36 characters of ASCII.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Returns whether a time can be written with a year of four digits, in ids and in metadata.json.
pub(crate) fn has_writable_year(time: DateTime<Utc>) -> bool {
    (0..=9999).contains(&time.year())
}

impl FromStr for SnapshotId {
    type Err = FormatError;

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
        Err(FormatError::invalid_input(format!(
            "{shown:?}{more} is not a snapshot id; ids look like 20260131T080000000Z-0123456789abcdef"
        )))
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

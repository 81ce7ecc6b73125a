//! The ledger of a snapshot: entries that say when it was verified, how deep, and with what result (FORMAT.md, section
//! 9). Their names are built and parsed in [`layout`](crate::layout).

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{FormatError, Result};
use crate::id::SnapshotId;
use crate::limits;

/// The largest number of numbered subsets that a verification can be divided into.
pub const SUBSETS_MAX: u16 = 1000;
const SUBSETS_TOO_MANY: u16 = SUBSETS_MAX + 1;

/// The number of findings that an entry has at most.
pub const FINDINGS_MAX: usize = 32;

/// Size of the text of a finding that an entry has at most, in bytes.
const DETAIL_BYTES_MAX: usize = 512;

/// How deep a snapshot was verified, with its ancestors.
///
/// The text form is `quick`, `2of7`, `sample10`, `full` or `drill`.
///
/// ```
/// use ruvector_snapshot_format::ledger::VerifyDepth;
///
/// assert_eq!("2of7".parse::<VerifyDepth>()?, VerifyDepth::subset(2, 7)?);
/// assert_eq!(VerifyDepth::subset(1, 1)?, VerifyDepth::Full);
/// assert!(VerifyDepth::subset(8, 7).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[non_exhaustive]
pub enum VerifyDepth {
    /// Metadata, seals, existence and sizes; no data.
    Quick,
    /// All of the index, and of the other data at least so many percent, at a random place.
    Sample {
        /// 1 to 99.
        percent: u8,
    },
    /// All of the index, and one of several parts of the other data.
    Subset {
        /// 1 to `of`.
        number: u16,
        /// The number of parts: 2 to [`SUBSETS_MAX`].
        of: u16,
    },
    /// Every byte.
    #[default]
    Full,
    /// The snapshot was restored and opened, which does not read every byte.
    Drill,
    /// A command has read what it needed, and has found that corrupt. It says nothing of the rest.
    Read,
}

impl VerifyDepth {
    /// Returns the depth of a numbered subset. All of one part is everything.
    ///
    /// # Errors
    ///
    /// Returns `InvalidInput` if there is no such subset.
    pub fn subset(number: u16, of: u16) -> Result<Self> {
        let refused = |why: String| Err(FormatError::invalid_input(format!("there is no subset {number}/{of}: {why}")));
        match of {
            0 | SUBSETS_TOO_MANY.. => refused(format!("the number of subsets is from 1 to {SUBSETS_MAX}")),
            _ if number == 0 || number > of => refused(format!("the number of the subset is from 1 to {of}")),
            1 => Ok(Self::Full),
            _ => Ok(Self::Subset { number, of }),
        }
    }

    /// Returns the depth of a random sample. A sample of 100 percent is everything.
    ///
    /// # Errors
    ///
    /// Returns `InvalidInput` if `percent` is not from 1 to 100.
    pub fn sample(percent: u8) -> Result<Self> {
        match percent {
            100 => Ok(Self::Full),
            1..100 => Ok(Self::Sample { percent }),
            _ => Err(FormatError::invalid_input(format!("a sample of {percent} % is not from 1 % to 100 %"))),
        }
    }

    /// Parses what a user writes for a subset: `2/7` for the second of seven parts, or `10%` for a random tenth.
    ///
    /// ```
    /// use ruvector_snapshot_format::ledger::VerifyDepth;
    ///
    /// assert_eq!(VerifyDepth::parse_subset("2/7")?, VerifyDepth::subset(2, 7)?);
    /// assert_eq!(VerifyDepth::parse_subset("10%")?, VerifyDepth::sample(10)?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns `InvalidInput` if the text has another form, or names a subset that does not exist.
    pub fn parse_subset(text: &str) -> Result<Self> {
        let number = |digits: &str| -> Option<u64> {
            let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            // More digits than any limit has.
            is_number.then(|| digits.parse().unwrap_or(u64::MAX))
        };
        let small = |number: u64| u16::try_from(number).unwrap_or(u16::MAX);
        let percent = text.strip_suffix('%').map(str::trim_end).and_then(number);
        let fraction = text.split_once('/').and_then(|(a, b)| Some((number(a)?, number(b)?)));
        match (percent, fraction) {
            (Some(percent), _) => Self::sample(u8::try_from(percent).unwrap_or(u8::MAX)),
            (None, Some((part, of))) => Self::subset(small(part), small(of)),
            (None, None) => {
                let shown: String = text.chars().take(64).collect();
                Err(FormatError::invalid_input(format!(
                    "{shown:?} is not a subset; give a part, for example 2/7, or a whole percentage, for example 10%"
                )))
            }
        }
    }

    /// Returns whether a verification of this depth has found out at least as much as one of the depth `other`, at the
    /// same time. A drill does not read every byte, so it includes only another drill, and what a command has read includes
    /// nothing else.
    pub fn includes(self, other: Self) -> bool {
        match (self, other) {
            (Self::Drill | Self::Read, _) | (_, Self::Drill | Self::Read) => self == other,
            (Self::Full, _) | (_, Self::Quick) => true,
            (Self::Sample { percent }, Self::Sample { percent: other }) => percent >= other,
            _ => self == other,
        }
    }
}

impl fmt::Display for VerifyDepth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Quick => f.write_str("quick"),
            Self::Sample { percent } => write!(f, "sample{percent}"),
            Self::Subset { number, of } => write!(f, "{number}of{of}"),
            Self::Full => f.write_str("full"),
            Self::Drill => f.write_str("drill"),
            Self::Read => f.write_str("read"),
        }
    }
}

impl FromStr for VerifyDepth {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self> {
        let parsed = match text {
            "quick" => Some(Self::Quick),
            "full" => Some(Self::Full),
            "drill" => Some(Self::Drill),
            "read" => Some(Self::Read),
            _ => match (text.strip_prefix("sample"), text.split_once("of")) {
                (Some(percent), _) => percent.parse().ok().and_then(|percent| Self::sample(percent).ok()),
                (None, Some((number, of))) => match (number.parse(), of.parse()) {
                    (Ok(number), Ok(of)) => Self::subset(number, of).ok(),
                    _ => None,
                },
                (None, None) => None,
            },
        };
        // Each depth has one text, so that each entry has one name.
        parsed.filter(|depth| depth.to_string() == text).ok_or_else(|| {
            let shown: String = text.chars().take(64).collect();
            FormatError::invalid_input(format!("{shown:?} is not a depth of a verification"))
        })
    }
}

impl Serialize for VerifyDepth {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for VerifyDepth {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// What a verification has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VerifyResult {
    /// Everything that was read is as it was written.
    Intact,
    /// Something is corrupt or missing.
    Corrupt,
    /// Only of a drill: what was read is intact, but the restored database does not do what it must.
    Failed,
}

impl VerifyResult {
    /// Returns the text form: `intact`, `corrupt` or `failed`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Intact => "intact",
            Self::Corrupt => "corrupt",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for VerifyResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the name of an entry says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryName {
    /// The start of the verification, or its end if it has found corruption, to the millisecond.
    pub time: DateTime<Utc>,
    /// How deep it was.
    pub depth: VerifyDepth,
    /// What it has found.
    pub result: VerifyResult,
    /// Distinguishes it from other entries.
    pub random: u64,
}

/// The content of an entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LedgerEntry {
    /// The snapshot that was verified.
    pub snapshot: SnapshotId,
    /// The start of the verification, or its end if it has found corruption, to the millisecond.
    pub time: DateTime<Utc>,
    /// How deep it was.
    pub depth: VerifyDepth,
    /// What it has found.
    pub result: VerifyResult,
    /// The program that verified, with its version.
    pub program: String,
    /// The ancestors that were verified with it, the newest first.
    #[serde(default)]
    pub chain: Vec<SnapshotId>,
    /// The dependent that it was read with, if it was read as an ancestor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified_with: Option<SnapshotId>,
    /// Number of records whose digests were verified.
    #[serde(default)]
    pub records: u64,
    /// Bytes that were read from the store.
    #[serde(default)]
    pub bytes: u64,
    /// The content checksum, if it was verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<String>,
    /// The first findings.
    #[serde(default)]
    pub findings: Vec<Finding>,
    /// The number of all findings.
    #[serde(default)]
    pub findings_total: u64,
    /// The figures of a drill.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drill: Option<serde_json::Value>,
}

/// What is corrupt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The id of the snapshot of the chain.
    pub snapshot: String,
    /// The name of the file.
    pub file: String,
    /// The number of the block, from 0, if it is in a block.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block: Option<usize>,
    /// What is wrong.
    pub detail: String,
}

impl LedgerEntry {
    /// Creates an entry without findings.
    ///
    /// # Errors
    ///
    /// Returns `InvalidInput` if the year of `time` does not have four digits.
    pub fn new(snapshot: &SnapshotId, time: DateTime<Utc>, depth: VerifyDepth, program: &str) -> Result<Self> {
        // Refuses what no name can have.
        SnapshotId::new(time, 0)?;
        let time = time.duration_trunc(TimeDelta::milliseconds(1)).map_err(|error| {
            FormatError::invalid_input(format!("{time} cannot be the time of an entry")).with_source(error)
        })?;
        Ok(Self {
            snapshot: snapshot.clone(),
            time,
            depth,
            result: VerifyResult::Intact,
            program: program.to_owned(),
            chain: Vec::new(),
            verified_with: None,
            records: 0,
            bytes: 0,
            checksum: None,
            findings: Vec::new(),
            findings_total: 0,
            drill: None,
        })
    }

    /// Adds a finding, so that the entry says that the snapshot is corrupt. Only the first are kept, and of long texts the
    /// start.
    pub fn add_finding(&mut self, mut finding: Finding) {
        self.result = VerifyResult::Corrupt;
        self.findings_total += 1;
        if self.findings.len() < FINDINGS_MAX {
            for text in [&mut finding.detail, &mut finding.file, &mut finding.snapshot] {
                shorten(text);
            }
            self.findings.push(finding);
        }
    }

    /// Returns what the name of the entry says. `random` distinguishes it from other entries.
    pub fn name(&self, random: u64) -> EntryName {
        EntryName { time: self.time, depth: self.depth, result: self.result, random }
    }

    /// Encodes the entry as JSON.
    ///
    /// # Errors
    ///
    /// Returns `InvalidInput` if it is larger than an entry may be.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let json = serde_json::to_vec_pretty(self)
            .map_err(|error| FormatError::internal("cannot write a ledger entry as JSON").with_source(error))?;
        match json.len() as u64 <= limits::LEDGER_ENTRY_BYTES {
            true => Ok(json),
            false => Err(FormatError::invalid_input(format!("the ledger entry would have {} bytes", json.len()))),
        }
    }

    /// Decodes the entry with this name of this snapshot.
    ///
    /// # Errors
    ///
    /// Returns `Corrupt` if the content does not have the required form, or is that of another entry.
    pub fn decode(json: &[u8], snapshot: &SnapshotId, name: &EntryName) -> Result<Self> {
        let entry: Self = serde_json::from_slice(json)
            .map_err(|error| FormatError::corrupt("the content is not that of a ledger entry").with_source(error))?;
        let is_of_name = entry.name(name.random) == *name && entry.snapshot == *snapshot;
        match is_of_name {
            true => Ok(entry),
            false => Err(FormatError::corrupt(format!(
                "the content is that of another entry: {} {} of snapshot {}",
                entry.depth, entry.result, entry.snapshot
            ))),
        }
    }
}

fn shorten(text: &mut String) {
    if text.len() > DETAIL_BYTES_MAX {
        text.truncate(text.floor_char_boundary(DETAIL_BYTES_MAX));
        text.push('…');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> SnapshotId {
        "20260131T080000000Z-0123456789abcdef".parse().unwrap()
    }

    fn entry() -> LedgerEntry {
        LedgerEntry::new(&id(), "2026-02-03T04:05:06.7894Z".parse().unwrap(), VerifyDepth::Full, "test 1").unwrap()
    }

    #[test]
    fn depths_have_one_text_each() {
        let depths = ["quick", "sample1", "sample99", "1of2", "7of7", "1000of1000", "full", "drill", "read"];
        for text in depths {
            assert_eq!(text.parse::<VerifyDepth>().unwrap().to_string(), text);
        }
        let wrong = [
            "",
            "Quick",
            "sample",
            "sample0",
            "sample100",
            "sample010",
            "0of7",
            "8of7",
            "1of1",
            "01of7",
            "+1of7",
            "1of1001",
            "of",
            "2of",
            "of7",
            "1of99999999999",
            "fully",
            "part",
        ];
        for text in wrong {
            assert!(text.parse::<VerifyDepth>().is_err(), "{text}");
        }
    }

    #[test]
    fn impossible_subsets_are_refused_with_the_reason() {
        for (number, of, reason) in [
            (0, 7, "the number of the subset is from 1 to 7"),
            (8, 7, "the number of the subset is from 1 to 7"),
            (1001, 1000, "the number of the subset is from 1 to 1000"),
            (1, 0, "the number of subsets is from 1 to 1000"),
            (0, 0, "the number of subsets is from 1 to 1000"),
            (5, 1001, "the number of subsets is from 1 to 1000"),
        ] {
            let error = VerifyDepth::subset(number, of).unwrap_err();
            assert!(error.message().contains(reason), "{number}/{of}: {error}");
        }
        assert!(VerifyDepth::sample(0).is_err() && VerifyDepth::sample(101).is_err());
    }

    #[test]
    fn subsets_are_parsed_and_nonsense_is_refused() {
        for (text, depth) in
            [("2/7", "2of7"), ("1/1", "full"), ("100%", "full"), ("10%", "sample10"), ("10 %", "sample10")]
        {
            assert_eq!(VerifyDepth::parse_subset(text).unwrap().to_string(), depth, "{text}");
        }
        let refused = [
            "",
            "%",
            "/",
            "0/7",
            "8/7",
            "1/0",
            "7/",
            "/7",
            "-1/7",
            "1/7/7",
            "1/99999999999999999999999",
            "0%",
            "101%",
            "999999999999999999999%",
            "10.5%",
            "-5%",
            "10",
            "half",
            "2of7",
            " 2/7",
            "2/7%",
        ];
        for text in refused {
            assert!(VerifyDepth::parse_subset(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_depth_includes_those_that_read_less() {
        use VerifyDepth::{Drill, Full, Quick, Read};
        let (second, third) = (VerifyDepth::subset(2, 7).unwrap(), VerifyDepth::subset(3, 7).unwrap());
        let (small, large) = (VerifyDepth::sample(10).unwrap(), VerifyDepth::sample(50).unwrap());
        for (a, b) in [(Full, second), (Full, Quick), (Full, small), (second, Quick), (second, second), (large, small)]
        {
            assert!(a.includes(b), "{a} {b}");
        }
        for (a, b) in [(second, Full), (second, third), (small, large), (Quick, second), (large, Full)] {
            assert!(!a.includes(b), "{a} {b}");
        }
        for depth in [Full, Quick, second, small] {
            assert!([Drill, Read].into_iter().all(|other| !other.includes(depth) && !depth.includes(other)), "{depth}");
        }
        assert!(Drill.includes(Drill));
    }

    #[test]
    fn an_entry_is_decoded_by_its_name_only() {
        let (entry, name) = (entry(), entry().name(7));
        let json = entry.encode().unwrap();
        assert_eq!(LedgerEntry::decode(&json, &id(), &name).unwrap(), entry);
        let other = "20260131T080000000Z-0000000000000000".parse().unwrap();
        assert!(LedgerEntry::decode(&json, &other, &name).is_err());
        let others = [
            EntryName { result: VerifyResult::Corrupt, ..name.clone() },
            EntryName { depth: VerifyDepth::Quick, ..name.clone() },
            EntryName { time: DateTime::UNIX_EPOCH, ..name.clone() },
        ];
        assert!(others.iter().all(|name| LedgerEntry::decode(&json, &id(), name).is_err()));
        for bytes in [&b""[..], b"{}", b"null", b"\xff\xff", &json[..json.len() - 1]] {
            assert!(LedgerEntry::decode(bytes, &id(), &name).is_err());
        }
    }

    #[test]
    fn findings_are_bounded_in_number_and_size() {
        let mut entry = entry();
        for number in 0..10_000 {
            let text = "ü".repeat(5_000);
            entry.add_finding(Finding {
                snapshot: text.clone(),
                file: text.clone(),
                block: Some(number),
                detail: text,
            });
        }
        assert_eq!((entry.result, entry.findings_total), (VerifyResult::Corrupt, 10_000));
        assert!(entry.encode().unwrap().len() < 64 << 10);
        entry.chain = vec![id(); 1024];
        assert!(entry.encode().is_ok());
    }

    #[test]
    fn a_time_that_no_name_can_have_is_refused() {
        for time in [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC] {
            assert!(LedgerEntry::new(&id(), time, VerifyDepth::Full, "test").is_err());
        }
    }
}
